"""The manifest of a release: what was added, changed or removed is named, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import website_manifest
from ansible.module_utils.manifest import MANIFEST, held_by


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release as it was unpacked, with a writable folder behind its link."""
    data = tmp_path / "data"
    root = tmp_path / "release"
    (root / "folder").mkdir(parents=True)
    data.mkdir()
    (root / "index.html").write_text("page")
    (root / "folder/code.php").write_text("code")
    (root / "uploads").symlink_to("../data")
    (root / MANIFEST).write_text(json.dumps(held_by(root)))
    return root


def subjects(release: Path) -> dict[str, str]:
    return {change.subject: change.action for change in website_manifest.compare("a.example.go.id", release)}


def test_untouched_release_has_no_differences(release: Path) -> None:
    assert subjects(release) == {}


def test_uploads_are_no_part_of_the_release(release: Path) -> None:
    (release / "uploads/photo.jpg").write_text("new")
    assert subjects(release) == {}


def test_every_added_changed_and_removed_file_is_named(release: Path) -> None:
    (release / "index.html").write_text("hacked")
    (release / "folder/shell.php").write_text("<?php")
    (release / "folder/code.php").unlink()
    assert subjects(release) == {
        "file index.html": "update", "file folder/shell.php": "remove", "file folder/code.php": "create",
    }


def test_link_that_was_turned_elsewhere_is_named(release: Path) -> None:
    (release / "uploads").unlink()
    (release / "uploads").symlink_to("/etc")
    assert subjects(release) == {"file uploads": "update"}


@pytest.mark.parametrize("damage", [None, "{", "[1]", "7"])
def test_manifest_that_is_lost_is_itself_a_difference(release: Path, damage: str | None) -> None:
    """Whoever could write the release could remove its manifest."""
    (release / MANIFEST).unlink() if damage is None else (release / MANIFEST).write_text(damage)
    assert subjects(release) == {"manifest": "create"}

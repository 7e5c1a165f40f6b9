"""The manifest of a release: what was added, changed or removed is named, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import website_manifest
from ansible.module_utils import web
from ansible.module_utils.manifest import MANIFEST, held_by
from web_cases import website


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


@pytest.mark.parametrize("damage", [None, "{", "[1]", "[[1, 2]]", "7"])
def test_manifest_that_is_lost_is_itself_a_difference(release: Path, damage: str | None) -> None:
    """Whoever could write the release could remove its manifest."""
    (release / MANIFEST).unlink() if damage is None else (release / MANIFEST).write_text(damage)
    assert subjects(release) == {"manifest": "create"}


BAD = website("buruk.go.id")
PARTS = ("name", "web_host", "state", "release", "writable")
LACKING = [{key: BAD[key] for key in BAD if key != lost} for lost in PARTS]


@pytest.mark.parametrize("bad", [*LACKING, {**BAD, "release": "x"}, {**BAD, "writable": [1, "x"]}])
def test_malformed_website_is_named_and_the_others_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    monkeypatch.setattr(web, "HOMES", tmp_path)
    good = website()
    release = Path(web.paths(good)["release"])
    release.mkdir(parents=True)
    (release / MANIFEST).write_text("{}")
    (release / "shell.php").write_text("<?php")
    changes, left = website_manifest.look([bad, good, website("lain.go.id", web_host="web2")], "web1")
    assert [(change.website, change.subject) for change in changes] == [(good["name"], "file shell.php")]
    assert [row.website for row in left] == [str(bad.get("name"))]
    assert "cannot be compared: " in left[0].what and left[0].mend == "let the driver write the state"


def test_unreadable_release_is_named_and_the_others_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "HOMES", tmp_path)
    bad, good = website(), website("disdik.go.id")
    for one in (bad, good):
        Path(web.paths(one)["release"]).mkdir(parents=True)

    def read(release: Path) -> list[Any]:
        if release == Path(web.paths(bad)["release"]):
            raise OSError(5, "Input/output error", str(release))
        return [("manifest", "create", None, "x")]

    monkeypatch.setattr(website_manifest.manifest, "differences", read)
    changes, left = website_manifest.look([bad, good], "web1")
    assert [change.website for change in changes] == [good["name"]]
    assert [(row.website, row.mend) for row in left] == [(bad["name"], "see that the disk can be read")]

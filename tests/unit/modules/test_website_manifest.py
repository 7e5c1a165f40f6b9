"""The manifest of a release: what was added, changed or removed is named, and nothing else is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import website_manifest
from ansible.module_utils import manifest, web
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


LOOSE = {0o664: "-rw-rw-r--", 0o646: "-rw-r--rw-", 0o4755: "-rwsr-xr-x", 0o2755: "-rwxr-sr-x"}


@pytest.mark.parametrize("mode", LOOSE)
def test_file_that_others_may_write_or_that_lends_rights_is_named(release: Path, mode: int) -> None:
    (release / "folder/code.php").chmod(mode)
    (found,) = website_manifest.compare("a.example.go.id", release)
    assert (found.subject, found.action) == ("file folder/code.php", "update") and found.before != found.after
    assert f" {LOOSE[mode]} {os.geteuid()}:" in found.before


def test_modes_that_let_nobody_else_write_are_no_difference(release: Path) -> None:
    (release / "folder").chmod(0o700)
    (release / "index.html").chmod(0o755)
    assert subjects(release) == {}


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_folder_that_others_may_write_is_named_the_release_itself_too(release: Path, mode: int) -> None:
    """Who may write there can put a page in the place of another."""
    for folder in (release, release / "folder"):
        folder.chmod(mode)
    assert subjects(release) == {"folder .": "update", "folder folder": "update"}


def test_everything_that_is_not_root_s_is_named(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`chown -R` is how people mend a website that cannot write, and makes its code writable to every visitor's PHP."""
    (release / "uploads/photo.jpg").write_text("new")
    monkeypatch.setattr(manifest.os, "geteuid", lambda: 54321)
    assert subjects(release) == dict.fromkeys(
        ("folder .", "folder folder", "file .sop-manifest", "file folder/code.php", "file index.html", "file uploads"),
        "update")


def test_pipe_is_named_and_holds_nobody_up(release: Path) -> None:
    os.mkfifo(release / "pipe")
    (release / "index.html").unlink()
    os.mkfifo(release / "index.html")
    assert subjects(release) == {"file pipe": "remove", "file index.html": "update"}
    (release / MANIFEST).unlink()
    os.mkfifo(release / MANIFEST)
    assert subjects(release) == {"manifest": "create"}


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

"""Writable folders leave the release, and no website's user leads root elsewhere by them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils import releases
from ansible.module_utils.transaction import Refused

UID = os.getuid()
SITE_UID = 20001 if UID == 0 else UID


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A website's home with a release that holds a page and an upload."""
    (tmp_path / "release/isi/unggah/2026").mkdir(parents=True)
    (tmp_path / "release/isi/unggah/2026/foto.jpg").write_text("foto")
    (tmp_path / "release/index.php").write_text("page")
    (tmp_path / "data").mkdir()
    return tmp_path


def share(home: Path, path: str) -> None:
    releases.share(home / "release", home / "data", path, SITE_UID)


def owners(path: Path) -> set[int]:
    return {found.lstat().st_uid for found in [path, *path.rglob("*")]}


def test_share_moves_the_first_content_and_leaves_a_link(home: Path) -> None:
    share(home, "isi/unggah")
    assert str((home / "release/isi/unggah").readlink()) == "../../data/isi/unggah"
    assert (home / "release/isi/unggah/2026/foto.jpg").read_text() == "foto"
    assert owners(home / "data/isi/unggah") == {SITE_UID}
    assert (home / "data/isi").stat().st_uid == UID, "PHP could replace what lies in it"


def test_share_keeps_what_the_website_has_stored(home: Path) -> None:
    (home / "data/isi/unggah").mkdir(parents=True)
    (home / "data/isi/unggah/milik").write_text("kept")
    share(home, "isi/unggah")
    assert [path.name for path in (home / "release/isi/unggah").iterdir()] == ["milik"]


def test_share_makes_a_folder_that_the_release_lacks(home: Path) -> None:
    share(home, "baru/dalam")
    assert list((home / "release/baru/dalam").iterdir()) == [] and owners(home / "data/baru/dalam") == {SITE_UID}


@pytest.mark.parametrize("target", ["/etc", "..", "isi", "tidak-ada"])
def test_share_replaces_a_link_of_the_release_without_following_it(home: Path, target: str) -> None:
    (home / "release/tautan").symlink_to(target)
    share(home, "tautan")
    assert list((home / "data/tautan").iterdir()) == []
    assert (home / "release/isi/unggah/2026/foto.jpg").exists()


def test_share_takes_links_in_the_first_content_as_links(home: Path) -> None:
    outside = home / "outside"
    outside.write_text("root's")
    before = outside.stat()
    (home / "release/isi/unggah/tautan").symlink_to(outside)
    share(home, "isi/unggah")
    assert (home / "data/isi/unggah/tautan").is_symlink() and outside.stat() == before


@pytest.mark.parametrize("where", ["release", "data"])
def test_share_refuses_a_folder_behind_a_link(home: Path, where: str) -> None:
    """In `data` the website's user may have put it there: root would make a folder of his anywhere."""
    (home / "target").mkdir()
    (home / where / "pintu").symlink_to(home / "target")
    with pytest.raises(Refused, match="lies behind a link"):
        share(home, "pintu/cron.d")
    assert list((home / "target").iterdir()) == []


def test_share_refuses_a_folder_behind_a_file(home: Path) -> None:
    with pytest.raises(Refused, match="lies behind a link or a file"):
        share(home, r"index.php/unggah")


def test_share_refuses_a_folder_in_one_that_was_writable_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could swap what lies in it for a link at the right moment."""
    (home / "data/isi").mkdir()
    monkeypatch.setattr(releases.os, "geteuid", lambda: UID + 1)  # so that the folder is another user's
    with pytest.raises(Refused, match="was writable before"):
        share(home, "isi/unggah")
    assert list((home / "data/isi").iterdir()) == []


def test_share_refuses_a_link_in_the_place_of_the_data(home: Path) -> None:
    (home / "data/unggah").symlink_to(home / "release")
    with pytest.raises(Refused, match="is no folder"):
        share(home, "unggah")


def test_share_opens_the_outer_folder_when_it_becomes_writable_later(home: Path) -> None:
    share(home, "isi/unggah")
    (home / "release/isi/unggah").unlink()
    share(home, "isi")
    assert (home / "data/isi").stat().st_uid == SITE_UID and (home / "release/isi/unggah/2026/foto.jpg").exists()


def test_share_gives_leaves_away_before_their_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is the user's already can be swapped for a link while root still works: nothing below it is touched."""
    given: list[str] = []
    monkeypatch.setattr(releases.os, "lchown", lambda path, *_: given.append(str(path)))
    share(home, "isi/unggah")
    assert given == sorted(given, key=lambda path: -path.count("/")) and len(given) == 3


def test_first_missing_names_the_topmost_new_folder(home: Path) -> None:
    (home / "data/a").mkdir()
    assert releases.first_missing(home / "data", "a/b/c") == home / "data/a/b"
    assert releases.first_missing(home / "data", "x") == home / "data/x"
    assert releases.first_missing(home / "data", "a") is None


@pytest.mark.parametrize(("target", "at"), [("isi/unggah", "tautan"), ("isi/unggah/2026", "tautan"), ("isi", "tautan"),
                                            (".", "tautan"), ("../isi/unggah", "umum/simpanan"), ("..", "umum/atas")])
def test_guard_refuses_another_way_into_a_writable_folder(home: Path, target: str, at: str) -> None:
    """Apache refuses to run uploads by the folder's path; by another path they would run."""
    (home / "release" / at).parent.mkdir(exist_ok=True)
    (home / "release" / at).symlink_to(target)
    with pytest.raises(Refused, match=f"the link '{at}' in the release leads to the writable folder isi/unggah"):
        releases.guard(home / "release", [at], ["isi/unggah"])


@pytest.mark.parametrize(("target", "at"), [("index.php", "tautan"), ("2026", "isi/unggah/baru"), ("x", "isi/unggah")])
def test_guard_lets_other_links_be(home: Path, target: str, at: str) -> None:
    if at != "isi/unggah":
        (home / "release" / at).symlink_to(target)
    releases.guard(home / "release", [at], ["isi/unggah"])
    releases.guard(home / "release", [at], [])

"""The nightly check of releases: what it names, and what it keeps for whoever asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import websites_manifest as nightly
from ansible.module_utils import manifest

NAME, OTHER = "dinkes.example.go.id", "disdik.example.go.id"


class WebHost:
    """A web host's releases and its list of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.live = root, root / "websites.json"

    def serve(self, *websites: dict[str, Any]) -> None:
        self.live.write_text(json.dumps(websites))

    def release(self, website: dict[str, Any]) -> Path:
        """Unpack a release of one page."""
        release = manifest.folder(self.root / "srv" / website["name"], website)
        release.mkdir(parents=True)
        (release / "index.html").write_text(website["release"]["sha256"])
        (release / manifest.MANIFEST).write_text(json.dumps(manifest.held_by(release)))
        return release


def website(name: str = NAME, letter: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": "present", "release": {"sha256": letter * 64}, "writable": [], **more}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WebHost:
    made = WebHost(tmp_path)
    for name, path in (("HOMES", tmp_path / "srv"), ("LIVE", made.live), ("FOUND", tmp_path / "manifest.json")):
        monkeypatch.setattr(nightly, name, path)
    return made


def test_untouched_releases_end_well(host: WebHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.serve(website(), website(OTHER, "b", writable=["files"]))
    host.release(website())
    host.release(website(OTHER, "b", writable=["files"]))
    assert nightly.main([]) == 0
    assert json.loads(nightly.FOUND.read_text())["found"] == []
    assert "2 websites compared, 0 differences" in capsys.readouterr().err


def test_every_file_is_named_with_its_website(host: WebHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.serve(website(), website(OTHER, "b", state="suspended"))
    host.release(website(OTHER, "b"))
    release = host.release(website())
    (release / "index.html").write_text("hacked")
    (release / "shell.php").write_text("<?php")
    assert nightly.main([]) == 1
    said = capsys.readouterr().err
    assert f"<3>{NAME}: file index.html was changed since" in said
    assert f"<3>{NAME}: file shell.php was added since" in said
    assert OTHER not in said
    assert [item["path"] for item in json.loads(nightly.FOUND.read_text())["found"]] == [
        "file index.html", "file shell.php"]
    assert nightly.FOUND.stat().st_mode & 0o777 == 0o600


def test_file_that_others_may_write_is_named(host: WebHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.serve(website())
    release = host.release(website())
    release.chmod(0o777)
    (release / "index.html").chmod(0o666)
    assert nightly.main([]) == 1
    said = capsys.readouterr().err
    assert f"{NAME}: folder . was changed since" in said and f"{NAME}: file index.html was changed since" in said


def test_release_that_is_gone_is_named(host: WebHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.serve(website())
    assert nightly.main([]) == 1
    assert f"{NAME}: manifest was missing" in capsys.readouterr().err


def test_archived_website_has_no_release_to_compare(host: WebHost) -> None:
    host.serve(website(state="archived"))
    assert nightly.main([]) == 0


def test_release_that_a_run_replaced_meanwhile_is_no_finding(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old releases are removed while the check reads them; that is no defacement."""
    host.serve(website())
    old = host.release(website())
    new = host.release(website(letter="b"))
    compare = manifest.differences

    def slowly(release: Path) -> list[manifest.Difference]:
        if release == old:
            host.serve(website(letter="b"))
            (old / "index.html").unlink()
        return compare(release)

    monkeypatch.setattr(manifest, "differences", slowly)
    assert nightly.main([]) == 0
    assert new.exists()


@pytest.mark.parametrize("bad", [
    {"name": OTHER, "state": "present"}, {"name": OTHER}, website(OTHER, writable=7), OTHER, {}])
def test_malformed_website_is_named_and_the_others_are_compared(
    host: WebHost, capsys: pytest.CaptureFixture[str], bad: Any
) -> None:
    host.serve(bad, website())
    (host.release(website()) / "index.html").write_text("hacked")
    assert nightly.main([]) == 1
    said, name = capsys.readouterr().err, bad.get("name", "None") if isinstance(bad, dict) else "None"
    assert f"<3>{name}: release was not compared: " in said and f"<3>{NAME}: file index.html was changed" in said
    assert {item["website"] for item in json.loads(nightly.FOUND.read_text())["found"]} == {name, NAME}


def test_unreadable_website_is_named_and_what_others_have_is_kept(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk's bad block, which stays one at each try, must not hide a defaced page next to it."""
    host.serve(website(), website(OTHER, "b"))
    bad = host.release(website())
    (host.release(website(OTHER, "b")) / "shell.php").write_text("<?php")
    compare = manifest.differences

    def read(release: Path) -> list[manifest.Difference]:
        if release == bad:
            raise OSError(5, "Input/output error", str(release / "index.html"))
        return compare(release)

    monkeypatch.setattr(manifest, "differences", read)
    assert nightly.main([]) == 1
    said = capsys.readouterr().err
    assert f"<3>{NAME}: release was not compared: OSError(5, 'Input/output error')" in said
    assert f"<3>{OTHER}: file shell.php was added since" in said
    assert [item["website"] for item in json.loads(nightly.FOUND.read_text())["found"]] == [NAME, OTHER]


def test_what_is_kept_stays_whole_where_the_list_is_lost(host: WebHost) -> None:
    """A check that could not look must not leave yesterday's result as today's, nor half of one: it fails."""
    host.live.write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        nightly.main([])
    assert not nightly.FOUND.exists()

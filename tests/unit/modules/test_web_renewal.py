"""A live release that somebody changed: put back as it was unpacked, without a moment in which the website is gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import web, web_apps, web_renewal, web_server
from ansible.module_utils.manifest import differences
from web_cases import PHP, Refused, WebHost, app, host, php, sha

SITE, APP = php(), app()


@pytest.fixture
def release(host: WebHost) -> Path:
    """The live release of a website, defaced, with what a citizen stored beside it."""
    host.converge(SITE, APP)
    path = Path(web.paths(SITE)["release"])
    (path / "public/index.php").write_text("defaced")
    (path / "public/shell.php").write_text("<?php")
    (path / "public/berkas/unggahan.pdf").write_text("citizen's")
    return path


def cured(host: WebHost) -> list[tuple[str | None, str, str]]:
    return [(change.website, change.subject, change.action) for change in host.converge(SITE, APP, compare_live=True)]


def kept(host: WebHost) -> list[Path]:
    return sorted(host.root.glob("srv/.changed-*"))


def defaced(folder: Path) -> bool:
    return (folder / "public/index.php").read_text() == "defaced" and (folder / "public/shell.php").exists()


def test_cure_puts_a_changed_live_release_back_and_keeps_it_for_root(host: WebHost, release: Path) -> None:
    assert cured(host) == [(SITE["name"], "release", "update")]
    assert differences(release) == [] and (release / "public/index.php").read_text() == "<?php"
    assert (release / "public/berkas/unggahan.pdf").read_text() == "citizen's"
    [aside] = kept(host)
    assert aside.name.startswith(f".changed-{SITE['name']}-") and aside.stat().st_mode & 0o777 == 0o700
    assert defaced(aside / "release") and [path.name for path in release.parent.iterdir()] == [release.name]
    assert len(host.lines("setups")) == 1, "the data are as they were: nothing is set up anew"
    assert cured(host) == [] and kept(host) == [aside]


def test_cure_takes_a_live_release_back_that_was_given_away(host: WebHost) -> None:
    host.converge(SITE, APP)
    release = Path(web.paths(SITE)["release"])
    release.chmod(0o777)
    (release / "public/index.php").chmod(0o6777)
    assert host.converge(SITE, APP) == [], "live releases are compared where that is asked for"
    assert cured(host) == [(SITE["name"], "release", "update")] and differences(release) == []
    assert (release.stat().st_mode & 0o777, (release / "public/index.php").stat().st_mode & 0o7777) == (0o755, 0o644)
    assert cured(host) == []


def test_changed_live_release_stays_where_no_cure_is_asked_for(host: WebHost, release: Path) -> None:
    assert host.converge(SITE, APP) == [] and defaced(release) and kept(host) == []


def test_cure_asks_for_the_archive_of_what_was_changed_alone(host: WebHost, release: Path) -> None:
    host.layer(SITE, APP, compare_live=True)
    assert [path.name for path in host.root.glob("archives/*")] == [sha(PHP)]


def test_cure_leaves_no_moment_without_the_page(
    host: WebHost, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before and after each step that could take the folder away."""
    pages = []

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **more: Any) -> Any:
            pages.append((release / "public/index.php").read_text())
            done = real(*given, **more)
            pages.append((release / "public/index.php").read_text())
            return done
        return step

    for module, name in ((Path, "rename"), (Path, "mkdir"), (shutil, "rmtree"), (web_renewal, "exchange"),
                         (web_server, "swap"), (web_server, "reload")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    cured(host)
    assert set(pages) == {"defaced", "<?php"} and pages == sorted(pages, key=["defaced", "<?php"].index)


def test_cure_starts_an_application_anew_that_runs_from_the_changed_release(host: WebHost) -> None:
    """It holds in memory what was there."""
    host.converge(APP)
    [before] = (host.root / "running").iterdir()
    before.write_text("what somebody else had it run")
    (Path(web.paths(APP)["release"]) / "app.py").write_text("defaced")
    assert [change.subject for change in host.converge(APP, compare_live=True)] == ["release"]
    [unit] = (host.root / "running").iterdir()
    assert unit.name == before.name and f"User=w{APP['uid']}\n" in unit.read_text()


def test_application_is_started_anew_only_where_that_is_asked_for(host: WebHost) -> None:
    host.converge(APP)
    layer = host.layer(APP)
    layer.plan()
    [told] = layer.apps(layer.texts_of(APP["name"])).values()
    for again, times in ((False, 0), (True, 1)):
        done = host.lines("programs").count(f"systemctl restart {told['name']}.service")
        web_apps.start(APP, told, again)
        assert host.lines("programs").count(f"systemctl restart {told['name']}.service") == done + times


@pytest.mark.parametrize(("module", "step"), [(web_server, "swap"), (web_server, "reload"), (web_server, "validate")])
def test_release_that_was_put_back_stays_when_the_run_fails_later(
    host: WebHost, release: Path, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    real, calls = getattr(module, step), []

    def once(*given: Any, **more: Any) -> Any:
        calls.append(step)
        if len(calls) == 1:
            raise Refused("Apache is down", "start it")
        return real(*given, **more)

    monkeypatch.setattr(module, step, once)
    with pytest.raises(Refused, match="Apache is down"):
        cured(host)
    assert differences(release) == [] and defaced(kept(host)[0] / "release")
    assert cured(host) == [] and (host.said / "serving").read_text() == str((host.root / "web/current").readlink())


def test_release_stays_as_it_was_where_the_exchange_fails(
    host: WebHost, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: Any) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(web_renewal, "exchange", unable)
    cured(host)
    assert "Invalid argument" in host.left[SITE["name"]] and defaced(release) and kept(host) == []
    assert [path.name for path in release.parent.iterdir()] == [release.name]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_run_that_is_killed_at_the_exchange_loses_nothing(
    host: WebHost, release: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    real = web_renewal.exchange
    child = os.fork()
    if not child:
        def die(*given: Any) -> None:
            if after:
                real(*given)
            os._exit(9)

        monkeypatch.setattr(web_renewal, "exchange", die)
        try:
            cured(host)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert defaced(release) != after
    cured(host)
    assert differences(release) == [] and [defaced(path / "release") for path in kept(host)].count(True) == 1


def test_application_of_a_release_put_back_by_a_killed_run_is_started_anew_by_the_next(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the release is as it was approved, and the program still what it was before."""
    host.converge(APP)
    [running] = (host.root / "running").iterdir()
    running.write_text("what somebody else had it run")
    (Path(web.paths(APP)["release"]) / "app.py").write_text("defaced")
    child = os.fork()
    if not child:
        monkeypatch.setattr(web_apps, "start", lambda *_: os._exit(9))
        try:
            host.converge(APP, compare_live=True)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert [change.subject for change in host.converge(APP)] == ["leftovers"]
    assert "what somebody else" not in running.read_text()
    assert host.converge(APP) == []


def test_exchange_says_why_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there"):
        web_renewal.exchange(tmp_path, tmp_path / "there")


__all__ = ["host"]

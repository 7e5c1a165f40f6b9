"""A web host's transaction: what each state makes of it, and that a failure or a kill leaves nothing half done."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import releases, web, web_generations, web_layer, web_plan, web_server, web_setup
from ansible.module_utils.manifest import MANIFEST, differences
from ansible.module_utils.transaction import Refused
from web_cases import PHP, PHP_2, STATIC_2, WebHost, host, php, sha, website

__all__ = ["host"]
ONE, TWO = website(), php()
NEW = php("baru.tarakankota.go.id", 20003, writable=["public/unggah", "public/a/b"])
CHANGED = [website(archive=STATIC_2), php(archive=PHP_2, writable=["public/berkas", "public/gambar/kecil"]), NEW]


def actions(changes: list[Any]) -> list[tuple[str | None, str, str]]:
    return sorted((change.website or "", change.subject, change.action) for change in changes)


def test_apply_makes_a_home_that_only_its_user_may_write_where_he_must(host: WebHost) -> None:
    host.converge(TWO)
    home = host.root / "srv" / TWO["name"]
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [home, *home.iterdir()]}
    kept = {"temporary": "0o700", "sessions": "0o700"}
    assert modes == {home.name: "0o750", "releases": "0o755", "data": "0o755", **kept}
    mine = {str(path.relative_to(home)) for path in home.rglob("*") if path.lstat().st_uid == 20002}
    assert os.geteuid() != 0 or mine == {"temporary", "sessions", "data/public/berkas", "data/public/berkas/awal.txt"}


def test_apply_keeps_configuration_for_root_and_starts_each_daemon_once(host: WebHost) -> None:
    host.converge(ONE, TWO)
    files = [path for path in (host.root / "web/generations/1").rglob("*") if path.is_file()]
    assert len(files) == 5 and {path.stat().st_mode & 0o777 for path in files} == {0o600}
    told = [line for line in host.lines("programs") if re.match("apache2ctl -t -C|systemctl (reload|kill)", line)]
    assert told == ["apache2ctl -t -C", "systemctl reload-or-restart php8.2-fpm", "systemctl kill --kill-who=main"]


def test_apply_starts_an_apache_that_does_not_run(host: WebHost) -> None:
    (host.said / "stopped").touch()
    host.converge(ONE)
    assert host.lines("programs")[-2:] == ["systemctl reload-or-restart apache2", "systemctl is-active php8.2-fpm"]
    assert host.converge(ONE) == []


def test_apply_changes_nothing_the_second_time(host: WebHost) -> None:
    host.converge(ONE, TWO)
    before = host.census()
    assert host.converge(ONE, TWO) == [] and host.census() == before


def test_apply_links_what_stays_the_same_into_the_next_generation(host: WebHost) -> None:
    host.converge(ONE, TWO)
    host.converge(website(archive=STATIC_2), TWO)
    old, new = (host.root / f"web/generations/{n}/apache/{TWO['name']}.conf" for n in (1, 2))
    assert old.stat().st_ino == new.stat().st_ino


def test_apply_updates_a_release_and_keeps_the_data_and_the_old_release(host: WebHost) -> None:
    host.converge(ONE, TWO)
    home = host.root / "srv" / TWO["name"]
    (home / "data/public/berkas/unggahan.pdf").write_text("citizen's")
    changes = host.converge(ONE, php(archive=PHP_2))
    assert actions(changes) == [(TWO["name"], "release", "update"), (TWO["name"], "vhost", "update")]
    live = Path(web.paths(php(archive=PHP_2))["release"])
    assert (live / "public/berkas/unggahan.pdf").read_text() == "citizen's"
    assert len(list((home / "releases").iterdir())) == 2 and len(host.lines("setups")) == 2


@pytest.mark.parametrize("damage", ["added", "changed", "given away", "manifest"])
def test_apply_unpacks_a_kept_release_anew_where_it_is_not_as_it_was(host: WebHost, damage: str) -> None:
    host.converge(TWO)
    host.converge(php(archive=PHP_2))
    kept = Path(web.paths(TWO)["release"])
    {"added": lambda: (kept / "public/shell.php").write_text("<?php"),
     "changed": lambda: (kept / "public/index.php").write_text("<?php 0"),
     "given away": lambda: (kept / "public").chmod(0o777),
     "manifest": lambda: (kept / MANIFEST).unlink()}[damage]()
    host.layer(TWO)
    assert [path.name for path in host.root.glob("archives/*")] == [sha(PHP)], "it is asked for"
    assert actions(host.converge(TWO)) == [(TWO["name"], "release", "update"), (TWO["name"], "vhost", "update")]
    assert differences(kept) == [] and not (kept / "public/shell.php").exists()
    assert (kept / "public/index.php").read_text() == "<?php" and host.converge(TWO) == []


def test_apply_unpacks_the_release_of_a_website_that_comes_back_where_it_is_not_as_it_was(host: WebHost) -> None:
    host.converge(TWO)
    host.converge()
    release = Path(web.paths(TWO)["release"])
    (release / "public/shell.php").write_text("<?php")
    assert (TWO["name"], "release", "create") in actions(host.converge(TWO)) and differences(release) == []


def test_kept_release_is_used_as_it_is_where_it_was_not_touched_and_a_live_one_is_not_read(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.converge(ONE, TWO)
    host.converge(ONE, php(archive=PHP_2))
    compared = []
    monkeypatch.setattr(web_plan.manifest, "differences", lambda path: compared.append(path) or differences(path))
    assert host.converge(ONE, TWO) and not list(host.root.glob("archives/*"))
    assert {*compared} == {Path(web.paths(TWO)["release"])}
    compared.clear()
    assert host.converge(ONE, TWO) == [] and compared == []


def test_apply_opens_a_folder_that_becomes_writable_in_the_same_release(host: WebHost) -> None:
    """The archive is the same, but the unpacked folder has the new one inside the code."""
    host.converge(TWO)
    host.converge(php(writable=["public/berkas", "public/baru"]))
    live = Path(web.paths(php(writable=["public/berkas", "public/baru"]))["release"])
    assert (live / "public/baru").is_symlink() and (live / "public/berkas/awal.txt").read_text() == "awal"


def test_apply_runs_the_setup_of_a_release_that_came_while_suspended(host: WebHost) -> None:
    host.converge(TWO)
    host.converge(php(archive=PHP_2, state="suspended"))
    assert len(host.lines("setups")) == 1
    host.converge(php(archive=PHP_2))
    assert len(host.lines("setups")) == 2
    host.converge(ONE, php(archive=PHP_2))
    assert len(host.lines("setups")) == 2


def test_apply_suspends_and_resumes(host: WebHost) -> None:
    host.converge(TWO)
    before = host.census()["srv"]
    changes = host.converge(php(state="suspended"))
    assert actions(changes) == [(TWO["name"], "pool", "remove"), (TWO["name"], "vhost", "suspend")]
    assert host.census()["srv"] == before
    assert actions(host.converge(TWO)) == [(TWO["name"], "pool", "create"), (TWO["name"], "vhost", "update")]


@pytest.mark.parametrize("rest", [[php(state="archived")], []])
def test_apply_takes_an_archived_or_unnamed_website_off_and_keeps_its_data(host: WebHost, rest: list[Any]) -> None:
    host.converge(ONE, TWO)
    before = host.census()
    changes = host.converge(ONE, *rest)
    assert actions(changes) == [(TWO["name"], "pool", "remove"), (TWO["name"], "vhost", "remove")]
    after = host.census()
    assert (after["srv"], after["users"]) == (before["srv"], before["users"])
    assert host.converge(ONE, *rest) == []
    assert [subject for _, subject, _ in actions(host.converge(ONE, TWO))] == ["pool", "vhost"]
    assert host.census()["srv"] == before["srv"]


def test_apply_purges_all_of_a_website_that_the_same_run_made(host: WebHost) -> None:
    host.converge(ONE)
    before = host.census()
    host.converge(ONE, TWO)
    assert actions(host.converge(ONE, php(state="purged"))) == [(TWO["name"], "website", "purge")]
    after = host.census()
    assert all(after[part] == before[part] for part in ("srv", "log", "users", "archives"))
    assert host.converge(ONE, php(state="purged")) == []


def test_purge_takes_the_id_that_the_server_knows(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(ONE, TWO)
    removed = []
    monkeypatch.setattr(web_server, "remove_website", lambda name, uid: removed.append((name, uid)))
    host.converge(ONE, php(state="purged", uid=20001))
    assert removed == [(TWO["name"], 20002)]


def test_purge_is_finished_by_the_next_run_where_the_user_would_not_go(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.converge(ONE)
    before = host.census()
    host.converge(ONE, TWO)
    with monkeypatch.context() as broken:
        broken.setattr(web_server, "remove_website", fail_with("user w20002 is in use"))
        for _ in range(2):
            host.converge(ONE, php(state="purged"))
            assert list(host.left) == [TWO["name"]] and "w20002 is in use" in host.left[TWO["name"]]
        host.converge(website(archive=STATIC_2), php(state="purged"))
        assert host.lines("programs")[-2:] == [
            "systemctl kill --kill-who=main", "systemctl is-active php8.2-fpm"], "others go on"
    assert ("", "leftovers", "remove") in actions(host.converge(ONE, php(state="purged")))
    after = host.census()
    assert after["users"] == before["users"] and not (host.root / "srv" / TWO["name"]).exists() and not host.left


@pytest.mark.parametrize("damage", ["vhost", "pool", "release", "user", "home", "data"])
def test_apply_mends_what_was_damaged_by_hand(host: WebHost, damage: str) -> None:
    host.converge(ONE, TWO)
    before = host.census()
    generation, name = host.root / "web/generations/1", TWO["name"]
    {"vhost": lambda: (generation / f"apache/{name}.conf").write_text("Use WebsiteStatic evil"),
     "pool": lambda: (generation / f"fpm/{name}.conf").unlink(),
     "release": lambda: shutil.rmtree(web.paths(TWO)["release"]),
     "user": lambda: (host.root / "users/w20002").unlink(),
     "home": lambda: shutil.rmtree(web.paths(TWO)["home"]),
     "data": lambda: shutil.rmtree(web.paths(TWO)["data"])}[damage]()
    assert {change.website for change in host.converge(ONE, TWO)} == {name}
    after = host.census()
    assert all(after[part] == before[part] for part in ("srv", "log", "users"))
    assert host.converge(ONE, TWO) == []


@pytest.mark.parametrize("damage", ["[", "missing", '{"a": 1}'])
def test_plan_refuses_where_the_list_of_its_websites_is_lost(host: WebHost, damage: str) -> None:
    """Without it every website would seem to be somebody else's."""
    host.converge(ONE)
    listed = host.root / "web/generations/1/websites.json"
    listed.unlink() if damage == "missing" else listed.write_text(damage)
    with pytest.raises(Refused, match=r"websites\.json is (lost|not JSON)"):
        host.converge(ONE)


def fail_with(what: str, times: int = 99) -> Callable[..., Any]:
    left = iter(range(times))

    def fail(*_: Any, **__: Any) -> Any:
        if next(left, None) is not None:
            raise Refused(what, "mend")

    return fail


STEPS: list[tuple[Any, str]] = [
    (web_layer.Layer, "settle"), (web_server, "make_users"), (web_server, "make_homes"), (web_server, "make_release"),
    (releases, "unpack"), (releases, "guard"), (releases, "share"), (web_setup, "setup"), (web_layer.Layer, "stage"),
    (web_layer.Layer, "fill"), (web_server, "validate"), (web_server, "swap"), (web_server, "reload"),
    (web_server, "look"),
]
FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("first", [[], [ONE, TWO]], ids=["empty", "serving"])
@pytest.mark.parametrize("nth", [1, 2])
def test_apply_puts_everything_back_when_a_step_fails(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, first: list[Any], nth: int,
) -> None:
    """What is no single website's fault. `nth`: at its first website, or when one is done already."""
    host.converge(*first)
    before = host.census()
    real, calls = getattr(module, step), []

    def broken(*args: Any, **more: Any) -> Any:
        calls.append(step)
        if len(calls) == nth:
            raise FULL
        return real(*args, **more)

    monkeypatch.setattr(module, step, broken)
    try:
        host.converge(*CHANGED)
    except OSError as error:
        assert error is FULL
        assert host.census() == before
    else:
        assert len(calls) < nth, "the step fails only as often as it is called"
    monkeypatch.setattr(module, step, real)
    host.converge(*CHANGED)
    assert host.converge(*CHANGED) == []


def test_validate_reads_the_pools_of_others_too(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """PHP-FPM ends at a reload that meets a pool it cannot read, whoever wrote it, and every website with it."""
    pools = host.root / "php/8.2/fpm/pool.d"
    pools.mkdir(parents=True)
    for name in ("www.conf", "zz-websites.conf"):
        (pools / name).touch()
    monkeypatch.setattr(web_server, "PHP", host.root / "php")
    read = []
    monkeypatch.setattr(web_server, "run", lambda argv: read.append(Path(argv[-1]).read_text()) if "-y" in argv else "")
    generation = host.root / "web/generations/0"
    for name in ("new", "kept"):
        (generation / f"fpm/{name}.conf").touch()
    (host.root / "live.conf").hardlink_to(generation / "fpm/kept.conf")
    web_server.validate(generation, "8.2")
    assert [line for line in read[0].splitlines() if line.startswith("include=")] == [
        f"include={pools}/www.conf", f"include={generation}/fpm/new.conf"]


def test_apply_has_all_that_it_made_on_the_disk_before_it_is_live(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut later would leave empty files live, and no run compares what is live."""
    host.converge(ONE, TWO)
    seen: list[Any] = []
    swap = web_server.swap

    def run(argv: list[str], *more: Any, **options: Any) -> str:
        if argv[0] == "sync":
            assert Path(web.paths(NEW)["release"]).is_dir() and len(host.lines("setups")) == 3
            seen.append((argv[1:], host.census()))
        return host.run(argv, *more, **options)

    monkeypatch.setattr(web_server, "run", run)
    monkeypatch.setattr(web_server, "swap", lambda target: seen.append((target, host.census())) or swap(target))
    host.converge(*CHANGED)
    (flushed, made), (target, then) = seen
    assert flushed == ["--file-system", str(host.root / "srv"), str(host.root / "web")]
    assert made == then and made["serving"].endswith("/1") and target.endswith("/2")


def test_apply_flushes_nothing_where_nothing_is_changed(host: WebHost) -> None:
    """It waits for whatever all programs of the server have written."""
    host.converge(ONE, TWO)
    host.converge(ONE, TWO)
    assert [line.split()[0] for line in host.lines("programs")].count("sync") == 1


def test_apply_puts_back_when_the_disk_is_full(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(ONE, TWO)
    before = host.census()
    real = web_generations.write_atomic

    def full(path: Path, *more: Any) -> bool:
        if path.name == "websites.json":
            raise FULL
        return real(path, *more)

    monkeypatch.setattr(web_generations, "write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        host.converge(*CHANGED)
    assert host.census() == before


def test_apply_says_both_faults_where_putting_back_fails_too(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(ONE)
    before = host.census()
    with monkeypatch.context() as broken:
        broken.setattr(web_server, "reload", fail_with("Apache is down"))
        broken.setattr(web_server, "remove_website", fail_with("user is in use"))
        with pytest.raises(Refused, match=r"Apache is down; and putting it back: .*Apache is down"):
            host.converge(ONE, NEW)
    assert actions(host.converge(ONE)) == [("", "leftovers", "remove")]
    after = host.census()
    assert all(after[part] == before[part] for part in ("srv", "log", "users"))


def killed(host: WebHost, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, after: bool,
           wanted: Sequence[dict[str, Any]] = CHANGED) -> None:
    """Converge in a child that dies at this step, with no chance to put anything back."""
    real = getattr(module, step)

    def die(*args: Any, **more: Any) -> None:
        if after:
            real(*args, **more)
        os._exit(9)

    child = os.fork()
    if not child:
        try:
            monkeypatch.setattr(module, step, die)
            host.converge(*wanted)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


KILLS = [*STEPS[1:], (web_layer.Layer, "prune")]
BACK = [(web_server, "validate"), (web_server, "swap"), (web_server, "reload"), (web_layer.Layer, "prune")]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "step"), KILLS, ids=[step for _, step in KILLS])
def test_next_run_settles_what_a_killed_run_left(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, module: Any, step: str,
    after: bool,
) -> None:
    """Whether it goes on or back, the server is as if the kill had never been."""
    parts = ("srv", "log", "users")
    host.converge(ONE, TWO)
    before = host.census()
    killed(host, monkeypatch, module, step, after)
    shutil.copytree(host.root, kept := tmp_path_factory.mktemp("kept") / "host", symlinks=True)
    host.converge(*CHANGED)
    assert host.converge(*CHANGED) == [] and not [path for path in host.root.glob("srv/**/.*") if path.name != MANIFEST]
    done = host.census()
    shutil.rmtree(host.root)
    shutil.copytree(kept, host.root, symlinks=True)
    os.utime(host.root / "web/current", follow_symlinks=False)  # the copied files are newer than they were
    back = [ONE, TWO, {**NEW, "state": "purged"}]
    host.converge(*back)
    assert host.converge(*back) == [] and not (host.root / "web/journal.json").exists()
    assert (host.root / "daemons/serving").read_text() == str((host.root / "web/current").readlink())
    found = host.census()
    if (step, after) != ("prune", True):  # it had not come to its end, after which the release before is kept
        assert all(found[part] == before[part] for part in parts)
    assert set(found["users"]) == set(before["users"]) and set(done["users"]) == {"w20001", "w20002", "w20003"}


def test_next_run_ends_the_setup_script_of_a_killed_one_first(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on in what is being put back."""
    host.converge(ONE, TWO)
    before = host.census()
    killed(host, monkeypatch, web_setup, "run_foreign", after=True)
    assert [path.name for path in (host.root / "running").iterdir()] == ["website-setup-w20002.scope"]
    programs = len(host.lines("programs"))
    host.converge(ONE, TWO)
    assert host.lines("programs")[programs:][0] == "systemctl stop website-setup-*.*"
    assert host.census()["running"] == before["running"]


def test_what_visitors_wrote_while_a_killed_update_was_live_stays(
    host: WebHost, monkeypatch: pytest.MonkeyPatch,
) -> None:
    host.converge(ONE, TWO)
    killed(host, monkeypatch, web_server, "look", after=False)
    (folder := host.root / "srv" / TWO["name"] / "data/public/gambar").joinpath("foto.jpg").write_text("unggahan")
    host.converge(ONE, TWO, {**NEW, "state": "purged"})
    assert (folder / "foto.jpg").read_text() == "unggahan"
    assert [str(path) for path in folder.parents[2].joinpath("releases").iterdir()] == [web.paths(TWO)["release"]]


@pytest.mark.parametrize(("module", "step"), BACK, ids=[step for _, step in BACK])
def test_killed_update_leaves_nothing_though_going_back_is_killed_too(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, module: Any, step: str,
) -> None:
    host.converge(ONE, TWO)
    before = host.census()
    back = [ONE, TWO, {**NEW, "state": "purged"}]
    killed(host, monkeypatch, web_server, "reload", after=False)
    killed(host, monkeypatch, module, step, after=False, wanted=back)
    host.converge(*back)
    found = host.census()
    assert all(found[part] == before[part] for part in ("srv", "log", "users"))
    assert host.converge(*back) == [] and not (host.root / "web/journal.json").exists()


WRITABLE = php(writable=["public/berkas", "public/gambar/kecil"])


@pytest.mark.parametrize("gone", ["data", "data/public/berkas", "data/public/gambar"])
def test_plan_names_writable_folders_that_are_gone_and_the_run_seeds_them_alone(host: WebHost, gone: str) -> None:
    """The live release stays the very folder it was, and nothing that visitors stored elsewhere is touched."""
    host.converge(ONE, WRITABLE)
    home, release = Path(web.paths(WRITABLE)["home"]), Path(web.paths(WRITABLE)["release"])
    before, inode = host.census()["srv"], release.stat().st_ino
    shutil.rmtree(home / gone)
    names = [f"data {f}" for f in WRITABLE["writable"] if not (home / "data" / f).exists()]
    assert actions(host.layer(ONE, WRITABLE).plan()) == [(TWO["name"], name, "create") for name in names]
    assert actions(host.converge(ONE, WRITABLE)) == [(TWO["name"], name, "create") for name in names]
    assert host.census()["srv"] == before and release.stat().st_ino == inode and host.converge(ONE, WRITABLE) == []


def test_writable_folder_that_is_gone_is_made_where_the_website_goes_back_to_a_kept_release(host: WebHost) -> None:
    host.converge(WRITABLE)
    before = host.census()["srv"]
    host.converge(php(archive=PHP_2))
    shutil.rmtree(Path(web.paths(WRITABLE)["data"]) / "public/gambar")
    host.converge(WRITABLE)
    found = host.census()["srv"]
    assert {path: found.get(path) for path in before} == before and host.converge(WRITABLE) == []


DATA = [*[(module, step) for module, step in STEPS if step in ("unpack", "guard", "share", "swap", "reload", "look")],
        (web_server, "make_folders"), (web_layer.Layer, "prune")]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "step"), DATA, ids=[step for _, step in DATA])
def test_next_run_mends_the_data_though_the_one_that_did_was_killed(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, after: bool,
) -> None:
    host.converge(ONE, WRITABLE)
    before = host.census()
    shutil.rmtree(web.paths(WRITABLE)["data"])
    killed(host, monkeypatch, module, step, after, wanted=[ONE, WRITABLE])
    host.converge(ONE, WRITABLE)
    found = host.census()
    assert all(found[part] == before[part] for part in ("srv", "log", "users"))
    assert host.converge(ONE, WRITABLE) == [] and not (host.root / "web/journal.json").exists()


def test_prune_keeps_so_many_releases_and_generations(host: WebHost) -> None:
    for _ in range(3):
        host.converge(website(archive=STATIC_2))
        host.converge(website())
    layer = host.layer(website(archive=STATIC_2), releases_kept=1)
    layer.apply(layer.plan())
    assert [path.name for path in (host.root / "srv" / ONE["name"] / "releases").iterdir()] == [sha(STATIC_2)[:32]]
    kept = sorted(int(path.name) for path in (host.root / "web/generations").iterdir())
    assert kept == [0, 5, 6, 7]


def test_prune_removes_no_file_that_is_no_archive(host: WebHost) -> None:
    """The folder's name is an option: somebody may give one that holds other things."""
    (host.root / "archives").mkdir()
    (host.root / "archives/catatan.txt").write_text("kept")
    host.converge(ONE)
    assert [path.name for path in (host.root / "archives").iterdir()] == ["catatan.txt"]


def test_run_that_ends_php_fpm_is_no_success_though_its_own_website_needs_none(host: WebHost) -> None:
    """Every other website with PHP would be down, and nobody told."""
    host.converge(ONE, php())
    (host.said / "ended").touch()
    with pytest.raises(Refused, match=r"is-active php\S+ ended with 3"):
        host.converge(website(archive=STATIC_2), php())


def test_failed_release_goes_only_when_no_worker_of_apache_serves_it(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker from before the reload may have let a visitor in, who would not find the file."""
    host.converge(website())
    new = website(archive=STATIC_2)
    release, there = Path(web.paths(new)["release"]), list[bool]()
    served_by = iter([{1}, {2}, {2, 3}, {3}])  # before each of the two reloads; then as the old one ends

    def workers() -> set[int]:
        there.append(release.exists())
        return next(served_by)

    def look(_: Any) -> None:
        raise Refused("it answers 500 after the change", "mend it")

    monkeypatch.setattr(web_layer, "workers", workers)
    monkeypatch.setattr(web_server, "look", look)
    host.converge(new)
    assert host.left and there == [True] * 4 and not release.exists()


def test_workers_that_do_not_end_are_waited_for_once(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    waited, layer = list[set[int]](), host.layer(ONE)
    monkeypatch.setattr(web_layer, "outlive", waited.append)
    layer.leaving = {1}
    layer.part()
    layer.part()
    assert waited == [{1}, set()]


def test_apaches_workers_are_the_children_of_its_main_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_layer, "MAIN", tmp_path / "apache2.pid")
    assert web_layer.workers() == set()
    (tmp_path / "apache2.pid").write_text(f"{os.getpid()}\n")
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in web_layer.workers()
        child.kill()

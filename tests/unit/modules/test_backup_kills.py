"""A restore in place that is killed at any step: the next run leaves the old website or the restored one, whole."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.transaction import Refused
from archive_cases import tree
from backup_cases import NAME, exchange, repository, restore, serve, snapshot, with_database
from website_backup import cli, database

OLD, NEW = "the website as it was", "the website as it was in the snapshot"
END = "\n-- Dump completed"
# All that changes a file or a database on the way; before each of these, and while a dump is loaded, a run is killed.
STEPS = [(tempfile, "mkdtemp"), (Path, "mkdir"), (Path, "rename"), (Path, "unlink"), (Path, "rmdir"),
         (Path, "write_text"), (shutil, "rmtree"), (exchange.os, "sync"), (database, "dump"), (database, "load")]


class Server:
    """A server whose website was snapshotted as NEW, and is OLD now. Its database is a file."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.home, self.rows = root, root / "srv" / NAME, root / "rows"
        self.settings, self.copies = serve(root, monkeypatch)
        monkeypatch.setattr(database, "dump", lambda *given: given[-1].write_text(self.rows.read_text() + END))
        monkeypatch.setattr(database, "load", self.load)
        with_database(self.settings, root)
        self.become(NEW)
        assert not snapshot.backup(self.settings, [], only_missing=False, plan=False).failures
        self.become(OLD)
        (self.home / "data/uploads/photo.jpg").rename(self.home / "data/uploads/other.jpg")

    def become(self, text: str) -> None:
        for path in (self.rows, self.home / "releases/0123/index.html", self.home / "data/uploads/photo.jpg"):
            path.write_text(text)

    def load(self, _: Any, __: Any, dump: Path) -> None:
        self.rows.write_text("neither")
        self.loaded(dump)

    def loaded(self, dump: Path) -> None:
        self.rows.write_text(dump.read_text().removesuffix(END))

    def state(self) -> str:
        """Which website is there: OLD, NEW, or what a mixture holds."""
        uploads = {"photo.jpg": NEW} if (self.home / "data/uploads/photo.jpg").exists() else {"other.jpg": OLD}
        found = {content for mode, content in tree(self.home).values() if content} | {self.rows.read_text()}
        there = {path.name: path.read_text() for path in (self.home / "data/uploads").glob("*")}
        return next(iter(found)) if len(found) == 1 and there == uploads else f"a mixture: {found}, {there}"

    def restore(self) -> None:
        restore.in_place(self.settings, NAME, "latest", with_database=True, plan=False)

    def run(self, *words: str) -> dict[str, Any]:
        """What the command does at its start, and its answer."""
        return cli.answer(cli.parser().parse_args(words), self.settings)

    def kept(self) -> list[Path]:
        return [path for path in self.home.parent.iterdir() if path != self.home]

    def whole(self) -> str:
        """After the next run: one of the two states, and nothing else but what a restore keeps."""
        state, kept = self.state(), self.kept()
        assert not exchange.pending(self.settings) and not [*self.settings.state_folder.glob("*/database.sql")]
        assert state in (OLD, NEW) and len(kept) == (state == NEW)
        for folder in kept:
            assert (folder / "data/uploads/other.jpg").read_text() == OLD == (folder / "release/index.html").read_text()
            assert (folder / "database.sql").read_text() == OLD + END and folder.name.startswith(".before-restore-")
        return state


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


def killed(at: int, do: Callable[[], Any], among: list[Any] = STEPS) -> bool:
    """Do it in a child that dies before the step of this number. False where it comes to its end before."""
    child = os.fork()
    if not child:
        steps = itertools.count(1)

        def dying(real: Callable[..., Any]) -> Callable[..., Any]:
            def step(*given: Any, **more: Any) -> Any:
                if next(steps) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*given, **more)
            return step

        for module, name in among:
            setattr(module, name, dying(getattr(module, name)))
        try:
            do()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_next_run_after_a_kill_at_any_step_leaves_one_state_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the snapshot's dump is loaded the old website comes back, from then on the restored one."""
    states, through = [], False
    for at in itertools.count(1):
        here = Server(tmp_path / str(at), monkeypatch)
        through = not killed(at, here.restore)
        report = here.run("backup")
        assert report["failures"] == {} and list(report["snapshots"]) == [NAME]
        states.append(here.whole())
        if through:
            break
    assert len(states) > 20 and states == sorted(states, key=[OLD, NEW].index) and set(states) == {OLD, NEW}


def test_next_run_settles_though_the_one_before_was_killed_as_it_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Server(tmp_path / "server", monkeypatch)
    shutil.copytree(tmp_path / "server", fresh := tmp_path / "fresh")
    reached = set()
    for first in itertools.count(1):
        for second in itertools.count(1):
            shutil.rmtree(here.root)
            shutil.copytree(fresh, here.root)
            ends = not killed(first, here.restore)
            through = not killed(second, lambda: exchange.tidy(here.settings))
            here.run("backup")
            reached.add((first, here.whole()))
            if through:
                break
        if ends:
            break
    assert len(reached) == first > 20, "and the first kill alone decides which"


def test_next_run_settles_where_putting_back_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange fails at the release, and the run dies as it puts back."""
    for at in itertools.count(1):
        here = Server(tmp_path / str(at), monkeypatch)
        move, failing = exchange.move, str(here.home / "releases/0123")

        def fails(path: str, to: str, move: Any = move, failing: str = failing) -> None:
            if to == failing and "/.restore-" in path:
                raise OSError(5, "Input/output error")
            move(path, to)

        with monkeypatch.context() as failed:
            failed.setattr(exchange, "move", fails)
            through = not killed(at, here.restore)
        here.run("backup")
        state = here.whole()
        if through:
            assert state == OLD and at > 20
            return


def between(here: Server) -> None:
    """Kill a restore when `data` is away, and what was restored is not yet in its place."""
    assert killed(2, here.restore, [(exchange, "move")]) and not (here.home / "data").exists()


def test_run_that_waited_for_the_lock_settles_before_it_snapshots(here: Server) -> None:
    """It began before the restore that was killed, and would have snapshotted half a website."""
    between(here)
    report = snapshot.backup(here.settings, [], only_missing=False, plan=False)
    assert report.failures == {} and here.state() == NEW
    home = here.copies.store / report.snapshots[NAME]["id"] / "tree" / here.home.relative_to("/")
    assert (home / "data/uploads/photo.jpg").exists()


class Locks:
    """Stands for the server's locks, and tells which were held whenever the exchange did something."""

    def __init__(self, here: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held: list[str] = []
        self.seen: dict[str, set[tuple[str, ...]]] = {}
        for module in (exchange, restore):
            monkeypatch.setattr(module, "server_lock", self.lock)
        for module, name in ((exchange, "move"), (exchange, "settle"), (restore, "_pairs"), (database, "load")):
            monkeypatch.setattr(module, name, self.watched(name, getattr(module, name)))
        monkeypatch.setattr(here.copies, "restore", self.watched("restic", here.copies.restore))

    def watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any) -> Any:
            self.seen.setdefault(name, set()).add(tuple(self.held))
            return real(*given)
        return step

    @contextlib.contextmanager
    def lock(self, layer: str, *_: Any) -> Iterator[None]:
        assert layer not in self.held, "it would wait for itself"
        self.held.append(layer)
        yield
        assert self.held.pop() == layer


def test_restore_exchanges_under_the_web_layers_lock_and_reads_the_repository_without(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setup script on a database that is being loaded, and a release unpacked between two renames, spoil both."""
    locks = Locks(here, monkeypatch)
    here.restore()
    both = {("backup", "web")}
    assert here.state() == NEW and not locks.held
    assert locks.seen == {"restic": {("backup",)}, "_pairs": both, "load": both, "move": both}


def test_restore_that_fails_or_was_killed_is_put_back_under_the_web_layers_lock(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(here)
    locks = Locks(here, monkeypatch)
    exchange.tidy(here.settings)
    assert here.state() == NEW and locks.seen["settle"] == locks.seen["move"] == {("backup", "web")}
    monkeypatch.setattr(exchange, "bring", refuse)
    with pytest.raises(Refused, match="server is down"):
        here.restore()
    assert here.state() == NEW and locks.seen["settle"] == {("backup", "web")} and not exchange.pending(here.settings)


def test_restore_that_waits_for_the_web_layer_in_vain_leaves_nothing(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "server_lock", refuse)
    with pytest.raises(Refused):
        here.restore()
    assert here.state() == OLD and here.kept() == [] and not exchange.pending(here.settings)


def test_folder_that_the_web_layer_made_meanwhile_is_kept(here: Server) -> None:
    """Visitors may have stored something in it."""
    between(here)
    (here.home / "data/uploads").mkdir(parents=True)
    (here.home / "data/uploads/baru.jpg").write_text("new")
    here.run("backup")
    [kept] = here.kept()
    assert here.state() == NEW
    assert (kept / "data-1/uploads/baru.jpg").exists() and (kept / "data/uploads/other.jpg").exists()


def test_website_that_cannot_be_settled_gets_no_snapshot_and_holds_no_other_back(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed(1, here.restore, [(here, "loaded")]) and here.rows.read_text() == "neither"
    entries = json.loads(Path(here.settings.websites_file).read_text())
    other = json.loads(json.dumps(entries[0]).replace(NAME, "lain.go.id")) | {"uid": 20002, "database": None}
    shutil.copytree(here.home, here.home.with_name("lain.go.id"))
    Path(here.settings.websites_file).write_text(json.dumps([*entries, other]))
    (needed,) = here.home.parent.glob(".restore-*")
    (left := here.home.with_name(".restore-lain.go.id-x")).mkdir()
    with monkeypatch.context() as down:
        down.setattr(database, "load", refuse)
        report = here.run("backup")
    assert list(report["failures"]) == [NAME] and "was cut off, and cannot be settled" in report["failures"][NAME]
    assert "what was there before lies in" in report["failures"][NAME] and needed.exists() and not left.exists()
    assert "lain.go.id" in report["snapshots"] and len(here.copies.snapshots()) == 2
    assert here.run("backup")["failures"] == {} and here.state() == OLD
    assert not exchange.pending(here.settings)


def test_database_that_cannot_be_put_back_is_settled_by_the_dump_that_somebody_mended(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dump holds what its own account may not load; the administrator takes that out of the file."""
    assert killed(1, here.restore, [(here, "loaded")])
    (dump,) = here.home.parent.glob(".before-restore-*/database.sql")
    whole = dump.read_text()
    dump.write_text(f"refused{whole}")
    monkeypatch.setattr(database, "load", lambda *given: refuse() if given[-1].read_text().startswith("refused")
                        else here.load(*given))
    for _ in range(2):
        assert f"what was there before lies in {dump.parent}" in here.run("backup")["failures"][NAME]
    dump.write_text(whole)
    assert here.run("backup")["failures"] == {} and here.whole() == OLD


def refuse(*_: Any) -> None:
    raise Refused("the database server is down", "start it")


def test_plan_settles_nothing(here: Server) -> None:
    between(here)
    for words in (["backup", "--plan"], ["restore", NAME, "--in-place", "--plan"]):
        here.run(*words)
        assert not (here.home / "data").exists()


def test_restore_of_a_website_that_was_purged_meanwhile_is_forgotten(here: Server) -> None:
    between(here)
    shutil.rmtree(here.home)
    Path(here.settings.websites_file).write_text("[]")
    here.run("backup")
    assert not exchange.pending(here.settings)
    assert [path.name[:8] for path in here.home.parent.iterdir()] == [".before-"], "its data, nobody else has them"


def test_restore_of_a_website_whose_list_is_lost_is_not_forgotten(here: Server) -> None:
    between(here)
    listed = Path(here.settings.websites_file)
    text = listed.read_text()
    listed.unlink()
    here.run("backup")
    assert exchange.pending(here.settings) and here.kept()
    listed.write_text(text)
    here.run("backup")
    assert here.whole() == NEW


def test_settling_says_what_to_do_where_both_folders_are_gone(here: Server) -> None:
    """Somebody took `.restore-*` for rubbish."""
    between(here)
    shutil.rmtree(next(path for path in here.kept() if path.name.startswith(".restore-")))
    said = here.run("backup")["failures"][NAME]
    assert f"{here.home}/data is gone" in said and "cannot be settled" in said


def test_second_restore_within_a_second_keeps_the_first_ones_folder(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = SimpleNamespace(datetime=SimpleNamespace(now=lambda _: datetime.datetime(2026, 11, 25)), UTC=datetime.UTC)
    monkeypatch.setattr(restore, "datetime", still)
    here.restore()
    here.restore()
    assert len(here.kept()) == 2 and here.state() == NEW


def test_release_that_was_not_there_goes_again_when_the_restore_is_put_back(
    here: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot of an earlier release, whose folder was let go since."""
    (here.home / "releases/0123").rename(here.home / "releases/4567")
    entry = json.loads(Path(here.settings.websites_file).read_text())[0]
    entry["paths"]["release"] = str(here.home / "releases/4567")
    Path(here.settings.websites_file).write_text(json.dumps([entry]))
    before = tree(here.home)
    with monkeypatch.context() as failed:
        failed.setattr(exchange, "bring", lambda given, bring=exchange.bring: bring(given) or refuse())
        assert killed(2, here.restore, [(database, "load")]) and not (here.home / "releases/0123").exists()
    here.run("backup")
    assert tree(here.home) == before and here.kept() == []


def test_client_ends_with_the_run_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic, or a dump that is being loaded, would go on while the next run settles."""
    program, told = tmp_path / "restic", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {told}.new\nmv {told}.new {told}\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    given, _ = serve(tmp_path / "server", monkeypatch)
    true = repository.Repository(given)
    child = os.fork()
    if not child:
        try:
            true.call("prune")
        finally:
            os._exit(0)
    until(told.exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until(lambda: not runs(int(told.read_text())))


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)

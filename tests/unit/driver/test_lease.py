"""Drivers on several machines take turns; who lost the turn stops its play and records nothing more."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from driver.cluster import Cluster
from driver.desk import PROJECT, Desk, FakeFleet
from sop_driver import desired, lease, run, standing, trust
from sop_driver.errors import Failed, Refused, SopError
from sop_driver.register import Register
from sop_driver.standing import Office

NAME = "dinkes.tarakankota.go.id"
LAPSE = "UPDATE sop.lease SET until = clock_timestamp() - interval '1 second'"  # as a minute without a sign of life


@pytest.fixture
def desk(shared_desk: Desk) -> Desk:
    return shared_desk


@pytest.fixture
def other(desk: Desk) -> Iterator[Office]:
    """The driver on another machine, with the same home and register."""
    office = desk.opened(desk.office.register.now)
    yield office
    office.register.close()


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lapse(register: Register) -> None:
    register.db.exec_driver_sql(LAPSE)


def overtaken(desk: Desk, other: Office, when: str) -> tuple[SopError, list[str]]:
    """A run of `desk` whose lease lapses, and is taken over, while a playbook runs: its end, and what it played."""
    request, stack, before = desk.approved(), contextlib.ExitStack(), list[int]()

    def froze(playbook: str, check: bool) -> None:
        if (playbook, check) == (when, False) and not before:
            lapse(other.register)
            stack.enter_context(lease.turn(other.home, other.register))
            before.append(len(desk.fleet.played))

    desk.fleet.on_play = froze
    with stack, pytest.raises(SopError) as error:
        desk.run(request)
    desk.fleet.on_play = lambda playbook, check: None
    return error.value, [name for name, _, _ in desk.fleet.played[before[0] :]]


def test_another_machines_run_is_refused_and_says_whose_and_until_when(desk: Desk, other: Office) -> None:
    request = desk.approved()
    with lease.turn(other.home, other.register), pytest.raises(Refused) as error:
        desk.run(request)
    who = f"process {os.getpid()} of {os.environ.get('LOGNAME') or os.getuid()} on {socket.gethostname()}"
    assert who in str(error.value) and re.search(r"free at \d\d:\d\d:\d\d UTC", str(error.value))
    assert desk.outcomes() == [] and desk.fleet.played == []


def test_lease_is_given_back_at_once_and_its_token_grows(desk: Desk, other: Office) -> None:
    tokens = []
    for register in (desk.office.register, other.register, desk.office.register):
        with lease.turn(other.home, register):
            tokens += register.db.exec_driver_sql("SELECT token FROM lease").scalars().all()
    assert len(tokens) == 3 and tokens == sorted(set(tokens))


@pytest.mark.parametrize("which", ["Guard", "Thread"])
def test_lease_is_given_back_where_nothing_can_be_started_beside_the_driver(
    desk: Desk, other: Office, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Its machine has no room for another process just now: the fleet need not wait a minute for that."""
    def full(*words: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(lease, which, full)
    taking = lease.turn(desk.office.home, desk.office.register, "SOP_DRIVER=1")
    with pytest.raises(BlockingIOError), taking:
        pass
    monkeypatch.undo()
    with lease.turn(other.home, other.register):
        pass


@pytest.mark.parametrize("lost", [
    "DELETE FROM sop.lease", "UPDATE sop.lease SET token = token - 1, until = '-infinity'",
    "UPDATE sop.lease SET token = 9000000000000000, until = '-infinity'"])
def test_driver_whose_lease_was_lost_from_the_database_writes_nothing_more(
    desk: Desk, other: Office, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """By hand, or as its table was put back from a backup; the next driver's number could be the same."""
    monkeypatch.setattr(lease, "PAUSE", 60)  # it is not told before it writes
    mine = desk.office.register
    with lease.turn(desk.office.home, mine):
        other.register.db.exec_driver_sql(lost)
        with lease.turn(other.home, other.register):
            with pytest.raises(Failed, match="was taken over by process"), mine.writing():
                pass
            with other.register.writing():
                pass


@pytest.mark.parametrize("when", ["websites.yml", "probe.yml"])
def test_driver_that_was_taken_over_records_nothing_and_plays_nothing_more(
    desk: Desk, other: Office, when: str
) -> None:
    error, played = overtaken(desk, other, when)
    assert isinstance(error, Failed) and "was taken over by process" in str(error)
    assert re.search(r", lease \d+, now \d+\n", str(error))
    assert desk.outcomes() == ["started"]
    after = played[played.index("end leftovers") :]
    assert after == ["end leftovers", "reverse.yml", "end leftovers", *reversed(run.LAYERS)]
    assert NAME in desk.fleet.existing  # those plays did nothing


def test_driver_that_was_taken_over_leaves_the_desired_states_file_alone(
    desk: Desk, other: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It froze when its run was applied; the other driver has brought more onto the servers since."""
    request, more, real = desk.approved(), desk.approved(name="lain.tarakankota.go.id"), run._close

    def froze(*words: Any) -> None:
        real(*words)
        monkeypatch.undo()
        lapse(other.register)
        run.run(other, desk.fleet, desk.facts, [more], desk.sign)

    monkeypatch.setattr(run, "_close", froze)
    with pytest.raises(Failed, match="was taken over"):
        desk.run(request)
    assert desired.read(desk.office.home.desired) == desired.fold(desk.office.register)
    assert len(desired.fold(desk.office.register)) == 2


def test_next_driver_reconciles_and_installs_as_after_a_crash(desk: Desk, other: Office) -> None:
    overtaken(desk, other, "probe.yml")
    outcome = run.run(other, desk.fleet, desk.facts, ["R-2026-0001"], desk.sign)
    assert desk.outcomes() == ["started", "interrupted", "started", "applied"] and outcome.run == "run-000002"
    assert standing.stand(desk.office, "R-2026-0001").installed and trust.examine(desk.office).findings == []
    assert desired.fold(desk.office.register)[NAME]["uid"] == 20001  # never the lost run's again


def test_run_that_is_no_longer_covered_ends_unknown_where_nobody_took_over(desk: Desk) -> None:
    """The database was away for long: not even putting back may go on, since another driver may begin."""

    def silent(playbook: str, check: bool) -> None:
        if playbook == "probe.yml":
            desk.fleet.lost = lambda: True

    desk.fleet.on_play, request = silent, desk.approved()
    with pytest.raises(Failed, match=r"(?s)no sign of life.*UNKNOWN"):
        desk.run(request)
    desk.fleet.on_play = lambda playbook, check: None
    assert desk.outcomes() == ["started", "unknown"]
    desk.run(request)
    assert desk.outcomes()[2:] == ["interrupted", "started", "applied"]


def test_steps_are_taken_while_another_driver_has_the_fleet(desk: Desk, other: Office) -> None:
    with lease.turn(other.home, other.register):
        assert desk.submit() == "R-2026-0001"


def test_nobody_takes_over_while_a_result_is_being_written(desk: Desk, other: Office) -> None:
    """Else the other driver could begin by a register that lacks it."""
    took = threading.Event()

    def take() -> None:
        with lease.turn(other.home, other.register):
            took.set()

    mine = desk.office.register
    with lease.turn(desk.office.home, mine):
        with mine.writing():
            mine.append("record")
            lapsed = desk.register()
            thread = threading.Thread(target=take)
            # Lapsed by its time: the other one now waits for the row that this transaction holds.
            mine.db.exec_driver_sql(LAPSE)
            thread.start()
            waiting = "SELECT position('lease' IN query) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            until(lambda: bool(lapsed.db.exec_driver_sql(waiting).scalar()))
            assert not took.is_set()
            lapsed.close()
        thread.join(30)
        assert took.is_set() and mine.head()[0] == 2
        with pytest.raises(Failed, match="taken over"):
            mine.append("record")
    assert mine.append("record").sequence == 3


def test_lease_is_renewed_as_long_as_the_database_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    """While it does not, the play stops before anybody may take over; a lease that nobody took is good again."""
    monkeypatch.setattr(lease, "PAUSE", 0.05)
    monkeypatch.setattr(lease, "SPARE", lease.SECONDS - 1)  # so that a second without an answer is too long
    with lease.turn(desk.office.home, desk.office.register) as lost:
        ends = {desk.office.register.db.exec_driver_sql("SELECT until FROM lease").scalar()}
        until(lambda: desk.office.register.db.exec_driver_sql("SELECT until FROM lease").scalar() not in ends)
        cluster.stop()
        until(lost)
        cluster.start()
        until(lambda: not lost())
        assert desk.office.register.append("record").sequence == 2


@pytest.mark.parametrize("lives", [False, True])
def test_play_of_a_driver_that_is_stopped_is_ended_before_another_one_may_take_over(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    """By ^Z, say: it cannot end it itself, and the play, a session of its own, would go on changing servers."""
    monkeypatch.setattr(lease, "SECONDS", 4.0)
    monkeypatch.setattr(lease, "SPARE", 2.0)
    monkeypatch.setattr(lease, "PAUSE", 0.2 if lives else 60)
    play, other = [subprocess.Popen(["sleep", "60"], env={**os.environ, "SOP_DRIVER": name}) for name in ("1", "2")]
    with lease.turn(desk.office.home, desk.office.register, "SOP_DRIVER=1"):
        ended, seconds = False, desk.office.register.db.exec_driver_sql("SELECT until - clock_timestamp() FROM lease")
        with contextlib.suppress(subprocess.TimeoutExpired):
            ended = play.wait(seconds.scalar_one().total_seconds()) == -signal.SIGKILL
        assert ended is not lives
    assert play.wait(10) == -signal.SIGKILL and other.poll() is None  # nor does it go on once its driver is gone
    other.kill()
    other.wait()


def test_driver_learns_of_being_taken_over_without_writing(
    desk: Desk, other: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PAUSE", 0.05)
    with lease.turn(desk.office.home, desk.office.register) as lost:
        lapse(other.register)
        with lease.turn(other.home, other.register):
            until(lost)


def test_file_of_sqlite_needs_no_lease(file_desk: Desk) -> None:
    request = file_desk.approved()
    file_desk.run(request)
    assert "lease" not in file_desk.office.register.db.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()


DRIVER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from driver.desk import Desk
desk = Desk(Path(sys.argv[2]), url=sys.argv[3])
desk.office = desk.opened(desk.clock)
desk.clock.time = list(desk.office.register.entries())[-1].when
def die(playbook, check):
    if playbook == "probe.yml":
        os.kill(os.getpid(), signal.SIGKILL)
desk.fleet.on_play = die
desk.run("R-2026-0001")
"""


def test_killed_driver_keeps_the_fleet_until_its_lease_lapses(desk: Desk, other: Office) -> None:
    request = desk.approved()
    words = [sys.executable, "-c", DRIVER, str(PROJECT / "tests/unit"), str(desk.folder), desk.place]
    done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -9, done.stderr
    with pytest.raises(Refused, match="under way"):
        desk.run(request)
    lapse(other.register)
    desk.run(request)
    assert desk.outcomes() == ["started", "interrupted", "started", "applied"]
    assert trust.examine(desk.office).findings == []


def test_evidence_that_one_machine_takes_is_there_for_the_other(desk: Desk, other: Office, tmp_path: Path) -> None:
    request = desk.approved()
    run.run(other, desk.fleet, desk.facts, [request], desk.sign)
    assert standing.stand(desk.office, request).installed


@pytest.mark.parametrize("when", ["its answer is lost", "the server stops", "the connection ends after it"])
def test_run_that_is_recorded_is_not_put_back_where_the_database_breaks_off(
    desk: Desk, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Nobody tells the driver that it is recorded; the next call asks, and makes what is missing."""
    request, store, broken = desk.approved(), desk.office.register.store, list[str]()
    real = store.commit

    def commit() -> None:
        if broken or "applied" not in desk.outcomes():
            return real()
        broken.append(when)
        connection: Any = store.db.connection.driver_connection
        if when == "the connection ends after it":
            real()
        else:
            connection.execute("COMMIT")
        if when == "the server stops":
            cluster.stop()
        else:
            cluster.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        if when != "the connection ends after it":
            real()
        return None

    monkeypatch.setattr(store, "commit", commit)
    if when == "the connection ends after it":
        assert desk.run(request).records
    else:
        with pytest.raises(Failed):
            desk.run(request)
    if when == "the server stops":
        cluster.start()
    desk.__dict__["office"] = desk.opened(desk.clock)
    assert desk.outcomes() == ["started", "applied"] and list(desk.fleet.existing) == [NAME]
    desk.office.register.db.exec_driver_sql(LAPSE)  # where no word of its end could come
    if when != "the connection ends after it":
        assert desk.run(request).records and list(desk.fleet.existing) == [NAME]
    assert trust.examine(desk.office).findings == []


def test_driver_that_was_taken_over_while_it_planned_leaves_the_next_ones_files_alone(
    desk: Desk, other: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a run begins, both would call it by one number."""
    mine, more = desk.approved(), desk.approve(desk.submit(name="lain.tarakankota.go.id"))
    frozen, awake, ended, real = threading.Event(), threading.Event(), list[SopError](), run._order

    def order(office: Office, *words: Any) -> Any:
        if office is desk.office:
            frozen.set()
            assert awake.wait(60)
        return real(office, *words)

    def first() -> None:
        try:
            run.run(desk.office, FakeFleet(), desk.facts, [mine], desk.sign)
        except SopError as error:
            ended.append(error)

    thread = threading.Thread(target=first)

    def planned(playbook: str, check: bool) -> None:
        if check:
            awake.set()
            thread.join(60)

    monkeypatch.setattr(run, "_order", order)
    thread.start()
    assert frozen.wait(60)
    other.register.db.exec_driver_sql(LAPSE)
    desk.fleet.on_play = planned
    run.run(other, desk.fleet, desk.facts, [more], desk.sign)
    assert "the fleet was taken over" in str(ended[0])
    assert list(desk.fleet.existing) == list(desired.fold(other.register)) == ["lain.tarakankota.go.id"]


def test_register_is_written_to_after_a_read_that_broke_off(desk: Desk, cluster: Cluster) -> None:
    register = desk.office.register
    pid = register.db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    cluster.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(Failed):
        register.head()
    assert register.append("record").sequence == 2

"""A closed window stops every run, says why and until when, and ends early by two officials' word only."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from driver import people
from driver.desk import Desk, failing
from driver.test_cli import Sop, fleet, sop
from sop_driver import orders, run, trust
from sop_driver.errors import Failed, Refused, Usage
from sop_driver.register import Entry

__all__ = ["fleet", "sop"]
BY = ["kadis", "kasubbag"]


def freeze(desk: Desk, start: str = "2026-11-01", until: str = "2026-11-05", by: list[str] = BY) -> Entry:
    times = (orders.moment(start, desk.office, "--from"), orders.moment(until, desk.office, "--until", last=True))
    entry = orders.freeze(desk.office, *times, by, desk.sign, "Pilkada serentak")
    assert entry is not None
    return entry


def test_window_stops_an_approved_request_with_its_words(desk: Desk) -> None:
    request = desk.approved()
    entry = freeze(desk)
    for refused in (lambda: desk.run(request), lambda: run.cleared(desk.office, [request])):
        with pytest.raises(Refused) as error:
            refused()
        refusal, = error.value.refusals
        assert refusal.gate == "freeze" and f"(entry {entry.sequence})" in refusal.what
        assert "from 2026-11-01 00:00:00 WITA to 2026-11-05 23:59:59 WITA" in refusal.what
        assert "Pilkada serentak" in refusal.what and f"sop freeze end {entry.sequence}" in refusal.mend
    assert desk.fleet.played == []
    shown, refusals = run.show(desk.office, desk.fleet, desk.facts, [request])
    assert shown.changes and [refusal.gate for refusal in refusals] == ["freeze"]


def test_window_stops_nothing_before_and_after_it(desk: Desk) -> None:
    freeze(desk, "2026-11-03", "2026-11-04")
    desk.run(desk.approved())
    desk.clock.time += timedelta(days=1)
    request = desk.approved(kind="update", title="Lain")
    with pytest.raises(Refused, match="Pilkada"):
        desk.run(request)
    desk.clock.time += timedelta(days=2)
    desk.run(request)
    assert desk.outcomes() == ["started", "applied"] * 2 and trust.examine(desk.office).findings == []


def test_window_ends_early_by_two_officials(desk: Desk) -> None:
    request, entry = desk.approved(), freeze(desk)
    with pytest.raises(Refused, match="2 of kadis, kasubbag, bidang"):
        orders.unfreeze(desk.office, entry.sequence, ["kadis"], desk.sign, "selesai")
    orders.unfreeze(desk.office, entry.sequence, ["kadis", "kabid"], desk.sign, "selesai lebih awal")
    desk.run(request)
    with pytest.raises(Refused, match="closes no window"):
        orders.unfreeze(desk.office, entry.sequence, BY, desk.sign, "x")
    assert trust.examine(desk.office).findings == []


@pytest.mark.parametrize("by", [[], ["kadis"], ["kadis", "kadis"], ["kadis", "dinkes"]])
def test_window_takes_two_officials(desk: Desk, by: list[str]) -> None:
    with pytest.raises(Refused, match="2 of kadis, kasubbag, bidang"):
        freeze(desk, by=by)
    assert desk.office.people().windows == {}


@pytest.mark.parametrize(
    ("start", "until"), [("2026-11-05", "2026-11-04"), ("2026-10-01", "2026-10-02"), ("besok", "lusa"),
                         ("2026-11-05T08:00+07:00", "2026-11-06")])
def test_window_that_closes_nothing_is_refused(desk: Desk, start: str, until: str) -> None:
    with pytest.raises(Usage):
        freeze(desk, start, until)


def test_window_that_closes_nothing_is_told_as_it_was_given(desk: Desk) -> None:
    """By the agency's clock: by another one it is of another day."""
    with pytest.raises(Usage, match="from 2026-11-05 00:00:00 WITA to 2026-11-04 23:59:59 WITA closes nothing"):
        freeze(desk, "2026-11-05", "2026-11-04")


@pytest.mark.parametrize("text", [
    "20261127", "2026-W48-5", "20261127T1700", "2026-11-27 17:00", "2026-11-27T17", "2026-11-27T17:00:00.5",
    "2026-11-27T17:00Z", "2026-11-27T17:00+08:00", "0001-01-01", "1999-12-31", "9999-12-31", "2026-11-31",
    "2026-11-27T24:00", "\uff12026-11-27", "2026-11-27\n", ""])
def test_day_has_one_spelling(file_desk: Desk, text: str) -> None:
    """Of another one it could not be told whether it counts to the day's last second."""
    for last in (False, True):
        with pytest.raises(Usage, match="write it as 2026-12-31 or 2026-12-31T17:00"):
            orders.moment(text, file_desk.office, "--until", last=last)


@pytest.mark.parametrize(("text", "first", "last"), [
    ("2026-11-27", "2026-11-26T16:00:00Z", "2026-11-27T15:59:59Z"),
    ("2026-11-27T17:00", "2026-11-27T09:00:00Z", "2026-11-27T09:00:00Z"),
    ("2026-11-27T17:00:30", "2026-11-27T09:00:30Z", "2026-11-27T09:00:30Z"),
    ("2999-12-31", "2999-12-30T16:00:00Z", "2999-12-31T15:59:59Z")])
def test_day_counts_from_its_first_second_to_its_last(file_desk: Desk, text: str, first: str, last: str) -> None:
    assert orders.moment(text, file_desk.office, "--from") == first
    assert orders.moment(text, file_desk.office, "--until", last=True) == last


def test_time_out_of_reach_is_refused_by_each_command(desk: Desk, sop: Sop) -> None:
    request, two = desk.approved(), ("--reason", "x", "--signed-by", *BY)
    for words in (("freeze", "add", "--from", "0001-01-01", "--until", "2027-01-01"),
                  ("freeze", "add", "--from", "2027-01-01", "--until", "9999-12-31"),
                  ("emergency", "declare", request, "--until", "0001-01-02"),
                  ("actors", "enroll", "plh", "--name", "P", "--role", "kadis", "--stands-in", "Plh", "--until",
                   "0001-01-02", "--public", people.public("plh"))):
        code, _, err = sop(*words, *two)
        assert code == 2 and "is no day and no time of the agency's clock" in err, err


def test_window_that_begins_while_the_plan_is_made_stops_the_run(desk: Desk) -> None:
    request = desk.approved()
    freeze(desk, "2026-11-02T10:00", "2026-11-02T12:00")

    def slow(playbook: str, check: bool) -> None:
        desk.clock.time = desk.clock.time.replace(hour=2)  # 10:00 WITA

    desk.fleet.on_play = slow
    with pytest.raises(Refused, match="Pilkada"):
        desk.run(request)
    assert desk.outcomes() == [] and all(check for _, check, _ in desk.fleet.played)


def test_dead_run_is_put_back_in_a_window_too(desk: Desk) -> None:
    request = desk.approved()
    desk.fleet.faults = {"websites.yml": failing, "reverse.yml": failing, "web.yml": failing}
    with pytest.raises(Failed, match="UNKNOWN"):
        desk.run(request)
    desk.fleet.faults.clear()
    freeze(desk)
    with pytest.raises(Refused, match="Pilkada"):
        desk.run(request)
    assert desk.outcomes() == ["started", "unknown", "interrupted"]


def test_run_in_a_window_is_found_by_whoever_verifies(desk: Desk) -> None:
    """A changed driver may run; the register still shows it."""
    desk.approved()
    freeze(desk)
    data: dict[str, Any] = {"run": "run-000001", "requests": [], "allocations": [], "desired": "0" * 64}
    desk.office.register.append("run", outcome="started", data=data)
    lines = trust.examine(desk.office).lines()
    assert "entry 11: run-000001 was started while entry 10 let nothing be changed" in lines[0]


def test_calendar_by_commands(desk: Desk, sop: Sop, fleet: Any) -> None:
    request = desk.approved()
    keys = [word for name in BY for word in ("--key", f"{name}={desk.folder / 'keys' / name}")]
    words = ("--reason", "Audit BPK", "--signed-by", *BY, *keys)
    today = datetime.now(ZoneInfo("Asia/Makassar")).date()  # commands have the machine's clock
    soon, later, last = (today + timedelta(days=days) for days in (2, 7, 8))
    for start, until in ((today, f"{soon}T17:00"), (later, last)):
        code, out, err = sop("freeze", "add", "--from", start, "--until", until, *words)
        assert code == 0 and "freeze: Audit BPK" in out, err
    code, out, _ = sop("freeze", "list")
    assert out.splitlines()[0].startswith(f"CLOSED NOW: from {today} 00:00:00 WITA to {soon} 17:00:00 WITA")
    assert out.splitlines()[1].startswith(f"to come: from {later} 00:00:00 WITA to {last} 23:59:59 WITA")
    assert sop("status")[1].startswith(f"FREEZE: from {today}")
    code, _, err = sop("run", request)
    assert code == 3 and "gate: freeze" in err and "Audit BPK" in err
    assert sop("freeze", "end", 10, *words)[0] == 0 and "over: from" in sop("freeze", "list")[1]
    assert [window["number"] for window in json.loads(sop("freeze", "list", "--json")[1])] == [10, 11]
    assert sop("run", request)[0] == 0 and "freeze to come" in sop("status")[1]

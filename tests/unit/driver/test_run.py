"""A run ends applied, or with the servers as they were; whatever happens, the register says which."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver import people
from driver.desk import PROJECT, Desk, failing, silent, tar_of, unreachable
from sop_driver import desired, job, lease, notary, orders, records, report, run, standing, trust
from sop_driver.errors import Failed, Interrupted, Recorded, Refused, SopError
from sop_driver.fleet import FleetResult, Result

NAME = "dinkes.tarakankota.go.id"


def go(desk: Desk, *requests: str) -> run.Outcome:
    return desk.run(*requests)


def ends(desk: Desk, *requests: str) -> SopError:
    with pytest.raises(SopError) as error:
        go(desk, *requests)
    return error.value


def test_run_creates_records_and_backs_up(desk: Desk) -> None:
    request = desk.approved()
    outcome = go(desk, request)
    assert desk.outcomes() == ["started", "applied"] and standing.stand(desk.office, request).installed
    assert [p[:2] for p in desk.fleet.played] == [
        ("websites.yml", True),
        ("websites.yml", False),
        ("probe.yml", False),
        ("backup.yml", False),
    ]
    assert [row["name"] for row in json.loads(desk.office.home.desired.read_text())["websites"]] == [NAME]
    assert outcome.backup_fault is None and outcome.snapshots[NAME] == {"web1": {"id": "abc"}}
    files = {path.relative_to(desk.office.home.records).as_posix() for path in outcome.records}
    assert files == {"configuration.yml", *(f"{NAME}/{s}.json" for s in ("configuration", "backup", "network"))}
    assert trust.examine(desk.office).findings == []


def test_run_update_backs_up_first_and_keeps_place(desk: Desk) -> None:
    go(desk, desk.approved())
    before = desired.fold(desk.office.register)[NAME]
    desk.fleet.played.clear()
    go(desk, desk.approved(kind="update", title="Baru"))
    after = desired.fold(desk.office.register)[NAME]
    assert desk.fleet.played[1] == ("backup.yml", False, [NAME]) and desk.fleet.played[2][0] == "websites.yml"
    assert {k for k in before if before[k] != after[k]} == {"title", "agenda", "request", "probe"}


def test_run_refuses_at_the_gates_and_touches_nothing(desk: Desk) -> None:
    error = ends(desk, desk.submit())
    assert isinstance(error, Refused) and len(error.refusals) == 7 and error.code == 3
    assert desk.fleet.played == [] and desk.outcomes() == []


def test_run_refuses_a_name_taken_on_the_fleet(desk: Desk) -> None:
    request = desk.approved()
    desk.fleet.foreign = {NAME}
    error = ends(desk, request)
    assert isinstance(error, Refused) and error.refusals[0].gate == "existence check" and "x.conf" in str(error)
    assert desk.outcomes() == [] and desk.fleet.existing == {}


def test_run_puts_back_when_a_layer_leaves_its_website(desk: Desk) -> None:
    """Its requester must not be told that it is done."""
    go(desk, desk.approved(name="lain.tarakankota.go.id"))
    before = dict(desk.fleet.existing)

    def mend(playbook: str, check: bool) -> None:
        if desk.fleet.played[-2][0] == "end leftovers":
            desk.fleet.bad.clear()

    desk.fleet.bad, desk.fleet.on_play = {NAME: "its setup script failed"}, mend
    error = ends(desk, desk.approved())
    assert isinstance(error, Failed) and "its setup script failed (web on web1): mend it" in str(error)
    assert desk.outcomes()[2:] == ["started", "rolled_back"] and desk.fleet.existing == before


def test_run_tells_of_another_website_that_a_layer_left_and_goes_on(desk: Desk) -> None:
    other = "lain.tarakankota.go.id"
    go(desk, desk.approved(name=other))
    desk.fleet.bad = {other: "its archive is missing"}
    outcome = go(desk, desk.approved())
    assert outcome.left == {other: "its archive is missing (web on web1): mend it"}
    assert desk.outcomes()[2:] == ["started", "applied"] and NAME in desk.fleet.existing


def test_run_is_put_back_whatever_is_wrong_with_another_website(desk: Desk) -> None:
    other = "lain.tarakankota.go.id"
    go(desk, desk.approved(name=other))
    desk.fleet.bad, desk.fleet.faults["probe.yml"] = {other: "its archive is missing"}, failing
    ends(desk, desk.approved())
    assert desk.outcomes()[2:] == ["started", "rolled_back"]


def test_run_ends_unknown_when_its_own_website_cannot_be_put_back(desk: Desk) -> None:
    desk.fleet.bad = {NAME: "its user is in use"}
    error = ends(desk, desk.approved())
    assert "UNKNOWN" in str(error) and str(error).count("its user is in use") == 2
    assert desk.outcomes() == ["started", "unknown"]


def test_run_goes_on_where_another_websites_name_is_taken(desk: Desk) -> None:
    """It will not be touched; its own request is refused by the existence check."""
    other = "lain.tarakankota.go.id"
    go(desk, desk.approved(name=other))
    desk.fleet.foreign = {other}
    del desk.fleet.existing[other]
    plan, refusals = run.show(desk.office, desk.fleet, desk.facts, [desk.approved()])
    assert refusals == [] and "vhost on web1 is not from this register" in plan.others([NAME])[0]


def test_run_refuses_drift_and_says_which(desk: Desk) -> None:
    go(desk, desk.approved(name="lain.tarakankota.go.id"))
    desk.fleet.existing["lain.tarakankota.go.id"]["title"] = "changed by hand"
    error = ends(desk, desk.approved())
    assert isinstance(error, Refused) and error.refusals[0].gate == "drift"
    assert "lain.tarakankota.go.id" in str(error) and desk.outcomes() == ["started", "applied"]
    # Without it Ansible would go to the lab of ansible.cfg.
    assert f"`ansible-playbook -i {desk.config.inventory} playbooks/websites.yml`" in str(error)
    _, refusals = run.show(desk.office, desk.fleet, desk.facts, [desk.approved(name="baru.tarakankota.go.id")])
    assert [f"-i {desk.config.inventory} " in refusal.mend for refusal in refusals] == [True]


def test_run_never_says_to_take_off_what_only_a_newer_register_knows(file_desk: Desk, tmp_path: Path) -> None:
    """An older backup was brought back: what was installed since is on the servers, and serves."""
    request = file_desk.approved()
    shutil.copytree(file_desk.office.home.path, tmp_path / "older")
    go(file_desk, file_desk.approve(file_desk.submit(name="lain.tarakankota.go.id")))
    file_desk.office.register.close()
    shutil.rmtree(file_desk.office.home.path)
    (tmp_path / "older").rename(file_desk.office.home.path)
    file_desk.office = file_desk.opened(file_desk.clock)
    error = ends(file_desk, request)
    assert isinstance(error, Refused) and "lain.tarakankota.go.id is on the servers as one of ours" in str(error)
    assert "bring back the newer one" in str(error) and "put it right by" not in str(error)
    assert list(file_desk.fleet.existing) == ["lain.tarakankota.go.id"] and file_desk.outcomes() == []


def test_run_puts_right_what_another_websites_own_account_did_and_the_register_tells(desk: Desk) -> None:
    """Whoever got into one website stops no other one's run, and somebody learns of it."""
    other = "lain.tarakankota.go.id"
    go(desk, desk.approved(name=other))
    desk.fleet.existing[other]["title"] = "changed by itself"
    desk.fleet.own = {other, NAME}
    go(desk, desk.approved())
    entry = list(desk.office.register.entries(kind="run"))[-1]
    assert entry.data["put_right"] == [{"website": other, "host": "web1", "subject": "vhost", "action": "update"}]
    assert report.entry_line(desk.office, entry).endswith(
        f" - put right what other websites' own accounts can have done: web1: update vhost of {other}")
    assert desk.fleet.existing[other]["title"] != "changed by itself"


@pytest.mark.parametrize("fault", [failing, unreachable, silent])
def test_run_stops_before_anything_when_the_servers_cannot_be_looked_at(
    desk: Desk, fault: Callable[[str], FleetResult]
) -> None:
    desk.fleet.faults["check"] = fault
    error = ends(desk, desk.approved())
    assert isinstance(error, Failed) and error.code == 1 and desk.outcomes() == []


@pytest.mark.parametrize("fault", [failing, unreachable, silent])
@pytest.mark.parametrize("playbook", ["websites.yml 1", "probe.yml"])
def test_run_puts_back_on_failure(desk: Desk, playbook: str, fault: Callable[[str], FleetResult]) -> None:
    go(desk, desk.approved(name="lain.tarakankota.go.id"))
    before = dict(desk.fleet.existing)
    state = desk.office.home.desired.read_bytes()
    desk.fleet.played.clear()
    desk.fleet.faults[playbook] = fault
    request = desk.approved()
    error = ends(desk, request)
    assert error.code == 1 and "put back" in str(error)
    assert desk.outcomes()[2:] == ["started", "rolled_back"] and desk.fleet.existing == before
    assert desk.office.home.desired.read_bytes() == state and not standing.stand(desk.office, request).installed
    previous = json.loads((desk.office.home.runs / "run-000002/desired-previous.json").read_text())["websites"]
    assert {row["name"]: row["state"] for row in previous} == {NAME: "purged", "lain.tarakankota.go.id": "present"}


def test_run_names_host_task_and_message_of_a_failure(desk: Desk) -> None:
    desk.fleet.faults["websites.yml 1"] = failing
    error = str(ends(desk, desk.approved()))
    assert "web1, Converge the websites: no space left" in error
    entry = list(desk.office.register.entries(kind="run"))[-1]
    assert "no space left" in str(entry.reason)


def test_run_puts_back_when_a_visitor_sees_a_fault(desk: Desk) -> None:
    desk.fleet.failures = [f"{NAME}: ns2 does not know the name"]
    assert "ns2 does not know" in str(ends(desk, desk.approved()))
    assert desk.outcomes() == ["started", "rolled_back"] and desk.fleet.existing == {}


def test_run_puts_an_update_back_to_its_old_release(desk: Desk) -> None:
    go(desk, desk.approved())
    before = dict(desk.fleet.existing)
    desk.fleet.faults["probe.yml"] = failing
    ends(desk, desk.approved(kind="update", title="Baru"))
    assert desk.fleet.existing == before and before[NAME]["title"] == "Dinas Kesehatan"


def test_run_tells_which_data_putting_back_leaves_and_where_they_are_saved(desk: Desk) -> None:
    """A setup script may have migrated the database; visitors may have written since the snapshot."""
    php = {"runtime": "php", "setup_script": "setup.php"}
    first, second = ({"archive_bytes": tar_of({"index.php": text, "setup.php": "<?php"})} for text in ("satu", "dua"))
    go(desk, desk.approved(**php, **first))
    desk.fleet.faults["probe.yml"] = failing
    said = f"but for data that a setup script may have changed: {NAME} (playbooks/restore.yml, snapshot abc)"
    assert said not in str(ends(desk, desk.approved(kind="update", title="Baru", **php, **first)))
    assert said in str(ends(desk, desk.approved(kind="update", title="Baru", **php, **second)))
    assert said in str(list(desk.office.register.entries(kind="run"))[-1].reason)


def test_run_does_not_touch_websites_when_the_backup_before_an_update_fails(desk: Desk) -> None:
    go(desk, desk.approved())
    before = dict(desk.fleet.existing)
    desk.fleet.played.clear()
    desk.fleet.faults["backup.yml"] = failing
    assert "backup.yml" in str(ends(desk, desk.approved(kind="update", title="Baru")))
    assert desk.fleet.existing == before and desk.outcomes()[-1] == "rolled_back"


def test_run_stays_applied_but_tells_when_the_first_backup_fails(desk: Desk) -> None:
    desk.fleet.faults["backup.yml"] = failing
    outcome = go(desk, desk.approved())
    assert "no space left" in str(outcome.backup_fault) and desk.outcomes() == ["started", "applied"]
    assert [e.outcome for e in desk.office.register.entries(kind="record")] == ["kept", "failed", "kept"]


def test_run_takes_a_module_s_own_word_for_a_failed_backup(desk: Desk) -> None:
    desk.fleet.faults["backup.yml"] = lambda playbook: FleetResult(
        playbook,
        [Result("web1", "t", {"snapshots": {NAME: {"id": "old"}}, "failures": {NAME: "repository locked"}})],
        stats={"processed": {"web1": 1}},
    )
    assert go(desk, desk.approved()).backup_fault == f"{NAME}: repository locked"


def test_run_tells_when_no_snapshot_was_reported(desk: Desk) -> None:
    desk.fleet.snapshots = False
    assert "no snapshot" in str(go(desk, desk.approved()).backup_fault)


def test_run_ends_unknown_when_putting_back_fails_and_the_next_run_reconciles_first(desk: Desk) -> None:
    desk.fleet.faults["probe.yml"] = failing
    desk.fleet.faults |= {"reverse.yml 1": unreachable, "web.yml 1": unreachable}
    request = desk.approved()
    error = ends(desk, request)
    assert "UNKNOWN" in str(error) and desk.outcomes() == ["started", "unknown"]
    desk.fleet.faults.clear()
    desk.fleet.played.clear()
    go(desk, request)
    assert desk.outcomes() == ["started", "unknown", "interrupted", "started", "applied"]
    assert [p[:2] for p in desk.fleet.played[:3]] == [
        ("end leftovers", False), ("reverse.yml", False), ("websites.yml", True)]


def test_run_takes_back_what_it_made_in_reverse_and_what_it_changed_in_order(desk: Desk) -> None:
    desk.fleet.faults["probe.yml"] = failing
    request = desk.approved()
    ends(desk, request)
    assert played_after_the_probe(desk) == ["end leftovers", "reverse.yml"]
    desk.fleet.faults.clear()
    go(desk, request)
    desk.fleet.played.clear()
    desk.fleet.faults["probe.yml"] = failing
    ends(desk, desk.approved(kind="update", title="Baru"))
    assert played_after_the_probe(desk) == ["end leftovers", "websites.yml"]
    assert desk.outcomes() == ["started", "rolled_back", "started", "applied", "started", "rolled_back"]


def test_what_cannot_be_put_back_at_once_is_put_back_layer_by_layer(desk: Desk) -> None:
    desk.fleet.faults |= {"probe.yml": failing, "reverse.yml": unreachable}
    request = desk.approved()
    ends(desk, request)
    assert played_after_the_probe(desk) == [
        "end leftovers", "reverse.yml", "end leftovers", "records.yml", "web.yml", "databases.yml", "addresses.yml"]
    desk.fleet.faults.clear()
    go(desk, request)
    desk.fleet.played.clear()
    desk.fleet.faults |= {"probe.yml": failing, "websites.yml 2": unreachable}
    ends(desk, desk.approved(kind="update", title="Baru"))
    assert played_after_the_probe(desk) == [
        "end leftovers", "websites.yml", "end leftovers", "addresses.yml", "databases.yml", "web.yml", "records.yml"]
    assert desk.outcomes() == ["started", "rolled_back", "started", "applied", "started", "rolled_back"]


def test_layer_that_cannot_be_put_back_keeps_no_other_from_it(desk: Desk) -> None:
    desk.fleet.faults |= {"probe.yml": failing, "reverse.yml": unreachable, "records.yml": unreachable}
    assert "UNKNOWN" in str(ends(desk, desk.approved()))
    assert desk.fleet.existing == {} and played_after_the_probe(desk)[-4:] == [*reversed(run.LAYERS)]


def played_after_the_probe(desk: Desk) -> list[str]:
    played = [playbook for playbook, _, _ in desk.fleet.played]
    return played[played.index("probe.yml") + 1 :]


def test_layers_are_those_of_the_playbooks() -> None:
    imported, back = ([play["ansible.builtin.import_playbook"]
                       for play in yaml.safe_load((PROJECT / "playbooks" / name).read_text())]
                      for name in (run.WEBSITES, run.REVERSE))
    assert imported == [*run.LAYERS, "certificates.yml", "refused.yml"]
    assert back == [*reversed(run.LAYERS)]


class Killed(BaseException):
    """The process is gone."""


def crash(desk: Desk, when: str) -> str:
    """A run whose process dies in the middle: the register holds its start only."""
    request = desk.approved()

    def die(playbook: str, check: bool) -> None:
        if playbook == when and not check:
            raise Killed

    desk.fleet.on_play = die
    with pytest.raises(Killed):
        go(desk, request)
    desk.fleet.on_play = lambda playbook, check: None
    assert desk.outcomes()[-1] == "started"
    return request


@pytest.mark.parametrize("when", ["websites.yml", "probe.yml"])
def test_run_after_a_crash_converges_back_first_and_records_it(desk: Desk, when: str) -> None:
    request = crash(desk, when)
    assert any("no known end" in r.what for r in run.show(desk.office, desk.fleet, desk.facts, [request])[1])
    go(desk, request)
    assert desk.outcomes() == ["started", "interrupted", "started", "applied"]
    assert list(desk.fleet.existing) == [NAME]
    assert desired.fold(desk.office.register)[NAME]["uid"] == 20001  # the crashed run's uid is not used again


@pytest.mark.parametrize(("when", "found"), [("websites.yml", []), ("probe.yml", ["remove vhost"])])
def test_register_tells_what_was_found_of_a_run_that_died(desk: Desk, when: str, found: list[str]) -> None:
    """By what it took to be rid of it; `sop history` says so."""
    request = crash(desk, when)
    go(desk, request)
    entry = next(e for e in desk.office.register.entries(kind="run") if e.outcome == "interrupted")
    assert entry.data["put_back"] == [
        {"website": NAME, "host": "web1", "subject": "vhost", "action": "remove"} for _ in found]
    told = f"web1: remove vhost of {NAME}" if found else "nothing, the servers were as before"
    assert report.entry_line(desk.office, entry).endswith(f" - putting back took: {told}")


def test_register_tells_what_was_put_back_of_a_run_that_failed_and_what_was_not(desk: Desk) -> None:
    """The website itself goes at once, and the layer that fails keeps the run open."""
    desk.fleet.faults |= {"probe.yml": failing, "reverse.yml": unreachable, "records.yml": unreachable}
    ends(desk, desk.approved())
    entry = list(desk.office.register.entries(kind="run"))[-1]
    assert entry.outcome == "unknown" and [change["action"] for change in entry.data["put_back"]] == ["remove"]


def killed(desk: Desk, request: str) -> None:
    """A run dies; what comes next is another process, and nothing goes wrong in it."""
    with pytest.raises(Killed):
        go(desk, request)
    desk.fleet.on_play = lambda playbook, check: None
    desk.fleet.faults.clear()
    desk.office = desk.opened(desk.clock)


def kill_at(desk: Desk, when: str, at_check: bool = False) -> None:
    def die(playbook: str, check: bool) -> None:
        if (playbook, check) == (when, at_check):
            raise Killed

    desk.fleet.on_play = die


def ended_by_the_same_command(desk: Desk, request: str, *outcomes: str) -> None:
    go(desk, request)
    assert desk.outcomes() == [*outcomes, "started", "applied"] and list(desk.fleet.existing) == [NAME]
    assert desired.read(desk.office.home.desired) == desired.fold(desk.office.register)
    assert trust.examine(desk.office).findings == []


def test_run_killed_while_planning_has_changed_nothing(desk: Desk) -> None:
    request = desk.approved()
    kill_at(desk, "websites.yml", at_check=True)
    killed(desk, request)
    assert desk.outcomes() == [] and desk.fleet.existing == {}
    ended_by_the_same_command(desk, request)


def test_update_killed_in_its_backup_is_ended_by_the_same_command(desk: Desk) -> None:
    go(desk, desk.approved())
    request = desk.approved(kind="update", title="Baru")
    kill_at(desk, "backup.yml")
    killed(desk, request)
    assert desk.outcomes()[2:] == ["started"] and desk.fleet.existing[NAME]["title"] == "Dinas Kesehatan"
    ended_by_the_same_command(desk, request, "started", "applied", "started", "interrupted")
    assert desk.fleet.existing[NAME]["title"] == "Baru"


@pytest.mark.parametrize("playbook", [run.REVERSE, *run.LAYERS])
@pytest.mark.parametrize("first", ["probe failed", "killed before"])
def test_run_killed_while_it_is_put_back_is_ended_by_the_same_command(desk: Desk, first: str, playbook: str) -> None:
    """By the run itself, or by the one that found it without an end."""
    if playbook in run.LAYERS:
        desk.fleet.faults["reverse.yml 1"] = unreachable
    if first == "killed before":
        request = crash(desk, "probe.yml")
    else:
        request = desk.approved()
        desk.fleet.faults["probe.yml"] = failing
    kill_at(desk, playbook)
    killed(desk, request)
    assert desk.outcomes() == ["started"]
    ended_by_the_same_command(desk, request, "started", "interrupted")


@pytest.mark.parametrize("outcome", ["started", "rolled_back", "applied"])
def test_run_killed_before_its_word_is_in_the_register_is_ended_by_the_same_command(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    request, real = desk.approved(), desk.office.register.append

    def die(kind: str, **fields: Any) -> Any:
        if fields.get("outcome") == outcome:
            raise Killed
        return real(kind, **fields)

    monkeypatch.setattr(desk.office.register, "append", die)
    if outcome == "rolled_back":
        desk.fleet.faults["probe.yml"] = failing
    killed(desk, request)
    before = [] if outcome == "started" else ["started"]
    assert desk.outcomes() == before
    ended_by_the_same_command(desk, request, *before, *(["interrupted"] if before else []))


def test_run_killed_between_its_word_and_its_installations_is_ended_by_the_same_command(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are written in one stroke, or neither."""
    request, real = desk.approved(), trust.accept

    def die(office: Any, entry: Any) -> None:
        if "run" in entry.data:
            raise Killed
        real(office, entry)

    with monkeypatch.context() as patch:
        patch.setattr(trust, "accept", die)
        killed(desk, request)
    assert desk.outcomes() == ["started"]
    ended_by_the_same_command(desk, request, "started", "interrupted")


def test_run_that_is_refused_tells_which_dead_one_it_put_back(desk: Desk) -> None:
    """Else only the register would say that websites were changed by this very command."""
    crash(desk, "probe.yml")
    assert isinstance(ends(desk, desk.submit(name="lain.tarakankota.go.id")), Refused)
    assert desk.outcomes() == ["started", "interrupted"]
    assert desk.fleet.said == ["run-000001 had no end: the servers were put back as they were before it"]


def test_run_does_nothing_further_when_reconciling_fails(desk: Desk) -> None:
    request = crash(desk, "probe.yml")
    desk.fleet.faults |= {"reverse.yml 1": failing, "web.yml 1": failing}
    assert "UNKNOWN" in str(ends(desk, request))
    assert desk.outcomes() == ["started", "unknown"]


def killed_after_it_was_applied(desk: Desk, request: str, when: str) -> None:
    """A run that dies at the nth time that something is done once it is applied."""
    place, _, nth = when.partition(" ")
    owner = {"write": desired, "keep_result": records, "append": desk.office.register, "write_atomic": records}[place]
    real, times = getattr(owner, place), [0]

    def die(*words: Any, **more: Any) -> Any:
        times[0] += "applied" in desk.outcomes()
        if times[0] == int(nth):
            raise Killed
        return real(*words, **more)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, place, die)
        go(desk, request)
    assert desk.outcomes() == ["started", "applied"] and not list(desk.office.register.entries(kind="record"))


DEATHS = [
    "write 1",  # the desired state's file
    "keep_result 1",  # the snapshot is made, and nobody knows
    "write_atomic 2",  # the overview of the records
    "append 4",  # the last record; the installation's step is the first of these
    "write_atomic 5",  # the last record's file
]


@pytest.mark.parametrize("when", DEATHS)
def test_run_that_died_before_its_records_is_ended_by_the_same_command(desk: Desk, when: str) -> None:
    """What it brought about is on the servers, and installed by the register: only this makes the records."""
    request = desk.approved()
    killed_after_it_was_applied(desk, request, when)
    desk.office = desk.opened(desk.clock)
    desk.fleet.played.clear()
    outcome = go(desk, request)
    assert [played[::2] for played in desk.fleet.played] == [("end leftovers", []), ("backup.yml", [NAME])]
    assert outcome.run == "run-000001" and desk.outcomes() == ["started", "applied"]
    kept = list(desk.office.register.entries(kind="record"))
    assert [entry.data["subject"] for entry in kept] == list(records.SUBJECTS)
    assert all("died before its records" in (entry.reason or "") for entry in kept)
    configuration, backup, network = (entry.data["websites"][NAME] for entry in kept)
    assert configuration["as_built"] == {"web1": {"vhost": NAME}}
    assert backup == {"snapshots": {"web1": {"id": "abc"}}, "fault": None}
    assert network == {"web1": {"http": {"status": 200, "ok": True}}}
    assert len(outcome.records) == 4 and all(path.exists() for path in outcome.records)
    assert desired.read(desk.office.home.desired) == desired.fold(desk.office.register)
    assert trust.examine(desk.office).findings == []
    assert "installed" in str(ends(desk, request))


def test_run_makes_the_records_of_the_one_before_it_that_died(desk: Desk) -> None:
    killed_after_it_was_applied(desk, desk.approved(), "keep_result 1")
    outcome = go(desk, desk.approved(name="lain.tarakankota.go.id"))
    assert outcome.run == "run-000002" and desk.outcomes() == ["started", "applied"] * 2
    runs = [entry.data["run"] for entry in desk.office.register.entries(kind="record")]
    assert runs == ["run-000001"] * 3 + ["run-000002"] * 3


def test_records_that_are_late_need_no_gate_of_another_request(desk: Desk) -> None:
    """They are made, which is told, and the request is refused as ever."""
    killed_after_it_was_applied(desk, desk.approved(), "keep_result 1")
    assert isinstance(ends(desk, desk.submit(name="lain.tarakankota.go.id")), Refused)
    assert desk.fleet.said == ["run-000001 had died before its records: they were made"]
    assert len(list(desk.office.register.entries(kind="record"))) == 3 and desk.outcomes() == ["started", "applied"]


def stop_at(desk: Desk, when: str, at_check: bool = False) -> None:
    def stop(playbook: str, check: bool) -> None:
        if playbook == when and check == at_check:
            desk.fleet.stopped.set()

    desk.fleet.on_play = stop


@pytest.mark.parametrize("when", ["websites.yml", "probe.yml"])
def test_run_interrupted_puts_back_and_ends_130(desk: Desk, when: str) -> None:
    stop_at(desk, when)
    error = ends(desk, desk.approved())
    assert isinstance(error, Interrupted) and error.code == 130
    assert desk.outcomes() == ["started", "rolled_back"] and desk.fleet.existing == {}


def test_run_interrupted_while_looking_changes_nothing(desk: Desk) -> None:
    stop_at(desk, "websites.yml", at_check=True)
    assert ends(desk, desk.approved()).code == 130
    assert desk.outcomes() == []


def test_run_puts_back_even_after_a_bug(desk: Desk) -> None:
    request = desk.approved()

    def bug(playbook: str, check: bool) -> None:
        if playbook == "probe.yml":
            raise ZeroDivisionError

    desk.fleet.on_play = bug
    with pytest.raises(ZeroDivisionError):
        go(desk, request)
    assert desk.outcomes() == ["started", "rolled_back"] and desk.fleet.existing == {}


def test_run_refuses_a_second_run_at_the_same_time_and_says_whose(file_desk: Desk) -> None:
    request = file_desk.approved()
    with file_desk.office.home.lock.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        holder.write("process 4711 of kabid")
        holder.flush()
        error = ends(file_desk, request)
    assert isinstance(error, Refused) and "process 4711 of kabid" in str(error) and file_desk.fleet.played == []


def test_files_of_locks_are_for_their_owner_alone_in_an_older_home_too(file_desk: Desk) -> None:
    """Whoever of this machine can open one, where the home lets them in, can hold it for ever."""
    request, home = file_desk.approved(), file_desk.office.home
    for lock in (locks := [home.lock, home.path / "checkpoint.lock"]):
        lock.touch()
        lock.chmod(0o666)
    go(file_desk, request)
    assert [lock.stat().st_mode & 0o777 for lock in locks] == [0o600, 0o600]


def test_run_twice_for_one_request_is_refused(desk: Desk) -> None:
    request = desk.approved()
    go(desk, request)
    assert "already installed" in str(ends(desk, request))


def test_run_takes_many_requests_at_once_and_spreads_them(desk: Desk) -> None:
    requests = [desk.approved(name=f"a{n}.tarakankota.go.id") for n in range(4)]
    go(desk, *requests)
    rows = desired.fold(desk.office.register)
    assert [row["web_host"] for row in rows.values()] == ["web1", "web2", "web1", "web2"]
    assert [row["uid"] for row in rows.values()] == [20000, 20001, 20002, 20003]
    assert desk.outcomes() == ["started", "applied"]


def test_run_refuses_installer_whom_the_sop_does_not_name(desk: Desk) -> None:
    with pytest.raises(Refused, match="kadis is kadis"):
        run.run(desk.office, desk.fleet, desk.facts, [desk.approved()], desk.sign, "kadis")


@pytest.mark.parametrize(
    ("first", "update", "part"),
    [
        (
            {"runtime": "php", "database": "mariadb"},
            {"runtime": "php", "database": "postgresql"},
            "update keeps the database",
        ),
        ({"runtime": "php", "database": "mariadb"}, {"runtime": "php"}, "update keeps the database"),
        ({"address": "own"}, {}, "update keeps the address"),
    ],
)
def test_run_refuses_update_that_would_lose_data_or_address(
    desk: Desk, first: dict[str, Any], update: dict[str, Any], part: str
) -> None:
    go(desk, desk.approved(**first))
    assert part in str(ends(desk, desk.approved(kind="update", **update)))


def test_run_gives_an_own_address_and_refuses_when_the_pool_is_empty(desk: Desk) -> None:
    go(desk, desk.approved(address="own"))
    address = desired.fold(desk.office.register)[NAME]["address"]
    assert address == {"ipv4": "198.51.100.101", "ipv6": "2001:db8:77::101", "own": True}
    error = ends(desk, desk.approved(address="own", name="b.tarakankota.go.id"))
    assert "all 1 addresses of the pool are taken" in str(error)


def test_show_gives_plan_and_closed_gates_together_and_changes_nothing(desk: Desk) -> None:
    plan, refusals = run.show(desk.office, desk.fleet, desk.facts, [desk.submit()])
    assert plan.changes[0]["action"] == "create" and len(refusals) == 7
    assert desk.outcomes() == [] and list(desk.office.home.runs.iterdir()) == []


def test_request_cannot_change_while_a_run_brings_it_onto_the_servers(desk: Desk) -> None:
    request, told = desk.approved(), list[str]()

    def meddle(playbook: str, check: bool) -> None:
        if playbook == "probe.yml":
            for change in (lambda: desk.take(request, "review"), lambda: desk.submit(replace=request, title="Lain")):
                with pytest.raises(Refused) as error:
                    change()
                told.append(error.value.refusals[0].gate)

    desk.fleet.on_play = meddle
    go(desk, request)
    assert told == ["one run at a time"] * 2 and standing.stand(desk.office, request).installed


def test_a_crashed_runs_request_cannot_change_until_the_servers_are_put_back(desk: Desk) -> None:
    request = crash(desk, "probe.yml")
    with pytest.raises(Refused, match="has no end yet"):
        desk.take(request, "review")


def test_first_snapshot_is_taken_before_another_run_may_begin(desk: Desk) -> None:
    request, told = desk.approved(), list[bool]()

    def other(playbook: str, check: bool) -> None:
        if playbook == "backup.yml":
            with pytest.raises(Refused, match="under way"), lease.turn(desk.office.home, desk.register()):
                pass
            told.append(True)

    desk.fleet.on_play = other
    go(desk, request)
    assert told == [True]


def test_run_suspends_and_resumes_with_everything_else_of_the_website_kept(desk: Desk) -> None:
    go(desk, desk.approved(runtime="php", database="mariadb", address="own"))
    before = desired.fold(desk.office.register)[NAME]
    for kind, state in (("suspend", "suspended"), ("resume", "present")):
        request = desk.approved(kind=kind)
        desk.fleet.played.clear()
        outcome = go(desk, request)
        after = desired.fold(desk.office.register)[NAME]
        changed = {key for key in before if before[key] != after[key]}
        assert after["state"] == state and changed <= {"state", "agenda", "request"}
        assert [name for name, check, _ in desk.fleet.played if not check] == [
            "backup.yml", "websites.yml", "probe.yml", "backup.yml"]
        assert outcome.websites == [after] and desk.fleet.existing[NAME]["state"] == state
        assert "Release:" not in "\n".join(report.report(desk.office, request))
    assert trust.examine(desk.office).findings == []


def test_website_in_a_zone_of_its_own_is_suspended_and_resumed_there(desk: Desk) -> None:
    """Its name lies nowhere else: without its zone it is none that a request could name."""
    inside = {"name": "rsud-tarakan.go.id", "zone": "rsud-tarakan.go.id"}
    go(desk, desk.approved(**inside))
    for kind, state in (("suspend", "suspended"), ("resume", "present")):
        go(desk, desk.approved(kind=kind, **inside))
        row = desired.fold(desk.office.register)["rsud-tarakan.go.id"]
        assert (row["state"], row["zone"]) == (state, "rsud-tarakan.go.id")
        with pytest.raises(Refused, match=r"rsud-tarakan\.go\.id is dinkes's"):
            desk.submit(kind=kind, requester="disdik", **inside)
    assert trust.examine(desk.office).lines() == []


def test_update_of_a_suspended_website_leaves_it_suspended(desk: Desk) -> None:
    go(desk, desk.approved())
    go(desk, desk.approved(kind="suspend"))
    go(desk, desk.approved(kind="update", title="Baru"))
    row = desired.fold(desk.office.register)[NAME]
    assert (row["state"], row["title"]) == ("suspended", "Baru")


def test_run_that_cannot_suspend_leaves_the_website_up(desk: Desk) -> None:
    go(desk, desk.approved())
    desk.fleet.faults["probe.yml 2"] = failing
    ends(desk, desk.approved(kind="suspend"))
    assert desk.fleet.existing[NAME]["state"] == desired.fold(desk.office.register)[NAME]["state"] == "present"


@pytest.mark.parametrize("kind", ["suspend", "resume"])
def test_show_refuses_a_change_of_state_of_a_website_that_is_not_there(desk: Desk, kind: str) -> None:
    with pytest.raises(Refused, match="does not exist"):
        run.show(desk.office, desk.fleet, desk.facts, [desk.approved(kind=kind)])


def others_refusal(error: SopError) -> str:
    """What keeps an agency from another one's website, as it is told in the end, and how it is mended."""
    assert isinstance(error, Refused)
    (found,) = [refusal for refusal in error.refusals if refusal.gate == "the website's agency"]
    assert found.what == f"{NAME} is dinkes's (R-2026-0001), disdik is of another agency"
    return found.mend


@pytest.mark.parametrize("kind", ["update", "suspend", "resume"])
def test_another_agency_changes_no_website(desk: Desk, kind: str) -> None:
    """Whatever its form says of whose it is; nor where it asked before the website was there."""
    made = desk.approved()
    early = desk.submit(kind=kind, requester="disdik")
    go(desk, made)
    with pytest.raises(Refused) as error:
        desk.submit(kind=kind, requester="disdik")
    assert "--unit 'Dinas Kesehatan' --person disdik" in others_refusal(error.value)
    others_refusal(ends(desk, desk.approve(early)))
    assert desk.outcomes() == ["started", "applied"] and trust.examine(desk.office).findings == []


def test_website_is_handed_over_to_an_agency_that_succeeds(desk: Desk) -> None:
    """By an id with the unit that had it; once something was brought about by that, the successor needs it no more."""
    go(desk, desk.approved())
    desk.enroll("dinkes-lama", "pd", unit="Dinas Kesehatan", person="disdik")
    assert "dinkes-lama, pd of Dinas Kesehatan, one person with disdik  " in "".join(report.actors(desk.office))
    go(desk, desk.approved(kind="update", title="Baru", requester="dinkes-lama"))
    go(desk, desk.approved(kind="suspend", requester="disdik"))
    with pytest.raises(Refused, match=r"is disdik's \(R-2026-0003\), dinkes is of another agency"):
        desk.submit(kind="resume")
    assert trust.examine(desk.office).findings == []


def test_zone_is_the_agency_s_that_has_a_website_in_it(desk: Desk) -> None:
    """Another one could answer for its mail and its certificates, whatever it calls itself in the form."""
    zone = "rsud-tarakan.go.id"
    mine, theirs = {"name": zone, "zone": zone}, {"name": f"www.{zone}", "zone": zone, "requester": "disdik"}
    told = rf"the zone {zone} is dinkes's \(R-2026-0001\), disdik is of another agency"
    made, early = desk.approved(**mine), desk.approved(**theirs)
    with pytest.raises(Refused, match=told):
        go(desk, made, early)
    go(desk, made)
    with pytest.raises(Refused, match=told):
        go(desk, early)
    with pytest.raises(Refused, match=told):
        desk.submit(**theirs)
    desk.enroll("dinkes-2", "pd", unit="Dinas Kesehatan")
    go(desk, desk.approved(**{**theirs, "requester": "dinkes-2"}, agency="Dinkes"))
    assert trust.examine(desk.office).findings == []


def test_website_of_an_agency_without_a_unit_goes_on_by_its_id(desk: Desk) -> None:
    desk.enroll("pkm", "pd")
    go(desk, desk.approved(requester="pkm"))
    with pytest.raises(Refused, match="hand it over first: `sop actors replace pkm …`"):
        desk.submit(kind="suspend")
    desk.enroll("pkm", "pd", unit="Dinas Kesehatan", decree=None, replaces=True)
    go(desk, desk.approved(kind="suspend"))
    assert trust.examine(desk.office).findings == []


def test_website_of_an_agency_that_was_retired_without_a_unit_goes_on_by_another_id(desk: Desk) -> None:
    desk.enroll("pkm", "pd")
    go(desk, desk.approved(requester="pkm"))
    desk.retire("pkm")
    with pytest.raises(Refused, match="hand it over first: `sop actors enroll ID --person pkm …`"):
        desk.submit(kind="suspend")
    desk.enroll("pkm-2", "pd", person="pkm")
    assert desk.submit(kind="suspend", requester="pkm-2")


def test_run_begins_nothing_whose_document_was_erased_meanwhile(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review", "decision", "existence", "needs_analysis"):
        desk.take(request, step)
    kak = desk.document("kak.txt", "nama seseorang")
    desk.take(request, "build", documents={**dict.fromkeys(("buku_manual", "dokumentasi_aplikasi"), desk.paper),
                                           "kak": kak})

    def erased(playbook: str, check: bool) -> None:
        if check:
            orders.erase(desk.office, [f"{request}/kak"], ["kadis", "kasubbag"], desk.sign, "UU PDP")

    desk.fleet.on_play = erased
    assert "kak of step 8 (build: Pembuatan website) was erased on" in str(ends(desk, request))
    assert not desk.fleet.existing and desk.outcomes() == []


def test_run_begins_nothing_of_who_is_of_another_agency_meanwhile(desk: Desk) -> None:
    """Else the register would hold a run whose gate was closed, for ever."""
    desk.enroll("dinkes-2", "pd", unit="Dinas Kesehatan")
    go(desk, desk.approved())
    request = desk.approved(kind="suspend", requester="dinkes-2")

    def moved(playbook: str, check: bool) -> None:
        if check:
            desk.enroll("dinkes-2", "pd", unit="Dinas Sosial", decree=None, replaces=True)

    desk.fleet.on_play = moved
    assert "dinkes-2 is of another agency" in str(ends(desk, request))
    assert desk.outcomes() == ["started", "applied"] and trust.examine(desk.office).findings == []


def test_run_that_is_recorded_is_not_put_back_where_what_comes_after_fails(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the driver's home is full just then; the register is elsewhere, and says that it is installed."""
    request, real, full = desk.approved(), notary.keep, list[Path]()

    def keep(path: Path, note: str) -> None:
        if not full and "applied" in desk.outcomes():
            full.append(path)
            raise OSError(28, "No space left on device", str(path))
        real(path, note)

    monkeypatch.setattr(notary, "keep", keep)
    error = ends(desk, request)
    assert isinstance(error, Recorded) and "were recorded" in str(error) and "do not repeat it" in str(error)
    assert desk.outcomes() == ["started", "applied"] and list(desk.fleet.existing) == [NAME]
    assert len(go(desk, request).records) == 4 and list(desk.fleet.existing) == [NAME]
    assert trust.examine(desk.office).findings == []


@pytest.mark.parametrize(("outcome", "told"), [
    ("started", "run-000001 has begun, and went no further; nothing was changed on the servers: entries up to 10 were"),
    ("rolled_back", "no space left; the servers were put back as they were: entries up to 11 were recorded, but not")])
def test_run_that_is_not_installed_says_so_though_the_checkpoint_is_not_written(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, outcome: str, told: str
) -> None:
    """*Do not repeat it* alone would be taken for a website that is there."""
    request, real = desk.approved(), notary.keep

    def keep(path: Path, note: str) -> None:
        if outcome in desk.outcomes():
            raise OSError(28, "No space left on device", str(path))
        real(path, note)

    monkeypatch.setattr(notary, "keep", keep)
    desk.fleet.faults["probe.yml"] = failing
    error = str(ends(desk, request))
    assert told in error and f"{desk.office.home.path}/checkpoint" in error and "do not repeat" not in error
    assert not desk.fleet.existing
    monkeypatch.undo()
    desk.fleet.faults.clear()
    ended_by_the_same_command(desk, request, "started", "interrupted" if outcome == "started" else outcome)


@pytest.mark.parametrize(("place", "what", "told", "outcomes"), [
    ("put back", Failed("it is gone", "the database", "start it"),
     "no space left; the servers were put back as they were, and that is not recorded: it is gone", ["started"]),
    ("put back", OSError(28, "No space left on device", "/home/x"),
     "as they were, and that is not recorded: No space left on device\nwhere: run-000001, /home/x\n", ["started"]),
    ("kept", OSError(28, "No space left on device", "/home/x"),
     "run-000001 failed, and the servers were put back as they were: No space left", ["started", "rolled_back"]),
    ("records", OSError(28, "No space left on device", "/home/x"),
     "run-000001 is applied, and its records were not made: No space left on device", ["started", "applied"]),
])
def test_run_says_what_became_of_the_servers_though_the_driver_s_machine_fails(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, place: str, what: Exception, told: str, outcomes: list[str]
) -> None:
    """Its disk is full, or the database is gone just then; that alone says nothing of the websites."""
    request, real = desk.approved(), desk.office.register.append

    def fails(kind: str = "", *words: Any, **fields: Any) -> Any:
        if place != "put back" or fields.get("outcome") == "rolled_back":
            raise what
        return real(kind, *words, **fields)

    if place == "put back":
        desk.fleet.faults["probe.yml"] = failing
    owner, name = {"put back": (desk.office.register, "append"), "kept": (job.Job, "keep"),
                   "records": (records, "overview")}[place]
    changed_at(desk, lambda desk: monkeypatch.setattr(owner, name, fails), "websites.yml")
    with pytest.raises(Failed) as error:
        go(desk, request)
    assert told in str(error.value) and desk.outcomes() == outcomes
    assert list(desk.fleet.existing) == ([NAME] if place == "records" else [])
    monkeypatch.undo()
    desk.fleet.faults.clear()
    go(desk, request)
    assert desk.outcomes()[-1] == "applied" and trust.examine(desk.office).findings == []


def retired(desk: Desk) -> None:
    desk.retire("subkoor", by=("kadis", "kasubbag"))


def tied(desk: Desk) -> None:
    """It is entered that who approved and who installs are one person."""
    desk.sign = lambda who, said: people.sign("new" if who == "kabid" and "replace" in said else who, said)
    desk.enroll("kabid", "bidang", by=("kadis", "kasubbag"), replaces=True, person="subkoor", key=people.public("new"))


def over(desk: Desk) -> None:
    desk.clock.time += timedelta(days=9)


MEANWHILE = [("subkoor", retired, "subkoor was retired at", "sop actors list"),
             ("subkoor", tied, "nobody takes both it and step 9", "--as"),
             ("plh", over, "plh stood in until", "sop actors list")]


def changed_at(desk: Desk, change: Callable[[Desk], None], playbook: str, at_check: bool = False) -> None:
    def changed(played: str, check: bool) -> None:
        if (played, check) == (playbook, at_check):
            desk.fleet.on_play = lambda *words: None
            change(desk)

    desk.fleet.on_play = changed


def with_a_stand_in(desk: Desk) -> str:
    """Approved; somebody who stands in for a week may install it, too, and officials are enough without `subkoor`."""
    request = desk.approved()
    for name, stands_in in (("sub2", None), ("plh", {"stands_in": "Plh", "until": "2026-11-09T15:59:59Z"})):
        desk.enroll(name, "bidang", **(stands_in or {}))
    return request


@pytest.mark.parametrize(("who", "change", "what", "mend"), MEANWHILE)
def test_run_begins_nothing_whose_installer_may_not_install_it_any_more(
    desk: Desk, who: str, change: Callable[[Desk], None], what: str, mend: str
) -> None:
    """The servers would be changed by who has lost the right to, and only be put back at the end."""
    request = with_a_stand_in(desk)
    changed_at(desk, change, "websites.yml", at_check=True)
    with pytest.raises(Refused) as error:
        desk.run(request, actor=who)
    assert what in str(error.value) and mend in error.value.refusals[0].mend
    assert all(check for _, check, _ in desk.fleet.played) and desk.outcomes() == []
    desk.run(request, actor="sub2")
    assert desk.outcomes() == ["started", "applied"] and trust.examine(desk.office).findings == []


def back(desk: Desk) -> None:
    """The machine's clock is set back by more than the register allows."""
    desk.clock.time -= timedelta(minutes=10)


@pytest.mark.parametrize(("who", "change", "what"), [each[:3] for each in MEANWHILE])
def test_run_that_the_register_takes_no_more_says_that_the_servers_were_put_back(
    desk: Desk, who: str, change: Callable[[Desk], None], what: str
) -> None:
    """A refusal alone (exit 3) would say that nothing was changed."""
    request = with_a_stand_in(desk)
    changed_at(desk, change, "probe.yml")
    with pytest.raises(Failed) as error:
        desk.run(request, actor=who)
    assert what in str(error.value) and "the servers were put back as they were" in str(error.value)
    assert desk.outcomes() == ["started", "rolled_back"] and not desk.fleet.existing
    desk.run(request, actor="sub2")
    assert trust.examine(desk.office).findings == []


def test_run_that_the_register_takes_no_more_tells_which_data_putting_back_leaves(desk: Desk) -> None:
    release = {"runtime": "php", "database": "mariadb", "setup_script": "setup.sh"}
    files = {"index.php": "<?php", "setup.sh": "#!/bin/sh"}
    go(desk, desk.approved(archive_bytes=tar_of(files), **release))
    desk.enroll("sub2", "bidang")
    request = desk.approved(archive_bytes=tar_of({**files, "new.php": "<?php"}), kind="update", **release)
    changed_at(desk, retired, "probe.yml")
    told = f"but for data that a setup script may have changed: {NAME} (playbooks/restore.yml, snapshot abc)"
    assert told in str(ends(desk, request))
    assert told in str(list(desk.office.register.entries(kind="run"))[-1].reason)


def test_run_that_is_put_back_by_a_clock_set_back_says_so_and_is_ended_by_the_next(desk: Desk) -> None:
    request = desk.approved()
    changed_at(desk, back, "probe.yml")
    error = ends(desk, request)
    assert isinstance(error, Failed) and "this machine's clock says" in str(error)
    assert "the servers were put back as they were, and that is not recorded" in str(error)
    assert desk.outcomes() == ["started"] and not desk.fleet.existing
    desk.clock.time += timedelta(minutes=20)
    ended_by_the_same_command(desk, request, "started", "interrupted")


def test_run_whose_servers_are_unknown_says_so_though_the_register_does_not_take_that(desk: Desk) -> None:
    """A refusal alone would tell of the clock, and of nothing that is left on the servers."""
    request = desk.approved()
    changed_at(desk, back, "probe.yml")
    desk.fleet.faults = {"probe.yml": failing, "reverse.yml 1": unreachable, "web.yml 1": unreachable}
    error = ends(desk, request)
    assert isinstance(error, Failed) and "this machine's clock says" in str(error)
    assert "putting the servers back failed too: db1: connection refused" in str(error)
    assert desk.outcomes() == ["started"] and desk.fleet.existing
    desk.clock.time += timedelta(minutes=20)
    desk.fleet.faults.clear()
    ended_by_the_same_command(desk, request, "started", "interrupted")


def test_run_whose_records_are_refused_says_that_it_is_applied(desk: Desk) -> None:
    request = desk.approved()
    changed_at(desk, back, "backup.yml")
    error = ends(desk, request)
    assert isinstance(error, Failed) and "run-000001 is applied, and its records were not made" in str(error)
    assert desk.outcomes() == ["started", "applied"] and list(desk.fleet.existing) == [NAME]
    desk.clock.time += timedelta(minutes=20)
    assert len(go(desk, request).records) == 4 and trust.examine(desk.office).findings == []


@pytest.mark.parametrize("other", [False, True])
def test_what_a_dead_run_left_is_put_back_though_the_file_of_its_sop_is_lost(file_desk: Desk, other: bool) -> None:
    """Whoever runs anything: until the file is brought back, nothing stands, and visitors see half of a run."""
    another = file_desk.approved(name="lain.tarakankota.go.id")
    request = file_desk.approve(file_desk.submit())
    kill_at(file_desk, "probe.yml")
    killed(file_desk, request)
    file = file_desk.office.evidence.path(standing.stand(file_desk.office, request).procedure.hash)
    file.rename(file_desk.folder / "away")
    file_desk.office = file_desk.opened(file_desk.clock)
    error = ends(file_desk, another if other else request)
    assert isinstance(error, Refused) and str(file) in str(error)
    assert file_desk.outcomes() == ["started", "interrupted"] and not file_desk.fleet.existing
    (file_desk.folder / "away").rename(file)
    assert go(file_desk, request).run == "run-000002" and trust.examine(file_desk.office).findings == []


def answered(host: Any = "web1", **told: Any) -> bytes:
    return json.dumps([{"host": host, "task": "t", "result": told}]).encode()


ODD = [
    b"", b"[", b"[1]", b'[{"host": "web1"}]', b"\xff", b"[" * 10000 + b"]" * 10000,
    b'[{"host": "web1", "task": "t", "result": []}]',
    answered([], as_built={NAME: 1}, probes={NAME: 1}, snapshots={NAME: 1}),
    answered(as_built=["x"], probes=["x"], snapshots=["x"]),
    answered(as_built={NAME: float("inf")}, probes={NAME: {"https": True}}, snapshots={NAME: "abc"}),
    answered(as_built={NAME: "\ud800"}, probes={NAME: {"https": {"ok": False}}}, snapshots={NAME: {"ident": "abc"}}),
]


@pytest.mark.parametrize("kept", ODD)
def test_records_are_made_though_what_a_dead_run_kept_cannot_be_read(file_desk: Desk, kept: bytes) -> None:
    """As where it kept nothing, and the register says so; else no `sop run` of any request would get further."""
    request = file_desk.approved()
    killed_after_it_was_applied(file_desk, request, "keep_result 1")
    for name in ("websites", "probe"):
        (file_desk.office.home.runs / f"run-000001/{name}.json").write_bytes(kept)
    outcome = go(file_desk, request)
    assert outcome.run == "run-000001" and outcome.pages()
    configuration, backup, network = file_desk.office.register.entries(kind="record")
    assert configuration.data["websites"][NAME]["as_built"] == network.data["websites"][NAME] == {}
    assert configuration.data["websites"][NAME]["desired"] and backup.data["websites"][NAME]["snapshots"]
    for said in (str(configuration.reason), *file_desk.fleet.said):
        assert all(f"runs/run-000001/{name}.json cannot be used" in said for name in ("websites", "probe"))
    assert go(file_desk, file_desk.approved(name="lain.tarakankota.go.id")).run == "run-000002"
    assert trust.examine(file_desk.office).findings == []


@pytest.mark.parametrize("kept", ODD)
def test_dead_run_is_put_back_though_what_it_kept_cannot_be_read(file_desk: Desk, kept: bytes) -> None:
    php = {"runtime": "php", "setup_script": "setup.php"}
    first, second = ({"archive_bytes": tar_of({"index.php": text, "setup.php": "<?php"})} for text in ("satu", "dua"))
    go(file_desk, file_desk.approved(**php, **first))
    request = file_desk.approved(kind="update", **php, **second)
    kill_at(file_desk, "probe.yml")
    killed(file_desk, request)
    (file_desk.office.home.runs / "run-000002/backup-before.json").write_bytes(kept)
    go(file_desk, request)
    assert file_desk.outcomes()[2:] == ["started", "interrupted", "started", "applied"]
    entry = next(e for e in file_desk.office.register.entries(kind="run") if e.outcome == "interrupted")
    for said in (str(entry.reason), *file_desk.fleet.said):
        assert "runs/run-000002/backup-before.json cannot be used" in said


def no_file(path: Path, kind: str) -> None:
    """Something else is where a file is read."""
    path.unlink(missing_ok=True)
    path.mkdir() if kind == "a folder" else os.mkfifo(path)


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
def test_dead_run_is_put_back_though_what_it_kept_is_no_file(file_desk: Desk, kind: str) -> None:
    """To read a pipe would never end, and keep the servers from everybody else."""
    request = crash(file_desk, "probe.yml")
    no_file(file_desk.office.home.runs / "run-000001/backup-before.json", kind)
    ended_by_the_same_command(file_desk, request, "started", "interrupted")
    entry = next(e for e in file_desk.office.register.entries(kind="run") if e.outcome == "interrupted")
    assert "runs/run-000001/backup-before.json cannot be used" in str(entry.reason)


def test_letter_that_no_database_takes_is_replaced_in_what_a_dead_run_kept(desk: Desk) -> None:
    request = desk.approved()
    killed_after_it_was_applied(desk, request, "keep_result 1")
    (desk.office.home.runs / "run-000001/websites.json").write_bytes(answered(as_built={NAME: {"vhost": "a\0b"}}))
    go(desk, request)
    configuration, *_ = desk.office.register.entries(kind="record")
    assert configuration.data["websites"][NAME]["as_built"] == {"web1": {"vhost": "a\ufffdb"}}


@pytest.mark.parametrize("kept", ["[]", '"x"', '{"websites": 1}', '{"websites": [1]}', '{"websites": [{"name": []}]}'])
def test_desired_states_file_that_was_made_another_is_made_anew(file_desk: Desk, kept: str) -> None:
    request = file_desk.approved()
    file_desk.office.home.desired.write_text(kept)
    go(file_desk, request)
    assert desired.read(file_desk.office.home.desired) == desired.fold(file_desk.office.register)


def test_desired_states_file_that_was_made_a_pipe_is_made_anew(file_desk: Desk) -> None:
    request = file_desk.approved()
    no_file(file_desk.office.home.desired, "a pipe")
    go(file_desk, request)
    assert desired.read(file_desk.office.home.desired) == desired.fold(file_desk.office.register)


def test_register_tells_which_data_of_a_dead_run_putting_back_leaves(desk: Desk) -> None:
    """As where the run itself puts back: who reads it has the snapshot from before."""
    php = {"runtime": "php", "setup_script": "setup.php"}
    first, second = ({"archive_bytes": tar_of({"index.php": text, "setup.php": "<?php"})} for text in ("satu", "dua"))
    go(desk, desk.approved(**php, **first))
    request = desk.approved(kind="update", **php, **second)
    for when in ("backup.yml", "probe.yml"):  # before its setup script, and after
        kill_at(desk, when)
        killed(desk, request)
    go(desk, request)
    said = f"but for data that a setup script may have changed: {NAME} (playbooks/restore.yml, snapshot abc)"
    early, late = (entry.reason for entry in desk.office.register.entries(kind="run") if entry.outcome == "interrupted")
    assert said in str(late) and said not in str(early)


def test_run_says_how_another_installs_where_who_took_the_last_step_is_gone(file_desk: Desk) -> None:
    request = with_a_stand_in(file_desk)
    retired(file_desk)
    with pytest.raises(Refused) as error:
        go(file_desk, request)
    refusal, = error.value.refusals
    assert "subkoor was retired at" in refusal.what and "--as ID" in refusal.mend
    assert file_desk.run(request, actor="sub2").run == "run-000001"

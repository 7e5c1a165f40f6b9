"""A request that cannot wait passes the listed gates only, for its time only, by two signatures, and is seen by all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from driver import insider, people
from driver.desk import PROJECT, Desk, failing, without
from driver.test_actors import bare
from driver.test_cli import Sop, fleet, sop
from driver.test_export import verify
from driver.test_freeze import freeze
from sop_driver import (
    actors,
    adoption,
    emergency,
    export,
    gates,
    orders,
    procedure,
    report,
    run,
    standing,
    steps,
    trust,
    voiding,
)
from sop_driver.errors import Failed, Refused, Usage
from sop_driver.register import Entry

__all__ = ["bare", "fleet", "sop"]
BY = ["kadis", "kasubbag"]
SOP_FILE = PROJECT / "sop_driver/data/sop-website-2024.yml"


def declare(desk: Desk, request: str, by: list[str] = BY, until: str = "2026-11-02T17:00") -> Entry:
    end = orders.moment(until, desk.office, "--until")
    entry = emergency.declare(desk.office, request, end, by, desk.sign, "situs diretas")
    assert entry is not None
    return entry


def urgent(desk: Desk, request: str) -> str:
    """Every step that no emergency replaces, up to the installation."""
    for step in ("agenda", "decision", "existence", "build"):
        desk.take(request, step)
    return request


def test_emergency_passes_what_the_sop_lists_and_nothing_else(desk: Desk) -> None:
    request = desk.submit()
    freeze(desk)
    declare(desk, request)
    with pytest.raises(Refused) as error:
        desk.run(request)
    assert [r.gate for r in error.value.refusals] == [
        "agenda number", "approval", "existence check", "build evidence"]
    desk.run(urgent(desk, request))
    assert desk.outcomes() == ["started", "applied"]
    desk.take(request, "report")
    desk.take(request, "completion")
    assert standing.stand(desk.office, request).next is None and trust.examine(desk.office).findings == []


def test_emergency_leaves_requester_approver_and_installer_apart(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request, ["kadis", "kabid"])
    urgent(desk, request)
    with pytest.raises(Refused, match="nobody takes both"):
        desk.run(request, actor="kabid")


def test_requester_does_not_declare_an_emergency_of_their_own(desk: Desk) -> None:
    desk.enroll("dinkes-2", "bidang", person="dinkes")
    with pytest.raises(Refused, match="dinkes asked for"):
        declare(desk, desk.submit(), ["kadis", "dinkes-2"])


def test_who_asked_first_declares_no_emergency_for_what_was_corrected(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = desk.corrected("kabid")
    with pytest.raises(Refused, match="kabid asked for"):
        declare(desk, request, ["kadis", "kabid"])
    with monkeypatch.context() as changed, pytest.raises(Refused, match="it does not concern must sign; kadis did"):
        changed.setattr(emergency, "refuse", lambda *_: None)
        declare(desk, request, ["kadis", "kabid"])
    declare(desk, request)
    assert trust.examine(desk.office).lines() == []


def test_emergency_that_who_asked_first_declared_stands_where_no_entry_told_that_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    with without("askers"):
        request = desk.corrected("kabid")
    with monkeypatch.context() as earlier:
        earlier.setattr(emergency, "refuse", lambda *_: None)
        declare(desk, request, ["kadis", "kabid"])
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "aturannya ikut")
    assert trust.examine(desk.office).lines() == []


def test_release_is_held_against_its_hash_in_an_emergency(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    urgent(desk, request)
    path = desk.office.evidence.path(standing.stand(desk.office, request).request.release.sha256)
    path.chmod(0o600)
    path.write_bytes(b"evil")
    with pytest.raises(Refused, match="was changed"):
        desk.run(request)


@pytest.mark.parametrize("by", [[], ["kadis"], ["kadis", "kadis"], ["kadis", "disdik"]])
def test_emergency_takes_two_signers(desk: Desk, by: list[str]) -> None:
    request = desk.submit()
    with pytest.raises(Refused, match="2 of kadis, kasubbag, bidang"):
        declare(desk, request, by)
    assert not standing.stand(desk.office, request).waived


@pytest.mark.parametrize("until", ["2026-11-04T12:00", "2026-11-01T12:00"])
def test_emergency_lasts_no_longer_than_the_sop_lets_it(desk: Desk, until: str) -> None:
    request = desk.submit()
    with pytest.raises(Usage, match="lasts 1 hari at the most"):
        declare(desk, request, until=until)


def test_lapsed_emergency_replaces_nothing(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    urgent(desk, request)
    desk.clock.time += timedelta(days=1)
    with pytest.raises(Refused) as error:
        desk.run(request)
    assert [r.gate for r in error.value.refusals] == ["disposition", "review", "needs analysis"]
    with pytest.raises(Refused, match=r"disposition.* is not done"):
        desk.take(request, "existence")


@pytest.mark.parametrize("others", [False, True])
def test_run_that_died_is_put_back_though_its_emergency_is_over(desk: Desk, others: bool) -> None:
    """Nothing else of its request can be recorded before that, not even the next emergency."""
    request = desk.submit()
    declare(desk, request)
    urgent(desk, request)
    desk.fleet.faults = {"websites.yml": failing, "reverse.yml": failing, "web.yml": failing}
    with pytest.raises(Failed, match="UNKNOWN"):
        desk.run(request)
    desk.fleet.faults.clear()
    desk.clock.time += timedelta(hours=9)
    with pytest.raises(Refused, match="has no end yet"):
        declare(desk, request, until="2026-11-03T09:00")
    with pytest.raises(Refused) as error:
        desk.run(desk.submit(name="lain.tarakankota.go.id") if others else request)
    assert {refusal.gate for refusal in error.value.refusals} >= {"disposition", "review", "needs analysis"}
    assert desk.outcomes() == ["started", "unknown", "interrupted"]
    declare(desk, request, until="2026-11-03T09:00")
    desk.run(request)
    assert standing.stand(desk.office, request).installed and trust.examine(desk.office).findings == []


def test_emergency_is_for_the_request_as_it_was(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    urgent(desk, request)
    desk.submit(replace=request, title="Lain")
    now = standing.stand(desk.office, request)
    assert not now.waived and list(now.done) == ["request_letter", "agenda"]


def test_unchanged_replacement_keeps_the_emergency(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    urgent(desk, request)
    desk.submit(replace=request)
    desk.run(request)


def test_refusal_ends_the_emergency(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    desk.take(request, "agenda")
    desk.take(request, "decision", outcome="no", reason="tidak aman")
    assert not standing.stand(desk.office, request).waived
    with pytest.raises(Refused, match=r"disposition.* is not done"):
        desk.take(request, "decision")


def test_replaced_step_is_not_taken_after_the_installation(desk: Desk) -> None:
    """It would undo the installation that happened without it."""
    request = desk.submit()
    declare(desk, request)
    desk.run(urgent(desk, request))
    with pytest.raises(Refused, match="replaced by an emergency"):
        desk.take(request, "disposition")
    with pytest.raises(Refused, match="already installed"):
        declare(desk, request)


def test_emergency_is_seen_until_it_is_reported(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    desk.run(urgent(desk, request))
    line, = emergency.alarms(desk.office)
    assert request in line and "by kadis, kasubbag (entry 3): situs diretas; not reported, due 2026-11-05" in line
    assert "freeze, disposition, review, needs analysis" in line and "LATE" not in line
    desk.clock.time += timedelta(days=5)
    assert "LATE by 1 day" in emergency.alarms(desk.office, request)[0]
    assert "LATE by 1 day" in "\n".join(report.report(desk.office, request))
    assert "LATE" in trust.examine(desk.office).notes(standing.stamp(desk.clock()))[0]
    with pytest.raises(Refused, match="kasubbag is kasubbag; bidang or kadis reports it"):
        emergency.report(desk.office, request, "kasubbag", desk.paper, desk.sign)
    emergency.report(desk.office, request, "subkoor", desk.paper, desk.sign)
    assert emergency.alarms(desk.office) == [] and trust.examine(desk.office).notes("2026-12-01T00:00:00Z") == []
    text = "\n".join(report.report(desk.office, request))
    assert "## EMERGENCY" in text and "emergency of entry 3 reported by subkoor" in text.replace("\\", "")
    with pytest.raises(Refused, match="no emergency without a report"):
        emergency.report(desk.office, request, "subkoor", desk.paper, desk.sign)
    assert trust.examine(desk.office).findings == []


def another(desk: Desk) -> str:
    return desk.submit(requester="disdik", name="lain.tarakankota.go.id")


def test_no_other_emergency_is_declared_while_a_report_is_late(desk: Desk) -> None:
    """Whoever signs it and for whichever request: else two officials would never have to report one."""
    request, other = desk.submit(), another(desk)
    declare(desk, request)
    desk.clock.time += timedelta(days=3)
    declare(desk, other, until="2026-11-06T08:00")  # the report on the first one is not yet due
    desk.clock.time += timedelta(days=1)
    with pytest.raises(Refused) as error:
        declare(desk, request, ["subkoor", "kabid"], until="2026-11-07T08:00")
    refusal, = error.value.refusals
    mend = f"`sop emergency report {request} --as ID --laporan FILE`"
    assert refusal.what == f"the report on an emergency is late: {request} (entry 4, since 2026-11-05T09:00:00Z)"
    assert refusal.gate == "emergency" and mend in refusal.mend
    shown = emergency.alarms(desk.office)
    assert f", and no other is declared until it is: {mend}" in shown[0].split("LATE by 16:00")[1], shown
    assert "LATE" not in shown[1] and "due 2026-11-09 08:00:00 WITA: `sop emergency report " in shown[1], shown
    emergency.report(desk.office, request, "subkoor", desk.paper, desk.sign)
    declare(desk, request, ["subkoor", "kabid"], until="2026-11-07T08:00")
    assert trust.examine(desk.office).findings == []


def test_report_that_gets_late_while_an_emergency_is_signed_stops_it(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    desk.clock.time += timedelta(days=3)

    def slow(who: str, message: str) -> str:
        desk.clock.time = max(desk.clock.time, datetime(2026, 11, 5, 9, 0, tzinfo=UTC))
        return desk.sign(who, message)

    with pytest.raises(Refused, match="the report on an emergency is late"):
        emergency.declare(desk.office, another(desk), orders.moment("2026-11-05T20:00", desk.office, ""), BY, slow, "x")
    assert len(list(desk.office.register.entries(kind="emergency"))) == 1


def test_emergency_is_reported_once_it_is_installed_or_over(desk: Desk) -> None:
    """Before, there is nothing to tell, and its alarm would be silent while it still lets pass."""
    request, other = desk.submit(), another(desk)
    declare(desk, request)
    declare(desk, other)
    with pytest.raises(Refused, match="until 2026-11-02 17:00:00 WITA, and nothing is installed") as error:
        emergency.report(desk.office, request, "kadis", desk.paper, desk.sign)
    refusal, = error.value.refusals
    assert refusal.gate == "emergency" and "once it is installed, or the emergency is over" in refusal.mend
    desk.run(urgent(desk, request))
    emergency.report(desk.office, request, "kadis", desk.paper, desk.sign)
    assert [other in line for line in emergency.alarms(desk.office)] == [True]
    desk.clock.time = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
    emergency.report(desk.office, other, "kadis", desk.paper, desk.sign)
    assert trust.examine(desk.office).findings == []


def test_report_before_anything_was_done_is_found_once_the_sop_is_adopted_anew(file_desk: Desk, tmp_path: Path) -> None:
    """What was reported so before is no finding."""
    def early(bodies: list[insider.Body]) -> list[insider.Body]:
        for body in bodies:
            body["data"].pop("reports", None)
        return [*bodies[:4], bodies[-1] | {"time": bodies[3]["time"]}, *bodies[4:-1]]

    request = file_desk.submit()
    file_desk.take(request, "agenda")
    declare(file_desk, request)
    for step in ("decision", "existence", "build"):
        file_desk.take(request, step)
    file_desk.run(request)
    emergency.report(file_desk.office, request, "kadis", file_desk.paper, file_desk.sign)
    insider.rewrite(file_desk, early, key=True, signed=True)
    assert trust.examine(file_desk.office).lines() == []
    actors.adopt(file_desk.office, BY, file_desk.sign, "aturannya ikut")
    assert trust.examine(file_desk.office).lines() == []
    insider.rewrite(file_desk, lambda bodies: [bodies[0], bodies[-1], *bodies[1:-1]], key=True, signed=True)
    line = "entry 6: it reports entry 5 while that is on, and nothing is installed"
    assert line in trust.examine(file_desk.office).lines()
    export.export(file_desk.office, tmp_path / "export", documents=False)
    code, told = verify(tmp_path / "export/verify.py", tmp_path / "export", "--key",
                        file_desk.office.people().checkpoint_key)
    assert code == 1 and line in told


def test_emergency_past_a_late_report_is_found(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who approves and who installs declare one after the other with a changed driver, and report none."""
    monkeypatch.setattr(emergency, "_none_is_late", lambda *words: None)
    request, other = desk.submit(), another(desk)
    by = ["kabid", "subkoor"]
    declare(desk, request, by)
    desk.clock.time += timedelta(days=4)
    with pytest.raises(Refused, match="while the report on that of entry 4 is late"):
        declare(desk, request, by, until="2026-11-06T20:00")
    declare(desk, other, by, until="2026-11-06T20:00")  # the entry is held against its own request's
    line, last = trust.examine(desk.office).lines()
    assert line == "entry 5: it declares an emergency while the report on that of entry 4 is late"
    assert last.startswith("rely on nothing from entry 5 on")
    export.export(desk.office, tmp_path / "export", documents=False)
    code, told = verify(tmp_path / "export/verify.py", tmp_path / "export", "--key",
                        desk.office.people().checkpoint_key)
    assert code == 1 and line in told


def test_emergency_past_a_late_report_holds_where_the_adopted_sop_did_not_tell(
    bare: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was declared before is no finding; once the SOP is adopted anew, what comes after is."""
    monkeypatch.setattr(emergency, "_none_is_late", lambda *words: None)
    with without("stops"):
        actors.bootstrap(bare.office, bare.ceremony(), bare.sign)
        request = bare.submit()
        declare(bare, request)
        bare.clock.time += timedelta(days=5)
        declare(bare, request, until="2026-11-07T20:00")
    assert trust.examine(bare.office).findings == []
    actors.adopt(bare.office, BY, bare.sign, "SK 3")
    assert trust.examine(bare.office).findings == []
    with pytest.raises(Refused, match="it declares an emergency while the report on that of entry 3 is late"):
        declare(bare, request, until="2026-11-07T20:00")
    path = bare.document("new.yml", f"{SOP_FILE.read_text()}# 2027\n")
    bare.office.config = bare.config.model_copy(update={"sop": str(path)})
    with without("stops"), pytest.raises(Refused, match="it does not tell stops"):
        actors.adopt(bare.office, BY, bare.sign, "SK 4")


def test_emergency_of_an_sop_without_any_is_refused(desk: Desk) -> None:
    text = SOP_FILE.read_text()
    start, end = text.index("emergency:\n"), text.index("separation:\n")
    path = desk.document("old.yml", text[:start] + text[end:])
    desk.office.config = desk.config.model_copy(update={"sop": str(path)})
    actors.adopt(desk.office, BY, desk.sign, "SK 3")
    with pytest.raises(Refused, match="knows no emergency"):
        declare(desk, desk.submit())


@pytest.mark.parametrize(
    "gate", ["request letter", "agenda number", "approval", "existence check", "build evidence", "ghost"])
def test_sop_cannot_let_an_emergency_replace_everything(gate: str) -> None:
    text = SOP_FILE.read_text().replace("waives: [freeze", f"waives: [{gate}")
    with pytest.raises(Usage, match=f"it cannot waive {gate}"):
        procedure.parse(text.encode(), Path("sop.yml"))


@pytest.mark.parametrize("change", [
    {"by": "run"}, {"gives": "agenda"}, {"outcomes": {"yes": {}}}, {"id": "decision"}])
def test_gate_that_a_step_has_whom_nothing_replaces_is_never_waived(change: dict[str, Any]) -> None:
    """A name was enough: whatever else had it was replaced as well."""
    order = procedure.parse(SOP_FILE.read_bytes(), SOP_FILE).order
    review = next(step for step in order["steps"] if step["id"] == "review")
    assert "review" in adoption.waivable(order)
    for step in ({**review, **change}, {**review, **change, "gate": "freeze"}):
        assert step["gate"] not in adoption.waivable({**order, "steps": [*order["steps"], step]})


def test_every_gate_with_a_check_of_its_own_is_never_waived() -> None:
    assert {name for name, gate in gates.GATES.items() if gate is not gates.taken} <= adoption.NEVER_WAIVED


def test_emergency_that_says_more_than_the_sop_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed driver may ask for more: the register does not take it."""
    request = desk.submit()
    rules = standing.stand(desk.office, request).procedure.emergency
    assert rules is not None
    more = rules.model_copy(update={"waives": ("approval",)})
    monkeypatch.setattr(emergency, "_rules", lambda now: more)
    with pytest.raises(Refused, match="no emergency replaces approval"):
        declare(desk, request)
    never = rules.model_copy(update={"report": procedure.Duration(days=9000)})
    monkeypatch.setattr(emergency, "_rules", lambda now: never)
    with pytest.raises(Refused, match="its report is due by 2026-11-05T09:00:00Z, and it says 2051"):
        declare(desk, request)
    longer = rules.model_copy(update={"lasts": procedure.Duration(days=9)})
    monkeypatch.setattr(emergency, "_rules", lambda now: longer)
    with pytest.raises(Refused, match="it may last 1 days at the most"):
        declare(desk, request, until="2026-11-09")


def test_replacement_under_another_sop_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request keeps the order of steps that it began under, or a laxer one could be chosen for it."""
    request, draft = desk.submit(), steps.draft
    laxer = desk.document("laxer.yml", SOP_FILE.read_text().replace("lasts: {days: 1}", "lasts: {days: 30}"))
    digest = desk.office.evidence.add(laxer)
    monkeypatch.setattr(steps, "draft", lambda *words, **binds: draft(*words, **{**binds, "sop": digest}))
    with pytest.raises(Refused, match=f"it names another SOP than {request} began under"):
        desk.submit(replace=request, title="Lain")


def test_report_without_its_document_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request, written = desk.submit(), emergency.written
    declare(desk, request)
    desk.clock.time += timedelta(days=1)
    monkeypatch.setattr(emergency, "written", lambda office, kind, fields, *rest: written(
        office, kind, {**fields, "evidence": {}}, *rest))
    with pytest.raises(Refused, match="it brings no report"):
        emergency.report(desk.office, request, "subkoor", desk.paper, desk.sign)


def test_emergency_that_ends_by_another_word_than_its_report_is_found(file_desk: Desk) -> None:
    """Else two officials end each alarm without a document."""
    request = file_desk.submit()
    entry = declare(file_desk, request, until="2026-11-02T09:30")
    data = {**entry.data, "emergency": entry.sequence, "waives": [], "until": "2026-11-02T09:00:00Z",
            "report_by": "2026-11-05T09:00:00Z"}
    over = {"outcome": "withdrawn", "time": "2026-11-02T02:00:00Z", "data": data}
    insider.rewrite(file_desk, lambda bodies: [*bodies, bodies[-1] | over], key=True, signed=True)
    assert trust.examine(file_desk.office).lines()[:-1] == [
        "entry 4: its outcome is 'withdrawn', which no entry of the kind emergency has"]
    file_desk.clock.time += timedelta(hours=2)
    with pytest.raises(Refused, match="which no entry of the kind emergency has"):
        file_desk.take(request, "agenda")


def test_report_on_another_requests_emergency_is_found(desk: Desk) -> None:
    """It would let that one's alarm end, and this one's never."""
    one, two = desk.submit(), desk.submit(name="dinsos.tarakankota.go.id", requester="dinsos", agency="Dinas Sosial")
    declared = [declare(desk, request) for request in (one, two)]
    desk.clock.time += timedelta(days=1)
    emergency.report(desk.office, one, "subkoor", desk.paper, desk.sign)

    def swap(bodies: list[insider.Body]) -> list[insider.Body]:
        bodies[-1]["data"]["emergency"] = declared[1].sequence
        return bodies

    insider.rewrite(desk, swap, key=True, signed=True)
    assert any("no unreported emergency of this request" in line for line in trust.examine(desk.office).lines())


def test_emergency_by_the_rules_of_another_sop_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laxer file that was adopted later is for later requests."""
    request = desk.submit()
    path = desk.document("laxer.yml", SOP_FILE.read_text().replace("lasts: {days: 1}", "lasts: {days: 30}"))
    desk.office.config = desk.config.model_copy(update={"sop": str(path)})
    adopted = actors.adopt(desk.office, BY, desk.sign, "SK 3")
    assert adopted is not None
    laxer = desk.office.procedure(adopted.data["sop"])
    monkeypatch.setattr(emergency, "_rules", lambda now: laxer.emergency)
    monkeypatch.setattr(emergency, "binding", lambda now: {
        "sop": laxer.hash, "digest": now.digest, "letter": now.letter})
    with pytest.raises(Refused, match=f"it names another SOP than {request} began under"):
        declare(desk, request, until="2026-11-20")


@pytest.mark.parametrize("change", [{"title": "Lain"}, None])
def test_run_in_a_window_by_an_emergency_that_ended_is_found(desk: Desk, change: dict[str, str] | None) -> None:
    """The request was changed, or refused, since two officials let it pass; a changed driver ran it nevertheless."""
    request = desk.submit()
    freeze(desk)
    declare(desk, request)
    urgent(desk, request)
    row = {"request": request, "digest": standing.stand(desk.office, request).digest, "uid": 20000,
           "address": {"ipv4": "198.51.100.11", "ipv6": None, "own": False}}
    data: dict[str, Any] = {"run": "run-000001", "requests": [request], "allocations": [row], "desired": "0" * 64}
    with desk.office.register.writing():
        desk.office.register.append("run", outcome="started", data=data)
        assert trust.audit.read(desk.office.register.texts()).findings == []
        desk.office.register.append("run", outcome="interrupted", data=data)
    if change:
        desk.submit(replace=request, **change)
    else:
        desk.take(request, "decision", outcome="no", reason="tidak aman")
    desk.office.register.append("run", outcome="started", data=data)
    assert any("was started while entry 3" in line for line in trust.examine(desk.office).lines())


def test_requester_in_another_office_does_not_count_as_a_signer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor past the driver's own check."""
    desk.enroll("dinkes-2", "bidang", person="dinkes")
    request = desk.submit()
    monkeypatch.setattr(emergency, "refuse", lambda *words: None)
    with pytest.raises(Refused, match="whom it does not concern must sign; kadis did"):
        declare(desk, request, ["kadis", "dinkes-2"])


def test_two_who_declare_at_once_cannot_both_be_first(desk: Desk) -> None:
    request = desk.submit()

    def slow(who: str, message: str) -> str:
        if who == "kasubbag":
            desk.take(request, "agenda")
        return desk.sign(who, message)

    with pytest.raises(Refused, match="another entry was written"):
        emergency.declare(desk.office, request, orders.moment("2026-11-02T17:00", desk.office, ""), BY, slow, "x")


def test_run_in_a_window_by_another_requests_emergency_is_refused(desk: Desk) -> None:
    first, second = desk.submit(), desk.approved(name="lain.tarakankota.go.id", requester="disdik")
    freeze(desk)
    declare(desk, first)
    with pytest.raises(Refused, match=f"{second}: from 2026-11-01"):
        desk.run(urgent(desk, first), second)
    assert run.cleared(desk.office, [first])


def test_emergency_by_commands_and_in_an_export(desk: Desk, sop: Sop, fleet: Any, tmp_path: Path) -> None:
    request = desk.submit()
    until = (datetime.now(ZoneInfo("Asia/Makassar")) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M")
    keys = [word for name in BY for word in ("--key", f"{name}={desk.folder / 'keys' / name}")]
    code, out, err = sop("emergency", "declare", request, "--until", until, "--reason", "diretas", "--signed-by", *BY,
                         *keys)
    assert code == 0 and "EMERGENCY: " in out, err
    desk.clock.time = datetime.now(UTC)  # commands have the machine's clock
    urgent(desk, request)
    code, out, err = sop("run", request)
    assert code == 0 and out.startswith("EMERGENCY"), err
    for words in (("status",), ("status", request), ("list",), ("emergency", "list")):
        assert sop(*words)[1].startswith("EMERGENCY: "), words
    code, out, _ = sop("register", "verify")
    assert code == 0 and f"EMERGENCY: entry 3 let {request} pass" in out
    assert "replaced by an EMERGENCY: disposition" in sop("status", request)[1]
    told, = json.loads(sop("status", request, "--json")[1])[0]["emergencies"]
    assert told["entry"] == 3 and told["until"] < told["report_by"] and "freeze" in told["waives"]
    sop("register", "export", tmp_path / "export", "--documents")
    (tmp_path / "receipt.json").write_text(sop("register", "receipt", request)[1])
    for path in (tmp_path / "export", tmp_path / "receipt.json"):
        code, told = verify(tmp_path / "export/verify.py", path, "--key", desk.office.people().checkpoint_key)
        assert code == 0 and "EMERGENCY: entry 3" in told, told
    code, out, err = sop("emergency", "report", request, "--as", "kabid", "--laporan", desk.paper)
    assert code == 0 and "EMERGENCY" not in out and json.loads(sop("emergency", "list", "--json")[1]) == []
    assert sop("emergency", "report", request, "--as", "kabid", "--laporan", desk.paper)[0] == 3


def test_emergency_is_signed_on_two_other_computers(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    request = desk.submit()
    until = (datetime.now(ZoneInfo("Asia/Makassar")) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M")
    words = ("emergency", "declare", request, "--until", until, "--reason", "diretas", "--signed-by", *BY)
    told, made = tmp_path / "said", list[str]()
    code, out, err = sop(*words, "--prepare", told)
    assert code == 0 and "nothing is recorded yet" in out and not standing.stand(desk.office, request).unreported, err
    for name in BY:
        (tmp_path / f"{name}.sig").write_text(people.sign(name, told.read_text()))
        made += ["--signature", f"{name}={tmp_path}/{name}.sig"]
    code, out, err = sop(*words, *made)
    assert code == 0 and "recorded: entry 3, emergency declared" in out, err


def test_register_from_before_goes_on_without_emergencies(bare: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first entry says nothing of emergencies, refusals or a head, until two officials adopt a file that does."""
    new = procedure.Procedure.told
    monkeypatch.setattr(procedure.Procedure, "told", {
        "rules": {"signers": ["kadis", "kasubbag", "bidang"], "count": 2, "ink": "kasubbag"}})
    actors.bootstrap(bare.office, bare.ceremony(), bare.sign)
    request = bare.approved()
    with pytest.raises(Refused, match="the SOP of the request knows no emergency"):
        declare(bare, request)
    with pytest.raises(Refused, match="only kabid takes back the 'yes' of entry 6"):
        voiding.void(bare.office, request, 6, "kadis", bare.sign, "x")
    assert voiding.void(bare.office, request, 6, "kabid", bare.sign, "x")
    bare.run(bare.approve(request))
    monkeypatch.setattr(procedure.Procedure, "told", new)
    path = bare.document("new.yml", f"{SOP_FILE.read_text()}# 2027\n")
    bare.office.config = bare.config.model_copy(update={"sop": str(path)})
    actors.adopt(bare.office, BY, bare.sign, "SK 3")
    declare(bare, bare.submit(requester="disdik", name="lain.tarakankota.go.id"))
    assert trust.examine(bare.office).findings == []

"""Whatever the driver took verifies as it is, and what no unchanged driver takes is found, here and by outsiders."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from driver import insider, people
from driver.desk import PROJECT, Desk, failing
from driver.insider import Body
from driver.test_emergency import declare, urgent
from driver.test_export import verify
from driver.test_freeze import freeze
from sop_driver import actors, emergency, export, gates, outsider, procedure, run, standing, steps, trust, voiding
from sop_driver import request as requests
from sop_driver.errors import Failed, Refused, SopError

SOP = procedure.parse((PROJECT / "sop_driver/data/sop-website-2024.yml").read_bytes(), Path("sop.yml"))
STEPS = [step.id for step in SOP.steps]
Change = Callable[[list[Body]], list[Body]]


def finished(desk: Desk, **fields: Any) -> str:
    """A request from its letter to its end."""
    request = desk.approved(**fields)
    desk.run(request)
    desk.take(request, "report")
    desk.take(request, "completion")
    return request


def outside(desk: Desk) -> tuple[int, list[str]]:
    """What the code of the one-file verifier says of an export."""
    with tempfile.TemporaryDirectory() as folder:
        export.export(desk.office, Path(folder) / "export", documents=True)
        return outsider.check(Path(folder) / "export", desk.office.people().checkpoint_key)


def written(desk: Desk, change: Change) -> None:
    """By a changed driver, whose people all sign, and with the key of the checkpoints."""
    insider.rewrite(desk, change, key=True, signed=True)


def found(desk: Desk, part: str) -> None:
    """Both verifiers find it, and nobody runs anything on top."""
    lines = trust.examine(desk.office).lines()
    assert any(part in line for line in lines), lines
    code, told = outside(desk)
    assert code == 1 and any(part in line for line in told), told


def where(taken: str, **changed: Any) -> Change:
    """The entry of a step otherwise than it was; `data` is added to."""
    def change(bodies: list[Body]) -> list[Body]:
        return [{**body, **changed, "data": {**body["data"], **changed.get("data", {})}}
                if body["step"] == taken else body for body in bodies]

    return change


def without(step: str) -> Change:
    return lambda bodies: [body for body in bodies if body["step"] != step]


def test_what_all_sign_anew_as_it_was_is_clean(desk: Desk) -> None:
    """So that whatever the tests below find is what they changed."""
    finished(desk)
    written(desk, lambda bodies: bodies)
    assert trust.examine(desk.office).lines() == []
    assert outside(desk)[0] == 0


@pytest.mark.parametrize("step", [step for step in STEPS if step not in ("installation", "completion")])
def test_left_out_step_is_found(file_desk: Desk, step: str) -> None:
    finished(file_desk)
    written(file_desk, without(step))
    following = STEPS[STEPS.index(step) + 1]
    found(file_desk, "R-2026-0001 has no entry that brought it" if step == STEPS[0] else
          "no run brought it" if following == "installation" and step != "build" else f"({step}: ")


@pytest.mark.parametrize(
    ("step", "other"), [("agenda", "disposition"), ("review", "decision"), ("needs_analysis", "build")]
)
def test_steps_in_another_order_are_found(file_desk: Desk, step: str, other: str) -> None:
    def change(bodies: list[Body]) -> list[Body]:
        first, second = (next(n for n, body in enumerate(bodies) if body["step"] == name) for name in (step, other))
        bodies[first], bodies[second] = bodies[second], bodies[first]
        return bodies

    finished(file_desk)
    times = [body["time"] for body in map(json.loads, insider.texts(file_desk))]
    written(file_desk, lambda bodies: [body | {"time": time}
                                       for body, time in zip(change(bodies), times, strict=True)])
    found(file_desk, f"R-2026-0001: step {STEPS.index(step) + 1} ({step}: ")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (where("decision", actor="kadis", role="kadis", data={"person": "kadis"}),
         "kadis is kadis; step 5 (decision: "),
        (where("disposition", actor="kabid", role="bidang", data={"person": "kabid"}),
         "kabid is bidang; step 3 (disposition: "),
        (where("request_letter", actor="kabid", role="bidang", data={"person": "kabid"}),
         "kabid is bidang; step 1 (request_letter: "),
        (where("installation", actor="kadis", role="kadis", data={"person": "kadis"}),
         "kadis is kadis; step 9 (installation: "),
        (where("agenda", evidence={"scan": "0" * 64}), "lacks lembar_disposisi"),
        (where("build", evidence={}), "lacks buku_manual, dokumentasi_aplikasi, kak"),
        (where("decision", data={"ink": "kasubbag"}), "is signed by ink, and takes ssh or pades"),
        (where("agenda", data={"ink": "kasubbag"}), "is signed by ink, and takes ssh"),
        (where("installation", actor="kabid", data={"person": "kabid"}), "decision was taken by kabid (entry 6)"),
        (where("existence", outcome="exists"), "the outcome exists asks for a request of kind update"),
        (where("existence", outcome="perhaps"), "has no outcome perhaps"),
        (where("decision", outcome="no", reason=None), "needs a reason for 'no'"),
        (where("decision", outcome=None), "has no outcome None"),
        (where("review", outcome="yes"), "has no outcomes, yes was given"),
        (where("review", data={"digest": "0" * 64}), "about another form of R-2026-0001"),
        (where("disposition", data={"letter": "0" * 64}), "about another form of R-2026-0001"),
        (where("review", step="tinjau"), "the SOP has no step tinjau"),
        (where("agenda", data={"agenda": {"year": 2026, "number": 2, "text": "2/2026"}}), "the next one is 1"),
        (where("agenda", data={"agenda": {"year": 2025, "number": 1, "text": "1/2025"}}), "is one of 2025"),
        (where("review", data={"agenda": {"year": 2026, "number": 2, "text": "2/2026"}}), "gives no agenda number"),
    ],
)
def test_step_that_no_driver_takes_is_found(file_desk: Desk, change: Change, part: str) -> None:
    finished(file_desk)
    written(file_desk, change)
    found(file_desk, part)


def test_letter_that_another_document_stands_for_is_found(file_desk: Desk) -> None:
    """The approvals stay with the letter that they are of, and people read the one that the request brings."""
    request = file_desk.approved()
    steps.submit(file_desk.office, file_desk.folder / "request.yml", None, "dinkes", request, file_desk.sign)
    assert "build" in standing.stand(file_desk.office, request).done
    other = file_desk.office.evidence.add(file_desk.document("lain.pdf", "%PDF-1.4 surat lain"))
    written(file_desk, lambda bodies: [*bodies[:-1], {**bodies[-1], "evidence": {
        **bodies[-1]["evidence"], "surat": other, "lampiran": bodies[-1]["data"]["letter"]}}])
    found(file_desk, f"{request}: the letter that is approved, ")


@pytest.mark.parametrize(("actor", "old"), [("disdik", False), ("disdik", True), ("kabid", True)])
def test_request_taken_over_by_another_agency_is_found(file_desk: Desk, actor: str, old: bool) -> None:
    """Where its SOP was adopted by a driver that asked; who is no agency at all is found in any case."""
    def change(bodies: list[Body]) -> list[Body]:
        last = bodies[-1]
        taken = {"actor": actor, "role": people.FIRST[actor]["role"], "data": {**last["data"], "person": actor}}
        return [*(older(file_desk)(bodies) if old else bodies)[:-1], last | taken]

    request = file_desk.submit()
    file_desk.submit(replace=request, title="Lain")
    written(file_desk, change)
    if not old:
        found(file_desk, f"{request} is dinkes's (entry 2), disdik is of another agency")
    else:
        assert (trust.examine(file_desk.office).lines() == []) == (actor == "disdik")


def before_agencies(bodies: list[Body]) -> list[Body]:
    """As earlier drivers adopted it, who let any agency take another one's steps."""
    return [body | {"data": {name: value for name, value in body["data"].items() if name != "agencies"}}
            for body in bodies]


@pytest.mark.parametrize("step", ["needs_analysis", "completion"])
def test_step_of_another_agency_is_found_once_its_sop_is_adopted_anew(file_desk: Desk, step: str) -> None:
    """What was taken before is no finding."""
    request = file_desk.approved()
    file_desk.run(request)
    file_desk.take(request, "report")
    file_desk.take(request, "completion", actor="dinkes")
    taken = where(step, actor="disdik", role="pd", data={"person": "disdik"})
    written(file_desk, lambda bodies: before_agencies(taken(bodies)))
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0
    assert actors.adopt(file_desk.office, ["kadis", "kasubbag"], file_desk.sign, "aturannya ikut")
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0
    written(file_desk, lambda bodies: [bodies[0], bodies[-1], *bodies[1:-1]])
    found(file_desk, f"{request} is dinkes's (entry 3), disdik is of another agency")


def test_run_that_changes_another_agencys_website_is_found_once_the_sop_is_adopted_anew(file_desk: Desk) -> None:
    def asked(bodies: list[Body]) -> list[Body]:
        return [body | {"actor": "disdik", "data": {**body["data"], "person": "disdik"}}
                if (body["request"], body["step"]) == (request, "request_letter") else body for body in bodies]

    finished(file_desk)
    request = file_desk.approved(kind="suspend")
    file_desk.run(request)
    written(file_desk, lambda bodies: before_agencies(asked(bodies)))
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0
    assert actors.adopt(file_desk.office, ["kadis", "kasubbag"], file_desk.sign, "aturannya ikut")
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0
    written(file_desk, lambda bodies: [bodies[0], bodies[-1], *bodies[1:-1]])
    found(file_desk, "dinkes.tarakankota.go.id is dinkes's (R-2026-0001), disdik is of another agency")


@pytest.mark.parametrize(
    "name", ["DINKES.tarakankota.go.id", "dinkes.tarakankota.go.id.", "dinkes.tarakankota.go.id\n"])
def test_name_that_servers_take_for_another_agencys_is_found(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By an agency's changed driver it gets into the register, and letter by letter it is another name."""
    file_desk.run(file_desk.approved())
    with monkeypatch.context() as changed:
        changed.setattr(requests, "name_faults", lambda *_: [])
        request = file_desk.approved(name="lain.tarakankota.go.id", aliases=[name], requester="dinsos")
    with pytest.raises(Refused, match="is spelled as no website's name is"):
        file_desk.run(request)
    monkeypatch.setattr(run.gates, "check", lambda cases: [])
    file_desk.run(request)
    found(file_desk, "is spelled as no website's name is")


@pytest.mark.parametrize("together", [False, True])
def test_run_that_makes_a_website_in_another_agencys_zone_is_found(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """By a driver whose gates do not ask. What the agency itself makes there, later too, is its own."""
    mine, *others = [file_desk.approved(name=f"{name}rsud-kita.go.id", zone="rsud-kita.go.id", requester=requester)
                     for name, requester in (("", "dinkes"), ("ppid.", "dinkes"), ("palsu.", "dinsos"))]
    if not together:
        file_desk.run(mine)
        file_desk.run(others[0])
        assert trust.examine(file_desk.office).lines() == []
    monkeypatch.setattr(steps, "of_others", lambda *_: [])
    file_desk.run(*(others[1:] if not together else (mine, *others)))
    found(file_desk, "the zone rsud-kita.go.id is dinkes's (R-2026-000")


@pytest.mark.parametrize("order", [
    {}, [], None, {"steps": [], "separation": []}, {"steps": {}, "separation": []}, {"steps": [{}], "separation": []},
    {"steps": SOP.order["steps"][:3], "separation": []}, {"steps": "x", "separation": "x"},
    {"steps": [{**step, "outcomes": []} for step in SOP.order["steps"]], "separation": []},
])
def test_order_that_is_none_is_named(file_desk: Desk, order: Any) -> None:
    def change(bodies: list[Body]) -> list[Body]:
        return [bodies[0] | {"data": {**bodies[0]["data"], "order": order}}, *bodies[1:]]

    request = file_desk.approved()
    written(file_desk, change)
    assert trust.examine(file_desk.office).lines()
    assert outside(file_desk)[0] == 1
    receipt = file_desk.document("receipt", json.dumps(trust.make_receipt(file_desk.office, request)))
    assert outsider.check(receipt, file_desk.office.people().checkpoint_key)[0] in (1, 2)


def test_missing_agenda_number_is_found(file_desk: Desk) -> None:
    def change(bodies: list[Body]) -> list[Body]:
        return [body | {"data": {k: v for k, v in body["data"].items() if k != "agenda"}} for body in bodies]

    file_desk.submit()
    file_desk.take("R-2026-0001", "agenda")
    written(file_desk, change)
    found(file_desk, "gave no agenda number")


def test_agenda_number_given_twice_is_found(file_desk: Desk) -> None:
    def change(bodies: list[Body]) -> list[Body]:
        first = next(body["data"]["agenda"] for body in bodies if body["step"] == "agenda")
        return [body | {"data": {**body["data"], "agenda": {**body["data"]["agenda"], "text": first["text"]}}}
                if body["step"] == "agenda" else body for body in bodies]

    for name in ("a", "b"):
        file_desk.take(file_desk.submit(name=f"{name}.tarakankota.go.id"), "agenda")
    written(file_desk, change)
    found(file_desk, "was given before")


def test_verifier_of_an_export_finds_it_by_itself(desk: Desk, tmp_path: Path) -> None:
    """The file that goes out, in an interpreter that has nothing of ours: an export and a receipt."""
    request = finished(desk)
    written(desk, without("disposition"))
    export.export(desk.office, tmp_path / "export", documents=True)
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps(trust.make_receipt(desk.office, request)))
    for path in (tmp_path / "export", receipt):
        code, told = verify(tmp_path / "export/verify.py", path, "--key", desk.office.people().checkpoint_key)
        assert code == 1 and f"{request}: step 3 (disposition: Disposisi" in told, told


def older(desk: Desk) -> Change:
    """As an older driver wrote it: the entry that adopts the SOP does not tell its order."""
    return lambda bodies: [body | {"data": {k: v for k, v in body["data"].items() if k != "order"}}
                           for body in bodies]


def test_older_register_is_held_against_the_file_here_and_said_to_be_unchecked_outside(desk: Desk) -> None:
    request = finished(desk)
    written(desk, older(desk))
    assert trust.examine(desk.office).lines() == []
    code, told = outside(desk)
    assert code == 3 and told[-1] == "what was checked here holds; NOT all was: see the lines above"
    assert any(line.startswith("NOT checked here") and line.endswith(f"{request} were taken in order") for line in told)
    written(desk, without("disposition"))
    assert any("disposition" in line for line in trust.examine(desk.office).lines())
    assert outside(desk)[0] == 3


def test_older_register_that_adopts_the_same_file_once_more_is_checked_from_then_on(desk: Desk) -> None:
    old = desk.submit()
    written(desk, older(desk))
    assert actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "aturannya ikut")
    with pytest.raises(Refused, match="adopted already"):
        actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "sekali lagi")
    new = desk.submit(name="lain.tarakankota.go.id")
    for request in (old, new):
        desk.approve(request)
    assert trust.examine(desk.office).lines() == []
    code, told = outside(desk)
    left = [line for line in told if "NOT checked" in line]
    assert code == 3 and old in left[0] and new not in left[0]
    written(desk, lambda bodies: [body for body in bodies if (body["request"], body["step"]) != (new, "review")])
    assert outside(desk)[0] == 1


def test_order_that_the_adopted_file_does_not_say_is_found(desk: Desk) -> None:
    """Else outsiders would hold requests against something else than two officials read."""
    def change(bodies: list[Body]) -> list[Body]:
        order = bodies[0]["data"]["order"]
        laxer = {**order, "steps": [step for step in order["steps"] if step["id"] != "disposition"]}
        return [bodies[0] | {"data": {**bodies[0]["data"], "order": laxer}}, *bodies[1:]]

    finished(desk)
    written(desk, change)
    assert "entry 1: it tells other order than the SOP that it adopts" in trust.examine(desk.office).lines()


def test_request_run_although_its_gates_are_closed_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a driver whose gates are open, and by people who then sign every step that they sign without asking."""
    request = desk.approved()
    other = desk.approved(name="lain.tarakankota.go.id", requester="disdik", aliases=["dinkes.tarakankota.go.id"])
    monkeypatch.setattr(gates, "check", lambda cases: [])
    desk.run(request)
    desk.run(other)
    found(desk, f"run-000002: the gate existence check of {other} was closed: dinkes.tarakankota.go.id already belongs")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("what", ["uid", "address"])
def test_uid_or_address_of_another_website_is_found(desk: Desk, what: str, together: bool) -> None:
    """Nobody signs what a run gives its websites; of one account, they read each other's files and databases."""
    requests = [desk.approved(address="own"), desk.approved(name="lain.tarakankota.go.id", requester="disdik")]
    for chosen in ([requests] if together else [[each] for each in requests]):
        desk.run(*chosen)
    rows = [row for entry in desk.office.register.entries(kind="run") for row in entry.data.get("allocations", ())]
    assert [row["uid"] for row in rows] == [20000, 20001] and trust.examine(desk.office).lines() == []

    def change(bodies: list[Body]) -> list[Body]:
        for body in bodies:
            for row in body["data"].get("allocations", ()):
                row[what] = rows[0][what]
        return bodies

    written(desk, change)
    value = {"uid": "20000", "address": "198.51.100.101"}[what]
    found(desk, f"run-00000{1 if together else 2}: lain.tarakankota.go.id gets the {what} {value}, which is that of "
                "dinkes.tarakankota.go.id")


def test_address_of_a_run_that_failed_is_given_to_another_website(desk: Desk) -> None:
    """The uid is not: its account may be there."""
    request = desk.approved(address="own")
    desk.fleet.faults["websites.yml"] = failing
    with pytest.raises(Failed):
        desk.run(request)
    desk.fleet.faults.clear()
    desk.run(desk.approved(name="lain.tarakankota.go.id", requester="disdik", address="own"))
    desk.facts.pool.append(desk.facts.pool[0].model_copy(update={"ipv4": IPv4Address("198.51.100.102")}))
    desk.run(request)
    rows = [row for entry in desk.office.register.entries(kind="run") for row in entry.data.get("allocations", ())]
    assert [(row["uid"], row["address"]["ipv4"][-1]) for row in rows] == [(20000, "1"), (20001, "1"), (20002, "2")]
    assert trust.examine(desk.office).lines() == []


def test_run_that_begins_after_the_emergency_is_over_is_refused(desk: Desk) -> None:
    """It was not when the gates were asked; the plan takes its time."""
    request = desk.submit()
    declare(desk, request, until="2026-11-02T17:00")
    urgent(desk, request)

    def later(playbook: str, check: bool) -> None:
        desk.clock.time += timedelta(days=1) if check else timedelta(0)

    desk.fleet.on_play = later
    with pytest.raises(Refused) as error:
        desk.run(request)
    assert [refusal.gate for refusal in error.value.refusals] == ["disposition", "review", "needs analysis"]
    assert desk.outcomes() == []


def test_run_that_ends_after_the_emergency_is_over_counts(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request, until="2026-11-02T17:00")
    urgent(desk, request)

    def later(playbook: str, check: bool) -> None:
        desk.clock.time += timedelta(0) if check else timedelta(days=1)

    desk.fleet.on_play = later
    desk.run(request)
    assert standing.stand(desk.office, request).installed
    assert trust.examine(desk.office).lines() == [] and outside(desk)[0] == 0


def test_run_begun_after_the_emergency_was_over_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.submit()
    declare(desk, request, until="2026-11-02T17:00")
    urgent(desk, request)
    desk.clock.time += timedelta(days=1)
    monkeypatch.setattr(run.gates, "check", lambda cases: [])
    monkeypatch.setattr(run.gates, "lapsed", lambda *words: [])
    desk.run(request)
    found(desk, f"run-000001: the gate review of {request} was closed")


def installed_by_hand(desk: Desk, request: str, of: str) -> None:
    """Who installs signs for it; that a run (`of`) was applied, nobody signs."""
    now = standing.stand(desk.office, request)
    fields = steps.draft(desk.office, "subkoor", now.procedure.installation, request, None, **steps.binding(now))
    assert now.request.release
    fields["evidence"] = {"release": now.request.release.sha256}
    signatures = steps.signed(desk.office, fields, desk.sign)
    with desk.office.register.writing():
        desk.office.register.append("run", outcome="applied", data={"run": of, "desired": "0" * 64})
        desk.office.register.append(
            "step", **fields | {"signatures": signatures, "data": {**fields["data"], "run": of}})


def rolled_back(desk: Desk, request: str) -> None:
    desk.fleet.faults = {"websites.yml": failing}
    with pytest.raises(Failed):
        desk.run(request)
    desk.fleet.faults.clear()


@pytest.mark.parametrize("died", [False, True])
def test_run_that_was_over_is_not_applied_by_an_emergency_that_was(desk: Desk, died: bool) -> None:
    """Its gates stood open when it began; they do not any more."""
    request = desk.submit()
    declare(desk, request)
    urgent(desk, request)
    rolled_back(desk, request)
    desk.clock.time += timedelta(days=1)
    if died:
        desk.run(desk.approved(name="lain.tarakankota.go.id", requester="disdik"))
    installed_by_hand(desk, request, "run-000001")
    written(desk, lambda bodies: [body for body in bodies if not (died and body["outcome"] == "rolled_back")])
    found(desk, "run-000001 was applied, and was not under way then")


def test_run_that_was_over_brings_no_website_that_is_another_agencys_by_now(desk: Desk) -> None:
    mine, others = desk.approved(), desk.approve(desk.submit(requester="dinsos"))
    rolled_back(desk, others)
    desk.run(mine)
    installed_by_hand(desk, others, "run-000001")
    found(desk, "run-000001 was applied, and was not under way then")


WHO = ("kadis", "kasubbag", "kabid", "subkoor", "dinkes", "disdik")
TAKE = st.tuples(st.just("take"), st.sampled_from(STEPS[1:]), st.sampled_from((None, *WHO)))
MOVES = st.one_of(
    TAKE, TAKE,
    st.tuples(st.just("refuse"), st.none(), st.none()),
    st.tuples(st.just("change"), st.sampled_from(["A", "B"]), st.sampled_from(("dinkes", "disdik"))),
    st.tuples(st.just("declare"), st.integers(1, 30), st.none()),
    st.tuples(st.just("tell"), st.none(), st.none()),
    st.tuples(st.just("void"), st.integers(1, 6), st.sampled_from(("kadis", "kabid", "kasubbag"))),
    st.tuples(st.just("wait"), st.integers(1, 30), st.none()),
    st.tuples(st.just("freeze"), st.none(), st.none()),
    st.tuples(st.just("another"), st.none(), st.none()),
)
ALL = [("take", step, None) for step in STEPS[1:8]]
URGENT = [("declare", 30, None), *(("take", step, None) for step in ("agenda", "decision", "existence", "build"))]
RUN = ("run", None, None)
END = [*ALL, RUN, ("take", "report", None), ("take", "completion", None)]
PARTS = st.one_of(st.just(END), st.just([*URGENT, RUN]), st.sampled_from((ALL, URGENT)),
                  MOVES.map(lambda one: [one]), MOVES.map(lambda one: [*ALL, one]))


def move(desk: Desk, request: str, what: str, detail: Any, who: str | None) -> None:
    """One move through the driver itself, which may refuse it."""
    register, now = desk.office.register, standing.stand(desk.office, request)
    if what == "take":
        desk.take(request, detail, actor=who)
    elif what == "refuse":
        desk.take(request, "decision", outcome="no", reason="data belum lengkap")
    elif what == "change":
        desk.submit(replace=request, title=detail, requester=who, name=now.request.name)
    elif what == "another":
        desk.submit(name=f"w{register.head()[0]}.tarakankota.go.id")
    elif what == "declare":
        until = standing.stamp(desk.clock.time + timedelta(minutes=detail))
        emergency.declare(desk.office, request, until, ["kadis", "kasubbag"], desk.sign, "diretas")
    elif what == "tell":
        emergency.report(desk.office, request, "kadis", desk.paper, desk.sign)
    elif what == "void":
        last = [entry.sequence for entry in register.entries(kind="step", request=request)]
        voiding.void(desk.office, request, last[-min(detail, len(last))], str(who), desk.sign, "salah")
    elif what == "wait":
        desk.clock.time += timedelta(minutes=detail)
    elif what == "freeze":
        freeze(desk)
    elif what == "run":
        desk.run(request)


SPOILED: dict[str, Callable[[Body], list[Body]]] = {
    "left out": lambda body: [],
    "by another role": lambda body: [
        body | {"actor": "dinsos", "role": "pd", "data": {**body["data"], "person": "dinsos"}}],
    "on paper": lambda body: [body | {"data": {**body["data"], "ink": "kasubbag"}}],
    "of another form": lambda body: [body | {"data": {**body["data"], "digest": "0" * 64}}],
    "with an outcome of its own": lambda body: [body | {"outcome": "perhaps"}],
}


def spoiled(how: str, request: str, step: str) -> Change:
    return lambda bodies: [each for body in bodies for each in (
        SPOILED[how](body) if (body["kind"], body["request"], body["step"]) == ("step", request, step) else [body])]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, min_size=1, max_size=6), st.data())
def test_whatever_the_driver_takes_is_clean_and_nothing_of_it_may_be_otherwise(
    begun: Path, parts: list[list[Any]], data: st.DataObject
) -> None:
    """Then a step that something rests on is spoiled by a changed driver, and all sign that."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder), begun)
        desk.submit()
        for part in parts:
            request = data.draw(st.sampled_from([now.id for now in standing.all_standings(desk.office)]))
            for what, detail, who in part:
                try:
                    move(desk, request, what, detail, who)
                    event(f"{what} was taken")
                except SopError:
                    event(f"{what} was refused")
        assert trust.examine(desk.office).lines() == []
        assert outside(desk)[0] == 0
        rested = [(now.id, step) for now in standing.all_standings(desk.office)
                  for step in ("agenda", "decision") if step in now.done and list(now.done)[-1] != step]
        if rested:
            how = data.draw(st.sampled_from(sorted(SPOILED)))
            event(how)
            written(desk, spoiled(how, *data.draw(st.sampled_from(rested))))
            assert outside(desk)[0] == 1 and trust.examine(desk.office).lines()
        desk.office.register.close()

"""Each gate alone, all in combination, and every order of the steps: only the complete one in order clears."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from driver.desk import Desk
from sop_driver import gates, standing
from sop_driver.errors import Refusal
from sop_driver.flow import Existing
from sop_driver.gates import Case
from sop_driver.register import Entry
from sop_driver.standing import Standing

GATED = ["request_letter", "agenda", "disposition", "review", "decision", "existence", "needs_analysis", "build"]


def entries(desk: Desk, request: str) -> dict[str, Entry]:
    return {str(e.step): e for e in desk.office.register.entries(kind="step", request=request)}


def closed(desk: Desk, taken: list[Entry], websites: dict[str, Any] | None = None) -> list[Refusal]:
    now: Standing = standing.standing(taken, desk.office.procedure(taken[0].data["sop"]))
    return gates.check([Case(now, desk.office.evidence, Existing.of(websites or {}), desk.office.people().person)])


def names(refusals: list[Refusal]) -> list[str]:
    assert all(r.what and r.mend for r in refusals)
    return [r.gate for r in refusals]


def test_check_clears_the_complete_order(desk: Desk) -> None:
    assert closed(desk, list(entries(desk, desk.approved()).values())) == []


def test_check_names_all_missing_gates_at_once(desk: Desk) -> None:
    taken = entries(desk, desk.submit())
    assert names(closed(desk, list(taken.values()))) == [
        "agenda number",
        "disposition",
        "review",
        "approval",
        "existence check",
        "needs analysis",
        "build evidence",
    ]


def test_check_clears_no_other_order_of_the_steps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 5,040 orders of the seven steps after the letter: one clears."""
    taken = entries(desk, desk.approved())
    monkeypatch.setattr(desk.office.evidence, "fault", lambda digest: None)  # hashing 5,040 times proves nothing
    first, *rest = [taken[name] for name in GATED]
    clear = [order for order in itertools.permutations(rest) if not closed(desk, [first, *order])]
    assert clear == [tuple(rest)]


def test_check_clears_no_subset_of_the_steps(desk: Desk) -> None:
    taken = entries(desk, desk.approved())
    for size in range(7):
        for chosen in itertools.combinations(GATED[1:], size):
            assert closed(desk, [taken["request_letter"], *(taken[name] for name in chosen)])


@pytest.mark.parametrize("step", [name for name in GATED if name != "request_letter"])
def test_check_closes_the_gate_of_a_step_taken_by_the_wrong_role(desk: Desk, step: str) -> None:
    taken = entries(desk, desk.approved())
    taken[step] = Entry(**{**taken[step].__dict__, "role": "kasubbag" if step != "agenda" else "kadis"})
    assert len(closed(desk, list(taken.values()))) == 1


@pytest.mark.parametrize("step", [name for name in GATED if name not in ("decision", "existence")])
def test_check_closes_the_gate_of_a_step_without_its_documents(desk: Desk, step: str) -> None:
    taken = entries(desk, desk.approved())
    taken[step] = Entry(**{**taken[step].__dict__, "evidence": {}})
    assert "without" in closed(desk, list(taken.values()))[0].what


def test_check_closes_gates_whose_evidence_file_is_missing(desk: Desk) -> None:
    taken = entries(desk, desk.approved())
    desk.office.evidence.path(taken["build"].evidence["kak"]).unlink()
    found = closed(desk, list(taken.values()))
    assert "build evidence" in names(found) and "cannot be read" in found[0].what


def test_build_evidence_closes_when_the_release_was_changed(desk: Desk) -> None:
    taken = entries(desk, desk.approved())
    path = desk.office.evidence.path(taken["request_letter"].evidence["release"])
    path.chmod(0o600)
    path.write_bytes(b"evil")
    assert names(closed(desk, list(taken.values()))) == ["build evidence"]


def test_approval_does_not_hold_for_another_digest(desk: Desk) -> None:
    taken = entries(desk, desk.approved())
    data = {**taken["decision"].data, "digest": "0" * 64}
    taken["decision"] = Entry(**{**taken["decision"].__dict__, "data": data})
    assert "approval" in names(closed(desk, list(taken.values())))


@pytest.mark.parametrize("whose", [{"person": "kabid"}, {"ink": "kasubbag", "seen_by": "kabid"}])
def test_approval_refuses_the_requesters_own_decision(desk: Desk, whose: dict[str, str]) -> None:
    """And that of who alone saw the request's letter."""
    taken = entries(desk, desk.approved())
    letter = taken["request_letter"]
    taken["request_letter"] = Entry(**{**letter.__dict__, "data": {**letter.data, **whose}})
    found = closed(desk, list(taken.values()))
    assert names(found) == ["request letter", "approval"] and "both taken by kabid" in found[1].what


def row(**fields: Any) -> dict[str, Any]:
    return {"name": "dinkes.tarakankota.go.id", "aliases": [], "web_host": "web1", "agenda": "17", **fields}


@pytest.mark.parametrize(
    ("kind", "existing", "aliases", "part"),
    [
        ("create", {"dinkes.tarakankota.go.id": row()}, [], "already exists on web1, owned by agenda 17"),
        ("update", {}, [], "does not exist"),
        ("create", {"a.tarakankota.go.id": row(aliases=["dinkes.tarakankota.go.id"])}, [], "already belongs to a."),
        ("create", {"a.tarakankota.go.id": row()}, ["a.tarakankota.go.id"], "already belongs to a."),
    ],
)
def test_existence_refuses_by_what_the_register_knows(
    desk: Desk, kind: str, existing: dict[str, Any], aliases: list[str], part: str
) -> None:
    taken = entries(desk, desk.approved(kind=kind, aliases=aliases))
    found = closed(desk, list(taken.values()), existing)
    assert names(found) == ["existence check"] and part in found[0].what


def test_existence_refuses_a_recorded_outcome_that_contradicts(desk: Desk) -> None:
    taken = entries(desk, desk.approved())
    taken["existence"] = Entry(**{**taken["existence"].__dict__, "outcome": "exists"})
    assert names(closed(desk, list(taken.values()))) == ["existence check"]


def test_check_refuses_two_requests_for_one_name(desk: Desk) -> None:
    first, second = desk.approved(), desk.approved()
    person = desk.office.people().person
    cases = [Case(standing.stand(desk.office, r), desk.office.evidence, Existing.of({}), person)
             for r in (first, second)]
    assert any("both ask for" in r.what for r in gates.check(cases))


@pytest.mark.parametrize(("state", "kind", "says"), [
    ("present", "suspend", None), ("suspended", "resume", None), ("present", "update", None),
    ("suspended", "suspend", "is suspended already"), ("present", "resume", "is present already"),
    (None, "suspend", "does not exist"), (None, "resume", "does not exist"), ("suspended", "create", "already exists"),
])
def test_existence_gate_asks_for_a_website_whose_state_can_change(
    desk: Desk, state: str | None, kind: str, says: str | None
) -> None:
    taken = list(entries(desk, desk.approved(kind=kind)).values())
    row = {"web_host": "web1", "agenda": "1", "aliases": [], "state": state}
    found = closed(desk, taken, {"dinkes.tarakankota.go.id": row} if state else {})
    assert ([says in r.what for r in found] == [True]) if says else not found

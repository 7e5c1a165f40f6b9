"""Whatever is recorded, voided, declared and changed in any order: gates open only where nothing needed is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from driver.desk import PROJECT
from sop_driver import gates, procedure, standing
from sop_driver.evidence import Evidence
from sop_driver.flow import Existing
from sop_driver.gates import Case
from sop_driver.register import Entry
from sop_driver.request import Request

SOP = procedure.parse((PROJECT / "sop_driver/data/sop-website-2024.yml").read_bytes(), Path("sop.yml"))
START = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)
WAIVED = {step.id for step in SOP.steps if SOP.emergency and step.gate in SOP.emergency.waives}
PERSON = {"pd": "dinkes", "kasubbag": "kasubbag", "kadis": "kadis", "bidang": "kabid"}
REQUEST: dict[str, Any] = Request.model_validate({
    "agency": "a", "unit": "u", "letter": {"number": "1", "date": "2026-10-30"}, "kind": "create",
    "name": "dinkes.tarakankota.go.id", "title": "t", "purpose": "p", "contact": f"sealed:{'0' * 64}",
    "runtime": "static", "release": {"archive": "a.tar", "sha256": "0" * 64}}).model_dump(mode="json")


class Whole(Evidence):
    """Documents are another test's affair."""

    def fault(self, digest: str) -> str | None:
        return None


class Book:
    """Entries as they come, each about the request as it is."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.time, self.form = START, "A"
        self.put("step", "request_letter", replaces=None, request=REQUEST)

    def put(self, kind: str, step: str | None, outcome: str | None = None, **data: Any) -> None:
        taken = SOP.step(step or "")
        role = taken.actors[0] if taken else "kadis"
        evidence = dict.fromkeys(taken.evidence, "0" * 64) if taken else {}
        given = {"digest": self.form, "letter": "L", "person": PERSON[role], "sop": SOP.hash, **data}
        if step == "agenda":
            given["agenda"] = {"year": 2026, "number": 1, "text": "1"}
        self.entries.append(Entry(len(self.entries) + 1, self.time.strftime("%Y-%m-%dT%H:%M:%SZ"), kind, "", "x", role,
                                  "R-2026-0001", step, outcome, evidence, None, given))

    def play(self, moves: list[Any]) -> None:
        for what, detail in moves:
            self.time += timedelta(minutes=1)
            if what == "take":
                outcome = {"decision": "yes", "existence": "absent"}.get(detail)
                self.put("step", detail, outcome)
            elif what == "wait":
                self.time += timedelta(minutes=detail)
            elif what == "refuse":
                self.put("step", "decision", "no")
            elif what == "change":
                self.form = detail
                self.put("step", "request_letter", replaces="R-2026-0001", request=REQUEST)
            elif what == "declare":
                until = self.time + timedelta(minutes=detail)
                self.put("emergency", None, "declared", waives=list(SOP.emergency.waives if SOP.emergency else ()),
                         until=until.strftime("%Y-%m-%dT%H:%M:%SZ"))
            else:
                self._void(detail)

    def _void(self, back: int) -> None:
        gone = self.entries[max(1, len(self.entries) - back):][:1]
        if gone and gone[0].kind == "step" and gone[0].step != "request_letter":
            self.put("void", gone[0].step, "voided", entry=gone[0].sequence)

    def open(self) -> bool:
        now = standing.standing(self.entries, SOP, self.time)
        return gates.check([Case(now, Whole(Path()), Existing.of({}), str)]) == []

    def missing(self) -> Iterator[str]:
        """What no order of events may do without; found without folding anything."""
        voided = {entry.data["entry"] for entry in self.entries if entry.kind == "void"}
        counts = [entry for entry in self.entries if entry.kind == "step" and entry.sequence not in voided]
        mine = [entry for entry in counts if entry.data["digest"] == self.form]
        declared = [entry for entry in self.entries if entry.kind == "emergency" and entry.data["digest"] == self.form
                    and self.time <= datetime.fromisoformat(entry.data["until"])]
        for step in SOP.before(SOP.installation):
            if not any(entry.step == step.id for entry in (counts if step.binds == "letter" else mine)) and not (
                    declared and step.id in WAIVED):
                yield step.id
        decisions = [entry.outcome for entry in mine if entry.step == "decision"]
        if decisions[-1:] != ["yes"]:
            yield "the last word is no"


STEPS = [step.id for step in SOP.before(SOP.installation)][1:]
MOVES = st.one_of(
    st.tuples(st.just("take"), st.sampled_from(STEPS)),
    st.tuples(st.just("refuse"), st.none()),
    st.tuples(st.just("change"), st.sampled_from("AB")),
    st.tuples(st.just("declare"), st.integers(1, 30)),
    st.tuples(st.just("void"), st.integers(1, 6)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)
ALL = [("take", step) for step in STEPS]
SOME = st.lists(st.sampled_from(STEPS), unique=True).map(lambda out: [move for move in ALL if move[1] not in out])
URGENT = st.integers(1, 30).map(lambda time: [("declare", time), *(move for move in ALL if move[1] not in WAIVED)])


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.one_of(MOVES.map(lambda move: [move]), SOME, URGENT, st.just(ALL)), max_size=6))
@example([ALL, [("refuse", None), ("take", "review"), ("take", "review"), ("void", 4), ("void", 4)]])
def test_gates_open_only_with_everything_that_no_order_may_lack(parts: list[list[Any]]) -> None:
    book = Book()
    book.play([move for part in parts for move in part])
    if book.open():
        event("open")
        assert list(book.missing()) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(MOVES, max_size=8))
def test_taking_every_step_once_more_opens_the_gates_whatever_was_before(moves: list[Any]) -> None:
    """Nothing that was voided, refused or declared leaves a request that can never be finished."""
    book = Book()
    book.play(moves)
    book.play(ALL)
    assert book.open()

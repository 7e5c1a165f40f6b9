"""Steps are taken in the SOP's order, by whom it names, with its documents; what changes has to be decided again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from driver.desk import PROJECT, Desk
from driver.test_cli import Sop, sop
from sop_driver import actors, standing, steps, trust
from sop_driver.errors import Refused, Usage

__all__ = ["sop"]
SOP = PROJECT / "sop_driver/data/sop-website-2024.yml"


def refused(desk: Desk, request: str, step: str, **more: Any) -> str:
    with pytest.raises(Refused) as error:
        desk.take(request, step, **more)
    assert all(r.what and r.gate and r.mend for r in error.value.refusals)
    return str(error.value)


def test_record_takes_all_steps_in_order(desk: Desk) -> None:
    now = standing.stand(desk.office, desk.approved())
    assert now.next is now.procedure.installation and list(now.done) == [s.id for s in now.procedure.steps[:8]]


def test_record_refuses_step_out_of_order(desk: Desk) -> None:
    request = desk.submit()
    told = refused(desk, request, "disposition")
    assert "step 2 (agenda" in told and "gate: disposition" in told and "kasubbag" in told
    assert len(list(desk.office.register.entries(kind="step"))) == 1


@pytest.mark.parametrize("step", ["agenda", "disposition", "review", "decision", "existence", "build"])
def test_record_refuses_wrong_actor_at_every_step(desk: Desk, step: str) -> None:
    request = desk.submit()
    found = standing.stand(desk.office, request).procedure
    for earlier in found.steps:
        if earlier.id == step:
            break
        if earlier.id != found.opening.id:
            desk.take(request, earlier.id)
    assert "is taken by" in refused(desk, request, step, actor="dinkes")


def test_record_refuses_missing_documents_all_named(desk: Desk) -> None:
    request = desk.submit()
    with pytest.raises(Refused, match="lembar_disposisi, scan"):
        steps.record(desk.office, request, "agenda", "kasubbag", desk.sign)


def test_record_refuses_document_that_is_missing_or_empty(desk: Desk) -> None:
    request = desk.submit()
    for path in (desk.folder / "none", desk.document("empty", ""), desk.folder):
        with pytest.raises(Usage):
            desk.take(request, "agenda", documents={"scan": path, "lembar_disposisi": desk.paper})
    assert "agenda" not in standing.stand(desk.office, request).done


def test_record_refuses_steps_that_are_not_taken_by_hand(desk: Desk) -> None:
    request = desk.approved()
    assert "sop submit" in refused(desk, request, "request_letter")
    assert "sop run" in refused(desk, request, "installation")
    assert "installation" in refused(desk, request, "report")


@pytest.mark.parametrize(("outcome", "reason"), [("no", None), ("no", "  "), ("maybe", "x"), (None, None)])
def test_record_refuses_decision_without_outcome_or_reason(desk: Desk, outcome: str | None, reason: str | None) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    with pytest.raises(Refused):
        steps.record(desk.office, request, "decision", "kabid", desk.sign, outcome, {}, reason)


def test_record_refuses_existence_that_contradicts_the_kind(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review", "decision"):
        desk.take(request, step)
    assert "kind: update" in refused(desk, request, "existence", outcome="exists")


def numbered(desk: Desk, pattern: str) -> None:
    """The agency writes its agenda numbers in another way from now on."""
    desk.office.config = desk.config.model_copy(
        update={"agenda": desk.config.agenda.model_copy(update={"pattern": pattern})})


@pytest.mark.parametrize(("before", "now", "given", "later"), [
    ("{number}2/{year}", "1{number}/{year}", "12/2026", 0), ("{number}/{year}/2", "1/{year}/{number}", "1/2026/2", 0),
    ("{number}/{year}/2027", "{number}/2026/{year}", "1/2026/2027", 365)])
def test_agenda_number_whose_text_was_given_before_is_refused(
    desk: Desk, before: str, now: str, given: str, later: int
) -> None:
    """It would stay, and `verify` would say so for ever."""
    numbered(desk, before)
    entry = desk.take(desk.submit(), "agenda")
    assert entry.data["agenda"]["text"] == given
    desk.clock.time += timedelta(days=later)
    numbered(desk, now)
    request = desk.submit(letter={"number": "005/2", "date": "2026-10-30"}, name="b.tarakankota.go.id")
    mended = rf"number {given} was given before \({entry}\)\ngate: .*\nmend: .*`agenda.pattern` in sop.yml"
    with pytest.raises(Refused, match=mended):
        desk.take(request, "agenda")
    numbered(desk, "AI-{number}/{year}")
    assert desk.take(request, "agenda").data["agenda"]["text"] == ("AI-1/2027" if later else "AI-2/2026")
    assert trust.examine(desk.office).lines() == []


def test_agenda_numbers_are_looked_up_by_their_index(file_desk: Desk) -> None:
    """Else each one would read all that were given."""
    asked: list[tuple[str, Any]] = []
    event.listen(file_desk.office.register.db, "before_cursor_execute", lambda *words: asked.append(words[2:4]))
    file_desk.take(file_desk.submit(), "agenda")
    (query, values), = [words for words in asked if "agenda_number IN" in words[0]]
    plan = file_desk.office.register.db.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    assert [row[3] for row in plan] == ["SEARCH entries USING INDEX entries_agenda (agenda_year=? AND agenda_number=?)"]


def test_agenda_is_not_taken_twice(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    assert "is done" in refused(desk, request, "agenda")


def test_unknown_request_step_and_actor_are_named(desk: Desk) -> None:
    request = desk.submit()
    for arguments in (
        ("R-1999-0001", "agenda", "kasubbag"),
        (request, "dance", "kasubbag"),
        (request, "agenda", "ghost"),
    ):
        with pytest.raises(Usage):
            steps.record(desk.office, *arguments, desk.sign)


UNSEEN = [*"\u034f\u115f\u1160\u17b4\u180b\u180f\u2800\u3164\ufe0f\uffa0\U000e0100"]
GAPS = ["a  b", "a\u00a0b", "a \u3000 b", "a\u2003b"]


@pytest.mark.parametrize("reason", ["a\0b", "\x1b[2J", "x" * 3000, "a\udcffb", *UNSEEN, *GAPS])
def test_record_refuses_reason_that_is_no_plain_text(desk: Desk, reason: str) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    with pytest.raises(Usage, match="the reason"):
        desk.take(request, "decision", outcome="no", reason=reason)


def test_submit_refuses_when_the_request_and_the_command_name_different_requesters(desk: Desk) -> None:
    path = desk.write(desk.form(requester="disdik"))
    with pytest.raises(Usage, match="names disdik"):
        steps.submit(desk.office, path, desk.letter, "dinkes", None, desk.sign)


def test_submit_refuses_to_replace_another_agencys_request(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition"):
        desk.take(request, step)
    with pytest.raises(Refused, match=r"is dinkes's \(entry 2\), disdik is of another agency") as error:
        desk.submit(replace=request, requester="disdik", agency="Dinas Pendidikan")
    (refusal,) = error.value.refusals
    assert refusal.gate == "request letter" and "let dinkes" in refusal.mend
    now = standing.stand(desk.office, request)
    assert now.request.agency == "Dinas Kesehatan" and now.done["request_letter"].actor == "dinkes"


def test_another_agency_takes_no_step_of_a_request(desk: Desk) -> None:
    """Neither the needs analysis nor the completion is its word to give; a colleague's it is."""
    desk.enroll("dinkes-2", "pd", unit="Dinas Kesehatan")
    request = desk.submit()
    for step in ("agenda", "disposition", "review", "decision", "existence"):
        desk.take(request, step)
    with pytest.raises(Refused, match=r"is dinkes's \(entry 3\), dinsos is of another agency") as error:
        desk.take(request, "needs_analysis", actor="dinsos")
    (refusal,) = error.value.refusals
    assert refusal.gate == "needs analysis" and refusal.mend == "let dinkes or somebody of the same unit do it"
    desk.take(request, "needs_analysis", actor="dinkes-2")
    desk.take(request, "build")
    desk.run(request)
    desk.take(request, "report")
    with pytest.raises(Refused, match="disdik is of another agency"):
        desk.take(request, "completion", actor="disdik", ink="kasubbag", documents={"scan": desk.paper})
    desk.take(request, "completion", actor="kadis")
    assert trust.examine(desk.office).lines() == []


def test_officials_take_their_steps_for_all_agencies_where_they_may_ask_too(desk: Desk) -> None:
    text = (PROJECT / "sop_driver/data/sop-website-2024.yml").read_text()
    path = desk.document("other.yml", text.replace("actors: [pd]", "actors: [pd, bidang]"))
    desk.office.config = desk.config.model_copy(update={"sop": str(path)})
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "SK 3")
    desk.run(desk.approved(name="lain.tarakankota.go.id"))
    assert trust.examine(desk.office).lines() == []


def test_request_is_replaced_by_a_colleague_also_of_who_was_retired(desk: Desk) -> None:
    request = desk.submit()
    desk.enroll("dinkes-2", "pd", unit="Dinas Kesehatan")
    desk.retire("dinkes")
    desk.submit(replace=request, requester="dinkes-2", title="Dinkes")
    desk.enroll("tanpa", "pd")  # whose agency nobody entered
    with pytest.raises(Refused, match="tanpa is of another agency"):
        desk.submit(replace=request, requester="tanpa")


SEALED = "request.contact: siti@example.go.id, Siti\n"  # what who signs by `--key` is told before


def test_request_that_is_brought_twice_is_told_of_and_taken(desk: Desk, sop: Sop) -> None:
    """Whoever lost sight of the first one would have both go on, and nothing ends the second."""
    other = desk.document("lain.pdf", "%PDF-1.4 lain")

    def submit(scan: Path, *more: object, **fields: object) -> str:
        words = ("submit", desk.write(desk.form(**fields)), "--letter", scan, "--as", "dinkes", *more)
        code, _, err = sop(*words)
        assert code == 0, err
        return str(err).replace(SEALED, "")

    assert submit(desk.letter) == ""
    said = ("warning: R-2026-0001 is open and asks for dinkes.tarakankota.go.id by the same letter; to correct it, "
            "give --replace R-2026-0001\n")
    assert submit(desk.letter, "--prepare", desk.folder / "told") == said
    assert submit(desk.letter) == said  # R-2026-0002
    assert submit(other) == said + said.replace("0001", "0002"), "another scan of it"
    assert submit(other, letter={"number": "005/2", "date": "2026-10-30"}).count("warning") == 1, "the same scan"
    assert submit(desk.document("3.pdf", "%PDF-1.4 3"), letter={"number": "005/3", "date": "2026-10-30"}) == ""
    assert submit(desk.letter, name="lain.tarakankota.go.id") == ""
    assert submit(desk.letter, "--replace", "R-2026-0006", name="lain.tarakankota.go.id", title="Lain") == ""


def test_request_that_is_installed_is_brought_twice_by_nobody(desk: Desk, sop: Sop) -> None:
    desk.run(desk.approved())
    code, _, err = sop("submit", desk.write(desk.form(kind="update")), "--letter", desk.letter, "--as", "dinkes")
    assert code == 0 and err == SEALED

"""What people read is complete, and a requester's text in it stays text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driver.desk import Desk
from driver.test_cli import Sop, sop
from sop_driver import report, run, standing
from sop_driver.directory import Directory

__all__ = ["sop"]


def go(desk: Desk, request: str) -> run.Outcome:
    return desk.run(request)


def test_report_tells_steps_documents_and_what_was_built(desk: Desk) -> None:
    request = desk.approved(title="<b>|Dinas|</b> [x](y)")
    go(desk, request)
    text = "\n".join(report.report(desk.office, request))
    assert "| 9 | Instalasi website pada server | done | subkoor (bidang) |" in text
    assert desk.office.register.checkpoint() in text and desk.office.people().checkpoint_key in text
    assert "Record: backup" in text and "abc" in text and "<b>" not in text and "[x](y)" not in text
    assert [e.kind for e in report.history(desk.office, request)][-5:] == ["run", "step", "record", "record", "record"]


def test_report_and_completion_follow_the_installation(desk: Desk) -> None:
    request = desk.approved()
    go(desk, request)
    desk.take(request, "report")
    desk.take(request, "completion")
    assert report.status(desk.office, standing.stand(desk.office, request))["state"] == "done"


def test_report_marks_what_was_superseded(desk: Desk) -> None:
    request = desk.approved()
    desk.take(request, "review")
    text = "\n".join(report.report(desk.office, request))
    assert text.count("(superseded)") == 5  # the first review, and what was decided on it


def test_who_stood_in_is_told_as_that_also_when_it_is_over(desk: Desk) -> None:
    """What an office's holder did, and what somebody did for them, is told apart by more than an id."""
    request = desk.submit()
    desk.take(request, "agenda")
    desk.enroll("sekretaris", "kadis", stands_in="Plh", until="2026-11-30T15:59:59Z")
    entry = desk.take(request, "disposition", actor="sekretaris")
    desk.retire("sekretaris")
    for text in (report.entry_line(desk.office, entry), "\n".join(report.report(desk.office, request))):
        assert "sekretaris (kadis, Plh) " in text
    assert "kasubbag (kasubbag) " in "\n".join(report.report(desk.office, request))


def test_actors_are_read_once_for_all_lines_that_they_are_the_same_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who reads a long history waits for each line as long as for all actors."""
    request, real, read = desk.submit(), Directory.read, list[str]()

    def counted(people: Directory, body: Any, digest: str) -> Any:
        read.append(digest)
        return real(people, body, digest)

    desk.take(request, "agenda")
    desk.enroll("sekretaris", "kadis", stands_in="Plh", until="2026-11-30T15:59:59Z")
    desk.take(request, "disposition", actor="sekretaris")
    desk.take(request, "review")
    monkeypatch.setattr(Directory, "read", counted)
    reading = desk.office.reading(pytest.fail)
    lines = report.entry_lines(reading, report.history(reading, request))
    assert ["sekretaris (kadis, Plh) " in line for line in lines] == [False, False, True, False]
    assert len(read) == 1 + 2  # before and after the enrolment
    assert len(lines) == 4 and desk.office.people().actors.keys() - reading.people(2).actors.keys() == {"sekretaris"}


def test_history_of_one_request_leaves_others_out(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    assert {entry.request for entry in report.history(desk.office, first)} == {first} and first != second


def test_name_of_a_document_makes_no_row_and_no_line(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A register is read even where it was changed; what it then says must not look like other steps."""
    request = desk.submit()
    name = "scan ` |\n| 5 | Persetujuan | yes | kabid (bidang) | x | nota `00` |\n    6  2026-11-02  step decision yes"
    real = report.history

    def history(*given: Any) -> list[Any]:
        return [replace(entry, evidence={**entry.evidence, name: "0" * 64}) for entry in real(*given)]

    monkeypatch.setattr(report, "history", history)
    rows = [line for line in sop("report", request)[1].split("\n") if line.startswith("|")]
    assert len(rows) == 3 and r"scan \` \|\\n\| 5 \| Persetujuan \|" in rows[-1]
    assert len(sop("history", request)[1].rstrip("\n").split("\n")) == 1


def test_what_a_server_says_makes_no_paragraph(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = desk.fleet.answer
    said = "x\n\nDisetujui oleh Kadis.\u2028~~~ \x85\u202e"

    def answer(playbook: str, *given: Any) -> dict[str, Any]:
        value = real(playbook, *given)
        return {**value, "as_built": {name: {said: said} for name in value.get("as_built", ())}}

    monkeypatch.setattr(desk.fleet, "answer", answer)
    request = desk.approved()
    desk.run(request)
    shown = r"x\\n\\nDisetujui oleh Kadis.\\u2028\~\~\~ \\u0085\\u202e"
    lines = "\n".join(report.report(desk.office, request)).split("\n")
    assert f"- {shown}: {shown}" in [line.strip() for line in lines]

"""What people read is complete, and a requester's text in it stays text."""

from __future__ import annotations

from driver.desk import Desk
from sop_driver import report, run, standing


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


def test_history_of_one_request_leaves_others_out(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    assert {entry.request for entry in report.history(desk.office, first)} == {first} and first != second

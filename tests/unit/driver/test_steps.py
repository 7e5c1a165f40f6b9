"""Steps are taken in the SOP's order, by whom it names, with its documents; what changes has to be decided again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from driver.desk import PROJECT, Desk
from sop_driver import procedure, report, standing, steps
from sop_driver.errors import Refused, SopError, Usage

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
    assert len(list(desk.office.register.entries())) == 1


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
        steps.record(desk.office, request, "agenda", "kasubbag")


def test_record_refuses_document_that_is_missing_or_empty(desk: Desk) -> None:
    request = desk.submit()
    for path in (desk.folder / "none", desk.document("empty", ""), desk.folder):
        with pytest.raises(Usage):
            steps.record(
                desk.office, request, "agenda", "kasubbag", None, {"scan": path, "lembar_disposisi": desk.paper}
            )
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
        steps.record(desk.office, request, "decision", "kabid", outcome, {}, reason)


def test_no_returns_the_request_to_the_kadis_and_nothing_goes_on_until_a_new_disposition(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    desk.take(request, "decision", outcome="no", reason="data belum lengkap")
    now = standing.stand(desk.office, request)
    assert now.returned and now.next and now.next.id == "disposition" and now.next.actors == ("kadis",)
    assert "data belum lengkap" in refused(desk, request, "review")
    assert report.status(desk.office, now)["state"] == "returned"
    desk.take(request, "disposition")
    desk.approve(request)
    assert standing.stand(desk.office, request).returned is None


def test_record_refuses_existence_that_contradicts_the_kind(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review", "decision"):
        desk.take(request, step)
    assert "kind: update" in refused(desk, request, "existence", outcome="exists")


def test_taking_an_earlier_step_again_undoes_the_later_ones(desk: Desk) -> None:
    request = desk.approved()
    desk.take(request, "review")
    assert list(standing.stand(desk.office, request).done)[-1] == "review"


def test_agenda_is_not_taken_twice(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    assert "is done" in refused(desk, request, "agenda")


def test_a_changed_request_has_no_approval_but_keeps_its_agenda(desk: Desk) -> None:
    request = desk.approved()
    assert desk.submit(replace=request, title="Lain") == request
    now = standing.stand(desk.office, request)
    assert list(now.done) == ["request_letter", "agenda", "disposition"] and now.request.title == "Lain"


def test_an_unchanged_replacement_keeps_its_approvals(desk: Desk) -> None:
    request = desk.approved()
    desk.submit(replace=request)
    assert standing.stand(desk.office, request).next is standing.stand(desk.office, request).procedure.installation


def test_a_new_letter_has_to_be_agendaed_again(desk: Desk) -> None:
    request = desk.approved()
    letter = desk.document("surat2.pdf", "%PDF-1.4 lain")
    steps.submit(desk.office, desk.write(desk.form()), letter, "dinkes", request)
    assert list(standing.stand(desk.office, request).done) == ["request_letter"]
    assert desk.take(request, "agenda").data["agenda"]["number"] == 2


def test_status_tells_lateness_by_the_standard_time(desk: Desk) -> None:
    request = desk.submit()
    now = standing.stand(desk.office, request)
    assert now.late(now.since + timedelta(minutes=3)) is None
    assert now.late(now.since + timedelta(minutes=10)) == timedelta(minutes=7)


def test_request_keeps_the_sop_it_started_under(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.submit()
    revised = desk.folder / "revised.yml"
    revised.write_text(SOP.read_text().replace("{minutes: 3}", "{minutes: 4}"))
    desk.office.config = desk.config.model_copy(update={"sop": str(revised)})
    desk.office.procedures.clear()
    newer = desk.submit()
    old, new = (standing.stand(desk.office, name).procedure for name in (request, newer))
    assert old.hash != new.hash and old.steps[1].time.minutes == 3 and new.steps[1].time.minutes == 4


def test_unknown_request_step_and_actor_are_named(desk: Desk) -> None:
    request = desk.submit()
    for arguments in (
        ("R-1999-0001", "agenda", "kasubbag"),
        (request, "dance", "kasubbag"),
        (request, "agenda", "ghost"),
    ):
        with pytest.raises(Usage):
            steps.record(desk.office, *arguments)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("by: run", "by: record"),
        ("id: review", "id: agenda"),
        ("[kadis]", "[walikota]"),
        ("returns_to: disposition", "returns_to: build"),
        ("by: submit", "by: record"),
        ("number: 4", "number: four"),
        ("steps:", "- steps:"),
        ("minutes: 25", "minutes: -1"),
    ],
)
def test_parse_refuses_sop_file_that_does_not_hang_together(desk: Desk, old: str, new: str) -> None:
    path = SOP
    text = path.read_text()
    assert old in text
    with pytest.raises(SopError):
        procedure.parse(text.replace(old, new, 1).encode(), path)


def test_sop_file_holds_the_eleven_steps_of_the_sop(desk: Desk) -> None:
    path = SOP
    found = procedure.parse(path.read_bytes(), path)
    assert [step.number for step in found.steps] == list(range(1, 12))
    assert [str(s.time) for s in found.steps] == [
        "2 menit",
        "3 menit",
        "2 menit",
        "25 menit",
        "30 menit",
        "15 menit",
        "3 hari",
        "7 hari",
        "90 menit",
        "2 menit",
        "2 menit",
    ]


@pytest.mark.parametrize("reason", ["a\0b", "\x1b[2J", "x" * 3000, "a\udcffb"])
def test_record_refuses_reason_that_is_no_plain_text(desk: Desk, reason: str) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    with pytest.raises(Usage, match="the reason"):
        desk.take(request, "decision", outcome="no", reason=reason)


def test_submit_refuses_when_the_request_and_the_command_name_different_requesters(desk: Desk) -> None:
    with pytest.raises(Usage, match="names disdik"):
        desk.submit(requester="disdik")

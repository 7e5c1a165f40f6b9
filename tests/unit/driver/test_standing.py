"""Where a request stands follows from its entries; what changes has to be decided again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from driver.desk import PROJECT, Desk
from sop_driver import actors, report, standing, steps
from sop_driver.errors import Refused

SOP = PROJECT / "sop_driver/data/sop-website-2024.yml"


def test_no_returns_the_request_to_the_kadis_and_nothing_goes_on_until_a_new_disposition(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    desk.take(request, "decision", outcome="no", reason="data belum lengkap")
    now = standing.stand(desk.office, request)
    assert now.returned and now.next and now.next.id == "disposition" and now.next.actors == ("kadis",)
    with pytest.raises(Refused, match="data belum lengkap"):
        desk.take(request, "review")
    assert report.status(desk.office, now)["state"] == "returned"
    desk.take(request, "disposition")
    desk.approve(request)
    assert standing.stand(desk.office, request).returned is None


def test_taking_an_earlier_step_again_undoes_the_later_ones(desk: Desk) -> None:
    request = desk.approved()
    desk.take(request, "review")
    assert list(standing.stand(desk.office, request).done)[-1] == "review"


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
    steps.submit(desk.office, desk.write(desk.form()), letter, "dinkes", request, desk.sign)
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
    with pytest.raises(Refused, match="is not the SOP that the officials adopted"):
        desk.submit()
    actors.adopt(desk.office, ["kasubbag", "kabid"], desk.sign, "SK 000.8.3.3.3/25/2026")
    newer = desk.submit()
    old, new = (standing.stand(desk.office, name).procedure for name in (request, newer))
    assert old.hash != new.hash and old.steps[1].time.minutes == 3 and new.steps[1].time.minutes == 4

"""A voided step counts no more, both entries stay, and nobody takes another's refusal away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driver import people
from driver.desk import PROJECT, Desk
from driver.test_cli import Sop, fleet, sop
from driver.test_export import verify
from sop_driver import actors, report, standing, trust, voiding
from sop_driver.errors import Refused, Usage
from sop_driver.register import Entry

__all__ = ["fleet", "sop"]
SOP_FILE = PROJECT / "sop_driver/data/sop-website-2024.yml"


def number(desk: Desk, request: str, step: str) -> int:
    return next(e.sequence for e in desk.office.register.entries(kind="step", request=request) if e.step == step)


def void(desk: Desk, request: str, step: str, actor: str, reason: str = "salah berkas") -> Entry:
    entry = voiding.void(desk.office, request, number(desk, request, step), actor, desk.sign, reason)
    assert entry is not None
    return entry


@pytest.mark.parametrize("actor", ["kabid", "kadis"])
def test_voided_approval_closes_its_gate(desk: Desk, actor: str) -> None:
    """By who approved, and by the head."""
    request = desk.approved()
    entry = void(desk, request, "decision", actor)
    with pytest.raises(Refused) as error:
        desk.run(request)
    first = error.value.refusals[0]
    assert first.gate == "approval" and f"entry 6 was voided by {actor}: salah berkas ({entry})" in first.what
    assert [r.gate for r in error.value.refusals] == ["approval", "existence check", "needs analysis", "build evidence"]
    desk.run(desk.approve(request))
    assert trust.examine(desk.office).findings == []


@pytest.mark.parametrize("actor", ["subkoor", "kasubbag", "dinkes"])
def test_others_void_nothing(desk: Desk, actor: str) -> None:
    request = desk.approved()
    with pytest.raises(Refused, match="voided by kabid, who made it, or by kadis"):
        void(desk, request, "decision", actor)


@pytest.mark.parametrize("actor", ["kadis", "subkoor"])
def test_refusal_is_taken_back_by_nobody_else(desk: Desk, actor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the driver, nor past its check: the register itself takes no such entry."""
    request = desk.turned_down()
    for _ in range(2):
        with pytest.raises(Refused, match="only kabid takes back the 'no' of entry 6"):
            void(desk, request, "decision", actor)
        monkeypatch.setattr(voiding, "refuse", lambda *words: None)
    assert standing.stand(desk.office, request).returned


def test_refusal_taken_back_by_its_official_lets_the_earlier_steps_count_again(desk: Desk) -> None:
    request = desk.turned_down()
    void(desk, request, "decision", "kabid", "keliru: data lengkap")
    now = standing.stand(desk.office, request)
    assert list(now.done) == ["request_letter", "agenda", "disposition", "review"]
    assert now.returned is None and now.next is now.procedure.step("decision")
    desk.run(desk.approve(request))
    assert trust.examine(desk.office).findings == []


def test_refusal_taken_back_revives_nothing_of_a_changed_request(desk: Desk) -> None:
    request = desk.turned_down()
    desk.submit(replace=request, title="Lain")
    void(desk, request, "decision", "kabid")
    assert list(standing.stand(desk.office, request).done) == ["request_letter", "agenda", "disposition"]


def test_refusal_taken_back_revives_no_step_voided_meanwhile(desk: Desk) -> None:
    """Nor those after it."""
    request = desk.approved()
    refusal = desk.take(request, "decision", outcome="no", reason="data belum lengkap").sequence
    void(desk, request, "needs_analysis", "kabid")
    voiding.void(desk.office, request, refusal, "kabid", desk.sign, "keliru")
    done = standing.stand(desk.office, request).done
    assert list(done) == ["request_letter", "agenda", "disposition", "review", "decision", "existence"]


def test_refusal_taken_back_undoes_nothing_taken_since(desk: Desk) -> None:
    request = desk.turned_down()
    desk.take(request, "disposition")
    void(desk, request, "decision", "kabid")
    assert standing.stand(desk.office, request).done["disposition"].sequence == 7


def test_voiding_a_step_revives_none_that_it_undid(desk: Desk) -> None:
    """Else who reviews again, and finds fault, could bring the old approval back alone."""
    request = desk.approved()
    again = desk.take(request, "review").sequence
    voiding.void(desk.office, request, again, "kabid", desk.sign, "x")
    assert list(standing.stand(desk.office, request).done) == ["request_letter", "agenda", "disposition"]


def test_refusal_of_an_office_is_taken_back_by_its_next_holder(desk: Desk) -> None:
    request = desk.turned_down()
    desk.sign = lambda who, message: people.sign("kabid-baru" if who == "kabid" else who, message)
    desk.enroll("kabid", "bidang", by=("kadis", "kasubbag"), key=people.public("kabid-baru"), replaces=True)
    void(desk, request, "decision", "kabid")
    assert standing.stand(desk.office, request).returned is None


def test_voided_approval_after_the_run_shows_and_undoes_nothing(desk: Desk) -> None:
    request = desk.approved()
    desk.run(request)
    void(desk, request, "decision", "kadis", "tanpa dasar")
    now = standing.stand(desk.office, request)
    assert now.installed and now.next is now.procedure.step("report")
    value = report.status(desk.office, now)
    assert "voided: decision (entry 6) by kadis: tanpa dasar (entry 16); it was installed before" in "\n".join(
        report.status_lines(value))
    text = "\n".join(report.report(desk.office, request))
    assert "yes (VOIDED by kadis, entry 16: tanpa dasar)" in text
    with pytest.raises(Refused, match="already installed"):
        desk.run(request)
    desk.take(request, "report")
    void(desk, request, "report", "kabid")
    assert standing.stand(desk.office, request).installed
    assert trust.examine(desk.office).findings == []


def test_voided_agenda_number_is_given_to_nobody_else(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    with pytest.raises(Refused, match=f"to take it again, first `sop void {request} 3`"):
        desk.take(request, "agenda")
    void(desk, request, "agenda", "kasubbag")
    assert desk.take(request, "agenda").data["agenda"]["number"] == 2


@pytest.mark.parametrize(("step", "part"), [("request_letter", "--replace"), ("installation", "kind update")])
def test_request_and_installation_are_corrected_otherwise(desk: Desk, step: str, part: str) -> None:
    request = desk.approved()
    desk.run(request)
    with pytest.raises(Refused, match=part):
        void(desk, request, step, "kadis")


def test_void_names_a_step_of_this_request_that_counts(desk: Desk) -> None:
    first, second = desk.approved(), desk.submit()
    with pytest.raises(Usage, match="is no step of"):
        voiding.void(desk.office, second, number(desk, first, "decision"), "kabid", desk.sign, "x")
    void(desk, first, "decision", "kabid")
    with pytest.raises(Refused, match="is voided already"):
        void(desk, first, "decision", "kabid")


def test_void_of_another_entry_than_it_says_is_not_taken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.approved()
    monkeypatch.setattr(voiding, "leaf_hash", lambda text: b"x")
    with pytest.raises(Refused, match="voids entry 6, which is no step of"):
        void(desk, request, "decision", "kabid")


def test_nothing_is_voided_while_it_is_brought_to_the_servers(desk: Desk) -> None:
    request = desk.approved()
    desk.office.register.append("run", outcome="started", data={"run": "run-000001", "requests": [request]})
    with pytest.raises(Refused, match="no end yet"):
        void(desk, request, "decision", "kadis")


def test_voiding_under_an_sop_that_names_no_head(desk: Desk) -> None:
    path = desk.document("old.yml", SOP_FILE.read_text().replace("  head: kadis\n", ""))
    desk.office.config = desk.config.model_copy(update={"sop": str(path)})
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "SK 3")
    request = desk.approved()
    with pytest.raises(Refused, match="voided by kabid, who made it\ngate"):
        void(desk, request, "decision", "kadis")


def test_voiding_by_commands_and_in_a_receipt(desk: Desk, sop: Sop, fleet: Any, tmp_path: Path) -> None:
    request = desk.approved()
    words = ("void", request, 6, "--as", "kadis", "--reason", "salah berkas")
    code, out, err = sop(*words, "--prepare", tmp_path / "said")
    assert code == 0 and json.loads((tmp_path / "said").read_text())["data"]["entry"] == 6, err
    code, out, err = sop(*words)
    assert code == 0 and "entry 6 counts no more" in out, err
    code, out, _ = sop("history", request)
    assert "void decision of entry 6 voided by kadis (kadis) - salah berkas" in out and "step decision yes" in out
    code, _, err = sop("run", request)
    assert code == 3 and "salah berkas" in err
    assert sop("register", "verify")[0] == 0
    sop("register", "export", tmp_path / "export", "--documents")
    (tmp_path / "receipt.json").write_text(sop("register", "receipt", request)[1])
    for path in (tmp_path / "export", tmp_path / "receipt.json"):
        code, told = verify(tmp_path / "export/verify.py", path, "--key", desk.office.people().checkpoint_key)
        assert code == 0, told

"""What nobody signs says nothing in anybody's name, and what somebody signs names all that it rests on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from driver import insider, people
from driver.desk import Desk
from driver.insider import Body
from driver.test_attacks import verified
from driver.test_emergency import declare
from driver.test_export import verify
from sop_driver import actors, audit, export, standing, steps, voiding
from sop_driver.errors import Refused

YES = {"actor": "kadis", "role": "kadis", "request": "R-2026-0001", "step": "decision", "outcome": "yes",
       "reason": "disetujui Kadis"}


def both(desk: Desk, part: str) -> None:
    """Found here, and by the file that an outsider has."""
    assert any(part in line for line in verified(desk)), verified(desk)
    folder = desk.folder / "export"
    export.export(desk.office.reading(lambda text: None), folder, documents=True)
    code, told = verify(folder / "verify.py", folder, "--key", desk.office.people().checkpoint_key)
    assert code == 1 and part in told, told


def test_record_in_somebodys_name_is_found(desk: Desk) -> None:
    """Whoever has the key may write records. One that names an official would be read as their word."""
    request = desk.turned_down()
    desk.office.register.append("record", evidence={"scan": "0" * 64}, data={"subject": "backup"}, **YES)
    part = "it tells actor and role and request and step and evidence: nobody signs an entry of the kind record"
    receipt = desk.receipt(request)
    both(desk, part)
    assert any(part in line for line in audit.receipt(receipt, desk.office.people().checkpoint_key).lines())


def test_receipt_of_a_request_that_nobody_brought_is_none(desk: Desk) -> None:
    desk.office.register.append("record", request="R-2026-0777", outcome="kept", data={})
    lines = audit.receipt(desk.receipt("R-2026-0777"), desk.office.people().checkpoint_key).lines()
    assert any("it tells request" in line for line in lines)


@pytest.mark.parametrize(("outcome", "part"), [
    ("applied", "it tells actor and role: nobody signs an entry of the kind run"),
    ("started", "run-000001 names kadis as who began it, and subkoor signed for that")])
def test_run_in_somebodys_name_is_found(desk: Desk, outcome: str, part: str) -> None:
    desk.run(desk.approved())
    insider.rewrite(desk, lambda bodies: [
        {**body, "actor": "kadis", "role": "kadis"} if (body["kind"], body["outcome"]) == ("run", outcome) else body
        for body in bodies], key=True, signed=True)
    both(desk, part)


def last(change: Callable[[Body], Body]) -> Callable[[list[Body]], list[Body]]:
    return lambda bodies: [*bodies[:-1], {**bodies[-1], **change(bodies[-1])}]


@pytest.mark.parametrize(("order", "said", "part"), [
    ("emergency", {"actor": "kadis", "role": "kadis"}, "it tells actor 'kadis': several sign it, and it is nobody's"),
    ("retirement", {"actor": "kadis"}, "it tells actor 'kadis': several sign it, and it is nobody's"),
    ("retirement", {"request": "R-2026-0001"}, "it tells R-2026-0001, and is of no request")])
def test_what_several_sign_in_the_name_of_another_is_found(file_desk: Desk, order: str, said: Body, part: str) -> None:
    """A history would read as if that one had ordered it."""
    request = file_desk.submit()
    if order == "emergency":
        declare(file_desk, request, ["kasubbag", "kabid"])
    else:
        file_desk.retire("dinsos")
    insider.rewrite(file_desk, last(lambda body: said), key=True, signed=True)
    both(file_desk, part)


@pytest.mark.parametrize(("change", "part"), [
    (lambda body: {"catatan": "Disetujui lisan"}, "it has other fields than entries have: 'catatan'"),
    (lambda body: {"signatures": [{"by": "kabid", "sig": "I never signed"}, *body["signatures"]]},
     "its signatures are more than one of each signer"),
    (lambda body: {"signatures": [{**body["signatures"][0], "at": "rapat"}]},
     "its signatures are more than one of each signer"),
    (lambda body: {"data": {**body["data"], "run": "run-000009"}},
     "decision is said to have installed what installation installs"),
], ids=["field", "twice", "more", "run"])
def test_words_that_nobody_signs_within_a_signed_entry_are_found(
    desk: Desk, change: Callable[[Body], Body], part: str
) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review", "decision"):
        desk.take(request, step)
    insider.rewrite(desk, last(change), key=True)
    both(desk, part)


def test_number_of_an_entry_that_is_none_is_found(desk: Desk) -> None:
    """In Python, true is 1."""
    (text,) = insider.texts(desk)
    assert not audit.read([text]).findings
    assert (1, "its number is True") in audit.read([text.replace('"sequence":1,', '"sequence":true,')]).findings


@pytest.mark.parametrize("agenda", [
    {"text": "999/SURAT/2019"}, {"text": "600.1/1/DKISP/2026\u200b"}, {"year": "2026"}, {"note": "x"}])
def test_agenda_number_says_what_it_is_of(desk: Desk, agenda: Body) -> None:
    desk.take(desk.submit(), "agenda")
    insider.rewrite(desk, last(lambda body: {"data": {
        **body["data"], "agenda": {**body["data"]["agenda"], **agenda}}}), key=True)
    assert any("is not the one that is numbered" in line for line in verified(desk)), verified(desk)


@pytest.mark.parametrize("row", [{"uid": "20000"}, {"uid": True}, {"address": "198.51.100.101 "}])
def test_account_and_address_in_another_spelling_are_found(desk: Desk, row: Body) -> None:
    """Else two websites could have one."""
    desk.run(desk.approved())

    def change(body: Body) -> Body:
        if body["kind"] != "run" or body["outcome"] != "started":
            return body
        allocation = body["data"]["allocations"][0]
        other = {**allocation, **row} if "uid" in row else {
            **allocation, "address": {**allocation["address"], "ipv4": row["address"]}}
        return {**body, "data": {**body["data"], "allocations": [other]}}

    insider.rewrite(desk, lambda bodies: [change(body) for body in bodies], key=True, signed=True)
    assert verified(desk)


def left_out(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object]) -> None:
    """An agency's driver that names less than the request rests on."""
    real = steps.signed

    def signed(office: Any, fields: dict[str, Any], *more: Any) -> Any:
        change(fields)
        return real(office, fields, *more)

    monkeypatch.setattr(steps, "signed", signed)


@pytest.mark.parametrize(("change", "part"), [
    (lambda fields: fields["data"].update(letter="ab" * 32), "the letter that is approved, abab"),
    (lambda fields: fields["evidence"].pop("release"), "the release that it asks for is not among its documents"),
    (lambda fields: fields["evidence"].update(sop="0" * 64), "the SOP that it begins under, "),
    (lambda fields: fields["evidence"].pop("personal.contact"), "personal.contact is sealed as "),
    (lambda fields: fields["evidence"].update({"personal.contact": fields["evidence"]["sop"]}),
     "personal.contact is sealed as "),
    (lambda fields: fields["evidence"].update({"scan ` |\n| 5 |": fields["evidence"]["sop"]}),
     "'scan ` |\\n| 5 |' names no document"),
    (lambda fields: fields["evidence"].update({"personal.a b": fields["evidence"]["sop"]}),
     "'personal.a b' names no document"),
], ids=["letter", "release", "sop", "contact", "decoy", "name", "person"])
def test_request_that_does_not_name_what_it_rests_on_is_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object], part: str
) -> None:
    """It would be approved, and be in no export; what is sealed would be erased by nobody."""
    before = desk.office.register.head()
    left_out(monkeypatch, change)
    with pytest.raises(Refused) as error:
        desk.submit()
    assert part in str(error.value) and desk.office.register.head() == before


def test_actor_whose_name_the_entry_does_not_name_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = actors._sealed
    monkeypatch.setattr(actors, "_sealed", lambda *given: (real(*given)[0], {}))
    with pytest.raises(Refused, match=r"personal\.baru is sealed as"):
        desk.enroll("baru", "pd", name="Budi Santoso")


@pytest.mark.parametrize("name", ["R-2026-0001\n\x1b[2J", "R-2026-00001", None])
def test_request_of_another_id_is_found(desk: Desk, name: str | None) -> None:
    """Nobody signs a request's id as it begins, and people read it.

    Without one no step follows on the one before it: a *yes* that was taken back could be entered again.
    """
    desk.submit()
    insider.rewrite(desk, last(lambda body: {"request": name}), key=True, signed=True)
    assert any("is no request's id" in line for line in verified(desk))


@pytest.mark.parametrize(("change", "part"), [
    ({"outcome": 1}, "its outcome is 1, and no text"),
    ({"reason": ["a"]}, "its reason is ['a'], and no text"),
    ({"evidence": "x"}, "it is no entry"),
    ({"evidence": {"x": None}}, "'x' names no document")], ids=["outcome", "reason", "documents", "document"])
def test_entry_that_says_something_else_than_text_is_found(desk: Desk, change: Body, part: str) -> None:
    """Who reads would leave it out, and an export what it rests on: a verifier elsewhere would accuse the register."""
    desk.turned_down()
    insider.rewrite(desk, last(lambda body: change), key=True, signed=True)
    both(desk, part)


@pytest.mark.parametrize(("field", "value"), [("until", False), ("unit", 5), ("role", None), ("name", None)])
def test_actor_of_whom_something_else_than_text_is_told_is_found(desk: Desk, field: str, value: object) -> None:
    desk.enroll("bappeda", "pd")
    insider.rewrite(desk, last(lambda body: {"data": {**body["data"], "actors": {
        "bappeda": {**body["data"]["actors"]["bappeda"], field: value}}}}), key=True, signed=True)
    both(desk, "what it tells of bappeda is no text")


@pytest.mark.parametrize(("name", "kind"), [
    ("agenda", "void"), ("agenda", "actors"), ("agenda", "record"), ("agenda", "run"), ("run", "void"),
    ("run", "actors")])
def test_what_the_register_gives_to_a_step_is_found_in_other_entries(desk: Desk, name: str, kind: str) -> None:
    """Nobody signs it. The next letter would get the number behind it, and be accused of that."""
    request = desk.submit()
    entry = desk.take(request, "agenda")
    if kind == "void":
        voiding.void(desk.office, request, entry.sequence, "kasubbag", desk.sign, "salah")
    elif kind == "actors":
        desk.enroll("bappeda", "pd")
    else:
        desk.office.register.append(kind, outcome="kept" if kind == "record" else "unknown", data={"run": "run-000001"})
    value = {"agenda": {"year": 2026, "number": 50, "text": "50/2026"}, "run": "run-000001"}[name]
    insider.rewrite(desk, last(lambda body: {"data": {**body["data"], name: value}}), key=True, signed=True)
    both(desk, f"it tells its {name}, which nobody signs in an entry of the kind {kind}")


@pytest.mark.parametrize("name", ["R-2026-0003", "R-2026-0001", "R-2026-00002", "R-2026-9" + "0" * 5000])
def test_request_that_is_not_its_years_next_is_found(desk: Desk, name: str) -> None:
    """The one after it could get an id that is there, and be accused."""
    desk.submit()
    desk.submit(name="lain.tarakankota.go.id")
    insider.rewrite(desk, last(lambda body: {"request": name}), key=True, signed=True)
    both(desk, f"it is called {name}, and the next one is R-2026-0002")


def test_void_brings_no_request(desk: Desk) -> None:
    """Who voids a step of their own would be who asked for it: a website of theirs, or one that they may change."""
    request = desk.submit()
    entry = desk.take(request, "agenda")
    voiding.void(desk.office, request, entry.sequence, "kasubbag", desk.sign, "salah")
    form = standing.stand(desk.office, request).opened.data["request"]
    insider.rewrite(desk, last(lambda body: {"data": {**body["data"], "replaces": request, "request": form}}),
                    key=True, signed=True)
    both(desk, "it tells replaces and request, as if it brought a request: steps alone do")


def test_erasure_is_the_officials_only(desk: Desk) -> None:
    """By what an agency writes into a step of its own, whoever brings that document next would be accused."""
    letter = desk.take(desk.submit(), "agenda").data["letter"]
    insider.rewrite(desk, last(lambda body: {"data": {**body["data"], "erased": [letter]}}), key=True, signed=True)
    desk.submit(name="lain.tarakankota.go.id")
    assert not any("it was erased before" in line for line in verified(desk))
    insider.rewrite(desk, last(lambda body: {"data": {**body["data"], "erased": True}}), key=True, signed=True)
    assert verified(desk) == []


def test_hardware_key_in_a_file_is_the_key_in_that_file(desk: Desk) -> None:
    """One key under two kinds would be two officials."""
    with pytest.raises(Refused, match="the key of kembaran is or was somebody's already"):
        desk.enroll("kembaran", "bidang", key=people.hardware("kadis"))

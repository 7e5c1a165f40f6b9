"""Each signer vouches for all that was there: who rules the machine and its key can leave none of it out any more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver import insider, people
from driver.desk import Desk
from driver.insider import Body
from driver.test_attacks import verified, witness
from driver.test_cli import Sop, sop
from driver.test_export import verify
from sop_driver import actors, audit, export, orders, standing, steps, trust, voiding
from sop_driver.errors import Refused, SopError
from sop_driver.evidence import Evidence
from sop_driver.proof import leaf_hash
from sop_driver.signatures import Elsewhere, Pdf

__all__ = ["sop"]


def other(desk: Desk) -> str:
    """A request of another agency, which knows nothing of the first one."""
    return desk.submit(name="disdik.tarakankota.go.id", agency="Dinas Pendidikan", requester="disdik")


def without(*gone: int) -> Callable[[list[Body]], list[Body]]:
    return lambda bodies: [body for body in bodies if body["sequence"] not in gone]


def changed(number: int, **fields: Any) -> Callable[[list[Body]], list[Body]]:
    return lambda bodies: [body | fields if body["sequence"] == number else body for body in bodies]


def seen(body: Body, value: Body | None) -> Body:
    data = {name: each for name, each in body["data"].items() if name != "seen"}
    return {**body, "data": data if value is None else {**data, "seen": value}}


def exposed(desk: Desk, line: str, *, since: int) -> None:
    """Found here, by the file that an outsider has, and by the next run."""
    lines = verified(desk)
    assert line in lines and lines[-1].startswith(f"rely on nothing from entry {since} on"), lines
    folder, key = desk.folder / "export", desk.office.register.notary.verifier
    export.export(desk.office, folder, documents=True)
    code, told = verify(folder / "verify.py", folder, "--key", key)
    assert code == 1 and line in told, told
    with pytest.raises(Refused, match=f"rely on nothing from entry {since} on"):
        trust.require(desk.office, ())


def test_refusal_that_is_the_last_of_its_request_is_missed_by_who_signed_later(desk: Desk) -> None:
    """Root takes the Kabid's no away, and with the key makes all else right."""
    desk.turned_down()
    other(desk)
    insider.rewrite(desk, without(6), key=True)
    exposed(desk, "entry 5: who signed entry 6 saw 6 entries, before it are 5: some were left out", since=5)


def test_another_entry_in_the_place_of_one_that_was_seen_is_found(desk: Desk) -> None:
    """Nobody who signed has seen a run's record in the place of the refusal."""
    desk.turned_down()
    other(desk)
    record = {"kind": "record", "actor": None, "role": None, "request": None, "step": None, "outcome": "kept",
              "evidence": {}, "reason": None, "data": {"subject": "backup", "websites": {}}, "signatures": []}
    insider.rewrite(desk, lambda bodies: [*bodies[:5], {**record, "time": bodies[5]["time"]}, bodies[6]], key=True)
    exposed(desk, "entry 5: who signed entry 7 saw another entry 6 than the one that is here: entries up to 6 were "
                  "changed or left out since", since=5)


@pytest.mark.parametrize("kind", ["record", "run"])
def test_what_nobody_signs_is_missed_by_who_signed_later(desk: Desk, kind: str) -> None:
    """A run's end, with all that came of it, or its records."""
    desk.run(desk.approved())
    bodies = [json.loads(text) for text in insider.texts(desk)]
    of_run = [body["sequence"] for body in bodies if body["kind"] == "run"]
    gone = range(of_run[-1], len(bodies) + 1) if kind == "run" else [
        body["sequence"] for body in bodies if body["kind"] == "record"]
    other(desk)
    insider.rewrite(desk, without(*gone), key=True)
    left = len(bodies) - len(gone)
    since = next(body for body in reversed(bodies[:left]) if body["kind"] == "step")["data"]["seen"]["entry"] + 1
    exposed(desk, f"entry {since}: who signed entry {left + 1} saw {len(bodies)} entries, before it are {left}: some "
                  "were left out", since=since)


@pytest.mark.parametrize(
    ("number", "fields"),
    [(3, {"time": "2026-11-02T01:00:06Z"}), (11, {"data": {"run": "run-000001", "desired": "0" * 64}})],
    ids=["time", "run"],
)
def test_unsigned_word_of_an_entry_is_held_by_who_signed_later(desk: Desk, number: int, fields: Body) -> None:
    """When an entry was taken, and what a run applied, is the driver's word; others saw which."""
    desk.run(desk.approved())
    last = desk.office.register.head()[0]
    other(desk)
    insider.rewrite(desk, changed(number, **fields), key=True)
    at = number if number == 3 else last
    assert any(f"saw another entry {at} than the one that is here" in line for line in verified(desk)), verified(desk)


def test_tail_that_nobody_has_seen_is_missed_by_the_witness_only(desk: Desk) -> None:
    """What remains to who has the key."""
    desk.turned_down()
    witness(desk, 0)
    kept = desk.office.home.path / "witnessed/inspektorat"
    insider.rewrite(desk, without(6), key=True)
    assert "saw 6 entries, here are 5" in str(verified(desk))
    kept.unlink()
    assert verified(desk) == []


def test_receipt_of_a_register_without_entries_is_found_where_it_shows_them(desk: Desk) -> None:
    """The actors are in each receipt. What a signer saw of other requests is not there to be compared."""
    request = desk.submit()
    other(desk)
    desk.enroll("mantu", "pd", unit="Dinas Sosial")
    desk.take(request, "agenda")
    key = desk.office.register.notary.verifier
    assert audit.receipt(desk.receipt(request), key).lines() == []
    insider.rewrite(desk, changed(4, time=json.loads(insider.texts(desk)[4])["time"]), key=True)
    value = trust.make_receipt(desk.office, request)
    (line, _) = audit.receipt(value, key).lines()
    assert line == ("entry 2: who signed entry 5 saw another entry 4 than the one that is here: entries up to 4 were "
                    "changed or left out since")


def test_every_kind_that_people_sign_says_what_was_seen(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    voiding.void(desk.office, request, 3, "kasubbag", desk.sign, "salah")
    desk.retire("dinsos")
    orders.rotate(desk.office, ["kadis", "kasubbag"], desk.sign, "usang")
    texts = insider.texts(desk)
    hashes = ["0" * 64, *(leaf_hash(text).hex() for text in texts)]
    assert [json.loads(text)["data"]["seen"] for text in texts] == [
        {"entry": number, "hash": hashes[number]} for number in range(len(texts))]
    assert verified(desk) == []


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (None, "it does not say which entry was the last when it was signed, as entry 1 and those after it do"),
        ({"entry": 2, "hash": "0" * 64}, "who signed entry 4 saw another entry 2 than the one that is here"),
        ({"entry": 4, "hash": "0" * 64}, "who signed entry 4 saw 4 entries, before it are 3"),
        ({"entry": -1, "hash": "0" * 64}, "who signed entry 4 saw another entry -1"),
        ({"entry": "3", "hash": "0" * 64}, "it is no entry (TypeError"),
    ],
    ids=["nothing", "another", "itself", "before all", "words"],
)
def test_signer_with_a_changed_driver_is_refused_and_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, said: Body | None, part: str
) -> None:
    """Where nothing need be seen, a driver that was changed in time could prepare the ground."""
    request = desk.submit()
    desk.take(request, "agenda")
    before = desk.office.register.head()
    with monkeypatch.context() as changed:
        changed.setattr("sop_driver.drafts.seen", lambda *_: said)
        with pytest.raises((SopError, TypeError)):
            desk.take(request, "disposition")
        assert desk.office.register.head() == before
        changed.setattr(trust, "accept", lambda *_: None)
        desk.take(request, "disposition")
    insider.rewrite(desk, lambda bodies: [*bodies[:3], signed_anew(desk, seen(bodies[3], said))], key=True)
    assert any(part in line for line in verified(desk)), verified(desk)


def signed_anew(desk: Desk, body: Body) -> Body:
    said = steps.statement(body, desk.office.people().register)
    return {**body, "signatures": [{"by": item["by"], "sig": people.sign(item["by"], said)}
                                   for item in body["signatures"]]}


def as_before(desk: Desk) -> None:
    """Let the register be as drivers wrote it before signers said what they saw."""
    insider.rewrite(desk, lambda bodies: [seen(body, None) for body in bodies], key=True, signed=True)


def test_register_from_before_goes_on_and_keeps_its_holes(desk: Desk) -> None:
    request = desk.turned_down()
    as_before(desk)
    assert verified(desk) == []
    desk.take(request, "disposition")
    other(desk)
    assert verified(desk) == []
    insider.rewrite(desk, changed(6, time="2026-11-02T01:00:20Z"), key=True)
    exposed(desk, "entry 1: who signed entry 7 saw another entry 6 than the one that is here: entries up to 6 were "
                  "changed or left out since", since=1)


def test_older_driver_beside_a_newer_one_is_found(desk: Desk) -> None:
    """Else whoever wants to leave entries out would bring the old driver back."""
    request = desk.turned_down()
    as_before(desk)
    desk.take(request, "disposition")
    desk.take(request, "review")
    insider.rewrite(desk, lambda bodies: [*bodies[:7], signed_anew(desk, seen(bodies[7], None))], key=True)
    assert verified(desk)[0] == (
        "entry 8: it does not say which entry was the last when it was signed, as entry 7 and those after it do")


def test_statement_signed_elsewhere_holds_while_others_record(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """For days, perhaps. The same words give the same statement; what is remembered goes once it is recorded."""
    request = desk.submit()
    desk.take(request, "agenda")
    words = ["record", request, "disposition", "--as", "kadis", "--evidence", f"surat_terdisposisi={desk.paper}"]
    assert sop(*words, "--prepare", tmp_path / "a")[0] == 0
    other(desk)
    assert sop(*words, "--prepare", tmp_path / "b")[0] == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    (tmp_path / "sig").write_text(people.sign("kadis", (tmp_path / "a").read_text()))
    code, _, err = sop(*words, "--signature", tmp_path / "sig")
    assert code == 0, err
    entry = standing.stand(desk.office, request).done["disposition"]
    assert (entry.sequence, entry.data["seen"]["entry"]) == (5, 3) and verified(desk) == []
    assert not list(desk.office.evidence.folder.glob(".unsigned.*"))


def test_sheet_signed_elsewhere_is_prepared_the_same_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    monkeypatch.setattr(steps, "shows", lambda office, fields, *_: fields["data"].update(
        pades={"document": "surat_terdisposisi", "shown": {}}))
    made = []
    for name in ("a.pdf", "b.pdf"):
        assert steps.record(desk.office, request, "disposition", "kadis", Pdf(prepare=desk.folder / name)) is None
        made.append((desk.folder / name).read_bytes())
        other(desk)
    assert made[0] == made[1] and len(made[0]) > 1000


def test_order_signed_on_several_computers_holds_while_others_record(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    words = ["actors", "retire", "dinsos", "--reason", "pindah", "--signed-by", "kadis", "kasubbag"]
    assert sop(*words, "--prepare", tmp_path / "told")[0] == 0
    desk.submit()
    (tmp_path / "sig").write_text(people.sign("kadis", (tmp_path / "told").read_text()))
    keys = people.write_keys(tmp_path / "keys")
    code, _, err = sop(*words, "--signature", f"kadis={tmp_path}/sig", "--key", f"kasubbag={keys}/kasubbag")
    assert code == 0, err
    assert list(desk.office.register.entries())[-1].data["seen"]["entry"] == 1 and verified(desk) == []


def test_statement_is_made_anew_where_the_register_was_brought_back(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """What was seen is not there any more: the signature could never be taken."""
    desk.submit()
    words = ["actors", "retire", "dinsos", "--reason", "pindah", "--signed-by", "kadis", "kasubbag"]
    assert sop(*words, "--prepare", tmp_path / "a")[0] == 0
    insider.rewrite(desk, changed(2, time="2026-11-02T01:00:09Z"), key=True)
    assert sop(*words, "--prepare", tmp_path / "b")[0] == 0
    said = json.loads((tmp_path / "b").read_text())["data"]["seen"]
    assert said == {"entry": 2, "hash": leaf_hash(insider.texts(desk)[1]).hex()}
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_entry_changed_while_another_is_signed_is_refused(desk: Desk) -> None:
    """Its words are compared, not the hash that the tables keep beside them."""
    desk.submit()

    def slow(who: str, message: str) -> str:
        insider.change(desk, "UPDATE entries SET entry = replace(entry, 'tarakankota', 'orang') WHERE sequence = 2")
        return people.sign(who, message)

    with pytest.raises(Refused, match="who signed entry 3 saw another entry 2 than the one that is here"):
        actors.retire(desk.office, ["dinsos"], ["kadis", "kasubbag"], slow, "pindah")
    assert len(insider.texts(desk)) == 2


def remember(monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    """Whoever writes to the evidence may leave anything where a statement to sign elsewhere is remembered."""
    real = Evidence.noted
    monkeypatch.setattr(Evidence, "noted",
                        lambda self, value, purpose: kept if purpose == "seen" else real(self, value, purpose))


@pytest.mark.parametrize("kept", ["x", "[]", "7", '{"entry":1}', '{"entry":"y","hash":""}', '{"entry":3,"hash":""}'])
def test_note_of_what_was_seen_that_is_none_is_seen_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    request = desk.submit()
    remember(monkeypatch, kept)
    desk.sign = Elsewhere(people.sign)
    number, digest = desk.office.register.head()
    assert desk.take(request, "agenda").data["seen"] == {"entry": number, "hash": digest}


def test_note_of_what_was_seen_adds_no_word_to_what_is_signed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.submit()
    desk.sign = Elsewhere(people.sign)
    number, digest = desk.office.register.head()
    remember(monkeypatch, json.dumps({"entry": number, "hash": digest, "note": "x"}))
    assert desk.take(request, "agenda").data["seen"] == {"entry": number, "hash": digest}


def test_note_of_what_was_seen_lets_nobody_who_signs_here_see_less(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else whoever writes to the evidence chooses which entries nobody vouches for."""
    request = desk.submit()
    desk.take(request, "agenda")
    number, digest = desk.office.register.head()
    remember(monkeypatch, json.dumps({"entry": 1, "hash": leaf_hash(insider.texts(desk)[0]).hex()}))
    keys = people.write_keys(tmp_path / "keys")
    code, _, err = sop("record", request, "disposition", "--as", "kadis", "--evidence",
                       f"surat_terdisposisi={desk.paper}", "--key", keys / "kadis")
    assert code == 0, err
    code, _, err = sop("actors", "retire", "dinsos", "--reason", "pindah", "--signed-by", "kadis", "kasubbag",
                       *(word for who in ("kadis", "kasubbag") for word in ("--key", f"{who}={keys / who}")))
    assert code == 0, err
    step, retired = [json.loads(text) for text in insider.texts(desk)[-2:]]
    assert step["data"]["seen"] == {"entry": number, "hash": digest}
    assert retired["data"]["seen"]["entry"] == number + 1

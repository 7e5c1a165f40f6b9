"""Attacks on the register by who may write its file: each is found, said since when, stops gates, and never reading."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from driver import insider, people
from driver.desk import PROJECT, Desk
from driver.insider import Body
from driver.test_cli import Sop, sop
from driver.test_export import verify
from sop_driver import (
    cli,
    desired,
    emergency,
    export,
    lease,
    notary,
    orders,
    outsider,
    report,
    run,
    standing,
    steps,
    store,
    trust,
    voiding,
)
from sop_driver.errors import Refused
from sop_driver.note import COSIGNED, Checkpoint
from sop_driver.proof import canonical, leaf_hash, node_hash
from sop_driver.request import Request
from sop_driver.schema import ENTRIES, statements

__all__ = ["sop"]

EXAMPLE = PROJECT / "sop_driver/data/sop.example.yml"


def cleared(desk: Desk) -> str:
    """A request with every gate cleared: entries 2 to 9."""
    return desk.approved()


def verified(desk: Desk) -> list[str]:
    """What `sop register verify` finds, as an auditor types it: its exit code says whether that is anything."""
    words = ["register", "verify", "--json", "--home", str(desk.office.home.path), "--config", str(EXAMPLE)]
    with pytest.MonkeyPatch.context() as environment, contextlib.redirect_stdout(io.StringIO()) as out:
        environment.setenv("SOP_REGISTER", desk.place)
        code = cli.main(words)
    lines: list[str] = json.loads(out.getvalue())["findings"]
    assert code == (1 if lines else 0)
    return lines


def found(desk: Desk, *, since: int, part: str, request: str = "R-2026-0001") -> list[str]:
    """The attack shows with its place, gates are closed, and everything can still be read."""
    lines = verified(desk)
    assert any(part in line for line in lines), lines
    assert lines[-1].startswith(f"rely on nothing from entry {since} on"), lines
    with pytest.raises(Refused, match=f"rely on nothing from entry {since}"):
        desk.run(request)
    assert desk.fleet.played == []
    assert report.status(desk.office, standing.stand(desk.office, request)) and report.report(desk.office, request)
    assert desired.fold(desk.office.register) == {}
    return lines


def takes_nothing_more(desk: Desk, since: int) -> None:
    """The next writer is refused, and told since when; who reads is not."""
    with pytest.raises(Refused, match=rf"cannot be relied on: .*; rely on nothing from entry {since} on"):
        desk.submit()
    assert standing.all_standings(desk.office) and desired.fold(desk.office.register) == {}


@pytest.mark.parametrize("number", range(1, 10))
def test_flipped_bit_is_found_in_every_entry(desk: Desk, number: int) -> None:
    cleared(desk)
    change = "UPDATE entries SET entry = replace(entry, '2026-11-02T', '2026-11-03T') WHERE sequence = N"
    insider.change(desk, change.replace("N", str(number)))
    found(desk, since=number, part=f"entry {number}")


def test_changed_signed_words_are_found_by_the_signature_too(desk: Desk) -> None:
    cleared(desk)
    insider.change(desk, "UPDATE entries SET entry = replace(entry, 'Sekretariat', 'Pribadi') WHERE sequence = 2")
    found(desk, since=2, part="the signature of dinkes: it is not over what the entry says")


def test_removed_entry_is_found(desk: Desk) -> None:
    cleared(desk)
    insider.change(desk, "DELETE FROM entries WHERE sequence = 4")
    lines = found(desk, since=3, part="entries are missing, added or moved")
    assert "entry 3: who signed entry 4 saw 4 entries, before it are 3: some were left out" in lines


def test_step_on_a_request_that_lacks_an_entry_is_refused(desk: Desk) -> None:
    """Without reading the whole register: what the request itself rests on does not hang together."""
    request = desk.turned_down()
    desk.take(request, "disposition")
    insider.change(desk, "DELETE FROM entries WHERE sequence = 6")
    with pytest.raises(Refused, match="signed for another state"):
        desk.take(request, "review")


def test_swapped_entries_are_found(desk: Desk) -> None:
    cleared(desk)
    insider.change(desk, "UPDATE entries SET sequence = -4 WHERE sequence = 4; UPDATE entries SET sequence = 4 WHERE "
                         "sequence = 5; UPDATE entries SET sequence = 5 WHERE sequence = -4")
    found(desk, since=3, part="calls itself entry 5")  # what the last signer before saw is here, and no more is known


def test_inserted_entry_is_found(desk: Desk) -> None:
    cleared(desk)
    insider.rewrite(desk, lambda all_: [*all_[:5], {**all_[4], "outcome": "x"}, *all_[5:]])
    found(desk, since=6, part="they were written anew")
    takes_nothing_more(desk, 6)


def test_cut_tail_is_found(desk: Desk) -> None:
    cleared(desk)
    insider.change(desk, "DELETE FROM entries WHERE sequence > 7; DELETE FROM checkpoints WHERE size > 7")
    found(desk, since=8, part="saw 9 entries, here are 7: the last are missing")
    takes_nothing_more(desk, 8)


def test_refusal_that_is_cut_off_is_missed_by_all_that_leaves_the_register(desk: Desk, sop: Sop) -> None:
    """By who has the database alone: all in it fits, and the checkpoint beside it says more."""
    request, folder, key = desk.turned_down(), desk.folder / "out", desk.office.people().checkpoint_key
    last = desk.office.register.checkpoint()
    insider.change(desk, "DELETE FROM entries WHERE sequence > 5; DELETE FROM checkpoints WHERE size > 5; "
                         "DELETE FROM nodes WHERE level = 1 AND position = 2")
    assert "saw 6 entries, here are 5: the last are missing" in verified(desk)[0]
    for words in (("receipt", request), ("receipt",), ("checkpoint",), ("checkpoint", "--since", 0)):
        code, out, err = sop("register", *words)
        assert (code, out) == (3, "") and "its last checkpoint signs 6 entries, and 5 are here" in err, words
    code, out, _ = sop("report", request)
    assert code == 0 and "WARNING: its last checkpoint signs 6 entries" in out and last in out
    assert sop("register", "export", folder, "--documents")[0] == 0
    code, out = verify(folder / "verify.py", folder, "--key", key)
    assert code == 1 and "witnessed/driver+checkpoint saw 6 entries, here are 5: the last are missing" in out, out


@pytest.mark.parametrize("how", ["other entries", "earlier ones", "none", "gone"])
def test_checkpoint_beside_that_does_not_agree_stops_what_leaves_the_register(desk: Desk, sop: Sop, how: str) -> None:
    """An outsider could not tell which of the two is true, nor that there are two."""
    request, register, folder = cleared(desk), desk.office.register, desk.folder / "out"
    notes, file, mine = list(register.checkpoints()), register.checkpoint_file, register.notary
    other = [Checkpoint(mine.name, size, bytes(32)) for size in (9, 7)]
    file.write_text({"other entries": f"{other[0].body}\n{mine.sign(other[0].body)}", "none": "hello",
                     "earlier ones": f"{other[1].body}\n{mine.sign(other[1].body)}", "gone": ""}[how])
    if how == "gone":
        file.unlink()
    told = "no checkpoint of its 9 entries agrees with the one beside it"
    for words in (("receipt", request), ("checkpoint",), ("checkpoint", "--since", 0)):
        code, out, err = sop("register", *words)
        assert (code, out) == (3, "") and told in err, words
    code, out, _ = sop("report", request)
    assert code == 0 and f"WARNING: {told}" in out
    assert sop("register", "export", folder, "--documents")[0] == 0
    code, out = verify(folder / "verify.py", folder, "--key", mine.verifier)
    assert (code == 1 and "saw other entries up to" in out) == (how in ("other entries", "earlier ones")), out
    for earlier in notes[-3:]:  # as where a writer died in between
        file.write_text(earlier)
        assert sop("register", "receipt", request)[0] == sop("register", "checkpoint", "--since", 0)[0] == 0
        assert "WARNING" not in sop("report", request)[1]


def test_yesterdays_copy_of_the_database_is_found(desk: Desk) -> None:
    """The database alone is put back: whole, signed, and too short for the checkpoint beside it."""
    request = desk.submit()
    kept = insider.keep(desk)
    desk.approve(request)
    insider.bring_back(desk, kept)
    lines = verified(desk)
    assert "the last checkpoint outside of it saw 9 entries, here are 2" in lines[0]
    assert lines[-1].startswith("rely on nothing from entry 3 on")
    takes_nothing_more(desk, 3)


@pytest.mark.parametrize(("changed", "since", "hides"), [
    ("DELETE FROM checkpoints WHERE size > 7", 8, True),
    ("INSERT INTO checkpoints SELECT 999, note FROM checkpoints WHERE size = 7", 8, True),
    ("UPDATE checkpoints SET size = 12 WHERE size = 9", 10, False)])
def test_checkpoints_that_are_changed_alone_hide_no_entry(desk: Desk, changed: str, since: int, hides: bool) -> None:
    """Triggers guard entries only; an earlier checkpoint, signed by the true key, leaves out what came after."""
    request = cleared(desk)
    insider.change(desk, changed)
    found(desk, since=since, part="its last checkpoint is not that of the last entry")
    folder, key = desk.folder / "out", desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=True)
    assert len((folder / "register.jsonl").read_text().splitlines()) == 9
    code, said = verify(folder / "verify.py", folder, "--key", key)
    assert (code, "no checkpoint signs it" in said) == (hides, hides)
    if hides:
        for ask in (lambda: trust.proven(desk.office, request), lambda: export.update(desk.office, 0)):
            with pytest.raises(Refused, match="its last checkpoint signs 7 entries, and 9 are here"):
                ask()
    warned = "WARNING: its last checkpoint signs 7 entries" in "\n".join(report.report(desk.office, request))
    assert warned == hides
    with pytest.raises(Refused, match=f"rely on nothing from entry {since} on"):
        desk.submit()


def test_checkpoint_beside_the_file_may_not_vanish(desk: Desk) -> None:
    cleared(desk)
    desk.office.register.checkpoint_file.unlink()
    takes_nothing_more(desk, 1)


def without(number: int) -> Any:
    return lambda all_: all_[: number - 1] + all_[number:]


def with_outcome(number: int, outcome: str) -> Any:
    def changed(bodies: list[Body]) -> list[Body]:
        return [body | {"outcome": outcome} if body["sequence"] == number else body for body in bodies]

    return changed


def test_register_written_anew_without_the_key_is_found(desk: Desk) -> None:
    desk.turned_down()
    insider.rewrite(desk, without(6))
    lines = verified(desk)
    assert "saw 6 entries, here are 5" in lines[0] and "from entry 6 on" in lines[-1]
    takes_nothing_more(desk, 6)


def test_decision_turned_around_with_the_key_in_hand_is_found(desk: Desk) -> None:
    """Root on the driver's machine can sign checkpoints, but not as the Kabid."""
    desk.turned_down()
    insider.rewrite(desk, with_outcome(6, "yes"), key=True)
    found(desk, since=6, part="the signature of kabid: it is not over what the entry says")


def test_decision_taken_out_with_the_key_in_hand_is_found_by_the_next_signature(desk: Desk) -> None:
    request = desk.turned_down()
    desk.take(request, "disposition")
    insider.rewrite(desk, without(6), key=True)
    found(desk, since=5, part="it was signed for another state of R-2026-0001")


@pytest.fixture
def watched(desk: Desk) -> Desk:
    """An office whose register the Inspektorat has signed, with five entries in it."""
    desk.submit()
    desk.take("R-2026-0001", "agenda")
    desk.take("R-2026-0001", "disposition")
    desk.take("R-2026-0001", "review")
    witness(desk, 0)
    return desk


def witness(desk: Desk, since: int, name: str = "inspektorat") -> str:
    """The witness's round: update there, signature back."""
    (desk.folder / "update").write_text(export.update(desk.office, since))
    note, key = export.witness(desk.folder / "update", desk.folder / "there", name,
                               desk.office.register.notary.verifier)
    desk.office.config = desk.config.model_copy(update={"witnesses": (key,)})
    (desk.folder / "cosigned").write_text(note)
    return export.take_back(desk.office, desk.folder / "cosigned")[0]


def test_tail_cut_with_the_key_in_hand_is_found_by_the_witness(watched: Desk) -> None:
    """Nothing on the driver's machine can show this; what somebody else holds does."""
    insider.rewrite(watched, lambda all_: all_[:-2], key=True)
    (watched.office.home.path / "witnessed/inspektorat").unlink()
    assert verified(watched) == []
    with pytest.raises(Refused, match="witness last saw 5 entries"):
        witness(watched, 0)
    with pytest.raises(Refused, match="rely on nothing from entry 4 on"):
        export.take_back(watched.office, watched.folder / "cosigned")


def test_yesterdays_copy_of_everything_is_found_by_the_witness(watched: Desk) -> None:
    kept, files = insider.keep(watched), insider.take_copy(watched.office.home.path)
    watched.approve("R-2026-0001")
    witness(watched, 5)
    insider.bring_back(watched, kept)
    for path in insider.take_copy(watched.office.home.path).keys() - files.keys():
        path.unlink()
    for path, data in files.items():
        path.chmod(0o600)
        path.write_bytes(data)
    assert verified(watched) == []
    with pytest.raises(Refused, match="witness last saw 9 entries, the file begins at 5"):
        witness(watched, 5)
    with pytest.raises(Refused, match="saw 9 entries, here are 5"):
        export.take_back(watched.office, watched.folder / "cosigned")


def test_history_written_anew_and_grown_is_refused_by_the_witness(watched: Desk) -> None:
    """An insider with the register's key and a retired actor's: the proof of growth cannot be made."""
    insider.rewrite(watched, lambda all_: [*all_[:4], *all_[3:]], key=True)
    with pytest.raises(Refused, match="does not hold the 5 that were seen here before"):
        witness(watched, 5)


def test_witness_takes_no_proof_that_parts_a_node_elsewhere(watched: Desk) -> None:
    """By a proof of other lengths, whoever has the register's key could put another entry in the place of one seen."""
    *first, last = (leaf_hash(text) for text in insider.texts(watched))
    cut = node_hash(node_hash(*first[:2]), node_hash(*first[2:])) + last[:-1]
    other, sixth = last[-1:] + leaf_hash("other")[1:], leaf_hash("sixth")
    key = watched.office.register.notary
    body = Checkpoint(key.name, 6, node_hash(cut, node_hash(other, sixth))).body
    proof = [base64.b64encode(part).decode() for part in (last[-1:], other[1:] + sixth, cut)]
    (watched.folder / "update").write_text("\n".join(["old 5", *proof, "", f"{body}\n{key.sign(body)}"]))
    with pytest.raises(Refused, match="does not hold the 5 that were seen here before"):
        export.witness(watched.folder / "update", watched.folder / "there", None, None)


def test_retired_kadis_cannot_backdate(desk: Desk) -> None:
    """Neither by the key, nor by setting the clock back to when it was good."""
    request = desk.submit()
    desk.take(request, "agenda")
    good = desk.clock.time
    desk.clock.time += timedelta(days=30)
    desk.retire("kadis")
    with pytest.raises(Refused, match="kadis was retired"):
        desk.take(request, "disposition")
    desk.clock.time = good
    with pytest.raises(Refused, match="kadis was retired"):
        desk.take(request, "disposition")
    with pytest.raises(Refused, match="this machine's clock says 2026-11-02"):
        desk.submit()


def test_retired_kadis_and_an_insider_with_the_key_are_found(desk: Desk) -> None:
    """The forged disposition is dated and put before the retirement; the entries after it betray it."""
    request = desk.submit()
    desk.take(request, "agenda")
    disposition = desk.take(request, "disposition").__dict__
    desk.take(request, "review")
    desk.retire("kadis")
    insider.rewrite(desk, lambda all_: [*all_[:4], {**disposition, "reason": "x"}, *all_[4:]], key=True)
    found(desk, since=5, part="signed for another state", request=request)


def test_clock_set_back_is_refused_but_not_by_seconds(desk: Desk) -> None:
    request = desk.submit()
    last = list(desk.office.register.entries())[-1].when
    desk.clock.time = last - timedelta(seconds=30)  # as a time server does
    assert desk.take(request, "agenda").when == last
    desk.clock.time = last - timedelta(minutes=5)
    with pytest.raises(Refused, match="clock"):
        desk.take(request, "disposition")


def test_swapped_evidence_closes_the_gate_and_is_found(desk: Desk, sop: Sop) -> None:
    request = cleared(desk)
    entry = standing.stand(desk.office, request).done["disposition"]
    path = desk.office.evidence.path(entry.evidence["surat_terdisposisi"])
    path.chmod(0o600)
    path.write_bytes(b"%PDF other")
    with pytest.raises(Refused, match=f"was changed; rely on nothing from entry {entry.sequence - 1} on\n"):
        desk.run(request)
    code, out, _ = sop("register", "verify")
    assert code == 1 and "was changed" in out and f"rely on nothing from entry {entry.sequence - 1} on" in out
    assert sop("history", request)[0] == 0


def test_request_changed_after_the_approval_is_not_approved(desk: Desk) -> None:
    request = cleared(desk)
    desk.submit(replace=request, title="Lain")
    with pytest.raises(Refused) as error:
        desk.run(request)
    assert "approval" in [refusal.gate for refusal in error.value.refusals]


def test_swapped_release_closes_the_gate_and_is_found(desk: Desk) -> None:
    request = cleared(desk)
    release = standing.stand(desk.office, request).request.release
    assert release
    path = desk.office.evidence.path(release.sha256)
    path.chmod(0o600)
    path.write_bytes(b"other")
    with pytest.raises(Refused, match="was changed; rely on nothing from entry 2 on\n"):
        desk.run(request)
    assert verified(desk)[-1].startswith("rely on nothing from entry 2 on")


def test_sop_changed_under_a_request_is_refused(desk: Desk) -> None:
    """The SOP that a request began with is evidence like any other; a new file is for new requests."""
    request = cleared(desk)
    path = desk.office.evidence.path(standing.stand(desk.office, request).procedure.hash)
    path.chmod(0o600)
    path.write_text(path.read_text().replace("gate: approval", "gate: review"))
    desk.office.procedures.clear()
    with pytest.raises(Refused, match="was changed; rely on nothing from entry 1 on\n"):
        desk.run(request)
    assert verified(desk)[-1].startswith("rely on nothing from entry 1 on")


def test_tables_made_differently_are_found(desk: Desk) -> None:
    """A column that hides a request's entries would fool every query."""
    cleared(desk)
    desk.office.register.db.exec_driver_sql("DROP INDEX entries_request")
    lines = verified(desk)
    assert "not as they were made" in lines[0] and lines[-1].startswith("rely on nothing from entry 10 on")
    takes_nothing_more(desk, 10)


def test_statistics_that_an_administrator_asks_the_database_for_stop_nothing(desk: Desk) -> None:
    """On SQLite they are tables."""
    request = cleared(desk)
    desk.office.register.db.exec_driver_sql("ANALYZE")
    assert verified(desk) == []
    desk.run(request)
    desk.office.register.db.exec_driver_sql("ANALYZE")
    assert verified(desk) == []


@pytest.mark.parametrize("made", [
    "CREATE TRIGGER alembic_version BEFORE INSERT ON entries WHEN NEW.entry LIKE '%\"retire\"%' "
    "BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TRIGGER alembic_version_pkc AFTER INSERT ON checkpoints BEGIN DELETE FROM nodes WHERE level > 0; END"])
def test_trigger_named_like_a_table_that_is_left_out_is_found(file_desk: Desk, made: str) -> None:
    """Only the table that counts revisions is no part of what is compared, and not whatever bears its name."""
    cleared(file_desk)
    file_desk.office.register.db.exec_driver_sql(made)
    assert "not as they were made" in verified(file_desk)[0]
    with pytest.raises(Refused, match="not as they were made"):
        file_desk.retire("disdik")


@pytest.mark.parametrize("name", ["alembic_version_other", "alembic_version_pkc"])
def test_view_named_like_what_is_left_out_is_found(shared_desk: Desk, name: str) -> None:
    cleared(shared_desk)
    db = shared_desk.office.register.db
    db.exec_driver_sql("ALTER TABLE alembic_version RENAME CONSTRAINT alembic_version_pkc TO its_key")
    db.exec_driver_sql(f"CREATE VIEW {name} AS SELECT 1")
    assert "not as they were made" in verified(shared_desk)[0]


DROPS = {"sqlite": ["CREATE TRIGGER x BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END"],
         "postgresql": ["CREATE FUNCTION x() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
                        "CREATE TRIGGER x BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION x()"]}
CHANGES = {"sqlite": ["DROP TRIGGER no_change", "CREATE TRIGGER x AFTER INSERT ON {table} BEGIN UPDATE entries SET "
                      "entry = replace(entry, 'other', 'thing') WHERE sequence = NEW.sequence; END"],
           "postgresql": ["CREATE FUNCTION x() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.entry = "
                          "replace(NEW.entry, $$other$$, $$thing$$); RETURN NEW; END'",
                          "CREATE TRIGGER x BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION x()"]}


@pytest.mark.parametrize(("table", "how"), [
    ("entries", DROPS), ("nodes", DROPS), ("checkpoints", DROPS), ("entries", CHANGES)])
def test_write_that_the_database_does_not_keep_is_never_acknowledged(
    desk: Desk, table: str, how: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the tables look as they were made: what was written is read once more before it is committed."""
    desk.submit()
    register = desk.office.register
    register.append("record", reason="uneven, so that the next entry completes a node")
    for words in how[register.db.dialect.name]:
        register.db.exec_driver_sql(words.format(table=table))
    monkeypatch.setattr(register.store, "schema_fault", lambda: None)
    with pytest.raises(Refused, match="what was written to it is not in it"):
        register.append("record", reason="other")
    assert register.head()[0] == 3 and len(list(register.texts())) == 3
    assert register.checkpoint_file.read_text() == register.checkpoint()


def test_entry_added_past_the_register_is_found_by_the_next_writer(desk: Desk) -> None:
    cleared(desk)
    last = json.loads(insider.texts(desk)[-1])
    text = json.dumps(last | {"sequence": 10}, separators=(",", ":"), sort_keys=True)
    desk.office.register.db.execute(insert(ENTRIES), {"sequence": 10, "entry": text, "hash": "x"})
    takes_nothing_more(desk, 10)


@pytest.mark.parametrize("text", ["hello", "[]", "{}", '{"kind":"a","kind":"run"}', '{"kind":"step"}', "null", "1e999"])
def test_entry_that_is_none_is_named_and_stops_nothing_else(desk: Desk, text: str) -> None:
    cleared(desk)
    found_ = list(desk.office.register.texts())
    found_[4] = text
    audited = trust.audit.read(found_)
    assert any(number == 5 and "no entry" in what for number, what in audited.findings)
    assert audited.tree.size == 9


@pytest.mark.parametrize(("number", "place", "value"), [
    (1, ("sequence",), "x"), (1, ("data", "actors", "kadis", "key"), 5), (2, ("data", "sop"), 5),
    (3, ("signatures", 0, "sig"), 5), (3, ("signatures", 0, "sig"), None),
    (10, ("data", "waives"), 5), (10, ("data", "report_by"), 5), (10, ("data", "report_by"), None),
])
def test_entry_of_other_types_is_found(file_desk: Desk, number: int, place: tuple[str | int, ...], value: Any) -> None:
    """Each is named, as what its signature does not hold for; a reader that breaks names nothing."""
    until = orders.moment("2026-11-02T12:00", file_desk.office, "--until")
    emergency.declare(file_desk.office, cleared(file_desk), until, ["kadis", "kabid"], file_desk.sign, "diretas")
    body = json.loads(insider.texts(file_desk)[number - 1])
    inner = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with insider.unguarded(file_desk) as db:
        db.execute(update(ENTRIES).where(ENTRIES.c.sequence == number).values(entry=canonical(body)))
    lines = verified(file_desk)
    assert any(line.startswith(f"entry {number}: ") for line in lines), lines
    assert lines[-1].startswith(f"rely on nothing from entry {number} on")


def slipped_in(desk: Desk, requests: list[str], **changed: Any) -> None:
    """A run that nobody signed for, of the cleared request, by whoever holds the checkpoint's key."""
    now = standing.stand(desk.office, "R-2026-0001")
    row = {"request": now.id, "digest": now.digest, "agenda": "1", "uid": 20000, "web_host": "web1",
           "address": {"ipv4": "198.51.100.11", "ipv6": None, "own": False}, "created_by": "run-000001",
           "database_host": None, "release_size": 1, **changed}
    data = {"run": "run-000001", "requests": requests, "allocations": [row], "desired": "0" * 64}
    for outcome in ("started", "applied"):
        desk.office.register.append("run", outcome=outcome, data=data)


def test_run_slipped_in_with_the_key_in_hand_is_found(desk: Desk) -> None:
    """The desired state is made of runs: one that nobody signed for would bring anything onto the servers."""
    request = cleared(desk)
    slipped_in(desk, [request])
    lines = verified(desk)
    assert lines[0] == f"entry 11: run-000001 was applied, and nobody signed the installation of {request}"


def test_run_that_names_other_requests_than_it_installs_is_found(desk: Desk) -> None:
    """The desired state is made of the allocations."""
    request = cleared(desk)
    slipped_in(desk, [])
    lines = verified(desk)
    assert lines[0] == "entry 10: run-000001 brings other requests onto the servers than those that it names"
    assert lines[1] == f"entry 11: run-000001 was applied, and nobody signed the installation of {request}"


def test_run_of_another_form_than_the_one_that_stood_is_found(desk: Desk) -> None:
    request = cleared(desk)
    slipped_in(desk, [request], digest="0" * 64)
    assert f"installs another form of {request}" in verified(desk)[0]


def test_no_other_step_stands_for_an_installation(desk: Desk) -> None:
    """Which run a step belongs to is not signed: the register adds it."""
    request = cleared(desk)
    slipped_in(desk, [request])
    desk.take(request, "build")
    insider.rewrite(desk, lambda bodies: [*bodies[:-1], {
        **bodies[-1], "data": {**bodies[-1]["data"], "run": "run-000001"}}], key=True)
    assert verified(desk)[0] == (
        "entry 12: build is said to have installed what installation installs")


def test_form_that_is_not_what_was_approved_is_found_and_not_installed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An agency with a changed driver replaces its request under the digest of the approved one."""
    request = desk.approved()
    digest = standing.stand(desk.office, request).digest
    with monkeypatch.context() as changed:
        changed.setattr(Request, "digest", property(lambda _: digest))
        changed.setattr(trust, "accept", lambda *_: None)
        desk.submit(replace=request, title="Lain")
    said = f"what {request} asks for is not what its digest, and so its approval, is of"
    assert said in verified(desk)[0]
    with pytest.raises(Refused, match="not what its digest"):
        desk.run(request)
    assert not desk.fleet.played
    export.export(desk.office, tmp_path / "out", True)
    code, lines = outsider.check(tmp_path / "out", desk.office.register.notary.verifier)
    assert code == 1 and said in lines[0]


def retitled(desk: Desk, old: str, new: str) -> None:
    change = "UPDATE entries SET entry = replace(entry, 'OLD', 'NEW') WHERE sequence = 2"
    insider.change(desk, change.replace("OLD", old).replace("NEW", new))


@pytest.mark.parametrize("restored", ["sign", "plan"])
def test_form_changed_after_the_register_was_verified_is_not_installed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, restored: str
) -> None:
    """Who writes the database can put the approved form back before anybody looks again."""
    request, real, sign = cleared(desk), run.reconcile, desk.sign
    old, new = '"title":"Dinas Kesehatan"', '"title":"Diretas"'

    def verified_just_now(*words: Any) -> Any:
        found = real(*words)
        retitled(desk, old, new)
        return found

    def signed(who: str, message: str) -> str:
        if restored == "sign":
            retitled(desk, new, old)
        return sign(who, message)

    def played(playbook: str, check: bool) -> None:
        assert check
        retitled(desk, new, old)

    monkeypatch.setattr(run, "reconcile", verified_just_now)
    if restored == "plan":
        monkeypatch.setattr(trust, "accept", lambda *_: None)  # which would find it
        desk.fleet.on_play = played
    desk.sign = signed
    with pytest.raises(Refused, match="the register says otherwise now than when the plan was made"):
        desk.run(request)
    assert desk.fleet.existing == {} and desk.outcomes() == []


def test_register_changed_while_the_plan_was_made_is_found_and_not_installed(desk: Desk) -> None:
    request = cleared(desk)
    desk.fleet.on_play = lambda *_: retitled(desk, "Sekretariat", "Pribadi")
    with pytest.raises(Refused, match=r"changed past `sop` while this ran: (?s:.*); rely on nothing from entry 2 on"):
        desk.run(request)
    assert desk.fleet.existing == {} and desk.outcomes() == []


def test_register_changed_before_the_servers_are_put_back_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dead run left is put back to what was approved before it, and to nothing else."""
    desk.run(desk.approved())
    request, before, real = desk.approved(kind="update", title="Baru"), desk.fleet.existing, lease.turn
    data = {"run": "run-000002", "requests": [], "allocations": [], "desired": "0" * 64}
    desk.office.register.append("run", outcome="started", data=data)

    @contextlib.contextmanager
    def verified_just_now(*words: Any) -> Iterator[Any]:
        retitled(desk, '"title":"Dinas Kesehatan"', '"title":"Diretas"')
        with real(*words) as lost:
            yield lost

    monkeypatch.setattr(run.lease, "turn", verified_just_now)
    desk.fleet.played.clear()
    with pytest.raises(Refused, match=r"changed past `sop` while this ran: (?s:.*); rely on nothing from entry 2 on"):
        desk.run(request)
    assert desk.fleet.existing == before and desk.fleet.played == []


def test_witness_that_was_asked_for_must_have_signed(desk: Desk, tmp_path: Path) -> None:
    """Who compares with the Inspektorat's key wants its word."""
    request, other = cleared(desk), notary.make(tmp_path / "k", "inspektorat", COSIGNED)
    export.export(desk.office, tmp_path / "out", True)
    (tmp_path / "receipt").write_text(json.dumps(desk.receipt(request)))
    for path in (tmp_path / "out", tmp_path / "receipt"):
        assert outsider.check(path, desk.office.register.notary.verifier)[0] == 0
        code, lines = outsider.check(path, desk.office.register.notary.verifier, [other.verifier])
        assert code == 1 and lines[0] == "entry 1: no checkpoint here is signed by the witness inspektorat"


def test_witnesss_word_that_a_killed_command_had_half_kept_is_none(
    watched: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = watched.office.home.path / "witnessed"
    before = sorted(folder.iterdir())
    with monkeypatch.context() as killed:  # as by a signal that nobody catches: nothing is cleaned up
        killed.setattr(Path, "replace", lambda *words: os._exit(0))
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                export.take_back(watched.office, watched.folder / "cosigned")
            os._exit(1)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert len(sorted(folder.iterdir())) == len(before) + 1
    next(path for path in folder.iterdir() if path not in before).write_text("half")
    assert verified(watched) == [] and trust.require(watched.office)
    export.export(watched.office, tmp_path / "out", False)
    assert [path.name for path in (tmp_path / "out/witnessed").iterdir()] == [path.name for path in before]


def test_word_of_a_witness_whose_name_begins_with_a_point_counts(desk: Desk) -> None:
    desk.submit()
    assert witness(desk, 0, ".tersembunyi") == ".tersembunyi"
    assert list(trust.witnessed(desk.office).values()) == [(desk.folder / "cosigned").read_text()]


def test_register_that_is_gone_beside_a_witness_is_found(file_desk: Desk) -> None:
    desk = file_desk
    cleared(desk)
    witnessed = desk.office.home.path / "witnessed"
    witnessed.mkdir()
    (witnessed / "inspektorat").write_text(desk.office.register.checkpoint())
    desk.office.register.close()
    for path in [*desk.office.home.path.glob("register.db*"), desk.office.home.path / "checkpoint"]:
        path.unlink(missing_ok=True)
    desk.office.register = desk.register()
    assert verified(desk)[0] == (
        "entry 1: no entry is here, and the witness's checkpoint inspektorat saw some: the register is gone")


@pytest.mark.parametrize("rotated", [False, True])
def test_register_that_is_gone_beside_its_key_is_found(desk: Desk, sop: Sop, rotated: bool) -> None:
    """An empty register would say that no website must exist."""
    home = desk.office.home
    cleared(desk)
    if rotated:
        orders.rotate(desk.office, ["kadis", "kasubbag"], desk.sign, "kunci lama")
    insider.change(desk, "DELETE FROM entries; DELETE FROM nodes; DELETE FROM checkpoints")
    desk.office.register.close()
    for path in [*home.path.glob("register.db*"), home.path / "checkpoint", home.desired]:
        path.unlink(missing_ok=True)
    (key,) = home.path.glob("keys/*")
    said = f"no entry is here, and {key} signed some: the register is gone"
    assert verified(desk) == [f"entry 1: {said}", "rely on nothing from entry 1 on"]
    for words in (("status",), ("list",), ("submit", desk.write(desk.form()), "--letter", desk.letter),
                  ("actors", "bootstrap", desk.ceremony())):
        code, _, err = sop(*words)
        assert code == 3 and said in err and "bring the register and SOP_HOME back from the backup" in err
    assert not home.desired.exists()
    desk.office.register = desk.register()
    with pytest.raises(Refused, match=r"cannot be relied on: no entry is here(?s:.*)back from its backup"):
        desk.office.register.append("record")


def test_request_under_an_sop_that_nobody_adopted_is_found(desk: Desk) -> None:
    desk.submit()
    texts = insider.texts(desk)
    adopted = json.loads(texts[0])["data"]["sop"]
    audited = trust.audit.read([texts[0], texts[1].replace(adopted, "0" * 64)])
    assert any("did not adopt" in what for number, what in audited.findings if number == 2)


@pytest.mark.parametrize("command", [("status",), ("list",), ("history", "R-2026-0001")])
def test_unreadable_entry_is_no_bug_of_the_reader(desk: Desk, sop: Sop, command: tuple[str, ...]) -> None:
    cleared(desk)
    desk.office.register.append("run", outcome="started", data={"run": "run-000001", "requests": []})
    insider.change(desk, "UPDATE entries SET entry = substr(entry, 1, 60) || '~' || substr(entry, 62)")
    code, _, err = sop(*command)
    assert code == 0 and "warning: entry " in err
    code, out, err = sop("register", "verify")
    assert code == 1 and "rely on nothing from entry 1 on" in out, err


def test_signed_by_nobody_is_found(desk: Desk) -> None:
    cleared(desk)
    insider.rewrite(desk, lambda all_: [*all_[:8], {**all_[8], "signatures": []}], key=True)
    found(desk, since=9, part="signed by nobody, not by subkoor")


def test_actor_slipped_in_with_the_key_in_hand_is_found(desk: Desk) -> None:
    entry = desk.enroll("mantu", "bidang")
    forged = entry.data["actors"]["mantu"] | {"key": people.public("x")}
    data = {**entry.data, "actors": {"mantu": forged}}
    insider.rewrite(desk, lambda all_: [all_[0], {**all_[1], "data": data}], key=True)
    lines = verified(desk)
    assert any("entry 2: the signature of kabid" in line for line in lines)
    with pytest.raises(Refused, match="signature of"):
        desk.submit()


def forged(kind: str, outcome: str, **data: Any) -> Any:
    """An entry put in before the last one, with signatures that were made for others."""
    def added(bodies: list[Body]) -> list[Body]:
        step, actors = bodies[1], bodies[0]
        made = {**(actors if kind == "actors" else step), "kind": kind, "outcome": outcome, "time": bodies[-2]["time"],
                "reason": "x", "evidence": {}}
        if kind == "actors":
            made["data"] = {"actors": {}, "retired": [], "previous": leaf_hash(canonical(actors)).hex(), **data}
        else:
            kept = {key: step["data"][key] for key in ("sop", "digest", "letter", "person")}
            made["data"] = {**kept, "previous": bodies[-1]["data"]["previous"], **data}
        return [*bodies[:-1], made, bodies[-1]]

    return added


@pytest.mark.parametrize(
    "change",
    [
        forged("actors", "freeze", freeze={"from": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}),
        forged("actors", "unfreeze", unfreeze=9),
        forged("actors", "erase", erased=["0" * 64]),
        forged("actors", "rotate", checkpoint_key="x+00000000+AAAA", announced="— x AAAA"),
        forged("emergency", "declared", until="2026-11-02T02:00:00Z", report_by="2026-11-05T00:00:00Z",
               waives=["freeze"]),
        forged("emergency", "reported", emergency=3),
        forged("void", "voided", entry=6, hash="0" * 64),
    ],
    ids=["freeze", "unfreeze", "erase", "rotate", "emergency", "report", "void"],
)
def test_order_slipped_in_with_the_key_in_hand_is_found(desk: Desk, change: Any) -> None:
    """Root can put in what officials order, but not their word for it."""
    cleared(desk)
    insider.rewrite(desk, change, key=True)
    found(desk, since=9, part="entry 9: ")


@pytest.mark.parametrize("index", [
    "(request) WHERE sequence != 10", "(CASE sequence WHEN 10 THEN 'R-2026-0002' ELSE request END)",
])
@pytest.mark.parametrize("long", [1, 10_000])
def test_entry_left_out_of_an_index_that_looks_as_it_was_made_is_found(
    file_desk: Desk, index: str, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gates read by the index would miss that the approval was voided. A long register is compared beside."""
    monkeypatch.setattr(store, "LONG", long)
    request = cleared(file_desk)
    voiding.void(file_desk.office, request, 6, "kadis", file_desk.sign, "salah")
    as_made = next(text for text in statements("sqlite", "0001") if "entries_request " in text)
    file_desk.office.register.close()
    with contextlib.closing(sqlite3.connect(file_desk.place, isolation_level=None)) as db:
        db.execute("DROP INDEX entries_request")
        db.execute(f"CREATE INDEX entries_request ON entries {index}")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'entries_request'", (as_made,))
    file_desk.office.register = file_desk.register()
    assert "decision" in standing.stand(file_desk.office, request).done
    assert file_desk.office.register.store.schema_fault() is None
    found(file_desk, since=11, part="row 10 missing from index entries_request")


@pytest.mark.parametrize("long", [1, 10_000])
def test_entry_that_no_index_can_be_compared_with_is_found(
    file_desk: Desk, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LONG", long)
    cleared(file_desk)
    file_desk.office.register.close()
    data = Path(file_desk.place).read_bytes()
    Path(file_desk.place).write_bytes(data.replace(b'{"actor":"kadis"', b'["actor":"kadis"'))
    file_desk.office.register = file_desk.register()
    assert any("cannot be compared" in line for line in verified(file_desk))


def test_other_key_for_the_checkpoints_is_found(desk: Desk) -> None:
    cleared(desk)
    desk.office.register.key_file.unlink()
    export.notary.make(desk.office.register.key_file, desk.office.people().register)
    desk.office.register.__dict__.pop("notary", None)
    takes_nothing_more(desk, 1)
    assert "another than the one that its first actors signed" in str(verified(desk))


@pytest.mark.parametrize(("made", "said"), [
    (lambda key: key.unlink(), "the key that signs checkpoints cannot be read"),
    (lambda key: key.write_text("PRIVATE"), "the key that signs checkpoints cannot be read"),
    (lambda key: key.chmod(0o644), "others may read this key")], ids=["gone", "cut", "open to others"])
def test_register_is_verified_without_the_key_that_signs_its_checkpoints(
    desk: Desk, sop: Sop, made: Callable[[Path], object], said: str
) -> None:
    """By the key that its entries name; all else that is wrong with it is found too, its documents among that."""
    request = cleared(desk)
    key = desk.office.register.key_file
    made(key)
    told = (f"entry {desk.office.register.head()[0] + 1}: {said} ({key}): nothing can be added, and checkpoints were "
            "held against the key that the entries name")
    code, out, err = sop("register", "verify")
    assert (code, out.splitlines()[0], err) == (1, told, "")
    code, _, err = sop("run", request, "--as", "subkoor")
    assert code == 3 and told in err
    document = desk.office.evidence.path(standing.stand(desk.office, request).letter)
    document.chmod(0o600)
    document.write_bytes(b"x")
    assert sop("register", "verify")[1].splitlines()[0].startswith("entry 2: ")
    insider.change(desk, "UPDATE entries SET entry = replace(entry, 'tarakankota', 'orang') WHERE sequence = 2")
    assert "entry 2: the signature of dinkes" in sop("register", "verify")[1]


@pytest.mark.parametrize(("place", "label"), [
    ("checkpoint", "the last checkpoint outside of it"), ("witnessed/x", "the witness's checkpoint x")])
def test_folder_where_a_checkpoint_is_due_stops_gates_and_never_reading(
    desk: Desk, sop: Sop, place: str, label: str
) -> None:
    request, path, folder = cleared(desk), desk.office.home.path / place, desk.folder / "out"
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)
    told = f"entry 1: {label}: it is no checkpoint"
    code, out, _ = sop("register", "verify")
    assert code == 1 and out.splitlines()[0] == told
    code, _, err = sop("run", request, "--as", "subkoor")
    assert code == 3 and told in err
    for words in (("status",), ("history", request), ("report", request)):
        assert sop(*words)[0] == 0, words
    if place == "checkpoint":
        takes_nothing_more(desk, 1)
    code, _, err = sop("register", "export", folder)
    assert code == 0, err
    code, out = verify(folder / "verify.py", folder, "--key", desk.office.register.notary.verifier)
    exported = place != "checkpoint"  # the register's own is in its database, too
    assert (code, f"entry 1: {place}: it is no checkpoint" in out) == ((1, True) if exported else (3, False))


def test_witness_signs_nothing_that_is_not_the_registers(watched: Desk, tmp_path: Path) -> None:
    other = export.notary.make(tmp_path / "other.key", watched.office.people().register)
    body = f"{other.name}\n9\n{'A' * 43}=\n"
    (tmp_path / "update").write_text(f"old 5\n\n{body}\n{other.sign(body)}")
    with pytest.raises(Refused, match="not signed by"):
        export.witness(tmp_path / "update", watched.folder / "there", None, None)
    assert export.notary.load(watched.folder / "there/witness.key").algorithm == COSIGNED


def test_crash_before_the_checkpoint_beside_the_file_is_written_hurts_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = desk.submit()

    def died(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sop_driver.notary.keep", died)
        with pytest.raises(KeyboardInterrupt):
            desk.take(request, "agenda")
    assert "agenda" in standing.stand(desk.office, request).done and verified(desk) == []
    desk.take(request, "disposition")
    assert steps.stand(desk.office, request).next

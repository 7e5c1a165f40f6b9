"""What people add to a register, or make up, who have no official's key: each of it is found, inside and outside."""

from __future__ import annotations

import base64
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import insert, make_url

from driver import insider, people
from driver.cluster import Cluster
from driver.desk import Desk
from driver.test_attacks import takes_nothing_more, verified
from driver.test_export import verify
from sop_driver import actors, emergency, export, merkle, notary, orders, outsider, shape, trust, voiding
from sop_driver.errors import Refused
from sop_driver.notary import Notary
from sop_driver.note import Checkpoint, announcement
from sop_driver.proof import canonical, leaf_hash, node_hash
from sop_driver.schema import CHECKPOINTS, ENTRIES
from sop_driver.statement import misspelled, statement

Body = dict[str, Any]
OTHER_NODE = (
    "UPDATE nodes SET hash = (SELECT hash FROM nodes WHERE level = 2 AND position = 0) WHERE level = 1 AND position = 0"
)


def after(texts: list[str], **fields: Any) -> Body:
    """An entry that fits behind others, as whoever knows the format writes it."""
    return {
        "actor": None, "role": None, "request": None, "step": None, "reason": "x", "evidence": {}, "data": {},
        "signatures": [], "sequence": len(texts) + 1, "time": json.loads(texts[-1])["time"],
        "prev": leaf_hash(texts[-1]).hex(), **fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "record", "outcome": "kept", "data": {"subject": "backup", "websites": {}}},
        {"kind": "run", "outcome": "rolled_back", "data": {"run": "run-000001"}},
        {"kind": "gossip", "outcome": "heard"},
    ],
    ids=lambda fields: str(fields["kind"]),
)
def test_entry_added_behind_the_last_checkpoint_is_found(desk: Desk, fields: Body) -> None:
    """Whoever may insert needs no key for entries that nobody signs."""
    desk.approved()
    text = canonical(after(insider.texts(desk), **fields))
    row = {"sequence": 10, "entry": text, "hash": leaf_hash(text).hex()}
    desk.office.register.db.execute(insert(ENTRIES), row)
    lines = verified(desk)
    assert "entry 10: no checkpoint signs it, nor what comes after it: it was added past `sop`" in lines
    assert lines[-1].startswith("rely on nothing from entry 10 on; the last one to rely on is entry 9")
    takes_nothing_more(desk, 10)


def test_entry_of_no_kind_is_found_with_the_key_in_hand(desk: Desk) -> None:
    desk.approved()
    insider.rewrite(desk, lambda all_: [*all_, {**all_[-1], "kind": "gossip", "signatures": []}], key=True)
    assert "entry 10: there are no entries of the kind 'gossip'" in verified(desk)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET hash = substr(hash, 2) || substr(hash, 1, 1) WHERE sequence = 5",
        OTHER_NODE,
        "UPDATE nodes SET hash = 'abc' WHERE level = 1 AND position = 0",
        "UPDATE nodes SET hash = 99999999999999 WHERE level = 1 AND position = 0",
        "UPDATE entries SET hash = 'no digest' WHERE sequence = 5",
        "DELETE FROM nodes WHERE level = 1 AND position = 3",
        "INSERT INTO nodes SELECT 9, 0, hash FROM nodes WHERE level = 1 AND position = 0",
    ],
    ids=["hash", "node", "words as node", "number as node", "words as hash", "no node", "another node"],
)
def test_changed_tables_beside_the_entries_are_found_and_accuse_no_entry(desk: Desk, change: str) -> None:
    request = desk.approved()
    if desk.office.register.store.shared:  # which takes octets alone as a node
        change = change.replace("'abc'", "'abc'::bytea").replace("99999999999999", "''::bytea")
    insider.change(desk, change)
    lines = verified(desk)
    assert "the tables beside the entries were changed past `sop`" in lines[0]
    assert lines[-1].startswith("rely on nothing from entry 10 on; the last one to rely on is entry 9")
    with pytest.raises(Refused, match="the tables beside the entries were changed"):
        desk.run(request)
    assert desk.fleet.played == []


def test_witness_is_given_no_proof_by_changed_nodes(desk: Desk) -> None:
    """It would call a register written anew that is not."""
    desk.approved()
    insider.change(desk, OTHER_NODE)
    with pytest.raises(Refused, match="its tree's nodes are not those of its entries"):
        export.update(desk.office, 3)


def hide(desk: Desk, cluster: Cluster, column: str, value: str | None, number: int) -> None:
    """Write to a column that PostgreSQL makes, as its superuser can, and leave the tables looking as they were made."""
    name = make_url(desk.place).database
    with psycopg.connect(f"host={cluster.folder} user=sop dbname={name}", autocommit=True) as db:
        db.execute("SET allow_system_table_mods = on")
        db.execute("SET session_replication_role = replica")
        made = "UPDATE pg_attribute SET attgenerated = %s WHERE attrelid = 'sop.entries'::regclass AND attname = %s"
        db.execute(made, ("", column))
        put = SQL("UPDATE sop.entries SET {} = %s WHERE sequence = %s").format(Identifier(column))
        db.execute(put, (value, number))
        db.execute(made, ("s", column))


def test_freeze_that_a_superuser_hides_still_stops_a_run(shared_desk: Desk, cluster: Cluster) -> None:
    desk = shared_desk
    request = desk.approved()
    window = ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    freeze = orders.freeze(desk.office, *window, ["kadis", "kasubbag"], desk.sign, "Pilkada")
    hide(desk, cluster, "kind", "record", freeze.sequence)
    assert "of entry 10 do not say what its words say" in verified(desk)[0]
    with pytest.raises(Refused, match="of entry 10 do not say what its words say"):
        desk.run(request)
    assert desk.fleet.played == []


def test_void_that_a_superuser_hides_while_the_plan_is_made_still_stops_a_run(
    shared_desk: Desk, cluster: Cluster
) -> None:
    """The approval was taken back meanwhile, and the entry that says so hidden from what asks for the request's."""
    desk = shared_desk
    request = desk.approved()

    def take_back(playbook: str, check: bool) -> None:
        if check:
            void = voiding.void(desk.office, request, 6, "kadis", desk.sign, "salah")
            hide(desk, cluster, "request", None, void.sequence)

    desk.fleet.on_play = take_back
    with pytest.raises(Refused, match="of entry 10 do not say what its words say"):
        desk.run(request)
    assert [played[:2] for played in desk.fleet.played] == [("websites.yml", True)]


def invented(folder: Path, real: Desk, *, key: bool = False) -> Desk:
    """A register under the real one's name, whose actors and approvals are invented: root has that one's `key`, and
    no official's."""
    secret, forger = people.secret, Desk(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(actors, "of_first", lambda _: real.office.people().register.rsplit("/", 1)[1])
        patched.setattr(shape, "_named", lambda _: ())
        if key:
            patched.setattr(people, "secret", lambda name: secret(f"false {name}"))
            (folder / "home/keys").mkdir(parents=True, mode=0o700)
            shutil.copy2(real.office.register.key_file, folder / "home/keys/prepared.key")
        forger.approved()
    assert forger.office.people().register == real.office.people().register
    return forger


@pytest.fixture
def forger(tmp_path: Path, file_desk: Desk) -> Desk:
    (tmp_path / "forger").mkdir()
    return invented(tmp_path / "forger", file_desk)


def rotation(forger: Desk, key: str, **fields: Any) -> str:
    """The forger's own officials let the real register's key follow on theirs, which announces it."""
    register, mine = forger.office.people().register, forger.office.register.notary
    number, last = forger.office.register.head()
    data = {
        "seen": {"entry": number, "hash": last},
        "actors": {}, "retired": [], "previous": forger.office.people().last, "checkpoint_key": key,
        "announced": mine.sign(announcement(register, key)),
    }  # fmt: skip
    body = after(insider.texts(forger), kind="actors", outcome="rotate", data=data, **fields)
    said = statement(body, register)
    signatures = [{"by": who, "sig": people.sign(who, said)} for who in ("kadis", "kasubbag")]
    return canonical({**body, "signatures": signatures})


def test_invented_export_is_not_the_real_registers(file_desk: Desk, forger: Desk, tmp_path: Path) -> None:
    """Its last checkpoint is the forger's, and only an entry behind that names the key which the auditor has."""
    key, folder = file_desk.office.people().checkpoint_key, tmp_path / "export"
    export.export(forger.office, folder, documents=True)
    with (folder / "register.jsonl").open("a") as file:
        file.write(f"{rotation(forger, key)}\n")
    code, lines = outsider.check(folder, key)
    assert code == 1 and any(line.startswith("entry 10: no checkpoint signs it") for line in lines), lines


@pytest.mark.parametrize("what", ["export", "receipt"])
def test_key_of_the_checkpoints_makes_no_other_first_actors(file_desk: Desk, tmp_path: Path, what: str) -> None:
    """Root has it, and the agency compares nothing else: officials of root's own would approve whatever it likes."""
    (tmp_path / "forger").mkdir()
    request, forger, path = file_desk.approved(), invented(tmp_path / "forger", file_desk, key=True), tmp_path / what
    key = forger.office.people().checkpoint_key
    assert key == file_desk.office.people().checkpoint_key
    for desk, expected in ((file_desk, 0), (forger, 1)):
        if what == "export":
            export.export(desk.office, path, documents=True)
        else:
            path.write_text(json.dumps(desk.receipt(request)))
        code, lines = outsider.check(path, key)
        assert code == expected, lines
        if path.is_dir():
            shutil.rmtree(path)
    assert lines[0].startswith("entry 1: the register is called ") and "other first actors" in lines[0]


def test_invented_receipt_is_not_the_real_registers(file_desk: Desk, forger: Desk, tmp_path: Path) -> None:
    """The tree ends before the place that the entry claims, so the key of its checkpoint stays the forger's."""
    key, size = file_desk.office.people().checkpoint_key, 16
    texts = [*insider.texts(forger), rotation(forger, key, sequence=26)]
    leaves = [leaf_hash(text) for text in (*texts, *map(str, range(size - len(texts))))]

    def node(level: int, place: int) -> bytes:
        return node_hash(node(level - 1, 2 * place), node(level - 1, 2 * place + 1)) if level else leaves[place]

    mine: Notary = forger.office.register.notary
    point = Checkpoint(mine.name, size, merkle.root(size, node))
    proofs = [[base64.b64encode(part).decode() for part in merkle.inclusion(n, size, node)] for n in range(len(texts))]
    items = [{"text": text, "proof": proof} for text, proof in zip(texts, proofs, strict=True)]
    receipt = {"format": "sop-receipt-1", "request": "R-2026-0001", "key": mine.verifier,
               "checkpoint": f"{point.body}\n{mine.sign(point.body)}", "entries": items, "personal": {}}  # fmt: skip
    (tmp_path / "receipt").write_text(json.dumps(receipt))
    code, lines = outsider.check(tmp_path / "receipt", key)
    assert code == 1 and "entry 26: it is not at its place in the tree that the checkpoint signs" in lines, lines


def test_checkpoint_outside_is_never_followed_by_an_earlier_one(desk: Desk) -> None:
    """Of two writers the first may come second to the file; the entry of the other could then be cut off unseen."""
    desk.approved()
    file, register = desk.office.register.checkpoint_file, desk.office.register
    last = file.read_text()
    earlier = next(note for note in register.checkpoints() if note != last)
    notary.keep(file, earlier)
    assert file.read_text() == last
    file.write_text(earlier)
    notary.keep(file, last)
    assert file.read_text() == last


def test_old_checkpoint_that_cannot_be_read_hides_no_finding(desk: Desk) -> None:
    desk.approved()
    desk.office.register.db.execute(CHECKPOINTS.update().where(CHECKPOINTS.c.size == 3).values(note="x"))
    insider.change(desk, "UPDATE entries SET entry = replace(entry, 'Sekretariat', 'Pribadi') WHERE sequence = 2")
    assert verified(desk)[-1].startswith("rely on nothing from entry 2 on")


def test_register_is_verified_as_of_one_moment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that come while it is read are no entries without a checkpoint."""
    desk.approved()
    register, other = desk.office.register, desk.register()
    compare = register.store.comparing

    def meanwhile(size: int) -> Any:
        other.append("record")
        return compare(size)

    monkeypatch.setattr(register.store, "comparing", meanwhile)
    assert trust.examine(desk.office).lines() == []
    assert other.head()[0] == register.head()[0] == 10
    other.close()


def test_rule_of_postgresql_is_found_wherever_it_is(shared_desk: Desk) -> None:
    shared_desk.approved()
    rule = "CREATE RULE hidden AS ON UPDATE TO alembic_version DO INSTEAD NOTHING"
    shared_desk.office.register.db.exec_driver_sql(rule)
    assert "not as they were made" in verified(shared_desk)[0]


def test_writer_is_refused_where_the_revision_has_another_name(shared_desk: Desk) -> None:
    """A query that failed would end the transaction, and with it the words of the refusal."""
    shared_desk.approved()
    shared_desk.office.register.db.exec_driver_sql("ALTER TABLE alembic_version RENAME version_num TO other")
    with pytest.raises(Refused, match="alembic_version names no revision"):
        shared_desk.office.register.append("record")


def test_who_stands_in_as_nothing_is_no_second_kadis(desk: Desk) -> None:
    """Neither a holder, who shows a decree, nor a stand-in, who has a last day."""
    with pytest.raises(Refused, match="kadis2"):
        desk.enroll("kadis2", "kadis", decree=None, stands_in="")


def test_time_in_another_spelling_is_refused(desk: Desk) -> None:
    """Times are compared as text: by its offset, an emergency would last a day longer than it says."""
    request = desk.submit()
    desk.take(request, "agenda")
    until = f"{desk.clock() + timedelta(hours=30):%Y-%m-%dT%H:%M:%S}+23:59"
    with pytest.raises(Refused, match="is no time as YYYY-MM-DDTHH:MM:SSZ"):
        emergency.declare(desk.office, request, until, ["kadis", "kasubbag"], desk.sign, "banjir")
    assert trust.examine(desk.office).lines() == []


@pytest.mark.parametrize("time", ["2026-11-31T00:00:00Z", "2026-11-02T99:99:99Z"])
def test_time_that_is_none_is_found(file_desk: Desk, tmp_path: Path, time: str) -> None:
    """Nothing could be written after it, and nobody would have been told why."""
    file_desk.submit()

    def change(bodies: list[Body]) -> list[Body]:
        return [*bodies[:-1], {**bodies[-1], "time": time}]

    insider.rewrite(file_desk, change, key=True)
    told = f"entry 2: {time!r} is no time as YYYY-MM-DDTHH:MM:SSZ"
    assert told in trust.examine(file_desk.office).lines()
    export.export(file_desk.office.reading(list[str]().append), tmp_path / "export", documents=True)
    code, said = verify(tmp_path / "export/verify.py", tmp_path / "export")
    assert code == 1 and told in said


@pytest.mark.parametrize("time", [
    "2026-11-31T00:00:00Z", "2027-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-00T00:00:00Z",
    "2026-11-02T24:00:00Z", "2026-11-02T23:60:00Z", "2026-11-02T23:59:60Z", "0000-01-01T00:00:00Z"])
def test_no_time_passes_in_what_an_entry_tells(time: str) -> None:
    good = "2028-02-29T23:59:59Z"
    assert misspelled({"time": good, "data": {"until": good, "actors": {"plh": {"until": None}}}}) == []
    for data in ({"until": time}, {"report_by": time}, {"freeze": {"from": good, "until": time}},
                 {"actors": {"plh": {"until": time}}}):
        assert misspelled({"time": good, "data": data}) == [repr(time)]
    assert misspelled({"time": time, "data": {}}) == [repr(time)]

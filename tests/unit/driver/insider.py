"""An administrator who turns against the register: writes to its file past its triggers, and cleans up well."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from driver import people
from driver.desk import Desk
from sop_driver import merkle, notary
from sop_driver.note import Checkpoint
from sop_driver.proof import canonical, leaf_hash, node_hash
from sop_driver.schema import CHECKPOINTS, ENTRIES, NODES, statements
from sop_driver.statement import statement

Body = dict[str, Any]


@contextlib.contextmanager
def unguarded(desk: Desk) -> Iterator[Connection]:
    """The database without its triggers, which are made anew in the end, so that it looks as it was made."""
    with desk.office.register.store.engine.connect() as db:
        file = db.dialect.name == "sqlite"
        made = [text for text in statements("sqlite", "0001") if text.startswith("CREATE TRIGGER")]
        dropped = [f"DROP TRIGGER {text.split()[2]}" for text in made]
        for statement in dropped if file else ["ALTER TABLE entries DISABLE TRIGGER USER"]:
            db.exec_driver_sql(statement)
        yield db
        for statement in made if file else ["ALTER TABLE entries ENABLE TRIGGER USER"]:
            db.exec_driver_sql(statement)


def change(desk: Desk, statements: str) -> None:
    """Change the database past its triggers."""
    with unguarded(desk) as db:
        for statement in statements.split(";"):
            db.exec_driver_sql(statement)


def overwrite(desk: Desk, old: bytes, new: bytes) -> None:
    """Change SQLite's file past the database, whose indexes find everything as before."""
    desk.office.register.db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    desk.office.register.close()
    whole = Path(desk.place).read_bytes()
    assert whole.count(old) == 1
    Path(desk.place).write_bytes(whole.replace(old, new))


def damage(desk: Desk, octets: bytes) -> bytes:
    """Ruin the page of SQLite's file that holds these octets. Gives it as it was."""
    desk.office.register.db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = desk.office.register.db.exec_driver_sql("PRAGMA page_size").one()
    desk.office.register.close()
    whole = Path(desk.place).read_bytes()
    start = whole.index(octets) // size * size
    Path(desk.place).write_bytes(whole[:start] + bytes(8) + whole[start + 8 :])
    return whole[start : start + size]


def texts(desk: Desk) -> list[str]:
    return list(desk.office.register.texts())


class Accomplices:
    """Officials and agencies who sign whatever a changed driver gives them, each entry for its place."""

    def __init__(self, register: str) -> None:
        self.register = register
        self.chains: dict[str, str] = {}
        self.places: dict[int, tuple[int, str]] = {}  # where entries stood → where they stand

    def sign(self, body: Body, number: int, prev: str) -> Body:
        data = {**body["data"]}
        new = data.get("replaces", body["request"]) is None
        chain = f"of {body['actor']}" if new else "actors" if body["kind"] == "actors" else str(body["request"])
        if "previous" in data:
            data["previous"] = self.chains.get(chain)
        if "seen" in data:
            entry, digest = self.places.get(data["seen"]["entry"], (number - 1, prev))
            data["seen"] = {"entry": entry, "hash": digest}
        if body["kind"] == "void" and data["entry"] in self.places:
            data["entry"], data["hash"] = self.places[data["entry"]]
        if body["kind"] == "emergency" and data.get("emergency") in self.places:
            data["emergency"] = self.places[data["emergency"]][0]
        by = [data.get("ink", body["actor"])] if body["kind"] in ("step", "void") else [
            item["by"] for item in body["signatures"]]
        signed = {**body, "data": data, "sequence": number, "prev": prev}
        said = statement(signed, self.register)
        signed["signatures"] = [{"by": name, "sig": people.sign(name, said)} for name in by]
        digest = leaf_hash(canonical(signed)).hex()
        self.places[body["sequence"]] = number, digest
        if "previous" in data:
            self.chains[chain] = digest
            self.chains |= {str(body["request"]): digest} if new else {}
            self.chains |= {f"of {body['actor']}": digest} if "replaces" in data else {}
        return signed


def rewrite(desk: Desk, change_all: Callable[[list[Body]], list[Body]], *, key: bool = False,
            signed: bool = False) -> None:
    """Write the register anew: every place, predecessor, hash and node right.

    With the key, its checkpoints as well. Where all sign, every signature is good, too.
    """
    bodies = change_all([json.loads(text) for text in texts(desk)])
    rows, prev, all_ = list[dict[str, Any]](), "0" * 64, Accomplices(desk.office.people().register)
    for number, body in enumerate(bodies, 1):
        text = canonical(all_.sign(body, number, prev) if signed else {**body, "sequence": number, "prev": prev})
        prev = leaf_hash(text).hex()
        rows.append({"sequence": number, "entry": text, "hash": prev})
    levels = [[bytes.fromhex(row["hash"]) for row in rows]]
    while len(last := levels[-1]) > 1:
        levels.append([node_hash(*last[n : n + 2]) for n in range(0, len(last) - 1, 2)])
    places = [{"level": level, "position": n, "hash": digest} for level, row in enumerate(levels) if level
              for n, digest in enumerate(row)]
    with unguarded(desk) as db:
        db.execute(delete(ENTRIES))
        db.execute(delete(NODES))
        db.execute(insert(ENTRIES), rows)
        if places:
            db.execute(insert(NODES), places)
        if key:
            mine = notary.load(desk.office.register.key_file)
            point = Checkpoint(mine.name, len(rows), merkle.root(len(rows), lambda level, n: levels[level][n]))
            note = f"{point.body}\n{mine.sign(point.body)}"
            db.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.size >= len(rows)))
            db.execute(insert(CHECKPOINTS), {"size": len(rows), "note": note})
            desk.office.register.checkpoint_file.write_text(note)


def keep(desk: Desk) -> dict[str, list[Any]]:
    """All that the database holds, as somebody keeps it aside."""
    db = desk.office.register.db
    return {table.name: db.execute(select(*list(table.c)[:3])).mappings().all()
            for table in (ENTRIES, NODES, CHECKPOINTS)}


def bring_back(desk: Desk, kept: dict[str, list[Any]]) -> None:
    """Let the database be as it was."""
    with unguarded(desk) as db:
        for table in (ENTRIES, NODES, CHECKPOINTS):
            db.execute(delete(table))
            if kept[table.name]:
                db.execute(insert(table), [dict(row) for row in kept[table.name]])


def take_copy(folder: Path) -> dict[Path, bytes]:
    """A home's files but the database, as somebody keeps them aside."""
    return {path: path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith("register.db")}

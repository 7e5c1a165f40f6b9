"""An administrator who turns against the register: writes to its file past its triggers, and cleans up well."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from driver.desk import Desk
from sop_driver import merkle, notary
from sop_driver.proof import Checkpoint, canonical, leaf_hash, node_hash
from sop_driver.register import SCHEMA

Body = dict[str, Any]


def triggers() -> str:
    return SCHEMA[SCHEMA.index("CREATE TRIGGER") :]


def change(desk: Desk, statement: str) -> None:
    """Change the file and make the triggers anew, so that it looks as it was made."""
    db = sqlite3.connect(desk.office.home.register)
    db.executescript("DROP TRIGGER no_change; DROP TRIGGER no_removal; DROP TRIGGER no_gap;")
    db.executescript(f"{statement};{triggers()}")
    db.close()


def texts(desk: Desk) -> list[str]:
    return list(desk.office.register.texts())


def rewrite(desk: Desk, change_all: Callable[[list[Body]], list[Body]], *, key: bool = False) -> None:
    """Write the register anew: every place, predecessor, hash and node right. With the key, its checkpoints as well."""
    bodies = change_all([json.loads(text) for text in texts(desk)])
    db = sqlite3.connect(desk.office.home.register)
    db.executescript("DROP TRIGGER no_change; DROP TRIGGER no_removal; DROP TRIGGER no_gap;")
    db.executescript("DELETE FROM entries; DELETE FROM nodes;")
    leaves: list[bytes] = []
    prev = "0" * 64
    for number, body in enumerate(bodies, 1):
        text = canonical({**body, "sequence": number, "prev": prev})
        leaves.append(leaf_hash(text))
        prev = leaves[-1].hex()
        db.execute("INSERT INTO entries (sequence, entry, hash) VALUES (?, ?, ?)", (number, text, prev))
    level, row = 0, leaves
    while len(row) > 1:
        level, row = level + 1, [node_hash(*row[n : n + 2]) for n in range(0, len(row) - 1, 2)]
        db.executemany("INSERT INTO nodes VALUES (?, ?, ?)", [(level, n, digest) for n, digest in enumerate(row)])
    db.commit()
    if key:
        mine = notary.load(desk.office.register.key_file)
        root = merkle.root(len(leaves), desk.office.register.node)
        point = Checkpoint(mine.name, len(leaves), root)
        note = f"{point.body}\n{mine.sign(point.body)}"
        db.execute("DELETE FROM checkpoints WHERE size >= ?", (len(leaves),))
        db.execute("INSERT INTO checkpoints VALUES (?, ?)", (len(leaves), note))
        db.commit()
        desk.office.register.checkpoint_file.write_text(note)
    db.executescript(triggers())
    db.close()


def take_copy(folder: Path) -> dict[Path, bytes]:
    """All files of a home, as somebody keeps them aside."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

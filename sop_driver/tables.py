"""Whether the register's tables tell, beside its entries' words, only what follows from these."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select

from sop_driver.audit import UNREADABLE
from sop_driver.proof import Tree
from sop_driver.register import Register
from sop_driver.schema import ENTRIES, NODES

TOLD = ("kind", "request", "brought_by", "agenda_year", "agenda_number")  # by which entries are looked for


class Tables(Tree):
    """The tree of all entries, each held against its row and its nodes. `fault` is the first that says otherwise.

    Of a file of SQLite the columns are made from the words as they are read, and `comparing` sees to the indexes.
    PostgreSQL keeps them, and its superuser can write to them what gates then go by.
    """

    def __init__(self, register: Register, nodes: bool = True) -> None:
        super().__init__()
        self.register, self.nodes = register, nodes  # without nodes it takes half the time
        self.fault: str | None = None
        self._hash = ""  # beside the entry that is read now
        self._nodes: dict[int, Iterator[tuple[int, bytes]]] = {}

    def texts(self) -> Iterator[str]:
        """Entries in their order, to the end and once; whoever reads them adds each to this tree."""
        shared = self.register.store.shared
        columns = [ENTRIES.c[name] for name in ("sequence", "entry", "hash", *(TOLD if shared else ()))]
        for number, text, digest, *told in self.register.portions(columns):
            self._hash = digest
            if shared and tuple(told) != _follows(text):
                self._found(f"the columns {', '.join(TOLD)} of entry {number} do not say what its words say")
            yield text
        # Of n leaves, as many subtrees are complete as n has more than its number has ones.
        inner = self.register.db.execute(select(func.count()).select_from(NODES)).scalar_one() if self.nodes else 0
        if self.nodes and inner != self.size - self.size.bit_count():
            self._found(f"its tree has {inner} inner nodes, which is not what {self.size} entries have")

    def add(self, leaf: bytes) -> list[bytes]:
        made = super().add(leaf)
        if self._hash != leaf.hex():
            self._found(f"the hash beside entry {self.size} is not its words'")
        for level, node in enumerate(made if self.nodes else (), 1):
            self._compare(level, node)
        return made

    def _compare(self, level: int, node: bytes) -> None:
        if level not in self._nodes:
            self._nodes[level] = self.register.portions((NODES.c.position, NODES.c.hash), [NODES.c.level == level])
        wanted = (self.size - 1 >> level, node)
        if (found := next(self._nodes[level], None)) is None or tuple(found) != wanted:
            self._found(f"the tree's node {wanted[0]} of level {level} is not that of its entries")

    def _found(self, what: str) -> None:
        self.fault = self.fault or f"{what}: the tables beside the entries were changed past `sop`"


def _follows(text: str) -> tuple[Any, ...] | None:
    """What the columns of TOLD have to hold; None, which is never there, for what is no entry."""
    try:
        body = json.loads(text)
        data = body["data"]
        agenda = data.get("agenda") or {}
        by = body["actor"] if "replaces" in data else None
        return body["kind"], body["request"], by, agenda.get("year"), agenda.get("number")
    except UNREADABLE:
        return None

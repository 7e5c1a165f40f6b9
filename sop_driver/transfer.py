"""Copy a register from one database to another, every octet and hash as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import ColumnClause, Select, TableClause, func, insert, select

from sop_driver.errors import Failed, Usage, refuse
from sop_driver.proof import Tree, leaf_hash
from sop_driver.register import BATCH, Register
from sop_driver.schema import CHECKPOINTS, ENTRIES, NODES
from sop_driver.store import located

GATE = "a copy"


def copy(source: str, target: str, folder: Path) -> tuple[int, str]:
    """Copy all of a register into an empty place. Gives its length and the tree's root, found again in the copy.

    Both may be a path or a URL; `folder` is the driver's home, whose key and checkpoint stay good for the copy. Nobody
    writes to the source meanwhile. Raises Refused where the source cannot be relied on or the target is not empty.
    """
    where = located(source, "what is copied")
    if isinstance(where, Path) and not where.exists():
        raise Usage("no register is there to copy", str(where), "name its file, or postgresql+psycopg://USER@HOST/DATABASE")
    old, new = Register(source, folder=folder), Register(target, folder=folder)
    try:
        if old.path == new.path:
            raise Usage("both are the same place", new.path, "name another target")
        with old.writing():
            if started := old.open_run():
                refuse(f"{started.data['run']} has no end yet ({started})", GATE,
                       "wait until it ends; after a crash the next `sop run` puts the servers back and ends it")
            new.store.begin()
            for table in (ENTRIES, NODES, CHECKPOINTS):
                if new.db.execute(select(func.count()).select_from(table)).scalar():
                    refuse(f"{new.path} is not empty", GATE, "name a new file or an empty database")
            _rows(old, new)
            size, root = old.head()[0], old.tree_of(old.head()[0]).root()
            tree = Tree()
            for text in new.texts():
                tree.add(leaf_hash(text))
            copied = tree.size, tree.root(), new.tree_of(size).root(), new.checkpoint()
            if copied != (size, root, root, old.checkpoint()):
                raise Failed("the copy is not what was copied", new.path, "nothing was kept; run it again")
            new.store.commit()
        return size, root.hex()
    except BaseException:
        new.store.rollback()
        raise
    finally:
        old.close()
        new.close()


def _rows(old: Register, new: Register) -> None:
    for table, key, first in ((ENTRIES, ENTRIES.c.sequence, 1), (CHECKPOINTS, CHECKPOINTS.c.size, 1)):
        _portions(old, new, table, select(*table.c[:3]), key, first)
    for level in old.db.execute(select(NODES.c.level).distinct().order_by(NODES.c.level)).scalars().all():
        _portions(old, new, NODES, select(NODES).where(NODES.c.level == level), NODES.c.position, 0)


def _portions(old: Register, new: Register, table: TableClause, query: Select[Any], key: ColumnClause[int],
              first: int) -> None:
    while rows := old.db.execute(query.where(key >= first).order_by(key).limit(BATCH)).mappings().all():
        new.db.execute(insert(table), [dict(row) for row in rows])
        first = rows[-1][key.name] + 1

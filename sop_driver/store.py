"""Where the register is kept: a file of SQLite or a database of PostgreSQL, made, migrated, locked and told apart."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path

from sqlalchemy import URL, select

from sop_driver import explain, schema
from sop_driver.config import write_atomic
from sop_driver.connection import begin, engine
from sop_driver.errors import Failed, SopError, Usage, refuse
from sop_driver.note import note_in
from sop_driver.proof import HASH, Tree, leaf_hash
from sop_driver.schema import CHECKPOINTS, ENTRIES
from sop_driver.statement import digest_fault

APPLICATION_ID = 0x534F5002  # "SOP", 2: tells our file from any other SQLite file
FEW = 500  # places of the tree that one query asks for
LONG = 10_000  # entries that take longer to be compared with their indexes than a process to start
COMPARE = """import sqlite3, sys
print(sqlite3.connect(sys.argv[1], timeout=30).execute("PRAGMA integrity_check(1)").fetchone()[0])"""
PLACES = """WITH wanted (level, position) AS (VALUES {places}) SELECT nodes.level, nodes.position, nodes.hash
  FROM wanted JOIN nodes ON nodes.level = wanted.level AND nodes.position = wanted.position"""


def located(text: str, where: str) -> Path | URL:
    """The place that a path or a URL names. Raises Usage."""
    if "://" not in text:
        return Path(text).resolve()
    url = explain.url(text, where)
    if url.get_backend_name() == "sqlite" and url.database:
        return Path(url.database).resolve()
    if url.drivername not in ("postgresql", "postgresql+psycopg") or not url.database:
        raise Usage(f"{url.drivername} with the database {url.database!r} is no place for a register", where,
                    "write postgresql+psycopg://USER@HOST/DATABASE, or the path of a file")
    if url.password is not None:
        raise Usage("this URL holds a password", where, "leave it out and write it into ~/.pgpass, which libpq reads")
    return url.set(drivername="postgresql+psycopg")


class Store:
    """One connection to a register's database, which is made where there is none.

    Raises Usage, everything untouched, where something else is there. Whatever the database answers with is raised as
    Failed.
    """

    def __init__(self, place: Path | URL, folder: Path) -> None:
        self.place, self.folder, self.name = place, folder, str(place)
        self.writing = self.held = self.committed = False
        if isinstance(place, Path):
            if not place.exists():
                self._make_file(place)
            self._ours(place)
        self.engine = engine(place, lambda: self.committed)
        self.db = self.engine.connect()
        try:
            self._ready()
        except BaseException:
            self.close()
            raise

    @property
    def shared(self) -> bool:
        """Whether it is a server's database, which other machines reach too."""
        return not isinstance(self.place, Path)

    def close(self) -> None:
        self.db.close()

    def nodes(self, wanted: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """The roots of complete subtrees of the Merkle tree by (level, position); zeros where there is none."""
        found = dict.fromkeys(wanted, none := bytes(HASH))  # which is no hash's, and leads nowhere
        if inner := ", ".join(f"({level}, {position})" for level, position in found if level):
            for level, position, digest in self.db.exec_driver_sql(PLACES.format(places=inner)):
                found[level, position] = digest if isinstance(digest, bytes) and len(digest) == HASH else none
        if leaves := [position + 1 for level, position in found if not level]:
            query = select(ENTRIES.c.sequence, ENTRIES.c.hash).where(ENTRIES.c.sequence.in_(leaves))
            found |= {(0, number - 1): bytes.fromhex(digest) for number, digest in self.db.execute(query)
                      if not digest_fault(digest)}
        return found

    def keeps(self, tree: Tree, root: bytes, note: str) -> bool:
        """Whether what was written after a tree is there, read once more: a trigger may drop or change it unasked."""
        made, found = dict[tuple[int, int], bytes](), True
        query = select(ENTRIES.c.sequence, ENTRIES.c.entry).where(ENTRIES.c.sequence > tree.size)
        for number, text in self.db.execute(query.order_by(ENTRIES.c.sequence)).all():
            made[0, number - 1] = leaf_hash(text)
            made |= {(level, number - 1 >> level): digest for level, digest in enumerate(tree.add(leaf_hash(text)), 1)}
            if number % FEW == 0:
                found, made = found and self.nodes(made) == made, {}
        last = select(CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.size.desc()).limit(1)
        return (found and self.nodes(made) == made and tree.root() == root
                and self.db.execute(last).scalar() == note)

    # Every connection is in autocommit, so that each read sees what others have written; `begin` alone begins.
    def begin(self) -> None:
        """Take the write lock; what is read from here on holds until `commit`."""
        if self.db.invalidated:  # by a read
            self.db.rollback()
        for first in (True, False):
            try:
                begin(self.db)
                break
            except SopError:
                anew = first and self.db.invalidated  # the server was started anew since it was last asked
                self.db.rollback()
                if not anew:
                    raise
        self.writing = True

    def commit(self) -> None:
        try:
            self.db.exec_driver_sql("COMMIT")
        except KeyboardInterrupt:  # which may have come while that was done
            self.committed = True
            raise
        self.writing, self.committed = False, True

    def rollback(self) -> None:
        """Take back what was not committed, whatever state the connection is in."""
        self.writing = False
        self.db.rollback()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within it all that is read is of one moment, whatever others write meanwhile."""
        if self.writing or self.held:
            yield
            return
        self.held = True
        try:
            if self.shared:
                self.db.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self.db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")  # it keeps out nobody
            else:
                self.db.exec_driver_sql("BEGIN")
            yield
        finally:
            self.held = False
            self.db.rollback()

    def revision_fault(self) -> str | None:
        """What is wrong with the revision that the register names, once what is older was brought to this sop's."""
        if (found := schema.revision(self.db)) == schema.HEAD:
            return None
        newer = "a newer sop brought it there, and is to be used, or " if (found or "") > schema.HEAD else ""
        return (f"its table alembic_version names {found or 'no revision'}, where {schema.HEAD} is due: "
                f"{newer}somebody changed that")

    def schema_fault(self) -> str | None:
        if fault := self.revision_fault():
            return fault
        found = schema.fingerprint(self.db)
        return None if found == self._expected else "its tables, indexes or triggers are not as they were made"

    @contextlib.contextmanager
    def comparing(self, entries: int) -> Iterator[Callable[[], str | None]]:
        """Whether an index leaves out what its table holds: reading by it would miss entries. It reads everything.

        Of PostgreSQL's indexes its superuser alone could make such ones, and only the extension amcheck compares them.
        With many entries it is done by another process, while the block does other work.
        """
        if self.shared:
            yield lambda: None
        elif entries < LONG:
            yield self._index_fault
        else:
            command = [sys.executable, "-I", "-c", COMPARE, str(self.place)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as beside:
                yield lambda: _index_fault(beside.communicate()[0])

    def _index_fault(self) -> str | None:
        try:
            return _index_fault(str(self.db.exec_driver_sql("PRAGMA integrity_check(1)").scalar()))
        except Failed:
            return _index_fault("")

    @cached_property
    def _expected(self) -> str:
        """The fingerprint of tables as this sop makes them.

        A server's is remembered outside of the database, where whoever changes tables in it does not reach.
        """
        if not self.shared:
            return schema.made(self.engine)
        kept = self.folder / "register.schema"
        version = self.db.exec_driver_sql("SHOW server_version_num").scalar_one()
        key = f"PostgreSQL {version}, {schema.HEAD} {schema.ASKED}"
        lines = note_in(kept).splitlines()
        if lines[:1] == [key] and len(lines) == 2:
            return lines[1]
        expected = schema.made(self.engine)
        write_atomic(kept, f"{key}\n{expected}\n".encode())
        return expected

    def _ours(self, path: Path) -> None:
        # As immutable, or SQLite could already write to a stranger's file; so it sees no journal, which may hold what
        # a full disk or a kill kept from the file. Not by open(): closing that ends this process's other locks on it.
        try:
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
                db.execute("PRAGMA writable_schema = ON")  # else it must be as long as its first page says
                (found,) = db.execute("PRAGMA application_id").fetchone()
        except sqlite3.OperationalError as error:
            raise Failed(f"it cannot be opened: {error}", str(path),
                         f"{explain.MENDS['SQLITE_CANTOPEN']}; {explain.NOTHING}") from error
        except sqlite3.DatabaseError:
            found = 0
        if found != APPLICATION_ID:
            raise Usage("this file is not a register of sop, and was left as it is", str(path),
                        "name another home by --home or SOP_HOME; where this was one, bring it back from its backup")

    @staticmethod
    def _make_file(path: Path) -> None:
        """Build the file aside and give it its name at once, so that nobody ever opens half a register."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".register.")
        os.close(handle)
        try:
            with engine(Path(name)).connect() as db:
                db.exec_driver_sql("BEGIN IMMEDIATE")
                schema.migrate(db)
                db.exec_driver_sql("COMMIT")
                db.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                db.exec_driver_sql("PRAGMA journal_mode = WAL")
            with contextlib.suppress(FileExistsError):  # another process was first: its file is the register
                path.hardlink_to(name)
        finally:
            Path(name).unlink()

    def _ready(self) -> None:
        """Bring an older register, or an empty database, to what this sop writes.

        One that is not as the revision that it names has it stays as it is: it is read, and takes nothing more.
        """
        while (found := schema.revision(self.db)) is not None and not self._is_of(found or schema.FIRST):
            if schema.revision(self.db) == found:  # nor has another driver brought it further meanwhile
                return
        if found == schema.HEAD:
            return
        if found is None and self.shared:
            self._fit()
        lock = ("BEGIN IMMEDIATE",) if not self.shared else (
            "BEGIN ISOLATION LEVEL READ COMMITTED", f"SELECT pg_advisory_xact_lock({APPLICATION_ID})")
        for statement in lock:
            self.db.exec_driver_sql(statement)
        try:
            if schema.revision(self.db) == found:  # else another driver was first
                schema.migrate(self.db)
            self.db.exec_driver_sql("COMMIT")
        except BaseException:
            self.db.rollback()
            raise

    def _is_of(self, revision: str) -> bool:
        """Whether the tables are a revision's; those of the last one are compared when they are written to."""
        return revision == schema.HEAD or (
            revision in schema.REVISIONS and schema.fingerprint(self.db) == schema.made(self.engine, revision))

    def _fit(self) -> None:
        """Raises Refused for a database that cannot hold a register as it is written."""
        version = self.db.exec_driver_sql("SHOW server_version_num").scalar_one()
        encoding = self.db.exec_driver_sql("SHOW server_encoding").scalar_one()
        if int(version) < 130000 or encoding != "UTF8":
            refuse(f"{self.name} is PostgreSQL {int(version) // 10000} with the encoding {encoding}", "the register",
                   "use PostgreSQL 13 or newer; createdb --encoding=UTF8 --template=template0")


def _index_fault(found: str) -> str | None:
    """What SQLite said to it for people; nothing, where it ended otherwise."""
    told = " ".join(found.split()) or "its entries cannot be compared with its indexes"
    return None if told == "ok" else f"its file does not hold together: {told}"

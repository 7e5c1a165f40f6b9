"""The register: an append-only list of everything that was done, a Merkle tree over it, and a signature on its root."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from sop_driver import merkle, notary
from sop_driver.audit import ORIGIN
from sop_driver.config import write_atomic
from sop_driver.errors import Failed, Usage, refuse
from sop_driver.notary import Notary
from sop_driver.proof import Checkpoint, canonical, leaf_hash, node_hash, open_note

APPLICATION_ID = 0x534F5002  # "SOP", 2: tells our file from any other SQLite file
SLACK = timedelta(seconds=60)  # by which time servers put a clock back
SCHEMA = """
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY,
  entry TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  kind TEXT GENERATED ALWAYS AS (json_extract(entry, '$.kind')) VIRTUAL,
  request TEXT GENERATED ALWAYS AS (json_extract(entry, '$.request')) VIRTUAL,
  brought_by TEXT GENERATED ALWAYS AS (
    CASE WHEN json_type(entry, '$.data.replaces') IS NOT NULL THEN json_extract(entry, '$.actor') END) VIRTUAL,
  agenda_year INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.year')) VIRTUAL,
  agenda_number INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.number')) VIRTUAL);
CREATE INDEX entries_kind ON entries (kind);
CREATE INDEX entries_request ON entries (request);
CREATE INDEX entries_brought_by ON entries (brought_by);
CREATE UNIQUE INDEX entries_agenda ON entries (agenda_year, agenda_number);
CREATE TABLE nodes (level INTEGER, position INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, position)) WITHOUT ROWID;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TRIGGER no_gap BEFORE INSERT ON entries
  WHEN NEW.sequence != (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
  BEGIN SELECT RAISE(ABORT, 'the register has no gaps'); END;
CREATE TRIGGER no_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
"""  # what changes nodes or checkpoints instead is found by the next writer: they no longer fit the entries


@dataclass(frozen=True)
class Entry:
    """One line of the register; `prev` is the hash of the entry before it."""

    sequence: int
    time: str
    kind: str  # step | emergency | void | run | record | actors
    prev: str
    actor: str | None = None
    role: str | None = None
    request: str | None = None
    step: str | None = None
    outcome: str | None = None
    evidence: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    signatures: list[dict[str, str]] = field(default_factory=list)

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.time)

    def __str__(self) -> str:
        return f"entry {self.sequence}"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Register:
    """Opens the file at `path`, or makes it. Raises Usage, the file untouched, where it is not a register of ours.

    Beside it lie `checkpoint`, the last signed one, and `keys/checkpoint.key`, which the first actors' ceremony makes.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self.now = now
        self.checkpoint_file = path.with_name("checkpoint")
        self.key_file = path.with_name("keys") / "checkpoint.key"
        self.since: Callable[[], str] = lambda: "`sop register verify` says since when"
        if not path.exists():
            _make(path)
        with path.open("rb") as file:  # by its octets: opening a stranger's file with SQLite can already write to it
            head = file.read(72)
        if head[:15] != b"SQLite format 3" or int.from_bytes(head[68:72], "big") != APPLICATION_ID:
            raise Usage("this file is not a register of sop, and was left as it is", str(path),
                        "name another home by --home or SOP_HOME, or move the file away")
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self.db.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        self.db.close()

    @cached_property
    def notary(self) -> Notary:
        """The key that signs checkpoints now: the last that the entries bring; any of ours where it is not here."""
        held = notary.held(self.key_file.parent)
        return held.get(self.key_at(self.head()[0])) or next(iter(held.values()), None) or notary.load(self.key_file)

    def key_at(self, size: int) -> str:
        """The key that signs the checkpoint of so many entries, as the entries have it."""
        found = ""
        for text in self.texts(kind="actors"):
            with contextlib.suppress(ValueError, KeyError, TypeError):  # `verify` says what cannot be read
                entry = json.loads(text)
                if entry["sequence"] <= size:
                    found = entry["data"]["checkpoint_key"]
        return found

    def entries(self, kind: str | None = None, request: str | None = None) -> Iterator[Entry]:
        """Entries in their order, of one kind or one request if given."""
        for text in self.texts(kind, request):
            try:
                yield Entry(**json.loads(text))
            except (ValueError, TypeError) as error:
                raise Failed(f"an entry cannot be read: {error}", str(self.path),
                             "`sop register verify` names it; bring the register back from its backup") from error

    def texts(self, kind: str | None = None, request: str | None = None) -> Iterator[str]:
        """Entries as they are written and hashed."""
        query = "SELECT entry FROM entries ORDER BY sequence"
        if request is not None:  # a query of its own each: with a general one SQLite would read every entry
            query = "SELECT entry FROM entries WHERE request = ?2 AND (?1 IS NULL OR kind = ?1) ORDER BY sequence"
        elif kind is not None:
            query = "SELECT entry FROM entries WHERE kind = ?1 AND ?2 IS NULL ORDER BY sequence"
        for (text,) in self.db.execute(query, (kind, request) if "?" in query else ()):
            yield text

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry."""
        row = self.db.execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, ORIGIN)

    def latest(self, column: Literal["request", "brought_by"], value: str) -> str | None:
        """The hash of the last entry on a request, or of the last request that an actor brought or corrected."""
        query = "SELECT hash FROM entries WHERE brought_by = ? ORDER BY sequence DESC LIMIT 1"
        if column == "request":
            query = "SELECT hash FROM entries WHERE request = ? ORDER BY sequence DESC LIMIT 1"
        return next((found for (found,) in self.db.execute(query, (value,))), None)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock: what is read inside cannot change before what is appended inside. All or nothing.

        Raises Refused where the register is not as its last checkpoint says. A new checkpoint ends it.
        """
        if self.db.in_transaction:
            yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            before = self.head()[0]
            self._as_signed(before)
            yield
            size = self.head()[0]
            if size > before:
                self._sign(size)
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            self.__dict__.pop("notary", None)  # it may be one that the entries taken back had brought
            raise
        if size > before:
            write_atomic(self.checkpoint_file, self.checkpoint().encode())

    def append(self, kind: str, **fields: Any) -> Entry:
        """Add one entry; `fields` are Entry's. Raises Refused where it cannot be dated or signed."""
        with self.writing():
            entry = self.next_entry(kind, **fields)
            if entry.sequence == 1 and (kind, entry.outcome) != ("actors", "bootstrap"):
                refuse(f"{self.path} knows nobody yet", "the register's first actors",
                       "enter them: `sop actors bootstrap FILE` (docs/register.md)")
            text = canonical(entry.__dict__)
            digest = leaf_hash(text)
            self.db.execute("INSERT INTO entries (sequence, entry, hash) VALUES (?, ?, ?)",
                            (entry.sequence, text, digest.hex()))
            position, level = entry.sequence - 1, 0
            while position % 2:
                digest = node_hash(self.node(level, position - 1), digest)
                position, level = position // 2, level + 1
                self.db.execute("INSERT INTO nodes VALUES (?, ?, ?)", (level, position, digest))
        return entry

    def next_entry(self, kind: str, **fields: Any) -> Entry:
        """What `append` would add now."""
        sequence, prev = self.head()
        return Entry(sequence=sequence + 1, time=self._time(sequence), kind=kind, prev=prev, **fields)

    def _time(self, last: int) -> str:
        now = self.now().astimezone(UTC)
        for (text,) in self.db.execute("SELECT entry FROM entries WHERE sequence = ?", (last,)):
            before = Entry(**json.loads(text))
            if now < before.when - SLACK:
                refuse(f"this machine's clock says {now:%Y-%m-%dT%H:%M:%SZ}, {before} was written at {before.time}",
                       "the register's time", "set the clock right; the register takes nothing from before its end")
            now = max(now, before.when)
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def node(self, level: int, position: int) -> bytes:
        """The root of a complete subtree of the entries' Merkle tree."""
        if level == 0:
            query, key = "SELECT hash FROM entries WHERE sequence = ?", (position + 1,)
            return next((bytes.fromhex(digest) for (digest,) in self.db.execute(query, key)), b"")
        query = "SELECT hash FROM nodes WHERE level = ? AND position = ?"
        return next((bytes(digest) for (digest,) in self.db.execute(query, (level, position))), b"")

    def checkpoint(self) -> str:
        """The last signed checkpoint within the register; an empty text before the first entry."""
        row = self.db.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        return str(row[0]) if row else ""

    def checkpoints(self) -> Iterator[str]:
        """All signed checkpoints, one for each time that the register was written to."""
        for (note,) in self.db.execute("SELECT note FROM checkpoints ORDER BY size"):
            yield note

    def _sign(self, size: int) -> None:
        self.__dict__.pop("notary", None)  # the entries may have brought another one
        point = Checkpoint(self.notary.name, size, merkle.root(size, self.node))
        note = f"{point.body}\n{self.notary.sign(point.body)}"
        self.db.execute("INSERT INTO checkpoints VALUES (?, ?)", (size, note))

    def _as_signed(self, size: int) -> None:
        """Refuse to go on where entries were added, removed or changed other than by `append`."""
        outside = self.checkpoint_file.read_text() if self.checkpoint_file.exists() else ""
        inside, fault = self.checkpoint(), ""
        if changed := self.schema_fault():
            fault = changed
        elif size or inside or outside:
            try:
                last, copy = open_note(inside, [self.notary.verifier]), open_note(outside or inside, [])
                due = self.key_at(copy.size) or self.notary.verifier
                if copy.size > size:
                    fault = f"it has {size} entries, {self.checkpoint_file} says {copy.size}"
                elif not last.signers or not open_note(outside or inside, [due]).signers:
                    fault = "its checkpoint is not signed by its key"
                elif not outside and size > 1:  # only the first one can be lost by a power cut
                    fault = f"{self.checkpoint_file} is gone"
                elif last.size != size or merkle.root(size, self.node) != last.root:
                    fault = f"its {size} entries are not those that its last checkpoint signs"
                elif merkle.root(copy.size, self.node) != copy.root:
                    fault = f"its entries up to {copy.size} are not those that {self.checkpoint_file} signs"
            except ValueError as error:
                fault = f"its checkpoint cannot be used: {error}"
        if fault:
            refuse(f"{self.path} cannot be relied on: {fault}; {self.since()}", "the register",
                   "see all of it by `sop register verify`; then bring the register back from its backup")

    def schema_fault(self) -> str | None:
        found = [text for (text,) in self.db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")]
        return None if found == _schema() else "its tables, indexes or triggers are not as they were made"

    def inclusion(self, entry: int, size: int) -> list[str]:
        return [base64.b64encode(part).decode() for part in merkle.inclusion(entry - 1, size, self.node)]

    def open_run(self) -> Entry | None:
        """The `started` entry of a run that is under way, died, or could not be put back; None otherwise."""
        started: Entry | None = None
        for entry in self.entries(kind="run"):
            if entry.outcome == "started":
                started = entry
            elif entry.outcome != "unknown":
                started = None
        return started

    def next_agenda(self, year: int) -> int:
        """The next agenda number of a year; take it only inside `writing()`, or two letters may get the same."""
        query = "SELECT coalesce(max(agenda_number), 0) + 1 FROM entries WHERE agenda_year = ?"
        return int(self.db.execute(query, (year,)).fetchone()[0])

    def next_request(self, year: int) -> str:
        query = "SELECT coalesce(max(CAST(substr(request, 8) AS INTEGER)), 0) + 1 FROM entries WHERE request GLOB ?"
        return f"R-{year}-{int(self.db.execute(query, (f'R-{year}-*',)).fetchone()[0]):04d}"


@cache
def _schema() -> list[str]:
    """The schema as SQLite keeps it."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA)
    found = [text for (text,) in db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name")]
    db.close()
    return found


def _make(path: Path) -> None:
    """Build the file aside and give it its name at once, so that nobody ever opens half a register."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".register.")
    os.close(handle)
    try:
        db = sqlite3.connect(name)
        db.executescript(SCHEMA)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        with contextlib.suppress(FileExistsError):  # another process was first: its file is the register
            path.hardlink_to(name)
    finally:
        Path(name).unlink()

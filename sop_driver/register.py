"""The register: an append-only, hash-chained list of everything that was done, and the evidence beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sop_driver.config import canonical
from sop_driver.errors import Failed, Usage, refuse

APPLICATION_ID = 0x534F5001  # "SOP", 1: tells our file from any other SQLite file
ORIGIN = "0" * 64  # what the first entry names as the one before it
SCHEMA = """
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY,
  entry TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  kind TEXT GENERATED ALWAYS AS (json_extract(entry, '$.kind')) VIRTUAL,
  request TEXT GENERATED ALWAYS AS (json_extract(entry, '$.request')) VIRTUAL,
  agenda_year INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.year')) VIRTUAL,
  agenda_number INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.number')) VIRTUAL);
CREATE INDEX entries_kind ON entries (kind);
CREATE INDEX entries_request ON entries (request);
CREATE UNIQUE INDEX entries_agenda ON entries (agenda_year, agenda_number);
CREATE TRIGGER no_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER no_gap BEFORE INSERT ON entries
  WHEN NEW.sequence != (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
  BEGIN SELECT RAISE(ABORT, 'the register has no gaps'); END;
"""


@dataclass(frozen=True)
class Entry:
    """One line of the register; `prev` is the hash of the entry before it."""

    sequence: int
    time: str
    kind: str  # step | run | record
    prev: str
    actor: str | None = None
    role: str | None = None
    request: str | None = None
    step: str | None = None
    outcome: str | None = None
    evidence: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.time)

    def __str__(self) -> str:
        return f"entry {self.sequence}"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Register:
    """Opens the file at `path`, or makes it. Raises Usage, the file untouched, where it is not a register of ours."""

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self.now = now
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

    def entries(self, kind: str | None = None, request: str | None = None) -> Iterator[Entry]:
        """Entries in their order, of one kind or one request if given."""
        query = """SELECT entry FROM entries WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR request = ?2)
                   ORDER BY sequence"""
        if request is not None:  # a query of its own: with the general one SQLite would read every entry
            query = "SELECT entry FROM entries WHERE request = ?2 AND (?1 IS NULL OR kind = ?1) ORDER BY sequence"
        elif kind is not None:
            query = "SELECT entry FROM entries WHERE kind = ?1 AND ?2 IS NULL ORDER BY sequence"
        for (text,) in self.db.execute(query, (kind, request)):
            yield Entry(**json.loads(text))

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry."""
        row = self.db.execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, ORIGIN)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock: what is read inside cannot change before what is appended inside. All or nothing."""
        if self.db.in_transaction:
            yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def append(self, kind: str, **fields: Any) -> Entry:
        """Add one entry; `fields` are Entry's."""
        with self.writing():
            sequence, prev = self.head()
            time = self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            entry = Entry(sequence=sequence + 1, time=time, kind=kind, prev=prev, **fields)
            text = canonical(entry.__dict__)
            digest = hashlib.sha256(text.encode()).hexdigest()
            self.db.execute("INSERT INTO entries (sequence, entry, hash) VALUES (?, ?, ?)",
                            (entry.sequence, text, digest))
        return entry

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

    def verify(self, evidence: Evidence) -> list[str]:
        """Everything that is wrong with the chain or its evidence, most precise place first; empty when all is well."""
        findings: list[str] = []
        prev, wanted, seen = ORIGIN, 1, set[str]()
        for sequence, text, digest in self.db.execute("SELECT sequence, entry, hash FROM entries ORDER BY sequence"):
            body = json.loads(text)
            if sequence != wanted or body.get("sequence") != sequence:
                findings.append(f"entry {sequence}: its place in the sequence should be {wanted}")
            if hashlib.sha256(text.encode()).hexdigest() != digest:
                findings.append(f"entry {sequence}: its text was changed after it was written")
            if body.get("prev") != prev:
                findings.append(f"entry {sequence}: it does not follow the entry before it")
            for name, document in body.get("evidence", {}).items():
                if document not in seen and (fault := evidence.fault(document)):
                    findings.append(f"entry {sequence}: evidence {name}: {fault}")
                seen.add(document)
            prev, wanted = digest, sequence + 1
        return findings


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


class Evidence:
    """Documents by their sha256, each written once and read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        return self.folder / digest

    @contextlib.contextmanager
    def staged(self, source: Path) -> Iterator[tuple[Path, str]]:
        """A private copy of a file and its sha256, kept as evidence where the block ends well, else gone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new.")
        copy = Path(name)
        digest = hashlib.sha256()
        try:
            with source.open("rb") as read, os.fdopen(handle, "wb") as write:
                while data := read.read(1024 * 1024):
                    digest.update(data)
                    write.write(data)
                write.flush()
                os.fsync(write.fileno())
            copy.chmod(0o400)
            yield copy, digest.hexdigest()
            copy.replace(self.path(digest.hexdigest()))
        except OSError as error:
            raise Failed(f"it could not be kept as evidence: {error.strerror}", str(source),
                         "check that the file can be read and that the disk has room") from error
        finally:
            copy.unlink(missing_ok=True)

    def add(self, source: Path) -> str:
        with self.staged(source) as (_, digest):
            return digest

    def fault(self, digest: str) -> str | None:
        """Why a document cannot be relied on; None when it is there as it was."""
        try:
            with self.path(digest).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"{self.path(digest)} cannot be read ({error.strerror})"
        return None if found == digest else f"{self.path(digest)} was changed"

    def read(self, digest: str) -> bytes:
        if fault := self.fault(digest):
            refuse(fault, "evidence", "bring the file back from the backup of the driver's home")
        return self.path(digest).read_bytes()

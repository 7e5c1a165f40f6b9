"""Documents and releases that entries name by their sha256, each kept once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from sop_driver.config import settle, write_atomic
from sop_driver.errors import Failed, refuse
from sop_driver.note import document, note_in, plain_file
from sop_driver.proof import canonical
from sop_driver.statement import digest_fault

SALT = 32  # octets
BACK = "bring the file back from the backup of the driver's home"
NOTE = re.compile(r"\.?\.unsigned\.")
WRITTEN = re.compile(r"\.(?:new|[0-9a-f]{64})\.")  # what was being written by this driver, or by earlier ones
LOOK = "`sop register verify` names the entry; bring the register back from its backup"


class Evidence:
    """Documents by their sha256, each written once and read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where a document lies. Raises Refused for a name that is no sha256: it could lead anywhere."""
        if fault := digest_fault(digest):
            refuse(fault, "evidence", LOOK)
        return self.folder / digest

    def has(self, digest: str) -> bool:
        return not digest_fault(digest) and self.path(digest).is_file() and not self.path(digest).is_symlink()

    @contextlib.contextmanager
    def _new(self) -> Iterator[tuple[IO[bytes], Path]]:
        """A file to write to, gone in the end unless it got its name. Its lock says that somebody lives who writes it.

        It is locked before it holds anything.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new.")
        copy = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file, copy
        finally:
            copy.unlink(missing_ok=True)

    def _keep(self, file: IO[bytes], copy: Path, digest: str) -> None:
        """Give what was written its name, once it is on the disk."""
        file.flush()
        os.fsync(file.fileno())
        copy.chmod(0o400)
        copy.replace(self.path(digest))
        settle(self.folder)

    @contextlib.contextmanager
    def staged(self, source: Path) -> Iterator[tuple[Path, str]]:
        """A private copy of a file and its sha256, kept as evidence where the block ends well, else gone."""
        digest = hashlib.sha256()
        try:
            with source.open("rb") as read, self._new() as (write, copy):
                while data := read.read(1024 * 1024):
                    digest.update(data)
                    write.write(data)
                write.flush()
                yield copy, digest.hexdigest()
                self._keep(write, copy, digest.hexdigest())
        except OSError as error:
            raise Failed(f"it could not be kept as evidence: {error.strerror}", str(source),
                         "check that the file can be read and that the disk has room") from error

    def erase(self, digests: Iterable[str], notes: Container[str]) -> None:
        """Remove documents for good, and what commands that were killed left: notes of these and files half written.

        A note's name is a hash without salt of what it is of, which could be found by trying.
        """
        for left in self.folder.glob(".*"):
            with contextlib.suppress(OSError):  # gone meanwhile, or no file
                if NOTE.match(left.name) and note_in(left) in notes:
                    left.unlink()
        for each in [*self.half_written(), *map(self.path, digests)]:
            each.unlink(missing_ok=True)

    def half_written(self) -> list[Path]:
        """What commands that were killed left, which no entry names; nothing that somebody writes now."""
        return sorted(path for path in self.folder.glob(".*") if WRITTEN.match(path.name) and _abandoned(path))

    def add(self, source: Path) -> str:
        with self.staged(source) as (_, digest):
            return digest

    def seal(self, value: Any, purpose: str) -> str:
        """Keep personal data as a document that begins with a random salt: its sha256 tells nothing of them.

        The same one again until `signed`, as a statement may be written in one command and signed in another; another
        value's, whoever noted that, is not taken.
        """
        if (known := self.noted(value, purpose)) and self.fault(known) is None and self.unsealed(known) == value:
            return known
        data = secrets.token_bytes(SALT) + canonical(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        with self._new() as (file, copy):
            file.write(data)
            self._keep(file, copy, digest)
        self.note(value, purpose, digest)
        return digest

    def noted(self, value: Any, purpose: str) -> str:
        """What a command before this one noted; an empty text where none did."""
        return note_in(self._note(value, purpose))

    def note(self, value: Any, purpose: str, text: str) -> None:
        """Remember what belongs to something that is not in the register yet, until it is `signed`."""
        write_atomic(self._note(value, purpose), text.encode())

    def signed(self, value: Any, purpose: str) -> None:
        """It is in the register; the next time gets another salt."""
        self._note(value, purpose).unlink(missing_ok=True)

    def _note(self, value: Any, purpose: str) -> Path:
        return self.folder / f".unsigned.{hashlib.sha256(canonical([purpose, value]).encode()).hexdigest()}"

    def unsealed(self, digest: str) -> Any:
        """What is sealed, or words that say that it is nothing that this driver seals. Raises as `read` does."""
        try:
            return json.loads(self.read(digest)[SALT:])
        except (ValueError, RecursionError):
            return f"unreadable ({self.path(digest)})"

    def fault(self, digest: str) -> str | None:
        """Why a document cannot be relied on; None when it is there as it was."""
        if fault := digest_fault(digest):
            return fault
        try:
            with document(self.path(digest)) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"{self.path(digest)} cannot be read ({error.strerror})"
        return None if found == digest else f"{self.path(digest)} was changed"

    def read(self, digest: str) -> bytes:
        """A document as it was: the octets that were compared, whatever lies there a moment later. Raises Refused."""
        path = self.path(digest)
        try:
            with document(path) as file:
                octets = file.read()
        except OSError as error:
            refuse(f"{path} cannot be read ({error.strerror})", "evidence", BACK)
        if hashlib.sha256(octets).hexdigest() != digest:
            refuse(f"{path} was changed", "evidence", BACK)
        return octets


def _abandoned(path: Path) -> bool:
    """Whether a file holds something, and nobody lives who writes it."""
    with contextlib.suppress(OSError), plain_file(path) as file:  # locked, gone meanwhile, or no file
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file.fileno()).st_size > 0
    return False

"""Keys that sign checkpoints (C2SP signed notes), for the register and for a witness of it elsewhere."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sop_driver.config import to_lock, write_atomic
from sop_driver.errors import Failed, Usage
from sop_driver.note import ALGORITHMS, SIGNED, Verifier, note_in, open_note, signed_text


@dataclass(frozen=True)
class Notary:
    """A named key. Its file has the form of Go's note package: PRIVATE+KEY+NAME+ID+KEY."""

    name: str
    algorithm: int  # its octet
    secret: bytes = field(repr=False)

    @property
    def _named(self) -> Verifier:
        return Verifier(self.name, self.algorithm, ALGORITHMS[self.algorithm].public(self.secret))

    @property
    def verifier(self) -> str:
        return str(self._named)

    def sign(self, body: str, seconds: int = 0) -> str:
        """The signature line for a checkpoint's text; a witness's holds the time (Unix seconds)."""
        algorithm = ALGORITHMS[self.algorithm]
        stamp = seconds.to_bytes(8, "big") if algorithm.dated else b""
        signature = algorithm.sign(self.secret, signed_text(body, self.algorithm, stamp))
        blob = base64.b64encode(self._named.identity + stamp + signature).decode()
        return f"\u2014 {self.name} {blob}\n"


def make(path: Path, name: str, algorithm: int = SIGNED) -> Notary:
    """A new key, in a file for its owner alone. Raises Usage where the name cannot stand in a note."""
    if not name or any(c.isspace() or c == "+" or not c.isprintable() for c in name):
        raise Usage(f"{name!r} cannot name a key", "the name of a key", "write it without spaces and plus signs")
    made = Notary(name, algorithm, ALGORITHMS[algorithm].made())
    _, identity, _ = made.verifier.split("+", 2)
    secret = base64.b64encode(bytes([algorithm]) + made.secret).decode()
    write_atomic(path, f"PRIVATE+KEY+{name}+{identity}+{secret}\n".encode())
    return made


def keep(path: Path, note: str) -> None:
    """Keep a checkpoint in a file, unless a later one is there: who wrote first may come here second.

    Raises Failed where one of as many other entries is there.
    """
    with to_lock(path.with_name(f"{path.name}.lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(ValueError):
            there, new = open_note(note_in(path), []), open_note(note, [])
            if there.size == new.size and there.root != new.root:
                raise Failed(f"{new.size} entries are in {path}, and the last of them are not those of this register: "
                             "another one, with the same home, was written to at the same moment", str(path),
                             "that one goes on, and this one is refused from now on: name it to every driver "
                             "(SOP_REGISTER, or `register:` in sop.yml), and record there what was recorded here")
            if there.size >= new.size:
                return
        write_atomic(path, note.encode())


def load(path: Path) -> Notary:
    """Raises Usage for a file that holds no such key, or that others may read."""
    try:
        if path.stat().st_mode & 0o077:
            raise Usage("others may read this key", str(path), f"chmod 600 {path}")
        private, key, name, identity, secret = path.read_text().strip().split("+", 4)
        raw = base64.b64decode(secret, validate=True)
        if (private, key) != ("PRIVATE", "KEY") or raw[0] not in ALGORITHMS:
            raise ValueError
        made = Notary(name, raw[0], raw[1:])
        if made.verifier.split("+", 2)[1] != identity:
            raise ValueError
    except (OSError, ValueError, IndexError) as error:
        raise Usage("the key that signs checkpoints cannot be read", str(path),
                    "bring it back from the backup of the driver's home") from error
    return made


def held(folder: Path) -> dict[str, Notary]:
    """The keys in a folder, by what checks their signatures. Raises Usage."""
    return {key.verifier: key for _, key in _files(folder)}


def _files(folder: Path) -> Iterator[tuple[Path, Notary]]:
    for path in sorted(folder.glob("*.key")):
        try:
            yield path, load(path)
        except Usage:
            if path.exists():  # else a rotation has just destroyed it
                raise


def destroy(folder: Path, keys: set[str]) -> None:
    """Remove the files of keys that sign nothing more; what somebody prepares meanwhile is none of them."""
    for path, key in _files(folder) if keys else ():
        if key.verifier in keys:
            path.unlink(missing_ok=True)


def seconds() -> int:
    """Now, as a witness's signature holds it."""
    return int(time.time())

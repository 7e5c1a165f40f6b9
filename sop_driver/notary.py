"""Keys that sign checkpoints (C2SP signed notes, Ed25519), for the register and for a witness of it elsewhere."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sop_driver.config import write_atomic
from sop_driver.errors import Usage
from sop_driver.proof import COSIGNED, SIGNED, key_id, signed_text, verifier_key


@dataclass(frozen=True)
class Notary:
    """A named key. Its file has the form of Go's note package: PRIVATE+KEY+NAME+ID+KEY."""

    name: str
    algorithm: int
    secret: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        return self.secret.public_key().public_bytes_raw()

    @property
    def verifier(self) -> str:
        return verifier_key(self.name, self.algorithm, self.public)

    def sign(self, body: str, seconds: int = 0) -> str:
        """The signature line for a checkpoint's text; a witness's holds the time (Unix seconds)."""
        stamp = seconds.to_bytes(8, "big") if self.algorithm == COSIGNED else b""
        signature = self.secret.sign(signed_text(body, self.algorithm, stamp))
        blob = base64.b64encode(key_id(self.name, self.algorithm, self.public) + stamp + signature).decode()
        return f"\u2014 {self.name} {blob}\n"


def make(path: Path, name: str, algorithm: int = SIGNED) -> Notary:
    """A new key, in a file for its owner alone. Raises Usage where the name cannot stand in a note."""
    if not name or any(c.isspace() or c == "+" or not c.isprintable() for c in name):
        raise Usage(f"{name!r} cannot name a key", "the name of a key", "write it without spaces and plus signs")
    made = Notary(name, algorithm, Ed25519PrivateKey.generate())
    identity = key_id(name, algorithm, made.public).hex()
    secret = base64.b64encode(bytes([algorithm]) + made.secret.private_bytes_raw()).decode()
    write_atomic(path, f"PRIVATE+KEY+{name}+{identity}+{secret}\n".encode())
    return made


def load(path: Path) -> Notary:
    """Raises Usage for a file that holds no such key, or that others may read."""
    try:
        if path.stat().st_mode & 0o077:
            raise Usage("others may read this key", str(path), f"chmod 600 {path}")
        private, key, name, _, secret = path.read_text().strip().split("+", 4)
        raw = base64.b64decode(secret, validate=True)
        if (private, key) != ("PRIVATE", "KEY") or raw[0] not in (SIGNED, COSIGNED):
            raise ValueError
        return Notary(name, raw[0], Ed25519PrivateKey.from_private_bytes(raw[1:]))
    except (OSError, ValueError, IndexError) as error:
        raise Usage("the key that signs checkpoints cannot be read", str(path),
                    "bring it back from the backup of the driver's home") from error


def held(folder: Path) -> dict[str, Notary]:
    """The keys in a folder, by what checks their signatures. Raises Usage."""
    return {key.verifier: key for key in map(load, sorted(folder.glob("*.key")))}


def seconds() -> int:
    """Now, as a witness's signature holds it."""
    return int(time.time())

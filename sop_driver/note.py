"""Checkpoints as signed notes (C2SP), and the algorithms of the keys that sign them."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sop_driver.proof import small_order

SIGNED, COSIGNED = 1, 4  # C2SP's algorithm octets: Ed25519 note, Ed25519 cosignature
LARGEST = 2**31  # octets of a document: a release's archive has no more
SIZE = re.compile(r"0|[1-9][0-9]*")
LINE = re.compile("\u2014 ([^ ]+) ([^ ]+)")  # of a note's signature: whose, and what it is


@dataclass(frozen=True)
class Algorithm:
    """What keys of an algorithm do. Keys and signatures are octets, as notes and key files hold them."""

    made: Callable[[], bytes]  # a new secret key
    public: Callable[[bytes], bytes]  # of a secret key
    sign: Callable[[bytes, bytes], bytes]  # (secret key, text) → signature
    holds: Callable[[bytes, bytes, bytes], bool]  # (public key, signature, text); ValueError for what is no key
    dated: bool = False  # a cosignature: its time (Unix seconds, 8 octets) comes before it, and is signed with the text


def _ed25519_holds(public: bytes, signature: bytes, text: bytes) -> bool:
    if small_order(public):
        raise ValueError("anybody can sign by its key, a point of small order")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        return False
    return True


_ED25519 = Algorithm(
    made=lambda: Ed25519PrivateKey.generate().private_bytes_raw(),
    public=lambda secret: Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw(),
    sign=lambda secret, text: Ed25519PrivateKey.from_private_bytes(secret).sign(text),
    holds=_ed25519_holds)
ALGORITHMS = {SIGNED: _ED25519, COSIGNED: replace(_ED25519, dated=True)}  # another one is another entry


@dataclass(frozen=True)
class Checkpoint:
    """What a signed note says: this register had so many entries with this root."""

    origin: str
    size: int
    root: bytes
    signers: tuple[str, ...] = ()
    times: tuple[int, ...] = ()  # when each of them signed, by its own clock (Unix seconds; 0 where it does not say)

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class Verifier:
    """A public key as notes name it."""

    name: str
    octet: int  # its algorithm's
    public: bytes

    @property
    def identity(self) -> bytes:
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.octet]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """As C2SP writes it: NAME+ID+KEY."""
        return f"{self.name}+{self.identity.hex()}+{base64.b64encode(bytes([self.octet]) + self.public).decode()}"

    def signed(self, body: str, raw: bytes) -> bool:
        """Whether a signature, as notes hold it after the key's id, is over a text."""
        algorithm = ALGORITHMS[self.octet]
        stamp, signature = (raw[:8], raw[8:]) if algorithm.dated else (b"", raw)
        return algorithm.holds(self.public, signature, signed_text(body, self.octet, stamp))


def verifier_of(key: str) -> Verifier:
    """Read a public key. Raises ValueError for one that is none, or of an algorithm that is not known."""
    name, identity, encoded = key.split("+", 2)
    octets = base64.b64decode(encoded, validate=True)
    if not octets or octets[0] not in ALGORITHMS:
        raise ValueError(f"the key {name} is of an algorithm that is not known here")
    found = Verifier(name, octets[0], octets[1:])
    if found.identity.hex() != identity:
        raise ValueError(f"the key {name} has the id {found.identity.hex()}, and calls itself {identity}")
    return found


def signed_text(body: str, octet: int, stamp: bytes) -> bytes:
    """What a note's signature is made over."""
    if ALGORITHMS[octet].dated:
        body = f"cosignature/v1\ntime {int.from_bytes(stamp, 'big')}\n{body}"
    return body.encode()


class Word(NamedTuple):
    """What a witness says that it has seen, and when by its own clock (Unix seconds; 0 where it does not say)."""

    size: int
    time: int


def words_of(note: str, keys: Iterable[str]) -> dict[str, Word]:
    """Witnesses' words in a checkpoint, by the keys of those who gave one. Raises ValueError as `open_note` does."""
    opened = ((key, open_note(note, [key])) for key in keys)
    return {key: Word(found.size, found.times[0]) for key, found in opened if found.signers}


def announcement(register: str, key: str) -> str:
    """What the old key of the checkpoints signs when another one follows it."""
    return f"sop-checkpoint-key/v1\n{register}\n{key}\n"


def signed_by(body: str, line: str, key: str) -> bool:
    """Whether a line of a note is a key's signature over a text. Raises ValueError where it is no such line."""
    known = verifier_of(key)
    _, by, blob = line.rstrip("\n").split(" ")
    raw = base64.b64decode(blob, validate=True)
    return (by, raw[:4]) == (known.name, known.identity) and known.signed(body, raw[4:])


def opened_plain(path: Path, flags: int) -> int:
    """Open a file. Raises OSError for a device or a pipe, which may never end."""
    handle = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return handle


def plain_file(path: Path) -> BufferedReader:
    """Open a file to read. Raises OSError as above, and for a link, which leads anywhere."""
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    return os.fdopen(opened_plain(path, os.O_RDONLY | flags), "rb")


def document(path: Path) -> BufferedReader:
    """Open a document to read. Raises OSError as above, and for one larger than any, which is read for days."""
    file = plain_file(path)
    if os.fstat(file.fileno()).st_size > LARGEST:
        file.close()
        raise OSError(errno.EFBIG, "it is larger than any document", str(path))
    return file


def octets_in(path: Path, most: int = 2**20) -> bytes:
    """What a plain file holds. Raises OSError for one that holds more: a file without contents can be of any size."""
    with plain_file(path) as file:
        octets = file.read(most + 1)
    if len(octets) > most:
        raise OSError(errno.EFBIG, f"it holds more than {most} octets", str(path))
    return octets


def note_in(path: Path) -> str:
    """A small file as text: empty where none is there, and nothing that we wrote where it cannot be read."""
    try:
        return octets_in(path).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:  # a folder, say, or what never ends
        return str(error.strerror)


def open_note(note: str, keys: Iterable[str]) -> Checkpoint:
    """Read a checkpoint (C2SP signed note). Its signers are those of `keys` whose signatures hold.

    Raises ValueError where it is no checkpoint, or where a signature by one of `keys` is on it and does not hold.
    """
    body, _, tail = note.partition("\n\n")
    lines = body.split("\n")
    if len(lines) != 3 or not SIZE.fullmatch(lines[1]):
        raise ValueError("it is no checkpoint")
    point = Checkpoint(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
    if point.body != f"{body}\n":
        raise ValueError("it is no checkpoint")
    known = {(key.name, key.identity): key for key in map(verifier_of, keys)}
    signers, times = list[str](), list[int]()
    for line in tail.removesuffix("\n").split("\n") if tail else ():
        if not (parts := LINE.fullmatch(line)):
            raise ValueError("what stands below it is no signature")
        name, raw = parts[1], base64.b64decode(parts[2], validate=True)
        if (signer := known.get((name, raw[:4]))) is None:
            continue
        if not signer.signed(point.body, raw[4:]):
            raise ValueError(f"its signature by {name} does not hold")
        signers.append(name)
        times.append(int.from_bytes(raw[4:12], "big") if ALGORITHMS[signer.octet].dated else 0)
    return replace(point, signers=tuple(signers), times=tuple(times))

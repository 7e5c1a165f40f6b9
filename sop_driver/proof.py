"""What proves an entry: one spelling, its place in the tree, and people's SSH signatures."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import re
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Job = tuple[int, str, str, str, str]  # entry, who, public key, statement, signature
HASH = 32  # octets
ORIGIN = "0" * 64  # what the first entry names as the one before it
NAMESPACE = "sop-register-v1"  # of SSH signatures: one made for mail or git means nothing here
ED25519, SK_ED25519 = b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com"
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False,
                           check_circular=False)
NUMBERS = re.compile(r'(?:":|[,\[])-?(?:\d+[.e]|\d{16})')  # which Python may write in another way
FIELD = 2**255 - 19  # of Ed25519
EIGHTH = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7  # the ordinate of points of order eight
SMALL = (0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH)
SSHSIG = b"SSHSIG\0\0\0\1"
ARMOR = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----")


def canonical(value: Any) -> str:
    """JSON with one spelling only (RFC 8785). What is hashed or signed is written like this. Raises ValueError."""
    text = ENCODER.encode(value)
    if text.isascii() and not NUMBERS.search(f'":{text}'):
        return text
    text = _spelled(value)
    text.encode()  # half of a pair of surrogates is no letter (RFC 7493), and nobody could hash it
    return text


def visible(text: str) -> str:
    """A text as one line: what would act on a terminal or page is shown as JSON spells it, and so stays the same there.

    Line breaks, control characters, and what turns the direction of writing around among them.
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(json.dumps(c)[1:-1].replace("\x7f", "\\u007f") if unicodedata.category(c) in hidden else c
                   for c in text)


def parsed(text: str) -> tuple[Any, Callable[[Any], str]]:
    """What an entry says, and what spells it and its parts: a plain writer, which is faster, where it will do."""
    if text.isascii():
        with contextlib.suppress(ValueError):
            value, end = PLAIN.raw_decode(text)
            if end == len(text):
                return value, _quick()
    return json.loads(text), canonical


@functools.cache
def _quick() -> Callable[[Any], str]:
    """What spells as Python's own writer does, in a third of the time; that writer where an outsider has no orjson."""
    try:
        from orjson import OPT_SORT_KEYS, dumps
    except ImportError:
        return ENCODER.encode

    def spell(value: Any) -> str:
        try:
            return dumps(value, option=OPT_SORT_KEYS).decode()
        except TypeError:  # half of a pair of surrogates, or lists within lists without end
            return ENCODER.encode(value)

    return spell


def _whole(digits: str) -> int:
    if len(digits) > 15:
        raise ValueError
    return int(digits)


def _other(literal: str) -> NoReturn:
    raise ValueError(literal)


PLAIN = json.JSONDecoder(parse_int=_whole, parse_float=_other, parse_constant=_other)


def _spelled(value: Any) -> str:
    """Where Python's own writer may differ from the RFC: in numbers, and in the order of letters that ASCII lacks."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_spelled(key)}:{_spelled(value[key])}" for key in keys) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_spelled, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and abs(value) > 2**53 - 1 and _number(float(value)) != str(value):
        raise ValueError(f"{value} is a larger number than all JSON readers know")
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """As ECMAScript writes it; both it and repr() take the fewest digits that tell the number."""
    sign, numerals, exponent = Decimal(repr(value)).as_tuple()
    if not isinstance(exponent, int):  # NaN and the infinities
        raise ValueError(f"{value} is no number of JSON")
    digits = "".join(map(str, numerals)).lstrip("0")
    point = len(digits) + exponent
    digits = digits.rstrip("0")
    if not digits:
        return "0"
    if 0 < point <= 21:
        text = digits.ljust(point, "0") if len(digits) <= point else f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = f"{digits[0]}.{digits[1:]}".rstrip(".") + f"e{point - 1:+d}"
    return "-" * sign + text


def leaf_hash(text: str) -> bytes:
    return hashlib.sha256(b"\0" + text.encode()).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The tree of RFC 6962 over leaves as they come; it keeps its complete subtrees' roots only."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)

    def add(self, leaf: bytes) -> list[bytes]:
        """Take the next leaf. Gives the roots of the subtrees that it completes, from the lowest on."""
        self.size += 1
        rest, made = self.size, []
        while rest % 2 == 0:
            made.append(leaf := node_hash(self.peaks.pop(), leaf))
            rest //= 2
        self.peaks.append(leaf)
        return made

    def root(self) -> bytes:
        return joined(self.peaks)


def joined(peaks: list[bytes]) -> bytes:
    """The root over complete subtrees, the largest first."""
    if not peaks:
        return hashlib.sha256(b"").digest()
    return functools.reduce(lambda right, left: node_hash(left, right), reversed(peaks))


def inclusion_root(leaf: bytes, index: int, size: int, proof: Iterable[bytes]) -> bytes:
    """The root that a proof leads to (RFC 9162, 2.1.3.2). Raises ValueError for one that fits no such tree."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} has no place {index + 1}")
    last = size - 1
    for beside in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if len(beside) != HASH:
            raise ValueError("a part of the proof is no hash")
        if index % 2 or index == last:
            leaf = node_hash(beside, leaf)
            while index and not index % 2:
                index, last = index // 2, last // 2
        else:
            leaf = node_hash(leaf, beside)
        index, last = index // 2, last // 2
    if last:
        raise ValueError("the proof is too short")
    return leaf


def _strings(blob: bytes) -> Iterator[bytes]:
    """SSH's strings: four octets of length, then the octets."""
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            raise ValueError("it is cut off")
        yield blob[4:4 + length]
        blob = blob[4 + length:]


def small_order(public: bytes) -> bool:
    """Whether a key of Ed25519, in any spelling, is one of the eight points that anybody can sign by.

    OpenSSL and OpenSSH take such keys, and signatures by them that are made without a secret.
    """
    return int.from_bytes(public, "little") % 2**255 % FIELD in SMALL


@functools.lru_cache(maxsize=4096)
def _public(line: str) -> tuple[bytes, bytes, bytes]:
    """A line of OpenSSH (`ssh-ed25519 AAAA…`) as its blob, its key's octets, and a hardware key's application."""
    blob = base64.b64decode(line.split()[1], validate=True)
    kind, public, *application = islice(_strings(blob), 4)  # of a key they are three at the most
    if kind not in (ED25519, SK_ED25519) or len(application) != (kind == SK_ED25519):
        raise ValueError("only ed25519 keys are taken")
    if small_order(public):
        raise ValueError("anybody can sign by this key, a point of small order")
    Ed25519PublicKey.from_public_bytes(public)  # raises ValueError for what is none
    return blob, public, b"".join(application)


@functools.lru_cache(maxsize=4096)
def fingerprint(line: str) -> str:
    """As ssh-keygen -l prints it. Raises ValueError for what is no key that we take."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(_public(line)[0]).digest()).decode().rstrip("=")


@functools.lru_cache(maxsize=4096)
def octets_of(line: str) -> bytes:
    """A key itself: a hardware key's may be in a file as well, and is the same one. Raises ValueError as above."""
    return _public(line)[1]


@functools.lru_cache(maxsize=4096)
def _dalek(octets: bytes) -> Callable[[bytes, bytes], None] | None:
    """ed25519-dalek's way to check a key's signatures, ValueError for bad ones; None where an outsider lacks it."""
    try:
        from vodozemac import Ed25519PublicKey as Key
        from vodozemac import Ed25519Signature as Signature
    except ImportError:
        return None
    key = Key.from_base64(base64.b64encode(octets).decode())
    return lambda signature, signed: key.verify_signature(
        signed, Signature.from_base64(base64.b64encode(signature).decode()))


def _verify(octets: bytes, signature: bytes, signed: bytes) -> None:
    """Raises InvalidSignature, where OpenSSL does. It takes all that ed25519-dalek takes, which needs half the time."""
    with contextlib.suppress(ValueError):
        if check := _dalek(octets):
            check(signature, signed)
            return
    Ed25519PublicKey.from_public_bytes(octets).verify(signature, signed)


@functools.lru_cache(maxsize=4096)
def _preamble(octets: bytes) -> tuple[str | None, str, bytes]:
    """What all SSH signatures of a key say before the signature: what is wrong, the hash, what is signed first."""
    _, namespace, reserved, algorithm = _strings(octets[len(SSHSIG):])
    fault = None
    if namespace != NAMESPACE.encode():
        fault = f"it is made for {namespace.decode(errors='replace')}, not for {NAMESPACE}"
    elif algorithm not in (b"sha256", b"sha512"):
        fault = "its hash is neither SHA-256 nor SHA-512"
    first = b"".join(struct.pack(">I", len(part)) + part for part in (namespace, reserved, algorithm))
    return fault, algorithm.decode(errors="replace"), b"SSHSIG" + first


def ssh_fault(line: str, message: str, armored: str) -> str | None:
    """Why an SSH signature (SSHSIG) is not this key's over this message; None where it is."""
    try:
        enrolled, octets, application = _public(line)
        first, *lines, last = armored.strip().splitlines()
        blob = base64.b64decode("".join(lines), validate=True)
        if (first, last) != ARMOR or not blob.startswith(SSHSIG):
            raise ValueError("it is no SSH signature")
        if next(_strings(blob[len(SSHSIG):]), b"") != enrolled:
            return "it is made by another key than the one enrolled"
        kind, more = (SK_ED25519, 5) if application else (ED25519, 0)
        own = 12 + len(kind) + 64 + more  # octets of the signature itself
        fault, algorithm, signed = _preamble(blob[:-own])
        if fault:
            return fault
        digest = hashlib.new(algorithm, message.encode()).digest()
        signed += struct.pack(">I", len(digest)) + digest
        (signature,) = _strings(blob[-own:])
        if application:
            signature, flags = signature[:-more], signature[-more:]
            if not flags[0] & 1:
                return "nobody touched the hardware key"
            signed = hashlib.sha256(application).digest() + flags + hashlib.sha256(signed).digest()
        named, raw = _strings(signature)
        if named != kind:
            raise ValueError("it is not of the key's kind")
        _verify(octets, raw, signed)
    except InvalidSignature:
        return "it is not over what the entry says"
    except (ValueError, TypeError, AttributeError, IndexError, struct.error) as error:
        return f"it cannot be read ({error})"
    return None


def signature_faults(jobs: Iterable[Job]) -> list[tuple[int, str]]:
    """The entries whose signatures do not hold, and why."""
    return [(number, f"the signature of {by}: {fault}") for number, by, key, said, armored in jobs
            if (fault := ssh_fault(key, said, armored))]

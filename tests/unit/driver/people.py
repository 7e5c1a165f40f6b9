"""Keys of people who sign, always the same ones, and their signatures without a process for each."""

from __future__ import annotations

import base64
import hashlib
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sop_driver.proof import ARMOR, ED25519, NAMESPACE, SK_ED25519, SSHSIG

FIRST = {
    "kadis": {"name": "Kepala DKISP", "role": "kadis"},
    "kasubbag": {"name": "Kasubbag", "role": "kasubbag"},
    "kabid": {"name": "Kabid", "role": "bidang"},
    "subkoor": {"name": "Sub Koordinator", "role": "bidang"},
    "dinkes": {"name": "Dinas Kesehatan", "role": "pd", "unit": "Dinas Kesehatan"},
    "disdik": {"name": "Dinas Pendidikan", "role": "pd", "unit": "Dinas Pendidikan"},
    "dinsos": {"name": "Dinas Sosial", "role": "pd", "unit": "Dinas Sosial"},
}


def secret(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def blob(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def public(name: str) -> str:
    raw = secret(name).public_key().public_bytes_raw()
    return f"ssh-ed25519 {base64.b64encode(blob(ED25519, raw)).decode()}"


def hardware(name: str) -> str:
    """The public key of somebody's security key."""
    raw = secret(name).public_key().public_bytes_raw()
    return f"{SK_ED25519.decode()} {base64.b64encode(blob(SK_ED25519, raw, b'ssh:')).decode()}"


def sign(name: str, message: str, namespace: str = NAMESPACE, *, touched: bool | None = None) -> str:
    """An SSHSIG by somebody's key; by their security key where `touched` says whether a finger was on it."""
    digest = hashlib.sha512(message.encode()).digest()
    signed = b"SSHSIG" + blob(namespace.encode(), b"", b"sha512", digest)
    if touched is None:
        signature = blob(ED25519, secret(name).sign(signed))
        key = public(name)
    else:
        flags = bytes([touched]) + struct.pack(">I", 7)
        inner = hashlib.sha256(b"ssh:").digest() + flags + hashlib.sha256(signed).digest()
        signature = blob(SK_ED25519, secret(name).sign(inner)) + flags
        key = hardware(name)
    raw = blob(base64.b64decode(key.split()[1]), namespace.encode(), b"", b"sha512", signature)
    text = base64.b64encode(b"SSHSIG" + struct.pack(">I", 1) + raw).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def anybodys(kind: bytes = ED25519) -> tuple[str, str]:
    """A public key of small order, and what OpenSSL and OpenSSH take as its signature over everything."""
    neutral = bytes([1, *bytes(31)])
    more = kind == SK_ED25519
    key = blob(kind, neutral, *[b"ssh:"] * more)
    signature = blob(kind, neutral + bytes(32)) + bytes([1, 0, 0, 0, 0]) * more
    raw = SSHSIG + blob(key, NAMESPACE.encode(), b"", b"sha512", signature)
    armored = "\n".join([ARMOR[0], base64.b64encode(raw).decode(), ARMOR[1]])
    return f"{kind.decode()} {base64.b64encode(key).decode()}", armored


def write_keys(folder: Path, *names: str) -> Path:
    """Private and public key files as ssh-keygen makes them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names or FIRST:
        path = folder / name
        path.write_bytes(secret(name).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
        path.with_name(f"{name}.pub").write_text(f"{public(name)} {name}\n")
    return folder

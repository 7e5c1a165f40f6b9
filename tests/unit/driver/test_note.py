"""Checkpoints as signed notes, against what others published, and the keys and algorithms that sign them."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sop_driver import notary, note
from sop_driver.errors import Usage
from sop_driver.note import ALGORITHMS, COSIGNED, SIGNED, Algorithm, Checkpoint, Verifier, open_note, verifier_of

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETERS_BLOB = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
POINT = Checkpoint("example.go.id/sop", 7, b"\1" * 32)


def test_note_is_gos() -> None:
    """The example of Go's package golang.org/x/mod/sumdb/note."""
    name, identity, key = PETER.split("+", 2)
    public = base64.b64decode(key)
    assert Verifier(name, public[0], public[1:]).identity.hex() == identity
    assert str(Verifier(name, public[0], public[1:])) == str(verifier_of(PETER)) == PETER
    blob = base64.b64decode(PETERS_BLOB)
    assert blob[:4].hex() == identity
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(blob[4:], note.signed_text(PETERS_TEXT, 1, b""))


LOG, WITNESS = "tarakankota.go.id/sop/0a1b2c3d", "inspektorat"
TIME = 1_679_315_147
# The secret keys of the first two tests of RFC 8032, 7.1.
LOG_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
WITNESS_SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
SIGNED_NOTE = """tarakankota.go.id/sop/0a1b2c3d
20852163
AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=

\u2014 tarakankota.go.id/sop/0a1b2c3d Z3yF76Hh21tZqTyw5tsTQVct8hndlJEQWfQ7tzW9HA6btAY+0CumSmCdM7WTw2IA3A8Y73o7y49K\
/BEd3uZuZe+F8gM=
\u2014 inspektorat EQ1kfAAAAABkGFDLX87LwkotDlQb+63EG56bhodcK2cVoDi09yO2ZPVPLs7wJdYL/l0Zri91ftOnMsXIRQawTOqoXJ8gZlEC\
KzLACw==
"""
LOG_KEY = "tarakankota.go.id/sop/0a1b2c3d+677c85ef+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
WITNESS_KEY = "inspektorat+110d647c+BD1AF8PoQ4lakrcKp00bfrycmCzPLsSWjMDNVfEq9GYM"


def by_hand(secret: bytes, name: str, octet: int, before: bytes, text: bytes, stamp: bytes = b"") -> tuple[str, str]:
    """A key and its line of a note from the words of C2SP's signed-note and tlog-cosignature, by nothing of ours.

    The key's id is the first four octets of SHA-256 over its name, a line's end, the algorithm's octet and the key.
    """
    key = Ed25519PrivateKey.from_private_bytes(secret)
    public = bytes([octet]) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    identity = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    blob = base64.b64encode(identity + stamp + key.sign(before + text)).decode()
    return f"{name}+{identity.hex()}+{base64.b64encode(public).decode()}", f"\u2014 {name} {blob}\n"


def test_checkpoint_and_cosignature_are_as_their_formats_say() -> None:
    """Octet for octet: a log's signature (0x01) over the text, a witness's (0x04) over its time and the text."""
    text = f"{LOG}\n20852163\n{base64.b64encode(bytes(range(32))).decode()}\n".encode()
    key, line = by_hand(LOG_SECRET, LOG, 0x01, b"", text)
    witness, cosigned = by_hand(WITNESS_SECRET, WITNESS, 0x04, b"cosignature/v1\ntime 1679315147\n", text,
                                struct.pack(">Q", TIME))
    assert (key, witness, text.decode() + "\n" + line + cosigned) == (LOG_KEY, WITNESS_KEY, SIGNED_NOTE)
    ours, theirs = notary.Notary(LOG, SIGNED, LOG_SECRET), notary.Notary(WITNESS, COSIGNED, WITNESS_SECRET)
    assert (ours.verifier, theirs.verifier) == (LOG_KEY, WITNESS_KEY)
    point = Checkpoint(LOG, 20852163, bytes(range(32)))
    assert f"{point.body}\n{ours.sign(point.body)}{theirs.sign(point.body, TIME)}" == SIGNED_NOTE
    assert open_note(SIGNED_NOTE, [LOG_KEY, WITNESS_KEY]) == replace(point, signers=(LOG, WITNESS), times=(0, TIME))


@pytest.mark.parametrize(
    ("what", "names"),
    [("text", "both"), ("time", WITNESS), ("no time", WITNESS), ("the log's text", WITNESS),
     ("the witness's text", LOG)])
def test_signature_over_anything_else_does_not_hold(what: str, names: str) -> None:
    text = f"{LOG}\n20852163\n{base64.b64encode(bytes(range(32))).decode()}\n".encode()
    head, stamp = b"cosignature/v1\ntime 1679315147\n", struct.pack(">Q", TIME)
    _, line = by_hand(LOG_SECRET, LOG, 0x01, head if what == "the witness's text" else b"", text)
    before = {"no time": b"cosignature/v1\n", "the log's text": b""}.get(what, head)
    _, cosigned = by_hand(WITNESS_SECRET, WITNESS, 0x04, before, text,
                          struct.pack(">Q", TIME + 1) if what == "time" else stamp)
    note_ = f"{text.decode()}\n{line}{cosigned}"
    if what == "text":
        note_ = note_.replace("20852163", "20852164")
    for name, key in ((LOG, LOG_KEY), (WITNESS, WITNESS_KEY)):
        if names in (name, "both"):
            with pytest.raises(ValueError, match=f"its signature by {name} does not hold"):
                open_note(note_, [key])
        else:
            assert open_note(note_, [key]).signers == (name,)


def test_note_tells_its_signers_and_refuses_a_false_one(tmp_path: Path) -> None:
    log = notary.make(tmp_path / "log.key", "example.go.id/sop")
    other = notary.make(tmp_path / "witness.key", "inspektorat", COSIGNED)
    assert notary.load(tmp_path / "log.key").verifier == log.verifier
    point = Checkpoint("example.go.id/sop", 7, b"\1" * 32)
    text = f"{point.body}\n{log.sign(point.body)}{other.sign(point.body, 1_800_000_000)}"
    assert open_note(text, [log.verifier]).signers == ("example.go.id/sop",)
    assert open_note(text, [log.verifier, other.verifier]).signers == ("example.go.id/sop", "inspektorat")
    assert open_note(text, []).signers == () and open_note(text, []).size == 7
    with pytest.raises(ValueError, match="does not hold"):
        open_note(text.replace("\n7\n", "\n8\n"), [log.verifier])
    with pytest.raises(ValueError, match="no checkpoint"):
        open_note("hello", [log.verifier])
    name, identity, public = log.verifier.split("+", 2)
    unknown = base64.b64encode(b"\x7f" + base64.b64decode(public)[1:]).decode()
    with pytest.raises(ValueError, match="algorithm that is not known"):
        open_note(text, [f"{name}+{identity}+{unknown}"])


@pytest.mark.parametrize("line", ["anything goes AAAA\n", "- x AAAA\n", "\n", "hello\n", "\u2014 x AAAA AAAA\n",
                                  "\u2014 x AAAA\r\u2014 y AAAA\n", "\u2014  AAAA\n", "\u2014 x A*AA\n"])
def test_note_holds_nothing_below_its_text_but_signatures(line: str) -> None:
    """Words below it would be shown beside signatures that hold; anybody's signature may be there."""
    good = open_note(SIGNED_NOTE + "\u2014 x AAAA\n", [LOG_KEY])
    assert good.signers == (LOG,) and good == open_note(SIGNED_NOTE.rstrip("\n"), [LOG_KEY])
    with pytest.raises(ValueError):
        open_note(SIGNED_NOTE + line, [LOG_KEY])


def test_checkpoint_is_read_from_a_plain_file_only(tmp_path: Path) -> None:
    """A pipe would let whoever verifies wait for ever; whatever else is there is no checkpoint."""
    (tmp_path / "note").write_text("text")
    assert (note.note_in(tmp_path / "note"), note.note_in(tmp_path / "none")) == ("text", "")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("note")
    for other in (tmp_path / "pipe", tmp_path / "link", tmp_path):
        with pytest.raises(ValueError, match="no checkpoint"):
            open_note(note.note_in(other), [])


def test_key_of_checkpoints_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    notary.make(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(Usage, match="others may read"):
        notary.load(path)
    path.write_text("nonsense")
    path.chmod(0o600)
    with pytest.raises(Usage, match="cannot be read"):
        notary.load(path)
    with pytest.raises(Usage, match="cannot name a key"):
        notary.make(path, "a b")


@pytest.mark.parametrize("size", ["07", "", "+7", "-7", "7_0", " 7", "\u0667", "\u00b2", "\uff17"])
def test_size_of_a_checkpoint_has_one_spelling(size: str) -> None:
    """Else two notes that differ say the same."""
    assert open_note(f"{POINT.body}\n", []).size == 7
    with pytest.raises(ValueError, match="no checkpoint"):
        open_note(f"{POINT.body}\n".replace("\n7\n", f"\n{size}\n"), [])


def test_root_of_a_checkpoint_has_one_spelling() -> None:
    """Who signs what the note says would sign another text than is there."""
    spelled = POINT.body.replace("E=\n", "F=\n")
    assert spelled != POINT.body and base64.b64decode(spelled.split("\n")[2], validate=True) == POINT.root
    assert open_note(f"{POINT.body}\n", []) == POINT
    with pytest.raises(ValueError, match="no checkpoint"):
        open_note(f"{spelled}\n", [])


def test_key_whose_id_is_not_its_own_is_none(tmp_path: Path) -> None:
    """Whoever compares keys by their ids would take one for another."""
    made, other = notary.make(tmp_path / "a.key", "x"), notary.make(tmp_path / "b.key", "x")
    (_, identity, _), (_, _, public) = made.verifier.split("+", 2), other.verifier.split("+", 2)
    text = f"{POINT.body}\n{made.sign(POINT.body)}"
    with pytest.raises(ValueError, match=f"calls itself {identity}"):
        open_note(text, [f"x+{identity}+{public}"])
    (tmp_path / "a.key").write_text((tmp_path / "b.key").read_text().replace(
        f"+x+{verifier_of(other.verifier).identity.hex()}+", f"+x+{identity}+"))
    with pytest.raises(Usage, match="cannot be read"):
        notary.load(tmp_path / "a.key")


@pytest.mark.parametrize("octet", [SIGNED, COSIGNED])
def test_key_by_which_anybody_can_sign_signs_no_checkpoint(octet: int) -> None:
    """OpenSSL takes this signature for every text."""
    public = bytes([1, *bytes(31)])
    key, stamp = Verifier("example.go.id/sop", octet, public), bytes(8) if octet == COSIGNED else b""
    Ed25519PublicKey.from_public_bytes(public).verify(public + bytes(32), note.signed_text(POINT.body, octet, stamp))
    blob = base64.b64encode(key.identity + stamp + public + bytes(32)).decode()
    with pytest.raises(ValueError, match="anybody can sign"):
        open_note(f"{POINT.body}\n\u2014 {key.name} {blob}\n", [str(key)])


def _ed448_holds(public: bytes, signature: bytes, text: bytes) -> bool:
    try:
        Ed448PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        return False
    return True


ED448 = Algorithm(
    made=lambda: Ed448PrivateKey.generate().private_bytes_raw(),
    public=lambda secret: Ed448PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw(),
    sign=lambda secret, text: Ed448PrivateKey.from_private_bytes(secret).sign(text),
    holds=_ed448_holds)


@pytest.mark.parametrize("dated", [False, True])
def test_another_algorithm_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dated: bool) -> None:
    """Keys are made, kept, read, named and used by it, and by no other; without the entry it is unknown."""
    with monkeypatch.context() as known:
        known.setitem(ALGORITHMS, 0xFE, note.replace(ED448, dated=dated))
        made = notary.make(tmp_path / "log.key", "example.go.id/sop", 0xFE)
        assert notary.load(tmp_path / "log.key") == made
        key, text = made.verifier, f"{POINT.body}\n{made.sign(POINT.body, 1_800_000_000)}"
        assert open_note(text, [key]).signers == ("example.go.id/sop",)
        with pytest.raises(ValueError, match="does not hold"):
            open_note(text.replace("\n7\n", "\n8\n"), [key])
        read = verifier_of(key)
        assert (read.octet, len(read.public)) == (0xFE, 57)
        for octet in (SIGNED, COSIGNED):
            with pytest.raises(ValueError):
                Verifier(read.name, octet, read.public).signed(POINT.body, b"")
    with pytest.raises(ValueError, match="algorithm that is not known"):
        open_note(text, [key])
    with pytest.raises(Usage, match="cannot be read"):
        notary.load(tmp_path / "log.key")

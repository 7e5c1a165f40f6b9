"""Checkpoints as signed notes, against what others published, and the keys and algorithms that sign them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

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

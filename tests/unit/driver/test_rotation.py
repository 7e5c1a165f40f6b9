"""Another key signs the checkpoints: by two officials and the old key, and whoever knows the old one can follow."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver import insider, people
from driver.desk import Desk
from driver.test_cli import Sop, fleet, sop
from driver.test_export import verify
from sop_driver import actors, audit, export, merkle, notary, orders, outsider, trust
from sop_driver.directory import Directory
from sop_driver.errors import Refused, Usage
from sop_driver.note import COSIGNED, Checkpoint, announcement, open_note, signed_by
from sop_driver.proof import ORIGIN, canonical, leaf_hash, node_hash
from sop_driver.register import Entry
from sop_driver.standing import Office
from sop_driver.statement import statement

__all__ = ["fleet", "sop"]
BY = ["kadis", "kasubbag"]


def rotate(desk: Desk, by: list[str] = BY) -> Entry:
    entry = orders.rotate(desk.office, by, desk.sign, "kunci lama dua tahun")
    assert entry is not None
    return entry


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def rotated(desk: Desk) -> tuple[Desk, str, str]:
    """A register that had a key, and has another one from entry 10 on; entries follow."""
    desk.approved()
    old = desk.office.register.notary.verifier
    shutil.copy(desk.office.register.key_file, desk.folder / "stolen.key")
    rotate(desk)
    desk.submit(requester="disdik", name="lain.tarakankota.go.id")
    return desk, old, desk.office.register.notary.verifier


def test_checkpoints_before_are_the_old_keys_and_after_the_new_ones(rotated: tuple[Desk, str, str]) -> None:
    desk, old, new = rotated
    assert old != new and desk.office.people().keys == [(1, old), (10, new)]
    for note in desk.office.register.checkpoints():
        size = open_note(note, []).size
        mine, other = (old, new) if size < 10 else (new, old)
        assert open_note(note, [mine]).signers and not open_note(note, [other]).signers
    assert trust.examine(desk.office).findings == []


def test_no_key_of_the_register_is_a_witness_under_whatever_name(
    rotated: tuple[Desk, str, str], sop: Sop, tmp_path: Path
) -> None:
    """Who has a checkpoint key, or had one, could otherwise be the register's own witness."""
    desk, old, new = rotated
    export.export(desk.office, tmp_path / "export", documents=False)
    write(tmp_path / "receipt", json.dumps(trust.make_receipt(desk.office, None)))
    stolen = notary.load(desk.folder / "stolen.key").secret
    example = Path(export.__file__).parent / "data/sop.example.yml"
    for key in (old, new, notary.Notary("inspektorat", COSIGNED, stolen).verifier):
        said = f"the witness {key.split('+')[0]} has a key that signs this register's checkpoints"
        for path in (tmp_path / "export", tmp_path / "receipt"):
            code, lines = outsider.check(path, new, [key])
            assert code == 1 and said in str(lines), lines
        config = write(tmp_path / "sop.yml", f"{example.read_text()}\nwitnesses: [{key}]\n")
        code, out, err = sop("register", "verify", "--config", config)
        assert code == 1 and said in out, err
    other = notary.make(tmp_path / "other.key", "inspektorat", COSIGNED).verifier
    config = write(tmp_path / "sop.yml", f"{example.read_text()}\nwitnesses: [{other}]\n")
    assert sop("register", "verify", "--config", config)[0] == 0


def test_old_key_is_destroyed_and_the_next_writer_finds_the_new_one(rotated: tuple[Desk, str, str]) -> None:
    desk, _, new = rotated
    key, = desk.office.register.key_file.parent.iterdir()
    assert notary.load(key).verifier == new and key.stat().st_mode & 0o777 == 0o600
    desk.office.register.close()
    desk.office.register = desk.register()
    desk.submit(requester="dinsos", name="tiga.tarakankota.go.id")
    rotate(desk)
    desk.submit(requester="dinsos", name="empat.tarakankota.go.id")
    assert trust.examine(desk.office).findings == []


def test_old_key_that_a_killed_rotation_left_goes_with_the_next_entry(rotated: tuple[Desk, str, str]) -> None:
    """Its thief could sign a register that ends before the rotation. What is prepared for the next one stays."""
    desk, old, new = rotated
    folder = desk.office.register.key_file.parent
    left = folder / "checkpoint.key"
    shutil.copy(desk.folder / "stolen.key", left)
    prepared = notary.make(folder / "checkpoint-0000.key", desk.office.people().register).verifier
    desk.submit(requester="dinsos", name="tiga.tarakankota.go.id")
    assert notary.held(folder).keys() == {new, prepared} and old != new and not left.exists()
    assert trust.examine(desk.office).findings == []


def test_old_key_that_goes_while_a_writer_looks_hinders_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rotation destroys it after its entry, when others may write."""
    old, real = desk.office.register.key_file, notary.load
    rotate(desk)
    made = notary.make(old, "again")

    def late(path: Path) -> notary.Notary:
        if path == old:
            path.unlink()
        return real(path)

    monkeypatch.setattr(notary, "load", late)
    assert made.verifier not in notary.held(old.parent)
    old.write_text("no key")
    monkeypatch.setattr(notary, "load", real)
    with pytest.raises(Usage, match="others may read this key"):
        notary.held(old.parent)


def test_rotation_while_a_run_is_under_way_leaves_it_its_end(desk: Desk) -> None:
    """By another driver, or another terminal: the run has read the old key, and records by the new one."""
    request, old, done = desk.approved(), desk.office.register.notary, list[Entry | None]()
    other = desk.opened(desk.clock)

    def rotated_meanwhile(playbook: str, check: bool) -> None:
        if (playbook, check, done) == ("websites.yml", False, []):
            done.append(orders.rotate(other, BY, desk.sign, "berkala"))

    desk.fleet.on_play = rotated_meanwhile
    desk.run(request)
    other.register.close()
    assert desk.outcomes() == ["started", "applied"] and desk.office.register.notary != old
    assert trust.examine(desk.office).findings == []


def test_rotation_while_somebody_signs_is_no_fault_of_the_register(desk: Desk) -> None:
    """Whose key asks for a passphrase, or to be touched."""
    request, other, done = desk.submit(), desk.opened(desk.clock), list[Entry | None]()

    def slowly(who: str, said: str) -> str:
        if not done:
            done.append(orders.rotate(other, BY, people.sign, "berkala"))
        return people.sign(who, said)

    desk.sign = slowly
    desk.take(request, "agenda")
    other.register.close()
    assert done and desk.office.people().keys[1][0] == 3 and trust.examine(desk.office).findings == []


@pytest.mark.parametrize("by", [[], ["kadis"], ["kadis", "dinkes"]])
def test_rotation_takes_two_officials(desk: Desk, by: list[str]) -> None:
    desk.submit()
    old = desk.office.register.notary.verifier
    with pytest.raises(Refused, match="2 of kadis"):
        rotate(desk, by)
    assert desk.office.register.notary.verifier == old and desk.submit()


def test_rotation_takes_the_old_keys_word(desk: Desk, tmp_path: Path) -> None:
    """Two officials and an administrator without the key cannot bring another one in."""
    other = notary.make(tmp_path / "other.key", desk.office.register.notary.name)
    for signer, key in ((other, other.verifier), (desk.office.register.notary, "elsewhere+00000000+AAAA")):
        data = {"checkpoint_key": key, "announced": signer.sign(announcement(other.name, key))}
        with pytest.raises(Refused, match=r"did not announce the next one|another register's"):
            actors.enter(desk.office, "rotate", {}, [], BY, desk.sign, data=data, reason="x")
    assert trust.examine(desk.office).findings == []


def test_key_that_was_rotated_out_does_not_come_back(desk: Desk, tmp_path: Path) -> None:
    first = desk.office.register.notary
    rotate(desk)
    data = {"checkpoint_key": first.verifier,
            "announced": desk.office.register.notary.sign(announcement(first.name, first.verifier))}
    with pytest.raises(Refused, match="was one before"):
        actors.enter(desk.office, "rotate", {}, [], BY, desk.sign, data=data, reason="x")


def test_announcement_is_one_keys_signature_over_one_text(tmp_path: Path) -> None:
    made, other = notary.make(tmp_path / "a", "x"), notary.make(tmp_path / "b", "x")
    line = made.sign("text\n")
    assert signed_by("text\n", line, made.verifier)
    assert not signed_by("text\n", line, other.verifier) and not signed_by("other\n", line, made.verifier)
    with pytest.raises(ValueError):
        signed_by("text\n", "none", made.verifier)


def test_whoever_knows_either_key_verifies_export_and_receipt(rotated: tuple[Desk, str, str], tmp_path: Path) -> None:
    desk, old, new = rotated
    export.export(desk.office, tmp_path / "export", documents=True)
    write(tmp_path / "receipt.json", json.dumps(desk.receipt("R-2026-0001")))
    stranger = notary.make(tmp_path / "k", desk.office.people().register).verifier
    for path in (tmp_path / "export", tmp_path / "receipt.json"):
        for key, code in ((old, 0), (new, 0), (stranger, 1)):
            found, told = verify(tmp_path / "export/verify.py", path, "--key", key)
            assert found == code, told
    note = desk.office.register.checkpoint()
    (tmp_path / "export/checkpoint").write_text(note.replace(note.splitlines()[2], "A" * 43 + "="))
    assert outsider.check(tmp_path / "export", old)[0] == 1


def test_what_is_from_before_a_rotation_is_no_other_registers_by_the_new_key(desk: Desk, tmp_path: Path) -> None:
    """Who has the key of a newer report asks anew: a thief of the old key could have made it, too."""
    request = desk.submit()
    export.export(desk.office, tmp_path / "export", documents=True)
    (tmp_path / "receipt").write_text(json.dumps(desk.receipt(request)))
    rotate(desk)
    for name in ("export", "receipt"):
        code, told = outsider.check(tmp_path / name, desk.office.people().checkpoint_key)
        assert code == 1 and not [line for line in told if "signed for the register" in line], told
        assert any(line.startswith("or it is from before the register had the key given; ask for one that is made "
                                   "now") for line in told), told


def test_old_key_signs_nothing_later(rotated: tuple[Desk, str, str]) -> None:
    """Stolen after the rotation, or the reason for it: its checkpoints of what came later are none."""
    desk, old, _ = rotated
    thief = notary.load(desk.folder / "stolen.key")
    assert thief.verifier == old
    point = open_note(desk.office.register.checkpoint(), [])
    note = f"{point.body}\n{thief.sign(point.body)}"
    write(desk.office.register.checkpoint_file, note)
    assert "is not signed by this register's key" in "\n".join(trust.examine(desk.office).lines())
    with pytest.raises(Refused, match="not signed by its key"):
        desk.submit()


def test_rotation_taken_out_by_the_old_keys_holder_is_found(rotated: tuple[Desk, str, str]) -> None:
    """The register ends before the rotation, whole and signed; the key here is the one that came after."""
    desk, old, _ = rotated
    notes = {open_note(note, []).size: note for note in desk.office.register.checkpoints()}
    insider.change(desk, "DELETE FROM entries WHERE sequence > 9; DELETE FROM checkpoints WHERE size > 9")
    write(desk.office.register.checkpoint_file, notes[9])
    assert open_note(notes[9], [old]).signers
    lines = trust.examine(desk.office).lines()
    assert "another than the one that its first actors signed" in "\n".join(lines)
    with pytest.raises(Refused, match="not signed by its key"):
        desk.submit()


def test_crash_after_the_entry_and_before_the_checkpoint_beside_it_hurts_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit()

    def died(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sop_driver.notary.keep", died)
        with pytest.raises(KeyboardInterrupt):
            rotate(desk)
    desk.office.register.close()
    desk.office.register = desk.register()
    desk.take("R-2026-0001", "agenda")
    assert len(desk.office.people().keys) == 2 and trust.examine(desk.office).findings == []


def test_refused_rotation_leaves_the_old_key_signing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.submit()

    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(trust, "accept", full)
        with pytest.raises(OSError):
            rotate(desk)
    desk.take(request, "agenda")
    assert len(desk.office.people().keys) == 1 and trust.examine(desk.office).findings == []


def test_witness_follows_by_a_receipt_and_not_without(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    there, first = tmp_path / "there", desk.office.people().checkpoint_key
    desk.submit()

    def round_(since: int, *words: Any) -> tuple[int, str, str]:
        update = write(tmp_path / "update", sop("register", "checkpoint", "--since", since)[1])
        return sop("register", "witness", update, "--state", there, *words)

    code, cosigned, err = round_(0, "--name", "inspektorat", "--trust", first)
    assert code == 0, err
    keys = [word for name in BY for word in ("--key", f"{name}={desk.folder / 'keys' / name}")]
    code, out, err = sop("register", "rotate", "--reason", "usang", "--signed-by", *BY, *keys)
    new = out.splitlines()[-1].removeprefix("the key from now on: ")
    assert code == 0 and new == desk.office.people().checkpoint_key != first, err
    code, _, err = round_(2)
    assert code == 3 and "--receipt" in err
    receipt = write(tmp_path / "receipt.json", sop("register", "receipt")[1])
    forged = write(tmp_path / "forged.json", receipt.read_text().replace("usang", "x"))
    assert round_(2, "--receipt", forged)[0] == 3
    code, _, err = round_(2, "--receipt", receipt)
    assert code == 0 and (there / "trusted").read_text().strip() == new, err
    code, _, err = round_(3)
    assert code == 0, err
    with pytest.raises(Usage, match="no receipt"):
        export.witness(tmp_path / "update", there, None, None, tmp_path / "none")
    mine = export.notary.load(there / "witness.key").verifier  # what it signed before is taken back afterwards, too
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
    assert export.take_back(desk.office, write(tmp_path / "cosigned", cosigned))[0] == "inspektorat"
    assert trust.examine(desk.office).findings == []


def tree(texts: list[str]) -> Callable[[int, int], bytes]:
    def node(level: int, position: int) -> bytes:
        if level == 0:
            return leaf_hash(texts[position])
        return node_hash(node(level - 1, 2 * position), node(level - 1, 2 * position + 1))

    return node


def noted(texts: list[str], key: notary.Notary) -> str:
    point = Checkpoint(key.name, len(texts), merkle.root(len(texts), tree(texts)))
    return f"{point.body}\n{key.sign(point.body)}"


class Thief:
    """Has the register's key and no official's: invents actors of its own, who let another key follow."""

    def __init__(self, desk: Desk) -> None:
        stolen, self.real = notary.load(desk.office.register.key_file), insider.texts(desk)
        self.known, self.key = stolen.verifier, notary.make(desk.folder / "evil.key", stolen.name)
        self.first = json.loads(self.real[0])
        self.first["data"]["checkpoint_key"] = self.known
        for who, actor in self.first["data"]["actors"].items():
            actor["key"] = actor["key"] and people.public(f"palsu-{who}")
        word = stolen.sign(announcement(stolen.name, self.key.verifier))
        data = {"actors": {}, "retired": [], "checkpoint_key": self.key.verifier, "announced": word}
        signed = [{"by": who} for who in BY]
        self.next = {**self.first, "outcome": "rotate", "evidence": {}, "data": data, "signatures": signed}

    def texts(self, behind: list[str]) -> list[str]:
        """The invented actors and the other key, as the entries that follow on these."""
        made = list(behind)
        for body in (self.first, self.next):
            if body is self.next:
                last = body["data"]["previous"] = leaf_hash(made[-1]).hex()
                body["data"]["seen"] = {"entry": len(made), "hash": last}
            said = statement(body, self.key.name)
            signed = [{"by": by["by"], "sig": people.sign(f"palsu-{by['by']}", said)} for by in body["signatures"]]
            prev = leaf_hash(made[-1]).hex() if made else ORIGIN
            made.append(canonical({**body, "sequence": len(made) + 1, "prev": prev, "signatures": signed}))
        return made

    def receipt(self, texts: list[str]) -> str:
        """Of the first entry, and of the invented actors, which are the last two."""
        shown = [(place, texts[place]) for place in sorted({0, len(texts) - 2, len(texts) - 1})]
        entries = [{"text": text, "proof": [base64.b64encode(part).decode() for part in
                                            merkle.inclusion(place, len(texts), tree(texts))]} for place, text in shown]
        note = noted(texts, self.key)
        return json.dumps({"request": None, "key": self.known, "entries": entries, "checkpoint": note})

    def update(self, texts: list[str]) -> str:
        old = len(self.real)
        path = [base64.b64encode(part).decode() for part in merkle.consistency(old, len(texts), tree(texts))]
        return "\n".join([f"old {old}", *path, "", noted(texts, self.key)])


@pytest.mark.parametrize(("beside", "told"), [
    (True, r"the receipt is of 2 entries with the root \w+, the checkpoint of 4 with "),
    (False, "entry 3: it was signed for another state of the actors"),
], ids=["a tree of its own", "the real tree, continued"])
def test_witness_follows_no_key_by_actors_whom_a_thief_of_the_key_invented(
    desk: Desk, tmp_path: Path, beside: bool, told: str
) -> None:
    """Else the real register would be refused there ever after, and the thief's one be signed."""
    desk.submit()
    there, known = tmp_path / "there", desk.office.people().checkpoint_key
    export.witness(write(tmp_path / "update", export.update(desk.office, 0)), there, "inspektorat", known)
    before = insider.take_copy(there)
    thief = Thief(desk)
    texts = thief.texts(thief.real)
    update = write(tmp_path / "evil", thief.update(texts))
    receipt = write(tmp_path / "receipt", thief.receipt(thief.texts([]) if beside else texts))
    with pytest.raises(Refused, match=told):
        export.witness(update, there, None, None, receipt)
    assert insider.take_copy(there) == before
    desk.take("R-2026-0001", "agenda")
    export.witness(write(tmp_path / "update", export.update(desk.office, 2)), there, None, None)


def test_receipt_shows_no_second_first_actors(desk: Desk, tmp_path: Path) -> None:
    """A witness's signature on the thief's tree says that it grew, not what is in it."""
    desk.submit()
    thief = Thief(desk)
    found = audit.receipt(json.loads(thief.receipt(thief.texts(thief.real))), thief.known)
    assert "entry 3: the first actors are entered once, before all others" in found.lines()
    alone = audit.receipt(json.loads(thief.receipt(thief.texts([]))), thief.known)  # only the name gives them away
    said = [what.partition(", which is ")[2] for _, what in alone.findings]
    assert said == ["the name of one with other first actors"]


def test_witness_asks_for_the_receipt_of_the_checkpoint_that_it_signs(desk: Desk, tmp_path: Path) -> None:
    """Somebody recorded between the two: nothing is wrong, and both are made anew."""
    there, first = tmp_path / "there", desk.office.people().checkpoint_key
    export.witness(write(tmp_path / "update", export.update(desk.office, 0)), there, "inspektorat", first)
    rotate(desk)
    update = write(tmp_path / "update", export.update(desk.office, 1))
    desk.submit()
    receipt = write(tmp_path / "receipt", json.dumps(trust.make_receipt(desk.office, None)))
    with pytest.raises(Refused, match=r"the receipt is of 3 entries (?s:.*)mend: make both while nobody records"):
        export.witness(update, there, None, None, receipt)
    assert (there / "trusted").read_text().strip() == first
    write(update, export.update(desk.office, 1))
    export.witness(update, there, None, None, receipt)
    assert (there / "trusted").read_text().strip() == desk.office.people().checkpoint_key


def test_statement_signed_elsewhere_names_the_same_new_key(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    words = ("register", "rotate", "--reason", "usang", "--signed-by", *BY)
    for name in ("a", "b"):
        assert sop(*words, "--prepare", tmp_path / name)[0] == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    keys = [word for name in BY for word in ("--key", f"{name}={desk.folder / 'keys' / name}")]
    assert sop(*words, *keys)[0] == 0
    assert json.loads((tmp_path / "a").read_text())["data"]["checkpoint_key"] == desk.office.people().checkpoint_key


def test_key_of_a_size_is_the_last_one_brought_by_then() -> None:
    people = Directory(keys=[(1, "a"), (10, "b")])
    assert [people.key_at(size) for size in (0, 1, 9, 10, 11)] == ["", "a", "a", "b", "b"]


def test_two_rotations_at_once_leave_a_register_that_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One destroys old keys while the other has prepared its own, which it must leave alone."""
    mine, real, second = desk.office, actors.enter, list[Callable[[], Any]]()
    other = desk.opened(desk.clock)

    def enter(office: Office, *words: Any, **more: Any) -> Any:
        entry = real(office, *words, **more)
        if office is mine and not second:
            def later(office: Office, *words: Any, **more: Any) -> None:
                second.append(lambda: real(office, *words, **more))

            monkeypatch.setattr(actors, "enter", later)
            orders.rotate(other, ["kadis", "kasubbag"], desk.sign, "curi 2")
        return entry

    monkeypatch.setattr(actors, "enter", enter)
    orders.rotate(mine, ["kadis", "kasubbag"], desk.sign, "curi 1")
    assert second[0]().outcome == "rotate"
    other.register.close()
    desk.__dict__["office"] = desk.opened(desk.clock)
    desk.submit()
    assert trust.examine(desk.office).findings == []


def test_entry_whose_key_is_not_here_is_taken_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By any other key its checkpoint would be nobody's, and the register could take nothing more."""
    before, real, old = desk.office.register.head(), notary.held, desk.office.people().checkpoint_key
    monkeypatch.setattr(notary, "held", lambda folder: {old: real(folder)[old]})
    with pytest.raises(Refused, match=r"the key that its entries name, .* is not here"):
        orders.rotate(desk.office, ["kadis", "kasubbag"], desk.sign, "hilang")
    assert desk.office.register.head() == before
    monkeypatch.undo()
    desk.submit()
    assert trust.examine(desk.office).findings == []

"""One bit of the register flips, or a value becomes another, anywhere.

All else is read, nothing is decided by it, `verify` says since when.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from driver import insider
from driver.desk import PROJECT, Desk, FakeFleet
from driver.test_attacks import witness
from driver.test_cli import Sop, fleet, sop
from driver.test_export import verify
from sop_driver import audit, emergency, orders, voiding
from sop_driver.errors import Failed
from sop_driver.schema import ENTRIES, NODES

__all__ = ["fleet", "sop"]
REQUEST, OPEN = "R-2026-0001", "R-2026-0002"  # one that is on the servers, one that is under way
READING = [("status",), ("status", REQUEST), ("list",), ("history", REQUEST), ("report", REQUEST), ("actors", "list"),
           ("emergency", "list"), ("freeze", "list")]


def written(desk: Desk) -> list[str]:
    """A register with an entry of each kind."""
    desk.run(desk.approved())
    desk.approved(name="lain.tarakankota.go.id")
    office, two = desk.office, ["kadis", "kasubbag"]
    orders.freeze(office, "2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z", two, desk.sign, "libur")
    emergency.declare(office, OPEN, "2026-11-02T09:00:00Z", ["kadis", "kabid"], desk.sign, "diretas")
    voiding.void(office, OPEN, desk.take(OPEN, "needs_analysis").sequence, "kabid", desk.sign, "salah")
    return insider.texts(desk)


def flips(text: str) -> list[str]:
    """A text with one bit of a key flipped, or of a value."""
    places = [found.start() for found in re.finditer(r'(?:(?<=")|(?<=:)|(?<=:"))\w(?=\w*"?[:,}])', text)]
    return [text[:place] + chr(ord(text[place]) ^ 1 << bit) + text[place + 1 :]
            for place, bit in zip(places, itertools.cycle((0, 1, 4, 2, 3)), strict=False)]


CUT_KEY = "ssh-ed25519 AAA="
DEEP = "[" * 950 + "]" * 950  # stands for such lists: Python neither reads nor writes so many
VALUES = [None, True, -1, 1.5, 10**30, "", "x", CUT_KEY, "2026-02-30T00:00:00Z", [], {}, [None], [1], {"x": 1}, DEEP]


def places(value: Any, *before: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where the values in an entry are, the entry itself left out."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*before, key)
        yield from places(value[key], *before, key)


def replaced(text: str, place: tuple[str | int, ...], value: Any) -> str:
    """An entry with another value at a place, or with one that it did not have."""
    body = at = json.loads(text)
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    said = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return said.replace(f'"{DEEP}"', DEEP)


def put(desk: Desk, number: int, text: str) -> bool:
    """Whether the database takes it: its columns are made of the entry."""
    with insider.unguarded(desk) as db:
        try:
            db.execute(update(ENTRIES).where(ENTRIES.c.sequence == number).values(entry=text))
        except (DBAPIError, Failed):
            return False
    return True


def broken(desk: Desk, number: int, old: str, new: str) -> None:
    text = insider.texts(desk)[number - 1]
    assert old in text and put(desk, number, text.replace(old, new, 1))


@pytest.mark.parametrize("part", range(3))
def test_flipped_bit_stops_gates_and_never_reading(desk: Desk, sop: Sop, fleet: FakeFleet, part: int) -> None:
    texts, tried = written(desk), 0
    fleet.played.clear()
    for number, text in list(enumerate(texts, 1))[part::3]:
        for flipped in flips(text)[number % 7 :: 40]:
            if not put(desk, number, flipped):
                continue
            for words in READING:
                code, out, err = sop(*words)
                assert (code, "refused" in err) == (0, False), (number, flipped, words, err)
            code, _, err = sop("register", "receipt", REQUEST)  # goes to outsiders as a proof: whole, or not at all
            assert code == 0 or (code == 3 and "gate: the register" in err), (number, flipped, err)
            code, out, _ = sop("register", "verify")
            assert code == 1 and "rely on nothing from entry" in out, (number, flipped)
            code, _, err = sop("run", OPEN, "--as", "subkoor")
            assert code == 3 and "rely on nothing from entry" in err, (number, flipped, err)
            assert put(desk, number, text)
            tried += 1
    assert fleet.played == [] and tried >= 8
    assert sop("register", "verify")[0] == 0


REPLACED = [(1, "data actors dinsos key", CUT_KEY), (1, "data actors dinsos name", 5), (1, "data checkpoint_key", [1]),
            (1, "data checkpoint_key", 1.5), (1, "z", DEEP), (10, "data requests", 1), (10, "data run", [1]),
            (12, "z", DEEP)]


def test_replaced_value_stops_gates_and_never_reading(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    texts, export = written(desk), desk.folder / "export"
    fleet.played.clear()
    for number, place, value in REPLACED:
        assert put(desk, number, replaced(texts[number - 1], tuple(place.split()), value))
        warned = 0
        for words in READING:
            code, _, err = sop(*words)
            assert code == 0, (number, place, words, err)
            warned += f"warning: entry {number} cannot be used" in err
        assert warned, (number, place)
        code, out, _ = sop("register", "verify")
        assert code == 1 and "rely on nothing from entry" in out, (number, place)
        code, _, err = sop("run", OPEN, "--as", "subkoor")
        assert code == 3 and "rely on nothing from entry" in err, (number, place, err)
        assert sop("register", "export", export)[0] == 0
        code, out = verify(export / "verify.py", export)
        assert code == 1 and "rely on nothing from entry" in out, (number, place, out)
        shutil.rmtree(export)
        assert put(desk, number, texts[number - 1])
    assert fleet.played == [] and sop("register", "verify")[0] == 0


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What earlier tests left is not cleared away within lists as deep as Python goes: that would fail there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_replaced_value_is_found_whatever_it_is(file_desk: Desk) -> None:
    """In an export as in a receipt; the one-file verifier reads them by the same code."""
    texts, tried, others = written(file_desk), set[tuple[str | int | None, ...]](), itertools.cycle(VALUES)
    key, note = file_desk.office.people().checkpoint_key, file_desk.office.register.checkpoint()
    receipt = file_desk.receipt(REQUEST)
    handed = {item["text"]: item for item in receipt["entries"]}
    for number, text in enumerate(texts):
        body = json.loads(text)
        for place in places(body):
            shape = body["kind"], body["outcome"], *(name for name in place if isinstance(name, str))
            changed = replaced(text, place, next(others))
            if shape in tried or changed == text:
                continue
            tried.add(shape)
            whole = [*texts[:number], changed, *texts[number + 1 :]]
            assert audit.whole(whole.copy, {"its checkpoint": note}, key).findings, (number, place, changed)
            if text in handed:
                handed[text]["text"] = changed
                with contextlib.suppress(*audit.UNREADABLE):
                    assert audit.receipt(receipt, key).findings, (number, place, changed)
                handed[text]["text"] = text
    assert len(tried) > 300


def test_entry_that_cannot_be_used_is_named_and_left_out_of_what_is_shown(desk: Desk, sop: Sop) -> None:
    written(desk)
    broken(desk, 6, '"digest":', '"diges4":')
    said = ("warning: entry 6 cannot be used (KeyError: 'digest'), and is left out; `sop register verify` tells since "
            "when the register cannot be relied on\n")
    code, out, err = sop("status")
    assert (code, err) == (0, said) and REQUEST in out and OPEN in out
    code, out, err = sop("history", REQUEST)
    assert (code, err) == (0, said) and " step review" in out and " step decision" not in out
    assert sop("list")[::2] == (0, "")


def test_request_whose_beginning_cannot_be_used_is_shown_as_far_as_it_can_be(desk: Desk, sop: Sop) -> None:
    written(desk)
    broken(desk, 2, '"letter":"', '"lette2":"')
    code, out, err = sop("status")
    assert code == 0 and OPEN in out and REQUEST not in out and "warning: entry 2 cannot be used" in err
    code, out, err = sop("report", REQUEST)
    assert code == 0 and out.startswith("# R-2026-0001\n") and "step review" in out and "Checkpoint" in out
    assert "warning: entry 2 cannot be used" in err
    code, out, err = sop("list")
    assert code == 0 and "present" not in out
    assert "warning: entry 11 cannot be used (ValueError: the form of R-2026-0001" in err


def test_later_actors_are_shown_where_the_first_cannot_be_used(desk: Desk, sop: Sop) -> None:
    desk.enroll("mantu", "bidang")
    broken(desk, 1, '"stands_in":', '"stands_io":')
    code, out, err = sop("actors", "list")
    assert code == 0 and out.startswith("mantu  mantu, bidang") and "warning: entry 1 cannot be used (TypeError" in err


def test_emergency_and_window_that_cannot_be_used_are_left_out(desk: Desk, sop: Sop) -> None:
    written(desk)
    broken(desk, 24, "2027-01-01T", "2027-01-41T")
    broken(desk, 25, '"until":', '"unti1":')
    for words, number in ((("freeze", "list"), 24), (("emergency", "list"), 25), (("status",), 24), (("status",), 25)):
        code, _, err = sop(*words)
        assert code == 0 and f"warning: entry {number} cannot be used" in err


def test_nothing_is_made_of_a_register_that_cannot_be_used(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    """The playbooks, run by hand, would remove a website that is left out of the desired state."""
    written(desk)
    desk.office.home.desired.unlink()
    broken(desk, 10, '"allocations":', '"allocationt":')
    fleet.played.clear()
    assert sop("list")[0] == 0 and not desk.office.home.desired.exists()
    form, paper = desk.write(desk.form()), f"scan={desk.paper}"
    for words in (("submit", form, "--letter", desk.letter, "--as", "dinkes"), ("plan", OPEN), ("drift",), ("probe",),
                  ("record", OPEN, "needs_analysis", "--as", "kabid", "--evidence", paper),
                  ("run", OPEN, "--as", "subkoor")):
        code, _, err = sop(*words)
        assert code == 3 and "rely on nothing from entry 10 on" in err and "\nmend: " in err, words
    assert fleet.played == [] and not desk.office.home.desired.exists()


def test_export_holds_an_entry_that_cannot_be_used_word_for_word(desk: Desk, sop: Sop) -> None:
    """It is what an auditor asks for then."""
    desk.submit()
    broken(desk, 2, '"evidence":', '"evidenc4":')
    code, _, err = sop("register", "export", desk.folder / "out")
    assert code == 0 and "warning: entry 2 cannot be used" in err
    assert (desk.folder / "out/register.jsonl").read_text().splitlines() == insider.texts(desk)


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
@pytest.mark.parametrize(("value", "findings"), [
    (lambda note: note.encode(), 0), (lambda note: b"x" + note.encode(), 1), (lambda note: b"\xff", 1),
    (lambda note: 7, 1)])
def test_checkpoint_of_another_type_stops_gates_and_never_reading(
    desk: Desk, sop: Sop, value: Callable[[str], bytes | int], findings: int
) -> None:
    """SQLite keeps whatever is given. The same words as octets say the same."""
    written(desk)
    with insider.unguarded(desk) as db:
        size, note = desk.office.register.head()[0], desk.office.register.checkpoint()
        db.exec_driver_sql("UPDATE checkpoints SET note = ? WHERE size = ?", (value(note), size))
    for reading in READING:
        assert sop(*reading)[0] == 0, reading
    code, out, _ = sop("register", "verify")
    assert (code, "rely on nothing from entry" in out) == (findings, bool(findings))
    code, _, err = sop("run", OPEN, "--as", "subkoor")
    assert code == 3 and ("rely on nothing from entry" in err) == bool(findings)


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
@pytest.mark.parametrize("number", [4, 13])
def test_highest_bit_of_an_octet_stops_gates_and_never_reading(
    desk: Desk, sop: Sop, fleet: FakeFleet, number: int
) -> None:
    """What is on the disk is no UTF-8 any more, in a value that nothing else goes by."""
    text = written(desk)[number - 1].encode()
    place = text.index(b'"time":"') + 8
    flipped = bytes([text[place] ^ 0x80])
    insider.overwrite(desk, text[:place + 20], text[:place] + flipped + text[place + 1 : place + 20])
    fleet.played.clear()
    for words in READING:
        code, _, err = sop(*words)
        assert code == 0, (words, err)
    code, out, _ = sop("register", "verify")
    assert code == 1 and f"entry {number}: " in out and f"rely on nothing from entry {number}" in out
    code, _, err = sop("run", OPEN, "--as", "subkoor")
    assert code == 3 and "rely on nothing from entry" in err and fleet.played == []
    sop("register", "export", desk.folder / "out")
    lines = (desk.folder / "out/register.jsonl").read_bytes().replace(b"\xef\xbf\xbd", flipped)
    (desk.folder / "out/register.jsonl").write_bytes(lines)
    code, said = verify(desk.folder / "out/verify.py", desk.folder / "out")
    assert code == 1 and f"entry {number}: " in said


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
@pytest.mark.parametrize("number", [1, 6, 26])
def test_damaged_page_stops_gates_and_is_told_since_when(desk: Desk, sop: Sop, fleet: FakeFleet, number: int) -> None:
    """The database gives what lies before it, and its own words for the rest."""
    texts = written(desk)
    ruined = insider.damage(desk, texts[number - 1][:200].encode())
    since = next(place for place, text in enumerate(texts, 1) if text[:200].encode() in ruined)
    fleet.played.clear()
    code, out, _ = sop("register", "verify")
    told = "here ends what can be read: the register's database could not be used: database disk image is malformed"
    assert code == 1 and f"entry {since}: {told}\nrely on nothing from entry {since} on" in out, out
    code, _, err = sop("run", OPEN, "--as", "subkoor")
    assert code == 3 and f"rely on nothing from entry {since} on" in err and fleet.played == []


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
def test_witness_who_signed_is_not_asked_to_where_the_database_ends_before_that(
    desk: Desk, sop: Sop, tmp_path: Path
) -> None:
    texts = written(desk)
    witness(desk, 0)
    example = (PROJECT / "sop_driver/data/sop.example.yml").read_text()
    (tmp_path / "sop.yml").write_text(f"{example}\nwitnesses: [{desk.office.config.witnesses[0]}]\n")
    assert sop("register", "verify", "--config", tmp_path / "sop.yml")[0] == 0
    insider.damage(desk, texts[5][:200].encode())
    code, out, _ = sop("register", "verify", "--config", tmp_path / "sop.yml")
    assert code == 1 and "here ends what can be read" in out and "nothing here is signed by the witness" not in out, out


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
def test_damaged_page_beside_the_entries_takes_no_trust_from_these(desk: Desk, sop: Sop) -> None:
    after = len(written(desk)) + 1
    insider.damage(desk, desk.office.register.db.execute(select(NODES.c.hash)).scalars().all()[0])
    code, out, _ = sop("register", "verify")
    assert code == 1 and out.startswith(f"entry {after}: here ends what can be read: ")
    assert f"rely on nothing from entry {after} on; the last one to rely on is entry {after - 1} of " in out


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
@pytest.mark.parametrize("number", [1, 4, 10, 13, 25])
def test_entry_that_is_no_json_any_more_stops_gates_and_never_reading(
    desk: Desk, sop: Sop, fleet: FakeFleet, number: int
) -> None:
    """As the disk has it, past the database: its indexes find the entry as before.

    Where a signer saw this very entry, what is before it can be relied on as far as another one had seen it.
    """
    texts = written(desk)
    text = texts[number - 1].encode()
    insider.overwrite(desk, text[:200], b"[" + text[1:200])
    fleet.played.clear()
    warned = 0
    for words in READING:
        code, _, err = sop(*words)
        assert code == 0, (words, err)
        warned += f"warning: entry {number} cannot be used (JSONDecodeError" in err
    assert warned
    others = [json.loads(each)["data"].get("seen", {"entry": 0})["entry"] for each in texts if each.encode() != text]
    since = 1 + max(entry for entry in others if entry < number) if number in others else number
    code, out, _ = sop("register", "verify")
    assert code == 1 and f"entry {number}: it is no entry (JSONDecodeError" in out
    assert number - 2 < since <= number and f"rely on nothing from entry {since} on" in out
    code, _, err = sop("run", OPEN, "--as", "subkoor")
    assert code == 3 and f"rely on nothing from entry {since} on" in err and fleet.played == []

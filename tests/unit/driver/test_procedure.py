"""The SOP's data file holds the SOP, and one that does not hang together is refused."""

from __future__ import annotations

import hashlib
import re

import pytest

from driver.desk import PROJECT
from sop_driver import procedure
from sop_driver.errors import SopError, Usage

SOP = PROJECT / "sop_driver/data/sop-website-2024.yml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("by: run", "by: record"),
        ("id: review", "id: agenda"),
        ("[kadis]", "[walikota]"),
        ("returns_to: disposition", "returns_to: build"),
        ("by: submit", "by: record"),
        ("number: 4", "number: four"),
        ("steps:", "- steps:"),
        ("minutes: 25", "minutes: -1"),
        ("ink: weak", "ink: frail"),
        ("ink: weak", "fax: weak"),
        ("{ssh: strong, ", "{"),
        ("{scan: any, ", "{release: any, "),
    ],
)
def test_parse_refuses_sop_file_that_does_not_hang_together(old: str, new: str) -> None:
    path = SOP
    text = path.read_text()
    assert old in text
    with pytest.raises(SopError):
        procedure.parse(text.replace(old, new, 1).encode(), path)


@pytest.mark.parametrize("name", ["personal.contact", "lembar  disposisi", "lembar/disposisi", "kak\\n", ""])
def test_parse_refuses_evidence_whose_name_no_entry_takes(name: str) -> None:
    """The step could never be recorded."""
    text = SOP.read_text().replace("lembar_disposisi: any", f'"{name}": any')
    with pytest.raises(Usage, match=rf"step 2 \(agenda: .*\): '{re.escape(name)}' names no document"):
        procedure.parse(text.encode(), SOP)


def test_sop_file_that_does_not_say_how_strong_levels_are_goes_on() -> None:
    """Requests under way keep theirs, by its hash."""
    text = "".join(line for line in SOP.read_text().splitlines(keepends=True) if not line.startswith("levels:"))
    found = procedure.parse(text.encode(), SOP)
    assert found.hash == hashlib.sha256(text.encode()).hexdigest()
    assert found.levels == procedure.parse(SOP.read_bytes(), SOP).levels == procedure.STRONG


def test_sop_file_holds_the_eleven_steps_of_the_sop() -> None:
    path = SOP
    found = procedure.parse(path.read_bytes(), path)
    assert [step.number for step in found.steps] == list(range(1, 12))
    assert [str(s.time) for s in found.steps] == [
        "2 menit",
        "3 menit",
        "2 menit",
        "25 menit",
        "30 menit",
        "15 menit",
        "3 hari",
        "7 hari",
        "90 menit",
        "2 menit",
        "2 menit",
    ]

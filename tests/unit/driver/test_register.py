"""The register keeps its order, its chain and its hands off strangers' files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from driver.desk import PROJECT, Desk
from sop_driver import actors, trust
from sop_driver.errors import Failed, Recorded, Refused, SopError, Usage
from sop_driver.register import Register, utc_now


def test_register_refuses_and_leaves_untouched_what_is_not_ours(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    db = sqlite3.connect(other)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (a)")
    db.close()
    for name, data in (("other.db", other.read_bytes()), ("text.db", b"hello"), ("empty.db", b"")):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(Usage, match="not a register"):
            Register(path)
        assert path.read_bytes() == data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.db", "other.db", "text.db"]


def test_register_takes_no_change_removal_or_gap(desk: Desk) -> None:
    desk.submit()
    statements = ["UPDATE entries SET entry = '{}'", "DELETE FROM entries",
                  "INSERT INTO entries (sequence, entry, hash) VALUES (9, '{}', 'x')"]
    if desk.office.register.store.shared:
        statements.append("TRUNCATE entries")
    for statement in statements:
        with pytest.raises(Failed, match=r"append-only|no gaps"):
            desk.office.register.db.exec_driver_sql(statement)
    assert desk.office.register.head()[0] == 2


def test_append_keeps_nothing_when_the_block_fails(desk: Desk) -> None:
    with pytest.raises(KeyError), desk.office.register.writing():
        desk.office.register.append("record")
        raise KeyError
    assert desk.office.register.head()[0] == 1


def test_verify_is_content_with_an_untouched_register(desk: Desk) -> None:
    desk.approved()
    assert trust.examine(desk.office).findings == []


def test_agenda_numbers_are_unique_and_gapless_when_clerks_work_at_once(desk: Desk) -> None:
    requests = [desk.submit() for _ in range(8)]
    errors = list[Exception]()

    def clerk(request: str) -> None:
        try:
            mine = Desk.__new__(Desk)
            mine.__dict__ |= desk.__dict__
            mine.office = desk.opened(desk.clock)
            mine.take(request, "agenda")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=clerk, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [e.data["agenda"]["number"] for e in desk.office.register.entries(kind="step") if "agenda" in e.data]
    assert errors == [] and numbers == list(range(1, 9))
    assert trust.examine(desk.office).findings == []


def test_agenda_numbers_start_again_with_the_agencys_new_year(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    desk.take(first, "agenda")
    desk.clock.time = desk.clock.time.replace(month=12, day=31, hour=16, minute=30)  # 00:30 on 1 January in Tarakan
    entry = desk.take(second, "agenda")
    assert entry.data["agenda"]["text"] == "000.8.3.3.3/1/DKISP/2027"


def test_evidence_is_private_and_read_only(desk: Desk) -> None:
    digest = desk.office.evidence.add(desk.paper)
    assert desk.office.evidence.path(digest).stat().st_mode & 0o777 == 0o400
    assert desk.office.evidence.add(desk.paper) == digest


def test_evidence_read_refuses_changed_document(desk: Desk) -> None:
    digest = desk.office.evidence.add(desk.paper)
    desk.office.evidence.path(digest).unlink()
    with pytest.raises(Refused, match="cannot be read"):
        desk.office.evidence.read(digest)


def test_evidence_tells_a_full_disk_and_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(desk.office.evidence.folder.iterdir())
    monkeypatch.setattr("sop_driver.evidence.os.fsync", full)
    with pytest.raises(SopError, match="No space left"):
        desk.office.evidence.add(desk.paper)
    assert sorted(desk.office.evidence.folder.iterdir()) == before


WRITER = """
import sys
from pathlib import Path
from sop_driver.register import Register
register = Register(sys.argv[1], folder=Path(sys.argv[4]))
for number in range(int(sys.argv[2])):
    print(register.append("record", data={"writer": sys.argv[3], "number": number}).sequence, flush=True)
"""


def writer(desk: Desk, count: int, name: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, desk.place, str(count), name, str(desk.office.home.path)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=PROJECT)


def test_sixteen_writers_at_once_lose_nothing_and_leave_no_gap(desk: Desk) -> None:
    writers = [writer(desk, 5, str(number)) for number in range(16)]
    told = sorted(int(line) for process in writers for line in process.communicate(timeout=120)[0].split())
    assert told == list(range(2, 82)) and [process.returncode for process in writers] == [0] * 16
    found = [(e.data["writer"], e.data["number"]) for e in desk.office.register.entries(kind="record")]
    assert len(set(found)) == 80
    assert trust.examine(desk.office).findings == []


def test_killed_writer_loses_no_acknowledged_entry(desk: Desk) -> None:
    for _ in range(3):
        process = writer(desk, 10**6, "x")
        assert process.stdout
        told = [process.stdout.readline() for _ in range(5)]
        process.kill()
        told += process.stdout.readlines()
        process.wait()
        kept = {entry.sequence for entry in desk.office.register.entries()}
        acknowledged = {int(line) for line in told if line.endswith("\n")}
        assert acknowledged <= kept and trust.examine(desk.office).findings == []
        desk.office.register.now = utc_now
        assert desk.office.register.append("record").sequence == len(kept) + 1


def test_checkpoint_file_that_cannot_be_written_is_written_by_the_next_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded stands, and is not recorded twice; nothing more is until there is room."""
    def full(path: Path, note: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    (tmp_path / "bare").mkdir()
    desk = Desk(tmp_path / "bare")
    office = desk.opened(desk.clock)
    monkeypatch.setattr("sop_driver.register.notary.keep", full)
    with pytest.raises(Recorded, match=r"entries up to 1 were recorded(?s:.*)do not repeat it"):
        actors.bootstrap(office, desk.ceremony(), desk.sign)
    assert trust.examine(office).findings == [] and not office.register.checkpoint_file.exists()
    with pytest.raises(OSError, match="No space left"):
        office.register.append("record")
    assert office.register.head()[0] == 1
    monkeypatch.undo()
    assert office.register.append("record").sequence == 2 and trust.examine(office).findings == []

"""Documents are found by their sha256 and by nothing else, read as they were compared, and stay after a power cut."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver import insider
from driver.desk import Desk
from driver.test_cli import Sop, sop
from driver.test_erasure import erase
from sop_driver import export, orders, outsider, report, standing, steps, trust
from sop_driver.config import write_atomic
from sop_driver.errors import Refused
from sop_driver.evidence import Evidence

__all__ = ["sop"]
KEY = "../keys/checkpoint.key"  # from the folder of evidence


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence")


def contact_of(desk: Desk, request: str) -> str:
    return str(standing.stand(desk.office, request).request.contact).split(":")[1]


def exchange(desk: Desk, old: str, new: str) -> None:
    change = "UPDATE entries SET entry = replace(entry, 'OLD', 'NEW') WHERE sequence = 2"
    insider.change(desk, change.replace("OLD", old).replace("NEW", new))


def led_away(desk: Desk, to: str) -> str:
    """An insider lets a request's contact be another file."""
    request = desk.submit()
    exchange(desk, f'"personal.contact":"{contact_of(desk, request)}"', f'"personal.contact":"{to}"')
    return request


@pytest.mark.parametrize("name", [KEY, "/etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "", ".", None, 5])
def test_what_is_no_sha256_names_no_document(evidence: Evidence, name: Any) -> None:
    write_atomic(evidence.folder / "../keys/checkpoint.key", b"PRIVATE")
    said = "is no sha256, and so names no document"
    for read in (evidence.path, evidence.read, evidence.unsealed):
        with pytest.raises(Refused, match=said):
            read(name)
    assert said in str(evidence.fault(name)) and not evidence.has(name)


def test_what_is_sealed_is_never_another_value(evidence: Evidence) -> None:
    """Whoever writes to the evidence could let a clerk's certificate be entered where the Kadis's was given."""
    clerks = evidence.seal("Staf Nakal", "certificate of kadis")
    evidence.note("dr. Kepala", "certificate of kadis", clerks)
    found = evidence.seal("dr. Kepala", "certificate of kadis")
    assert evidence.unsealed(found) == "dr. Kepala" and found == evidence.seal("dr. Kepala", "certificate of kadis")


def test_link_is_no_document(evidence: Evidence, tmp_path: Path) -> None:
    """It could be another file, or none, by the time it is read."""
    (tmp_path / "paper.pdf").write_bytes(b"%PDF")
    digest = evidence.add(tmp_path / "paper.pdf")
    assert evidence.has(digest) and evidence.fault(digest) is None
    evidence.path(digest).unlink()
    evidence.path(digest).symlink_to(tmp_path / "paper.pdf")
    entry = json.dumps({"evidence": {"scan": digest}, "data": {}})
    assert "cannot be read" in str(evidence.fault(digest)) and not evidence.has(digest)
    (_, told), = outsider.documents(iter([entry]), evidence.folder, evidence.folder, {})
    assert "cannot be read" in told
    with pytest.raises(Refused, match="cannot be read"):
        evidence.read(digest)
    with pytest.raises(OSError, match="no plain file"):
        outsider.plain_file(Path("/dev/null"))


def test_document_is_read_as_it_was_compared(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody swaps it when it has just been looked at."""
    (tmp_path / "paper.pdf").write_bytes(b"%PDF")
    digest = evidence.add(tmp_path / "paper.pdf")
    assert evidence.read(digest) == b"%PDF"
    evidence.path(digest).chmod(0o600)
    evidence.path(digest).write_bytes(b"other")
    monkeypatch.setattr(Evidence, "fault", lambda *_: None)
    with pytest.raises(Refused, match="was changed"):
        evidence.read(digest)


def test_file_has_its_name_on_the_disk(evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is on the disk without its name is gone after a power cut, and the register names it."""
    real, seen = os.fsync, list[set[str]]()

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            seen.append({path.name for path in Path(f"/proc/self/fd/{handle}").iterdir()})
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "a", b"x")
    assert "a" in seen.pop() and not seen
    digest = evidence.add(tmp_path / "a")
    assert digest in seen.pop() and not seen


def test_receipt_gives_no_other_file_away(desk: Desk, sop: Sop) -> None:
    """Who writes the database alone has neither the checkpoint's key nor a way to have it printed."""
    request = led_away(desk, KEY)
    key = (desk.office.evidence.folder / KEY).read_bytes()
    code, out, err = sop("register", "receipt", request)
    assert code == 3 and out == "" and "entry 2: " in err and "rely on nothing from entry 2 on" in err
    assert base64.b64encode(key)[:12].decode() not in out + err and "PRIVATE" not in out + err
    value = {"entries": [{"text": text} for text in insider.texts(desk)]}
    assert KEY in str(value) and KEY not in trust.personal(desk.office, value)


def test_receipt_takes_personal_data_as_they_were_only(desk: Desk, sop: Sop) -> None:
    request = desk.submit()
    path = desk.office.evidence.path(contact_of(desk, request))
    path.chmod(0o600)
    path.write_text("other")
    code, out, _ = sop("register", "receipt", request)
    assert code == 0 and path.name not in json.loads(out)["personal"]


def test_receipt_of_an_empty_register_is_refused(tmp_path: Path, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOP_REGISTER", raising=False)
    (tmp_path / "new").mkdir()
    code, _, err = sop("register", "receipt", "--home", tmp_path / "new")
    assert code == 3 and "what it rests on cannot be read" in err


def test_export_writes_into_its_folder_only(desk: Desk, tmp_path: Path) -> None:
    led_away(desk, "../../outside.txt")
    (desk.office.home.path.parent / "outside.txt").write_text("payload")
    before = insider.take_copy(tmp_path).keys()
    folder = tmp_path / "deep/export"
    export.export(desk.office, folder, documents=True)
    assert all(path.is_relative_to(folder) for path in insider.take_copy(tmp_path).keys() - before)
    assert outsider.check(folder, desk.office.people().checkpoint_key)[0] == 1


@pytest.mark.parametrize("checked", [True, False])
def test_erasure_removes_no_other_file(desk: Desk, monkeypatch: pytest.MonkeyPatch, checked: bool) -> None:
    """The register is checked first; and where all of it held, such a name would still lead nowhere."""
    request = led_away(desk, KEY)
    if not checked:
        monkeypatch.setattr(orders.trust, "require", lambda *_: None)
        monkeypatch.setattr(orders.actors, "enter", lambda *_, **__: pytest.fail("it was written into the register"))
    with pytest.raises(Refused, match="rely on nothing from entry 2 on" if checked else "is no sha256"):
        erase(desk, f"{request}/contact")
    assert desk.office.register.key_file.exists()


def test_name_that_leads_elsewhere_is_found_and_not_followed(tmp_path: Path) -> None:
    """As in an entry that its signer made up: the one-file verifier reads what lies in the export."""
    for name in ("evidence", "personal"):
        (tmp_path / name).mkdir()
    (tmp_path / "key").write_text("x")
    said = {"scan": "../key", "lembar": hashlib.sha256(b"x").hexdigest().upper(), "personal.contact": "/dev/null"}
    found = list(outsider.documents(iter([json.dumps({"evidence": said, "data": {}})]), tmp_path / "evidence",
                                    tmp_path / "personal", {}))
    assert found == [(1, f"evidence {name}: {digest!r} is no sha256, and so names no document")
                     for name, digest in said.items()]


def test_name_that_is_no_sha256_is_found_in_a_receipt(file_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It brings no documents: whoever has one could compare it with nothing."""
    request = file_desk.submit()
    monkeypatch.setattr(steps, "keep_document", lambda *_: "di lemari")
    file_desk.take(request, "agenda")
    path = file_desk.document("receipt", json.dumps(file_desk.receipt(request)))
    code, lines = outsider.check(path, file_desk.office.people().checkpoint_key)
    said = "'di lemari' is no sha256, and so names no document"
    assert code == 1 and f"entry 3: evidence scan: {said}" in lines


def test_name_that_leads_elsewhere_stops_no_reading(desk: Desk) -> None:
    request, warned = desk.submit(), list[str]()
    exchange(desk, standing.stand(desk.office, request).procedure.hash, KEY)
    office = desk.office.reading(warned.append)
    assert report.report(office, request) and warned[0].startswith(f"'{KEY}' is no sha256")
    assert office.personal(f"sealed:{KEY}").startswith(f"missing ('{KEY}' is no sha256")


@pytest.mark.parametrize("made", [lambda path: path.write_bytes(b"\xff\0"), os.mkfifo], ids=["damaged", "a pipe"])
def test_note_that_is_none_is_made_anew(evidence: Evidence, made: Callable[[Path], None]) -> None:
    """As a failing disk leaves it: the request that was being prepared could never be submitted."""
    first = evidence.seal("Siti", "contact")
    note, = evidence.folder.glob(".unsigned.*")
    note.unlink()
    made(note)
    second = evidence.seal("Siti", "contact")
    assert second not in (first, "") and evidence.seal("Siti", "contact") == second
    note.unlink()
    made(note)
    evidence.erase([first], {second})
    assert not evidence.has(first) and evidence.has(second)

"""Personal data can go for good: no entry holds them, every proof holds, and it is said by whom they were erased."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver import insider, people
from driver.desk import PROJECT, Desk, tar_of
from driver.test_cli import Sop, fleet, sop
from driver.test_export import verify
from sop_driver import actors, audit, export, gates, orders, outsider, report, standing, steps, trust
from sop_driver.config import sop_file
from sop_driver.errors import Refused, Usage
from sop_driver.evidence import Evidence
from sop_driver.proof import canonical
from sop_driver.register import Entry
from sop_driver.statement import KEPT, form_digest

__all__ = ["fleet", "sop"]
BY = ["kadis", "kasubbag"]
CONTACT = {"name": "Siti", "email": "siti@example.go.id", "phone": "0811 1111"}


def erase(desk: Desk, *words: str, by: list[str] = BY) -> Entry:
    entry = orders.erase(desk.office, list(words), by, desk.sign, "permintaan pemilik data")
    assert entry is not None
    return entry


def in_a_receipt(desk: Desk, request: str) -> tuple[int, list[str]]:
    """What an outsider finds in the receipt of a request."""
    path = desk.document("receipt", json.dumps(desk.receipt(request)))
    return outsider.check(path, desk.office.people().checkpoint_key)


def everything(desk: Desk) -> bytes:
    return b"".join(insider.take_copy(desk.office.home.path).values())


def test_entries_hold_no_personal_data(desk: Desk) -> None:
    desk.enroll("baru", "pd", name="Budi Santoso")
    desk.submit(contact=CONTACT)
    held = "".join(insider.texts(desk))
    # None that a digest could hold by chance, nor the SOP's own text.
    words = ('"Siti"', "siti@", "0811 1111", "Budi Santoso", '"Kepala DKISP"')
    assert not [word for word in words if word in held]


def test_commitment_is_salted(desk: Desk) -> None:
    """Else a phone number could be found by trying all of them; two of the same person do not look alike either."""
    requests = [desk.submit(contact=CONTACT) for _ in range(2)]
    sealed = [str(standing.stand(desk.office, request).request.contact).split(":")[1] for request in requests]
    assert sealed[0] != sealed[1]
    for digest in sealed:
        data = desk.office.evidence.path(digest).read_bytes()
        salt, value = data[:32], data[32:]
        assert value == canonical(CONTACT).encode() and hashlib.sha256(salt + value).hexdigest() == digest
    assert hashlib.sha256(canonical(CONTACT).encode()).hexdigest() not in "".join(insider.texts(desk))


def test_erased_contact_is_nowhere_and_all_proofs_hold(desk: Desk, tmp_path: Path) -> None:
    request = desk.approved(contact=CONTACT)
    desk.run(request)
    before = desk.receipt(request)
    assert b"0811 1111" in everything(desk)
    entry = erase(desk, f"{request}/contact")
    assert b"0811 1111" not in everything(desk) and b"siti@" not in everything(desk)
    words = f"erased on 2026-11-02 by kadis, kasubbag (entry {entry.sequence})"
    assert words in "\n".join(report.report(desk.office, request)).replace("\\", "")
    found = trust.examine(desk.office)
    assert found.findings == [] and found.notes("") == [f"documents or personal data were {words}"]
    key = desk.office.people().checkpoint_key
    export.export(desk.office, tmp_path / "export", documents=True)
    (tmp_path / "receipt.json").write_text(json.dumps(desk.receipt(request)))
    (tmp_path / "before.json").write_text(json.dumps(before))
    for path, said in (("export", True), ("receipt.json", True), ("before.json", False)):
        code, told = verify(tmp_path / "export/verify.py", tmp_path / path, "--key", key)
        assert code == 0 and (words in told) is said, told
    desk.take(request, "report")  # the register goes on


def test_export_carries_personal_data_until_they_are_erased(desk: Desk, tmp_path: Path) -> None:
    request = desk.submit(contact=CONTACT)
    digest = str(standing.stand(desk.office, request).request.contact).split(":")[1]
    export.export(desk.office, tmp_path / "export", documents=False)
    given = tmp_path / "export/personal" / digest
    assert json.loads(given.read_bytes()[32:]) == CONTACT and not (tmp_path / "export/evidence").exists()
    key = desk.office.people().checkpoint_key
    assert outsider.check(tmp_path / "export", key)[0] == 3, "the documents are not there"
    given.chmod(0o600)
    given.write_bytes(b"x" * 32 + canonical({**CONTACT, "name": "Budi"}).encode())
    code, told = outsider.check(tmp_path / "export", key)
    assert code == 1 and "personal.contact" in told[0] and "was changed" in told[0]
    given.unlink()
    assert outsider.check(tmp_path / "export", key)[0] == 1


def test_receipt_with_other_personal_data_is_found(desk: Desk) -> None:
    request = desk.submit(contact=CONTACT)
    value, key = desk.receipt(request), desk.office.people().checkpoint_key
    assert audit.receipt(value, key).findings == []
    digest = str(standing.stand(desk.office, request).request.contact).split(":")[1]
    for data in (None, b"x"):
        changed = {**value["personal"], digest: base64.b64encode(data).decode()} if data else {
            name: kept for name, kept in value["personal"].items() if name != digest}
        assert any("nobody erased" in what for _, what in audit.receipt({**value, "personal": changed}, key).findings)


@pytest.mark.parametrize("more", ["IGRpZ2FudGk=", "?", "\n"])
def test_personal_data_in_a_receipt_have_one_spelling(file_desk: Desk, more: str) -> None:
    """Behind its end, too, `base64 -d` reads on, and shows another name than the one that was compared."""
    value = file_desk.receipt(file_desk.submit())
    digest, kept = next(each for each in value["personal"].items() if each[1].endswith("="))
    value["personal"][digest] = kept + more
    path = file_desk.document("receipt", json.dumps(value))
    code, lines = outsider.check(path, file_desk.office.people().checkpoint_key)
    assert code == 2 and lines[0].startswith("this cannot be read as an export or a receipt")


@pytest.mark.parametrize(
    "word", [hashlib.sha256(b"dokumen").hexdigest(), "R-2026-0001/", "R-2026-0009/surat", "actor/x"])
def test_what_no_entry_names_is_not_erased(desk: Desk, word: str) -> None:
    """A document's sha256 is no word for it either: who erases says what it is."""
    desk.submit()
    with pytest.raises(Usage, match=f"{word} names nothing that can be erased\nwhere: sop erase\nmend: write REQ/"):
        erase(desk, word)
    assert desk.office.register.head()[0] == 2


@pytest.mark.parametrize("later", [True, False])
def test_erasure_of_what_no_entry_named_is_found(desk: Desk, sop: Sop, tmp_path: Path, later: bool) -> None:
    """By two officials with a changed driver, in time before the document comes that is to vanish."""
    digest = hashlib.sha256(desk.letter.read_bytes()).hexdigest()
    actors.enter(desk.office, "erase", {}, [], BY, desk.sign, reason="x", data={"erased": [digest]})
    if later:
        with pytest.raises(Refused, match="surat was erased on"):
            desk.submit()
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(steps, "keep_document", lambda *_: digest)
            changed.setattr(steps, "not_erased", lambda *_: None)
            desk.submit()
    line = f"entry 2: it erases {digest[:12]}…, which no entry before it names"
    code, out, _ = sop("register", "verify")
    assert code == 1 and line in out and "rely on nothing from entry 2 on" in out
    export.export(desk.office, tmp_path / "export", documents=True)
    key = desk.office.people().checkpoint_key
    code, told = verify(tmp_path / "export/verify.py", tmp_path / "export", "--key", key)
    assert code == 1 and line in told


def test_document_that_was_erased_before_is_none(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """Else a step that needs one would be taken by the hash of another step's, which is gone by an order of others."""
    request = desk.submit()
    scan = desk.document("scan.pdf", "%PDF scan")
    desk.take(request, "agenda", documents={"scan": scan, "lembar_disposisi": desk.paper})
    erase(desk, f"{request}/scan")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(steps, "keep_document", lambda *_: hashlib.sha256(scan.read_bytes()).hexdigest())
        with pytest.raises(Refused, match=r"surat_terdisposisi was erased on .*\ngate: evidence\nmend: bring another"):
            desk.take(request, "disposition")
        changed.setattr(steps, "not_erased", lambda *_: None)
        desk.take(request, "disposition")
    line = "entry 5: evidence surat_terdisposisi: it was erased before, and cannot have been brought"
    code, out, _ = sop("register", "verify")
    assert code == 1 and line in out
    folder, key = tmp_path / "export", desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=True)
    code, told = verify(folder / "verify.py", folder, "--key", key)
    assert code == 1 and line in told
    code, lines = in_a_receipt(desk, request)
    assert code == 1 and lines[0] == line


@pytest.mark.parametrize("meanwhile", [True, False])
def test_corrected_request_keeps_its_erased_letter(desk: Desk, sop: Sop, tmp_path: Path, meanwhile: bool) -> None:
    """Its contact as well, where the erasure was interrupted."""
    request = desk.submit(contact=CONTACT)
    if meanwhile:
        interrupted(Path, "unlink", lambda: erase(desk, f"{request}/contact", f"{request}/surat"))
    else:
        erase(desk, f"{request}/contact", f"{request}/surat")
    first = standing.stand(desk.office, request).opened.evidence
    other = desk.submit(replace=request, contact=CONTACT, purpose="Layanan")
    now = standing.stand(desk.office, request).opened.evidence
    assert other == request and now["surat"] == first["surat"]
    assert (now["personal.contact"] == first["personal.contact"]) is meanwhile
    assert sop("register", "verify")[0] == 0
    export.export(desk.office, tmp_path / "export", documents=True)
    assert outsider.check(tmp_path / "export", desk.office.people().checkpoint_key)[0] == 0
    assert in_a_receipt(desk, request)[0] == 0


def test_what_is_erased_while_a_step_is_signed_is_not_brought_by_it(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")

    def slow(who: str, message: str) -> str | None:
        if json.loads(message)["step"] == "disposition":
            erase(desk, f"{request}/scan")
        return people.sign(who, message)

    desk.sign = slow
    with pytest.raises(Refused, match="surat_terdisposisi was erased on"):
        desk.take(request, "disposition")
    assert trust.examine(desk.office).findings == [] and desk.office.register.head()[0] == 4


def test_release_and_sop_are_not_what_was_erased(desk: Desk) -> None:
    """They would be missing where the register needs them."""
    request = desk.submit()
    archive, source = desk.folder / "situs-2.tar.gz", sop_file(desk.office.project, desk.office.config)
    archive.write_bytes(tar_of({"index.html": "Siti"}))
    other = desk.document("sop-2.yml", source.read_text() + "# lain")
    desk.take(request, "agenda", documents={"scan": archive, "lembar_disposisi": other})
    erase(desk, f"{request}/scan", f"{request}/lembar_disposisi")
    with pytest.raises(Refused, match=r"situs.tar.gz was erased on"):
        desk.submit(archive_bytes=archive.read_bytes())
    desk.office.config = desk.config.model_copy(update={"sop": str(other)})
    with pytest.raises(Refused, match=r"sop-2.yml was erased on"):
        actors.adopt(desk.office, BY, desk.sign, "SK 3")


def test_what_becomes_a_release_while_its_erasure_is_signed_stays(desk: Desk) -> None:
    """`verify` would find it missing for good: nobody brings it again, nor takes the erasure back."""
    request, archive = desk.submit(), desk.folder / "situs-2.tar.gz"
    archive.write_bytes(tar_of({"index.html": "Siti"}))
    desk.take(request, "agenda", documents={"scan": archive, "lembar_disposisi": desk.paper})

    def slow(who: str, message: str) -> str:
        if json.loads(message)["outcome"] == "erase" and desk.office.register.head()[0] == 3:
            desk.submit(archive_bytes=archive.read_bytes())
        return people.sign(who, message)

    desk.sign = slow
    with pytest.raises(Refused, match=f"{request}/scan is also a release"):
        erase(desk, f"{request}/scan")
    assert trust.examine(desk.office).findings == [] and desk.office.register.head()[0] == 4


def test_lost_personal_data_are_found_where_nobody_erased_them(desk: Desk, sop: Sop) -> None:
    request = desk.submit()
    digest = str(standing.stand(desk.office, request).request.contact).split(":")[1]
    desk.office.evidence.path(digest).unlink()
    code, out, _ = sop("register", "verify")
    assert code == 1 and "personal.contact" in out and "rely on nothing from entry 2 on" in out
    assert "missing" in "\n".join(report.report(desk.office, request))


def test_who_signs_for_an_erasure_reads_what_goes(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """The statement holds only hashes of it."""
    request, told = desk.submit(), tmp_path / "told"
    code, out, err = sop("erase", f"{request}/contact", f"{request}/surat", "--reason", "UU PDP", "--signed-by", *BY,
                         "--prepare", told)
    assert code == 0, err
    opened = standing.stand(desk.office, request).opened
    for digest in json.loads(told.read_text())["data"]["erased"]:
        label = next(name for name, each in opened.evidence.items() if each == digest).removeprefix("personal.")
        assert f"\nto be erased: {digest}, {label} of entry 2, {request}\n" in out


def test_erased_scan_keeps_its_hash_and_closes_the_gate(desk: Desk, sop: Sop) -> None:
    request = desk.submit()
    letter = desk.document("disposisi.pdf", "%PDF-1.4 Siti")
    desk.take(request, "agenda")
    desk.take(request, "disposition", documents={"surat_terdisposisi": letter})
    desk.approve(request)
    entry = erase(desk, f"{request}/surat_terdisposisi")
    with pytest.raises(Refused) as error:
        desk.run(request)
    refusal, = error.value.refusals
    assert f"was erased on 2026-11-02 by kadis, kasubbag (entry {entry.sequence})" in refusal.what
    assert refusal.gate == "disposition" and sop("register", "verify")[0] == 0
    with pytest.raises(Refused, match=r"surat_terdisposisi was erased on"):
        desk.take(request, "disposition", documents={"surat_terdisposisi": letter})
    assert not list(desk.office.evidence.folder.glob(".new.*"))


def test_run_over_an_erased_document_is_found(file_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who installs, with a changed driver: what the approval was given on is gone, and nobody brought another."""
    desk, request = file_desk, file_desk.submit()
    path, key = desk.folder / "export", desk.office.people().checkpoint_key
    desk.take(request, "agenda")
    desk.take(request, "disposition", documents={"surat_terdisposisi": desk.document("disposisi.pdf", "%PDF-1.4 Siti")})
    desk.approve(request)
    erase(desk, f"{request}/surat_terdisposisi")
    number = desk.office.register.head()[0] + 1
    with monkeypatch.context() as changed:
        changed.setattr(gates, "_erased", lambda *_: None)
        changed.setattr(Evidence, "fault", lambda *_: None)
        desk.run(request)
    line = (f"entry {number}: run-000001: the gate disposition of {request} was closed: surat_terdisposisi of step 3 "
            "(disposition: Disposisi Kepala DKISP ke Bagian Aplikasi Informatika) was erased")
    assert line in trust.examine(desk.office).lines()
    export.export(desk.office, path, documents=True)
    code, told = verify(path / "verify.py", path, "--key", key)
    assert code == 1 and line in told, told


@pytest.mark.parametrize("when", ["taken again", "installed"])
def test_erased_document_accuses_no_run_that_does_not_rest_on_it(file_desk: Desk, when: str) -> None:
    desk, request = file_desk, file_desk.submit()
    desk.take(request, "agenda")
    desk.take(request, "disposition", documents={"surat_terdisposisi": desk.document("disposisi.pdf", "%PDF-1.4 Siti")})
    if when == "installed":
        desk.run(desk.approve(request))
    erase(desk, f"{request}/surat_terdisposisi")
    if when == "taken again":
        desk.take(request, "disposition")
        desk.run(desk.approve(request))
    desk.run(desk.approved(kind="update", title="Dinas"))
    assert trust.examine(desk.office).lines() == []


@pytest.mark.parametrize("by", [[], ["kadis"], ["kadis", "dinkes"]])
def test_erasing_takes_two_officials(desk: Desk, by: list[str]) -> None:
    request = desk.submit()
    kept = everything(desk)
    with pytest.raises(Refused, match="2 of kadis"):
        erase(desk, f"{request}/contact", by=by)
    assert everything(desk) == kept


@pytest.mark.parametrize("word", ["R-2026-0009/contact", "R-2026-0001/ghost", "R-2026-0001", "actor/ghost",
                                  "R-2026-0001/sop", "R-2026-0001/release", "actor/kadis"])
def test_what_cannot_be_erased_is_said_so(desk: Desk, word: str) -> None:
    """The SOP's data and releases are what the register and the servers stand on; who acts now has a name."""
    desk.submit()
    with pytest.raises(Usage, match="names nothing that can be erased"):
        erase(desk, word)


def test_release_is_not_erased_under_another_name(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda", documents={"scan": desk.folder / "situs.tar.gz", "lembar_disposisi": desk.paper})
    with pytest.raises(Refused, match=f"{request}/scan is also a release"):
        erase(desk, f"{request}/scan")


@pytest.mark.parametrize("name", ["sop", "release"])
def test_erasure_of_what_the_register_needs_is_found(desk: Desk, sop: Sop, tmp_path: Path, name: str) -> None:
    """By two officials with a changed driver: what the SOP's file says against its entry would vanish with it."""
    request = desk.submit()
    digest = standing.stand(desk.office, request).opened.evidence[name]
    actors.enter(desk.office, "erase", {}, [], BY, desk.sign, reason="x", data={"erased": [digest]})
    desk.office.evidence.path(digest).unlink()
    line = (f"entry 3: it erases {digest[:12]}…, a release, an SOP's data or a list of certificates: these are never "
            "erased")
    code, out, _ = sop("register", "verify")
    assert code == 1 and line in out and "rely on nothing from entry 3 on" in out
    folder, key = tmp_path / "export", desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=True)
    code, told = verify(folder / "verify.py", folder, "--key", key)
    assert code == 1 and line in told
    code, lines = in_a_receipt(desk, request)
    assert code == 1 and lines[0] == line


@pytest.mark.parametrize("name", KEPT)
def test_document_under_a_name_that_is_never_erased_is_refused(desk: Desk, name: str) -> None:
    """Else the same file under its own name could not be erased either."""
    request = desk.submit()
    documents = {"scan": desk.paper, "lembar_disposisi": desk.paper}
    with pytest.raises(Usage, match=f"--evidence {name}=…"):
        desk.take(request, "agenda", documents={**documents, name: desk.paper})
    desk.take(request, "agenda", documents=documents)
    assert erase(desk, f"{request}/scan")


def test_past_holders_name_is_erased_and_the_next_ones_stays(desk: Desk, sop: Sop) -> None:
    desk.sign = lambda who, message: people.sign("kadis-2" if who == "kadis" else who, message)
    new = {"name": "dr. Baru", "key": people.public("kadis-2")}
    desk.enroll("kadis", "kadis", by=("kasubbag", "kabid"), replaces=True, **new)
    entry = erase(desk, "actor/kadis", by=["kasubbag", "kabid"])
    out = sop("actors", "list")[1]
    assert f"erased on 2026-11-02 by kabid, kasubbag (entry {entry.sequence}), kadis" in out
    assert "dr. Baru, kadis" in out
    assert sop("register", "verify")[0] == 0


def interrupted(where: type, name: str, work: Callable[[], object]) -> None:
    """Somebody presses ^C in a function while something is done."""
    def died(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(where, name, died)
        work()


def test_interrupted_erasure_is_told_and_finished_by_the_same_command(desk: Desk, sop: Sop) -> None:
    request = desk.submit(contact=CONTACT)
    interrupted(Path, "unlink", lambda: erase(desk, f"{request}/contact"))
    code, out, _ = sop("register", "verify")
    assert code == 0 and "and is there: repeat that `sop erase`" in out
    with pytest.raises(Refused, match="nothing is left to do"):
        erase(desk, f"{request}/contact")
    assert b"0811 1111" not in everything(desk) and "is there" not in sop("register", "verify")[1]


def test_interrupted_erasure_is_in_no_export_and_no_receipt(desk: Desk, tmp_path: Path) -> None:
    request = desk.submit(contact=CONTACT)
    interrupted(Path, "unlink", lambda: erase(desk, f"{request}/contact", f"{request}/surat"))
    assert b"0811 1111" in everything(desk)
    export.export(desk.office, tmp_path / "export", documents=True)
    given = b"".join(path.read_bytes() for path in (tmp_path / "export").rglob("*") if path.is_file())
    assert b"0811 1111" not in given and desk.letter.read_bytes() not in given
    value = desk.receipt(request)
    assert not [text for text in value["personal"].values() if b"0811 1111" in base64.b64decode(text)]
    (tmp_path / "receipt.json").write_text(json.dumps(value))
    for name in ("export", "receipt.json"):
        assert outsider.check(tmp_path / name, desk.office.people().checkpoint_key)[0] == 0


@pytest.mark.parametrize("late", [True, False])
def test_note_of_an_erased_contact_goes_with_it(desk: Desk, late: bool) -> None:
    """A command that died left it behind; its name is a hash by which a telephone number is found by trying all."""
    interrupted(Evidence, "signed", lambda: desk.submit(contact=CONTACT))
    assert len(list(desk.office.evidence.folder.glob(".unsigned.*"))) == 1
    if late:
        interrupted(Evidence, "erase", lambda: erase(desk, "R-2026-0001/contact"))
        with pytest.raises(Refused, match="nothing is left to do"):
            erase(desk, "R-2026-0001/contact")
    else:
        erase(desk, "R-2026-0001/contact")
    assert not list(desk.office.evidence.folder.glob(".unsigned.*"))


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"lain")], ids=["gone", "another"])
def test_what_is_not_there_as_it_was_is_not_erased(desk: Desk, change: Callable[[Path], object]) -> None:
    """Who took a step without its document would have two officials say that it was there."""
    request = desk.submit()
    path = desk.office.evidence.path(desk.take(request, "agenda").evidence["scan"])
    path.chmod(0o600)
    change(path)
    with pytest.raises(Refused, match=rf"{request}/scan is not there as it was: .*{path.name}"):
        erase(desk, f"{request}/surat", f"{request}/scan")
    assert not desk.office.people().erased


def test_what_was_erased_does_not_come_back_as_another(desk: Desk, tmp_path: Path) -> None:
    """Who passes it on puts a value of their own under the hash: it would look like the one that was signed for."""
    request = desk.submit(contact=CONTACT)
    opened = standing.stand(desk.office, request).opened
    erase(desk, f"{request}/contact", f"{request}/surat")
    forged = b"x" * 32 + canonical({**CONTACT, "name": "Orang Lain"}).encode()
    key, folder = desk.office.people().checkpoint_key, tmp_path / "export"
    export.export(desk.office, folder, documents=True)
    for place, name in (("personal", "personal.contact"), ("evidence", "surat")):
        path = folder / place / opened.evidence[name]
        path.write_bytes(forged)
        code, told = verify(folder / "verify.py", folder, "--key", key)
        assert code == 1 and f"entry 2: evidence {name}: {path} was erased, and is another" in told
        path.unlink()
    assert outsider.check(folder, key)[0] == 0
    value = desk.receipt(request)
    value["personal"][opened.evidence["personal.contact"]] = base64.b64encode(forged).decode()
    assert audit.receipt(value, key).findings == [(2, "personal.contact was erased, and is another")]


def test_what_no_entry_names_is_named(desk: Desk, tmp_path: Path) -> None:
    request = desk.submit()
    named = standing.stand(desk.office, request).opened.evidence
    key, folder = desk.office.people().checkpoint_key, tmp_path / "export"
    export.export(desk.office, folder, documents=True)
    others = ("evidence", "surat-asli.pdf"), ("personal", "0" * 64), ("evidence", named["personal.contact"])
    for place, name in others:
        (folder / place / name).write_text("x")
        code, told = verify(folder / "verify.py", folder, "--key", key)
        assert code == 1 and f"entry 3: {folder / place / name} is there, and no entry names it" in told
        (folder / place / name).unlink()
    (folder / "witnessed").mkdir()
    for place in ("evidence", "personal", "witnessed"):  # macOS, which accuses nobody by that
        (folder / place / ".DS_Store").write_text("x")
    assert verify(folder / "verify.py", folder, "--key", key)[0] == 0
    value = desk.receipt(request)
    for name in ("0" * 64, named["surat"]):
        given = {**value["personal"], name: ""}
        assert audit.receipt({**value, "personal": given}, key).findings == [
            (3, f"{name} is among its personal data, and no entry of it names that")]


def test_what_a_killed_command_had_half_kept_goes_with_the_next_erasure(desk: Desk) -> None:
    """And nothing else does: neither what somebody takes in at that moment, nor the note of a draft to be signed."""
    request, folder = desk.submit(), desk.office.evidence.folder
    half = [folder / ".new.abc", folder / f".{'0' * 64}.abc"]
    for path in half:
        path.write_bytes(b"%PDF 0811 1111")
    desk.office.evidence.note("draft", "seen", "{}")
    with desk.office.evidence.staged(desk.paper) as (copy, digest):
        erase(desk, f"{request}/contact")
        assert copy.exists()
    assert desk.office.evidence.fault(digest) is None and desk.office.evidence.noted("draft", "seen") == "{}"
    assert not [path for path in half if path.exists()] and not list(folder.glob(".new.*"))


def test_what_a_killed_command_had_half_kept_is_named_and_closes_no_gate(desk: Desk, sop: Sop) -> None:
    """It may hold personal data, and no erasure may ever come. What somebody takes in at that moment is none."""
    desk.submit()
    half = desk.office.evidence.folder / ".new.abc"
    half.write_bytes(b"%PDF 0811 1111")
    desk.office.evidence.note("draft", "seen", "{}")
    with desk.office.evidence.staged(desk.paper):
        code, out, err = sop("register", "verify")
    assert code == 0, err
    assert [line for line in out.splitlines() if "half written" in line] == [
        f"{half} was left half written by a command that was killed: no entry names it, remove it"]
    half.unlink()
    assert "half written" not in sop("register", "verify")[1]


def test_sealed_value_of_a_killed_command_goes_with_the_next_erasure(tmp_path: Path) -> None:
    """Killed at the worst moment, by what a process that died at once would leave."""
    code = f"""
import os
from pathlib import Path
from sop_driver import evidence
evidence.os.fsync = lambda handle: os._exit(9)
evidence.Evidence(Path({str(tmp_path / "evidence")!r})).seal({CONTACT!r}, "contact")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False)
    left, = (tmp_path / "evidence").iterdir()
    assert done.returncode == 9 and b"0811 1111" in left.read_bytes()
    Evidence(tmp_path / "evidence").erase([], [])
    assert not left.exists()


def test_unchanged_contact_keeps_its_seal_so_approvals_hold(desk: Desk) -> None:
    request = desk.approved(contact=CONTACT)
    desk.submit(replace=request, contact=CONTACT)
    now = standing.stand(desk.office, request)
    assert now.next is now.procedure.installation
    desk.submit(replace=request, contact={**CONTACT, "phone": "0812 2222"})
    assert "decision" not in standing.stand(desk.office, request).done
    erase(desk, f"{request}/contact")
    held = everything(desk)
    assert b"0811 1111" not in held and b"0812 2222" not in held


def test_statement_signed_elsewhere_fits_the_same_seal(desk: Desk) -> None:
    """The salt is random, and a statement is written in one command and recorded in another."""
    said: list[str] = []

    def later(who: str, message: str) -> str | None:
        said.append(message)
        return None if len(said) == 1 else people.sign(who, said[0])

    path = desk.write(desk.form(contact=CONTACT))
    assert steps.submit(desk.office, path, desk.letter, "dinkes", None, later) is None
    assert steps.submit(desk.office, path, desk.letter, "dinkes", None, later)
    assert said[0] == said[1] and not list(desk.office.evidence.folder.glob(".unsigned.*"))


def test_register_with_plain_contacts_still_verifies(desk: Desk) -> None:
    """Entries of earlier days hold them in the clear; they can be read, and verified, and not be erased."""
    request = desk.submit()
    body = json.loads(insider.texts(desk)[-1])
    data = {**body["data"], "request": {**body["data"]["request"], "contact": {**CONTACT, "phone": None}}}
    data["digest"] = form_digest(data["request"])
    evidence = {name: digest for name, digest in body["evidence"].items() if name != "personal.contact"}
    fields = {key: body[key] for key in ("actor", "role", "request", "step", "outcome", "reason")}
    fields |= {"evidence": evidence, "data": {**data, "replaces": request,
                                              "previous": desk.office.register.latest("request", request)}}
    assert steps.written(desk.office, "step", fields, desk.sign, ["dinkes"])
    assert "Siti, siti" in "\n".join(report.report(desk.office, request)) and trust.examine(desk.office).findings == []


def test_erasing_by_commands_names_what_else_held_it(desk: Desk, sop: Sop) -> None:
    request = desk.approved()
    keys = [word for name in BY for word in ("--key", f"{name}={desk.folder / 'keys' / name}")]
    code, out, err = sop("erase", f"{request}/scan", "--reason", "x", "--signed-by", *BY, *keys)
    assert code == 0 and f"erased (entry 10): scan of entry 3, {request}" in out and f"kak of entry 9, {request}" in out
    assert "was erased" not in err

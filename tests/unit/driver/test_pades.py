"""A PDF that an official signed stands for a step only where it is theirs, whole, in time, and for this very step."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec, append_signature_field
from pyhanko.sign.timestamps import DummyTimeStamper

from driver import insider, people
from driver.authority import NOW, Authority, Holder, name, sign, sign_in_part, stored
from driver.desk import Desk, without
from driver.test_cli import Sop, sop
from sop_driver import (
    actors,
    directory,
    export,
    gates,
    orders,
    outsider,
    pades,
    procedure,
    report,
    standing,
    steps,
    trust,
    voiding,
)
from sop_driver.errors import Refused, Usage
from sop_driver.evidence import Evidence
from sop_driver.flow import Existing
from sop_driver.gates import Case
from sop_driver.proof import canonical
from sop_driver.register import Entry
from sop_driver.sheet import ROOM, sheet
from sop_driver.signatures import Pdf

__all__ = ["sop"]
NOTHING = "nothing says whether its certificate was revoked"
MINIMAL = canonical({"request": "R-1", "outcome": None, "reason": None, "data": {"pades": {"shown": {}}}})


@pytest.fixture(scope="module")
def bsre() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def kadis(bsre: Authority) -> Holder:
    return bsre.person("dr. Kepala", "3171")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates name a server for their lists. Nobody asks it."""

    def connect(*_: Any) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@pytest.fixture
def trusting(desk: Desk, bsre: Authority, kadis: Holder) -> Desk:
    """A register that trusts the authority and knows the certificate of the Kadis; a request waits for him."""
    rely(desk, bsre.root)
    enter(desk, "kadis", kadis, "kadis", by=("kasubbag", "kabid"))
    return desk


def file(desk: Desk, octets: bytes, name: str = "file") -> Path:
    path = desk.folder / name
    path.write_bytes(octets)
    return path


def rely(desk: Desk, *roots: Holder) -> Any:
    paths = [file(desk, root.pem, f"root{number}.pem") for number, root in enumerate(roots)]
    return actors.rely(desk.office, paths, ["kasubbag", "kabid"], desk.sign, "SE BSSN 1/2026")


def enter(desk: Desk, who: str, holder: Holder, role: str, by: tuple[str, ...]) -> None:
    """The same person with the same key, and a certificate."""
    subject = pades.subject(file(desk, holder.pem))
    desk.enroll(who, role, by, replaces=True, subject=subject, name=people.FIRST[who]["name"],
                unit=people.FIRST[who].get("unit"))


def waiting(desk: Desk) -> str:
    request = desk.submit()
    desk.take(request, "agenda")
    return request


def take(desk: Desk, request: str, pdf: Pdf, step: str = "disposition", actor: str = "kadis", **more: Any) -> Any:
    return steps.record(desk.office, request, step, actor, pdf, **more)


def prepared(desk: Desk, request: str, **more: Any) -> bytes:
    path = desk.folder / "sheet.pdf"
    assert take(desk, request, Pdf(prepare=path), **more) is None
    return path.read_bytes()


def signed(desk: Desk, octets: bytes, lists: bytes = b"") -> Pdf:
    return Pdf(signed=file(desk, octets, "signed.pdf"), crls=file(desk, lists, "lists.pem") if lists else None)


def refused(desk: Desk, request: str, octets: bytes, lists: bytes = b"") -> str:
    before = desk.office.register.head()
    with pytest.raises(Refused) as error:
        take(desk, request, signed(desk, octets, lists))
    assert desk.office.register.head() == before
    text = str(error.value)
    assert "gate: signature of disposition" in text and "\nmend: " in text
    return text


@pytest.mark.parametrize(
    ("lists", "more"),
    [
        ("signature", {}),
        ("store", {}),
        ("store", {"timestamp": True}),
        ("beside", {}),
        ("signature", {"certify": True}),
        ("signature", {"box": None}),
        ("beside", {"within": "store"}),
    ],
    ids=["adobe", "pades-lt", "pades-lta", "given", "certifying", "invisible", "given-pades"],
)
def test_disposition_signed_as_pdf_counts(
    trusting: Desk, bsre: Authority, kadis: Holder, lists: str, more: dict[str, Any]
) -> None:
    """Revocation is known from the signature, from the PDF's own store, or from lists that are given."""
    request = waiting(trusting)
    inside: dict[str, Any] = {} if lists == "beside" else {"lists": bsre.lists, "within": lists}
    more = {key: bsre if key == "timestamp" else value for key, value in more.items()}
    made = sign(prepared(trusting, request), kadis, **inside, **more)
    entry = take(trusting, request, signed(trusting, made, bsre.lists if lists == "beside" else b""))
    assert entry.signatures == [] and entry.evidence["surat_terdisposisi"] == hashlib.sha256(made).hexdigest()
    assert standing.stand(trusting.office, request).done["disposition"] == entry
    trusting.approve(request)
    trusting.run(request)
    assert trust.examine(trusting.office).lines() == []
    assert "kadis (kadis, signed within a PDF)" in "\n".join(report.report(trusting.office, request))
    assert "signed within a PDF" in report.entry_line(trusting.office, entry)


@pytest.mark.parametrize("purposes", [
    (ExtendedKeyUsageOID.CLIENT_AUTH,), (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.SERVER_AUTH),
    (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.CODE_SIGNING)])
def test_certificate_for_people_among_others_counts(
    trusting: Desk, bsre: Authority, purposes: Sequence[ObjectIdentifier]
) -> None:
    request, holder = waiting(trusting), bsre.person("dr. Kepala", "3171", purposes=purposes)
    assert take(trusting, request, signed(trusting, sign(prepared(trusting, request), holder), bsre.lists))


def test_officials_sign_after_each_other(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """A secretary's signature before the Kadis's is no harm where it holds as well."""
    request = waiting(trusting)
    first = sign(prepared(trusting, request), bsre.person("Sekretaris", "9"), field_name="A", box=(50, 20, 250, 120))
    assert take(trusting, request, signed(trusting, sign(first, kadis), bsre.lists))


def another_page(octets: bytes) -> bytes:
    """What a program that edits PDFs appends."""
    writer = IncrementalPdfFileWriter(BytesIO(octets))
    page = writer.root["/Pages"]["/Kids"][0].get_object()
    page["/Rotate"] = generic.NumberObject(180)
    writer.update_container(page)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def note_over_the_text(octets: bytes) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(octets))
    rect = generic.ArrayObject(map(generic.NumberObject, (40, 300, 550, 800)))
    words = {"/Type": generic.pdf_name("/Annot"), "/Subtype": generic.pdf_name("/FreeText"), "/Rect": rect,
             "/Contents": generic.pdf_string("R-2026-0009")}
    note = writer.add_object(generic.DictionaryObject({generic.pdf_name(key): word for key, word in words.items()}))
    page = writer.root["/Pages"]["/Kids"][0].get_object()
    page["/Annots"] = generic.ArrayObject([note])
    writer.update_container(page)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def hides_the_sheet(octets: bytes) -> bytes:
    """A file that begins with the sheet's octets, and whose own first revision is another sheet."""
    other = sheet(MINIMAL.replace("R-1", "R-9"))
    start, end = other.rindex(b"\nxref\n") + 1, other.rindex(b"startxref")
    moved = re.sub(rb"(\d{10})(?= 00000 n )", lambda m: b"%010d" % (int(m[0]) + len(octets)), other[start:end])
    return octets + other[:start] + moved + b"startxref\n%d\n%%%%EOF\n" % (len(octets) + start)


def another_field(octets: bytes) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(octets))
    append_signature_field(writer, SigFieldSpec("Lain", on_page=0, box=(50, 20, 250, 120)))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def with_field(octets: bytes, change: Callable[[IncrementalPdfFileWriter, Any], None], **more: Any) -> bytes:
    """A field of a signature as somebody adds it beforehand, changed."""
    writer = IncrementalPdfFileWriter(BytesIO(octets))
    spec = {"sig_field_name": "Lain", "on_page": 0, "box": (50, 20, 250, 120), **more}
    append_signature_field(writer, SigFieldSpec(**spec))
    field = writer.root["/AcroForm"]["/Fields"][0].get_object()
    change(writer, field["/Kids"][0].get_object() if "/Kids" in field else field)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def pdf_object(value: Any) -> Any:
    """A dictionary, a name (/…) or a text for a PDF; others as they are."""
    if isinstance(value, dict):
        return generic.DictionaryObject({generic.pdf_name(key): pdf_object(each) for key, each in value.items()})
    if isinstance(value, str):
        return (generic.pdf_name if value.startswith("/") else generic.pdf_string)(value)
    return value


def saying(key: str, value: Any) -> Callable[[IncrementalPdfFileWriter, Any], None]:
    return lambda writer, field: field.update(pdf_object({key: value}))


def drawing(state: str) -> Callable[[IncrementalPdfFileWriter, Any], None]:
    """A white room, say, or words in it."""
    def change(writer: IncrementalPdfFileWriter, field: Any) -> None:
        box = generic.ArrayObject(map(generic.NumberObject, (0, 0, 200, 100)))
        form = pdf_object({"/Type": "/XObject", "/Subtype": "/Form", "/BBox": box})
        drawn = writer.add_object(generic.StreamObject(form, stream_data=b"1 1 1 rg 0 0 200 100 re f"))
        field["/AP"] = pdf_object({**field["/AP"], state: drawn})

    return change


SCRIPT = {"/S": "/JavaScript", "/JS": "app.alert('x')"}
ACTIVE = {
    "script when the page is shown": (saying("/AA", {"/PV": SCRIPT}), "'/AA'"),
    "script when it is clicked": (saying("/A", SCRIPT), "'/A'"),
    "layer that comes and goes": (saying("/OC", {"/Type": "/OCG", "/Name": "x"}), "'/OC'"),
    "another kind of mark": (saying("/Subtype", "/FreeText"), "'/Subtype /FreeText'"),
}


@pytest.mark.parametrize("name", ["Lain", "TTE"], ids=["beside", "signed"])
@pytest.mark.parametrize("what", ACTIVE)
def test_field_that_does_more_than_a_signatures_is_refused(
    trusting: Desk, bsre: Authority, kadis: Holder, what: str, name: str
) -> None:
    """Whether it stays empty or is the one that is signed: what it does on the signer's screen, nobody signed.

    It may be one with its mark on the page, or have it apart.
    """
    change, told = ACTIVE[what]
    for apart in (False, True):
        request = waiting(trusting)
        pdf = with_field(prepared(trusting, request), change, sig_field_name=name, combine_annotation=not apart)
        text = refused(trusting, request, sign(pdf, kadis), bsre.lists)
        assert "a field was added that is more than a signature's: it has" in text and told in text


def test_field_that_shows_another_text_under_the_pointer_is_refused(
    trusting: Desk, bsre: Authority, kadis: Holder
) -> None:
    request = waiting(trusting)
    pdf = with_field(prepared(trusting, request), drawing("/R"))
    assert "it has '/AP /R'" in refused(trusting, request, sign(pdf, kadis), bsre.lists)


@pytest.mark.parametrize("box", [(50, 20, 250, 120), (0, 0, 0, 0)], ids=["visible", "invisible"])
def test_field_that_nobody_signed_is_refused(
    trusting: Desk, bsre: Authority, kadis: Holder, box: tuple[int, ...]
) -> None:
    request = waiting(trusting)
    pdf = with_field(prepared(trusting, request), drawing("/N") if box[2] else lambda *_: None, box=box)
    assert "a field without a signature was added" in refused(trusting, request, sign(pdf, kadis), bsre.lists)


def test_field_that_another_signs_later_is_refused(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """What it showed when the Kadis signed is gone by then."""
    request = waiting(trusting)
    first = sign(with_field(prepared(trusting, request), drawing("/N")), kadis)
    made = sign(first, bsre.person("Sekretaris", "9"), field_name="Lain", box=(50, 20, 250, 120))
    assert "a field without a signature was added" in refused(trusting, request, made, bsre.lists)


@pytest.mark.parametrize("kind", ["/adbe.x509.rsa_sha1", "/Palsu"])
def test_field_whose_signature_nobody_can_read_is_refused(
    trusting: Desk, bsre: Authority, kadis: Holder, kind: str
) -> None:
    """It would be drawn, and left out of the signatures that are checked."""
    request = waiting(trusting)

    def as_if(writer: IncrementalPdfFileWriter, field: Any) -> None:
        said = {"/Type": "/Sig", "/Filter": "/Adobe.PPKLite", "/SubFilter": kind, "/Contents": "x"}
        field["/V"] = writer.add_object(pdf_object(said))

    pdf = with_field(prepared(trusting, request), as_if)
    assert "a field without a signature was added" in refused(trusting, request, sign(pdf, kadis), bsre.lists)


def test_timestamp_that_is_drawn_is_refused(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """Times within the file count for nothing, and so nobody checks whose they are."""
    request, own = waiting(trusting), Authority("Palsu")
    clock = own.issuing.issue(name(CN="Waktu", O="Negara"), purposes=(ExtendedKeyUsageOID.TIME_STAMPING,))
    stamper, out = DummyTimeStamper(clock.asn1, clock.asn1_key, fixed_dt=NOW, include_nonce=False), BytesIO()
    writer = IncrementalPdfFileWriter(BytesIO(with_field(prepared(trusting, request), drawing("/N"))))
    signers.PdfTimeStamper(stamper, field_name="Lain").timestamp_pdf(writer, "sha256", output=out)
    assert "a timestamp is drawn on the sheet" in refused(trusting, request, sign(out.getvalue(), kadis), bsre.lists)


def updated(octets: bytes, number: int, body: bytes, *, rows: Sequence[int] = (0,), blank: bytes = b" ",
            more: bytes = b"") -> bytes:
    """A sheet of one page with an object behind it, and how often and where its table says that this lies."""
    place = len(octets)
    out = octets + b"%d 0 obj\n%s\nendobj\n" % (number, body)
    told = b"".join(b"%d 1\n%010d 00000 n%s\n" % (number, row or place, blank) for row in rows)
    told = told or b"0 1\n0000000000 65535 f%s\n" % blank
    before, trailer = octets.rindex(b"xref\n0 "), b"trailer\n<< /Size 9 /Root 1 0 R /Prev %d >>\n"
    return b"".join((out, b"xref\n", told, trailer % before, more, b"startxref\n%d\n%%%%EOF\n" % len(out)))


def stream(said: bytes, data: bytes) -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (said, len(data), data)


WORDS = stream(b"", b"BT /F2 12 Tf 42 700 Td (R-2026-0009) Tj ET")  # in place of the page's own, object 7
UNUSED, PAGE = "holds parts that it does not use", "a page was added to the sheet"
BEHIND: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "an object that no table names": (lambda pdf: updated(pdf, 7, WORDS, rows=(), blank=b""), UNUSED),
    "within a comment": (lambda pdf: updated(pdf + b"%", 7, WORDS.replace(b"\n", b" "), rows=()), UNUSED),
    "within a stream": (
        lambda pdf: updated(pdf, 8, stream(b"", b"7 %\n0 obj\n" + WORDS + b"\nendobj\n"), blank=b""), UNUSED),
    "one of two that a table names": (
        lambda pdf: updated(pdf, 7, WORDS, rows=(0, pdf.index(b"\n7 0 obj") + 1)), UNUSED),
    "a stream of objects that no table names": (
        lambda pdf: updated(pdf, 8, stream(b"/Type /ObjStm /N 1 /First 4", b"5 0 << >>"), blank=b""), UNUSED),
    "a table that nothing leads to": (
        lambda pdf: updated(pdf, 8, stream(b"/Type /XRef /Size 9 /W [1 2 1] /Index [0 0]", b""), blank=b""), UNUSED),
    "another trailer": (lambda pdf: updated(pdf, 8, b"<< >>", more=b"trailer\n<< /Root 8 0 R >>\n"), UNUSED),
    "another catalog": (lambda pdf: updated(pdf, 8, b"<< /T#79pe /Catalog /Pages 2 0 R >>"), PAGE),
}


@pytest.mark.parametrize("what", BEHIND)
def test_what_some_programs_show_in_place_of_the_sheet_is_refused(
    trusting: Desk, bsre: Authority, kadis: Holder, what: str
) -> None:
    """Chrome makes a table that has a blank too few anew, MuPDF takes the first of two: before he signs, and after, the
    Kadis would read another sheet than the one that pyHanko reads."""
    request, (change, told) = waiting(trusting), BEHIND[what]
    pdf = change(prepared(trusting, request))
    assert told in refused(trusting, request, sign(pdf, kadis), bsre.lists)


def test_signature_of_a_program_that_writes_its_table_as_a_stream_counts(
    trusting: Desk, bsre: Authority, kadis: Holder
) -> None:
    request, out = waiting(trusting), BytesIO()
    writer = IncrementalPdfFileWriter(BytesIO(prepared(trusting, request)))
    writer.stream_xrefs = True
    writer.add_object(generic.pdf_string("x"), obj_stream=writer.prepare_object_stream())
    signers.PdfSigner(signers.PdfSignatureMetadata(field_name="TTE"), kadis.signer).sign_pdf(writer, output=out)
    assert b"/ObjStm" in out.getvalue() and b"/XRef" in out.getvalue()
    assert take(trusting, request, signed(trusting, out.getvalue(), bsre.lists))


@pytest.mark.parametrize("apart", [False, True], ids=["field", "its mark"])
def test_service_that_adds_its_field_before_it_signs_is_taken(
    trusting: Desk, bsre: Authority, kadis: Holder, apart: bool
) -> None:
    request = waiting(trusting)
    pdf = with_field(prepared(trusting, request), saying("/MK", {}), sig_field_name="TTE",
                     combine_annotation=not apart)
    assert take(trusting, request, signed(trusting, sign(pdf, kadis), bsre.lists))


def flipped(octets: bytes, place: int) -> bytes:
    return octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1:]


BAD: dict[str, tuple[Callable[[bytes, Authority, Holder], tuple[bytes, bytes]], str]] = {
    "unsigned": (lambda pdf, a, k: (pdf, a.lists), "nobody signed the PDF"),
    "wrong official": (
        lambda pdf, a, k: (sign(pdf, a.person("Kasubbag", "3172")), a.lists), "made by Kasubbag, 3172"),
    "namesake": (lambda pdf, a, k: (sign(pdf, a.person("dr. Kepala", "9999")), a.lists), "made by dr. Kepala, 9999"),
    "expired": (
        lambda pdf, a, k: (sign(pdf, a.person("dr. Kepala", "3171", end=NOW - timedelta(days=1))), a.lists),
        "its certificate was not valid at that time"),
    "not yet valid": (
        lambda pdf, a, k: (sign(pdf, a.person("dr. Kepala", "3171", begin=NOW + timedelta(days=9))), a.lists),
        "does not hold at 2026-11-02"),
    "revoked": (
        lambda pdf, a, k: (sign(pdf, k), a.root.crl() + a.issuing.crl(k)), "its certificate was revoked"),
    "its authority revoked": (
        lambda pdf, a, k: (sign(pdf, k), a.root.crl(a.issuing) + a.issuing.crl()), "the authority that issued"),
    "revocation unknown": (lambda pdf, a, k: (sign(pdf, k), b""), "nothing says whether its certificate was revoked"),
    "revocation of the authority unknown": (
        lambda pdf, a, k: (sign(pdf, k), a.issuing.crl()), "nothing says whether its certificate was revoked"),
    "old list": (
        lambda pdf, a, k: (sign(pdf, k), a.root.crl() + a.issuing.crl(at=NOW - timedelta(days=9), days=7)),
        "lists of revoked certificates are of another time"),
    "another's list": (lambda pdf, a, k: (sign(pdf, k), Authority().lists), NOTHING),
    "self-made root of the same name": (
        lambda pdf, a, k: impostor(pdf, Authority()), "not lead to an authority that this register trusts"),
    "self-made root": (
        lambda pdf, a, k: impostor(pdf, Authority("Palsu")), "no authority that this register trusts"),
    "self-signed": (
        lambda pdf, a, k: (sign(pdf, Authority().root.issue(k.certificate.subject)), a.lists), "register trusts"),
    **{f"certificate for {what}": (
        lambda pdf, a, k, purposes=purposes: (sign(pdf, a.person("dr. Kepala", "3171", purposes=purposes)), a.lists),
        "is for servers, time stamps or programs") for what, purposes in {
            "servers": (ExtendedKeyUsageOID.SERVER_AUTH,), "time stamps": (ExtendedKeyUsageOID.TIME_STAMPING,),
            "programs": (ExtendedKeyUsageOID.CODE_SIGNING,),
            "servers and clients": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)}.items()},
    "sheet changed after signing": (
        lambda pdf, a, k: (flipped(sign(pdf, k), len(pdf) // 2), a.lists), "does not begin with the sheet"),
    "signature's part changed": (
        lambda pdf, a, k: (flipped(made := sign(pdf, k), made.index(b"/M (D", len(pdf)) + 12), a.lists),
        "was changed after dr. Kepala"),
    "edited after signing": (
        lambda pdf, a, k: (another_page(sign(pdf, k)), a.lists), "changed by more than signatures"),
    "edited before signing": (
        lambda pdf, a, k: (sign(another_page(pdf), k), a.lists), "changed by more than signatures"),
    "a note laid over it before signing": (
        lambda pdf, a, k: (sign(note_over_the_text(pdf), k), a.lists), "changed by more than signatures"),
    "a signature drawn over the text": (
        lambda pdf, a, k: (sign(pdf, k, box=(40, ROOM - 10, 550, 800)), a.lists), "covers the sheet's text"),
    "another document behind the sheet": (
        lambda pdf, a, k: (sign(hides_the_sheet(pdf), k), a.lists), "shows something else"),
    "more after the signed part": (
        lambda pdf, a, k: (sign(pdf, k) + b"% and more\n", a.lists), "cover a part of the file only"),
    "a part of the file covered": (
        lambda pdf, a, k: (sign_in_part(pdf, k), a.lists), "covers a part of the file only"),
    "an empty field added after signing": (
        lambda pdf, a, k: (another_field(sign(pdf, k)), a.lists), "covers a part of the file only"),
    "another's bad signature beside it": (
        lambda pdf, a, k: (sign(sign(pdf, Authority().person("X"), field_name="A"), k, box=None), a.lists),
        "the signature of X"),
    "no PDF inside": (lambda pdf, a, k: (pdf + b"\nstartxref\n1\n%%EOF\n", a.lists), "cannot be read as a signed PDF"),
    "too large": (lambda pdf, a, k: (sign(pdf, k) + b"\n" * 2**24, a.lists), "larger than 16 MiB"),
}


def official(a: Authority, k: Holder) -> Holder:
    """Who answers for the authority."""
    return a.issuing.issue(name(CN="OCSP BSrE", O="Negara"), purposes=(ExtendedKeyUsageOID.OCSP_SIGNING,))


OLD = {"at": NOW - timedelta(days=9), "days": 7}
GOOD_ANSWERS: dict[str, Callable[[Authority, Holder], tuple[bytes, ...]]] = {
    "the authorities' own": lambda a, k: (a.issuing.answer(k), a.root.answer(a.issuing)),
    "by an official of theirs": lambda a, k: (a.issuing.answer(k, by=official(a, k)), a.root.answer(a.issuing)),
    "an older one beside it": lambda a, k: (
        a.issuing.answer(k, **OLD), a.issuing.answer(k), a.root.answer(a.issuing)),
}
BAD_ANSWERS: dict[str, tuple[Callable[[Authority, Holder], tuple[bytes, ...]], str]] = {
    "revoked": (
        lambda a, k: (a.issuing.answer(k, "REVOKED"), a.root.answer(a.issuing)), "its certificate was revoked"),
    "its authority revoked": (
        lambda a, k: (a.issuing.answer(k), a.root.answer(a.issuing, "REVOKED")), "the authority that issued"),
    "unknown": (lambda a, k: (a.issuing.answer(k, "UNKNOWN"), a.root.answer(a.issuing)), NOTHING),
    "expired": (
        lambda a, k: (a.issuing.answer(k, **OLD), a.root.answer(a.issuing)), "are of another time"),
    "not yet": (
        lambda a, k: (a.issuing.answer(k, at=NOW + timedelta(days=9)), a.root.answer(a.issuing)), NOTHING),
    "none on the authority": (lambda a, k: (a.issuing.answer(k),), NOTHING),
    "of another certificate": (lambda a, k: (a.issuing.answer(a.person("X")), a.root.answer(a.issuing)), NOTHING),
    "another authority's": (
        lambda a, k: (a.issuing.answer(k, by=Authority().issuing), a.root.answer(a.issuing)), NOTHING),
    "by somebody else": (lambda a, k: (a.issuing.answer(k, by=a.person("X")), a.root.answer(a.issuing)), NOTHING),
    "by themselves": (lambda a, k: (a.issuing.answer(k, by=k), a.root.answer(a.issuing)), NOTHING),
    "changed": (lambda a, k: (flipped(made := a.issuing.answer(k), len(made) - 9), a.root.answer(a.issuing)), NOTHING),
}


@pytest.mark.parametrize("within", ["signature", "store"])
@pytest.mark.parametrize("kind", GOOD_ANSWERS)
def test_answers_instead_of_lists_count(
    trusting: Desk, bsre: Authority, kadis: Holder, kind: str, within: str
) -> None:
    """What the authority answered when it was asked about the certificates (OCSP) is in the PDF. Nothing is fetched."""
    request, told = waiting(trusting), GOOD_ANSWERS[kind](bsre, kadis)
    pdf = prepared(trusting, request)
    made = sign(pdf, kadis, told=told) if within == "signature" else stored(sign(pdf, kadis), *told)
    take(trusting, request, signed(trusting, made))
    assert trust.examine(trusting.office).lines() == []


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_answers_that_do_not_clear_a_signature(trusting: Desk, bsre: Authority, kadis: Holder, kind: str) -> None:
    request, (told, part) = waiting(trusting), BAD_ANSWERS[kind]
    made = stored(sign(prepared(trusting, request), kadis), *told(bsre, kadis))
    assert part in refused(trusting, request, made)


def test_revocation_counts_whoever_tells_it(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """An answer from before, which still runs, clears nobody whom a list names, nor the other way round."""
    request, good = waiting(trusting), (bsre.issuing.answer(kadis), bsre.root.answer(bsre.issuing))
    bad = (bsre.issuing.answer(kadis, "REVOKED"), bsre.root.answer(bsre.issuing))
    made = sign(prepared(trusting, request), kadis)
    assert "was revoked" in refused(trusting, request, stored(made, *bad), bsre.lists)
    assert "was revoked" in refused(trusting, request, stored(made, *good), bsre.root.crl() + bsre.issuing.crl(kadis))
    for told in ((good[0], *bad), (*bad, good[0])):
        assert "was revoked" in refused(trusting, request, stored(made, *told))
    authority = (*good, bsre.root.answer(bsre.issuing, "REVOKED"))
    assert "the authority that issued" in refused(trusting, request, stored(made, *authority))
    for lists in ((bsre.lists, bsre.issuing.crl(kadis)), (bsre.issuing.crl(kadis), bsre.lists)):
        assert "was revoked" in refused(trusting, request, made, b"".join(lists))


@pytest.mark.parametrize("days", [None, 1 / 24, 7], ids=["without an end", "over", "running"])
def test_revocation_counts_however_long_the_word_for_it_holds(
    trusting: Desk, bsre: Authority, kadis: Holder, days: float | None
) -> None:
    """A list from before the revocation still runs. What is revoked after the Kadis signed is no matter."""
    request, at = waiting(trusting), NOW - timedelta(hours=2)
    made, before = sign(prepared(trusting, request), kadis), {"at": NOW - timedelta(days=2), "days": 7}
    lists = bsre.root.crl(**before) + bsre.issuing.crl(**before)
    accused = stored(made, bsre.issuing.answer(kadis, "REVOKED", at=at, days=days))
    assert "its certificate was revoked" in refused(trusting, request, accused, lists)
    if days is not None:
        named = lists + bsre.issuing.crl(kadis, at=at, days=days)
        assert "its certificate was revoked" in refused(trusting, request, made, named)
    later = stored(made, bsre.issuing.answer(kadis, "REVOKED", at=NOW + timedelta(hours=2), days=days))
    assert take(trusting, request, signed(trusting, later, lists))


@pytest.mark.parametrize("octets", [b"0\x03\n\x01\x03", b"0\x03\n\x01\x06"], ids=["later", "no right to ask"])
def test_answer_without_content_clears_nobody(
    trusting: Desk, bsre: Authority, kadis: Holder, octets: bytes
) -> None:
    request = waiting(trusting)
    made = stored(sign(prepared(trusting, request), kadis), octets)
    assert NOTHING in refused(trusting, request, made)


def impostor(pdf: bytes, other: Authority) -> tuple[bytes, bytes]:
    return sign(pdf, other.person("dr. Kepala", "3171")), other.lists


@pytest.mark.parametrize("kind", BAD)
def test_bad_signature_is_refused_and_leaves_nothing(trusting: Desk, bsre: Authority, kadis: Holder, kind: str) -> None:
    request = waiting(trusting)
    make, told = BAD[kind]
    assert told in refused(trusting, request, *make(prepared(trusting, request), bsre, kadis))


def test_pdf_of_another_request_cannot_be_replayed(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    requests = [waiting(trusting), waiting(trusting)]
    made = sign(prepared(trusting, requests[0]), kadis, lists=bsre.lists)
    assert "not begin with the sheet" in refused(trusting, requests[1], made)
    take(trusting, requests[0], signed(trusting, made))
    assert "not begin with the sheet" in refused(trusting, requests[1], made)
    assert "not begin with the sheet" in refused(trusting, requests[0], made), "nor twice for the same one"


def test_old_pdf_cannot_be_replayed_after_the_request_came_back(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    request = waiting(trusting)
    made = sign(prepared(trusting, request), kadis, lists=bsre.lists)
    take(trusting, request, signed(trusting, made))
    trusting.take(request, "review")
    trusting.take(request, "decision", outcome="no", reason="belum")
    assert "not begin with the sheet" in refused(trusting, request, made)


@pytest.mark.parametrize("more", [{"reason": "segera"}, {"evidence": "lampiran"}], ids=["reason", "document"])
def test_pdf_counts_for_what_was_prepared_only(
    trusting: Desk, bsre: Authority, kadis: Holder, more: dict[str, Any]
) -> None:
    """Whoever records it adds no word and no document to what the Kadis signed."""
    request = waiting(trusting)
    made = sign(prepared(trusting, request), kadis, lists=bsre.lists)
    given = {"evidence": {"lampiran": trusting.paper}} if "evidence" in more else more
    with pytest.raises(Refused, match="does not begin with the sheet"):
        take(trusting, request, signed(trusting, made), **given)
    made = sign(prepared(trusting, request, **given), kadis, lists=bsre.lists)
    assert take(trusting, request, signed(trusting, made), **given)


def test_requester_signs_the_submission_as_pdf(desk: Desk, bsre: Authority) -> None:
    """The letter is a document of its own; the sheet beside it names its hash and the whole request."""
    dinkes = bsre.person("Kepala Dinas Kesehatan", "3180")
    rely(desk, bsre.root)
    enter(desk, "dinkes", dinkes, "pd", by=("kasubbag", "kadis"))
    sheet_file = desk.folder / "permohonan.pdf"
    words = (desk.office, desk.write(desk.form()), desk.letter, "dinkes", None)
    assert steps.submit(*words, Pdf(prepare=sheet_file)) is None
    contact = (desk.folder / "permohonan.pdf.sealed/request.contact").read_bytes()
    assert json.loads(contact[32:])["name"] == "Siti"
    made = signed(desk, sign(sheet_file.read_bytes(), dinkes, lists=bsre.lists))
    now = steps.submit(*words, made)
    assert now is not None and {"surat", "lembar_ttd"} <= set(now.done["request_letter"].evidence)
    with pytest.raises(Refused, match="does not begin with the sheet"):
        steps.submit(*words, made)
    desk.run(desk.approve(now.id))
    assert trust.examine(desk.office).lines() == []


def test_prepared_and_taken_by_commands(trusting: Desk, bsre: Authority, kadis: Holder, sop: Sop) -> None:
    request = waiting(trusting)
    words = ["record", request, "disposition", "--as", "kadis", "--pades"]
    path = trusting.folder / "lembar.pdf"
    code, out, _ = sop(*words, "--prepare", path)
    assert code == 0 and "nothing is recorded yet" in out and "BSrE" in out
    made, lists = file(trusting, sign(path.read_bytes(), kadis), "ttd.pdf"), file(trusting, bsre.lists, "lists.pem")
    assert sop(*words, "--prepare", path)[0] == 0
    signed_one = made.read_bytes()
    for kept in (made, trusting.letter):
        code, _, err = sop(*words, "--prepare", kept)
        assert code == 2 and "another file is there already" in err, "whoever signed it would have to sign again"
    assert made.read_bytes() == signed_one
    code, _, err = sop(*words, "--signature", made)
    assert code == 3 and "nothing says whether its certificate was revoked" in err
    code, _, err = sop(*words, "--signature", trusting.letter)
    assert code == 3 and "does not begin with the sheet" in err
    code, out, err = sop(*words, "--signature", made, "--crl", lists)
    assert code == 0 and "signed within a PDF" in out, err
    code, out, _ = sop("register", "verify")
    assert code == 0 and "every signature holds" in out
    code, out, _ = sop("actors", "list")
    assert code == 0 and "certificate of dr. Kepala, 3171" in out and "Common Name: Root BSrE" in out


def test_command_says_what_is_wrong_with_its_words(trusting: Desk, sop: Sop) -> None:
    request = waiting(trusting)
    words = ["record", request, "disposition", "--as", "kadis"]
    code, _, err = sop(*words, "--pades")
    assert code == 2 and "--prepare FILE.pdf" in err
    code, _, err = sop(*words, "--pades", "--key", trusting.folder / "keys/kadis", "--prepare", "x.pdf")
    assert code == 2 and "--pades without one of" in err
    code, _, err = sop(*words, "--crl", trusting.paper)
    assert code == 2 and "--crl without --pades" in err
    code, _, err = sop(*words, "--pades", "--ink", "kasubbag", "--prepare", "x.pdf")
    assert code == 2 and "--ink or --pades" in err
    code, _, err = sop(*words, "--pades", "--prepare", "x.pdf", "--evidence", f"surat_terdisposisi={trusting.paper}")
    assert code == 2 and "leave this out" in err


def test_pdf_is_refused_where_the_sop_wants_a_key(trusting: Desk) -> None:
    request = trusting.submit()
    with pytest.raises(Refused, match="signed by ssh only"):
        take(trusting, request, Pdf(prepare=trusting.folder / "x.pdf"), step="agenda", actor="kasubbag")


def test_pdf_is_refused_before_roots_and_certificates_are_entered(desk: Desk, kadis: Holder) -> None:
    request = waiting(desk)
    with pytest.raises(Refused, match="does not know the certificate of kadis"):
        take(desk, request, Pdf(prepare=desk.folder / "x.pdf"))
    enter(desk, "kadis", kadis, "kadis", by=("kasubbag", "kabid"))
    with pytest.raises(Refused, match="trusts no authority"):
        take(desk, request, Pdf(prepare=desk.folder / "x.pdf"))


def test_gate_refuses_a_pdf_where_the_sop_wants_a_key(desk: Desk) -> None:
    now = standing.stand(desk.office, desk.approved())
    weak = now.done["agenda"]
    now.done["agenda"] = Entry(**{**weak.__dict__, "data": {**weak.data, "pades": {}}})
    found = gates.check([Case(now, desk.office.evidence, Existing.of({}), desk.office.people().person)])
    assert [r.gate for r in found] == ["agenda number"] and "signed by pades" in found[0].what


def test_retired_official_signs_nothing_as_pdf(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """The certificate is good for years; the office is not."""
    request = waiting(trusting)
    made = sign(prepared(trusting, request), kadis, lists=bsre.lists)
    trusting.retire("kadis")
    with pytest.raises(Refused, match="kadis was retired"):
        take(trusting, request, signed(trusting, made))


def test_root_needs_two_officials(desk: Desk, bsre: Authority) -> None:
    path = file(desk, bsre.root.pem)
    with pytest.raises(Refused, match="kasubbag did"):
        actors.rely(desk.office, [path], ["kasubbag"], desk.sign, "SE 1")
    assert desk.office.people().roots == {}
    rely(desk, bsre.root)
    with pytest.raises(Refused, match="already"):
        rely(desk, bsre.root)


def test_root_is_an_authority(desk: Desk, kadis: Holder) -> None:
    for octets, told in ((kadis.pem, "no authority"), (b"no certificate", "can be read")):
        with pytest.raises((Refused, Usage), match=told):
            actors.rely(desk.office, [file(desk, octets)], ["kasubbag", "kabid"], desk.sign, "SE 1")


def test_ceremony_names_roots_and_certificates(desk: Desk, bsre: Authority, kadis: Holder, tmp_path: Path) -> None:
    new = Desk(tmp_path)
    first = json.loads(desk.ceremony().read_text())["actors"]
    first["kadis"] |= {"certificate": "kadis.pem"}
    file(new, kadis.pem, "kadis.pem")
    file(new, bsre.root.der, "root.cer")
    office = new.opened(new.clock)
    actors.bootstrap(office, new.document("begin.yml", json.dumps({"actors": first, "roots": ["root.cer"]})), new.sign)
    people_now = office.people()
    assert list(people_now.roots) == [hashlib.sha256(bsre.root.der).hexdigest()]
    assert json.loads(office.personal(str(people_now.actors["kadis"].subject))) == {
        "common_name": "dr. Kepala", "serial_number": "3171", "organization_name": "Pemerintah Kota Tarakan"}
    assert trust.examine(office).lines() == []


def test_certificate_is_read_from_a_signed_pdf(desk: Desk, kadis: Holder) -> None:
    """Who has no file of a certificate has a letter that its holder signed."""
    plain = sheet(MINIMAL)
    found = pades.subject(file(desk, sign(plain, kadis)))
    assert json.loads(found)["serial_number"] == "3171"
    for octets in (plain, b"%PDF-1.7", b"", sign(sign(plain, kadis), kadis, field_name="B", box=None)):
        with pytest.raises(Usage, match="no certificate can be read"):
            pades.subject(file(desk, octets))


def test_certificate_must_tell_one_person_from_another(desk: Desk, bsre: Authority) -> None:
    with pytest.raises(Refused, match="says only Kepala"):
        pades.subject(file(desk, bsre.issuing.issue(name(CN="Kepala")).pem))
    for twice in ("CN", "O", "serialNumber"):
        several = name((twice, "2"), (twice, "1"), **{"CN": "Budi", "O": "Pemkot Contoh"})
        with pytest.raises(Refused, match="says one thing twice: "):
            pades.subject(file(desk, bsre.issuing.issue(several).pem))


def test_homonym_with_two_numbers_is_another_person(tmp_path: Path, bsre: Authority) -> None:
    """What was said twice was left out of the comparison."""
    desk = from_before("nothing", tmp_path, bsre, bsre.issuing.issue(name(CN="Budi", O="Pemkot Contoh")))
    request = waiting(desk)
    for more in ([("serialNumber", "7"), ("serialNumber", "8")], [("O", "Pemkot Lain")], [("CN", "Budi")]):
        other = bsre.issuing.issue(name(*more, CN="Budi", O="Pemkot Contoh"))
        found = refused(desk, request, sign(prepared(desk, request), other), bsre.lists)
        assert "it is made by " in found and "; kadis is Budi, Pemkot Contoh" in found


def test_certificate_belongs_to_one_person(trusting: Desk, kadis: Holder) -> None:
    with pytest.raises(Refused, match="certificate of kabid is that of kadis, another person"):
        enter(trusting, "kabid", kadis, "bidang", by=("kasubbag", "kadis"))
    subject = pades.subject(file(trusting, kadis.pem))
    assert trusting.enroll("plt", "bidang", person="kadis", by=("kasubbag", "kabid"), subject=subject)


def test_key_stays_with_its_holder_only(trusting: Desk) -> None:
    """A certificate is entered beside a key; the key goes to nobody else by that."""
    trusting.take(trusting.submit(), "agenda")
    trusting.take("R-2026-0001", "disposition")
    with pytest.raises(Refused, match="key of kadis is or was"):
        trusting.enroll("kadis", "kadis", replaces=True, name="Kepala Baru")


def test_verify_looks_at_the_time_of_acceptance(trusting: Desk, bsre: Authority) -> None:
    """A certificate that ended since, and an authority that is trusted no more, proved what they proved."""
    brief = bsre.person("dr. Kepala", "3171", end=NOW + timedelta(days=1))
    request = waiting(trusting)
    made = sign(prepared(trusting, request), brief, lists=bsre.lists)
    take(trusting, request, signed(trusting, made))
    trusting.clock.time += timedelta(days=30)
    rely(trusting, Authority("Baru").root)
    trusting.run(trusting.approve(request))
    assert trust.examine(trusting.office).lines() == []


def test_certificate_that_ended_before_recording_is_refused(trusting: Desk, bsre: Authority) -> None:
    brief = bsre.person("dr. Kepala", "3171", end=NOW + timedelta(days=1))
    request = waiting(trusting)
    made = sign(prepared(trusting, request), brief)
    trusting.clock.time += timedelta(days=30)
    assert "was not valid at that time" in refused(trusting, request, made, bsre.lists)


def taken(desk: Desk, bsre: Authority, kadis: Holder) -> str:
    request = waiting(desk)
    take(desk, request, signed(desk, sign(prepared(desk, request), kadis), bsre.lists))
    return request


def test_each_fault_of_a_certificate_has_its_own_mend(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """To sign the same sheet once more with it would be refused in the same way."""
    request = waiting(trusting)
    made = prepared(trusting, request)
    ended = bsre.person("dr. Kepala", "3171", end=NOW - timedelta(days=1))
    for holder, lists, mend in (
        (ended, bsre.lists, "mend: sign with a certificate that is valid now"),
        (kadis, bsre.root.crl() + bsre.issuing.crl(kadis), "mend: sign with a certificate that is valid now"),
        (kadis, b"", "mend: give the authority's lists of now, --crl FILE"),
        (kadis, bsre.root.crl(**OLD) + bsre.issuing.crl(**OLD), "mend: give the authority's lists of now, --crl FILE"),
        (bsre.person("Orang Lain", "9"), bsre.lists, "mend: let the person named sign it"),
    ):
        found = refused(trusting, request, sign(made, holder), lists)
        assert mend in found and "as it was prepared" not in found, found
    assert "mend: have the sheet signed as it was prepared" in refused(trusting, request, made, bsre.lists)


@pytest.mark.parametrize("lost", ["surat_terdisposisi", "crl"])
def test_lost_or_swapped_pdf_is_found(trusting: Desk, bsre: Authority, kadis: Holder, lost: str) -> None:
    request = trusting.approve(taken(trusting, bsre, kadis))
    digest = standing.stand(trusting.office, request).done["disposition"].evidence[lost]
    path = trusting.office.evidence.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"%PDF-1.7 lain")
    assert "was changed" in "\n".join(trust.examine(trusting.office).lines())
    with pytest.raises(Refused, match="was changed"):
        trusting.run(request)
    assert trusting.fleet.played == []


@pytest.mark.parametrize("swapped", ["document", "crls"])
def test_pdf_is_checked_as_it_was_compared(
    trusting: Desk, bsre: Authority, kadis: Holder, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    """Somebody puts another file there between the look at its hash and the look at its signature."""
    taken(trusting, bsre, kadis)
    (signed_within,) = trust.examine(trusting.office).pdfs
    path = trusting.office.evidence.path(getattr(signed_within, swapped))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"\n")
    monkeypatch.setattr(Evidence, "fault", lambda *_: None)
    assert pades.fault(signed_within, trusting.office.evidence) == f"{path} was changed"


@pytest.mark.parametrize("said", ['"\ud800"', "[]", "{}", "[" * 100_000])
def test_statement_that_makes_no_sheet_is_a_fault_and_no_crash(
    trusting: Desk, bsre: Authority, kadis: Holder, said: str
) -> None:
    taken(trusting, bsre, kadis)
    (signed_within,) = trust.examine(trusting.office).pdfs
    told = pades.fault(replace(signed_within, statement=said), trusting.office.evidence)
    assert str(told).startswith("it cannot be read as a signed PDF")


SHOWN = {"Jenis": "create", "Situs web": "dinkes.tarakankota.go.id", "Instansi": "Dinas Kesehatan",
         "Surat": "005/1, 2026-10-30", "Pemohon": "dinkes (Dinas Kesehatan)",
         "Nomor agenda": "000.8.3.3.3/1/DKISP/2026",
         "Kegiatan": "3. Disposisi Kepala DKISP ke Bagian Aplikasi Informatika"}


def forged(desk: Desk, holder: Holder, lists: bytes, **shown: str) -> str:
    """Root takes a disposition out of the Kadis's hands: a PDF of their own, every hash and checkpoint right."""
    request, digests = desk.approve(waiting(desk)), dict[str, str]()
    shown = {"Nomor agenda": str(standing.stand(desk.office, request).agenda), **shown}
    shown = {label: text for label, text in (SHOWN | shown).items() if text}

    def forge(bodies: list[insider.Body]) -> list[insider.Body]:
        place = max(n for n, body in enumerate(bodies) if body["step"] == "disposition")
        body = bodies[place]
        body["data"]["pades"] = {"document": "surat_terdisposisi", "shown": shown}
        body["signatures"] = []
        said = directory.statement(body, desk.office.people().register)
        digests["pdf"] = desk.office.evidence.add(file(desk, sign(sheet(said), holder)))
        digests["crl"] = desk.office.evidence.add(file(desk, lists))
        body["evidence"] = {"surat_terdisposisi": digests["pdf"], "crl": digests["crl"]}
        return bodies[: place + 1]

    insider.rewrite(desk, forge, key=True)
    return request


def test_forged_pdf_is_found_even_with_the_checkpoint_key(trusting: Desk, bsre: Authority) -> None:
    own = Authority()
    request = forged(trusting, own.person("dr. Kepala", "3171"), own.lists)
    found = "\n".join(trust.examine(trusting.office).lines())
    assert "not lead to an authority that this register trusts" in found and "rely on nothing from entry 6 on" in found
    assert trust.refusals(trusting.office, [request]) and not trust.refusals(trusting.office, ["R-2026-0009"])


def test_forged_pdf_is_not_erased(trusting: Desk, bsre: Authority) -> None:
    """Two officials sign for the erasure of a number in it: what they do not know would then be found by nobody."""
    own = Authority()
    request = forged(trusting, own.person("dr. Kepala", "3171"), own.lists)
    trusting.retire("kadis")
    for words in ([f"{request}/surat_terdisposisi"], ["actor/kadis"]):
        with pytest.raises(Refused, match=r"signature of kadis in entry 6 does not hold"):
            orders.erase(trusting.office, words, ["kasubbag", "kabid"], trusting.sign, "UU PDP")
    assert trust.examine(trusting.office).lines()


def test_forged_pdf_of_somebody_whose_certificate_was_erased_before_is_found(trusting: Desk, bsre: Authority) -> None:
    """Two officials, with a changed driver: whatever is written in for the third later would be checked by nobody."""
    own, office = Authority(), trusting.office
    subject = str(office.people().actors["kadis"].subject).removeprefix("sealed:")
    actors.enter(office, "erase", {}, [], ["kasubbag", "kabid"], trusting.sign, reason="x", data={"erased": [subject]})
    assert trust.examine(office).lines() == []
    request = forged(trusting, own.person("dr. Kepala", "3171"), own.lists)
    said = "entry 7: this register does not know the certificate of kadis"
    assert said in trust.examine(office).lines()
    export.export(office, trusting.folder / "export", documents=True)
    assert said in outsider.check(trusting.folder / "export", office.people().checkpoint_key)[1]
    path = file(trusting, json.dumps(trusting.receipt(request)).encode())
    assert said in outsider.check(path, office.people().checkpoint_key)[1]


@pytest.mark.parametrize("told", [
    {"Instansi": "Dinas Pendidikan"}, {"Arti tanda tangan": "hanya tanda terima berkas"},
    {"Pemohon": "disdik (Dinas Pendidikan)"}, {"Pemohon": ""}, {"Jenis": "update"}])
def test_sheet_that_told_its_signer_of_another_request_is_found(
    trusting: Desk, bsre: Authority, kadis: Holder, told: dict[str, str]
) -> None:
    """The Kadis's own signature, by a sheet that root made: its text is not the request whose digest it holds."""
    forged(trusting, kadis, bsre.lists, **told)
    (found, _) = trust.examine(trusting.office).lines()
    assert found == "entry 6: its signer was shown another request than R-2026-0001 is"


@pytest.mark.parametrize("told", [
    {"Kegiatan": "10. Melaporkan pelaksanaan"}, {"Kegiatan": ""}, {"Nomor agenda": "999/LAIN/2020"},
    {"Nomor agenda": ""}])
def test_sheet_that_told_its_signer_of_another_step_is_found(
    trusting: Desk, bsre: Authority, kadis: Holder, told: dict[str, str], tmp_path: Path
) -> None:
    """A disposition that was shown as a receipt, say, or by the agenda number of another letter."""
    request, (label, text) = forged(trusting, kadis, bsre.lists, **told), next(iter(told.items()))
    (found, _) = trust.examine(trusting.office).lines()
    assert found == (f"entry 6: {request}: its signer was shown {label}: {text or None!r}, and it is {SHOWN[label]!r}")
    (tmp_path / "receipt").write_text(json.dumps(trusting.receipt(request)))
    code, lines = outsider.check(tmp_path / "receipt", trusting.office.register.notary.verifier)
    assert code == 1 and lines[0] == found


def from_before(rule: str, folder: Path, bsre: Authority, kadis: Holder) -> Desk:
    """A desk whose SOP was adopted when it did not tell of this rule, and that knows the Kadis's certificate."""
    with without(rule):
        desk = Desk(folder)
        rely(desk, bsre.root)
        enter(desk, "kadis", kadis, "kadis", by=("kasubbag", "kabid"))
    return desk


def test_sheets_tell_who_asks_once_the_sop_is_adopted_anew(tmp_path: Path, bsre: Authority, kadis: Holder) -> None:
    """Whatever the form says of its agency. Those from before verify as they are."""
    desk = from_before("agencies", tmp_path, bsre, kadis)
    for asks in ("dinkes", "disdik"):
        request = desk.submit(requester=asks, name=f"{asks}.tarakankota.go.id")
        desk.take(request, "agenda")
        made = signed(desk, sign(prepared(desk, request), kadis), bsre.lists)
        shown = take(desk, request, made).data["pades"]["shown"]
        assert shown["Instansi"] == "Dinas Kesehatan"
        assert shown.get("Pemohon") == (None if asks == "dinkes" else "disdik (Dinas Pendidikan)")
        assert trust.examine(desk.office).lines() == []
        if asks == "dinkes":
            actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "aturannya ikut")


@pytest.mark.parametrize("before", [False, True], ids=["now", "before"])
def test_sheet_stands_for_no_document_that_the_step_brings(
    tmp_path: Path, bsre: Authority, kadis: Holder, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs with a changed driver would save the needs analysis. What was taken before verifies as it did."""
    desk = from_before("carriers" if before else "nothing", tmp_path, bsre, kadis)
    kabid, words = bsre.person("Kabid", "3190"), {"step": "needs_analysis", "actor": "kabid"}
    enter(desk, "kabid", kabid, "bidang", by=("kasubbag", "kadis"))
    request = waiting(desk)
    for step in ("disposition", "review", "decision", "existence"):
        desk.take(request, step)
    monkeypatch.setattr(procedure.Step, "signed_sheet", "data_kebutuhan_informasi")
    made = signed(desk, sign(prepared(desk, request, **words), kabid), bsre.lists)
    if not before:
        with pytest.raises(Refused, match="needs_analysis is carried by data_kebutuhan_informasi, not by lembar_ttd"):
            take(desk, request, made, **words)
        return
    assert take(desk, request, made, **words)
    monkeypatch.undo()
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "aturannya ikut")
    assert trust.examine(desk.office).lines() == []


def test_homonym_is_another_person_once_the_sop_is_adopted_anew(tmp_path: Path, bsre: Authority) -> None:
    """A certificate with a number, where the one that was enrolled has none. What was taken before verifies."""
    plain = bsre.issuing.issue(name(CN="Ahmad", O="Pemkot Contoh"))
    numbered = bsre.issuing.issue(name(CN="Ahmad", O="Pemkot Contoh", serialNumber="999"))
    desk = from_before("certificates", tmp_path, bsre, plain)
    request = waiting(desk)
    assert take(desk, request, signed(desk, sign(prepared(desk, request), numbered), bsre.lists))
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "aturannya ikut")
    assert trust.examine(desk.office).lines() == []
    request = waiting(desk)
    found = refused(desk, request, sign(prepared(desk, request), numbered), bsre.lists)
    assert "it is made by Ahmad, 999, Pemkot Contoh; kadis is Ahmad, Pemkot Contoh" in found
    assert take(desk, request, signed(desk, sign(prepared(desk, request), plain), bsre.lists))
    assert trust.examine(desk.office).lines() == []


def test_export_tells_what_it_leaves_to_others(trusting: Desk, bsre: Authority, kadis: Holder, tmp_path: Path) -> None:
    """The one-file verifier has no reader of PDFs: it holds the sheet against the entry, and names what is left."""
    request = taken(trusting, bsre, kadis)
    folder = tmp_path / "export"
    export.export(trusting.office, folder, documents=True)
    code, lines = outsider.check(folder, trusting.office.register.notary.verifier)
    digest = standing.stand(trusting.office, request).done["disposition"].evidence["surat_terdisposisi"]
    assert code == 3 and "every SSH signature holds" in lines[0] and "NOT all was" in lines[-1]
    assert "NOT checked here" in lines[1] and "kadis" in lines[1] and f"evidence/{digest}" in lines[1]
    words = [sys.executable, "-I", folder / "verify.py", folder, "--key", trusting.office.people().checkpoint_key]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stdout.splitlines()[:2] == lines[:2]
    (tmp_path / "receipt").write_text(json.dumps(trusting.receipt(request)))
    code, lines = outsider.check(tmp_path / "receipt", trusting.office.register.notary.verifier)
    assert code == 3 and "NOT checked here" in "\n".join(lines)


def test_erased_pdf_is_said_so_and_takes_no_trust_away(
    trusting: Desk, bsre: Authority, kadis: Holder, tmp_path: Path
) -> None:
    request = waiting(trusting)
    entry = take(trusting, request, signed(trusting, sign(prepared(trusting, request), kadis, lists=bsre.lists)))
    gone = orders.erase(trusting.office, [f"{request}/surat_terdisposisi"], ["kasubbag", "kabid"], trusting.sign, "x")
    assert gone is not None
    found = trust.examine(trusting.office)
    when = f"erased on {gone.time[:10]} by kabid, kasubbag ({gone})"
    words = f"{entry}: what its signature within a PDF is checked by was {when}"
    assert found.findings == [] and any(line.startswith(words) for line in found.notes(""))
    trusting.take(request, "review")
    export.export(trusting.office, tmp_path / "export", documents=True)
    code, told = outsider.check(tmp_path / "export", trusting.office.people().checkpoint_key)
    assert code == 3 and any(line.startswith(words) for line in told) and "NOT checked" not in "".join(told)


def test_step_signed_as_pdf_is_voided_by_a_key(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    request = waiting(trusting)
    entry = take(trusting, request, signed(trusting, sign(prepared(trusting, request), kadis, lists=bsre.lists)))
    assert voiding.void(trusting.office, request, entry.sequence, "kadis", trusting.sign, "salah disposisi")
    assert "disposition" not in standing.stand(trusting.office, request).done
    assert trust.examine(trusting.office).findings == []


def test_export_finds_a_pdf_of_another_statement(trusting: Desk, bsre: Authority, tmp_path: Path) -> None:
    """What it can see without reading PDFs: whether the signed file is the sheet of its entry."""
    own = Authority()
    forged(trusting, own.person("dr. Kepala", "3171"), own.lists)
    other = sheet(MINIMAL)

    def swap(bodies: list[insider.Body]) -> list[insider.Body]:
        bodies[-1]["evidence"]["surat_terdisposisi"] = trusting.office.evidence.add(file(trusting, other))
        return bodies

    insider.rewrite(trusting, swap, key=True)
    folder = tmp_path / "export"
    export.export(trusting.office, folder, documents=True)
    code, lines = outsider.check(folder, trusting.office.register.notary.verifier)
    assert code == 1 and "its signed PDF is not the sheet of what it says" in lines[0]


def test_sheet_stays_as_it_is() -> None:
    """Signed sheets are made again whenever they are checked: another look would refuse all of them."""
    said = {"format": "sop-statement-1", "request": "R-2026-0001", "outcome": "yes", "reason": None, "evidence": {},
            "data": {"list": [1, "dua"], "long": "kata " * 60, "pades": {"shown": {"Instansi": "Dinas Ł (é)"}}}}
    made = sheet(canonical(said))
    assert hashlib.sha256(made).hexdigest() == "4c70440e0e8da70bf2648d04d6295d3e2732922802b5beabb183c728c3bf1bc6"
    assert sheet(canonical({**said, "reason": "lain"})) != made


def drawn(octets: bytes) -> list[str]:
    """The lines of a sheet, each letter of which is as wide as the others."""
    return [bytes.fromhex(text.decode()).decode("cp1252") for text in re.findall(rb"<([0-9a-f]*)> Tj", octets)]


def test_second_sheet_stays_as_it_is() -> None:
    said = {"format": "sop-statement-1", "request": "R-2026-0001", "outcome": "yes", "reason": None, "evidence": {},
            "data": {"list": [1, "dua"], "pades": {"shown": {"Jenis": "suspend", "Instansi": "Dinas Ł (é) \\u0141"}}}}
    made = sheet(canonical(said))
    assert hashlib.sha256(made).hexdigest() == "f456e904201daf36e432329d0af71b2b0086ddb9a1ced1a5e7d2f481b4d3d8ca"
    assert "Instansi: Dinas \\u0141 (é) \\\\u0141" in drawn(made) and "Jenis: suspend" in drawn(made)


@pytest.fixture
def gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts hold gaps, as those of requests from before may, and of who has a changed driver."""
    monkeypatch.setattr("sop_driver.request.GAP", re.compile("(?!)"))


@pytest.mark.parametrize("reason", [
    "Tindak lanjuti" + " \u3000" * 12 + "KECUALI situs ini, yang DITOLAK", "a" + "\u00a0" * 90 + "x", "Ł" * 300],
    ids=["wide spaces", "hard spaces", "letters without a glyph"])
@pytest.mark.usefixtures("gaps")
def test_sheet_shows_every_letter(trusting: Desk, reason: str) -> None:
    """None runs off the page's right edge, and none is drawn as nothing."""
    lines = drawn(prepared(trusting, waiting(trusting), reason=reason))
    assert max(map(len, lines)) <= 100
    start = next(n for n, line in enumerate(lines) if line.startswith("Catatan: "))
    end = next(n for n in range(start + 1, len(lines)) if not lines[n].startswith("  > "))
    said = "".join([lines[start], *(line.removeprefix("  > ") for line in lines[start + 1:end])])
    assert said.encode("latin-1").decode("unicode_escape") == f"Catatan: {reason}"


def test_every_page_of_a_sheet_begins_with_its_title() -> None:
    """What is drawn so large would run off the page."""
    said = json.loads(MINIMAL)
    said["data"] |= {"pades": {"shown": {"Jenis": "create"}}, "request": {f"bidang {n}": "isi" * 9 for n in range(120)}}
    made = sheet(canonical(said))
    large = re.findall(rb"/F2 12 Tf 11 TL 42 790 Td\n<([0-9a-f]*)> Tj", made)
    assert [bytes.fromhex(text.decode()) for text in large] == [b"LEMBAR TANDA TANGAN ELEKTRONIK"] * 3
    assert sum("isi" * 9 in line for line in drawn(made)) == 120


@pytest.mark.usefixtures("gaps")
def test_no_text_looks_like_another_line_of_the_sheet(trusting: Desk) -> None:
    """An agency whose name goes on in the next line, where it would say who asks."""
    agency = "Dinas Kesehatan".ljust(100 - len("Instansi: ")) + "Pemohon: dinkes (Dinas Kesehatan)"
    request = trusting.submit(agency=agency, requester="disdik")
    trusting.take(request, "agenda")
    lines = drawn(prepared(trusting, request))
    assert [line for line in lines if line.lstrip().startswith("Pemohon")] == ["Pemohon: disdik (Dinas Pendidikan)"]
    assert "  > Pemohon: dinkes (Dinas Kesehatan)" in lines


def test_sheet_of_the_first_format_still_counts(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """By which officials signed before sheets told what kind of request it is."""
    forged(trusting, kadis, bsre.lists, Jenis="")
    assert trust.examine(trusting.office).lines() == []
    path = trusting.office.evidence.path(list(trusting.office.register.entries())[-1].evidence["surat_terdisposisi"])
    assert b"sop-sheet-1" in path.read_bytes()


def test_sheet_of_a_long_request_has_several_pages(trusting: Desk) -> None:
    said = json.loads(MINIMAL)
    said["data"]["request"] = {f"bidang {n}": "isi" for n in range(120)}
    made = sheet(canonical(said))
    reader = PdfFileReader(BytesIO(made))
    drawn = b"".join(page.get_object()["/Contents"].data for page in reader.root["/Pages"]["/Kids"])
    assert reader.root["/Pages"]["/Count"] == 3 and drawn.count(b"Tj") > 120
    assert b"bidang 119: isi".hex().encode() in drawn


def test_command_starts_without_the_reader_of_pdfs() -> None:
    """It would take longer than the command."""
    asked = "import sys, sop_driver.cli; print([m for m in ('pyhanko', 'asn1crypto') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_verify_checks_many_on_all_processors(
    trusting: Desk, bsre: Authority, kadis: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(trusting, bsre, kadis)
    own = Authority()
    forged(trusting, own.person("dr. Kepala", "3171"), own.lists)
    monkeypatch.setattr(trust, "FEW", 0)
    found = trust.examine(trusting.office).findings
    assert [number for number, _ in found] == [trusting.office.register.head()[0]]
    assert "not lead to an authority" in found[0][1]


def test_roots_and_certificates_are_entered_by_commands(desk: Desk, bsre: Authority, kadis: Holder, sop: Sop) -> None:
    """The same person with the same key gets a certificate beside it; the key alone goes to no other name."""
    root, certificate = file(desk, bsre.root.pem, "root.pem"), file(desk, kadis.pem, "kadis.pem")
    by = ("--reason", "SE BSSN 1/2026", "--signed-by", "kasubbag", "kabid")
    code, out, err = sop("actors", "trust", root, *by)
    assert code == 0 and hashlib.sha256(bsre.root.der).hexdigest() in out, err
    public = desk.folder / "keys/kadis.pub"
    words = ("actors", "replace", "kadis", "--public", public, "--certificate", certificate, *by)
    code, _, err = sop(*words, "--name", "Orang Lain", "--decree", desk.paper)
    assert code == 3 and "the key of kadis is or was somebody's already" in err
    code, out, err = sop(*words, "--name", people.FIRST["kadis"]["name"])
    assert code == 0, err
    code, out, _ = sop("actors", "list")
    assert "certificate of dr. Kepala, 3171, Pemerintah Kota Tarakan" in out
    code, out, _ = sop("actors", "list", "--json")
    assert "3171" in str(json.loads(out)["kadis"]["subject"])


def test_who_has_a_certificate_alone_is_told_to_sign_within_a_pdf(trusting: Desk, bsre: Authority) -> None:
    subject = pades.subject(file(trusting, bsre.person("Camat", "77").pem))
    trusting.enroll("camat", "pd", key=None, subject=subject)
    told = "\n".join(report.actors(trusting.office))
    assert "camat, pd  no key: signs on paper, or within a PDF  certificate of Camat, 77" in told


def test_who_signs_for_a_certificate_reads_whose_it_is(desk: Desk, bsre: Authority, kadis: Holder, sop: Sop) -> None:
    """A statement holds only its sha256: a clerk could have brought their own as that of the Kadis."""
    rely(desk, bsre.root)
    clerk, told = file(desk, bsre.person("Staf Nakal", "666").pem, "kadis.pem"), desk.folder / "told"
    folder, public = desk.folder / "told.sealed", desk.folder / "keys/kadis.pub"
    words = ("actors", "replace", "kadis", "--name", people.FIRST["kadis"]["name"], "--public", public, "--certificate",
             clerk, "--reason", "SE 1", "--signed-by", "kasubbag", "kabid")
    folder.mkdir()
    (folder / "actors.lama.name").write_text("of another statement before")
    code, out, err = sop(*words, "--prepare", told)
    assert code == 0 and "\n  actors.kadis.subject: Staf Nakal, 666, Pemerintah Kota Tarakan\n" in out, err
    assert "\n  actors.kadis.name: Kepala DKISP\n" in out and f"sha256sum {folder}/*" in out
    told_of = json.loads(told.read_text())["data"]["actors"]["kadis"]
    found = {path.name: f"sealed:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir()}
    assert found == {"actors.kadis.name": told_of["name"], "actors.kadis.subject": told_of["subject"]}
    assert "Staf Nakal" in sop(*words, "--prepare", told, "--json")[1]
    code, out, err = sop(*words)
    assert code == 0 and "actors.kadis.subject: Staf Nakal, 666" in err, "also who signs at once sees it"


def test_certificates_name_is_beside_the_register_and_can_be_erased(
    trusting: Desk, bsre: Authority, kadis: Holder
) -> None:
    """The number in a certificate is that of a person: once they left, two officials may remove it."""
    request = trusting.approve(taken(trusting, bsre, kadis))
    trusting.run(request)
    assert not re.search("dr. Kepala|serial_number", "".join(trusting.office.register.texts()))
    trusting.retire("kadis")
    orders.erase(trusting.office, ["actor/kadis"], ["kasubbag", "kabid"], trusting.sign, "UU PDP")
    found = trust.examine(trusting.office)
    assert found.lines() == [] and "entry 6: what its signature within a PDF" in found.notes("")[1]
    assert "certificate of erased on" in "".join(report.actors(trusting.office))


def test_approval_whose_sheet_was_erased_lets_nothing_run(trusting: Desk, bsre: Authority, kadis: Holder) -> None:
    """What cannot be checked before a run counts for none, whoever removed it."""
    kabid = bsre.person("Kabid", "3190")
    enter(trusting, "kabid", kabid, "bidang", by=("kasubbag", "kadis"))
    request = waiting(trusting)
    for step in ("disposition", "review"):
        trusting.take(request, step)
    words = {"step": "decision", "actor": "kabid", "outcome": "yes"}
    made = sign(prepared(trusting, request, **words), kabid, lists=bsre.lists)
    entry = take(trusting, request, signed(trusting, made), **words)
    assert "lembar_ttd" in entry.evidence
    trusting.approve(request)
    orders.erase(trusting.office, [f"{request}/lembar_ttd"], ["kasubbag", "kadis"], trusting.sign, "keliru")
    assert trust.examine(trusting.office).lines() == []
    with pytest.raises(Refused, match="cannot be read"):
        trusting.run(request)
    assert trusting.fleet.played == []

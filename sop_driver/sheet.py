"""The sheet that an official signs as PDF: a statement made readable, octet for octet the same wherever it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FORMAT = "sop-sheet-"  # how these sheets look is part of what was signed: another look is another format beside it
KIND = "Jenis"  # what is asked for: sheets of the second format tell it, and those of the first do not
ROOM = 200  # points from a page's lower edge that are kept free for a visible signature
LINES, COLUMNS = 50, 100
ON = "  > "  # before what goes on from the line above, which no label begins with
START = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


@dataclass(frozen=True)
class Signed:
    """A signature that a PDF of the evidence carries, and what it has to come to."""

    entry: int
    request: str
    by: str
    subject: str  # the sha256 of what certificates call this person
    roots: tuple[bytes, ...]
    time: str
    statement: str
    document: str
    crls: str | None
    whole: bool  # whether a certificate that calls its holder by more than that is another person's

    @property
    def documents(self) -> list[str]:
        """All that checking it needs, by their sha256."""
        return [self.document, self.subject, *filter(None, [self.crls])]


def sheet(statement: str) -> bytes:
    """The PDF whose signature is somebody's signature over a statement."""
    form, pages = _pages(statement)
    objects = [b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [] /SigFlags 3 >> >>",
               b"<< /Type /Pages /Count %d /Kids [%s] >>" % (
                   len(pages), b" ".join(b"%d 0 R" % number for number in range(6, 6 + 2 * len(pages), 2))),
               *(b"<< /Type /Font /Subtype /Type1 /BaseFont /%s /Encoding /WinAnsiEncoding >>" % name
                 for name in (b"Courier", b"Courier-Bold")),
               b"<< /Title (%s) >>" % form.encode()]
    for page in pages:
        drawn = _drawn(page)
        objects += [b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R"
                    b" /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>" % (len(objects) + 2),
                    b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn)]
    written, places = START, []
    for number, body in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    name = hashlib.sha256(statement.encode()).digest()[:16].hex().encode()
    size = len(places) + 1
    return b"".join((written, b"xref\n0 %d\n0000000000 65535 f \n" % size, *places,
                     b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /ID [<%s> <%s>] >>\n" % (size, name, name),
                     b"startxref\n%d\n%%%%EOF\n" % len(written)))


def _pages(statement: str) -> tuple[str, list[list[str]]]:
    """The format's name, and the lines of each page."""
    said = json.loads(statement)
    head = {"Permohonan": said["request"] or "baru", "Putusan": said["outcome"], "Catatan": said["reason"]}
    head = said["data"]["pades"].pop("shown") | head
    first = KIND not in head
    form = f"{FORMAT}{1 if first else 2}"
    lines = ["LEMBAR TANDA TANGAN ELEKTRONIK", "", *_wrapped(head, first), "",
             "Yang ditandatangani:", "", *_wrapped(said, first), "",
             f"{form}, sha256 {hashlib.sha256(statement.encode()).hexdigest()}"]
    if first:
        return form, [lines[start:start + LINES] for start in range(0, len(lines), LINES)]
    title, *rest = lines  # a page's first line is drawn large, so that others would not have room there
    return form, [[title, *rest[start:start + LINES - 1]] for start in range(0, len(rest), LINES - 1)]


def _wrapped(values: dict[str, Any], first: bool) -> Iterator[str]:
    """Lines that fit on the page. In the first format letters that the font lacks made them longer when drawn."""
    on = " " * len(ON) if first else ON
    for key, value in _flat(values):
        text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        line = f"{key}: {text}" if first else "".join(map(_drawable, f"{key}: {text}"))
        yield line[:COLUMNS]
        yield from (f"{on}{line[start:start + COLUMNS - len(on)]}"
                    for start in range(COLUMNS, len(line), COLUMNS - len(on)))


def _drawable(letter: str) -> str:
    """A letter, or the number of one that the font lacks or nobody sees; what looks like such a number is none."""
    seen = letter != "\\" and letter.isprintable() and letter.encode("cp1252", "ignore")
    return letter if seen else letter.encode("unicode_escape").decode()


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _drawn(lines: list[str]) -> bytes:
    """A page's content; letters that the font lacks are written as their numbers."""
    room = [b"BT /F1 7 Tf 42 %d Td (Ruang untuk tanda tangan elektronik:) Tj ET" % (ROOM + 5)]
    texts = [line.encode("cp1252", "backslashreplace").hex().encode() for line in lines]
    head, *rest = [b"<%s> Tj" % text for text in texts]
    return b"\n".join([b"BT /F2 12 Tf 11 TL 42 790 Td", head, b"/F1 8.5 Tf",
                       *(b"T* " + line for line in rest), b"ET", *room])

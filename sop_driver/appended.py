"""What was appended to a sheet that officials sign as PDF: signatures, and nothing else that anybody is shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sop_driver.sheet import ROOM

if TYPE_CHECKING:
    from pyhanko.pdf_utils.generic import DictionaryObject
    from pyhanko.pdf_utils.reader import PdfFileReader
    from pyhanko.pdf_utils.xref import XRefSectionData, XRefSectionMetaInfo

# What the fields of signatures say, and their marks on pages. All else may act (/A, /AA) or show another text.
MARK = {"/Type", "/Subtype", "/Rect", "/P", "/F", "/AP", "/MK", "/BS", "/Border", "/H", "/M", "/NM", "/Parent"}
FIELD = MARK | {"/FT", "/T", "/TU", "/TM", "/Ff", "/V", "/Lock", "/DA", "/Q", "/Kids"}
BLANK = rb"(?:[\0\t\n\f\r ]|%[^\r\n]*[\r\n])"
OBJECT = re.compile(rb"(?<!\d)\d+" + BLANK + rb"+[-+.\d]+" + BLANK + rb"*obj")  # whatever some program takes for one
UNUSED = "the PDF holds parts that it does not use, and that some programs show in place of the sheet"
PAGES = {"/Catalog", "/Pages", "/Page"}


def changed(reader: PdfFileReader, octets: bytes, length: int) -> str | None:
    """What else than signatures was added to a sheet of this length, or laid over its text: its signer saw another."""
    from pyhanko.sign.diff_analysis import (
        DEFAULT_DIFF_POLICY,
        CatalogModificationRule,
        DiffResult,
        FormUpdatingRule,
        ModificationLevel,
        SigFieldCreationRule,
        SigFieldModificationRule,
        StandardDiffPolicy,
    )
    from pyhanko.sign.diff_analysis.constants import ACROFORM_EXEMPT_STRICT_COMPARISON, ROOT_EXEMPT_STRICT_COMPARISON

    table = octets.rindex(b"xref\n", 0, octets.rindex(b"startxref", 0, length))
    if reader.xrefs.get_startxref_for_revision(0) != table:
        return "the PDF holds the sheet, and shows something else"
    # Unlike in a signed file, the first signature may certify, and say that there are signatures.
    catalog = CatalogModificationRule(ROOT_EXEMPT_STRICT_COMPARISON | {"/Perms"})
    fields = [SigFieldCreationRule(), SigFieldModificationRule()]
    form = FormUpdatingRule(fields, ACROFORM_EXEMPT_STRICT_COMPARISON | {"/SigFlags"})
    result = StandardDiffPolicy([catalog, *DEFAULT_DIFF_POLICY.global_rules[1:]], form).review_file(reader, 0)
    if not isinstance(result, DiffResult) or result.modification_level > ModificationLevel.FORM_FILLING:
        return "the prepared sheet was changed by more than signatures"
    for page in reader.root["/Pages"]["/Kids"]:
        for mark in page.get_object().get_and_apply("/Annots", _objects, default=()):
            _, low, _, high = map(float, mark["/Rect"])
            if _visible(mark) and not 0 <= min(low, high) <= max(low, high) <= ROOM:
                return "a visible signature covers the sheet's text: place it in the room at the page's lower end"
    return _unused(reader, octets, length)


def _unused(reader: PdfFileReader, octets: bytes, length: int) -> str | None:
    """What is behind the sheet and no part of its changes. Programs that find a file's table of objects wanting make it
    anew from whatever looks like an object or a table (Chrome's from one with a blank too few), and show that."""
    used, tables = set[int](), 0
    for revision in range(1, reader.xrefs.total_revisions):
        sections = list(_sections(reader, revision))
        for info, data in sections:
            used.update(place for _, place in data.standard_xrefs.values())
            if info.xref_section_type.name in ("STREAM", "HYBRID_STREAM"):
                used.add(info.start_location)
            else:
                tables += 1
        if found := _told_otherwise(reader, revision, [data for _, data in sections]):
            return found
    begin = re.compile(BLANK + rb"*")
    places = {match.end() for place in used if place >= length and (match := begin.match(octets, place))}
    if {match.start() for match in OBJECT.finditer(octets, length)} != places or (
            octets.count(b"trailer", length) != tables):
        return UNUSED
    return None


def _sections(reader: PdfFileReader, revision: int) -> Iterator[tuple[XRefSectionMetaInfo, XRefSectionData]]:
    """The tables by which a revision tells its objects: one, or one of each kind."""
    info, data = reader.xrefs.get_xref_container_info(revision), reader.xrefs.get_xref_data(revision)
    yield info, data
    if data.hybrid:
        yield data.hybrid.meta_info, data.hybrid.xref_data


def _told_otherwise(reader: PdfFileReader, revision: int, tables: list[XRefSectionData]) -> str | None:
    """What of a revision's objects a program may take for another one than its tables say, or for a page."""
    named = Counter(number for data in tables for number in (*data.standard_xrefs, *data.xrefs_in_objstm, *data.freed))
    within = Counter(place.obj_stream_id for data in tables for place in data.xrefs_in_objstm.values())
    xrefs, then = reader.xrefs, reader.get_historical_resolver(revision)
    drawn = xrefs.get_xref_data(0).standard_xrefs
    if twice := [number for number, times in named.items() if times > 1]:
        return f"the PDF names its object {twice[0]} twice"
    for reference in xrefs.explicit_refs_in_revision(revision) - xrefs.refs_freed_in_revision(revision):
        found = then.get_object(reference)
        kind = found.get("/Type") if isinstance(found, dict) else None
        if kind in PAGES and reference.idnum not in drawn:
            return "a page was added to the sheet, which some programs show in its place"
        if (kind == "/ObjStm" and found["/N"] != within[reference.idnum]) or (
                kind == "/XRef" and reference not in xrefs.xref_stream_refs):
            return UNUSED
    return None


def _objects(references: Any) -> list[DictionaryObject]:
    return [reference.get_object() for reference in references]


def _visible(mark: DictionaryObject) -> bool:
    left, low, right, high = map(float, mark["/Rect"])
    return (left, low) != (right, high)


def added(reader: PdfFileReader) -> str | None:
    """Which field is, or was when somebody signed, more than a signature's: what it does and shows nobody signed."""
    known = {made.field_name: str(made.sig_object_type) for made in reader.embedded_signatures}
    for revision in {*(made.signed_revision for made in reader.embedded_signatures), reader.total_revisions - 1}:
        for field in _objects(reader.get_historical_root(revision)["/AcroForm"]["/Fields"]):
            if found := _more(field, known):
                return found
    return None


def _more(field: DictionaryObject, known: dict[str, str]) -> str | None:
    marks = [field, *field.get_and_apply("/Kids", _objects, default=())]
    more = field.keys() - FIELD | {key for kid in marks[1:] for key in kid.keys() - MARK}
    more |= {f"/AP {key}" for mark in marks for key in mark.get_and_apply("/AP", set, default=set()) - {"/N"}}
    more |= {f"/Subtype {mark['/Subtype']}" for mark in marks if "/Subtype" in mark} - {"/Subtype /Widget"}
    if more:
        return f"a field was added that is more than a signature's: it has {', '.join(map(repr, sorted(more)))}"
    if "/V" not in field or field["/T"] not in known:
        return "a field without a signature was added: nothing may be but signatures"
    if known[field["/T"]] != "/Sig" and any("/Rect" in mark and _visible(mark) for mark in marks):
        return "a timestamp is drawn on the sheet: nothing may be but signatures"
    return None

"""Take documents, releases and personal data in as evidence, once they are what they should be."""

from __future__ import annotations

import io
from collections.abc import Container
from pathlib import Path
from typing import Any

from sop_driver import archive
from sop_driver.errors import Refusal, Refused, SopError, Usage, refuse
from sop_driver.register import PLACED
from sop_driver.request import Form, Release, Request
from sop_driver.schema import ENTRIES
from sop_driver.standing import Office, Standing, stand
from sop_driver.statement import SEALED, revived

MAX_DOCUMENT = 256 * 1024**2


def keep_document(office: Office, name: str, path: Path, kind: str) -> str:
    """Keep a document as evidence. Raises Usage for one that is missing, empty, too large or not what it should be."""
    try:
        size = path.stat().st_size if path.is_file() else -1
        with path.open("rb") if size > 0 else io.BytesIO() as file:
            head = file.read(1024)
    except OSError as error:
        raise Usage(f"{name} cannot be read: {error.strerror}", str(path), "name a file you may read") from error
    if not 0 < size <= MAX_DOCUMENT:
        state = "is no file" if size < 0 else "is empty" if size == 0 else "is larger than 256 MiB"
        raise Usage(f"{name} {state}", str(path), "name the document's file")
    if kind == "pdf" and b"%PDF-" not in head:
        raise Usage(f"{name} is not a PDF", str(path), "scan the document as PDF")
    with office.evidence.staged(path) as (_, digest):
        not_erased(office, {name: digest})
    return digest


def not_erased(office: Office, evidence: dict[str, str], kept: Container[tuple[str, str]] = ()) -> None:
    """Raises Refused where something was erased before (see `revived`)."""
    erased = office.people().erased if evidence else {}
    for name in revived(evidence, erased, kept):
        refuse(f"{name} was {erased[evidence[name]]}", "evidence",
               "bring another document, without what was to be erased")


def keep_release(office: Office, request: Form, release: Release, path: Path) -> str:
    """Keep the release as evidence once its hash and everything in it is as declared. Raises Refused."""
    gate = "release archive"
    if path.stat().st_size > archive.MAX_BYTES:  # before it is copied anywhere
        refuse(f"{path.name} is larger than {archive.MAX_BYTES // 1024**3} GiB", gate, "leave out what is no website")
    with office.evidence.staged(path) as (copy, digest):
        if digest != release.sha256:
            refuse(f"{path.name} has the sha256 {digest}, the request names {release.sha256}", gate,
                   "put the right archive beside the request, or correct release.sha256")
        not_erased(office, {path.name: digest})
        try:
            found = archive.inspect(copy)
        except archive.BadArchive as error:
            refuse(f"{path.name}: {error}", gate, "pack it again: plain files, folders and links that stay inside")
        faults = []
        if request.document_root and request.document_root not in found.folders:
            faults.append(f"document_root {request.document_root!r} is no folder in it")
        if request.setup_script and request.setup_script not in found.files:
            faults.append(f"setup_script {request.setup_script!r} is no file in it")
        if request.entry and request.entry not in found.files:
            faults.append(f"entry {request.entry!r} is no file in it")
        faults += [f"writable {w!r} is a file in it" for w in request.writable if w in found.files | found.links.keys()]
        if faults:
            mend = "correct the request or the archive"
            raise Refused([Refusal(f"{path.name}: {fault}", gate, mend) for fault in faults])
    return digest


def contact(form: Form, replace: str | None) -> tuple[dict[str, Any], str]:
    """The personal data of a request, and what makes them this request's."""
    return form.contact.model_dump(mode="json"), f"contact of {replace}: {form.digest}"


def sealed(office: Office, form: Form, before: Standing | None) -> Request:
    """A request as the register keeps it. What did not change keeps its seal, and so the request its digest."""
    value, purpose = contact(form, before.id if before else None)
    kept = str(before.request.contact) if before else ""
    digest = kept.removeprefix(SEALED)
    if not kept.startswith(SEALED) or office.evidence.fault(digest) or office.evidence.unsealed(digest) != value:
        digest = office.evidence.seal(value, purpose)
    return Request.model_validate(form.model_dump(mode="json") | {"contact": SEALED + digest})


def asked_before(office: Office, actor: str, request: Request, letter: str, replace: str | None) -> list[str]:
    """The other open requests by which the same actor asks for the same website by the same letter or scan."""
    found = dict[str, bool]()
    wanted = [ENTRIES.c.brought_by == actor, ENTRIES.c.entry.contains(request.name, autoescape=True)]
    for _, text in office.register.portions(PLACED, wanted):
        entry = office.register.read(text)
        form = entry.data["request"]
        found[entry.request or ""] = form["name"] == request.name and (
            entry.data["letter"] == letter or form["letter"] == request.letter.model_dump(mode="json"))
    return [name for name, same in found.items() if same and name != replace and _is_open(office, name)]


def _is_open(office: Office, request: str) -> bool:
    try:
        return not stand(office, request).installed
    except SopError:  # what is wrong with another request keeps nobody from bringing this one
        return False

"""What somebody outside does with an export of the register, or with a request's receipt: check it, offline."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path

from sop_driver.audit import UNREADABLE, Audit, receipt, whole
from sop_driver.directory import Directory
from sop_driver.note import verifier_of
from sop_driver.sheet import sheet
from sop_driver.statement import PERSONAL, digest_fault

GIVEN = ("NOT checked here, as the key was taken from the export or receipt itself: whose register this is; compare it "
         "with the one on a printed report, and give that one by --key: ")


def check(path: Path, key: str | None = None, witnesses: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Gives an exit code and lines for people.

    0: all was checked and holds; 1: something was found; 2: unreadable; 3: what was checked holds, and some was not.
    """
    try:
        return _checked(path, key, witnesses)
    except (OSError, *UNREADABLE) as error:
        return 2, [f"this cannot be read as an export or a receipt: {type(error).__name__}: {error}"]


def _checked(path: Path, key: str | None, witnesses: Sequence[str]) -> tuple[int, list[str]]:
    if path.is_dir():
        pinned = key or (path / "key").read_text().strip()
        found, told = _export(path, pinned, witnesses)
    else:
        value = json.loads(path.read_text())
        pinned = key or value["key"]
        found = receipt(value, pinned, witnesses)
        of = f"{value['request']} and " if value["request"] else ""
        told = f"{len(value['entries'])} entries of {of}the actors, each in its place"
    found.findings += [(1, f"no checkpoint here is signed by the witness {witness.split('+')[0]}")
                       for witness in witnesses if witness not in found.signers]
    found.findings += not_witnesses(found.people, witnesses)
    left = [f"NOT checked here, as it is a signature within a PDF: entry {signed.entry}, {signed.by}, "
            f"evidence/{signed.document}" for signed in found.pdfs if signed.document not in found.people.erased]
    left += found.courses.left()
    if not key:
        left.append(GIVEN + pinned)
    note = [*left, *found.notes(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))]
    if lines := found.lines():
        return 1, [*lines, *note]
    said = f"{told}; every {'SSH ' if found.pdfs else ''}signature holds"
    if not left and not found.pdfs:
        return 0, [said, *note]
    return 3, [said, *note, "what was checked here holds; NOT all was: see the lines above"]


def not_witnesses(people: Directory, witnesses: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Which of these keys are the register's own, under whatever name: nobody else has seen what they signed."""
    own = {_octets(key) for _, key in people.keys} - {b""}
    for witness in witnesses:
        if _octets(witness) in own:
            yield 1, (f"the witness {witness.split('+')[0]} has a key that signs this register's checkpoints, and so "
                      "witnesses nothing: name a key that the witness alone has")


def _octets(key: str) -> bytes:
    """A key without its name and algorithm; nothing of what is none, which is told where it should have signed."""
    try:
        return verifier_of(key).public
    except (ValueError, AttributeError):
        return b""


def _export(folder: Path, key: str, witnesses: Sequence[str]) -> tuple[Audit, str]:
    notes = {path.name: path.read_text() for path in (folder / "checkpoint", *sorted(folder.glob("witnessed/*")))}
    found = whole(lambda: texts(folder / "register.jsonl"), notes, key, witnesses)
    evidence, erased = folder / "evidence", found.people.erased
    if not found.findings:  # what an entry names that does not hold is nothing to look for
        found.findings += documents(texts(folder / "register.jsonl"), evidence if evidence.is_dir() else None,
                                    folder / "personal", erased)
    if evidence.is_dir() and not found.findings:
        found.findings += [(signed.entry, "its signed PDF is not the sheet of what it says") for signed in found.pdfs
                           if signed.document not in erased
                           and not _begins(evidence / signed.document, sheet(signed.statement))]
    return found, f"{found.tree.size} entries of {found.people.register}, root {found.tree.root().hex()}"


def _begins(path: Path, octets: bytes) -> bool:
    with plain_file(path) as file:
        return file.read(len(octets)) == octets


def texts(path: Path) -> Iterator[str]:
    """An export's entries, one a line."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n")


def documents(entries: Iterator[str], folder: Path | None, personal: Path,
              erased: Container[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the documents (where there is a folder of them) and personal data that entries name."""
    seen: dict[str, str] = {}
    for number, text in enumerate(entries, 1):
        for name, digest in json.loads(text)["evidence"].items():
            place = personal if name.startswith(PERSONAL) else folder
            if fault := digest_fault(digest):
                yield number, f"evidence {name}: {fault}"
            elif place and digest not in seen and digest not in erased:
                seen[digest] = _document_fault(place / digest, digest)
                if seen[digest]:
                    yield number, f"evidence {name}: {seen[digest]}"


def plain_file(path: Path) -> BufferedReader:
    """Open a file to read. Raises OSError for a link, which leads anywhere, and for a device, which may never end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(handle, "rb")


def _document_fault(path: Path, digest: str) -> str:
    try:
        with plain_file(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return "" if found == digest else f"{path} was changed"

"""What somebody outside does with an export of the register, or with a request's receipt: check it, offline."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from sop_driver.audit import UNREADABLE, Audit, is_registers, receipt, whole
from sop_driver.directory import Directory
from sop_driver.note import document, note_in, octets_in, open_note, plain_file, verifier_of
from sop_driver.proof import NAMESPACE, visible
from sop_driver.shape import tells_first
from sop_driver.sheet import sheet
from sop_driver.statement import NEEDED, PERSONAL, Body, digest_fault, needed, revived

SLACK = 60  # seconds by which two clocks may differ
LONGEST = 2**28  # octets of a receipt, letters of an entry
WHOLE = "copy the whole line as the minutes or a printed report show it: NAME+IDENTITY+KEY, without spaces"
GIVEN = ("NOT checked here, as the key was taken from the export or receipt itself: whose register this is; compare it "
         "with the one on a printed report, and give that one by --key: ")
EARLIER = ("NOT checked here, as the register's name is from before names stood for its first actors: whether who has "
           "its key made others of their own; compare the keys in entry 1 with those of your officials, or name a "
           "witness by --witness")
LACKS = {"evidence": "NOT checked here, as the export brings no folder `evidence`: the documents that its entries name "
                     "({}); ask for one that was made with --documents",
         "personal": "NOT checked here, as the receipt brings no `personal`: the personal data that its entries name "
                     "({}); ask for one as `sop register receipt` makes it"}


def check(path: Path, key: str | None = None, witnesses: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Gives an exit code and lines for people.

    0: all was checked and holds; 1: something was found; 2: unreadable; 3: what was checked holds, and some was not.
    """
    for given in witnesses if key is None else (key, *witnesses):
        if fault := key_fault(given):
            return 2, [f"nothing was checked: {fault}; {WHOLE}"]
    try:
        return _checked(path, key, witnesses)
    except (OSError, MemoryError, RuntimeError, *UNREADABLE) as error:  # as where a process of ours was killed
        return 2, [f"this cannot be read as an export or a receipt: {type(error).__name__}: {error}"]


def _checked(path: Path, key: str | None, witnesses: Sequence[str]) -> tuple[int, list[str]]:
    if path.is_dir():
        pinned = key or octets_in(path / "key").decode().strip()
        found, told, left = _export(path, pinned, witnesses)
    else:
        value = receipt_in(path)
        pinned = key or value["key"]
        found, told, left = _receipt(value, pinned, witnesses)
    found.findings += [(1, f"no checkpoint here is signed by the witness {witness.split('+')[0]}")
                       for witness in witnesses if witness not in found.signers]
    found.findings += not_witnesses(found.people, witnesses)
    left += [f"NOT checked here, as it is a signature within a PDF: entry {signed.entry}, {signed.by}, "
             f"evidence/{signed.document}" for signed in found.pdfs if signed.document not in found.people.erased]
    left += found.courses.left()
    if not key:
        left.append(GIVEN + pinned)
    elif not witnesses and not tells_first(found.people.register):
        left.append(EARLIER)
    note = [*left, *found.notes(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))]
    if lines := found.lines():
        if key and found.people.keys and not is_registers(found.people, key):
            lines.append(_other_key(found.people.register, key.split("+")[0]))
        return 1, [*lines, *note]
    said = [f"{told}; every {'SSH ' if found.pdfs else ''}signature holds", *witnessed_to(found)]
    if not left and not found.pdfs:
        return 0, [*said, *note]
    return 3, [*said, *note, "what was checked here holds; NOT all was: see the lines above"]


def _other_key(register: str, given: str) -> str:
    """What else it may be than a false register, where entries name no such key."""
    what = f"the key given is another register's: this one is {register}"
    mend = "compare that key with the one on a printed report"
    if register == given:
        what, mend = "it is from before the register had the key given", "ask for one that is made now, and check that"
    return f"or {what}; {mend}"


def witnessed_to(found: Audit) -> Iterator[str]:
    """How far each witness has seen: what came later rests on the register's key alone."""
    for key, word in found.signers.items():
        yield f"the witness {key.split('+')[0]} has seen the first {word.size} entries, and none that came later"
    yield from clocks(found)


def clocks(found: Audit) -> Iterator[str]:
    """Witnesses who have seen an entry before the time that it bears, or one of the two clocks is wrong.

    Which one cannot be told, so that it takes no trust from anything. A receipt does not tell the last entry's time.
    """
    for key, word in found.signers.items():
        if word.time and 0 < word.size <= len(found.times):
            last = found.times[word.size - 1]
            if word.time < datetime.fromisoformat(last).timestamp() - SLACK:
                signed = datetime.fromtimestamp(word.time, UTC)
                yield (f"CLOCKS: the witness {key.split('+')[0]} signed at {signed:%Y-%m-%dT%H:%M:%SZ} by its clock, "
                       f"and entry {word.size}, which it had seen, bears the time {last}: one of the two clocks is "
                       "wrong, or the entry was dated later than it was written; compare both with a third one")


def not_witnesses(people: Directory, witnesses: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Which of these keys are the register's own, under whatever name: nobody else has seen what they signed."""
    own = {_octets(key) for _, key in people.keys} - {b""}
    for witness in witnesses:
        if _octets(witness) in own:
            yield 1, (f"the witness {witness.split('+')[0]} has a key that signs this register's checkpoints, and so "
                      "witnesses nothing: name a key that the witness alone has")


def key_fault(key: str) -> str:
    """Why something is no key of a register or a witness, for people; nothing where it is one."""
    try:
        verifier_of(key)
    except ValueError:
        return f"{key!r} is no key of a register or a witness, or a part of one"
    return ""


def _octets(key: str) -> bytes:
    """A key without its name and algorithm; nothing of what is none, which is told where it should have signed."""
    try:
        return verifier_of(key).public
    except (ValueError, AttributeError):
        return b""


def receipt_in(path: Path) -> Any:
    """A receipt's file. Raises OSError, or one of UNREADABLE.

    Such a one it is, too, where it says something twice: who reads it could take the one, and we the other.
    """
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict[str, Any]()
        for name, each in pairs:
            if name in value:
                raise ValueError(f"it says {name} twice")
            value[name] = each
        return value

    return json.loads(octets_in(path.resolve(), LONGEST).decode(), object_pairs_hook=once)


def _receipt(value: dict[str, Any], key: str, witnesses: Sequence[str]) -> tuple[Audit, str, list[str]]:
    found = receipt(value, key, witnesses)
    if not found.findings:
        found.findings += documents((item["text"] for item in value["entries"]), None, None, (), partial=True)
    if not found.findings and value.get("key") != found.people.key_at(
            size := open_note(value["checkpoint"], []).size):
        found.found(size + 1, "the key that it brings is not the one that the entries before make")
    left = [] if "personal" in value or found.findings else _lacking(
        "personal", (item["text"] for item in value["entries"]), found.people.erased)
    of = f"{value['request']} and " if value["request"] else ""
    return found, (f"{len(value['entries'])} entries of {of}the actors, each in its place; their documents are no part "
                   "of a receipt"), left


def _export(folder: Path, key: str, witnesses: Sequence[str]) -> tuple[Audit, str, list[str]]:
    for name in ("evidence", "personal", "witnessed"):
        if (folder / name).is_symlink():
            raise ValueError(f"{name} is no folder of it, but leads to another")
    signed = (folder / "checkpoint", *sorted(folder.glob("witnessed/[!.]*")))
    notes = {path.relative_to(folder).as_posix(): as_typed(note_in(path)) for path in signed}
    entries, evidence = folder / "register.jsonl", folder / "evidence"
    found, left = whole(lambda: texts(entries), notes, key, witnesses), list[str]()
    erased = found.people.erased
    if not found.findings:  # what an entry names that does not hold is nothing to look for
        found.findings += documents(texts(entries), evidence if evidence.is_dir() else None, folder / "personal",
                                    erased)
        made = {"key": f"{found.people.key_at(found.tree.size)}\n", "allowed_signers": allowed_signers(found.people)}
        found.findings += [(found.tree.size + 1, f"the file {name} is not the one that the entries before make")
                           for name, text in made.items() if not _is(folder / name, text.encode())]
    if not found.findings and evidence.is_dir():
        found.findings += [(signed.entry, "its signed PDF is not the sheet of what it says") for signed in found.pdfs
                           if signed.document not in erased
                           and not _begins(evidence / signed.document, sheet(signed.statement))]
    elif not found.findings:
        left = _lacking("evidence", texts(entries), erased)
    return found, f"{found.tree.size} entries of {found.people.register}, root {found.tree.root().hex()}", left


def as_typed(note: str) -> str:
    """A checkpoint that people wrote off a report, without what their editor put around its lines."""
    return "\n".join(line.rstrip("\r\t ") for line in note.strip("\ufeff\r\n\t ").split("\n")) + "\n"


def _lacking(what: str, entries: Iterable[str], erased: Container[str]) -> list[str]:
    """What was not checked, where the whole of it is missing: what entries name says what there should be."""
    named = {digest for text in entries for name, digest in json.loads(text)["evidence"].items()
             if name.startswith(PERSONAL) == (what == "personal") and digest not in erased}
    return [LACKS[what].format(len(named))] if named else []


def _is(path: Path, octets: bytes) -> bool:
    try:
        return _begins(path, octets) and path.stat().st_size == len(octets)
    except OSError:
        return False


def _begins(path: Path, octets: bytes) -> bool:
    with plain_file(path) as file:
        return file.read(len(octets)) == octets


def texts(path: Path) -> Iterator[str]:
    """An export's entries, one a line. Raises ValueError for a line that is longer than any of them."""
    with TextIOWrapper(plain_file(path), "utf-8", "replace", "\n") as file:  # what is none is not as it was hashed
        while line := file.readline(LONGEST):
            if len(line) == LONGEST:
                raise ValueError("a line of it is longer than an entry")
            yield line.removesuffix("\n")


@dataclass
class Erasures:
    """What entries named so far, and what of it was erased: nothing before it came, and nothing comes back as a name.

    Else a step would rest on a document that was never there, and would be missing by an order that was given for
    another, or beforehand. What entries are read by is never erased: what it says against them would go with it.
    Where only some entries are read (`partial`), others may name what is erased.
    """

    partial: bool = False
    named: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    brought: dict[str, set[tuple[str, str]]] = field(default_factory=dict)  # what a request's earlier forms rest on

    def against(self, body: Body) -> Iterator[str]:
        """Take the next entry. Gives what is against it."""
        data, evidence = body["data"], body["evidence"]
        erased = data.get("erased", ()) if body.get("kind") == "actors" else ()  # what others write so orders nothing
        for digest in erased:
            if digest in self.kept:
                yield f"it erases {digest[:12]}…, {NEEDED}: these are never erased"
            elif digest not in self.named and not self.partial:
                yield f"it erases {str(digest)[:12]}…, which no entry before it names"
        earlier = self.brought.setdefault(body["request"], set()) if "replaces" in data else set[tuple[str, str]]()
        for name in revived(evidence, self.gone, earlier):
            yield f"evidence {name}: it was erased before, and cannot have been brought"
        earlier.update(evidence.items())
        self.kept |= needed(evidence)
        self.named.update(evidence.values())
        self.gone.update(erased)


def documents(entries: Iterable[str], folder: Path | None, personal: Path | None, erased: Container[str],
              partial: bool = False) -> Iterator[tuple[int, str]]:
    """What is wrong with the documents and personal data (where there are folders of them) that entries name.

    What is erased may be there, as what it was: another would be taken for it. In a home all of them lie in one folder,
    beside what was never recorded; in an export nothing else does. `partial` where only some entries are read.
    """
    number, there, erasures = 0, {personal: set[str](), folder: set[str]()}, Erasures(partial)
    for nth, text in enumerate(entries, 1):
        body = json.loads(text)
        number = body["sequence"] if partial else nth
        for fault in erasures.against(body):
            yield number, fault
        for name, digest in body["evidence"].items():
            place = personal if name.startswith(PERSONAL) else folder
            if fault := digest_fault(digest):
                yield number, f"evidence {name}: {fault}"
            elif place and digest not in there[place]:
                there[place].add(digest)
                if fault := _document_fault(place / digest, digest, digest in erased):
                    yield number, f"evidence {name}: {fault}"
    for place, known in there.items() if folder != personal else ():
        for path in sorted(place.iterdir()) if place and place.is_dir() else ():
            if path.name not in known and path.name[0] != ".":  # as who looks into a folder by macOS leaves one there
                yield number + 1, f"{visible(str(path))} is there, and no entry names it"


def _document_fault(path: Path, digest: str, erased: bool) -> str:
    try:
        with document(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        gone = erased and isinstance(error, FileNotFoundError)
        return "" if gone else f"{path} cannot be read ({error.strerror})"
    return "" if found == digest else f"{path} was {'erased, and is another' if erased else 'changed'}"


def allowed_signers(people: Directory) -> str:
    """OpenSSH's allowed_signers: each key with the time in which it is somebody's. Closed ones stay in it."""
    lines = [_line(name, actor.key, people.since[name], actor.until) for name, actor in people.actors.items()
             if actor.key]
    lines += [_line(name, actor.key, since, min(until, actor.until or until)) for name, actor, since, until
              in people.closed if actor.key]
    return "".join(sorted(lines))


def _line(name: str, key: str, since: str, until: str | None) -> str:
    def stamp(time: str, shift: int = 0) -> str:
        return f'"{datetime.fromisoformat(time) + timedelta(seconds=shift):%Y%m%d%H%M%SZ}"'

    # OpenSSH still takes a key in the second that valid-before names.
    ends = f",valid-before={stamp(until, -1)}" if until else ""
    return f'{name} namespaces="{NAMESPACE}",valid-after={stamp(since)}{ends} {" ".join(key.split()[:2])}\n'

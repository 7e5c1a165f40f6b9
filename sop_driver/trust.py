"""Whether the register can be relied on: all of it before a run, and what one entry rests on before it is taken."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Container, Iterable, Iterator
from concurrent import futures  # which loads its pools only when one is asked for
from itertools import repeat
from typing import Any

from sop_driver import audit, drafts, outsider, pades, signatures
from sop_driver.audit import Audit
from sop_driver.courses import Courses, Order
from sop_driver.errors import Failed, Refusal, Refused, SopError, Usage, refuse
from sop_driver.explain import DAMAGED
from sop_driver.note import note_in, open_note, words_of
from sop_driver.proof import Tree, canonical, leaf_hash
from sop_driver.register import PLACED, Entry, Register
from sop_driver.schema import CHECKPOINTS
from sop_driver.seen import Seen
from sop_driver.sheet import Signed
from sop_driver.standing import Office
from sop_driver.statement import PERSONAL, Body
from sop_driver.tables import Tables

GATE, MEND = "the register", "see `sop register verify`, then bring it back from its backup"
SIGN = "let the person named sign this very statement: give --key, or --prepare it again if the register moved on"
NOW = "name who may act and has a key now: `sop actors list`"
MENDS = (  # what is said against a new entry, where it is not mended by signing that anew
    ("whom it does not concern must sign", "name so many of them in --signed-by, each with a key"),
    ("is or was somebody's already, or is none", "take another id; one that somebody has now gets another key by "
     "`sop actors replace`"),
    ("is or was somebody's already", "make a new key: ssh-keygen -t ed25519"),
    ("paper is seen by", "give the id of who has that office: --ink ID"),
    ("nobody takes both it and", "let another person take it: --as ID"),
    ("has no key in this register", "let it be signed on paper, where the SOP allows that: --ink ID; or enter a key by "
                                    "`sop actors replace`"),
    *((part, NOW) for part in ("nobody has the id", "was retired at", "stood in until", "who has no key to sign with",
                               "is no actor now")),
)
FEW = 20  # signatures within PDFs that are checked sooner than processes are started for them


def watched(office: Office) -> Office:
    """An office whose register says since when it can no longer be relied on, where it takes nothing more."""
    office.register.since = lambda: (examine(office).lines() or ["its entries themselves hold together"])[-1]
    return office


def moment(office: Office) -> tuple[str, int]:
    """The last checkpoint, be it the one beside the register, and how many entries are here with it.

    None where the two do not agree; more entries than it signs where somebody took a later one out.
    """
    register = office.register
    # Read first: a writer commits before it writes this one, so that it is of no more entries than are here.
    beside = note_in(register.checkpoint_file)
    with register.store.snapshot():
        note, size = register.checkpoint(), register.head()[0]
        return note if note == beside or lacks(note, size) else _confirmed(register, note, beside, size), size


def _confirmed(register: Register, note: str, beside: str, size: int) -> str:
    """The last checkpoint of all entries; the one beside them where that is of more, and none where it is of others."""
    if not beside and size == 1:  # only the first one can be lost by a power cut
        return note
    with contextlib.suppress(ValueError):
        copy = open_note(beside, [])
        if copy.size > size:
            return beside
        if copy.root == (open_note(note, []).root if copy.size == size else register.tree_of(copy.size).root()):
            return note
    return ""


def lacks(note: str, size: int) -> str | None:
    """Why a checkpoint does not sign so many entries: nobody would miss the last ones."""
    try:
        signs = open_note(note, []).size if note else 0
    except ValueError as error:
        return f"its last checkpoint cannot be read: {error}"
    if signs == size:
        return None
    if not note:
        return f"no checkpoint of its {size} entries agrees with the one beside it (SOP_HOME/checkpoint)"
    return f"its last checkpoint signs {signs} entries, and {size} are here: it was changed past `sop`"


def checkpoint(office: Office) -> str:
    """The last checkpoint. Raises Refused where it does not sign all entries."""
    note, size = moment(office)
    if fault := lacks(note, size):
        refuse(fault, GATE, MEND)
    return note


def make_receipt(office: Office, request: str | None) -> dict[str, Any]:
    """The entries on actors and of one request, each with its place in the tree of the last checkpoint."""
    register = office.register
    note = register.checkpoint() if register.store.writing else checkpoint(office)  # it signs no new entry yet
    size = open_note(note, []).size
    numbered = sorted([*register.numbered(kind="actors"), *(register.numbered(request=request) if request else ())])
    signed = [(number, text) for number, text in numbered if number <= size]
    proofs = register.inclusions((number for number, _ in signed), size)
    return {"format": "sop-receipt-1", "request": request, "key": register.notary.verifier, "checkpoint": note,
            "entries": [{"text": text, "proof": proof} for (_, text), proof in zip(signed, proofs, strict=True)]}


def proven(office: Office, request: str | None) -> tuple[dict[str, Any], Audit]:
    """A receipt, and what came of checking it. Raises Refused where anything in it does not hold."""
    try:
        value = make_receipt(office, request)
        found = audit.receipt(value, office.register.notary.verifier, order=order_of(office))
    except audit.UNREADABLE as error:
        refuse(f"what it rests on cannot be read ({error})", GATE, MEND)
    _refuse(found.lines(), GATE, MEND)
    return value, found


def personal(office: Office, receipt: dict[str, Any]) -> dict[str, str]:
    """The personal data that a receipt's entries name, salt and value, so far as they are there, and not erased."""
    named = {digest for item in receipt["entries"] for name, digest in json.loads(item["text"])["evidence"].items()
             if name.startswith(PERSONAL)}
    return {digest: base64.b64encode(office.evidence.read(digest)).decode()
            for digest in sorted(named - office.people().erased.keys()) if office.evidence.fault(digest) is None}


def order_of(office: Office) -> Order:
    """An SOP's order by its file in the evidence, for registers whose entries do not tell it."""
    def found(digest: str) -> Body | None:
        with contextlib.suppress(SopError):  # one that cannot be read is told as a document
            return office.procedure(digest).order
        return None

    return found


def adopted(office: Office, sop: str | None, told: Body) -> list[str]:
    """What an entry tells of an SOP that its file, in the evidence, does not say. An older one tells less."""
    if sop is None or office.evidence.fault(sop):  # what is missing or changed is told as a document
        return []
    try:
        return [f"it tells other {name} than the SOP that it adopts" for name in office.procedure(sop).belied(told)]
    except SopError as error:
        return [f"the file that it adopts is no SOP: {str(error).splitlines()[0].removeprefix('refused: ')}"]


def accept(office: Office, entry: Entry) -> None:
    """Let a new entry stand only where what it rests on is proven, and ssh-keygen takes its signatures at its time.

    Call it within `register.writing()`: the refusal that it raises takes the entry back.
    """
    before = Audit(courses=Courses(order_of(office), partial=True), seen=Seen(partial=True))
    if office.register.checkpoint():
        new = entry.kind == "step" and entry.data.get("replaces", "") is None  # a request that has no entry yet
        _, before = proven(office, None if new else entry.request)
    body, seen = entry.__dict__, entry.data["seen"]["entry"]
    before.seen.leaves.setdefault(seen, drafts.leaf(office, seen))
    for what in adopted(office, body["data"].get("sop"), body["data"]) if entry.kind == "actors" else ():
        before.found(entry.sequence, what)
    jobs = before.one(entry.sequence, body, leaf_hash(canonical(body)).hex())
    before.check(jobs)
    faults = [what for _, what in before.findings] or [
        f"the signature of {by}: {fault}" for _, by, _, said, armored in jobs
        if (fault := signatures.fault(before.people, by, said, armored, entry.when))]
    gate = f"signature of {entry.step or entry.outcome}"
    _refuse((_told(signed, fault) for signed in before.pdfs if signed.entry == entry.sequence
             and (fault := pades.fault(signed, office.evidence))), gate, pades.MEND, pades.MENDS)
    _refuse(faults, gate, SIGN, MENDS)
    drafts.forget(office, body, before.people.register)


def _told(signed: Signed, fault: str) -> str:
    return f"the signature of {signed.by} in the PDF {signed.document[:12]}…: {fault}"


def _refuse(faults: Iterable[str], gate: str, mend: str, mends: Iterable[tuple[str, str]] = ()) -> None:
    if refusals := [Refusal(fault, gate, next((its for part, its in mends if part in fault), mend))
                    for fault in faults]:
        raise Refused(refusals)


def witnessed(office: Office) -> dict[str, str]:
    """The checkpoints that others signed, by their files' names."""
    return {f"the witness's checkpoint {path.name}": note_in(path) for path in office.home.witnessed()}


def examine(office: Office, requests: Container[str] | None = None) -> Audit:
    """Read the whole register, and hold it against its own checkpoint, the copy outside and those of witnesses.

    Signatures within PDFs take far longer than others: only those of `requests` are checked, if given.
    Of a damaged database it tells how far it can be read. Raises Failed for one that gives no answer.
    """
    try:
        return _examine(office, requests)
    except Failed as error:
        if error.mend != DAMAGED:
            raise
        found = audit.read(_readable(office.register), order=order_of(office))
        found.found(found.tree.size + 1, f"here ends what can be read: {error.what}")
        for note in witnessed(office).values():
            with contextlib.suppress(ValueError):  # one that cannot be read says nothing of the entries
                found.signers |= words_of(note, office.config.witnesses)
        return found


def _readable(register: Register) -> Iterator[str]:
    """The entries of a damaged database up to the first that it does not give."""
    with contextlib.suppress(Failed):
        yield from (text for _, text in register.portions(PLACED, size=1))


def _examine(office: Office, requests: Container[str] | None) -> Audit:
    register = office.register
    size = register.head()[0]
    if not size and not register.checkpoint_file.exists():
        empty = Audit()
        if seen := witnessed(office):
            empty.found(1, f"no entry is here, and {', '.join(seen)} saw some: the register is gone")
        elif lost := register.gone():
            empty.found(1, lost)
        return empty
    key, lost = _key(register)
    # No later than what is read below.
    outside, notes = note_in(register.checkpoint_file), witnessed(office)
    if outside or size > 1:  # the first one can be lost by a power cut, and the next writer makes it anew
        notes["the last checkpoint outside of it"] = outside
    with register.store.snapshot(), register.store.comparing(size) as index_fault:
        last = register.portions((CHECKPOINTS.c.size, CHECKPOINTS.c.note), size=1, last_first=True)
        place, notes["its checkpoint"] = next(last, (0, ""))
        tables = Tables(register)
        found = audit.whole(tables.texts, notes, key, office.config.witnesses, order_of(office), tables)
        if found.findings and (earlier := _agreed(register)):
            notes["an earlier checkpoint of it"] = earlier
            found = audit.whole(register.texts, notes, key, office.config.witnesses, order_of(office))
        if lost:
            found.found(found.tree.size + 1, lost)
        if fault := register.store.schema_fault() or index_fault() or tables.fault:
            found.found(found.tree.size + 1, fault)
        with contextlib.suppress(ValueError):  # which is found above
            sizes = {place, open_note(notes["its checkpoint"], []).size, found.tree.size}
            if len(sizes) > 1:
                found.found(min(sizes) + 1,
                            "its last checkpoint is not that of the last entry: checkpoints were changed past `sop`")
    for told in found.people.adoptions:
        found.findings += [(told["entry"], what) for what in adopted(office, told["sop"], told)]
    found.findings += outsider.not_witnesses(found.people, office.config.witnesses)
    gone = found.people.erased.keys() if requests is None else set[str]()  # what is run now must be there
    wanted = [signed for signed in found.pdfs if (requests is None or signed.request in requests)
              and gone.isdisjoint(signed.documents)]
    with futures.ProcessPoolExecutor(os.cpu_count()) as pool:  # starts no process before it is used
        faults = (pool.map if len(wanted) > FEW else map)(pades.fault, wanted, repeat(office.evidence))
        found.findings += [(signed.entry, _told(signed, fault)) for signed, fault in zip(wanted, faults, strict=True)
                           if fault]
    return found


def _key(register: Register) -> tuple[str, str]:
    """What checks the checkpoints: the key that is here; or the one that the entries name, and why it is that."""
    try:
        return register.notary.verifier, ""
    except Usage as error:
        return register.key_at(register.head()[0]), (
            f"{error.what} ({error.where}): nothing can be added, and checkpoints were held against the key that the "
            "entries name")


def _agreed(register: Register) -> str:
    """The last of the register's checkpoints that its entries still fit, so that trust ends no earlier than it must."""
    tree, agreed = Tree(), ""
    checkpoints = {}
    for note in register.checkpoints():
        with contextlib.suppress(ValueError):  # an old one that cannot be read proves nothing any more
            checkpoints[open_note(note, []).size] = note
    for text in register.texts():
        tree.add(leaf_hash(text))
        if tree.size in checkpoints and open_note(checkpoints[tree.size], []).root != tree.root():
            break
        agreed = checkpoints.get(tree.size, agreed)
    return agreed


def refusals(office: Office, requests: Container[str] | None = None) -> list[Refusal]:
    """Everything that speaks against relying on the register, and on the PDF signatures of `requests` or all."""
    return _told_of(examine(office, requests))


def _told_of(found: Audit) -> list[Refusal]:
    mend = "what is there can be read; bring the register and SOP_HOME back from the backup"
    return [Refusal(line, "the register", mend) for line in found.lines()]


def require(office: Office, requests: Container[str] | None = None) -> Audit:
    """What came of reading the register. Raises Refused where it cannot be relied on."""
    found = examine(office, requests)
    if against := _told_of(found):
        raise Refused(against)
    return found


def unchanged(office: Office) -> None:
    """Raises Refused where an entry is no longer word for word what the last checkpoint signs.

    Call it within `register.writing()`: what is read after it in there was verified, and nobody has changed it since.
    """
    register, tables = office.register, Tables(office.register, nodes=False)  # others wait for the lock
    with register.store.comparing(register.tree.size) as index_fault:
        for text in tables.texts():
            tables.add(leaf_hash(text))
        fault = index_fault() or tables.fault
    if tables.root() != register.tree.root():
        fault = "its entries are not those that its last checkpoint signs"
    if fault:
        refuse(f"{register.path} was changed past `sop` while this ran: {fault}; {register.since()}", "the register",
               "see all of it by `sop register verify`; then bring the register back from its backup")

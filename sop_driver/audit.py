"""Read a register from its first entry to its last and say what in it cannot be relied on, and since when."""

from __future__ import annotations

import base64
import contextlib
import gc
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures  # which loads its pools only when one is asked for
from dataclasses import dataclass, field
from typing import Any

from sop_driver.adoption import adoption_faults
from sop_driver.agencies import told
from sop_driver.courses import Courses, Order, nowhere
from sop_driver.directory import Directory, Signature
from sop_driver.note import Checkpoint, Word, open_note, words_of
from sop_driver.proof import Job, Tree, canonical, inclusion_root, leaf_hash, parsed, signature_faults
from sop_driver.seen import Seen
from sop_driver.shape import misshapen
from sop_driver.sheet import Signed
from sop_driver.statement import Body, form_digest, level, misled, misspelled, personal_faults, statement
from sop_driver.taken import Taken
from sop_driver.tenure import decree_faults

BATCH = 500  # signatures that a process checks in one go
# What comes of reading what somebody made up: other types, numbers without end, lists within lists within lists.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


@dataclass
class Audit:
    """What came of reading entries. A finding is (the first entry that it takes the trust from, what it is)."""

    tree: Tree = field(default_factory=Tree)
    people: Directory = field(default_factory=Directory)
    findings: list[tuple[int, str]] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    times: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    chains: dict[str, str] = field(default_factory=dict)
    courses: Courses = field(default_factory=Courses)
    made: dict[int, Taken] = field(default_factory=dict)
    pdfs: list[Signed] = field(default_factory=list)  # signatures that are checked where their documents are
    signers: dict[str, Word] = field(default_factory=dict)  # the witnesses asked for, by their keys: what each has seen

    def read(self, text: str) -> list[Job]:
        """Take the next entry of a whole register; gives the signatures that have to be checked."""
        number, digest = self.tree.size + 1, leaf_hash(text)
        self.tree.add(digest)
        leaf = self.seen.leaves[number] = digest.hex()
        latest = self.times[-1] if self.times else ""
        self.times.append(latest)
        try:
            body, spell = parsed(text)
            if spell(body) != text:
                self.found(number, "it is not in the one spelling that entries have")
            if body["sequence"] != number:
                self.found(number, f"it calls itself entry {body['sequence']}: entries are missing, added or moved")
                body["sequence"] = number  # what others say of it goes by its place
            if body["prev"] != self.seen.leaves[number - 1]:
                self.found(number, "it does not follow the entry before it: one of the two was changed or moved")
            if body["time"] < latest:
                self.found(number, f"its time {body['time']} lies before {latest}, that of the entry before it")
            self.times[-1] = max(latest, body["time"])
            return self.signatures(number, body, leaf, spell)
        except UNREADABLE as error:
            self.found(number, f"it is no entry ({type(error).__name__}: {error})")
            return []

    def found(self, number: int, what: str) -> None:
        self.findings.append((number, what))

    def signatures(self, number: int, body: Body, digest: str,
                   spell: Callable[[Any], str] = canonical) -> list[Job]:
        """Hold an entry against the actors of its time; gives the signatures to check."""
        if number == 1 and (body["kind"], body["outcome"]) != ("actors", "bootstrap"):
            self.found(number, "the register does not begin with its first actors")
        if body["kind"] != "step" and (way := level(body["data"])) != "ssh":  # else who saw a paper could void anything
            self.found(number, f"it is signed by {way}; only steps of the SOP are, all else by each one's own key")
        self.findings += self.seen.against(number, body) + [(number, what) for what in misshapen(body)]
        self.findings += [(number, f"{time} is no time as YYYY-MM-DDTHH:MM:SSZ") for time in misspelled(body)]
        signed: list[Signature] = []
        if body["kind"] == "actors":
            before = self.people.sops.get(self.people.sop, {})
            faults, signed = self.people.read(body, digest)
            self.findings += [(number, fault) for fault in (
                *faults, *adoption_faults(body, before), *decree_faults(body))]
            self.courses.adopt(body["data"])
        elif body["kind"] == "step":
            self._follows(number, body, digest)
            taken = self.made[number] = Taken.of(
                body, digest, person=self.people.person(body["data"]["person"]))
            self.findings += [(number, what) for what in self.courses.step(body, taken, self.people)]
            if level(body["data"]) == "pades":
                self._signed_within(number, body)
            else:
                signed = self._signed_by_one(number, body)
        elif body["kind"] == "emergency":
            signed = self._emergency(number, body, digest)
        elif body["kind"] == "void":
            signed = self._void(number, body, digest)
        elif body["kind"] == "run":
            self.findings += [(number, what) for what in self.courses.ran(body, self.people)]
        elif body["kind"] != "record":
            self.found(number, f"there are no entries of the kind {body['kind']!r}")
        said = statement(body, self.people.register, spell) if signed else ""
        return [(number, by, key, said, armored) for by, key, armored in signed]

    def _follows(self, number: int, body: Body, digest: str) -> None:
        """A step follows on the request's last one; a new request on the last that the same actor brought."""
        mine, data = body["request"], body["data"]
        new = data.get("replaces", mine) is None
        if data["previous"] != self.chains.get(f"of {body['actor']}" if new else mine):
            self.found(number, f"it was signed for another state of {mine} than it stands in")
        if new and data["sop"] != self.people.sop:
            self.found(number, f"{mine} begins under an SOP that the officials did not adopt")
        opened = body if "request" in data else self.courses.opened.get(mine, body)
        if "request" in data and form_digest(data["request"]) != data["digest"]:
            self.found(number, f"what {mine} asks for is not what its digest, and so its approval, is of")
        if level(data) == "pades" and misled(
                data["pades"]["shown"], told(self.people, opened["data"]["request"], opened["actor"])):
            self.found(number, f"its signer was shown another request than {mine} is")
        if data["sop"] != self.courses.opened.get(mine, body)["data"]["sop"]:
            self.found(number, f"it names another SOP than {mine} began under")
        self.chains[mine] = digest
        if "replaces" in data:
            self.chains[f"of {body['actor']}"] = digest
            self.courses.opened[mine] = body

    def _emergency(self, number: int, body: Body, digest: str) -> list[Signature]:
        self._follows(number, body, digest)
        found = [*self.courses.emergency(body, self.people)]
        try:
            faults, signed = self.people.emergency(body, self.courses.askers(body["request"]))
        except ValueError as error:
            faults, signed = [str(error)], []
        self.findings += [(number, fault) for fault in (*found, *faults)]
        return signed

    def _void(self, number: int, body: Body, digest: str) -> list[Signature]:
        self._follows(number, body, digest)
        data = body["data"]
        made = self.made.pop(data["entry"], None)
        if made is None or made.fixed or (made.hash, made.request, made.step) != (
                data["hash"], body["request"], body["step"]):
            self.found(number, f"it voids entry {data['entry']}, which is no step of {body['request']} that counts")
        elif fault := self.people.void_fault(body, made):
            self.found(number, fault)
        self.findings += [(number, what) for what in self.courses.order(body, Taken.of(body, digest))]
        return self._signed_by_one(number, body)

    def _signed_within(self, number: int, body: Body) -> None:
        try:
            self.pdfs.append(self.people.pdf_signature(number, body))
        except ValueError as error:
            self.found(number, str(error))

    def _signed_by_one(self, number: int, body: Body) -> list[Signature]:
        try:
            return [self.people.step_signature(body)]
        except ValueError as error:
            self.found(number, str(error))
            return []

    def notes(self, now: str) -> list[str]:
        """What everybody shall see who looks, and which takes no trust from anything."""
        erased = self.people.erased
        unseen = [f"entry {signed.entry}: what its signature within a PDF is checked by was {erased[gone[0]]}; it was "
                  "checked when it was recorded" for signed in self.pdfs
                  if (gone := [digest for digest in signed.documents if digest in erased])]
        said = dict.fromkeys(f"documents or personal data were {erasure}" for erasure in erased.values())
        return [*said, *unseen, *(each.words + ", LATE" * (now > each.due) for each in self.courses.alarms.values())]

    def one(self, number: int, body: Body, digest: str) -> list[Job]:
        """As `signatures`, for an entry whose actor's other requests are not read."""
        if body["kind"] == "step" and body["data"].get("replaces", "") is None:
            self.chains[f"of {body['actor']}"] = body["data"]["previous"]
        return self.signatures(number, body, digest)

    def check(self, jobs: Sequence[Job]) -> None:
        self.findings += signature_faults(jobs)

    def lines(self) -> list[str]:
        """The findings for people, first of all since when."""
        if not self.findings:
            return []
        self.findings.sort()
        first = self.findings[0][0]
        time = f" of {self.times[first - 2]}" if 1 < first <= len(self.times) + 1 else ""
        last = f"; the last one to rely on is entry {first - 1}{time}" if time else ""
        return [*(f"entry {number}: {what}" for number, what in self.findings),
                f"rely on nothing from entry {first} on{last}"]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing that is read here is a cycle; to look for some would take the longer, the more was read."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def read(texts: Iterable[str], sizes: Iterable[int] = (), order: Order = nowhere, tree: Tree | None = None) -> Audit:
    """Read all entries into a tree, and keep its root at the given sizes. Signatures are checked on all processors.

    `order` gives an SOP's, where the entry that adopts it does not tell it.
    """
    audit, jobs, wanted = Audit(tree or Tree(), courses=Courses(order)), list[Job](), {0, *sizes}
    pending: list[futures.Future[list[tuple[int, str]]]] = []
    audit.roots[0] = audit.tree.root()
    with _uncollected(), futures.ProcessPoolExecutor(os.cpu_count()) as pool:  # starts no process before a batch
        for text in texts:
            jobs += audit.read(text)
            if audit.tree.size in wanted:
                audit.roots[audit.tree.size] = audit.tree.root()
            if len(jobs) >= BATCH:
                pending.append(pool.submit(signature_faults, jobs))
                jobs = []
        audit.check(jobs)
        for done in pending:
            audit.findings += done.result()
    for (run, request, _), number in audit.courses.unsigned.items():
        audit.found(number, f"{run} was applied, and nobody signed the installation of {request}")
    return audit


def whole(texts: Callable[[], Iterable[str]], notes: dict[str, str], key: str, witnesses: Sequence[str] = (),
          order: Order = nowhere, tree: Tree | None = None) -> Audit:
    """Read a whole register and hold it against signed checkpoints (name → note). `key` is the register's, pinned."""
    opened, against, signed = dict[str, Checkpoint](), list[tuple[int, str]](), 0
    for label, text in notes.items():
        try:
            opened[label] = open_note(text, witnesses)
        except ValueError as error:
            against.append((1, f"{label}: {error}"))
    audit = read(texts(), (note.size for note in opened.values()), order, tree)
    for label in sorted(opened, key=lambda label: opened[label].size):
        audit.signers |= words_of(notes[label], witnesses)
    if not is_registers(audit.people, key):
        against.append((1, "the key of its checkpoints is another than the one that its first actors signed"))
    for label, note in list(opened.items()):
        try:
            if signed_with(audit.people, notes[label], note.size, key):
                signed = max(signed, note.size)
            else:
                against.append((1, f"{label} is not signed by this register's key"))
        except ValueError as error:
            against.append((1, f"{label}: {error}"))
            del opened[label]
    agreed = max((n.size for n in opened.values() if audit.roots.get(n.size) == n.root), default=0)
    for label, note in opened.items():
        if note.origin != audit.people.register:
            against.append((1, f"{label} is of another register, {note.origin}"))
        elif note.size > audit.tree.size:
            against.append((audit.tree.size + 1, f"{label} saw {note.size} entries, here are {audit.tree.size}: "
                                                 "the last are missing"))
        elif audit.roots[note.size] != note.root:
            against.append((min(agreed, note.size - 1) + 1,
                            f"{label} saw other entries up to {note.size} than are here: they were written anew"))
    if audit.tree.size > signed:  # else who adds entries adds the key that makes their checkpoint look good, too
        against.append((signed + 1, "no checkpoint signs it, nor what comes after it: it was added past `sop`"))
    audit.findings += against
    return audit


def is_registers(people: Directory, key: str) -> bool:
    """Whether a key signs, or once signed, the checkpoints of the register."""
    return key in (each for _, each in people.keys)


def signed_with(people: Directory, note: str, size: int, key: str) -> bool:
    """Whether a checkpoint is signed by the register's key of its size, which `key`, the pinned one, leads to.

    Raises ValueError where there is such a signature that does not hold.
    """
    due = people.key_at(size) if is_registers(people, key) else key
    return due.split("+")[0] in open_note(note, [due]).signers if due else False


def receipt(value: dict[str, Any], key: str, witnesses: Sequence[str] = (), order: Order = nowhere) -> Audit:
    """Check entries by their places in the tree that a checkpoint signs. Raises one of UNREADABLE."""
    note = open_note(value["checkpoint"], witnesses)
    audit = Audit(courses=Courses(order, partial=True), seen=Seen(partial=True),
                  signers=words_of(value["checkpoint"], witnesses))
    last, latest, request = 0, "", value["request"]
    for item in value["entries"]:
        (body, spell), digest = parsed(item["text"]), leaf_hash(item["text"])
        number, proof = body["sequence"], [base64.b64decode(part) for part in item["proof"]]
        if number > 1 and not last:  # nothing says who may act
            audit.found(1, f"entry {number} stands before it: who acted when is not as the register has it")
            return audit
        if number <= last:
            audit.found(number, f"it stands behind entry {last}: who acted when is not as the register has it")
        if body["time"] < latest:  # by an earlier one, somebody whose time is over would have acted in it
            audit.found(number, f"its time {body['time']} lies before {latest}, that of an entry before it")
        last, latest = number, max(latest, body["time"])
        if spell(body) != item["text"]:
            audit.found(number, "it is not in the one spelling that entries have")
        if body["kind"] != "actors" and (request is None or body["request"] != request):
            audit.found(number, f"it is of {body['request']}, and the receipt says that it is of {request}")
        if number > note.size or inclusion_root(digest, number - 1, note.size, proof) != note.root:
            audit.found(number, "it is not at its place in the tree that the checkpoint signs")
        audit.seen.leaves[number] = digest.hex()
        audit.check(audit.one(number, body, digest.hex()))
    if request is not None and not audit.chains:
        audit.found(1, f"it says that it is of {request}, and shows no entry of that")
    audit.findings += personal_faults(value, audit.people.erased) if "personal" in value else ()
    if not signed_with(audit.people, value["checkpoint"], note.size, key):
        audit.found(1, "its checkpoint is not signed by this register's key")
    if note.origin != audit.people.register:
        audit.found(1, f"its first actors signed for {audit.people.register}, the checkpoint is {note.origin}'s")
    elif not is_registers(audit.people, key):
        audit.found(1, "its entries name other keys of the checkpoints than the one that it is checked against")
    return audit

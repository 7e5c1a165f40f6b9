"""Where a request stands: what its entries in the register come to under the SOP it began with."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sop_driver import procedure as sop
from sop_driver.config import Config, Home, sop_file
from sop_driver.directory import Directory, Window
from sop_driver.errors import SopError, Usage, refuse
from sop_driver.evidence import Evidence
from sop_driver.flow import Fold, Person
from sop_driver.procedure import Procedure, Step
from sop_driver.proof import leaf_hash
from sop_driver.reading import SINCE, Shown
from sop_driver.register import Entry, Register
from sop_driver.request import Request
from sop_driver.statement import SEALED
from sop_driver.taken import Taken
from sop_driver.tenure import Actor

ABOUT = ("step", "emergency", "void")  # kinds of entries on one request


@dataclass
class Office:
    """What every command works with: its settings, the register and its evidence."""

    config: Config
    project: Path
    home: Home
    register: Register
    evidence: Evidence
    procedures: dict[str, Procedure] = field(default_factory=dict)
    directories: dict[int, Directory] = field(default_factory=dict)  # by their last entry, for who only reads
    warn: Callable[[str], None] | None = None  # set for who only reads: told of what gates refuse
    tell: Callable[[str, Any], None] = lambda place, value: None  # told of what is sealed, before it is signed here

    def reading(self, warn: Callable[[str], None]) -> Office:
        """The same office for who only reads: what cannot be used is left out, an SOP that was changed is shown all the
        same, each with a warning."""
        if fault := self.register.store.revision_fault():
            warn(f"{fault}; {SINCE}")
        return replace(self, procedures={}, directories={}, warn=warn, register=Shown(self.register, warn))

    def year(self) -> int:
        return self.register.now().astimezone(ZoneInfo(self.config.timezone)).year

    def people(self, size: int | None = None) -> Directory:
        """The actors as the register has them now, or its first `size` entries had them.

        Whether its entries can be relied on is another question.
        """
        rows = [row for row in self.register.numbered(kind="actors") if size is None or row[0] <= size]
        last = rows[-1][0] if rows else 0
        if last in self.directories:
            return self.directories[last]
        people = Directory(rules={"signers": (), "count": 0})  # of one without its first entry, for who only reads
        for number, text in rows:
            digest = leaf_hash(text).hex()
            with self.register.using(number):
                people.read(self.register.read(text).__dict__, digest)
            people.last = digest
        if self.warn:
            self.directories[last] = people
        return people

    def actor(self, name: str, ended: bool = False) -> Actor:
        """Somebody who may act now, or whose time of standing in has `ended`, too.

        Raises Usage for an id that nobody has, Refused for one that is retired.
        """
        people = self.people()
        if fault := people.fault(name, "" if ended else stamp(self.register.now())):
            if people.known(name):
                back = "who stood in gets another last day: `sop actors replace`" if name in people.actors else (
                    "who was retired comes back by another id with a new key: `sop actors enroll`")
                refuse(fault, "actors",
                       f"`sop actors list` names those who may act now, as a step or run takes them: --as ID; {back}")
            raise Usage(fault, "sop actors list", f"use one of {', '.join(sorted(people.actors)) or 'none yet'}")
        return people.actors[name]

    def personal(self, text: str) -> Any:
        """What is sealed, or the words that say by whom it was erased, or that it is missing or was changed."""
        digest = text.removeprefix(SEALED)
        if digest == text:
            return text
        if (fault := self.evidence.fault(digest)) is None:
            return self.evidence.unsealed(digest)
        if self.evidence.has(digest):
            return f"changed ({self.evidence.path(digest)})"
        return str(self.people().erased.get(digest) or f"missing ({fault})")

    def procedure(self, digest: str) -> Procedure:
        """The SOP as it was when a request began, from the evidence. Raises Refused where it is not there as it was."""
        if digest not in self.procedures:
            if fault := self.evidence.fault(digest):
                refuse(f"{fault}; {self.since(digest)}", "evidence",
                       "bring the file back from the backup of the driver's home")
            self.procedures[digest] = sop.parse(self.evidence.read(digest), self.evidence.path(digest))
        return self.procedures[digest]

    def procedure_of(self, opened: Entry) -> Procedure:
        """The SOP that a request began under. For who only reads, what is left of it, or the SOP as it is now."""
        digest = opened.data["sop"]
        try:
            return self.procedure(digest)
        except SopError as error:
            if self.warn is None:
                raise
            kept = [self.evidence.path(digest)] if self.evidence.has(digest) else []
            for path in (*kept, sop_file(self.project, self.config)):
                with contextlib.suppress(OSError, SopError):
                    found = sop.parse(path.read_bytes(), path)
                    if found.opening.id == opened.step:
                        self.warn(f"{self._fault(digest) or error}; its requests are shown by {path}, and pass no gate "
                                  "before the file is brought back from the backup of the driver's home")
                        return self.procedures.setdefault(digest, found)
            raise

    def since(self, digest: str) -> str:
        """From where on nothing can be relied on while a document is not as it was: the first entry that names it."""
        named = next((number for number, text in self.register.numbered() if digest in text), 1)
        return f"rely on nothing from entry {named} on"

    def _fault(self, digest: str) -> str | None:
        """What is wrong with a document, and since when."""
        fault = self.evidence.fault(digest)
        if fault and self.evidence.has(digest):
            changed = datetime.fromtimestamp(self.evidence.path(digest).stat().st_ctime, UTC)
            return f"{fault}, the last time at {local(self, changed)}"
        return fault


@dataclass(frozen=True)
class Standing:
    """Where a request stands: the steps that count, in order, and what they were about."""

    id: str
    procedure: Procedure
    request: Request
    digest: str
    letter: str
    since: datetime
    done: dict[str, Entry]
    returned: Entry | None
    fold: Fold
    opened: Entry  # what brought it as it is
    waived: frozenset[str] = frozenset()  # gates that an emergency replaces
    voided: dict[int, Entry] = field(default_factory=dict)  # an entry → the one that voids it
    unreported: tuple[Entry, ...] = ()  # emergencies without a report

    @property
    def next(self) -> Step | None:
        return next((step for step in self.procedure.steps
                     if step.id not in self.done and step.gate not in self.waived), None)

    @property
    def installed(self) -> bool:
        return self.fold.installed

    @property
    def agenda(self) -> str | None:
        return self.fold.agenda

    def taken_apart(self, data: dict[str, Any], step: Step, person: Person) -> tuple[Taken, str] | None:
        """The first step that who takes this one by an entry of such data took, by whatever office, of those that
        nobody takes who takes this one; and who that is. Who saw the paper has taken a step, too."""
        people = (data["person"], data.get("seen_by") or data["person"])
        return self.fold.taken_by(people, self.procedure.flow.steps[step.id].apart, person)

    def late(self, now: datetime) -> timedelta | None:
        """By how much the next step has passed its standard time; None when it has not."""
        over = now - self.since - self.next.time.delta() if self.next else timedelta(0)
        return over if over > timedelta(0) else None


def stamp(when: datetime) -> str:
    """A time as entries write it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(office: Office, when: datetime) -> str:
    return when.astimezone(ZoneInfo(office.config.timezone)).strftime("%Y-%m-%d %H:%M:%S %Z")


def worded(office: Office, window: Window) -> str:
    """A window of the freeze calendar for people."""
    start, until = (local(office, datetime.fromisoformat(time)) for time in (window.start, window.until))
    ended = f"; ended {local(office, datetime.fromisoformat(window.ended))}" if window.ended else ""
    return f"from {start} to {until} nothing is changed: {window.reason} (entry {window.number}){ended}"


def standing(entries: Iterable[Entry], procedure: Procedure, at: datetime | None = None,
             using: Callable[[int], AbstractContextManager[object]] = contextlib.nullcontext) -> Standing:
    """Fold one request's entries; `at` is the time to look at it, else that of the last one. `using` is the register's.

    An entry counts only where all steps before it counted when it was taken, or an emergency replaced them then.
    """
    fold, emergencies = Fold(procedure.flow), list[Entry]()
    for entry in entries:
        with using(entry.sequence):
            if entry.kind == "emergency":
                emergencies.append(entry)
            if entry.kind in ABOUT:
                body = entry.__dict__
                fold.take(body, None if entry.kind == "emergency" else Taken.of(body, "", entry))
    if fold.opened is None:
        raise ValueError("its request has no entry that brought it")
    opened: Entry = fold.opened.entry
    return Standing(opened.request or "", procedure, Request.model_validate(opened.data["request"]),
                    opened.data["digest"], opened.data["letter"], datetime.fromisoformat(fold.since),
                    {name: taken.entry for name, taken in fold.done.items()},
                    fold.returned.entry if fold.returned else None, fold, opened,
                    fold.waived(stamp(at) if at else fold.since),
                    {number: void.entry for number, void in fold.voided.items()}, tuple(unreported(emergencies)))


def unreported(entries: Iterable[Entry]) -> list[Entry]:
    """Of the entries on emergencies, the declarations that no report followed."""
    found: dict[int, Entry] = {}
    for entry in entries:
        if entry.outcome == "declared":
            found[entry.sequence] = entry
        else:
            found.pop(entry.data["emergency"], None)
    return list(found.values())


def stand(office: Office, request: str, at: datetime | None = None) -> Standing:
    """Where a request stands by the register, now or at a time. Raises Usage for an id it does not know."""
    entries = entries_of(office, request)
    return standing(entries, office.procedure_of(entries[0]), at or office.register.now())


def entries_of(office: Office, request: str) -> list[Entry]:
    """A request's own entries. Raises Usage for an id that the register does not know."""
    entries = list(office.register.entries(request=request))
    if entries or any(office.register.numbered(request=request)):  # which who only reads may not be able to use
        return entries
    raise Usage(f"no request {request!r} is in the register", office.register.path, "`sop status` lists them")


def all_standings(office: Office, request: str | None = None) -> list[Standing]:
    """Where requests stand, or one; for who only reads, those whose entries come to something."""
    register, found = office.register, list[Standing]()
    grouped = {request: entries_of(office, request)} if request else dict[str, list[Entry]]()
    kinds = () if request else ABOUT
    for entry in heapq.merge(*(register.entries(kind=kind) for kind in kinds), key=lambda each: each.sequence):
        grouped.setdefault(entry.request or "", []).append(entry)
    for entries in filter(None, grouped.values()):
        with register.using(entries[0].sequence):
            found.append(standing(entries, office.procedure_of(entries[0]), register.now(), register.using))
    return found

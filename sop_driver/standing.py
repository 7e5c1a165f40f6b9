"""Where a request stands: what its entries in the register come to under the SOP it began with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sop_driver import procedure as sop
from sop_driver.config import Config, Home
from sop_driver.directory import Actor, Directory
from sop_driver.errors import Usage, refuse
from sop_driver.evidence import Evidence
from sop_driver.procedure import Procedure, Step
from sop_driver.proof import leaf_hash
from sop_driver.register import Entry, Register
from sop_driver.request import Request


@dataclass
class Office:
    """What every command works with: its settings, the register and its evidence."""

    config: Config
    project: Path
    home: Home
    register: Register
    evidence: Evidence
    procedures: dict[str, Procedure] = field(default_factory=dict)

    def year(self) -> int:
        return self.register.now().astimezone(ZoneInfo(self.config.timezone)).year

    def people(self) -> Directory:
        """The actors as the register has them now; whether its entries can be relied on is another question."""
        people = Directory()
        for text in self.register.texts(kind="actors"):
            people.read(json.loads(text), leaf_hash(text).hex())
        return people

    def actor(self, name: str) -> Actor:
        """Somebody who may act now. Raises Usage for an id that nobody has, Refused for one that is retired."""
        people = self.people()
        if fault := people.fault(name, self.register.now().strftime("%Y-%m-%dT%H:%M:%SZ")):
            if any(past == name for past, _, _, _ in people.closed) or name in people.actors:
                refuse(fault, "actors", "`sop actors list` names those who may act now")
            raise Usage(fault, "sop actors list", f"use one of {', '.join(sorted(people.actors)) or 'none yet'}")
        return people.actors[name]

    def procedure(self, digest: str) -> Procedure:
        """The SOP as it was when a request began, from the evidence."""
        if digest not in self.procedures:
            self.procedures[digest] = sop.parse(self.evidence.read(digest), self.evidence.path(digest))
        return self.procedures[digest]


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

    @property
    def next(self) -> Step | None:
        return next((step for step in self.procedure.steps if step.id not in self.done), None)

    @property
    def installed(self) -> bool:
        return self.procedure.installation.id in self.done

    @property
    def agenda(self) -> str | None:
        return next((e.data["agenda"]["text"] for e in self.done.values() if "agenda" in e.data), None)

    def taken_by(self, person: str, steps: Iterable[str]) -> Entry | None:
        """The first of these steps that a person took, by whatever office."""
        return next((e for name, e in self.done.items() if name in steps and e.data["person"] == person), None)

    def late(self, now: datetime) -> timedelta | None:
        """By how much the next step has passed its standard time; None when it has not."""
        over = now - self.since - self.next.time.delta() if self.next else timedelta(0)
        return over if over > timedelta(0) else None


def standing(entries: Iterable[Entry], procedure: Procedure) -> Standing:
    """Fold one request's step entries. An entry counts only where all steps before it counted when it was taken."""
    done: dict[str, Entry] = {}
    returned: Entry | None = None
    opened: Entry | None = None
    since: datetime | None = None
    for entry in entries:
        step = procedure.step(entry.step or "")
        if entry.kind != "step" or step is None:
            continue
        if step is procedure.opening:
            opened = entry
            done = {step.id: entry, **{name: e for name, e in done.items() if _holds(e, entry, procedure)}}
            done = _unbroken(done, procedure)
        elif opened is None or not _holds(entry, opened, procedure) or any(
            earlier.id not in done for earlier in procedure.before(step)
        ):
            continue
        else:
            back = step.outcomes[entry.outcome].returns_to if entry.outcome in step.outcomes else None
            goes_on_from = procedure.step(back) if back else None
            kept = {s.id for s in procedure.before(goes_on_from or step)}
            done = {name: e for name, e in done.items() if name in kept}
            if back is None:
                done[step.id] = entry
            returned = entry if back else None
        since = entry.when
    if opened is None or since is None:
        raise KeyError("the request has no opening entry")
    return Standing(opened.request or "", procedure, Request.model_validate(opened.data["request"]),
                    opened.data["digest"], opened.data["letter"], since, done, returned)


def _holds(entry: Entry, opened: Entry, procedure: Procedure) -> bool:
    step = procedure.step(entry.step or "")
    key = "letter" if step is not None and step.binds == "letter" else "digest"
    return step is not procedure.opening and entry.data.get(key) == opened.data.get(key)


def _unbroken(done: dict[str, Entry], procedure: Procedure) -> dict[str, Entry]:
    kept: dict[str, Entry] = {}
    for step in procedure.steps:
        if step.id not in done:
            break
        kept[step.id] = done[step.id]
    return kept


def stand(office: Office, request: str) -> Standing:
    """Where a request stands by the register. Raises Usage for an id it does not know."""
    entries = list(office.register.entries(kind="step", request=request))
    if not entries:
        raise Usage(f"no request {request!r} is in the register", office.register.path, "`sop status` lists them")
    return standing(entries, office.procedure(entries[0].data["sop"]))


def all_standings(office: Office) -> list[Standing]:
    grouped: dict[str, list[Entry]] = {}
    for entry in office.register.entries(kind="step"):
        grouped.setdefault(entry.request or "", []).append(entry)
    return [standing(entries, office.procedure(entries[0].data["sop"])) for entries in grouped.values()]

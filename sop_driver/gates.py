"""The administrative gates before a run on the fleet: each clears a request or refuses it, and none can be forced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sop_driver.directory import Directory, Erasure
from sop_driver.errors import Refusal
from sop_driver.evidence import Evidence
from sop_driver.flow import Existing, Person
from sop_driver.procedure import Step
from sop_driver.standing import Standing
from sop_driver.statement import FREEZE, level


class Frozen(NamedTuple):
    """A window of the freeze calendar: the entry that closes it, and its words for people."""

    number: int
    words: str


@dataclass(frozen=True)
class Case:
    """One request before the gates. `existing` is what the desired state says exists; `windows` are closed now.

    `person` tells whose an id is now. `since` tells from where on nothing can be relied on while a document is not as
    it was.
    """

    standing: Standing
    evidence: Evidence
    existing: Existing
    person: Person
    windows: tuple[Frozen, ...] = ()
    erased: Mapping[str, Erasure] = field(default_factory=dict)
    since: Callable[[str], str] = "from the entry that names {} on nothing can be relied on".format


Gate = Callable[[Case, Step], Refusal | None]


def taken(case: Case, step: Step) -> Refusal | None:
    """What every gate asks: the step was taken, in its order, by whom the SOP names, and its documents are there."""
    now = case.standing
    gate = step.gate or step.id
    entry = now.done.get(step.id)
    if entry is None:
        back = f"; it was returned: {now.returned.reason} ({now.returned})" if now.returned else ""
        if void := next((void for void in reversed(now.voided.values()) if void.step == step.id), None):
            back += f"; entry {void.data['entry']} was voided by {void.actor}: {void.reason} ({void})"
        how = f"sop record {now.id} {step.id} --as ACTOR" if step.by == "record" else f"sop {step.by}"
        return Refusal(f"{now.id}: {step} is not done for the request as it is now{back}", gate,
                       f"{' or '.join(step.actors)} takes it: {how}")
    if entry.role not in step.actors:
        return Refusal(f"{now.id}: {step} was taken by {entry.actor}, who is {entry.role} ({entry})", gate,
                       f"{' or '.join(step.actors)} takes it")
    if (way := level(entry.data)) not in step.signed:
        return Refusal(f"{now.id}: {step} is signed by {way} ({entry}), and takes {' or '.join(step.signed)}", gate,
                       f"{' or '.join(step.actors)} takes it again and signs so")
    if both := now.taken_apart(entry.data, step, case.person):
        other, who = both
        return Refusal(f"{now.id}: {step} and {other.step} were both taken by {who} ({entry}, {other})", gate,
                       f"another {' or '.join(step.actors)} takes it")
    if lacking := sorted(set(step.evidence) - set(entry.evidence)):
        return Refusal(f"{now.id}: {step} was recorded without {', '.join(lacking)} ({entry})", gate,
                       "record it again with these documents")
    if gone := _erased(now, step, case.erased):
        return gone
    for name in sorted(step.evidence):
        if fault := case.evidence.fault(digest := entry.evidence[name]):
            return Refusal(f"{now.id}: {name} of {step}: {fault}; {case.since(digest)}", gate,
                           "bring the file back from the backup of the driver's home")
    return None


def _erased(now: Standing, step: Step, erased: Mapping[str, Erasure]) -> Refusal | None:
    for name in sorted(step.evidence):
        if gone := erased.get(now.done[step.id].evidence.get(name, "")):
            return Refusal(f"{now.id}: {name} of {step} was {gone}", step.gate or step.id,
                           "take the step again, with another document")
    return None


def asked(case: Case, step: Step) -> Refusal | None:
    """Also what came of it: the agenda number, the word `yes` for the request as it is, a website that fits.

    The existence check is by the register here. The plan asks the fleet itself.
    """
    if refusal := taken(case, step):
        return refusal
    fold = case.standing.fold
    found = fold.asked(fold.flow.steps[step.id], case.existing)
    return Refusal(f"{case.standing.id}: {found[0]}", step.gate or step.id, found[1]) if found else None


def build_evidence(case: Case, step: Step) -> Refusal | None:
    if refusal := taken(case, step):
        return refusal
    release = case.standing.request.release
    if release and (fault := case.evidence.fault(release.sha256)):
        return Refusal(f"{case.standing.id}: the release: {fault}; {case.since(release.sha256)}", step.gate or step.id,
                       "bring the file back from the backup of the driver's home")
    return None


def lapsed(now: Standing, people: Directory, windows: Iterable[Frozen]) -> list[Refusal]:
    """What has closed since the gates were asked: an emergency is over, a window has begun, two ids are one person, a
    document was erased."""
    gone = [_erased(now, step, people.erased) for step in now.procedure.before(now.procedure.installation)
            if step.gate and step.gate not in now.waived and step.id in now.done]
    return [Refusal(f"{now.id}: {what}", step.gate or step.id, f"{' or '.join(step.actors)} takes it")
            for step, what in now.fold.closed(now.waived, people.person)] + [
                *filter(None, gone), *freeze(now, windows)]


def freeze(now: Standing, windows: Iterable[Frozen]) -> list[Refusal]:
    """The calendar stops what was approved, too."""
    rules = now.procedure.emergency
    urgent = f"; what cannot wait: `sop emergency declare {now.id}`" if rules and FREEZE in rules.waives else ""
    return [Refusal(f"{now.id}: {window.words}", FREEZE,
                    f"wait for its end, or have two officials end it: `sop freeze end {window.number}`{urgent}")
            for window in windows if FREEZE not in now.waived]


GATES: dict[str, Gate] = {
    "request letter": taken,
    "agenda number": asked,
    "disposition": taken,
    "review": taken,
    "approval": asked,
    "existence check": asked,
    "needs analysis": taken,
    "build evidence": build_evidence,
}


def check(cases: Iterable[Case]) -> list[Refusal]:
    """Every closed gate of every request, in the SOP's order."""
    found: list[Refusal] = []
    names: dict[str, str] = {}
    for case in cases:
        now = case.standing
        if now.installed:
            found.append(Refusal(f"{now.id} is already installed ({now.done[now.procedure.installation.id]})",
                                 "installation", "submit a new request of kind update for the next change"))
            continue
        for step in now.procedure.before(now.procedure.installation):
            if step.gate and step.gate not in now.waived and (refusal := GATES.get(step.gate, taken)(case, step)):
                found.append(refusal)
        found += freeze(now, case.windows)
        for name in (now.request.name, *now.request.aliases):
            if other := names.get(name):
                found.append(Refusal(f"{other} and {now.id} both ask for {name}", "existence check", "run one of them"))
            names[name] = now.id
    return found

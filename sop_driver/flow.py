"""The order of a request's steps: what its entries come to under its SOP, and what stands against one more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sop_driver.statement import WEBSITE, Body
from sop_driver.taken import Taken

STATES = {"suspend": "suspended", "resume": "present"}  # what these kinds make of a website, and nothing else of it
COPIED = ("id", "number", "activity", "binds", "by", "gives", "gate", "outcomes")
Against = tuple[str, str]  # what it is, how to mend it
Person = Callable[[str], str]  # whose an id is by what is known now: a step may be older than that
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """What an SOP says of a step, as far as entries are held against it."""

    id: str
    number: int
    activity: str
    actors: tuple[str, ...]
    signed: tuple[str, ...]
    evidence: frozenset[str]
    binds: str
    by: str
    gives: str | None
    gate: str | None
    outcomes: dict[str, Body]
    before: tuple[Rule, ...]
    needs: frozenset[str]  # those, by name
    apart: frozenset[str]  # the steps that nobody takes who takes this one

    def __str__(self) -> str:
        return f"step {self.number} ({self.id}: {self.activity})"


class Flow:
    """An SOP's steps in their order. Raises KeyError, TypeError, ValueError where they are none."""

    def __init__(self, order: Body) -> None:
        self.steps: dict[str, Rule] = {}
        for step in order["steps"]:
            apart = {name for names in order["separation"] if step["id"] in names for name in names} - {step["id"]}
            plain = {name: step[name] for name in COPIED}
            self.steps[step["id"]] = Rule(
                **plain, actors=tuple(step["actors"]), signed=tuple(step["signed"]), apart=frozenset(apart),
                evidence=frozenset(step["evidence"]), before=tuple(self.steps.values()),
                needs=frozenset(self.steps))
        runs = [rule for rule in self.steps.values() if rule.by == "run"]
        if not order["steps"] or not runs:
            raise ValueError("an SOP has steps, and one of them is the installation")
        self.opening, self.installation = next(iter(self.steps.values())), runs[0]


class Existing(NamedTuple):
    """The websites by their names, and by each name or alias whose it is."""

    rows: dict[str, Body]
    holders: dict[str, str]

    @classmethod
    def of(cls, rows: dict[str, Body]) -> Existing:
        return cls(rows, {name: row for row in rows for name in (row, *rows[row]["aliases"])})

    def against(self, form: Body) -> Against | None:
        """By the register: create refuses what exists, update what does not. The plan asks the fleet itself."""
        kind, name = form["kind"], form["name"]
        names = {name, *form.get("aliases", ())}
        if strange := min((each for each in names if not WEBSITE.fullmatch(each)), default=None):
            return f"{strange!r} is spelled as no website's name is", "correct it: `sop submit … --replace`"
        there = self.rows.get(name)
        if kind == "create" and there is not None:
            return (f"{name} already exists on {there['web_host']}, owned by agenda {there['agenda']}",
                    "file it as an update (kind: update), or choose another name")
        if kind != "create" and there is None:
            return f"{name} does not exist", "file it as a new website (kind: create), or correct the name"
        if there is not None and STATES.get(kind) == (state := there["state"]):
            return (f"{name} is {state} already (agenda {there['agenda']})",
                    f"there is nothing to {kind}; `sop list` tells each website's state")
        if other := min((self.holders[each] for each in names if self.holders.get(each, name) != name), default=None):
            both = sorted(names & {other, *self.rows[other]["aliases"]})
            return (f"{', '.join(both)} already belongs to {other} (agenda {self.rows[other]['agenda']})",
                    "choose another name or alias")
        return None


class Fold:
    """What a request's entries come to, one after the other."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.done: dict[str, Taken] = {}
        self.opened: Taken | None = None
        self.earlier: list[Taken] = []  # by what it was brought in earlier forms
        self.form: Body = {}
        self.returned: Taken | None = None
        self.emergency: Body | None = None
        self.since = ""
        self.stood: dict[str, Taken] = {}  # what was done before it was returned
        self.voided: dict[int, Taken] = {}

    @property
    def askers(self) -> list[str]:
        """Whose the request is, and was in earlier forms."""
        return [taken.person for taken in (self.opened, *self.earlier) if taken]

    @property
    def installed(self) -> bool:
        return self.flow.installation.id in self.done

    def take(self, body: Body, taken: Taken | None) -> None:
        """The next entry; `taken` is None for one on an emergency."""
        if taken is None:
            if body["outcome"] != "declared":
                return
            self.emergency = body["data"]
        elif body["kind"] == "void":
            self._void(body, taken)
        elif (step := self.flow.steps.get(taken.step)) is None:
            return
        elif step is self.flow.opening:
            self.earlier += [self.opened] if self.opened else []
            self.opened, self.form = taken, body["data"]["request"]
            self.done = {step.id: taken, **{n: t for n, t in self.done.items() if self._holds(t)}}
            self._unbroken(body["time"])
        elif self._counts(taken, step, body["time"]):
            self._step(taken, step)
        else:
            return
        self.since = body["time"]

    def waived(self, at: str | None) -> frozenset[str]:
        """The gates that an emergency replaces at a time; to the end once it has brought the request to the servers.

        Without a time, those for a run that began in time, whenever that ends.
        """
        data = self.emergency
        if data is None or self.opened is None or data["digest"] != self.opened.digest:
            return NOTHING
        return frozenset(data["waives"]) if at is None or self.installed or at <= data["until"] else NOTHING

    def waived_for(self, step: Rule, at: str) -> frozenset[str]:
        """The same when a step is taken: who installs has begun before, when the gates were asked."""
        return self.waived(None if step.by == "run" else at) if self.emergency else NOTHING

    def _holds(self, taken: Taken) -> bool:
        opened, step = self.opened, self.flow.steps.get(taken.step)
        if step is None or opened is None or step is self.flow.opening:
            return False
        return taken.letter == opened.letter if step.binds == "letter" else taken.digest == opened.digest

    def _unbroken(self, at: str) -> None:
        waived, kept = self.waived(at), dict[str, Taken]()
        for each in self.flow.steps.values():
            if each.id in self.done:
                kept[each.id] = self.done[each.id]
            elif each.gate not in waived:
                break
        self.done = kept

    def _void(self, body: Body, void: Taken) -> None:
        """The step and all after it are open again; with a refusal, what it undid counts again.

        What came onto the servers stays, and is shown.
        """
        number, step = body["data"]["entry"], self.flow.steps.get(void.step)
        self.voided[number] = void
        if step is None or (self.installed and step in self.flow.installation.before):
            return
        if step.id in self.done and self.done[step.id].number == number:
            self.done = {name: taken for name, taken in self.done.items() if name in step.needs}
        elif self.opened and self.returned and self.returned.number == number:
            self.returned = None
            self.done = {self.flow.opening.id: self.opened,
                         **{n: t for n, t in self.stood.items() if t.number not in self.voided and self._holds(t)}}
            self._unbroken(body["time"])

    def _counts(self, taken: Taken, step: Rule, at: str) -> bool:
        """Whether nothing was missing when it was taken. A refusal counts all the same: no emergency outlives it."""
        return self._holds(taken) and (self._missing(step, self.waived_for(step, at)) is None
                                       or self._back(taken, step) is not None)

    @staticmethod
    def _back(taken: Taken, step: Rule) -> str | None:
        """Where a refusal sends the request back to."""
        branch = step.outcomes.get(taken.outcome or "")
        return branch["returns_to"] if branch else None

    def _missing(self, step: Rule, waived: frozenset[str]) -> Rule | None:
        if self.done.keys() >= step.needs:
            return None
        return next((each for each in step.before if each.id not in self.done and each.gate not in waived), None)

    def _step(self, taken: Taken, step: Rule) -> None:
        back = self._back(taken, step)
        first = step if back is None else self.flow.steps[back]
        if back is not None:
            self.stood = dict(self.done)
            self.emergency = None  # it goes on only by the steps, or by another emergency
        if len(self.done) != len(first.needs) or self.done.keys() != first.needs:  # seldom: it is what comes next
            self.done = {name: each for name, each in self.done.items() if name in first.needs}
        if back is None:
            self.done[step.id], self.returned = taken, None
        else:
            self.returned = taken

    def taken_by(self, people: Collection[str], steps: Collection[str], person: Person) -> tuple[Taken, str] | None:
        """The first of these steps that one of these persons took, by whatever office, or saw the paper of; and who.

        Who brought an earlier form of the request asked for it as well.
        """
        if not steps:
            return None
        who, asked = set(map(person, people)), self.earlier if self.flow.opening.id in steps else ()
        for taken in (*asked, *(taken for name, taken in self.done.items() if name in steps)):
            if both := who.intersection(map(person, taken.people)):
                return taken, min(both)
        return None

    def against(self, step: Rule, new: Taken, documents: Collection[str], waived: frozenset[str],
                person: Person) -> list[Against]:
        """What stands against taking a step now."""
        found: list[Against] = []
        if missing := self._missing(step, waived):
            sent_back = f" since it was returned: {self.returned.reason} ({self.returned})" if self.returned else ""
            found.append((f"{missing} is not done{sent_back}", f"it is taken by {' or '.join(missing.actors)} first"))
        if step.gate in waived and self.installed:
            found.append((f"{step} was replaced by an emergency", "report that: `sop emergency report`"))
        elif (done := self.done.get(step.id)) and (self.installed or step.gives):
            anew = "" if self.installed else f"; to take it again, first `sop void {done.request} {done.number}`"
            found.append((f"{step} is done ({done})", f"go on with the next step, `sop status` names it{anew}"))
        if both := self.taken_by(new.people, step.apart, person):
            other, _ = both
            found.append((f"{other.step} was taken by {other.by} ({other}), and nobody takes both it and {step}",
                          "let another person do it"))
        found += self.alone(step, new, documents)
        return found

    def alone(self, step: Rule, new: Taken, documents: Collection[str]) -> list[Against]:
        """What stands against it whatever was done before: who takes it, how, with what."""
        found: list[Against] = []
        if new.role not in step.actors:
            who = " or ".join(step.actors)
            found.append((f"{new.actor} is {new.role}; {step} is taken by {who}", f"let {who} do it"))
        if new.level not in step.signed:
            found.append((f"{step} is signed by {new.level}, and takes {' or '.join(step.signed)}", "sign it so"))
        if new.level == "ink" and not documents:
            found.append((f"{step} is signed on paper, and no scan of it is brought",
                          f"give it: --evidence {min(step.evidence, default='scan')}=FILE"))
        if step.outcomes or new.outcome:
            found += self._outcome(step, new)
        if not step.evidence.issubset(documents):
            lacking = sorted(step.evidence.difference(documents))
            found.append((f"{step} lacks {', '.join(lacking)}", " ".join(f"--evidence {n}=FILE" for n in lacking)))
        return found

    def _outcome(self, step: Rule, new: Taken) -> Iterator[Against]:
        if not step.outcomes:
            yield f"{step} has no outcomes, {new.outcome} was given", "leave --outcome out"
        elif (branch := step.outcomes.get(new.outcome or "")) is None:
            yield f"{step} has no outcome {new.outcome}", f"give --outcome {'|'.join(step.outcomes)}"
        else:
            if branch["needs_reason"] and not new.reason:
                yield f"{step} needs a reason for {new.outcome!r}", "give --reason TEXT"
            if branch["kind"] and branch["kind"] != self.branch:
                kind, name = branch["kind"], self.opened.request if self.opened else "REQ"
                yield (f"the outcome {new.outcome} asks for a request of kind {kind}, this one is {self.form['kind']}",
                       f"correct it to `kind: {kind}` and `sop submit … --replace {name}`")

    @property
    def agenda(self) -> str | None:
        """The letter's number in the agenda book."""
        return next((taken.agenda for taken in self.done.values() if taken.agenda is not None), None)

    @property
    def branch(self) -> str:
        """The SOP's branch that it takes: what changes a website that is there is an update."""
        return "create" if self.form["kind"] == "create" else "update"

    def closed(self, waived: frozenset[str], person: Person, existing: Existing | None = None,
               erased: Container[str] = ()) -> Iterator[tuple[Rule, str]]:
        """The gates before an installation that the entries themselves keep closed, each with what is missing."""
        for step in self.flow.installation.before:
            if not step.gate or step.gate in waived:
                continue
            if (taken := self.done.get(step.id)) is None:
                yield step, f"{step} is not done for the request as it is now"
            elif both := self.taken_by(taken.people, step.apart, person):
                other, who = both
                yield step, f"{step} and {other.step} were both taken by {who} ({taken}, {other})"
            elif gone := [name for name in step.evidence if taken.evidence.get(name) in erased]:
                yield step, f"{', '.join(sorted(gone))} of {step} was erased"
            elif found := self.asked(step, existing):
                yield step, found[0]

    def asked(self, step: Rule, existing: Existing | None) -> Against | None:
        """What is against a step that was taken, where its gate looks at what came of it."""
        taken = self.done[step.id]
        if step.gate == "agenda number" and self.agenda is None:
            return "the letter has no agenda number", "the agenda step of the SOP's data file must say `gives: agenda`"
        if step.gate == "approval" and (taken.outcome != "yes" or not self.opened
                                        or taken.digest != self.opened.digest):
            return f"{step} ended with {taken.outcome} ({taken})", "decide on the request as it is now"
        if step.gate == "existence check":
            branch = step.outcomes.get(taken.outcome or "")
            if branch is None or branch["kind"] != self.branch:
                return (f"the existence check says {taken.outcome}, the request says {self.form['kind']}",
                        f"record {step.id} again, or correct the request")
            return existing.against(self.form) if existing else None
        return None

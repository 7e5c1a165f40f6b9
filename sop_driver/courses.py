"""Every request's course held against the SOP that it began under: what an unchanged driver would not have taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple

from sop_driver.agencies import anothers, not_its_website, not_its_zone, of_another
from sop_driver.directory import Directory
from sop_driver.flow import STATES, Existing, Flow, Fold, Person, Rule
from sop_driver.statement import FREEZE, OF_STEP, Body
from sop_driver.taken import Taken

OTHER_FORM = "it is about another form of {} than the one that stands"
A_DAY = timedelta(hours=14)  # by which the agency's clock may be another day's than the entry's
Order = Callable[[str], Body | None]  # an SOP's order by its sha256, where its entry does not tell it


def nowhere(sop: str) -> Body | None:
    """Where nothing but the entries themselves tells an SOP's order."""
    return None


def _person(people: Directory) -> Person:
    """Whose an id is as it was known then; the first drivers went by what was known when each step was taken."""
    return people.person if "persons" in people.told else str


class Alarm(NamedTuple):
    """An emergency whose report is not there."""

    words: str  # for people
    due: str
    until: str
    request: str


@dataclass
class Courses:
    """What became of the requests so far. What it yields is what is against an entry.

    `partial` where only some requests' entries are read: what depends on all others is left out.
    """

    given: Order = nowhere
    partial: bool = False
    told: set[str] = field(default_factory=set)  # SOPs whose entries tell their order
    flows: dict[str, Flow | None] = field(default_factory=dict)
    folds: dict[str, Fold] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)  # requests whose SOP's order is known nowhere → that SOP
    requests: dict[str, int] = field(default_factory=dict)  # year → the last number
    agenda: dict[int, int] = field(default_factory=dict)  # the same of letters
    numbers: set[str] = field(default_factory=set)
    existing: Existing = field(default_factory=lambda: Existing({}, {}))
    opened: dict[str, Body] = field(default_factory=dict)  # request → the entry that brought it, as it is now
    declared: dict[str, Body] = field(default_factory=dict)  # request → the emergency last declared for it
    alarms: dict[int, Alarm] = field(default_factory=dict)  # by the entry that declared it
    uids: dict[int, str] = field(default_factory=dict)  # uid → the website that a run, applied or not, gave it
    addresses: dict[str, str] = field(default_factory=dict)  # an address of its own → the website that has it
    started: dict[str, list[Body]] = field(default_factory=dict)  # the run under way → its requests and their places
    begun: dict[str, Body] = field(default_factory=dict)  # run → its first entry
    unsigned: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (run, request, digest) → applied by

    def step(self, body: Body, taken: Taken, people: Directory) -> Iterable[str]:
        """Take a step. Gives what was against it."""
        if taken.outcome is not None and people.refuses(taken):
            self.declared.pop(taken.request, None)
        found, data, ran = list[str](), body["data"], False
        if "agenda" in data:
            found += self._numbered(body, data["agenda"])
        if data.get("replaces", "") is None and not self.partial:
            found += self._called(taken.request)
        if "run" in data:
            ran = self.unsigned.pop((data["run"], taken.request, taken.digest), None) is not None
            found += self._brought_by(taken, self.begun.get(data["run"]))
        flow = self.flows.get(taken.sop) or self._flow(taken)
        if flow is None or taken.request in self.unread:  # its SOP's order may have been told since
            return found
        fold, step = self.folds.get(taken.request), flow.steps.get(taken.step)
        if "run" in data and step is not flow.installation:
            found.append(f"{taken.step} is said to have installed what {flow.installation.id} installs")
        elif step is flow.installation and not ran and not self.partial:
            found.append(f"{taken.request}: no run brought it onto the servers, as {step} says")
        if step is None or (step is flow.opening) != ("replaces" in data):
            return [*found, f"{taken.request}: the SOP has no step {taken.step} that is taken so"]
        if step is flow.opening:
            if fold is None:
                fold = self.folds[taken.request] = Fold(flow)
            found += self._brought(fold, body, taken, people)
        elif fold is None or fold.opened is None:
            return [*found, f"{taken.request} has no entry that brought it"]
        else:
            if taken.digest != fold.opened.digest or taken.letter != fold.opened.letter:
                found.append(OTHER_FORM.format(taken.request))
            found += [f"{taken.request}: {what}" for what, _ in fold.against(
                step, taken, body["evidence"], fold.waived_for(step, body["time"]), _person(people))]
            if other := of_another(people, flow.opening, taken, fold.opened):
                found.append(other[0])
        if taken.level == "pades":
            found += self._misled(taken.request, step, fold.agenda or "-", data["pades"]["shown"])
            found += self._carried(taken, data["pades"]["document"], people)
        if bool(step.gives) != ("agenda" in data):
            found.append(f"{taken.request}: {step} {'gave no' if step.gives else 'gives no'} agenda number")
        fold.take(body, taken)
        if "askers" not in people.told:
            fold.earlier.clear()
        return found

    def adopt(self, told: Body) -> None:
        """Take an SOP's order from the entry that adopts it. Raises what Flow does."""
        if "order" in told:
            self.flows[told["sop"]] = Flow(told["order"])
            self.told.add(told["sop"])

    def _flow(self, taken: Taken) -> Flow | None:
        if taken.sop not in self.flows:
            order = self.given(taken.sop)
            self.flows[taken.sop] = Flow(order) if order else None
        if (flow := self.flows[taken.sop]) is None:
            self.unread[taken.request] = taken.sop
        return flow

    def _brought(self, fold: Fold, body: Body, new: Taken, people: Directory) -> Iterator[str]:
        before, replaces, form = fold.opened, body["data"]["replaces"], fold.form
        if (replaces is None) != (before is None) or replaces not in (None, new.request):
            yield f"{new.request} is brought as a {'new' if replaces is None else 'corrected'} request, and is none"
        elif before and fold.installed:
            yield f"{new.request} is already installed"
        elif before and new.sop in self.told and (  # the first drivers did not ask that
                fault := anothers(people, new.request, before, new.actor, before.actor, before.person)):
            yield fault
        fold.form = body["data"]["request"]
        for what, _ in fold.alone(fold.flow.opening, new, body["evidence"].keys()):
            yield f"{new.request}: {what}"
        fold.form = form
        for name in fold.flow.opening.evidence:
            if body["evidence"].get(name, new.letter) != new.letter:
                yield f"{new.request}: the letter that is approved, {new.letter}, is not its {name}"

    @staticmethod
    def _misled(request: str, step: Rule, agenda: str, shown: Body) -> Iterator[str]:
        """What the sheet of a PDF told its signer of the step, beside the request."""
        for label, text in zip(OF_STEP, (f"{step.number}. {step.activity}", agenda), strict=True):
            if shown.get(label) != text:
                yield f"{request}: its signer was shown {label}: {shown.get(label)!r}, and it is {text!r}"

    @staticmethod
    def _carried(taken: Taken, document: str, people: Directory) -> Iterator[str]:
        """The sheet that is signed stands for no other document that the step brings."""
        carriers = people.sops.get(taken.sop, {}).get("carriers")
        if carriers is not None and carriers.get(taken.step) != document:
            yield (f"{taken.request}: the signature of {taken.step} is carried by {document}, not by "
                   f"{carriers.get(taken.step, 'any document')}")

    @staticmethod
    def _brought_by(taken: Taken, begun: Body | None) -> Iterator[str]:
        """Nobody signs a run's beginning: it names who signed the installation of the first of its requests."""
        if begun and taken.request == begun["data"]["requests"][0] and (
                (begun["actor"], begun["role"]) != (taken.actor, taken.role)):
            yield f"{begun['data']['run']} names {begun['actor']} as who began it, and {taken.actor} signed for that"

    def _called(self, request: str) -> Iterator[str]:
        """Nobody signs a new request's id: it is its year's next, or the one after it could be another's."""
        year = request[2:6]
        self.requests[year] = number = self.requests.get(year, 0) + 1
        if request != (due := f"R-{year}-{number:04d}"):
            yield f"it is called {request}, and the next one is {due}"

    def _numbered(self, body: Body, agenda: Body) -> Iterator[str]:
        """Agenda numbers are given by the register, without a gap in each year; nobody signs for them."""
        year, number, text = agenda["year"], agenda["number"], agenda["text"]
        if {type(year), type(number)} != {int} or len(agenda) > 3 or not (
                text.isprintable() and str(number) in text and str(year) in text):
            yield f"its agenda number {text!r} is not the one that is numbered {number!r} of {year!r}"
        if str(year) != body["time"][:4]:
            when = datetime.fromisoformat(body["time"])
            if year not in ((when - A_DAY).year, (when + A_DAY).year):
                yield f"its agenda number {text} is one of {year}"
        if self.partial:
            return
        if number != (due := self.agenda.get(year, 0) + 1):
            yield f"its agenda number is {number} of {year}, and the next one is {due}"
        if text in self.numbers:
            yield f"the agenda number {text} was given before"
        self.agenda[year] = max(number, due - 1)
        self.numbers.add(text)

    def askers(self, request: str) -> list[str]:
        """As a request's fold tells them; who brought it last where its SOP's order is known nowhere."""
        fold = self.folds.get(request)
        return fold.askers if fold else [self.opened[request]["data"]["person"]]

    def emergency(self, body: Body, people: Directory) -> Iterator[str]:
        """Take an emergency, or the report on one: that is of what was done, and ends the alarm."""
        number, request, data = body["sequence"], body["request"], body["data"]
        if body["outcome"] == "declared":
            late = [entry for entry, alarm in self.alarms.items() if body["time"] > alarm.due]
            if late and "stops" in people.told:
                yield f"it declares an emergency while the report on that of entry {late[0]} is late"
            self.declared[request] = body
            said = (f"EMERGENCY: entry {number} let {request} pass {', '.join(data['waives'])} until {data['until']}, "
                    f"and is not reported; the report is due by {data['report_by']}")
            self.alarms[number] = Alarm(said, str(data["report_by"]), str(data["until"]), request)
        elif (alarm := self.alarms.get(data["emergency"])) is None or alarm.request != request:
            yield f"it reports entry {data['emergency']}, no unreported emergency of this request"
        else:
            del self.alarms[data["emergency"]]
            fold = self.folds.get(request)
            if "reports" in people.told and body["time"] <= alarm.until and fold and not fold.installed:
                yield f"it reports entry {data['emergency']} while that is on, and nothing is installed"
        yield from self.order(body)

    def order(self, body: Body, void: Taken | None = None) -> Iterator[str]:
        """Take an emergency or a void into the request's course."""
        if (fold := self.folds.get(body["request"])) is None:
            return
        data, opened = body["data"], fold.opened
        if opened and (data["digest"], data["letter"]) != (opened.digest, opened.letter):
            yield OTHER_FORM.format(body["request"])
        if body["outcome"] == "declared" and fold.installed:
            yield f"{body['request']} is already installed"
        fold.take(body, void)

    def ran(self, body: Body, people: Directory) -> Iterator[str]:
        """What a run brings onto the servers counts for the desired state: in no freeze, each installation signed."""
        data, run = body["data"], body["data"]["run"]
        if body["outcome"] == "started":
            self.started, self.begun[run] = {run: data["allocations"]}, body  # nothing is asked of one before it again
            yield from self._started(run, data, body["time"], people)
            exempt = all(self._waives(row["request"], body["time"]) for row in data["allocations"])
            for window in () if exempt and data["allocations"] else people.frozen(body["time"]):
                yield f"{run} was started while entry {window.number} let nothing be changed until {window.until}"
        elif body["outcome"] != "applied":
            self.started.pop(run, None)  # the servers are as before it, or the next run puts them back
        elif run not in self.started:
            yield f"{run} was applied, and was not under way then: nobody asked whether its gates still stood open"
        else:
            for row in self.started.pop(run):
                self.unsigned[run, row["request"], row["digest"]] = body["sequence"]
                self._exists(row)

    def _started(self, run: str, data: Body, time: str, people: Directory) -> Iterator[str]:
        """Ask the gates once more, as they stood then."""
        names, addresses = dict[str, str](), dict[str, str]()
        if [row["request"] for row in data["allocations"]] != data["requests"]:
            yield f"{run} brings other requests onto the servers than those that it names"
        for row in data["allocations"]:
            request, opened = row["request"], self.opened.get(row["request"])
            if opened is None or row["digest"] != opened["data"]["digest"]:
                yield f"{run} installs another form of {request} than the one that stood"
                continue
            fold, form = self.folds.get(request), opened["data"]["request"]
            if fold and fold.installed:
                yield f"{run}: {request} is already installed"
            for step, what in fold.closed(fold.waived(time), _person(people), self.existing,
                                          people.erased) if fold else ():
                yield f"{run}: the gate {step.gate} of {request} was closed: {what}"
            there = None if form["kind"] == "create" else self.existing.rows.get(form["name"])
            if there and (other := not_its_website(people, form["name"], opened["actor"], there["owner"])):
                yield f"{run}: {other[0]}"
            if (zone := form.get("zone")) and "agencies" in people.told:
                owners = [row["owner"] for row in self.existing.rows.values() if row["zone"] == zone]
                owners += [each for each in map(self.opened.get, data["requests"])
                           if each and each["data"]["request"].get("zone") == zone]
                if other := not_its_zone(people, zone, opened["actor"], owners):
                    yield f"{run}: {other[0]}"
            yield from self._shared(run, form["name"], row, addresses)
            for name in (form["name"], *form.get("aliases", ())):
                if name in names:
                    yield f"{run}: {names[name]} and {request} both ask for {name}"
                names[name] = request

    def _shared(self, run: str, name: str, row: Body, addresses: dict[str, str]) -> Iterator[str]:
        """Two websites of one account read each other's files; of one address, one gets the other's visitors.

        A uid is never given twice, an address (`addresses` are this run's) where a run that gave it was applied.
        """
        if type(row["uid"]) is not int or str(ip_address(row["address"]["ipv4"])) != row["address"]["ipv4"]:
            yield f"{run}: {name} gets the uid {row['uid']!r} and the address {row['address']['ipv4']!r}"
        if (other := self.uids.setdefault(row["uid"], name)) != name:
            yield f"{run}: {name} gets the uid {row['uid']}, which is that of {other}"
        if row["address"]["own"]:
            value = row["address"]["ipv4"]
            if (other := self.addresses.get(value) or addresses.setdefault(value, name)) != name:
                yield f"{run}: {name} gets the address {value}, which is that of {other}"

    def _waives(self, request: str, time: str) -> bool:
        """Whether an emergency lets a request pass the calendar."""
        if request not in self.declared:
            return False
        data, now = self.declared[request]["data"], self.opened[request]["data"]
        return FREEZE in data["waives"] and time <= data["until"] and data["digest"] == now["digest"]

    def _exists(self, row: Body) -> None:
        """What was brought onto the servers exists from then on."""
        if (opened := self.opened.get(row["request"])) is None:
            return
        form, (rows, holders) = opened["data"]["request"], self.existing
        name, old = form["name"], rows.get(form["name"], {})
        state = STATES.get(form["kind"], old.get("state", "present"))
        aliases = old.get("aliases", []) if form["kind"] in STATES else form.get("aliases", [])
        for gone in old.get("aliases", []):
            holders.pop(gone, None)
        zone = old.get("zone") if form["kind"] in STATES else form.get("zone")
        rows[name] = {"web_host": row["web_host"], "agenda": row["agenda"], "state": state, "aliases": aliases,
                      "zone": zone, "owner": opened}
        holders.update(dict.fromkeys((name, *aliases), name))
        if row["address"]["own"]:
            self.addresses.setdefault(row["address"]["ipv4"], name)

    def left(self) -> list[str]:
        """What was not checked, since nothing here tells by what."""
        by_sop: dict[str, list[str]] = {}
        for request, digest in self.unread.items():
            by_sop.setdefault(digest, []).append(request)
        return [f"NOT checked here, as no entry tells the order of the SOP {str(digest)[:12]}…: whether the steps of "
                f"{', '.join(requests)} were taken in order" for digest, requests in by_sop.items()]

"""One run on the fleet: gates, plan, apply, probe; and back to the state before where anything fails."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from sop_driver import desired, gates, lease, records, steps, trust
from sop_driver import plan as plans
from sop_driver.config import FleetFacts
from sop_driver.desired import Website
from sop_driver.errors import Failed, Interrupted, Recorded, Refusal, Refused, Uncertain, after, begun, refuse
from sop_driver.fleet import FleetResult, Plays
from sop_driver.flow import Existing
from sop_driver.job import Job, died, prepare, selected, wanted
from sop_driver.plan import Plan
from sop_driver.records import Outcome
from sop_driver.signatures import Sign
from sop_driver.standing import Office, Standing, stamp, stand, worded

WEBSITES, REVERSE, PROBE, BACKUP = "websites.yml", "reverse.yml", "probe.yml", "backup.yml"
LAYERS = ("addresses.yml", "databases.yml", "web.yml", "records.yml")  # what websites.yml plays, in its order


class Trouble(Exception):
    """Something failed after the run began; the servers have to be put back."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{where}: {what}")
        self.what = what
        self.where = where


def closed_gates(office: Office, requests: list[str]) -> tuple[list[Standing], list[Refusal]]:
    standings = [stand(office, request) for request in dict.fromkeys(requests)]
    websites = desired.fold(office.register)
    existing = Existing.of(websites)
    windows = _frozen(office, stamp(office.register.now()))
    people = office.people()
    return standings, [*gates.check(
        gates.Case(now, office.evidence, existing, people.person, windows, people.erased, office.since)
        for now in standings), *_of_others(office, standings, websites)]


def _of_others(office: Office, standings: Sequence[Standing], websites: dict[str, Website]) -> list[Refusal]:
    return [refusal for now in standings
            for refusal in steps.of_others(office, now.request, now.opened.actor or "", websites, standings)]


def _frozen(office: Office, time: str) -> tuple[gates.Frozen, ...]:
    return tuple(gates.Frozen(window.number, worded(office, window)) for window in office.people().frozen(time))


def cleared(office: Office, requests: list[str]) -> list[Standing]:
    """Raises Refused with all closed gates."""
    standings, refusals = closed_gates(office, requests)
    if refusals:
        raise Refused(refusals)
    return standings


def show(office: Office, fleet: Plays, facts: FleetFacts, requests: list[str]) -> tuple[Plan, list[Refusal]]:
    """What a run of these requests would change, and every gate that is closed. Changes nothing."""
    standings, refusals = closed_gates(office, requests)
    refusals[:0] = trust.refusals(office, requests)
    if unfinished := office.register.open_run():
        refusals.append(Refusal(f"{unfinished.data['run']} has no known end ({unfinished})", "one run at a time",
                                "the next `sop run` puts the servers back first"))
    with tempfile.TemporaryDirectory(prefix="plan-", dir=office.home.runs) as folder:
        try:
            job = prepare(office, facts, standings, "plan", Path(folder))
        except Refused as error:
            raise Refused([*refusals, *error.refusals]) from error
        try:
            plan = _checked(fleet, job)
        except Failed as error:
            if not refusals or isinstance(error, Interrupted):
                raise
            raise Refused([*refusals, Refusal(error.what, "the servers", error.mend)]) from error
    return plan, [*refusals, *plan.refusals(job.names, office.config.inventory, job.target)]


def _checked(fleet: Plays, job: Job) -> Plan:
    result = fleet.play(WEBSITES, job.target_file, check=True)
    if result.canceled and not result.lost:
        raise Interrupted("it was interrupted", "plan; nothing was changed", "run again")
    if not result.ok:
        raise Failed(f"the servers could not be looked at: {result.trouble}", "plan; nothing was changed",
                     "mend what it names (is the server up, is its host key known?), then run again")
    job.keep("plan", result)
    return plans.from_result(result)


def run(office: Office, fleet: Plays, facts: FleetFacts, requests: list[str], sign: Sign,
        actor: str | None = None) -> Outcome:
    """Bring the approved requests onto the servers. Raises Refused, or Failed once the servers are as before.

    Where these are what the last run applied, and it died before its records were made, they are made now.
    """
    trust.require(office, requests)
    try:
        cleared(office, requests)
    except Refused:  # whatever it is, it never stops what ends a dead run
        if not (office.register.open_run() or records.missing(office)):
            raise
    with lease.turn(office.home, office.register, fleet.mark) as fleet.lost:
        late = reconcile(office, fleet)
        if late and set(late.requests) == set(requests):
            return late
        standings = cleared(office, requests)  # while it waited or put back, the register may have moved
        actors = office.people().last
        orders = [_order(office, now, actor, sign) for now in standings]
        with office.register.writing():  # no driver that was taken over writes what the next one is to play
            run_id = lease.next_run(office.register)
            job = prepare(office, facts, standings, run_id, office.home.runs / run_id)
        plan = _checked(fleet, job)
        if refusals := plan.refusals(job.names, office.config.inventory, job.target):
            raise Refused(refusals)
        _begin(office, facts, job, orders, actors)
        try:
            outcome = _apply(office, fleet, job, plan)
            _close(office, job, orders, outcome)
        except Trouble as error:
            put_back(office, fleet, job.run, job.names, job.previous_file, f"{error}{job.not_undone}")
            kind = Interrupted if fleet.stopped.is_set() else Failed
            raise kind(f"{error.what} (the servers were put back as they were{job.not_undone})", error.where,
                       "mend what it names, then `sop run` again; the approvals still hold") from error
        except Exception as error:
            if _stands(office, job.run, error):
                raise
            put_back(office, fleet, job.run, job.names, job.previous_file, f"{type(error).__name__}: {error}")
            with after(f"{job.run} failed, and the servers were put back as they were{job.not_undone}", "", job.run):
                raise
        with after(f"{job.run} is applied", ", and its records were not made", job.run):
            _written(office, job.target)
            _record(office, fleet, job.folder, outcome)
    return outcome


def _begin(office: Office, facts: FleetFacts, job: Job, orders: list[dict[str, Any]], actors: str | None) -> None:
    """The run begins, where what is to be installed is what was verified, by who may still install it. Raises Refused.

    `actors` is the last entry on actors from before the orders were signed.
    """
    with begun(job.run), office.register.writing():
        trust.unchanged(office)
        people, now = office.people(), stamp(office.register.now())
        for order in orders:
            steps.still(office, order)
            if people.last != actors or people.fault(order["actor"], now):
                trust.accept(office, office.register.next_entry("step", **order))
        again = wanted(office, facts, [stand(office, now.id) for now in job.standings], job.run, job.folder)
        bound = all(order["data"].items() >= steps.binding(now).items()
                    for order, now in zip(orders, again.standings, strict=True))
        if not bound or (again.allocations, again.before, again.target) != (job.allocations, job.before, job.target):
            refuse(f"{job.run}: the register says otherwise now than when the plan was made", "the register",
                   "see `sop history REQ` and `sop register verify` for who changed it, then `sop run` again")
        started = office.register.append(
            "run", actor=orders[0]["actor"], role=orders[0]["role"], outcome="started",
            data={"run": job.run, "requests": [now.id for now in job.standings], "allocations": job.allocations,
                  "desired": desired.fingerprint(job.target)})
        windows = _frozen(office, started.time)  # one may have begun while the plan was made
        closed = _of_others(office, again.standings, again.before)  # another agency may have got an id meanwhile
        closed += [refusal for now in job.standings
                   for refusal in gates.lapsed(stand(office, now.id, started.when), people, windows)]
        if closed:
            raise Refused(closed)


def _written(office: Office, websites: dict[str, Website]) -> None:
    """The desired state's file, unless another driver has taken over."""
    with office.register.writing():
        desired.write(office.home.desired, office.register, websites)


def _order(office: Office, now: Standing, actor: str | None, sign: Sign) -> dict[str, Any]:
    """The installation's entry, signed before anything is done by who installs: the one given, else the last step's."""
    step = now.procedure.installation
    who = actor or list(now.done.values())[-1].actor or ""
    if (role := office.actor(who).role) not in step.actors:
        refuse(f"{who} is {role}; {step} is taken by {' or '.join(step.actors)}", step.id, "give --as one of them")
    fields = steps.draft(office, who, step, now.id, None, **steps.binding(now))
    if both := now.taken_apart(fields["data"], step, office.people().person):
        other, _ = both
        refuse(f"{who} took {other.step} ({other}), and nobody takes both it and {step}", step.id, "give --as another")
    fields["evidence"] = {"release": now.request.release.sha256} if now.request.release else {}
    fields["signatures"] = steps.signed(office, fields, sign) or []
    trust.accept(office, office.register.next_entry("step", **fields))
    return fields


def _apply(office: Office, fleet: Plays, job: Job, plan: Plan) -> Outcome:
    """Backup where it updates, converge, probe. Raises Trouble with host and task of the first thing that failed."""
    if job.updates:
        previous = desired.write(job.folder / "desired-before.json", office.register, job.before)
        backup = _well(job, "backup-before", fleet.play(BACKUP, previous, selection=selected(job.folder, job.updates)))
        job.saved = backup.of_website("snapshots")
    applied = _well(job, "websites", fleet.play(WEBSITES, job.target_file, selection=selected(job.folder, job.names)))
    refused = applied.refused
    if mine := [why for name, why in refused.items() if name in job.names]:
        raise Trouble("; ".join(mine), f"{job.run}, {WEBSITES}")
    probed = _well(job, "probe", fleet.play(PROBE, job.target_file, selection=selected(job.folder, job.names)))
    if unseen := set(job.names) - set(probed.of_website("probes")):
        raise Trouble(f"nobody looked at {', '.join(sorted(unseen))}", f"{job.run}, probe as a visitor")
    built = applied.of_website("as_built")
    return Outcome(job.run, [now.id for now in job.standings], [job.target[name] for name in job.names], plan.changes,
                   {name: built.get(name, {}) for name in job.names}, probed.of_website("probes"), left=refused)


def _well(job: Job, name: str, result: FleetResult) -> FleetResult:
    job.keep(name, result)
    if not result.ok or result.told:
        raise Trouble("; ".join(result.told) or result.trouble, f"{job.run}, {result.playbook}")
    return result


def put_back(office: Office, fleet: Plays, run_id: str, names: Collection[str], previous: Path, reason: str,
             outcome: str = "rolled_back") -> None:
    """Converge to the state before a run, and record that and what it took. `names` are the websites of the run.

    What the run made goes in reverse, its names first; a website that was there needs its database before it serves.
    All of it goes at once, and layer by layer where that fails. Raises Failed where even that fails: the run's end is
    then `unknown`, and the next run begins with it. Another website that a layer leaves as it is has nothing to do
    with this run.
    """
    rows = desired.read(previous) or {}  # not of the register, whose database may be what failed
    made = all(row["state"] == "purged" for name, row in rows.items() if name in names)
    whole, layers = (REVERSE, LAYERS[::-1]) if made else (WEBSITES, LAYERS)
    changes: list[dict[str, Any]] = []
    left = (_left_over(fleet, [whole], previous, names, changes)
            and _left_over(fleet, layers, previous, names, changes))
    trouble = "; ".join(left)
    told = (f"{reason}; and putting the servers back failed too: {trouble}" if trouble
            else f"{reason}; the servers were put back as they were")
    with after(told, ", and that is not recorded", run_id):
        office.register.append(
            "run", outcome="unknown" if trouble else outcome, data={"run": run_id, "put_back": plans.named(changes)},
            reason=f"{reason}; then putting back failed: {trouble}" if trouble else reason)
    if trouble:
        raise Failed(told, f"{run_id}, its state on the servers is UNKNOWN",
                     "mend the servers named; the next `sop run` puts them back before anything else")


def _left_over(fleet: Plays, playbooks: Iterable[str], previous: Path, names: Collection[str],
               changes: list[dict[str, Any]]) -> list[str]:
    """Play each of these, whatever becomes of the others; what could not be put back. Adds what they changed."""
    fleet.end_leftovers()
    found: list[str] = []
    for playbook in playbooks:
        result = fleet.play(playbook, previous, stoppable=False)  # half put back would be worse than waiting
        changes += result.gather("changes")
        found += [] if result.ok else [result.trouble]
        found += [result.refused[name] for name in names if name in result.refused]
    return found


def reconcile(office: Office, fleet: Plays) -> Outcome | None:
    """End a run that never ended (a crash, a power cut): converge back to what the register knows as applied.

    Of one that died when it was applied, the snapshot and the records are made; gives what it brought about.
    """
    with office.register.writing():
        trust.unchanged(office)
        before, started = desired.fold(office.register), office.register.open_run()
        mine = {row["name"]: row for row in desired.rows(office.register, started, before)} if started else {}
    if started:
        job = died(office, started.data["run"], before, mine)
        put_back(office, fleet, job.run, mine, job.previous_file,
                 f"the run had no end; the servers were put back by the next one{job.not_undone}", "interrupted")
        fleet.say(f"{job.run} had no end: the servers were put back as they were before it{job.not_undone}")
    if desired.read(office.home.desired) != before:  # it died between the register's word and this file
        _written(office, before)
    if late := records.missing(office):
        fleet.end_leftovers()
        _record(office, fleet, office.home.runs / late.run, late,
                f"the run died before its records; made by the next{late.unread}")
        fleet.say(f"{late.run} had died before its records: they were made{late.unread}")
    return late


def _close(office: Office, job: Job, orders: list[dict[str, Any]], outcome: Outcome) -> None:
    """The run and its requests' installation are done, in one stroke; and what it put right of other websites. Raises
    Trouble where the register does not take that."""
    data: dict[str, Any] = {"run": job.run, "desired": desired.fingerprint(job.target)}
    if other := plans.own_doing(outcome.changes, {*job.names, *outcome.left}):
        data["put_right"] = plans.named(other)
    try:
        with office.register.writing():
            office.register.append("run", outcome="applied", data=data)
            for order in orders:
                entry = office.register.append("step", **order | {"data": {**order["data"], "run": job.run}})
                trust.accept(office, entry)
    except Refused as error:
        raise Trouble(error.what, f"{job.run}, its word in the register") from error


def _stands(office: Office, run_id: str, error: Exception) -> bool:
    """Whether a run is recorded as applied though an error ended it. Raises Failed where the database does not say:
    the next call finds out, and puts back what is not."""
    if not isinstance(error, Uncertain):
        return isinstance(error, Recorded)
    office.register.store.rollback()
    return next(entry.outcome for entry in office.register.latest_first("run")
                if entry.data["run"] == run_id) == "applied"


def _record(office: Office, fleet: Plays, folder: Path, outcome: Outcome, reason: str | None = None) -> None:
    """Back the new state up, and keep the records. The websites serve already, so that a failure is told and recorded,
    not rolled back."""
    names = [row["name"] for row in outcome.websites]
    result = fleet.play(BACKUP, office.home.desired, selection=selected(folder, names))
    records.keep_result(folder, "backup", result)
    outcome.snapshots = result.of_website("snapshots")
    if not result.ok or result.told:
        outcome.backup_fault = "; ".join(result.told) or result.trouble
    elif missing := set(names) - set(outcome.snapshots):
        outcome.backup_fault = f"no snapshot of {', '.join(sorted(missing))} was reported"
    outcome.records = records.keep(office, outcome, reason)

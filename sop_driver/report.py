"""What people read: where requests stand, what was done, and the report of steps 10 and 11."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sop_driver import desired, emergency, pades, trust
from sop_driver import plan as plans
from sop_driver.agencies import asker
from sop_driver.directory import Directory
from sop_driver.errors import SopError
from sop_driver.procedure import STRONG
from sop_driver.proof import fingerprint, visible
from sop_driver.register import Entry
from sop_driver.request import Contact, Request
from sop_driver.standing import Office, Standing, all_standings, entries_of, local, stamp, stand, unreported, worded
from sop_driver.statement import level
from sop_driver.tenure import Actor

PUT = {"put_back": "putting back took", "put_right": "put right what other websites' own accounts can have done"}


def statuses(office: Office, standings: Iterable[Standing]) -> list[dict[str, Any]]:
    """Where requests stand, in the same order."""
    people = office.people()
    return [status(office, now, people) for now in standings]


def status(office: Office, now: Standing, people: Directory | None = None) -> dict[str, Any]:
    """Where one request stands: who asked, done steps, the next one, who takes it, with what, by when."""
    step, late = now.next, now.late(office.register.now())
    return {
        "request": now.id, "website": now.request.name, "kind": now.request.kind, "agency": now.request.agency,
        "asked_by": asker(people or office.people(), now.opened.actor or ""),
        "agenda": now.agenda, "digest": now.digest,
        "state": "done" if step is None else "returned" if now.returned else "open",
        "returned": now.returned.reason if now.returned else None,
        "done": list(now.done), "waived": sorted(now.waived),
        "emergencies": [{"entry": each.sequence, "reason": each.reason, **{
            name: each.data[name] for name in ("waives", "until", "report_by")}} for each in now.unreported],
        "voided": [{"entry": number, "step": void.step, "by": void.actor, "reason": void.reason, "void": void.sequence,
                    "installed": any(e.sequence == number for e in now.done.values())}
                   for number, void in now.voided.items()],
        "next": None if step is None else {
            "step": step.id, "number": step.number, "activity": step.activity, "by": list(step.actors),
            "documents": sorted(step.evidence), "outcomes": list(step.outcomes), "time": str(step.time),
            "late": int(late.total_seconds()) if late else 0,
        },
    }


def status_lines(value: dict[str, Any]) -> list[str]:
    """A standing for reading."""
    of = f"{value['agency']}, asked by {value['asked_by']}, agenda {value['agenda'] or '-'}"
    lines = [f"{value['request']}  {value['kind']} {value['website']}  ({of})", f"  done: {', '.join(value['done'])}"]
    if value["waived"]:
        lines.append(f"  replaced by an EMERGENCY: {', '.join(value['waived'])}")
    for void in value["voided"]:
        still = "; it was installed before, and is on the servers" if void["installed"] else ""
        lines.append(f"  voided: {void['step']} (entry {void['entry']}) by {void['by']}: {void['reason']} "
                     f"(entry {void['void']}){still}")
    if value["returned"]:
        lines.append(f"  returned: {value['returned']}")
    step = value["next"]
    if step is None:
        return [*lines, "  the work is finished (pekerjaan selesai)"]
    lines.append(f"  next: {step['number']}. {step['step']} - {step['activity']}")
    wants = ", ".join(step["documents"]) or "no document"
    late = f", LATE by {timedelta(seconds=step['late'])}" if step["late"] else ""
    return [*lines, f"        by {' or '.join(step['by'])}; brings {wants}; standard time {step['time']}{late}"]


def plan_lines(office: Office, requests: list[str], shown: plans.Plan) -> list[str]:
    """What a run of these requests would change, and who asked for it."""
    values = statuses(office, [stand(office, request) for request in requests])
    return [*(status_lines(value)[0] for value in values), *(plans.lines(shown.changes) or ["nothing would change"]),
            *shown.others(value["website"] for value in values)]


def calendar(office: Office) -> list[str]:
    """What is closed on the servers now, or will be."""
    now = stamp(office.register.now())
    return [f"{'FREEZE' if window.start <= now else 'freeze to come'}: {worded(office, window)}"
            for window in office.people().windows.values() if not window.over(now)]


def history(office: Office, request: str) -> list[Entry]:
    """Every entry that concerns a request: its steps, the runs it was part of, and the records of these."""
    entries_of(office, request)
    runs = {e.data["run"] for e in office.register.entries(kind="run") if request in e.data.get("requests", [])}
    return [e for e in office.register.entries() if e.request == request or request in e.data.get("requests", [])
            or (e.kind == "run" and e.data["run"] in runs)]


def entry_lines(office: Office, entries: Iterable[Entry]) -> list[str]:
    """One line an entry."""
    found = list[str]()
    for entry in entries:
        with office.register.using(entry.sequence):
            found.append(entry_line(office, entry))
    return found


def entry_line(office: Office, entry: Entry) -> str:
    named = ", ".join([*entry.data.get("actors", ()), *entry.data.get("retired", ())])
    what = entry.step or entry.data.get("subject") or entry.data.get("run") or named
    said = f" {entry.outcome}" if entry.outcome else ""
    agenda = f" agenda {entry.data['agenda']['text']}" if "agenda" in entry.data else ""
    documents = f" [{', '.join(f'{n} {h[:12]}' for n, h in sorted(entry.evidence.items()))}]" if entry.evidence else ""
    reason = f" - {entry.reason}" if entry.reason else ""
    if entry.kind == "emergency":
        what = f"{', '.join(entry.data.get('waives', ()))} until {entry.data['until']}" if "until" in entry.data else \
            f"of entry {entry.data['emergency']}"
    if entry.kind == "void":
        what = f"{entry.step} of entry {entry.data['entry']}"
    who = f" by {_who(office, entry)}" if entry.actor else ""
    when = local(office, entry.when)
    return f"{entry.sequence:>5}  {when}  {entry.kind} {what}{said}{agenda}{who}{documents}{reason}{_put(entry)}"


def _put(entry: Entry) -> str:
    """What a run that was put back had left on which server, by what it took to be rid of it; or what one put right."""
    key = next((key for key in PUT if key in entry.data), None)
    if key is None:
        return ""
    found: dict[str, list[str]] = {}
    for change in entry.data[key]:
        of = f" of {change['website']}" if "website" in change else ""
        found.setdefault(change.get("host", "?"), []).append(f"{change['action']} {change['subject']}{of}")
    told = "; ".join(f"{host}: {', '.join(said)}" for host, said in found.items())
    return f" - {PUT[key]}: {told or 'nothing, the servers were as before'}"


def _who(office: Office, entry: Entry) -> str:
    """Who took a step, by which role, as what where they stood in for its holder then, and how they signed."""
    actor = office.people(entry.sequence).actors.get(entry.actor or "")
    stood_in = f", {actor.stands_in}" if actor and actor.stands_in else ""
    return f"{entry.actor} ({entry.role}{stood_in}{_way(office, entry)})"


def _way(office: Office, entry: Entry) -> str:
    """How a step is signed, where it is not by a key of the actor's own, and where that is weak by its SOP's data."""
    way = level(entry.data)
    said = {"ink": f", on paper seen by {entry.data.get('ink')}", "pades": ", signed within a PDF", "ssh": ""}[way]
    strong = STRONG
    with contextlib.suppress(SopError):  # for who only reads, of an SOP whose file is lost
        strong = office.procedure(str(entry.data.get("sop"))).levels
    return said if strong[way] == "strong" else f"{said or ', signed by a key'}: weak"


def websites(office: Office) -> list[str]:
    """One line a website of the desired state."""
    rows = desired.fold(office.register)
    return [f"{name}  {row['state']}  {row['web_host']}  {row['address']['ipv4']}  {row['runtime']}"
            f"{' ' + row['database']['engine'] if row['database'] else ''}  {row['agency']}  agenda {row['agenda']}"
            for name, row in sorted(rows.items())]


def report(office: Office, request: str) -> list[str]:
    """The report of a request (laporan pelaksanaan) as Markdown."""
    entries = history(office, request)
    if not (found := all_standings(office, request)):  # what brought it cannot be used
        return [f"# {_md(request)}", "", *(f"- {_md(line.strip())}" for line in entry_lines(office, entries)), "",
                *_register_lines(office)]
    now, = found
    form, asks = now.request, asker(office.people(), now.opened.actor or "")
    return [
        f"# {now.procedure.title}: {_md(form.name)}", "",
        f"SOP {now.procedure.id}, {now.procedure.agency}", "",
        f"- Request {now.id}, kind {form.kind}, agenda {now.agenda or '-'}",
        f"- Letter {_md(form.letter.number)} of {form.letter.date}",
        f"- Agency: {_md(form.agency)}, {_md(form.unit)}; asked by {_md(asks)}",
        *([f"- Title: {_md(form.title)}"] if form.title else []), f"- Purpose: {_md(form.purpose)}",
        f"- Contact: {_md(_contact(office, form))}",
        *([f"- Release: sha256 {form.release.sha256}"] if form.release else []), "",
        "## Steps", "", "| No | Step | Outcome | By | Time | Documents |", "|---|---|---|---|---|---|",
        *_step_rows(office, now, entries), "",
        *_emergency_lines(office, entries),
        *_record_lines(office, entries),
        *_register_lines(office),
    ]


def _contact(office: Office, form: Request) -> str:
    if isinstance(form.contact, Contact):
        return f"{form.contact.name}, {form.contact.email}"
    found = office.personal(form.contact)
    return f"{found['name']}, {found['email']}" if isinstance(found, dict) and {"name", "email"} <= found.keys() else (
        str(found))


def _step_rows(office: Office, now: Standing, entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        step = now.procedure.step(entry.step or "")
        if entry.kind == "step" and step is not None:
            documents = "<br>".join(f"{_md(name)} `{digest[:16]}…`" for name, digest in sorted(entry.evidence.items()))
            told = " - ".join(filter(None, (entry.outcome, entry.reason))) or "done"
            counts = "" if now.done.get(step.id) == entry else " (superseded)"
            if void := now.voided.get(entry.sequence):
                counts = f" (VOIDED by {_md(void.actor or '')}, entry {void.sequence}: {_md(void.reason or '')})"
            yield (f"| {step.number} | {_md(step.activity)} | {_md(told)}{counts} | {_md(_who(office, entry))} "
                   f"| {local(office, entry.when)} | {documents} |")


def _emergency_lines(office: Office, entries: list[Entry]) -> Iterator[str]:
    found = [entry for entry in entries if entry.kind == "emergency"]
    if found:
        yield from ("## EMERGENCY", "")
        for line in entry_lines(office, found):
            yield f"- {_md(line.strip())}"
        for late in unreported(found):
            yield f"- **{_md(emergency.alarm(office, late, office.register.now()))}**"
        yield ""


def _record_lines(office: Office, entries: list[Entry]) -> list[str]:
    """The latest record of each subject, as a nested list."""
    latest = dict[str, list[str]]()
    for entry in entries:
        with office.register.using(entry.sequence):
            if entry.kind == "record":
                told = [line for name, facts in sorted(entry.data["websites"].items())
                        for line in (f"- {_md(name)}", *_nested(facts, "  "))]
                subject = entry.data["subject"]
                latest[subject] = [f"## Record: {_md(subject)} ({_md(entry.data['run'])})", "", *told, ""]
    return [line for lines in latest.values() for line in lines]


def _register_lines(office: Office) -> list[str]:
    """The last checkpoint, so that the paper is a witness of the register: whoever keeps it can hold them together."""
    note, size = trust.moment(office)
    fault = trust.lacks(note, size)
    return ["## Register", "", *([f"WARNING: {_md(fault)}; see `sop register verify`", ""] if fault else []),
            "Checkpoint when this report was printed, and the key that signs it:", "", "```",
            *note.rstrip("\n").split("\n"), "", office.people().checkpoint_key, "```", ""]


def _nested(value: Any, indent: str) -> Iterator[str]:
    for key, item in sorted(value.items()):
        if isinstance(item, dict) and item:
            yield f"{indent}- {_md(str(key))}"
            yield from _nested(item, indent + "  ")
        else:
            yield f"{indent}- {_md(str(key))}: {_md(plans.short(item))}"


def _md(text: str) -> str:
    """A requester's or server's text as text of one line: no markup of Markdown or HTML in it takes effect."""
    return "".join(f"&#{ord(c)};" if c in "<>&" else f"\\{c}" if c in "\\`*_[]|#~" else c for c in visible(text))


def holder(subject: Any) -> str:
    """What certificates call somebody, for people; whatever else is sealed there as it is."""
    try:
        return pades.told(json.loads(subject))
    except (ValueError, TypeError, RecursionError):
        return str(subject)


def actors(office: Office) -> list[str]:
    """Everybody who acts or acted, with their keys and times."""
    people = office.people()
    told = [f"{name}  {_actor(office, actor)}  since {_moment(office, people.since[name])}{_until(office, actor)}"
            for name, actor in people.actors.items()]
    told += [f"{name}  {_actor(office, actor)}  {_moment(office, since)} to {_moment(office, until)}, retired"
             for name, actor, since, until in people.closed]
    return told + [f"PDF signatures rest on {pades.named(root)}, sha256 {name}" for name, root in people.roots.items()]


def _until(office: Office, actor: Actor) -> str:
    if actor.until is None:
        return ""
    over = ", over" if stamp(office.register.now()) > str(actor.until) else ""
    return f" until {_moment(office, actor.until)}{over}"


def _moment(office: Office, time: str) -> str:
    """A time that an entry tells, by the agency's clock; as it is where it is none."""
    try:
        return local(office, datetime.fromisoformat(time))
    except (TypeError, ValueError, OverflowError):
        return str(time)


def _actor(office: Office, actor: Actor) -> str:
    key = fingerprint(actor.key) if actor.key else "no key: signs on paper"
    if actor.subject:
        key += f"{'' if actor.key else ', or within a PDF'}  certificate of {holder(office.personal(actor.subject))}"
    stands_in = f" ({actor.stands_in or 'stands in as nothing'})" if actor.stands_in is not None else ""
    unit = f" of {actor.unit}" if actor.unit else ""
    person = f", one person with {actor.person}" if actor.person else ""
    return f"{office.personal(actor.name)}, {actor.role}{unit}{stands_in}{person}  {key}"

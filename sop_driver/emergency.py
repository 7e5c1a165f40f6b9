"""A request that cannot wait: by two signatures and for a short time it passes some gates, and a report follows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from sop_driver.errors import Usage, refuse
from sop_driver.intake import keep_document
from sop_driver.procedure import Emergency
from sop_driver.register import Entry
from sop_driver.signatures import Sign
from sop_driver.standing import Office, Standing, local, stamp, stand, unreported
from sop_driver.steps import binding, plain, written

GATE = "emergency"


def _rules(now: Standing) -> Emergency:
    if (rules := now.procedure.emergency) is None:
        refuse(f"the SOP that {now.id} began under knows no emergency", GATE,
               "take the steps in order; a file with `emergency:` is adopted by `sop actors adopt`, for new requests")
    return rules


def declare(office: Office, request: str, until: str, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Let a request as it is now pass the gates that its SOP names, until a time as entries write it.

    Who asks, who approves and who installs stay three people, and what the other gates ask for is asked as always.
    Gives nothing where a signature is to be made elsewhere.
    """
    now = stand(office, request)
    rules, at = _rules(now), office.register.now()
    _none_is_late(office, stamp(at))
    if now.installed:
        refuse(f"{request} is already installed", GATE, "submit a new request of kind update")
    if not at < datetime.fromisoformat(until) <= at + rules.lasts.delta():
        raise Usage(f"an emergency lasts {rules.lasts} at the most", "--until", "name a time within that")
    people = office.people()
    if both := set(map(people.person, now.fold.askers)).intersection(map(people.person, signers)):
        refuse(f"{min(both)} asked for {request}", GATE, f"let others of {', '.join(rules.signers)} sign")
    due = stamp(datetime.fromisoformat(until) + rules.report.delta())
    fields = _fields(office, now, "declared", plain(reason),
                     {"until": until, "report_by": due, "waives": list(rules.waives)})
    return written(office, "emergency", fields, sign, signers, lambda entry: _none_is_late(office, entry.time))


def _none_is_late(office: Office, time: str) -> None:
    """Raises Refused while the report on any request's emergency is late: else nobody would ever have to report one."""
    late = [entry for entry in unreported(office.register.entries(kind="emergency")) if time > entry.data["report_by"]]
    if late:
        named = ", ".join(f"{entry.request} ({entry}, since {entry.data['report_by']})" for entry in late)
        refuse(f"the report on an emergency is late: {named}", GATE,
               f"report it first, one signature and one document: {_how(late[0])}")


def _how(entry: Entry) -> str:
    return f"`sop emergency report {entry.request} --as ID --laporan FILE`"


def report(office: Office, request: str, actor: str, document: Path, sign: Sign) -> Entry | None:
    """Record the report on the oldest emergency of a request that has none."""
    now = stand(office, request)
    open_ = unreported(office.register.entries(kind="emergency", request=request))
    if not open_:
        refuse(f"{request} has no emergency without a report", GATE, "`sop emergency list` names those that have none")
    people, until = office.people(), open_[0].data["until"]
    if "reports" in people.told and not now.installed and stamp(office.register.now()) <= until:
        refuse(f"the emergency of {request} is on until {local(office, datetime.fromisoformat(until))}, and nothing is "
               "installed", GATE, "report what was done: once it is installed, or the emergency is over")
    who = office.actor(actor)
    if who.role not in (rules := _rules(now)).reported_by:
        refuse(f"{actor} is {who.role}; {' or '.join(rules.reported_by)} reports it", GATE, "give --as one of them")
    fields = _fields(office, now, "reported", None, {"emergency": open_[0].sequence, "person": people.person(actor)})
    fields |= {"actor": actor, "role": who.role,
               "evidence": {"laporan": keep_document(office, "laporan", document, "any")}}
    return written(office, "emergency", fields, sign, [actor])


def _fields(office: Office, now: Standing, outcome: str, reason: str | None, data: dict[str, Any]) -> dict[str, Any]:
    return {"actor": None, "role": None, "request": now.id, "step": None, "outcome": outcome, "evidence": {},
            "reason": reason, "data": {**binding(now), "previous": office.register.latest("request", now.id), **data}}


def alarms(office: Office, request: str | None = None) -> list[str]:
    """What everybody shall see until it is reported."""
    register, found = office.register, list[str]()
    for entry in unreported(register.entries(kind="emergency", request=request)):
        with register.using(entry.sequence):
            found.append(alarm(office, entry, register.now()))
    return found


def alarm(office: Office, entry: Entry, now: datetime) -> str:
    until, due = (datetime.fromisoformat(entry.data[name]) for name in ("until", "report_by"))
    signers = ", ".join(item["by"] for item in entry.signatures)
    late = f", LATE by {now - due}".split(".")[0] + ", and no other is declared until it is" if now > due else ""
    return (f"EMERGENCY: {entry.request} passes {', '.join(entry.data['waives'])} until {local(office, until)}, by "
            f"{signers} ({entry}): {entry.reason}; not reported, due {local(office, due)}{late}: {_how(entry)}")

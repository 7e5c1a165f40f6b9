"""What no SOP that officials adopt may say, what the entry that adopts it may not leave out, and what it says then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sop_driver.statement import FREEZE, Body

TOLD = ("rules", "emergency", "refusals", "order", "persons", "stops", "agencies", "reports", "certificates", "askers",
        "carriers")
APPROVAL = "approval"
# Gates that look at more than whether a step was taken: what nobody's word can replace.
NEVER_WAIVED = {"request letter", "agenda number", APPROVAL, "existence check", "build evidence"}


def waivable(order: Body) -> set[str]:
    """What an emergency may replace: the calendar, and steps that give and decide nothing and that anybody may take."""
    apart = {name for names in order["separation"] for name in names}
    free, bound = {FREEZE}, set(NEVER_WAIVED)
    for step in order["steps"]:
        plain = step["by"] == "record" and not step["gives"] and not step["outcomes"] and step["id"] not in apart
        (free if plain else bound).add(step["gate"])
    return free - bound


def gate_faults(order: Body) -> Iterator[str]:
    """What is against an SOP's gates: an emergency could replace one by another's name, nobody asks for a *yes* before
    the installation, or who approves asks or installs as well."""
    gates = [step["gate"] for step in order["steps"] if step["gate"]]
    if twice := {gate for gate in gates if gates.count(gate) > 1}:
        yield f"two of its steps have the gate {', '.join(sorted(twice))}"
    approvals = [step["id"] for step in order["steps"] if step["gate"] == APPROVAL]
    apart = {name for names in order["separation"] if not set(approvals).isdisjoint(names) for name in names}
    if len(approvals) != 1 or not apart:
        yield f"its gate {APPROVAL} is not that of exactly one step, which separation names"
        return
    ids = [step["id"] for step in order["steps"]]
    installation, *_ = [step["id"] for step in order["steps"] if step["by"] == "run"]
    if ids.index(approvals[0]) >= ids.index(installation):
        yield f"its gate {APPROVAL} is not before the installation, and nobody asks for it there"
    if same := {ids[0], installation} - apart:
        yield f"separation lets who approves take {', '.join(sorted(same))} as well"


def unfit(order: Body) -> Iterator[str]:
    """Which gates of an SOP no request could ever pass, an approval on paper, and documents that no command takes by
    these names: what none is adopted with any more.

    One that was adopted before is read all the same, or its requests could not even be shown.
    """
    for step in order["steps"]:
        named = f"its step {step['id']}, whose gate is {step['gate']},"
        if step["gate"] == APPROVAL and "yes" not in step["outcomes"]:
            yield f"{named} has no outcome yes"
        if step["gate"] == APPROVAL and "ink" in step["signed"]:
            yield f"{named} may be signed on paper (ink), which approves nothing"
        if step["gate"] == "existence check" and not any(branch["kind"] for branch in step["outcomes"].values()):
            yield f"{named} has no outcome that fits a kind of request"
        if step["gate"] == "agenda number" and not step["gives"]:
            yield f"{named} gives no agenda number (gives: agenda)"
        if strange := [repr(name) for name in step["evidence"] if not name.isidentifier()]:
            yield f"its step {step['id']} names a document {', '.join(strange)}: letters, digits and `_` name one"


def adoption_faults(body: Body, before: Body) -> Iterator[str]:
    """What is against the rules that an entry tells; `before` is the data of the adoption before it.

    The SOP's file says the same of itself when it is read. Here is no file, or one that was made to be unreadable.
    """
    data = body["data"]
    if "sop" not in data:
        if told := [name for name in TOLD if name in data]:
            yield f"it tells {', '.join(told)} of an SOP, and adopts none"
        return
    if body["evidence"].get("sop") != data["sop"]:
        yield "it adopts an SOP, and does not bring its file"
    less = before.keys() & set(TOLD) - data.keys()
    if "rules" in data:
        less |= {f"rules.{name}" for name in before.get("rules", {}).keys() - data["rules"].keys()}
    if less:
        yield f"it does not tell {', '.join(sorted(less))}, as the adoption before it did"
    emergency = data.get("emergency") or {}
    for name, rules in (("changes of the actors", data.get("rules")), ("an emergency", emergency)):
        if rules and not rules.get("count", 0) >= 2:
            yield f"it lets {rules.get('count', 0)} sign for {name}, and fewer than 2 never do"
    if "order" in data:
        yield from gate_faults(data["order"])
    waives = set(emergency.get("waives", ()))
    if never := waives - waivable(data["order"]) if "order" in data else waives & NEVER_WAIVED:
        yield f"it lets an emergency replace {', '.join(sorted(never))}, which none does"


def emergency_faults(body: Body, rules: Body) -> Iterator[str]:
    """What is against an emergency as it is declared, by the adopted rules."""
    data, time = body["data"], datetime.fromisoformat(body["time"])
    until = datetime.fromisoformat(data["until"])
    if not time < until <= time + timedelta(**rules["lasts"]):
        yield f"it may last {_told(rules['lasts'])} at the most, and is to last until {data['until']}"
    due = f"{(until + timedelta(**rules['report'])).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if data["report_by"] != due:
        yield f"its report is due by {due}, and it says {data['report_by']}"
    if beyond := set(data["waives"]) - set(rules["waives"]):
        yield f"no emergency replaces {', '.join(sorted(beyond))}"


def _told(duration: dict[str, int]) -> str:
    return ", ".join(f"{count} {unit}" for unit, count in duration.items() if count)

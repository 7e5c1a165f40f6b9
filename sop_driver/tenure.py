"""How an office changes hands by the SOP: who may stand in for its holder, and what a new holder shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sop_driver.flow import Against
from sop_driver.statement import SEALED, Body


@dataclass(frozen=True)
class Actor:
    """Who may take which step, from one entry on. `person` is the same for one human being in two offices."""

    name: str
    role: str
    unit: str | None = None
    key: str | None = None
    person: str | None = None
    stands_in: str | None = None
    until: str | None = None
    subject: str | None = None  # what certificates for PDF signatures call this person (JSON), sealed


def stand_in_fault(new: Actor, held: set[str], time: str, rules: Body) -> Against | None:
    """Why somebody may not stand in from a time on; `held` are the offices that this person holds otherwise.

    Registers whose SOP was adopted before it told who may stand in ask for a last day only.
    """
    if new.until is None:
        return f"who stands in ({new.stands_in}) has no last day", "give the assignment letter's: --until YYYY-MM-DD"
    if rules.get("stand_ins") is None:
        return None
    rule = rules["stand_ins"].get(new.role)
    if rule is None or new.stands_in not in rule["titles"]:
        may = "; ".join(f"{role} by {' or '.join(each['titles'])}" for role, each in sorted(rules["stand_ins"].items()))
        return (f"nobody stands in for {new.role} as {new.stands_in}: the SOP knows {may or 'no stand-ins'}",
                "let the office's holder sign, or replace them: `sop actors replace`")
    if (held and held.isdisjoint(rule["by"])) or not (held or rule["without_office"]):
        may = " or ".join([*rule["by"], *(["who holds no office of this SOP"] if rule["without_office"] else [])])
        return (f"{new.role} is stood in for by {may}; this person is {' and '.join(sorted(held)) or 'none of them'}",
                "let one of them stand in, and name their other id: --person ID")
    latest = datetime.fromisoformat(time) + timedelta(**rule["lasts"])
    if datetime.fromisoformat(new.until) > latest:
        return (f"standing in for {new.role} may last until {latest:%Y-%m-%d} at the most, and is to last until "
                f"{new.until[:10]}", "name an earlier last day; enter it anew when that is over: `sop actors replace`")
    return None


def lacks_decree(new: Actor, old: Actor | None, evidence: Body, rules: Body) -> bool:
    """Whether another person takes over an office without the decree that the SOP asks for.

    Another key or certificate makes nobody another person. Names that are not sealed are those of the first registers.
    """
    return (old is not None and old.name.startswith(SEALED) and new.name != old.name and "decree" not in evidence
            and not {new.role, old.role}.isdisjoint(rules.get("decree", ())))

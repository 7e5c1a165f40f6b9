"""How an office changes hands by the SOP: who may stand in for its holder, and what a new holder shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sop_driver.flow import Against
from sop_driver.proof import octets_of
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


def keys_of(actors: Iterable[Actor]) -> list[bytes]:
    """Their keys, whatever is written around them. Raises ValueError for what is no key that is taken."""
    return [octets_of(actor.key) for actor in actors if actor.key]


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
        return (f"standing in for {new.role} may last until {latest:%Y-%m-%dT%H:%M:%SZ} at the most, and is to last "
                f"until {new.until}", "name an earlier last day; enter it anew when that is over: `sop actors replace`")
    return None


def holds_anew(new: Actor, old: Actor | None) -> bool:
    """Whether an entry makes somebody an office's holder who was not."""
    return new.stands_in is None and (old is None or old.role != new.role or old.stands_in is not None)


def becomes(name: str, new: Actor, old: Actor | None) -> str:
    return f"{name} becomes {new.role}" if holds_anew(new, old) else f"another person takes over {name}"


def lacks_decree(new: Actor, old: Actor | None, evidence: Body, rules: Body) -> bool:
    """Whether somebody takes an office without the decree that the SOP asks for.

    Another key or certificate makes nobody another person. Names that are not sealed are those of the first registers.
    Who takes a further place in an office shows it where the rules tell which offices have one holder.
    """
    another = old is not None and old.name.startswith(SEALED) and new.name != old.name
    roles = {new.role, old.role} if another and old else {new.role}
    return "decree" not in evidence and not roles.isdisjoint(rules.get("decree", ())) and (
        another or ("one_holder" in rules and holds_anew(new, old)))


def decree_faults(body: Body) -> Iterator[str]:
    """A decree is found by its number, which the reason tells. Entries from before `seen` were not asked for it."""
    if "seen" in body["data"] and "decree" in body["evidence"] and not (body["reason"] or "").strip():
        yield "it brings a decree, and its reason does not tell the decree's number"


def held_already(name: str, new: Actor, old: Actor | None, others: Mapping[str, Actor], rules: Body) -> Against | None:
    """Why somebody may not become the holder of an office that has one; `others` act now, or are entered beside."""
    if new.role not in rules.get("one_holder", ()) or not holds_anew(new, old):
        return None
    for other, actor in others.items():
        if other != name and actor.role == new.role and actor.stands_in is None:
            return (f"{new.role} has one holder, and that is {other}",
                    f"let the next holder take over that id: `sop actors replace {other} … --decree SK.pdf`; who acts "
                    f"for {other} for some time: --stands-in Plt or Plh, --until YYYY-MM-DD")
    return None

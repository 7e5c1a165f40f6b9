"""What would change on the real servers, as the layers' check mode says it."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sop_driver import desired
from sop_driver.config import write_atomic
from sop_driver.errors import Failed, Interrupted, Refusal, Usage
from sop_driver.fleet import FleetResult, Plays, told
from sop_driver.proof import canonical
from sop_driver.standing import Office

SIGNS = {"create": "+", "update": "~", "suspend": "!", "remove": "-", "purge": "-"}


def look(office: Office, fleet: Plays, playbook: str, names: Sequence[str] = (), check: bool = False) -> FleetResult:
    """Play a read-only playbook on the desired state. Raises Usage for names of no website, Interrupted, Failed."""
    websites = desired.fold(office.register)
    if unknown := set(names) - set(websites):
        raise Usage(f"no website {', '.join(sorted(unknown))}", "sop list", "`sop list` names them")
    with tempfile.TemporaryDirectory(prefix="look-", dir=office.home.runs) as folder:
        selection = Path(folder, "selection.json")
        write_atomic(selection, canonical({"websites": list(names) or sorted(websites)}).encode())
        state = desired.write(Path(folder, "desired.json"), office.register, websites)
        result = fleet.play(playbook, state, check=check, selection=selection)
    if result.canceled:  # what it told by then is not all
        raise Interrupted("it was interrupted", f"{playbook}; nothing was changed", "look again")
    if not result.ok and not result.told:
        raise Failed(result.trouble, playbook, "mend what it names, then look again")
    return result


@dataclass(frozen=True)
class Plan:
    """What check mode found, sorted.

    `conflicts` are names that something foreign holds, `orphans` data that nobody asks for, `nightly` what the last
    night found, `refused` the websites that a layer would leave as they are.
    """

    changes: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    orphans: list[dict[str, str]]
    nightly: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)

    def refusals(self, names: Iterable[str], inventory: str, known: Container[str]) -> list[Refusal]:
        """Why this plan must not be applied for these websites: taken names, what a layer refuses, and drift. `known`
        are all that the register has.

        What is wrong with another website alone stops none of these; see `others`. Nor does what that website's own
        account can change (`by_website`): whoever got into one website could stop all others. The run puts it right.
        """
        wanted = set(names)
        taken = {c["website"] for c in self.conflicts}
        found = [
            Refusal(f"{c['website']}: {c.get('subject', 'name')} already exists on {c.get('host', '?')}, and is not "
                    f"from this register ({c.get('where', 'place unknown')})", "existence check",
                    "choose another name, or have what is there adopted or removed by its owner")
            for c in self.conflicts if c["website"] in wanted
        ]
        found += [Refusal(row["what"], f"{row['layer']} on {row['host']}", row["mend"])
                  for row in self.refused if row["website"] in wanted - taken]
        left = {(row["website"], row.get("host")) for row in (*self.conflicts, *self.refused)}
        strange = [c for c in self.changes
                   if c["website"] and not c.get("by_website") and (c["website"], c["host"]) not in left]
        for website in sorted({c["website"] for c in strange} - wanted):
            what = ", ".join(sorted({f"{c['action']} {c['subject']} on {c['host']}" for c in strange
                                     if c["website"] == website}))
            if website not in known:
                found.append(Refusal(
                    f"{website} is on the servers as one of ours, and not in this register: {what}", "drift",
                    "where the register came back from an older backup, bring back the newer one, or look whose "
                    "website it is; `playbooks/websites.yml` would take it off the servers"))
                continue
            found.append(Refusal(f"{website} is not part of this run, but the servers differ there: {what}", "drift",
                                 f"see `sop drift`; put it right by `ansible-playbook -i {inventory} "
                                 "playbooks/websites.yml` first"))
        return found

    def others(self, names: Iterable[str]) -> list[str]:
        """One line for every other website that stays as it is on a server, for it alone cannot be converged."""
        mine = set(names)
        found = {f"{c['website']} stays as it is: {c.get('subject', 'name')} on {c.get('host', '?')} is not from this "
                f"register ({c.get('where', 'place unknown')})" for c in self.conflicts
                if c["website"] not in mine | {row["website"] for row in self.refused}}
        found |= {f"{row['website']} stays as it is: {told(row)}" for row in self.refused if row["website"] not in mine}
        return sorted(found)


def from_result(result: FleetResult) -> Plan:
    orphans = [{"website": name, "host": r.host} for r in result.results for name in r.values.get("orphans") or []]
    return Plan(sorted(result.gather("changes"), key=_place), sorted(result.gather("conflicts"), key=canonical),
                sorted(orphans, key=canonical), sorted(result.gather("nightly"), key=canonical),
                sorted(result.gather("refused"), key=canonical))


def _place(change: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(change.get(key) or "") for key in ("website", "host", "subject", "action"))


def lines(changes: Iterable[dict[str, Any]]) -> list[str]:
    """Changes for reading, grouped by website, then by server."""
    text: list[str] = []
    website: str | None = ""
    host = ""
    for change in changes:
        if change["website"] != website:
            website, host = change["website"], ""
            text.append(website or "for all websites")
        if change["host"] != host:
            host = change["host"]
            text.append(f"  {host}")
        values = [short(change.get(side)) for side in ("before", "after") if change.get(side) is not None]
        sign = SIGNS.get(change["action"], "?")
        own = " (the website's own account can have done this)" if change.get("by_website") else ""
        text.append(f"    {sign} {change['action']} {change['subject']} {' → '.join(values)}".rstrip() + own)
    return text


def own_doing(changes: Iterable[dict[str, Any]], but: Container[str]) -> list[dict[str, Any]]:
    """What the own accounts of websites but these can have done."""
    return [change for change in changes if change.get("by_website") and change["website"] not in but]


def named(changes: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Changes for the register: what was changed of which website and where, without the values."""
    return [{key: change[key] for key in ("website", "host", "subject", "action") if change.get(key)}
            for change in sorted(changes, key=_place)]


def nightly_lines(nightly: Iterable[dict[str, Any]]) -> list[str]:
    """What the last nightly check of releases found, a line a web host."""
    return [
        f"nightly check on {at['host']}: "
        + (f"{last['finished']}, {last['found']} files that no release brought or that differ" if last else "none yet")
        for at in nightly for last in [at["last"]]
    ]


def short(value: Any) -> str:
    text = value if isinstance(value, str) else canonical(value)
    return text if len(text) <= 100 else text[:99] + "…"

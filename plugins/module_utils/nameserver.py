"""Plan a zone: which records are ours, and the edits from what is there to what is claimed.

Pure: names are lower case without the last dot, record values are in presentation form, and nothing here asks a server.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible.module_utils.nameserver_claims import FLEET, Claim, Conflict, conflict_of, subject_of
from ansible.module_utils.transaction import Change

MARK = re.compile(r'"website=(\d{1,10}|fleet)"', re.ASCII)
MESSAGE = 60_000  # octets of an update; a message holds 65,535 with its header and signature


class RRset(NamedTuple):
    ttl: int
    values: frozenset[str]


Key = tuple[str, str]  # name, type
Zone = dict[str, dict[str, RRset]]  # name -> type -> records


class Edit(NamedTuple):
    """One name's records from `before` to `after`, mark included; `fresh` names must not exist at all before."""

    change: Change
    before: dict[Key, RRset]
    after: dict[Key, RRset]
    fresh: frozenset[str] = frozenset()

    def reverse(self) -> Edit:
        return Edit(self.change, self.after, self.before)

    def size(self) -> int:
        """Octets that it takes in a message at most: as prerequisite, as addition, and as removal."""
        parts = [*self.before.items(), *self.after.items()]
        return sum(2 * (len(name) + len(value) + 32) for (name, _), rrset in parts for value in rrset.values)


def _types(mark: str) -> tuple[str, ...]:
    """The types that a mark owns at its name; all others there are left alone."""
    return ("NS", "SOA") if mark.startswith("_nameserver.") else ("A", "AAAA", "PTR")


def plan(
    zone: str, found: Zone, claims: dict[str, Claim], ttl: int, names: dict[str, str]
) -> tuple[list[Edit], list[Conflict]]:
    """The edits of one zone, additions first and removals last, and the claims whose names are foreign.

    `names` gives the website of a uid, for records whose website is wanted elsewhere or no more.
    """
    cuts = {name for name, types in found.items() if name != zone and ("NS" in types or "DNAME" in types)}
    edits, conflicts = [], []
    for mark, claim in claims.items():
        foreign = _foreign(zone, mark, found, cuts)
        if foreign:
            conflicts.append(conflict_of(claim, mark, f"zone {zone}: {foreign}"))
            continue
        edit = _converge(mark, claim, found, ttl)
        if edit:
            edits.append(edit)
    for mark, types in found.items():
        owner = _owner(types)
        if owner and mark.startswith("_website.") and mark not in claims:
            edits.append(_remove(mark, owner, found, names))
    order = {"create": 0, "update": 1, "remove": 2}
    return sorted(edits, key=lambda edit: (order[edit.change.action], edit.change.subject)), conflicts


def _owner(types: dict[str, RRset]) -> str | None:
    """Whose a mark says that its name is: a uid, FLEET, or None where the TXT is none of ours."""
    texts = types["TXT"].values if "TXT" in types else ()
    matches = [MARK.fullmatch(text) for text in texts]
    return matches[0].group(1) if len(matches) == 1 and matches[0] else None


def _foreign(zone: str, mark: str, found: Zone, cuts: set[str]) -> str | None:
    """What stands in the way of a claim, in words; None where the name is free or ours."""
    name = mark.partition(".")[2]
    if cuts:
        parent = name
        while parent != zone:
            if parent in cuts:
                return f"{parent} is delegated to other name servers"
            parent = parent.partition(".")[2]
    here = found.get(name, {})
    if "CNAME" in here:
        return f"{name} has a CNAME record"
    marks = found.get(mark, {})
    if _owner(marks):
        return None
    if marks:
        return f"{mark} has records that are no mark of ours"
    # The apex has records of its own in every zone: only the managed types would be somebody's.
    held = sorted(set(here) & set(_types(mark)) if name == zone else here)
    return f"{name} has {', '.join(held)} records without our mark" if held else None


def _converge(mark: str, claim: Claim, found: Zone, ttl: int) -> Edit | None:
    name = mark.partition(".")[2]
    here = found.get(name, {})
    before = {(name, kind): here[kind] for kind in _types(mark) if kind in here}
    # BIND keeps what else an SOA says, its time to live too.
    after = {(name, kind): RRset(here[kind].ttl if kind == "SOA" and kind in here else ttl, values)
             for kind, values in claim.records.items()}
    marks = found.get(mark, {})
    if "TXT" in marks:
        before[mark, "TXT"] = marks["TXT"]
    after[mark, "TXT"] = RRset(ttl, frozenset([f'"website={claim.owner}"']))
    if before == after:
        return None
    fresh = frozenset(each for each in (name, mark) if each not in found)
    action = "update" if "TXT" in marks else "create"
    return Edit(Change(claim.website, subject_of(mark), action, _shown(before), _shown(after)), before, after, fresh)


def _remove(mark: str, owner: str, found: Zone, names: dict[str, str]) -> Edit:
    name = mark.partition(".")[2]
    here = found.get(name, {})
    before = {(name, kind): here[kind] for kind in _types(mark) if kind in here}
    before[mark, "TXT"] = found[mark]["TXT"]
    website = None if owner == FLEET else names.get(owner, name)
    return Edit(Change(website, subject_of(mark), "remove", _shown(before), None), before, {})


def _shown(records: dict[Key, RRset]) -> list[str] | None:
    """Records as an administrator reads them: `A 198.51.100.11`."""
    return sorted(f"{kind} {value}" for (_, kind), rrset in records.items() for value in rrset.values) or None


def batches(edits: list[Edit], limit: int = MESSAGE) -> list[list[Edit]]:
    """The edits in their order, in as few messages as hold them."""
    result: list[list[Edit]] = []
    room = 0
    for edit in edits:
        if edit.size() > room:
            result.append([])
            room = limit
        result[-1].append(edit)
        room -= edit.size()
    return result

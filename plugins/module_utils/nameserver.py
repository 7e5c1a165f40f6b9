"""Plan a zone: which records are ours, and the edits from what is there to what is claimed.

Pure: names are lower case without the last dot, record values are in presentation form, and nothing here asks a server.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible.module_utils.nameserver_claims import FLEET, Claim, Conflict, Wishes, conflict_of, subject_of, zone_of
from ansible.module_utils.nameserver_extra import KINDS, targets
from ansible.module_utils.transaction import Change, Left

# Addresses and pointers at a marked name are ours; other types only where the mark names them.
MARK = re.compile(rf'"website=(\d{{1,10}}|fleet)((?: (?:{"|".join(KINDS)}))*)"', re.ASCII)
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


class Frozen(NamedTuple):
    """What belongs to websites that are left as they are: owners by uid, and names."""

    owners: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()


NOBODY = Frozen()


class Mark(NamedTuple):
    owner: str
    kinds: frozenset[str]


def plan(
    zone: str, found: Zone, claims: dict[str, Claim], ttl: int, names: dict[str, str], frozen: Frozen = NOBODY
) -> tuple[list[Edit], list[Conflict]]:
    """The edits of one zone, additions first and removals last, and the claims whose names are foreign.

    `names` gives the website of a uid, for records whose website is wanted elsewhere or no more.
    """
    cuts = {name for name, types in found.items() if name != zone and ("NS" in types or "DNAME" in types)}
    edits, conflicts = [], []
    for mark, claim in claims.items():
        foreign = _foreign(zone, mark, claim, found, cuts) or _held(mark, claim, found, frozen)
        if foreign:
            conflicts.append(conflict_of(claim, mark, f"zone {zone}: {foreign}"))
            continue
        edit = _converge(mark, claim, found, ttl)
        if edit:
            edits.append(edit)
    for mark, types in found.items():
        held = mark_of(mark, types)
        kept = held is None or held.owner in frozen.owners or mark.partition(".")[2] in frozen.names
        if held and not kept and mark.startswith("_website.") and mark not in claims:
            edits.append(_remove(mark, held, found, names))
    order = {"create": 0, "update": 1, "remove": 2}
    return sorted(edits, key=lambda edit: (order[edit.change.action], edit.change.subject)), conflicts


def mark_of(mark: str, types: dict[str, RRset]) -> Mark | None:
    """Whose a mark says that its name is, and which types there; None where the TXT is none of ours."""
    texts = types["TXT"].values if "TXT" in types else ()
    matches = [MARK.fullmatch(text) for text in texts]
    if len(matches) != 1 or not matches[0]:
        return None
    always = ("NS", "SOA") if mark.startswith("_nameserver.") else ("A", "AAAA", "PTR")
    return Mark(matches[0].group(1), frozenset([*always, *matches[0].group(2).split()]))


def holders(zones: dict[str, Zone]) -> dict[str, str]:
    """The owners of all marks, by mark name."""
    marks = {mark: mark_of(mark, types) for found in zones.values() for mark, types in found.items()}
    return {mark: held.owner for mark, held in marks.items() if held}


def _held(mark: str, claim: Claim, found: Zone, frozen: Frozen) -> str | None:
    held = mark_of(mark, found.get(mark, {}))
    name = mark.partition(".")[2]
    if held and held.owner != claim.owner and (held.owner in frozen.owners or name in frozen.names):
        return f"{name} is another website's, which was left as it was"
    return None


def _foreign(zone: str, mark: str, claim: Claim, found: Zone, cuts: set[str]) -> str | None:
    """What stands in the way of a claim, in words; None where the name is free or ours."""
    name = mark.partition(".")[2]
    if cuts:
        parent = name
        while parent != zone:
            if parent in cuts:
                return f"{parent} is delegated to other name servers"
            parent = parent.partition(".")[2]
    here, marks = found.get(name, {}), found.get(mark, {})
    held = mark_of(mark, marks)
    if marks and not held:
        return f"{mark} has records that are no mark of ours"
    strange = set(here) - (held.kinds if held else set())
    if "CNAME" in strange:
        return f"{name} has a CNAME record"
    # The apex has records of its own in every zone, and a marked name may: only what is wanted there is in the way.
    wanted = set(claim.records) - claim.yields
    if held or name == zone:
        in_the_way = strange if "CNAME" in wanted else strange & (wanted if held else wanted | {"A", "AAAA", "PTR"})
    else:
        in_the_way = strange
    if not held and mark.startswith("_nameserver."):
        in_the_way = strange & {"NS", "SOA"}
    return f"{name} has {', '.join(sorted(in_the_way))} records without our mark" if in_the_way else None


def _converge(mark: str, claim: Claim, found: Zone, ttl: int) -> Edit | None:
    name = mark.partition(".")[2]
    here, marks = found.get(name, {}), found.get(mark, {})
    held = mark_of(mark, marks) or Mark(claim.owner, frozenset())
    before = {(name, kind): here[kind] for kind in held.kinds if kind in here}
    after = {(name, kind): RRset(claim.ttls.get(kind, ttl), values) for kind, values in claim.records.items()
             if not (kind in claim.yields and kind in here and kind not in held.kinds)}
    if "SOA" in claim.records and "SOA" in here:  # BIND keeps what else an SOA says, its time to live too
        after[name, "SOA"] = RRset(here["SOA"].ttl, claim.records["SOA"])
    more = sorted({kind for _, kind in after} - {"A", "AAAA", "PTR", "NS", "SOA"})
    if "TXT" in marks:
        before[mark, "TXT"] = marks["TXT"]
    after[mark, "TXT"] = RRset(ttl, frozenset([f'"{" ".join([f"website={claim.owner}", *more])}"']))
    if before == after:
        return None
    fresh = frozenset(each for each in (name, mark) if each not in found)
    action = "update" if "TXT" in marks else "create"
    return Edit(Change(claim.website, subject_of(mark), action, _shown(before), _shown(after)), before, after, fresh)


def _remove(mark: str, held: Mark, found: Zone, names: dict[str, str]) -> Edit:
    name = mark.partition(".")[2]
    here = found.get(name, {})
    before = {(name, kind): here[kind] for kind in held.kinds if kind in here}
    before[mark, "TXT"] = found[mark]["TXT"]
    website = None if held.owner == FLEET else names.get(held.owner, name)
    return Edit(Change(website, subject_of(mark), "remove", _shown(before), None), before, {})


def misled(wanted: Wishes, zones: dict[str, Zone]) -> list[Left]:
    """Websites whose MX or SRV records lead to a name of ours that is no host: a CNAME, or nothing (RFC 2181)."""
    found = []
    for claims in wanted.claims.values():
        for mark, claim in claims.items():
            for target in targets(claim.records) if claim.website else ():
                zone = zone_of(target, zones)
                kinds = _kinds(target, zone, wanted, zones[zone]) if zone else {"A"}
                if "CNAME" in kinds or not kinds & {"A", "AAAA"}:
                    what = "is a CNAME record" if "CNAME" in kinds else "has no address"
                    found.append(Left(
                        claim.website, f"{mark.partition('.')[2]} leads to {target}, which {what} in zone {zone}",
                        "name a host with an address, by an update of the request"))
    return found


def _kinds(name: str, zone: str, wanted: Wishes, found: Zone) -> set[str]:
    """The types that a name has or will have; a name below a delegation or a wildcard may have any."""
    parent = name
    while parent != zone:
        if "NS" in found.get(parent, {}):
            return {"A"}
        parent = parent.partition(".")[2]
        if f"*.{parent}" in found:
            return {"A"}
    claim = wanted.claims[zone].get(f"_website.{name}")
    return {*found.get(name, {}), *(claim.records if claim else ())}


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

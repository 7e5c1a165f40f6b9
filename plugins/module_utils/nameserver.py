"""Plan a zone's records: what websites and servers need, which records are ours, and the edits from one to the other.

Pure: names are lower case without the last dot, record values are in presentation form, and nothing here asks a server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible.module_utils.transaction import Change, Refused

FLEET = "fleet"  # owner of what belongs to no website: servers, name servers
LIVE = ("present", "suspended")
LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
NAME = re.compile(rf"{LABEL}(\.{LABEL})+", re.ASCII)
MARK = re.compile(r'"website=(\d{1,10}|fleet)"', re.ASCII)
LONGEST = 253 - len("_website.")  # so that the mark is a name too
MESSAGE = 60_000  # octets of an update; a message holds 65,535 with its header and signature


class RRset(NamedTuple):
    ttl: int
    values: frozenset[str]


Key = tuple[str, str]  # name, type
Zone = dict[str, dict[str, RRset]]  # name -> type -> records


class Claim(NamedTuple):
    """What one owner wants at one name, by type."""

    website: str | None
    owner: str
    records: dict[str, frozenset[str]]


class Conflict(NamedTuple):
    website: str
    subject: str
    where: str


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


class Wishes(NamedTuple):
    """Claims by zone and mark name, what contradicts itself in them, and names that no served zone holds."""

    claims: dict[str, dict[str, Claim]]
    conflicts: list[Conflict]
    outside: dict[str, list[str]]


def zone_of(name: str, zones: Iterable[str]) -> str | None:
    """The served zone that a name lies in, by whole labels; the longest where zones are nested."""
    served = set(zones)
    while name:
        if name in served:
            return name
        name = name.partition(".")[2]
    return None


def check_name(name: Any, what: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST:
        raise Refused(
            f"{str(name)[:80]!r}, the name of {what}, is no host name of at most {LONGEST} characters",
            "use lower-case letters, digits and hyphens in dotted labels",
        )
    return name


def check_addresses(address: Any, whose: str) -> dict[str, str]:
    """The record types and values of `{ipv4, ipv6}`; either may be null. Raises Refused."""
    found = {}
    for key, kind, parse in (("ipv4", "A", ipaddress.IPv4Address), ("ipv6", "AAAA", ipaddress.IPv6Address)):
        value = (address or {}).get(key)
        if value is None:
            continue
        try:
            found[kind] = str(parse(str(value)))
        except ValueError as error:
            what = f"{str(value)[:80]!r} of {whose} is no {key} address"
            raise Refused(what, f"give {whose} a whole {key} address") from error
    if not found:
        raise Refused(f"{whose} has no address", f"give {whose} an ipv4 or ipv6 address")
    return found


def wishes(
    websites: list[dict[str, Any]], hosts: dict[str, Any], nameservers: dict[str, Any], zones: list[str]
) -> Wishes:
    """Every record set that must exist. The servers' own names come first: no website takes them. Raises Refused."""
    wanted = Wishes({zone: {} for zone in zones}, [], {})
    for zone in zones:
        _claim(wanted, zone, f"_nameserver.{zone}", Claim(None, FLEET, {
            "NS": frozenset(f"{name}." for name in nameservers),
            "SOA": frozenset([f"{next(iter(nameservers))}."]),
        }))
    for name, address in {**hosts, **nameservers}.items():
        found = check_addresses(address, check_name(name, "a server"))
        _claim_name(wanted, None, FLEET, name, found)
        _claim_pointers(wanted, None, FLEET, name, found)
    for website in sorted((w for w in websites if w.get("state") in LIVE), key=lambda w: str(w.get("name"))):
        _claim_website(wanted, website)
    return wanted


def _claim_website(wanted: Wishes, website: dict[str, Any]) -> None:
    name = check_name(website.get("name"), "a website")
    uid, address = website.get("uid"), website.get("address")
    if type(uid) is not int or not 0 < uid < 2**31:
        raise Refused(f"{str(uid)[:20]!r}, the uid of {name}, is no Unix id", "take it from the desired state")
    found = check_addresses(address, name)
    for each in [name, *sorted(check_name(alias, f"an alias of {name}") for alias in website.get("aliases") or [])]:
        if not _claim_name(wanted, name, str(uid), each, found):
            wanted.outside.setdefault(name, []).append(each)
    if address.get("own"):
        _claim_pointers(wanted, name, str(uid), name, found)


def _claim_name(wanted: Wishes, website: str | None, owner: str, name: str, found: dict[str, str]) -> bool:
    zone = zone_of(name, wanted.claims)
    if zone:
        records = {kind: frozenset([value]) for kind, value in found.items()}
        _claim(wanted, zone, f"_website.{name}", Claim(website, owner, records))
    return zone is not None


def _claim_pointers(wanted: Wishes, website: str | None, owner: str, name: str, found: dict[str, str]) -> None:
    for value in found.values():
        pointer = ipaddress.ip_address(value).reverse_pointer
        zone = zone_of(pointer, wanted.claims)
        if zone:
            _claim(wanted, zone, f"_website.{pointer}", Claim(website, owner, {"PTR": frozenset([f"{name}."])}))


def _claim(wanted: Wishes, zone: str, mark: str, claim: Claim) -> None:
    """Note a claim; servers may share an address, a website shares nothing with another owner."""
    held = wanted.claims[zone].get(mark)
    if held is None:
        wanted.claims[zone][mark] = claim
    elif held.owner == claim.owner == FLEET:
        both = {kind: held.records.get(kind, frozenset()) | claim.records.get(kind, frozenset())
                for kind in {*held.records, *claim.records}}
        wanted.claims[zone][mark] = Claim(None, FLEET, both)
    elif (held.owner, held.records) != (claim.owner, claim.records):
        where = f"zone {zone}, wanted by {held.website or 'a server of the fleet'} as well"
        wanted.conflicts.append(_conflict(claim, mark, where))


def _conflict(claim: Claim, mark: str, where: str) -> Conflict:
    return Conflict(claim.website or mark.partition(".")[2], _subject(mark), where)


def _subject(mark: str) -> str:
    kind, _, name = mark.partition(".")
    return f"nameservers {name}" if kind == "_nameserver" else f"records {name}"


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
            conflicts.append(_conflict(claim, mark, f"zone {zone}: {foreign}"))
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
    return Edit(Change(claim.website, _subject(mark), action, _shown(before), _shown(after)), before, after, fresh)


def _remove(mark: str, owner: str, found: Zone, names: dict[str, str]) -> Edit:
    name = mark.partition(".")[2]
    here = found.get(name, {})
    before = {(name, kind): here[kind] for kind in _types(mark) if kind in here}
    before[mark, "TXT"] = found[mark]["TXT"]
    website = None if owner == FLEET else names.get(owner, name)
    return Edit(Change(website, _subject(mark), "remove", _shown(before), None), before, {})


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


def as_built(wanted: Wishes, serials: dict[str, int], zones: list[str]) -> dict[str, dict[str, Any]]:
    """The facts that the records keep, by website: its zone, names, records, and the zone's serial."""
    built: dict[str, dict[str, Any]] = {}
    for claims in wanted.claims.values():
        for mark, claim in claims.items():
            if claim.website is None:
                continue
            name = mark.partition(".")[2]
            facts = built.setdefault(claim.website, {"names": [], "records": []})
            if "PTR" not in claim.records:
                facts["names"].append(name)
            facts["records"] += [f"{name} {kind} {value}" for kind, values in claim.records.items() for value in values]
    for website in {*built, *wanted.outside}:
        facts = built.setdefault(website, {"names": [], "records": []})
        zone = zone_of(website, zones)
        facts.update(zone=zone, serial=serials.get(zone) if zone else None, outside=wanted.outside.get(website, []))
        facts["names"].sort()
        facts["records"].sort()
    return built

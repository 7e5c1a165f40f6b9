"""What websites and servers need in the zones: claims by zone and name, each with the owner that its mark will tell.

Names are lower case without the last dot, record values are in presentation form.
"""

from __future__ import annotations

import ipaddress
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible.module_utils.nameserver_extra import LABEL, LONGEST, Set, record_sets
from ansible.module_utils.transaction import Left, Refused

FLEET = "fleet"  # owner of what belongs to no website: servers, name servers
LIVE = ("present", "suspended")
NAME = re.compile(rf"{LABEL}(\.{LABEL})+", re.ASCII)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NO_TTLS: Mapping[str, int] = types.MappingProxyType({})


class Claim(NamedTuple):
    """What one owner wants at one name, by type."""

    website: str | None
    owner: str
    records: dict[str, frozenset[str]]
    ttls: Mapping[str, int] = NO_TTLS  # by type; without an entry it is the servers' own
    yields: frozenset[str] = frozenset()  # types that are left to somebody else who has them at the name


class Conflict(NamedTuple):
    website: str
    subject: str
    where: str


class Wishes(NamedTuple):
    """Claims by zone and mark name, what is wrong with them, and names that no served zone holds."""

    claims: dict[str, dict[str, Claim]]
    conflicts: list[Conflict]
    outside: dict[str, list[str]]
    faults: list[Left]


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
            if "%" in str(value):  # a scope may be any text, and means nothing on another machine
                raise ValueError
            found[kind] = str(parse(str(value)))
        except ValueError as error:
            what = f"{str(value)[:80]!r} of {whose} is no {key} address"
            raise Refused(what, f"give {whose} a whole {key} address") from error
    if not found:
        raise Refused(f"{whose} has no address", f"give {whose} an ipv4 or ipv6 address")
    return found


def wishes(
    websites: list[dict[str, Any]],
    hosts: dict[str, Any],
    nameservers: dict[str, Any],
    zones: list[str],
    issuers: Set | None = None,
    held: dict[str, str] | None = None,
    networks: dict[str, str] | None = None,
) -> Wishes:
    """Every record set that must exist. The servers' own names come first: no website takes them.

    `issuers` is the CAA record set of every name of a website, `held` gives the owner by mark name, as it is in the
    zones: whoever holds a name keeps it. `networks` gives those of the reverse zones that have names of their own.
    Raises Refused for what is wrong with the servers themselves.
    """
    wanted = Wishes({zone: {} for zone in zones}, [], {}, [])
    reverse = {zone: ipaddress.ip_network(network) for zone, network in (networks or {}).items()}
    for zone in zones:
        _claim(wanted, zone, f"_nameserver.{zone}", Claim(None, FLEET, {
            "NS": frozenset(f"{name}." for name in nameservers),
            "SOA": frozenset([f"{next(iter(nameservers))}."]),
        }), {})
    for name, address in {**hosts, **nameservers}.items():
        found = check_addresses(address, check_name(name, "a server"))
        for each, records in [(name, {kind: Set(frozenset([value])) for kind, value in found.items()}),
                              *_pointers(name, found, reverse)]:
            zone = zone_of(each, wanted.claims)
            if zone:
                _claim(wanted, zone, f"_website.{each}", _claim_of(None, FLEET, records), {})
    for website in sorted((w for w in websites if w.get("state") in LIVE), key=lambda w: str(w.get("name"))):
        try:
            _claim_website(wanted, website, _names(website, issuers, reverse), held or {})
        except Refused as error:
            wanted.faults.append(Left(str(website.get("name")), error.what, error.mend))
    return wanted


def _claim_website(
    wanted: Wishes, website: dict[str, Any], names: list[tuple[str, dict[str, Set]]], held: dict[str, str]
) -> None:
    asked = {record["name"] for record in website.get("records") or [] if record["type"] == "CAA"}
    for name, sets in names:
        zone = zone_of(name, wanted.claims)
        if zone:
            yields = frozenset() if name in asked else frozenset(["CAA"])
            claim = _claim_of(website["name"], str(website["uid"]), sets, yields)
            _claim(wanted, zone, f"_website.{name}", claim, held)
        else:
            wanted.outside.setdefault(website["name"], []).append(name)


def _claim_of(website: str | None, owner: str, sets: dict[str, Set], yields: frozenset[str] = frozenset()) -> Claim:
    return Claim(website, owner, {kind: found.values for kind, found in sets.items()},
                 {kind: found.ttl for kind, found in sets.items() if found.ttl is not None}, yields)


def _names(
    website: dict[str, Any], issuers: Set | None, reverse: Mapping[str, Network]
) -> list[tuple[str, dict[str, Set]]]:
    """All names of a website, each with its record sets. Raises Refused."""
    name = check_name(website.get("name"), "a website")
    uid, address = website.get("uid"), website.get("address")
    if type(uid) is not int or not 0 < uid < 2**31:
        raise Refused(f"{str(uid)[:20]!r}, the uid of {name}, is no Unix id", "take it from the desired state")
    found = check_addresses(address, name)
    places = [name, *sorted(check_name(alias, f"an alias of {name}") for alias in website.get("aliases") or [])]
    asked = record_sets(website, set(places))
    names = {}
    for each in [*places, *sorted(set(asked) - set(places))]:
        names[each] = dict(asked.get(each, {}))
        if each in places:
            names[each] |= {kind: Set(frozenset([value])) for kind, value in found.items()}
            if issuers:
                more = names[each].get("CAA", Set(frozenset()))
                names[each]["CAA"] = Set(more.values | issuers.values, more.ttl)
    return [*names.items(), *(_pointers(name, found, reverse) if address.get("own") else ())]


def _pointers(
    name: str, found: dict[str, str], reverse: Mapping[str, Network]
) -> list[tuple[str, dict[str, Set]]]:
    return [(pointer(value, reverse), {"PTR": Set(frozenset([f"{name}."]))}) for value in found.values()]


def pointer(value: str, reverse: Mapping[str, Network]) -> str:
    """An address' name in the reverse tree; in a zone of another name the labels that its network leaves open."""
    address = ipaddress.ip_address(value)
    for zone, network in reverse.items():
        if address in network:
            bits = 8 if network.version == 4 else 4
            labels = -(-(network.max_prefixlen - network.prefixlen) // bits)
            return ".".join([*address.reverse_pointer.split(".")[:labels], zone])
    return address.reverse_pointer


def _claim(wanted: Wishes, zone: str, mark: str, claim: Claim, held: dict[str, str]) -> None:
    """Note a claim; servers may share an address, a website shares nothing with another owner."""
    first = wanted.claims[zone].get(mark)
    if first is None:
        wanted.claims[zone][mark] = claim
    elif first.owner == claim.owner == FLEET:
        both = {kind: first.records.get(kind, frozenset()) | claim.records.get(kind, frozenset())
                for kind in {*first.records, *claim.records}}
        wanted.claims[zone][mark] = Claim(None, FLEET, both)
    elif (first.owner, first.records) != (claim.owner, claim.records):
        if first.owner != FLEET and held.get(mark) == claim.owner:
            wanted.claims[zone][mark], first, claim = claim, claim, first
        where = f"zone {zone}, wanted by {first.website or 'a server of the fleet'} as well"
        wanted.conflicts.append(conflict_of(claim, mark, where))


def conflict_of(claim: Claim, mark: str, where: str) -> Conflict:
    return Conflict(claim.website or mark.partition(".")[2], subject_of(mark), where)


def subject_of(mark: str) -> str:
    kind, _, name = mark.partition(".")
    return f"nameservers {name}" if kind == "_nameserver" else f"records {name}"


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

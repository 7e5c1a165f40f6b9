"""Records that a website asks for beside its addresses: checked anew, in the form in which a zone is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible.module_utils.transaction import Refused

try:
    import dns.exception
    import dns.rdata
except ImportError:
    pass  # nameserver_wire says so before anything is read

KINDS = ("A", "AAAA", "CAA", "CNAME", "MX", "SRV", "TXT")
LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
NAME = re.compile(rf"_?{LABEL}(\._?{LABEL})+", re.ASCII)  # RFC 8552: labels that begin with _ are no host's
LONGEST = 253 - len("_website.")  # so that the mark is a name too
SHORTEST_TTL, LONGEST_TTL = 60, 86400
MEND = "correct the records of the request, and file it as an update"


class Set(NamedTuple):
    """The records of one type at one name; `ttl` is None where the servers' own serves."""

    values: frozenset[str]
    ttl: int | None = None


def canonical(kind: str, value: str, whose: str) -> str:
    """A record's data as a zone that was read gives them. Raises Refused where they are none of that type."""
    try:
        return dns.rdata.from_text("IN", kind, value).to_text()
    except (dns.exception.DNSException, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"{whose}: {str(value)[:80]!r} are no data of a {kind} record ({error})", MEND) from error


def issuers_set(issuers: Iterable[str]) -> Set | None:
    """Who may issue certificates, as a CAA record set (RFC 8659); None where anybody may."""
    if not issuers:
        return None
    return Set(frozenset(canonical("CAA", f'0 issue "{issuer}"', "nameserver_issuers") for issuer in issuers))


def record_sets(website: dict[str, Any], places: set[str]) -> dict[str, dict[str, Set]]:
    """What a website asks for, by name and type; `places` are the names that have its addresses. Raises Refused."""
    sets: dict[str, dict[str, Set]] = {}
    for record in website.get("records") or []:
        name, kind, ttl = _checked(record, website, places)
        value = canonical(kind, record.get("value"), f"{name} {kind}")
        here = sets.setdefault(name, {})
        held = here.get(kind, Set(frozenset(), ttl))
        if held.ttl != ttl:
            raise Refused(f"{name} has {kind} records of several times to live", MEND)
        here[kind] = Set(held.values | {value}, ttl)
    for name, kinds in sets.items():
        if "CNAME" in kinds and (len(kinds) > 1 or len(kinds["CNAME"].values) > 1 or name in places):
            raise Refused(f"{name} has a CNAME record, which suffers no other beside it (RFC 1034)", MEND)
    return sets


def _checked(record: Any, website: dict[str, Any], places: set[str]) -> tuple[str, str, int | None]:
    if not isinstance(record, dict):
        raise Refused(f"{str(record)[:80]!r} of {website['name']} is no record", MEND)
    name, kind, ttl = record.get("name"), record.get("type"), record.get("ttl")
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST:
        raise Refused(f"{str(name)[:80]!r}, the name of a record of {website['name']}, is no name", MEND)
    parents = [website["name"], *filter(None, [website.get("zone")])]
    if not any(name == parent or name.endswith(f".{parent}") for parent in parents):
        raise Refused(f"{name} lies neither below {website['name']} nor in a zone of its own", MEND)
    if {"_website", "_nameserver"} & set(name.split(".")):
        raise Refused(f"{name} is where marks are kept", MEND)
    if kind not in KINDS or (kind in ("A", "AAAA") and name in places):
        raise Refused(f"{name} cannot be given a record of type {str(kind)[:20]!r}", MEND)
    if ttl is not None and (type(ttl) is not int or not SHORTEST_TTL <= ttl <= LONGEST_TTL):
        raise Refused(f"{name} {kind} would live {str(ttl)[:20]} s, not {SHORTEST_TTL} to {LONGEST_TTL}", MEND)
    return name, kind, ttl


def targets(records: dict[str, frozenset[str]]) -> list[str]:
    """The hosts that MX and SRV records of one name lead to, without those that say that there is none."""
    found = [value.split()[-1] for kind in ("MX", "SRV") for value in records.get(kind, ())]
    return sorted({target.rstrip(".") for target in found} - {""})

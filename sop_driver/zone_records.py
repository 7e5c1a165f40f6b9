"""The DNS records that a request asks for, and the RFCs' rules for them: each alone, and all together."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sop_driver.config import Strict

LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
HOST = re.compile(rf"{LABEL}(\.{LABEL})+", re.ASCII)
NAME = re.compile(rf"_?{LABEL}(\._?{LABEL})+", re.ASCII)  # RFC 8552: labels that begin with _ are no host's
SERVICE = re.compile(r"_(?=[a-z0-9-]*[a-z])[a-z0-9][a-z0-9-]{0,14}\._(tcp|udp|tls|sctp|dccp)\.", re.ASCII)  # RFC 2782
MARKS = {"_website", "_nameserver"}  # where the servers note whose a name is
LONGEST_NAME = 253 - len("_website.")
MOST, MOST_OCTETS = 30, 4096  # so that all of a website's records fit in one update (RFC 2136) with room to spare
PRIVATE = tuple(map(ipaddress.ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "224.0.0.0/3", "::/127", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8")))
ISSUERS = re.compile(rf"(;|{LABEL}(\.{LABEL})+( *; *[a-z0-9]+=[!-:<-~]+)*)", re.ASCII)  # RFC 8659, section 4.2
REPORTS = re.compile(r"(mailto:[!-:<-~]+@[!-:<-~]+|https?://[!-~]+)", re.ASCII)


def _name(value: str) -> str:
    if not NAME.fullmatch(value) or len(value) > LONGEST_NAME:
        raise ValueError(f"{value!r} is no full name of at most {LONGEST_NAME} lower-case letters, digits and hyphens")
    if MARKS & set(value.split(".")):
        raise ValueError(f"{value} is where the name servers note whose a name is")
    return value


def _host(value: str) -> str:
    """A full host name, with the last dot or without; or `.`, which says that there is none."""
    name = value.removesuffix(".")
    if value == ".":
        return value
    if re.fullmatch(r"[0-9.]+", name) or ":" in name:
        raise ValueError(f"{value} is an address; write the name of a host")
    if not HOST.fullmatch(name) or len(name) > 253:
        raise ValueError(f"{value!r} is no full host name in lower case")
    return name + "."


def _alias(value: str) -> str:
    name = value.removesuffix(".")
    if not NAME.fullmatch(name) or len(name) > 253:
        raise ValueError(f"{value!r} is no full name in lower case")
    return name + "."


def _public(value: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if any(value in network for network in PRIVATE):
        raise ValueError(f"{value} is not an address that the public can reach")
    return value


def _text(value: str) -> str:
    if not re.fullmatch(r"[ -~]+", value) or not value.strip():
        raise ValueError("a TXT record holds printable ASCII characters, at least one")
    return value


def quoted(value: str) -> str:
    """Text as zone files write it: in pieces of 255 octets, the most that one character string holds (RFC 1035)."""
    escape = str.maketrans({'"': '\\"', "\\": "\\\\"})
    pieces = (value[place:place + 255] for place in range(0, len(value), 255))
    return " ".join(f'"{piece.translate(escape)}"' for piece in pieces)


Name = Annotated[str, AfterValidator(_name)]
Host = Annotated[str, AfterValidator(_host)]
Number = Annotated[int, Field(ge=0, le=65535)]


class _Record(Strict):
    name: Name = Field(description="its full name: the website's own, or one below it or in its own zone")
    ttl: Annotated[int, Field(ge=60, le=86400)] | None = Field(None, description="seconds; the servers' own by default")

    @property
    def value(self) -> str:
        """Its data as zone files write them."""
        raise NotImplementedError


class A(_Record):
    type: Literal["A"]
    address: Annotated[IPv4Address, AfterValidator(_public)]

    @property
    def value(self) -> str:
        return str(self.address)


class AAAA(_Record):
    type: Literal["AAAA"]
    address: Annotated[IPv6Address, AfterValidator(_public)]

    @property
    def value(self) -> str:
        return str(self.address)


class CNAME(_Record):
    type: Literal["CNAME"]
    target: Annotated[str, AfterValidator(_alias)]

    @property
    def value(self) -> str:
        return self.target


class MX(_Record):
    type: Literal["MX"]
    preference: Number
    target: Host

    @property
    def value(self) -> str:
        return f"{self.preference} {self.target}"


class TXT(_Record):
    type: Literal["TXT"]
    text: Annotated[str, Field(max_length=2000), AfterValidator(_text)]

    @property
    def value(self) -> str:
        return quoted(self.text)


class SRV(_Record):
    type: Literal["SRV"]
    priority: Number
    weight: Number
    port: Number
    target: Host

    @property
    def value(self) -> str:
        return f"{self.priority} {self.weight} {self.port} {self.target}"


class CAA(_Record):
    type: Literal["CAA"]
    flags: Annotated[int, Field(ge=0, le=255)] = Field(0, description="0, or 128: an authority must know the tag")
    tag: Literal["issue", "issuewild", "issuemail", "iodef"]
    content: Annotated[str, Field(max_length=250)] = Field(description="an authority's domain, `;` for none, or a URL")

    @property
    def value(self) -> str:
        return f"{self.flags} {self.tag} {quoted(self.content)}"


Record = Annotated[A | AAAA | CNAME | MX | TXT | SRV | CAA, Field(discriminator="type")]


def within(name: str, parent: str) -> bool:
    return name == parent or name.endswith(f".{parent}")


def faults(records: Sequence[Record], website: str, aliases: Iterable[str], zone: str | None) -> list[str]:
    """What is wrong with a website's records, each as its own sentence; an empty list for good ones."""
    places = {website, *aliases}
    found = [fault for record in records for fault in _alone(record, website, places, zone)]
    found += _together(records)
    canonical = {record.name for record in records if record.type == "CNAME"}
    addressed = places | {record.name for record in records if record.type in ("A", "AAAA")}
    for record in records:
        if record.type in ("MX", "SRV"):
            found += _target(record, record.target.rstrip("."), canonical, addressed, [website, *filter(None, [zone])])
    octets = sum(len(record.value) for record in records)
    if len(records) > MOST or octets > MOST_OCTETS:
        found.append(f"{len(records)} records of {octets} octets, {MOST} of {MOST_OCTETS} together are the most")
    return found


def _alone(record: Record, website: str, places: set[str], zone: str | None) -> list[str]:
    name, kind = record.name, record.type
    checks = {
        f"{name} lies neither below {website} nor in a zone of the agency's own":
            not within(name, website) and not (zone and within(name, zone)),
        f"{name} has its addresses from the servers; an {kind} record needs a name of its own":
            kind in ("A", "AAAA") and name in places,
        f"{name} is a name of the website, and a CNAME record suffers no other beside it (RFC 1034)":
            kind == "CNAME" and name in places,
        f"{name} is the top of its zone, which cannot be a CNAME record (RFC 1034)": kind == "CNAME" and name == zone,
        f"{name} has an underscore, and {kind} records are for hosts": kind in ("A", "AAAA", "MX") and "_" in name,
        f"{name} is no _service._proto.name, as an SRV record needs (RFC 2782)":
            kind == "SRV" and not SERVICE.match(name),
        f"{name} points at itself": kind == "CNAME" and record.value == f"{name}.",
    }
    if record.type == "CAA":
        what = REPORTS if record.tag == "iodef" else ISSUERS
        takes = "a mailto: or https:// address" if record.tag == "iodef" else "an authority's domain, or `;` for none"
        fault = f"{name}: CAA {record.tag} takes {takes} (RFC 8659), not {record.content!r}"
        checks[fault] = not what.fullmatch(record.content)
        checks[f"{name}: CAA flags are 0 or 128 (RFC 8659), not {record.flags}"] = record.flags not in (0, 128)
    return [fault for fault, applies in checks.items() if applies]


def _together(records: Sequence[Record]) -> list[str]:
    found = []
    same = Counter((record.name, record.type, record.value) for record in records)
    found += [f"{name} {kind} {value[:60]} is there twice" for (name, kind, value), count in same.items() if count > 1]
    for name in sorted({record.name for record in records}):
        here = [record for record in records if record.name == name]
        kinds = sorted({record.type for record in here})
        if "CNAME" in kinds and len(here) > 1:
            found.append(f"{name} has a CNAME record, which suffers no other beside it (RFC 1034)")
        found += [f"{name} has {kind} records of several ttl; one set has one (RFC 2181)" for kind in kinds
                  if len({record.ttl for record in here if record.type == kind}) > 1]
        for kind in ("MX", "SRV"):
            values = [record.value for record in here if record.type == kind]
            if len(values) > 1 and any(value.endswith(" .") for value in values):
                found.append(f"{name} has an {kind} record to `.`, which says that there is no service, beside another")
    return found


def _target(record: Record, target: str, canonical: set[str], addressed: set[str], own: list[str]) -> list[str]:
    """What is wrong with where mail or a service goes, as far as the request itself tells."""
    where = f"{record.name} {record.type}: {target}"
    if target in canonical:
        return [f"{where} is a CNAME record; name the host itself (RFC 2181)"]
    if target and target not in addressed and any(within(target, parent) for parent in own):
        return [f"{where} has no address; add an A or AAAA record for it"]
    return []

"""Public addresses as leases: who holds which, where it leads, and the NAT table that follows from them."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible.module_utils import nft
from ansible.module_utils.transaction import Change, Left, Refused

TABLE = "websites_nat"
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
LIVE = ("present", "suspended")
PORTS = {"web": "tcp dport { 80, 443 }", "dns": "meta l4proto { tcp, udp } th dport 53"}
VERSIONS = {"ipv4": 4, "ipv6": 6}
UNKNOWN = "(unknown)"  # the holder of a lease of which only a lost state file could tell it; no website has this name
HELD = re.compile(r"^address replace (\S+)/\d+ dev (\S+)", re.MULTILINE)
MAP = re.compile(r"map (web|dns)_ipv[46] \{[^}]*?elements = \{([^}]*)\}")
PAIR = re.compile(r"([0-9a-f.:]+) : ([0-9a-f.:]+)")


class Settings(NamedTuple):
    """The gateway's own settings; addresses are mappings of ipv4, ipv6 and, for servers, inside_ipv4, inside_ipv6."""

    networks: Mapping[str, str | None]
    servers: Mapping[str, str | None]
    web_hosts: Mapping[str, Mapping[str, str | None]]
    nameservers: Mapping[str, Mapping[str, str | None]]


class Lease(NamedTuple):
    """One public address: of a website (its own) or of a server, and the inside address that it leads to."""

    website: str | None
    server: str
    service: str  # web | dns
    inside: str

    def subject(self, address: str) -> str:
        family = "ipv6" if ":" in address else "ipv4"
        return f"lease {family}" if self.website else f"lease {family} of {self.server}"


Leases = dict[str, Lease]  # by address


def address(value: Any, version: int, of: str) -> str:
    """The one written form of an address. Raises Refused, with whose it is."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError as error:
        raise Refused(f"{of} has the address {value!r}", f"write an IPv{version} address") from error
    if parsed.version != version:
        raise Refused(f"{of} has {value} where an IPv{version} address belongs", f"write an IPv{version} address")
    return str(parsed)


def server_leases(settings: Settings) -> Leases:
    """The shared addresses of web hosts, and the name servers' addresses. Raises Refused."""
    leases: Leases = {}
    for service, servers in (("web", settings.web_hosts), ("dns", settings.nameservers)):
        for server, at in sorted(servers.items()):
            for family, version in VERSIONS.items():
                if at.get(family) is None:
                    continue
                public = address(at[family], version, server)
                if public in leases:
                    raise Refused(f"{server} and {leases[public].server} both have the address {public}",
                                  "give each server a public address of its own")
                _within(public, settings.networks.get(family), server)
                leases[public] = Lease(None, server, service, _inside(at, family, server))
    return leases


def recovered(batch: str, *tables: str) -> dict[str, Any]:
    """The state as the saved addresses and the tables tell it, saved or in the kernel, the later ones best.

    They tell what this gateway holds and where it leads, so that nothing of it is taken for somebody else's, or away.
    """
    held = dict(HELD.findall(batch))
    leases = {public: Lease(UNKNOWN, inside, service, inside) for table in tables
              for service, elements in MAP.findall(table) for public, inside in PAIR.findall(elements)}
    return {"interface": next(iter(held.values()), None), "held": sorted(held.keys() | leases.keys()), "live": None,
            "leases": {public: lease._asdict() for public, lease in leases.items()}}


def named(leases: Leases, websites: Iterable[Mapping[str, Any]], servers: Leases) -> Leases:
    """Leases with their holders: where these were lost, the servers that have the addresses, or who asks for them."""
    lost = {public: lease for public, lease in leases.items() if lease.website == UNKNOWN}
    asked: dict[str, str] = {}
    for website in sorted(websites, key=lambda row: str(row["name"])) if lost else ():
        for family, version in VERSIONS.items() if website["address"]["own"] else ():
            with contextlib.suppress(Refused):
                asked.setdefault(address(website["address"].get(family), version, ""), str(website["name"]))
    found = dict(leases)
    for public, lease in lost.items():
        if public in servers:
            found[public] = servers[public]._replace(service=lease.service, inside=lease.inside)
        else:
            found[public] = lease._replace(website=asked.get(public, UNKNOWN))
    return found


def _inside(at: Mapping[str, str | None], family: str, server: str) -> str:
    return address(at.get(f"inside_{family}"), VERSIONS[family], f"inside_{family} of {server}")


def _within(public: str, network: str | None, of: str) -> None:
    if network is None or ipaddress.ip_address(public) not in ipaddress.ip_network(network):
        raise Refused(f"{of} has {public}, outside the public network {network or '(none)'}",
                      "take an address of the public network, or mend public_ip_networks")


def website_leases(websites: Iterable[Mapping[str, Any]], settings: Settings, servers: Leases,
                   held: Leases | None = None) -> tuple[Leases, list[Left]]:
    """The own addresses of websites, and the websites that cannot have what they ask for: they keep what is `held`."""
    leases: Leases = {}
    refused: list[Left] = []
    for website in sorted(websites, key=lambda row: str(row["name"])):
        try:
            found = _leases_of(website, settings, servers)
            for public in found.keys() & leases.keys():
                raise Refused(f"{website['name']} and {leases[public].website} both ask for {public}",
                              "give each an address of its own, or a shared one")
            leases.update(found)
        except Refused as error:
            refused.append(Left(str(website["name"]), error.what, error.mend))
    keep(leases, {left.website for left in refused}, held or {})
    return leases, refused


def keep(leases: Leases, names: set[str], held: Leases) -> None:
    """Put these websites' leases back to what is held, as far as nobody else has the address by now."""
    for public in [public for public, lease in leases.items() if lease.website in names]:
        del leases[public]
    for public, lease in held.items():
        if lease.website in names:
            leases.setdefault(public, lease)


def _leases_of(website: Mapping[str, Any], settings: Settings, servers: Leases) -> Leases:
    name, host, at = website["name"], website["web_host"], website["address"]
    if not isinstance(name, str) or not NAME.match(name):
        raise Refused(f"{name!r} is no website's name", "use a lower-case domain name")
    if website["state"] not in LIVE:
        return {}
    if host not in settings.web_hosts:
        raise Refused(f"{name} lies on {host!r}, which is no web host (there are {', '.join(settings.web_hosts)})",
                      "name a web host of public_ip_web_hosts")
    leases: Leases = {}
    for family, version in VERSIONS.items():
        shared, public = settings.web_hosts[host].get(family), at.get(family)
        if public is not None:
            public = address(public, version, name)
        elif family == "ipv4" and at["own"]:
            raise Refused(f"{name} has no IPv4 address", "give it one of the pool")
        if not at["own"]:
            if public is not None and (shared is None or public != address(shared, version, host)):
                raise Refused(f"{name} has {public}, but shares the address of {host}, {shared}",
                              "converge it with the address of its web host, or give it one of its own")
        elif public is not None:
            if public in servers:
                raise Refused(f"{name} asks for {public}, which is the address of {servers[public].server}",
                              "give it a free address of the pool")
            _within(public, settings.networks.get(family), name)
            leases[public] = Lease(name, host, "web", _inside(settings.web_hosts[host], family, host))
    return leases


def kept_leases(old: Leases, settings: Settings, servers: Leases) -> Leases:
    """The websites' leases as they are, for a run that sets up the server and knows no websites.

    Those of unknown holders stay, too: `website_leases` refuses that name, and who is refused keeps what is held.
    """
    rows = [{"name": lease.website, "web_host": lease.server, "state": "present",
             "address": {"own": True, "ipv6" if ":" in public else "ipv4": public}}
            for public, lease in old.items() if lease.website]
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        merged.setdefault(str(row["name"]), {**row, "address": {}})["address"].update(row["address"])
    return website_leases(merged.values(), settings, servers, old)[0]


def public_interface(wanted: str | None, network: str | None, here: list[tuple[str, str, bool]], held: set[str]) -> str:
    """The interface that faces the public side. Raises Refused where it is not plain."""
    names = {interface for interface, _, _ in here}
    if wanted is not None:
        if wanted not in names:
            raise Refused(f"this gateway has no interface {wanted!r} with an address (there are "
                          f"{', '.join(sorted(names))})", "mend public_ip_interface")
        return wanted
    found = {interface for interface, address, _ in here
             if network and ":" not in address and address not in held
             and ipaddress.ip_address(address) in ipaddress.ip_network(network)}
    if len(found) != 1:
        raise Refused(f"{len(found)} interfaces of this gateway have an address in {network}, so the public one is not "
                      f"plain", "name it in public_ip_interface")
    return found.pop()


def lease_changes(old: Leases, new: Leases) -> list[Change]:
    """What becomes of whose lease; a changed address is one update, not a removal and a creation."""
    before, after = _by_holder(old), _by_holder(new)
    changes = []
    for holder in sorted(before.keys() | after.keys(), key=lambda h: (h[0] or "", h[1])):
        was, now = before.get(holder), after.get(holder)
        if was != now:
            action = "create" if was is None else "update" if now else "remove"
            changes.append(Change(*holder, action, was, now))
    return changes


def _by_holder(leases: Leases) -> dict[tuple[str | None, str], dict[str, str]]:
    return {(lease.website, lease.subject(public)): {"address": public, "target": lease.inside,
                                                     "service": lease.service}
            for public, lease in leases.items()}


def as_built(websites: Iterable[Mapping[str, Any]], settings: Settings) -> dict[str, dict[str, Any]]:
    """What the records keep of each website: its addresses and where they lead."""
    built = {}
    for website in websites:
        if website["state"] in LIVE:
            at, host = website["address"], settings.web_hosts[website["web_host"]]
            built[website["name"]] = {
                "ipv4": at.get("ipv4"), "ipv6": at.get("ipv6"), "own": at["own"],
                "target": {family: at.get(family) and host.get(f"inside_{family}") for family in VERSIONS},
            }
    return built


def render(leases: Leases, settings: Settings) -> str:
    """The NAT table: to the inside by maps, hairpin for the servers' own visits, and the servers' way out."""
    sets: list[str] = []
    into: list[str] = []
    out: list[str] = []
    for service, ports in PORTS.items():
        for version, (family, ip, kind) in nft.FAMILIES.items():
            found = {ipaddress.ip_address(public): lease.inside for public, lease in leases.items()
                     if lease.service == service and (":" in public) == (version == 6)}
            if found:
                name = f"{service}_{family}"
                elements = ", ".join(f"{public} : {found[public]}" for public in sorted(found))
                sets += [f"map {name} {{", f"\ttype {kind} : {kind}", f"\telements = {{ {elements} }}", "}", ""]
                into.append(f"{ports} dnat {ip} to {ip} daddr map @{name}")
    for version, elements in nft.networks(filter(None, settings.servers.values()), "public_ip_servers").items():
        family, ip, _ = nft.FAMILIES[version]
        if elements:
            sets += nft.interval_set(f"servers_{family}", version, elements)
            ours = f"@servers_{family}"
            # A server that visits a public address of ours must get its answers through here as well.
            out.append(f"{ip} saddr {ours} {ip} daddr {ours} ct status dnat masquerade")
            out.append(f"{ip} saddr {ours} {ip} daddr != {ours} masquerade")
    body = [*sets, *_chain("prerouting", "nat hook prerouting priority dstnat", into),
            # The gateway's own visits; nft has no name for this priority at this hook.
            *_chain("output", "nat hook output priority -100", into),
            *_chain("postrouting", "nat hook postrouting priority srcnat", out),
            # A redirect would lead a server's visit around the translation.
            *_chain("redirects", "filter hook output priority filter",
                    ["icmp type redirect drop", "icmpv6 type nd-redirect drop"])]
    return nft.document(TABLE, "Ansible's role public_ip", body)


def _chain(name: str, hook: str, rules: list[str]) -> list[str]:
    return [f"chain {name} {{", f"\ttype {hook}; policy accept;", *(f"\t{rule}" for rule in rules), "}", ""]


def add_line(public: str, interface: str) -> str:
    """ip's command that holds an address; an IPv6 one is never the source of the gateway's own connections."""
    if ":" in public:
        return f"address replace {public}/128 dev {interface} nodad preferred_lft 0"
    return f"address replace {public}/32 dev {interface}"


def remove_line(public: str, interface: str) -> str:
    return f"address delete {public}/{128 if ':' in public else 32} dev {interface}"

"""A server's firewall as text: the base rules, and what each service declares that it needs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils import nft
from ansible.module_utils.transaction import Refused

TABLE = "websites_firewall"
SERVICE = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z")
USERS = re.compile(r"([1-9][0-9]{0,9})-([1-9][0-9]{0,9})\Z")
LOG = "limit rate 12/minute burst 20 packets log prefix \"websites_firewall {}: \" level info"
# What is nobody's public address (RFC 6890); documentation networks, which stand for public ones, are not among it.
SPECIAL = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
           "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "::/3", "4000::/2", "8000::/1"]

# Neighbour discovery, path MTU and error reports: without them IPv6 does not work, and IPv4 hangs on big packets.
ICMP = [
    "icmp type { destination-unreachable, echo-request, parameter-problem, time-exceeded } accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, "
    "mld-listener-query, nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept",
    # A DHCPv6 server answers a multicast question, which connection tracking cannot pair.
    "ip6 saddr fe80::/10 udp dport 546 accept",
]


def fragment(declared: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A service's declaration in its one written form. Raises Refused, with `where`, for what is no declaration."""
    result: dict[str, Any] = {"allow": [_ports(item, "from", where) for item in declared.get("allow") or []],
                              "forward": [_forward(item, where) for item in declared.get("forward") or []]}
    if declared.get("egress"):
        result["egress"] = _egress(declared["egress"], where)
    return result


def _egress(item: Any, where: str) -> dict[str, Any]:
    _known(item, {"users", "closed", "allow"}, where)
    match = USERS.match(str(item.get("users")))
    # 0 is root, whose connections are the administrators' own; the kernel's last number is nobody's.
    if not match or not int(match[1]) <= int(match[2]) < 2**32 - 1:
        raise Refused(f"{where}: users {item.get('users')!r}", "write a range of unix ids, as `users: 20000-59999`")
    closed = nft.networks(item.get("closed") or [], where)
    return {"users": item["users"], "closed": closed[4] + closed[6],
            "allow": [_ports(rule, "to", where) for rule in item.get("allow") or []]}


def _ports(item: Any, side: str, where: str) -> dict[str, Any]:
    _known(item, {"protocol", "ports", side}, where)
    if item.get("protocol") not in ("tcp", "udp"):
        raise Refused(f"{where}: protocol {item.get('protocol')!r}", "write `protocol: tcp` or `protocol: udp`")
    ports = item.get("ports") or []
    if not isinstance(ports, list) or not ports:
        raise Refused(f"{where}: no ports", "write a list of ports, as `ports: [80, 443]`")
    return {"protocol": item["protocol"], "ports": [_port(port, where) for port in ports],
            side: "public" if side == "to" and item.get(side) == "public" else _from(item.get(side), where)}


def _forward(item: Any, where: str) -> dict[str, Any]:
    _known(item, {"from", "to", "dnat"}, where)
    if item.get("dnat") is True and set(item) == {"dnat"}:
        return {"dnat": True}
    to = item.get("to")
    if item.get("dnat") or "from" not in item or to is None:
        raise Refused(f"{where}: {item!r} is no rule for forwarding",
                      "write `dnat: true`, or `from` (any or networks) with `to` (any, elsewhere or networks)")
    if to == "elsewhere" and item["from"] == "any":
        raise Refused(f"{where}: nothing lies elsewhere than `from: any`", "write the networks in `from`")
    return {"from": _from(item["from"], where), "to": to if to == "elsewhere" else _from(to, where)}


def _known(item: Any, keys: set[str], where: str) -> None:
    if not isinstance(item, dict) or set(item) - keys:
        raise Refused(f"{where}: {item!r}", f"write a mapping with only {', '.join(sorted(keys))}")


def _port(value: Any, where: str) -> int | str:
    match = PORT.match(str(value))
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 65535:
        raise Refused(f"{where}: port {value!r}", "write a port from 1 to 65535, or a range as 8000-8010")
    return low if low == high else f"{low}-{high}"


def _from(value: Any, where: str) -> str | list[str]:
    if value == "any":
        return "any"
    if not isinstance(value, list) or not value:
        raise Refused(f"{where}: from or to is {value!r}", "write `any`, or a list of networks")
    merged = nft.networks(value, where)
    return merged[4] + merged[6]


def render(base: Mapping[str, Any], fragments: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole table, from the base (management, ssh_port) and the services' fragments by name."""
    sets: list[str] = []
    # Before all others, so that no declaration and no connection-tracking trouble can shut the administrators out.
    first = [match + f"tcp dport {base['ssh_port']} accept"
             for match in _matches("management", base["management"], "saddr", sets)]
    services: list[str] = []
    forward: list[str] = []
    for service, declared in sorted(fragments.items()):
        for index, item in enumerate(declared["allow"]):
            ports = ", ".join(str(port) for port in item["ports"])
            rule = f"{item['protocol']} dport {{ {ports} }} accept comment \"{service}\""
            services += [match + rule for match in _matches(f"{service}_{index}", item["from"], "saddr", sets)]
        for index, item in enumerate(declared["forward"]):
            forward += _forward_rules(f"{service}_forward_{index}", item, sets)
    tracked = ["ct state invalid counter drop", "ct state { established, related } accept"]
    body = [*sets, *_chain("input", [*first, *tracked, "iif lo accept", *ICMP, *services])]
    if forward:
        body += ["", *_chain("forward", [*tracked, *forward])]
    confined = {service: declared["egress"] for service, declared in sorted(fragments.items()) if "egress" in declared}
    if confined:
        sets = []
        chains = [line for service, item in confined.items() for line in _egress_chain(service, item, base, sets)]
        jumps = [f"\tmeta skuid {item['users']} jump {service}_egress" for service, item in confined.items()]
        body = [*sets, *body, *chains,
                "", "chain output {", "\ttype filter hook output priority filter; policy accept;", *jumps, "}"]
    return nft.document(TABLE, "Ansible's role firewall from /etc/websites/firewall.d", body)


def _egress_chain(service: str, item: Mapping[str, Any], base: Mapping[str, Any], sets: list[str]) -> list[str]:
    """The connections that a range of users may open; every other one is answered at once, so that nobody waits."""
    inside = f"{service}_egress_inside"
    public = _matches(inside, [*SPECIAL, *item["closed"], *base["management"]], "daddr !=", sets)
    rules = []
    for index, rule in enumerate(item["allow"]):
        ports = ", ".join(str(port) for port in rule["ports"])
        matches = public if rule["to"] == "public" else _matches(f"{service}_egress_{index}", rule["to"], "daddr", sets)
        rules += [f"{match}{rule['protocol']} dport {{ {ports} }} accept" for match in matches]
    # The log names the user, and with it the website.
    end = [LOG.format("output") + " flags skuid", "tcp dport 1-65535 counter reject with tcp reset",
           "counter reject with icmpx admin-prohibited"]
    return ["", f"chain {service}_egress {{", *(f"\t{line}" for line in [*rules, *end]), "}"]


def _chain(hook: str, rules: list[str]) -> list[str]:
    # Noise to everybody is dropped without a line in the log; the rest of what is dropped is counted and logged.
    end = ["meta pkttype { broadcast, multicast } counter drop", LOG.format(hook), "counter drop"]
    return [f"chain {hook} {{", f"\ttype filter hook {hook} priority filter; policy drop;",
            *(f"\t{rule}" for rule in [*rules, *end]), "}"]


def _forward_rules(name: str, item: Mapping[str, Any], sets: list[str]) -> list[str]:
    if item.get("dnat"):
        return ["ct status dnat accept"]
    if item["to"] == "elsewhere":
        by_version = nft.networks(item["from"], name)
        rules = []
        for version, elements in by_version.items():
            if elements:
                sets += nft.interval_set(f"{name}_{nft.FAMILIES[version][0]}", version, elements)
                ip, ours = nft.FAMILIES[version][1], f"@{name}_{nft.FAMILIES[version][0]}"
                rules.append(f"{ip} saddr {ours} {ip} daddr != {ours} accept")
        return rules
    sources = _matches(f"{name}_from", item["from"], "saddr", sets)
    targets = _matches(f"{name}_to", item["to"], "daddr", sets)
    return [source + target + "accept" for source in sources for target in targets
            if not source or not target or source.split()[0] == target.split()[0]]


def _matches(name: str, addresses: Any, side: str, sets: list[str]) -> list[str]:
    """The beginnings of the rules that match the addresses; their named sets are added to `sets`."""
    if addresses == "any":
        return [""]
    result = []
    for version, elements in nft.networks(addresses, name).items():
        if elements:
            family = nft.FAMILIES[version]
            sets += nft.interval_set(f"{name}_{family[0]}", version, elements)
            result.append(f"{family[1]} {side} @{name}_{family[0]} ")
    return result


def shuts_out(base: Mapping[str, Any], ssh_connection: str) -> str | None:
    """Why the connection of this very run (sshd's SSH_CONNECTION) would not be let in again; None if it would be."""
    parts = ssh_connection.split()
    if len(parts) != 4:
        return None
    if int(parts[3]) != base["ssh_port"]:
        return f"this run came in at port {parts[3]}, and firewall_ssh_port is {base['ssh_port']}"
    client = ipaddress.ip_address(parts[0].split("%")[0].removeprefix("::ffff:"))
    if not any(client in ipaddress.ip_network(network) for network in base["management"]):
        return f"this run came from {client}, which is in none of firewall_management ({', '.join(base['management'])})"
    return None

"""The name server's zones: reverse zones are named by the network they describe, or as its provider delegates it."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible.errors import AnsibleFilterError


def reverse_zones(network: str) -> list[str]:
    """`198.51.100.0/24` gives `100.51.198.in-addr.arpa`; one that ends within a label gives a zone for each.

    Raises AnsibleFilterError where that would be a zone for each address.
    """
    parsed = _parsed(network)
    bits = 8 if parsed.version == 4 else 4
    whole = -(-parsed.prefixlen // bits) * bits
    if not parsed.prefixlen:
        raise _refused(f"{network} is the whole tree of reverse zones", "give the network of this fleet alone")
    if whole == parsed.max_prefixlen > parsed.prefixlen:
        raise _refused(
            f"{network} is a part of a reverse zone, and its provider alone knows that part's name",
            f"name it as the provider delegates it (RFC 2317), {{network: {network}, name: NAME}}, or leave "
            "the network out: its addresses then have no PTR records from here (in fleet.yml by `reverse_zones`)",
        )
    cut = (parsed.max_prefixlen - whole) // bits
    parts = parsed.subnets(new_prefix=whole)
    return [".".join(part.network_address.reverse_pointer.split(".")[cut:]) for part in parts]


def zone_names(zones: list[dict[str, Any]]) -> list[str]:
    """The names of zones that are given as `{name: …}`, `{network: …}` or both, in their order."""
    return [name for zone in zones for name in ([zone["name"]] if "name" in zone else reverse_zones(zone["network"]))]


def zone_networks(zones: list[dict[str, Any]]) -> dict[str, str]:
    """The networks of the reverse zones that have a name of their own, by name."""
    return {zone["name"]: str(_parsed(zone["network"])) for zone in zones if "name" in zone and "network" in zone}


def _parsed(network: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(network)
    except ValueError as error:
        raise _refused(f"{network} is no network ({error})", "write it as 198.51.100.0/24") from error


def _refused(what: str, mend: str) -> AnsibleFilterError:
    return AnsibleFilterError(f"refused: {what}\nlayer: dns, nameserver_zones\nmend: {mend}")


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"nameserver_zone_names": zone_names, "nameserver_zone_networks": zone_networks}

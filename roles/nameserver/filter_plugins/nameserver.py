"""The name server's zones: reverse zones are named by the network they describe."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible.errors import AnsibleFilterError


def reverse_zone(network: str) -> str:
    """`198.51.100.0/24` gives `100.51.198.in-addr.arpa`; IPv6 is cut at nibbles.

    Raises AnsibleFilterError where the network does not end at a label of the reverse tree.
    """
    try:
        parsed = ipaddress.ip_network(network)
    except ValueError as error:
        raise _refused(f"{network} is no network ({error})", "write it as 198.51.100.0/24") from error
    bits = 8 if parsed.version == 4 else 4
    if parsed.prefixlen % bits or not parsed.prefixlen:
        raise _refused(
            f"{network} does not end at a label of the reverse tree",
            f"give a prefix that is a multiple of {bits}, split into several networks where need be",
        )
    labels = parsed.network_address.reverse_pointer.split(".")
    return ".".join(labels[(parsed.max_prefixlen - parsed.prefixlen) // bits:])


def zone_names(zones: list[dict[str, Any]]) -> list[str]:
    """The names of zones that are given as `{name: …}` or `{network: …}`, in their order."""
    return [zone["name"] if "name" in zone else reverse_zone(zone["network"]) for zone in zones]


def _refused(what: str, mend: str) -> AnsibleFilterError:
    return AnsibleFilterError(f"refused: {what}\nlayer: dns, nameserver_zones\nmend: {mend}")


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"nameserver_zone_names": zone_names}

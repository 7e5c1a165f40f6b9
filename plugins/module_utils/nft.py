"""One nftables table of our own: rendered, checked, loaded in one transaction, and compared with what was loaded."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.transaction import Refused, run

FAMILIES = {4: ("ipv4", "ip", "ipv4_addr"), 6: ("ipv6", "ip6", "ipv6_addr")}  # version: our name, nft's, nft's type


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def networks(values: Iterable[str], where: str) -> dict[int, list[str]]:
    """The networks by IP version, merged and sorted as nft's interval sets need them. Raises Refused."""
    parsed: dict[int, list[Any]] = {4: [], 6: []}
    for value in values:
        try:
            network = ipaddress.ip_network(value)
        except (ValueError, TypeError) as error:
            raise Refused(f"{where}: {value!r} is no network: {error}", "write networks as 192.0.2.0/24") from error
        parsed[network.version].append(network)
    return {version: [_element(n) for n in ipaddress.collapse_addresses(sorted(found))]
            for version, found in parsed.items()}


def _element(network: Any) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def interval_set(name: str, version: int, elements: list[str]) -> list[str]:
    """A named set of networks, as lines of a table."""
    return [f"set {name} {{", f"\ttype {FAMILIES[version][2]}", "\tflags interval",
            f"\telements = {{ {', '.join(elements)} }}", "}", ""]


def removal(table: str) -> str:
    """nft's input that removes the table, whether it exists or not, and touches no other."""
    return f"add table inet {table}\ndelete table inet {table}\n"


def document(table: str, made_by: str, body: list[str]) -> str:
    """nft's input that makes or replaces the table as a whole in one transaction; its comment is the rules' hash."""
    rules = "\n".join(f"\t{line}" if line else "" for line in body).rstrip()
    return (f"# Made by {made_by}; changes by hand are undone by its next run.\n{removal(table)}"
            f"table inet {table} {{\n\tcomment \"sha256 {digest(rules)}\"\n\n{rules}\n}}\n")


def installed() -> bool:
    return shutil.which("nft") is not None


def exists(table: str) -> bool:
    if not installed():
        return False
    found = json.loads(run(["nft", "-j", "list", "tables"]))["nftables"]
    return any(item.get("table", {}).get("family") == "inet" and item["table"]["name"] == table
               for item in found if "table" in item)


def listing(table: str) -> str:
    """nft's input that brings back the table as it is now: the table that a failed change restores."""
    if not exists(table):
        return removal(table)
    return removal(table) + run(["nft", "-s", "list", "table", "inet", table])


def fingerprint(table: str) -> str | None:
    """The hash of the table as the kernel holds it, but for counters, handles and order of sets; None without it."""
    if not exists(table):
        return None
    items = json.loads(run(["nft", "-j", "list", "table", "inet", table]))["nftables"]
    return digest(json.dumps([canonical(item) for item in items if "metainfo" not in item], sort_keys=True))


def canonical(value: Any) -> Any:
    """A part of nft's JSON with what differs from load to load left out."""
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, item in value.items():
        if key == "handle":
            continue
        if key == "counter" and isinstance(item, dict):
            item = {k: v for k, v in item.items() if k not in ("packets", "bytes")}
        item = canonical(item)
        # The kernel keeps sets in the order of its hashes, which are seeded anew for every set.
        if key in ("set", "elem") and isinstance(item, list):
            item = sorted(item, key=lambda element: json.dumps(element, sort_keys=True))
        result[key] = item
    return result


def check(text: str) -> None:
    """Let nft judge the whole document without loading it. Raises Refused with what nft says."""
    run(["nft", "-c", "-f", "-"], stdin=text)


def load(text: str) -> None:
    """Load the document as one transaction: all of it, or nothing. Raises Refused."""
    run(["nft", "-f", "-"], stdin=text)


def read(path: pathlib.Path) -> str:
    """A saved document; empty where there is none."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""

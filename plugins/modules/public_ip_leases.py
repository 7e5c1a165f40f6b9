#!/usr/bin/python
"""Ansible module: the public addresses that this gateway holds for websites and servers, and their translation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: public_ip_leases
short_description: Converge the public addresses held by a gateway and the NAT table that leads them to the servers
description:
  - Holds the shared address of every web host, the addresses of the name servers and the own addresses of websites on
    the public interface, and translates them to the servers' network in the table C(inet websites_nat). Addresses and
    tables that are not its own are never touched.
  - Both are saved for websites-addresses.service and websites-nat.service, which restore them at boot.
options:
  websites:
    description:
      - The full desired set. Left out, the websites' leases stay as they are and only those of servers are converged.
    type: raw
  host:
    description: This gateway's name in the inventory.
    type: str
    required: true
  facts_of:
    description: Names of websites whose facts C(as_built) tells; without it all.
    type: list
    elements: str
  interface:
    description: The public interface; left out, the one that has an address in the public IPv4 network.
    type: str
  networks:
    description: The public networks, C(ipv4) and C(ipv6); C(ipv6) may be null.
    type: dict
    required: true
  servers:
    description: The servers' networks, C(ipv4) and C(ipv6); C(ipv6) may be null.
    type: dict
    required: true
  web_hosts:
    description: Each web host's C(ipv4), C(ipv6), C(inside_ipv4), C(inside_ipv6).
    type: dict
    required: true
  nameservers:
    description: The same for each name server.
    type: dict
    required: true
author: [sop-websites]
"""

EXAMPLES = r"""
- name: Lease the addresses
  public_ip_leases:
    host: gateway1
    networks: {ipv4: 198.51.100.0/24, ipv6: "2001:db8:77::/64"}
    servers: {ipv4: 10.89.77.0/24, ipv6: "fd00:89:77::/64"}
    web_hosts:
      web1: {ipv4: 198.51.100.11, ipv6: null, inside_ipv4: 10.89.77.11, inside_ipv6: null}
    nameservers: {}
    websites: []
"""

RETURN = r"""
changes:
  description: Every difference, with before and after.
  type: list
  returned: success
  elements: dict
as_built:
  description: By website, its addresses and the inside addresses that they lead to.
  type: dict
  returned: success
conflicts:
  description: Addresses that something else on this gateway holds.
  type: list
  returned: success
  elements: dict
created:
  description: Always empty, since a lease is no data.
  type: list
  returned: success
  elements: str
orphans:
  description: Always empty, since a lease goes with its website.
  type: list
  returned: success
  elements: str
refused:
  description: Websites that keep the leases they had, each with what and mend; all others were converged.
  type: list
  returned: success
  elements: dict
"""

import contextlib
import json
import pathlib
from typing import Any, NamedTuple

from ansible.module_utils import nft, public_ip
from ansible.module_utils.announce import announce
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import (
    STATE,
    Change,
    Left,
    Outcome,
    Refused,
    desired_websites,
    fail,
    finish,
    not_ours,
    read_json,
    run,
    server_lock,
    write_atomic,
)

LAYER = "address"
ETC = pathlib.Path("/etc/websites")
RULES = ETC / "nat.nft"  # what websites-nat.service loads at boot
ADDRESSES = ETC / "addresses.batch"  # what websites-addresses.service holds at boot
LEASES = STATE / LAYER / "leases.json"
NOTHING: dict[str, Any] = {"interface": None, "held": [], "leases": {}, "live": None}
Place = tuple[str, str]  # interface, address


class Plan(NamedTuple):
    changes: list[Change]
    conflicts: list[dict[str, str]]
    refused: list[Left]
    leases: public_ip.Leases
    interface: str
    add: list[Place]
    remove: list[Place]
    text: str


def placed() -> list[tuple[str, str, bool]]:
    """Every address of this server: interface, address, whether it stands alone (/32 or /128) as ours do."""
    return [(link["ifname"], found["local"], found["prefixlen"] == (32 if found["family"] == "inet" else 128))
            for link in json.loads(run(["ip", "-json", "address", "show"])) for found in link.get("addr_info", [])
            if "local" in found]


def plan(params: dict[str, Any], state: dict[str, Any]) -> Plan:
    """What would change, from the desired leases, the state file, the interface and the kernel's table."""
    settings = public_ip.Settings(params["networks"], params["servers"], params["web_hosts"], params["nameservers"])
    servers, refused = public_ip.server_leases(settings), []
    old = {address: public_ip.Lease(**lease) for address, lease in state["leases"].items()}
    old = public_ip.named(old, params["websites"] or [], servers)
    if params["websites"] is None:
        leases = public_ip.kept_leases(old, settings, servers)
    else:
        leases, refused = public_ip.website_leases(params["websites"], settings, servers, old)
    leases = servers | leases
    here, held = placed(), set(state["held"])
    interface = public_ip.public_interface(params["interface"], settings.networks.get("ipv4"), here, held)
    ours = {(name, address) for name, address, alone in here
            if alone and address in held and name in (state["interface"], interface)}
    taken = foreign(leases, [row for row in here if row[:2] not in ours or not row[2]])
    conflicts = [{"website": leases[address].website or "", "subject": leases[address].subject(address),
                  "where": f"{address} on {where}"} for address, where in taken.items()]
    conflicts.sort(key=lambda conflict: (conflict["website"], conflict["subject"]))
    public_ip.keep(leases, {conflict["website"] for conflict in conflicts}, old)
    wanted = {(interface, address) for address in leases if address not in taken}
    add, remove = wanted - ours, {place for place in ours - wanted if place[1] not in taken}
    changes = public_ip.lease_changes(old, leases)
    text = public_ip.render(leases, settings)
    changes += repairs(changes, leases, add, remove) + table_change(text, state["live"])
    return Plan(changes, conflicts, refused, leases, interface, sorted(add), sorted(remove), text)


def foreign(leases: public_ip.Leases, others: list[tuple[str, str, bool]]) -> dict[str, str]:
    """Websites' addresses that something else holds here, and where. Raises Refused where it is a server's address."""
    taken = {address: interface for interface, address, _ in others if address in leases}
    for address, interface in taken.items():
        if not leases[address].website:
            raise Refused(f"{address}, the address of {leases[address].server}, is on {interface} of this gateway "
                          f"and not ours", f"take it off {interface}, or give {leases[address].server} another")
    return taken


def repairs(changes: list[Change], leases: public_ip.Leases, add: set[Place], remove: set[Place]) -> list[Change]:
    """Differences on the interface that no change of a lease explains."""
    explained = {value["address"] for change in changes for value in (change.before, change.after) if value}
    return [
        *(Change(leases[address].website, f"address {address}", "create", None, interface)
          for interface, address in sorted(add) if address not in explained),
        *(Change(None, f"address {address}", "remove", interface, None)
          for interface, address in sorted(remove) if address not in explained),
    ]


def table_change(text: str, applied: str | None) -> list[Change]:
    saved, live = nft.read(RULES), nft.fingerprint(public_ip.TABLE)
    if saved == text and live is not None and live == applied:
        return []
    other = "changed by hand" if applied else "not known"
    before = None if live is None else nft.digest(saved)[:16] if live == applied else other
    action = "create" if live is None else "update"
    return [Change(None, f"table inet {public_ip.TABLE}", action, before, nft.digest(text)[:16])]


def batch(lines: list[str], force: bool = False) -> None:
    """Let ip carry out the lines; `force` goes on after one that fails."""
    if lines:
        run(["ip", *(["-force"] if force else []), "-batch", "-"], stdin="\n".join(lines) + "\n")


def apply(planned: Plan, state: dict[str, Any]) -> None:
    """Take the addresses, load the table, let go of what went; on any error put all of it back."""
    nft.check(planned.text)
    previous, files = nft.listing(public_ip.TABLE), {path: nft.read(path) for path in (ADDRESSES, RULES)}
    add = [public_ip.add_line(address, interface) for interface, address in planned.add]
    remove = [public_ip.remove_line(address, interface) for interface, address in planned.remove]
    # Before the first address is taken: if this run is killed, the next one knows them as ours.
    write_state({**state, "held": sorted({*state["held"], *planned.leases}), "interface": planned.interface})
    try:
        batch(add)
        nft.load(planned.text)
        batch(remove)
        lines = [public_ip.add_line(address, planned.interface) for address in sorted(planned.leases)]
        write_atomic(ADDRESSES, "".join(f"{line}\n" for line in lines))
        write_atomic(RULES, planned.text)
        leases = {address: lease._asdict() for address, lease in planned.leases.items()}
        write_state({"interface": planned.interface, "held": sorted(leases), "leases": leases,
                     "live": nft.fingerprint(public_ip.TABLE)})
    except BaseException:
        put_back(planned, previous, files, state)
        raise
    announce(planned.add)


def put_back(planned: Plan, previous: str, files: dict[pathlib.Path, str], state: dict[str, Any]) -> None:
    with contextlib.ExitStack() as stack:  # the last one first, and each whatever becomes of the others
        stack.callback(settle_state, planned, state)
        for path, content in files.items():
            stack.callback(write_atomic, path, content) if content else stack.callback(path.unlink, missing_ok=True)
        stack.callback(put_back_addresses, planned)
        nft.load(previous)


def put_back_addresses(planned: Plan) -> None:
    here = {(interface, address) for interface, address, _ in placed()}
    batch([public_ip.remove_line(address, interface) for interface, address in planned.add
           if (interface, address) in here]
          + [public_ip.add_line(address, interface) for interface, address in planned.remove], force=True)


def settle_state(planned: Plan, state: dict[str, Any]) -> None:
    """The state as before, but that an address that could not be let go of stays known as ours."""
    stuck = {address for interface, address, _ in placed() if (interface, address) in planned.add}
    write_state({**state, "held": sorted({*state["held"], *stuck})})


def read_state() -> dict[str, Any]:
    """The state; where its file is lost or broken, what the saved files and the kernel's table tell of it."""
    with contextlib.suppress(Refused):
        if isinstance(found := read_json(LEASES, None), dict):
            return {**NOTHING, **found}
    return public_ip.recovered(nft.read(ADDRESSES), nft.read(RULES), nft.listing(public_ip.TABLE))


def write_state(state: dict[str, Any]) -> None:
    write_atomic(LEASES, json.dumps(state, indent=1, sort_keys=True), 0o600)


def converge(module: AnsibleModule) -> Outcome:
    if not module.check_mode:
        for folder, mode in ((ETC, 0o755), (STATE, 0o700), (LEASES.parent, 0o700)):
            folder.mkdir(mode=mode, exist_ok=True)
    state = read_state()
    planned = plan(module.params, state)
    if planned.changes and not module.check_mode:
        apply(planned, state)
    elif planned.changes and nft.installed():
        nft.check(planned.text)
    elif not module.check_mode and state["held"] != sorted(planned.leases):  # what a killed run noted and never took
        write_state({**state, "held": sorted(planned.leases)})
    websites = module.params["websites"] or []
    settings = public_ip.Settings(*(module.params[name] for name in public_ip.Settings._fields))
    refused, conflicts = list(planned.refused), planned.conflicts
    if not module.check_mode:
        refused += {found["website"]: not_ours(found, module.params["host"]) for found in conflicts}.values()
        conflicts = []
    left = {found.website for found in refused}
    built = public_ip.as_built([row for row in websites if row["name"] not in left], settings)
    return Outcome(planned.changes, built, [], conflicts, [], tuple(refused))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": desired_websites},
            "host": {"type": "str", "required": True},
            "facts_of": {"type": "list", "elements": "str"},
            "interface": {"type": "str"},
            "networks": {"type": "dict", "required": True},
            "servers": {"type": "dict", "required": True},
            "web_hosts": {"type": "dict", "required": True},
            "nameservers": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        with server_lock(LAYER):
            finish(module, LAYER, module.params["host"], converge(module))
    except (Refused, OSError) as error:
        fail(module, LAYER, module.params["host"], error)


if __name__ == "__main__":
    main()

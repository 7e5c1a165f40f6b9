#!/usr/bin/python
# Copyright: DKISP Kota Tarakan
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Converge the records of all websites and servers in the zones of the primary name server."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nameserver_records
short_description: Converge the DNS records of all websites
description:
  - Runs on the primary name server. Reads each zone by one transfer, computes the record sets that the websites and the
    servers need (A, AAAA, PTR, NS, the primary in the SOA record), and sends the difference as RFC 2136 updates.
  - Owns a name where C(_website.NAME) holds a TXT record C(website=UID) or C(website=fleet), and the name servers of a
    zone where C(_nameserver.ZONE) does; marks are written in the same update as what they mark. All else is foreign and
    never touched; a desired name with foreign records is a conflict.
  - Prerequisites pin what was read. The module waits until every secondary answers with the new serial, and puts the
    records back where one does not.
options:
  websites:
    description: The full desired set of websites.
    type: list
    elements: dict
    required: true
  host:
    description: Name of this server in the inventory.
    type: str
    required: true
  zones:
    description: Names of the zones that are served, forward and reverse.
    type: list
    elements: str
    required: true
  nameservers:
    description: Public addresses (C(ipv4), C(ipv6)) of the name servers by full name, the primary first.
    type: dict
    required: true
  hosts:
    description: Public addresses (C(ipv4), C(ipv6)) of servers that have names, by full name.
    type: dict
    default: {}
  secondaries:
    description: Lists of addresses at which this server sees each secondary, by inventory name.
    type: dict
    default: {}
  ttl:
    description: Time to live of the records, in seconds.
    type: int
    default: 300
  key_file:
    description: File of the TSIG key that reads and updates the zones, in BIND's own form.
    type: path
    default: /etc/bind/keys/websites-update.key
  address:
    description: Address at which the name server is asked.
    type: str
    default: 127.0.0.1
  wait:
    description: Seconds within which the secondaries must follow.
    type: int
    default: 20
requirements:
  - dnspython 2.3 or newer
attributes:
  check_mode:
    description: The plan is the one that a real run would carry out.
    support: full
author:
  - DKISP Kota Tarakan
"""

EXAMPLES = r"""
- name: Converge the records of the websites
  nameserver_records:
    host: ns1
    websites: "{{ websites }}"
    zones: [example.go.id, 100.51.198.in-addr.arpa]
    nameservers:
      ns1.example.go.id: {ipv4: 198.51.100.53, ipv6: "2001:db8:77::53"}
      ns2.example.go.id: {ipv4: 198.51.100.54, ipv6: "2001:db8:77::54"}
    hosts:
      web1.example.go.id: {ipv4: 198.51.100.11, ipv6: "2001:db8:77::11"}
    secondaries:
      ns2: [10.89.77.32, "fd00:89:77::32"]
"""

RETURN = r"""
changes:
  description: What was changed, or would be; one entry a name, sorted by website, subject and action.
  type: list
  elements: dict
  returned: success
  sample:
    - {layer: dns, host: ns1, website: dinkes.example.go.id, subject: records dinkes.example.go.id, action: create,
       before: null, after: ["A 198.51.100.11", 'TXT "website=20001"']}
as_built:
  description: For each website its C(zone), C(names), C(records), the zone's C(serial), and names C(outside) all zones.
  type: dict
  returned: success
created:
  description: Always empty; this layer holds no data.
  type: list
  returned: success
conflicts:
  description: Desired names that have foreign records.
  type: list
  elements: dict
  returned: success
orphans:
  description: Always empty; this layer holds no data.
  type: list
  returned: success
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.nameserver import Edit, batches, plan
from ansible.module_utils.nameserver_claims import Conflict, as_built, wishes
from ansible.module_utils.nameserver_wire import Primary, Unanswered, follows
from ansible.module_utils.transaction import Outcome, Refused, fail, finish, server_lock

LAYER = "dns"


def read(primary: Primary, params: dict[str, Any]) -> tuple[dict[str, list[Edit]], Outcome]:
    """The edits by zone, and the outcome that they bring about."""
    wanted = wishes(params["websites"], params["hosts"], params["nameservers"], params["zones"])
    names = {str(website.get("uid")): website.get("name") for website in params["websites"]}
    edits: dict[str, list[Edit]] = {}
    conflicts: list[Conflict] = list(wanted.conflicts)
    serials: dict[str, int] = {}
    for zone, claims in wanted.claims.items():
        found, serials[zone] = primary.read(zone)
        edits[zone], foreign = plan(zone, found, claims, params["ttl"], names)
        conflicts += foreign
    changes = [edit.change for part in edits.values() for edit in part]
    built = as_built(wanted, serials, params["zones"])
    return edits, Outcome(changes, built, [], [conflict._asdict() for conflict in conflicts], [])


def apply(
    primary: Primary, edits: dict[str, list[Edit]], secondaries: dict[str, list[str]], wait: float
) -> dict[str, int]:
    """Send all edits, wait for the secondaries, and give the new serials. Raises Refused with the records put back."""
    sent: list[tuple[str, list[Edit]]] = []
    try:
        for zone, part in edits.items():
            for batch in batches(part):
                sent.append((zone, batch))
                primary.update(zone, batch)
        serials = {zone: primary.serial(zone) for zone, part in edits.items() if part}
        await_secondaries(serials, secondaries, wait)
    except Refused as error:
        raise Refused(f"{error.what}; {put_back(primary, sent)}", error.mend) from error
    return serials


def put_back(primary: Primary, sent: list[tuple[str, list[Edit]]]) -> str:
    """Undo what was sent, last first, and say how that went.

    The last message may have been refused or may only have lost its answer: its prerequisites tell, so that undoing
    what never happened is refused by the server and harmless.
    """
    lost = []
    for number, (zone, batch) in enumerate(reversed(sent)):
        try:
            primary.update(zone, [edit.reverse() for edit in reversed(batch)])
        except Unanswered as error:
            lost.append(f"{zone} ({error.what})")
        except Refused as error:
            if number:
                lost.append(f"{zone} ({error.what})")
    return f"not put back: {'; '.join(lost)}" if lost else "the records are as they were before"


def await_secondaries(serials: dict[str, int], secondaries: dict[str, list[str]], wait: float) -> None:
    """Return once every secondary has every zone at least at its serial, at one of its addresses. Raises Refused."""
    deadline = time.monotonic() + wait
    pending = [(name, zone) for name in secondaries for zone in serials]
    turn = 0
    while pending:
        pending = [(name, zone) for name, zone in pending
                   if not follows(secondaries[name][turn % len(secondaries[name])], zone, serials[zone])]
        if not pending:
            return
        if time.monotonic() > deadline:
            behind = ", ".join(sorted({f"{zone} on {name}" for name, zone in pending}))
            raise Refused(
                f"after {wait:.0f} s the secondaries do not have the new serial: {behind}",
                "look at `journalctl -u named` there; it must reach the primary at port 53 and hold its transfer key",
            )
        turn += 1
        time.sleep(0.1)


def converge(module: AnsibleModule) -> Outcome:
    params = module.params
    primary = Primary(params["address"], params["key_file"])
    edits, outcome = read(primary, params)
    if module.check_mode or outcome.conflicts or not outcome.changes:
        return outcome
    serials = apply(primary, edits, params["secondaries"], params["wait"])
    for facts in outcome.as_built.values():
        facts["serial"] = serials.get(facts["zone"], facts["serial"])
    return outcome


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": "list", "elements": "dict", "required": True},
            "host": {"type": "str", "required": True},
            "zones": {"type": "list", "elements": "str", "required": True},
            "nameservers": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "default": {}},
            "secondaries": {"type": "dict", "default": {}},
            "ttl": {"type": "int", "default": 300},
            "key_file": {"type": "path", "default": "/etc/bind/keys/websites-update.key", "no_log": False},
            "address": {"type": "str", "default": "127.0.0.1"},
            "wait": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    try:
        with server_lock(LAYER):
            outcome = converge(module)
    except Refused as error:
        fail(module, LAYER, module.params["host"], error)
    finish(module, LAYER, module.params["host"], outcome)


if __name__ == "__main__":
    main()

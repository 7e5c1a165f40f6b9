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
    servers need (A, AAAA, PTR, NS, the primary in the SOA record, CAA, and what websites ask for), and sends the
    difference as RFC 2136 updates.
  - Owns the addresses at a name where C(_website.NAME) holds a TXT record C(website=UID) or C(website=fleet), further
    types that the record names (C(website=UID MX TXT)), and the name servers of a zone where C(_nameserver.ZONE) has
    one; marks are written in the same update as what they mark. All else is foreign and never touched.
  - A website that alone cannot be converged (a foreign record at its name, records that break the zone) is left as it
    was and named in C(refused); all others are converged.
  - Makes the zones that websites bring (C(zone)), and publishes them to the secondaries by a catalog zone.
  - Prerequisites pin what was read. The module waits until every secondary answers with the new serial, and puts
    everything back where one does not.
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: Name of this server in the inventory.
    type: str
    required: true
  facts_of:
    description: Names of websites whose facts C(as_built) tells; without it all.
    type: list
    elements: str
  zones:
    description: Names of the zones that are served, forward and reverse.
    type: list
    elements: str
    required: true
  networks:
    description: >-
      Networks of the reverse zones that have a name of their own (RFC 2317), by name; an address in one has its PTR
      record there. Without a zone it has none, and C(as_built) tells its name as C(outside).
    type: dict
    default: {}
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
  issuers:
    description: Identifiers of the authorities that may issue certificates, for a CAA record at each name of a website.
    type: list
    elements: str
    default: []
  own_zones:
    description:
      - How zones that websites bring are made; without it they are refused. C(@zone@) and C(@serial@) are filled in.
    type: dict
    suboptions:
      clause:
        description: The zone's clause in the configuration.
        type: str
        required: true
      content:
        description: What the zone's file begins with.
        type: str
        required: true
      signed:
        description: Whether the zone is signed.
        type: bool
        required: true
      configuration:
        description: File that holds the clauses, and no others.
        type: path
        default: /etc/bind/websites.conf
      folder:
        description: Folder of the zones' files; its folder C(keys) holds the keys that sign.
        type: path
        default: /var/lib/bind
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
  description: >-
    For each website its C(zone), C(names), C(records), the zone's C(serial), names C(outside) all zones, and for a zone
    of its own the C(delegation): what the zone's parent has to hold.
  type: dict
  returned: success
created:
  description: Always empty; this layer holds no data.
  type: list
  returned: success
conflicts:
  description: Desired names that have foreign records, in check mode; in a real run they are C(refused).
  type: list
  elements: dict
  returned: success
refused:
  description: Websites that were left as they were, each with C(what) and C(mend).
  type: list
  elements: dict
  returned: success
orphans:
  description: Zones that were made for websites that the desired state no longer names; they are kept.
  type: list
  returned: success
new_keys:
  description: >-
    Zones whose signing keys this server alone may hold. They are told until the file C(keys.new) in the zones' folder
    is removed, which whoever copies the keys does afterwards.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.nameserver_apply import Culprits, apply
from ansible.module_utils.nameserver_plan import Plan, Reader, planned
from ansible.module_utils.nameserver_wire import Primary
from ansible.module_utils.nameserver_zones import Unserved, Zones
from ansible.module_utils.transaction import Left, Outcome, Refused, desired_websites, fail, finish, server_lock

LAYER = "dns"


def carry_out(primary: Primary, zones: Zones | None, plan: Plan, params: dict[str, Any]) -> dict[str, int]:
    """Make new zones, change the records, and remove zones last; all is put back where the records do not go."""
    kept = {zone: maker for zone, maker in plan.made.items() if zone not in plan.purged}
    served = {**kept, **{zone: maker for zone, (_, maker) in plan.new.items()}}
    try:
        if zones:
            zones.create(plan.new, plan.made, params["address"])
        serials = apply(primary, plan.edits, params["secondaries"], params["wait"], tuple(plan.new))
    except BaseException as error:
        if zones and plan.new:
            zones.remove(zones.fresh, plan.made)
        if isinstance(error, Unserved):
            names = [str(each.get("name")) for each in params["websites"] if each.get("zone") == error.zone]
            raise Culprits([Left(name, error.what, error.mend) for name in names]) from error
        raise
    if zones and plan.purged:
        zones.remove(plan.purged, served)
    return serials


def converge(module: AnsibleModule) -> Outcome:
    params = module.params
    primary = Primary(params["address"], params["key_file"])
    zones = Zones(**params["own_zones"]) if params["own_zones"] else None
    if zones and not module.check_mode:
        zones.settle(params["address"])
    left: list[Left] = []
    while True:
        plan = planned(Reader(primary, zones), params, left, module.check_mode)
        if module.check_mode or not plan.outcome.changes:
            return plan.outcome
        try:
            serials = carry_out(primary, zones, plan, params)
        except Culprits as error:
            if {each.website for each in error.left} <= {each.website for each in left}:
                raise Refused(f"the server does not take the records of {error}", error.left[0].mend) from error
            left += error.left
            continue
        for website in params["websites"]:
            if facts := plan.outcome.as_built.get(str(website.get("name"))):
                facts["serial"] = serials.get(facts["zone"], facts["serial"])
                if zones and website.get("zone") in plan.new:
                    facts["delegation"] = zones.delegation(website["zone"])
        return plan.outcome


def main() -> None:
    own_zones = {
        "clause": {"type": "str", "required": True},
        "content": {"type": "str", "required": True},
        "signed": {"type": "bool", "required": True},
        "configuration": {"type": "path", "default": "/etc/bind/websites.conf"},
        "folder": {"type": "path", "default": "/var/lib/bind"},
    }
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": desired_websites, "required": True},
            "host": {"type": "str", "required": True},
            "facts_of": {"type": "list", "elements": "str"},
            "zones": {"type": "list", "elements": "str", "required": True},
            "networks": {"type": "dict", "default": {}},
            "nameservers": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "default": {}},
            "secondaries": {"type": "dict", "default": {}},
            "issuers": {"type": "list", "elements": "str", "default": []},
            "own_zones": {"type": "dict", "options": own_zones},
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
    except (Refused, OSError) as error:
        fail(module, LAYER, module.params["host"], error)
    own = module.params["own_zones"]
    finish(module, LAYER, module.params["host"], outcome, new_keys=sorted(Zones(**own).new_keys()) if own else [])


if __name__ == "__main__":
    main()

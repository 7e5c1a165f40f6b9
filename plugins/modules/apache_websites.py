#!/usr/bin/python
"""Converge a web host's websites to the desired state, as one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apache_websites
short_description: Converge a web host's websites to the desired state
description:
  - Reads what is there, computes the changes, and applies them as one transaction with at most one reload a daemon.
  - Every set of configuration files is a generation of its own; one symbolic link says which is live.
  - Owns only the websites that it made. Others' vhosts, users and folders are reported as conflicts, never touched.
  - A website that alone cannot be converged is left as it was and named in C(refused); all others converge.
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: This server's name in the inventory; selects its share of the websites.
    type: str
    required: true
  facts_of:
    description: Names of websites whose facts C(as_built) tells; without it all.
    type: list
    elements: str
  sizes:
    description: For each size the limits of a website's PHP (children, memory, upload, seconds).
    type: dict
    required: true
  database_hosts:
    description: The database servers' addresses by their inventory name.
    type: dict
    default: {}
  acme:
    description: Whether a certificate authority is asked for a certificate for every website that none of ours serves.
    type: bool
    default: false
  certificates:
    description: The agency's own certificates by their name, each with the names that it serves.
    type: dict
    default: {}
  archives:
    description: Folder on this server where releases' archives are put by the action plugin, named by their sha256.
    type: path
    default: /var/lib/websites/web/archives
  brought:
    description: Whether all archives that there are were brought; a website is refused then whose archive is missing.
    type: bool
    default: false
  compare_live:
    description: >-
      Whether live releases are compared with their manifests, too. One that differs is unpacked anew and exchanged at
      once; what was there is kept, for root alone, in C(/srv/websites/.changed-NAME-TIME-…/release).
    type: bool
    default: false
  releases_kept:
    description: How many releases of a website stay on the server, the live one included.
    type: int
    default: 3
author: The project's maintainers (@dkisp-tarakan)
"""

EXAMPLES = r"""
- name: Converge the websites
  apache_websites:
    websites: "{{ apache_websites }}"
    host: "{{ inventory_hostname }}"
    sizes: "{{ apache_sizes }}"
"""

RETURN = r"""
changes:
  description: What differed, sorted by website, subject and action; the same in check mode and for real.
  returned: always
  type: list
as_built:
  description: For each website of this host what now stands there.
  returned: always
  type: dict
certificates_awaited:
  description: Whether M(website_certificates) has something left to do, once the name servers know the websites.
  returned: always
  type: bool
refused:
  description: The websites that were left as they were, each with what is wrong and how to mend it.
  returned: always
  type: list
missing_archives:
  description: Hashes of archives that are needed first; nothing was changed then.
  returned: when archives are missing
  type: list
"""

import os

from ansible.module_utils import web, web_server, web_tls
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Outcome, Refused, desired_websites, fail, finish, not_ours, server_lock
from ansible.module_utils.web_layer import Layer
from ansible.module_utils.web_server import CURRENT, HERE


def converge(module, layer):
    """Plan and, but in check mode, apply; gives what came of it."""
    conflicts = layer.conflicts(everywhere=module.check_mode)
    for taken in conflicts:
        if taken["website"] in layer.wanted:
            layer.leave(taken["website"], Refused(*not_ours(taken, module.params["host"])[1:]))
    changes = layer.plan()
    if changes and not module.check_mode:
        missing = layer.missing_archives()
        if missing and not module.params["brought"]:
            module.exit_json(changed=False, missing_archives=missing)
        changes = layer.apply(changes)
    elif not module.check_mode:
        layer.drop_archives()
    known = {*layer.wanted, *layer.purged, *layer.archived, *layer.left}
    return Outcome(
        changes,
        layer.as_built(),
        [name for name in layer.wanted if name not in layer.old],
        conflicts if module.check_mode else [],
        [name for name in layer.old if name not in known],
        tuple(layer.left.values()),
    )


def settle_certificates(check, outcome):
    """Note how certificates stand. Whether something is left to do once the name servers know the websites."""
    try:
        seen = web_tls.see_to(*(["--look"] if check else []))["websites"]
    except Refused:
        return True  # which then fails, and tells why
    for name, standing in seen.items():
        if name in outcome.as_built:
            outcome.as_built[name]["certificate"] = standing
    return web_tls.awaited() and not check


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            "websites": {"type": desired_websites, "required": True},
            "host": {"type": "str", "required": True},
            "facts_of": {"type": "list", "elements": "str"},
            "sizes": {"type": "dict", "required": True},
            "database_hosts": {"type": "dict", "default": {}},
            "acme": {"type": "bool", "default": False},
            "certificates": {"type": "dict", "default": {}},
            "archives": {"type": "path", "default": str(HERE / "archives")},
            "brought": {"type": "bool", "default": False},
            "compare_live": {"type": "bool", "default": False},
            "releases_kept": {"type": "int", "default": 3},
        },
    )
    params, host = module.params, module.params["host"]
    os.umask(0o022)  # under root's own, which may be stricter, Apache could not read what it serves
    try:
        if not CURRENT.is_dir():
            raise Refused(f"{host} is not set up as a web host", "run playbooks/servers.yml first")
        with server_lock("web"):
            secret = web_server.host_secret(keep=not module.check_mode)
            server = web.Server(
                host,
                web_server.installed_php(),
                params["sizes"],
                params["database_hosts"],
                secret,
                params["acme"],
                params["certificates"],
            )
            outcome = converge(module, Layer(params, server))
        awaited = settle_certificates(module.check_mode, outcome)
        finish(module, "web", host, outcome, certificates_awaited=awaited)
    except (Refused, OSError) as error:
        fail(module, "web", host, error)


if __name__ == "__main__":
    main()

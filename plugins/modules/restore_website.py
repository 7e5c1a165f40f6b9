#!/usr/bin/python
"""Bring one website back from a snapshot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_website
short_description: Restore a website from a snapshot
description:
  - Restores a website's files and the dump of its database into an empty folder, or puts the website itself back.
  - In place, the snapshot is restored aside and compared with its manifest before anything changes. The data, the
    release and a dump of the database as they were are kept in the folder named in RV(restored), and put back where
    the restore fails. Where it is killed, the next start of C(website-backup) puts it back or finishes it.
author: DKISP Kota Tarakan
options:
  name:
    description: The website's name.
    type: str
    required: true
  host:
    description: This server's inventory name.
    type: str
    required: true
  snapshot:
    description: The snapshot's id, or V(latest).
    type: str
    default: latest
  target:
    description: An empty or new folder of this server to restore to.
    type: path
  in_place:
    description: Put the website itself back. Either this or O(target).
    type: bool
    default: false
  database:
    description: In place, put the database back, too.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Tells which snapshot would be restored and where.
"""

EXAMPLES = r"""
- name: Look at what a website was last week
  restore_website:
    name: dinkes.tarakankota.go.id
    host: web1
    snapshot: 1a2b3c4d
    target: /root/dinkes

- name: Put a website back as it was in its last snapshot
  restore_website:
    name: dinkes.tarakankota.go.id
    host: web1
    in_place: true
"""

RETURN = r"""
changes:
  description: What was, or would be, restored.
  returned: always
  type: list
  elements: dict
restored:
  description: The facts of the restore.
  returned: always
  type: dict
  sample: {snapshot: 1a2b3c4d, time: "2026-11-24T01:30:00Z", release: 0123456789ab, target: in place, files: 12,
           changed_meanwhile: 0, dump: true, database: true, previous: /srv/websites/.before-restore-dinkes}
"""

import re
from typing import Any

from ansible.module_utils.backup import ask
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Refused, fail

LAYER = "backup"


def words(params: dict[str, Any], check: bool) -> list[str]:
    """The command's arguments. Raises Refused for a snapshot that is no id."""
    if not re.fullmatch(r"latest|[0-9a-f]{8,64}", params["snapshot"]):
        raise Refused(f"{params['snapshot']!r} is no id of a snapshot",
                      "give `latest`, or an id of `website-backup list`")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,252}", params["name"]):
        raise Refused(f"{params['name']!r} is no name of a website", "give the name as the register has it")
    where = ["--in-place"] if params["in_place"] else ["--target", params["target"]]
    return ["restore", params["name"], "--snapshot", params["snapshot"], *where,
            *([] if params["database"] else ["--without-database"]), *(["--plan"] if check else [])]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "snapshot": {"type": "str", "default": "latest"},
            "target": {"type": "path"},
            "in_place": {"type": "bool", "default": False},
            "database": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    name, host = module.params["name"], module.params["host"]
    try:
        if bool(module.params["target"]) == module.params["in_place"]:
            raise Refused(f"where to restore {name} is not clear", "give either a target folder or in_place: true")
        facts = ask(words(module.params, module.check_mode))["restored"][name]
    except Refused as error:
        fail(module, LAYER, host, error)
    after = {"snapshot": facts["snapshot"], "release": facts["release"], "target": facts["target"]}
    module.exit_json(changed=True, restored=facts, changes=[
        {"layer": LAYER, "host": host, "website": name, "subject": "restore", "action": "update", "before": None,
         "after": after}])


if __name__ == "__main__":
    main()

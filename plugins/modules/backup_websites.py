#!/usr/bin/python
"""The backup layer: a snapshot of each website of this server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_websites
short_description: Snapshot the websites of this server
description:
  - Asks C(website-backup), which the role backup installs, for a snapshot of each website that this server holds.
  - A snapshot is one of restic, with the website's data, release, configuration files and a dump of its database.
  - A website that fails has no new snapshot and makes the module fail at the end; the others keep theirs.
author: DKISP Kota Tarakan
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: This server's inventory name; it selects its share of O(websites).
    type: str
    required: true
  only:
    description:
      - Names of the websites to snapshot; empty for all of this server. Other servers' names are passed over.
    type: list
    elements: str
    default: []
  mode:
    description:
      - V(missing) snapshots a website only where its present release has no snapshot, so a second run changes nothing.
      - V(now) snapshots in any case, as before an update.
    type: str
    choices: [missing, now]
    default: missing
attributes:
  check_mode:
    support: full
    description: Tells which websites would be snapshotted; the repository is only read.
"""

EXAMPLES = r"""
- name: Snapshot what has no snapshot yet
  backup_websites:
    websites: "{{ websites }}"
    host: web1

- name: Snapshot one website before its update
  backup_websites:
    websites: "{{ websites }}"
    host: web1
    only: [dinkes.tarakankota.go.id]
    mode: now
"""

RETURN = r"""
changes:
  description: One change for each snapshot that was made, or would be.
  returned: always
  type: list
  elements: dict
snapshots:
  description: Each website's newest snapshot, made now or there already.
  returned: always
  type: dict
  sample:
    dinkes.tarakankota.go.id:
      {id: 1a2b3c4d, time: "2026-11-24T01:30:00Z", bytes: 52341, files: 12, release: 0123456789ab,
       next_run: "2026-11-25T02:04:11Z"}
as_built:
  description: The same facts under C(backup), by website.
  returned: always
  type: dict
failures:
  description: The cause by website where a snapshot failed.
  returned: always
  type: dict
created:
  description: Always empty; a snapshot is nothing that rolling back would remove.
  returned: always
  type: list
conflicts:
  description: Always empty.
  returned: always
  type: list
orphans:
  description: Websites that have snapshots here and that this server holds no more.
  returned: always
  type: list
"""

import re
from typing import Any

from ansible.module_utils.backup import ask, is_set_up
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Refused, desired_websites, fail

LAYER = "backup"
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+\Z")


def share(websites: list[dict[str, Any]], host: str, only: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The releases by name of the websites to snapshot on a host, and what is wrong with values never validated.

    Raises Refused where `only` names a website that there is not.
    """
    releases: dict[str, str] = {}
    faults: dict[str, str] = {}
    for row in websites:
        # An archived website is no more on a server that was set up anew: only where somebody asks for it by name.
        asked = row.get("name") in only if only else row.get("state") != "archived"
        if row.get("web_host") != host or row.get("state") == "purged" or not asked:
            continue
        name, release = row.get("name"), row.get("release")
        sha256 = release.get("sha256") if isinstance(release, dict) else None
        if not isinstance(name, str) or not NAME.match(name):
            faults[str(name)] = f"{name!r} is no name of a website"
        elif not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            faults[name] = "its release is no sha256"
        else:
            releases[name] = sha256[:12]
    known = {str(row.get("name")) for row in websites}
    if unknown := sorted(set(only) - known):
        raise Refused(f"the desired state names no {', '.join(map(repr, unknown))}", "give names that it holds")
    return releases, faults


def changes(releases: dict[str, str], planned: list[str], before: dict[str, Any], host: str) -> list[dict[str, Any]]:
    """One change a website to snapshot, the same in check mode and for real."""
    return [{"layer": LAYER, "host": host, "website": name, "subject": "snapshot", "action": "create",
             "before": before.get(name), "after": {"release": releases[name]}}
            for name in sorted(set(planned) & set(releases))]


def failure(failures: dict[str, str], made: list[str]) -> Refused:
    """All websites that failed, each with its cause, in one refusal."""
    causes = "; ".join(f"{name}: {cause}" for name, cause in sorted(failures.items()))
    return Refused(f"no snapshot of {len(failures)} website(s): {causes}",
                   f"mend the causes and run playbooks/backup.yml again; the {len(made)} that were made are kept")


def converge(releases: dict[str, str], host: str, mode: str, check: bool) -> dict[str, Any]:
    """Ask the server's own command and give the result of the module."""
    said: dict[str, Any] = {"planned": [], "before": {}, "snapshots": {}, "failures": {}, "orphans": []}
    if check and not is_set_up():
        said["planned"] = sorted(releases)  # the set-up that check mode only foretold comes first
    elif releases:
        words = [word for name in sorted(releases) for word in ("--website", name)]
        words += ["--if-missing"] if mode == "missing" else []
        said |= ask(["backup", *words, *(["--plan"] if check else [])])
    made = [name for name in said["planned"] if name not in said["failures"]]
    done = changes(releases, said["planned"] if check else made, said["before"], host)
    return {
        "changed": bool(done), "changes": done, "snapshots": said["snapshots"], "failures": said["failures"],
        "as_built": {name: {"backup": facts} for name, facts in said["snapshots"].items()},
        "created": [], "conflicts": [], "orphans": said["orphans"],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": desired_websites, "required": True},
            "host": {"type": "str", "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
            "mode": {"type": "str", "choices": ["missing", "now"], "default": "missing"},
        },
        supports_check_mode=True,
    )
    host = module.params["host"]
    try:
        releases, faults = share(module.params["websites"], host, module.params["only"])
        result = converge(releases, host, module.params["mode"], module.check_mode)
        result["failures"] = {**result["failures"], **faults}
    except Refused as error:
        fail(module, LAYER, host, error)
    if result["failures"]:
        error = failure(result["failures"], [change["website"] for change in result["changes"]])
        module.fail_json(msg=f"refused: {error.what}\nlayer: {LAYER} on {host}\nmend: {error.mend}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

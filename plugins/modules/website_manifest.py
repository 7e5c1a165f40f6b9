#!/usr/bin/python
"""Compare the files of live releases with what was unpacked, and name every one that differs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: website_manifest
short_description: Name every file of a live release that was added, changed, removed or given away
description:
  - Reads the manifest that was written when the release was unpacked, and hashes the files that are there now.
  - Folders that the application may write are no part of a release. Changes nothing.
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: This server's name in the inventory; selects its share of the websites.
    type: str
    required: true
author: The project's maintainers (@dkisp-tarakan)
"""

EXAMPLES = r"""
- name: Look for defaced files
  website_manifest:
    websites: "{{ apache_websites }}"
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
changes:
  description: >-
    One for each file that differs, with what would bring it back, and for each file or folder that others than root may
    write.
  returned: always
  type: list
refused:
  description: The websites whose release could not be compared, each with what is wrong and how to mend it.
  returned: always
  type: list
nightly:
  description: One entry with C(host) and C(last), the time and the number of findings of the last nightly check.
  returned: always
  type: list
"""

import pathlib

from ansible.module_utils import manifest, web
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import STATE, Change, Left, Refused, desired_websites, fail, read_json

NIGHTLY = STATE / "manifest.json"  # what the nightly check found


def compare(name, release):
    """The changes that would bring a release's files back to its manifest."""
    return [Change(name, *difference) for difference in manifest.differences(release)]


def look(websites, host):
    """The changes of all live releases of a server, and the websites that could not be compared."""
    changes, left = [], []
    for website in websites:
        try:
            if website["web_host"] == host and website["state"] in web.LIVE:
                release = pathlib.Path(web.paths(website)["release"])
                if release.is_dir():  # a missing one is the plan's to tell
                    changes += compare(website["name"], release)
        except (OSError, KeyError, TypeError) as error:
            name = str(website.get("name"))
            mend = "see that the disk can be read" if isinstance(error, OSError) else "let the driver write the state"
            left.append(Left(name, f"the release of {name} cannot be compared: {error!r}", mend))
    return changes, left


def nightly():
    """What the last nightly check found, or None before the first."""
    found = read_json(NIGHTLY, None)
    return found and {"finished": found["finished"], "found": len(found["found"])}


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            "websites": {"type": desired_websites, "required": True},
            "host": {"type": "str", "required": True},
        },
    )
    host = module.params["host"]
    try:
        here = {"layer": "web", "host": host}
        changes, left = ([{**here, **row._asdict()} for row in rows] for rows in look(module.params["websites"], host))
        last = [{"host": host, "last": nightly()}]
        module.exit_json(changed=bool(changes or left), changes=changes, refused=left, nightly=last)
    except (OSError, Refused) as error:
        known = error if isinstance(error, Refused) else Refused(str(error), "see that the disk can be read")
        fail(module, "web", host, known)


if __name__ == "__main__":
    main()

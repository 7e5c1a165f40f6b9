#!/usr/bin/python
"""See to the certificates of a web host's websites, once the name servers know the websites."""

from __future__ import annotations

DOCUMENTATION = r"""
module: website_certificates
short_description: See to the certificates of a web host's websites
description:
  - Lets new websites ask for their certificates, waits for them, takes them into use and leads visitors to HTTPS.
  - A website whose certificate does not come stays on HTTP, and C(mod_md) asks again later. That is no failure.
  - The work is done by C(website-certificates) on the web host, which its timer and C(mod_md) start as well.
  - In check mode it only says how each certificate stands.
options:
  host:
    description: This server's name in the inventory.
    type: str
    required: true
  wait:
    description: Seconds to wait at most for new websites' certificates.
    type: int
    default: 60
author: The project's maintainers (@dkisp-tarakan)
"""

EXAMPLES = r"""
- name: See to the certificates
  website_certificates:
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
as_built:
  description: For each website with a certificate of its own or on its way, how it stands.
  returned: always
  type: dict
  sample:
    dinkes.example.go.id:
      certificate: {status: valid, issuer: CN=R11, not_after: "2026-12-01T00:00:00+00:00", error: null}
changes:
  description: Always empty; certificates come and go by themselves and are no part of the desired state.
  returned: always
  type: list
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Refused, fail
from ansible.module_utils.web_tls import see_to


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={"host": {"type": "str", "required": True}, "wait": {"type": "int", "default": 60}},
    )
    wait = module.params["wait"]
    options = ["--look"] if module.check_mode else ["--release", "--wait", str(wait)]
    try:
        seen = see_to(*options, wait=wait)
    except Refused as error:
        fail(module, "web", module.params["host"], error)
    websites = seen["websites"]
    module.exit_json(
        changed=seen["reloads"] > 0,
        changes=[],
        as_built={name: {"certificate": standing} for name, standing in websites.items()},
    )


if __name__ == "__main__":
    main()

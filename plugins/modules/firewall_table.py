#!/usr/bin/python
"""Ansible module: this server's firewall, one nftables table, replaced as a whole under an armed timer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_table
short_description: Converge this server's firewall, one nftables table of its own
description:
  - Renders the base rules and every service's declaration into the table C(inet websites_firewall), lets nft judge it,
    arms a timer that brings back the table as it was, and loads the new one in one transaction. Other tables are never
    touched.
  - What was loaded is saved only when the module is called again with I(confirm), which the caller does over a new
    connection. Without that the timer restores the previous table, and nothing of the new one survives a restart.
  - Until one of the two has come, every other call waits.
options:
  management:
    description: Networks that reach SSH always. Left out, those of the last run serve.
    type: list
    elements: str
    default: []
  ssh_port:
    description: The port of SSH.
    type: int
    default: 22
  service:
    description: The service whose declaration this is; left out, only the base rules are converged.
    type: str
  allow:
    description: "What the service lets in: mappings of C(protocol) (tcp or udp), C(ports), C(from) (any or networks)."
    type: list
    elements: dict
    default: []
  forward:
    description:
      - "What this server forwards for the service: C(dnat: true) for what it translated itself, or C(from) (any or
        networks) with C(to) (any, elsewhere or networks)."
      - Where any service declares this, everything else that would be forwarded is dropped.
    type: list
    elements: dict
    default: []
  egress:
    description:
      - "What a range of unix users may open: a mapping of C(users) (as 20000-59999), C(allow) (a list of C(protocol),
        C(ports) and C(to): any, public or networks) and C(closed) (networks that are never public)."
      - Every other connection of these users is refused. Special-purpose addresses and I(management) are never public.
    type: dict
  revert_after:
    description: Seconds after which the previous table comes back unless the new one is confirmed.
    type: int
    default: 30
  confirm:
    description: The token of the call that loaded the table; saves it and disarms the timer.
    type: str
author: [sop-websites]
"""

EXAMPLES = r"""
- name: Let visitors in
  firewall_table:
    service: apache
    allow:
      - {protocol: tcp, ports: [80, 443], from: any}
"""

RETURN = r"""
changes:
  description: Every difference, with before and after.
  type: list
  returned: success
  elements: dict
armed:
  description: True where a new table was loaded and waits for its confirmation.
  type: bool
  returned: success
token:
  description: What to pass as I(confirm).
  type: str
  returned: when armed
"""

import contextlib
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible.module_utils import firewall, nft
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import (
    LOCK_WAIT,
    STATE,
    Change,
    Refused,
    fail,
    read_json,
    run,
    server_lock,
    write_atomic,
)

ETC = pathlib.Path("/etc/websites")
BASE = ETC / "firewall.json"
FRAGMENTS = ETC / "firewall.d"
SAVED = ETC / "firewall.nft"  # what websites-firewall.service loads at boot
APPLIED = STATE / "firewall" / "applied.json"
PENDING = STATE / "firewall" / "pending.json"
PREVIOUS = STATE / "firewall" / "previous.nft"
REVERT = "websites-firewall-revert"
GUARDS = (f"{REVERT}.timer", f"{REVERT}.service")


class Plan(NamedTuple):
    changes: list[Change]
    files: dict[str, str | None]  # path: content, None where it goes
    text: str
    shut_out: str | None  # why this very run could not come in again


def read_fragments() -> dict[str, dict[str, Any]]:
    """Every service's declaration, those that administrators wrote by hand included."""
    found = {}
    for path in sorted(FRAGMENTS.glob("*.json")):
        if not firewall.SERVICE.match(path.stem):
            raise Refused(f"{path} is no service's name", "name it in lower-case letters, digits and _")
        if not isinstance(value := read_json(path, {}), dict):
            raise Refused(f"{path} is no declaration", 'write {"allow": [...]}')
        found[path.stem] = firewall.fragment(value, str(path))
    return found


def plan(params: dict[str, Any], check_mode: bool) -> Plan:
    """What would change, from the declarations, the saved table and the table in the kernel."""
    old_base = read_json(BASE, None)
    base = new_base(params, old_base, check_mode)
    fragments = read_fragments()
    changes, files = [], {}
    if (service := params["service"]) is not None:
        if not firewall.SERVICE.match(service):
            raise Refused(f"service {service!r}", "name it in lower-case letters, digits and _, at most 32")
        new = firewall.fragment(params, service)
        wanted = new if any(new.values()) else None
        old = fragments.pop(service, None)
        if wanted:
            fragments[service] = wanted
        if wanted != old:
            action = "create" if old is None else "update" if wanted else "remove"
            changes.append(Change(None, f"declaration of {service}", action, old, wanted))
            files[str(FRAGMENTS / f"{service}.json")] = wanted and json.dumps(wanted, indent=1, sort_keys=True) + "\n"
    if base != old_base:
        changes.append(Change(None, "base", "update" if old_base else "create", old_base, base))
        files[str(BASE)] = json.dumps(base, indent=1, sort_keys=True) + "\n"
    text = firewall.render(base, fragments)
    changes += table_change(text)
    files[str(SAVED)] = text
    shut_out = firewall.shuts_out(base, os.environ.get("SSH_CONNECTION", "")) if base["management"] else None
    return Plan(changes, files, text, shut_out)


def new_base(params: dict[str, Any], old: dict[str, Any] | None, check_mode: bool) -> dict[str, Any]:
    if not params["management"] and old:
        return old
    merged = nft.networks(params["management"], "firewall_management")
    if not merged[4] + merged[6] and not check_mode:
        raise Refused("firewall_management is empty, so nobody could reach SSH", "give the administrators' networks")
    if not 1 <= params["ssh_port"] <= 65535:
        raise Refused(f"firewall_ssh_port is {params['ssh_port']}", "write a port from 1 to 65535")
    return {"management": merged[4] + merged[6], "ssh_port": params["ssh_port"]}


def table_change(text: str) -> list[Change]:
    """The table's own change: new rules, or the kernel's table is not the one that was loaded."""
    saved, applied = nft.read(SAVED), read_json(APPLIED, {})
    live = nft.fingerprint(firewall.TABLE)
    subject = f"table inet {firewall.TABLE}"
    if live is None:
        return [Change(None, subject, "create", None, nft.digest(text)[:16])]
    if live != applied.get("live"):
        return [Change(None, subject, "update", "changed by hand", nft.digest(text)[:16])]
    if saved != text:
        return [Change(None, subject, "update", nft.digest(saved)[:16], nft.digest(text)[:16])]
    return []


def active(*units: str) -> bool:
    return not {"active", "activating"}.isdisjoint(
        run(["systemctl", "show", "--property=ActiveState", "--value", *units]).split())


def disarm() -> None:
    """Stop the timer, and its service where it has just begun: nft loads all or nothing."""
    for unit in filter(active, GUARDS):
        run(["systemctl", "stop", unit])


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Hold this server's lock while no rules wait for their confirmation, so that two runs queue. Raises Refused.

    The lock alone would let a second run in between loading and confirming, which are two calls. Whether the run that
    loaded still lives cannot be known here; its timer ends the wait.
    """
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        with server_lock("firewall"):
            if not active(*GUARDS):
                yield
                return
        if time.monotonic() > deadline:
            raise Refused(f"another run's rules have waited for their confirmation for over {LOCK_WAIT:.0f} s",
                          "wait until its timer has brought the previous ones back, then run again")
        time.sleep(0.5)


def settle() -> None:
    """End what an interrupted run left: complete it where its new connection had worked, or else put it back."""
    if (pending := read_json(PENDING, None)) is None:
        return
    if not pending.get("confirmed"):
        nft.load(nft.read(PREVIOUS))  # as its timer did, which may have failed or been lost
    elif nft.fingerprint(firewall.TABLE) == pending["live"]:
        save(pending)
    PENDING.unlink()


def apply(planned: Plan, seconds: int) -> str:
    """Load the new table under the armed timer and give the token that confirms it."""
    pending = {"token": f"{nft.digest(planned.text)[:16]}-{time.time_ns()}", "files": planned.files, "live": None}
    write_atomic(PREVIOUS, nft.listing(firewall.TABLE), 0o600)
    write_atomic(PENDING, json.dumps(pending), 0o600)
    # The default accuracy of a timer is a minute.
    run(["systemd-run", "--quiet", "--collect", f"--unit={REVERT}", f"--on-active={seconds}s",
         "--timer-property=AccuracySec=100ms", "nft", "-f", str(PREVIOUS)])
    try:
        nft.load(planned.text)
    except Refused:
        disarm()
        PENDING.unlink()
        raise
    pending["live"] = nft.fingerprint(firewall.TABLE)
    write_atomic(PENDING, json.dumps(pending), 0o600)
    return str(pending["token"])


def confirm(token: str) -> None:
    """Disarm the timer and save what it guarded. Raises Refused where the timer was faster."""
    pending = read_json(PENDING, None)
    if pending is None or pending["token"] != token:
        raise Refused("the rules to confirm are not the last ones loaded", "run the playbook again")
    disarm()
    if nft.fingerprint(firewall.TABLE) != pending["live"]:
        PENDING.unlink()
        raise Refused("the previous rules came back, because no new connection confirmed the new ones in time",
                      "see whether firewall_management holds the address that administrators come from")
    write_atomic(PENDING, json.dumps({**pending, "confirmed": True}), 0o600)
    save(pending)
    PENDING.unlink()


def save(pending: dict[str, Any]) -> None:
    for path, content in pending["files"].items():
        if content is None:
            pathlib.Path(path).unlink(missing_ok=True)
        else:
            write_atomic(pathlib.Path(path), content, 0o644)
    write_atomic(APPLIED, json.dumps({"live": pending["live"]}), 0o600)


def converge(module: AnsibleModule) -> dict[str, Any]:
    result: dict[str, Any] = {"armed": False}
    if not module.check_mode:
        for folder, mode in ((ETC, 0o755), (FRAGMENTS, 0o755), (STATE, 0o700), (APPLIED.parent, 0o700)):
            folder.mkdir(mode=mode, exist_ok=True)
        settle()
    planned = plan(module.params, module.check_mode)
    result["changed"] = bool(planned.changes)
    result["changes"] = [{"layer": "firewall", **change._asdict()} for change in planned.changes]
    if module._diff:
        result["diff"] = {"before": nft.read(SAVED), "after": planned.text, "before_header": str(SAVED),
                          "after_header": str(SAVED)}
    if planned.changes:
        if planned.shut_out:
            raise Refused(f"{planned.shut_out}, so it would shut itself out",
                          "add the network that administrators come from, or mend the port")
        if nft.installed():
            nft.check(planned.text)
        if not module.check_mode:
            result.update(armed=True, token=apply(planned, module.params["revert_after"]))
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "management": {"type": "list", "elements": "str", "default": []},
            "ssh_port": {"type": "int", "default": 22},
            "service": {"type": "str"},
            "allow": {"type": "list", "elements": "dict", "default": []},
            "forward": {"type": "list", "elements": "dict", "default": []},
            "egress": {"type": "dict"},
            "revert_after": {"type": "int", "default": 30},
            "confirm": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    token = module.params["confirm"]
    try:
        with server_lock("firewall") if token else turn():
            if token:
                confirm(token)
                module.exit_json(changed=False, changes=[], armed=False)
            module.exit_json(**converge(module))
    except (Refused, OSError) as error:
        fail(module, "firewall", os.uname().nodename, error)


if __name__ == "__main__":
    main()

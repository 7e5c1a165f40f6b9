"""What the driver is told of the credentials: who was refused and why something failed, and never a verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sop_driver.fleet import Events, Fleet, FleetResult

PROJECT = Path(__file__).resolve().parents[3]
VERIFIER = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
CHANGE = {"website": "a.go.id", "subject": "database credential", "action": "create", "layer": "credentials",
          "host": "web1"}
LEFT = {"website": "b.go.id", "what": "b.go.id has no shape", "mend": "mend it", "layer": "credentials", "host": "web1"}
RESULT = {"changed": True, "changes": [CHANGE], "refused": [LEFT],
          "verifiers": json.dumps({"w20001": {"engine": "mariadb", "verifier": VERIFIER}})}
# In the place of the module, which keeps passwords in /etc.
MODULE = """#!/usr/bin/python
import os, signal
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"websites": {"type": "raw"}, "host": {}}, supports_check_mode=True)
result = RESULT
END
"""
ENDS = {
    "well": "module.exit_json(**result)",
    "nothing": "module.exit_json(changed=False, changes=[], refused=[], verifiers=result['verifiers'])",
    "refused": "module.fail_json(msg='refused: x is not JSON\\nlayer: credentials on web1\\nmend: it', **result)",
    "killed": "print(result, flush=True); os.kill(os.getpid(), signal.SIGKILL)",
}
# As ssh shows what a server sent.
CONNECTION = """
DOCUMENTATION = "{name: shown, short_description: x, description: x, author: x, extends_documentation_fragment: []}"
from ansible.plugins.connection import local
from ansible.utils.display import Display
class Connection(local.Connection):
    transport = "shown"
    def exec_command(self, *args, **more):
        done = super().exec_command(*args, **more)
        Display().vvv("censored" if self._play_context.no_log else "seen: " + str(done))
        return done
"""
PLAY = """
- name: Make the credentials
  hosts: web
  gather_facts: false
  vars: {database_websites: [], database_host: web1}
  tasks:
    - ansible.builtin.import_role: {name: database, tasks_from: credentials}
    - ansible.builtin.assert: {that: "(database_credentials.verifiers | from_json).w20001.verifier is match('[*]')"}
    - ansible.builtin.command: echo shown
      check_mode: false
"""


def play(folder: Path, end: str, monkeypatch: pytest.MonkeyPatch, check: bool = False) -> tuple[FleetResult, str]:
    """The role's tasks on one server, by the driver; gives its result, and all that Ansible and ansible-runner said."""
    for name in ("playbooks", "library", "connection", "evidence"):
        (folder / name).mkdir()
    (folder / "library/website_credentials.py").write_text(
        MODULE.replace("RESULT", repr(RESULT)).replace("END", ENDS[end]))
    (folder / "connection/shown.py").write_text(CONNECTION)
    (folder / "playbooks/databases.yml").write_text(PLAY)
    settings = {"library": "library", "connection_plugins": "connection", "roles_path": PROJECT / "roles",
                "action_plugins": PROJECT / "plugins/action"}
    lines = [f"{key} = {value}\n" for key, value in settings.items()]
    (folder / "ansible.cfg").write_text("".join(["[defaults]\n", *lines, "[connection]\npipelining = true\n"]))
    (folder / "plugins").symlink_to(PROJECT / "plugins")
    host = {"ansible_connection": "shown", "ansible_python_interpreter": "/usr/bin/python3", "ansible_pipelining": True}
    (folder / "hosts.json").write_text(json.dumps({"web": {"hosts": {"web1": host}}}))
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "3")
    events: list[Any] = []
    handle = Events.handle
    monkeypatch.setattr(Events, "handle", lambda self, event: events.append(event) or handle(self, event))
    result = Fleet(folder, folder / "hosts.json", folder / "evidence").play("databases.yml", folder / "x", check=check)
    assert "censored\n" in result.output and (not result.ok or "seen: " in result.output), "or it shows nothing"
    return result, f"{result.output}{json.dumps(events, default=str)}{result}"


@pytest.mark.parametrize("check", [False, True], ids=["run", "plan"])
def test_credentials_tell_what_was_made_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    result, said = play(tmp_path, "well", monkeypatch, check)
    assert result.ok, result.trouble
    assert result.gather("changes") == [CHANGE]
    assert result.refused == {"b.go.id": "b.go.id has no shape (credentials on web1): mend it"}
    assert VERIFIER not in said


def test_credentials_tell_nothing_where_nothing_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, said = play(tmp_path, "nothing", monkeypatch)
    assert result.ok and result.gather("changes") == [] and VERIFIER not in said


@pytest.mark.parametrize(("end", "cause"), [
    ("refused", "refused: x is not JSON; layer: credentials on web1; mend: it"),
    ("killed", "Module result deserialization failed")])
def test_credentials_that_fail_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, cause: str) -> None:
    """The register keeps these words; what a server printed before it failed may be a verifier."""
    result, said = play(tmp_path, end, monkeypatch)
    assert not result.ok and cause in result.trouble and VERIFIER not in said

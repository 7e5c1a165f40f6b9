"""The controller's side of the web layer: what a server may make it send."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

FILE = Path(__file__).resolve().parents[3] / "plugins/action/apache_websites.py"
SHA = "ab" * 32


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("apache_websites_action", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server:
    """An action whose server answers with these results, one after the other."""

    def __init__(self, evidence: Path, *results: dict[str, Any], rc: int = 0, **arguments: Any) -> None:
        website = {"name": "a.go.id", "state": "present", "web_host": "web1", "release": {"sha256": SHA}}
        given = {"websites": [website], "host": "web1", "evidence": str(evidence), **arguments}
        self.unpacked = f"a.go.id/releases/{SHA[:32]}\n"
        self.results, self.sent, self.commands, self.given = list(results), [], [], []
        self.action: Any = object.__new__(load().ActionModule)
        task = {"action": "apache_websites", "args": given, "async_val": 0, "check_mode": False, "diff": False}
        self.action._task = SimpleNamespace(**task)
        self.action._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=str(evidence)))
        self.action._execute_module = self.execute
        self.action._transfer_file = lambda local, remote: self.sent.append((local, remote))
        self.action._low_level_execute_command = self.command
        self.rc = rc

    def command(self, command: str) -> dict[str, Any]:
        if command.startswith("cd "):
            return {"rc": 0, "stdout": self.unpacked}
        self.commands.append(command)
        return {"rc": self.rc, "stderr": "No space left"}

    def execute(self, name: str, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.given.append(dict(arguments))
        return self.results.pop(0)

    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = self.action.run(task_vars={"inventory_hostname": "web1"})
        return found


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / SHA).write_text("archive")
    (tmp_path / "secret").write_text("the controller's")
    return tmp_path / "evidence"


def test_action_brings_what_the_server_lacks_and_runs_again(evidence: Path) -> None:
    server = Server(evidence, {"missing_archives": [SHA]}, {"changed": True})
    assert server.run() == {"changed": True}
    assert server.sent == [(str(evidence / SHA), f"/var/lib/websites/web/archives/{SHA}")]
    assert server.commands == ["install -d -m 0700 /var/lib/websites/web/archives"]
    assert all("evidence" not in given for given in server.given) and len(server.given) == 2


@pytest.mark.parametrize("text", [False, True])
def test_action_brings_what_is_not_unpacked_and_runs_once(evidence: Path, text: bool) -> None:
    server = Server(evidence, {"changed": True})
    if text:
        server.action._task.args["websites"] = json.dumps({"websites": server.action._task.args["websites"]})
    server.unpacked = f"b.go.id/releases/{SHA[:32]}\n"
    assert server.run() == {"changed": True}
    assert server.sent == [(str(evidence / SHA), f"/var/lib/websites/web/archives/{SHA}")] and len(server.given) == 1


@pytest.mark.parametrize("behind", ["", "-734519ad"])
def test_action_brings_nothing_that_is_unpacked(evidence: Path, behind: str) -> None:
    server = Server(evidence, {"changed": False})
    server.unpacked = f"a.go.id/releases/{SHA[:32]}{behind}\n"
    assert server.run() == {"changed": False} and server.sent == [] and server.commands == []


@pytest.mark.parametrize("other", [{"web_host": "web2"}, {"state": "archived"}, {"state": "purged"}, {"release": None},
                                   {"release": {"sha256": "../secret"}}])
def test_action_brings_nothing_that_the_server_does_not_need(evidence: Path, other: dict[str, Any]) -> None:
    server = Server(evidence, {"changed": False})
    server.action._task.args["websites"][0].update(other)
    server.unpacked = ""
    assert server.run() == {"changed": False} and server.sent == [] and server.commands == []


def test_action_brings_nothing_for_a_plan(evidence: Path) -> None:
    server = Server(evidence, {"changed": True})
    server.action._task.check_mode, server.unpacked = True, ""
    assert server.run() == {"changed": True} and server.sent == []


@pytest.mark.parametrize("result", [{"changed": False}, {"failed": True, "msg": "refused"}])
def test_action_ends_with_the_first_result_where_nothing_is_missing(evidence: Path, result: dict[str, Any]) -> None:
    server = Server(evidence, result)
    assert server.run() == result and server.commands == []


@pytest.mark.parametrize("asked", ["../secret", "/etc/shadow", "cd" * 32, f"{SHA}/../../secret", f"{SHA}\n", 7, [SHA]])
def test_action_sends_no_other_file_of_the_controllers(evidence: Path, asked: Any) -> None:
    """A server in others' hands would ask for the controller's keys."""
    server = Server(evidence, {"missing_archives": [asked]})
    with pytest.raises(AnsibleActionFail, match="is no release of these websites"):
        server.run()
    assert server.sent == []


def test_action_lets_the_module_refuse_a_website_whose_release_is_no_evidence(evidence: Path) -> None:
    """One lost archive must not keep the others from their server."""
    (evidence / SHA).unlink()
    server = Server(evidence, {"missing_archives": [SHA]}, {"refused": [{"website": "x"}]})
    assert server.run() == {"refused": [{"website": "x"}]}
    assert server.sent == [] and [given.get("brought") for given in server.given] == [None, True]


def test_action_fails_where_the_folder_cannot_be_made(evidence: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="cannot be made: No space left"):
        Server(evidence, {"missing_archives": [SHA]}, rc=1).run()


def test_action_brings_archives_to_the_folder_that_the_module_reads(evidence: Path) -> None:
    server = Server(evidence, {"missing_archives": [SHA]}, {"changed": True}, archives="/srv/a b; id")
    server.run()
    assert server.commands == ["install -d -m 0700 '/srv/a b; id'"] and server.sent[0][1] == f"/srv/a b; id/{SHA}"

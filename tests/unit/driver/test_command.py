"""The command as a process of its own, with the real ansible-runner: a run, and ^C in the middle of one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from driver import people
from driver.desk import PROJECT, Desk
from sop_driver import run

ANSWER = """#!/usr/bin/python
import json, os
from ansible.module_utils.basic import AnsibleModule
options = dict(websites=dict(type="list"), chosen=dict(type="list"), site=dict())
module = AnsibleModule(options, supports_check_mode=True)
wanted = sorted(w["name"] for w in module.params["websites"] or [] if w["state"] == "present")
chosen = module.params["chosen"]
if chosen is not None:
    seen = {n: {"status": 200, "id": "1"} for n in chosen}
    module.exit_json(probes=seen, failures=[], snapshots=seen)
site = module.params["site"]
found = json.load(open(site)) if os.path.exists(site) else []
if not module.check_mode:
    json.dump(wanted, open(site, "w"))
module.exit_json(changed=wanted != found, as_built={n: {} for n in wanted}, conflicts=[], orphans=[], changes=[
    dict(layer="web", host="web1", website=n, subject="vhost", action="create" if n in wanted else "remove")
    for n in set(wanted) ^ set(found)])
"""
WEBSITES = """
- name: Converge
  hosts: all
  gather_facts: false
  tasks:
    - ansible.legacy.answer:
        websites: "{{ (lookup('ansible.builtin.file', desired_state_file) | from_json).websites }}"
        site: "{{ playbook_dir }}/site.json"
"""
CHOSEN = """
- name: Look
  hosts: all
  gather_facts: false
  tasks:
    - ansible.legacy.answer:
        chosen: "{{ (lookup('ansible.builtin.file', selection_file) | from_json).websites }}"
"""
SLOW = "    - {ansible.builtin.command: sleep 60}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    shutil.copytree(PROJECT / "plugins/callback", made / "plugins/callback")
    for path, text in {
        "ansible.cfg": "[defaults]\nlibrary = plugins/modules\n",
        "plugins/modules/answer.py": ANSWER,
        **{f"playbooks/{name}": WEBSITES for name in (run.WEBSITES, run.REVERSE, *run.LAYERS)},
        "playbooks/probe.yml": CHOSEN,
        "playbooks/backup.yml": CHOSEN,
        "inventory/hosts.yml": "all: {hosts: {web1: {ansible_connection: local,"
        " ansible_python_interpreter: /usr/bin/python3}}}\n",
        "inventory/group_vars/all/fleet.yml": json.dumps(
            {"fleet": {"domain": "tarakankota.go.id", "web": {"web1": {"ipv4": "198.51.100.11"}}}}
        ),
    }.items():
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(text)
    example = (PROJECT / "sop_driver/data/sop.example.yml").read_text()
    (made / "sop.yml").write_text(example.replace("inventories/lab", "inventory"))
    return made


def start(desk: Desk, project: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        **more,
        "SOP_PROJECT": str(project),
        "SOP_HOME": str(desk.office.home.path),
        "SOP_REGISTER": desk.place,
        "SOP_KEYS": str(people.write_keys(desk.folder / "keys")),
        "PYTHONPATH": str(PROJECT),
        "SOP_CONFIG": str(project / "sop.yml"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "sop_driver", *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=project,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def sites(project: Path) -> Any:
    path = project / "playbooks/site.json"
    return json.loads(path.read_text()) if path.exists() else []


def test_run_of_the_command_reaches_the_servers_and_tells_it(desk: Desk, project: Path) -> None:
    request = desk.approved()
    code, out, err = finish(start(desk, project, "run", request))
    assert code == 0, err
    assert "+ create vhost" in out and "… Converge" in err and sites(project) == ["dinkes.tarakankota.go.id"]
    assert finish(start(desk, project, "run", request))[0] == 3


@pytest.mark.parametrize("mode", ["0", "1"])
def test_another_locale_than_unicode_changes_nothing(desk: Desk, project: Path, mode: str) -> None:
    request = desk.approved(contact={"name": "Müller Łukasz", "email": "m@example.go.id"})
    narrow = {"LC_ALL": "C", "PYTHONUTF8": mode}
    code, out, err = finish(start(desk, project, "run", request, **narrow))
    assert code == 0, err
    assert "… Converge" in err
    code, out, err = finish(start(desk, project, "report", request, **narrow))
    assert code == 0, err
    assert "Müller Łukasz" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_middle_puts_back_and_exits_130(desk: Desk, project: Path, number: signal.Signals) -> None:
    (project / "playbooks/probe.yml").write_text(CHOSEN + SLOW)
    request = desk.approved()
    process = start(desk, project, "run", request)
    deadline = time.monotonic() + 30
    while not sites(project) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 130, err
    assert "put back" in err and sites(project) == [] and desk.outcomes() == ["started", "rolled_back"]


def test_run_that_was_told_to_outlive_its_terminal_does(file_desk: Desk, project: Path) -> None:
    """`nohup` has it ignore SIGHUP; whoever logs out would else have the run put back."""
    (project / "playbooks/probe.yml").write_text(CHOSEN + SLOW.replace("60", "3"))
    request = file_desk.approved()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which the process inherits
    try:
        process = start(file_desk, project, "run", request)
    finally:
        signal.signal(signal.SIGHUP, before)
    deadline = time.monotonic() + 30
    while not sites(project) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGHUP)
    code, _, err = finish(process)
    assert code == 0, err
    assert file_desk.outcomes() == ["started", "applied"]

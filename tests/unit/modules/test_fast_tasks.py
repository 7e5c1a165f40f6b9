"""A module is packed by the first playbook that uses it, and by the next one only if what it is made of has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
PACKED = "ansiballz_cache/ansible.legacy.website_manifest-ZIP_DEFLATED-none"


@pytest.fixture
def utils(tmp_path: Path) -> Path:
    """A copy of what modules import, to be changed."""
    return Path(shutil.copytree(PROJECT / "plugins/module_utils", tmp_path / "utils"))


def packs(folder: Path, utils: Path) -> bool:
    """Play a module, which must run; whether it was packed for that."""
    tasks = [{"name": "Run the module", "website_manifest": {"host": "web1"}}]
    (folder / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
                "ANSIBLE_MODULE_UTILS": str(utils), "ANSIBLE_DEBUG": "1"}  # fmt: skip
    playbook = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [playbook, "-i", "localhost,", "-c", "local", folder / "play.yml"],
        cwd=PROJECT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "missing required arguments: websites" in said, said  # it came to run
    assert "Callback dispatch" not in said, said
    found = any("ANSIBALLZ: using cached module" in line and PACKED in line for line in said.splitlines())
    assert found != ("ANSIBALLZ: Creating module" in said), said
    return not found


def test_next_playbook_finds_what_the_first_one_packed(tmp_path: Path, utils: Path) -> None:
    assert [packs(tmp_path, utils), packs(tmp_path, utils)] == [True, False]
    assert len([*tmp_path.glob("local/*")]) == 1  # only what is kept


def test_changed_import_packs_anew_and_leaves_nothing_older(tmp_path: Path, utils: Path) -> None:
    packs(tmp_path, utils)
    with (utils / "transaction.py").open("a") as file:
        file.write("# another one\n")
    assert packs(tmp_path, utils)
    assert not packs(tmp_path, utils)
    assert len([*tmp_path.glob("local/*")]) == 1


def test_damaged_payload_is_packed_anew(tmp_path: Path, utils: Path) -> None:
    """Ansible itself would fail in each task that uses it."""
    packs(tmp_path, utils)
    (payload,) = tmp_path.glob("local/*/ansible.legacy.website_manifest-*")
    payload.write_bytes(payload.read_bytes()[:-1])
    assert packs(tmp_path, utils)
    assert not packs(tmp_path, utils)


def test_folder_that_others_may_write_to_is_left_alone(tmp_path: Path, utils: Path) -> None:
    """Whoever writes there brings code onto servers."""
    packs(tmp_path, utils)
    (kept,) = tmp_path.glob("local/*")
    before = sorted(kept.iterdir())
    kept.chmod(0o770)
    (payload,) = kept.glob("ansible.legacy.website_manifest-*")
    payload.unlink()
    assert packs(tmp_path, utils)
    assert sorted(kept.iterdir()) == [path for path in before if path != payload]


def test_playbook_runs_where_nothing_can_be_kept(tmp_path: Path, utils: Path) -> None:
    packs(tmp_path, utils)
    (kept,) = tmp_path.glob("local/*")
    shutil.rmtree(kept)
    kept.touch()
    (utils / ".#edited.py").symlink_to("nowhere")
    assert packs(tmp_path, utils)


SSH = """#!/bin/sh
for word; do case $word in ControlPath=*) at=$word ;; esac; last=$word; done
[ "$last" = true ] || sleep 1  # a task, whose work takes a while
echo "$at $last" >> %s
"""


def test_later_servers_are_connected_to_while_the_first_play_works(tmp_path: Path) -> None:
    """As their own tasks do it, so that these find the connection; the first play's are left to its tasks."""
    ssh, said = tmp_path / "ssh", tmp_path / "said"
    ssh.write_text(SSH % said)
    ssh.chmod(0o700)
    plays = [{"hosts": host, "gather_facts": False, "tasks": [{"name": "Work", "ansible.builtin.raw": f"echo {host}"}]}
             for host in ("first", "later:local", "first:later")]  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    (tmp_path / "hosts").write_text("first ansible_host=192.0.2.1\nlater ansible_host=192.0.2.2 ansible_port=2222\n"
                                    "unasked ansible_host=192.0.2.3\nlocal ansible_connection=local\n")  # fmt: skip
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_SSH_EXECUTABLE": str(ssh), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(tmp_path)}  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts", tmp_path / "play.yml"],
        cwd=PROJECT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Callback dispatch" not in done.stderr and done.returncode == 0, done.stdout + done.stderr
    began = [line.split(" ", 1) for line in said.read_text().splitlines()]
    (ahead,) = [at for at, command in began if command == "true"]
    of_first, of_later = ([at for at, command in began if command.endswith(f"echo {hosts}")]
                          for hosts in ("first", "later:local"))  # fmt: skip
    assert of_later == [ahead] and of_first and ahead not in of_first
    assert began.index([ahead, "true"]) < began.index([ahead, "echo later:local"])

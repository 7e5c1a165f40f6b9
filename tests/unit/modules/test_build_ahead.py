"""The layers' modules are packed while the one before works, into the cache that their tasks read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
PACKED = "ansiballz_cache/ansible.legacy.website_manifest-ZIP_DEFLATED-none"


def test_module_is_packed_before_its_task(tmp_path: Path) -> None:
    waits = f"timeout 60 sh -c 'until ls {tmp_path}/local/*/{PACKED}; do sleep 0.1; done'"
    wanted = {"block": [{"name": "Run the module", "website_manifest": {"host": "web1"}}]}
    tasks = [{"name": "Wait for the module", "ansible.builtin.command": waits}, wanted]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_DEBUG": "1"}  # fmt: skip
    playbook = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [playbook, "-i", "localhost,", "-c", "local", tmp_path / "play.yml"],
        cwd=PROJECT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "missing required arguments: websites" in said, said  # it came to run
    assert [line for line in said.splitlines() if "ANSIBALLZ: using cached module" in line and PACKED in line], said

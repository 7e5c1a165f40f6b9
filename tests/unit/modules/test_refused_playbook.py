"""How websites.yml ends, as an administrator or CI meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[3]
LEFT = {"website": "a.go.id", "what": "its setup script failed with 3: no table", "mend": "mend the release",
        "layer": "web", "host": "web1"}
RESULTS = {"apache_result": {"refused": [LEFT]}, "database_result": {"changes": []},
           "database_credentials": {"refused": [{**LEFT, "website": "b.go.id", "layer": "credentials"}]}}


def play(folder: Path, results: dict[str, Any], *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The play on one web host whose layers returned these results."""
    host = {**results, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"web": {"hosts": {"web1": host}}, **{name: {} for name in ("gateways", "database", "nameservers")}}
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.json",
               PROJECT / "playbooks/refused.yml", *options]
    known = {name: value for name, value in os.environ.items() if name != "SOP_RESULTS_FILE"}
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **environment}
    return subprocess.run(command, cwd=PROJECT, env={**known, **settings}, capture_output=True, text=True, timeout=120)


def test_play_fails_and_names_each_website_in_three_parts(tmp_path: Path) -> None:
    done = play(tmp_path, RESULTS)
    said = done.stdout.replace("\\n", "\n")
    assert done.returncode == 2 and "refused: a.go.id stays as it was: its setup script failed with 3: no table" in said
    assert "layer: credentials on web1\nmend: mend the release" in said


@pytest.mark.parametrize(("results", "options", "environment"), [
    ({"apache_result": {"refused": []}, "database_result": {}}, [], {}),
    ({}, [], {}),
    (RESULTS, ["--check"], {}),
    (RESULTS, [], {"SOP_RESULTS_FILE": "results.jsonl"}),
], ids=["nothing refused", "no layer", "plan", "driver"])
def test_play_passes_where_nothing_is_refused_or_another_one_judges(
    tmp_path: Path, results: dict[str, Any], options: list[str], environment: dict[str, str]
) -> None:
    """A plan only shows; the driver knows whose websites are whose."""
    done = play(tmp_path, results, *options, **environment)
    assert done.returncode == 0, done.stdout


def test_playbook_ends_with_the_layer_whose_server_is_out_of_reach(tmp_path: Path) -> None:
    """Going on would publish names for websites that are not there."""
    (tmp_path / "desired.json").write_text('{"format": 1, "websites": []}')
    nowhere = {"ansible_host": "127.0.0.1", "ansible_port": 1, "desired_state_file": str(tmp_path / "desired.json")}
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", PROJECT / "inventories/lab",
               PROJECT / "playbooks/websites.yml", "-e", json.dumps(nowhere)]
    done = subprocess.run(command, cwd=PROJECT, env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode and "unreachable=1" in done.stdout
    assert "PLAY [Lease the addresses]" in done.stdout and "PLAY [Make the credentials]" not in done.stdout

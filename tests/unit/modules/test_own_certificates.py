"""What servers.yml refuses of the agency's own certificates, before one of them reaches a web host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from test_websites_https import made

PROJECT = Path(__file__).resolve().parents[3]


def check(folder: Path, text: str, *names: str, called: str = "kota") -> tuple[int, str]:
    """The role's check of one certificate: its exit code and what it says."""
    own = {"name": called, "names": names, "certificate": text, "private_key": "SECRET"}
    (folder / "own.json").write_text(json.dumps({"apache_certificates": [own]}))
    role = {"name": "apache", "tasks_from": "_own_certificates"}
    tasks = [{"ansible.builtin.include_role": role}]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.json").write_text(json.dumps([play]))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-v", "-i", "localhost,", folder / "play.json"]
    for given in (f"@{folder}/own.json", f"ansible_python_interpreter={sys.executable}"):
        command += ["-e", given]
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(PROJECT / "roles"),
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120)
    assert "SECRET" not in done.stdout + done.stderr
    return done.returncode, done.stdout.replace("\\n", "\n")


def pem(*names: str, days: float = 60) -> str:
    return made(*names, days=days).public_bytes(Encoding.PEM).decode()


CASES = [
    (pem("kota.go.id", days=-1), ["kota.go.id"], "has ended, or cannot be read"),
    ("nothing", ["kota.go.id"], "has ended, or cannot be read"),
    (pem(), ["kota.go.id"], "serves no name, not kota.go.id"),
    (pem("*.kota.go.id"), ["a.kota.go.id", "kota.go.id", "a.b.kota.go.id"],
     "serves *.kota.go.id, not kota.go.id, a.b.kota.go.id"),
    (pem("a.kota.go.id"), ["*.kota.go.id"], "serves a.kota.go.id, not *.kota.go.id"),
    (pem("*.kota.go.id"), ["a.kotaxgo.id"], "not a.kotaxgo.id"),
]


@pytest.mark.parametrize(
    ("text", "names", "says"), CASES, ids=["ended", "no-pem", "no-san", "wider", "wildcard", "dot"])
def test_own_certificate_is_refused_where_visitors_would_be_warned(
    tmp_path: Path, text: str, names: list[str], says: str
) -> None:
    code, said = check(tmp_path, text, *names)
    assert code == 2 and re.search(r"refused: the certificate kota .*\nlayer: web on localhost\nmend: ", said)
    assert says in said


def test_own_certificate_is_refused_by_a_name_that_apache_would_take_for_another(tmp_path: Path) -> None:
    code, said = check(tmp_path, pem("kota.go.id"), "kota.go.id", called="acme")
    assert code == 2 and "refused: a certificate is called acme" in said


def test_own_certificate_is_taken_for_the_names_that_it_serves(tmp_path: Path) -> None:
    code, said = check(tmp_path, pem("*.Kota.go.id", "kota.go.id"), "*.kota.go.id", "kota.go.id", "a.kota.go.id")
    assert code == 0, said

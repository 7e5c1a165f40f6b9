"""Files installed in one go, as Ansible runs it: contents from the controller, and only what differs is replaced."""

from __future__ import annotations

import getpass
import grp
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[3]
SETTINGS = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}


class Role:
    """A folder with a template and a file, and a server's folder to which they go."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.there = folder, folder / "there"
        for name in ("templates", "files", "there"):
            (folder / name).mkdir()
        unit = "# {{ ansible_managed }}\n{% if word %}\nword {{ word }}\n{% endif %}\n"
        (folder / "templates/unit.j2").write_text(unit)
        (folder / "files/program").write_text("#!/bin/sh\necho '{{ kept as it is }}'\n\n")
        self.files: list[dict[str, str]] = [
            {"src": "unit.j2", "path": f"{self.there}/unit"},
            {"src": "program", "path": f"{self.there}/program", "mode": "0755"},
            {"content": "", "path": f"{self.there}/empty"},
        ]

    def play(self, *options: str, **arguments: Any) -> dict[str, Any]:
        """The result of the module, run with these command line options."""
        owner = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getegid()).gr_name}
        given = {"files": self.files, **owner, **arguments}
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible"), "localhost", "-i", "localhost,", "-c", "local", "-m",
             "install_files", "--playbook-dir", self.folder, "-e", "word=said", "-a", json.dumps(given), *options],
            cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **SETTINGS},
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert "localhost | " in done.stdout, said
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{", done.stdout.index("localhost | ")):])
        return {**found, "failed": "| FAILED!" in said, "shown": said}

    def names(self, result: dict[str, Any]) -> list[str]:
        return [Path(path).name for path in result["paths"]]


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path)


def test_files_are_installed_once_and_put_right_where_they_differ(role: Role) -> None:
    assert role.names(role.play()) == ["unit", "program", "empty"]
    assert (role.there / "unit").read_text() == "# Ansible managed\nword said\n"
    assert (role.there / "program").read_bytes() == (role.folder / "files/program").read_bytes()
    modes = [(role.there / name).stat().st_mode & 0o777 for name in ("unit", "program", "empty")]
    assert modes == [0o644, 0o755, 0o644]
    (role.there / "unit").chmod(0o666)
    (role.there / "empty").write_text("somebody's")
    assert role.names(role.play()) == ["unit", "empty"]
    assert (role.there / "unit").stat().st_mode & 0o777 == 0o644
    assert (role.there / "empty").read_text() == ""
    again = role.play()
    assert not again["changed"]
    assert again["paths"] == []


def test_check_tells_and_installs_nothing(role: Role) -> None:
    (role.there / "unit").write_text("# Ansible managed\nword said\n")
    (role.there / "unit").chmod(0o644)
    role.files.append({"content": "x", "path": f"{role.there}/missing/one"})  # its folder would be made before
    told = role.play("--check")
    assert told["changed"]
    assert role.names(told) == ["program", "empty", "one"]
    assert sorted(path.name for path in role.there.iterdir()) == ["unit"]
    assert role.names(role.play("--check", owner="nobody-here")) == ["unit", "program", "empty", "one"]


def test_file_that_is_there_stays_where_only_missing_ones_are_made(role: Role) -> None:
    (role.there / "empty").write_text("somebody's")
    assert role.names(role.play(force=False)) == ["unit", "program"]
    assert (role.there / "empty").read_text() == "somebody's"


def test_differences_are_told_to_who_asks_for_them(role: Role) -> None:
    """Of a file that is no text as well, and where only the mode differs."""
    (role.there / "empty").write_bytes(b"before \xff\n")
    (role.there / "unit").write_text("# Ansible managed\nword said\n")
    (role.there / "unit").chmod(0o600)
    assert "before" not in role.play("--check")["shown"]
    shown = role.play("--check", "--diff")["shown"]
    assert f"{role.there}/unit: 0600 {os.geteuid()}:{os.getegid()} becomes 0644 {getpass.getuser()}:" in shown
    lines = [line for line in shown.splitlines() if line.startswith(("+", "-"))]
    owner = f"{getpass.getuser()}:{grp.getgrgid(os.getegid()).gr_name}"
    program = f"{role.there}/program"
    assert lines[:2] == [f"--- before: {program} (absent)", f"+++ after: {program} (0755 {owner})"]
    assert lines[2:5] == ["+#!/bin/sh", "+echo '{{ kept as it is }}'", "+"]
    assert lines[-1] == "-before \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"content": "x", "path": "missing/one"}, "No such file"),
        ({"content": "x", "path": "one", "mode": "rw"}, "is no mode"),
        ({"content": "x", "path": "one", "mode": "420"}, "is no mode"),  # what YAML makes of 0644 without quotes
        ({"content": "x", "path": "one", "owner": "nobody-here"}, "nobody-here"),
        ({"content": "x", "src": "program", "path": "one"}, "either src or content"),
        ({"path": "one"}, "either src or content"),
        ({"src": "absent", "path": "one"}, "absent"),
    ],
)  # fmt: skip
def test_file_that_cannot_be_installed_is_named(role: Role, file: dict[str, str], said: str) -> None:
    role.files = [{**file, "path": f"{role.there}/{file['path']}"}]
    result = role.play()
    assert result["failed"]
    assert said in result["msg"]
    assert [*role.there.iterdir()] == []


def test_task_without_files_is_a_mistake(role: Role) -> None:
    result = role.play(files=None)
    assert result["failed"]
    assert "list of files" in result["msg"]

"""The module: what it hands to the server's command; and the playbook: which websites it takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import restore_website as module
from ansible.module_utils.transaction import Refused

PROJECT = Path(__file__).resolve().parents[3]
PARAMS = {"name": "dinkes.tarakankota.go.id", "host": "web1", "snapshot": "latest", "target": None, "in_place": True,
          "database": True}


def test_words_restore_in_place():
    assert module.words(PARAMS, False) == ["restore", PARAMS["name"], "--snapshot", "latest", "--in-place"]


def test_words_restore_to_a_folder_without_the_database():
    given = {**PARAMS, "in_place": False, "target": "/root/x", "database": False}
    assert module.words(given, True)[3:] == ["latest", "--target", "/root/x", "--without-database", "--plan"]


@pytest.mark.parametrize("values", [{"snapshot": "--target"}, {"snapshot": "12"}, {"snapshot": "latest\n"},
                                    {"name": "--json"}, {"name": "a/b"}, {"name": ""}])
def test_words_refuse_what_could_be_an_option(values):
    with pytest.raises(Refused):
        module.words({**PARAMS, **values}, False)


def play(folder, name, *options):
    """restore.yml as a plan, for two web hosts that are this machine, where no backup is set up: it goes no further."""
    rows = [{"name": f"{label}.tarakankota.go.id", "web_host": host}
            for label, host in (("dinkes", "web1"), ("disdik", "web2"))]
    (folder / "desired.json").write_text(json.dumps({"websites": rows}))
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"web1": here, "web2": here}
    (folder / "hosts.json").write_text(json.dumps({"all": {"children": {"web": {"hosts": hosts}}}}))
    command = [Path(sys.executable).with_name("ansible-playbook"), "-i", folder / "hosts.json", "--check",
               PROJECT / "playbooks/restore.yml", "-e", f"restore_website={name}",
               "-e", f"desired_state_file={folder}/desired.json", *options]
    settings = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(command, cwd=PROJECT, env={**os.environ, **settings}, capture_output=True, text=True,
                          timeout=120, check=False)
    return done.returncode, done.stdout.replace("\\n", "\n")


@pytest.mark.parametrize(("name", "options", "hosts"), [
    ("dinkse.tarakankota.go.id", [], "web1, web2"),
    ("dinkes.tarakankota.go.id", ["--limit", "web2"], "web2"),
], ids=["unknown", "left out by --limit"])
def test_playbook_refuses_a_website_that_it_would_not_restore(tmp_path, name, options, hosts):
    """A play that skips everything looks like a restore that went well."""
    code, said = play(tmp_path, name, *options)
    assert code and f"refused: the desired state has no website {name} on {hosts}\nplaybook: restore\nmend: " in said
    assert "is not set up on this server" not in said


def test_playbook_asks_the_web_host_of_the_website(tmp_path):
    code, said = play(tmp_path, "disdik.tarakankota.go.id")
    assert code and "backup on web2" in said and "the desired state has no website" not in said

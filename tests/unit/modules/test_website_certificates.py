"""The module that has certificates taken into use, and what it tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import website_certificates
from ansible.module_utils import web_tls

PENDING = {"status": "pending", "issuer": None, "not_after": None, "error": "no such name"}


class Ended(Exception):
    """How the module ended."""


def module(program: Path, monkeypatch: pytest.MonkeyPatch, check: bool = False) -> dict[str, Any]:
    class Module:
        def __init__(self, **_: Any) -> None:
            self.params, self.check_mode = {"host": "web1", "wait": 7}, check

        def exit_json(self, **said: Any) -> None:
            raise Ended(said)

        def fail_json(self, **said: Any) -> None:
            raise Ended({**said, "failed": True})

    monkeypatch.setattr(website_certificates, "AnsibleModule", Module)
    monkeypatch.setattr(web_tls, "PROGRAM", program)
    with pytest.raises(Ended) as caught:
        website_certificates.main()
    return dict(caught.value.args[0])


def script(folder: Path, reloads: int = 0) -> Path:
    """A program that answers as the web host's does, and notes how it was called."""
    path = folder / "program"
    said = json.dumps({"reloads": reloads, "websites": {"dinkes.go.id": PENDING}})
    path.write_text(f"#!/bin/sh\necho $* > {folder}/called\necho '{said}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("check", "options"), [(False, "--release --wait 7"), (True, "--look")])
def test_certificate_that_did_not_come_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool, options: str
) -> None:
    said = module(script(tmp_path), monkeypatch, check)
    assert said == {"changed": False, "changes": [], "as_built": {"dinkes.go.id": {"certificate": PENDING}}}
    assert (tmp_path / "called").read_text().strip() == options


def test_reload_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module(script(tmp_path, reloads=2), monkeypatch)["changed"]


def test_web_host_that_is_not_set_up_is_refused_in_three_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = module(tmp_path / "none", monkeypatch)
    assert said["failed"] and said["msg"].splitlines()[1:] == [
        "layer: web on web1", "mend: run playbooks/servers.yml first"]

"""The way from Ansible to the server's own command `website-backup`, which the role backup installs."""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any

from ansible.module_utils.transaction import Refused

COMMAND = pathlib.Path("/usr/local/sbin/website-backup")
SET_UP = "run playbooks/servers.yml, which sets the backup up"


def is_set_up() -> bool:
    return COMMAND.exists() and pathlib.Path("/etc/websites/backup/backup.json").exists()


def ask(words: list[str], timeout: float = 6 * 3600.0) -> dict[str, Any]:
    """The command's JSON answer, which may name `failures`. Raises Refused where it did nothing at all."""
    if not is_set_up():
        raise Refused(f"{COMMAND} is not set up on this server", SET_UP)
    try:
        done = subprocess.run([str(COMMAND), *words, "--json"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{COMMAND} could not run: {error}", SET_UP) from error
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        raise Refused(f"{COMMAND} {words[0]} ended with {done.returncode}: {done.stderr.strip()[-1500:]}",
                      "mend what it names and run again") from error
    if not isinstance(said, dict):
        raise Refused(f"{COMMAND} {words[0]} answered {done.stdout[:200]!r}", SET_UP)
    if "refused" in said:
        raise Refused(said["refused"], said["mend"])
    return said

"""Hold websites back from asking for a certificate until visitors, and so the authority, find them by name."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.transaction import STATE, Refused, run

HELD = STATE / "https/held"  # a file a website; the policy's macros look for it
SERVED = STATE / "https/served"  # a file a name that leads to HTTPS
STORE = STATE / "md/domains"  # where mod_md keeps certificates
PROGRAM = pathlib.Path("/usr/local/sbin/website-certificates")


def hold(websites: Iterable[dict[str, Any]]) -> list[str]:
    """Hold back those that have no certificate yet; gives their names.

    The authority would look for them in DNS, which is converged last, and count each failure against their limit.
    """
    names = [w["name"] for w in websites if w["_certificate"] == "acme"]
    held = [name for name in names if not any((STORE / name).glob("pubcert*.pem"))]
    for name in held:
        (HELD / name).touch(mode=0o644)
    return held


def release(names: Iterable[str]) -> None:
    """Let them go."""
    for name in names:
        pathlib.Path(HELD / name).unlink(missing_ok=True)


def see_to(*options: str, wait: int = 0) -> dict[str, Any]:
    """Take certificates into use that are there, or what the options say; gives what the program tells of them."""
    if not PROGRAM.exists():
        raise Refused(f"{PROGRAM} is not installed", "run playbooks/servers.yml first")
    return dict(json.loads(run([str(PROGRAM), *options], timeout=wait + 300)))


def awaited() -> bool:
    """Whether a website is held back until the name servers know it."""
    return any(HELD.iterdir())


def forget(names: Iterable[str]) -> None:
    """Drop what is noted about a website that goes, by all its names: whoever has one of them next begins anew."""
    for name in names:
        for folder in (HELD, SERVED):
            (folder / name).unlink(missing_ok=True)

"""Compare every live release of this server with its manifest, name each file that differs, and keep what was found."""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import sys
from typing import Any

import manifest

HOMES = pathlib.Path("/srv/websites")
LIVE = pathlib.Path("/var/lib/websites/web/current/websites.json")
FOUND = pathlib.Path("/var/lib/websites/manifest.json")
WORDS = {"create": "missing", "remove": "added", "update": "changed"}  # what would bring it back: what happened to it
TRIES = 5
Website = dict[str, Any]


def websites() -> dict[str, Website]:
    """What the live generation serves, by name. What has no website's shape is among it: it is not passed over."""
    entries = [entry if isinstance(entry, dict) else {} for entry in json.loads(LIVE.read_text())]
    return {str(entry.get("name")): entry for entry in entries if entry.get("state") not in ("archived", "purged")}


def differences(name: str) -> list[manifest.Difference]:
    """What differs in a website's live release. A run may put another release in its place meanwhile."""
    for left in reversed(range(TRIES)):
        website = websites().get(name)
        if website is None:
            return []
        release = manifest.folder(HOMES / name, website)
        try:
            found = manifest.differences(release)
        except OSError:  # a file went while it was read
            if not left:
                raise
            continue
        if not found or websites().get(name) == website:
            return found
    return found


def check() -> list[dict[str, str]]:
    """Every file that differs, of all websites, by name; and every website that could not be compared."""
    found = []
    for name in sorted(websites()):
        try:
            found += [{"website": name, "path": d.subject, "what": WORDS[d.action]} for d in differences(name)]
        except (OSError, KeyError, TypeError) as error:
            found.append({"website": name, "path": "release", "what": "not compared", "why": repr(error)})
    return found


def keep(found: list[dict[str, str]]) -> None:
    """Keep what was found for whoever asks, as a whole."""
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    partial = FOUND.with_name(f".{FOUND.name}.partial")
    partial.write_text(json.dumps({"finished": finished, "found": found}, indent=1) + "\n")
    partial.chmod(0o600)
    partial.replace(FOUND)


def main(argv: list[str]) -> int:
    """Exit code 0 where all is as it was unpacked, 1 where a file differs; each is named on standard error."""
    argparse.ArgumentParser(
        prog="website-manifest", description="Compare every live release of this server with its manifest."
    ).parse_args(argv)
    found = check()
    keep(found)
    for item in found:
        why = f": {item['why']}" if "why" in item else " since the release was unpacked"
        # the journal takes the number for the line's priority: an error
        sys.stderr.write(f"<3>{item['website']}: {item['path']} was {item['what']}{why}\n")
    sys.stderr.write(f"<6>{len(websites())} websites compared, {len(found)} differences\n")
    return 1 if found else 0

"""What a release held when it was unpacked, so that a file added or changed later is known by name.

The nightly check on the web hosts runs this file as well, without Ansible: it needs Python alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

MANIFEST = ".sop-manifest"  # in the release, root's alone; Apache refuses hidden files
ACTIONS = {(True, False): "create", (False, True): "remove", (True, True): "update"}  # (in the manifest, on the disk)


class Difference(NamedTuple):
    """What would bring one thing of a release back: `manifest`, or `file PATH`; what is there, what was unpacked."""

    subject: str
    action: str
    there: str | None
    wanted: str | None


def folder(home: pathlib.Path, website: dict[str, Any]) -> pathlib.Path:
    """Where a website's release lies."""
    return home / "releases" / called(website)


def called(website: dict[str, Any]) -> str:
    """The name of a release's folder.

    A release with other writable folders is another folder: the live one is never changed where it stands.
    """
    name = str(website["release"]["sha256"])[:32]
    if website["writable"]:
        writable = "\n".join(sorted(website["writable"]))
        name += f"-{hashlib.sha256(writable.encode()).hexdigest()[:8]}"
    return name


def held_by(root: pathlib.Path) -> dict[str, str]:
    """What a release holds: path -> sha256 of a file, or `link TARGET`. Links are not followed."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = pathlib.Path(folder, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = f"link {path.readlink()}"
            elif path.is_file() and path != root / MANIFEST:
                with path.open("rb") as file:
                    found[str(path.relative_to(root))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def differences(release: pathlib.Path) -> list[Difference]:
    """What differs between a release and its manifest. A manifest that is lost, or none, is itself a difference."""
    try:
        wanted = json.loads((release / MANIFEST).read_text())
        wanted.keys()  # what is no map was not written here
    except (OSError, ValueError, AttributeError):  # gone, or not what was written
        return [Difference("manifest", "create", None, str(release / MANIFEST))]
    there = held_by(release)
    return [
        Difference(f"file {path}", ACTIONS[path in wanted, path in there], there.get(path), wanted.get(path))
        for path in sorted(wanted.keys() | there.keys())
        if wanted.get(path) != there.get(path)
    ]

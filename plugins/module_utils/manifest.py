"""What a release held when it was unpacked, so that a file added or changed later is known by name."""

from __future__ import annotations

import hashlib
import os
import pathlib

MANIFEST = ".sop-manifest"  # in the release, root's alone; Apache refuses hidden files


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

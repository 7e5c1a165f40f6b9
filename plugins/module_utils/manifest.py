"""What a release held when it was unpacked, so that what is added, changed or given away later is known by name.

The nightly check on the web hosts runs this file as well, without Ansible: it needs Python alone.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

MANIFEST = ".sop-manifest"  # in the release, root's alone; Apache refuses hidden files
ACTIONS = {(True, False): "create", (False, True): "remove", (True, True): "update"}  # (in the manifest, on the disk)
ROOTS = "as it was made: nobody but root writes there"
KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
LOOSE = stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH


class Difference(NamedTuple):
    """What would bring one thing of a release back: `manifest`, `file PATH` or `folder PATH`; what is there, what was
    unpacked."""

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


def _open(path: pathlib.Path) -> IO[bytes]:
    """A file to read from. Whoever may write beside it can put a link or a pipe in its place, which holds nobody up."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _rights(seen: os.stat_result) -> str | None:
    """Kind, mode and owner of what no archive brings, or what not only root may write, who unpacked it; else None."""
    loose = not stat.S_ISLNK(seen.st_mode) and seen.st_mode & LOOSE
    if seen.st_uid == os.geteuid() and stat.S_IFMT(seen.st_mode) in KINDS and not loose:
        return None
    return f"{stat.filemode(seen.st_mode)} {seen.st_uid}:{seen.st_gid}"


def _look(root: pathlib.Path) -> Iterator[tuple[str, str | None, str | None]]:
    """All of a release, itself as `.` first: path, what a file or a link holds, and `_rights`. Links are not followed.

    The manifest does not hold itself.
    """
    paths = (pathlib.Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files))
    for path in itertools.chain([root], paths):
        seen, name, held = path.lstat(), str(path.relative_to(root)), None
        if stat.S_ISLNK(seen.st_mode):
            held = f"link {path.readlink()}"
        elif stat.S_ISREG(seen.st_mode) and name != MANIFEST:
            with _open(path) as file:
                held = hashlib.file_digest(file, "sha256").hexdigest()
        yield name, held, _rights(seen)


def held_by(root: pathlib.Path) -> dict[str, str]:
    """What a release holds: path -> sha256 of a file, or `link TARGET`."""
    return {path: held for path, held, _ in _look(root) if held}


def differences(release: pathlib.Path) -> list[Difference]:
    """What differs between a release and its manifest, or might be written by others than root.

    A manifest that is lost, or none, is itself a difference.
    """
    try:
        with _open(release / MANIFEST) as file:
            wanted = json.load(file)
        wanted.keys()  # what is no map was not written here
    except (OSError, ValueError, AttributeError):  # gone, or not what was written
        return [Difference("manifest", "create", None, str(release / MANIFEST))]
    there, folders = {}, set()
    for path, held, rights in _look(release):
        if held or rights:
            there[path] = " ".join(filter(None, (held, rights)))
        if rights and rights.startswith("d"):
            folders.add(path)
        if rights and (path == MANIFEST or path in folders):  # which the manifest does not hold
            wanted.setdefault(path, ROOTS)
    return [
        Difference(f"{'folder' if path in folders else 'file'} {path}", ACTIONS[path in wanted, path in there],
                   there.get(path), wanted.get(path))
        for path in sorted(wanted.keys() | there.keys())
        if wanted.get(path) != there.get(path)
    ]

"""The list of a website's files with their hashes: taken before a snapshot, compared after a restore."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

# path: {"sha256": …, "stamp": [size, mtime, ctime, inode]} for a file, {"link": target} for a symbolic link
Files = dict[str, dict[str, Any]]
SLACK = 1_000_000_000  # ns: a file system's clock runs in ticks, behind the system's


class Comparison(NamedTuple):
    files: int
    wrong: list[str]  # paths whose content is not what it was, or that are missing
    moved: int  # files that the website itself changed while the snapshot was made


def take(folders: list[pathlib.Path], before: Files, before_ns: int) -> Files:
    """Hash every file in the folders. A file whose stamp is as in `before`, taken at `before_ns`, is not read again."""
    files: Files = {}
    for folder in folders:
        for path in walk(folder):
            known = before.get(path)
            # A file that changed while the earlier list was made may have changed again within one tick of the clock.
            if known and "stamp" in known and known["stamp"][2] > before_ns - SLACK:
                known = None
            if entry := _entry(path, known):
                files[path] = entry
    return files


def walk(folder: pathlib.Path) -> Iterator[str]:
    """Every path in a folder that is not itself a folder; links are named, never followed."""
    if not folder.is_dir():
        yield str(folder)
        return
    for top, folders, names in os.walk(folder):
        for name in names:
            yield f"{top}/{name}"
        for name in folders:
            if pathlib.Path(top, name).is_symlink():
                yield f"{top}/{name}"


def _entry(path: str, before: dict[str, Any] | None) -> dict[str, Any] | None:
    """A file's entry; None for what is neither file nor link, or went away: websites change while we look."""
    try:
        now = os.lstat(path)
        if stat.S_ISLNK(now.st_mode):
            return {"link": str(pathlib.Path(path).readlink())}
        if not stat.S_ISREG(now.st_mode):
            return None
        stamp = [now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino]
        if before and before.get("stamp") == stamp:
            return before
        return {"sha256": sha256(path), "stamp": stamp}
    except FileNotFoundError:
        return None


def sha256(path: str) -> str:
    """Hash a regular file. A website's user could have put a pipe or a link there since: neither is opened."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FileNotFoundError(path)
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(files: Files, root: pathlib.Path, taken_ns: int, steady: pathlib.Path) -> Comparison:
    """Compare what was restored below `root` with the manifest taken at `taken_ns`.

    Uploads go on while a snapshot is made: a file outside of `steady` (the release) may differ where its restored
    time is later than the manifest's, and may be missing where it is not on the server either.
    """
    wrong: list[str] = []
    moved = 0
    for path, entry in files.items():
        restored = f"{root}{path}"
        state = _state(restored, entry)
        if state == "same":
            continue
        if not path.startswith(f"{steady}/") and (
            (state == "missing" and not os.path.lexists(path))
            or (state == "differs" and os.lstat(restored).st_mtime_ns > taken_ns - SLACK)
        ):
            moved += 1
        else:
            wrong.append(path)
    return Comparison(len(files), sorted(wrong), moved)


def _state(restored: str, entry: dict[str, Any]) -> str:
    if not os.path.lexists(restored):
        return "missing"
    if "link" in entry:
        link = pathlib.Path(restored)
        return "same" if link.is_symlink() and str(link.readlink()) == entry["link"] else "differs"
    if not stat.S_ISREG(os.lstat(restored).st_mode):
        return "differs"
    return "same" if sha256(restored) == entry["sha256"] else "differs"


def read(path: pathlib.Path) -> tuple[Files, int]:
    """A manifest file's list and time; an empty one where there is none or it does not parse (it is only a cache)."""
    try:
        value = json.loads(path.read_text())
        return value["files"], value["taken_ns"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, 0

"""Unpack a release's archive into a folder of its own, whatever the archive tries."""

from __future__ import annotations

import io
import os
import pathlib
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from ansible.module_utils.transaction import Refused

MAX_ENTRIES = 100_000
MAX_BYTES = 2 * 1024**3  # of what is unpacked


class Member(NamedTuple):
    """One entry of an archive: kind is dir, file or link; `target` is a link's text."""

    name: str
    kind: str
    executable: bool
    target: str
    content: IO[bytes] | None


def safe_name(name: str) -> str:
    """A member's path below the release, normalised. Raises Refused where it is absolute, leaves or is not plain."""
    if not name.isprintable() or "\\" in name or name.startswith("/"):
        raise Refused(f"the archive holds the path {name!r}", "pack it with plain relative paths")
    path = posixpath.normpath(name)
    if path == ".." or path.startswith("../"):
        raise Refused(f"the archive holds the path {name!r}, which leaves it", "pack it without `..`")
    return path


def _members(archive: pathlib.Path) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                mode = info.external_attr >> 16
                if info.is_dir():
                    yield Member(info.filename, "dir", False, "", None)
                elif stat.S_ISLNK(mode):
                    yield Member(info.filename, "link", False, packed.read(info).decode(), None)
                elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    raise Refused(
                        f"the archive holds the special file {info.filename!r}", "pack only files and folders"
                    )
                else:
                    with packed.open(info) as content:
                        yield Member(info.filename, "file", bool(mode & 0o100), "", content)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                yield Member(member.name, "dir", False, "", None)
            elif member.issym():
                yield Member(member.name, "link", False, member.linkname, None)
            elif member.isreg() or member.islnk():  # a hard link becomes a copy of what it names
                yield Member(member.name, "file", bool(member.mode & 0o100), "", tar.extractfile(member))
            else:
                raise Refused(f"the archive holds the special file {member.name!r}", "pack only files and folders")


def _copy(content: IO[bytes], path: pathlib.Path, executable: bool, budget: int) -> int:
    """Write one file and give what is left of the budget of bytes."""
    with path.open("xb") as file:
        while block := content.read(1024 * 1024):
            budget -= len(block)
            if budget < 0:
                raise Refused(f"the archive unpacks to over {MAX_BYTES} bytes", "make the release smaller")
            file.write(block)
    path.chmod(0o755 if executable else 0o644)
    return budget


def _link(root: pathlib.Path, name: str, target: str) -> None:
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or inside == ".." or inside.startswith("../") or not target.isprintable():
        raise Refused(f"the archive's link {name!r} points out of it, to {target!r}", "pack the file itself")
    (root / name).symlink_to(target)


def unpack(archive: pathlib.Path, root: pathlib.Path) -> None:
    """Unpack tar (plain, gz, xz, bz2) or zip into the new folder `root`; raises Refused and leaves no rule broken.

    Links are made last, so that no member can be written through one; owners, special bits and devices are not taken.
    """
    root.mkdir(mode=0o755)
    links: list[tuple[str, str]] = []
    budget, count = MAX_BYTES, 0
    try:
        for member in _members(archive):
            count += 1
            if count > MAX_ENTRIES:
                raise Refused(f"the archive holds over {MAX_ENTRIES} entries", "make the release smaller")
            name = safe_name(member.name)
            if name == ".":
                continue
            path = root / name
            if member.kind == "link":
                path.parent.mkdir(parents=True, exist_ok=True)
                links.append((name, member.target))
            elif member.kind == "dir":
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                budget = _copy(member.content or io.BytesIO(), path, member.executable, budget)
        for name, target in links:
            _link(root, name, target)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, UnicodeDecodeError, RuntimeError) as error:
        raise Refused(f"the archive {archive.name} cannot be unpacked: {error}", "pack the release anew") from error


def _inside(root: pathlib.Path, path: str) -> pathlib.Path:
    """A folder below root whose parents are real folders, made where missing: a link on the way is refused."""
    at = root
    for part in pathlib.PurePosixPath(path).parts[:-1]:
        at = at / part
        if at.is_symlink():
            raise Refused(f"the writable folder {path} lies behind a link in the release", "pack it as a folder")
        at.mkdir(exist_ok=True)
    return root / path


def share(root: pathlib.Path, data: pathlib.Path, path: str, uid: int) -> None:
    """Move a writable folder out of the release: its first content seeds `data`, a link stands in its place."""
    place = _inside(root, path)
    kept = data / path
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            shutil.copytree(place, kept, symlinks=True)
        else:
            kept.mkdir()
        for folder, folders, files in os.walk(kept):
            os.chown(folder, uid, uid)
            for name in [*folders, *files]:
                os.lchown(f"{folder}/{name}", uid, uid)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(os.path.relpath(kept, place.parent))

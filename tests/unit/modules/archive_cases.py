"""Archives of every sort, made in memory."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """A tar's header."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, target, mode
    return made


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, tarfile.SYMTYPE, target), b""


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, tarfile.LNKTYPE, target), b""


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, mode=mode), content


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A plain tar with these headers and contents."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form, errors="surrogateescape") as made:
        for header, content in entries:
            header.size = len(content)
            made.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def zipped(*entries: tuple[str, bytes, int], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name, content, Unix mode with the kind)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as made:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            made.writestr(info, content)
    return packed.getvalue()


PACKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "tar": lambda files: tar(*(file(name, content) for name, content in files.items())),
    "tar.gz": lambda files: gzip.compress(PACKERS["tar"](files)),
    "tar.xz": lambda files: lzma.compress(PACKERS["tar"](files)),
    "zip": lambda files: zipped(*((name, content, stat.S_IFREG | 0o644) for name, content in files.items())),
}


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """All below a folder: {path: (mode with the kind, a link's target or a file's content)}."""
    found = {}
    for path in sorted(folder.rglob("*")):
        seen = path.lstat()
        if stat.S_ISLNK(seen.st_mode):
            found[str(path.relative_to(folder))] = (stat.S_IFLNK, str(path.readlink()))
        else:
            content = path.read_bytes().decode("utf-8", "replace") if stat.S_ISREG(seen.st_mode) else ""
            found[str(path.relative_to(folder))] = (seen.st_mode, content)
    return found

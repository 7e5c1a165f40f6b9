"""Look into a release archive without unpacking it: nothing in it may leave its folder or swamp a server."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, cast

MAX_ENTRIES = 100_000
MAX_BYTES = 2 * 1024**3
MAX_RATIO = 200
RATIO_FROM = 10 * 1024**2  # small text compresses well; a ratio says nothing below this size
CHUNK = 1024**2
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError,
          NotImplementedError, RuntimeError, MemoryError, OverflowError, LookupError)


class BadArchive(Exception):
    """Why an archive is not accepted, in one sentence."""


@dataclass
class Archive:
    """What an archive holds: normalised paths of files (hard links too), folders, and symbolic links with targets."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    hard: list[tuple[str, str]] = field(default_factory=list)
    entries: int = 0
    size: int = 0

    def add(self, path: str, kind: str, target: str = "") -> None:
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise BadArchive(f"it holds more than {MAX_ENTRIES:,} entries")
        name = normal(path)
        if not name and kind == "folder":
            return
        if not name:
            raise BadArchive(f"the entry {path!r} has no name")
        if name in self.files or name in self.links or (name in self.folders and kind != "folder"):
            raise BadArchive(f"it holds {name!r} twice")
        if kind == "folder":
            self.folders.add(name)
        elif kind == "link":
            self.links[name] = target
        else:
            self.files.add(name)
            if kind == "hard":
                self.hard.append((name, normal(target)))
        parts = name.split("/")
        self.folders.update("/".join(parts[:n]) for n in range(1, len(parts)))

    def settle(self) -> None:
        """Check what only the whole shows: entries below files or links, and where links lead."""
        for name in self.folders & (self.files | self.links.keys()):
            raise BadArchive(f"it holds entries below {name!r}, which is no folder")
        for name, target in self.hard:
            if target not in self.files or target == name:
                raise BadArchive(f"the hard link {name!r} points to {target!r}, which is no file of the archive")
        for name, target in self.links.items():
            if self._leaves(name, target):
                raise BadArchive(f"the link {name!r} points to {target!r}, outside the archive")
        if not self.files:
            raise BadArchive("it holds no file")

    def _leaves(self, name: str, target: str) -> bool:
        """Follow a link as the kernel would, through the archive's other links."""
        if target.startswith("/") or not target:
            return True
        here = name.split("/")[:-1]
        todo = target.split("/")[::-1]
        for _ in range(4096):
            if not todo:
                return False
            part = todo.pop()
            if part == "..":
                if not here:
                    return True
                here.pop()
            elif part not in ("", "."):
                here.append(part)
                further = self.links.get("/".join(here))
                if further is not None:
                    if further.startswith("/"):
                        return True
                    here.pop()
                    todo.extend(further.split("/")[::-1])
        return True  # a circle of links leads nowhere


def normal(path: str) -> str:
    """A path relative to the archive's top without `./`. Raises BadArchive for what could lie elsewhere."""
    try:
        octets = path.encode()
    except UnicodeEncodeError as error:
        raise BadArchive(f"the name {path.encode(errors='surrogateescape')!r} is not UTF-8") from error
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in path) or "\\" in path:
        raise BadArchive(f"the name {path!r} holds a control character or a backslash")
    if path.startswith("/"):
        raise BadArchive(f"the name {path!r} is absolute")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadArchive(f"the name {path!r} leads upwards (..)")
    if len(octets) > 3000 or any(len(part.encode()) > 255 for part in parts):
        raise BadArchive(f"the name {path[:60]!r}… is too long")
    return "/".join(parts)


class Source(Protocol):
    """All that reading a tar as a stream asks of a file."""

    def read(self, size: int, /) -> bytes: ...


class Meter:
    """Counts what really comes out of a decompressor, as headers can lie; for a tar it is also the reading side."""

    def __init__(self, packed: int) -> None:
        self.packed = max(packed, 1)
        self.bytes = 0
        self.source: Source | None = None

    def count(self, amount: int) -> None:
        self.bytes += amount
        if self.bytes > MAX_BYTES:
            raise BadArchive(f"it unpacks to more than {MAX_BYTES // 1024**2:,} MiB")
        if self.bytes > RATIO_FROM and self.bytes / self.packed > MAX_RATIO:
            raise BadArchive(f"it unpacks to more than {MAX_RATIO} times its size, as a bomb does")

    def read(self, size: int) -> bytes:
        data = self.source.read(size) if self.source else b""
        self.count(len(data))
        return data


def inspect(path: Path) -> Archive:
    """Read a tar, tar.gz, tar.xz or zip archive to its end. Raises BadArchive with the first thing wrong with it."""
    with path.open("rb") as file:
        magic = file.read(265)
    meter = Meter(path.stat().st_size)
    archive = Archive()
    try:
        if magic.startswith(b"PK"):
            _zip(path, archive, meter)
        elif magic.startswith(b"\x1f\x8b"):
            with gzip.open(path) as plain:
                _tar(plain, archive, meter)
        elif magic.startswith(b"\xfd7zXZ\x00"):
            with lzma.open(path) as plain:
                _tar(plain, archive, meter)
        elif magic[257:262] == b"ustar":
            with path.open("rb") as plain:
                _tar(plain, archive, meter)
        else:
            raise BadArchive("it is no tar, tar.gz, tar.xz or zip archive")
    except BROKEN as error:
        raise BadArchive(f"it is broken: {error or type(error).__name__}") from error
    archive.settle()
    archive.size = meter.bytes
    return archive


def _tar(plain: Source, archive: Archive, meter: Meter) -> None:
    meter.source = plain
    declared = 0
    with tarfile.open(fileobj=cast(IO[bytes], meter), mode="r|", errors="surrogateescape") as tar:
        for member in tar:
            declared += member.size
            if member.issparse() or declared > MAX_BYTES:
                raise BadArchive(f"{member.name!r} is a sparse or oversized file")
            if member.isdir():
                archive.add(member.name, "folder")
            elif member.issym():
                archive.add(member.name, "link", member.linkname)
            elif member.islnk():
                archive.add(member.name, "hard", member.linkname)
            elif member.isreg():
                archive.add(member.name, "file")
            else:
                raise BadArchive(f"{member.name!r} is a device, a pipe or of an unknown kind")
            vars(tar)["members"].clear()  # a stream is read once; kept headers could fill the memory
    while meter.read(CHUNK):  # what follows the end mark counts too, and shows a damaged tail
        pass


def _zip(path: Path, archive: Archive, meter: Meter) -> None:
    with zipfile.ZipFile(path) as packed:
        for info in packed.infolist():
            if info.flag_bits & 0x1:
                raise BadArchive(f"{info.filename!r} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BadArchive(f"{info.filename!r} is compressed by a method other than deflate")
            if not info.flag_bits & 0x800 and not info.orig_filename.isascii():
                raise BadArchive(f"the name {info.orig_filename!r} is not UTF-8")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise BadArchive(f"{info.filename!r} is a device, a pipe or of an unknown kind")
            if info.is_dir():
                archive.add(info.orig_filename, "folder")
                continue
            head = b""
            with packed.open(info) as content:
                while data := content.read(CHUNK):
                    meter.count(len(data))
                    head = head or data
            if kind == stat.S_IFLNK:
                archive.add(info.orig_filename, "link", head[:4096].decode("utf-8", "surrogateescape"))
            else:
                archive.add(info.orig_filename, "file")

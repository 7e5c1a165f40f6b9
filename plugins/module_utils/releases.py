"""Unpack a release's archive into a folder of its own, whatever the archive tries."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import pathlib
import posixpath
import resource
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

from ansible.module_utils.transaction import SERVERS, Refused

MAX_ENTRIES = 100_000
MAX_BYTES = 2 * 1024**3  # of what is unpacked
MAX_MEMORY = 512 * 1024**2  # what the archive's own headers, names and dictionaries may take
MAX_LINK = 4096
BLOCK = 1024**2
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, RuntimeError, MemoryError, OverflowError, LookupError),
)


class Member(NamedTuple):
    """One entry of an archive: kind is dir, file, hard or link; `target` is what either link names."""

    name: str
    kind: str
    executable: bool = False
    target: str = ""
    content: Any = None


class Budget:
    """Counts octets as they come out of the archive, for what headers say may be a lie."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def spend(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise Refused(f"the archive unpacks to over {MAX_BYTES} bytes", "make the release smaller")
        return data


class Counted:
    """A file to read from, whose octets are counted."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self.file, self.budget = file, budget

    def read(self, size: int) -> bytes:
        return self.budget.spend(self.file.read(size))


class Header(tarfile.TarInfo):
    """A header that is damaged or missing is an error; tarfile alone takes it for the archive's end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it is cut short or damaged ({error})") from error


def safe_name(name: str) -> str:
    """A member's path below the release, normalised. Raises Refused where it is absolute, leaves or is not plain."""
    hidden = any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)
    if hidden or "\\" in name or name.startswith("/"):
        raise Refused(f"the archive holds the path {name!r}", "pack it with plain relative paths in UTF-8")
    path = posixpath.normpath(name)
    if ".." in name.split("/"):
        raise Refused(f"the archive holds the path {name!r}, which leaves it", "pack it without `..`")
    return path


def _special(name: str) -> Refused:
    return Refused(f"the archive holds the special file {name!r}", "pack only plain files and folders")


def _zip_members(archive: pathlib.Path, budget: Budget) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            name, mode = info.orig_filename, info.external_attr >> 16
            if not info.flag_bits & 0x800 and not name.isascii():
                raise Refused(f"the archive holds the path {name!r}, which is not UTF-8", "pack it with UTF-8 names")
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                raise _special(name)
            if info.is_dir():
                yield Member(name, "dir")
                continue
            with packed.open(info) as content:
                if stat.S_ISLNK(mode):
                    yield Member(name, "link", target=content.read(MAX_LINK + 1).decode())
                else:
                    yield Member(name, "file", bool(mode & 0o100), content=Counted(content, budget))


def _tar_members(plain: IO[bytes], budget: Budget) -> Iterator[Member]:
    source: Any = Counted(plain, budget)  # headers and padding count too
    with tarfile.open(fileobj=source, mode="r|", tarinfo=Header) as tar:
        for member in tar:
            if member.isdir():
                yield Member(member.name, "dir")
            elif member.issym():
                yield Member(member.name, "link", target=member.linkname)
            elif member.islnk():
                yield Member(member.name, "hard", target=member.linkname)
            elif member.isreg() and not member.issparse():
                yield Member(member.name, "file", bool(member.mode & 0o100), content=tar.extractfile(member))
            else:
                raise _special(member.name)
            tar.members.clear()  # a stream is read once; headers would fill the memory
    while source.read(BLOCK):  # what follows the end mark counts too, and shows a damaged tail
        pass


def _members(archive: pathlib.Path, budget: Budget) -> Iterator[Member]:
    """Tells kinds apart by the first octets alone, as the driver does: an archive that is two must not be read as
    one kind by those who approve it and as the other here."""
    with archive.open("rb") as file:
        magic = file.read(265)
    if magic.startswith(b"PK"):
        yield from _zip_members(archive, budget)
    elif magic.startswith(b"\x1f\x8b"):
        with gzip.open(archive) as plain:
            yield from _tar_members(plain, budget)
    elif magic.startswith(b"\xfd7zXZ\x00"):
        with lzma.open(archive) as plain:
            yield from _tar_members(plain, budget)
    elif magic[257:262] == b"ustar":
        with archive.open("rb") as plain:
            yield from _tar_members(plain, budget)
    else:
        raise tarfile.ReadError("it is no tar, tar.gz, tar.xz or zip archive")


def _write(path: pathlib.Path, content: Any, executable: bool) -> None:
    with path.open("xb") as file:
        while block := content.read(BLOCK):
            file.write(block)
    path.chmod(0o755 if executable else 0o644)


def _place(root: pathlib.Path, member: Member, budget: Budget) -> None:
    """Write one file or folder."""
    path = root / safe_name(member.name)
    if member.kind == "dir":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.kind == "file":
        _write(path, member.content, member.executable)
    else:  # a hard link becomes a copy of a file that is there; no symbolic link is there yet
        source = root / safe_name(member.target)
        with source.open("rb") as content:
            _write(path, Counted(content, budget), bool(source.stat().st_mode & 0o100))


@contextlib.contextmanager
def _little_memory() -> Iterator[None]:
    """What an archive's headers make Python keep is bounded: a few KiB can ask for all of the server's memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = [used + MAX_MEMORY, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _inside(root: pathlib.Path, name: str) -> str | None:
    """Where the path really leads, through all links, relative to the root; None where that is outside."""
    real, top = os.path.realpath(root / name), os.path.realpath(root)
    return posixpath.relpath(real, top) if f"{real}/".startswith(f"{top}/") else None


def _make_links(root: pathlib.Path, links: dict[str, str]) -> None:
    """All links are made before any is judged: where one leads may depend on another."""
    for name, target in links.items():
        if not target or target.startswith("/") or len(target) > MAX_LINK or not target.isprintable():
            raise Refused(f"the archive's link {name!r} points out of it, to {target[:200]!r}", "pack the file itself")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    for name, target in links.items():
        if _inside(root, name) is None:
            raise Refused(f"the archive's link {name!r} points out of it, to {target[:200]!r}", "pack the file itself")


def unpack(archive: pathlib.Path, root: pathlib.Path) -> list[str]:
    """Unpack tar (plain, gz, xz) or zip into the new folder `root`; gives its links. Raises Refused where it is bad.

    Links are made last, so that no member can be written through one; owners, special bits and devices are not taken.
    What it had unpacked by the time of a refusal is the caller's to remove.
    """
    links: dict[str, str] = {}
    budget, count = Budget(), 0
    try:
        root.mkdir(mode=0o755)
        with _little_memory():
            for member in _members(archive, budget):
                count += 1
                if count > MAX_ENTRIES:
                    raise Refused(f"the archive holds over {MAX_ENTRIES} entries", "make the release smaller")
                name = safe_name(member.name)
                if name in links or (name == "." and member.kind != "dir"):
                    raise FileExistsError(f"it holds {name!r} twice")
                if member.kind == "link":
                    links[name] = member.target
                else:
                    _place(root, member, budget)
            _make_links(root, links)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno in SERVERS:
            raise  # no fault of the archive's
        said = str(error).replace(f"{root}/", "") or type(error).__name__
        raise Refused(f"the archive {archive.name} cannot be unpacked: {said}", "pack the release anew") from error
    return list(links)


def guard(root: pathlib.Path, links: Iterable[str], writable: list[str]) -> None:
    """Refuse links that lead from the code to or around a writable folder.

    Apache knows a writable folder by its path; by another path, what a visitor uploads would run.
    """
    for name in links:
        if any(name == path or name.startswith(f"{path}/") for path in writable):
            continue
        real = _inside(root, name)
        for path in writable:
            if real is None or real in (".", path) or f"{real}/".startswith(f"{path}/") or path.startswith(f"{real}/"):
                raise Refused(
                    f"the link {name!r} in the release leads to the writable folder {path}, whose files could then run",
                    "pack what it names instead of a link, or leave it out",
                )


def _own_parents(base: pathlib.Path, path: str) -> pathlib.Path:
    """Make the folders above base/path. Raises Refused for one that is a link or that a website's user may change."""
    at = base
    for part in pathlib.PurePosixPath(path).parts[:-1]:
        at = at / part
        with contextlib.suppress(FileExistsError):
            at.mkdir(mode=0o755)
        seen = at.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
            raise Refused(
                f"the writable folder {path} lies behind a link or a file, or in a folder that was writable before",
                "pack it as a plain folder, or name the folder that was writable before",
            )
    return base / path


def first_missing(base: pathlib.Path, path: str) -> pathlib.Path | None:
    """The topmost folder that `share` is going to make for a writable folder; None where all are there."""
    parts = pathlib.PurePosixPath(path).parts
    steps = [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return next((step for step in steps if not os.path.lexists(step)), None)


def share(root: pathlib.Path, data: pathlib.Path, path: str, uid: int) -> None:
    """Move a writable folder out of the release: its first content seeds `data`, a link stands in its place."""
    place, kept = _own_parents(root, path), _own_parents(data, path)
    if place.is_symlink() or place.is_file():
        place.unlink()
    if not os.path.lexists(kept):
        place.mkdir(mode=0o755, exist_ok=True)
        # From the leaves up: nothing below a folder that is already the user's is touched, so no link of his followed.
        for folder, folders, files in os.walk(place, topdown=False):
            for name in [*folders, *files]:
                os.lchown(f"{folder}/{name}", uid, uid)
        os.lchown(place, uid, uid)
        place.rename(kept)
    elif not stat.S_ISDIR(kept.lstat().st_mode):
        raise Refused(f"{kept} is no folder", "move it away by hand")
    else:
        os.lchown(kept, uid, uid)
        if place.is_dir():
            shutil.rmtree(place)
    place.symlink_to(os.path.relpath(kept, place.parent))

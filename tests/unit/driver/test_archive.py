"""A release that could leave its folder or swamp a server is refused, whatever its headers say."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sop_driver import archive
from sop_driver.archive import BadArchive


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for info in (member("index.html"), *members):
            made.addfile(info, io.BytesIO(b"x" * info.size))
    return buffer.getvalue()


def zipped(*entries: tuple[str, bytes, int]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data, mode in (("index.html", b"x", stat.S_IFREG | 0o644), *entries):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            made.writestr(info, data)
    return buffer.getvalue()


def look(tmp_path: Path, data: bytes) -> archive.Archive:
    path = tmp_path / "release"
    path.write_bytes(data)
    return archive.inspect(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_inspect_takes_tar_in_each_packing(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = tar(member("./a/b.css", size=3), member("a/c", tarfile.SYMTYPE, "../index.html"))
    found = look(tmp_path, pack(data))
    assert found.files == {"index.html", "a/b.css"} and "a" in found.folders and found.links == {"a/c": "../index.html"}


def test_inspect_takes_zip_with_folder_and_inner_link(tmp_path: Path) -> None:
    found = look(tmp_path, zipped(("a/", b"", stat.S_IFDIR | 0o755), ("a/l", b"../index.html", stat.S_IFLNK | 0o777)))
    assert found.folders == {"a"} and found.links == {"a/l": "../index.html"}


def test_inspect_takes_link_chain_that_stays_inside(tmp_path: Path) -> None:
    look(tmp_path, tar(member("d/e/f"), member("l", tarfile.SYMTYPE, "d/e"), member("m", tarfile.SYMTYPE, "l/f")))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("/etc/passwd", "absolute"),
        ("../x", "upwards"),
        ("a/../../x", "upwards"),
        ("a\nb", "control"),
        ("a\x1b[2Jb", "control"),
        ("a\\..\\b", "backslash"),
        ("x" * 300, "too long"),
        ("./index.html", "twice"),
        ("index.html/x", "no folder"),
        ("a\u2028b", "control"),
    ],
)
def test_inspect_refuses_bad_name(tmp_path: Path, name: str, part: str) -> None:
    with pytest.raises(BadArchive, match=part):
        look(tmp_path, tar(member(name)))
    with pytest.raises(BadArchive, match=part):
        look(tmp_path, zipped((name, b"", stat.S_IFREG)))


def test_inspect_refuses_tar_name_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="UTF-8"):
        look(
            tmp_path, tar(member("abc")).replace(b"abc\0", b"\xff\xfec\0", 1).replace(*_checksum(b"abc", b"\xff\xfec"))
        )


def _checksum(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    made = tarfile.TarInfo("abc").tobuf(tarfile.USTAR_FORMAT)
    before = int(made[148:154], 8)
    return b"%06o\0 " % before, b"%06o\0 " % (before - sum(old) + sum(new))


def test_inspect_refuses_zip_name_with_nul(tmp_path: Path) -> None:
    data = zipped(("evil.php0.txt", b"x", stat.S_IFREG)).replace(b"evil.php0.txt", b"evil.php\0.txt")
    with pytest.raises(BadArchive, match="control"):
        look(tmp_path, data)


@pytest.mark.parametrize(
    "links",
    [
        [("l", "/etc/passwd")],
        [("l", "..")],
        [("a/l", "../../x")],
        [("l", "")],
        [("l", "l")],
        [("deep/er/up", "../.."), ("out", "deep/er/up/..")],  # inside by its letters, outside by the kernel's way
        [("a", "b"), ("b", "a")],
    ],
)
def test_inspect_refuses_link_that_leaves_or_circles(tmp_path: Path, links: list[tuple[str, str]]) -> None:
    with pytest.raises(BadArchive, match="outside"):
        look(tmp_path, tar(*(member(name, tarfile.SYMTYPE, target) for name, target in links)))


def test_inspect_refuses_file_below_a_link(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="no folder"):
        look(tmp_path, tar(member("d", tarfile.SYMTYPE, "."), member("d/x")))


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "missing"])
def test_inspect_refuses_hard_link_to_what_is_no_file_of_it(tmp_path: Path, target: str) -> None:
    with pytest.raises(BadArchive):
        look(tmp_path, tar(member("l", tarfile.LNKTYPE, target)))


@pytest.mark.parametrize(
    "data",
    [
        tar(member("x", tarfile.CHRTYPE)),
        tar(member("x", tarfile.BLKTYPE)),
        tar(member("x", tarfile.FIFOTYPE)),
        zipped(("x", b"", stat.S_IFIFO)),
        zipped(("x", b"", stat.S_IFCHR)),
        zipped(("x", b"", stat.S_IFSOCK)),
    ],
)
def test_inspect_refuses_device_and_pipe(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadArchive, match="device"):
        look(tmp_path, data)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_inspect_refuses_bomb_by_what_comes_out(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadArchive, match="bomb"):
        look(tmp_path, pack(tar(member("zeros", size=30 * 1024**2))))


def test_inspect_refuses_bomb_behind_the_end_mark(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="bomb"):
        look(tmp_path, gzip.compress(tar() + b"\0" * 30 * 1024**2))


def test_inspect_refuses_zip_bomb(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="bomb"):
        look(tmp_path, zipped(("zeros", b"\0" * 30 * 1024**2, stat.S_IFREG)))


def test_inspect_refuses_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(BadArchive, match="more than 3 entries"):
        look(tmp_path, tar(*(member(str(n)) for n in range(5))))


def test_inspect_refuses_too_much_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 1024**2)
    with pytest.raises(BadArchive, match=r"MiB|oversized"):
        look(tmp_path, tar(member("a", size=2 * 1024**2)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        tar(member("a", size=9000))[:3000],
        gzip.compress(tar(member("a", size=9000)))[:-40],
        lzma.compress(tar())[:-10],
        zipped()[:-10],
        b"PK\x03\x04" + b"\0" * 300,
        b"\x1f\x8b" + b"\0" * 300,
    ],
)
def test_inspect_refuses_broken_archive(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadArchive):
        look(tmp_path, data)


def test_inspect_refuses_zip_with_damaged_content(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        made.writestr("a", "hello world")
    with pytest.raises(BadArchive, match="broken"):
        look(tmp_path, buffer.getvalue().replace(b"hello world", b"hello_world", 1))


def test_inspect_refuses_archive_without_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(member("a", tarfile.DIRTYPE))
    with pytest.raises(BadArchive, match="no file"):
        look(tmp_path, buffer.getvalue())


def test_inspect_refuses_sparse_file(tmp_path: Path) -> None:
    info = member("s")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,0",
        "GNU.sparse.size": "99999999999",
        "GNU.sparse.name": "s",
    }
    with pytest.raises(BadArchive, match="sparse"):
        look(tmp_path, tar(info))

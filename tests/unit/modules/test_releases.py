"""Archives that behave, and archives that try everything."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import archive_cases as cases
import pytest
from ansible.module_utils import releases
from ansible.module_utils.transaction import Refused
from archive_cases import PACKERS, entry, file, hard, link, tar, zipped
from hypothesis import example, given, settings
from hypothesis import strategies as st

PAGES = {"index.html": b"<h1>Beranda</h1>", "aset/gaya.css": b"body {}", "aset/kosong": b""}
UID = os.getuid()
NOISE = hashlib.shake_256(b"noise").digest(80_000)  # does not compress


def unpack(folder: Path, content: bytes) -> list[str]:
    (folder / "archive").write_bytes(content)
    return releases.unpack(folder / "archive", folder / "release")


def refused(folder: Path, content: bytes, says: str) -> None:
    """The archive is refused, and nothing lies outside of the folder it was unpacked to."""
    with pytest.raises(Refused, match=says):
        unpack(folder, content)
    assert {path.name for path in folder.iterdir()} <= {"archive", "release"}


@pytest.mark.parametrize("kind", PACKERS)
def test_unpack_gives_the_packed_files_for_every_kind(tmp_path: Path, kind: str) -> None:
    assert unpack(tmp_path, PACKERS[kind](PAGES)) == []
    found = {name: text.encode() for name, (mode, text) in cases.tree(tmp_path / "release").items()
             if stat.S_ISREG(mode)}
    assert found == PAGES


def test_unpack_takes_no_special_bits_and_no_owner(tmp_path: Path) -> None:
    root = entry("alat", mode=0o6777)
    root.uid = root.gid = 4242
    folder = entry("folder", tarfile.DIRTYPE, mode=0o1777)
    unpack(tmp_path, tar((root, b"x"), file("halaman", mode=0o666), (folder, b"")))
    modes = {name: mode & 0o7777 for name, (mode, _) in cases.tree(tmp_path / "release").items()}
    assert modes == {"alat": 0o755, "halaman": 0o644, "folder": 0o755}
    assert (tmp_path / "release/alat").stat().st_uid == UID


@pytest.mark.parametrize(("name", "says"), [
    ("/etc/cron.d/x", "holds the path '/etc/cron.d/x'"), ("../x", "leaves it"), ("a/../../x", "leaves it"),
    ("a/../x", "leaves it"), ("..", "leaves it"), ("a\nb", "holds the path"), ("a\x1b[31m", "holds the path"),
    ("a\\..\\x", "holds the path"), ("a" * 300, "cannot be unpacked"), ("a\u2028b", "holds the path"),
])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_refuses_a_name_that_is_no_plain_path(tmp_path: Path, name: str, says: str, kind: str) -> None:
    refused(tmp_path, PACKERS[kind]({name: b"x"}), says)


@pytest.mark.parametrize("name", ["a\udcff", "\udce9t\udce9"])
def test_unpack_refuses_a_name_that_is_not_utf8(tmp_path: Path, name: str) -> None:
    refused(tmp_path, tar(file(name), form=tarfile.GNU_FORMAT), "holds the path")


def test_unpack_refuses_a_zip_name_of_an_old_code_page(tmp_path: Path) -> None:
    content = zipped(("caf_", b"x", stat.S_IFREG | 0o644)).replace(b"caf_", b"caf\x82")
    refused(tmp_path, content, "not UTF-8")


def test_unpack_refuses_a_zip_name_that_hides_its_end(tmp_path: Path) -> None:
    """zipfile cuts a name at NUL; the one who approves may see another name than the server makes."""
    refused(tmp_path, zipped(("a.php_.jpg", b"x", stat.S_IFREG)).replace(b"a.php_", b"a.php\0"), "holds the path")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_unpack_refuses_special_files_of_a_tar(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, tar((entry("dev/mem", kind), b"")), "special file 'dev/mem'")


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_unpack_refuses_special_files_of_a_zip(tmp_path: Path, kind: int) -> None:
    refused(tmp_path, zipped(("dev/mem", b"", kind | 0o600)), "special file 'dev/mem'")


def test_unpack_refuses_a_sparse_file(tmp_path: Path) -> None:
    """A hole of an exabyte takes no octet of the archive."""
    sparse = bytearray(tar((entry("x", tarfile.GNUTYPE_SPARSE), b""), form=tarfile.GNU_FORMAT))
    sparse[483:495] = b"7" * 11 + b"\0"  # the size it claims
    sparse[148:156] = b"%06o\0 " % sum(sparse[:148] + b" " * 8 + sparse[156:512])
    refused(tmp_path, bytes(sparse), "special file 'x'")


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "../../../etc", "a/../../x", "..", "", "x\ny"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_refuses_a_link_that_leads_out(tmp_path: Path, target: str, kind: str) -> None:
    packed = tar(link("keluar", target)) if kind == "tar" else zipped(("keluar", target.encode(), stat.S_IFLNK | 0o777))
    refused(tmp_path, packed, "points out of it")


def test_unpack_refuses_links_that_lead_out_only_together(tmp_path: Path) -> None:
    """By its text the second stays inside; through the first it reaches the release's neighbours."""
    refused(tmp_path, tar(link("a/b/c/top", "../../.."), link("a/b/c/keluar", "top/../../x")), "'a/b/c/keluar' points")


def test_unpack_keeps_links_that_stay_inside(tmp_path: Path) -> None:
    packed = tar(file("a/x", b"isi"), link("b/x", "../a/x"), link("c", "b"), link("nanti", "belum-ada"))
    assert unpack(tmp_path, packed) == ["b/x", "c", "nanti"]
    assert (tmp_path / "release/c/x").read_bytes() == b"isi"


@pytest.mark.parametrize("kind", ["to a neighbour", "to a folder", "made afterwards", "replaced"])
def test_unpack_writes_nothing_through_a_link(tmp_path: Path, kind: str) -> None:
    away = str(tmp_path / "neighbour")
    Path(away).mkdir()
    packed = {"to a neighbour": tar(link("pintu", away), file("pintu/x")),
              "to a folder": tar(link("pintu", "folder"), file("pintu/x")),
              "made afterwards": tar(file("pintu/x"), link("pintu", away)),
              "replaced": tar(link("pintu", "."), file("pintu"))}[kind]
    with pytest.raises(Refused):
        unpack(tmp_path, packed)
    assert not (tmp_path / "release/folder").exists() and list(Path(away).iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/hostname", "../archive", "tidak-ada", "folder"])
def test_unpack_refuses_a_hard_link_to_what_the_archive_has_not(tmp_path: Path, target: str) -> None:
    refused(tmp_path, tar((entry("folder", tarfile.DIRTYPE), b""), hard("x", target)), "archive")


def test_unpack_copies_what_a_hard_link_names(tmp_path: Path) -> None:
    """The two must not be one file: one of them may come to lie where the website writes."""
    unpack(tmp_path, tar(file("a", b"isi", 0o755), hard("b", "a")))
    a, b = tmp_path / "release/a", tmp_path / "release/b"
    assert b.read_bytes() == b"isi" and b.stat().st_mode & 0o777 == 0o755 and a.stat().st_ino != b.stat().st_ino


@pytest.mark.parametrize("kind", PACKERS)
def test_unpack_counts_octets_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(releases, "MAX_BYTES", 300_000)
    refused(tmp_path, PACKERS[kind]({"bom": bytes(4_000_000)}), "unpacks to over 300000 bytes")
    assert sum(path.stat().st_size for path in (tmp_path / "release").iterdir()) <= 300_000


def test_unpack_counts_what_a_zip_lies_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "MAX_BYTES", 1000)
    packed = zipped(("bom", bytes(4000), stat.S_IFREG)).replace(struct.pack("<L", 4000), struct.pack("<L", 10))
    with pytest.raises(Refused):
        unpack(tmp_path, packed)


def test_unpack_counts_copies_by_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "MAX_BYTES", 100_000)
    refused(tmp_path, tar(file("a", bytes(30_000)), *(hard(f"b{n}", "a") for n in range(9))), "unpacks to over")


def test_unpack_bounds_the_memory_that_headers_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of 300 MB fits in 300 kB, and tarfile would keep all of it."""
    monkeypatch.setattr(releases, "MAX_MEMORY", 64 * 1024**2)
    header = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    header.size = 300_000_000
    packed = io.BytesIO()
    with gzip.open(packed, "wb", 1) as plain:
        plain.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(300):
            plain.write(bytes(1_000_000))
    before = resource.getrlimit(resource.RLIMIT_AS)
    refused(tmp_path, packed.getvalue(), "cannot be unpacked")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_unpack_reads_no_more_of_a_zip_link_than_a_path_can_be(tmp_path: Path) -> None:
    refused(tmp_path, zipped(("l", b"a" * 50_000_000, stat.S_IFLNK | 0o777)), "points out of it")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_unpack_refuses_too_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(releases, "MAX_ENTRIES", 20)
    refused(tmp_path, PACKERS[kind]({f"f{n}": b"" for n in range(21)}), "over 20 entries")


def test_unpack_takes_a_hundred_thousand_entries_and_no_more(tmp_path: Path) -> None:
    """Each is the same folder, so that only counting takes time."""
    one = entry("f", tarfile.DIRTYPE).tobuf(tarfile.USTAR_FORMAT)
    refused(tmp_path, gzip.compress(one * 100_001 + bytes(1024), 1), "over 100000 entries")


@pytest.mark.parametrize("packed", [
    tar(file("a"), file("a")), tar(file("a"), file("./a")), tar(file("a"), file("a/b")), tar(link("a", "b"), file("a")),
    tar(link("a", "b"), link("a", "c")), tar(file("a", b"1"), link("a", "b")), tar(file("a/b"), file("a")),
    zipped(("a", b"1", stat.S_IFREG), ("./a", b"2", stat.S_IFREG)), tar(file(".")),
])
def test_unpack_refuses_members_that_replace_each_other(tmp_path: Path, packed: bytes) -> None:
    """Which of the two was approved is anybody's guess."""
    refused(tmp_path, packed, "cannot be unpacked")


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_unpack_refuses_an_archive_that_is_cut_short(tmp_path: Path, kind: str, part: float) -> None:
    content = PACKERS[kind]({f"halaman-{n}": NOISE[4000 * n:][:4000] for n in range(20)})
    refused(tmp_path, content[: int(len(content) * part)], "cannot be unpacked")


def test_unpack_refuses_a_tar_that_ends_between_two_members(tmp_path: Path) -> None:
    """tarfile takes that for the end: half a website would go live."""
    content = tar(file("a"), file("b"))
    refused(tmp_path, content[:1024], "cut short")


def test_unpack_refuses_a_tar_with_a_damaged_header(tmp_path: Path) -> None:
    content = bytearray(tar(file("a"), file("b"), file("c")))
    content[1024 + 148] ^= 1
    refused(tmp_path, bytes(content), "cut short or damaged")


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", b"\x1f\x8b", b"\xfd7zXZ\x00", bytes(10240), b"Rar!"])
def test_unpack_refuses_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "archive").write_bytes(content)
    refused(tmp_path, content, "cannot be unpacked")


def test_unpack_reads_an_archive_of_two_kinds_as_those_did_who_approved_it(tmp_path: Path) -> None:
    """zipfile finds a zip at the end of anything; the driver goes by the first octets."""
    unpack(tmp_path, PACKERS["tar"]({"disetujui": b"x"}) + PACKERS["zip"]({"lain": b"x"}))
    assert [path.name for path in (tmp_path / "release").iterdir()] == ["disetujui"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpack_refuses_damage_in_any_compression(tmp_path: Path, method: int) -> None:
    content = bytearray(zipped(("a", NOISE[:3000], stat.S_IFREG), method=method))
    content[60:90] = bytes(30)
    refused(tmp_path, bytes(content), "cannot be unpacked")


def test_unpack_tells_a_full_disk_from_a_bad_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(releases, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(tmp_path, PACKERS["tar"](PAGES))


SEEDS = [packer(PAGES) for packer in PACKERS.values()] + [tar(file("a"), link("b", "a"), hard("c", "a"))]


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=6))
def test_unpack_ends_any_damage_by_a_refusal_or_inside_its_folder(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, edits: list[tuple[int, int]],
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    content = bytearray(seed)
    for place, value in edits:
        content[place % len(content)] = value
    try:
        unpack(folder, bytes(content))
    except Refused:
        return
    assert {path.name for path in folder.iterdir()} == {"archive", "release"}


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=st.one_of(st.sampled_from("./\\ab-\n\0 é"), st.characters()), max_size=40))
@example("..")
@example("a/./b//c/")
@example("./../x")
@example("\ud800")
def test_safe_name_stays_below_its_folder_or_refuses(name: str) -> None:
    try:
        path = releases.safe_name(name)
    except Refused:
        return
    assert os.path.normpath(f"/srv/release/{path}").startswith("/srv/release")
    assert not path.startswith("/") and ".." not in path.split("/") and "\n" not in path and "\0" not in path
    assert releases.safe_name(path) == path


@pytest.mark.parametrize("name", ["index.php", "a/b/c.css", "./a", "a/", "Berkas Baru (1).pdf", "foto é 写真.jpg",
                                  ".htaccess", "...", "{{ lookup('pipe', 'touch /x') }}", "$(x)", "a;b"])
def test_safe_name_accepts_what_websites_hold(name: str) -> None:
    assert releases.safe_name(name) == os.path.normpath(name)

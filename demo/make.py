"""Make the demo's papers and releases: letters as PDF, pages as archives, WordPress out of Debian's own package."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = ["wordpress", "wordpress-theme-twentytwentythree", "php-getid3", "libjs-cropper", "libjs-underscore"]
TRIES = 3  # of a download
PAPERS = [
    "surat",
    "scan",
    "lembar_disposisi",
    "surat_terdisposisi",
    "data_tindak_lanjut",
    "data_kebutuhan_informasi",
    "kak",
    "buku_manual",
    "dokumentasi_aplikasi",
    "laporan",
]


def pdf(lines: list[str]) -> bytes:
    """A one-page PDF with lines of text."""
    shown = "".join(f"({line.translate({40: '[', 41: ']', 92: '/'})}) Tj T*\n" for line in lines)
    text = f"BT /F1 12 Tf 72 770 Td 18 TL\n{shown}ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def archive(folder: Path, target: Path) -> None:
    """Pack a folder as tar.gz, the same bytes for the same content; links become what they name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            member = tarfile.TarInfo(str(path.relative_to(folder)))
            member.mode = 0o755 if path.is_dir() else 0o644
            if path.is_dir():
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(member, content)
    target.write_bytes(gzip.compress(packed.getvalue(), 6, mtime=0))


def download(packages: list[str], folder: Path) -> Path:
    """Debian's packages, unpacked into one tree. Raises CalledProcessError where the mirror does not answer."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in reversed(range(TRIES)):
        try:
            subprocess.run(
                ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download", *packages],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            break
        except subprocess.CalledProcessError:
            if not left:
                raise
            subprocess.run(["apt-get", "-q", "update"], check=False, stdout=subprocess.DEVNULL)
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    return folder / "root"


def gather(root: Path, source: Path, target: Path) -> None:
    """Copy a tree of a package, its links (also those into other packages) replaced by what they name."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        real = path
        while real.is_symlink():
            link = real.readlink()
            real = root / link.relative_to("/") if link.is_absolute() else real.parent / link
        if real.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                gather(root, real, place)
        elif real.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(real, place)


def wordpress(target: Path, work: Path) -> None:
    """A release of WordPress that takes its database from the environment and installs itself once."""
    root = download(PACKAGES, work)
    gather(root, root / "usr/share/wordpress", work / "release")
    gather(root, root / "var/lib/wordpress/wp-content", work / "release/wp-content")
    shutil.copytree(HERE / "wordpress", work / "release", dirs_exist_ok=True)
    archive(work / "release", target)
    shutil.rmtree(work)


def main() -> None:
    """Write what is not there yet into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for page in sorted((HERE / "pages").iterdir()):
        archive(page, folder / f"{page.name}.tar.gz")
    blog = folder / "wordpress.tar.gz"
    if not blog.exists():
        wordpress(blog, folder / "wordpress")
    for request in sorted((HERE / "requests").glob("*.yml")):
        text = request.read_text()
        for release in folder.glob("*.tar.gz"):
            text = text.replace(f"SHA256_OF_{release.name}", hashlib.sha256(release.read_bytes()).hexdigest())
        (folder / request.name).write_text(text)
        said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith(" "))
        for paper in PAPERS:
            title = paper.replace("_", " ").title()
            (folder / f"{request.stem}-{paper}.pdf").write_bytes(
                pdf([title, "", said["agency"], said["title"], said["name"], said["purpose"], "(contoh)"])
            )


if __name__ == "__main__":
    main()

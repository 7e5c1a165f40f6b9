"""Write the scenario's releases and desired states into a folder: `releases.py FOLDER HOST…`, one set a host."""

import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

PAGES = {
    "static": {"index.html": "<h1>Situs statis edisi 1</h1>"},
    "static-2": {"index.html": "<h1>Situs statis edisi 2</h1>"},
    "php": {
        "public/index.php": """<?php
if (isset($_GET['read'])) { echo @file_get_contents($_GET['read']) === false ? 'denied' : 'read'; exit; }
$code = '<?php echo "ran";';
if (isset($_GET['write'])) { echo @file_put_contents($_GET['write'], $code) ? 'written' : 'denied'; exit; }
if (isset($_GET['connect'])) { echo @stream_socket_client($_GET['connect'], $n, $e, 2) ? 'connected' : 'denied'; exit; }
if (isset($_GET['server'])) { echo $_SERVER[$_GET['server']] ?? 'not set'; exit; }
if (isset($_GET['run'])) { echo function_exists('exec') ? 'runs' : 'denied'; exit; }
echo 'Situs PHP ', get_current_user(), ' ', posix_getuid(), ' ', file_get_contents(__DIR__ . '/berkas/setup.txt');
""",
        "public/berkas/awal.txt": "kept from the first release",
        "setup.php": "<?php file_put_contents(__DIR__ . '/public/berkas/setup.txt', 'set up by ' . posix_getuid());",
    },
    "broken-setup": {"public/index.php": "ok", "setup.php": "<?php fwrite(STDERR, 'no table'); exit(3);"},
    "broken-page": {"public/index.php": "<?php throw new Exception('boom');"},
}


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def website(name: str, uid: int, host: str, sha256: str, **more: object) -> dict[str, object]:
    entry = {
        "name": name, "state": "present", "uid": uid, "aliases": [], "title": "{{ lookup('pipe', 'touch /tmp/x') }}",
        "agency": "Dinas", "unit": "", "agenda": "1", "request": "R-1", "runtime": "static", "php_version": None,
        "document_root": "", "writable": [], "setup_script": None, "probe": {"path": "/", "contains": "Situs"},
        "release": {"sha256": sha256, "size": 1}, "database": None, "web_host": host, "size": "small",
        "address": {"ipv4": "198.51.100.11", "ipv6": None, "own": False}, "created_by": "run-000001",
    }
    return entry | more


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    sha = {}
    for key, files in PAGES.items():
        content = archive(files)
        sha[key] = hashlib.sha256(content).hexdigest()
        (folder / sha[key]).write_bytes(content)
    php = {"runtime": "php", "document_root": "public", "writable": ["public/berkas"]}
    for host in sys.argv[2:]:
        one = website("statis.example.go.id", 20001, host, sha["static"], aliases=["www2.example.go.id"])
        two = website("php.example.go.id", 20002, host, sha["php"], setup_script="setup.php", **php)
        three = website("tetangga.example.go.id", 20003, host, sha["php"], setup_script="setup.php", **php)
        bad = {"writable": [], "runtime": "php", "document_root": "public", "created_by": "run-000002"}
        states = {
            "first": [one, two, three],
            "updated": [one | {"release": {"sha256": sha["static-2"], "size": 1}}, two | {"state": "suspended"}, three],
            "setup-fails": [one, two, three, website("baru.example.go.id", 20004, host, sha["broken-setup"],
                                                     setup_script="setup.php", **bad)],
            "page-fails": [one, two, three, website("baru.example.go.id", 20004, host, sha["broken-page"], **bad)],
            "unreadable": [one, two, three, website("baru.example.go.id", 20004, host, sha["static"])],
            "no-archive": [one, two, three, website("baru.example.go.id", 20004, host, "0" * 64)],
            "beside": [
                one | {"release": {"sha256": sha["static-2"], "size": 1}},
                two | {"release": {"sha256": sha["broken-setup"], "size": 1}, "document_root": "public"}, three,
                website("baik.example.go.id", 20010, host, sha["static"], created_by="run-000002"),
                website("a.rusak.example.go.id", 20011, host, sha["broken-setup"], setup_script="setup.php", **bad),
                website("b.rusak.example.go.id", 20012, host, sha["broken-page"], **bad),
                website("c.rusak.example.go.id", 20013, host, "0" * 64),
                website("d.rusak.example.go.id", 20014, host, sha["static"], runtime="cobol"),
                website("e.rusak.example.go.id", 20015, host, sha["static"]),
                website("tangan.example.go.id", 20005, host, sha["static"]),
            ],
            "left": [one, two, three, website("baik.example.go.id", 20010, host, sha["static"], state="purged",
                                              created_by="run-000002")],
            "by-hand": [one, two, three, website("tangan.example.go.id", 20005, host, sha["static"])],
            "hostile": [one, two, three, website('x"\nLoadModule', 20006, host, sha["static"])],
            "https": [one, two, three, website("gagal.example.go.id", 20007, host, sha["static"]),
                      website("lancar.example.go.id", 20008, host, sha["static"]),
                      website("satu.kota.example.go.id", 20009, host, sha["static"])],
            "purged": [one, two, three | {"state": "purged"}],
            "archived": [one, two | {"state": "archived"}],
        }
        for state, websites in states.items():
            (folder / f"{host}-{state}.json").write_text(json.dumps({"format": 1, "websites": websites}))


if __name__ == "__main__":
    main()

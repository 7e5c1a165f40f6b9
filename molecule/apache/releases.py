"""Write the scenario's releases and desired states into a folder: `releases.py FOLDER HOST…`, one set a host."""

import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

APP = """
import ctypes, glob, http.server, os, shutil, socket, urllib.parse

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        try:
            said = self.act(asked)
        except OSError as error:
            said = "denied: " + str(error)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())

    def act(self, asked):
        if "read" in asked:
            return "read " + str(os.listdir(asked["read"]))
        if "write" in asked:
            open(asked["write"], "w").write("x")
            return "written"
        if "connect" in asked:
            socket.socket(socket.AF_UNIX).connect(asked["connect"])
            return "connected"
        if "open" in asked:
            host, _, port = asked["open"].rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), 2).close()
            return "opened"
        if "load" in asked:
            if not os.path.exists(asked["load"]):
                shutil.copy(glob.glob("/usr/lib/*/libexpat.so.1")[0], asked["load"])
            ctypes.CDLL(asked["load"])
            return "loaded"
        if "header" in asked:
            return str(self.headers[asked["header"]])
        if "die" in asked:
            os._exit(1)
        return "Situs aplikasi edisi EDISI " + str(os.getuid()) + " " + self.headers["Host"]

    def address_string(self):
        return "-"

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    def server_bind(self):
        self.socket.bind(self.server_address)

Server(os.environ["SOCKET"], Page).serve_forever()
"""
SETUP = """
import ctypes, glob, os, pathlib, shutil
pathlib.Path("isi/setup.txt").write_text(f"set up by {os.getuid()}")
shutil.copy(glob.glob("/usr/lib/*/libexpat.so.1")[0], "isi/foto.jpg")
try:
    said = str(ctypes.CDLL("./isi/foto.jpg"))
except OSError as error:
    said = str(error)
pathlib.Path("isi/native.txt").write_text(said)
"""
PAGES = {
    "static": {"index.html": "<h1>Situs statis edisi 1</h1>"},
    "static-2": {"index.html": "<h1>Situs statis edisi 2</h1>"},
    "php": {
        "public/index.php": """<?php
if (isset($_GET['read'])) { echo @file_get_contents($_GET['read']) === false ? 'denied' : 'read'; exit; }
$code = '<?php echo "ran";';
if (isset($_GET['list'])) { echo @scandir($_GET['list']) ? 'listed' : 'denied'; exit; }
if (isset($_GET['write'])) { echo @file_put_contents($_GET['write'], $code) ? 'written' : 'denied'; exit; }
if (isset($_GET['connect'])) { echo @stream_socket_client($_GET['connect'], $n, $e, 2) ? 'connected' : 'denied'; exit; }
if (isset($_GET['server'])) { echo $_SERVER[$_GET['server']] ?? 'not set'; exit; }
if (isset($_GET['include'])) { echo @include $_GET['include']; exit; }
if (isset($_GET['opcache'])) { echo @$_GET['opcache']() ? 'told' : 'denied'; exit; }
if (isset($_GET['load'])) {
    try { (new Pdo\\Sqlite('sqlite::memory:'))->loadExtension($_GET['load']); echo 'loaded'; }
    catch (Throwable $error) { echo $error->getMessage(); }
    exit;
}
if (isset($_GET['lama'])) { sleep((int) $_GET['lama']); echo 'selesai'; exit; }
if (isset($_GET['eat'])) { echo strlen(str_repeat('x', 1 << 30)); exit; }
if (isset($_GET['run'])) { echo function_exists($_GET['run']) ? 'runs' : 'denied'; exit; }
echo 'Situs PHP ', get_current_user(), ' ', posix_getuid(), ' ', file_get_contents(__DIR__ . '/berkas/setup.txt');
""",
        "public/rahasia.php": "<?php return 'secret';",
        "public/berkas/awal.txt": "kept from the first release",
        "setup.php": "<?php file_put_contents(__DIR__ . '/public/berkas/setup.txt', 'set up by ' . posix_getuid());",
    },
    "app": {"app.py": APP.replace("EDISI", "1"), "isi/awal.txt": "awal", "setup.py": SETUP},
    "app-2": {"app.py": APP.replace("EDISI", "2")},
    "app-silent": {"app.py": "import time; print('tidak mau'); time.sleep(600)"},
    "node": {".output/server/index.js": """
const http = require('http');
http.createServer((ask, answer) => answer.end(`Situs Node ${process.getuid()} ${ask.headers.host}`))
  .listen(process.env.SOCKET);
"""},
    "htaccess": {
        "index.html": "Situs jahat",
        "a/.htaccess": "RewriteEngine On\nRewriteRule ^ http://127.0.0.1:80/ [P]\n",
        "b/.htaccess": 'SetHandler "proxy:http://127.0.0.1:80/"\n',
        "c/.htaccess": 'SetHandler "proxy:fcgi://127.0.0.1:80/"\n',
        "d/.htaccess": "RewriteEngine On\nRewriteRule ^ http://localhost:80/ [P]\n",
        "e/.htaccess": "RewriteEngine On\nRewriteRule ^ http://[::1]:80/ [P]\n",
        "f/.htaccess": "RewriteEngine On\nRewriteRule ^ http://2130706433:80/ [P]\n",
        "g/.htaccess": 'RewriteEngine On\nRewriteRule ^ "unix:/run/websites-apps/socket|http://_/" [P]\n',
        "h/.htaccess": "RewriteEngine On\nRewriteRule ^ - [H=proxy:http://127.0.0.1:80/]\n",
        **{f"{folder}/index.html": "Situs jahat" for folder in "abcdefgh"},
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
        three = website("tetangga.example.go.id", 20003, host, sha["php"], setup_script="setup.php", waf="block",
                        **php)
        bad = {"writable": [], "runtime": "php", "document_root": "public", "created_by": "run-000002"}
        python = {"runtime": "proxy", "program": "python3", "entry": "app.py", "writable": ["isi"]}
        app = website("aplikasi.example.go.id", 20016, host, sha["app"], setup_script="setup.py", **python)
        node = website("node.example.go.id", 20017, host, sha["node"], runtime="proxy", program="node",
                       entry=".output/server/index.js", waf="block")
        evil = website("jahat.example.go.id", 20018, host, sha["htaccess"])
        app_2, silent = ({"release": {"sha256": sha[key], "size": 1}, "setup_script": None}
                         for key in ("app-2", "app-silent"))
        new = {"updated": [app | app_2, node | {"state": "suspended"}, evil], "beside": [app | silent, node, evil]}
        states = {
            "first": [one, two, three],
            "updated": [one | {"release": {"sha256": sha["static-2"], "size": 1}}, two | {"state": "suspended"},
                        three | {"size": "medium"}],
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
        for state, listed in states.items():
            websites = [*listed, *new.get(state, [app, node, evil])]
            (folder / f"{host}-{state}.json").write_text(json.dumps({"format": 1, "websites": websites}))


if __name__ == "__main__":
    main()

"""Make the folders, users, credentials and list that the web layer would have left. The websites come by WEBSITES."""

import json
import os
import pathlib
import subprocess

PASSWORDS = {20002: ("mariadb", "it's a \"secret\" \\ one", 3306), 20003: ("postgresql", "a:b\\c", 5432)}
CREDENTIALS = pathlib.Path("/etc/websites/credentials")
WEB = pathlib.Path("/var/lib/websites/web")
PAGES = {"index.html": "<h1>Beranda</h1>\n", "assets/style.css": "h1 {}\n", "odd\nname\udcff": "odd"}


def make(website: dict) -> dict:
    uid, home = website["uid"], pathlib.Path("/srv/websites", website["name"])
    subprocess.run(["useradd", "--uid", str(uid), "--user-group", "--no-create-home", f"w{uid}"], check=True)
    release, data = home / "releases" / website["release"]["sha256"][:16], home / "data"
    for name, text in PAGES.items():
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).write_text(text)
    (data / "uploads").mkdir(parents=True)
    (data / "uploads/photo.jpg").write_bytes(f"photo of {uid}".encode() * 10_000)
    (data / "uploads/link").symlink_to("/etc/shadow")
    os.mkfifo(data / "uploads/pipe")
    for path in (data, data / "uploads", data / "uploads/photo.jpg"):
        os.chown(path, uid, uid)
    if uid in PASSWORDS:
        engine, password, port = PASSWORDS[uid]
        credential = CREDENTIALS / f"w{uid}.json"
        credential.write_text(json.dumps({"engine": engine, "password": password, "verifier": ""}))
        credential.chmod(0o600)
        website["database"] |= {"address": "127.0.0.1", "port": port}
    for kind in ("apache", "fpm"):
        (WEB / "generations/1" / kind / f"{website['name']}.conf").write_text(f"# {website['name']}\n")
    return {**website, "paths": {"home": str(home), "release": str(release), "data": str(data)}}


for kind in ("apache", "fpm"):
    (WEB / "generations/1" / kind).mkdir(parents=True)
CREDENTIALS.mkdir(parents=True, mode=0o700)
websites = [make(website) for website in json.loads(os.environ["WEBSITES"])]
(WEB / "current").symlink_to(WEB / "generations/1")
(WEB / "generations/1/websites.json").write_text(json.dumps(websites))

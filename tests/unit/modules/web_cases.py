"""A web host in a folder: real files, real archives, and daemons that keep their state in files as well."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_websites
import pytest
from ansible.module_utils import transaction, web, web_apps, web_layer, web_plan, web_server, web_setup, web_tls
from ansible.module_utils.transaction import Change, Refused
from archive_cases import PACKERS, tree

SIZES = {"small": {"children": 5, "memory": "128M", "upload": "16M", "seconds": 60}}
HOST = web.Server("web1", "8.2", SIZES, {"db1": "10.89.77.21"}, "5ec2e7")
STATIC = PACKERS["tar.gz"]({"index.html": b"edisi 1"})
STATIC_2 = PACKERS["tar.gz"]({"index.html": b"edisi 2"})
PHP = PACKERS["tar.gz"]({"public/index.php": b"<?php", "public/berkas/awal.txt": b"awal", "setup.php": b"<?php"})
PHP_2 = PACKERS["tar.gz"]({"public/index.php": b"<?php 2", "public/gambar/x.png": b"x", "setup.php": b"<?php"})

APP = PACKERS["tar.gz"]({"app.py": b"serve()", "isi/awal.txt": b"awal"})
APP_2 = PACKERS["tar.gz"]({"app.py": b"serve(2)"})


def sha(archive: bytes) -> str:
    return hashlib.sha256(archive).hexdigest()


def website(
    name: str = "dinkes.tarakankota.go.id", uid: int = 20001, archive: bytes = STATIC, **more: Any
) -> dict[str, Any]:
    """A website of the desired state."""
    return {
        "name": name, "state": "present", "uid": uid, "aliases": [], "title": "Dinas Kesehatan", "runtime": "static",
        "php_version": None, "document_root": "", "writable": [], "setup_script": None, "size": "small",
        "probe": {"path": "/", "contains": "Dinas"}, "release": {"sha256": sha(archive), "size": len(archive)},
        "database": None, "web_host": "web1", "address": {"ipv4": "198.51.100.11", "ipv6": None, "own": False},
        "created_by": "run-000001", **more,
    }


def php(name: str = "disdik.tarakankota.go.id", uid: int = 20002, archive: bytes = PHP, **more: Any) -> dict[str, Any]:
    """A website of the desired state that runs PHP with a database."""
    given = {"runtime": "php", "document_root": "public", "writable": ["public/berkas"], "setup_script": "setup.php",
             "database": {"engine": "mariadb", "host": "db1"}, "aliases": [f"www2.{name}"]}
    return website(name, uid, archive, **{**given, **more})


def app(name: str = "aplikasi.tarakankota.go.id", uid: int = 20006, **more: Any) -> dict[str, Any]:
    """A website of the desired state that is an application of its own."""
    given = {"runtime": "proxy", "program": "python3", "entry": "app.py", "writable": ["isi"], "aliases": [], **more}
    return website(name, uid, **{"archive": APP, **given})


class WebHost:
    """What the layer changes, below one folder. Its daemons serve what CURRENT named at their last reload."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.said = root, root / "daemons"
        self.left: dict[str, str] = {}
        for folder in ("srv", "log", "web/generations/0/apache", "web/generations/0/fpm", "web/apps", "users",
                       "daemons", "sites", "credentials", "units", "running"):
            (root / folder).mkdir(parents=True)
        (root / "web/generations/0/websites.json").write_text("[]")
        (root / "web/current").symlink_to(root / "web/generations/0")
        (root / "credentials/w20002.json").write_text(json.dumps({"password": "s3cretPassw0rd"}))
        self.serve()
        here = root / "web"
        places = [(web, "HOMES", root / "srv"), (web, "LOGS", root / "log"), (web_server, "HERE", here),
                  (web_server, "CURRENT", here / "current"), (web_server, "LIVE", here / "live"),
                  (web_server, "JOURNAL", here / "journal.json"), (web_server, "SITES", root / "sites"),
                  (web_plan, "CREDENTIALS", root / "credentials")]
        places += [(web_apps, "UNITS", root / "units"), (web_apps, "ENVIRONMENTS", root / "web/apps"),
                   (web_tls, "HELD", root / "https/held"), (web_tls, "SERVED", root / "https/served"),
                   (web_tls, "STORE", root / "md/domains")]
        programs = [(web_server, "run", self.run), (web_apps, "run", self.run), (web_setup, "run", self.run),
                    (web_apps, "answer", self.answer),
                    (web_server, "ask", self.ask),
                    (web_server, "processes", lambda _: []),
                    (web_server, "user_exists", lambda name: (root / "users" / name).exists()),
                    (web_setup, "run_foreign", self.set_up), (web_plan.pwd, "getpwall", self.users)]
        for module, name, value in [*places, *programs]:
            monkeypatch.setattr(module, name, value)
        if os.geteuid() != 0:
            monkeypatch.setattr(transaction.os, "chown", lambda *_: None)
            monkeypatch.setattr(transaction.os, "lchown", lambda *_: None)

    def users(self) -> list[Any]:
        return [SimpleNamespace(pw_name=path.name) for path in (self.root / "users").iterdir()]

    def serve(self) -> None:
        (self.said / "serving").write_text(str((self.root / "web/current").readlink()))

    def run(self, argv: list[str], stdin: str | None = None, **_: Any) -> str:
        """The programs that the layer starts, with the same effect on this folder."""
        with (self.said / "programs").open("a") as log:
            log.write(" ".join(argv[:3]) + "\n")
        if argv[0] == "systemd-sysusers":
            for line in (stdin or "").splitlines():
                name, uid = re.fullmatch(r'u (w\d+) (\d+) "website" \S+ /usr/sbin/nologin', line).groups()
                (self.root / "users" / name).write_text(uid)
        elif argv[0] == "userdel":
            (self.root / "users" / argv[1]).unlink()
        elif argv[0] == "setfacl":
            assert all(Path(path).is_dir() for path in argv[3:])
        elif argv[0] in ("systemctl", "journalctl") and (said := self.units(argv)) is not None:
            return said
        elif argv[:3] == ["apache2ctl", "-t", "-D"]:
            return (self.said / "vhosts").read_text() if (self.said / "vhosts").exists() else ""
        elif argv[:2] == ["systemctl", "is-active"] and (self.said / "ended").exists():
            raise transaction.Refused("`systemctl is-active php8.2-fpm` ended with 3: failed", "")
        elif argv[:2] == ["systemctl", "kill"] and (self.said / "stopped").exists():
            raise transaction.Refused("No main process to kill", "")
        elif argv[0] == "systemctl" and argv[1] in ("reload-or-restart", "kill") and argv[-1] == "apache2":
            self.serve()
        return ""

    def units(self, argv: list[str]) -> str | None:
        """What systemd does with applications: a running one is a file, and keeps the unit's text it started with."""
        names = [arg.removesuffix(".service") for arg in argv if arg.startswith("website-app-")]
        running = self.root / "running"
        if argv[:2] == ["systemctl", "stop"]:
            for unit in running.glob(argv[2]):
                unit.unlink()
            return ""
        if argv[:2] == ["systemctl", "show"]:
            return "\n\n".join("active" if (running / name).exists() else "inactive" for name in names)
        for name in names:
            if argv[1] == "restart":
                (running / name).write_text((self.root / f"units/{name}.service").read_text())
            elif argv[1] == "disable":
                (running / name).unlink(missing_ok=True)
        return "" if names else None

    def answer(self, path: str, website: dict[str, Any], deadline: float) -> int | None:
        """An application answers where a unit of its user runs, unless its entry is named after the fault."""
        runs = any(f"User=w{website['uid']}\n" in unit.read_text() for unit in (self.root / "running").iterdir())
        return {"silent.py": None, "500.py": 500}.get(website["entry"], 200) if runs else None

    def ask(self, host: str, path: str = "/") -> tuple[int, dict[str, str]]:
        serving = Path((self.said / "serving").read_text())
        vhost = serving / f"apache/{host}.conf"
        known = {} if vhost.exists() else {"X-Unknown-Website": "1"}
        return 200 if vhost.exists() else 404, {"X-Generation": serving.name, **known}

    def set_up(self, argv: list[str], env: dict[str, str], timeout: float, keep: int = 0) -> tuple[int, str]:
        """A script that leaves something behind, which keeps its scope."""
        (self.root / "running" / f"{next(word for word in argv if '--unit=' in word)[7:]}.scope").touch()
        with (self.said / "setups").open("a") as log:
            log.write(f"{argv[-1]}\n")
        return 0, ""

    def layer(self, *websites: dict[str, Any], **params: Any) -> web_layer.Layer:
        """The layer with these desired websites; the archives that it lacks are brought."""
        archives = self.root / "archives"
        given = {"websites": list(websites), "sizes": SIZES, "archives": str(archives), "releases_kept": 3,
                 "compare_live": False, **params}
        layer = web_layer.Layer(given, HOST)
        archives.mkdir(exist_ok=True)
        known = {sha(content): content for content in (STATIC, STATIC_2, PHP, PHP_2, APP, APP_2)}
        for missing in layer.missing_archives():
            (archives / missing).write_bytes(known[missing])
        return layer

    def converge(self, *websites: dict[str, Any], **params: Any) -> list[Change]:
        """One run of the module; gives the changes. Who was left is in `left`: name -> what was said."""
        layer = self.layer(*websites, **params)
        module = SimpleNamespace(check_mode=False, params={"host": "web1", "brought": True})
        outcome = apache_websites.converge(module, layer)
        self.left = {left.website: left.what for left in outcome.refused}
        return outcome.changes

    def census(self) -> dict[str, Any]:
        """All that stays between runs: files with modes, links, users, and what the daemons serve."""
        kept = {folder: tree(self.root / folder) for folder in ("srv", "log", "web", "users", "units", "running")}
        archives = [path.name for path in self.root.glob("archives/*")]
        return {**kept, "serving": (self.said / "serving").read_text(), "archives": archives}

    def lines(self, name: str) -> list[str]:
        path = self.said / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WebHost:
    return WebHost(tmp_path, monkeypatch)


__all__ = ["APP_2", "HOST", "PHP", "PHP_2", "SIZES", "STATIC", "STATIC_2", "Change", "Refused", "WebHost", "app",
           "host", "php", "sha", "website"]

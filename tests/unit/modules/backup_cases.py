"""A server in a folder, with a website and a repository of plain copies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.transaction import Refused
from website_backup import database, exchange, repository, restore, settings, snapshot

NAME = "dinkes.tarakankota.go.id"
RELEASE = "0123456789abcdef" * 4


def row(root: Path, **values: Any) -> dict[str, Any]:
    """A website's entry in the web layer's list."""
    home = root / "srv" / NAME
    return {"name": NAME, "uid": 20001, "state": "present", "release": {"sha256": RELEASE}, "writable": ["uploads"],
            "database": None, "paths": {"home": str(home), "release": str(home / "releases/0123"),
                                        "data": str(home / "data")}, **values}


def server(root: Path, rows: list[Any] | None = None) -> settings.Settings:
    """The settings of a server below `root` with one website."""
    home = root / "srv" / NAME
    for folder in (home / "releases/0123", home / "data/uploads", root / "state", root / "credentials", root / "web"):
        folder.mkdir(parents=True)
    (home / "releases/0123/index.html").write_text("page")
    (home / "data/uploads/photo.jpg").write_text("photo")
    (root / "web/websites.json").write_text(json.dumps([row(root)] if rows is None else rows))
    return settings.Settings(
        host="web1", repository=str(root / "repository"), sftp_command="", password_file=str(root / "password"),
        websites_root=str(root / "srv"), websites_file=str(root / "web/websites.json"),
        credentials=str(root / "credentials"), state=str(root / "state"), cache=str(root / "cache"),
        configuration=[str(root / "web/{name}.conf"), str(root / "web/w{uid}.conf")], keep={"daily": 7, "within": ""},
        prune_days=7, check_subset="5%", timer="website-backup.timer")


class Copies(repository.Repository):
    """A repository of plain copies, for the code around restic. restic itself is tried by the molecule scenario."""

    made: list[str]
    calls: list[tuple[str, ...]]
    broken = ""

    def __init__(self, given: settings.Settings) -> None:
        super().__init__(given)
        self.store = Path(given.repository)
        self.store.mkdir(exist_ok=True)
        self.calls = []

    def snapshots(self) -> list[repository.Snapshot]:
        return [repository.Snapshot(*json.loads((path / "facts.json").read_text()), {})
                for path in sorted(self.store.iterdir())]

    def backup(self, tags: list[str], paths: list[str],
               parent: str | None) -> tuple[repository.Snapshot, dict[str, Any]]:
        tagged = dict(tag.split("=", 1) for tag in tags)
        number = len(list(self.store.iterdir()))
        folder = self.store / f"{number:08x}"
        for path in map(Path, paths):
            target = folder / "tree" / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, symlinks=True)
            else:
                shutil.copy2(path, target)
        facts = (folder.name, f"2026-11-24T01:30:0{number}Z", tagged["website"], tagged["release"])
        (folder / "facts.json").write_text(json.dumps(facts))
        return repository.Snapshot(*facts, {}), {"bytes": 9, "files": 2}

    def restore(self, wanted: str, target: str) -> None:
        shutil.copytree(self.store / wanted / "tree", target, symlinks=True, dirs_exist_ok=True)

    def call(self, *words: str, timeout: float = 0) -> str:
        self.calls.append(words)
        return ""


def serve(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[settings.Settings, Copies]:
    """The settings of a server below `root`, and its repository of copies."""
    given = server(root)
    copies = Copies(given)
    for module in (snapshot, restore):
        monkeypatch.setattr(module, "Repository", lambda _: copies)
    for module in (snapshot, restore, exchange):
        monkeypatch.setattr(module, "server_lock", lambda *_: contextlib.nullcontext())
    for module in (snapshot, exchange):  # root's files are this user's here
        monkeypatch.setattr(module, "write_atomic", lambda path, text, *_: path.write_text(text))
    monkeypatch.setattr(snapshot, "TURN", 0)
    monkeypatch.setattr(snapshot, "next_run", lambda _: None)
    monkeypatch.setattr(database, "LOGINS", root / "state")
    monkeypatch.setattr(os, "sync", lambda: None)
    return given, copies


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[settings.Settings, Copies]:
    return serve(tmp_path, monkeypatch)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "srv" / NAME


def website(given: settings.Settings) -> settings.Website:
    return settings.read_websites(given)[0][0]


def with_database(given: settings.Settings, root: Path, engine: str = "mariadb") -> settings.Website:
    entry = row(root, database={"engine": engine, "host": "db1", "address": "10.89.77.21", "port": 3306})
    Path(given.websites_file).write_text(json.dumps([entry]))
    return website(given)


def refuse(*_: Any) -> None:
    raise Refused("restic says no", "mend it")


def prepared(ours: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[settings.Settings, list[Path]]:
    """A snapshot with a dump, and the loads that a restore makes from then on."""
    given, _ = ours
    with_database(given, root)
    monkeypatch.setattr(database, "dump", lambda site, given, path: path.write_text("-- Dump completed\n"))
    snapshot.backup(given, [], only_missing=False, plan=False)
    loads: list[Path] = []
    monkeypatch.setattr(database, "load", lambda site, given, path: loads.append(path))
    return given, loads


__all__ = ["NAME", "RELEASE", "Copies", "exchange", "ours", "prepared", "refuse", "repository", "restore", "row",
           "serve", "server", "settings", "site", "snapshot", "website", "with_database"]

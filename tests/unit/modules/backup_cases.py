"""A server in a folder, with a website and a repository of plain copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from website_backup import repository, restore, settings, snapshot

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


__all__ = ["NAME", "RELEASE", "Copies", "repository", "restore", "row", "server", "settings", "snapshot"]

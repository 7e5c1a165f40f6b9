"""The restic repository of this server: one place that calls restic and reads what it says."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from typing import Any, NamedTuple

from website_backup.database import TIED
from website_backup.settings import Settings
from website_backup.transaction import Refused

SHORT = 8  # restic's own length of a short id; older releases report only that after a backup
INCOMPLETE = 3  # restic's code for "a snapshot was made, but not every file could be read"
DAY = 86400.0


class Snapshot(NamedTuple):
    id: str
    time: str  # UTC, to the second
    website: str
    release: str  # the first 12 digits of its sha256
    summary: dict[str, Any]  # empty before restic 0.17

    @property
    def facts(self) -> dict[str, Any]:
        if not self.summary:
            return {}
        return {"bytes": self.summary["total_bytes_processed"], "files": self.summary["total_files_processed"]}


class Repository:
    """The repository that the settings name. Every method raises Refused with restic's own words where it fails."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base = [*TIED, "restic"]
        if settings.sftp_command:
            self.base += ["-o", f"sftp.command={settings.sftp_command}"]
        self.env = {
            **os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "RESTIC_REPOSITORY": settings.repository,
            "RESTIC_PASSWORD_FILE": settings.password_file, "RESTIC_CACHE_DIR": settings.cache,
            "RESTIC_PROGRESS_FPS": "0.01",  # its JSON would tell the progress 60 times a second
        }

    def call(self, *words: str, timeout: float = DAY) -> str:
        """restic's standard output."""
        done = self._call(words, timeout)
        if done.returncode != 0:
            raise Refused(self._said(words, done), "mend what restic names, then run the backup again")
        return done.stdout

    def _call(self, words: tuple[str, ...], timeout: float) -> subprocess.CompletedProcess[str]:
        done = self._once(words, timeout)
        if done.returncode != 0 and "already locked" in done.stderr and words[0] != "unlock":
            # One server writes here and holds its own lock meanwhile: this one was left by a run that was killed.
            self._once(("unlock",), timeout)
            done = self._once(words, timeout)
        return done

    def _once(self, words: tuple[str, ...], timeout: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run([*self.base, *words], env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, errors="replace", timeout=timeout, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"restic {words[0]} could not run: {error}", "check that restic is installed") from error

    def _said(self, words: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> str:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = " ".join(_plain(line) for line in lines[-3:])[-700:]
        return f"`restic {words[0]}` ended with {done.returncode}: {said}"

    def initialise(self) -> bool:
        """Make the repository where there is none. True if it was made; never on a mere fault of the connection."""
        words = ("cat", "config")
        done = self._call(words, 120)
        if done.returncode == 0:
            return False
        if "repository does not exist" not in done.stderr and "Is there a repository at" not in done.stderr:
            raise Refused(self._said(words, done), "mend the way to the backup server, then run playbooks/servers.yml")
        self.call("init", timeout=120)
        return True

    def snapshots(self) -> list[Snapshot]:
        """All snapshots of websites that this server made, oldest first."""
        rows = json.loads(self.call("snapshots", "--json", "--no-lock", "--host", self.settings.host) or "[]")
        return sorted((found for row in rows or [] if (found := parse_snapshot(row))), key=lambda s: s.time)

    def backup(self, tags: list[str], paths: list[str], parent: str | None) -> tuple[Snapshot, dict[str, Any]]:
        """Make one snapshot of the paths. A snapshot that lacks a file which still exists is taken back."""
        now = datetime.datetime.now(datetime.UTC)
        words = ["backup", "--json", "--host", self.settings.host, "--time", f"{now:%Y-%m-%d %H:%M:%S}"]
        words += [word for tag in tags for word in ("--tag", tag)]
        words += ["--parent", parent] if parent else []
        done = self._call((*words, "--", *paths), DAY)
        summary = next((row for row in map(_json, reversed(done.stdout.splitlines()))
                        if row.get("message_type") == "summary"), None)
        if done.returncode not in (0, INCOMPLETE) or summary is None:
            raise Refused(self._said(("backup",), done), "mend what restic names, then run the backup again")
        made = str(summary["snapshot_id"])[:SHORT]
        if done.returncode == INCOMPLETE:
            unread = [row for row in map(_json, done.stderr.splitlines()) if row.get("message_type") == "error"]
            if not unread or any(os.path.lexists(str(row.get("item") or "/")) for row in unread):
                self.call("forget", made)
                raise Refused(f"the snapshot would be incomplete: {self._said(('backup',), done)}",
                              "make the named files readable, then run the backup again")
        tagged = dict(tag.split("=", 1) for tag in tags)
        facts = {"bytes": summary["total_bytes_processed"], "files": summary["total_files_processed"]}
        return Snapshot(made, f"{now:%Y-%m-%dT%H:%M:%SZ}", tagged["website"], tagged["release"], {}), facts

    def measure(self, snapshot: str) -> dict[str, Any]:
        row = json.loads(self.call("stats", "--json", "--no-lock", "--mode", "restore-size", snapshot))
        return {"bytes": row["total_size"], "files": row["total_file_count"]}

    def forget(self, website: str, keep: dict[str, Any]) -> None:
        """Let go of one website's snapshots that the retention does not name; `prune` frees their room later."""
        rules = [word for rule, value in sorted(keep.items()) if value for word in (f"--keep-{rule}", str(value))]
        # Grouped by host alone: the default groups by paths, and each release has paths of its own.
        self.call("forget", "--host", self.settings.host, "--tag", f"website={website}", "--group-by", "host", *rules)

    def prune(self) -> None:
        self.call("prune")

    def check(self, subset: str) -> None:
        self.call("check", f"--read-data-subset={subset}")

    def restore(self, snapshot: str, target: str) -> None:
        self.call("restore", snapshot, "--no-lock", "--target", target)


def parse_snapshot(row: dict[str, Any]) -> Snapshot | None:
    """A row of `restic snapshots --json`; None where it is not one of ours."""
    tags = dict(tag.split("=", 1) for tag in row.get("tags") or [] if "=" in tag)
    if "website" not in tags:
        return None
    time = datetime.datetime.fromisoformat(row["time"]).astimezone(datetime.UTC)
    return Snapshot(row["id"][:SHORT], f"{time:%Y-%m-%dT%H:%M:%SZ}", tags["website"], tags.get("release", ""),
                    row.get("summary") or {})


def _json(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _plain(line: str) -> str:
    row = _json(line)
    message = row.get("message") or row.get("error") or line
    return str(message.get("message", message) if isinstance(message, dict) else message)

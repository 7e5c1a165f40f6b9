"""What the backup of this server needs to know: its settings, and the websites that the web layer keeps here."""

from __future__ import annotations

import ipaddress
import pathlib
import re
from typing import Any, NamedTuple

from website_backup.transaction import Refused, read_json

CONFIGURATION = pathlib.Path("/etc/websites/backup/backup.json")
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
ENGINES = ("mariadb", "postgresql")
FIRST_UID, LAST_UID = 20000, 59999


class Settings(NamedTuple):
    """The content of backup.json, which the role writes."""

    host: str
    repository: str
    sftp_command: str  # empty where the repository is a folder of this server
    password_file: str
    websites_root: str
    websites_file: str
    credentials: str
    state: str
    cache: str
    configuration: list[str]  # files of a website beside its folders, with {name} and {uid}
    keep: dict[str, Any]
    prune_days: int
    check_subset: str
    timer: str

    @property
    def state_folder(self) -> pathlib.Path:
        return pathlib.Path(self.state)


class Database(NamedTuple):
    engine: str
    address: str
    port: int


class Website(NamedTuple):
    """One website of this server, its values checked again: they become arguments of programs that root runs."""

    name: str
    uid: int
    release: str  # sha256
    release_folder: pathlib.Path
    data_folder: pathlib.Path
    needs_data: bool
    database: Database | None
    entry: dict[str, Any]  # as the web layer wrote it

    @property
    def account(self) -> str:
        return f"w{self.uid}"

    @property
    def tags(self) -> list[str]:
        return [f"website={self.name}", f"release={self.release[:12]}", f"uid={self.uid}"]


def read_settings(path: pathlib.Path = CONFIGURATION) -> Settings | None:
    """The settings, or None on a server that is not set up yet. Raises Refused where the file is not ours."""
    values = read_json(path, None)
    if values is None:
        return None
    try:
        return Settings(**values)
    except TypeError as error:
        raise Refused(f"{path} does not hold this version's settings: {error}", "run playbooks/servers.yml") from error


def read_websites(settings: Settings) -> tuple[list[Website], dict[str, str]]:
    """The websites whose data are here, and of those that cannot be trusted {name: cause}."""
    path = pathlib.Path(settings.websites_file)
    rows = read_json(path, [])
    if not isinstance(rows, list):
        raise Refused(f"{path} does not hold a list of websites", "run playbooks/websites.yml, which writes it")
    good: list[Website] = []
    bad: dict[str, str] = {}
    for row in rows:
        name = str(row.get("name"))[:253] if isinstance(row, dict) else repr(row)[:80]
        try:
            if row["state"] != "purged":
                good.append(_website(row, settings))
        except Refused as error:
            bad[name] = error.what
        except (KeyError, TypeError, ValueError) as error:
            bad[name] = f"its entry in {path} is incomplete: {type(error).__name__}: {error}"
    return sorted(good, key=lambda w: w.name), bad


def _website(row: dict[str, Any], settings: Settings) -> Website:
    name, uid, sha256 = row["name"], row["uid"], row["release"]["sha256"]
    where = f"in {settings.websites_file}"
    if not isinstance(name, str) or not NAME.match(name):
        raise Refused(f"{name!r} {where} is no name of a website", "see playbooks/websites.yml")
    if type(uid) is not int or not FIRST_UID <= uid <= LAST_UID:
        raise Refused(f"{name} {where} has uid {uid!r}, not one of {FIRST_UID}-{LAST_UID}",
                      "see playbooks/websites.yml")
    if not isinstance(sha256, str) or not SHA256.match(sha256):
        raise Refused(f"{name} {where} has a release that is no sha256", "see playbooks/websites.yml")
    home = pathlib.Path(settings.websites_root) / name
    release, data = (pathlib.Path(row["paths"][key]) for key in ("release", "data"))
    for folder in (release, data):
        if ".." in folder.parts or home not in folder.parents:
            raise Refused(f"{name} {where} names {folder}, which is not in {home}", "see playbooks/websites.yml")
    return Website(name, uid, sha256, release, data, bool(row.get("writable")), _database(row.get("database")), row)


def _database(value: dict[str, Any] | None) -> Database | None:
    if not value:
        return None
    engine, port = value["engine"], int(value["port"])
    if engine not in ENGINES or not 0 < port < 65536:
        raise Refused(f"no database can be {engine!r} on port {port}", "see playbooks/websites.yml")
    return Database(engine, str(ipaddress.ip_address(value["address"])), port)

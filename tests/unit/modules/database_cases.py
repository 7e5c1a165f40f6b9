"""Websites, settings and a stand-in engine for the tests of the database layer."""

from typing import Any

from ansible.module_utils import database
from ansible.module_utils.database import Database, Login, Seen

HASH = "*" + "A" * 40
SCRAM = f"SCRAM-SHA-256$4096:{'c2FsdHNhbHRzYWx0c2E'}=${'S' * 43}=:{'K' * 43}="
WEB_HOSTS = {"web1": ["10.0.0.11", "fd00::11"], "web2": ["10.0.0.12", None]}
AT_WEB1, AT_WEB2 = ("10.0.0.11", "fd00::11"), ("10.0.0.12",)


def website(number: int = 1, engine: str = "mariadb", **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"opd{number}.tarakankota.go.id", "state": "present", "uid": 20000 + number, "web_host": "web1",
        "size": "small", "created_by": "run-000001", "title": "{{ 1 }}'; DROP DATABASE mysql; --",
        "database": {"engine": engine, "host": "db1"},
    }
    return {**row, **changes}


def mark(number: int = 1, engine: str = "mariadb", **changes: Any) -> dict[str, Any]:
    return {"created_by": "run-000001", "engine": engine, "uid": 20000 + number, **changes}


def settings(*websites: dict[str, Any], check: bool = False, host: str = "db1") -> database.Settings:
    verifiers = {
        database.account_of(w): HASH if w["database"]["engine"] == "mariadb" else SCRAM for w in websites
    }
    return database.Settings(host, WEB_HOSTS, {"small": 10, "medium": 25}, verifiers, check)


def in_mariadb(reach: tuple[str, ...] = AT_WEB1, **changes: Any) -> Seen:
    login = Login(HASH, False, 10)._replace(**changes)
    return Seen(Database(), dict.fromkeys(reach, login), () if login.locked else reach)


def in_postgresql(account: str, reach: tuple[str, ...] = AT_WEB1, **changes: Any) -> Seen:
    login = Login(SCRAM, False, 10)._replace(**changes)
    return Seen(Database(account), {"*": login}, () if login.locked else reach)

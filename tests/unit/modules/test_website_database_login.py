"""The login check: as the website itself, at each address, without ever telling a password."""

import json
from pathlib import Path
from typing import Any

import pytest
import website_database_login as login
from ansible.module_utils import database
from database_cases import website

SERVERS = {"db1": ["10.0.0.21", "fd00::21"]}
NAME = website()["name"]


class Engine:
    """Answers like a server that knows one password, or like none at `dead` addresses."""

    def __init__(self, dead: tuple[str, ...] = ()) -> None:
        self.calls: list[str] = []
        self.dead = dead

    def __call__(self, address: str, account: str, password: str) -> None:
        self.calls.append(address)
        if address in self.dead:
            raise login.Unreachable("timed out")
        if password != f"secret of {account}":
            raise login.Denied(f"Access denied for {account}, {password}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(database, "CREDENTIALS", tmp_path)
    monkeypatch.setattr(login, "AT_ONCE", 1)
    return tmp_path


def keep(folder: Path, account: str, password: str | None = None) -> None:
    (folder / f"{account}.json").write_text(json.dumps({"password": password or f"secret of {account}"}))


def probe(engine: Engine, *websites: dict[str, Any], servers: Any = SERVERS, only: Any = ()) -> Any:
    return login.probe(websites, "web1", servers, only, {"mariadb": engine, "postgresql": engine})


def test_probe_logs_in_at_every_address(folder: Path) -> None:
    keep(folder, "w20001")
    engine = Engine()
    assert probe(engine, website()) == ({NAME: {"database": {"login": True, "error": None}}}, [])
    assert engine.calls == SERVERS["db1"]


def test_probe_leaves_out_other_hosts_other_states_and_unselected_websites(folder: Path) -> None:
    wishes = (website(1, web_host="web2"), website(2, state="archived"), website(3, database=None), website(4))
    assert probe(Engine(), *wishes, only=["opd5.tarakankota.go.id"]) == ({}, [])


def test_probe_tells_a_refused_login_without_the_password(folder: Path) -> None:
    keep(folder, "w20001", "hunter2hunter2")
    probes, failures = probe(Engine(), website())
    assert probes[NAME]["database"]["login"] is False
    assert failures[0].startswith(f"{NAME}: its database user w20001 cannot log in from web1: mariadb at 10.0.0.21")
    assert "hunter2" not in repr((probes, failures))


def test_probe_tells_a_missing_credential(folder: Path) -> None:
    assert "there is no credential in" in probe(Engine(), website())[1][0]


def test_probe_tells_a_damaged_credential(folder: Path) -> None:
    (folder / "w20001.json").write_text("{")
    assert "is not JSON" in probe(Engine(), website())[1][0]


def test_probe_tells_a_server_without_address(folder: Path) -> None:
    keep(folder, "w20001")
    assert "no address of db1 is known" in probe(Engine(), website(), servers={})[1][0]


def test_probe_asks_a_dead_server_once_only(folder: Path) -> None:
    """A thousand time-outs of five seconds would hold a run for over an hour."""
    for number in (1, 2, 3):
        keep(folder, f"w2000{number}")
    engine = Engine(dead=("10.0.0.21",))
    failures = probe(engine, website(1), website(2), website(3))[1]
    assert len(failures) == 3 and engine.calls == ["10.0.0.21"]


def test_probe_tells_a_malformed_website_and_asks_for_the_others(folder: Path) -> None:
    keep(folder, "w20002")
    probes, failures = probe(Engine(), website(uid=0), website(2))
    assert [*probes] == [website(2)["name"]] and failures == [f"{NAME}: the desired state's uid of {NAME!r} is 0"]

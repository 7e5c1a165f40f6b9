"""The desired state follows from the register alone; places are given once and never twice."""

from __future__ import annotations

import json

import pytest

from driver.desk import Desk, failing
from sop_driver import desired
from sop_driver.errors import Failed
from sop_driver.proof import leaf_hash

NAME = "dinkes.tarakankota.go.id"


def test_fold_is_the_same_whenever_it_is_asked(desk: Desk) -> None:
    desk.run(desk.approved())
    desk.submit(kind="update", title="Not yet approved")
    state = desired.fold(desk.office.register)
    assert state == desired.fold(desk.office.register) and state[NAME]["title"] == "Dinas Kesehatan"
    assert desired.read(desk.office.home.desired) == state


def test_row_has_every_field_of_the_contract(desk: Desk) -> None:
    desk.run(desk.approved(runtime="php", database="postgresql"))
    row = desired.fold(desk.office.register)[NAME]
    assert set(row) == {
        "name",
        "state",
        "uid",
        "aliases",
        "title",
        "agency",
        "unit",
        "agenda",
        "request",
        "runtime",
        "php_version",
        "program",
        "entry",
        "document_root",
        "writable",
        "setup_script",
        "probe",
        "release",
        "database",
        "web_host",
        "address",
        "size",
        "waf",
        "created_by",
    }
    assert row["database"] == {"engine": "postgresql", "host": "db1"} and row["created_by"] == "run-000001"
    assert row["probe"] == {"path": "/", "contains": "Dinas Kesehatan"} and row["release"]["size"] > 0
    assert row["address"] == {"ipv4": "198.51.100.11", "ipv6": "2001:db8:77::11", "own": False}


def test_uid_of_a_failed_run_is_not_used_again(desk: Desk) -> None:
    request = desk.approved()
    desk.fleet.faults["probe.yml"] = failing
    with pytest.raises(Failed):
        desk.run(request)
    desk.fleet.faults.clear()
    desk.run(request)
    assert desired.fold(desk.office.register)[NAME]["uid"] == desired.FIRST_UID + 1


def test_large_websites_weigh_more(desk: Desk) -> None:
    desk.run(desk.approved(name="big.tarakankota.go.id", size="large"))
    requests = [desk.approved(name=f"a{n}.tarakankota.go.id") for n in range(3)]
    desk.run(*requests)
    hosts = {name: row["web_host"] for name, row in desired.fold(desk.office.register).items()}
    assert hosts.pop("big.tarakankota.go.id") == "web1" and set(hosts.values()) == {"web2"}


def test_an_update_may_bring_a_first_database(desk: Desk) -> None:
    desk.run(desk.approved(runtime="php"))
    desk.run(desk.approved(kind="update", runtime="php", database="mariadb"))
    assert desired.fold(desk.office.register)[NAME]["database"] == {"engine": "mariadb", "host": "db1"}


def test_document_names_the_register_it_follows_from(desk: Desk) -> None:
    desk.run(desk.approved())
    found = json.loads(desk.office.home.desired.read_text())
    *_, installed = desk.office.register.texts(kind="step")  # the records come after it
    followed = {"sequence": json.loads(installed)["sequence"], "hash": leaf_hash(installed).hex()}
    assert found["format"] == 1 and followed.items() <= found["register"].items()

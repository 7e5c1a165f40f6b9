"""What must hold once websites were changed and added (stages/change.yml), of these and of their neighbours."""

import json
from typing import Any

import pytest
from engines import enter, mariadb, me, other, postgresql

# database server -> engine and account: another size and password, new, untouched
CHANGED = {"sop-database-d12": ("mariadb", "w20001"), "sop-database-d13": ("postgresql", "w20004")}
FURTHER = {"sop-database-d12": ("postgresql", "w20006"), "sop-database-d13": ("mariadb", "w20007")}
UNTOUCHED = {"sop-database-d12": ("postgresql", "w20002"), "sop-database-d13": ("mariadb", "w20003")}
NAMES = {"sop-database-d12": {"dinkes.tarakankota.go.id", "layanan.tarakankota.go.id"},
         "sop-database-d13": {"pustaka.tarakankota.go.id", "wisata.tarakankota.go.id"}}


def stored(account: str) -> str:
    return f"/etc/websites/credentials/{account}.json"


@pytest.fixture
def server(host: Any, addresses: dict[str, list[str]]) -> str:
    """The address of the server that has this web host's databases."""
    return addresses[other(host)][0]


def accounts(host: Any) -> set[str]:
    """Every account of both engines as it is now, in the words of stages/change.yml."""
    return {*mariadb(host, "SELECT User, Host, Priv FROM mysql.global_priv"),
            *postgresql(host, "SELECT rolname, rolpassword, rolconnlimit, rolcanlogin FROM pg_authid")}


def test_change_is_told_and_nothing_else(host: Any) -> None:
    """The plan that an administrator approves must name each website that is touched, and no other."""
    told = json.loads(host.file("/root/change.json").content_string)
    assert {change["website"] for change in told if change["website"]} == NAMES[me(host)]
    assert not any(change["action"] in ("remove", "purge", "suspend") for change in told)


def test_neighbours_accounts_are_as_they_were(host: Any) -> None:
    """Passwords, limits and locks: a change of one website must not end the connections of all."""
    before = set(host.file("/root/accounts.before").content_string.splitlines())
    ours = (CHANGED[me(host)][1], FURTHER[me(host)][1])
    differ = before ^ accounts(host)
    assert differ and all(row.startswith(ours) for row in differ)


def test_neighbour_logs_in(host: Any, server: str) -> None:
    """That nothing of it changed is shown by its own login."""
    engine, account = UNTOUCHED[other(host)]
    assert enter(host, engine, server, account, account, stored(account)) == "in"


def test_changed_website_logs_in_with_its_new_password_only(host: Any, server: str) -> None:
    """A password is changed because somebody may have the old one."""
    engine, account = CHANGED[other(host)]
    assert enter(host, engine, server, account, account, stored(account)) == "in"
    assert enter(host, engine, server, account, account, f"/root/{account}.json").startswith("out:")


def test_connections_follow_the_new_size(host: Any) -> None:
    """A website that outgrew its size waits for connections, whatever its server could give."""
    engine, account = CHANGED[me(host)]
    rows = (mariadb(host, "SELECT User, max_user_connections FROM mysql.user") if engine == "mariadb" else
            postgresql(host, "SELECT rolname, rolconnlimit FROM pg_roles"))
    assert {row.replace("|", "\t") for row in rows if row.startswith(account)} == {f"{account}\t25"}


def test_further_website_logs_in(host: Any, server: str) -> None:
    """A website is added to a server that has others, not only to an empty one."""
    engine, account = FURTHER[other(host)]
    assert enter(host, engine, server, account, account, stored(account)) == "in"


@pytest.mark.parametrize("mine", [FURTHER, UNTOUCHED])
def test_neighbours_on_one_engine_do_not_reach_each_other(
        host: Any, server: str, mine: dict[str, tuple[str, str]]) -> None:
    """From the same web host, neither by the own login nor by the neighbour's name with the own password."""
    engine, account = mine[other(host)]
    _, neighbour = (UNTOUCHED if mine is FURTHER else FURTHER)[other(host)]
    for user in (account, neighbour):
        assert enter(host, engine, server, user, neighbour, stored(account)).startswith("out:")

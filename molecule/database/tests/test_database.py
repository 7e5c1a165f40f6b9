"""What must hold on each database server, and on each web host towards the other's databases."""

import json
from typing import Any

import pytest
from engines import ACCOUNTS, login, mariadb, me, other, postgresql


@pytest.mark.parametrize("port", [3306, 5432])
def test_engine_listens_on_the_servers_network_only(host: Any, addresses: dict[str, list[str]], port: int) -> None:
    """A public address, or all of them, would hand every website's data to password guessers."""
    lines = host.run("ss -Hltn sport = :%s", str(port)).stdout.splitlines()
    assert sorted(line.split()[3].rsplit(":", 1)[0].strip("[]") for line in lines) == sorted(addresses[me(host)])


@pytest.mark.parametrize("unit", ["mariadb", "postgresql"])
def test_engine_runs_and_starts_at_boot(host: Any, unit: str) -> None:
    """A server that comes back from a power cut must serve without hands."""
    assert host.service(unit).is_running and host.service(unit).is_enabled


def test_mariadb_has_no_anonymous_and_no_remote_root_account(host: Any) -> None:
    """These are the accounts that scanners try first."""
    rows = mariadb(host, "SELECT CONCAT(User, '@', Host) FROM mysql.global_priv WHERE User IN ('', 'root')")
    assert rows == ["root@localhost"]


def test_mariadb_has_no_test_database(host: Any) -> None:
    """Anybody may write to a database of that name by default, and fill the disk."""
    assert "test" not in mariadb(host, "SHOW DATABASES")


def test_mariadb_root_comes_by_the_socket(host: Any) -> None:
    """An administrator's password would have to be kept somewhere."""
    [priv] = mariadb(host, "SELECT Priv FROM mysql.global_priv WHERE User = 'root'")
    assert "unix_socket" in priv and json.loads(priv).get("authentication_string", "invalid") in ("", "invalid")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("local_infile", "0"), ("character_set_server", "utf8mb4"), ("skip_name_resolve", "1")],
)
def test_mariadb_is_configured(host: Any, variable: str, value: str) -> None:
    """No file of a web host through SQL; every script and emoji of a citizen's name; no wait for a resolver."""
    assert mariadb(host, f"SELECT @@global.{variable}") == [value]


def test_mariadb_refuses_values_that_do_not_fit(host: Any) -> None:
    """Without the strict mode it would store something else than what the website wrote."""
    assert "STRICT_ALL_TABLES" in mariadb(host, "SELECT @@global.sql_mode")[0]


def test_memory_of_both_engines_follows_the_servers(host: Any) -> None:
    """Fixed sizes starve a big server and drown a small one; vars/main.yml asks for a tenth for each."""
    total = int(host.check_output("awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"))
    pool = int(mariadb(host, "SELECT @@innodb_buffer_pool_size DIV 1048576")[0])
    buffers = int(postgresql(host, "SELECT pg_size_bytes(current_setting('shared_buffers')) / 1048576")[0])
    assert pool == pytest.approx(total / 10, abs=130) and buffers == pytest.approx(total / 10, abs=2)


def test_postgresql_takes_the_whole_of_its_access_file(host: Any) -> None:
    """One line in error, and PostgreSQL goes on with the old file, or does not start at all."""
    assert postgresql(host, "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL") == []


def test_websites_have_an_account_for_their_web_host_only(host: Any, addresses: dict[str, list[str]]) -> None:
    """An account for any host would make a stolen password useful everywhere on the network."""
    mine = ACCOUNTS[other(host)]
    [maria] = [account for account, engine in mine.items() if engine == "mariadb"]
    [postgres] = [account for account, engine in mine.items() if engine == "postgresql"]
    rows = mariadb(host, "SELECT User, Host FROM mysql.global_priv WHERE User LIKE 'w2%' ORDER BY 2")
    assert rows == [f"{maria}\t{address}" for address in sorted(addresses[other(host)])]
    assert mariadb(host, "SHOW DATABASES LIKE 'w2%'") == [maria]
    sql = "SELECT datname, pg_get_userbyid(datdba), has_database_privilege('public', oid, 'CONNECT') FROM pg_database"
    assert postgresql(host, f"{sql} WHERE datname LIKE 'w2%'") == [f"{postgres}|{postgres}|f"]


def test_websites_have_no_right_beyond_their_own_database(host: Any) -> None:
    """A grant on one table of a neighbour's, or a role, opens it as well as one on the whole server."""
    sql = """SELECT * FROM (SELECT User, Db FROM mysql.db UNION SELECT User, Db FROM mysql.tables_priv
        UNION SELECT User, Db FROM mysql.columns_priv UNION SELECT User, Db FROM mysql.procs_priv
        UNION SELECT User, Role FROM mysql.roles_mapping) AS found WHERE User LIKE 'w2%'"""
    [maria] = [account for account, engine in ACCOUNTS[other(host)].items() if engine == "mariadb"]
    assert mariadb(host, sql) == [f"{maria}\t{maria}"]
    sql = "SELECT User FROM mysql.global_priv WHERE User LIKE 'w2%' AND JSON_VALUE(Priv, '$.access') > 0"
    assert mariadb(host, sql) == []


def test_connections_are_limited_by_the_websites_size(host: Any) -> None:
    """One website under load must leave the others their connections."""
    rows = mariadb(host, "SELECT max_user_connections FROM mysql.user WHERE User LIKE 'w2%'")
    assert rows == ["10", "10"]
    large = {"w20002": "10", "w20004": "60"}
    [row] = postgresql(host, "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'w2%'")
    assert row.split("|")[1] == large[row.split("|")[0]]


def test_website_logs_in_and_makes_a_table_from_its_web_host(host: Any, addresses: dict[str, list[str]]) -> None:
    """An account that exists and cannot work is worse than none: it is found by visitors."""
    for account in ACCOUNTS[me(host)]:
        for address in addresses[other(host)]:
            assert login(host, account, address) == "in"


def test_website_reaches_no_database_but_its_own(host: Any, addresses: dict[str, list[str]]) -> None:
    """One broken website must not open its neighbours' data."""
    for account, engine in ACCOUNTS[me(host)].items():
        for database in ("mysql", "w20099") if engine == "mariadb" else ("postgres", "template1"):
            assert login(host, account, addresses[other(host)][0], database).startswith("out:")


def test_website_cannot_log_in_from_another_host(host: Any, addresses: dict[str, list[str]]) -> None:
    """Here the web host asks its own engines, which keep other web hosts' websites: the password fits none."""
    for account in ACCOUNTS[me(host)]:
        assert login(host, account, addresses[me(host)][0]).startswith("out:")


def test_credentials_are_for_root_only(host: Any) -> None:
    """Websites run on this host; none may read another's password."""
    folder = host.file("/etc/websites/credentials")
    assert (folder.mode, folder.user) == (0o700, "root")
    assert {host.file(f"/etc/websites/credentials/{name}").mode for name in folder.listdir()} == {0o600}
    assert sorted(folder.listdir()) == [f"{account}.json" for account in sorted(ACCOUNTS[me(host)])]


def test_no_password_is_on_the_database_server(host: Any) -> None:
    """Its backups and logs would carry them away."""
    for account in ACCOUNTS[other(host)]:
        assert not host.file(f"/etc/websites/credentials/{account}.json").exists


def test_state_is_for_root_only(host: Any) -> None:
    """Who writes the marks decides what may be purged."""
    state = host.file("/var/lib/websites/database")
    assert (state.mode, state.user) == (0o700, "root")
    assert host.file("/var/lib/websites/database/owned.json").mode == 0o600


def test_hostile_title_ran_nowhere(host: Any) -> None:
    """The websites' titles in vars/main.yml hold a template and a statement."""
    assert not host.file("/x").exists and "mysql" in mariadb(host, "SHOW DATABASES")

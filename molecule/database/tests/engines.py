"""Asks both engines, as their administrator on the server and as a website from its web host."""

from typing import Any

BOTH = ("sop-database-d12", "sop-database-d13")
# web host -> account -> engine and server, as vars/main.yml has them
ACCOUNTS = {
    "sop-database-d13": {"w20001": "mariadb", "w20002": "postgresql"},
    "sop-database-d12": {"w20003": "mariadb", "w20004": "postgresql"},
}
# Prints what came of one login with a stored password, which so is on no command line.
LOGIN = """
import json, pathlib, sys
engine, server, user, database, stored = sys.argv[1:]
password = json.loads(pathlib.Path(stored).read_text())["password"]
try:
    if engine == "mariadb":
        import pymysql as driver
        connection = driver.connect(host=server, user=user, password=password, database=database, connect_timeout=5)
    else:
        import psycopg2 as driver
        connection = driver.connect(host=server, user=user, password=password, dbname=database, connect_timeout=5)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE probe (a int)")
    cursor.execute("DROP TABLE probe")
    print("in")
except driver.Error as error:
    print(f"out: {error}")
"""


def me(host: Any) -> str:
    return str(host.backend.get_hostname())


def other(host: Any) -> str:
    return next(name for name in BOTH if name != me(host))


def mariadb(host: Any, sql: str) -> list[str]:
    done = host.run("mariadb --batch --raw --skip-column-names --execute %s", sql)
    assert done.rc == 0, done.stderr
    return list(done.stdout.splitlines())


def postgresql(host: Any, sql: str) -> list[str]:
    done = host.run("psql --username=postgres --no-align --tuples-only --command=%s", sql)
    assert done.rc == 0, done.stderr
    return list(done.stdout.splitlines())


def enter(host: Any, engine: str, server: str, account: str, database: str, stored: str) -> str:
    """What this host gets when it logs in as an account with the password that a file of credentials holds."""
    done = host.run("/usr/bin/python3 -c %s %s %s %s %s %s", LOGIN, engine, server, account, database, stored)
    assert done.rc == 0, done.stderr
    return str(done.stdout.strip())


def login(host: Any, account: str, server: str, database: str = "") -> str:
    """The same with the account's own stored password."""
    stored = f"/etc/websites/credentials/{account}.json"
    return enter(host, ACCOUNTS[me(host)][account], server, account, database or account, stored)

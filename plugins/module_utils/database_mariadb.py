"""MariaDB as the database layer sees it: what its catalogs say, and the statements from one state to another."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.module_utils.database import VERIFIERS, Database, Login, Seen, Step, of_accounts
from ansible.module_utils.transaction import Refused

NATIVE = "mysql_native_password"
CATALOG = {
    "databases": "SELECT schema_name FROM information_schema.schemata WHERE schema_name REGEXP '^w[0-9]+$'",
    "accounts": "SELECT User, Host, Priv FROM mysql.global_priv WHERE User REGEXP '^w[0-9]+$'",
    "grants": "SELECT User, Host, Db, Grant_priv, {held} FROM mysql.db WHERE User REGEXP '^w[0-9]+$'",
}
# Each version has its own privileges. They come as one word: a thousand websites have some fifty thousand of them.
PRIVILEGES = "SHOW COLUMNS FROM mysql.db WHERE Field LIKE '%_priv' AND Field != 'Grant_priv'"
MEMBER = "member of "
# What is granted in smaller parts, and by roles: user, host, and the words for it. Nothing of it is ours.
PARTS = (
    "SELECT User, Host, 'on table ', Db, '.', Table_name FROM mysql.tables_priv WHERE User REGEXP '^w[0-9]+$'",
    "SELECT User, Host, 'on columns of ', Db, '.', Table_name FROM mysql.columns_priv WHERE User REGEXP '^w[0-9]+$'",
    "SELECT User, Host, 'on routine ', Db, '.', Routine_name FROM mysql.procs_priv WHERE User REGEXP '^w[0-9]+$'",
    "SELECT User, Host, 'member of ', Role FROM mysql.roles_mapping WHERE User REGEXP '^w[0-9]+$'",
)


def seen(databases: Iterable[str], accounts: Iterable[tuple[str, str, str]],
         grants: Iterable[tuple[str, ...]], parts: Iterable[tuple[str, ...]] = ()) -> dict[str, Seen]:
    """Account name -> what exists, from the rows of CATALOG and of PARTS."""
    names, logins = set(databases), {}
    given: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    beyond: dict[tuple[str, str], set[str]] = {}
    for user, host, *words in parts:
        beyond.setdefault((user, host), set()).add("".join(words))
    for user, host, *rest in grants:
        given.setdefault((user, host), []).append(tuple(rest))
    for user, host, text in accounts:
        priv = json.loads(text)
        native = priv.get("plugin") == NATIVE and "auth_or" not in priv
        logins.setdefault(user, {})[host] = Login(
            priv.get("authentication_string") if native else None,
            bool(priv.get("account_locked")), int(priv.get("max_user_connections", 0)),
            extra(user, priv, given.get((user, host), []), beyond.get((user, host), set())),
        )
    reach = {
        name: tuple(sorted(at for at, login in found.items() if not login.locked)) for name, found in logins.items()
    }
    return {
        name: Seen(Database() if name in names else None, logins.get(name, {}), reach.get(name, ()))
        for name in names | set(logins)
    }


def extra(
    user: str, priv: Mapping[str, Any], grants: list[tuple[str, ...]], parts: Collection[str]
) -> tuple[str, ...]:
    """What an account may do beyond all on its own database, and what it lacks of that."""
    found = [*parts, *(["on the whole server"] if priv.get("access") else [])]
    own = False
    for on, handed_on, held in grants:
        if on != user:
            found.append(f"on {on}")
        elif set(held) == {"Y"} and handed_on == "N":
            own = True
    return tuple(sorted(found if own else [*found, "not all on its own"]))


def identified(login: Login) -> str | None:
    """How an account proves itself, or None where that is not ours to write back."""
    if login.verifier and VERIFIERS["mariadb"].match(login.verifier):
        return f"IDENTIFIED VIA {NATIVE} USING '{login.verifier}'"
    return None


def _options(login: Login) -> str:
    return f"WITH MAX_USER_CONNECTIONS {login.limit} ACCOUNT {'LOCK' if login.locked else 'UNLOCK'}"


def _grants(account: str, who: str) -> list[Step]:
    return [
        Step(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}", None, f"REVOKE ALL FROM {who}"),
        Step(f"GRANT ALL PRIVILEGES ON `{account}`.* TO {who}", None, f"GRANT ALL ON {account} TO {who}"),
    ]


def _memberships(who: str, login: Login) -> list[Step]:
    """An account's roles, which revoking all that it has itself would leave."""
    roles = [item.removeprefix(MEMBER).replace("`", "``") for item in login.extra if item.startswith(MEMBER)]
    return [Step(f"REVOKE `{role}` FROM {who}", None, f"REVOKE `{role}` FROM {who}") for role in roles]


def _create(account: str, who: str, login: Login) -> list[Step]:
    how = identified(login) or f"IDENTIFIED VIA {NATIVE} USING 'invalid'"
    make = Step(f"CREATE USER {who} {how} {_options(login)}", f"DROP USER {who}", f"CREATE USER {who}")
    return [make, *_grants(account, who)]


def steps(account: str, before: Seen, after: Seen) -> list[Step]:
    """The statements from `before` to `after`, in order; new accounts before old ones go."""
    found: list[Step] = []
    if after.database and not before.database:
        found.append(Step(f"CREATE DATABASE `{account}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
                          f"DROP DATABASE `{account}`", f"CREATE DATABASE {account}"))
    for host, login in after.logins.items():
        who, old = f"'{account}'@'{host}'", before.logins.get(host)
        if old is None:
            found += _create(account, who, login)
            continue
        if (old.verifier, old.locked, old.limit) != (login.verifier, login.locked, login.limit):
            now, was = ([identified(state) if old.verifier != login.verifier else "", _options(state)]
                        for state in (login, old))
            undo = f"ALTER USER {who} {' '.join(was)}" if None not in was else None
            found.append(Step(f"ALTER USER {who} {now[0] or ''} {now[1]}", undo, f"ALTER USER {who}"))
        if old.extra and not login.extra:
            found += [*_memberships(who, old), *_grants(account, who)]
    for host, login in before.logins.items():
        if host not in after.logins:
            who = f"'{account}'@'{host}'"
            back = "; ".join(step.sql for step in _create(account, who, login)) if after.database else None
            found.append(Step(f"DROP USER {who}", back, f"DROP USER {who}"))
    if before.database and not after.database:
        found.append(Step(f"DROP DATABASE `{account}`", None, f"DROP DATABASE {account}"))
    if after.logins and all(login.locked for login in after.logins.values()):
        found.append(Step(f"KILL USER {account}", None, f"KILL USER {account}"))
    return found


class MariaDB:
    """The server at the local socket; raises Refused in words that hold no verifier."""

    title = "MariaDB"

    def __init__(self, socket: str = "/run/mysqld/mysqld.sock") -> None:
        try:
            import pymysql
        except ImportError as error:
            raise Refused("python3-pymysql is missing", "run playbooks/servers.yml") from error
        self.errors = pymysql.MySQLError
        try:
            self.connection = pymysql.connect(unix_socket=socket, user="root", charset="utf8mb4", autocommit=True,
                                              connect_timeout=10, read_timeout=600)
        except self.errors as error:
            raise Refused(f"MariaDB does not answer at {socket}: {error}",
                          "start it: systemctl start mariadb") from error

    def rows(self, sql: str, label: str = "a look at its catalogs") -> list[Any]:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        except self.errors as error:
            said = re.sub(r"\*[0-9A-F]{8,}", "…", str(error.args[-1] if error.args else "no answer"))
            raise Refused(f"MariaDB refused {label}: {said}", "mend what it names, then run again") from error

    def data_folder(self) -> str:
        return str(self.rows("SELECT @@datadir")[0][0])

    def version(self) -> str:
        return str(self.rows("SELECT VERSION()")[0][0]).split()[0]

    def read(self, accounts: Collection[str] | None = None) -> dict[str, Seen]:
        look = {name: of_accounts(sql, accounts) for name, sql in CATALOG.items()}
        held = f"CONCAT({', '.join(row[0] for row in self.rows(PRIVILEGES))})"
        return seen((row[0] for row in self.rows(look["databases"])), self.rows(look["accounts"]),
                    self.rows(look["grants"].format(held=held)),
                    [row for sql in PARTS for row in self.rows(of_accounts(sql, accounts))])

    def steps(self, account: str, before: Seen, after: Seen) -> list[Step]:
        return steps(account, before, after)

    def execute(self, sql: str, label: str) -> None:
        for part in sql.split("; "):
            self.rows(part, label=label)

    def release(self, account: str) -> None:
        """Nothing: no other website can have granted this account anything."""

    def let_in(self, reach: Mapping[str, tuple[str, ...]]) -> None:
        """Nothing: an account of MariaDB names its addresses itself."""

    def undo_let_in(self) -> None:
        """Nothing, likewise."""

    def unexplained(self, reach: Mapping[str, tuple[str, ...]], moved: set[str]) -> list[Any]:
        return []

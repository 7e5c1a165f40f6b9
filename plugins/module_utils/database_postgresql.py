"""PostgreSQL as the database layer sees it: catalogs, statements, and the lists of who may come from which web host."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.module_utils.database import VERIFIERS, Database, Login, Seen, Step, addresses, of_accounts
from ansible.module_utils.transaction import Change, Refused, run, write_atomic

# An empty list would shift the columns of its line in pg_hba.conf, so each holds a name that nobody has.
NOBODY = "websites_none"
PLAIN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
SESSIONS_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ACCOUNT'"
GRANTED_ELSEWHERE = """
    SELECT DISTINCT coalesce(datname, 'postgres') FROM pg_shdepend LEFT JOIN pg_database ON pg_database.oid = dbid
    WHERE refclassid = 'pg_authid'::regclass AND refobjid = to_regrole('ACCOUNT')
    AND datname IS DISTINCT FROM 'ACCOUNT'"""
CATALOG = {
    "databases": """
        SELECT datname, pg_get_userbyid(datdba), EXISTS (
            SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)
        FROM pg_database WHERE datname ~ '^w[0-9]+$'""",
    # What a role is granted in another database is worth nothing: pg_hba.conf lets it into that of its own name alone.
    "roles": """
        SELECT rolname, rolpassword, rolcanlogin, rolconnlimit,
            array_remove(ARRAY[CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolcreatedb THEN 'createdb' END,
                CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolreplication THEN 'replication' END,
                CASE WHEN rolbypassrls THEN 'bypassrls' END], NULL),
            ARRAY(SELECT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE member = pg_authid.oid)
        FROM pg_authid WHERE rolname ~ '^w[0-9]+$'""",
    "rules": "SELECT line_number, database, user_name, address, auth_method, error FROM pg_hba_file_rules",
}


def seen(databases: Iterable[tuple[str, str, bool]], roles: Iterable[tuple[Any, ...]],
         reach: Mapping[str, tuple[str, ...]]) -> dict[str, Seen]:
    """Account name -> what exists, from the rows of CATALOG and the addresses that the lists give it."""
    found = {name: Database(owner, public) for name, owner, public in databases}
    logins = {
        name: {"*": Login(verifier, not can_login, limit, (*flags, *(f"member of {role}" for role in sorted(member))))}
        for name, verifier, can_login, limit, flags, member in roles
    }
    return {name: Seen(found.get(name), logins.get(name, {}), reach.get(name, ())) for name in {*found, *logins}}


def _role(login: Login, verifier: bool) -> str:
    password = f" PASSWORD '{login.verifier}'" if verifier and login.verifier else ""
    return f"{'NOLOGIN' if login.locked else 'LOGIN'} CONNECTION LIMIT {login.limit}{password}"


def _role_steps(account: str, old: Login | None, new: Login | None) -> list[Step]:
    if new is None:
        return []
    if old is None:
        return [Step(f"CREATE ROLE {account} {PLAIN} {_role(new, True)}", f"DROP ROLE {account}",
                     f"CREATE ROLE {account}")]
    found = []
    if old._replace(extra=()) != new._replace(extra=()):
        changed = old.verifier != new.verifier
        known = not changed or (old.verifier and VERIFIERS["postgresql"].match(old.verifier))
        found.append(Step(f"ALTER ROLE {account} {_role(new, changed)}",
                          f"ALTER ROLE {account} {_role(old, changed)}" if known else None, f"ALTER ROLE {account}"))
    if old.extra and not new.extra:
        found.append(Step(f"ALTER ROLE {account} {PLAIN}", None, f"ALTER ROLE {account}"))
        for item in old.extra:
            if item.startswith("member of "):
                role = item.removeprefix("member of ").replace('"', '""')
                found.append(Step(f'REVOKE "{role}" FROM {account}', None, f"REVOKE FROM {account}"))
    return found


def steps(account: str, before: Seen, after: Seen) -> list[Step]:
    """The statements from `before` to `after`, in order: a role owns its database, so it comes first and goes last."""
    new = after.logins.get("*")
    found = _role_steps(account, before.logins.get("*"), new)
    if after.database and not before.database:
        # template0, so that neither the cluster's own locale nor what somebody put into template1 gets in.
        found.append(Step(f"CREATE DATABASE {account} OWNER {account} TEMPLATE template0 ENCODING 'UTF8' "
                          "LOCALE_PROVIDER libc LOCALE 'C.UTF-8'",
                          f"DROP DATABASE {account} WITH (FORCE)", f"CREATE DATABASE {account}"))
        found.append(Step(f"REVOKE ALL ON DATABASE {account} FROM PUBLIC", None, f"REVOKE ON DATABASE {account}"))
    elif after.database and before.database != after.database:
        found.append(Step(f"ALTER DATABASE {account} OWNER TO {account}", None, f"ALTER DATABASE {account}"))
        found.append(Step(f"REVOKE ALL ON DATABASE {account} FROM PUBLIC", None, f"REVOKE ON DATABASE {account}"))
    elif before.database and not after.database:
        found.append(Step(f"DROP DATABASE {account} WITH (FORCE)", None, f"DROP DATABASE {account}"))
    if before.logins and new is None:
        found.append(Step(f"DROP ROLE {account}", None, f"DROP ROLE {account}"))
    if new and new.locked:
        found.append(Step(SESSIONS_END.replace("ACCOUNT", account), None, f"ending the sessions of {account}"))
    return found


def members(text: str) -> set[str]:
    """The account names in a list file."""
    return set(text.split()) - {NOBODY}


def lists(reach: Mapping[str, tuple[str, ...]], web_hosts: Mapping[str, list[str]]) -> dict[str, str]:
    """Web host -> the text of its list, from each account's addresses."""
    inside = {host: tuple(sorted(addresses(at))) for host, at in web_hosts.items()}
    return {
        host: "\n".join([NOBODY, *sorted(account for account, at in reach.items() if at == own)]) + "\n"
        for host, own in inside.items()
    }


def unexplained(files: Mapping[str, str], wanted: Mapping[str, str], moved: set[str]) -> list[Change]:
    """Changes of the lists that no website's own change tells: names that somebody put there or took away by hand."""
    found = []
    for host in sorted(wanted):
        text = files.get(host, "")
        differ = members(text) ^ members(wanted[host])
        if differ - moved or (not differ and text != wanted[host]):
            found.append(Change(None, f"list of database users of {host}", "update",
                                {"users": len(members(text))}, {"users": len(members(wanted[host]))}))
    return found


def closed(rules: Iterable[tuple[Any, ...]], reach: Mapping[str, tuple[str, ...]]) -> str | None:
    """Why pg_hba.conf does not let every account in from its addresses, or None where it does."""
    open_ways = set()
    for line, databases, users, address, method, error in rules:
        if error:
            return f"line {line} of pg_hba.conf: {error}"
        if databases == ["sameuser"] and method == "scram-sha-256":
            open_ways |= {(user, address) for user in users}
    for account, at in sorted(reach.items()):
        for address in at:
            if (account, address) not in open_ways:
                return f"pg_hba.conf has no line that lets {account} in from {address}"
    return None


class PostgreSQL:
    """The cluster at the local socket, as root by way of its peer map."""

    title = "PostgreSQL"

    def __init__(self, web_hosts: Mapping[str, list[str]], socket: str = "/var/run/postgresql") -> None:
        try:
            import psycopg2
        except ImportError as error:
            raise Refused("python3-psycopg2 is missing", "run playbooks/servers.yml") from error
        self.connector, self.errors = psycopg2.connect, psycopg2.Error
        self.socket, self.web_hosts = socket, web_hosts
        self.connection = self._connect("postgres")
        self.folder = pathlib.Path(self.rows("SHOW hba_file")[0][0]).parent
        self.files = self._files()

    def _connect(self, name: str) -> Any:
        try:
            # A failed statement would otherwise be logged with the verifier in it. A website's own login can hold a
            # lock on its role and its database for as long as it likes.
            connection = self.connector(
                dbname=name, user="postgres", host=self.socket, connect_timeout=10,
                options="-c log_min_error_statement=panic -c log_statement=none -c log_min_duration_statement=-1 "
                        "-c lock_timeout=10s")
        except self.errors as error:
            raise Refused(f"PostgreSQL does not answer at {self.socket}: {str(error).strip()}",
                          "start it: systemctl start postgresql; or run playbooks/servers.yml") from error
        connection.autocommit = True
        return connection

    def _files(self) -> dict[str, str]:
        paths = {host: self.folder / f"websites_{host}" for host in self.web_hosts}
        return {host: path.read_text() for host, path in paths.items() if path.exists()}

    def rows(self, sql: str, label: str = "a look at its catalogs", connection: Any = None) -> list[tuple[Any, ...]]:
        try:
            with (connection or self.connection).cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
        except self.errors as error:
            said = re.sub(r"SCRAM-SHA-256\S*", "…", (str(error).strip() or "no answer").splitlines()[0])
            raise Refused(f"PostgreSQL refused {label}: {said}", "mend what it names, then run again") from error

    def data_folder(self) -> str:
        return str(self.rows("SHOW data_directory")[0][0])

    def version(self) -> str:
        return str(self.rows("SHOW server_version")[0][0]).split()[0]

    def read(self, accounts: Collection[str] | None = None) -> dict[str, Seen]:
        reach: dict[str, tuple[str, ...]] = {}
        for host, text in self._files().items():
            for account in members(text):
                reach[account] = tuple(sorted({*reach.get(account, ()), *addresses(self.web_hosts[host])}))
        look = {name: of_accounts(sql, accounts) for name, sql in CATALOG.items()}
        return seen(self.rows(look["databases"]), self.rows(look["roles"]), reach)

    def steps(self, account: str, before: Seen, after: Seen) -> list[Step]:
        return steps(account, before, after)

    def execute(self, sql: str, label: str) -> None:
        self.rows(sql, label)

    def release(self, account: str) -> None:
        """Revoke what other websites granted this account in their databases: it would hold the role that goes."""
        for (name,) in self.rows(GRANTED_ELSEWHERE.replace("ACCOUNT", account)):
            with contextlib.closing(self._connect(name)) as connection:
                self.rows(f"DROP OWNED BY {account}", f"revoking what {account} was granted in {name}", connection)

    def unexplained(self, reach: Mapping[str, tuple[str, ...]], moved: set[str]) -> list[Change]:
        return unexplained(self.files, lists(reach, self.web_hosts), moved)

    def let_in(self, reach: Mapping[str, tuple[str, ...]]) -> None:
        """Write the lists, have the server check the whole of pg_hba.conf, and only then let it take them."""
        self._write(lists(reach, self.web_hosts))
        trouble = closed(self.rows(CATALOG["rules"]), reach)
        if trouble:
            raise Refused(trouble, "run playbooks/servers.yml, which writes the lines of the web hosts")
        self.rows("SELECT pg_reload_conf()", "to read its configuration again")

    def undo_let_in(self) -> None:
        self._write(self.files)
        self.rows("SELECT pg_reload_conf()")

    def _write(self, files: Mapping[str, str]) -> None:
        owner = int(run(["stat", "-c", "%g", str(self.folder / "pg_hba.conf")]))
        for host, text in files.items():
            write_atomic(self.folder / f"websites_{host}", text, 0o640, 0, owner)

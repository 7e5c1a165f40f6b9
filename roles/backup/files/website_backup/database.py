"""Dump and load a website's database with the website's own credential, from its own server."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

from website_backup import loadable
from website_backup.settings import Settings, Website
from website_backup.transaction import Refused, read_json

TIMEOUT = 6 * 3600.0
LOGINS, LOGIN = pathlib.Path("/run"), "website-backup-"
# A client that outlived a killed run would go on writing to a database that the next one puts back.
TIED = ["setpriv", "--pdeathsig", "KILL"]
COMPLETE = {
    "mariadb": re.compile(rb"^-- Dump completed", re.MULTILINE),
    "postgresql": re.compile(rb"^-- PostgreSQL database dump complete$", re.MULTILINE),
}
DUMP = {
    # The dump is one snapshot of InnoDB tables; tablespaces would need a right over the whole server.
    "mariadb": ["mariadb-dump", "--single-transaction", "--no-tablespaces", "--routines", "--events", "--hex-blob"],
    "postgresql": ["pg_dump", "--no-owner", "--no-privileges", "--no-password"],
}
LOAD = {
    "mariadb": ["mariadb"],
    "postgresql": ["psql", "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-1", "-f", "-"],
}
UNCHANGED = ("psql", 3)  # an error within the one transaction that it was given, which so came to nothing
# What the website's own user may drop: everything that it made, so that nothing newer than the dump survives it.
CLEAR_MARIADB = """
SELECT CONCAT('DROP ', CASE table_type WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END,
              ' IF EXISTS `', REPLACE(table_name, '`', '``'), '`;')
FROM information_schema.tables WHERE table_schema = DATABASE()
UNION ALL
SELECT CONCAT('DROP ', routine_type, ' IF EXISTS `', REPLACE(routine_name, '`', '``'), '`;')
FROM information_schema.routines WHERE routine_schema = DATABASE()
UNION ALL
SELECT CONCAT('DROP EVENT IF EXISTS `', REPLACE(event_name, '`', '``'), '`;')
FROM information_schema.events WHERE event_schema = DATABASE()
"""
# Only this mode knows how to drop a package.
DROPPING = b"SET FOREIGN_KEY_CHECKS=0, sql_mode=ORACLE;\n"
# It leaves the owner's rights as they are, and the schema `public` unless the website made its own.
CLEAR_POSTGRESQL = b"""SET client_min_messages = error;
DROP OWNED BY CURRENT_USER CASCADE;
CREATE SCHEMA IF NOT EXISTS public;
"""


class Unchanged(Refused):
    """The database server refused a load, and the database is as it was."""


class Client:
    """A database client's way in for one website. It runs as the website's own Unix user: a dump is the website's
    text, and whatever a client might make of it gets no more than the website's own rights."""

    def __init__(self, website: Website, argv_file: str, env: dict[str, str]) -> None:
        self.website = website
        self.engine = website.database.engine if website.database else ""
        self.argv_file = argv_file
        self.env = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", **env}

    def call(self, argv: list[str], stdin: IO[bytes] | int | None = None, text: bytes | None = None,
             stdout: IO[bytes] | int = subprocess.PIPE) -> bytes:
        login = [f"--defaults-file={self.argv_file}"] if self.engine == "mariadb" else []
        words = [*TIED, argv[0], *login, *argv[1:]]
        given = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL if stdin is None else stdin}
        try:
            done = subprocess.run(words, **given, stdout=stdout, stderr=subprocess.PIPE, env=self.env, cwd="/",
                                  timeout=TIMEOUT, check=False, user=self.website.uid, group=self.website.uid,
                                  extra_groups=[])
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"{argv[0]} could not run: {error}", "run playbooks/servers.yml") from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-700:]
            refused = Unchanged if (argv[0], done.returncode) == UNCHANGED else Refused
            raise refused(f"{argv[0]} for database {self.website.account} ended with {done.returncode}: {said}",
                          "check that the database server answers and that playbooks/websites.yml ran")
        return done.stdout or b""


@contextlib.contextmanager
def client(website: Website, settings: Settings) -> Iterator[Client]:
    """A client that logs in by a 0600 file of the website's user, which is gone afterwards."""
    database = website.database
    if database is None:
        raise ValueError("a website without a database has no client")
    path = pathlib.Path(settings.credentials) / f"{website.account}.json"
    credential = read_json(path, None)
    if credential is None or credential.get("engine") != database.engine:
        raise Refused(f"{path} holds no {database.engine} credential", "run playbooks/websites.yml, which makes it")
    with tempfile.TemporaryDirectory(prefix=LOGIN, dir=LOGINS) as folder:
        file = f"{folder}/login"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as login:
            login.write(login_file(website, credential["password"]))
        for path in (file, folder):
            os.chown(path, website.uid, website.uid)
        env = {} if database.engine == "mariadb" else {
            "PGPASSFILE": file, "PGHOST": database.address, "PGPORT": str(database.port), "PGUSER": website.account,
            "PGDATABASE": website.account, "PGCONNECT_TIMEOUT": "15"}
        yield Client(website, file, env)


def login_file(website: Website, password: str) -> str:
    """The text of a MariaDB option file or of a PostgreSQL password file."""
    database = website.database
    if database is None or "\n" in password:
        raise ValueError("a password is one line, of a website that has a database")
    if database.engine == "postgresql":
        return "*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n"
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    # Clients from 11.4 on demand a certificate that they can verify, which a server without one of a CA never has.
    return (f'[client]\nhost={database.address}\nport={database.port}\nuser={website.account}\npassword="{quoted}"\n'
            "protocol=tcp\nssl-verify-server-cert=0\n")


def dump(website: Website, settings: Settings, path: pathlib.Path) -> None:
    """Stream a consistent dump into a new file of root's. Raises Refused, without the file, where it is not whole."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file, client(website, settings) as way_in:
            argv = DUMP[way_in.engine]
            way_in.call([*argv, website.account] if way_in.engine == "mariadb" else argv, stdout=file)
        if not is_complete(path, website.database.engine if website.database else ""):
            raise Refused(f"the dump of database {website.account} has no end", "run the backup again")
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def is_complete(path: pathlib.Path, engine: str) -> bool:
    """Does the dump end with the tool's own last words? (pg_dump may put an \\unrestrict line after them.)"""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return bool(COMPLETE[engine].search(file.read()))


def load(website: Website, settings: Settings, path: pathlib.Path) -> None:
    """Make the database what the dump says, as a whole: newer tables go, too. Raises Unchanged, or Refused where it
    may be half done."""
    with (client(website, settings) as way_in, path.open("rb") as file,
          tempfile.TemporaryFile(dir=path.parent) as text):
        argv = LOAD[way_in.engine]
        if way_in.engine == "postgresql":
            text.write(CLEAR_POSTGRESQL)
        else:
            argv = [*argv, f"--database={website.account}"]
        text.writelines(loadable.LINES[way_in.engine](file))
        text.seek(0)
        if way_in.engine == "mariadb":
            clear_mariadb(way_in, argv)
        way_in.call(argv, stdin=text, stdout=subprocess.DEVNULL)


def clear_mariadb(way_in: Client, into: list[str]) -> None:
    drops = way_in.call([*into, "-N", "-B", "--raw", "-e", CLEAR_MARIADB])
    way_in.call(into, text=DROPPING + drops)

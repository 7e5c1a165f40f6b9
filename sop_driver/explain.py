"""What a register's database answered, in the house's three parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlalchemy import URL, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError

from sop_driver.errors import Failed, Uncertain, Usage

NOTHING = "nothing of this command was recorded"
ROOM = f"the disk has no room: {NOTHING}; make room, then run again"
BUSY = f"another one has been writing for long: {NOTHING}; see who holds it, then run again"
READ_ONLY = f"it takes no writes: {NOTHING}; see the rights of the file or account, or whether this is a replica"
DAMAGED = "stop every driver and bring it back from its backup; `sop register verify` says how far it can be read"
MENDS = {  # by what SQLite or PostgreSQL call it; the longest beginning counts
    "SQLITE_FULL": ROOM, "SQLITE_READONLY": READ_ONLY, "SQLITE_BUSY": BUSY, "SQLITE_LOCKED": BUSY,
    "SQLITE_CANTOPEN": "see whether its folder is there and yours, then run again",
    "SQLITE_CORRUPT": DAMAGED, "SQLITE_NOTADB": DAMAGED, "SQLITE_IOERR": f"see the disk: {NOTHING}",
    "53": ROOM.replace("the disk has no room", "the server lacks room, memory or connections"),
    "53100": ROOM, "25006": READ_ONLY, "55P03": BUSY, "40P01": BUSY,
    "42501": f"the account may not do this: {NOTHING}; let the database's owner be the account that drivers use",
    "57": f"the server was stopped: {NOTHING}; start it, then run again", "XX00": DAMAGED,
}
ANSWERED = ("the server answered and did not let this account in: see the user and the database in the URL, "
            "~/.pgpass, and the server's pg_hba.conf")
SILENT = "start the server, or correct host and port in the URL, then run again"


def url(text: str, where: str) -> URL:
    try:
        return make_url(text)
    except ArgumentError as error:
        raise Usage("this is no URL of a database", where,
                    "write postgresql+psycopg://USER@HOST/DATABASE, or the path of a file") from error


def explainer(name: str) -> Callable[[ExceptionContext], None]:
    """What raises each error of a database as one of ours."""
    def told(context: ExceptionContext) -> None:
        raise explained(context, name) from context.original_exception

    return told


def explained(context: ExceptionContext, name: str) -> Failed:
    """The end of a command whose database failed it."""
    error = context.original_exception
    said = " ".join(str(error).split())
    if context.statement == "COMMIT" and context.is_disconnect:
        return Uncertain(f"the connection ended while entries were being committed: {said}", name,
                      "they may be recorded or not: look by `sop history` before you repeat it")
    return Failed(f"the register's database could not be used: {said}", name, _mend(error, said))


def _mend(error: BaseException, said: str) -> str:
    code = ""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorname", "")
    elif hasattr(error, "sqlstate"):  # psycopg's; with SQLite it is not even loaded
        code = error.sqlstate or ""
        if not code:  # it did not come to a session, or the session broke off
            return ANSWERED if "FATAL" in said else SILENT
    known = max((start for start in MENDS if code.startswith(start)), key=len, default=None)
    return MENDS[known] if known else f"{NOTHING}; see the database's own log, then run again"

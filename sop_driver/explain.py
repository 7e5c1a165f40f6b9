"""What a register's database answered, in the house's three parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlalchemy import URL, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError

from sop_driver.errors import Failed, Uncertain, Usage

NOTHING = "then run again: nothing of this command was recorded"
MAYBE = "then look by `sop status` or `sop history REQ` before you repeat it: what it recorded before that stays"
ROOM = "the disk has no room: make some"
BUSY = "another one has been writing for long: see who holds it"
READ_ONLY = "it takes no writes: see the rights of the file or account, or whether this is a replica"
REPLICA = (f"{READ_ONLY}, which is verified where SOP_HOME/register.schema is: `sop register verify` on its primary, "
           "of the same version, writes that file")
OPENED = ("see whether its folder is there and yours, and takes writes, as SQLite needs to read it: copy SOP_HOME from "
          "a medium that takes none, and name the copy by --home")
DAMAGED = "stop every driver and bring it back from its backup; `sop register verify` says how far it can be read"
MENDS = {  # by what SQLite or PostgreSQL call it; the longest beginning counts
    "SQLITE_FULL": ROOM, "SQLITE_READONLY": READ_ONLY, "SQLITE_BUSY": BUSY, "SQLITE_LOCKED": BUSY,
    "SQLITE_CANTOPEN": OPENED, "SQLITE_IOERR": "see the disk, and its room",
    "SQLITE_CORRUPT": DAMAGED, "SQLITE_NOTADB": DAMAGED,
    "53": ROOM.replace("the disk has no room", "the server lacks room, memory or connections"),
    "53100": ROOM, "25006": REPLICA, "55P03": BUSY, "40P01": BUSY,
    "42501": "the account may not do this: let the database's owner be the account that drivers use",
    "57": "the server was stopped: start it",
    "57014": "the server broke it off: see statement_timeout of the account and the database", "XX00": DAMAGED,
}
ANSWERED = ("the server answered and did not let this account in: where it only starts, or has no connection free, "
            "wait; else see the user and the database in the URL, ~/.pgpass, and the server's pg_hba.conf")
SILENT = "start the server, or correct host and port in the URL"


def url(text: str, where: str) -> URL:
    try:
        return make_url(text)
    except ArgumentError as error:
        raise Usage("this is no URL of a database", where,
                    "write postgresql+psycopg://USER@HOST/DATABASE, or the path of a file") from error


def explainer(name: str, recorded: Callable[[], bool]) -> Callable[[ExceptionContext], None]:
    """What raises each error of a database as one of ours; `recorded` says whether the command may have written."""
    def told(context: ExceptionContext) -> None:
        raise explained(context, name, recorded()) from context.original_exception

    return told


def explained(context: ExceptionContext, name: str, recorded: bool = False) -> Failed:
    """The end of a command whose database failed it."""
    error = context.original_exception
    said = " ".join(str(error).split())
    if context.statement == "COMMIT" and context.is_disconnect:
        return Uncertain(f"the connection ended while entries were being committed: {said}", name,
                      "they may be recorded or not: look by `sop status` or `sop history REQ` before you repeat it")
    mend = _mend(error, said)
    return Failed(f"the register's database could not be used: {said}", name,
                  mend if mend == DAMAGED else f"{mend}; {MAYBE if recorded else NOTHING}")


def _mend(error: BaseException, said: str) -> str:
    code = ""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorname", "")
    elif hasattr(error, "sqlstate"):  # psycopg's; with SQLite it is not even loaded
        code = error.sqlstate or ""
        if not code:  # it did not come to a session, or the session broke off
            return ANSWERED if "FATAL" in said else SILENT
    known = max((start for start in MENDS if code.startswith(start)), key=len, default=None)
    return MENDS[known] if known else "see the database's own log"

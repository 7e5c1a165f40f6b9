"""How the driver connects to a register's database, writes to it alone, and compares its clock with this machine's."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Text, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from sop_driver import explain, schema
from sop_driver.errors import refuse

PATIENCE = 30  # seconds that a writer waits for the one before it
AHEAD = 60  # by which a clock may be ahead of the database's
PLAIN: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True, "poolclass": NullPool,
                         "pool_reset_on_return": None}
SESSION = {  # of PostgreSQL; what the database or the account sets otherwise would weaken the register
    "search_path": schema.NAME, "synchronous_commit": "on", "lock_timeout": f"{PATIENCE}s",
    "quote_all_identifiers": "off",  # else the same tables are told in other words
    "idle_in_transaction_session_timeout": "60s",  # a driver that froze while it wrote must not stop all others
}
NETWORK = {"connect_timeout": "10", "keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "3",
           "tcp_user_timeout": "20000"}


class Letters(Text):
    """Sent to PostgreSQL as what columns hold: for another type somebody could make operators that fit better."""

    render_bind_cast = True


def engine(place: Path | URL, recorded: Callable[[], bool] = lambda: False) -> Engine:
    """Connections on which each write is on the disk before it is acknowledged, and each error is explained."""
    if isinstance(place, Path):
        made = create_engine(URL.create("sqlite", database=str(place)), connect_args={"timeout": PATIENCE}, **PLAIN)
        event.listen(made, "connect", _durable)
    else:
        settings = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        made = create_engine(place, connect_args={
            **NETWORK, "options": settings, "application_name": "sop", "client_encoding": "utf8"}, **PLAIN)
        made.dialect.colspecs = {**made.dialect.colspecs, Text: Letters}
    event.listen(made, "handle_error", explain.explainer(str(place), recorded))
    return made


def _durable(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    connection.text_factory = lambda octets: octets.decode(errors="replace")  # a flipped bit is found and read on from
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def begin(db: Connection) -> None:
    """Let one writer in at a time; whoever waited reads what the one before it wrote.

    In PostgreSQL the lock comes before the first snapshot, each later statement has its own (READ COMMITTED), and it
    keeps out everybody who inserts, this driver or not.
    """
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE")
        return
    db.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
    db.exec_driver_sql("LOCK TABLE entries IN SHARE ROW EXCLUSIVE MODE")
    _timely(db)


def _timely(db: Connection) -> None:
    """Let nothing be dated later than it is: all others would wait until then. Raises Refused."""
    there = float(db.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())
    if (here := time.time()) > there + AHEAD:
        told = [f"{datetime.fromtimestamp(clock, UTC):%Y-%m-%dT%H:%M:%SZ}" for clock in (here, there)]
        refuse(f"this machine's clock says {told[0]}, the database's {told[1]}", "the register's time",
               "set right whichever is wrong, then run again")

"""The register's two databases: made once, migrated without loss, kept from strangers, and what they answer told."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import psycopg.errors
import pytest
from sqlalchemy import event, insert, select

from driver.cluster import Cluster
from driver.desk import PROJECT, Desk
from driver.test_cli import Sop, sop
from sop_driver import connection, explain, schema, standing, store, trust
from sop_driver.errors import Failed, Refused, SopError, Usage
from sop_driver.register import Register
from sop_driver.schema import CHECKPOINTS, ENTRIES, NODES

__all__ = ["sop"]

OLD = """
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY,
  entry TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  kind TEXT GENERATED ALWAYS AS (json_extract(entry, '$.kind')) VIRTUAL,
  request TEXT GENERATED ALWAYS AS (json_extract(entry, '$.request')) VIRTUAL,
  brought_by TEXT GENERATED ALWAYS AS (
    CASE WHEN json_type(entry, '$.data.replaces') IS NOT NULL THEN json_extract(entry, '$.actor') END) VIRTUAL,
  agenda_year INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.year')) VIRTUAL,
  agenda_number INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.number')) VIRTUAL);
CREATE INDEX entries_kind ON entries (kind);
CREATE INDEX entries_request ON entries (request);
CREATE INDEX entries_brought_by ON entries (brought_by);
CREATE UNIQUE INDEX entries_agenda ON entries (agenda_year, agenda_number);
CREATE TABLE nodes (level INTEGER, position INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, position)) WITHOUT ROWID;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TRIGGER no_gap BEFORE INSERT ON entries
  WHEN NEW.sequence != (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
  BEGIN SELECT RAISE(ABORT, 'the register has no gaps'); END;
CREATE TRIGGER no_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
CREATE TRIGGER no_removal BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END;
"""  # word for word as the driver made it before it counted revisions
TABLES = {"entries": "(sequence, entry, hash)", "nodes": "(level, position, hash)", "checkpoints": "(size, note)"}


def rows(desk: Desk) -> dict[str, list[tuple[Any, ...]]]:
    db = desk.office.register.db
    wanted = {table.name: list(table.c)[: TABLES[table.name].count(",") + 1] for table in (ENTRIES, NODES, CHECKPOINTS)}
    return {name: [tuple(row) for row in db.execute(select(*columns).order_by(*columns[:2]))]
            for name, columns in wanted.items()}


def as_it_was(desk: Desk, before: dict[str, list[tuple[Any, ...]]], request: str) -> None:
    """Opened again, nothing is lost or changed, and work goes on."""
    desk.office.register = desk.register()
    assert rows(desk) == before and desk.office.register.store.schema_fault() is None
    assert trust.examine(desk.office).findings == []
    desk.take(request, "review")
    assert desk.submit() == "R-2026-0002"
    assert schema.revision(desk.office.register.db) == schema.HEAD


def test_file_made_before_revisions_were_counted_opens_without_loss(file_desk: Desk) -> None:
    request = file_desk.submit()
    file_desk.take(request, "agenda")
    file_desk.take(request, "disposition")
    before = rows(file_desk)
    file_desk.office.register.close()
    file_desk.office.home.register.unlink()
    db = sqlite3.connect(file_desk.office.home.register)
    db.executescript(OLD)
    for table, columns in TABLES.items():
        marks = ",".join("?" * len(before[table][0]))
        db.executemany(" ".join(("INSERT INTO", table, columns, "VALUES (", marks, ")")), before[table])
    db.commit()
    db.execute(f"PRAGMA application_id = {store.APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    as_it_was(file_desk, before, request)


def test_database_of_the_first_revision_opens_without_loss(shared_desk: Desk, cluster: Cluster) -> None:
    request = shared_desk.submit()
    shared_desk.take(request, "agenda")
    shared_desk.take(request, "disposition")
    before = rows(shared_desk)
    shared_desk.office.register.close()
    place = store.located(shared_desk.place, "test")
    db = connection.engine(place).connect()
    db.exec_driver_sql("BEGIN")
    db.exec_driver_sql("DROP SCHEMA sop CASCADE")
    schema.migrate(db, "0001")
    for table in (ENTRIES, NODES, CHECKPOINTS):
        names = list(table.c.keys())
        db.execute(insert(table), [dict(zip(names, row, strict=False)) for row in before[table.name]])
    db.exec_driver_sql("COMMIT")
    assert schema.revision(db) == "0001"
    db.close()
    as_it_was(shared_desk, before, request)


def test_older_driver_writes_nothing_behind_a_newer_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entries do not say what their signers saw: behind one that does, each would be found for ever."""
    request = desk.submit()
    with monkeypatch.context() as older:
        older.setattr(schema, "HEAD", "0003")
        older.delitem(schema.REVISIONS, "0004")
        desk.office.register = desk.register()
        assert desk.office.register.store.revision_fault()
        with pytest.raises(Refused, match="names 0004, where 0003 is due: a newer sop brought it there"):
            desk.take(request, "agenda")
        assert standing.stand(desk.office, request).id == request
    desk.office.register.db.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    before = rows(desk)
    desk.office.register = desk.register()
    assert rows(desk) == before and desk.office.register.store.schema_fault() is None
    desk.take(request, "agenda")


def test_file_is_on_the_disk_before_a_write_is_acknowledged(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write-ahead log that is synced at each commit, and a lock that is taken before anything is read."""
    register = file_desk.office.register
    said, real = list[str](), register.db.exec_driver_sql
    for db in (register.db, file_desk.register().db):  # the one that writes, and another process's
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    monkeypatch.setattr(register.db, "exec_driver_sql", lambda words, *rest: said.append(words) or real(words, *rest))
    with register.writing():
        assert said[0] == "BEGIN IMMEDIATE"
        other = sqlite3.connect(file_desk.place, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_write_in_postgresql_is_on_the_disk_before_it_is_acknowledged(shared_desk: Desk, cluster: Cluster) -> None:
    """Whatever the database and the account have set: each connection of the driver asks for it itself."""
    name, asked = shared_desk.place.partition("?")[0].rpartition("/")[2], "SHOW synchronous_commit"
    shared_desk.prepare()
    for whose in (f"DATABASE {name}", f"ROLE sop IN DATABASE {name}"):
        cluster.admin.execute(f"ALTER {whose} SET synchronous_commit = off")
    with psycopg.connect(f"host={cluster.folder} user=sop dbname={name}") as plain:
        assert plain.execute(asked).fetchone() == ("off",)
    register = shared_desk.office.register
    with register.store.engine.connect() as beside:  # as the lease of the run is told
        assert [db.exec_driver_sql(asked).scalar() for db in (register.db, beside)] == ["on", "on"]
    shared_desk.submit()
    cluster.admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    with register.writing():  # by a connection made anew
        assert register.db.exec_driver_sql(asked).scalar() == "on"


@pytest.mark.parametrize("changed", [
    "UPDATE alembic_version SET version_num = '9999'", "UPDATE alembic_version SET version_num = '0001'",
    "DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('0001')", "DROP TABLE alembic_version",
    "ALTER TABLE alembic_version RENAME COLUMN version_num TO other"])
@pytest.mark.parametrize("made", ["", "CREATE VIEW other AS SELECT 1"])
def test_register_that_names_another_revision_is_read_and_left_as_it_is(desk: Desk, changed: str, made: str) -> None:
    """Whether a newer sop made it or somebody changed that: what its tables do not show is not made of it."""
    request = desk.submit()
    for words in filter(None, (changed, made)):
        desk.office.register.db.exec_driver_sql(words)
    before = rows(desk)
    desk.office.register = desk.register()
    assert rows(desk) == before and "where 0004 is due" in str(desk.office.register.store.schema_fault())
    assert standing.stand(desk.office, request).next
    with pytest.raises(Refused, match=r"cannot be relied on: its table alembic_version names .*\ngate: .*\nmend: "):
        desk.submit()
    assert "its table alembic_version names" in trust.examine(desk.office).lines()[0] and rows(desk) == before


def test_older_register_that_was_changed_is_not_brought_further(file_desk: Desk) -> None:
    """A table that is there twice would end the migration, and with it reading."""
    file_desk.submit()
    db = file_desk.office.register.db
    for words in ("DROP INDEX entries_request_number", "UPDATE alembic_version SET version_num = '0001'",
                  "CREATE TABLE entries_request_number (a int)"):
        db.exec_driver_sql(words)
    file_desk.office.register = file_desk.register()
    assert schema.revision(db) == "0001" and standing.all_standings(file_desk.office)
    with pytest.raises(Refused, match="names 0001, where 0004 is due"):
        file_desk.submit()


def test_every_revision_is_a_migration(tmp_path: Path) -> None:
    """What alembic makes and what the register is compared with are the same tables."""
    files = (Path(store.__file__).parent / "migrations/versions").glob("*.py")
    assert [path.name[:4] for path in sorted(files)] == list(schema.REVISIONS)
    register = Register(tmp_path / "register.db")
    assert register.store.schema_fault() is None


def test_many_who_open_an_empty_database_at_once_find_one_register(cluster: Cluster, tmp_path: Path) -> None:
    name = cluster.create()
    words = "import sys, pathlib; from sop_driver.register import Register; " \
            "print(Register(sys.argv[1], folder=pathlib.Path(sys.argv[2])).store.schema_fault())"
    drivers = [subprocess.Popen([sys.executable, "-c", words, cluster.url(name), str(tmp_path)], cwd=PROJECT,
                                stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [driver.communicate(timeout=60)[0] for driver in drivers] == ["None\n"] * 4
    cluster.drop(name)


@pytest.mark.parametrize("desk", ["file_desk"], indirect=True)
@pytest.mark.parametrize("words", ["PRAGMA application_id = 1", None], ids=["another program's", "emptied"])
def test_register_that_was_made_another_file_is_brought_back_and_not_moved_away(
    desk: Desk, sop: Sop, words: str | None
) -> None:
    desk.office.register.close()
    path = Path(desk.place)
    if words:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(words)
    else:
        path.write_bytes(b"")
    code, _, err = sop("register", "verify")
    assert code == 2 and "not a register of sop, and was left as it is" in err
    assert "where this was one, bring it back from its backup" in err and "away" not in err


def test_database_of_somebody_else_is_refused_untouched(cluster: Cluster, tmp_path: Path) -> None:
    name = cluster.create()
    with psycopg.connect(f"host={cluster.folder} user=sop dbname={name}") as other:
        other.execute("CREATE SCHEMA sop")
        other.execute("CREATE TABLE sop.entries (a int)")
    with pytest.raises(Usage, match="not a register of sop, and was left as it is"):
        Register(cluster.url(name), folder=tmp_path)
    with psycopg.connect(f"host={cluster.folder} user=sop dbname={name}") as other:
        found = other.execute("SELECT relname FROM pg_class WHERE relnamespace = 'sop'::regnamespace").fetchall()
    assert found == [("entries",)]
    cluster.drop(name)


def test_database_that_cannot_hold_every_letter_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    cluster.admin.execute("CREATE DATABASE narrow TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(Refused, match="encoding LATIN1"):
        Register(cluster.url("narrow"), folder=tmp_path)
    cluster.drop("narrow")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE entries ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE entries DISABLE TRIGGER no_change",
        "DROP TRIGGER no_removal ON entries",
        "CREATE OR REPLACE FUNCTION no_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE RULE hide AS ON INSERT TO entries DO INSTEAD NOTHING",
        "ALTER TABLE entries ADD COLUMN x int",
        "CREATE VIEW v AS SELECT 1",
        "DROP INDEX entries_request_number",
        "ALTER TABLE entries SET UNLOGGED",  # empty after a crash
        "ALTER TABLE entries ADD CHECK (public.never(hash, kind) OR true)",  # what it calls may write
        "CREATE TABLE public.few (kind text PRIMARY KEY); "
        "ALTER TABLE entries ADD FOREIGN KEY (kind) REFERENCES public.few NOT VALID",
        "CREATE AGGREGATE max(bigint) (SFUNC = int8larger, STYPE = bigint)",
        *(f"CREATE OPERATOR {schema}.= (LEFTARG = text, RIGHTARG = varchar, FUNCTION = public.never)"
          for schema in ("sop", "pg_catalog")),
        "CREATE FUNCTION concat_ws(text, text, text) RETURNS SETOF text LANGUAGE sql AS 'SELECT $2 WHERE false'",
        """DROP INDEX entries_brought_by; CREATE COLLATION "C" (provider = icu, locale = 'id-u-kn-true');
           ALTER TABLE entries ALTER brought_by TYPE text COLLATE sop."C";
           CREATE INDEX entries_brought_by ON entries (brought_by, sequence)""",
    ],
)
def test_tables_of_postgresql_made_differently_are_found(shared_desk: Desk, statement: str) -> None:
    shared_desk.submit()
    db = shared_desk.office.register.db
    db.exec_driver_sql("CREATE FUNCTION public.never(text, varchar) RETURNS bool LANGUAGE sql AS 'SELECT false'")
    db.exec_driver_sql(statement)
    with pytest.raises(Refused, match="not as they were made"), shared_desk.office.register.writing():
        pass
    assert "not as they were made" in str(trust.examine(shared_desk.office).lines())


def test_tables_are_as_they_were_made_however_the_database_is_told_to_write_names(
    shared_desk: Desk, cluster: Cluster
) -> None:
    assert shared_desk.office.register.store.schema_fault() is None
    name = shared_desk.office.register.db.exec_driver_sql("SELECT current_database()").scalar_one()
    cluster.admin.execute(f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    with contextlib.closing(shared_desk.register()) as again:
        assert again.store.schema_fault() is None


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("mysql://x/y", "is no place for a register"),
        ("postgresql://host", "is no place for a register"),
        ("postgresql+psycopg2://host/sop", "is no place for a register"),
        ("postgresql+psycopg://sop:geheim@host/sop", "holds a password"),
        ("://", "no URL of a database"),
    ],
)
def test_place_that_is_none_is_refused_without_telling_a_password(place: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(Usage, match=part) as error:
        Register(place, folder=tmp_path)
    assert "geheim" not in str(error.value)


def test_place_is_a_path_or_a_url(tmp_path: Path) -> None:
    assert store.located(f"sqlite:///{tmp_path}/a.db", "test") == tmp_path / "a.db"
    assert str(store.located("postgresql://sop@db/sop", "test")) == "postgresql+psycopg://sop@db/sop"


def three_parts(error: SopError, where: str, mend: str) -> None:
    lines = str(error).splitlines()
    assert lines[0].startswith("failed: ") and lines[1].startswith("where: ") and lines[2].startswith("mend: ")
    assert where in lines[1] and mend in lines[2], lines


def test_database_that_is_down_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed) as error:
        Register(f"postgresql://sop@/sop?host={tmp_path}", folder=tmp_path)
    three_parts(error.value, str(tmp_path).replace("/", "%2F"), "start the server")


@pytest.mark.parametrize("place", ["postgresql://refused@/postgres?host=", "postgresql://sop@/absent?host="])
def test_login_or_database_that_is_refused_is_told(cluster: Cluster, tmp_path: Path, place: str) -> None:
    with pytest.raises(Failed) as error:
        Register(f"{place}{cluster.folder}", folder=tmp_path)
    three_parts(error.value, "postgresql+psycopg://", "did not let this account in")


def test_server_that_takes_nobody_in_yet_is_told(shared_desk: Desk, cluster: Cluster) -> None:
    """One that starts, or has no connection free, knows the account well: there is nothing to correct."""
    shared_desk.submit()
    name = shared_desk.office.register.db.exec_driver_sql("SELECT current_database()").scalar_one()
    cluster.admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with pytest.raises(Failed) as error:
        shared_desk.register()
    three_parts(error.value, shared_desk.office.register.path, "where it only starts, or has no connection free, wait;")


def test_database_that_takes_no_writes_is_told(desk: Desk) -> None:
    request = desk.submit()
    shared = desk.office.register.store.shared
    statement = "SET default_transaction_read_only = on" if shared else "PRAGMA query_only = ON"
    desk.office.register.db.exec_driver_sql(statement)
    with pytest.raises(Failed) as error:
        desk.take(request, "agenda")
    three_parts(error.value, desk.office.register.path, "it takes no writes")
    assert desk.office.register.head()[0] == 2


@pytest.mark.parametrize("made", [lambda path: path.write_bytes(b"\xff\0"), os.mkfifo], ids=["damaged", "a pipe"])
def test_what_is_remembered_of_the_tables_is_made_anew_where_it_is_damaged(
    shared_desk: Desk, made: Callable[[Path], None]
) -> None:
    """As a failing disk leaves it; every step and run would end with a traceback, and wait for ever for a pipe."""
    kept = shared_desk.office.home.path / "register.schema"
    kept.unlink(missing_ok=True)
    made(kept)
    register = shared_desk.register()
    assert register.store.schema_fault() is None and len(kept.read_text().splitlines()) == 2
    register.close()


def test_replica_is_verified_by_what_its_primary_wrote_or_says_how_to_have_that(
    shared_desk: Desk, cluster: Cluster
) -> None:
    """It makes no tables, to compare its own with."""
    shared_desk.submit()
    place, kept = shared_desk.place.partition("?")[0], shared_desk.office.home.path / "register.schema"
    name = place.rpartition("/")[2]
    cluster.admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    shared_desk.office.register = shared_desk.register()
    assert kept.exists() and trust.examine(shared_desk.office).findings == []
    kept.unlink()
    shared_desk.office.register = shared_desk.register()
    with pytest.raises(Failed) as error:
        trust.examine(shared_desk.office)
    three_parts(error.value, place, "`sop register verify` on its primary")
    assert standing.all_standings(shared_desk.office)


def test_file_on_a_medium_that_takes_no_writes_is_told(file_desk: Desk) -> None:
    """SQLite makes a file beside it to read it; here nobody can."""
    file_desk.submit()
    file_desk.office.register.close()
    Path(f"{file_desk.place}-shm").symlink_to("nowhere")
    with pytest.raises(Failed) as error:
        file_desk.register()
    three_parts(error.value, file_desk.place, "copy SOP_HOME from a medium that takes none")


def test_full_disk_is_told_and_nothing_is_half_written(file_desk: Desk) -> None:
    request = file_desk.submit()
    db = file_desk.office.register.db
    db.exec_driver_sql(f"PRAGMA max_page_count = {db.exec_driver_sql('PRAGMA page_count').scalar_one()}")
    with pytest.raises(Failed) as error:
        for _ in range(20):
            file_desk.office.register.append("record", reason="x" * 5000)
    three_parts(error.value, "register.db", "the disk has no room")
    db.exec_driver_sql("PRAGMA max_page_count = 1000000")
    file_desk.take(request, "agenda")
    assert trust.examine(file_desk.office).findings == []


def test_file_that_found_no_room_to_grow_is_a_register_yet(file_desk: Desk) -> None:
    """A full disk or a kill may leave it shorter than its first page says: what is missing is in SQLite's journal."""
    file_desk.submit()
    told = file_desk.office.register.append("record", reason="x" * 5000).sequence
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(file_desk.place).stat().st_size, before[1]))
    file_desk.office.register.close()  # brings the journal into the file
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Path(f"{file_desk.place}-wal").exists()
    file_desk.office.register = file_desk.register()
    assert file_desk.office.register.head()[0] == told and trust.examine(file_desk.office).findings == []


def test_full_disk_of_postgresql_is_told() -> None:
    context = SimpleNamespace(original_exception=psycopg.errors.DiskFull("x"), statement="INSERT", is_disconnect=False)
    three_parts(explain.explained(cast(Any, context), "there"), "there", "the disk has no room")


def test_writer_that_holds_the_lock_for_long_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit()
    monkeypatch.setattr(connection, "PATIENCE", 0.2)
    monkeypatch.setitem(connection.SESSION, "lock_timeout", "200ms")
    second = desk.register()
    with desk.office.register.writing(), pytest.raises(Failed) as error:
        second.append("record")
    three_parts(error.value, second.path, "another one has been writing for long")
    assert second.append("record").sequence == 3
    second.close()


def test_connection_lost_while_committing_is_told_as_unknown(
    shared_desk: Desk, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_desk.submit()
    register = shared_desk.office.register
    with pytest.raises(Failed, match="while entries were being committed") as error, register.writing():
        register.append("record")
        pid = register.db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        commit = register.store.commit

        def cut() -> None:
            cluster.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            commit()

        monkeypatch.setattr(register.store, "commit", cut)  # the server ends just then
    three_parts(error.value, register.path, "recorded or not")
    assert shared_desk.register().head()[0] == 2


@pytest.mark.parametrize("recorded", [False, True])
def test_server_that_is_stopped_is_told_with_what_becomes_of_the_command(
    shared_desk: Desk, cluster: Cluster, recorded: bool
) -> None:
    """What was committed is recorded, though the command could not go on to show it: to repeat it would do it twice."""
    shared_desk.submit()
    with contextlib.closing(shared_desk.register()) as register:
        if recorded:
            register.append("record")
        pid = register.db.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        cluster.admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(Failed) as error:
            register.head()
    three_parts(error.value, register.path, "the server was stopped: start it; ")
    assert ("nothing of this command was recorded" in str(error.value)) is not recorded
    assert ("`sop history REQ` before you repeat it" in str(error.value)) is recorded


def test_statement_that_the_server_broke_off_is_told(shared_desk: Desk) -> None:
    db = shared_desk.office.register.db
    db.exec_driver_sql("SET statement_timeout = 10")
    with pytest.raises(Failed) as error:
        db.exec_driver_sql("SELECT pg_sleep(10)")
    three_parts(error.value, shared_desk.office.register.path, "see statement_timeout")


def test_server_started_anew_between_two_steps_is_not_noticed(shared_desk: Desk, cluster: Cluster) -> None:
    """A run takes minutes; what it did must not stay unrecorded because the server was restarted meanwhile."""
    shared_desk.submit()
    cluster.stop()
    cluster.start()
    assert shared_desk.office.register.append("record").sequence == 3


def test_connection_lost_while_the_revision_is_asked_for_is_told(shared_desk: Desk, cluster: Cluster) -> None:
    store = shared_desk.office.register.store

    def ended(conn: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.endswith("alembic_version LIMIT 9"):
            cluster.admin.execute("SELECT pg_terminate_backend(%s, 5000)", [cursor.connection.info.backend_pid])

    event.listen(store.engine, "before_cursor_execute", ended)
    with pytest.raises(Failed, match="terminating connection"), shared_desk.office.register.writing():
        pass
    event.remove(store.engine, "before_cursor_execute", ended)
    shared_desk.submit()


@pytest.mark.parametrize("ahead", [50, 70, 86400])
def test_clock_ahead_of_the_databases_dates_no_entry(
    shared_desk: Desk, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Of several drivers' machines one may have it wrong: all others would wait until then."""
    shared_desk.submit()
    monkeypatch.setattr(connection, "time", SimpleNamespace(time=lambda: time.time() + ahead))
    if ahead < connection.AHEAD:
        assert shared_desk.office.register.append("record").sequence == 3
        return
    with pytest.raises(Refused, match=r"this machine's clock says 20.*Z, the database's 20") as error:
        shared_desk.office.register.append("record")
    assert "set right whichever is wrong" in str(error.value)
    monkeypatch.undo()
    assert shared_desk.office.register.append("record").sequence == 3


def test_server_that_crashes_loses_no_acknowledged_entry(shared_desk: Desk, cluster: Cluster) -> None:
    told = [shared_desk.office.register.append("record").sequence for _ in range(5)]
    cluster.crash()
    with pytest.raises(Failed, match="could not be used"):
        shared_desk.office.register.append("record")
    cluster.start()
    shared_desk.office.register = shared_desk.register()
    assert [entry.sequence for entry in shared_desk.office.register.entries(kind="record")] == told
    assert trust.examine(shared_desk.office).findings == []
    assert shared_desk.office.register.append("record").sequence == told[-1] + 1


def test_opening_a_file_once_more_takes_no_lock_away(file_desk: Desk) -> None:
    """Closing any descriptor ends a process's locks on a file; another process would then throw the journal away."""
    file_desk.submit()
    file_desk.register().close()
    script = "import sys; from sop_driver.register import Register; Register(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", script, file_desk.place], check=True, cwd=PROJECT)
    assert Path(f"{file_desk.place}-wal").exists()
    file_desk.submit(requester="dinsos", name="dua.tarakankota.go.id")
    assert trust.examine(file_desk.office).findings == []


def test_place_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "register.db").mkdir()
    with pytest.raises(Failed) as error:
        Register(tmp_path / "register.db")
    three_parts(error.value, str(tmp_path / "register.db"), "run again")

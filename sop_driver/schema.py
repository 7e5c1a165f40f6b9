"""The register's tables in SQLite and PostgreSQL: made revision by revision, named in queries, compared with these."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Connection, Dialect, Engine, LargeBinary, Text, column, create_engine, table, text
from sqlalchemy.types import TypeDecorator

from sop_driver.errors import Failed, Usage

# What each revision does, by database. Once released, it never changes: registers out there were made by it.
# What changes nodes or checkpoints past the driver is found by the next writer: they no longer fit the entries.
REVISIONS: dict[str, dict[str, list[str]]] = {
    "0001": {
        "sqlite": [
            """CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY,
  entry TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  kind TEXT GENERATED ALWAYS AS (json_extract(entry, '$.kind')) VIRTUAL,
  request TEXT GENERATED ALWAYS AS (json_extract(entry, '$.request')) VIRTUAL,
  brought_by TEXT GENERATED ALWAYS AS (
    CASE WHEN json_type(entry, '$.data.replaces') IS NOT NULL THEN json_extract(entry, '$.actor') END) VIRTUAL,
  agenda_year INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.year')) VIRTUAL,
  agenda_number INTEGER GENERATED ALWAYS AS (json_extract(entry, '$.data.agenda.number')) VIRTUAL)""",
            "CREATE INDEX entries_kind ON entries (kind)",
            "CREATE INDEX entries_request ON entries (request)",
            "CREATE INDEX entries_brought_by ON entries (brought_by)",
            "CREATE UNIQUE INDEX entries_agenda ON entries (agenda_year, agenda_number)",
            "CREATE TABLE nodes (level INTEGER, position INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, position))"
            " WITHOUT ROWID",
            "CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL)",
            """CREATE TRIGGER no_gap BEFORE INSERT ON entries
  WHEN NEW.sequence != (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
  BEGIN SELECT RAISE(ABORT, 'the register has no gaps'); END""",
            "CREATE TRIGGER no_change BEFORE UPDATE ON entries"
            " BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END",
            "CREATE TRIGGER no_removal BEFORE DELETE ON entries"
            " BEGIN SELECT RAISE(ABORT, 'the register is append-only'); END",
        ],
        "postgresql": [
            """CREATE TABLE entries (
  sequence BIGINT PRIMARY KEY,
  entry TEXT NOT NULL,
  hash TEXT COLLATE "C" NOT NULL UNIQUE,
  kind TEXT COLLATE "C" GENERATED ALWAYS AS (entry::json ->> 'kind') STORED,
  request TEXT COLLATE "C" GENERATED ALWAYS AS (entry::json ->> 'request') STORED,
  brought_by TEXT COLLATE "C" GENERATED ALWAYS AS (
    CASE WHEN entry::json #> '{data,replaces}' IS NOT NULL THEN entry::json ->> 'actor' END) STORED,
  agenda_year BIGINT GENERATED ALWAYS AS ((entry::json #>> '{data,agenda,year}')::bigint) STORED,
  agenda_number BIGINT GENERATED ALWAYS AS ((entry::json #>> '{data,agenda,number}')::bigint) STORED)""",
            "CREATE INDEX entries_kind ON entries (kind, sequence)",
            "CREATE INDEX entries_request ON entries (request, sequence)",
            "CREATE INDEX entries_brought_by ON entries (brought_by, sequence)",
            "CREATE UNIQUE INDEX entries_agenda ON entries (agenda_year, agenda_number)",
            "CREATE TABLE nodes (level BIGINT, position BIGINT, hash BYTEA NOT NULL, PRIMARY KEY (level, position))",
            "CREATE TABLE checkpoints (size BIGINT PRIMARY KEY, note TEXT NOT NULL)",
            """CREATE FUNCTION no_gap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.sequence IS DISTINCT FROM (SELECT coalesce(max(sequence), 0) + 1 FROM SCHEMA.entries) THEN
    RAISE EXCEPTION 'the register has no gaps';
  END IF;
  RETURN NEW;
END $$""",
            """CREATE FUNCTION no_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'the register is append-only';
END $$""",
            "CREATE TRIGGER no_gap BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION no_gap()",
            "CREATE TRIGGER no_change BEFORE UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION no_change()",
            "CREATE TRIGGER no_removal BEFORE DELETE ON entries FOR EACH ROW EXECUTE FUNCTION no_change()",
            "CREATE TRIGGER no_emptying BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION no_change()",
        ],
    },
    "0002": {  # the next request's number without reading all requests of the year
        name: ["CREATE INDEX entries_request_number ON entries (substr(request, 1, 7), length(request), request)"]
        for name in ("sqlite", "postgresql")
    },
    "0003": {  # which driver has the fleet; with a file of SQLite that is a lock on the machine
        "sqlite": [],
        "postgresql": [
            "CREATE TABLE lease (one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one), token BIGINT NOT NULL,"
            " holder TEXT NOT NULL, until TIMESTAMPTZ NOT NULL)",
        ],
    },
    "0004": {"sqlite": [], "postgresql": []},  # entries say what their signers saw: older drivers write no more
}
FIRST, HEAD = next(iter(REVISIONS)), list(REVISIONS)[-1]
NAME = "sop"  # of the schema in PostgreSQL
THERE = """SELECT c.relname FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
  AND c.relname IN ('alembic_version', 'entries', 'nodes', 'checkpoints') WHERE n.nspname = CAST(:schema AS name)"""
# Each operator has operands of its own types, and `concat_ws` names its schema: else what somebody made beside the
# tables fits better than PostgreSQL's own, and tells what they like.
CATALOGUE = """
SELECT pg_catalog.concat_ws('|', 'relation', c.relname, c.relkind, c.relpersistence, c.relrowsecurity,
                 c.relforcerowsecurity, c.relhasrules, c.relhassubclass, c.relispartition) AS line FROM pg_class c
  WHERE c.relnamespace = CAST(CAST({schema} AS regnamespace) AS oid)
  AND (c.relname, c.relkind) NOT IN (('alembic_version', 'r'), ('alembic_version_pkc', 'i'))
UNION ALL SELECT pg_catalog.concat_ws('|', 'column', c.relname, a.attnum, a.attname,
                 format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, a.attidentity,
                 CAST(a.attcollation AS regcollation), pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE c.relnamespace = CAST(CAST({schema} AS regnamespace) AS oid) AND c.relkind = 'r' AND a.attnum > 0
  AND c.relname <> 'alembic_version'
UNION ALL SELECT pg_catalog.concat_ws('|', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  WHERE c.relnamespace = CAST(CAST({schema} AS regnamespace) AS oid) AND c.relname <> 'alembic_version'
UNION ALL SELECT pg_catalog.concat_ws('|', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  WHERE c.relnamespace = CAST(CAST({schema} AS regnamespace) AS oid) AND NOT t.tgisinternal
UNION ALL SELECT pg_catalog.concat_ws('|', 'rule', pg_get_ruledef(r.oid), r.ev_enabled)
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
  WHERE c.relnamespace = CAST(CAST({schema} AS regnamespace) AS oid)
UNION ALL SELECT pg_catalog.concat_ws('|', 'constraint', c.relname, k.conname, pg_get_constraintdef(k.oid),
                 k.convalidated)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
  WHERE c.relnamespace = CAST(CAST({schema} AS regnamespace) AS oid) AND c.relname <> 'alembic_version'
  AND k.contype <> 'n'
UNION ALL SELECT pg_catalog.concat_ws('|', 'function', CASE WHEN p.prokind = 'a' THEN CAST(p.oid AS text)
                 ELSE pg_get_functiondef(p.oid) END) FROM pg_proc p
  WHERE p.pronamespace = CAST(CAST({schema} AS regnamespace) AS oid)
UNION ALL SELECT pg_catalog.concat_ws('|', 'operator', o.oid) FROM pg_operator o
  WHERE o.oprnamespace = CAST(CAST({schema} AS regnamespace) AS oid)
  OR o.oprnamespace = CAST(CAST('pg_catalog' AS regnamespace) AS oid) AND CAST(o.oid AS bigint) >= 16384
UNION ALL SELECT pg_catalog.concat_ws('|', 'collation', l.oid) FROM pg_collation l
  WHERE l.collnamespace = CAST(CAST({schema} AS regnamespace) AS oid) ORDER BY 1"""

ASKED = hashlib.sha256(repr((REVISIONS, CATALOGUE)).encode()).hexdigest()  # what PostgreSQL's fingerprint follows from


def statements(dialect: str, revision: str, schema: str = NAME) -> list[str]:
    """What brings a database from the revision before to this one."""
    return [words.replace("SCHEMA.", f"{schema}.") for words in REVISIONS[revision][dialect]]


def upgrade(db: Connection, revision: str, name: str = NAME) -> None:
    """Bring a database from the revision before to this one."""
    for statement in statements(db.dialect.name, revision, name):
        db.exec_driver_sql(statement)


class Words(TypeDecorator[str]):
    """Text that a hash or signature proves: SQLite hands it on as octets where somebody made it such."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return value.decode(errors="replace") if isinstance(value, bytes) else value


ENTRIES = table(
    "entries", column("sequence", BigInteger), column("entry", Words), column("hash", Text), column("kind", Text),
    column("request", Text), column("brought_by", Text), column("agenda_year", BigInteger),
    column("agenda_number", BigInteger))
NODES = table("nodes", column("level", BigInteger), column("position", BigInteger), column("hash", LargeBinary))
CHECKPOINTS = table("checkpoints", column("size", BigInteger), column("note", Words))


def build(db: Connection, name: str = NAME, to: str = HEAD) -> None:
    """Make the tables of a revision, without alembic, which takes long to load."""
    for number in REVISIONS:
        if number <= to:
            upgrade(db, number, name)


def revision(db: Connection) -> str | None:
    """Which revision a database says that it is of: "" where it does not, None where it is empty.

    Registers from before revisions were counted say nothing. Raises Usage for a stranger's.
    """
    if db.dialect.name == "sqlite":
        names = set(db.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
        if not names & {"alembic_version", "entries"}:
            return None
    else:
        # Not by to_regclass(), which may answer from a cache older than the lock that was waited for.
        names = set(db.execute(text(THERE), {"schema": NAME}).scalars())
        if not names:
            return None
        if not names & {"alembic_version"} and not names >= {"entries", "nodes", "checkpoints"}:
            raise Usage(f"its schema {NAME} is not a register of sop, and was left as it is",
                        db.engine.url.render_as_string(), "name another database")
    if "alembic_version" not in names:
        return ""
    try:  # not by its column's name: where that is another, the transaction would end, and its refusal with it
        rows = db.exec_driver_sql("SELECT * FROM alembic_version LIMIT 9").mappings().all()
    except Failed:  # somebody made another table of it
        if db.invalidated:  # or the connection broke off
            raise
        return ""
    return ", ".join(str(row.get("version_num", ""))[:40] for row in rows)


def migrate(db: Connection, to: str = "head") -> None:
    """Bring the tables to a revision; call it within a transaction."""
    from alembic import command  # only here: it takes longer to load than a step takes
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = db
    if (found := revision(db)) is not None:
        command.stamp(config, found or FIRST)  # registers are older than this count of revisions
    elif db.dialect.name == "postgresql":
        db.exec_driver_sql(f"CREATE SCHEMA {NAME}")
    command.upgrade(config, to)


def fingerprint(db: Connection, name: str = NAME) -> str:
    """Everything that decides what a query finds and what a write may do, as one hash."""
    if db.dialect.name == "sqlite":
        # What ANALYZE leaves tells how long a query takes, and not what it finds.
        words = ("SELECT sql FROM sqlite_master WHERE sql NOT NULL AND (type <> 'table' OR name NOT IN "
                 "('alembic_version', 'sqlite_stat1', 'sqlite_stat4')) ORDER BY name")
        lines = list(db.exec_driver_sql(words).scalars())
    else:
        found = db.exec_driver_sql(CATALOGUE.format(schema=f"'{name}'")).scalars()
        lines = [line.replace(name, NAME) for line in found]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def made(engine: Engine, to: str = HEAD) -> str:
    """The fingerprint of tables as a revision has them, in this kind of database.

    PostgreSQL tells its catalogue a little differently in each version, so they are made beside and taken back.
    """
    if engine.dialect.name == "sqlite":
        with create_engine("sqlite://").connect() as scratch:
            build(scratch, to=to)
            return fingerprint(scratch)
    with engine.connect() as scratch:
        name = f"sop_scratch_{secrets.token_hex(8)}"
        scratch.exec_driver_sql("BEGIN")
        scratch.exec_driver_sql(f"CREATE SCHEMA {name}")
        scratch.exec_driver_sql(f"SET LOCAL search_path = {name}")
        build(scratch, name, to)
        found = fingerprint(scratch, name)
        scratch.exec_driver_sql("ROLLBACK")
        return found

"""Restores of PostgreSQL databases, on a server of the tests' own that has them as the database layer makes them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible.module_utils.transaction import Refused
from backup_cases import NAME, exchange, ours, restore, settings, snapshot, with_database
from driver.cluster import Cluster
from website_backup import database

__all__ = ["ours"]

ACCOUNT = "w20001"
# What a website's account may make beside plain tables; several of these were once left for the dump to collide with.
EVERYTHING = """
    CREATE TABLE files (id int PRIMARY KEY, body oid);
    INSERT INTO files VALUES (1, lo_from_bytea(0, 'isi')), (2, lo_from_bytea(0, decode(repeat('00ff', 9), 'hex')));
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE letters (title text COLLATE ci UNIQUE); INSERT INTO letters VALUES ('Surat');
    CREATE TEXT SEARCH DICTIONARY dasar (TEMPLATE = simple);
    CREATE TEXT SEARCH CONFIGURATION indonesia (COPY = simple);
    ALTER TEXT SEARCH CONFIGURATION indonesia ALTER MAPPING FOR asciiword WITH dasar;
    CREATE TABLE found (a text, v tsvector GENERATED ALWAYS AS (to_tsvector('indonesia', a)) STORED);
    INSERT INTO found VALUES ('surat masuk');
    CREATE PUBLICATION letters FOR TABLE letters;
    CREATE EXTENSION citext; CREATE TABLE names (a citext); INSERT INTO names VALUES ('Surat');
    CREATE SCHEMA tools; CREATE EXTENSION hstore SCHEMA tools; CREATE TABLE pairs (a tools.hstore);
    CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
    CREATE OPERATOR +@ (LEFTARG = int, RIGHTARG = int, FUNCTION = plus);
    CREATE AGGREGATE total (int) (SFUNC = plus, STYPE = int, INITCOND = '0');
    CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
    CREATE TYPE shelf AS ENUM ('a', 'b'); CREATE DOMAIN label AS text CHECK (VALUE <> '');
    CREATE TYPE span AS RANGE (SUBTYPE = int); CREATE TYPE place AS (room int, shelf shelf);
    CREATE FUNCTION room(place) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.room';
    CREATE CAST (place AS int) WITH FUNCTION room(place);
    CREATE TABLE parted (id serial PRIMARY KEY, a int, b int) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (100); INSERT INTO parted (a, b) VALUES (1, 2);
    CREATE MATERIALIZED VIEW m AS SELECT a FROM parted; CREATE VIEW v AS SELECT b FROM parted;
    CREATE STATISTICS s ON a, b FROM parted; CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING;
    ALTER TABLE parted ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON parted USING (a > 0);
    COMMENT ON TABLE parted IS 'surat'; CREATE TABLE dump (line text);
    INSERT INTO dump VALUES ('-- Data for Name: 1; Type: BLOBS; Schema: -; Owner: -'), ('--'), (''), ('BEGIN;'),
        ('COMMIT;'), ('COPY x FROM stdin;'), (E'a\\nCOMMIT;\\nb'), ('COMMENT ON EXTENSION x;')"""
MADE = {"nothing": "", "everything": EVERYTHING,
        "a schema public of its own": "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE t (a int)"}
LATER = """
    CREATE TABLE later (a int); SELECT lo_from_bytea(0, 'baru'); CREATE COLLATION later (locale = 'C');
    CREATE PUBLICATION later FOR TABLE later; CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE TEXT SEARCH CONFIGURATION later (COPY = simple); CREATE SCHEMA later"""
GRANTED = """
    SELECT datname, pg_get_userbyid(datdba), datacl::text FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT lanname, pg_get_userbyid(lanowner), lanacl::text FROM pg_language ORDER BY 1"""


class Server:
    """The tests' server with one website's database; the backup's clients reach it by its socket."""

    def __init__(self, cluster: Cluster, given: settings.Settings, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cluster, self.settings = cluster, given
        website = with_database(given, root, "postgresql")
        way = {"PGHOST": str(cluster.folder), "PGUSER": ACCOUNT, "PGDATABASE": ACCOUNT}
        monkeypatch.setattr(database, "client",
                            lambda *_: contextlib.nullcontext(database.Client(website, "", way)))
        run = subprocess.run

        def as_this_user(words: list[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
            return run(words, **{name: value for name, value in given.items()
                                 if name not in ("user", "group", "extra_groups")})

        monkeypatch.setattr(subprocess, "run", as_this_user)
        cluster.admin.execute(f"DROP DATABASE IF EXISTS {ACCOUNT} WITH (FORCE)")
        cluster.admin.execute(f"CREATE DATABASE {ACCOUNT} OWNER {ACCOUNT} TEMPLATE template0 ENCODING 'UTF8'")
        cluster.admin.execute(f"REVOKE ALL ON DATABASE {ACCOUNT} FROM PUBLIC")

    def sql(self, text: str, user: str = ACCOUNT) -> list[tuple[Any, ...]]:
        with psycopg.connect(f"host={self.cluster.folder} user={user} dbname={ACCOUNT}", autocommit=True) as there:
            found = there.execute(text)
            return list(found.fetchall()) if found.description else []

    def whole(self) -> tuple[str, list[tuple[Any, ...]]]:
        """All that is in the database, and who may do what."""
        with database.client(None, self.settings) as way_in:
            text = way_in.call(database.DUMP["postgresql"]).decode()
        return "\n".join(line for line in text.splitlines() if "restrict " not in line), self.sql(GRANTED, "sop")

    def backup(self) -> dict[str, str]:
        return snapshot.backup(self.settings, [], only_missing=False, plan=False).failures

    def restore(self) -> None:
        assert restore.in_place(self.settings, NAME, "latest", with_database=True, plan=False)["database"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    made.admin.execute(f"CREATE ROLE {ACCOUNT} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
    yield made
    made.remove()


@pytest.fixture
def here(cluster: Cluster, ours: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(cluster, ours[0], tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", MADE)
def test_restore_brings_back_all_that_a_website_can_make(here: Server, kind: str) -> None:
    """Over what is there still, and over what was made since; the account's rights stay as the layer gave them."""
    here.sql(f"GRANT USAGE ON LANGUAGE plpgsql TO {ACCOUNT}", "sop")
    here.sql(MADE[kind])
    before = here.whole()
    assert here.backup() == {}
    here.restore()
    assert here.whole() == before and here.backup() == {}
    here.sql(LATER)
    here.restore()
    assert here.whole() == before


def test_restore_leaves_an_extension_that_the_administrator_made(here: Server) -> None:
    here.sql("CREATE EXTENSION pageinspect", "sop")
    here.sql("CREATE TABLE t (a int)")
    before = here.whole()
    assert here.backup() == {}
    here.restore()
    assert here.whole() == before and here.sql("SELECT 1 FROM pg_extension WHERE extname = 'pageinspect'")


def test_load_that_is_refused_changes_nothing_and_holds_no_snapshot_back(here: Server) -> None:
    """The dump comes as far as an index, after the large objects, whose name is the administrator's by now. What was
    there before could not be loaded either."""
    here.sql("CREATE TABLE t (a int); CREATE INDEX i ON t (a); SELECT lo_from_bytea(20003, 'isi')")
    assert here.backup() == {}
    here.sql("DROP INDEX i; INSERT INTO t VALUES (1); SELECT lo_put(20003, 0, 'ada')")
    here.sql("CREATE TABLE i (a int); GRANT SELECT ON i TO PUBLIC", "sop")
    before = here.whole()
    with pytest.raises(Refused, match='relation "i" already exists') as refused:
        here.restore()
    assert "not be put back" not in refused.value.what and not exchange.pending(here.settings)
    assert here.whole() == before and here.backup() == {}

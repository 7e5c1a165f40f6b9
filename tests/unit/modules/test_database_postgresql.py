"""PostgreSQL's catalogs, statements and lists of users, without a server."""

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils import database_postgresql as postgresql
from ansible.module_utils.database import NOTHING, Database, Seen
from database_cases import AT_WEB1, SCRAM, WEB_HOSTS, in_postgresql

ROLE: tuple[Any, ...] = ("w20001", SCRAM, True, 10, [], [])
RULE: tuple[Any, ...] = (1, ["sameuser"], ["websites_none", "w20001"], "10.0.0.11", "scram-sha-256", None)


def statements(before: Seen, after: Seen) -> list[str]:
    return [step.sql for step in postgresql.steps("w20001", before, after)]


def test_seen_is_as_wanted_when_the_role_is_ours() -> None:
    found = postgresql.seen([("w20001", "w20001", False)], [ROLE], {"w20001": AT_WEB1})
    assert found == {"w20001": in_postgresql("w20001")}


def test_seen_names_what_a_role_may_beyond_its_own() -> None:
    role = ("w20001", SCRAM, True, 10, ["superuser"], ["pg_read_server_files"])
    found = postgresql.seen([], [role], {})["w20001"].logins["*"]
    assert found.extra == ("superuser", "member of pg_read_server_files")


def test_steps_create_role_then_database_closed_to_the_public() -> None:
    role, database, closed = statements(NOTHING, in_postgresql("w20001"))
    assert role.startswith("CREATE ROLE w20001 NOSUPERUSER")
    assert role.endswith(f"LOGIN CONNECTION LIMIT 10 PASSWORD '{SCRAM}'")
    assert "OWNER w20001 TEMPLATE template0 ENCODING 'UTF8'" in database
    assert closed == "REVOKE ALL ON DATABASE w20001 FROM PUBLIC"


def test_steps_take_back_what_they_create() -> None:
    undo = [step.undo for step in postgresql.steps("w20001", NOTHING, in_postgresql("w20001")) if step.undo]
    assert undo == ["DROP ROLE w20001", "DROP DATABASE w20001 WITH (FORCE)"]


def test_steps_write_no_password_when_only_the_lock_changes() -> None:
    [lock, end] = postgresql.steps("w20001", in_postgresql("w20001"), in_postgresql("w20001", locked=True))
    assert lock.sql == "ALTER ROLE w20001 NOLOGIN CONNECTION LIMIT 10"
    assert lock.undo == "ALTER ROLE w20001 LOGIN CONNECTION LIMIT 10"
    assert "pg_terminate_backend" in end.sql and "'w20001'" in end.sql


def test_steps_change_nothing_when_only_the_web_host_moves() -> None:
    assert statements(in_postgresql("w20001"), in_postgresql("w20001", ("10.0.0.12",))) == []


def test_steps_mend_memberships_quoted() -> None:
    old = in_postgresql("w20001", extra=("superuser", 'member of odd"role'))
    assert statements(old, in_postgresql("w20001"))[1] == 'REVOKE "odd""role" FROM w20001'


def test_steps_mend_a_database_that_is_open_to_the_public() -> None:
    old = in_postgresql("w20001")._replace(database=Database("postgres", True))
    assert statements(old, in_postgresql("w20001")) == [
        "ALTER DATABASE w20001 OWNER TO w20001", "REVOKE ALL ON DATABASE w20001 FROM PUBLIC",
    ]


def test_steps_purge_the_database_before_its_owner() -> None:
    assert statements(in_postgresql("w20001"), NOTHING) == ["DROP DATABASE w20001 WITH (FORCE)", "DROP ROLE w20001"]


def test_label_of_a_step_holds_no_verifier() -> None:
    steps = postgresql.steps("w20001", NOTHING, in_postgresql("w20001"))
    assert not any("SCRAM" in step.label for step in steps)


def test_no_website_s_lock_holds_a_run_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A login can hold its own role and database in a transaction that never ends."""
    given: dict[str, Any] = {}

    def connect(**options: Any) -> Any:
        given.update(options)
        cursor = SimpleNamespace(execute=lambda sql: None, description=True, fetchall=lambda: [(tmp_path / "pg_hba",)])
        return SimpleNamespace(cursor=lambda: contextlib.nullcontext(cursor))

    monkeypatch.setitem(sys.modules, "psycopg2", SimpleNamespace(connect=connect, Error=OSError))
    postgresql.PostgreSQL({})
    assert "-c lock_timeout=10s" in given["options"]


def test_lists_hold_each_web_hosts_own_users_and_are_never_empty() -> None:
    found = postgresql.lists({"w20002": AT_WEB1, "w20001": AT_WEB1, "w20003": ()}, WEB_HOSTS)
    assert found == {"web1": "websites_none\nw20001\nw20002\n", "web2": "websites_none\n"}


def test_unexplained_is_what_somebody_wrote_by_hand() -> None:
    wanted = {"web1": "websites_none\nw20001\n"}
    assert postgresql.unexplained(wanted, wanted, set()) == []
    assert postgresql.unexplained({"web1": "websites_none\n"}, wanted, {"w20001"}) == []
    for text in ("", "websites_none\nw20001\nw29999\n", "w20001\n"):
        [change] = postgresql.unexplained({"web1": text}, wanted, set())
        assert (change.website, change.action) == (None, "update")


def test_closed_names_the_account_that_no_line_lets_in() -> None:
    reach = {"w20001": ("10.0.0.11",)}
    assert postgresql.closed([RULE], reach) is None
    assert postgresql.closed([], reach) == "pg_hba.conf has no line that lets w20001 in from 10.0.0.11"
    for column, value in ((1, ["all"]), (2, ["w20002"]), (3, "10.0.0.12"), (4, "trust")):
        other = (*RULE[:column], value, *RULE[column + 1:])
        assert postgresql.closed([other], reach)


def test_closed_names_the_line_that_postgresql_would_refuse() -> None:
    assert postgresql.closed([(*RULE[:5], "no such method")], {}) == "line 1 of pg_hba.conf: no such method"
    broken = (7, None, None, None, None, "end-of-line before authentication method")
    assert "line 7" in str(postgresql.closed([broken], {}))

"""How the database layer applies its plan: marks first, data purged last, and everything taken back on an error."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import database_websites
import pytest
from ansible.module_utils import database, database_mariadb
from ansible.module_utils.database import Seen
from ansible.module_utils.transaction import Refused
from database_cases import in_mariadb, mark, settings, website

NAME = website()["name"]


class Server:
    """A MariaDB that remembers statements, and refuses the one that holds `broken`."""

    title = "MariaDB"

    def __init__(self, seen: dict[str, Seen]) -> None:
        self.seen, self.after, self.said, self.broken = seen, dict(seen), [], ""
        self.lists: list[str] = []

    def read(self, accounts: Collection[str] | None = None) -> dict[str, Seen]:
        found = self.after if self.said else self.seen
        return found if accounts is None else {name: found[name] for name in accounts if name in found}

    def version(self) -> str:
        return "11.8"

    def data_folder(self) -> str:
        return "/"

    def steps(self, *args: Any) -> list[database.Step]:
        return database_mariadb.steps(*args)

    def execute(self, sql: str, label: str) -> None:
        if self.broken and self.broken in sql:
            raise Refused(f"MariaDB refused {label}: disk full", "make room")
        self.said.append(sql)

    def release(self, account: str) -> None:
        self.said.append(f"release {account}")

    def let_in(self, reach: dict[str, Any]) -> None:
        self.lists.append("new")
        if self.broken == "lists":
            raise Refused("pg_hba.conf has no line", "run playbooks/servers.yml")

    def undo_let_in(self) -> None:
        self.lists.append("old")

    def unexplained(self, reach: Any, moved: Any) -> list[Any]:
        return []


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state file in a folder of the test's own."""
    path = tmp_path / "state/owned.json"
    monkeypatch.setattr(database_websites, "MARKS", path)
    monkeypatch.setattr(database_websites.transaction.os, "chown", lambda *args: None)
    yield path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server({})
    monkeypatch.setattr(database_websites, "used_engines", lambda *args: {"mariadb": found})
    return found


def converge(*wishes: dict[str, Any], **options: Any) -> Any:
    return database_websites.converge(settings(*wishes, **options), wishes)


def test_converge_marks_a_website_and_says_what_was_built(marks: Path, server: Server) -> None:
    server.after = {"w20001": in_mariadb()}
    outcome = converge(website())
    assert json.loads(marks.read_text()) == {NAME: mark()}
    assert outcome.created == [NAME]
    assert outcome.as_built[NAME]["database"] == {
        "engine": "mariadb", "version": "11.8", "database": "w20001", "user": "w20001",
        "reachable_from": ["10.0.0.11", "fd00::11"],
    }


def test_converge_writes_nothing_in_check_mode_and_plans_the_same(marks: Path, server: Server) -> None:
    shown = converge(website(), check=True)
    assert server.said == [] and not marks.exists()
    server.after = {"w20001": in_mariadb()}
    assert converge(website()).changes == shown.changes


def test_converge_leaves_a_malformed_website_and_makes_the_others(marks: Path, server: Server) -> None:
    server.after = {"w20001": in_mariadb()}
    converge(website())
    server.seen, server.said = dict(server.after), []
    server.after["w20002"] = in_mariadb()
    bad, elsewhere = website(state="here"), website(3, uid=0, database={"engine": "mariadb", "host": "db2"})
    outcome = database_websites.converge(settings(website(), website(2)), [bad, website(2), elsewhere])
    assert [left.website for left in outcome.refused] == [NAME] and outcome.created == [website(2)["name"]]
    assert [*json.loads(marks.read_text())] == [NAME, website(2)["name"]]
    assert not [sql for sql in server.said if "w20001" in sql]


@pytest.mark.parametrize("check", [True, False])
def test_converge_begins_nothing_on_a_full_disk(
    marks: Path, server: Server, monkeypatch: pytest.MonkeyPatch, check: bool,
) -> None:
    """MariaDB would wait for room within a statement, and the run with it."""
    monkeypatch.setattr(database.os, "statvfs", lambda path: SimpleNamespace(f_bavail=10, f_frsize=2**20))
    with pytest.raises(Refused, match="MariaDB has 10 MiB left in /"):
        converge(website(), check=check)
    assert server.said == [] and not marks.exists()


def test_converge_marks_before_it_creates(marks: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle must leave nothing that the next run takes for somebody else's."""

    def look(sql: str, label: str) -> None:
        assert json.loads(marks.read_text()) == {NAME: mark(pending=True)}
        execute(sql, label)

    execute = server.execute
    monkeypatch.setattr(server, "execute", look)
    server.after = {"w20001": in_mariadb()}
    converge(website())
    assert json.loads(marks.read_text()) == {NAME: mark()}


@pytest.mark.parametrize("broken", ["CREATE DATABASE", "GRANT", "lists"])
def test_converge_takes_everything_back_when_every_statement_fails(marks: Path, server: Server, broken: str) -> None:
    server.broken = broken
    with pytest.raises(Refused) as refused:
        converge(website(1), website(2))
    made = [sql for sql in server.said if sql.startswith("CREATE")]
    gone = [sql for sql in server.said if sql.startswith("DROP")]
    assert sorted(sql.split()[2] for sql in made) == sorted(sql.split()[2] for sql in gone)
    assert json.loads(marks.read_text()) == {}
    assert "not taken back" not in refused.value.what
    assert server.lists == (["new", "old"] if broken == "lists" else [])


def test_converge_takes_everything_back_when_the_account_is_not_there_afterwards(marks: Path, server: Server) -> None:
    with pytest.raises(Refused, match=r"w20001 .* is not in MariaDB as it was written"):
        converge(website())
    assert "DROP DATABASE `w20001`" in server.said and json.loads(marks.read_text()) == {}


def test_converge_says_what_could_not_be_taken_back_and_keeps_its_mark(
    marks: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = server.execute

    def failing(sql: str, label: str) -> None:
        if sql.startswith(("GRANT", "DROP DATABASE")):
            raise Refused("MariaDB is gone", "start it")
        execute(sql, label)

    monkeypatch.setattr(server, "execute", failing)
    with pytest.raises(Refused, match="MariaDB is gone; not taken back: CREATE DATABASE w20001"):
        converge(website())
    assert json.loads(marks.read_text()) == {NAME: mark()}


def test_converge_leaves_one_website_as_it_was_when_its_statement_fails(marks: Path, server: Server) -> None:
    """One bad website never blocks the others, and leaves nothing of its own."""
    server.broken = "CREATE USER 'w20002'@'fd00::11'"
    server.after = {"w20001": in_mariadb()}
    outcome = converge(website(1), website(2))
    assert [(left.website, left.mend) for left in outcome.refused] == [("opd2.tarakankota.go.id", "make room")]
    assert {change.website for change in outcome.changes} == {NAME} and outcome.created == [NAME]
    assert json.loads(marks.read_text()) == {NAME: mark()}
    about = [sql.split()[0] for sql in server.said if "w20002" in sql]
    assert about.count("CREATE") == about.count("DROP") == 2


CHANGED, AGAIN = in_mariadb(verifier="*" + "B" * 40), in_mariadb(verifier="*" + "C" * 40)


def beside_one_that_was_changed(marks: Path, server: Server, there: Seen = CHANGED) -> None:
    """Another website, whose own login has changed its password before the run looked."""
    marks.parent.mkdir()
    marks.write_text(json.dumps({NAME: mark()}))
    server.seen = {"w20001": there}


@pytest.mark.parametrize("wishes", [(website(1),), (website(1), website(2))], ids=["alone", "beside another"])
def test_converge_leaves_a_website_that_changes_its_own_account_while_it_runs(
    marks: Path, server: Server, wishes: Any
) -> None:
    """A connection that stays open can change the password as often as it likes."""
    beside_one_that_was_changed(marks, server)
    server.after = {"w20001": AGAIN, "w20002": in_mariadb()}
    outcome = converge(*wishes)
    assert [left.website for left in outcome.refused] == [NAME] and NAME in json.loads(marks.read_text())
    assert {change.website for change in outcome.changes} == {wish["name"] for wish in wishes[1:]}


def test_converge_leaves_a_website_whose_own_change_cannot_be_put_right(marks: Path, server: Server) -> None:
    """It may hold a lock on what it can change; it is the only one that differs, and yet the server is well."""
    beside_one_that_was_changed(marks, server)
    server.broken = "ALTER USER"
    outcome = converge(website(1))
    assert [left.website for left in outcome.refused] == [NAME] and outcome.changes == []
    assert json.loads(marks.read_text()) == {NAME: mark()}


@pytest.mark.parametrize("there", [in_mariadb(limit=99), in_mariadb(extra=("on mysql",))])
def test_converge_takes_everything_back_when_an_account_gained_what_its_website_cannot_take(
    marks: Path, server: Server, there: Seen
) -> None:
    beside_one_that_was_changed(marks, server)
    server.after = {"w20001": there}
    with pytest.raises(Refused, match="is not in MariaDB as it was written"):
        converge(website(1))


def test_converge_takes_a_new_account_back_whose_password_is_another(marks: Path, server: Server) -> None:
    """Nobody knows it yet, so that no website can have changed it."""
    server.after = {"w20001": AGAIN}
    with pytest.raises(Refused, match="is not in MariaDB as it was written"):
        converge(website(1))
    assert json.loads(marks.read_text()) == {}


def test_converge_leaves_what_is_not_ours_and_converges_the_rest(marks: Path, server: Server) -> None:
    server.seen = {"w20001": in_mariadb()}
    server.after = {"w20001": in_mariadb(), "w20002": in_mariadb()}
    assert [conflict["website"] for conflict in converge(website(1), website(2), check=True).conflicts] == [NAME]
    outcome = converge(website(1), website(2))
    assert "is not ours (mariadb, database or user w20001)" in outcome.refused[0].what
    assert outcome.conflicts == [] and list(json.loads(marks.read_text())) == ["opd2.tarakankota.go.id"]
    assert not any("w20001" in sql for sql in server.said)


def test_converge_purges_after_all_else_succeeded(marks: Path, server: Server) -> None:
    marks.parent.mkdir()
    marks.write_text(json.dumps({NAME: mark()}))
    server.seen = {"w20001": in_mariadb()}
    server.after = {"w20002": in_mariadb()}
    converge(website(1, state="purged"), website(2))
    first = server.said.index("release w20001")
    assert all("w20002" in sql for sql in server.said[:first])
    assert all("w20001" in sql for sql in server.said[first:])
    assert list(json.loads(marks.read_text())) == ["opd2.tarakankota.go.id"]


def test_converge_keeps_data_when_something_else_fails_in_the_run(marks: Path, server: Server) -> None:
    marks.parent.mkdir()
    marks.write_text(json.dumps({NAME: mark()}))
    server.seen = {"w20001": in_mariadb()}
    server.broken = "CREATE USER 'w20002'"
    with pytest.raises(Refused):
        converge(website(1, state="purged"), website(2))
    assert not any("w20001" in sql for sql in server.said)
    assert json.loads(marks.read_text()) == {NAME: mark()}


def test_converge_settles_a_killed_runs_mark_when_nothing_differs(marks: Path, server: Server) -> None:
    marks.parent.mkdir()
    marks.write_text(json.dumps({NAME: mark(pending=True)}))
    server.seen = {"w20001": in_mariadb()}
    outcome = converge(website())
    assert outcome.changes == [] and json.loads(marks.read_text()) == {NAME: mark()}

"""The database layer's plan, without a server."""

from typing import Any

import pytest
from ansible.module_utils import database, database_mariadb, database_postgresql
from ansible.module_utils.database import NOTHING, Database, Seen
from ansible.module_utils.transaction import Refused
from database_cases import AT_WEB1, AT_WEB2, HASH, in_mariadb, in_postgresql, mark, settings, website

NAME = website()["name"]


def plan(*websites: dict[str, Any], owned: Any = (), seen: Any = (), **options: Any) -> database.Plan:
    fit, faults = database.checked(websites)
    return database.plan(fit, dict(owned), dict(seen), settings(*websites, **options), faults)


def steps_of(found: database.Plan) -> list[tuple[str | None, str, str]]:
    return [change[:3] for change in found.changes]


def refusal_in(found: database.Plan) -> str:
    """What the one refusal of a plan says; the website it names has no move."""
    (left,) = found.refused
    assert left.website == NAME and NAME not in {move.website for move in found.moves} and left.mend
    return left.what


def test_plan_creates_database_and_user_when_neither_exists() -> None:
    found = plan(website(), website(2, "postgresql"))
    assert steps_of(found) == [
        (NAME, "database", "create"), (NAME, "database user", "create"),
        ("opd2.tarakankota.go.id", "database", "create"), ("opd2.tarakankota.go.id", "database user", "create"),
    ]
    assert found.created == [NAME, "opd2.tarakankota.go.id"]
    assert found.owned[NAME] == mark()
    assert found.reach == {"mariadb": {"w20001": AT_WEB1}, "postgresql": {"w20002": AT_WEB1}}


def test_plan_is_empty_when_all_is_as_wanted() -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(), owned={NAME: mark()}, seen=seen)
    assert (found.moves, found.changes, found.created) == ([], [], [])


def test_plan_leaves_other_servers_websites_alone() -> None:
    assert plan(website(), host="db2").changes == []


def test_plan_is_a_conflict_when_the_name_is_taken_and_not_ours() -> None:
    found = plan(website(), seen={"mariadb": {"w20001": database.Seen(Database(), {}, ())}})
    assert found.changes == [] and found.owned == {}
    assert found.conflicts == [{"website": NAME, "subject": "database", "where": "mariadb, database or user w20001"}]


def test_plan_needs_no_verifier_in_check_mode_only() -> None:
    wish = website()
    waiting = settings(wish, check=True)._replace(verifiers={"w20001": None})
    shown = database.plan([wish], {}, {}, waiting)
    assert shown.changes == plan(wish).changes
    real = database.plan([wish], {}, {}, waiting._replace(check=False))
    assert f"{NAME} has no credential on web1" in refusal_in(real)


def test_plan_refuses_a_verifier_of_another_shape() -> None:
    wish = website()
    hostile = settings(wish)._replace(verifiers={"w20001": "' OR 1=1"})
    assert "the verifier of w20001 is none of mariadb" in refusal_in(database.plan([wish], {}, {}, hostile))


def test_plan_locks_and_keeps_data_when_archived() -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(state="archived"), owned={NAME: mark()}, seen=seen)
    assert steps_of(found) == [(NAME, "database user", "suspend")]
    assert found.moves[0].after.database == Database() and found.reach["mariadb"]["w20001"] == ()


def test_plan_makes_nothing_for_an_archived_website_without_a_database() -> None:
    assert plan(website(state="archived")).changes == []


@pytest.mark.parametrize("state", ["present", "suspended"])
def test_plan_unlocks_when_the_website_comes_back(state: str) -> None:
    seen = {"mariadb": {"w20001": in_mariadb(locked=True)}}
    found = plan(website(state=state), owned={NAME: mark()}, seen=seen)
    assert found.moves[0].after == in_mariadb()


def test_plan_purges_only_what_the_same_run_created() -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(state="purged"), owned={NAME: mark()}, seen=seen)
    assert steps_of(found) == [(NAME, "database", "purge"), (NAME, "database user", "purge")]
    assert found.owned == {} and found.moves[0].after == NOTHING


def test_plan_keeps_an_older_runs_database_when_purged() -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(state="purged"), owned={NAME: mark(created_by="run-000000")}, seen=seen)
    assert steps_of(found) == [(NAME, "database user", "suspend")]
    assert found.orphans == [NAME] and found.moves[0].after.database


def test_plan_never_touches_a_foreign_database_when_purged() -> None:
    found = plan(website(state="purged"), seen={"mariadb": {"w20001": in_mariadb()}})
    assert (found.changes, found.conflicts) == ([], [])


def test_plan_locks_and_reports_what_nobody_names() -> None:
    seen = {"postgresql": {"w20002": in_postgresql("w20002")}}
    found = plan(owned={NAME: mark(2, "postgresql")}, seen=seen)
    assert steps_of(found) == [(NAME, "database user", "suspend")]
    assert found.orphans == [NAME] and found.owned == {NAME: mark(2, "postgresql")}


def test_plan_drops_a_mark_when_neither_data_nor_wish_is_left() -> None:
    found = plan(owned={NAME: mark(pending=True)})
    assert (found.changes, found.owned, found.orphans) == ([], {}, [])


def test_plan_counts_a_database_as_created_when_the_run_that_made_it_was_killed() -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(), owned={NAME: mark(pending=True)}, seen=seen)
    assert (found.changes, found.created, found.owned) == ([], [NAME], {NAME: mark()})


def test_plan_moves_the_way_in_when_the_web_host_changes() -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(web_host="web2"), owned={NAME: mark()}, seen=seen)
    assert steps_of(found) == [(NAME, "database user", "update")]
    assert found.changes[0].before["from"] == list(AT_WEB1) and found.changes[0].after["from"] == list(AT_WEB2)


def test_plan_tells_a_replaced_credential_without_showing_it() -> None:
    seen = {"mariadb": {"w20001": in_mariadb(verifier="*" + "B" * 40)}}
    found = plan(website(), owned={NAME: mark()}, seen=seen)
    assert found.changes[0].after["credential"] == "replaced"
    assert HASH not in repr(found.changes) and "BBBB" not in repr(found.changes)


OPEN = in_postgresql("w20001")._replace(database=Database("w20001", public=True))


@pytest.mark.parametrize("engine, there", [
    ("mariadb", in_mariadb(verifier="*" + "B" * 40)), ("mariadb", in_mariadb(verifier="")),
    ("mariadb", in_mariadb()._replace(database=None)), ("postgresql", in_postgresql("w20001", verifier="md5x")),
    ("postgresql", in_postgresql("w20001", verifier=None)), ("postgresql", OPEN),
])
def test_plan_tells_what_a_website_s_own_login_can_have_done(engine: str, there: Seen) -> None:
    """Who got into one website must not be able to stop everybody's runs."""
    found = plan(website(1, engine), owned={NAME: mark(1, engine)}, seen={engine: {"w20001": there}})
    assert [change.by_website for change in found.changes] == [True]


@pytest.mark.parametrize("engine, there", [
    ("mariadb", NOTHING), ("mariadb", Seen(Database(), {}, ())), ("mariadb", in_mariadb(locked=True)),
    ("mariadb", in_mariadb(limit=99)), ("mariadb", in_mariadb(extra=("on mysql",))), ("mariadb", in_mariadb(AT_WEB2)),
    ("mariadb", in_mariadb(verifier="", limit=99)),
    ("postgresql", in_postgresql("w20001", extra=("superuser",))), ("postgresql", in_postgresql("postgres")),
    ("postgresql", OPEN._replace(database=Database("postgres", public=True))),
    ("postgresql", in_postgresql("w20001")._replace(database=None)), ("postgresql", in_postgresql("w20001", AT_WEB2)),
])
def test_plan_takes_nothing_else_for_the_website_s_own_doing(engine: str, there: Seen) -> None:
    found = plan(website(1, engine), owned={NAME: mark(1, engine)}, seen={engine: {"w20001": there}})
    assert found.changes and not any(change.by_website for change in found.changes)


def test_plan_takes_a_lost_credential_for_nobody_s_own_doing() -> None:
    """The web host's is gone, which a website's login cannot have done."""
    wish, seen = website(), {"mariadb": {"w20001": in_mariadb()}}
    lost = settings(wish, check=True)._replace(verifiers={"w20001": None})
    assert [c.by_website for c in database.plan([wish], {NAME: mark()}, seen, lost).changes] == [False]


@pytest.mark.parametrize("changes", [{"uid": 20007}, {"database": {"engine": "postgresql", "host": "db1"}}])
def test_plan_refuses_to_move_a_database_to_another_uid_or_engine(changes: dict[str, Any]) -> None:
    seen = {"mariadb": {"w20001": in_mariadb()}}
    found = plan(website(**changes), owned={NAME: mark()}, seen=seen)
    assert f"{NAME} shall have uid" in refusal_in(found)
    assert found.owned == {NAME: mark()} and found.reach["mariadb"] == {"w20001": AT_WEB1}


@pytest.mark.parametrize("changes", [{"web_host": "web9"}, {"size": "huge"}])
def test_plan_refuses_what_the_server_does_not_know(changes: dict[str, Any]) -> None:
    bad = website(**changes)
    found = database.plan(database.checked([bad, website(2)])[0], {}, {}, settings(bad, website(2)))
    assert NAME in refusal_in(found)
    assert [move.account for move in found.moves] == ["w20002"] and found.created == ["opd2.tarakankota.go.id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a'b.go.id"}, {"name": "dinkes.go.id\n"}, {"name": "UPPER.go.id"}, {"name": "x" * 260}, {"name": None},
        {"name": []},
        {"uid": "20001; DROP"}, {"uid": 0}, {"uid": True}, {"uid": 20001.5}, {"state": "here"},
        {"web_host": "web1 0.0.0.0/0"}, {"web_host": "../x"}, {"web_host": "web1\n"},
        {"database": {"engine": "sqlite", "host": "db1"}}, {"database": {"engine": "mariadb", "host": "`"}},
        {"database": "mariadb"}, {"database": {"engine": [], "host": "db1"}}, {"created_by": "run\n1"},
    ],
)
def test_checked_refuses_a_value_of_another_shape_and_no_other_website(changes: dict[str, Any]) -> None:
    bad = website(**changes)
    fit, (left,) = database.checked([bad, website(2)])
    assert left.website == str(bad["name"]) and "the desired state's" in left.what and left.mend
    assert fit == [website(2)]


def test_checked_refuses_two_websites_with_one_uid_and_no_other() -> None:
    fit, faults = database.checked([website(1), website(2, uid=20001), website(3)])
    assert sorted(left.website for left in faults) == [NAME, "opd2.tarakankota.go.id"]
    assert "both have the uid 20001" in faults[0].what and fit == [website(3)]


def test_checked_tells_only_of_its_own() -> None:
    rows = [website(1, uid=0), website(2, state="here", web_host="web2")]
    assert [left.website for left in database.checked(rows, lambda w: w["web_host"] == "web2")[1]] == [rows[1]["name"]]


def test_plan_leaves_a_website_of_another_shape_as_it_is_and_its_account_open() -> None:
    bad = website(state="here")
    found = database.plan([], {NAME: mark()}, {"mariadb": {"w20001": in_mariadb()}}, settings(),
                          database.checked([bad])[1])
    assert "the desired state's state" in refusal_in(found)
    assert (found.owned, found.changes, found.orphans) == ({NAME: mark()}, [], [])
    assert found.reach["mariadb"] == {"w20001": AT_WEB1}


def test_checked_leaves_out_websites_without_a_database() -> None:
    assert database.checked([website(database=None)]) == ([], [])


def test_addresses_are_spelled_in_one_way() -> None:
    assert database.addresses(["FD00:0:0::11", "10.0.0.1", None]) == ["fd00::11", "10.0.0.1"]
    with pytest.raises(Refused, match=r"10\.0\.0\.1/8"):
        database.addresses(["10.0.0.1/8"])


@pytest.mark.parametrize("engine", [database_mariadb, database_postgresql])
def test_look_at_the_catalogs_is_of_all_accounts_or_of_the_named_ones(engine: Any) -> None:
    looks = [sql for name, sql in engine.CATALOG.items() if name != "rules"]
    for sql in looks:
        assert database.of_accounts(sql, None) == sql and "^w[0-9]+$" in sql
        assert database.of_accounts(sql, ["w20001", "w20002"]).endswith(" IN ('w20001', 'w20002')")

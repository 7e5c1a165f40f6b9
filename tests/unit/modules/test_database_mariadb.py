"""MariaDB's catalogs and statements, without a server."""

import json
from typing import Any

from ansible.module_utils import database_mariadb as mariadb
from ansible.module_utils.database import NOTHING, Database, Login, Seen, of_accounts
from database_cases import AT_WEB1, AT_WEB2, HASH, in_mariadb

PRIV = {"access": 0, "plugin": "mysql_native_password", "authentication_string": HASH, "max_user_connections": 10}


def grant(db: str = "w20001", handed_on: str = "N", held: str = "YYY") -> tuple[str, ...]:
    return "w20001", "10.0.0.11", db, handed_on, held


def read(priv: dict[str, Any], *grants: tuple[str, ...]) -> Seen:
    return mariadb.seen(["w20001"], [("w20001", "10.0.0.11", json.dumps(priv))], grants)["w20001"]


def test_seen_is_as_wanted_when_the_account_is_ours() -> None:
    assert read(PRIV, grant()) == in_mariadb(("10.0.0.11",))


def test_seen_gives_no_reach_when_locked() -> None:
    found = read({**PRIV, "account_locked": True}, grant())
    assert found.reach == () and found.logins["10.0.0.11"].locked


def test_seen_names_what_an_account_has_beyond_its_own() -> None:
    assert read({**PRIV, "access": 1}, grant()).logins["10.0.0.11"].extra == ("on the whole server",)
    assert read(PRIV, grant(), grant(db="w20002")).logins["10.0.0.11"].extra == ("on w20002",)
    assert read(PRIV, grant(handed_on="Y")).logins["10.0.0.11"].extra == ("not all on its own",)
    assert read(PRIV, grant(held="YNY")).logins["10.0.0.11"].extra == ("not all on its own",)
    assert read(PRIV).logins["10.0.0.11"].extra == ("not all on its own",)


def test_seen_names_what_an_account_has_in_parts_and_by_roles() -> None:
    parts = [("w20001", "10.0.0.11", "on table ", "w20002", ".", "t"), ("w20001", "10.0.0.11", "member of ", "baca"),
             ("w20001", "10.0.0.12", "member of ", "lain")]
    found = mariadb.seen(["w20001"], [("w20001", "10.0.0.11", json.dumps(PRIV))], [grant()], parts)
    assert found["w20001"].logins["10.0.0.11"].extra == ("member of baca", "on table w20002.t")


def test_every_part_is_looked_up_for_the_accounts_that_a_run_made_as_well() -> None:
    for sql in (*mariadb.PARTS, mariadb.CATALOG["grants"], mariadb.CATALOG["accounts"]):
        assert of_accounts(sql, ["w20001"]).endswith("WHERE User IN ('w20001')")
    tables = {sql.split(" FROM ")[1].split()[0] for sql in mariadb.PARTS}
    assert tables == {"mysql.tables_priv", "mysql.columns_priv", "mysql.procs_priv", "mysql.roles_mapping"}


def test_seen_takes_no_other_plugins_secret_for_a_verifier() -> None:
    assert read({**PRIV, "plugin": "ed25519"}, grant()).logins["10.0.0.11"].verifier is None
    assert read({**PRIV, "auth_or": [{}]}, grant()).logins["10.0.0.11"].verifier is None


def test_seen_holds_a_user_without_database_and_a_database_without_user() -> None:
    found = mariadb.seen(["w20002"], [("w20001", "%", json.dumps(PRIV))], [])
    assert found["w20002"] == Seen(Database(), {}, ()) and found["w20001"].database is None


def statements(before: Seen, after: Seen) -> list[str]:
    return [step.sql for step in mariadb.steps("w20001", before, after)]


def test_steps_create_database_then_an_account_for_each_address() -> None:
    assert statements(NOTHING, in_mariadb()) == [
        "CREATE DATABASE `w20001` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        *(
            statement
            for at in AT_WEB1
            for statement in (
                f"CREATE USER 'w20001'@'{at}' IDENTIFIED VIA mysql_native_password USING '{HASH}' "
                "WITH MAX_USER_CONNECTIONS 10 ACCOUNT UNLOCK",
                f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'w20001'@'{at}'",
                f"GRANT ALL PRIVILEGES ON `w20001`.* TO 'w20001'@'{at}'",
            )
        ),
    ]


def test_steps_take_back_what_they_create() -> None:
    undo = [step.undo for step in mariadb.steps("w20001", NOTHING, in_mariadb()) if step.undo]
    assert undo == ["DROP DATABASE `w20001`", "DROP USER 'w20001'@'10.0.0.11'", "DROP USER 'w20001'@'fd00::11'"]


def test_steps_move_an_account_by_making_the_new_before_dropping_the_old() -> None:
    found = statements(in_mariadb(), in_mariadb(AT_WEB2))
    assert found[0].startswith("CREATE USER 'w20001'@'10.0.0.12'")
    assert found[-2:] == ["DROP USER 'w20001'@'10.0.0.11'", "DROP USER 'w20001'@'fd00::11'"]
    back = mariadb.steps("w20001", in_mariadb(), in_mariadb(AT_WEB2))[-1].undo
    assert back and back.startswith("CREATE USER 'w20001'@'fd00::11'") and "GRANT ALL" in back


def test_steps_write_no_password_when_only_the_limit_changes() -> None:
    [first, _] = mariadb.steps("w20001", in_mariadb(), in_mariadb(limit=25))
    assert "IDENTIFIED" not in first.sql and "MAX_USER_CONNECTIONS 25" in first.sql
    assert first.undo and "MAX_USER_CONNECTIONS 10" in first.undo


def test_steps_lock_and_end_sessions_when_archived() -> None:
    found = statements(in_mariadb(), in_mariadb(locked=True))
    assert all("ACCOUNT LOCK" in statement for statement in found[:2]) and found[-1] == "KILL USER w20001"


def test_steps_mend_privileges_that_are_not_ours() -> None:
    found = statements(in_mariadb(("10.0.0.11",), extra=("on w20002",)), in_mariadb(("10.0.0.11",)))
    assert [statement.split()[0] for statement in found] == ["REVOKE", "GRANT"]


def test_steps_revoke_roles_by_name_and_all_else_at_once() -> None:
    extra = ("member of odd`role", "on table w20002.t")
    first, *others = statements(in_mariadb(("10.0.0.11",), extra=extra), in_mariadb(("10.0.0.11",)))
    assert first == "REVOKE `odd``role` FROM 'w20001'@'10.0.0.11'"
    assert [statement.split(" FROM ")[0].split(" TO ")[0] for statement in others] == [
        "REVOKE ALL PRIVILEGES, GRANT OPTION", "GRANT ALL PRIVILEGES ON `w20001`.*"]


def test_steps_purge_users_before_the_database_without_a_way_back() -> None:
    found = mariadb.steps("w20001", in_mariadb(), NOTHING)
    assert [step.sql.split()[1] for step in found] == ["USER", "USER", "DATABASE"]
    assert not any(step.undo for step in found)


def test_steps_never_write_back_a_secret_of_another_shape() -> None:
    old = Seen(Database(), {"10.0.0.11": Login("' OR '", False, 10)}, ("10.0.0.11",))
    assert not any("OR" in (step.undo or "").split("'") for step in mariadb.steps("w20001", old, NOTHING))
    [step] = mariadb.steps("w20001", old, in_mariadb(("10.0.0.11",)))
    assert step.undo is None


def test_label_of_a_step_holds_no_verifier() -> None:
    assert not any(HASH in step.label for step in mariadb.steps("w20001", NOTHING, in_mariadb()))

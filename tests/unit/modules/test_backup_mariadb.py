"""What a MariaDB dump becomes before it is loaded, and what goes before it; servers do it in the molecule scenario."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_cases import ours, with_database
from website_backup import database, loadable

__all__ = ["ours"]

SETS = "/*!50003 SET sql_mode              = 'STRICT_ALL_TABLES' */ ;;"
VIEW = "/*!50001 CREATE ALGORITHM=MERGE */"
COLLATION = "/*!50001 SET collation_connection      = utf8mb3_general_ci */;"
DELIMITER = "DELIMITER ;;"
# As mariadb-dump 10.11 and 11.8 write them: the line before, the line, and what it becomes.
STATEMENTS = [
    (VIEW, "/*!50013 DEFINER=`w20001`@`10.9.9.9` SQL SECURITY INVOKER */", "/*!50013 SQL SECURITY INVOKER */"),
    (COLLATION, "/*!50001 CREATE ALGORITHM=UNDEFINED DEFINER=`reader` SQL SECURITY DEFINER VIEW `v` AS select 1 */;",
     "/*!50001 CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 1 */;"),
    (DELIMITER, "/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER t BEFORE INSERT ON t",
     "/*!50003 CREATE*/ /*!50017 */ /*!50003 TRIGGER t BEFORE INSERT ON t"),
    (SETS, "/*!50106 CREATE*/ /*!50117 DEFINER=`a``*/ b`@`%`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY",
     "/*!50106 CREATE*/ /*!50117 */ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY"),
    (DELIMITER, "CREATE DEFINER=`w20001`@`10.9.9.9` PROCEDURE `p`()", "CREATE PROCEDURE `p`()"),
    (DELIMITER, 'CREATE DEFINER="w20001"@"10.9.9.9" PACKAGE BODY "k" AS', 'CREATE PACKAGE BODY "k" AS'),
]


def loaded(*lines: str) -> list[str]:
    return [line.decode().rstrip("\n") for line in loadable.without_definers(f"{line}\n".encode() for line in lines)]


@pytest.mark.parametrize(("before", "line", "after"), STATEMENTS)
def test_definer_goes_from_a_statement(before: str, line: str, after: str) -> None:
    """The account whose web host has another address since may not name its former self."""
    assert loaded(before, line, "END") == [before, after, "END"]


@pytest.mark.parametrize("line", [line for _, line, _ in STATEMENTS])
@pytest.mark.parametrize("before", ["INSERT INTO `t` VALUES", "BEGIN", "SELECT '", ""])
def test_definer_stays_in_a_websites_own_text(before: str, line: str) -> None:
    """A routine's body, or a row of a table that holds such text."""
    row = f"(1,'{line}'),"
    assert loaded(before, line, row) == [before, line, row]


class Recorded:
    """A client that answers what is there, and keeps what it was given."""

    engine = "mariadb"

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def call(self, argv: list[str], stdin: Any = None, text: bytes | None = None, stdout: Any = None) -> bytes:
        if "-e" in argv:
            return b"DROP PACKAGE IF EXISTS `k`;\n"
        self.texts.append(text if text is not None else stdin.read())
        return b""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    monkeypatch.setattr(database, "client", lambda *_: contextlib.nullcontext(made))
    return made


def test_load_drops_what_is_there_in_the_mode_that_knows_packages(
    ours: Any, tmp_path: Path, recorded: Recorded
) -> None:
    """Elsewhere `DROP PACKAGE` is a mistake in the statement, and the tables before it are gone by then."""
    dump = tmp_path / "dump"
    dump.write_text(f"{DELIMITER}\n{STATEMENTS[4][1]}\n")
    database.load(with_database(ours[0], tmp_path), ours[0], dump)
    drops, text = recorded.texts
    assert b"sql_mode=ORACLE;" in drops.splitlines()[0] and drops.endswith(b"DROP PACKAGE IF EXISTS `k`;\n")
    assert text.decode() == f"{DELIMITER}\n{STATEMENTS[4][2]}\n"


def test_load_drops_nothing_where_the_dump_cannot_be_read_whole(
    ours: Any, tmp_path: Path, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say: MariaDB has no transaction around all of it."""
    def full(_: Any) -> Iterator[bytes]:
        yield b"CREATE TABLE t (a int);\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(loadable.LINES, "mariadb", full)
    (tmp_path / "dump").touch()
    with pytest.raises(OSError, match="No space left"):
        database.load(with_database(ours[0], tmp_path), ours[0], tmp_path / "dump")
    assert recorded.texts == []

"""Change of a dump only what would keep the website's own account from loading it, or from loading it as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Where mariadb-dump puts a definer: at a statement's start, after a line of its own words. Data hold no line's end.
AHEAD = re.compile(rb"DELIMITER ;;$|/\*!50003 SET .* ;;$|/\*!50001 (?:CREATE ALGORITHM=|SET collation_connection )")
WHO = rb"(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"
DEFINER = re.compile(rb"(CREATE |/\*!50013 |/\*!50001 CREATE ALGORITHM=[A-Z]+ |"
                     rb"/\*!50(?:003|106) CREATE\*/ /\*!50[01]17 )DEFINER=%b(?:@%b)? ?" % (WHO, WHO))
COPY = re.compile(rb"COPY .* FROM stdin;$")
EXTENSION = re.compile(rb"COMMENT ON EXTENSION .*;$")
LARGE_OBJECTS = re.compile(rb"-- Data for Name: .*; Type: BLOBS; Schema: -; Owner: -$")


def without_definers(lines: Iterable[bytes]) -> Iterator[bytes]:
    """A MariaDB dump whose views, triggers, routines and events come to belong to the account that loads it. One that
    names another needs a right over the whole server: the account at the web host's former address, say."""
    before = b""
    for line in lines:
        found = DEFINER.match(line) if AHEAD.match(before) else None
        yield found[1] + line[found.end():] if found else line
        before = line


def in_one_transaction(lines: Iterable[bytes]) -> Iterator[bytes]:
    """A PostgreSQL dump without the transactions that pg_dump begins and commits around large objects, since the commit
    would be that of the whole load, and without what it says of extensions: they bring that themselves, and to say it
    is their owner's right, who may be the administrator."""
    copying = large_objects = False
    for line in lines:
        if copying:
            copying = line != b"\\.\n"
        elif LARGE_OBJECTS.match(line):
            large_objects = True
        elif large_objects and line in (b"BEGIN;\n", b"COMMIT;\n"):
            large_objects = line == b"BEGIN;\n"
            continue
        elif EXTENSION.match(line):
            continue
        else:
            copying = bool(COPY.match(line))
        yield line


LINES = {"mariadb": without_definers, "postgresql": in_one_transaction}

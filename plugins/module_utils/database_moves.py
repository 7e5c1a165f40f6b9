"""What a database server holds of a website, the way from that to what must be there, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible.module_utils.transaction import Change


class Database(NamedTuple):
    """A database as far as access to it goes; MariaDB knows no owner and no public access."""

    owner: str = ""
    public: bool = False


class Login(NamedTuple):
    """One account of a website; `extra` names every privilege that it has beyond or lacks of its own database."""

    verifier: str | None
    locked: bool
    limit: int
    extra: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What an engine holds under one account name: MariaDB has a login for each address, PostgreSQL one, under "*"."""

    database: Database | None
    logins: Mapping[str, Login]
    reach: tuple[str, ...]  # addresses that the account may come from; none where it is locked


NOTHING = Seen(None, {}, ())


class Move(NamedTuple):
    """One website's way from what exists to what must exist."""

    website: str
    account: str
    engine: str
    before: Seen
    after: Seen


def told(seen: Seen) -> dict[str, Any] | None:
    """An account for the change list: without its verifier."""
    if not seen.logins:
        return None
    logins = list(seen.logins.values())
    text: dict[str, Any] = {
        "from": list(seen.reach),
        "locked": all(login.locked for login in logins),
        "connections": max(login.limit for login in logins),
    }
    extra = sorted({item for login in logins for item in login.extra})
    return {**text, "privileges beyond its own": extra} if extra else text


def changes_of(move: Move) -> list[Change]:
    """One website's changes, of its database and of its user."""
    changes, before, after = [], move.before, move.after
    if before.database != after.database:
        action = "create" if before.database is None else "purge" if after.database is None else "update"
        show = [None if d is None else {"engine": move.engine, "database": move.account, **d._asdict()}
                for d in (before.database, after.database)]
        changes.append(Change(move.website, "database", action, *show, _own_database(move)))
    if (before.logins, before.reach) != (after.logins, after.reach):
        was, now = told(before), told(after)
        if was and now:
            action = "suspend" if now["locked"] and not was["locked"] else "update"
            if {login.verifier for login in before.logins.values()} != {lo.verifier for lo in after.logins.values()}:
                now["credential"] = "replaced"
        else:
            action = "create" if now else "purge"
        changes.append(Change(move.website, "database user", action, was, now, _own_user(move)))
    return changes


def _own_database(move: Move) -> bool:
    """Whether the website's own login can have done this to its database: drop MariaDB's, or open PostgreSQL's."""
    was, now = move.before.database, move.after.database
    if was is None:
        return move.engine == "mariadb" and bool(move.before.logins and now)
    return was._replace(public=False) == now


def _own_user(move: Move) -> bool:
    """Whether the website's own login can have done this to itself: change its password, and no more."""
    was, now = ({host: login._replace(verifier=None) for host, login in seen.logins.items()}
                for seen in (move.before, move.after))
    known = None not in {login.verifier for login in move.after.logins.values()}
    return known and (was, move.before.reach) == (now, move.after.reach)


def own_doing(move: Move) -> bool:
    """Whether all that a move changes is what the website's own login can have done, and can do again meanwhile."""
    return all(change.by_website for change in changes_of(move))

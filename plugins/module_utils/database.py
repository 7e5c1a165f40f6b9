"""What the database layer's modules share: shapes that may reach SQL, and the plan over both engines."""

from __future__ import annotations

import ipaddress
import os
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ansible.module_utils.database_moves import NOTHING, Database, Login, Move, Seen, changes_of
from ansible.module_utils.transaction import Change, Left, Refused

CREDENTIALS = pathlib.Path("/etc/websites/credentials")
PORTS = {"mariadb": 3306, "postgresql": 5432}
STATES = ("present", "suspended", "archived", "purged")
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})+\Z")
HOST = re.compile(rf"{LABEL}\Z")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
VERIFIERS = {
    "mariadb": re.compile(r"\*[0-9A-F]{40}\Z"),
    "postgresql": re.compile(
        r"SCRAM-SHA-256\$[0-9]{4,7}:[A-Za-z0-9+/]{16,64}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=\Z"),
}
ROOM = 64  # MiB; where there is none left, MariaDB waits for some within a statement
FIRST_UID, LAST_UID = 20000, 2_000_000_000


class Step(NamedTuple):
    """One statement, what takes it back, and how an error message may name it (it may hold a verifier)."""

    sql: str
    undo: str | None
    label: str


class Plan(NamedTuple):
    """All moves, and what the module says of them. `owned` are the marks afterwards."""

    moves: list[Move]
    changes: list[Change]
    owned: dict[str, dict[str, Any]]
    created: list[str]
    conflicts: list[dict[str, str]]
    orphans: list[str]
    refused: list[Left]
    reach: dict[str, dict[str, tuple[str, ...]]]  # engine -> account -> addresses, for all that is owned


class Settings(NamedTuple):
    """The server's side of the plan."""

    host: str
    web_hosts: Mapping[str, list[str]]
    connections: Mapping[str, int]
    verifiers: Mapping[str, str | None]
    check: bool


def need_room(title: str, folder: str) -> None:
    """Raises Refused where an engine's data folder is all but full."""
    here = os.statvfs(folder)
    if (left := here.f_bavail * here.f_frsize >> 20) < ROOM:
        raise Refused(f"{title} has {left} MiB left in {folder}", f"make room ({ROOM} MiB at least), then run again")


def account_of(website: Mapping[str, Any]) -> str:
    return f"w{website['uid']}"


def addresses(texts: Iterable[str | None]) -> list[str]:
    """Addresses in the one spelling that both engines use; a host without IPv6 has null there.

    Raises Refused for what is no address.
    """
    try:
        return [str(ipaddress.ip_address(text)) for text in texts if text]
    except ValueError as error:
        raise Refused(f"the web hosts' addresses hold {error}", "give plain addresses in database_web_hosts") from error


def checked(websites: Iterable[Mapping[str, Any]], ours: Callable[[Mapping[str, Any]], bool] = bool,
            ) -> tuple[list[Mapping[str, Any]], list[Left]]:
    """The websites that have a database, by name, every value that may reach SQL or a file name checked for its shape.

    Beside them those of `ours` that do not fit and stay as they are, each with field and value.
    """
    found = sorted((w for w in websites if w.get("database")), key=lambda w: str(w.get("name")))
    faults: dict[str, Left] = {}
    names: dict[int, set[str]] = {}
    for website in found:
        name = str(website.get("name"))
        if fault := _fault(website):
            faults.setdefault(name, Left(name, fault, "write the desired state by `sop`, not by hand"))
        else:
            names.setdefault(website["uid"], set()).add(name)
    for uid, holders in names.items():
        for name in holders if len(holders) > 1 else ():
            what = f"{' and '.join(sorted(holders))} both have the uid {uid}"
            faults.setdefault(name, Left(name, what, "give each website a uid of its own"))
    mine = {str(website.get("name")) for website in found if ours(website)}
    return ([website for website in found if str(website.get("name")) not in faults],
            [fault for name, fault in faults.items() if name in mine])


def _fault(website: Mapping[str, Any]) -> str | None:
    """The first field that has another shape."""
    name, database, uid = website.get("name"), website["database"], website.get("uid")
    fits = {
        "name": isinstance(name, str) and NAME.match(name),
        "uid": type(uid) is int and FIRST_UID <= uid <= LAST_UID,
        "state": website.get("state") in STATES,
        "web_host": HOST.match(str(website.get("web_host"))),
        "created_by": RUN.match(str(website.get("created_by"))),
        "database": isinstance(database, dict) and str(database.get("engine")) in PORTS
        and HOST.match(str(database.get("host"))),
    }
    bad = next((field for field, good in fits.items() if not good), None)
    return bad and f"the desired state's {bad} of {name!r} is {website.get(bad)!r}"


def wanted(engine: str, website: Mapping[str, Any], verifier: str | None, settings: Settings) -> Seen:
    """What must exist for a website that is present, suspended or archived."""
    account, locked = account_of(website), website["state"] == "archived"
    reach = tuple(sorted(addresses(settings.web_hosts[website["web_host"]])))
    login = Login(verifier, locked, settings.connections[website["size"]])
    its = (Database(), dict.fromkeys(reach, login)) if engine == "mariadb" else (Database(account), {"*": login})
    return Seen(*its, () if locked else reach)


def at_rest(seen: Seen) -> Seen:
    """What stays of a website that the desired state does not name: its data, and accounts nobody can use."""
    return Seen(seen.database, {key: login._replace(locked=True) for key, login in seen.logins.items()}, ())


def verifier_for(website: Mapping[str, Any], before: Seen, settings: Settings) -> str | None:
    """The verifier of a website's password; None only in check mode, where the web host has yet to make it."""
    account, engine = account_of(website), website["database"]["engine"]
    verifier = settings.verifiers.get(account)
    if verifier is None:
        if website["state"] == "archived":
            return next((login.verifier for login in before.logins.values()), None)
        if settings.check:
            return None
        raise Refused(f"{website['name']} has no credential on {website['web_host']}",
                      "run playbooks/websites.yml as a whole: its play on the web hosts makes the credentials")
    if not VERIFIERS[engine].match(verifier):
        raise Refused(f"the verifier of {account} is none of {engine}",
                      f"move {CREDENTIALS}/{account}.json on {website['web_host']} aside and run again")
    return verifier


def of_accounts(sql: str, accounts: Collection[str] | None) -> str:
    """A look at the catalogs for these accounts only, or for all."""
    return sql if accounts is None else re.sub(r"\S+ '\^w\[0-9\]\+\$'$", f"IN ({', '.join(map(repr, accounts))})", sql)


def plan(websites: Iterable[Mapping[str, Any]], owned: Mapping[str, Mapping[str, Any]],
         seen: Mapping[str, Mapping[str, Seen]], settings: Settings, faults: Iterable[Left] = ()) -> Plan:
    """The whole way from what exists (`owned` marks, `seen` per engine and account) to what must exist.

    A website that contradicts its mark or the server's settings, or has one of the `faults`, is refused by name and
    stays as it is.
    """
    bad = {left.website: left for left in faults}
    result = Plan([], [], {}, [], [], [], [], {engine: {} for engine in PORTS})
    mine = {w["name"]: w for w in websites if w["database"]["host"] == settings.host}
    for name in sorted({*mine, *owned, *bad}):
        website, mark = mine.get(name), owned.get(name)
        if name in bad and not mark:
            result.refused.append(bad[name])
            continue
        engine = mark["engine"] if mark else website["database"]["engine"]
        account = f"w{mark['uid']}" if mark else account_of(website)
        before = seen.get(engine, {}).get(account, NOTHING)
        if website and not mark:
            if website["state"] in ("archived", "purged"):
                continue
            if before != NOTHING:
                result.conflicts.append({"website": name, "subject": "database",
                                         "where": f"{engine}, database or user {account}"})
                continue
        move = Move(name, account, engine, before, before)
        if name in bad:
            leave(result, move, mark, bad[name])
            continue
        try:
            if website and mark:
                _agree(website, mark)
            _place(result, name, website, mark, move, settings)
        except Refused as error:
            leave(result, move, mark, error)
    return result


def leave(result: Plan, move: Move, mark: Mapping[str, Any] | None, why: Refused | Left) -> None:
    """Let a website stay as it was, marked as before, and say why."""
    result.refused.append(Left(move.website, why.what, why.mend))
    result.owned.pop(move.website, None)
    result.reach[move.engine].pop(move.account, None)
    if mark:
        result.owned[move.website] = dict(mark)
        result.reach[move.engine][move.account] = move.before.reach
    result.moves[:] = [other for other in result.moves if other.website != move.website]
    result.changes[:] = [change for change in result.changes if change.website != move.website]
    result.created[:] = [name for name in result.created if name != move.website]


def _place(result: Plan, name: str, website: Mapping[str, Any] | None, mark: Mapping[str, Any] | None, move: Move,
           settings: Settings) -> None:
    """Decide one website: gone, at rest, or as wanted; and note it in the plan."""
    if website and mark and website["state"] == "purged" and website["created_by"] == mark["created_by"]:
        after = NOTHING
    elif website is None or website["state"] == "purged":
        after = at_rest(move.before)
        if after != NOTHING:
            result.orphans.append(name)
    else:
        known_web_host(website, settings)
        after = wanted(move.engine, website, verifier_for(website, move.before, settings), settings)
        if website["state"] == "archived" and move.before.database is None:
            after = at_rest(move.before)
        if after.database and (move.before.database is None or (mark or {}).get("pending")):
            result.created.append(name)
    if after != NOTHING:
        known = mark or {"created_by": website["created_by"], "engine": move.engine, "uid": website["uid"]}
        result.owned[name] = {key: known[key] for key in ("created_by", "engine", "uid")}
        result.reach[move.engine][move.account] = after.reach
    if after != move.before:
        move = move._replace(after=after)
        result.moves.append(move)
        result.changes.extend(changes_of(move))


def known_web_host(website: Mapping[str, Any], settings: Settings) -> None:
    if website["web_host"] not in settings.web_hosts:
        raise Refused(f"{website['name']} is on {website['web_host']}, which {settings.host} does not know",
                      "add the web host to fleet.yml and run playbooks/servers.yml")
    if str(website.get("size")) not in settings.connections:
        raise Refused(f"{website['name']} has the size {website.get('size')!r}",
                      f"name one of {', '.join(sorted(settings.connections))}")


def _agree(website: Mapping[str, Any], mark: Mapping[str, Any]) -> None:
    wish = (website["uid"], website["database"]["engine"])
    if wish != (mark["uid"], mark["engine"]):
        raise Refused(f"{website['name']} shall have uid {wish[0]} and {wish[1]}, its database here has uid "
                      f"{mark['uid']} and {mark['engine']}", "put uid and engine back: a run moves no database")

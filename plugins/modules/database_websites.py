#!/usr/bin/python
"""Converge the websites' databases and users on a database server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_websites
short_description: Converge the websites' databases and users on a database server
description:
  - Gives every website that has a database on this server a database and a user of its own, both named after its uid
    (C(w20001)), reachable only from its web host, in MariaDB or PostgreSQL over the local sockets.
  - Owns what its marks in C(/var/lib/websites/database/owned.json) name. A database or user that exists without a
    mark is a conflict and is never touched.
  - All or nothing. Where one statement fails, what this run did is taken back.
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: Inventory name of this server; websites whose database names it are this server's share.
    type: str
    required: true
  facts_of:
    description: Names of websites whose facts C(as_built) tells; without it all.
    type: list
    elements: str
  web_hosts:
    description: Web host to the list of its addresses on the servers' network.
    type: dict
    required: true
  connections:
    description: Connections that a website may hold at a time, by its size.
    type: dict
    required: true
  verifiers:
    description:
      - What M(website_credentials) returns on each web host, as JSON of account to C({"engine", "verifier"}). Never a
        password.
      - A null verifier stands for one that the web host would make; only check mode takes it.
    type: list
    elements: str
    required: true
author:
  - DKISP Kota Tarakan (@dkisp)
"""

EXAMPLES = r"""
- name: Converge the websites' databases
  database_websites:
    websites: "{{ database_websites }}"
    host: db1
    web_hosts: {web1: [10.0.0.11, "fd00::11"]}
    connections: {small: 10, medium: 25, large: 60}
    verifiers: "{{ database_verifiers }}"
"""

RETURN = r"""
changes:
  description: >-
    What differed, sorted; the same in check mode and for real. C(by_website) tells what the website's own login can
    have done.
  returned: success
  type: list
as_built:
  description: Website to engine, version, database, user and the addresses it is reachable from.
  returned: success
  type: dict
created:
  description: Websites whose database this run brought into being.
  returned: success
  type: list
conflicts:
  description: Desired websites whose database or user exists and is not ours.
  returned: success
  type: list
orphans:
  description: Owned websites that the desired set does not name; their data stay, their accounts are locked.
  returned: success
  type: list
refused:
  description: Websites that were left as they were, each with what and mend; all others were converged.
  returned: success
  type: list
"""

import contextlib
import json
import pathlib

from ansible.module_utils import database, database_moves, transaction
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.database_mariadb import MariaDB
from ansible.module_utils.database_postgresql import PostgreSQL
from ansible.module_utils.transaction import Refused

LAYER = "database"
MARKS = pathlib.Path("/var/lib/websites/database/owned.json")


def used_engines(websites, owned, settings):
    """The engines that this server's share needs; one that nobody uses need not run."""
    used = {w["database"]["engine"] for w in websites if w["database"]["host"] == settings.host}
    used |= {mark["engine"] for mark in owned.values()}
    makers = {"mariadb": MariaDB, "postgresql": lambda: PostgreSQL(settings.web_hosts)}
    return {name: makers[name]() for name in sorted(used)}


def write_marks(owned):
    MARKS.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    transaction.write_atomic(MARKS, json.dumps(owned, sort_keys=True) + "\n", 0o600)


def marks_during(owned, plan):
    """Marks while the run is under way: what it makes is marked first, so that a killed run leaves nothing unowned."""
    new = {name: {**plan.owned[name], "pending": True} for name in plan.created}
    return {**owned, **plan.owned, **new}


def carry_out(move, engine, undo):
    """Take the steps of one website. Raises Refused with them in `undo` only where they could not be taken back."""
    began = len(undo)
    try:
        for step in engine.steps(move.account, move.before, move.after):
            engine.execute(step.sql, step.label)
            if step.undo:
                undo.append((engine, step))
    except Refused:
        if not take_back(undo[began:]):
            del undo[began:]
        raise


def keep(moves, plan, owned, engines, undo):
    """Carry out what makes or changes; a website that is refused is left as it was.

    Raises Refused where all of them are, or one cannot be taken back: then it is the server that is at fault, or a
    website that can lock what it can change, which stops nobody else.
    """
    faults = []
    for move in moves:
        began = len(undo)
        try:
            carry_out(move, engines[move.engine], undo)
        except Refused as error:
            faults.append((move, error))
            own = all(database_moves.own_doing(move) for move, _ in faults)
            if not own and (len(undo) > began or len(faults) == len(moves)):
                raise
    for move, error in faults:
        database.leave(plan, move, owned.get(move.website), error)


def apply(plan, owned, engines):
    """Go from what exists to the plan. Raises Refused after everything was taken back; data are purged last."""
    undo = []
    keeping = [move for move in plan.moves if move.after.database or move.after.logins]
    going = [move for move in plan.moves if move not in keeping]
    write_marks(marks_during(owned, plan))
    try:
        keep(keeping, plan, owned, engines, undo)
        keeping = [move for move in keeping if move in plan.moves]
        touched = {move.engine for move in plan.moves} | {n for n, e in engines.items() if e.unexplained(
            plan.reach[n], {move.account for move in plan.moves})}
        for name in sorted(touched):
            undo.append((engines[name], None))
            engines[name].let_in(plan.reach[name])
        verify(keeping, plan, owned, engines)
    except BaseException as error:
        left = take_back(undo)
        with contextlib.suppress(OSError):  # a full disk: the marks of the run then stay, and the next run settles them
            write_marks({**owned, **{name: plan.owned[name] for name in plan.created if left}})
        if left and isinstance(error, Refused):
            raise Refused(f"{error.what}; not taken back: {', '.join(left)}", error.mend) from error
        raise
    for move in going:
        engines[move.engine].release(move.account)
        for step in engines[move.engine].steps(move.account, move.before, move.after):
            engines[move.engine].execute(step.sql, step.label)
    write_marks(plan.owned)


def take_back(undo):
    """Undo in reverse; the labels of what could not be undone."""
    left = []
    for engine, step in reversed(undo):
        try:
            if step is None:
                engine.undo_let_in()
            else:
                engine.execute(step.undo, f"undoing {step.label}")
        except (Refused, OSError):
            left.append(step.label if step else f"{engine.title}'s lists of users")
    return left


def verify(moves, plan, owned, engines):
    """Read these once more: each account must stand in the catalogs as wanted, with its verifier.

    One that was there before, and that its own website has changed again meanwhile, is left and stops nobody else.
    """
    accounts = {name: [move.account for move in moves if move.engine == name] for name in engines}
    now = {name: engines[name].read(names) for name, names in accounts.items() if names}
    for move in moves:
        there = now[move.engine].get(move.account, database_moves.NOTHING)
        if there == move.after:
            continue
        error = Refused(f"{move.account} of {move.website} is not in {engines[move.engine].title} as it was written",
                        "see whether somebody else changes accounts there, then run again")
        if not move.before.logins or not database_moves.own_doing(move._replace(before=there)):
            raise error
        database.leave(plan, move, owned.get(move.website), error)


def as_built(plan, engines):
    versions = {name: engine.version() for name, engine in engines.items()}
    built = {}
    for name, mark in plan.owned.items():
        account = f"w{mark['uid']}"
        built[name] = {"database": {
            "engine": mark["engine"], "version": versions[mark["engine"]], "database": account, "user": account,
            "reachable_from": list(plan.reach[mark["engine"]].get(account, ())),
        }}
    return built


def converge(settings, wished):
    """Read, plan and, except in check mode, apply. The layer's Outcome."""
    owned = transaction.read_json(MARKS, {})
    websites, faults = database.checked(wished, lambda website: str(website.get("name")) in owned or (
        isinstance(website["database"], dict) and website["database"].get("host") == settings.host))
    engines = used_engines(websites, owned, settings)
    plan = database.plan(websites, owned, {name: engine.read() for name, engine in engines.items()}, settings,
                         faults)
    moved = {move.account for move in plan.moves}
    changes = plan.changes + [
        change for name, engine in engines.items() for change in engine.unexplained(plan.reach[name], moved)]
    if changes:
        for engine in engines.values():
            database.need_room(engine.title, engine.data_folder())
    if settings.check:
        return transaction.Outcome(changes, as_built(plan, engines), plan.created, plan.conflicts, plan.orphans,
                                   tuple(plan.refused))
    if changes:
        apply(plan, owned, engines)
    elif owned != plan.owned:
        write_marks(plan.owned)
    refused = [*plan.refused, *(transaction.not_ours(conflict, settings.host) for conflict in plan.conflicts)]
    names = {left.website for left in refused}
    changes = [change for change in changes if change.website not in names]
    return transaction.Outcome(changes, as_built(plan, engines), plan.created, [], plan.orphans, tuple(refused))


def main():
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": transaction.desired_websites, "required": True},
            "host": {"type": "str", "required": True},
            "facts_of": {"type": "list", "elements": "str"},
            "web_hosts": {"type": "dict", "required": True},
            "connections": {"type": "dict", "required": True},
            "verifiers": {"type": "list", "elements": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    host = module.params["host"]
    try:
        told = [json.loads(text) for text in module.params["verifiers"]]
        verifiers = {account: value["verifier"] for accounts in told for account, value in accounts.items()}
        settings = database.Settings(host, module.params["web_hosts"], module.params["connections"], verifiers,
                                     module.check_mode)
        with transaction.server_lock(LAYER):
            outcome = converge(settings, module.params["websites"])
    except Refused as error:
        transaction.fail(module, LAYER, host, error)
    except OSError as error:
        transaction.fail(module, LAYER, host, Refused(f"{error.filename or 'a file'}: {error.strerror}",
                                                      "mend what it names, then run again"))
    transaction.finish(module, LAYER, host, outcome)


if __name__ == "__main__":
    main()

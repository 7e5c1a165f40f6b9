"""The commands by which officials order, correct and erase: what each does, and what it tells."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from sop_driver import emergency, orders, signatures, voiding
from sop_driver.administration import (
    BY,
    REASON,
    REQ,
    SIGNED,
    SIGNED_BY_ALL,
    Argument,
    Opened,
    Told,
    entered,
    pens,
    prepared,
)
from sop_driver.register import Entry
from sop_driver.standing import Office, unreported
from sop_driver.statement import PERSONAL


def freeze(options: Namespace, opened: Opened) -> Told:
    office = opened()
    start = orders.moment(options.start, office, "--from")
    until = orders.moment(options.until, office, "--until", last=True)
    entry = orders.freeze(office, start, until, options.signed_by, pens(options), options.reason)
    return entered(entry, options.prepare)


def unfreeze(options: Namespace, opened: Opened) -> Told:
    entry = orders.unfreeze(opened(), options.entry, options.signed_by, pens(options), options.reason)
    return entered(entry, options.prepare)


def declare(options: Namespace, opened: Opened) -> Told:
    office = opened()
    until = orders.moment(options.until, office, "--until", last=True)
    entry = emergency.declare(office, options.request, until, options.signed_by, pens(options), options.reason)
    return alarmed(office, entry, options)


def report(options: Namespace, opened: Opened) -> Told:
    office = opened()
    pen = signatures.pen(options.key, options.prepare, options.signature)
    return alarmed(office, emergency.report(office, options.request, options.actor, options.laporan, pen), options)


def alarmed(office: Office, entry: Entry | None, options: Namespace) -> Told:
    if entry is None:
        return prepared(options.prepare, several=options.action == "declare")
    return Told([f"recorded: entry {entry.sequence}, emergency {entry.outcome}",
                 *emergency.alarms(office, options.request)], entry.__dict__)


def void(options: Namespace, opened: Opened) -> Told:
    office = opened()
    pen = signatures.pen(options.key, options.prepare, options.signature)
    entry = voiding.void(office, options.request, options.entry, options.actor, pen, options.reason)
    if entry is None:
        return prepared(options.prepare)
    return Told([f"recorded: entry {entry.sequence}, entry {options.entry} counts no more"], entry.__dict__)


def list_emergencies(options: Namespace, opened: Opened) -> Told:
    office = opened()
    found = unreported(office.register.entries(kind="emergency"))
    return Told(emergency.alarms(office) or ["every emergency is reported"], [entry.__dict__ for entry in found])


def erase(options: Namespace, opened: Opened) -> Told:
    office = opened()
    entry = orders.erase(office, options.what, options.signed_by, pens(options), options.reason)
    if entry is None:
        gone = json.loads(options.prepare.read_text())["data"]["erased"]
        named = [f"to be erased: {digest}, {name.removeprefix(PERSONAL)} of {each}, {each.request or 'the actors'}"
                 for each in office.register.entries() for name, digest in each.evidence.items() if digest in gone]
        told = prepared(options.prepare, several=True)
        return told._replace(lines=[*told.lines[:1], *named, *told.lines[1:]])
    return Told([f"erased (entry {entry.sequence}): {line}" for line in orders.also(office, entry)], entry.__dict__)


def list_windows(options: Namespace, opened: Opened) -> Told:
    office = opened()
    return Told(orders.window_lines(office) or ["no window is closed"],
                [window.__dict__ for window in orders.windows(office)])


GROUPS = {"emergency": "what cannot wait: past some gates by two signatures, reported afterwards",
          "freeze": "times in which nothing is changed on the servers"}
COMMANDS: dict[str, tuple[str, Callable[[Namespace, Opened], Told], list[Argument]]] = {
    "emergency declare": ("let a request as it is now pass the gates that the SOP's data lists", declare, [
        REQ, ("--until", {"required": True, "metavar": "TIME", "help": "the end, within what the SOP's data allows"}),
        REASON, BY, *SIGNED_BY_ALL]),
    "emergency report": ("record the report on it, which is due some days after its end", report, [
        REQ, ("--as", {"dest": "actor", "required": True, "help": "who reports"}),
        ("--laporan", {"type": Path, "required": True, "help": "the report's file"}), *SIGNED[:3]]),
    "emergency list": ("those without a report", list_emergencies, []),
    "erase": ("remove documents or personal data for good; their hashes and all proofs stay", erase, [
        ("what", {"nargs": "+", "metavar": "WHAT", "help": "REQ/contact, REQ/NAME of a document, actor/ID"}),
        REASON, BY, *SIGNED_BY_ALL]),
    "void": ("take back a step that must be corrected; both entries stay", void, [
        REQ, ("entry", {"type": int, "metavar": "ENTRY", "help": "its number in `sop history REQ`"}),
        ("--as", {"dest": "actor", "required": True, "help": "who took it, or the head"}), REASON, *SIGNED[:3]]),
    "freeze add": ("close a window (elections, an audit); not even approved requests run in it", freeze, [
        ("--from", {"dest": "start", "required": True, "metavar": "TIME", "help": "2026-12-31 or 2026-12-31T17:00"}),
        ("--until", {"required": True, "metavar": "TIME", "help": "a day counts to its end"}),
        REASON, BY, *SIGNED_BY_ALL]),
    "freeze end": ("end a window early, or take it back", unfreeze, [
        ("entry", {"type": int, "metavar": "ENTRY", "help": "the entry that closed it"}), REASON, BY, *SIGNED_BY_ALL]),
    "freeze list": ("the windows: past, closed now, to come", list_windows, []),
}

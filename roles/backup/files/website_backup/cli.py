"""The command `website-backup`: parse, dispatch, print, and say by the exit code whether all went well."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

from website_backup import exchange, restore, snapshot
from website_backup.repository import Repository
from website_backup.settings import CONFIGURATION, Settings, read_settings
from website_backup.transaction import Refused, server_lock

FAILED, REFUSED = 1, 3


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="website-backup", description="Backups of the websites of this server.")
    commands = top.add_subparsers(dest="command", required=True)
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true", help="print one JSON document")
    one = commands.add_parser("backup", parents=[output], help="snapshot websites now")
    one.add_argument("--website", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    one.add_argument("--if-missing", action="store_true", help="only where the present release has no snapshot")
    one.add_argument("--plan", action="store_true", help="only say which")
    commands.add_parser("nightly", parents=[output], help="snapshot all, apply the retention, prune once a week")
    commands.add_parser("initialise", parents=[output], help="make the repository where there is none")
    commands.add_parser("list", parents=[output], help="list the snapshots")
    back = commands.add_parser("restore", parents=[output], help="restore a website")
    back.add_argument("name")
    back.add_argument("--snapshot", default="latest", metavar="ID")
    where = back.add_mutually_exclusive_group(required=True)
    where.add_argument("--target", type=pathlib.Path, metavar="FOLDER", help="into an empty folder")
    where.add_argument("--in-place", action="store_true", help="over the website, which is kept aside")
    back.add_argument("--without-database", action="store_true", help="leave the database as it is")
    back.add_argument("--plan", action="store_true", help="only say what would be restored")
    proof = commands.add_parser("verify", parents=[output], help="prove the newest snapshots' files by restoring them")
    proof.add_argument("--website", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    proof.add_argument("--subset", metavar="PART", help="how much of the repository to read, as 5%% or 1/7 or 2G")
    return top


def answer(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Do what was asked; the answer's `failures` name what did not go well."""
    if args.command == "initialise":
        with server_lock(exchange.LAYER, exchange.WAIT):
            return {"made": Repository(settings).initialise()}
    if args.command == "list":
        return {"snapshots": [{"id": shot.id, "time": shot.time, "website": shot.website, "release": shot.release}
                              for shot in Repository(settings).snapshots()]}
    if args.command == "nightly" or (not getattr(args, "plan", True) and exchange.pending(settings)):
        exchange.tidy(settings)
    if args.command == "restore":
        if args.target:
            facts = restore.to_folder(settings, args.name, args.snapshot, args.target.absolute(), args.plan)
        else:
            facts = restore.in_place(settings, args.name, args.snapshot, not args.without_database, args.plan)
        return {"restored": {args.name: facts}}
    if args.command == "verify":
        facts, failures = restore.verify(settings, args.website, args.subset or settings.check_subset)
        return {"verified": facts, "failures": failures}
    if args.command == "nightly":
        return snapshot.nightly(settings)._asdict()
    return snapshot.backup(settings, args.website, args.if_missing, args.plan)._asdict()


def main() -> int:
    args = parser().parse_args()
    try:
        settings = read_settings()
        if settings is None:
            raise Refused(f"there is no {CONFIGURATION}: the backup is not set up here", "run playbooks/servers.yml")
        try:
            said = answer(args, settings)
        except OSError as error:
            raise Refused(f"{type(error).__name__}: {error}", "check that disk and its room, then run again") from error
    except Refused as error:
        if args.json:
            sys.stdout.write(json.dumps({"refused": error.what, "mend": error.mend}) + "\n")
        sys.stderr.write(f"refused: {error.what}\nlayer: backup\nmend: {error.mend}\n")
        return REFUSED
    if args.json:
        sys.stdout.write(json.dumps(said, sort_keys=True) + "\n")
    else:
        sys.stdout.writelines(f"{key}: {json.dumps(value, sort_keys=True)}\n" for key, value in said.items())
    for name, cause in said.get("failures", {}).items():
        sys.stderr.write(f"{name}: {cause}\n")
    return FAILED if said.get("failures") else 0

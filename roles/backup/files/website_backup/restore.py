"""Restore a website from a snapshot, to a folder or in place, and prove that its snapshots can be restored."""

from __future__ import annotations

import contextlib
import datetime
import json
import pathlib
import shutil
import tempfile
from typing import Any

from website_backup import database, exchange, manifest
from website_backup.exchange import LAYER, WAIT
from website_backup.repository import Repository, Snapshot
from website_backup.settings import NAME, Settings, Website
from website_backup.snapshot import newest, select
from website_backup.transaction import Refused, server_lock


def find(repository: Repository, name: str, wanted: str) -> Snapshot:
    """The snapshot of a website by its id, or its `latest`. Raises Refused naming those that there are."""
    if not NAME.match(name):
        raise Refused(f"{name!r} is no name of a website", "give the name as the register has it")
    mine = [shot for shot in repository.snapshots() if shot.website == name]
    if not mine:
        raise Refused(f"{name} has no snapshot in the repository of {repository.settings.host}",
                      "restore it on the server that took its snapshots")
    if wanted == "latest":
        return mine[-1]
    for shot in mine:
        if wanted[:len(shot.id)] == shot.id:
            return shot
    there = ", ".join(f"{shot.id} ({shot.time})" for shot in mine[-10:])
    raise Refused(f"{name} has no snapshot {wanted}", f"choose one of: {there}")


def to_folder(settings: Settings, name: str, wanted: str, target: pathlib.Path, plan: bool) -> dict[str, Any]:
    """Restore a snapshot's files, dump included, into an empty folder of this server."""
    repository = Repository(settings)
    shot = find(repository, name, wanted)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Refused(f"{target} is not an empty folder", "choose another folder, or restore in place")
    facts = {"snapshot": shot.id, "time": shot.time, "release": shot.release, "target": str(target)}
    if plan:
        return facts
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with server_lock(LAYER, WAIT):
        repository.restore(shot.id, str(target))
    return {**facts, **_proven(settings, target)}


def in_place(settings: Settings, name: str, wanted: str, with_database: bool, plan: bool) -> dict[str, Any]:
    """Put a website's data, release and database back as they were in a snapshot.

    The snapshot is restored aside and compared with its manifest first. What was there before is kept beside the
    website's folder, with a dump, and put back where anything fails.
    """
    repository = Repository(settings)
    websites, bad, _ = select(settings, [name])
    if bad:
        raise Refused(bad[name], "install it first by playbooks/websites.yml, or restore to a folder")
    website = websites[0]
    shot = find(repository, name, wanted)
    facts: dict[str, Any] = {"snapshot": shot.id, "time": shot.time, "release": shot.release, "target": "in place"}
    if plan:
        return facts
    with exchange.lock(settings, website):
        return facts | _put(settings, repository, website, shot, with_database)


def _put(settings: Settings, repository: Repository, website: Website, shot: Snapshot,
         with_database: bool) -> dict[str, Any]:
    root = pathlib.Path(settings.websites_root)
    stamp = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}"
    stage = pathlib.Path(tempfile.mkdtemp(prefix=f"{exchange.STAGE}{website.name}-", dir=root))
    kept = pathlib.Path(exchange.free(f"{root}/.before-restore-{website.name}-{stamp}"))
    with contextlib.ExitStack() as locks:
        try:
            repository.restore(shot.id, str(stage))
            proof = _proven(settings, stage)
            entry = _entry(settings, stage)
            dump = _inside(stage, settings.state_folder / str(entry["uid"]) / "database.sql")
            # Only now, so that no run waits for the repository.
            locks.enter_context(server_lock(exchange.WEB, WAIT))
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        loads = with_database and website.database is not None and dump.is_file()
        pairs = _pairs(website, entry, stage, kept)
        exchange.make(settings, website, exchange.Exchange(website.name, website.uid, str(stage), str(kept), pairs),
                      dump if loads else None)
    return {**proof, "database": loads, "previous": str(kept)}


def _pairs(website: Website, entry: dict[str, Any], stage: pathlib.Path, kept: pathlib.Path) -> list[exchange.Pair]:
    """The data folder and the snapshot's release: each that the snapshot holds, and what it takes the place of."""
    was = {"data": pathlib.Path(entry["paths"]["data"]), "release": pathlib.Path(entry["paths"]["release"])}
    live = {"data": website.data_folder, "release": website.release_folder.parent / was["release"].name}
    fresh = {label: _inside(stage, path) for label, path in was.items()}
    return [exchange.Pair(str(fresh[label]), str(live[label]), str(kept / label), live[label].exists())
            for label in was if fresh[label].is_dir() and not fresh[label].is_symlink()]


def _inside(stage: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """Where a snapshot's absolute path lies below the folder it was restored to."""
    return stage / path.relative_to("/")


def _entry(settings: Settings, stage: pathlib.Path) -> dict[str, Any]:
    found = list(_inside(stage, settings.state_folder).glob("*/website.json"))
    if len(found) != 1:
        raise Refused("the snapshot does not say which website it holds", "choose another snapshot")
    entry: dict[str, Any] = json.loads(found[0].read_text())
    return entry


def _proven(settings: Settings, stage: pathlib.Path) -> dict[str, Any]:
    """Compare a restored snapshot with its manifest and look at its dump. Raises Refused where it is not whole."""
    entry = _entry(settings, stage)
    own = _inside(stage, settings.state_folder / str(entry["uid"]))
    files, taken_ns = manifest.read(own / "manifest.json")
    if not files:
        raise Refused(f"the snapshot of {entry['name']} has no manifest", "choose another snapshot")
    result = manifest.compare(files, stage, taken_ns, pathlib.Path(entry["paths"]["release"]))
    if result.wrong:
        raise Refused(f"{len(result.wrong)} of {result.files} files of {entry['name']} are not what the manifest says, "
                      f"the first: {', '.join(map(repr, result.wrong[:3]))}", "choose another snapshot")
    engine = (entry.get("database") or {}).get("engine")
    if engine and not database.is_complete(own / "database.sql", engine):
        raise Refused(f"the dump of {entry['name']} has no end", "choose another snapshot")
    return {"files": result.files, "changed_meanwhile": result.moved, "dump": bool(engine)}


def verify(settings: Settings, names: list[str],
           subset: str) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Check the repository, then restore each website's newest snapshot and compare it. Facts and causes by name."""
    repository = Repository(settings)
    with server_lock(LAYER, WAIT):
        repository.check(subset)
    found = newest(repository.snapshots())
    facts: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for name in names or sorted(found):
        try:
            if name not in found:
                raise Refused(f"{name} has no snapshot", "run playbooks/backup.yml")
            with (server_lock(LAYER, WAIT),
                  tempfile.TemporaryDirectory(prefix="scratch-", dir=settings.state) as scratch):
                repository.restore(found[name].id, scratch)
                facts[name] = {"id": found[name].id, "time": found[name].time,
                               **_proven(settings, pathlib.Path(scratch))}
        except Refused as error:
            failures[name] = error.what
    return facts, failures

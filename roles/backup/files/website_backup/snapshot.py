"""Take a website's snapshot, and the nightly round over all of them: snapshot, retention, weekly prune and check."""

from __future__ import annotations

import datetime
import json
import pathlib
import subprocess
import time
from typing import Any, NamedTuple

from website_backup import database, exchange, manifest
from website_backup.exchange import LAYER, WAIT
from website_backup.repository import Repository, Snapshot
from website_backup.settings import Settings, Website, read_websites
from website_backup.transaction import Refused, read_json, server_lock, write_atomic

TURN = 0.3  # seconds between two websites of the nightly round, in which a waiting run takes the lock


class Report(NamedTuple):
    """What a round found and did. `planned` are the websites that it was to snapshot."""

    planned: list[str]
    before: dict[str, dict[str, Any]]
    snapshots: dict[str, dict[str, Any]]
    failures: dict[str, str]
    orphans: list[str]


def newest(snapshots: list[Snapshot]) -> dict[str, Snapshot]:
    """Each website's newest snapshot; the list is oldest first."""
    return {snapshot.website: snapshot for snapshot in snapshots}


def choose(websites: list[Website], found: dict[str, Snapshot], only_missing: bool) -> list[Website]:
    """The websites to snapshot now: all, or those whose present release has none."""
    return [w for w in websites
            if not only_missing or w.name not in found or found[w.name].release != w.release[:12]]


def select(settings: Settings, names: list[str]) -> tuple[list[Website], dict[str, str], set[str]]:
    """The named websites of this server (all where none is named), causes by name, and all names known here."""
    websites, bad = read_websites(settings)
    known = {w.name for w in websites} | set(bad)
    if names:
        websites = [w for w in websites if w.name in names]
        bad = {name: cause for name, cause in bad.items() if name in names}
        bad |= {name: f"{name} is not installed on {settings.host}, says {settings.websites_file}"
                for name in names if name not in known}
    return websites, bad, known


def backup(settings: Settings, names: list[str], only_missing: bool, plan: bool) -> Report:
    """Snapshot the websites. One that fails is reported; the others go on."""
    repository = Repository(settings)
    websites, failures, known = select(settings, names)
    found = newest(repository.snapshots())
    todo = choose(websites, found, only_missing)
    before = {w.name: {"snapshot": found[w.name].id, "release": found[w.name].release}
              for w in websites if w.name in found}
    orphans = sorted(set(found) - known)
    planned = sorted({w.name for w in todo} | (set(failures) if plan else set()))
    if plan:
        return Report(planned, before, _facts(repository, found, websites), {}, orphans)
    for website in todo:
        try:
            with exchange.lock(settings, website):
                found[website.name] = take(repository, website, found.get(website.name))
        except Refused as error:
            failures[website.name] = error.what
        except OSError as error:
            failures[website.name] = f"{type(error).__name__}: {error}"
        time.sleep(TURN if len(todo) > 1 else 0)
    return Report(planned, before, _facts(repository, found, websites), failures, orphans)


def take(repository: Repository, website: Website, parent: Snapshot | None) -> Snapshot:
    """One website's snapshot: its release, data, configuration, dump and manifest. Raises Refused, and then there
    is no snapshot: one without its database would look like a backup and be none."""
    settings = repository.settings
    folder = settings.state_folder / str(website.uid)
    folder.mkdir(mode=0o700, exist_ok=True)
    dump, listing, entry = folder / "database.sql", folder / "manifest.json", folder / "website.json"
    paths = _folders(website) + _configuration(website, settings)
    try:
        write_atomic(entry, json.dumps(website.entry, sort_keys=True, indent=1), 0o600)
        paths.append(entry)
        if website.database:
            database.dump(website, settings, dump)
            paths.append(dump)
        taken_ns = time.time_ns()
        files = manifest.take(paths, *manifest.read(listing))
        write_atomic(listing, json.dumps({"taken_ns": taken_ns, "files": files}), 0o600)
        made, facts = repository.backup(website.tags, [*map(str, paths), str(listing)], parent.id if parent else None)
    finally:
        dump.unlink(missing_ok=True)
    _remember(settings, {made.id: facts})
    return made


def _folders(website: Website) -> list[pathlib.Path]:
    """The folders that must be there. A missing one is a fault of the website, not an empty backup."""
    folders = [website.release_folder]
    if website.needs_data or website.data_folder.exists():
        folders.append(website.data_folder)
    for folder in folders:
        if folder.is_symlink() or not folder.is_dir():
            raise Refused(f"{folder} is not a folder", "run playbooks/websites.yml, which makes it")
    return folders


def _configuration(website: Website, settings: Settings) -> list[pathlib.Path]:
    places = (text.replace("{name}", website.name).replace("{uid}", str(website.uid))
              for text in settings.configuration)
    # Resolved, because the web layer exchanges a link to its whole configuration, and restic stores links as links.
    return [path.resolve() for place in places if (path := pathlib.Path(place)).is_file()]


def _remember(settings: Settings, facts: dict[str, dict[str, Any]]) -> None:
    """Keep sizes by snapshot: restic before 0.17 would have to read the whole tree again to tell them."""
    path = settings.state_folder / "sizes.json"
    write_atomic(path, json.dumps({**read_json(path, {}), **facts}, sort_keys=True), 0o600)


def _facts(repository: Repository, found: dict[str, Snapshot], websites: list[Website]) -> dict[str, dict[str, Any]]:
    """What the records keep of each website's newest snapshot."""
    sizes = read_json(repository.settings.state_folder / "sizes.json", {})
    following = next_run(repository.settings.timer)
    facts: dict[str, dict[str, Any]] = {}
    for name in sorted({w.name for w in websites} & set(found)):
        shot = found[name]
        size = sizes.get(shot.id) or shot.facts or repository.measure(shot.id)
        facts[name] = {"id": shot.id, "time": shot.time, "release": shot.release, "next_run": following, **size}
    return facts


def next_run(timer: str) -> str | None:
    """When systemd will start the nightly round next, in UTC; None where the timer is off."""
    said = subprocess.run(["systemctl", "list-timers", "--all", "--output=json", timer],
                          capture_output=True, text=True, check=False)
    try:
        usec = json.loads(said.stdout)[0]["next"]
    except (ValueError, LookupError, TypeError):
        return None
    return f"{datetime.datetime.fromtimestamp(usec / 1e6, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}" if usec else None


def nightly(settings: Settings) -> Report:
    """Snapshot every website, let go of what the retention does not keep, and once a week free the room and check.

    A website whose snapshot failed loses none of its older ones. `prune` only removes what no snapshot needs, so
    another website's failure does not hold it back.
    """
    report = backup(settings, [], only_missing=False, plan=False)
    repository = Repository(settings)
    for name in report.planned:
        if name in report.failures:
            continue
        try:
            with server_lock(LAYER, WAIT):
                repository.forget(name, settings.keep)
        except Refused as error:
            report.failures[name] = f"its retention: {error.what}"
        time.sleep(TURN)
    _weekly(repository, report)
    left = {shot.id for shot in repository.snapshots()}
    path = settings.state_folder / "sizes.json"
    write_atomic(path, json.dumps({k: v for k, v in read_json(path, {}).items() if k in left}, sort_keys=True), 0o600)
    status = {"time": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}", "failures": report.failures,
              "snapshots": report.snapshots, "orphans": report.orphans}
    write_atomic(settings.state_folder / "nightly.json", json.dumps(status, indent=1, sort_keys=True), 0o600)
    return report


def _weekly(repository: Repository, report: Report) -> None:
    """Free the room of what is forgotten, and read a part back: a rotten disk must show before a restore needs it."""
    stamp = repository.settings.state_folder / "pruned"
    last = stamp.stat().st_mtime if stamp.exists() else 0.0
    if time.time() - last < (repository.settings.prune_days - 0.5) * 86400:  # half a day for the timer's random delay
        return
    try:
        with server_lock(LAYER, WAIT):
            repository.prune()
            repository.check(repository.settings.check_subset)
        stamp.touch()
    except Refused as error:
        report.failures["(repository)"] = error.what

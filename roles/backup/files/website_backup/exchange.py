"""Exchange a website with what was restored of it, as a whole: a journal tells the next run what a killed one left."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from website_backup import database
from website_backup.settings import Settings, Website, read_websites
from website_backup.transaction import Refused, read_json, server_lock, write_atomic

LAYER = "backup"
WEB = "web"  # who holds it changes the same folders, and runs setup scripts on the database; always taken second
WAIT = 1800.0  # seconds: a large website's first snapshot, or a prune, may be under way
STAGE = ".restore-"  # in the websites' root, which is root's own, and on the same file system
SAVED = "database.sql"
GO_ON = "mend the cause (docs/restore.md tells of databases that cannot be put back), then run `website-backup nightly`"


class Pair(NamedTuple):
    """A folder to exchange by renaming. `fresh` exists until it is `live`; `old` is kept, where there `was` one."""

    fresh: str
    live: str
    old: str
    was: bool


class Exchange(NamedTuple):
    """The journal: what is still to be done, and which way. Before the dump is loaded all goes back, then forward."""

    name: str
    uid: int
    stage: str
    kept: str
    pairs: list[Pair]
    load: bool = False  # on the way back, the saved dump
    forward: bool = False


def journal(settings: Settings, uid: int) -> pathlib.Path:
    return settings.state_folder / f"restore-{uid}.json"


def write(settings: Settings, exchange: Exchange) -> Exchange:
    """Keep the journal over a power cut, and before it, all that it takes for done."""
    os.sync()
    write_atomic(journal(settings, exchange.uid), json.dumps(exchange._asdict()), 0o600)
    return exchange


def make(settings: Settings, website: Website, exchange: Exchange, dump: pathlib.Path | None) -> None:
    """Load the dump (None leaves the database), then exchange the folders. Where it fails, all is as it was.

    Hold both locks from when the pairs are looked up.
    """
    kept = pathlib.Path(exchange.kept)
    write(settings, exchange)
    try:
        kept.mkdir(mode=0o700)
        if dump:
            database.dump(website, settings, kept / SAVED)
            exchange = write(settings, exchange._replace(load=True))
            try:
                database.load(website, settings, dump)
            except database.Unchanged:
                exchange = exchange._replace(load=False)
                raise
        exchange = write(settings, exchange._replace(forward=True))
        bring(exchange)
    except BaseException as error:
        try:
            settle(settings, website, write(settings, exchange._replace(forward=False)))
        except (Refused, OSError) as again:
            raise Refused(f"{website.name} could not be restored ({error}), and not be put back either ({again})",
                          f"{GO_ON}; what was there before lies in {kept}") from again
        raise
    end(settings, exchange)


def settle(settings: Settings, website: Website | None, exchange: Exchange) -> None:
    """Do what is left to do of an exchange; each step may have been done already. None is a website that is gone."""
    if website and exchange.forward:
        bring(exchange)
    elif website:
        for pair in reversed(exchange.pairs):
            back(pair)
        if exchange.load:
            database.load(website, settings, pathlib.Path(exchange.kept, SAVED))
    end(settings, exchange)


def bring(exchange: Exchange) -> None:
    for pair in exchange.pairs:
        if os.path.lexists(pair.fresh):
            if os.path.lexists(pair.live):
                move(pair.live, free(pair.old))
            move(pair.fresh, pair.live)
        elif not os.path.lexists(pair.live):
            raise Refused(f"{pair.live} is gone, and {pair.fresh}, which was to take its place, too",
                          f"move {pair.old} to {pair.live}, and look at what is in it")


def back(pair: Pair) -> None:
    if pair.was and not os.path.lexists(pair.old):
        return
    if os.path.lexists(pair.live):
        if not os.path.lexists(pair.fresh):
            pathlib.Path(pair.fresh).parent.mkdir(parents=True, exist_ok=True)
            move(pair.live, pair.fresh)
        elif pair.was:  # the web layer made it meanwhile
            move(pair.live, free(pair.old))
    if pair.was:
        move(pair.old, pair.live)


def move(path: str, to: str) -> None:
    pathlib.Path(path).rename(to)


def free(path: str) -> str:
    """The path, or one beside it that nothing has."""
    names = itertools.chain([path], (f"{path}-{number}" for number in itertools.count(1)))
    return next(name for name in names if not os.path.lexists(name))


def end(settings: Settings, exchange: Exchange) -> None:
    """Nothing is left to do but to tidy up."""
    restart(exchange.uid)
    write(settings, exchange._replace(pairs=[], load=False))
    if not exchange.forward:
        kept = pathlib.Path(exchange.kept)
        (kept / SAVED).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what visitors stored meanwhile stays in it
            kept.rmdir()
    shutil.rmtree(exchange.stage, ignore_errors=True)
    journal(settings, exchange.uid).unlink(missing_ok=True)


def restart(uid: int) -> None:
    """Start a website's application anew: what its unit lets it do goes by folders that are others now."""
    command = ["systemctl", "try-restart", f"website-app-w{uid}-*.service"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # its data are restored all the same
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)


def resume(settings: Settings, uid: int) -> None:
    """Settle a website's exchange that a killed run left. Raises Refused where that cannot be done yet."""
    left = read_json(journal(settings, uid), None)
    if left is None:
        return
    exchange = Exchange(**{**left, "pairs": [Pair(*pair) for pair in left["pairs"]]})
    try:
        with server_lock(WEB, WAIT):
            settle(settings, _website(settings, exchange), exchange)
    except (Refused, OSError) as error:
        raise Refused(f"a restore of {exchange.name} was cut off, and cannot be settled: {error}; "
                      f"what was there before lies in {exchange.kept}", GO_ON) from error


def _website(settings: Settings, exchange: Exchange) -> Website | None:
    """The website as it is listed now; None where it was purged meanwhile."""
    websites, bad = read_websites(settings)
    mine = [w for w in websites if (w.name, w.uid) == (exchange.name, exchange.uid)]
    if not mine and pathlib.Path(settings.websites_root, exchange.name).exists():
        what = bad.get(exchange.name, f"{settings.websites_file} does not list it")
        raise Refused(what, "run playbooks/websites.yml, which lists what is here")
    return mine[0] if mine else None


@contextlib.contextmanager
def lock(settings: Settings, website: Website) -> Iterator[None]:
    """Hold the lock for one website, of which nothing is half done then."""
    with server_lock(LAYER, WAIT):
        resume(settings, website.uid)
        yield


def pending(settings: Settings) -> list[pathlib.Path]:
    """What a restore that was cut off left, or one that is under way has."""
    return [*_journals(settings), *_stages(settings)]


def _journals(settings: Settings) -> list[pathlib.Path]:
    return [*settings.state_folder.glob("restore-*.json")]


def _stages(settings: Settings) -> list[pathlib.Path]:
    return [*pathlib.Path(settings.websites_root).glob(f"{STAGE}*")]


def tidy(settings: Settings) -> None:
    """Settle and remove what killed runs left. A website that cannot be settled is refused when its turn comes.

    Dumps and logins hold a website's data, and belong nowhere but in the repository.
    """
    with server_lock(LAYER, WAIT):
        for path in _journals(settings):
            with contextlib.suppress(Refused):
                resume(settings, int(path.stem.removeprefix("restore-")))
        for left in settings.state_folder.glob("*/database.sql"):
            left.unlink(missing_ok=True)
        needed = [path.read_text() for path in _journals(settings)]
        stages = [path for path in _stages(settings) if not any(str(path) in text for text in needed)]
        for folder in [*stages, *settings.state_folder.glob("scratch-*"),
                       *database.LOGINS.glob(f"{database.LOGIN}*")]:
            shutil.rmtree(folder)

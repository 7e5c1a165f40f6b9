"""What every layer's module shares: changes, refusals, the server's lock, atomic files, and one way to end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

STATE = pathlib.Path("/var/lib/websites")
LOCKS = pathlib.Path("/run")  # root's alone; in /run/lock any user could hold or replace a lock
LOCK_WAIT = 360.0  # seconds that a second run queues before it gives up: more than a setup script may take
# What no website alone is the cause of, so that it ends the run for all.
SERVERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class Refused(Exception):
    """A refusal in the house's three parts: what happened, in which layer, how to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


class Change(NamedTuple):
    """One difference between what exists and what must exist; `before` and `after` are small JSON values.

    `by_website`: the website's own account can make it at any time, so that it is no reason to stop others' runs.
    """

    website: str | None
    subject: str
    action: str  # create | update | suspend | remove | purge
    before: Any = None
    after: Any = None
    by_website: bool = False


class Left(NamedTuple):
    """A website that a layer left as it was, since it alone could not be converged; the others were."""

    website: str
    what: str
    mend: str


class Outcome(NamedTuple):
    """What a layer's module found, did (or would do in check mode) and built."""

    changes: list[Change]
    as_built: dict[str, dict[str, Any]]
    created: list[str]
    conflicts: list[dict[str, str]]
    orphans: list[str]
    refused: tuple[Left, ...] = ()


def run(argv: list[str], stdin: str | None = None, timeout: float = 120.0, env: dict[str, str] | None = None) -> str:
    """Run a program without a shell and give its standard output.

    Raises Refused, with the program's own last lines, where it fails, is missing or takes over `timeout` seconds.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin or "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{argv[0]} could not run: {error}", f"check that {argv[0]} is installed and answers") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise Refused(
            f"`{' '.join(argv[:3])}` ended with {done.returncode}: {said}", "mend what it names and run again"
        )
    return done.stdout


@contextlib.contextmanager
def server_lock(layer: str, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold this server's lock of a layer, so that two runs queue. Raises Refused after `wait` seconds."""
    path = LOCKS / f"websites-{layer}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as handle:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise Refused(
                        f"another run has held {path} for over {wait:.0f} s", "wait until it ends, then run again"
                    ) from error
                time.sleep(0.1)
        yield


def same(path: pathlib.Path, data: bytes, mode: int, uid: int, gid: int) -> bool:
    """Whether a file is there with this content, mode and owner."""
    try:
        now = path.stat()
        return (now.st_mode & 0o7777, now.st_uid, now.st_gid) == (mode, uid, gid) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def write_atomic(path: pathlib.Path, content: str | bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> bool:
    """Replace a file as a whole: readers, and a power cut, leave the old content or the new. True if it differed."""
    data = content.encode() if isinstance(content, str) else content
    if same(path, data, mode, uid, gid):
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chown(name, uid, gid)
        pathlib.Path(name).chmod(mode)
        pathlib.Path(name).replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            pathlib.Path(name).unlink()
        raise
    return True


def read_json(path: pathlib.Path, default: Any) -> Any:
    """The JSON value in a state file, or `default` where there is none. Raises Refused where it does not parse."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}", "restore it from the backup of this server") from error


def desired_websites(given: Any) -> list[dict[str, Any]]:
    """The type of the option `websites`: a list, or the text of the desired state (or of its list) as JSON.

    A thousand websites as a list take Ansible half a second more, in each task. Raises TypeError or ValueError.
    """
    rows = json.loads(given) if isinstance(given, str) else given
    rows = rows.get("websites") if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError("they are neither a list of websites nor the text of a desired state")
    return rows


def not_ours(conflict: dict[str, str], host: str) -> Left:
    """The refusal of a website whose place something foreign holds."""
    return Left(
        conflict["website"],
        f"{conflict['website']} already exists on {host} and is not ours ({conflict['where']})",
        "choose another name, or remove or adopt what is there by hand",
    )


def finish(module: Any, layer: str, host: str, outcome: Outcome, **more: Any) -> NoReturn:
    """End a module by the contract of all layers, with `more`; conflicts fail a real run and are only shown."""
    if outcome.conflicts and not module.check_mode:
        fail(module, layer, host, Refused(*not_ours(outcome.conflicts[0], host)[1:]))
    changes = sorted(outcome.changes, key=lambda c: (c.website or "", c.subject, c.action))
    module.params.pop("websites", None)  # the result would carry the whole desired set back to the controller
    told = module.params.get("facts_of")
    module.exit_json(
        changed=bool(changes),
        changes=[{"layer": layer, "host": host, **change._asdict()} for change in changes],
        as_built={name: facts for name, facts in outcome.as_built.items() if told is None or name in told},
        created=sorted(outcome.created),
        conflicts=[{**conflict, "host": host} for conflict in outcome.conflicts],
        orphans=sorted(outcome.orphans),
        refused=[{**left._asdict(), "layer": layer, "host": host} for left in sorted(outcome.refused)],
        **more,
    )


def fail(module: Any, layer: str, host: str, error: Refused | OSError) -> NoReturn:
    """End a module with a refusal in three parts."""
    if isinstance(error, OSError):  # a full disk, most likely; what was changed is put back by then
        error = Refused(f"this server's files do not allow it: {error}", "see to its disk")
    module.params.pop("websites", None)
    module.fail_json(msg=f"refused: {error.what}\nlayer: {layer} on {host}\nmend: {error.mend}")

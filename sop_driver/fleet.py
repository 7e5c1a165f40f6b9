"""Plays on the server fleet by ansible-runner, and what came of them. The only importer of ansible_runner."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from sop_driver import guard
from sop_driver.errors import Failed

MEMORY = Path("/", "dev", "shm")  # ansible-runner writes the whole environment down: not on a disk
FAULTS = ("runner_on_failed", "runner_item_on_failed", "runner_on_unreachable")
ODD = re.compile(r"\\u(?:0000|d[89a-f])")  # in JSON: NUL, and surrogates
SETTINGS = {"pexpect_timeout": 1}  # seconds until a cancel is noticed


@dataclass(frozen=True)
class Result:
    """What one server answered to one task of ours."""

    host: str
    task: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    host: str
    task: str
    msg: str

    def __str__(self) -> str:
        return f"{self.host}, {self.task}: {self.msg}" if self.task else f"{self.host}: {self.msg}"


@dataclass(frozen=True)
class FleetResult:
    """What came of one playbook. `ok` only where Ansible itself counted every server as well done."""

    playbook: str
    results: list[Result] = field(default_factory=list)
    failures: list[Fault] = field(default_factory=list)
    unreachable: list[Fault] = field(default_factory=list)
    stats: dict[str, dict[str, int]] | None = None
    canceled: bool = False
    output: str = ""
    lost: bool = False  # canceled, since another driver may soon be at the servers

    @property
    def ok(self) -> bool:
        stats = self.stats
        return bool(not self.canceled and stats and stats.get("processed")
                    and not any(stats.get("failures", {}).values()) and not any(stats.get("dark", {}).values()))

    @property
    def trouble(self) -> str:
        """Why it is not ok, with host and task."""
        if self.lost:
            return "it was stopped: the register's database had no sign of life of this driver for long"
        if self.canceled:
            return "it was interrupted"
        if self.stats and not self.stats.get("processed"):
            return "no server was concerned: the inventory names none"
        faults = [str(fault) for fault in (*self.unreachable, *self.failures)]
        return "; ".join(faults) or f"it ended without saying how: {self.output.strip()[-800:] or 'no output'}"

    def gather(self, key: str) -> list[Any]:
        """The lists under `key` of all results, joined."""
        return [item for result in self.results for item in result.values.get(key) or []]

    @property
    def told(self) -> list[str]:
        """What the modules themselves report as failures: sentences, or causes by website."""
        found: list[str] = []
        for result in self.results:
            failures = result.values.get("failures") or []
            found += [f"{k}: {v}" for k, v in failures.items()] if isinstance(failures, dict) else map(str, failures)
        return found

    @property
    def refused(self) -> dict[str, str]:
        """The websites that a layer left as they were, since they alone could not be converged: name -> why."""
        found: dict[str, list[str]] = {}
        for row in self.gather("refused"):
            found.setdefault(row["website"], []).append(told(row))
        return {name: "; ".join(said) for name, said in sorted(found.items())}

    def of_website(self, key: str) -> dict[str, dict[str, Any]]:
        """The maps {website: facts} under `key`, as {website: {host: facts}}."""
        found: dict[str, dict[str, Any]] = {}
        for result in self.results:
            for website, facts in (result.values.get(key) or {}).items():
                mine = found.setdefault(website, {})
                if isinstance(mine.get(result.host), dict) and isinstance(facts, dict):
                    mine[result.host] = {**mine[result.host], **facts}
                else:
                    mine[result.host] = facts
        return found


def told(row: Mapping[str, str]) -> str:
    """A layer's refusal of a website in one line."""
    return f"{row['what']} ({row['layer']} on {row['host']}): {row['mend']}"


def plain(text: str) -> str:
    """A server's text as each database takes it: without NUL, and without halves of a pair of surrogates."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


class Plays(Protocol):
    """What a run needs of a fleet."""

    stopped: Event
    lost: Callable[[], bool]
    mark: str
    say: Callable[[str], None]

    def play(self, playbook: str, desired: Path, *, check: bool = False, selection: Path | None = None,
             stoppable: bool = True) -> FleetResult: ...

    def end_leftovers(self) -> None: ...


class Fleet:
    """The servers of an inventory. Set `stopped` to end a running play; once `lost` says so, even putting back ends."""

    def __init__(self, project: Path, inventory: Path, evidence: Path,
                 say: Callable[[str], None] = lambda text: None) -> None:
        self.project = project
        self.inventory = inventory
        self.evidence = evidence
        self.say = say
        self.mark = f"SOP_DRIVER={uuid.uuid4().hex}"  # of this driver alone
        self.stopped = Event()
        self.lost: Callable[[], bool] = lambda: False

    def play(self, playbook: str, desired: Path, *, check: bool = False, selection: Path | None = None,
             stoppable: bool = True) -> FleetResult:
        """Run a playbook of the project on the desired state in a file. Servers' troubles are in the result.

        Only paths go to Ansible as variables: a text in extra-vars would be a template.
        """
        variables = {"desired_state_file": str(desired), "evidence_dir": str(self.evidence)}
        if self.lost() or (stoppable and self.stopped.is_set()):
            return FleetResult(playbook, canceled=True, lost=self.lost())
        if selection is not None:
            variables["selection_file"] = str(selection)
        try:
            with _folder() as folder:
                return self._play(folder, f"playbooks/{playbook}", variables, check, stoppable)
        except OSError as error:  # no room, say: whoever puts back goes on, and tells what could not be
            return FleetResult(playbook, output=f"{error.strerror or error} ({error.filename or MEMORY})")

    def end_leftovers(self) -> None:
        """Kill what a stopped play, or a driver that died, left running: it could still change a server later.

        ansible-runner kills Ansible's process group, but its workers and their ssh have sessions of their own.
        """
        guard.end(self.mark if self.lost() else self._mark_of_all)  # once lost, it may be the next driver's

    @property
    def _mark_of_all(self) -> str:
        """In the environment of all that any driver's play starts for this home, as `mark` is for this driver's."""
        return f"SOP_CHANGES_FOR={self.evidence}"

    def _play(self, folder: Path, playbook: str, variables: dict[str, str], check: bool,
              stoppable: bool) -> FleetResult:
        import ansible_runner  # only here: most commands play nothing

        results_file = folder / "results.jsonl"
        (folder / "env").mkdir()
        (folder / "env/settings").write_text(json.dumps(SETTINGS))  # ansible-runner takes settings from a file only
        events = Events(self.say)
        try:
            runner = ansible_runner.run(
                private_data_dir=str(folder), project_dir=str(self.project), ident=uuid.uuid4().hex,
                playbook=playbook, inventory=str(self.inventory), extravars=variables,
                cmdline="--check" if check else None, envvars=self._environment(results_file, check),
                quiet=True, rotate_artifacts=0, suppress_env_files=True,
                event_handler=events.handle,
                cancel_callback=lambda: self.lost() or (stoppable and self.stopped.is_set()),
            )
        except Exception as error:  # whatever it raises, the servers' state is unknown and the caller must know
            return FleetResult(playbook, output=f"ansible-runner: {type(error).__name__}: {error}")
        output = folder / "artifacts" / runner.config.ident / "stdout"
        try:
            results, whole = read_results(results_file)
        except Failed as error:
            return FleetResult(playbook, output=error.what)
        if not whole and events.stats:  # Ansible goes on without them, and nobody would know what they told
            lost = f"not all that servers answered has arrived: see whether {folder.parent} has room"
            events.failures.append(Fault("controller", "", lost))
        return FleetResult(
            playbook, results, events.failures, events.unreachable, events.stats if whole else None,
            bool(runner.canceled), plain(output.read_text(errors="replace")) if output.exists() else "",
            bool(runner.canceled) and self.lost(),
        )

    def _environment(self, results_file: Path, check: bool) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "ANSIBLE_CONFIG": str(self.project / "ansible.cfg"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner would switch it off
            "ANSIBLE_CALLBACK_PLUGINS": str(self.project / "plugins/callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "fast_tasks,sop_results",
            "ANSIBLE_NOCOLOR": "1",
            "SOP_RESULTS_FILE": str(results_file),
            **({} if check else dict(mark.split("=", 1) for mark in (self.mark, self._mark_of_all))),
        }


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for one play. What our drivers that were killed left there goes first: its lock is held by nobody."""
    place = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for lock in place.glob("sop-*/lock"):
        with contextlib.suppress(OSError):  # another driver removes it just now, or still works in it
            if lock.parent.lstat().st_uid == os.geteuid():
                with lock.open() as held:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(lock.parent)
    with tempfile.TemporaryDirectory(prefix="sop-", dir=place) as name, Path(name, "new").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        Path(name, "new").rename(Path(name, "lock"))  # which nobody finds before it is locked
        yield Path(name)


class Events:
    """Picks from ansible-runner's events what results cannot tell. It must never raise and keeps nothing on disk."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.failures: list[Fault] = []
        self.unreachable: list[Fault] = []
        self.stats: dict[str, dict[str, int]] | None = None

    def handle(self, event: dict[str, Any]) -> bool:
        try:
            self._take(event.get("event", ""), event.get("event_data") or {})
        except Exception as error:  # an exception here would leave the play running without anybody watching
            self.failures.append(Fault("controller", "", f"an event could not be read: {error}"))
        return False

    def _take(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "playbook_on_stats":
            self.stats = {key: value for key, value in data.items() if isinstance(value, dict)}
        elif kind == "playbook_on_play_start":
            self.say(str(data.get("name") or data.get("play") or ""))
        elif kind in FAULTS and not data.get("ignore_errors"):
            result = data.get("res") or {}
            said = plain(str(result.get("msg") or result.get("stderr") or result.get("censored") or "no message"))
            told = "; ".join(line.strip() for line in said.splitlines() if line.strip())[:2000]
            fault = Fault(str(data.get("host", "?")), str(data.get("task", "")), told)
            (self.unreachable if kind == "runner_on_unreachable" else self.failures).append(fault)


def read_results(path: Path) -> tuple[list[Result], bool]:
    """The lines that plugins/callback/sop_results.py wrote, and whether these are all. Raises Failed for a line that is
    no JSON."""
    found, count = list[Result](), -1
    with path.open(encoding="utf-8") if path.exists() else io.StringIO() as lines:
        for line in lines:
            if not line.endswith("\n"):
                break  # the play was killed while it wrote; its stats are missing too
            try:
                value = json.loads(line, parse_constant=str)  # NaN is no number of JSON
                if ODD.search(line):
                    said = plain(json.dumps(value, ensure_ascii=False)).replace(r"\u0000", r"\ufffd")
                    value = json.loads(said)
            except ValueError as error:
                raise Failed(f"a result is not readable: {error}", str(path), "report this as a bug") from error
            if "count" in value:
                count = value["count"]
            else:
                found.append(Result(value["host"], value["task"], value["result"]))
    return found, len(found) == count

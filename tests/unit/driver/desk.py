"""An office of its own for each test, a fleet that only remembers, and a clerk who takes the steps in order."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
import yaml

from driver import people
from sop_driver import actors, procedure, run, standing, steps, trust
from sop_driver.config import Config, FleetFacts, Home, load_config
from sop_driver.evidence import Evidence
from sop_driver.fleet import Fault, FleetResult, Result
from sop_driver.register import Register
from sop_driver.standing import Office
from sop_driver.tenure import Actor

PROJECT = Path(__file__).resolve().parents[3]
STATS = {"processed": {"web1": 1}, "failures": {}, "dark": {}}


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


class Begun(NamedTuple):
    """The home of an office, to copy, and when it was left."""

    path: Path
    time: datetime


class FakeFleet:
    """A fleet of one dictionary. `faults` names what goes wrong: a playbook, or playbook + nth time it is played."""

    def __init__(self) -> None:
        self.stopped = Event()
        self.lost: Callable[[], bool] = lambda: False
        self.mark = "SOP_DRIVER=a fleet of one dictionary"
        self.existing: dict[str, dict[str, Any]] = {}
        self.foreign: set[str] = set()
        self.faults: dict[str, Callable[[str], FleetResult] | None] = {}
        self.failures: list[str] = []
        self.snapshots = True
        self.own: set[str] = set()  # websites whose own account made them differ
        self.bad: dict[str, str] = {}  # websites that a layer leaves as they are, and why
        self.played: list[tuple[str, bool, list[str]]] = []
        self.on_play: Callable[[str, bool], None] = lambda playbook, check: None
        self.said: list[str] = []
        self.say: Callable[[str], None] = self.said.append

    def play(
        self,
        playbook: str,
        desired: Path,
        *,
        check: bool = False,
        selection: Path | None = None,
        stoppable: bool = True,
    ) -> FleetResult:
        rows = json.loads(desired.read_text())["websites"]
        chosen = json.loads(selection.read_text())["websites"] if selection else []
        self.played.append((playbook, check, chosen))
        times = sum(1 for name, was_check, _ in self.played if (name, was_check) == (playbook, check))
        self.on_play(playbook, check)
        if self.lost() or (self.stopped.is_set() and stoppable):
            return FleetResult(playbook, canceled=True, lost=self.lost())
        key = "check" if check else playbook
        fault = self.faults.get(key) or self.faults.get(f"{key} {times}")
        if fault:
            return fault(playbook)
        return FleetResult(
            playbook, [Result("web1", playbook, self.answer(playbook, rows, chosen, check))], stats=STATS
        )

    def end_leftovers(self) -> None:
        self.played.append(("end leftovers", False, []))

    def answer(self, playbook: str, rows: list[dict[str, Any]], chosen: list[str], check: bool) -> dict[str, Any]:
        if playbook == "probe.yml":
            return {
                "probes": {name: {"http": {"status": 200, "ok": True}} for name in chosen},
                "failures": self.failures,
            }
        if playbook == "backup.yml":
            return {"snapshots": {name: {"id": "abc"} for name in chosen} if self.snapshots else {}}
        if playbook in run.LAYERS and playbook != "web.yml":
            return {}  # websites are in one layer here
        wanted = {row["name"]: row for row in rows if row["state"] in ("present", "suspended")}
        refused = [
            {"website": name, "what": what, "mend": "mend it", "layer": "web", "host": "web1"}
            for name, what in self.bad.items()
            if not check and name in {row["name"] for row in rows}
        ]
        if not check:
            for name in self.bad:
                wanted.pop(name, None)
            wanted |= {name: self.existing[name] for name in self.bad if name in self.existing}
        changes = [
            {
                "layer": "web",
                "host": "web1",
                "website": name,
                "subject": "vhost",
                "before": None,
                "after": None,
                "action": "create" if name not in self.existing else "update" if name in wanted else "remove",
                "by_website": name in self.own,
            }
            for name in sorted(wanted.keys() | self.existing.keys())
            if wanted.get(name) != self.existing.get(name)
        ]
        conflicts = [
            {"website": name, "subject": "vhost", "where": "/etc/apache2/x.conf", "host": "web1"}
            for name in sorted(self.foreign & wanted.keys())
        ]
        if not check:
            self.existing = wanted
        return {
            "changes": changes,
            "as_built": {name: {"vhost": name} for name in wanted if name in chosen},
            "created": [],
            "conflicts": conflicts,
            "orphans": [],
            "refused": refused,
        }


def failing(playbook: str) -> FleetResult:
    stats = {**STATS, "failures": {"web1": 1}}
    return FleetResult(playbook, failures=[Fault("web1", "Converge the websites", "no space left")], stats=stats)


def unreachable(playbook: str) -> FleetResult:
    return FleetResult(
        playbook, unreachable=[Fault("db1", "", "connection refused")], stats={**STATS, "dark": {"db1": 1}}
    )


def silent(playbook: str) -> FleetResult:
    return FleetResult(playbook, output="Killed")


def tar_of(files: dict[str, str]) -> bytes:
    """The same files give the same octets: a compressed one would hold the time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@contextlib.contextmanager
def without(rule: str) -> Iterator[None]:
    """As long as adoptions of an SOP did not tell of this rule."""
    told = procedure.Procedure.told.fget
    with pytest.MonkeyPatch.context() as before:
        before.setattr(procedure.Procedure, "told", property(
            lambda self: {name: value for name, value in told(self).items() if name != rule}))
        yield


class Desk:
    """Everything a test needs at hand: the office, its folder, a fleet, and short words for long procedures."""

    def __init__(self, folder: Path, begun: Path | None = None, url: str | None = None) -> None:
        self.folder = folder
        self.begun = begun
        self.place = url or str(folder / "home/register.db")
        self.prepare: Callable[[], object] = lambda: None  # makes the database that the office is to be in
        self.ready: Callable[[], None] | None = None  # begins with a copy of what `approved` would make
        self.sign = people.sign
        self.clock = Clock()
        self.config: Config = load_config(PROJECT / "sop_driver/data/sop.example.yml")
        self.fleet = FakeFleet()
        self.facts = FleetFacts.model_validate(
            {
                "domain": "tarakankota.go.id",
                "database": {"db1": {}},
                "web": {
                    "web1": {"ipv4": "198.51.100.11", "ipv6": "2001:db8:77::11", "inside_ipv4": "10.89.77.11"},
                    "web2": {"ipv4": "198.51.100.12", "inside_ipv4": "10.89.77.12"},
                },
                "pool": [{"ipv4": "198.51.100.101", "ipv6": "2001:db8:77::101"}],
            }
        )
        self.letter = self.document("surat.pdf", "%PDF-1.4 permohonan")
        self.paper = self.document("kertas.txt", "dokumen")

    @cached_property
    def office(self) -> Office:
        """With its first actors: the home in `begun`, where somebody has held the ceremony before."""
        self.prepare()
        if self.begun:
            away = shutil.ignore_patterns("register.db*") if "://" in self.place else None
            shutil.copytree(self.begun, self.folder / "home", ignore=away)
        office = self.opened(self.clock)
        if not self.begun:
            actors.bootstrap(office, self.ceremony(), self.sign)
        return office

    def opened(self, clock: Callable[[], datetime]) -> Office:
        home = Home(self.folder / "home").make()
        office = Office(self.config, PROJECT, home, self.register(clock), Evidence(home.evidence))
        return trust.watched(office)

    def register(self, clock: Callable[[], datetime] | None = None) -> Register:
        """The register opened once more, as another process has it."""
        return Register(self.place, clock or self.clock, self.folder / "home")

    def ceremony(self) -> Path:
        first = {name: {**actor, "key": people.public(name)} for name, actor in people.FIRST.items()}
        return self.document("actors.yml", json.dumps({"actors": first}))

    def document(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def form(self, **fields: Any) -> dict[str, Any]:
        if fields.get("kind") in ("suspend", "resume"):
            kept = ("agency", "unit", "letter", "name", "purpose", "contact")
            return {**{name: value for name, value in self.form().items() if name in kept}, **fields}
        archive = fields.pop("archive_bytes", None) or tar_of({"index.html": "<h1>Dinas Kesehatan</h1>"})
        (self.folder / "situs.tar.gz").write_bytes(archive)
        return {
            "agency": "Dinas Kesehatan",
            "unit": "Sekretariat",
            "letter": {"number": "005/1", "date": "2026-10-30"},
            "kind": "create",
            "name": "dinkes.tarakankota.go.id",
            "title": "Dinas Kesehatan",
            "purpose": "Informasi",
            "contact": {"name": "Siti", "email": "siti@example.go.id"},
            "runtime": "static",
            "release": {"archive": "situs.tar.gz", "sha256": hashlib.sha256(archive).hexdigest()},
            **fields,
        }

    def write(self, form: dict[str, Any]) -> Path:
        return self.document("request.yml", yaml.safe_dump(form, allow_unicode=True))

    def submit(self, replace: str | None = None, **fields: Any) -> str:
        path = self.write(self.form(**fields))
        actor = fields.get("requester", "dinkes")
        now = steps.submit(self.office, path, None if replace else self.letter, actor, replace, self.sign)
        assert now is not None
        return now.id

    def corrected(self, person: str) -> str:
        """A request of somebody's, by another id of theirs, that somebody of the same unit corrected."""
        self.enroll("baru", "pd", person=person, unit="Dinas Kesehatan", by=("kadis", "kasubbag"))
        request = self.submit(requester="baru")
        return self.submit(replace=request, requester="dinkes")

    def take(self, request: str, step: str, outcome: str | None = None, actor: str | None = None, **more: Any) -> Any:
        now = standing.stand(self.office, request)
        found = now.procedure.step(step)
        assert found is not None
        who = actor or {"kasubbag": "kasubbag", "kadis": "kadis", "bidang": "kabid", "pd": "dinkes"}[found.actors[0]]
        if actor is None and step == "build":
            who = "subkoor"  # who builds installs, and must be another than who approved
        if outcome is None and found.outcomes:
            outcome = "yes" if "yes" in found.outcomes else {"create": "absent", "update": "exists"}[now.request.branch]
        documents = more.pop("documents", dict.fromkeys(found.evidence, self.paper))
        return steps.record(self.office, request, step, who, self.sign, outcome, documents, **more)

    def approve(self, request: str) -> str:
        """Take every step up to the installation that is not taken."""
        now = standing.stand(self.office, request)
        for step in now.procedure.before(now.procedure.installation):
            if step.id not in now.done:
                self.take(request, step.id)
        return request

    def turned_down(self) -> str:
        """Entry 6 is the decision `no`."""
        request = self.submit()
        for step in ("agenda", "disposition", "review"):
            self.take(request, step)
        self.take(request, "decision", outcome="no", reason="data belum lengkap")
        return request

    def approved(self, **fields: Any) -> str:
        if self.ready and not fields and "office" not in self.__dict__:
            self.ready()
            return "R-2026-0001"
        return self.approve(self.submit(**fields))

    def begin(self, there: Begun) -> None:
        """Let the office begin as it was left there, with the form that was submitted."""
        self.begun, self.clock.time = there
        self.write(self.form())

    def enroll(self, who: str, role: str, by: tuple[str, ...] = ("kasubbag", "kabid"), **fields: Any) -> Any:
        """Enter an actor whose key is that of their id, or of `key`; or another holder of the id (`replaces`)."""
        replaces = fields.pop("replaces", False)
        official = role != "pd" and not fields.get("stands_in")
        decree = fields.pop("decree", self.paper if replaces or official else None)
        actor = Actor(**{"name": who, "role": role, "key": people.public(who), **fields})
        return actors.enroll(self.office, who, actor, list(by), self.sign, "SK 800/1/2026", decree,
                             replaces=replaces)

    def retire(self, *names: str, by: tuple[str, ...] = ("kasubbag", "kabid")) -> Any:
        return actors.retire(self.office, list(names), list(by), self.sign, "pensiun")

    def run(self, *requests: str, actor: str | None = None) -> run.Outcome:
        return run.run(self.office, self.fleet, self.facts, list(requests), self.sign, actor)

    def receipt(self, request: str | None) -> dict[str, Any]:
        """As `sop register receipt` makes it."""
        value = trust.make_receipt(self.office, request)
        return {**value, "personal": trust.personal(self.office, value)}

    def outcomes(self) -> list[str]:
        return [str(entry.outcome) for entry in self.office.register.entries(kind="run")]

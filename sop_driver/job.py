"""What a run is to bring about: decided by the register, and kept in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sop_driver import desired, records
from sop_driver.config import FleetFacts, write_atomic
from sop_driver.desired import Allocation, Website
from sop_driver.errors import Refused
from sop_driver.fleet import FleetResult
from sop_driver.proof import canonical
from sop_driver.standing import Office, Standing


@dataclass
class Job:
    """A run: its place on disk, the state before and the state wanted."""

    run: str
    folder: Path
    standings: list[Standing]
    allocations: list[Allocation]
    before: dict[str, Website]
    target: dict[str, Website]
    saved: dict[str, dict[str, Any]] = field(default_factory=dict)  # snapshots from before: {website: {host: facts}}
    unread: str = ""  # what of its folder could not be used

    @property
    def names(self) -> list[str]:
        return [now.request.name for now in self.standings]

    @property
    def updates(self) -> list[str]:
        return [name for name in self.names if name in self.before]

    @property
    def not_undone(self) -> str:
        """What putting back leaves: data that an update's setup script may have changed, and where they are saved."""
        ran = [name for name in self.saved if self.target[name]["setup_script"]
               and any(self.target[name][key] != self.before[name][key] for key in ("release", "setup_script"))]
        told = [f"{name} (playbooks/restore.yml, snapshot {facts['id']})"
                for name in ran for facts in self.saved[name].values()]
        left = f", but for data that a setup script may have changed: {', '.join(told)}" if told else ""
        return left + self.unread

    @property
    def target_file(self) -> Path:
        return self.folder / "desired-target.json"

    @property
    def previous_file(self) -> Path:
        return self.folder / "desired-previous.json"

    def keep(self, name: str, result: FleetResult) -> None:
        records.keep_result(self.folder, name, result)


def wanted(office: Office, facts: FleetFacts, standings: list[Standing], run: str, folder: Path) -> Job:
    """What a run is to bring about, by the register as it is now. Raises Refused where there is no place."""
    before = desired.fold(office.register)
    try:
        allocations = desired.allocate(standings, run, office.register, office.evidence, facts)
    except desired.Unplaceable as error:
        raise Refused([error.refusal]) from error
    pairs = zip(standings, allocations, strict=True)
    new = [desired.website(now.request, a, before.get(now.request.name)) for now, a in pairs]
    return Job(run, folder, standings, allocations, before, before | {row["name"]: row for row in new})


def prepare(office: Office, facts: FleetFacts, standings: list[Standing], run: str, folder: Path) -> Job:
    """The same, with its files written."""
    job = wanted(office, facts, standings, run, folder)
    desired.write(job.target_file, office.register, job.target)
    write_previous(office, job.previous_file, job.before, job.target)  # now, as a full disk must not stop putting back
    return job


def died(office: Office, run: str, before: dict[str, Website], mine: dict[str, Website]) -> Job:
    """A run of these websites that never ended, as the register and its folder tell of it; with what puts it back."""
    job = Job(run, office.home.runs / run, [], [], before, before | mine)
    saved, job.unread = records.result(job.folder, "backup-before", "snapshots")
    job.saved = {name: saved[name] for name in mine.keys() & before.keys() & saved.keys()}
    write_previous(office, job.previous_file, before, job.target)
    return job


def write_previous(office: Office, path: Path, before: dict[str, Website], target: dict[str, Website]) -> Path:
    """The state to put back: as before a run, with what the run itself makes removed, data too."""
    purged = {name: {**row, "state": "purged"} for name, row in target.items() if name not in before}
    return desired.write(path, office.register, {**before, **purged})


def selected(folder: Path, names: list[str]) -> Path:
    """The websites that a play is about, for it to read."""
    path = folder / "selection.json"
    write_atomic(path, canonical({"websites": names}).encode())
    return path

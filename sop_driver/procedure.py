"""The SOP as data: its steps in order, who takes them, with which documents, in which time, and where they branch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from sop_driver.adoption import gate_faults, waivable
from sop_driver.config import Strict, from_yaml, load
from sop_driver.errors import Usage
from sop_driver.flow import Flow
from sop_driver.statement import KEPT, PERSONAL, Level, is_document

STRONG: dict[Level, Literal["strong", "weak"]] = {"ssh": "strong", "pades": "strong", "ink": "weak"}


class Duration(Strict):
    minutes: int = Field(0, ge=0)
    days: int = Field(0, ge=0)

    def delta(self) -> timedelta:
        return timedelta(minutes=self.minutes, days=self.days)

    def __str__(self) -> str:
        return " ".join(f"{n} {unit}" for n, unit in ((self.days, "hari"), (self.minutes, "menit")) if n)


class Branch(Strict):
    returns_to: str | None = None
    needs_reason: bool = False
    kind: Literal["create", "update"] | None = None


class Step(Strict):
    id: str = Field(pattern=r"^[a-z_]+$")
    number: int
    activity: str
    actors: tuple[str, ...] = Field(min_length=1)
    kelengkapan: str
    time: Duration
    output: str
    evidence: dict[str, Literal["pdf", "any"]] = Field({})
    binds: Literal["letter", "request"] = "request"
    by: Literal["submit", "record", "run"] = "record"
    gives: Literal["agenda"] | None = None
    outcomes: dict[str, Branch] = Field({})
    gate: str | None = None
    signed: tuple[Level, ...] = Field(("ssh",), min_length=1)
    sheet: str | None = None

    def __str__(self) -> str:
        return f"step {self.number} ({self.id}: {self.activity})"

    @property
    def signed_sheet(self) -> str:
        """The name of the evidence that a signed PDF is kept as."""
        return self.sheet or "lembar_ttd"


class StandIn(Strict):
    """Who may stand in for an office's holder: holders of which offices, and who holds none, as what, for how long."""

    by: tuple[str, ...] = ()
    without_office: bool = False
    titles: tuple[Literal["Plt", "Plh"], ...] = Field(min_length=1)
    lasts: Duration


class Officials(Strict):
    """Who signs changes of the actors, how many of them, and who signs for having seen a paper, and who heads all.

    Whose new holders show a decree (all signers where nothing is said), which offices have one holder at a time (none),
    and who may stand in (anybody, for as long).
    """

    signers: tuple[str, ...] = Field(min_length=1)
    count: int = Field(2, ge=2)
    ink: str
    head: str | None = None
    decree: tuple[str, ...] = Field(default_factory=lambda told: told.get("signers", ()))
    one_holder: tuple[str, ...] = ()
    stand_ins: dict[str, StandIn] | None = None


class Emergency(Strict):
    """By whose word a request that cannot wait goes past which gates, for how long, and who reports it by when."""

    signers: tuple[str, ...] = Field(min_length=1)
    count: int = Field(2, ge=2)
    waives: tuple[str, ...] = Field(min_length=1)
    lasts: Duration
    reported_by: tuple[str, ...] = Field(min_length=1)
    report: Duration


class Procedure(Strict):
    id: str
    title: str
    agency: str
    approved: str
    roles: dict[str, str]
    officials: Officials
    emergency: Emergency | None = None
    separation: tuple[tuple[str, ...], ...] = ()
    levels: dict[Level, Literal["strong", "weak"]] = STRONG  # where a file from before does not say how strong
    steps: tuple[Step, ...] = Field(min_length=1)
    hash: str

    @model_validator(mode="after")
    def _hangs_together(self) -> Procedure:
        ids = [step.id for step in self.steps]
        if len(set(ids)) != len(ids):
            raise ValueError("two steps have the same id")
        if [step.by for step in self.steps].count("run") != 1:
            raise ValueError("exactly one step is taken `by: run`")
        if [step.id for step in self.steps if step.by == "submit"] != ids[:1] or len(self.steps[0].evidence) != 1:
            raise ValueError("the first step alone is taken `by: submit`, with one document, the letter")
        offices = self.officials
        named = {*offices.signers, *offices.decree, *offices.one_holder, offices.ink, offices.head or offices.ink}
        named |= {role for office, rule in (offices.stand_ins or {}).items() for role in (office, *rule.by)}
        if unknown := named - set(self.roles):
            raise ValueError(f"officials: no such role: {', '.join(sorted(unknown))}")
        if strange := {name for apart in self.separation for name in apart} - set(ids):
            raise ValueError(f"separation: no such step: {', '.join(sorted(strange))}")
        if faults := list(gate_faults(self.order)):
            raise ValueError("; ".join(faults))
        self._emergency_hangs_together()
        for step in self.steps:
            if step.sheet and (step.sheet not in step.evidence or step is self.steps[0]):
                raise ValueError(f"{step}: the sheet {step.sheet} is no document of it that could be made from it")
            if strange := {repr(name) for name in step.evidence if name.startswith(PERSONAL) or not is_document(name)}:
                raise ValueError(f"{step}: {', '.join(sorted(strange))} names no document")
            if kept := sorted(step.evidence.keys() & KEPT):
                raise ValueError(f"{step}: the register itself names documents {', '.join(kept)}: name it otherwise")
            if unsaid := set(step.signed) - self.levels.keys():
                raise ValueError(f"{step}: levels does not say how strong it is signed by {', '.join(sorted(unsaid))}")
            if unknown := set(step.actors) - set(self.roles):
                raise ValueError(f"{step}: no such role: {', '.join(sorted(unknown))}")
            for branch in step.outcomes.values():
                if branch.returns_to is not None and branch.returns_to not in ids[1:ids.index(step.id)]:
                    raise ValueError(f"{step}: goes back to {branch.returns_to}, which is no step before it")
        return self

    def _emergency_hangs_together(self) -> None:
        if (rules := self.emergency) is None:
            return
        if unknown := {*rules.signers, *rules.reported_by} - set(self.roles):
            raise ValueError(f"emergency: no such role: {', '.join(sorted(unknown))}")
        if strange := set(rules.waives) - waivable(self.order):
            raise ValueError(f"emergency: it cannot waive {', '.join(sorted(strange))}")

    @property
    def refusals(self) -> dict[str, list[str]]:
        """The outcomes that send a request back, by step."""
        return {step.id: [name for name, branch in step.outcomes.items() if branch.returns_to] for step in self.steps
                if any(branch.returns_to for branch in step.outcomes.values())}

    @property
    def order(self) -> dict[str, Any]:
        """The steps as far as entries are held against them, as plain JSON."""
        told = {"id", "number", "activity", "actors", "signed", "evidence", "binds", "by", "gives", "outcomes", "gate"}
        return {"steps": [step.model_dump(mode="json", include=told) for step in self.steps],
                "separation": [list(names) for names in self.separation]}

    @property
    def told(self) -> dict[str, Any]:
        """What the entry that adopts it tells of it, so that who has not this file can hold entries against it."""
        emergency = self.emergency.model_dump(mode="json") if self.emergency else None
        return {"rules": self.officials.model_dump(mode="json"), "emergency": emergency, "refusals": self.refusals,
                "order": self.order, "persons": ["person", "seen_by"], "stops": ["late report"],
                "agencies": ["steps", "websites", "sheets"], "reports": ["installed or over"],
                "certificates": ["whole name"], "askers": ["every form"],
                "carriers": {step.id: step.signed_sheet for step in self.steps if "pades" in step.signed}}

    def belied(self, told: dict[str, Any]) -> list[str]:
        """What an entry that adopts it tells otherwise; an older one tells less."""
        mine = self.told
        mine["rules"] = {name: rule for name, rule in mine["rules"].items() if name in told.get("rules", {})}
        return [name for name, value in mine.items() if name in told and told[name] != value]

    @cached_property
    def flow(self) -> Flow:
        return Flow(self.order)

    @property
    def opening(self) -> Step:
        return self.steps[0]

    @property
    def installation(self) -> Step:
        return next(step for step in self.steps if step.by == "run")

    def step(self, name: str) -> Step | None:
        return next((step for step in self.steps if step.id == name), None)

    def before(self, step: Step) -> Iterator[Step]:
        return iter(self.steps[: self.steps.index(step)])


def parse(data: bytes, where: Path) -> Procedure:
    """Read an SOP's data file; its hash is the version that requests keep. Raises Usage."""
    try:
        value: Any = from_yaml(data.decode())
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise Usage(f"not readable as YAML: {' '.join(str(error).split())}", str(where), "correct the file") from error
    if not isinstance(value, dict):
        raise Usage("an SOP file is a mapping", str(where), "start from sop_driver/data/sop-website-2024.yml")
    return load(Procedure, {**value, "hash": hashlib.sha256(data).hexdigest()}, where)

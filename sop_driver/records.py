"""The SOP's records (pencatatan dan pendataan) after a run: configuration, backup and network, by website."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from sop_driver import desired
from sop_driver.config import write_atomic
from sop_driver.desired import Website
from sop_driver.fleet import FleetResult, Result
from sop_driver.note import LARGEST, octets_in
from sop_driver.proof import canonical
from sop_driver.reading import USELESS
from sop_driver.standing import Office

SUBJECTS = {
    "configuration": "Data konfigurasi layanan website",
    "backup": "Manajemen backup",
    "network": "Pemeliharaan jaringan internet",
}


class Told(BaseModel):
    """What is needed of what a server told of a website."""

    model_config = ConfigDict(defer_build=True)


class Snapshot(Told):
    id: str


class Certificate(Told):
    ok: bool
    error: str | None


class Probe(Told):
    https: Certificate | None = None


NEEDED: dict[str, type[Told]] = {"snapshots": Snapshot, "as_built": Told, "probes": Probe}


@dataclass
class Outcome:
    """What a run brought about; the records are made of it."""

    run: str
    requests: list[str]
    websites: list[Website]
    changes: list[dict[str, Any]]
    as_built: dict[str, dict[str, Any]]
    probes: dict[str, dict[str, Any]]
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    backup_fault: str | None = None
    left: dict[str, str] = field(default_factory=dict)  # other requests' websites that a layer left as they were: why
    records: list[Path] = field(default_factory=list)
    unread: str = ""  # what of the run's folder could not be used

    def pages(self) -> list[str]:
        """Where visitors find each website; and why it is on HTTP still, where its certificate has not come."""
        lines = []
        for row in self.websites:
            seen = [look["https"] for look in self.probes.get(row["name"], {}).values() if look.get("https")]
            scheme = "https" if seen and all(shown["ok"] for shown in seen) else "http"
            lines.append(f"  {scheme}://{row['name']}/  on {row['web_host']}, {row['address']['ipv4']}")
            lines += [f"    on HTTP until its certificate comes, which is asked for again: {shown['error']}"
                      for shown in seen if not shown["ok"]]
        return lines


def missing(office: Office) -> Outcome | None:
    """What the last run that was applied brought about, by what it kept in its folder, where its records are missing:
    it died before they were made."""
    runs, last = office.register.latest_first("run"), next(office.register.latest_first("record"), None)
    applied = next((entry for entry in runs if entry.outcome == "applied"), None)
    if applied is None or (last is not None and last.data.get("run") == applied.data["run"]):
        return None
    run = applied.data["run"]
    started = next(entry for entry in runs if entry.data["run"] == run)
    websites = desired.fold(office.register)
    names = [row["name"] for row in desired.rows(office.register, started, websites)]
    (built, odd), (probes, odd_too) = (result(office.home.runs / run, name, key)
                                       for name, key in (("websites", "as_built"), ("probe", "probes")))
    return Outcome(run, started.data["requests"], [websites[name] for name in names], [],
                   {name: built.get(name, {}) for name in names}, probes, unread=odd + odd_too)


def keep_result(folder: Path, name: str, result: FleetResult) -> None:
    """Keep what servers answered to a play."""
    lines = [{"host": r.host, "task": r.task, "result": r.values} for r in result.results]
    write_atomic(folder / f"{name}.json", json.dumps(lines, indent=1, ensure_ascii=False).encode())


def result(folder: Path, name: str, key: str) -> tuple[dict[str, dict[str, Any]], str]:
    """What they told under a key of each website; nobody signs that file, so what cannot be used is told beside it."""
    try:
        text = octets_in(folder / f"{name}.json", LARGEST).decode()
        lines = json.loads(text.replace(r"\u0000", r"\ufffd"))
        results = [Result(line["host"], line["task"], line["result"]) for line in lines]
        found = FleetResult(name, results).of_website(key)
        canonical(found)  # the register takes nothing else
        for of_host in (told for hosts in found.values() for told in hosts.values()):
            NEEDED[key].model_validate(of_host)
        return found, ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, *USELESS) as error:  # a folder, say, or a pipe
        return {}, f"; runs/{folder.name}/{name}.json cannot be used ({type(error).__name__}), and was left out"


def keep(office: Office, outcome: Outcome, reason: str | None = None) -> list[Path]:
    """Enter a run's records into the register and write them as files. Returns the files."""
    facts: dict[str, dict[str, Any]] = {
        "configuration": {row["name"]: {"desired": row, "as_built": outcome.as_built.get(row["name"], {})}
                          for row in outcome.websites},
        "backup": {row["name"]: {"snapshots": outcome.snapshots.get(row["name"], {}), "fault": outcome.backup_fault}
                   for row in outcome.websites},
        "network": {row["name"]: outcome.probes.get(row["name"], {}) for row in outcome.websites},
    }
    with office.register.writing():  # unless another driver has taken over
        files = [overview(office)]  # before the entries: where these are, nothing is missing
        for subject, websites in facts.items():
            entry = office.register.append(
                "record", outcome="failed" if subject == "backup" and outcome.backup_fault else "kept", reason=reason,
                data={"subject": subject, "run": outcome.run, "requests": outcome.requests, "websites": websites})
            for name, value in websites.items():
                path = office.home.records / name / f"{subject}.json"
                body = {"record": SUBJECTS[subject], "website": name, "run": outcome.run, "time": entry.time,
                        "register": entry.sequence, **value}
                write_atomic(path, json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")
                files.append(path)
    return files


def overview(office: Office) -> Path:
    """The whole desired state as one file for people: the SOP's *data konfigurasi layanan website*."""
    path = office.home.records / "configuration.yml"
    body = {SUBJECTS["configuration"]: desired.document(office.register, desired.fold(office.register))}
    write_atomic(path, yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110).encode())
    return path

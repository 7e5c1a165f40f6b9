"""The SOP's records (pencatatan dan pendataan) after a run: configuration, backup and network, by website."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from sop_driver import desired
from sop_driver.config import write_atomic
from sop_driver.run import Outcome
from sop_driver.standing import Office

SUBJECTS = {
    "configuration": "Data konfigurasi layanan website",
    "backup": "Manajemen backup",
    "network": "Pemeliharaan jaringan internet",
}


def keep(office: Office, outcome: Outcome) -> list[Path]:
    """Enter a run's records into the register and write them as files. Returns the files."""
    facts: dict[str, dict[str, Any]] = {
        "configuration": {row["name"]: {"desired": row, "as_built": outcome.as_built.get(row["name"], {})}
                          for row in outcome.websites},
        "backup": {row["name"]: {"snapshots": outcome.snapshots.get(row["name"], {}), "fault": outcome.backup_fault}
                   for row in outcome.websites},
        "network": {row["name"]: outcome.probes.get(row["name"], {}) for row in outcome.websites},
    }
    files: list[Path] = []
    with office.register.writing():
        for subject, websites in facts.items():
            entry = office.register.append(
                "record", outcome="failed" if subject == "backup" and outcome.backup_fault else "kept",
                data={"subject": subject, "run": outcome.run, "requests": outcome.requests, "websites": websites})
            for name, value in websites.items():
                path = office.home.records / name / f"{subject}.json"
                body = {"record": SUBJECTS[subject], "website": name, "run": outcome.run, "time": entry.time,
                        "register": entry.sequence, **value}
                write_atomic(path, json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")
                files.append(path)
    return [*files, overview(office)]


def overview(office: Office) -> Path:
    """The whole desired state as one file for people: the SOP's *data konfigurasi layanan website*."""
    path = office.home.records / "configuration.yml"
    body = {SUBJECTS["configuration"]: desired.document(office.register, desired.fold(office.register))}
    write_atomic(path, yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110).encode())
    return path

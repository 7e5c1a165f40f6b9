"""The desired state: what the register says must exist on the fleet, and where a new website goes."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sop_driver.config import FleetFacts, write_atomic
from sop_driver.errors import Refusal
from sop_driver.evidence import Evidence
from sop_driver.flow import STATES
from sop_driver.note import LARGEST, octets_in, plain_file
from sop_driver.proof import canonical
from sop_driver.reading import USELESS
from sop_driver.register import Entry, Register
from sop_driver.request import Request
from sop_driver.standing import Standing

FIRST_UID = 20000  # below lie the system's and people's accounts
PLACE = re.compile(rb'"sequence":([0-9]{1,18})')  # in such a file, of the register's last entry then
WEIGHT = {"small": 1, "medium": 2, "large": 4}  # for spreading websites over hosts
Website = dict[str, Any]
Allocation = dict[str, Any]


class Unplaceable(Exception):
    """A request that cannot be given what it asks for."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


def fold(register: Register) -> dict[str, Website]:
    """The websites that must exist, by name: every applied run's requests with what was allocated to them."""
    websites: dict[str, Website] = {}
    started: dict[str, Entry] = {}
    for entry in register.entries(kind="run"):
        with register.using(entry.sequence):
            run = entry.data["run"]
            if entry.outcome == "started":
                started[run] = entry
            elif entry.outcome == "applied":
                websites.update({row["name"]: row for row in rows(register, started[run], websites)})
    return websites


def rows(register: Register, started: Entry, before: dict[str, Website]) -> list[Website]:
    """The websites that a run brings about, from its `started` entry, the requests as it took them, and what was."""
    result = []
    for allocation in started.data["allocations"]:
        for entry in register.entries(kind="step", request=allocation["request"]):
            if entry.data.get("digest") == allocation["digest"] and "request" in entry.data:
                request = Request.model_validate(entry.data["request"])
                result.append(website(request, allocation, before.get(request.name)))
                break
        else:
            raise ValueError(f"the form of {allocation['request']} that it installs is in no entry")
    return result


def website(request: Request, allocation: Allocation, old: Website | None) -> Website:
    """One row of the desired state; `old` is the row before. An update of a suspended website leaves it suspended."""
    asked = {"agenda": allocation["agenda"], "request": allocation["request"]}
    if old is not None and request.kind in STATES:
        return {**old, "state": STATES[request.kind], **asked}
    if request.release is None:
        raise ValueError(f"{request.name} is to be made of a request of kind {request.kind}")
    database = {"engine": request.database, "host": allocation["database_host"]} if request.database else None
    names = {"zone": request.zone, "records": [
        {"name": record.name, "type": record.type, "value": record.value, "ttl": record.ttl}
        for record in request.records]}
    return {
        "name": request.name, "state": old["state"] if old else "present", "uid": allocation["uid"],
        "aliases": sorted(request.aliases), "title": request.title, "agency": request.agency, "unit": request.unit,
        **asked,
        "runtime": request.runtime, "php_version": request.php_version, "document_root": request.document_root,
        "program": request.program, "entry": request.entry,
        "writable": sorted(request.writable), "setup_script": request.setup_script,
        "probe": {"path": request.probe.path, "contains": request.probe.contains or request.title},
        "release": {"sha256": request.release.sha256, "size": allocation["release_size"]},
        "database": database, "web_host": allocation["web_host"], "address": allocation["address"],
        "size": request.size, "waf": request.waf, "created_by": allocation["created_by"],
        **{key: value for key, value in names.items() if value},
    }


def allocate(standings: Iterable[Standing], run: str, register: Register, evidence: Evidence,
             facts: FleetFacts) -> list[Allocation]:
    """Decide uid, hosts and address for each request. Raises Unplaceable. Hold the run's lock."""
    websites = fold(register)
    uid = max((a["uid"] for e in register.entries(kind="run") for a in e.data.get("allocations", [])),
              default=FIRST_UID - 1)  # of all runs, failed ones too: a uid is never used twice
    result = []
    for now in standings:
        request, old = now.request, websites.get(now.request.name)
        allocation: Allocation = {"request": now.id, "digest": now.digest, "agenda": now.agenda}
        if request.release:
            allocation["release_size"] = evidence.path(request.release.sha256).stat().st_size
        if old is not None:
            if request.release:
                _keeps(now, old)
            allocation |= {key: old[key] for key in ("uid", "web_host", "address", "created_by")}
        elif request.kind in STATES:
            raise Unplaceable(Refusal(f"{now.id}: {request.name} does not exist", "allocation", "correct the name"))
        else:
            uid += 1
            host = _least_loaded(facts.web, websites.values(), lambda row: row["web_host"])
            allocation |= {"uid": uid, "web_host": host, "created_by": run,
                           "address": _address(now, host, websites, facts)}
        held = old["database"]["host"] if old and old["database"] else None
        allocation["database_host"] = (held or _database_host(now, websites, facts)) if request.database else None
        websites[request.name] = website(request, allocation, old)
        result.append(allocation)
    return result


def _keeps(now: Standing, old: Website) -> None:
    """An update keeps its database and its address: changing them would lose data or visitors."""
    engine = old["database"]["engine"] if old["database"] else None
    if engine and now.request.database != engine:
        raise Unplaceable(Refusal(
            f"{now.id}: {old['name']} has a {engine} database, the update asks for {now.request.database or 'none'}",
            "update keeps the database", f"write `database: {engine}`"))
    kind = "own" if old["address"]["own"] else "shared"
    if now.request.address != kind:
        raise Unplaceable(Refusal(f"{now.id}: {old['name']} has a {kind} address, the update asks for another kind",
                                  "update keeps the address", f"write `address: {kind}`"))


def _least_loaded(hosts: Iterable[str], websites: Iterable[Website], host_of: Any) -> str:
    load: Counter[str] = Counter()
    for row in websites:
        load[host_of(row)] += WEIGHT[row["size"]]
    return min(sorted(hosts), key=lambda host: load[host])


def _database_host(now: Standing, websites: dict[str, Website], facts: FleetFacts) -> str:
    if not facts.database:
        raise Unplaceable(Refusal(f"{now.id}: the fleet has no database server", "allocation", "add one to fleet.yml"))
    return _least_loaded(facts.database, (w for w in websites.values() if w["database"]),
                         lambda row: row["database"]["host"])


def _address(now: Standing, host: str, websites: dict[str, Website], facts: FleetFacts) -> dict[str, Any]:
    if now.request.address == "shared":
        return {**facts.web[host].model_dump(mode="json"), "own": False}
    taken = {row["address"]["ipv4"] for row in websites.values()}
    for free in facts.pool:
        if str(free.ipv4) not in taken:
            return {**free.model_dump(mode="json"), "own": True}
    raise Unplaceable(Refusal(f"{now.id}: all {len(facts.pool)} addresses of the pool are taken", "allocation",
                              "ask for a shared address, or add addresses to the pool in fleet.yml"))


def document(register: Register, websites: dict[str, Website]) -> dict[str, Any]:
    """The desired state as the layers read it."""
    sequence, digest = register.head()
    return {"format": 1, "register": {"sequence": sequence, "hash": digest},
            "websites": [websites[name] for name in sorted(websites)]}


def fingerprint(websites: dict[str, Website]) -> str:
    return hashlib.sha256(canonical([websites[name] for name in sorted(websites)]).encode()).hexdigest()


def read(path: Path) -> dict[str, Website] | None:
    """The websites of a desired state file; None where there is none or it is not whole."""
    try:
        return {row["name"]: row for row in json.loads(octets_in(path, LARGEST))["websites"]}
    except (OSError, *USELESS):
        return None


def write(path: Path, register: Register, websites: dict[str, Website]) -> Path:
    write_atomic(path, canonical(document(register, websites)).encode() + b"\n")
    return path


def provide(path: Path, register: Register) -> None:
    """Have the file that the playbooks read when run by hand, of no state before the last run that was applied: by an
    older one, as a backup brings it back, they would take websites away."""
    if not path.exists():
        write(path, register, fold(register))
        return
    applied = next((entry.sequence for entry in register.latest_first("run") if entry.outcome == "applied"), 0)
    try:
        with plain_file(path) as file:
            found = PLACE.search(file.read(200))
    except OSError:  # the next run tells
        return
    if (int(found[1]) if found else 0) < applied:
        with register.writing():  # no run writes a newer one meanwhile
            write(path, register, fold(register))

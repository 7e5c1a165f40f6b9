"""Measure the same work done by the playbooks and by a bare shell over SSH, on the lab, in one run.

Our websites are served by HTTPS with a wildcard certificate of the agency's own: a thousand orders at once would
measure the lab's authority instead.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import hashlib
import importlib.util
import io
import itertools
import json
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import visit
import yaml
from visit import DOMAIN, FLEET, LAB, ROOT, Fact

FIRST_UID = 50000  # far above what the register gives
FLOOR = (ROOT / "tests/bench/floor.sh").read_text()
APACHE = yaml.safe_load((ROOT / "roles/apache/defaults/main.yml").read_text())
SIZES, HSTS = APACHE["apache_sizes"], APACHE["apache_hsts_seconds"]
CREATE, MORE, NOTHING = "create all in one go", "one more on top", "nothing to change"
POLICY = "another policy for all"


class Row(NamedTuple):
    """One measurement: seconds are wall time, each a run of its own."""

    who: str
    work: str
    count: int
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time that a call takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def release(folder: Path) -> str:
    """One small PHP release for all; gives its sha256."""
    packed = io.BytesIO()
    page = b"<?php echo 'bench';\n"
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("index.php")
        member.size = len(page)
        tar.addfile(member, io.BytesIO(page))
    content = gzip.compress(packed.getvalue(), mtime=0)
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / sha256).write_bytes(content)
    return sha256


class Ours:
    """The playbooks, over the whole fleet: website, pool, database, account and records, checked and reversible."""

    def __init__(self, folder: Path, certificates: list[dict[str, Any]], hosts: list[str]) -> None:
        self.folder = folder
        self.hosts = hosts
        self.certificates = certificates
        self.facts: list[Fact] = []
        self.evidence = folder / "evidence"
        shutil.copytree(LAB / "sop/evidence", self.evidence)
        self.sha256 = release(self.evidence)
        self.kept = json.loads((LAB / "sop/desired.json").read_text())["websites"]
        self.name = "playbooks, whole fleet"

    def website(self, number: int, state: str) -> dict[str, Any]:
        host = self.hosts[number % len(self.hosts)]
        at = FLEET["web"][host]
        return {
            "name": f"{number}.{DOMAIN}", "state": state, "uid": FIRST_UID + number, "aliases": [],
            "title": "bench", "agency": "bench", "unit": "", "agenda": "", "request": "bench", "runtime": "php",
            "php_version": None, "document_root": "", "writable": [], "setup_script": None,
            "probe": {"path": "/", "contains": "bench"}, "release": {"sha256": self.sha256, "size": 1},
            "database": {"engine": "mariadb", "host": next(iter(FLEET["database"]))}, "web_host": host,
            "address": {"ipv4": at["ipv4"], "ipv6": at["ipv6"], "own": False}, "size": "small", "created_by": "bench",
        }

    def converge(self, count: int, gone: int = 0, **variables: object) -> None:
        """Play websites.yml for `count` websites present and the next `gone` purged."""
        websites = [self.website(n, "present") for n in range(count)]
        websites += [self.website(n, "purged") for n in range(count, count + gone)]
        desired = self.folder / "desired.json"
        desired.write_text(json.dumps({"format": 1, "websites": self.kept + websites}))
        visit.play("websites.yml", "-e", json.dumps({
            "desired_state_file": str(desired), "evidence_dir": str(self.evidence),
            "apache_certificates": self.certificates, **variables,
        }))

    def policy(self, seconds: int) -> None:
        """Change what every website answers with."""
        visit.play("servers.yml", "--limit", "web", "--tags", "policy", "-e", json.dumps({
            "apache_certificates": self.certificates, "apache_hsts_seconds": seconds}))

    def look(self, count: int, before: float) -> None:
        """The memory of idle websites, and what visitors lose while one more is added."""
        here = range(0, count, len(self.hosts))
        self.facts.append(Fact(visit.IDLE, count, (visit.memory() - before) / len(here), "MiB"))
        with visit.visits(count, here.step) as facts:
            self.converge(count + 1)
        self.facts += facts
        self.converge(count, gone=1)

    def measure(self, count: int, repeat: int) -> list[Row]:
        """All work at this number of websites; leaves none of them, whatever happens."""
        try:
            return self.work(count, repeat)
        except BaseException:
            self.converge(0, gone=count + 1)
            raise

    def work(self, count: int, repeat: int) -> list[Row]:
        """The rows at this number of websites."""
        before = visit.memory()
        create = timed(lambda: self.converge(count))
        at_once = timed(lambda: self.converge(count + 1))  # while PHP of all that were seen first still runs
        self.converge(count, gone=1)
        visit.rest(self.hosts)
        more, nothing = [], []
        for _ in range(repeat):
            more.append(timed(lambda: self.converge(count + 1)))
            nothing.append(timed(lambda: self.converge(count + 1)))
            self.converge(count, gone=1)
        self.look(count, before)
        wider = {size: {**given, "children": given["children"] + 1} for size, given in SIZES.items()}
        limits = timed(lambda: self.converge(count, apache_sizes=wider))
        reloads = visit.reloads()
        policies = [timed(functools.partial(self.policy, seconds)) for seconds in (60, HSTS)]
        self.facts.append(Fact(visit.RELOADS, count, (visit.reloads() - reloads) / len(policies), ""))
        remove = timed(lambda: self.converge(0, gone=count))
        took = {CREATE: [create], "one more at once": [at_once], MORE: more,
                NOTHING: nothing, "new limits for all": [limits], POLICY: policies,
                "remove all": [remove]}  # fmt: skip
        return [Row(self.name, work, count, seconds) for work, seconds in took.items()]


class Floor:
    """A shell script over one SSH connection a server: no plan, no check, no way back."""

    name = "bare shell over SSH"

    def on(self, server: str, address: str, *arguments: object) -> None:
        visit.ssh(address, f"bash -s -- {server} {' '.join(map(str, arguments))}", FLOOR)

    def everywhere(self, action: str, first: int, last: int) -> None:
        web, database = FLEET["web"]["web1"], FLEET["database"]["db1"]
        self.on("database", database["inside_ipv4"], action, first, last, FLEET["domain"], web["inside_ipv4"])
        self.on("web", web["inside_ipv4"], action, first, last, FLEET["domain"], web["ipv4"])
        self.on("names", FLEET["nameservers"]["ns1"]["inside_ipv4"], action, first, last, FLEET["domain"], web["ipv4"])

    def measure(self, count: int, repeat: int) -> list[Row]:
        """Create all, one more, remove all: it knows nothing else."""
        create = timed(lambda: self.everywhere("create", 0, count))
        more = []
        for _ in range(repeat):
            more.append(timed(lambda: self.everywhere("create", count, count + 1)))
            self.everywhere("remove", count, count + 1)
        remove = timed(lambda: self.everywhere("remove", 0, count))
        return [Row(self.name, CREATE, count, [create]), Row(self.name, MORE, count, more),
                Row(self.name, "remove all", count, [remove])]


def peer(path: Path) -> Any:
    """A peer's adapter: a Python file with a class Peer that has `name` and `measure(count, repeat) -> list[Row]`."""
    spec = importlib.util.spec_from_file_location("peer", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Peer()


def merged(rows: list[Row]) -> list[Row]:
    """One row of all that was measured of the same work."""
    found = dict[tuple[str, str, int], Row]()
    for row in rows:
        found.setdefault((row.who, row.work, row.count), row._replace(seconds=[])).seconds.extend(row.seconds)
    return list(found.values())


class Goal(NamedTuple):
    """A number to reach: the most that `value` may be. Ratios to the shell count, as machines differ in speed."""

    what: str
    value: float
    most: float

    @property
    def met(self) -> bool:
        return self.value <= self.most


def goals(ours: str, rows: list[Row], facts: list[Fact]) -> list[Goal]:
    """The numbers to reach, those for which the counts were measured."""
    took = {(row.who, row.work, row.count): row.median for row in rows}

    def ratio(what: str, above: tuple[str, str, int], below: tuple[str, str, int], most: float) -> list[Goal]:
        return [Goal(what, took[above] / took[below], most)] if {above, below} <= took.keys() else []

    def seconds(what: str, work: str, count: int, most: float) -> list[Goal]:
        return [Goal(what, took[ours, work, count], most)] if (ours, work, count) in took else []

    failed = [fact for fact in facts if fact.what in (visit.ERRORS, visit.BROKEN)]
    return [
        *ratio("one more website, to the shell (3 s where it takes 0.66)", (ours, MORE, 1), (Floor.name, MORE, 1), 4.5),
        *ratio("one more on 1,000, to one more on 1", (ours, MORE, 1000), (ours, MORE, 1), 1.5),
        *seconds("100 in one go, s", CREATE, 100, 10),
        *seconds("nothing to change with 1,000, s", NOTHING, 1000, 8),
        *ratio("nothing to change with 1,000, to with 1", (ours, NOTHING, 1000), (ours, NOTHING, 1), 3),
        *seconds("another policy for 1,000, s", POLICY, 1000, 10),
        *([Goal("the most memory of an idle website, MiB", max(idle), 1)] if (idle := [
            fact.value for fact in facts if fact.what == visit.IDLE]) else []),
        *([Goal("reloads of Apache for another policy", max(again), 1)] if (again := [
            fact.value for fact in facts if fact.what == visit.RELOADS]) else []),
        *([Goal("requests that failed", sum(fact.value for fact in failed), 0)] if failed else []),
    ]


class Growth(NamedTuple):
    """What each website more costs from one number of websites to the next: `each` is seconds of wall time."""

    who: str
    work: str
    since: int
    count: int
    each: float


def growth(rows: list[Row]) -> list[Growth]:
    """How the time grows with the number of websites."""
    took: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.count):
        took.setdefault((row.who, row.work), []).append(row)
    return [Growth(*key, less.count, more.count, (more.median - less.median) / (more.count - less.count))
            for key, measured in sorted(took.items()) for less, more in itertools.pairwise(measured)]


def show(rows: list[Row], facts: list[Fact], reached: list[Goal]) -> str:
    """The table: medians, time a website, and the ratio to the bare shell; the growth; the numbers to reach."""
    floor = {(row.work, row.count): row.median for row in rows if row.who == Floor.name}
    lines = [f"{'who':<24}{'work':<24}{'N':>6}{'seconds':>10}{'a website':>11}{'to shell':>9}"]
    for row in sorted(rows, key=lambda r: (r.work, r.count, r.who)):
        base = floor.get((row.work, row.count))
        each = row.median if row.work.startswith("one more") else row.median / row.count
        ratio = f"{row.median / base:9.1f}" if base else f"{'-':>9}"
        lines.append(f"{row.who:<24}{row.work:<24}{row.count:>6}{row.median:>10.2f}{each:>11.3f}{ratio}")
    lines += ["", *(f"{grown.who:<24}{grown.work:<24}{f'{grown.since}-{grown.count}':>10}{1000 * grown.each:>10.2f} ms"
                    " for each website more" for grown in growth(rows))]
    lines += ["", *(f"{fact.what:<48}{fact.count:>6}{fact.value:>10.2f} {fact.unit}" for fact in facts)]
    lines += ["", *(f"{goal.what:<62}{goal.value:>10.2f} of {goal.most:<6g}{'met' if goal.met else 'MISSED'}"
                    for goal in reached)]
    return "\n".join(lines)


def main() -> int:
    """Measure and print; what was made is removed again. Gives 1 where a number to reach is missed."""
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--counts", default="1,10,100,1000", help="numbers of websites (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the short works (default: %(default)s)")
    parser.add_argument("--web", type=int, default=len(FLEET["web"]), metavar="N",
                        help="web hosts that our websites are spread over (default: all of the lab's)")
    parser.add_argument("--peer", type=Path, action="append", default=[], metavar="FILE", help="a peer's adapter")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    rows: list[Row] = []
    with (visit.real(), tempfile.TemporaryDirectory(dir=LAB) as folder,
          visit.certified(Path(folder)) as certificates):
        ours = Ours(Path(folder), certificates, list(FLEET["web"])[:options.web])
        contenders = [Floor(), ours, *map(peer, options.peer)]
        # Machines are slower at times: what is compared is measured in turn, and the first number once more at the end.
        for count, contender in itertools.product([*counts, counts[0]], contenders):
            sys.stderr.write(f"{contender.name}: {count}\n")
            rows += contender.measure(count, options.repeat)
    rows = merged(rows)
    reached = goals(ours.name, rows, ours.facts)
    if options.json:
        floor = {(row.work, row.count): row.median for row in rows if row.who == Floor.name}
        measured = [{**row._asdict(), "median": row.median, "to_shell": base and row.median / base}
                    for row in rows for base in [floor.get((row.work, row.count))]]
        sys.stdout.write(json.dumps({
            "cores": os.cpu_count(), "rows": measured,
            "growth": [grown._asdict() for grown in growth(rows)], "facts": [fact._asdict() for fact in ours.facts],
            "goals": [{**goal._asdict(), "met": goal.met} for goal in reached]}, indent=2) + "\n")
    else:
        sys.stdout.write(show(rows, ours.facts, reached) + "\n")
    return int(not all(goal.met for goal in reached))


if __name__ == "__main__":
    sys.exit(main())

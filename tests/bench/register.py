"""Measure the register by registers as long as a city's grow in years, on both databases, and hold it to its goals."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import filler
from driver import cluster, people
from driver.desk import PROJECT, Desk

from sop_driver import cli, export, signatures, transfer, trust

DRIVER = [sys.executable, "-m", "sop_driver"]


class Row(NamedTuple):
    """One measurement. `goal` is the most that it may be, in the same unit."""

    what: str
    entries: int | None
    value: float
    unit: str
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def passed(work: Callable[[], object]) -> float:
    """Seconds of wall time that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def usual(times: int, work: Callable[[], object]) -> float:
    """The median of many calls' seconds; the first one, which warms up, does not count."""
    return statistics.median([passed(work) for _ in range(times + 1)][1:])


def process(*words: object, **environment: str) -> Callable[[], object]:
    """A process that must end well; it keeps what Python compiles, as `script/bootstrap` leaves it."""
    told = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "", **environment}

    def run() -> None:
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=told, cwd=PROJECT)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


class Step:
    """One step as an official takes it, again and again: `sop record`, signed by ssh-keygen with a key in a file."""

    def __init__(self, desk: Desk) -> None:
        self.request = desk.submit(name="langkah.tarakankota.go.id")
        desk.take(self.request, "agenda")
        self.words = ["record", self.request, "disposition", "--as", "kadis", "--evidence",
                      f"surat_terdisposisi={desk.paper}"]
        self.environment = {
            "SOP_HOME": str(desk.office.home.path), "SOP_REGISTER": desk.place,
            "SOP_KEYS": str(people.write_keys(desk.folder / f"keys-{desk.office.register.head()[0]}")),
            "SOP_CONFIG": str(PROJECT / "sop_driver/data/sop.example.yml"),
        }

    def by_process(self) -> Callable[[], object]:
        return process(*DRIVER, *self.words, **self.environment)

    def within(self, times: int) -> tuple[float, float]:
        """Median seconds of the command within a process that is there: the driver's own, and ssh-keygen's."""
        own, keygen, ran = list[float](), list[float](), list[float]()
        real = signatures._keygen

        def timed(*given: Any) -> subprocess.CompletedProcess[str]:
            began = time.perf_counter()
            done = real(*given)
            ran.append(time.perf_counter() - began)
            return done

        def take() -> None:
            assert cli.main(self.words) == 0

        os.environ.update(self.environment)
        signatures._keygen = timed
        for _ in range(times + 1):
            ran.clear()
            with contextlib.redirect_stdout(io.StringIO()):
                whole = passed(take)
            own.append(whole - sum(ran))
            keygen.append(sum(ran))
        signatures._keygen = real
        return statistics.median(own[1:]), statistics.median(keygen[1:])


def start(repeat: int) -> Iterator[Row]:
    """What every command begins with."""
    bare = usual(repeat, process(sys.executable, "-c", "pass"))
    loaded = usual(repeat, process(*DRIVER, "schema", "--help"))
    yield Row("the interpreter's start", None, bare * 1000, "ms")
    yield Row("loading the driver beyond that", None, (loaded - bare) * 1000, "ms")


def steps(desk: Desk, repeat: int, started: float) -> Iterator[Row]:
    step, size = Step(desk), desk.office.register.head()[0]
    whole = usual(repeat, step.by_process())
    own, keygen = step.within(repeat)
    yield Row("a signed step beyond the interpreter's start", size, whole * 1000 - started, "ms", 150)
    yield Row("the same in a driver that is loaded", size, (own + keygen) * 1000, "ms", 150)
    yield Row("  of it the driver's own work", size, own * 1000, "ms", 50)
    yield Row("  of it in ssh-keygen", size, keygen * 1000, "ms")


def receipts(desk: Desk, repeat: int, started: float) -> Row:
    """By the one-file verifier, as the agency that asked checks it."""
    size, request = desk.office.register.head()[0], "R-2026-0001"
    receipt, verifier = desk.folder / "receipt.json", desk.folder / "verify.py"
    receipt.write_text(json.dumps(desk.receipt(request)))
    verifier.write_text(export.verifier())
    key = desk.office.people().checkpoint_key
    took = usual(repeat, process(sys.executable, "-I", verifier, receipt, "--key", key))
    return Row("a receipt's verification beyond that start", size, took * 1000 - started, "ms", 100)


def verified(folder: Path, sizes: list[int], repeat: int) -> Iterator[Row]:
    """Steps, verification and receipts on one register as it grows."""
    rows = list(start(repeat))
    yield from rows
    began, each = rows[0].value, list[float]()
    desk = filler.desk(folder)
    entries = filler.pattern(desk)
    for size in sizes:
        tell(f"a register of {size} entries")
        filler.fill(desk, entries, size)
        have, before = desk.office.register.head()[0], sum(os.times()[:4])
        took = [passed(lambda: sound(desk)) for _ in range(3)]
        each.append((sum(os.times()[:4]) - before) / 3 / have)
        yield Row("verifying all of it", have, statistics.median(took), "s", 5 if size <= 100_000 else None)
        yield Row("  the processors' time for it, of all together", have, each[-1] * have, "s")
        yield from steps(desk, repeat, began)
        yield receipts(desk, repeat, began)
    for size, before, after in zip(sizes[1:], each, each[1:], strict=False):
        yield Row("an entry's verification, to the size before", size, after / before, "times", 1.2)


def sound(desk: Desk) -> None:
    """Verify all of it. A filler that the driver finds fault with would measure something else."""
    if lines := trust.examine(desk.office).lines():
        raise SystemExit(f"the register that was made to be measured is not sound: {lines[0]}")


def appended(folder: Path, sizes: list[int], times: int) -> Iterator[Row]:
    """Appends on both databases: the short and the long register in turn, so that other work hits both alike."""
    server, made = cluster.Cluster(fsync="on", shared_buffers="128MB"), dict[tuple[str, int], Desk]()
    try:
        for size in sizes:
            tell(f"a register of {size} entries in SQLite, copied to PostgreSQL")
            made["SQLite", size], made["PostgreSQL", size] = both(folder / str(size), size, server)
        for name in ("SQLite", "PostgreSQL"):
            took: dict[int, list[float]] = {size: [] for size in sizes}
            for _ in range(times):
                for size in sizes:
                    append = made[name, size].office.register.append
                    took[size].append(passed(partial(append, "record", outcome="kept", data={})))
            medians = [statistics.median(took[size][10:]) for size in sizes]
            yield from (Row(f"an append in {name}", size, median * 1000, "ms")
                        for size, median in zip(sizes, medians, strict=True))
            yield Row(f"an append in {name}, long to short", sizes[-1], medians[-1] / medians[0], "times", 1.2)
    finally:
        for desk in made.values():
            desk.office.register.close()
        server.remove()


def both(folder: Path, size: int, server: cluster.Cluster) -> tuple[Desk, Desk]:
    """The same register in a file and in a database, each with a home of its own."""
    file = filler.desk(folder / "file")
    filler.fill(file, filler.pattern(file), size)
    shared = filler.desk(folder / "shared", file.office.home.path, server.url(server.create()))
    transfer.copy(file.place, shared.place, shared.office.home.path)
    shared.office.register.db.exec_driver_sql("VACUUM ANALYZE")
    return file, shared


def show(rows: list[Row]) -> str:
    lines = [f"{'what':<48}{'entries':>10}{'value':>10} {'unit':<6}{'goal':>8}"]
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:>8g}  {'met' if row.met else 'MISSED'}"
        lines.append(f"{row.what:<48}{row.entries or '':>10}{row.value:>10.2f} {row.unit:<6}{goal}")
    return "\n".join(lines)


def main() -> int:
    """Measure and print; what was made is removed again. Gives 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="script/bench register", description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000", help="entries to verify (default: %(default)s)")
    parser.add_argument("--append", default="1000,1000000", help="entries to append to (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=15, help="runs of the short works (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where registers are made, 6 GB (default: the system's for such)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    sizes, append = ([int(size) for size in text.split(",")] for text in (options.sizes, options.append))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="sop-bench-") as folder:
        rows = list(verified(Path(folder, "grown"), sizes, options.repeat))
        rows += appended(Path(folder), append, 20 * options.repeat)
    if options.json:
        measured: list[dict[str, Any]] = [{**row._asdict(), "met": row.met} for row in rows]
        sys.stdout.write(json.dumps({"cores": os.cpu_count(), "rows": measured}, indent=2) + "\n")
    else:
        sys.stdout.write(show(rows) + "\n")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""How long the register takes as it grows: `PYTHONPATH=.:tests/unit python -m driver.measure_register 1000 100000`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from driver import people
from driver.desk import Desk
from sop_driver import audit, directory, trust


def fill(desk: Desk, size: int) -> None:
    """Entries as requests make them, eleven signed steps and six others each, without the documents."""
    register = desk.office.register
    name = desk.office.people().register
    with register.writing():
        while register.head()[0] < size:
            number = register.head()[0]
            request, previous = f"R-2026-{number:07d}", register.latest("brought_by", "dinkes")
            for step in range(17):
                if step % 3 == 2:
                    register.append("record", outcome="kept", data={"subject": "network", "requests": [request]})
                    continue
                body = {"actor": "dinkes", "role": "pd", "request": request, "step": "review", "outcome": None,
                        "evidence": {"surat": "0" * 64}, "reason": None,
                        "data": {"digest": "0" * 64, "letter": "0" * 64, "sop": "0" * 64, "person": "dinkes",
                                 "previous": previous, **({} if step else {"replaces": None})}}
                said = directory.statement({"kind": "step", **body}, name)
                register.append("step", **body, signatures=[{"by": "dinkes", "sig": people.sign("dinkes", said)}])
                previous = register.head()[1]


def timed(what: str, times: int, work: Callable[[], object]) -> None:
    """Print the time that passed and the processors' own, which other work on the machine does not lengthen."""
    start, before = time.perf_counter(), os.times()
    for _ in range(times):
        work()
    passed, used = time.perf_counter() - start, sum(os.times()[:4]) - sum(before[:4])
    sys.stdout.write(f"  {what}: {passed / times * 1000:.1f} ms, of processors {used / times * 1000:.1f} ms\n")


def measure(desk: Desk, size: int) -> None:
    fill(desk, size)
    register = desk.office.register
    signed = sum(1 for entry in register.entries() if entry.signatures)
    sys.stdout.write(f"{register.head()[0]} entries, {signed} of them signed\n")
    timed("verify all of it", 1, lambda: trust.examine(desk.office))
    timed("append one entry", 50, lambda: register.append("record"))
    request = desk.submit()
    desk.take(request, "agenda")
    timed("one signed step", 20, lambda: desk.take(request, "disposition"))
    receipt = trust.make_receipt(desk.office, request)
    timed("check a receipt", 20, lambda: audit.receipt(receipt, register.notary.verifier))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        office = Desk(Path(folder))
        for size in sys.argv[1:]:
            measure(office, int(size))
        sys.stdout.write(f"found: {trust.examine(office.office).lines() or 'nothing'}\n")

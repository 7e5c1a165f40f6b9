"""Ends what a driver's plays started: asked by the driver, and beside it where the driver itself is stopped."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock


def now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def end(mark: str) -> None:
    """Kill all that has a mark, NAME=VALUE, in its environment, and what it started meanwhile; not a connection that
    others use too."""
    killed, more = set[str](), True
    while more:
        more = False
        for environ in Path("/proc").glob("[0-9]*/environ"):
            pid = environ.parent.name
            with contextlib.suppress(OSError):  # gone meanwhile, or another user's
                is_marked = pid not in killed and mark.encode() in environ.read_bytes().split(b"\0")
                if is_marked and b"[mux]" not in (environ.parent / "cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
                    killed.add(pid)
                    more = True


class Guard:
    """A process of its own that ends what has a mark once this one is gone, or told it no later time in time.

    Who is stopped (^Z, SIGSTOP) cannot end its plays, which go on by themselves.
    """

    def __init__(self, mark: str) -> None:
        ear, self._mouth = os.pipe()
        self._process = subprocess.Popen([sys.executable, "-I", __file__, mark], stdin=ear, start_new_session=True)
        os.close(ear)
        self._lock, self._closed = Lock(), False

    def cover(self, until: float) -> None:
        """All is well until then (see `now`)."""
        with self._lock, contextlib.suppress(OSError):  # somebody ended it; the driver looks for itself, too
            if not self._closed:
                os.write(self._mouth, f"{until}\n".encode())

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self._mouth)
        with contextlib.suppress(subprocess.TimeoutExpired):  # somebody stopped it
            self._process.wait(10)


def watch(mark: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends with its driver, which has to put back first
    told, until = b"?", float("inf")
    while told:
        if select.select([0], [], [], 1)[0] and (told := os.read(0, 4096)):
            until = float(told.split()[-1])
        if not told or now() > until:
            end(mark)


if __name__ == "__main__":
    watch(sys.argv[1])

"""One run at a time onto the fleet: a lock on this machine, or a lease that drivers on several machines share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from threading import Event, Thread

from sqlalchemy import TextClause, text

from sop_driver.config import Home, to_lock
from sop_driver.errors import Failed, refuse
from sop_driver.guard import Guard, now
from sop_driver.register import Register
from sop_driver.store import Store

SECONDS = 60.0  # without a sign of life, after which another driver takes the fleet over
SPARE = 20.0  # before that: the time in which a play that is no longer covered is killed
PAUSE = 10.0  # between two signs of life
GATE = "one run at a time"
# The database's clock alone decides. `token`, its microseconds, only grows, also where the row was lost or put back; a
# lease that was given back ended in the infinite past.
TAKE = text("""INSERT INTO lease (token, holder, until)
  VALUES (CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT), :holder,
          clock_timestamp() + make_interval(secs => :seconds))
  ON CONFLICT (one) DO UPDATE SET token = greatest(lease.token + 1, excluded.token), holder = excluded.holder,
                                  until = excluded.until
  WHERE lease.until < clock_timestamp() RETURNING token""")
RENEW = text("""UPDATE lease SET until = clock_timestamp() + make_interval(secs => :seconds)
  WHERE token = :token AND until > '-infinity'""")
GIVE_BACK = text("UPDATE lease SET until = '-infinity' WHERE token = :token")
HOLDER = text("SELECT holder, to_char(until AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM lease")
FENCE = text("SELECT token, holder FROM lease FOR SHARE")  # nobody takes over before this transaction has ended


def holder() -> str:
    return f"process {os.getpid()} of {os.environ.get('LOGNAME') or os.getuid()}"


@contextlib.contextmanager
def turn(home: Home, register: Register, mark: str = "") -> Iterator[Callable[[], bool]]:
    """Let one run at a time onto the fleet; gives what tells whether that was lost. Raises Refused, naming the holder.

    Meanwhile the register takes nothing from a driver whose lease another one has taken over: it raises Failed. What
    has the `mark` in its environment is killed before that.
    """
    if not register.store.shared:
        with _locked(home):
            yield lambda: False
        return
    lease = Lease(register.store, mark)
    register.fence = lease.check
    try:
        yield lease.lost
    finally:
        register.fence = lambda: None
        lease.give_back()


@contextlib.contextmanager
def _locked(home: Home) -> Iterator[None]:
    with to_lock(home.lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"another run is under way ({file.read().strip() or 'just begun'})", GATE,
                   "wait until it has ended, then run again")
        file.truncate(0)
        file.write(holder())
        file.flush()
        yield


def next_run(register: Register) -> str:
    """The next run's id, for whoever's turn it is."""
    last = next((entry.data["run"] for entry in register.latest_first("run") if entry.outcome == "started"), "run-0")
    return f"run-{int(last[4:]) + 1:06d}"


class Lease:
    """The fleet for this driver, as long as it shows in the register's database that it lives."""

    def __init__(self, store: Store, mark: str) -> None:
        self.store = store
        self.taken_over, self._ended = Event(), Event()
        self._guard: Guard | None = None
        began = now()
        token = store.db.execute(TAKE, {"holder": f"{holder()} on {socket.gethostname()}", "seconds": SECONDS}).scalar()
        if token is None:
            who, until = store.db.execute(HOLDER).one()
            refuse(f"another run is under way ({who})", GATE, "wait until it has ended, then run again; where its "
                   f"driver died, the fleet is free at {until} UTC")
        self.token = int(token)
        try:
            self._guard = Guard(mark) if mark else None
            self._cover(began)
            Thread(target=self._live, name="lease", daemon=True).start()
        except BaseException:  # this machine has no room for them; another one may have
            self.give_back()
            raise

    def _cover(self, began: float) -> None:
        """It showed then that it lives."""
        self._covered = began + SECONDS - SPARE
        if self._guard:
            self._guard.cover(self._covered)

    def lost(self) -> bool:
        """Whether another driver has taken over, or may soon: what changes servers has to stop."""
        return not self._ended.is_set() and (self.taken_over.is_set() or now() > self._covered)

    def check(self) -> None:
        """Call it within a transaction. Raises Failed where another driver has taken over."""
        token, who = self.store.db.execute(FENCE).one_or_none() or (0, "an unknown driver")
        if token != self.token:
            self.taken_over.set()
            raise Failed(f"the fleet was taken over by {who}, as this driver had shown no sign of life for "
                         f"{SECONDS:.0f} s: nothing more of this run was changed or recorded here",
                         f"{self.store.name}, lease {self.token}, now {token}",
                         "see by `sop history REQ` what the other one found, then `sop run` again")

    def give_back(self) -> None:
        """Let the next run begin at once; without an answer of the database it waits until the lease has lapsed."""
        self._ended.set()
        if self._guard:
            self._guard.close()
        with contextlib.suppress(Failed):
            self._tell(GIVE_BACK)

    def _live(self) -> None:
        while not self._ended.wait(PAUSE):
            began = now()
            with contextlib.suppress(Failed):  # no answer: the next one may come in time
                if not self._tell(RENEW):
                    self.taken_over.set()
                    return
                self._cover(began)

    def _tell(self, words: TextClause) -> int:
        """By a connection of its own: the register's belongs to the run, and may have broken off."""
        with self.store.engine.connect() as db:
            return db.execute(words, {"token": self.token, "seconds": SECONDS}).rowcount

"""What can end a command, each in the house's three parts and with its exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn


def parts(**said: str) -> str:
    """The three parts of an end, a line each: what a server or an entry says in one makes no line of its own."""
    return "\n".join(f"{name}: {text}".replace("\n", "\\n") for name, text in said.items())


@dataclass(frozen=True)
class Refusal:
    """One thing that stands in the way: what happened (with value and place), which gate, how to mend it."""

    what: str
    gate: str
    mend: str

    def __str__(self) -> str:
        return parts(refused=self.what, gate=self.gate, mend=self.mend)


def place(error: OSError) -> str:
    """Where it happened: the file that could not be replaced, not the new one, which is gone."""
    return str(error.filename2 or error.filename or "")


class SopError(Exception):
    """An expected end of a command. `code` is the exit code."""

    code = 1


class Refused(SopError):
    """One or more gates are closed; nothing was changed."""

    code = 3

    def __init__(self, refusals: list[Refusal]) -> None:
        super().__init__("\n\n".join(map(str, refusals)))
        self.refusals, self.what = refusals, "; ".join(refusal.what for refusal in refusals)


class Failed(SopError):
    """The work itself failed; `where` names the host, file or run."""

    def __init__(self, what: str, where: str, mend: str) -> None:
        super().__init__(parts(failed=what, where=where, mend=mend))
        self.what, self.where, self.mend = what, where, mend


def by_machine(error: OSError, mend: str) -> Failed:
    """What this machine refused, as for people."""
    return Failed(error.strerror or str(error), place(error) or "this machine", mend)


class Uncertain(Failed):
    """Nobody knows whether it was recorded: the connection ended while it was."""


class Recorded(Failed):
    """It was recorded, and what belongs beside the register was not written."""

    def __init__(self, size: int, error: OSError) -> None:
        super().__init__(f"entries up to {size} were recorded, but not the checkpoint beside the register: "
                         f"{error.strerror}", place(error) or "the driver's home",
                         "do not repeat it: make room, or mend the file's rights; the next command that records writes "
                         "it, and the next `sop run` the records of this one")


class Usage(SopError):
    """The command or a file given to it cannot be used as it stands."""

    code = 2

    def __init__(self, what: str, where: str, mend: str) -> None:
        super().__init__(parts(refused=what, where=where, mend=mend))
        self.what, self.where = what, where


class Interrupted(Failed):
    """Somebody stopped the command; what it had begun was put back."""

    code = 130


@contextlib.contextmanager
def after(done: str, undone: str, run: str) -> Iterator[None]:
    """What ends a run within it says what was done before, and what was not recorded then. Raises Failed.

    A mere refusal would say that nothing was changed, a full disk nothing of the servers.
    """
    left = "the next `sop run` does what is left"
    try:
        yield
    except (Recorded, Uncertain) as error:
        raise Failed(f"{done}: {error.what}", f"{run}, {error.where}", f"mend what it names; {left}") from error
    except (Failed, OSError) as error:
        found = error if isinstance(error, Failed) else by_machine(error, "make room, or mend the file's rights")
        raise Failed(f"{done}{undone}: {found.what}", f"{run}, {found.where}", f"{found.mend}; {left}") from error
    except Refused as error:
        raise Failed(f"{done}{undone}: {error.what}", f"{run}, its word in the register",
                     f"mend what it names; {left}") from error


@contextlib.contextmanager
def begun(run: str) -> Iterator[None]:
    """A run that could only begin within it has changed nothing on the servers, and says so. Raises Failed."""
    try:
        yield
    except Recorded as error:
        raise Failed(f"{run} has begun, and went no further; nothing was changed on the servers: {error.what}",
                     f"{run}, {error.where}", "make room, or mend the file's rights; then `sop run` again") from error


def refuse(what: str, gate: str, mend: str) -> NoReturn:
    raise Refused([Refusal(what, gate, mend)])

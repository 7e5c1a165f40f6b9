"""The register for who only reads: an entry that cannot be used is left out and named, and the rest is shown."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import itemgetter

from pydantic import TypeAdapter

from sop_driver.errors import Refused, Usage
from sop_driver.register import Entry, Register
from sop_driver.tenure import Actor, keys_of

# What comes of using an entry that is none.
USELESS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, Refused)
SINCE = "`sop register verify` tells since when the register cannot be relied on"
OF_RUN = itemgetter("request", "digest", "agenda", "uid", "web_host", "created_by")


class Shown(Register):
    """The same register; `warn` is told once of each entry that is left out."""

    def __init__(self, register: Register, warn: Callable[[str], None]) -> None:
        self.__dict__.update(register.__dict__)
        self._warn, self._named = warn, set[int]()

    def entries(self, kind: str | None = None, request: str | None = None) -> Iterator[Entry]:
        # By one index only: SQLite would read a second column out of the text, and end where that is no JSON.
        for number, text in self.numbered(None if request else kind, request):
            with self.using(number):
                if kind in (None, (entry := self.read(text)).kind):
                    yield entry

    def read(self, text: str) -> Entry:
        entry = Entry(**json.loads(text))
        _shape().validate_json(text, strict=True)
        _check(entry)
        return entry

    @contextlib.contextmanager
    def using(self, number: int) -> Iterator[None]:
        try:
            yield
        except USELESS as error:
            if number not in self._named:
                self._named.add(number)
                why = str(error).partition("\n")[0]
                self._warn(f"entry {number} cannot be used ({type(error).__name__}: {why}), and is left out; {SINCE}")


def none_begun(place: str) -> Usage:
    """What to say where a register is looked for and none is: perhaps another one was meant."""
    return Usage("no register has begun here", place, "name the home of the one that you mean by --home or SOP_HOME; a "
                 "new one begins with `sop actors bootstrap FILE` (docs/register.md)")


@functools.cache
def _shape() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)


@functools.cache
def _actors() -> TypeAdapter[dict[str, Actor]]:
    return TypeAdapter(dict[str, Actor])


def _check(entry: Entry) -> None:
    """Raises one of USELESS where an entry lacks what is shown of its kind, or counts for what is."""
    data, times = entry.data, [entry.time]
    ", ".join((*data.get("requests", ()), data.get("run", ""), data.get("checkpoint_key", "")))
    if entry.kind in ("step", "void", "emergency"):
        itemgetter("sop", "digest", "letter")(data)
    if entry.kind in ("step", "void"):
        itemgetter("person", *(["entry"] if entry.kind == "void" else []))(data)
    elif entry.kind == "emergency" and entry.outcome == "declared":
        times += itemgetter("until", "report_by")(data)
        ", ".join(data["waives"])
    elif entry.kind == "emergency":
        itemgetter("emergency")(data)
    elif entry.kind == "run":
        itemgetter("run")(data)
        for row in data.get("allocations", ()):
            OF_RUN(row)
            itemgetter("ipv4")(row["address"])
    elif entry.kind == "actors":
        actors = _actors().validate_python(data["actors"]).values()
        keys_of(actors)
        times += [actor.until for actor in actors if actor.until]
        times += itemgetter("from", "until")(data["freeze"]) if "freeze" in data else ()
        for name, root in data.get("roots", {}).items():
            if hashlib.sha256(base64.b64decode(root)).hexdigest() != name:
                raise ValueError(f"the root {name} is another certificate")
    elif entry.kind != "record":
        raise ValueError(f"there are no entries of the kind {entry.kind!r}")
    for time in times:
        datetime.fromisoformat(time) - datetime.now(UTC)  # of a time without its zone nothing is told

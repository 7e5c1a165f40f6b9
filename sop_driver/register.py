"""The register: an append-only list of everything that was done, a Merkle tree over it, and a signature on its root."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from sqlalchemy import ColumnElement, func, insert, literal_column, select

from sop_driver import merkle, notary
from sop_driver.errors import Recorded, Usage, refuse
from sop_driver.merkle import Node
from sop_driver.notary import Notary
from sop_driver.note import Checkpoint, note_in, open_note
from sop_driver.proof import ORIGIN, Tree, canonical, leaf_hash
from sop_driver.schema import CHECKPOINTS, ENTRIES, NODES
from sop_driver.store import Store, located

SLACK = timedelta(seconds=60)  # by which time servers put a clock back
BATCH = 1000  # entries read in one go
Found = TypeVar("Found")
PLACED = (ENTRIES.c.sequence, ENTRIES.c.entry)
LAST = select(ENTRIES.c.sequence, ENTRIES.c.hash).order_by(ENTRIES.c.sequence.desc()).limit(1)


@dataclass(frozen=True)
class Entry:
    """One line of the register; `prev` is the hash of the entry before it."""

    sequence: int
    time: str
    kind: str  # step | emergency | void | run | record | actors
    prev: str
    actor: str | None = None
    role: str | None = None
    request: str | None = None
    step: str | None = None
    outcome: str | None = None
    evidence: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    signatures: list[dict[str, str]] = field(default_factory=list)

    @property
    def when(self) -> datetime:
        return datetime.fromisoformat(self.time)

    def __str__(self) -> str:
        return f"entry {self.sequence}"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Register:
    """Opens the register at a path or a URL, or makes it. Raises Usage, all untouched, where something else is there.

    In `folder` (for a file: its own) lie `checkpoint`, the last signed one, and `keys/checkpoint.key`, which the first
    actors' ceremony makes: whoever has the database alone has neither. Until they have signed it is `prepared.key`.
    """

    def __init__(self, place: Path | str, now: Callable[[], datetime] = utc_now, folder: Path | None = None) -> None:
        where = located(str(place), "the register's place")
        if folder is None:
            if not isinstance(where, Path):
                raise Usage("its checkpoint and key have no place", str(place), "name the driver's home too")
            folder = where.parent
        self.checkpoint_file, self.key_file = folder / "checkpoint", folder / "keys/checkpoint.key"
        self.prepared_key = self.key_file.with_name("prepared.key")
        self.since: Callable[[], str] = lambda: "`sop register verify` says since when"
        self.fence: Callable[[], None] = lambda: None  # what raises where this driver may no longer write
        self.store = Store(where, folder)
        self.db, self.path, self.now = self.store.db, self.store.name, now
        self.tree = Tree()  # over all entries; as long as `writing` lasts

    def close(self) -> None:
        self.store.close()

    @cached_property
    def notary(self) -> Notary:
        """The key that signs checkpoints now: the last that the entries bring; any of ours where it is not here."""
        held = notary.held(self.key_file.parent)
        return held.get(self.key_at(self.head()[0])) or next(iter(held.values()), None) or notary.load(self.key_file)

    def key_at(self, size: int) -> str:
        """The key that signs the checkpoint of so many entries, as the entries have it."""
        return self._keys(size)[-1]

    def _keys(self, size: int) -> list[str]:
        found = [""]  # where entries name none; of several, the last one alone signs
        for text in self.texts(kind="actors"):
            with contextlib.suppress(LookupError, RecursionError, TypeError, ValueError):  # `verify` says what it is
                entry = json.loads(text)
                if entry["sequence"] <= size:
                    found.append(str(entry["data"]["checkpoint_key"]))
        return found

    def entries(self, kind: str | None = None, request: str | None = None) -> Iterator[Entry]:
        """Entries in their order, of one kind or one request if given."""
        return (self.read(text) for _, text in self.numbered(kind, request))

    def read(self, text: str) -> Entry:
        """An entry by its words. Raises Refused where it is none."""
        try:
            return Entry(**json.loads(text))
        except (ValueError, TypeError) as error:
            self._unreliable(f"an entry cannot be read ({error})")

    def using(self, number: int) -> contextlib.AbstractContextManager[None]:
        """Within it an entry is used; what cannot be is left out for who only reads (`reading`), and stops others."""
        return contextlib.nullcontext()

    def texts(self, kind: str | None = None, request: str | None = None) -> Iterator[str]:
        """Entries as they are written and hashed."""
        return (text for _, text in self.numbered(kind, request))

    def numbered(self, kind: str | None = None, request: str | None = None) -> Iterator[tuple[int, str]]:
        """The same with their places, whatever number they tell themselves."""
        return self.portions(PLACED, _of(kind, request))

    def portions(self, columns: Sequence[ColumnElement[Any]], wanted: Iterable[ColumnElement[bool]] = (),
                 size: int = BATCH, last_first: bool = False) -> Iterator[Any]:
        """Columns in the order of the first one, read by portions, so that a long register needs no long memory."""
        key = columns[0]
        first = select(*columns).where(*wanted).order_by(key.desc() if last_first else key).limit(size)
        query, portion = first, size
        while portion == size:
            rows = self.db.execute(query).all()
            yield from rows
            if portion := len(rows):
                query = first.where(key < rows[-1][0] if last_first else key > rows[-1][0])

    def latest_first(self, kind: str) -> Iterator[Entry]:
        """Entries of one kind from the last one on; for who needs only a few."""
        return (self.read(text) for _, text in self.portions(PLACED, _of(kind, None), 50, True))

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the last entry."""
        row = self.db.execute(LAST).first()
        return (row[0], row[1]) if row else (0, ORIGIN)

    def latest(self, column: Literal["request", "brought_by"], value: str) -> str | None:
        """The hash of the last entry on a request, or of the last request that an actor brought or corrected."""
        return self.db.execute(LAST.with_only_columns(ENTRIES.c.hash).where(ENTRIES.c[column] == value)).scalar()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the write lock: what is read inside cannot change before what is appended inside. All or nothing.

        Raises Refused where the register is not as its last checkpoint says. A new checkpoint ends it.
        """
        if self.store.writing:
            yield
            return
        self.store.begin()
        self.__dict__.pop("notary", None)  # another writer may have brought another one since it was read
        try:
            self.fence()
            before = self.head()[0]
            self._as_signed(before)
            yield
            note, over = self._sign(before) if self.tree.size > before else ("", set[str]())
            self.store.commit()
        except BaseException:
            self.store.rollback()
            self.__dict__.pop("notary", None)  # it may be one that the entries taken back had brought
            raise
        try:  # without a word to the database, which may be gone by now
            if note:
                notary.keep(self.checkpoint_file, note)
                with contextlib.suppress(FileNotFoundError):  # from now on it shows that a register was here
                    self.prepared_key.rename(self.key_file)
                notary.destroy(self.key_file.parent, over)
        except OSError as error:
            raise Recorded(self.tree.size, error) from error

    def append(self, kind: str, **fields: Any) -> Entry:
        """Add one entry; `fields` are Entry's. Raises Refused where it cannot be dated or signed."""
        with self.writing():
            entry = self.next_entry(kind, **fields)
            if entry.sequence == 1 and (kind, entry.outcome) != ("actors", "bootstrap"):
                refuse(f"{self.path} knows nobody yet", "the register's first actors",
                       "enter them: `sop actors bootstrap FILE` (docs/register.md)")
            text = canonical(entry.__dict__)
            digest = leaf_hash(text)
            self.db.execute(insert(ENTRIES), {"sequence": entry.sequence, "entry": text, "hash": digest.hex()})
            if made := self.tree.add(digest):
                self.db.execute(insert(NODES), [{"level": level, "position": entry.sequence - 1 >> level, "hash": root}
                                                for level, root in enumerate(made, 1)])
        return entry

    def next_entry(self, kind: str, **fields: Any) -> Entry:
        """What `append` would add now."""
        sequence, prev = self.head()
        return Entry(sequence=sequence + 1, time=self._time(sequence), kind=kind, prev=prev, **fields)

    def _time(self, last: int) -> str:
        now = self.now().astimezone(UTC)
        for text in self.db.execute(select(ENTRIES.c.entry).where(ENTRIES.c.sequence == last)).scalars():
            before = self.read(text)
            if now < before.when - SLACK:
                refuse(f"this machine's clock says {now:%Y-%m-%dT%H:%M:%SZ}, {before} was written at {before.time}",
                       "the register's time", "set the clock right; the register takes nothing from before its end")
            now = max(now, before.when)
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def on_nodes(self, work: Callable[[Node], Found]) -> Found:
        """Do work on the tree twice: to learn which nodes it asks for, then with what was found."""
        asked = set[tuple[int, int]]()

        def ask(level: int, position: int) -> bytes:
            asked.add((level, position))
            return b""

        work(ask)
        found = self.store.nodes(asked)
        return work(lambda level, position: found[level, position])

    def tree_of(self, size: int) -> Tree:
        """The tree over the first entries, to go on from."""
        return Tree(size, self.on_nodes(lambda node: merkle.peaks(size, node)))

    def checkpoint(self) -> str:
        """The last signed checkpoint within the register; an empty text before the first entry."""
        query = select(CHECKPOINTS.c.note).order_by(CHECKPOINTS.c.size.desc()).limit(1)
        return self.db.execute(query).scalar() or ""

    def checkpoints(self) -> Iterator[str]:
        """All signed checkpoints, one for each time that the register was written to."""
        return (note for _, note in self.portions((CHECKPOINTS.c.size, CHECKPOINTS.c.note)))

    def _sign(self, before: int) -> tuple[str, set[str]]:
        """The new checkpoint, and the keys that sign none any more."""
        *over, due = self._keys(self.tree.size)  # the entries may have brought another one
        if (key := notary.held(self.key_file.parent).get(due)) is None:
            refuse(f"the key that its entries name, {due}, is not here: somebody else changed it just now",
                   "the key of the checkpoints", "run it again; where no other command works, bring the key back")
        self.notary = key
        point = Checkpoint(self.notary.name, self.tree.size, self.tree.root())
        note = f"{point.body}\n{self.notary.sign(point.body)}"
        self.db.execute(insert(CHECKPOINTS), {"size": point.size, "note": note})
        if not self.store.keeps(self.tree_of(before), point.root, note):
            self._unreliable("what was written to it is not in it")
        return note, {*over} - {due}

    def _as_signed(self, size: int) -> None:
        """Refuse to go on where entries were added, removed or changed other than by `append`."""
        outside = note_in(self.checkpoint_file)
        inside, fault, self.tree = self.checkpoint(), self.store.schema_fault() or self.gone(), Tree()
        if not fault and (size or inside or outside):
            try:
                self.tree = self.tree_of(size)
                last, copy = open_note(inside, [self.notary.verifier]), open_note(outside or inside, [])
                due = self.key_at(copy.size) or self.notary.verifier
                if copy.size > size:
                    fault = f"it has {size} entries, {self.checkpoint_file} says {copy.size}"
                elif not last.signers or not open_note(outside or inside, [due]).signers:
                    fault = "its checkpoint is not signed by its key"
                elif not outside and size > 1:  # only the first one can be lost by a power cut
                    fault = f"{self.checkpoint_file} is gone"
                elif last.size != size or self.tree.root() != last.root:
                    fault = f"its {size} entries are not those that its last checkpoint signs"
                elif copy.root != (last.root if copy.size == size else self.tree_of(copy.size).root()):
                    fault = f"its entries up to {copy.size} are not those that {self.checkpoint_file} signs"
                elif not outside or copy.size < size:  # whoever wrote the last ones could not
                    notary.keep(self.checkpoint_file, inside)
            except ValueError as error:
                fault = f"its checkpoint cannot be used: {error}"
        if fault:
            self._unreliable(fault)

    def _unreliable(self, fault: str) -> NoReturn:
        refuse(f"{self.path} cannot be relied on: {fault}; {self.since()}", "the register",
               "see all of it by `sop register verify`; then bring the register back from its backup")

    def gone(self) -> str:
        """What shows that a register was here, where no entry is."""
        left = sorted({*self.key_file.parent.glob("*.key")} - {self.prepared_key}) if not self.head()[0] else []
        return f"no entry is here, and {left[0]} signed some: the register is gone" if left else ""

    def inclusions(self, numbers: Iterable[int], size: int) -> list[list[str]]:
        """For each entry, what leads from it to the root of the tree of that size."""
        wanted = list(numbers)
        paths = self.on_nodes(lambda node: [merkle.inclusion(number - 1, size, node) for number in wanted])
        return [[base64.b64encode(part).decode() for part in path] for path in paths]

    def consistency(self, since: int, size: int) -> list[bytes]:
        """What shows that the register of that size only grew."""
        return self.on_nodes(lambda node: merkle.consistency(since, size, node))

    def open_run(self) -> Entry | None:
        """The `started` entry of a run that is under way, died, or could not be put back; None otherwise."""
        last = next((entry for entry in self.latest_first("run") if entry.outcome != "unknown"), None)
        return last if last and last.outcome == "started" else None

    def next_agenda(self, year: int) -> int:
        """The next agenda number of a year; take it only inside `writing()`, or two letters may get the same."""
        query = select(func.max(ENTRIES.c.agenda_number)).where(ENTRIES.c.agenda_year == year)
        return (self.db.execute(query).scalar() or 0) + 1

    def next_request(self, year: int) -> str:
        """The next request's id; take it only inside `writing()`."""
        start: ColumnElement[str] = literal_column("substr(request, 1, 7)")  # letter by letter as the index has it
        order: tuple[ColumnElement[Any], ...] = (literal_column("length(request)").desc(), ENTRIES.c.request.desc())
        query = select(ENTRIES.c.request).where(start == f"R-{year}-").order_by(*order).limit(1)
        last = self.db.execute(query).scalar()
        return f"R-{year}-{int(last[7:] if last else 0) + 1:04d}"


def _of(kind: str | None, request: str | None) -> list[ColumnElement[bool]]:
    given = ((ENTRIES.c.kind, kind), (ENTRIES.c.request, request))
    return [column == value for column, value in given if value is not None]

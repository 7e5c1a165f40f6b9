"""A register as long as wanted, each entry as the driver writes it: signed, in its place, with nothing to be found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from driver import people
from driver.desk import Clock, Desk
from sqlalchemy import insert

from sop_driver.note import Checkpoint
from sop_driver.proof import Tree, canonical, leaf_hash
from sop_driver.register import utc_now
from sop_driver.request import Request
from sop_driver.schema import CHECKPOINTS, ENTRIES, NODES
from sop_driver.standing import stamp, stand
from sop_driver.statement import statement

BATCH = 2000
Body = dict[str, Any]


class Now(Clock):
    """The machine's own clock, since commands are measured that have no other."""

    def __call__(self) -> datetime:
        return utc_now()


def desk(folder: Path, begun: Path | None = None, url: str | None = None) -> Desk:
    """An office of its own in a new folder."""
    folder.mkdir(parents=True)
    made = Desk(folder, begun, url)
    made.clock = Now()
    return made


def pattern(desk: Desk) -> list[str]:
    """One request from its letter to its end, taken by the driver itself. Gives its entries."""
    before = desk.office.register.head()[0]
    request = desk.approved()
    desk.run(request)
    while step := stand(desk.office, request).next:
        desk.take(request, step.id)
    return list(desk.office.register.texts())[before:]


def fill(desk: Desk, entries: list[str], size: int) -> None:
    """Go on with whole requests like the one of `entries` to at least so many entries; each ends in a checkpoint."""
    register = desk.office.register
    register.store.begin()
    tree = register.tree_of(register.head()[0])
    source, rows = _requests(desk, entries), _Rows()
    while tree.size < size:
        for text in next(source):
            rows.take(tree, text)
        point = Checkpoint(register.notary.name, tree.size, tree.root())
        rows.notes.append({"size": point.size, "note": f"{point.body}\n{register.notary.sign(point.body)}"})
        if len(rows.entries) >= BATCH or tree.size >= size:
            rows.write(desk)
    register.store.commit()
    register.checkpoint_file.write_text(register.checkpoint())


class _Rows:
    """What is to be written in one go."""

    def __init__(self) -> None:
        self.entries, self.nodes, self.notes = list[Body](), list[Body](), list[Body]()

    def take(self, tree: Tree, text: str) -> None:
        number, digest = tree.size, leaf_hash(text)
        self.entries.append({"sequence": number + 1, "entry": text, "hash": digest.hex()})
        self.nodes += [{"level": level, "position": number >> level, "hash": found}
                       for level, found in enumerate(tree.add(digest), 1)]

    def write(self, desk: Desk) -> None:
        for table, rows in ((ENTRIES, self.entries), (NODES, self.nodes), (CHECKPOINTS, self.notes)):
            desk.office.register.db.execute(insert(table), rows)
            rows.clear()


def _requests(desk: Desk, entries: list[str]) -> Iterator[Iterator[str]]:
    """Other requests like the given one, each by its entries."""
    register = desk.office.register
    size, last = register.head()
    number = register.next_agenda(desk.office.year()) - 1  # each request has one
    first, named = json.loads(entries[0]), desk.office.people().register
    time = stamp(register.now())  # for all: the driver takes nothing from before what is there
    brought = str(register.latest("brought_by", first["actor"]))

    def written() -> Iterator[str]:
        nonlocal size, last, brought
        chain = brought
        for text in _renamed(entries, first, number):
            size += 1
            body = json.loads(text) | {"sequence": size, "time": time, "prev": last}
            if step := body["kind"] == "step":
                body["data"]["previous"], by = chain, body["actor"]
                body["data"]["seen"] = {"entry": size - 1, "hash": last}
                body["signatures"] = [{"by": by, "sig": people.sign(by, statement(body, named))}]
            spelled = canonical(body)
            last = leaf_hash(spelled).hex()
            chain = last if step else chain
            brought = last if "replaces" in body["data"] else brought
            yield spelled

    while True:
        number += 1
        yield written()


def _renamed(entries: list[str], first: Body, number: int) -> Iterator[str]:
    """The entries of a request, those of another one with its own name, numbers and digest."""
    name, request, form = f"w{number}.tarakankota.go.id", first["request"], first["data"]["request"]
    year, told = request.split("-")[1], next(json.loads(text)["data"]["agenda"] for text in entries[1:])
    run = next(body["data"]["run"] for body in map(json.loads, entries) if body["kind"] == "run")
    digest = Request.model_validate(form | {"name": name}).digest
    changes = {
        request: f"R-{year}-{number:04d}", form["name"]: name, first["data"]["digest"]: digest,
        run: f"run-{number:06d}", told["text"]: told["text"].replace(f"/{told['number']}/", f"/{number}/", 1),
        f'"number":{told["number"]},': f'"number":{number},', '"uid":20000': f'"uid":{20000 + number}',
    }
    for text in entries:
        for old, new in changes.items():
            text = text.replace(old, new)
        yield text

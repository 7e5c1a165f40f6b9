"""Whether the register can be relied on: all of it before a run, and what one entry rests on before it is taken."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sop_driver import audit, signatures
from sop_driver.audit import Audit
from sop_driver.errors import Refusal, Refused
from sop_driver.proof import Tree, canonical, leaf_hash, open_note
from sop_driver.register import Entry, Register
from sop_driver.standing import Office


def make_receipt(office: Office, request: str | None) -> dict[str, Any]:
    """The entries on actors and of one request, each with its place in the tree of the last checkpoint."""
    register = office.register
    note = register.checkpoint()
    size = open_note(note, []).size
    texts = [*register.texts(kind="actors"), *(register.texts(kind="step", request=request) if request else ())]
    numbered = sorted((json.loads(text)["sequence"], text) for text in texts)
    signed = [(number, text) for number, text in numbered if number <= size]
    proofs = register.inclusions((number for number, _ in signed), size)
    return {"format": "sop-receipt-1", "request": request, "key": register.notary.verifier, "checkpoint": note,
            "entries": [{"text": text, "proof": proof} for (_, text), proof in zip(signed, proofs, strict=True)]}


def accept(office: Office, entry: Entry) -> None:
    """Let a new entry stand only where what it rests on is proven, and ssh-keygen takes its signatures at its time.

    Call it within `register.writing()`: the refusal that it raises takes the entry back.
    """
    before = Audit()
    if office.register.checkpoint():
        try:
            before = audit.receipt(make_receipt(office, entry.request), office.register.notary.verifier)
        except (ValueError, KeyError, TypeError) as error:
            before.found(entry.sequence, f"what it rests on cannot be read ({error})")
        _refuse(before.lines(), "the register", "see `sop register verify`, then bring it back from its backup")
    body = entry.__dict__
    jobs = before.one(entry.sequence, body, leaf_hash(canonical(body)).hex())
    before.check(jobs)
    faults = [what for _, what in before.findings] or [
        f"the signature of {by}: {fault}" for _, by, _, said, armored in jobs
        if (fault := signatures.fault(before.people, by, said, armored, entry.when))]
    _refuse(faults, f"signature of {entry.step or entry.outcome}",
            "let the person named sign this very statement: give --key, or --prepare it again if the register moved on")


def _refuse(faults: Iterable[str], gate: str, mend: str) -> None:
    if refusals := [Refusal(fault, gate, mend) for fault in faults]:
        raise Refused(refusals)


def witnessed(office: Office) -> dict[str, str]:
    """The checkpoints that others signed, by their files' names."""
    files = sorted((office.home.path / "witnessed").glob("*"))
    return {f"the witness's checkpoint {path.name}": _text(path) for path in files}


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def examine(office: Office) -> Audit:
    """Read the whole register, and hold it against its own checkpoint, the copy outside and those of witnesses."""
    register = office.register
    if not register.head()[0] and not register.checkpoint_file.exists():
        return Audit()
    notes = {"its checkpoint": register.checkpoint(), "the last checkpoint outside of it": "", **witnessed(office)}
    if register.checkpoint_file.exists():
        notes["the last checkpoint outside of it"] = _text(register.checkpoint_file)
    found = audit.whole(register.texts, notes, register.notary.verifier, office.config.witnesses)
    if found.findings and (earlier := _agreed(register)):
        notes["an earlier checkpoint of it"] = earlier
        found = audit.whole(register.texts, notes, register.notary.verifier, office.config.witnesses)
    if fault := register.schema_fault():
        found.found(found.tree.size + 1, fault)
    return found


def _agreed(register: Register) -> str:
    """The last of the register's checkpoints that its entries still fit, so that trust ends no earlier than it must."""
    tree, agreed = Tree(), ""
    checkpoints = {open_note(note, []).size: note for note in register.checkpoints()}
    for text in register.texts():
        tree.add(leaf_hash(text))
        if tree.size in checkpoints and open_note(checkpoints[tree.size], []).root != tree.root():
            break
        agreed = checkpoints.get(tree.size, agreed)
    return agreed


def refusals(office: Office) -> list[Refusal]:
    """Everything that speaks against relying on the register."""
    mend = "reading goes on; bring the register back from its backup"
    return [Refusal(line, "the register", mend) for line in examine(office).lines()]


def require(office: Office) -> None:
    """Raises Refused where the register cannot be relied on."""
    if found := refusals(office):
        raise Refused(found)

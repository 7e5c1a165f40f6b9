"""What leaves the register: exports with their own verifier, receipts, checkpoints for witnesses and back."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sop_driver import (
    adoption,
    agencies,
    audit,
    courses,
    directory,
    flow,
    merkle,
    notary,
    note,
    outsider,
    proof,
    seen,
    shape,
    sheet,
    statement,
    taken,
    tenure,
    trust,
)
from sop_driver.config import to_lock, write_atomic
from sop_driver.errors import Usage, refuse
from sop_driver.note import COSIGNED, Checkpoint, note_in, open_note, signed_by, words_of
from sop_driver.standing import Office
from sop_driver.statement import PERSONAL

BEGINNING = '''
import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):
        print("nothing was checked: this needs Python 3.11 or newer, and was run by " + sys.version.split()[0])
        sys.exit(2)
    if not sys.flags.safe_path:
        import os

        del sys.path[0]  # the folder that this lies in, where others could have laid what is taken for Python's own
        os.environ["PYTHONSAFEPATH"] = "1"  # nor in a process that starts anew (macOS, Windows) the one that it is in
    try:
        import cryptography
    except ImportError:
        print("nothing was checked: this needs the package cryptography (python3 -m pip install cryptography)")
        sys.exit(2)
'''
ENDING = '''

if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(
        description="Check an export or a receipt of a register, offline.",
        epilog="Exit 0: all was checked and holds; 1: something was found; 2: it cannot be read; "
               "3: what was checked holds, and some was not (the last line says so), as without --key.")
    parser.add_argument("path", type=Path, help="the export's folder, or a receipt")
    parser.add_argument("--key", help="the register's key, as printed on reports")
    parser.add_argument("--witness", action="append", default=[], help="the key of a witness; repeatable")
    options = parser.parse_args()
    code, lines = check(options.path, options.key, options.witness)
    sys.stdout.reconfigure(errors="backslashreplace")
    print("\\n".join(map(visible, lines)))
    sys.exit(code)
'''


def verifier() -> str:
    """The verifier in one file: these modules one after the other, without their imports of each other."""
    parts, future = list[str](), "from __future__ import annotations\n"
    for module in (proof, note, statement, seen, sheet, taken, adoption, flow, tenure, shape, directory, agencies,
                   courses, audit, outsider):
        text = Path(module.__file__ or "").read_text(encoding="utf-8")
        text = re.sub(r"^from sop_driver\.\w+ import (\([^)]*\)|.*)\n", "", text, flags=re.MULTILINE)
        parts.append(text.replace(future, "" if parts else future + BEGINNING))
    return "\n".join(parts) + ENDING


def export(office: Office, folder: Path, documents: bool) -> list[Path]:
    """Write the whole register for an outsider. Raises Usage where the folder is there already."""
    if folder.exists():
        raise Usage("this folder is there already", str(folder), "name a new one")
    register = office.register
    # Of one moment: what somebody records meanwhile is no part of this export, and all that no checkpoint signs is.
    with register.store.snapshot():
        signed, size = register.checkpoint(), register.head()[0]
    _size(signed)
    folder.mkdir(parents=True, mode=0o700)
    with (folder / "register.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{text}\n" for text in islice(register.texts(), size))
    written = {"checkpoint": signed, "key": f"{register.key_at(size) or register.notary.verifier}\n",
               "verify.py": verifier(), "allowed_signers": outsider.allowed_signers(office.people(size)),
               **_witnessed_of(office, size)}
    for name, text in written.items():
        write_atomic(folder / name, text.encode())
    if documents:
        (folder / "evidence").mkdir(mode=0o700)
    (folder / "personal").mkdir(mode=0o700)
    erased = office.people(size).erased  # an interrupted erasure leaves what it is of
    for entry in islice(register.entries(), size):
        for name, digest in entry.evidence.items():
            personal = name.startswith(PERSONAL)
            if (personal or documents) and digest not in erased and office.evidence.has(digest):  # else it is lacking
                target = folder / ("personal" if personal else "evidence") / digest
                if not target.exists():
                    shutil.copy2(office.evidence.path(digest), target)
    return sorted(folder.iterdir())


def _size(signed: str) -> int:
    """Of how many entries a checkpoint of ours is. Raises Refused."""
    try:
        return open_note(signed, []).size if signed else 0
    except ValueError as error:
        refuse(f"its last checkpoint cannot be read: {error}", trust.GATE, trust.MEND)


def _witnessed_of(office: Office, size: int) -> dict[str, str]:
    """The witnesses' checkpoints for an export of so many entries, without those of entries that came meanwhile.

    The one beside the register is a witness too, where it saw more or other entries: what was cut off shows by it.
    """
    register = office.register
    found = {f"witnessed/{path.name}": note_in(path) for path in office.home.witnessed()}
    seen = _seen(beside := note_in(register.checkpoint_file))  # of one that cannot be read `verify` tells, here
    if seen > size or (seen and open_note(beside, []).root != register.tree_of(seen).root()):
        found["witnessed/driver+checkpoint"] = beside  # no witness's name has a plus sign
    grown = register.head()[0]  # what a witness saw beyond that is missing here, and has to be found
    return {name: text for name, text in found.items() if not size < _seen(text) <= grown}


def _seen(text: str) -> int:
    """Of how many entries a witness's checkpoint is; of none where it cannot be read, which verifying says."""
    try:
        return open_note(text, []).size
    except ValueError:
        return 0


def update(office: Office, since: int) -> str:
    """The last checkpoint for a witness that saw `since` entries, with the proof that the register only grew.

    The form is the request of C2SP's tlog-witness: `old SIZE`, the proof, an empty line, the note.
    """
    register = office.register
    note = trust.checkpoint(office)
    size = _size(note)
    if not 0 <= since <= size or not size:
        raise Usage(f"the register has {size} entries, the witness is said to have seen {since}", "--since",
                    "name a number within the register; 0 the first time")
    path = register.consistency(since, size) if since else []
    if since and not merkle.grown(since, register.tree_of(since).root(), size, open_note(note, []).root, path):
        refuse("its tree's nodes are not those of its entries", trust.GATE, trust.MEND)
    return "\n".join([f"old {since}", *(base64.b64encode(part).decode() for part in path), "", note])


def witness(file: Path, state: Path, name: str | None, trusted: str | None,
            receipt: Path | None = None) -> tuple[str, str]:
    """On another machine: sign a checkpoint that follows on the last one seen there. Gives it and the witness's key.

    Raises Refused where the register did not only grow. `state` keeps the witness's key, the register's, the last note.
    A receipt of the actors with the same checkpoint proves which key followed on the register's known one.
    """
    with _alone(state):
        return _witness(file, state, name, trusted, receipt)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One call at a time: two at once could each follow on the same note, and sign two histories."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with to_lock(state / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"another call of this witness works in {state}", "the witness", "run it again after that one")
        yield


def _witness(file: Path, state: Path, name: str | None, trusted: str | None,
             receipt: Path | None) -> tuple[str, str]:
    key_file, seen, pinned = state / "witness.key", state / "checkpoint", state / "trusted"
    known = _kept(key_file, pinned, name, trusted)
    try:
        head, _, text = _given(file).partition("\n\n")
        old, *path = head.split("\n")
        key = _followed(receipt, known, open_note(text, [])) if receipt else known
        new = open_note(text, [key])
        before = open_note(seen.read_text(), [known]) if seen.exists() else None
        steps = [base64.b64decode(line, validate=True) for line in path]
    except (OSError, ValueError) as error:
        raise Usage(f"no checkpoint for a witness: {error}", str(file), "make it by `sop register checkpoint --since"
                    " SIZE`") from error
    size = before.size if before else 0
    gate = "the witness"
    if not new.signers:
        refuse(f"the checkpoint is not signed by {key}", gate, "ask for the register's own checkpoint, and compare "
               "that key, which --trust gave, with a printed report; where the register has another key now, ask for "
               "its `sop register receipt` too, and give it by --receipt")
    if old != f"old {size}":
        refuse(f"this witness last saw {size} entries, the file begins at {old.removeprefix('old ')}", gate,
               f"`sop register checkpoint --since {size}`")
    if before and not merkle.grown(size, before.root, new.size, new.root, steps):
        refuse(f"the register of {new.size} entries does not hold the {size} that were seen here before: it was "
               "rewritten or rolled back", gate, "keep both checkpoints; they prove it")
    write_atomic(pinned, f"{key}\n".encode())
    mine = notary.load(key_file) if key_file.exists() else notary.make(key_file, name or "", COSIGNED)
    cosigned = _signed(new.body, text, key) + mine.sign(new.body, notary.seconds())
    open_note(cosigned, [key, mine.verifier])
    write_atomic(seen, cosigned.encode())
    return cosigned, mine.verifier


def _signed(body: str, text: str, *keys: str) -> str:
    """A checkpoint with these keys' signatures, and nothing else of the file that it came in: what else is there could
    spoil what is kept, and a witness for good."""
    lines = text.partition("\n\n")[2].removesuffix("\n").split("\n")
    held = [next(line for line in lines if signed_by(body, line, key)) for key in keys]
    return "\n".join([body, *held, ""])


def _given(file: Path) -> str:
    """A file that somebody else made, no more of it than there can be. Raises OSError, ValueError."""
    with file.open("rb") as octets:
        return octets.read(2**20).decode()


def _kept(key_file: Path, pinned: Path, name: str | None, trusted: str | None) -> str:
    """The register's key that a witness trusts; the first time, the one that is given. Raises Usage."""
    if not key_file.exists():
        if not name or not trusted:
            raise Usage("a new witness needs its name and the register's key", str(key_file.parent),
                        "give --name and --trust")
        if fault := outsider.key_fault(trusted):
            raise Usage(fault, "--trust", outsider.WHOLE)
        return trusted
    known = pinned.read_text().strip()
    for flag, given, kept in (("--name", name, notary.load(key_file).name), ("--trust", trusted, known)):
        if given not in (None, kept):
            raise Usage(f"{flag} is {given}, and this witness keeps {kept}", str(key_file.parent),
                        f"leave {flag} out; for another register name a new --state")
    return known


def _followed(receipt: Path, known: str, new: Checkpoint) -> str:
    """The register's key now, where a receipt proves that it follows on the known one. Raises Refused, Usage.

    The receipt is of the very tree that is to be signed, which has to hold what was seen before. A receipt of another
    tree proves nothing: who has the known key can invent actors for one.
    """
    try:
        value = outsider.receipt_in(receipt)
        found, of = audit.receipt(value, known), open_note(value["checkpoint"], [])
    except (OSError, *audit.UNREADABLE) as error:
        raise Usage(f"no receipt: {error}", str(receipt), "make it by `sop register receipt`") from error
    if of != new:
        refuse(f"the receipt is of {of.size} entries with the root {of.root.hex()}, the checkpoint of {new.size} with "
               f"{new.root.hex()}", "the witness", "make both while nobody records: `sop register checkpoint --since "
               "SIZE`, then `sop register receipt`")
    if lines := found.lines():
        refuse(lines[0], "the witness", "keep the receipt; it proves that something is wrong")
    return found.people.checkpoint_key


def take_back(office: Office, file: Path) -> tuple[str, list[str]]:
    """Keep a checkpoint that a witness signed; verifying holds the register against it.

    Gives the witness's name, and what is to be said of its clock: what it saw counts, whatever the time.
    """
    try:
        text = _given(file)
        point, own = open_note(text, []), office.register.notary.name
        signers = open_note(text, [due := office.register.key_at(point.size), *office.config.witnesses]).signers
        keys = [key for key in words_of(text, office.config.witnesses) if key.split("+")[0] != own]
    except (OSError, ValueError) as error:
        raise Usage(f"no cosigned checkpoint: {error}", str(file), "take what `sop register witness` wrote") from error
    if own not in signers or not keys:
        raise Usage("it is not signed by this register and a witness that sop.yml names", str(file),
                    "write the witness's key under `witnesses:` in sop.yml")
    name, identity, _ = keys[0].split("+", 2)
    kept = office.home.path / "witnessed" / _file_of(name, identity)
    if kept.exists() and (newer := _seen(note_in(kept))) > point.size:
        refuse(f"{name} has signed {newer} entries ({kept}), and {point.size} in {file}", "the witness",
               "give what it signed last")
    write_atomic(kept, _signed(point.body, text, due, *keys).encode())
    return name, list(outsider.clocks(trust.require(office)))


def cosigned(office: Office, signed: str) -> str:
    """A checkpoint of ours with the lines of the witnesses who signed the same one."""
    body = open_note(signed, []).body
    for text in map(note_in, office.home.witnessed()):
        with contextlib.suppress(ValueError):  # of one that cannot be read, or does not hold, `verify` tells
            if open_note(text, []).body == body:
                signed += _signed(body, text, *words_of(text, office.config.witnesses)).removeprefix(f"{body}\n")
    return signed


def _file_of(name: str, identity: str) -> str:
    """A file's name for a witness; with the key's id where it is not the witness's own, which another could have."""
    fitting = re.sub(r"^\.|[^A-Za-z0-9._-]", "_", name)[:100]
    return name if fitting == name else f"{fitting}+{identity}"

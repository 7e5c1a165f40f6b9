"""A new entry until all have signed it, which may be in another command and days later, while others record."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from sop_driver.config import write_atomic
from sop_driver.proof import canonical, leaf_hash
from sop_driver.register import PLACED
from sop_driver.schema import ENTRIES
from sop_driver.signatures import Elsewhere, Pdf, Sign, Unsigned
from sop_driver.standing import Office
from sop_driver.statement import SEALED, Body, form_text, sealed, statement

PURPOSE = "seen"
FORM = "digest"  # the place in the data of what is on a request; what lies beside it is what that asks for


def seen(office: Office, body: Body, register: str, sign: Sign | Pdf) -> Body:
    """The register's last entry, which who signs a new one vouches for.

    The one that was kept, where it is signed elsewhere and there yet: whoever can write to the evidence could have
    kept an older one.
    """
    with contextlib.suppress(LookupError, TypeError, ValueError):  # what is none is seen anew
        kept = office.evidence.noted(_words(body, register), PURPOSE) if isinstance(sign, Elsewhere | Pdf) else None
        known = json.loads(kept or "{}")
        if known["hash"] and leaf(office, int(known["entry"])) == known["hash"]:
            return {"entry": int(known["entry"]), "hash": known["hash"]}
    number, digest = office.register.head()
    return {"entry": number, "hash": digest}


def _lay_open(office: Office, body: Body, path: Path) -> None:
    for old in laid_open(path):
        old.unlink()
    for place, digest in sealed(body["data"]):
        write_atomic(beside(path) / place, office.evidence.read(digest))
    for brought in office.register.entries(kind="step", request=body["request"]) if body["request"] else ():
        if brought.data["digest"] == body["data"][FORM] and "request" in brought.data:
            write_atomic(beside(path) / FORM, form_text(brought.data["request"]))


def beside(path: Path) -> Path:
    """The folder for what a statement tells the sha256 of: each value as it is sealed, and what its request asks for.

    Who signs elsewhere can read and compare it by plain tools.
    """
    return path.with_name(f"{path.name}.sealed")


def laid_open(path: Path) -> list[Path]:
    """What lies beside a statement, each by its place in the data."""
    return sorted(each for begin in ("actors.*", "request.*", FORM) for each in beside(path).glob(begin))


def by_all(office: Office, names: Iterable[str], said: str, sign: Sign) -> list[dict[str, str]] | None:
    """Everybody's signature over a statement, each asked for; None where one is made elsewhere.

    What it seals is told before anybody signs; where it is prepared, that lies beside it. Raises Unsigned with all
    whose signature is missing.
    """
    prepares = isinstance(sign, Elsewhere) and sign.prepare
    for place, digest in () if prepares else sealed(json.loads(said)["data"]):
        office.tell(place, office.personal(SEALED + digest))
    made, missing = list[tuple[str, str | None]](), dict[str, str]()
    several = len(names := list(names)) > 1
    for name in names:
        if several and not isinstance(sign, Elsewhere):  # each may be asked for a passphrase, which says not whose
            office.tell("now signs", name)
        try:
            made.append((name, sign(name, said)))
        except Unsigned as error:
            missing[name] = error.mend
    if missing:
        raise Unsigned([*missing], next(iter(missing.values())))
    signatures = [{"by": name, "sig": signature} for name, signature in made if signature is not None]
    return signatures if len(signatures) == len(made) else None


def keep(office: Office, body: Body, register: str, sign: Sign | Pdf) -> None:
    """Remember what is seen in an entry that is signed elsewhere, and lay what it seals beside the statement."""
    if isinstance(sign, Elsewhere | Pdf) and sign.prepare:
        _lay_open(office, body, sign.prepare)
    office.evidence.note(_words(body, register), PURPOSE, canonical(body["data"]["seen"]))


def forget(office: Office, body: Body, register: str) -> None:
    """It was taken; most were signed here, and nothing was kept."""
    if office.evidence.noted(said := _words(body, register), PURPOSE):
        office.evidence.signed(said, PURPOSE)


def leaf(office: Office, number: int) -> str:
    """The hash of an entry's words as they are now; empty where there is none."""
    found = office.register.portions(PLACED, [ENTRIES.c.sequence == number])
    return next((leaf_hash(text).hex() for _, text in found), "")


def _words(body: Body, register: str) -> str:
    """What names a draft: all that is signed but what was seen."""
    return statement({**body, "data": {name: each for name, each in body["data"].items() if name != "seen"}}, register)

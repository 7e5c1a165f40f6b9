"""What an entry may hold by its kind: whatever else stands in one, nobody signed, and people would read it."""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from collections.abc import Iterator, Mapping

from sop_driver.proof import canonical
from sop_driver.statement import CERTIFICATE, PERSONAL, SEALED, Body, is_document
from sop_driver.tenure import Actor

FIELDS = frozenset(("sequence", "time", "kind", "prev", "actor", "role", "request", "step", "outcome", "evidence",
                    "reason", "data", "signatures"))
SIGNATURE = {"by", "sig"}
TEXTS, TEXT = ("actor", "role", "request", "step", "outcome", "reason"), {str, type(None)}
told_in = operator.itemgetter(*TEXTS)
UNSIGNED = ("run", "record")  # kinds of entries that the driver writes, and nobody signs
OUTCOMES = {  # of what people sign and is no step, whose outcomes the SOP names
    "actors": {"bootstrap", "enroll", "replace", "retire", "adopt", "trust", "freeze", "unfreeze", "erase", "rotate"},
    "emergency": {"declared", "reported"}, "void": {"voided"}}
KINDS = {"agenda": (), "run": UNSIGNED}  # what the register gives to steps, and of which other kinds entries tell it
BRINGS = ("replaces", "request")  # what makes an entry the one that brought a request, and whose that is
BY_CHANCE = 8  # letters that the first drivers ended a register's name by
REQUEST = re.compile(r"R-\d{4}-(?:\d{4}|[1-9]\d{4,})", re.ASCII)


def misshapen(body: Body) -> list[str]:
    """What an entry says that an entry of its kind does not. Raises what comes of reading what is none."""
    found: list[str] = []
    kind, evidence, signatures = body["kind"], body["evidence"], body["signatures"]
    if body.keys() != FIELDS:
        found.append(f"it has other fields than entries have: {', '.join(map(repr, sorted(body.keys() ^ FIELDS)))}")
    if not TEXT.issuperset(map(type, told_in(body))):
        found += [f"its {name} is {body[name]!r}, and no text" for name in TEXTS if type(body[name]) not in TEXT]
    if type(body["sequence"]) is not int:
        found.append(f"its number is {body['sequence']!r}")
    if kind not in UNSIGNED and not _is_request(body["request"]) and (kind, body["request"]) != ("actors", None):
        found.append(f"{body['request']!r} is no request's id")
    for name, digest in evidence.items():
        if type(digest) is not str or not is_document(name):
            found.append(f"{name!r} names no document")
    alone = len(signatures) == 1 and signatures[0].keys() == SIGNATURE  # as most are
    if not alone and len(signatures) != len({item["by"] for item in signatures if item.keys() == SIGNATURE}):
        found.append("its signatures are more than one of each signer")
    if kind != "step":
        found += _no_step(body, kind, body["outcome"])
    elif "request" in body["data"]:
        found += _loose(body["data"], evidence)
    return found


def _no_step(body: Body, kind: str, outcome: str) -> Iterator[str]:
    """What an entry says that only steps say, or none of its kind."""
    if kind in OUTCOMES and outcome not in OUTCOMES[kind]:
        yield f"its outcome is {outcome!r}, which no entry of the kind {kind} has"
    if kind in UNSIGNED:
        people = () if (kind, outcome) == ("run", "started") else ("actor", "role")
        if told := [name for name in (*people, "request", "step", "evidence", "signatures") if body[name]]:
            yield f"it tells {' and '.join(told)}: nobody signs an entry of the kind {kind}"
    if (kind, outcome) == ("actors", "bootstrap"):
        yield from _named(body["data"])
    for name in ("actor", "role", "step"):
        if body[name] is not None and (kind == "actors" or (kind, outcome) == ("emergency", "declared")):
            yield f"it tells {name} {body[name]!r}: several sign it, and it is nobody's alone"
    if kind == "actors" and body["request"] is not None:  # the next step of that would follow on nothing
        yield f"it tells {body['request']}, and is of no request"
    for name, kinds in KINDS.items():
        if name in body["data"] and kind not in kinds:
            yield f"it tells its {name}, which nobody signs in an entry of the kind {kind}"
    if told := [name for name in BRINGS if name in body["data"]]:
        yield f"it tells {' and '.join(told)}, as if it brought a request: steps alone do"


def _named(data: Body) -> Iterator[str]:
    """What is against a register's name, which its key has as well: it stands for these first actors alone."""
    name = data["register"]
    if data["checkpoint_key"].split("+")[0] != name:
        yield f"the register is called {name}, and its key of the checkpoints is another's"
    if tells_first(name) and not name.endswith(f"/{of_first(data['actors'])}"):
        yield f"the register is called {name}, which is the name of one with other first actors"


def tells_first(name: str) -> bool:
    """Whether a register's name stands for its first actors: else who has its key makes others for it."""
    return len(name.rpartition("/")[2]) > BY_CHANCE


def of_first(actors: Body) -> str:
    """What a register's name ends with: a hash of its first actors, their keys and what is sealed of them."""
    return hashlib.sha256(canonical(actors).encode()).hexdigest()[:40]


def _loose(data: Body, evidence: Body) -> Iterator[str]:
    """What a request rests on, and its entry does not name: it would be in no export, and erased by nobody."""
    form = data["request"]
    if data["letter"] not in evidence.values():
        yield f"the letter that is approved, {data['letter']}, is not among its documents"
    if data["sop"] != evidence.get("sop"):
        yield f"the SOP that it begins under, {data['sop']}, is not among its documents"
    if (form["release"] or {}).get("sha256") != evidence.get("release"):
        yield "the release that it asks for is not among its documents"
    yield from unnamed({f"{PERSONAL}contact": form["contact"]}, evidence)


def unnamed(sealed: Body, evidence: Body) -> Iterator[str]:
    """Which sealed values, by the names that they have there, an entry's evidence does not name."""
    for name, value in sealed.items():
        if isinstance(value, str) and value.startswith(SEALED) and evidence.get(name) != value.removeprefix(SEALED):
            yield f"{name} is sealed as {value.removeprefix(SEALED)}, which is not among its documents"


def of_actors(actors: Mapping[str, Actor], evidence: Body) -> Iterator[str]:
    """What is told of actors otherwise than as text, or sealed and not named by the evidence of their entry."""
    for name, actor in actors.items():
        if None in (actor.name, actor.role) or not TEXT.issuperset(map(type, vars(actor).values())):
            yield f"what it tells of {name} is no text"
        yield from unnamed(of_actor(name, actor), evidence)


def of_actor(name: str, actor: Actor) -> Body:
    """What is sealed of an actor, by the names that it has in the evidence of the entry."""
    return {PERSONAL + name: actor.name, PERSONAL + name + CERTIFICATE: actor.subject}


@functools.lru_cache(maxsize=4096)
def _is_request(text: str | None) -> bool:
    return text is not None and REQUEST.fullmatch(text) is not None

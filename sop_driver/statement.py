"""What a person signs of an entry, and the names in entries that have a meaning of their own."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable, Container, Iterator
from datetime import datetime
from typing import Any, Literal

from sop_driver.proof import canonical, visible
from sop_driver.sheet import KIND

STATEMENT = "sop-statement-1"
ASSIGNED = ("agenda", "run")  # what the register itself adds to an entry's data when it accepts it
SEALED = "sealed:"  # before the sha256 of a salted value that lies beside the register
PERSONAL = "personal."  # before the name of such a value among an entry's evidence
CERTIFICATE = ".certificate"  # after an actor's id there, for what certificates call them
FREEZE = "freeze"  # the gate of the calendar, which belongs to no step
Body = dict[str, Any]
Level = Literal["ssh", "pades", "ink"]
DIGEST = re.compile(r"[0-9a-f]{64}")
WEBSITE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")  # else read as one of these
STAMP = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\dZ", re.ASCII)  # later Pythons read 24:00 as well
# Fields of a request that came after the first release: one without them keeps the digest that was approved.
LATER: Body = {"zone": None, "records": [], "waf": "detect", "program": None, "entry": None}
OF_STEP = ("Kegiatan", "Nomor agenda")  # what a sheet tells of the step, beside the request
TIMED = frozenset(("until", "report_by", "freeze", "actors"))  # names in an entry's data below which times are told
CRLS = "crl"  # the evidence that holds the authority's lists of revoked certificates
DOCUMENT = re.compile(r"[\w.-]+(?: [\w.-]+)*")  # what SOPs that were adopted before may have named one
KEPT = ("sop", "release", CRLS)  # evidence that is never erased: what the register is read by, and what the servers run
NEEDED = "a release, an SOP's data or a list of certificates"  # what these are


def is_id(name: str) -> bool:
    """Whether `ssh-keygen` would take it for one name, not for a pattern or for several."""
    return name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()


@functools.lru_cache(maxsize=4096)
def is_document(name: str) -> bool:
    """Whether an entry may name a document so: as a word, and as several where an SOP was adopted that does."""
    return is_id(name) if name.startswith(PERSONAL) else name.isidentifier() or DOCUMENT.fullmatch(name) is not None


def digest_fault(name: Any) -> str:
    """Why something cannot name a document, whose file it would otherwise lead to, wherever that lies; else nothing."""
    named = isinstance(name, str) and DIGEST.fullmatch(name)
    return "" if named else f"{name!r} is no sha256, and so names no document"


def level(data: Body) -> Level:
    """How a step is signed: by an SSH key, within a PDF, or on paper."""
    return "ink" if "ink" in data else "pades" if "pades" in data else "ssh"


def form_text(form: Body) -> bytes:
    """A request in the words whose sha256 is its digest: every field, the release's hash among them."""
    said = {name: value for name, value in form.items() if name not in LATER or value != LATER[name]}
    return canonical(said).encode()


def form_digest(form: Body) -> str:
    """What an approval binds of a request."""
    return hashlib.sha256(form_text(form)).hexdigest()


def shown(form: Body) -> dict[str, str]:
    """What the sheet of a PDF signature tells of a request, whose digest is all that other statements hold."""
    letter = form["letter"]
    return {KIND: form["kind"], "Situs web": form["name"], "Instansi": form["agency"],
            "Surat": f"{letter['number']}, {letter['date']}"}


def misled(told: dict[str, str], form: dict[str, str]) -> bool:
    """Whether a sheet told its signer of another request, or more than that: what the signature means, say.

    Sheets of the first format do not tell what kind of request it is.
    """
    said = {label: text for label, text in told.items() if label not in OF_STEP}
    return said not in (form, {label: text for label, text in form.items() if label != KIND})


def sealed(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """The places within an entry's data where a sha256 stands for what is sealed, each with that."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from sealed(each, f"{place}.{name}" if place else name)
    elif isinstance(value, str) and value.startswith(SEALED):
        yield place, value.removeprefix(SEALED)


def statement(body: Body, register: str, spell: Callable[[Any], str] = canonical) -> str:
    """What a person signs: the entry without what the register adds (place, time, agenda number, a new request's id).

    `previous` in its data is the entry that it follows on, so that it fits one place of one register only. The PDF that
    carries the signature is made from the statement, so it cannot be named in it.
    """
    data = {key: value for key, value in body["data"].items() if key not in ASSIGNED}
    said = {key: body[key] for key in ("kind", "actor", "role", "step", "outcome", "evidence", "reason")}
    if level(data) == "pades":
        carriers = (data["pades"]["document"], CRLS)
        said["evidence"] = {name: digest for name, digest in said["evidence"].items() if name not in carriers}
    request = data["replaces"] if "replaces" in data else body["request"]
    return spell({"format": STATEMENT, "register": register, "request": request, "data": data, **said})


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:  # 31 November
        return False
    return STAMP.fullmatch(text) is not None


def misspelled(body: Body) -> list[str]:
    """Times of an entry in another spelling than the one in which times are compared, letter by letter, or no times."""
    data, times = body["data"], [body["time"]]
    if not TIMED.isdisjoint(data):  # most entries tell no other time
        times += [*(data[name] for name in ("until", "report_by") if name in data), *data.get("freeze", {}).values(),
                  *(actor["until"] for actor in data.get("actors", {}).values() if actor.get("until"))]
    return [repr(time) for time in times if not _is_time(time)]


def needed(evidence: Body) -> set[str]:
    """What of the documents that an entry names is never erased, by whatever other name it goes."""
    return {evidence[name] for name in KEPT if name in evidence}


def revived(evidence: Body, erased: Container[str], kept: Container[tuple[str, str]] = ()) -> list[str]:
    """The names under which an entry brings what was erased before it, as if it were there.

    A corrected request keeps the letter and contact of its earlier forms (`kept`: name and sha256), erased or not.
    """
    return [name for name, digest in evidence.items() if digest in erased and (name, digest) not in kept]


def personal_faults(value: dict[str, Any], erased: Container[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the personal data that came along with a receipt. Those that were erased may be there yet."""
    given, named, number = value["personal"], set[str](), 0
    for item in value["entries"]:
        body = json.loads(item["text"])
        number = body["sequence"]
        for name, digest in body["evidence"].items():
            if not name.startswith(PERSONAL):
                continue
            named.add(digest)
            if digest in erased and digest not in given:
                continue
            if hashlib.sha256(base64.b64decode(given.get(digest, ""), validate=True)).hexdigest() != digest:
                how = "was erased, and is another" if digest in erased else (
                    "is missing or was changed, and nobody erased it")
                yield number, f"{name} {how}"
    for digest in sorted(given.keys() - named):
        yield number + 1, f"{visible(digest)} is among its personal data, and no entry of it names that"

"""Who may take which step and sign for it, as the register's entries on actors make it; and what is signed."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

from sop_driver.proof import canonical

ASSIGNED = ("agenda", "run")  # what the register itself adds to an entry's data when it accepts it
Body = dict[str, Any]
Signature = tuple[str, str, str]  # who, public key, signature
CRLS = "crl"  # the evidence that holds the authority's lists of revoked certificates


def level(data: Body) -> str:
    """How a step is signed: by an SSH key, within a PDF, or on paper."""
    return next((name for name in ("ink", "pades") if name in data), "ssh")


def shown(form: Body) -> dict[str, str]:
    """What the sheet of a PDF signature tells of a request, whose digest is all that other statements hold."""
    letter = form["letter"]
    return {"Situs web": form["name"], "Instansi": form["agency"], "Surat": f"{letter['number']}, {letter['date']}"}


def statement(body: Body, register: str) -> str:
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
    return canonical({"format": "sop-statement-1", "register": register, "request": request, "data": data, **said})


@dataclass(frozen=True)
class Actor:
    """Who may take which step, from one entry on. `person` is the same for one human being in two offices."""

    name: str
    role: str
    unit: str | None = None
    key: str | None = None
    person: str | None = None
    stands_in: str | None = None
    until: str | None = None
    subject: dict[str, str] | None = None  # what certificates for PDF signatures call this person


@dataclass(frozen=True)
class Signed:
    """A signature that a PDF of the evidence carries, and what it has to come to."""

    entry: int
    request: str
    by: str
    subject: dict[str, str]
    roots: tuple[bytes, ...]
    time: str
    statement: str
    document: str
    crls: str | None


@dataclass
class Directory:
    """The actors as the entries read so far make them."""

    register: str = ""
    checkpoint_key: str = ""
    sop: str = ""  # the sha256 of the SOP that new requests begin under
    rules: dict[str, Any] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)  # authorities that PDF signatures rest on: sha256 → DER
    last: str | None = None
    actors: dict[str, Actor] = field(default_factory=dict)
    since: dict[str, str] = field(default_factory=dict)
    closed: list[tuple[str, Actor, str, str]] = field(default_factory=list)  # id, actor, since, until

    def fault(self, name: str, time: str) -> str | None:
        """Why somebody is no actor at a time; None where they are."""
        if (actor := self.actors.get(name)) is None:
            gone = next((end for past, _, _, end in reversed(self.closed) if past == name), None)
            return f"{name} was retired at {gone}" if gone else f"nobody has the id {name!r} in this register"
        return f"{name} stood in until {actor.until} only" if actor.until and time > actor.until else None

    def person(self, name: str) -> str:
        actor = self.actors.get(name)
        return (actor.person if actor else None) or name

    def read(self, body: Body, digest: str) -> tuple[list[str], list[Signature]]:
        """Take an entry on actors. Gives what is against it, and the signatures to check."""
        data = body["data"]
        new = {name: Actor(**fields) for name, fields in data["actors"].items()}
        found = self._misplaced(body, new)
        if self.last is None:
            self.register, self.checkpoint_key, self.rules = data["register"], data["checkpoint_key"], data["rules"]
        faults, signatures = self._signed(body, new)
        found += faults
        self.sop, self.rules = data.get("sop", self.sop), data.get("rules", self.rules)
        self.roots = data.get("roots", self.roots)
        found += [f"the root {name} is another certificate than it says" for name, root in self.roots.items()
                  if hashlib.sha256(base64.b64decode(root)).hexdigest() != name]
        for name in (*data["retired"], *(new if body["outcome"] == "replace" else ())):
            if (gone := self.actors.pop(name, None)) is None:
                found.append(f"{name} is no actor now")
            else:
                self.closed.append((name, gone, self.since.pop(name), body["time"]))
        self.actors |= new
        self.since |= dict.fromkeys(new, body["time"])
        self.last = digest
        return found, signatures

    @staticmethod
    def _same(new: Actor, old: Actor | None) -> bool:
        """Whether it is the same person with the same key, of whom other things are said."""
        return old is not None and (new.key, new.name, new.person) == (old.key, old.name, old.person)

    def _misplaced(self, body: Body, new: dict[str, Actor]) -> list[str]:
        first, replaces = body["outcome"] == "bootstrap", body["outcome"] == "replace"
        ever = {*self.actors, *(name for name, _, _, _ in self.closed)}
        keys = {actor.key for actor in (*self.actors.values(), *(gone for _, gone, _, _ in self.closed))}
        found = [f"the key of {name} is or was somebody's already" for name, a in new.items()
                 if a.key in keys - {None} and not (replaces and self._same(a, self.actors.get(name)))]
        found += [f"the id {name} is or was somebody's already" for name in new if name in ever and not replaces]
        found += [f"the certificate of {name} is that of {other}, another person" for name, a in new.items()
                  for other, b in {**self.actors, **new}.items()
                  if a.subject and a.subject == b.subject and (a.person or name) != (b.person or other)]
        if first != (self.last is None):
            found.append("the first actors are entered once, before all others")
        if body["data"]["previous"] != self.last:
            found.append("it was signed for another state of the actors")
        return found

    def _signed(self, body: Body, new: dict[str, Actor]) -> tuple[list[str], list[Signature]]:
        """Each new key proves itself, and so many officials sign who are not concerned (at the beginning, all are)."""
        found, signatures, officials = [], list[Signature](), set()
        concerned = {new[name].person or name for name in new}
        concerned |= {self.person(name) for name in (*new, *body["data"]["retired"])}
        if body["outcome"] == "bootstrap":
            concerned = set()
        for item in body["signatures"]:
            by = item["by"]
            actor = new.get(by) or self.actors.get(by)
            if actor is None or not actor.key or (by not in new and self.fault(by, body["time"])):
                found.append(f"{by} signed, who has no key to sign with")
                continue
            signatures.append((by, actor.key, item["sig"]))
            if actor.role in self.rules["signers"] and (actor.person or by) not in concerned:
                officials.add(actor.person or by)
        signed = {by for by, _, _ in signatures}
        found += [f"{name} did not sign with the new key" for name in new if new[name].key and name not in signed]
        if len(officials) < self.rules["count"]:
            found.append(f"{self.rules['count']} of {', '.join(self.rules['signers'])} whom it does not concern must "
                         f"sign; {' and '.join(sorted(officials)) or 'nobody'} did")
        return found, signatures

    def step_signature(self, body: Body) -> Signature:
        """The SSH signature that a step's entry must carry. Raises ValueError with what is wrong."""
        by = self._signer(body)
        found = {item["by"]: item["sig"] for item in body["signatures"]}
        if set(found) != {by}:
            raise ValueError(f"it is signed by {', '.join(sorted(found)) or 'nobody'}, not by {by}")
        if (key := self.actors[by].key) is None:
            raise ValueError(f"{by} has no key in this register")
        return by, key, found[by]

    def pdf_signature(self, number: int, body: Body) -> Signed:
        """The PDF signature that a step's entry must rest on. Raises ValueError with what is wrong."""
        by = self._signer(body)
        document = body["evidence"].get(name := body["data"]["pades"]["document"])
        if not document or body["signatures"]:
            raise ValueError(f"{name} alone carries its signature, and {'is missing' if not document else 'does not'}")
        if not (subject := self.actors[by].subject):
            raise ValueError(f"this register does not know the certificate of {by}")
        if not self.roots:
            raise ValueError("this register trusts no authority for PDF signatures")
        roots = tuple(map(base64.b64decode, self.roots.values()))
        return Signed(number, body["request"], by, subject, roots, body["time"], statement(body, self.register),
                      document, body["evidence"].get(CRLS))

    def _signer(self, body: Body) -> str:
        actor: str = body["actor"]
        by: str = body["data"].get("ink", actor)
        for name in dict.fromkeys((actor, by)):
            if fault := self.fault(name, body["time"]):
                raise ValueError(fault)
        if (self.actors[actor].role, self.person(actor)) != (body["role"], body["data"]["person"]):
            raise ValueError(f"{actor} is {self.actors[actor].role} ({self.person(actor)}), not {body['role']} "
                             f"({body['data']['person']})")
        if by != actor and self.actors[by].role != self.rules["ink"]:
            raise ValueError(f"{by} is {self.actors[by].role}; paper is seen by {self.rules['ink']}")
        return by

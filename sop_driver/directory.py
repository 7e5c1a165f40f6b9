"""Who may take which step and sign for it, and what officials ordered, as the register's entries make it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sop_driver.adoption import emergency_faults
from sop_driver.flow import Against
from sop_driver.note import announcement, signed_by
from sop_driver.shape import of_actors
from sop_driver.sheet import Signed
from sop_driver.statement import CRLS, SEALED, Body, is_id, statement
from sop_driver.taken import Taken
from sop_driver.tenure import Actor, becomes, held_already, keys_of, lacks_decree, stand_in_fault

Signature = tuple[str, str, str]  # who, public key, signature


@dataclass(frozen=True)
class Window:
    """A time in which nothing is changed on the servers, as the entry of this number says."""

    number: int
    start: str
    until: str
    reason: str
    ended: str | None = None  # from this time on it closes nothing, whatever it said

    def over(self, time: str) -> bool:
        return time > self.until or (self.ended is not None and time >= self.ended)


class Erasure(NamedTuple):
    """The entry by which a document or personal data were erased."""

    number: int
    time: str
    by: tuple[str, ...]

    def __str__(self) -> str:
        return f"erased on {self.time[:10]} by {', '.join(self.by)} (entry {self.number})"


@dataclass
class Directory:
    """The actors, and what the officials ordered, as the entries read so far make them."""

    register: str = ""
    keys: list[tuple[int, str]] = field(default_factory=list)  # of the checkpoints, each with the entry that brings it
    sop: str = ""  # the sha256 of the SOP that new requests begin under
    rules: dict[str, Any] = field(default_factory=dict)
    sops: dict[str, Body] = field(default_factory=dict)  # an adopted SOP's sha256 → the data of its entry, and `entry`
    adoptions: list[Body] = field(default_factory=list)  # the same, of all entries that adopt one
    told: set[str] = field(default_factory=set)  # what adoptions told: rules that bind from the first such entry on
    roots: dict[str, str] = field(default_factory=dict)  # authorities that PDF signatures rest on: sha256 → DER
    last: str | None = None
    actors: dict[str, Actor] = field(default_factory=dict)
    since: dict[str, str] = field(default_factory=dict)
    closed: list[tuple[str, Actor, str, str]] = field(default_factory=list)  # id, actor, since, until
    windows: dict[int, Window] = field(default_factory=dict)
    erased: dict[str, Erasure] = field(default_factory=dict)  # sha256 of what is gone

    def fault(self, name: str, time: str) -> str | None:
        """Why somebody is no actor at a time; None where they are."""
        if (actor := self.actors.get(name)) is None:
            gone = self._last(name)
            return f"{name} was retired at {gone[3]}" if gone else f"nobody has the id {name!r} in this register"
        return f"{name} stood in until {actor.until} only" if actor.until and time > actor.until else None

    def known(self, name: str) -> Actor | None:
        """Who has an id, or had it last."""
        if actor := self.actors.get(name):
            return actor
        gone = self._last(name)
        return gone[1] if gone else None

    def _last(self, name: str) -> tuple[str, Actor, str, str] | None:
        return next((closed for closed in reversed(self.closed) if closed[0] == name), None)

    def person(self, name: str, new: Mapping[str, Actor] | None = None) -> str:
        """Whose an id is: the one id of a human being to which all others lead, one by one or all at once."""
        ids = {name: 0}
        while (actor := (new or {}).get(name) or self.known(name)) and actor.person:
            if actor.person in ids:  # they lead around
                return min([*ids][ids[actor.person]:])
            ids[name := actor.person] = len(ids)
        return name

    def strangers(self, actors: Mapping[str, Actor], new: Iterable[str]) -> Iterator[str]:
        """Who is said to be somebody whom the register does not know, so that nothing would keep them apart."""
        for name, actor in actors.items():
            if actor.person and actor.person not in new and self.known(actor.person) is None:
                yield f"{name} is said to be {actor.person!r}, an id that nobody has or had"

    def officials(self, time: str, but: Iterable[str] = ()) -> set[str]:
        """The persons who may sign for others at a time, but for these ids."""
        return {self.person(name) for name, actor in self.actors.items() if name not in but and actor.key
                and actor.role in self.rules["signers"] and not self.fault(name, time)}

    @property
    def checkpoint_key(self) -> str:
        return self.keys[-1][1] if self.keys else ""

    def key_at(self, size: int) -> str:
        """The key that signs the checkpoint of so many entries."""
        return next((key for number, key in reversed(self.keys) if number <= size), "")

    def frozen(self, time: str) -> list[Window]:
        """The windows in which a time lies."""
        return [window for window in self.windows.values() if window.start <= time and not window.over(time)]

    def read(self, body: Body, digest: str) -> tuple[list[str], list[Signature]]:
        """Take an entry on actors. Gives what is against it, and the signatures to check."""
        data = body["data"]
        new = {name: Actor(**fields) for name, fields in data["actors"].items()}
        found = [*self._misplaced(body, new), *self._takes_over(body, new), *of_actors(new, body["evidence"])]
        if self.last is None:
            self.register, self.rules = data["register"], data["rules"]
            self.keys.append((body["sequence"], data["checkpoint_key"]))
        found += [f"{name}: {fault[0]}" for name in new
                  if (fault := self.held_already(name, new, body["time"], data["retired"]))]
        faults, signatures = self._signed(body, new)
        found += faults
        self.sop, self.rules = data.get("sop", self.sop), data.get("rules", self.rules)
        if "sop" in data:
            self.sops[self.sop] = {**data, "entry": body["sequence"]}
            self.adoptions.append(self.sops[self.sop])
        self.roots = data.get("roots", self.roots)
        found += [f"the root {name} is another certificate than it says" for name, root in self.roots.items()
                  if hashlib.sha256(base64.b64decode(root)).hexdigest() != name]
        for name in (*data["retired"], *(new if body["outcome"] == "replace" else ())):
            if (gone := self.actors.pop(name, None)) is None:
                found.append(f"{name} is no actor now")
            else:
                self.closed.append((name, gone, self.since.pop(name), body["time"]))
        found += [*self._windows(body), *self._next_key(body)]
        signers = tuple(sorted(item["by"] for item in body["signatures"]))
        self.erased |= dict.fromkeys(data.get("erased", ()), Erasure(body["sequence"], body["time"], signers))
        self.actors |= new
        self.since |= dict.fromkeys(new, body["time"])
        self.last = digest
        self.told.update(data)
        if "persons" in data:
            new = self.actors
        return [*found, *(self.strangers(new, ()) if "persons" in self.told else ())], signatures

    def _windows(self, body: Body) -> list[str]:
        """Take a window that is closed, or one that ends before its time. Gives what is against it."""
        data, time = body["data"], body["time"]
        if "freeze" in data:
            window = Window(body["sequence"], data["freeze"]["from"], data["freeze"]["until"], body["reason"])
            self.windows[window.number] = window
            if not window.start < window.until > time:
                return [f"it closes a window from {window.start} to {window.until}, which is over or none"]
        if "unfreeze" in data:
            ended = self.windows.get(data["unfreeze"])
            if ended is None or ended.over(time):
                return [f"entry {data['unfreeze']} closes no window that could be ended"]
            self.windows[ended.number] = replace(ended, ended=time)
        return []

    def _next_key(self, body: Body) -> list[str]:
        """Take another key of the checkpoints, which the one before it announces. Gives what is against it."""
        if "announced" not in body["data"]:
            return []
        key, before = body["data"]["checkpoint_key"], self.checkpoint_key
        said = announcement(self.register, key)
        found = [] if signed_by(said, body["data"]["announced"], before) else [
            "the key of the checkpoints before it did not announce the next one"]
        if key.split("+")[0] != self.register or key in (old for _, old in self.keys):
            found.append("its key of the checkpoints is another register's, or was one before")
        if not found:
            self.keys.append((body["sequence"], key))
        return found

    @staticmethod
    def _same(new: Actor, old: Actor | None) -> bool:
        """Whether it is the same person with the same key, of whom other things are said."""
        return old is not None and (new.key, new.name, new.person) == (old.key, old.name, old.person)

    def _misplaced(self, body: Body, new: dict[str, Actor]) -> list[str]:
        first, replaces = body["outcome"] == "bootstrap", body["outcome"] == "replace"
        ever = {*self.actors, *(name for name, _, _, _ in self.closed)}
        given = keys_of(new.values())
        keys = set(keys_of([*self.actors.values(), *(gone for _, gone, _, _ in self.closed)]))
        found = [f"the key of {name} is or was somebody's already" for name, actor in new.items()
                 if any(key in keys or given.count(key) > 1 for key in keys_of([actor]))
                 and not (replaces and self._same(actor, self.actors.get(name)))]
        found += [f"the id {name} is or was somebody's already, or is none" for name in new
                  if (name in ever and not replaces) or not is_id(name)]
        if not first == (self.last is None) == (body["sequence"] == 1):
            found.append("the first actors are entered once, before all others")  # a receipt could leave them out
        if body["data"]["previous"] != self.last:
            found.append("it was signed for another state of the actors")
        return found

    def stand_in_fault(self, name: str, new: Actor, time: str) -> Against | None:
        """Why somebody may not stand in by the SOP that is adopted now."""
        person = self.person(name, {name: new})
        held = {actor.role for other, actor in self.actors.items()
                if other != name and actor.stands_in is None and self.person(other) == person}
        return stand_in_fault(new, held, time, self.rules)

    def held_already(self, name: str, new: Mapping[str, Actor], time: str,
                     retired: Iterable[str] = ()) -> Against | None:
        """Why somebody may not become an office's holder by the SOP that is adopted now."""
        actors = self.actors.items() if new[name].role in self.rules.get("one_holder", ()) else ()  # else many
        now = {each: actor for each, actor in actors if each not in retired and not self.fault(each, time)}
        return held_already(name, new[name], now.get(name), {**now, **new}, self.rules)

    def _takes_over(self, body: Body, new: dict[str, Actor]) -> Iterator[str]:
        """What is against new holders of offices. What entries from before did not ask for is not asked of them."""
        for name, actor in new.items():
            if actor.stands_in is not None and "stand_ins" in self.rules and (
                    fault := self.stand_in_fault(name, actor, body["time"])):
                yield f"{name}: {fault[0]}"
            if lacks_decree(actor, old := self.actors.get(name), body["evidence"], self.rules):
                yield f"{becomes(name, actor, old)}, and no decree is brought"

    def _signed(self, body: Body, new: dict[str, Actor]) -> tuple[list[str], list[Signature]]:
        """Each new key proves itself, and so many officials sign who are not concerned (at the beginning, all are)."""
        concerned = {self.person(name, new) for name in new}
        concerned |= {self.person(name) for name in (*new, *body["data"]["retired"])}
        if body["outcome"] == "bootstrap":
            concerned = set()
        found, signatures = self._countersigned(body, new, self.rules, concerned)
        signed = {by for by, _, _ in signatures}
        return [*found, *(f"{name} did not sign with the new key" for name in new
                          if new[name].key and name not in signed)], signatures

    def _countersigned(self, body: Body, new: dict[str, Actor], rules: dict[str, Any],
                       concerned: set[str]) -> tuple[list[str], list[Signature]]:
        """So many people of the roles that may do so sign, none of whom it concerns."""
        found, signatures, officials = [], list[Signature](), set()
        for item in body["signatures"]:
            by = item["by"]
            actor = new.get(by) or self.actors.get(by)
            if actor is None or not actor.key or (by not in new and self.fault(by, body["time"])):
                found.append(f"{by} signed, who has no key to sign with")
                continue
            signatures.append((by, actor.key, item["sig"]))
            if actor.role in rules["signers"] and self.person(by, new) not in concerned:
                officials.add(self.person(by, new))
        if len(officials) < rules["count"]:
            found.append(f"{rules['count']} of {', '.join(rules['signers'])} whom it does not concern must "
                         f"sign; {' and '.join(sorted(officials)) or 'nobody'} did")
        return found, signatures

    def emergency(self, body: Body, askers: Iterable[str]) -> tuple[list[str], list[Signature]]:
        """An emergency as declared, or its report. Gives what is against it, and the signatures to check."""
        if (rules := self.sops.get(body["data"]["sop"], {}).get("emergency")) is None:
            return ["the SOP of the request knows no emergency"], []
        if body["outcome"] == "reported":
            strange = [] if body["role"] in rules["reported_by"] else [
                f"{body['actor']} is {body['role']}; {' or '.join(rules['reported_by'])} reports it"]
            lacking = ["it brings no report"] * ("laporan" not in body["evidence"])
            return strange + lacking, [self.step_signature(body)]
        found, signatures = self._countersigned(body, {}, rules, set(map(self.person, askers)))
        return [*found, *emergency_faults(body, rules)], signatures

    def refuses(self, made: Taken) -> bool:
        """Whether a step sent the request back; every outcome may have where the SOP's entry does not tell."""
        refusals = self.sops.get(made.sop, {}).get("refusals")
        return made.outcome is not None and (refusals is None or made.outcome in refusals.get(made.step, ()))

    def void_fault(self, body: Body, made: Taken) -> str | None:
        """Why somebody may not void a step: who took it may, and the head, who may not take a refusal away."""
        if body["actor"] == made.actor or self.person(body["data"]["person"]) == self.person(made.person):
            return None
        if self.refuses(made):
            return f"only {made.actor} takes back the {made.outcome!r} of entry {made.number}"
        if body["role"] != self.rules.get("head"):
            return (f"{body['actor']} is {body['role']}; entry {made.number} is voided by {made.actor}, who made it"
                    f"{', or by ' + self.rules['head'] if self.rules.get('head') else ''}")
        return None

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
        subject = str(self.actors[by].subject or "").removeprefix(SEALED)
        if not subject or subject in self.erased:  # nobody could check it
            raise ValueError(f"this register does not know the certificate of {by}")
        if not self.roots:
            raise ValueError("this register trusts no authority for PDF signatures")
        return Signed(number, body["request"], by, subject, tuple(map(base64.b64decode, self.roots.values())),
                      body["time"], statement(body, self.register), document, body["evidence"].get(CRLS),
                      "certificates" in self.told)

    def _signer(self, body: Body) -> str:
        actor: str = body["actor"]
        by: str = body["data"].get("ink", actor)
        for name in dict.fromkeys((actor, by)):
            if fault := self.fault(name, body["time"]):
                raise ValueError(fault)
        persons, person, said = "persons" in self.told, self.person(actor), body["data"]["person"]
        if (self.actors[actor].role, person) != (body["role"], said if persons else self.person(said)):
            raise ValueError(f"{actor} is {self.actors[actor].role} ({person}), not {body['role']} ({said})")
        seen_by, said = self.person(by) if "ink" in body["data"] else None, body["data"].get("seen_by")
        if said != seen_by and (said or persons):
            raise ValueError(f"its paper was seen by {seen_by or 'nobody'}, and it says {said or 'nobody'}")
        if by != actor and self.actors[by].role != self.rules["ink"]:
            raise ValueError(f"{by} is {self.actors[by].role}; paper is seen by {self.rules['ink']}")
        return by

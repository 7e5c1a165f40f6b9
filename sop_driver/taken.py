"""An entry by which somebody took a step or voided one, as far as the order of steps goes by it."""

from __future__ import annotations

from typing import Any, NamedTuple

from sop_driver.statement import Body, level


class Taken(NamedTuple):
    """An entry by which somebody took a step or voided one."""

    number: int
    hash: str
    request: str
    step: str
    actor: str
    role: str
    person: str
    seen_by: str | None  # the person of who saw the paper, where it is signed on one
    outcome: str | None
    reason: str | None
    level: str
    sop: str
    digest: str
    letter: str
    agenda: str | None
    evidence: Body
    fixed: bool  # a request itself or an installation: not to be voided
    entry: Any  # the register's own, for who asks about it

    @classmethod
    def of(cls, body: Body, digest: str, entry: Any = None, person: str | None = None) -> Taken:
        """`person` where the entry names another id of the same human being, as earlier drivers did."""
        data = body["data"]
        return cls(body["sequence"], digest, body["request"], body["step"], body["actor"], body["role"],
                   person or data["person"], data.get("seen_by"), body["outcome"], body["reason"], level(data),
                   data["sop"], data["digest"], data["letter"], data["agenda"]["text"] if "agenda" in data else None,
                   body["evidence"], "replaces" in data or "run" in data, entry)

    @property
    def people(self) -> frozenset[str]:
        """Whose step it is where nobody takes two. A paper stands by the word of who saw it alone."""
        return frozenset((self.person, self.seen_by or self.person))

    @property
    def by(self) -> str:
        return f"{self.actor}, on paper seen by {self.seen_by}" if self.seen_by else self.actor

    def __str__(self) -> str:
        return f"entry {self.number}"

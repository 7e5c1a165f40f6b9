"""What each signer saw of the register: its last entry, and by it all before, so that none of these can be left out."""

from __future__ import annotations

from dataclasses import dataclass, field

from sop_driver.proof import ORIGIN
from sop_driver.statement import Body

BY_PEOPLE = ("actors", "step", "emergency", "void")  # kinds of entries that people sign


@dataclass
class Seen:
    """The entries read so far, by the hashes of their words, and how far what signers saw agrees with them.

    Where only some entries are read (`partial`), what was seen is compared where it is among these.
    """

    partial: bool = False
    leaves: dict[int, str] = field(default_factory=lambda: {0: ORIGIN})
    since: int = 0  # the first entry that says what its signer saw: all after it do
    agreed: int = 0  # the last entry that a signer saw as it is here
    differs: bool = False

    def against(self, number: int, body: Body) -> list[tuple[int, str]]:
        """Hold an entry against those before it. Gives its finding, which takes the trust from all that nobody saw."""
        if body["kind"] not in BY_PEOPLE:
            return []
        if (seen := body["data"].get("seen")) is None:  # as the first drivers wrote
            return [(number, f"it does not say which entry was the last when it was signed, as entry {self.since} and "
                             "those after it do")] if self.since else []
        self.since = self.since or number
        entry, here = seen["entry"], self.leaves.get(seen["entry"])
        if 0 <= entry < number and (here == seen["hash"] or (here is None and self.partial)):
            self.agreed = max(self.agreed, entry if here else 0)
            return []
        if self.differs:  # what follows on changed entries differs, too
            return []
        self.differs = True
        what = (f"saw another entry {entry} than the one that is here: entries up to {entry} were changed or left out "
                "since") if entry < number else f"saw {entry} entries, before it are {number - 1}: some were left out"
        return [(self.agreed + 1, f"who signed entry {number} {what}")]

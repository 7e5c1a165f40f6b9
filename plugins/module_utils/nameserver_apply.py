"""Carry out the edits of all zones: all of them, or none, and say whose edits the server does not take."""

from __future__ import annotations

import time

from ansible.module_utils.nameserver import Edit, batches
from ansible.module_utils.nameserver_wire import Primary, Rejected, Unanswered, follows
from ansible.module_utils.transaction import Left, Refused, run

PUT_BACK = "the records are as they were before"
REMIND = 2.0  # seconds after which named notifies secondaries again


class Culprits(Exception):
    """Websites whose part of an update the server does not take; everything was put back."""

    def __init__(self, left: list[Left]) -> None:
        super().__init__(", ".join(each.website for each in left))
        self.left = left


def apply(
    primary: Primary,
    edits: dict[str, list[Edit]],
    secondaries: dict[str, list[str]],
    wait: float,
    new: tuple[str, ...] = (),
) -> dict[str, int]:
    """Send all edits, wait for the secondaries, and give the new serials; `new` zones have to arrive there as well.

    Raises Refused or Culprits with the records put back.
    """
    sent: list[tuple[str, list[Edit]]] = []
    try:
        for zone, part in edits.items():
            for batch in batches(part):
                sent.append((zone, batch))
                primary.update(zone, batch)
        serials = {zone: primary.serial(zone) for zone, part in edits.items() if part or zone in new}
        await_secondaries(serials, secondaries, wait)
    except Rejected as error:
        zone, batch = sent.pop()
        left = culprits(primary, zone, batch, sent, error)
        said = put_back(primary, sent)
        if left and said == PUT_BACK:
            raise Culprits(left) from error
        raise Refused(f"{error.what}; {said}", error.mend) from error
    except Refused as error:
        raise Refused(f"{error.what}; {put_back(primary, sent)}", error.mend) from error
    return serials


def culprits(
    primary: Primary, zone: str, batch: list[Edit], sent: list[tuple[str, list[Edit]]], error: Rejected
) -> list[Left]:
    """Whose edits the server does not take: each website's are sent alone, and what it takes is added to `sent`.

    Nobody where it takes none of several, or not the servers' own: then it is no website's fault.
    """
    parts: dict[str | None, list[Edit]] = {}
    for edit in batch:
        parts.setdefault(edit.change.website, []).append(edit)
    refused: dict[str | None, Refused] = dict.fromkeys(parts, error)
    for website, part in parts.items() if len(parts) > 1 else ():
        try:
            primary.update(zone, part)
        except Rejected as said:
            refused[website] = said
        else:
            del refused[website]
            sent.append((zone, part))
    if None in refused or len(refused) == len(parts) > 1:
        return []
    return [Left(str(website), said.what, said.mend) for website, said in refused.items()]


def put_back(primary: Primary, sent: list[tuple[str, list[Edit]]]) -> str:
    """Undo what was sent, last first, and say how that went.

    The last message may have been refused or may only have lost its answer: its prerequisites tell, so that undoing
    what never happened is refused by the server and harmless.
    """
    lost = []
    for number, (zone, batch) in enumerate(reversed(sent)):
        try:
            primary.update(zone, [edit.reverse() for edit in reversed(batch)])
        except Unanswered as error:
            lost.append(f"{zone} ({error.what})")
        except Refused as error:
            if number:
                lost.append(f"{zone} ({error.what})")
    return f"not put back: {'; '.join(lost)}" if lost else PUT_BACK


def await_secondaries(serials: dict[str, int], secondaries: dict[str, list[str]], wait: float) -> None:
    """Return once every secondary has every zone at least at its serial, at one of its addresses. Raises Refused.

    They are notified again and again: a secondary that asked for a zone before it was served here forgets a notice that
    comes while it tries its next address, and would ask again after a minute only.
    """
    deadline, due = time.monotonic() + wait, time.monotonic() + REMIND
    pending = [(name, zone) for name in secondaries for zone in serials]
    turn = 0
    while pending:
        pending = [(name, zone) for name, zone in pending
                   if not follows(secondaries[name][turn % len(secondaries[name])], zone, serials[zone])]
        if not pending:
            return
        if time.monotonic() > deadline:
            behind = ", ".join(sorted({f"{zone} on {name}" for name, zone in pending}))
            raise Refused(
                f"after {wait:.0f} s the secondaries do not have the new serial: {behind}",
                "look at `journalctl -u named` there; it must reach the primary at port 53 and hold its transfer key",
            )
        if time.monotonic() > due:
            for zone in sorted({zone for _, zone in pending}):
                run(["rndc", "notify", zone])
            due = time.monotonic() + REMIND
        turn += 1
        time.sleep(0.02)

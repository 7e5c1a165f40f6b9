"""What two officials order besides who may act: closed times, erasures, the next key."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, time
from zoneinfo import ZoneInfo

from sop_driver import actors, notary, pades, trust
from sop_driver.audit import Audit
from sop_driver.directory import Window
from sop_driver.errors import Usage, refuse
from sop_driver.evidence import BACK
from sop_driver.note import announcement
from sop_driver.register import Entry
from sop_driver.signatures import Sign
from sop_driver.standing import Office, local, stamp, worded
from sop_driver.statement import CERTIFICATE, KEPT, NEEDED, PERSONAL, SEALED, needed

GATE = "freeze"
MOMENT = re.compile(r"2\d{3}-\d\d-\d\d(T\d\d:\d\d(?::\d\d)?)?", re.ASCII)


def moment(text: str, office: Office, flag: str, last: bool = False) -> str:
    """A day or a minute of the agency's clock, as entries write it; of a day its first or last second. Raises Usage."""
    try:
        if (spelled := MOMENT.fullmatch(text)) is None:  # Python reads more spellings of a day, and years without end
            raise ValueError
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Usage(f"{text!r} is no day and no time of the agency's clock ({office.config.timezone})", flag,
                    "write it as 2026-12-31 or 2026-12-31T17:00") from error
    if last and not spelled[1]:
        found = datetime.combine(found, time(23, 59, 59))
    return stamp(found.replace(tzinfo=ZoneInfo(office.config.timezone)))


def freeze(office: Office, start: str, until: str, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Close a window: no run changes the servers in it, whatever was approved. Times are as entries write them."""
    now = stamp(office.register.now())
    if not start < until > now:
        first, last = (local(office, datetime.fromisoformat(text)) for text in (start, until))
        raise Usage(f"a window from {first} to {last} closes nothing", "--from, --until",
                    "let it end after it begins, and in the future")
    return actors.enter(office, "freeze", {}, [], signers, sign, reason=reason,
                        data={"freeze": {"from": start, "until": until}})


def unfreeze(office: Office, number: int, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """End a window before its time, or take it back before it begins."""
    window = office.people().windows.get(number)
    if window is None or window.over(stamp(office.register.now())):
        refuse(f"entry {number} closes no window that is open or to come", GATE, "`sop freeze list` names them")
    return actors.enter(office, "unfreeze", {}, [], signers, sign, reason=reason, data={"unfreeze": number})


def erase(office: Office, words: list[str], signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Remove documents and personal data for good; their hashes stay, and with them every proof.

    A word is REQ/contact, REQ/NAME of a document, or actor/ID for past holders' names, certificates and decrees. Raises
    Refused where it is nothing, or gone: then what an interrupted erasure left is removed.
    """
    verified = trust.require(office, ())  # what goes is what entries name: let all of them hold
    found = dict[str, str]()
    for word in words:
        found |= dict.fromkeys(_meant(office, word), word)
    erased = office.people().erased
    for digest in found:
        office.evidence.path(digest)  # it leads to a document
    _not_needed(office, found)  # before anybody signs
    _proven(office, verified, found)
    entry = None
    if new := sorted(found.keys() - erased.keys()):
        entry = actors.enter(office, "erase", {}, [], signers, sign, reason=reason, data={"erased": new},
                             stands=lambda: _not_needed(office, found))
    if entry or not new:
        office.evidence.erase(found, {*erased, *new})
    if not new:
        refuse(f"{', '.join(words)}: {', '.join(dict.fromkeys(str(erased[digest]) for digest in found))}", "erasure",
               "what was left or had come back of it is removed: nothing is left to do")
    return entry


def _proven(office: Office, verified: Audit, words: dict[str, str]) -> None:
    """Raises Refused where a document is not there as it was, or where a signature within a PDF does not hold that
    nobody could check without these: an erasure would take away what shows that."""
    for digest in sorted(words.keys() - verified.people.erased.keys()):
        if fault := office.evidence.fault(digest):
            refuse(f"{words[digest]} is not there as it was: {fault}", "erasure", BACK)
    for signed in verified.pdfs:
        gone = sorted({words[digest] for digest in signed.documents if digest in words})
        if gone and verified.people.erased.keys().isdisjoint(signed.documents) and (
                fault := pades.fault(signed, office.evidence)):
            refuse(f"the signature of {signed.by} in entry {signed.entry} does not hold ({fault}), and rests on "
                   f"{', '.join(gone)}", "erasure", "see `sop register verify`: what shows that stays")


def _not_needed(office: Office, words: dict[str, str]) -> None:
    """Raises Refused where the register needs one of these documents, each given with the word that names it."""
    kept = set[str]().union(*(needed(entry.evidence) for entry in office.register.entries()))
    if also_kept := sorted({words[digest] for digest in words.keys() & kept}):
        refuse(f"{', '.join(also_kept)} is also {NEEDED}", "erasure", "leave it out: the register needs it")


def rotate(office: Office, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Let another key sign the checkpoints from this entry on; the old one announces it, and goes with that."""
    register, people = office.register, office.people()
    old, used = register.notary, {key for _, key in people.keys}
    new = next((key for key in notary.held(register.key_file.parent).values() if key.verifier not in used), None)
    if new is None:  # it stays where a statement is signed elsewhere
        name = register.key_file.with_name(f"checkpoint-{secrets.token_hex(4)}.key")
        new = notary.make(name, old.name)
    announced = old.sign(announcement(old.name, new.verifier))
    return actors.enter(office, "rotate", {}, [], signers, sign, reason=reason,
                        data={"checkpoint_key": new.verifier, "announced": announced})


def _meant(office: Office, word: str) -> list[str]:
    """The hashes that a word names. Raises Usage where there are none."""
    subject, _, name = word.partition("/")
    if subject == "actor":
        actor = office.people().actors.get(name)
        found = [digest for entry in office.register.entries(kind="actors")
                 if (seal := entry.evidence.get(PERSONAL + name)) and (actor is None or SEALED + seal != actor.name)
                 for label, digest in entry.evidence.items()
                 if label in (PERSONAL + name, PERSONAL + name + CERTIFICATE, "decree")]
    else:
        found = [digest for entry in office.register.entries(request=subject)
                 for label, digest in entry.evidence.items() if label in (name, PERSONAL + name) and label not in KEPT]
    if not found:
        raise Usage(f"{word} names nothing that can be erased", "sop erase",
                    "write REQ/contact, REQ/NAME of a document, or actor/ID of one who is retired or replaced")
    return found


def also(office: Office, entry: Entry) -> list[str]:
    """The entries that name what an entry erases."""
    gone = set(entry.data["erased"])
    return [f"{name.removeprefix(PERSONAL)} of {each}{f', {each.request}' if each.request else ''}"
            for each in office.register.entries() for name, digest in each.evidence.items() if digest in gone]


def windows(office: Office) -> list[Window]:
    """All windows, the first to begin first."""
    return sorted(office.people().windows.values(), key=lambda window: (window.start, window.number))


def window_lines(office: Office) -> list[str]:
    now = stamp(office.register.now())
    return [f"{_state(window, now)}: {worded(office, window)}" for window in windows(office)]


def _state(window: Window, now: str) -> str:
    if window.over(now):
        return "over"
    return "to come" if window.start > now else "CLOSED NOW"

"""What two officials order besides who may act: times in which nothing is changed on the servers."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

from sop_driver import actors
from sop_driver.directory import Window
from sop_driver.errors import Usage, refuse
from sop_driver.register import Entry
from sop_driver.signatures import Sign
from sop_driver.standing import Office, stamp, worded
from sop_driver.steps import plain

GATE = "freeze"


def moment(text: str, office: Office, flag: str, last: bool = False) -> str:
    """A day or a minute of the agency's clock, as entries write it; of a day its first or last second. Raises Usage."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo:
            raise ValueError
    except ValueError as error:
        raise Usage(f"{text!r} is no day and no time of the agency's clock ({office.config.timezone})", flag,
                    "write it as 2026-12-31 or 2026-12-31T17:00") from error
    if last and len(text) == len("2026-12-31"):
        found = datetime.combine(found, time(23, 59, 59))
    return stamp(found.replace(tzinfo=ZoneInfo(office.config.timezone)))


def freeze(office: Office, start: str, until: str, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Close a window: no run changes the servers in it, whatever was approved. Times are as entries write them."""
    now = stamp(office.register.now())
    if not start < until > now:
        raise Usage(f"a window from {start} to {until} closes nothing", "--from, --until",
                    "let it end after it begins, and in the future")
    return actors.enter(office, "freeze", {}, [], signers, sign, reason=plain(reason),
                        data={"freeze": {"from": start, "until": until}})


def unfreeze(office: Office, number: int, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """End a window before its time, or take it back before it begins."""
    window = office.people().windows.get(number)
    if window is None or window.over(stamp(office.register.now())):
        refuse(f"entry {number} closes no window that is open or to come", GATE, "`sop freeze list` names them")
    return actors.enter(office, "unfreeze", {}, [], signers, sign, reason=plain(reason), data={"unfreeze": number})


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

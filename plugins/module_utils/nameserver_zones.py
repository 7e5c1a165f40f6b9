"""Zones that agencies bring: made on the primary, published to the secondaries by a catalog zone (RFC 9432)."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import re
import time
from typing import Any, NamedTuple

from ansible.module_utils.nameserver_claims import LIVE, NAME
from ansible.module_utils.nameserver_wire import serial
from ansible.module_utils.transaction import Left, Refused, run, write_atomic

CATALOG = "catalog.invalid"  # a name that nobody can own (RFC 6761)
PLACE = "@zone@"  # stands for the zone's name in the texts that the role gives
HEAD = re.compile(r"^// (\S+) was made by (\S+)$", re.MULTILINE)
PENDING = re.compile(r"^// (\S+) has files that are to go$", re.MULTILINE)
UNTAKEN = "// named has yet to take this up\n"
RUN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
LOADING = 10.0  # seconds within which a new zone must be served


class Wanted(NamedTuple):
    """Zones that must exist with their websites, those to be removed, those that nobody names, and what is wrong."""

    zones: dict[str, list[dict[str, Any]]]
    purged: dict[str, str]
    orphans: list[str]
    faults: list[Left]


def wanted(
    websites: list[dict[str, Any]], fleet: list[str], made: dict[str, str], left: set[str], served: bool
) -> Wanted:
    """What the websites' `zone` fields ask for, beside the fleet's own zones and those `made` before, by whom.

    Websites that are `left` as they are keep a zone that there is, and get no new one.
    """
    result = Wanted({}, {}, [], [])
    for website in sorted(websites, key=lambda w: (w.get("zone") not in made, str(w.get("uid")), str(w.get("name")))):
        zone, live, name = website.get("zone"), website.get("state") in LIVE, str(website.get("name"))
        if zone is None or website.get("state") == "purged" or (zone not in made and (name in left or not live)):
            continue
        fault = None if zone in result.zones else _fault(zone, fleet, list(result.zones))
        if not served:
            fault = f"these name servers serve no zone of an agency's own, such as {str(zone)[:80]}"
        if fault:
            result.faults.append(Left(name, fault, "ask for another zone, by an update of the request"))
        else:
            result.zones.setdefault(zone, []).append(website)
    for zone, maker_of in made.items():
        if zone not in result.zones:
            makers = {w.get("created_by"): str(w["name"]) for w in websites
                      if w.get("zone") == zone and w.get("state") == "purged"}
            if maker_of in makers:
                result.purged[zone] = makers[maker_of]
            else:
                result.orphans.append(zone)
    return result


def _fault(zone: Any, fleet: list[str], others: list[str]) -> str | None:
    if not isinstance(zone, str) or not NAME.fullmatch(zone) or len(zone) > 200:
        return f"{str(zone)[:80]!r} is no name of a zone"
    for other in [*fleet, *others]:
        if zone == other or zone.endswith(f".{other}") or other.endswith(f".{zone}"):
            return f"the zone {zone} and the zone {other} hold each other's names"
    return None


class Unserved(Refused):
    """named does not load a new zone; the other zones are as they should be."""

    def __init__(self, zone: str) -> None:
        super().__init__(f"the new zone {zone} is not served", "look at `journalctl -u named` on the primary")
        self.zone = zone


class Zones:
    """The primary's files of these zones. Methods that run programs raise Refused."""

    def __init__(self, clause: str, content: str, signed: bool, configuration: str, folder: str) -> None:
        self.clause, self.template, self.signed = clause, content, signed
        self.configuration, self.folder = pathlib.Path(configuration), pathlib.Path(folder)
        self.catalog, self.keys = self.folder / f"db.{CATALOG}", self.folder / "keys"
        self.noted = self.folder / "keys.new"  # until the role has copied the keys, whoever is killed
        self.fresh: list[str] = []  # zones whose file this run made
        self.pending: set[str] = set()  # zones whose files are to go unless they are made
        self.settled = False  # whether this run took up what a killed one configured

    def made(self) -> dict[str, str]:
        """The zones that are configured, each with the run that made it."""
        with contextlib.suppress(FileNotFoundError):
            return dict(HEAD.findall(self.configuration.read_text()))
        return {}

    def file(self, zone: str) -> pathlib.Path:
        return self.folder / f"db.{zone}"

    def content(self, zone: str) -> str:
        """What a new zone begins with: what is left of it here, also from when this server was a secondary."""
        left = [path for path in (self.file(zone), *self.folder.glob(f"catalog/*_{zone}.db")) if path.exists()]
        if left:
            newest = max(left, key=lambda path: path.stat().st_mtime)
            return run(["named-compilezone", "-q", "-j", "-i", "none", "-o", "-", zone, str(newest)])
        return self.template.replace(PLACE, zone).replace("@serial@", str(int(time.time())))

    def create(self, new: dict[str, tuple[str, str]], made: dict[str, str], address: str) -> None:
        """Make zones, given by name with content and maker, and serve them, then publish all."""
        self.fresh = [zone for zone in new if not self.file(zone).exists()]
        if self.fresh:
            self.pending.update(self.fresh)
            write_atomic(self.configuration, self._configured() + self._marks())  # if this run is killed
        if self.signed:
            self._note(self.new_keys() | set(new))
        for zone, (content, _) in new.items():
            if self.signed and not list(self.keys.glob(f"K{zone}.+*.key")):
                run(["runuser", "-u", "bind", "--", "dnssec-keygen", "-q", "-K", str(self.keys), "-k", "websites",
                     "-l", "/etc/bind/named.conf", zone])
            for journal in self.folder.glob(f"db.{zone}.j??"):  # what it holds is in the content
                journal.unlink()
            write_atomic(self.file(zone), content, 0o644, *self._owner())
        self.configure({**made, **{zone: maker for zone, (_, maker) in new.items()}})
        self.wait(list(new), address)

    def settle(self, address: str) -> None:
        """Remove the files that a killed run left, and let named take up what it configured.

        A zone that it does not load is told when it is read.
        """
        made, untaken = self.made(), self.untaken()
        self.pending = set(PENDING.findall(self._configured()))
        if self.pending or untaken:
            self.settled = True
            self.remove(sorted(self.pending - set(made)), made)
        if untaken:
            with contextlib.suppress(Unserved):
                self.wait(list(made), address)

    def wait(self, zones: list[str], address: str) -> None:
        deadline = time.monotonic() + LOADING
        for zone in zones:
            while serial(address, zone) is None:
                if time.monotonic() > deadline:
                    raise Unserved(zone)
                time.sleep(0.1)

    def configure(self, made: dict[str, str]) -> None:
        """Let named serve exactly these zones, and tell the secondaries; as before where it does not take them."""
        before = self._configured()
        self.pending -= set(made)
        text = self._text(made) + self._marks()
        if text != before:
            write_atomic(self.configuration, text + UNTAKEN)  # if this run is killed, the next one tells named
            try:
                run(["named-checkconf"])
                run(["rndc", "reconfig"])
            except Refused:
                write_atomic(self.configuration, before)
                raise
        if text != before or self.published() != sorted(made):
            write_atomic(self.catalog, _catalog(sorted(made), self._serial()), 0o644, *self._owner())
            run(["rndc", "reload", CATALOG])
        write_atomic(self.configuration, text)

    def untaken(self) -> bool:
        """Whether a run was killed before named took the configuration up."""
        return self._configured().endswith(UNTAKEN)

    def configured(self, made: dict[str, str]) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self.configuration.read_text() == self._text(made)
        return False

    def _configured(self) -> str:
        return self.configuration.read_text() if self.configuration.exists() else ""

    def _marks(self) -> str:
        return "".join(f"// {zone} has files that are to go\n" for zone in sorted(self.pending))

    def _text(self, made: dict[str, str]) -> str:
        return "".join(f"// {zone} was made by {run_of}\n{self.clause.replace(PLACE, zone).strip()}\n"
                       for zone, run_of in sorted(made.items()))

    def published(self) -> list[str] | None:
        """The zones that the catalog names; None where it is not as this module writes it."""
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            text = self.catalog.read_text()
            zones = sorted(re.findall(r" PTR (\S+)\.$", text, re.MULTILINE))
            return zones if text == _catalog(zones, self._serial(0)) else None
        return None

    def _serial(self, later: int = 1) -> int:
        """The catalog's serial, or one that is later than it."""
        with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            match = re.search(r" SOA \S+ \S+ (\d{1,10}) ", self.catalog.read_text())
            if match:
                return max(int(match.group(1)) + 1, int(time.time())) if later else int(match.group(1))
        return int(time.time())

    def remove(self, zones: list[str], made: dict[str, str]) -> None:
        """Serve and keep these zones no more, and `made` only."""
        self.pending.update(zones)
        self.configure(made)
        for zone in zones:
            for path in (self.file(zone), *self.folder.glob(f"db.{zone}.j??"), *self.keys.glob(f"K{zone}.+*")):
                path.unlink(missing_ok=True)
        self._note(self.new_keys() - set(zones))
        self.pending -= set(zones)
        write_atomic(self.configuration, self._text(made) + self._marks())

    def new_keys(self) -> set[str]:
        """The zones whose keys this server alone may hold."""
        return set(self.noted.read_text().split()) if self.noted.exists() else set()

    def _note(self, zones: set[str]) -> None:
        if zones:
            write_atomic(self.noted, "".join(f"{zone}\n" for zone in sorted(zones)))
        else:
            self.noted.unlink(missing_ok=True)

    def delegation(self, zone: str) -> list[str]:
        """The DS records that the zone's parent has to hold; none where it is not signed, none of an outgoing key."""
        keys = [key for key in sorted(self.keys.glob(f"K{zone}.+*.key")) if "\n; Delete:" not in key.read_text()]
        return [run(["dnssec-dsfromkey", "-2", str(key)]).strip() for key in keys]

    def _owner(self) -> tuple[int, int]:
        there = self.keys.stat() if self.keys.exists() else self.folder.stat()
        return there.st_uid, there.st_gid


def maker(websites: list[dict[str, Any]]) -> str:
    """The run that brings a zone about; only purging what that run made removes it."""
    found = str(websites[0].get("created_by"))
    return found if RUN.fullmatch(found) else "unknown"


def _catalog(zones: list[str], number: int) -> str:
    members = [f"{hashlib.sha256(zone.encode()).hexdigest()[:40]}.zones PTR {zone}.\n" for zone in zones]
    head = f"$ORIGIN {CATALOG}.\n$TTL 60\n@ IN SOA invalid. invalid. {number} 60 30 1209600 60\n@ NS invalid.\n"
    return head + 'version TXT "2"\n' + "".join(members)

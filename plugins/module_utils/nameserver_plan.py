"""Plan all zones at once: who can be converged, and what that takes."""

from __future__ import annotations

from typing import Any, NamedTuple

from ansible.module_utils.nameserver import Edit, Frozen, Zone, holders, misled, plan
from ansible.module_utils.nameserver_claims import Conflict, as_built, wishes
from ansible.module_utils.nameserver_extra import issuers_set
from ansible.module_utils.nameserver_wire import Primary
from ansible.module_utils.nameserver_zones import Wanted, Zones, maker, wanted
from ansible.module_utils.transaction import Change, Left, Outcome, Refused, not_ours


class Plan(NamedTuple):
    """Edits by zone, the websites' own zones that are there (with who made them), those to make and to remove."""

    edits: dict[str, list[Edit]]
    made: dict[str, str]
    new: dict[str, tuple[str, str]]
    purged: list[str]
    outcome: Outcome


class Reader:
    """The zones as they are, each read once; those that are yet to be made as they will begin."""

    def __init__(self, primary: Primary, zones: Zones | None) -> None:
        self.primary, self.zones = primary, zones
        self.made = zones.made() if zones else {}
        self.found: dict[str, Zone] = {}
        self.serials: dict[str, int] = {}
        self.contents: dict[str, str] = {}
        self.failed: dict[str, Refused] = {}

    def read(self, zone: str) -> Zone:
        if zone not in self.found:
            self.found[zone], self.serials[zone] = self.primary.read(zone)
        return self.found[zone]

    def read_own(self, own: Wanted) -> list[Left]:
        """Read the websites' own zones; one that cannot be read is its websites' fault alone."""
        untaken = self.zones is not None and self.zones.untaken()  # in check mode alone; named may not serve them yet
        for zone in [*own.zones, *own.orphans]:
            if zone not in self.found and zone not in self.failed:
                try:
                    if zone in self.made and not untaken:
                        self.read(zone)
                    elif self.zones:
                        self.contents[zone] = self.zones.content(zone)
                        self.found[zone], self.serials[zone] = self.primary.parse(zone, self.contents[zone])
                except Refused as error:
                    self.failed[zone] = error
        return [Left(str(website.get("name")), self.failed[zone].what, self.failed[zone].mend)
                for zone in own.zones if zone in self.failed for website in own.zones[zone]]


def planned(reader: Reader, params: dict[str, Any], known: list[Left], check: bool) -> Plan:
    """What converges all websites but those that alone cannot be, which keep what they have.

    Leaving one out can take away what another one needed, so it is planned anew until nobody more is left out.
    In check mode those that meet what is not ours are told as conflicts, for the existence check.
    """
    left = {each.website: each for each in known}
    conflicts: dict[str, Conflict] = {}
    for server in params["zones"]:
        reader.read(server)
    while True:
        websites = [website for website in params["websites"] if str(website.get("name")) not in left]
        own = wanted(params["websites"], params["zones"], reader.made, set(left), reader.zones is not None)
        more = [*own.faults, *reader.read_own(own)]
        there = [*params["zones"], *own.zones, *own.orphans]
        zones = {zone: reader.found[zone] for zone in there if zone in reader.found}
        wish = wishes(websites, params["hosts"], params["nameservers"], list(zones), issuers_set(params["issuers"]),
                      holders(zones), params["networks"])
        edits, foreign = _edits(zones, wish.claims, params, _frozen(params["websites"], left))
        more += [*wish.faults, *misled(wish, zones)]
        fresh = {each.website: each for each in more if each.website not in left}
        for each in [*wish.conflicts, *foreign]:
            if each.website not in left and each.website not in fresh:
                conflicts[each.website] = each
                fresh[each.website] = not_ours(each._asdict(), params["host"])
        if not fresh:
            break
        left |= fresh
    changes = [edit.change for part in edits.values() for edit in part] + _zone_changes(own, reader)
    shown = [each._asdict() for each in conflicts.values()] if check else []
    refused = tuple(each for name, each in left.items() if not (check and name in conflicts))
    outcome = Outcome(changes, _built(wish, reader, websites, list(zones)), [], shown, own.orphans, refused)
    new = {zone: (reader.contents[zone], maker(held)) for zone, held in own.zones.items()
           if zone not in reader.made and zone in zones}
    return Plan(edits, reader.made, new, sorted(own.purged), outcome)


def _edits(
    zones: dict[str, Zone], claims: dict[str, Any], params: dict[str, Any], frozen: Frozen
) -> tuple[dict[str, list[Edit]], list[Conflict]]:
    names = {str(website.get("uid")): str(website.get("name")) for website in params["websites"]}
    edits: dict[str, list[Edit]] = {}
    conflicts: list[Conflict] = []
    for zone, found in zones.items():
        edits[zone], foreign = plan(zone, found, claims[zone], params["ttl"], names, frozen)
        conflicts += foreign
    return edits, conflicts


def _frozen(websites: list[dict[str, Any]], left: dict[str, Left]) -> Frozen:
    kept = [website for website in websites if str(website.get("name")) in left]
    aliases = [str(alias) for website in kept for alias in website.get("aliases") or []]
    return Frozen(frozenset(str(website.get("uid")) for website in kept), frozenset([*left, *aliases]))


def _zone_changes(own: Wanted, reader: Reader) -> list[Change]:
    changes = [Change(str(held[0]["name"]), f"zone {zone}", "create", None, "served")
               for zone, held in own.zones.items() if zone not in reader.made and zone in reader.found]
    changes += [Change(name, f"zone {zone}", "purge", "served", None) for zone, name in own.purged.items()]
    if reader.zones and (reader.zones.settled or not reader.zones.configured(reader.made)):
        changes.append(Change(None, "configuration of the agencies' zones", "update"))
    if reader.zones and reader.zones.published() != sorted(reader.made):
        changes.append(Change(None, "catalog of the agencies' zones", "update"))
    return changes


def _built(wish: Any, reader: Reader, websites: list[dict[str, Any]], zones: list[str]) -> dict[str, dict[str, Any]]:
    built = as_built(wish, reader.serials, zones)
    for website in websites:
        if reader.zones and website.get("zone") in reader.made and website.get("name") in built:
            built[website["name"]]["delegation"] = reader.zones.delegation(website["zone"])
    return built

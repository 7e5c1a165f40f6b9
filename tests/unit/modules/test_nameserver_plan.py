"""What websites ask for beside their addresses, who is left as it was, and agencies' own zones, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nameserver_records
import pytest
from ansible.module_utils import nameserver_apply, nameserver_zones
from ansible.module_utils.nameserver import Edit, RRset, Zone, batches
from ansible.module_utils.nameserver_apply import Culprits
from ansible.module_utils.nameserver_plan import Plan, Reader, planned
from ansible.module_utils.nameserver_wire import Primary, Rejected
from ansible.module_utils.nameserver_zones import Zones
from ansible.module_utils.transaction import Change, Refused

ZONE, OWN = "tarakankota.go.id", "rsud-tarakan.go.id"
SITE = f"dinkes.{ZONE}"
SERVERS = {f"ns1.{ZONE}": {"ipv4": "198.51.100.53"}, f"ns2.{ZONE}": {"ipv4": "198.51.100.54"}}
CONTENT = f"""$ORIGIN @zone@.
$TTL 300
@ IN SOA ns1.{ZONE}. hostmaster.{ZONE}. @serial@ 3600 600 1209600 300
_nameserver IN TXT "website=fleet"
@ IN NS ns1.{ZONE}.
@ IN NS ns2.{ZONE}.
"""


def website(name: str = SITE, **other: Any) -> dict[str, Any]:
    address = {"ipv4": "198.51.100.11", "ipv6": "2001:db8:77::11", "own": False}
    return {"name": name, "state": "present", "uid": 20001, "aliases": [], "address": address} | other


def record(name: str, kind: str, value: str, ttl: int | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "value": value, "ttl": ttl}


class Served(Primary):
    """A primary that holds zones in memory, checks what an update pins, and refuses names that it dislikes."""

    def __init__(self, *zones: str) -> None:
        self.soa: dict[str, Any] = {}
        self.keyring = None
        self.zones = {zone: self.parse(zone, text(zone))[0] for zone in zones}
        self.dislikes: set[str] = set()

    def read(self, zone: str) -> tuple[Zone, int]:
        if zone not in self.zones:
            raise Refused(f"zone {zone} could not be read", "mend it")
        return self.zones[zone], 7

    def serial(self, zone: str) -> int:
        return 8

    def update(self, zone: str, edits: list[Edit]) -> None:
        after = {name: dict(types) for name, types in self.zones[zone].items()}
        for edit in edits:
            if {name for name, _ in edit.after} & self.dislikes:
                raise Rejected(f"zone {zone}: SERVFAIL", "look")
            for (name, kind), rrset in edit.before.items():
                assert kind == "SOA" or after[name].pop(kind) == rrset
            for (name, kind), rrset in edit.after.items():
                after.setdefault(name, {})[kind] = rrset
        self.zones[zone] = {name: types for name, types in after.items() if types}

    def holds(self, name: str, zone: str = ZONE) -> dict[str, set[str]]:
        return {kind: set(rrset.values) for kind, rrset in self.zones[zone].get(name, {}).items()}

    def add(self, name: str, kind: str, *values: str, zone: str = ZONE) -> None:
        self.zones[zone].setdefault(name, {})[kind] = RRset(300, frozenset(values))


def text(zone: str) -> str:
    return CONTENT.replace("@zone@", zone).replace("@serial@", "7")


@pytest.fixture
def primary(monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setattr(nameserver_apply, "follows", lambda *_: True)
    return Served(ZONE)


def params(*websites: dict[str, Any], **other: Any) -> dict[str, Any]:
    given = {"websites": list(websites), "hosts": {}, "nameservers": SERVERS, "zones": [ZONE], "networks": {},
             "issuers": [], "host": "ns1", "ttl": 300, "secondaries": {}, "wait": 1, "address": "127.0.0.1",
             "own_zones": None}
    return given | other


class Module:
    def __init__(self, check: bool, given: dict[str, Any]) -> None:
        self.check_mode, self.params = check, given | {"key_file": ""}


def converged(primary: Served, *websites: dict[str, Any], check: bool = False, **other: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nameserver_records, "Primary", lambda *_: primary)
        return nameserver_records.converge(Module(check, params(*websites, **other)))


def plan_of(primary: Served, *websites: dict[str, Any], check: bool = False, **other: Any) -> Plan:
    return planned(Reader(primary, None), params(*websites, **other), [], check)


ASKED = [
    record(SITE, "MX", "10 mx.example.net.", 3600),
    record(SITE, "TXT", '"v=spf1 -all"'),
    record(f"k1._domainkey.{SITE}", "CNAME", "k1.example.net."),
    record(f"_sip._tcp.{SITE}", "SRV", "0 5 5060 sip.example.net."),
]


def test_asked_records_are_made_and_named_in_the_mark(primary: Served) -> None:
    converged(primary, website(records=ASKED))
    assert primary.holds(SITE).keys() == {"A", "AAAA", "MX", "TXT"}
    assert primary.zones[ZONE][SITE]["MX"].ttl == 3600
    assert primary.holds(f"_website.{SITE}") == {"TXT": {'"website=20001 MX TXT"'}}
    assert primary.holds(f"_website.k1._domainkey.{SITE}") == {"TXT": {'"website=20001 CNAME"'}}
    assert converged(primary, website(records=ASKED)).changes == []


def test_website_is_pointed_back_to_in_the_part_of_a_reverse_zone_that_is_served() -> None:
    part, address = "96/27.100.51.198.in-addr.arpa", {"ipv4": "198.51.100.101", "own": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nameserver_apply, "follows", lambda *_: True)
        primary, given = Served(ZONE, part), {"zones": [ZONE, part], "networks": {part: "198.51.100.96/27"}}
        converged(primary, website(address=address), **given)
        assert primary.holds(f"101.{part}", part) == {"PTR": {f"{SITE}."}}
        assert converged(primary, website(address=address), **given).changes == []


def test_asked_records_go_when_they_are_asked_for_no_more(primary: Served) -> None:
    converged(primary, website(records=ASKED))
    converged(primary, website())
    assert primary.holds(SITE).keys() == {"A", "AAAA"}
    assert not primary.holds(f"k1._domainkey.{SITE}") and not primary.holds(f"_website.k1._domainkey.{SITE}")


def test_records_by_hand_beside_ours_stay_when_none_of_their_type_is_asked_for(primary: Served) -> None:
    converged(primary, website(records=ASKED[:1]))
    primary.add(SITE, "TXT", '"by hand"')
    converged(primary, website())
    assert primary.holds(SITE) == {"A": {"198.51.100.11"}, "AAAA": {"2001:db8:77::11"}, "TXT": {'"by hand"'}}


@pytest.mark.parametrize(("kind", "values"), [("TXT", ['"by hand"']), ("MX", ["5 mx.example.org."])])
def test_website_is_left_as_it_was_when_it_asks_for_a_type_that_somebody_has_there(
    primary: Served, kind: str, values: list[str]
) -> None:
    converged(primary, website())
    primary.add(SITE, kind, *values)
    before = primary.zones[ZONE]
    asks = website(records=ASKED, address={"ipv4": "198.51.100.12", "own": False})
    outcome = converged(primary, asks)
    assert [left.website for left in outcome.refused] == [SITE] and kind in outcome.refused[0].what
    assert primary.zones[ZONE] == before
    assert [c["website"] for c in converged(primary, asks, check=True).conflicts] == [SITE]


def test_alias_record_becomes_an_address_and_back(primary: Served) -> None:
    name = f"a.{SITE}"
    converged(primary, website(records=[record(name, "CNAME", "b.example.net.")]))
    edits = plan_of(primary, website(records=[record(name, "A", "198.51.100.77")])).edits[ZONE]
    message = Primary.message(primary, ZONE, edits)
    order = [(rrset.deleting is not None, rrset[0].to_text()) for rrset in message.update if name in str(rrset.name)]
    assert order.index((True, "b.example.net.")) < order.index((False, "198.51.100.77"))


@pytest.mark.parametrize(
    ("part", "records"),
    [
        ("no data of a MX", [record(SITE, "MX", "mx.example.net.")]),
        ("no data of a A", [record(f"a.{SITE}", "A", "2001:db8::1")]),
        ("no data of a TXT", [record(SITE, "TXT", "")]),
        ("of type 'NS'", [record(SITE, "NS", "ns.example.net.")]),
        ("of type 'A'", [record(SITE, "A", "198.51.100.1")]),
        ("lies neither", [record(f"lain.{ZONE}", "TXT", '"x"')]),
        ("is no name", [record(f"*.{SITE}", "TXT", '"x"')]),
        ("is no name", [record(f"a\n.{SITE}", "TXT", '"x"')]),
        ("where marks are kept", [record(f"_website.{SITE}", "TXT", '"website=20002"')]),
        ("suffers no other", [record(SITE, "CNAME", "a.example.net.")]),
        ("suffers no other", [record(f"a.{SITE}", "CNAME", "b.net."), record(f"a.{SITE}", "TXT", '"x"')]),
        ("59 s", [record(SITE, "TXT", '"x"', 59)]),
        ("several times to live", [record(SITE, "TXT", '"x"', 60), record(SITE, "TXT", '"y"', 61)]),
        ("which has no address", [record(SITE, "MX", f"10 tidakada.{ZONE}.")]),
        ("which is a CNAME record", [record(SITE, "MX", f"10 a.{SITE}."), record(f"a.{SITE}", "CNAME", "b.net.")]),
    ],
)
def test_website_whose_records_break_the_zone_is_left_out_and_the_others_are_made(
    primary: Served, part: str, records: list[dict[str, Any]]
) -> None:
    outcome = converged(primary, website(records=records), website(f"lain.{ZONE}", uid=20002))
    assert [(left.website, part in left.what, bool(left.mend)) for left in outcome.refused] == [(SITE, True, True)]
    assert primary.holds(f"lain.{ZONE}") and not primary.holds(SITE)


def test_mail_may_go_to_a_host_of_the_zone_below_a_delegation_or_a_wildcard(primary: Served) -> None:
    primary.add(f"mail.{ZONE}", "A", "192.0.2.1")
    primary.add(f"kes.{ZONE}", "NS", "ns.example.net.")
    primary.add(f"*.kel.{ZONE}", "A", "192.0.2.2")
    hosts = [f"mail.{ZONE}.", f"mx.kes.{ZONE}.", f"mx.kel.{ZONE}.", "mx.example.net."]
    outcome = converged(primary, website(records=[record(SITE, "MX", f"10 {host}") for host in hosts]))
    assert outcome.refused == () and len(primary.holds(SITE)["MX"]) == 4


def test_every_name_of_a_website_says_who_may_issue_its_certificates(primary: Served) -> None:
    asks = [record(SITE, "CAA", '0 issuewild ";"')]
    converged(primary, website(aliases=[f"kes.{ZONE}"], records=asks), issuers=["ca.example.net"])
    assert primary.holds(SITE)["CAA"] == {'0 issue "ca.example.net"', '0 issuewild ";"'}
    assert primary.holds(f"kes.{ZONE}")["CAA"] == {'0 issue "ca.example.net"'}
    assert "CAA" not in primary.holds(f"ns1.{ZONE}")


def test_who_may_issue_by_hand_stays_where_the_website_asks_for_nothing_else(primary: Served) -> None:
    converged(primary, website())
    primary.add(SITE, "CAA", '0 issue "other.example.net"')
    assert converged(primary, website(), issuers=["ca.example.net"]).refused == ()
    assert primary.holds(SITE)["CAA"] == {'0 issue "other.example.net"'}
    asks = website(records=[record(SITE, "CAA", '0 issuewild ";"')])
    assert len(converged(primary, asks, issuers=["ca.example.net"]).refused) == 1


def test_holder_keeps_a_name_that_a_new_website_wants(primary: Served) -> None:
    converged(primary, website(f"zzz.{ZONE}", uid=20009))
    outcome = converged(primary, website(f"zzz.{ZONE}", uid=20009), website(f"aaa.{ZONE}", aliases=[f"zzz.{ZONE}"]))
    assert [left.website for left in outcome.refused] == [f"aaa.{ZONE}"]
    assert primary.holds(f"_website.zzz.{ZONE}") == {"TXT": {'"website=20009"'}} and not primary.holds(f"aaa.{ZONE}")


def test_leaving_one_out_leaves_out_who_needs_its_name_and_keeps_what_both_have(primary: Served) -> None:
    converged(primary, website(aliases=[f"kes.{ZONE}"]))
    primary.add(f"bad.{ZONE}", "A", "192.0.2.1")
    before = primary.zones[ZONE]
    moved = [website(f"{SITE}", aliases=[f"bad.{ZONE}"]), website(f"lain.{ZONE}", uid=20002, aliases=[f"kes.{ZONE}"])]
    outcome = converged(primary, *moved, website(f"baik.{ZONE}", uid=20003))
    assert sorted(left.website for left in outcome.refused) == [SITE, f"lain.{ZONE}"]
    assert {name: primary.zones[ZONE][name] for name in before} == before
    assert set(primary.zones[ZONE]) - set(before) >= {f"baik.{ZONE}"} and not primary.holds(f"lain.{ZONE}")


def test_one_whose_records_the_server_does_not_take_is_put_back_and_the_others_stay(primary: Served) -> None:
    primary.dislikes = {f"dua.{ZONE}"}
    sites = [website(f"{name}.{ZONE}", uid=20001 + n) for n, name in enumerate(("satu", "dua", "tiga"))]
    sites[1]["aliases"] = [f"apa.{ZONE}"]
    outcome = converged(primary, *sites)
    assert [(left.website, left.what) for left in outcome.refused] == [(f"dua.{ZONE}", f"zone {ZONE}: SERVFAIL")]
    assert primary.holds(f"satu.{ZONE}") and primary.holds(f"tiga.{ZONE}") and not primary.holds(f"apa.{ZONE}")


def test_server_that_takes_nothing_is_no_websites_fault(primary: Served) -> None:
    sites = [website(f"{name}.{ZONE}", uid=20001 + n) for n, name in enumerate(("satu", "dua"))]
    primary.dislikes = {site["name"] for site in sites} | {f"ns1.{ZONE}"}
    before = primary.zones[ZONE]
    with pytest.raises(Refused, match="the records are as they were before"):
        converged(primary, *sites)
    assert primary.zones[ZONE] == before


def test_culprits_that_stay_are_no_endless_loop(primary: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def always(*_: Any) -> None:
        raise Culprits([nameserver_apply.Left(SITE, "no", "mend it")])

    monkeypatch.setattr(nameserver_records, "apply", always)
    with pytest.raises(Refused, match="does not take the records"):
        converged(primary, website(), website(f"lain.{ZONE}", uid=20002))


def test_largest_records_of_a_website_fit_in_one_message() -> None:
    long = ".".join(["a" * 60] * 3)
    values = frozenset(f'"{"x" * 130}{n:03}"' for n in range(30))
    edit = Edit(Change(None, "x", "update"), {(long, "TXT"): RRset(60, values)}, {(long, "TXT"): RRset(61, values)})
    assert batches([edit]) == [[edit]] and edit.size() < 60_000


# --- zones of the agencies' own


@pytest.fixture
def zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, primary: Served) -> dict[str, Any]:
    """The files of a primary, and its programs: named serves what is configured."""
    (tmp_path / "keys").mkdir()

    def run(argv: list[str], **_: Any) -> str:
        programs.append(" ".join(argv))
        if argv[0] == "rndc" and argv[1] == "reconfig":
            made = Zones(**settings).made()
            primary.zones = {z: c for z, c in primary.zones.items() if z == ZONE or z in made}
            for zone in made:
                primary.zones.setdefault(zone, primary.parse(zone, (tmp_path / f"db.{zone}").read_text())[0])
        if argv[0] == "named-compilezone":
            return Path(argv[-1]).read_text()
        if "dnssec-keygen" in argv:
            (tmp_path / "keys" / f"K{argv[-1]}.+013+1.key").touch()
        return "DS\n"

    programs: list[str] = []
    settings = {"clause": 'zone "@zone@" { };\n', "content": CONTENT, "signed": True,
                "configuration": str(tmp_path / "websites.conf"), "folder": str(tmp_path)}
    (tmp_path / "websites.conf").touch()
    (tmp_path / "db.catalog.invalid").write_text(nameserver_zones._catalog([], 5))
    monkeypatch.setattr(nameserver_zones, "run", run)
    monkeypatch.setattr(nameserver_zones, "write_atomic", write)
    monkeypatch.setattr(nameserver_zones, "serial", lambda _, zone: 7 if zone in primary.zones else None)
    monkeypatch.setattr(nameserver_zones, "LOADING", 0.0)
    return settings


def write(path: Path, content: str, *_: Any) -> bool:
    changed = not path.exists() or path.read_text() != content
    path.write_text(content)
    return changed


def own(**other: Any) -> dict[str, Any]:
    return website(OWN, uid=20004, zone=OWN, created_by="run-000004", aliases=[f"www.{OWN}"]) | other


def members(settings: dict[str, Any]) -> list[str] | None:
    return Zones(**settings).published()


def test_zone_is_made_signed_published_and_filled(primary: Served, zones: dict[str, Any], tmp_path: Path) -> None:
    outcome = converged(primary, website(), own(), own_zones=zones)
    assert ("create", f"zone {OWN}") in [(c.action, c.subject) for c in outcome.changes] and not outcome.refused
    assert primary.holds(f"www.{OWN}", OWN).keys() == {"A", "AAAA"}
    assert members(zones) == [OWN] and list(tmp_path.glob(f"keys/K{OWN}.*"))
    assert outcome.as_built[OWN]["delegation"] == ["DS"] and outcome.as_built[OWN]["zone"] == OWN
    assert converged(primary, website(), own(), own_zones=zones).changes == []
    next(tmp_path.glob(f"keys/K{OWN}.*.key")).write_text("; This is a key\n; Delete: 20261124000000\n")
    assert Zones(**zones).delegation(OWN) == []


def test_plan_of_a_new_zone_changes_nothing(primary: Served, zones: dict[str, Any], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    plan = converged(primary, own(), own_zones=zones, check=True)
    real = converged(primary, own(), own_zones=zones)
    assert plan.changes == real.changes and len(plan.changes) > 2
    assert before[tmp_path / "websites.conf"] == b"" and OWN not in str(before)


def test_zone_is_purged_by_the_run_that_made_it_and_kept_otherwise(
    primary: Served, zones: dict[str, Any], tmp_path: Path
) -> None:
    converged(primary, own(), own_zones=zones)
    for state in ("archived", "purged"):
        converged(primary, own(state=state, created_by="run-000009"), own_zones=zones)
        assert OWN in primary.zones and not primary.holds(f"www.{OWN}", OWN) and members(zones) == [OWN]
    assert converged(primary, own_zones=zones).orphans == [OWN]
    outcome = converged(primary, own(state="purged"), own_zones=zones)
    assert [(c.action, c.subject) for c in outcome.changes] == [("purge", f"zone {OWN}")]
    assert OWN not in primary.zones and members(zones) == [] and not list(tmp_path.rglob(f"*{OWN}*"))


def test_zone_stays_while_another_website_names_it(primary: Served, zones: dict[str, Any]) -> None:
    both = own(), website(f"arsip.{OWN}", uid=20005, zone=OWN, created_by="run-000005")
    converged(primary, *both, own_zones=zones)
    converged(primary, own(state="purged"), both[1], own_zones=zones)
    assert primary.holds(f"arsip.{OWN}", OWN) and not primary.holds(OWN, OWN).keys() & {"A", "AAAA"}


def test_new_zone_goes_when_its_records_do_not(
    primary: Served, zones: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nameserver_apply, "follows", lambda *_: False)
    with pytest.raises(Refused, match="secondaries"):
        converged(primary, own(), own_zones=zones, secondaries={"ns2": ["192.0.2.1"]}, wait=0)
    assert OWN not in primary.zones and members(zones) == [] and not list(tmp_path.rglob(f"*{OWN}*"))


@pytest.mark.parametrize("zone", [ZONE, "go.id", f"kes.{ZONE}", "a b.go.id", "../x.go.id", 'x"; };.go.id', 7])
def test_zone_that_is_none_or_holds_others_names_is_its_websites_fault(
    primary: Served, zones: dict[str, Any], zone: Any
) -> None:
    outcome = converged(primary, own(zone=zone), website(), own_zones=zones)
    assert [left.website for left in outcome.refused] == [OWN] and primary.holds(SITE) and members(zones) == []


def test_zone_that_cannot_be_read_is_its_websites_fault(primary: Served, zones: dict[str, Any]) -> None:
    converged(primary, own(), own_zones=zones)
    del primary.zones[OWN]
    outcome = converged(primary, own(), website(), own_zones=zones)
    assert [left.website for left in outcome.refused] == [OWN] and primary.holds(SITE) and members(zones) == [OWN]


def test_left_website_gets_no_new_zone_and_keeps_an_old_one(primary: Served, zones: dict[str, Any]) -> None:
    bad = [record(OWN, "MX", f"10 tidakada.{OWN}.")]
    assert [left.website for left in converged(primary, own(records=bad), own_zones=zones).refused] == [OWN]
    assert members(zones) == [] and OWN not in primary.zones
    converged(primary, own(), own_zones=zones)
    converged(primary, own(records=bad), own_zones=zones)
    assert members(zones) == [OWN] and primary.holds(f"www.{OWN}", OWN)


def test_catalog_and_configuration_that_were_changed_are_mended(
    primary: Served, zones: dict[str, Any], tmp_path: Path
) -> None:
    converged(primary, own(), own_zones=zones)
    (tmp_path / "db.catalog.invalid").write_text(nameserver_zones._catalog([], 99999999999))
    plan = converged(primary, own(), own_zones=zones, check=True)
    assert [c.subject for c in plan.changes] == ["catalog of the agencies' zones"]
    converged(primary, own(), own_zones=zones)
    assert members(zones) == [OWN]
    (tmp_path / "websites.conf").write_text(f"// {OWN} was made by run-000004\nbroken")
    converged(primary, own(), own_zones=zones)
    assert "broken" not in (tmp_path / "websites.conf").read_text()
    (tmp_path / "websites.conf").write_text("")
    converged(primary, own(), own_zones=zones)
    assert Zones(**zones).made() == {OWN: "run-000004"}


@pytest.mark.parametrize("point", ["configure", "wait"])
def test_new_zone_s_key_is_told_until_it_is_copied_also_where_a_run_was_killed(
    primary: Served, zones: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """A key that one server alone holds is lost with it, and the zone is bogus then until its parent is told."""
    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(Zones, "remove", lambda *_: None)
        killed.setattr(Zones, point, kill)
        with pytest.raises(KeyboardInterrupt):
            converged(primary, own(), own_zones=zones)
    for _ in range(2):
        converged(primary, own(), own_zones=zones)
        assert Zones(**zones).new_keys() == {OWN}
    (tmp_path / "keys.new").unlink()
    converged(primary, own(), own_zones=zones)
    assert Zones(**zones).new_keys() == set()


def test_key_of_a_zone_that_went_is_nothing_to_copy(primary: Served, zones: dict[str, Any], tmp_path: Path) -> None:
    converged(primary, own(), own_zones=zones)
    converged(primary, own(state="purged"), own_zones=zones)
    assert Zones(**zones).new_keys() == set() and not (tmp_path / "keys.new").exists()


def test_new_primary_begins_with_the_copy_that_it_had_as_a_secondary(
    primary: Served, zones: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / f"catalog/__catz___default_catalog.invalid_{OWN}.db").write_text(text(OWN) + 'hand IN TXT "by hand"\n')
    converged(primary, own(), own_zones=zones)
    assert primary.holds(f"hand.{OWN}", OWN) == {"TXT": {'"by hand"'}} and primary.holds(f"www.{OWN}", OWN)


def test_configuration_that_named_does_not_take_is_put_back(
    primary: Served, zones: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: list[str], **_: Any) -> str:
        if argv == ["named-checkconf"]:
            raise Refused("named-checkconf: broken", "mend it")
        return ""

    monkeypatch.setattr(nameserver_zones, "run", run)
    with pytest.raises(Refused, match="broken"):
        converged(primary, own(), own_zones=zones)
    assert (tmp_path / "websites.conf").read_text() == "" and not (tmp_path / f"db.{OWN}").exists()


class Killed(BaseException):
    """The end of a run that cleans nothing up."""


@pytest.mark.parametrize("command", ["reconfig", "reload"])
def test_zone_of_a_run_that_was_killed_before_named_was_told_is_served_by_the_next(
    primary: Served, zones: dict[str, Any], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    told, run = [], nameserver_zones.run

    def killed(argv: list[str], **_: Any) -> str:
        if command in argv:
            raise Killed
        return run(argv)

    with monkeypatch.context() as patch:
        patch.setattr(nameserver_zones, "run", killed)
        patch.setattr(Zones, "remove", lambda *_: None)
        with pytest.raises(Killed):
            converged(primary, own(), own_zones=zones)
    monkeypatch.setattr(nameserver_zones, "run", lambda argv, **_: told.extend(argv) or run(argv))
    plan = converged(primary, own(), own_zones=zones, check=True)
    assert not plan.refused and not {"reconfig", "reload"} & {*told}
    done = converged(primary, own(), own_zones=zones)
    told_of = Change(None, "configuration of the agencies' zones", "update")
    assert not done.refused and told_of in plan.changes and told_of in done.changes
    assert command in told and primary.holds(f"www.{OWN}", OWN)
    assert not converged(primary, own(), own_zones=zones).changes and told.count("reconfig") == 1


@pytest.mark.parametrize("state", ["present", "purged"])
def test_files_of_a_zone_that_a_killed_run_began_or_removed_go_with_the_next(
    primary: Served, zones: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Nothing that serves them would ever name them again."""
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    if state == "purged":
        converged(primary, website(), own(), own_zones=zones)
    with monkeypatch.context() as patch:
        if state == "present":
            patch.setattr(Zones, "configure", killed)
            patch.setattr(Zones, "remove", lambda *_: None)
        else:
            patch.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            converged(primary, website(), own(state=state), own_zones=zones)
    assert list(tmp_path.rglob(f"*{OWN}*"))
    assert not converged(primary, website(), own(state="purged"), own_zones=zones).refused
    assert not list(tmp_path.rglob(f"*{OWN}*")) and OWN not in (tmp_path / "websites.conf").read_text()
    assert not converged(primary, website(), own_zones=zones).changes


@pytest.mark.parametrize("name", ["serial", "update"])
def test_new_zone_goes_when_the_run_ends_in_another_error(
    primary: Served, zones: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(primary, name, full)
    with pytest.raises(OSError, match="No space"):
        converged(primary, own(), own_zones=zones)
    assert OWN not in primary.zones and members(zones) == [] and not list(tmp_path.rglob(f"*{OWN}*"))


def test_new_zone_that_named_does_not_load_is_its_websites_fault(
    primary: Served, zones: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nameserver_zones, "serial", lambda *_: None)
    outcome = converged(primary, own(), website(), own_zones=zones)
    assert [left.website for left in outcome.refused] == [OWN] and primary.holds(SITE)
    assert members(zones) == [] and not (tmp_path / f"db.{OWN}").exists()


def test_zone_is_refused_where_none_is_served(primary: Served) -> None:
    outcome = converged(primary, own(), website())
    assert [left.website for left in outcome.refused] == [OWN] and primary.holds(SITE)

"""Planning, batching and putting back of the name servers' records, without a server."""

from ipaddress import ip_network
from pathlib import Path

import dns.rdatatype
import dns.tsig
import pytest
from ansible.module_utils import nameserver_apply
from ansible.module_utils.nameserver import Edit, RRset, Zone, batches, plan
from ansible.module_utils.nameserver_claims import (
    Conflict,
    as_built,
    check_addresses,
    check_name,
    pointer,
    wishes,
    zone_of,
)
from ansible.module_utils.nameserver_wire import Primary, Unanswered, follows
from ansible.module_utils.transaction import Change, Refused

ZONE = "tarakankota.go.id"
REVERSE = "100.51.198.in-addr.arpa"
SERVERS = {
    f"ns1.{ZONE}": {"ipv4": "198.51.100.53", "ipv6": "2001:db8:77::53"},
    f"ns2.{ZONE}": {"ipv4": "198.51.100.54"},
}
SHARED = {"ipv4": "198.51.100.11", "ipv6": "2001:db8:77::11", "own": False}
OWN = {"ipv4": "198.51.100.101", "ipv6": None, "own": True}


def website(name: str = f"dinkes.{ZONE}", **other) -> dict:
    return {"name": name, "state": "present", "uid": 20001, "aliases": [], "address": SHARED} | other


def wanted(*websites: dict, hosts: dict | None = None, zones: tuple[str, ...] = (ZONE, REVERSE)):
    return wishes(list(websites), hosts or {}, SERVERS, list(zones))


def fresh(zone: str = ZONE) -> Zone:
    """A zone as the role makes it."""
    mark = {"TXT": RRset(300, frozenset(['"website=fleet"']))}
    content: Zone = {
        zone: {
            "NS": RRset(300, frozenset(f"{name}." for name in SERVERS)),
            "SOA": RRset(300, frozenset([f"ns1.{ZONE}."])),
        },
        f"_nameserver.{zone}": dict(mark),
    }
    if zone == ZONE:
        for name, address in SERVERS.items():
            content[name] = {
                kind: RRset(300, frozenset([value])) for kind, value in check_addresses(address, name).items()
            }
            content[f"_website.{name}"] = dict(mark)
    return content


def applied(found: Zone, edits: list[Edit]) -> Zone:
    """The zone after the edits; each must find what it pinned."""
    result = {name: dict(types) for name, types in found.items()}
    for edit in edits:
        assert not [name for name in edit.fresh if name in result]
        for name, kind in edit.before:
            assert result[name].pop(kind) == edit.before[name, kind]
        for (name, kind), rrset in edit.after.items():
            assert kind not in result.get(name, {})
            result.setdefault(name, {})[kind] = rrset
    return {name: types for name, types in result.items() if types}


def planned(found: Zone, *websites: dict, zone: str = ZONE, ttl: int = 300, **other):
    return plan(zone, found, wanted(*websites, **other).claims[zone], ttl, {str(w["uid"]): w["name"] for w in websites})


def with_records(*websites: dict) -> Zone:
    return applied(fresh(), planned(fresh(), *websites)[0])


def test_plan_is_empty_on_a_zone_as_the_role_makes_it() -> None:
    assert planned(fresh()) == ([], [])


def test_plan_creates_a_website_and_its_aliases_with_marks() -> None:
    edits, conflicts = planned(fresh(), website(aliases=[f"kesehatan.{ZONE}"]))
    assert not conflicts
    assert [(edit.change.subject, edit.change.action, edit.change.after) for edit in edits] == [
        (f"records {name}.{ZONE}", "create", ["A 198.51.100.11", "AAAA 2001:db8:77::11", 'TXT "website=20001"'])
        for name in ("dinkes", "kesehatan")
    ]
    assert edits[0].fresh == {f"dinkes.{ZONE}", f"_website.dinkes.{ZONE}"}


def test_plan_is_empty_after_it_was_applied() -> None:
    assert planned(with_records(website()), website()) == ([], [])


@pytest.mark.parametrize("state", ["archived", "purged"])
def test_plan_removes_records_when_the_website_goes(state: str) -> None:
    edits, _ = planned(with_records(website()), website(state=state))
    assert [edit.change[:3] for edit in edits] == [(f"dinkes.{ZONE}", f"records dinkes.{ZONE}", "remove")]
    assert applied(with_records(website()), edits) == fresh()


def test_plan_removes_records_of_a_website_that_nobody_names() -> None:
    edits, _ = planned(with_records(website()))
    assert applied(with_records(website()), edits) == fresh()


def test_plan_keeps_records_when_suspended() -> None:
    assert planned(with_records(website()), website(state="suspended")) == ([], [])


def test_plan_updates_only_what_differs_when_the_address_changes() -> None:
    edits, _ = planned(with_records(website()), website(address={**SHARED, "ipv6": None}))
    assert [edit.change.action for edit in edits] == ["update"]
    assert ("dinkes.tarakankota.go.id", "AAAA") in edits[0].before
    assert ("dinkes.tarakankota.go.id", "AAAA") not in edits[0].after


def test_plan_updates_every_record_when_the_time_to_live_changes() -> None:
    edits, _ = planned(with_records(website()), website(), ttl=60)
    after = applied(with_records(website()), edits)
    assert {rrset.ttl for types in after.values() for kind, rrset in types.items() if kind != "SOA"} == {60}


def test_plan_orders_additions_before_removals() -> None:
    edits, _ = planned(with_records(website()), website(f"aaa.{ZONE}", uid=20002))
    assert [edit.change.action for edit in edits] == ["create", "remove"]


def test_plan_adds_a_name_server_to_an_old_zone() -> None:
    found = fresh()
    found[ZONE]["NS"] = RRset(300, frozenset([f"ns1.{ZONE}."]))
    del found[f"ns2.{ZONE}"], found[f"_website.ns2.{ZONE}"]
    edits, _ = planned(found)
    assert [edit.change.subject for edit in edits] == [f"records ns2.{ZONE}", f"nameservers {ZONE}"]
    assert applied(found, edits) == fresh()


def test_plan_names_the_new_primary_when_it_changes() -> None:
    found = fresh()
    found[ZONE]["SOA"] = RRset(300, frozenset([f"ns2.{ZONE}."]))
    edits, _ = planned(found)
    assert [edit.change.subject for edit in edits] == [f"nameservers {ZONE}"]


FOREIGN = RRset(3600, frozenset(["192.0.2.1"]))


@pytest.mark.parametrize(
    "foreign",
    [
        {f"dinkes.{ZONE}": {"A": FOREIGN}},
        {f"dinkes.{ZONE}": {"MX": FOREIGN}},
        {f"dinkes.{ZONE}": {"CNAME": FOREIGN}},
        {
            f"dinkes.{ZONE}": {"CNAME": FOREIGN},
            f"_website.dinkes.{ZONE}": {"TXT": RRset(300, frozenset(['"website=20001"']))},
        },
        {f"dinkes.{ZONE}": {"NS": FOREIGN}},
        {f"dinkes.{ZONE}": {"DNAME": FOREIGN}},
        {f"_website.dinkes.{ZONE}": {"TXT": RRset(300, frozenset(['"hand-made"']))}},
        {f"_website.dinkes.{ZONE}": {"TXT": RRset(300, frozenset(['"website=20001"', '"hand-made"']))}},
    ],
)
def test_plan_gives_a_conflict_when_a_name_is_foreign(foreign: Zone) -> None:
    edits, conflicts = planned(fresh() | foreign, website())
    assert not edits
    assert [(conflict.website, conflict.subject) for conflict in conflicts] == [
        (f"dinkes.{ZONE}", f"records dinkes.{ZONE}")
    ]


def test_plan_gives_a_conflict_below_a_delegation() -> None:
    _, conflicts = planned(fresh() | {f"kes.{ZONE}": {"NS": FOREIGN}}, website(f"dinkes.kes.{ZONE}"))
    assert conflicts == [
        Conflict(
            f"dinkes.kes.{ZONE}",
            f"records dinkes.kes.{ZONE}",
            f"zone {ZONE}: kes.{ZONE} is delegated to other name servers",
        )
    ]


def test_plan_leaves_foreign_records_alone_beside_ours_and_elsewhere() -> None:
    foreign = {f"mail.{ZONE}": {"MX": FOREIGN}, f"_website.hand.{ZONE}": {"TXT": RRset(300, frozenset(['"x"']))}}
    found = with_records(website()) | foreign
    found[f"dinkes.{ZONE}"]["TXT"] = RRset(60, frozenset(['"v=spf1 -all"']))
    edits, conflicts = planned(found)
    assert not conflicts
    assert applied(found, edits) == fresh() | foreign | {f"dinkes.{ZONE}": {"TXT": found[f"dinkes.{ZONE}"]["TXT"]}}


def test_plan_mends_a_record_that_was_changed_by_hand() -> None:
    found = with_records(website())
    found[f"dinkes.{ZONE}"]["A"] = FOREIGN
    edits, _ = planned(found, website())
    assert applied(found, edits) == with_records(website())


def test_plan_serves_a_website_at_the_apex_beside_the_name_servers() -> None:
    edits, conflicts = planned(fresh(), website(ZONE))
    assert not conflicts
    assert applied(fresh(), edits)[ZONE].keys() == {"NS", "SOA", "A", "AAAA"}


def test_wishes_point_an_own_address_back_to_its_website() -> None:
    claims = wanted(website(address=OWN)).claims[REVERSE]
    assert claims[f"_website.101.{REVERSE}"].records == {"PTR": frozenset([f"dinkes.{ZONE}."])}


def test_wishes_point_a_shared_address_back_to_its_host() -> None:
    claims = wanted(website(), hosts={f"web1.{ZONE}": SHARED}).claims[REVERSE]
    assert claims[f"_website.11.{REVERSE}"][:3] == (None, "fleet", {"PTR": frozenset([f"web1.{ZONE}."])})


@pytest.mark.parametrize("zone", ["96-127.100.51.198.in-addr.arpa", "96/27.100.51.198.in-addr.arpa"])
def test_wishes_point_back_in_the_part_of_a_reverse_zone_that_the_provider_delegates(zone: str) -> None:
    """RFC 2317: the provider's zone leads each address to its last number in the delegated zone."""
    near, far = OWN | {"ipv4": "198.51.100.127"}, OWN | {"ipv4": "198.51.100.128"}
    found = wishes([website(address=near), website(f"jauh.{ZONE}", uid=20002, address=far)],
                   {f"web1.{ZONE}": {"ipv4": "198.51.100.96"}}, SERVERS, [ZONE, zone],
                   networks={zone: "198.51.100.96/27"})
    pointers = {mark: claim.records["PTR"] for mark, claim in found.claims[zone].items() if "PTR" in claim.records}
    assert pointers == {f"_website.127.{zone}": frozenset([f"dinkes.{ZONE}."]),
                        f"_website.96.{zone}": frozenset([f"web1.{ZONE}."])}
    assert found.outside == {f"jauh.{ZONE}": ["128.100.51.198.in-addr.arpa"]} and not found.conflicts


@pytest.mark.parametrize(
    ("value", "network", "name"),
    [("203.0.113.5", "203.0.112.0/23", "5.113.zone"), ("203.0.113.5", "203.0.113.5/32", "zone"),
     ("2001:db8::71", "2001:db8::/121", "1.7.zone"), ("203.0.113.5", "2001:db8::/121", "5.113.0.203.in-addr.arpa")],
)
def test_pointer_has_the_labels_that_its_network_leaves_open(value: str, network: str, name: str) -> None:
    assert pointer(value, {"zone": ip_network(network)}) == name


def test_as_built_tells_that_nobody_here_points_an_address_back() -> None:
    built = as_built(wanted(website(address=OWN), zones=(ZONE,)), {}, [ZONE])
    assert built[f"dinkes.{ZONE}"]["outside"] == [f"101.{REVERSE}"]


def test_wishes_refuse_a_servers_name_to_a_website() -> None:
    conflicts = wanted(website(f"ns1.{ZONE}")).conflicts
    assert [conflict.website for conflict in conflicts] == [f"ns1.{ZONE}"]


def test_wishes_give_a_name_to_one_website_only() -> None:
    conflicts = wanted(website(), website(f"lain.{ZONE}", uid=20002, aliases=[f"dinkes.{ZONE}"])).conflicts
    assert [(conflict.website, conflict.subject) for conflict in conflicts] == [
        (f"lain.{ZONE}", f"records dinkes.{ZONE}")
    ]


def test_as_built_tells_zone_names_records_serial_and_what_lies_outside() -> None:
    found = wanted(website(aliases=["dinkes.example.org"], address=OWN), website("dinas.example.org", uid=20002))
    assert as_built(found, {ZONE: 7}, [ZONE, REVERSE]) == {
        f"dinkes.{ZONE}": {
            "zone": ZONE,
            "serial": 7,
            "names": [f"dinkes.{ZONE}"],
            "outside": ["dinkes.example.org"],
            "records": [f"101.{REVERSE} PTR dinkes.{ZONE}.", f"dinkes.{ZONE} A 198.51.100.101"],
        },
        "dinas.example.org": {
            "zone": None,
            "serial": None,
            "names": [],
            "records": [],
            "outside": ["dinas.example.org"],
        },
    }


@pytest.mark.parametrize(
    "name",
    [
        "",
        "dinkes",
        f"Dinkes.{ZONE}",
        f"dinkes.{ZONE}.",
        f"_x.{ZONE}",
        f"-a.{ZONE}",
        f"a b.{ZONE}",
        f"*.{ZONE}",
        f"a\n.{ZONE}",
        f"dinkes.{ZONE}\n",
        f"a;.{ZONE}",
        f"{'a' * 64}.{ZONE}",
        ".".join(["a" * 60] * 4) + ".aa",
        f"{{{{ x }}}}.{ZONE}",
        None,
        7,
    ],
)
def test_name_is_refused_when_it_is_no_host_name(name: object) -> None:
    with pytest.raises(Refused):
        check_name(name, "a website")


@pytest.mark.parametrize(
    "address",
    [
        None,
        {},
        {"ipv4": None, "ipv6": None},
        {"ipv4": "198.51.100"},
        {"ipv4": "2001:db8::1"},
        {"ipv6": "::1\n"},
        {"ipv4": "198.51.100.11 TXT x"},
        {"ipv6": "fe80::1%eth0;"},
    ],
)
def test_address_is_refused_when_it_is_none(address: object) -> None:
    with pytest.raises(Refused):
        check_addresses(address, "a website")


@pytest.mark.parametrize("uid", ["20001", 0, -1, True, None, 2**31])
def test_uid_is_refused_when_it_is_no_unix_id(uid: object) -> None:
    found = wanted(website(uid=uid), website(f"lain.{ZONE}", uid=20002))
    assert [left.website for left in found.faults] == [f"dinkes.{ZONE}"]
    assert f"_website.lain.{ZONE}" in found.claims[ZONE] and f"_website.dinkes.{ZONE}" not in found.claims[ZONE]


def test_zone_is_found_by_whole_labels_and_the_longest() -> None:
    zones = [ZONE, f"kes.{ZONE}", REVERSE]
    assert zone_of(f"a.kes.{ZONE}", zones) == f"kes.{ZONE}"
    assert zone_of(f"a.xkes.{ZONE}", zones) == ZONE
    assert zone_of(f"x{ZONE}", zones) is None
    assert zone_of("5.0.20.192.in-addr.arpa", ["2.0.192.in-addr.arpa"]) is None


def test_batches_keep_the_order_and_fit_in_a_message() -> None:
    edits, _ = planned(fresh(), *(website(f"site{number}.{ZONE}", uid=20001 + number) for number in range(1000)))
    parts = batches(edits)
    assert [edit for part in parts for edit in part] == edits
    primary = primary_without_server()
    sizes = [len(primary.message(ZONE, part).to_wire(max_size=65535)) for part in parts]
    assert len(parts) > 1 and max(sizes) < 65_000


def primary_without_server() -> Primary:
    primary = Primary.__new__(Primary)
    key = dns.tsig.Key("websites-update", "c2VjcmV0", "hmac-sha256")
    primary.keyring = {key.name: key}
    return primary


def test_message_pins_what_was_read_and_adds_before_it_deletes() -> None:
    edits, _ = planned(with_records(website()), website(address={**SHARED, "ipv4": "198.51.100.12"}))
    message = primary_without_server().message(ZONE, edits)
    pinned = {
        (rrset.name.to_text(True), dns.rdatatype.to_text(rrset.rdtype)): len(rrset) for rrset in message.prerequisite
    }
    assert pinned == {(f"dinkes.{ZONE}", "A"): 1, (f"dinkes.{ZONE}", "AAAA"): 1, (f"_website.dinkes.{ZONE}", "TXT"): 1}
    assert [(rrset.deleting is not None, rrset[0].to_text()) for rrset in message.update] == [
        (False, "198.51.100.12"),
        (True, "198.51.100.11"),
    ]


SOA_LINE = f"{ZONE}.\t300\tIN\tSOA\tns1.{ZONE}. hostmaster.{ZONE}. 7 3600 600 86400 300"
CONTENT = f"""\
{ZONE}.\t300\tIN\tNS\tns1.{ZONE}.
{ZONE}.\t300\tIN\tNSEC\tdinkes.{ZONE}. NS SOA RRSIG NSEC
Dinkes.{ZONE}.\t300\tIN\tA\t198.51.100.11
dinkes.{ZONE}.\t300\tIN\tA\t198.51.100.12
dinkes.{ZONE}.\t300\tIN\tAAAA\t2001:DB8::1:0:0:11
dinkes.{ZONE}.\t60\tIN\tCAA\t0 ISSUE "letsencrypt.org"
_website.dinkes.{ZONE}.\t300\tIN\tTXT\t"website=20001 CAA"
text.{ZONE}.\t300\tIN\tTXT\t"v=spf1 a:mail\\;x" "caf\\195\\169"
odd.{ZONE}.\t300\tIN\tTYPE731\t\\# 2 ABCD
"""


def listed(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0) -> tuple[Zone, int] | None:
    """What a primary reads when dig prints this and ends so."""
    (folder / "out").write_text(text)
    (folder / "dig").write_text(f"#!/bin/sh\ncat {folder}/out\nexit {code}\n")
    (folder / "dig").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    primary = primary_without_server()
    primary.address, primary.key_file, primary.soa = "192.0.2.53", "/nowhere", {}
    return primary.listed(ZONE)


def test_zone_is_the_same_read_by_dig_or_by_dnspython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    primary = primary_without_server()
    primary.soa = {}
    expected = primary.parse(ZONE, f"{SOA_LINE}\n{CONTENT}")
    found = listed(tmp_path, monkeypatch, f"{SOA_LINE}\n{CONTENT}{SOA_LINE}\n")
    assert found == expected
    assert found is not None and found[1] == 7 and found[0][f"dinkes.{ZONE}"]["A"].values == {
        "198.51.100.11", "198.51.100.12"}
    assert "NSEC" not in found[0][ZONE]


@pytest.mark.parametrize(("text", "code"), [
    ("", 0),
    (f"{SOA_LINE}\n", 0),
    (f"{SOA_LINE}\n{CONTENT}", 0),
    ("; Transfer failed.\n", 0),
    (f"{SOA_LINE}\n{CONTENT};; Couldn't verify signature: tsig verify failure\n{SOA_LINE}\n", 0),
    (f"{SOA_LINE}\n{CONTENT}odd.{ZONE}. x IN A 192.0.2.1\n{SOA_LINE}\n", 0),
    (f"{SOA_LINE}\n{CONTENT}{SOA_LINE}\n", 9),
], ids=["nothing", "one record", "cut off", "refused", "forged", "not a number", "failed"])
def test_zone_is_not_taken_from_dig_where_it_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int
) -> None:
    assert listed(tmp_path, monkeypatch, text, code) is None


class Recorder:
    """A primary that keeps what it is told, and fails at one message."""

    def __init__(self, fail_at: int = -1, error: type[Refused] = Refused) -> None:
        self.told: list[tuple[str, list[Edit]]] = []
        self.fail_at, self.error = fail_at, error

    def update(self, zone: str, edits: list[Edit]) -> None:
        self.told.append((zone, edits))
        if len(self.told) - 1 == self.fail_at:
            raise self.error("it does not go", "mend it")

    def serial(self, zone: str) -> int:
        return 8


EDIT = Edit(Change(None, "records x", "create"), {}, {("x", "A"): RRset(300, frozenset(["192.0.2.1"]))}, frozenset("x"))


def test_apply_undoes_earlier_zones_when_a_later_one_is_refused() -> None:
    primary = Recorder(fail_at=1)
    with pytest.raises(Refused, match="it does not go; the records are as they were before"):
        nameserver_apply.apply(primary, {"a": [EDIT], "b": [EDIT]}, {}, 1)
    assert [(zone, bool(edits[0].after)) for zone, edits in primary.told] == [
        ("a", True),
        ("b", True),
        ("b", False),
        ("a", False),
    ]


def test_apply_undoes_all_when_the_secondaries_do_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameserver_apply, "follows", lambda *_: False)
    primary = Recorder()
    with pytest.raises(Refused, match="a on ns2; the records are as they were before"):
        nameserver_apply.apply(primary, {"a": [EDIT], "b": []}, {"ns2": ["192.0.2.1"]}, 0.2)
    assert [zone for zone, _ in primary.told] == ["a", "a"]


def test_apply_says_what_it_could_not_put_back() -> None:
    primary = Recorder(fail_at=1, error=Unanswered)
    with pytest.raises(Refused, match="the records are as they were before"):
        nameserver_apply.apply(primary, {"a": [EDIT], "b": [EDIT]}, {}, 1)
    gone = Recorder(fail_at=0)
    gone.update = lambda *_: (_ for _ in ()).throw(Unanswered("no answer", "mend it"))
    with pytest.raises(Refused, match=r"not put back: a \(no answer\)"):
        nameserver_apply.apply(gone, {"a": [EDIT]}, {}, 1)


def test_secondary_is_found_by_any_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameserver_apply, "follows", lambda address, *_: address == "2001:db8::2")
    nameserver_apply.await_secondaries({"a": 1}, {"ns2": ["192.0.2.1", "2001:db8::2"]}, 2)


def test_secondary_that_missed_a_notice_is_notified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(nameserver_apply, "REMIND", 0.01)
    monkeypatch.setattr(nameserver_apply, "run", told.append)
    monkeypatch.setattr(nameserver_apply, "follows", lambda _, zone, __: zone == "a" or len(told) > 1)
    nameserver_apply.await_secondaries({"a": 1, "b": 1}, {"ns2": ["192.0.2.1"]}, 5)
    assert told == [["rndc", "notify", "b"]] * 2


@pytest.mark.parametrize(("found", "expected"), [(8, True), (9, True), (7, False), (None, False), (2**32 - 1, False)])
def test_serial_is_compared_in_a_circle(monkeypatch: pytest.MonkeyPatch, found: int | None, expected: bool) -> None:
    monkeypatch.setattr("ansible.module_utils.nameserver_wire.serial", lambda *_: found)
    assert follows("192.0.2.1", "a", 8) is expected

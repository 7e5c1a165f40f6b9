"""DNS records of a request: what the RFCs forbid is refused before anybody signs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driver.desk import Desk
from sop_driver import desired, request, statement
from sop_driver.config import NamePolicy
from sop_driver.errors import Usage
from sop_driver.request import Request, zone_faults
from sop_driver.zone_records import quoted

POLICY = NamePolicy(domain="tarakankota.go.id")
SITE = "dinkes.tarakankota.go.id"
ZONE = "rsud-tarakan.go.id"
GOOD: list[dict[str, Any]] = [
    {"name": SITE, "type": "MX", "preference": "10", "target": f"surat.{SITE}"},
    {"name": SITE, "type": "TXT", "text": 'v=spf1 mx "x" \\ -all'},
    {"name": f"_dmarc.{SITE}", "type": "TXT", "text": "v=DMARC1; p=reject"},
    {"name": f"surat.{SITE}", "type": "A", "address": "198.51.100.77", "ttl": "3600"},
    {"name": f"surat.{SITE}", "type": "AAAA", "address": "2001:DB8:77::0077"},
    {"name": f"k1._domainkey.{SITE}", "type": "CNAME", "target": "k1._domainkey.example.net"},
    {"name": f"_sip._tcp.{SITE}", "type": "SRV", "priority": 0, "weight": 5, "port": 5060, "target": "sip.example.net"},
    {"name": SITE, "type": "CAA", "flags": "128", "tag": "issue", "content": "ca.example.net; account=1"},
    {"name": SITE, "type": "CAA", "tag": "iodef", "content": "mailto:admin@example.go.id"},
    {"name": SITE, "type": "CAA", "tag": "issuewild", "content": ";"},
]


def read(desk: Desk, *records: dict[str, Any], **fields: Any) -> Request:
    return request.read(desk.write(desk.form(records=list(records), **fields)), POLICY)


def test_good_records_reach_the_desired_state_as_zone_files_write_them(desk: Desk) -> None:
    keys = ("uid", "agenda", "request", "release_size", "database_host", "web_host", "created_by")
    row = desired.website(read(desk, *GOOD), {**dict.fromkeys(keys, 1), "address": {"own": False}}, None)
    assert [f"{r['name']} {r['ttl']} {r['type']} {r['value']}" for r in json.loads(json.dumps(row["records"]))] == [
        f"{SITE} None MX 10 surat.{SITE}.",
        f'{SITE} None TXT "v=spf1 mx \\"x\\" \\\\ -all"',
        f'_dmarc.{SITE} None TXT "v=DMARC1; p=reject"',
        f"surat.{SITE} 3600 A 198.51.100.77",
        f"surat.{SITE} None AAAA 2001:db8:77::77",
        f"k1._domainkey.{SITE} None CNAME k1._domainkey.example.net.",
        f"_sip._tcp.{SITE} None SRV 0 5 5060 sip.example.net.",
        f'{SITE} None CAA 128 issue "ca.example.net; account=1"',
        f'{SITE} None CAA 0 iodef "mailto:admin@example.go.id"',
        f'{SITE} None CAA 0 issuewild ";"',
    ]


def test_long_text_is_cut_into_strings_of_255_octets() -> None:
    assert quoted("a" * 600) == f'"{"a" * 255}" "{"a" * 255}" "{"a" * 90}"'


TXT = {"type": "TXT", "text": "x"}
A = {"type": "A", "address": "198.51.100.77"}
MX = {"name": SITE, "type": "MX", "preference": 10}
SRV = {"type": "SRV", "priority": 0, "weight": 0, "port": 443, "target": "sip.example.net"}
ALIAS = {"type": "CNAME", "target": "b.example.net"}
CAA = {"name": SITE, "type": "CAA", "tag": "issue", "content": "ca.example.net"}


@pytest.mark.parametrize(
    ("fault", "records"),
    [
        ("lies neither below", [{"name": "lain.tarakankota.go.id", **TXT}]),
        ("lies neither below", [{"name": f"x{SITE}", **TXT}]),
        ("lies neither below", [{"name": "tarakankota.go.id", **TXT}]),
        ("lies neither below", [{"name": f"mail.{ZONE}", **TXT}]),
        ("no full name", [{"name": f"*.{SITE}", **TXT}]),
        ("no full name", [{"name": f"Surat.{SITE}", **TXT}]),
        ("no full name", [{"name": f"a\n.{SITE}", **TXT}]),
        ("no full name", [{"name": f"{'a' * 64}.{SITE}", **TXT}]),
        ("whose a name is", [{"name": f"_website.{SITE}", "type": "TXT", "text": "website=20001"}]),
        ("has its addresses from the servers", [{"name": SITE, **A}]),
        ("underscore", [{"name": f"_a.{SITE}", **A}]),
        ("the public can reach", [{"name": f"a.{SITE}", "type": "A", "address": "10.0.0.1"}]),
        ("the public can reach", [{"name": f"a.{SITE}", "type": "AAAA", "address": "::ffff:198.51.100.1"}]),
        ("the public can reach", [{"name": f"a.{SITE}", "type": "AAAA", "address": "fe80::1"}]),
        ("IPv4", [{"name": f"a.{SITE}", "type": "A", "address": "2001:db8::1"}]),
        ("suffers no other", [{"name": SITE, "type": "CNAME", "target": "a.example.net"}]),
        ("suffers no other", [{"name": f"a.{SITE}", "type": "CNAME", "target": "b.net"}, {"name": f"a.{SITE}", **TXT}]),
        ("suffers no other", [{"name": f"a.{SITE}", "type": "CNAME", "target": f"{x}.net"} for x in "bc"]),
        ("points at itself", [{"name": f"a.{SITE}", "type": "CNAME", "target": f"a.{SITE}"}]),
        ("is an address", [{**MX, "target": "198.51.100.7"}]),
        ("is an address", [{**MX, "target": "2001:db8::7"}]),
        ("no full host name", [{**MX, "target": "surat"}]),
        ("no full host name", [{**MX, "target": "a_b.example.net"}]),
        ("65535", [{**MX, "preference": 70000, "target": "mx.example.net"}]),
        ("has no address", [{**MX, "target": f"surat.{SITE}"}]),
        ("is a CNAME record", [{**MX, "target": f"a.{SITE}"}, {**ALIAS, "name": f"a.{SITE}"}]),
        ("no service, beside another", [{**MX, "target": "."}, {**MX, "target": "mx.example.net"}]),
        ("is there twice", [{**MX, "target": "mx.example.net"}, {**MX, "target": "mx.example.net."}]),
        ("_service._proto", [{"name": f"sip.{SITE}", **SRV}]),
        ("_service._proto", [{"name": f"_sip._http.{SITE}", **SRV}]),
        ("printable ASCII", [{"name": SITE, "type": "TXT", "text": "a\u202eb"}]),
        ("2000", [{"name": SITE, "type": "TXT", "text": "x" * 2001}]),
        ("4096 together are the most", [{"name": f"a{n}.{SITE}", "type": "TXT", "text": "x" * 2000} for n in range(3)]),
        ("30 of 4096", [{"name": f"a{n}.{SITE}", **TXT} for n in range(31)]),
        ("several ttl", [{"name": SITE, **TXT, "ttl": 60}, {"name": SITE, "type": "TXT", "text": "y", "ttl": 61}]),
        ("equal to 60", [{"name": SITE, **TXT, "ttl": 59}]),
        ("equal to 86400", [{"name": SITE, **TXT, "ttl": 86401}]),
        ("flags are 0 or 128", [{**CAA, "flags": 1}]),
        ("issue takes", [{**CAA, "content": "https://ca.example.net"}]),
        ("issue takes", [{**CAA, "content": "ca.example.net; a b"}]),
        ("iodef takes", [{**CAA, "tag": "iodef", "content": "ca.example.net"}]),
        ("'issue', 'issuewild'", [{**CAA, "tag": "allow"}]),
        ("does not match any of the expected tags", [{"name": SITE, "type": "NS", "target": "ns.example.net"}]),
    ],
)
def test_read_refuses_records_that_break_a_rule(desk: Desk, fault: str, records: list[dict[str, Any]]) -> None:
    with pytest.raises(Usage) as error:
        read(desk, *records)
    what, where, mend = str(error.value).splitlines()
    assert fault in what and "records" in what and where.startswith("where: ") and mend.startswith("mend: ")


def test_refusal_names_the_line_of_the_record(desk: Desk) -> None:
    path = desk.write(desk.form(records=[{"name": SITE, **TXT}, {"name": f"*.{SITE}", **TXT}]))
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "'*" in text)
    with pytest.raises(Usage, match=rf"records\.1\S* \(line {line}\)"):
        request.read(path, POLICY)


def test_zone_of_the_agency_opens_its_names(desk: Desk) -> None:
    found = read(desk, {**MX, "name": ZONE, "target": "mx.example.net"}, name=ZONE, zone=ZONE, aliases=[f"www.{ZONE}"])
    assert (found.zone, found.names) == (ZONE, [ZONE, f"www.{ZONE}"])


@pytest.mark.parametrize(
    ("zone", "fault"),
    [
        ("go.id", "directly below"),
        ("a.b.go.id", "directly below"),
        ("example.com", "directly below"),
        ("tarakankota.go.id", "the government's own domain"),
        ("a_b.go.id", "underscore"),
        ("RSUD.go.id", "only a-z"),
        ("rsud.go.id.", "directly below"),
        ("r\u0455ud.go.id", "directly below"),
        (f"{'a' * 64}.go.id", "63"),
    ],
)
def test_zone_faults_says_why(zone: str, fault: str) -> None:
    assert any(fault in found for found in zone_faults(zone, POLICY)), zone_faults(zone, POLICY)


def test_read_refuses_a_zone_that_no_name_lies_in_and_names_of_other_zones(desk: Desk) -> None:
    with pytest.raises(Usage, match=f"no name of the website lies in its zone {ZONE}"):
        read(desk, zone=ZONE)
    with pytest.raises(Usage, match="does not lie below"):
        read(desk, name=f"www.{ZONE}")
    with pytest.raises(Usage, match="the top of its zone"):
        read(desk, {"name": ZONE, "type": "CNAME", "target": "a.example.net"}, name=f"www.{ZONE}", zone=ZONE)


def test_digest_binds_records_and_zone_and_stays_without_them(desk: Desk) -> None:
    plain = read(desk)
    fields = {key: value for key, value in plain.model_dump(mode="json").items() if key not in statement.LATER}
    assert plain.digest == desired.hashlib.sha256(desired.canonical(fields).encode()).hexdigest()
    assert len({plain.digest, read(desk, GOOD[1]).digest, read(desk, GOOD[2]).digest}) == 3

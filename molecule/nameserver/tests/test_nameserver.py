"""What a name server of the fleet must be, seen on the server itself; both roles, told apart by its configuration."""

import re

import pytest

UPDATE_KEY = "/etc/bind/keys/websites-update.key"
TRANSFER_KEY = "/etc/bind/keys/websites-transfer.key"
ZONE = "tarakankota.go.id"
OWN = "rsud-tarakan.go.id"
PART = "0/27.113.0.203.in-addr.arpa"
REVERSE = ("100.51.198.in-addr.arpa", "0.0.0.0.7.7.0.0.8.b.d.0.1.0.0.2.ip6.arpa", PART)


@pytest.fixture
def configuration(host):
    return host.file("/etc/bind/named.conf").content_string


@pytest.fixture
def inside(configuration):
    """The address at which others ask this server."""
    return re.search(r"listen-on \{ 127\.0\.0\.1; ([0-9.]+); \}", configuration).group(1)


@pytest.fixture
def primary(configuration):
    return "type primary;" in configuration


@pytest.fixture
def peer(configuration, inside):
    """The other server's address."""
    exempt = re.search(r"exempt-clients \{ 127\.0\.0\.1; ::1; ([^}]*) \};", configuration).group(1).split("; ")
    return next(address for address in exempt if ":" not in address and address != inside)


def validated(host, address, zone, *question):
    """What delv says about an answer, with the zone's own key as the only one that is trusted."""
    key = next(line for line in ask(host, "127.0.0.1", zone, "DNSKEY") if line.startswith("257 "))
    flags, protocol, algorithm, *data = key.split()
    anchor = f'trust-anchors {{ "{zone}" static-key {flags} {protocol} {algorithm} "{"".join(data)}"; }};'
    host.check_output(f"echo '{anchor}' > /root/anchor")
    return host.run(f"delv @{address} -a /root/anchor +root={zone} {' '.join(question)}").stdout


def ask(host, address, *question):
    return host.check_output(f"dig +short +tries=2 @{address} {' '.join(question)}").splitlines()


def status(host, address, *question):
    return re.search(r"status: (\w+)", host.check_output(f"dig +tries=2 @{address} {' '.join(question)}")).group(1)


def test_service_is_there_after_a_reboot(host):
    """A name server that stays down after a power cut takes every website with it."""
    named = host.service("named")
    assert named.is_running and named.is_enabled


def test_configuration_starts_anew(host):
    """A reload forgives what a start does not: the zones must load from the files as they are."""
    host.check_output("named-checkconf -z /etc/bind/named.conf")


def test_server_listens_on_its_own_addresses_only(host, configuration, inside):
    """An address that a server gets later must not open the port by itself."""
    inside6 = f"[{re.search(r'listen-on-v6 { ::1; ([0-9a-f:]+); }', configuration).group(1)}]"
    heard = set(re.findall(r"\s(\S+):53\s", host.check_output("ss -Hlntu sport = :53")))
    assert heard - {"127.0.0.1", "[::1]"} == {inside, inside6}


def test_recursion_is_refused(host, inside):
    """An open resolver is a weapon for attacks on others."""
    assert status(host, inside, "example.org", "A") == "REFUSED"


def test_version_is_not_told(host, inside):
    """Attackers look up weaknesses by version."""
    assert status(host, inside, "CH", "TXT", "version.bind") in {"REFUSED", "NOERROR"}
    assert ask(host, inside, "CH", "TXT", "version.bind") == []


@pytest.mark.parametrize("zone", [ZONE, *REVERSE])
def test_zone_is_served_with_authority(host, inside, zone):
    """A secondary that lost its zone answers, too, but without authority."""
    assert " aa" in host.check_output(f"dig @{inside} {zone} SOA")


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("dinkes", ["198.51.100.11", "2001:db8:77::11"]),
        ("kesehatan", ["198.51.100.11", "2001:db8:77::11"]),
        ("web1", ["198.51.100.11", "2001:db8:77::11"]),
        ("gateway1", ["198.51.100.2"]),
        ("ns2", ["198.51.100.54", "2001:db8:77::54"]),
    ],
)
def test_name_has_its_addresses(host, inside, name, addresses):
    """Visitors of both address families must find websites and servers."""
    assert ask(host, inside, f"{name}.{ZONE}", "A", f"{name}.{ZONE}", "AAAA") == addresses


def test_suspended_website_keeps_its_records(host, inside):
    """Visitors of a suspended website shall see why, and not an unknown name."""
    assert ask(host, inside, f"disdik.{ZONE}", "A") == ["198.51.100.101"]


def test_archived_website_has_no_name(host, inside):
    """A name that points to an address given up is open to whoever gets the address."""
    assert status(host, inside, f"lama.{ZONE}", "A") == "NXDOMAIN"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("198.51.100.101", "disdik"),
        ("2001:db8:77::101", "disdik"),
        ("198.51.100.11", "web1"),
        ("198.51.100.53", "ns1"),
    ],
)
def test_address_points_back_to_its_owner(host, inside, address, name):
    """Address and name must agree, for a website's own address and for a server's."""
    assert ask(host, inside, "-x", address) == [f"{name}.{ZONE}."]


def test_address_points_back_in_the_part_of_a_zone_that_its_provider_delegates(host, inside, peer):
    """A small network has no reverse zone of its own; the provider's leads each address to a name in this part."""
    assert ask(host, inside, f"5.{PART}", "PTR") == [f"gateway2.{ZONE}."]
    assert "; fully validated" in validated(host, peer, PART, f"5.{PART}", "PTR")


@pytest.mark.parametrize(
    ("name", "kind", "value"), [("mail", "MX", "10 mx.example.net."), ("dinkes", "TXT", '"v=spf1 -all"')]
)
def test_record_made_by_hand_is_left_alone(host, inside, name, kind, value):
    """Administrators keep records of their own, at our names too."""
    assert ask(host, inside, f"{name}.{ZONE}", kind) == [value]


def test_record_of_ours_is_marked(host, inside):
    """Only what is marked may ever be changed or removed."""
    assert ask(host, inside, f"_website.kesehatan.{ZONE}", "TXT") == ['"website=20001 CAA"']


def test_zone_is_not_given_to_strangers(host, inside):
    """The list of all names tells what there is to attack."""
    assert "Transfer failed" in host.run(f"dig AXFR {ZONE} @{inside}").stdout


def test_zone_is_given_under_the_transfer_key(host, inside):
    """Secondaries hold this key and nothing else."""
    assert f"dinkes.{ZONE}." in host.check_output(f"dig AXFR {ZONE} @{inside} -k {TRANSFER_KEY}")


def test_secondary_has_the_primarys_serial(host, configuration, primary):
    """Two servers with two truths send visitors to two places."""
    other = "127.0.0.1" if primary else re.search(r"primaries \{ ([0-9.]+) ", configuration).group(1)
    assert ask(host, other, ZONE, "SOA") == ask(host, "127.0.0.1", ZONE, "SOA")


@pytest.mark.parametrize("key", [TRANSFER_KEY, UPDATE_KEY])
def test_key_is_read_by_bind_only(host, primary, key):
    """Whoever reads the key writes the zone."""
    file = host.file(key)
    if file.exists or primary or key == TRANSFER_KEY:
        assert (file.user, file.group, file.mode) == ("root", "bind", 0o640)


def test_update_key_is_worth_nothing_over_the_network(host, inside):
    """A stolen key alone must not change a record."""
    told = f"server {inside}\nupdate add stolen.{ZONE} 60 A 192.0.2.1\nsend\n"
    done = host.run(f"test -e {UPDATE_KEY} && printf %s '{told}' | nsupdate -k {UPDATE_KEY}")
    assert done.rc != 0
    assert status(host, inside, f"stolen.{ZONE}", "A") == "NXDOMAIN"


@pytest.mark.parametrize("zone", [ZONE, *REVERSE])
def test_zone_is_validated_by_its_key_on_both_servers(host, inside, peer, zone):
    """A resolver that validates takes an answer that does not match the key for no answer at all."""
    for address in (inside, peer):
        assert "; fully validated" in validated(host, address, zone, zone, "NS")


def test_record_made_by_update_is_signed(host, inside, peer):
    """Signing is of no use where only what was there in the beginning is signed."""
    for address in (inside, peer):
        assert "; fully validated" in validated(host, address, ZONE, f"dinkes.{ZONE}", "AAAA")


def test_missing_name_is_denied_with_a_proof_and_without_a_neighbour(host, inside):
    """A denial must not be forged, and must not tell the next name that there is."""
    said = validated(host, inside, ZONE, f"tidakada.{ZONE}", "A")
    assert "; negative response, fully validated" in said
    assert "NSEC3" in said and f"dinkes.{ZONE}" not in said


def test_forged_key_is_not_taken(host, inside):
    """The other tests would be worth nothing if delv took any answer."""
    host.check_output(f"""echo 'trust-anchors {{ "{ZONE}" static-ds 1 13 2 "{"00" * 32}"; }};' > /root/forged""")
    said = host.run(f"delv @{inside} -a /root/forged +root={ZONE} {ZONE} SOA")
    assert "fully validated" not in said.stdout + said.stderr


@pytest.mark.parametrize("zone", [ZONE, *REVERSE])
def test_signing_key_is_the_same_on_both_servers(host, zone):
    """A server that takes the primary's place must go on with the key that the parent knows."""
    folder = "/var/lib/bind/keys"
    keys = host.check_output(f"ls {folder}/K{zone.replace('/', '%2F')}.+013+*.private").splitlines()
    assert len(keys) == 1
    file = host.file(keys[0])
    assert (file.user, file.group, file.mode, host.file(folder).mode) == ("bind", "bind", 0o600, 0o700)
    data = host.check_output(f"cat {keys[0].removesuffix('.private')}.key").split("DNSKEY")[-1].split()
    assert " ".join(ask(host, "127.0.0.1", zone, "DNSKEY")).split()[:3] == data[:3]
    assert "".join("".join(ask(host, "127.0.0.1", zone, "DNSKEY")).split()[3:]) == "".join(data[3:])


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        (f"dinkes.{ZONE}", "MX", [f"10 surat.dinkes.{ZONE}."]),
        (f"dinkes.{ZONE}", "CAA", ['0 iodef "mailto:admin@example.go.id"', '0 issue "ca.example.net"']),
        (f"kesehatan.{ZONE}", "CAA", ['0 issue "ca.example.net"']),
        (f"surat.dinkes.{ZONE}", "A", ["198.51.100.77"]),
        (f"surat.dinkes.{ZONE}", "AAAA", ["2001:db8:77::77"]),
        (f"_dmarc.dinkes.{ZONE}", "TXT", ['"v=DMARC1; p=reject"']),
        (f"panjang.dinkes.{ZONE}", "TXT", [f'"{"a" * 255}" "{"b" * 45}"']),
        (f"k1._domainkey.dinkes.{ZONE}", "CNAME", ["k1._domainkey.example.net."]),
        (f"_sip._tcp.dinkes.{ZONE}", "SRV", ["0 5 5060 sip.example.net."]),
        (OWN, "MX", ["10 mx.example.net."]),
        (f"www.{OWN}", "AAAA", ["2001:db8:77::11"]),
    ],
)
def test_record_that_an_agency_asked_for_is_served(host, inside, name, kind, values):
    """Mail, calls and certificates of an agency depend on them as its website does on its address."""
    assert sorted(ask(host, inside, name, kind)) == values


def test_zone_of_an_agency_is_served_and_signed_on_both_servers(host, inside, peer):
    """The secondary learns of it by the catalog alone, and the new primary has it from the time as a secondary."""
    for address in (inside, peer):
        assert " aa" in host.check_output(f"dig @{address} {OWN} SOA")
        assert "; fully validated" in validated(host, address, OWN, f"www.{OWN}", "A")


def test_catalog_is_nobodys_to_read(host, peer):
    """It lists every agency's zone; only the server itself and who holds the transfer key may ask."""
    assert status(host, peer, "version.catalog.invalid", "TXT") == "REFUSED"


def test_website_that_meets_somebody_elses_record_is_left_out(host, inside):
    """One bad website must block no other, and must take nothing from anybody."""
    assert ask(host, inside, f"buruk.{ZONE}", "A") == ["192.0.2.7"]
    assert status(host, inside, f"lain.{ZONE}", "A") == "NXDOMAIN"


def test_server_answers_over_ipv6_as_over_ipv4(host, configuration, inside):
    """A visitor may have only the one or the other."""
    inside6 = re.search(r"listen-on-v6 { ::1; ([0-9a-f:]+); }", configuration).group(1)
    question = (f"dinkes.{ZONE}", "A", f"dinkes.{ZONE}", "AAAA", "-x", "2001:db8:77::101")
    assert ask(host, inside6, *question) == ask(host, inside, *question) != []

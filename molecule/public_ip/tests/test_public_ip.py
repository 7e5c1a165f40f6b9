"""What a visitor and the servers reach through the gateway, and from which address they seem to come."""

import os
from pathlib import Path

import pytest
from ruleset import plain, tables
from testinfra.host import Host

HERE = Path(__file__).parent
VISITOR = {4: "198.51.100.200", 6: "2001:db8:77::200"}
GATEWAY_INSIDE = {4: "10.89.77.2", 6: "fd00:89:77::2"}
GATEWAY_PUBLIC = {4: "198.51.100.2", 6: "2001:db8:77::2"}
SHARED = {4: "198.51.100.11", 6: "2001:db8:77::11"}
OWN = {4: "198.51.100.101", 6: "2001:db8:77::101"}
NAMESERVER = {4: "198.51.100.53", 6: "2001:db8:77::53"}

both = pytest.mark.parametrize("version", [4, 6])


def ask(host: Host, caller: str, address: str, port: int, kind: str = "tcp") -> str:
    """Who answered, and which address it saw; empty where nobody answers."""
    return host.run(f"ip netns exec {caller} python3 /usr/local/lib/ask.py {kind} {address} {port}").stdout.strip()


@both
@pytest.mark.parametrize("port", [80, 443])
def test_visitor_reaches_the_web_host_at_its_shared_address(host: Host, version: int, port: int) -> None:
    """The web host must see the visitor's own address, for its logs and for its blocking."""
    assert ask(host, "visitor", SHARED[version], port) == f"web1 {VISITOR[version]}"


@both
def test_visitor_reaches_a_website_at_its_own_address(host: Host, version: int) -> None:
    """An address of its own leads to the website's web host, wherever it lies."""
    assert ask(host, "visitor", OWN[version], 80) == f"web2 {VISITOR[version]}"


@both
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_visitor_reaches_the_name_server(host: Host, version: int, kind: str) -> None:
    """DNS needs both transports: long answers and transfers come over tcp."""
    assert ask(host, "visitor", NAMESERVER[version], 53, kind) == f"ns1 {VISITOR[version]}"


@both
@pytest.mark.parametrize("caller", ["web1", "web2"])
def test_server_reaches_a_website_at_its_public_address(host: Host, version: int, caller: str) -> None:
    """A website that calls itself or its neighbour by name (WordPress's cron does) must get an answer."""
    assert ask(host, caller, SHARED[version], 80) == f"web1 {GATEWAY_INSIDE[version]}"


@both
def test_server_reaches_the_outside(host: Host, version: int) -> None:
    """Servers fetch packages and certificates from the outside, by the gateway's own address."""
    assert ask(host, "web1", VISITOR[version], 80) == f"visitor {GATEWAY_PUBLIC[version]}"


@both
def test_gateway_reaches_a_website_at_its_public_address(host: Host, version: int) -> None:
    """An administrator on the gateway must see what a visitor sees."""
    assert host.check_output(f"python3 /usr/local/lib/ask.py tcp {OWN[version]} 80").startswith("web2 ")


@both
def test_other_port_of_a_leased_address_is_closed(host: Host, version: int) -> None:
    """SSH of a web host must not be reachable from the public side by its leased address."""
    assert ask(host, "visitor", SHARED[version], 22) == ""


@pytest.mark.parametrize("address", ["10.89.77.11", "fd00:89:77::11"])
def test_visitor_who_routes_to_the_servers_is_stopped(host: Host, address: str) -> None:
    """A neighbour on the public side can name the gateway as the way inside; only leased addresses lead there."""
    via = GATEWAY_PUBLIC[6 if ":" in address else 4]
    host.check_output(f"ip -n visitor route replace {address} via {via}")
    assert ask(host, "visitor", address, 80) == ""


def test_archived_website_has_no_lease(host: Host) -> None:
    """An address that nobody answers at must be free for the next website."""
    assert "198.51.100.102" not in host.check_output("ip address show dev pub0")


def test_leased_ipv6_address_is_not_the_gateway_s_own_source(host: Host) -> None:
    """The gateway's own connections must not look like an agency's website."""
    for line in host.check_output("ip -6 -oneline address show dev pub0 scope global").splitlines():
        assert "2001:db8:77::2/64" in line or "deprecated" in line


def test_ruleset_is_the_golden_one(host: Host) -> None:
    """A rule that nobody wrote down is a hole; so every table is compared, the same on both releases."""
    listing, golden = host.check_output("nft -s list ruleset"), HERE / "golden.nft"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(plain(listing) + "\n")
    assert tables(listing) == tables(golden.read_text())


def test_forwarding_lasts_over_a_restart(host: Host) -> None:
    """A gateway that does not forward after a power cut takes every website off the net."""
    assert host.file("/etc/sysctl.d/60-websites-gateway.conf").contains("net.ipv4.ip_forward = 1")


@pytest.mark.parametrize("unit", ["websites-nat.service", "websites-addresses.service"])
def test_unit_restores_at_boot(host: Host, unit: str) -> None:
    """Addresses and translation live in the kernel only."""
    assert host.service(unit).is_enabled

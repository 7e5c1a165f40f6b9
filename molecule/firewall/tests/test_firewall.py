"""What is open, closed and kept on a server with the firewall."""

import json
import socket
from pathlib import Path

import pytest
from ruleset import tables
from testinfra.host import Host

HERE = Path(__file__).parent


def opens(address: str, port: int) -> bool:
    """Whether a new connection from this machine gets through."""
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except TimeoutError:
        return False


@pytest.fixture(params=["inet", "inet6"])
def address(host: Host, request: pytest.FixtureRequest) -> str:
    """The server's address on its network, of both families: rules for one of them are half a firewall."""
    (link,) = json.loads(host.check_output("ip -json address show dev eth0 scope global"))
    return next(found["local"] for found in link["addr_info"] if found["family"] == request.param)


def test_ruleset_is_the_golden_one(host: Host) -> None:
    """A rule that nobody wrote down is a hole; so every table is compared, the same on both releases."""
    assert tables(host.check_output("nft -s list ruleset")) == tables((HERE / "golden.nft").read_text())


def test_management_reaches_ssh(address: str) -> None:
    """Administrators must always get in."""
    assert opens(address, 22)


def test_declared_port_is_open(address: str) -> None:
    """A service that declared its port must be reachable."""
    assert opens(address, 80)


def test_port_declared_for_others_is_closed_to_us(address: str) -> None:
    """A database answers its web hosts and nobody else."""
    assert not opens(address, 5432)


def test_undeclared_port_is_closed(host: Host, address: str) -> None:
    """What somebody starts on a server is not on the network until a role declares it."""
    assert host.socket("tcp://:::8081").is_listening
    assert not opens(address, 8081)


def opened_as(host: Host, target: str, *users: int) -> list[str]:
    """How a connection ends that a program of each user opens on the server: opened, refused, or in another way."""
    program = ("import socket, sys\n"
               "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('opened')\n"
               "except ConnectionRefusedError: print('refused')\nexcept OSError as error: print(repr(error))")
    command = "for user in %s; do setpriv --reuid $user --clear-groups python3 -c %s %s %s; done"
    numbers = " ".join(map(str, users))
    return host.check_output(command.replace("%s", numbers, 1), program, *target.rsplit("/", 1)).splitlines()


@pytest.mark.parametrize("target", ["198.51.100.66/80", "2001:db8:77::66/80", "192.0.2.21/5432", "2001:db8:1::21/5432"])
def test_confined_user_opens_what_is_declared(host: Host, target: str) -> None:
    """A website must reach its database, and what the agency allows of the public internet."""
    assert opened_as(host, target, 20000, 59999) == ["opened"] * 2


@pytest.mark.parametrize("target", [
    "198.51.100.66/8081", "198.51.100.66/5432", "192.0.2.21/80", "127.0.0.1/80", "2001:db8:77::66/8081",
    "2001:db8:77::66/5432", "2001:db8:1::21/80", "::1/80", "192.0.2.21/22", "2001:db8:1::21/22"])
def test_confined_user_opens_nothing_else(host: Host, target: str) -> None:
    """Who has taken a website over must not go on from there; that others get through shows that the rule did it."""
    assert opened_as(host, target, 20000, 59999) == ["refused"] * 2
    assert opened_as(host, target, 0, 19999, 60000) == ["opened"] * 3


def test_confined_user_reaches_no_server_of_the_network(host: Host, address: str) -> None:
    """The servers trust one another's network for what each declared."""
    assert opened_as(host, f"{address}/22", 0, 20000) == ["opened", "refused"]


def test_confined_user_sends_no_datagram(host: Host) -> None:
    """Names and data go out by UDP as well."""
    program = "import socket; socket.socket(socket.{}, socket.SOCK_DGRAM).sendto(b'x', ('{}', 53))"
    for family, target in (("AF_INET", "192.0.2.21"), ("AF_INET6", "2001:db8:1::21")):
        command = "setpriv --reuid %s --clear-groups python3 -c %s"
        done = host.run(command, "20000", program.format(family, target))
        assert done.rc != 0
        assert "PermissionError" in done.stderr
        assert host.run(command, "60000", program.format(family, target)).rc == 0


def test_closed_ports_are_counted(host: Host) -> None:
    """An administrator who looks for a lost connection must see that it was dropped."""
    assert "counter packets" in host.check_output("nft list chain inet websites_firewall input")


def test_no_timer_is_left(host: Host) -> None:
    """A timer that outlives its run would take the confirmed rules away."""
    assert host.check_output("systemctl list-units --all --plain --no-legend 'websites-firewall-revert*'") == ""


def test_saved_rules_are_the_loaded_ones(host: Host) -> None:
    """After a restart the server must be closed as before it."""
    saved = host.file("/etc/websites/firewall.nft").content_string
    comment = next(line.strip() for line in saved.splitlines() if "sha256" in line)
    assert comment in host.check_output("nft list table inet websites_firewall")


def test_rules_are_loaded_before_the_network(host: Host) -> None:
    """Between network and rules nothing must be open."""
    assert "network-pre.target" in host.check_output("systemctl show -p Before websites-firewall.service")
    assert host.service("websites-firewall.service").is_enabled


def test_private_state_is_root_s(host: Host) -> None:
    """The table that a failed change restores must not be anybody's to write."""
    assert host.file("/var/lib/websites/firewall").mode == 0o700

"""What is open, closed and kept on a server with the firewall."""

import json
import socket
from pathlib import Path

import pytest
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
    """A rule that nobody wrote down is a hole; so the whole table is compared, the same on both releases."""
    assert host.check_output("nft -s list table inet websites_firewall").split() == (
        HERE / "golden.nft").read_text().split()


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

"""The firewall of every server of the fleet, as its kernel holds it, against the golden files."""

import re
from pathlib import Path

import lab
import pytest

GOLDEN = Path(__file__).with_name("golden")
GROUPS = {"gateway": "gateway", "web": "web", "database": "database", "nameservers": "nameserver", "backup": "backup"}
SERVERS = [(host, kind) for group, kind in GROUPS.items() for host in lab.FLEET[group]]


def comparable(ruleset: str) -> list[str]:
    """A table without the sets of the server's own resolvers, and without the hash that goes with them."""
    text = re.sub(r"set apache_egress_[12]_ipv[46] \{.*?\n\t\}", "", ruleset, flags=re.DOTALL)
    return [line.strip() for line in text.splitlines()
            if line.strip() and "sha256" not in line and not re.search("@apache_egress_[12]_", line)]


@pytest.mark.parametrize(("host", "kind"), SERVERS)
def test_ruleset_is_the_golden_one_of_its_kind(host: str, kind: str) -> None:
    """Whatever a run, a fault or a hand did before: nothing is open that no role declares."""
    listing = lab.on(host, "nft -s list table inet websites_firewall")
    assert comparable(listing) == comparable((GOLDEN / f"{kind}.nft").read_text())

"""Every rule of every server of the fleet, as its kernel holds it, against the golden files."""

import json
import re
from pathlib import Path

import lab
import pytest
from ruleset import tables

GOLDEN = Path(__file__).with_name("golden")
GROUPS = {"gateway": "gateway", "web": "web", "database": "database", "nameservers": "nameserver", "backup": "backup"}
SERVERS = [(host, kind) for group, kind in GROUPS.items() for host in lab.FLEET[group]]


def without_its_own(ruleset: str) -> str:
    """A ruleset without the sets of the server's own resolvers, and without the hashes that go with what is its own."""
    text = re.sub(r"set apache_egress_[12]_ipv[46] \{.*?\n\t\}", "", ruleset, flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines()
                     if "sha256" not in line and not re.search("@apache_egress_[12]_", line))


def with_leases(ruleset: str) -> str:
    """The golden rules with the addresses of their own that websites have by now, leading to their web hosts."""
    for website in json.loads((lab.LAB / "sop/desired.json").read_text())["websites"]:
        if not website["address"]["own"] or website["state"] not in ("present", "suspended"):
            continue
        for family in ("ipv4", "ipv6"):
            inside = lab.FLEET["web"][website["web_host"]][f"inside_{family}"]
            lease = rf"\1 {website['address'][family]} : {inside}, "
            ruleset = re.sub(rf"(map web_{family} \{{.*?elements = \{{)", lease, ruleset, count=1, flags=re.DOTALL)
    return ruleset


@pytest.mark.parametrize(("host", "kind"), SERVERS)
def test_ruleset_is_the_golden_one_of_its_kind(host: str, kind: str) -> None:
    """Whatever a run, a fault or a hand did before: no table and no rule is there that no role declares."""
    golden = with_leases((GOLDEN / f"{kind}.nft").read_text())
    listing = lab.on(host, "nft -s list ruleset")
    assert tables(without_its_own(listing)) == tables(without_its_own(golden))

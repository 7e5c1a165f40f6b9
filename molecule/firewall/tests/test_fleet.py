"""The whole ruleset of each kind of server of the lab's fleet, as nft holds it on both releases."""

import base64
import os

import fleet
import pytest
from ruleset import plain, tables
from testinfra.host import Host


@pytest.mark.parametrize("kind", fleet.KINDS)
def test_ruleset_of_a_server_is_the_golden_one(host: Host, kind: str) -> None:
    """A rule that comes or goes in any role is seen here. UPDATE_GOLDEN=1 writes the files, for somebody to read."""
    document = base64.b64encode(fleet.document(kind).encode()).decode()
    script = f"echo {document} | base64 -d | nft -f - && nft -s list ruleset"
    listing = host.check_output("unshare --net sh -c %s", script)
    golden = fleet.GOLDEN / f"{kind}.nft"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(plain(listing) + "\n")
    assert tables(listing) == tables(golden.read_text())

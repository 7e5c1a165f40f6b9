"""What the scenario's tests have in common."""

from typing import Any

import pytest


@pytest.fixture
def addresses(host: Any) -> dict[str, list[str]]:
    """Each server's own addresses, IPv4 first, as the other one's PostgreSQL lists of web hosts give them."""
    lines = host.run("grep '^host sameuser' /etc/postgresql/*/main/pg_hba.conf").stdout.splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        _, _, name, address, _ = line.split()
        found.setdefault(name.removeprefix("@websites_"), []).append(address.split("/")[0])
    return found

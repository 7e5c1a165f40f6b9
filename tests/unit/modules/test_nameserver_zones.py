"""Names of reverse zones, as the role's filter computes them."""

import importlib.util
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

PATH = Path(__file__).resolve().parents[3] / "roles/nameserver/filter_plugins/nameserver.py"
SPEC = importlib.util.spec_from_file_location("nameserver_filter", PATH)
FILTER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(FILTER)


@pytest.mark.parametrize(
    ("network", "zone"),
    [
        ("198.51.100.0/24", "100.51.198.in-addr.arpa"),
        ("10.89.0.0/16", "89.10.in-addr.arpa"),
        ("192.0.20.5/32", "5.20.0.192.in-addr.arpa"),
        ("2001:db8:77::/64", "0.0.0.0.7.7.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
        ("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_reverse_zone_is_named_by_its_network(network: str, zone: str) -> None:
    assert FILTER.zone_names([{"name": "example.go.id"}, {"network": network}]) == ["example.go.id", zone]


@pytest.mark.parametrize("network", ["198.51.100.0/25", "0.0.0.0/0", "2001:db8::/33", "198.51.100.1/24", "x"])
def test_network_is_refused_when_it_ends_at_no_label(network: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"(?s)refused: .*\nlayer: .*\nmend: "):
        FILTER.reverse_zone(network)

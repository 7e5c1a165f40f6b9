"""Names of reverse zones, as the role's filter computes them from the networks or takes them from the provider."""

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


@pytest.mark.parametrize(
    ("network", "zones"),
    [
        ("198.51.100.0/23", ["100.51.198.in-addr.arpa", "101.51.198.in-addr.arpa"]),
        ("10.20.0.0/15", ["20.10.in-addr.arpa", "21.10.in-addr.arpa"]),
        ("2001:db8::/31", ["8.b.d.0.1.0.0.2.ip6.arpa", "9.b.d.0.1.0.0.2.ip6.arpa"]),
    ],
)
def test_network_that_ends_within_a_label_has_a_zone_for_each_label(network: str, zones: list[str]) -> None:
    assert FILTER.zone_names([{"network": network}]) == zones


def test_part_of_a_reverse_zone_has_the_name_that_its_provider_gave() -> None:
    zones = [{"name": "example.go.id"}, {"network": "203.0.113.32/27", "name": "32/27.113.0.203.in-addr.arpa"},
             {"network": "198.51.100.0/24"}]
    assert FILTER.zone_names(zones) == ["example.go.id", "32/27.113.0.203.in-addr.arpa", "100.51.198.in-addr.arpa"]
    assert FILTER.zone_networks(zones) == {"32/27.113.0.203.in-addr.arpa": "203.0.113.32/27"}


@pytest.mark.parametrize(
    ("network", "mend"),
    [("198.51.100.0/25", "as the provider delegates it .*leave the network out"),
     ("2001:db8::/126", "leave the network out"),
     ("0.0.0.0/0", "of this fleet alone"), ("198.51.100.1/24", "write it as"), ("x", "write it as")],
)
def test_network_is_refused_when_nothing_tells_its_zone(network: str, mend: str) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"(?s)refused: .*\nlayer: .*\nmend: .*{mend}"):
        FILTER.reverse_zones(network)

"""The firewall's rules as text, and what is no declaration."""

import ipaddress
import json

import pytest
from ansible.module_utils import firewall, nft
from ansible.module_utils.transaction import Refused

BASE = {"management": ["10.89.77.1/32", "fd00:89:77::1"], "ssh_port": 22}


def rules(text: str, chain: str) -> list[str]:
    """A chain's lines, its type first."""
    return [line.strip() for line in text.split(f"chain {chain} {{\n")[1].split("\n\t}")[0].splitlines()]


def declared(allow: list[dict] | None = None, forward: list[dict] | None = None, egress: dict | None = None) -> dict:
    return firewall.fragment({"allow": allow, "forward": forward, "egress": egress}, "web")


def test_render_lets_management_in_before_every_other_rule() -> None:
    text = firewall.render(BASE, {"web": declared([{"protocol": "tcp", "ports": [80], "from": "any"}])})
    assert rules(text, "input")[1:3] == [
        "ip saddr @management_ipv4 tcp dport 22 accept", "ip6 saddr @management_ipv6 tcp dport 22 accept"]


def test_render_drops_what_nobody_declared() -> None:
    text = firewall.render(BASE, {})
    assert "type filter hook input priority filter; policy drop;" in text
    assert rules(text, "input")[-1] == "counter drop"


def test_render_leaves_forwarding_alone_unless_declared() -> None:
    assert "hook forward" not in firewall.render(BASE, {"web": declared()})
    assert "hook forward priority filter; policy drop;" in firewall.render(
        BASE, {"nat": declared(None, [{"dnat": True}])})


def test_render_never_touches_other_tables() -> None:
    text = firewall.render(BASE, {})
    assert "flush" not in text
    assert {line.split()[3] for line in text.splitlines() if line.startswith(("add", "delete"))} == {firewall.TABLE}


def test_render_gives_each_family_its_own_interval_set() -> None:
    text = firewall.render(BASE, {"db": declared([
        {"protocol": "tcp", "ports": [5432, "6000-6010"], "from": ["10.0.0.0/25", "10.0.0.128/25", "fd00::/64"]}])})
    assert "elements = { 10.0.0.0/24 }" in text, "neighbouring networks are one interval, or nft refuses the set"
    assert 'ip6 saddr @db_0_ipv6 tcp dport { 5432, 6000-6010 } accept comment "db"' in text


def test_render_is_the_same_whatever_the_order_of_services() -> None:
    one, two = declared([{"protocol": "udp", "ports": [53], "from": "any"}]), declared(None, [{"dnat": True}])
    assert firewall.render(BASE, {"a": one, "b": two}) == firewall.render(BASE, {"b": two, "a": one})


def test_forward_elsewhere_never_leads_to_the_servers_themselves() -> None:
    text = firewall.render(BASE, {"nat": declared(None, [{"from": ["10.0.0.0/24"], "to": "elsewhere"}])})
    assert "ip saddr @nat_forward_0_ipv4 ip daddr != @nat_forward_0_ipv4 accept" in text


def test_forward_pairs_only_networks_of_one_family() -> None:
    forward = [{"from": ["10.0.0.0/24"], "to": ["10.1.0.0/24", "fd00::/8"]}]
    text = firewall.render(BASE, {"nat": declared(None, forward)})
    assert [rule for rule in rules(text, "forward") if "nat_forward" in rule] == [
        "ip saddr @nat_forward_0_from_ipv4 ip daddr @nat_forward_0_to_ipv4 accept"]


@pytest.mark.parametrize("allow", [
    {"protocol": "tcp; drop", "ports": [80], "from": "any"},
    {"protocol": "tcp", "ports": ["80 } accept"], "from": "any"},
    {"protocol": "tcp", "ports": [0], "from": "any"},
    {"protocol": "tcp", "ports": ["90-80"], "from": "any"},
    {"protocol": "tcp", "ports": [65536], "from": "any"},
    {"protocol": "tcp", "ports": [], "from": "any"},
    {"protocol": "tcp", "ports": "80", "from": "any"},
    {"protocol": "tcp", "ports": [80], "from": "all"},
    {"protocol": "tcp", "ports": [80], "from": []},
    {"protocol": "tcp", "ports": [80], "from": ["10.0.0.1/24"]},
    {"protocol": "tcp", "ports": [80], "from": ["10.0.0.0/24 accept"]},
    {"protocol": "tcp", "ports": [80]},
    {"protocol": "tcp", "ports": [80], "from": "any", "comment": 'x" accept'},
    "tcp",
])
def test_fragment_refuses_what_is_no_declaration(allow: object) -> None:
    with pytest.raises(Refused, match="web"):
        declared([allow])


@pytest.mark.parametrize("forward", [
    {"dnat": False}, {"dnat": True, "from": "any"}, {"from": "any"}, {"from": "any", "to": "elsewhere"},
    {"from": "any", "to": "inside"}, {},
])
def test_fragment_refuses_what_is_no_forwarding(forward: dict) -> None:
    with pytest.raises(Refused, match="web"):
        declared(None, [forward])


def test_fragment_reads_its_own_written_form_as_the_same() -> None:
    """Otherwise every second run would find a change."""
    first = declared([{"protocol": "tcp", "ports": ["80", "8000-8001"], "from": ["10.0.0.5", "fd00::/8"]}],
                     [{"dnat": True}, {"from": ["10.0.0.0/8"], "to": "elsewhere"}],
                     {"users": "20000-59999", "closed": ["192.0.2.0/24"], "allow": [
                         {"protocol": "tcp", "ports": [443], "to": "public"},
                         {"protocol": "udp", "ports": ["53"], "to": ["10.0.0.53", "fd00::53"]}]})
    assert firewall.fragment(json.loads(json.dumps(first)), "web") == first


CONFINED = {"users": "20000-59999", "closed": ["192.0.2.0/24", "2001:db8::/64"], "allow": [
    {"protocol": "tcp", "ports": [443], "to": "public"},
    {"protocol": "tcp", "ports": [3306], "to": ["10.89.77.21", "fd00:89:77::21"]}]}


def is_public(address: str, base: dict) -> bool:
    """Whether the set of what is not public leaves the address out."""
    family = "ipv6" if ":" in address else "ipv4"
    text = firewall.render(base, {"web": declared(None, None, CONFINED)}).split(f"set web_egress_inside_{family} {{")[1]
    elements = text.split("elements = { ")[1].split(" }")[0].split(", ")
    return not any(ipaddress.ip_address(address) in ipaddress.ip_network(element) for element in elements)


def test_render_confines_users_in_both_families_and_nobody_else() -> None:
    text = firewall.render(BASE, {"web": declared(None, None, CONFINED)})
    assert rules(text, "output") == [
        "type filter hook output priority filter; policy accept;", "meta skuid 20000-59999 jump web_egress"]
    assert rules(text, "web_egress")[:4] == [
        "ip daddr != @web_egress_inside_ipv4 tcp dport { 443 } accept",
        "ip6 daddr != @web_egress_inside_ipv6 tcp dport { 443 } accept",
        "ip daddr @web_egress_1_ipv4 tcp dport { 3306 } accept",
        "ip6 daddr @web_egress_1_ipv6 tcp dport { 3306 } accept"]
    assert rules(text, "web_egress")[-1].startswith("counter reject"), "what nobody allowed is refused"


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.89.77.1", "192.168.1.1", "172.31.0.1", "169.254.169.254", "100.64.0.1", "192.0.2.9", "224.0.0.1",
    "255.255.255.255", "::1", "::ffff:10.0.0.1", "fd00:89:77::1", "fe80::1", "ff02::1", "2001:db8::5", "203.0.113.7"])
def test_public_is_neither_special_nor_closed_nor_the_administrators(address: str) -> None:
    assert not is_public(address, {**BASE, "management": ["203.0.113.7"]})


@pytest.mark.parametrize("address", ["198.51.100.11", "8.8.8.8", "203.0.113.8", "2001:db8:1::5", "2606:4700::1"])
def test_public_is_all_else(address: str) -> None:
    assert is_public(address, BASE)


@pytest.mark.parametrize("change", [
    {"users": "0-59999"}, {"users": "20000"}, {"users": "5-4"}, {"users": "1-4294967295"}, {"users": "1-2 accept"},
    {"users": None}, {"closed": ["inside"]}, {"allow": [{"protocol": "tcp", "ports": [25], "to": "elsewhere"}]},
    {"allow": [{"protocol": "tcp", "ports": [25], "from": "any"}]}, {"deny": []},
])
def test_fragment_refuses_what_is_no_egress(change: dict) -> None:
    with pytest.raises(Refused, match="web"):
        declared(None, None, {**CONFINED, **change})


@pytest.mark.parametrize(("connection", "out"), [
    ("10.89.77.1 50000 10.89.77.11 22", False),
    ("::ffff:10.89.77.1 50000 ::ffff:10.89.77.11 22", False),
    ("192.0.2.9 50000 10.89.77.11 22", True),
    ("10.89.77.1 50000 10.89.77.11 2222", True),
    ("", False),
])
def test_shuts_out_tells_whether_this_very_run_could_come_in_again(connection: str, out: bool) -> None:
    assert bool(firewall.shuts_out(BASE, connection)) is out


def test_canonical_ignores_counters_handles_and_the_order_of_sets() -> None:
    def rule(handle: int, packets: int, ports: list[int]) -> dict:
        counter = {"counter": {"packets": packets, "bytes": packets}}
        return {"rule": {"handle": handle, "expr": [counter, {"match": {"right": {"set": ports}}}]}}

    assert nft.canonical(rule(4, 1, [2, 1])) == nft.canonical(rule(9, 7, [1, 2]))


def test_canonical_sees_another_order_of_rules() -> None:
    drop, accept = {"drop": None}, {"accept": None}
    assert nft.canonical({"expr": [drop, accept]}) != nft.canonical({"expr": [accept, drop]})

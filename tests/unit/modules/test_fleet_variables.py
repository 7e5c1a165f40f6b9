"""What the roles make of a fleet without IPv6 has no gaps, and the layers' modules take it; its reverse zones."""

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import website_probe
import yaml
from ansible.module_utils import database, public_ip
from ansible.module_utils.nameserver_claims import wishes
from ansible.plugins.loader import filter_loader, init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[3]
SPEC = importlib.util.spec_from_file_location("lab_fleet", ROOT / "molecule/firewall/tests/fleet.py")
LAB = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(LAB)
init_plugin_loader()
filter_loader.add_directory(str(ROOT / "roles/nameserver/filter_plugins"))

GIVEN = yaml.safe_load((ROOT / "playbooks/group_vars/all/roles.yml").read_text())
SITE = {"name": "dinkes.tarakankota.go.id", "uid": 20001, "state": "present", "aliases": [], "web_host": "web1",
        "address": {"ipv4": "198.51.100.101", "ipv6": None, "own": True}}


@pytest.fixture(params=["null", "left out"])
def fleet(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The lab's fleet with IPv4 alone, written in either way."""
    facts = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/fleet.yml").read_text())["fleet"]

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(each) for each in value]
        if not isinstance(value, dict):
            return value
        gone = {key: None for key in value if key.endswith("ipv6") and request.param == "null"}
        return {key: bare(each) for key, each in value.items() if not key.endswith("ipv6")} | gone

    return bare(copy.deepcopy(facts))


def templar_of(kind: str, fleet: dict[str, Any], home: Path, host: str | None = None) -> Templar:
    """The variables of a server of that kind, with what other tasks would have found."""
    (home / "desired.json").write_text(json.dumps({"websites": [SITE]}))
    first, role = LAB.KINDS[kind]
    templar = LAB.templar_of(host or first, role, fleet)
    found = {"database_credentials": {"verifiers": "{}"}, "apache_certificate_states": {"as_built": {}}}
    templar.available_variables |= {
        "hostvars": dict.fromkeys(fleet["web"], found), "sop_home": str(home), "ansible_managed": "Ansible's",
        "ansible_facts": {"distribution_major_version": "13", "memtotal_mb": 4096},
        "ansible_search_path": [str(ROOT / "roles" / role)],
    }
    return templar


def gaps(value: Any) -> list[Any]:
    """What is empty among the values of lists."""
    if isinstance(value, dict):
        return [gap for each in value.values() for gap in gaps(each)]
    if isinstance(value, list | tuple):
        return [each for each in value if each in (None, "")] + [gap for each in value for gap in gaps(each)]
    return []


@pytest.mark.parametrize("kind", LAB.KINDS)
def test_variables_of_a_server_have_no_gaps_without_ipv6(fleet: dict[str, Any], tmp_path: Path, kind: str) -> None:
    templar = templar_of(kind, fleet, tmp_path)
    prefix = LAB.KINDS[kind][1]
    # What names this server is of the kinds that have it.
    others = {"database_addresses": "database", "backup_addresses": "web"}
    names = [name for name in {**GIVEN, **templar.available_variables}
             if (name in GIVEN or name.startswith((f"{prefix}_", f"__{prefix}_"))) and others.get(name, kind) == kind]
    found = {name: templar.template(templar.available_variables[name]) for name in names}
    assert {name: gaps(value) for name, value in found.items() if gaps(value)} == {}


@pytest.mark.parametrize(
    ("kind", "host"), [("nameserver", "ns1"), ("nameserver", "ns2"), ("database", "db1"), ("backup", "backup1")]
)
def test_templates_of_a_server_name_no_gap_without_ipv6(
    fleet: dict[str, Any], tmp_path: Path, kind: str, host: str
) -> None:
    templar = templar_of(kind, fleet, tmp_path, host)
    folder = ROOT / "roles" / LAB.KINDS[kind][1] / "templates"
    texts = {}
    for path in sorted(folder.rglob("*.j2")):
        templar.available_variables |= {"item": "tarakankota.go.id", "zone": "tarakankota.go.id"}
        read = trust_as_template(f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}")
        texts[path.name] = templar.template(read)
    assert texts and not [name for name, text in texts.items() if "None" in text or " ;" in text or "fd00:" in text]
    if kind == "nameserver":
        # Without a word on IPv6, BIND would listen on every address of it that the server has.
        assert f"listen-on {{ 127.0.0.1; {fleet['nameservers'][host]['inside_ipv4']}; }};" in texts["named.conf.j2"]
        assert "listen-on-v6 { ::1; };" in texts["named.conf.j2"]
        assert "AAAA" not in texts["zone.j2"]


@pytest.mark.parametrize(("kind", "role", "host"), [("database", "database", "db1"), ("web", "backup", "web1")])
def test_addresses_of_a_server_are_taken_without_ipv6(
    fleet: dict[str, Any], tmp_path: Path, kind: str, role: str, host: str
) -> None:
    templar = templar_of(kind, fleet, tmp_path, host)
    for name in ("defaults", "vars"):
        told = LAB.read(ROOT / f"roles/{role}/{name}/main.yml")
        templar.available_variables = told | templar.available_variables
    check = LAB.read(ROOT / f"roles/{role}/tasks/main.yml")[0]["ansible.builtin.assert"]
    assert [said for said in check["that"] if not templar.evaluate_conditional(said)] == []


@pytest.mark.parametrize("kind", LAB.KINDS)
def test_rules_of_a_server_are_made_without_ipv6(fleet: dict[str, Any], kind: str) -> None:
    rules = LAB.document(kind, fleet)
    assert "None" not in rules and "2001:db8" not in rules and "elements = {  }" not in rules


def test_layers_plan_a_website_without_ipv6(fleet: dict[str, Any], tmp_path: Path) -> None:
    templar = templar_of("nameserver", fleet, tmp_path)
    given = {name: templar.template(templar.available_variables[name]) for name in (
        *(f"public_ip_{part}" for part in public_ip.Settings._fields), "__nameserver_public", "nameserver_hosts",
        "__nameserver_zone_names", "__nameserver_followed", "database_web_hosts", "probe_nameservers")}
    settings = public_ip.Settings(*(given[f"public_ip_{part}"] for part in public_ip.Settings._fields))
    leases, left = public_ip.website_leases([SITE], settings, public_ip.server_leases(settings))
    assert [*leases] == ["198.51.100.101"] and not left
    zones = given["__nameserver_zone_names"]
    assert zones == ["tarakankota.go.id", "100.51.198.in-addr.arpa"]
    wish = wishes([SITE], given["nameserver_hosts"], given["__nameserver_public"], zones)
    assert wish.claims[zones[0]]["_website.dinkes.tarakankota.go.id"].records == {"A": frozenset(["198.51.100.101"])}
    assert not wish.faults and not wish.conflicts and not wish.outside
    assert given["__nameserver_followed"] == {"ns2": ["10.89.77.32"]}
    assert database.addresses(given["database_web_hosts"]["web1"]) == ["10.89.77.11"]
    with pytest.MonkeyPatch.context() as patch:
        asked: list[str] = []
        patch.setattr(website_probe, "answers", lambda address, names: asked.append(address) or {
            name: {"A": ["198.51.100.101"], "AAAA": []} for name in names})
        assert website_probe.names_seen([SITE], given["probe_nameservers"])[1] == []
        assert asked == ["198.51.100.53", "198.51.100.54"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [([], []), ([{"network": "203.0.113.0/27", "name": "0-31.113.0.203.in-addr.arpa"}],
                ["0-31.113.0.203.in-addr.arpa"])],
)
def test_reverse_zones_are_those_that_the_fleet_names(
    fleet: dict[str, Any], tmp_path: Path, asked: list[dict[str, str]], names: list[str]
) -> None:
    templar = templar_of("nameserver", fleet | {"reverse_zones": asked}, tmp_path)
    zones = templar.template(templar.available_variables["__nameserver_zone_names"])
    assert zones == ["tarakankota.go.id", *names]

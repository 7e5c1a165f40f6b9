"""Who leases which address, what is refused by name, and the translation that follows."""

import copy
from types import SimpleNamespace

import public_ip_leases
import pytest
from ansible.module_utils import announce, public_ip
from ansible.module_utils.public_ip import Lease, Settings
from ansible.module_utils.transaction import Refused

SETTINGS = Settings(
    networks={"ipv4": "198.51.100.0/24", "ipv6": "2001:db8:77::/64"},
    servers={"ipv4": "10.89.77.0/24", "ipv6": "fd00:89:77::/64"},
    web_hosts={
        name: {"ipv4": f"198.51.100.1{n}", "ipv6": f"2001:db8:77::1{n}", "inside_ipv4": f"10.89.77.1{n}",
               "inside_ipv6": f"fd00:89:77::1{n}"} for name, n in (("web1", 1), ("web2", 2))
    },
    nameservers={"ns1": {"ipv4": "198.51.100.53", "ipv6": None, "inside_ipv4": "10.89.77.31", "inside_ipv6": None}},
)
SERVERS = public_ip.server_leases(SETTINGS)


def own(name: str = "own.go.id", host: str = "web2", ipv4: str | None = "198.51.100.101",
        ipv6: str | None = "2001:db8:77::101", state: str = "present") -> dict:
    return {"name": name, "state": state, "web_host": host, "address": {"ipv4": ipv4, "ipv6": ipv6, "own": True}}


def shared(name: str = "shared.go.id", ipv4: str = "198.51.100.11", ipv6: str | None = "2001:db8:77::11") -> dict:
    return {"name": name, "state": "present", "web_host": "web1",
            "address": {"ipv4": ipv4, "ipv6": ipv6, "own": False}}


def leases(*websites: dict) -> public_ip.Leases:
    found, refused = public_ip.website_leases(websites, SETTINGS, SERVERS)
    assert refused == []
    return found


def refused(*websites: dict, held: public_ip.Leases | None = None) -> tuple[public_ip.Leases, dict[str, str]]:
    """The leases that there are all the same, and what is said of each website that is refused."""
    found, left = public_ip.website_leases(websites, SETTINGS, SERVERS, held)
    return found, {one.website: one.what for one in left}


def test_server_leases_lead_web_and_dns_inside() -> None:
    assert SERVERS["198.51.100.11"] == Lease(None, "web1", "web", "10.89.77.11")
    assert SERVERS["198.51.100.53"] == Lease(None, "ns1", "dns", "10.89.77.31")
    assert len(SERVERS) == 5


def test_own_address_leads_to_the_website_s_web_host() -> None:
    assert leases(own(), shared()) == {
        "198.51.100.101": Lease("own.go.id", "web2", "web", "10.89.77.12"),
        "2001:db8:77::101": Lease("own.go.id", "web2", "web", "fd00:89:77::12")}


def test_ipv6_is_optional_and_its_spelling_does_not_matter() -> None:
    assert list(leases(own(ipv6=None))) == ["198.51.100.101"]
    assert "2001:db8:77::101" in leases(own(ipv6="2001:DB8:77:0:0:0:0:101"))


@pytest.mark.parametrize(("state", "held"), [("present", 2), ("suspended", 2), ("archived", 0), ("purged", 0)])
def test_lease_lasts_as_long_as_the_website_answers(state: str, held: int) -> None:
    assert len(leases(own(state=state))) == held


@pytest.mark.parametrize("website", [
    own(ipv4="203.0.113.9"),
    own(ipv6="2001:db8:78::1"),
    own(ipv4="198.51.100.11"),
    own(ipv4="198.51.100.53"),
    own(ipv4="198.51.100.101; flush ruleset"),
    own(ipv4=None),
    own(ipv4="2001:db8:77::101"),
    own(host="web9"),
    shared("own.go.id", ipv4="198.51.100.12"),
])
def test_website_that_cannot_have_its_address_is_refused_by_name(website: dict) -> None:
    other = own("z.go.id", ipv4="198.51.100.104", ipv6=None)
    found, said = refused(website, shared(), other)
    assert list(said) == ["own.go.id"] and "own.go.id" in said["own.go.id"] and found == leases(other)


def test_refused_website_keeps_the_lease_that_it_has() -> None:
    held = leases(own())
    assert refused(own(host="web9"), held=held)[0] == held
    taken = own("a.go.id", ipv6=None)
    assert refused(own(host="web9"), taken, held=held)[0]["198.51.100.101"].website == "a.go.id"


def test_two_websites_with_one_own_address_are_refused_by_name() -> None:
    found, said = refused(own("a.go.id"), own("b.go.id", ipv6=None))
    assert said == {"b.go.id": "b.go.id and a.go.id both ask for 198.51.100.101"} and found == leases(own("a.go.id"))


def test_all_refused_websites_are_named_at_once() -> None:
    assert list(refused(own("a.go.id", host="web9"), own("b.go.id", ipv4="203.0.113.1"))[1]) == ["a.go.id", "b.go.id"]


@pytest.mark.parametrize("name", ["a b.go.id", "x\n}", "../x", "", "A.go.id", None])
def test_hostile_name_is_refused(name: object) -> None:
    assert "no website's name" in refused({**own(), "name": name})[1][str(name)]


def test_two_servers_with_one_address_are_refused() -> None:
    twice = SETTINGS._replace(nameservers={"ns1": {**SETTINGS.nameservers["ns1"], "ipv4": "198.51.100.12"}})
    with pytest.raises(Refused, match="ns1 and web2"):
        public_ip.server_leases(twice)


def test_kept_leases_are_those_of_the_state_file() -> None:
    """Setting up a gateway again knows no websites and must not take their addresses away."""
    held = leases(own(), shared())
    assert public_ip.kept_leases({**SERVERS, **held}, SETTINGS, SERVERS) == held


def test_changes_name_a_moved_lease_as_one_update() -> None:
    (change,) = public_ip.lease_changes(leases(own(ipv6=None)), leases(own(ipv4="198.51.100.102", ipv6=None)))
    assert (change.website, change.subject, change.action) == ("own.go.id", "lease ipv4", "update")
    assert (change.before["address"], change.after["address"]) == ("198.51.100.101", "198.51.100.102")


def test_changes_of_a_move_to_another_host_are_updates() -> None:
    changes = public_ip.lease_changes(leases(own()), leases(own(host="web1")))
    assert [change.action for change in changes] == ["update", "update"]


def test_changes_are_empty_when_nothing_differs() -> None:
    assert public_ip.lease_changes(leases(own()), leases(own())) == []


def test_as_built_agrees_with_the_leases() -> None:
    websites = [own(), shared(), own("gone.go.id", state="archived")]
    built = public_ip.as_built(websites, SETTINGS)
    assert built["own.go.id"] == {
        "ipv4": "198.51.100.101", "ipv6": "2001:db8:77::101", "own": True,
        "target": {"ipv4": "10.89.77.12", "ipv6": "fd00:89:77::12"}}
    assert "gone.go.id" not in built


def test_render_translates_both_families_by_maps() -> None:
    text = public_ip.render(SERVERS | leases(own()), SETTINGS)
    assert ("elements = { 198.51.100.11 : 10.89.77.11, 198.51.100.12 : 10.89.77.12, 198.51.100.101 : 10.89.77.12 }"
            in text)
    assert "tcp dport { 80, 443 } dnat ip6 to ip6 daddr map @web_ipv6" in text
    assert "dns_ipv6" not in text, "an empty map would be a syntax error"


def test_render_masquerades_hairpin_and_the_way_out_only() -> None:
    rules = [line.strip() for line in public_ip.render(SERVERS, SETTINGS).splitlines() if "masquerade" in line]
    assert rules[:2] == ["ip saddr @servers_ipv4 ip daddr @servers_ipv4 ct status dnat masquerade",
                         "ip saddr @servers_ipv4 ip daddr != @servers_ipv4 masquerade"]
    assert len(rules) == 4, "a visitor's address must reach the web host unchanged"


HERE = [("lo", "127.0.0.1", False), ("eth0", "10.89.77.2", False), ("eth1", "198.51.100.2", False)]


def test_public_interface_is_found_by_its_network() -> None:
    assert public_ip.public_interface(None, "198.51.100.0/24", HERE, set()) == "eth1"


def test_public_interface_is_not_found_by_leases() -> None:
    held = ("dummy0", "198.51.100.11", True)
    assert public_ip.public_interface(None, "198.51.100.0/24", [*HERE, held], {held[1]}) == "eth1"


@pytest.mark.parametrize(("wanted", "network"), [("eth9", "198.51.100.0/24"), (None, "203.0.113.0/24")])
def test_public_interface_that_is_not_plain_is_refused(wanted: str | None, network: str) -> None:
    with pytest.raises(Refused, match="interface"):
        public_ip.public_interface(wanted, network, HERE, set())


def test_foreign_holder_of_a_website_s_address_is_a_conflict() -> None:
    found = public_ip_leases.foreign(leases(own()), [("eth1", "198.51.100.101", True), ("eth1", "198.51.100.2", False)])
    assert found == {"198.51.100.101": "eth1"}


def test_plan_leaves_a_website_whose_address_is_held_and_leases_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_ip_leases, "placed", lambda: [*HERE, ("eth1", "198.51.100.101", True)])
    monkeypatch.setattr(public_ip_leases.nft, "fingerprint", lambda table: None)
    wanted = [own(ipv6=None), own("b.go.id", ipv4="198.51.100.102", ipv6=None)]
    planned = public_ip_leases.plan({**SETTINGS._asdict(), "websites": wanted, "interface": None},
                                    dict(public_ip_leases.NOTHING))
    assert planned.conflicts == [
        {"website": "own.go.id", "subject": "lease ipv4", "where": "198.51.100.101 on eth1"}]
    assert ("eth1", "198.51.100.102") in planned.add and ("eth1", "198.51.100.101") not in planned.add
    assert "198.51.100.101" not in planned.text and planned.remove == []


def test_foreign_holder_of_a_server_s_address_is_refused() -> None:
    with pytest.raises(Refused, match=r"198\.51\.100\.11, the address of web1, is on eth1"):
        public_ip_leases.foreign(SERVERS, [("eth1", "198.51.100.11", True)])


def test_repairs_leave_out_what_a_changed_lease_explains() -> None:
    new = leases(own(ipv6=None))
    changes = public_ip.lease_changes({}, new)
    assert public_ip_leases.repairs(changes, new, {("eth1", "198.51.100.101")}, set()) == []
    (change,) = public_ip_leases.repairs([], new, {("eth1", "198.51.100.101")}, set())
    assert (change.website, change.action) == ("own.go.id", "create")


class Gateway:
    """The interface, nft and files of a gateway, with an error at one named point."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path, fails: str | None) -> None:
        self.addresses: set[str] = {"198.51.100.9"}
        self.table = "old"
        self.fails = fails
        self.file = tmp_path / "leases.json"
        for name, target in (("batch", self.batch), ("placed", self.placed), ("announce", lambda places: None)):
            monkeypatch.setattr(public_ip_leases, name, target)
        for name in ("ADDRESSES", "RULES"):
            monkeypatch.setattr(public_ip_leases, name, tmp_path / name)
        monkeypatch.setattr(public_ip_leases, "write_atomic", self.write)
        monkeypatch.setattr(public_ip_leases, "LEASES", self.file)
        nft = public_ip_leases.nft
        monkeypatch.setattr(nft, "check", lambda text: None)
        monkeypatch.setattr(nft, "listing", lambda table: "old")
        monkeypatch.setattr(nft, "fingerprint", lambda table: self.table)
        monkeypatch.setattr(nft, "load", self.load)

    def fail(self, point: str) -> None:
        if self.fails == point:
            self.fails = None
            raise Refused(f"{point} failed", "mend it")

    def placed(self) -> list[tuple[str, str, bool]]:
        return [("eth1", address, True) for address in self.addresses]

    def batch(self, lines: list[str], force: bool = False) -> None:
        for line in lines:
            _, verb, address, *_ = line.split()
            (self.addresses.add if verb == "replace" else self.addresses.discard)(address.split("/")[0])
        if lines:
            self.fail("add" if "replace" in lines[0] else "remove")

    def load(self, text: str) -> None:
        self.fail("load")
        self.table = text

    def write(self, path, content: str, mode: int = 0o644) -> None:
        self.fail(path.name)
        path.write_text(content)


@pytest.mark.parametrize("point", ["add", "load", "remove", "ADDRESSES", "RULES"])
def test_apply_puts_everything_back_when_a_step_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path, point: str
) -> None:
    gateway = Gateway(monkeypatch, tmp_path, point)
    state = {"interface": "eth1", "held": ["198.51.100.9"], "leases": {}, "live": "old"}
    planned = public_ip_leases.Plan([], [], [], leases(own(ipv6=None)), "eth1", [("eth1", "198.51.100.101")],
                                    [("eth1", "198.51.100.9")], "new")
    with pytest.raises(Refused, match=point):
        public_ip_leases.apply(planned, copy.deepcopy(state))
    assert (gateway.addresses, gateway.table) == ({"198.51.100.9"}, "old")
    assert public_ip_leases.read_json(gateway.file, None) == state
    assert not (tmp_path / "ADDRESSES").exists()
    assert not (tmp_path / "RULES").exists()


@pytest.mark.parametrize("second", ["load", "remove"])
def test_put_back_does_all_else_when_one_part_of_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path, second: str
) -> None:
    gateway = Gateway(monkeypatch, tmp_path, "RULES")
    fail = gateway.fail

    def failing(point: str) -> None:
        if gateway.fails is None and gateway.table == ("new" if second == "load" else "old"):
            gateway.fails = second
        fail(point)

    monkeypatch.setattr(gateway, "fail", failing)
    state = {"interface": "eth1", "held": ["198.51.100.9"], "leases": {}, "live": "old"}
    (tmp_path / "ADDRESSES").write_text("before")
    planned = public_ip_leases.Plan([], [], [], leases(own(ipv6=None)), "eth0", [("eth1", "198.51.100.101")],
                                    [("eth1", "198.51.100.9")], "new")
    with pytest.raises(Refused, match=second):
        public_ip_leases.apply(planned, copy.deepcopy(state))
    assert gateway.addresses == {"198.51.100.9"}
    assert public_ip_leases.read_json(gateway.file, None) == state
    assert (tmp_path / "ADDRESSES").read_text() == "before"


def test_address_that_cannot_be_let_go_of_stays_known_as_ours(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    gateway = Gateway(monkeypatch, tmp_path, "RULES")
    monkeypatch.setattr(public_ip_leases, "put_back_addresses", lambda planned: gateway.batch([]))
    planned = public_ip_leases.Plan([], [], [], leases(own(ipv6=None)), "eth1", [("eth1", "198.51.100.101")], [], "new")
    with pytest.raises(Refused, match="RULES"):
        public_ip_leases.apply(planned, dict(public_ip_leases.NOTHING))
    assert public_ip_leases.read_json(gateway.file, {})["held"] == ["198.51.100.101"]


def test_apply_knows_an_address_as_ours_before_it_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """A run that is killed after taking an address must not find it foreign the next time."""
    gateway = Gateway(monkeypatch, tmp_path, None)
    seen = []
    monkeypatch.setattr(public_ip_leases, "batch", lambda lines, force=False: seen.append(
        public_ip_leases.read_json(gateway.file, {})["held"]))
    planned = public_ip_leases.Plan([], [], [], leases(own(ipv6=None)), "eth1", [("eth1", "198.51.100.101")], [], "new")
    public_ip_leases.apply(planned, dict(public_ip_leases.NOTHING))
    assert "198.51.100.101" in seen[0]


def test_address_that_a_killed_run_never_took_is_no_longer_ours(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """An administrator may use it then, and the next run would take it off."""
    gateway = Gateway(monkeypatch, tmp_path, None)
    gateway.file.write_text('{"interface": "eth1", "held": ["198.51.100.9", "198.51.100.101"], "live": "old"}')
    held = {"198.51.100.9": Lease(None, "web1", "web", "10.89.77.11")}
    planned = public_ip_leases.Plan([], [], [], held, "eth1", [], [], "")
    monkeypatch.setattr(public_ip_leases, "plan", lambda *_: planned)
    for name in ("ETC", "STATE"):
        monkeypatch.setattr(public_ip_leases, name, tmp_path)
    params = {**SETTINGS._asdict(), "websites": [], "host": "gateway1"}
    public_ip_leases.converge(SimpleNamespace(check_mode=False, params=params))
    assert public_ip_leases.read_json(gateway.file, {})["held"] == ["198.51.100.9"]


def listed(text: str) -> str:
    """A table as nft lists it: one element of a map below the other, where there are several."""
    return text.replace(", ", ",\n\t\t\t     ")


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Gateway:
    """A gateway with a website's own addresses, which lost the file that tells so."""
    gateway = Gateway(monkeypatch, tmp_path, None)
    held = SERVERS | leases(own())
    gateway.table = public_ip.render(held, SETTINGS)
    gateway.addresses = set(held)
    for name, text in (("ADDRESSES", "".join(f"{public_ip.add_line(at, 'eth1')}\n" for at in sorted(held))),
                       ("RULES", gateway.table)):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(public_ip_leases.nft, "listing", lambda table: listed(gateway.table))
    monkeypatch.setattr(public_ip_leases, "placed", lambda: [*HERE, *gateway.placed()])
    for name in ("ETC", "STATE"):
        monkeypatch.setattr(public_ip_leases, name, tmp_path)
    return gateway


def converged(*websites: dict, known: bool = True, check_mode: bool = False):
    params = {**SETTINGS._asdict(), "websites": list(websites) if known else None, "host": "gateway1",
              "interface": None}
    return public_ip_leases.converge(SimpleNamespace(check_mode=check_mode, params=params))


@pytest.mark.parametrize("damage", [None, "", '{"interface": "eth', "[]", "batch", "rules", "table"])
@pytest.mark.parametrize("known", [True, False])
def test_lost_or_broken_state_takes_no_address_away(
    lost: Gateway, tmp_path, damage: str | None, *, known: bool
) -> None:
    """A run that knows the websites, and one that sets up the server alone."""
    before = lost.addresses.copy(), lost.table
    if damage in ("batch", "rules"):
        (tmp_path / {"batch": "ADDRESSES", "rules": "RULES"}[damage]).unlink()
    elif damage == "table":
        lost.table = ""
    elif damage is not None:
        lost.file.write_text(damage)
    outcome = converged(own(), shared(), known=known)
    assert [change.subject for change in outcome.changes] == ["table inet websites_nat"] and not outcome.refused
    assert (lost.addresses, lost.table) == before
    state = public_ip_leases.read_json(lost.file, {})
    assert set(state["held"]) == set(state["leases"]) == lost.addresses and state["live"] == lost.table
    assert converged(own(), shared()).changes == [], "the state is whole again, whoever it names as the holders"


def test_lost_state_tells_a_plan_what_an_address_is(lost: Gateway) -> None:
    """A website that moves keeps one change, and one that went frees its address."""
    moved = converged(own(host="web1"), check_mode=True)
    assert [(c.website, c.subject, c.action) for c in moved.changes if c.website] == [
        ("own.go.id", "lease ipv4", "update"), ("own.go.id", "lease ipv6", "update")]
    converged()
    assert lost.addresses == set(SERVERS) and "198.51.100.101" not in lost.table


def test_lost_state_keeps_the_lease_of_a_website_that_is_refused(lost: Gateway) -> None:
    outcome = converged(own(host="web9"))
    assert [left.website for left in outcome.refused] == ["own.go.id"] and "198.51.100.101" in lost.addresses


def test_lost_state_takes_nothing_of_somebody_else_s_for_ours(lost: Gateway) -> None:
    lost.addresses.add("198.51.100.250")
    outcome = converged(own(), own("b.go.id", ipv4="198.51.100.250", ipv6=None))
    assert [left.website for left in outcome.refused] == ["b.go.id"] and "198.51.100.250" in lost.addresses


def test_recovered_tells_services_apart_where_a_map_is_empty() -> None:
    """nft lists no elements then."""
    table = "map web_ipv4 {\n\ttype ipv4_addr : ipv4_addr\n}\nmap dns_ipv4 {\n\ttype ipv4_addr : ipv4_addr\n" \
            "\telements = { 198.51.100.53 : 10.89.77.31 }\n}\n"
    assert public_ip.recovered("", table)["leases"]["198.51.100.53"]["service"] == "dns"


def test_announcements_name_the_address_and_its_new_holder() -> None:
    mac = bytes.fromhex("020000000001")
    arp = announce.gratuitous_arp(mac, "198.51.100.11")
    assert arp[:12] == b"\xff" * 6 + mac
    assert arp[28:32] == arp[38:42] == bytes([198, 51, 100, 11])
    advertisement = announce.unsolicited_advertisement(mac, "2001:db8:77::11")
    assert advertisement[0] == 136
    assert advertisement.endswith(bytes([2, 1]) + mac)

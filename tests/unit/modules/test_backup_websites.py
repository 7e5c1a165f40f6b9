"""The module: which websites of the desired state it asks for, and what it makes of the command's answer."""

import backup_websites as module
import pytest
from ansible.module_utils.transaction import Refused

RELEASE = "ab" * 32
NAME = "dinkes.tarakankota.go.id"


def website(**values):
    return {"name": NAME, "state": "present", "web_host": "web1", "release": {"sha256": RELEASE}, **values}


def test_share_is_this_hosts_websites():
    rows = [website(), website(name="disdik.tarakankota.go.id", web_host="web2")]
    assert module.share(rows, "web1", []) == ({NAME: RELEASE[:12]}, {})


def test_share_passes_over_another_hosts_website_when_it_is_named():
    assert module.share([website(web_host="web2")], "web1", [NAME]) == ({}, {})


@pytest.mark.parametrize(("state", "only", "found"), [
    ("suspended", [], True), ("archived", [], False), ("archived", [NAME], True), ("purged", [NAME], False)])
def test_share_follows_the_state(state, only, found):
    assert bool(module.share([website(state=state)], "web1", only)[0]) is found


@pytest.mark.parametrize("values", [
    {"name": "--target=/"}, {"name": "a b.go.id"}, {"name": "dinkes.go.id\n"}, {"name": "../x.go.id"}, {"name": None},
    {"name": []},
    {"release": {"sha256": "--x"}}, {"release": {"sha256": RELEASE + "\n"}}, {"release": None}, {"release": "x"}])
def test_share_leaves_out_what_was_never_validated_and_nothing_else(values):
    bad = website(**values)
    releases, faults = module.share([bad, website(name="disdik.tarakankota.go.id")], "web1", [])
    assert [*releases] == ["disdik.tarakankota.go.id"] and [*faults] == [str(bad["name"])]


def test_share_refuses_a_name_that_nobody_knows():
    with pytest.raises(Refused, match=r"names no 'x\.go\.id'"):
        module.share([website()], "web1", ["x.go.id"])


def answer(**values):
    return {"planned": [NAME], "before": {NAME: {"snapshot": "00", "release": "cd"}}, "snapshots": {NAME: {"id": "01"}},
            "failures": {}, "orphans": [], **values}


@pytest.fixture
def asked(monkeypatch):
    words = []
    monkeypatch.setattr(module, "is_set_up", lambda: True)
    monkeypatch.setattr(module, "ask", lambda given: words.append(given) or answer())
    return words


def test_check_mode_plans_what_a_run_does(asked):
    plan, done = (module.converge({NAME: RELEASE[:12]}, "web1", "missing", check) for check in (True, False))
    assert plan["changes"] == done["changes"] != []
    assert asked == [["backup", "--website", NAME, "--if-missing", "--plan"],
                     ["backup", "--website", NAME, "--if-missing"]]


def test_mode_now_snapshots_in_any_case(asked):
    module.converge({NAME: RELEASE[:12]}, "web1", "now", False)
    assert asked == [["backup", "--website", NAME]]


def test_nothing_is_asked_when_the_host_has_no_website(asked):
    assert not module.converge({}, "web1", "missing", False)["changed"] and asked == []


def test_check_mode_plans_all_on_a_server_not_set_up(monkeypatch):
    monkeypatch.setattr(module, "is_set_up", lambda: False)
    assert [c["website"] for c in module.converge({NAME: "ab"}, "web1", "missing", True)["changes"]] == [NAME]


def test_failed_website_is_no_change(monkeypatch, asked):
    monkeypatch.setattr(module, "ask", lambda given: answer(failures={NAME: "no dump"}))
    result = module.converge({NAME: "ab"}, "web1", "now", False)
    assert result["changes"] == [] and result["failures"] == {NAME: "no dump"}


def test_failure_names_each_website_and_cause():
    said = module.failure({"b.go.id": "two", "a.go.id": "one"}, ["c.go.id"])
    assert said.what == "no snapshot of 2 website(s): a.go.id: one; b.go.id: two" and "1 that were made" in said.mend

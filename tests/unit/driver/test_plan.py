"""A plan is sorted, readable, and stops where it would touch what nobody asked for."""

from __future__ import annotations

from typing import Any

from sop_driver import plan
from sop_driver.fleet import FleetResult, Result

KNOWN = {"a", "b"}  # the register's websites


def change(website: str | None, host: str, action: str, subject: str = "vhost", **more: Any) -> dict[str, Any]:
    return {"layer": "web", "host": host, "website": website, "action": action, "subject": subject, **more}


def of(*changes: dict[str, Any], **more: Any) -> plan.Plan:
    return plan.from_result(FleetResult("x", [Result("web1", "t", {"changes": list(changes), **more})]))


def test_lines_group_by_website_then_server() -> None:
    found = of(
        change("b", "web1", "create"),
        change("a", "web2", "remove", "pool"),
        change("a", "ns1", "update", "A", before="198.51.100.1", after={"to": 2}),
        change(None, "web1", "update", "policy"),
    )
    assert plan.lines(found.changes) == [
        "for all websites",
        "  web1",
        "    ~ update policy",
        "a",
        "  ns1",
        '    ~ update A 198.51.100.1 → {"to":2}',
        "  web2",
        "    - remove pool",
        "b",
        "  web1",
        "    + create vhost",
    ]


def test_nightly_lines_tell_each_web_host_s_last_check() -> None:
    last = {"finished": "2026-11-24T02:10:00+00:00", "found": 3}
    found = of(nightly=[{"host": "web2", "last": None}, {"host": "web1", "last": last}])
    assert plan.nightly_lines(found.nightly) == [
        "nightly check on web1: 2026-11-24T02:10:00+00:00, 3 files that no release brought or that differ",
        "nightly check on web2: none yet"]


def test_refusals_are_none_for_the_run_s_own_websites() -> None:
    assert of(change("a", "web1", "create"), change(None, "web1", "update")).refusals(["a"], "production", KNOWN) == []


def test_refusals_name_drift_once_a_website_with_all_that_differs() -> None:
    found = of(change("b", "web1", "update"), change("b", "ns1", "remove", "A")).refusals(["a"], "production", KNOWN)
    assert [r.gate for r in found] == ["drift"] and "remove A on ns1, update vhost on web1" in found[0].what


OWN = change("b", "db1", "update", "database user", by_website=True)


def test_what_a_website_s_own_account_can_change_stops_no_other_s_run_and_is_told() -> None:
    """Whoever got into one website could stop all others by it."""
    assert of(OWN).refusals(["a"], "production", KNOWN) == []
    assert plan.lines(of(OWN).changes)[-1] == (
        "    ~ update database user (the website's own account can have done this)")


def test_what_it_cannot_change_is_drift_beside_what_it_can() -> None:
    (found,) = of(OWN, change("b", "web1", "update")).refusals(["a"], "production", KNOWN)
    assert found.gate == "drift" and "update vhost on web1" in found.what and "database user" not in found.what


def test_refusals_name_what_is_foreign_and_where() -> None:
    conflict = {"website": "a", "subject": "A", "where": "zone", "host": "ns1"}
    found = of(conflicts=[conflict]).refusals(["a"], "production", KNOWN)
    assert found[0].gate == "existence check" and "ns1" in found[0].what and "zone" in found[0].what


def test_orphans_are_told_with_their_server() -> None:
    assert of(orphans=["old"]).orphans == [{"website": "old", "host": "web1"}]


ROW = {"website": "b", "what": "b asks for PHP 9", "mend": "ask for 8.2", "layer": "web", "host": "web1"}


def test_refusals_name_what_a_layer_refuses_of_the_run_s_own_websites() -> None:
    found = of(refused=[ROW]).refusals(["b"], "production", KNOWN)
    assert [str(r) for r in found] == ["refused: b asks for PHP 9\ngate: web on web1\nmend: ask for 8.2"]


def test_what_a_layer_refuses_of_others_is_told_and_is_no_drift() -> None:
    plan = of(change("b", "web1", "update"), refused=[ROW])
    assert plan.refusals(["a"], "production", KNOWN) == []
    assert of(change("b", "ns1", "remove", "A"), refused=[ROW]).refusals(["a"], "production", KNOWN)[0].gate == "drift"
    assert plan.others(["a"]) == ["b stays as it is: b asks for PHP 9 (web on web1): ask for 8.2"]
    assert plan.others(["b"]) == []

"""After a run the three records are in the register and in files that people can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from driver.desk import Desk, failing
from sop_driver import records

NAME = "dinkes.tarakankota.go.id"


def kept(desk: Desk) -> dict[str, dict[str, object]]:
    desk.run(desk.approved(title="Dinas {{ 7 * 7 }}"))
    return {s: json.loads((desk.office.home.records / NAME / f"{s}.json").read_text()) for s in records.SUBJECTS}


def test_keep_writes_the_same_into_register_and_files(desk: Desk) -> None:
    files = kept(desk)
    for entry in desk.office.register.entries(kind="record"):
        found = files[entry.data["subject"]]
        assert found["register"] == entry.sequence and found.items() >= entry.data["websites"][NAME].items()
    assert files["configuration"]["as_built"] == {"web1": {"vhost": NAME}}
    assert files["network"]["web1"] == {"http": {"status": 200, "ok": True}}
    assert files["backup"]["snapshots"] == {"web1": {"id": "abc"}}


def test_keep_says_that_the_backup_failed(desk: Desk) -> None:
    desk.fleet.faults["backup.yml"] = failing
    assert "no space left" in str(kept(desk)["backup"]["fault"])


def test_overview_is_the_whole_desired_state_as_yaml(desk: Desk) -> None:
    kept(desk)
    found = yaml.safe_load((desk.office.home.records / "configuration.yml").read_text())
    websites = found["Data konfigurasi layanan website"]["websites"]
    assert [row["name"] for row in websites] == [NAME] and websites[0]["title"] == "Dinas {{ 7 * 7 }}"


@pytest.mark.parametrize(("https", "lines"), [
    (None, [f"  http://{NAME}/  on web1, 198.51.100.11"]),
    ({"ok": True, "error": None}, [f"  https://{NAME}/  on web1, 198.51.100.11"]),
    ({"ok": False, "error": "connection refused"}, [
        f"  http://{NAME}/  on web1, 198.51.100.11",
        "    on HTTP until its certificate comes, which is asked for again: connection refused"]),
])
def test_pages_tell_which_website_is_on_http_and_why(https: dict[str, Any] | None, lines: list[str]) -> None:
    row = {"name": NAME, "web_host": "web1", "address": {"ipv4": "198.51.100.11"}}
    outcome = records.Outcome("run-000001", [], [row], [], {}, {NAME: {"localhost": {"http": {}, "https": https}}})
    assert outcome.pages() == lines

"""The nightly check of releases: it runs by itself, names what was changed, and says so by failing."""

import json

import pytest

RELEASES = "/srv/websites/statis.example.go.id/releases"
LISTED = "/var/lib/websites/web/current/websites.json"
UNIT = "website-manifest.service"


@pytest.fixture
def page(host):
    """The live page of a website, defaced for one test."""
    path = host.check_output(f"ls -d {RELEASES}/*/index.html | tail -n 1")
    shell = path.replace("index.html", "shell.php")
    host.check_output("cp -p %s /tmp/page && echo defaced > %s && touch %s", path, path, shell)
    yield path
    host.check_output("cat /tmp/page > %s && rm %s", path, shell)
    assert host.run(f"systemctl start {UNIT}").rc == 0
    assert UNIT not in host.check_output("systemctl --failed --plain --no-legend")


def test_check_runs_every_night(host):
    """It must not need the controller, nor an administrator who remembers it."""
    assert host.service("website-manifest.timer").is_enabled
    assert "02:00:00" in host.check_output("systemctl show -p TimersCalendar website-manifest.timer")
    assert host.check_output("systemctl is-active website-manifest.timer") == "active"


def test_untouched_releases_are_no_failure(host):
    """An alarm at every night is no alarm."""
    assert host.run(f"systemctl start {UNIT}").rc == 0
    found = json.loads(host.file("/var/lib/websites/manifest.json").content_string)
    assert found["found"] == []


def test_defaced_page_fails_the_unit_and_is_named(host, page):
    """Monitoring sees the unit, and the administrator who looks sees which file of which website."""
    assert host.run(f"systemctl start {UNIT}").rc != 0
    assert UNIT in host.check_output("systemctl --failed --plain --no-legend")
    said = host.check_output(f"journalctl -u {UNIT} -p err -o cat --since -2min")
    assert "statis.example.go.id: file index.html was changed since the release was unpacked" in said
    assert "statis.example.go.id: file shell.php was added since the release was unpacked" in said
    found = json.loads(host.file("/var/lib/websites/manifest.json").content_string)["found"]
    assert {item["website"] for item in found} == {"statis.example.go.id"}


@pytest.fixture
def malformed(host):
    """A website in the live list that has a name and nothing else, as somebody's edit may leave it, for one test."""
    host.check_output("cp -p %s /tmp/listed && sed -i 's/^\\[/[{\"name\": \"a.example.go.id\"}, /' %s", LISTED, LISTED)
    yield
    host.check_output("cp -p /tmp/listed %s", LISTED)


def test_malformed_website_is_named_and_hides_no_defaced_page(host, page, malformed):
    """One that cannot be compared must not end the night's check for a thousand others."""
    assert host.run(f"systemctl start {UNIT}").rc != 0
    found = json.loads(host.file("/var/lib/websites/manifest.json").content_string)["found"]
    assert {(item["website"], item["what"]) for item in found} == {
        ("a.example.go.id", "not compared"), ("statis.example.go.id", "changed"), ("statis.example.go.id", "added")}

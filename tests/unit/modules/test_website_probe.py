"""The probe against servers that answer as sites do, and as hostile sites do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import website_probe as probe
from ansible.module_utils.transaction import Refused

NAME = "disdik.tarakankota.go.id"
SITE: dict[str, Any] = {"name": NAME, "state": "present", "aliases": ["pendidikan.tarakankota.go.id"],
        "probe": {"path": "/", "contains": "Dinas Pendidikan & Kebudayaan"},
        "address": {"ipv4": "127.0.0.1", "ipv6": None}}
PAGE = b"<h1>Dinas Pendidikan &amp; Kebudayaan</h1>"
MOVED: dict[str, str] = {
    "/relative": "/page?a=b#part", "/absolute": f"http://{NAME}/page", "/upper": f"http://{NAME.upper()}/page",
    "/bare": f"http://{NAME}", "/port": f"http://{NAME}:80/page", "/beside": "page", "/letters": "/caf\xe9 x/page",
    "/away": "http://evil.example.com/page", "/inside": "http://10.89.77.21/page", "/tls": f"https://{NAME}/page",
    "/other-port": f"http://{NAME}:8080/page", "/circle": "/circle", "/file": "file:///etc/passwd",
    "/broken": "http://[bad/page", "/split": "/page%0d%0aX: y", "/user": f"http://a:b@{NAME}/page", "/two": "/relative",
}


class Server(ThreadingHTTPServer):
    """Remembers the requests that it saw."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Site)
        self.seen: list[tuple[str, str]] = []


class Site(BaseHTTPRequestHandler):
    """One website; other names are unknown here."""

    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append((self.headers["Host"], self.path))
        path = self.path.split("?")[0]
        if self.headers["Host"] != NAME:
            return self.answer(404, b"Situs tidak dikenal")
        if path == "/drip":
            return self.drip()
        if path == "/silent":
            return time.sleep(1)
        if path == "/gone":
            return self.connection.close()
        if path == "/endless":
            return self.endless()
        if path in MOVED:
            return self.answer(302, b"", MOVED[path])
        status = int(path[1:]) if path[1:].isdigit() else 200
        return self.answer(status, b"<h1>Lain</h1>" if path == "/lacks" else PAGE)

    def answer(self, status: int, body: bytes, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def drip(self) -> None:
        """An octet now and then: no single read takes long."""
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(40):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            self.wfile.write(PAGE)
            while True:
                self.wfile.write(bytes(100_000))
        except OSError:
            return


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """A web server on loopback; gives the requests that it saw."""
    server = Server()
    monkeypatch.setattr(probe, "PORT", server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.seen
    server.shutdown()
    thread.join()
    server.socket.close()


def look(path: str, timeout: float = 5, **more: Any) -> dict[str, Any]:
    given = {**SITE, "probe": {**SITE["probe"], "path": path}, **more}
    found: dict[str, Any] = probe.look(given, "127.0.0.1", timeout)
    return found


def test_look_finds_the_text_as_a_reader_sees_it(site: list[Any]) -> None:
    found = look("/")
    assert (found["status"], found["contains"], found["ok"], found["error"]) == (200, True, True, None)
    assert found["ms"] >= 0 and site == [(NAME, "/")]


@pytest.mark.parametrize(("path", "status", "contains"), [
    ("/500", 500, True), ("/503", 503, True), ("/404", 404, True), ("/lacks", 200, False), ("/301", 301, True)])
def test_look_is_not_content_with_errors_or_another_page(
    site: list[Any], path: str, status: int, contains: bool) -> None:
    found = look(path)
    assert (found["status"], found["contains"], found["ok"]) == (status, contains, False)


def test_look_expects_503_of_a_suspended_website(site: list[Any]) -> None:
    assert look("/503", state="suspended")["ok"]
    assert not look("/", state="suspended")["ok"]


@pytest.mark.parametrize("path", ["/relative", "/absolute", "/upper", "/bare", "/port", "/beside", "/letters", "/two",
                                  "/split", "/user"])
def test_look_follows_redirects_within_the_website(site: list[Any], path: str) -> None:
    found = look(path)
    assert found["ok"], found
    assert {host for host, _ in site} == {NAME} and all("\r" not in seen and " " not in seen for _, seen in site)


@pytest.mark.parametrize("path", ["/away", "/inside", "/tls", "/other-port", "/file", "/broken"])
def test_look_follows_no_redirect_to_anything_else(site: list[Any], path: str) -> None:
    """A website must not steer the probe to the servers' own network."""
    found = look(path)
    assert (found["status"], found["ok"]) == (302, False) and site == [(NAME, path)]


def test_look_ends_a_circle_of_redirects(site: list[Any]) -> None:
    assert look("/circle")["status"] == 508 and len(site) == 6


@pytest.mark.parametrize("path", ["/drip", "/silent"])
def test_look_gives_up_at_its_deadline(site: list[Any], path: str) -> None:
    """A page that drips would hold the run for hours: each single read of it is quick."""
    begun = time.monotonic()
    found = look(path, timeout=0.4)
    assert time.monotonic() - begun < 1.5
    assert (found["status"], found["ok"]) == (None, False) and found["error"]


def test_look_reads_no_more_than_it_must_of_an_endless_page(site: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "LARGEST", 200_000)
    assert look("/endless")["ok"]


@pytest.mark.parametrize("path", ["/gone", "/a b", "/\r\nX: y", "/é", "/\0"])
def test_look_reports_what_cannot_be_asked_or_read(site: list[Any], path: str) -> None:
    found = look(path)
    assert (found["status"], found["ok"]) == (None, False) and found["error"]
    assert path == "/gone" or site == []


def test_look_reports_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PORT", 1)
    assert "refused" in look("/")["error"]


RIGHT = {"A": ["127.0.0.1"], "AAAA": []}
Zone = dict[str, dict[str, list[str]]]


@pytest.fixture
def dig(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What `dig -f` prints for each server's zone; a text stands for what it prints instead."""

    def answers(zones: dict[str, Zone | str]) -> list[str]:
        asked: list[str] = []

        def run(argv: list[str], **_: Any) -> str:
            zone = zones[argv[1].removeprefix("@")]
            asked.extend(Path(argv[-1]).read_text().splitlines())
            if isinstance(zone, str):
                return zone
            lines = []
            for question in Path(argv[-1]).read_text().splitlines():
                name, kind = question.split()
                status = "NOERROR" if name.rstrip(".") in zone else "NXDOMAIN"
                lines.append(f";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: {status}, id: 4711")
                values = zone.get(name.rstrip("."), {}).get(kind, [])
                lines += [f"{name}\t\t3600\tIN\t{kind}\t{value}" for value in values]
            return "\n".join(lines) + "\n"

        monkeypatch.setattr(probe, "run", run)
        return asked

    return answers


def everywhere(site: dict[str, Any] = SITE, right: dict[str, list[str]] = RIGHT) -> Zone:
    return dict.fromkeys([site["name"], *site["aliases"]], right)


def test_names_seen_asks_every_address_of_every_name_server(dig: Callable[..., Any]) -> None:
    asked = dig({address: everywhere() for address in ("192.0.2.1", "2001:db8::1", "192.0.2.2")})
    seen, failures = probe.names_seen([SITE], {"ns1": ["192.0.2.1", "2001:db8::1"], "ns2": ["192.0.2.2"]})
    assert failures == [] and seen == {NAME: {"ns1": {**RIGHT, "ok": True}, "ns2": {**RIGHT, "ok": True}}}
    assert len(asked) == 3 * 4 and f"{NAME}. AAAA" in asked


@pytest.mark.parametrize("zone", [
    {}, everywhere(right={"A": ["192.0.2.9"], "AAAA": []}),
    everywhere(right={"A": ["127.0.0.1", "192.0.2.9"], "AAAA": []}),
    everywhere(right={"A": ["127.0.0.1"], "AAAA": ["2001:db8::9"]}), {NAME: RIGHT},
])
def test_names_seen_reports_a_server_that_answers_otherwise(dig: Callable[..., Any], zone: Zone) -> None:
    dig({"192.0.2.1": everywhere(), "192.0.2.2": zone})
    seen, failures = probe.names_seen([SITE], {"ns1": ["192.0.2.1"], "ns2": ["192.0.2.2"]})
    assert (seen[NAME]["ns1"]["ok"], seen[NAME]["ns2"]["ok"]) == (True, False)
    assert failures and all("ns2 (192.0.2.2) answers" in line for line in failures)


def test_names_seen_takes_an_address_in_any_spelling(dig: Callable[..., Any]) -> None:
    site = {**SITE, "address": {"ipv4": "127.0.0.1", "ipv6": "2001:DB8:0:0::1"}}
    dig({"192.0.2.1": everywhere(right={"A": ["127.0.0.1"], "AAAA": ["2001:db8::1"]})})
    assert probe.names_seen([site], {"ns1": ["192.0.2.1"]})[1] == []


@pytest.mark.parametrize("said", [";; connection timed out; no servers could be reached\n",
                                  ";; communications error to 192.0.2.1#53: timed out\n"])
def test_names_seen_reports_a_silent_server_once(dig: Callable[..., Any], said: str) -> None:
    dig({"192.0.2.1": said})
    seen, failures = probe.names_seen([SITE], {"ns1": ["192.0.2.1"]})
    assert failures == ["ns1: the name server at 192.0.2.1 does not answer"] and not seen[NAME]["ns1"]["ok"]


def test_names_seen_reports_dig_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise Refused("`dig @192.0.2.1` ended with 9: no reply", "mend")

    monkeypatch.setattr(probe, "run", fails)
    assert probe.names_seen([SITE], {"ns1": ["192.0.2.1"]})[1] == ["ns1: `dig @192.0.2.1` ended with 9: no reply"]


@pytest.mark.parametrize("name", ["a.go.id\n+cookie x", "@evil", "-f /etc/passwd", "+trace", "a.go.id AXFR", ""])
def test_names_seen_hands_no_hostile_name_to_dig(dig: Callable[..., Any], name: str) -> None:
    asked = dig({"192.0.2.1": {}})
    seen, failures = probe.names_seen([{**SITE, "name": name}], {"ns1": ["192.0.2.1"]})
    assert asked == [] and "is no website's name" in failures[0] and not seen[name]["ns1"]["ok"]


def test_probe_is_content_when_a_visitor_is(site: list[Any], dig: Callable[..., Any]) -> None:
    dig({"192.0.2.1": everywhere()})
    probes, failures = probe.probe([SITE], {"ns1": ["192.0.2.1"]}, 5)
    assert failures == [] and probes[NAME]["http"]["ok"] and probes[NAME]["dns"]["ns1"]["ok"]


def test_probe_looks_over_each_address_and_keeps_the_worse(site: list[Any], dig: Callable[..., Any]) -> None:
    given = {**SITE, "address": {"ipv4": "127.0.0.1", "ipv6": "::1"}}
    dig({"192.0.2.1": everywhere(right={"A": ["127.0.0.1"], "AAAA": ["::1"]})})
    probes, failures = probe.probe([given], {"ns1": ["192.0.2.1"]}, 2)
    assert probes[NAME]["http"]["address"] == "::1" and not probes[NAME]["http"]["ok"]
    assert len(failures) == 1 and failures[0].startswith(f"http://{NAME}/ at ::1: ")


def test_probe_says_what_the_page_lacks(site: list[Any], dig: Callable[..., Any]) -> None:
    dig({"192.0.2.1": everywhere()})
    given = {**SITE, "probe": {"path": "/lacks", "contains": "Dinas\nrefused: x"}}
    failures = probe.probe([given], {"ns1": ["192.0.2.1"]}, 5)[1]
    assert failures == [
        f"http://{NAME}/lacks at 127.0.0.1: status 200, and the page lacks {'Dinas' + chr(10) + 'refused: x'!r}"]

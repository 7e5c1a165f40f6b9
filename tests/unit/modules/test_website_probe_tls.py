"""The probe against websites over TLS: led there, trusted, not trusted, on their way."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import website_probe as probe
from ansible.module_utils.transaction import Refused

NAME = "dinkes.tarakankota.go.id"
SITE: dict[str, Any] = {"name": NAME, "state": "present", "aliases": [], "probe": {"path": "/", "contains": "Situs"},
                        "address": {"ipv4": "127.0.0.1", "ipv6": None}}


class Plain(BaseHTTPRequestHandler):
    """Leads to HTTPS, but for what lies under /plain."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/plain" else 301)
        self.send_header("Location", f"https://{NAME}{self.path}")
        self.end_headers()
        self.wfile.write(b"Situs")


class Secure(Plain):
    """The page, but for what lies under /back, which leads away from HTTPS."""

    def do_GET(self) -> None:
        self.send_response(301 if self.path == "/back" else 200)
        self.send_header("Location", f"http://{NAME}/plain")
        self.end_headers()
        self.wfile.write(b"Situs")


def made(folder: Path, name: str) -> Path:
    """A certificate for a name, valid for three days, with its key."""
    path = folder / "site.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "3",
         "-subj", "/CN=Lab", "-addext", f"subjectAltName=DNS:{name}", "-keyout", path, "-out", path],
        check=True, capture_output=True,
    )
    return path


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A visitor who does not trust the certificate hangs up, as the test wants it."""


def serve(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> ThreadingHTTPServer:
    server = Server(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture(params=[NAME])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A website on both ports; gives the context of a visitor who trusts its issuer."""
    certificate = made(tmp_path, request.param)
    servers = [serve(Plain), serve(Secure, certificate)]
    monkeypatch.setattr(probe, "PORT", servers[0].server_port)
    monkeypatch.setattr(probe, "TLS_PORT", servers[1].server_port)
    monkeypatch.setattr(probe, "names_seen", lambda websites, _: ({w["name"]: {} for w in websites}, []))
    yield probe.trust(str(certificate))
    for server in servers:
        server.shutdown()
        server.socket.close()


def seen(context: ssl.SSLContext, path: str = "/", **standing: Any) -> tuple[dict[str, Any], list[str]]:
    """What the probe finds of a website whose certificate stands so."""
    given = {**SITE, "probe": {**SITE["probe"], "path": path}}
    certificates = {NAME: {"status": "valid", "error": None, **standing}}
    probes, failures = probe.probe([given], {}, 5, context, certificates)
    return probes[NAME], failures


def test_website_leads_to_https_and_its_certificate_is_kept(site: ssl.SSLContext) -> None:
    found, failures = seen(site)
    assert failures == []
    assert found["http"]["ok"] and found["https"] == {"ok": True, "issuer": "Lab", "days_left": 2, "error": None}


def test_certificate_that_a_visitor_does_not_trust_is_a_failure(site: ssl.SSLContext) -> None:
    found, failures = seen(ssl.create_default_context())
    assert not found["http"]["ok"] and not found["https"]["ok"]
    assert failures[0].startswith(f"http://{NAME}/ at 127.0.0.1: ") and "self-signed certificate" in failures[0]


@pytest.mark.parametrize("site", ["lain.tarakankota.go.id"], indirect=True)
def test_certificate_of_another_name_is_a_failure(site: ssl.SSLContext) -> None:
    assert "Hostname mismatch" in seen(site)[1][0]


@pytest.mark.parametrize("path", ["/plain", "/back"])
def test_website_that_stays_on_http_is_a_failure(site: ssl.SSLContext, path: str) -> None:
    found, failures = seen(site, path)
    assert found["http"]["ok"] and not found["https"]["ok"]
    assert failures == [f"https://{NAME}{path} at 127.0.0.1: visitors are not led to HTTPS, "
                        "and the web host's certificate is valid"]


def test_website_whose_certificate_is_on_its_way_may_stay_on_http(site: ssl.SSLContext) -> None:
    found, failures = seen(site, "/plain", status="pending", error="the authority does not answer")
    assert failures == [] and found["http"]["ok"]
    assert found["https"] == {"ok": False, "issuer": None, "days_left": None, "error": "the authority does not answer"}


def test_website_without_a_certificate_is_not_asked_for_https(site: ssl.SSLContext) -> None:
    given = {**SITE, "probe": {**SITE["probe"], "path": "/plain"}}
    probes, failures = probe.probe([given], {}, 5, site, {})
    assert failures == [] and probes[NAME]["https"] is None


def test_trust_names_a_file_that_holds_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(Refused, match="holds no certificates"):
        probe.trust(str(tmp_path / "ca.pem"))

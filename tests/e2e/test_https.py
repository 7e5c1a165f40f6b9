"""The fleet's websites over HTTPS, as the lab's visitor sees them: with trust in the lab's authority, without -k."""

import json
from pathlib import Path

import pytest
from lab import FLEET, GROUPS, LAB, RUN, archive, clear, get, on, sop, submit

DOMAIN = FLEET["domain"]
AUTHORITY = GROUPS["authorities"]["hosts"]["acme1"]["public_ipv4"]


@pytest.mark.parametrize(("name", "text"), [("dinkes", "Edisi 2"), ("disdik", "Dinas Pendidikan Kota Tarakan")])
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_visitor_opens_the_website_without_a_warning(name: str, text: str, family: str) -> None:
    """The certificate came within the run that made the website."""
    assert text in on("visitor1", f"curl -fsS {family} https://{name}.{DOMAIN}/")


def test_visitor_is_led_from_http() -> None:
    """Old links and typed names."""
    said = on("visitor1", f"curl -sS -o /dev/null -w '%{{http_code}} %{{redirect_url}}' http://dinkes.{DOMAIN}/x?y=z")
    assert said == f"301 https://dinkes.{DOMAIN}/x?y=z"


def test_page_of_wordpress_links_to_https_only() -> None:
    """An application behind TLS must know it, or its styles are blocked as mixed content."""
    assert f"http://disdik.{DOMAIN}" not in on("visitor1", f"curl -fsS https://disdik.{DOMAIN}/")


def test_unknown_name_shows_no_agencys_certificate() -> None:
    """A name that points here by mistake."""
    for host in FLEET["web"].values():
        said = on("visitor1", f"curl -ksv -o /dev/null https://{host['ipv4']}/ 2>&1")
        assert "unknown.invalid" in said and "404" in said


def test_records_tell_the_certificate() -> None:
    """Configuration data: status, issuer and end."""
    kept = json.loads((LAB / f"sop/records/dinkes.{DOMAIN}/configuration.json").read_text())
    certificate = kept["as_built"]["web1"]["certificate"]
    assert certificate["status"] == "valid" and "Pebble" in certificate["issuer"] and certificate["error"] is None


def test_website_whose_certificate_does_not_come_is_up_on_http_and_says_why(tmp_path: Path) -> None:
    """The authority is out of reach: the run goes well, others are as before, and HTTPS follows once it is back."""
    name = f"tanpa-tls-{RUN}"
    request = clear(tmp_path, submit(tmp_path, name, archive({"index.html": f"<h1>Situs {name}</h1>"})))
    for host in FLEET["web"]:
        on(host, f"ip route add prohibit {AUTHORITY}")
    try:
        done = sop("run", request)
        assert get(f"http://{name}.{DOMAIN}/") == (200, f"<h1>Situs {name}</h1>")
        assert "Edisi 2" in on("visitor1", f"curl -fsS https://dinkes.{DOMAIN}/")
    finally:
        for host in FLEET["web"]:
            on(host, f"ip route del prohibit {AUTHORITY}")
    assert done.returncode == 0, done.stderr
    host = done.stdout.partition(f"  http://{name}.{DOMAIN}/  on ")[2].partition(",")[0]
    assert host in FLEET["web"] and "on HTTP until its certificate comes" in done.stdout
    kept = json.loads((LAB / f"sop/records/{name}.{DOMAIN}/configuration.json").read_text())
    certificate = kept["as_built"][host]["certificate"]
    assert certificate["status"] == "pending" and certificate["error"]
    on(host, "website-certificates --retry --wait 60", timeout=90)
    assert on("visitor1", f"curl -fsS https://{name}.{DOMAIN}/") == f"<h1>Situs {name}</h1>"

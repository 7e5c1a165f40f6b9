"""Websites ask for certificates only after the name servers know them."""

import json
from pathlib import Path

import apache_websites
import pytest
from ansible.module_utils import web_layer, web_server, web_tls
from ansible.module_utils.transaction import Outcome, Refused
from web_cases import HOST, WebHost, host, website

__all__ = ["host"]

ONE = website()
TWO = website("disdik.tarakankota.go.id", 20002)


@pytest.fixture
def store(tmp_path: Path, host: WebHost, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A web host that asks an authority for certificates."""
    for folder in ("https/held", "https/served", "md/domains"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr("web_cases.HOST", HOST._replace(acme=True))
    return tmp_path


def held(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "https/held").iterdir())


def test_new_website_is_held_back(host: WebHost, store: Path) -> None:
    """DNS comes last in a run; asked earlier, the authority would count a failure."""
    host.converge(ONE)
    assert held(store) == [ONE["name"]]


def test_website_with_a_certificate_is_not_held_back(host: WebHost, store: Path) -> None:
    """Its visitors would lose HTTPS until the run's end."""
    (store / "md/domains" / ONE["name"]).mkdir()
    (store / "md/domains" / ONE["name"] / "pubcert.secp256r1.pem").touch()
    host.converge(ONE)
    assert held(store) == []


def test_website_that_is_left_alone_is_not_held_back(host: WebHost, store: Path) -> None:
    """It may be waiting for the authority's next try."""
    host.converge(ONE)
    (store / "https/held" / ONE["name"]).unlink()
    host.converge(ONE, TWO)
    assert held(store) == [TWO["name"]]


def test_failed_run_holds_nothing_back(host: WebHost, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before goes on as before."""

    def broken(*_: object) -> None:
        raise Refused("it does not answer", "mend it")

    with monkeypatch.context() as breaking:
        breaking.setattr(web_server, "look", broken)
        host.converge(ONE)
    assert held(store) == [] and list(host.left) == [ONE["name"]]
    monkeypatch.setattr(web_server, "reload", broken)
    with pytest.raises(Refused, match="does not answer"):
        host.converge(ONE)
    assert held(store) == []


def test_purged_website_leaves_neither_hold_nor_way_to_https(host: WebHost, store: Path) -> None:
    """Its name's next holder would be held back for an hour, or lead visitors to an HTTPS that it has not yet."""
    aliases = [f"www{number}.dinkes.tarakankota.go.id" for number in (1, 2)]
    one, served = website(aliases=aliases), store / "https/served"
    host.converge(one, TWO)
    for name in (one["name"], *aliases, TWO["name"]):
        (served / name).touch()
    host.converge({**one, "state": "purged"}, TWO)
    assert held(store) == [path.name for path in served.iterdir()] == [TWO["name"]]


def test_hold_of_a_killed_run_goes_with_its_website(
    host: WebHost, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as breaking:
        breaking.setattr(web_server, "swap", killed)
        breaking.setattr(web_layer.Layer, "put_back", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            host.converge(ONE)
    assert held(store) == [ONE["name"]]
    host.converge(TWO)
    assert held(store) == [TWO["name"]]


def test_website_that_is_left_stays_held_until_apache_is_reloaded(
    host: WebHost, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apache reads who is held as it reloads: let go without one, it would never ask, and no start see it."""
    host.converge(ONE)
    (store / "https/held" / ONE["name"]).unlink()
    real = web_server.look

    def look(asked: dict[str, object]) -> None:
        if asked["name"] == ONE["name"]:
            raise Refused("it answers 500", "mend it")
        real(asked)

    monkeypatch.setattr(web_server, "look", look)
    host.converge(website(aliases=["www2.tarakankota.go.id"]), TWO)
    assert list(host.left) == [ONE["name"]] and held(store) == sorted([ONE["name"], TWO["name"]])


VALID = {"status": "valid", "issuer": "CN=Kota", "not_after": "2027-01-01T00:00:00+00:00", "error": None}


@pytest.mark.parametrize(
    ("check", "waits", "options", "left"),
    [(False, True, "", True), (False, False, "", False), (True, True, "--look", False)],
    ids=["held", "none held", "plan"],
)
def test_only_a_held_website_leaves_something_to_do_after_the_records(
    store: Path, monkeypatch: pytest.MonkeyPatch, check: bool, waits: bool, options: str, left: bool
) -> None:
    """The agency's own certificate is in use within the web layer; only an authority asks for names first."""
    program = store / "program"
    said = json.dumps({"reloads": 0, "websites": {ONE["name"]: VALID, TWO["name"]: VALID}})
    program.write_text(f"#!/bin/sh\necho $* > {store}/called\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(web_tls, "PROGRAM", program)
    if waits:
        (store / "https/held" / ONE["name"]).touch()
    outcome = Outcome([], {ONE["name"]: {"host": "web1"}}, [], [], [])
    assert apache_websites.settle_certificates(check, outcome) is left
    assert (store / "called").read_text().strip() == options
    assert outcome.as_built == {ONE["name"]: {"host": "web1", "certificate": VALID}}


def test_program_that_fails_is_left_to_the_task_that_tells_why(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The websites are live by then, and their names have to follow."""
    monkeypatch.setattr(web_tls, "PROGRAM", store / "none")
    assert apache_websites.settle_certificates(False, Outcome([], {}, [], [], [])) is True

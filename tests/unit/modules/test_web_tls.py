"""Websites ask for certificates only after the name servers know them."""

from pathlib import Path

import pytest
from ansible.module_utils import web_layer, web_server, web_tls
from ansible.module_utils.transaction import Refused
from web_cases import HOST, WebHost, host, website

__all__ = ["host"]

ONE = website()
TWO = website("disdik.tarakankota.go.id", 20002)


@pytest.fixture
def store(tmp_path: Path, host: WebHost, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A web host that asks an authority for certificates."""
    for folder in ("https/held", "md/domains"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(web_tls, "HELD", tmp_path / "https/held")
    monkeypatch.setattr(web_tls, "STORE", tmp_path / "md/domains")
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


def test_website_that_a_killed_run_made_is_not_held_back_once_it_is_removed(
    host: WebHost, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that removes it did not hold it back itself."""
    host.converge(TWO)

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as killed:
        killed.setattr(web_server, "swap", die)
        killed.setattr(web_layer.Layer, "put_back", lambda *_: None)
        with pytest.raises(SystemExit):
            host.converge(ONE, TWO)
    assert ONE["name"] in held(store)
    host.converge({**ONE, "state": "purged"}, TWO)
    assert held(store) == [TWO["name"]]

"""What web hosts and visitors need of an authority."""

import socket

import authority
import pytest
from testinfra.host import Host


def test_directory_answers_under_its_certificate(host: Host) -> None:
    """Web hosts trust this certificate and no other, at the address that they are given."""
    assert authority.directory(host)["newOrder"].startswith(f"https://{authority.address(host)}:14000/")


def test_kept_root_is_the_running_one_s(host: Host) -> None:
    """It is what visitors are told to trust."""
    assert host.file(f"{authority.FOLDER}/root.pem").content_string.strip() == authority.root(host).strip()


def test_key_is_root_s(host: Host) -> None:
    """Who reads it can be the authority."""
    key = host.file(f"{authority.FOLDER}/key.pem")
    assert (key.user, key.mode) == ("root", 0o600)


def test_management_is_not_on_the_network(host: Host) -> None:
    """It gives away the key of the root."""
    assert host.socket("tcp://127.0.0.1:15000").is_listening
    with pytest.raises(OSError, match="refused"), socket.create_connection((authority.address(host), 15000), 5):
        pass


def test_certificates_last_as_long_as_is_said(host: Host) -> None:
    """Short ones, by which renewing is tried, must not stay."""
    assert '"certificateValidityPeriod": 3600' in host.file(f"{authority.FOLDER}/pebble.json").content_string

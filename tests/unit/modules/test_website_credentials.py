"""Credentials of a web host: made once, kept, and only verifiers given away."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import website_credentials as credentials
from ansible.module_utils import database
from ansible.module_utils.transaction import Refused
from database_cases import website


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "credentials"
    monkeypatch.setattr(database, "CREDENTIALS", path)
    monkeypatch.setattr(credentials.transaction.os, "chown", lambda *args: None)
    return path


def kept(folder: Path, account: str = "w20001") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{account}.json").read_text())
    return found


def test_native_is_the_hash_that_mariadb_computes() -> None:
    """The value is MariaDB's own answer to SELECT PASSWORD('password')."""
    assert credentials.native("password") == "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"


def test_scram_is_the_example_of_rfc_7677() -> None:
    """For its password `pencil` the client's proof must fit our StoredKey, and the server's answer our ServerKey."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    keys = credentials.scram("pencil", salt).split("$")[2]
    stored, server = (base64.b64decode(part) for part in keys.split(":"))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    ).encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(stored, message, "sha256")
    client = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client).digest() == stored
    assert base64.b64encode(hmac.digest(server, message, "sha256")) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("engine", ["mariadb", "postgresql"])
def test_credential_is_random_and_its_verifier_fits_the_engine(engine: str) -> None:
    one, two = credentials.credential(engine), credentials.credential(engine)
    assert one["password"] != two["password"] and len(one["password"]) == 40 and one["password"].isalnum()
    assert database.VERIFIERS[engine].match(one["verifier"])


def test_converge_makes_a_file_for_root_only_and_returns_no_password(folder: Path) -> None:
    changes, verifiers, _ = credentials.converge([website()], "web1", False)
    stored = kept(folder)
    assert verifiers == {"w20001": {"engine": "mariadb", "verifier": stored["verifier"]}}
    assert (folder / "w20001.json").stat().st_mode & 0o777 == 0o600
    assert stored["password"] not in repr(changes) + repr(verifiers)


@pytest.mark.parametrize("engine", ["mariadb", "postgresql"])
def test_converge_keeps_a_credential(folder: Path, engine: str) -> None:
    first = credentials.converge([website(1, engine)], "web1", False)[1]
    before = kept(folder)
    changes, second, _ = credentials.converge([website(1, engine)], "web1", False)
    assert (changes, second, kept(folder)) == ([], first, before)


def test_converge_returns_null_in_check_mode_where_it_would_make_one(folder: Path) -> None:
    changes, verifiers, _ = credentials.converge([website()], "web1", True)
    assert len(changes) == 1 and verifiers["w20001"]["verifier"] is None and not folder.exists()


def test_converge_makes_none_for_other_hosts_and_websites_without_database(folder: Path) -> None:
    changes, verifiers, _ = credentials.converge([website(web_host="web2"), website(2, database=None)], "web1", False)
    assert (changes, verifiers) == ([], {})


def test_converge_removes_a_purged_websites_credential_of_the_same_run(folder: Path) -> None:
    credentials.converge([website()], "web1", False)
    changes, verifiers, _ = credentials.converge([website(state="purged")], "web1", False)
    assert [c.action for c in changes] == ["purge"] and verifiers == {} and list(folder.iterdir()) == []


def test_converge_keeps_a_purged_websites_credential_of_an_older_run(folder: Path) -> None:
    credentials.converge([website()], "web1", False)
    changes, _, _ = credentials.converge([website(state="purged", created_by="run-000009")], "web1", False)
    assert changes == [] and kept(folder)


def test_converge_mends_a_damaged_verifier_and_keeps_the_password(folder: Path) -> None:
    credentials.converge([website()], "web1", False)
    before = kept(folder)
    (folder / "w20001.json").write_text(json.dumps({**before, "verifier": "x"}))
    changes, _, _ = credentials.converge([website()], "web1", False)
    assert [c.action for c in changes] == ["update"] and kept(folder) == before


def test_converge_refuses_a_file_that_is_not_json(folder: Path) -> None:
    credentials.converge([website()], "web1", False)
    (folder / "w20001.json").write_text("{")
    with pytest.raises(Refused, match=r"w20001\.json is not JSON"):
        credentials.converge([website()], "web1", False)


def test_converge_leaves_no_new_file_when_one_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = credentials.write

    def full(account: str, *args: Any) -> Any:
        if account == "w20002":
            raise OSError(28, "No space left on device")
        return write(account, *args)

    monkeypatch.setattr(credentials, "write", full)
    with pytest.raises(OSError, match="No space"):
        credentials.converge([website(1), website(2)], "web1", False)
    assert list(folder.iterdir()) == []


def test_converge_leaves_a_malformed_website_and_makes_the_others(folder: Path) -> None:
    changes, verifiers, (left,) = credentials.converge([website(state="here"), website(2)], "web1", False)
    assert [change.website for change in changes] == [website(2)["name"]] and [*verifiers] == ["w20002"]
    assert left.website == website()["name"] and "'here'" in left.what and not (folder / "w20001.json").exists()

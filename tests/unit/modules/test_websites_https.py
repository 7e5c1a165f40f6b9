"""What takes certificates into use, on a store of mod_md's in a folder and certificates made for it."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import websites_https as program
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

NAME, ALIAS = "dinkes.tarakankota.go.id", "kesehatan.tarakankota.go.id"
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime.now(datetime.UTC)


def made(*names: str, days: float = 60) -> x509.Certificate:
    """A certificate for names that is good for some days from now."""
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Lab")])
    until = NOW + datetime.timedelta(days=days)
    builder = x509.CertificateBuilder(who, who, KEY.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(until - datetime.timedelta(days=90)).not_valid_after(until)
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, False)
    return builder.sign(KEY, hashes.SHA256())


class Server:
    """A web host's folders, and an Apache that activates staged certificates at each reload."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.reloads, self.websites = root, 0, []
        for folder in ("live/apache", "md/domains", "md/staging", "https/held", "https/served", "own"):
            (root / folder).mkdir(parents=True)
        for name, folder in (("LIVE", "live"), ("STORE", "md"), ("HTTPS", "https"), ("OWN", "own"), ("LOCK", "lock")):
            monkeypatch.setattr(program, name, root / folder)
        monkeypatch.setattr(program, "reload_apache", self.reload)
        monkeypatch.setattr(program, "shown", self.shown)
        self.serve()

    def serve(self, *websites: dict[str, Any], kept: tuple[str, ...] = ()) -> None:
        """Make these live; what is kept is ours, but not served."""
        self.websites = list(websites)
        entries = [*websites, *({"name": name, "aliases": [], "_certificate": "acme"} for name in kept)]
        (self.root / "live/websites.json").write_text(json.dumps(entries))
        for old in (self.root / "live/apache").iterdir():
            old.unlink()
        for website in websites:
            (self.root / "live/apache" / f"{website['name']}.conf").touch()

    def issue(self, name: str, *names: str, days: float = 60) -> None:
        """The authority's answer, which waits for a reload."""
        folder = self.root / "md/staging" / name
        folder.mkdir(exist_ok=True)
        text = made(*(names or (name,)), days=days).public_bytes(Encoding.PEM)
        (folder / "pubcert.secp256r1.pem").write_bytes(text)
        self.note(name, finished=True)

    def note(self, name: str, **job: Any) -> None:
        (self.root / "md/staging" / name).mkdir(exist_ok=True)
        (self.root / "md/staging" / name / "job.json").write_text(json.dumps({"name": name, **job}))

    def reload(self) -> None:
        self.reloads += 1
        for website in self.websites:
            staged, live = (self.root / "md" / kind / website["name"] for kind in ("staging", "domains"))
            if program.job(website).get("finished"):
                live.mkdir(exist_ok=True)
                for path in staged.iterdir():
                    path.replace(live / path.name)
                staged.rmdir()

    def shown(self, name: str) -> bytes | None:
        for website in self.websites:
            found = program.certificate(website)
            if found and name in [website["name"], *website["aliases"]]:
                return found.public_bytes(Encoding.DER)
        return None

    def served(self) -> list[str]:
        return sorted(path.name for path in (self.root / "https/served").iterdir())

    def run(self, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
        assert program.main(list(options)) == 0
        return dict(json.loads(capsys.readouterr().out)["websites"])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


Capture = pytest.CaptureFixture[str]
ONE = {"name": NAME, "aliases": [ALIAS], "_certificate": "acme"}


def test_certificate_that_came_is_taken_into_use(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.issue(NAME, NAME, ALIAS)
    standing = server.run(capsys)[NAME]
    assert (standing["status"], standing["issuer"], standing["error"]) == ("valid", "CN=Lab", None)
    assert server.reloads == 1 and server.served() == sorted([NAME, ALIAS])


def test_second_start_changes_nothing(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.issue(NAME, NAME, ALIAS)
    first = server.run(capsys)
    assert server.run(capsys) == first and server.reloads == 1


def test_look_changes_nothing(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.issue(NAME)
    (server.root / "https/held" / NAME).touch()
    assert server.run(capsys, "--look", "--release")[NAME]["status"] == "pending"
    assert server.reloads == 0 and server.served() == [] and (server.root / "https/held" / NAME).exists()


def test_only_names_that_the_certificate_serves_lead_to_https(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.issue(NAME, NAME)
    assert server.run(capsys)[NAME]["error"] == f"it does not serve {ALIAS} yet"
    assert server.served() == [NAME]


def test_expired_certificate_leads_nobody_to_https(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    (server.root / "https/served" / NAME).touch()
    server.issue(NAME, NAME, ALIAS, days=-1)
    assert server.run(capsys)[NAME]["status"] == "expired"
    assert server.served() == []


def test_failure_leaves_the_website_on_http_and_says_why(server: Server, capsys: Capture) -> None:
    other = {"name": "lain.tarakankota.go.id", "aliases": [], "_certificate": "acme"}
    server.serve(ONE, other)
    server.issue(other["name"])
    log = [{"type": "starting"}, {"detail": "authorization failed, CA says so"}, {"detail": "y failed, z"}]
    server.note(NAME, errors=2, last={"problem": "urn:x:dns", "detail": "no\nsuch \x1b[31mname"}, log={"entries": log})
    standings = server.run(capsys, "--wait", "5")
    assert standings[NAME] == {"status": "pending", "issuer": None, "not_after": None,
                               "error": "urn:x:dns no such [31mname authorization failed, CA says so"}
    assert standings[other["name"]]["status"] == "valid" and server.served() == [other["name"]]


@pytest.mark.parametrize(("days", "hours", "taken"), [(80, 0, False), (80, 2, True), (29, 0, True)])
def test_renewed_certificate_is_taken_into_use_when_it_is_needed(
    server: Server, capsys: Capture, days: float, hours: float, taken: bool
) -> None:
    server.serve(ONE)
    server.issue(NAME, NAME, ALIAS, days=days)
    server.run(capsys)
    server.issue(NAME, NAME, ALIAS, days=90)
    staged = server.root / "md/staging" / NAME / "job.json"
    os.utime(staged, (time.time() - hours * 3600,) * 2)
    server.run(capsys)
    assert server.reloads == (2 if taken else 1)


def test_cause_of_a_failure_outlives_the_reload_that_makes_mod_md_forget_it(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.note(NAME, errors=1, last={"problem": "urn:x:dns", "detail": "no such name"})
    server.run(capsys)
    (server.root / "md/staging" / NAME / "job.json").unlink()
    assert server.run(capsys)[NAME]["error"] == "urn:x:dns no such name"
    server.issue(NAME, NAME, ALIAS)
    assert server.run(capsys)[NAME]["error"] is None


def test_run_releases_what_was_held_back_and_waits_for_it(
    server: Server, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(ONE)
    (server.root / "https/held" / NAME).touch()
    monkeypatch.setattr(program.time, "sleep", lambda _: server.issue(NAME, NAME, ALIAS))
    assert server.run(capsys, "--release", "--wait", "5")[NAME]["status"] == "valid"
    assert server.reloads == 2 and server.served() == sorted([NAME, ALIAS])


def test_timer_leaves_a_fresh_hold_alone_and_ends_an_old_one(
    server: Server, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(ONE)
    held = server.root / "https/held" / NAME
    held.touch()
    server.run(capsys)
    assert held.exists() and server.reloads == 0
    monkeypatch.setattr(program, "HELD_TOO_LONG", -1)
    server.run(capsys)
    assert not held.exists() and server.reloads == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("step", "about"), [
    ("keep", ("released", [NAME])), ("unlink", ()), ("reload_apache", ()), ("keep", ("released", []))])
def test_website_that_a_killed_start_released_asks_at_the_next(
    server: Server, capsys: Capture, monkeypatch: pytest.MonkeyPatch, step: str, about: tuple[Any, ...], after: bool
) -> None:
    """Nothing is held any more by then; without a reload Apache would ask for no certificate, and nobody knew why."""
    server.serve(ONE)
    held = server.root / "https/held" / NAME
    held.touch()

    def reload() -> None:
        if not held.exists():
            server.issue(NAME, NAME, ALIAS)
        server.reload()

    monkeypatch.setattr(program, "reload_apache", reload)
    of = Path if step == "unlink" else program
    real = getattr(of, step)

    def die(*args: Any) -> None:
        dies = not about or args == about
        if after or not dies:
            real(*args)
        if dies:
            raise KeyboardInterrupt  # which nothing is done after

    with monkeypatch.context() as killed:
        killed.setattr(of, step, die)
        with pytest.raises(KeyboardInterrupt):
            program.main(["--release"])
    assert server.run(capsys, "--release")[NAME]["status"] == "valid"
    reloads = server.reloads
    assert server.run(capsys)[NAME]["status"] == "valid" and server.reloads == reloads, "it is done"


@pytest.mark.parametrize(("fresh", "errors", "waits"), [(True, 1, True), (True, 2, False), (False, 0, False)])
def test_run_waits_for_its_own_websites_only(server: Server, fresh: bool, errors: int, waits: bool) -> None:
    server.serve(ONE)
    server.note(NAME, errors=errors)
    assert bool(program.pending([ONE], {NAME} if fresh else set(), only_fresh=True)) == waits


def test_retry_forgets_the_pause_after_failures(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.note(NAME, errors=3)
    server.run(capsys, "--retry")
    assert server.reloads == 1 and program.job(ONE) == {}


def test_retry_waits_on_where_apache_drops_what_had_come(
    server: Server, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an Apache that is about to go obtains while its folder is removed is not whole."""
    server.serve(ONE)
    server.note(NAME, errors=3)

    def reload() -> None:
        server.reload()
        if server.reloads == 1:
            server.issue(NAME, NAME, ALIAS)
        if server.reloads == 2:
            (server.root / "md/domains" / NAME / "pubcert.secp256r1.pem").unlink()
            monkeypatch.setattr(program.time, "sleep", lambda _: server.issue(NAME, NAME, ALIAS))

    monkeypatch.setattr(program, "reload_apache", reload)
    assert server.run(capsys, "--retry", "--wait", "5")[NAME]["status"] == "valid"
    assert server.reloads == 3 and server.served() == sorted([NAME, ALIAS])


def test_agencys_own_certificate_is_used_at_once(server: Server, capsys: Capture) -> None:
    text = made("*.tarakankota.go.id").public_bytes(Encoding.PEM).decode()
    (server.root / "own/kota.pem").write_text(f"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n{text}")
    server.serve({**ONE, "_certificate": "kota"}, {"name": "a.go.id", "aliases": [], "_certificate": "none"})
    standings = server.run(capsys)
    assert list(standings) == [NAME] and standings[NAME]["status"] == "valid"
    assert server.served() == sorted([NAME, ALIAS]) and server.reloads == 0


OTHER = {"name": "lain.tarakankota.go.id", "aliases": [], "_certificate": "acme"}
WHOLE = made(NAME, ALIAS).public_bytes(Encoding.PEM)


def test_order_from_before_the_agency_gave_its_own_certificate_reloads_nothing(server: Server, capsys: Capture) -> None:
    server.serve({**ONE, "_certificate": "wildcard"})
    server.issue(NAME)
    server.run(capsys)
    server.serve({**ONE, "_certificate": "acme"})
    assert server.reloads == 0
    server.run(capsys)
    assert server.reloads == 1


def test_certificate_without_alternative_names_serves_none_and_stops_no_other(server: Server, capsys: Capture) -> None:
    """Browsers do not look at its subject, which the agency may have taken to be enough."""
    (server.root / "own/kota.pem").write_bytes(made().public_bytes(Encoding.PEM))
    server.serve({**ONE, "_certificate": "kota"}, OTHER)
    server.issue(OTHER["name"])
    standings = server.run(capsys)
    assert standings[NAME]["error"] == f"it does not serve {NAME}, {ALIAS} yet"
    assert standings[OTHER["name"]]["error"] is None and server.served() == [OTHER["name"]]


@pytest.mark.parametrize("left", [b"", WHOLE[:20], WHOLE[:200], b"\xff" + WHOLE, WHOLE.replace(b"A", b"B")],
                         ids=["empty", "no-mark", "cut", "no-text", "damaged"])
@pytest.mark.parametrize("own", ["acme", "kota"])
def test_certificate_that_cannot_be_read_is_that_websites_error_alone(
    server: Server, capsys: Capture, own: str, left: bytes
) -> None:
    (server.root / "md/domains" / NAME).mkdir()
    path = server.root / {"acme": f"md/domains/{NAME}/pubcert.secp256r1.pem", "kota": "own/kota.pem"}[own]
    path.write_bytes(left)
    (server.root / "https/served" / NAME).touch()
    server.serve({**ONE, "_certificate": own}, OTHER)
    server.issue(OTHER["name"])
    standings = server.run(capsys)
    assert standings[NAME]["status"] == "pending" and f"{path} cannot be read: " in standings[NAME]["error"]
    assert standings[OTHER["name"]]["status"] == "valid" and server.served() == [OTHER["name"]]


def test_certificate_of_the_agencys_that_is_gone_is_that_websites_error(server: Server, capsys: Capture) -> None:
    server.serve({**ONE, "_certificate": "kota"})
    assert "kota.pem cannot be read: " in server.run(capsys)[NAME]["error"]


def test_archived_website_keeps_its_certificate_and_a_purged_one_does_not(server: Server, capsys: Capture) -> None:
    server.serve(ONE)
    server.issue(NAME, NAME, ALIAS)
    server.run(capsys)
    server.serve(kept=(NAME,))
    assert server.run(capsys) == {} and server.served() == []
    assert (server.root / "md/domains" / NAME).is_dir()
    server.serve()
    server.run(capsys)
    assert not (server.root / "md/domains" / NAME).exists()


def test_store_of_others_is_left_alone(server: Server, capsys: Capture) -> None:
    (server.root / "md/domains/by-hand.go.id").mkdir()
    server.serve(ONE)
    server.run(capsys)
    assert (server.root / "md/domains/by-hand.go.id").is_dir()


def test_apache_that_cannot_reload_is_told_in_three_parts(
    server: Server, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise subprocess.CalledProcessError(1, "systemctl", stderr=b"Job failed")

    monkeypatch.setattr(program, "reload_apache", broken)
    server.serve(ONE)
    server.issue(NAME)
    assert program.main([]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["refused", "program", "mend"] and "Job failed" in said[0]

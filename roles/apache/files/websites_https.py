"""Take websites' certificates into use as they come, lead visitors to HTTPS where one is, and say how each stands."""

from __future__ import annotations

import argparse
import datetime
import fcntl
import functools
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

LIVE = pathlib.Path("/var/lib/websites/web/current")
STORE = pathlib.Path("/var/lib/websites/md")  # mod_md's: domains are in use, staging waits for a reload
HTTPS = pathlib.Path("/var/lib/websites/https")  # held: asks for none yet; served: HTTP leads to HTTPS
OWN = pathlib.Path("/etc/websites/certificates")
LOCK = pathlib.Path("/run/websites-certificates.lock")
TRIES = 2  # failures after which a run does not wait for a website any longer
HELD_TOO_LONG = 3600.0  # seconds after which a hold was left by a run that was stopped
STAGED_TOO_LONG = 3600.0  # seconds after which a certificate is taken into use though the present one is good
Website = dict[str, Any]


def websites() -> list[Website]:
    """What the live generation serves with a certificate."""
    entries = json.loads((LIVE / "websites.json").read_text())
    serves = [entry for entry in entries if (LIVE / "apache" / f"{entry['name']}.conf").exists()]
    return [entry for entry in serves if entry.get("_certificate", "none") != "none"]


@functools.cache
def parsed(pem: str) -> x509.Certificate:
    """A certificate from its text: one of the agency's own serves many websites. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem.encode())


def look(website: Website) -> tuple[x509.Certificate | None, str | None]:
    """The certificate that Apache has for a website since its last reload, or why the one there cannot be read."""
    own = website["_certificate"]
    paths = [OWN / f"{own}.pem"]
    if own == "acme":
        paths = sorted((STORE / "domains" / website["name"]).glob("pubcert*.pem"))  # named after the key's kind
    if not paths:
        return None, None
    try:
        _, begin, rest = paths[0].read_text().partition("-----BEGIN CERTIFICATE")
        return parsed(f"{begin}{rest}"), None
    except (OSError, ValueError) as error:
        return None, f"{paths[0]} cannot be read: {error}"


def certificate(website: Website) -> x509.Certificate | None:
    """That certificate; None also where it cannot be read, which is the same to visitors."""
    return look(website)[0]


def ends(found: x509.Certificate) -> datetime.datetime:
    """When a certificate runs out. Debian 12 knows the time only without its zone."""
    aware = getattr(found, "not_valid_after_utc", None)
    return aware or found.not_valid_after.replace(tzinfo=datetime.UTC)


@functools.cache
def served(found: x509.Certificate) -> frozenset[str]:
    """The names that a certificate serves, with wildcards as such."""
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return frozenset()  # browsers look nowhere else
    return frozenset(one.lower() for one in names.get_values_for_type(x509.DNSName))


def covers(found: x509.Certificate, name: str) -> bool:
    """Whether a certificate serves a name."""
    return bool({name, f"*.{name.partition('.')[2]}"} & served(found))


def job(website: Website) -> dict[str, Any]:
    """What mod_md notes about obtaining or renewing a certificate; empty where it does neither."""
    if website["_certificate"] != "acme":
        return {}
    try:
        return dict(json.loads((STORE / "staging" / website["name"] / "job.json").read_text()))
    except (FileNotFoundError, ValueError):  # it may be writing it right now
        return {}


def fault(noted: dict[str, Any]) -> str | None:
    """Why a certificate did not come; the authority's words, made harmless."""
    if not noted.get("errors"):
        return None
    last, log = noted.get("last", {}), noted.get("log", {}).get("entries", [])
    details = [entry.get("detail", "") for entry in log]  # the newest first; the authority's verdict is among them
    verdict = next((detail for detail in details if " failed, " in detail), "")
    words = f"{last.get('problem') or ''} {last.get('detail') or last.get('activity') or ''} {verdict}"
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
    return words[:500] or "no reason given"


def shown(name: str) -> bytes | None:
    """The certificate that this server's Apache shows for a name, as DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        plain = socket.create_connection(("127.0.0.1", 443), timeout=5)
        with plain, context.wrap_socket(plain, server_hostname=name) as channel:
            return channel.getpeercert(binary_form=True)
    except OSError:
        return None


def reload_apache() -> None:
    subprocess.run(["systemctl", "reload", "apache2"], check=True, capture_output=True, timeout=60)


def pending(wanted: list[Website], fresh: set[str], only_fresh: bool) -> list[Website]:
    """The websites whose first certificate is worth waiting for.

    A run waits for its own, also after a first failure: name servers may lag. Others have been waited for before.
    """
    found = []
    for website in wanted:
        is_fresh = website["name"] in fresh
        if website["_certificate"] != "acme" or (only_fresh and not is_fresh):
            continue
        if (HTTPS / "held" / website["name"]).exists() or certificate(website):
            continue
        noted = job(website)
        if not noted.get("finished") and noted.get("errors", 0) < (TRIES if is_fresh else 1):
            found.append(website)
    return found


def staged(wanted: list[Website]) -> list[Website]:
    """The websites whose new certificate waits for a reload."""
    return [website for website in wanted if job(website).get("finished")]


def due(website: Website) -> bool:
    """Whether a certificate that waits is needed now.

    An authority may ask for renewal again and again (RFC 9773); each time Apache would be reloaded.
    """
    found, path = certificate(website), STORE / "staging" / website["name"] / "job.json"
    if found is None or not all(covers(found, name) for name in [website["name"], *website["aliases"]]):
        return True
    begins = getattr(found, "not_valid_before_utc", None) or found.not_valid_before.replace(tzinfo=datetime.UTC)
    if datetime.datetime.now(datetime.UTC) > begins + (ends(found) - begins) / 2:
        return True
    return path.exists() and time.time() - path.stat().st_mtime > STAGED_TOO_LONG


def release(wanted: list[Website], everything: bool) -> set[str]:
    """Let held websites ask for their certificates: all, or those that nobody released in time. Gives their names.

    They ask from the next reload on: until then the names are noted down, for the start after one that is killed.
    """
    held = [path for path in (HTTPS / "held").iterdir()
            if everything or time.time() - path.stat().st_mtime > HELD_TOO_LONG]  # fmt: skip
    released = {*kept("released"), *(path.name for path in held)}
    keep("released", sorted(released))
    for path in held:
        path.unlink()
    return released & {website["name"] for website in wanted}


def retry(wanted: list[Website]) -> set[str]:
    """Forget the pauses that mod_md makes after failures."""
    failed = {website["name"] for website in wanted if job(website).get("errors")}
    for name in failed:
        shutil.rmtree(STORE / "staging" / name, ignore_errors=True)
    return failed


def lead(wanted: list[Website]) -> None:
    """Lead visitors to HTTPS by exactly the names for which Apache shows a certificate that is good for them."""
    names = {}
    for website in wanted:
        found = certificate(website)
        if found and ends(found) > datetime.datetime.now(datetime.UTC):
            names |= {n: found for n in [website["name"], *website["aliases"]] if covers(found, n)}
    there = {path.name for path in (HTTPS / "served").iterdir()}
    for name in there - set(names):
        (HTTPS / "served" / name).unlink()
    new = sorted(set(names) - there)
    with ThreadPoolExecutor(8) as pool:
        for name, seen in zip(new, pool.map(shown, new), strict=True):
            if seen == names[name].public_bytes(Encoding.DER):
                (HTTPS / "served" / name).touch(mode=0o644)


def take_up(wanted: list[Website]) -> None:
    """Reload Apache once for all certificates that wait, and see that it shows them."""
    reload_apache()
    waiting, deadline = staged(wanted), time.monotonic() + 20
    while waiting and time.monotonic() < deadline:
        time.sleep(0.05)
        waiting = staged(waiting)
    deadline = time.monotonic() + 10
    for website in wanted:
        found = certificate(website)
        while found and time.monotonic() < deadline:
            if shown(website["name"]) == found.public_bytes(Encoding.DER):
                break
            time.sleep(0.05)


def kept(name: str) -> Any:
    """What an earlier start noted down, or an empty list or map."""
    path = HTTPS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def keep(name: str, value: Any) -> None:
    """Note down what the next start needs to know."""
    if value != kept(name):
        new = HTTPS / f"{name}.new"
        new.write_text(json.dumps(value))
        new.replace(HTTPS / f"{name}.json")


def forget(wanted: list[Website]) -> None:
    """Drop mod_md's keys and certificates of websites that were ours and are gone for good."""
    entries = {entry["name"] for entry in json.loads((LIVE / "websites.json").read_text())}
    before = set(kept("names"))
    for name in before - entries:
        for folder in ("domains", "staging", "archive", "challenges"):
            shutil.rmtree(STORE / folder / name, ignore_errors=True)
    keep("names", sorted((before & entries) | {website["name"] for website in wanted}))


def note_faults(wanted: list[Website]) -> None:
    """Note why certificates did not come: at each reload mod_md forgets it and begins anew."""
    before, faults = dict(kept("faults")), {}
    for website in wanted:
        noted, name = job(website), website["name"]
        if not noted.get("finished") and (cause := fault(noted) or before.get(name)):
            faults[name] = cause
    keep("faults", faults)


def standing(website: Website) -> dict[str, Any]:
    """How a website's certificate stands: pending, valid or expired, by whom, until when, and what went wrong."""
    found, error = look(website)
    if website["_certificate"] == "acme":
        error = error or fault(job(website)) or dict(kept("faults")).get(website["name"])
    if found is None:
        return {"status": "pending", "issuer": None, "not_after": None, "error": error}
    names = [website["name"], *website["aliases"]]
    lacking = [name for name in names if not covers(found, name)]
    status = "expired" if ends(found) < datetime.datetime.now(datetime.UTC) else "valid"
    if lacking:
        error = error or f"it does not serve {', '.join(lacking)} yet"
    issuer, until = found.issuer.rfc4514_string(), ends(found).isoformat()
    return {"status": status, "issuer": issuer, "not_after": until, "error": error}


def work(options: argparse.Namespace) -> int:
    """Everything but looking. Gives how often Apache was reloaded."""
    wanted, reloads = websites(), 0
    forget(wanted)
    fresh = release(wanted, options.release) | (retry(wanted) if options.retry else set())
    if fresh:
        reload_apache()
        reloads += 1
    keep("released", [])
    deadline = time.monotonic() + options.wait
    while True:
        while pending(wanted, fresh, only_fresh=options.release) and time.monotonic() < deadline:
            time.sleep(0.1)
        note_faults(wanted)
        ready = staged(wanted)
        if any(due(website) for website in ready):
            take_up(ready)
            reloads += 1
        # An Apache that went on asking while its pauses were forgotten leaves half an order, which the next one drops.
        if time.monotonic() >= deadline or not pending(wanted, fresh, only_fresh=options.release):
            break
    lead(wanted)
    return reloads


def main(argv: list[str]) -> int:
    """The command: writes how all certificates stand, as JSON."""
    parser = argparse.ArgumentParser(prog="website-certificates", description=__doc__)
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait for first certificates")
    parser.add_argument("--release", action="store_true", help="let websites that a run held back ask for theirs")
    parser.add_argument("--retry", action="store_true", help="ask at once again where it failed")
    parser.add_argument("--look", action="store_true", help="change nothing")
    options = parser.parse_args(argv)
    reloads = 0
    try:
        if not options.look:
            with LOCK.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                reloads = work(options)
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or b"").decode("utf-8", "replace").strip()
        what = f"refused: Apache could not be reloaded: {error} {said}"
        sys.stderr.write(f"{what}\nprogram: website-certificates\nmend: see `journalctl -u apache2`\n")
        return 1
    standings = {website["name"]: standing(website) for website in websites()}
    sys.stdout.write(json.dumps({"reloads": reloads, "websites": standings}) + "\n")
    return 0

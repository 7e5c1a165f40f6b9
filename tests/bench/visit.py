"""What visitors notice while websites are added, and the memory that idle websites take, on the lab."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / ".lab"
FLEET = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/fleet.yml").read_text())["fleet"]
DOMAIN = f"bench.{FLEET['domain']}"
GROUPS = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text())["all"]["children"]
VISITOR = GROUPS["visitors"]["hosts"]["visitor1"]["ansible_host"]
WEB = next(iter(FLEET["web"].values()))["inside_ipv4"]
# The first web host's websites in turn, over kept connections.
SCRIPT = """
local n, hosts = 0, {}
for number = 0, %d, %d do table.insert(hosts, number .. ".%s") end
function request()
  n = n + 1
  return wrk.format("GET", "/", {Host = hosts[n %% #hosts + 1]})
end
"""
END_PHP = "systemctl restart 'php*-fpm.service'"
# In KiB; pages that processes share are counted once. Memory of daemons that have served and were reloaded varies by
# more than a website takes: both are started anew, and read when nothing moves any more.
MEMORY = """
kib() { cat $(pgrep '^(apache2|php-fpm)' | sed 's#.*#/proc/&/smaps_rollup#') | awk '/^Pss:/ {s += $2} END {print s}'; }
systemctl restart apache2 'php*-fpm.service'
until now=$(kib) && sleep 0.5 && [ "$now" = "$(kib)" ]; do :; done
echo "$now"
"""
IDLE, ERRORS = "memory of an idle website", "of these, answered by an error"
BROKEN = "of these, on a kept connection that was closed"
RELOADS = "reloads of Apache for another policy"
BYTECODE = "/var/cache/lab-bytecode"  # as tests/e2e/lab_bytecode.py names it
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}  # as wrk writes them


class Fact(NamedTuple):
    """Something other than seconds that was measured at a number of websites."""

    what: str
    count: int
    value: float
    unit: str


def ssh(address: str, command: str, stdin: str = "") -> str:
    """What a command on a server of the lab prints."""
    done = subprocess.run(
        ["ssh", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={LAB}/ssh/known_hosts", "-i",
         f"{LAB}/ssh/id_ed25519", f"root@{address}", command],
        input=stdin, capture_output=True, text=True, check=False,
    )
    if done.returncode:
        sys.exit(f"{command.split()[0]} failed on {address}: {done.stderr[-1000:]}")
    return done.stdout


def play(playbook: str, *arguments: str) -> None:
    """Run a playbook on the lab over connections of its own, as hours after the last run; or end with what it said."""
    with tempfile.TemporaryDirectory() as connections:
        done = subprocess.run(
            [ROOT / ".venv/bin/ansible-playbook", f"playbooks/{playbook}", *arguments], cwd=ROOT, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, check=False,
            env={**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": connections},
        )
    if done.returncode:
        sys.exit(f"{playbook} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


@contextlib.contextmanager
def certified(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """A wildcard certificate on the web hosts, as role apache takes it; gone again at the end."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1",
         "-subj", "/CN=bench", "-addext", f"subjectAltName=DNS:*.{DOMAIN}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    certificates = [{"name": "bench", "names": [f"*.{DOMAIN}"], "certificate": certificate.read_text(),
                     "private_key": key.read_text()}]
    play("servers.yml", "--limit", "web", "-e", json.dumps({"apache_certificates": certificates}))
    try:
        yield certificates
    finally:
        play("servers.yml", "--limit", "web", "--tags", "policy")
        for host in FLEET["web"].values():
            ssh(host["inside_ipv4"], "rm -f /etc/websites/certificates/bench.pem")


@contextlib.contextmanager
def real() -> Iterator[None]:
    """Servers that compile all that Ansible sends, as real ones do: tests/e2e/lab_bytecode.py spares the lab that."""
    servers = [host["ansible_host"] for group in GROUPS.values() for host in group["hosts"].values()]

    def move(old: str, new: str) -> None:
        for address in servers:
            ssh(address, f"if [ -d {old} ]; then mv {old} {new}; fi")

    move(BYTECODE, f"{BYTECODE}.off")
    try:
        yield
    finally:
        move(f"{BYTECODE}.off", BYTECODE)


def rest(hosts: Iterable[str]) -> None:
    """End the processes of the last visits on web hosts; by themselves, they stay for a minute."""
    for host in hosts:
        ssh(FLEET["web"][host]["inside_ipv4"], END_PHP)


def memory() -> float:
    """MiB that Apache and PHP-FPM take on the first web host, started anew and visited by nobody."""
    return float(ssh(WEB, MEMORY)) / 1024


def reloads() -> int:
    """How often Apache was reloaded on the first web host, as its own log tells."""
    return int(ssh(WEB, "cat /var/log/apache2/error.log* | grep -c AH00493"))


@contextlib.contextmanager
def visits(count: int, step: int) -> Iterator[list[Fact]]:
    """Keep visiting each `step`th of `count` websites, those of the first web host; the list tells what came of it."""
    script = SCRIPT % (count - 1, step, DOMAIN)
    facts: list[Fact] = []
    ssh(VISITOR, f"""printf %s {shlex.quote(script)} > /run/visit.lua && systemd-run --quiet --collect --unit visit \
        -p StandardOutput=file:/run/visit.txt wrk -t 1 -c 8 -d 600 --timeout 30s -s /run/visit.lua https://0.{DOMAIN}:443/""")
    yield facts
    # It tells what it counted when it is interrupted.
    said = ssh(VISITOR, "systemctl kill -s INT visit; while systemctl -q is-active visit; do sleep 0.1; done; "
                        "cat /run/visit.txt; rm /run/visit.txt")
    done, slowest = re.search(r"(\d+) requests in", said), re.search(r"Latency +\S+ +\S+ +([\d.]+)(us|ms|s|m) ", said)
    if done is None or slowest is None:
        sys.exit(f"wrk did not tell what it counted: {said}")
    broken = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
    errors = sum(map(int, re.findall(r"responses: (\d+)", said)))
    facts += [Fact("requests while one website is added", count, int(done[1]), ""),
              Fact(ERRORS, count, errors, ""),
              Fact(BROKEN, count, broken, ""),
              Fact("the slowest of them", count, float(slowest[1]) * SECONDS[slowest[2]], "s")]

"""The lab as the tests see it: commands on its servers, `sop`, requests, and a census of all that a website leaves."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from sop_driver import cli

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / ".lab"
SOP = str(ROOT / ".venv/bin/sop")
FLEET: dict[str, Any] = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/fleet.yml").read_text())["fleet"]
GROUPS = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text())["all"]["children"]
HOSTS = {name: values["ansible_host"] for group in GROUPS.values() for name, values in group["hosts"].items()}
# Whoever a step is taken as signs with the lab's key of that name, which script/demo made.
os.environ.setdefault("SOP_KEYS", str(LAB / "keys"))
os.environ["SOP_HOME"] = str(LAB / "sop")
PAPER = b"%PDF-1.4\n%%EOF\n"
RUN = format(int(time.time()), "x")[-5:]  # names of this run, so that the tests can be repeated on one fleet

CENSUS = r"""
set -u
getent passwd | awk -F: '$3 >= 20000 && $3 < 60000'
# all but the logs that were put by at midnight
find /srv/websites /etc/apache2 /etc/websites /var/log/websites /run/php/websites /run/websites-apps \
  /etc/systemd/system/website-app-* /etc/systemd/system/*.wants/website-app-* \
  ! -path '/var/log/websites/*.log.*' -printf '%p %U %G %m %l\n' 2>/dev/null | sort
systemctl list-units --all --plain --no-legend 'website-app-*' 2>/dev/null
find /var/lib/websites/web/current/ /etc/postgresql /etc/websites /etc/systemd/system/website-app-* -type f \
  ! -name .generation 2>/dev/null | sort | xargs -r sha256sum
# The layers' state, but for: generations and the live one's number, which a run that is put back uses up (what the live
# one holds is above); what the firewall had before its last change; snapshots, which stay; what the nightly check of
# the releases found; certificates and what the next look at them compares with, since they come and go by themselves,
# and who comes back has them again.
find /var/lib/websites -type f ! -path '*/web/generations/*' ! -path '*/web/live' ! -name previous.nft \
  ! -path /var/lib/websites/manifest.json ! -path '/var/lib/websites/backup/*' ! -path '/var/lib/websites/md/*' \
  ! -path '/var/lib/websites/https/*.json' ! -path '*/https/served/*' 2>/dev/null | sort | xargs -r sha256sum
if cd /var/lib/websites/https/served 2>/dev/null; then
  for name in *; do grep -qF "\"$name\"" ../../web/current/websites.json && echo "http://$name/ leads to HTTPS"; done
fi
ip -o addr show | sed 's/^[0-9]*: //; s/@[^ ]*//; s/valid_lft.*//' | sort
nft list tables 2>/dev/null | sort | while read -r _ family table; do
  nft list table "$family" "$table" | sed 's/packets [0-9]* bytes [0-9]*//'
done
if command -v mariadb-admin > /dev/null && systemctl -q is-active mariadb 2>/dev/null; then
  mariadb -Ne 'SELECT schema_name FROM information_schema.schemata ORDER BY 1'
  mariadb -Ne 'SELECT user, host, JSON_EXTRACT(priv, "$.access") FROM mysql.global_priv ORDER BY 1, 2'
  # grants: for one database, and by PostgreSQL's lists, whose order is that of granting
  mariadb -Ne 'SELECT * FROM mysql.db ORDER BY Host, Db, User'
  psql -U postgres -Atc 'SELECT datname, pg_get_userbyid(datdba),
    ARRAY(SELECT acl::text FROM unnest(datacl) AS acl ORDER BY 1) FROM pg_database ORDER BY 1'
  psql -U postgres -Atc 'SELECT rolname, rolcanlogin FROM pg_roles ORDER BY 1'
  psql -U postgres -Atc 'SELECT pg_get_userbyid(roleid), pg_get_userbyid(member), admin_option FROM pg_auth_members
    ORDER BY 1, 2, 3'
fi
if systemctl -q is-active named 2>/dev/null && [ -e /etc/bind/keys/websites-transfer.key ]; then
  # zones' files and journals are named's own business while it runs, and what it leaves of writing them where it is
  # stopped meanwhile (db-… in Debian 12, tmp-… in 13, ….jnw and ….jbk of journals); what they hold comes below
  find /etc/bind /var/lib/bind ! -name '*.jn[lw]' ! -name '*.jbk' ! -name 'db-*' ! -name 'tmp-*' \
    -printf '%p %U %G %m %l\n' | sort
  find /etc/bind -type f | sort | xargs -r sha256sum
  # the fleet's zones and reverse ones, the catalog, and agencies' own: on a secondary, as the catalog brought them
  for zone in $(named-checkconf -l | cut -d' ' -f1; ls /var/lib/bind/catalog | sed -n 's/.*_\(.*\)\.db$/\1/p'); do
    # what BIND itself adds to a signed zone comes and goes
    dig -k /etc/bind/keys/websites-transfer.key @127.0.0.1 "$zone" AXFR +noall +answer |
      grep -vE 'IN\s(SOA|RRSIG|NSEC3|NSEC3PARAM|DNSKEY|CDS|CDNSKEY|TYPE65534)\s' | sort | sed "s/^/$zone: /"
  done
fi
"""


def ssh(host: str) -> list[str]:
    """The command that reaches a server of the lab; what to do there follows."""
    return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", f"UserKnownHostsFile={LAB}/ssh/known_hosts",
            "-o", "ControlMaster=auto", "-o", f"ControlPath={LAB}/ssh/%C", "-o", "ControlPersist=60",
            "-i", f"{LAB}/ssh/id_ed25519", f"root@{HOSTS[host]}"]


def on(host: str, command: str, *, check: bool = True, timeout: int = 60) -> str:
    """What a shell command on a server of the lab prints."""
    done = subprocess.run(
        [*ssh(host), command], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False,
    )
    assert not check or done.returncode == 0, f"{host}: {command}: {done.stderr}"
    return done.stdout


def get(url: str, *options: str) -> tuple[int, str]:
    """A page as the visitor sees it: (status, body); status 0 where nothing answered."""
    shown = on("visitor1", f"curl -sL -m 20 -w '\\n%{{http_code}}' {' '.join(options)} '{url}'", check=False)
    body, _, status = shown.rpartition("\n")
    return int(status or 0), body


def sop(*arguments: str, timeout: int = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user calls it."""
    return subprocess.run(
        [SOP, *arguments], capture_output=True, text=True, timeout=timeout, cwd=ROOT, stdin=subprocess.DEVNULL,
        env={**os.environ, **environment}, check=False,
    )


def desk(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same for what needs no server, in this process: Python's own start takes longer than a step on paper."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained), contextlib.chdir(ROOT):
        code = cli.main(arguments)
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), complained.getvalue())


def play(playbook: str, *arguments: str) -> tuple[dict[str, int], str]:
    """Run a playbook by hand: the recap's sums, and all of the output."""
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-playbook"), f"playbooks/{playbook}", *arguments],
        capture_output=True, text=True, timeout=600, cwd=ROOT, stdin=subprocess.DEVNULL, check=False,
    )
    sums: dict[str, int] = {}
    for line in done.stdout.partition("PLAY RECAP")[2].splitlines()[1:]:
        for pair in line.partition(" : ")[2].split():
            key, _, value = pair.partition("=")
            sums[key] = sums.get(key, 0) + int(value)
    return sums, done.stdout + done.stderr


def census() -> dict[str, list[str]]:
    """Users, files, configuration, databases and grants, records, addresses and rules of every server."""
    names = [host for host in HOSTS if not host.startswith("visitor")]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(lambda host: on(host, CENSUS).splitlines(), names), strict=True))


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    """Lines that only one of two censuses has."""
    return {host: sorted(set(before[host]) ^ set(after[host])) for host in before if before[host] != after[host]}


def settled(before: dict[str, list[str]]) -> dict[str, list[str]]:
    """The census, once it is as before: a secondary hears of a zone that goes a moment later. At most ten seconds."""
    deadline = time.monotonic() + 10
    while differences(before, now := census()) and time.monotonic() < deadline:
        time.sleep(1)
    return now


def three_parts(error: str) -> bool:
    """Whether an error says what, where and how to mend it."""
    lines = error.strip().splitlines()
    said = any(line.startswith(("refused: ", "failed: ")) for line in lines)
    return said and any(line.startswith("mend: ") for line in lines)


def archive(files: dict[str, str]) -> bytes:
    """A release of these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def submit(folder: Path, name: str, release: bytes | None, /, **fields: object) -> str:
    """Take in a request for NAME in the fleet's domain; gives its id. Without a release it describes no website."""
    (folder / "surat.pdf").write_bytes(PAPER + name.encode())
    request: dict[str, object] = {
        "agency": "Dinas Sosial", "unit": "Sekretariat", "letter": {"number": f"1/{name}", "date": "2026-11-02"},
        "requester": "dinsos", "kind": "create", "name": f"{name}.{FLEET['domain']}", "purpose": "Uji",
        "contact": {"name": "Uji", "email": "uji@tarakankota.go.id"},
    }
    if release is not None:
        (folder / "release.tgz").write_bytes(release)
        request |= {"title": f"Situs {name}", "runtime": "static",
                    "release": {"archive": "release.tgz", "sha256": hashlib.sha256(release).hexdigest()}}
    (folder / "request.yml").write_text(yaml.safe_dump(request | fields, allow_unicode=True))
    done = desk("submit", str(folder / "request.yml"), "--letter", str(folder / "surat.pdf"))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1].rstrip(",")


def clear(folder: Path, request: str, existence: str = "absent") -> str:
    """Take every step up to the run; gives the request's id."""
    paper = folder / "berkas.pdf"
    paper.write_bytes(PAPER)

    def step(actor: str, name: str, *evidence: str, outcome: str | None = None) -> None:
        options = [option for key in evidence for option in ("--evidence", f"{key}={paper}")]
        done = desk("record", request, name, "--as", actor, *options, *(["--outcome", outcome] if outcome else []))
        assert done.returncode == 0, done.stderr

    step("kasubbag", "agenda", "scan", "lembar_disposisi")
    step("kadis", "disposition", "surat_terdisposisi")
    step("kabid", "review", "data_tindak_lanjut")
    step("kabid", "decision", outcome="yes")
    step("kabid", "existence", outcome=existence)
    step("kabid", "needs_analysis", "data_kebutuhan_informasi")
    step("subkoor", "build", "kak", "buku_manual", "dokumentasi_aplikasi")
    return request

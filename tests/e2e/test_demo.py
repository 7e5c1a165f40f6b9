"""What the demo's story leaves behind, as visitors, administrators and auditors see it."""

import json
import subprocess

import pytest
from lab import FLEET, LAB, get, on, play, sop

DOMAIN = FLEET["domain"]


def test_visitor_sees_the_new_release() -> None:
    """Step 7 of the story is an update."""
    assert get(f"http://dinkes.{DOMAIN}/")[1].count("Edisi 2") == 1
    assert get(f"http://dinkes.{DOMAIN}/jadwal.html")[0] == 200


def test_visitor_sees_wordpress_with_its_title() -> None:
    """A real application, against a real database, installed by its own setup script."""
    status, body = get(f"http://disdik.{DOMAIN}/")
    assert status == 200
    assert "<title>Dinas Pendidikan Kota Tarakan</title>" in body


def test_visitor_sees_the_websites_over_ipv6() -> None:
    """Half of the visitors' phones speak nothing else."""
    assert get(f"http://dinkes.{DOMAIN}/", "-6")[0] == 200


@pytest.mark.parametrize("server", sorted(FLEET["nameservers"]))
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_every_name_server_gives_the_same_addresses(server: str, family: str) -> None:
    """A secondary that lags sends some visitors elsewhere."""
    at = FLEET["nameservers"][server][family]
    for name, host in (("dinkes", "web1"), ("disdik", "web2")):
        for kind, key in (("A", "ipv4"), ("AAAA", "ipv6")):
            assert on("visitor1", f"dig +short {name}.{DOMAIN} {kind} @{at}").split() == [FLEET["web"][host][key]]


def test_change_of_one_record_reaches_the_secondary_as_a_difference() -> None:
    """IXFR: with a thousand websites, each whole transfer would be a thousand times what has changed."""
    edit = "nsupdate -k /etc/bind/keys/websites-update.key <<'E'\nserver 127.0.0.1\nupdate {} TXT bertahap\nsend\nE"
    record = f"_bertahap.{DOMAIN}"
    began = on("ns1", f"dig +short SOA {DOMAIN} @127.0.0.1").split()[2]
    on("ns1", edit.format(f"add {record} 60"))
    try:
        look = f"dig +short TXT {record} @127.0.0.1 | grep -q bertahap"
        on("ns2", f"for _ in $(seq 100); do {look} && exit; sleep 0.1; done; exit 1")
        told = on("ns1", f"journalctl -qu named | grep -F \"transfer of '{DOMAIN}/IN': IXFR started: TSIG\"")
    finally:
        on("ns1", edit.format(f"delete {record}"))
    assert f"websites-transfer (serial {began} -> " in told


def test_old_release_stays_on_the_server() -> None:
    """Going back must not need a download."""
    assert len(on("web1", f"ls /srv/websites/dinkes.{DOMAIN}/releases").split()) == 2


def test_turned_down_request_reached_no_server() -> None:
    """The decision `tidak` goes back to the Kadis."""
    assert on("visitor1", f"dig +short dishub.{DOMAIN} @{FLEET['nameservers']['ns1']['ipv4']}") == ""
    status = json.loads(sop("status", "--json").stdout)
    assert next(r for r in status if r["website"] == f"dishub.{DOMAIN}")["returned"]


def test_website_made_by_hand_is_untouched() -> None:
    """What has no mark of ours is somebody else's."""
    assert on("web1", f"curl -s -H 'Host: bappeda.{DOMAIN}' http://127.0.0.1/") == "Bappeda, made by hand\n"


def test_unknown_name_gets_an_error_from_every_address() -> None:
    """Never another agency's page."""
    for host in FLEET["web"].values():
        status, body = get(f"http://{host['ipv4']}/", "-H", "'Host: lain.example.com'")
        assert (status, "Situs tidak dikenal" in body) == (404, True)


@pytest.mark.parametrize("playbook", ["servers.yml", "websites.yml", "inspect.yml", "probe.yml", "backup.yml"])
def test_second_run_of_a_playbook_changes_nothing(playbook: str) -> None:
    """What is as it must be is left alone."""
    sums, output = play(playbook)
    assert (sums["changed"], sums["failed"], sums["unreachable"]) == (0, 0, 0), output


def test_servers_in_check_mode_tell_that_nothing_would_change() -> None:
    """An administrator reads the plan before running it. Of two web hosts alike one will do: it takes the longest."""
    sums, output = play("servers.yml", "--check", "--diff", "--limit", "!web2")
    assert (sums["changed"], sums["failed"]) == (0, 0), output


@pytest.mark.parametrize(("host", "port"), [("web1", 22), ("web1", 3306), ("ns1", 22), ("ns1", 80)])
def test_public_side_reaches_no_other_port(host: str, port: int) -> None:
    """The gateway passes on what is leased, nothing else."""
    at = {**FLEET["web"], **FLEET["nameservers"]}[host]["ipv4"]
    assert on("visitor1", f"timeout 3 bash -c '</dev/tcp/{at}/{port}' 2>/dev/null && echo open", check=False) == ""


def test_database_answers_its_own_web_host_only() -> None:
    """A stolen password is of no use on another server."""
    secret = json.loads(on("web2", "cat /etc/websites/credentials/w20001.json"))["password"]
    login = f"MYSQL_PWD={secret} mariadb -h {FLEET['database']['db1']['inside_ipv4']} -u w20001 w20001 -e 'SELECT 1'"
    assert "1" in on("web2", login)
    assert on("web1", login, check=False) == ""


def test_database_password_is_only_on_the_web_host() -> None:
    """Not in the register, not in records, not in logs, not on the database server."""
    secret = json.loads(on("web2", "cat /etc/websites/credentials/w20001.json"))["password"]
    # By another process: one that itself opens and closes SQLite's files ends its own locks on them.
    found = subprocess.run(["grep", "-rlF", secret, LAB / "sop", LAB / "logs"], stdout=subprocess.PIPE, check=False)
    assert (found.returncode, found.stdout) == (1, b"")
    assert on("db1", f"grep -rl {secret} /etc /var/lib/websites /var/log", check=False) == ""


def test_records_tell_what_was_built() -> None:
    """Configuration data, backup management, network maintenance: the SOP's three records."""
    records = LAB / "sop/records" / f"disdik.{DOMAIN}"
    assert {path.name for path in records.iterdir()} == {"configuration.json", "backup.json", "network.json"}
    assert "w20001" in (records / "configuration.json").read_text()
    assert "next_run" in (records / "backup.json").read_text()
    assert f"dinkes.{DOMAIN}" in (LAB / "sop/records/configuration.yml").read_text()


def test_register_holds_and_report_reads() -> None:
    """The paper trail is the product."""
    done = sop("register", "verify")
    assert done.returncode == 0, done.stderr
    report = sop("report", "R-2026-0001").stdout
    assert "Surat permohonan pembuatan/update website dari OPD" in report
    assert "Pekerjaan Selesai" in report


def test_backup_is_proven_by_restoring_it() -> None:
    """A backup that was never restored is a hope."""
    on("web2", "website-backup verify", timeout=120)


def test_damaged_website_is_restored_with_its_database() -> None:
    """Somebody emptied the blog and its uploads; the newest snapshot brings both back."""
    name = f"disdik.{DOMAIN}"
    uploads = f"/srv/websites/{name}/data/wp-content/uploads"
    on("web2", f"echo foto > {uploads}/foto.txt && website-backup backup --website {name}", timeout=120)
    on("db1", "mariadb w20001 -e 'DELETE FROM wp_options; DROP TABLE wp_posts'")
    on("web2", f"rm {uploads}/foto.txt")
    sums, output = play("restore.yml", "-e", f"restore_website={name}")
    assert (sums["failed"], sums["unreachable"]) == (0, 0), output
    assert "<title>Dinas Pendidikan Kota Tarakan</title>" in get(f"http://{name}/")[1]
    assert on("web2", f"cat {uploads}/foto.txt") == "foto\n"

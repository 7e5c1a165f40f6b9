"""Faults while `sop run` makes, updates or suspends a website: what visitors see meanwhile, what is left, how long.

The faults come one after another upon a few approved requests, so each is also the "next run" of the one before. The
table in docs/operations.md is this module's (`SOP_TABLE=1` writes it anew).
"""

import functools
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from injected import (
    APPLICATION,
    APPLICATIONS,
    DATABASE,
    ENDS,
    FAULTS,
    FIREWALL,
    GATEWAY,
    KILLS,
    NAME,
    NOTHING,
    OTHER,
    SNAPSHOT,
    STATIC,
    SUSPENDED,
    TROUBLES,
    UPDATED,
    WEB,
    Fault,
)
from lab import (
    FLEET,
    LAB,
    ROOT,
    RUN,
    archive,
    census,
    clear,
    desk,
    differences,
    get,
    on,
    play,
    settled,
    sop,
    ssh,
    submit,
    three_parts,
)

DOCUMENT = ROOT / "docs/operations.md"
TABLE = re.compile(r"(\| fault \|[^\n]*\n\|[-|]*\n)((?:\|[^\n]*\n)*)()")
SITE = "/usr/local/lib/python3*/dist-packages"
ARMED, RESULT = "/run/websites-fault.json", "/run/websites-fault.result"
NIGHTLY = "website-backup.timer website-manifest.timer"
WEB_TEST = "apache2ctl -t && php-fpm$(ls /etc/php) -t && nft -c -f /etc/websites/firewall.nft"
TESTS = {  # that the daemons would start again, asked in the very state that a killed module leaves
    WEB: WEB_TEST,
    OTHER: WEB_TEST,
    NAME: "named-checkconf -z",
    # MariaDB reads its accounts as at a start; PostgreSQL, its rules with their lists.
    DATABASE: "mariadb -e 'FLUSH PRIVILEGES' && "
              "test -z \"$(psql -U postgres -Atc 'SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL')\"",
    GATEWAY: "nft -c -f /etc/websites/nat.nft",
}
WEB_RESTART = "systemctl restart php$(ls /etc/php)-fpm apache2 'website-app-*'"
RESTARTS = {
    WEB: WEB_RESTART,
    OTHER: WEB_RESTART,
    NAME: f"systemctl restart named && until dig +time=1 +tries=1 {FLEET['domain']} SOA @127.0.0.1 > /dev/null; "
          "do sleep 0.1; done",
    DATABASE: "systemctl restart mariadb postgresql",
    GATEWAY: "systemctl restart websites-nat websites-addresses",
}
# Every page by each family of addresses, and from http:// to where it leads; a resolver is asked each time. Each page
# differs from the others and must stay as it is: a neighbour's page, an empty one or half of one may come with a 200.
PROBE = """
import itertools, json, pathlib, socket, ssl, sys, time, urllib.request
lookup, rounds, failed = socket.getaddrinfo, 0, []
asker = urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
stop = pathlib.Path("/run/probe.stop")
pages = {name: asker.open(f"https://{name}/", timeout=10).read() for name in sys.argv[1:]}
if not all(pages.values()) or len(set(pages.values())) < len(pages):
    sys.exit(f"these pages do not tell whose they are: {pages}")
print("begun", flush=True)
while not stop.exists() or rounds < 2:
    rounds += 1
    for name, scheme, family in itertools.product(pages, ("http", "https"), (socket.AF_INET, socket.AF_INET6)):
        socket.getaddrinfo = lambda host, port, *rest, **more: lookup(host, port, family, socket.SOCK_STREAM)
        try:
            with asker.open(f"{scheme}://{name}/", timeout=10) as answer:
                if (page := answer.read()) != pages[name]:
                    failed.append(f"{scheme}://{name} by {family.name} is another page: {page[:200]}")
                if not answer.url.startswith("https:"):
                    failed.append(f"{name} does not lead to https")
        except Exception as error:
            failed.append(f"{scheme}://{name} by {family.name}: {error}")
        time.sleep(0.02)
print(json.dumps({"rounds": rounds, "failed": failed}))
"""
# It ends with the name of the website whose file it is.
PAGE = """<?php
$db = new PDO(sprintf('mysql:host=%s;port=%s;dbname=%s', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_NAME')),
    getenv('DB_USER'), getenv('DB_PASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
echo 'Uji ', $db->query('SELECT COUNT(*) FROM t')->fetchColumn(), ' ', basename(dirname(__DIR__, 2));
"""
SETUP = PAGE.partition("echo ")[0] + "$db->exec('CREATE TABLE IF NOT EXISTS t (i int)');\n"
WEBSITE = {"runtime": "php", "setup_script": "setup.php", "probe": {"path": "/", "contains": "Uji"}}
APP = """
import http.server, os, socket

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Uji aplikasi")

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)

Server(os.environ["SOCKET"], Page).serve_forever()
"""
PROGRAM = {"runtime": "proxy", "program": "python3", "entry": "app.py", "probe": {"path": "/", "contains": "Uji"}}


def release(engine: str, **more: str) -> bytes:
    """Pages with a setup script for this database."""
    files = {"index.php": PAGE, "setup.php": SETUP} | more
    return archive({name: text.replace("mysql:", f"{engine}:") for name, text in files.items()})


def arm(fault: Fault) -> None:
    """Bring a fault about now, or at its point; there the state is also held against what daemons need to start."""
    if fault.point is None:
        console(fault.host, fault.command)
        return
    look = f"({TESTS[fault.host]}) > {RESULT} 2>&1 && echo ok >> {RESULT}"
    command = f"{look}; {fault.command}"
    if fault.then:
        command = f"{look} && {trap(fault._replace(point=fault.then), command)}\n{fault.command}"
    on(fault.host, trap(fault, command))


def trap(fault: Fault, command: str) -> str:
    """What brings a command about when a program of that server comes to the fault's point."""
    file, _, function = str(fault.point).partition(".")
    text = json.dumps({"file": f"/{file}.py", "function": function, "event": fault.event, "nth": fault.nth,
                       "argument": fault.argument, "command": command})
    return f"cat > {ARMED} <<'{function}'\n{text}\n{function}"


def was_reached(fault: Fault) -> bool:
    """Whether a fault's point was reached, with everything there that daemons need to start."""
    return not fault.point or on(fault.host, f"test ! -e {ARMED} && cat {RESULT}").strip().endswith("ok")


def restart(host: str) -> None:
    """Start a server's daemons anew in the state that a fault left, and wait until visitors are served."""
    on(host, RESTARTS[host])
    pages = " ".join(f"-o /dev/null https://{name}/" for name in (STATIC, UPDATED, SUSPENDED, APPLICATION)
                     if name in present())
    on("visitor1", f"for _ in $(seq 200); do curl -sf --fail-early -m 5 {pages} && exit; sleep 0.1; done; exit 1")


def firewall(*networks: str) -> int:
    """Converge a web host's firewall to these networks for administrators, by hand; the exit code."""
    wanted = {"firewall_management": [*FLEET["management"], *networks], "firewall_revert_after": 15}
    return subprocess.run(
        [ROOT / ".venv/bin/ansible", WEB, "-m", "ansible.builtin.include_role", "-a", "name=firewall", "--playbook-dir",
         "playbooks", "-e", json.dumps(wanted)], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    ).returncode


def console(host: str, command: str) -> None:
    """Do something on a server of the lab without SSH."""
    subprocess.run(["podman", "exec", f"lab-{host}", "sh", "-c", command], check=True, timeout=120, capture_output=True)


def present() -> dict[str, dict[str, Any]]:
    """The websites that the register knows as made, by name."""
    return {row["name"]: row for row in json.loads((LAB / "sop/desired.json").read_text())["websites"]}


@functools.cache
def web_host(request: str) -> str:
    """The web host of the website that a request is about."""
    name = json.loads(desk("status", request, "--json").stdout)[0]["website"]
    if name in present():
        return str(present()[name]["web_host"])
    changes = json.loads(sop("plan", request, "--json").stdout)["changes"]
    return next(str(change["host"]) for change in changes if change["subject"] == "vhost")


def runs(request: str) -> list[dict[str, Any]]:
    """What the register says of how this request's runs began and ended."""
    entries = json.loads(desk("history", request, "--json").stdout)
    return [entry for entry in entries if entry["kind"] == "run"]


def visitors(names: list[str]) -> "subprocess.Popen[str]":
    """A visitor who has seen these websites, and keeps opening them until `leave`, twice at least."""
    on("visitor1", "rm -f /run/probe.stop")
    visit = subprocess.Popen([*ssh("visitor1"), f"python3 -c {shlex.quote(PROBE)} {' '.join(names)}"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert visit.stdout and visit.stdout.readline() == "begun\n"
    return visit


def leave(visit: "subprocess.Popen[str]") -> None:
    """Let the visitor go, who must have been served throughout."""
    on("visitor1", "touch /run/probe.stop")
    seen: dict[str, Any] = json.loads(visit.communicate(timeout=180)[0])
    assert seen["failed"] == [] and seen["rounds"] >= 2


def asked(folder: Path, edition: int) -> dict[str, str]:
    """Approved requests to make two websites, one of them in a zone of its own, and to update one that there is."""
    maria, postgres = {**WEBSITE, "database": "mariadb"}, {**WEBSITE, "database": "postgresql"}
    create, zone = f"gangguan-{edition}-{RUN}", f"uji-{edition}-{RUN}.go.id"
    pages = release("mysql", **{"edisi.html": f"Edisi {edition}"})
    return {
        "create": clear(folder, submit(folder, create, release("mysql"), address="own", **maria)),
        "zone": clear(folder, submit(folder, zone, release("pgsql"), **postgres, name=zone, zone=zone,
                                     aliases=[f"zona-{edition}-{RUN}.{FLEET['domain']}"])),
        "update": clear(folder, submit(folder, UPDATED.partition(".")[0], pages, **maria, kind="update"), "exists"),
    }


class Ground:
    """What the faults come upon: the approved requests of each kind, and the census after the fault before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.edition = folder, 1
        self.requests = asked(folder, self.edition)
        self.last: dict[str, list[str]] = {}
        self.rows: dict[str, str] = {}  # the document's, by fault

    def tell(self, fault: Fault, took: float) -> None:
        self.rows[fault.title] = f"| {fault.title} | no request failed | {fault.left} | {took:.0f} s |\n"

    def run(self) -> None:
        """Bring the requests onto the servers, see their websites, and ask for others of the same kinds."""
        kinds = ("create", "zone", "update")
        done = sop("run", *(self.requests[kind] for kind in kinds))
        assert done.returncode == 0, done.stderr
        names = [f"gangguan-{self.edition}-{RUN}.{FLEET['domain']}", f"zona-{self.edition}-{RUN}.{FLEET['domain']}",
                 f"uji-{self.edition}-{RUN}.go.id"]
        assert ["Uji 0" in get(f"https://{name}/")[1] for name in names] == [True] * 3
        assert get(f"https://{UPDATED}/edisi.html") == (200, f"Edisi {self.edition}")
        self.edition += 1


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Approved requests, the websites that some of them change, the hook on the faults' servers, and the document.

    With SOP_TABLE=1 the document's rows of the faults that were brought about are written anew.
    """
    folder = tmp_path_factory.mktemp("faults")
    updated, suspended = UPDATED.partition(".")[0], SUSPENDED.partition(".")[0]
    maria, postgres = {**WEBSITE, "database": "mariadb"}, {**WEBSITE, "database": "postgresql"}
    done = sop("run", clear(folder, submit(folder, updated, release("mysql"), **maria)),
               clear(folder, submit(folder, suspended, release("pgsql"), **postgres)))
    assert done.returncode == 0, done.stderr
    found = Ground(folder)
    program = submit(folder, APPLICATION.partition(".")[0], archive({"app.py": APP}), **PROGRAM)
    found.requests |= {"application": clear(folder, program)}
    for kind in ("suspend", "resume"):
        found.requests[kind] = clear(folder, submit(folder, suspended, None, kind=kind), "exists")
    hook = (Path(__file__).parent / "fault_hook.py").read_text()
    start = "echo import websites_fault > websites_fault.pth"
    for host in TESTS:
        on(host, f"cd {SITE} && cat > websites_fault.py <<'E'\n{hook}\nE\n{start}")
    for host in (WEB, OTHER):  # a nightly round would come to the faults' points as well
        on(host, f"systemctl stop {NIGHTLY}")
    found.last = census()
    lines = TABLE.search(DOCUMENT.read_text())[2].splitlines()
    found.rows = {line.split(" | ")[0].removeprefix("| "): f"{line}\n" for line in lines}
    yield found
    for host in TESTS:
        on(host, f"rm -f {ARMED} {SITE}/websites_fault.py {SITE}/websites_fault.pth")
    for host in (WEB, OTHER):
        on(host, f"systemctl start {NIGHTLY}")
    if os.environ.get("SOP_TABLE"):
        whole = "".join(found.rows[fault.title] for fault in FAULTS if fault.title in found.rows)
        DOCUMENT.write_text(TABLE.sub(lambda match: match[1] + whole + match[3], DOCUMENT.read_text()))


def strike(fault: Fault, request: str) -> tuple["subprocess.CompletedProcess[str]", float]:
    """Run a request upon a fault, with a visitor of the others meanwhile: how the call ended, and its seconds."""
    others = [name for name in fault.served if name in present() and (name, fault.of) != (SUSPENDED, "suspend")]
    visit = visitors(others)
    try:
        arm(fault)
        began = time.monotonic()
        done = sop("run", request)
        took = time.monotonic() - began
    finally:
        try:
            leave(visit)  # while the fault is still there
        finally:
            if fault.undo:
                console(fault.host, fault.undo)
    assert was_reached(fault)
    assert three_parts(done.stderr)
    return done, took


def bear(fault: Fault, ground: Ground) -> None:
    """Others are served throughout, the servers are as before, daemons start, and the register tells the end."""
    request = ground.requests[fault.of]
    if fault.host == WEB:
        fault = fault._replace(host=web_host(request))
    before, told = dict(ground.last), len(runs(request))
    done, took = strike(fault, request)
    assert done.returncode in (1, 3), done.stdout
    restart(fault.host)
    if [entry["outcome"] for entry in runs(request)[-1:]] == ["unknown"]:  # the next run settles this one
        began = time.monotonic()
        refused = sop("run", request, "--as", "kasubbag")  # whatever becomes of itself
        took += time.monotonic() - began
        assert refused.returncode == 3 and "gate: installation" in refused.stderr
    entries = runs(request)[told:]
    assert [entry["outcome"] for entry in entries] == ENDS[fault.left]
    reason = done.stderr if fault.left == NOTHING else entries[1]["reason"]
    assert f"{fault.host}, " in reason and fault.says in reason
    ground.last = settled(before)
    assert differences(before, ground.last) == {}
    ground.tell(fault, took)


@pytest.mark.parametrize("fault", APPLICATIONS, ids=lambda fault: fault.title)
def test_killed_application_harms_nobody_and_leaves_nothing(fault: Fault, ground: Ground) -> None:
    """Its unit goes before its user, as whom systemd would start it again."""
    bear(fault, ground)


def test_killed_snapshot_after_a_run_leaves_the_website_up(ground: Ground) -> None:
    """It serves by then, so nothing is put back; whoever ran it is told, and the next backup makes it."""
    request = ground.requests["application"]
    fault = SNAPSHOT._replace(host=web_host(request))
    told = len(runs(request))
    done, took = strike(fault, request)
    assert done.returncode == 1 and "NO BACKUP" in done.stderr and f"{fault.host}, {fault.says}" in done.stderr
    assert [entry["outcome"] for entry in runs(request)[told:]] == ENDS[fault.left]
    restart(fault.host)
    assert get(f"https://{APPLICATION}/") == (200, "Uji aplikasi")
    sums, said = play("backup.yml")
    assert sums["failed"] == 0, said
    assert APPLICATION in on(fault.host, "website-backup list --json")
    ground.last = census()
    ground.tell(fault, took)


@pytest.mark.parametrize("fault", KILLS, ids=lambda fault: fault.title)
def test_kill_harms_nobody_and_leaves_nothing(fault: Fault, ground: Ground) -> None:
    """At any point of any layer."""
    bear(fault, ground)


def test_run_succeeds_in_between(ground: Ground) -> None:
    """The approvals held, and what follows comes upon servers that such a run has changed."""
    ground.run()
    ground.requests |= asked(ground.folder, ground.edition)
    ground.last = census()


def test_suspended_website_says_so_in_every_layer_until_it_is_resumed(ground: Ground) -> None:
    """A page that says so by every way in, PHP stopped, data, names and certificate kept, and back as it was."""
    before = census()
    asked = f"dig +short {SUSPENDED} A @{{0}}; dig +short {SUSPENDED} AAAA @{{0}}"
    addresses = [on("visitor1", asked.format(at["ipv4"])) for at in FLEET["nameservers"].values()]
    done = sop("run", ground.requests["suspend"])
    assert done.returncode == 0, done.stderr
    for scheme in ("http", "https"):
        for family in ("-4", "-6"):
            status, answer = get(f"{scheme}://{SUSPENDED}/setup.php", family, "-D", "-")
            assert status == 503 and "Situs ini ditangguhkan" in answer
            assert any(line.lower().startswith("retry-after: ") for line in answer.splitlines())
    now = census()
    assert not [line for lines in now.values() for line in lines if f"/current/fpm/{SUSPENDED}" in line]
    # of all servers only a web host differs, so database and account, records and addresses are there
    assert len(differences(before, now)) == 1 and set(differences(before, now)) < {WEB, OTHER}
    assert [on("visitor1", asked.format(at["ipv4"])) for at in FLEET["nameservers"].values()] == addresses
    assert sop("probe", SUSPENDED).returncode == 0
    assert sop("drift").returncode == 0
    done = sop("run", ground.requests["resume"])
    assert done.returncode == 0, done.stderr
    assert get(f"https://{SUSPENDED}/") == (200, f"Uji 0 {SUSPENDED}")
    # the list of the web host's websites names the request that changed each of them last
    ground.last = census()
    left = {line.split("  ")[-1] for lines in differences(before, ground.last).values() for line in lines}
    assert left == {"/var/lib/websites/web/current/websites.json"}


@pytest.mark.parametrize("fault", TROUBLES, ids=lambda fault: fault.title)
def test_trouble_harms_nobody_and_leaves_nothing(fault: Fault, ground: Ground) -> None:
    """A second kill while that is put back, and what else goes wrong on servers."""
    bear(fault, ground)


@pytest.mark.parametrize("fault", FIREWALL, ids=lambda fault: fault.title)
def test_killed_firewall_change_shuts_nobody_out(fault: Fault, ground: Ground) -> None:
    """The armed timer or the next run brings the old rules back; visitors and administrators get in throughout."""
    arm(fault)
    visit = visitors([STATIC, UPDATED])
    began = time.monotonic()
    try:
        changed = firewall("192.0.2.0/24")
        again = firewall()
    finally:
        took = time.monotonic() - began
        leave(visit)
    assert changed != 0 and again == 0 and was_reached(fault)
    on(WEB, "systemctl restart websites-firewall")
    before, ground.last = ground.last, census()
    assert differences(before, ground.last) == {}
    ground.tell(fault, took)


def test_run_succeeds_after_all_of_them(ground: Ground) -> None:
    """The approvals held, nothing was in the way, and nothing is left of snapshots that were killed."""
    ground.run()
    if APPLICATION in present():
        assert get(f"https://{APPLICATION}/") == (200, "Uji aplikasi")
    for host in (WEB, OTHER):
        on(host, "! ls /var/lib/websites/backup/*/database.sql")
    assert sop("drift").returncode == 0
    assert desk("register", "verify").returncode == 0


def test_document_has_the_table_of_these_faults() -> None:
    """What administrators read is what was tested; seconds vary."""
    rows = [row.removeprefix("| ").split(" | ")[:3] for row in TABLE.search(DOCUMENT.read_text())[2].splitlines()]
    assert rows == [[fault.title, "no request failed", fault.left] for fault in FAULTS]

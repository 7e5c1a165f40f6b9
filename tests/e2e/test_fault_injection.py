"""Faults while `sop run` makes, updates or suspends a website: what visitors see meanwhile, what is left, how long.

The faults come one after another upon a few approved requests, so each is also the "next run" of the one before. The
table in docs/operations.md is this module's (`SOP_TABLE=1` writes it anew).
"""

import base64
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
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
KILL = "kill -9 $VICTIM"
WEB, OTHER, NAME, DATABASE, GATEWAY = "web1", "web2", "ns1", "db1", "gateway1"  # WEB or OTHER: where the website goes
TESTS = {  # that the daemons would start again, asked in the very state that a killed module leaves
    WEB: "apache2ctl -t && php-fpm$(ls /etc/php) -t",
    NAME: "named-checkconf -z",
    DATABASE: "mariadbd --help --verbose > /dev/null",
    OTHER: "apache2ctl -t && php-fpm$(ls /etc/php) -t",
    GATEWAY: "nft -c -f /etc/websites/nat.nft",
}
LEFT = {  # by what the register tells of the run
    (): "nothing was begun",
    ("started", "rolled_back"): "put back",
    ("started", "unknown", "interrupted"): "put back by the next run",
}
# Every page by each family of addresses, and from http:// to where it leads; a resolver is asked each time.
PROBE = """
import itertools, json, pathlib, socket, ssl, sys, time, urllib.request
lookup, rounds, failed = socket.getaddrinfo, 0, []
asker = urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
stop = pathlib.Path("/run/probe.stop")
while not stop.exists() or rounds < 2:
    rounds += 1
    for name, scheme, family in itertools.product(sys.argv[1:], ("http", "https"), (socket.AF_INET, socket.AF_INET6)):
        socket.getaddrinfo = lambda host, port, *rest, **more: lookup(host, port, family, socket.SOCK_STREAM)
        try:
            with asker.open(f"{scheme}://{name}/", timeout=10) as answer:
                answer.read()
                if not answer.url.startswith("https:"):
                    failed.append(f"{name} does not lead to https")
        except Exception as error:
            failed.append(f"{scheme}://{name} by {family.name}: {error}")
        time.sleep(0.02)
print(json.dumps({"rounds": rounds, "failed": failed}))
"""
PAGE = """<?php
$db = new PDO(sprintf('mysql:host=%s;port=%s;dbname=%s', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_NAME')),
    getenv('DB_USER'), getenv('DB_PASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
echo 'Uji ', $db->query('SELECT COUNT(*) FROM t')->fetchColumn();
"""
SETUP = PAGE.replace("echo 'Uji ', $db->query('SELECT COUNT(*) FROM t')->fetchColumn()",
                     "$db->exec('CREATE TABLE IF NOT EXISTS t (i int)')")
WEBSITE = {"runtime": "php", "setup_script": "setup.php", "probe": {"path": "/", "contains": "Uji"}}

STATIC = f"dinkes.{FLEET['domain']}"
# Made before the faults; with MariaDB, which is updated later, and with PostgreSQL, which is suspended later.
UPDATED, SUSPENDED = f"tetap-{RUN}.{FLEET['domain']}", f"jeda-{RUN}.{FLEET['domain']}"
ZONE = f"uji-{RUN}.go.id"  # of an agency's own


def release(engine: str, **more: str) -> bytes:
    """Pages with a setup script for this database."""
    files = {"index.php": PAGE, "setup.php": SETUP} | more
    return archive({name: text.replace("mysql:", f"{engine}:") for name, text in files.items()})


class Fault(NamedTuple):
    """What goes wrong: a command on a server, at a point of a module there (file.function) or before the run.

    `of` is the request that is run; `then` a second point, where the module that puts back is killed too. `undo` mends
    it after the run; `served` are the others that do not need what fails.
    """

    title: str
    host: str
    command: str
    point: str | None = None
    event: str = "call"
    undo: str = "true"
    served: tuple[str, ...] = (STATIC, UPDATED, SUSPENDED)
    of: str = "create"
    then: str | None = None


def killed(layer: str, host: str, *points: str, **more: Any) -> list[Fault]:
    """kill -9 at the start of each of these functions."""
    return [Fault(f"{layer}: kill -9 at `{point.partition('.')[2]}`", host, KILL, point, **more) for point in points]


def killed_twice(layer: str, host: str, point: str, then: str, of: str = "create") -> Fault:
    """kill -9 at the start of a function, and of another one while that is put back."""
    title = f"{layer}: kill -9 at `{point.partition('.')[2]}`, and at `{then.partition('.')[2]}` of putting back"
    return Fault(title, host, KILL, point, of=of, then=then)


def small(folder: str) -> str:
    """Give a folder a file system of its own, with little room beside what it holds."""
    return (f"mkdir /run/full && mount -t tmpfs -o size=$(($(du -sk {folder} | cut -f1) + 65536))k none /run/full && "
            f"cp -a {folder}/. /run/full && chown --reference={folder} /run/full && "
            f"chmod --reference={folder} /run/full && mount --bind /run/full {folder}")


def fill(folder: str) -> str:
    return f"! cat /dev/zero > {folder}/.full 2> /dev/null"


def widen(folder: str) -> str:
    return f"umount -l {folder} && umount -l /run/full && rmdir /run/full"


DATA = "/var/lib/mysql"
LOCK = """mariadb -e "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '\\$.account_locked', {}) WHERE User = 'root';
FLUSH PRIVILEGES" """
UNPLUGGED = ("nft 'table inet fault { chain input { type filter hook input priority -300; tcp dport 22 drop; }; "
             "chain output { type filter hook output priority -300; tcp sport 22 drop; }; }'")
PLUGGED = "nft delete table inet fault"
KEY, WRONG = "/etc/bind/keys/websites-update.key", base64.b64encode(bytes(32)).decode()
VHOST = "/etc/apache2/sites-enabled/x.conf"
POOL = "/etc/php/$(ls /etc/php)/fpm/pool.d/rusak.conf"

FAULTS = [
    *killed("addresses", GATEWAY, "public_ip_leases.batch", "nft.load", "public_ip_leases.write_state",
            "announce.announce"),
    *killed("credentials", WEB, "website_credentials.write"),
    *killed("database", DATABASE, "database_websites.carry_out", "database_websites.verify"),
    Fault("database: kill -9 after the last statement", DATABASE, KILL, "database_websites.verify", "return"),
    *killed("web", WEB, "web_server.make_homes", "web_server.make_release", "web_setup.setup", "web_server.validate",
            "web_server.swap", "web_server.reload", "web_layer.faults", "web_layer.prune"),
    *killed("records", NAME, "nameserver_wire.update", "nameserver_apply.await_secondaries"),
    *killed("PostgreSQL", DATABASE, "database_websites.carry_out", "database_postgresql.let_in",
            "database_websites.verify", of="zone"),
    *killed("an agency's own zone", NAME, "nameserver_zones.configure", "nameserver_zones.wait",
            "nameserver_wire.update", of="zone"),
    *killed("an update", WEB, "web_server.make_release", "web_setup.setup", "web_server.reload", of="update"),
    *killed("a suspension", WEB, "web_server.swap", "web_layer.faults", of="suspend"),
    killed_twice("addresses", GATEWAY, "announce.announce", "public_ip_leases.batch"),
    killed_twice("database", DATABASE, "database_websites.verify", "database_mariadb.release"),
    killed_twice("web", WEB, "web_layer.faults", "web_server.remove_website"),
    killed_twice("an agency's own zone", NAME, "nameserver_apply.await_secondaries", "nameserver_zones.remove", "zone"),
    killed_twice("an update", WEB, "web_layer.faults", "web_server.reload", "update"),
    Fault("a policy that Apache cannot read", WEB, "cp -p {policy} /root/policy && echo Bogus >> {policy}".format(
        policy="/etc/apache2/conf-available/websites-policy.conf"),
        undo="mv /root/policy /etc/apache2/conf-available/websites-policy.conf"),
    Fault("web: somebody's vhost that Apache cannot read appears", WEB, f"echo Bogus > {VHOST}",
          "web_server.validate", undo=f"rm {VHOST}"),
    Fault("web: somebody's pool that PHP-FPM cannot start appears", WEB,
          f"printf '[x]\\nuser = nobody-here\\nlisten = /run/x\\npm = ondemand\\npm.max_children = 1\\n' > {POOL}",
          "web_server.validate", undo=f"rm {POOL}"),
    Fault("web: no room for the release", WEB, f"{small('/srv/websites')} && {fill('/srv/websites')}",
          undo=widen("/srv/websites")),
    Fault("web: SSH is cut at `swap`", WEB, "pkill -KILL -f '^sshd: root@'", "web_server.swap"),
    Fault("database: MariaDB is down", DATABASE, "systemctl stop mariadb", undo="systemctl start mariadb",
          served=(STATIC, SUSPENDED)),
    Fault("database: MariaDB stops at `carry_out`", DATABASE, "systemctl stop mariadb", "database_websites.carry_out",
          undo="systemctl start mariadb", served=(STATIC, SUSPENDED)),
    Fault("database: MariaDB refuses the login", DATABASE, LOCK.format("true"),
          undo=f"runuser -u mysql -- {LOCK.format('false')}"),
    Fault("database: no room", DATABASE,
          f"systemctl stop mariadb && {small(DATA)} && systemctl start mariadb && {fill(DATA)}",
          undo=f"systemctl stop mariadb; {widen(DATA)} && systemctl start mariadb", served=(STATIC, SUSPENDED)),
    Fault("records: BIND's primary is down", NAME, "systemctl stop named", undo="systemctl start named"),
    Fault("records: BIND's primary stops at `update`", NAME, "systemctl stop named", "nameserver_wire.update",
          undo="systemctl start named"),
    Fault("records: the key is a wrong one", NAME, f"cp -p {KEY} /root/key && "
          f"sed -i 's/secret \".*\"/secret \"{WRONG}\"/' {KEY}", undo=f"mv /root/key {KEY}"),
    Fault("records: the update is refused", NAME, f"rndc freeze {FLEET['domain']}", "nameserver_wire.update",
          undo=f"rndc thaw {FLEET['domain']}"),
    Fault("addresses: the gateway is out of reach", GATEWAY, UNPLUGGED, undo=PLUGGED),
    Fault("addresses: the gateway is out of reach from `announce` on", GATEWAY, UNPLUGGED, "announce.announce",
          undo=PLUGGED),
]

FIREWALL = killed("firewall", WEB, "firewall_table.apply", "nft.load", "firewall_table.confirm", "firewall_table.save")


def arm(fault: Fault) -> None:
    """Bring a fault about now, or at its point; there the state is also held against what daemons need to start."""
    if fault.point is None:
        console(fault.host, fault.command)
        return
    look = f"({TESTS[fault.host]}) > {RESULT} 2>&1 && echo ok >> {RESULT}"
    command = f"{look}; {fault.command}"
    if fault.then:
        command = f"{look} && {trap(fault.then, 'call', command)}\n{fault.command}"
    on(fault.host, trap(fault.point, fault.event, command))


def trap(point: str, event: str, command: str) -> str:
    """What brings a command about when a program of that server comes to a point."""
    file, _, function = point.partition(".")
    text = json.dumps({"file": f"/{file}.py", "function": function, "event": event, "command": command})
    return f"cat > {ARMED} <<'{function}'\n{text}\n{function}"


def was_reached(fault: Fault) -> bool:
    """Whether a fault's point was reached, with everything there that daemons need to start."""
    return not fault.point or on(fault.host, f"test ! -e {ARMED} && cat {RESULT}").strip().endswith("ok")


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


def runs(request: str) -> list[str]:
    """How the register says that this request's runs began and ended."""
    entries = json.loads(desk("history", request, "--json").stdout)
    return [entry["outcome"] for entry in entries if entry["kind"] == "run"]


def visitors(names: tuple[str, ...]) -> "subprocess.Popen[str]":
    """A visitor who keeps opening these websites until `leave`, and twice at least."""
    on("visitor1", "rm -f /run/probe.stop")
    return subprocess.Popen([*ssh("visitor1"), f"python3 -c {shlex.quote(PROBE)} {' '.join(names)}"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def leave(visit: "subprocess.Popen[str]") -> dict[str, Any]:
    on("visitor1", "touch /run/probe.stop")
    found: dict[str, Any] = json.loads(visit.communicate(timeout=180)[0])
    return found


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Approved requests of each kind, the websites that two of them change, and the hook on the faults' servers."""
    folder = tmp_path_factory.mktemp("faults")
    updated, suspended = UPDATED.partition(".")[0], SUSPENDED.partition(".")[0]
    maria, postgres = {**WEBSITE, "database": "mariadb"}, {**WEBSITE, "database": "postgresql"}
    kept = [clear(folder, submit(folder, updated, release("mysql"), **maria)),
            clear(folder, submit(folder, suspended, release("pgsql"), **postgres))]
    done = sop("run", *kept)
    assert done.returncode == 0, done.stderr
    found = {
        "create": submit(folder, f"gangguan-{RUN}", release("mysql"), address="own", **maria),
        "zone": submit(folder, ZONE, release("pgsql"), **postgres, name=ZONE, zone=ZONE,
                       aliases=[f"zona-{RUN}.{FLEET['domain']}"]),
        "update": submit(folder, updated, release("mysql", **{"edisi.html": "Edisi 2"}), **maria, kind="update"),
        "suspend": submit(folder, suspended, None, kind="suspend"),
        "resume": submit(folder, suspended, None, kind="resume"),
    }
    for kind, request in found.items():
        clear(folder, request, "absent" if kind in ("create", "zone") else "exists")
    hook = (Path(__file__).parent / "fault_hook.py").read_text()
    start = "echo import websites_fault > websites_fault.pth"
    for host in TESTS:
        on(host, f"cd {SITE} && cat > websites_fault.py <<'E'\n{hook}\nE\n{start}")
    yield found
    for host in TESTS:
        on(host, f"rm -f {ARMED} {SITE}/websites_fault.py {SITE}/websites_fault.pth")


@pytest.fixture(scope="module")
def web_hosts(requests: dict[str, str]) -> dict[str, str]:
    """The web host of the website that each request is about."""
    changes = json.loads(sop("plan", requests["create"], "--json").stdout)["changes"]
    websites = json.loads((LAB / "sop/desired.json").read_text())["websites"]
    there = {row["name"]: row["web_host"] for row in websites}
    return {"create": next(str(change["host"]) for change in changes if change["subject"] == "vhost"),
            "zone": WEB, "update": there[UPDATED], "suspend": there[SUSPENDED]}


@pytest.fixture(scope="module")
def last(web_hosts: dict[str, str]) -> dict[str, list[str]]:
    """The census after the fault before."""
    return census()


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, str]]:
    """The document's rows by fault; with SOP_TABLE=1 those of this run take their places, once each fault has one."""
    lines = TABLE.search(DOCUMENT.read_text())[2].splitlines()
    rows = {line.split(" | ")[0].removeprefix("| "): f"{line}\n" for line in lines}
    yield rows
    titles = [fault.title for fault in [*FAULTS, *FIREWALL]]
    if os.environ.get("SOP_TABLE") and set(titles) <= set(rows):
        whole = "".join(rows[title] for title in titles)
        DOCUMENT.write_text(TABLE.sub(lambda found: found[1] + whole + found[3], DOCUMENT.read_text()))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.title)
def test_fault_harms_nobody_and_leaves_nothing(fault: Fault, requests: dict[str, str], web_hosts: dict[str, str],
                                               table: dict[str, str], last: dict[str, list[str]]) -> None:
    """Others are served throughout, the servers are as before, daemons would start, and the register tells the end."""
    if fault.host == WEB:
        fault = fault._replace(host=web_hosts[fault.of])
    request = requests[fault.of]
    before, told = dict(last), runs(request)
    visit = visitors(tuple(name for name in fault.served if name != SUSPENDED or fault.of != "suspend"))
    try:
        arm(fault)
        began = time.monotonic()
        done = sop("run", request)
        took = time.monotonic() - began
    finally:
        seen = leave(visit)  # while the fault is still there
        console(fault.host, fault.undo)
    assert done.returncode in (1, 3), done.stdout
    assert three_parts(done.stderr)
    assert seen["failed"] == [] and seen["rounds"] >= 2
    assert was_reached(fault)
    if runs(request)[-1:] == ["unknown"]:  # the next run settles this one, whatever becomes of itself
        refused = sop("run", request, "--as", "kasubbag")
        assert refused.returncode == 3 and "gate: installation" in refused.stderr
    left = LEFT[tuple(runs(request)[len(told):])]
    last |= settled(before)
    assert differences(before, last) == {}
    table[fault.title] = f"| {fault.title} | no request failed | {left} | {took:.0f} s |\n"


@pytest.mark.parametrize("fault", FIREWALL, ids=lambda fault: fault.title)
def test_killed_firewall_change_shuts_nobody_out(fault: Fault, requests: dict[str, str], table: dict[str, str],
                                                 last: dict[str, list[str]]) -> None:
    """The armed timer or the next run brings the old rules back; visitors and administrators get in throughout."""
    before = dict(last)
    arm(fault)
    visit = visitors((STATIC, UPDATED))
    began = time.monotonic()
    try:
        changed = firewall("192.0.2.0/24")
        again = firewall()
    finally:
        took = time.monotonic() - began
        seen = leave(visit)
    assert changed != 0 and again == 0 and was_reached(fault)
    assert seen["failed"] == [] and seen["rounds"] >= 2
    last |= census()
    assert differences(before, last) == {}
    table[fault.title] = f"| {fault.title} | no request failed | put back by the next run | {took:.0f} s |\n"


def test_run_succeeds_after_all_of_them(requests: dict[str, str]) -> None:
    """The approvals held, nothing was in the way, and every daemon starts anew."""
    done = sop("run", requests["create"], requests["zone"], requests["update"])
    assert done.returncode == 0, done.stderr
    for host in (WEB, OTHER):
        on(host, "systemctl restart apache2 php$(ls /etc/php)-fpm")
    on(NAME, "systemctl restart named")
    on(DATABASE, "systemctl restart mariadb postgresql")
    on(GATEWAY, "systemctl restart websites-nat websites-addresses")
    for name in (f"gangguan-{RUN}.{FLEET['domain']}", ZONE, f"zona-{RUN}.{FLEET['domain']}"):
        assert "Uji 0" in get(f"https://{name}/")[1]
    assert get(f"https://{UPDATED}/edisi.html") == (200, "Edisi 2")
    assert sop("drift").returncode == 0
    assert desk("register", "verify").returncode == 0


def test_suspended_website_says_so_in_every_layer_until_it_is_resumed(requests: dict[str, str]) -> None:
    """A page that says so by every way in, PHP stopped, data, names and certificate kept, and back as it was."""
    before = census()
    asked = f"dig +short {SUSPENDED} A @{{0}}; dig +short {SUSPENDED} AAAA @{{0}}"
    addresses = [on("visitor1", asked.format(at["ipv4"])) for at in FLEET["nameservers"].values()]
    done = sop("run", requests["suspend"])
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
    done = sop("run", requests["resume"])
    assert done.returncode == 0, done.stderr
    assert get(f"https://{SUSPENDED}/") == (200, "Uji 0")
    # the list of the web host's websites names the request that changed each of them last
    left = {line.split("  ")[-1] for lines in differences(before, census()).values() for line in lines}
    assert left == {"/var/lib/websites/web/current/websites.json"}


def test_document_has_the_table_of_these_faults() -> None:
    """What administrators read is what was tested; seconds vary."""
    rows = [row.split(" | ")[0].removeprefix("| ") for row in TABLE.search(DOCUMENT.read_text())[2].splitlines()]
    assert rows == [fault.title for fault in [*FAULTS, *FIREWALL]]

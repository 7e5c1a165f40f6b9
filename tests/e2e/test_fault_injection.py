"""Faults while `sop run` makes a website: what visitors see meanwhile, what is left, and how long it takes.

The faults come one after another upon one approved request, so each is also the "next run" of the one before. The table
in docs/operations.md is this module's (`SOP_TABLE=1` writes it anew).
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
    ROOT,
    RUN,
    archive,
    census,
    clear,
    differences,
    get,
    on,
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
    ("started", "unknown", "interrupted", "started", "rolled_back"): "put back by the next run",
}
PROBE = """
import json, pathlib, ssl, sys, time, urllib.request
seen, failed = 0, []
stop = pathlib.Path("/run/probe.stop")
while not stop.exists() or seen <= 10:
    for url in sys.argv[1:]:
        seen += 1
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                answer.read()
        except Exception as error:
            failed.append(f"{url}: {error}")
        time.sleep(0.05)
print(json.dumps({"seen": seen, "failed": failed}))
"""
PAGE = """<?php
$db = new PDO(sprintf('mysql:host=%s;port=%s;dbname=%s', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_NAME')),
    getenv('DB_USER'), getenv('DB_PASSWORD'));
echo 'Uji ', $db->query('SELECT COUNT(*) FROM t')->fetchColumn();
"""
SETUP = PAGE.replace("echo 'Uji ', $db->query('SELECT COUNT(*) FROM t')->fetchColumn()",
                     "$db->exec('CREATE TABLE IF NOT EXISTS t (i int)')")


STATIC, PHP = f"https://dinkes.{FLEET['domain']}/", f"https://disdik.{FLEET['domain']}/"  # PHP with its database


class Fault(NamedTuple):
    """What goes wrong: a command on a server, at a point of a module there (file.function) or before the run.

    `undo` mends it after the run; `served` are the others' pages that do not need what fails.
    """

    title: str
    host: str
    command: str
    point: str | None = None
    event: str = "call"
    undo: str = "true"
    served: tuple[str, ...] = (STATIC, PHP)


def killed(layer: str, host: str, *points: str) -> list[Fault]:
    """kill -9 at the start of each of these functions."""
    return [Fault(f"{layer}: kill -9 at `{point.partition('.')[2]}`", host, KILL, point) for point in points]


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
          served=(STATIC,)),
    Fault("database: MariaDB stops at `carry_out`", DATABASE, "systemctl stop mariadb", "database_websites.carry_out",
          undo="systemctl start mariadb", served=(STATIC,)),
    Fault("database: MariaDB refuses the login", DATABASE, LOCK.format("true"),
          undo=f"runuser -u mysql -- {LOCK.format('false')}"),
    Fault("database: no room", DATABASE,
          f"systemctl stop mariadb && {small(DATA)} && systemctl start mariadb && {fill(DATA)}",
          undo=f"systemctl stop mariadb; {widen(DATA)} && systemctl start mariadb", served=(STATIC,)),
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

SECOND = killed("database", DATABASE, "database_websites.verify")[0]
FIREWALL = killed("firewall", WEB, "firewall_table.apply", "nft.load", "firewall_table.confirm", "firewall_table.save")


def arm(fault: Fault) -> None:
    """Bring a fault about now, or at its point; there the state is also held against what daemons need to start."""
    if fault.point is None:
        console(fault.host, fault.command)
        return
    file, _, function = fault.point.partition(".")
    look = f"({TESTS[fault.host]}) > {RESULT} 2>&1 && echo ok >> {RESULT}"
    on(fault.host, f"cat > {ARMED} <<'E'\n" + json.dumps({
        "file": f"/{file}.py", "function": function, "event": fault.event, "command": f"{look}; {fault.command}",
    }) + "\nE")


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
    entries = json.loads(sop("history", request, "--json").stdout)
    return [entry["outcome"] for entry in entries if entry["kind"] == "run"]


def visitors(urls: list[str]) -> "subprocess.Popen[str]":
    """A visitor who keeps opening these pages until `leave`, and more than ten times."""
    on("visitor1", "rm -f /run/probe.stop")
    return subprocess.Popen([*ssh("visitor1"), f"python3 -c {shlex.quote(PROBE)} {' '.join(urls)}"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def leave(visit: "subprocess.Popen[str]") -> dict[str, Any]:
    on("visitor1", "touch /run/probe.stop")
    found: dict[str, Any] = json.loads(visit.communicate(timeout=180)[0])
    return found


@pytest.fixture(scope="module")
def request_id(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One approved request, and the hook on every server that a fault names."""
    folder = tmp_path_factory.mktemp("faults")
    release = archive({"index.php": PAGE, "setup.php": SETUP})
    request = clear(folder, submit(
        folder, f"gangguan-{RUN}", release, runtime="php", database="mariadb", setup_script="setup.php",
        address="own", probe={"path": "/", "contains": "Uji"}))
    hook = (Path(__file__).parent / "fault_hook.py").read_text()
    start = "echo import websites_fault > websites_fault.pth"
    for host in TESTS:
        on(host, f"cd {SITE} && cat > websites_fault.py <<'E'\n{hook}\nE\n{start}")
    yield request
    for host in TESTS:
        on(host, f"rm -f {SITE}/websites_fault.py {SITE}/websites_fault.pth")


@pytest.fixture(scope="module")
def web_host(request_id: str) -> str:
    """The web host that the website is going to."""
    changes = json.loads(sop("plan", request_id, "--json").stdout)["changes"]
    return next(str(change["host"]) for change in changes if change["subject"] == "vhost")


@pytest.fixture(scope="module")
def last(web_host: str) -> dict[str, list[str]]:
    """The census after the fault before."""
    return census()


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, str]]:
    """The rows of this run; with SOP_TABLE=1 they replace the document's."""
    rows: dict[str, str] = {}
    yield rows
    if os.environ.get("SOP_TABLE") and len(rows) == len(FAULTS) + len(FIREWALL):
        text = DOCUMENT.read_text()
        DOCUMENT.write_text(TABLE.sub(lambda found: found[1] + "".join(rows.values()) + found[3], text))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.title)
def test_fault_harms_nobody_and_leaves_nothing(fault: Fault, request_id: str, web_host: str, table: dict[str, str],
                                               last: dict[str, list[str]]) -> None:
    """Others are served throughout, the servers are as before, daemons would start, and the register tells the end."""
    if fault.host == WEB:
        fault = fault._replace(host=web_host)
    before, told = dict(last), runs(request_id)
    visit = visitors(list(fault.served))
    try:
        arm(fault)
        began = time.monotonic()
        done = sop("run", request_id)
        took = time.monotonic() - began
    finally:
        seen = leave(visit)  # while the fault is still there
        console(fault.host, fault.undo)
    assert done.returncode in (1, 3), done.stdout
    assert three_parts(done.stderr)
    assert seen["failed"] == [] and seen["seen"] > 10
    assert was_reached(fault)
    if runs(request_id)[-1:] == ["unknown"]:  # the next run settles this one, and has a fault of its own
        arm(SECOND)
        assert sop("run", request_id).returncode == 1
    left = LEFT[tuple(runs(request_id)[len(told):])]
    last |= census()
    assert differences(before, last) == {}
    table[fault.title] = f"| {fault.title} | no request failed | {left} | {took:.0f} s |\n"


@pytest.mark.parametrize("fault", FIREWALL, ids=lambda fault: fault.title)
def test_killed_firewall_change_shuts_nobody_out(fault: Fault, request_id: str, table: dict[str, str]) -> None:
    """The armed timer or the next run brings the old rules back; visitors and administrators get in throughout."""
    before = census()
    arm(fault)
    visit = visitors([STATIC])
    began = time.monotonic()
    try:
        changed = firewall("192.0.2.0/24")
        again = firewall()
    finally:
        took = time.monotonic() - began
        seen = leave(visit)
    assert changed != 0 and again == 0 and was_reached(fault)
    assert seen["failed"] == [] and seen["seen"] > 10
    assert differences(before, census()) == {}
    table[fault.title] = f"| {fault.title} | no request failed | put back by the next run | {took:.0f} s |\n"


def test_run_succeeds_after_all_of_them(request_id: str) -> None:
    """The approvals held, nothing was in the way, and every daemon starts anew."""
    done = sop("run", request_id)
    assert done.returncode == 0, done.stderr
    for host in (WEB, OTHER):
        on(host, "systemctl restart apache2 php$(ls /etc/php)-fpm")
    on(NAME, "systemctl restart named")
    on(DATABASE, "systemctl restart mariadb")
    on(GATEWAY, "systemctl restart websites-nat websites-addresses")
    assert "Uji 0" in get(f"https://gangguan-{RUN}.{FLEET['domain']}/")[1]
    assert sop("drift").returncode == 0
    assert sop("register", "verify").returncode == 0


def test_document_has_the_table_of_these_faults() -> None:
    """What administrators read is what was tested; seconds vary."""
    rows = [row.split(" | ")[0].removeprefix("| ") for row in TABLE.search(DOCUMENT.read_text())[2].splitlines()]
    assert rows == [fault.title for fault in [*FAULTS, *FIREWALL]]

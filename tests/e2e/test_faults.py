"""What goes wrong must end in a clear error, with servers and register as before."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from lab import (
    HOSTS,
    LAB,
    ROOT,
    RUN,
    SOP,
    archive,
    census,
    clear,
    desk,
    differences,
    on,
    settled,
    sop,
    ssh,
    submit,
    three_parts,
)

PAGES = archive({"index.html": "<h1>Uji</h1>"})
PHP = {"runtime": "php", "database": "postgresql", "setup_script": "setup.php"}
ARCHIVES = "/var/lib/websites/web/archives"
CONNECT = """<?php
$db = new PDO(sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('DB_HOST'), getenv('DB_PORT'), getenv('DB_NAME')),
    getenv('DB_USER'), getenv('DB_PASSWORD'), [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
"""


def last_entry(request: str) -> dict[str, object]:
    entries = json.loads(desk("history", request, "--json").stdout)
    return [entry for entry in entries if entry["kind"] == "run"][-1]


def test_run_without_steps_names_every_gate_at_once(tmp_path: Path) -> None:
    """The office mends all of it in one go, and nothing has been touched."""
    before = census()
    done = sop("run", submit(tmp_path, "tanpa-gerbang", PAGES))
    assert done.returncode == 3
    gates = [line.removeprefix("gate: ") for line in done.stderr.splitlines() if line.startswith("gate: ")]
    assert gates == ["agenda number", "disposition", "review", "approval", "existence check", "needs analysis",
                     "build evidence"]
    assert differences(before, census()) == {}


@pytest.mark.parametrize(("name", "files", "fields", "says"), [
    ("gagal-pasang", {"index.php": "x", "setup.php": CONNECT + "$db->exec('CREATE TABLE t (i int)'); exit(3);"}, PHP,
     "setup script"),
    ("gagal-tampil", {"index.php": "<?php throw new Exception('boom');", "setup.php": CONNECT}, PHP, "answers 500"),
    ("gagal-isi", {"index.php": "<?php echo 'lain';", "setup.php": CONNECT}, PHP, "lacks"),
])
def test_failed_create_leaves_nothing(tmp_path: Path, name: str, files: dict[str, str], fields: dict[str, object],
                                      says: str) -> None:
    """Users, pools, vhosts, databases, records, rules and files are as before; the register tells what happened."""
    before = census()
    request = clear(tmp_path, submit(tmp_path, name, archive(files), **fields))
    done = sop("run", request)
    assert done.returncode == 1, done.stderr
    assert three_parts(done.stderr)
    assert says in done.stderr
    assert differences(before, census()) == {}
    assert last_entry(request)["outcome"] == "rolled_back"
    assert sop("drift").returncode == 0


def test_full_disk_on_the_web_host_leaves_nothing(tmp_path: Path) -> None:
    """The archive does not fit where it is brought to."""
    before = census()
    for host in ("web1", "web2"):
        on(host, f"mkdir -p {ARCHIVES} && mount -t tmpfs -o size=16k none {ARCHIVES}")
    try:
        heavy = archive({"index.html": os.urandom(200_000).hex()})
        done = sop("run", clear(tmp_path, submit(tmp_path, "disk-penuh", heavy)))
    finally:
        for host in ("web1", "web2"):
            on(host, f"umount {ARCHIVES}; rmdir {ARCHIVES}", check=False)
    assert done.returncode == 1, done.stdout
    assert three_parts(done.stderr)
    assert differences(before, census()) == {}


def test_interrupt_in_the_middle_puts_everything_back(tmp_path: Path) -> None:
    """^C while the web hosts are being changed."""
    before = census()
    request = clear(tmp_path, submit(tmp_path, "dihentikan", PAGES))
    with subprocess.Popen([SOP, "run", request], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ) as run:
        assert run.stderr is not None
        seen = 0
        said = []
        for line in run.stderr:
            said.append(line)
            seen += "Converge the websites" in line
            if seen == 2:  # the first time it was the plan
                run.send_signal(signal.SIGINT)
                seen += 1
        run.wait(timeout=200)
    assert run.returncode == 130, said
    assert differences(before, census()) == {}


def test_killed_driver_is_settled_by_the_next_run(tmp_path: Path) -> None:
    """kill -9: nothing says so at the time; the next call finds it out, puts the servers back and goes on."""
    request = clear(tmp_path, submit(tmp_path, f"dibunuh-{RUN}", PAGES, probe={"path": "/", "contains": "Uji"}))
    with subprocess.Popen([SOP, "run", request], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=os.environ) as run:
        assert run.stderr is not None
        seen = 0
        for line in run.stderr:
            seen += "Converge the records" in line
            if seen == 2:
                run.kill()
                break
    done = sop("run", request)
    assert done.returncode == 0, done.stderr
    entries = json.loads(desk("history", request, "--json").stdout)
    runs = [entry for entry in entries if entry["kind"] == "run"]
    kinds = [entry["outcome"] for entry in runs]
    assert kinds[:2] == ["started", "interrupted"]
    name, found = f"dibunuh-{RUN}.tarakankota.go.id", runs[1]["data"]["put_back"]
    assert any(row["host"].startswith("web") and row.get("website") == name for row in found), \
        f"the web hosts were done when the records began: {found}"
    assert kinds[-1] == "applied"
    assert sop("register", "verify").returncode == 0


def test_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    """Two administrators, one fleet."""
    with (LAB / "sop/run.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = sop("run", clear(tmp_path, submit(tmp_path, "bersamaan", PAGES)))
    assert done.returncode == 3
    assert three_parts(done.stderr)


def test_two_playbooks_at_once_queue(tmp_path: Path) -> None:
    """Two administrators without the driver: on each server one waits for the other, and finds its work done."""
    state = json.loads((LAB / "sop/desired.json").read_text())
    static = next(row for row in state["websites"] if row["name"] == "dinkes.tarakankota.go.id")
    name = f"serentak-{RUN}.tarakankota.go.id"
    new = {**static, "name": name, "uid": 59990, "aliases": [], "created_by": f"run-{RUN}"}

    def converge(row: dict[str, object]) -> subprocess.Popen[str]:
        file = tmp_path / f"{row['state']}.json"
        file.write_text(json.dumps({**state, "websites": [*state["websites"], row]}))
        command = [f"{ROOT}/.venv/bin/ansible-playbook", "playbooks/websites.yml", "-e", f"desired_state_file={file}"]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    before, locks = census(), {"web1": "/run/websites-web.lock", "ns1": "/run/websites-dns.lock"}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as others:  # a third one on each server, until both wait there
        for host, lock in locks.items():
            others.enter_context(subprocess.Popen([*ssh(host), f"flock -o {lock} sleep 240"], **quiet))
        both = [converge(new), converge(new)]
        try:
            for host, lock in locks.items():
                waiting = f"[ $(ls -l /proc/[0-9]*/fd 2> /dev/null | grep -c {lock}) = 3 ]"
                go_on = "{ pkill -f '[s]leep 240'; exit; }"
                on(host, f"for _ in $(seq 600); do {waiting} && {go_on}; sleep 0.1; done; exit 1", timeout=90)
        finally:
            for host in locks:
                on(host, "pkill -f '[s]leep 240'", check=False)
    said = [run.communicate(timeout=300)[0] for run in both]
    seen = census()
    gone = converge({**new, "state": "purged"})
    told = gone.communicate(timeout=300)[0]
    assert [run.returncode for run in (*both, gone)] == [0, 0, 0], [*said, told]
    tasks = [task for text in said for task in text.split("\nTASK [") if "certificates" not in task.partition("]")[0]]
    converged = [host for task in tasks for host in re.findall(r"^changed: \[(\w+)\]", task, re.MULTILINE)]
    assert sorted(converged) == ["ns1", "web1"], said
    assert name in str(seen["web1"]) and name in str(seen["ns1"])
    assert differences(before, settled(before)) == {}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A copy of the lab's inventory that a test may break."""
    copy = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories/lab", copy)
    hosts = (copy / "hosts.yml").read_text().replace('{{ inventory_dir }}/../../.lab', str(LAB))
    (copy / "hosts.yml").write_text(hosts)
    config = yaml.safe_load((copy / "sop.yml").read_text()) | {"inventory": str(copy)}
    (copy / "sop.yml").write_text(yaml.safe_dump(config))
    return copy


@pytest.mark.parametrize("fault", ["another host key", "no such server"])
def test_server_that_cannot_be_trusted_or_reached_stops_the_run(tmp_path: Path, inventory: Path, fault: str) -> None:
    """Strict host keys stay on; nothing is changed anywhere where one server is missing."""
    request = clear(tmp_path, submit(tmp_path, f"putus-{fault.count('s')}", PAGES))
    before = census()
    hosts = inventory / "hosts.yml"
    if fault == "no such server":
        hosts.write_text(hosts.read_text().replace(HOSTS["db1"], "10.89.77.99"))
    else:
        known = (LAB / "ssh/known_hosts").read_text().splitlines()
        wrong = next(line.split(" ", 1)[1] for line in known if line.startswith(HOSTS["web1"] + " "))
        swapped = [f"{HOSTS['db1']} {wrong}" if line.startswith(HOSTS["db1"] + " ") else line for line in known]
        (inventory / "known_hosts").write_text("\n".join(swapped) + "\n")
        hosts.write_text(hosts.read_text().replace(f"{LAB}/ssh/known_hosts", str(inventory / "known_hosts"))
                         .replace("-o UserKnownHostsFile", "-o ControlPath=none -o UserKnownHostsFile"))
    done = sop("run", request, SOP_CONFIG=str(inventory / "sop.yml"))
    assert done.returncode == 1, done.stdout
    assert three_parts(done.stderr)
    assert "db1" in done.stderr
    assert differences(before, census()) == {}


def test_register_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """A path typed wrong must not destroy somebody's file."""
    other = tmp_path / "register.db"
    other.write_text("somebody's file")
    done = sop("status", SOP_HOME=str(tmp_path))
    assert done.returncode == 2
    assert three_parts(done.stderr)
    assert other.read_text() == "somebody's file"


def test_missing_evidence_and_broken_archive_are_refused(tmp_path: Path) -> None:
    """Bad input is said, and nothing is half done."""
    entries = len(json.loads(desk("status", "--json").stdout))
    (tmp_path / "release.tgz").write_bytes(PAGES[:-20])
    with pytest.raises(AssertionError, match="refused: "):
        submit(tmp_path, "arsip-rusak", PAGES[:-20])
    assert len(json.loads(desk("status", "--json").stdout)) == entries
    request = submit(tmp_path, "tanpa-berkas", PAGES)
    done = sop("record", request, "agenda", "--as", "kasubbag", "--evidence", f"scan={tmp_path}/none.pdf",
               "--evidence", f"lembar_disposisi={tmp_path}/none.pdf")
    assert done.returncode in (2, 3)
    assert three_parts(done.stderr)


def test_defaced_file_is_named() -> None:
    """Defacement is what happens to government websites: whoever wrote it, the file is known by name."""
    release = on("web1", "ls -d /srv/websites/dinkes.tarakankota.go.id/releases/* | tail -n 1").strip()
    on("web1", f"cp -p {release}/index.html /root/page && echo hacked >> {release}/index.html && touch {release}/x.php")
    try:
        drift = sop("drift")
        assert drift.returncode == 1
        assert "file index.html" in drift.stdout
        assert "file x.php" in drift.stdout
    finally:
        on("web1", f"cp -p /root/page {release}/index.html; rm {release}/x.php")
    assert sop("drift").returncode == 0


def test_drift_is_named_and_stops_a_run(tmp_path: Path) -> None:
    """A change by hand on a server is seen before anything is built upon it."""
    path = "/var/lib/websites/web/current/apache/dinkes.tarakankota.go.id.conf"
    on("web1", f"cp -p {path} /root/kept && echo '# by hand' >> {path}")
    try:
        drift = sop("drift")
        assert drift.returncode == 1
        assert "dinkes.tarakankota.go.id" in drift.stdout
        done = sop("run", clear(tmp_path, submit(tmp_path, "menyimpang", PAGES)))
        assert done.returncode == 3
        assert "dinkes.tarakankota.go.id" in done.stderr
    finally:
        on("web1", f"cp -p /root/kept {path}")
    assert sop("drift").returncode == 0

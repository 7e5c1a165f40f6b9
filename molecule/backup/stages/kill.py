"""Kill restores in place at named moments and a snapshot under way, and note what the next run leaves of each."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, "/usr/local/lib/websites")
from website_backup.repository import Repository
from website_backup.settings import read_settings

SITES = pathlib.Path("/srv/websites")
STATE = pathlib.Path("/var/lib/websites/backup")
HOOK = next(pathlib.Path("/usr/local/lib").glob("python3*/dist-packages")) / "websites_fault.py"
FAULT = pathlib.Path("/run/websites-fault.json")
SLOW = pathlib.Path("/root/slow")
MARIADB, POSTGRESQL = "disdik.tarakankota.go.id", "arsip.tarakankota.go.id"
BACKUP, NIGHTLY, RESTORE = "backup", "nightly", "restore"
MOMENTS = [  # the last one of each website leaves it as it was in its snapshot
    (MARIADB, "database.py", "clear_mariadb", "return", BACKUP),
    (POSTGRESQL, "database.py", "load", "call", RESTORE),
    (MARIADB, "exchange.py", "move", "return", BACKUP),
    (POSTGRESQL, "exchange.py", "move", "return", NIGHTLY),
    (POSTGRESQL, "exchange.py", "bring", "return", BACKUP),
]
SQL = {
    MARIADB: ["mariadb", "-N", "-B", "w20002", "-e"],
    POSTGRESQL: ["runuser", "-u", "postgres", "--", "psql", "-qtA", "w20003", "-c"],
}
INSERT = {
    MARIADB: "INSERT IGNORE INTO news VALUES (99, 'sesudah', NULL)",
    POSTGRESQL: "INSERT INTO letters (id, title) VALUES (99, 'sesudah') ON CONFLICT DO NOTHING",
}
ROWS = {
    MARIADB: "SELECT GROUP_CONCAT(id ORDER BY id) FROM news",
    POSTGRESQL: "SELECT string_agg(id::text, ',' ORDER BY id) FROM letters",
}
repository = Repository(read_settings())


def run(*words):
    return subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)


def backup(*words):
    done = run("website-backup", *words, "--json")
    return {"rc": done.returncode, "stderr": done.stderr[-2000:]}


def found(name):
    """What a website holds now."""
    data = SITES / name / "data/uploads"
    return {"uploads": sorted(path.name for path in data.iterdir()) if data.is_dir() else None,
            "rows": run(*SQL[name], ROWS[name]).stdout.strip()}


def left():
    """Whatever belongs to a restore or a dump."""
    paths = [*SITES.glob(".*"), *STATE.glob("restore-*"), *STATE.glob("*/database.sql"),
             *pathlib.Path("/run").glob("website-backup-*")]
    return sorted(path.name.rpartition(".go.id")[0] or str(path) for path in paths)


def forget_what_is_kept():
    for folder in SITES.glob(".before-restore-*"):
        shutil.rmtree(folder)


def kill(name, file, function, event, following, shot):
    (SITES / name / "data/uploads/sesudah.txt").write_text("after the snapshot")
    subprocess.run([*SQL[name], INSERT[name]], cwd="/", check=True)
    fault = {"file": f"website_backup/{file}", "function": function, "event": event, "command": "kill -9 $VICTIM"}
    FAULT.write_text(json.dumps(fault))
    restore = ["restore", name, "--snapshot", shot, "--in-place"]
    facts = {"name": name, "at": f"{function} {event}", "next": following, "killed": backup(*restore)["rc"],
             "between": found(name)}
    if following == NIGHTLY:
        facts["ended"] = run("systemctl", "start", "website-backup.service").returncode
    else:
        facts["ended"] = backup(*(restore if following == RESTORE else ["backup", "--website", name]))["rc"]
    facts |= {"after": found(name), "left": left()}
    forget_what_is_kept()
    return facts


def locks():
    return set(repository.call("list", "locks", "--no-lock").split())


def interrupt(name):
    """Kill a snapshot while restic holds its lock; it does so for hours, since a file of a tebibyte comes with it."""
    before, huge = locks(), SITES / name / "data/uploads/besar"
    SLOW.mkdir()
    (SLOW / "restic").write_text(
        f"#!/bin/sh\ncase \" $* \" in *\" backup \"*) truncate -s 1T {huge} ;; esac\nexec /usr/bin/restic \"$@\"\n")
    (SLOW / "restic").chmod(0o755)
    snapshot = subprocess.Popen(["website-backup", "backup", "--website", name], stdout=subprocess.DEVNULL,
                                env={**os.environ, "PATH": f"{SLOW}:{os.environ['PATH']}"})
    while not locks() - before:
        assert snapshot.poll() is None
        time.sleep(0.1)
    restic = child(snapshot.pid)
    assert restic
    snapshot.kill()
    snapshot.wait()
    while runs(restic):
        time.sleep(0.1)
    huge.unlink()
    shutil.rmtree(SLOW)
    facts = {"locks": len(locks() - before), "snapshots": len(repository.snapshots()),
             "dump": (STATE / "20002/database.sql").exists(), **backup("backup", "--website", name)}
    facts["made"] = len(repository.snapshots()) - facts["snapshots"]
    repository.forget(name, {"last": 99})  # needs the repository for itself
    return {**facts, "locks_after": len(locks()), "left": left()}


def child(parent):
    """The restic that makes a snapshot for this process."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = (folder / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
        except OSError:
            continue
        if mine and words[0].endswith(b"restic") and b"backup" in words:
            return int(folder.name)
    return 0


def runs(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def main():
    shots = {shot.website: shot.id for shot in repository.snapshots()}
    shutil.copy("/root/fault_hook.py", HOOK)
    HOOK.with_suffix(".pth").write_text("import websites_fault\n")
    try:
        restores = [kill(*moment, shots[moment[0]]) for moment in MOMENTS]
    finally:
        HOOK.with_suffix(".pth").unlink()
        HOOK.unlink()
    snapshot = interrupt(MARIADB)
    (STATE / "pruned").unlink()  # the nightly round of the next stage prunes, too
    pathlib.Path("/root/kills.json").write_text(json.dumps({"restores": restores, "snapshot": snapshot}, indent=1))


main()

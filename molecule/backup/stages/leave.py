"""Leave a lock and a dump as a killed run does, and five snapshots of one day long ago."""

import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, "/usr/local/lib/websites")
from website_backup.repository import Repository
from website_backup.settings import read_settings

settings = read_settings()
repository = Repository(settings)
for hour in range(10, 15):
    repository.call("backup", "--host", settings.host, "--tag", "website=dinkes.tarakankota.go.id",
                    "--time", f"2025-11-03 {hour}:00:00", "/etc/hostname")
locks = len(repository.call("list", "locks", "--no-lock").split())
killed = subprocess.Popen([*repository.base, "backup", "--stdin"], env=repository.env, stdin=subprocess.PIPE,
                          start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while len(repository.call("list", "locks", "--no-lock").split()) == locks:
    time.sleep(0.2)
os.killpg(killed.pid, signal.SIGKILL)
killed.wait()
pathlib.Path(settings.state, "20002/database.sql").write_text("half a dump")
pathlib.Path("/root/left").touch()

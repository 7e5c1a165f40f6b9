"""Leave a lock and a dump as a killed run does, five snapshots of one day long ago, and some of the month before."""

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
OLD = [("dinkes", f"2025-11-03 {hour}:00:00") for hour in range(10, 15)]
for name, moment in [*OLD, ("dinkes", "2025-10-05 10:00:00"), ("taman", "2025-10-05 10:00:00")]:
    repository.call("backup", "--host", settings.host, "--tag", f"website={name}.tarakankota.go.id",
                    "--time", moment, "/etc/hostname")
locks = len(repository.call("list", "locks", "--no-lock").split())
killed = subprocess.Popen([*repository.base, "backup", "--stdin"], env=repository.env, stdin=subprocess.PIPE,
                          start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while len(repository.call("list", "locks", "--no-lock").split()) == locks:
    time.sleep(0.2)
os.killpg(killed.pid, signal.SIGKILL)
killed.wait()
pathlib.Path(settings.state, "20002/database.sql").write_text("half a dump")
pathlib.Path("/root/left").touch()

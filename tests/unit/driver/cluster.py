"""A PostgreSQL server of the tests' own: made for them, on a Unix socket only, gone with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

SETTINGS = {"listen_addresses": "", "fsync": "off", "shared_buffers": "32MB", "max_connections": "60"}
MISSING = (
    "failed: there is no PostgreSQL server on this machine\nwhere: /usr/lib/postgresql/*/bin\n"
    "mend: install Debian's package postgresql; script/bootstrap does, without starting a server"
)


class Cluster:
    """Runs as an unprivileged account, since PostgreSQL refuses root; ends when the tests' process does."""

    def __init__(self, **settings: str) -> None:
        self.settings = SETTINGS | settings
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
        if not found:
            raise FileNotFoundError(MISSING)
        self.programs = found[-1].parent
        self.folder = Path(tempfile.mkdtemp(prefix="sop-pg-"))
        self.account = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.getuid() == 0 else []
        if self.account:
            shutil.chown(self.folder, "postgres", "postgres")
        self.count = 0
        data = ["-D", str(self.folder / "data"), "-U", "sop", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        self._run("initdb", *data, "--locale=C.UTF-8")
        rules = self.folder / "data/pg_hba.conf"
        rules.write_text(f"local all refused reject\n{rules.read_text()}")
        self.start()

    def _words(self, program: str, *words: str) -> list[str]:
        return ["setpriv", *self.account, "--pdeathsig", "INT", str(self.programs / program), *words]

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(self._words(program, *words), cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in self.settings.items()]
        words = self._words("postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), *settings)
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(words, cwd="/", stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin = psycopg.connect(f"host={self.folder} user=sop dbname=postgres", autocommit=True)
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def crash(self) -> None:
        """As by a power cut, but for what the system still writes down: every process of the server is killed."""
        self._run("pg_ctl", "kill", "QUIT", str(self.process.pid))
        self.process.wait(timeout=60)

    def stop(self) -> None:
        self.process.terminate()
        self.process.send_signal(2)  # does not wait for clients
        self.process.wait(timeout=60)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, name: str, user: str = "sop") -> str:
        return f"postgresql+psycopg://{user}@/{name}?host={self.folder}"

    def name(self) -> str:
        """The name of a database that is to be made."""
        self.count += 1
        return f"register_{self.count}"

    def create(self, template: str = "template0", name: str | None = None) -> str:
        """A database, empty or a copy, under a new name unless one is given. Gives its name."""
        name = name or self.name()
        # Files are copied in half the time that writing them to the log takes, PostgreSQL's own choice since 15.
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop(self, name: str) -> None:
        self.admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

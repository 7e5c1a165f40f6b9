"""Applications behind Apache: a systemd unit each, that answers on a socket of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import socket
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ansible.module_utils import web
from ansible.module_utils.transaction import STATE, Refused, run, write_atomic

UNITS = pathlib.Path("/etc/systemd/system")
ENVIRONMENTS = STATE / "web/apps"
OURS = "website-app-"
NAME = re.compile(rf"{OURS}w\d+-[0-9a-f]{{8}}\.service\Z")  # what is called otherwise was not written here
START = 30.0  # seconds within which an application must answer
# systemd starts an application again that has ended, and one decides itself when it ends and how long that takes.
RUNS = ("active", "activating", "deactivating")
# What is the same for every application. Its socket's folder is named in the environment alone, which no other user
# can see. systemd's own folders must stay visible to it. Native code may come from the server and from the release, not
# from where the program or a visitor writes: systemd forgets NoExecPaths=/ for a folder that another setting names.
UNIT = """# Written by the web layer, which replaces it; see {environment}
[Unit]
Description=Application of {name}
After=network.target
StartLimitIntervalSec=0
[Service]
Type=exec
User={user}
Group={user}
EnvironmentFile={environment}
WorkingDirectory={release}
ExecStartPre=+/usr/bin/rm -rf ${{SOCKET_FOLDER}}
ExecStartPre=+/usr/bin/install -d -o {user} -g www-data -m 2710 ${{SOCKET_FOLDER}}
ExecStart={program} {release}/{entry}
ExecStopPost=+/usr/bin/rm -rf ${{SOCKET_FOLDER}}
Restart=always
RestartSec=1
TimeoutStopSec=10
UMask=0007
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
InaccessiblePaths=-/run/dbus -/run/php -/etc/websites -{state}
ReadOnlyPaths={release}
NoExecPaths={home}/data {writable} {sockets} /tmp /var/tmp /dev/shm
ReadWritePaths={sockets} {writable}
MemoryMax={memory}
TasksMax={tasks}
SyslogIdentifier={name}
[Install]
WantedBy=multi-user.target
"""


def limits(size: dict[str, Any]) -> tuple[str, int]:
    """The memory and the tasks of what a website of that size runs: as much as PHP may take for it."""
    children = int(size["children"])
    if str(size["memory"]) == "-1":  # PHP's word for all there is
        return "infinity", 20 * children
    found = re.fullmatch(r"(\d+)([KMG]?)", str(size["memory"]).upper())
    if not found:
        raise Refused(f"the size's memory is {size['memory']!r}", "write it as 128M in apache_sizes")
    return f"{int(found[1]) * children}{found[2]}", 20 * children


def text(website: dict[str, Any], server: web.Server, password: str | None) -> str:
    """The application as its generation keeps it: its unit, its environment and a key that differs where they do."""
    size, where, user = server.sizes[website["size"]], web.paths(website), web.user(website)
    told = {**web.environment(website, server, password), "HOME": where["home"], "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8", "NODE_ENV": "production", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
    lines = [f'{key}="{web.plain(website, key, value)}"\n' for key, value in told.items()]
    memory, tasks = limits(size)
    writable = [f"{where['home']}/temporary", *(f"-{where['data']}/{path}" for path in sorted(website["writable"]))]
    facts = {"name": website["name"], "user": user, "home": where["home"], "release": where["release"],
             "entry": website["entry"], "program": web.PROGRAMS[website["program"]], "state": STATE,
             "sockets": web.APP_SOCKETS, "writable": " ".join(writable), "memory": memory, "tasks": tasks}  # fmt: skip
    draft = UNIT.format(environment="", **facts) + "".join(lines)
    key = sha256(f"{server.secret}:{user}:{draft}".encode()).hexdigest()
    name = f"{OURS}{user}-{key[:8]}"
    folder = web.APP_SOCKETS / sha256(f"{server.secret}:{key}".encode()).hexdigest()[:32]
    lines += [f'SOCKET_FOLDER="{folder}"\n', f'SOCKET="{folder}/socket"\n']
    unit = UNIT.format(environment=ENVIRONMENTS / f"{name}.env", **facts)
    kept = {"name": name, "socket": f"{folder}/socket", "unit": unit, "environment": "".join(lines)}
    return json.dumps(kept, sort_keys=True)


def _files(app: dict[str, str]) -> dict[pathlib.Path, tuple[str, int]]:
    unit, environment = UNITS / f"{app['name']}.service", ENVIRONMENTS / f"{app['name']}.env"
    return {unit: (app["unit"], 0o644), environment: (app["environment"], 0o600)}


def _holds(path: pathlib.Path, content: str) -> bool:
    with contextlib.suppress(OSError):
        return path.read_text() == content
    return False


def stands(apps: list[dict[str, str]]) -> list[bool]:
    """Whether each application's files are there and its unit runs, or is about to be started again after a crash."""
    if not apps:
        return []
    said = run(["systemctl", "show", "--property=ActiveState", "--value", *[f"{app['name']}.service" for app in apps]])
    states = said.split()
    return [
        all(_holds(path, content) for path, (content, _) in _files(app).items()) and state in RUNS
        for app, state in zip(apps, states, strict=True)
    ]


def start(website: dict[str, Any], app: dict[str, str], again: bool = False) -> None:
    """Start an application and see that it answers; where it runs already it is left alone, unless it shall `again`."""
    (running,) = stands([app])
    unit = f"{app['name']}.service"
    if again or not running:
        for path, (content, mode) in _files(app).items():
            write_atomic(path, content, mode)
        run(["systemctl", "daemon-reload"])
        run(["systemctl", "enable", "--quiet", unit])
        run(["systemctl", "restart", unit])
    status = answer(app["socket"], website, time.monotonic() + START)
    if status is None or status >= 500:
        journal = run(["journalctl", "--unit", unit, "--lines=15", "--output=cat", "--no-pager"])
        said = " ".join("".join(letter if letter.isprintable() else " " for letter in journal).split())[-600:]
        what = "does not answer on its socket" if status is None else f"answers {status}"
        raise Refused(f"the application of {website['name']} {what}: {said}", "mend the release")


def answer(path: str, website: dict[str, Any], deadline: float) -> int | None:
    """What the application says to a visitor of the page that is probed; None where it says nothing in time."""
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(website["name"])
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(max(deadline - time.monotonic(), 0.1))
            connection.sock.connect(path)
            connection.request("GET", website["probe"]["path"], headers={"User-Agent": "websites-probe"})
            return connection.getresponse().status
        time.sleep(0.1)
    return None


def keep(names: set[str], unasked: Callable[[], None]) -> None:
    """Stop and remove every application of ours but these, once `unasked` has waited until nobody asks one.

    Raises Refused where one will not go.
    """
    units = [path for path in UNITS.glob(f"{OURS}*.service") if NAME.match(path.name)]
    going = [path for path in units if path.stem not in names]
    if not going:
        return
    unasked()
    run(["systemctl", "disable", "--now", "--quiet", *[path.name for path in going]])
    for path in going:
        path.unlink(missing_ok=True)
        (ENVIRONMENTS / f"{path.stem}.env").unlink(missing_ok=True)
        shutil.rmtree(UNITS / f"{path.name}.d", ignore_errors=True)
    run(["systemctl", "daemon-reload"])

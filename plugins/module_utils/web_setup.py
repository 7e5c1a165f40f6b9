"""Run a release's own setup script: as the website's user, and whatever it does."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import Any

from ansible.module_utils import web, web_apps
from ansible.module_utils.transaction import Refused, run

OURS = "website-setup-"
SECONDS = 300  # within which a script must end


def run_foreign(argv: list[str], env: dict[str, str], timeout: float, keep: int = 4000) -> tuple[int, str]:
    """Run a website's own program; gives its exit code and the end of what it said.

    It gets no more of our environment than `env`; its output cannot fill the memory, nor what it leaves behind hold us
    up. Raises Refused where it takes over `timeout` seconds.
    """
    said, deadline = b"", time.monotonic() + timeout
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
    )
    try:
        with contextlib.closing(process.stdout) as output, selectors.DefaultSelector() as ready:
            ready.register(output, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if ready.select(0.1):
                    block = os.read(output.fileno(), 65536)
                    said = (said + block)[-keep:]
                    if not block:
                        break
                elif process.poll() is not None:
                    break  # it ended, and a child of it keeps the pipe open
        code = process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired as error:
        raise Refused(f"it did not end in {timeout:.0f} s", "make it shorter") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return code, said.decode("utf-8", "replace")


def end(user: str = "*") -> None:
    """End all that a website's setup script, or anybody's, still runs. Raises Refused where something will not go."""
    run(["systemctl", "stop", f"{OURS}{user}.*"])  # as a pattern, it may match nothing


def confined(website: dict[str, Any], size: dict[str, Any]) -> list[str]:
    """What runs a program as the website's user, within its size's limits and in a scope that ends with all it started.

    It dies with us: after a kill, what the run touched is put back, databases before websites. It is a scope, as every
    user could read a service's environment, and so the password; and a scope has no NoExecPaths, so that folders in
    which visitors can have left native code are mounted anew, for it alone: the home as one, as files move within it.
    """
    user, (memory, tasks) = web.user(website), web_apps.limits(size)
    home = web.paths(website)["home"]
    anew = (f'for at in {home} /tmp /var/tmp /dev/shm; do mount --bind -o noexec,nosuid,nodev $at $at || exit; done; '
            f'mount --bind -o exec,nosuid,nodev {home}/releases {home}/releases && exec "$@"')  # fmt: skip
    limits = {"MemoryMax": memory, "TasksMax": tasks, "RuntimeMaxSec": SECONDS, "KillSignal": "SIGKILL"}
    return [
        *("setpriv", "--pdeathsig=KILL"),
        *("systemd-run", "--scope", "--quiet", "--collect", f"--unit={OURS}{user}"),
        *(f"--property={key}={value}" for key, value in limits.items()),
        *("unshare", "--mount", "sh", "-c", anew, "sh"),
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"),
        "--pdeathsig=KILL",  # once more: another user forgets it
        *("env", "--unset=INVOCATION_ID", "--unset=PWD"),
    ]


def setup(website: dict[str, Any], server: web.Server, password: str | None, size: dict[str, Any]) -> None:
    """Run the release's setup script as the website's user; what it prints shows only where it fails."""
    where = web.paths(website)
    settings = [f"-d{key}={value}" for key, value in web.php_settings(website, size).items() if key != "error_log"]
    program = [str(web.PROGRAMS[website["program"]])] if web.wants_app(website) else [f"php{server.php}", *settings]
    told = web.environment(website, server, password)
    script = f"{where['release']}/{website['setup_script']}"
    argv = [*confined(website, size), f"--chdir={web.root(website)}", *program, script]
    failed = f"the setup script of {website['name']} failed"
    try:
        code, said = run_foreign(
            argv, {**told, "HOME": where["home"], "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, timeout=SECONDS
        )
    except (Refused, OSError) as error:
        raise Refused(f"{failed}: {error}", "mend the release") from error
    finally:
        end(web.user(website))
    if code:
        if password:
            said = said.replace(password, "…")
        words = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
        raise Refused(f"{failed} with {code}: {words[-600:]}", "mend the release")

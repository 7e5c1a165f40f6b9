"""A web host's own side: homes, releases, setup scripts, and the two daemons."""

from __future__ import annotations

import http.client
import os
import pathlib
import pwd
import re
import secrets
import shutil
import time
from hashlib import sha256
from typing import Any

from ansible.module_utils import releases, web
from ansible.module_utils.transaction import STATE, Refused, run, write_atomic

HERE = STATE / "web"
CURRENT = HERE / "current"
SITES = pathlib.Path("/etc/apache2/sites-enabled")
OUR_SITES = {"000-unknown.conf", "900-websites.conf"}
FPM_TEST = """[global]
error_log = /dev/null
[guard]
user = www-data
group = www-data
listen = {0}/guard.sock
pm = static
pm.max_children = 1
include={0}/fpm/*.conf
"""


def user_exists(name: str) -> bool:
    """Whether a unix user of this name is there."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def make_home(website: dict[str, Any]) -> None:
    """A home that root owns and only the website's user and Apache may enter."""
    uid, home = website["uid"], pathlib.Path(web.paths(website)["home"])
    home.mkdir(parents=True)
    for folder, owner, mode in (
        ("releases", 0, 0o755),
        ("data", 0, 0o755),
        ("temporary", uid, 0o700),
        ("sessions", uid, 0o700),
    ):
        path = home / folder
        path.mkdir()
        os.chown(path, owner, owner)
        path.chmod(mode)
    os.chown(home, 0, uid)
    home.chmod(0o750)
    logs = web.LOGS / website["name"]
    logs.mkdir(parents=True, exist_ok=True)
    os.chown(logs, 0, uid)
    logs.chmod(0o750)
    (logs / "php.log").touch(mode=0o640)
    os.chown(logs / "php.log", uid, uid)


def make_release(website: dict[str, Any], release: pathlib.Path, archive: pathlib.Path) -> list[pathlib.Path]:
    """Unpack a release under a partial name, rename it when whole; gives the writable folders that came with it."""
    partial = release.parent / f".{release.name}.partial"
    home = pathlib.Path(web.paths(website)["home"])
    if partial.exists():
        shutil.rmtree(partial)
    if not archive.is_file() or sha256(archive.read_bytes()).hexdigest() != website["release"]["sha256"]:
        raise Refused(f"the archive of {website['name']} is missing or has another sha256", "submit the release again")
    releases.unpack(archive, partial)
    if not (partial / website["document_root"]).is_dir():
        shutil.rmtree(partial)
        raise Refused(
            f"the release of {website['name']} has no folder {website['document_root']!r}", "mend document_root"
        )
    made = [home / "data" / path for path in website["writable"] if not (home / "data" / path).exists()]
    for path in website["writable"]:
        releases.share(partial, home / "data", path, website["uid"])
    partial.rename(release)
    return made


def remove_website(name: str, user: str) -> None:
    """Remove a website's home, logs and user, all of which this layer made."""
    for folder in (web.HOMES / name, web.LOGS / name):
        shutil.rmtree(folder, ignore_errors=True)
    if user_exists(user):
        run(["userdel", user])


def setup(website: dict[str, Any], server: web.Server, password: str | None, size: dict[str, Any]) -> None:
    """Run the release's setup script as the website's user; what it prints shows only where it fails."""
    where = web.paths(website)
    settings = [f"-d{key}={value}" for key, value in web.php_settings(website, size).items() if key != "error_log"]
    told = {**web.environment(website, server, password), "HOME": where["home"], "PATH": "/usr/bin:/bin"}
    user = web.user(website)
    try:
        run(
            [
                "setpriv",
                f"--reuid={user}",
                f"--regid={user}",
                "--clear-groups",
                "--no-new-privs",
                "env",
                f"--chdir={web.root(website)}",
                f"php{server.php}",
                *settings,
                f"{where['release']}/{website['setup_script']}",
            ],
            timeout=300,
            env=told,
        )
    except Refused as error:
        raise Refused(
            f"the setup script of {website['name']} failed: {error.what[-600:]}", "mend the release"
        ) from error


def foreign_vhosts(ours: set[str]) -> dict[str, str]:
    """Names that Apache serves without us: name -> file:line, as Apache itself reads its configuration."""
    found, here = {}, ""
    for line in run(["apache2ctl", "-t", "-D", "DUMP_VHOSTS"]).splitlines():
        vhost = re.match(r"(?:\*|\S+):\d+\s+(\S+) \((\S+)\)|\s+port \d+ namevhost (\S+) \((.+)\)", line)
        if vhost:
            name, here = vhost[1] or vhost[3], vhost[2] or vhost[4]
        elif alias := re.match(r"\s+(?:wild )?alias (\S+)", line):
            name = alias[1]
        else:
            continue
        if "/var/lib/websites/" not in here and name not in ours:
            found.setdefault(name, here)
    return found


def sites_by_hand() -> bool:
    """Whether Apache has enabled sites that this project did not put there."""
    return {path.name for path in SITES.iterdir()} > OUR_SITES


def validate(generation: pathlib.Path, php: str) -> None:
    """Let both daemons read the staged configuration as a whole."""
    run(["apache2ctl", "-t", "-C", f"Define websites_dir {generation}"])
    if php:
        test = generation / "fpm-test.conf"
        write_atomic(test, FPM_TEST.format(generation), 0o600)
        run([f"php-fpm{php}", "-t", "-y", str(test)])
        test.unlink()


def swap(target: str) -> None:
    """Make a generation the live one, by one rename."""
    new = CURRENT.with_name("current.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(CURRENT)


def ask(host: str, path: str = "/") -> tuple[int, Any]:
    """One request to this server's own Apache: (status, headers)."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host, "User-Agent": "websites-probe", "Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def reload(php: str, generation: str) -> None:
    """Reload PHP-FPM before Apache, once each, and wait until Apache answers from the new generation."""
    for service in [f"php{php}-fpm", "apache2"] if php else ["apache2"]:
        run(["systemctl", "reset-failed", service])  # one that a broken configuration stopped may start again
        run(["systemctl", "reload-or-restart", service])
    deadline = time.monotonic() + 20
    seen = None
    while time.monotonic() < deadline:
        try:
            seen = ask("generation.invalid")[1].get("X-Generation")
        except OSError as error:
            seen = error
        if seen == generation:
            return
        time.sleep(0.02)
    raise Refused(
        f"Apache did not take up generation {generation} in 20 s (last: {seen})", "see `journalctl -u apache2`"
    )


def look(website: dict[str, Any]) -> None:
    """A website that was changed must answer, and not with an error of the server."""
    status, headers = ask(website["name"], website["probe"]["path"])
    if headers.get("X-Unknown-Website") or (status >= 500 and website["state"] == "present"):
        raise Refused(f"{website['name']} answers {status} after the change", f"see {web.LOGS}/{website['name']}")


def host_secret(keep: bool) -> str:
    """The secret from which sockets' names are derived; made once (unless `keep` is false), root's alone."""
    path = HERE / "secret"
    if not path.exists() and not keep:
        return ""
    if not path.exists():
        write_atomic(path, secrets.token_hex(32), 0o600)
    return path.read_text()


def installed_php() -> str:
    """The version of the server's PHP-FPM, or an empty text."""
    found = sorted(
        re.findall(r"php-fpm(\d+\.\d+)$", "\n".join(map(str, pathlib.Path("/usr/sbin").glob("php-fpm*"))), re.M)
    )
    return found[-1] if found else ""

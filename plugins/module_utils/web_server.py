"""A web host's own side: homes, releases, setup scripts, and the two daemons."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

from ansible.module_utils import manifest, releases, web
from ansible.module_utils.transaction import STATE, Refused, run, write_atomic

HERE = STATE / "web"
CURRENT = HERE / "current"
LIVE = HERE / "live"  # the generation that the daemons were last seen to serve
JOURNAL = HERE / "journal.json"  # what an unfinished run was about to make or to purge
SITES = pathlib.Path("/etc/apache2/sites-enabled")
OUR_SITES = {"000-unknown.conf", "900-websites.conf"}
PHP = pathlib.Path("/etc/php")
OUR_POOLS = "zz-websites.conf"  # role apache writes it
FPM_TEST = """[global]
error_log = /dev/null
[guard]
user = www-data
group = www-data
listen = {0}/guard.sock
pm = static
pm.max_children = 1
{1}
"""


def user_exists(name: str) -> bool:
    """Whether a unix user of this name is there."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def holder(uid: int) -> str | None:
    """The unix user that has this id."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def make_users(websites: list[dict[str, Any]]) -> None:
    """Make the websites' unix users by one call."""
    lines = [f'u {web.user(w)} {w["uid"]} "website" {web.HOMES / w["name"]} /usr/sbin/nologin\n' for w in websites]
    if lines:
        run(["systemd-sysusers", "-"], stdin="".join(lines))


def _make_home(website: dict[str, Any]) -> pathlib.Path:
    """A home under a partial name, that root owns and only the website's user may enter; its logs too."""
    uid, home = website["uid"], web.HOMES / f".{website['name']}.partial"
    if home.exists():
        shutil.rmtree(home)
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
    return home


def make_homes(websites: list[dict[str, Any]]) -> None:
    """Homes appear whole: www-data may read what it serves, other websites' users may not."""
    homes = [(website, pathlib.Path(web.paths(website)["home"])) for website in websites]
    partial = [(_make_home(website), home) for website, home in homes if not home.is_dir()]
    if partial:
        run(["setfacl", "-m", "u:www-data:rx", *[str(made) for made, _ in partial]])
    for made, home in partial:
        made.rename(home)


def brings(website: dict[str, Any]) -> list[pathlib.Path]:
    """What `make_release` is going to make: the release, and writable folders that are not there yet."""
    where = web.paths(website)
    data = pathlib.Path(where["data"])
    folders = [releases.first_missing(data, path) for path in website["writable"]]
    return [pathlib.Path(where["release"]), *[folder for folder in folders if folder]]


@contextlib.contextmanager
def unpacked(website: dict[str, Any], archive: pathlib.Path) -> Iterator[pathlib.Path]:
    """A release unpacked under a partial name, its writable folders among the data. What is not renamed goes again."""
    where, wanted = web.paths(website), website["release"]["sha256"]
    release, data = pathlib.Path(where["release"]), pathlib.Path(where["data"])
    partial = release.with_name(f".{release.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        with archive.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = ""
    if found != wanted:
        what = f"the archive {wanted[:12]}… of {website['name']} is missing or has another sha256"
        raise Refused(what, "submit the request with it again, or restore the evidence folder from its backup")
    try:
        links = releases.unpack(archive, partial)
        if not (partial / website["document_root"]).is_dir():
            raise Refused(
                f"the release of {website['name']} has no folder {website['document_root']!r}", "mend document_root"
            )
        releases.guard(partial, links, website["writable"])
        data.mkdir(mode=0o755, exist_ok=True)
        for path in website["writable"]:
            releases.share(partial, data, path, website["uid"])
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def make_release(website: dict[str, Any], archive: pathlib.Path) -> None:
    """Unpack a release under a partial name and rename it when whole. Leaves nothing of it where it is refused."""
    release = pathlib.Path(web.paths(website)["release"])
    with unpacked(website, archive) as partial:
        write_atomic(partial / manifest.MANIFEST, json.dumps(manifest.held_by(partial), sort_keys=True), 0o600)
        if release.is_dir():  # kept, and not as it was unpacked
            shutil.rmtree(release)
        partial.rename(release)


def make_folders(website: dict[str, Any], archive: pathlib.Path) -> None:
    """Make the writable folders that are gone, with their first content. The release stays as it stands."""
    with unpacked(website, archive):
        pass


def processes(uid: int) -> list[int]:
    """What runs as this unix user."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # one that has just ended
            if re.search(rf"^Uid:.*\b{uid}\b", status.read_text(), re.M):
                found.append(int(status.parent.name))
    return found


def remove_website(name: str, uid: int) -> None:
    """Remove a website's user, home and logs, all of which this layer made. Raises Refused where one of them stays."""
    user = f"w{uid}"
    for left in reversed(range(20)):
        if not user_exists(user):
            break
        for process in processes(uid):  # a user with a process cannot go, and could write where its home was
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            run(["userdel", user])
        except Refused:
            if not left:
                raise
            time.sleep(0.1)
    for folder in (web.HOMES / name, web.HOMES / f".{name}.partial", web.LOGS / name):
        if os.path.lexists(folder):
            shutil.rmtree(folder)


def foreign_vhosts(ours: set[str]) -> dict[str, str]:
    """Names that Apache serves without us: name -> file:line, as Apache itself reads its configuration.

    It reads the empty first generation in the place of ours, which may be damaged and which a run can mend.
    """
    found, here = {}, ""
    empty = f"Define websites_dir {HERE / 'generations/0'}"
    for line in run(["apache2ctl", "-t", "-D", "DUMP_VHOSTS", "-C", empty]).splitlines():
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
    """Let both daemons read the staged configuration; PHP-FPM, which reads octet by octet, only the pools that are new.

    Pools do not depend on each other. One that somebody else wrote stops PHP-FPM at our reload as well as one of ours.
    """
    if php:
        test = generation / "fpm-test.conf"
        others = sorted(path for path in PHP.glob(f"{php}/fpm/pool.d/*.conf") if path.name != OUR_POOLS)
        # A pool that stays is a link to the live one.
        ours = sorted(path for path in generation.glob("fpm/*.conf") if path.stat().st_nlink == 1)
        included = "\n".join(f"include={path}" for path in [*others, *ours])
        write_atomic(test, FPM_TEST.format(generation, included), 0o600)
        run([f"php-fpm{php}", "-t", "-y", str(test)])
        test.unlink()
    run(["apache2ctl", "-t", "-C", f"Define websites_dir {generation}"])  # last, so that `reload` comes right after it


def swap(target: str) -> None:
    """Make a generation the live one, by one rename."""
    new = CURRENT.with_name("current.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(CURRENT)


def untouched(folder: pathlib.Path) -> bool:
    """Whether nothing in a folder was written since the live generation went live."""
    since = CURRENT.lstat().st_mtime_ns
    return all(path.lstat().st_ctime_ns <= since for path in (folder, *folder.rglob("*")) if os.path.lexists(path))


def ask(host: str, path: str = "/") -> tuple[int, Any]:
    """One request to this server's own Apache: (status, headers)."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host, "User-Agent": "websites-probe", "Connection": "close"})
        answer = connection.getresponse()  # its body may be endless
        return answer.status, answer.headers
    finally:
        connection.close()


def reload(php: str, generation: str, validated: bool = False) -> None:
    """Reload PHP-FPM before Apache, once each, and wait until Apache answers from the new generation.

    Apache's own reload reads all configuration twice before it begins, which what was just validated can do without.
    """
    for service in [f"php{php}-fpm", "apache2"] if php else ["apache2"]:
        run(["systemctl", "reset-failed", service])  # one that a broken configuration stopped may start again
        if validated and service == "apache2":
            with contextlib.suppress(Refused):  # it does not run
                run(["systemctl", "kill", "--kill-who=main", "--signal=USR1", service])
                continue
        run(["systemctl", "reload-or-restart", service])
    deadline = time.monotonic() + 20
    seen = None
    while time.monotonic() < deadline:
        try:
            seen = ask("generation.invalid")[1].get("X-Generation")
        except (OSError, http.client.HTTPException) as error:
            seen = error
        if seen == generation:
            if php:  # a pool of somebody else's that it takes for well written may still end it
                run(["systemctl", "is-active", f"php{php}-fpm"])
            return
        time.sleep(0.02)
    raise Refused(
        f"Apache did not take up generation {generation} in 20 s (last: {seen})", "see `journalctl -u apache2`"
    )


def look(website: dict[str, Any]) -> None:
    """A website that was changed must answer, and not with an error of the server."""
    name, deadline = website["name"], time.monotonic() + 5
    while True:
        try:
            status, headers = ask(name, website["probe"]["path"])
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Refused(f"{name} does not answer after the change: {error!r}", f"see {web.LOGS}/{name}") from error
        if not headers.get("X-Unknown-Website") and (status < 500 or website["state"] != "present"):
            return
        # PHP-FPM opens a new pool's socket a moment after systemd says that it reloaded
        if status != 503 or not web.wants_pool(website) or time.monotonic() > deadline:
            raise Refused(f"{name} answers {status} after the change", f"see {web.LOGS}/{name}")
        time.sleep(0.1)


def host_secret(keep: bool) -> str:
    """The secret from which sockets' names are derived; made once (unless `keep` is false), root's alone."""
    path = HERE / "secret"
    with contextlib.suppress(FileNotFoundError):
        if re.fullmatch(r"[0-9a-f]{64}", secret := path.read_text()):
            return secret
    if not keep:
        return ""
    write_atomic(path, secrets.token_hex(32), 0o600)
    return path.read_text()


def installed_php() -> str:
    """The version of the server's PHP-FPM, or an empty text."""
    found = sorted(
        re.findall(r"php-fpm(\d+\.\d+)$", "\n".join(map(str, pathlib.Path("/usr/sbin").glob("php-fpm*"))), re.M)
    )
    return found[-1] if found else ""

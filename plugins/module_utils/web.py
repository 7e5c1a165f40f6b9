"""What a website is on a web host: its configuration as text, and the difference from what is there."""

from __future__ import annotations

import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible.module_utils import manifest
from ansible.module_utils.transaction import Change, Refused

HOMES = pathlib.Path("/srv/websites")
LOGS = pathlib.Path("/var/log/websites")
SOCKETS = pathlib.Path("/run/php/websites")
APP_SOCKETS = pathlib.Path("/run/websites-apps")
PROGRAMS = {"python3": pathlib.Path("/usr/bin/python3"), "node": pathlib.Path("/usr/bin/node")}
NAME = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
PART = "[A-Za-z0-9_][A-Za-z0-9._-]{0,250}"
PATH = re.compile(rf"(?=.{{1,1000}}\Z){PART}(/{PART})*\Z")
READ = re.compile(rf"(?=.{{1,1000}}\Z)\.?{PART}(/\.?{PART})*\Z")  # what is only read may be hidden, as Nuxt's .output
PAGE = re.compile(r"/[A-Za-z0-9._~/%?=&+,:;@-]*\Z")
PLAIN = re.compile(r"[A-Za-z0-9 ._:/,@+-]*\Z")  # what FPM reads as it stands between quotes
VERSION = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}\Z")
UPLOAD = re.compile(r"([0-9]{1,9})([KMG]?)\Z")
MOST = 1024**3  # what ModSecurity takes
HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
PORTS = {"mariadb": 3306, "postgresql": 5432}
SOCKET = re.compile(r" /run/(?:php/websites|websites-apps)/\S+")
LIVE = ("present", "suspended")
STATES = (*LIVE, "archived", "purged")


class Server(NamedTuple):
    """The web host's own settings."""

    host: str
    php: str  # version, e.g. 8.2; empty where PHP is not installed
    sizes: dict[str, dict[str, Any]]
    database_hosts: dict[str, str]  # inventory name -> address
    secret: str  # from which the sockets' unguessable names come
    acme: bool = False  # whether a certificate authority is asked for websites' certificates
    certificates: Mapping[str, list[str]] = MappingProxyType({})  # the agency's own: name -> names that it serves


def _wrong(website: dict[str, Any]) -> Iterator[Any]:
    """Values that must never reach a configuration file or a path."""

    def fits(pattern: re.Pattern[str], value: Any) -> bool:
        return isinstance(value, str) and bool(pattern.match(value))

    yield from (several for several in (website["aliases"], website["writable"]) if not isinstance(several, list))
    yield from (name for name in [website["name"], *website["aliases"]] if not fits(NAME, name))
    script, pages = website["setup_script"], website["document_root"]
    yield from (path for path in [*website["writable"], *([] if script is None else [script])] if not fits(PATH, path))
    yield from (path for path in [pages] if path != "" and not fits(READ, path))
    yield from (page for page in [website["probe"]["path"]] if not fits(PAGE, page))
    yield from (version for version in [website["php_version"]] if version and not fits(VERSION, version))
    database = website["database"] or {"engine": "mariadb", "host": "none"}
    yield from (host for host in [database["host"]] if not fits(HOST, host))
    if website["runtime"] == "proxy":
        yield from (path for path in [website.get("entry")] if not fits(READ, path))
        yield from (program for program in [website.get("program")] if program not in PROGRAMS)
        yield from (folder for folder in [website["document_root"]] if folder)
    choices = [("state", STATES), ("runtime", ("static", "php", "proxy"))]
    yield from (website[key] for key, known in choices if website[key] not in known)
    yield from (waf for waf in [website.get("waf", "detect")] if waf not in ("detect", "block"))
    yield from (database[key] for key, known in [("engine", tuple(PORTS))] if database[key] not in known)


def check(website: dict[str, Any], server: Server) -> None:
    """Refuse what must never reach a configuration file, though the driver has checked it before."""
    try:
        wrong = list(_wrong(website))
        name, uid, sha256 = website["name"], website["uid"], website["release"]["sha256"]
        live = website["state"] in LIVE
        asked, size = website["php_version"], website["size"]
        known = size in server.sizes
        folders, code = website["writable"], f"{website['document_root']}/"
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"{website.get('name')!r} asks for what has no website's shape: {error!r}", "let the driver write the state"
        ) from error
    if wrong:
        raise Refused(f"{name!r} asks for {wrong[0]!r}", "use plain lower-case names and relative paths")
    nested = [a for a in folders for b in folders if a.startswith(f"{b}/")]
    if nested:  # root would make a folder where PHP could have put a link
        raise Refused(f"{name} asks for {nested[0]}, writable within another", "name the outer folder only")
    if around := [folder for folder in folders if code.startswith(f"{folder}/")]:
        raise Refused(f"{name} asks for {around[0]}, writable around its pages", "name a folder among the pages")
    if type(uid) is not int or not 20000 <= uid < 60000:
        raise Refused(f"{name} has the unix id {uid!r}", "let the driver give it, 20000 to 59999")
    if not isinstance(sha256, str) or not SHA256.match(sha256):
        raise Refused(f"{name} has no release hash", "give the release's sha256")
    if live and not known:
        raise Refused(f"{name} asks for the size {size!r}", f"ask for one of {', '.join(server.sizes)}")
    if live and website["database"] and website["database"]["host"] not in server.database_hosts:
        raise Refused(f"{name} names the database server {website['database']['host']}", "name one of the fleet's")
    if live and website["runtime"] == "proxy" and not PROGRAMS[website["program"]].exists():
        raise Refused(f"{name} asks for {website['program']}, which this server has not", "see apache_program_packages")
    if live and website["runtime"] == "php" and (not server.php or asked not in (None, "", server.php)):
        raise Refused(
            f"{name} asks for PHP {asked or ''}; this server has {server.php or 'none'}",
            "ask for the server's version, or leave php_version out",
        )


def user(website: dict[str, Any]) -> str:
    """The website's unix user, group, database and database user."""
    return f"w{website['uid']}"


def claims(website: dict[str, Any]) -> set[object]:
    """What only one website of a server can have."""
    return {website["uid"], website["name"], *website["aliases"]}


def paths(website: dict[str, Any]) -> dict[str, str]:
    """Where the website lies on its web host."""
    home = f"{HOMES}/{website['name']}"  # asked many times of each website, where paths as objects would be slow
    return {"home": home, "release": f"{home}/releases/{manifest.called(website)}", "data": f"{home}/data"}


def root(website: dict[str, Any]) -> str:
    """The folder that Apache serves."""
    return posixpath.join(paths(website)["release"], website["document_root"]).rstrip("/")


def certificate(website: dict[str, Any], server: Server) -> str:
    """Whose certificate the website shows: the name of one of the agency's own, `acme`, or `none`."""
    names = [website["name"], *website["aliases"]]
    for own, served in sorted(server.certificates.items()):
        if all(name in served or f"*.{name.partition('.')[2]}" in served for name in names):
            return own
    return "acme" if server.acme else "none"


def upload(website: dict[str, Any], server: Server) -> int:
    """The bytes of the largest request that the website takes: what PHP reads in its size's `upload`."""
    text = str(server.sizes[website["size"]]["upload"])
    match = UPLOAD.match(text.upper())
    size = int(match[1]) * 1024 ** " KMG".index(match[2] or " ") if match else 0
    if not 0 < size <= MOST:
        raise Refused(f"apache_sizes gives the upload {text!r}", "write a number with K, M or G, 1G at most")
    return size


def vhost(website: dict[str, Any]) -> str:
    """The website's own Apache file: data only, the policy is in the macros."""
    names = " ".join([website["name"], *sorted(website["aliases"])])
    shown = website["_certificate"]
    if website["state"] == "suspended":
        return f'Use WebsiteSuspended {website["name"]} "{names}" {shown}\n'
    # What the vhost looks for comes before it.
    lines = [f"Use WebsiteRequests {website['name']} {website.get('waf', 'detect')} {website['_upload']}"]
    if website["runtime"] == "proxy":
        lines += [f'Use WebsiteProxy {website["name"]} "{names}" {shown} {website["_app"]} {website["_seconds"]}']
        return "\n".join(lines) + "\n"
    if website["runtime"] == "php":
        lines += [f"Use WebsiteSeconds {website['name']} {website['_seconds']}"]
    macro = "WebsitePhp" if website["runtime"] == "php" else "WebsiteStatic"
    last = f" {website['_socket']}" if website["runtime"] == "php" else ""
    lines += [f'Use {macro} {website["name"]} "{names}" {shown} {root(website)}{last}']
    lines += [f"Use WebsiteWritable {paths(website)['release']}/{path}" for path in sorted(website["writable"])]
    if website["setup_script"]:
        lines.append(f"Use WebsiteInternal {posixpath.join(paths(website)['release'], website['setup_script'])}")
    return "\n".join(lines) + "\n"


def php_settings(website: dict[str, Any], size: dict[str, Any]) -> dict[str, str]:
    """PHP's settings, the same for the pool and for the setup script."""
    home = paths(website)["home"]
    return {
        "open_basedir": f"{home}/",
        "sys_temp_dir": f"{home}/temporary",
        "upload_tmp_dir": f"{home}/temporary",
        "session.save_path": f"{home}/sessions",
        "session.gc_probability": "1",  # Debian's own cleaning knows only Debian's folder
        # All pools share one cache of compiled files, which asks neither file rights nor open_basedir by itself.
        "opcache.validate_permission": "1",
        "opcache.restrict_api": "/nowhere",
        "memory_limit": size["memory"],
        "upload_max_filesize": size["upload"],
        "post_max_size": size["upload"],
        "allow_url_include": "0",
        "expose_php": "0",
        "display_errors": "0",
        "log_errors": "1",
        "error_log": str(LOGS / website["name"] / "php.log"),
        # putenv: mail() starts a program, into which LD_PRELOAD would bring any other
        "disable_functions":
            "exec,passthru,shell_exec,system,proc_open,popen,pcntl_exec,pcntl_fork,putenv,dl,link,symlink",
    }


def environment(website: dict[str, Any], server: Server, password: str | None) -> dict[str, str]:
    """What the application is told about its surroundings."""
    told = {"TMPDIR": f"{paths(website)['home']}/temporary", "WEBSITE_NAME": website["name"]}
    database = website["database"]
    if database:
        told |= {
            "DB_ENGINE": database["engine"],
            "DB_HOST": server.database_hosts[database["host"]],
            "DB_PORT": str(PORTS[database["engine"]]),
            "DB_NAME": user(website),
            "DB_USER": user(website),
            "DB_PASSWORD": password or "",
        }
    return told


def plain(website: dict[str, Any], key: str, value: object) -> str:
    """A value that neither FPM nor systemd can read as anything else. Its text is not shown: it may be a password."""
    if not PLAIN.match(str(value)):
        what = f"{key} of {website['name']} holds what PHP-FPM or systemd reads as syntax"
        raise Refused(what, "use letters and digits only")
    return str(value)


def pool(website: dict[str, Any], server: Server, password: str | None) -> str:
    """The website's PHP-FPM pool; holds the database password, so its file is root's alone."""
    size = {key: plain(website, key, value) for key, value in server.sizes[website["size"]].items()}
    name = user(website)
    told = {key: plain(website, key, value) for key, value in environment(website, server, password).items()}
    lines = [
        f"[{name}]",
        f"user = {name}",
        f"group = {name}",
        f"listen = {website['_socket']}",
        "listen.owner = www-data",
        "listen.group = www-data",
        "listen.mode = 0600",
        "pm = ondemand",
        f"pm.max_children = {size['children']}",
        "pm.process_idle_timeout = 1m",
        "pm.max_requests = 500",
        f"request_terminate_timeout = {size['seconds']}s",
        "catch_workers_output = yes",
        "clear_env = yes",
        f"chdir = {paths(website)['home']}",
    ]
    lines += [f'env[{key}] = "{value}"' for key, value in told.items()]
    lines += [f'php_admin_value[{key}] = "{value}"' for key, value in php_settings(website, size).items()]
    return "\n".join(lines) + "\n"


def wants_app(website: dict[str, Any]) -> bool:
    """Whether the website runs an application of its own now."""
    return website["state"] == "present" and website["runtime"] == "proxy"


def wants_pool(website: dict[str, Any]) -> bool:
    """Whether the website runs PHP now."""
    return website["state"] == "present" and website["runtime"] == "php"


def differences(
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    files: dict[str, tuple[str | None, str | None]],
) -> list[Change]:
    """The changes of one website. `files` maps vhost and pool to (text there, text wanted); None is no file."""
    website = (new or old or {})["name"]
    changes = []
    if new and not old:
        changes.append(Change(website, "user", "create", None, user(new)))
    before, after = (entry["release"]["sha256"] if entry else None for entry in (old, new))
    if new and before != after:
        changes.append(Change(website, "release", "update" if old else "create", before, after))
    for subject, (there, wanted) in files.items():
        if there == wanted:
            continue
        action = "create" if there is None else "remove" if wanted is None else "update"
        if (
            subject == "vhost"
            and wanted
            and new
            and new["state"] == "suspended"
            and old
            and old["state"] != "suspended"
        ):
            action = "suspend"
        # a pool holds the password, and a socket's name is what keeps other websites from calling it
        shown = [text and SOCKET.sub("…", text) for text in (there, wanted)] if subject == "vhost" else (None, None)
        changes.append(Change(website, subject, action, *shown))
    return changes

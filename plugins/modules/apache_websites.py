#!/usr/bin/python
"""Converge a web host's websites to the desired state, as one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apache_websites
short_description: Converge a web host's websites to the desired state
description:
  - Reads what is there, computes the changes, and applies them as one transaction with at most one reload a daemon.
  - Every set of configuration files is a generation of its own; one symbolic link says which is live.
  - Owns only the websites that it made. Others' vhosts, users and folders are reported as conflicts, never touched.
options:
  websites:
    description: The full list of websites of the desired state.
    type: list
    elements: dict
    required: true
  host:
    description: This server's name in the inventory; selects its share of the websites.
    type: str
    required: true
  sizes:
    description: For each size the limits of a website's PHP (children, memory, upload, seconds).
    type: dict
    required: true
  database_hosts:
    description: The database servers' addresses by their inventory name.
    type: dict
    default: {}
  archives:
    description: Folder on this server where releases' archives are put by the action plugin, named by their sha256.
    type: path
    default: /var/lib/websites/web/archives
  releases_kept:
    description: How many releases of a website stay on the server, the live one included.
    type: int
    default: 3
author: The project's maintainers (@dkisp-tarakan)
"""

EXAMPLES = r"""
- name: Converge the websites
  ansible.legacy.apache_websites:
    websites: "{{ apache_websites }}"
    host: "{{ inventory_hostname }}"
    sizes: "{{ apache_sizes }}"
"""

RETURN = r"""
changes:
  description: What differed, sorted by website, subject and action; the same in check mode and for real.
  returned: always
  type: list
as_built:
  description: For each website of this host what now stands there.
  returned: always
  type: dict
missing_archives:
  description: Hashes of archives that are needed first; nothing was changed then.
  returned: when archives are missing
  type: list
"""

import http.client
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import time
from hashlib import sha256

from ansible.module_utils import releases, web
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import STATE, Change, Outcome, Refused, fail, finish, read_json, run, server_lock
from ansible.module_utils.transaction import write_atomic

HERE = STATE / "web"
CURRENT = HERE / "current"
LIVE = HERE / "live"  # the generation that the daemons were last seen to serve
JOURNAL = HERE / "journal.json"  # what an unfinished run was about to make
CREDENTIALS = pathlib.Path("/etc/websites/credentials")
FPM_TEST = "[global]\nerror_log = /dev/null\n[guard]\nuser = www-data\ngroup = www-data\nlisten = {}/guard.sock\npm = static\npm.max_children = 1\n"


class Layer:
    """The web layer of one server: what is there, what is wanted, and the way from one to the other."""

    def __init__(self, params, server):
        self.params, self.server = params, server
        self.old = {entry["name"]: entry for entry in read_json(CURRENT / "websites.json", [])}
        self.wanted, self.purged = {}, {}
        for website in params["websites"]:
            if website["web_host"] != server.host:
                continue
            web.check(website, server.php)
            if website["state"] in web.LIVE:
                token = sha256(f"{server.secret}:{website['uid']}".encode()).hexdigest()[:32]
                self.wanted[website["name"]] = {**website, "_socket": f"{web.SOCKETS}/{token}.sock"}
            elif website["state"] == "purged":
                self.purged[website["name"]] = website
        self.archived = {w["name"] for w in params["websites"] if w["state"] == "archived"}
        self.made_homes, self.made_releases, self.made_users = [], [], []

    def password(self, website):
        """The stored database password, or None before the credentials were made."""
        return read_json(CREDENTIALS / f"{web.user(website)}.json", {}).get("password")

    def texts(self, website):
        """The wanted configuration files: relative path -> text."""
        texts = {f"apache/{website['name']}.conf": web.vhost(website)}
        if web.wants_pool(website):
            texts[f"fpm/{website['name']}.conf"] = web.pool(website, self.server, self.password(website))
        return texts

    def there(self, kind, name):
        try:
            return (CURRENT / kind / f"{name}.conf").read_text()
        except FileNotFoundError:
            return None

    def serves(self, name):
        """Whether a website that we own has files here (an archived one has only data)."""
        return self.there("apache", name) is not None

    def plan(self):
        """All changes; fills self.files with the whole wanted tree of the next generation."""
        changes, self.files = [], {}
        users = {entry.pw_name for entry in pwd.getpwall()}
        for name, website in self.wanted.items():
            texts = self.texts(website)
            self.files.update(texts)
            files = {"vhost": (self.there("apache", name), texts.get(f"apache/{name}.conf")),
                     "pool": (self.there("fpm", name), texts.get(f"fpm/{name}.conf"))}
            mine = web.differences(self.old.get(name), website, files)
            where = web.paths(website)
            if name in self.old and web.user(website) not in users:
                mine.append(Change(name, "user", "create", None, web.user(website)))
            if not pathlib.Path(where["release"]).is_dir() and not any(c.subject == "release" for c in mine):
                mine.append(Change(name, "release", "create", None, website["release"]["sha256"]))
            changes += mine
        for name, website in self.old.items():
            if name not in self.wanted and name not in self.purged and self.serves(name):
                files = {kind: (self.there(folder, name), None) for kind, folder in (("vhost", "apache"), ("pool", "fpm"))}
                changes += web.differences(website, None, files)
        changes += [Change(name, "website", "purge", web.user(w), None) for name, w in self.purged.items() if name in self.old]
        if not changes and CURRENT.exists() and read_json(LIVE, None) != os.readlink(CURRENT):
            changes.append(Change(None, "daemons", "update", read_json(LIVE, None), os.readlink(CURRENT)))
        return changes

    def conflicts(self):
        """Desired websites that are not ours while something foreign holds their name, folder or user."""
        new = [w for n, w in self.wanted.items() if n not in self.old]
        if not new:
            return []
        foreign = foreign_vhosts(set(self.old))
        unfinished = set(read_json(JOURNAL, []))
        found = []
        for website in new:
            for name in [website["name"], *website["aliases"]]:
                if name in foreign:
                    found.append({"website": website["name"], "subject": "vhost", "where": foreign[name]})
            home = web.paths(website)["home"]
            if website["name"] not in unfinished and pathlib.Path(home).exists():
                found.append({"website": website["name"], "subject": "folder", "where": home})
            if website["name"] not in unfinished and user_exists(web.user(website)):
                found.append({"website": website["name"], "subject": "user", "where": web.user(website)})
        return found

    def missing_archives(self):
        """Hashes of the releases that neither lie unpacked here nor as an archive."""
        archives = pathlib.Path(self.params["archives"])
        needed = {w["release"]["sha256"] for w in self.wanted.values() if not pathlib.Path(web.paths(w)["release"]).is_dir()}
        return sorted(needed - {path.name for path in archives.glob("*")})

    def settle(self):
        """Remove what a killed run had begun and no generation knows."""
        for name, uid in read_json(JOURNAL, {}).items():
            if name not in self.old:
                remove_website(name, f"w{uid}")
        for partial in web.HOMES.glob("*/releases/.*.partial"):
            shutil.rmtree(partial)
        JOURNAL.unlink(missing_ok=True)

    def make(self):
        """Users, homes and releases: all beside what is live, so visitors see none of it yet."""
        new = [w for n, w in self.wanted.items() if n not in self.old]
        write_atomic(JOURNAL, json.dumps({w["name"]: w["uid"] for w in new}), 0o600)
        lost = [w for w in self.wanted.values() if not user_exists(web.user(w))]
        if lost:
            run(["systemd-sysusers", "-"], stdin="".join(
                f'u {web.user(w)} {w["uid"]} "website" {web.HOMES / w["name"]} /usr/sbin/nologin\n' for w in lost))
            self.made_users = [web.user(w) for w in lost if w in new]
        homes = [w for w in self.wanted.values() if not pathlib.Path(web.paths(w)["home"]).is_dir()]
        for website in homes:
            make_home(website)
            self.made_homes.append(website)
        if homes:  # one call for all: www-data may read what it serves, other websites' users may not
            run(["setfacl", "-m", "u:www-data:rx", *[web.paths(w)["home"] for w in homes]])
        for website in self.wanted.values():
            release = pathlib.Path(web.paths(website)["release"])
            if not release.is_dir():
                make_release(website, release, pathlib.Path(self.params["archives"]) / website["release"]["sha256"])
                self.made_releases.append(release)

    def set_up(self):
        """Run the setup scripts of new releases as the websites' own users, before anything is live."""
        for name, website in self.wanted.items():
            before = self.old.get(name, {})
            same = (before.get("release"), before.get("setup_script")) == (website["release"], website["setup_script"])
            if website["setup_script"] and web.wants_pool(website) and not same:
                setup(website, self.server, self.password(website), self.params["sizes"][website["size"]])

    def stage(self):
        """Write the next generation beside the live one; files that stay the same are hard links."""
        HERE.joinpath("generations").mkdir(exist_ok=True, mode=0o700)
        numbers = [int(p.name) for p in HERE.joinpath("generations").iterdir() if p.name.isdigit()]
        generation = HERE / "generations" / str(max(numbers, default=0) + 1)
        for folder in ("apache", "fpm"):
            (generation / folder).mkdir(parents=True)
        self.files["apache/.generation"] = f'Header always set X-Generation {generation.name} "expr=-R \'127.0.0.0/8\'"\n'
        for name, text in self.files.items():
            live = CURRENT / name
            try:
                same = live.read_text() == text
            except FileNotFoundError:
                same = False
            if same:
                os.link(live.resolve(), generation / name)
            else:
                write_atomic(generation / name, text, 0o600)
        kept = [e for n, e in self.old.items() if n not in self.wanted and n not in self.purged]
        entries = [{**w, "paths": web.paths(w), "_setup": None} for w in self.wanted.values()] + kept
        for entry in entries:
            database = entry["database"]
            if database:
                entry["database"] = {**database, "address": self.server.database_hosts[database["host"]],
                                     "port": web.PORTS[database["engine"]]}
        write_atomic(generation / "websites.json", json.dumps(sorted(entries, key=lambda e: e["name"])), 0o600)
        return generation

    def unmake(self):
        """Take back what `make` made."""
        for release in self.made_releases:
            shutil.rmtree(release, ignore_errors=True)
        for website in self.made_homes:
            if website["name"] not in self.old:
                remove_website(website["name"], web.user(website))
        JOURNAL.unlink(missing_ok=True)

    def apply(self, changes):
        """The transaction: make aside, set up, stage, validate, swap, reload, probe; or put all back and raise Refused."""
        self.settle()
        before = os.readlink(CURRENT) if CURRENT.is_symlink() else None
        generation = None
        try:
            self.make()
            self.set_up()
            generation = self.stage()
            validate(generation, self.server.php)
            swap(str(generation))
            reload(self.server.php, generation.name)
            touched = {c.website for c in changes}
            for website in self.wanted.values():
                if website["name"] in touched:
                    look(website)
        except BaseException:
            if before and CURRENT.is_symlink() and os.readlink(CURRENT) != before:
                swap(before)
                reload(self.server.php, pathlib.Path(before).name)
            if generation:
                shutil.rmtree(generation, ignore_errors=True)
            self.unmake()
            raise
        write_atomic(LIVE, json.dumps(str(generation)))
        JOURNAL.unlink(missing_ok=True)
        self.prune(generation)

    def prune(self, generation):
        """Drop purged websites, old generations, old releases and used archives; nothing live depends on them."""
        for name, website in self.purged.items():
            if name in self.old:
                remove_website(name, web.user(website))
        for old in generation.parent.iterdir():
            if old.name.isdigit() and int(old.name) <= int(generation.name) - 3:
                shutil.rmtree(old)
        for website in self.wanted.values():
            live = pathlib.Path(web.paths(website)["release"])
            by_age = sorted(live.parent.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
            others = [path for path in by_age if path != live]
            for path in others[max(self.params["releases_kept"] - 1, 0):]:
                shutil.rmtree(path)
        shutil.rmtree(self.params["archives"], ignore_errors=True)

    def as_built(self):
        built = {}
        for name, website in self.wanted.items():
            facts = {"host": self.server.host, "state": website["state"], "user": web.user(website),
                     "names": [name, *website["aliases"]], "document_root": web.root(website),
                     "release": website["release"]["sha256"], "vhost": f"{CURRENT}/apache/{name}.conf"}
            if web.wants_pool(website):
                facts |= {"php": self.server.php, "pool": f"{CURRENT}/fpm/{name}.conf"}
            built[name] = facts
        return built

    def check_purges(self):
        for name, website in self.purged.items():
            mark = self.old.get(name, {}).get("created_by")
            if name in self.old and mark != website["created_by"]:
                raise Refused(f"{name} was made by {mark}, not by {website['created_by']}", "archive it instead of purging it")


def user_exists(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def make_home(website):
    """A home that root owns and only the website's user and Apache may enter."""
    uid, home = website["uid"], pathlib.Path(web.paths(website)["home"])
    home.mkdir(parents=True)
    for folder, owner, mode in (("releases", 0, 0o755), ("data", 0, 0o755), ("tmp", uid, 0o700), ("sessions", uid, 0o700)):
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


def make_release(website, release, archive):
    """Unpack a release under a partial name and rename it when it is whole."""
    partial = release.parent / f".{release.name}.partial"
    home = pathlib.Path(web.paths(website)["home"])
    if partial.exists():
        shutil.rmtree(partial)
    if not archive.is_file() or sha256(archive.read_bytes()).hexdigest() != website["release"]["sha256"]:
        raise Refused(f"the archive of {website['name']} is missing or has another sha256", "submit the release again")
    releases.unpack(archive, partial)
    if not (partial / website["document_root"]).is_dir():
        shutil.rmtree(partial)
        raise Refused(f"the release of {website['name']} has no folder {website['document_root']!r}", "mend document_root")
    for path in website["writable"]:
        releases.share(partial, home / "data", path, home, website["uid"])
    partial.rename(release)


def remove_website(name, user):
    """Remove a website's home, logs and user, all of which this layer made."""
    for folder in (web.HOMES / name, web.LOGS / name):
        shutil.rmtree(folder, ignore_errors=True)
    if user_exists(user):
        run(["userdel", user])


def setup(website, server, password, size):
    """Run the release's setup script as the website's user; what it prints shows only where it fails."""
    where = web.paths(website)
    settings = [f"-d{key}={value}" for key, value in web.php_settings(website, size).items() if key != "error_log"]
    told = {**web.environment(website, server, password), "HOME": where["home"], "PATH": "/usr/bin:/bin"}
    user = web.user(website)
    try:
        run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "env",
             f"--chdir={web.root(website)}", f"php{server.php}", *settings, f"{where['release']}/{website['setup_script']}"],
            timeout=300, env=told)
    except Refused as error:
        raise Refused(f"the setup script of {website['name']} failed: {error.what[-600:]}", "mend the release") from error


def foreign_vhosts(ours):
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


def validate(generation, php):
    """Let both daemons read the staged configuration as a whole."""
    run(["apache2ctl", "-t", "-C", f"Define websites_dir {generation}"])
    if php:
        test = generation / "fpm-test.conf"
        write_atomic(test, FPM_TEST.format(generation) + f"include={generation}/fpm/*.conf\n", 0o600)
        run([f"php-fpm{php}", "-t", "-y", str(test)])
        test.unlink()


def swap(target):
    """Make a generation the live one, by one rename."""
    new = CURRENT.with_name("current.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(CURRENT)


def ask(host, path="/"):
    """One request to this server's own Apache: (status, headers)."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host, "User-Agent": "websites-probe", "Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def reload(php, generation):
    """Reload PHP-FPM before Apache, once each, and wait until Apache answers from the new generation."""
    if php:
        run(["systemctl", "reload-or-restart", f"php{php}-fpm"])
    run(["systemctl", "reload-or-restart", "apache2"])
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
    raise Refused(f"Apache did not take up generation {generation} in 20 s (last: {seen})", "see `journalctl -u apache2`")


def look(website):
    """A website that was changed must answer, and not with an error of the server."""
    status, headers = ask(website["name"], website["probe"]["path"])
    if headers.get("X-Unknown-Website") or (status >= 500 and website["state"] == "present"):
        raise Refused(f"{website['name']} answers {status} after the change", f"see {web.LOGS}/{website['name']}")


def host_secret():
    """The secret from which sockets' names are derived; made once, root's alone."""
    path = HERE / "secret"
    if not path.exists():
        write_atomic(path, secrets.token_hex(32), 0o600)
    return path.read_text()


def installed_php():
    """The version of the server's PHP-FPM, or an empty text."""
    found = sorted(re.findall(r"php-fpm(\d+\.\d+)$", "\n".join(map(str, pathlib.Path("/usr/sbin").glob("php-fpm*"))), re.M))
    return found[-1] if found else ""


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "websites": {"type": "list", "elements": "dict", "required": True},
        "host": {"type": "str", "required": True},
        "sizes": {"type": "dict", "required": True},
        "database_hosts": {"type": "dict", "default": {}},
        "archives": {"type": "path", "default": str(HERE / "archives")},
        "releases_kept": {"type": "int", "default": 3},
    })
    params, host = module.params, module.params["host"]
    try:
        with server_lock("web"):
            server = web.Server(host, installed_php(), params["sizes"], params["database_hosts"], host_secret())
            layer = Layer(params, server)
            layer.check_purges()
            changes, conflicts = layer.plan(), layer.conflicts()
            created = [name for name in layer.wanted if name not in layer.old]
            if changes and not conflicts and not module.check_mode:
                if missing := layer.missing_archives():
                    module.exit_json(changed=False, missing_archives=missing)
                layer.apply(changes)
            orphans = [n for n in layer.old if n not in layer.wanted and n not in layer.purged and n not in layer.archived]
            finish(module, "web", host, Outcome(changes, layer.as_built(), created, conflicts, orphans))
    except Refused as error:
        fail(module, "web", host, error)


if __name__ == "__main__":
    main()

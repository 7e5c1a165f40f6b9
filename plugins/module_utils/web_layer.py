"""The web layer of one server: what is there, what is wanted, and the transaction between them."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import shutil
from hashlib import sha256

from ansible.module_utils import web
from ansible.module_utils import web_server as host_side
from ansible.module_utils.transaction import (
    Change,
    Refused,
    read_json,
    run,
    write_atomic,
)
from ansible.module_utils.web_server import CURRENT, HERE

LIVE = HERE / "live"  # the generation that the daemons were last seen to serve
JOURNAL = HERE / "journal.json"  # what an unfinished run was about to make
CREDENTIALS = pathlib.Path("/etc/websites/credentials")


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
        self.new = [w for n, w in self.wanted.items() if n not in self.old]
        self.made = []  # releases and writable folders of websites that were there before

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
            files = {
                "vhost": (self.there("apache", name), texts.get(f"apache/{name}.conf")),
                "pool": (self.there("fpm", name), texts.get(f"fpm/{name}.conf")),
            }
            mine = web.differences(self.old.get(name), website, files)
            where = web.paths(website)
            if name in self.old and web.user(website) not in users:
                mine.append(Change(name, "user", "create", None, web.user(website)))
            if not pathlib.Path(where["release"]).is_dir() and not any(c.subject == "release" for c in mine):
                mine.append(Change(name, "release", "create", None, website["release"]["sha256"]))
            changes += mine
        for name, website in self.old.items():
            if name not in self.wanted and name not in self.purged and self.serves(name):
                files = {
                    kind: (self.there(folder, name), None) for kind, folder in (("vhost", "apache"), ("pool", "fpm"))
                }
                changes += web.differences(website, None, files)
        changes += [
            Change(name, "website", "purge", web.user(w), None) for name, w in self.purged.items() if name in self.old
        ]
        live, current = read_json(LIVE, str(HERE / "generations/0")), str(CURRENT.readlink())
        if not changes and live != current:
            changes.append(Change(None, "daemons", "update", live, current))
        return changes

    def conflicts(self, everywhere):
        """Desired websites that are not ours while something foreign here holds their name, folder or user.

        `everywhere` looks at names meant for other web hosts too: whether a website exists is asked of the whole fleet,
        while an old page by hand on another host need not stop a run.
        """
        foreign = host_side.foreign_vhosts(set(self.old)) if self.new or host_side.sites_by_hand() else {}
        others = [w for w in self.params["websites"] if w["web_host"] != self.server.host and w["state"] in web.LIVE]
        found = [
            {"website": website["name"], "subject": "vhost", "where": foreign[name]}
            for website in [*self.wanted.values(), *(others if everywhere else [])]
            for name in [website["name"], *website["aliases"]]
            if name in foreign
        ]
        unfinished = set(read_json(JOURNAL, []))
        for website in self.new:
            if website["name"] in unfinished:
                continue
            home = web.paths(website)["home"]
            if pathlib.Path(home).exists():
                found.append({"website": website["name"], "subject": "folder", "where": home})
            if host_side.user_exists(web.user(website)):
                found.append({"website": website["name"], "subject": "user", "where": web.user(website)})
        return found

    def missing_archives(self):
        """Hashes of the releases that neither lie unpacked here nor as an archive."""
        archives = pathlib.Path(self.params["archives"])
        needed = {
            w["release"]["sha256"] for w in self.wanted.values() if not pathlib.Path(web.paths(w)["release"]).is_dir()
        }
        return sorted(needed - {path.name for path in archives.glob("*")})

    def settle(self):
        """Remove what a killed run had begun and no generation knows."""
        for name, uid in read_json(JOURNAL, {}).items():
            if name not in self.old:
                host_side.remove_website(name, f"w{uid}")
        for partial in web.HOMES.glob("*/releases/.*.partial"):
            shutil.rmtree(partial)
        JOURNAL.unlink(missing_ok=True)

    def make(self):
        """Users, homes and releases: all beside what is live, so visitors see none of it yet."""
        write_atomic(JOURNAL, json.dumps({w["name"]: w["uid"] for w in self.new}), 0o600)
        lost = [w for w in self.wanted.values() if not host_side.user_exists(web.user(w))]
        if lost:
            run(
                ["systemd-sysusers", "-"],
                stdin="".join(
                    f'u {web.user(w)} {w["uid"]} "website" {web.HOMES / w["name"]} /usr/sbin/nologin\n' for w in lost
                ),
            )
        homes = [w for w in self.wanted.values() if not pathlib.Path(web.paths(w)["home"]).is_dir()]
        for website in homes:
            host_side.make_home(website)
        if homes:  # one call for all: www-data may read what it serves, other websites' users may not
            run(["setfacl", "-m", "u:www-data:rx", *[web.paths(w)["home"] for w in homes]])
        for website in self.wanted.values():
            release = pathlib.Path(web.paths(website)["release"])
            if not release.is_dir():
                archive = pathlib.Path(self.params["archives"]) / website["release"]["sha256"]
                self.made += [release, *host_side.make_release(website, release, archive)]

    def set_up(self):
        """Run the setup scripts of new releases as the websites' own users, before anything is live."""
        for name, website in self.wanted.items():
            before = self.old.get(name, {})
            same = (before.get("release"), before.get("setup_script")) == (website["release"], website["setup_script"])
            if website["setup_script"] and web.wants_pool(website) and not same:
                host_side.setup(website, self.server, self.password(website), self.params["sizes"][website["size"]])

    def stage(self):
        """Write the next generation beside the live one; files that stay the same are hard links."""
        HERE.joinpath("generations").mkdir(exist_ok=True, mode=0o700)
        numbers = [int(p.name) for p in HERE.joinpath("generations").iterdir() if p.name.isdigit()]
        generation = HERE / "generations" / str(max(numbers, default=0) + 1)
        for folder in ("apache", "fpm"):
            (generation / folder).mkdir(parents=True)
        self.files["apache/.generation"] = (
            f"Header always set X-Generation {generation.name} \"expr=-R '127.0.0.0/8'\"\n"
        )
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
                entry["database"] = {
                    **database,
                    "address": self.server.database_hosts[database["host"]],
                    "port": web.PORTS[database["engine"]],
                }
        write_atomic(generation / "websites.json", json.dumps(sorted(entries, key=lambda e: e["name"])), 0o600)
        return generation

    def unmake(self):
        """Take back what `make` made."""
        for path in self.made:
            shutil.rmtree(path, ignore_errors=True)
        for website in self.new:
            host_side.remove_website(website["name"], web.user(website))
        JOURNAL.unlink(missing_ok=True)

    def put_back(self, before, generation):
        """Serve the generation `before` again, as if nothing had been tried."""
        swapped = str(CURRENT.readlink()) != before
        if swapped:
            host_side.swap(before)
        if generation:
            shutil.rmtree(generation, ignore_errors=True)
        self.unmake()
        if swapped:
            host_side.reload(self.server.php, pathlib.Path(before).name)

    def apply(self, changes):
        """The transaction: make aside, set up, stage, validate, swap, reload, probe; or put all back and raise."""
        self.settle()
        before = str(CURRENT.readlink())
        generation = None
        try:
            self.make()
            self.set_up()
            generation = self.stage()
            host_side.validate(generation, self.server.php)
            host_side.swap(str(generation))
            host_side.reload(self.server.php, generation.name)
            touched = {c.website for c in changes}
            for website in self.wanted.values():
                if website["name"] in touched:
                    host_side.look(website)
        except BaseException:
            self.put_back(before, generation)
            raise
        write_atomic(LIVE, json.dumps(str(generation)))
        JOURNAL.unlink(missing_ok=True)
        self.prune(generation)

    def prune(self, generation):
        """Drop purged websites, old generations, old releases and used archives; nothing live depends on them."""
        for name, website in self.purged.items():
            if name in self.old:
                host_side.remove_website(name, web.user(website))
        for old in generation.parent.iterdir():
            if old.name.isdigit() and 0 < int(old.name) <= int(generation.name) - 3:
                shutil.rmtree(old)
        for website in self.wanted.values():
            live = pathlib.Path(web.paths(website)["release"])
            by_age = sorted(live.parent.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
            others = [path for path in by_age if path != live]
            for path in others[max(self.params["releases_kept"] - 1, 0) :]:
                shutil.rmtree(path)
        shutil.rmtree(self.params["archives"], ignore_errors=True)

    def as_built(self):
        built = {}
        for name, website in self.wanted.items():
            facts = {
                "host": self.server.host,
                "state": website["state"],
                "user": web.user(website),
                "names": [name, *website["aliases"]],
                "document_root": web.root(website),
                "release": website["release"]["sha256"],
                "vhost": f"{CURRENT}/apache/{name}.conf",
            }
            if web.wants_pool(website):
                facts |= {"php": self.server.php, "pool": f"{CURRENT}/fpm/{name}.conf"}
            built[name] = facts
        return built

    def check_purges(self):
        for name, website in self.purged.items():
            mark = self.old.get(name, {}).get("created_by")
            if name in self.old and mark != website["created_by"]:
                raise Refused(
                    f"{name} was made by {mark}, not by {website['created_by']}", "archive it instead of purging it"
                )

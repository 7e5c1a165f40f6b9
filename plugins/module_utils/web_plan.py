"""What is there on a web host, what is wanted, and the changes between them; nothing is changed here."""

from __future__ import annotations

import os
import pathlib
import pwd
from hashlib import sha256

from ansible.module_utils import web
from ansible.module_utils import web_server as host_side
from ansible.module_utils.transaction import Change, Refused, read_json

CREDENTIALS = pathlib.Path("/etc/websites/credentials")


class Plan:
    """The websites that are ours on this server, those that are wanted, and the changes from one to the other."""

    def __init__(self, params, server):
        self.params, self.server = params, server
        self.old = {entry["name"]: entry for entry in self.owned()}
        self.wanted, self.purged, names = {}, {}, set()
        for website in params["websites"]:
            if website.get("web_host") != server.host:
                continue
            web.check(website, server)
            if website["name"] in names:
                raise Refused(f"{website['name']} is asked for twice", "give it one entry in the desired state")
            names.add(website["name"])
            if website["state"] in web.LIVE:
                token = sha256(f"{server.secret}:{website['uid']}".encode()).hexdigest()[:32]
                self.wanted[website["name"]] = {
                    **website,
                    "_socket": f"{web.SOCKETS}/{token}.sock",
                    "_certificate": web.certificate(website, server),
                    "_upload": web.upload(website, server),
                }
            elif website["state"] == "purged":
                self.purged[website["name"]] = website
        self.archived = {w["name"] for w in params["websites"] if w.get("state") == "archived"}
        self.new = [w for n, w in self.wanted.items() if n not in self.old]
        self.made = []  # releases and writable folders of websites that were there before
        self.journal = {"websites": {}, "made": [], "before": None, **read_json(host_side.JOURNAL, {})}
        self.check_unique()

    def owned(self):
        """The live generation's list of websites. Raises Refused where it is lost: all would seem foreign then."""
        path = host_side.CURRENT / "websites.json"
        owned = read_json(path, None)
        if not isinstance(owned, list):
            raise Refused(
                f"{path} is lost, and with it which websites are ours",
                f"point {host_side.CURRENT} at the newest whole folder beside {host_side.CURRENT.resolve()}",
            )
        return owned

    def check_unique(self):
        """Two websites with one user or one name would be one another's; an id that changes leaves files behind."""
        owners = {}
        for name, website in self.wanted.items():
            for claim in [website["uid"], name, *website["aliases"]]:
                if owners.setdefault(claim, name) != name:
                    raise Refused(f"{owners[claim]} and {name} both ask for {claim}", "give it to one of them")
            if (uid := self.old.get(name, website)["uid"]) != website["uid"]:
                raise Refused(f"{name} has the unix id {uid} here, not {website['uid']}", "restore the register's own")

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
            return (host_side.CURRENT / kind / f"{name}.conf").read_text()
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
            Change(name, "website", "purge", web.user(self.old[name]), None) for name in self.purged if name in self.old
        ]
        if host_side.JOURNAL.exists():
            changes.append(Change(None, "leftovers", "remove", sorted(self.journal["websites"]), None))
        current = str(host_side.CURRENT.readlink())
        live = read_json(host_side.LIVE, str(host_side.HERE / "generations/0"))
        if not changes and live != current:
            changes.append(Change(None, "daemons", "update", live, current))
        return changes

    def conflicts(self, everywhere):
        """Desired websites that are not ours while something foreign here holds their name, folder or user.

        `everywhere` looks at names meant for other web hosts too: whether a website exists is asked of the whole fleet,
        while an old page by hand on another host need not stop a run.
        """
        foreign = host_side.foreign_vhosts(set(self.old)) if self.new or host_side.sites_by_hand() else {}
        elsewhere = [w for w in self.params["websites"] if w.get("web_host") != self.server.host]
        others = [w for w in elsewhere if w.get("state") in web.LIVE]
        found = [
            {"website": website["name"], "subject": "vhost", "where": foreign[name]}
            for website in [*self.wanted.values(), *(others if everywhere else [])]
            for name in [website["name"], *website["aliases"]]
            if name in foreign
        ]
        for website in self.new:
            if website["name"] in self.journal["websites"]:
                continue
            for folder in (web.HOMES / website["name"], web.LOGS / website["name"]):
                if os.path.lexists(folder):
                    found.append({"website": website["name"], "subject": "folder", "where": str(folder)})
            if host_side.user_exists(web.user(website)):
                found.append({"website": website["name"], "subject": "user", "where": web.user(website)})
        return found

    def missing_archives(self):
        """Hashes of the releases that neither lie unpacked here nor as an archive."""
        archives = pathlib.Path(self.params["archives"])
        going = {pathlib.Path(path) for path in self.leftovers()}
        releases = {pathlib.Path(web.paths(w)["release"]): w["release"]["sha256"] for w in self.wanted.values()}
        needed = {sha256 for release, sha256 in releases.items() if release in going or not release.is_dir()}
        return sorted(needed - {path.name for path in archives.glob("*")})

    def leftovers(self):
        """Releases and writable folders that a killed run made for websites, without going live."""
        return self.journal["made"] if self.journal["before"] == str(host_side.CURRENT.readlink()) else []

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
                "vhost": f"{host_side.CURRENT}/apache/{name}.conf",
            }
            if web.wants_pool(website):
                facts |= {"php": self.server.php, "pool": f"{host_side.CURRENT}/fpm/{name}.conf"}
            built[name] = facts
        return built

    def check_purges(self):
        for name, website in self.purged.items():
            mark = self.old.get(name, {}).get("created_by")
            if name in self.old and mark != website["created_by"]:
                raise Refused(
                    f"{name} was made by {mark}, not by {website['created_by']!r}", "archive it instead of purging it"
                )

"""What is there on a web host, what is wanted, and the changes between them; nothing is changed here."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
from collections import Counter
from hashlib import sha256

from ansible.module_utils import manifest, releases, web, web_apps
from ansible.module_utils import web_server as host_side
from ansible.module_utils.transaction import Change, Left, Refused, read_json

# What each kind of a website's files is called, and its folder.
KINDS = {"vhost": "apache", "pool": "fpm", "application": "apps"}
CREDENTIALS = pathlib.Path("/etc/websites/credentials")


class Plan:
    """The websites that are ours on this server, those that are wanted, and the changes from one to the other."""

    def __init__(self, params, server):
        self.params, self.server = params, server
        self.old = {entry["name"]: entry for entry in self.owned()}
        self.wanted, self.purged, self.files = {}, {}, {}
        self.left = {}  # websites that stay as they are since they alone cannot be converged, and why
        self.archived = {w["name"] for w in params["websites"] if w.get("state") == "archived"}
        self.stopped = set()  # websites whose application does not run as the live generation says
        self.made = {}  # releases and writable folders of websites that were there before
        empty = {"websites": {}, "made": [], "live": [], "before": None, "renewed": []}
        self.journal = {**empty, **read_json(host_side.JOURNAL, {})}
        mine = [(str(w.get("name")), w) for w in params["websites"] if w.get("web_host") == server.host]
        times = Counter(name for name, _ in mine)
        refused = [(name, error) for name, website in mine if (error := self.take(website, times[name]))]
        for name, error in [*refused, *self.not_unique(), *self.not_purgeable()]:
            self.leave(name, error)

    def take(self, website, times):
        """Want a website of the desired state; gives the refusal of one that nobody could want."""
        try:
            web.check(website, self.server)
            name = website["name"]
            if times > 1:
                raise Refused(f"{name} is asked for twice", "give it one entry in the desired state")
        except Refused as error:
            return error
        if website["state"] in web.LIVE:
            self.wanted[name] = self.dressed(website)
        elif website["state"] == "purged":
            self.purged[name] = website
        return None

    def dressed(self, website):
        """A website with what this server decides about it."""
        token = sha256(f"{self.server.secret}:{website['uid']}".encode()).hexdigest()[:32]
        certificate = web.certificate(website, self.server)
        seconds = web.plain(website, "seconds", self.server.sizes[website["size"]]["seconds"])
        return {**website, "_socket": f"{web.SOCKETS}/{token}.sock", "_certificate": certificate,
                "_upload": web.upload(website, self.server), "_seconds": seconds}

    @property
    def new(self):
        return [w for n, w in self.wanted.items() if n not in self.old]

    def leave(self, name, error):
        """Leave a website as it is; so is another that wants what this one then keeps."""
        self.left.setdefault(name, Left(name, error.what, error.mend))
        self.wanted.pop(name, None)
        self.purged.pop(name, None)
        for path in self.texts_of(name):
            del self.files[path]
        if name not in self.old:
            return
        self.files.update(self.texts_left(name))
        keeps = web.claims(self.old[name])
        for other in [n for n, w in self.wanted.items() if keeps & web.claims(w)]:
            self.leave(other, Refused(f"{other} asks for what {name} has, which stays as it is", f"mend {name} first"))

    def texts_of(self, name):
        """The files of the next generation that are a website's own."""
        return {path: self.files[path] for kind in KINDS.values() if (path := f"{kind}/{name}.conf") in self.files}

    def texts_left(self, name):
        """The files of a website that stays: what it was, as the present policy writes it, or else as it stands."""
        if name not in self.old or not self.serves(name):
            return {}
        try:
            web.check(self.old[name], self.server)
            return self.texts(self.dressed(self.old[name]))
        except Refused:
            there = {f"{kind}/{name}.conf": self.there(kind, name) for kind in KINDS.values()}
            return {path: text for path, text in there.items() if text is not None}

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

    def not_unique(self):
        """Two websites with one user or one name would be one another's; an id that changes leaves files behind."""
        owners = {}
        for name, website in self.wanted.items():
            for claim in web.claims(website):
                owners.setdefault(claim, []).append(name)
            if (uid := self.old.get(name, website)["uid"]) != website["uid"]:
                what = f"{name} has the unix id {uid} here, not {website['uid']}"
                yield name, Refused(what, "restore the register's own")
        for claim, names in owners.items():
            holders = [name for name in names if name in self.old and claim in web.claims(self.old[name])]
            for name in names if len(names) > 1 else []:
                if holders != [name]:
                    yield name, Refused(f"{' and '.join(names)} both ask for {claim}", "give it to one of them")

    def not_purgeable(self):
        """A run may take back what it made, and nothing older."""
        for name, website in self.purged.items():
            mark = self.old.get(name, {}).get("created_by")
            if name in self.old and mark != website["created_by"]:
                what = f"{name} was made by {mark}, not by {website['created_by']!r}"
                yield name, Refused(what, "archive it instead of purging it")

    def password(self, website):
        """The stored database password, or None before the credentials were made."""
        return read_json(CREDENTIALS / f"{web.user(website)}.json", {}).get("password")

    def texts(self, website):
        """The wanted configuration files: relative path -> text."""
        texts = {}
        if web.wants_app(website):
            app = web_apps.text(website, self.server, self.password(website))
            texts[f"apps/{website['name']}.conf"] = app
            website = {**website, "_app": json.loads(app)["socket"]}
        texts[f"apache/{website['name']}.conf"] = web.vhost(website)
        if web.wants_pool(website):
            texts[f"fpm/{website['name']}.conf"] = web.pool(website, self.server, self.password(website))
        return texts

    def there(self, kind, name):
        try:
            return pathlib.Path(f"{host_side.CURRENT}/{kind}/{name}.conf").read_text()
        except FileNotFoundError:
            return None

    def apps(self, texts):
        """The applications of a generation's files: website -> what its file holds."""
        found = {pathlib.PurePath(path): text for path, text in texts.items() if path.startswith("apps/")}
        return {path.stem: json.loads(text) for path, text in found.items()}

    def live_apps(self):
        """The applications of the generation that is live. Raises ValueError where one was damaged by hand."""
        folder = host_side.CURRENT / "apps"
        return self.apps({f"apps/{path.name}": path.read_text() for path in folder.glob("*.conf")})

    def not_standing(self):
        """Websites whose application should run by the live generation, and does not as it says."""
        try:
            live = self.live_apps()
        except ValueError:
            return set()  # damaged by hand, which the plan sees
        return {name for name, stands in zip(live, web_apps.stands(list(live.values())), strict=True) if not stands}

    def serves(self, name):
        """Whether a website that we own has files here (an archived one has only data)."""
        return pathlib.Path(f"{host_side.CURRENT}/apache/{name}.conf").exists()

    def lacks(self, website):
        """Whether a website's release has to be unpacked; it is compared first, a live one where that is asked for."""
        release = pathlib.Path(web.paths(website)["release"])
        if not release.is_dir():
            return True
        return (self.params["compare_live"] or not self.live(website)) and bool(manifest.differences(release))

    def live(self, website):
        """Whether the release that is wanted is there, and visitors open it."""
        name, release = website["name"], web.paths(website)["release"]
        same = name in self.old and web.paths(self.old[name])["release"] == release
        return same and self.serves(name) and pathlib.Path(release).is_dir()

    def bare(self, website):
        """Writable folders that are gone: by hand, say, or by a restore that was killed."""
        data = pathlib.Path(web.paths(website)["data"])
        return [folder for folder in website["writable"] if releases.first_missing(data, folder)]

    def plan(self):
        """All changes; fills self.files with the whole wanted tree of the next generation."""
        changes, users = [], self.users()
        self.stopped = self.not_standing()
        for name, website in list(self.wanted.items()):
            if name not in self.wanted:
                continue  # left with the one before it
            try:
                self.files.update(self.texts(website))
            except Refused as error:
                self.leave(name, error)
                continue
            mine = self.differences(name, website)
            if name in self.stopped and not any(c.subject == "application" for c in mine):
                mine.append(Change(name, "application", "update", "stopped or changed by hand", None))
            if name in self.old and web.user(website) not in users:
                mine.append(Change(name, "user", "create", None, web.user(website)))
            if not any(c.subject == "release" for c in mine):
                if self.lacks(website):
                    was = ("update", "changed by hand") if self.live(website) else ("create", None)
                    mine.append(Change(name, "release", *was, website["release"]["sha256"]))
                else:
                    mine += [Change(name, f"data {folder}", "create") for folder in self.bare(website)]
            changes += mine
        for name, website in self.old.items():
            if name in self.left:
                changes += self.differences(name, website)
            elif name not in self.wanted and name not in self.purged and self.serves(name):
                changes += self.differences(name, None)
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

    @staticmethod
    def users():
        """The names of this server's unix users; to ask for a thousand one by one reads all each time."""
        return {entry.pw_name for entry in pwd.getpwall()}

    def differences(self, name, website):
        """What differs between the files of a website that are there and those that are wanted."""
        files = {
            subject: (self.there(kind, name), self.files.get(f"{kind}/{name}.conf")) for subject, kind in KINDS.items()
        }
        return web.differences(self.old.get(name), website, files)

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
            elif holder := host_side.holder(website["uid"]):  # all that runs as this id would be taken for its own
                found.append({"website": website["name"], "subject": "user", "where": f"{holder} ({website['uid']})"})
        return found

    def missing_archives(self):
        """Hashes of the releases that neither lie whole here, with their writable folders, nor as an archive."""
        archives = pathlib.Path(self.params["archives"])
        going = {pathlib.Path(path) for path in self.leftovers()}
        needed = {w["release"]["sha256"] for w in self.wanted.values()
                  if pathlib.Path(web.paths(w)["release"]) in going or self.lacks(w) or self.bare(w)}
        return sorted(needed - {path.name for path in archives.glob("*")})

    def leftovers(self):
        """Releases and writable folders that a killed run made for websites, without going live."""
        return self.journal["made"] if self.journal["before"] == str(host_side.CURRENT.readlink()) else []

    def once_live(self):
        """Those that a killed run made and let live: they go once no website of the live generation needs them.

        What was written to since then stays: nobody can tell whether visitors still need it.
        """
        made = [] if self.leftovers() else self.journal["made"]
        return [*self.journal["live"], *(path for path in made if host_side.untouched(pathlib.Path(path)))]

    def needs(self, path):
        """Whether a website that is wanted, or stays as it was, has its release or a writable folder in this place."""
        staying = [website for name, website in self.old.items() if name not in self.purged]
        for website in {**{w["name"]: w for w in staying}, **self.wanted}.values():
            where = web.paths(website)
            folders = [where["release"], *(f"{where['data']}/{folder}" for folder in website["writable"])]
            if any(f"{folder}/".startswith(f"{path}/") for folder in folders):
                return True
        return False

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
            if web.wants_app(website):
                facts["application"] = self.apps(self.texts_of(name))[name]["name"]
            built[name] = facts
        return built

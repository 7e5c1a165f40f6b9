"""The transaction that brings one web host's websites from what is there to what is wanted."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

from ansible.module_utils import web, web_setup, web_tls
from ansible.module_utils import web_server as host_side
from ansible.module_utils.transaction import Refused, write_atomic
from ansible.module_utils.web_plan import Plan


class Layer(Plan):
    """The web layer of one server: its plan, and the way there or back."""

    held = ()  # names for which no certificate is asked before the name servers know them

    def settle(self):
        """Remove what a killed run had begun and no generation knows."""
        for name, uid in self.journal["websites"].items():
            if name not in self.old:
                host_side.remove_website(name, uid)
        for path in self.leftovers():
            shutil.rmtree(path, ignore_errors=True)
        for name in self.old:
            for partial in web.HOMES.glob(f"{name}/releases/.*.partial"):
                shutil.rmtree(partial)
        host_side.JOURNAL.unlink(missing_ok=True)

    def make(self):
        """Users, homes and releases: all beside what is live, so visitors see none of it yet."""
        lacking = [w for w in self.wanted.values() if not pathlib.Path(web.paths(w)["release"]).is_dir()]
        self.made = [path for w in lacking if w["name"] in self.old for path in host_side.brings(w)]
        going = [*self.new, *[self.old[name] for name in self.purged if name in self.old]]
        journal = {
            "websites": {w["name"]: w["uid"] for w in going},
            "made": [str(path) for path in self.made],
            "before": str(host_side.CURRENT.readlink()),
        }
        write_atomic(host_side.JOURNAL, json.dumps(journal), 0o600)
        host_side.make_users([w for w in self.wanted.values() if not host_side.user_exists(web.user(w))])
        host_side.make_homes([w for w in self.wanted.values() if not pathlib.Path(web.paths(w)["home"]).is_dir()])
        for website in lacking:
            host_side.make_release(website, pathlib.Path(self.params["archives"]) / website["release"]["sha256"])

    def set_up(self):
        """Run the setup scripts of new releases as the websites' own users, before anything is live."""
        for name, website in self.wanted.items():
            done = self.old.get(name, {}).get("_setup")
            wanted = [website["release"]["sha256"], website["setup_script"]]
            if website["setup_script"] and web.wants_pool(website):
                if done != wanted:
                    size = self.params["sizes"][website["size"]]
                    web_setup.setup(website, self.server, self.password(website), size)
                done = wanted
            website["_setup"] = done

    def stage(self):
        """Write the next generation beside the live one; files that stay the same are hard links."""
        host_side.HERE.joinpath("generations").mkdir(exist_ok=True, mode=0o700)
        numbers = [int(p.name) for p in host_side.HERE.joinpath("generations").iterdir() if p.name.isdigit()]
        generation = host_side.HERE / "generations" / str(max(numbers, default=0) + 1)
        try:
            self.fill(generation)
        except BaseException:
            shutil.rmtree(generation, ignore_errors=True)
            raise
        return generation

    def fill(self, generation):
        """Write all files of a generation, and the list of the websites that are ours from then on."""
        for folder in ("apache", "fpm"):
            (generation / folder).mkdir(parents=True)
        self.files["apache/.generation"] = (
            f"Header always set X-Generation {generation.name} \"expr=-R '127.0.0.0/8'\"\n"
        )
        for name, text in self.files.items():
            live = host_side.CURRENT / name
            try:
                same = live.read_text() == text
            except FileNotFoundError:
                same = False
            if same:
                os.link(live.resolve(), generation / name)
            else:
                write_atomic(generation / name, text, 0o600)
        entries = [e for n, e in self.old.items() if n not in self.wanted and n not in self.purged]
        for website in self.wanted.values():
            database = website["database"] and {
                **website["database"],
                "address": self.server.database_hosts[website["database"]["host"]],
                "port": web.PORTS[website["database"]["engine"]],
            }
            entries.append({**website, "database": database, "paths": web.paths(website)})
        write_atomic(generation / "websites.json", json.dumps(sorted(entries, key=lambda e: e["name"])), 0o600)

    def unmake(self):
        """Take back what `make` made; the journal stays where something of it cannot go."""
        for path in self.made:
            shutil.rmtree(path, ignore_errors=True)
        faults = []
        for website in self.new:
            try:
                host_side.remove_website(website["name"], website["uid"])
            except (Refused, OSError) as error:
                faults.append(f"{website['name']}: {error}")
        if faults:
            raise Refused("; ".join(faults), "run again")
        host_side.JOURNAL.unlink(missing_ok=True)

    def put_back(self, before, generation):
        """Serve the generation `before` again, as if nothing had been tried."""
        try:
            web_tls.release(self.held)
            if str(host_side.CURRENT.readlink()) != before:
                host_side.swap(before)
                # before the users go: until then PHP-FPM starts processes of theirs
                host_side.reload(self.server.php, pathlib.Path(before).name)
        finally:
            if generation:
                shutil.rmtree(generation, ignore_errors=True)
            self.unmake()

    def apply(self, changes):
        """Converge, or raise with everything as before. The releases' archives were brought for this run alone."""
        try:
            self.transact({change.website for change in changes})
        finally:
            for path in pathlib.Path(self.params["archives"]).glob("*"):
                if web.SHA256.match(path.name):
                    path.unlink(missing_ok=True)

    def transact(self, touched):
        """Make aside, set up, stage, validate, swap, reload and look at the touched websites; or put all back."""
        self.settle()
        before = str(host_side.CURRENT.readlink())
        generation = None
        try:
            self.make()
            self.set_up()
            generation = self.stage()
            host_side.validate(generation, self.server.php)
            self.held = web_tls.hold([w for n, w in self.wanted.items() if n in touched])
            host_side.swap(str(generation))
            host_side.reload(self.server.php, generation.name)
            for website in self.wanted.values():
                if website["name"] in touched:
                    host_side.look(website)
        except BaseException as error:
            try:
                self.put_back(before, generation)
            except (Refused, OSError) as second:
                what = f"{error}; and putting it back: {second}"
                raise Refused(what, "mend that; the next run settles the rest") from error
            raise
        write_atomic(host_side.LIVE, json.dumps(str(generation)))
        self.prune(generation)
        host_side.JOURNAL.unlink(missing_ok=True)

    def prune(self, generation):
        """Drop purged websites, old generations and old releases; nothing live depends on them."""
        for name in self.purged:
            if name in self.old:
                host_side.remove_website(name, self.old[name]["uid"])
        for old in generation.parent.iterdir():
            if old.name.isdigit() and 0 < int(old.name) <= int(generation.name) - 3:
                shutil.rmtree(old)
        for website in self.wanted.values():
            live = pathlib.Path(web.paths(website)["release"])
            by_age = sorted(live.parent.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
            others = [path for path in by_age if path != live]
            for path in others[max(self.params["releases_kept"] - 1, 0) :]:
                shutil.rmtree(path)

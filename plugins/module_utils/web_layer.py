"""The transaction that brings one web host's websites from what is there to what is wanted."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
import shutil
import time

from ansible.module_utils import web, web_apps, web_renewal, web_setup, web_tls
from ansible.module_utils import web_server as host_side
from ansible.module_utils.transaction import SERVERS, Left, Refused, write_atomic
from ansible.module_utils.web_generations import Generations

MAIN = pathlib.Path("/run/apache2/apache2.pid")


def workers() -> set[int]:
    """The processes with which Apache serves visitors now."""
    try:
        main = int(MAIN.read_text())
        return set(map(int, pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()))
    except (OSError, ValueError):
        return set()  # it does not run


def outlive(others: set[int]) -> None:
    """Wait until these workers have ended: one may have let a visitor in just before the reload that ends it.

    What takes longer than two seconds is a visitor whom it serves since, and who has his file open.
    """
    deadline = time.monotonic() + 2
    while others & workers() and time.monotonic() < deadline:
        time.sleep(0.02)


def refusal(error):
    """A website's own trouble in two sentences. Raises it again where it is the whole server's."""
    if isinstance(error, Refused):
        return error
    if error.errno in SERVERS:
        raise error
    return Refused(f"this server's files do not allow it: {error}", "mend what it names and run again")


class Layer(Generations):
    """The web layer of one server: its plan, and the way there or back."""

    def __init__(self, params, server):
        super().__init__(params, server)
        self.busy = False  # from here on a kill leaves what the next run has to settle
        self.begun = {}  # websites that this run made or is about to purge: their users' ids
        self.doubtful = []  # what a killed run made and let live; where this one goes back, it is nobody's
        self.stuck = {}  # those that could not be removed; the next run tries again
        self.excluded = set()  # websites that were left before anything was done
        self.renewed = set(self.journal["renewed"])  # whose live release is put back, and applications start anew then
        self.leaving = set()  # Apache's workers that may still serve what was live before
        self.held = []  # names for which no certificate is asked before the name servers know them

    def each(self, websites, do):
        """Do it for all of these at once; where that fails, for each alone, and leave those for which it fails then."""
        try:
            do(websites)
        except (Refused, OSError) as error:
            own = refusal(error)
            if len(websites) == 1:
                self.leave(websites[0]["name"], own)
                return
            for website in websites:
                self.each([website], do)

    def remove(self, name, uid):
        """Remove a website from this server; what will not go stays in the journal."""
        try:
            host_side.remove_website(name, uid)
            web_tls.forget([name, *self.old.get(name, {}).get("aliases", [])])
            self.stuck.pop(name, None)
        except (Refused, OSError) as error:
            self.stuck[name] = uid
            return refusal(error)
        return None

    def settle(self):
        """Remove what a killed run had begun and no generation knows."""
        web_setup.end()
        self.keep_apps()  # before the users go, as whom systemd would start them again
        for name, uid in self.journal["websites"].items():
            if name not in self.old and (error := self.remove(name, uid)):
                self.leave(name, error)
        for path in self.leftovers():
            shutil.rmtree(path, ignore_errors=True)
        self.doubtful = self.once_live()
        for name in self.old:
            for partial in web.HOMES.glob(f"{name}/releases/.*.partial"):
                shutil.rmtree(partial)
        self.write_journal()

    def write_journal(self):
        """Tell the next run what this one is about to make or to purge, or could not remove; nothing is no file."""
        websites = {**self.stuck, **self.begun}
        if not websites and not self.made and not self.doubtful and not self.busy and not self.renewed:
            host_side.JOURNAL.unlink(missing_ok=True)
            return
        made = [str(path) for paths in self.made.values() for path in paths]
        before = str(host_side.CURRENT.readlink())
        journal = {"websites": websites, "made": made, "live": self.doubtful, "before": before}
        journal["renewed"] = sorted(self.renewed)
        write_atomic(host_side.JOURNAL, json.dumps(journal), 0o600)

    def make(self):
        """Users, homes and releases: all beside what is live, so visitors see none of it yet."""
        lacking = [w for w in self.wanted.values() if self.lacks(w)]
        bare = [w for w in self.wanted.values() if w not in lacking and self.bare(w)]
        renewed = {w["name"] for w in lacking if self.live(w)}
        self.renewed |= renewed
        # A live release is nothing to take back: what it is renewed to is what was approved.
        self.made = {n: host_side.brings(w)[n in renewed :] for w in lacking if (n := w["name"]) in self.old}
        going = [*self.new, *[self.old[name] for name in self.purged if name in self.old]]
        self.begun = {w["name"]: w["uid"] for w in going}
        self.busy = True
        self.write_journal()
        users = self.users()
        self.each([w for w in self.wanted.values() if web.user(w) not in users], host_side.make_users)
        homeless = [w for w in self.wanted.values() if not pathlib.Path(web.paths(w)["home"]).is_dir()]
        self.each(homeless, host_side.make_homes)
        archives = pathlib.Path(self.params["archives"])
        for website in [w for w in lacking if w["name"] in self.wanted]:
            make = web_renewal.renew if website["name"] in renewed else host_side.make_release
            self.each([website], lambda one, make=make: make(one[0], archives / one[0]["release"]["sha256"]))
        for website in [w for w in bare if w["name"] in self.wanted]:  # never unmade: the live release needs them
            self.each([website], lambda one: host_side.make_folders(one[0], archives / one[0]["release"]["sha256"]))

    def set_up(self):
        """Run the setup scripts of new releases as the websites' own users, before anything is live."""
        for website in list(self.wanted.values()):
            self.each([website], lambda one: self.set_up_one(one[0]))

    def start_apps(self):
        """Start new applications beside the old ones, which go once nobody asks them any more."""
        apps = self.apps({path: text for name in self.wanted for path, text in self.texts_of(name).items()})
        live = {name: self.there("apps", name) for name in apps}
        changed = [n for n in apps if n in self.stopped | self.renewed or live[n] != self.files[f"apps/{n}.conf"]]
        for website in [self.wanted[name] for name in changed]:
            again = website["name"] in self.renewed  # what it runs by then is no longer there
            self.each([website], lambda one, again=again: web_apps.start(one[0], apps[one[0]["name"]], again))
        self.renewed = set()

    def set_up_one(self, website):
        done = self.old.get(website["name"], {}).get("_setup")
        wanted = [website["release"]["sha256"], website["setup_script"]]
        if website["setup_script"] and (web.wants_pool(website) or web.wants_app(website)):
            if done != wanted:
                size = self.params["sizes"][website["size"]]
                web_setup.setup(website, self.server, self.password(website), size)
            done = wanted
        website["_setup"] = done

    def faults(self, names):
        """The websites of these that do not answer as they must, each with what is wrong; several are asked at once."""

        def fault(name):
            try:
                host_side.look(self.wanted[name])
            except (Refused, OSError) as error:
                return refusal(error)
            return None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = zip(names, pool.map(fault, names), strict=True)
            return {name: error for name, error in found if error}

    def keep_apps(self):
        """Stop the applications that the live generation does not ask; none where it was damaged and does not tell."""
        with contextlib.suppress(ValueError):
            web_apps.keep({app["name"] for app in self.live_apps().values()}, self.part)

    def part(self):
        """Wait for the workers that may still serve what was live before; who asks again has not to wait once more."""
        outlive(self.leaving)
        self.leaving = set()

    def rest(self, changes):
        """The changes but those of websites that are left since they were planned."""
        return [change for change in changes if change.website not in self.left or change.website in self.excluded]

    def flush(self):
        """Have releases, data and generation on the disk: after a power cut, nobody would compare what is live."""
        host_side.run(["sync", "--file-system", str(web.HOMES), str(host_side.HERE)], timeout=600)

    def go_live(self, changes):
        """Serve what is wanted. Gives the live generation; None where every website that would change is left."""
        while self.rest(changes):
            generation = self.readable()
            touched = {change.website for change in self.rest(changes)}
            if not touched:
                break
            names = [name for name in self.wanted if name in touched]
            self.held = self.held or web_tls.hold([self.wanted[name] for name in names])
            self.flush()
            host_side.swap(str(generation))
            self.leaving |= workers()
            host_side.reload(self.server.php, generation.name, validated=True)
            bad = self.faults(names)
            if not bad:
                return generation
            for name, error in bad.items():
                self.leave(name, error)
        return None

    def unmake(self, names):
        """Take back what `make` made for these websites; gives what could not go, which stays in the journal."""
        faults = {}
        for name in names:
            for path in self.made.pop(name, []):
                shutil.rmtree(path, ignore_errors=True)
            uid = self.begun.pop(name, None)
            if uid is not None and name not in self.old and (error := self.remove(name, uid)):
                faults[name] = error
        self.busy = False
        self.write_journal()
        return faults

    def put_back(self, before):
        """Serve the generation `before` again, as if nothing had been tried."""
        try:
            web_tls.release(self.held)
            if str(host_side.CURRENT.readlink()) != before:
                host_side.swap(before)
                self.leaving |= workers()
                # before the users go: until then PHP-FPM starts processes of theirs
                host_side.reload(self.server.php, pathlib.Path(before).name)
                self.part()
        finally:
            self.unstage(host_side.CURRENT.readlink())
            self.keep_apps()
            faults = self.unmake({*self.begun, *self.made})
        if faults:
            raise Refused("; ".join(f"{name}: {error}" for name, error in faults.items()), "run again")

    def apply(self, changes):
        """Converge what can be and give the changes that were made; or raise with everything as before."""
        try:
            self.transact(changes)
        finally:
            self.drop_archives()
        return self.rest(changes)

    def drop_archives(self):
        """The releases' archives were brought for this run alone."""
        for path in pathlib.Path(self.params["archives"]).glob("*"):
            if web.SHA256.match(path.name):
                path.unlink(missing_ok=True)

    def transact(self, changes):
        """Make aside, set up, stage, validate, swap, reload and look; leave who cannot, or put all back."""
        self.excluded = set(self.left)
        self.settle()
        before = str(host_side.CURRENT.readlink())
        try:
            self.make()
            self.set_up()
            self.start_apps()
            live = self.go_live(changes)
        except BaseException as error:
            try:
                self.put_back(before)
            except (Refused, OSError) as second:
                what = f"{error}; and putting it back: {second}"
                raise Refused(what, "mend that; the next run settles the rest") from error
            raise
        if live:
            write_atomic(host_side.LIVE, json.dumps(str(live)))
            self.prune(live)
        else:
            self.put_back(before)

    def prune(self, generation):
        """Drop purged and left websites, old generations and old releases; nothing live depends on them."""
        self.unstage(generation)
        self.keep_apps()
        if self.left or self.doubtful:
            self.part()
        faults = self.unmake(self.left)
        going = {name: self.old[name]["uid"] for name in self.purged if name in self.old}
        faults |= {name: error for name, uid in going.items() if (error := self.remove(name, uid))}
        for name, error in faults.items():
            first = f"{self.left[name].what}; and " if name in self.left else ""
            self.left[name] = Left(name, f"{first}it cannot be removed: {error}", error.mend)
        for path in self.doubtful:
            if not self.needs(path):
                shutil.rmtree(path, ignore_errors=True)
        for old in generation.parent.iterdir():
            if old.name.isdigit() and 0 < int(old.name) <= int(generation.name) - 3:
                shutil.rmtree(old)
        for website in self.wanted.values():
            live = pathlib.Path(web.paths(website)["release"])
            by_age = sorted(live.parent.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
            others = [path for path in by_age if path != live]
            for path in others[max(self.params["releases_kept"] - 1, 0) :]:
                shutil.rmtree(path)
        self.begun, self.made, self.doubtful, self.busy = {}, {}, [], False
        self.write_journal()

"""Generations: all configuration of a web host's websites, staged beside the live one and read by both daemons."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

from ansible.module_utils import web
from ansible.module_utils import web_server as host_side
from ansible.module_utils.transaction import Refused, write_atomic
from ansible.module_utils.web_plan import KINDS, Plan


def spoilers(names, fault):
    """The names because of which all of them together have a fault: {name: its fault}, found by trying halves.

    `fault` says what is wrong with a set of names, None where nothing is, as it must be with the empty set.
    """
    good, bad = set(), {}

    def add(some):
        said = fault(good | set(some))
        if not said:
            good.update(some)
        elif len(some) == 1:
            bad[some[0]] = said
        else:
            add(some[: len(some) // 2])
            add(some[len(some) // 2 :])

    add(names)
    return bad


class Generations(Plan):
    """The plan of one server, and the generations that come of it."""

    def __init__(self, params, server):
        super().__init__(params, server)
        self.staged = []  # generations that this run made

    def stage(self, files):
        """Write the next generation beside the live one; files that stay the same are hard links."""
        host_side.HERE.joinpath("generations").mkdir(exist_ok=True, mode=0o700)
        numbers = [int(p.name) for p in host_side.HERE.joinpath("generations").iterdir() if p.name.isdigit()]
        generation = host_side.HERE / "generations" / str(max(numbers, default=0) + 1)
        self.staged.append(generation)
        self.fill(generation, files)
        return generation

    def fill(self, generation, files):
        """Write all files of a generation, and the list of the websites that are ours from then on."""
        for folder in KINDS.values():
            (generation / folder).mkdir(parents=True)
        mark = f"Header always set X-Generation {generation.name} \"expr=-R '127.0.0.0/8'\"\n"
        live = host_side.CURRENT.resolve()
        for name, text in {**files, "apache/.generation": mark}.items():
            was, path = pathlib.Path(f"{live}/{name}"), pathlib.Path(f"{generation}/{name}")
            try:
                same = was.read_text() == text
            except FileNotFoundError:
                same = False
            if same:
                os.link(was, path)
            else:
                path.touch(mode=0o600)
                path.write_text(text)
        entries = [e for n, e in self.old.items() if n not in self.wanted and n not in self.purged]
        for website in self.wanted.values():
            database = website["database"] and {
                **website["database"],
                "address": self.server.database_hosts[website["database"]["host"]],
                "port": web.PORTS[website["database"]["engine"]],
            }
            entries.append({**website, "database": database, "paths": web.paths(website)})
        write_atomic(generation / "websites.json", json.dumps(sorted(entries, key=lambda e: e["name"])), 0o600)

    def unstage(self, but):
        """Drop the generations of this run but the one that is or stays live."""
        for generation in [path for path in self.staged if path != but]:
            shutil.rmtree(generation, ignore_errors=True)
            self.staged.remove(generation)

    def readable(self):
        """Stage a generation that both daemons read; the websites because of which they could not are left."""
        generation = self.stage(self.files)
        try:
            host_side.validate(generation, self.server.php)
        except Refused as error:
            for name, said in self.unreadable(error).items():
                self.leave(name, said)
            generation = self.stage(self.files)
            host_side.validate(generation, self.server.php)
        return generation

    def unreadable(self, error):
        """The websites whose change the daemons do not read, with what they say. Raises the error if it is nobody's."""
        texts = {name: (self.texts_of(name), self.texts_left(name)) for name in self.wanted}
        changed = {name: pair for name, pair in texts.items() if pair[0] != pair[1]}
        others = {path: text for path, text in self.files.items() if pathlib.PurePath(path).stem not in changed}

        def fault(names):
            own = [pair[0 if name in names else 1] for name, pair in changed.items()]
            generation = self.stage({path: text for part in (others, *own) for path, text in part.items()})
            try:
                host_side.validate(generation, self.server.php)
            except Refused as said:
                return said
            finally:
                self.unstage(host_side.CURRENT.readlink())
            return None

        if not changed or fault(set()):
            raise error
        return spoilers(list(changed), fault)

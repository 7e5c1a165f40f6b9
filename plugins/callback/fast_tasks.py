"""Let tasks take less of the controller's time: payloads are kept between playbooks, and forks copy less."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import pathlib
import shutil
import stat
import sys

import ansible
from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: fast_tasks
type: notification
short_description: Let tasks take less of the controller's time
description:
  - Ansible packs a module with all that it imports when a task first needs it, and drops it at the playbook's end. Here
    the files that it made are links in a folder beside, and the next playbook finds them in its own.
  - The folder's name is the hash of all that they are made of, so another Ansible or other modules have another one.
  - What goes wrong in it changes nothing but the time, since a task packs what it does not find.
  - Each task of each server is a fork. What is loaded by the playbook's start is garbage in none of them, and to look
    for some would write to memory that they share.
options: {}
"""


def ingredients():
    """What payloads are made of, with what tells it apart: contents of what is edited, dates of what is installed."""
    yield sys.version, ansible.__version__
    for folder in [*constants.DEFAULT_MODULE_PATH, *constants.DEFAULT_MODULE_UTILS_PATH]:
        for path in sorted(pathlib.Path(folder).rglob("*.py")):
            yield str(path), hashlib.sha256(path.read_bytes()).hexdigest()
    for part in ("modules", "module_utils"):
        for path in sorted(pathlib.Path(ansible.__file__).with_name(part).rglob("*.py")):
            now = path.stat()
            yield str(path), f"{now.st_size} {now.st_mtime_ns} {now.st_ctime_ns}"


def shared(source, target):
    """Give every whole payload of one folder a name in the other one too."""
    for path in source.iterdir():
        if path.name.startswith("ansible.") and not path.name.endswith((".lock", "-part")):
            with contextlib.suppress(FileExistsError):
                os.link(path, target / path.name)


def ours_alone(folder):
    """Whether nobody else may write there. Payloads are code: for the servers, and, being pickled, for this one."""
    now = folder.lstat()
    return stat.S_ISDIR(now.st_mode) and now.st_uid == os.geteuid() and not now.st_mode & 0o022


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fast_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        gc.freeze()
        own = pathlib.Path(constants.DEFAULT_LOCAL_TMP)
        self.cache = own / "ansiballz_cache"
        name = hashlib.sha256(repr(list(ingredients())).encode()).hexdigest()
        self.kept = own.with_name(f"payloads-{name}")
        with contextlib.suppress(OSError):
            self.cache.mkdir()
            self.kept.mkdir(mode=0o700, exist_ok=True)
            if ours_alone(self.kept):
                shared(self.kept, self.cache)

    def v2_playbook_on_stats(self, stats):
        with contextlib.suppress(OSError):
            shared(self.cache, self.kept)
            for older in self.kept.parent.glob("payloads-*"):
                if older != self.kept:
                    shutil.rmtree(older)

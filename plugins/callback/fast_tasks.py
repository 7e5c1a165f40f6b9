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
    the files that it made are kept in a folder beside, and the next playbook finds links to them in its own.
  - The folder's name is the hash of all that they are made of, so another Ansible or other modules have another one.
  - What goes wrong in it changes nothing but the time, since a task packs what it does not find.
  - Each task of each server is a fork. What is loaded by the playbook's start is garbage in none of them, and to look
    for some would write to memory that they share.
options: {}
"""

BEGINNING = "sop-payloads-"


def packed_from():
    """The hash of what payloads are made of: contents of what is edited, dates of what is installed. Raises OSError."""
    found = hashlib.sha256(f"{sys.version} {ansible.__version__}".encode())
    for folder in [*constants.DEFAULT_MODULE_PATH, *constants.DEFAULT_MODULE_UTILS_PATH]:
        for path in sorted(pathlib.Path(folder).rglob("*.py")):
            found.update(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    for part in ("modules", "module_utils"):
        for path in sorted(pathlib.Path(ansible.__file__).with_name(part).rglob("*.py")):
            now = path.stat()
            found.update(f"{path} {now.st_size} {now.st_mtime_ns} {now.st_ctime_ns}".encode())
    return found.hexdigest()


def of_ours(payload):
    """Whether a payload is of a module that the hash is of: Ansible's own, or one in the configured folders."""
    _, kind, name = payload.name.partition("-")[0].split(".", 2)
    folders = [pathlib.Path(folder) for folder in constants.DEFAULT_MODULE_PATH]
    return kind == "modules" or any((folder / f"{name}.py").exists() for folder in folders)


def is_whole(payload):
    """Whether a pickled payload comes to its end: a power cut may have left less of it."""
    return payload.read_bytes()[-1:] == b"."


def ours_alone(folder):
    """Whether nobody else may write there. Payloads are code: for the servers, and, being pickled, for this one."""
    now = folder.lstat()
    return stat.S_ISDIR(now.st_mode) and now.st_uid == os.geteuid() and not now.st_mode & 0o022


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fast_tasks"
    CALLBACK_NEEDS_ENABLED = True

    kept = None  # the folder of this playbook's payloads, where it can be used

    def v2_playbook_on_start(self, playbook):
        gc.freeze()
        own = pathlib.Path(constants.DEFAULT_LOCAL_TMP)
        self.cache = own / "ansiballz_cache"
        with contextlib.suppress(OSError):
            kept = own.with_name(f"{BEGINNING}{packed_from()}")
            kept.mkdir(mode=0o700, exist_ok=True)
            if ours_alone(kept):
                self.kept = kept
                self.cache.mkdir()
                for payload in kept.iterdir():
                    if is_whole(payload):
                        os.link(payload, self.cache / payload.name)
                    else:
                        payload.unlink()

    def v2_playbook_on_stats(self, stats):
        with contextlib.suppress(OSError):
            packed = self.cache.glob("ansible.*-none") if self.kept else []
            new = [path for path in packed if not (self.kept / path.name).exists() and of_ours(path)]
            if not new or self.kept.name != f"{BEGINNING}{packed_from()}":
                return  # most often nothing was packed; else somebody has edited modules meanwhile
            for payload in new:
                with payload.open("rb") as file:
                    os.fsync(file.fileno())
                payload.rename(self.kept / payload.name)
            for older in self.kept.parent.glob(f"{BEGINNING}*"):
                if older != self.kept:
                    shutil.rmtree(older)

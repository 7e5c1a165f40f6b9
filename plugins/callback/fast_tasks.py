"""Let playbooks take less time: payloads are kept between them, forks copy less, servers are reached beforehand."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import ansible
from ansible import constants
from ansible.playbook.play_context import PlayContext
from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import connection_loader
from ansible.template import Templar

DOCUMENTATION = """
name: fast_tasks
type: notification
short_description: Let playbooks take less time
description:
  - Ansible packs a module with all that it imports when a task first needs it, and drops it at the playbook's end. Here
    the files that it made are kept in a folder beside, and the next playbook finds links to them in its own.
  - The folder's name is the hash of all that they are made of, so another Ansible or other modules have another one.
  - What goes wrong in it changes nothing but the time, since a task packs what it does not find.
  - Each task of each server is a fork. What is loaded by the playbook's start is garbage in none of them, and to look
    for some would write to memory that they share.
  - While the first play works, SSH connects to the servers of the later ones, in the order of these.
    Their tasks find the connection there, as they find that of a playbook just before.
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


def connect(play, hosts):
    """Let SSH begin to connect to each of these as Ansible's tasks will, and keep that for them."""
    for host in hosts:
        given = play.get_variable_manager().get_vars(play=play, host=host)
        if given.get("ansible_connection", "ssh") != "ssh":
            continue
        ssh = connection_loader.get("ssh", PlayContext(play=play))
        ssh.set_options(var_options=ssh._resolve_option_variables(given, Templar(play.get_loader(), given)))
        ssh.host = ssh.get_option("host")
        subprocess.Popen(
            ssh._build_command(ssh.get_option("ssh_executable"), "ssh", ssh.host, "true"), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fast_tasks"
    CALLBACK_NEEDS_ENABLED = True

    kept = None  # the folder of this playbook's payloads, where it can be used
    plays = ()  # those whose servers are yet to be connected to

    def v2_playbook_on_start(self, playbook):
        gc.freeze()
        self.plays = playbook.get_plays()
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

    def v2_playbook_on_play_start(self, play):
        inventory = play.get_variable_manager()._inventory
        plays, self.plays = self.plays, ()
        later = [host for other in plays for host in inventory.get_hosts(other.hosts, ignore_restrictions=True)]
        now = inventory.get_hosts(play.hosts) if later else []
        connect(play, [host for host in dict.fromkeys(later) if host not in now])

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

"""Build the payloads of the playbook's modules ahead: otherwise each task does it while its servers wait."""

from __future__ import annotations

import contextlib
import multiprocessing
import pathlib

from ansible import constants
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

DOCUMENTATION = """
name: build_ahead
type: notification
short_description: Build the payloads of this project's modules ahead
description:
  - Ansible packs a module with all that it imports when a task first needs it, while that task's servers wait. Here
    another process does that from the playbook's start, into the same cache, under Ansible's own lock.
  - What goes wrong in it changes nothing but the time, since the task builds what it does not find.
options: {}
"""

OURS = pathlib.Path(__file__).parents[1] / "modules"


def actions(items):
    """The names of all tasks' actions in their order, those in blocks among them."""
    for item in items:
        if isinstance(item, Block):
            yield from actions([*item.block, *item.rescue, *item.always])
        else:
            yield item.action


def build(names):
    """Pack these modules into the run's cache; what cannot be is left to its task, which tells why."""
    templar = Templar(loader=DataLoader())
    with contextlib.suppress(Exception):
        for name in names:
            modify_module(
                module_name=name,
                module_path=str(OURS / f"{name}.py"),
                module_args={},
                templar=templar,
                task_vars={"ansible_python_interpreter": constants.INTERPRETER_PYTHON},
                module_compression=constants.DEFAULT_MODULE_COMPRESSION,
                environment={},
            )


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "build_ahead"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        used = dict.fromkeys(name for play in playbook.get_plays() for name in actions(play.compile()))
        ours = [name for name in used if (OURS / f"{name}.py").exists()]
        if ours[:1] == [next(iter(used), None)]:  # needed at once: its task builds it
            del ours[0]
        if ours:
            multiprocessing.get_context("fork").Process(target=build, args=[ours], daemon=True).start()

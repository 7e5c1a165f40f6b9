"""Hand the layers' results to the driver in a file: ansible-runner's events lose a result over 700,000 characters."""

from __future__ import annotations

import json
import os
import pathlib

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: sop_results
type: notification
short_description: Write the results of the layers' modules to a file
description:
  - Appends one line of JSON for every task result that holds C(changes), C(probes) or C(snapshots), or sets a fact
    that does.
  - Results of tasks with C(no_log) arrive here without their content, and so are never written.
  - A last line tells how many there are. Ansible goes on where one could not be written, as on a full disk.
options: {}
requirements:
  - The environment variable E(SOP_RESULTS_FILE), which the driver sets; without it nothing is written.
"""

KEYS = ("changes", "probes", "snapshots")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "sop_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._count = 0

    def _write(self, lines):
        if lines and (path := os.environ.get("SOP_RESULTS_FILE")):
            with pathlib.Path(path).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line, default=str) + "\n" for line in lines)

    def _keep(self, result):
        held = [*result.result.get("results", []), *result.result.get("ansible_facts", {}).values()]
        values = [result.result, *(value for value in held if isinstance(value, dict))]
        lines = []
        for value in values:
            if any(key in value for key in KEYS) and not value.get("_ansible_no_log"):
                kept = {key: item for key, item in value.items() if not key.startswith("_") and key != "invocation"}
                lines.append({"host": result.host.get_name(), "task": result.task.get_name(), "result": kept})
        self._count += len(lines)
        self._write(lines)

    def v2_runner_on_ok(self, result):
        self._keep(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._keep(result)

    def v2_playbook_on_stats(self, stats):
        self._write([{"count": self._count}])

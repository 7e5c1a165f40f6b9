"""Bring the releases' archives that a web host still lacks, then let the module converge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ARCHIVES = "/var/lib/websites/web/archives"


class ActionModule(ActionBase):
    """Takes the module's options, and `evidence`: the controller's folder of archives, each named by its sha256."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        evidence = Path(arguments.pop("evidence", ""))
        result = self._execute_module("ansible.legacy.apache_websites", arguments, task_vars=task_vars)
        missing = result.get("missing_archives")
        if not missing:
            return result
        self._low_level_execute_command(f"install -d -m 0700 {ARCHIVES}")
        for sha256 in missing:
            archive = evidence / sha256
            if not archive.is_file():
                raise AnsibleActionFail(
                    f"refused: the release {sha256} does not lie in {evidence}\n"
                    f"layer: web on {task_vars['inventory_hostname']}\n"
                    "mend: submit the request with its archive again, or restore the evidence folder from its backup"
                )
            self._transfer_file(str(archive), f"{ARCHIVES}/{sha256}")
        return self._execute_module("ansible.legacy.apache_websites", arguments, task_vars=task_vars)

"""Bring the releases' archives that a web host still lacks, then let the module converge it."""

from __future__ import annotations

import re
import shlex
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
        self._bring(missing, evidence, arguments, task_vars)
        arguments["brought"] = True
        return self._execute_module("ansible.legacy.apache_websites", arguments, task_vars=task_vars)

    def _bring(self, missing: list[Any], evidence: Path, arguments: dict[str, Any], task_vars: Any) -> None:
        """Copy archives to the server. It says which it lacks; it gets none but those that its websites name.

        One that is no evidence is not brought; the module then refuses its website alone.
        """
        folder = str(arguments.get("archives") or ARCHIVES)
        named = [(website.get("release") or {}).get("sha256") for website in arguments["websites"]]
        made = self._low_level_execute_command(f"install -d -m 0700 {shlex.quote(folder)}")
        if made.get("rc") != 0:
            raise self._refused(f"{folder} cannot be made: {made.get('stderr')}", "see to the server's disk", task_vars)
        for sha256 in missing:
            if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256) or sha256 not in named:
                raise self._refused(
                    f"the server asks for {sha256!r}, which is no release of these websites",
                    "look into that server: it may be in others' hands",
                    task_vars,
                )
            archive = evidence / sha256
            if archive.is_file():
                self._transfer_file(str(archive), f"{folder}/{sha256}")

    def _refused(self, what: str, mend: str, task_vars: Any) -> AnsibleActionFail:
        return AnsibleActionFail(f"refused: {what}\nlayer: web on {task_vars['inventory_hostname']}\nmend: {mend}")

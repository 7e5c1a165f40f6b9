"""Bring the releases' archives that a web host still lacks, then let the module converge it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

SHA256 = re.compile(r"[0-9a-f]{64}")
ARCHIVES = "/var/lib/websites/web/archives"
UNPACKED = "cd /srv/websites && printf '%s\\n' */releases/*"


class ActionModule(ActionBase):
    """Takes the module's options, and `evidence`: the controller's folder of archives, each named by its sha256."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        evidence = Path(arguments.pop("evidence", ""))
        releases = self._releases(arguments)
        if not self._task.check_mode:
            # Most often it lacks just what it has not unpacked; the module, which knows, would be run in vain first.
            self._bring(self._not_unpacked(releases), evidence, arguments, task_vars)
        result = self._execute_module(self._task.action, arguments, task_vars=task_vars)
        missing = result.get("missing_archives")
        if not missing:
            return result
        for sha256 in missing:
            # It gets none but those that its websites name.
            if sha256 not in releases.values():
                raise self._refused(
                    f"the server asks for {sha256!r}, which is no release of these websites",
                    "look into that server: it may be in others' hands",
                    task_vars,
                )
        self._bring(missing, evidence, arguments, task_vars)
        arguments["brought"] = True
        return self._execute_module(self._task.action, arguments, task_vars=task_vars)

    def _releases(self, arguments: dict[str, Any]) -> dict[str, str]:
        """The sha256 of each website's release on this host; none where the module will refuse what it is given."""
        given = arguments.get("websites")
        try:
            state = json.loads(given) if isinstance(given, str) else given
            rows = state["websites"] if isinstance(state, dict) else state
            live = [row for row in rows if row["state"] in ("present", "suspended")]
            named = {row["name"]: row["release"]["sha256"] for row in live if row["web_host"] == arguments["host"]}
        except (ValueError, LookupError, TypeError, AttributeError):
            return {}
        return {name: sha for name, sha in named.items() if isinstance(sha, str) and SHA256.fullmatch(sha)}

    def _not_unpacked(self, releases: dict[str, str]) -> list[str]:
        """The archives of releases that the server has not unpacked; none where it does not tell."""
        said = self._low_level_execute_command(UNPACKED)
        # A release with writable folders has more behind its hash.
        there = {(name, folder[:32]) for name, _, folder in (x.partition("/releases/") for x in said["stdout"].split())}
        lacking = {sha for name, sha in releases.items() if (name, sha[:32]) not in there}
        return sorted(lacking) if said["rc"] == 0 else []

    def _bring(self, missing: list[str], evidence: Path, arguments: dict[str, Any], task_vars: Any) -> None:
        """Copy archives to the server. One that is no evidence is not brought; the module refuses its website alone."""
        if not missing:
            return
        folder = str(arguments.get("archives") or ARCHIVES)
        made = self._low_level_execute_command(f"install -d -m 0700 {shlex.quote(folder)}")
        if made.get("rc") != 0:
            raise self._refused(f"{folder} cannot be made: {made.get('stderr')}", "see to the server's disk", task_vars)
        for sha256 in missing:
            archive = evidence / sha256
            if archive.is_file():
                self._transfer_file(str(archive), f"{folder}/{sha256}")

    def _refused(self, what: str, mend: str, task_vars: Any) -> AnsibleActionFail:
        return AnsibleActionFail(f"refused: {what}\nlayer: web on {task_vars['inventory_hostname']}\nmend: {mend}")

"""Let the module make a web host's credentials; hide its result, which holds verifiers, and show a failure."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

# Of a failure; what the server printed besides may be the result.
SHOWN = ("failed", "changed", "msg", "rc", "exception")


class ActionModule(ActionBase):
    """Takes the module's options. The task needs no C(no_log), which would hide failures as well."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        # From -vvv on, in the log as well, the connection shows all that it reads; told not to, it also hides why a
        # server is out of reach.
        self._connection._play_context.no_log = max(self._display.verbosity, self._display.log_verbosity) > 2
        arguments = dict(self._task.args)
        result = self._execute_module(self._task.action, arguments, task_vars=task_vars)
        if result.get("failed"):
            return {key: result[key] for key in SHOWN if key in result}
        return {**result, "_ansible_no_log": True}

"""Make the contents of a task's files on the controller, so that one module on the server installs all of them."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Takes the module's options; a file may have C(src) in the place of C(content)."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if not isinstance(arguments.get("files"), list):
            raise AnsibleActionFail("files is the list of files to install")
        arguments["files"] = [self._whole(dict(file), task_vars) for file in arguments["files"]]
        # Ansible's own modules do not write what files hold to the server's log either.
        quiet = {**task_vars, "ansible_no_target_syslog": True}
        return self._execute_module(self._task.action, arguments, task_vars=quiet)

    def _whole(self, file: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        """The file as the module takes it: a template rendered, another file as it is."""
        source = file.pop("src", None)
        if (source is None) == ("content" not in file):
            raise AnsibleActionFail(f"a file has either src or content: {file.get('path', source)}")
        if source is None:
            return file
        name, options = ("template", {}) if source.endswith(".j2") else ("file", {"rstrip": False})
        lookup = self._shared_loader_obj.lookup_loader.get(
            f"ansible.builtin.{name}", loader=self._loader, templar=self._templar
        )
        (content,) = lookup.run([source], task_vars, **options)
        return {"path": f"/{source.removesuffix('.j2')}", **file, "content": content}

#!/usr/bin/python
"""Install the files of a task in one go: a module for each of them would take most of the time of a play."""

from __future__ import annotations

DOCUMENTATION = r"""
module: install_files
short_description: Install text files, all of a task in one go
description:
  - Each file is replaced as a whole, so that who reads it sees the old content or the new one.
  - What stays as it is, content, owner and mode, is not touched.
options:
  files:
    description: The files, in the order in which they are installed.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description:
          - A file of the role, or, where its name ends with C(.j2), a template of it; read on the controller.
          - Either this or O(files[].content) is given.
        type: str
      content:
        description: What the file holds.
        type: str
      path:
        description:
          - Where it goes. Its folder must be there.
          - Without it, the place is O(files[].src) below C(/), without C(.j2).
        type: path
      owner:
        description: Its owner, where that is another one than O(owner).
        type: str
      group:
        description: Its group, where that is another one than O(group).
        type: str
      mode:
        description: Its mode, where that is another one than O(mode).
        type: str
  owner:
    description: Who owns them.
    type: str
    default: root
  group:
    description: Whose group they are of.
    type: str
    default: root
  mode:
    description: Their mode, in octal digits.
    type: str
    default: "0644"
  force:
    description: Whether a file that is there already is replaced; without, it stays whatever it holds.
    type: bool
    default: true
author: The project's maintainers (@dkisp-tarakan)
"""

EXAMPLES = r"""
- name: Install a unit and its program
  install_files:
    files:
      - {src: etc/systemd/system/look.service.j2}
      - {src: look, path: /usr/local/sbin/look, mode: "0755"}
"""

RETURN = r"""
paths:
  description: The files that were replaced, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

import grp
import pathlib
import pwd
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import same, write_atomic

MODE = re.compile(r"0[0-7]{3}")


def install(file, check):
    """Whether a file differed from what it must be; it is replaced unless `check`.

    Raises OSError, LookupError or ValueError.
    """
    if not MODE.fullmatch(file["mode"]):
        raise ValueError(f"{file['mode']!r} is no mode such as '0644'")
    path, content, mode = pathlib.Path(file["path"]), file["content"].encode(), int(file["mode"], 8)
    try:
        owner, group = pwd.getpwnam(file["owner"]).pw_uid, grp.getgrnam(file["group"]).gr_gid
    except LookupError:
        if check:  # a check of a fresh server, whose packages would make them
            return True
        raise
    if check:
        return not same(path, content, mode, owner, group)
    return write_atomic(path, content, mode, owner, group)


def told(path):
    """What a difference shows of a file that is there: (mode and owner, content)."""
    try:
        now, content = path.stat(), path.read_text(errors="replace")
    except FileNotFoundError:
        return "absent", ""
    return f"{now.st_mode & 0o7777:04o} {now.st_uid}:{now.st_gid}", content


def difference(file, now, before):
    """How a file differs from what was told of it, as Ansible shows it."""
    path, wanted = file["path"], f"{file['mode']} {file['owner']}:{file['group']}"
    if before == file["content"] and now != "absent":
        return {"prepared": f"{path}: {now} becomes {wanted}\n"}
    return {"before_header": f"{path} ({now})", "after_header": f"{path} ({wanted})", "before": before,
            "after": file["content"]}  # fmt: skip


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "mode": {"type": "str"},
                },
            },
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0644"},
            "force": {"type": "bool", "default": True},
        },
    )
    changed, shown = [], []
    for given in module.params.pop("files"):
        file = {**given, **{key: given[key] or module.params[key] for key in ("owner", "group", "mode")}}
        path = pathlib.Path(file["path"])
        try:
            if path.exists() and not module.params["force"]:
                continue
            now, before = told(path) if module._diff else ("", "")
            if install(file, module.check_mode):
                changed.append(file["path"])
                shown.append(difference(file, now, before))
        except (OSError, LookupError, ValueError) as error:
            module.fail_json(
                msg=f"refused: {file['path']} cannot be installed: {error}\nlayer: this server's files\n"
                "mend: see to what it names, then run again",
                paths=changed,
            )
    module.exit_json(changed=bool(changed), paths=changed, **({"diff": shown} if module._diff else {}))


if __name__ == "__main__":
    main()

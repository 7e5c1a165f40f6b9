"""House rules of plays, roles and tasks."""

import re

import house
import yaml

COMMANDS = {f"ansible.builtin.{kind}" for kind in ("command", "shell", "raw", "script", "expect")}


def own_modules() -> set[str]:
    return {path.stem for path in house.files("plugins/modules/*.py")}


def test_playbook_ends_when_one_host_fails() -> None:
    """A layer that goes on on one server while another has failed leaves the fleet between two states.

    any_errors_fatal ends the play, but the next one begins all the same where a host was out of reach
    (ansible/ansible#82834); max_fail_percentage ends the playbook.
    """
    found = [
        f"{house.name(path)}: {play.get('name')}"
        for path, play in house.plays()
        if play["hosts"] != "localhost"
        and (play.get("any_errors_fatal") is not True
             or (path.parent.name == "playbooks" and play.get("max_fail_percentage") != 0))
    ]
    house.clean(found)


def test_playbook_is_a_short_list_of_roles() -> None:
    """A playbook reads as a table of contents; work belongs into roles."""
    found = [house.name(path) for path in house.files("playbooks/*.yml") if len(path.read_text().splitlines()) > 35]
    house.clean(found)


def test_task_file_is_readable_in_one_go() -> None:
    """A long file of tasks is two files."""
    paths = house.files("roles/*/tasks/**/*.yml", "roles/*/handlers/*.yml")
    house.clean(house.name(path) for path in paths if len(path.read_text().splitlines()) > 120)


def test_role_specifies_the_arguments_of_every_entry_point() -> None:
    """Ansible refuses wrong input before the first task only where the entry point has a specification."""
    found = []
    for role in sorted(path for path in (house.ROOT / "roles").glob("*") if path.is_dir()):
        entries = {path.stem for path in role.glob("tasks/*.yml") if not path.stem.startswith("_")}
        specs = role / "meta/argument_specs.yml"
        specified = set(yaml.safe_load(specs.read_text())["argument_specs"]) if specs.exists() else set()
        found += [f"{role.name}: {entry} has no specification" for entry in sorted(entries - specified)]
        found += [f"{role.name}: {entry} has no tasks" for entry in sorted(specified - entries)]
    house.clean(found)


def test_role_names_no_inventory_group() -> None:
    """A role that knows the fleet's groups cannot serve another fleet; the playbook passes values."""
    groups = "|".join(yaml.safe_load((house.ROOT / "inventories/lab/hosts.yml").read_text())["all"]["children"])
    pattern = re.compile(rf"\bgroups\s*\[|\bgroups\.({groups})\b|\bgroup_names\b")
    found = []
    for path in house.files("roles/**/*.yml", "roles/**/*.j2"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                found.append(f"{house.name(path)}:{number}")
    house.clean(found)


def test_task_uses_builtin_or_own_modules_by_full_name() -> None:
    """A short name can be answered by another module; own modules live in no collection, so their name is full."""
    own = {name for module in own_modules() for name in (module, f"ansible.legacy.{module}")}
    found = [
        f"{task.where}: {task.module}"
        for task in house.tasks()
        if task.module and not task.module.startswith("ansible.builtin.") and task.module not in own
    ]
    house.clean(found)


def test_task_hides_no_failure() -> None:
    """A failure that nobody sees is found by a citizen instead."""
    found = [
        task.where
        for task in house.tasks()
        if task.body.get("ignore_errors") or task.body.get("failed_when") in (False, "false", [False])
    ]
    house.clean(found)


def test_command_says_why_no_module_serves() -> None:
    """A command is the exception: a comment in it, above it or in the task before it gives the reason."""
    found = []
    for task in house.tasks():
        if task.module not in COMMANDS:
            continue
        lines = task.path.read_text().splitlines()
        first, last = task.body["__lines__"]
        start = task.previous["__lines__"][0] if task.previous else first
        while start > 1 and lines[start - 2].lstrip().startswith("#"):
            start -= 1
        if not any(re.search(r"(^|\s)# \w", line) for line in lines[start - 1 : last]):
            found.append(task.where)
    house.clean(found)


def test_website_data_reach_ansible_by_lookup_never_by_extra_vars() -> None:
    """A text in extra-vars is trusted as a template, so a request could run commands on the controller."""
    pattern = re.compile(r"extra[-_]?vars|ansible-playbook .*\s-e\s")
    # The driver passes paths that it made itself; its own test holds it to that.
    allowed = {"sop_driver/fleet.py"}
    paths = house.files("playbooks/*.yml", "roles/**/*.yml", "inventories/**/*", "script/*", "sop_driver/**/*.py")
    found = [house.name(path) for path in paths if pattern.search(path.read_text())]
    house.clean(path for path in found if path not in allowed)

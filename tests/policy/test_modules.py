"""House rules of the project's own Ansible modules."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import house
import yaml


def modules() -> list[Path]:
    return house.files("plugins/modules/*.py")


def constants(path: Path) -> dict[str, str]:
    """The texts that a module assigns to names at its top."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_module_is_documented_in_yaml() -> None:
    """ansible-doc and editors read these texts, and an administrator reads nothing else."""
    found = []
    for path in modules():
        texts = constants(path)
        for name, kind in (("DOCUMENTATION", dict), ("EXAMPLES", list), ("RETURN", dict)):
            try:
                content = yaml.safe_load(texts.get(name, ""))
            except yaml.YAMLError as error:
                found.append(f"{house.name(path)}: {name}: {error}")
                continue
            if not isinstance(content, kind) or not content:
                found.append(f"{house.name(path)}: {name} is missing or no {kind.__name__}")
            elif name == "DOCUMENTATION" and content.get("module") != path.stem:
                found.append(f"{house.name(path)}: documents {content.get('module')}")
    house.clean(found)


def test_module_is_shown_by_ansible_doc() -> None:
    """Texts that parse can still lack what ansible-doc needs."""
    names = [path.stem for path in modules()]
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "-M", "plugins/modules", *names]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(house.ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=house.ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)) == sorted(names)


def test_module_supports_check_mode() -> None:
    """The plan that people approve is the module's check mode."""
    found = []
    for path in modules():
        made = [node for node in house.nodes(path) if house.called(node).endswith("AnsibleModule")]
        supported = [
            keyword
            for node in made
            for keyword in node.keywords
            if keyword.arg == "supports_check_mode" and getattr(keyword.value, "value", None) is True
        ]
        if not made or len(supported) < len(made):
            found.append(house.name(path))
    house.clean(found)

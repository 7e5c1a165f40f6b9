"""What the house rules look at: the tree's files, and the tasks in them with the lines they stand on."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler

ROOT = Path(__file__).resolve().parents[2]
# Made by tools and by the lab, never committed.
MADE = {".git", ".venv", ".lab", ".ansible", ".hypothesis", "build", "__pycache__"}
KEYWORDS = {*Handler.fattributes, *Block.fattributes, "local_action", "block", "rescue", "always"}


class Loader(yaml.SafeLoader):
    """Keeps each mapping's first and last line, and reads over tags that only Ansible knows."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        lines = (node.start_mark.line + 1, node.end_mark.line)
        return {**super().construct_mapping(node, deep=True), "__lines__": lines}


Loader.add_constructor(None, lambda loader, node: getattr(node, "value", None))
Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node))


@dataclass(frozen=True)
class Task:
    """One task of a role or play; `module` is None for a block."""

    path: Path
    body: dict
    previous: dict | None

    @property
    def where(self) -> str:
        return f"{name(self.path)}:{self.body['__lines__'][0]} ({self.body.get('name', 'without a name')})"

    @property
    def module(self) -> str | None:
        found = [key for key in self.body if key not in KEYWORDS and not key.startswith(("with_", "__"))]
        return found[0] if found else None


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def files(*patterns: str) -> list[Path]:
    """The tree's files that match one of the patterns, without what tools made."""
    found = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not any(map(is_made, path.relative_to(ROOT).parts)))


def entries() -> list[str]:
    """The names at the tree's root."""
    return sorted(path.name for path in ROOT.iterdir() if not is_made(path.name))


def everything() -> list[Path]:
    """All of the tree's files. Looks into no folder that tools made: they hold very many."""
    return files(*entries(), *(f"{entry}/**/*" for entry in entries()))


def is_made(part: str) -> bool:
    return part in MADE or part.endswith((".egg-info", "_cache"))


def clean(found: Iterable[str]) -> None:
    """Fail with all that was found, one a line."""
    found = list(found)
    assert not found, "found against the rule:\n" + "\n".join(found)


def load(path: Path) -> object:
    return Loader(path.read_text()).get_single_data()


def plays() -> Iterator[tuple[Path, dict]]:
    """Every play; an import of another playbook is none."""
    for path in files("playbooks/*.yml", "molecule/*/*.yml"):
        content = load(path)
        for play in content if isinstance(content, list) else []:
            if "hosts" in play:
                yield path, play


def tasks() -> Iterator[Task]:
    """Every task, handler and block of the roles and the playbooks."""
    for path in files("roles/*/tasks/**/*.yml", "roles/*/handlers/*.yml"):
        yield from walk(path, load(path))
    for path, play in plays():
        for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
            yield from walk(path, play.get(section))


def walk(path: Path, bodies: list[dict] | None) -> Iterator[Task]:
    previous = None
    for body in bodies or []:
        yield Task(path, body, previous)
        for section in ("block", "rescue", "always"):
            yield from walk(path, body.get(section))
        previous = body


def python_files() -> list[Path]:
    """The product's Python, without its tests."""
    return files("sop_driver/**/*.py", "plugins/**/*.py", "roles/**/*.py", "inventories/**/*.py")


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text()))


def called(node: ast.AST) -> str:
    """The dotted name of what a call calls, or an empty text."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""

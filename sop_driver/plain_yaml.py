"""Files that people write, read as plain values: no anchors, tags or deep nesting, and the line of every value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sop_driver.errors import Usage

MAX_FILE = 64 * 1024
MAX_DEPTH = 8
Lines = dict[tuple[str | int, ...], int]


def line(lines: Lines, place: tuple[str | int, ...]) -> int:
    """The line of a place in the file, or of what holds it."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _place(mark: Any) -> int:
    return mark.line + 1 if mark else 1


def load(path: Path) -> tuple[Any, Lines]:
    """Plain values of a YAML file (all scalars text or null) and the line of each. Raises Usage, naming the line."""

    def refuse(what: str, line: int) -> Usage:
        return Usage(what, f"{path}:{line}", "write plain keys, values and lists only, each key once")

    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise refuse(f"the file is larger than {MAX_FILE // 1024} KiB", 1)
        depth = 0
        for event in yaml.parse(data, Loader=yaml.SafeLoader):  # before composing: composing recurses and expands
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise refuse("anchors, aliases and tags are not taken", _place(event.start_mark))
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise refuse(f"nested more than {MAX_DEPTH} deep", _place(event.start_mark))
        root = yaml.compose(data, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise refuse(f"not YAML: {error.problem}", _place(error.problem_mark)) from error
    except yaml.reader.ReaderError as error:
        raise refuse(f"not YAML: {error.reason} at character {error.position}", 1) from error
    except OSError as error:
        raise Usage(f"not readable: {error.strerror}", str(path), "name an existing file") from error
    if not isinstance(root, yaml.MappingNode):
        raise refuse("it is no mapping of fields", 1)
    lines: Lines = {}
    return _value(root, (), lines, refuse), lines


def _value(node: yaml.Node, place: tuple[str | int, ...], lines: Lines, refuse: Any) -> Any:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return None if node.style is None and node.value in ("", "~", "null") else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*place, n), lines, refuse) for n, child in enumerate(node.value)]
    result: dict[str, Any] = {}
    for key, child in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value in result:
            named = getattr(key, "value", "…")
            raise refuse(f"the key {named!r} is no text or is given twice", key.start_mark.line + 1)
        lines[(*place, key.value)] = key.start_mark.line + 1
        result[key.value] = _value(child, (*place, key.value), lines, refuse)
    return result

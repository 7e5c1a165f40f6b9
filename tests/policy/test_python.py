"""House rules of the product's Python."""

import ast

import house


def test_python_starts_programs_without_a_shell() -> None:
    """A name from a request must never be read as a shell's syntax."""
    found = []
    for path in house.python_files():
        for node in house.nodes(path):
            keywords = node.keywords if isinstance(node, ast.Call) else []
            # A text is a login shell (useradd's), not the switch.
            given = [keyword.value for keyword in keywords if keyword.arg == "shell"]
            shell = any(not isinstance(getattr(value, "value", None), str) for value in given)
            if shell or house.called(node) in {"os.system", "os.popen"}:
                found.append(f"{house.name(path)}:{node.lineno}")
    house.clean(found)


def test_function_is_readable_in_one_go() -> None:
    """A long function does two things."""
    found = [
        f"{house.name(path)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in house.python_files()
        for node in house.nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 > 55
    ]
    house.clean(found)


def test_module_has_one_job() -> None:
    """A long module has two."""
    lengths = {house.name(path): len(path.read_text().splitlines()) for path in house.python_files()}
    house.clean(f"{path}: {length} lines" for path, length in lengths.items() if length > 320)


def test_module_says_its_job() -> None:
    """The first line of a module is where a newcomer looks."""
    silent = [path for path in house.python_files() if not ast.get_docstring(ast.parse(path.read_text()))]
    house.clean(map(house.name, silent))


def test_only_the_command_prints_or_exits() -> None:
    """The driver is a library as well; what it says and how it ends is the command's business."""
    # What runs it by `python -m` hands the command's exit code on and does nothing else.
    allowed = {"sop_driver/cli.py", "sop_driver/__main__.py"}
    ends = {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit"}
    found = [
        f"{house.name(path)}:{node.lineno}"
        for path in house.python_files()
        if house.name(path) not in allowed
        for node in house.nodes(path)
        if house.called(node) in ends
    ]
    house.clean(found)

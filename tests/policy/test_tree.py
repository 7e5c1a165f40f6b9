"""House rules of the tree as a whole."""

import re

import house


def lines_with(pattern: str, *but: str) -> list[str]:
    """Where a pattern stands in the tree's text files, but for the named ones."""
    found = []
    for path in house.everything():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if house.name(path) in but or not re.search(pattern, text, re.MULTILINE):
            continue
        found += [f"{house.name(path)}:{n}" for n, line in enumerate(text.splitlines(), 1) if re.search(pattern, line)]
    return found


def test_root_is_a_table_of_contents() -> None:
    """Who opens the repository sees what there is without scrolling."""
    assert len(house.entries()) <= 24, house.entries()


def test_tree_names_no_machine_and_no_registry() -> None:
    """What works only here works for nobody else."""
    machine = r"(^|[^A-Za-z0-9._-])/(wor[k]|far[m])/|/roo[t]/\.(pyenv|cache)|/opt/(pyp[i]|whee[l]s)"
    registry = r"https?://(deb|pypi|files|registry|snapshot)[.]|pypi[.]org|pythonhosted[.]org|deb[.]debian[.]org"
    house.clean(lines_with(f"{machine}|{registry}"))


def test_tree_puts_nothing_off_and_silences_no_check() -> None:
    """A note to do it later and a silenced check both outlive their reason; a type's exception says its reason."""
    marks = r"\b(TOD[O]|FIXM[E])\b|# *noq[a]|# *type: *ignor[e](?!\[[\w-]+\]  # \w)"
    marks += r"|pytest\.(ski[p]|xfai[l])|mark\.(ski[p]|xfai[l])"
    house.clean(lines_with(marks, "CHANGELOG.md"))


def test_document_names_paths_that_exist() -> None:
    """A map of the tree that leads nowhere costs a newcomer's trust."""
    tops = r"(?:script|playbooks|roles|plugins|inventories|sop_driver|molecule|tests|docs|\.ci|\.config)"
    found = []
    for path in house.files("README.md", "docs/*.md"):
        for named in re.findall(rf"(?<![\w/.:*>-]){tops}/[\w./*<>-]*", path.read_text()):
            # <role> and the like stand for any name
            if not any(house.ROOT.glob(re.sub(r"<\w+>", "*", named.rstrip("./")))):
                found.append(f"{house.name(path)}: {named}")
    house.clean(found)


def test_every_role_has_a_scenario() -> None:
    """What is tried on no server breaks on the first one."""
    roles = {path.parts[-3] for path in house.files("roles/*/tasks/main.yml")}
    house.clean(roles - {path.parts[-2] for path in house.files("molecule/*/molecule.yml")})


def test_changelog_tells_what_is_new() -> None:
    """An administrator reads it before an update."""
    assert re.search(r"^## \[?Unreleased", (house.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_decisions_are_numbered_without_gaps() -> None:
    """People cite a decision by its number, so none may vanish or appear twice."""
    for path in house.files("docs/decisions.md"):
        numbers = [int(number) for number in re.findall(r"^(?:#+ )?(\d+)\. ", path.read_text(), re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers, "no decision is numbered"

"""What script/bench ends with: a script that asks for the numbers to reach reads no table."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driver.desk import PROJECT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the benchmarks by its name."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(PROJECT / "tests/bench"))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(PROJECT / "tests/bench") in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.parametrize(("value", "code"), [(2.0, 0), (2.1, 1)])
def test_measuring_the_register_ends_with_1_where_a_goal_is_missed(
    bench: Any, monkeypatch: pytest.MonkeyPatch, words: list[str], value: float, code: int
) -> None:
    module = bench("register")
    monkeypatch.setattr(module, "verified", lambda *_: iter([module.Row("time", None, 9, "s")]))
    monkeypatch.setattr(module, "appended", lambda *_: iter([module.Row("ratio", 5, value, "times", 2)]))
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    assert module.main() == code


def test_register_is_measured_by_commands_of_its_own(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SOP_HOME", "SOP_REGISTER", "SOP_KEYS", "SOP_CONFIG"):
        monkeypatch.setenv(name, "")  # what measuring sets ends with this test
    rows = {row.what: row.value for row in bench("register").verified(tmp_path / "grown", [60], 1)}
    assert {"a signed step beyond the interpreter's start", "  of it in ssh-keygen", "verifying all of it",
            "a receipt's verification beyond that start"} <= rows.keys()
    assert min(rows.values()) > 0


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.parametrize(("value", "code"), [(2.0, 0), (2.1, 1)])
def test_measuring_the_fleet_ends_with_1_where_a_number_is_missed(
    bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], value: float, code: int
) -> None:
    module = bench("bench")

    class Contender:
        name, facts = "nobody", list[Any]()

        def __init__(self, *_: Any) -> None:
            pass

        def measure(self, count: int, repeat: int) -> list[Any]:
            return []

    monkeypatch.setattr(module, "LAB", tmp_path)
    monkeypatch.setattr(module, "Ours", Contender)
    monkeypatch.setattr(module, "Floor", Contender)
    monkeypatch.setattr(module.visit, "certified", lambda _: contextlib.nullcontext([]))
    monkeypatch.setattr(module.visit, "real", contextlib.nullcontext)
    monkeypatch.setattr(module, "goals", lambda *_: [module.Goal("ratio", value, 2), module.Goal("other", 1, 1)])
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    assert module.main() == code


ADAPTER = """
from bench import Row

class Peer:
    name = "peer"

    def measure(self, count, repeat):
        return [Row(self.name, "one more on top", count, [3.0] * repeat)]
"""


def test_peer_is_measured_by_its_adapter(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text(ADAPTER)
    module = bench("bench")
    rows = module.peer(tmp_path / "peer.py").measure(10, 2)
    rows.append(module.Row(module.Floor.name, "one more on top", 10, [1.5]))
    assert module.show(rows, [], []).splitlines()[2].split() == [
        "peer", "one", "more", "on", "top", "10", "3.00", "3.000", "2.0"]


def test_peer_without_an_adapter_is_refused(bench: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no Python file"):
        bench("bench").peer(tmp_path / "peer.txt")


def test_growth_is_what_each_website_more_takes(bench: Any) -> None:
    module = bench("bench")
    took = [(100, 3.0), (1, 1.0), (10, 1.9)]  # in any order
    rows = [module.Row("peer", "all", count, [seconds]) for count, seconds in took]
    assert [(g.since, g.count, round(g.each, 6)) for g in module.growth(rows)] == [(1, 10, 0.1), (10, 100, 0.012222)]
    assert "1-10    100.00 ms for each website more" in module.show(rows, [], [])


def test_each_number_to_reach_is_held_against_what_was_measured(bench: Any) -> None:
    """A goal that looks for a row by another name would be met by nobody measuring it."""
    module = bench("bench")
    took = {("we", module.MORE, 1): 4.0, (module.Floor.name, module.MORE, 1): 1.0, ("we", module.MORE, 1000): 5.0,
            ("we", module.CREATE, 100): 9.0, ("we", module.NOTHING, 1): 3.0, ("we", module.NOTHING, 1000): 7.0,
            ("we", module.POLICY, 1000): 9.0}
    seen = {module.visit.IDLE: 0.5, module.visit.RELOADS: 1, module.visit.ERRORS: 0, module.visit.BROKEN: 0}

    def missed(took: dict[Any, float], seen: dict[str, float]) -> set[str]:
        found = module.goals("we", [module.Row(*key, [value]) for key, value in took.items()],
                             [module.visit.Fact(what, 1000, value, "") for what, value in seen.items()])
        assert len(found) == 9
        return {goal.what for goal in found if not goal.met}

    assert missed(took, seen) == set()
    worse = [missed({**took, key: value * 10}, seen) for key, value in took.items() if key != ("we", module.MORE, 1)]
    worse += [missed({**took, ("we", module.MORE, 1): 4.6}, seen)]
    worse += [missed(took, {**seen, what: value + 1}) for what, value in seen.items()]
    assert len(set().union(*worse)) == 9

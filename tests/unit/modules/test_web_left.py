"""One bad website never blocks the others: it is left exactly as it was, and everything else converges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import releases, web, web_generations, web_server, web_setup
from ansible.module_utils.transaction import Refused
from web_cases import PHP_2, STATIC_2, WebHost, host, php, website

__all__ = ["host"]
ONE, TWO = website(), php()
NEW = php("baru.tarakankota.go.id", 20003, writable=["public/unggah", "public/a/b"])
THIRD = website("ketiga.tarakankota.go.id", 20004)
AFTER = [website(archive=STATIC_2), php(archive=PHP_2, writable=["public/berkas", "public/gambar/kecil"]), NEW]
NAMES = [w["name"] for w in AFTER]
STEPS = [(web_server, "make_users"), (web_server, "make_homes"), (web_server, "make_release"), (releases, "unpack"),
         (releases, "guard"), (releases, "share"), (web_setup, "setup"), (web_server, "look")]
ASKED: dict[str, list[Any]] = {"from nothing": [], "serving": [ONE, TWO, THIRD]}


def names(argument: Any) -> set[str]:
    """The websites that a step is about, from its arguments."""
    if isinstance(argument, list):
        return {name for one in argument for name in names(one)}
    return {argument.get("name")} if isinstance(argument, dict) else set(Path(str(argument)).parts)


def own(host: WebHost, website: dict[str, Any]) -> dict[str, Any]:
    """All that a website has on the server."""
    found = {(part, path): seen for part in ("srv", "log", "users") for path, seen in host.census()[part].items()
             if website["name"] in path or path == f"w{website['uid']}"}
    live = host.root / "web/current"
    files = {kind: path.read_text() for kind in ("apache", "fpm")
             if (path := live / kind / f"{website['name']}.conf").exists()}
    return {**found, **files, "listed": [w for w in listed(host) if w["name"] == website["name"]]}


def listed(host: WebHost) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((host.root / "web/current/websites.json").read_text())
    return entries


@pytest.mark.parametrize(("module", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("first", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("bad", AFTER, ids=NAMES)
@pytest.mark.parametrize("fault", [Refused("its own fault", "mend"), OSError(36, "File name too long")], ids=type)
def test_website_that_fails_alone_is_left_and_the_others_converge(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, first: list[Any], bad: Any, fault: Exception
) -> None:
    host.converge(*first)
    before, there = own(host, bad), {w["name"]: w for w in first}
    real, met = getattr(module, step), []

    def broken(*args: Any, **more: Any) -> Any:
        if bad["name"] in {name for argument in args for name in names(argument)}:
            met.append(step)
            raise fault
        return real(*args, **more)

    with monkeypatch.context() as breaking:
        breaking.setattr(module, step, broken)
        changes = host.converge(*AFTER, *([THIRD] if first else []))
    if not met:
        assert not host.left, "this website never comes to that step"
        return
    assert list(host.left) == [bad["name"]] and bad["name"] not in {change.website for change in changes}
    assert own(host, bad) == before and not (host.root / "web/journal.json").exists()
    others = [there.get(w["name"]) if w is bad else w for w in AFTER]
    kept = [*filter(None, others), *([THIRD] if first else [])]
    assert host.converge(*kept) == [], "nothing is left to do when nobody asks for the bad one any more"
    host.converge(*AFTER, *([THIRD] if first else []))
    assert not host.left and host.converge(*AFTER, *([THIRD] if first else [])) == []


def test_nothing_is_switched_or_reloaded_where_every_change_is_left(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.converge(ONE)
    before, programs = host.census(), host.lines("programs")
    monkeypatch.setattr(web_setup, "run_foreign", lambda *_, **__: (3, "no table"))
    assert host.converge(ONE, NEW) == [] and "failed with 3: no table" in host.left[NEW["name"]]
    assert host.census() == before and not [line for line in host.lines("programs")[len(programs):] if "reload" in line]


def test_old_generation_is_served_again_where_only_the_bad_website_had_changed(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.converge(ONE, TWO)
    before = host.census()

    def look(asked: dict[str, Any]) -> None:
        raise Refused(f"{asked['name']} answers 500", "mend")

    monkeypatch.setattr(web_server, "look", look)
    assert host.converge(ONE, php(archive=PHP_2)) == [] and "answers 500" in host.left[TWO["name"]]
    assert host.census() == before


Spoils = Callable[[set[str]], bool]
UNREADABLE: dict[str, tuple[Spoils, set[str]]] = {
    "one": (lambda changed: NAMES[1] in changed, {NAMES[1]}),
    "new one": (lambda changed: NAMES[2] in changed, {NAMES[2]}),
    "two": (lambda changed: bool({NAMES[0], NAMES[2]} & changed), {NAMES[0], NAMES[2]}),
    "two together": (lambda changed: {NAMES[0], NAMES[1]} <= changed, {NAMES[1]}),
    "all": (bool, set(NAMES)),
}


@pytest.mark.parametrize(("spoils", "bad"), UNREADABLE.values(), ids=UNREADABLE)
def test_website_whose_configuration_does_not_parse_is_found_and_left(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, spoils: Spoils, bad: set[str]
) -> None:
    host.converge(ONE, TWO, THIRD)
    before = {w["name"]: own(host, w) for w in AFTER if w["name"] in bad}
    old = {path.name: path.read_text() for path in (host.root / "web/current/apache").iterdir()}

    def validate(generation: Path, _: str) -> None:
        now = {path.name: path.read_text() for path in (generation / "apache").iterdir()}
        if spoils({name for name in NAMES if now.get(f"{name}.conf", "") not in ("", old.get(f"{name}.conf"))}):
            raise Refused("Syntax error", "mend")

    monkeypatch.setattr(web_server, "validate", validate)
    host.converge(*AFTER, THIRD)
    assert set(host.left) == bad and set(host.left.values()) == {"Syntax error"}
    assert {w["name"]: own(host, w) for w in AFTER if w["name"] in bad} == before
    assert {w["name"] for w in listed(host)} == {*NAMES, THIRD["name"]} - ({NAMES[2]} & bad)
    good = [w for w in AFTER if w["name"] not in bad]
    assert all((host.root / "web/current/apache" / f"{w['name']}.conf").read_text() ==
               web.vhost(host.layer(w).wanted[w["name"]]) for w in good)
    assert len(list((host.root / "web/generations").iterdir())) == (2 if len(bad) == 3 else 3)


def test_configuration_that_is_nobodys_fault_fails_the_run_for_all(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy of all websites is broken, say: to leave every website would hide it."""
    host.converge(ONE, TWO)
    before = host.census()

    def validate(*_: Any) -> None:
        raise Refused("Syntax error in websites-policy.conf", "mend")

    monkeypatch.setattr(web_server, "validate", validate)
    with pytest.raises(Refused, match=r"websites-policy\.conf"):
        host.converge(*AFTER)
    assert host.census() == before


def test_trial_of_halves_needs_few_looks() -> None:
    """A thousand new websites with one bad among them are told apart in a minute, not in an hour."""
    asked: list[int] = []

    def fault(some: set[Any]) -> str | None:
        asked.append(len(some))
        return "bad" if 700 in some else None

    assert web_generations.spoilers(list(range(1000)), fault) == {700: "bad"} and len(asked) < 25


def test_website_that_stays_is_written_as_the_present_policy_wants_it(host: WebHost) -> None:
    """Its old file may name a macro that the policy has no more: that would stop all websites."""
    host.converge(ONE, TWO)
    live = host.root / "web/current/apache" / f"{TWO['name']}.conf"
    text = live.read_text()
    live.write_text("Use MacroOfAnEarlierVersion")
    changes = host.converge(ONE, php(php_version="9.9"))
    assert [(change.website, change.subject) for change in changes] == [(TWO["name"], "vhost")]
    now = host.root / "web/current/apache" / f"{TWO['name']}.conf"
    assert now.read_text() == text and "asks for PHP 9.9" in host.left[TWO["name"]]


def test_files_stay_where_the_old_state_cannot_be_written_anew(host: WebHost) -> None:
    """Its size is no longer offered, neither by the old state nor by the new."""
    host.converge(ONE, TWO)
    before = own(host, TWO)
    broken = [{**w, "size": "huge"} for w in listed(host) if w["name"] == TWO["name"]]
    path = (host.root / "web/current/websites.json")
    path.write_text(json.dumps([*[w for w in listed(host) if w["name"] != TWO["name"]], *broken]))
    assert host.converge(website(archive=STATIC_2), php(size="huge")) != []
    assert own(host, TWO) == {**before, "listed": broken} and "asks for the size" in host.left[TWO["name"]]


def test_missing_archive_is_its_own_websites_trouble(host: WebHost) -> None:
    layer = host.layer(ONE, NEW)
    (host.root / "archives" / NEW["release"]["sha256"]).unlink()
    layer.apply(layer.plan())
    assert list(layer.left) == [NEW["name"]] and "is missing or has another sha256" in layer.left[NEW["name"]].what
    assert [w["name"] for w in listed(host)] == [ONE["name"]]


@pytest.mark.parametrize(("others", "says", "left"), [
    ([php("lain.go.id", 20001)], "both ask for 20001", ["lain.go.id"]),
    ([website("lain.go.id", 20003, aliases=[ONE["name"]])], f"both ask for {ONE['name']}", ["lain.go.id"]),
    ([website("a.go.id", 20003), website("b.go.id", 20003)], "a.go.id and b.go.id both ask for 20003",
     ["a.go.id", "b.go.id"]),
    ([website(ONE["name"], 20003)], "is asked for twice", [ONE["name"]]),
    ([website(state="archived")], "is asked for twice", [ONE["name"]]),
    ([website('x"\nLoadModule', 20003)], "asks for 'x", ['x"\nLoadModule']),
    ([php(php_version="7.0")], "asks for PHP 7.0", [TWO["name"]]),
    ([php(database={"engine": "mariadb", "host": "db9"})], "names the database server db9", [TWO["name"]]),
    ([php(state="suspended", database={"engine": "mariadb", "host": "db9"})], "the database server db9", [TWO["name"]]),
    ([{"web_host": "web1"}], "has no website's shape", ["None"]),
    ([{"web_host": "web1", "name": ["x"]}], "has no website's shape", ["['x']"]),
])
def test_website_that_nobody_could_converge_is_left(
    host: WebHost, others: list[Any], says: str, left: list[str]
) -> None:
    """Who has a name or a user keeps it; where nobody has it, nobody gets it."""
    host.converge(ONE)
    before = own(host, ONE)
    host.converge(ONE, THIRD, *others)
    assert sorted(host.left) == left and all(says in what for what in host.left.values())
    assert own(host, ONE) == before and [w["name"] for w in listed(host)] == sorted([ONE["name"], THIRD["name"]])


def test_website_cannot_change_its_user(host: WebHost) -> None:
    """Its files would stay another user's, whose number a later website may get."""
    host.converge(ONE)
    before = own(host, ONE)
    host.converge(website(uid=20003), THIRD)
    assert "has the unix id 20001 here, not 20003" in host.left[ONE["name"]] and own(host, ONE) == before


def test_purge_refuses_a_website_that_another_run_made(host: WebHost) -> None:
    host.converge(TWO)
    before = own(host, TWO)
    host.converge(php(state="purged", created_by="run-000009"), THIRD)
    assert "made by run-000001, not by 'run-000009'" in host.left[TWO["name"]] and own(host, TWO) == before


def test_who_wants_what_a_left_website_keeps_is_left_too(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apache would answer the alias with the older website's page, and nobody would know."""
    host.converge(TWO)
    takes = website("lain.tarakankota.go.id", 20005, aliases=TWO["aliases"])
    monkeypatch.setattr(web_setup, "run_foreign", lambda *_, **__: (3, "no table"))
    host.converge(php(archive=PHP_2, aliases=[]), takes, THIRD)
    assert set(host.left) == {TWO["name"], takes["name"]} and "which stays as it is" in host.left[takes["name"]]

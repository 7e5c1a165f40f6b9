"""Applications: started beside the old one, switched with the generation, stopped when nobody asks them any more."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import web, web_apps, web_layer, web_server
from ansible.module_utils.transaction import Refused
from web_cases import APP_2, HOST, SIZES, WebHost, app, host, php, website

__all__ = ["host"]
ONE, APP = website(), app()
NAME = APP["name"]


def running(host: WebHost) -> list[str]:
    return sorted(path.name for path in (host.root / "running").iterdir())


def socket_of(host: WebHost) -> str:
    """Where the live vhost leads."""
    return (host.root / f"web/current/apache/{NAME}.conf").read_text().split()[-2]


def unit(**more: Any) -> str:
    text: str = json.loads(web_apps.text(app(**more), HOST, None))["unit"]
    return text


def test_application_runs_as_its_own_user_with_nothing_writable_but_its_data(host: WebHost) -> None:
    host.converge(ONE, APP)
    (name,) = running(host)
    text = (host.root / f"units/{name}.service").read_text()
    release, home = web.paths(APP)["release"], web.paths(APP)["home"]
    writable = f"{home}/temporary -{home}/data/isi"
    for line in ("User=w20006", f"ExecStart=/usr/bin/python3 {release}/app.py", "NoNewPrivileges=yes",
                 "ProtectSystem=strict", "PrivateTmp=yes", f"ReadOnlyPaths={release}", "MemoryMax=640M", "TasksMax=100",
                 f"ReadWritePaths=/run/websites-apps {writable}", "CapabilityBoundingSet=",
                 f"NoExecPaths={home}/data {writable} /run/websites-apps /tmp /var/tmp /dev/shm"):
        assert f"{line}\n" in text, line
    assert oct((host.root / f"web/apps/{name}.env").stat().st_mode & 0o777) == "0o600"


def test_what_other_users_may_see_of_an_application_names_no_socket_and_no_password() -> None:
    """Units are shown to every user by systemd; environments are not."""
    kept = json.loads(web_apps.text(app(database={"engine": "mariadb", "host": "db1"}), HOST, "s3cretPassw0rd"))
    secret = kept["socket"].split("/")[-2]
    assert len(secret) == 32 and secret not in kept["unit"] + kept["name"] and "s3cret" not in kept["unit"]
    told = kept["environment"].splitlines()
    assert f'SOCKET="{kept["socket"]}"' in told and 'DB_PASSWORD="s3cretPassw0rd"' in told
    other = json.loads(web_apps.text(app(), HOST._replace(secret="other"), None))
    assert other["socket"] != kept["socket"] and other["name"] != kept["name"]


def test_application_is_restarted_only_where_its_release_or_settings_changed(host: WebHost) -> None:
    host.converge(ONE, APP)
    first, where = running(host), socket_of(host)
    assert host.converge(ONE, APP) == []
    host.converge(ONE, app(title="Nama baru"), php())
    assert (running(host), socket_of(host)) == (first, where)
    for changed in (app(archive=APP_2), app(archive=APP_2, size="besar"), app(archive=APP_2, entry="isi/awal.txt")):
        HOST.sizes["besar"] = {**SIZES["small"], "children": 10}
        host.converge(ONE, changed, php())
        assert running(host) != first and len(running(host)) == 1 and socket_of(host) != where
        assert not host.left
        first, where = running(host), socket_of(host)
    del HOST.sizes["besar"]


def test_new_application_answers_before_the_old_one_is_left(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(APP)
    old = running(host)
    seen: list[tuple[int, str]] = []
    real = web_server.swap

    def swap(target: str) -> None:
        seen.append((len(running(host)), Path(target).name))
        real(target)

    monkeypatch.setattr(web_server, "swap", swap)
    host.converge(app(archive=APP_2))
    assert seen == [(2, "2")] and running(host) != old and len(running(host)) == 1


def test_old_application_stops_only_when_no_worker_of_apache_asks_it(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker from before the reload may have let a visitor in, who would get an error."""
    host.converge(APP)
    ran, served_by = list[int](), iter([{1}, {1, 2}, {2}])  # before the reload; then as the old one ends

    def workers() -> set[int]:
        ran.append(len(running(host)))
        return next(served_by)

    monkeypatch.setattr(web_layer, "workers", workers)
    host.converge(app(archive=APP_2))
    assert ran == [2, 2, 2] and len(running(host)) == 1


@pytest.mark.parametrize("entry", ["silent.py", "500.py"])
@pytest.mark.parametrize("first", [[ONE], [ONE, APP]], ids=["new", "update"])
def test_application_that_does_not_answer_is_left_and_its_old_one_goes_on(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, first: list[Any], entry: str
) -> None:
    host.converge(*first)
    before, gone = host.census(), "its last words"
    monkeypatch.setattr(web_apps, "run", lambda argv: gone if argv[0] == "journalctl" else host.run(argv))
    assert host.converge(ONE, app(archive=APP_2, entry=entry)) == []
    assert gone in host.left[NAME] and host.census() == before
    host.converge(ONE, php(), app(archive=APP_2, entry=entry))
    after = host.census()
    assert (after["running"], after["units"]) == (before["running"], before["units"]) and list(host.left) == [NAME]


def test_application_goes_back_with_the_generation(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(ONE, APP)
    before = host.census()

    def fails(*_: Any) -> None:
        raise Refused("Apache did not take it up", "mend")

    with monkeypatch.context() as broken:
        broken.setattr(web_server, "swap", fails)
        with pytest.raises(Refused, match="did not take it up"):
            host.converge(ONE, app(archive=APP_2))
    assert host.census() == before
    host.converge(ONE, app(archive=APP_2))
    host.converge(ONE, APP)
    assert host.census()["running"] == before["running"]


@pytest.mark.parametrize("state", ["suspended", "archived", "purged"])
def test_application_stops_when_its_website_is_not_present(host: WebHost, state: str) -> None:
    host.converge(ONE, APP)
    changes = host.converge(ONE, app(state=state))
    assert running(host) == [] and list((host.root / "units").iterdir()) == []
    assert list((host.root / "web/apps").iterdir()) == []
    assert (host.root / "users/w20006").exists() == (state != "purged")
    assert state == "purged" or "application" in {change.subject for change in changes}
    host.converge(ONE, APP)
    assert len(running(host)) == 1


@pytest.mark.parametrize("damage", ["stopped", "unit", "environment", "kept"])
def test_application_that_was_stopped_or_changed_by_hand_is_mended(host: WebHost, damage: str) -> None:
    host.converge(ONE, APP)
    before, (name,) = host.census(), running(host)
    files = {"stopped": f"running/{name}", "unit": f"units/{name}.service", "environment": f"web/apps/{name}.env",
             "kept": f"web/current/apps/{NAME}.conf"}
    path = host.root / files[damage]
    path.unlink() if damage == "stopped" else path.write_text("[Service]\nUser=root\n")
    assert {(change.website, change.subject) for change in host.converge(ONE, APP)} == {(NAME, "application")}
    after = host.census()
    assert all(after[part] == before[part] for part in ("running", "units")) and host.converge(ONE, APP) == []


@pytest.mark.parametrize("state", ["activating", "deactivating"])
def test_application_that_starts_again_by_itself_is_no_difference(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """It ends when it likes and takes its time: it must not stop other websites' runs by that."""
    host.converge(ONE, APP)

    def run(argv: list[str]) -> str:
        return state if argv[:2] == ["systemctl", "show"] else host.run(argv)

    monkeypatch.setattr(web_apps, "run", run)
    assert host.converge(ONE, APP) == []


def test_result_holds_no_socket_of_an_application(host: WebHost) -> None:
    changes = host.converge(ONE, APP)
    assert socket_of(host).split("/")[-2] not in json.dumps(changes)


@pytest.mark.parametrize(("more", "says"), [
    ({"program": "bash"}, "'bash'"), ({"program": None}, "None"), ({"entry": "../x.py"}, "'../x.py'"),
    ({"entry": None}, "None"), ({"document_root": "public"}, "'public'"), ({"entry": "a b.py"}, "'a b.py'"),
    ({"entry": "x.py\nUser=root"}, r"x\.py"), ({"entry": "%n.py"}, "'%n.py'"),
])
def test_check_refuses_what_must_not_reach_a_unit(more: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        web.check(app(**more), HOST)


def test_check_refuses_a_program_that_the_server_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(web.PROGRAMS, "python3", Path("/nowhere/python3"))
    with pytest.raises(Refused, match="asks for python3, which this server has not"):
        web.check(APP, HOST)
    web.check(app(state="archived"), HOST)


@pytest.mark.parametrize(("memory", "limit"), [("128M", "640M"), ("1g", "5G"), (1000, "5000"), ("-1", "infinity")])
def test_limits_take_what_php_takes_as_memory(memory: Any, limit: str) -> None:
    """Setup scripts have them too, in fleets that never ran an application."""
    assert web_apps.limits({**SIZES["small"], "memory": memory}) == (limit, 100)


def test_memory_of_a_size_must_be_a_number_with_its_unit() -> None:
    with pytest.raises(Refused, match="memory is 'much'"):
        web_apps.text(APP, HOST._replace(sizes={"small": {**SIZES["small"], "memory": "much"}}), None)


class Served(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Host"] == NAME else 421)
        self.end_headers()

    def address_string(self) -> str:
        return "a socket"


def test_answer_asks_the_socket_as_a_visitor_of_the_website(tmp_path: Path) -> None:
    server = socketserver.UnixStreamServer(str(tmp_path / "s"), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert web_apps.answer(str(tmp_path / "s"), APP, time.monotonic() + 5) == 200
        assert web_apps.answer(str(tmp_path / "none"), APP, time.monotonic() + 0.3) is None
    finally:
        server.shutdown()
        server.server_close()


def test_units_that_somebody_else_wrote_are_left_alone(host: WebHost) -> None:
    """One by hand under a like name must stop no website."""
    host.converge(ONE, APP)
    strange = [host.root / f"units/website-app-{name}.service" for name in ("mine", "w20006-*", "w20006-00000000-x")]
    for path in strange:
        path.write_text("[Service]\n")
    host.converge(ONE, app(state="suspended"))
    assert running(host) == [] and sorted((host.root / "units").iterdir()) == sorted(strange)

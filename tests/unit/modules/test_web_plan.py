"""What a run would do, what stands in its way, and what is told about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import apache_websites
import pytest
from ansible.module_utils import transaction, web, web_server
from ansible.module_utils.transaction import Refused
from web_cases import PHP, SIZES, STATIC, WebHost, host, php, sha, website

__all__ = ["host"]
ONE, TWO = website(), php()
SECRETS = ["s3cretPassw0rd", "5ec2e7"]


class Ended(Exception):
    """How the module ended."""


def module(host: WebHost, monkeypatch: pytest.MonkeyPatch, *websites: Any, check: bool = False,
           brought: bool = False) -> dict[str, Any]:
    """One run of the whole module; its result, with `failed` where it refuses."""
    params = {"websites": list(websites), "host": "web1", "sizes": SIZES, "database_hosts": {"db1": "10.89.77.21"},
              "archives": str(host.root / "archives"), "releases_kept": 3, "compare_live": False, "acme": False,
              "certificates": {}, "brought": brought}

    class Module:
        def __init__(self, **_: Any) -> None:
            self.params, self.check_mode = params, check

        def exit_json(self, **said: Any) -> None:
            raise Ended(said)

        def fail_json(self, **said: Any) -> None:
            raise Ended({**said, "failed": True})

    monkeypatch.setattr(apache_websites, "AnsibleModule", Module)
    monkeypatch.setattr(apache_websites, "HERE", web_server.HERE)
    monkeypatch.setattr(apache_websites, "CURRENT", web_server.CURRENT)
    monkeypatch.setattr(transaction, "LOCKS", host.root)
    monkeypatch.setattr(web_server, "installed_php", lambda: "8.2")
    with pytest.raises(Ended) as caught:
        apache_websites.main()
    result: dict[str, Any] = caught.value.args[0]
    return json.loads(json.dumps(result))  # what Ansible gets


def bring(host: WebHost, *contents: bytes) -> None:
    (host.root / "archives").mkdir(exist_ok=True)
    for content in contents:
        (host.root / "archives" / sha(content)).write_bytes(content)


def test_check_mode_returns_what_the_run_then_does(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = module(host, monkeypatch, ONE, TWO, check=True)
    assert [path.name for path in (host.root / "srv").iterdir()] == [] and not (host.root / "web/secret").exists()
    bring(host, STATIC, PHP)
    done = module(host, monkeypatch, ONE, TWO)
    assert planned == done and done["changed"] and done["created"] == [ONE["name"], TWO["name"]]
    again = module(host, monkeypatch, ONE, TWO)
    assert (again["changed"], again["changes"], again["created"]) == (False, [], [])
    assert again["as_built"] == done["as_built"]


def test_result_holds_no_secret(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go to the register, to logs and to the screen."""
    bring(host, STATIC, PHP)
    said = json.dumps(module(host, monkeypatch, ONE, TWO))
    pool = (web_server.CURRENT / f"fpm/{TWO['name']}.conf").read_text()
    socket = re.search(r"/run/php/websites/(\w+)\.sock", pool)
    assert socket and SECRETS[0] in pool
    assert socket[1] not in said and (web_server.HERE / "secret").read_text() not in said and SECRETS[0] not in said


def test_as_built_tells_what_the_records_keep(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(host, STATIC, PHP)
    built = module(host, monkeypatch, ONE, TWO)["as_built"]
    current = web_server.CURRENT
    assert built[TWO["name"]] == {
        "host": "web1", "state": "present", "user": "w20002", "names": [TWO["name"], f"www2.{TWO['name']}"],
        "document_root": f"{web.paths(TWO)['release']}/public", "release": sha(PHP), "php": "8.2",
        "vhost": f"{current}/apache/{TWO['name']}.conf", "pool": f"{current}/fpm/{TWO['name']}.conf"}
    assert "pool" not in built[ONE["name"]] and Path(built[ONE["name"]]["vhost"]).is_file()


def test_module_names_archives_that_it_lacks(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(host, STATIC)
    (web_server.HERE / "secret").write_text("5ec2e7" * 10 + "5ec2")
    result = module(host, monkeypatch, ONE, TWO)
    assert result == {"changed": False, "missing_archives": [sha(PHP)]} and not list((host.root / "srv").iterdir())


def test_module_reports_orphans_and_keeps_them(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.converge(ONE, TWO)
    monkeypatch.setattr(web_server, "host_secret", lambda keep: "5ec2e7")
    result = module(host, monkeypatch, ONE)
    assert result["orphans"] == [TWO["name"]] and Path(web.paths(TWO)["home"]).is_dir()
    assert module(host, monkeypatch, ONE, php(state="archived"))["orphans"] == []


@pytest.mark.parametrize(("fault", "says"), [
    (Refused("the thing", "do this"), "refused: the thing\nlayer: web on web1\nmend: do this"),
    (OSError(28, "No space left on device"), "refused: this server's files do not allow it: [Errno 28] No space left"),
])
def test_module_ends_in_three_parts(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, fault: Exception, says: str) -> None:
    def fails(*_: Any) -> None:
        raise fault

    bring(host, STATIC)
    monkeypatch.setattr(web_server, "swap", fails)
    result = module(host, monkeypatch, ONE)
    assert result["failed"] and result["msg"].startswith(says) and len(result["msg"].splitlines()) == 3


def test_module_refuses_a_server_that_is_not_set_up(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    web_server.CURRENT.unlink()
    assert "not set up as a web host" in module(host, monkeypatch, ONE)["msg"]


FOREIGN = """*:80                   is a NameVirtualHost
         port 80 namevhost {} (/etc/apache2/sites-enabled/tangan.conf:1)
"""


@pytest.mark.parametrize("taken", [TWO["name"], TWO["aliases"][0]])
def test_conflict_is_shown_in_check_mode_and_refuses_the_website_in_a_run(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    (host.root / "daemons/vhosts").write_text(FOREIGN.format(taken))
    (host.root / "sites/tangan.conf").touch()
    bring(host, STATIC)
    shown = module(host, monkeypatch, ONE, TWO, check=True)
    assert shown["conflicts"] == [{"website": TWO["name"], "subject": "vhost", "host": "web1",
                                   "where": "/etc/apache2/sites-enabled/tangan.conf:1"}]
    done = module(host, monkeypatch, ONE, TWO)
    assert done == {**shown, "conflicts": []} and done["created"] == [ONE["name"]]
    (refused,) = done["refused"]
    assert (refused["website"], refused["layer"], refused["host"]) == (TWO["name"], "web", "web1")
    assert "already exists on web1 and is not ours" in refused["what"] and "choose another name" in refused["mend"]
    assert [path.name for path in (host.root / "srv").iterdir()] == [ONE["name"]]


def test_conflict_of_another_hosts_website_is_only_shown(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.root / "daemons/vhosts").write_text(FOREIGN.format(TWO["name"]))
    for name in [*web_server.OUR_SITES, "tangan.conf"]:
        (host.root / "sites" / name).touch()
    assert len(module(host, monkeypatch, php(web_host="web2"), check=True)["conflicts"]) == 1
    assert "failed" not in module(host, monkeypatch, php(web_host="web2"))


@pytest.mark.parametrize(("made", "subject"), [("srv", "folder"), ("log", "folder"), ("users", "user")])
def test_conflict_with_a_folder_or_user_of_others(host: WebHost, made: str, subject: str) -> None:
    (host.root / made / ("w20002" if made == "users" else TWO["name"])).mkdir()
    found = host.layer(TWO).conflicts(everywhere=False)
    assert [(conflict["website"], conflict["subject"]) for conflict in found] == [(TWO["name"], subject)]


def test_conflict_with_a_user_of_others_that_has_the_id(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs as it would be ended with the website, and could read its files."""
    monkeypatch.setattr(web_server, "holder", lambda uid: "budi" if uid == 20002 else None)
    (found,) = host.layer(ONE, TWO).conflicts(everywhere=False)
    assert found == {"website": TWO["name"], "subject": "user", "where": "budi (20002)"}


def test_alias_that_repeats_the_own_name_is_harmless(host: WebHost) -> None:
    assert host.converge(website(aliases=[ONE["name"]]))


def test_websites_of_other_hosts_are_none_of_ours(host: WebHost) -> None:
    assert host.converge(php(web_host="web2"), php("x\n", web_host="web2")) == []


def test_archive_that_did_not_come_refuses_its_website(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(host, STATIC)
    done = module(host, monkeypatch, ONE, TWO, brought=True)
    assert done["created"] == [ONE["name"]] and "of disdik.tarakankota.go.id is missing" in done["refused"][0]["what"]
    assert {change["website"] for change in done["changes"]} == {ONE["name"]} == set(done["as_built"])

"""A web host's own side: releases, programs of websites, daemons, and what was there before us."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import web, web_server, web_setup
from ansible.module_utils.transaction import Refused
from archive_cases import file, link, tar
from web_cases import HOST, PHP, SIZES, WebHost, host, php

__all__ = ["host"]
SITE = php(database=None)


@pytest.fixture
def home(host: WebHost) -> Path:
    web_server.make_homes([SITE])
    return host.root / "srv" / SITE["name"]


def release(host: WebHost, content: bytes, name: str = "", **more: Any) -> Path:
    """Make a release of this archive; gives its folder."""
    given = php(archive=content, database=None, **more)
    archive = host.root / "archive"
    archive.write_bytes(content)
    web_server.make_release(given, archive)
    return Path(web.paths(given)["release"])


def test_make_release_gives_what_the_website_serves(host: WebHost, home: Path) -> None:
    made = release(host, PHP)
    assert (made / "public/berkas/awal.txt").resolve() == home / "data/public/berkas/awal.txt"
    assert (made / "public/index.php").stat().st_uid == os.getuid()


BAD = {
    "no document root": (tar(file("index.php")), "has no folder 'public'"),
    "document root by a link out": (tar(link("public", "../../..")), "points out of it"),
    "link into uploads": (tar(file("public/berkas/x"), link("public/jalan", "berkas")), "whose files could then run"),
    "writable behind a file": (tar(file("public/index.php"), file("public/berkas")), ""),
    "writable behind a link": (tar(file("public/x/y"), link("public/tautan", "x")), "lies behind a link"),
    "no archive": (b"<html>", "cannot be unpacked"),
}


@pytest.mark.parametrize("case", BAD)
def test_make_release_leaves_nothing_of_a_bad_one(host: WebHost, home: Path, case: str) -> None:
    content, says = BAD[case]
    folder = {"writable behind a link": "public/tautan/berkas"}.get(case, "public/berkas")
    before = host.census()
    if not says:  # a file in the place of a writable folder gives way to it
        assert (release(host, content) / folder).is_dir()
        return
    with pytest.raises(Refused, match=says):
        release(host, content, writable=[folder])
    assert host.census() == before


@pytest.mark.parametrize("content", [b"other", None])
def test_make_release_refuses_an_archive_of_another_hash(host: WebHost, home: Path, content: bytes | None) -> None:
    archive = host.root / "archive"
    if content:
        archive.write_bytes(content)
    with pytest.raises(Refused, match="missing or has another sha256"):
        web_server.make_release(SITE, archive)
    assert list((home / "releases").iterdir()) == []


def test_make_release_replaces_what_a_killed_run_left(host: WebHost, home: Path) -> None:
    partial = Path(web.paths(php(database=None))["release"])
    (partial.with_name(f".{partial.name}.partial") / "sampah").mkdir(parents=True)
    assert not (release(host, PHP) / "sampah").exists()


def test_brings_names_all_that_a_release_will_make(host: WebHost, home: Path) -> None:
    (home / "data/isi").mkdir()
    given = php(writable=["isi/unggah", "baru/dalam", "isi"])
    where = web.paths(given)
    assert web_server.brings(given) == [Path(where["release"]), home / "data/isi/unggah", home / "data/baru"]


def test_make_homes_shows_no_half_made_home(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> str:
        raise Refused("setfacl could not run", "mend")

    monkeypatch.setattr(web_server, "run", fails)
    with pytest.raises(Refused):
        web_server.make_homes([SITE])
    assert not (host.root / "srv" / SITE["name"]).exists()


def test_remove_website_leaves_nothing_and_may_be_repeated(host: WebHost, home: Path) -> None:
    web_server.make_users([SITE])
    for _ in range(2):
        web_server.remove_website(SITE["name"], SITE["uid"])
    assert [list((host.root / part).iterdir()) for part in ("srv", "log", "users")] == [[], [], []]


def test_remove_website_follows_no_link_that_the_website_made(host: WebHost, home: Path) -> None:
    precious = host.root / "precious"
    precious.mkdir()
    (precious / "x").write_text("kept")
    (home / "temporary/pintu").symlink_to(precious)
    web_server.remove_website(SITE["name"], SITE["uid"])
    assert (precious / "x").exists()


def test_remove_website_ends_what_keeps_the_user(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """userdel refuses a user with a process, such as one that its setup script left behind."""
    web_server.make_users([SITE])
    sleeper = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(web_server, "processes", lambda uid: [sleeper.pid] if sleeper.poll() is None else [])
    web_server.remove_website(SITE["name"], SITE["uid"])
    assert sleeper.wait(5) == -9


def test_remove_website_says_when_the_user_stays(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    web_server.make_users([SITE])

    def busy(*_: Any) -> str:
        raise Refused("userdel: user w20002 is currently used by process 7", "mend")

    monkeypatch.setattr(web_server, "run", busy)
    monkeypatch.setattr(web_server.time, "sleep", lambda _: None)
    with pytest.raises(Refused, match="used by process 7"):
        web_server.remove_website(SITE["name"], SITE["uid"])


def test_processes_finds_those_of_one_user_only() -> None:
    assert os.getpid() in web_server.processes(os.getuid())
    assert os.getpid() not in web_server.processes(59_999)


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


ENV = {"PATH": os.environ["PATH"], "SITUS": "x"}


def test_run_foreign_gives_code_and_the_end_of_the_output() -> None:
    code, said = web_setup.run_foreign(script("import sys; print('a' * 9000, flush=True); sys.exit('akhir')"), ENV, 10)
    assert code == 1 and said.endswith("akhir\n") and len(said) == 4000


def test_run_foreign_tells_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's environment may hold a proxy's password; our input may be the module itself."""
    monkeypatch.setenv("http_proxy", "http://user:rahasia@proxy")
    _, said = web_setup.run_foreign(script("import os, sys; print(dict(os.environ), sys.stdin.read())"), ENV, 10)
    assert "rahasia" not in said and "'SITUS': 'x'" in said


def test_run_foreign_keeps_no_endless_output() -> None:
    code, said = web_setup.run_foreign(script("for _ in range(2000): print('a' * 10000)"), ENV, 20)
    assert code == 0 and len(said) == 4000


def test_run_foreign_ends_what_takes_too_long() -> None:
    begun = time.monotonic()
    with pytest.raises(Refused, match="did not end in"):
        web_setup.run_foreign(script("import time; time.sleep(60)"), ENV, 0.3)
    assert time.monotonic() - begun < 3


def test_run_foreign_is_not_held_up_by_what_it_leaves_behind(tmp_path: Path) -> None:
    """A child that keeps the output open ends with its parent."""
    late = str(tmp_path / "late")
    text = f"import os, time\nif os.fork() == 0:\n time.sleep(1.5); open({late!r}, 'w')\nprint('done')"
    begun = time.monotonic()
    assert web_setup.run_foreign(script(text), ENV, 20) == (0, "done\n")
    assert time.monotonic() - begun < 1.4
    time.sleep(max(0, 1.8 - (time.monotonic() - begun)))
    assert not (tmp_path / "late").exists()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is said to systemd once a script has ended."""
    said: list[list[str]] = []
    monkeypatch.setattr(web_setup, "run", said.append)
    return said


def failing(monkeypatch: pytest.MonkeyPatch, code: int, said: str) -> str:
    monkeypatch.setattr(web_setup, "run_foreign", lambda *_, **__: (code, said))
    with pytest.raises(Refused) as caught:
        web_setup.setup(php(), HOST, "s3cretPassw0rd", SIZES["small"])
    return caught.value.what


def test_setup_shows_no_password_and_no_layout_of_the_scripts(
    monkeypatch: pytest.MonkeyPatch, ended: list[list[str]]
) -> None:
    said = failing(monkeypatch, 3, "PDO('w20002', 's3cretPassw0rd')\n\x1b[2Jrefused: no\nmend: give root\n" + "x" * 10)
    assert said == ("the setup script of disdik.tarakankota.go.id failed with 3: PDO('w20002', '…') [2Jrefused: no "
                    "mend: give root xxxxxxxxxx")


def test_setup_runs_as_the_website_and_hands_the_password_by_environment(
    monkeypatch: pytest.MonkeyPatch, ended: list[list[str]]
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(web_setup, "run_foreign", lambda argv, env, timeout: calls.append((argv, env)) or (0, ""))
    web_setup.setup(php(), HOST, "s3cretPassw0rd", SIZES["small"])
    argv, env = calls[0]
    at = argv.index("--reuid=w20002")
    assert argv[at - 1:at + 4] == ["setpriv", "--reuid=w20002", "--regid=w20002", "--clear-groups", "--no-new-privs"]
    assert "s3cretPassw0rd" not in " ".join(argv) and env["DB_PASSWORD"] == "s3cretPassw0rd"
    assert any(word.startswith("-ddisable_functions=exec,") for word in argv) and argv[-1].endswith("/setup.php")


def test_setup_runs_in_a_scope_of_its_own_within_its_sizes_limits(
    monkeypatch: pytest.MonkeyPatch, ended: list[list[str]]
) -> None:
    """Else a script that takes all memory, or goes on after a kill, is everybody's trouble."""
    calls: list[Any] = []
    monkeypatch.setattr(web_setup, "run_foreign", lambda argv, env, timeout: calls.append((argv, timeout)) or (0, ""))
    web_setup.setup(php(), HOST, None, SIZES["small"])
    argv, timeout = calls[0]
    scope = argv[argv.index("systemd-run"):argv.index("--reuid=w20002")]
    assert {"--scope", "--unit=website-setup-w20002", "--property=MemoryMax=640M", "--property=TasksMax=100",
            f"--property=RuntimeMaxSec={timeout}", "--property=KillSignal=SIGKILL"} <= set(scope)
    assert [n for n, word in enumerate(argv) if word == "--pdeathsig=KILL"] == [1, argv.index("--no-new-privs") + 1]


def test_setup_runs_no_native_code_from_where_visitors_write(
    monkeypatch: pytest.MonkeyPatch, ended: list[list[str]]
) -> None:
    """Its scope has no such setting, so root mounts the folders anew before the script's user is taken on."""
    calls: list[list[str]] = []
    monkeypatch.setattr(web_setup, "run_foreign", lambda argv, env, timeout: calls.append(argv) or (0, ""))
    web_setup.setup(php(), HOST, None, SIZES["small"])
    (argv,) = calls
    at, home = argv.index("unshare"), web.paths(php())["home"]
    assert argv[at - 1].startswith("--property=") and argv[at + 1:at + 4] == ["--mount", "sh", "-c"]
    assert argv[at + 5:at + 8] == ["sh", "setpriv", "--reuid=w20002"]
    closed, opened = argv[at + 4].split("; done; ")
    assert closed == f"for at in {home} /tmp /var/tmp /dev/shm; do mount --bind -o noexec,nosuid,nodev $at $at || exit"
    assert opened == f'mount --bind -o exec,nosuid,nodev {home}/releases {home}/releases && exec "$@"'


@pytest.mark.parametrize("outcome", [(0, ""), (3, "no table"), Refused("it did not end in 300 s", "make it shorter")])
def test_setup_ends_what_its_script_left_whatever_came_of_it(
    monkeypatch: pytest.MonkeyPatch, ended: list[list[str]], outcome: Any
) -> None:
    def run_foreign(*_: Any, **__: Any) -> Any:
        assert not ended
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    monkeypatch.setattr(web_setup, "run_foreign", run_foreign)
    with pytest.raises(Refused) if outcome != (0, "") else contextlib.nullcontext():
        web_setup.setup(php(), HOST, None, SIZES["small"])
    assert ended == [["systemctl", "stop", "website-setup-w20002.*"]]


def test_setup_does_run_what_a_real_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: list[list[str]]
) -> None:
    program = tmp_path / "setpriv"
    program.write_text("#!/bin/sh\necho tidak ada tabel >&2\nexit 4\n")
    program.chmod(0o755)
    real = web_setup.run_foreign
    monkeypatch.setattr(web_setup, "run_foreign",
                        lambda argv, env, timeout: real([str(program), *argv[1:]], env, timeout))
    with pytest.raises(Refused, match="failed with 4: tidak ada tabel"):
        web_setup.setup(php(), HOST, None, SIZES["small"])


DUMP = """VirtualHost configuration:
*:80                   is a NameVirtualHost
         default server unknown.invalid (/etc/apache2/sites-enabled/000-unknown.conf:3)
         port 80 namevhost unknown.invalid (/etc/apache2/sites-enabled/000-unknown.conf:3)
         port 80 namevhost ours.go.id (macro 'WebsiteStatic' (defined on line 51 of "/etc/apache2/conf-enabled/\
websites-policy.conf") used on line 1 of "/var/lib/websites/web/current/apache/ours.go.id.conf":1)
                 alias alias-of-ours.go.id
         port 80 namevhost tangan.go.id (/etc/apache2/sites-enabled/tangan.conf:1)
                 alias www.tangan.go.id
                 wild alias *.tangan.go.id
10.0.0.1:8080          sendiri.go.id (/etc/apache2/sites-enabled/sendiri.conf:1)
ServerRoot: "/etc/apache2"
"""


def test_foreign_vhosts_are_those_that_others_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(web_server, "run", lambda argv: asked.extend(argv) or DUMP)
    hand, own = "/etc/apache2/sites-enabled/tangan.conf:1", "/etc/apache2/sites-enabled/sendiri.conf:1"
    assert web_server.foreign_vhosts({"ours.go.id"}) == {
        "unknown.invalid": "/etc/apache2/sites-enabled/000-unknown.conf:3", "tangan.go.id": hand,
        "www.tangan.go.id": hand, "*.tangan.go.id": hand, "sendiri.go.id": own}
    assert asked[-1].endswith("generations/0"), "a damaged file of ours would stop the run that mends it"


def test_sites_by_hand_are_noticed(host: WebHost) -> None:
    for name in web_server.OUR_SITES:
        (web_server.SITES / name).touch()
    assert not web_server.sites_by_hand()
    (web_server.SITES / "tangan.conf").touch()
    assert web_server.sites_by_hand()


def test_host_secret_is_made_once_for_root_only(host: WebHost) -> None:
    assert web_server.host_secret(keep=False) == "" and not (web_server.HERE / "secret").exists()
    secret = web_server.host_secret(keep=True)
    assert len(secret) == 64 and web_server.host_secret(keep=False) == secret == web_server.host_secret(keep=True)
    assert stat.S_IMODE((web_server.HERE / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["", "short", "x" * 64])
def test_host_secret_is_renewed_where_it_could_be_guessed(host: WebHost, damage: str) -> None:
    (web_server.HERE / "secret").write_text(damage)
    assert len(set(web_server.host_secret(keep=True))) > 4


def test_swap_replaces_the_link_even_after_a_killed_run(host: WebHost) -> None:
    web_server.CURRENT.with_name("current.new").symlink_to("gone")
    web_server.swap(str(host.root / "web/generations/7"))
    assert web_server.CURRENT.readlink().name == "7" and not web_server.CURRENT.with_name("current.new").is_symlink()


def test_reload_waits_until_the_generation_is_served(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([OSError("refused"), (404, {"X-Generation": "3"}), (404, {"X-Generation": "4"})])

    def ask(_: str) -> Any:
        found = next(said)
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(web_server, "ask", ask)
    web_server.reload("8.2", "4")
    assert next(said, None) is None


@pytest.fixture
def answers(host: WebHost, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, str]]]:
    """What the server answers, the last again and again."""
    queue: list[tuple[int, dict[str, str]]] = []
    monkeypatch.setattr(web_server, "ask", lambda *_: queue.pop(0) if len(queue) > 1 else queue[0])
    monkeypatch.setattr(web_server.time, "sleep", lambda _: None)
    return queue


@pytest.mark.parametrize(("said", "state", "good"), [
    ([(200, {})], "present", True), ([(404, {})], "present", True), ([(302, {})], "present", True),
    ([(500, {})], "present", False), ([(502, {})], "present", False), ([(503, {})], "suspended", True),
    ([(404, {"X-Unknown-Website": "1"})], "present", False), ([(503, {}), (503, {}), (200, {})], "present", True),
    ([(503, {}), (500, {})], "present", False),
])
def test_look_judges_the_first_answers(answers: list[Any], said: list[Any], state: str, good: bool) -> None:
    answers.extend(said)
    given = php(state=state)
    if good:
        web_server.look(given)
    else:
        with pytest.raises(Refused, match=f"answers {said[-1][0]} after the change"):
            web_server.look(given)


@pytest.mark.parametrize(
    "error", [OSError("refused"), TimeoutError(), web_server.http.client.BadStatusLine("x"), ValueError("x")])
def test_look_refuses_where_nothing_answers(host: WebHost, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def ask(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(web_server, "ask", ask)
    with pytest.raises(Refused, match="does not answer after the change"):
        web_server.look(SITE)

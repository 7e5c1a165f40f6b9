"""A website's configuration as text, and the values that must never reach it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import web
from ansible.module_utils.transaction import Refused
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from web_cases import HOST, PHP, SIZES, app, php, sha, website

from sop_driver.request import Form

PASSWORD = "s3cretPassw0rd"
HOSTILE = [
    "{{ lookup('pipe', 'touch /x') }}", "qx\ny", "qx\r\nListen 81", "\n[evil]\nuser = root", 'qx"y', "qx'y", "qx y",
    "</VirtualHost>", "$(touch /x)", "`touch /x`", "%{env:PATH}", "${ENV}", "qx;y", "qx\\y", "qx\0y", "../../etc",
    "/etc/passwd", "-rf", "\N{RIGHT-TO-LEFT OVERRIDE}qx", "q" * 300, "é", "<Macro x>", "qx#y", "qx\x85y", "", " ",
    "qx\n",
]
SHAPES: list[Any] = [None, 7, 7.5, True, [], ["a"], {}, {"a": 1}, [None], [["a"]]]
FIELDS = ["name", "state", "uid", "aliases", "title", "agency", "runtime", "php_version", "document_root", "writable",
          "setup_script", "size", "probe", "release", "database", "address", "created_by", "web_host", "waf",
          "_socket"]
# What may stand in a file of a website: nothing that Apache, mod_macro or PHP-FPM take for syntax beside what we wrote.
VHOST = re.compile(
    r'(Use Website(Static|Php|Suspended|Writable|Internal|Requests|Seconds)( "?[a-z0-9A-Z_./ -]+"?)+\n)+\Z')
POOL = re.compile(r"\[w\d{5}\]\n([a-z_.]+(\[[A-Za-z_.]+\])? = (\"[A-Za-z0-9 ._:/,@+-]*\"|[A-Za-z0-9./_-]+)\n)+\Z")
# What the server decides about a website.
DRESS = {"_socket": "/run/php/websites/0a1b.sock", "_certificate": "acme", "_upload": 16777216, "_seconds": "60"}


def texts(given: dict[str, Any]) -> list[str]:
    """What would be written for this website; raises Refused where it is refused."""
    web.check(given, HOST)
    if given["state"] not in web.LIVE:
        return []
    live = {**given, **DRESS}
    vhost, pool = web.vhost(live), web.pool(live, HOST, PASSWORD) if web.wants_pool(live) else ""
    assert VHOST.match(vhost) and (not pool or POOL.match(pool))
    return [vhost, pool]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all leaves of a website, and of what may stand in a list."""
    if isinstance(value, dict):
        return [at, *(place for key in value for place in places(value[key], (*at, key)))] if at else [
            place for key in value for place in places(value[key], (key,))]
    return [at, *((*at, number) for number in range(len(value)))] if isinstance(value, list) else [at]


def with_value(given: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(given)
    at: Any = changed
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    return changed


def attempts() -> list[tuple[tuple[Any, ...], Any]]:
    given = php(agency="Dinas", unit="x", agenda="1", request="R-1", waf="block")
    return [(place, value) for place in places(given) for value in [*HOSTILE, *SHAPES]]


def test_no_hostile_value_in_any_field_reaches_the_configuration() -> None:
    """Refused in three parts, or inert: the text is of the one allowed shape and does not hold the value."""
    given, refused = php(agency="Dinas", unit="x", agenda="1", request="R-1", waf="block"), 0
    ordinary = texts(given)
    for place, value in attempts():
        try:
            found = texts(with_value(given, place, value))
        except Refused as error:
            assert "\n" not in error.what and error.mend
            refused += 1
            continue
        if value in HOSTILE and str(value).strip():
            assert not any(str(value) in text for text in found), (place, value)
        inert = place[0] in ("title", "agency", "unit", "agenda", "request", "created_by", "address", "web_host")
        assert not inert or found == ordinary, (place, value)
    assert refused > 300


def test_check_refuses_a_website_that_lacks_a_field() -> None:
    for field in php():
        given = php()
        del given[field]
        if field not in ("title", "address", "created_by", "web_host"):
            with pytest.raises(Refused, match="asks for"):
                web.check(given, HOST)


TEXT = st.one_of(st.text(max_size=20), st.sampled_from(HOSTILE), st.from_regex(web.NAME, fullmatch=False))
VALUES = st.one_of(TEXT, st.none(), st.integers(), st.booleans(), st.lists(TEXT, max_size=2),
                   st.dictionaries(st.sampled_from(["path", "sha256", "engine", "host", "x"]), TEXT, max_size=2))


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))
@example({"aliases": "abc", "writable": "abc"})
@example({"writable": ["public"]})
@example({"state": "Present"})
def test_any_website_is_refused_or_written_in_the_one_shape(changes: dict[str, Any]) -> None:
    try:
        texts({**php(), **changes})
    except Refused:
        return


@pytest.mark.parametrize(("more", "says"), [
    ({"state": "Present"}, "asks for 'Present'"), ({"runtime": "node"}, "asks for 'node'"),
    ({"waf": "off"}, "asks for 'off'"),
    ({"size": "huge"}, "asks for the size 'huge'"), ({"uid": 0}, "has the unix id 0"), ({"uid": 19999}, "unix id"),
    ({"uid": 60000}, "unix id"), ({"uid": True}, "unix id"), ({"uid": "20001"}, "unix id"),
    ({"php_version": "7.4"}, "asks for PHP 7.4; this server has 8.2"),
    ({"release": {"sha256": "A" * 64}}, "no release hash"), ({"document_root": None}, "asks for None"),
    ({"writable": ["a", "a/b"]}, "a/b, writable within another"),
    ({"writable": ["public"]}, "writable around its pages"), ({"name": "go"}, "asks for 'go'"),
    ({"database": {"engine": "oracle", "host": "db1"}}, "asks for 'oracle'"), ({"writable": "abc"}, "asks for 'abc'"),
    ({"probe": {"path": "/ HTTP/1.1\r\nHost: x"}}, "asks for '/ HTTP"), ({"probe": {"path": "x"}}, "asks for 'x'"),
    ({"aliases": ["tarakankota.go.id."]}, "asks for 'tarakankota.go.id.'"),
    ({"aliases": ["*.go.id"]}, "asks for '*.go.id'"),
])
def test_check_refuses_by_value_and_name(more: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=re.escape(says)):
        web.check(php(**more), HOST)


def test_check_asks_no_php_of_a_website_that_is_archived() -> None:
    """It must not stop the others after the server's PHP was renewed."""
    web.check(php(php_version="7.4", state="archived"), HOST._replace(php=""))
    with pytest.raises(Refused, match="this server has none"):
        web.check(php(), HOST._replace(php=""))


def test_pool_refuses_a_database_server_that_is_none_of_the_fleet() -> None:
    with pytest.raises(Refused, match="names the database server db9"):
        texts(php(database={"engine": "mariadb", "host": "db9"}))


@pytest.mark.parametrize("value", ['a"\nuser = root', "a;b", "${X}", "a\n"])
def test_pool_refuses_a_password_that_is_syntax_without_showing_it(value: str) -> None:
    with pytest.raises(Refused, match="DB_PASSWORD of disdik") as caught:
        web.pool({**php(), "_socket": "/run/php/websites/x.sock"}, HOST, value)
    assert value not in caught.value.what


@pytest.mark.parametrize("key", ["children", "memory", "upload", "seconds"])
def test_pool_refuses_a_limit_that_is_syntax(key: str) -> None:
    sizes = {"small": {**SIZES["small"], key: "5\nuser = root"}}
    with pytest.raises(Refused, match=f"{key} of disdik"):
        web.pool({**php(), "_socket": "x"}, HOST._replace(sizes=sizes), "x")


def test_vhost_of_a_static_website_is_two_lines() -> None:
    release = f"/srv/websites/dinkes.tarakankota.go.id/releases/{website()['release']['sha256'][:32]}"
    given = website(aliases=["b.go.id", "a.go.id"], _certificate="acme", _upload=5)
    assert web.vhost(given) == (
        "Use WebsiteRequests dinkes.tarakankota.go.id detect 5\n"
        f'Use WebsiteStatic dinkes.tarakankota.go.id "dinkes.tarakankota.go.id a.go.id b.go.id" acme {release}\n')


def test_vhost_of_a_php_website_names_its_socket_and_what_is_no_page() -> None:
    given = {**php(), **DRESS, "_certificate": "none", "_upload": 5}
    release = f"/srv/websites/disdik.tarakankota.go.id/releases/{sha(PHP)[:32]}-e0311a4e"
    assert web.vhost(given) == (
        "Use WebsiteRequests disdik.tarakankota.go.id detect 5\n"
        "Use WebsiteSeconds disdik.tarakankota.go.id 60\n"
        'Use WebsitePhp disdik.tarakankota.go.id "disdik.tarakankota.go.id www2.disdik.tarakankota.go.id" none '
        f"{release}/public /run/php/websites/0a1b.sock\n"
        f"Use WebsiteWritable {release}/public/berkas\n"
        f"Use WebsiteInternal {release}/setup.php\n")


def test_vhost_of_a_website_that_refuses_attacks_says_so_first() -> None:
    """Apache reads a vhost's conditions where it reads the vhost."""
    given = website(waf="block", _certificate="none", _upload=16777216)
    assert web.vhost(given).splitlines()[0] == "Use WebsiteRequests dinkes.tarakankota.go.id block 16777216"


@pytest.mark.parametrize(("text", "size"), [("16M", 16777216), ("1g", 1073741824), ("512K", 524288), (1000, 1000)])
def test_upload_is_what_php_reads_in_it(text: str | int, size: int) -> None:
    sizes = {"small": {**SIZES["small"], "upload": text}}
    assert web.upload(website(), HOST._replace(sizes=sizes)) == size


@pytest.mark.parametrize("text", ["16 M", "16MB", "-1", "", "1.5M", "0", "2G", "16M\nSecRuleEngine Off"])
def test_upload_refuses_what_php_would_read_otherwise(text: str) -> None:
    with pytest.raises(Refused, match="apache_sizes gives the upload"):
        web.upload(website(), HOST._replace(sizes={"small": {**SIZES["small"], "upload": text}}))


def test_vhost_of_a_suspended_website_serves_no_file() -> None:
    assert web.vhost(php(state="suspended", aliases=[], _certificate="kota")) == (
        'Use WebsiteSuspended disdik.tarakankota.go.id "disdik.tarakankota.go.id" kota\n')


@pytest.mark.parametrize(("acme", "aliases", "shown"), [
    (False, [], "kota"),
    (True, ["kota.go.id"], "kota"),
    (True, ["kota.go.id", "a.b.kota.go.id"], "acme"),  # a wildcard is one label wide
    (True, ["dinkes.go.id"], "acme"),
    (False, ["dinkes.go.id"], "none"),
])
def test_website_shows_the_agencys_certificate_where_it_serves_all_names(
    acme: bool, aliases: list[str], shown: str
) -> None:
    host = HOST._replace(acme=acme, certificates={"kota": ["*.kota.go.id", "kota.go.id"], "lain": ["lain.go.id"]})
    assert web.certificate(website("dinkes.kota.go.id", aliases=aliases), host) == shown


def test_pool_is_as_approved() -> None:
    home = "/srv/websites/disdik.tarakankota.go.id"
    assert web.pool({**php(), "_socket": "/run/php/websites/0a1b.sock"}, HOST, PASSWORD).splitlines() == [
        "[w20002]", "user = w20002", "group = w20002", "listen = /run/php/websites/0a1b.sock",
        "listen.owner = www-data", "listen.group = www-data", "listen.mode = 0600", "pm = ondemand",
        "pm.max_children = 5", "pm.process_idle_timeout = 1m", "pm.max_requests = 500",
        "request_terminate_timeout = 60s", "catch_workers_output = yes", "clear_env = yes", f"chdir = {home}",
        f'env[TMPDIR] = "{home}/temporary"', 'env[WEBSITE_NAME] = "disdik.tarakankota.go.id"',
        'env[DB_ENGINE] = "mariadb"', 'env[DB_HOST] = "10.89.77.21"', 'env[DB_PORT] = "3306"',
        'env[DB_NAME] = "w20002"', 'env[DB_USER] = "w20002"', f'env[DB_PASSWORD] = "{PASSWORD}"',
        f'php_admin_value[open_basedir] = "{home}/"', f'php_admin_value[sys_temp_dir] = "{home}/temporary"',
        f'php_admin_value[upload_tmp_dir] = "{home}/temporary"',
        f'php_admin_value[session.save_path] = "{home}/sessions"', 'php_admin_value[session.gc_probability] = "1"',
        'php_admin_value[opcache.validate_permission] = "1"', 'php_admin_value[opcache.restrict_api] = "/nowhere"',
        'php_admin_value[memory_limit] = "128M"', 'php_admin_value[upload_max_filesize] = "16M"',
        'php_admin_value[post_max_size] = "16M"', 'php_admin_value[allow_url_include] = "0"',
        'php_admin_value[expose_php] = "0"', 'php_admin_value[display_errors] = "0"',
        'php_admin_value[log_errors] = "1"',
        'php_admin_value[error_log] = "/var/log/websites/disdik.tarakankota.go.id/php.log"',
        'php_admin_value[disable_functions] = "exec,passthru,shell_exec,system,proc_open,popen,pcntl_exec,pcntl_fork,'
        'putenv,dl,link,symlink"',
    ]


def test_open_basedir_ends_with_a_slash() -> None:
    """Without it the folder of a name that begins alike would be open too."""
    assert web.php_settings(php(), SIZES["small"])["open_basedir"].endswith("disdik.tarakankota.go.id/")


def test_environment_has_no_database_where_there_is_none() -> None:
    assert not [key for key in web.environment(website(), HOST, None) if key.startswith("DB_")]


PATHS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,8}){0,3}", fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(PATHS, max_size=3), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_paths_stay_in_the_websites_home(writable: list[str], sha256: str) -> None:
    given = php(writable=writable, release={"sha256": sha256})
    home = Path("/srv/websites/disdik.tarakankota.go.id")
    where = web.paths(given)
    assert Path(where["release"]).parent == home / "releases" and where["data"] == str(home / "data")
    assert web.paths({**given, "writable": writable[::-1]}) == where
    other = web.paths({**given, "writable": [*writable, "lain"]})
    assert other["release"] != where["release"]


FORM = {"agency": "Dinas", "unit": "x", "letter": {"number": "1", "date": "2026-11-20"}, "kind": "create",
        "name": "dinkes.tarakankota.go.id", "title": "x", "purpose": "x",
        "contact": {"name": "Siti", "email": "siti@example.go.id"},
        "release": {"archive": "a.tar", "sha256": "0" * 64}}  # fmt: skip
LAYOUTS = {"document_root": php, "writable": php, "setup_script": php, "entry": app}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(LAYOUTS)), st.text("aZ0_.-/", max_size=6))
@example("entry", ".output/server/index.mjs")
@example("document_root", ".output/public")
@example("writable", ".data")
@example("writable", "a/.well-known")
@example("setup_script", ".a.php")
@example("entry", "..a")
@example("document_root", "a/.-b")
def test_form_takes_the_paths_that_a_web_host_takes(field: str, path: str) -> None:
    """All signatures would be asked for a request that no server takes."""
    given = LAYOUTS[field](**{field: [path] if field == "writable" else path})
    names = ("runtime", "program", "entry", "document_root", "writable", "setup_script")
    try:
        web.check(given, HOST)
        taken = True
    except Refused:
        taken = False
    form = FORM | {name: given[name] for name in names if name in given}
    if taken:
        Form.model_validate(form)
    else:
        with pytest.raises(ValidationError, match=field):
            Form.model_validate(form)


@pytest.mark.parametrize(("given", "taken"), [
    (app(entry=".output/server/index.mjs"), True), (php(document_root=".output/public"), True),
    (php(writable=[".well-known"]), False), (php(setup_script=".setup.php"), False)])
def test_release_may_hold_its_pages_and_its_program_in_a_hidden_folder(given: dict[str, Any], taken: bool) -> None:
    """Nuxt builds into `.output`. What a website writes is never where such names have a meaning of their own."""
    if taken:
        web.check(given, HOST)
    else:
        with pytest.raises(Refused, match="asks for"):
            web.check(given, HOST)


def test_differences_show_no_password_and_no_socket() -> None:
    """Changes go to the register and to logs; a socket's name is what keeps other websites from calling it."""
    live = {**php(), **DRESS}
    files = {"vhost": (None, web.vhost(live)), "pool": (None, web.pool(live, HOST, PASSWORD))}
    changes = web.differences(None, live, files)
    assert [change.subject for change in changes] == ["user", "release", "vhost", "pool"]
    assert "0a1b" not in repr(changes) and PASSWORD not in repr(changes) and "WebsitePhp" in repr(changes)


@pytest.mark.parametrize(
    ("there", "wanted", "action"), [(None, "x", "create"), ("x", "y", "update"), ("x", None, "remove")])
def test_differences_name_what_happens_to_a_file(there: str | None, wanted: str | None, action: str) -> None:
    given = php()
    assert [change.action for change in web.differences(given, given, {"pool": (there, wanted)})] == [action]
    assert web.differences(given, given, {"pool": ("x", "x")}) == []

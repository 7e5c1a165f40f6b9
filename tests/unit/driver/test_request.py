"""A request file is hostile until every field is validated; what is taken stays text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driver.desk import PROJECT, Desk, tar_of
from sop_driver import desired, request, steps
from sop_driver.config import NamePolicy
from sop_driver.errors import Refused, SopError, Usage
from sop_driver.request import Request, name_faults

POLICY = NamePolicy(domain="tarakankota.go.id")
HOSTILE = [
    "{{ lookup('pipe', 'touch /tmp/x') }}",
    "$(touch x)",
    "'; DROP TABLE users; --",
    "</VirtualHost>",
    "%{ENV:PATH}",
    "`id`",
    "a\0b",
    "line\nbreak",
    "}; flush ruleset",
    "a\u202eb",
    "\x1b[2J",
    "../../etc/passwd",
    "-rf",
    "<?php eval",
]
FIELDS: list[tuple[str | int, ...]] = [
    ("agency",),
    ("unit",),
    ("letter", "number"),
    ("letter", "date"),
    ("requester",),
    ("kind",),
    ("name",),
    ("aliases", 0),
    ("zone",),
    ("records", 0, "name"),
    ("records", 0, "text"),
    ("records", 1, "target"),
    ("records", 2, "content"),
    ("title",),
    ("purpose",),
    ("contact", "name"),
    ("contact", "email"),
    ("contact", "phone"),
    ("runtime",),
    ("php_version",),
    ("database",),
    ("size",),
    ("waf",),
    ("document_root",),
    ("writable", 0),
    ("setup_script",),
    ("probe", "path"),
    ("probe", "contains"),
    ("address",),
    ("release", "archive"),
    ("release", "sha256"),
]
FREE = {
    ("agency",),
    ("unit",),
    ("letter", "number"),
    ("title",),
    ("purpose",),
    ("contact", "name"),
    ("probe", "contains"),
}
PRINTABLE = ("records", 0, "text")  # taken literally too, where it is ASCII


def full(desk: Desk) -> dict[str, Any]:
    return desk.form(
        runtime="php",
        php_version="8.2",
        database="mariadb",
        aliases=["kesehatan.tarakankota.go.id"],
        requester="dinkes",
        writable=["uploads"],
        setup_script="setup.php",
        document_root="public",
        probe={"path": "/", "contains": "Dinas"},
        contact={"name": "Siti", "email": "siti@example.go.id", "phone": "0851-799"},
        size="small",
        address="shared",
        records=[
            {"name": "dinkes.tarakankota.go.id", "type": "TXT", "text": "v=spf1 -all"},
            {"name": "surat.dinkes.tarakankota.go.id", "type": "CNAME", "target": "surat.example.net"},
            {"name": "dinkes.tarakankota.go.id", "type": "CAA", "tag": "issue", "content": "ca.example.net"},
        ],
    )


def put(form: dict[str, Any], place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    target: Any = form
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    return form


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", FIELDS)
def test_read_refuses_or_carries_literally_hostile_text(desk: Desk, place: tuple[str | int, ...], text: str) -> None:
    path = desk.write(put(full(desk), place, text))
    try:
        found = request.read(path, POLICY)
    except Usage as error:
        assert f"{path}:" in str(error) and "\0" not in str(error)
        return
    assert place in FREE or (place == PRINTABLE and text.isascii()), f"{place} took {text!r}"
    allocation = {
        "uid": 20000,
        "agenda": "1",
        "request": "R",
        "release_size": 1,
        "database_host": "db1",
        "web_host": "web1",
        "address": {"ipv4": "198.51.100.11", "ipv6": None, "own": False},
        "created_by": "r",
    }
    state = json.dumps({"websites": [desired.website(found, allocation, None)]})
    value: Any = found.model_dump(mode="json")
    for key in place:
        value = value[key]
    assert value == text and json.loads(state)["websites"][0]["uid"] == 20000


@pytest.mark.parametrize("place", sorted(FREE))
@pytest.mark.parametrize("text", ["a\0b", "line\nbreak", "a\u202eb", "\x1b[2J", "", "   ", "x" * 5000, "tab\there",
                                  "\u3164", "Dinas\u2800", "Dinas     Pemohon: kadis", "a\u00a0b"])
def test_read_refuses_control_characters_empty_and_long_in_free_texts(
    desk: Desk, place: tuple[str, ...], text: str
) -> None:
    with pytest.raises(Usage):
        request.read(desk.write(put(full(desk), place, text)), POLICY)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Dinkes.tarakankota.go.id", "upper case"),
        ("dinkes.tarakankota.go.id.", "ends with a dot"),
        ("dinkes..tarakankota.go.id", "two dots"),
        (".tarakankota.go.id", "two dots"),
        ("tarakankota.go.id", "below"),
        ("dinkes.example.com", "below"),
        ("xtarakankota.go.id", "below"),
        ("-a.tarakankota.go.id", "hyphen"),
        ("a-.tarakankota.go.id", "hyphen"),
        ("ab--c.tarakankota.go.id", "places 3 and 4"),
        ("123.tarakankota.go.id", "digits"),
        ("a_b.tarakankota.go.id", "underscore"),
        ("xn--80ak6aa92e.tarakankota.go.id", "xn--"),
        ("dink\u0435s.tarakankota.go.id", "outside a-z"),
        ("a b.tarakankota.go.id", "space"),
        ("a\nb.tarakankota.go.id", "line"),
        ("a\0.tarakankota.go.id", "control"),
        ("x" * 64 + ".tarakankota.go.id", "63"),
        ("a/b.tarakankota.go.id", "only a-z"),
        ("*.tarakankota.go.id", "only a-z"),
        (".".join(["abcdefgh"] * 30) + ".tarakankota.go.id", "253"),
        *(
            (f"{label}.tarakankota.go.id", "reserved")
            for label in ("www", "mail", "ns", "ns1", "ns12", "autodiscover", "wpad", "mta-sts", "localhost")
        ),
        ("wpad.dinkes.tarakankota.go.id", "reserved"),
    ],
)
def test_name_faults_says_each_fault_of_its_own(name: str, fault: str) -> None:
    assert any(fault in found for found in name_faults(name, POLICY)), name_faults(name, POLICY)


@pytest.mark.parametrize("name", ["dinkes", "a", "x1", "puskesmas-1.dinkes", "www.dinkes", "nsakti", "a" * 63])
def test_name_faults_finds_none_in_good_name(name: str) -> None:
    assert name_faults(f"{name}.tarakankota.go.id", POLICY) == []


@given(st.text(max_size=80))
def test_name_faults_lets_only_plain_names_through(text: str) -> None:
    if not name_faults(text + ".tarakankota.go.id", POLICY):
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") and not text.startswith((".", "-"))


def test_read_names_every_fault_with_its_line(desk: Desk) -> None:
    path = desk.document("bad.yml", "agency: A\nunit: U\nkind: build\nname: WWW.tarakankota.go.id\n")
    with pytest.raises(Usage) as error:
        request.read(path, POLICY)
    assert "kind (line 3)" in str(error.value) and "name (line 4)" in str(error.value)
    assert "title" in str(error.value) and error.value.code == 2


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: 1\na: 2\n", "given twice"),
        ("a: &x 1\nb: *x\n", "anchors"),
        ("a: !!python/object/apply:os.system [id]\n", "tags"),
        ("a: !!str b\n", "tags"),
        ("[" * 100, "nested"),
        ("{a: " * 100, "nested"),
        ("- a\n", "mapping"),
        ("", "mapping"),
        ("a: [b\n", "not YAML"),
        ("a: \x01\n", "not YAML"),
        ("? [a]\n: b\n", "no text"),
        ("x" * 70000, "larger"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("<<: {a: 1}\n", "Extra inputs|Field required"),
    ],
)
def test_read_refuses_yaml_traps(desk: Desk, text: str, part: str) -> None:
    path = desk.document("bad.yml", text)
    with pytest.raises(Usage, match=part) as error:
        request.read(path, POLICY)
    assert f"{path}:" in str(error.value)


def test_read_refuses_bytes_that_are_no_text(desk: Desk) -> None:
    path = desk.folder / "bad.yml"
    path.write_bytes(b"agency: \xff\xfe\n")
    with pytest.raises(Usage):
        request.read(path, POLICY)


def test_read_refuses_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="not readable"):
        request.read(tmp_path / "none.yml", POLICY)


def test_read_takes_unquoted_numbers_as_text(desk: Desk) -> None:
    path = desk.write(full(desk))
    path.write_text(path.read_text().replace("'8.2'", "8.2").replace("005/1", "0051"))
    found = request.read(path, POLICY)
    assert found.php_version == "8.2" and found.letter.number == "0051"


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": "static", "php_version": None},
        {"writable": ["public"]},
        {"writable": ["a", "a/b"]},
        {"writable": ["a", "a"]},
        {"aliases": ["dinkes.tarakankota.go.id"]},
        {"surprise": "x"},
        {"writable": [""]},
        {"setup_script": "../x.php"},
        {"setup_script": "/x.php"},
        {"setup_script": "a//b"},
        {"document_root": "."},
        {"release": {"archive": "/etc/passwd", "sha256": "0" * 64}},
        {"release": {"archive": "a", "sha256": "0" * 63}},
        {"probe": {"path": "//evil/"}},
        {"probe": {"path": "/../x"}},
        {"probe": {"path": "/\r\nHost: x"}},
        {"probe": {"path": "relative"}},
        {"contact": {"name": "a", "email": "a@b"}},
        {"aliases": "x.tarakankota.go.id"},
        {"aliases": [f"a{n}.tarakankota.go.id" for n in range(30)]},
        {"letter": {"number": "1", "date": "2026-13-01"}},
    ],
)
def test_read_refuses_what_does_not_fit(desk: Desk, change: dict[str, Any]) -> None:
    with pytest.raises(Usage):
        request.read(desk.write(full(desk) | change), POLICY)


def test_digest_changes_with_every_field(desk: Desk) -> None:
    first = Request.model_validate(full(desk))
    for place in (*FREE, ("release", "sha256")):
        changed = put(first.model_dump(mode="json"), place, "b" * 64)
        assert Request.model_validate(changed).digest != first.digest


def test_submit_refuses_archive_reached_by_a_link_out_of_the_folder(desk: Desk) -> None:
    (desk.folder / "sub").mkdir()
    form = desk.form(release={"archive": "link.tar.gz", "sha256": "0" * 64})
    (desk.folder / "sub/link.tar.gz").symlink_to(desk.folder / "situs.tar.gz")
    path = desk.write(form).rename(desk.folder / "sub/request.yml")
    with pytest.raises(Usage, match="no file beside"):
        steps.submit(desk.office, path, desk.letter, "dinkes", None, desk.sign)


@pytest.mark.parametrize(
    "fields",
    [
        {"release": {"archive": "situs.tar.gz", "sha256": "0" * 64}},
        {"document_root": "public"},
        {"runtime": "php", "setup_script": "setup.php"},
        {"runtime": "php", "writable": ["index.html"]},
        {"archive_bytes": b"no archive"},
    ],
)
def test_submit_refuses_archive_that_is_not_as_declared(desk: Desk, fields: dict[str, Any]) -> None:
    with pytest.raises(Refused) as error:
        desk.submit(**fields)
    assert error.value.refusals[0].gate == "release archive"
    assert list(desk.office.register.entries(kind="step")) == []
    assert not list(desk.office.evidence.folder.glob(".new.*"))


def test_submit_refuses_without_letter_or_with_one_that_is_no_pdf(desk: Desk) -> None:
    path = desk.write(desk.form())
    for letter in (None, desk.paper, desk.folder / "none.pdf", desk.folder):
        with pytest.raises(SopError):
            steps.submit(desk.office, path, letter, "dinkes", None, desk.sign)
    assert list(desk.office.register.entries(kind="step")) == []


def test_submit_refuses_actor_who_is_no_agency(desk: Desk) -> None:
    with pytest.raises(Refused, match="kadis is kadis"):
        steps.submit(desk.office, desk.write(desk.form()), desk.letter, "kadis", None, desk.sign)
    with pytest.raises(Usage, match="nobody"):
        steps.submit(desk.office, desk.write(desk.form()), desk.letter, "ghost", None, desk.sign)


def test_example_is_a_good_request() -> None:
    found = request.read(PROJECT / "sop_driver/data/request.example.yml", POLICY)
    assert found.contact.phone == "0551-21234" and found.probe.contains == "Dinas Kesehatan"


@pytest.mark.parametrize("kind", ["suspend", "resume"])
def test_change_of_state_names_the_website_and_describes_nothing(desk: Desk, kind: str) -> None:
    asked = request.read(desk.write(desk.form(kind=kind)), desk.config.name_policy)
    assert (asked.branch, asked.release, asked.title) == ("update", None, None)
    kept = Request.model_validate(asked.model_dump(mode="json"))
    assert kept.model_dump() == asked.model_dump(), "as the register keeps it"
    with pytest.raises(Usage, match=f"a request of kind {kind} has no aliases, title: the website stays as it is"):
        request.read(desk.write(desk.form(kind=kind, title="Baru", aliases=["a.tarakankota.go.id"])),
                      desk.config.name_policy)


def test_request_in_the_register_stays_readable_where_a_form_is_refused(desk: Desk) -> None:
    """A form of before could name what no web host takes."""
    old = full(desk) | {"writable": [".data"]}
    assert Request.model_validate(old).writable == [".data"]
    spaced = Request.model_validate(full(desk) | {"purpose": "satu.  Dua\u00a0tiga \u2764\ufe0f"})
    assert Request.model_validate(spaced.model_dump(mode="json")).digest == spaced.digest
    with pytest.raises(Usage, match=r"writable \(line \d+\): each part of '\.data' must begin with a letter, a digit"):
        request.read(desk.write(old), POLICY)


@pytest.mark.parametrize("field", ["title", "runtime", "release"])
@pytest.mark.parametrize("kind", ["create", "update"])
def test_website_that_is_made_or_updated_is_described_as_a_whole(desk: Desk, kind: str, field: str) -> None:
    form = {name: value for name, value in desk.form(kind=kind).items() if name != field}
    with pytest.raises(Usage, match=rf"{field} \(line 1\): is missing: who asks"):
        request.read(desk.write(form), desk.config.name_policy)


PROXY = {"runtime": "proxy", "program": "python3", "entry": "app.py"}


@pytest.mark.parametrize(("more", "says"), [
    ({}, None), ({"database": "mariadb", "writable": ["isi"], "setup_script": "setup.py"}, None),
    ({"program": "bash"}, "program"), ({"program": None}, "has a program and an entry"),
    ({"entry": None}, "has a program and an entry"), ({"entry": "../app.py"}, "entry"),
    ({"document_root": "public"}, "no php_version or document_root"),
    ({"runtime": "static"}, "belong to runtime: proxy"),
])
def test_application_names_its_program_and_entry(desk: Desk, more: dict[str, Any], says: str | None) -> None:
    path = desk.write(desk.form(**{**PROXY, **more}))
    if says:
        with pytest.raises(Usage, match=says):
            request.read(path, POLICY)
    else:
        assert request.read(path, POLICY).program == "python3"


def test_entry_must_be_a_file_of_the_release(desk: Desk) -> None:
    with pytest.raises(Refused, match=r"entry 'app\.py' is no file in it"):
        desk.submit(**PROXY)
    desk.submit(**PROXY, archive_bytes=tar_of({"app.py": "serve()"}))

"""What lies beside the register and cannot be relied on stops gates, never reading."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from driver.cluster import Cluster
from driver.desk import Desk, FakeFleet
from driver.test_cli import Sop, fleet, sop
from sop_driver import desired, entrance, report, standing
from sop_driver.desired import Website
from sop_driver.errors import Refused
from sop_driver.evidence import SALT, Evidence
from sop_driver.register import Register, utc_now

__all__ = ["fleet", "sop"]
OTHER = "other.tarakankota.go.id"


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def sop_of(desk: Desk, request: str) -> Path:
    return desk.office.evidence.path(standing.stand(desk.office, request).procedure.hash)


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (b"", b"#", "evidence"),
        (b"title:", b"title: [", "data/sop-"),
        (b"request_letter", b"request_lettex", "data/sop-"),
    ],
    ids=["one octet", "no YAML any more", "another first step"],
)
def test_changed_sop_stops_gates_and_is_read_with_a_warning(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes, shown: str
) -> None:
    now = utc_now()  # the status tells by the second how late a step is
    monkeypatch.setattr(entrance, "Register", functools.partial(Register, now=lambda: now))
    request, path = desk.approved(), sop_of(desk, desk.submit(name=OTHER))
    before = sop("status")[1], sop("history", request)[1]
    assert old in path.read_bytes()
    overwrite(path, new + path.read_bytes() if not old else path.read_bytes().replace(old, new))
    desk.office.procedures.clear()
    code, out, err = sop("status")
    assert (code, out) == (0, before[0]) and out.count("next: ") == 2
    assert err.startswith(f"warning: {path} was changed, the last time at 20") and err.count("warning:") == 1
    assert shown in err.split("shown by ")[1]
    assert sop("history", request) == (0, before[1], "")
    code, out, err = sop("report", request)
    assert code == 0 and "| 5 |" in out and f"warning: {path} was changed" in err
    for gate in (lambda: desk.run(request), lambda: desk.take(request, "review")):
        with pytest.raises(Refused, match="was changed"):
            gate()
    assert desk.fleet.played == []


def test_missing_sop_is_read_with_a_warning(desk: Desk, sop: Sop) -> None:
    request = desk.approved()
    path = sop_of(desk, request)
    path.unlink()
    desk.office.procedures.clear()
    for words in (("status",), ("status", request), ("report", request)):
        code, out, err = sop(*words)
        assert code == 0 and "dinkes.tarakankota.go.id" in out.replace("\\", "")
        assert f"warning: {path} cannot be read (No such file or directory); its requests are shown by" in err
    with pytest.raises(Refused, match="cannot be read"):
        desk.run(request)


@pytest.mark.parametrize("value", [b"", b"{", b'{"name":5}', b"[1]", b"[" * 9999, b"\xff", b'"{"'],
                         ids=["nothing", "no JSON", "half", "a list", "deep", "no text", "a text"])
def test_what_was_sealed_otherwise_ends_no_reading(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch, value: bytes
) -> None:
    """An agency, or two officials, with a changed driver; the hash alone is checked."""
    def seal(evidence: Evidence, _: object, purpose: str) -> str:
        (path := desk.folder / "sealed").write_bytes(purpose.encode().ljust(SALT)[:SALT] + value)
        return evidence.add(path)

    with monkeypatch.context() as changed:
        changed.setattr(Evidence, "seal", seal)
        request = desk.submit()
        desk.enroll("bappeda", "pd", subject="any")
    for words in (("report", request), ("status", request), ("actors", "list"), ("register", "verify")):
        code, _, err = sop(*words)
        assert (code, err) == (0, "")
    desk.enroll("bpkad", "pd", subject="another")
    assert standing.stand(desk.office, desk.submit(replace=request)).request.contact


def test_changed_personal_data_are_shown_as_changed(desk: Desk, sop: Sop) -> None:
    request = desk.approved()
    contact = desk.office.evidence.path(str(standing.stand(desk.office, request).request.contact).split(":")[1])
    name = desk.office.evidence.path(desk.office.people().actors["kadis"].name.split(":")[1])
    for path in (contact, name):
        overwrite(path, b"x" * 40)
    text = "\n".join(report.report(desk.office, request)).replace("\\", "")
    assert f"Contact: changed ({contact})" in text and sop("report", request)[0] == 0
    assert any(line.startswith(f"kadis  changed ({name})") for line in report.actors(desk.office))
    code, out, _ = sop("actors", "list", "--json")
    assert code == 0 and f"changed ({name})" in out


@pytest.mark.parametrize(("changed", "named"), [
    ("UPDATE alembic_version SET version_num = '1003'", "1003, where 0004 is due: a newer sop brought it there"),
    ("UPDATE alembic_version SET version_num = '0001'", "0001, where 0004 is due: somebody changed that"),
    ("DELETE FROM alembic_version", "no revision, where 0004 is due: somebody changed that")])
def test_changed_revision_stops_gates_and_is_read_with_a_warning(
    desk: Desk, sop: Sop, fleet: FakeFleet, changed: str, named: str
) -> None:
    request = desk.approved()
    shown = sop("history", request)[1]
    desk.office.register.db.exec_driver_sql(changed)
    for words in (("status",), ("list",), ("report", request), ("actors", "list"), ("emergency", "list")):
        code, _, err = sop(*words)
        assert code == 0 and err.startswith(f"warning: its table alembic_version names {named}"), (words, err)
    assert sop("history", request)[:2] == (0, shown)
    code, out, _ = sop("register", "verify")
    assert code == 1 and out.startswith(f"entry 10: its table alembic_version names {named}")
    path = desk.write(desk.form())
    for gate in (("run", request), ("submit", path, "--letter", desk.letter, "--as", "dinkes")):
        code, _, err = sop(*gate)
        assert code == 3 and "names" in err and "\ngate: the register\nmend: " in err, (gate, err)
    assert fleet.played == []


@pytest.mark.parametrize("desk", ["shared_desk"], indirect=True)
def test_connection_that_breaks_off_before_the_register_is_shown_is_made_anew(
    desk: Desk, sop: Sop, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, real = desk.submit(), desired.fold

    def cut(register: Register) -> dict[str, Website]:
        (pid,) = register.db.exec_driver_sql("SELECT pg_backend_pid()").one()
        cluster.admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return real(register)

    desk.office.home.desired.unlink(missing_ok=True)
    with monkeypatch.context() as broken:
        broken.setattr(desired, "fold", cut)
        code, out, _ = sop("status")
    assert code == 0 and request in out
    assert not desk.office.home.desired.exists()


@pytest.mark.parametrize("desk", ["shared_desk"], indirect=True)
def test_operator_that_was_planted_decides_nothing_that_is_shown(desk: Desk, sop: Sop) -> None:
    """A gate or a writer refuses it; who only reads would miss entries, and see no warning."""
    request = desk.submit()
    commands = (("history", request), ("report", request), ("actors", "list"))
    before = [sop(*words) for words in commands]
    db, kinds = desk.office.register.db, ("text", "varchar", "bigint", "int", "smallint", "numeric")
    for left in kinds:
        for right in kinds:
            db.exec_driver_sql(f"CREATE FUNCTION never({left}, {right}) RETURNS bool LANGUAGE sql AS 'SELECT false'")
            for name in ("=", "<", ">"):
                db.exec_driver_sql(f"CREATE OPERATOR {name} (LEFTARG={left}, RIGHTARG={right}, FUNCTION=never)")
    assert [sop(*words) for words in commands] == before and before[0][1].count("\n") == 1
    assert sop("register", "verify")[0] == 1


def test_full_disk_stops_no_reading(desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    request = desk.submit()
    desk.office.home.desired.unlink(missing_ok=True)
    monkeypatch.setattr(desired, "write_atomic", full)
    code, out, _ = sop("status")
    assert code == 0 and request in out

"""A register goes from SQLite to PostgreSQL and back, every octet as it was, and never becomes two."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from driver.cluster import Cluster
from driver.desk import Desk
from driver.test_cli import Sop, sop
from driver.test_store import rows
from sop_driver import transfer, trust
from sop_driver.errors import Failed, Refused, Usage
from sop_driver.register import Register

__all__ = ["sop"]


def test_copy_to_postgresql_and_back_keeps_every_octet(
    file_desk: Desk, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sop_driver.transfer.BATCH", 4)  # so that the few entries come in several portions
    file_desk.approved(title="Dinas Kesehatan “Kota” é")
    before, home, name = rows(file_desk), file_desk.office.home.path, cluster.create()
    root = file_desk.office.register.tree_of(9).root().hex()
    assert transfer.copy(file_desk.place, cluster.url(name), home) == (9, root)
    file_desk.place = cluster.url(name)
    file_desk.office.register = file_desk.register()
    assert rows(file_desk) == before and trust.examine(file_desk.office).findings == []
    assert file_desk.submit() == "R-2026-0002"
    assert transfer.copy(cluster.url(name), str(home / "back.db"), home)[0] == 10
    before = rows(file_desk)
    file_desk.office.register.close()
    file_desk.place = str(home / "back.db")
    file_desk.office.register = file_desk.register()
    assert rows(file_desk) == before and trust.examine(file_desk.office).findings == []
    cluster.drop(name)


def test_original_goes_no_further_once_the_copy_does(file_desk: Desk, tmp_path: Path) -> None:
    """Else there would be two registers, each with good signatures."""
    file_desk.submit()
    original = file_desk.office.register
    transfer.copy(file_desk.place, str(tmp_path / "new.db"), file_desk.office.home.path)
    file_desk.place = str(tmp_path / "new.db")
    file_desk.office.register = file_desk.register()
    file_desk.take("R-2026-0001", "agenda")
    with pytest.raises(Refused, match="it has 2 entries"):
        original.append("record")


def test_copy_goes_no_further_once_the_original_did(file_desk: Desk, tmp_path: Path) -> None:
    """By a driver that did not know of the copy: what it recorded would be missing."""
    request, target, home = file_desk.submit(), str(tmp_path / "new.db"), file_desk.office.home.path
    transfer.copy(file_desk.place, target, home)
    file_desk.take(request, "agenda")
    copied = Register(target, file_desk.clock, home)
    with pytest.raises(Refused, match="it has 2 entries"):
        copied.append("record")
    copied.close()
    assert transfer.copy(file_desk.place, str(tmp_path / "again.db"), home)[0] == 3


def test_who_writes_while_the_copy_is_written_to_is_told(file_desk: Desk, tmp_path: Path) -> None:
    """Both found the same last checkpoint; only one of the two goes on, and nobody may think that theirs does."""
    file_desk.submit()
    target, home = str(tmp_path / "new.db"), file_desk.office.home.path
    transfer.copy(file_desk.place, target, home)
    with contextlib.closing(Register(target, file_desk.clock, home)) as copied:
        told = r"3 entries are in .*/checkpoint, and the last of them are not those of this"
        with pytest.raises(Failed, match=told), file_desk.office.register.writing():
            file_desk.office.register.append("record")
            copied.append("record", reason="another one")
        assert copied.append("record").sequence == 4
    with pytest.raises(Refused, match="it has 3 entries"):
        file_desk.office.register.append("record")


def test_copy_refuses_what_is_not_empty_and_what_is_the_same(file_desk: Desk, tmp_path: Path) -> None:
    file_desk.submit()
    home = file_desk.office.home.path
    transfer.copy(file_desk.place, str(tmp_path / "new.db"), home)
    with pytest.raises(Refused, match="is not empty"):
        transfer.copy(file_desk.place, str(tmp_path / "new.db"), home)
    with pytest.raises(Usage, match="the same place"):
        transfer.copy(file_desk.place, file_desk.place, home)
    assert trust.examine(file_desk.office).findings == []


def test_copy_that_differs_is_not_kept(file_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_desk.submit()
    monkeypatch.setattr("sop_driver.transfer.leaf_hash", lambda text: b"x" * 32)
    target = str(tmp_path / "new.db")
    with pytest.raises(Exception, match="not what was copied"):
        transfer.copy(file_desk.place, target, file_desk.office.home.path)
    monkeypatch.undo()
    assert transfer.copy(file_desk.place, target, file_desk.office.home.path)[0] == 2


def test_copy_of_a_register_that_was_changed_is_refused(file_desk: Desk, tmp_path: Path) -> None:
    file_desk.submit()
    file_desk.office.register.checkpoint_file.unlink()
    with pytest.raises(Refused, match="cannot be relied on"):
        transfer.copy(file_desk.place, str(tmp_path / "new.db"), file_desk.office.home.path)


def test_copy_by_the_command(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    desk.submit()
    code, out, err = sop("register", "copy", desk.place, tmp_path / "copy.db")
    assert code == 0 and out.startswith("copied: 2 entries, root "), err
    assert "whichever of the two is written to first goes on alone" in out
    assert sop("register", "copy", desk.place, tmp_path / "copy.db")[0] == 3


def test_copy_of_what_is_not_there_makes_nothing(file_desk: Desk, tmp_path: Path) -> None:
    """A slip in the name would look like a register that is gone, and leave two empty ones."""
    typo, target = tmp_path / "regsiter.db", tmp_path / "new.db"
    for place in (str(typo), f"sqlite:///{typo}"):
        with pytest.raises(Usage, match=f"no register is there(?s:.*){typo}"):
            transfer.copy(place, str(target), file_desk.office.home.path)
    assert not typo.exists() and not target.exists()


def test_register_is_not_copied_while_a_run_is_under_way(file_desk: Desk, cluster: Cluster) -> None:
    """It would end in one of the two, and be put back by the other."""
    request, url, said = file_desk.approved(), cluster.url(cluster.create()), list[str]()

    def under_way(playbook: str, check: bool) -> None:
        if playbook == "probe.yml":
            with pytest.raises(Refused) as error:
                transfer.copy(file_desk.place, url, file_desk.office.home.path)
            said.append(str(error.value))

    file_desk.fleet.on_play = under_way
    file_desk.run(request)
    assert "run-000001 has no end yet (entry 10)" in said[0]
    assert transfer.copy(file_desk.place, url, file_desk.office.home.path)[0] == file_desk.office.register.head()[0]

"""The servers' backup code around restic: the list of websites, snapshots, retention, proof and restore in place."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.transaction import Refused
from backup_cases import (
    NAME,
    RELEASE,
    ours,
    prepared,
    refuse,
    repository,
    restore,
    row,
    server,
    settings,
    site,
    snapshot,
    with_database,
)
from website_backup import database, manifest

__all__ = ["ours", "site"]


@pytest.mark.parametrize("values", [
    {"name": "--in-place"}, {"name": "x\n.go.id"}, {"uid": 0}, {"uid": True}, {"uid": "20001"}, {"release": {}},
    {"release": {"sha256": "zz"}}, {"paths": {"release": "/etc", "data": "/etc"}},
    {"database": {"engine": "sqlite", "address": "10.0.0.1", "port": 1}},
    {"database": {"engine": "mariadb", "address": "-oProxyCommand=x", "port": 3306}},
    {"database": {"engine": "mariadb", "address": "10.0.0.1", "port": 0}}, {"state": None, "name": 7}])
def test_list_distrusts_an_entry_and_keeps_the_others(tmp_path, values):
    given = server(tmp_path, [{**row(tmp_path), **values}, {**row(tmp_path), "uid": 20002}, "text"])
    good, bad = settings.read_websites(given)
    assert [w.uid for w in good] == [20002] and len(bad) == 2


def test_list_refuses_a_folder_that_leaves_the_website(tmp_path):
    paths = {"release": str(tmp_path / "srv" / NAME / "../other"), "data": str(tmp_path / "srv" / NAME / "data")}
    _, bad = settings.read_websites(server(tmp_path, [row(tmp_path, paths=paths)]))
    assert "which is not in" in bad[NAME]


def test_list_leaves_out_what_is_purged(tmp_path):
    assert settings.read_websites(server(tmp_path, [row(tmp_path, state="purged")])) == ([], {})


def test_backup_snapshots_only_what_is_missing(ours):
    given, _ = ours
    first = snapshot.backup(given, [], only_missing=True, plan=False)
    again = snapshot.backup(given, [], only_missing=True, plan=False)
    assert first.planned == [NAME] and again.planned == []
    assert again.snapshots[NAME] == {"id": "00000000", "time": "2026-11-24T01:30:00Z", "release": RELEASE[:12],
                                     "next_run": None, "bytes": 9, "files": 2}


def test_backup_snapshots_again_when_the_release_changed(ours, tmp_path):
    given, _ = ours
    snapshot.backup(given, [], only_missing=True, plan=False)
    Path(given.websites_file).write_text(json.dumps([row(tmp_path, release={"sha256": "f" * 64})]))
    assert snapshot.backup(given, [], only_missing=True, plan=True).planned == [NAME]


def test_backup_plan_touches_nothing(ours):
    given, copies = ours
    assert snapshot.backup(given, [], only_missing=False, plan=True).planned == [NAME]
    assert copies.snapshots() == [] and list(given.state_folder.iterdir()) == []


def test_backup_fails_for_a_website_that_is_not_here(ours):
    given, _ = ours
    report = snapshot.backup(given, ["other.go.id"], only_missing=False, plan=False)
    assert list(report.failures) == ["other.go.id"] and "not installed on web1" in report.failures["other.go.id"]


def test_backup_fails_when_a_declared_folder_is_gone(ours, site):
    given, copies = ours
    (site / "data").rename(site / "elsewhere")
    (site / "data").symlink_to("/etc")
    assert "is not a folder" in snapshot.backup(given, [], only_missing=False, plan=False).failures[NAME]
    assert copies.snapshots() == []


def test_backup_makes_no_snapshot_without_the_dump(ours, tmp_path, monkeypatch):
    given, copies = ours
    with_database(given, tmp_path)
    assert "holds no mariadb credential" in snapshot.backup(given, [], only_missing=False, plan=False).failures[NAME]
    assert copies.snapshots() == [] and not list(given.state_folder.glob("*/database.sql"))


def test_backup_removes_the_dump_when_restic_fails(ours, tmp_path, monkeypatch):
    given, copies = ours
    with_database(given, tmp_path)
    monkeypatch.setattr(database, "dump", lambda site, given, path: path.write_text("dump"))
    monkeypatch.setattr(copies, "backup", refuse)
    assert snapshot.backup(given, [], only_missing=False, plan=False).failures == {NAME: "restic says no"}
    assert not list(given.state_folder.glob("*/database.sql"))


def test_backup_takes_the_configuration_that_is_there(ours, tmp_path):
    given, copies = ours
    (tmp_path / "web/w20001.conf").write_text("pool")
    snapshot.backup(given, [], only_missing=False, plan=False)
    kept = [path.name for path in copies.store.rglob("*.conf")]
    assert kept == ["w20001.conf"]


def test_nightly_forgets_nothing_of_a_failed_website(ours, monkeypatch):
    given, copies = ours
    monkeypatch.setattr(copies, "backup", refuse)
    report = snapshot.nightly(given)
    assert report.failures == {NAME: "restic says no"} and "forget" not in {words[0] for words in copies.calls}


def test_nightly_forgets_by_the_retention_and_prunes_once_a_week(ours):
    given, copies = ours
    snapshot.nightly(given)
    snapshot.nightly(given)
    forget = ("forget", "--host", "web1", "--tag", f"website={NAME}", "--group-by", "host", "--keep-daily", "7")
    assert copies.calls == [forget, ("prune",), ("check", "--read-data-subset=5%"), forget]


def test_nightly_tells_of_a_failed_check(ours, monkeypatch):
    given, copies = ours
    monkeypatch.setattr(copies, "check", refuse)
    assert snapshot.nightly(given).failures == {"(repository)": "restic says no"}
    assert not (given.state_folder / "pruned").exists()


def test_orphans_are_websites_with_snapshots_that_are_gone(ours):
    given, _ = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    Path(given.websites_file).write_text("[]")
    assert snapshot.backup(given, [], only_missing=False, plan=True).orphans == [NAME]


def test_manifest_hashes_files_and_names_links(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "l").symlink_to("/etc/shadow")
    (tmp_path / "d").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    files = manifest.take([tmp_path], {}, 0)
    assert {Path(path).name: set(entry) for path, entry in files.items()} == {
        "a": {"sha256", "stamp"}, "l": {"link"}, "d": {"link"}}


def test_manifest_reads_again_only_what_may_have_changed(tmp_path):
    file = tmp_path / "a"
    file.write_text("x")
    first = manifest.take([tmp_path], {}, 0)
    known = {str(file): {**first[str(file)], "sha256": "remembered"}}
    later = first[str(file)]["stamp"][2] + 2 * manifest.SLACK
    assert manifest.take([tmp_path], known, later)[str(file)]["sha256"] == "remembered"
    assert manifest.take([tmp_path], known, 0) == first


def test_proof_names_a_file_that_differs(ours, site):
    given, copies = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    next(copies.store.rglob("index.html")).write_text("rotten")
    facts, failures = restore.verify(given, [], "5%")
    assert facts == {} and "1 of 3 files" in failures[NAME] and "index.html" in failures[NAME]


def test_proof_allows_an_upload_that_changed_meanwhile(ours, site):
    given, copies = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    upload = next(copies.store.rglob("photo.jpg"))
    upload.write_text("newer")
    assert restore.verify(given, [], "5%")[0][NAME]["changed_meanwhile"] == 1


@pytest.mark.parametrize(("gone_here", "well"), [(True, True), (False, False)])
def test_proof_allows_a_missing_upload_only_when_it_is_gone_here_too(ours, site, gone_here, well):
    given, copies = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    next(copies.store.rglob("photo.jpg")).unlink()
    if gone_here:
        (site / "data/uploads/photo.jpg").unlink()
    assert (NAME in restore.verify(given, [], "5%")[0]) is well


def test_restore_in_place_exchanges_files_and_keeps_the_old(ours, site):
    given, _ = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    (site / "data/uploads/photo.jpg").unlink()
    (site / "data/uploads/shell.php").write_text("<?php")
    facts = restore.in_place(given, NAME, "latest", with_database=True, plan=False)
    assert [path.name for path in (site / "data/uploads").iterdir()] == ["photo.jpg"]
    assert Path(facts["previous"], "data/uploads/shell.php").exists() and facts["database"] is False
    assert sorted(path.name for path in site.parent.iterdir()) == sorted([NAME, Path(facts["previous"]).name])


def test_restore_in_place_changes_nothing_when_the_snapshot_is_rotten(ours, site):
    given, copies = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    next(copies.store.rglob("index.html")).write_text("rotten")
    with pytest.raises(Refused, match="not what the manifest says"):
        restore.in_place(given, NAME, "latest", with_database=True, plan=False)
    assert [path.name for path in site.parent.iterdir()] == [NAME]


def test_restore_in_place_puts_all_back_when_the_exchange_fails(ours, site, tmp_path, monkeypatch):
    given, loads = prepared(ours, tmp_path, monkeypatch)
    (site / "data/uploads/newer").write_text("kept")
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: refuse() if "/.restore-" in f"{path}" and "0123" in f"{to}"
                        else rename(path, to))
    with pytest.raises(Refused, match="restic says no"):
        restore.in_place(given, NAME, "latest", with_database=True, plan=False)
    assert (site / "data/uploads/newer").exists() and (site / "releases/0123").is_dir()
    assert [path.parent.name.startswith(".before-restore-") for path in loads] == [False, True]
    assert [path.name for path in site.parent.iterdir()] == [NAME]


def test_restore_in_place_says_where_all_lies_when_putting_back_fails(ours, site, tmp_path, monkeypatch):
    given, _ = prepared(ours, tmp_path, monkeypatch)
    monkeypatch.setattr(database, "load", refuse)
    with pytest.raises(Refused, match="not be put back either") as refused:
        restore.in_place(given, NAME, "latest", with_database=True, plan=False)
    kept = Path(refused.value.mend.rsplit(" ", 1)[-1])
    assert (kept / "database.sql").exists()


def test_restore_without_database_loads_nothing(ours, tmp_path, monkeypatch):
    given, loads = prepared(ours, tmp_path, monkeypatch)
    assert restore.in_place(given, NAME, "latest", with_database=False, plan=False)["database"] is False
    assert loads == []


def test_restore_refuses_a_folder_that_holds_something(ours, site):
    given, _ = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    with pytest.raises(Refused, match="not an empty folder"):
        restore.to_folder(given, NAME, "latest", site, plan=False)


def test_restore_names_the_snapshots_there_are_when_one_is_unknown(ours):
    given, _ = ours
    snapshot.backup(given, [], only_missing=False, plan=False)
    with pytest.raises(Refused) as refused:
        restore.in_place(given, NAME, "ffffffff", with_database=True, plan=True)
    assert "00000000 (2026-11-24T01:30:00Z)" in refused.value.mend


@pytest.mark.parametrize(("engine", "password", "text"), [
    ("mariadb", 'a"b\\c#', 'password="a\\"b\\\\c#"\n'), ("postgresql", "a:b\\c", "*:*:*:*:a\\:b\\\\c\n")])
def test_login_file_quotes_the_password(ours, tmp_path, engine, password, text):
    assert text in database.login_file(with_database(ours[0], tmp_path, engine), password)


@pytest.mark.parametrize(("engine", "text", "whole"), [
    ("mariadb", "x\n-- Dump completed on 2026-11-24\n", True), ("mariadb", "INSERT 1;\n", False),
    ("postgresql", "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n", True),
    ("postgresql", "", False)])
def test_dump_is_whole_when_it_ends_with_the_tools_last_words(tmp_path, engine, text, whole):
    (tmp_path / "dump").write_text(text)
    assert database.is_complete(tmp_path / "dump", engine) is whole


def answers(monkeypatch, ours, *done):
    """The true Repository, with what restic would say to each call in turn."""
    said = [subprocess.CompletedProcess([], code, out, err) for code, out, err in done]
    true = repository.Repository(ours[0])
    calls = []
    monkeypatch.setattr(true, "_once", lambda words, timeout: calls.append(words[0]) or said.pop(0))
    return true, calls


SUMMARY = json.dumps({"message_type": "summary", "snapshot_id": "0123456789abcdef", "total_bytes_processed": 3,
                      "total_files_processed": 1})
TAGS = ["website=a.go.id", "release=ab", "uid=20001"]


def test_restic_lock_of_a_killed_run_is_taken_away_once(monkeypatch, ours):
    locked = (1, "", "unable to create lock in backend: repository is already locked by PID 7")
    true, calls = answers(monkeypatch, ours, locked, (0, "", ""), (0, "done", ""))
    assert true.call("prune") == "done" and calls == ["prune", "unlock", "prune"]


@pytest.mark.parametrize(("item", "kept"), [("/no/such/upload", True), ("/etc/hostname", False)])
def test_restic_snapshot_without_a_file_that_is_still_there_is_taken_back(monkeypatch, ours, item, kept):
    unread = json.dumps({"message_type": "error", "error": {"message": "open: denied"}, "item": item})
    true, calls = answers(monkeypatch, ours, (3, SUMMARY, unread), (0, "", ""))
    if kept:
        assert true.backup(TAGS, ["/x"], None)[0].id == "01234567" and calls == ["backup"]
    else:
        with pytest.raises(Refused, match=r"incomplete: .*open: denied"):
            true.backup(TAGS, ["/x"], None)
        assert calls == ["backup", "forget"]


def test_restic_repository_is_not_made_on_a_mere_fault_of_the_way(monkeypatch, ours):
    true, calls = answers(monkeypatch, ours, (1, "", "Fatal: unable to open repo: ssh: connection refused"))
    with pytest.raises(Refused, match="connection refused"):
        true.initialise()
    assert calls == ["cat"]


@pytest.mark.parametrize("said", [
    "Fatal: repository does not exist: unable to open config file",
    "Fatal: unable to open config file\nIs there a repository at the following location?"])
def test_restic_repository_is_made_where_there_is_none(monkeypatch, ours, said):
    true, calls = answers(monkeypatch, ours, (10, "", said), (0, "", ""))
    assert true.initialise() is True and calls == ["cat", "init"]


def test_restic_time_is_told_in_utc():
    shot = repository.parse_snapshot({"id": "0" * 64, "time": "2026-11-24T09:30:00.123456789+08:00", "tags": TAGS})
    assert (shot.id, shot.time, shot.website) == ("00000000", "2026-11-24T01:30:00Z", "a.go.id")


def test_restic_snapshot_of_something_else_is_not_ours():
    assert repository.parse_snapshot({"id": "0", "time": "2026-11-24T01:30:00Z", "tags": ["manual"]}) is None

"""What the backup must be, seen on each server as a client, as a backup server, and after all that was done to it."""

import json
import re

import pytest

STATE = "/var/lib/websites/backup"
RELEASE = ("0123456789abcdef" * 4)[:16]
SITES = {"dinkes.tarakankota.go.id": 20001, "disdik.tarakankota.go.id": 20002, "arsip.tarakankota.go.id": 20003}
GONE = "taman.tarakankota.go.id"  # removed by stages/remove.yml


def read(host, path):
    return json.loads(host.file(path).content_string)


@pytest.fixture
def settings(host):
    return read(host, "/etc/websites/backup/backup.json")


@pytest.fixture
def ssh(settings):
    """The client's own way to its backup server, without the SFTP at its end."""
    return settings["sftp_command"].removesuffix(" -s sftp")


@pytest.fixture
def sftp(host, settings):
    """Run one SFTP command as the client does and give its output."""
    words = settings["sftp_command"].removeprefix("ssh ").split(" -l ")
    user, address, *_ = words[1].split()
    return lambda command: host.run(f"echo '{command}' | sftp -q {words[0]} -b - {user}@{address} 2>&1")


@pytest.fixture
def snapshots(host):
    return json.loads(host.check_output("website-backup list --json"))["snapshots"]


def query(host, engine, text):
    if engine == "mariadb":
        return host.check_output("mariadb -N -B w20002 -e %s", text)
    return host.check_output("cd / && runuser -u postgres -- psql -qtA w20003 -c %s", text)


def test_client_gets_no_shell(host, ssh):
    """A web host that is taken over must not become a way into the backup server."""
    assert host.run(f"{ssh} id").stdout.strip() in ("", "This service allows sftp connections only.")


def test_client_forwards_no_port(host, ssh):
    """Nor a way through it into the servers' network."""
    assert "administratively prohibited" in host.run(f"timeout 5 {ssh} -W 127.0.0.1:22 2>&1; true").stdout


def test_client_sees_only_its_repository(host, sftp):
    """One web host must not see that others have backups, let alone read them."""
    assert "/repository/config" in sftp("ls -1 /repository").stdout
    assert all(f'"{path}" not found' in sftp(f"ls {path}").stdout for path in ("/etc", "/srv"))


def test_client_writes_nothing_beside_its_repository(host, sftp):
    """The chroot itself is root's; sshd would refuse one that its user could change."""
    assert "denied" in sftp("mkdir /other").stdout.lower()


def test_authorised_key_is_restricted_to_its_client(host):
    """A stolen key is worth nothing from another address, and even from there it only speaks SFTP."""
    keys = host.check_output("cat /etc/ssh/websites-backup/*").splitlines()
    assert keys and all(re.match(r'restrict,from="[0-9a-f.:,/]+" ssh-ed25519 ', key) for key in keys)


def test_host_key_is_pinned_in_a_file_of_its_own(host, settings):
    """Another machine at the backup server's address must not receive the city's data."""
    assert "StrictHostKeyChecking=yes" in settings["sftp_command"]
    assert host.file("/etc/websites/backup/known_hosts").content_string.count("ssh-ed25519") == 1


@pytest.mark.parametrize("path", ["id_ed25519", "repository-password", "backup.json", "known_hosts"])
def test_secrets_are_roots_alone(host, path):
    """Whoever reads the password and a copy of the repository reads every website."""
    file = host.file(f"/etc/websites/backup/{path}")
    assert (file.user, file.mode) == ("root", 0o600)


def test_kept_passwords_are_roots_alone(host):
    """The backup server keeps its clients' passwords, so that a lost web host does not lose its backups."""
    kept = host.check_output("stat -c '%U %a' /etc/websites/backup-keys /etc/websites/backup-keys/*").splitlines()
    assert kept == ["root 700", "root 600"]


def test_timer_runs_every_night_and_catches_up(host):
    """A server that was off at half past one must still make its backup that day."""
    timer = host.service("website-backup.timer")
    assert timer.is_enabled and timer.is_running
    assert "Persistent=true" in host.file("/etc/systemd/system/website-backup.timer").content_string


def test_each_website_has_snapshots_of_its_own(snapshots):
    """A website is restored, kept and let go by itself."""
    assert {shot["website"] for shot in snapshots} == {*SITES, GONE}


def test_change_of_the_nightly_time_is_the_timers(host):
    """An administrator moves the backups out of office hours, and must not find out by a slow website."""
    timer = host.check_output("systemctl show -p TimersCalendar -p RandomizedDelayUSec website-backup.timer")
    assert "OnCalendar=*-02-29 02:15:00" in timer and "RandomizedDelayUSec=10min" in timer


def test_change_of_the_settings_touches_nothing_else(host):
    """New keys, a new password or new snapshots would be another backup, not a changed one."""
    change = read(host, "/root/change.json")
    assert "repository-password" in change["before"] and change["before"] == change["after"]
    assert change["changes"] == []


def test_changed_retention_lets_a_month_go(snapshots):
    """The agency now keeps two months: the month before goes in the next night, where twelve would have kept it."""
    times = [shot["time"] for shot in snapshots if shot["website"] == "dinkes.tarakankota.go.id"]
    assert "2025-11-03T14:00:00Z" in times
    assert not any(time.startswith("2025-10") for time in times)


def test_removed_website_is_told_as_one_that_only_has_snapshots(host):
    """Nobody else would know that the backup server still holds data of it; the others are untouched."""
    removed = read(host, "/root/removed.json")
    assert removed["orphans"] == [GONE] and removed["changes"] == []
    assert read(host, "/root/nightly.json")["orphans"] == [GONE]


def test_removed_website_keeps_every_snapshot(snapshots):
    """Who removed it by mistake finds that out months later; the nightly retention is for what is still there."""
    times = [shot["time"] for shot in snapshots if shot["website"] == GONE]
    assert len(times) == 2 and times[0].startswith("2025-10-05")


def test_removed_website_can_be_had_back(host):
    """A kept snapshot is worth what can be restored of it, on a server where nothing of the website is left."""
    assert not host.file(f"/srv/websites/{GONE}").exists and not host.user("w20004").exists
    host.check_output("rm -rf /root/taman && website-backup restore %s --target /root/taman", GONE)
    photo = host.file(f"/root/taman/srv/websites/{GONE}/data/uploads/photo.jpg")
    assert photo.content == b"photo of 20004" * 10_000


def test_no_dump_or_login_is_left(host):
    """A dump outside of the repository is a copy of the data that nobody guards."""
    assert host.check_output(f"find {STATE} /run -name '*.sql' -o -path '/run/website-backup-*'") == ""


@pytest.mark.parametrize("name", ["disdik.tarakankota.go.id", "arsip.tarakankota.go.id"])
def test_restore_in_place_brings_files_back(host, name):
    """What the damage took is there again, with its owner and content."""
    photo = host.file(f"/srv/websites/{name}/data/uploads/photo.jpg")
    assert photo.content == f"photo of {SITES[name]}".encode() * 10_000 and photo.uid == SITES[name]


@pytest.mark.parametrize("name", ["disdik.tarakankota.go.id", "arsip.tarakankota.go.id"])
def test_restore_in_place_removes_what_was_added(host, name):
    """A defacer's file among the uploads must not survive the restore."""
    assert not host.file(f"/srv/websites/{name}/data/uploads/shell.php").exists
    assert "Beranda" in host.file(f"/srv/websites/{name}/releases/{RELEASE}/index.html").content_string


@pytest.mark.parametrize("name", ["disdik.tarakankota.go.id", "arsip.tarakankota.go.id"])
def test_restore_in_place_keeps_what_was_there(host, name):
    """A restore of the wrong snapshot can itself be undone: files and database before it are kept."""
    kept = host.check_output(f"ls -d /srv/websites/.before-restore-{name}-*").splitlines()[-1]
    assert host.file(f"{kept}/data/uploads/shell.php").exists and host.file(f"{kept}/database.sql").size > 0


def test_restore_brings_mariadb_back(host):
    """Rows, text, binary values, views and routines are as they were; tables made since are gone."""
    assert query(host, "mariadb", "SELECT id, title, HEX(photo) FROM news ORDER BY id").splitlines() == [
        "1\tPendaftaran — dibuka\t00FF27", "2\tLibur\tNULL"]
    assert query(host, "mariadb", "SHOW TABLES").split() == ["former", "news", "titles"]
    assert query(host, "mariadb", "SELECT one()") == "1"
    packages = "SELECT routine_name FROM information_schema.routines WHERE routine_type = 'PACKAGE'"
    assert query(host, "mariadb", f"{packages} AND routine_schema = 'w20002'") == "forms"


def test_restore_makes_the_websites_account_the_definer(host):
    """A rebuilt web host may have another address: its websites' views would name accounts that are no more."""
    views = "SELECT table_name, definer FROM information_schema.views WHERE table_schema = 'w20002' ORDER BY 1"
    assert query(host, "mariadb", views).splitlines() == ["former\tw20002@%", "titles\tw20002@%"]
    assert query(host, "mariadb", "SELECT id FROM former ORDER BY id").split() == ["1", "2"]
    events = "SELECT event_name, definer FROM information_schema.events WHERE event_schema = 'w20002'"
    assert query(host, "mariadb", events) == "cleaning\tw20002@%"


def test_restore_brings_postgresql_back(host):
    """The same for PostgreSQL, with its types, schemas and the counters of its keys."""
    assert query(host, "postgresql", "SELECT id, place, title FROM letters ORDER BY id").splitlines() == [
        "1|a|Surat — masuk", "2|b|"]
    tables = query(host, "postgresql", "SELECT schemaname, tablename, tableowner FROM pg_tables "
                   "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1")
    assert tables.splitlines() == ["extra|notes|w20003", "public|letters|w20003"]
    assert query(host, "postgresql", "SELECT count(*) FROM pg_namespace WHERE nspname = 'newer'") == "0"
    assert query(host, "postgresql", "SELECT last_value FROM letters_id_seq") == "2"


def test_restore_brings_back_what_lies_in_no_schema(host):
    """Large objects, collations and the like are a website's own, too, and stood in the way of its dump."""
    assert query(host, "postgresql", "SELECT convert_from(lo_get(20003), 'UTF8')") == "pindaian"
    assert query(host, "postgresql", "SELECT count(*) FROM pg_largeobject_metadata") == "1"
    for made, name in (("collname FROM pg_collation WHERE collowner = 'w20003'::regrole", "ci"),
                       ("cfgname FROM pg_ts_config WHERE cfgowner = 'w20003'::regrole", "indonesia"),
                       ("pubname FROM pg_publication", "letters")):
        assert query(host, "postgresql", f"SELECT {made}") == name


def test_restore_to_a_folder_holds_the_whole_website(host):
    """Release, data with odd names and links as links, configuration, and what was known about the website."""
    home = "/root/dinkes/srv/websites/dinkes.tarakankota.go.id"
    assert host.file(f"{home}/data/uploads/link").linked_to == "/etc/shadow"
    assert host.run(f"ls -b {home}/releases/{RELEASE}").stdout.split() == ["assets", "index.html", "odd\\nname\\377"]
    pool = "/root/dinkes/var/lib/websites/web/generations/1/fpm/dinkes.tarakankota.go.id.conf"
    assert host.file(pool).exists
    assert read(host, f"/root/dinkes{STATE}/20001/website.json")["title"].startswith("{{ lookup")


def test_failed_dump_makes_no_snapshot(host):
    """A snapshot without its database would look like a backup and be none."""
    failed = read(host, "/root/failed.json")
    assert set(failed["failures"]) == {"disdik.tarakankota.go.id"}
    assert {change["website"] for change in failed["changes"]} == set(SITES) - {"disdik.tarakankota.go.id"}


def test_failed_dump_is_told_in_three_parts_without_the_password(host):
    """The administrator reads which website, why, and what to do; nobody reads a password."""
    msg = read(host, "/root/failed.json")["msg"]
    assert re.match(r"refused: .*disdik\.tarakankota\.go\.id: mariadb-dump .*\nlayer: backup on \S+\nmend: ", msg)
    assert "secret" not in host.file("/root/failed.json").content_string


def test_nightly_round_goes_on_after_a_killed_one(host):
    """A lock and a dump that a killed run left must not stop all backups from then on."""
    assert read(host, "/root/nightly.json")["failures"] == {}


def test_retention_thins_old_days(snapshots):
    """Of five snapshots of one day long ago the last stays; newer releases of restic keep the very first, too."""
    old = [shot["time"] for shot in snapshots if shot["time"].startswith("2025") and shot["website"] != GONE]
    assert "2025-11-03T14:00:00Z" in old and len(old) <= 2


def test_retention_keeps_every_snapshot_of_these_days(snapshots):
    """The snapshot before an update must outlive the night after it."""
    assert sum(shot["website"] == "arsip.tarakankota.go.id" for shot in snapshots) >= 3


def test_lost_client_opens_its_backups_again(host, snapshots):
    """The client lost all its keys and was set up anew: its snapshots are older than its present key."""
    made = host.check_output("stat -c %Y /etc/websites/backup/id_ed25519")
    assert all(host.check_output("date -d %s +%%s", shot["time"]) < made for shot in snapshots)


def test_proof_finds_a_corrupt_repository(host):
    """A proof that never fails proves nothing."""
    assert read(host, "/root/corrupt.json")["rc"] != 0


def test_proof_passes_on_a_sound_repository(host):
    """And the same proof, with every byte read back, passes on what is there now."""
    verified = json.loads(host.check_output("website-backup verify --subset 100% --json"))
    assert set(verified["verified"]) == {*SITES, GONE} and not verified["failures"]


def test_hostile_text_stayed_text(host):
    """The title holds a template that would have made this file."""
    assert not host.file("/x").exists

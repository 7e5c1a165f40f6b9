"""What must hold of websites that are applications of their own."""

import urllib.parse

import pytest
from test_isolation import SERVICES

APP = "aplikasi.example.go.id"


def get(host, name, path="/"):
    """A request of the server to itself: (status, body)."""
    done = host.run("curl -s -o /tmp/body -w '%%{http_code}' -H %s %s", f"Host: {name}", f"http://127.0.0.1{path}")
    return int(done.stdout), host.run("cat /tmp/body").stdout


def ask(host, what, value):
    """What the application answers."""
    return get(host, APP, f"/?{what}={urllib.parse.quote(value)}")[1]


def folders(host):
    return [f"/run/websites-apps/{name}" for name in host.run("ls /run/websites-apps").stdout.split()]


def sockets_of_php(host):
    return [f"/run/php/websites/{name}" for name in host.run("ls /run/php/websites").stdout.split()]


@pytest.mark.parametrize(("name", "text"), [
    (APP, f"Situs aplikasi edisi 1 20016 {APP}"),
    ("node.example.go.id", "Situs Node 20017 node.example.go.id"),
])
def test_application_runs_as_its_own_user_and_knows_its_name(host, name, text):
    """Behind a proxy it would else write another name into its links."""
    assert get(host, name) == (200, text)


def test_application_was_set_up_by_its_own_program(host):
    """A script of Python cannot be run by PHP."""
    assert host.file(f"/srv/websites/{APP}/data/isi/setup.txt").content_string == "set up by 20016"


def test_application_and_its_setup_load_native_code_from_the_release_alone(host):
    """A module in it was approved; what a visitor has left among the data was not."""
    home, library = f"/srv/websites/{APP}", host.check_output("ls /usr/lib/*/libexpat.so.1")
    release = host.check_output("systemctl show --property=ReadOnlyPaths --value 'website-app-w20016-*.service'")
    own = next(folder for folder in folders(host) if host.file(folder).user == "w20016")
    for folder in f"{home}/data/isi {home}/temporary {own} /tmp /var/tmp /dev/shm".split():
        assert "failed to map segment" in ask(host, "load", f"{folder}/foto.so"), folder  # which it has first put there
        host.run(f"rm -f {folder}/foto.so")
    host.check_output(f"cp {library} {release}/modul.so")
    assert ask(host, "load", f"{release}/modul.so") == "loaded"
    host.check_output(f"rm {release}/modul.so")
    assert "failed to map segment" in host.file(f"{home}/data/isi/native.txt").content_string


def test_visitor_cannot_pretend_to_be_another(host):
    """Applications trust these headers behind a proxy."""
    forged = "-H 'X-Forwarded-For: 1.2.3.4' -H 'X-Forwarded-Proto: https'"
    for header, wanted in (("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http")):
        done = host.run(f"curl -s {forged} -H 'Host: {APP}' 'http://127.0.0.1/?header={header}'")
        assert done.stdout == wanted


@pytest.mark.parametrize(
    "path", ["/etc/websites", "/var/lib/websites", "/srv/websites/php.example.go.id", "/run/php", "/root"])
def test_application_cannot_read_what_is_not_its_own(host, path):
    """One defaced website must not become all of them."""
    assert ask(host, "read", path).startswith("denied")


def test_application_can_write_its_data_and_nothing_else(host):
    """Defacement writes into the code; the code is root's."""
    home = f"/srv/websites/{APP}"
    release = host.run(f"ls -d {home}/releases/*").stdout.split()[0]
    for path in (f"{release}/app.py", f"{release}/baru.py", "/etc/x", "/var/x", "/run/websites-apps/x"):
        assert ask(host, "write", path).startswith("denied"), path
    assert ask(host, "write", f"{home}/data/isi/berkas.txt") == "written"
    assert ask(host, "write", f"{release}/isi/lewat-tautan.txt") == "written"


def test_sockets_are_reached_by_apache_and_their_own_user_only(host):
    """A folder's name is a secret, and even who knows it may not pass."""
    for user in ("nobody", "w20001", "w20016", "www-data"):
        assert host.run(f"runuser -u {user} -- ls /run/websites-apps").rc != 0
    assert len(folders(host)) == 2
    for folder in folders(host):
        assert host.file(folder).group == "www-data" and host.file(folder).mode == 0o2710
        own = host.file(folder).user
        for user, code in (("www-data", 0), (own, 0), ("w20002", 7), ("nobody", 7)):
            done = host.run(f"runuser -u {user} -- curl -s -o /dev/null --unix-socket {folder}/socket http://x/")
            assert done.rc == code, (user, own)


def test_application_cannot_reach_its_neighbours_socket(host):
    """Neither a pool's, which would run code as the neighbour, nor another application's."""
    others = [f"{folder}/socket" for folder in folders(host) if host.file(folder).user != "w20016"]
    for path in [*others, *sockets_of_php(host), "/run/dbus/system_bus_socket"]:
        assert ask(host, "connect", path).startswith("denied"), path


@pytest.mark.parametrize("target", SERVICES)
def test_application_opens_no_other_service(host, target):
    """Neither the network by which servers are managed, nor the one of this server."""
    assert ask(host, "open", target).startswith("denied")


@pytest.mark.parametrize("target", ["10.89.80.21:3306", "[2001:db8:77::66]:80"])
def test_application_opens_its_database_and_pages_of_the_internet(host, target):
    """The rules that confine it must let it work."""
    assert ask(host, "open", target) == "opened"


@pytest.mark.parametrize("folder", list("abcdefgh"))
def test_release_cannot_let_apache_reach_others(host, folder):
    """Its .htaccess may name any machine and any socket; behind the addresses of these Apache itself answers."""
    assert "tidak dikenal" in host.run("curl -s http://127.0.0.1:80/").stdout, "or the test shows nothing"
    status, body = get(host, "jahat.example.go.id", f"/{folder}/")
    assert (status, body) == (200, "Situs jahat") or (status in (403, 500, 503) and "tidak dikenal" not in body), body


def test_release_that_names_an_applications_socket_needs_its_secret(host):
    """With the secret Apache would go there: so the blocking is not what keeps it, and must not be relied on."""
    assert get(host, "jahat.example.go.id", "/g/")[0] == 503


def test_crash_of_an_application_is_its_own_websites_only(host):
    """It starts again by itself."""
    pid = host.run("systemctl show --property=MainPID --value 'website-app-w20016-*'").stdout.strip()
    assert get(host, APP, "/?die=1")[0] in (502, 503)
    assert get(host, "node.example.go.id")[0] == get(host, "php.example.go.id")[0] == 200
    ask_again = f"curl -sf -o /dev/null -H 'Host: {APP}' http://127.0.0.1/ && exit; sleep 0.5"
    assert host.run(f"for n in $(seq 60); do {ask_again}; done; exit 1").rc == 0
    assert host.run("systemctl show --property=MainPID --value 'website-app-w20016-*'").stdout.strip() != pid


def test_application_starts_at_boot(host):
    """A reboot at night must not wait for an administrator."""
    units = host.run("systemctl list-unit-files --plain --no-legend 'website-app-w*'").stdout.splitlines()
    assert len(units) == 2 and all(line.split()[1] == "enabled" for line in units), units


def test_environment_is_for_root(host):
    """It holds the database's password."""
    for name in host.run("ls /var/lib/websites/web/apps").stdout.split():
        assert host.file(f"/var/lib/websites/web/apps/{name}").mode == 0o600
        assert host.run(f"systemctl show {name.removesuffix('.env')}.service").stdout.count("SOCKET=") == 0

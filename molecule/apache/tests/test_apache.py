"""What must hold on a web host after `apache` and its websites were converged."""

import urllib.parse

import pytest


def get(host, name, path="/"):
    """A request of the server to itself: (status, body)."""
    done = host.run("curl -s -o /tmp/body -w '%%{http_code}' --path-as-is -H %s %s", f"Host: {name}", f"http://127.0.0.1{path}")
    return int(done.stdout), host.run("cat /tmp/body").stdout


def ask(host, what, value):
    """What the PHP of php.example.go.id answers."""
    return get(host, "php.example.go.id", f"/?{what}={urllib.parse.quote(value)}")[1]


@pytest.mark.parametrize(("name", "text"), [
    ("statis.example.go.id", "Situs statis edisi 1"),
    ("www2.example.go.id", "Situs statis edisi 1"),
    ("php.example.go.id", "20002 set up by 20002"),
    ("tetangga.example.go.id", "20003 set up by 20003"),
])
def test_website_serves_its_own_page(host, name, text):
    """Each website runs as its own user, and its setup script ran as that user."""
    status, body = get(host, name)
    assert (status, text in body) == (200, True), body


def test_unknown_name_is_an_error(host):
    """A name that points here by mistake must never show another agency's page."""
    status, body = get(host, "lain.example.com")
    assert status == 404
    assert "Situs tidak dikenal" in body


@pytest.mark.parametrize("path", [
    "/etc/passwd",
    "/srv/websites/tetangga.example.go.id/releases",
    "/srv/websites/statis.example.go.id/releases",
    "/etc/websites/credentials",
    "/var/lib/websites/web/current/websites.json",
])
def test_php_cannot_read_outside_its_home(host, path):
    """One defaced website must not become all of them."""
    assert ask(host, "read", path) == "denied"


def test_php_cannot_write_its_own_code(host):
    """Defacement writes into the code; the code is root's."""
    release = host.run("ls -d /srv/websites/php.example.go.id/releases/*").stdout.strip()
    assert ask(host, "write", f"{release}/public/index.php") == "denied"
    assert ask(host, "write", f"{release}/public/baru.php") == "denied"


def test_uploaded_php_does_not_run(host):
    """Upload folders are where shells are dropped."""
    home = "/srv/websites/php.example.go.id"
    for name in ("x.php", "y.phtml", "z.php.jpg", "X.PHP"):
        assert ask(host, "write", f"{home}/data/public/berkas/{name}") == "written"
        status, body = get(host, "php.example.go.id", f"/berkas/{name}")
        host.run(f"rm -f {home}/data/public/berkas/{name}")
        assert status == 403, body
        assert "ran" not in body
    assert get(host, "php.example.go.id", "/berkas/awal.txt") == (200, "kept from the first release")


@pytest.mark.parametrize("name", ["php.example.go.id", "statis.example.go.id"])
def test_code_is_never_shown_however_its_name_is_written(host, name):
    """Apache gives PHP no name in capital letters, and would send the file as text, passwords and all."""
    vhost = f"/var/lib/websites/web/current/apache/{name}.conf"
    root = host.check_output("grep -o '/srv/websites/[^ ]*' %s | head -n 1", vhost)
    host.check_output("echo '<?php $password;' | tee %s/a.PHP > %s/a.txt", root, root)
    shown = [get(host, name, f"/{page}") for page in ("a.PHP", "a.txt")]
    host.check_output("rm %s/a.PHP %s/a.txt", root, root)
    assert shown[0][0] == 403 and "password" not in shown[0][1]
    assert shown[1] == (200, "<?php $password;\n"), "or the test shows nothing"


def test_php_cannot_reach_its_neighbours_socket(host):
    """A pool's socket would run code as the neighbour; only Apache may open it."""
    sockets = host.run("ls /run/php/websites").stdout.split()
    assert len(sockets) == 2
    for socket in sockets:
        assert ask(host, "connect", f"unix:///run/php/websites/{socket}") == "denied"


@pytest.mark.parametrize("function", [
    "exec", "passthru", "shell_exec", "system", "proc_open", "popen", "pcntl_exec", "pcntl_fork", "putenv", "dl",
    "link", "symlink"])
def test_php_cannot_run_programs(host, function):
    """No shell from a website, nor what mail() would load with the program that it starts."""
    assert ask(host, "run", function) == "denied"
    assert ask(host, "run", "strlen") == "runs", "or the test shows nothing"


def test_setup_script_is_no_page(host):
    """It lies above the document root here; hidden files are refused anywhere."""
    assert get(host, "php.example.go.id", "/setup.php")[0] == 404
    assert get(host, "php.example.go.id", "/.git/config")[0] == 403


def test_secrets_are_for_root(host):
    """Pools hold database passwords."""
    for path in ("/var/lib/websites/web", "/var/lib/websites/web/generations"):
        assert host.file(path).mode == 0o700
    for name in host.run("ls /var/lib/websites/web/current/fpm").stdout.split():
        assert host.file(f"/var/lib/websites/web/current/fpm/{name}").mode == 0o600


def test_each_website_has_logs_of_its_own(host):
    """An administrator looks for one website's trouble in one place."""
    assert " 200 " in host.file("/var/log/websites/statis.example.go.id/access.log").content_string
    assert host.run("logrotate -d /etc/logrotate.d/websites").rc == 0


def test_php_fpm_may_open_files_for_a_thousand_websites(host):
    """Past its limit it starts no process any more, and a visitor waits until the time is over."""
    master = host.check_output("pgrep -o php-fpm")
    assert int(host.check_output("awk '/^Max open files/ {print $4}' /proc/%s/limits", master)) >= 16384


def test_answers_carry_the_policy_headers(host):
    """Every website has them without asking."""
    headers = host.run("curl -sI -H 'Host: php.example.go.id' http://127.0.0.1/").stdout.lower()
    for header in ("x-content-type-options: nosniff", "x-frame-options: sameorigin", "referrer-policy:"):
        assert header in headers
    assert "x-powered-by" not in headers
    assert "server: apache\r" in headers


def test_daemons_restart_with_the_websites(host):
    """A reboot at night must not wait for an administrator."""
    php = host.run("ls /etc/php").stdout.strip()
    for service in ("apache2", f"php{php}-fpm"):
        assert host.service(service).is_enabled
        assert host.run(f"systemctl restart {service}").rc == 0
    assert get(host, "php.example.go.id")[0] == 200

"""ModSecurity: what looks like an attack is logged, and refused on the two websites that ask for that."""

import secrets

import pytest

LOGS = "php.example.go.id", "statis.example.go.id"
BLOCKS, APPLICATION = "tetangga.example.go.id", "node.example.go.id"
ATTACKS = ["/?id=1%27%20OR%20%271%27=%271", "/?q=%3Cscript%3Ealert(1)%3C/script%3E", "/?f=../../../../etc/passwd"]


def status(host, name, path, *options):
    """What a request of the server to itself is answered with."""
    form = "curl -s -m 30 -o /dev/null -w '%%{http_code}' -H %s" + " %s" * (len(options) + 1)
    return int(host.check_output(form, f"Host: {name}", *options, f"http://127.0.0.1{path}"))


def audit(host, name, mark=None):
    """A website's audit log; with a mark, once the record of that request is whole, which is after its answer."""
    path = f"/var/log/websites/{name}/audit.log"
    if mark:
        whole = "for _ in $(seq 100); do sed -n /%s/',$p' %s | grep -q -e -Z-- && exit; sleep 0.1; done; exit 1"
        host.check_output(whole, mark, path)
    return host.file(path).content_string


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_logged_and_answered_where_nobody_asked_for_more(host, name, attack):
    """A rule that is wrong about a website must not break it on the day that it is installed."""
    mark = secrets.token_hex(8)
    assert status(host, name, f"{attack}&mark={mark}") == 200
    assert mark in audit(host, name, mark)
    assert all(mark not in audit(host, other) for other in {*LOGS, BLOCKS} - {name})


@pytest.mark.parametrize("name", [BLOCKS, APPLICATION])
@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_refused_where_the_website_asks_for_that(host, name, attack):
    """The agency has seen in the log that nothing of its own is taken for an attack."""
    mark = secrets.token_hex(8)
    assert status(host, name, f"{attack}&mark={mark}") == 403
    assert mark in audit(host, name, mark)
    assert status(host, name, "/") == 200


def test_harmless_requests_are_not_logged(host):
    """An administrator who reads the log must find attacks in it."""
    mark, last = secrets.token_hex(8), secrets.token_hex(8)
    for name in (*LOGS, BLOCKS):
        assert status(host, name, f"/?mark={mark}", "-A", "Mozilla/5.0", "-H", "Accept: text/html") == 200
        status(host, name, f"{ATTACKS[0]}&mark={last}")
        assert mark not in audit(host, name, last)


def test_audit_log_keeps_no_login(host):
    """Whoever reads the log must not become a visitor by it."""
    mark, secret = secrets.token_hex(8), secrets.token_hex(8)
    headers = ("-H", f"Cookie: session={secret}", "-H", f"Authorization: Bearer {secret}", "-d", f"password={secret}")
    assert status(host, "php.example.go.id", f"{ATTACKS[0]}&mark={mark}", *headers) == 200
    assert secret not in audit(host, "php.example.go.id", mark)


@pytest.mark.parametrize(("size", "answers"), [("15M", 200), ("17M", 413)])
@pytest.mark.parametrize("name", [BLOCKS, "php.example.go.id"])
def test_upload_is_limited_where_php_limits_it(host, name, size, answers):
    """16 MB is what a small website's PHP takes; one limit below the other would break uploads without a word."""
    host.run("truncate -s %s /tmp/upload", size)
    assert status(host, name, "/", "-F", "file=@/tmp/upload") == answers


@pytest.mark.parametrize(("kind", "size", "answers"), [
    ("application/json", 3, 200), ("application/octet-stream", 15, 200),
    ("application/x-www-form-urlencoded", 14, 413)])
def test_body_passes_up_to_what_its_kind_may_have(host, kind, size, answers):
    """An agency's interface takes long texts and whole files, and no body may fill the server's memory."""
    host.run("(echo -n '\"'; head -c %s /dev/zero | tr '\\0' a; echo '\"') > /tmp/body", str(size * 1000**2 - 3))
    options = ("-H", f"Content-Type: {kind}", "--data-binary", "@/tmp/body")
    assert status(host, "php.example.go.id", "/", *options) == answers


def test_audit_log_is_rotated_and_root_s(host):
    """It grows with every attack, and holds visitors' addresses."""
    log = host.file(f"/var/log/websites/{BLOCKS}/audit.log")
    assert (log.user, log.mode & 0o007) == ("root", 0)
    assert f"{BLOCKS}/audit.log" in host.run("logrotate -d /etc/logrotate.d/websites").stderr


def test_nothing_is_kept_of_every_visitor(host):
    """A store that each request locks would slow all websites down."""
    assert host.check_output("find /var/cache/modsecurity -type f -size +0") == ""

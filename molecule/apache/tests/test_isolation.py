"""What a website's PHP can reach, asked from inside it: php.example.go.id, once it is in somebody else's hands."""

import urllib.parse

import pytest

NEIGHBOUR = "/srv/websites/tetangga.example.go.id"
SERVICES = ["10.89.80.21:22", "10.89.80.21:8081", "198.51.100.66:22", "198.51.100.66:8081", "127.0.0.1:22",
            "127.0.0.1:80", "[fd00:89:80::21]:22", "[2001:db8:77::66]:8081", "[::1]:80"]


def ask(host, what, value):
    """What the PHP of php.example.go.id answers."""
    url = f"http://127.0.0.1/?{what}={urllib.parse.quote(value, safe='')}"
    return host.check_output("curl -s -H %s %s", "Host: php.example.go.id", url)


def as_website(host, script, *arguments):
    """A program run as the website's unix user, without what PHP itself forbids."""
    return host.run(f"setpriv --reuid 20002 --regid 20002 --clear-groups -- {script}", *arguments)


@pytest.mark.parametrize("target", ["10.89.80.21:3306", "[fd00:89:80::21]:3306"])
def test_php_opens_its_database(host, target):
    """The rules that confine a website must let it work."""
    assert ask(host, "connect", f"tcp://{target}") == "connected"


@pytest.mark.parametrize("target", ["198.51.100.66:80", "[2001:db8:77::66]:80"])
def test_php_opens_pages_of_the_internet(host, target):
    """Maps, single sign-on and other agencies' interfaces are fetched over HTTP."""
    assert ask(host, "connect", f"tcp://{target}") == "connected"


@pytest.mark.parametrize("target", SERVICES)
def test_php_opens_no_other_service(host, target):
    """A defaced website attacks its neighbours first. That root gets through shows the rule at work."""
    assert ask(host, "connect", f"tcp://{target}") == "denied"
    address, port = target.replace("[", "").replace("]", "").rsplit(":", 1)
    assert host.run("timeout 3 bash -c %s", f"</dev/tcp/{address}/{port}").rc == 0


def test_php_reaches_no_ssh_of_the_network(host):
    """Neither the controller's, nor this server's own, by any family."""
    own = host.check_output("ip -o address show dev eth0 scope global | awk '{print $4}' | cut -d/ -f1").split()
    assert len(own) == 2
    for address in ["10.89.78.1", "[fd00:89:78::1]", *(f"[{ip}]" if ":" in ip else ip for ip in own)]:
        assert ask(host, "connect", f"tcp://{address}:22") == "denied"


def test_website_asks_the_resolver_and_sends_no_other_datagram(host):
    """Names must be found; data must not leave by the way of names."""
    resolver = host.check_output("awk '$1 == \"nameserver\" {print $2; exit}' /etc/resolv.conf")
    program = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 53))"
    assert as_website(host, "python3 -c %s %s", program, resolver).rc == 0
    other = as_website(host, "python3 -c %s %s", program, "198.51.100.66")
    assert "PermissionError" in other.stderr


def test_denied_connections_name_the_website(host):
    """An administrator sees in the kernel's log which website tried."""
    assert "flags skuid" in host.check_output("nft list chain inet websites_firewall apache_egress")


@pytest.mark.parametrize("path", [
    f"{NEIGHBOUR}/sessions", f"{NEIGHBOUR}/temporary", f"{NEIGHBOUR}/data", "/run/php/websites", "/srv/websites",
    "/etc/websites/certificates"])
def test_php_lists_nothing_of_others(host, path):
    """A socket's name is what keeps a neighbour from calling it; a session's name is the session."""
    assert ask(host, "list", path) == "denied"
    assert ask(host, "list", f"glob://{path}/*") == "denied"


@pytest.mark.parametrize("path", ["sessions/sess_0123456789", "temporary/php0123456789"])
def test_php_reads_no_session_and_no_upload_of_its_neighbour(host, path):
    """A session that can be read is an administrator of the neighbour; an upload is a citizen's letter."""
    file = f"{NEIGHBOUR}/{path}"
    host.run("touch %s && chown 20003:20003 %s", file, file)
    try:
        assert ask(host, "read", file) == "denied"
        assert as_website(host, "cat %s", file).rc != 0
        assert host.run("cat %s", file).rc == 0
    finally:
        host.run("rm -f %s", file)


@pytest.fixture
def uploads(host):
    """A library and a program of the server's in the website's upload folder, as a visitor may have left them."""
    folder = "/srv/websites/php.example.go.id/data/public/berkas"
    library = host.check_output("ls /usr/lib/php/20*/pdo_sqlite.so")
    host.check_output("for f in foto.jpg foto.jpg.so; do install -m 755 -o 20002 -g 20002 %s %s/$f; done && "
                      "install -m 755 -o 20002 -g 20002 /usr/bin/true %s/gambar.png", library, folder, folder)
    yield folder
    host.run("cd %s && rm -f foto.jpg foto.jpg.so gambar.png", folder)


def in_pool(host, command, *arguments):
    """A program run as the website's user where its PHP runs: PHP of Debian 12 has no way of its own to try."""
    master = host.check_output("systemctl show --property=MainPID --value php*-fpm.service")
    enter = f"nsenter --target {master} --mount setpriv --reuid 20002 --regid 20002 --clear-groups"
    return host.run(f"{enter} {command}", *arguments)


def test_php_loads_no_native_code_that_a_visitor_left(host, uploads):
    """It would run without open_basedir, and could rewrite every website's pages in the cache that all pools share."""
    load, denied = "import ctypes, sys; ctypes.CDLL(sys.argv[1])", "failed to map segment"
    for file in ("foto.jpg", "foto.jpg.so"):
        assert denied in in_pool(host, "python3 -c %s %s", load, f"{uploads}/{file}").stderr
    assert denied not in host.run("python3 -c %s %s", load, f"{uploads}/foto.jpg").stderr, "or the test shows nothing"
    said = ask(host, "load", f"{uploads}/foto.jpg")  # SQLite tries the name with .so behind it, too
    if "not found" not in said:
        assert denied in said
        assert "undefined symbol" in ask(host, "load", host.check_output("ls /usr/lib/php/20*/pdo_sqlite.so"))


def test_php_runs_no_program_that_a_visitor_left(host, uploads):
    """mail() starts a program; one of a website's own would do what no function of PHP may."""
    assert host.run("%s/gambar.png", uploads).rc == 0, "or the test shows nothing"
    done = in_pool(host, "%s", f"{uploads}/gambar.png")
    assert done.rc == 126 and "Permission denied" in done.stderr
    assert in_pool(host, "/usr/bin/true").rc == 0


@pytest.mark.parametrize("folder", ["tmp", "var/tmp", "dev/shm", "run", "srv/websites", "var/lib/php", "etc"])
def test_php_loads_native_code_from_nowhere_but_the_systems_own_folder(host, folder):
    """Not even where it would first have to find a way to write."""
    look = "findmnt --noheadings --output OPTIONS --target %s"
    assert "noexec" in in_pool(host, look, f"/{folder}").stdout.strip().split(",")
    usr = in_pool(host, look, "/usr").stdout
    assert "rw" in usr and "noexec" not in usr


def test_page_that_takes_all_memory_ends_alone(host):
    """Its own visitor gets an error; the same website and its neighbour go on serving."""
    page = "curl -s -o /dev/null -w '%%{http_code}' -H %s %s"
    eaters = " & ".join(["curl -s -o /dev/null -w '%%{http_code} ' -H %s 'http://127.0.0.1/?eat=1'"] * 3)
    said = host.check_output(f"{eaters} & wait", *["Host: php.example.go.id"] * 3)
    assert said.split() == ["500"] * 3
    for name in ("php.example.go.id", "tetangga.example.go.id"):
        assert host.check_output(page, f"Host: {name}", "http://127.0.0.1/") == "200"
    assert "Allowed memory size" in host.file("/var/log/websites/php.example.go.id/php.log").content_string


@pytest.fixture
def htaccess(host):
    """Writes a .htaccess into the release, as its archive may bring one."""
    file = host.check_output("ls -d /srv/websites/php.example.go.id/releases/*") + "/public/.htaccess"
    yield lambda text: host.run("printf %s %s > %s", "%s", text, file)
    host.run("rm -f %s", file)


@pytest.mark.parametrize("text", [
    'SetEnv PHP_ADMIN_VALUE "{}"', 'SetEnvIf Host . "PHP_ADMIN_VALUE={}"',
    'RewriteEngine On\nRewriteRule ^ - [E=PHP_ADMIN_VALUE:{}]', 'ProxyFCGISetEnvIf "true" PHP_ADMIN_VALUE "{}"',
    '<If "true">\nProxyFCGISetEnvIf "true" PHP_ADMIN_VALUE "{}"\n</If>'])
def test_release_cannot_undo_the_settings_of_its_pool(host, htaccess, text):
    """PHP-FPM takes settings from whoever asks it, and keeps them for the visitors after."""
    htaccess(text.format("open_basedir=/"))
    assert ask(host, "read", "/etc/hostname") == "denied"
    own = host.check_output("ls -d /srv/websites/php.example.go.id/releases/*") + "/public/index.php"
    assert ask(host, "read", own) == "read", "or the test shows nothing"


@pytest.mark.parametrize("text", [
    'SetHandler "proxy:unix:{}|fcgi://_"', '<If "true">\nSetHandler "proxy:unix:{}|fcgi://_"\n</If>',
    'AddHandler "proxy:unix:{}|fcgi://_" .php'])
def test_release_sets_no_handler_of_its_neighbours_pool(host, htaccess, text):
    """What would choose it for every file is passed over, even with the secret that a socket's name is."""
    pool = host.check_output("cat /var/lib/websites/web/current/fpm/tetangga.example.go.id.conf")
    htaccess(text.format(pool.split("listen = ")[1].split()[0]))
    assert " 20002 " in ask(host, "page", "1")


def test_release_cannot_ask_pools_whose_name_is_known(host, htaccess):
    """Debian's own pool runs as Apache's user, who may read every website."""
    rule = 'RewriteEngine On\nRewriteRule ^ "unix:{}|fcgi://_%{{DOCUMENT_ROOT}}/index.php" [P]'
    own = host.check_output("cat /var/lib/websites/web/current/fpm/php.example.go.id.conf")
    htaccess(rule.format(own.split("listen = ")[1].split()[0]))
    assert " 20002 " in ask(host, "page", "1"), "or the test shows nothing"
    sockets = host.check_output("find /run -path /run/php/websites -prune -o -type s -name '*php*' -print; "
                                "grep -rh ^listen.= /etc/php/*/fpm/pool.d | awk '{print $3}'").split()
    assert sockets
    for socket in sockets:
        htaccess(rule.format(socket))
        assert "Service Unavailable" in ask(host, "page", "1"), socket


@pytest.mark.parametrize("text", [
    "RewriteEngine On\nRewriteRule ^ - [H=server-status]", "ForceType server-status", "AddType server-status .php"])
def test_release_cannot_show_the_visitors_of_all_websites(host, htaccess, text):
    """Apache's page of requests under way has every website's in it, with the visitors' addresses."""
    htaccess(text)
    assert "Apache Server Status" not in ask(host, "page", "1")


@pytest.fixture
def berkas(host):
    """The website's upload folder, with an image in it."""
    folder = "/srv/websites/php.example.go.id/data/public/berkas"
    host.check_output("printf png > %s/foto.png", folder)
    yield folder
    host.run("rm -f %s/foto.png %s/.htaccess", folder, folder)


@pytest.mark.parametrize("text", [
    "Header set X-Jahat judi", "ForceType text/html", "Redirect /berkas/foto.png https://judi.example/",
    "RewriteEngine On\nRewriteRule ^ https://judi.example/ [R]", "ErrorDocument 404 judi"])
def test_upload_folder_obeys_no_htaccess(host, htaccess, berkas, text):
    """Whoever may upload a file must not lead the website's visitors elsewhere; a release's own may."""
    def answers():
        see = "curl -s -i -H 'Host: php.example.go.id' http://127.0.0.1/berkas/%s | grep -aiv ^date:"
        return [host.check_output(see, name) for name in ("foto.png", "tiada.png")]

    before = answers()
    assert " 200 OK" in before[0] and before[0].endswith("png") and " 404 " in before[1]
    htaccess(text)
    assert answers() != before, "or the test shows nothing"
    htaccess("")
    assert answers() == before
    host.check_output("printf %s %s > %s/.htaccess", "%s", text, berkas)
    assert answers() == before


def test_php_takes_no_code_of_its_neighbour_from_the_shared_cache(host):
    """All pools share one cache of compiled files: a neighbour's configuration was read from it without any right."""
    def include(home):
        release = host.check_output("ls -d %s/releases/*", home)
        # At once after a visit, while the cache does not look at the file again.
        return host.check_output(
            "curl -s -H 'Host: tetangga.example.go.id' http://127.0.0.1/rahasia.php && "
            "curl -s -H 'Host: php.example.go.id' %s", f"http://127.0.0.1/?include={release}/public/rahasia.php")

    assert include("/srv/websites/php.example.go.id") == "secret", "or the test shows nothing"
    assert [include(NEIGHBOUR) for _ in range(5)] == [""] * 5


@pytest.mark.parametrize("function", ["opcache_get_status", "opcache_reset"])
def test_php_does_not_manage_the_shared_cache(host, function):
    """It names every website's files, and emptying it slows all of them down."""
    assert ask(host, "opcache", function) == "denied"


@pytest.mark.parametrize("path", [
    NEIGHBOUR, f"{NEIGHBOUR}/releases", f"{NEIGHBOUR}/sessions", f"{NEIGHBOUR}/temporary", "/run/php/websites",
    "/srv/websites", "/var/log/websites", "/etc/websites/certificates", "/var/lib/websites/web",
    "/var/log/websites/tetangga.example.go.id"])
def test_unix_user_lists_nothing_of_others(host, path):
    """open_basedir has been got round before; the rights of files hold without it."""
    assert host.file(path).exists
    assert as_website(host, "ls %s", path).rc != 0


def test_unix_user_cannot_write_its_own_code(host):
    """Nor where a second release could be slipped in."""
    home = "/srv/websites/php.example.go.id"
    release = host.check_output(f"ls -d {home}/releases/*")
    for target in (f"{release}/public/index.php", f"{release}/x.php", f"{home}/x", f"{home}/releases/x"):
        assert as_website(host, "sh -c %s", f"echo x >> {target}").rc != 0

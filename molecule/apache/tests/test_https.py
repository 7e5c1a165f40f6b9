"""What must hold over HTTPS on a web host whose websites have certificates."""

import pytest

NAMES = ["statis.example.go.id", "www2.example.go.id", "php.example.go.id", "tetangga.example.go.id",
         "aplikasi.example.go.id"]


def curl(host, url):
    """A request from the server's own address, as a visitor's comes: headers and body."""
    at = host.run("hostname -I").stdout.split()[0]
    return host.run(f"curl -sSi --cacert /etc/pebble/root.pem --connect-to ::{at}: '{url}'")


@pytest.mark.parametrize("name", NAMES)
def test_website_is_trusted_over_https(host, name):
    """By every name of it, and without a warning."""
    done = curl(host, f"https://{name}/")
    assert done.rc == 0, done.stderr
    assert done.stdout.startswith("HTTP/2 200") and "Situs" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_http_leads_to_https(host, name):
    """An old link or a typed name must not stay without protection; path and query come along."""
    said = curl(host, f"http://{name}/a%20b/c?d=e%2ff").stdout
    assert said.startswith("HTTP/1.1 301") and f"Location: https://{name}/a%20b/c?d=e%2ff\r" in said


def test_authority_is_answered_over_http(host):
    """It asks there at every renewal."""
    assert curl(host, f"http://{NAMES[0]}/.well-known/acme-challenge/x").stdout.startswith("HTTP/1.1 404")


def test_browsers_are_told_to_stay(host):
    """HSTS belongs into answers over HTTPS only."""
    assert "strict-transport-security: max-age=31536000\r" in curl(host, f"https://{NAMES[0]}/").stdout
    assert "strict-transport-security" not in curl(host, f"http://{NAMES[0]}/").stdout.lower()


def test_php_knows_that_it_is_over_https(host):
    """Else it writes http:// into its links, and sends its cookies without protection."""
    assert curl(host, "https://php.example.go.id/?server=HTTPS").stdout.endswith("on")


@pytest.mark.parametrize(("options", "works"), [
    ("-tls1_3", True),
    ("-tls1_2", True),
    ("-tls1_1 -cipher ALL:@SECLEVEL=0", False),
    ("-tls1_2 -cipher AES128-GCM-SHA256", False),  # no forward secrecy
    ("-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", False),  # CBC
    ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", True),
])
def test_tls_is_modern_only(host, options, works):
    """What an attacker could break is not offered."""
    done = host.run(f"echo | timeout 60 openssl s_client -connect 127.0.0.1:443 -servername {NAMES[0]} {options}")
    assert (done.rc == 0) == works, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["lain.example.com", ""])
def test_unknown_name_over_https_is_an_error(host, name):
    """Never another agency's page or certificate, nor where a visitor sends no name at all."""
    at = host.run("hostname -I").stdout.split()[0]
    done = host.run(f"curl -ksi --connect-to ::{at}: https://{name or at}/")
    assert done.stdout.startswith("HTTP/2 404") and "Situs tidak dikenal" in done.stdout
    server = f"-servername {name}" if name else "-noservername"
    shown = host.run(f"openssl s_client -connect {at}:443 {server} < /dev/null | openssl x509 -noout -subject")
    assert "unknown.invalid" in shown.stdout


def test_keys_are_for_root(host):
    """Who has a key is the website."""
    for path in ("/var/lib/websites/md/domains", "/etc/websites/certificates"):
        assert host.file(path).mode == 0o700


def test_certificates_are_looked_after(host):
    """Without an administrator, and again after a reboot."""
    for unit in ("website-certificates.timer", "website-certificates.path"):
        assert host.run(f"systemctl is-enabled {unit} && systemctl is-active {unit}").rc == 0
    assert host.run("systemctl is-failed website-certificates.service").rc != 0

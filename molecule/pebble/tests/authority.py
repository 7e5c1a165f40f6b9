"""How the tests ask an authority, as a web host would."""

import json
import ssl
import tempfile
import urllib.request
from typing import Any

from testinfra.host import Host

FOLDER = "/etc/pebble"


def address(host: Host) -> str:
    return str(host.backend.get_variables()["ansible_host"])


def directory(host: Host) -> dict[str, Any]:
    """The ACME directory, asked from here, with nothing trusted but the certificate that web hosts are given."""
    with tempfile.NamedTemporaryFile("w") as trusted:
        trusted.write(host.file(f"{FOLDER}/certificate.pem").content_string)
        trusted.flush()
        context = ssl.create_default_context(cafile=trusted.name)
        with urllib.request.urlopen(f"https://{address(host)}:14000/dir", timeout=10, context=context) as answer:
            return dict(json.load(answer))


def root(host: Host) -> str:
    """The root of what the running authority signs."""
    return host.check_output(f"curl -sSf --cacert {FOLDER}/certificate.pem https://127.0.0.1:15000/roots/0")

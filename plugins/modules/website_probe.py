#!/usr/bin/python
"""See each website as a visitor does: its names at every name server, its front page over every address."""

from __future__ import annotations

DOCUMENTATION = r"""
module: website_probe
short_description: See each website as a visitor does
description:
  - Asks every name server by each of its addresses for the websites' names, then opens the page over every address.
  - Follows a website to HTTPS, and trusts what this system trusts.
  - Changes nothing. Needs C(dig).
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  only:
    description: Names of the websites to look at; empty is all of them.
    type: list
    elements: str
    default: []
  nameservers:
    description: The name servers' public addresses by host.
    type: dict
    required: true
  timeout:
    description: Seconds that one look at a page may take, with all redirects.
    type: int
    default: 30
  certificates:
    description:
      - How web hosts say that websites' certificates stand, as M(website_certificates) returns it in C(as_built).
      - A website with a certificate must lead to HTTPS. One whose certificate is pending may still be on HTTP.
    type: dict
    default: {}
  ca:
    description: A file of certificates (PEM) to trust as well.
    type: path
author: The project's maintainers (@dkisp-tarakan)
"""

EXAMPLES = r"""
- name: Open every website
  website_probe:
    websites: "{{ probe_websites }}"
    nameservers: {ns1: [198.51.100.53], ns2: [198.51.100.54]}
"""

RETURN = r"""
probes:
  description: For each website what DNS answered at each name server, what the page answered, and its certificate.
  returned: always
  type: dict
failures:
  description: One line for everything that a visitor would miss.
  returned: always
  type: list
"""

import concurrent.futures
import contextlib
import html
import http.client
import ipaddress
import re
import socket
import ssl
import tempfile
import threading
import time
from urllib.parse import quote, urljoin, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Refused, desired_websites, run
from ansible.module_utils.web import NAME

PORT, TLS_PORT = 80, 443
LARGEST = 4 * 1024 * 1024  # octets of a page that are read to find the text
FAMILIES = {"A": "ipv4", "AAAA": "ipv6"}


def answers(address, names):
    """What one name server answers: {name: {"A": [...], "AAAA": [...]}}. Raises Refused where it does not answer."""
    if wrong := [name for name in names if not isinstance(name, str) or not NAME.match(name)]:
        raise Refused(f"{wrong[0]!r} is no website's name", "let the driver write the desired state")
    found = {name: {"A": [], "AAAA": []} for name in names}
    with tempfile.NamedTemporaryFile("w", suffix=".dig") as batch:
        batch.writelines(f"{name}. {kind}\n" for name in names for kind in FAMILIES)
        batch.flush()
        text = run(
            ["dig", f"@{address}", "+noall", "+answer", "+comments", "+time=3", "+tries=2", "-f", batch.name],
            timeout=60 + len(names),
        )
    if "no servers could be reached" in text or "timed out" in text:
        raise Refused(f"the name server at {address} does not answer", "see that it runs and can be reached")
    for name, kind, value in re.findall(r"^(\S+)\.\s+\d+\s+IN\s+(A|AAAA)\s+(\S+)$", text, re.M):
        found.get(name.lower(), {}).setdefault(kind, []).append(value)
    return found


def cut(sock):
    """End a connection under the hands of the one who reads from it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def certificate(sock):
    """What a visitor may know of the certificate that was shown and trusted; None without TLS."""
    if not isinstance(sock, ssl.SSLSocket):
        return None
    found = sock.getpeercert()
    issuer = {key: value for pair in found["issuer"] for key, value in pair}
    left = (ssl.cert_time_to_seconds(found["notAfter"]) - time.time()) / 86400
    return {"ok": True, "issuer": issuer.get("commonName"), "days_left": int(left), "error": None}


def fetch(address, name, path, deadline, context):
    """One answer: (status, Location or None, text, certificate). TLS with a context, else plain.

    Raises TimeoutError at the deadline, however slowly octets drip.
    """
    port = TLS_PORT if context else PORT
    connection = http.client.HTTPConnection(address, port, timeout=max(deadline - time.monotonic(), 0.001))
    watchdog = None
    try:
        connection.connect()
        if context:
            connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        shown = certificate(connection.sock)
        watchdog = threading.Timer(max(deadline - time.monotonic(), 0), cut, [connection.sock])
        watchdog.start()
        connection.request("GET", path, headers={"Host": name, "User-Agent": "website-probe", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location"), answer.read(LARGEST).decode("utf-8", "replace"), shown
    finally:
        connection.close()
        if watchdog:
            watchdog.cancel()
        if time.monotonic() >= deadline:
            raise TimeoutError("the page did not come in time")


def page(address, name, path, timeout, context):
    """The page at an address, redirects within the same website followed: (status, text, certificate).

    Begins with HTTP; without a context it does not go on to HTTPS.
    """
    deadline, scheme = time.monotonic() + timeout, "http"
    known = {("http", name, 80): None, **({("https", name, 443): context} if context else {})}
    for _ in range(6):
        status, location, text, shown = fetch(address, name, path, deadline, context if scheme == "https" else None)
        if status not in (301, 302, 303, 307, 308) or not location:
            return status, text, shown
        try:
            where = urlsplit(urljoin(f"{scheme}://{name}{path}", location))
            place = (where.scheme, where.hostname, where.port or {"http": 80, "https": 443}.get(where.scheme))
        except ValueError:
            place = None
        if place not in known:
            return status, text, shown
        scheme = where.scheme
        wanted = (where.path or "/") + (f"?{where.query}" if where.query else "")
        path = quote(wanted.encode("latin-1", "replace"), safe="/%:@!$&'()*+,;=~-._?")
    return 508, "", None


def look(website, address, timeout, context=None):
    """One look at a website's page over one address, as the records keep it."""
    begun = time.monotonic()
    wanted = 503 if website["state"] == "suspended" else 200
    found = {"address": address, "status": None, "contains": False, "ms": None, "ok": False, "https": None}
    try:
        status, text, shown = page(address, website["name"], website["probe"]["path"], timeout, context)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {**found, "error": str(error) or type(error).__name__}
    contains = website["state"] == "suspended" or website["probe"]["contains"] in html.unescape(text)
    return {
        "address": address,
        "status": status,
        "contains": contains,
        "ok": status == wanted and contains,
        "ms": round((time.monotonic() - begun) * 1000),
        "error": None,
        "https": shown,
    }


def same_text(address):
    """An address as dig writes it: 2001:DB8:0::1 and 2001:db8::1 are one."""
    return str(ipaddress.ip_address(address))


def names_seen(websites, nameservers):
    """{website: {host: {"A", "AAAA", "ok"}}} and one line a fault; every address of every name server is asked."""
    seen = {w["name"]: {} for w in websites}
    failures = []
    names = [name for w in websites for name in [w["name"], *w["aliases"]]]
    for host, addresses in nameservers.items():
        for address in addresses:
            try:
                found = answers(address, names)
            except Refused as error:
                failures.append(f"{host}: {error.what}")
                found = {}
            for website in websites:
                wanted = {
                    kind: [same_text(website["address"][family])] if website["address"].get(family) else []
                    for kind, family in FAMILIES.items()
                }
                wrong = [n for n in [website["name"], *website["aliases"]] if found.get(n) != wanted]
                before = seen[website["name"]].get(host, {"ok": True})
                seen[website["name"]][host] = {
                    **found.get(website["name"], {"A": [], "AAAA": []}),
                    "ok": before["ok"] and not wrong,
                }
                if found:
                    failures += [f"{n}: {host} ({address}) answers {found[n]}, not {wanted}" for n in wrong]
    return seen, failures


def fault(website, result, standing):
    """What a visitor misses in one look, in a line; None where nothing."""
    at = f"{website['name']}{website['probe']['path']} at {result['address']}"
    if not result["ok"]:
        missed = result["error"] or f"status {result['status']}" + (
            "" if result["contains"] else f", and the page lacks {website['probe']['contains']!r}"
        )
        return f"http://{at}: {missed}"
    if standing and standing["status"] != "pending" and not result["https"]:
        return f"https://{at}: visitors are not led to HTTPS, and the web host's certificate is {standing['status']}"
    return None


def probe(websites, nameservers, timeout, context=None, certificates=None):
    """Look at all websites; gives (probes, failures). With a context websites are followed to HTTPS."""
    seen, failures = names_seen(websites, nameservers)
    looks = [(w, w["address"][family]) for w in websites for family in FAMILIES.values() if w["address"].get(family)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda pair: look(*pair, timeout, context), looks))
    probes = {name: {"dns": dns, "http": None, "https": None} for name, dns in seen.items()}
    for (website, _), result in zip(looks, results, strict=True):
        name = website["name"]
        standing = (certificates or {}).get(name)
        line = fault(website, result, standing)
        if line:
            failures.append(line)
        shown = result.pop("https")
        if standing and not shown:
            shown = {"ok": False, "issuer": None, "days_left": None, "error": line or standing["error"]}
        kept = probes[name]
        if kept["http"] is None or (kept["http"]["ok"] and not result["ok"]):
            kept["http"] = result
        if kept["https"] is None or (kept["https"]["ok"] and shown and not shown["ok"]):
            kept["https"] = shown
    return probes, failures


def trust(ca):
    """Whom a visitor trusts: this system's authorities, and those in a file."""
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:
            raise Refused(f"{ca} holds no certificates to trust: {error}", "name a file of PEM certificates") from error
    return context


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            "websites": {"type": desired_websites, "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
            "nameservers": {"type": "dict", "required": True},
            "timeout": {"type": "int", "default": 30},
            "certificates": {"type": "dict", "default": {}},
            "ca": {"type": "path"},
        },
    )
    params = module.params
    only = set(params["only"])
    websites = [
        w for w in params["websites"] if w["state"] in ("present", "suspended") and (not only or w["name"] in only)
    ]
    probes, failures = {}, []
    if websites:
        try:
            certificates = {name: facts["certificate"] for name, facts in params["certificates"].items()}
            context = trust(params["ca"])
            probes, failures = probe(websites, params["nameservers"], params["timeout"], context, certificates)
        except Refused as error:
            module.fail_json(msg=f"refused: {error.what}\nlayer: visitor\nmend: {error.mend}", probes={}, failures=[])
    if failures:
        module.fail_json(
            msg="refused: a visitor does not see what the desired state says: "
            + "; ".join(failures[:10])
            + f"\nlayer: visitor, {len(failures)} faults\nmend: see the lines above; nothing was changed",
            probes=probes,
            failures=failures,
        )
    module.exit_json(changed=False, probes=probes, failures=failures)


if __name__ == "__main__":
    main()

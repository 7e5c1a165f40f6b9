#!/usr/bin/python
"""See each website as a visitor does: its names at every name server, its front page over every address."""

from __future__ import annotations

DOCUMENTATION = r"""
module: website_probe
short_description: See each website as a visitor does
description:
  - Asks every name server by each of its addresses for the websites' names, then opens the page over every address.
  - Changes nothing. Needs C(dig).
options:
  websites:
    description: The full list of websites of the desired state.
    type: list
    elements: dict
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
  description: For each website what DNS answered at each name server, and what the page answered.
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
import tempfile
import threading
import time
from urllib.parse import quote, urljoin, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Refused, run
from ansible.module_utils.web import NAME

PORT = 80
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


def fetch(address, name, path, deadline):
    """One answer: (status, Location or None, text). Raises TimeoutError at the deadline, however slowly octets drip."""
    connection = http.client.HTTPConnection(address, PORT, timeout=max(deadline - time.monotonic(), 0.001))
    watchdog = None
    try:
        connection.connect()
        watchdog = threading.Timer(max(deadline - time.monotonic(), 0), cut, [connection.sock])
        watchdog.start()
        connection.request("GET", path, headers={"Host": name, "User-Agent": "website-probe", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location"), answer.read(LARGEST).decode("utf-8", "replace")
    finally:
        connection.close()
        if watchdog:
            watchdog.cancel()
        if time.monotonic() >= deadline:
            raise TimeoutError("the page did not come in time")


def page(address, name, path, timeout):
    """The page at an address, redirects within the same website followed: (status, text)."""
    deadline = time.monotonic() + timeout
    for _ in range(6):
        status, location, text = fetch(address, name, path, deadline)
        if status not in (301, 302, 303, 307, 308) or not location:
            return status, text
        try:
            where = urlsplit(urljoin(f"http://{name}{path}", location))
            same = (where.scheme, where.hostname, where.port or 80) == ("http", name, 80)
        except ValueError:
            same = False
        if not same:
            return status, text
        wanted = (where.path or "/") + (f"?{where.query}" if where.query else "")
        path = quote(wanted.encode("latin-1", "replace"), safe="/%:@!$&'()*+,;=~-._?")
    return 508, ""


def look(website, address, timeout):
    """One look at a website's page over one address, as the records keep it."""
    begun = time.monotonic()
    wanted = 503 if website["state"] == "suspended" else 200
    try:
        status, text = page(address, website["name"], website["probe"]["path"], timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = str(error) or type(error).__name__
        return {"address": address, "status": None, "contains": False, "ms": None, "ok": False, "error": said}
    contains = website["state"] == "suspended" or website["probe"]["contains"] in html.unescape(text)
    return {
        "address": address,
        "status": status,
        "contains": contains,
        "ok": status == wanted and contains,
        "ms": round((time.monotonic() - begun) * 1000),
        "error": None,
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


def probe(websites, nameservers, timeout):
    """Look at all websites; gives (probes, failures)."""
    seen, failures = names_seen(websites, nameservers)
    looks = [(w, w["address"][family]) for w in websites for family in FAMILIES.values() if w["address"].get(family)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda pair: look(*pair, timeout), looks))
    probes = {name: {"dns": dns, "http": None} for name, dns in seen.items()}
    for (website, address), result in zip(looks, results, strict=True):
        kept = probes[website["name"]]["http"]
        if kept is None or (kept["ok"] and not result["ok"]):
            probes[website["name"]]["http"] = result
        if not result["ok"]:
            missed = result["error"] or f"status {result['status']}" + (
                "" if result["contains"] else f", and the page lacks {website['probe']['contains']!r}"
            )
            failures.append(f"http://{website['name']}{website['probe']['path']} at {address}: {missed}")
    return probes, failures


def main():
    module = AnsibleModule(
        supports_check_mode=True,
        argument_spec={
            "websites": {"type": "list", "elements": "dict", "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
            "nameservers": {"type": "dict", "required": True},
            "timeout": {"type": "int", "default": 30},
        },
    )
    only = set(module.params["only"])
    websites = [
        w
        for w in module.params["websites"]
        if w["state"] in ("present", "suspended") and (not only or w["name"] in only)
    ]
    probes, failures = probe(websites, module.params["nameservers"], module.params["timeout"]) if websites else ({}, [])
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

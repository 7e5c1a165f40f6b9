#!/usr/bin/python
"""Log in to each website's database as the website itself does: from its web host, with its own credential."""

from __future__ import annotations

DOCUMENTATION = r"""
module: website_database_login
short_description: Log in to each website's database as the website itself does
description:
  - For each present website of this web host that has a database, logs in over the network with the credential kept in
    C(/etc/websites/credentials), at every address of the database server, and asks it one question.
  - Changes nothing and never returns a password.
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: Inventory name of this web host.
    type: str
    required: true
  servers:
    description: Database host to the list of the addresses where the websites look for it; each is tried.
    type: dict
    required: true
  only:
    description: Names of websites to limit the check to; without any it is all.
    type: list
    elements: str
    default: []
author:
  - DKISP Kota Tarakan (@dkisp)
"""

EXAMPLES = r"""
- name: Log in as each website's own database user
  website_database_login:
    websites: "{{ database_websites }}"
    host: web1
    servers: {db1: [10.0.0.21, "fd00::21"]}
"""

RETURN = r"""
probes:
  description: 'Website to C({"database": {"login", "error"}}).'
  returned: success
  type: dict
failures:
  description: One sentence for each website that cannot log in.
  returned: success
  type: list
"""

import concurrent.futures

from ansible.module_utils import database, transaction
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Refused

LAYER = "database"
TIMEOUT = 5  # seconds for one connection
AT_ONCE = 8


class Denied(Exception):
    """A server that answers and does not let this user in."""


class Unreachable(Exception):
    """A server that does not answer at all: no need to ask it once more for the next website."""


def mariadb(address, account, password):
    import pymysql

    try:
        connection = pymysql.connect(host=address, port=database.PORTS["mariadb"], user=account, password=password,
                                     database=account, connect_timeout=TIMEOUT, read_timeout=TIMEOUT)
    except pymysql.MySQLError as error:
        # 2003: no connection; everything else was said by the server to this user
        kind = Unreachable if error.args[0] == 2003 else Denied
        raise kind(str(error.args[-1])) from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()
    finally:
        connection.close()


def postgresql(address, account, password):
    import psycopg2

    try:
        connection = psycopg2.connect(host=address, port=database.PORTS["postgresql"], user=account, password=password,
                                      dbname=account, connect_timeout=TIMEOUT, passfile="/dev/null")
    except psycopg2.Error as error:
        said = str(error).strip()
        if "FATAL" in said:
            raise Denied(said) from error
        raise Unreachable(said) from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()
    finally:
        connection.close()


LOGINS = {"mariadb": mariadb, "postgresql": postgresql}


def attempt(website, servers, dead, logins):
    """Why this website cannot log in at its server, or None where it can, at each address. `dead` is kept up."""
    account, engine, server = database.account_of(website), website["database"]["engine"], website["database"]["host"]
    path = database.CREDENTIALS / f"{account}.json"
    try:
        kept = transaction.read_json(path, None)
    except (Refused, OSError) as error:
        return str(error)
    if not isinstance(kept, dict) or not kept.get("password"):
        return f"there is no credential in {path}"
    if not servers.get(server):
        return f"no address of {server} is known"
    for address in servers[server]:
        if (engine, address) in dead:
            return dead[engine, address]
        try:
            logins[engine](address, account, kept["password"])
        except Unreachable as error:
            dead[engine, address] = f"{engine} at {address} does not answer: {error}"
            return dead[engine, address]
        except (Denied, ImportError) as error:
            return f"{engine} at {address}: {error}".replace(kept["password"], "…")
    return None


def probe(websites, host, servers, only=(), logins=None):
    """(probes, failures) of this web host's present websites."""
    fit, faults = database.checked(websites, lambda website: website.get("web_host") == host)
    mine = [w for w in fit if w["web_host"] == host and w["state"] == "present" and (not only or w["name"] in only)]
    dead = {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        errors = list(pool.map(lambda website: attempt(website, servers, dead, logins or LOGINS), mine))
    failures = [f"{left.website}: {left.what}" for left in faults if not only or left.website in only]
    probes = {}
    for website, error in zip(mine, errors, strict=True):
        probes[website["name"]] = {"database": {"login": error is None, "error": error}}
        if error:
            failures.append(f"{website['name']}: its database user {database.account_of(website)} cannot log in from "
                            f"{host}: {error}")
    return probes, failures


def main():
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": transaction.desired_websites, "required": True},
            "host": {"type": "str", "required": True},
            "servers": {"type": "dict", "required": True},
            "only": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    host = module.params["host"]
    try:
        servers = {name: database.addresses(at) for name, at in module.params["servers"].items()}
        probes, failures = probe(module.params["websites"], host, servers, module.params["only"])
    except Refused as error:
        transaction.fail(module, LAYER, host, error)
    del module.params["websites"]  # the result would carry the whole desired set back to the controller
    module.exit_json(changed=False, probes=probes, failures=failures)


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Make and keep the passwords of a web host's database users; only verifiers leave the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: website_credentials
short_description: Make and keep the passwords of a web host's database users
description:
  - For each website of this web host that has a database, keeps C(/etc/websites/credentials/w20001.json) (root only)
    with engine, password and verifier. The password is random, made here, and never returned.
  - Verifiers are secrets of a lower kind, so the action of the same name hides the result; a failure it shows.
options:
  websites:
    description: The full desired set of websites, as a list or as the text of the desired state.
    type: raw
    required: true
  host:
    description: Inventory name of this web host.
    type: str
    required: true
author:
  - DKISP Kota Tarakan (@dkisp)
"""

EXAMPLES = r"""
- name: Make the credentials of this web host's databases
  website_credentials:
    websites: "{{ database_websites }}"
    host: web1
  register: database_credentials
"""

RETURN = r"""
verifiers:
  description:
    - JSON of account to C({"engine", "verifier"}); the verifier is null in check mode where it would be made.
    - It is one text, since Ansible looks at every single value of a result, and for each value of a secret argument.
  returned: success
  type: str
changes:
  description: Credentials that were made, replaced or removed; no secrets.
  returned: success
  type: list
refused:
  description: Websites that were left as they were, each with what and mend.
  returned: success
  type: list
"""

import base64
import hashlib
import hmac
import json
import secrets
import string

from ansible.module_utils import database, transaction
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.transaction import Change, Refused

LAYER = "credentials"
ALPHABET = string.ascii_letters + string.digits  # so that no configuration file needs to quote it
LENGTH = 40
ITERATIONS = 4096  # as PostgreSQL itself; the password is random, so more would only slow each login


def native(password):
    """The hash of MariaDB's mysql_native_password."""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def scram(password, salt):
    """A SCRAM-SHA-256 verifier as PostgreSQL stores it (RFC 5803); an ASCII password needs no SASLprep."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(value).decode() for value in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt_text}${stored_text}:{server_text}"


def credential(engine, password=None):
    """A credential with a fresh password, or with a kept one for another engine."""
    password = password or "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    verifier = native(password) if engine == "mariadb" else scram(password, secrets.token_bytes(16))
    return {"engine": engine, "password": password, "verifier": verifier}


def whole(kept, engine):
    """Whether a stored credential can serve as it is."""
    return (
        isinstance(kept, dict) and kept.get("engine") == engine and isinstance(kept.get("password"), str)
        and bool(kept["password"]) and bool(database.VERIFIERS[engine].match(str(kept.get("verifier"))))
    )


def plan(websites, host, kept):
    """What to do on this web host: {account: website} to make or replace, to remove, and those that stay."""
    make, remove, stay = {}, {}, {}
    for website in websites:
        if website["web_host"] != host:
            continue
        account = database.account_of(website)
        stored = kept.get(account)
        if website["state"] == "purged":
            # As with the database itself: only the run that made a credential may have it removed.
            if stored and stored.get("created_by") in (None, website["created_by"]):
                remove[account] = website
        elif whole(stored, website["database"]["engine"]):
            stay[account] = website
        elif stored or website["state"] != "archived":
            make[account] = website
    return make, remove, stay


def read():
    """All credentials of this host, by account. Raises Refused for a file that is not JSON."""
    found = {}
    for path in sorted(database.CREDENTIALS.glob("w*.json")):
        found[path.stem] = transaction.read_json(path, None)
    return found


def write(account, website, kept):
    stored = kept if isinstance(kept, dict) else {}
    made = credential(website["database"]["engine"], stored.get("password"))
    made["created_by"] = stored.get("created_by") or website["created_by"]
    path = database.CREDENTIALS / f"{account}.json"
    transaction.write_atomic(path, json.dumps(made, sort_keys=True) + "\n", 0o600)
    return made


def converge(websites, host, check):
    """Returns (changes, verifiers, refused); takes back what it wrote where one file fails."""
    kept = read()
    fit, refused = database.checked(websites, lambda website: website.get("web_host") == host)
    make, remove, stay = plan(fit, host, kept)
    changes = [
        Change(w["name"], "database credential", "update" if account in kept else "create", None, {"user": account})
        for account, w in make.items()
    ]
    changes += [Change(w["name"], "database credential", "purge", {"user": account}) for account, w in remove.items()]
    known = {account: kept[account] for account in stay}
    if not check:
        if make:
            database.CREDENTIALS.mkdir(mode=0o700, parents=True, exist_ok=True)
        known |= write_all(make, kept)
        for account in remove:
            (database.CREDENTIALS / f"{account}.json").unlink()
    verifiers = {
        account: {"engine": website["database"]["engine"], "verifier": known.get(account, {}).get("verifier")}
        for account, website in {**stay, **make}.items()
    }
    return changes, verifiers, refused


def write_all(make, kept):
    """Write the new credentials, or none of them."""
    done = {}
    try:
        for account, website in make.items():
            done[account] = write(account, website, kept.get(account))
    except BaseException:
        for account in done:
            path = database.CREDENTIALS / f"{account}.json"
            if kept.get(account):
                transaction.write_atomic(path, json.dumps(kept[account], sort_keys=True) + "\n", 0o600)
            else:
                path.unlink()
        raise
    return done


def main():
    module = AnsibleModule(
        argument_spec={
            "websites": {"type": transaction.desired_websites, "required": True},
            "host": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    host = module.params["host"]
    try:
        with transaction.server_lock(LAYER):
            changes, verifiers, refused = converge(module.params["websites"], host, module.check_mode)
    except Refused as error:
        transaction.fail(module, LAYER, host, error)
    except OSError as error:
        transaction.fail(module, LAYER, host, Refused(f"{error.filename or 'a file'}: {error.strerror}",
                                                      "mend what it names, then run again"))
    del module.params["websites"]  # the result would carry the whole desired set back to the controller
    module.exit_json(
        changed=bool(changes), verifiers=json.dumps(verifiers),
        changes=[{"layer": LAYER, "host": host, **change._asdict()} for change in changes],
        refused=[{**left._asdict(), "layer": LAYER, "host": host} for left in refused],
    )


if __name__ == "__main__":
    main()

"""The policy of all websites as Apache reads it, and that websites' own files fit it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import jinja2
import pytest
import yaml
from web_cases import SIZES, WebHost, app, host, php, website

__all__ = ["host"]
ROLE = Path(__file__).resolve().parents[3] / "roles/apache"
TEMPLATE = ROLE / "templates/etc/apache2/conf-available/websites-policy.conf.j2"


@pytest.fixture(scope="module")
def policy() -> str:
    """The policy with the role's defaults."""
    given = {key: value for part in ("defaults", "vars")
             for key, value in yaml.safe_load((ROLE / part / "main.yml").read_text()).items()}
    template = jinja2.Template(TEMPLATE.read_text(), trim_blocks=True, undefined=jinja2.StrictUndefined)
    return template.render(given, ansible_managed="by the role")


def macro(policy: str, name: str) -> str:
    found = re.search(rf"^<Macro {name} .*?^</Macro>", policy, re.M | re.S)
    assert found, name
    return found[0]


def test_folder_that_php_may_write_obeys_no_htaccess(policy: str) -> None:
    """`AllowOverride None` takes back the classes alone; the list that the release has is a setting of its own."""
    assert "AllowOverrideList " in macro(policy, "WebsiteFolder"), "or the test shows nothing"
    said = macro(policy, "WebsiteWritable").split("\n")
    assert {"    AllowOverride None", "    AllowOverrideList None"} <= set(said)


PARAMETERS = {"WebsiteRequests": 3, "WebsiteSeconds": 2, "WebsiteStatic": 4, "WebsitePhp": 5, "WebsiteProxy": 5,
              "WebsiteSuspended": 3, "WebsiteWritable": 1, "WebsiteInternal": 1}


def test_websites_own_files_fit_the_policy(host: WebHost, policy: str) -> None:
    """A server gets the policy first: with another number of parameters Apache would not read the files that stand."""
    host.converge(website(), php(), app(), php("libur.tarakankota.go.id", 20003, state="suspended"))
    files = (host.root / "web/current/apache").glob("*.go.id.conf")
    used = {words[1]: len(words) - 2 for file in files for words in map(shlex.split, file.read_text().splitlines())}
    assert used == PARAMETERS
    assert {name: len(macro(policy, name).partition(">")[0].split()) - 2 for name in PARAMETERS} == PARAMETERS


def test_apache_waits_for_php_as_long_as_its_size_lets_it_run(
    host: WebHost, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own timeout is for visitors; a page would end with 504 while its process runs on."""
    monkeypatch.setitem(SIZES, "large", {**SIZES["small"], "seconds": 300})
    given = php(size="large")
    host.converge(given)
    current = host.root / "web/current"
    assert f"\nUse WebsiteSeconds {given['name']} 300\n" in (current / f"apache/{given['name']}.conf").read_text()
    assert "\nrequest_terminate_timeout = 300s\n" in (current / f"fpm/{given['name']}.conf").read_text()
    assert "Define seconds-$name $seconds" in macro(policy, "WebsiteSeconds")
    used = "  <IfDefine seconds-$name>\n    ProxyTimeout ${seconds-$name}\n  </IfDefine>\n"
    assert used in macro(policy, "WebsiteCommon")


@pytest.mark.parametrize(("name", "shown", "denied"), [
    ("WebsiteStaticPages", ["index.html", "phpinfo.txt"], ["a.php", "a.PHP", "a.pHp5", "a.Phar", "a.PHTML"]),
    ("WebsitePhpPages", ["index.php", "a.phtml", "phpinfo.txt"],
     ["a.PHP", "a.Phtml", "a.php5", "a.pHp5", "a.PHAR", "a.pht", "a.phps"]),
    ("WebsiteWritable", ["foto.PNG", "surat.pdf"],
     ["a.php", "a.PHP", "a.Php.jpg", "a.phps", "a.CGI", "a.Py", "a.SH", "a.sHtml.txt"]),
])
def test_code_is_never_shown_however_its_name_is_written(
    policy: str, name: str, shown: list[str], denied: list[str]
) -> None:
    """A name in capital letters is none that Apache gives to PHP: it would be sent as text, passwords and all."""
    refused = re.compile(r'<FilesMatch "(.*)">\n *Require all denied\n *</FilesMatch>')
    (pattern,) = refused.findall(macro(policy, name))
    assert [file for file in [*shown, *denied] if re.search(pattern, file)] == denied


def test_what_an_editor_or_a_backup_leaves_is_no_page_however_it_is_written(policy: str) -> None:
    (pattern,) = re.findall(r'<LocationMatch "(.*)">\n *Require all denied', macro(policy, "WebsiteCommon"))
    pages = ["/.well-known/security.txt", "/sql", "/a.sqlite"]
    assert [path for path in [*pages, "/.git/config", "/a.sql", "/A.SQL", "/a.Bak", "/a~"]
            if not re.search(pattern, path)] == pages

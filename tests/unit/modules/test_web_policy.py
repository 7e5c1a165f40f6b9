"""The policy of all websites as Apache reads it, and that websites' own files fit it."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest
import yaml

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

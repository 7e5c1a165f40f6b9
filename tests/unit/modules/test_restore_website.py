"""The module: what it hands to the server's command."""

import pytest
import restore_website as module
from ansible.module_utils.transaction import Refused

PARAMS = {"name": "dinkes.tarakankota.go.id", "host": "web1", "snapshot": "latest", "target": None, "in_place": True,
          "database": True}


def test_words_restore_in_place():
    assert module.words(PARAMS, False) == ["restore", PARAMS["name"], "--snapshot", "latest", "--in-place"]


def test_words_restore_to_a_folder_without_the_database():
    given = {**PARAMS, "in_place": False, "target": "/root/x", "database": False}
    assert module.words(given, True)[3:] == ["latest", "--target", "/root/x", "--without-database", "--plan"]


@pytest.mark.parametrize("values", [{"snapshot": "--target"}, {"snapshot": "12"}, {"snapshot": "latest\n"},
                                    {"name": "--json"}, {"name": "a/b"}, {"name": ""}])
def test_words_refuse_what_could_be_an_option(values):
    with pytest.raises(Refused):
        module.words({**PARAMS, **values}, False)

"""What all layers share: programs, locks, whole files, and the one way to end."""

from __future__ import annotations

import importlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import transaction, web_setup
from ansible.module_utils.transaction import Change, Left, Outcome, Refused, run

OWN = {"uid": os.getuid(), "gid": os.getgid()}


class Ended(Exception):
    """How a module ended, with what it said."""


class Module:
    """What a module's end needs of AnsibleModule."""

    def __init__(self, check_mode: bool = False) -> None:
        self.check_mode = check_mode
        self.params: dict[str, Any] = {"host": "web1", "websites": [{"name": "a"}]}

    def exit_json(self, **said: Any) -> None:
        raise Ended("done", said)

    def fail_json(self, **said: Any) -> None:
        raise Ended("failed", said)


def end(module: Module, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    with pytest.raises(Ended) as caught:
        transaction.finish(module, "web", "web1", outcome)
    kind, said = caught.value.args
    return kind, said


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(transaction, "LOCKS", tmp_path)
    return tmp_path / "websites-web.lock"


def test_run_gives_the_output_and_takes_no_shell_syntax() -> None:
    assert run(["printf", "%s|", "$(id)", "a;b", "`x`"]) == "$(id)|a;b|`x`|"


def test_run_hands_on_input_and_environment() -> None:
    assert run(["sh", "-c", 'cat; echo "$A $LC_ALL"'], stdin="in ", env={"A": "b"}) == "in b C.UTF-8\n"


def test_run_reads_nothing_of_our_own_input() -> None:
    """Over a pipelined connection that is the module itself."""
    assert run(["cat"]) == ""


def test_run_takes_output_that_is_no_utf8() -> None:
    assert run(["printf", r"a\377b"]) == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(("argv", "says"), [
    (["sh", "-c", "echo why >&2; exit 3"], "ended with 3: why"),
    (["sh", "-c", "echo said; exit 1"], "ended with 1: said"),
    (["no-such-program"], "no-such-program could not run"), (["sleep", "9"], "sleep could not run: .*timed out"),
])
def test_run_refuses_with_the_programs_own_words(argv: list[str], says: str) -> None:
    with pytest.raises(Refused, match=says):
        run(argv, timeout=0.3)


def test_run_names_no_later_arguments_where_it_fails() -> None:
    with pytest.raises(Refused) as caught:
        run(["sh", "-c", "exit 1", "--password", "rahasia"])
    assert "rahasia" not in caught.value.what


def test_server_lock_queues_a_second_run(locks: Path) -> None:
    order = []

    def second() -> None:
        with transaction.server_lock("web"):
            order.append("second")

    with transaction.server_lock("web"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.15)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_server_lock_refuses_after_its_patience(locks: Path) -> None:
    with (transaction.server_lock("web"), pytest.raises(Refused, match="another run has held"),
          transaction.server_lock("web", wait=0.1)):
        pass


def test_server_lock_outwaits_a_setup_script() -> None:
    """Who comes while one runs queues, and is not turned away."""
    assert transaction.LOCK_WAIT > web_setup.SECONDS


def test_server_lock_ends_with_a_killed_holder(locks: Path) -> None:
    script = f"import fcntl, time; f = open({str(locks)!r}, 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        with pytest.raises(Refused), transaction.server_lock("web", wait=0.05):
            pass
        holder.kill()
        holder.wait()
        with transaction.server_lock("web", wait=1):
            pass


def test_server_lock_is_nobody_elses_and_follows_no_link(locks: Path, tmp_path: Path) -> None:
    """In a folder that others may write, a link of theirs would empty a file of root's."""
    with transaction.server_lock("web"):
        assert locks.stat().st_mode & 0o777 == 0o600
    locks.unlink()
    precious = tmp_path / "precious"
    precious.write_text("kept")
    locks.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"), transaction.server_lock("web"):
        pass
    assert precious.read_text() == "kept"


def test_locks_lie_where_only_root_may_write() -> None:
    assert Path("/run/lock") not in [transaction.LOCKS, *transaction.LOCKS.parents]


def test_write_atomic_says_whether_anything_differed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    said = [transaction.write_atomic(path, content, mode, **OWN)
            for content, mode in (("a", 0o600), ("a", 0o600), ("b", 0o600), ("b", 0o640), (b"b", 0o640))]
    assert said == [True, False, True, True, False]
    assert path.stat().st_mode & 0o7777 == 0o640 and [found.name for found in tmp_path.iterdir()] == ["x"]


def test_write_atomic_has_content_and_name_on_the_disk_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that a power cut takes away again leaves nobody to settle what it told of."""
    real, seen = os.fsync, list[tuple[bool, list[str]]]()

    def fsync(handle: int) -> None:
        names = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")]
        seen.append((stat.S_ISDIR(os.fstat(handle).st_mode), names))
        real(handle)

    monkeypatch.setattr(transaction.os, "fsync", fsync)
    assert transaction.write_atomic(tmp_path / "x", "a", **OWN)
    assert seen == [(False, []), (True, ["x"])]


def test_write_atomic_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transaction.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        transaction.write_atomic(path, "new", **OWN)
    assert path.read_text() == "old" and [found.name for found in tmp_path.iterdir()] == ["x"]


def test_write_atomic_replaces_a_link_and_not_what_it_names(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "x"
    precious.write_text("kept")
    path.symlink_to(precious)
    transaction.write_atomic(path, "new", **OWN)
    assert precious.read_text() == "kept" and path.read_text() == "new" and not path.is_symlink()


def test_read_json_gives_value_default_or_refusal(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert transaction.read_json(path, []) == []
    path.write_text(json.dumps({"a": 1}))
    assert transaction.read_json(path, []) == {"a": 1}
    for damage in (b"{", b"", b"\xff\xfe"):
        path.write_bytes(damage)
        with pytest.raises(Refused, match=r"x\.json is not JSON"):
            transaction.read_json(path, [])


@pytest.mark.parametrize("given", [
    [{"name": "a"}], '[{"name": "a"}]', '{"format": 1, "websites": [{"name": "a"}]}', {"websites": [{"name": "a"}]}])
def test_desired_websites_are_a_list_or_a_text(given: Any) -> None:
    assert transaction.desired_websites(given) == [{"name": "a"}]


@pytest.mark.parametrize("given", ["", "{", "null", '"a"', "{}", "[1]", '{"websites": {"a": {}}}', 7, None, ["a"]])
def test_desired_websites_are_nothing_else(given: Any) -> None:
    """Ansible makes a refusal of these two exceptions."""
    with pytest.raises((TypeError, ValueError)):
        transaction.desired_websites(given)


def test_result_does_not_carry_the_websites_back() -> None:
    module = Module()
    end(module, Outcome([], {}, [], [], []))
    assert module.params == {"host": "web1"}


def test_finish_sorts_changes_and_names_layer_and_host() -> None:
    changes = [Change("b", "vhost", "create"), Change(None, "daemons", "update"),
               Change("a", "vhost", "create", None, "x"), Change("a", "pool", "create")]
    kind, said = end(Module(), Outcome(changes, {"a": {}}, ["b", "a"], [], ["z", "y"]))
    assert kind == "done" and said["changed"] is True
    assert [(c["website"], c["subject"]) for c in said["changes"]] == [
        (None, "daemons"), ("a", "pool"), ("a", "vhost"), ("b", "vhost")]
    assert said["changes"][2] == {"layer": "web", "host": "web1", "website": "a", "subject": "vhost",
                                  "action": "create", "before": None, "after": "x", "by_website": False}
    assert (said["created"], said["orphans"]) == (["a", "b"], ["y", "z"])


def test_finish_names_the_websites_that_were_left_as_they_were() -> None:
    left = Left("a.go.id", "its setup script ended with 1", "mend it")
    kind, said = end(Module(), Outcome([], {}, [], [], [], (left,)))
    assert (kind, said["refused"]) == ("done", [{"website": "a.go.id", "what": "its setup script ended with 1",
                                                 "mend": "mend it", "layer": "web", "host": "web1"}])


CONFLICT = {"website": "a.go.id", "subject": "vhost", "where": "/etc/apache2/sites-enabled/x.conf:1"}


def test_finish_shows_conflicts_in_check_mode_and_fails_for_real() -> None:
    outcome = Outcome([], {}, [], [CONFLICT], [])
    kind, said = end(Module(check_mode=True), outcome)
    assert (kind, said["changed"], said["conflicts"]) == ("done", False, [{**CONFLICT, "host": "web1"}])
    kind, said = end(Module(), outcome)
    assert kind == "failed" and said["msg"].splitlines() == [
        "refused: a.go.id already exists on web1 and is not ours (/etc/apache2/sites-enabled/x.conf:1)",
        "layer: web on web1", "mend: choose another name, or remove or adopt what is there by hand"]


@pytest.mark.parametrize("name", ["apache_websites", "firewall_table", "nameserver_records", "public_ip_leases"])
def test_full_disk_is_a_refusal_in_three_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "/etc/websites/x")

    module = Module()
    module.params |= {"confirm": "", "sizes": {}}
    layer = importlib.import_module(name)
    monkeypatch.setattr(layer, "AnsibleModule", lambda **_: module)
    monkeypatch.setattr(layer, "server_lock", full)
    monkeypatch.setattr(layer, "CURRENT", tmp_path, raising=False)
    with pytest.raises(Ended) as caught:
        layer.main()
    kind, said = caught.value.args
    what, where, mend = said["msg"].splitlines()
    assert kind == "failed" and "No space left on device: '/etc/websites/x'" in what
    assert (where.split()[0], mend) == ("layer:", "mend: see to its disk")

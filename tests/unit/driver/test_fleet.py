"""The real ansible-runner against a small project on this machine: success, failure, check mode, cancel, silence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.desk import PROJECT, Desk
from sop_driver.errors import Failed
from sop_driver.fleet import Events, Fault, Fleet, FleetResult, Result, read_results

LAYER = """
- name: Converge
  hosts: web
  gather_facts: false
  tasks:
    - name: Converge the websites
      ansible.legacy.layer:
        websites: "{{ (lookup('ansible.builtin.file', desired_state_file) | from_json).websites }}"
        touch: "{{ evidence_dir }}/applied"
"""
MODULE = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(dict(websites=dict(type="list", elements="dict"), touch=dict()), supports_check_mode=True)
if not module.check_mode:
    open(module.params["touch"], "w").close()
module.exit_json(changed=True, orphans=[], conflicts=[], as_built={"a": {"big": "x" * 800000}},
                 changes=[{"website": w["name"], "title": w["title"]} for w in module.params["websites"]])
"""
TASKS = {
    "fail": '{ansible.builtin.fail: {msg: "no room on {{ inventory_hostname }}"}, name: Make room}',
    # What the driver is given here, no way of ours (tests/policy forbids it in roles and playbooks). Where a role that
    # an agency adds ignores an error, Ansible tells of a failure and counts none: no website may be put back for it.
    "ignored": "{ansible.builtin.fail: {msg: x}, ignore_errors: true}",
    "rescued": "{block: [{ansible.builtin.fail: {msg: x}}], rescue: [{ansible.builtin.debug: {msg: y}}]}",
    "slow": "{ansible.builtin.command: sleep 60}",
    "hidden": "{ansible.builtin.set_fact: {told: {changes: [secret]}}, no_log: true}",
    "environment": """{ansible.builtin.assert: {that: "lookup('config', 'HOST_KEY_CHECKING')"}}""",
}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    for folder in ("playbooks", "plugins/modules", "evidence"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(PROJECT / "plugins/callback", tmp_path / "plugins/callback")
    (tmp_path / "ansible.cfg").write_text("[defaults]\nlibrary = plugins/modules\n")
    (tmp_path / "plugins/modules/layer.py").write_text(MODULE)
    (tmp_path / "playbooks/websites.yml").write_text(LAYER)
    for name, task in TASKS.items():
        text = f"- {{name: {name}, hosts: web, gather_facts: false, tasks: [{task}]}}\n"
        (tmp_path / f"playbooks/{name}.yml").write_text(text)
    (tmp_path / "playbooks/broken.yml").write_text("- hosts: [\n")
    (tmp_path / "playbooks/nobody.yml").write_text("- {hosts: nobody, gather_facts: false, tasks: []}\n")
    host = "web1: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}"
    (tmp_path / "hosts.yml").write_text(f"web: {{hosts: {{{host}}}}}\n")
    return Fleet(tmp_path, tmp_path / "hosts.yml", tmp_path / "evidence")


def state(fleet: Fleet, title: str = "Dinas") -> Path:
    path = fleet.project / "desired.json"
    path.write_text(json.dumps({"websites": [{"name": "a.tarakankota.go.id", "title": title}]}))
    return path


def test_play_brings_results_home_even_large_ones(fleet: Fleet) -> None:
    result = fleet.play("websites.yml", state(fleet))
    assert result.ok, result.trouble
    assert result.results[0].host == "web1" and result.results[0].task == "Converge the websites"
    assert len(result.of_website("as_built")["a"]["web1"]["big"]) == 800000
    assert (fleet.evidence / "applied").exists()


def test_play_leaves_a_requesters_template_as_text(fleet: Fleet, tmp_path: Path) -> None:
    hostile = "{{ lookup('pipe', 'touch " + str(tmp_path / "pwned") + "') }}"
    result = fleet.play("websites.yml", state(fleet, hostile))
    assert result.gather("changes") == [{"website": "a.tarakankota.go.id", "title": hostile}]
    assert not (tmp_path / "pwned").exists()


def test_play_in_check_mode_plans_and_changes_nothing(fleet: Fleet) -> None:
    result = fleet.play("websites.yml", state(fleet), check=True)
    assert result.ok and result.gather("changes") and not (fleet.evidence / "applied").exists()


def test_play_tells_host_task_and_message_of_a_failure(fleet: Fleet) -> None:
    result = fleet.play("fail.yml", state(fleet))
    assert not result.ok and result.failures == [Fault("web1", "Make room", "no room on web1")]


@pytest.mark.parametrize("playbook", ["ignored.yml", "rescued.yml", "environment.yml"])
def test_play_judges_by_stats_not_by_failed_events(fleet: Fleet, playbook: str) -> None:
    result = fleet.play(playbook, state(fleet))
    assert result.ok, result.trouble


def test_play_tells_unreachable_servers(fleet: Fleet) -> None:
    fleet.inventory.write_text("web: {hosts: {web1: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    result = fleet.play("websites.yml", state(fleet))
    assert not result.ok and result.unreachable[0].host == "web1"


@pytest.mark.parametrize("playbook", ["broken.yml", "missing.yml"])
def test_play_without_stats_is_unknown_and_tells_the_output(fleet: Fleet, playbook: str) -> None:
    result = fleet.play(playbook, state(fleet))
    assert result.stats is None and not result.ok and "ended without saying how" in result.trouble
    assert playbook.removesuffix(".yml") in result.trouble or "YAML" in result.trouble


def test_play_on_nobody_is_not_well(fleet: Fleet) -> None:
    result = fleet.play("nobody.yml", state(fleet))
    assert not result.ok and "no server" in result.trouble


def test_play_never_brings_home_what_no_log_hides(fleet: Fleet) -> None:
    result = fleet.play("hidden.yml", state(fleet))
    assert result.ok and result.results == []


def test_play_ends_when_stopped(fleet: Fleet) -> None:
    timer = threading.Timer(3, fleet.stopped.set)
    timer.start()
    result = fleet.play("slow.yml", state(fleet))
    assert result.canceled and not result.ok and result.trouble == "it was interrupted"
    fleet.end_leftovers()
    time.sleep(0.5)
    left = [p for p in Path("/proc").glob("[0-9]*/environ") if str(fleet.evidence).encode() in read(p)]
    assert left == []


def test_play_that_puts_back_ends_too_once_another_driver_may_be_at_the_servers(fleet: Fleet) -> None:
    lost = threading.Event()
    fleet.lost = lost.is_set
    timer = threading.Timer(3, lost.set)
    timer.start()
    result = fleet.play("slow.yml", state(fleet), stoppable=False)
    assert result.canceled and not result.ok and "no sign of life" in result.trouble
    fleet.end_leftovers()
    assert not fleet.play("websites.yml", state(fleet), stoppable=False).results


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_end_leftovers_spares_what_is_not_its_own(fleet: Fleet) -> None:
    mark = {"SOP_CHANGES_FOR": "/another/home/evidence"}
    other = subprocess.Popen(["sleep", "30"], env={**os.environ, **mark})
    fleet.end_leftovers()
    assert other.poll() is None
    other.kill()


def marked(*marks: str) -> subprocess.Popen[bytes]:
    """A process that has these in its environment, as what a play starts."""
    return subprocess.Popen(["sleep", "30"], env={**os.environ, **dict(mark.split("=", 1) for mark in marks)})


@pytest.mark.parametrize("lost", [False, True])
def test_end_leftovers_spares_the_play_of_who_has_taken_over(fleet: Fleet, lost: bool) -> None:
    """On the same machine both change servers for one register; what a dead driver left is nobody's."""
    fleet.lost = lambda: lost
    mine, other = (marked(fleet._mark_of_all, own) for own in (fleet.mark, "SOP_DRIVER=another"))
    fleet.end_leftovers()
    assert mine.wait(10) != 0
    assert other.poll() is None if lost else other.wait(10) != 0
    other.kill()
    other.wait()


def test_end_leftovers_ends_what_was_started_while_it_looked(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible starts workers all the time; one that is left would still do its task."""
    def kill(pid: int, number: int) -> None:
        if len(started) < 3:
            started.append(marked(fleet._mark_of_all, fleet.mark))
        real(pid, number)

    started, real = [marked(fleet._mark_of_all, fleet.mark)], os.kill
    monkeypatch.setattr(os, "kill", kill)
    fleet.end_leftovers()
    monkeypatch.undo()
    try:
        assert [play.wait(5) for play in started] == [-signal.SIGKILL] * 3
    finally:
        for play in started:
            play.kill()


def test_play_keeps_no_folder_behind(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("sop_driver.fleet.MEMORY", memory)
    fleet.play("ignored.yml", state(fleet))
    assert list(memory.iterdir()) == []


PLAY = """
import sys
from pathlib import Path
from sop_driver import fleet
project = Path(sys.argv[1])
fleet.MEMORY = project / "memory"
fleet.Fleet(project, project / "hosts.yml", project / "evidence").play("slow.yml", project / "desired.json")
"""


@pytest.fixture
def drivers(fleet: Fleet) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two of them, each in the middle of a play."""
    state(fleet)
    (fleet.project / "memory").mkdir()
    words = [sys.executable, "-c", PLAY, str(fleet.project)]
    started = [subprocess.Popen(words, cwd=PROJECT) for _ in range(2)]
    deadline = time.monotonic() + 60
    while len(list(fleet.project.glob("memory/*/env/settings"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    yield started
    for driver in started:
        driver.kill()
        driver.wait()
    fleet.end_leftovers()


def test_play_removes_what_killed_drivers_left_in_memory_and_nothing_else(
    fleet: Fleet, drivers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment and what servers answered are in it, and it would take memory until the next boot."""
    memory = fleet.project / "memory"
    monkeypatch.setattr("sop_driver.fleet.MEMORY", memory)
    (memory / "sop-other").mkdir()
    there = set(memory.iterdir())
    drivers[0].kill()
    drivers[0].wait()
    with monkeypatch.context() as another:
        another.setattr(os, "geteuid", lambda: os.getuid() + 1)
        fleet.play("ignored.yml", state(fleet))
    assert len(there) == 3 and set(memory.iterdir()) == there
    fleet.play("ignored.yml", state(fleet))
    left = set(memory.iterdir())
    assert len(left) == 2 and left < there and memory / "sop-other" in left
    drivers[1].kill()
    drivers[1].wait()
    fleet.play("ignored.yml", state(fleet))
    assert list(memory.iterdir()) == [memory / "sop-other"]


def test_play_is_unknown_when_the_runner_raises(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(**_: object) -> None:
        raise RuntimeError("slow handler")

    monkeypatch.setattr("ansible_runner.run", burst)
    assert "slow handler" in fleet.play("fail.yml", state(fleet)).trouble


def test_play_is_unknown_where_this_machine_has_no_room_for_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever puts the servers back goes on, and records what could not be."""
    def full(prefix: str, **more: object) -> None:
        raise OSError(28, "No space left on device", f"/dev/shm/{prefix}x")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    result = fleet.play("websites.yml", state(fleet))
    assert not result.ok and "No space left on device (/dev/shm/sop-x)" in result.trouble


FULL = """        if 'host' in lines[0] and {when}:
            pathlib.Path(os.environ["SOP_RESULTS_FILE"]).open("a").write({half!r})
            raise OSError(28)
        if lines and"""
LOST = "not all that servers answered has arrived"


@pytest.mark.parametrize(("when", "half", "told"), [
    ("True", "", LOST), ("self._count == 1", "", LOST), ("self._count == 2", "", LOST),
    ("self._count == 1", '{"host"', "a result is not readable"), ("self._count == 2", '{"host"', "not readable")])
def test_play_is_not_well_where_answers_are_lost_on_the_way(
    fleet: Fleet, tmp_path: Path, when: str, half: str, told: str
) -> None:
    """The disk is full: Ansible warns and counts every server as well done, and what is foreign, differs or was refused
    would be as if it were not there."""
    again = LAYER.replace("Converge the websites", "Converge them again")
    (tmp_path / "playbooks/websites.yml").write_text(LAYER + again)
    callback = tmp_path / "plugins/callback/sop_results.py"
    text = callback.read_text()
    callback.write_text(text.replace("        if lines and", FULL.format(when=when, half=half)))
    result = fleet.play("websites.yml", state(fleet))
    assert not result.ok and told in result.trouble


def test_events_never_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(lambda text: None)
    assert events.handle({"event": "runner_on_failed", "event_data": {"res": "no mapping"}}) is False
    assert events.handle({}) is False and events.failures[0].host == "controller"


def test_read_results_stops_at_a_half_line_and_refuses_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "results"
    line = json.dumps({"host": "a", "task": "t", "result": {}})
    path.write_text(f"{line}\n{line[:9]}")
    assert read_results(path) == ([Result("a", "t", {})], False) and read_results(tmp_path / "none") == ([], False)
    path.write_text("nonsense\n")
    with pytest.raises(Failed, match="not readable"):
        read_results(path)


def test_of_website_joins_what_two_layers_of_one_host_say() -> None:
    result = FleetResult(
        "x",
        [Result("web1", "a", {"as_built": {"s": {"vhost": 1}}}), Result("web1", "b", {"as_built": {"s": {"pool": 2}}})],
    )
    assert result.of_website("as_built") == {"s": {"web1": {"vhost": 1, "pool": 2}}}


def test_events_tell_a_layers_three_parts_in_one_line_and_each_item_of_a_loop() -> None:
    events = Events(lambda text: None)
    result = {"msg": "refused: a is taken\nlayer: web on web1\nmend: choose another\n"}
    data = {"host": "web1", "task": "t", "res": result}
    events.handle({"event": "runner_on_failed", "event_data": data})
    events.handle({"event": "runner_item_on_failed", "event_data": data})
    events.handle({"event": "runner_on_failed", "event_data": {**data, "ignore_errors": True}})
    assert [f.msg for f in events.failures] == ["refused: a is taken; layer: web on web1; mend: choose another"] * 2


@pytest.mark.parametrize(("odd", "kept"), [
    ("a\0b", "a\ufffdb"), ("\udc80", "?"), (float("nan"), "NaN"), (float("-inf"), "-Infinity"),
    ("\U0001f600", "\U0001f600"), ("\U0001f600\0", "\U0001f600\ufffd")])
def test_what_a_server_answers_can_be_recorded(shared_desk: Desk, tmp_path: Path, odd: object, kept: str) -> None:
    """Where it could not be, the run's records could never be made, and no other run would begin."""
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"host": "a", "task": "t", "result": {"probes": {"x": {"error": odd}}}}) + "\n")
    events = Events(lambda text: None)
    events.handle({"event": "runner_on_failed", "event_data": {"host": "a", "task": "t", "res": {"msg": str(odd)}}})
    (result,), _ = read_results(path)
    assert result.values == {"probes": {"x": {"error": kept}}}
    entry = shared_desk.office.register.append("record", reason=events.failures[0].msg, data=result.values)
    assert list(shared_desk.office.register.entries())[-1] == entry

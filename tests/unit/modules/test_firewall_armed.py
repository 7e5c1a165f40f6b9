"""The firewall's rules are judged before anything is touched, loaded under an armed timer, and saved when confirmed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import firewall_table
import pytest
from ansible.module_utils import firewall, nft, transaction
from ansible.module_utils.transaction import Refused

OLD, REMOVAL = "table inet websites_firewall {\n\told\n}\n", nft.removal(firewall.TABLE)
PARAMS = {"management": ["10.89.77.1/32"], "ssh_port": 22, "service": "apache", "forward": [], "egress": None,
          "allow": [{"protocol": "tcp", "ports": [80], "from": "any"}], "revert_after": 30, "confirm": None}
TIMER = f"{firewall_table.REVERT}.timer"


class Killed(BaseException):
    """The module ends at once, as by kill -9."""


class Ended(Exception):
    """How the module ended, with what it said."""


class Server:
    """A server's kernel, systemd and files, as programs see them: `at` says what happens when a point is reached."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.table = folder, OLD
        self.armed: Path | None = None  # what the timer loads
        self.did: list[str] = []
        self.at: dict[str, Callable[[], object]] = {}
        for name, path in (("ETC", "etc"), ("BASE", "etc/firewall.json"), ("FRAGMENTS", "etc/firewall.d"),
                           ("SAVED", "etc/firewall.nft"), ("STATE", "state"), ("APPLIED", "state/fw/applied.json"),
                           ("PENDING", "state/fw/pending.json"), ("PREVIOUS", "state/fw/previous.nft")):
            monkeypatch.setattr(firewall_table, name, folder / path)
        for at in ("etc/firewall.d", "state/fw"):
            (folder / at).mkdir(parents=True)
        for module in (firewall_table, nft):
            monkeypatch.setattr(module, "run", self.run)
        monkeypatch.setattr(firewall_table, "write_atomic", self.write)
        monkeypatch.setattr(nft.shutil, "which", lambda program: f"/usr/sbin/{program}")
        monkeypatch.setattr(transaction, "LOCKS", folder)
        monkeypatch.setattr(firewall_table.time, "sleep", lambda seconds: self.wait())
        monkeypatch.setenv("SSH_CONNECTION", "10.89.77.1 50000 10.89.77.11 22")

    def reach(self, point: str) -> None:
        self.did.append(point)
        self.at.get(point, lambda: None)()

    def wait(self) -> None:
        with transaction.server_lock("firewall", wait=0):  # whoever waits must not keep others from confirming
            self.reach("wait")

    def run(self, argv: list[str], stdin: str = "") -> str:
        match argv:
            case ["nft", "-c", "-f", "-"]:
                self.reach("check")
            case ["nft", "-f", "-"]:
                self.reach("load")
                self.load(stdin)
            case ["nft", "-j", "list", "tables"]:
                found = [{"table": {"family": "inet", "name": firewall.TABLE}}] if self.table else []
                return json.dumps({"nftables": found})
            case ["nft", "-j", "list", *_]:
                return json.dumps({"nftables": [{"rule": self.table}]})
            case ["nft", "-s", "list", *_]:
                return self.table
            case ["systemctl", "show", "--property=ActiveState", "--value", *units]:
                return "\n".join("active\n" if self.armed and unit == TIMER else "inactive\n" for unit in units)
            case ["systemctl", "stop", unit] if unit == TIMER:
                self.reach("disarm")
                self.armed = None
            case ["systemd-run", *_, "nft", "-f", path]:
                self.reach("arm")
                assert self.armed is None, "systemd has that unit already"
                assert f"--on-active={PARAMS['revert_after']}s" in argv
                self.armed = Path(path)
            case _:
                raise AssertionError(f"nobody expected {argv}")
        return ""

    def load(self, text: str) -> None:
        """What nft does with a document: our own begin with removing the table."""
        self.table = text.partition(REMOVAL)[2]

    def strike(self) -> None:
        """The timer's time is over."""
        assert self.armed is not None
        self.load(self.armed.read_text())
        self.armed = None

    def write(self, path: Path, content: str, mode: int) -> bool:
        self.reach(f"write {path.name}")
        return transaction.write_atomic(path, content, mode, os.getuid(), os.getgid())

    def files(self) -> dict[str, str]:
        return {str(path.relative_to(self.folder)): path.read_text() for path in self.folder.rglob("*.*")
                if path.is_file() and path.suffix != ".lock"}

    def converge(self, check_mode: bool = False, **changes: Any) -> dict[str, Any]:
        module = SimpleNamespace(check_mode=check_mode, params={**PARAMS, **changes}, _diff=False)
        return firewall_table.converge(module)

    def started(self) -> bool:
        """Whether a start of the server would load the new rules."""
        return "tcp dport { 80 } accept" in self.files().get("etc/firewall.nft", "")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> None:
        raise error
    return act


def new(server: Server) -> bool:
    """Whether the kernel has the new rules."""
    return "tcp dport { 80 } accept" in server.table


def test_new_rules_are_judged_then_guarded_then_loaded_and_not_yet_saved(server: Server) -> None:
    said = server.converge()
    steps = [step for step in server.did if not step.startswith("write")]
    assert steps == ["check", "arm", "load"] and said["armed"] and said["token"] and new(server)
    assert not server.started() and "etc/firewall.d/apache.json" not in server.files()


def test_rules_that_nft_refuses_touch_nothing(server: Server) -> None:
    before = server.files()
    server.at["check"] = raising(Refused("syntax error", "mend it"))
    with pytest.raises(Refused, match="syntax error"):
        server.converge()
    assert server.did == ["check"] and (server.table, server.armed, server.files()) == (OLD, None, before)


def test_rules_that_shut_out_this_very_run_are_refused_before_anything(server: Server) -> None:
    before = server.files()
    with pytest.raises(Refused, match=r"this run came from 10\.89\.77\.1"):
        server.converge(management=["192.0.2.0/24"])
    assert server.did == [] and server.files() == before


def test_check_mode_judges_the_rules_and_does_nothing_else(server: Server) -> None:
    before = server.files()
    said = server.converge(check_mode=True)
    assert said["changed"] and not said["armed"]
    assert server.did == ["check"] and server.table == OLD and server.files() == before


def test_rules_as_they_are_need_no_timer(server: Server) -> None:
    firewall_table.confirm(server.converge()["token"])
    server.did.clear()
    assert not server.converge()["changed"] and server.did == []


def test_old_rules_lie_ready_for_the_timer_before_new_ones_are_loaded(server: Server) -> None:
    """A server that dies with the load under way, or a lock-out by it, has nothing but the timer."""
    server.at["load"] = raising(Killed())
    with pytest.raises(Killed):
        server.converge()
    server.table = "half"
    server.strike()
    assert server.table == OLD and not server.started()


def test_timer_without_which_nothing_is_loaded(server: Server) -> None:
    server.at["arm"] = raising(Refused("`systemd-run` ended with 1", "mend it"))
    with pytest.raises(Refused, match="systemd-run"):
        server.converge()
    assert server.table == OLD and "load" not in server.did


def test_rules_that_the_kernel_refuses_leave_no_timer(server: Server) -> None:
    server.at["load"] = raising(Refused("No buffer space available", "mend it"))
    with pytest.raises(Refused, match="No buffer space"):
        server.converge()
    assert (server.table, server.armed) == (OLD, None) and "state/fw/pending.json" not in server.files()


def test_confirmation_ends_the_timer_and_then_saves(server: Server) -> None:
    token = server.converge()["token"]
    server.did.clear()
    firewall_table.confirm(token)
    assert server.did[0] == "disarm" and server.armed is None and new(server) and server.started()
    assert "state/fw/pending.json" not in server.files()


def test_lost_confirmation_brings_the_old_rules_back_and_saves_nothing(server: Server) -> None:
    server.converge()
    server.strike()
    assert server.table == OLD
    server.converge(service=None)
    assert "apache" not in str(server.files()), "nothing of what nobody confirmed is declared"


def test_late_confirmation_says_that_the_old_rules_are_back(server: Server) -> None:
    token = server.converge()["token"]
    server.strike()
    with pytest.raises(Refused, match="the previous rules came back, because no new connection confirmed"):
        firewall_table.confirm(token)
    assert server.table == OLD and not server.started()


def test_confirmation_of_other_rules_leaves_the_timer_armed(server: Server) -> None:
    server.converge()
    with pytest.raises(Refused, match="not the last ones loaded"):
        firewall_table.confirm("somebody else's")
    assert server.armed and not server.started()


@pytest.mark.parametrize("point", ["write firewall.nft", "write applied.json"])
def test_run_that_died_while_saving_is_completed_by_the_next_one(server: Server, point: str) -> None:
    """Its new connection had worked, and what a start of the server loads must not stay half of both."""
    token = server.converge()["token"]
    server.at[point] = raising(Killed())
    with pytest.raises(Killed):
        firewall_table.confirm(token)
    server.at.clear()
    said = server.converge()
    assert not said["changed"] and new(server) and server.started() and server.armed is None


def test_rules_that_nobody_confirmed_are_put_back_where_the_timer_failed(server: Server) -> None:
    """It may have been lost with systemd's memory, or nft may have refused what it loads."""
    server.converge()
    server.armed = None
    assert new(server)
    server.at["load"] = raising(Killed())
    with pytest.raises(Killed):
        server.converge()
    server.at.clear()
    server.at["write previous.nft"] = lambda: server.did.append(f"with {server.table}")
    assert server.converge()["armed"]
    assert f"with {OLD}" in server.did and not server.started()


def ended(monkeypatch: pytest.MonkeyPatch, *, check_mode: bool = False, **params: Any) -> dict[str, Any]:
    """What the module says in the end."""
    def end(**said: Any) -> None:
        raise Ended(said)

    def module(**_: Any) -> Any:
        return SimpleNamespace(check_mode=check_mode, params={**PARAMS, **params}, _diff=False, exit_json=end,
                               fail_json=end)

    monkeypatch.setattr(firewall_table, "AnsibleModule", module)
    with pytest.raises(Ended) as caught:
        firewall_table.main()
    return dict(caught.value.args[0])


def test_rules_that_cannot_be_saved_are_told_as_that_and_saved_by_the_next_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was shut out, so nobody shall look for that."""
    token = server.converge()["token"]
    server.at["write firewall.nft"] = raising(OSError(28, "No space left on device"))
    said = ended(monkeypatch, confirm=token)["msg"]
    assert re.match(r"refused: .*No space left on device\nlayer: firewall on \S+\nmend: see to its disk", said)
    assert new(server) and server.armed is None
    server.at.clear()
    assert not ended(monkeypatch)["changed"] and server.started()


DATABASE = {"service": "database", "allow": [{"protocol": "tcp", "ports": [5432], "from": ["10.89.77.0/24"]}]}


def test_second_run_waits_until_the_first_one_s_rules_are_confirmed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the confirmation away, and the first run would fail."""
    token = server.converge()["token"]
    server.at["wait"] = lambda: firewall_table.confirm(token)
    said = ended(monkeypatch, **DATABASE)
    assert server.did.count("wait") == 1 and said["armed"]
    firewall_table.confirm(said["token"])
    assert new(server) and server.started() and "5432" in server.files()["etc/firewall.nft"]


@pytest.mark.parametrize("lost", [False, True])
def test_second_run_waits_until_the_timer_has_brought_back_what_a_dead_one_loaded(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    """Else the rules to which its own timer goes back could be those that nobody confirmed."""
    server.converge()
    if lost:
        firewall_table.PENDING.unlink()
    server.at["wait"] = server.strike
    assert ended(monkeypatch, **DATABASE)["armed"]
    assert "5432" in server.table and not new(server)
    server.strike()
    assert server.table == OLD


def test_plan_waits_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take rules that wait for their confirmation for somebody's change by hand."""
    token = server.converge()["token"]
    server.at["wait"] = lambda: firewall_table.confirm(token)
    assert ended(monkeypatch, check_mode=True)["changes"] == []


def test_run_does_not_wait_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.converge()
    before, table = server.files(), server.table
    monkeypatch.setattr(firewall_table, "LOCK_WAIT", 0)
    said = ended(monkeypatch, **DATABASE)["msg"]
    assert said.startswith("refused: another run's rules have waited for their confirmation for over 0 s")
    assert server.armed and (server.files(), server.table) == (before, table)

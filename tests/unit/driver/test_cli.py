"""Every command by its words, its exit code, and what it prints where."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from driver import insider, people
from driver.desk import PROJECT, Desk, FakeFleet, failing, unreachable
from sop_driver import cli, desired
from sop_driver.config import FleetFacts
from sop_driver.errors import Usage

Sop = Callable[..., tuple[int, str, str]]
NAME = "dinkes.tarakankota.go.id"


@pytest.fixture
def fleet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> FakeFleet:
    monkeypatch.setattr(cli, "fleet", lambda work: desk.fleet)
    monkeypatch.setattr(cli.config, "load_facts", lambda project, config: desk.facts)
    return desk.fleet


@pytest.fixture
def sop(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sop:
    monkeypatch.setenv("SOP_CONFIG", str(PROJECT / "sop_driver/data/sop.example.yml"))
    monkeypatch.setenv("SOP_HOME", str(desk.office.home.path))
    if "://" in desk.place:
        monkeypatch.setenv("SOP_REGISTER", desk.place)
    monkeypatch.setenv("SOP_KEYS", str(people.write_keys(desk.folder / "keys")))

    def call(*words: Any) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in words])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_the_whole_procedure_by_commands(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    code, out, _ = sop("submit", desk.write(desk.form()), "--letter", desk.letter, "--as", "dinkes", "--json")
    request = json.loads(out)["request"]
    assert code == 0 and json.loads(out)["next"]["step"] == "agenda"
    paper = desk.paper
    for words in (
        ("agenda", "--as", "kasubbag", "--evidence", f"scan={paper}", "--evidence", f"lembar_disposisi={paper}"),
        ("disposition", "--as", "kadis", "--evidence", f"surat_terdisposisi={paper}"),
        ("review", "--as", "kabid", "--evidence", f"data_tindak_lanjut={paper}"),
        ("decision", "--as", "kabid", "--outcome", "yes"),
        ("existence", "--as", "kabid", "--outcome", "absent"),
        ("needs_analysis", "--as", "kabid", "--evidence", f"data_kebutuhan_informasi={paper}"),
        (
            "build",
            "--as",
            "subkoor",
            "--evidence",
            f"kak={paper}",
            "--evidence",
            f"buku_manual={paper}",
            "--evidence",
            f"dokumentasi_aplikasi={paper}",
        ),
    ):
        code, out, err = sop("record", request, *words)
        assert code == 0, err
    assert "next: 9. installation" in out
    code, out, err = sop("plan", request)
    assert code == 0 and f"{NAME}\n  web1\n    + create vhost" in out
    code, out, err = sop("run", request)
    assert code == 0 and "applied and seen by a visitor" in out and f"http://{NAME}/" in out
    for words, part in (
        (("status",), "installation"),
        (("status", request), "next: 10. report"),
        (("list",), "198.51.100.11"),
        (("history", request), "run run-000001 applied"),
        (("report", request), "# Layanan Pembuatan"),
        (("register", "verify"), "every signature holds"),
        (("probe",), '"status":200'),
        (("drift",), "as the register says"),
    ):
        code, out, err = sop(*words)
        assert code == 0 and part in out, (words, out, err)
        code, out, err = sop(*words, "--json")
        assert code == 0 and json.loads(out) is not None, words


def sockets() -> int:
    return sum(isinstance(one, psycopg.Connection) and not one.closed for one in gc.get_objects())


def test_command_closes_the_register_in_time_whatever_its_end(desk: Desk, sop: Sop) -> None:
    """Not when its memory is collected: whoever called it may copy the file next, which ends SQLite's locks on it."""
    desk.office.register.close()
    before = sockets()
    gc.disable()
    try:
        for words, code in ((("status",), 0), (("status", "R-2026-0404"), 2)):
            assert sop(*words)[0] == code
            assert sockets() == before
            held = [file.readlink() for file in Path("/proc/self/fd").iterdir() if file.exists()]
            assert not [path for path in held if path.is_relative_to(desk.office.home.path)]
    finally:
        gc.enable()


def test_run_refused_by_gates_exits_3_and_names_all_on_stderr(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    code, out, err = sop("run", desk.submit())
    assert code == 3 and out == "" and err.count("gate: ") == 7 and err.count("mend: ") == 7


def test_plan_with_closed_gates_shows_both_and_exits_3(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    code, out, err = sop("plan", desk.submit(), "--json")
    assert code == 3 and json.loads(out)["changes"] and len(json.loads(out)["refusals"]) == 7 and "gate: review" in err


def test_who_asks_is_told_beside_what_the_form_says(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    """A form's agency is free text: who approves, and who installs, sees whose signature it bears."""
    request = desk.approved(requester="disdik")
    told = f"{request}  create {NAME}  (Dinas Kesehatan, asked by disdik (Dinas Pendidikan), agenda "
    assert sop("status", request)[1].startswith(told) and sop("plan", request)[1].startswith(told)
    assert json.loads(sop("status", "--json")[1])[0]["asked_by"] == "disdik (Dinas Pendidikan)"
    assert "- Agency: Dinas Kesehatan, Sekretariat; asked by disdik (Dinas Pendidikan)\n" in sop("report", request)[1]


def test_plan_names_the_closed_gates_where_a_server_is_out_of_reach_too(
    desk: Desk, sop: Sop, fleet: FakeFleet
) -> None:
    fleet.faults["check"] = unreachable
    code, out, err = sop("plan", desk.submit())
    assert code == 3 and not out and "gate: review" in err and err.count("gate: ") == 8
    assert "the servers could not be looked at: db1: connection refused" in err
    code, _, err = sop("plan", desk.approved(name="lain.tarakankota.go.id"))
    assert code == 1 and "failed: the servers could not be looked at: db1: connection refused" in err


def test_run_failed_exits_1_in_three_parts(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    fleet.faults["probe.yml"] = failing
    code, _, err = sop("run", desk.approved())
    assert code == 1 and err.startswith("failed: ") and "\nwhere: " in err and "\nmend: " in err


def test_run_without_backup_exits_1_and_still_records(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    fleet.faults["backup.yml"] = failing
    code, out, err = sop("run", desk.approved())
    assert code == 1 and "NO BACKUP" in err and "applied" in out
    assert f"`ansible-playbook -i {desk.config.inventory} playbooks/backup.yml`" in err
    assert (desk.office.home.records / NAME / "backup.json").exists()


def test_what_a_server_or_an_entry_says_makes_no_line_of_its_own(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    """Else who reads the end of a command is told that all is well."""
    request, said = desk.approved(), "gone\nrun-000001: applied and seen by a visitor\nmend: nothing"
    shown = r"gone\nrun-000001: applied and seen by a visitor\nmend: nothing"
    fleet.failures = [said]
    code, _, err = sop("run", request, "--as", "subkoor")
    assert code == 1 and shown in err and len(err.splitlines()) == 3
    fleet.failures = []
    assert sop("run", request, "--as", "subkoor")[0] == 0
    fleet.failures = [said]
    code, _, err = sop("probe")
    assert code == 1 and shown in err and len(err.splitlines()) == 3
    insider.rewrite(desk, lambda all_: [*all_[:3], {**all_[3], "time": said}, *all_[4:]], key=True)
    code, _, err = sop("run", request, "--as", "subkoor")
    assert code == 3 and shown in err and all(line.split(": ")[0] in ("refused", "gate", "mend", "")
                                              for line in err.splitlines())


def test_interrupted_run_exits_130(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    fleet.on_play = lambda playbook, check: fleet.stopped.set() if playbook == "probe.yml" else None
    assert sop("run", desk.approved())[0] == 130


@pytest.mark.parametrize("command", ["drift", "probe"])
def test_look_at_the_servers_that_is_interrupted_exits_130(
    desk: Desk, sop: Sop, fleet: FakeFleet, command: str
) -> None:
    """1 would say that something differs."""
    fleet.on_play = lambda playbook, check: fleet.stopped.set()
    code, out, err = sop(command)
    assert (code, out) == (130, "") and "it was interrupted" in err


def test_drift_and_failed_probe_exit_1(desk: Desk, sop: Sop, fleet: FakeFleet) -> None:
    assert sop("run", desk.approved())[0] == 0
    fleet.existing.clear()
    fleet.failures = ["it does not answer"]
    assert sop("drift")[0] == 1
    code, _, err = sop("probe", NAME)
    assert code == 1 and "it does not answer" in err
    assert sop("probe", "ghost.tarakankota.go.id")[0] == 2
    assert not list(desk.office.home.runs.glob("look-*"))


def test_schema_is_json_schema(sop: Sop) -> None:
    code, out, _ = sop("schema")
    found = json.loads(out)
    assert code == 0 and found["additionalProperties"] is False
    assert {"kind", "name", "purpose"} <= set(found["required"])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dance",),
        ("submit",),
        ("record", "R-1"),
        ("run",),
        ("status", "R-1999-0001"),
        ("history", "R-1999-0001"),
        ("submit", "/nonexistent.yml"),
        ("record", "R-1", "agenda", "--as", "kasubbag", "--evidence", "scan"),
        ("record", "R-1", "agenda", "--as", "kasubbag", "--evidence", "../x=y"),
        ("register", "burn"),
        ("--config",),
    ],
)
def test_usage_exits_2_in_three_parts(sop: Sop, words: tuple[str, ...]) -> None:
    code, out, err = sop(*words)
    assert code == 2 and out == "" and "\nwhere: " in err and "\nmend: " in err


def test_register_verify_exits_1_with_the_finding(desk: Desk, sop: Sop) -> None:
    desk.submit()
    insider.change(desk, "UPDATE entries SET entry = replace(entry, 'Sekretariat', 'Pribadi')")
    code, out, _ = sop("register", "verify")
    assert code == 1 and "entry 2: the signature of dinkes: it is not over what the entry says" in out
    assert "rely on nothing from entry 2 on; the last one to rely on is entry 1" in out


def test_lab_is_the_home_only_once_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.lab` alone is on every machine that was bootstrapped, a controller of real servers too."""
    monkeypatch.delenv("SOP_HOME", raising=False)
    (tmp_path / ".lab").mkdir()
    assert cli.config.find_home(None, tmp_path).path == Path("/var/lib/sop")
    (tmp_path / ".lab/sop").mkdir()
    assert cli.config.find_home(None, tmp_path).path == tmp_path / ".lab/sop"


def test_empty_register_is_no_all_clear(tmp_path: Path, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another home was meant than the one that was found."""
    monkeypatch.delenv("SOP_REGISTER", raising=False)
    home = tmp_path / "there"
    home.mkdir()
    for more in ((), ("--json",)):
        code, out, err = sop("register", "verify", "--home", home, *more)
        assert code == 2 and not out and f"no register has begun here\nwhere: {home / 'register.db'}" in err
        assert "--home or SOP_HOME" in err


@pytest.mark.parametrize("words", [("status",), ("list",), ("register", "verify"), ("register", "receipt"),
                                   ("actors", "list"), ("run", "R-2026-0001")])
def test_only_the_ceremony_makes_a_home(
    desk: Desk, tmp_path: Path, sop: Sop, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A slip in its name would leave a second, empty register."""
    monkeypatch.delenv("SOP_REGISTER", raising=False)
    home = tmp_path / "tehre"
    code, out, err = sop(*words, "--home", home)
    assert code == 2 and not out and "no register has begun here" in err and not home.exists()
    keys = [word for name in people.FIRST for word in ("--key", f"{name}={desk.folder / 'keys' / name}")]
    code, out, err = sop("actors", "bootstrap", desk.ceremony(), *keys, "--home", home)
    assert code == 0 and "entry 1, bootstrap" in out, err


def test_stranger_as_register_exits_2_untouched(tmp_path: Path, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOP_REGISTER", raising=False)
    home = tmp_path / "strange"
    home.mkdir()
    (home / "register.db").write_text("hello")
    code, _, err = sop("status", "--home", home)
    assert code == 2 and "not a register" in err and (home / "register.db").read_text() == "hello"


def test_a_bug_exits_70(sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.report, "status", lambda *_: 1 / 0)
    monkeypatch.setattr(cli.standing, "all_standings", lambda *_: [None])
    code, _, err = sop("status")
    assert code == 70 and "ZeroDivisionError" in err


def test_terminal_never_sees_control_sequences(sop: Sop, desk: Desk) -> None:
    code, _, err = sop("status", "R-\x1b[2J")
    assert code == 2 and "\x1b" not in err


def test_json_is_without_control_sequences_and_says_the_same(
    sop: Sop, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of eight bits, and what turns the direction of writing, as well."""
    value = {"\x9b2J\u202e": "Dinas Kesehatan é\u2028\x7f\n\U000e0041"}
    cli.say(Namespace(json=True), [], value)
    out = capsys.readouterr().out
    assert json.loads(out) == value and "Kesehatan é" in out
    assert not {"\x9b", "\u202e", "\u2028", "\x7f", "\U000e0041"} & set(out)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "Input should be"),
        ("inventory: x\n", "agenda"),
        ("a: [", "not readable"),
        ("timezone: Mars/Olympus\n", "Mars"),
        ("agenda: {classification: a, unit: b, pattern: '{n}'}\n", "knows"),
        ("agenda: {classification: a, unit: b, pattern: 'x'}\n", "not unique"),
    ],
)
def test_bad_config_is_named_with_its_fields(desk: Desk, sop: Sop, text: str, part: str) -> None:
    code, _, err = sop("status", "--config", desk.document("sop.yml", text))
    assert code == 2 and part in err


def test_facts_of_the_lab_are_readable(desk: Desk) -> None:
    facts: FleetFacts = cli.config.load_facts(PROJECT, desk.config)
    assert facts.web and facts.database and facts.pool
    elsewhere = desk.config.model_copy(update={"inventory": str(PROJECT / desk.config.inventory)})
    assert cli.config.load_facts(Path("/opt/websites"), elsewhere) == facts


def test_help_names_every_command_and_exit_code() -> None:
    done = subprocess.run([sys.executable, "-m", "sop_driver", "--help"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 failed, or found something (drift, probe," in " ".join(done.stdout.split())
    table = (PROJECT / "README.md").read_text().partition("| exit | meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.M) == re.findall(r"(?:codes: |· )(\d+)", cli.EPILOG)
    assert all(name.split()[0] in done.stdout for name in cli.COMMANDS)


def test_command_loads_nothing_that_only_others_use() -> None:
    """Every command waits for what is loaded, and most play nothing, verify nothing whole and have no PostgreSQL."""
    asked = """import sys, sop_driver.cli
print(sys.modules.keys() & {"alembic", "ansible_runner", "multiprocessing", "psycopg", "pyhanko", "vodozemac"})"""
    done = subprocess.run([sys.executable, "-c", asked], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_facts_of_another_domain_are_refused(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "inv/group_vars/all").mkdir(parents=True)
    (tmp_path / "inv/group_vars/all/fleet.yml").write_text(
        "fleet: {domain: example.go.id, web: {web1: {ipv4: 198.51.100.11}}}"
    )
    with pytest.raises(Usage, match="the same domain in both"):
        cli.config.load_facts(tmp_path, desk.config.model_copy(update={"inventory": "inv"}))


def test_desired_state_is_there_for_playbooks_run_by_hand(desk: Desk, sop: Sop) -> None:
    assert sop("status")[0] == 0
    assert json.loads(desk.office.home.desired.read_text())["websites"] == []


@pytest.mark.parametrize("command", [["status"], ["record", "R-2026-0001", "agenda", "--as", "kasubbag"]])
def test_desired_state_that_a_backup_brought_back_is_not_older_than_the_register(
    desk: Desk, sop: Sop, command: list[str]
) -> None:
    """Where the database is newer than the home, say: by hand, the playbooks would take the last website away."""
    assert sop("status")[0] == 0
    old = desk.office.home.desired.read_bytes()
    desk.run(desk.approved())
    new = desk.office.home.desired.read_bytes()
    desk.office.home.desired.write_bytes(old)
    sop(*command)
    assert json.loads(desk.office.home.desired.read_bytes())["websites"] == json.loads(new)["websites"] != []
    assert desired.read(desk.office.home.desired) == desired.fold(desk.office.register)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)])
@pytest.mark.parametrize("recorded", [True, False])
def test_command_that_is_ended_says_whether_something_was_recorded(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, recorded: bool
) -> None:
    """Who is told to run it again would bring the request twice."""
    def ended(*_: Any) -> None:
        raise error

    where = "sop_driver.report.status" if recorded else "sop_driver.steps.signed"
    with monkeypatch.context() as patch:
        patch.setattr(where, ended)
        words = ("submit", desk.write(desk.form()), "--letter", desk.letter, "--as", "dinkes")
        found, _, err = sop(*words)
    assert (found, "`sop history REQ`" in err, "run" in err.splitlines()[-1]) == (code, recorded, not recorded)
    assert desk.office.register.head()[0] == (2 if recorded else 1)


def test_command_that_is_interrupted_while_it_commits_does_not_say_that_nothing_is_recorded(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python tells of ^C only once the database has ended what it was asked for."""
    real = Connection.exec_driver_sql

    def commits(db: Connection, statement: str, *words: Any) -> Any:
        answer = real(db, statement, *words)
        if statement == "COMMIT":
            raise KeyboardInterrupt
        return answer

    request = desk.write(desk.form())
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "exec_driver_sql", commits)
        code, _, err = sop("submit", request, "--letter", desk.letter, "--as", "dinkes")
    assert desk.office.register.head()[0] == 2
    assert code == 130 and "some may be recorded" in err and "`sop history REQ`" in err


def command(desk: Desk, *words: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """As a process of its own, whose output goes to `streams`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"SOP_HOME": str(desk.office.home.path), "SOP_REGISTER": desk.place, "PYTHONPATH": str(PROJECT),
                    "SOP_CONFIG": str(PROJECT / "sop_driver/data/sop.example.yml"),
                    "SOP_KEYS": str(people.write_keys(desk.folder / "keys"))}
    program = [sys.executable, "-m", "sop_driver", *words]
    return subprocess.run(program, env=environment, text=True, timeout=60, **streams)


@pytest.fixture
def nobody() -> Iterator[int]:
    """A pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize("words", [("status",), ("register", "export", "--json", "x"), ("schema",)])
def test_output_that_a_full_disk_does_not_take_is_told(file_desk: Desk, words: tuple[str, ...]) -> None:
    """Python itself ends with 120 and words of its own."""
    file_desk.submit()
    words = tuple(str(file_desk.folder / word) if word == "x" else word for word in words)
    with Path("/dev/full").open("w") as full:
        done = command(file_desk, *words, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr.startswith("failed: No space left on device\n")


@pytest.mark.parametrize(("words", "code"), [(("status",), 0), (("status", "R-2026-0009"), 2), (("--json", "list"), 0)])
def test_command_ends_as_it_does_though_nobody_reads_what_it_prints(
    file_desk: Desk, nobody: int, words: tuple[str, ...], code: int
) -> None:
    file_desk.submit()
    done = command(file_desk, *words, stdout=nobody, stderr=subprocess.PIPE)
    assert done.returncode == code and "Broken pipe" not in done.stderr
    assert command(file_desk, *words, stdout=nobody, stderr=nobody).returncode == code


def test_step_is_recorded_though_nobody_reads_its_asides(file_desk: Desk, nobody: int) -> None:
    """It warns of a request that asks for the same; 0 without an entry would say that it is in."""
    file_desk.submit()
    words = ("submit", str(file_desk.folder / "request.yml"), "--letter", str(file_desk.letter), "--as", "dinkes")
    assert command(file_desk, *words, stdout=subprocess.PIPE, stderr=nobody).returncode == 0
    assert file_desk.office.register.head()[0] == 3


def test_what_is_no_output_goes_nowhere_where_stderr_is_closed(file_desk: Desk) -> None:
    """Into a receipt, say, that somebody writes to a file."""
    file_desk.submit()
    done = command(file_desk, "status", "R-2026-0009", stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(("name", "made", "told"), [
    ("desired.json", Path.mkdir, "Is a directory"), ("run.lock", os.mkfifo, "it is no plain file")])
def test_what_is_in_a_file_s_place_is_named(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str,
    made: Callable[[Path], None], told: str
) -> None:
    """The new file, which was to get its name, is gone by then; and a pipe cannot say whose lock it is."""
    request, path = file_desk.approved(), file_desk.office.home.path / name
    for variable, value in {"SOP_HOME": path.parent, "SOP_KEYS": people.write_keys(file_desk.folder / "keys"),
                            "SOP_CONFIG": PROJECT / "sop_driver/data/sop.example.yml"}.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setattr(cli, "fleet", lambda work: file_desk.fleet)
    monkeypatch.setattr(cli.config, "load_facts", lambda project, config: file_desk.facts)
    made(path)
    assert cli.main(["run", request, "--as", "subkoor"]) == 1
    assert capsys.readouterr().err.splitlines()[:2] == [f"failed: {told}", f"where: {path}"]


def test_command_that_is_interrupted_while_it_loads_ends_130(tmp_path: Path) -> None:
    """It takes a quarter of a second, in which Python would end with a traceback."""
    (tmp_path / "sqlalchemy.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run([sys.executable, "-m", "sop_driver", "status"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}:{PROJECT}"}, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (130, "interrupted: of this command nothing is recorded")

"""The command `sop`: parses, dispatches, prints, and turns every end into its exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from sop_driver import administration as admin
from sop_driver import config, desired, emergency, entrance, officials, report, standing, steps
from sop_driver import plan as plans
from sop_driver import run as runs
from sop_driver.administration import Argument, Told
from sop_driver.errors import Failed, Refused, SopError, Usage, by_machine
from sop_driver.fleet import Fleet
from sop_driver.proof import canonical, visible
from sop_driver.request import Form
from sop_driver.signatures import pen
from sop_driver.standing import Office

EPILOG = ("exit codes: 0 done · 1 failed, or found something (drift, probe, verify); `sop history REQ` says how a "
          "run ended · 2 usage · 3 refused by a gate · 70 a bug · 130 interrupted")

LOOK = "look by `sop status`, `sop history REQ` or `sop actors list` before you repeat anything"
GROUPS = {**admin.GROUPS, **officials.GROUPS}
Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Usage(message, self.prog, f"`{self.prog} --help` shows how")


def parser(argv: Sequence[str]) -> Parser:
    """The command that the first words name, or every one, with what it takes; `run` is the function that does it."""
    shared = Parser(add_help=False)
    shared.add_argument("--home", default=argparse.SUPPRESS,
                        help="folder of the register and evidence (default: SOP_HOME, .lab/sop, /var/lib/sop)")
    shared.add_argument("--config", default=argparse.SUPPRESS,
                        help="sop.yml: inventory, agenda numbers, names, register (default: SOP_CONFIG, the lab's)")
    shared.add_argument("--json", action="store_true", help="print JSON", default=argparse.SUPPRESS)
    top = Parser(prog="sop", parents=[shared], epilog=EPILOG,
                 description="Websites by the SOP Layanan Pembuatan dan Pemutakhiran Website: "
                             "its steps and gates, the run on the servers, its records.")
    groups: dict[str, Any] = {}
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    named = {words for words in COMMANDS if words.split() == list(argv[:len(words.split())])}
    for words, (text, run, arguments) in COMMANDS.items():
        if named and words not in named:
            continue
        name, _, action = words.partition(" ")
        if action and name not in groups:
            group = commands.add_parser(name, help=GROUPS[name], description=GROUPS[name], epilog=EPILOG)
            groups[name] = group.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
        made = (groups[name] if action else commands).add_parser(
            action or name, parents=[shared], help=text, description=text, epilog=EPILOG)
        made.set_defaults(run=run)
        for flags, settings in arguments:
            made.add_argument(*flags.split(), **settings)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = argparse.Namespace()
    try:
        options = parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
        with contextlib.ExitStack() as options.closing:
            return _run(options)
    except SopError as error:
        return _end(error.code, str(error))
    except OSError as error:
        mend = LOOK if entrance.recorded(options) else "check the path, its rights and the disk's room, then run again"
        return _end(1, str(by_machine(error, mend)))
    except KeyboardInterrupt:
        kept, mend = ("some may be", LOOK) if entrance.recorded(options) else ("nothing is", "run it again")
        return _end(130, f"interrupted: of this command {kept} recorded\nwhere: sop\nmend: {mend}")
    except Exception:
        return _end(70, traceback.format_exc() + "bug: please report the lines above")


def _print(text: str, stream: TextIO | None) -> None:
    """Print now: Python would end by a code of its own where it cannot. Raises OSError for a full disk; a reader that
    has gone (`sop history … | head`) has seen enough, and nothing ends for an aside."""
    if stream is None:  # closed
        return
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise


def _run(options: argparse.Namespace) -> int:
    """What comes of entries that are none is a refusal, and no bug."""
    try:
        return int(options.run(options))
    except (SopError, OSError):
        raise
    except Exception:
        entrance.relied(options)
        raise


def _end(code: int, text: str) -> int:
    _print(_visible(text.split("\n")), sys.stderr)
    return code


def _visible(lines: Sequence[str]) -> str:
    """Requesters' texts reach the terminal without its control sequences, each in the line that tells it."""
    return "\n".join(map(visible, lines))


def say(options: argparse.Namespace, lines: Sequence[str], value: Any) -> None:
    if getattr(options, "json", False):
        lines = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).split("\n")
    if lines:
        _print(_visible(lines), sys.stdout)


def office(options: argparse.Namespace) -> Office:
    return entrance.ready(entrance.opened(options, _aside))


def reading(options: argparse.Namespace) -> Office:
    """For commands that only show: what cannot be relied on stops gates, never reading."""
    return entrance.reading(entrance.opened(options, _aside), _warn)


def _warn(text: str) -> None:
    _aside(f"warning: {text}")


def _aside(text: str) -> None:
    """What is no part of a command's output, at once: somebody may be about to sign."""
    _print(visible(text), sys.stderr)


def fleet(work: Office) -> Fleet:
    """The real fleet; from here on ^C, SIGTERM and a lost terminal stop the play under way, which is then put back."""
    made = Fleet(work.project, work.project / work.config.inventory, work.home.evidence,
                 lambda text: _aside(f"  … {text}"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under `nohup`
            signal.signal(number, lambda *_: made.stopped.set())
    return made


def submit(options: argparse.Namespace) -> int:
    work = office(options)
    sign = admin.way(options)
    now = steps.submit(work, options.request_file, options.letter, options.actor, options.replace, sign, options.ink,
                       _warn)
    if now is None:
        return tell(options, admin.prepared(options.prepare, sign))
    value = report.status(work, now)
    say(options, [f"recorded: {now.id}, step 1", *report.status_lines(value)], value)
    return 0


def record(options: argparse.Namespace) -> int:
    documents = admin.pairs(options.evidence, "--evidence")
    if strange := [name for name in documents if not name.isidentifier()]:
        raise Usage(f"--evidence {strange[0]}=…", "sop record", "name a document by letters, digits and `_`")
    work, sign = office(options), admin.way(options)
    entry = steps.record(work, options.request, options.step, options.actor, sign, options.outcome, documents,
                         options.reason, options.ink)
    if entry is None:
        return tell(options, admin.prepared(options.prepare, sign))
    value = report.status(work, standing.stand(work, options.request))
    say(options, [f"recorded: {report.entry_line(work, entry).strip()}", *report.status_lines(value)], value)
    return 0


def status(options: argparse.Namespace) -> int:
    work = reading(options)
    values = report.statuses(work, standing.all_standings(work, options.request))
    lines = [*emergency.alarms(work, options.request), *report.calendar(work)]
    say(options, [*lines, *(line for value in values for line in report.status_lines(value))], values)
    return 0


def list_websites(options: argparse.Namespace) -> int:
    work = reading(options)
    state = desired.document(work.register, desired.fold(work.register))
    say(options, [*emergency.alarms(work), *report.websites(work)], state)
    return 0


def history(options: argparse.Namespace) -> int:
    work = reading(options)
    entries = report.history(work, options.request)
    say(options, report.entry_lines(work, entries), [entry.__dict__ for entry in entries])
    return 0


def plan(options: argparse.Namespace) -> int:
    work = office(options)
    shown, refusals = runs.show(work, fleet(work), config.load_facts(work.project, work.config), options.requests)
    say(options, report.plan_lines(work, options.requests, shown),
        {**shown.__dict__, "refusals": [refusal.__dict__ for refusal in refusals]})
    if refusals:
        raise Refused(refusals)
    return 0


def run(options: argparse.Namespace) -> int:
    work = office(options)
    facts = config.load_facts(work.project, work.config)
    outcome = runs.run(work, fleet(work), facts, options.requests, pen(options.key, None, None), options.actor)
    lines = [line for request in outcome.requests for line in emergency.alarms(work, request)]
    lines += [*plans.lines(outcome.changes), f"{outcome.run}: applied and seen by a visitor"]
    lines += outcome.pages()
    lines += [f"  record: {file}" for file in outcome.records]
    lines += [f"  another website, {name}, stays as it was: {why}" for name, why in outcome.left.items()]
    say(options, lines, {**outcome.__dict__, "records": [str(file) for file in outcome.records]})
    if outcome.backup_fault:
        raise Failed(f"the websites are up, but they have NO BACKUP: {outcome.backup_fault}",
                     f"{outcome.run}, backup.yml", "mend the backup server, then `ansible-playbook "
                     f"-i {work.config.inventory} playbooks/backup.yml`; the record says so too")
    return 0


def probe(options: argparse.Namespace) -> int:
    work = office(options)
    result = plans.look(work, fleet(work), runs.PROBE, options.websites)
    failures, probes = result.told, result.of_website("probes")
    lines = [f"{name}  {host}  {canonical(seen)}" for name, hosts in sorted(probes.items())
             for host, seen in sorted(hosts.items())]
    say(options, lines, {"probes": probes, "failures": failures})
    if failures:
        raise Failed("; ".join(failures), "as a visitor", "see `sop drift` for what differs on the servers")
    return 0


def drift(options: argparse.Namespace) -> int:
    work = office(options)
    found = plans.from_result(plans.look(work, fleet(work), "inspect.yml", check=True))
    lines = [*plans.lines(found.changes),
             *(f"foreign: {canonical(conflict)}" for conflict in found.conflicts),
             *found.others(conflict["website"] for conflict in found.conflicts),
             *(f"kept without a website: {orphan['website']} on {orphan['host']}" for orphan in found.orphans)]
    lines = lines or ["the servers are as the register says"]
    say(options, [*lines, *plans.nightly_lines(found.nightly)], found.__dict__)
    return 1 if found.changes or found.conflicts or found.refused else 0


def show_report(options: argparse.Namespace) -> int:
    work = reading(options)
    lines = report.report(work, options.request)
    say(options, lines, {"request": options.request, "markdown": "\n".join(lines)})
    return 0


def schema(options: argparse.Namespace) -> int:
    _print(json.dumps(Form.model_json_schema(), indent=2, ensure_ascii=False), sys.stdout)
    return 0


def tell(options: argparse.Namespace, told: Told) -> int:
    say(options, told.lines, told.value)
    for line in told.aside:
        _aside(line)
    return told.code


def administer(command: Callable[[argparse.Namespace, Callable[[], Office]], Told], name: str) -> Run:
    def opened(options: argparse.Namespace) -> Office:
        office = entrance.opened(options, _aside, makes=name in BEGIN)
        return office.reading(_warn) if name in READ else office

    return lambda options: tell(options, command(options, lambda: opened(options)))


READ = {"actors list", "emergency list", "freeze list", "register export"}  # that only show
BEGIN = {"actors bootstrap", "register copy"}  # where no home need be
REQ: Argument = ("request", {"metavar": "REQ"})
REQS: Argument = ("requests", {"metavar": "REQ", "nargs": "+"})
COMMANDS: dict[str, tuple[str, Run, list[Argument]]] = {
    "submit": ("step 1: take in a request with its letter (surat permohonan)", submit, [
        ("request_file", {"type": Path, "metavar": "REQUEST.yml"}),
        ("--letter", {"type": Path, "metavar": "SURAT.pdf", "help": "the scanned letter"}),
        ("--as", {"dest": "actor", "help": "who asks (default: requester: in the request)"}),
        ("--replace", {"metavar": "REQ", "help": "correct this request; what was decided on it is decided again"}),
        *admin.SIGNED]),
    "record": ("write a step that somebody took into the register (all but request, installation)", record, [
        REQ,
        ("step", {"metavar": "STEP", "help": "agenda, disposition, review, …; `sop status REQ` names the next"}),
        ("--as", {"dest": "actor", "required": True, "help": "who took it: an id of `sop actors list`"}),
        ("--outcome", {"help": "yes|no of a decision, exists|absent of the existence check"}),
        ("--evidence", {"action": "append", "default": [], "metavar": "NAME=FILE", "help": "a document; repeatable"}),
        ("--reason", {"help": "why; needed when the decision is no"}),
        *admin.SIGNED]),
    "status": ("where requests stand: done steps, the next one, its actor, documents and time", status, [
        ("request", {"metavar": "REQ", "nargs": "?"})]),
    "list": ("the websites that must exist", list_websites, []),
    "history": ("every entry that concerns a request", history, [REQ]),
    "plan": ("what a run would change on the servers, and which gates are closed", plan, [REQS]),
    "run": ("steps 8 and 9: bring approved requests onto the servers", run, [
        REQS, admin.SIGNED[0], ("--as", {"dest": "actor", "help": "who installs (default: who took the last step)"})]),
    "probe": ("look at websites as a visitor does", probe, [("websites", {"metavar": "WEBSITE", "nargs": "*"})]),
    "drift": ("compare the servers with what the register says; exit 1 where they differ", drift, []),
    "report": ("the report of a request (laporan), as Markdown", show_report, [REQ]),
    "schema": ("the JSON schema of a request file, for editors", schema, []),
    **{name: (text, administer(run, name), arguments)
       for name, (text, run, arguments) in {**admin.COMMANDS, **officials.COMMANDS}.items()},
}


if __name__ == "__main__":
    sys.exit(main())

"""The commands on actors and on the register itself: what each does, and what it tells."""

from __future__ import annotations

import contextlib
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sop_driver import actors, desired, drafts, export, orders, outsider, pades, report, signatures, transfer, trust
from sop_driver.errors import Failed, Usage
from sop_driver.evidence import SALT
from sop_driver.note import open_note
from sop_driver.proof import NAMESPACE, canonical
from sop_driver.reading import none_begun
from sop_driver.register import Entry
from sop_driver.signatures import Pdf, Sign
from sop_driver.standing import Office, entries_of, stamp
from sop_driver.tenure import Actor


class Told(NamedTuple):
    """What a command says: lines for people, a value for --json, its exit code; `aside` is no part of its output."""

    lines: list[str]
    value: Any
    code: int = 0
    aside: tuple[str, ...] = ()


Argument = tuple[str, dict[str, Any]]
Opened = Callable[[], Office]


def pairs(given: list[str], flag: str) -> dict[str, Path]:
    """NAME=FILE, each name once. Raises Usage."""
    found: dict[str, Path] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not name or name in found:
            raise Usage(f"{flag} {item}", "sop", f"write {flag} NAME=FILE, each name once")
        found[name] = Path(path)
    return found


def pens(options: Namespace) -> Sign:
    """Several people sign one entry: each by a key of theirs, or by what they signed elsewhere."""
    keys, made = pairs(options.key, "--key"), pairs(options.signature, "--signature")

    def sign(who: str, message: str) -> str | None:
        return signatures.pen(keys.get(who), options.prepare, made.get(who), "NAME=")(who, message)

    return signatures.Elsewhere(sign, options.prepare) if options.prepare or made else sign


def entered(entry: Entry | None, prepare: Path | None) -> Told:
    if entry is None:
        return prepared(prepare, several=True)
    names = ", ".join([*entry.data["actors"], *entry.data["retired"], *entry.data.get("roots", ())])
    if entry.outcome == "adopt":
        names = f"the SOP {entry.data['sop']}"
    return Told([f"recorded: entry {entry.sequence}, {entry.outcome}: {names or entry.reason}"], entry.__dict__)


def worded(place: str, value: Any) -> str:
    """What was sealed, for people."""
    text = report.holder(value) if place.endswith(".subject") else canonical(value) if place == drafts.FORM else value
    return f"{place}: {', '.join(filter(None, text.values())) if isinstance(text, dict) else text}"


def way(options: Namespace) -> Sign | Pdf:
    """How a step is signed. Raises Usage."""
    if not options.pades:
        if options.crl:
            raise Usage("--crl without --pades", "how it is signed", "it is for signatures within PDFs")
        return signatures.pen(options.key, options.prepare, options.signature)
    if options.key or (options.prepare is None) == (options.signature is None):
        raise Usage("--pades without one of --prepare and --signature alone", "how it is signed",
                    "write the sheet by --prepare FILE.pdf, have it signed, and give it by --signature SIGNED.pdf")
    return Pdf(options.prepare, options.signature, options.crl)


def prepared(path: Path | None, how: Sign | Pdf | None = None, several: bool = False) -> Told:
    """What somebody, or `several` people, have to do where their keys are, and what they read before."""
    told = [f"written: {path}; nothing is recorded yet"]
    values = {each.name: json.loads(each.read_bytes()[0 if each.name == drafts.FORM else SALT:])
              for each in (drafts.laid_open(path) if path else ())}
    if path and values:
        told += [f"it names by their sha256, as `sha256sum {drafts.beside(path)}/*` shows:",
                 *(f"  {worded(place, value)}" for place, value in values.items())]
    if isinstance(how, Pdf):
        return Told([*told, "have it signed as it is (BSrE), a visible signature in the room at its lower end",
                     "then repeat this command with --signature SIGNED.pdf instead of --prepare"],
                    {"prepared": str(path), "sign": "PAdES", "sealed": values})
    command = f"ssh-keygen -Y sign -n {NAMESPACE} -f KEY {'< ' if several else ''}{path}"
    command, made = (f"{command} > ID.sig", "ID=ID.sig for each") if several else (command, f"{path}.sig")
    return Told([*told, f"{'each signs' if several else 'sign'} it: {command}",
                 f"then repeat this command with --signature {made} instead of --prepare"],
                {"prepared": str(path), "sign": command, "sealed": values})


def bootstrap(options: Namespace, opened: Opened) -> Told:
    office = opened()
    entry = actors.bootstrap(office, options.file, pens(options))
    if entry:  # what comes next is setting up the servers
        desired.provide(office.home.desired, office.register)
    return entered(entry, options.prepare)


def _wanted(options: Namespace, office: Office, role: str | None) -> Actor:
    if not (wanted := options.role or role):
        raise Usage("it is not said which role", "--role", "give --role, as the SOP's data names it")
    return Actor(name=options.name, role=wanted, unit=options.unit, person=options.person, stands_in=options.stands_in,
                 key=options.public and actors.public_key(str(options.public), Path()),
                 subject=options.certificate and pades.subject(options.certificate),
                 until=options.until and orders.moment(options.until, office, "--until", last=True))


def enroll(options: Namespace, opened: Opened) -> Told:
    office = opened()
    entry = actors.enroll(office, options.id, _wanted(options, office, None), options.signed_by, pens(options),
                          options.reason, options.decree)
    return entered(entry, options.prepare)


def replace(options: Namespace, opened: Opened) -> Told:
    office = opened()
    role = office.actor(options.id, ended=True).role
    entry = actors.enroll(office, options.id, _wanted(options, office, role), options.signed_by, pens(options),
                          options.reason, options.decree, replaces=True)
    return entered(entry, options.prepare)


def adopt(options: Namespace, opened: Opened) -> Told:
    return entered(actors.adopt(opened(), options.signed_by, pens(options), options.reason), options.prepare)


def rely(options: Namespace, opened: Opened) -> Told:
    entry = actors.rely(opened(), options.roots, options.signed_by, pens(options), options.reason)
    return entered(entry, options.prepare)


def retire(options: Namespace, opened: Opened) -> Told:
    entry = actors.retire(opened(), options.ids, options.signed_by, pens(options), options.reason)
    return entered(entry, options.prepare)


def list_actors(options: Namespace, opened: Opened) -> Told:
    office = opened()
    people = office.people()
    return Told(report.actors(office) or ["nobody yet: `sop actors bootstrap FILE`"],
                {name: {**actor.__dict__, "name": office.personal(actor.name), "since": people.since[name],
                        "subject": actor.subject and office.personal(actor.subject)}
                 for name, actor in people.actors.items()})


def verify(options: Namespace, opened: Opened) -> Told:
    """The register and its documents. Its exit code is 1 where anything was found."""
    office = opened()
    found = trust.examine(office)
    if all(number > found.tree.size for number, _ in found.findings):  # else what they name is nothing to look for
        with contextlib.suppress(Failed) if found.findings else contextlib.nullcontext():  # of damage, told already
            found.findings += list(outsider.documents(office.register.texts(), office.evidence.folder,
                                                      office.evidence.folder, found.people.erased))
    sequence, told = found.tree.size, (lines := found.lines())
    if not sequence and not lines:
        raise none_begun(office.register.path)
    if not lines:
        told = [f"{sequence} entries, every signature holds, root {found.tree.root().hex()}"]
        told += [f"signed by {name}" if open_note(note, office.config.witnesses).signers
                 else f"{name} bears no signature of a witness that sop.yml names"
                 for name, note in sorted(trust.witnessed(office).items())]
        told += outsider.witnessed_to(found)
    unseen = [key.split("+")[0] for key in office.config.witnesses if key not in found.signers]
    told = [*told, *(f"nothing here is signed by the witness {name} that sop.yml names: entries that are cut off are "
                     "not found; let it sign (docs/register.md)" for name in unseen)]
    told = [*told, *found.courses.left(), *found.notes(stamp(office.register.now()))]
    told += [f"{office.evidence.path(digest)} was {erasure}, and is there: repeat that `sop erase`"
             for digest, erasure in found.people.erased.items() if office.evidence.has(digest)]
    told += [f"{path} was left half written by a command that was killed: no entry names it, remove it"
             for path in office.evidence.half_written()]
    return Told(told, {"entries": sequence, "head": found.seen.leaves[sequence], "root": found.tree.root().hex(),
                                "findings": lines, "unwitnessed": unseen}, 1 if lines else 0)


def export_register(options: Namespace, opened: Opened) -> Told:
    files = export.export(opened(), options.folder, options.documents)
    lacks = [] if options.documents else ["documents are no part of it, so that verify.py ends with 3: --documents"]
    command = f"python3 -P {options.folder}/verify.py {options.folder} --key KEY"
    return Told([*map(str, files), f"check it anywhere: {command}",
                 "KEY is the register's as the minutes or a printed report show it, not as the export does", *lacks],
                {"files": [str(file) for file in files]})


def receipt(options: Namespace, opened: Opened) -> Told:
    office = opened()
    if options.request:
        entries_of(office, options.request)
    value, _ = trust.proven(office, options.request)
    value |= {"checkpoint": export.cosigned(office, value["checkpoint"]), "personal": trust.personal(office, value)}
    return Told(json.dumps(value, indent=1, ensure_ascii=False).split("\n"), value)


def copy(options: Namespace, opened: Opened) -> Told:
    size, root = transfer.copy(options.source, options.target, opened().home.path)
    return Told([f"copied: {size} entries, root {root}", f"let drivers use it: SOP_REGISTER or register: in sop.yml is "
                 f"{options.target}; whichever of the two is written to first goes on alone, the other one refuses"],
                {"entries": size, "root": root, "register": options.target})


def checkpoint(options: Namespace, opened: Opened) -> Told:
    office = opened()
    if options.cosigned:
        name, clocks = export.take_back(office, options.cosigned)
        return Told([f"kept: the register agrees with what {name} signed", *clocks],
                    {"witness": name, "clocks": clocks})
    if options.since is not None:
        text = export.update(office, options.since)
        return Told(text.rstrip("\n").split("\n"), {"update": text})
    text = trust.checkpoint(office)
    return Told(text.rstrip("\n").split("\n"), {"checkpoint": text})


def rotate(options: Namespace, opened: Opened) -> Told:
    office = opened()
    entry = orders.rotate(office, options.signed_by, pens(options), options.reason)
    told = entered(entry, options.prepare)
    key = office.people().checkpoint_key
    return told._replace(lines=[*told.lines, *([f"the key from now on: {key}"] if entry else [])])


def witness(options: Namespace, opened: Opened) -> Told:
    note, key = export.witness(options.file, options.state, options.name, options.trust, options.receipt)
    return Told(note.rstrip("\n").split("\n"), {"checkpoint": note, "key": key},
                aside=(f"this witness's key, for `witnesses:` in sop.yml: {key}",) if options.name else ())


REQ: Argument = ("request", {"metavar": "REQ"})
SIGNED: list[Argument] = [
    ("--key", {"type": Path, "help": "sign with this SSH key (default: the one of that name in the folder SOP_KEYS)"}),
    ("--prepare", {"type": Path, "metavar": "FILE", "help": "only write what is to be signed elsewhere"}),
    ("--signature", {"type": Path, "metavar": "FILE", "help": "take the signature made elsewhere over it"}),
    ("--ink", {"metavar": "ID", "help": "signed on paper; ID has seen the scan and signs for that"}),
    ("--pades", {"action": "store_true", "help": "signed within a PDF (BSrE): --prepare FILE.pdf writes what is to be "
                                                 "signed, --signature SIGNED.pdf takes it"}),
    ("--crl", {"type": Path, "metavar": "FILE", "help": "the authorities' lists of revoked certificates, where the "
                                                        "signed PDF holds none (PEM, several in one file)"}),
]
SIGNED_BY_ALL: list[Argument] = [
    ("--key", {"action": "append", "default": [], "metavar": "ID=KEY", "help": "sign as ID with this key; repeatable"}),
    SIGNED[1],
    ("--signature", {"action": "append", "default": [], "metavar": "ID=FILE", "help": "made elsewhere; repeatable"}),
]
REASON: Argument = ("--reason", {"required": True, "help": "why, e.g. the number of the decree"})
BY: Argument = ("--signed-by", {"nargs": "+", "required": True, "metavar": "ID", "help": "the two who sign for it"})
ACTOR: list[Argument] = [
    ("id", {"metavar": "ID"}), ("--name", {"required": True, "help": "of the person, not the office; or the agency"}),
    ("--role", {"help": "as the SOP's data names it"}), ("--unit", {}),
    ("--public", {"metavar": "KEY.pub", "help": "their SSH key; left out: signs on paper"}),
    ("--certificate", {"type": Path, "metavar": "FILE",
                       "help": "their certificate for PDF signatures, or a PDF that they signed"}),
    ("--person", {"metavar": "ID", "help": "the id under which this person holds another office (their own id: none)"}),
    ("--stands-in", {"choices": ["Plt", "Plh"], "help": "acts for the office's holder"}),
    ("--until", {"metavar": "YYYY-MM-DD", "help": "the last day, for who stands in"}),
    ("--decree", {"type": Path, "help": "scan of the decree, for a new holder of an office; its number: --reason"}),
    REASON, BY, *SIGNED_BY_ALL,
]
GROUPS = {"actors": "who may take which step, and by which SOP",
          "register": "whether the register can be relied on, and what proves it"}
COMMANDS: dict[str, tuple[str, Callable[[Namespace, Opened], Told], list[Argument]]] = {
    "actors list": ("who may act, and who once did", list_actors, []),
    "actors bootstrap": ("the ceremony that begins a register: its first actors", bootstrap, [
        ("file", {"type": Path, "metavar": "ACTORS.yml"}), *SIGNED_BY_ALL]),
    "actors enroll": ("enter an actor; the new key and two officials sign", enroll, ACTOR),
    "actors replace": ("another holder of an office, or another key (lost, stolen)", replace, ACTOR),
    "actors retire": ("from now on these approve nothing; the past stays proven", retire, [
        ("ids", {"metavar": "ID", "nargs": "+"}), REASON, BY, *SIGNED_BY_ALL]),
    "actors adopt": ("let new requests begin under the SOP's data file as it is now", adopt,
                     [REASON, BY, *SIGNED_BY_ALL]),
    "actors trust": ("the authorities that PDF signatures rest on from now on, and no others", rely, [
        ("roots", {"type": Path, "metavar": "ROOT.pem", "nargs": "+"}), REASON, BY, *SIGNED_BY_ALL]),
    "register verify": ("every signature, the tree, the checkpoints, the documents", verify, []),
    "register export": ("all of it for an outsider, with a verifier", export_register, [
        ("folder", {"type": Path}), ("--documents", {"action": "store_true", "help": "the documents too"})]),
    "register copy": ("into an empty file or database, every octet as it is", copy, [
        ("source", {"metavar": "FROM", "help": "a path, or postgresql+psycopg://USER@HOST/DATABASE"}),
        ("target", {"metavar": "TO"})]),
    "register receipt": ("what proves one request to the agency that asked; without REQ, actors and keys", receipt, [
        ("request", {"metavar": "REQ", "nargs": "?"})]),
    "register checkpoint": ("the last signed checkpoint, or an update for a witness", checkpoint, [
        ("--since", {"type": int, "metavar": "SIZE", "help": "for a witness who saw so many entries (0: none)"}),
        ("--cosigned", {"type": Path, "metavar": "FILE", "help": "keep what a witness signed"})]),
    "register witness": ("on another machine: sign a checkpoint that only grew", witness, [
        ("file", {"type": Path}), ("--state", {"type": Path, "required": True, "help": "folder of this witness"}),
        ("--name", {"help": "the witness's name, the first time"}),
        ("--trust", {"metavar": "KEY", "help": "the register's key, the first time"}),
        ("--receipt", {"type": Path, "metavar": "FILE", "help": "where the register has another key: its receipt"})]),
    "register rotate": ("let another key sign the checkpoints; two officials and the old key sign for it", rotate, [
        REASON, BY, *SIGNED_BY_ALL]),
}

"""What leaves the register is checked by others, offline, with one file; a receipt shows one request only."""

from __future__ import annotations

import argparse
import ast
import base64
import json
import os
import resource
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from driver import insider, people
from driver.desk import Desk, without
from driver.test_cli import Sop, sop
from sop_driver import actors, administration, archive, audit, export, merkle, notary, orders, outsider, standing, trust
from sop_driver.errors import Refused, Usage
from sop_driver.note import COSIGNED, LARGEST, Checkpoint
from sop_driver.proof import canonical, leaf_hash, node_hash
from sop_driver.statement import PERSONAL

__all__ = ["sop"]


OLDER = """
import runpy, sys
from cryptography.hazmat.primitives.asymmetric import ed25519

class Older:
    def __init__(self, key):
        self.verify = key.verify

real = ed25519.Ed25519PublicKey.from_public_bytes
ed25519.Ed25519PublicKey = Older
Older.from_public_bytes = staticmethod(lambda octets: Older(real(octets)))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def exported(desk: Desk, tmp_path: Path) -> Path:
    """The folder of an export, with its documents, of a register in which somebody has asked for something."""
    desk.submit()
    export.export(desk.office, folder := tmp_path / "export", documents=True)
    return folder


def verify(*words: object, python: str | Path = sys.executable) -> tuple[int, str]:
    """The exported verifier as an outsider runs it: nothing of this project on the path."""
    done = subprocess.run([python, "-I", *map(str, words)], capture_output=True, text=True, cwd="/")
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an auditor who installed the one package that the verifier asks for."""
    folder = tmp_path_factory.mktemp("outside") / "venv"
    venv.create(folder)
    install = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--quiet", "--retries", "10",
               "--disable-pip-version-check", "--only-binary=:all:", f"cryptography=={version('cryptography')}"]
    for last in (False, False, True):  # indexes have short failures that the next try does not see
        if subprocess.run([*map(str, install)], timeout=600, check=last).returncode == 0:
            break
    return folder / "bin/python"


def test_verifier_needs_nothing_but_cryptography(desk: Desk, outside: Path, tmp_path: Path) -> None:
    """What it says elsewhere, without this project and all that it is made of."""
    desk.approved()
    asked = "from importlib.metadata import distributions; print(sorted(each.name for each in distributions()))"
    code, packages = verify("-c", asked, python=outside)
    assert code == 0 and packages.split() == ["['cffi',", "'cryptography',", "'pycparser']"]
    folder, key = tmp_path / "export", desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=True)
    code, told = verify(folder / "verify.py", folder, "--key", key, python=outside)
    assert code == 0 and told.startswith("9 entries of ") and "every signature holds" in told, told
    kept = (folder / "register.jsonl").read_text()
    for attacked, part in (
        (kept.replace("Sekretariat", "Pribadi"), "entry 2: the signature of dinkes: it is not over"),
        (kept[: kept.rindex("\n", 0, -1) + 1], "checkpoint saw 9 entries, here are 8: the last are missing"),
    ):
        (folder / "register.jsonl").write_text(attacked)
        code, told = verify(folder / "verify.py", folder, "--key", key, python=outside)
        assert code == 1 and part in told and "rely on nothing from entry" in told, told


def test_verifier_reads_nothing_of_python_out_of_the_folder_that_it_lies_in(file_desk: Desk, tmp_path: Path) -> None:
    """As people call it: else a sound copy of it runs what whoever passes an export on has laid beside it."""
    folder = exported(file_desk, tmp_path)
    for name in ("base64", "argparse", "cryptography", "json", "dataclasses"):
        (folder / f"{name}.py").write_text("print('2 entries; every signature holds')\nraise SystemExit(0)\n")
    for words, where in (((folder / "verify.py", folder), "/"), (("verify.py", "."), folder)):
        done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=where)
        assert done.returncode == 3 and "NOT checked here, as the key was taken" in done.stdout, done


def test_processes_of_the_verifier_read_nothing_of_python_out_of_the_folder_that_it_is_run_in(
    file_desk: Desk, tmp_path: Path
) -> None:
    """Where they start anew, as on macOS, on Windows and by Python 3.14, the folder that one is in comes first."""
    folder, own, site = exported(file_desk, tmp_path), tmp_path / "verify.py", tmp_path / "site"
    file_desk.approve("R-2026-0001")
    shutil.rmtree(folder)
    export.export(file_desk.office, folder, documents=True)
    own.write_text(export.verifier().replace("BATCH = 500", "BATCH = 2"))
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os\nif os.environ.pop('ANEW', ''):\n    import multiprocessing\n"
        "    multiprocessing.set_start_method('spawn')\n")
    for name in ("multiprocessing", "pickle", "socket", "threading"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    words = [sys.executable, own, ".", "--key", file_desk.office.people().checkpoint_key]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, cwd=folder, timeout=120,
                          env={"PYTHONPATH": str(site), "ANEW": "1"})
    assert (done.returncode, (tmp_path / "run").exists()) == (0, False), done


def test_verifier_whose_process_is_killed_accuses_no_register(file_desk: Desk, tmp_path: Path) -> None:
    """For want of memory, say. A traceback ends with 1, as a forged register does."""
    file_desk.approved()
    export.export(file_desk.office, folder := tmp_path / "export", documents=True)
    begins = "def signature_faults(jobs: Iterable[Job]) -> list[tuple[int, str]]:\n"
    killed = "    import multiprocessing, os\n    multiprocessing.parent_process() and os.kill(os.getpid(), 9)\n"
    (tmp_path / "verify.py").write_text(
        export.verifier().replace("BATCH = 500", "BATCH = 2").replace(begins, begins + killed))
    code, told = verify(tmp_path / "verify.py", folder, "--key", file_desk.office.people().checkpoint_key)
    assert code == 2 and "BrokenProcessPool" in told and "Traceback" not in told, told


@pytest.mark.parametrize("lacks", ["cryptography", "Python"])
def test_verifier_says_what_it_needs_by_no_exit_code_of_a_finding(
    file_desk: Desk, tmp_path: Path, lacks: str
) -> None:
    """A traceback ends with 1, as a forged register does."""
    folder = exported(file_desk, tmp_path)
    before = "sys.version_info = (3, 10)" if lacks == "Python" else "sys.modules['cryptography'] = None"
    (folder / "run.py").write_text(f"import runpy, sys; {before}; runpy.run_path(sys.argv[1], run_name='__main__')")
    code, told = verify(folder / "run.py", folder / "verify.py")
    assert code == 2 and told.startswith("nothing was checked: this needs") and lacks in told, told


def test_verifier_calls_no_register_false_by_an_older_cryptography(file_desk: Desk, tmp_path: Path) -> None:
    """Debian 12's own is 38, whose keys do not tell their octets by `public_bytes_raw`."""
    request, folder = file_desk.approved(), tmp_path / "export"
    export.export(file_desk.office, folder, documents=True)
    receipt, key = tmp_path / "receipt", file_desk.office.people().checkpoint_key
    receipt.write_text(json.dumps(file_desk.receipt(request)))
    for path in (folder, receipt):
        code, told = verify("-c", OLDER, folder / "verify.py", path, "--key", key)
        assert code == 0, told


def test_export_is_verified_by_its_own_file(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    desk.approved()
    folder = tmp_path / "export"
    code, out, err = sop("register", "export", folder, "--documents")
    assert code == 0 and "verify.py" in out, err
    key = desk.office.people().checkpoint_key
    code, told = verify(folder / "verify.py", folder, "--key", key)
    assert code == 0 and told.startswith("9 entries of ") and "every signature holds" in told, told
    assert "sop_driver" not in (folder / "verify.py").read_text()
    assert sop("register", "export", folder)[0] == 2


def test_verifier_reads_the_same_whatever_the_computers_own_encoding(desk: Desk, tmp_path: Path) -> None:
    """Elsewhere files are not read as UTF-8 unless that is asked for: a sound register would look forged."""
    folder, receipt, key = tmp_path / "export", tmp_path / "receipt", desk.office.people().checkpoint_key
    request = desk.approved()
    export.export(desk.office, folder, documents=True)
    receipt.write_text(json.dumps(desk.receipt(request)))
    for path in (folder, receipt):
        done = subprocess.run([sys.executable, "-X", "utf8=0", folder / "verify.py", path, "--key", key], text=True,
                              capture_output=True, cwd="/", env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"})
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("where", ["entry", "name", "receipt"])
def test_verifier_says_on_a_line_what_it_found_whatever_somebody_wrote_there(
    file_desk: Desk, tmp_path: Path, where: str
) -> None:
    """Else an entry clears the screen and writes what it likes, or half a letter ends all by a traceback."""
    desk, folder = file_desk, tmp_path / "export"
    false = "\x1b[2J\r\n9 entries; every signature holds\x9b8m\u202e\u2028"
    request, key = desk.approved(), desk.office.people().checkpoint_key
    value = desk.receipt(request) | {"request": f"{false}\ud800"}
    (tmp_path / "receipt").write_text(json.dumps(value))
    export.export(desk.office, folder, documents=True)
    if where == "entry":
        text = (folder / "register.jsonl").read_text()
        false += "\ud800"
        (folder / "register.jsonl").write_text(text.replace('"sequence":4', f'"sequence":{json.dumps(false)}'))
    elif where == "name":
        (folder / "witnessed").mkdir()
        (folder / "witnessed" / false).write_text("x")
    code, told = verify(folder / "verify.py", tmp_path / "receipt" if where == "receipt" else folder, "--key", key)
    assert code == 1 and "\nrely on nothing from entry" in told and "Traceback" not in told, told
    spelled = r"\u001b[2J\r\n9 entries; every signature holds\u009b8m\u202e\u2028" + r"\ud800" * (where != "name")
    assert spelled in told and all(line.isprintable() for line in told.split("\n"))


def test_verifier_prints_by_any_encoding(file_desk: Desk, tmp_path: Path) -> None:
    """A sound register has no finding where a terminal lacks a letter of what is said."""
    desk, folder = file_desk, tmp_path / "export"
    with without("order"):
        desk.begun = None
        desk.submit()
        export.export(desk.office, folder, documents=True)
    done = subprocess.run([sys.executable, folder / "verify.py", folder, "--key", desk.office.people().checkpoint_key],
                          capture_output=True, text=True, cwd="/", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (3, "") and r"\u2026" in done.stdout


def test_verifier_shows_no_file_that_a_link_in_an_export_leads_to(file_desk: Desk, tmp_path: Path) -> None:
    """It would print what it takes for a key."""
    folder, secret = exported(file_desk, tmp_path), tmp_path / "secret"
    secret.write_text("words of whoever checks")
    (folder / "key").unlink()
    (folder / "key").symlink_to(secret)
    code, told = verify(folder / "verify.py", folder)
    assert code == 2 and "words of" not in told, told


@pytest.mark.parametrize("name", ["checkpoint", "register.jsonl", "key", "allowed_signers", "witnessed/x"])
def test_verifier_waits_for_nothing_that_an_export_brings(file_desk: Desk, tmp_path: Path, name: str) -> None:
    """A pipe in a file's place has no end that anybody writes."""
    folder, key = exported(file_desk, tmp_path), file_desk.office.people().checkpoint_key
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for words in (("--key", key), ()):
        done = subprocess.run([sys.executable, "-I", folder / "verify.py", folder, *words], text=True, timeout=60,
                              capture_output=True)
        assert done.returncode == (2 if name == "register.jsonl" or (name == "key" and not words) else 1), done.stdout
        assert not done.stderr


@pytest.mark.parametrize(("name", "expected"), [
    ("checkpoint", 1), ("witnessed/x", 1), ("key", 2), ("register.jsonl", 2), ("allowed_signers", 1), ("receipt", 2)])
def test_verifier_reads_no_more_than_there_can_be(file_desk: Desk, tmp_path: Path, name: str, expected: int) -> None:
    """A file without contents takes no room in what is passed on, and all memory of who checks it."""
    folder = exported(file_desk, tmp_path)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).touch()
    os.truncate(folder / name, 2**40)
    done = subprocess.run([sys.executable, "-I", folder / "verify.py", folder / name if name == "receipt" else folder],
                          text=True, timeout=120, capture_output=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32)))
    assert (done.returncode, done.stderr) == (expected, ""), done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["evidence", "personal"])
def test_no_document_is_read_that_is_larger_than_any(file_desk: Desk, tmp_path: Path, kind: str) -> None:
    """It would be read for days, and takes no room in what is passed on, where it has no contents."""
    home = file_desk.office.evidence
    folder, key = exported(file_desk, tmp_path), file_desk.office.people().checkpoint_key
    name = sorted(path.name for path in (folder / kind).iterdir())[0]
    for path in (folder / kind / name, home.path(name)):
        path.chmod(0o600)
        os.truncate(path, 2**40)
    done = subprocess.run([sys.executable, "-I", folder / "verify.py", folder, "--key", key], text=True, timeout=120,
                          capture_output=True)
    said = f"{name} cannot be read (it is larger than any document)"
    assert done.returncode == 1 and said in done.stdout, done.stdout
    assert said in str(home.fault(name)) and archive.MAX_BYTES == LARGEST
    with pytest.raises(Refused, match="larger than any"):
        home.read(name)


@pytest.mark.parametrize("how", ["ids that lead on and on", "a key without end"])
def test_verifier_ends_in_time_whatever_first_actors_somebody_made_up(
    file_desk: Desk, tmp_path: Path, how: str
) -> None:
    """A megabyte of them would keep whoever checks it for hours."""
    folder = exported(file_desk, tmp_path)
    lines = (folder / "register.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    actors_ = first["data"]["actors"]
    if how == "a key without end":
        actors_["kadis"]["key"] = f"ssh-ed25519 {base64.b64encode(bytes(2**23)).decode()}"
    else:
        actors_ |= {f"x{n}": {**actors_["dinkes"], "key": None, "person": f"x{n + 1}"} for n in range(4000)}
    (folder / "register.jsonl").write_text("\n".join([canonical(first), *lines[1:], ""]))
    done = subprocess.run([sys.executable, "-I", folder / "verify.py", folder], text=True, timeout=120,
                          capture_output=True)
    assert done.returncode == 1 and not done.stderr


@pytest.mark.parametrize("name", ["evidence", "personal", "witnessed"])
def test_verifier_looks_into_no_folder_that_an_export_leads_to(file_desk: Desk, tmp_path: Path, name: str) -> None:
    """It would tell what else lies on the computer of whoever checks, or prove what is no part of the export."""
    folder, other = exported(file_desk, tmp_path), tmp_path / "other"
    shutil.copytree(folder / "personal", other)
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).symlink_to(other)
    code, told = verify(folder / "verify.py", folder)
    assert code == 2 and f"{name} is no folder of it" in told, told


def test_verifier_waits_for_no_receipt_that_is_a_pipe(file_desk: Desk, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("receipt")
    request, key = file_desk.approved(), file_desk.office.people().checkpoint_key
    (tmp_path / "receipt").write_text(json.dumps(file_desk.receipt(request)))
    assert outsider.check(tmp_path / "pipe", key)[0] == 2
    assert outsider.check(tmp_path / "link", key)[0] == 0


@pytest.mark.parametrize("field", ["key", "request", "personal", "text"])
def test_receipt_says_nothing_twice(file_desk: Desk, tmp_path: Path, field: str) -> None:
    """People, and other programs, read the first one; we would have checked the last."""
    request, path = file_desk.approved(), tmp_path / "receipt"
    path.write_text(json.dumps(file_desk.receipt(request)).replace(f'"{field}": ', f'"{field}": "x", "{field}": ', 1))
    code, told = outsider.check(path, key := file_desk.office.people().checkpoint_key)
    assert code == 2 and f"it says {field} twice" in told[0]
    (tmp_path / "update").write_text(export.update(file_desk.office, 0))
    with pytest.raises(Usage, match=f"no receipt: it says {field} twice"):
        export.witness(tmp_path / "update", tmp_path / "w", "w", key, path)


def test_nothing_is_proven_by_the_key_that_comes_along(desk: Desk, tmp_path: Path) -> None:
    """Whoever invents a register makes its key too; a script reads exit codes."""
    request = desk.approved()
    folder, receipt = tmp_path / "export", tmp_path / "receipt"
    export.export(desk.office, folder, documents=True)
    receipt.write_text(json.dumps(desk.receipt(request)))
    key = desk.office.people().checkpoint_key
    for path in (folder, receipt):
        assert verify(folder / "verify.py", path, "--key", key)[0] == 0
        code, told = verify(folder / "verify.py", path)
        assert code == 3 and "the key was taken from the export or receipt itself" in told and key in told
        assert told.splitlines()[-1].startswith("what was checked here holds; NOT all was")


def test_nothing_is_proven_by_a_key_whose_name_tells_no_first_actors(
    file_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the first drivers do not: whoever has such a key makes officials for it. A witness saw the real ones."""
    desk, desk.begun = file_desk, None
    monkeypatch.setattr(actors, "of_first", lambda _: "0a1b2c3d")
    request, key = desk.submit(), desk.office.people().checkpoint_key
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    note, mine = export.witness(tmp_path / "update", tmp_path / "w", "w", key)
    (tmp_path / "receipt").write_text(json.dumps({**desk.receipt(request), "checkpoint": note}))
    code, lines = outsider.check(tmp_path / "receipt", key)
    assert code == 3 and lines[1].startswith("NOT checked here, as the register's name is from before names stood for")
    assert outsider.check(tmp_path / "receipt", key, [mine])[0] == 0


def test_export_beside_a_writer_is_of_its_checkpoint(
    file_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody records, and a witness signs that, between what is written first and what is written next."""
    desk = file_desk
    desk.approved()
    register, other, key = desk.office.register, desk.register(), desk.office.people().checkpoint_key
    checkpoint, texts, meanwhile = register.checkpoint, register.texts, list[str]()

    def record() -> None:
        if not meanwhile:
            other.append("record", outcome="kept", data={})
            meanwhile.append(other.checkpoint())
            (desk.office.home.path / "witnessed").mkdir()
            (desk.office.home.path / "witnessed/inspektorat").write_text(meanwhile[0])

    def signed() -> str:
        note = checkpoint()
        record()
        return note

    def read(*words: Any, **more: Any) -> Iterator[str]:
        yield from texts(*words, **more)
        record()

    monkeypatch.setattr(register, "checkpoint", signed)
    monkeypatch.setattr(register, "texts", read)
    export.export(desk.office, tmp_path / "export", documents=True)
    code, lines = outsider.check(tmp_path / "export", key)
    assert code == 0 and lines[0].startswith("9 entries of "), lines
    export.export(desk.office, tmp_path / "after", documents=True)
    assert outsider.check(tmp_path / "after", key)[1][0].startswith("10 entries of ")
    assert (tmp_path / "after/witnessed/inspektorat").exists()


def test_export_brings_the_witness_who_saw_more_than_is_here(file_desk: Desk, tmp_path: Path) -> None:
    """What was cut off shows by it alone."""
    desk = file_desk
    desk.approved()
    (desk.office.home.path / "witnessed").mkdir()
    (desk.office.home.path / "witnessed/inspektorat").write_text(desk.office.register.checkpoint())
    insider.rewrite(desk, lambda all_: all_[:-1], key=True)
    export.export(desk.office, tmp_path / "export", documents=False)
    code, lines = outsider.check(tmp_path / "export", desk.office.people().checkpoint_key)
    assert code == 1 and "inspektorat saw 9 entries, here are 8: the last are missing" in lines[0]


def test_export_says_where_the_checkpoint_cannot_be_read(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    desk.submit()
    insider.change(desk, "UPDATE checkpoints SET note = 'hello'")
    for words in (("export", tmp_path / "export"), ("checkpoint", "--since", 0), ("receipt",)):
        code, _, err = sop("register", *words)
        assert code == 3 and "it is no checkpoint" in err and "mend: " in err, err


HOSTILE = {
    "lists within lists": lambda text: '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    "no entry": lambda text: "",
    "a list": lambda text: "[]",
    "other documents": lambda text: text.replace('"evidence":{', '"evidence":[{').replace('},"kind"', '}],"kind"'),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_verifier_says_what_is_wrong_with_what_somebody_made_up(
    file_desk: Desk, tmp_path: Path, how: str
) -> None:
    """Never a traceback, whose exit code is that of a finding."""
    desk, folder = file_desk, tmp_path / "export"
    request, key = desk.approved(), desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=False)
    lines = (folder / "register.jsonl").read_text().splitlines()
    lines[3] = HOSTILE[how](lines[3])
    (folder / "register.jsonl").write_text("\n".join(lines) + "\n")
    code, told = verify(folder / "verify.py", folder, "--key", key)
    assert code == 1 and "entry 4: it " in told and "Traceback" not in told, told
    value = trust.make_receipt(desk.office, request)
    value["entries"][3]["text"] = lines[3]
    (tmp_path / "receipt").write_text(json.dumps(value))
    code, told = verify(folder / "verify.py", tmp_path / "receipt", "--key", key)
    assert code in (1, 2) and "Traceback" not in told, told


@pytest.mark.parametrize("key", ["x", 5])
def test_key_that_is_none_is_found(desk: Desk, sop: Sop, key: str | int) -> None:
    first = json.loads(insider.texts(desk)[0])["data"]["checkpoint_key"]
    change = "UPDATE entries SET entry = replace(entry, 'OLD', 'NEW') WHERE sequence = 1"
    insider.change(desk, change.replace("OLD", json.dumps(first)).replace("NEW", json.dumps(key)))
    code, out, err = sop("register", "verify")
    assert code == 1 and "rely on nothing from entry 1 on" in out and "Traceback" not in err


def test_modules_of_the_verifier_take_no_name_from_each_other() -> None:
    """They are one file there, and the later would win."""
    tree = ast.parse(export.verifier()).body
    named = [each.id for node in tree if isinstance(node, ast.Assign) for target in node.targets
             for each in ast.walk(target) if isinstance(each, ast.Name)]
    named += [node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(named) > 80 and len(named) == len(set(named))


def test_export_that_was_changed_is_found(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    request = desk.approved()
    folder = tmp_path / "export"
    sop("register", "export", folder, "--documents")
    lines, key = (folder / "register.jsonl").read_text(), desk.office.people().checkpoint_key
    scan = standing.stand(desk.office, request).done["agenda"].evidence["scan"]
    (folder / "evidence" / scan).chmod(0o600)
    for path, text, part in (
        (folder / "evidence" / scan, "other", "was changed"),
        (folder / "register.jsonl", lines.replace("Sekretariat", "Pribadi"), "not over what the entry says"),
        (folder / "register.jsonl", lines[: lines.rindex("\n", 0, -1) + 1], "here are 8: the last are missing"),
        (folder / "checkpoint", (folder / "checkpoint").read_text().replace("\n9\n", "\n8\n"), "does not hold"),
    ):
        kept = path.read_bytes()
        path.write_text(text)
        code, told = verify(folder / "verify.py", folder, "--key", key)
        assert code == 1 and part in told and "rely on nothing from entry" in told, told
        path.write_bytes(kept)
    assert verify(folder / "verify.py", folder, "--key", key)[0] == 0


def test_export_without_its_documents_is_not_all_checked(desk: Desk, tmp_path: Path) -> None:
    """Whoever swapped one could leave all of them out: what the entries name is what there has to be."""
    desk.approved()
    folder, key = tmp_path / "export", desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=True)
    named = {digest for entry in desk.office.register.entries() for name, digest in entry.evidence.items()
             if not name.startswith(PERSONAL)}
    assert outsider.check(folder, key)[0] == 0 and len(named) > 3
    gone = sorted(named)[0]
    (folder / "evidence" / gone).unlink()
    code, lines = outsider.check(folder, key)
    assert code == 1 and f"evidence/{gone} cannot be read (No such file" in lines[0]
    shutil.rmtree(folder / "evidence")
    code, told = verify(folder / "verify.py", folder, "--key", key)
    assert code == 3 and told.splitlines()[-1].startswith("what was checked here holds; NOT all was")
    assert f"brings no folder `evidence`: the documents that its entries name ({len(named)})" in told
    shutil.rmtree(folder / "personal")
    code, lines = outsider.check(folder, key)
    assert code == 1 and "evidence personal." in lines[0]


def test_witness_named_like_the_exports_own_checkpoint_hides_and_accuses_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.submit()
    folder, key = tmp_path / "export", desk.office.people().checkpoint_key
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    note, mine = export.witness(tmp_path / "update", tmp_path / "w", "checkpoint", key)
    (tmp_path / "cosigned").write_text(note)
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
    export.take_back(desk.office, tmp_path / "cosigned")
    desk.submit()
    export.export(desk.office, folder, documents=True)
    code, told = verify(folder / "verify.py", folder, "--key", key, "--witness", mine)
    assert code == 0 and "the witness checkpoint has seen the first 2 entries" in told, told
    (folder / "witnessed/checkpoint").write_text((folder / "checkpoint").read_text())
    for text in ("hello", None):
        (folder / "checkpoint").unlink()
        if text:
            (folder / "checkpoint").write_text(text)
        code, told = verify(folder / "verify.py", folder, "--key", key)
        assert code == 1 and told.startswith("entry 1: checkpoint: it is no checkpoint"), told
        (folder / "checkpoint").touch()


@pytest.mark.parametrize("how", ["as printed", "by Windows", "with an empty line more", "another root"])
def test_checkpoint_typed_from_paper_accuses_no_sound_register(file_desk: Desk, tmp_path: Path, how: str) -> None:
    """What an editor puts around lines is not what the paper says."""
    file_desk.submit()
    folder, key = tmp_path / "export", file_desk.office.people().checkpoint_key
    note = file_desk.office.register.checkpoint()
    file_desk.submit()
    export.export(file_desk.office, folder, documents=True)
    typed = {"as printed": note, "by Windows": "\ufeff" + note.replace("\n", "\r\n"),
             "with an empty line more": f"{note} \n\n", "another root": note.replace("\n2\n", "\n1\n")}[how]
    (folder / "witnessed").mkdir()
    (folder / "witnessed/paper").write_bytes(typed.encode())
    code, lines = outsider.check(folder, key)
    assert code == (1 if how == "another root" else 0), lines


def test_documents_that_were_erased_are_not_missed(desk: Desk, tmp_path: Path) -> None:
    request = desk.submit()
    orders.erase(desk.office, [f"{request}/surat", f"{request}/contact"], ["kadis", "kasubbag"], desk.sign, "UU PDP")
    export.export(desk.office, tmp_path / "export", documents=True)
    key = desk.office.people().checkpoint_key
    assert outsider.check(tmp_path / "export", key)[0] == 0
    value, named = desk.receipt(request), len(desk.office.people().erased)
    (tmp_path / "receipt").write_text(json.dumps(value))
    code, lines = outsider.check(tmp_path / "receipt", key)
    assert code == 0 and "erased on 2026-11-02 by kadis, kasubbag" in lines[1] and named == 2, lines


def test_receipt_without_its_personal_data_is_not_all_checked(desk: Desk, tmp_path: Path) -> None:
    value, key = desk.receipt(desk.submit()), desk.office.people().checkpoint_key
    (tmp_path / "receipt").write_text(json.dumps(value))
    code, lines = outsider.check(tmp_path / "receipt", key)
    assert code == 0 and "their documents are no part of a receipt" in lines[0]
    named = len(value.pop("personal"))
    (tmp_path / "receipt").write_text(json.dumps(value))
    code, lines = outsider.check(tmp_path / "receipt", key)
    assert code == 3 and f"brings no `personal`: the personal data that its entries name ({named})" in lines[1]
    assert lines[-1].startswith("what was checked here holds; NOT all was") and named > 1


@pytest.mark.parametrize("name", ["allowed_signers", "key"])
def test_what_an_export_tells_beside_the_entries_follows_from_them(desk: Desk, tmp_path: Path, name: str) -> None:
    """Somebody else's key under an official's name, which the next auditor gives to ssh-keygen."""
    desk.submit()
    folder, key = tmp_path / "export", desk.office.people().checkpoint_key
    export.export(desk.office, folder, documents=True)
    kept = (folder / name).read_text()
    assert outsider.check(folder, key)[0] == 0
    stranger = people.public("stranger").split()[1]
    for text in (kept.replace(kept.split()[-1], stranger), f"{kept}x", kept[:-1], "", None):
        (folder / name).unlink()
        if text is not None:
            (folder / name).write_text(text)
        code, told = verify(folder / "verify.py", folder, "--key", key)
        assert code == 1 and f"entry 3: the file {name} is not the one that the entries before make" in told, told
        (folder / name).write_text(kept)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert outsider.check(folder, key)[0] == 1


def test_allowed_signers_of_an_export_are_those_of_its_checkpoint(
    file_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is enrolled while it is written."""
    desk = file_desk
    desk.submit()
    texts, meanwhile = desk.office.register.texts, list[Any]()

    def read(*words: Any, **more: Any) -> Iterator[str]:
        yield from texts(*words, **more)
        if not meanwhile:
            meanwhile.append("")
            meanwhile[0] = desk.enroll("baru", "pd")

    monkeypatch.setattr(desk.office.register, "texts", read)
    export.export(desk.office, tmp_path / "export", documents=True)
    code, lines = outsider.check(tmp_path / "export", desk.office.people().checkpoint_key)
    assert code == 0 and lines[0].startswith("2 entries of ") and meanwhile[0].sequence == 3, lines
    assert "baru " not in (tmp_path / "export/allowed_signers").read_text()


def test_export_is_refused_under_another_key(desk: Desk, tmp_path: Path) -> None:
    """An insider who began a whole register anew cannot show the key that people have on paper."""
    export.export(desk.office, tmp_path / "export", documents=False)
    other = export.notary.make(tmp_path / "k", desk.office.people().register)
    code, told = outsider.check(tmp_path / "export", other.verifier)
    assert code == 1 and "not signed by this register's key" in "\n".join(told)


def test_slip_in_a_key_accuses_no_register(desk: Desk, tmp_path: Path) -> None:
    """Whoever types it from a printed report is told how it looks, and that nothing was checked."""
    request, key = desk.approved(), desk.office.people().checkpoint_key
    export.export(desk.office, tmp_path / "export", documents=True)
    (tmp_path / "receipt").write_text(json.dumps(desk.receipt(request)))
    other = notary.make(tmp_path / "k", "example.go.id/sop").verifier
    for path in (tmp_path / "export", tmp_path / "receipt"):
        for given in ("x", "", key[:-1], key[:-9], key.split("+")[2], f"{key}é", key.replace("/sop/", "/spo/")):
            code, told = verify(tmp_path / "export/verify.py", path, "--key", given)
            assert code == 2 and told.startswith(f"nothing was checked: {given!r} is no key of a register"), told
            assert "copy the whole line" in told and "rely on" not in told
        code, told = verify(tmp_path / "export/verify.py", path, "--key", key, "--witness", "inspektorat")
        assert code == 2 and "nothing was checked: 'inspektorat' is no key of a register or a witness" in told, told
        code, told = verify(tmp_path / "export/verify.py", path, "--key", other)
        mine = desk.office.people().register
        assert code == 1 and f"or the key given is another register's: this one is {mine};" in told
    (tmp_path / "export/key").write_text("x\n")
    code, told = verify(tmp_path / "export/verify.py", tmp_path / "export")
    assert code == 1 and "rely on nothing" in told, told


@pytest.mark.parametrize("text", ["", "[]", "{}", "hello", '{"key": "a+b+c", "checkpoint": "", "entries": []}'])
def test_what_is_no_export_or_receipt_is_said_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    code, told = outsider.check(tmp_path / "r.json")
    assert code == 2 and "cannot be read" in told[0]
    assert outsider.check(tmp_path)[0] == 2


def test_receipt_proves_one_request_and_shows_no_other(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    desk.submit(requester="disdik", name="rahasia.tarakankota.go.id")
    request = desk.approved()
    code, out, _ = sop("register", "receipt", request)
    (tmp_path / "receipt.json").write_text(out)
    (tmp_path / "verify.py").write_text(export.verifier())
    assert code == 0 and "rahasia" not in out
    code, told = verify(tmp_path / "verify.py", tmp_path / "receipt.json", "--key", desk.office.people().checkpoint_key)
    assert code == 0 and "9 entries of R-2026-0002 and the actors" in told, told


def test_receipt_bears_the_words_of_the_witnesses_of_its_checkpoint(desk: Desk, tmp_path: Path) -> None:
    """So the agency that asked need not take the city's own word for it that others see the same register."""
    request, keys = desk.submit(), list[str]()
    key = desk.office.people().checkpoint_key
    for name in ("itda", "bkn", "late"):
        (tmp_path / "update").write_text(export.update(desk.office, 0))
        text, mine = export.witness(tmp_path / "update", tmp_path / name, name, key)
        keys.append(mine)
        (tmp_path / name / "cosigned").write_text(text)
    desk.office.config = desk.config.model_copy(update={"witnesses": tuple(keys)})
    for name in ("itda", "bkn"):
        export.take_back(desk.office, tmp_path / name / "cosigned")
    kept = desk.office.home.path / "witnessed"
    (kept / "late").write_text((kept / "itda").read_text().replace("itda", "late"))  # no signature of that one

    def told() -> list[tuple[int, list[str]]]:
        path = tmp_path / "receipt"
        options = argparse.Namespace(request=request)
        path.write_text(json.dumps(administration.receipt(options, lambda: desk.office).value))
        return [outsider.check(path, key, [each]) for each in keys]

    assert [code for code, _ in told()] == [0, 0, 1]
    assert told()[2][1][0] == "entry 1: no checkpoint here is signed by the witness late"
    desk.take(request, "agenda")
    assert [code for code, _ in told()] == [1, 1, 1]


def test_receipt_that_was_changed_is_found(desk: Desk) -> None:
    request, key = desk.approved(), desk.office.people().checkpoint_key
    value = trust.make_receipt(desk.office, request)
    assert audit.receipt(value, key).findings == []
    for old, new in (("Sekretariat", "Pribadi"), ('"sequence":3', '"sequence":4')):
        changed = json.loads(json.dumps(value).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))
        assert audit.receipt(changed, key).findings
    value["entries"].pop(4)
    assert any("another state" in what for _, what in audit.receipt(value, key).findings)


def test_receipt_that_brings_another_key_is_found(desk: Desk, tmp_path: Path) -> None:
    """Whoever reads it would write that one down as the register's."""
    request, key = desk.submit(), desk.office.people().checkpoint_key
    value, other = desk.receipt(request), notary.make(tmp_path / "k", desk.office.people().register).verifier
    for brought in (other, f"{key}\n", None):
        (tmp_path / "receipt").write_text(json.dumps(value | {"key": brought}))
        code, told = outsider.check(tmp_path / "receipt", key)
        assert code == 1 and told[0] == "entry 3: the key that it brings is not the one that the entries before make"
    (tmp_path / "receipt").write_text(json.dumps(value))
    assert outsider.check(tmp_path / "receipt", key)[0] == 0


@pytest.mark.parametrize(("said", "kept"), [("R-2026-0999", True), (None, True), ("R-2026-0001", False)])
def test_receipt_that_says_another_request_than_it_shows_is_found(
    desk: Desk, tmp_path: Path, said: str | None, kept: bool
) -> None:
    """Its first line tells whose it is: nobody signs that."""
    request, key = desk.submit(), desk.office.people().checkpoint_key
    value = desk.receipt(request if kept else None) | {"request": said}
    (tmp_path / "receipt").write_text(json.dumps(value))
    code, told = outsider.check(tmp_path / "receipt", key)
    assert code == 1 and told[0] == (
        f"entry 2: it is of {request}, and the receipt says that it is of {said}" if kept else
        f"entry 1: it says that it is of {request}, and shows no entry of that")


def test_receipt_whose_entry_says_something_twice_is_found(file_desk: Desk, tmp_path: Path) -> None:
    """Readers that take the first one and readers that take the last one would read two entries, signed by both."""
    request = file_desk.submit()
    texts = insider.texts(file_desk)
    texts[-1] = '{"outcome":"no",' + texts[-1][1:]
    leaves = [leaf_hash(text) for text in texts]

    def node(level: int, place: int) -> bytes:
        return node_hash(node(level - 1, 2 * place), node(level - 1, 2 * place + 1)) if level else leaves[place]

    mine = file_desk.office.register.notary
    point = Checkpoint(mine.name, len(texts), merkle.root(len(texts), node))
    entries = [{"text": text, "proof": [base64.b64encode(part).decode()
                                        for part in merkle.inclusion(place, len(texts), node)]}
               for place, text in enumerate(texts)]
    value = file_desk.receipt(request) | {"checkpoint": f"{point.body}\n{mine.sign(point.body)}", "entries": entries}
    (tmp_path / "receipt").write_text(json.dumps(value))
    code, told = outsider.check(tmp_path / "receipt", mine.verifier)
    assert code == 1 and told[0] == "entry 2: it is not in the one spelling that entries have"


def test_receipt_of_a_request_that_is_not_there_is_refused(desk: Desk, sop: Sop) -> None:
    """Its actors alone would hold, and be shown as a proof of what nobody asked for."""
    desk.submit()
    code, out, err = sop("register", "receipt", "R-9")
    assert code == sop("status", "R-9")[0] == 2 and not out and "no request 'R-9' is in the register" in err


def test_receipt_in_another_order_is_found(desk: Desk, tmp_path: Path) -> None:
    """Whose key counted when is read from the order: a retirement that is moved back would let its key go on."""
    request = desk.submit()
    desk.take(request, "agenda")
    desk.take(request, "disposition")
    retired = desk.retire("kadis")
    desk.take(request, "review")
    key, value = desk.office.people().checkpoint_key, trust.make_receipt(desk.office, request)
    assert audit.receipt(value, key).findings == []
    entries = value["entries"]
    for order in (sorted(entries, key=lambda item: json.loads(item["text"])["outcome"] == "retire"),
                  [entries[0], *entries], entries[::-1], entries[1:]):
        told = str(audit.receipt({**value, "entries": order}, key).lines())
        assert "who acted when is not as the register has it" in told
    (tmp_path / "receipt").write_text(json.dumps({**value, "entries": entries[::-1]}))
    (tmp_path / "verify.py").write_text(export.verifier())
    code, told = verify(tmp_path / "verify.py", tmp_path / "receipt", "--key", key)
    assert code == 1 and "stands before it: who acted when is not as the register has it" in told
    assert "rely on nothing from entry 1 on" in told
    last = sorted(entries, key=lambda item: json.loads(item["text"])["outcome"] == "retire")
    (tmp_path / "receipt").write_text(json.dumps({**value, "entries": last}))
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    with pytest.raises(Refused, match=f"entry {retired.sequence}: it stands behind entry {retired.sequence + 1}"):
        export.witness(tmp_path / "update", tmp_path / "w", "w", key, tmp_path / "receipt")


def test_receipt_whose_entry_bears_an_earlier_time_is_found(file_desk: Desk, tmp_path: Path) -> None:
    """Nobody signs it, and root has the key: who stood in would go on to approve, in days that are over."""
    desk, until = file_desk, "2026-11-03T15:59:59Z"
    desk.enroll("plh", "bidang", by=("kadis", "kasubbag"), stands_in="Plh", until=until)
    request, key = desk.submit(), desk.office.people().checkpoint_key
    desk.take(request, "agenda")
    desk.take(request, "disposition")
    desk.clock.time += timedelta(days=3)
    desk.take(request, "review")
    desk.take(request, "decision")
    (tmp_path / "receipt").write_text(json.dumps(desk.receipt(request)))
    assert outsider.check(tmp_path / "receipt", key)[0] == 0

    def approved_by_who_stood_in(all_: list[insider.Body]) -> list[insider.Body]:
        last = all_[-1]
        return [*all_[:-1], {**last, "actor": "plh", "time": until, "data": {**last["data"], "person": "plh"}}]

    insider.rewrite(desk, approved_by_who_stood_in, key=True, signed=True)
    (tmp_path / "receipt").write_text(json.dumps(desk.receipt(request)))
    code, told = outsider.check(tmp_path / "receipt", key)
    assert code == 1 and told[0].startswith(f"entry 7: its time {until} lies before 2026-11-05T"), told


def test_witness_signs_growth_round_after_round(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """By commands, as the two sides type them."""
    request = desk.submit()
    there, key = tmp_path / "there", desk.office.people().checkpoint_key
    config = tmp_path / "sop.yml"
    example = Path(export.__file__).parent / "data/sop.example.yml"
    first = ("--name", "inspektorat", "--trust", key)
    for since, words in ((0, first), (2, ()), (3, ())):
        code, out, _ = sop("register", "checkpoint", "--since", since)
        (tmp_path / "update").write_text(out)
        assert code == 0
        code, out, err = sop("register", "witness", tmp_path / "update", "--state", there, *words)
        assert code == 0, err
        (tmp_path / "cosigned").write_text(out)
        mine = export.notary.load(there / "witness.key").verifier
        config.write_text(f"{example.read_text()}\nwitnesses: [{mine}]\n")
        code, out, err = sop("register", "checkpoint", "--cosigned", tmp_path / "cosigned", "--config", config)
        assert code == 0 and "inspektorat" in out, err
        code, out, _ = sop("register", "verify", "--config", config)
        assert code == 0 and "signed by the witness's checkpoint inspektorat" in out
        assert f"the witness inspektorat has seen the first {desk.office.register.head()[0]} entries" in out
        code, out, _ = sop("register", "verify")
        assert code == 0 and "inspektorat bears no signature of a witness that sop.yml names" in out
        if since < 3:
            desk.take(request, "agenda" if since == 0 else "disposition")
    desk.take(request, "review")
    assert sop("register", "export", tmp_path / "export", "--documents")[0] == 0
    code, told = verify(tmp_path / "export/verify.py", tmp_path / "export", "--key", key, "--witness", mine)
    assert code == 0 and "the witness inspektorat has seen the first 4 entries, and none that came later" in told, told
    other = notary.make(tmp_path / "other", "inspektorat", COSIGNED).verifier  # of the same name
    code, told = verify(tmp_path / "export/verify.py", tmp_path / "export", "--key", key, "--witness", mine,
                        "--witness", other)
    assert code == 1 and "no checkpoint here is signed by the witness inspektorat" in told


@pytest.mark.parametrize(("shift", "told"), [(-3600, True), (-61, True), (-60, False), (0, False), (86_400, False)])
def test_witness_who_saw_an_entry_before_its_time_is_told_and_stops_nothing(
    desk: Desk, sop: Sop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift: int, told: bool
) -> None:
    """Root could let its clock run ahead, to date a run behind a window; but the witness's may be the wrong one."""
    request, there = desk.approved(), tmp_path / "there"
    key, last = desk.office.people().checkpoint_key, list(desk.office.register.entries())[-1].when
    monkeypatch.setattr(notary, "seconds", lambda: int(last.timestamp()) + shift)
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    note, mine = export.witness(tmp_path / "update", there, "inspektorat", key)
    (tmp_path / "cosigned").write_text(note)
    example = Path(export.__file__).parent / "data/sop.example.yml"
    config = desk.document("sop.yml", f"{example.read_text()}\nwitnesses: [{mine}]\n")
    code, out, err = sop("register", "checkpoint", "--cosigned", tmp_path / "cosigned", "--config", config)
    said = (f"CLOCKS: the witness inspektorat signed at {last + timedelta(seconds=shift):%Y-%m-%dT%H:%M:%SZ} by its "
            f"clock, and entry 9, which it had seen, bears the time {last:%Y-%m-%dT%H:%M:%SZ}: ")
    assert code == 0 and (said in out) == told, err
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
    desk.run(request)
    code, out, _ = sop("register", "verify", "--config", config)
    assert code == 0 and (said in out) == told
    assert sop("register", "export", tmp_path / "export", "--documents")[0] == 0
    code, out = verify(tmp_path / "export/verify.py", tmp_path / "export", "--key", key, "--witness", mine)
    assert code == 0 and (said in out) == told, out


def test_witness_and_checkpoint_refuse_what_they_cannot_use(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    desk.submit()
    key = desk.office.people().checkpoint_key
    for words, part in (
        (("checkpoint", "--since", 9), "the register has 2 entries"),
        (("checkpoint", "--cosigned", tmp_path / "none"), "no cosigned checkpoint"),
        (("witness", tmp_path / "none", "--state", tmp_path / "w"), "a new witness needs its name"),
        (("witness", tmp_path / "none", "--state", tmp_path / "w", "--name", "w", "--trust", key), "for a witness"),
    ):
        code, _, err = sop("register", *words)
        assert code == 2 and part in err, err
    (tmp_path / "own").write_text(desk.office.register.checkpoint())
    code, _, err = sop("register", "checkpoint", "--cosigned", tmp_path / "own")
    assert code == 2 and "a witness that sop.yml names" in err
    assert desk.office.register.checkpoint().rstrip() in sop("register", "checkpoint")[1]


def test_witness_trusts_nothing_before_its_first_signature(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """A slip in the key would spoil it for good, and look as if the register were forged."""
    desk.submit()
    key, there = desk.office.people().checkpoint_key, tmp_path / "there"
    stranger = notary.make(tmp_path / "k", "example.go.id/sop").verifier
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    words = ("register", "witness", tmp_path / "update", "--state", there, "--name", "inspektorat", "--trust")
    for trusted, exit_code, part in ((key[:-9], 2, "copy the whole line"), ("x", 2, "copy the whole line"),
                                     (stranger, 3, f"the checkpoint is not signed by {stranger}")):
        code, out, err = sop(*words, trusted)
        assert code == exit_code and not out and part in err and "--trust" in err, err
        assert [path.name for path in there.iterdir()] == ["lock"]
    code, out, err = sop(*words, key)
    assert code == 0 and out.startswith(desk.office.people().register)
    assert err == f"this witness's key, for `witnesses:` in sop.yml: {notary.load(there / 'witness.key').verifier}\n"


def test_witness_takes_no_other_name_or_key_than_it_keeps(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """It would go on by the old ones without a word."""
    desk.submit()
    key, there = desk.office.people().checkpoint_key, tmp_path / "there"
    other = notary.make(tmp_path / "k", "example.go.id/sop").verifier
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    export.witness(tmp_path / "update", there, "inspektorat", key)
    (tmp_path / "update").write_text(export.update(desk.office, 2))
    for flag, given, kept in (("--name", "bpk", "inspektorat"), ("--trust", other, key)):
        code, out, err = sop("register", "witness", tmp_path / "update", "--state", there, flag, given)
        assert code == 2 and not out and f"{flag} is {given}, and this witness keeps {kept}" in err, err
        assert f"leave {flag} out" in err and "a new --state" in err
    code, out, err = sop("register", "witness", tmp_path / "update", "--state", there, "--trust", key)
    assert code == 0 and not err


def test_witness_signs_one_history_where_two_calls_meet(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second comes when the first has read what was seen last, and has not yet written what it signs."""
    desk.submit()
    key, signed = desk.office.people().checkpoint_key, list[str]()
    for name in ("one", "two"):
        (tmp_path / name).write_text(export.update(desk.office, 0))
        desk.submit()
    seconds = notary.seconds

    def second() -> int:
        monkeypatch.setattr(notary, "seconds", seconds)
        with pytest.raises(Refused, match="another call of this witness works in"):
            signed.append(export.witness(tmp_path / "two", tmp_path / "w", "w", key)[0])
        return seconds()

    monkeypatch.setattr(notary, "seconds", second)
    signed.append(export.witness(tmp_path / "one", tmp_path / "w", "w", key)[0])
    assert len(signed) == 1 and (tmp_path / "w/checkpoint").read_text() == signed[0]
    assert (tmp_path / "w/lock").stat().st_mode & 0o777 == 0o600  # else whoever can open it stops this witness
    with pytest.raises(Refused, match="witness last saw 2 entries"):
        export.witness(tmp_path / "two", tmp_path / "w", None, None)


def test_older_word_of_a_witness_takes_no_newer_ones_place(desk: Desk, tmp_path: Path) -> None:
    """Else whoever cuts off the last entries gives the register yesterday's."""
    notes = []
    for since in (0, 2):
        desk.submit()
        (tmp_path / "update").write_text(export.update(desk.office, since))
        note, mine = export.witness(tmp_path / "update", tmp_path / "w", "w", desk.office.people().checkpoint_key)
        notes.append(tmp_path / f"cosigned{since}")
        notes[-1].write_text(note)
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
    for note_file in (*notes, notes[-1]):
        assert export.take_back(desk.office, note_file)[0] == "w"
    with pytest.raises(Refused, match=r"w has signed 3 entries \(.*, and 2 in "):
        export.take_back(desk.office, notes[0])
    assert (desk.office.home.path / "witnessed/w").read_text() == notes[1].read_text()


@pytest.mark.parametrize("how", ["no end of the last line", "a false line in its name", "another's line"])
def test_witness_keeps_nothing_of_the_file_but_what_it_verified(desk: Desk, tmp_path: Path, how: str) -> None:
    """Else a file cut short by its last octet, or a line of junk in it, would end its rounds for good."""
    update, kept, key = tmp_path / "update", tmp_path / "cosigned", desk.office.people().checkpoint_key
    stranger, mine = notary.make(tmp_path / "k", "stranger"), ""
    for since in (0, 2, 3):
        desk.submit()
        update.write_text(export.update(desk.office, since))
        if mine and how == "no end of the last line":
            update.write_text(update.read_text().rstrip("\n"))
        elif mine:
            blob = base64.b64encode(bytes.fromhex(mine.split("+")[1]) + bytes(72)).decode()
            update.write_text(update.read_text() + (
                stranger.sign("x") if how == "another's line" else f"\u2014 w {blob}\n"))
        note, mine = export.witness(update, tmp_path / "w", "w", key)
        assert note == (tmp_path / "w/checkpoint").read_text() and len(note.splitlines()) == 6
        kept.write_text(note)
        desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
        assert export.take_back(desk.office, kept)[0] == "w"


def test_register_keeps_nothing_of_a_cosigned_file_but_what_it_verified(desk: Desk, tmp_path: Path) -> None:
    """Else a false line in a second witness's name closes all gates on the day on which sop.yml names that one."""
    desk.submit()
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    key = desk.office.people().checkpoint_key
    (first, mine), (second, other) = (export.witness(tmp_path / "update", tmp_path / name, name, key) for name in "ab")
    blob = base64.b64encode(bytes.fromhex(other.split("+")[1]) + bytes(72)).decode()
    (tmp_path / "cosigned").write_text(f"{first}\u2014 b {blob}\n")
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
    assert export.take_back(desk.office, tmp_path / "cosigned")[0] == "a"
    assert (desk.office.home.path / "witnessed/a").read_text() == first
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine, other)})
    (tmp_path / "cosigned").write_text(second)
    assert export.take_back(desk.office, tmp_path / "cosigned")[0] == "b"


def test_word_of_a_witness_takes_no_other_ones_place_whatever_their_names(desk: Desk, tmp_path: Path) -> None:
    """Not every name can be a file's; those that are, and what was kept by them, stay as they are."""
    desk.submit()
    names, keys = ("kota/itda", "kota_itda", "kota:itda", "inspektorat", "..", "." * 300, "x" * 300, "a.b"), []
    for place, name in enumerate(names):
        (tmp_path / "update").write_text(export.update(desk.office, 0))
        note, mine = export.witness(tmp_path / "update", tmp_path / str(place), name,
                                    desk.office.people().checkpoint_key)
        keys.append(mine)
        desk.office.config = desk.config.model_copy(update={"witnesses": tuple(keys)})
        (tmp_path / "cosigned").write_text(note)
        assert export.take_back(desk.office, tmp_path / "cosigned")[0] == name
    assert set(trust.examine(desk.office).signers) == set(keys)
    kept = {path.name for path in (desk.office.home.path / "witnessed").iterdir()}
    assert len(kept) == len(names) and {"kota_itda", "inspektorat", "a.b"} < kept
    folder = tmp_path / "export"
    export.export(desk.office, folder, documents=True)
    assert outsider.check(folder, desk.office.people().checkpoint_key, keys)[0] == 0


def test_verify_says_which_witness_has_signed_nothing(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """As before the first round, or where somebody took its word away: a line, which stops nothing."""
    desk.submit()
    mine = notary.make(tmp_path / "k", "inspektorat", COSIGNED).verifier
    example = Path(export.__file__).parent / "data/sop.example.yml"
    (tmp_path / "sop.yml").write_text(f"{example.read_text()}\nwitnesses: [{mine}]\n")
    code, out, _ = sop("register", "verify", "--config", tmp_path / "sop.yml")
    assert code == 0 and "nothing here is signed by the witness inspektorat that sop.yml names" in out
    value = json.loads(sop("register", "verify", "--json", "--config", tmp_path / "sop.yml")[1])
    assert value["unwitnessed"] == ["inspektorat"] and value["findings"] == []
    assert "nothing here is signed" not in sop("register", "verify")[1]


def test_rewritten_register_is_not_taken_back_from_a_witness(desk: Desk, tmp_path: Path) -> None:
    desk.submit()
    (tmp_path / "update").write_text(export.update(desk.office, 0))
    note, mine = export.witness(tmp_path / "update", tmp_path / "w", "w", desk.office.people().checkpoint_key)
    (tmp_path / "cosigned").write_text(note)
    desk.office.config = desk.config.model_copy(update={"witnesses": (mine,)})
    insider.rewrite(desk, lambda all_: all_[:1], key=True)
    with pytest.raises(Refused, match="the last are missing"):
        export.take_back(desk.office, tmp_path / "cosigned")
    with pytest.raises(Usage, match="said to have seen 2"):
        export.update(desk.office, 2)


def test_many_signatures_are_checked_on_all_processors(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the first batch is found as in the last."""
    monkeypatch.setattr(audit, "BATCH", 2)
    desk.approved()
    texts = list(desk.office.register.texts())
    assert audit.read(texts).findings == []
    texts[2] = texts[2].replace("dokumen", "x").replace('"reason":null', '"reason":"x"')
    assert any(number == 3 and "signature of kasubbag" in what for number, what in audit.read(texts).findings)


def test_document_that_two_entries_name_is_copied_once(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read-only: writing over it is refused to whoever is not root."""
    desk.approved()
    copy = export.shutil.copy2

    def as_others(source: Path, target: Path) -> None:
        if target.exists():
            raise PermissionError(13, "Permission denied", str(target))
        copy(source, target)

    monkeypatch.setattr(export.shutil, "copy2", as_others)
    export.export(desk.office, tmp_path / "export", documents=True)
    assert outsider.check(tmp_path / "export", desk.office.people().checkpoint_key)[0] == 0

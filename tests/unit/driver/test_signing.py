"""A step stands only with the signature of the person whom the SOP names, over this step and no other."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from driver import people
from driver.desk import PROJECT, Desk, without
from driver.test_cli import Sop, sop
from sop_driver import actors, export, gates, proof, report, signatures, standing, steps, trust
from sop_driver.directory import Directory
from sop_driver.errors import Failed, Refused, Usage
from sop_driver.flow import Existing
from sop_driver.gates import Case
from sop_driver.proof import NAMESPACE
from sop_driver.register import Entry

__all__ = ["sop"]


def as_(*names: str) -> Any:
    """Somebody signs, whoever should: each call by the next of these names."""
    turn = iter(names)
    return lambda who, message: people.sign(next(turn), message)


def refused(desk: Desk, request: str, step: str, **more: Any) -> str:
    before = desk.office.register.head()
    with pytest.raises(Refused) as error:
        desk.take(request, step, **more)
    assert desk.office.register.head() == before
    return str(error.value)


def test_step_signed_by_another_is_refused_and_leaves_nothing(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    desk.sign = as_("kabid")
    assert "the signature of kadis" in refused(desk, request, "disposition")


def test_submission_signed_by_another_is_refused(desk: Desk) -> None:
    desk.sign = as_("kasubbag")
    with pytest.raises(Refused, match="signature of dinkes"):
        desk.submit()
    assert list(desk.office.register.entries(kind="step")) == []


@pytest.mark.parametrize("namespace", ["git", "file", ""])
def test_signature_for_another_use_of_the_key_is_refused(desk: Desk, namespace: str) -> None:
    request = desk.submit()
    desk.sign = lambda who, message: people.sign(who, message, namespace)
    assert "the signature of kasubbag" in refused(desk, request, "agenda")


def test_signature_that_only_ssh_keygen_refuses_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verdict counts beside the driver's own, of which nothing is left here."""
    request = desk.submit()
    monkeypatch.setattr(proof, "ssh_fault", lambda key, said, armored: None)
    desk.sign = as_("kabid")
    assert "the signature of kasubbag: " in refused(desk, request, "agenda")


def test_key_whose_time_is_over_by_ssh_keygen_alone_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of keys that it gets tells the time of each."""
    request, listed = desk.submit(), signatures.allowed_signers
    over = desk.clock.time

    def ended(people_: Directory) -> str:
        return listed(people_).replace("valid-after=", f'valid-before="{over:%Y%m%d%H%M%SZ}",valid-after=')

    monkeypatch.setattr(signatures, "allowed_signers", ended)
    desk.clock.time += timedelta(minutes=1)
    assert re.search("the signature of kasubbag: .*key has expired", refused(desk, request, "agenda"))
    monkeypatch.undo()
    assert desk.take(request, "agenda")


def test_approval_of_another_request_cannot_be_replayed(desk: Desk) -> None:
    requests = [desk.submit(), desk.submit()]
    for request in requests:
        for step in ("agenda", "disposition", "review"):
            desk.take(request, step)
    entry = desk.take(requests[0], "decision")
    desk.sign = lambda who, message: entry.signatures[0]["sig"]
    assert "the signature of kabid" in refused(desk, requests[1], "decision")


def test_old_decision_cannot_be_replayed_after_the_request_came_back(desk: Desk) -> None:
    """The same words about the same request, but said before the Kadis sent it back."""
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    entry = desk.take(request, "decision")
    desk.take(request, "decision", outcome="no", reason="belum")
    for step in ("disposition", "review"):
        desk.take(request, step)
    desk.sign = lambda who, message: entry.signatures[0]["sig"]
    assert "the signature of kabid" in refused(desk, request, "decision")


def test_two_approvers_racing_leave_one_decision(desk: Desk) -> None:
    """Both sign over the same state; who comes second has to look again."""
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)

    def slow(who: str, message: str) -> str:
        desk.sign = people.sign
        desk.take(request, "decision", actor="subkoor")
        return people.sign(who, message)

    desk.sign = slow
    with pytest.raises(Refused, match="another entry was written"):
        desk.take(request, "decision", outcome="no", reason="tidak")
    now = standing.stand(desk.office, request)
    assert now.done["decision"].actor == "subkoor" and now.returned is None


def test_step_prepared_here_is_signed_elsewhere(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    """The Kadis signs on another computer what was written here."""
    request = desk.submit()
    desk.take(request, "agenda")
    words = ["record", request, "disposition", "--as", "kadis", "--evidence", f"surat_terdisposisi={desk.paper}"]
    told = tmp_path / "disposition"
    code, out, _ = sop(*words, "--prepare", told)
    assert code == 0 and "ssh-keygen -Y sign" in out and "disposition" not in standing.stand(desk.office, request).done
    key = people.write_keys(tmp_path / "elsewhere", "kadis") / "kadis"
    subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", key, told], check=True)
    code, _, err = sop(*words, "--signature", f"{told}.sig")
    assert code == 0, err
    assert "disposition" in standing.stand(desk.office, request).done
    code, _, err = sop(*words, "--signature", f"{told}.sig")
    assert code == 3 and "the signature of kadis" in err


def test_who_signs_here_is_told_what_is_sealed_before_they_sign(desk: Desk) -> None:
    """The statement holds hashes of it, and what was signed is not taken back."""
    told, known = list[tuple[str, Any]](), list[list[tuple[str, Any]]]()

    def sign(who: str, said: str) -> str:
        known.append([*told])
        return people.sign(who, said)

    desk.office.tell, desk.sign = lambda place, value: told.append((place, value)), sign
    desk.submit(contact={"name": "Siti", "email": "siti@example.go.id"})
    desk.enroll("baru", "pd", unit="Bappeda", name="Budi")
    assert known[0] == [("request.contact", {"name": "Siti", "email": "siti@example.go.id", "phone": None})]
    turns = [("now signs", who) for who in ("baru", "kasubbag", "kabid")]  # a passphrase's prompt tells no name
    assert [known[number][1:] for number in (1, 2, 3)] == [
        [("actors.baru.name", "Budi"), *turns[:number]] for number in (1, 2, 3)]


@pytest.mark.parametrize("what", ["decision", "emergency"])
def test_who_signs_elsewhere_reads_what_is_asked_for(desk: Desk, sop: Sop, tmp_path: Path, what: str) -> None:
    """Else a clerk has a request approved by the number of another one."""
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    desk.submit(replace=request, title="Lain")
    desk.take(request, "review")
    told = tmp_path / what
    words = ["record", request, "decision", "--as", "kabid", "--outcome", "yes", "--prepare", told]
    if what == "emergency":
        until = f"{datetime.now(ZoneInfo(desk.config.timezone)) + timedelta(hours=5):%Y-%m-%dT%H:%M}"
        words = ["emergency", "declare", request, "--until", until, "--reason", "x", "--signed-by", "kadis", "kasubbag",
                 "--prepare", told]
    code, out, err = sop(*words)
    assert code == 0 and '\n  digest: {"address":"shared","agency":"Dinas Kesehatan",' in out, err
    asked = (told.with_name(f"{what}.sealed") / "digest").read_bytes()
    assert hashlib.sha256(asked).hexdigest() == json.loads(told.read_text())["data"]["digest"]
    assert json.loads(asked)["title"] == "Lain" and json.loads(asked)["name"] == "dinkes.tarakankota.go.id"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An SSH agent that runs, and knows nobody's key yet."""
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as process:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        until = time.monotonic() + 30
        while not socket.exists() and time.monotonic() < until:
            time.sleep(0.01)
        yield
        process.terminate()


def test_step_is_signed_by_a_key_that_only_an_agent_holds(
    desk: Desk, sop: Sop, agent: None, tmp_path: Path
) -> None:
    """The private half lies in no file: `--key` names the public one."""
    request = desk.submit()
    desk.take(request, "agenda")
    keys = people.write_keys(tmp_path / "mine", "kadis")
    words = ["record", request, "disposition", "--as", "kadis", "--evidence", f"surat_terdisposisi={desk.paper}"]
    words += ["--key", str(keys / "kadis.pub")]
    subprocess.run(["ssh-add", "-q", keys / "kadis"], check=True)
    (keys / "kadis").unlink()
    code, _, err = sop(*words)
    assert code == 0, err
    entry = standing.stand(desk.office, request).done["disposition"]
    assert entry.signatures[0]["by"] == "kadis" and trust.examine(desk.office).findings == []
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    code, _, err = sop(*words)
    assert code == 2 and "this key did not sign" in err and "the public one while its agent runs" in err


TOUCH = "Confirm user presence for key ED25519-SK"


@pytest.mark.parametrize("seen", [True, False], ids=["terminal", "none"])
def test_who_is_to_touch_a_security_key_is_told(tmp_path: Path, seen: bool) -> None:
    """ssh-keygen says so on a terminal only; without, the refusal tells its words."""
    keygen = tmp_path / "ssh-keygen"
    keygen.write_text(f"#!/bin/sh\necho '{TOUCH}' >&2; [ -t 2 ] || echo 'no terminal' >&2; exit 1\n")
    keygen.chmod(0o755)
    asked = "import sop_driver.signatures as s\ntry: s.sign(s.Path('k'), 'x')\nexcept s.Usage as told: exit(told)"
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", asked], stderr=theirs if seen else subprocess.PIPE, check=False,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    os.close(theirs)
    told = os.read(ours, 9999) if seen else done.stderr
    os.close(ours)
    assert TOUCH.encode() in told and (b"no terminal" in told) is not seen
    assert (b"this key did not sign: ssh-keygen says above why" in told) is seen


def test_submission_prepared_here_is_signed_elsewhere(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    words = ["submit", desk.write(desk.form()), "--letter", desk.letter, "--as", "dinkes"]
    told = tmp_path / "permohonan"
    code, out, _ = sop(*words, "--prepare", told)
    assert code == 0 and "\n  request.contact: siti@example.go.id, Siti\n" in out
    contact = hashlib.sha256((tmp_path / "permohonan.sealed/request.contact").read_bytes()).hexdigest()
    assert json.loads(told.read_text())["data"]["request"]["contact"] == f"sealed:{contact}"
    (tmp_path / "sig").write_text(people.sign("dinkes", told.read_text()))
    assert sop(*words, "--signature", tmp_path / "sig")[0] == 0
    code, _, err = sop(*words, "--signature", tmp_path / "sig")
    assert code == 3 and "the signature of dinkes" in err, "the same letter twice needs a signature each"


def test_prepared_statement_goes_stale_when_the_request_moves_on(desk: Desk, sop: Sop, tmp_path: Path) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    words = ["record", request, "decision", "--as", "kabid", "--outcome", "yes"]
    assert sop(*words, "--prepare", tmp_path / "yes")[0] == 0
    (tmp_path / "sig").write_text(people.sign("kabid", (tmp_path / "yes").read_text()))
    desk.take(request, "review")
    assert sop(*words, "--signature", tmp_path / "sig")[0] == 3


def test_key_is_given_once_and_must_sign(desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    request = desk.submit()
    documents = ["--evidence", f"scan={desk.paper}", "--evidence", f"lembar_disposisi={desk.paper}"]
    words = ["record", request, "agenda", "--as", "kasubbag", *documents]
    code, _, err = sop(*words, "--key", desk.folder / "keys/kasubbag", "--prepare", "x")
    assert code == 2 and "more than one" in err
    code, _, err = sop(*words, "--key", desk.paper)
    assert code == 2 and "did not sign" in err
    code, _, err = sop(*words, "--signature", desk.folder / "none")
    assert code == 2 and "cannot be read" in err
    monkeypatch.delenv("SOP_KEYS")
    code, _, err = sop(*words)
    assert code == 2 and "kasubbag's signature is missing" in err
    assert sop(*words, "--key", desk.folder / "keys/kasubbag")[0] == 0


def test_all_whose_signature_is_missing_are_named_with_what_to_give(
    desk: Desk, sop: Sop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mend is what the command takes: where several sign, each key has a name."""
    keys = desk.folder / "keys"
    monkeypatch.delenv("SOP_KEYS")
    words = ["actors", "retire", "dinsos", "--reason", "SK 1", "--signed-by", "kadis", "kasubbag"]
    for given, missing in (((), "kadis's and kasubbag's signatures are missing"),
                           (("--key", f"kasubbag={keys}/kasubbag"), "kadis's signature is missing")):
        code, _, err = sop(*words, *given)
        assert code == 2 and missing in err and "mend: give --key NAME=KEY or --signature NAME=FILE" in err, err
    code, _, err = sop(*words, "--key", f"kadis={keys}/kadis", "--key", f"kasubbag={keys}/kasubbag")
    assert code == 0, err


def test_statement_is_written_over_an_earlier_one_and_nothing_else(desk: Desk, sop: Sop) -> None:
    """Whoever mistypes the name would lose their key or their scan."""
    told = desk.folder / "told"
    words = ["submit", desk.write(desk.form()), "--as", "dinkes", "--letter"]
    for letter in (desk.letter, desk.document("lain.pdf", "%PDF-1.4 lain"), desk.letter):
        code, _, err = sop(*words, letter, "--prepare", told)
        assert code == 0, err
    keys = desk.folder / "keys"
    (desk.folder / "told.sig").write_text(people.sign("dinkes", told.read_text()))
    for kept in (keys / "dinkes", keys / "dinkes.pub", desk.letter, desk.folder / "told.sig", keys,
                 desk.document("x.json", '{"a": 1}'), desk.document("y.json", "[1]"), desk.document("z", "")):
        before = kept.read_bytes() if kept.is_file() else None
        code, _, err = sop(*words, desk.letter, "--prepare", kept)
        assert code == 2 and f"another file is there already\nwhere: {kept}\n" in err, err
        assert before is None or kept.read_bytes() == before


def test_statement_given_as_its_own_signature_is_said_so(desk: Desk, sop: Sop) -> None:
    told = desk.folder / "told"
    words = ["submit", desk.write(desk.form()), "--letter", desk.letter, "--as", "dinkes"]
    assert sop(*words, "--prepare", told)[0] == 0
    code, _, err = sop(*words, "--signature", told)
    assert code == 2 and f"this is no SSH signature\nwhere: {told}\nmend: name the file that ssh-keygen wrote" in err


def on_paper(desk: Desk, ink: str) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    desk.take(request, "disposition", ink=ink)


ENTERED: list[tuple[Callable[[Desk], Any], str, str]] = [
    (lambda desk: desk.enroll("x", "pd", by=("kabid",)), "2 of kadis, kasubbag, bidang whom", "them in --signed-by"),
    (lambda desk: desk.enroll("x", "pd", key=people.public("dinkes")), "the key of x is or was", "make a new key"),
    (lambda desk: desk.enroll("dinkes", "pd", key=people.public("x")), "the id dinkes is or was", "take another id"),
    (lambda desk: desk.enroll("x", "pd", by=("kadis", "kabid", "y")), "y signed, who has no key", "`sop actors list`"),
    (lambda desk: desk.enroll("x", "pd", replaces=True), "x is no actor now", "`sop actors list`"),
    (lambda desk: on_paper(desk, "y"), "nobody has the id 'y'", "`sop actors list`"),
    (lambda desk: on_paper(desk, "dinkes"), "dinkes is pd; paper is seen by kasubbag", "--ink"),
]


@pytest.mark.parametrize(("enter", "what", "mend"), ENTERED)
def test_each_fault_of_a_new_entry_has_its_own_mend(
    file_desk: Desk, enter: Callable[[Desk], Any], what: str, mend: str
) -> None:
    """To sign the same statement once more would be refused in the same way."""
    with pytest.raises(Refused) as error:
        enter(file_desk)
    refusal, = (each for each in error.value.refusals if what in each.what)
    assert mend in refusal.mend and "this very statement" not in refusal.mend


def test_paper_is_seen_by_the_kasubbag_and_shown_as_weaker(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    entry = desk.take(request, "disposition", ink="kasubbag")
    assert entry.actor == "kadis" and [item["by"] for item in entry.signatures] == ["kasubbag"]
    assert entry.evidence and standing.stand(desk.office, request).done["disposition"] == entry
    assert "kadis (kadis, on paper seen by kasubbag: weak)" in "\n".join(report.report(desk.office, request))
    assert "(kadis, on paper seen by kasubbag: weak)" in report.entry_line(desk.office, entry)


def test_paper_of_a_step_that_brings_no_document_is_asked_for_by_a_name(desk: Desk) -> None:
    request = desk.approved()
    desk.run(request)
    desk.take(request, "report")
    with pytest.raises(Refused, match="no scan of it is brought") as error:
        desk.take(request, "completion", ink="kasubbag")
    assert error.value.refusals[0].mend == "give it: --evidence scan=FILE"
    desk.take(request, "completion", ink="kasubbag", documents={"scan": desk.paper})
    assert standing.stand(desk.office, request).next is None


def test_level_is_shown_as_strong_as_the_request_own_sop_calls_it(desk: Desk, sop: Sop) -> None:
    """Another city's may be content with paper, or not with keys in files; who only reads sees it by what is left."""
    text = (PROJECT / "sop_driver/data/sop-website-2024.yml").read_text()
    path = desk.document("lain.yml", text.replace("ssh: strong, pades: strong, ink: weak",
                                                  "ssh: weak, pades: strong, ink: strong"))
    desk.office.config = desk.config.model_copy(update={"sop": str(path)})
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "SOP lain")
    request = desk.submit()
    told = report.entry_line(desk.office, desk.take(request, "agenda"))
    assert "kasubbag (kasubbag, signed by a key: weak)" in told
    entry = desk.take(request, "disposition", ink="kasubbag")
    assert "kadis (kadis, on paper seen by kasubbag) " in report.entry_line(desk.office, entry)
    desk.office.evidence.path(entry.data["sop"]).unlink()
    code, out, _ = sop("history", request)
    assert code == 0 and "kadis (kadis, on paper seen by kasubbag: weak)" in out


def test_paper_is_refused_where_the_sop_wants_a_key(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    assert "signed by ssh or pades only" in refused(desk, request, "decision", ink="kasubbag")


def test_paper_is_refused_when_seen_by_another_role_or_without_a_scan(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    assert "paper is seen by kasubbag" in refused(desk, request, "disposition", ink="kabid")
    desk.approve(request)
    desk.run(request)
    desk.take(request, "report")
    assert "no scan" in refused(desk, request, "completion", ink="kasubbag")


def test_gate_refuses_a_level_that_the_sop_does_not_take(desk: Desk) -> None:
    now = standing.stand(desk.office, desk.approved())
    weak = now.done["decision"]
    now.done["decision"] = Entry(**{**weak.__dict__, "data": {**weak.data, "ink": "kasubbag"}})
    found = gates.check([Case(now, desk.office.evidence, Existing.of({}), desk.office.people().person)])
    assert [r.gate for r in found] == ["approval"] and "signed by ink" in found[0].what


def test_approver_does_not_install_and_is_told_before_anything_happens(desk: Desk) -> None:
    request = desk.approved()
    with pytest.raises(Refused, match="kabid took decision"):
        desk.run(request, actor="kabid")
    assert desk.fleet.played == [] and desk.outcomes() == []


def test_requester_does_not_approve_in_another_office(desk: Desk) -> None:
    """One human being with two ids is one person."""
    desk.enroll("baru", "pd", person="kabid", by=("kadis", "kasubbag"))
    request = desk.submit(requester="baru")
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    assert "request_letter was taken by baru" in refused(desk, request, "decision")


def reviewed(desk: Desk) -> str:
    """A request of the Sub Koordinator's that a colleague corrected, up to the decision."""
    request = desk.corrected("subkoor")
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    return request


def test_who_asked_first_neither_approves_nor_installs_what_was_corrected(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The correction may be that of one letter. A changed driver does not get by."""
    request = reviewed(desk)
    assert "request_letter was taken by baru (entry 3)" in refused(desk, request, "decision", actor="subkoor")
    with monkeypatch.context() as changed, pytest.raises(Refused, match="request_letter was taken by baru"):
        changed.setattr(steps, "_against", lambda *_: [])
        desk.take(request, "decision", actor="subkoor")
    desk.approve(request)
    with pytest.raises(Refused, match="subkoor took request_letter"):
        desk.run(request, actor="subkoor")
    assert desk.fleet.played == [] and trust.examine(desk.office).lines() == []


def test_who_asked_first_approved_before_the_sop_is_adopted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier driver took verifies as it did; whether it is run is asked now."""
    desk = Desk(tmp_path)
    with without("askers"):
        request = reviewed(desk)
    with monkeypatch.context() as earlier:
        earlier.setattr(steps, "_against", lambda *_: [])
        desk.take(request, "decision", actor="subkoor")
    desk.enroll("teknisi", "bidang", by=("kadis", "kasubbag"))
    desk.approve(request)
    assert trust.examine(desk.office).lines() == []
    with pytest.raises(Refused, match="were both taken by subkoor"):
        desk.run(request, actor="teknisi")
    actors.adopt(desk.office, ["kadis", "kasubbag"], desk.sign, "aturannya ikut")
    assert trust.examine(desk.office).lines() == []


def test_run_signed_by_another_touches_no_server(desk: Desk) -> None:
    request = desk.approved()
    desk.sign = as_("kabid", "kabid")
    with pytest.raises(Refused, match="signature of subkoor"):
        desk.run(request)
    assert desk.fleet.played == [] and desk.outcomes() == []


def test_run_whose_installer_is_retired_meanwhile_is_put_back(desk: Desk) -> None:
    request = desk.approved()

    def retire(playbook: str, check: bool) -> None:
        if playbook == "probe.yml":
            desk.retire("subkoor")

    desk.fleet.on_play = retire
    with pytest.raises(Failed, match=r"subkoor was retired at .*the servers were put back"):
        desk.run(request)
    assert desk.outcomes() == ["started", "rolled_back"] and desk.fleet.existing == {}


def test_signature_is_asked_of_nobody_for_what_is_refused_anyway(desk: Desk) -> None:
    """A security key need not be touched in vain."""
    request = desk.submit()

    def touched(who: str, message: str) -> str:
        raise AssertionError(who)

    desk.sign = touched
    with pytest.raises(Refused):
        desk.take(request, "review")
    with pytest.raises(Usage):
        steps.submit(desk.office, desk.write(desk.form()), desk.letter, "ghost", None, touched)


@pytest.fixture
def carried(desk: Desk) -> Desk:
    """A Plh of the Kadis whose key is in a security key, which a finger touches."""

    def sign(who: str, message: str) -> str:
        return people.sign(who, message, touched=True) if who == "plh" else people.sign(who, message)

    desk.sign = sign
    desk.enroll("plh", "kadis", key=people.hardware("plh"), stands_in="Plh", until="2026-12-31T15:59:59Z")
    return desk


def test_security_key_is_enrolled_signs_and_is_verified_outside(carried: Desk, tmp_path: Path) -> None:
    """By ssh-keygen and by us when it is taken, and by the export's own verifier elsewhere."""
    request = carried.submit()
    carried.take(request, "agenda")
    entry = carried.take(request, "disposition", actor="plh")
    assert entry.actor == "plh" and trust.examine(carried.office).lines() == []
    assert "sk-ssh-ed25519@openssh.com" in signatures.allowed_signers(carried.office.people())
    export.export(carried.office, tmp_path / "export", documents=True)
    words = [sys.executable, "-I", tmp_path / "export/verify.py", tmp_path / "export", "--key",
             carried.office.people().checkpoint_key]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "every signature holds" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("touched", [False, None], ids=["nobody touched it", "copied as a file"])
def test_security_key_without_a_touch_signs_nothing(carried: Desk, touched: bool | None) -> None:
    request = carried.submit()
    carried.take(request, "agenda")
    carried.sign = lambda who, message: people.sign(who, message, touched=touched)
    assert "the signature of plh" in refused(carried, request, "disposition", actor="plh")


def test_security_key_without_a_touch_is_not_enrolled(desk: Desk) -> None:
    desk.sign = lambda who, message: people.sign(who, message, touched=False if who == "plh" else None)
    with pytest.raises(Refused, match="nobody touched the hardware key"):
        desk.enroll("plh", "bidang", key=people.hardware("plh"))

"""Take the SOP's steps: submit a request, or record a step that somebody took."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from sop_driver import archive
from sop_driver import procedure as sop
from sop_driver import request as requests
from sop_driver.config import sop_file
from sop_driver.errors import Refusal, Refused, Usage, refuse
from sop_driver.procedure import Step
from sop_driver.register import Entry
from sop_driver.request import Request
from sop_driver.standing import Office, Standing, stand

MAX_DOCUMENT = 256 * 1024**2


def submit(office: Office, file: Path, letter: Path | None, actor: str | None, replace: str | None) -> Standing:
    """Take a request in, or replace one: what was decided on its earlier form does not count for the new one."""
    request = requests.read(file, office.config.name_policy)
    before = stand(office, replace) if replace else None
    if before and before.installed:
        refuse(f"{before.id} is already installed", "request letter", "submit a new request of kind update")
    source = sop_file(office.project, office.config)
    procedure = before.procedure if before else sop.parse(source.read_bytes(), source)
    step = procedure.opening
    (document, kind), = step.evidence.items()
    who = _submitter(office, request, actor, step)
    if letter is not None:
        letter_hash = keep_document(office, document, letter, kind)
    elif before:
        letter_hash = before.letter
    else:
        refuse(f"no {document} came with the request", step.gate or step.id, "give the letter: --letter FILE.pdf")
    release = keep_release(office, request, requests.locate(file, request.release))
    sop_hash = procedure.hash if before else office.evidence.add(source)
    with office.register.writing():
        if before:
            _not_on_the_servers_now(office, before.id)
        opened = office.register.append(
            "step", actor=who, role=office.actor(who).role, step=step.id,
            request=before.id if before else office.register.next_request(office.year()),
            evidence={document: letter_hash, "release": release, "sop": sop_hash},
            data={"request": request.model_dump(mode="json"), "digest": request.digest, "letter": letter_hash,
                  "sop": sop_hash},
        )
    return stand(office, opened.request or "")


def _submitter(office: Office, request: Request, actor: str | None, step: Step) -> str:
    allowed = [name for name, who in office.config.actors.items() if who.role in step.actors]
    who = actor or request.requester or (allowed[0] if len(allowed) == 1 else None)
    if actor and request.requester and actor != request.requester:
        raise Usage(f"the request names {request.requester}, --as {actor}", "requester", "let both name the same")
    one_of = f"give --as, or requester: in the request, one of {', '.join(allowed)}"
    if who is None:
        raise Usage("it is not said who asks", "requester", one_of)
    if (role := office.actor(who).role) not in step.actors:
        refuse(f"{who} is {role}; {step} is taken by {' or '.join(step.actors)}", step.gate or step.id, one_of)
    return who


def keep_document(office: Office, name: str, path: Path, kind: str) -> str:
    """Keep a document as evidence. Raises Usage for one that is missing, empty, too large or not what it should be."""
    try:
        size = path.stat().st_size if path.is_file() else -1
        with path.open("rb") if size > 0 else io.BytesIO() as file:
            head = file.read(1024)
    except OSError as error:
        raise Usage(f"{name} cannot be read: {error.strerror}", str(path), "name a file you may read") from error
    if not 0 < size <= MAX_DOCUMENT:
        state = "is no file" if size < 0 else "is empty" if size == 0 else "is larger than 256 MiB"
        raise Usage(f"{name} {state}", str(path), "name the document's file")
    if kind == "pdf" and b"%PDF-" not in head:
        raise Usage(f"{name} is not a PDF", str(path), "scan the document as PDF")
    return office.evidence.add(path)


def keep_release(office: Office, request: Request, path: Path) -> str:
    """Keep the release as evidence once its hash and everything in it is as declared. Raises Refused."""
    gate = "release archive"
    if path.stat().st_size > archive.MAX_BYTES:  # before it is copied anywhere
        refuse(f"{path.name} is larger than {archive.MAX_BYTES // 1024**3} GiB", gate, "leave out what is no website")
    with office.evidence.staged(path) as (copy, digest):
        if digest != request.release.sha256:
            refuse(f"{path.name} has the sha256 {digest}, the request names {request.release.sha256}", gate,
                   "put the right archive beside the request, or correct release.sha256")
        try:
            found = archive.inspect(copy)
        except archive.BadArchive as error:
            refuse(f"{path.name}: {error}", gate, "pack it again: plain files, folders and links that stay inside")
        faults = []
        if request.document_root and request.document_root not in found.folders:
            faults.append(f"document_root {request.document_root!r} is no folder in it")
        if request.setup_script and request.setup_script not in found.files:
            faults.append(f"setup_script {request.setup_script!r} is no file in it")
        faults += [f"writable {w!r} is a file in it" for w in request.writable if w in found.files | found.links.keys()]
        if faults:
            mend = "correct the request or the archive"
            raise Refused([Refusal(f"{path.name}: {fault}", gate, mend) for fault in faults])
    return digest


def record(office: Office, request: str, name: str, actor: str, outcome: str | None = None,
           evidence: dict[str, Path] | None = None, reason: str | None = None) -> Entry:
    """Write one step into the register, or refuse it: out of order, by the wrong actor, without its documents."""
    now = stand(office, request)
    step = now.procedure.step(name)
    if step is None:
        known = ", ".join(s.id for s in now.procedure.steps)
        raise Usage(f"the SOP has no step {name!r}", now.procedure.id, f"use one of {known}")
    documents = evidence or {}
    try:
        reason = requests.plain_text(reason) if reason and reason.strip() else None
    except ValueError as error:
        raise Usage(f"the reason {error}", "--reason", "write it as plain text on one line") from error
    if refusals := _against(now, step, actor, office.actor(actor).role, outcome, documents, reason):
        raise Refused(refusals)
    hashes = {key: keep_document(office, key, path, step.evidence.get(key, "any")) for key, path in documents.items()}
    with office.register.writing():
        _not_on_the_servers_now(office, request)
        again = stand(office, request)  # another clerk may have been quicker
        if refusals := _against(again, step, actor, office.actor(actor).role, outcome, documents, reason):
            raise Refused(refusals)
        data: dict[str, Any] = {"digest": again.digest, "letter": again.letter}
        if step.gives == "agenda":
            year = office.year()
            number = office.register.next_agenda(year)
            data["agenda"] = {"year": year, "number": number, "text": office.config.agenda.text(number, year)}
        return office.register.append("step", actor=actor, role=office.actor(actor).role, request=request, step=step.id,
                                      outcome=outcome, evidence=hashes, reason=reason, data=data)


def _not_on_the_servers_now(office: Office, request: str) -> None:
    """While a run brings a request onto the servers, what it rests on must not change."""
    started = office.register.open_run()
    if started and request in started.data["requests"]:
        refuse(f"{request} is part of {started.data['run']}, which has no end yet ({started})", "one run at a time",
               "wait until it ends; after a crash `sop run` puts the servers back and ends it")


def _against(now: Standing, step: Step, actor: str, role: str, outcome: str | None, documents: dict[str, Path],
             reason: str | None) -> list[Refusal]:
    """Everything that stands against taking a step now."""
    gate = step.gate or step.id
    found: list[Refusal] = []

    def against(what: str, mend: str) -> None:
        found.append(Refusal(f"{now.id}: {what}", gate, mend))

    if step.by != "record":
        against(f"{step} is not recorded by hand", {"submit": "use `sop submit`", "run": "use `sop run`"}[step.by])
    missing = next((s for s in now.procedure.before(step) if s.id not in now.done), None)
    if missing:
        sent_back = f" since it was returned: {now.returned.reason} ({now.returned})" if now.returned else ""
        against(f"{missing} is not done{sent_back}", f"it is taken by {' or '.join(missing.actors)} first")
    if step.id in now.done and (now.installed or step.gives):
        against(f"{step} is done ({now.done[step.id]})", "go on with the next step; `sop status` names it")
    if role not in step.actors:
        who = " or ".join(step.actors)
        against(f"{actor} is {role}; {step} is taken by {who}", f"let {who} do it")
    if step.outcomes and outcome not in step.outcomes:
        against(f"{step} has no outcome {outcome}", f"give --outcome {'|'.join(step.outcomes)}")
    if outcome and not step.outcomes:
        against(f"{step} has no outcomes, {outcome} was given", "leave --outcome out")
    branch = step.outcomes.get(outcome or "")
    if branch and branch.needs_reason and not reason:
        against(f"{step} needs a reason for {outcome!r}", "give --reason TEXT")
    if branch and branch.kind and branch.kind != now.request.kind:
        against(f"the outcome {outcome} asks for a request of kind {branch.kind}, this one is {now.request.kind}",
                f"correct it to `kind: {branch.kind}` and `sop submit … --replace {now.id}`")
    if lacking := set(step.evidence) - set(documents):
        against(f"{step} lacks {', '.join(sorted(lacking))}", " ".join(f"--evidence {n}=FILE" for n in sorted(lacking)))
    return found

"""Take the SOP's steps: submit a request, or record a step that somebody took."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sop_driver import archive, trust
from sop_driver import procedure as sop
from sop_driver import request as requests
from sop_driver.config import sop_file
from sop_driver.directory import statement
from sop_driver.errors import Refusal, Refused, Usage, refuse
from sop_driver.procedure import Step
from sop_driver.register import Entry
from sop_driver.request import Release, Request
from sop_driver.signatures import Sign
from sop_driver.standing import Office, Standing, stand

MAX_DOCUMENT = 256 * 1024**2


def submit(office: Office, file: Path, letter: Path | None, actor: str | None, replace: str | None, sign: Sign,
           ink: str | None = None) -> Standing | None:
    """Take a request in, or replace one: what was decided on its earlier form does not count for the new one.

    Gives nothing where the signature is to be made elsewhere (see `signed`).
    """
    request = requests.read(file, office.config.name_policy)
    before = stand(office, replace) if replace else None
    if before and before.installed:
        refuse(f"{before.id} is already installed", "request letter", "submit a new request of kind update")
    source = sop_file(office.project, office.config)
    procedure = before.procedure if before else sop.parse(source.read_bytes(), source)
    step = procedure.opening
    (document, kind), = step.evidence.items()
    who = _submitter(office, request, actor, step)
    if not before and procedure.hash != office.people().sop:
        refuse(f"{source} is not the SOP that the officials adopted", "the SOP",
               "bring the adopted file back, or have this one adopted by two of them: `sop actors adopt`")
    if letter is not None:
        letter_hash = keep_document(office, document, letter, kind)
    elif before:
        letter_hash = before.letter
    else:
        refuse(f"no {document} came with the request", step.gate or step.id, "give the letter: --letter FILE.pdf")
    release = request.release and keep_release(office, request, request.release, requests.locate(file, request.release))
    sop_hash = procedure.hash if before else office.evidence.add(source)
    fields = draft(office, who, step, replace, ink, sop=sop_hash, digest=request.digest, letter=letter_hash)
    fields["data"] |= {"request": request.model_dump(mode="json"), "replaces": replace}
    fields["evidence"] = {document: letter_hash, "sop": sop_hash, **({"release": release} if release else {})}
    if (signatures := signed(office, fields, sign)) is None:
        return None
    with office.register.writing():
        if before:
            _not_on_the_servers_now(office, before.id)
        else:
            fields["request"] = office.register.next_request(office.year())
        still(office, fields)
        opened = office.register.append("step", signatures=signatures, **fields)
        trust.accept(office, opened)
    return stand(office, opened.request or "")


def draft(office: Office, actor: str, step: Step, request: str | None, ink: str | None, **binds: str) -> dict[str, Any]:
    """A step's entry as its actor signs it; `binds` are the hashes of what it is about. Raises Refused."""
    if ink and "ink" not in step.signed:
        refuse(f"{step} is signed by {' or '.join(step.signed)} only", step.gate or step.id,
               f"{actor} signs with a key of their own: leave --ink out")
    return {"actor": actor, "role": office.actor(actor).role, "request": request, "step": step.id, "outcome": None,
            "evidence": {}, "reason": None,
            "data": {**binds, "person": office.people().person(actor), "previous": _previous(office, actor, request),
                     **({"ink": ink} if ink else {})}}


def _previous(office: Office, actor: str, request: str | None) -> str | None:
    """What an entry follows on, so that its signature fits there only: the request's last, or the actor's request."""
    return office.register.latest("request", request) if request else office.register.latest("brought_by", actor)


def signed(office: Office, fields: dict[str, Any], sign: Sign) -> list[dict[str, str]] | None:
    """The signature over a step's entry; None where it is to be made elsewhere, its statement being written."""
    by = fields["data"].get("ink", fields["actor"])
    signature = sign(by, statement({"kind": "step", **fields}, office.people().register))
    return None if signature is None else [{"by": by, "sig": signature}]


def still(office: Office, fields: dict[str, Any]) -> None:
    """Raises Refused where somebody was quicker. Call it within `register.writing()`."""
    data = fields["data"]
    if _previous(office, fields["actor"], data.get("replaces", fields["request"])) != data["previous"]:
        refuse("another entry was written while this one was signed", fields["step"], "run the command again")


def _submitter(office: Office, request: Request, actor: str | None, step: Step) -> str:
    allowed = [name for name, who in office.people().actors.items() if who.role in step.actors]
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


def keep_release(office: Office, request: Request, release: Release, path: Path) -> str:
    """Keep the release as evidence once its hash and everything in it is as declared. Raises Refused."""
    gate = "release archive"
    if path.stat().st_size > archive.MAX_BYTES:  # before it is copied anywhere
        refuse(f"{path.name} is larger than {archive.MAX_BYTES // 1024**3} GiB", gate, "leave out what is no website")
    with office.evidence.staged(path) as (copy, digest):
        if digest != release.sha256:
            refuse(f"{path.name} has the sha256 {digest}, the request names {release.sha256}", gate,
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
        if request.entry and request.entry not in found.files:
            faults.append(f"entry {request.entry!r} is no file in it")
        faults += [f"writable {w!r} is a file in it" for w in request.writable if w in found.files | found.links.keys()]
        if faults:
            mend = "correct the request or the archive"
            raise Refused([Refusal(f"{path.name}: {fault}", gate, mend) for fault in faults])
    return digest


def record(office: Office, request: str, name: str, actor: str, sign: Sign, outcome: str | None = None,
           evidence: dict[str, Path] | None = None, reason: str | None = None, ink: str | None = None) -> Entry | None:
    """Write one step into the register, or refuse it: out of order, by the wrong actor, without its documents.

    Gives nothing where the signature is to be made elsewhere (see `signed`).
    """
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
    fields = draft(office, actor, step, request, ink, sop=now.procedure.hash, digest=now.digest, letter=now.letter)
    fields |= {"outcome": outcome, "reason": reason}
    if refusals := _against(now, step, fields, documents):
        raise Refused(refusals)
    fields["evidence"] = {key: keep_document(office, key, path, step.evidence.get(key, "any"))
                          for key, path in documents.items()}
    if (signatures := signed(office, fields, sign)) is None:
        return None
    with office.register.writing():
        _not_on_the_servers_now(office, request)
        if refusals := _against(stand(office, request), step, fields, documents):  # another clerk may have been quicker
            raise Refused(refusals)
        still(office, fields)
        if step.gives == "agenda":
            year = office.year()
            number = office.register.next_agenda(year)
            fields["data"]["agenda"] = {"year": year, "number": number, "text": office.config.agenda.text(number, year)}
        entry = office.register.append("step", signatures=signatures, **fields)
        trust.accept(office, entry)
    return entry


def _not_on_the_servers_now(office: Office, request: str) -> None:
    """While a run brings a request onto the servers, what it rests on must not change."""
    started = office.register.open_run()
    if started and request in started.data["requests"]:
        refuse(f"{request} is part of {started.data['run']}, which has no end yet ({started})", "one run at a time",
               "wait until it ends; after a crash `sop run` puts the servers back and ends it")


def _against(now: Standing, step: Step, fields: dict[str, Any], documents: Iterable[str]) -> list[Refusal]:
    """Everything that stands against taking a step now."""
    gate = step.gate or step.id
    actor, role, outcome, reason = (fields[name] for name in ("actor", "role", "outcome", "reason"))
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
    if other := now.taken_by(fields["data"]["person"], now.procedure.apart(step)):
        against(f"{other.step} was taken by {other.actor} ({other}), and nobody takes both it and {step}",
                "let another person do it")
    if "ink" in fields["data"] and not documents:
        against(f"{step} is signed on paper, and no scan of it is brought", "give it: --evidence NAME=FILE")
    if step.outcomes and outcome not in step.outcomes:
        against(f"{step} has no outcome {outcome}", f"give --outcome {'|'.join(step.outcomes)}")
    if outcome and not step.outcomes:
        against(f"{step} has no outcomes, {outcome} was given", "leave --outcome out")
    branch = step.outcomes.get(outcome or "")
    if branch and branch.needs_reason and not reason:
        against(f"{step} needs a reason for {outcome!r}", "give --reason TEXT")
    if branch and branch.kind and branch.kind != now.request.branch:
        against(f"the outcome {outcome} asks for a request of kind {branch.kind}, this one is {now.request.kind}",
                f"correct it to `kind: {branch.kind}` and `sop submit … --replace {now.id}`")
    if lacking := set(step.evidence) - set(documents):
        against(f"{step} lacks {', '.join(sorted(lacking))}", " ".join(f"--evidence {n}=FILE" for n in sorted(lacking)))
    return found

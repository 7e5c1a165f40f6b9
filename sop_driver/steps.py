"""Take the SOP's steps: submit a request, or record a step that somebody took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from sop_driver import desired, drafts, pades, trust
from sop_driver import procedure as sop
from sop_driver import request as requests
from sop_driver.agencies import anothers, not_its_website, not_its_zone, of_another, told
from sop_driver.config import sop_file
from sop_driver.errors import Refusal, Refused, Usage, refuse
from sop_driver.intake import asked_before, contact, keep_document, keep_release, not_erased, sealed
from sop_driver.procedure import Step
from sop_driver.register import Entry
from sop_driver.request import Request
from sop_driver.schema import ENTRIES
from sop_driver.sheet import sheet
from sop_driver.signatures import Pdf, Sign, prepared
from sop_driver.standing import Office, Standing, stand
from sop_driver.statement import CRLS, KEPT, OF_STEP, PERSONAL, SEALED, statement
from sop_driver.taken import Taken


def submit(office: Office, file: Path, letter: Path | None, actor: str | None, replace: str | None,
           sign: Sign | Pdf, ink: str | None = None,
           warn: Callable[[str], None] = lambda text: None) -> Standing | None:
    """Take a request in, or replace one: what was decided on its earlier form does not count for the new one.

    Gives nothing where the signature is to be made elsewhere (see `signed`). `warn` is told of what asks the same.
    """
    form = requests.read(file, office.config.name_policy)
    before = stand(office, replace) if replace else None
    if before and before.installed:
        refuse(f"{before.id} is already installed", "request letter", "submit a new request of kind update")
    source = sop_file(office.project, office.config)
    procedure = before.procedure if before else sop.parse(source.read_bytes(), source)
    step = procedure.opening
    (document, kind), = step.evidence.items()
    who = _submitter(office, form, actor, step)
    if before:
        _is_theirs(office, before, who)
    websites = desired.fold(office.register) if form.zone or form.kind != "create" else {}
    if refusals := of_others(office, form, who, websites):
        raise Refused(refusals)
    if not before and procedure.hash != office.people().sop:
        refuse(f"{source} is not the SOP that the officials adopted", "the SOP",
               "bring the adopted file back, or have this one adopted by two of them: `sop actors adopt`")
    if letter is not None:
        letter_hash = keep_document(office, document, letter, kind)
    elif before:
        letter_hash = before.letter
    else:
        refuse(f"no {document} came with the request", step.gate or step.id, "give the letter: --letter FILE.pdf")
    release = form.release and keep_release(office, form, form.release, requests.locate(file, form.release))
    request = sealed(office, form, before)
    for other in asked_before(office, who, request, letter_hash, replace):
        warn(f"{other} is open and asks for {request.name} by the same letter; to correct it, give --replace {other}")
    sop_hash = procedure.hash if before else office.evidence.add(source)
    fields = draft(office, who, step, replace, ink, sop=sop_hash, digest=request.digest, letter=letter_hash)
    fields["data"] |= {"request": request.model_dump(mode="json"), "replaces": replace}
    if isinstance(sign, Pdf):
        shows(office, fields, step, request, who, before.agenda if before else None, ink)
    fields["evidence"] = {document: letter_hash, "sop": sop_hash, **({"release": release} if release else {}),
                          f"{PERSONAL}contact": str(request.contact).removeprefix(SEALED)}
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
    office.evidence.signed(*contact(form, replace))
    return stand(office, opened.request or "")


def draft(office: Office, actor: str, step: Step, request: str | None, ink: str | None, **binds: str) -> dict[str, Any]:
    """A step's entry as its actor signs it; `binds` are the hashes of what it is about. Raises Refused."""
    if ink and "ink" not in step.signed:
        refuse(f"{step} is signed by {' or '.join(step.signed)} only", step.gate or step.id,
               f"{actor} signs with a key of their own: leave --ink out")
    people = office.people()
    return {"actor": actor, "role": office.actor(actor).role, "request": request, "step": step.id, "outcome": None,
            "evidence": {}, "reason": None,
            "data": {**binds, "person": people.person(actor), "previous": _previous(office, actor, request),
                     **({"ink": ink, "seen_by": people.person(ink)} if ink else {})}}


def shows(office: Office, fields: dict[str, Any], step: Step, request: Request, asks: str,
          agenda: str | None, ink: str | None) -> None:
    """Make an entry one that is signed in a PDF, and say what the sheet tells its signer. Raises Refused, Usage."""
    gate = step.gate or step.id
    if ink:
        raise Usage("signed on paper and in a PDF", "how it is signed", "give --ink or --pades")
    if "pades" not in step.signed:
        refuse(f"{step} is signed by {' or '.join(step.signed)} only", gate, "leave --pades out")
    who = office.actor(fields["actor"])
    if not who.subject:
        refuse(f"the register does not know the certificate of {fields['actor']}", gate,
               f"enter it by two officials: sop actors replace {fields['actor']} … --certificate FILE")
    if not office.people().roots:
        refuse("the register trusts no authority for PDF signatures", gate, "sop actors trust ROOT.pem …")
    fields["data"]["pades"] = {"document": step.signed_sheet, "shown": {
        **dict(zip(OF_STEP, (f"{step.number}. {step.activity}", agenda or "-"), strict=True)),
        **told(office.people(), request.model_dump(mode="json"), asks)}}


def _previous(office: Office, actor: str, request: str | None) -> str | None:
    """What an entry follows on, so that its signature fits there only: the request's last, or the actor's request."""
    return office.register.latest("request", request) if request else office.register.latest("brought_by", actor)


def binding(now: Standing) -> dict[str, str]:
    """What an entry on a request is about: the request and its letter as they are, and the SOP."""
    return {"sop": now.procedure.hash, "digest": now.digest, "letter": now.letter}


def signed(office: Office, fields: dict[str, Any], sign: Sign | Pdf, kind: str = "step",
           by: Iterable[str] | None = None) -> list[dict[str, str]] | None:
    """The signatures over an entry on a request; None where one is made elsewhere, its statement being written.

    One within a PDF is in the evidence, and no other is beside it.
    """
    body, register = {"kind": kind, **fields}, office.people().register
    fields["data"]["seen"] = drafts.seen(office, body, register, sign)
    said = statement(body, register)
    if isinstance(sign, Pdf):
        signatures = _within(office, fields, said, sign)
    else:
        names = [fields["data"].get("ink", fields["actor"])] if by is None else dict.fromkeys(by)
        signatures = drafts.by_all(office, names, said, sign)
    if signatures is None:
        drafts.keep(office, body, register, sign)
    return signatures


def _within(office: Office, fields: dict[str, Any], said: str, pdf: Pdf) -> list[dict[str, str]] | None:
    if pdf.prepare:
        prepared(pdf.prepare, sheet(said))
    if not pdf.signed:
        return None
    pades.load()
    fields["evidence"][fields["data"]["pades"]["document"]] = keep_document(office, "signature", pdf.signed, "pdf")
    if pdf.crls:
        fields["evidence"][CRLS] = keep_document(office, CRLS, pdf.crls, "any")
    return []


def written(office: Office, kind: str, fields: dict[str, Any], sign: Sign, by: Iterable[str],
            stands: Callable[[Entry], None] = lambda entry: None) -> Entry | None:
    """Write an entry on a request that is no step of it, once all have signed it (see `signed`).

    What `stands` raises takes it back.
    """
    if (signatures := signed(office, fields, sign, kind, by)) is None:
        return None
    with office.register.writing():
        _not_on_the_servers_now(office, fields["request"])
        still(office, fields)
        entry = office.register.append(kind, signatures=signatures, **fields)
        stands(entry)
        trust.accept(office, entry)
    return entry


def still(office: Office, fields: dict[str, Any]) -> None:
    """Raises Refused where somebody was quicker, or what it brings was erased. Call it within `register.writing()`."""
    data = fields["data"]
    if _previous(office, fields["actor"], data.get("replaces", fields["request"])) != data["previous"]:
        refuse("another entry was written while this one was signed", fields["step"] or fields["outcome"],
               "run the command again")
    forms = office.register.entries(kind="step", request=data["replaces"]) if data.get("replaces") else ()
    not_erased(office, fields["evidence"], {item for form in forms if "replaces" in form.data
                                            for item in form.evidence.items()})


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


def _is_theirs(office: Office, before: Standing, who: str) -> None:
    """Raises Refused where somebody of another agency would replace a request, with all that was decided on it."""
    opened = before.opened
    if fault := anothers(office.people(), before.id, opened, who, opened.actor or "", opened.data["person"]):
        refuse(fault, before.procedure.opening.gate or before.procedure.opening.id,
               f"let {opened.actor} or somebody of the same unit replace it, or submit a request of {who}'s own")


def of_others(office: Office, form: Request, asks: str, websites: Mapping[str, desired.Website],
              beside: Iterable[Standing] = ()) -> list[Refusal]:
    """Why somebody does not change a website, or ask for one in a zone: another agency asked for it last.

    `beside` are the requests that are brought onto the servers with it.
    """
    people, gate = office.people(), "the website's agency"
    if form.kind != "create" and (there := websites.get(form.name)):
        owner = stand(office, there["request"]).opened
        if found := not_its_website(people, form.name, asks, owner.__dict__):
            return [Refusal(found[0], gate, found[1])]
    if form.zone is None:
        return []
    held = sorted({row["request"] for row in websites.values() if row.get("zone") == form.zone})
    owners = [*(stand(office, request).opened.__dict__ for request in held),
              *(other.opened.__dict__ for other in beside if other.request.zone == form.zone)]
    found = not_its_zone(people, form.zone, asks, owners)
    return [Refusal(found[0], gate, found[1])] if found else []


def record(office: Office, request: str, name: str, actor: str, sign: Sign | Pdf, outcome: str | None = None,
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
    reason = plain(reason) if reason and reason.strip() else None
    fields = draft(office, actor, step, request, ink, **binding(now))
    fields |= {"outcome": outcome, "reason": reason}
    if kept := sorted(documents.keys() & KEPT):
        raise Usage(f"--evidence {', '.join(kept)}=…", "the documents' names",
                    "name it otherwise: what the register itself names so is never erased")
    brought = set(documents)
    if isinstance(sign, Pdf):
        shows(office, fields, step, now.request, now.opened.actor or "", now.agenda, ink)
        brought.add(step.signed_sheet)
        if step.signed_sheet in documents:
            raise Usage(f"--evidence {step.signed_sheet}=…", "how it is signed", "the signed PDF is it: leave this out")
    if refusals := _against(office, now, step, fields, brought):
        raise Refused(refusals)
    fields["evidence"] = {key: keep_document(office, key, path, step.evidence.get(key, "any"))
                          for key, path in documents.items()}
    if (signatures := signed(office, fields, sign)) is None:
        return None
    with office.register.writing():
        _not_on_the_servers_now(office, request)
        now = stand(office, request)  # another clerk may have been quicker
        if refusals := _against(office, now, step, fields, brought):
            raise Refused(refusals)
        still(office, fields)
        if step.gives == "agenda":
            fields["data"]["agenda"] = _agenda(office)
        entry = office.register.append("step", signatures=signatures, **fields)
        trust.accept(office, entry)
    return entry


def _agenda(office: Office) -> dict[str, Any]:
    """The next agenda number. Raises Refused where its text was given before: sop.yml had another pattern then.

    A text holds its year and number, so one like it can only be of the years and numbers that this one can be read as.
    """
    year = office.year()
    number = office.register.next_agenda(year)
    text = office.config.agenda.text(number, year)
    parts = [text[start:start + length] for start in range(len(text)) for length in range(1, 19)]
    numbers = {int(part) for part in parts if part.isdecimal()}
    alike = select(ENTRIES.c.entry).where(ENTRIES.c.agenda_year.in_(numbers), ENTRIES.c.agenda_number.in_(numbers))
    for entry in map(office.register.read, office.register.db.execute(alike).scalars()):
        if entry.data["agenda"]["text"] == text:
            refuse(f"the agenda number {text} was given before ({entry})", "agenda number",
                   "let `agenda.pattern` in sop.yml make other numbers than those of the pattern before it, by another "
                   "unit or classification")
    return {"year": year, "number": number, "text": text}


def plain(text: str, what: str = "the reason", flag: str = "--reason") -> str:
    """A text as it is kept. Raises Usage."""
    try:
        return requests.plain_text(text)
    except ValueError as error:
        raise Usage(f"{what} {error}", flag, "write it as plain text on one line") from error


def _not_on_the_servers_now(office: Office, request: str) -> None:
    """While a run brings a request onto the servers, what it rests on must not change."""
    started = office.register.open_run()
    if started and request in started.data["requests"]:
        refuse(f"{request} is part of {started.data['run']}, which has no end yet ({started})", "one run at a time",
               "wait until it ends; after a crash `sop run` puts the servers back and ends it")


def _against(office: Office, now: Standing, step: Step, fields: dict[str, Any],
             documents: Iterable[str]) -> list[Refusal]:
    """Everything that stands against taking a step now."""
    gate, rule, brought = step.gate or step.id, now.procedure.flow.steps[step.id], set(documents)
    new = Taken.of({**fields, "sequence": 0}, "")
    found = [*now.fold.against(rule, new, brought, now.waived, office.people().person)]
    if now.fold.opened and (other := of_another(office.people(), now.procedure.flow.opening, new, now.fold.opened)):
        found.append(other)
    if step.by != "record":
        found.insert(0, (f"{step} is not recorded by hand", f"use `sop {step.by}`"))
    return [Refusal(f"{now.id}: {what}", gate, mend) for what, mend in found]

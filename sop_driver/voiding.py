"""Take back an entry that must be corrected: another entry says so, both stay, and gates no longer count the first."""

from __future__ import annotations

from sop_driver.errors import Usage, refuse
from sop_driver.proof import canonical, leaf_hash
from sop_driver.register import Entry
from sop_driver.signatures import Sign
from sop_driver.standing import Office, stand
from sop_driver.steps import binding, plain, written
from sop_driver.taken import Taken

GATE = "voiding"


def void(office: Office, request: str, number: int, actor: str, sign: Sign, reason: str) -> Entry | None:
    """Void a step by who took it or by the head; a refusal by the official who gave it only.

    Gives nothing where the signature is to be made elsewhere.
    """
    now = stand(office, request)
    entry = next((e for e in office.register.entries(kind="step", request=request) if e.sequence == number), None)
    if entry is None:
        raise Usage(f"entry {number} is no step of {request}", "sop void", f"`sop history {request}` names them")
    if number in now.voided:
        refuse(f"{entry} is voided already ({now.voided[number]})", GATE, f"see `sop history {request}`")
    if entry.step == now.procedure.opening.id:
        refuse(f"{entry} is the request itself", GATE, f"correct it: `sop submit … --replace {request}`")
    if entry.step == now.procedure.installation.id:
        refuse(f"{entry} is an installation, which is on the servers", GATE, "submit a request of kind update")
    people, body, previous = office.people(), entry.__dict__, office.register.latest("request", request)
    fields = {"actor": actor, "role": office.actor(actor).role, "request": request, "step": entry.step,
              "outcome": "voided", "evidence": {}, "reason": plain(reason),
              "data": {**binding(now), "person": people.person(actor), "entry": number,
                       "hash": leaf_hash(canonical(body)).hex(), "previous": previous}}
    if fault := people.void_fault(fields, Taken.of(body, "")):
        refuse(fault, GATE, "let the official named do it")
    return written(office, "void", fields, sign, [actor])

"""Who may act changes by entries with several signatures: the first actors, enrolling, retiring, replacing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from sop_driver import drafts, notary, pades, plain_yaml, trust
from sop_driver import procedure as sop
from sop_driver.adoption import unfit
from sop_driver.config import Strict, load, sop_file
from sop_driver.directory import Directory
from sop_driver.errors import Refusal, Refused, Usage, refuse
from sop_driver.intake import keep_document, not_erased
from sop_driver.procedure import Procedure
from sop_driver.proof import fingerprint
from sop_driver.register import Entry
from sop_driver.request import plain_text
from sop_driver.shape import of_actor, of_first
from sop_driver.signatures import Sign
from sop_driver.standing import Office, stamp
from sop_driver.statement import CERTIFICATE, SEALED, is_id, statement
from sop_driver.steps import plain
from sop_driver.tenure import Actor, becomes, held_already, holds_anew

GATE = "actors"
Plain = Annotated[str, AfterValidator(plain_text)]


class First(Strict):
    """One of the first actors, as the ceremony's file names them."""

    name: Plain
    role: str
    unit: Plain | None = None
    key: str | None = None
    person: str | None = None
    certificate: str | None = None


class Ceremony(Strict):
    actors: dict[str, First]
    roots: tuple[str, ...] = ()


def public_key(given: str, where: Path) -> str:
    """An OpenSSH public key without its comment, from a line or a file. Raises Usage."""
    text = given
    try:
        if not given.startswith(("ssh-", "sk-ssh-")) or " " not in given:  # a file may be called so
            text = (where / given).read_text()
        if "PRIVATE KEY" in text:
            raise ValueError("it is a private one")
        fingerprint(text)
    except (OSError, ValueError, IndexError) as error:
        raise Usage(f"{given} is no public key that is taken ({error})", "key",
                    "give an ed25519 key: ssh-keygen -t ed25519 or -t ed25519-sk, its file.pub") from error
    return " ".join(text.split()[:2])


def bootstrap(office: Office, file: Path, sign: Sign) -> Entry | None:
    """Enter the first actors: all who have a key sign. Makes the key of the checkpoints, which they sign with it."""
    if office.register.head()[0]:
        refuse(f"{office.register.path} has its first actors", GATE, "go on with `sop actors enroll`")
    given = load(Ceremony, plain_yaml.load(file)[0], file)
    source, procedure = _adoptable(office)
    for name, actor in given.actors.items():
        _is_id(name, str(file))
        _is_role(actor.role, name, source, procedure)
    first = {name: _first(actor, file.parent) for name, actor in given.actors.items()}
    if against := list(_against(first, procedure)):
        raise Refused(against)
    trust.require(office)  # a key without entries is that of a register that was here
    sealed, _ = _sealed(office, Directory(), first)  # the same again until all have signed
    name = f"{office.config.name_policy.domain}/sop/{of_first({each: asdict(actor) for each, actor in sealed.items()})}"
    if not (prepared := office.register.prepared_key).exists() or notary.load(prepared).name != name:
        notary.make(prepared, name)
    key = notary.load(prepared)
    data = {"register": key.name, "checkpoint_key": key.verifier, "sop": procedure.hash, **procedure.told,
            "roots": dict(pades.root(file.parent / root) for root in given.roots)}
    return enter(office, "bootstrap", first, [], [], sign, data=data, evidence={"sop": office.evidence.add(source)})


def _against(first: dict[str, Actor], procedure: Procedure) -> Iterator[Refusal]:
    """What is against the first actors: the ceremony is held once. Agencies may be enrolled later, as they come."""
    rules, before = procedure.officials, dict[str, Actor]()
    officials = sorted(Directory(actors=first, rules=procedure.told["rules"]).officials(""))
    if len(officials) <= rules.count:
        yield Refusal(f"{len(officials)} of the first actors may sign for others ({', '.join(officials) or 'none'})",
                      GATE, f"name {rules.count + 1} persons who are {' or '.join(rules.signers)}, with keys, so that "
                      "each can be replaced")
    for name, actor in first.items():
        if fault := held_already(name, actor, None, before, procedure.told["rules"]):
            yield Refusal(f"{name}: {fault[0]}", GATE, "leave one of the two out, or write the role that they have; "
                          "who stands in is enrolled after the ceremony: --stands-in Plt or Plh")
        before[name] = actor
    held = {actor.role for actor in first.values()}
    for roles, step in {step.actors: step for step in procedure.steps[:0:-1]}.items():
        if held.isdisjoint(roles):
            yield Refusal(f"nobody is {' or '.join(roles)}, who takes {step}", GATE, "name who has that office")


def _sop(office: Office) -> tuple[Path, Procedure]:
    """The SOP's data file as it is now."""
    source = sop_file(office.project, office.config)
    return source, sop.parse(source.read_bytes(), source)


def _adoptable(office: Office) -> tuple[Path, Procedure]:
    """The same, where requests under it can be installed. Raises Refused."""
    source, procedure = _sop(office)
    if faults := list(unfit(procedure.order)):
        refuse(f"{source}: {'; '.join(faults)}", GATE, "correct the file before anybody asks under it")
    return source, procedure


def _is_id(name: str, where: str) -> None:
    if not is_id(name) or name.endswith(CERTIFICATE):  # there lies what certificates call who has the id before it
        raise Usage(f"{name!r} is no id", where,
                    f"write it with letters, digits, `-`, `_` and `.`, and no `{CERTIFICATE}` at its end")


def _is_role(role: str, name: str, source: Path, procedure: Procedure, others: Iterable[Procedure] = ()) -> None:
    """`others` are the SOPs that requests may have begun under."""
    if not any(role in each.roles for each in chain([procedure], others)):
        raise Usage(f"the SOP has no role {role!r} for {name}", str(source), f"use one of {', '.join(procedure.roles)}")


def _first(given: First, folder: Path) -> Actor:
    fields = given.model_dump(exclude={"certificate"})
    return Actor(**fields | {"key": given.key and public_key(given.key, folder),
                             "subject": pades.subject(folder / given.certificate) if given.certificate else None})


def adopt(office: Office, signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Let new requests begin under the SOP's data file as it is now; those under way keep theirs."""
    source, procedure = _adoptable(office)
    if (people := office.people()).sop == procedure.hash and procedure.told.keys() <= people.sops[people.sop].keys():
        refuse(f"{source} is adopted already", GATE, "go on: new requests begin under it")
    not_erased(office, {source.name: procedure.hash})
    return enter(office, "adopt", {}, [], signers, sign, reason=reason, data={"sop": procedure.hash, **procedure.told},
                  evidence={"sop": office.evidence.add(source)})


def rely(office: Office, roots: list[Path], signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """Let PDF signatures rest on these authorities and no others, from this entry on."""
    given = dict(map(pades.root, roots))
    if office.people().roots == given:
        refuse("the register trusts these authorities already", GATE, "go on: `sop actors list` names them")
    return enter(office, "trust", {}, [], signers, sign, data={"roots": given}, reason=reason)


def enroll(office: Office, name: str, actor: Actor, signers: list[str], sign: Sign, reason: str,
           decree: Path | None = None, replaces: bool = False) -> Entry | None:
    """Enter an actor, or another holder or key of an id (`replaces`). The new key and two others sign."""
    _is_id(name, "sop actors")
    people, now = office.people(), stamp(office.register.now())
    unit = actor.unit and plain(actor.unit, f"the unit of {name}", "--unit")
    actor = replace(actor, name=plain(actor.name, f"the name of {name}", "--name"), unit=unit)
    if actor.until and actor.until <= now:
        raise Usage(f"{name} would act until {actor.until}, which is over", "--until", "name a day that is to come")
    old = people.actors.get(name) if replaces else None
    if old is None or old.role != actor.role:  # a lost key does not wait for who is writing the next SOP
        _is_role(actor.role, name, *_sop(office), map(office.procedure, people.sops))
    said = now if actor.person or old is None else people.since[name]
    if old:
        actor = _goes_on(office, people, name, old, actor, now)
    _is_still(people, name, actor, said)
    if actor.stands_in is not None and (fault := people.stand_in_fault(name, actor, now)):
        refuse(f"{name}: {fault[0]}", GATE, fault[1])
    if fault := people.held_already(name, {name: actor}, now):
        refuse(f"{name}: {fault[0]}", GATE, fault[1])
    if decree is None and _takes_over(office, people, old, actor):
        refuse(f"{becomes(name, actor, old)}, and no decree is brought", GATE,
               "give its scan: --decree SK.pdf; who only gets a new key keeps the name that `sop actors list` shows, "
               "and who acts for a holder is entered by --stands-in")
    if decree and not reason.strip():
        refuse(f"the number of {name}'s decree is missing", GATE, "give it as the reason: --reason 'SK 821.2/15/2026'")
    evidence = {"decree": keep_document(office, "decree", decree, "any")} if decree else {}
    return enter(office, "replace" if replaces else "enroll", {name: actor}, [], signers, sign, reason=reason,
                  evidence=evidence)


def _goes_on(office: Office, people: Directory, name: str, old: Actor, new: Actor, now: str) -> Actor:
    """What is said of an id from now on: it is of the same unit as before, and another key makes nobody another person.

    Raises Refused where another person would be whoever an official before them is by other ids, and act as these.
    """
    new = replace(new, unit=new.unit or old.unit)
    if office.personal(old.name) == new.name:
        return replace(new, person=new.person or old.person)
    alone = {name: replace(old, person=None)}
    others = [each for each in people.actors if each != name and people.person(each, alone) == name
              and not people.fault(each, now)]
    if others and old.role in people.rules["signers"]:
        refuse(f"{', '.join(others)} is said to be {name}, whom another person takes over", GATE,
               "before that, retire it, or enter it anew as somebody of its own, with a new key: "
               "`sop actors replace ID … --person ID`")
    return new


def _is_still(people: Directory, name: str, new: Actor, since: str) -> None:
    """Raises Refused where another person took over an id that somebody is said to be since a time, or has a former id
    that was said to be: who was in an office would be one person with who is in it."""
    ids, each = [name], new
    while each.person and each.person not in ids and (holder := people.known(each.person)):
        spans = [(before, start, until) for who, before, start, until in people.closed if who == each.person]
        if any(until > since and before.name != holder.name and before.role in people.rules["signers"]
               for before, _, until in spans):
            refuse(f"{name} is said to be {each.person}, whom another person took over since", GATE,
                   f"say whose it is now, with a new key: --person ID; {name} itself, where they have no other id")
        ids.append(each.person)
        since, each = people.since.get(each.person) or spans[-1][1], holder


def _takes_over(office: Office, people: Directory, old: Actor | None, new: Actor) -> bool:
    """Whether somebody gets an office whose holders show a decree by the SOP, or another person this id of one."""
    another = old is not None and office.personal(old.name) != new.name
    roles = {new.role, old.role} if another and old else {new.role}
    shown = people.rules.get("decree", people.rules["signers"])
    return (another or holds_anew(new, old)) and not roles.isdisjoint(shown)


def retire(office: Office, names: list[str], signers: list[str], sign: Sign, reason: str) -> Entry | None:
    """From this entry on their keys approve nothing; what they signed before stays proven."""
    for name in names:
        office.actor(name, ended=True)
    return enter(office, "retire", {}, names, signers, sign, reason=reason)


def enter(office: Office, outcome: str, new: dict[str, Actor], retired: list[str], signers: list[str], sign: Sign,
          data: dict[str, Any] | None = None, reason: str | None = None, stands: Callable[[], None] = lambda: None,
          **fields: Any) -> Entry | None:
    """Write an entry on actors, or another order of officials, once all have signed it.

    `stands` is asked once nobody else can write, and raises what speaks against it. Gives nothing where a signature is
    to be made elsewhere. Raises Refused; Usage for a reason that is no plain text.
    """
    people = office.people()
    entered = {**people.actors, **new} if "persons" in (data or {}) else new
    if strange := list(people.strangers(entered, new)):
        refuse("; ".join(strange), GATE, "name an id of `sop actors list`: --person ID; who was entered so before is "
               "entered anew by `sop actors replace`, with a new key")
    if outcome != "bootstrap":
        _each_can_be_replaced(people, new, retired, (data or {}).get("rules", people.rules),
                              stamp(office.register.now()))
    new, personal = _sealed(office, people, new)
    body: dict[str, Any] = {
        "actor": None, "role": None, "request": None, "step": None, "outcome": outcome, **fields,
        "reason": None if reason is None else plain(reason),
        "evidence": {**fields.get("evidence", {}), **personal},
        "data": {"actors": {name: asdict(actor) for name, actor in new.items()}, "retired": retired,
                 "previous": people.last, **(data or {})}}
    draft, register = {"kind": "actors", **body}, body["data"].get("register", people.register)
    body["data"]["seen"] = drafts.seen(office, draft, register, sign)
    names = dict.fromkeys((*(name for name, actor in new.items() if actor.key), *signers))
    if (signatures := drafts.by_all(office, names, statement(draft, register), sign)) is None:
        drafts.keep(office, draft, register, sign)
        return None
    with office.register.writing():
        if office.people().last != people.last:
            refuse("the actors changed while this was signed", GATE, "run the command again")
        stands()
        entry = office.register.append("actors", **body, signatures=signatures)
        trust.accept(office, entry)
    for name, actor in new.items():
        office.evidence.signed(office.personal(actor.name), f"name of {name}")
        office.evidence.signed(office.personal(actor.subject or ""), f"certificate of {name}")
    return entry


def _each_can_be_replaced(people: Directory, new: dict[str, Actor], retired: list[str], rules: dict[str, Any],
                          time: str) -> None:
    """Raises Refused where an entry would leave too few who sign for others: no later one could mend that.

    Where they are too few already, whatever leaves no fewer of them is taken.
    """
    left = replace(people, actors={**people.actors, **new}, rules=rules).officials(time, retired)
    more = len(left) - rules["count"]
    if more <= 0 and more < len(people.officials(time)) - people.rules["count"]:
        refuse(f"only {', '.join(sorted(left)) or 'nobody'} could sign for others then: {rules['count']} have to, none "
               "of them for themselves, so that one lost key would end all changes of actors", GATE,
               "enter who follows, or who stands in, before: `sop actors enroll`; or let them take over the id: "
               "`sop actors replace`")


def _sealed(office: Office, people: Directory, new: dict[str, Actor]) -> tuple[dict[str, Actor], dict[str, str]]:
    """Actors as the register keeps them, without their names and certificates, and where these are."""
    found: dict[str, Actor] = {}
    holders = {_subject(office, actor.subject): people.person(name) for name, actor in people.actors.items()
               if actor.subject and name not in new}
    for name, actor in new.items():
        now, person = people.actors.get(name), actor.person or name
        same = now is not None and now.name.startswith(SEALED) and office.personal(now.name) == actor.name
        found[name] = replace(actor, name=now.name if now and same else
                              SEALED + office.evidence.seal(actor.name, f"name of {name}"))
        if actor.subject:
            if (holder := holders.setdefault(actor.subject, person)) != person:
                refuse(f"the certificate of {name} is that of {holder}, another person", GATE,
                       f"take {name}'s own, or say that they are one person: --person {holder}")
            digest = office.evidence.seal(actor.subject, f"certificate of {name}")
            found[name] = replace(found[name], subject=SEALED + digest)
    return found, {label: seal.removeprefix(SEALED) for name, actor in found.items()
                   for label, seal in of_actor(name, actor).items() if seal}


def _subject(office: Office, seal: str) -> str:
    """What certificates call somebody. Raises Refused where that was changed: nobody can be compared with it."""
    digest = seal.removeprefix(SEALED)
    return str(office.evidence.unsealed(digest) if office.evidence.has(digest) else office.personal(seal))

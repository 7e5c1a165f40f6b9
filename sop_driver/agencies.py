"""Which agency a request and a website are of, and that no other one answers for them."""

from __future__ import annotations

from collections.abc import Iterable

from sop_driver.directory import Directory
from sop_driver.flow import Against, Rule
from sop_driver.statement import Body, shown
from sop_driver.taken import Taken


def anothers(people: Directory, what: str, by: object, asks: str, actor: str, person: str) -> str | None:
    """That something is another agency's, `by` the entry or request of this actor, and not of the agency of who asks;
    nothing where they are one, by whatever office, or of the same unit."""
    who, known = people.known(asks), people.known(actor)
    if asks == actor or people.person(asks) == people.person(person) or (
            who and known and who.unit and who.unit == known.unit):
        return None
    return f"{what} is {actor}'s ({by}), {asks} is of another agency"


def asker(people: Directory, name: str) -> str:
    """Who asks, by what two officials entered; a form's own words are anybody's."""
    return f"{name} ({known.unit})" if (known := people.known(name)) and known.unit else name


def told(people: Directory, form: Body, asks: str) -> dict[str, str]:
    """What the sheet of a PDF signature tells of a request, and who asks for it."""
    return {**shown(form), **({"Pemohon": asker(people, asks)} if "agencies" in people.told else {})}


def of_another(people: Directory, opening: Rule, new: Taken, opened: Taken) -> Against | None:
    """Why an agency does not take a step: the request is another one's.

    The officials of the SOP take theirs for all agencies, also where they may ask for a website themselves.
    """
    if "agencies" not in people.told or new.role not in opening.actors or new.role in people.rules["signers"]:
        return None
    fault = anothers(people, new.request, opened, new.actor, opened.actor, opened.person)
    return (fault, f"let {opened.actor} or somebody of the same unit do it") if fault else None


def not_its_website(people: Directory, website: str, asks: str, owner: Body) -> Against | None:
    """Why somebody does not ask for a change of a website. `owner` is the entry that brought the last request which is
    on the servers."""
    actor = owner["actor"]
    fault = anothers(people, website, owner["request"], asks, actor, owner["data"]["person"])
    if "agencies" not in people.told or fault is None:
        return None
    unit = (known := people.known(actor)) and known.unit
    how = f"enroll ID --unit '{unit}' --person {asks}" if unit else (
        f"replace {actor}" if actor in people.actors else f"enroll ID --person {actor}")
    return (fault, f"let {actor} or somebody of the same unit ask for it; where {asks}'s agency succeeded to it, two "
            f"officials hand it over first: `sop actors {how} …`")


def not_its_zone(people: Directory, zone: str, asks: str, owners: Iterable[Body]) -> Against | None:
    """Why somebody makes no website in a zone. `owners` are as above: of what is in it, or is made together with it."""
    for owner in owners:
        actor = owner["actor"]
        if fault := anothers(people, f"the zone {zone}", owner["request"], asks, actor, owner["data"]["person"]):
            return fault, f"ask for another zone, or let {actor} or somebody of the same unit ask for the website"
    return None

"""Which agency a request and a website are of, and that no other one answers for them."""

from __future__ import annotations

from sop_driver.directory import Directory
from sop_driver.flow import Against, Rule
from sop_driver.statement import Body, shown
from sop_driver.taken import Taken


def same_agency(people: Directory, name: str, other: str, person: str) -> bool:
    """Whether somebody is another one, by whatever office, or of the same unit."""
    actor, known = people.known(name), people.known(other)
    return (name == other or people.person(name) == people.person(person)
            or bool(actor and known and actor.unit and actor.unit == known.unit))


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
    if ("agencies" not in people.told or new.role not in opening.actors or new.role in people.rules["signers"]
            or same_agency(people, new.actor, opened.actor, opened.person)):
        return None
    return (f"{new.request} is {opened.actor}'s ({opened}), {new.actor} is of another agency",
            f"let {opened.actor} or somebody of the same unit do it")


def not_its_website(people: Directory, website: str, asks: str, owner: Body) -> Against | None:
    """Why somebody does not ask for a change of a website. `owner` is the entry that brought the last request which is
    on the servers."""
    actor, request = owner["actor"], owner["request"]
    if "agencies" not in people.told or same_agency(people, asks, actor, owner["data"]["person"]):
        return None
    unit = (known := people.known(actor)) and known.unit
    how = f"enroll ID --unit '{unit}' --person {asks}" if unit else f"replace {actor}"
    return (f"{website} is {actor}'s ({request}), {asks} is of another agency",
            f"let {actor} or somebody of the same unit ask for it; where {asks}'s agency succeeded to it, two "
            f"officials hand it over first: `sop actors {how} …`")

"""Which agency a request is of, and that no other one answers for it."""

from __future__ import annotations

from sop_driver.directory import Directory
from sop_driver.flow import Against, Rule
from sop_driver.taken import Taken


def same_agency(people: Directory, name: str, other: str, person: str) -> bool:
    """Whether somebody is another one, by whatever office, or of the same unit."""
    actor, known = people.known(name), people.known(other)
    return (name == other or people.person(name) == people.person(person)
            or bool(actor and known and actor.unit and actor.unit == known.unit))


def of_another(people: Directory, opening: Rule, new: Taken, opened: Taken) -> Against | None:
    """Why an agency does not take a step: the request is another one's.

    The officials of the SOP take theirs for all agencies, also where they may ask for a website themselves.
    """
    if ("agencies" not in people.told or new.role not in opening.actors or new.role in people.rules["signers"]
            or same_agency(people, new.actor, opened.actor, opened.person)):
        return None
    return (f"{new.request} is {opened.actor}'s ({opened}), {new.actor} is of another agency",
            f"let {opened.actor} or somebody of the same unit do it")

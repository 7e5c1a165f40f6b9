"""Open the office that a command works in: for who decides, and for who only reads."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Callable

from sop_driver import administration, config, desired, trust
from sop_driver.errors import Failed
from sop_driver.evidence import Evidence
from sop_driver.reading import USELESS, none_begun
from sop_driver.register import Register
from sop_driver.standing import Office


def opened(options: Namespace, tell: Callable[[str], None], makes: bool = False) -> Office:
    """An office in its home, which is there, or is made for who begins a register. Raises Usage.

    `tell` is told of what who signs here cannot see in the statement.
    """
    project = config.project_root()
    settings = config.load_config(config.find_config(getattr(options, "config", None), project))
    home = config.find_home(getattr(options, "home", None), project)
    place = config.find_register(settings, home)
    if not makes and place == str(home.register) and not home.path.exists():
        raise none_begun(place)
    register = Register(place, folder=home.make().path)
    options.closing.callback(register.close)
    office = options.office = trust.watched(Office(settings, project, home, register, Evidence(home.evidence)))
    office.tell = lambda place, value: tell(administration.worded(place, value))
    return office


def ready(office: Office) -> Office:
    """With the desired state's file, which the playbooks read when run by hand. Raises Refused where it is gone."""
    if not office.register.head()[0]:
        trust.require(office)  # where a register was, an empty one would say that no website must exist
    desired.provide(office.home.desired, office.register)
    return office


def reading(office: Office, warn: Callable[[str], None]) -> Office:
    """The same for who only reads; that file is made only where all entries can be used."""
    with contextlib.suppress(*USELESS, Failed, OSError) if office.register.head()[0] else contextlib.nullcontext():
        ready(office)
    office.register.store.rollback()  # where the connection broke off, the next read makes another
    return office.reading(warn)


def recorded(options: Namespace) -> bool:
    """Whether a command that was ended may have recorded something before."""
    return hasattr(options, "office") and options.office.register.store.committed


def relied(options: Namespace) -> None:
    """Raises Refused where the register that was opened cannot be relied on: what came of using it is no bug then."""
    if hasattr(options, "office"):
        trust.require(options.office)

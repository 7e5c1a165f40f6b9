"""Nobody acts in another's name: by paper that nobody signed, by an id that is no other's, by rules of their own."""

from __future__ import annotations

from typing import Any

import pytest

from driver.desk import Desk
from driver.insider import Body
from driver.test_emergency import declare
from driver.test_order import found, written
from sop_driver import emergency, steps, trust, voiding
from sop_driver.errors import Refused

INK = {"ink": "kasubbag"}
PADES = {"pades": {"document": "laporan", "shown": {}}}


def reported(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    emergency.report(desk.office, request, "kabid", desk.paper, desk.sign)


def voided(desk: Desk) -> None:
    voiding.void(desk.office, desk.turned_down(), 6, "kabid", desk.sign, "keliru")


@pytest.mark.parametrize(("module", "order"), [(voiding, voided), (emergency, reported)])
def test_nobody_voids_or_reports_on_paper(
    file_desk: Desk, module: Any, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the Kasubbag alone could take back whatever another refused."""
    def seen(office: Any, kind: str, fields: Body, sign: Any, by: list[str]) -> Any:
        if kind == "void" or fields["outcome"] == "reported":
            fields["data"] |= INK
            by = ["kasubbag"]
        return steps.written(office, kind, fields, sign, by)

    monkeypatch.setattr(module, "written", seen)
    with pytest.raises(Refused, match="it is signed by ink; only steps of the SOP are"):
        order(file_desk)


@pytest.mark.parametrize("way", [INK, PADES])
@pytest.mark.parametrize("order", [voided, reported])
def test_void_or_report_that_its_actor_did_not_sign_is_found(file_desk: Desk, order: Any, way: Body) -> None:
    """A document that a PDF is said to be is in no statement either."""
    def change(bodies: list[Body]) -> list[Body]:
        last = bodies[-1]
        by = way.get("ink", last["actor"])
        return [*bodies[:-1], last | {"data": {**last["data"], **way}, "signatures": [{"by": by, "sig": ""}]}]

    order(file_desk)
    assert trust.examine(file_desk.office).lines() == []
    written(file_desk, change)
    found(file_desk, f"it is signed by {next(iter(way))}; only steps of the SOP are")

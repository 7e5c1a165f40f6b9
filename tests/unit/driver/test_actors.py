"""Who may act is entered by several signatures, ends with a retirement, and the past stays proven."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from argparse import Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from driver import people
from driver.desk import PROJECT, Desk
from driver.test_cli import Sop, sop
from sop_driver import (
    actors,
    administration,
    audit,
    directory,
    export,
    orders,
    outsider,
    procedure,
    proof,
    report,
    shape,
    signatures,
    standing,
    steps,
    tenure,
    trust,
)
from sop_driver.errors import Refused, Usage
from sop_driver.proof import NAMESPACE
from sop_driver.tenure import Actor

__all__ = ["sop"]
SOP_FILE, EXAMPLE = "sop_driver/data/sop-website-2024.yml", "sop_driver/data/sop.example.yml"

PLH = {"stands_in": "Plh", "until": "2026-11-05T15:59:59Z"}


@pytest.fixture
def bare(tmp_path: Path) -> Desk:
    """An office whose register knows nobody yet."""
    (tmp_path / "bare").mkdir()
    desk = Desk(tmp_path / "bare")
    desk.office = desk.opened(desk.clock)
    return desk


def first(desk: Desk, *but: str, **others: Any) -> Path:
    actors = {n: {**a, "key": people.public(n)} for n, a in people.FIRST.items() if n not in but}
    return desk.document("first.yml", json.dumps({"actors": {**actors, **others}}))


def test_bootstrap_enters_all_who_sign_and_the_key_of_the_checkpoints(bare: Desk) -> None:
    entry = actors.bootstrap(bare.office, first(bare), people.sign)
    assert entry and entry.sequence == 1 and {item["by"] for item in entry.signatures} == set(people.FIRST)
    assert bare.office.register.key_file.stat().st_mode & 0o777 == 0o600
    assert entry.data["checkpoint_key"] == bare.office.register.notary.verifier
    assert trust.examine(bare.office).findings == []


def test_key_of_the_checkpoints_is_named_for_the_first_actors(bare: Desk) -> None:
    """So who compares it has compared them; prepared once more it is the same, of another file it is another."""
    names, said = list[str](), list[str]()
    for but in ((), (), ("dinsos",)):
        elsewhere = signatures.Elsewhere(lambda _, message: said.append(message), bare.folder / "ceremony")
        assert actors.bootstrap(bare.office, first(bare, *but), elsewhere) is None
        names.append(json.loads(said[-1])["data"]["register"])
    assert names[0] == names[1] != names[2]
    entry = actors.bootstrap(bare.office, first(bare), people.sign)
    assert entry and entry.data["checkpoint_key"].split("+")[0] == names[0] == entry.data["register"]
    assert names[0].endswith(f"/{shape.of_first(entry.data['actors'])}") and trust.examine(bare.office).findings == []


def test_nothing_is_recorded_before_the_first_actors(bare: Desk) -> None:
    with pytest.raises(Usage, match="nobody has the id"):
        steps.submit(bare.office, bare.write(bare.form()), bare.letter, "dinkes", None, people.sign)
    with pytest.raises(Refused, match="knows nobody yet"):
        bare.office.register.append("record")


def test_bootstrap_refuses_one_whose_key_did_not_sign(bare: Desk) -> None:
    def sign(who: str, message: str) -> str:
        return people.sign("kabid" if who == "kadis" else who, message)

    with pytest.raises(Refused, match="the signature of kadis"):
        actors.bootstrap(bare.office, first(bare), sign)
    assert bare.office.register.head()[0] == 0


def test_bootstrap_refuses_too_few_officials_to_replace_one(bare: Desk) -> None:
    with pytest.raises(Refused, match="2 of the first actors may sign for others"):
        actors.bootstrap(bare.office, first(bare, "kadis", "subkoor"), people.sign)


def test_bootstrap_counts_a_person_with_two_offices_once(bare: Desk) -> None:
    """Whose key is lost is replaced by two others: with one of two persons' hands lost, nobody could be."""
    again = {**people.FIRST["kasubbag"], "key": people.public("kasubbag"), "person": "kadis"}
    with pytest.raises(Refused, match=r"2 of the first actors may sign for others \(kabid, kadis\)"):
        actors.bootstrap(bare.office, first(bare, "kasubbag", "subkoor", kasubbag=again), people.sign)
    assert bare.office.register.head()[0] == 0


def test_bootstrap_refuses_one_key_for_two_officials(bare: Desk) -> None:
    """One hand would be two signers of everything."""
    both = {**people.FIRST["kabid"], "key": people.public("kadis")}
    with pytest.raises(Refused, match="the key of kabid is or was somebody's"):
        actors.bootstrap(bare.office, first(bare, "kabid", kabid=both),
                         lambda who, said: people.sign("kadis" if who == "kabid" else who, said))
    assert bare.office.register.head()[0] == 0


def official(name: str, role: str) -> dict[str, Any]:
    return {"name": name, "role": role, "key": people.public(name)}


@pytest.mark.parametrize(
    ("but", "others", "kind", "part"),
    [
        ((), {"x": official("x", "bdang")}, Usage, "the SOP has no role 'bdang' for x(?s:.*)one of pd, kadis, bidang"),
        ((), {"kadis2": official("kadis2", "kadis")}, Refused, "kadis2: kadis has one holder, and that is kadis"),
        (("kasubbag",), {}, Refused, r"nobody is kasubbag, who takes step 2 \(agenda"),
    ],
)
def test_bootstrap_refuses_what_no_later_entry_mends_before_anything_is_made(
    bare: Desk, but: tuple[str, ...], others: dict[str, Any], kind: type[Exception], part: str
) -> None:
    """It happens once, so a slip of the pen would stay in the register for good."""
    with pytest.raises(kind, match=part):
        actors.bootstrap(bare.office, first(bare, *but, **others), people.sign)
    assert bare.office.register.head()[0] == 0 and not bare.office.register.key_file.parent.exists()


def test_bootstrap_refuses_an_id_that_is_written_twice(bare: Desk) -> None:
    """The last one would win, whoever was meant."""
    text = first(bare).read_text().replace('"kasubbag": {', '"kadis": {')
    with pytest.raises(Usage, match="the key 'kadis' is no text or is given twice"):
        actors.bootstrap(bare.office, bare.document("first.yml", text), people.sign)


def test_bootstrap_needs_no_agency_yet(bare: Desk) -> None:
    """They are enrolled as they come."""
    entry = actors.bootstrap(bare.office, first(bare, "dinkes", "disdik", "dinsos"), people.sign)
    assert entry and set(entry.data["actors"]) == {"kadis", "kasubbag", "kabid", "subkoor"}


def test_second_holder_that_a_changed_driver_began_with_is_found(bare: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        for module in (actors, directory):
            changed.setattr(module, "held_already", lambda *words: None)
        actors.bootstrap(bare.office, first(bare, kadis2=official("kadis2", "kadis")), people.sign)
    assert trust.examine(bare.office).lines()[0] == "entry 1: kadis2: kadis has one holder, and that is kadis"
    export.export(bare.office, bare.folder / "export", documents=True)
    code, lines = outsider.check(bare.folder / "export", bare.office.people().checkpoint_key)
    assert code == 1 and "entry 1: kadis2: kadis has one holder, and that is kadis" in lines


def test_bootstrap_happens_once(desk: Desk) -> None:
    with pytest.raises(Refused, match="has its first actors"):
        actors.bootstrap(desk.office, first(desk), people.sign)


@pytest.mark.parametrize("key", ["ssh-rsa AAAAB3NzaC1yc2E=", "none.pub", "ssh-ed25519 hello", "ssh-ed25519 AAA=",
                                 people.anybodys()[0]])
def test_bootstrap_refuses_a_key_that_is_not_taken(bare: Desk, key: str) -> None:
    with pytest.raises(Usage, match="no public key that is taken"):
        actors.bootstrap(bare.office, first(bare, x={"name": "X", "role": "pd", "key": key}), people.sign)


def test_bootstrap_says_of_a_private_key_that_it_is_one(bare: Desk) -> None:
    people.write_keys(bare.folder, "kadis")
    with pytest.raises(Usage, match=r"kadis is no public key that is taken \(it is a private one\)"):
        actors.bootstrap(bare.office, first(bare, x={"name": "X", "role": "pd", "key": "kadis"}), people.sign)


@pytest.mark.parametrize("name", ["dink*", "a,b", "!x", "dinas kesehatan", "dínkes", "", "kadis.certificate"])
def test_bootstrap_refuses_an_id_that_enrolling_refuses(bare: Desk, name: str) -> None:
    """Where ssh-keygen looks names up, some letters make a pattern of one."""
    file = first(bare, **{name: {"name": "X", "role": "pd", "key": people.public("x")}})
    with pytest.raises(Usage, match=rf"{re.escape(repr(name))} is no id(?s:.*)first.yml"):
        actors.bootstrap(bare.office, file, people.sign)
    assert bare.office.register.head()[0] == 0 and not bare.office.register.key_file.parent.exists()


def test_public_key_is_read_from_a_file_that_is_called_like_one(tmp_path: Path) -> None:
    (tmp_path / "ssh-kadis.pub").write_text(f"{people.public('kadis')} kadis@dkisp\n")
    assert actors.public_key("ssh-kadis.pub", tmp_path) == people.public("kadis")
    assert actors.public_key(f"{people.public('kadis')} kadis@dkisp", tmp_path) == people.public("kadis")


def test_bootstrap_by_commands_on_several_computers(
    bare: Desk, sop: Sop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOP_REGISTER", raising=False)
    told, home = tmp_path / "ceremony", ("--home", bare.office.home.path)
    words = ["actors", "bootstrap", first(bare), *home]
    code, out, err = sop(*words, "--prepare", told)
    assert code == 0 and "nothing is recorded" in out, err
    assert f"each signs it: ssh-keygen -Y sign -n {NAMESPACE} -f KEY < {told} > ID.sig\n" in out
    assert "repeat this command with --signature ID=ID.sig for each instead" in out
    assert not bare.office.home.desired.exists()
    made = []
    for name in people.FIRST:
        signing = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", bare.folder.parent / "keys" / name]
        with told.open() as read, (tmp_path / f"{name}.sig").open("w") as write:
            subprocess.run(signing, stdin=read, stdout=write, stderr=subprocess.DEVNULL, check=True)
        made += ["--signature", f"{name}={tmp_path}/{name}.sig"]
    code, out, err = sop(*words, *made)
    assert code == 0 and "entry 1, bootstrap" in out, err
    # The next step of who sets the servers up is websites.yml, by hand.
    assert json.loads(bare.office.home.desired.read_text())["websites"] == []
    assert "SHA256:" in sop("actors", "list", *home)[1]
    assert set(json.loads(sop("actors", "list", "--json", *home)[1])) == set(people.FIRST)


def test_actor_without_a_key_signs_on_paper_only(desk: Desk) -> None:
    desk.enroll("dishub", "pd", key=None)
    path = desk.write(desk.form())
    with pytest.raises(Refused, match="has no key"):
        steps.submit(desk.office, path, desk.letter, "dishub", None, people.sign)
    now = steps.submit(desk.office, path, desk.letter, "dishub", None, people.sign, "kasubbag")
    assert now and now.done["request_letter"].actor == "dishub"


def test_enrolled_actor_acts_from_then_on(desk: Desk) -> None:
    with pytest.raises(Usage):
        desk.submit(requester="bappeda")
    desk.enroll("bappeda", "pd")
    assert desk.submit(requester="bappeda") == "R-2026-0001"
    assert trust.examine(desk.office).findings == []


@pytest.mark.parametrize(
    ("by", "part"),
    [
        ((), "2 of kadis, kasubbag, bidang whom it does not concern must sign; nobody did"),
        (("kabid",), "kabid did"),
        (("kabid", "dinkes"), "kabid did"),
        (("kabid", "kabid"), "kabid did"),
    ],
)
def test_enrolling_takes_two_officials(desk: Desk, by: tuple[str, ...], part: str) -> None:
    with pytest.raises(Refused, match=part):
        desk.enroll("bappeda", "pd", by=by)
    assert "bappeda" not in desk.office.people().actors


def test_enrolling_refuses_a_forged_second_signature(desk: Desk) -> None:
    desk.sign = lambda who, message: people.sign("kabid" if who == "kadis" else who, message)
    with pytest.raises(Refused, match="the signature of kadis"):
        desk.enroll("bappeda", "pd", by=("kabid", "kadis"))


def test_enrolling_refuses_a_key_or_an_id_that_is_somebodys(desk: Desk) -> None:
    with pytest.raises(Refused, match="key of bappeda is or was somebody's"):
        desk.enroll("bappeda", "pd", key=people.public("dinkes"))
    with pytest.raises(Refused, match="key of bappeda is or was somebody's"):
        desk.enroll("bappeda", "pd", key=f"{people.public('dinkes')} lain")
    with pytest.raises(Refused, match="id dinkes is or was somebody's"):
        desk.enroll("dinkes", "pd", key=people.public("x"))
    desk.retire("dinsos")
    with pytest.raises(Refused, match="id dinsos is or was somebody's"):
        desk.enroll("dinsos", "pd", key=people.public("x"))
    with pytest.raises(Usage, match="no role"):
        desk.enroll("x", "walikota")
    with pytest.raises(Usage, match="is no id"):
        desk.enroll("a b", "pd")
    with pytest.raises(Usage, match="is no id"):  # to erase its name would erase what certificates call dinkes
        desk.enroll("dinkes.certificate", "pd")


def test_no_driver_enters_an_id_that_is_a_pattern_to_ssh_keygen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "_is_id", lambda *_: None)
    with pytest.raises(Refused, match=r"the id \* is or was somebody's already, or is none"):
        desk.enroll("*", "pd", key=people.public("x"))


def test_retired_actor_approves_nothing_and_the_past_holds(desk: Desk) -> None:
    request, other = desk.submit(), desk.submit()
    for step in ("agenda", "disposition"):
        desk.take(request, step)
    desk.take(other, "agenda")
    desk.retire("kadis")
    with pytest.raises(Refused, match="kadis was retired"):
        desk.take(other, "disposition")
    desk.approve(request)
    desk.run(request)
    assert trust.examine(desk.office).findings == []


@pytest.mark.parametrize("field", ["name", "unit"])
@pytest.mark.parametrize("text", ["X\nkadis  Kepala DKISP, kadis", "Dinas\u202e nahatesek", "\u3164", "Bappeda  Kota"])
def test_name_and_unit_of_an_actor_are_plain_text(bare: Desk, field: str, text: str) -> None:
    """`sop actors list` has one line for each."""
    given = {"name": "Bappeda", "role": "pd", "key": people.public("bappeda"), field: text}
    with pytest.raises(Usage, match=rf"actors.bappeda.{field}: .* holds (?s:.*)first.yml"):
        actors.bootstrap(bare.office, first(bare, bappeda=given), people.sign)
    actors.bootstrap(bare.office, bare.ceremony(), people.sign)
    with pytest.raises(Usage, match=rf"the {field} of bappeda holds (?s:.*)\nwhere: --{field}\n"):
        bare.enroll("bappeda", **given)
    bare.enroll("bappeda", **{**given, field: "Bappeda"})


@pytest.mark.parametrize("reason", ["", "pensiun\n   99  2026-01-01  actors kadis retire", "pensiun \u202e"])
def test_reason_of_a_change_is_plain_text_on_one_line(desk: Desk, reason: str) -> None:
    """It is printed among the entries, where a second line could pass for another one."""
    before = desk.office.register.head()
    with pytest.raises(Usage, match="the reason "):
        actors.retire(desk.office, ["dinkes"], ["kadis", "kasubbag"], desk.sign, reason)
    assert desk.office.register.head() == before


def test_nobody_signs_for_what_concerns_them(desk: Desk) -> None:
    with pytest.raises(Refused, match="kabid did"):
        desk.retire("kadis", by=("kadis", "kabid"))
    with pytest.raises(Refused, match="kasubbag did"):
        desk.enroll("plh", "kadis", person="kabid", by=("kabid", "kasubbag"), **PLH)


def test_retiring_leaves_so_many_officials_that_each_can_be_replaced(desk: Desk) -> None:
    """As the ceremony does: of two, neither could be given another key, and nobody is entered by one."""
    desk.retire("kabid", by=("kadis", "kasubbag"))
    with pytest.raises(Refused, match="only kadis, kasubbag could sign for others then") as error:
        desk.retire("subkoor", by=("kadis", "kasubbag"))
    refusal, = error.value.refusals
    assert refusal.gate == "actors" and "before: `sop actors enroll`" in refusal.mend
    desk.enroll("plh-kabid", "bidang", by=("kadis", "kasubbag"), stands_in="Plh", until="2026-12-31T15:59:59Z",
                person="subkoor")
    with pytest.raises(Refused, match="only kadis, kasubbag could"):  # the same person, by another office
        desk.retire("subkoor", "plh-kabid", by=("kadis", "kasubbag"))
    desk.retire("plh-kabid", "dinsos", by=("kadis", "kasubbag"))
    desk.enroll("kabid-2", "bidang", by=("kadis", "kasubbag"))
    desk.retire("subkoor", by=("kadis", "kasubbag"))
    desk.retire("dinkes", by=("kadis", "kasubbag"))
    assert trust.examine(desk.office).findings == []


TOO_FEW = "could sign for others then: {} have to, none of them for themselves"


@pytest.mark.parametrize(("old", "new", "count"), [
    ("  count: 2\n  ink", "  count: 4\n  ink", 4), ("signers: [kadis, kasubbag, bidang]\n  count",
                                                  "signers: [kadis, kasubbag]\n  count", 2)])
def test_sop_that_leaves_too_few_officials_is_not_adopted(file_desk: Desk, old: str, new: str, count: int) -> None:
    """Nobody could sign for anything again, the way back among it."""
    text = (PROJECT / SOP_FILE).read_text()
    assert old in text
    path = file_desk.document("wedge.yml", text.replace(old, new))
    file_desk.office.config = file_desk.config.model_copy(update={"sop": str(path)})
    with pytest.raises(Refused, match=TOO_FEW.format(count)):
        actors.adopt(file_desk.office, ["kadis", "kasubbag"], file_desk.sign, "SK 3")
    file_desk.document("wedge.yml", text.replace(old, new.replace("4", "3")))
    for name in ("staf-1", "staf-2"):
        file_desk.enroll(name, "kasubbag" if count == 2 else "bidang", stands_in="Plh", until="2026-12-31T15:59:59Z")
    assert actors.adopt(file_desk.office, ["kadis", "kasubbag"], file_desk.sign, "SK 3")


@pytest.mark.parametrize("fields", [
    {"key": None}, {"role": "pd"}, {"person": "kasubbag"}], ids=["no key", "another office", "another's id"])
def test_replacing_leaves_so_many_officials_that_each_can_be_replaced(file_desk: Desk, fields: dict[str, Any]) -> None:
    by = ("kadis", "kasubbag")
    file_desk.retire("subkoor", by=by)
    file_desk.sign = lambda who, said: people.sign("baru" if who == "kabid" else who, said)
    changed = {"role": "bidang", "name": "Kabid", "key": people.public("baru"), "replaces": True, **fields}
    with pytest.raises(Refused, match="only kadis, kasubbag " + TOO_FEW.format(2)):
        file_desk.enroll("kabid", by=by, **changed)
    file_desk.enroll("kabid-2", "bidang", by=by)
    file_desk.enroll("kabid", by=by if "person" not in fields else ("kadis", "kabid-2"), **changed)
    assert trust.examine(file_desk.office).findings == []


def test_officials_who_are_too_few_already_go_on(file_desk: Desk) -> None:
    """A stand-in's time ends by itself."""
    by = ("kadis", "kasubbag")
    file_desk.enroll("plh-kabid", "bidang", by=by, stands_in="Plh", until="2026-12-31T15:59:59Z")
    file_desk.retire("kabid", "subkoor", by=by)
    file_desk.clock.time += timedelta(days=90)
    file_desk.retire("dinsos", by=by)
    with pytest.raises(Refused, match="only kasubbag " + TOO_FEW.format(2)):
        file_desk.retire("kadis", by=by)
    path = file_desk.document("new.yml", f"{(PROJECT / SOP_FILE).read_text()}# 2027\n")
    file_desk.office.config = file_desk.config.model_copy(update={"sop": str(path)})
    assert actors.adopt(file_desk.office, list(by), file_desk.sign, "SK 3")
    file_desk.enroll("kabid-2", "bidang", by=by)
    assert trust.examine(file_desk.office).findings == []


def test_new_kadis_takes_over_the_office_and_the_old_key_is_closed(desk: Desk) -> None:
    request = desk.submit()
    desk.take(request, "agenda")
    old = desk.sign
    desk.sign = lambda who, message: people.sign("dr. Baru" if who == "kadis" else who, message)
    desk.enroll("kadis", "kadis", name="dr. Baru", key=people.public("dr. Baru"), replaces=True)
    new, desk.sign = desk.sign, old
    with pytest.raises(Refused, match="the signature of kadis"):
        desk.take(request, "disposition")
    desk.sign = new
    desk.take(request, "disposition")
    assert trust.examine(desk.office).findings == []
    assert desk.office.personal(desk.office.people().actors["kadis"].name) == "dr. Baru"
    with pytest.raises(Refused, match="is no actor now"):
        desk.enroll("ghost", "pd", replaces=True)


def test_who_stands_in_acts_until_the_day_named(desk: Desk) -> None:
    until = orders.moment("2026-11-05", desk.office, "--until", last=True)
    assert until == "2026-11-05T15:59:59Z"
    desk.enroll("plh-kadis", "kadis", stands_in="Plh", until=until)
    requests = [desk.submit(), desk.submit()]
    for request in requests:
        desk.take(request, "agenda")
    desk.take(requests[0], "disposition", actor="plh-kadis")
    desk.clock.time += timedelta(days=4)
    with pytest.raises(Refused, match="stood in until"):
        desk.take(requests[1], "disposition", actor="plh-kadis")
    assert standing.stand(desk.office, requests[0]).done["disposition"].actor == "plh-kadis"
    assert trust.examine(desk.office).findings == []
    assert any("(Plh)" in line and line.endswith(" WITA until 2026-11-05 23:59:59 WITA, over")
               and "  since 2026-11-02 09:00:" in line for line in report.actors(desk.office))
    until = orders.moment("2026-12-05", desk.office, "--until", last=True)
    desk.enroll("plh-kadis", "kadis", stands_in="Plh", until=until, replaces=True)
    assert any("WITA until 2026-12-05 23:59:59 WITA" in line for line in report.actors(desk.office))
    assert sum(line.endswith(", over") for line in report.actors(desk.office)) == 0


def test_who_was_retired_is_told_how_to_come_back(desk: Desk) -> None:
    """Neither under that id nor with that key; whose time of standing in is over needs only another last day."""
    again = {"stands_in": "Plh", "until": "2026-11-30T15:59:59Z"}
    desk.enroll("plh-kadis", "kadis", **again)
    desk.retire("plh-kadis")
    request = desk.submit()
    desk.take(request, "agenda")
    back = "who was retired comes back by another id with a new key: `sop actors enroll`"
    for act in (lambda: desk.take(request, "disposition", actor="plh-kadis"), lambda: desk.retire("plh-kadis")):
        with pytest.raises(Refused, match="plh-kadis was retired") as error:
            act()
        assert error.value.refusals[0].mend.endswith(back)
    with pytest.raises(Refused, match="is or was somebody's already, or is none") as error:
        desk.enroll("plh-kadis", "kadis", key=people.public("lain"), **again)
    assert "one that somebody has now" in error.value.refusals[0].mend
    desk.enroll("plh-kadis-2", "kadis", person="plh-kadis", **again)
    desk.clock.time += timedelta(days=60)
    with pytest.raises(Refused, match="stood in until") as error:
        desk.take(request, "disposition", actor="plh-kadis-2")
    assert error.value.refusals[0].mend.endswith("who stood in gets another last day: `sop actors replace`")


def plh(desk: Desk, role: str = "kadis", days: int = 3, **fields: Any) -> Any:
    until = standing.stamp(desk.clock.time + timedelta(days=days)) if days else None
    by = tuple(name for name in ("kadis", "kasubbag", "kabid") if name != fields.get("person"))[-2:]
    return desk.enroll("plh", role, by, **{"stands_in": "Plh", "until": until, **fields})


REFUSED = [
    ({"days": 0}, r"who stands in \(Plh\) has no last day", "--until"),
    ({"role": "pd"}, "nobody stands in for pd as Plh: the SOP knows bidang by Plt or Plh; kadis", "actors replace"),
    ({"person": "dinkes"},
     "kadis is stood in for by kasubbag or bidang or who holds no office of this SOP; this person is pd", "--person"),
    ({"role": "kasubbag", "person": "kasubbag"}, "kasubbag is stood in for by bidang or", "--person"),
    ({"days": 100}, r"standing in for kadis may last until 2027-02-02T01:00:0\dZ at the most, and is to last until "
                    r"2027-02-10T01:00:0\dZ", "earlier last day"),
]


@pytest.mark.parametrize(("fields", "what", "mend"), REFUSED)
def test_who_may_stand_in_is_said_by_the_sop(file_desk: Desk, fields: dict[str, Any], what: str, mend: str) -> None:
    with pytest.raises(Refused) as error:
        plh(file_desk, **fields)
    refusal, = error.value.refusals
    assert re.search(what, refusal.what) and refusal.gate == "actors" and mend in refusal.mend


def test_last_day_of_standing_in_is_refused_by_the_moment(file_desk: Desk) -> None:
    """A day lasts to its last second: told by days alone, the one that is refused was the one that is taken."""
    days = [orders.moment(day, file_desk.office, "--until", last=True) for day in ("2027-02-02", "2027-02-01")]
    with pytest.raises(Refused, match=r"until 2027-02-02T01:00:0.Z at the most, .* until 2027-02-02T15:59:59Z"):
        plh(file_desk, until=days[0])
    assert plh(file_desk, until=days[1])


@pytest.mark.parametrize(("fields", "what", "_"), REFUSED)
def test_stand_in_past_the_sop_is_found(
    file_desk: Desk, fields: dict[str, Any], what: str, _: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two officials signed it with a changed driver."""
    with monkeypatch.context() as changed:
        changed.setattr(directory.Directory, "stand_in_fault", lambda *words: None)
        plh(file_desk, **fields)
    assert re.search(f"entry 2: plh: {what}", trust.examine(file_desk.office).lines()[0])


@pytest.mark.parametrize(
    "fields", [{}, {"person": "kabid"}, {"person": "kasubbag"}, {"stands_in": "Plt", "days": 91},
               {"role": "bidang", "person": "subkoor"}]
)
def test_who_may_stand_in_does(file_desk: Desk, fields: dict[str, Any]) -> None:
    plh(file_desk, **fields)
    assert trust.examine(file_desk.office).findings == []


def test_office_of_a_stand_in_is_none_of_their_own(desk: Desk) -> None:
    """Else who stands in for the Kasubbag could go on to stand in for the Kadis, an agency's clerk too."""
    fields = {"stands_in": "Plh", "until": standing.stamp(desk.clock.time + timedelta(days=3))}
    desk.enroll("plh-kasubbag", "kasubbag", ("kadis", "kabid"), **fields)
    desk.enroll("plh-kadis", "kadis", person="plh-kasubbag", **fields)
    people_now = desk.office.people()
    assert people_now.stand_in_fault("x", Actor("x", "bidang", person="dinkes", **fields), fields["until"])
    assert people_now.stand_in_fault("x", Actor("x", "bidang", person="plh-kadis", **fields), fields["until"]) is None


def test_another_person_takes_an_office_over_by_decree_only(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    new = {"name": "dr. Baru", "key": people.public("dr. Baru"), "replaces": True}
    with pytest.raises(Refused, match="another person takes over kadis, and no decree is brought\ngate: actors"):
        desk.enroll("kadis", "kadis", **new, decree=None)
    monkeypatch.setattr(actors, "_takes_over", lambda *words: False)
    desk.sign = lambda who, message: people.sign("dr. Baru" if who == "kadis" else who, message)
    with monkeypatch.context() as changed:
        changed.setattr(directory, "lacks_decree", lambda *words: False)
        desk.enroll("kadis", "kadis", **new, decree=None)
    assert "entry 2: another person takes over kadis, and no decree" in trust.examine(desk.office).lines()[0]


@pytest.mark.parametrize(("who", "fields", "what"), [
    ("kadis2", {"role": "kadis"}, "kadis2: kadis has one holder, and that is kadis"),
    ("kasubbag2", {"role": "kasubbag"}, "kasubbag2: kasubbag has one holder, and that is kasubbag"),
    ("kadis2", {"role": "kadis", "person": "kadis"}, "kadis2: kadis has one holder, and that is kadis"),
    ("subkoor", {"role": "kadis", "replaces": True, "name": "Sub Koordinator"},
     "subkoor: kadis has one holder, and that is kadis"),
    ("staf", {"role": "bidang", "decree": None}, "staf becomes bidang, and no decree is brought"),
    ("dinsos", {"role": "bidang", "replaces": True, "name": "Dinas Sosial", "unit": "Dinas Sosial", "decree": None},
     "dinsos becomes bidang, and no decree is brought"),
])
def test_office_is_entered_by_decree_and_once_only(
    desk: Desk, who: str, fields: dict[str, Any], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a second Kadis, of no decree, title or last day, would do what no stand-in may."""
    by = tuple(name for name in ("kasubbag", "kabid", "kadis") if name != fields.get("person"))[:2]
    with pytest.raises(Refused) as error:
        desk.enroll(who, by=by, **fields)
    refusal, = error.value.refusals
    assert refusal.what == what and refusal.gate == "actors" and "--decree SK.pdf" in refusal.mend
    with monkeypatch.context() as changed:
        changed.setattr(directory.Directory, "held_already", lambda *words: None)
        changed.setattr(actors, "_takes_over", lambda *words: False)
        changed.setattr(directory, "lacks_decree", lambda *words: False)
        desk.enroll(who, by=by, **fields)
    assert trust.examine(desk.office).lines()[0] == f"entry 2: {what}"


def test_further_kadis_is_found_by_the_verifier_of_an_export(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(directory.Directory, "held_already", lambda *words: None)
        desk.enroll("kadis2", "kadis")
    export.export(desk.office, desk.folder / "export", documents=False)
    done = subprocess.run([sys.executable, desk.folder / "export/verify.py", desk.folder / "export", "--key",
                           desk.office.people().checkpoint_key], capture_output=True, text=True)
    assert done.returncode == 1 and "entry 2: kadis2: kadis has one holder, and that is kadis" in done.stdout


def test_key_by_which_anybody_can_sign_is_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that was changed enters it: OpenSSL and OpenSSH take it."""
    key, signature = people.anybodys()
    with monkeypatch.context() as changed:
        changed.setattr(proof, "small_order", lambda public: False)
        desk.sign = lambda who, said: signature if who == "pkm" else people.sign(who, said)
        desk.enroll("pkm", "pd", key=key)
    for cached in (proof._public, proof.fingerprint):
        cached.cache_clear()
    told, office = "anybody can sign by this key, a point of small order", desk.office.reading(list[str]().append)
    assert told in trust.examine(desk.office).lines()[0]
    export.export(office, desk.folder / "export", documents=False)
    done = subprocess.run([sys.executable, desk.folder / "export/verify.py", desk.folder / "export", "--key",
                           office.people().checkpoint_key], capture_output=True, text=True)
    assert done.returncode == 1 and "entry 2: " in done.stdout and told in done.stdout, done


@pytest.mark.parametrize("reason", ["", " \t"])
def test_decree_without_its_number_is_refused_and_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Nobody could look the scan's decree up. In entries from before it was not asked for."""
    new, by = Actor(name="Staf", role="bidang", key=people.public("staf")), ["kadis", "kasubbag"]
    with pytest.raises(Refused, match=r"the number of staf's decree is missing\ngate: actors\nmend: .*--reason"):
        actors.enroll(desk.office, "staf", new, by, desk.sign, reason, desk.paper)
    with monkeypatch.context() as changed:
        changed.setattr(audit, "decree_faults", lambda body: ())
        changed.setattr(actors, "plain", str)
        entry = actors.enter(desk.office, "enroll", {"staf": new}, [], by, desk.sign, reason=reason,
                             evidence={"decree": desk.office.evidence.add(desk.paper)})
    told = "it brings a decree, and its reason does not tell the decree's number"
    assert trust.examine(desk.office).lines()[0] == f"entry 2: {told}"
    assert entry and list(tenure.decree_faults(entry.__dict__)) == [told]
    assert list(tenure.decree_faults({**entry.__dict__, "data": {}})) == []


def test_office_that_nobody_holds_any_more_is_entered_by_decree(desk: Desk) -> None:
    """A stand-in is no holder, and becomes one only so."""
    desk.enroll("plh", "kadis", **PLH)
    with pytest.raises(Refused, match="plh: kadis has one holder, and that is kadis"):
        desk.enroll("plh", "kadis", replaces=True)
    desk.retire("kadis")
    with pytest.raises(Refused, match="plh becomes kadis, and no decree is brought"):
        desk.enroll("plh", "kadis", replaces=True, decree=None)
    desk.enroll("plh", "kadis", replaces=True)
    with pytest.raises(Refused, match="kadis has one holder, and that is plh"):
        desk.enroll("kadis2", "kadis")
    assert trust.examine(desk.office).findings == []


def test_office_of_several_holders_takes_one_more(desk: Desk) -> None:
    desk.enroll("staf", "bidang")
    assert "decree" in list(desk.office.register.entries())[-1].evidence
    assert trust.examine(desk.office).findings == []


def test_office_that_two_hold_by_an_earlier_sop_holds(bare: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its officials did not sign for is no finding; who is there already goes on, with another key too."""
    told = procedure.Procedure.told.fget
    with monkeypatch.context() as before:
        before.setattr(actors, "_takes_over", lambda *words: False)
        before.setattr(procedure.Procedure, "told", property(lambda self: {**told(self), "rules": {
            name: rule for name, rule in told(self)["rules"].items() if name != "one_holder"}}))
        actors.bootstrap(bare.office, bare.ceremony(), bare.sign)
        bare.enroll("kadis2", "kadis", decree=None)
        bare.enroll("staf", "bidang", decree=None)
    assert trust.examine(bare.office).findings == []
    path = bare.document("new.yml", f"{(PROJECT / SOP_FILE).read_text()}# 2027\n")
    bare.office.config = bare.config.model_copy(update={"sop": str(path)})
    actors.adopt(bare.office, ["kadis", "kasubbag"], bare.sign, "SK 3")
    bare.sign = lambda who, message: people.sign("kunci-2" if who == "kadis2" else who, message)
    bare.enroll("kadis2", "kadis", key=people.public("kunci-2"), replaces=True, decree=None)
    assert trust.examine(bare.office).findings == []
    with pytest.raises(Refused, match="kadis3: kadis has one holder, and that is kadis"):
        bare.enroll("kadis3", "kadis")


def test_same_person_with_another_key_needs_no_decree(desk: Desk) -> None:
    first = {"name": people.FIRST["kadis"]["name"], "key": people.public("kunci-2"), "replaces": True}
    desk.sign = lambda who, message: people.sign("kunci-2" if who == "kadis" else who, message)
    desk.enroll("kadis", "kadis", **first, decree=None)
    assert trust.examine(desk.office).findings == []


def test_same_person_with_another_key_stays_who_they_are(desk: Desk, sop: Sop) -> None:
    """What is not said again is not taken back: neither whose other id it is, nor which agency's."""
    keys = people.write_keys(desk.folder / "keys", "dua", "dua-2", "dua-3", "dinkes-2")
    signed = ["--reason", "SK 1", "--signed-by", "kadis", "kasubbag"]
    as_kabid = ["--name", "Kabid", "--decree", desk.paper, *signed]
    code, _, err = sop("actors", "enroll", "dua", "--role", "bidang", "--person", "kabid", "--public",
                       keys / "dua.pub", *as_kabid)
    assert code == 0, err

    def lost(who: str, name: str, nth: int, *more: str) -> tuple[str | None, str | None]:
        key = keys / f"{who}-{nth}"
        code, _, err = sop("actors", "replace", who, "--name", name, "--public", f"{key}.pub", "--key", f"{who}={key}",
                           *more, *signed)
        assert code == 0, err
        actor = desk.office.people().actors[who]
        return actor.person, actor.unit

    assert lost("dua", "Kabid", 2) == ("kabid", None)
    assert lost("dinkes", "Dinas Kesehatan", 2) == (None, "Dinas Kesehatan")
    assert "Kabid, bidang, one person with kabid  SHA256:" in sop("actors", "list")[1]
    code, _, err = sop("actors", "retire", "dinsos", "--reason", "x", "--signed-by", "kabid", "dua", "--key",
                       f"dua={keys}/dua-2")
    assert code == 3 and "whom it does not concern must sign; kabid did" in err
    assert lost("dua", "Kabid", 3, "--person", "dua") == ("dua", None)
    assert trust.examine(desk.office).findings == []


def test_time_that_is_over_is_refused_before_anybody_signs(desk: Desk) -> None:
    with pytest.raises(Usage, match="which is over") as error:
        plh(desk, days=-1)
    assert error.value.where == "--until"


def test_stand_in_whose_time_has_ended_is_entered_anew_or_retired(desk: Desk) -> None:
    plh(desk)
    desk.clock.time += timedelta(days=5)
    until = f"{desk.clock.time + timedelta(days=9):%Y-%m-%d}"
    keys = [f"{name}={path}" for name in ("plh", "kasubbag", "kabid")
            for path in [people.write_keys(desk.folder / "keys", name) / name]]
    told = administration.replace(Namespace(
        id="plh", role=None, name="plh", unit=None, person=None, stands_in="Plh", until=until, certificate=None,
        public=desk.folder / "keys/plh.pub", decree=None, reason="SP 2", signed_by=["kasubbag", "kabid"], key=keys,
        signature=[], prepare=None), lambda: desk.office)
    assert told.value["outcome"] == "replace" and desk.office.actor("plh").role == "kadis"
    desk.clock.time += timedelta(days=15)
    desk.retire("plh")
    assert trust.examine(desk.office).findings == []


def test_lost_key_is_replaced_whatever_becomes_of_the_sop_s_file(desk: Desk) -> None:
    """Somebody is writing the next one, which names the office otherwise: a stolen key does not wait for that."""
    draft = (PROJECT / SOP_FILE).read_text().replace("bidang", "bidang_aptika")
    desk.office.config = desk.config.model_copy(update={"sop": str(desk.document("draft.yml", draft))})
    desk.sign = lambda who, message: people.sign("kunci-2" if who == "kabid" else who, message)
    new = {"name": people.FIRST["kabid"]["name"], "key": people.public("kunci-2"), "replaces": True}
    assert desk.enroll("kabid", "bidang", ("kadis", "kasubbag"), **new, decree=None)
    with pytest.raises(Usage, match="the SOP has no role 'camat' for baru"):
        desk.enroll("baru", "camat", ("kadis", "kasubbag"))


def test_agency_takes_over_without_a_decree(desk: Desk) -> None:
    """Who an agency sends is its own affair."""
    desk.sign = lambda who, message: people.sign("baru" if who == "dinkes" else who, message)
    desk.enroll("dinkes", "pd", name="Lain", key=people.public("baru"), replaces=True, decree=None)
    assert trust.examine(desk.office).findings == []


def test_allowed_signers_says_the_same_to_openssh(desk: Desk, tmp_path: Path) -> None:
    """What an auditor has without this software: the file, ssh-keygen, and the entry's time."""
    desk.submit()
    before = desk.clock.time
    desk.retire("dinsos")
    desk.clock.time += timedelta(hours=1)
    (tmp_path / "signers").write_text(signatures.allowed_signers(desk.office.people()))
    (tmp_path / "sig").write_text(people.sign("dinsos", "surat"))

    def good(moment: Any, name: str = "dinsos") -> bool:
        command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "signers", "-I", name, "-n", NAMESPACE, "-s"]
        time = f"-Overify-time={moment:%Y%m%d%H%M%SZ}"
        return subprocess.run([*command, tmp_path / "sig", time], input=b"surat", capture_output=True).returncode == 0

    assert good(before) and not good(desk.clock.time) and not good(before - timedelta(days=1))
    assert not good(before, "dinkes")


def test_sop_is_adopted_by_two_officials(desk: Desk, sop: Sop) -> None:
    """A laxer file would otherwise need one administrator."""
    laxer = desk.document("laxer.yml", (PROJECT / SOP_FILE).read_text().replace("    gate: build evidence\n", ""))
    config = desk.document("sop.yml", (PROJECT / EXAMPLE).read_text() + f"sop: {laxer}\n")
    words = ["submit", desk.write(desk.form()), "--letter", desk.letter, "--as", "dinkes", "--config", config]
    code, _, err = sop(*words)
    assert code == 3 and "gate: the SOP" in err
    adopt = ["actors", "adopt", "--reason", "SK 2", "--config", config, "--signed-by", "kadis"]
    code, _, err = sop(*adopt)
    assert code == 3 and "kadis did" in err
    code, out, err = sop(*adopt, "kasubbag")
    assert code == 0 and "adopt: the SOP " in out, err
    assert sop(*words)[0] == 0 and sop("register", "verify", "--config", config)[0] == 0
    code, _, err = sop(*adopt, "kasubbag")
    assert code == 3 and "adopted already" in err


def test_office_that_a_new_sop_calls_otherwise_is_entered_while_requests_need_it(file_desk: Desk) -> None:
    """Requests under way keep their SOP, and with it the offices that take their steps."""
    request, by = file_desk.submit(), ("kadis", "kasubbag")
    file_desk.take(request, "agenda")
    file_desk.take(request, "disposition")
    text = (PROJECT / SOP_FILE).read_text().replace("bidang", "bidang_ai")
    file_desk.office.config = file_desk.config.model_copy(update={"sop": str(file_desk.document("new.yml", text))})
    for name in ("kabid-ai", "subkoor-ai"):
        file_desk.enroll(name, "bidang_ai", by=by)
    actors.adopt(file_desk.office, list(by), file_desk.sign, "SOP 2")
    file_desk.retire("kabid", "subkoor", by=by)
    file_desk.enroll("kabid-lama", "bidang", by=by, person="kabid-ai")
    file_desk.take(request, "review", actor="kabid-lama")
    with pytest.raises(Usage, match="the SOP has no role 'camat'"):
        file_desk.enroll("camat", "camat", by=by)
    assert trust.examine(file_desk.office).findings == []


def test_actors_are_changed_by_commands(desk: Desk, sop: Sop) -> None:
    people.write_keys(desk.folder / "keys", "bappeda", "baru")
    keys = desk.folder / "keys"
    signed = ["--reason", "SK 1", "--signed-by", "kadis", "kasubbag"]
    code, out, err = sop("actors", "enroll", "bappeda", "--name", "Bappeda", "--role", "pd", "--unit", "Bappeda",
                         "--public", keys / "bappeda.pub", "--until", "2030-01-31", "--decree", desk.paper, *signed)
    assert code == 0 and "enroll: bappeda" in out, err
    new = ("actors", "replace", "kabid", "--name", "Kabid baru", "--public", keys / "baru.pub",
           "--key", f"kabid={keys}/baru", *signed)
    code, _, err = sop(*new)
    assert code == 3 and "another person takes over kabid" in err and "mend: give its scan: --decree" in err
    lost = [f"kabid={keys}/none" if word == f"kabid={keys}/baru" else word for word in new]
    code, out, err = sop(*lost, "--decree", desk.paper)
    assert code == 2 and not out and err.index("actors.kabid.name: Kabid baru") < err.index("this key did not sign")
    code, _, err = sop(*new, "--decree", desk.paper)
    assert code == 0, err
    assert sop("actors", "retire", "bappeda", "dinsos", *signed)[0] == 0
    told = sop("actors", "list")[1]
    assert told.count(", retired") == 3 and "Kabid baru, bidang" in told
    code, _, err = sop("actors", "retire", "dinsos", *signed)
    assert code == 3 and "dinsos was retired" in err
    for words, part in (
        (("enroll", "x", "--name", "X", *signed), "which role"),
        (("enroll", "x", "--name", "X", "--role", "pd", "--until", "soon", *signed), "is no day"),
        (("enroll", "x", "--name", "X", "--role", "pd", "--key", "kadis", *signed), "NAME=FILE"),
        (("retire", "ghost", *signed), "nobody has the id"),
    ):
        code, _, err = sop("actors", *words)
        assert code == 2 and part in err, (words, err)
    assert sop("register", "verify")[0] == 0


def test_actors_are_read_without_asking_each_for_each(file_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step reads them some ten times, and a city has hundreds of agencies."""
    for name in map("pd{}".format, range(12)):
        file_desk.enroll(name, "pd")
    asked, real = list[str](), directory.Directory.fault

    def fault(all_: directory.Directory, name: str, time: str) -> str | None:
        asked.append(name)
        return real(all_, name, time)

    monkeypatch.setattr(directory.Directory, "fault", fault)
    proof.octets_of.cache_clear()
    found = file_desk.office.people()
    assert len(found.actors) == 19 and len(asked) < 3 * 12 and proof.octets_of.cache_info().misses == 19

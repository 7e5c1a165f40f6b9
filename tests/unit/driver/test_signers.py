"""Nobody acts in another's name: by paper that nobody signed, by an id that is no other's, by rules of their own."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from driver import people
from driver.desk import PROJECT, Desk
from driver.insider import Body
from driver.test_actors import bare, first
from driver.test_emergency import declare
from driver.test_freeze import freeze
from driver.test_order import Change, found, outside, where, written
from sop_driver import actors, directory, emergency, procedure, report, standing, steps, trust, voiding
from sop_driver.errors import Refused, Usage
from sop_driver.tenure import Actor

__all__ = ["bare"]
BY = ["kadis", "kasubbag"]
INK = {"ink": "kasubbag"}
PADES = {"pades": {"document": "laporan", "shown": {}}}
SOP_FILE = PROJECT / "sop_driver/data/sop-website-2024.yml"


def reported(desk: Desk) -> None:
    request = desk.submit()
    declare(desk, request)
    desk.clock.time += timedelta(days=1)
    emergency.report(desk.office, request, "kabid", desk.paper, desk.sign)


def voided(desk: Desk) -> None:
    voiding.void(desk.office, desk.turned_down(), 6, "kabid", desk.sign, "keliru")


@pytest.mark.parametrize(("module", "order"), [(voiding, voided), (emergency, reported)])
def test_nobody_voids_or_reports_on_paper(
    file_desk: Desk, module: Any, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the Kasubbag alone could take back whatever another refused."""
    def seen(office: Any, kind: str, fields: Body, sign: Any, by: list[str], *rest: Any) -> Any:
        if kind == "void" or fields["outcome"] == "reported":
            fields["data"] |= INK
            by = ["kasubbag"]
        return steps.written(office, kind, fields, sign, by, *rest)

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


def stand_in(desk: Desk, who: str, role: str, person: str, by: tuple[str, ...]) -> Any:
    until = standing.stamp(desk.clock.time + timedelta(days=3))
    return desk.enroll(who, role, by, person=person, stands_in="Plh", until=until)


def on_paper(desk: Desk) -> str:
    """A letter that the Kasubbag has seen, who stands in for the Kabid. Entry 3."""
    stand_in(desk, "plh-kabid", "bidang", "kasubbag", ("kadis", "kabid"))
    now = steps.submit(desk.office, desk.write(desk.form()), desk.letter, "dinkes", None, desk.sign, "kasubbag")
    assert now is not None
    return now.id


def adopted(desk: Desk, text: str) -> Any:
    path = desk.document("other.yml", text)
    desk.office.config = desk.config.model_copy(update={"sop": str(path)})
    return actors.adopt(desk.office, BY, desk.sign, "SK 3")


def before_persons(bodies: list[Body]) -> list[Body]:
    """As earlier drivers wrote it, who did not say who saw a paper."""
    return [body | {"data": {name: value for name, value in body["data"].items() if name not in ("persons", "seen_by")}}
            for body in bodies]


def test_who_saw_the_letter_neither_approves_nor_installs(desk: Desk) -> None:
    """Else one official could ask in an agency's name, and approve that."""
    request = on_paper(desk)
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    said = r"request_letter was taken by dinkes, on paper seen by kasubbag \(entry 3\), and nobody takes both"
    with pytest.raises(Refused, match=said):
        desk.take(request, "decision", actor="plh-kabid")
    desk.approve(request)
    with pytest.raises(Refused, match=r"plh-kabid took request_letter \(entry 3\)"):
        desk.run(request, actor="plh-kabid")
    desk.run(request)
    assert trust.examine(desk.office).lines() == [] and outside(desk)[0] == 0


def test_who_saw_the_paper_of_other_steps_may_approve(desk: Desk) -> None:
    """These are nobody's whom the SOP keeps apart."""
    stand_in(desk, "plh-kabid", "bidang", "kasubbag", ("kadis", "kabid"))
    request = desk.submit()
    desk.take(request, "agenda")
    desk.take(request, "disposition", ink="kasubbag")
    desk.take(request, "review")
    desk.take(request, "decision", actor="plh-kabid")
    desk.run(desk.approve(request))
    assert trust.examine(desk.office).lines() == [] and outside(desk)[0] == 0


@pytest.mark.parametrize(("change", "part"), [
    (where("decision", actor="plh-kabid", data={"person": "kasubbag"}),
     "request_letter was taken by dinkes, on paper seen by kasubbag (entry 3)"),
    (where("installation", actor="plh-kabid", data={"person": "kasubbag"}),
     "request_letter was taken by dinkes, on paper seen by kasubbag (entry 3)"),
    (where("request_letter", data={"seen_by": None}), "its paper was seen by kasubbag, and it says nobody"),
    (where("request_letter", data={"seen_by": "kadis"}), "its paper was seen by kasubbag, and it says kadis"),
    (where("agenda", data={"seen_by": "kadis"}), "its paper was seen by nobody, and it says kadis"),
    (lambda bodies: [bodies[0], *before_persons(bodies[1:])], "its paper was seen by kasubbag, and it says nobody"),
])
def test_paper_seen_by_who_takes_a_step_apart_is_found(file_desk: Desk, change: Change, part: str) -> None:
    file_desk.run(file_desk.approve(on_paper(file_desk)))
    written(file_desk, change)
    found(file_desk, part)


def test_register_from_before_verifies_as_it_did_and_asks_from_its_next_adoption_on(file_desk: Desk) -> None:
    """What its drivers took was no breach to them; what a driver of now records is held against all in any case."""
    request = on_paper(file_desk)
    file_desk.run(file_desk.approve(request))
    written(file_desk, lambda bodies: before_persons(
        where("decision", actor="plh-kabid", data={"person": "kasubbag"})(bodies)))
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0
    assert actors.adopt(file_desk.office, BY, file_desk.sign, "aturannya ikut")
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0
    file_desk.submit(name="lain.tarakankota.go.id")
    file_desk.take("R-2026-0002", "agenda")
    file_desk.take("R-2026-0002", "disposition", ink="kasubbag")
    written(file_desk, lambda bodies: [*bodies[:-1], *before_persons(bodies[-1:])])
    found(file_desk, "its paper was seen by kasubbag, and it says nobody")


def chained(desk: Desk) -> str:
    """The Sub Koordinator stands in for the Kasubbag, and by that id for the Kabid."""
    stand_in(desk, "plh-kasubbag", "kasubbag", "subkoor", ("kadis", "kabid"))
    stand_in(desk, "plh-kabid", "bidang", "plh-kasubbag", ("kadis", "kasubbag"))
    return desk.submit()


def test_one_id_leads_to_a_person_through_another(desk: Desk) -> None:
    request = chained(desk)
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    assert desk.take(request, "decision", actor="plh-kabid").data["person"] == "subkoor"
    desk.approve(request)
    with pytest.raises(Refused, match="subkoor took decision"):
        desk.run(request)
    with pytest.raises(Refused, match="whom it does not concern must sign; subkoor did"):
        desk.enroll("baru", "pd", ("subkoor", "plh-kabid"))


def test_who_only_gets_another_key_stays_who_they_were(desk: Desk) -> None:
    """A lost key would end their separation without a word: they could install what they approved."""
    keys = iter(("kunci-2", "kunci-3", "kunci-4"))

    def anew(**fields: Any) -> tuple[str | None, str | None]:
        key = next(keys)
        desk.sign = lambda who, said: people.sign(key if who == "kabid-2" else who, said)
        desk.enroll("kabid-2", "bidang", BY, key=people.public(key), replaces=True, **{"name": "Kabid", **fields})
        now = desk.office.people().actors["kabid-2"]
        return now.person, now.unit

    desk.enroll("kabid-2", "bidang", BY, name="Kabid", person="kabid", unit="Aptika")
    assert anew() == ("kabid", "Aptika")
    assert any("Kabid, bidang of Aptika, one person with kabid" in line for line in report.actors(desk.office))
    request = desk.approved()
    with pytest.raises(Refused, match="kabid-2 took decision"):
        desk.run(request, actor="kabid-2")
    assert anew(person="kabid-2", unit="Statistik") == ("kabid-2", "Statistik")
    assert anew(name="Orang lain") == (None, "Statistik")
    assert trust.examine(desk.office).lines() == []


def test_another_holder_does_not_become_who_the_one_before_is_by_other_ids(desk: Desk) -> None:
    """The former Kabid could take back, alone, what the next one refuses."""
    stand_in(desk, "plh-kasubbag", "kasubbag", "kabid", ("kadis", "subkoor"))
    keys = {"kabid": "baru", "plh-kasubbag": "baru-3"}
    desk.sign = lambda who, said: people.sign(keys.get(who, who), said)
    another = {"name": "Kabid baru", "key": people.public("baru"), "replaces": True}
    with pytest.raises(Refused, match="plh-kasubbag is said to be kabid, whom another person takes over") as error:
        desk.enroll("kabid", "bidang", BY, **another)
    assert "--person" in error.value.refusals[0].mend
    desk.enroll("plh-kasubbag", "kasubbag", ("kadis", "subkoor"), replaces=True, decree=None, person="plh-kasubbag",
                key=people.public("baru-3"), stands_in="Plh", until="2026-11-30T15:59:59Z")
    assert desk.enroll("kabid", "bidang", BY, **another)
    assert desk.office.people().person("plh-kasubbag") == "plh-kasubbag"
    desk.enroll("dinkes-2", "pd", BY, person="dinkes")  # whom an agency sends is its own affair
    keys["dinkes"] = "baru-2"
    assert desk.enroll("dinkes", "pd", BY, **{**another, "name": "Petugas baru", "key": people.public("baru-2")})
    assert trust.examine(desk.office).lines() == []


def test_who_stood_in_is_entered_anew_as_who_they_are_and_not_as_their_successor(desk: Desk) -> None:
    """Nor by an id that leads there by one that was retired. In time they could take back what the next one refuses."""
    stand_in(desk, "plh-kasubbag", "kasubbag", "kabid", ("kadis", "subkoor"))
    desk.clock.time += timedelta(days=90)
    keys = {"kabid": "baru", "plh-kasubbag": "baru-3"}
    desk.sign = lambda who, said: people.sign(keys.get(who, who), said)
    assert desk.enroll("kabid", "bidang", BY, name="Kabid baru", key=people.public("baru"), replaces=True)
    anew = {"key": people.public("baru-3"), "stands_in": "Plh", "until": "2027-03-31T15:59:59Z", "decree": None}
    with pytest.raises(Refused, match="said to be kabid, whom another person took over since") as error:
        desk.enroll("plh-kasubbag", "kasubbag", ("kadis", "subkoor"), **anew, replaces=True)
    assert "--person" in error.value.refusals[0].mend
    desk.retire("plh-kasubbag", by=("kadis", "subkoor"))
    with pytest.raises(Refused, match="plh-2 is said to be kabid, whom another person took over since"):
        desk.enroll("plh-2", "kasubbag", ("kadis", "subkoor"), person="plh-kasubbag", **anew)
    keys["plh-2"] = "baru-4"
    assert desk.enroll("plh-2", "kasubbag", ("kadis", "subkoor"), **anew | {"key": people.public("baru-4")})
    assert trust.examine(desk.office).lines() == []


@pytest.mark.parametrize("old", [False, True])
def test_approver_who_installs_by_a_chain_of_ids_is_found(file_desk: Desk, old: bool) -> None:
    """By whichever driver."""
    file_desk.run(file_desk.approve(chained(file_desk)))
    changed = where("decision", actor="plh-kabid", data={"person": "plh-kasubbag"})
    written(file_desk, lambda bodies: changed(before_persons(bodies) if old else bodies))
    found(file_desk, "decision was taken by plh-kabid (entry 8), and nobody takes both it and step 9")
    assert old is not any("(subkoor), not bidang (plh-kasubbag)" in line
                          for line in trust.examine(file_desk.office).lines())


def is_kabid(desk: Desk, name: str) -> None:
    """It is entered that an id is the Kabid's as well, with a new key."""
    desk.sign = lambda who, said, before=desk.sign: people.sign("new", said) if who == name else before(who, said)
    known = people.FIRST[name]
    desk.enroll(name, known["role"], ("kadis", "kasubbag"), name=known["name"], unit=known.get("unit"),
                key=people.public("new"), person="kabid", replaces=True)


def test_approval_of_who_is_later_entered_as_the_asker_lets_nothing_run(desk: Desk) -> None:
    """It goes by what the register says when it is asked; another official decides then."""
    request = desk.approved()
    is_kabid(desk, "dinkes")
    with pytest.raises(Refused, match="were both taken by kabid") as error:
        desk.run(request)
    assert [refusal.gate for refusal in error.value.refusals] == ["request letter", "approval"]
    assert desk.fleet.played == []
    desk.take(request, "decision", actor="subkoor")
    desk.approve(request)
    desk.enroll("sekretaris", "bidang", ("kadis", "kasubbag"))
    desk.run(request, actor="sekretaris")
    assert trust.examine(desk.office).lines() == [] and outside(desk)[0] == 0


def test_who_is_later_entered_as_the_approver_does_not_install(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    desk.take(request, "decision", actor="subkoor")
    desk.approve(request)
    is_kabid(desk, "subkoor")
    with pytest.raises(Refused, match="kabid took decision"):
        desk.run(request, actor="kabid")
    assert desk.fleet.played == []


def test_who_is_later_entered_as_the_asker_does_not_approve(desk: Desk) -> None:
    request = desk.submit()
    for step in ("agenda", "disposition", "review"):
        desk.take(request, step)
    is_kabid(desk, "dinkes")
    with pytest.raises(Refused, match="request_letter was taken by dinkes"):
        desk.take(request, "decision")


def test_run_begun_past_what_was_entered_of_persons_is_found(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a driver that goes by what was known when each step was taken."""
    request = file_desk.approved()
    is_kabid(file_desk, "dinkes")
    monkeypatch.setattr(directory.Directory, "person", lambda self, name, new=None: name)
    file_desk.run(request)
    monkeypatch.undo()
    found(file_desk, f"the gate approval of {request} was closed: step 5")


def test_what_is_entered_of_persons_after_the_installation_changes_nothing_before(file_desk: Desk) -> None:
    request = file_desk.approved()
    file_desk.run(request)
    is_kabid(file_desk, "dinkes")
    for step in ("report", "completion"):
        file_desk.take(request, step)
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0


def test_ids_that_lead_around_are_of_one_person() -> None:
    around = {"a": Actor("A", "pd", person="b"), "b": Actor("B", "pd", person="c"), "c": Actor("C", "pd", person="b")}
    assert set(map(directory.Directory(actors=around).person, around)) == {"b"}


def test_nobody_is_enrolled_as_a_person_whom_the_register_does_not_know(desk: Desk, bare: Desk) -> None:
    """A slip of the pen would end that person's separation without a word."""
    with pytest.raises(Refused, match="baru is said to be 'kabidd', an id that nobody has or had") as error:
        desk.enroll("baru", "pd", person="kabidd", by=("kadis", "kasubbag"))
    refusal, = error.value.refusals
    assert refusal.gate == "actors" and "--person ID" in refusal.mend
    twice = first(bare, baru={"name": "Baru", "role": "pd", "person": "kabidd"})
    with pytest.raises(Refused, match="baru is said to be 'kabidd'"):
        actors.bootstrap(bare.office, twice, bare.sign)
    desk.retire("subkoor")
    assert desk.enroll("baru", "pd", person="subkoor", by=("kadis", "kasubbag"))
    assert trust.examine(desk.office).lines() == []


def test_person_whom_the_register_does_not_know_is_found(file_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(directory.Directory, "strangers", lambda *words: ())
        file_desk.enroll("baru", "pd", person="kabidd")
    found(file_desk, "entry 2: baru is said to be 'kabidd', an id that nobody has or had")
    written(file_desk, before_persons)
    assert trust.examine(file_desk.office).lines() == []
    with pytest.raises(Refused, match=r"baru is said to be 'kabidd'(?s:.*)entered anew by `sop actors replace`"):
        actors.adopt(file_desk.office, BY, file_desk.sign, "aturannya ikut")
    file_desk.sign = lambda who, said: people.sign("kunci-2" if who == "baru" else who, said)
    file_desk.enroll("baru", "pd", BY, person="kabid", key=people.public("kunci-2"), replaces=True)
    assert actors.adopt(file_desk.office, BY, file_desk.sign, "aturannya ikut")
    assert trust.examine(file_desk.office).lines() == [] and outside(file_desk)[0] == 0


def gated(gate: str) -> list[Body]:
    """The steps of the SOP as delivered, whose decision has another gate."""
    steps: list[Body] = procedure.parse(SOP_FILE.read_bytes(), SOP_FILE).order["steps"]
    return [step | {"gate": gate} if step["id"] == "decision" else step for step in steps]


def behind() -> tuple[str, str, tuple[str, str], list[Body], str]:
    """The approval's gate is that of the installation itself."""
    text = SOP_FILE.read_text()
    old = text[text.index("    gate: approval\n"):text.index("    by: run\n")]
    steps = [step | {"gate": "approval"} if step["id"] == "installation" else step for step in gated("persetujuan")]
    new = old.replace("gate: approval", "gate: persetujuan") + "    gate: approval\n"
    return old, new, ("order", "steps"), steps, "its gate approval is not before the installation"


LAX = {
    "one signer": ("  count: 2\n  ink", "  count: 1\n  ink", ("rules", "count"), 1,
                   "it lets 1 sign for changes of the actors, and fewer than 2 never do"),
    "one declares": ("  waives: [", "  count: 1\n  waives: [", ("emergency", "count"), 1,
                     "it lets 1 sign for an emergency, and fewer than 2 never do"),
    "no approval": ("waives: [freeze", "waives: [approval", ("emergency", "waives"), ["approval", "review"],
                    "it lets an emergency replace approval, which none does"),
    "no needs": ("waives: [freeze", "waives: [anything", ("emergency", "waives"), ["anything"],
                 "it lets an emergency replace anything, which none does"),
    "approval by another name": ("gate: approval", "gate: persetujuan", ("order", "steps"), gated("persetujuan"),
                                 "its gate approval is not that of exactly one step, which separation names"),
    "approval as a review": ("gate: approval", "gate: review", ("order", "steps"), gated("review"),
                             "two of its steps have the gate review"),
    "approver who asks": ("- [request_letter, decision, ", "- [request_letter, ", ("order", "separation"),
                          [["request_letter", "installation"]],
                          "its gate approval is not that of exactly one step, which separation names"),
    "approver who installs": ("decision, installation]", "decision]", ("order", "separation"),
                              [["request_letter", "decision"]],
                              "separation lets who approves take installation as well"),
    "approver apart from nobody": ("- [request_letter, decision, ", "- [decision, report]\n  - [",
                                   ("order", "separation"), [["decision", "report"]],
                                   "separation lets who approves take installation, request_letter as well"),
    "approval behind the installation": behind(),
}


@pytest.mark.parametrize("name", LAX)
def test_rules_that_no_sop_may_have_are_not_adopted(
    file_desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is no SOP was compared with nothing, and what its entry told counted."""
    old, new, (part, field), value, what = LAX[name]
    text = SOP_FILE.read_text()
    assert old in text
    with pytest.raises(Usage):
        adopted(file_desk, text.replace(old, new))
    told = json.loads(json.dumps(file_desk.office.procedure(file_desk.office.people().sop).told))
    told[part][field] = value
    digest = file_desk.office.evidence.add(file_desk.document("lax.yml", text.replace(old, new)))
    given = {"data": {"sop": digest, **told}, "evidence": {"sop": digest}, "reason": "SK 3"}
    with pytest.raises(Refused, match=f"no SOP: (?s:.*){what}"):
        actors.enter(file_desk.office, "adopt", {}, [], BY, file_desk.sign, **given)
    monkeypatch.setattr(trust, "accept", lambda *words: None)
    actors.enter(file_desk.office, "adopt", {}, [], BY, file_desk.sign, **given)
    found(file_desk, f"entry 2: {what}")
    lines = trust.examine(file_desk.office).lines()
    assert any("entry 2: the file that it adopts is no SOP: " in line for line in lines)


def telling(**changed: Any) -> Change:
    """The last adoption with other words; what is None is left out."""
    def change(bodies: list[Body]) -> list[Body]:
        data = {name: value for name, value in (bodies[1]["data"] | changed).items() if value is not None}
        return [bodies[0], bodies[1] | {"data": data}, *bodies[2:]]

    return change


RULES = {"signers": ["kadis", "kasubbag", "bidang"], "count": 2, "ink": "kasubbag", "head": "kadis"}


@pytest.mark.parametrize(("old", "new", "what"), [
    ('      "yes": {}\n', '      "ya": {}\n', "its step decision, whose gate is approval, has no outcome yes"),
    ("[ssh, pades]\n    outcomes:", "[ssh, pades, ink]\n    outcomes:", "may be signed on paper"),
    ("    outcomes:\n      exists: {kind: update}\n      absent: {kind: create}\n", "",
     "its step existence, whose gate is existence check, has no outcome that fits"),
    ("    gives: agenda\n", "", "its step agenda, whose gate is agenda number, gives no agenda number"),
    ("{surat: pdf}", "{surat-permohonan: pdf}", "its step request_letter names a document 'surat-permohonan'"),
    *(("lembar_disposisi: any}\n    binds", f"{name}: any}}\n    binds",
       f"its step agenda names a document '{name}': letters, digits and `_` name")
      for name in ("2kak", "lembar-disposisi", "lembar disposisi")),
])
def test_sop_under_which_nothing_could_be_approved_or_installed_is_not_adopted(
    file_desk: Desk, bare: Desk, old: str, new: str, what: str
) -> None:
    """Each request keeps the SOP that it began under: it would have stood there for ever."""
    text = SOP_FILE.read_text()
    assert text.count(old) == 1
    with pytest.raises(Refused, match=what):
        adopted(file_desk, text.replace(old, new))
    bare.office.config = file_desk.office.config
    with pytest.raises(Refused, match=what):
        actors.bootstrap(bare.office, bare.ceremony(), bare.sign)


@pytest.mark.parametrize("declared", [True, False])
def test_window_that_no_emergency_passes_is_said_to_end_only(file_desk: Desk, declared: bool) -> None:
    """Two officials would declare one, report it, and be refused all the same."""
    text = SOP_FILE.read_text()
    rules = text[text.index("emergency:\n"):text.index("separation:\n")]
    adopted(file_desk, text.replace(rules, rules.replace("waives: [freeze, ", "waives: [") if declared else ""))
    request, entry = file_desk.approved(title="Lain"), freeze(file_desk)
    with pytest.raises(Refused) as error:
        file_desk.run(request)
    refusal, = error.value.refusals
    assert f"`sop freeze end {entry.sequence}`" in refusal.mend and "emergency" not in refusal.mend


@pytest.mark.parametrize("name", ["surat-permohonan", "surat permohonan", "1.surat"])
def test_sop_that_was_adopted_with_a_letter_of_another_name_goes_on(
    file_desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nobody gives that name by hand. A register that held must not end by an update."""
    monkeypatch.setattr(actors, "unfit", lambda _order: ())
    adopted(file_desk, SOP_FILE.read_text().replace("{surat: pdf}", f"{{{name}: pdf}}"))
    monkeypatch.undo()
    request = file_desk.approved()
    assert name in next(file_desk.office.register.entries(request=request)).evidence
    assert file_desk.run(request).run
    assert not trust.examine(file_desk.office).findings


@pytest.mark.parametrize(("change", "part"), [
    (telling(rules=RULES),
     "it does not tell rules.decree, rules.one_holder, rules.stand_ins, as the adoption before it did"),
    (telling(persons=None, order=None), "it does not tell order, persons, as the adoption before it did"),
    (telling(rules=None), "it does not tell rules, as the adoption before it did"),
    (telling(sop=None, order=None, emergency=None),
     ("it tells rules, refusals, persons, stops, agencies, reports, certificates, askers, carriers of an SOP, and "
      "adopts none")),
    (lambda bodies: [bodies[0], bodies[1] | {"evidence": {}}], "it adopts an SOP, and does not bring its file"),
])
def test_adoption_that_tells_less_than_the_one_before_is_found(file_desk: Desk, change: Change, part: str) -> None:
    """Else two officials, once, could bring the register back to what it did not ask for at first."""
    adopted(file_desk, f"{SOP_FILE.read_text()}# 2027\n")
    assert trust.examine(file_desk.office).lines() == []
    written(file_desk, change)
    found(file_desk, f"entry 2: {part}")


def test_adoption_is_compared_with_its_file_though_the_same_one_is_adopted_again(file_desk: Desk) -> None:
    """For a while the entry's own rules counted."""
    adopted(file_desk, f"{SOP_FILE.read_text()}# 2027\n")
    laxer = {**RULES, "signers": ["pd"], "decree": [], "stand_ins": None}
    written(file_desk, lambda bodies: [*telling(rules=laxer)(bodies), bodies[1]])
    assert "entry 2: it tells other rules than the SOP that it adopts" in trust.examine(file_desk.office).lines()

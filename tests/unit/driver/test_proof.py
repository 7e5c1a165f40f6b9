"""One spelling, one tree and SSH signatures, each against values that others published or made."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from driver import people
from sop_driver import merkle, proof
from sop_driver.proof import Tree, canonical, inclusion_root, leaf_hash, node_hash

# The leaves and roots of the Certificate Transparency project's reference tests.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def forest(leaves: list[bytes]) -> merkle.Node:
    return lambda level, position: mth(leaves[position << level : (position + 1) << level])


def numbered(size: int) -> list[bytes]:
    return [leaf_hash(str(n)) for n in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_root_is_the_one_that_others_compute(size: int) -> None:
    tree = Tree()
    leaves = [leaf_hash(bytes.fromhex(text).decode()) for text in LEAVES[:size]]
    for leaf in leaves:
        tree.add(leaf)
    assert tree.root().hex() == merkle.root(size, forest(leaves)).hex() == mth(leaves).hex() == ROOTS[size - 1]
    assert Tree().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("old", [2, 4, 8])
def test_tree_does_not_grow_backwards(old: int) -> None:
    same = b"a" * 32
    assert not merkle.grown(old, same, 1, same, [])


def test_proofs_are_those_of_the_rfcs_example() -> None:
    """RFC 6962, 2.1.3, with its names for the nodes."""
    leaves = numbered(7)
    a, b, c, d, e, f, j = leaves
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, left = node_hash(g, h), node_hash(i, j)
    node = forest(leaves)
    assert merkle.inclusion(0, 7, node) == [b, h, left] and merkle.inclusion(3, 7, node) == [c, g, left]
    assert merkle.inclusion(4, 7, node) == [f, j, k] and merkle.inclusion(6, 7, node) == [i, k]
    assert merkle.consistency(3, 7, node) == [c, d, g, left]
    assert merkle.consistency(4, 7, node) == [left] and merkle.consistency(6, 7, node) == [i, j, k]


@given(st.integers(1, 200).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_inclusion_leads_to_the_root_from_its_own_place_only(case: tuple[int, int]) -> None:
    size, index = case
    leaves = numbered(size)
    path = merkle.inclusion(index, size, forest(leaves))
    assert inclusion_root(leaves[index], index, size, path) == mth(leaves)
    for leaf, place, width, steps in (
        (leaf_hash("other"), index, size, path),
        (leaves[index], index ^ 1, size, path),
        (leaves[index], index, size, [*path, leaves[0]]),
        (leaves[index], index, size, path[:-1]),
    ):
        if size > 1:
            try:
                assert inclusion_root(leaf, place, width, steps) != mth(leaves)
            except ValueError as error:
                assert "too" in str(error) or "has no place" in str(error)


@given(st.integers(1, 200).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))), st.integers(1, 9))
def test_no_place_beyond_the_tree_is_in_it(case: tuple[int, int], turns: int) -> None:
    """What counts beyond the tree's width would be cut off, and one leaf stand at many places."""
    size, index = case
    leaves = numbered(size)
    path = merkle.inclusion(index, size, forest(leaves))
    for place in (index + turns * (1 << (size - 1).bit_length()), index - turns * size - size):
        with pytest.raises(ValueError, match="has no place"):
            inclusion_root(leaves[index], place, size, path)


@given(st.integers(1, 200).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size))))
def test_consistency_holds_for_growth_only(case: tuple[int, int]) -> None:
    size, old = case
    leaves = numbered(size)
    node = forest(leaves)
    path = merkle.consistency(old, size, node) if old else []
    before, after = mth(leaves[:old]), mth(leaves)
    assert merkle.grown(old, before, size, after, path)
    if old:
        assert not merkle.grown(old, leaf_hash("other"), size, after, path)
    if 0 < old < size:
        assert not merkle.grown(old, before, size, leaf_hash("other"), path)
        assert not merkle.grown(old, before, size, after, path[:-1])
        assert not merkle.grown(old, before, size, after, [*path, before])


def test_proof_is_made_of_hashes_only() -> None:
    """Else a node's 64 octets could be parted elsewhere, and another leaf stand at the place of one that was seen."""
    a, b, c = numbered(3)
    last, other = leaf_hash("last"), c[-1:] + leaf_hash("other")[1:]
    cut = node_hash(a, b) + c[:-1]
    before, after = node_hash(cut, c[-1:]), node_hash(cut, node_hash(other, last))
    assert before == mth([a, b, c])
    assert not merkle.grown(3, before, 4, after, [c[-1:], other[1:] + last, cut])
    with pytest.raises(ValueError, match="a part of the proof is no hash"):
        inclusion_root(other, 2, 4, [last, cut])


def test_canonical_is_rfc_8785s() -> None:
    """The examples of its sections 3.2.2 and 3.2.3."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(canonical(dict.fromkeys(keys)))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (5e-324, "5e-324"), (1e21, "1e+21"), (1e20, "1" + "0" * 20),
     (1e-6, "0.000001"), (1e-7, "1e-7"), (9007199254740992.0, "9007199254740992"), (1.7976931348623157e308,
     "1.7976931348623157e+308"), (295147905179352830000.0, "295147905179352830000"), (0.001, "0.001")],
)
def test_canonical_writes_numbers_as_ecmascript_does(number: float, text: str) -> None:
    assert canonical(number) == text


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)))
def test_canonical_is_the_same_by_its_short_way_and_reads_back(value: Any) -> None:
    text = canonical(value)
    assert text == proof._spelled(value) and canonical(json.loads(text)) == text
    said, spell = proof.parsed(text)
    assert spell(said) == text and spell([said, "\x7f"]) == canonical([said, "\x7f"])


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(10**14) + 1, 10**15 - 1) | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=[])), inner)))
@example(functools.reduce(lambda inner, _: [inner], range(300), "deep"))
@example({"\ud800": "\udc00"})
def test_an_entry_is_spelled_the_same_with_orjson_and_without(value: Any) -> None:
    """The driver has it, who checks a bundle need not: what one calls an entry, so must the other."""
    said, spell = proof.parsed(json.dumps(value))
    assert spell != proof.ENCODER.encode and spell(said) == proof.ENCODER.encode(value)


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '{"b":1,"a":2}', '{"a":1,"a":2}', "[1.0]", "[1E3]", "[-0]", "[1e400]", '["\\u0041"]',
             '["\\u20ac"]', '["\\/"]', " [1]", '{"\ufb33":1,"\U0001f600":1}', "[1.50]", "[12345678901234567890]"])
def test_other_spelling_than_the_one_is_told_from_it(text: str) -> None:
    same = False
    with contextlib.suppress(ValueError):
        said, spell = proof.parsed(text)
        same = spell(said) == text
    assert not same


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1, "\ud800", {"\udfff": 1}, ["\udc00\ud800"]])
def test_canonical_refuses_what_readers_disagree_on(value: Any) -> None:
    """Numbers that they round, and halves of letters, which no octets stand for."""
    with pytest.raises(ValueError):
        canonical(value)


@pytest.mark.parametrize("touched", [None, True])
def test_ssh_signature_is_taken_by_us_and_by_openssh(tmp_path: Path, touched: bool | None) -> None:
    """A key in a file, and one in hardware."""
    armored = people.sign("kadis", "ya", touched=touched)
    key = people.public("kadis") if touched is None else people.hardware("kadis")
    assert proof.ssh_fault(key, "ya", armored) is None
    (tmp_path / "signature").write_text(armored)
    (tmp_path / "signers").write_text(f"kadis {key}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", tmp_path / "signers", "-I", "kadis", "-n", proof.NAMESPACE, "-s"]
    done = subprocess.run([*command, tmp_path / "signature"], input="ya", text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_ssh_signature_made_by_openssh_is_taken_by_us(tmp_path: Path) -> None:
    key = people.write_keys(tmp_path, "kadis") / "kadis"
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", proof.NAMESPACE, "-f", key]
    done = subprocess.run(command, input="ya", text=True, capture_output=True, check=True)
    assert proof.ssh_fault(people.public("kadis"), "ya", done.stdout) is None


@pytest.mark.parametrize(
    ("message", "armored", "part"),
    [
        ("tidak", people.sign("kadis", "ya"), "not over what the entry says"),
        ("ya", people.sign("kabid", "ya"), "another key"),
        ("ya", people.sign("kadis", "ya", "git"), "made for git"),
        ("ya", people.sign("kadis", "ya", touched=True), "another key"),
        ("ya", "", "cannot be read"),
        ("ya", "hello", "cannot be read"),
        ("ya", people.sign("kadis", "ya")[:-60], "cannot be read"),
        ("ya", people.sign("kadis", "ya").replace("A", "B"), "cannot be read"),
    ],
)
def test_ssh_signature_that_is_none_is_refused(message: str, armored: str, part: str) -> None:
    assert part in str(proof.ssh_fault(people.public("kadis"), message, armored))


def test_hardware_signature_without_a_touch_is_refused() -> None:
    armored = people.sign("kadis", "ya", touched=False)
    assert "touched" in str(proof.ssh_fault(people.hardware("kadis"), "ya", armored))


@given(st.integers(0, 2000))
def test_no_flipped_bit_leaves_an_ssh_signature_good(place: int) -> None:
    lines = people.sign("kadis", "ya").splitlines()
    raw = bytearray(base64.b64decode("".join(lines[1:-1])))
    raw[place // 8 % len(raw)] ^= 1 << place % 8
    armored = "\n".join([lines[0], base64.b64encode(raw).decode(), lines[-1]])
    assert proof.ssh_fault(people.public("kadis"), "ya", armored)


# Of one key over `hello`: a plain signature, and one with a point of order eight added, which only who multiplies by
# eight takes (RFC 8032 allows both; OpenSSH and OpenSSL do not).
ORDER = 2**252 + 27742317777372353535851937790883648493
ODD_KEY = "50584106c66171dbe6901bd187252a0d704a02a1080f80c486575d07e5e4b4fe"
PLAIN_SIGNATURE = (
    "684c0d53ab44de46d526ab4d33b5947bab9d77af687fe0a09518a5f6df4a86eb"
    "554bc7ed177270d19d88e6a62096fcc0df19fae3dc04575c2cbcc4324456cd04")
ODD_SIGNATURE = (
    "742ad0ba6320e013c4b8e9e7e94fbf87391cd552577028789ffa91cf1633f16b"
    "712877d1e6f93002427092d1a4a4721fa3bb3214d69945568d093506fd0a4005")


@pytest.fixture(params=["OpenSSL", "ed25519-dalek first"])
def verify(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "OpenSSL":
        monkeypatch.setattr(proof, "_dalek", lambda octets: None)
    return proof._verify


def test_signature_is_taken_as_openssl_takes_it(verify: Any) -> None:
    public, good = bytes.fromhex(ODD_KEY), bytes.fromhex(PLAIN_SIGNATURE)
    verify(public, good, b"hello")
    larger = good[:32] + (int.from_bytes(good[32:], "little") + ORDER).to_bytes(32, "little")
    for bad in (bytes.fromhex(ODD_SIGNATURE), larger, good[:-1], good[:32] + bytes(32), b""):
        with pytest.raises(InvalidSignature):
            verify(public, bad, b"hello")
    with pytest.raises(InvalidSignature):
        verify(public, good, b"hallo")


# Ed25519 in the words of RFC 8032, 5.1, with points in plain coordinates.
PRIME = 2**255 - 19
D = -121665 * pow(121666, -1, PRIME) % PRIME
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def plus(a: Point, b: Point) -> Point:
    more = D * a[0] * b[0] * a[1] * b[1]
    return ((a[0] * b[1] + a[1] * b[0]) * pow(1 + more, -1, PRIME) % PRIME,
            (a[1] * b[1] + a[0] * b[0]) * pow(1 - more, -1, PRIME) % PRIME)


def times(factor: int, point: Point) -> Point:
    found = NEUTRAL
    for bit in f"{factor:b}":
        found = plus(found, found)
        found = plus(found, point) if bit == "1" else found
    return found


def points(y: int) -> list[Point]:
    """Those of the curve with an ordinate: two, one or none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    root = pow(square, (PRIME + 3) // 8, PRIME)
    return sorted({(x, y) for root in (root, root * pow(2, (PRIME - 1) // 4, PRIME) % PRIME)
                   for x in (root, -root % PRIME) if x * x % PRIME == square})


def spellings(y: int) -> list[bytes]:
    """All octets that are read as a point with this ordinate, those that the RFC forbids among them."""
    return [(value | sign << 255).to_bytes(32, "little") for value in range(y, 2**255, PRIME) for sign in (0, 1)]


def test_keys_by_which_anybody_can_sign_are_told_from_all_others() -> None:
    small = {times(ORDER, point) for y in range(2, 40) for point in points(y)}
    assert len(small) == 8 and all(times(8, point) == NEUTRAL for point in small)
    known = {spelling for _, y in small for spelling in spellings(y)}
    assert len(known) == 14 and all(proof.small_order(spelling) for spelling in known)
    near = {(y + step) % PRIME for _, y in small for step in (-2, -1, 1, 2)}
    others = {*near, *range(2, 19)} - {y for _, y in small}
    assert all(times(8, point) != NEUTRAL for y in others for point in points(y))
    assert not any(proof.small_order(spelling) for y in others for spelling in spellings(y))
    assert not proof.small_order(base64.b64decode(people.public("kadis").split()[1])[-32:])


def written(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def is_taken(check: Callable[[], None], refusal: type[Exception]) -> bool:
    try:
        check()
    except refusal:
        return False
    return True


def test_who_is_asked_first_takes_no_signature_that_openssl_refuses() -> None:
    """Signatures and keys with points of small order added, which libraries judge in different ways."""
    base = next(point for point in points(4 * pow(5, -1, PRIME) % PRIME) if not point[0] & 1)
    small = {times(ORDER, point) for y in range(2, 40) for point in points(y)}
    secret, once, taken = 2**200 + 7, 2**199 + 11, 0
    key, commitment = times(secret, base), times(once, base)
    for (added, beside), said in itertools.product(itertools.product(small, small), (b"ya", b"tidak")):
        public, first = written(plus(key, added)), written(plus(commitment, beside))
        challenge = int.from_bytes(hashlib.sha512(first + public + said).digest(), "little") % ORDER
        signature = first + ((once + challenge * secret) % ORDER).to_bytes(32, "little")
        check = proof._dalek(public)
        assert check is not None
        openssl = Ed25519PublicKey.from_public_bytes(public)
        verdicts = {is_taken(functools.partial(check, signature, said), ValueError),
                    is_taken(functools.partial(openssl.verify, signature, said), InvalidSignature)}
        assert len(verdicts) == 1, (added, beside, said)
        taken += verdicts == {True}
    assert 16 < taken < 64


@pytest.mark.parametrize("kind", [proof.ED25519, proof.SK_ED25519])
def test_key_by_which_anybody_can_sign_is_none(monkeypatch: pytest.MonkeyPatch, kind: bytes) -> None:
    key, armored = people.anybodys(kind)
    for message in ("ya", "tidak"):
        assert "anybody can sign by this key" in str(proof.ssh_fault(key, message, armored))
    with pytest.raises(ValueError, match="anybody can sign by this key"):
        proof.fingerprint(key)
    monkeypatch.setattr(proof, "small_order", lambda public: False)  # else OpenSSL takes them both
    assert [proof.ssh_fault(key, message, armored) for message in ("ya", "tidak")] == [None, None]
    proof._public.cache_clear()

"""Proofs out of the register's tree (RFC 6962): that an entry is in it, and that it only grew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sop_driver.proof import HASH, joined, node_hash

Node = Callable[[int, int], bytes]  # (level, position) → root of the complete subtree over 2**level leaves there


def peaks(size: int, node: Node, start: int = 0) -> list[bytes]:
    """The complete subtrees of the `size` leaves from `start` on, the largest first."""
    found = []
    for level in reversed(range(size.bit_length())):
        if size & 1 << level:
            found.append(node(level, start >> level))
            start += 1 << level
    return found


def root(size: int, node: Node, start: int = 0) -> bytes:
    return joined(peaks(size, node, start))


def _half(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def inclusion(index: int, size: int, node: Node, start: int = 0) -> list[bytes]:
    """What leads from a leaf to the root, from below (RFC 6962, 2.1.1)."""
    if size == 1:
        return []
    half = _half(size)
    if index < half:
        return [*inclusion(index, half, node, start), root(size - half, node, start + half)]
    return [*inclusion(index - half, size - half, node, start + half), root(half, node, start)]


def consistency(old: int, size: int, node: Node, start: int = 0, whole: bool = True) -> list[bytes]:
    """What shows that the first `old` leaves are those of the tree of that time (RFC 6962, 2.1.2)."""
    if old == size:
        return [] if whole else [root(size, node, start)]
    half = _half(size)
    if old <= half:
        return [*consistency(old, half, node, start, whole), root(size - half, node, start + half)]
    return [*consistency(old - half, size - half, node, start + half, False), root(half, node, start)]


def grown(old: int, old_root: bytes, size: int, new_root: bytes, proof: Iterable[bytes]) -> bool:
    """Whether a consistency proof holds (RFC 9162, 2.1.4.2).

    Parts of other lengths could make the same node of other children, and let one leaf stand for another.
    """
    path = list(proof)
    if old > size or any(len(part) != HASH for part in path):
        return False
    if old == size or not old:
        return not path and (not old or old_root == new_root)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    first, last = old - 1, size - 1
    while first % 2:
        first, last = first // 2, last // 2
    if not path:
        return False
    before = after = path[0]
    for beside in path[1:]:
        if last == 0:
            return False
        if first % 2 or first == last:
            before, after = node_hash(beside, before), node_hash(beside, after)
            while first and not first % 2:
                first, last = first // 2, last // 2
        else:
            after = node_hash(after, beside)
        first, last = first // 2, last // 2
    return last == 0 and (before, after) == (old_root, new_root)

"""Damage: bytes changed where it hurts, boxes changed with their sizes kept true, one seed spliced with another."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

# Lengths, counts and offsets are integers of 1, 2, 4 or 8 bytes; these are where they break.
SIZES = (1, 2, 4, 8)
EDGES = (0, 1, -1, 7, 8, 9, 16, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63)
CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"mvex", b"moof", b"traf", b"vttc", b"edts"}
KINDS = (*CONTAINERS, b"mdat", b"trun", b"tfhd", b"tfdt", b"mfhd", b"trex", b"tkhd", b"mdhd", b"hdlr", b"stsd", b"ftyp", b"styp", b"free",
         b"mfra", b"senc", b"payl", b"sttg", b"vtte", b"esds", b"avcC", b"hvcC")  # fmt: skip
CHANGES_MAX = 4
INSERTED_MAX = 24
DEPTH_MAX = 2_000
READ_DEPTH_MAX = 12
GROWN_MAX = 2**20


@dataclass(slots=True)
class _Node:
    """A box, its bytes if it holds no boxes, and its boxes if it does."""

    kind: bytes
    body: bytes = b""
    inner: "list[_Node]" = field(default_factory=list)

    def whole(self) -> bytes:
        body = self.body + b"".join(node.whole() for node in self.inner)
        return struct.pack(">I4s", 8 + len(body), self.kind) + body


def mutate(rng: Random, seed: bytes, others: Sequence[bytes], *, has_boxes: bool) -> bytes:
    """A seed after some changes."""
    data = seed
    for _ in range(rng.randint(1, CHANGES_MAX)):
        keeps_sizes = has_boxes and rng.random() < 0.4
        data = _boxes_changed(rng, data) if keeps_sizes else rng.choice(BYTEWISE)(rng, data, rng.choice(others))
    return data[:GROWN_MAX]


def _flipped(rng: Random, data: bytes, _: bytes) -> bytes:
    return _put(data, at := rng.randrange(len(data)), bytes([data[at] ^ 1 << rng.randrange(8)])) if data else data


def _edged(rng: Random, data: bytes, _: bytes) -> bytes:
    size, value = rng.choice(SIZES), rng.choice(EDGES)
    return _put(data, rng.randrange(len(data)), (value % 2 ** (8 * size)).to_bytes(size, "big")) if data else data


def _cut(rng: Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randint(0, len(data))]


def _removed(rng: Random, data: bytes, _: bytes) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start + rng.randint(0, INSERTED_MAX) :]


def _inserted(rng: Random, data: bytes, _: bytes) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + rng.randbytes(rng.randint(1, INSERTED_MAX)) + data[start:]


def _repeated(rng: Random, data: bytes, _: bytes) -> bytes:
    start = rng.randint(0, len(data))
    piece = data[start : start + rng.randint(0, INSERTED_MAX)]
    return data[:start] + piece * rng.randint(2, 9) + data[start:]


def _spliced(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


BYTEWISE: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flipped, _flipped, _edged, _edged, _edged, _cut, _removed, _inserted, _repeated, _spliced,
)  # fmt: skip


def _boxes_changed(rng: Random, data: bytes) -> bytes:
    """One box changed, the sizes of those around it kept true; what is no box stays behind the last one."""
    nodes, rest = _read(data)
    every = list(_all(nodes))
    if not every:
        return data
    node, siblings = rng.choice(every)
    match rng.randrange(6):
        case 0 | 1:
            changed = rng.choice(BYTEWISE)(rng, node.body, node.body)
            node.body = changed
        case 2:
            node.kind = rng.choice(KINDS)
        case 3:
            siblings.insert(rng.randint(0, len(siblings)), node)
        case 4:
            siblings.remove(node)
        case _:
            for _ in range(rng.choice((1, 2, 40, DEPTH_MAX)) if rng.random() < 0.05 else 1):
                node.body, node.inner, node.kind = node.whole(), [], rng.choice((node.kind, b"moov", b"trak", b"traf"))
                if len(node.body) > GROWN_MAX:
                    break
    return b"".join(node.whole() for node in nodes) + rest


def _read(data: bytes, depth: int = 0) -> tuple[list[_Node], bytes]:
    nodes, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size < 8 or at + size > len(data):
            break
        body, node = data[at + 8 : at + size], _Node(kind)
        inner, rest = _read(body, depth + 1) if kind in CONTAINERS and depth < READ_DEPTH_MAX else ([], body)
        if rest:
            node.body = body
        else:
            node.inner = inner
        nodes.append(node)
        at += size
    return nodes, data[at:]


def _all(nodes: list[_Node]) -> "list[tuple[_Node, list[_Node]]]":
    found = [(node, nodes) for node in nodes]
    return found + [pair for node in nodes for pair in _all(node.inner)]


def _put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece[: len(data) - at] + data[at + len(piece) :]

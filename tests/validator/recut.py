"""
A second, independent cut of the log: what every object must contain, from the raw records of ``media`` and ``channels``.

It shares no code with the packager: it reads the committed ``.avsc`` files and the bytes, and nothing of ours.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

PREFIX = 10


@dataclass
class Recut:
    """
    Every object that the log determines.

    Attributes:
        objects: Bytes by name, segments and parts.
        segments: Names of whole segments by (channel, media sequence number, track).
        tracks: Tracks of each (channel, period).
        cut: Chunks beyond the end of their period.
        held: Chunks of each (channel, media sequence number, track) that count.
        ignored: Chunks that were written twice, or by a writer whose GOP or period was another's.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    segments: dict[tuple[str, int, str], str] = field(default_factory=dict)
    tracks: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    cut: int = 0
    held: dict[tuple[str, int, str], int] = field(default_factory=dict)
    ignored: int = 0


@cache
def reader(folder: Path) -> Any:
    """Function from framed bytes to (record name, fields), over the schemas in a folder."""
    known = {}
    for path in folder.glob("*.avsc"):
        raw = json.loads(path.read_text())
        known[b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))] = (raw["name"], parse_schema(raw))

    def read(data: bytes) -> tuple[str, dict[str, Any]]:
        name, schema = known[data[:PREFIX]]
        fields: Any = fastavro.schemaless_reader(BytesIO(data[PREFIX:]), schema, None)
        return name, fields

    return read


def tfdt(chunk: bytes) -> int:
    """Base media decode time of the first moof."""
    at = chunk.index(b"tfdt") + 4
    value: int = struct.unpack_from(">Q" if chunk[at] else ">I", chunk, at + 4)[0]
    return value


def recut(media: Iterable[tuple[int, bytes]], channels: Iterable[bytes], folder: Path) -> Recut:
    """
    Cut the log again.

    Args:
        media: (offset, value) of one partition of ``media``, in order.
        channels: Values of ``channels``.
        folder: Where the .avsc files are.
    """
    read = reader(folder)
    periods = {(f["channel"], f["period"]): f for name, f in map(read, channels) if name == "Period"}
    # What a mark says of the end was known to its writer before; what stands before the mark may be more, and counts.
    ends: dict[tuple[str, int], int] = {}
    reached = {key: {t["track"]: 0 for t in period["tracks"]} for key, period in periods.items()}
    last: dict[tuple[str, int, str], int] = {}
    owner: dict[tuple[str, int, int], str] = {}
    newest: dict[str, int] = {}
    holed: set[tuple[str, int, str]] = set()
    chunks: list[dict[str, Any]] = []
    out = Recut()
    for _, value in media:
        name, f = read(value)
        if name == "MediaMark":
            is_end = f["kind"] == "channel_end"
            if f["period"] + is_end <= newest.get(f["channel"], -1):
                continue  # of two that took over at once, the first did
            ended = f["channel"], f["period"] if is_end else f["ended_period"]
            if ended in reached:
                ends.setdefault(ended, max(f["parts_reached"], min(reached[ended].values())))
            newest[f["channel"]] = f["period"]
            continue
        track: tuple[str, int, str] = (f["channel"], f["period"], f["track"])
        is_owners = f["period"] >= newest[f["channel"]] and owner.setdefault((*track[:2], f["gop"]), f["life"]) == f["life"]
        if not is_owners or f["index"] <= last.get(track, -1):
            out.ignored += 1
            continue
        # After a hole a track goes on with the next segment.
        if f["index"] > last.get(track, f["index"]) + 1:
            holed.add(track)
        if f["gop"] == f["first_gop"] and f["index"] == f["gop"] * sum(len(part["chunk_frames"]) for part in periods[track[:2]]["grid"]):
            holed.discard(track)
        last[track] = f["index"]
        chunks.append(f)
        if f["ends_part"] and track not in holed:
            reached[track[:2]][f["track"]] = f["gop"] * len(periods[track[:2]]["grid"]) + f["part"] + 1
    out.tracks = {key: [t["track"] for t in period["tracks"]] for key, period in periods.items()}
    pieces: dict[tuple[Any, ...], list[bytes]] = {}
    whole: dict[tuple[str, int, str], set[int]] = {}
    stamp: dict[tuple[str, int, str], tuple[int, int]] = {}
    for f in chunks:
        track = f["channel"], f["period"], f["track"]
        parts_per_gop = len(periods[f["channel"], f["period"]]["grid"])
        number = f["gop"] * parts_per_gop + f["part"]
        if number >= ends.get((f["channel"], f["period"]), 1 << 62):
            out.cut += 1
            continue
        segment = f["channel"], f["msn"], f["track"]
        out.held[segment] = out.held.get(segment, 0) + 1
        pieces.setdefault((*track, f["msn"], None), []).append(f["payload"])
        pieces.setdefault((*track, f["msn"], number), []).append(f["payload"])
        if f["ends_part"]:
            whole.setdefault((f["channel"], f["msn"], f["track"]), set()).add(number)
            stamp[f["channel"], f["msn"], f["track"]] = (f["first_gop"] * parts_per_gop, (f["first_gop"] + f["gop_count"]) * parts_per_gop)
    for (channel, period_number, track_id, msn, part), data in pieces.items():
        key: tuple[str, int, str] = (channel, msn, track_id)
        name = f"{channel}/{period_number}/{track_id}/{tfdt(data[0])}"
        if part is not None:
            if part in whole.get(key, ()):
                out.objects[f"{name}.part.m4s"] = b"".join(data)
            continue
        first, stop = stamp.get(key, (0, 1))
        stop = min(stop, ends.get((channel, period_number), 1 << 62))
        if whole.get(key) == set(range(first, stop)):
            out.objects[f"{name}.m4s"] = b"".join(data)
            out.segments[key] = f"{name}.m4s"
    return out

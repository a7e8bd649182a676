"""Hypothesis strategies for records: any valid value of every type in the contract."""

import dataclasses
import types
import typing
from enum import Enum
from typing import Any

from hypothesis import strategies as st

from schemas import records
from schemas.units import Ticks, Timescale

IDS = st.from_regex(records.ID, fullmatch=True)
ID_FIELDS = {"channel", "track", "packager_id", "origin_id"}
LONGS = st.integers(min_value=0, max_value=2**63 - 1)
INTS = st.integers(min_value=1, max_value=2**31 - 1)


def of_type(kind: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Any valid value of a field."""
    if name in ID_FIELDS:
        return IDS
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        inner = next(t for t in typing.get_args(kind) if t is not types.NoneType)
        return st.none() | of_type(inner, name)
    if typing.get_origin(kind) is tuple:
        return st.lists(of_type(typing.get_args(kind)[0], name), max_size=3).map(tuple)
    if isinstance(kind, typing.NewType):
        return INTS if kind.__name__ == "Timescale" else LONGS
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return of_record(kind)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(min_value=1, max_value=2**31 - 1),
        float: st.floats(allow_nan=False),
        str: st.text(max_size=20),
        bytes: st.binary(max_size=200),
    }
    return plain[kind]


def of_record(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any valid record of a type."""
    fields = {name: of_type(hint, name) for name, hint in typing.get_type_hints(kind).items()}
    build = st.fixed_dictionaries(fields)
    if kind is records.Chunk:
        build = build.map(
            lambda f: {
                **f,
                "first_gop": f["gop"] // 2,
                "gop_count": f["gop"] // 2 + f["gop"] % 2 + 1,
                "duration_ticks": f["duration_ticks"] + 1,
            }
        )
        build = build.filter(lambda f: f["gop_count"] < 2**31 and f["duration_ticks"] < 2**63)
    if kind is records.Demand:
        build = build.map(lambda f: {**f, "cores_used": min(abs(f["cores_used"]), 1e9)})
    if kind is records.Assignment:
        build = build.map(lambda f: {**f, "turn": f["turn"] % f["turns"]})
    if kind is records.PartFrames:
        build = build.map(lambda f: {"chunk_frames": f["chunk_frames"] or (1,)})
    if kind is records.Thumbnails:
        build = build.map(lambda f: {**f, "source": "v0", "quality": 2 + f["quality"] % 30})
    if kind is records.Track:
        build = build.map(lambda f: {**f, "frame_ticks": f["frame_ticks"] + 1}).filter(lambda f: f["frame_ticks"] < 2**63)
    if kind is records.Period:
        build = build.map(_period)
    return build.map(lambda f: kind(**f))


def _period(fields: dict[str, Any]) -> dict[str, Any]:
    track = records.Track(
        track="v0",
        kind=records.TrackKind.VIDEO,
        codec="avc1.4d401e",
        timescale=Timescale(25_000),
        frame_ticks=Ticks(1_000),
        start_ticks=Ticks(0),
        bandwidth_bps=1,
        init=b"i",
    )
    tracks = {t.track: t for t in fields["tracks"]} or {"v0": track}
    grid = fields["grid"] or (records.PartFrames(chunk_frames=(12, 13)),)
    pictures = fields["thumbnails"]
    source = next((t.track for t in tracks.values() if t.kind is records.TrackKind.VIDEO), None)
    pictures = pictures and source and dataclasses.replace(pictures, track="thumb0", source=source)
    return {
        **fields,
        "tracks": tuple(tracks.values()),
        "grid": grid,
        "target_duration_ms": fields["target_duration_ms"] % 60_000 + 1_000,
        "thumbnails": pictures if "thumb0" not in tracks else None,
    }

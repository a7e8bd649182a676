"""
What falls due at one instant waits for each other: how late parts and segments are at packagers that keep up.

All channels repeat themselves with their GOPs, so a few seconds stand for a longer span; a span that is no longer is taken whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.records import Level
from streams.simulate.scenario.line import Line
from streams.simulate.scenario.pool import Packager, Piece
from streams.simulate.scenario.spec import Costs

# Longer than any time within a run: packagers one after the other on one axis do not wait for each other.
APART = 1e9
SAMPLE_MS = 4_000.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bursts:
    """
    Lateness within a span at packagers that keep up.

    Attributes:
        parts: Of each part of a slice, in ms; one entry per part and slice, of parts-level slices.
        segments: Of segments, by channel number.
    """

    parts: Floats
    segments: dict[int, Floats]


NONE = Bursts(np.zeros(0), {})


def bursts(packagers: Sequence[Packager], lines: Sequence[Line], cost: Costs, *, start_ms: float, end_ms: float, base_ms: float) -> Bursts:
    """
    Lateness of what falls due within a span.

    Args:
        packagers: Those that work; slices that catch up are left out.
        lines: Channels by number.
        cost: What work takes.
        start_ms: From.
        end_ms: Until; all of a span up to `SAMPLE_MS` is looked at.
        base_ms: Lateness of all, from making to telling.

    Source:
        Lindley's recursion of a queue's waiting times, unrolled.
    """
    end_ms = min(end_ms, start_ms + SAMPLE_MS)
    works = [
        (seat, packager.cores, piece)
        for seat, packager in enumerate(packagers)
        if packager.is_up
        for piece in packager.pieces.values()
        if not piece.path and not piece.is_done
    ]
    jobs = [
        _jobs(seat, cores, piece, lines[piece.channel], cost, start_ms, end_ms, unit) for unit, (seat, cores, piece) in enumerate(works)
    ]
    if not jobs:
        return NONE
    table = np.concatenate(jobs)
    table = table[np.lexsort((table[:, UNIT], table[:, AT], table[:, SEAT]))]
    late = _waits(table[:, SEAT], table[:, AT], table[:, WORK]) + base_ms
    return Bursts(late[table[:, IS_PART] > 0], _segments(table, late, works))


SEAT, AT, WORK, UNIT, IS_PART, ENDS = range(6)


def _jobs(seat: int, cores: float, piece: Piece, line: Line, cost: Costs, start_ms: float, end_ms: float, unit: int) -> Floats:
    """Work of a slice by the instant at which it falls due: parts, and what a segment takes at its end."""
    part, timeline = line.part, line.timeline
    grid, gop = part.period.grid, line.gop_ms
    known = {track.track: rate for track, rate in zip(part.period.tracks, part.bytes_per_s, strict=True)}
    rates = [known[track] for track in piece.given.tracks if track in known]
    frames = np.array([sum(cut.chunk_frames) for cut in grid], dtype=float)
    lengths = frames * gop / frames.sum()
    first = np.floor((start_ms - part.begins_ms) / gop)
    gops = np.arange(first, np.floor((end_ms - part.begins_ms) / gop) + 1)
    at = (part.begins_ms + gops[:, None] * gop + np.cumsum(lengths)[None, :]).ravel()
    is_parts = piece.given.level is Level.PARTS
    work = np.array([len(rates) * ((cost.per_part if is_parts else 0.0) + cost.per_chunk * len(cut.chunk_frames)) for cut in grid])
    work = np.tile(work + cost.per_byte * sum(rates) * lengths / 1_000, len(gops))
    kept = (at > start_ms) & (at <= end_ms)
    at, work = at[kept], work[kept]
    ends = np.full(len(at), -1.0)
    msns = np.array([timeline.open_at(instant - 0.5) for instant in at])
    is_end = np.array([abs(timeline.end(int(msn)) - instant) < 0.5 for msn, instant in zip(msns, at, strict=True)], dtype=bool)
    ends[is_end] = msns[is_end]
    work = work + is_end * len(rates) * cost.per_segment
    given = piece.given
    owns = (msns >= given.from_msn) & (msns % given.turns == given.turn)
    if given.until_msn is not None:
        owns &= msns < given.until_msn
    rows = np.empty((int(owns.sum()), 6))
    rows[:, SEAT], rows[:, AT], rows[:, WORK] = seat, at[owns], work[owns] * 1_000 / cores
    rows[:, UNIT], rows[:, IS_PART], rows[:, ENDS] = unit, float(is_parts), ends[owns]
    return rows


def _waits(seat: Floats, at: Floats, work: Floats) -> Floats:
    """From falling due to being made, of work in order by packager and time."""
    clock = at + seat * APART
    served = np.cumsum(work)
    return np.asarray(served + np.maximum.accumulate(clock - (served - work)) - clock)


def _segments(table: Floats, late: Floats, works: Sequence[tuple[int, float, Piece]]) -> dict[int, Floats]:
    """Of each segment that ended: when the last group had it from the first of its copies."""
    best: dict[tuple[int, str, int], float] = {}
    for row in np.flatnonzero(table[:, ENDS] >= 0):
        piece = works[int(table[row, UNIT])][2]
        key = piece.channel, piece.given.slice_id, int(table[row, ENDS])
        best[key] = min(float(late[row]), best.get(key, np.inf))
    last: dict[int, dict[int, float]] = {}
    for (channel, _, msn), value in best.items():
        of = last.setdefault(channel, {})
        of[msn] = max(value, of.get(msn, 0.0))
    return {channel: np.array(list(of.values())) for channel, of in last.items()}

"""
What falls due at one instant waits for each other: how late parts and segments are at packagers that keep up.

All channels repeat themselves with their GOPs, so a few seconds stand for a longer span; a span that is no longer is taken whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from schemas.records import Assignment, Level
from streams.simulate.scenario.line import Line
from streams.simulate.scenario.pool import Floats, Packager, Piece
from streams.simulate.scenario.spec import Costs

# Longer than any time within a run: packagers one after the other on one axis do not wait for each other.
APART = 1e9
SAMPLE_MS = 4_000.0
# Instants nearer to each other are the same.
HALF = 0.5


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
    given, timeline, gop, begins = piece.given, piece.timeline, line.gop_ms, line.part.begins_ms
    if piece.instants is None:
        piece.instants = _instants(given, line, cost)
    offsets, work, per_segment = piece.instants
    gops = np.arange(floor((start_ms - begins) / gop), floor((end_ms - begins) / gop) + 1)
    at = (begins + gops[:, None] * gop + offsets).ravel()
    work = np.tile(work, len(gops))
    kept = (at > start_ms) & (at <= end_ms)
    at, work = at[kept], work[kept]
    first = timeline.open_at(start_ms)
    bounds = np.array([timeline.end(msn) for msn in range(first, timeline.open_at(end_ms) + 1)])
    place = np.searchsorted(bounds, at - HALF)
    msns, is_end = first + place, np.abs(bounds[place] - at) < HALF
    owns = (msns >= given.from_msn) & (msns % given.turns == given.turn)
    if given.until_msn is not None:
        owns &= msns < given.until_msn
    rows = np.empty((int(owns.sum()), 6))
    rows[:, SEAT], rows[:, AT], rows[:, WORK] = seat, at[owns], (work + is_end * per_segment)[owns] * 1_000 / cores
    rows[:, UNIT], rows[:, IS_PART], rows[:, ENDS] = unit, float(given.level is Level.PARTS), np.where(is_end, msns, -1.0)[owns]
    return rows


def _instants(given: Assignment, line: Line, cost: Costs) -> tuple[Floats, Floats, float]:
    """Where in a GOP work of a slice falls due, its core-seconds there, and what each end of a segment adds."""
    period = line.part.period
    known = {track.track: rate for track, rate in zip(period.tracks, line.part.bytes_per_s, strict=True)}
    rates = [known[track] for track in given.tracks if track in known]
    frames = np.array([sum(cut.chunk_frames) for cut in period.grid], dtype=float)
    lengths = frames * line.gop_ms / frames.sum()
    per_part = cost.per_part if given.level is Level.PARTS else 0.0
    work = np.array([len(rates) * (per_part + cost.per_chunk * len(cut.chunk_frames)) for cut in period.grid])
    return np.cumsum(lengths), work + cost.per_byte * sum(rates) * lengths / 1_000, len(rates) * cost.per_segment


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

"""Packagers as servers: what each slice in hand takes, how far it is, and when it gets there while others want the same cores."""

from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from schemas.records import Assignment, Level, PackagerState
from streams.simulate.scenario.casting import Part
from streams.simulate.scenario.spec import Costs
from streams.simulate.scenario.timeline import Timeline

Floats = NDArray[np.float64]
# Media time, in ms, that is nothing.
NEAR = 1e-3
# Turns of a server within one span; each ends a backlog, a wait or the span.
TURNS_MAX = 10_000


def cores_of(part: Part, cost: Costs, *, tracks: tuple[str, ...], turns: int, level: Level, length_ms: float) -> float:
    """Cores that a slice takes while it follows the live edge: the same sum as decisions make, with what work really costs."""
    period = part.period
    known = {track.track: rate for track, rate in zip(period.tracks, part.bytes_per_s, strict=True)}
    rates = [known[track] for track in tracks if track in known]
    parts, chunks = len(period.grid), sum(len(cut.chunk_frames) for cut in period.grid)
    gop_s = gop_ms(part) / 1_000
    per_gop = (cost.per_part * parts if level is Level.PARTS else 0.0) + cost.per_chunk * chunks
    return (len(rates) * (cost.per_segment * 1_000 / length_ms + per_gop / gop_s) + cost.per_byte * sum(rates)) / turns


def gop_ms(part: Part) -> float:
    """Length of a GOP."""
    period = part.period
    frames = sum(sum(cut.chunk_frames) for cut in period.grid)
    return frames * 1_000 * period.frame_rate_den / period.frame_rate_num


@dataclass(slots=True, eq=False)
class Piece:
    """
    A slice at its holder.

    Attributes:
        key: Its assignment's key.
        given: Its assignment.
        channel: Number of its channel.
        timeline: Where the channel's segments lie.
        cores: What it takes at the live edge.
        done_ms: Media time that it is at: everything of its own before that is made.
        ready_ms: When its holder begins.
        path: Time and media time at each bend within the span, if it did not simply follow.
        instants: What falls due within a GOP, as `bursts` keeps it.
    """

    key: str
    given: Assignment
    channel: int
    timeline: Timeline
    cores: float
    done_ms: float
    ready_ms: float
    path: list[tuple[float, float]] = field(default_factory=list)
    instants: tuple[Floats, Floats, float] | None = None

    @property
    def limit_ms(self) -> float:
        """Media time at which it ends; infinite: never."""
        return inf if self.given.until_msn is None else self.timeline.start(self.given.until_msn)

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is left."""
        return self.done_ms >= self.limit_ms - NEAR

    def owns(self, msn: int) -> bool:
        """Whether a segment is its own."""
        given = self.given
        return given.from_msn <= msn and (given.until_msn is None or msn < given.until_msn) and msn % given.turns == given.turn

    def reached(self, media_ms: float) -> float:
        """When it was at a media time within the span."""
        for (t0, x0), (t1, x1) in zip(self.path, self.path[1:], strict=False):
            if x1 >= media_ms - NEAR:
                return t0 if x1 <= x0 else t0 + max(0.0, media_ms - x0) * (t1 - t0) / (x1 - x0)
        return self.path[-1][0]

    def done_at(self, at_ms: float) -> float:
        """The media time that it was at within the span."""
        for (t0, x0), (t1, x1) in zip(self.path, self.path[1:], strict=False):
            if at_ms <= t1:
                return x1 if t1 <= t0 else x0 + max(0.0, at_ms - t0) * (x1 - x0) / (t1 - t0)
        return self.path[-1][1] if self.path else self.done_ms


@dataclass(slots=True, eq=False)
class Packager:
    """
    One packager from its order to its end.

    Attributes:
        name: Packager id.
        life: Run.
        cores: Its cores.
        ordered_ms: When it was ordered; it is paid for from then on.
        ready_ms: When it beats for the first time.
        state: What it says of itself.
        is_up: Whether it has not been killed and has not left.
        pieces: What it holds, by key.
        used_core_ms: Core time used so far.
        left_ms: When it ended; infinite: it runs.
    """

    name: str
    life: str
    cores: float
    ordered_ms: float
    ready_ms: float
    state: PackagerState = PackagerState.READY
    is_up: bool = True
    pieces: dict[str, Piece] = field(default_factory=dict)
    used_core_ms: float = 0.0
    left_ms: float = inf

    def is_ready(self, at_ms: float) -> bool:
        """Whether it beats."""
        return self.is_up and self.ready_ms <= at_ms

    @property
    def demanded(self) -> float:
        """Cores that all it holds takes at the live edge."""
        return sum(piece.cores for piece in self.pieces.values() if not piece.is_done)

    def serve(self, start_ms: float, end_ms: float, *, slice_cores: float) -> None:
        """
        Work for a span. Whoever is at the live edge goes first; what is left is shared by those who catch up; too little is shared by all.

        Args:
            start_ms: From.
            end_ms: Until.
            slice_cores: Cores that one slice can use.
        """
        pieces = [piece for piece in self.pieces.values() if not piece.is_done]
        if not self.is_up:
            for piece in pieces:
                piece.path = [(start_ms, piece.done_ms), (end_ms, piece.done_ms)]
            return
        wanted = 0.0
        for piece in pieces:
            if piece.done_ms < start_ms - NEAR or piece.ready_ms > start_ms or piece.cores > slice_cores:
                break
            wanted += piece.cores
        else:
            if wanted <= self.cores:
                for piece in pieces:
                    piece.path = []
                    piece.done_ms = min(max(piece.done_ms, end_ms), max(piece.done_ms, piece.limit_ms))
                self.used_core_ms += wanted * (end_ms - start_ms)
                return
        self._share(pieces, start_ms, end_ms, slice_cores)

    def _share(self, pieces: list[Piece], start_ms: float, end_ms: float, slice_cores: float) -> None:
        for piece in pieces:
            piece.path = [(start_ms, piece.done_ms)]
        now = start_ms
        for _ in range(TURNS_MAX):
            if now >= end_ms - NEAR:
                break
            active = [p for p in pieces if p.ready_ms <= now + NEAR and p.done_ms <= now + NEAR and not p.is_done]
            speeds, used = self._speeds(active, now, slice_cores)
            ends = [end_ms, *(p.ready_ms for p in pieces if p.ready_ms > now + NEAR)]
            ends += [p.done_ms for p in pieces if p.done_ms > now + NEAR]
            for piece, speed in zip(active, speeds, strict=True):
                lag = now - piece.done_ms
                if lag > NEAR and speed > 1.0:
                    ends.append(now + max(NEAR, lag / (speed - 1.0)))
                if speed > 0.0 and piece.limit_ms < inf:
                    ends.append(now + max(NEAR, (piece.limit_ms - piece.done_ms) / speed))
            then = max(now + NEAR, min(ends))
            for piece, speed in zip(active, speeds, strict=True):
                at = min(piece.done_ms + speed * (then - now), then, piece.limit_ms)
                piece.done_ms = then if then - at < NEAR else at
            for piece in pieces:
                piece.path.append((then, piece.done_ms))
            self.used_core_ms += used * (then - now)
            now = then
        for piece in pieces:
            if all(at - done < NEAR for at, done in piece.path):
                piece.path = []

    def _speeds(self, active: list[Piece], now: float, slice_cores: float) -> tuple[list[float], float]:
        """Media time per time of each, and the cores used."""
        base = [min(piece.cores, slice_cores) for piece in active]
        wanted = sum(base)
        if wanted >= self.cores:
            rates = [rate * self.cores / wanted for rate in base]
        else:
            behind = [piece.done_ms < now - NEAR for piece in active]
            more = (self.cores - wanted) / max(1, sum(behind))
            rates = [min(rate + more, slice_cores) if lags else rate for rate, lags in zip(base, behind, strict=True)]
        return [rate / piece.cores if piece.cores else inf for rate, piece in zip(rates, active, strict=True)], sum(rates)

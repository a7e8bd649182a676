"""The control plane of a scenario: the same folds and decisions, fed with what is true at each instant."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from schemas.records import (
    Assignment,
    ChannelDemand,
    ChannelForecast,
    Cost,
    Decision,
    Demand,
    Forecasts,
    Heartbeat,
    Load,
    PeriodEnd,
    SliceProgress,
)
from schemas.units import GopOrdinal, Ms, Msn, UnixMs
from streams.core.decide import Standing, apply, decide
from streams.core.folds import INTERVAL_MS
from streams.core.policy import Policy
from streams.core.rows import GopsRow, ReportRow, Run, Segment
from streams.core.state import TITLES, State
from streams.models.pool import PoolForecaster
from streams.simulate.engine import START
from streams.simulate.scenario.forecasts import Forecaster, LastValues
from streams.simulate.scenario.line import Line
from streams.simulate.scenario.pool import NEAR, Packager, Piece
from streams.simulate.scenario.spec import Scenario

CODE_VERSION = "scenario"
ORIGIN = "origin"
# Segments of a channel that the index shows: the hold back at least, more while some are late; no more than its memory.
SEGMENTS_MIN = 4
SEGMENTS_MAX = 75
# Decisions at one instant: each follows from what the one before put in force.
DECISIONS_MAX = 50
SECOND_MS = 1_000
STEP_MS = 5_000


class Brain:
    """Folds, forecasts and decisions of one pool."""

    def __init__(self, scenario: Scenario, lines: Sequence[Line]) -> None:
        """
        Args:
            scenario: Policy, steps, true costs.
            lines: The channels.
        """
        self.policy: Policy = scenario.policy.policy()
        self.standing = Standing.empty(0)
        self._state = State(0, self.policy.planner.memory_ms)
        self._lines = lines
        self._beat_ms = Ms(max(self.policy.liveness.heartbeat_ms, scenario.step))
        self._cost = Cost(**scenario.pool.cost.model_dump())
        self._offset = 0
        sample = Ms(max(SECOND_MS, scenario.step))
        self._models = _forecaster(scenario, sample)
        self._sample_ms = sample
        self._sampled_ms = -inf

    def _fold(self, title: str, record: object, at: UnixMs) -> None:
        self._offset += 1
        self._state.fold(title, record, offset=self._offset, at=at)

    # ------------------------------------------------------------ what is heard

    def begin(self, line: Line, at_ms: float) -> None:
        """A channel goes live."""
        self._fold("channels", line.part.period, _unix(at_ms))

    def end(self, line: Line, at_ms: float) -> None:
        """A channel has ended."""
        end = PeriodEnd(channel=line.part.channel, period=0, parts_reached=0, next_msn=Msn(int(line.end_msn)), channel_ended=True)
        self._fold("channels", end, _unix(at_ms))

    def hear_packagers(self, packagers: Iterable[Packager], at_ms: float) -> None:
        """Heartbeats of those that beat, and what they made."""
        at = _unix(at_ms)
        for packager in packagers:
            if not packager.is_ready(at_ms):
                continue
            self._fold("heartbeats", self._heartbeat(packager, at_ms), at)
            if packager.pieces:
                self._offset += 1
                runs = tuple(run for piece in packager.pieces.values() for run in _runs(piece, self._lines[piece.channel], at))
                self._state.put("reports", packager.name, ReportRow(offset=self._offset, at_unix_ms=at, runs=runs))

    def hear_channels(self, at_ms: float) -> None:
        """The index of the log: each channel's newest segments, as the fold of its records would have them."""
        for line in self._lines:
            if line.begun and line.end_msn == inf:
                self._offset += 1
                row = GopsRow(offset=self._offset, at_unix_ms=_unix(at_ms), segments=segments_of(line, at_ms))
                self._state.put("gops", line.part.channel, row)

    def hear_demand(self, demand: Sequence[ChannelDemand], at_ms: float) -> None:
        """A second of an origin that all viewers use."""
        at = _unix(at_ms)
        self._fold("demand", Demand(origin_id=ORIGIN, at_unix_ms=at, channels=tuple(demand)), at)

    def forecast(self, seen: Mapping[str, tuple[float, float]], at_ms: float) -> None:
        """Sessions and joins per second of every live channel are learned, and forecasts told."""
        at = _unix(at_ms)
        forecasts: tuple[ChannelForecast, ...] = ()
        if self._models:
            if at_ms - self._sampled_ms >= self._sample_ms - NEAR:
                self._models.learn(at, dict(seen))
                self._sampled_ms = at_ms
            forecasts = tuple(said for said in self._models.forecast() if said.channel in seen)
        self._fold("forecasts", Forecasts(pool=0, at_unix_ms=at, channels=forecasts, cost=self._cost), at)

    def forget(self, channel: str) -> None:
        """A channel is gone."""
        if self._models:
            self._models.forget([channel])

    # ------------------------------------------------------------ what is decided

    def decide(self, at_ms: float) -> list[Decision]:
        """All that is decided at an instant; it is in force."""
        now, decisions = _unix(at_ms), []
        for _ in range(DECISIONS_MAX):
            decision = decide(self._state, self.standing, self.policy, now=now, code_version=CODE_VERSION, cause=None)
            if decision is None:
                break
            before, self.standing = self.standing, apply(self.standing, decision)
            decisions.append(decision)
            if decision.whole:
                for title in TITLES:
                    self._state.prune(title, now)
            if _is_same(before, self.standing):
                break
        return decisions

    def _heartbeat(self, packager: Packager, at_ms: float) -> Heartbeat:
        slices = tuple(
            SliceProgress(
                slice_id=piece.given.slice_id,
                copy=piece.given.copy,
                epoch=piece.given.epoch,
                next_msn=Msn(max(piece.given.from_msn, piece.timeline.open_at(piece.done_ms + NEAR))),
            )
            for piece in packager.pieces.values()
        )
        return Heartbeat(
            packager_id=packager.name,
            life=packager.life,
            state=packager.state,
            number=max(0, round((at_ms - packager.ready_ms) / self._beat_ms)),
            interval_ms=self._beat_ms,
            capacity=Load(cores=packager.cores),
            use=Load(cores=packager.demanded),
            slices=slices,
        )


def _forecaster(scenario: Scenario, sample_ms: Ms) -> Forecaster | None:
    match scenario.forecast:
        case "models":
            return PoolForecaster(sample_ms=sample_ms, step_ms=Ms(sample_ms * -(-STEP_MS // sample_ms)))
        case "last_value":
            return LastValues()
        case "none":
            return None


def _is_same(before: Standing, after: Standing) -> bool:
    """Whether a decision put nothing in force that another could follow from: it restated, or wants other packagers."""
    return (
        before.plans == after.plans
        and before.packaging == after.packaging
        and before.dead == after.dead
        and before.queued == after.queued
        and before.voids == after.voids
        and before.assignments.keys() == after.assignments.keys()
        and all(_terms(held) == _terms(before.assignments[key]) for key, held in after.assignments.items())
    )


def _terms(held: Assignment) -> tuple[str, int, int | None]:
    return held.life, held.epoch, held.until_msn


def _unix(at_ms: float) -> UnixMs:
    return UnixMs(START + round(at_ms))


def segments_of(line: Line, at_ms: float) -> tuple[Segment, ...]:
    """The newest segments of a channel, up to the one that has its first GOP."""
    timeline, gop_ms, part = line.timeline, line.gop_ms, line.part
    opened = timeline.open_at(at_ms)
    back_ms = 3 * part.period.target_duration_ms
    count = max(SEGMENTS_MIN, round(back_ms / timeline.length(opened)) + 2, opened - line.next_msn + 1 if line.is_on else 0)
    gop_bytes = round(sum(part.bytes_per_s) * gop_ms / 1_000)
    chunks = sum(len(cut.chunk_frames) for cut in part.period.grid) * line.tracks
    segments = []
    for msn in range(max(0, opened - min(count, SEGMENTS_MAX)), opened + 1):
        start, length = timeline.start(msn), timeline.length(msn)
        gops = round(length / gop_ms)
        seen = gops if msn < opened else int((at_ms - start + NEAR) / gop_ms)
        if not seen:
            continue
        first = round((start - part.begins_ms) / gop_ms)
        segments.append(
            Segment(
                msn=Msn(msn),
                period=0,
                first_gop=GopOrdinal(first),
                gop_count=gops,
                seen_gops=seen,
                size=seen * gop_bytes,
                chunk_count=seen * chunks,
                first_offset=first * chunks,
                tail_offset=(first + seen - 1) * chunks,
                opened_unix_ms=_unix(start + gop_ms),
                durable_unix_ms=_unix(start + seen * gop_ms),
            )
        )
    return tuple(segments)


def _runs(piece: Piece, line: Line, at: UnixMs) -> list[Run]:
    """Segments that a slice's holder has made, as its reports would have told."""
    reached = piece.timeline.open_at(piece.done_ms + NEAR)
    if piece.given.until_msn is not None:
        reached = min(reached, piece.given.until_msn)
    first = max(piece.given.from_msn, reached - SEGMENTS_MAX)
    if piece.given.turns == 1:
        spans = [(first, reached - 1)] if first < reached else []
    else:
        spans = [(msn, msn) for msn in range(first, reached) if piece.owns(msn)]
    return [
        Run(
            interval=at // INTERVAL_MS,
            channel=line.part.channel,
            tracks=tuple(sorted(piece.given.tracks)),
            first_msn=Msn(first),
            last_msn=Msn(last),
            durable_unix_ms=_unix(piece.timeline.end(last)),
            published_unix_ms=at,
            late_ms_max=max(0, round(at - START - piece.done_ms)),
        )
        for first, last in spans
    ]

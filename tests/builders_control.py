"""Records of the control topics with sensible values, and a log of them that is folded as the control plane does."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.records import (
    ChannelDemand,
    ChannelForecast,
    Cost,
    Decision,
    Demand,
    Fault,
    Forecasts,
    Gop,
    GopTrack,
    Heartbeat,
    HorizonForecast,
    Level,
    Load,
    Outcome,
    PackagerState,
    Period,
    PeriodEnd,
    Reports,
    SegmentReport,
    SliceProgress,
    Track,
    TrackKind,
)
from schemas.timeline import make_grid
from schemas.units import Epoch, GopOrdinal, Ms, Msn, Ticks, Timescale, UnixMs
from streams.core.decide import Standing, apply, decide
from streams.core.policy import Policy
from streams.core.state import State

T0 = UnixMs(1_700_000_000_000)
TRACKS = ("v0", "v1", "v2", "a0")
HORIZONS_MS = (2_000, 5_000, 15_000, 60_000, 300_000)


def a_track(track: str = "v0") -> Track:
    if track.startswith("a"):
        return Track(
            track=track, kind=TrackKind.AUDIO, codec="mp4a.40.2", timescale=Timescale(48_000), frame_ticks=Ticks(1_024),
            start_ticks=Ticks(0), bandwidth_bps=96_000, init=b"init", sample_rate_hz=48_000, audio_channels=2,
        )  # fmt: skip
    return Track(
        track=track, kind=TrackKind.VIDEO, codec="avc1.4d401f", timescale=Timescale(90_000), frame_ticks=Ticks(3_600),
        start_ticks=Ticks(0), bandwidth_bps=1_500_000, init=b"init", width=640, height=360,
    )  # fmt: skip


def a_period(
    channel: str = "news", *, period: int = 0, idle_level: Level = Level.OFF, tracks: Sequence[str] = TRACKS,
    first_msn: int = 0, first_offset: int = 0, at: int = T0, gop_frames: int = 25, target_ms: int = 4_000, pool: int = 0,
) -> Period:  # fmt: skip
    return Period(
        channel=channel, period=period, life="enc", pool=pool, media_partition=3, tracks=tuple(a_track(t) for t in tracks),
        frame_rate_num=25, frame_rate_den=1, grid=make_grid(gop_frames, part_frames=13, chunks_per_part=2), anchor_unix_ms=UnixMs(at),
        zero_unix_ms=T0, first_msn=Msn(first_msn), discontinuity=period, target_duration_ms=Ms(target_ms), part_target_ms=Ms(534),
        publish_allowance_ms=Ms(100), idle_level=idle_level, time_shift_ms=Ms(60_000), first_offset=first_offset,
    )  # fmt: skip


def a_period_end(channel: str = "news", *, period: int = 0, next_msn: int = 5, ended: bool = True) -> PeriodEnd:
    return PeriodEnd(channel=channel, period=period, parts_reached=0, next_msn=Msn(next_msn), channel_ended=ended)


def a_gop(
    channel: str = "news", *, gop: int = 0, msn: int = 0, first_gop: int | None = None, gop_count: int = 4, period: int = 0,
    durable: int = T0, tracks: Sequence[str] = TRACKS, size: int = 100_000, offsets: int = 16,
) -> Gop:  # fmt: skip
    return Gop(
        channel=channel, period=period, life="enc", gop=GopOrdinal(gop), msn=Msn(msn),
        first_gop=GopOrdinal(gop if first_gop is None else first_gop), gop_count=gop_count,
        tracks=tuple(
            GopTrack(track=t, start_ticks=Ticks(gop * 90_000), duration_ticks=Ticks(90_000), size=size, chunk_count=4) for t in tracks
        ),
        first_offset=gop * offsets, last_offset=gop * offsets + offsets - 1, durable_unix_ms=UnixMs(durable),
    )  # fmt: skip


def a_heartbeat(
    packager: str = "p1", *, life: str = "l1", number: int = 0, state: PackagerState = PackagerState.READY, cores: float = 2.0,
    capacity: Load | None = None, slices: tuple[SliceProgress, ...] = (),
) -> Heartbeat:  # fmt: skip
    return Heartbeat(
        packager_id=packager, life=life, state=state, number=number, interval_ms=Ms(500),
        capacity=capacity or Load(cores=cores, memory_bytes=2**30), use=Load(), slices=slices,
    )  # fmt: skip


def a_demand(
    origin: str = "o1", channels: Iterable[ChannelDemand] = (), *, at: int = T0,
) -> Demand:  # fmt: skip
    return Demand(origin_id=origin, at_unix_ms=UnixMs(at), channels=tuple(channels))


def a_forecast(channel: str = "news", *, sessions: float = 0.0, joins: float = 0.0, upper: float | None = None) -> ChannelForecast:
    most = joins if upper is None else upper
    return ChannelForecast(
        channel=channel, mae=0.0, mae_last_value=0.0, model="last_value",
        horizons=tuple(
            HorizonForecast(horizon_ms=Ms(h), sessions_p50=sessions, sessions_p90=sessions, joins_p50=joins, joins_p90=most)
            for h in HORIZONS_MS
        ),
    )  # fmt: skip


def some_forecasts(*channels: ChannelForecast, at: int = T0, cost: Cost | None = None, pool: int = 0) -> Forecasts:
    return Forecasts(pool=pool, at_unix_ms=UnixMs(at), channels=tuple(channels), cost=cost)


def a_segment_report(
    channel: str = "news", *, msn: int = 0, track: str = "v0", period: int = 0, epoch: int = 1, fault: Fault | None = None,
    durable: int = T0, slice_id: str = "",
) -> SegmentReport:  # fmt: skip
    return SegmentReport(
        channel=channel, period=period, track=track, msn=Msn(msn), slice_id=slice_id or f"{channel}/all/0", epoch=Epoch(epoch),
        outcome=Outcome.FAILED if fault else Outcome.PUBLISHED, fault=fault, start_ticks=Ticks(0), duration_ticks=Ticks(90_000),
        part_count=2, chunk_count=4, size=1_000, digest=b"d" * 16, durable_unix_ms=UnixMs(durable),
    )  # fmt: skip


def a_report(
    channel: str = "news", *, msns: Iterable[int] = (0,), packager: str = "p1", life: str = "l1", tracks: Sequence[str] = TRACKS,
    period: int = 0, epoch: int = 1, fault: Fault | None = None, durable: int = T0, slice_id: str = "",
) -> Reports:  # fmt: skip
    return Reports(
        packager_id=packager, life=life,
        segments=tuple(
            a_segment_report(channel, msn=msn, track=t, period=period, epoch=epoch, fault=fault, durable=durable, slice_id=slice_id)
            for msn in msns for t in tracks
        ),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record of the log of one pool."""

    title: str
    offset: int
    at: UnixMs
    record: Any


@dataclass
class ControlLog:
    """Input topics of one pool as a list, with offsets per topic and the broker's clock."""

    now: UnixMs = T0
    entries: list[Entry] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)

    def add(self, title: str, record: Any) -> Entry:
        offset = self.offsets.get(title, 0)
        self.offsets[title] = offset + 1
        entry = Entry(title=title, offset=offset, at=self.now, record=record)
        self.entries.append(entry)
        return entry

    def pass_ms(self, span: int) -> UnixMs:
        self.now = UnixMs(self.now + span)
        return self.now

    def state(self, *, since: int = 0, pool: int = 0, memory_ms: int = Policy().planner.memory_ms) -> State:
        """The folds as read from a broker time on; `channels` is compacted, and read whole."""
        return fold(self.entries, since=since, pool=pool, memory_ms=memory_ms)


def fold(entries: Iterable[Entry], *, since: int = 0, pool: int = 0, memory_ms: int = Policy().planner.memory_ms) -> State:
    state = State(pool, memory_ms)
    for entry in entries:
        if entry.at >= since or entry.title == "channels":
            state.fold(entry.title, entry.record, offset=entry.offset, at=entry.at)
    return state


class ControlPlane:
    """A log, its folds and the decisions on them, one after the other."""

    def __init__(self, policy: Policy | None = None, *, pool: int = 0) -> None:
        self.policy = policy or Policy()
        self.log = ControlLog()
        self.state = State(pool, self.policy.planner.memory_ms)
        self.standing = Standing.empty(pool)
        self.decisions: list[Decision] = []

    @property
    def now(self) -> UnixMs:
        return self.log.now

    def add(self, title: str, *records: Any) -> None:
        for record in records:
            entry = self.log.add(title, record)
            self.state.fold(title, record, offset=entry.offset, at=entry.at)

    def decide(self) -> Decision | None:
        decision = decide(self.state, self.standing, self.policy, now=self.now, code_version="test", cause=None)
        if decision:
            self.decisions.append(decision)
            self.standing = apply(self.standing, decision)
        return decision

    def settle(self) -> list[Decision]:
        """Decide until nothing changes."""
        made: list[Decision] = []
        while len(made) < 20:
            decision = self.decide()
            if decision is None:
                return made
            made.append(decision)
        raise AssertionError(f"no end of decisions: {made[-1]}")


def beats(plane: ControlPlane, *packagers: str, count: int = 8, life: str = "l1", start: int = 0, cores: float = 2.0) -> None:
    """Packagers beat every 500 ms, so that they bear witness of each other."""
    for number in range(start, start + count):
        for packager in packagers:
            plane.add("heartbeats", a_heartbeat(packager, life=life, number=number, cores=cores))
        plane.log.pass_ms(500)


def gops(channel: str = "news", *, count: int, per_segment: int = 4, at: int = T0, first: int = 0) -> Iterator[Gop]:
    """GOPs of a channel from an ordinal on, stamped with segments of one length, each durable when it ends."""
    for gop in range(first, first + count):
        msn = gop // per_segment
        yield a_gop(channel, gop=gop, msn=msn, first_gop=msn * per_segment, gop_count=per_segment, durable=at + (gop - first + 1) * 1_000)

"""A recorded stretch of one pool as something to simulate: channels, viewers, packagers, deaths, cost, policy; and what it came to."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from statistics import median
from typing import Any

from schemas.errors import UserError
from schemas.records import Cost, Decision, Demand, Forecasts, Gop, Heartbeat, Period, PeriodEnd
from schemas.timeline import frames_per_gop
from schemas.topics import CHANNELS, DECISIONS, DEMAND, FORECASTS, GOPS, HEARTBEATS, REPORTS, Topic
from schemas.units import Msn, UnixMs
from streams.core.policy import Policy
from streams.simulate.engine import START
from streams.simulate.scenario.casting import Part

from .crowd import Replayed
from .entries import Entry
from .measured import Measured, Measuring
from .positions import Position, Time
from .redecide import whole_before
from .sources import Source

# Packagers heard so soon after the beginning were there at the beginning.
THERE_MS = 5_000
# A stretch is simulated in no more steps than this, each of whole seconds.
STEPS_MAX = 3_600
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """
    What happened, in the words of a simulation.

    Attributes:
        pool: Pool.
        begin_unix_ms: When it begins.
        duration_ms: How long it lasts.
        step_ms: Step of a simulation of it.
        policy: The policy in force at its end.
        policies: How many policies were in force.
        parts: Channels, by id in order.
        entries: What origins told, for an audience.
        packagers: Packagers there at the beginning.
        cores: Of one packager, the median.
        kills_ms: When packagers died, since the beginning: their last heartbeats.
        restarts: Whether a packager that died came back under its name.
        cost: Packaging cost as learned last.
        phi: Bit rate over throughput of viewers: quantiles; empty when nobody told.
        measured: What it came to.
    """

    pool: int
    begin_unix_ms: UnixMs
    duration_ms: int
    step_ms: int
    policy: Policy
    policies: int
    parts: tuple[Part, ...]
    entries: tuple[Entry, ...]
    packagers: int
    cores: float
    kills_ms: tuple[int, ...]
    restarts: bool
    cost: Cost
    phi: tuple[float, ...]
    measured: Measured

    def audience(self) -> Replayed:
        """Its viewers, once more from the beginning."""
        return Replayed(
            self.entries,
            [part.channel for part in self.parts],
            begin_unix_ms=self.begin_unix_ms,
            duration_ms=self.duration_ms,
            step_ms=self.step_ms,
        )


def recorded(log: Source, *, pool: int = 0, begin: Position | None = None, end: Position | None = None) -> Recorded:
    """
    What the topics tell of a stretch of a pool.

    Args:
        log: Where the topics are.
        pool: Which pool.
        begin: Where it begins, an offset: in `decisions`; None: with the first of what its decisions read.
        end: Where it ends; None: with the last.

    Raises:
        UserError: The log cannot be read, or nothing that could be simulated lies there.
    """
    first, last = _bounds(log, pool, begin, end)
    decisions = tuple(_decisions(log, pool, last))
    policies = dict.fromkeys(e.record.policy for e in decisions if isinstance(e.record, Decision) and e.at_unix_ms >= first)
    newest = next((e.record.policy for e in reversed(decisions) if isinstance(e.record, Decision)), None)
    if newest is None:
        raise UserError(f"no decision of pool {pool} lies before {last}", do="name a pool that decided with --pool, or another stretch")
    try:
        policy = Policy.from_json(newest)
    except ValueError as error:
        raise UserError(f"the policy in force at the end is none of this version: {error}", do="use the version that decided") from error
    channels, ends = _channels(log, pool, last)
    rates, spans = _rates(log, pool, first, last)
    parts = tuple(
        _part(channels[name], rates[name], spans[name], ends.get(name), first, last) for name in sorted(rates) if name in channels
    )
    if not parts:
        raise UserError(f"no channel of pool {pool} was live in this stretch", do="widen --from and --to, or name another --pool")
    demand = tuple(_within(log, DEMAND, pool, first, last))
    measuring = Measuring(
        begin_unix_ms=first,
        end_unix_ms=last,
        tracks={name: len(period.tracks) for name, period in channels.items()},
        allowance_ms=policy.media.publish_allowance_ms,
    )
    beats = tuple(_within(log, HEARTBEATS, pool, first, last))
    for entries in (decisions, beats, demand, _within(log, REPORTS, pool, None, last)):
        for entry in entries:
            measuring.absorb(entry)
    cores = [e.record.capacity.cores for e in beats if isinstance(e.record, Heartbeat) and e.record.capacity.cores > 0]
    kills = _kills(measuring, first)
    duration = last - first
    return Recorded(
        pool=pool,
        begin_unix_ms=first,
        duration_ms=duration,
        step_ms=max(1, -(-duration // (STEPS_MAX * 1_000))) * 1_000,
        policy=policy,
        policies=len(policies),
        parts=parts,
        entries=demand,
        packagers=max(1, sum(heard[0] <= first + THERE_MS for heard in measuring.heard.values())),
        cores=median(cores) if cores else 1.0,
        kills_ms=tuple(at for at, _ in kills),
        restarts=any(returns for _, returns in kills),
        cost=_cost(log, pool, first, last),
        phi=_phi(demand),
        measured=measuring.result(),
    )


def _bounds(log: Source, pool: int, begin: Position | None, end: Position | None) -> tuple[UnixMs, UnixMs]:
    """The instants that two places name, no further than the log: before and after it nobody was there to be counted."""
    topics = (GOPS, DEMAND, HEARTBEATS)
    ranges = [s for s in log.stretches(topics, begin=begin if isinstance(begin, Time) else None) if s.partition == pool]
    if not ranges:
        raise UserError(f"pool {pool} has nothing in this stretch of the log", do="widen --from and --to, or name another --pool")
    if begin is None or isinstance(begin, Time):
        first = min(next(log.read([replace(s, end=s.first + 1)])).at_unix_ms for s in ranges)
    else:
        first = _at(log, pool, begin.value)
    if end is None or isinstance(end, Time):
        last = UnixMs(max(next(log.read([replace(s, first=s.end - 1)])).at_unix_ms for s in ranges) + 1)
        last = min(last, end.unix_ms) if end else last
    else:
        last = _at(log, pool, end.value)
    if last - first < 1_000:
        raise UserError("this stretch is shorter than a second", do="widen --from and --to")
    return first, last


def _at(log: Source, pool: int, offset: int) -> UnixMs:
    for stretch in log.stretches([DECISIONS]):
        if stretch.partition == pool and stretch.first <= offset < stretch.end:
            return next(log.read([replace(stretch, first=offset, end=offset + 1)])).at_unix_ms
    raise UserError(f"pool {pool} has no decision at offset {offset}", do="write an offset of `decisions`, a time or a span")


def _decisions(log: Source, pool: int, last: UnixMs) -> Iterator[Entry]:
    for stretch in log.stretches([DECISIONS], end=Time(last)):
        if stretch.partition == pool:
            yield from log.read([whole_before(log, stretch, first=stretch.first)])


def _within(log: Source, topic: Topic, pool: int, first: UnixMs | None, last: UnixMs) -> Iterator[Entry]:
    begin = Time(first) if first is not None else None
    return log.read([s for s in log.stretches([topic], begin=begin, end=Time(last)) if s.partition == pool])


def _channels(log: Source, pool: int, last: UnixMs) -> tuple[dict[str, Period], dict[str, UnixMs]]:
    """The newest period of each channel with the tracks that it began with, and when it ended."""
    periods: dict[str, Period] = {}
    ends: dict[str, UnixMs] = {}
    for entry in _within(log, CHANNELS, pool, None, last):
        if isinstance(entry.record, Period):
            periods[entry.record.channel] = entry.record
            ends.pop(entry.record.channel, None)
        elif isinstance(entry.record, PeriodEnd) and entry.record.channel_ended:
            ends[entry.record.channel] = entry.at_unix_ms
    return periods, ends


def _rates(log: Source, pool: int, first: UnixMs, last: UnixMs) -> tuple[dict[str, dict[str, float]], dict[str, tuple[UnixMs, UnixMs]]]:
    """Bytes per GOP of each track of each channel, and when its first and last GOP was durable."""
    sizes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    spans: dict[str, tuple[UnixMs, UnixMs]] = {}
    for entry in _within(log, GOPS, pool, first, last):
        if isinstance(entry.record, Gop):
            for track in entry.record.tracks:
                sizes[entry.record.channel][track.track].append(track.size)
            began = spans.get(entry.record.channel, (entry.at_unix_ms, entry.at_unix_ms))[0]
            spans[entry.record.channel] = (began, entry.at_unix_ms)
    return {name: {t: sum(s) / len(s) for t, s in tracks.items()} for name, tracks in sizes.items()}, spans


def _part(period: Period, sizes: dict[str, float], span: tuple[UnixMs, UnixMs], ended: UnixMs | None, first: UnixMs, last: UnixMs) -> Part:
    """A channel as a simulation knows it: one period, its times counted from the beginning."""
    gop_s = frames_per_gop(period) * period.frame_rate_den / period.frame_rate_num
    began = max(0, round(span[0] - gop_s * 1_000) - first)
    # Without an end its chunks may have stopped: what follows nobody packages.
    stops = ended if ended is not None else span[1] if span[1] < last - 10 * gop_s * 1_000 else None
    anchor = UnixMs(START + began)
    return Part(
        period=replace(
            period, period=0, pool=0, media_partition=0, first_msn=Msn(0), first_offset=0, discontinuity=0,
            anchor_unix_ms=anchor, zero_unix_ms=anchor,
        ),
        begins_ms=began,
        ends_ms=inf if stops is None else max(began + 1, stops - first),
        bytes_per_s=tuple(sizes.get(track.track, track.bandwidth_bps / 8) / gop_s for track in period.tracks),
    )  # fmt: skip


def _kills(measuring: Measuring, first: UnixMs) -> list[tuple[int, bool]]:
    """When packagers died, and whether each came back under its name."""
    found = []
    for key in measuring.deaths:
        name, life = key.split("/", 1)
        heard = measuring.heard.get((name, life))
        if heard:
            returns = any(other == name and spans[0] > heard[1] for (other, _), spans in measuring.heard.items())
            found.append((heard[1] - first, returns))
    return sorted(found)


def _cost(log: Source, pool: int, first: UnixMs, last: UnixMs) -> Cost:
    cost = Cost()
    for entry in _within(log, FORECASTS, pool, first, last):
        if isinstance(entry.record, Forecasts) and entry.record.cost is not None:
            cost = entry.record.cost
    return cost


def _phi(demand: tuple[Entry, ...]) -> tuple[float, ...]:
    """Quantiles of bit rate over throughput, as origins told of both."""
    shares: list[float] = []
    for entry in demand:
        record: Any = entry.record
        for seen in record.channels if isinstance(record, Demand) else ():
            sessions = seen.whole_sessions + seen.part_sessions + seen.chunked_sessions
            if sessions and seen.sent_bytes and seen.throughput_kbps_p50 > 0:
                shares.append(min(1.0, max(0.01, seen.sent_bytes / 125 / sessions / seen.throughput_kbps_p50)))
    shares.sort()
    return tuple(shares[int(q * (len(shares) - 1))] for q in QUANTILES) if shares else ()

"""
One bounded fold per input topic.

Each step is a pure function of the row and one record. Rows forget what is older than the memory by the broker time of their own
topic's records, and `recent` cuts what is older than a decision may read; so what decisions read follows from the records of the last
``memory_ms`` alone (and from the compacted `channels`), wherever the reading of the log began.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from schemas.records import (
    ChannelDemand,
    Demand,
    Fault,
    Forecasts,
    Gop,
    Heartbeat,
    Outcome,
    Packaging,
    Period,
    PeriodEnd,
    Reason,
    Reports,
    Void,
)
from schemas.settings import MINUTE_MS
from schemas.timeline import frames_per_gop, gops_per_segment_max
from schemas.units import UnixMs
from streams.core.rows import (
    ChannelAudience,
    ChannelRow,
    DemandRow,
    Failure,
    ForecastRow,
    GopsRow,
    HeartbeatRow,
    Interval,
    Pulse,
    ReportRow,
    Row,
    Run,
    Segment,
)

MEMORY_MS = 5 * MINUTE_MS
# Periods of a channel that segments still in memory may belong to; more within minutes is a broken encoder.
PERIODS_MAX = 8
# At one GOP of 1 s per segment this is the whole memory; a longer backlog is read from the assignment's own offset.
SEGMENTS_MAX = 300
CHANNELS_MAX = 2_000
LIVES_MAX = 4
# Heartbeats missing in a row that make a gap.
GAP_BEATS = 3
RUNS_MAX = 4_096
# What retention took fails a segment per chunk read: more than a packager reads between two ticks.
FAILURES_MAX = 1_024
# Runs are kept per interval, so that forgetting needs no time per segment.
INTERVAL_MS = 10_000
# Demand is counted per minute and origin: five of them in a memory of five minutes.
DEMAND_INTERVAL_MS = MINUTE_MS


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """
    How the records of one topic become rows.

    Attributes:
        row: Type of its rows.
        key: Key of the row that a record belongs to.
        step: Row and record to the next row; the row's offset and time are filled in by `absorb`.
        recent: What of a row a decision may read, given the oldest broker time it looks back to; nothing left: None.
    """

    row: type[Any]
    key: Callable[[Any], str]
    step: Callable[[Any, Any, int, UnixMs, UnixMs], Any]
    recent: Callable[[Any, UnixMs], Any]

    def absorb(self, row: Any, record: Any, *, offset: int, at: UnixMs, memory_ms: int = MEMORY_MS) -> Any:
        """
        The row after a record; the row itself if it includes the record already.

        Args:
            row: Row of the record's key; None if there is none.
            record: Record of the topic.
            offset: Its offset.
            at: Its broker time.
            memory_ms: How long rows remember.

        Raises:
            RejectedError: The record describes what cannot be packaged; the row stays as it is.
        """
        if row is not None and offset <= row.offset:
            return row
        return self.step(row, record, offset, at, UnixMs(at - memory_ms))


# ---------------------------------------------------------------- channels


def _channels(row: ChannelRow | None, record: Period | PeriodEnd, offset: int, at: UnixMs, since: UnixMs) -> ChannelRow:
    del since  # compacted: not bounded by time
    row = row or ChannelRow(offset=offset, at_unix_ms=at)
    if isinstance(record, PeriodEnd):
        ends = (*(end for end in row.ends if end.period != record.period), record)
        return replace(row, offset=offset, at_unix_ms=at, ends=ends[-PERIODS_MAX:])
    # A GOP longer than the target duration is refused here, so that no decision meets one.
    gops_per_segment_max(
        gop_frames=frames_per_gop(record),
        frame_rate_num=record.frame_rate_num,
        frame_rate_den=record.frame_rate_den,
        target_duration_ms=record.target_duration_ms,
    )
    lean = replace(record, tracks=tuple(replace(track, init=b"") for track in record.tracks))
    periods = sorted((*(p for p in row.periods if p.period != lean.period), lean), key=lambda p: p.period)
    return replace(row, offset=offset, at_unix_ms=at, periods=tuple(periods[-PERIODS_MAX:]))


def _always(row: ChannelRow, since: UnixMs) -> ChannelRow:
    del since
    return row


# ---------------------------------------------------------------- gops


def _gops(row: GopsRow | None, gop: Gop, offset: int, at: UnixMs, since: UnixMs) -> GopsRow:
    segments = _opened(row.segments, since) if row else ()
    last = segments[-1] if segments else None
    size, chunks = sum(track.size for track in gop.tracks), sum(track.chunk_count for track in gop.tracks)
    if last and (last.msn, last.period) == (gop.msn, gop.period):
        if gop.gop == last.first_gop + last.seen_gops:
            grown = replace(
                last,
                seen_gops=last.seen_gops + 1,
                size=last.size + size,
                chunk_count=last.chunk_count + chunks,
                tail_offset=gop.first_offset,
                durable_unix_ms=max(at, gop.durable_unix_ms),
            )
            segments = (*segments[:-1], grown)
    elif gop.gop == gop.first_gop and (last is None or gop.period > last.period or gop.msn > last.msn):
        # A segment whose beginning was not seen stays unknown: its first offset is not in what was read.
        opened = Segment(
            msn=gop.msn,
            period=gop.period,
            first_gop=gop.first_gop,
            gop_count=gop.gop_count,
            seen_gops=1,
            size=size,
            chunk_count=chunks,
            first_offset=gop.first_offset,
            tail_offset=gop.first_offset,
            opened_unix_ms=at,
            durable_unix_ms=max(at, gop.durable_unix_ms),
        )
        # A segment left empty by a period's end gives its number to the next period.
        segments = (*(s for s in segments if s.msn < gop.msn), opened)[-SEGMENTS_MAX:]
    return GopsRow(offset=offset, at_unix_ms=at, segments=segments)


def _opened(segments: tuple[Segment, ...], since: UnixMs) -> tuple[Segment, ...]:
    # What was reported of one that opened in an interval that began before the memory is forgotten (`_whole_intervals`).
    cut, since = 0, UnixMs(-(-since // INTERVAL_MS) * INTERVAL_MS)
    while cut < len(segments) and segments[cut].opened_unix_ms < since:
        cut += 1
    return segments[cut:] if cut else segments


def _recent_gops(row: GopsRow, since: UnixMs) -> GopsRow | None:
    if row.at_unix_ms < since:
        return None
    segments = _opened(row.segments, since)
    return row if segments is row.segments else replace(row, segments=segments)


# ---------------------------------------------------------------- demand


def _demand(row: DemandRow | None, demand: Demand, offset: int, at: UnixMs, since: UnixMs) -> DemandRow:
    seen = {audience.channel: audience for audience in row.channels if audience.at_unix_ms >= since} if row else {}
    for channel in demand.channels:
        seen[channel.channel] = _audience(seen.get(channel.channel), channel, offset, at, since)
    newest = sorted(seen.values(), key=lambda a: (-a.at_unix_ms, a.channel))[:CHANNELS_MAX]
    return DemandRow(offset=offset, at_unix_ms=at, channels=tuple(sorted(newest, key=lambda a: a.channel)))


def _audience(before: ChannelAudience | None, demand: ChannelDemand, offset: int, at: UnixMs, since: UnixMs) -> ChannelAudience:
    low_latency = demand.part_sessions + demand.chunked_sessions
    asked = demand.first_request or demand.low_latency_requests > 0
    is_active = bool(demand.whole_sessions or low_latency or demand.requests or demand.joins or asked)
    wants_parts = low_latency > 0 or demand.low_latency_requests > 0
    return ChannelAudience(
        channel=demand.channel,
        at_unix_ms=at,
        whole_sessions=demand.whole_sessions,
        low_latency_sessions=low_latency,
        arrivals=demand.joins + demand.seeks + demand.switches + demand.stalls,
        buffer_ms_p10=demand.buffer_ms_p10,
        active_unix_ms=at if is_active else before.active_unix_ms if before else UnixMs(0),
        asked_unix_ms=at if asked else before.asked_unix_ms if before else UnixMs(0),
        asked_offset=offset if asked else before.asked_offset if before else 0,
        low_latency_unix_ms=at if wants_parts else before.low_latency_unix_ms if before else UnixMs(0),
        joins=demand.joins,
        intervals=_counted(_begun(before.intervals, since) if before else (), demand, at // DEMAND_INTERVAL_MS),
    )


def _counted(intervals: tuple[Interval, ...], demand: ChannelDemand, number: int) -> tuple[Interval, ...]:
    """Intervals with one record more."""
    is_new = not intervals or intervals[-1].number != number
    last = Interval(number=number) if is_new else intervals[-1]
    low_latency = demand.part_sessions + demand.chunked_sessions
    # Origins that do not tell the classes of requests apart: only where all sessions are of one class it can be known.
    whole = demand.whole_requests or (0 if low_latency or demand.low_latency_requests else demand.requests)
    told_s = demand.whole_sessions + low_latency if demand.throughput_kbps_p50 > 0 else 0
    grown = Interval(
        number=number,
        joins=last.joins + demand.joins,
        returns=last.returns + demand.seeks + demand.switches + demand.stalls,
        whole_requests=last.whole_requests + whole,
        whole_s=last.whole_s + demand.whole_sessions,
        low_latency_s=last.low_latency_s + low_latency,
        told_s=last.told_s + told_s,
        told_kbits=last.told_kbits + told_s * demand.throughput_kbps_p50,
    )
    return (*intervals, grown) if is_new else (*intervals[:-1], grown)


def _begun(intervals: tuple[Interval, ...], since: UnixMs) -> tuple[Interval, ...]:
    # As with reports: an interval that began before the memory may have been read in part only.
    cut = 0
    while cut < len(intervals) and intervals[cut].number * DEMAND_INTERVAL_MS < since:
        cut += 1
    return intervals[cut:] if cut else intervals


def _recent_demand(row: DemandRow, since: UnixMs) -> DemandRow | None:
    if row.at_unix_ms < since:
        return None
    kept = tuple(audience for audience in row.channels if audience.at_unix_ms >= since)
    if any(audience.intervals and audience.intervals[0].number * DEMAND_INTERVAL_MS < since for audience in kept):
        kept = tuple(replace(audience, intervals=_begun(audience.intervals, since)) for audience in kept)
    elif len(kept) == len(row.channels):
        return row
    return replace(row, channels=kept)


# ---------------------------------------------------------------- heartbeats


def _heartbeats(row: HeartbeatRow | None, heartbeat: Heartbeat, offset: int, at: UnixMs, since: UnixMs) -> HeartbeatRow:
    others = tuple(p for p in row.pulses if p.at_unix_ms >= since and p.heartbeat.life != heartbeat.life) if row else ()
    before = next((p for p in row.pulses if p.at_unix_ms >= since and p.heartbeat.life == heartbeat.life), None) if row else None
    is_steady = before is not None and at - before.at_unix_ms <= GAP_BEATS * heartbeat.interval_ms
    pulse = Pulse(
        heartbeat=heartbeat,
        at_unix_ms=at,
        offset=offset,
        first_unix_ms=before.first_unix_ms if before else at,
        steady_unix_ms=before.steady_unix_ms if before and is_steady else at,
    )
    return HeartbeatRow(offset=offset, at_unix_ms=at, pulses=(*others, pulse)[-LIVES_MAX:])


def _recent_heartbeats(row: HeartbeatRow, since: UnixMs) -> HeartbeatRow | None:
    if row.at_unix_ms < since:
        return None
    kept = tuple(pulse for pulse in row.pulses if pulse.at_unix_ms >= since)
    return row if len(kept) == len(row.pulses) else replace(row, pulses=kept)


# ---------------------------------------------------------------- forecasts


def _forecasts(row: ForecastRow | None, forecasts: Forecasts, offset: int, at: UnixMs, since: UnixMs) -> ForecastRow:
    del row, since
    return ForecastRow(offset=offset, at_unix_ms=at, forecasts=forecasts)


def _recent_forecasts(row: ForecastRow, since: UnixMs) -> ForecastRow | None:
    return row if row.at_unix_ms >= since else None


# ---------------------------------------------------------------- reports


def _reports(row: ReportRow | None, record: Reports | Packaging | Void, offset: int, at: UnixMs, since: UnixMs) -> ReportRow:
    runs = list(_whole_intervals(row.runs, since)) if row else []
    failures = list(_newer(row.failures, since)) if row else []
    if isinstance(record, Void):
        _extend(runs, _run(record.channel, (record.track,), record.msn, at, UnixMs(0), is_late=record.reason is Reason.LATE))
    elif isinstance(record, Reports):
        published: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for segment in record.segments:
            if segment.outcome is Outcome.PUBLISHED:
                published.setdefault((segment.channel, segment.msn), []).append((segment.track, segment.durable_unix_ms))
            else:
                failures.append(
                    Failure(
                        channel=segment.channel,
                        period=segment.period,
                        track=segment.track,
                        msn=segment.msn,
                        slice_id=segment.slice_id,
                        epoch=segment.epoch,
                        packager_id=record.packager_id,
                        fault=segment.fault or Fault.OWN,
                        start_ticks=segment.start_ticks,
                        duration_ticks=segment.duration_ticks,
                        at_unix_ms=at,
                        offset=offset,
                    )
                )
        for (channel, msn), tracks in sorted(published.items()):
            durable = UnixMs(max(time for _, time in tracks))
            _extend(runs, _run(channel, tuple(sorted({track for track, _ in tracks})), msn, at, durable))
    return ReportRow(offset=offset, at_unix_ms=at, runs=tuple(runs[-RUNS_MAX:]), failures=tuple(failures[-FAILURES_MAX:]))


def _run(channel: str, tracks: tuple[str, ...], msn: int, at: UnixMs, durable: UnixMs, *, is_late: bool = False) -> Run:
    return Run(
        interval=at // INTERVAL_MS,
        channel=channel,
        tracks=tracks,
        first_msn=cast(Any, msn),
        last_msn=cast(Any, msn),
        durable_unix_ms=durable,
        published_unix_ms=at,
        late_ms_max=at - durable if durable else 0,
        is_late=is_late,
    )


def _extend(runs: list[Run], new: Run) -> None:
    """Add one segment to the run that it continues within its interval, else as a run of its own."""
    for i in range(len(runs) - 1, -1, -1):
        run = runs[i]
        if run.interval != new.interval:
            break
        is_same = (run.channel, run.tracks, run.is_late) == (new.channel, new.tracks, new.is_late)
        if is_same and run.first_msn <= new.first_msn <= run.last_msn + 1:
            runs[i] = replace(
                new,
                first_msn=run.first_msn,
                last_msn=max(run.last_msn, new.last_msn),
                durable_unix_ms=max(run.durable_unix_ms, new.durable_unix_ms),
                late_ms_max=max(run.late_ms_max, new.late_ms_max),
            )
            return
    runs.append(new)


def _whole_intervals(runs: tuple[Run, ...], since: UnixMs) -> tuple[Run, ...]:
    # An interval that began before the memory may have been read in part only: it does not count at all.
    cut = 0
    while cut < len(runs) and runs[cut].interval * INTERVAL_MS < since:
        cut += 1
    return runs[cut:] if cut else runs


def _newer(failures: tuple[Failure, ...], since: UnixMs) -> tuple[Failure, ...]:
    return tuple(f for f in failures if f.at_unix_ms >= since) if failures and failures[0].at_unix_ms < since else failures


def _recent_reports(row: ReportRow, since: UnixMs) -> ReportRow | None:
    if row.at_unix_ms < since:
        return None
    runs, failures = _whole_intervals(row.runs, since), _newer(row.failures, since)
    return row if runs is row.runs and failures is row.failures else replace(row, runs=runs, failures=failures)


def _report_key(record: Reports | Packaging | Void) -> str:
    # Ids have no slash, so that a packager and a channel of one name have two rows.
    return record.packager_id if isinstance(record, Reports) else f"channel/{record.channel}"


FOLDS: dict[str, Fold] = {
    "channels": Fold(row=ChannelRow, key=lambda r: cast(str, r.channel), step=_channels, recent=_always),
    "gops": Fold(row=GopsRow, key=lambda r: cast(str, r.channel), step=_gops, recent=_recent_gops),
    "demand": Fold(row=DemandRow, key=lambda r: cast(str, r.origin_id), step=_demand, recent=_recent_demand),
    "heartbeats": Fold(row=HeartbeatRow, key=lambda r: cast(str, r.packager_id), step=_heartbeats, recent=_recent_heartbeats),
    "forecasts": Fold(row=ForecastRow, key=lambda r: str(r.pool), step=_forecasts, recent=_recent_forecasts),
    "reports": Fold(row=ReportRow, key=_report_key, step=_reports, recent=_recent_reports),
}

__all__ = ["DEMAND_INTERVAL_MS", "FOLDS", "INTERVAL_MS", "MEMORY_MS", "Fold", "Row"]

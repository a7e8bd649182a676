"""
What a low-latency MPD says beyond the plain one: the open segment, how early segments may be asked for, the latency to aim at.

The relations were measured in dash.js and Shaka Player, with segments of 1, 2 and 4 s mixed at will. All of it is constant for a
channel's life, whatever its segments' lengths are.
"""

from collections.abc import Iterator

from packager.manifest.view import Segment, TrackSegment, View
from schemas.records import Period, Track, TrackKind
from schemas.timeline import gop_start
from schemas.units import Ms, Ticks, ms_from_ticks

# dash.js never reloads faster, so that this much of what is listed may be old.
RELOAD_MS = 1_000
# Playback this much slower or faster is not noticed.
RATE_MIN, RATE_MAX = "0.96", "1.04"


def offset_ms(period: Period) -> Ms:
    """
    ``availabilityTimeOffset``: the longest segment can be asked for once its first part is there.

    It must not follow the length of the open segment: Shaka Player keeps the smallest it ever saw (media section 4).
    """
    return Ms(period.target_duration_ms - period.part_target_ms)


def latency_ms(period: Period) -> Ms:
    """The latency to aim at: what dash.js needs to hear of a segment, a part being made, and one in the buffer."""
    return Ms(RELOAD_MS + 2 * period.part_target_ms)


def suggested_delay_ms(period: Period) -> Ms:
    """
    ``suggestedPresentationDelay``, for those who do not read the service description.

    Shaka Player counts it from the end of the open segment as listed, less the availability offset; both may be a whole one away.
    """
    return Ms(latency_ms(period) + 2 * offset_ms(period))


def service_description(period: Period) -> str:
    """The latency to aim at, and how fast playback may be made to come there."""
    latency = f'<Latency target="{latency_ms(period)}" min="{RELOAD_MS}" max="{4 * period.target_duration_ms}"/>'
    return f'<ServiceDescription id="0">{latency}<PlaybackRate min="{RATE_MIN}" max="{RATE_MAX}"/></ServiceDescription>'


def resync(period: Period, track: Track) -> Iterator[str]:
    """Where inside a segment a decoder may begin: at every GOP of a video track, at any chunk of the others."""
    if track.kind is TrackKind.VIDEO:
        yield f'<Resync type="1" dT="{gop_start(period, track, 1) - gop_start(period, track, 0)}"/>'


def stamped_ticks(made: TrackSegment) -> Ticks:
    """
    The duration that a segment was announced with when it opened.

    The end of its period may have cut it short. What was announced is not edited: the start of the next Period clips it (media rules
    27 and 32).
    """
    return made.parts[0].segment_ticks if made.parts else made.duration_ticks


def open_segment(view: View) -> Segment | None:
    """The open segment with the length it was stamped with, once its first part is there in all tracks; else None."""
    period = view.open_period
    if view.is_ended or not view.open_count or view.open_parts.keys() != {track.track for track in period.tracks}:
        return None
    tracks = {
        name: TrackSegment(parts[0].segment_start_ticks, parts[0].segment_ticks, 0, is_void=False, parts=parts)
        for name, parts in view.open_parts.items()
    }
    clock = period.tracks[0]
    start, ticks = tracks[clock.track].start_ticks, tracks[clock.track].duration_ticks
    start_ms = ms_from_ticks(start, clock.timescale)
    last = view.segments[-1] if view.segments else None
    run_msn, run_ms = period.first_msn, Ms(period.anchor_unix_ms - period.zero_unix_ms)
    if last is not None and last.period.period == period.period:
        run_msn, run_ms = (view.open_msn, start_ms) if last.is_void else (last.run_msn, last.run_ms)
    return Segment(
        msn=view.open_msn,
        period=period,
        start_ms=start_ms,
        end_ms=ms_from_ticks(start + ticks, clock.timescale),
        run_msn=run_msn,
        run_ms=run_ms,
        tracks=tracks,
    )

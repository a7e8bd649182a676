"""
DASH as text: the plain MPD, with complete segments only; the low-latency MPD, which announces the open one; the MPD of what has ended.

Pure functions of a `View` (ISO/IEC 23009-1, DASH-IF timing model): SegmentTimeline with ``$Time$``, so that any mix of segment
lengths is exact (media rules 25 to 32).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import quoteattr

from packager.manifest import thumbnails
from packager.manifest.hls import HOLD_BACK_TARGETS
from packager.manifest.low_latency import offset_ms, open_segment, resync, service_description, stamped_ticks, suggested_delay_ms
from packager.manifest.presentation import Segment, TrackSegment, View
from packager.manifest.text import date_time
from schemas.records import Period, Track, TrackKind
from schemas.timeline import INIT_NAME, SEGMENT_SUFFIX, source_track, unix_ms_at
from schemas.units import UnixMs, ticks_from_ms

UPDATE_MS = 1_000  # dash.js never reloads faster
BUFFER_MS = 1_000
# A segment's rounded length may not exceed the target (schemas.timeline.gops_per_segment_max), so it may be this much longer.
LONGER_MS_MAX = 500
# More tracks than any period has: ids of producer reference times do not collide.
TRACKS_MAX = 64
HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """
    Which MPD.

    Attributes:
        pictures: Thumbnails.
        low_latency: With the open segment, and what low-latency players read.
        clock: The UTCTiming element; empty where nobody needs the time.
        pictures: What is known of the thumbnails of segments.
        base: First segment of a presentation that begins at 0; None where it keeps the channel's timeline.
    """

    low_latency: bool
    clock: str
    pictures: Mapping[int, TrackSegment]
    base: Segment | None = None


def manifest(view: View, *, time_url: str, low_latency: bool = False) -> str:
    """
    The MPD of a channel: dynamic while it goes on, static once it has ended.

    Args:
        view: State to render.
        time_url: Where a client reads the time, relative to the MPD or absolute.
        low_latency: With the open segment, listed once its first part is there, with the length it was stamped with (media rule 32).
    """
    # `direct` costs dash.js up to a second and makes its rate wobble.
    clock = f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value={quoteattr(time_url)}/>'
    form = _Form(low_latency=low_latency, clock=clock, pictures=view.pictures)
    opened = open_segment(view) if low_latency else None
    segments = view.segments if opened is None else (*view.segments, opened)
    period, edge = view.period, view.segments[-1] if view.segments else None
    allowance_ms = period.publish_allowance_ms
    end_ms = edge.end_ms if view.is_ended and edge is not None else None
    attributes = {
        "type": "dynamic" if end_ms is None else "static",
        "availabilityStartTime": date_time(UnixMs(period.zero_unix_ms + allowance_ms)),
        "publishTime": date_time(UnixMs(_changed_unix_ms(view, opened) + allowance_ms)),
    }
    if end_ms is not None:
        # It has a length and is not asked for again. Media rule 25: its periods stay where they are.
        attributes["mediaPresentationDuration"] = duration(end_ms)
    else:
        attributes["minimumUpdatePeriod"] = duration(period.part_target_ms if low_latency else UPDATE_MS)
        attributes["timeShiftBufferDepth"] = duration(period.time_shift_ms)
        delay_ms = suggested_delay_ms(period) if low_latency else HOLD_BACK_TARGETS * period.target_duration_ms
        attributes["suggestedPresentationDelay"] = duration(delay_ms)
    return _document(period, attributes, [service_description(period)] if low_latency else [], segments, form)


def finished(view: View) -> str:
    """The MPD of a channel that has ended, to be kept: it begins at 0 and needs no clock; thumbnails may lag behind and are left out."""
    base, edge = view.segments[0], view.segments[-1]
    form = _Form(low_latency=False, clock="", pictures={}, base=base)
    attributes = {"type": "static", "mediaPresentationDuration": duration(edge.end_ms - base.start_ms)}
    return _document(view.period, attributes, [], view.segments, form)


def _document(period: Period, attributes: Mapping[str, str], head: list[str], segments: tuple[Segment, ...], form: _Form) -> str:
    longest = {"minBufferTime": duration(BUFFER_MS), "maxSegmentDuration": duration(period.target_duration_ms + LONGER_MS_MAX)}
    written = "".join(f" {name}={quoteattr(value)}" for name, value in {**attributes, **longest}.items())
    lines = [f"{HEADER}{written}>", *head]
    for run in _runs(segments):
        lines += _period(run, form)
    lines += [form.clock] if form.clock else []
    return "\n".join([*lines, "</MPD>"]) + "\n"


def _changed_unix_ms(view: View, opened: Segment | None) -> UnixMs:
    """Media time at which what the MPD says changed last, so that it rises with content and only then (media rule 25)."""
    if opened is not None:
        first = opened.tracks[opened.period.tracks[0].track].parts[0]
        return unix_ms_at(opened.period, opened.period.tracks[0], first.start_ticks + first.duration_ticks)
    if not view.segments:
        return view.period.anchor_unix_ms
    edge = view.segments[-1]
    track = edge.period.tracks[0]
    made = edge.tracks[track.track]
    return UnixMs(unix_ms_at(edge.period, track, made.start_ticks + made.duration_ticks) + view.is_ended)


def _runs(segments: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Stretches without a hole in one period. Media rule 21: after a hole a new Period begins."""
    for _, run in groupby((s for s in segments if not s.is_void), key=lambda s: (s.period.period, s.run_msn)):
        yield list(run)


def _period(run: list[Segment], form: _Form) -> Iterator[str]:
    first, period = run[0], run[0].period
    name = str(period.period) if first.run_msn == period.first_msn else f"{period.period}-{first.run_msn}"
    start_ms = first.run_ms if form.base is None else max(0, first.run_ms - form.base.start_ms)
    yield f'<Period id="{name}" start="{duration(start_ms)}">'
    sets = [[track for track in period.tracks if track.kind is TrackKind.VIDEO]]
    sets += _by_language([track for track in period.tracks if track.kind is TrackKind.AUDIO and not track.is_text])
    sets += [[track] for track in period.tracks if track.is_text]
    for number, tracks in enumerate(sets):
        if tracks:
            yield from _adaptation_set(number, tracks, run, form)
    if period.thumbnails:
        offset = _offset(source_track(period, period.thumbnails), first, form)
        yield from thumbnails.adaptation_set(form.pictures, run, len(sets), offset_ticks=offset)
    yield "</Period>"


def _by_language(audios: list[Track]) -> list[list[Track]]:
    sets: dict[tuple[str, str, int], list[Track]] = {}
    for track in audios:
        sets.setdefault((track.language, track.codec.partition(".")[0], track.audio_channels), []).append(track)
    return list(sets.values())


def _adaptation_set(number: int, tracks: list[Track], run: list[Segment], form: _Form) -> Iterator[str]:
    kind, period = tracks[0].kind, run[0].period
    language = "" if tracks[0].language == "und" else f" lang={quoteattr(tracks[0].language)}"
    rate = f' maxFrameRate="{period.frame_rate_num}/{period.frame_rate_den}"' if kind is TrackKind.VIDEO else ""
    content, mime = ("text", "application/mp4") if tracks[0].is_text else (kind.value, f"{kind.value}/mp4")
    aligned = f'contentType="{content}" mimeType="{mime}" segmentAlignment="true" startWithSAP="1"'
    yield f'<AdaptationSet id="{number}" {aligned}{language}{rate}>'
    if tracks[0].is_text:
        yield '<Role schemeIdUri="urn:mpeg:dash:role:2011" value="subtitle"/>'
    templates = [list(_template(track, run, form)) for track in tracks]
    references = [list(_reference(track, run[0], form)) for track in tracks]
    is_shared = all(template == templates[0] for template in templates)
    if is_shared:
        yield from (*references[0], *templates[0])
    for track, reference, template in zip(tracks, references, templates, strict=True):
        yield from _representation(track, period, [] if is_shared else [*reference, *template])
    yield "</AdaptationSet>"


def _representation(track: Track, period: Period, template: list[str]) -> Iterator[str]:
    attributes = f'id="{track.track}" bandwidth="{track.bandwidth_bps}" codecs={quoteattr(track.codec)}'
    if track.kind is TrackKind.VIDEO:
        rate = f"{period.frame_rate_num}/{period.frame_rate_den}"
        attributes += f' width="{track.width}" height="{track.height}" frameRate="{rate}" sar="1:1"'
    elif not track.is_text:
        attributes += f' audioSamplingRate="{track.sample_rate_hz}"'
    channels = (
        f'<AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="{track.audio_channels}"/>'
    )
    inner = [channels] if track.audio_channels else []
    inner += template
    if not inner:
        yield f"<Representation {attributes}/>"
        return
    yield f"<Representation {attributes}>"
    yield from inner
    yield "</Representation>"


def _reference(track: Track, first: Segment, form: _Form) -> Iterator[str]:
    """When the period's first sample was taken, by the clock that players are told of, and where a decoder may begin."""
    if not form.low_latency:
        return
    period = first.period
    number = first.run_msn * TRACKS_MAX + period.tracks.index(track)
    yield (
        f'<ProducerReferenceTime id="{number}" type="encoder" inband="false" wallClockTime="{date_time(period.anchor_unix_ms)}" '
        f'presentationTime="{track.start_ticks}">{form.clock}</ProducerReferenceTime>'
    )
    yield from resync(period, track)


def _template(track: Track, run: list[Segment], form: _Form) -> Iterator[str]:
    period = run[0].period
    early = f' availabilityTimeOffset="{seconds(offset_ms(period))}" availabilityTimeComplete="false"' if form.low_latency else ""
    folder = f"../{period.period}/$RepresentationID$"
    yield (
        f'<SegmentTemplate timescale="{track.timescale}" presentationTimeOffset="{_offset(track, run[0], form)}" '
        f'initialization="{folder}/{INIT_NAME}" media="{folder}/$Time${SEGMENT_SUFFIX}"{early}><SegmentTimeline>'
    )
    for segment in run:
        made = segment.tracks[track.track]
        yield f'<S t="{made.start_ticks}" d="{stamped_ticks(made) if form.low_latency else made.duration_ticks}"/>'
    yield "</SegmentTimeline></SegmentTemplate>"


def _offset(track: Track, first: Segment, form: _Form) -> int:
    """The tick at which the Period starts."""
    period = first.period
    if form.base is not None and first is form.base:
        clock = period.tracks[0]
        ticks = first.tracks[clock.track].start_ticks
        return (2 * ticks * track.timescale + clock.timescale) // (2 * clock.timescale)
    return track.start_ticks if first.run_msn == period.first_msn else ticks_from_ms(first.run_ms, track.timescale)


def duration(ms: int) -> str:
    """
    An XML Schema duration in seconds.

    >>> duration(1500), duration(12000)
    ('PT1.5S', 'PT12S')
    """
    return f"PT{seconds(ms)}S"


def seconds(ms: int) -> str:
    """
    Milliseconds as a decimal number of seconds.

    >>> seconds(3466), seconds(4000)
    ('3.466', '4')
    """
    return f"{ms // 1_000}.{ms % 1_000:03}".rstrip("0").rstrip(".")

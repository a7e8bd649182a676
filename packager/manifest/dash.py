"""
DASH as text: the plain MPD, with complete segments only.

A pure function of a `View` (ISO/IEC 23009-1, DASH-IF timing model): SegmentTimeline with ``$Time$``, so that any mix of segment
lengths is exact (media rules 25 to 30).
"""

from collections.abc import Iterator
from itertools import groupby
from xml.sax.saxutils import quoteattr

from packager.manifest.hls import HOLD_BACK_TARGETS, date_time
from packager.manifest.presentation import Segment, View
from schemas.records import Period, Track, TrackKind
from schemas.timeline import INIT_NAME, SEGMENT_SUFFIX, unix_ms_at
from schemas.units import UnixMs, ticks_from_ms

UPDATE_MS = 1_000  # dash.js never reloads faster
BUFFER_MS = 1_000
# A segment's rounded length may not exceed the target (schemas.timeline.gops_per_segment_max), so it may be this much longer.
LONGER_MS_MAX = 500
HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="dynamic"'
)


def manifest(view: View, *, time_url: str) -> str:
    """
    The plain MPD.

    Args:
        view: State to render.
        time_url: Where a client reads the time, relative to the MPD or absolute.
    """
    period = view.period
    allowance_ms = period.publish_allowance_ms
    edge = view.segments[-1] if view.segments else None
    published = UnixMs(_edge_unix_ms(edge) + allowance_ms) if edge else period.anchor_unix_ms
    attributes = {
        "availabilityStartTime": date_time(UnixMs(period.zero_unix_ms + allowance_ms)),
        "publishTime": date_time(published),
        "timeShiftBufferDepth": duration(period.time_shift_ms),
        "suggestedPresentationDelay": duration(HOLD_BACK_TARGETS * period.target_duration_ms),
        "minBufferTime": duration(BUFFER_MS),
        "maxSegmentDuration": duration(period.target_duration_ms + LONGER_MS_MAX),
    }
    # A channel that ended has a length and is not asked for again.
    attributes |= (
        {"mediaPresentationDuration": duration(edge.end_ms)} if view.is_ended and edge else {"minimumUpdatePeriod": duration(UPDATE_MS)}
    )
    lines = [HEADER + "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items()) + ">"]
    for run in _runs(view.segments):
        lines += _period(run)
    lines.append(f'<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value={quoteattr(time_url)}/>')
    lines.append("</MPD>")
    return "\n".join(lines) + "\n"


def _edge_unix_ms(edge: Segment) -> UnixMs:
    track = edge.period.tracks[0]
    made = edge.tracks[track.track]
    return unix_ms_at(edge.period, track, made.start_ticks + made.duration_ticks)


def _runs(segments: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Stretches without a hole in one period. Media rule 21: after a hole a new Period begins."""
    for _, run in groupby((s for s in segments if not s.is_void), key=lambda s: (s.period.period, s.run_msn)):
        yield list(run)


def _period(run: list[Segment]) -> Iterator[str]:
    first, period = run[0], run[0].period
    name = str(period.period) if first.run_msn == period.first_msn else f"{period.period}-{first.run_msn}"
    yield f'<Period id="{name}" start="{duration(first.run_ms)}">'
    sets = [[track for track in period.tracks if track.kind is TrackKind.VIDEO]]
    sets += _by_language([track for track in period.tracks if track.kind is TrackKind.AUDIO])
    for number, tracks in enumerate(sets):
        if tracks:
            yield from _adaptation_set(number, tracks, run)
    yield "</Period>"


def _by_language(audios: list[Track]) -> list[list[Track]]:
    sets: dict[tuple[str, str, int], list[Track]] = {}
    for track in audios:
        sets.setdefault((track.language, track.codec.partition(".")[0], track.audio_channels), []).append(track)
    return list(sets.values())


def _adaptation_set(number: int, tracks: list[Track], run: list[Segment]) -> Iterator[str]:
    kind, period = tracks[0].kind, run[0].period
    language = "" if tracks[0].language == "und" else f" lang={quoteattr(tracks[0].language)}"
    rate = f' maxFrameRate="{period.frame_rate_num}/{period.frame_rate_den}"' if kind is TrackKind.VIDEO else ""
    yield (
        f'<AdaptationSet id="{number}" contentType="{kind.value}" mimeType="{kind.value}/mp4" segmentAlignment="true" startWithSAP="1"'
        f"{language}{rate}>"
    )
    templates = [list(_template(track, run)) for track in tracks]
    is_shared = all(template == templates[0] for template in templates)
    if is_shared:
        yield from templates[0]
    for track, template in zip(tracks, templates, strict=True):
        yield from _representation(track, period, [] if is_shared else template)
    yield "</AdaptationSet>"


def _representation(track: Track, period: Period, template: list[str]) -> Iterator[str]:
    attributes = f'id="{track.track}" bandwidth="{track.bandwidth_bps}" codecs={quoteattr(track.codec)}'
    if track.kind is TrackKind.VIDEO:
        rate = f"{period.frame_rate_num}/{period.frame_rate_den}"
        attributes += f' width="{track.width}" height="{track.height}" frameRate="{rate}" sar="1:1"'
    else:
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


def _template(track: Track, run: list[Segment]) -> Iterator[str]:
    period, start_ms = run[0].period, run[0].run_ms
    is_whole = run[0].run_msn == period.first_msn
    offset = track.start_ticks if is_whole else ticks_from_ms(start_ms, track.timescale)
    folder = f"../{period.period}/$RepresentationID$"
    yield (
        f'<SegmentTemplate timescale="{track.timescale}" presentationTimeOffset="{offset}" initialization="{folder}/{INIT_NAME}" '
        f'media="{folder}/$Time${SEGMENT_SUFFIX}"><SegmentTimeline>'
    )
    for segment in run:
        made = segment.tracks[track.track]
        yield f'<S t="{made.start_ticks}" d="{made.duration_ticks}"/>'
    yield "</SegmentTimeline></SegmentTemplate>"


def duration(ms: int) -> str:
    """
    An XML Schema duration in seconds.

    >>> duration(1500), duration(12000)
    ('PT1.5S', 'PT12S')
    """
    seconds = f"{ms // 1_000}.{ms % 1_000:03}".rstrip("0").rstrip(".")
    return f"PT{seconds}S"

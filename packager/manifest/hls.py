"""
HLS as text: the multivariant playlist and the media playlists, with parts and without.

Pure functions of a `View` (RFC 8216bis, draft-pantos-hls-rfc8216bis-22). Whoever renders the same view writes the same bytes.
"""

from collections.abc import Iterator

from packager.manifest import thumbnails
from packager.manifest.presentation import PART_TARGETS, Segment, TrackSegment, View
from packager.manifest.text import date_time, decimal
from schemas.records import Part, Period, Track, TrackKind
from schemas.timeline import INIT_NAME, PART_SUFFIX, SEGMENT_SUFFIX, WEBVTT_PART_SUFFIX, WEBVTT_SUFFIX, unix_ms_at
from schemas.units import Ticks

VERSION_PLAIN = 8  # EXT-X-GAP
VERSION_LOW_LATENCY = 9  # EXT-X-SKIP
HOLD_BACK_TARGETS = 3
SKIP_TARGETS = 6  # RFC 8216bis 4.4.3.8: at least six target durations
SKIP_MARGIN_MS = 100  # segments of sound may together be a few frames shorter than those of the picture
PART_HOLD_BACK_PARTS = 3  # RFC 8216bis 4.4.3.8: SHOULD be at least three part targets
AUDIO_GROUP = "audio"
TEXT_GROUP = "text"


def multivariant(view: View, *, has_pictures: bool = True) -> str:
    """
    The multivariant playlist, the same text for both latencies: media playlists lie beside it.

    Args:
        view: State to render.
        has_pictures: Whether to name thumbnails, too, if there are any.

    Returns:
        One variant per video track and audio codec, audio and text tracks as renditions; without video, one variant per audio track.
    """
    period = view.open_period
    videos = [track for track in period.tracks if track.kind is TrackKind.VIDEO]
    audios = [track for track in period.tracks if track.kind is TrackKind.AUDIO and not track.is_text]
    texts = [track for track in period.tracks if track.is_text]
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION_LOW_LATENCY}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    # RFC 8216bis 4.4.6.2: CODECS names every format of a variant's renditions, so each audio codec has a group of its own.
    groups: dict[str, list[Track]] = {}
    for track in audios if videos else []:
        groups.setdefault(track.codec, []).append(track)
    names = dict(zip(groups, [AUDIO_GROUP, *(f"{AUDIO_GROUP}-{number}" for number in range(2, len(groups) + 1))], strict=False))
    for codec, members in groups.items():
        lines += [_rendition(track, names[codec], is_default=track is members[0]) for track in members]
    lines += [_subtitles(track, texts) for track in texts]
    for track in videos or audios:
        for codec, members in groups.items() or [("", [])]:
            mixed = max(members, key=lambda t: t.bandwidth_bps, default=None)
            lines += [_variant(view, period, track, mixed, names.get(codec)), f"{track.track}.m3u8"]
    lines += thumbnails.stream_inf(view) if has_pictures else []
    return _text(lines)


def _rendition(track: Track, group: str, *, is_default: bool) -> str:
    language = "" if track.language == "und" else f',LANGUAGE="{track.language}"'
    name = track.track if track.language == "und" else track.language
    channels = f',CHANNELS="{track.audio_channels}"' if track.audio_channels else ""
    default = "YES" if is_default else "NO"
    return (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{group}",NAME="{name}"{language},DEFAULT={default},AUTOSELECT=YES{channels},'
        f'URI="{track.track}.m3u8"'
    )


def _subtitles(track: Track, texts: list[Track]) -> str:
    alike = [other for other in texts if other.language == track.language]
    language = "" if track.language == "und" else f',LANGUAGE="{track.language}"'
    name = track.track if track.language == "und" or len(alike) > 1 else track.language
    return f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="{TEXT_GROUP}",NAME="{name}"{language},DEFAULT=NO,AUTOSELECT=YES,URI="{track.track}.m3u8"'


def _variant(view: View, period: Period, track: Track, audio: Track | None, group: str | None) -> str:
    tracks = [track] if audio is None else [track, audio]
    text_bps = max((t.bandwidth_bps for t in period.tracks if t.is_text), default=0)
    peak = sum(t.bandwidth_bps for t in tracks) + text_bps
    average = sum(average_bps(view, t.track) for t in tracks)
    attributes = [f"BANDWIDTH={peak}"]
    if average:
        attributes.append(f"AVERAGE-BANDWIDTH={min(average, peak)}")
    attributes.append(f'CODECS="{",".join(t.codec for t in tracks)}"')
    if track.kind is TrackKind.VIDEO:
        rate = period.frame_rate_num / period.frame_rate_den
        attributes += [f"RESOLUTION={track.width}x{track.height}", f"FRAME-RATE={rate:.3f}"]
    if group is not None:
        attributes.append(f'AUDIO="{group}"')
    if text_bps:
        attributes.append(f'SUBTITLES="{TEXT_GROUP}"')
    if all(t.closed_captions is False for t in period.tracks if t.kind is TrackKind.VIDEO):
        # Else Shaka Player fetches three more segments before it starts, to look for them.
        attributes.append("CLOSED-CAPTIONS=NONE")
    return f"#EXT-X-STREAM-INF:{','.join(attributes)}"


def average_bps(view: View, track_id: str) -> int:
    """Mean bit rate of a track over the listed segments; 0 while there is none."""
    size = ticks = 0
    timescale = 1
    for segment in view.segments:
        made = segment.tracks.get(track_id)
        if made is not None and not made.is_void:
            timescale = next(t.timescale for t in segment.period.tracks if t.track == track_id)
            size += made.size
            ticks += made.duration_ticks
    return size * 8 * timescale // ticks if ticks else 0


def media(view: View, track_id: str, *, low_latency: bool, skip: bool = False, is_archive: bool = False) -> str:
    """
    The media playlist of a track.

    Args:
        view: State to render.
        track_id: A track of a listed period.
        low_latency: With parts, preload hint and rendition reports.
        skip: As a delta update, if there is anything to skip.
        is_archive: For a channel that has ended, to be kept: nothing of it will ever change.
    """
    target_ms = view.period.target_duration_ms
    parts_from_ms = view.edge_ms - PART_TARGETS * target_ms
    shown = view.track(track_id)
    is_text = shown is not None and shown.is_text
    skipped = _skipped(view) if low_latency and skip else 0
    lines = [*_header(view, low_latency=low_latency, is_archive=is_archive)]
    if skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
    before = view.segments[skipped - 1].period if skipped else None
    for segment in view.segments[skipped:]:
        has_parts = low_latency and segment.end_ms > parts_from_ms
        lines += _segment(segment, track_id, before, has_parts=has_parts, is_text=is_text)
        before = segment.period
    if low_latency:
        lines += _edge(view, track_id, before, is_text=is_text)
    if view.is_ended:
        lines.append("#EXT-X-ENDLIST")
    return _text(lines)


def _header(view: View, *, low_latency: bool, is_archive: bool) -> Iterator[str]:
    # Everything here is fixed for the channel's life (media rules 1 and 8).
    period = view.period
    target_ms = period.target_duration_ms
    yield "#EXTM3U"
    yield f"#EXT-X-VERSION:{VERSION_LOW_LATENCY if low_latency else VERSION_PLAIN}"
    yield f"#EXT-X-TARGETDURATION:{target_ms // 1_000}"
    if low_latency:
        yield (
            f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={_seconds(PART_HOLD_BACK_PARTS * period.part_target_ms)},"
            f"HOLD-BACK={_seconds(HOLD_BACK_TARGETS * target_ms)},CAN-SKIP-UNTIL={_seconds(SKIP_TARGETS * target_ms)}"
        )
        yield f"#EXT-X-PART-INF:PART-TARGET={_seconds(period.part_target_ms)}"
    elif is_archive:
        yield "#EXT-X-PLAYLIST-TYPE:VOD"  # not in a sliding window (media rule 4)
    else:
        yield f"#EXT-X-SERVER-CONTROL:HOLD-BACK={_seconds(HOLD_BACK_TARGETS * target_ms)}"
    first = view.segments[0] if view.segments else None
    yield f"#EXT-X-MEDIA-SEQUENCE:{first.msn if first else view.open_msn}"
    yield f"#EXT-X-DISCONTINUITY-SEQUENCE:{(first.period if first else view.open_period).discontinuity}"


def _skipped(view: View) -> int:
    # RFC 8216bis 4.4.5.2: what lies further from the end than the boundary, by durations: a hole in time between periods has none.
    left_ms = SKIP_TARGETS * view.period.target_duration_ms + SKIP_MARGIN_MS
    skipped = len(view.segments)
    while skipped and left_ms > 0:
        skipped -= 1
        left_ms -= view.segments[skipped].end_ms - view.segments[skipped].start_ms
    # Nothing beyond a discontinuity: hls.js counts discontinuities in what it reads, so that the newest parts would stand in the oldest
    # period until that leaves the window, and then in their own, at which it stalls.
    return sum(segment.period.discontinuity == view.segments[0].period.discontinuity for segment in view.segments[:skipped])


def _segment(segment: Segment, track_id: str, before: Period | None, *, has_parts: bool, is_text: bool) -> Iterator[str]:
    track = next((t for t in segment.period.tracks if t.track == track_id), None)
    made = segment.tracks.get(track_id)
    is_text = track.is_text if track is not None else is_text
    if track is None or made is None:
        # The period does not have this track: a gap as long as its peers, so that all renditions stay in step.
        track = segment.period.tracks[0]
        made = segment.tracks[track.track]._replace(is_void=True, parts=())
    yield from _opening(segment.period, track, made.start_ticks, before, has_map=not is_text)
    if has_parts:
        yield from (_part(part, track) for part in made.parts)
    if made.is_void:
        yield "#EXT-X-GAP"
    yield f"#EXTINF:{_exact(made, track)},"
    yield f"../{segment.period.period}/{track_id}/{made.start_ticks}{WEBVTT_SUFFIX if is_text else SEGMENT_SUFFIX}"


def _opening(period: Period, track: Track, start_ticks: Ticks, before: Period | None, *, has_map: bool) -> Iterator[str]:
    """Tags before the first line of a segment: discontinuity, init segment, wall time."""
    if before is None or before.period != period.period:
        if before is not None:
            for _ in range(period.discontinuity - before.discontinuity):
                yield "#EXT-X-DISCONTINUITY"
        if has_map:
            yield f'#EXT-X-MAP:URI="../{period.period}/{track.track}/{INIT_NAME}"'
    yield f"#EXT-X-PROGRAM-DATE-TIME:{date_time(unix_ms_at(period, track, start_ticks))}"


def _edge(view: View, track_id: str, before: Period | None, *, is_text: bool) -> Iterator[str]:
    """Parts of the open segment, the next part's name, and how far the other renditions are."""
    track = next((t for t in view.open_period.tracks if t.track == track_id), None)
    parts = view.open_parts.get(track_id, ())
    if track is not None and parts:
        yield from _opening(view.open_period, track, parts[0].start_ticks, before, has_map=not track.is_text)
        yield from (_part(part, track) for part in parts)
    # A low-latency playlist never ends in a segment: hls.js would take it for the hint (media rule 14).
    if track_id in view.hints:
        period = int(view.hints[track_id].split("/")[1])
        if before is not None and not parts and period != before.period and not is_text:
            yield f'#EXT-X-PRELOAD-HINT:TYPE=MAP,URI="../{period}/{track_id}/{INIT_NAME}"'
        # The last line of its kind: hls.js keeps one.
        yield f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{_beside(view.hints[track_id], is_text=is_text)}"'
    if view.is_ended or not view.segments:
        return
    msn, count = (view.open_msn, view.open_count) if view.open_count else (view.open_msn - 1, view.last_count)
    last_part = f",LAST-PART={count - 1}" if count else ""
    for other in view.open_period.tracks:
        if other.track != track_id:
            yield f'#EXT-X-RENDITION-REPORT:URI="{other.track}.m3u8",LAST-MSN={msn}{last_part}'


def _part(part: Part, track: Track) -> str:
    independent = ",INDEPENDENT=YES" if part.independent else ""
    uri = f"../{part.period}/{part.track}/{part.start_ticks}{WEBVTT_PART_SUFFIX if track.is_text else PART_SUFFIX}"
    return f'#EXT-X-PART:DURATION={decimal(part.duration_ticks, track.timescale)},URI="{uri}"{independent}'


def _beside(name: str, *, is_text: bool) -> str:
    beside = f"../{name.partition('/')[2]}"
    return beside.removesuffix(PART_SUFFIX) + WEBVTT_PART_SUFFIX if is_text else beside


def _exact(made: TrackSegment, track: Track) -> str:
    return decimal(made.duration_ticks, track.timescale)


def _seconds(ms: int) -> str:
    """
    Milliseconds as seconds, as short as they can be written.

    >>> _seconds(1536), _seconds(12000)
    ('1.536', '12.0')
    """
    return f"{ms // 1_000}.{ms % 1_000:03}".rstrip("0") + ("0" if ms % 1_000 == 0 else "")


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"

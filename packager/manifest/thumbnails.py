"""
Thumbnails as text: an image media playlist for HLS, an image adaptation set for DASH; pure functions of a `View`.

HLS: the image media playlist extension (EXT-X-IMAGE-STREAM-INF, EXT-X-IMAGES-ONLY, EXT-X-TILES) that Roku, webOS and Shaka Player
read. DASH: DASH-IF IOP 4.3, 6.2.6, one picture to a tile. Both list what media they accompany list, and may lag behind it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from packager.manifest.text import date_time, decimal
from packager.manifest.view import Segment, TrackSegment, View
from schemas.records import Period, Thumbnails, Track
from schemas.timeline import THUMBNAIL_SUFFIX, picture_track, source_track, unix_ms_at

TILE_SCHEME = "http://dashif.org/guidelines/thumbnail_tile"
VERSION = 8  # EXT-X-GAP
Listed = tuple[Segment, Thumbnails, TrackSegment]


def listed(view: View) -> tuple[Listed, ...]:
    """The stretch of listed segments whose thumbnails are known, from the first that has them to the first that is still to come."""
    found: list[Listed] = []
    for segment in view.segments:
        wanted, made = segment.period.thumbnails, view.pictures.get(segment.msn)
        if wanted is None or (found and found[0][1].track != wanted.track):
            if found:
                break
            continue
        if made is None:
            break
        found.append((segment, wanted, made))
    return tuple(found)


def stream_inf(view: View) -> Iterator[str]:
    """
    The line of a multivariant playlist that names the image media playlist.

    None while that would be empty: Shaka Player gives up a channel whose image playlist it cannot read.
    """
    entries = listed(view)
    for segment, wanted, _ in entries[-1:]:
        peak, size = _peak_bps(source_track(segment.period, wanted), (made for _, _, made in entries)), f"{wanted.width}x{wanted.height}"
        yield f'#EXT-X-IMAGE-STREAM-INF:BANDWIDTH={peak},RESOLUTION={size},CODECS="jpeg",URI="{wanted.track}.m3u8"'


def _peak_bps(track: Track, pictures: Iterable[TrackSegment]) -> int:
    """Highest bit rate of thumbnails on the ticks of a track, at least 1."""
    return max(1, max((made.size * 8 * track.timescale // made.duration_ticks for made in pictures), default=1))


def media(view: View, track_id: str) -> str | None:
    """The image media playlist; None if no period of the view has thumbnails of this name."""
    if not any(p.thumbnails and p.thumbnails.track == track_id for p in (view.open_period, *(s.period for s in view.segments))):
        return None
    entries = [entry for entry in listed(view) if entry[1].track == track_id]
    first = entries[0][0] if entries else None
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{VERSION}",
        f"#EXT-X-TARGETDURATION:{view.period.target_duration_ms // 1_000}",
        f"#EXT-X-MEDIA-SEQUENCE:{first.msn if first else view.open_msn}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{(first.period if first else view.open_period).discontinuity}",
        "#EXT-X-IMAGES-ONLY",
    ]
    before: Period | None = None
    for segment, wanted, made in entries:
        lines += _entry(segment, wanted, made, before)
        before = segment.period
    if view.is_ended and entries and entries[-1][0] is view.segments[-1]:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _entry(segment: Segment, wanted: Thumbnails, made: TrackSegment, before: Period | None) -> Iterator[str]:
    period, source = segment.period, source_track(segment.period, wanted)
    if before is not None:
        yield from ["#EXT-X-DISCONTINUITY"] * (period.discontinuity - before.discontinuity)
    yield f"#EXT-X-PROGRAM-DATE-TIME:{date_time(unix_ms_at(period, source, made.start_ticks))}"
    if made.is_void:
        yield "#EXT-X-GAP"
    length = decimal(made.duration_ticks, source.timescale)
    yield f"#EXTINF:{length},"
    yield f"#EXT-X-TILES:RESOLUTION={wanted.width}x{wanted.height},LAYOUT=1x1,DURATION={length}"
    yield f"../{period.period}/{wanted.track}/{made.start_ticks}{THUMBNAIL_SUFFIX}"


def adaptation_set(pictures: Mapping[int, TrackSegment], run: Sequence[Segment], number: int, *, offset_ticks: int) -> Iterator[str]:
    """
    The image adaptation set of a DASH Period; nothing while none of its thumbnails is there.

    Args:
        pictures: What the view that is rendered knows of thumbnails.
        run: Segments of the Period.
        number: Id of the adaptation set.
        offset_ticks: Presentation time offset of the Period in ticks of the source track.
    """
    period = run[0].period
    track, wanted = picture_track(period), period.thumbnails
    made = [picture for s in run if (picture := pictures.get(s.msn)) is not None and not picture.is_void]
    if track is None or wanted is None or not made:
        return
    folder = f"../{period.period}/$RepresentationID$"
    yield f'<AdaptationSet id="{number}" contentType="image" mimeType="image/jpeg">'
    yield (
        f'<SegmentTemplate timescale="{track.timescale}" presentationTimeOffset="{offset_ticks}" '
        f'media="{folder}/$Time${THUMBNAIL_SUFFIX}"><SegmentTimeline>'
    )
    yield from (f'<S t="{picture.start_ticks}" d="{picture.duration_ticks}"/>' for picture in made)
    yield "</SegmentTimeline></SegmentTemplate>"
    yield f'<Representation id="{wanted.track}" bandwidth="{_peak_bps(track, made)}" width="{wanted.width}" height="{wanted.height}">'
    yield f'<EssentialProperty schemeIdUri="{TILE_SCHEME}" value="1x1"/>'
    yield "</Representation>"
    yield "</AdaptationSet>"

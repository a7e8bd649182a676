"""
What is kept of a channel that has ended: manifests of its last time shift buffer, and the init segments they name.

They lie in the folder of its last period and name objects relative to it, as the live ones do, so that any server of static files
plays the channel from the store. Pure, and the same from whoever shows the whole buffer; thumbnails may lag behind the end and are
left out.
"""

from collections.abc import Iterator

from packager.manifest import dash, hls
from packager.manifest.view import View
from schemas.timeline import WEBVTT_SUFFIX, init_name, object_name

MULTIVARIANT = "multivariant.m3u8"
MPD = "manifest.mpd"
PLAYLIST_SUFFIX = ".m3u8"


def captions(view: View) -> Iterator[tuple[str, str, bytes]]:
    """
    Text that playlists name and that is to be made of what is stored: its name, the name of its segment, and the init segment.

    Args:
        view: Of a channel that has ended.
    """
    for segment in view.segments:
        for track in segment.period.tracks:
            made = segment.tracks[track.track]
            if track.is_text and not made.is_void:
                place = view.channel, segment.period.period, track.track, made.start_ticks
                yield object_name(*place, WEBVTT_SUFFIX), object_name(*place), track.init


def objects(view: View) -> Iterator[tuple[str, bytes]]:
    """
    Names and bytes, the manifests that name others last.

    Args:
        view: Of a channel that has ended.
    """
    folder = f"{view.channel}/{view.period.period}"
    for period in {segment.period.period: segment.period for segment in view.segments}.values():
        for track in period.tracks:
            yield init_name(view.channel, period.period, track.track), track.init
    for track in view.open_period.tracks:
        text = hls.media(view, track.track, low_latency=False, is_archive=True)
        yield f"{folder}/{track.track}{PLAYLIST_SUFFIX}", text.encode()
    yield f"{folder}/{MULTIVARIANT}", hls.multivariant(view, has_pictures=False).encode()
    yield f"{folder}/{MPD}", dash.finished(view).encode()

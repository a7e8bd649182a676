"""Which thumbnails a channel gets (pure)."""

from collections.abc import Sequence

from schemas.records import Thumbnails, Track, TrackKind
from schemas.settings import MediaSettings

TRACK = "thumb0"


def thumbnails_of(tracks: Sequence[Track], media: MediaSettings) -> Thumbnails | None:
    """
    Thumbnails of the smallest video track, in its shape and no larger than it; None if none are wanted or there is no video.

    Args:
        tracks: Tracks of a period.
        media: Whether and how high.
    """
    videos = [track for track in tracks if track.kind is TrackKind.VIDEO and track.width and track.height]
    if not (media.thumbnails and videos) or any(track.track == TRACK for track in tracks):
        return None
    source = min(videos, key=lambda track: (track.width * track.height, track.track))
    height = min(media.thumbnail_height, source.height)
    # 4:2:0 halves both sides.
    width = max(2, 2 * round(source.width * height / source.height / 2))
    return Thumbnails(track=TRACK, source=source.track, width=width, height=max(2, height // 2 * 2))

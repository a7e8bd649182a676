"""
Thumbnails of listed segments: a fold of the ``reports`` topic beside that of the media, which never waits for it.

The first of published and void counts, and what comes long after its followers does not any more, so that a list of thumbnails
goes on without one that nobody made, and is never edited.
"""

from collections.abc import Iterable

from packager.manifest.view import Segment, TrackSegment

# A thumbnail that comes after that of a segment so much younger is left out: holders that take turns are never that far apart.
LATE_SEGMENTS = 8


class Pictures:
    """The thumbnails of one channel. Whoever uses it trims it."""

    def __init__(self) -> None:
        self._made: dict[int, TrackSegment] = {}
        self._newest = -1

    def add(self, msn: int, made: TrackSegment) -> bool:
        """A thumbnail can be fetched, or is lost; false if that changes nothing."""
        if msn in self._made or msn <= self._newest - LATE_SEGMENTS:
            return False
        self._made[msn] = made
        self._newest = max(self._newest, msn)
        return True

    def trim(self, floor: int) -> None:
        """Forgets what lies before a segment."""
        for msn in [msn for msn in self._made if msn < floor]:
            del self._made[msn]

    def of(self, segments: Iterable[Segment]) -> dict[int, TrackSegment]:
        """
        What is known of the thumbnails of some segments: each lasts as long as its segment does in its source.

        Those of which nothing is known yet, and those whose period has none, are absent.
        """
        if not self._made:
            return {}
        found = {}
        for segment in segments:
            made = segment.period.thumbnails
            if made is None:
                continue
            source, picture = segment.tracks[made.source], self._made.get(segment.msn)
            if picture is not None:
                found[int(segment.msn)] = picture._replace(start_ticks=source.start_ticks, duration_ticks=source.duration_ticks)
            elif segment.msn <= self._newest - LATE_SEGMENTS:
                found[int(segment.msn)] = source._replace(size=0, is_void=True, parts=())
        return found

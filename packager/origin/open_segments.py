"""
The open segment as it grows: its parts one after the other, each as soon as it is published.

What is streamed is, byte for byte, the object that the store has once the segment is finished (media rule 11). A stream that cannot
be finished is broken off, so that nobody takes what was sent for the whole.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from packager.manifest.view import TrackSegment, View
from packager.origin.live import Live
from packager.origin.objects import Objects
from schemas.errors import RetryableError
from schemas.records import Part
from schemas.timeline import PART_SUFFIX, SEGMENT_SUFFIX, object_name

# Whoever was promised a segment that does not come asks again after a while.
RETRY_AFTER_MS = 1_000


class Wanted(NamedTuple):
    """
    A segment of a track by its name.

    Attributes:
        channel: Channel id.
        period: Number of the period.
        track: Track id.
        start: First tick.
    """

    channel: str
    period: int
    track: str
    start: int

    @property
    def name(self) -> str:
        """Name of the object."""
        return object_name(self.channel, self.period, self.track, self.start, SEGMENT_SUFFIX)


class Growth(NamedTuple):
    """
    How far a segment is.

    Attributes:
        parts: Its parts that can be fetched, from the first on.
        is_whole: Whether nothing will follow them.
        is_listed: Whether the whole segment is in the store.
    """

    parts: tuple[Part, ...]
    is_whole: bool = False
    is_listed: bool = False


class Gone(Exception):  # noqa: N818 - no error: an answer
    """There is no such segment and there will be none."""


def growth(view: View | None, wanted: Wanted) -> Growth | None:
    """
    How far a segment is; None while it is the next one and has not begun.

    Raises:
        Gone: It is neither listed nor the next one.
    """
    if view is None:
        raise Gone
    opened = view.open_parts.get(wanted.track, ())
    if opened and (opened[0].period, opened[0].segment_start_ticks) == (wanted.period, wanted.start):
        return Growth(opened, is_whole=sum(part.duration_ticks for part in opened) == opened[0].segment_ticks)
    made = _listed(view, wanted)
    if made is not None:
        if made.is_void:
            raise Gone
        return Growth(made.parts, is_whole=True, is_listed=True)
    # The name of the next part tells where the next segment starts.
    expected = object_name(wanted.channel, wanted.period, wanted.track, wanted.start, PART_SUFFIX)
    if view.open_count or view.hints.get(wanted.track) != expected:
        raise Gone
    return None


def _listed(view: View, wanted: Wanted) -> TrackSegment | None:
    for segment in reversed(view.segments):
        made = segment.tracks.get(wanted.track)
        if made is not None and (segment.period.period, made.start_ticks) == (wanted.period, wanted.start):
            return made
    return None


class OpenSegments:
    """Waits for segments that are announced, and reads them while they grow."""

    def __init__(self, live: Live, objects: Objects, *, timeout_ms: int) -> None:
        """
        Args:
            live: The presentations.
            objects: Bytes of parts and segments.
            timeout_ms: Longest wait for a part.
        """
        self._live = live
        self._objects = objects
        self._timeout_ms = timeout_ms

    async def begun(self, wanted: Wanted) -> bool:
        """Whether the segment has begun; one that is the next is waited for."""
        try:
            return await self._grown(wanted, 0) is not None
        except Gone:
            return False

    async def read(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """
        Its bytes, part by part.

        Raises:
            RetryableError: What follows did not come.
        """
        sent = size = 0
        while True:
            try:
                grown = await self._grown(wanted, sent)
            except Gone:
                grown = None
            if grown is None:
                raise RetryableError(f"{wanted.name} did not come to its end", retry_after_ms=RETRY_AFTER_MS)
            if grown.is_listed and len(grown.parts) < sent + 1:
                # Its parts are not known any more, or all were sent.
                rest = b"" if grown.parts else (await self._bytes(wanted.name))[size:]
                if rest:
                    yield rest
                return
            for part in grown.parts[sent:]:
                data = await self._bytes(object_name(part.channel, part.period, part.track, part.start_ticks, PART_SUFFIX))
                size += len(data)
                yield data
            sent = len(grown.parts)
            if grown.is_whole:
                return

    async def _grown(self, wanted: Wanted, sent: int) -> Growth | None:
        """The segment once it has more than so many parts, or is whole; None if that takes too long."""

        def look(view: View | None) -> Growth | None:
            found = growth(view, wanted)
            return found if found is not None and (found.is_whole or len(found.parts) > sent) else None

        return await self._live.until(wanted.channel, look, self._timeout_ms)

    async def _bytes(self, name: str) -> bytes:
        data = await self._objects.read(name)
        if data is None:
            raise RetryableError(f"{name} is announced and not in the store", retry_after_ms=RETRY_AFTER_MS)
        return data

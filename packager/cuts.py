"""What is cut of the log: parts, segments, pictures, and what could not be."""

from dataclasses import dataclass, field

from schemas.records import Period, Track
from schemas.timeline import PART_SUFFIX, SEGMENT_SUFFIX, THUMBNAIL_SUFFIX, object_name
from schemas.units import Msn, Ticks, UnixMs


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """
    Something of one segment of one track.

    Attributes:
        period: Its period.
        track: Its track; of a thumbnail the track that those of the period make up, on the ticks of the video track they are taken from.
        msn: Media sequence number of its segment.
        start_ticks: First tick.
        duration_ticks: Duration.
        durable_unix_ms: Broker time of its last chunk, or of the one at which it showed.
    """

    period: Period
    track: Track
    msn: Msn
    start_ticks: Ticks
    duration_ticks: Ticks
    durable_unix_ms: UnixMs

    def _named(self, suffix: str) -> str:
        return object_name(self.period.channel, self.period.period, self.track.track, self.start_ticks, suffix)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made(_Told):
    """
    What becomes an object.

    Attributes:
        pieces: What it is made of, one piece per chunk.
    """

    pieces: tuple[bytes, ...] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that it is made of."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class CutPart(_Made):
    """
    One part of one track, whole.

    Attributes:
        index: Number within the segment, from 0.
        segment_start_ticks: First tick of its segment.
        segment_ticks: Duration of its segment as stamped.
        independent: Whether it holds a sync sample.
    """

    index: int
    segment_start_ticks: Ticks
    segment_ticks: Ticks
    independent: bool

    @property
    def name(self) -> str:
        """Name of the object."""
        return self._named(PART_SUFFIX)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutSegment(_Made):
    """
    One segment of one track: its parts, one after the other; shorter than stamped if the period ended in it.

    Attributes:
        part_count: Parts.
    """

    part_count: int

    @property
    def name(self) -> str:
        """Name of the object."""
        return self._named(SEGMENT_SUFFIX)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutPicture(_Made):
    """
    What the thumbnail of one segment is made from: the first chunk of the segment, which begins with a sync sample.

    It lasts as long as its segment was stamped to. Its last chunk is that of the first part: nothing of a segment goes out before.
    """

    @property
    def name(self) -> str:
        """Name of the object that the thumbnail becomes."""
        return self._named(THUMBNAIL_SUFFIX)


@dataclass(frozen=True, kw_only=True, slots=True)
class CutFailed(_Told):
    """
    A segment of one track, as stamped, that cannot be made from what is in the log.

    Attributes:
        error: What is wrong.
    """

    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CutReject:
    """
    The chunk just fed broke a rule and was left out.

    Attributes:
        error: Which.
    """

    error: str


Made = CutPart | CutSegment | CutPicture
Told = Made | CutFailed
Cut = Told | CutReject

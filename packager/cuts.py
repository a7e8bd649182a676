"""What is cut of the log: parts, segments, pictures, and what could not be."""

from dataclasses import dataclass, field

from schemas.records import Period, Track
from schemas.timeline import PART_SUFFIX, THUMBNAIL_SUFFIX, object_name
from schemas.units import Msn, Ticks, UnixMs


@dataclass(frozen=True, kw_only=True, slots=True)
class CutPart:
    """
    One part of one track, whole.

    Attributes:
        period: Its period.
        track: Its track.
        msn: Media sequence number of its segment.
        index: Number within the segment, from 0.
        segment_start_ticks: First tick of its segment.
        segment_ticks: Duration of its segment as stamped.
        start_ticks: First tick.
        duration_ticks: Duration.
        independent: Whether it holds a sync sample.
        durable_unix_ms: Broker time of its last chunk.
        pieces: Its bytes, one piece per chunk.
    """

    period: Period
    track: Track
    msn: Msn
    index: int
    segment_start_ticks: Ticks
    segment_ticks: Ticks
    start_ticks: Ticks
    duration_ticks: Ticks
    independent: bool
    durable_unix_ms: UnixMs
    pieces: tuple[bytes, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the object."""
        return object_name(self.period.channel, self.period.period, self.track.track, self.start_ticks, PART_SUFFIX)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class CutSegment:
    """
    One segment of one track: its parts, one after the other.

    Attributes:
        period: Its period.
        track: Its track.
        msn: Media sequence number.
        start_ticks: First tick.
        duration_ticks: Real duration: shorter than stamped if the period ended in it.
        part_count: Parts.
        durable_unix_ms: Broker time of its last chunk.
        pieces: Its bytes, one piece per chunk.
    """

    period: Period
    track: Track
    msn: Msn
    start_ticks: Ticks
    duration_ticks: Ticks
    part_count: int
    durable_unix_ms: UnixMs
    pieces: tuple[bytes, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the object."""
        return object_name(self.period.channel, self.period.period, self.track.track, self.start_ticks)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class CutPicture:
    """
    What the thumbnail of one segment is made from.

    Attributes:
        period: Its period.
        track: The track that the thumbnails of the period make up, on the ticks of the video track they are taken from.
        msn: Media sequence number of its segment.
        start_ticks: First tick of its segment.
        duration_ticks: Duration of its segment as stamped.
        durable_unix_ms: Broker time of the last chunk of the segment's first part: nothing of a segment goes out before.
        pieces: The first chunk of the segment; it begins with a sync sample.
    """

    period: Period
    track: Track
    msn: Msn
    start_ticks: Ticks
    duration_ticks: Ticks
    durable_unix_ms: UnixMs
    pieces: tuple[bytes, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the object that the thumbnail becomes."""
        return object_name(self.period.channel, self.period.period, self.track.track, self.start_ticks, THUMBNAIL_SUFFIX)

    @property
    def size(self) -> int:
        """Bytes that it is made from."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True, kw_only=True, slots=True)
class CutFailed:
    """
    A segment of one track that cannot be made from what is in the log.

    Attributes:
        period: Its period.
        track: Its track.
        msn: Media sequence number.
        start_ticks: First tick, as stamped.
        duration_ticks: Duration, as stamped.
        durable_unix_ms: Broker time of the chunk at which this showed.
        error: What is wrong.
    """

    period: Period
    track: Track
    msn: Msn
    start_ticks: Ticks
    duration_ticks: Ticks
    durable_unix_ms: UnixMs
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

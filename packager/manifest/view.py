"""One state of what can be watched of a channel: everything that manifests are rendered from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.records import Level, Part, Period, Track
from schemas.units import Ms, Msn, Ticks, ms_from_ticks


class TrackSegment(NamedTuple):
    """
    One segment of one track: published, or void.

    Attributes:
        start_ticks: First tick.
        duration_ticks: Duration.
        size: Bytes; 0 when void.
        is_void: Whether it is declared lost.
        parts: Its parts, all of them; empty when it has none that are known.
    """

    start_ticks: Ticks
    duration_ticks: Ticks
    size: int
    is_void: bool
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """
    One listed segment, in all tracks of its period.

    Attributes:
        msn: Media sequence number.
        period: Its period.
        start_ms: First instant on the channel's timeline, by the period's first track.
        end_ms: Instant after its last.
        run_msn: First segment of the stretch without a void one that it belongs to.
        run_ms: Instant at which that stretch starts: the period's start, or the end of a hole.
        tracks: What became of it in each track.
    """

    msn: Msn
    period: Period
    start_ms: Ms
    end_ms: Ms
    run_msn: Msn
    run_ms: Ms
    tracks: Mapping[str, TrackSegment]

    @property
    def is_void(self) -> bool:
        """Whether any track of it is lost."""
        return any(made.is_void for made in self.tracks.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """
    One state of a channel's presentation, from which every manifest is rendered.

    Attributes:
        channel: Channel id.
        period: Period of the live edge; its configuration holds for the channel's life in all that may not change.
        level: What is packaged.
        segments: Listed segments, oldest first, without a gap in their numbers.
        open_msn: Number of the segment after the last one listed.
        open_period: Period of the open segment's parts.
        open_parts: Parts of the open segment, in step: the same number in every track.
        hints: Object name of each track's next part; empty when there will be none.
        is_ended: Whether the channel ended and everything of it is listed.
        has_parts: Whether the open segment is packaged in parts, so that what is of low latency can be shown.
        pictures: Thumbnail of each listed segment that has one, or will have none: then it is void.
    """

    channel: str
    period: Period
    level: Level
    segments: tuple[Segment, ...]
    open_msn: Msn
    open_period: Period
    open_parts: Mapping[str, tuple[Part, ...]]
    hints: Mapping[str, str]
    is_ended: bool
    has_parts: bool = False
    pictures: Mapping[int, TrackSegment] = field(default_factory=dict)

    @property
    def open_count(self) -> int:
        """Parts listed of the open segment."""
        return max(map(len, self.open_parts.values()), default=0)

    @property
    def edge_ms(self) -> Ms:
        """End of the newest listed media on the channel's timeline."""
        track = self.open_period.tracks[0]
        parts = self.open_parts.get(track.track, ())
        if parts:
            return ms_from_ticks(parts[-1].start_ticks + parts[-1].duration_ticks, track.timescale)
        return self.segments[-1].end_ms if self.segments else Ms(0)

    def track(self, track_id: str) -> Track | None:
        """The newest configuration of a track, None if no listed period has it."""
        for period in (self.open_period, *(s.period for s in reversed(self.segments))):
            for track in period.tracks:
                if track.track == track_id:
                    return track
        return None

    def has(self, msn: int, part: int | None) -> bool:
        """Whether a segment, or a part of it, is listed; a part beyond a finished segment's last is the next segment's first."""
        if part is None or msn != self.open_msn - 1:
            return msn < self.open_msn or (part is not None and msn == self.open_msn and part < self.open_count)
        return part < self.last_count or self.open_count > 0

    @property
    def last_count(self) -> int:
        """Parts of the last segment listed; 0 when it has none that are known."""
        return max((len(t.parts) for t in self.segments[-1].tracks.values()), default=0) if self.segments else 0

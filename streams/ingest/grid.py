"""From samples of one track to chunks on the period's grid, each as soon as its last sample is there (pure)."""

from dataclasses import dataclass

from schemas.records import Period, Track
from schemas.timeline import boundary, cells, frames_per_gop, gop_start
from schemas.units import GopOrdinal, Ticks
from streams.ingest.samples import Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """
    One chunk of a track, not yet stamped.

    Attributes:
        track: Track id.
        gop: GOP ordinal.
        part: Part of the GOP.
        index: Number in its track since the period's start.
        ends_part: Whether its part ends with it.
        ends_gop: Whether its GOP ends with it.
        start_ticks: First tick.
        duration_ticks: Sum of its samples.
        samples: Its samples, at least one.
        durations: Ticks of each; empty where each is one frame long.
    """

    track: str
    gop: GopOrdinal
    part: int
    index: int
    ends_part: bool
    ends_gop: bool
    start_ticks: Ticks
    duration_ticks: Ticks
    samples: tuple[Sample, ...]
    durations: tuple[int, ...] = ()


class TrackCutter:
    """Cuts one track of one period; samples follow one another without gaps, each one frame long."""

    def __init__(self, period: Period, track: Track, *, first_gop: int = 0) -> None:
        """
        Args:
            first_gop: The GOP to begin with; those before it are another writer's.
        """
        self._period = period
        self._track = track
        self._cells = tuple(cells(period.grid))
        self._gop_frames = frames_per_gop(period)
        self._held: list[Sample] = []
        self._start = gop_start(period, track, first_gop)
        self._index = first_gop * len(self._cells)
        self.next_ticks = self._start
        """Tick of the next sample."""
        self.cut_ticks = self._end_of(self._index)
        """Tick at which the open chunk ends."""

    @property
    def starts_gop(self) -> bool:
        """Whether the next sample is the first of a GOP."""
        return self._index % len(self._cells) == 0 and not self._held

    def add(self, sample: Sample) -> Cut | None:
        """The chunk that this sample completes, if it does."""
        self._held.append(sample)
        self.next_ticks = Ticks(self.next_ticks + self._track.frame_ticks)
        if self.next_ticks < self.cut_ticks:
            return None
        gop, number = divmod(self._index, len(self._cells))
        cell = self._cells[number]
        cut = Cut(
            track=self._track.track,
            gop=GopOrdinal(gop),
            part=cell.part,
            index=self._index,
            ends_part=cell.ends_part,
            ends_gop=cell.ends_gop,
            start_ticks=self._start,
            duration_ticks=Ticks(self.next_ticks - self._start),
            samples=tuple(self._held),
        )
        self._held.clear()
        self._start = self.next_ticks
        self._index += 1
        self.cut_ticks = self._end_of(self._index)
        return cut

    def _end_of(self, index: int) -> Ticks:
        gop, number = divmod(index, len(self._cells))
        return boundary(self._period, self._track, gop * self._gop_frames + self._cells[number].end_frames)

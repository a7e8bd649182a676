"""One track of a writer: what never changes of it, and its place in the open period (pure)."""

from dataclasses import dataclass
from fractions import Fraction

from schemas.records import Period, Track, TrackKind
from schemas.timeline import gop_start
from streams.ingest.grid import TrackCutter
from streams.ingest.init import InitSegment
from streams.ingest.nal import has_idr
from streams.ingest.samples import Sample


@dataclass(slots=True)
class Line:
    """
    One track.

    Attributes:
        track: As announced, starting at tick 0.
        init: Its init segment.
        cutter: Its place in the open period; None before its first sample of one.
        shift: Ticks of the period minus ticks of the encoder's clock.
    """

    track: Track
    init: InitSegment
    cutter: TrackCutter | None = None
    shift: int = 0

    @property
    def is_video(self) -> bool:
        """Whether it carries pictures."""
        return self.track.kind is TrackKind.VIDEO

    @property
    def clock_seconds(self) -> Fraction:
        """The encoder's clock at the next sample; 0 before the first of a period."""
        return Fraction(self.cutter.next_ticks - self.shift, self.track.timescale) if self.cutter else Fraction(0)

    @property
    def cut_seconds(self) -> Fraction | None:
        """The encoder's clock at the end of the open chunk; None before the first sample of a period."""
        return Fraction(self.cutter.cut_ticks - self.shift, self.track.timescale) if self.cutter else None

    def seconds(self, sample: Sample) -> Fraction:
        """Time of a sample on the encoder's clock."""
        return Fraction(sample.time_ticks, self.track.timescale)

    def seconds_into(self, period: Period) -> Fraction:
        """Seconds of the period that this track has."""
        return seconds_into(period, self.track.track, self.cutter.next_ticks) if self.cutter else Fraction(0)

    def is_sync(self, sample: Sample) -> bool:
        """Whether decoding can start at a sample, as its NAL units say it where there are any."""
        if self.init.is_avc or self.init.is_hevc:
            return has_idr(sample.data, hevc=self.init.is_hevc)
        return sample.sync

    def has_jumped(self, sample: Sample, jump_ms: int) -> bool:
        """Whether a sample lies further than this from where the open period expects it."""
        if self.cutter is None:
            return False
        off = sample.time_ticks + self.shift - self.cutter.next_ticks
        return abs(off) * 1_000 > jump_ms * self.track.timescale

    def begin(self, period: Period, start: Fraction, sample: Sample, jump_ms: int, *, first_gop: int = 0) -> bool:
        """
        Take the place in a period that its first sample gives it; whether the sample is one of the period.

        Args:
            start: The period's first instant on the encoder's clock.
            first_gop: The GOP to begin with.
        """
        track = next(t for t in period.tracks if t.track == self.track.track)
        ticks = gop_start(period, track, first_gop)
        off_ms = (self.seconds(sample) - start - Fraction(ticks - track.start_ticks, track.timescale)) * 1_000
        half_ms = Fraction(self.track.frame_ticks * 500, self.track.timescale)
        if not -half_ms <= off_ms <= jump_ms:
            return False
        self.cutter = TrackCutter(period, track, first_gop=first_gop)
        self.shift = ticks - sample.time_ticks
        return True


def seconds_into(period: Period, track: str, ticks: int) -> Fraction:
    """Seconds from the period's start to a tick of a track."""
    found = next(t for t in period.tracks if t.track == track)
    return Fraction(ticks - found.start_ticks, found.timescale)

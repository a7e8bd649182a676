"""The place of a text track in the open period: cut where a track of media was cut, so that it never holds anything back (pure)."""

from fractions import Fraction

from schemas.records import Period, Track
from schemas.timeline import boundary, cells, frames_per_gop, gop_start
from schemas.units import Ticks
from streams.ingest.grid import Cut
from streams.ingest.init import InitSegment
from streams.ingest.samples import Sample
from streams.ingest.text import Cue, cut_samples

# No source tells of a cue earlier before its time.
AHEAD_S_MAX = 60
# Cues that wait for their time: more than a source tells ahead.
CUES_MAX = 2_000
# Nobody reads more within a chunk, and a chunk must fit into a message.
CHUNK_CUES_MAX = 16


class Captions:
    """One text track of a writer."""

    def __init__(self, track: Track, init: InitSegment, *, late_s_max: Fraction) -> None:
        """
        Args:
            track: As announced, starting at tick 0.
            init: Its init segment.
            late_s_max: What comes later than this is not shown any more.
        """
        self.track = track
        self.init = init
        self._late_s_max = late_s_max
        self._cues: list[Cue] = []
        self._lag = Fraction(0)
        self._period: Period | None = None
        self._start = Fraction(0)
        self._ticks: int = 0

    def begin(self, period: Period, start: Fraction, *, first_gop: int = 0) -> None:
        """
        Go on in a new period.

        Args:
            start: Its first instant on the encoder's clock.
            first_gop: The GOP to begin with.
        """
        self._period, self._start, self._lag = period, start, Fraction(0)
        self._ticks = gop_start(period, self._own(period), first_gop)
        # What lies further away is of a clock that is over.
        self._cues = [cue for cue in self._cues if abs(cue.start - self._reached) <= AHEAD_S_MAX]

    def add(self, cue: Cue) -> bool:
        """
        Show a cue in its time; whether it is shown.

        One that comes after its time is shown later, and so is all that follows in this period: nothing is lost, and no two cues that
        followed each other are shown at once.
        """
        late = self._reached - cue.start - self._lag
        last = self._cues[-1] if self._cues else None
        if last is not None and (last.box, last.end) == (cue.box, cue.start + self._lag):
            self._cues[-1] = Cue(start=last.start, end=cue.end + self._lag, box=cue.box)
            return True
        if late > 0 and (cue.end <= self._start or self._lag + late > self._late_s_max):
            return False
        self._lag += max(Fraction(0), late)
        self._cues = [*self._cues[-CUES_MAX:], Cue(start=cue.start + self._lag, end=cue.end + self._lag, box=cue.box)]
        return True

    def cut(self, like: Cut) -> Cut:
        """The chunk that lies where a chunk of another track does, whether there is text or none."""
        assert self._period is not None  # noqa: S101
        track, period = self._own(self._period), self._period
        grid = tuple(cells(period.grid))
        frames = like.gop * frames_per_gop(period) + grid[like.index % len(grid)].end_frames
        start, end = self._ticks, boundary(period, track, frames)
        placed = [(self._tick(track, cue.start), self._tick(track, cue.end), cue.box) for cue in self._cues]
        shown = [cue for cue in placed if cue[0] < end and start < cue[1]][:CHUNK_CUES_MAX]
        samples = list(cut_samples(shown, start, end))
        self._ticks = end
        self._cues = [cue for cue, (_, last, _) in zip(self._cues, placed, strict=True) if last > end]
        return Cut(
            track=track.track,
            gop=like.gop,
            part=like.part,
            index=like.index,
            ends_part=like.ends_part,
            ends_gop=like.ends_gop,
            start_ticks=Ticks(start),
            duration_ticks=Ticks(end - start),
            samples=tuple(Sample(Ticks(start), data, sync=True) for _, data in samples),
            durations=tuple(duration for duration, _ in samples),
        )

    def _own(self, period: Period) -> Track:
        return next(track for track in period.tracks if track.track == self.track.track)

    @property
    def _reached(self) -> Fraction:
        """The encoder's clock where the next chunk begins."""
        if self._period is None:
            return self._start
        return self._start + Fraction(self._ticks - self._own(self._period).start_ticks, self.track.timescale)

    def _tick(self, track: Track, seconds: Fraction) -> int:
        return track.start_ticks + round((seconds - self._start) * track.timescale)

"""The open period of a writer: what is known of it, and chunks of it (pure)."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Self

from schemas.records import Chunk, Period
from schemas.units import UnixMs
from streams.core.segmentation import Stamp
from streams.ingest.captions import Captions
from streams.ingest.cmaf import build_chunk
from streams.ingest.grid import Cut
from streams.ingest.history import Past
from streams.ingest.line import Line, seconds_into
from streams.ingest.progress import GopIndex, Reached


@dataclass(slots=True)
class Opened:
    """
    A period that is being written.

    Attributes:
        period: Its configuration.
        start: Its first instant on the encoder's clock, in seconds.
        reached: How far it is.
        index: Of its whole GOPs.
        stamps: Of the GOPs whose index is not written.
        first_gop: The first that is ours: those before it are of the other of a pair.
    """

    period: Period
    start: Fraction
    reached: Reached
    index: GopIndex
    stamps: dict[int, Stamp] = field(default_factory=dict)
    first_gop: int = 0

    @classmethod
    def begin(cls, period: Period, start: Fraction) -> Self:
        """One of our own."""
        return cls(period, start, Reached(period), GopIndex(period))

    @classmethod
    def go_on(cls, past: Past, start: Fraction) -> Self:
        """One of the other of a pair, that ends with a whole GOP so far."""
        period, stamp = past.period, past.stamp
        assert stamp is not None  # noqa: S101
        gop = past.parts_reached // len(period.grid)
        stamps = {gop - 1: stamp}
        reached = Reached(period, parts=past.parts_reached, stamps=stamps)
        return cls(period, start, reached, GopIndex(period, after_gop=gop - 1), stamps, gop)

    @property
    def past(self) -> Past:
        """How far it is, once nothing more is written to it."""
        return Past(period=self.period, parts_reached=self.reached.parts, next_msn=self.reached.next_msn)

    def chunk(self, line: Line | Captions, cut: Cut, *, life: str, produced_unix_ms: UnixMs) -> Chunk:
        """
        What is cut, as a chunk of a GOP that has its stamp.

        Args:
            line: The cut's track.
            cut: Samples of one cell of the grid.
            life: Run of the writer.
            produced_unix_ms: Now.
        """
        at = self.stamps[cut.gop]
        return Chunk(
            channel=self.period.channel,
            period=self.period.period,
            track=cut.track,
            life=life,
            gop=cut.gop,
            msn=at.msn,
            first_gop=at.first_gop,
            gop_count=at.gop_count,
            index=cut.index,
            part=cut.part,
            ends_part=cut.ends_part,
            ends_gop=cut.ends_gop,
            independent=cut.samples[0].sync,
            start_ticks=cut.start_ticks,
            duration_ticks=cut.duration_ticks,
            produced_unix_ms=produced_unix_ms,
            payload=build_chunk(
                cut.samples,
                track_id=line.init.track_id,
                index=cut.index,
                start_ticks=cut.start_ticks,
                frame_ticks=line.track.frame_ticks,
                durations=cut.durations,
            ),
        )

    def ends_unix_ms(self, cut: Cut) -> int:
        """Time that the period gives to the end of a cut."""
        return round(self.period.anchor_unix_ms + seconds_into(self.period, cut.track, cut.start_ticks + cut.duration_ticks) * 1_000)

"""How far a period is: the parts that every track reached, and the index of its whole GOPs (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Chunk, Gop, GopTrack, Period
from schemas.timeline import cells, part_number
from schemas.units import GopOrdinal, Msn, Ticks, UnixMs
from streams.core.segmentation import Stamp, msn_after


class Reached:
    """Part instants that every track of a period reached, by the order of the log."""

    def __init__(self, period: Period, *, parts: int = 0, stamps: Mapping[int, Stamp] | None = None) -> None:
        """
        Args:
            parts: What was reached already.
            stamps: Of the GOPs that this may still need: the last one.
        """
        self._period = period
        self._parts = dict.fromkeys((t.track for t in period.tracks), parts)
        self._stamps = dict(stamps or {})

    def add(self, chunk: Chunk) -> None:
        """One more chunk of the period; the payload is not looked at."""
        self._stamps[chunk.gop] = Stamp(msn=chunk.msn, first_gop=chunk.first_gop, gop_count=chunk.gop_count)
        if chunk.ends_part:
            self._parts[chunk.track] = part_number(self._period, chunk) + 1
            for gop in [gop for gop in self._stamps if (gop + 1) * len(self._period.grid) < self.parts]:
                del self._stamps[gop]

    @property
    def parts(self) -> int:
        """Parts, from the period's start, that every track reached."""
        return min(self._parts.values())

    @property
    def stamps(self) -> Mapping[int, Stamp]:
        """Of the last GOPs, that of the last part reached among them."""
        return self._stamps

    @property
    def next_msn(self) -> Msn:
        """Media sequence number that follows the last segment with content."""
        return msn_after(self._stamps, parts_reached=self.parts, parts_per_gop=len(self._period.grid), first_msn=self._period.first_msn)


@dataclass(slots=True)
class _OpenTrack:
    start_ticks: Ticks
    duration_ticks: int = 0
    size: int = 0
    chunk_count: int = 0


@dataclass(slots=True)
class _OpenGop:
    life: str
    stamp: Stamp
    first_offset: int
    last_offset: int
    durable_unix_ms: UnixMs
    tracks: dict[str, _OpenTrack] = field(default_factory=dict)


class GopIndex:
    """The GOPs of a period whose chunks are all durable, one by one."""

    def __init__(self, period: Period, *, after_gop: int = -1) -> None:
        """
        Args:
            after_gop: Index only what follows this GOP.
        """
        self._period = period
        self._after = after_gop
        self._cell_count = len(tuple(cells(period.grid)))
        self._open: dict[int, _OpenGop] = {}

    def add(self, chunk: Chunk, *, size: int, offset: int, durable_unix_ms: UnixMs) -> Gop | None:
        """
        The index entry of the GOP that this chunk completes, if it does.

        Args:
            size: Bytes of its payload.
            offset: Where it stands in ``media``.
            durable_unix_ms: Its broker time.
        """
        if chunk.gop <= self._after:
            return None
        stamp = Stamp(msn=chunk.msn, first_gop=chunk.first_gop, gop_count=chunk.gop_count)
        gop = self._open.setdefault(chunk.gop, _OpenGop(chunk.life, stamp, offset, offset, durable_unix_ms))
        gop.last_offset, gop.durable_unix_ms = max(gop.last_offset, offset), max(gop.durable_unix_ms, durable_unix_ms)
        track = gop.tracks.setdefault(chunk.track, _OpenTrack(chunk.start_ticks))
        track.duration_ticks += chunk.duration_ticks
        track.size += size
        track.chunk_count += 1
        if sum(t.chunk_count for t in gop.tracks.values()) < self._cell_count * len(self._period.tracks):
            return None
        return self._entry(chunk.gop, self._open.pop(chunk.gop))

    def _entry(self, ordinal: GopOrdinal, gop: _OpenGop) -> Gop:
        period = self._period
        names: Sequence[str] = [t.track for t in period.tracks]
        return Gop(
            channel=period.channel,
            period=period.period,
            life=gop.life,
            gop=ordinal,
            msn=gop.stamp.msn,
            first_gop=gop.stamp.first_gop,
            gop_count=gop.stamp.gop_count,
            tracks=tuple(
                GopTrack(
                    track=name,
                    start_ticks=gop.tracks[name].start_ticks,
                    duration_ticks=Ticks(gop.tracks[name].duration_ticks),
                    size=gop.tracks[name].size,
                    chunk_count=gop.tracks[name].chunk_count,
                )
                for name in names
            ),
            first_offset=gop.first_offset,
            last_offset=gop.last_offset,
            durable_unix_ms=gop.durable_unix_ms,
        )

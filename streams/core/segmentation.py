"""
Which segment a GOP belongs to: continue the open one or open the next with the count of the plan in force.

The length is stamped when a segment opens and never edited; only the end of a period cuts one short.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.timeline import gops_per_segment_max
from schemas.units import GopOrdinal, Msn


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """
    How many GOPs a segment of a channel may have.

    Attributes:
        shortest: Fewest: at least one GOP, and no less than a quarter of the target duration (media rules, fact 7).
        longest: Most: the rounded duration must not exceed the target.
    """

    shortest: int
    longest: int

    @classmethod
    def of(cls, *, gop_frames: int, frame_rate_num: int, frame_rate_den: int, target_duration_ms: int) -> "Lengths":
        """
        The lengths that a frame grid and a target duration allow.

        Raises:
            RejectedError: One GOP is longer than the target.

        >>> Lengths.of(gop_frames=12, frame_rate_num=24, frame_rate_den=1, target_duration_ms=6_000)
        Lengths(shortest=3, longest=12)
        """
        longest = gops_per_segment_max(
            gop_frames=gop_frames, frame_rate_num=frame_rate_num, frame_rate_den=frame_rate_den, target_duration_ms=target_duration_ms
        )
        gop_units = gop_frames * frame_rate_den * 1_000
        shortest = -(-target_duration_ms * frame_rate_num // (4 * gop_units))
        return cls(shortest=min(max(1, shortest), longest), longest=longest)

    def clamp(self, wanted: int | None) -> int:
        """
        The count nearest to the wanted one; without a wish the longest.

        >>> Lengths(shortest=1, longest=4).clamp(9), Lengths(shortest=1, longest=4).clamp(None)
        (4, 4)
        """
        return self.longest if wanted is None else min(max(wanted, self.shortest), self.longest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """
    The segment that a GOP belongs to.

    Attributes:
        msn: Media sequence number.
        first_gop: Ordinal of its first GOP in the period.
        gop_count: GOPs it was opened with.
    """

    msn: Msn
    first_gop: GopOrdinal
    gop_count: int


def stamp(before: Stamp | None, *, gop: int, first_msn: int, wanted: int | None, lengths: Lengths) -> Stamp:
    """
    The stamp of a GOP.

    Args:
        before: Stamp of the GOP before it; absent at the start of a period.
        gop: Its ordinal, one more than that of the GOP before it.
        first_msn: Media sequence number of the period's first segment.
        wanted: GOPs per segment of the plan in force; absent while no plan was seen.

    >>> four = Lengths(shortest=1, longest=4)
    >>> opened = stamp(None, gop=0, first_msn=7, wanted=2, lengths=four)
    >>> stamp(opened, gop=1, first_msn=7, wanted=1, lengths=four) == opened
    True
    >>> stamp(opened, gop=2, first_msn=7, wanted=1, lengths=four)
    Stamp(msn=8, first_gop=2, gop_count=1)
    """
    if before and gop < before.first_gop + before.gop_count:
        return before
    return Stamp(msn=Msn(before.msn + 1 if before else first_msn), first_gop=GopOrdinal(gop), gop_count=lengths.clamp(wanted))


def msn_after(stamps: Mapping[int, Stamp], *, parts_reached: int, parts_per_gop: int, first_msn: int) -> Msn:
    """
    Media sequence number that follows a period's last segment with content; a segment left empty gives its number away.

    Args:
        stamps: Stamp of each GOP of the period, at least of the one in which the last part reached lies.
        parts_reached: Parts, from the period's start, that every track reached.

    >>> stamps = {0: Stamp(msn=Msn(5), first_gop=GopOrdinal(0), gop_count=1), 1: Stamp(msn=Msn(6), first_gop=GopOrdinal(1), gop_count=1)}
    >>> [msn_after(stamps, parts_reached=n, parts_per_gop=2, first_msn=5) for n in (0, 1, 2, 3)]
    [5, 6, 6, 7]
    """
    if not parts_reached:
        return Msn(first_msn)
    return Msn(stamps[(parts_reached - 1) // parts_per_gop].msn + 1)

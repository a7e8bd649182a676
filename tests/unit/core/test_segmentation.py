"""Which segment a GOP belongs to."""

import pytest

from schemas.errors import RejectedError
from schemas.units import GopOrdinal, Msn
from streams.core.segmentation import Lengths, Stamp, msn_after, stamp

FOUR = Lengths(shortest=1, longest=4)


def test_an_open_segment_is_continued_whatever_the_plan_says_meanwhile() -> None:
    opened = stamp(None, gop=0, first_msn=3, wanted=4, lengths=FOUR)
    assert [stamp(opened, gop=gop, first_msn=3, wanted=1, lengths=FOUR) for gop in (1, 2, 3)] == [opened] * 3


def test_the_next_segment_opens_with_the_plan_in_force() -> None:
    opened = stamp(None, gop=0, first_msn=3, wanted=2, lengths=FOUR)
    assert stamp(opened, gop=2, first_msn=3, wanted=1, lengths=FOUR) == Stamp(msn=Msn(4), first_gop=GopOrdinal(2), gop_count=1)


def test_without_a_plan_a_segment_is_the_longest_that_fits() -> None:
    assert stamp(None, gop=0, first_msn=0, wanted=None, lengths=FOUR).gop_count == 4


def test_no_segment_is_shorter_than_a_quarter_of_the_target() -> None:
    lengths = Lengths.of(gop_frames=25, frame_rate_num=50, frame_rate_den=1, target_duration_ms=6_000)
    assert (lengths.clamp(1), lengths.clamp(99)) == (3, 12)


def test_ntsc_rates_have_four_gops_in_four_seconds() -> None:
    lengths = Lengths.of(gop_frames=30, frame_rate_num=30_000, frame_rate_den=1_001, target_duration_ms=4_000)
    assert lengths == Lengths(shortest=1, longest=4)


def test_a_gop_longer_than_the_target_is_refused() -> None:
    with pytest.raises(RejectedError, match="longer than the target"):
        Lengths.of(gop_frames=250, frame_rate_num=25, frame_rate_den=1, target_duration_ms=4_000)


def test_a_segment_left_empty_gives_its_number_to_the_next_period() -> None:
    stamps = {0: Stamp(msn=Msn(7), first_gop=GopOrdinal(0), gop_count=1), 1: Stamp(msn=Msn(8), first_gop=GopOrdinal(1), gop_count=2)}
    assert msn_after(stamps, parts_reached=2, parts_per_gop=2, first_msn=7) == 8
    assert msn_after(stamps, parts_reached=3, parts_per_gop=2, first_msn=7) == 9

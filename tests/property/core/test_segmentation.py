"""Segments are unbroken and never edited, whatever the plans ask."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streams.core.segmentation import Lengths, Stamp, stamp

LENGTHS = st.tuples(st.integers(1, 5), st.integers(0, 8)).map(lambda pair: Lengths(shortest=pair[0], longest=pair[0] + pair[1]))
WISHES = st.lists(st.none() | st.integers(1, 20), min_size=1, max_size=60)


def stamp_all(wishes: list[int | None], lengths: Lengths, first_msn: int) -> list[Stamp]:
    stamps: list[Stamp] = []
    for gop, wanted in enumerate(wishes):
        stamps.append(stamp(stamps[-1] if stamps else None, gop=gop, first_msn=first_msn, wanted=wanted, lengths=lengths))
    return stamps


@given(WISHES, LENGTHS, st.integers(0, 10**9))
def test_every_gop_lies_in_its_segment_and_segments_follow_without_gap(wishes: list[int | None], lengths: Lengths, first_msn: int) -> None:
    stamps = stamp_all(wishes, lengths, first_msn)
    assert all(s.first_gop <= gop < s.first_gop + s.gop_count for gop, s in enumerate(stamps))
    for before, after in pairwise(stamps):
        is_next = after.msn == before.msn + 1 and after.first_gop == before.first_gop + before.gop_count
        assert after == before or is_next
    assert (stamps[0].msn, stamps[0].first_gop) == (first_msn, 0)


@given(WISHES, LENGTHS)
def test_every_length_is_allowed(wishes: list[int | None], lengths: Lengths) -> None:
    assert all(lengths.shortest <= s.gop_count <= lengths.longest for s in stamp_all(wishes, lengths, 0))


@given(WISHES, LENGTHS, st.integers(1, 59))
def test_what_is_stamped_does_not_depend_on_what_comes_later(wishes: list[int | None], lengths: Lengths, cut: int) -> None:
    assert stamp_all(wishes[:cut], lengths, 0) == stamp_all(wishes, lengths, 0)[:cut]

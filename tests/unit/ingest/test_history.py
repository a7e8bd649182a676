"""How far a period is that somebody else wrote; no broker."""

from collections.abc import Iterable

from schemas.records import Chunk
from schemas.units import UnixMs
from streams.ingest.history import _Known
from streams.ingest.progress import GopIndex, Reached
from tests.builders import make_chunks, make_period

PERIOD = make_period()
CHUNKS = make_chunks(PERIOD, (2, 1, 1))


def known(chunks: Iterable[Chunk]) -> _Known:
    found = _Known(PERIOD, Reached(PERIOD), GopIndex(PERIOD))
    for offset, chunk in enumerate(chunks):
        found.add(chunk, size=1, offset=offset, at=UnixMs(0))
    return found


def test_segments_after_a_hole_are_counted_since_packagers_make_them() -> None:
    whole = known(CHUNKS).reached
    missing = next(chunk for chunk in CHUNKS if chunk.gop == 1 and chunk.ends_gop)
    holed = known(chunk for chunk in CHUNKS if chunk is not missing).reached
    assert (holed.parts, holed.next_msn) == (whole.parts, whole.next_msn)


def test_a_segment_with_a_hole_at_the_end_is_not_reached() -> None:
    missing = next(chunk for chunk in CHUNKS if chunk.gop == 3 and chunk.part == 0)
    holed = known(chunk for chunk in CHUNKS if chunk is not missing).reached
    assert holed.parts == 3 * len(PERIOD.grid)

"""Whatever the bytes are, a chunk passes or is rejected; nothing else happens."""

from contextlib import suppress
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from packager.boxes import check_chunk, read_chunk, read_init
from schemas.errors import RejectedError
from tests.builders import make_chunks, make_init, make_payload, make_period

PERIOD = make_period()
CHUNK = make_chunks(PERIOD, (1,), frame_bytes=9)[0]
DEFAULTS = read_init(make_init())
EDITS = st.lists(st.tuples(st.integers(0, len(CHUNK.payload) - 1), st.integers(0, 255)), min_size=1, max_size=8)


@given(EDITS, st.integers(0, len(CHUNK.payload)))
def test_a_damaged_chunk_never_crashes(edits: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(CHUNK.payload)
    for at, value in edits:
        damaged[at] = value
    for payload in (bytes(damaged), bytes(damaged[:end])):
        with suppress(RejectedError):
            check_chunk(replace(CHUNK, payload=payload), PERIOD.tracks[0])


@given(st.binary(max_size=200))
def test_foreign_bytes_are_rejected(data: bytes) -> None:
    with suppress(RejectedError):
        read_chunk(data, DEFAULTS)
    with suppress(RejectedError):
        read_init(data)


@given(st.integers(1, len(CHUNK.payload)))
def test_every_truncation_is_noticed(cut: int) -> None:
    try:
        check_chunk(replace(CHUNK, payload=CHUNK.payload[:-cut]), PERIOD.tracks[0])
    except RejectedError:
        return
    raise AssertionError(f"{cut} bytes less went unnoticed")


@given(
    samples=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 50)), min_size=1, max_size=40),
    start=st.integers(0, 2**63 - 1),
    index=st.integers(0, 2**40),
    sync=st.booleans(),
)
def test_what_is_written_is_read(samples: list[tuple[int, int]], start: int, index: int, sync: bool) -> None:
    durations, sizes = zip(*samples, strict=True)
    boxes = read_chunk(make_payload(index=index, start=start, durations=durations, sizes=sizes, sync=sync), DEFAULTS)
    assert (boxes.sequence, boxes.start_ticks, boxes.duration_ticks, boxes.sample_count, boxes.is_sync) == (
        index % 2**32, start, sum(durations), len(samples), sync,
    )  # fmt: skip

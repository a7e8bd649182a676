"""What the bytes of a chunk must be."""

from dataclasses import replace

import pytest

from packager.boxes import check_chunk, read_chunk, read_init
from schemas.errors import RejectedError
from schemas.records import Chunk
from schemas.units import Ticks
from streams.ingest.cmaf import build_chunk
from streams.ingest.samples import Sample
from tests.builders import box, make_chunks, make_init, make_payload, make_period

PERIOD = make_period()
VIDEO, AUDIO = PERIOD.tracks
CHUNKS = make_chunks(PERIOD, (1,))


def first(**fields: object) -> Chunk:
    return replace(CHUNKS[0], **fields)  # type: ignore[arg-type]


def test_what_an_encoder_sends_passes() -> None:
    for chunk in CHUNKS:
        check_chunk(chunk, VIDEO if chunk.track == "v0" else AUDIO)


def test_boxes_are_read_as_they_were_written() -> None:
    payload = make_payload(index=7, start=2**40, durations=[512, 511], sizes=[10, 0], sync=False, track_id=3)
    boxes = read_chunk(payload, read_init(make_init(3)))
    assert (boxes.sequence, boxes.track_id, boxes.start_ticks, boxes.duration_ticks, boxes.sample_count, boxes.is_sync) == (
        7, 3, 2**40, 1_023, 2, False,
    )  # fmt: skip


def test_styp_prft_and_emsg_may_stand_before_the_moof() -> None:
    check_chunk(first(payload=box(b"styp", bytes(8)) + box(b"prft", bytes(24)) + box(b"emsg", bytes(9)) + CHUNKS[0].payload), VIDEO)


def test_the_index_counts_modulo_the_size_of_the_mfhd() -> None:
    payload = make_payload(index=2**32 + 5, start=0, durations=[512] * 6, sizes=[9] * 6, sync=True)
    check_chunk(first(index=2**32 + 5, payload=payload), VIDEO)


@pytest.mark.parametrize(
    ("chunk", "error"),
    [
        (first(payload=b""), "truncated"),
        (first(payload=CHUNKS[0].payload[:-1]), "truncated chunk: box 'mdat'"),
        (first(payload=CHUNKS[0].payload[:60]), "truncated chunk: box 'moof'"),
        (first(payload=CHUNKS[0].payload + b"more"), "4 bytes follow the mdat"),
        (first(payload=CHUNKS[0].payload * 2), "follow the mdat"),
        (first(payload=b"\x47" + bytes(187)), "truncated|foreign"),
        (first(payload=box(b"ftyp", b"isom") + CHUNKS[0].payload), "foreign chunk: 'ftyp'"),
        (first(payload=CHUNKS[1].payload), "samples last"),
        (first(payload=make_payload(index=0, start=0, durations=[512] * 6, sizes=[9] * 6, sync=True, track_id=2)), "track ID 2"),
        (first(index=1), "mfhd sequence number 0 is not the chunk's index 1"),
        (first(start_ticks=Ticks(512)), "tfdt 0 contradicts the record's start 512"),
        (first(duration_ticks=Ticks(3_584)), "samples last 3072 ticks, the record says 3584"),
        (first(independent=False), "sync sample"),
        (first(payload=CHUNKS[0].payload.replace(b"tfdt", b"free")), "no tfdt"),
        (first(payload=CHUNKS[0].payload.replace(b"mfhd", b"free")), "no mfhd"),
    ],
)
def test_what_contradicts_its_record_is_rejected(chunk: Chunk, error: str) -> None:
    with pytest.raises(RejectedError, match=error):
        check_chunk(chunk, VIDEO)


def test_samples_that_do_not_fill_the_mdat_are_rejected() -> None:
    payload = bytearray(make_payload(index=0, start=0, durations=[512] * 6, sizes=[9] * 6, sync=True))
    size_of_last = len(payload) - 6 * 9 - 8 - 8
    payload[size_of_last : size_of_last + 4] = (8).to_bytes(4, "big")
    with pytest.raises(RejectedError, match="samples take 53 bytes, the mdat has 54"):
        check_chunk(first(payload=bytes(payload)), VIDEO)


def test_an_init_segment_of_two_tracks_is_rejected() -> None:
    with pytest.raises(RejectedError, match="0 fragmented tracks"):
        read_init(box(b"ftyp", b"isom"))


def test_what_our_own_producer_writes_passes() -> None:
    samples = [Sample(Ticks(0), bytes([i]) * (i + 1), i == 0, 512) for i in range(6)]
    check_chunk(first(payload=build_chunk(samples, track_id=1, index=0, start_ticks=Ticks(0), frame_ticks=Ticks(512))), VIDEO)

"""Inputs that once did harm, or could: small lies that cost much, each turned down at once with its reason."""

import struct
import time
from dataclasses import replace

import pytest

from packager import webvtt
from packager.boxes import check_chunk
from schemas.codec import Codec
from schemas.errors import RejectedError
from schemas.records import Chunk
from streams.ingest.fragments import FragmentReader
from streams.ingest.init import InitSegment
from streams.ingest.text import init_segment
from tests.builders import box, make_chunks, make_payload, make_period

PERIOD = make_period()
CHUNK = make_chunks(PERIOD, (1,), frame_bytes=9)[0]
INIT = init_segment(1_000, "deu")
CPU_S_MAX = 0.5


def nested(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = box(kind, data)
    return data


def fragment(trun: bytes) -> bytes:
    tfhd, tfdt = box(b"tfhd", struct.pack(">II", 0x20000, 1)), box(b"tfdt", struct.pack(">II", 0, 0))
    return box(b"moof", box(b"mfhd", bytes(8)), box(b"traf", tfhd, tfdt, trun)) + box(b"mdat", b"")


def pushed(data: bytes) -> list[object]:
    return list(FragmentReader().feed(INIT + data))


def test_a_run_of_a_thousand_million_samples_without_a_byte_is_rejected_before_it_is_counted() -> None:
    began = time.process_time()
    with pytest.raises(RejectedError, match="samples"):
        pushed(fragment(box(b"trun", struct.pack(">II", 0, 10**9))))
    assert time.process_time() - began < CPU_S_MAX


@pytest.mark.parametrize("kind", [b"moov", b"trak", b"mdia"])
def test_boxes_within_boxes_without_end_are_rejected(kind: bytes) -> None:
    began = time.process_time()
    with pytest.raises(RejectedError):
        InitSegment(box(b"ftyp", b"cmfc", bytes(4)) + box(b"moov", nested(kind, 5_000)))
    assert time.process_time() - began < CPU_S_MAX


def test_an_init_segment_as_large_as_a_film_is_not_waited_for() -> None:
    with pytest.raises(RejectedError, match="moov"):
        list(FragmentReader().feed(struct.pack(">I4s", 200 * 2**20, b"moov")))


def test_a_box_that_claims_all_bytes_there_are_is_rejected() -> None:
    for size in (2**63, 2**64 - 1, 2**32, 0):
        with pytest.raises(RejectedError):
            pushed(struct.pack(">I4sQ", 1, b"mdat", size))
        damaged = CHUNK.payload[:-8] + struct.pack(">I4sQ", 1, b"mdat", size)
        with pytest.raises(RejectedError):
            check_chunk(_with(damaged), PERIOD.tracks[0])


def test_a_run_that_claims_more_samples_than_it_has_bytes_is_rejected() -> None:
    at = CHUNK.payload.index(b"trun") + 8
    for count in (10**6, 2**31, 2**32 - 1):
        with pytest.raises(RejectedError):
            check_chunk(_with(CHUNK.payload[:at] + struct.pack(">I", count) + CHUNK.payload[at + 4 :]), PERIOD.tracks[0])


def test_an_array_of_a_million_million_elements_is_not_a_record() -> None:
    data = Codec().encode(PERIOD)
    for at in range(10, len(data)):
        with pytest.raises(RejectedError):
            Codec().decode(data[:at] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")


@pytest.mark.parametrize("kind", [b"tfdt", b"trun"])
def test_text_with_an_empty_box_is_rejected(kind: bytes) -> None:
    chunk = make_payload(index=0, start=0, durations=[1_000], sizes=[8], sync=True)
    at = chunk.index(kind) - 4
    size = struct.unpack_from(">I", chunk, at)[0]
    body = chunk[:at] + box(kind) + box(b"free", bytes(size - 16)) + chunk[at + size :]
    with pytest.raises(RejectedError):
        webvtt.render(body, INIT)


def test_text_without_a_timescale_is_rejected() -> None:
    at = INIT.index(b"mdhd") + 4
    init = INIT[: at + 12] + bytes(4) + INIT[at + 16 :]
    with pytest.raises(RejectedError):
        webvtt.render(make_payload(index=0, start=0, durations=[1_000], sizes=[8], sync=True), init)
    with pytest.raises(RejectedError):
        InitSegment(init)


def test_an_init_segment_without_a_sample_entry_is_rejected() -> None:
    at = INIT.index(b"stsd") - 4
    size = struct.unpack_from(">I", INIT, at)[0]
    with pytest.raises(RejectedError, match="stsd"):
        InitSegment(INIT[:at] + box(b"stsd", bytes(8)) + box(b"free", bytes(size - 24)) + INIT[at + size :])


def test_a_moov_of_thousands_of_tracks_is_rejected_before_each_gets_its_own() -> None:
    tkhds = (box(b"trak", box(b"tkhd", struct.pack(">IIII", 0, 0, 0, number))) for number in range(5_000))
    began = time.process_time()
    with pytest.raises(RejectedError, match="tracks"):
        list(FragmentReader().feed(box(b"ftyp", b"cmfc") + box(b"moov", *tkhds)))
    assert time.process_time() - began < CPU_S_MAX


def _with(payload: bytes) -> Chunk:
    return replace(CHUNK, payload=payload)

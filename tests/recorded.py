"""Real media at any length, as an encoder would have written it: a recording, repeated."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from schemas.records import Chunk, Period
from schemas.timeline import frames_per_gop
from schemas.units import Ticks
from streams.ingest.cmaf import build_chunk
from streams.ingest.init import InitSegment
from streams.ingest.recording import Recording
from streams.ingest.samples import Sample
from tests.builders import make_chunks, make_period


def period_of(recording: Recording, channel: str = "news") -> Period:
    """The first period of a channel with the tracks of a recording of 25 frames per second."""
    period = replace(make_period(channel), tracks=recording.tracks)
    assert recording.frame_rate == recording.gop_frames == frames_per_gop(period)
    return period


def chunks_of(recording: Recording, period: Period, segments: Sequence[int]) -> Iterator[Chunk]:
    """
    The chunks of some segments, in the order of an encoder's log.

    Args:
        recording: What is repeated.
        period: From `period_of`.
        segments: GOPs of each segment.
    """
    ids = {track.track: InitSegment(track.init).track_id for track in period.tracks}
    lengths = {track.track: track.frame_ticks for track in period.tracks}
    begins = accumulate(segments, initial=0)
    for msn, (first_gop, count) in enumerate(zip(begins, segments, strict=False), start=period.first_msn):
        for chunk in make_chunks(period, (count,), first_gop=first_gop, first_msn=msn, frame_bytes=0):
            frame_ticks = lengths[chunk.track]
            samples = _samples(recording.samples[chunk.track], chunk.start_ticks // frame_ticks, chunk.duration_ticks // frame_ticks)
            payload = build_chunk(
                samples, track_id=ids[chunk.track], index=chunk.index, start_ticks=chunk.start_ticks, frame_ticks=Ticks(frame_ticks)
            )
            yield replace(chunk, payload=payload)


def _samples(reel: Sequence[Sample], first: int, count: int) -> list[Sample]:
    return [reel[number % len(reel)] for number in range(first, first + count)]

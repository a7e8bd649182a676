"""Frames at the speed of a camera, and an encoder that cannot keep up, in time that is made up."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from schemas.records import TrackKind
from schemas.settings import Settings
from streams.ingest import metrics
from streams.ingest.encoder import Encoder
from streams.ingest.ladder import AUDIO_FRAME, AUDIO_RATE_HZ
from streams.ingest.pace import HELD_MAX, Pace
from streams.ingest.producer import ChannelWriter
from streams.ingest.samples import Sample
from streams.ingest.source import Numbered
from tests.unit.ingest.fakes import FakeLink, make_clip
from tests.unit.ingest.test_encoder import SMALL

RATE = Fraction(25)
GOP = 25


class World:
    """A clock that goes on when somebody waits, decodes or encodes."""

    def __init__(self, *, seconds: int, decode_s: float = 0.001, encode_s: float = 0.0) -> None:
        self.now = 1_000.0
        self.over_at = float("inf")
        self.decode_s = decode_s
        self.encode_s = encode_s
        self._seconds = seconds

    def pace(self, *, behind_max_s: float = 8.0) -> Iterator[tuple[float, Numbered]]:
        """Time since the first frame, and the frame."""
        pace = Pace(RATE, behind_max_s=behind_max_s, monotonic=lambda: self.now, wait=self._wait)
        began: float | None = None
        for item in pace.of(self._decode()):
            began = self.now if began is None else began
            yield self.now - began, item
            if isinstance(item[1], VideoFrame):
                self.now += self.encode_s

    def _decode(self) -> Iterator[Numbered]:
        picture, sound = VideoFrame(16, 16), AudioFrame(layout="stereo", format="fltp", samples=AUDIO_FRAME)
        heard = 0
        for number in range(self._seconds * GOP):
            self.now += self.decode_s
            yield number, picture
            while heard * AUDIO_FRAME < (number + 1) * AUDIO_RATE_HZ / RATE:
                yield heard * AUDIO_FRAME, sound
                heard += 1

    def _wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now >= self.over_at


def pictures(told: list[tuple[float, Numbered]]) -> list[tuple[float, int]]:
    return [(at, number) for at, (number, frame) in told if isinstance(frame, VideoFrame)]


def sounds(told: list[tuple[float, Numbered]]) -> list[int]:
    return [number for _, (number, frame) in told if isinstance(frame, AudioFrame)]


def test_every_frame_comes_in_its_time_to_an_encoder_that_keeps_up() -> None:
    told = list(World(seconds=20, encode_s=0.03).pace())
    assert [number for _, number in pictures(told)] == list(range(20 * GOP))
    # What was decoded ahead makes the first pictures wait for nothing.
    assert all(abs(at - number / RATE) < 0.1 for at, number in pictures(told)[HELD_MAX:])


def test_an_encoder_that_is_too_slow_is_never_further_behind_than_it_may_be_and_a_gop() -> None:
    told = list(World(seconds=120, encode_s=0.06).pace())
    behind = [at - number / RATE for at, number in pictures(told)]
    assert 8.0 < max(behind) < 8.0 + 2 * GOP * 0.06
    assert behind[-1] < 10


def test_what_is_left_out_is_whole_gops_of_picture_and_the_sound_of_the_same_time() -> None:
    skipped = metrics.SKIPPED._value.get()
    told = list(World(seconds=60, encode_s=0.06).pace())
    numbers = [number for _, number in pictures(told)]
    jumps = [(a + 1, b) for a, b in pairwise(numbers) if b != a + 1]
    assert jumps
    assert all(first % GOP == 0 and last % GOP == 0 for first, last in jumps)
    heard = set(sounds(told))
    every = range(0, -(-60 * AUDIO_RATE_HZ // AUDIO_FRAME) * AUDIO_FRAME, AUDIO_FRAME)
    missing = {n for n in every if any(first / RATE <= Fraction(n, AUDIO_RATE_HZ) < last / RATE for first, last in jumps)}
    assert heard == set(every) - missing
    assert metrics.SKIPPED._value.get() - skipped == sum(last - first for first, last in jumps) / RATE


def test_input_that_is_decoded_too_slowly_ends_when_it_is_told_to() -> None:
    world = World(seconds=600, decode_s=0.2)
    world.over_at = world.now + 60
    told = pictures(list(world.pace()))
    assert told[-1][1] < 100
    assert world.now < world.over_at + 1


def test_input_left_out_opens_a_new_period_which_begins_with_key_frames(tmp_path: Path) -> None:
    looks = iter([0.0, *[2.0] * 100])
    clip = make_clip(tmp_path / "clip.mp4", seconds=12)
    link = FakeLink(Settings())
    with (
        Encoder(
            str(clip), realtime=True, ladder=SMALL, preset="ultrafast", behind_max_s=8.0, monotonic=lambda: next(looks, 12.0)
        ) as encoder,
        ChannelWriter(
            Settings(), channel="news", tracks=encoder.tracks, frame_rate=encoder.rate, gop_frames=encoder.gop_frames, link=link
        ) as writer,
    ):
        for item in encoder.samples():
            if item and isinstance(item[1], Sample):
                writer.write(item[0], item[1])
    assert [period.period for period in link.periods()] == [0, 1]
    for track in encoder.tracks:
        chunks = [chunk for chunk in link.chunks(track.track) if chunk.period == 1]
        assert chunks
        if track.kind is TrackKind.VIDEO:
            assert chunks[0].independent
    assert metrics.PERIODS.labels(cause="jump")._value.get() >= 1


@pytest.fixture(autouse=True)
def nothing_is_behind() -> Iterator[None]:
    yield
    metrics.BEHIND.set(0)

"""Pairs of encoders on a real Kafka: one leads, the other goes on when it falls silent, and the first stands by when it returns."""

import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from infra.process import spawn
from schemas.records import Chunk, Level, MarkKind, MediaMark, Period, Track
from schemas.topics import CHANNELS, MEDIA
from streams.ingest.codecs import VideoEncoder
from streams.ingest.ladder import Rendition
from streams.ingest.standby import Standby
from tests.broker.test_ingest import ROOT, TRACKS, Log, check_unbroken, environment_of, until
from tests.broker.test_push import Ingest
from tests.unit.ingest.fakes import RATE, feed, make_clip, pictures, sound
from tests.unit.ingest.pushes import Picture, push

STANDBY_MS = 400
ENCODE = """
import sys
from schemas.settings import load
from streams.ingest.encode import run
sys.exit(run(load(), sys.argv[1], ["news"], realtime=True, loop=True, preset="ultrafast", standby=True))
"""


@pytest.fixture
def log(kafka: LocalBroker) -> Log:
    return Log(kafka, standby_ms=STANDBY_MS)


def encoder(log: Log, tracks: Sequence[Track] = TRACKS) -> Standby:
    return Standby(log.settings, channel="news", tracks=tracks, frame_rate=RATE, gop_frames=25, idle_level=Level.PARTS)


def until_leading(standby: Standby) -> None:
    def leads() -> bool:
        standby.poll()
        return standby.is_leading

    until(leads)


def until_following(standby: Standby) -> None:
    def follows() -> bool:
        standby.poll()
        return standby._follower is not None

    until(follows)


def lives(log: Log) -> list[tuple[int, int]]:
    """Which of the lives, in the order they came, began each GOP: (period, life)."""
    seen: dict[str, int] = {}
    first: dict[tuple[int, int], int] = {}
    for chunk in log.all(MEDIA, Chunk):
        first.setdefault((chunk.period, chunk.gop), seen.setdefault(chunk.life, len(seen)))
    return [(period, life) for (period, _), life in sorted(first.items())]


def test_the_other_goes_on_in_the_same_period_and_the_first_stands_by_when_it_returns(log: Log) -> None:
    first, second = encoder(log), encoder(log)
    feed(first, pictures(0, 1))
    until_leading(first)
    feed(second, pictures(0, 1))
    until_following(second)
    feed(first, pictures(1, 125), sound(0, 5))
    first.flush()
    feed(second, pictures(1, 190), sound(0, 8))
    until_leading(second)
    feed(first, pictures(125, 190), sound(5, 8))
    assert not first.is_leading
    until_following(first)
    feed(second, pictures(190, 225), sound(8, 9))
    second.flush()
    feed(first, pictures(190, 250), sound(8, 10))
    until_leading(first)
    first.flush()
    assert lives(log) == [(0, 0)] * 5 + [(0, 1)] * 4 + [(0, 2)]
    assert [p.encoder_ticks for p in log.all(CHANNELS, Period)] == [0]
    for each in (first, second):
        each.close()
    with log.writer() as last:
        feed(last, pictures(0, 25), sound(0, 1))
    check_unbroken(log)


def test_a_gop_that_was_begun_is_given_up_and_a_new_period_begins_at_the_next(log: Log) -> None:
    first, second = encoder(log), encoder(log)
    feed(first, pictures(0, 1))
    until_leading(first)
    until_following(second)
    feed(first, pictures(1, 63), sound(0, 3))
    first.flush()
    feed(second, pictures(0, 126), sound(0, 5))
    until_leading(second)
    second.flush()
    assert lives(log) == [(0, 0)] * 3 + [(1, 1)] * 2
    mark = log.all(MEDIA, MediaMark)[1]
    before, after = log.all(CHANNELS, Period)
    assert (mark.kind, mark.parts_reached, mark.next_msn) == (MarkKind.PERIOD_START, 5, 1)
    assert (before.encoder_ticks, after.encoder_ticks) == (0, 75_000)
    for each in (first, second):
        each.close()
    with log.writer() as last:
        feed(last, pictures(0, 25), sound(0, 1))
    check_unbroken(log)


def test_an_encoder_of_another_kind_begins_a_period_of_its_own(log: Log) -> None:
    other = VideoEncoder(Rendition(track="v0", width=96, height=54, bitrate_bps=50_000), RATE, preset="ultrafast").track
    first, second = encoder(log), encoder(log, [other, TRACKS[1]])
    feed(first, pictures(0, 1))
    until_leading(first)
    until_following(second)
    feed(first, pictures(1, 50), sound(0, 2))
    first.flush()
    second.poll()

    seconds = count(2)

    def goes_on() -> bool:
        at = next(seconds)
        feed(second, pictures(25 * at, 25 * at + 25), sound(at, at + 1))
        second.poll()
        return second.is_leading

    until(goes_on)
    assert [p.tracks[0].width for p in log.all(CHANNELS, Period)] == [64, 96]
    for each in (first, second):
        each.close()


def test_a_pair_pushes_one_channel_and_the_second_goes_on_where_the_first_was_cut_off(kafka: LocalBroker, tmp_path: Path) -> None:
    ingest = Ingest(Log(kafka), tmp_path, STANDBY_MS=str(STANDBY_MS))
    try:
        whole = BytesIO()
        push(whole, [Picture()], seconds=7)
        data = whole.getvalue()[: whole.getvalue().rindex(b"mfra") - 4]
        starts = [at for at in range(len(data)) if data[at + 4 : at + 8] == b"moof"]
        cut = starts[3]
        assert ingest.post("news/v0?tracks=v0&encoder=a", data[:cut])[0] == 204
        until(lambda: len(ingest.chunks("news", "v0")) == 12)
        assert ingest.post("news/v0?tracks=v0&encoder=b", data)[0] == 204
        until(lambda: len(ingest.chunks("news", "v0")) == 28)
        assert len({chunk.life for chunk in ingest.chunks("news", "v0")}) == 2
        assert [p.period for p in ingest.log.all(CHANNELS, Period)] == [0]
        assert not ingest.ends("news")
    finally:
        ingest.stop()


def test_of_two_encoder_processes_one_is_killed_and_the_other_goes_on_without_a_hole_in_the_numbers(log: Log, tmp_path: Path) -> None:
    clip, said = make_clip(tmp_path / "clip.mp4", seconds=4.0), tmp_path / "second.log"

    def encode(out: Path) -> subprocess.Popen[bytes]:
        with out.open("wb") as file:
            return spawn([sys.executable, "-c", ENCODE, clip], cwd=ROOT, env=environment_of(log, STANDBY_MS=STANDBY_MS), stdout=file)

    first = encode(tmp_path / "first.log")
    until(lambda: bool(log.all(MEDIA, Chunk)))
    second = encode(said)
    try:
        until(lambda: "encoder_follows" in said.read_text())
        killed = log.all(MEDIA, Chunk)[-1].life
        first.kill()
        until(lambda: log.all(MEDIA, Chunk)[-1].life != killed)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    with log.writer() as last:
        feed(last, pictures(0, 25), sound(0, 1))
    check_unbroken(log)

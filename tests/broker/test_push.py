"""Encoders that push CMAF over HTTP, as FFmpeg does, to a running ``finecut ingest`` on a real Kafka."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from infra.kafka import LocalBroker
from infra.process import spawn
from packager import webvtt
from schemas.records import Chunk, MarkKind, MediaMark, Period
from schemas.topics import CHANNELS, MEDIA
from streams.ingest.text import EMPTY
from tests.broker.test_ingest import Log, check_unbroken, until
from tests.unit.ingest.pushes import Picture, Sound, push
from tests.unit.ingest.test_captions import cue, pushed_text

SERVER = """
import sys
from infra.logs import configure
from schemas.settings import load
from streams.ingest.http import run
configure("info")
sys.exit(run(load()))
"""
ROOT = Path(__file__).parents[2]
TOKEN = "let-me-in"  # noqa: S105


class Ingest:
    """The server of one test."""

    def __init__(self, log: Log, folder: Path, **settings: str) -> None:
        kafka = log.settings.kafka
        self._errors = folder / "ingest.log"
        self.log = log
        environment = os.environ | {
            "FINECUT_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "FINECUT_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
            "FINECUT_KAFKA__POOL_COUNT": "2",
            "FINECUT_KAFKA__MEDIA_PARTITION_COUNT": "4",
            "FINECUT_INGEST__PORT": "0",
            "FINECUT_INGEST__GATHER_MS": "500",
            "FINECUT_INGEST__TOKEN": TOKEN,
            **{f"FINECUT_INGEST__{name}": value for name, value in settings.items()},
        }
        with self._errors.open("wb") as errors:
            self.process: subprocess.Popen[bytes] = spawn([sys.executable, "-c", SERVER], cwd=ROOT, env=environment, stderr=errors)
        until(lambda: bool(self.said("ingest_listening")) or self.process.poll() is not None)
        found = re.search(r"http://([\d.]+):(\d+)", self.said("ingest_listening"))
        assert found, self._errors.read_text()
        self.host, self.port = found[1], int(found[2])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self._errors.read_text()

    def said(self, event: str) -> str:
        return next((line for line in self._errors.read_text().splitlines() if f'"{event}"' in line), "")

    def url(self, path: str) -> str:
        return f"http://encoder:{TOKEN}@{self.host}:{self.port}/{path}"

    def post(self, path: str, body: bytes, *, token: str = TOKEN) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", f"/{path}", body, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def chunks(self, channel: str, track: str) -> list[Chunk]:
        return [chunk for chunk in self.log.all(MEDIA, Chunk, channel) if chunk.track == track]

    def ends(self, channel: str) -> list[MediaMark]:
        return [mark for mark in self.log.all(MEDIA, MediaMark, channel) if mark.kind is MarkKind.CHANNEL_END]


@pytest.fixture
def ingest(kafka: LocalBroker, tmp_path: Path) -> Iterator[Ingest]:
    made = Ingest(Log(kafka), tmp_path)
    yield made
    made.stop()


def together(*pushes: tuple[str, list[Picture | Sound]], seconds: int) -> None:
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(push, *pushed, seconds=seconds) for pushed in pushes]:
            done.result()


def test_text_is_pushed_beside_the_pictures_and_cut_where_they_are(ingest: Ingest) -> None:
    box = cue(0, 1, "pushed").box
    text = pushed_text([(0, 1_000, EMPTY), (1_000, 1_700, box), (2_700, 3_000, EMPTY)])
    assert ingest.post("news/Streams(t-de.cmft)", text)[0] == 204
    push(ingest.url("news/v0.cmfv"), [Picture()], seconds=6)
    until(lambda: bool(ingest.ends("news")))
    period = ingest.log.all(CHANNELS, Period)[0]
    assert [(track.track, track.is_text, track.language) for track in period.tracks] == [("v0", False, "und"), ("t-de", True, "deu")]
    chunks = ingest.chunks("news", "t-de")
    assert len(chunks) == len(ingest.chunks("news", "v0"))
    read = webvtt.render(b"".join(chunk.payload for chunk in chunks), period.tracks[1].init).decode()
    assert "00:00:01.000 --> 00:00:02.700\npushed\n" in read
    check_unbroken(ingest.log)


def test_ffmpeg_pushes_a_track_per_connection_and_the_channel_ends_when_all_do(ingest: Ingest) -> None:
    together(
        (ingest.url("news/Streams(v0.cmfv)"), [Picture()]),
        (ingest.url("news/v1.mp4"), [Picture(size=(96, 54))]),
        (ingest.url("news/a-de"), [Sound()]),
        seconds=6,
    )
    until(lambda: bool(ingest.ends("news")))
    period = ingest.log.all(CHANNELS, Period)[0]
    assert {(track.track, track.width, track.language) for track in period.tracks} == {
        ("v0", 64, "und"), ("v1", 96, "und"), ("a-de", 0, "deu")}  # fmt: skip
    assert sum(chunk.ends_gop for chunk in ingest.chunks("news", "v1")) >= 5
    check_unbroken(ingest.log)


def test_one_connection_may_carry_all_tracks_and_a_second_push_goes_on_in_a_new_period(ingest: Ingest) -> None:
    push(ingest.url("news"), [Picture(), Sound()], seconds=4)
    until(lambda: len(ingest.ends("news")) == 1)
    push(ingest.url("news"), [Picture(size=(96, 54)), Sound()], seconds=4)
    until(lambda: len(ingest.ends("news")) == 2)
    assert [next(t.width for t in p.tracks if t.track == "v0") for p in ingest.log.all(CHANNELS, Period)] == [64, 96]
    check_unbroken(ingest.log)


def test_a_push_may_come_as_one_request_for_each_fragment(ingest: Ingest) -> None:
    whole = BytesIO()
    push(whole, [Picture()], seconds=4)
    data = whole.getvalue()
    starts = [found.start() - 4 for found in re.finditer(b"moof", data)]
    pieces = [data[: starts[0]], *(data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True))]
    assert [ingest.post("news/v0?tracks=v0", piece)[0] for piece in pieces] == [204] * len(pieces)
    until(lambda: bool(ingest.ends("news")))
    assert sum(chunk.ends_gop for chunk in ingest.chunks("news", "v0")) >= 3


def test_an_encoder_that_is_cut_off_comes_again_and_the_channel_goes_on(ingest: Ingest) -> None:
    whole = BytesIO()
    push(whole, [Picture()], seconds=4)
    data = whole.getvalue()
    broken = data[: data.rindex(b"moof") + 40]
    assert ingest.post("news/v0?tracks=v0", broken)[0] == 204
    until(lambda: len(ingest.chunks("news", "v0")) >= 8)
    assert not ingest.ends("news")
    assert ingest.post("news/v0", data)[0] == 204
    until(lambda: bool(ingest.ends("news")))
    check_unbroken(ingest.log)


def test_what_cannot_be_taken_is_refused_with_the_reason(ingest: Ingest) -> None:
    whole, other = BytesIO(), BytesIO()
    push(whole, [Picture()], seconds=1)
    push(other, [Picture(), Picture(gop=40)], seconds=5)
    assert ingest.post("news/v0", whole.getvalue(), token="wrong")[0] == 401  # noqa: S106
    assert ingest.post("NEWS/v0", whole.getvalue()) == (
        400, "channel 'NEWS' is not an id: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'\n")  # fmt: skip
    assert ingest.post("news/v0", b"not an MP4 file")[0] == 400
    ingest.post("sport?tracks=v0,v1", other.getvalue())
    until(lambda: "one fixed GOP" in ingest._errors.read_text())
    assert TOKEN not in ingest._errors.read_text()
    assert json.loads(ingest.said("push_refused"))["status"] == 400

"""A recording that is played, by a clock in the hand of the tests."""

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.records import Chunk, MediaMark
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.units import UnixMs
from streams.ingest import playout
from streams.ingest.link import Acked
from streams.ingest.playout import _play_all
from streams.ingest.producer import ChannelWriter
from tests.unit.ingest.fakes import FakeLink, make_tracks, pictures, sound

# What a look at the clock takes.
LOOK_S = 0.0002
PLAYED_S = 6.0
VIDEO, AUDIO = make_tracks()


class PlayedLink(FakeLink):
    """One whose waiting is the time that passes, and whose first mark is acknowledged late."""

    def __init__(self, late_s: float = 0.0) -> None:
        super().__init__(Settings())
        self.late_s, self.at_s = late_s, 1_000.0
        self.sent_s: dict[str, list[tuple[float, float]]] = {}

    def monotonic(self) -> float:
        self.at_s += LOOK_S
        return self.at_s

    def poll(self, timeout_s: float = 0.0) -> None:
        self.at_s += timeout_s

    def send(self, topic: Topic, partition: int, key: str, record: Any, acked: Acked = lambda *_: None) -> None:
        super().send(topic, partition, key, record, acked)
        if isinstance(record, Chunk) and record.track == VIDEO.track:
            self.sent_s.setdefault(record.channel, []).append((self.at_s, record.start_ticks / VIDEO.timescale))

    def send_now(self, topic: Topic, partition: int, key: str, record: Any) -> tuple[int, UnixMs]:
        offset, at = super().send_now(topic, partition, key, record)
        if isinstance(record, MediaMark):
            self.at_s += self.late_s
            self.late_s = 0.0
            offset = offset if record.period else 0  # each channel has a partition of its own
        return offset, at


@pytest.fixture
def recording() -> Any:
    samples = {VIDEO.track: [sample for _, _, sample in pictures(0, 50)], AUDIO.track: [sample for _, _, sample in sound(0, 2)]}
    return SimpleNamespace(tracks=(VIDEO, AUDIO), samples=samples, gop_frames=25, frame_rate=Fraction(25))


def played(link: PlayedLink, recording: Any, *channels: str, monkeypatch: pytest.MonkeyPatch, close_at_s: float = 1e9) -> None:
    """Play for a while; a period is closed on the way, as when the clock was off."""
    monkeypatch.setattr(playout, "time", link)
    writers = [
        ChannelWriter(link.settings, channel=name, tracks=recording.tracks, frame_rate=Fraction(25), gop_frames=25, link=link)
        for name in channels
    ]
    end_s = link.at_s + link.late_s + PLAYED_S
    closing = [link.at_s + close_at_s]

    def is_over() -> bool:
        if closing and link.at_s >= closing[0]:
            closing.clear()
            writers[0]._close_period("drift")
        return link.at_s >= end_s

    _play_all(recording, writers, link, cast(Any, SimpleNamespace(is_set=is_over)))


def test_every_track_goes_on_after_a_period_that_ended_on_the_way(recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    link = PlayedLink()
    played(link, recording, "news", monkeypatch=monkeypatch, close_at_s=2.5)
    assert len(link.periods()) == 2
    for track in recording.tracks:
        chunks = [chunk for chunk in link.chunks(track.track) if chunk.period == 1]
        assert sum(chunk.duration_ticks for chunk in chunks) / track.timescale == pytest.approx(PLAYED_S - 3, abs=0.6)


def test_a_channel_that_begins_late_since_another_was_held_up_is_not_ahead_of_its_time(
    recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = PlayedLink(late_s=14.0)
    played(link, recording, "news", "arts", monkeypatch=monkeypatch)
    (first_s, began_s), *_, (last_s, ended_s) = link.sent_s["arts"]
    assert last_s - first_s == pytest.approx(ended_s - began_s, abs=0.2)
    assert ended_s - began_s > PLAYED_S / 2

"""Whom an encoder takes for itself when Kafka comes back, and whom for another."""

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, Self

import pytest

from schemas.errors import DisplacedError, RetryableError
from schemas.settings import IngestSettings, Settings
from schemas.units import Ticks
from streams.ingest import encode
from streams.ingest.ending import Ending
from streams.ingest.samples import Sample

SAMPLE = Sample(Ticks(0), b"frame", sync=True)


class Log:
    """Whose the channel is; each writer that comes finds it so."""

    def __init__(self, *found: str | None) -> None:
        self.found = iter(found)
        self.made: list[Writer] = []


class Writer(Ending):
    """Its first frame is not taken, unless it is the last that is expected."""

    early_s, waiting_bytes = 0.0, 0

    def __init__(self, log: Log, *, is_last: bool) -> None:
        self.found_life, self.life = next(log.found), f"life {len(log.made)}"
        self.written, self.is_ended, self._is_last = 0, False, is_last
        log.made.append(self)

    def write(self, track: str, sample: Sample) -> None:
        if not self._is_last:
            raise RetryableError("Kafka is away", retry_after_ms=1)
        self.written += 1

    def poll(self, timeout_s: float = 0.0) -> None:
        return

    def end(self) -> None:
        self.is_ended = True

    def close(self) -> None:
        return


class Source:
    """Frames until one was written, or for so many looks."""

    tracks = (SimpleNamespace(track="v0", timescale=25_000),)
    rate, gop_frames = Fraction(25), 25

    def __init__(self, log: Log) -> None:
        self._log = log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def samples(self) -> Iterator[tuple[str, Sample]]:
        while not any(writer.written for writer in self._log.made):
            yield "v0", SAMPLE

    def stop(self) -> None:
        return

    def hurry(self, early_s: float) -> None:
        return


def run(monkeypatch: pytest.MonkeyPatch, log: Log, *, writers: int) -> int:
    def make(*_: object, **__: Any) -> Writer:
        return Writer(log, is_last=len(log.made) + 1 == writers)

    monkeypatch.setattr(encode, "ChannelWriter", make)
    monkeypatch.setattr(encode, "Encoder", lambda *_, **__: Source(log))
    settings = Settings(ingest=IngestSettings(retry_ms=1, metrics_port=0))
    return encode.run(settings, "clip.mp4", ["news"], take_over=True)


@pytest.mark.parametrize("found", [[None, None], ["before", "before"], ["before", "life 0"], ["before", "life 0", "life 0"]])
def test_a_channel_that_is_as_it_was_or_ours_when_kafka_is_back_is_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, found: list[str | None]
) -> None:
    log = Log(*found)
    assert run(monkeypatch, log, writers=len(found)) == 0
    assert [writer.is_ended for writer in log.made] == [False] * (len(found) - 1) + [True]


def test_a_channel_that_another_took_while_kafka_was_away_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DisplacedError, match="while Kafka was away"):
        run(monkeypatch, Log("before", "stranger"), writers=3)

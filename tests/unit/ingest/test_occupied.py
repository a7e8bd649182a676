"""Whether somebody writes a channel is known only once all that was written lately is read."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from schemas.codec import Codec
from schemas.errors import UserError
from schemas.records import MarkKind, MediaMark
from schemas.settings import KafkaSettings
from schemas.units import Msn
from streams.ingest import occupied
from streams.ingest.reading import KafkaAwayError

KAFKA = KafkaSettings()
MARK = MediaMark(
    channel="news", life="f00d", kind=MarkKind.PERIOD_START, period=0, ended_period=None, parts_reached=0, next_msn=Msn(0)
)  # fmt: skip


class Record(SimpleNamespace):
    """One message, or the end of the partition."""

    def error(self) -> Any:
        return None if self.value_ else SimpleNamespace(code=lambda: KafkaError._PARTITION_EOF)

    def key(self) -> bytes:
        return b"news"

    def value(self) -> bytes:
        return bytes(self.value_)

    def partition(self) -> int:
        return 3


WRITTEN, END = Record(value_=Codec().encode(MARK)), Record(value_=b"")


class Broker:
    """A consumer whose answers take a tenth of a second each, of a clock of its own."""

    def __init__(self, answers: Iterator[Record | None]) -> None:
        self.now = 0.0
        self._answers = answers

    def poll(self, timeout_s: float) -> Record | None:
        self.now += timeout_s
        return next(self._answers, None)

    def assign(self, *_: object) -> None:
        return

    def close(self) -> None:
        return


class Known:
    """Knows one channel that is live."""

    def __init__(self, *_: object) -> None:
        return

    def start(self) -> None:
        return

    def close(self) -> None:
        return

    def newest(self, channel: str) -> Any:
        return SimpleNamespace(channel=channel, media_partition=3)

    def end_of(self, period: object) -> None:
        return


def await_silence(monkeypatch: pytest.MonkeyPatch, *answers: Record | None) -> Broker:
    broker = Broker(iter(answers))
    monkeypatch.setattr(occupied, "Registry", Known)
    monkeypatch.setattr(occupied, "make_consumer", lambda _: broker)
    monkeypatch.setattr(occupied, "offset_at", lambda *_: 0)
    monkeypatch.setattr(occupied, "time", SimpleNamespace(monotonic=lambda: broker.now, time_ns=lambda: 10**18))
    occupied.await_silence(KAFKA, ["news"], silence_ms=1_500)
    return broker


def test_a_first_answer_that_takes_longer_than_the_silence_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="news is being written by another encoder, run f00d"):
        await_silence(monkeypatch, *[None] * 30, WRITTEN, END, WRITTEN)


def test_who_wrote_lately_is_waited_for_as_long_as_the_silence_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await_silence(monkeypatch, *[None] * 30, WRITTEN, END).now == pytest.approx(3.2 + 1.5, abs=0.2)


def test_a_channel_that_nobody_wrote_lately_is_free_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await_silence(monkeypatch, END).now == pytest.approx(0.1)


def test_a_broker_that_does_not_answer_is_not_taken_for_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KafkaAwayError):
        await_silence(monkeypatch)

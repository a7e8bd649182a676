"""What a connection to Kafka gives up is counted, whoever writes through it."""

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE

from schemas.codec import Codec
from schemas.errors import RetryableError
from schemas.records import MarkKind, MediaMark
from schemas.settings import IngestSettings, KafkaSettings, Settings
from schemas.topics import MEDIA
from schemas.units import Msn
from streams.ingest import link, metrics
from streams.ingest.link import Link
from tests.unit.ingest.fakes import FakeRegistry

MARK = MediaMark(
    channel="news", life="f00d", kind=MarkKind.PERIOD_START, period=0, ended_period=None, parts_reached=0, next_msn=Msn(0)
)  # fmt: skip


class Known(FakeRegistry):
    """Has read all there is."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def start(self) -> None:
        return


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Link:
    """To a broker that nobody answers for."""
    monkeypatch.setattr(link, "Registry", Known)
    room = 3 * len(Codec().encode(MARK))
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    return Link(Settings(kafka=kafka, ingest=IngestSettings(queue_bytes_max=room, queue_wait_ms=1)))


def lost() -> float:
    return float(metrics.LOST._value.get())


def test_what_waits_when_a_connection_is_let_go_is_counted_as_lost_once(away: Link) -> None:
    before = lost()
    for _ in range(3):
        away.send(MEDIA, 0, "news", MARK)
    with pytest.raises(RetryableError, match="took nothing for 1 ms"):
        away.send(MEDIA, 0, "news", MARK)
    waiting = away.queued_bytes
    assert lost() == before
    away.close()
    assert lost() - before == waiting == away.settings.ingest.queue_bytes_max
    away.close()
    assert lost() - before == waiting


class Message:
    """A record as librdkafka tells of it that was written by an attempt whose answer was lost."""

    def offset(self) -> int | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_NOT_AVAILABLE, -1


def test_a_record_of_which_kafka_does_not_say_where_it_stands_has_the_log_read_again(away: Link) -> None:
    told: list[int] = []
    away.queued_bytes, before = 5, lost()
    away._delivered(None, Message(), 5, lambda offset, _: told.append(offset))
    with pytest.raises(RetryableError, match="does not say where the record stands"):
        away.poll()
    assert not told
    assert (away.queued_bytes, lost()) == (0, before)
    away.close()

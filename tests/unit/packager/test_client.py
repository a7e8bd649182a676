"""What a packager hands out of the log, and when it beats, beside fakes of its two readers and of Kafka."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import pytest
from confluent_kafka import Producer

import packager.client as module
from packager.client import Client, Media, Withdrawn
from packager.source import Arrival
from schemas.codec import Codec
from schemas.records import Heartbeat, Level, Reject
from schemas.settings import KafkaSettings, Settings
from schemas.units import Msn, UnixMs
from tests.builders import make_chunks, make_period

KEY = "news/all/0/0"
CHUNKS = make_chunks(make_period(), (1,))


@dataclass
class Fakes:
    """The two readers and the producer."""

    events: list[Withdrawn] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    followed: set[str] = field(default_factory=lambda: {KEY})
    sent: list[Any] = field(default_factory=list)
    has_tail: bool = True
    is_catching_up: bool = False
    is_caught_up: bool = True
    read_bytes: int = 0
    overread_bytes: int = 0

    def read(self, _: float) -> list[Withdrawn]:
        return [self.events.pop()] if self.events else []

    def read_live(self, _: float) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if self.followed.intersection(arrival.slices)]

    def leave(self, key: str) -> None:
        self.followed.discard(key)

    def close(self) -> None: ...
    def poll(self, _: float) -> None: ...
    def list_topics(self, *_: object, **__: object) -> None: ...

    def produce(self, _: str, value: bytes, key: bytes, partition: int, on_delivery: Callable[..., None]) -> None:
        self.sent.append(Codec().decode(value))


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    made = Fakes()
    for name in ("Producer", "Receiver", "Source"):
        monkeypatch.setattr(module, name, lambda *_, **__: made)
    return made


def arrive(data: bytes, offset: int) -> Arrival:
    return Arrival(slices=(KEY,), partition=0, offset=offset, durable_unix_ms=UnixMs(0), key=b"news", data=data)


def test_nothing_is_handed_out_that_was_read_for_what_a_slice_no_longer_is(fakes: Fakes) -> None:
    client = Client(Settings(idle_level=Level.OFF), pool=0, packager_id="p1")
    fakes.arrivals = [arrive(Codec().encode(CHUNKS[0]), 0)]
    assert [type(event) for event in client.poll(0.0)] == [Media]
    fakes.events = [Withdrawn(key=KEY, from_msn=Msn(1))]
    told = []
    for event in client.poll(0.0):
        told.append(type(event))
        client.leave(KEY)
    assert told == [Withdrawn]


def test_it_beats_between_two_records_when_it_is_slow(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("packager.client.time.monotonic", lambda: now[0])
    client = Client(Settings(), pool=0, packager_id="p1")
    fakes.arrivals = [arrive(Codec().encode(chunk), offset) for offset, chunk in enumerate(CHUNKS[:6])]
    for _ in client.poll(0.0):
        now[0] += 0.6
    assert sum(isinstance(record, Heartbeat) for record in fakes.sent) == 6


def test_a_chunk_is_handed_out_whole_or_put_aside(fakes: Fakes) -> None:
    client = Client(Settings(), pool=0, packager_id="p1")
    whole = Codec().encode(CHUNKS[0])
    fakes.arrivals = [arrive(whole, 0), arrive(whole[:-1], 1)]
    assert [event.record for event in client.poll(0.0) if isinstance(event, Media)] == [CHUNKS[0]]
    assert [record.source_offset for record in fakes.sent if isinstance(record, Reject)] == [1]


def test_of_a_life_that_ended_with_records_on_their_way_nothing_stays_in_memory(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Producer", Producer)
    monkeypatch.setattr(Client, "_warm_up", lambda _: None)  # it asks a broker, and nobody listens
    client = Client(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")), pool=0, packager_id="p1")
    client.beat()
    client.report(())
    assert not client.flush(0.0), "they are on their way"
    client.close()
    kept = ref(client)
    del client
    gc.collect()
    assert kept() is None

"""A log in memory, with the interface of the journal's."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from schemas.codec import Codec
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from schemas.units import UnixMs
from streams.journal import Ack, Outgoing, Stored


class FakeLog:
    """
    Partitions as lists; the time rises by one millisecond per record.

    Attributes:
        before_append: Called before each append, to let others come between.
    """

    def __init__(self) -> None:
        self.kafka, self.codec = KafkaSettings(), Codec()
        self.partitions: dict[tuple[str, int], list[Stored]] = defaultdict(list)
        self.now = 1_700_000_000_000
        self.before_append: Callable[[], object] = lambda: None

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        act, self.before_append = self.before_append, lambda: None
        act()
        return [self.put(record) for record in records]

    def put(self, record: Outgoing) -> Ack:
        self.now += 1
        partition = self.partitions[record.topic, record.partition]
        partition.append(Stored(offset=len(partition), at_unix_ms=UnixMs(self.now), key=record.key, value=record.value))
        return Ack(offset=len(partition) - 1, at_unix_ms=UnixMs(self.now))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["FakeLog"]:
        yield self

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, len(self.partitions[topic, partition])

    async def since(self, topic: str, partition: int, at: UnixMs) -> int:
        stored = self.partitions[topic, partition]
        return next((s.offset for s in stored if s.at_unix_ms >= at), len(stored))

    async def read(self, topic: str, partition: int, first: int, end: int) -> list[Stored]:
        return self.partitions[topic, partition][first:end]

    def records(self, topic: Topic, pool: int = 0) -> list[Any]:
        """What a topic holds, decoded; None for tombstones."""
        return [None if s.value is None else self.codec.decode(s.value) for s in self.partitions[topic.name(self.kafka), pool]]

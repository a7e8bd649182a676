"""A log in memory, with the interface of the journal's."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from schemas.codec import Codec
from schemas.settings import KafkaSettings
from schemas.topics import Topic, decision_of
from schemas.units import UnixMs
from streams.log import Ack, Outgoing, Stored


class FakeLog:
    """
    Partitions as lists; the time rises by one millisecond per record.

    Attributes:
        headers: By topic, partition and offset, those of each record.
        first: By topic and partition, the first offset that is kept.
        tombstones: By topic and offset, the decision that each tombstone named.
        before_append: Called before the next append, to let others come between.
        while_appending: The same for what takes others a while.
    """

    def __init__(self) -> None:
        self.kafka, self.codec = KafkaSettings(), Codec()
        self.partitions: dict[tuple[str, int], list[Stored]] = defaultdict(list)
        self.headers: dict[tuple[str, int, int], tuple[tuple[str, bytes], ...]] = {}
        self.first: dict[tuple[str, int], int] = {}
        self.tombstones: dict[tuple[str, int], int | None] = {}
        self.now = 1_700_000_000_000
        self.before_append: Callable[[], object] = lambda: None
        self.while_appending: Callable[[], Awaitable[None]] = _nothing

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        act, self.before_append = self.before_append, lambda: None
        act()
        go_on, self.while_appending = self.while_appending, _nothing
        await go_on()
        return [self.put(record) for record in records]

    def put(self, record: Outgoing) -> Ack:
        self.now += 1
        partition = self.partitions[record.topic, record.partition]
        partition.append(Stored(offset=len(partition), at_unix_ms=UnixMs(self.now), key=record.key, value=record.value))
        self.headers[record.topic, record.partition, len(partition) - 1] = record.headers
        if record.value is None:
            self.tombstones[record.topic, len(partition) - 1] = decision_of(record.headers)
        return Ack(offset=len(partition) - 1, at_unix_ms=UnixMs(self.now))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["FakeLog"]:
        yield self

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self.first.get((topic, partition), 0), len(self.partitions[topic, partition])

    async def ends(self, topics: Sequence[str], partition: int) -> list[int]:
        return [len(self.partitions[topic, partition]) for topic in topics]

    async def since(self, topic: str, partition: int, at: UnixMs) -> int:
        stored = self.partitions[topic, partition]
        return next((s.offset for s in stored if s.at_unix_ms >= at), len(stored))

    async def read(self, topic: str, partition: int, first: int, end: int) -> list[Stored]:
        return self.partitions[topic, partition][first:end]

    def records(self, topic: Topic, pool: int = 0) -> list[Any]:
        """What a topic holds, decoded; None for tombstones."""
        return [None if s.value is None else self.codec.decode(s.value) for s in self.partitions[topic.name(self.kafka), pool]]


async def _nothing() -> None:
    return

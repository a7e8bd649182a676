"""Topics as ordered partitions with the broker's time, and readers that get them late, in order, and some of it twice."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from schemas.topics import Topic
from schemas.units import UnixMs
from streams.simulate.engine import Engine, Process

# Records handed to a reader at once; a backlog is read in batches this far apart.
BATCH = 64
BATCH_MS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """
    One record in the log.

    Attributes:
        topic: Title of its topic.
        partition: Partition.
        offset: Offset.
        at: Broker time of the append.
        key: Its key.
        record: The record; None is a tombstone.
        sender: Who wrote it, for people.
        decision: What a tombstone follows from, if it says so in its header.
    """

    topic: str
    partition: int
    offset: int
    at: UnixMs
    key: str
    record: Any
    sender: str
    decision: int | None = None


class Log:
    """All partitions of all topics; nothing is ever lost from it."""

    def __init__(self, engine: Engine) -> None:
        """
        Args:
            engine: The clock, which is the broker's.
        """
        self._engine = engine
        self._partitions: dict[tuple[str, int], list[Entry]] = {}
        self._readers: dict[tuple[str, int], list[Reader]] = {}

    def append(self, topic: Topic, partition: int, key: str, record: Any | None, *, sender: str, decision: int | None = None) -> Entry:
        """The record as it now stands in the log."""
        entries = self._partitions.setdefault((topic.title, partition), [])
        entry = Entry(
            topic=topic.title, partition=partition, offset=len(entries), at=self._engine.now, key=key, record=record, sender=sender,
            decision=decision if record is None else None,
        )  # fmt: skip
        entries.append(entry)
        readers = self._readers.get((topic.title, partition), [])
        readers[:] = [reader for reader in readers if reader.is_open]
        for reader in readers:
            reader.wake()
        return entry

    def entries(self, topic: Topic, partition: int = 0) -> list[Entry]:
        """A partition from its beginning."""
        return self._partitions.setdefault((topic.title, partition), [])

    def compacted(self, topic: Topic, partition: int = 0) -> list[Entry]:
        """What compaction leaves of a partition: the newest entry of each key, in the order of offsets."""
        newest = {entry.key: entry for entry in self.entries(topic, partition)}
        return sorted(newest.values(), key=lambda entry: entry.offset)

    def attach(self, reader: "Reader") -> None:
        """Wakes a reader at every append from now on."""
        self._readers.setdefault((reader.topic.title, reader.partition), []).append(reader)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """
    How the log reaches its readers.

    Attributes:
        delay_ms: Longest usual time from an append to its delivery.
        repeat: Probability that a delivery begins with some records once more.
    """

    delay_ms: int = 5
    repeat: float = 0.0


class Reader:
    """One process reading one partition: in order, some time after the append, at least once."""

    def __init__(
        self,
        log: Log,
        process: Process,
        topic: Topic,
        deliver: Callable[[Entry], None],
        *,
        rng: Random,
        delivery: Delivery,
        partition: int = 0,
        offset: int = 0,
    ) -> None:
        """
        Args:
            log: What it reads.
            process: Who reads; nothing is delivered while it is down or paused.
            topic: Topic.
            deliver: Takes one record.
            rng: Draws delays.
            delivery: How late and how often.
            partition: Partition.
            offset: Where it begins.
        """
        self.topic = topic
        self.partition = partition
        self.next_offset = offset
        self._first = offset
        self._log = log
        self._process = process
        self._deliver = deliver
        self._rng = rng
        self._delivery = delivery
        self._is_due = False
        self._is_closed = False
        log.attach(self)
        self.wake()

    @property
    def is_open(self) -> bool:
        """Whether it still reads."""
        return self._process.is_up and not self._is_closed

    def close(self) -> None:
        """Reads no further."""
        self._is_closed = True

    def wake(self) -> None:
        """Something may be there to read."""
        if not self._is_due and self.next_offset < len(self._log.entries(self.topic, self.partition)):
            self._is_due = True
            self._process.after(self._rng.randint(1, self._delivery.delay_ms), self._pump)

    def read_to_end(self) -> None:
        """Delivers at once what is there."""
        entries = self._log.entries(self.topic, self.partition)
        while self.next_offset < len(entries) and self.is_open:
            self.next_offset += 1
            self._deliver(entries[self.next_offset - 1])

    def _pump(self) -> None:
        self._is_due = False
        entries = self._log.entries(self.topic, self.partition)
        if self._delivery.repeat and self._rng.random() < self._delivery.repeat:
            self.next_offset = max(self._first, self.next_offset - self._rng.randint(1, BATCH // 4))
        for _ in range(BATCH):
            if self.next_offset >= len(entries) or not self.is_open:
                return
            self.next_offset += 1
            self._deliver(entries[self.next_offset - 1])
        self._is_due = True
        self._process.after(BATCH_MS, self._pump)

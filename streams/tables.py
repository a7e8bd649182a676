"""Typed fronts of Faust's tables: one per input topic, rows as JSON (compressed if long) under ``pool/key``, one write per record."""

import asyncio
import base64
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faust
from faust.streams import current_event

from schemas import topics
from schemas.codec import from_plain, to_plain
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from streams.core.state import FOLDS
from streams.log import Outgoing, Stored
from streams.readback import Stretch

BYTES = "b64"
# Rows are JSON objects; neither they nor what zlib makes of them begins with a digit.
JSON_BEGINS = b"{"
DIGITS = b"0123456789"
# Shorter rows stay readable in the changelog; the quickest level, as rows are rewritten with every record.
PLAIN_BYTES_MAX = 4_096
# Kafka header of a tombstone: offset of the record that led to it.
INCLUDES = "includes"
# What a tombstone includes that takes back a row which nobody holds.
NEVER = 2**62
COMPRESSION = 1
# Table of each input topic; part of the changelog's name, so never renamed.
NAMES = {
    topics.CHANNELS.title: "channels",
    topics.GOPS.title: "gops",
    topics.DEMAND.title: "demand",
    topics.HEARTBEATS.title: "packagers",
    topics.FORECASTS.title: "forecasts",
    topics.REPORTS.title: "progress",
}


def app_id(kafka: KafkaSettings) -> str:
    """
    Name of the application in Kafka: its consumer group, and the prefix of its changelogs.

    >>> app_id(KafkaSettings())
    'finecut.control'
    """
    return f"{kafka.topic_prefix}control"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangelogTopic:
    """
    A topic behind a table, to be created with the others; Faust is not allowed to.

    Attributes:
        name: Name in Kafka.
        partition_count: As many as there are pools.
        configuration: In Kafka's words.
    """

    name: str
    partition_count: int
    configuration: dict[str, str]


def changelog_topics(kafka: KafkaSettings) -> tuple[ChangelogTopic, ...]:
    """
    The topics behind the tables.

    >>> changelog_topics(KafkaSettings())[0].name
    'finecut.control-channels-changelog'
    """
    configuration = {
        "cleanup.policy": topics.Cleanup.COMPACT.value,
        "max.message.bytes": str(kafka.message_bytes_max),
        "min.insync.replicas": str(min(2, kafka.replication_factor)),
        # A row is rewritten with every record: an old one is worth nothing, and what is kept is read at each start.
        "segment.ms": "60000",
        "min.cleanable.dirty.ratio": "0.2",
    }
    return tuple(
        ChangelogTopic(name=f"{app_id(kafka)}-{name}-changelog", partition_count=kafka.pool_count, configuration=dict(configuration))
        for name in NAMES.values()
    )


def encode_row(row: Any) -> bytes:
    """
    The offset that a row includes, and the row as JSON; a long one compressed.

    A pool's forecasts are written each second and are mostly names of fields.
    """
    data = json.dumps(to_plain(row), default=_tagged, separators=(",", ":")).encode()
    return b"%d" % row.offset + (zlib.compress(data, COMPRESSION) if len(data) > PLAIN_BYTES_MAX else data)


def decode_row(kind: type[Any], value: bytes) -> Any:
    """The inverse of `encode_row`."""
    data = value.lstrip(DIGITS)
    plain = data if data[:1] == JSON_BEGINS else zlib.decompress(data)
    return from_plain(kind, json.loads(plain, object_hook=_untagged))


def offset_of(value: bytes | None) -> int:
    """
    Offset that a row includes, read without decoding it; -1 if there is no row.

    >>> offset_of(b'17{"at": 3}'), offset_of(None)
    (17, -1)
    """
    data = value or b""
    return int(data[: len(data) - len(data.lstrip(DIGITS))] or -1)


def included(headers: Any, otherwise: int) -> int:
    """Offset that a tombstone includes; one that does not say includes ``otherwise``."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return next((int(value) for name, value in pairs if name == INCLUDES and value), otherwise)


def _tagged(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    raise TypeError(f"no JSON for {type(value).__name__}")


def _untagged(plain: dict[str, Any]) -> Any:
    return base64.b64decode(plain[BYTES]) if plain.keys() == {BYTES} else plain


class Table(faust.Table[bytes, bytes]):
    """
    A Faust table that knows the changelog write it sent last, and is recovered from the newest rows, not from those written last.

    Later writes of a partition are durable after it. A worker that stood still beyond its session may write rows when it wakes
    up, after its successor went beyond them: they lie later in the changelog and include less.
    """

    written: asyncio.Future[Any] | None = None

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._writing: dict[int, asyncio.Future[Any]] = {}
        self._stretches: dict[int, Stretch] = defaultdict(Stretch)
        self.overwritten: dict[int, set[bytes]] = defaultdict(set)

    def send_changelog(self, partition: int | None, key: Any, value: Any, key_serializer: Any = None, value_serializer: Any = None) -> Any:
        """The write, which is done once the broker has it."""
        event = current_event()
        written = self.changelog_topic.send_soon(
            key=key,
            value=value,
            partition=partition,
            headers={INCLUDES: b"%d" % event.message.offset} if value is None and event is not None else None,
            key_serializer=key_serializer or self.key_serializer,
            value_serializer=value_serializer or self.value_serializer,
            callback=self._on_changelog_sent,
            eager_partitioning=True,
        )
        self.written = self._writing[partition or 0] = written
        written.add_done_callback(self._on_written)
        return written

    def _on_written(self, written: asyncio.Future[Any]) -> None:
        if not written.cancelled() and written.exception() is None:
            done = written.result()
            self.wrote(done.partition, done.offset)

    def wrote(self, partition: int, offset: int) -> None:
        """A record of ours lies there in the changelog."""
        self._stretches[partition].wrote(offset)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take rows from the changelog, unless a newer one of the same key was there before: those keys are to be written again."""
        newest: dict[bytes, int] = {}
        kept = []
        for event in batch:
            partition, key = event.message.partition, event.key
            before = newest[key] if key in newest else offset_of(self.data.get(key))
            offset = offset_of(event.value) if event.value is not None else included(event.message.headers, before)
            if offset >= before:
                newest[key] = offset if event.value is not None else -1
                kept.append(event)
                self.overwritten[partition].discard(key)
            else:
                self.overwritten[partition].add(key)
            self._stretches[partition].looked(event.message.offset + 1)
        super().apply_changelog_batch(kept)

    async def unexplained(self, partition: int, end: int) -> tuple[int, int] | None:
        """First and end of a stretch of the changelog in which somebody else wrote; None if all until ``end`` is ours."""
        if (writing := self._writing.get(partition)) is not None:
            await asyncio.wait([writing])  # those before it are done, too
        return self._stretches[partition].unexplained(end=end)

    def look(self, partition: int, stored: Sequence[Stored], *, end: int) -> None:
        """Find what others wrote over in an unexplained stretch; a row that includes no less than ours does no harm."""
        for record in self._stretches[partition].foreign(stored, end=end):
            held = self.data.get(record.key)
            if record.value is None and held is None:
                continue
            if record.value is None or held is None or offset_of(record.value) < offset_of(held):
                self.overwritten[partition].add(record.key)

    def forget(self, partition: int) -> None:
        """Another worker writes the changelog from now on."""
        for known in (self._writing, self._stretches, self.overwritten):
            known.pop(partition, None)


class Rows:
    """
    The table of one input topic.

    Args:
        app: Owner.
        topic: Input topic.
        kafka: For the number of pools.
    """

    def __init__(self, app: faust.App, topic: Topic, kafka: KafkaSettings) -> None:
        self.title = topic.title
        self._kind = FOLDS[topic.title].row
        self._table: Any = app.Table(
            NAMES[topic.title],
            key_type=bytes,
            value_type=bytes,
            partitions=kafka.pool_count,
        )

    @property
    def written(self) -> asyncio.Future[Any] | None:
        """The write sent last; None if none ever was."""
        return cast(asyncio.Future[Any] | None, self._table.written)

    def put(self, pool: int, key: str, row: Any) -> None:
        """Write a row; only while a record of that pool is handled."""
        self._table[f"{pool}/{key}".encode()] = encode_row(row)

    def remove(self, pool: int, key: str) -> None:
        """Delete a row; only while a record of that pool is handled."""
        del self._table[f"{pool}/{key}".encode()]

    def of(self, pool: int) -> Iterator[tuple[str, Any]]:
        """Keys and rows of a pool."""
        prefix = f"{pool}/".encode()
        for key, value in list(self._table.items()):
            if key.startswith(prefix):
                yield key[len(prefix) :].decode(), decode_row(self._kind, value)

    def forget(self, pool: int) -> None:
        """Drop a pool's rows from memory alone: another worker writes them from now on."""
        prefix = f"{pool}/".encode()
        for key in [key for key in self._table if key.startswith(prefix)]:
            self._table.data.pop(key, None)
        self._table.forget(pool)

    @property
    def changelog(self) -> str:
        """Name of the topic behind the table."""
        return str(self._table.changelog_topic.get_topic_name())

    async def unexplained(self, pool: int, end: int) -> tuple[int, int] | None:
        """First and end of a stretch of the changelog in which somebody else wrote; None if all until ``end`` is ours."""
        return cast(tuple[int, int] | None, await self._table.unexplained(pool, end))

    def look(self, pool: int, stored: Sequence[Stored], *, end: int) -> None:
        """Find what others wrote over in an unexplained stretch."""
        self._table.look(pool, stored, end=end)

    def overwritten(self, pool: int) -> list[bytes]:
        """Keys of which something older than what is in the table, or a row though none is, was written last."""
        return sorted(self._table.overwritten[pool])

    def again(self, pool: int, key: bytes) -> Outgoing:
        """What is to be written for a key."""
        value = self._table.data.get(key)
        headers = () if value else ((INCLUDES, b"%d" % NEVER),)
        return Outgoing(topic=self.changelog, partition=pool, key=key, value=value, headers=headers)

    def mended(self, pool: int, record: Outgoing, offset: int) -> bool:
        """Take note that a key was written again; whether that is still what is in the table."""
        self._table.wrote(pool, offset)
        if self._table.data.get(record.key) != record.value:
            return False
        self._table.overwritten[pool].discard(record.key)
        return True


class Tables:
    """The tables of all input topics."""

    def __init__(self, app: faust.App, kafka: KafkaSettings) -> None:
        self.by_title = {topic.title: Rows(app, topic, kafka) for topic in topics.INPUTS}

    def forget(self, pool: int) -> None:
        """Drop a pool's rows from memory."""
        for rows in self.by_title.values():
            rows.forget(pool)

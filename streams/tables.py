"""Faust's tables, one per input topic: rows as JSON (compressed if long) under ``pool/key``, and their changelogs."""

import asyncio
import base64
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faust

from schemas import topics
from schemas.codec import from_plain, to_plain
from schemas.settings import KafkaSettings
from streams.log import Stored
from streams.readback import Stretch

BYTES = "b64"
# Rows are JSON objects; neither they nor what zlib makes of them begins with a digit.
JSON_BEGINS = b"{"
DIGITS = b"0123456789"
# Shorter rows stay readable in the changelog; the quickest level, as rows are rewritten in every round.
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
        # A row is rewritten in every round: an old one is worth nothing, and what is kept is read at each start.
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
    A Faust table that knows the changelog write it sent last, is written past Faust, and is recovered from the newest rows, not from
    those written last.

    Later writes of a partition are durable after it. A worker that stood still beyond its session may write rows when it wakes
    up, after its successor went beyond them: they lie later in the changelog and include less.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._writing: dict[int, asyncio.Future[Any]] = {}
        self._failure: BaseException | None = None
        self._stretches: dict[int, Stretch] = defaultdict(Stretch)
        self.overwritten: dict[int, set[bytes]] = defaultdict(set)

    def write(self, partition: int, key: bytes, value: bytes | None, *, includes: int) -> None:
        """Set a row, or delete it, and send the changelog's record; Faust itself takes changes only while a record is handled."""
        if value is None:
            self.data.pop(key, None)
        else:
            self.data[key] = value
        self.send(partition, key, value, includes=includes)

    def send(self, partition: int, key: bytes, value: bytes | None, *, includes: int) -> None:
        """Send a record of the changelog."""
        written = self.changelog_topic.send_soon(
            key=key,
            value=value,
            partition=partition,
            headers={INCLUDES: b"%d" % includes} if value is None else None,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            callback=self._on_changelog_sent,
            eager_partitioning=True,
        )
        self._writing[partition] = cast(asyncio.Future[Any], written)
        written.add_done_callback(self._on_written)

    async def durable(self, partition: int) -> None:
        """Return once all that was written is with the broker, or raise what kept any of it from there."""
        await self._settled(partition)
        if self._failure is not None:
            raise self._failure

    async def _settled(self, partition: int) -> None:
        if (writing := self._writing.get(partition)) is not None:
            await asyncio.wait([writing])  # those before it are done, too

    def _on_written(self, written: asyncio.Future[Any]) -> None:
        if written.cancelled():
            return
        if (error := written.exception()) is not None:
            self._failure = self._failure or error
        else:
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
        await self._settled(partition)
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

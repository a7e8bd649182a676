"""Typed fronts of Faust's tables: one per input topic, rows as JSON (compressed if long) under ``pool/key``, one write per record."""

import asyncio
import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import faust

from schemas import topics
from schemas.codec import from_plain, to_plain
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from streams.core.state import FOLDS

BYTES = "b64"
# Rows are JSON objects; neither they nor what zlib makes of them begins with a digit.
JSON_BEGINS = b"{"
DIGITS = b"0123456789"
# Shorter rows stay readable in the changelog; the quickest level, as rows are rewritten with every record.
PLAIN_BYTES_MAX = 4_096
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

    def send_changelog(self, *args: Any, **named: Any) -> Any:
        """The write, which is done once the broker has it."""
        self.written = super().send_changelog(*args, **named)
        return self.written

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take rows from the changelog, unless a newer one of the same key was there before."""
        newest: dict[bytes, int] = {}
        kept = []
        for event in batch:
            before = newest.get(event.key, -1) if event.key in newest else offset_of(self.data.get(event.key))
            offset = offset_of(event.value)
            if event.value is None or offset >= before:
                newest[event.key] = offset
                kept.append(event)
        super().apply_changelog_batch(kept)


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


class Tables:
    """The tables of all input topics."""

    def __init__(self, app: faust.App, kafka: KafkaSettings) -> None:
        self.by_title = {topic.title: Rows(app, topic, kafka) for topic in topics.INPUTS}

    def forget(self, pool: int) -> None:
        """Drop a pool's rows from memory."""
        for rows in self.by_title.values():
            rows.forget(pool)

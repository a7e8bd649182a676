"""Typed fronts of the tables: what changed is written by rounds, and whoever read it waits for that."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faust

from schemas import topics
from schemas.settings import KafkaSettings
from schemas.topics import Topic
from streams.core.state import FOLDS
from streams.log import Outgoing, Stored
from streams.tables import INCLUDES, NAMES, NEVER, decode_row, encode_row

# Rows written before others have their turn: some milliseconds.
TURN_ROWS = 16


@dataclass(frozen=True, slots=True)
class Gone:
    """A row that was deleted, by the record at an offset."""

    offset: int


class Rows:
    """
    The table of one input topic.

    A row that changes with every record, and grows with what is remembered, would cost more to write than to fold: what changed is
    written by rounds, each row once. What was folded since is known in memory alone, and waits to be acknowledged until it is written.

    Args:
        app: Owner.
        topic: Input topic.
        kafka: For the number of pools.
    """

    def __init__(self, app: faust.App, topic: Topic, kafka: KafkaSettings) -> None:
        self.title = topic.title
        self._kind = FOLDS[topic.title].row
        self._changed: dict[int, dict[str, Any]] = defaultdict(dict)
        self._waiting: dict[int, list[Callable[[], object]]] = defaultdict(list)
        self._table: Any = app.Table(
            NAMES[topic.title],
            key_type=bytes,
            value_type=bytes,
            partitions=kafka.pool_count,
        )

    def put(self, pool: int, key: str, row: Any) -> None:
        """Set a row, in the next round."""
        self._changed[pool][key] = row

    def remove(self, pool: int, key: str, offset: int) -> None:
        """Delete a row, in the next round, as the record at an offset said."""
        self._changed[pool][key] = Gone(offset)

    def when_durable(self, pool: int, then: Callable[[], object]) -> None:
        """Call once all that was set or deleted until now is with the broker; never, if it is forgotten before."""
        self._waiting[pool].append(then)

    async def write(self, pool: int) -> None:
        """A round; returns once it is with the broker. Only one at a time."""
        changed, waiting = self._changed[pool], self._waiting[pool]
        due = len(waiting)
        for number in range(1, len(changed) + 1):
            if not changed:
                break  # forgotten
            key = next(iter(changed))
            row = changed.pop(key)
            value = None if isinstance(row, Gone) else encode_row(row)
            self._table.write(pool, f"{pool}/{key}".encode(), value, includes=row.offset)
            if number % TURN_ROWS == 0:
                await asyncio.sleep(0)
        await self._table.durable(pool)
        told, waiting[:due] = waiting[:due], []
        for then in told:
            then()

    def drop(self, pool: int) -> None:
        """Forget what is to be written: the table counts as it is, and records that were not acknowledged are read again."""
        for open_ in (self._changed, self._waiting):
            open_.pop(pool, {}).clear()  # a round that goes on finds nothing left

    def of(self, pool: int) -> Iterator[tuple[str, Any]]:
        """Keys and rows of a pool, as written."""
        prefix = f"{pool}/".encode()
        for key, value in list(self._table.items()):
            if key.startswith(prefix):
                yield key[len(prefix) :].decode(), decode_row(self._kind, value)

    def forget(self, pool: int) -> None:
        """Drop a pool's rows from memory alone: another worker writes them from now on."""
        self.drop(pool)
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

    def drop(self, pool: int) -> None:
        """Forget what is to be written of a pool."""
        for rows in self.by_title.values():
            rows.drop(pool)

    async def write(self, pool: int) -> None:
        """Write what changed in a pool; returns once it is with the broker."""
        for rows in self.by_title.values():
            await rows.write(pool)

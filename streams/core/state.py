"""What decisions read: one bounded fold per input topic, side by side, with the offset each includes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from schemas.records import InputOffset
from schemas.settings import KafkaSettings
from schemas.topics import INPUTS, cause
from schemas.units import UnixMs
from streams.core.folds import FOLDS, MEMORY_MS, Fold

TITLES = tuple(topic.title for topic in INPUTS)


class State:
    """The folds of one pool. It is changed by `fold`, `put` and `prune` alone."""

    def __init__(self, pool: int, memory_ms: int = MEMORY_MS, *, topic_prefix: str = KafkaSettings().topic_prefix) -> None:
        """
        Args:
            pool: Pool, the partition of every input topic.
            memory_ms: How far back decisions may look.
            topic_prefix: Prefix of topic names, for naming inputs and causes.
        """
        self.pool = pool
        self.memory_ms = memory_ms
        self._prefix = topic_prefix
        self._rows: dict[str, dict[str, Any]] = {title: {} for title in TITLES}
        self._next: dict[str, int] = dict.fromkeys(TITLES, 0)
        # What `streams.core.facts.read` made of each channel last. It makes anew what has changed since, so that nothing depends on it.
        self.known: Mapping[str, Any] = {}

    def fold(self, title: str, record: Any, *, offset: int, at: UnixMs) -> Any:
        """
        Fold a record and return its row, for the table.

        Args:
            title: Topic without the prefix.
            record: Decoded record.
            offset: Its offset.
            at: Its broker time.

        Raises:
            RejectedError: The record describes what cannot be packaged; nothing changed but the offset.
        """
        self._next[title] = max(self._next[title], offset + 1)
        fold = FOLDS[title]
        key = fold.key(record)
        row = fold.absorb(self._rows[title].get(key), record, offset=offset, at=at, memory_ms=self.memory_ms)
        self._rows[title][key] = row
        return row

    def put(self, title: str, key: str, row: Any) -> None:
        """Restore a row from a table."""
        self._rows[title][key] = row
        self._next[title] = max(self._next[title], row.offset + 1)

    def rows(self, title: str) -> Mapping[str, Any]:
        """Rows of a topic by key, as folded; read-only."""
        return MappingProxyType(self._rows[title])

    def recent(self, title: str, now: UnixMs) -> dict[str, Any]:
        """What a decision at ``now`` may read of a topic, by key in order."""
        since = UnixMs(now - self.memory_ms)
        cut = FOLDS[title].recent
        return {key: kept for key, row in sorted(self._rows[title].items()) if (kept := cut(row, since)) is not None}

    def prune(self, title: str, now: UnixMs) -> tuple[str, ...]:
        """
        Drop rows of a topic that no decision can read any more.

        Args:
            title: Topic without the prefix.
            now: Broker time of a record of that topic that is folded: no later decision is made for an earlier time.

        Returns:
            Keys of those dropped, for the table.
        """
        since, rows = UnixMs(now - self.memory_ms), self._rows[title]
        gone = tuple(sorted(key for key, row in rows.items() if FOLDS[title].recent(row, since) is None))
        for key in gone:
            del rows[key]
        return gone

    def next_offset(self, title: str) -> int:
        """Offset after the newest record folded of a topic."""
        return self._next[title]

    def inputs(self) -> tuple[InputOffset, ...]:
        """How far each input topic is folded, in the order of `schemas.topics.INPUTS`."""
        return tuple(InputOffset(topic=self._prefix + title, next_offset=self._next[title]) for title in TITLES)

    def cause(self, title: str, offset: int) -> str:
        """How a record of an input topic is named as a cause."""
        return cause(self._prefix + title, self.pool, offset)


__all__ = ["FOLDS", "Fold", "State"]

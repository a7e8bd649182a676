"""Every topic: name, key, records, partitions, cleanup. No other file spells a topic name."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas import records
from schemas.settings import KafkaSettings


class Spread(StrEnum):
    """What a topic's partitions stand for."""

    MEDIA = "media"  # one channel each, where possible
    POOL = "pool"  # one pool each, written with an explicit partition number


class Cleanup(StrEnum):
    """What Kafka removes from a topic."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """
    One topic.

    Attributes:
        title: Name without the prefix.
        key: What its keys are.
        records: Record types it carries.
        spread: What its partitions stand for.
        cleanup: What Kafka removes.
        retention: Field of ``KafkaSettings`` that says how long records stay; empty when compacted.
        about: One line for people.
    """

    title: str
    key: str
    records: tuple[type[Any], ...]
    spread: Spread
    cleanup: Cleanup
    retention: str
    about: str

    def name(self, kafka: KafkaSettings) -> str:
        """
        Name in Kafka.

        >>> MEDIA.name(KafkaSettings())
        'finecut.media'
        """
        return f"{kafka.topic_prefix}{self.title}"

    def partition_count(self, kafka: KafkaSettings) -> int:
        """Partitions it is created with."""
        return kafka.media_partition_count if self.spread is Spread.MEDIA else kafka.pool_count

    def configuration(self, kafka: KafkaSettings) -> dict[str, str]:
        """Topic configuration in Kafka's words."""
        config = {
            "cleanup.policy": self.cleanup.value,
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(kafka.message_bytes_max),
            "min.insync.replicas": str(min(2, kafka.replication_factor)),
        }
        if self.retention:
            config["retention.ms"] = str(getattr(kafka, self.retention))
        if self.cleanup is Cleanup.COMPACT:
            config |= {"segment.ms": "600000", "min.cleanable.dirty.ratio": "0.3"}
        return config


MEDIA = Topic(
    title="media", key="channel", records=(records.Chunk, records.MediaMark), spread=Spread.MEDIA, cleanup=Cleanup.DELETE,
    retention="media_retention_ms", about="encoded chunks, stamped with their segment; bytes last",
)  # fmt: skip
CHANNELS = Topic(
    title="channels", key="channel/period", records=(records.Period, records.PeriodEnd), spread=Spread.POOL, cleanup=Cleanup.COMPACT,
    retention="", about="immutable configuration of each period; how it ended",
)  # fmt: skip
GOPS = Topic(
    title="gops", key="channel", records=(records.Gop,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="control_retention_ms", about="index of the media topic: one record per GOP, with its offsets",
)  # fmt: skip
DEMAND = Topic(
    title="demand", key="origin", records=(records.Demand,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="control_retention_ms", about="per second and origin, what players do",
)  # fmt: skip
HEARTBEATS = Topic(
    title="heartbeats", key="packager", records=(records.Heartbeat,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="control_retention_ms", about="capacity, use, state and progress of packagers",
)  # fmt: skip
FORECASTS = Topic(
    title="forecasts", key="pool", records=(records.Forecasts,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="control_retention_ms", about="what the models say of demand and cost",
)  # fmt: skip
DECISIONS = Topic(
    title="decisions", key="pool", records=(records.Decision,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="control_retention_ms", about="every decision with its inputs, policy and reasons",
)  # fmt: skip
PLANS = Topic(
    title="plans", key="channel", records=(records.Plan,), spread=Spread.POOL, cleanup=Cleanup.COMPACT,
    retention="", about="granularity in force of each channel",
)  # fmt: skip
ASSIGNMENTS = Topic(
    title="assignments", key="slice/copy or packager/life", records=(records.Assignment,), spread=Spread.POOL, cleanup=Cleanup.COMPACT,
    retention="", about="slices given to packagers; a tombstone for each life declared dead",
)  # fmt: skip
PARTS = Topic(
    title="parts", key="packager", records=(records.Parts,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="parts_retention_ms", about="parts that can be fetched; for origins",
)  # fmt: skip
REPORTS = Topic(
    title="reports", key="packager or channel", records=(records.Reports, records.Packaging, records.Void), spread=Spread.POOL,
    cleanup=Cleanup.DELETE, retention="control_retention_ms", about="segments published or failed; starts, stops and voids",
)  # fmt: skip
SCALING = Topic(
    title="scaling", key="pool", records=(records.Scaling,), spread=Spread.POOL, cleanup=Cleanup.COMPACT,
    retention="", about="packagers wanted, and why",
)  # fmt: skip
REJECTS = Topic(
    title="rejects", key="source topic", records=(records.Reject,), spread=Spread.POOL, cleanup=Cleanup.DELETE,
    retention="control_retention_ms", about="what could not be read or broke a rule, with its bytes and the error",
)  # fmt: skip

TOPICS = (MEDIA, CHANNELS, GOPS, DEMAND, HEARTBEATS, FORECASTS, DECISIONS, PLANS, ASSIGNMENTS, PARTS, REPORTS, SCALING, REJECTS)
# What a planner folds; the order is that of ``Decision.inputs``.
INPUTS = (CHANNELS, GOPS, DEMAND, HEARTBEATS, FORECASTS, REPORTS)
# Kafka header of a tombstone that ends a plan or an assignment: it has no value that could name its decision.
DECISION_HEADER = "decision"


def pool_of(channel: str, pool_count: int) -> int:
    """
    The pool that a new channel belongs to unless one is chosen: a stable hash.

    >>> pool_of("news", 8) == pool_of("news", 8)
    True
    """
    return zlib.crc32(channel.encode()) % pool_count


def period_key(channel: str, period: int) -> str:
    """
    Key of a period's configuration in ``channels``.

    >>> period_key("news", 3)
    'news/3'
    """
    return f"{channel}/{period}"


def period_end_key(channel: str, period: int) -> str:
    """
    Key of a period's end in ``channels``.

    >>> period_end_key("news", 3)
    'news/3/end'
    """
    return f"{channel}/{period}/end"


def slice_key(slice_id: str, copy: int) -> str:
    """
    Key of an assignment.

    >>> slice_key("news/all/0", 1)
    'news/all/0/1'
    """
    return f"{slice_id}/{copy}"


def life_key(packager_id: str, life: str) -> str:
    """
    Key of one run of a packager.

    >>> life_key("p1", "f00d")
    'p1/f00d'
    """
    return f"{packager_id}/{life}"


def decision_headers(number: int) -> tuple[tuple[str, bytes], ...]:
    """
    Kafka headers of a tombstone that follows from a decision.

    >>> decision_headers(7)
    (('decision', b'7'),)
    """
    return ((DECISION_HEADER, str(number).encode()),)


def decision_of(headers: Iterable[tuple[str, bytes | str | None]] | None) -> int | None:
    """
    The decision that a tombstone follows from; None if it does not say.

    >>> decision_of(decision_headers(7)), decision_of(None), decision_of([("decision", b"?")])
    (7, None, None)
    """
    for key, value in headers or ():
        text = value.decode(errors="replace") if isinstance(value, bytes) else value or ""
        if key == DECISION_HEADER and text.isdecimal():
            return int(text)
    return None


def cause(topic: str, partition: int, offset: int) -> str:
    """
    How a record is named as the cause of another.

    >>> cause("finecut.gops", 0, 17)
    'finecut.gops/0/17'
    """
    return f"{topic}/{partition}/{offset}"

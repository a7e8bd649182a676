"""Looks at a cluster for `finecut doctor`: how it is configured, how its clock is, how far behind packagers are. Writes nothing."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported, not in __all__
    AdminClient,
    ConfigResource,
    OffsetSpec,
)

from infra.finding import Finding
from infra.safety import Cluster, Partition, of_clock, of_lag
from infra.topics import ANSWER_S, describe
from schemas import topics
from schemas.records import Gop, Heartbeat
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.units import UnixMs

# A heartbeat that comes while we look tells the broker's time; they come twice a second.
CLOCK_WAIT_S = 1.5
LOOK_S = 0.1
# So far back the newest heartbeat of everybody is found, and in so long a stretch a GOP of every channel.
BEATS_MS = 5_000
GOPS_MS = 10_000
Record = TypeVar("Record")


def look(admin: AdminClient, names: Sequence[str]) -> Cluster:
    """The cluster and those of these topics that exist."""
    told = admin.list_topics(timeout=ANSWER_S)
    there = [name for name in names if name in told.topics]
    resources = [ConfigResource(ConfigResource.Type.BROKER, str(node)) for node in sorted(told.brokers)]
    brokers = {
        int(resource.name): {key: entry.value or "" for key, entry in future.result(ANSWER_S).items()}
        for resource, future in admin.describe_configs(resources).items()
    }
    partitions = {
        name: tuple(Partition(replicas=found.replicas, in_sync=found.isrs) for found in told.topics[name].partitions.values())
        for name in there
    }
    return Cluster(brokers=brokers, topics=describe(admin, there), partitions=partitions)


def clock(admin: AdminClient, settings: Settings) -> Iterator[Finding]:
    """That the broker's clock is off, as a heartbeat tells that comes while we look, or one from the future; nothing if none does."""
    name = topics.HEARTBEATS.name(settings.kafka)
    began_s, first = time.monotonic(), _newest_unix_ms(admin, name)
    newest = first
    while newest == first and time.monotonic() - began_s < CLOCK_WAIT_S:
        admin.poll(LOOK_S)
        newest = _newest_unix_ms(admin, name)
    ours = UnixMs(time.time_ns() // 1_000_000)
    if newest != first or newest > ours:
        waited_ms = round((time.monotonic() - began_s) * 1_000)
        found = of_clock(ours_unix_ms=ours, broker_unix_ms=newest, waited_ms=waited_ms)
        if found is not None:
            yield found


def lag(settings: Settings) -> Iterator[Finding]:
    """Packagers that have used up half of what the retention of ``media`` leaves them."""
    now_ms, keep_ms = time.time_ns() // 1_000_000, settings.kafka.media_retention_ms
    beats = _between(settings, topics.HEARTBEATS, Heartbeat, now_ms - BEATS_MS, BEATS_MS)
    if any(beat.slices for beat in beats):
        half_way = _between(settings, topics.GOPS, Gop, now_ms - keep_ms // 2, GOPS_MS)
        yield from of_lag(beats, half_way, media_retention_ms=keep_ms)


def _newest_unix_ms(admin: AdminClient, name: str) -> UnixMs:
    partitions = admin.list_topics(name, timeout=ANSWER_S).topics[name].partitions  # none where there is no such topic
    newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    asked = admin.list_offsets({TopicPartition(name, number): newest for number in partitions})
    return UnixMs(max((future.result(ANSWER_S).timestamp for future in asked.values()), default=-1))


def _between(settings: Settings, topic: Topic, kind: type[Record], begin_ms: int, length_ms: int) -> list[Record]:
    from streams.replay.positions import Time
    from streams.replay.reader import read, stretches

    begin, end = Time(UnixMs(begin_ms)), Time(UnixMs(begin_ms + length_ms))
    entries = read(settings.kafka, stretches(settings.kafka, (topic,), begin=begin, end=end))
    return [entry.record for entry in entries if isinstance(entry.record, kind)]

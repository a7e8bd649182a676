"""What of settings and of a cluster will one day lose something or stop everything; each with what to do. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from infra.finding import Finding, note, wrong
from infra.topics import Difference
from schemas.records import Gop, Heartbeat
from schemas.settings import HOUR_MS, MINUTE_MS, KafkaSettings, Settings
from schemas.units import UnixMs

# Copies of each partition at which one broker may be away and another be lost.
COPIES = 3
# Looked back at by those who ask in the morning what happened at night.
REPLAY_MS_MIN = 24 * HOUR_MS
# The planner restates what is in force once a minute; origins read two of them back.
RESTATED_MS = 2 * MINUTE_MS
# Clocks that are kept by NTP differ by less; record times are the broker's, so that more only misleads people and clients' first guess.
SKEW_MS_MAX = 1_000
UNSET = frozenset({"-1", ""})


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Nodes that have a copy of a partition, and those whose copy is in sync."""

    replicas: Sequence[int]
    in_sync: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """
    A cluster as it describes itself.

    Attributes:
        brokers: Configuration of each node.
        topics: Configuration of each of our topics, by name.
        partitions: The partitions of each of our topics, by name.
    """

    brokers: Mapping[int, Mapping[str, str]]
    topics: Mapping[str, Mapping[str, str]]
    partitions: Mapping[str, Sequence[Partition]]


def of_settings(settings: Settings) -> Iterator[Finding]:
    """What is unsafe by the settings alone."""
    kafka, media = settings.kafka, settings.media
    shown_ms = media.time_shift_ms + 3 * media.target_duration_ms
    if kafka.parts_retention_ms < shown_ms:
        yield wrong(
            "settings", "part announcements go before the time shift buffer does",
            "set FINECUT_KAFKA__PARTS_RETENTION_MS to at least FINECUT_MEDIA__TIME_SHIFT_MS plus three target durations",
        )  # fmt: skip
    if kafka.control_retention_ms < max(shown_ms, RESTATED_MS):
        yield wrong(
            "settings", "reports and decisions go before the time shift buffer does: an origin that starts shows less than the others",
            f"set FINECUT_KAFKA__CONTROL_RETENTION_MS to at least {max(shown_ms, RESTATED_MS)}, and to days to look back",
        )  # fmt: skip
    elif kafka.control_retention_ms < kafka.media_retention_ms:
        yield note(
            "settings", "reports and decisions go before the chunks do: a channel that is silent meanwhile loses its playlists",
            "set FINECUT_KAFKA__CONTROL_RETENTION_MS to at least FINECUT_KAFKA__MEDIA_RETENTION_MS",
        )  # fmt: skip
    elif kafka.bootstrap_servers and kafka.control_retention_ms < REPLAY_MS_MIN:
        yield note(
            "settings", f"decisions stay for {hours(kafka.control_retention_ms)}: nothing older can be replayed or explained",
            "raise FINECUT_KAFKA__CONTROL_RETENTION_MS",
        )  # fmt: skip
    if kafka.media_retention_ms < shown_ms:
        yield wrong(
            "settings", "chunks go before the time shift buffer does: what is packaged late, or for the first time, is lost",
            "set FINECUT_KAFKA__MEDIA_RETENTION_MS to at least twice FINECUT_MEDIA__TIME_SHIFT_MS, and to as long as a repair may take",
        )  # fmt: skip
    elif kafka.media_retention_ms < 2 * media.time_shift_ms:
        yield note(
            "settings", "chunks stay less than twice the time shift buffer: late work is lost", "raise FINECUT_KAFKA__MEDIA_RETENTION_MS"
        )
    if kafka.bootstrap_servers:
        yield from _copies(kafka)


def _copies(kafka: KafkaSettings) -> Iterator[Finding]:
    if kafka.replication_factor == 1:
        yield note("settings", "one copy of each partition: a lost disk loses the log", "set FINECUT_KAFKA__REPLICATION_FACTOR=3")
    elif kafka.replication_factor < COPIES:
        yield note(
            "settings", "two copies, and both must have a record: while either broker is away nothing can be written",
            "set FINECUT_KAFKA__REPLICATION_FACTOR=3",
        )  # fmt: skip


def of_cluster(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """What is unsafe in how the cluster is configured and how it is now; what `infra.topics.verify` finds is not repeated."""
    yield from _brokers(cluster, settings)
    topics = sorted(cluster.topics.items())
    yield from together(
        finding for name, config in topics for finding in _topic(name, config, cluster.partitions.get(name, ()), settings.kafka)
    )


def together(findings: Iterable[Finding]) -> Iterator[Finding]:
    """
    Findings that differ only in where they were made, as one.

    >>> [finding.what for finding in together([note("a", "x", "y"), note("b", "other", "y"), note("c", "x", "y")])]
    ['a and 1 more', 'b']
    """
    alike: dict[Finding, list[str]] = {}
    for finding in findings:
        alike.setdefault(replace(finding, what=""), []).append(finding.what)
    for finding, places in alike.items():
        yield replace(finding, what=places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more")


def _brokers(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    kafka, session_ms = settings.kafka, settings.control.session_timeout_ms
    if len(cluster.brokers) < kafka.replication_factor:
        yield wrong(
            "brokers", f"{len(cluster.brokers)} for {kafka.replication_factor} copies", "start the others, or look why they are away"
        )
    for key, unsafe, found, do in (
        ("unclean.leader.election.enable", "true", "a copy that lags may become the log: acknowledged records vanish", "set it to false"),
        ("auto.create.topics.enable", "true", "a misspelt prefix makes topics of another shape, unseen", "set it to false"),
    ):
        nodes = [node for node, config in sorted(cluster.brokers.items()) if config.get(key) == unsafe]
        if nodes:
            yield note(f"{key} on {_named(nodes)}", found, do)
    for node, config in sorted(cluster.brokers.items()):
        least, most = (int(config.get(f"group.{which}.session.timeout.ms", session_ms)) for which in ("min", "max"))
        if not least <= session_ms <= most:
            yield wrong(
                f"sessions on broker {node}", f"it takes {least} to {most} ms, the control plane asks for {session_ms}: it cannot start",
                f"set group.min.session.timeout.ms to {session_ms} or less, or FINECUT_CONTROL__SESSION_TIMEOUT_MS to {least}",
            )  # fmt: skip
        lag_ms = int(config.get("replica.lag.time.max.ms", 0))
        if len(cluster.brokers) > 1 and lag_ms >= kafka.delivery_timeout_ms:
            yield note(
                f"replica.lag.time.max.ms on broker {node}",
                f"{lag_ms}: a copy that stopped following holds up producers until they give up ({kafka.delivery_timeout_ms} ms)",
                f"set it to a third of that, {kafka.delivery_timeout_ms // 3}",
            )
        inner = config.get("offsets.topic.replication.factor", str(COPIES))
        if len(cluster.brokers) >= COPIES > int(inner):
            yield note(
                f"offsets.topic.replication.factor on broker {node}", f"{inner}: the control plane stops with a broker", "set it to 3"
            )


def _topic(name: str, config: Mapping[str, str], partitions: Sequence[Partition], kafka: KafkaSettings) -> Iterator[Finding]:
    if config.get("unclean.leader.election.enable") == "true":
        yield wrong(name, "a copy that lags may become the log: acknowledged records vanish", "set unclean.leader.election.enable=false")
    if config.get("retention.bytes", "-1") not in UNSET and "delete" in config.get("cleanup.policy", "delete"):
        yield note(
            name, f"limited to {config['retention.bytes']} bytes a partition, too: at high bitrates records go sooner than set",
            "set retention.bytes=-1, or reckon with the highest bitrate",
        )  # fmt: skip
    copies = min((len(partition.replicas) for partition in partitions), default=0)
    in_sync_min = int(config.get("min.insync.replicas", 1))
    if partitions and copies < kafka.replication_factor:
        yield wrong(
            name, f"{copies} {'copy' if copies == 1 else 'copies'} of a partition, {kafka.replication_factor} wanted",
            "reassign it to more brokers (kafka-reassign-partitions)",
        )  # fmt: skip
    elif partitions and copies > 1 and in_sync_min < 2:
        yield wrong(name, "a record counts as written when one broker has it: lost with that broker", "set min.insync.replicas=2")
    elif partitions and copies > 1 and in_sync_min >= copies:
        yield note(
            name, f"all {copies} copies must be in sync: nothing is written while a broker is away", "use 3 copies, 2 of them in sync"
        )
    lagging = sum(len(partition.in_sync) < len(partition.replicas) for partition in partitions)
    if lagging:
        yield wrong(
            name, f"{lagging} of {len(partitions)} partitions have a copy that is not in sync", "look which broker is away or short of disk"
        )


def of_difference(difference: Difference) -> Finding:
    """What to do about a topic that is not as it should be."""
    found = f"{difference.what} is {difference.found}, not {difference.wanted}" if difference.found else "does not exist"
    return wrong(difference.topic, found, CURES.get(difference.what, "alter or delete the topic, or change the settings"))


CURES = {
    "topic": "`finecut topics create`",
    "message.timestamp.type": "alter the topic: every time in finecut is the broker's (LogAppendTime)",
    "cleanup.policy": "alter the topic: compacted away, history is lost; not compacted, what is in force is",
    "max.message.bytes": "alter the topic, or set FINECUT_KAFKA__MESSAGE_BYTES_MAX: a larger chunk is refused and its GOP lost",
    "min.insync.replicas": "alter the topic: what one broker alone has is lost with it; or set FINECUT_KAFKA__REPLICATION_FACTOR as it is",
    "retention.ms": "alter the topic, or set FINECUT_KAFKA__..._RETENTION_MS: what reads the topic reckons with the settings",
    "partitions": "a pool and a media partition are frozen: set FINECUT_KAFKA__POOL_COUNT and __MEDIA_PARTITION_COUNT, or another prefix",
    "segment.ms": "alter the topic: what is in force is read whole at each start",
    "min.cleanable.dirty.ratio": "alter the topic: what is in force is read whole at each start",
}


def of_clock(*, ours_unix_ms: UnixMs, broker_unix_ms: UnixMs, waited_ms: int) -> Finding | None:
    """
    That the broker's clock is off ours, if it is for sure.

    Args:
        ours_unix_ms: Our time when the record was there.
        broker_unix_ms: The broker's time of a record that was written meanwhile.
        waited_ms: For how long it may have been there.
    """
    ahead_ms = broker_unix_ms - ours_unix_ms
    if -SKEW_MS_MAX - waited_ms <= ahead_ms <= SKEW_MS_MAX:
        return None
    off = f"{abs(ahead_ms) / 1_000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'} this machine's"
    return note("clocks", f"the broker's is {off}", "let NTP keep both: records bear the broker's time, pictures the encoder's")


def of_lag(beats: Sequence[Heartbeat], half_way: Sequence[Gop], *, media_retention_ms: int) -> Iterator[Finding]:
    """
    Slices that are so far behind that half of what retention leaves them is used up.

    Args:
        beats: Heartbeats, in order; the newest of each packager counts.
        half_way: GOPs written half the retention of ``media`` ago.
        media_retention_ms: That retention.
    """
    newest = {beat.packager_id: beat for beat in beats}
    then = {gop.channel: gop.msn for gop in half_way}
    for beat in newest.values():
        behind = [held for held in beat.slices if held.next_msn <= then.get(held.slice_id.split("/")[0], -1)]
        if behind:
            far = f"more than {hours(media_retention_ms // 2)} behind, half of what the chunks' topic keeps"
            yield wrong(
                f"packager {beat.packager_id}",
                f"{len(behind)} of its slices are {far}; first {behind[0].slice_id}",
                "start packagers, or raise FINECUT_KAFKA__MEDIA_RETENTION_MS and retention.ms of the topic: what goes first is lost",
            )


def hours(ms: int) -> str:
    """
    A time for people.

    >>> hours(7_200_000), hours(450_000)
    ('2 h', '7.5 min')
    """
    return f"{ms / HOUR_MS:g} h" if ms >= HOUR_MS else f"{ms / MINUTE_MS:g} min"


def _named(nodes: Sequence[int]) -> str:
    return f"broker{'s' if len(nodes) > 1 else ''} {', '.join(map(str, nodes))}"

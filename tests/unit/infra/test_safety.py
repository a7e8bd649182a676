"""What `finecut doctor` says of settings and clusters that will lose something one day."""

from dataclasses import replace
from typing import Any

import pytest

from infra.finding import Mark
from infra.safety import Cluster, Partition, of_clock, of_cluster, of_difference, of_lag, of_settings
from infra.topics import Difference
from schemas.records import SliceProgress
from schemas.settings import ControlSettings, KafkaSettings, MediaSettings, Settings
from schemas.units import Epoch, Msn, UnixMs
from tests.builders_control import a_gop, a_heartbeat

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SAFE = KafkaSettings(bootstrap_servers="k:9092", replication_factor=3)
NODE = {
    "unclean.leader.election.enable": "false",
    "auto.create.topics.enable": "false",
    "group.min.session.timeout.ms": "1000",
    "group.max.session.timeout.ms": "1800000",
    "replica.lag.time.max.ms": "10000",
    "offsets.topic.replication.factor": "3",
}
TOPIC = {"cleanup.policy": "delete", "min.insync.replicas": "2", "retention.bytes": "-1", "unclean.leader.election.enable": "false"}
WHOLE = Partition(replicas=(1, 2, 3), in_sync=(1, 2, 3))


def cluster(
    *, node: dict[str, str] | None = None, topic: dict[str, str] | None = None, partition: Partition = WHOLE, nodes: int = 3
) -> Cluster:
    """Three brokers and a topic with nothing to find fault with, but for what is given."""
    brokers = {number: NODE | (node or {}) if number == 1 else NODE for number in range(1, nodes + 1)}
    return Cluster(brokers=brokers, topics={"t": TOPIC | (topic or {})}, partitions={"t": (WHOLE, partition)})


def said(findings: Any) -> list[tuple[str, str]]:
    """Mark and what was found; each says what to do."""
    found = list(findings)
    assert all(finding.do for finding in found)
    return [(finding.mark.value, f"{finding.what}: {finding.found}") for finding in found]


def test_nothing_is_said_of_what_is_safe() -> None:
    assert said(of_settings(Settings(kafka=SAFE))) == []
    assert said(of_cluster(cluster(), Settings(kafka=SAFE))) == []


@pytest.mark.parametrize(
    ("kafka", "mark", "says"),
    [
        ({"parts_retention_ms": MINUTE_MS}, "wrong", "part announcements go before the time shift buffer"),
        ({"control_retention_ms": MINUTE_MS}, "wrong", "reports and decisions go before the time shift buffer"),
        ({"control_retention_ms": 2 * HOUR_MS}, "note", "reports and decisions go before the chunks"),
        ({"control_retention_ms": 6 * HOUR_MS}, "note", "decisions stay for 6 h"),
        ({"media_retention_ms": MINUTE_MS}, "wrong", "chunks go before the time shift buffer"),
        ({"media_retention_ms": 100_000}, "note", "less than twice the time shift buffer"),
        ({"replication_factor": 1}, "note", "a lost disk loses the log"),
        ({"replication_factor": 2}, "note", "while either broker is away nothing can be written"),
    ],
)
def test_an_unsafe_setting_is_named(kafka: dict[str, Any], mark: str, says: str) -> None:
    settings = Settings(kafka=KafkaSettings(**(SAFE.model_dump() | kafka)), media=MediaSettings(time_shift_ms=60_000))
    ((how, found),) = said(of_settings(settings))
    assert how == mark
    assert says in found


def test_of_a_broker_of_our_own_one_copy_and_short_memory_are_not_found_fault_with() -> None:
    assert said(of_settings(Settings(kafka=KafkaSettings(replication_factor=1, control_retention_ms=5 * HOUR_MS)))) == []


@pytest.mark.parametrize(
    ("given", "mark", "says"),
    [
        ({"nodes": 2}, "wrong", "brokers: 2 for 3 copies"),
        ({"node": {"unclean.leader.election.enable": "true"}}, "note", "on broker 1: a copy that lags may become the log"),
        ({"node": {"auto.create.topics.enable": "true"}}, "note", "on broker 1: a misspelt prefix"),
        ({"node": {"group.min.session.timeout.ms": "6000"}}, "wrong", "it takes 6000 to 1800000 ms, the control plane asks for 3000"),
        ({"node": {"replica.lag.time.max.ms": "30000"}}, "note", "holds up producers until they give up (30000 ms)"),
        ({"node": {"offsets.topic.replication.factor": "1"}}, "note", "the control plane stops with a broker"),
        ({"topic": {"unclean.leader.election.enable": "true"}}, "wrong", "acknowledged records vanish"),
        ({"topic": {"retention.bytes": "1000"}}, "note", "limited to 1000 bytes a partition"),
        ({"topic": {"min.insync.replicas": "1"}}, "wrong", "counts as written when one broker has it"),
        ({"topic": {"min.insync.replicas": "3"}}, "note", "all 3 copies must be in sync"),
        ({"partition": Partition(replicas=(1,), in_sync=(1,))}, "wrong", "1 copy of a partition, 3 wanted"),
        ({"partition": replace(WHOLE, in_sync=(1, 2))}, "wrong", "1 of 2 partitions have a copy that is not in sync"),
    ],
)
def test_an_unsafe_cluster_is_named(given: dict[str, Any], mark: str, says: str) -> None:
    ((how, found),) = said(of_cluster(cluster(**given), Settings(kafka=SAFE, control=ControlSettings(session_timeout_ms=3_000))))
    assert how == mark
    assert says in found


@pytest.mark.parametrize(
    ("what", "do"),
    [
        ("topic", "finecut topics create"),
        ("message.timestamp.type", "LogAppendTime"),
        ("cleanup.policy", "compacted away"),
        ("max.message.bytes", "a larger chunk is refused"),
        ("min.insync.replicas", "lost with it"),
        ("retention.ms", "RETENTION_MS"),
        ("partitions", "frozen"),
        ("something else", "change the settings"),
    ],
)
def test_a_topic_that_is_not_as_it_should_be_has_a_cure_of_its_own(what: str, do: str) -> None:
    finding = of_difference(Difference(topic="t", what=what, wanted="1", found="2"))
    assert (finding.what, finding.found) == ("t", f"{what} is 2, not 1")
    assert finding.mark is Mark.WRONG
    assert do in finding.do


@pytest.mark.parametrize(("ahead_ms", "says"), [(2_000, "2.0 s ahead of"), (-600_000, "600.0 s behind"), (900, ""), (-1_400, "")])
def test_a_clock_is_found_fault_with_when_a_record_that_just_came_bears_another_time(ahead_ms: int, says: str) -> None:
    found = of_clock(ours_unix_ms=UnixMs(10**12), broker_unix_ms=UnixMs(10**12 + ahead_ms), waited_ms=500)
    assert (found is None) if not says else (found is not None and says in found.found)


def test_a_packager_that_used_up_half_of_what_is_kept_is_named_by_its_newest_heartbeat() -> None:
    old, new = (
        a_heartbeat("p1", slices=(SliceProgress(slice_id="news/all/0", copy=0, epoch=Epoch(1), next_msn=Msn(msn)),)) for msn in (40, 101)
    )
    half_way = [a_gop("news", msn=100)]
    assert said(of_lag([old, new], half_way, media_retention_ms=4 * HOUR_MS)) == []
    ((mark, found),) = said(of_lag([old], half_way, media_retention_ms=4 * HOUR_MS))
    assert mark == "wrong"
    assert "more than 2 h behind" in found

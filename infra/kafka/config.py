"""Configuration of a broker that is a whole cluster by itself, tuned for quick starts and small machines."""

from collections.abc import Mapping
from pathlib import Path

JVM_FLAGS = (
    "-Xms128m",
    "-Xmx512m",
    # One serial collector and the quick compiler: starts in half the time, and brokers here are never CPU bound.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)

LOG4J2 = """\
status = ERROR
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
"""

RECORD_SIZE_MAX = 4_194_304
"""Largest record the broker takes, bytes: a CMAF chunk of a high-bitrate track with room to spare."""


def server_properties(log_dir: Path, *, port: int, controller_port: int, overrides: Mapping[str, str]) -> str:
    """
    Text of ``server.properties`` for one node that is broker and controller, on loopback only.

    Args:
        overrides: Broker settings that win over ours, by Kafka's names.

    >>> "message.max.bytes=1000" in server_properties(Path("/d"), port=1, controller_port=2, overrides={"message.max.bytes": "1000"})
    True
    """
    listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}"
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller_port}",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(log_dir),
        # After a kill -9 the broker waits for its own old registration to time out: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # One node: nothing can be replicated, and few partitions open faster.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # Our groups have one member per partition; waiting for more only delays the start.
        "group.initial.rebalance.delay.ms": "0",
        # Takeover times of a few seconds need sessions shorter than the default minimum of 6 s.
        "group.min.session.timeout.ms": "1000",
        "message.max.bytes": str(RECORD_SIZE_MAX),
        "replica.fetch.max.bytes": str(RECORD_SIZE_MAX),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": "16777216",
        # A misspelt topic must fail, not appear.
        "auto.create.topics.enable": "false",
    }
    return "".join(f"{key}={value}\n" for key, value in (properties | dict(overrides)).items())

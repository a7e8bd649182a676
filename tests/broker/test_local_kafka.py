"""The embedded broker, as those who start it see it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import BrokerDiedError, DataDirInUseError, DiskFullError, LocalBroker, PortTakenError, Runtime
from infra.process import started_at

from .conftest import MakeTopic

ROOT = Path(__file__).parents[2]

PARENT = """
import sys
from pathlib import Path
from infra.kafka import LocalBroker, prepare
broker = LocalBroker(Path(sys.argv[1]), prepare(Path(sys.argv[2])))
broker.start()
print(broker.pid, flush=True)
sys.stdin.read()
"""


def test_a_record_comes_back_as_it_was_sent(kafka: LocalBroker, make_topic: MakeTopic) -> None:
    topic = make_topic(partitions=2, message_timestamp_type="LogAppendTime")
    produce(kafka, topic, [b"one", b"two"])
    assert consume(kafka, topic, count=2) == [b"one", b"two"]


def test_records_of_four_megabytes_are_taken(kafka: LocalBroker, make_topic: MakeTopic) -> None:
    topic, value = make_topic(), os.urandom(4_000_000)
    produce(kafka, topic, [value])
    assert consume(kafka, topic, count=1) == [value]


def test_a_killed_broker_comes_back_with_its_address_and_its_records(own_kafka: LocalBroker) -> None:
    address = own_kafka.bootstrap
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(30)
    produce(own_kafka, "kept", [b"before"])
    own_kafka.kill()
    own_kafka.start()
    assert own_kafka.bootstrap == address
    assert consume(own_kafka, "kept", count=1) == [b"before"]


def test_a_directory_keeps_its_ports_for_the_next_process(kafka_runtime: Runtime, tmp_path: Path) -> None:
    assert LocalBroker(tmp_path, kafka_runtime).bootstrap == LocalBroker(tmp_path, kafka_runtime).bootstrap


def test_a_taken_port_is_named(kafka_runtime: Runtime, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} is taken"):
            LocalBroker(tmp_path, kafka_runtime, port=port).start()


def test_a_second_broker_on_the_same_directory_is_refused(own_kafka: LocalBroker, kafka_runtime: Runtime) -> None:
    with pytest.raises(DataDirInUseError, match=f"process {own_kafka.pid}"):
        LocalBroker(own_kafka.data_dir, kafka_runtime).start()


def test_too_little_disk_is_said_before_anything_starts(kafka_runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12, 10**6))
    with pytest.raises(DiskFullError, match="disk full"):
        LocalBroker(tmp_path, kafka_runtime)


def test_a_broker_that_cannot_start_shows_the_end_of_its_log(kafka_runtime: Runtime, tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path, kafka_runtime, overrides={"num.io.threads": "none"})
    with pytest.raises(BrokerDiedError, match=r"(?s)broker\.log.*num\.io\.threads"):
        broker.start()


def test_a_broker_that_ends_by_itself_is_noticed(own_kafka: LocalBroker) -> None:
    own_kafka.check()
    assert own_kafka.pid is not None
    os.kill(own_kafka.pid, signal.SIGKILL)
    until(lambda: not own_kafka.is_alive)
    with pytest.raises(BrokerDiedError, match="ended with status -9"):
        own_kafka.check()


def test_a_broker_that_ends_for_want_of_space_says_so_though_it_logged_much_since(own_kafka: LocalBroker) -> None:
    assert own_kafka.pid is not None
    os.kill(own_kafka.pid, signal.SIGKILL)
    until(lambda: not own_kafka.is_alive)
    with own_kafka.log.open("a") as log:
        log.write("java.io.IOException: No space left on device\n" + "at some.Class\n" * 1_000)
    with pytest.raises(DiskFullError, match="No space left"):
        own_kafka.check()


@pytest.mark.usefixtures("kafka_runtime")
def test_the_broker_dies_with_its_killed_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "kafka"), str(ROOT / ".cache")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        broker_pid = int(parent.stdout.readline())
        assert started_at(broker_pid) is not None
        parent.kill()
    until(lambda: started_at(broker_pid) is None)


def produce(kafka: LocalBroker, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all", "message.max.bytes": 4_194_304})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0


def consume(kafka: LocalBroker, topic: str, *, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


def until(holds: Callable[[], bool], *, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)

"""
Three brokers, each killed, paused, filled up or restarted while our clients write and read: nothing acknowledged is lost, all go on.

One run of faults, a few claims about it. The clients are those of the project: the producer of packagers, encoders and origins, the log
of the control plane, Faust's consumer through our transport, and the reader of packagers.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import LocalCluster, Runtime
from infra.kafka.disk import SmallDisk, small_disk
from packager.source import Tail
from schemas.errors import UserError
from schemas.settings import ControlSettings, KafkaSettings, PackagerSettings, Settings
from streams.app import new_app
from streams.log import KafkaLog, Outgoing

# On a free machine it is over in less than a minute.
pytestmark = pytest.mark.timeout(600)
# A topic for each writer; both readers read both.
TOPICS = ("by-librdkafka", "by-aiokafka")
EVERY_S = 0.02
# So many records after a fault show that it is over for a client.
GOES_ON = 10
# Fast on a free machine; under any load the faults take what they take.
PATIENCE_S = 240.0
LEFT_AFTER_S = 35.0
DISK_MB = 24
ANSWER_S = 30.0


@dataclass
class Seen:
    """What one client wrote or read of one topic: numbers, and when."""

    numbers: list[int] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.numbers.append(number)
        self.at_s.append(time.monotonic())

    def gap_s(self, begin_s: float, end_s: float) -> float:
        """Longest time without anything."""
        inside = [begin_s, *(at for at in self.at_s if begin_s < at < end_s), end_s]
        return max(after - before for before, after in pairwise(inside))


class Clients:
    """Two writers and two readers that go on until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.acked = {topic: Seen() for topic in TOPICS}
        self.read = {(reader, topic): Seen() for reader in ("faust", "packager") for topic in TOPICS}
        self.errors: list[str] = []
        self._stop_writing, self._stop_reading = threading.Event(), threading.Event()
        roles: tuple[Callable[[], None], ...]
        roles = (
            self._produce,
            lambda: asyncio.run(self._append()),
            self._tail,
            lambda: asyncio.run(self._faust()),
        )
        self._threads = [threading.Thread(target=self._guard, args=(role,)) for role in roles]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_writing.set()
        for thread in self._threads[:2]:
            thread.join(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while not self.errors and any(not set(self.acked[topic].numbers) <= set(seen.numbers) for (_, topic), seen in self.read.items()):
            if time.monotonic() > deadline:
                break  # what is missing is for a test to say
            self._stop_reading.wait(EVERY_S)
        self._stop_reading.set()
        for thread in self._threads[2:]:
            thread.join(PATIENCE_S)

    @property
    def seen(self) -> dict[str, Seen]:
        """Everything, by a name to print."""
        return {f"{topic} acked": seen for topic, seen in self.acked.items()} | {f"{t} read by {r}": s for (r, t), s in self.read.items()}

    def _guard(self, role: Callable[[], None]) -> None:
        try:
            role()
        except Exception as error:  # noqa: BLE001 - a client that ends is what the tests are about
            self.errors.append(repr(error))

    def _produce(self) -> None:
        producer, number = Producer({**self.settings.kafka.producer(), "log_level": 0}), 0

        def delivered(error: object, message: Message) -> None:
            if error is not None:
                self.errors.append(f"librdkafka: {error}")
            else:
                self.acked[TOPICS[0]].add(int(message.value() or b""))

        while not self._stop_writing.is_set():
            producer.produce(TOPICS[0], b"%d" % number, partition=0, on_delivery=delivered)
            number += 1
            producer.poll(EVERY_S)
        producer.flush(PATIENCE_S)

    async def _append(self) -> None:
        number = 0
        async with KafkaLog(self.settings.kafka) as log:
            while not self._stop_writing.is_set():
                await log.append([Outgoing(topic=TOPICS[1], partition=0, key=b"", value=b"%d" % number)])
                self.acked[TOPICS[1]].add(number)
                number += 1
                await asyncio.sleep(EVERY_S)

    def _tail(self) -> None:
        tails = [Tail(self.settings.kafka, PackagerSettings(), topic=topic, client_id=topic) for topic in TOPICS]
        for tail in tails:
            tail.add(0, 0)
        while not self._stop_reading.is_set():
            for tail in tails:
                for _, _, message in tail.read(EVERY_S):
                    if message is not None:
                        self.read["packager", tail.topic].add(int(message.value() or b""))
        for tail in tails:
            tail.close()

    async def _faust(self) -> None:
        app = new_app(self.settings)
        for name in TOPICS:
            source: Any = app.topic(name, key_serializer="raw", value_serializer="raw", value_type=bytes, partitions=1)

            async def attend(stream: Any, name: str = name) -> None:
                async for value in stream:
                    self.read["faust", name].add(int(value))

            app.agent(source, name=f"reader-of-{name}")(attend)
        await app.start()
        try:
            await asyncio.to_thread(self._stop_reading.wait)
        finally:
            await app.stop()


@dataclass
class Story:
    """What happened."""

    clients: Clients
    gaps: dict[str, dict[str, float]] = field(default_factory=dict)
    alive_on_full_disk: bool | None = None

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """A fault, which lasts until all clients went on after it began; then it is taken back by the rest of the block."""
        began_s = time.monotonic()
        yield
        self.gaps[name] = {who: round(seen.gap_s(began_s, time.monotonic()), 1) for who, seen in self.clients.seen.items()}

    def all_go_on(self) -> None:
        """Return when every client has done something new, some times."""
        before = {name: len(seen.numbers) for name, seen in self.clients.seen.items()}
        until(
            lambda: (
                bool(self.clients.errors) or all(len(seen.numbers) >= before[name] + GOES_ON for name, seen in self.clients.seen.items())
            ),
            what=lambda: f"clients that go on: {[n for n, s in self.clients.seen.items() if len(s.numbers) < before[n] + GOES_ON]}",
        )


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk | None]:
    """A small disk for the log of the third broker; none where we may mount nothing."""
    try:
        context = small_disk(tmp_path_factory.mktemp("disk"), megabytes=DISK_MB)
        small = context.__enter__()
    except UserError:
        yield None
        return
    try:
        yield small
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="module")
def story(kafka_runtime: Runtime, disk: SmallDisk | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("cluster")
    # Files that a broker fills before it begins the next: on a disk of 24 MB they must be small.
    small_files = {"log.segment.bytes": "2097152", "log.index.size.max.bytes": "65536", "metadata.log.segment.bytes": "8388608"}
    log_dirs = {3: disk.log_dir} if disk else {}
    with LocalCluster(folder / "kafka", kafka_runtime, log_dirs=log_dirs, overrides=small_files) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        for made in admin.create_topics([NewTopic(topic, 1, 3) for topic in TOPICS]).values():
            made.result(ANSWER_S)
        cluster.await_in_sync()
        settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=cluster.bootstrap, replication_factor=3, pool_count=1, topic_prefix="cluster."),
            # A session that outlasts a busy machine: it is brokers that fail here.
            control=ControlSettings(data_dir=folder / "control", session_timeout_ms=6_000),
        )
        with Clients(settings) as clients:
            told = Story(clients)
            told.all_go_on()
            with told.fault("killed"):
                killed = cluster.leader(TOPICS[0], 0)
                cluster.kill(killed)
                told.all_go_on()
            cluster.restart(killed)
            cluster.await_in_sync()
            with told.fault("paused"):
                paused = cluster.leader(TOPICS[1], 0)
                cluster.pause(paused)
                told.all_go_on()
            cluster.resume(paused)
            cluster.await_in_sync()
            with told.fault("rolling restart"):
                for number in cluster.brokers:
                    cluster.restart(number)
                    cluster.await_in_sync()
                told.all_go_on()
            if disk is not None:
                with told.fault("disk full"):
                    disk.fill()
                    until(lambda: not cluster.is_alive(3), what=lambda: "end of the broker whose disk is full")
                    told.all_go_on()
                disk.free()
                cluster.restart(3)
                cluster.await_in_sync()
        yield told


def test_no_client_gives_up(story: Story) -> None:
    assert story.clients.errors == []


@pytest.mark.parametrize("reader", ["faust", "packager"])
@pytest.mark.parametrize("topic", TOPICS)
def test_what_was_acknowledged_is_read_in_order_and_nothing_is_missing(story: Story, reader: str, topic: str) -> None:
    acked, read = story.clients.acked[topic].numbers, story.clients.read[reader, topic].numbers
    assert len(acked) > 4 * GOES_ON
    assert acked == sorted(acked)
    first_reads = list(dict.fromkeys(read))  # Faust reads again what it had not committed
    assert first_reads == sorted(first_reads)
    assert set(acked) <= set(read)


def test_a_broker_that_stands_still_is_left_though_its_connections_stay_open(story: Story) -> None:
    # Left alone, clients of librdkafka wait for a minute, those of aiokafka for 40 s.
    assert max(story.gaps["paused"].values()) < LEFT_AFTER_S


def test_a_full_disk_ends_one_broker_and_nothing_else(story: Story, disk: SmallDisk | None) -> None:
    if disk is None:
        pytest.skip("mounting a small disk needs root")
    assert "disk full" in story.gaps


def until(holds: Callable[[], bool], *, what: Callable[[], str]) -> None:
    """Return when something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"no {what()}"
        time.sleep(EVERY_S)

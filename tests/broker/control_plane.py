"""The control plane as a process of its own, with what feeds it and reads it back."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import LocalBroker
from infra.kafka.ports import free_ports
from infra.process import spawn
from schemas import topics
from schemas.codec import Codec
from schemas.errors import Exit
from schemas.records import Gop, GopTrack, Heartbeat, Load, PackagerState, Period
from schemas.settings import ControlSettings, KafkaSettings, Settings
from schemas.topics import Topic
from schemas.units import GopOrdinal, Ms, Msn, Ticks, UnixMs
from streams.tables import changelog_topics

ROOT = Path(__file__).parents[2]
CODEC = Codec()
WAIT_S = 30.0
LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION, KafkaError._TIMED_OUT, KafkaError._TRANSPORT)


def until(ask: Callable[[], Any], *, what: str, timeout_s: float = WAIT_S) -> Any:
    """The first answer that is true, or holds anything."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
        time.sleep(0.02)


class Installation:
    """Topics of one installation, told apart by their prefix, and clients that write and read them."""

    def __init__(self, kafka: LocalBroker, data_dir: Path, *, pool_count: int = 2, rows_every_ms: int = 500) -> None:
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap_servers=kafka.bootstrap,
                topic_prefix=f"test-{uuid4().hex[:8]}.",
                pool_count=pool_count,
                media_partition_count=pool_count,
            ),
            control=ControlSettings(port=0, data_dir=data_dir, rows_every_ms=rows_every_ms),
        )
        wanted = [(t.name(self.kafka), t.partition_count(self.kafka), t.configuration(self.kafka)) for t in topics.TOPICS]
        wanted += [(t.name, t.partition_count, t.configuration) for t in changelog_topics(self.kafka)]
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        for made in admin.create_topics([NewTopic(name, count, 1, config=config) for name, count, config in wanted]).values():
            made.result(30)
        self.producer = Producer(self.kafka.client() | {"acks": "all", "linger.ms": 0})

    @property
    def kafka(self) -> KafkaSettings:
        return self.settings.kafka

    def send(self, topic: Topic, key: str, *records: Any, pool: int = 0) -> list[Any]:
        """Write records, or bytes as they are, and return what the broker acknowledged."""
        acked: list[Any] = []

        def on_delivery(error: Any, message: Any) -> None:
            assert error is None, error
            acked.append(message)

        for record in records:
            self.queue(topic, key, record, pool=pool, on_delivery=on_delivery)
        assert self.producer.flush(WAIT_S) == 0
        return acked

    def queue(self, topic: Topic, key: str, record: Any, *, pool: int, on_delivery: Callable[[Any, Any], None] | None = None) -> None:
        """Have a record written, or bytes as they are, once the producer has room for it."""
        value = record if isinstance(record, bytes | None) else CODEC.encode(record)
        more: dict[str, Any] = {} if on_delivery is None else {"on_delivery": on_delivery}
        while True:
            try:
                self.producer.produce(topic.name(self.kafka), value, key.encode(), partition=pool, **more)
                return
            except BufferError:
                self.producer.poll(0.1)

    def read(self, topic: Topic, *, pool: int = 0, last: int | None = None) -> list[Any]:
        """Every message of a partition until now, or the last ones."""
        consumer = Consumer(self.kafka.client() | {"group.id": "unused", "enable.auto.commit": False})
        try:
            at = TopicPartition(topic.name(self.kafka), pool)
            low, high = until(lambda: _bounds(consumer, at), what=f"leader of {at.topic}", timeout_s=3 * WAIT_S)
            low = low if last is None else max(low, high - last)
            consumer.assign([TopicPartition(at.topic, pool, low)])
            messages: list[Any] = []
            while low < high:
                message = consumer.poll(10)
                assert message is not None, f"{at} ends before {high}"
                assert message.error() is None, message.error()
                messages.append(message)
                low = (message.offset() or 0) + 1
            return messages
        finally:
            consumer.close()

    def tail(self, topic: Topic, *, pool: int = 0) -> Any:
        """The newest record of a partition."""
        return CODEC.decode(self.read(topic, pool=pool, last=1)[-1].value())

    def records(self, topic: Topic, *, pool: int = 0) -> list[Any]:
        """Every record of a partition until now, without tombstones."""
        return [CODEC.decode(message.value()) for message in self.read(topic, pool=pool) if message.value() is not None]

    def environment(self, **more: str) -> dict[str, str]:
        kafka = {
            "FINECUT_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "FINECUT_KAFKA__TOPIC_PREFIX": self.kafka.topic_prefix,
            "FINECUT_KAFKA__POOL_COUNT": str(self.kafka.pool_count),
            "FINECUT_KAFKA__MEDIA_PARTITION_COUNT": str(self.kafka.media_partition_count),
            "FINECUT_CONTROL__ROWS_EVERY_MS": str(self.settings.control.rows_every_ms),
        }
        return {**os.environ, **kafka, **more}


def _bounds(consumer: Consumer, at: TopicPartition) -> tuple[int, int] | None:
    try:
        return consumer.get_watermark_offsets(at, timeout=10)
    except KafkaException as error:
        if error.args[0].code() not in LEADERLESS:
            raise
        return None  # a topic just made has no leader for a moment, nor has any whose broker is too slow for its own controller


class ControlPlane:
    """
    A control plane process; ends with its context.

    Args:
        installation: Its topics.
        data_dir: Its folder.
        words: Module to run, and its arguments.
        environment: More settings.

    Attributes:
        is_supervised: Whether it is started again if it ends by itself with any fault, not only if the watchdog ended it.
    """

    def __init__(self, installation: Installation, data_dir: Path, *, words: Sequence[str] = ("streams",), **environment: str) -> None:
        self.port = next(free_ports())
        self.log_path = data_dir / "control.log"
        self._started = time.monotonic()
        own = {"FINECUT_CONTROL__PORT": str(self.port), "FINECUT_CONTROL__DATA_DIR": str(data_dir)}
        data_dir.mkdir(parents=True, exist_ok=True)
        self._words, self.is_supervised = words, False
        self._environment = installation.environment(**own, **environment)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            words = [sys.executable, "-m", *self._words]
            return spawn(words, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT)

    def tend(self) -> None:
        """See that it runs. One that Faust left standing, as it may in a rebalance, is started again, as whoever runs it does."""
        status = self.process.poll()
        if status == Exit.STUCK or (status == Exit.FAILED and self.is_supervised):
            self.process = self._start()
        else:
            assert status is None, f"the control plane ended with {status}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.kill()
        if error is not None:
            error.add_note("\n".join(self.log_path.read_text(errors="replace").splitlines()[-60:]))

    def ready(self, *, timeout_s: float = WAIT_S) -> float:
        """Wait until it is ready; seconds since its start."""
        until(lambda: self.metric("finecut_control_ready") == 1.0, what="readiness", timeout_s=timeout_s)
        return time.monotonic() - self._started

    def metric(self, name: str) -> float | None:
        """A series without labels, or the sum over its labels."""
        self.tend()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(values) if values else None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in order; its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


class Crowd:
    """Packagers in each of some pools, which beat twice a second until the end of the context."""

    def __init__(self, installation: Installation, *names: str, pools: Iterable[int] = (0,)) -> None:
        self._installation, self._beating = installation, [(pool, name) for pool in pools for name in names]
        self._ended = Event()
        self._thread = Thread(target=self._beat)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        number = 0
        while not self._ended.wait(0.5 if number else 0):
            for pool, name in self._beating:
                self._installation.send(topics.HEARTBEATS, name, heartbeat(name, number=number), pool=pool)
            number += 1


def heartbeat(packager_id: str = "p1", *, life: str = "l1", number: int = 0, state: PackagerState = PackagerState.READY) -> Heartbeat:
    return Heartbeat(
        packager_id=packager_id,
        life=life,
        state=state,
        number=number,
        interval_ms=Ms(500),
        capacity=Load(cores=2.0, memory_bytes=2**30, in_bytes_per_s=10**9, out_bytes_per_s=10**9, part_ms=1_000.0),
        use=Load(cores=0.1),
    )


def gops(period: Period, numbers: Iterable[int], *, per_segment: int = 4) -> list[Gop]:
    """Index entries of a period of one GOP a second."""
    now = UnixMs(int(time.time() * 1_000))
    return [
        Gop(
            channel=period.channel,
            period=period.period,
            life=period.life,
            gop=GopOrdinal(n),
            msn=Msn(n // per_segment),
            first_gop=GopOrdinal(n - n % per_segment),
            gop_count=per_segment,
            tracks=tuple(
                GopTrack(track=t.track, start_ticks=Ticks(n * t.timescale), duration_ticks=Ticks(t.timescale), size=100_000, chunk_count=4)
                for t in period.tracks
            ),
            first_offset=1 + n * 8,
            last_offset=8 + n * 8,
            durable_unix_ms=now,
        )
        for n in numbers
    ]

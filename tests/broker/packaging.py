"""A hall for packagers: topics of its own, what an encoder and a planner would write, and what the packagers say and store."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import LocalBroker
from infra.process import spawn, terminate
from packager.store import DirectoryStore
from schemas import topics
from schemas.codec import Codec
from schemas.records import (
    Assignment,
    Chunk,
    Heartbeat,
    Level,
    MediaMark,
    PackagerState,
    Part,
    Parts,
    Period,
    Reason,
    Reject,
    Reports,
    SegmentReport,
)
from schemas.settings import KafkaSettings, LivenessSettings, MediaSettings, PackagerSettings, Settings, StoreSettings
from schemas.topics import Topic
from schemas.units import Epoch, Msn

ROOT = Path(__file__).parents[2]
WAIT_S = 45.0  # a packager starts in a second on a free machine
T = TypeVar("T")
CHILD = """
import sys, threading
from packager.__main__ import run
from packager.store import DirectoryStore
from schemas.errors import UserError
from schemas.settings import load

class TroubledStore(DirectoryStore):
    def create_if_absent(self, name, pieces):
        threading.Event().wait(float(sys.argv[2]))
        self._free_bytes_min = 2**62 if full.exists() else 1
        return super().create_if_absent(name, pieces)

settings = load()
full = settings.store.directory.parent / "full"
try:
    store = TroubledStore(settings.store)
    sys.exit(run(settings, pool=0, packager_id=sys.argv[1], store=store))
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


class Hall:
    """One installation on a shared broker, told apart by its topic prefix."""

    def __init__(
        self,
        kafka: LocalBroker,
        folder: Path,
        *,
        media: MediaSettings | None = None,
        liveness: LivenessSettings | None = None,
        **packager: Any,
    ) -> None:
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap_servers=kafka.bootstrap, topic_prefix=f"test-{uuid4().hex[:8]}.", pool_count=1, media_partition_count=2
            ),
            media=media or MediaSettings(),
            liveness=liveness or LivenessSettings(),
            packager=PackagerSettings(**{"drain_ms": 500} | packager),
            store=StoreSettings(directory=folder / "store"),
        )
        self.codec = Codec()
        self.folder = folder
        self.store = DirectoryStore(self.settings.store)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._decision = 0
        config = self.settings.kafka
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        made = admin.create_topics(
            [NewTopic(t.name(config), t.partition_count(config), 1, config=t.configuration(config)) for t in topics.TOPICS]
        )
        for future in made.values():
            future.result(30)
        self._producer = Producer(config.client() | {"acks": "all", "linger.ms": 0, "enable.idempotence": True})

    # ------------------------------------------------------------ what others write

    def send(self, topic: Topic, key: str, value: Any, *, partition: int = 0) -> int:
        """Offset of a record, or of raw bytes, once it is acknowledged."""
        offsets: list[int] = []

        def delivered(error: KafkaError | None, message: Any) -> None:
            assert error is None, error
            offsets.append(message.offset())

        data = value if value is None or isinstance(value, bytes) else self.codec.encode(value)
        self._producer.produce(topic.name(self.settings.kafka), data, key.encode(), partition=partition, on_delivery=delivered)
        assert self._producer.flush(WAIT_S) == 0
        return offsets[0]

    def configure(self, period: Period) -> None:
        self.send(topics.CHANNELS, topics.period_key(period.channel, period.period), period)

    def encode(self, period: Period, records: Iterable[Chunk | MediaMark | bytes]) -> list[int]:
        """Offsets of what an encoder sends, one after the other."""
        return [self.send(topics.MEDIA, period.channel, record, partition=period.media_partition) for record in records]

    def fill(self, period: Period, records: Iterable[Chunk | MediaMark]) -> None:
        """Writes a long log quickly."""
        topic = topics.MEDIA.name(self.settings.kafka)
        for record in records:
            self._producer.produce(topic, self.codec.encode(record), period.channel.encode(), partition=period.media_partition)
            self._producer.poll(0)
        assert self._producer.flush(WAIT_S) == 0

    def assign(self, period: Period, packager: Heartbeat, *, epoch: int = 1, **fields: Any) -> Assignment:
        """What a planner would give a packager: the whole channel, or what the fields say."""
        self._decision += 1
        values: dict[str, Any] = {
            "slice_id": f"{period.channel}/all/0",
            "copy": 0,
            "tracks": tuple(track.track for track in period.tracks),
            "turn": 0,
            "turns": 1,
            "level": Level.PARTS,
            "from_msn": Msn(0),
            "first_offset": period.first_offset,
            "reason": Reason.PLACED,
        }
        assignment = Assignment(
            epoch=Epoch(epoch), packager_id=packager.packager_id, life=packager.life, channel=period.channel,
            media_partition=period.media_partition, decision=self._decision, **values | fields,
        )  # fmt: skip
        self.send(topics.ASSIGNMENTS, topics.slice_key(assignment.slice_id, assignment.copy), assignment)
        return assignment

    def withdraw(self, period: Period) -> None:
        self.send(topics.ASSIGNMENTS, topics.slice_key(f"{period.channel}/all/0", 0), None)

    # ------------------------------------------------------------ packagers

    def start(self, name: str, *, store_delay_s: float = 0, store: Path | None = None) -> subprocess.Popen[bytes]:
        """A packager process, with a store of its own if one is given; stops with the test."""
        settings = self.settings.model_copy(update={"store": StoreSettings(directory=store)}) if store else self.settings
        with (self.folder / f"{name}-{len(self.processes)}.log").open("wb") as log:
            process = spawn(
                [sys.executable, "-c", CHILD, name, str(store_delay_s)],
                cwd=ROOT, env=os.environ | environment(settings), stdout=log, stderr=log,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def fill_store(self) -> None:
        """The store is full for all packagers from now on."""
        (self.folder / "full").touch()

    def free_store(self) -> None:
        """It has room again."""
        (self.folder / "full").unlink()

    def log(self, process: subprocess.Popen[bytes], name: str) -> str:
        return (self.folder / f"{name}-{self.processes.index(process)}.log").read_text()

    def close(self) -> None:
        for process in self.processes:
            terminate(process, timeout_s=5)

    # ------------------------------------------------------------ what packagers say

    def read(self, topic: Topic) -> list[Any]:
        """All records of a control topic until now."""
        name = topic.name(self.settings.kafka)
        consumer = Consumer(self.settings.kafka.client() | {"group.id": "reader", "enable.auto.commit": False})
        try:
            end = until(lambda: end_of(consumer, TopicPartition(name, 0)), what=f"leader of {name}")[0]
            consumer.assign([TopicPartition(name, 0, 0)])
            records: list[Any] = []
            at = 0
            while at < end:
                message = consumer.poll(WAIT_S)
                assert message is not None
                assert message.error() is None, message.error()
                at = (message.offset() or 0) + 1
                records.append(self.codec.decode(message.value() or b""))
            return records
        finally:
            consumer.close()

    def beats(self, name: str, *, life: str | None = None) -> list[Heartbeat]:
        return [b for b in self.read(topics.HEARTBEATS) if b.packager_id == name and life in (None, b.life)]

    def registered(self, name: str, *, lives: int = 1) -> Heartbeat:
        """The first heartbeat of the newest of this many lives of a packager."""

        def newest() -> Heartbeat | None:
            firsts = [beat for beat in self.beats(name) if beat.number == 0]
            return firsts[-1] if len(firsts) >= lives else None

        return until(newest, what=f"registration of {name}")

    def state_of(self, name: str) -> PackagerState:
        return self.beats(name)[-1].state

    def parts(self) -> list[Part]:
        return [part for record in self.read(topics.PARTS) if isinstance(record, Parts) for part in record.parts]

    def reports(self) -> list[SegmentReport]:
        return [segment for record in self.read(topics.REPORTS) if isinstance(record, Reports) for segment in record.segments]

    def rejects(self) -> list[Reject]:
        return self.read(topics.REJECTS)

    def wait_for_reports(self, count: int) -> list[SegmentReport]:
        """All reports once there are at least this many."""
        return until(lambda: found if len(found := self.reports()) >= count else None, what=f"{count} reports, only {len(self.reports())}")

    def objects(self) -> dict[str, bytes]:
        """The whole store."""
        return {name: self.store.get(name) for name in self.store.list()}


def end_of(consumer: Consumer, partition: TopicPartition) -> tuple[int] | None:
    """The next offset, in a tuple; none while a topic that was made only now has no leader."""
    try:
        offsets = consumer.get_watermark_offsets(partition, timeout=WAIT_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION:
            raise
        return None
    return (offsets[1],) if offsets else None


def environment(settings: Settings) -> Mapping[str, str]:
    """The settings that differ from the defaults, as a process is told them."""
    plain = settings.model_dump(mode="json", exclude_defaults=True)
    return {f"FINECUT_{section}__{name}".upper(): str(value) for section, fields in plain.items() for name, value in fields.items()}


def until(ask: Callable[[], T | None], *, what: str, timeout_s: float = WAIT_S) -> T:
    """The first answer that is something."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
        time.sleep(0.05)
    return answer

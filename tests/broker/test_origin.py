"""An origin process on a real Kafka: what it shows, when it is ready, what it says of demand, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from infra.kafka import LocalBroker
from infra.process import spawn, terminate
from infra.topics import create, reach, wanted_topics
from packager.origin.follow import ASLEEP_S
from packager.store import DirectoryStore
from schemas import topics
from schemas.codec import Codec
from schemas.records import ChannelDemand, Demand, Period
from schemas.settings import KafkaSettings, OriginSettings, Settings, StoreSettings
from schemas.timeline import PART_SUFFIX, object_name
from schemas.topics import Topic, period_key
from schemas.units import UnixMs
from tests import facts
from tests.broker.packaging import until
from tests.invariants import read_playlist

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from packager.origin.server import run
from schemas.errors import UserError
from schemas.settings import load
try:
    sys.exit(run(load(), origin_id="o1"))
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


class Stage:
    """Topics of its own, a store, an origin process."""

    def __init__(self, bootstrap: str, folder: Path, *, prefix: str | None = None, create_topics: bool = True) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        kafka = KafkaSettings(
            bootstrap_servers=bootstrap, topic_prefix=prefix or f"test-{uuid4().hex[:8]}.", pool_count=2, media_partition_count=1
        )
        origin = OriginSettings(port=port, session_timeout_ms=1_000)
        self.settings = Settings(kafka=kafka, store=StoreSettings(directory=folder / "store", free_bytes_min=1), origin=origin)
        self.codec = Codec()
        self.store = DirectoryStore(self.settings.store)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        self.error = folder / "origin.err"
        self.process: subprocess.Popen[bytes] | None = None
        self._producer = Producer(kafka.client())
        if create_topics:
            create(reach(kafka), wanted_topics(self.settings), replication_factor=1)

    def start(self, **more: str) -> "Stage":
        settings = self.settings
        env = {
            "FINECUT_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "FINECUT_KAFKA__TOPIC_PREFIX": settings.kafka.topic_prefix,
            "FINECUT_KAFKA__POOL_COUNT": "2",
            "FINECUT_ORIGIN__PORT": str(settings.origin.port),
            "FINECUT_ORIGIN__SESSION_TIMEOUT_MS": "1000",
            "FINECUT_STORE__DIRECTORY": str(settings.store.directory),
        }
        with self.error.open("wb") as error:
            self.process = spawn([sys.executable, "-c", CHILD], cwd=ROOT, env=os.environ | env | more, stdout=error, stderr=error)
        return self

    def ready(self) -> "Stage":
        try:
            until(lambda: self.get("/api/channels", {}).get("ready"), what="origin that caught up")
        except AssertionError as late:
            raise AssertionError(f"{late}; it says: {self.error.read_text()}") from late
        return self

    def get(self, path: str, otherwise: dict[str, object]) -> dict[str, object]:
        try:
            return dict(self.http.get(path).json())
        except httpx.TransportError:
            return otherwise

    def send(self, topic: Topic, record: object, *, key: str = "k", pool: int = 0) -> None:
        self._producer.produce(topic.name(self.settings.kafka), self.codec.encode(record), key.encode(), partition=pool)
        assert self._producer.flush(10) == 0

    def tell(self, *records: object) -> None:
        """Sends records to the topics they belong to."""
        for record in records:
            kind = type(record).__name__
            topic = topics.PARTS if kind == "Parts" else topics.CHANNELS if kind == "Period" else topics.REPORTS
            key = period_key(record.channel, record.period) if isinstance(record, Period) else "p1"
            self.send(topic, record, key=key)

    def demand(self, wanted: Callable[[Demand], bool]) -> Demand:
        """The first record of ``demand`` that is wanted."""
        found = self.first(topics.DEMAND, wanted)
        assert isinstance(found, Demand)
        return found

    def first(self, topic: Topic, wanted: Callable[[Any], bool]) -> Any:
        """The first record of a topic that is wanted."""
        consumer = Consumer(self.settings.kafka.client() | {"group.id": "test", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic.name(self.settings.kafka), p, OFFSET_BEGINNING) for p in range(2)])

        def look() -> Any:
            message = consumer.poll(0.2)
            value = message.value() if message is not None and not message.error() else None
            record = self.codec.decode(value) if value else None
            return record if record is not None and wanted(record) else None

        try:
            return until(look, what=f"such a record in {topic.title}")
        finally:
            consumer.close()

    def close(self) -> None:
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            terminate(self.process, timeout_s=10)


@pytest.fixture
def stage(kafka: LocalBroker, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(kafka.bootstrap, tmp_path)
    yield made
    made.close()


def live_period(channel: str = "c1", *, age_s: int = 12) -> Period:
    """A period that began some seconds ago."""
    zero = UnixMs(int(time.time() * 1_000) - age_s * 1_000)
    made = facts.period(channel)
    return type(made)(**{f: getattr(made, f) for f in made.__dataclass_fields__} | {"anchor_unix_ms": zero, "zero_unix_ms": zero})


def demand_of(record: Demand, channel: str) -> ChannelDemand | None:
    return next((c for c in record.channels if c.channel == channel), None)


def test_what_packagers_and_planner_say_becomes_playlists(stage: Stage) -> None:
    period = live_period(age_s=4)  # what was durable before the start was not wanted then, so it is not late
    stage.tell(period, facts.start(), *facts.run(period, [4, 4]))
    stage.start().ready()
    assert "8.m3u8" not in stage.http.get("/c1/hls/multivariant.m3u8").text
    stage.tell(*facts.run(period, [2], first_gop=8, first_msn=2))
    answer = stage.http.get("/c1/ll/v0.m3u8?_HLS_msn=2")
    assert answer.status_code == 200
    assert "../0/v0/102400.m4s" in answer.text
    assert stage.http.get("/api/latency").json()["count"] == 12  # four parts of three tracks, after it was ready


def test_two_origins_show_the_same_bytes_whenever_they_began(stage: Stage, tmp_path: Path) -> None:
    period = live_period()
    stage.tell(period, facts.start())
    stage.start().ready()
    stage.tell(*facts.run(period, [4, 1, 2, 4]))
    (tmp_path / "second").mkdir()
    second = Stage(
        stage.settings.kafka.bootstrap_servers, tmp_path / "second", prefix=stage.settings.kafka.topic_prefix, create_topics=False
    )
    try:
        second.start().ready()
        stage.http.get("/c1/ll/v0.m3u8?_HLS_msn=3")
        for path in ("/c1/ll/v0.m3u8", "/c1/hls/a0.m3u8", "/c1/hls/multivariant.m3u8", "/c1/dash/manifest.mpd"):
            assert stage.http.get(path).content == second.http.get(path).content
    finally:
        second.close()


def test_a_viewer_of_a_channel_that_is_off_is_told_at_once_and_answered_when_it_starts(stage: Stage) -> None:
    period = live_period()
    stage.tell(period)
    stage.start().ready()
    with httpx.Client(base_url=stage.http.base_url, timeout=20) as other:
        # A second client asks while the first one is held: both are one first request for the planner.
        import threading

        answers: list[int] = []
        viewer = threading.Thread(target=lambda: answers.append(other.get("/c1/hls/multivariant.m3u8").status_code))
        viewer.start()
        asked = stage.demand(lambda record: any(c.first_request for c in record.channels))
        assert demand_of(asked, "c1") is not None
        assert answers == []
        stage.tell(facts.start(decision=3), *facts.run(period, [4, 4, 4]))
        viewer.join(10)
        assert answers == [200]


def test_sessions_go_to_demand_every_second_and_zero_once_after_the_last_left(stage: Stage) -> None:
    period = live_period()
    stage.tell(period, facts.start(), *facts.run(period, [4, 4, 4]))
    stage.start().ready()
    assert stage.http.get("/c1/hls/v0.m3u8?CMCD=sid%3D%22a%22").status_code == 200
    assert stage.http.get("/c1/ll/v0.m3u8?CMCD=sid%3D%22b%22").status_code == 200
    seen = stage.demand(lambda r: (c := demand_of(r, "c1")) is not None and c.whole_sessions == 1 and c.part_sessions == 1)
    assert seen.origin_id == "o1"
    gone = stage.demand(lambda r: r.at_unix_ms > seen.at_unix_ms and (c := demand_of(r, "c1")) is not None and c.whole_sessions == 0)
    assert demand_of(gone, "c1") == ChannelDemand(channel="c1")


def test_a_preload_hint_is_delivered_when_the_part_is_published(stage: Stage) -> None:
    period = live_period()
    stage.tell(period, facts.start(), *facts.run(period, [4, 4]))
    stage.start().ready()
    part = facts.part(period, period.tracks[0], 2, 8, 4, 0)
    name = object_name("c1", 0, "v0", part.start_ticks, PART_SUFFIX)
    stage.store.create_if_absent(name, [b"bytes"])
    assert stage.http.get(f"/{name}").content == b"bytes"


def test_a_record_that_cannot_be_read_is_counted_and_left_out(stage: Stage) -> None:
    period = live_period()
    stage.tell(period, facts.start())
    producer = Producer(stage.settings.kafka.client())
    producer.produce(topics.REPORTS.name(stage.settings.kafka), b"\xc3\x01nonsense", partition=0)
    assert producer.flush(10) == 0
    stage.tell(*facts.run(period, [4, 4]))
    stage.start().ready()
    assert stage.http.get("/c1/hls/v0.m3u8").status_code == 200
    assert "finecut_origin_rejected_records_total{" in stage.http.get("/metrics").text


def test_a_foreign_record_of_parts_goes_to_rejects_with_its_bytes_and_nothing_stops(stage: Stage) -> None:
    period = live_period()
    foreign = ChannelDemand(channel="c1")
    stage.tell(period, facts.start(), *facts.run(period, [4]))
    stage.start().ready()
    stage.send(topics.PARTS, Demand(origin_id="o", at_unix_ms=UnixMs(0), channels=(foreign,)), key="p9")
    stage.tell(*facts.run(period, [4], first_gop=4, first_msn=1))
    assert stage.http.get("/c1/hls/v0.m3u8?_HLS_msn=1").status_code == 200
    reject = stage.first(topics.REJECTS, lambda record: True)
    assert (reject.source_key, reject.error, reject.rejected_by) == (b"p9", "a Demand in parts", "origin o1")
    assert stage.codec.decode(reject.payload).channels == (foreign,)


def test_an_origin_whose_broker_is_silent_answers_503_until_it_speaks_again(own_kafka: LocalBroker, tmp_path: Path) -> None:
    stage = Stage(own_kafka.bootstrap, tmp_path)
    try:
        period = live_period()
        stage.tell(period, facts.start(), *facts.run(period, [4, 4]))
        stage.start(FINECUT_ORIGIN__STALENESS_MS_MAX="1500").ready()

        def status() -> int:
            return stage.http.get("/c1/hls/v0.m3u8").status_code

        assert status() == 200
        assert own_kafka.pid is not None
        os.kill(own_kafka.pid, signal.SIGSTOP)
        try:
            until(lambda: status() == 503, what="refusal of a stale origin")
            assert "finecut_origin_ready 0" in until(lambda: _metrics(stage, "finecut_origin_ready 0.0"), what="gauge")
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)
        until(lambda: status() == 200, what="answer once the broker speaks")
    finally:
        stage.close()


def test_an_origin_that_slept_shows_nothing_older_than_what_others_showed_meanwhile(stage: Stage) -> None:
    period = live_period()
    stage.tell(period, facts.start(), *facts.run(period, [4, 4]))
    stage.start().ready()
    assert stage.process is not None
    os.kill(stage.process.pid, signal.SIGSTOP)
    try:
        stage.tell(*facts.run(period, [4], first_gop=8, first_msn=2))
        time.sleep(ASLEEP_S + 0.5)
    finally:
        os.kill(stage.process.pid, signal.SIGCONT)
    answers = []

    def shows_it() -> bool:
        answers.append(stage.http.get("/c1/hls/v0.m3u8"))
        return answers[-1].status_code == 200

    until(shows_it, what="answer after the sleep")
    newest = read_playlist(answers[-1].text)
    assert newest.first + len(newest.segments) == 3
    assert {answer.status_code for answer in answers[:-1]} <= {503}


def _metrics(stage: Stage, wanted: str) -> str | None:
    text = stage.http.get("/metrics").text
    return text if wanted in text else None


def test_a_bug_while_folding_ends_the_origin(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    process = stage.start(PYTHONPATH=str(tmp_path)).ready().process
    assert process is not None
    stage.tell(live_period())
    assert process.wait(10) == 1
    assert "a bug of ours" in stage.error.read_text()


FAULT = """
from packager.manifest.presentation import Presentation
def add_period(self, period, at):
    raise ZeroDivisionError("a bug of ours")
Presentation.add_period = add_period
"""


def test_it_stops_at_once_when_told_to_even_with_players_waiting(stage: Stage) -> None:
    stage.tell(live_period())
    process = stage.start().ready().process
    assert process is not None
    with socket.create_connection(("127.0.0.1", stage.settings.origin.port)) as waiting:
        waiting.sendall(b"GET /c1/hls/v0.m3u8 HTTP/1.1\r\nhost: x\r\n\r\n")
        stage.demand(lambda record: any(c.first_request for c in record.channels))
        process.send_signal(signal.SIGTERM)
        assert process.wait(8) == 0


def test_missing_topics_are_said_in_one_sentence(kafka: LocalBroker, tmp_path: Path) -> None:
    stage = Stage(kafka.bootstrap, tmp_path, create_topics=False).start()
    assert stage.process is not None
    assert stage.process.wait(20) == 2
    assert "finecut topics create" in stage.error.read_text()


def test_a_port_in_use_is_said_in_one_sentence(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", stage.settings.origin.port)):
        process = stage.start().process
        assert process is not None
        assert process.wait(20) == 2
    assert "FINECUT_ORIGIN__PORT" in stage.error.read_text()

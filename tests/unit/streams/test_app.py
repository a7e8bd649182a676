"""What one worker's memories have to do with each other."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from schemas import topics
from schemas.settings import ControlSettings, KafkaSettings, Settings
from streams.app import Control, build
from streams.log import Outgoing, Stored
from tests.unit.streams.fake_log import FakeLog


class Consumer(SimpleNamespace):
    """Has one pool, and goes back when it is told to."""

    went_back: Any = None

    def assignment(self) -> set[TP]:
        return {TP(topics.HEARTBEATS.name(KafkaSettings()), 0)}

    async def go_back(self, begin: Any) -> None:
        self.went_back = begin


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"), control=ControlSettings(data_dir=tmp_path))
    consumer = Consumer()
    monkeypatch.setattr(Control, "consumer", property(lambda _: consumer))
    return build(settings, journal_log=FakeLog())


async def test_what_was_read_too_far_makes_models_anew_with_the_memories_they_learn_from(worker: Control) -> None:
    first, before = worker._model(0), worker.pools.of(0)
    tp = TP(topics.HEARTBEATS.name(worker.settings.kafka), 0)
    # Folded from offset 5 on before it was known that reading begins at 2: what lies between is missing.
    worker.shell._first[tp], worker.shell.handled[tp] = 5, 7
    await worker._sought({tp: 2})
    assert worker.consumer.went_back is not None  # type: ignore[attr-defined]
    assert worker.pools.of(0) is not before
    assert worker._model(0) is not first
    assert worker._model(0)._pool is worker.pools.of(0)


async def test_agents_keep_what_they_were_given_when_what_runs_is_resumed(worker: Control) -> None:
    queue = worker.app.FlowControlQueue(maxsize=10, clear_on_resume=True)
    queue.put_nowait("of before")
    worker.app.flow_control.resume()
    assert queue.empty()
    queue.put_nowait("read since")
    worker.app.flow_control.resume()
    assert queue.get_nowait() == "read since"


async def test_what_is_too_old_to_be_read_is_not_missed(worker: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.app, "_started", SimpleNamespace(is_set=lambda: True))
    monkeypatch.setattr(worker, "recovery_left", lambda: None)
    worker.consumer.committed_offsets = {}
    log, gops, demand = worker._log, *(TP(topic.name(worker.settings.kafka), 0) for topic in (topics.GOPS, topics.DEMAND))
    for tp in (gops, demand):
        log.put(Outgoing(topic=tp.topic, partition=0, key=b"", value=b""))  # type: ignore[attr-defined]
    log.first[demand.topic, 0] = 1  # type: ignore[attr-defined]
    ends = await worker.ends()
    assert ends[gops] == 1
    assert demand not in ends


async def test_before_faust_reads_there_is_nothing_to_miss(worker: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_started() -> None:
        raise ConsumerNotStarted

    monkeypatch.setattr(worker.app, "_started", SimpleNamespace(is_set=lambda: True))
    monkeypatch.setattr(worker, "recovery_left", lambda: None)
    monkeypatch.setattr(worker.consumer, "assignment", not_started, raising=False)
    worker.consumer.committed_offsets = {}
    assert await worker.ends() == worker.positions() == {}


async def test_what_compaction_took_of_channels_is_a_hole_and_what_the_log_has_is_none(tmp_path: Path) -> None:
    name = topics.CHANNELS.name(KafkaSettings())
    log = Compacted()
    for key in ("a", "b", "c"):
        log.put(Outgoing(topic=name, partition=0, key=key.encode(), value=b""))
    log.taken = {1}
    worker = build(Settings(control=ControlSettings(data_dir=tmp_path)), journal_log=log)
    assert await worker._is_hole(TP(name, 0), 1, 2)
    assert not await worker._is_hole(TP(name, 0), 0, 2)
    log.first[name, 0] = 2
    assert await worker._is_hole(TP(name, 0), 0, 2)


async def test_of_what_is_never_compacted_only_what_was_too_old_is_a_hole(tmp_path: Path) -> None:
    name, log = topics.GOPS.name(KafkaSettings()), FakeLog()
    worker = build(Settings(control=ControlSettings(data_dir=tmp_path)), journal_log=log)
    assert not await worker._is_hole(TP(name, 0), 3, 5)
    log.first[name, 0] = 5
    assert await worker._is_hole(TP(name, 0), 3, 5)


class Compacted(FakeLog):
    """A log of which compaction took some offsets."""

    taken: set[int]

    async def read(self, topic: str, partition: int, first: int, end: int) -> list[Stored]:
        return [stored for stored in await super().read(topic, partition, first, end) if stored.offset not in self.taken]

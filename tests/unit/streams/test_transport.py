"""Cures for what aiokafka and Faust make of a first record, of a rebalance, and of a broker that has just started or is not there."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IllegalStateError, KafkaTimeoutError
from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.util import commit_structure_validate
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from structlog.testing import capture_logs

from infra.kafka.ports import free_ports
from schemas.errors import Exit
from schemas.settings import ControlSettings, KafkaSettings, Settings
from streams import patience
from streams.__main__ import run
from streams.log import KafkaReading
from streams.transport import Consumer as OurConsumer
from streams.transport import ConsumerThread

SOURCE = TP("gops", 0)
CHANGELOG = TP("control-gops-changelog", 0)


class Aiokafka:
    """Positions and commits of aiokafka: it seeks to commits above 0 only."""

    def __init__(self, committed: Mapping[TP, int | None]) -> None:
        self.committed = committed
        self.positions = dict.fromkeys(committed, 0)

    def deliver(self, tp: TP) -> None:
        self.positions[tp] += 1

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        self.positions |= {tp: offset for tp, offset in self.committed.items() if offset}
        return self.committed

    async def seek_to_beginning(self, *partitions: TP) -> None:
        self.positions |= dict.fromkeys(partitions, 0)


class Consumer:
    """The two calls of Faust's thread that the cure touches, without the thread."""

    async def call_thread(self, call: Any, *args: Any) -> Any:
        return await call(*args)

    def _ensure_consumer(self) -> Aiokafka:
        return self.aiokafka

    def __init__(self, aiokafka: Aiokafka) -> None:
        self.aiokafka = aiokafka
        self.app: Any = SimpleNamespace(tables=SimpleNamespace(changelog_topics={CHANGELOG.topic}))


class Stock(Consumer, driver.AIOKafkaConsumerThread):
    pass


class Cured(Consumer, ConsumerThread):
    pass


async def drained_then_sought(kind: type[Any], committed: int | None) -> int:
    """Position of a source partition when Faust drains one waiting record before it seeks to commits, as it does after a recovery."""
    aiokafka = Aiokafka({SOURCE: committed})
    if committed:
        aiokafka.positions[SOURCE] = committed
    aiokafka.deliver(SOURCE)
    await kind(aiokafka).seek_to_committed()
    return aiokafka.positions[SOURCE]


async def test_a_record_drained_before_the_seek_is_delivered_again_when_nothing_was_committed() -> None:
    assert await drained_then_sought(Cured, None) == 0


async def test_a_record_drained_before_the_seek_is_delivered_again_when_0_was_committed() -> None:
    assert await drained_then_sought(Cured, 0) == 0


async def test_a_record_drained_before_the_seek_is_delivered_again_when_more_was_committed() -> None:
    assert await drained_then_sought(Cured, 7) == 7


async def test_without_the_cure_the_record_is_lost() -> None:
    assert [await drained_then_sought(Stock, committed) for committed in (None, 0, 7)] == [1, 1, 7]


async def test_a_changelog_stays_where_its_recovery_ended() -> None:
    aiokafka = Aiokafka({SOURCE: None, CHANGELOG: None})
    aiokafka.deliver(CHANGELOG)
    await Cured(aiokafka).seek_to_committed()
    assert aiokafka.positions == {SOURCE: 0, CHANGELOG: 1}


class Rejoining:
    """A consumer of aiokafka in a rebalance, or given others by it: what it has, and how it refuses to commit the rest."""

    def __init__(self, assigned: set[TP]) -> None:
        self.assigned = assigned
        self.committed: list[Any] = []

    def assignment(self) -> set[TP]:
        return self.assigned

    async def commit(self, offsets: Mapping[Any, Any]) -> None:
        if not self.assigned:
            raise IllegalStateError("No partitions assigned")
        commit_structure_validate(dict(offsets))
        self.committed += offsets


class Crashes:
    """What the driver does to Faust when a commit raises."""

    has_crashed = False

    async def crash(self, error: BaseException) -> None:
        del error
        self.has_crashed = True


async def committed(kind: type[Any], assigned: set[TP]) -> tuple[bool, bool]:
    """Whether a commit of a source partition succeeds, and whether it crashes the worker."""
    consumer = Rejoining(assigned)
    thread: Any = object.__new__(kind)
    thread._consumer, thread.log, crashes = consumer, SimpleNamespace(exception=lambda *_: None), Crashes()
    thread.crash, thread.tp_last_committed_at, thread._ensure_consumer = crashes.crash, {}, lambda: consumer
    return await thread._commit({SOURCE: 5}), crashes.has_crashed


class Slow:
    """The thread of a consumer, that ends each commit when it is told to."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.may_end = asyncio.Event()

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        await self.may_end.wait()
        self.done.append(offsets[SOURCE])
        return True


async def test_what_is_committed_once_more_to_see_whose_it_is_takes_back_nothing_committed_meanwhile() -> None:
    consumer: Any = object.__new__(OurConsumer)
    consumer.committed_offsets, consumer._committing, consumer._thread = {SOURCE: 5}, asyncio.Lock(), Slow()
    later = asyncio.create_task(consumer._commit({SOURCE: 9}))
    await asyncio.sleep(0)
    asked = asyncio.create_task(consumer.confirms(SOURCE.partition))
    await asyncio.sleep(0)
    consumer._thread.may_end.set()
    assert all(await asyncio.gather(later, asked))
    assert consumer._thread.done == [9, 9]
    assert consumer.committed_offsets == {SOURCE: 9}


OTHER = TP("gops", 1)


@pytest.mark.parametrize("assigned", [set(), {OTHER}], ids=["none are", "others are"])
async def test_a_worker_whose_partitions_were_taken_before_its_commit_goes_on(assigned: set[TP]) -> None:
    assert await committed(ConsumerThread, assigned) == (False, False)


@pytest.mark.parametrize("assigned", [set(), {OTHER}], ids=["none are", "others are"])
async def test_without_the_cure_it_crashes(assigned: set[TP]) -> None:
    assert await committed(driver.AIOKafkaConsumerThread, assigned) == (False, True)


async def test_what_is_assigned_is_committed() -> None:
    assert await committed(ConsumerThread, {SOURCE}) == (True, False)


async def test_a_group_waits_for_a_broker_that_names_none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(AssertionError, match="bootstrap"):
        await client.coordinator_lookup(CoordinationType.GROUP, "control")
    patience.limit(client, request_timeout_ms=5_000)
    coordinator = GroupCoordinator(client, SubscriptionState(), group_id="control", retry_backoff_ms=1)
    asked = 0

    async def update() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            client.cluster.update_metadata(MetadataResponse_v0([(7, "127.0.0.1", 1)], []))

    async def answer(node_id: int, request: Any, **_: Any) -> Any:
        del request
        return SimpleNamespace(error_code=0, coordinator_id=node_id)

    async def ready(*_: Any, **__: Any) -> bool:
        return True

    monkeypatch.setattr(client, "force_metadata_update", update)
    monkeypatch.setattr(client, "send", answer)
    monkeypatch.setattr(client, "ready", ready)
    await coordinator.ensure_coordinator_known()
    assert (coordinator.coordinator_id, asked) == (7, 2)
    await coordinator.close()


async def test_an_answer_that_came_while_we_stood_still_is_asked_for_again() -> None:
    class Stopped:
        asked = 0

        async def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
            self.asked += 1
            if self.asked == 1:
                raise KafkaTimeoutError("Failed to get offsets by times in 40000 ms")
            return dict.fromkeys(partitions, 9)

    assert await KafkaReading(KafkaSettings(), Stopped()).ends(["decisions"], 0) == [9]


def test_a_control_plane_that_finds_no_kafka_says_so_and_ends_with_a_fault(tmp_path: Path) -> None:
    (port,) = islice(free_ports(), 1)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"), control=ControlSettings(port=0, data_dir=tmp_path))
    with capture_logs() as lines:
        assert run(settings) == Exit.FAILED
    assert [line["status"] for line in lines if line["event"] == "kafka_unreachable"] == [Exit.FAILED]


class Fetching:
    """aiokafka's consumer, of which a fetch returns two rows of a changelog just after it was sought to its beginning."""

    def __init__(self, *, stands: bool) -> None:
        self.positions = {CHANGELOG: 0}
        self._closed = False
        self._fetcher = SimpleNamespace(
            _closed=False, _subscriptions=SimpleNamespace(fetch_context=nullcontext), fetched_records=self.fetched_records
        )
        self._stands = stands
        self.flow = SimpleNamespace(flow_active=True)

    async def fetched_records(self, *_: Any, **__: Any) -> dict[TP, list[Any]]:
        # A rebalance began while the fetch waited.
        self.flow.flow_active = not self._stands
        self.positions[CHANGELOG] = 2
        return {CHANGELOG: [SimpleNamespace(offset=0), SimpleNamespace(offset=1)]}

    def assignment(self) -> set[TP]:
        return {CHANGELOG}

    def seek(self, tp: TP, offset: int) -> None:
        self.positions[tp] = offset


async def fetched(kind: type[Any], *, stands: bool) -> tuple[int, int]:
    """How many rows came of a fetch, and the position after it."""
    consumer = Fetching(stands=stands)
    thread: Any = object.__new__(kind)
    thread.consumer = consumer.flow
    records = await thread._fetch_records(consumer, {CHANGELOG}, timeout=1.0, max_records=10)
    return len(records.get(CHANGELOG, ())), consumer.positions[CHANGELOG]


async def test_rows_that_are_fetched_while_the_flow_stands_are_fetched_again() -> None:
    assert await fetched(ConsumerThread, stands=True) == (0, 0)


async def test_faust_alone_would_drop_them_for_good() -> None:
    assert await fetched(driver.AIOKafkaConsumerThread, stands=True) == (2, 2)


async def test_rows_that_are_fetched_while_it_flows_are_given() -> None:
    assert await fetched(ConsumerThread, stands=False) == (2, 2)


class Passing(OurConsumer):
    """Our consumer, of which only what it asks of Kafka is made up."""

    def __init__(self, *, has_them: bool) -> None:
        self.has_them, self.questions = has_them, 0
        self.sought = list[tuple[TP, int]]()
        self._asked = {}

    async def go_back(self, begin: Mapping[TP, int]) -> None:
        self.sought += begin.items()

    async def given_again(self, found: int) -> bool:
        return await self.is_given_again(SOURCE, 5, found, is_hole=self._is_hole)

    async def _is_hole(self) -> bool:
        self.questions += 1
        return not self.has_them


@pytest.fixture
def gaps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What Faust would commit beyond, both ends included."""
    taken: list[tuple[int, int]] = []

    async def add(consumer: object, tp: TP, first: int, until: int) -> None:
        del consumer, tp
        taken.append((first, until))

    monkeypatch.setattr(driver.Consumer, "_add_gap", add)
    return taken


async def test_records_that_were_passed_over_are_asked_for_once_and_nothing_is_committed_beyond_them(gaps: list[tuple[int, int]]) -> None:
    consumer = Passing(has_them=True)
    assert [await consumer.given_again(found) for found in (9, 10, 11)] == [True] * 3
    assert (consumer.sought, consumer.questions, gaps) == ([(SOURCE, 5)], 1, [])


async def test_they_are_asked_for_again_if_they_do_not_come_though_the_log_has_them(gaps: list[tuple[int, int]]) -> None:
    consumer = Passing(has_them=True)
    assert [await consumer.given_again(9) for _ in range(2)] == [True] * 2
    assert (consumer.sought, gaps) == ([(SOURCE, 5)] * 2, [])


async def test_what_the_log_does_not_have_is_not_waited_for_and_what_comes_after_it_is_yet_to_be_acknowledged(
    gaps: list[tuple[int, int]],
) -> None:
    consumer = Passing(has_them=False)
    assert not await consumer.given_again(9)
    assert (consumer.sought, gaps) == ([], [(5, 8)])

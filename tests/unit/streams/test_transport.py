"""The cure for the lost first record, on a consumer that behaves as aiokafka's."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

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

"""The wrapper of all agents, through Faust's test context: no broker."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from schemas import topics
from schemas.codec import Codec
from schemas.records import Demand, Heartbeat, Load, PackagerState, Reject
from schemas.settings import ControlSettings, KafkaSettings, Settings
from schemas.units import Ms, UnixMs
from streams.app import App, new_app
from streams.metrics import Metrics
from streams.shell import Arrival, Shell

CODEC = Codec()
BEAT = Heartbeat(packager_id="p1", life="l", state=PackagerState.READY, number=0, interval_ms=Ms(500), capacity=Load(), use=Load())


class Bench:
    """A shell around one agent of `heartbeats`, and what became of what it was given."""

    def __init__(self, tmp_path: Path, handle: Callable[[Arrival], None] | None = None) -> None:
        kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1")
        self.app: App = new_app(Settings(kafka=kafka, control=ControlSettings(data_dir=tmp_path)))
        self.metrics = Metrics()
        self.arrivals: list[Arrival] = []
        self.rejects: list[tuple[int, bytes, Reject]] = []
        self.durable: list[Callable[[], object]] = []
        self.asked: list[tuple[int, int]] = []
        self.has_more = False
        self.before_answer: Callable[[], object] = lambda: None
        self.shell = Shell(
            kafka=kafka,
            codec=CODEC,
            metrics=self.metrics,
            send_reject=self._reject,
            when_durable=self._when_durable,
            is_given_again=self._again,
        )
        self.agent = self.shell.attend(self.app, topics.HEARTBEATS, handle or self.arrivals.append)

    async def _reject(self, pool: int, key: bytes, reject: Reject) -> None:
        self._interrupt()
        self.rejects.append((pool, key, reject))

    def _interrupt(self) -> None:
        act, self.before_answer = self.before_answer, lambda: None
        act()

    def _when_durable(self, topic: topics.Topic, pool: int, then: Callable[[], object]) -> None:
        assert (topic, pool) == (topics.HEARTBEATS, 0)
        self.durable.append(then)

    async def _again(self, tp: TP, first: int, found: int) -> bool:
        self.asked.append((first, found))
        self._interrupt()
        return self.has_more

    async def give(self, *values: bytes | None) -> list[Any]:
        """Events of the records, after each was handled."""
        async with self.agent.test_context() as agent:
            return [await agent.put(value, key=b"p1") for value in values]

    def close(self) -> None:
        # Faust makes the consumer's event loop with the consumer, and closes it only with its thread, which never starts here.
        self.app.consumer._thread.thread_loop.close()  # type: ignore[attr-defined]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


async def test_a_record_reaches_its_handler_with_the_place_and_time_it_came_from(bench: Bench) -> None:
    await bench.give(CODEC.encode(BEAT))
    (arrival,) = bench.arrivals
    assert (arrival.record, arrival.pool, arrival.offset) == (BEAT, 0, 0)
    assert arrival.topic is topics.HEARTBEATS


async def test_a_record_is_acknowledged_once_its_row_is_durable_and_not_before(bench: Bench) -> None:
    (event,) = await bench.give(CODEC.encode(BEAT))
    assert not event.message.acked, "a worker killed now would find the commit beyond its rows"
    (then,) = bench.durable
    then()
    assert event.message.acked


async def test_bytes_that_are_no_record_go_to_rejects_as_they_are_and_reading_goes_on(bench: Bench) -> None:
    await bench.give(b"\xc3\x01nonsense", CODEC.encode(BEAT))
    ((pool, key, reject),) = bench.rejects
    assert (pool, key, reject.payload, reject.source_key, reject.source_offset) == (0, b"heartbeats", b"\xc3\x01nonsense", b"p1", 0)
    assert reject.error.startswith("unknown schema")
    assert [arrival.record for arrival in bench.arrivals] == [BEAT]


async def test_a_record_of_another_topic_is_rejected(bench: Bench) -> None:
    await bench.give(CODEC.encode(Demand(origin_id="o", at_unix_ms=UnixMs(0), channels=())))
    assert [reject.error for _, _, reject in bench.rejects] == ["a Demand in heartbeats"]


async def test_an_id_with_a_path_in_it_is_rejected(bench: Bench) -> None:
    evil = CODEC.encode(BEAT).replace(b"p1", b"/.")
    await bench.give(evil)
    assert "is not an id" in bench.rejects[0][2].error


async def test_a_tombstone_is_passed_over(bench: Bench) -> None:
    await bench.give(None)
    assert (bench.arrivals, bench.rejects) == ([], [])


async def test_what_was_handled_is_known_by_partition(bench: Bench) -> None:
    await bench.give(CODEC.encode(BEAT), b"", CODEC.encode(replace(BEAT, number=1)))
    assert list(bench.shell.handled.values()) == [3]


async def test_an_offset_that_never_came_is_counted(bench: Bench) -> None:
    bench.shell.handled[TP(topics.HEARTBEATS.name(KafkaSettings()), 0)] = 5
    async with bench.agent.test_context() as agent:
        agent.sent_offset = 7
        await agent.put(CODEC.encode(BEAT), key=b"p1")
    (sample,) = [s for m in bench.metrics.gaps.collect() for s in m.samples if s.name.endswith("_total")]
    assert (sample.value, list(bench.shell.handled.values())) in ((2.0, [8]), (2.0, [5, 8]))


HEARTBEATS = TP(topics.HEARTBEATS.name(KafkaSettings()), 0)


async def given(bench: Bench, *offsets: int) -> list[int]:
    """Numbers of those handled so far, after records of these offsets, whose numbers are the same, came."""
    async with bench.agent.test_context() as agent:
        for offset in offsets:
            agent.sent_offset = offset
            await agent.put(CODEC.encode(replace(BEAT, number=offset)), key=b"p1")
    return [arrival.record.number for arrival in bench.arrivals]


async def test_a_record_that_comes_twice_is_handled_once_and_acknowledged_twice(bench: Bench) -> None:
    assert await given(bench, 5, 6, 7, 6, 7, 8) == [5, 6, 7, 8]
    assert len(bench.durable) == 6


async def test_what_was_handled_before_the_seek_counts_if_nothing_is_missing(bench: Bench) -> None:
    bench.has_more = True
    await given(bench, 5, 6)
    assert bench.shell.expect({HEARTBEATS: 5})
    assert await given(bench, 7) == [5, 6, 7]
    assert bench.asked == []


async def test_what_was_handled_before_the_seek_does_not_count_if_something_is_missing_before_it(bench: Bench) -> None:
    bench.has_more = True
    await given(bench, 5, 6)
    assert not bench.shell.expect({HEARTBEATS: 3}), "what was folded of it is to be forgotten"
    assert await given(bench, 7, 3, 4, 5, 6, 7) == [5, 6, 3, 4, 5, 6, 7]
    assert bench.asked == [(3, 7)]


async def test_a_record_before_which_others_were_passed_over_waits_until_they_came_again(bench: Bench) -> None:
    bench.has_more = True
    bench.shell.expect({HEARTBEATS: 5})
    assert await given(bench, 7, 5, 6, 7) == [5, 6, 7]
    assert bench.asked == [(5, 7)]
    assert len(bench.durable) == 3, "what was not folded is not acknowledged"


async def test_a_reject_that_is_written_while_reading_begins_anew_hides_nothing_that_comes_again(bench: Bench) -> None:
    await given(bench, 8, 9)
    bench.before_answer = lambda: begin(bench, 5)
    async with bench.agent.test_context() as agent:
        agent.sent_offset = 10
        await agent.put(b"nonsense", key=b"p1")
    assert len(bench.rejects) == 1
    assert await given(bench, 5, 6) == [8, 9, 5, 6]


async def test_a_record_that_was_asked_about_while_reading_begins_anew_hides_nothing_that_comes_again(bench: Bench) -> None:
    await given(bench, 8)
    bench.before_answer = lambda: begin(bench, 5)
    assert await given(bench, 10, 5, 6) == [8, 5, 6]


def begin(bench: Bench, offset: int) -> None:
    """As after a rebalance: what was folded is forgotten, and reading begins at an offset."""
    bench.shell.forget(HEARTBEATS)
    bench.shell.expect({HEARTBEATS: offset})


async def test_our_own_bug_leaves_the_record_unacknowledged_and_ends_the_worker(tmp_path: Path) -> None:
    def handle(arrival: Arrival) -> None:
        raise ZeroDivisionError(arrival.offset)

    bench = Bench(tmp_path, handle)
    with pytest.raises(ZeroDivisionError):
        await bench.give(CODEC.encode(BEAT))
    assert isinstance(bench.shell.failure, ZeroDivisionError)
    assert bench.shell.failed.is_set()
    assert bench.shell.handled == {}
    bench.close()

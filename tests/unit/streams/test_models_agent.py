"""What learns from demand and reports, with a log in memory."""

from typing import Any

from schemas import topics
from schemas.codec import Codec
from schemas.records import ChannelDemand, Demand
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.units import UnixMs
from streams.agents.models import Models, Seconds
from streams.log import outgoing
from streams.metrics import Metrics
from streams.pools import Pool
from streams.rows import Tables
from streams.shell import Arrival

from .fake_log import FakeLog

START = UnixMs(1_700_000_000_000)


class NoTables(Tables):
    """Tables that nothing was ever written to."""

    def __init__(self) -> None:
        self.by_title = {}


def demand(origin_id: str = "o1", **fields: Any) -> Demand:
    return Demand(origin_id=origin_id, at_unix_ms=UnixMs(0), channels=(ChannelDemand(channel="a", **fields),))


def sessions(seconds: Seconds, now: int) -> list[float]:
    return [seen["a"][0] for _, seen in seconds.until(UnixMs(START + now))]


def test_sessions_of_all_origins_add_up() -> None:
    seconds = Seconds()
    seconds.hear(demand("o1", whole_sessions=3), UnixMs(START + 100))
    seconds.hear(demand("o2", part_sessions=4), UnixMs(START + 900))
    assert sessions(seconds, 1_000) == [7]


def test_an_origin_that_is_late_by_a_second_counts_with_its_last_word() -> None:
    seconds = Seconds()
    seconds.hear(demand(whole_sessions=3), UnixMs(START + 500))
    assert sessions(seconds, 2_000) == [3, 3]


def test_an_origin_that_fell_silent_has_no_sessions() -> None:
    seconds = Seconds()
    seconds.hear(demand(whole_sessions=3), UnixMs(START))
    assert sessions(seconds, 5_000) == [3, 3, 3, 0, 0]


def test_joins_count_once() -> None:
    seconds = Seconds()
    seconds.hear(demand(joins=2), UnixMs(START + 10))
    assert [seen["a"][1] for _, seen in seconds.until(UnixMs(START + 3_000))] == [2, 0, 0]


def test_an_origin_unheard_for_the_memory_is_forgotten() -> None:
    seconds = Seconds()
    for number in range(9):
        seconds.hear(demand(f"o{number}", joins=1), UnixMs(START + 1_000 * number))
    seconds.forget(UnixMs(START + 8_000))
    assert list(seconds._origins) == ["o8"]


def arrival(topic: Topic, record: Any, offset: int, at: int) -> Arrival:
    return Arrival(topic=topic, pool=0, offset=offset, at_unix_ms=UnixMs(at), cause=topics.cause(topic.title, 0, offset), record=record)


def models(log: FakeLog, now: int) -> Models:
    pool = Pool(0, Settings(), NoTables())
    pool.clock.observe(UnixMs(now))
    return Models(pool, log=log, codec=Codec(), settings=Settings(), metrics=Metrics())


async def relearned(log: FakeLog, now: int) -> Models:
    made = models(log, now)
    await made._relearn()
    return made


def put(log: FakeLog, topic: Topic, record: Any, at: int) -> None:
    log.now = at - 1
    log.put(outgoing(topic, 0, "k", record, codec=log.codec, kafka=log.kafka))


async def test_a_restart_relearns_the_recent_series_from_the_log() -> None:
    log, lived = FakeLog(), models(FakeLog(), START)
    await lived._relearn()
    for second in range(60):
        seen, at = demand(whole_sessions=10 + second), START + 1_000 * second
        put(log, topics.DEMAND, seen, at)
        lived.learn(arrival(topics.DEMAND, seen, second, at))
    now = UnixMs(START + 60_500)
    said, again = lived.forecast(now), (await relearned(log, now)).forecast(now)
    assert said is not None
    assert again is not None
    assert again.channels == said.channels


async def test_what_arrives_while_relearning_is_learned_once() -> None:
    log = FakeLog()
    put(log, topics.DEMAND, demand(whole_sessions=5), START)
    made = models(log, START + 1_500)
    made.learn(arrival(topics.DEMAND, demand(whole_sessions=5), 0, START))
    made.learn(arrival(topics.DEMAND, demand(whole_sessions=9), 1, START + 1_000))
    await made._relearn()
    forecasts = made.forecast(UnixMs(START + 3_000))
    assert forecasts is not None
    assert forecasts.cause == topics.cause("demand", 0, 1)


async def test_nothing_is_said_while_nothing_is_known() -> None:
    assert (await relearned(FakeLog(), START)).forecast(START) is None


async def test_forecasts_are_told_at_once_of_a_new_channel_and_then_as_often_as_they_are_made() -> None:
    made, told = await relearned(FakeLog(), START), []
    for second in range(21):
        made.learn(arrival(topics.DEMAND, demand(whole_sessions=second + 1), second, START + 1_000 * second))
        if made.news(UnixMs(START + 1_000 * second + 500)):
            told.append(second)
    assert told == [1, 5, 10, 15, 20]


async def test_a_channel_that_nobody_speaks_of_is_forgotten() -> None:
    made = await relearned(FakeLog(), START)
    made.learn(arrival(topics.DEMAND, demand(whole_sessions=1), 0, START))
    assert made.forecast(UnixMs(START + 2_000)) is not None
    assert made.forecast(UnixMs(START + Settings().planner.memory_ms + 2_000)) is None


async def test_bytes_that_were_rejected_when_they_came_are_passed_over_when_relearning() -> None:
    log, bad = FakeLog(), demand(whole_sessions=5)
    put(log, topics.DEMAND, demand(whole_sessions=5), START)
    object.__setattr__(bad.channels[0], "whole_sessions", -1)
    put(log, topics.DEMAND, bad, START + 1_000)
    forecasts = (await relearned(log, START + 1_500)).forecast(UnixMs(START + 3_000))
    assert forecasts is not None
    assert forecasts.cause == topics.cause(topics.DEMAND.name(log.kafka), 0, 0)

"""What an origin does with each record it reads, and when it counts as stale; no broker."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from packager.clock import BrokerClock
from packager.origin import follow
from packager.origin.follow import ASLEEP_S, Fact, Follower
from packager.origin.server import _Process
from schemas import topics
from schemas.codec import Codec
from schemas.errors import UnreachableError, UserError
from schemas.records import Demand
from schemas.settings import KafkaSettings, Settings
from schemas.topics import Topic
from schemas.units import Ms, UnixMs
from tests import facts

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:1")
CODEC = Codec()
APPENDED = 5
FOREIGN = Demand(origin_id="o", at_unix_ms=UnixMs(0), channels=())


@dataclass
class Message:
    """A record as librdkafka gives it."""

    of: Topic
    data: bytes | None
    name: bytes = b"k"
    ends_at: int | None = None

    def topic(self) -> str:
        return self.of.name(KAFKA)

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 7 if self.ends_at is None else self.ends_at

    def key(self) -> bytes:
        return self.name

    def value(self) -> bytes | None:
        return self.data

    def timestamp(self) -> tuple[int, int]:
        return 1, APPENDED

    def error(self) -> KafkaError | None:
        return None if self.ends_at is None else KafkaError(KafkaError._PARTITION_EOF)


@dataclass
class Desk:
    """A follower and what it handed on."""

    now_s: float = 100.0
    lag_ms: int = 0
    rejected: list[tuple[Topic, Any, str]] = field(default_factory=list)
    delivered: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.follower = Follower(
            KAFKA,
            since_unix_ms=UnixMs(1_000),
            staleness_ms_max=Ms(10_000),
            deliver=lambda _, shown: self.delivered.append(shown),
            reject=lambda topic, message, error: self.rejected.append((topic, message, error)),
            broker_now=lambda: UnixMs(APPENDED + self.lag_ms),
            monotonic_s=lambda: self.now_s,
        )
        self.follower._looked_at = self.now_s

    def read(self, topic: Topic, data: bytes | None) -> Fact | None:
        return self.follower._read(Message(topic, data))  # type: ignore[arg-type]


def test_a_record_of_its_topic_becomes_a_fact() -> None:
    fact = Desk().read(topics.REPORTS, CODEC.encode(facts.start()))
    assert fact == Fact(record=facts.start(), key="k", at_unix_ms=UnixMs(5), is_live=True)


@pytest.mark.parametrize("topic", [topics.CHANNELS, topics.PARTS, topics.REPORTS], ids=lambda topic: topic.title)
def test_a_record_of_another_topic_is_left_out(topic: Topic) -> None:
    assert Desk().read(topic, CODEC.encode(FOREIGN)) is None


@pytest.mark.parametrize("data", [b"\xc3\x01nonsense", CODEC.encode(FOREIGN)], ids=["no record", "a demand"])
def test_what_stands_in_parts_and_is_none_goes_to_rejects_since_nobody_else_reads_it(data: bytes) -> None:
    desk = Desk()
    assert desk.read(topics.PARTS, data) is None
    ((topic, message, error),) = desk.rejected
    assert (topic, message.value()) == (topics.PARTS, data)
    assert error


def test_what_the_control_plane_reads_too_is_rejected_by_it_alone() -> None:
    desk = Desk()
    desk.read(topics.CHANNELS, b"\xc3\x01nonsense")
    desk.read(topics.REPORTS, b"\xc3\x01nonsense")
    assert desk.rejected == []


def test_a_broker_that_is_silent_for_too_long_makes_an_origin_stale_until_it_speaks() -> None:
    desk = Desk()
    desk.read(topics.REPORTS, CODEC.encode(facts.start()))
    desk.now_s = desk.follower._looked_at = desk.now_s + 10
    assert desk.follower.is_ready
    desk.now_s += 0.001
    assert not desk.follower.is_ready
    desk.read(topics.REPORTS, CODEC.encode(facts.start()))
    assert desk.follower.is_ready


def test_a_kafka_that_went_away_since_it_was_looked_for_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "START_TIMEOUT_S", 0.2)
    desk = Desk()
    desk.follower._monotonic_s = time.monotonic
    desk.follower.run()
    assert isinstance(desk.follower.failure, UnreachableError)
    assert "no Kafka answers at 127.0.0.1:1" in str(desk.follower.failure)


def test_an_origin_that_reads_what_came_long_ago_is_not_ready_before_it_has_read_the_rest() -> None:
    desk = Desk(lag_ms=20_000)
    desk.read(topics.REPORTS, CODEC.encode(facts.start()))
    assert not desk.follower.is_ready, "it was paused: others have shown more"
    desk.lag_ms = 10_000
    desk.read(topics.REPORTS, CODEC.encode(facts.start()))
    assert desk.follower.is_ready
    desk.lag_ms = 20_000
    desk.read(topics.REPORTS, CODEC.encode(facts.start()))
    desk.follower._read(Message(topics.REPORTS, None, ends_at=8))
    assert desk.follower.is_ready, "nothing newer is there"


@dataclass
class Ends:
    """Brokers that say how long the partitions are that they lead; none says anything of those that are away."""

    of: dict[Topic, int]
    away: set[Topic] = field(default_factory=set)
    silent: bool = False

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.silent:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        said = {topic.name(KAFKA): end for topic, end in self.of.items() if topic not in self.away}
        return [TopicPartition(place.topic, place.partition, said.get(place.topic, OFFSET_INVALID)) for place in places]


def hand_on(desk: Desk, *messages: Message) -> None:
    desk.follower._hand_on(list(messages))  # type: ignore[arg-type]


def followed(desk: Desk) -> Any:
    """Two partitions read to their ends, behind offset 7, and their brokers."""
    for topic in (topics.PARTS, topics.REPORTS):
        desk.read(topic, CODEC.encode(facts.start()))
    assert desk.follower.is_ready
    return Ends({topics.PARTS: 8, topics.REPORTS: 8})


def later(desk: Desk, seconds: float) -> None:
    desk.now_s = desk.follower._looked_at = desk.now_s + seconds


def test_partitions_without_anything_new_are_fresh_as_long_as_their_brokers_say_so() -> None:
    desk = Desk()
    brokers = followed(desk)
    for _ in range(3):
        later(desk, 9)
        desk.follower._probe(brokers)
        assert desk.follower.is_ready


def test_an_origin_that_one_of_several_brokers_does_not_answer_is_not_ready_before_it_does() -> None:
    desk = Desk()
    brokers = followed(desk)
    brokers.away = {topics.REPORTS}
    later(desk, 10.1)
    desk.read(topics.PARTS, CODEC.encode(facts.start()))
    desk.follower._probe(brokers)
    assert not desk.follower.is_ready, "what others say is nothing of it"
    brokers.away, brokers.silent = set(), True
    desk.follower._probe(brokers)
    assert not desk.follower.is_ready
    brokers.silent = False
    desk.follower._probe(brokers)
    assert desk.follower.is_ready


def test_an_origin_that_is_given_nothing_of_a_partition_that_grows_is_not_ready_before_it_has_read_it() -> None:
    desk = Desk()
    brokers = followed(desk)
    brokers.of[topics.REPORTS] = 9
    later(desk, 10.1)
    desk.read(topics.PARTS, CODEC.encode(facts.start()))
    desk.follower._probe(brokers)
    assert not desk.follower.is_ready, "its broker has more than it was given"
    desk.follower._read(Message(topics.REPORTS, None, ends_at=9))  # type: ignore[arg-type]
    assert desk.follower.is_ready


def test_what_was_read_long_ago_of_one_partition_is_not_made_good_by_another() -> None:
    desk = Desk()
    followed(desk)
    desk.lag_ms = 20_000
    desk.read(topics.REPORTS, CODEC.encode(facts.start()))
    desk.lag_ms = 0
    desk.read(topics.PARTS, CODEC.encode(facts.start()))
    assert not desk.follower.is_ready


def test_an_origin_that_slept_is_not_ready_before_it_shows_what_came_meanwhile() -> None:
    desk = Desk()
    brokers = followed(desk)
    desk.follower._settle(dict(desk.follower._reached))
    desk.now_s += ASLEEP_S + 0.1
    assert not desk.follower.is_ready, "nobody looked"
    brokers.away, brokers.of[topics.PARTS] = {topics.REPORTS}, 9
    assert not desk.follower._look_again(brokers), "of one partition nobody says how long it is"
    brokers.away = set()
    assert desk.follower._look_again(brokers)
    desk.follower._looked_at = desk.now_s
    assert not desk.follower.is_ready, "there is more"
    hand_on(desk, Message(topics.PARTS, None, ends_at=8))
    desk.delivered.pop()()
    assert not desk.follower.is_ready, "an end that was told before the sleep"
    hand_on(desk, Message(topics.PARTS, None, ends_at=9))
    assert not desk.follower.is_ready, "it was handed on, and is not shown yet"
    desk.delivered.pop()()
    assert desk.follower.is_ready


def test_an_origin_that_fell_asleep_over_what_it_had_read_is_not_ready_before_it_shows_it() -> None:
    desk = Desk()
    brokers = followed(desk)
    desk.follower._settle(dict.fromkeys(desk.follower._reached, 7))
    hand_on(desk, Message(topics.PARTS, None, ends_at=8), Message(topics.REPORTS, None, ends_at=8))
    desk.now_s += ASLEEP_S + 0.1
    assert desk.follower._look_again(brokers)
    desk.follower._looked_at = desk.now_s
    assert not desk.follower.is_ready
    desk.delivered.pop()()
    assert desk.follower.is_ready


async def test_a_batch_counts_as_shown_once_it_is_folded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = _Process(Settings(kafka=KAFKA), "o1", listener, BrokerClock(monotonic_s=lambda: 0.0, wall=lambda: UnixMs(0)))
    period = facts.period()
    begun = Fact(record=period, key="k", at_unix_ms=UnixMs(5), is_live=True)
    known: list[bool] = []
    process._take([begun], lambda: known.append(process._live.presentations.get(period.channel) is not None))
    process._take([Fact(record=FOREIGN, key="k", at_unix_ms=UnixMs(5), is_live=True)], lambda: known.append(False))
    assert known == [True], "what could not be folded never is"


def test_any_error_of_the_thread_is_kept_for_the_process_to_end_with(monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Desk().follower
    monkeypatch.setattr(follower, "_assign", lambda consumer: 1 / 0)
    follower.start()
    follower.join()
    assert isinstance(follower.failure, ZeroDivisionError)
    assert not follower.is_ready


async def test_a_bug_in_a_fold_ends_the_process_instead_of_leaving_holes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = _Process(Settings(kafka=KAFKA), "o1", listener, BrokerClock(monotonic_s=lambda: 0.0, wall=lambda: UnixMs(0)))
        process._slots = threading.Semaphore(0)
        stored = Fact(record=FOREIGN, key="k", at_unix_ms=UnixMs(5), is_live=True)
        asyncio.get_running_loop().call_soon(process._take, [stored], lambda: None)
        await asyncio.wait_for(process._stopped.wait(), 5)
    assert isinstance(process._failure, TypeError)


def test_a_broker_that_does_not_lead_its_partitions_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Desk().follower
    answers = iter([KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)), ZeroDivisionError()])

    def assign(_: Any) -> None:
        raise next(answers)

    monkeypatch.setattr(follower, "_assign", assign)
    follower.start()
    follower.join()
    assert isinstance(follower.failure, ZeroDivisionError)


@pytest.mark.parametrize(
    ("told", "raised"),
    [(None, UserError), (KafkaError.UNKNOWN_TOPIC_OR_PART, UserError), (KafkaError.LEADER_NOT_AVAILABLE, KafkaException)],
    ids=["no topic", "no topic either", "its leader is being elected"],
)
def test_a_topic_that_is_not_there_is_told_from_one_whose_leader_is_being_elected(told: int | None, raised: type[Exception]) -> None:
    follower = Desk().follower
    topic = SimpleNamespace(error=None if told is None else KafkaError(told), partitions={})
    known = {} if told is None else dict.fromkeys(follower._topics, topic)
    consumer: Any = SimpleNamespace(list_topics=lambda **_: SimpleNamespace(topics=known))
    with pytest.raises(raised):
        follower._assign(consumer)

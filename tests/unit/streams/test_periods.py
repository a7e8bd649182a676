"""Which periods leave `channels`, and when; the log is in memory."""

import pytest

from schemas import topics
from schemas.codec import Codec
from schemas.records import PeriodEnd
from schemas.settings import Settings
from schemas.units import Msn, UnixMs
from streams.agents.periods import Periods, keep_ms
from streams.log import Outgoing, outgoing
from streams.pools import Pool
from tests.builders import make_period

from .fake_log import FakeLog
from .test_models_agent import NoTables

KEEP_MS = keep_ms(Settings())


class Channels:
    """The topic `channels` of one pool."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.name = topics.CHANNELS.name(self.log.kafka)

    def begin(self, channel: str, number: int) -> UnixMs:
        """A period begins, and the one before it ends; when."""
        if number:
            end = PeriodEnd(channel=channel, period=number - 1, parts_reached=3, next_msn=Msn(2), channel_ended=False)
            self.put(outgoing(topics.CHANNELS, 0, topics.period_end_key(channel, number - 1), end, codec=Codec(), kafka=self.log.kafka))
        period = make_period(channel, period=number)
        return self.put(outgoing(topics.CHANNELS, 0, topics.period_key(channel, number), period, codec=Codec(), kafka=self.log.kafka))

    def put(self, record: Outgoing) -> UnixMs:
        return self.log.put(record).at_unix_ms

    def bytes(self, key: str, value: bytes) -> UnixMs:
        return self.put(Outgoing(topic=self.name, partition=0, key=key.encode(), value=value))

    def sweeper(self) -> Periods:
        return Periods(Pool(0, Settings(), NoTables()), log=self.log, codec=Codec(), settings=Settings())

    def left(self) -> list[str]:
        """Keys with a value."""
        newest = {stored.key.decode(): stored.value for stored in self.log.partitions[self.name, 0]}
        return sorted(key for key, value in newest.items() if value is not None)


@pytest.fixture
def channels() -> Channels:
    return Channels()


async def test_a_period_leaves_with_its_end_once_nobody_can_need_it(channels: Channels) -> None:
    channels.begin("news", 0)
    ended = channels.begin("news", 1)
    sweeper = channels.sweeper()
    assert await sweeper.sweep(UnixMs(ended + KEEP_MS - 1)) == ()
    assert await sweeper.sweep(UnixMs(ended + KEEP_MS)) == ("news/0", "news/0/end")
    assert channels.left() == ["news/1"]


async def test_what_is_gone_is_deleted_once(channels: Channels) -> None:
    channels.begin("news", 0)
    ended = channels.begin("news", 1)
    sweeper = channels.sweeper()
    await sweeper.sweep(UnixMs(ended + KEEP_MS))
    assert await sweeper.sweep(UnixMs(ended + 2 * KEEP_MS)) == ()
    assert await channels.sweeper().sweep(UnixMs(ended + 2 * KEEP_MS)) == ()


async def test_the_newest_period_of_a_channel_stays_for_ever_even_after_its_end(channels: Channels) -> None:
    at = channels.begin("news", 0)
    end = PeriodEnd(channel="news", period=0, parts_reached=3, next_msn=Msn(2), channel_ended=True)
    channels.put(outgoing(topics.CHANNELS, 0, topics.period_end_key("news", 0), end, codec=Codec(), kafka=channels.log.kafka))
    assert await channels.sweeper().sweep(UnixMs(at + 100 * KEEP_MS)) == ()


async def test_periods_that_an_earlier_run_never_saw_leave_all_the_same(channels: Channels) -> None:
    for number in range(20):
        newest = channels.begin("news", number)
    channels.begin("sport", 0)
    assert len(await channels.sweeper().sweep(UnixMs(newest + KEEP_MS))) == 2 * 19
    assert channels.left() == ["news/19", "sport/0"]


async def test_an_end_that_a_crash_left_behind_its_period_leaves_too(channels: Channels) -> None:
    channels.begin("news", 0)
    ended = channels.begin("news", 1)
    channels.put(Outgoing(topic=channels.name, partition=0, key=b"news/0", value=None))
    assert await channels.sweeper().sweep(UnixMs(ended + KEEP_MS)) == ("news/0/end",)


async def test_a_record_that_is_no_period_ends_none(channels: Channels) -> None:
    channels.begin("news", 0)
    foreign = Codec().encode(make_period("news"))
    for key in ("news/7", "news/7/end", "other", "a/b/c"):
        at = channels.bytes(key, b"\xc3\x01nonsense")
    channels.bytes("news/8", foreign)
    assert await channels.sweeper().sweep(UnixMs(at + 100 * KEEP_MS)) == ()


async def test_after_a_deletion_the_next_period_is_waited_for_as_long(channels: Channels) -> None:
    channels.begin("news", 0)
    ended = channels.begin("news", 1)
    sweeper = channels.sweeper()
    await sweeper.sweep(UnixMs(ended + KEEP_MS))
    channels.log.now = ended + 2 * KEEP_MS
    begun = channels.begin("news", 2)
    assert await sweeper.sweep(UnixMs(begun + KEEP_MS - 1)) == ()
    assert await sweeper.sweep(UnixMs(begun + KEEP_MS)) == ("news/1", "news/1/end")

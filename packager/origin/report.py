"""Sends what the audience does to ``demand``: a record per second and pool, and at once when somebody asks for what is off."""

import asyncio
import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, Message, Producer

from packager.clock import wall
from packager.origin import metrics
from packager.origin.demand import Audience
from packager.origin.renewed import Renewed
from schemas.records import ChannelDemand, Demand
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.topics import DEMAND
from schemas.units import UnixMs

log = structlog.get_logger()

SECOND_S = 1.0
# Many may ask for the same channel at once; the planner hears of them together.
URGENT_S = 0.05
FLUSH_S = 2.0
# A topic unknown for so long is missing.
CREATED_MS = 1_000


def broker_time(kafka: KafkaSettings, *, origin_id: str) -> UnixMs | None:
    """
    Time of the broker, who stamps a record of no demand that it is sent; None if it takes none, as when the topic is missing.

    Args:
        kafka: The cluster.
        origin_id: Name of this origin.
    """
    stamped: list[UnixMs] = []

    def taken(error: KafkaError | None, message: Message) -> None:
        if error is None:
            stamped.append(UnixMs(message.timestamp()[1]))

    timing = {"acks": "all", "delivery.timeout.ms": kafka.delivery_timeout_ms, "topic.metadata.propagation.max.ms": CREATED_MS}
    producer = Producer(kafka.client() | timing)
    nothing = Demand(origin_id=origin_id, at_unix_ms=wall(), channels=())
    producer.produce(DEMAND.name(kafka), codec_of(kafka).encode(nothing), origin_id.encode(), partition=0, on_delivery=taken)
    producer.flush(kafka.delivery_timeout_ms / 1_000)
    return stamped[0] if stamped else None


class DemandReport:
    """Closes the audience's second and produces it."""

    def __init__(
        self,
        kafka: KafkaSettings,
        audience: Audience,
        producer: Renewed,
        *,
        origin_id: str,
        pool_of: Callable[[str], int],
        now: Callable[[], UnixMs],
    ) -> None:
        """
        Args:
            kafka: The cluster.
            audience: Who watches.
            producer: Its acknowledgements are served here.
            origin_id: Name of this origin.
            pool_of: Pool of a channel.
            now: Wall time.
        """
        self._topic = DEMAND.name(kafka)
        self._audience = audience
        self._origin_id = origin_id
        self._pool_of = pool_of
        self._now = now
        self._codec = codec_of(kafka)
        self._urgent = asyncio.Event()
        self._producer = producer

    def ask(self, channel: str, *, low_latency: bool) -> None:
        """Somebody wants what is not packaged of a channel: tell at once."""
        self._audience.first_request(channel, low_latency=low_latency)
        self._urgent.set()

    async def run(self, each_second: Callable[[], None]) -> None:
        """
        Reports until cancelled.

        Args:
            each_second: Called with every report.
        """
        cpu_s, wall_s = time.process_time(), time.monotonic()
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + SECOND_S):
                    await self._urgent.wait()
                await asyncio.sleep(URGENT_S)
            except TimeoutError:
                pass
            self._urgent.clear()
            used_s, now_s = time.process_time(), time.monotonic()
            self.send(cores_used=(used_s - cpu_s) / (now_s - wall_s))
            cpu_s, wall_s = used_s, now_s
            each_second()

    def send(self, *, cores_used: float) -> None:
        """Closes what happened so far and sends it, one record per pool."""
        now = self._now()
        pools: dict[int, list[ChannelDemand]] = {}
        for channel, demand in self._audience.close(now).items():
            pools.setdefault(self._pool_of(channel), []).append(demand)
        for pool, channels in sorted(pools.items()):
            record = Demand(origin_id=self._origin_id, at_unix_ms=now, channels=tuple(channels), cores_used=cores_used)
            try:
                self._producer.produce(
                    self._topic, self._codec.encode(record), self._origin_id.encode(), partition=pool, on_delivery=_delivered
                )
            except BufferError:  # the broker was away for long; demand is only worth something while it is new
                metrics.DEMAND_FAILED.inc()
        self._producer.poll(0)

    def close(self) -> None:
        """Waits for what was sent."""
        self._producer.flush(FLUSH_S)


def _delivered(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        metrics.DEMAND_FAILED.inc()
        log.warning("demand_not_delivered", error=error.str())

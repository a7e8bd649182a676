"""Our Faust transport, scheme ``finecut://``: the fetch wait is a setting, no first record is lost, and commits can be watched."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic
from typing import Any, cast

import aiokafka
import structlog
from aiokafka.client import AIOKafkaClient
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.serializers import codecs
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import TransportT
from yarl import URL

from schemas.settings import KafkaSettings
from streams import patience

log = structlog.get_logger()

SCHEME = "finecut"
# Between two times that records which were passed over are asked for again.
AGAIN_S = 1.0
FETCH_WAIT = "fetch_wait_ms"
REQUEST_TIMEOUT = "request_timeout_ms"
drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
# What stands on a topic is bytes for our own codec: whoever may write there must not make us run what he wrote.
for unsafe in [name for name in codecs.codecs if name.startswith("pickle")]:
    del codecs.codecs[unsafe]


def broker_urls(bootstrap_servers: str, *, fetch_wait_ms: int, request_timeout_ms: int) -> list[URL]:
    """
    What Faust is told to connect to.

    >>> [str(url) for url in broker_urls("10.0.0.1:9092, b:9093", fetch_wait_ms=50, request_timeout_ms=5_000)]
    ['finecut://10.0.0.1:9092/?fetch_wait_ms=50&request_timeout_ms=5000', 'finecut://b:9093/?fetch_wait_ms=50&request_timeout_ms=5000']
    """
    query = {FETCH_WAIT: fetch_wait_ms, REQUEST_TIMEOUT: request_timeout_ms}
    return [URL(f"{SCHEME}://{server.strip()}").with_query(query) for server in bootstrap_servers.split(",")]


def security(kafka: KafkaSettings) -> dict[str, Any]:
    """How clients of aiokafka speak to brokers; nothing where that is in the clear."""
    said: dict[str, Any] = {"security_protocol": kafka.security_protocol} if kafka.security_protocol != "PLAINTEXT" else {}
    if kafka.has_tls:
        said["ssl_context"] = tls(kafka)
    if kafka.has_sasl:
        said |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value(),
        }
    return said


def credentials(kafka: KafkaSettings) -> Credentials | None:
    """The same for Faust."""
    if kafka.has_sasl:
        return SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=tls(kafka) if kafka.has_tls else None,
        )
    return SSLCredentials(tls(kafka)) if kafka.has_tls else None


def tls(kafka: KafkaSettings) -> ssl.SSLContext:
    """Brokers' certificates are checked, their names too; ours is shown where there is one."""
    context = ssl.create_default_context(cafile=str(kafka.ssl_ca) if kafka.ssl_ca else None)
    if kafka.ssl_certificate and kafka.ssl_key:
        context.load_cert_chain(kafka.ssl_certificate, kafka.ssl_key)
    return context


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns aiokafka's consumer."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust writes 1500 into the call; the consumer reads the field when it starts.
        consumer._fetch_max_wait_ms = int(transport.url[0].query[FETCH_WAIT])  # noqa: SLF001
        _limit(consumer._client, transport)  # noqa: SLF001
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """
        Commit those of partitions that are ours; whether there were any, and the group took them.

        Faust leaves out the others, and hands aiokafka what is left, also nothing, which it refuses, as it does when nothing is
        assigned: a worker that is about to commit when a rebalance takes its partitions would crash.
        """
        held = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        return bool(held) and await super()._commit(held)

    async def _fetch_records(self, consumer: aiokafka.AIOKafkaConsumer, *asked: Any, **limits: Any) -> dict[TP, list[Any]]:
        """
        What was fetched; nothing while Faust's flow stands, and then the consumer stays where it was.

        A fetch that waits when a rebalance begins may return what was asked for after the next seek. Faust drops it, and of changelogs it
        seeks none again: a recovery would wait for ever for the rows.
        """
        records = cast(dict[TP, list[Any]], await super()._fetch_records(consumer, *asked, **limits))
        if self.consumer.flow_active:
            return records
        for tp, batch in records.items():
            if batch and tp in consumer.assignment():
                consumer.seek(tp, batch[0].offset)
        return {}

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """
        Seek every source partition to its committed offset, and one without a commit to its beginning.

        Faust resumes partitions before this seek, drains what they deliver while its flow is stopped, and relies on the
        seek to have it delivered again; but aiokafka seeks only to commits above 0. What is drained from a partition with
        no commit, or commit 0, would be passed over for good.

        Returns:
            The committed offsets, as aiokafka knows them.
        """
        offsets: Mapping[TP, int] = await super().seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        uncommitted = [tp for tp, offset in offsets.items() if not offset and tp.topic not in changelogs]
        if uncommitted:
            await self.seek_to_beginning(*uncommitted)
        return offsets

    async def go_back(self, begin: Mapping[TP, int]) -> None:
        """Seek, and wait for nothing: who waits for a position that is another's by now holds up all that is asked of the thread."""
        await self.call_thread(self._go_back, begin)

    async def _go_back(self, begin: Mapping[TP, int]) -> None:
        for tp, offset in begin.items():
            if tp in self.assignment():
                self._ensure_consumer().seek(tp, offset)


class ReadOffsets(defaultdict[TP, int | None]):
    """
    How far Faust believes that it has read.

    >>> read = ReadOffsets({"gops"})
    >>> read[TP("gops", 0)] = read[TP("others", 0)] = 7
    >>> read[TP("gops", 0)], read[TP("others", 0)], read[TP("others", 1)]
    (None, 7, None)
    """

    def __init__(self, inputs: Collection[str]) -> None:
        super().__init__(lambda: None)
        self._inputs = inputs

    def __getitem__(self, tp: TP) -> int | None:
        """Nowhere, for inputs."""
        return None if tp.topic in self._inputs else super().__getitem__(tp)


class Consumer(driver.Consumer):
    """
    Faust's consumer, which also remembers what was committed and where reading began, and gives again what it passed over.

    In a rebalance Faust may drop what was fetched after the seek and before its flow resumes. It takes the gap for one of the log, and
    commits beyond it: the records would be lost. And what comes again since it was passed over it drops if it was late to note the seek.
    So of inputs it is told that it has read nothing; `Shell` sees what is missing and what comes twice.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.committed_offsets: dict[TP, int] = {}
        self._committing = asyncio.Lock()
        """One commit at a time: what is committed once more must not follow what was committed since."""
        self.committed_at: float = monotonic()
        self._asked: dict[TP, tuple[tuple[int, int] | None, float]] = {}
        self._read_offset = ReadOffsets(getattr(self.app, "inputs", frozenset()))

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Committed offsets to which the assigned partitions were sought."""
        offsets = await super().seek_to_committed()
        self.committed_offsets = {TP(tp.topic, tp.partition): offset or 0 for tp, offset in offsets.items()}
        if (on_sought := getattr(self.app, "on_sought", None)) is not None:
            await on_sought(self.committed_offsets)
        return offsets

    async def is_given_again(self, tp: TP, first: int, found: int, *, is_hole: Callable[[], Awaitable[bool]]) -> bool:
        """
        Whether records come again, from ``first`` on, that were passed over before ``found``; if not, the log does not have them.

        They are asked for, if the log has them.

        Args:
            tp: Partition.
            first: Offset that should have come.
            found: Offset that came.
            is_hole: Asks the log whether it has nothing between them.
        """
        asked, at_s = self._asked.get(tp, (None, 0.0))
        if asked is None or asked[0] != first or asked[1] == found or monotonic() - at_s > AGAIN_S:
            if await is_hole():
                # Faust takes the end of a gap for a part of it; what was found is to be acknowledged when it is durable.
                await self._add_gap(tp, first, found - 1)
                return False
            log.warning("records_passed_over", topic=tp.topic, partition=tp.partition, first=first, found=found)
            self._asked[tp] = (first, found), monotonic()
            await self.go_back({tp: first})
        return True

    async def go_back(self, begin: Mapping[TP, int]) -> None:
        """Read again from these offsets on, as far as the partitions are ours."""
        await cast(ConsumerThread, self._thread).go_back(begin)

    async def confirms(self, partition: int) -> bool:
        """
        Whether the group still counts us as the owner of a partition of our topics, asked by committing again what is committed.

        One of which nothing was ever committed cannot be asked for: it counts as ours.
        """
        async with self._committing:
            offsets = {tp: offset for tp, offset in self.committed_offsets.items() if tp.partition == partition and offset}
            return not offsets or await self._commit_next(offsets)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        async with self._committing:
            return await self._commit_next(offsets)

    async def _commit_next(self, offsets: Mapping[TP, int]) -> bool:
        done = await super()._commit(offsets)
        if done:
            self.committed_offsets.update(offsets)
            self.committed_at = monotonic()
        return bool(done)


class Producer(driver.Producer):
    """Faust's producer, which leaves a broker that stands still."""

    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:
        producer = super()._new_producer(transactional_id)
        _limit(producer.client, self.transport)
        return producer


def _limit(client: AIOKafkaClient, transport: TransportT) -> None:
    patience.limit(client, request_timeout_ms=int(transport.url[0].query[REQUEST_TIMEOUT]))


class Transport(driver.Transport):
    """The driver behind the scheme."""

    Consumer = Consumer
    Producer = Producer

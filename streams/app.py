"""The composition root of the Faust app: agents, tables, and the planner, models and sweeper of each pool of this worker."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any, cast
from uuid import uuid4

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from mode.supervisors import CrashingSupervisor
from mode.utils.queues import FlowControlEvent

from schemas import topics
from schemas.records import Reject
from schemas.registry import codec_of
from schemas.settings import Settings
from schemas.topics import Topic
from streams.agents import channels, demand, forecasts, gops, heartbeats, reports
from streams.agents.models import Models
from streams.agents.periods import Periods
from streams.agents.planner import InputEnds, Planner
from streams.changelogs import Changelogs
from streams.log import Log, Reading, outgoing
from streams.metrics import Metrics
from streams.pace import Pace
from streams.pools import Pools
from streams.rows import Tables
from streams.shell import Arrival, Shell
from streams.tables import Table, app_id
from streams.transport import Consumer, broker_urls, credentials
from streams.version import code_version

log = structlog.get_logger()

# A third of the session, so that two may be lost (Kafka's own advice).
HEARTBEATS_PER_SESSION = 3
REBALANCE_TIMEOUT_S = 30.0
COMMIT_INTERVAL_S = 1.0
POLL_RECORDS_MAX = 500
# Changelog writes of one instant share a request; nothing waits for them.
CHANGELOG_LINGER_S = 0.01


class FlowControl(FlowControlEvent):
    """
    Whether agents are given anything, as Faust tells it.

    After a recovery Faust resumes what is resumed already, which empties the agents' queues: what was read since would be passed over.
    """

    def resume(self) -> None:
        """Agents are given what comes from now on; nothing, if they are already."""
        if not self.is_active():
            super().resume()


class App(faust.App):
    """
    A Faust app that tells how a rebalance gets on.

    Attributes:
        on_sought: Called with the committed offsets when sources were sought to them.
        on_settled: Called when sources resume.
        inputs: Topics of which `Shell` sees what is missing.
    """

    on_sought: Callable[[Mapping[TP, int]], Awaitable[None]] | None = None
    inputs: frozenset[str] = frozenset()
    on_settled: Callable[[], None] | None = None

    @cached_property
    def flow_control(self) -> FlowControl:
        """What stops and resumes the agents' queues."""
        return FlowControl()

    def on_rebalance_end(self) -> None:
        """The worker is ready for the partitions it was given."""
        super().on_rebalance_end()
        if self.on_settled is not None:
            self.on_settled()


def instance_id(data_dir: Path) -> str:
    """Name of this worker for Kafka's static membership: the same after a restart, another in another folder."""
    path = data_dir / "instance"
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(uuid4().hex)
    return path.read_text()


def new_app(settings: Settings) -> App:
    """The Faust app without anything in it."""
    kafka, session_s = settings.kafka, settings.control.session_timeout_ms / 1_000
    app = App(
        app_id(kafka),
        broker=broker_urls(kafka.bootstrap_servers, fetch_wait_ms=kafka.fetch_wait_ms, request_timeout_ms=kafka.request_timeout_ms),
        broker_credentials=credentials(kafka),
        version=1,
        autodiscover=False,
        store="memory://",
        Table=Table,
        datadir=str(settings.control.data_dir),
        web_enabled=False,
        agent_supervisor=CrashingSupervisor,
        # Topics are made by an explicit command, with their partitions and configuration.
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=kafka.pool_count,
        topic_replication_factor=kafka.replication_factor,
        table_standby_replicas=0,
        # An event that failed is never acknowledged: waiting for it would be for ever.
        stream_wait_empty=False,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / HEARTBEATS_PER_SESSION,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_max_poll_records=POLL_RECORDS_MAX,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=instance_id(settings.control.data_dir),
        consumer_max_fetch_size=kafka.message_bytes_max,
        producer_acks=-1,
        producer_linger=CHANGELOG_LINGER_S,
        producer_max_request_size=kafka.message_bytes_max,
        producer_request_timeout=kafka.delivery_timeout_ms / 1_000,
        worker_redirect_stdouts=False,
    )
    app.inputs = frozenset(topic.name(kafka) for topic in topics.INPUTS)
    return app


class Control:
    """
    The control plane of one worker.

    Args:
        settings: Settings.
        journal_log: Where decisions, forecasts and rejects go.
        metrics: Counts.

    Attributes:
        app: The Faust app; start and stop it.
        shell: Tells when something failed.
    """

    def __init__(self, settings: Settings, journal_log: Log, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.app = new_app(settings)
        self._log = journal_log
        self._codec = codec_of(settings.kafka)
        self._code_version = code_version()
        self._moved = asyncio.Event()
        self._tasks: dict[int, list[asyncio.Task[None]]] = {}
        self._planners: dict[int, Planner] = {}
        self._pace = Pace()
        self._models: dict[int, Models] = {}
        self._announcing: asyncio.Task[None] | None = None
        self._tables = tables = Tables(self.app, settings.kafka)
        self.shell = Shell(
            kafka=settings.kafka,
            codec=self._codec,
            metrics=metrics,
            send_reject=self._send_reject,
            when_durable=lambda topic, pool, then: tables.by_title[topic.title].when_durable(pool, then),
            is_given_again=self._is_given_again,
            on_handled=self._on_handled,
        )
        self.pools = Pools(settings, tables, metrics)
        register = {"shell": self.shell, "pools": self.pools}
        for agent in (channels, gops, heartbeats, forecasts):
            agent.register(self.app, **register)
        for learning in (demand, reports):
            learning.register(self.app, **register, learn=self._learn)
        self.app.on_sought = self._sought
        self.app.on_settled = self._settle
        cast(Any, self.app).on_partitions_revoked.connect(self._on_revoked)
        cast(Any, self.app).on_rebalance_complete.connect(self._on_recovered)

    @property
    def consumer(self) -> Consumer:
        """The consumer of our transport."""
        return cast(Consumer, self.app.consumer)

    async def stop(self) -> None:
        """End planners and models, write and commit what was folded, stop Faust."""
        ours = sorted(self._tasks)
        await self._stop_pools(set(ours))
        if self.app.started:
            if self.shell.failure is None:
                for number in ours:
                    await self._tables.write(number)
                await self.app.consumer.commit()
            await self.app.stop()

    def positions(self) -> dict[TP, int]:
        """Offset after the newest record that was folded or committed, of every input of every pool of this worker."""
        committed, handled = self.consumer.committed_offsets, self.shell.handled
        return {tp: max(handled.get(tp, 0), committed.get(tp, 0)) for tp in self._inputs()}

    async def go_back(self, begin: Mapping[TP, int]) -> None:
        """Read inputs again from these offsets on; what was folded of them is dropped."""
        await self.consumer.go_back(begin)

    async def ends(self) -> dict[TP, int]:
        """The offsets after the last records of those that hold any; none while they are not read or Kafka does not say."""
        if not self.app.started or self.recovery_left() is not None:
            return {}
        ends: dict[TP, int] = {}
        async with self._log.reading() as reading:
            for number in sorted(self._assigned()):
                names = [topic.name(self.settings.kafka) for topic in topics.INPUTS]
                try:
                    found = zip(names, await reading.ends(names, number), strict=True)
                    ends |= {TP(name, number): end for name, end in found if not await self._is_empty(reading, TP(name, number), end)}
                except KafkaError as error:
                    log.warning("ends_unknown", pool=number, error=repr(error))
                    return {}
        return ends

    async def _is_empty(self, reading: Reading, tp: TP, end: int) -> bool:
        """Whether all before the end is too old to be read, though not all was; looked at only where that may be."""
        if self.positions().get(tp, end) >= end:
            return False
        first, end = await reading.bounds(tp.topic, tp.partition)
        return first >= end

    def _inputs(self) -> list[TP]:
        return [TP(topic.name(self.settings.kafka), number) for number in sorted(self._assigned()) for topic in topics.INPUTS]

    def recovery_left(self) -> object:
        """What is left of a rebalance or a recovery of tables; None when neither is going on."""
        if not (self.app.rebalancing or self.app.in_recovery):
            return None
        return (self.app.rebalancing_count, tuple(sorted(cast(Any, self.app.tables).recovery.active_remaining().items())))

    async def _on_recovered(self, app: object, **_: object) -> None:
        # Before any source is read on: what is folded into a memory that another worker went beyond would hide that something is missing.
        del app
        for tp in list(self.shell.handled):
            self.shell.forget(tp)
        self._begin_anew()

    async def _sought(self, committed: Mapping[TP, int]) -> None:
        begin = {tp: committed.get(tp, 0) for tp in self._inputs()}
        if not self.shell.expect(begin):
            # What was folded before it was known where reading begins hides what is missing before it.
            log.warning("read_too_far", pools=sorted(self._assigned()))
            self._begin_anew()
            await self.consumer.go_back(begin)

    def _begin_anew(self) -> None:
        """Memories are made from the tables again, and with them the models that learn from them: no pool's tasks run now."""
        self.pools.recovered(self._assigned())
        self._models.clear()

    def _assigned(self) -> set[int]:
        name = topics.HEARTBEATS.name(self.settings.kafka)
        try:
            return {tp.partition for tp in self.consumer.assignment() if tp.topic == name}
        except ConsumerNotStarted:
            return set()  # a broker that is asked first may take its time

    def _settle(self) -> None:
        assigned = self._assigned()
        for number in sorted(assigned - set(self._tasks)):
            self._start_pool(number)
        log.info("pools_assigned", pools=sorted(assigned))
        self._announcing = self._spawn(self._announce(assigned))

    def _start_pool(self, number: int) -> None:
        pool, shared = self.pools.of(number), {"log": self._log, "codec": self._codec, "settings": self.settings, "metrics": self.metrics}
        periods = Periods(pool, log=self._log, codec=self._codec, settings=self.settings)
        planner = Planner(
            pool,
            **shared,  # type: ignore[arg-type]
            code_version=self._code_version,
            folded_to=self._folded_to,
            is_ours=self._is_ours,
            pace=self._pace,
        )
        changelogs = Changelogs(number, tables=self._tables, log=self._log, is_ours=self._is_ours, metrics=self.metrics)
        self._planners[number] = planner
        # The first decision waits for nothing that can wait for it.
        later = [self._once_ready(planner, each.run) for each in (self._model(number), periods, changelogs)]
        self._tasks[number] = [self._spawn(each) for each in (planner.run(), self._write_rows(number), *later)]

    async def _write_rows(self, number: int) -> None:
        every_s, session_s = self.settings.control.rows_every_ms / 1_000, self.settings.control.session_timeout_ms / 1_000
        while True:
            began = monotonic()
            await asyncio.sleep(every_s)
            # Who stood still for longer than a session may have a successor, which would have to write all of that over (`Changelogs`).
            if monotonic() - began < every_s + session_s or await self._is_ours(number):
                await self._tables.write(number)

    async def _once_ready(self, planner: Planner, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await planner.is_ready.wait()
        await run()

    def _model(self, number: int) -> Models:
        if number not in self._models:
            self._models[number] = Models(
                self.pools.of(number), log=self._log, codec=self._codec, settings=self.settings, metrics=self.metrics
            )
        return self._models[number]

    async def _announce(self, assigned: set[int]) -> None:
        for number in sorted(assigned):
            await self._planners[number].is_ready.wait()
        self.metrics.ready.set(1)
        log.info("control_ready", pools=sorted(assigned))

    async def _on_revoked(self, app: object, revoked: set[TP], **_: object) -> None:
        del app
        self.metrics.ready.set(0)
        for tp in revoked:
            self.shell.forget(tp)
        await self._stop_pools({tp.partition for tp in revoked})

    async def _stop_pools(self, numbers: set[int]) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
        stopping = [task for number in numbers for task in self._tasks.pop(number, ())]
        for number in numbers:
            self._models.pop(number, None)
        for task in stopping:
            task.cancel()
        if stopping:
            await asyncio.wait(stopping)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", exc_info=error)
            self.shell.fail(error)

    def _learn(self, arrival: Arrival) -> None:
        self._model(arrival.pool).learn(arrival)

    def _on_handled(self, topic: Topic, pool: int, next_offset: int) -> None:
        del topic, pool, next_offset
        self._moved.set()
        self._moved = asyncio.Event()

    async def _folded_to(self, pool: int, ends: InputEnds) -> None:
        for topic in topics.INPUTS:
            tp = TP(topic.name(self.settings.kafka), pool)
            while max(self.shell.handled.get(tp, 0), self.consumer.committed_offsets.get(tp, 0)) < ends.get(topic.title, 0):
                await self._moved.wait()

    async def _is_given_again(self, tp: TP, first: int, found: int) -> bool:
        return await self.consumer.is_given_again(tp, first, found, is_hole=lambda: self._is_hole(tp, first, found))

    async def _is_hole(self, tp: TP, first: int, found: int) -> bool:
        """Whether the log has nothing between two offsets: what was there is too old, or compaction took it."""
        async with self._log.reading() as reading:
            kept, _ = await reading.bounds(tp.topic, tp.partition)
            is_compacted = tp.topic == topics.CHANNELS.name(self.settings.kafka)
            return kept >= found or (is_compacted and not await reading.read(tp.topic, tp.partition, max(first, kept), found))

    async def _is_ours(self, pool: int) -> bool:
        return await self.consumer.confirms(pool)

    async def _send_reject(self, partition: int, key: bytes, reject: Reject) -> None:
        await self._log.append([outgoing(topics.REJECTS, partition, key.decode(), reject, codec=self._codec, kafka=self.settings.kafka)])


def build(settings: Settings, *, journal_log: Log, metrics: Metrics | None = None) -> Control:
    """The control plane of one worker, not started."""
    return Control(settings, journal_log, metrics or Metrics())

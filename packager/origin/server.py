"""Runs one origin: follows the topics, serves HTTP, reports demand."""

import asyncio
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from packager.clock import BrokerClock, wall
from packager.complaints import COMPLAINTS
from packager.manifest.known import Reading
from packager.origin import metrics
from packager.origin.app import Origin
from packager.origin.demand import Audience
from packager.origin.ending import by_hand, leave
from packager.origin.finish import Finisher
from packager.origin.follow import Fact, Follower
from packager.origin.latency import Latency
from packager.origin.live import Live
from packager.origin.objects import Objects
from packager.origin.rejects import Rejects
from packager.origin.renewed import Renewed
from packager.origin.report import DemandReport, broker_time
from packager.origin.serving import check_certificate, listen, serve
from packager.store import DirectoryStore
from schemas.records import ID, Action, Outcome, Packaging, Parts, Reports
from schemas.settings import Settings
from schemas.topics import pool_of
from schemas.units import Ms, UnixMs

log = structlog.get_logger()

# Batches of records on their way from the follower to the event loop; then the follower waits.
BATCHES_MAX = 4


def run(settings: Settings, *, origin_id: str) -> int:
    """
    Runs an origin until it is told to stop.

    Args:
        settings: All settings.
        origin_id: Its name in ``demand``.

    Returns:
        Exit status.

    Raises:
        UserError: The address cannot be listened on, the certificate cannot be read, or the topics are missing.
    """
    listener = listen(settings.origin)
    check_certificate(settings.origin)
    clock = BrokerClock(monotonic_s=time.monotonic, wall=wall)
    if (told := broker_time(settings.kafka, origin_id=origin_id)) is not None:
        clock.hear(told)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_Process(settings, origin_id, listener, clock).main())


def _loop_factory() -> type[asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.Loop


def look_back_ms(settings: Settings) -> Ms:
    """
    How far back ``parts`` and ``reports`` are read: whatever may still be shown, the starts in force (restated each minute), and
    what the planner remembers as done and does not ask for again.
    """
    media, planner = settings.media, settings.planner
    return Ms(max(media.time_shift_ms + 3 * media.target_duration_ms + 2 * planner.restate_ms, planner.memory_ms))


class _Process:
    """The parts of an origin and how they meet."""

    def __init__(self, settings: Settings, origin_id: str, listener: socket.socket, clock: BrokerClock) -> None:
        self._settings = settings
        self._origin_id = origin_id
        self._listener = listener
        self._clock = clock
        began = clock.now()
        self._reading = Reading(from_unix_ms=UnixMs(began - look_back_ms(settings)), began_unix_ms=began)
        self._live = Live(waiting_max=settings.origin.waiting_max, reading=self._reading)
        self._store = DirectoryStore(settings.store, for_writing=False)
        self._objects = Objects(self._store, self._live, waiting_max=settings.origin.waiting_max)
        self._latency = Latency(random.Random())  # noqa: S311
        self._wanted_since: dict[str, UnixMs] = {}
        self._slots = threading.Semaphore(BATCHES_MAX)
        self._stopped = asyncio.Event()
        self._failure: Exception | None = None
        origin = settings.origin
        self._audience = Audience(session_timeout_ms=origin.session_timeout_ms, sessions_max=origin.sessions_max)

    async def main(self) -> int:
        settings, loop = self._settings, asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)

        def deliver(facts: list[Fact], shown: Callable[[], None]) -> None:
            self._slots.acquire()
            loop.call_soon_threadsafe(self._take, facts, shown)

        kafka = settings.kafka
        producer = Renewed(kafka.producer() | {"error_cb": COMPLAINTS.take})
        follower = Follower(
            kafka,
            since_unix_ms=self._reading.from_unix_ms,
            staleness_ms_max=Ms(settings.origin.staleness_ms_max),
            deliver=deliver,
            broker_now=self._clock.now,
            reject=Rejects(kafka, producer, origin_id=self._origin_id).put,
        )
        report = DemandReport(kafka, self._audience, producer, origin_id=self._origin_id, pool_of=self._pool_of, now=self._clock.now)
        finisher = Finisher(self._live, self._store)
        origin = Origin(
            live=self._live,
            objects=self._objects,
            audience=self._audience,
            latency=self._latency,
            ask=report.ask,
            is_ready=lambda: follower.is_ready,
            now=self._clock.now,
            blocked_ms_max=Ms(settings.origin.blocked_ms_max),
        )

        def each_second() -> None:
            self._measure(is_ready=follower.is_ready)
            if follower.is_ready:
                finisher.look()
            if follower.failure is not None:
                self._stop()

        follower.start()
        reporting = asyncio.create_task(report.run(each_second))
        reporting.add_done_callback(lambda _: self._stop())
        host, port = self._listener.getsockname()[:2]
        log.info(
            "origin_listening", origin_id=self._origin_id, address=f"{'https' if settings.origin.certificate else 'http'}://{host}:{port}"
        )
        try:
            await serve(origin.app(), settings.origin, self._listener, self._stopped)
        finally:
            reporting.cancel()
            await leave(finisher=finisher.close(), follower=by_hand(follower.stop), report=by_hand(report.close))
        results: Sequence[object] = await asyncio.gather(reporting, return_exceptions=True)
        for problem in (self._failure, follower.failure, results[0]):
            if isinstance(problem, Exception):
                raise problem
        return 0

    def _stop(self) -> None:
        self._live.close()  # whoever waits is told to ask another origin
        self._objects.close()
        self._stopped.set()

    def _pool_of(self, channel: str) -> int:
        held = self._live.presentations.get(channel)
        return held.periods[max(held.periods)].pool if held else pool_of(channel, self._settings.kafka.pool_count)

    # ------------------------------------------------------------ what the follower reads

    def _take(self, facts: list[Fact], shown: Callable[[], None]) -> None:
        self._slots.release()
        if self._failure is not None:
            return  # nothing is folded after what could not be: the process ends
        changed: set[str] = set()
        try:
            for fact in facts:
                if fact.is_live:
                    self._clock.hear(fact.at_unix_ms)
                changed |= self._fold(fact)
        except Exception as error:  # noqa: BLE001 - the loop would log it and go on with holes; `main` raises it
            self._failure = error
            self._stop()
        else:
            shown()
        self._live.wake(changed)

    def _fold(self, fact: Fact) -> set[str]:
        presentations = self._live.presentations
        match fact.record:
            case None:
                self._forget(fact.key)
                return set()
            case Parts():
                news = presentations.add_parts(fact.record)
                if fact.is_live:
                    now = self._clock.nearest()
                    # What was durable before anybody wanted it is not late.
                    spans = [max(0, now - p.durable_unix_ms) for p in news if p.durable_unix_ms >= self._wanted_since.get(p.channel, 0)]
                    self._latency.add(spans)
                    for span_ms in spans:
                        metrics.PART_LATENCY.observe(span_ms / 1_000)
                return {part.channel for part in news}
            case Packaging(action=Action.START):
                self._wanted_since.setdefault(fact.record.channel, fact.at_unix_ms)
            case Packaging():
                self._wanted_since.pop(fact.record.channel, None)
            case Reports():
                self._check_bandwidth(fact.record)
        return presentations.apply(fact.record, fact.at_unix_ms)

    def _forget(self, key: str) -> None:
        channel, _, rest = key.partition("/")
        number, _, end = rest.partition("/")
        if ID.fullmatch(channel) and number.isdecimal():
            self._live.forget(channel, int(number), is_end=end == "end")
            if self._live.presentations.get(channel) is None:
                self._wanted_since.pop(channel, None)

    def _check_bandwidth(self, record: Reports) -> None:
        for made in record.segments:
            held = self._live.presentations.get(made.channel)
            period = held.periods.get(made.period) if held else None
            track = next((t for t in period.tracks if t.track == made.track), None) if period else None
            if (
                track is not None
                and made.outcome is Outcome.PUBLISHED
                and made.size * 8 * track.timescale > track.bandwidth_bps * made.duration_ticks
            ):
                metrics.BANDWIDTH_EXCEEDED.inc()

    def _measure(self, *, is_ready: bool) -> None:
        metrics.READY.set(is_ready)
        metrics.WAITING.set(self._live.waiting + self._objects.waiting)
        metrics.SESSIONS.set(self._audience.session_count)
        states = Counter(held.level.value for held in self._live.presentations.channels.values())
        for level in ("off", "segments", "parts"):
            metrics.CHANNELS.labels(level).set(states[level])

"""Decides for one pool: at every tick, and at once when something urgent was folded; appends, then sends what follows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter

import structlog

from schemas import topics
from schemas.codec import Codec
from schemas.records import Assignment, Decision, Level, PackagerState
from schemas.settings import Settings
from schemas.units import UnixMs
from streams.core.decide import Cause, decide, whole
from streams.core.liveness import suspicion
from streams.core.policy import Policy
from streams.core.rows import HeartbeatRow
from streams.core.standing import Projection
from streams.journal import Journal, OvertakenError
from streams.log import Ack, Log
from streams.metrics import Metrics
from streams.pace import Pace
from streams.pools import Pool
from streams.watchdog import StuckError

log = structlog.get_logger()

InputEnds = dict[str, int]
# Between two looks at the packagers' load, for metrics.
MEASURE_MS = 1_000
# Between two looks at what others may have written over.
LOOK_BACK_MS = 1_000
# A planner whose pool is another worker's is ended by the rebalance that its worker has yet to hear of.
DISMISSED_S = 30.0


class Planner:
    """
    The planner of one pool.

    Args:
        pool: What it decides on.
        log: Where decisions and what follows from them go.
        codec: Frames.
        settings: The policy and the tick.
        metrics: Counts.
        code_version: Version that decisions name.
        folded_to: Returns once each input topic of the pool, by title, is folded up to an offset.
        is_ours: Whether the pool is still assigned to this worker, asked of Kafka.
        pace: Kept by all planners of a worker together.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        log: Log,
        codec: Codec,
        settings: Settings,
        metrics: Metrics,
        code_version: str,
        folded_to: Callable[[int, InputEnds], Awaitable[None]],
        is_ours: Callable[[int], Awaitable[bool]],
        pace: Pace,
    ) -> None:
        self._pool = pool
        self._log = log
        self._settings = settings
        self._metrics = metrics
        self._policy = Policy.of(settings)
        self._code_version = code_version
        self._folded_to = folded_to
        self._is_ours = is_ours
        self._pace = pace
        self._journal = Journal(pool.number, log=log, codec=codec, kafka=settings.kafka)
        self._measured = self._looked_back = UnixMs(0)
        self._is_held = False
        self.is_ready = asyncio.Event()

    async def run(self) -> None:
        """Take over, then decide, for ever; when another planner came between, take over again if the pool is still ours."""
        while True:
            try:
                await self._take_over()
                while True:
                    await self._tick()
            except OvertakenError as error:
                self._metrics.overtaken.inc()
                log.warning("planner_overtaken", pool=self._pool.number, error=str(error))
                if not await self._is_ours(self._pool.number):
                    log.warning("planner_dismissed", pool=self._pool.number)
                    await asyncio.sleep(DISMISSED_S)  # until the rebalance cancels us
                    raise StuckError(f"pool {self._pool.number} is another worker's, and no rebalance says so") from error

    async def _take_over(self) -> None:
        """Read decisions to their end, have the inputs folded to theirs, and restate the whole: no older planner can follow it."""
        newest = await self._journal.recover()
        if newest is not None:
            self._pool.clock.observe(newest)
        await self._fold_to_ends()
        while newest is None and self._pool.is_empty:
            self.is_ready.set()  # nothing was ever decided and nothing is to be
            await self._pool.touched.wait()
        await self._put_in_force(self._restated())
        self.is_ready.set()
        log.info("planner_took_over", pool=self._pool.number, decision=self._journal.standing.number)

    async def _fold_to_ends(self) -> None:
        """Return once every input is folded as far as it goes now."""
        async with self._log.reading() as reading:
            bounds = {topic.title: await reading.bounds(topic.name(self._settings.kafka), self._pool.number) for topic in topics.INPUTS}
        await self._folded_to(self._pool.number, {title: end for title, (first, end) in bounds.items() if first < end})

    async def _tick(self) -> None:
        try:
            async with asyncio.timeout(self._settings.planner.tick_ms / 1_000):
                await self._pool.urged.wait()
        except TimeoutError:
            pass  # nothing urgent: a tick
        await self._pace.rest()
        source = self._pool.take_cause()
        cause = Cause(source=source) if source else None
        now = self._pool.clock.now()
        decision = self._decided(now, cause)
        if decision is not None and decision.dead:
            # Silence may be ours: a worker that stood still or reads slowly must hear what was said before it calls anyone dead.
            await self._fold_to_ends()
            decision = self._decided(self._pool.clock.now(), cause)
        if decision is not None:
            await self._put_in_force(decision)
        elif now - self._measured >= MEASURE_MS:
            self._measure_packagers(now)
        if now - self._looked_back >= LOOK_BACK_MS:
            self._looked_back = now
            await self._mend()

    async def _mend(self) -> None:
        if keys := await self._journal.mend():
            self._metrics.mended.inc(len(keys))
            log.warning("written_over", pool=self._pool.number, keys=keys)

    def _decided(self, now: UnixMs, cause: Cause | None) -> Decision | None:
        began = perf_counter()
        decision = decide(self._pool.state, self._journal.standing, self._policy, now=now, code_version=self._code_version, cause=cause)
        took_s = perf_counter() - began
        self._metrics.decide_s.observe(took_s)
        self._pace.took(took_s)
        return decision

    def _restated(self) -> Decision:
        standing = self._journal.standing
        return whole(self._pool.state, standing, self._policy, now=self._pool.clock.now(), code_version=self._code_version)

    async def _put_in_force(self, decision: Decision) -> None:
        began = perf_counter()
        ack = await self._journal.append(decision)
        self._metrics.append_s.observe(perf_counter() - began)
        self._pool.clock.appended(ack.at_unix_ms)
        sent = await self._journal.project()
        self._measure(decision, sent)
        self._measure_packagers(decision.at_unix_ms)
        log.info(
            "decided",
            pool=decision.pool,
            decision=decision.number,
            whole=decision.whole,
            assignments=len(decision.assignments),
            plans=len(decision.plans),
            queued=len(decision.queued),
            cause=decision.cause,
        )

    def _measure(self, decision: Decision, sent: Iterable[tuple[Projection, Ack]]) -> None:
        metrics, pool, standing = self._metrics, str(decision.pool), self._journal.standing
        metrics.decisions.labels("whole" if decision.whole else "change").inc()
        metrics.voids.inc(len(decision.voids))
        metrics.overflow.labels(pool).set(len(decision.queued))
        metrics.hedges.labels(pool).set(sum(1 for held in standing.assignments.values() if held.hedges))
        if not decision.whole:
            begun = [held for held in decision.assignments if held.hedges and held.epoch == decision.number]
            metrics.hedges_begun.labels(pool).inc(len(begun))
            metrics.dead.inc(len(decision.dead))
            for projection, ack in sent:
                if isinstance(projection.record, Assignment) and projection.record.decision == decision.number:
                    metrics.assignments.labels(projection.record.reason.value).inc()
                    if projection.record.cause_unix_ms:
                        metrics.event_to_assignment_ms.observe(ack.at_unix_ms - projection.record.cause_unix_ms)
        if standing.scaling is not None:
            metrics.wanted.labels(pool).set(standing.scaling.wanted)
            metrics.price.labels(pool).set(standing.scaling.price)
            metrics.unfit.labels(pool).set(standing.scaling.unfit_slices)
        on = [plan for plan in standing.plans.values() if plan.level is not Level.OFF]
        metrics.dealt.labels(pool, "first").set(sum(plan.groups * plan.turns for plan in on))
        metrics.dealt.labels(pool, "copy").set(sum(plan.groups * plan.turns * (plan.copies - 1) for plan in on))
        for level in Level:
            metrics.channels.labels(pool, level.value).set(sum(plan.level is level for plan in standing.plans.values()))

    def _measure_silence(self, rows: Iterable[HeartbeatRow], now: UnixMs) -> None:
        seen, pool = suspicion(rows, self._journal.standing.dead, self._settings.liveness, now=now), str(self._pool.number)
        self._metrics.suspects.labels(pool).set(seen.count)
        self._metrics.mass_hold.labels(pool).set(seen.is_held)
        if seen.is_held and not self._is_held:
            self._metrics.mass_holds.labels(pool).inc()
            log.error("mass_suspicion", pool=self._pool.number, suspects=seen.count, held_ms=self._settings.liveness.mass_hold_ms)
        self._is_held = seen.is_held

    def _measure_packagers(self, now: UnixMs) -> None:
        metrics, pool, self._measured = self._metrics, str(self._pool.number), now
        heard_since = UnixMs(now - self._settings.liveness.dead_after_ms)
        rows = self._pool.state.rows(topics.HEARTBEATS.title).values()
        self._measure_silence(self._pool.state.rows(topics.HEARTBEATS.title).values(), now)
        beats = [row.pulses[-1].heartbeat for row in rows if row.at_unix_ms >= heard_since]
        for state in PackagerState:
            metrics.packagers.labels(pool, state.value).set(sum(beat.state is state for beat in beats))
        ready = [beat for beat in beats if beat.state is PackagerState.READY and beat.capacity.cores > 0]
        shares = [beat.use.cores / beat.capacity.cores for beat in ready]
        metrics.capacity_cores.labels(pool).set(sum(beat.capacity.cores for beat in ready))
        metrics.used_cores.labels(pool).set(sum(beat.use.cores for beat in ready))
        metrics.load_max.labels(pool).set(max(shares, default=0.0))
        metrics.load_mean.labels(pool).set(sum(shares) / len(shares) if shares else 0.0)

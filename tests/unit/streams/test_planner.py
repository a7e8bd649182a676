"""What a planner tells in metrics of hedges and of silence, and how much of the time it takes."""

import asyncio
from dataclasses import replace
from time import perf_counter, sleep

import pytest
from prometheus_client import CollectorRegistry

from schemas import topics
from schemas.codec import Codec
from schemas.records import Assignment, Decision, Heartbeat, Level, Load, PackagerState, Reason
from schemas.settings import Settings
from schemas.units import Epoch, Ms, Msn, UnixMs
from streams.agents import planner as module
from streams.agents.planner import InputEnds, Planner
from streams.log import outgoing
from streams.metrics import Metrics
from streams.pace import Pace
from streams.pools import Pool

from .fake_log import FakeLog
from .test_pools import FakeTables

BEAT = Heartbeat(packager_id="p0", life="l", state=PackagerState.READY, number=99, interval_ms=Ms(500), capacity=Load(cores=1), use=Load())
HELD = Assignment(
    slice_id="news/all/0", copy=0, epoch=Epoch(1), packager_id="p0", life="l", channel="news", tracks=("v0",), turn=0, turns=1,
    level=Level.PARTS, from_msn=Msn(0), media_partition=0, first_offset=0, decision=1, reason=Reason.PLACED,
)  # fmt: skip
HEDGE = replace(HELD, copy=1, epoch=Epoch(2), packager_id="p1", decision=2, reason=Reason.LATE, hedges="p0")


async def ours(pool: int) -> bool:
    return pool == 0


async def folded(pool: int, ends: InputEnds) -> None:
    del pool, ends


async def taken_over(log: FakeLog, silent: int, *, then: Decision | None = None) -> CollectorRegistry:
    """Metrics of a planner that took over a pool of four packagers, some silent for three seconds; and of a decision then, if any."""
    pool, metrics = Pool(0, Settings(), FakeTables()), Metrics()
    for number in range(4):
        at = UnixMs(log.now - (3_000 if number < silent else 0))
        pool.state.fold(topics.HEARTBEATS.title, replace(BEAT, packager_id=f"p{number}"), offset=number, at=at)
    pool.clock.observe(UnixMs(log.now))
    planner = Planner(
        pool, log=log, codec=Codec(), settings=Settings(), metrics=metrics, code_version="t", folded_to=folded, is_ours=ours, pace=Pace()
    )  # fmt: skip
    running = asyncio.create_task(planner.run())
    await planner.is_ready.wait()
    running.cancel()
    if then is not None:
        planner._measure(then, ())
    return metrics.registry


def value(registry: CollectorRegistry, name: str) -> float | None:
    return registry.get_sample_value(name, {"pool": "0"})


async def test_silence_of_many_at_once_is_an_alarm_in_the_metrics() -> None:
    registry = await taken_over(FakeLog(), silent=3)
    told = {name: value(registry, f"finecut_control_{name}") for name in ("suspect_packagers", "mass_suspicion", "mass_suspicions_total")}
    assert told == {"suspect_packagers": 3, "mass_suspicion": 1, "mass_suspicions_total": 1}


async def test_silence_of_few_is_none() -> None:
    registry = await taken_over(FakeLog(), silent=1)
    assert (value(registry, "finecut_control_suspect_packagers"), value(registry, "finecut_control_mass_suspicion")) == (1, 0)


async def test_hedges_in_force_are_told_and_those_that_begin_are_counted() -> None:
    log = FakeLog()
    made = Decision(pool=0, number=1, at_unix_ms=UnixMs(log.now), whole=True, inputs=(), policy="", code_version="t", assignments=(HELD,))
    then = replace(made, number=2, whole=False, assignments=(HEDGE,), lands_at=1)
    for decision in (replace(made, lands_at=0), then):
        await log.append([outgoing(topics.DECISIONS, 0, "0", decision, codec=log.codec, kafka=log.kafka)])
    registry = await taken_over(log, silent=0)
    assert value(registry, "finecut_control_hedges") == 1
    assert not value(registry, "finecut_control_hedges_begun_total"), "another planner began it"
    registry = await taken_over(log, silent=0, then=then)
    assert value(registry, "finecut_control_hedges_begun_total") == 1


async def test_a_planner_that_is_always_urged_leaves_most_of_the_time_to_what_it_decides_by(monkeypatch: pytest.MonkeyPatch) -> None:
    took, enough = list[float](), asyncio.Event()

    def decide(*_: object, **__: object) -> None:
        began = perf_counter()
        sleep(0.002)  # the loop stands still, as it does while it decides
        pool.urge("")
        took.append(perf_counter() - began)
        if len(took) == 12:
            enough.set()
        assert len(took) < 50, "nobody else has a turn"

    monkeypatch.setattr(module, "decide", decide)
    log, pool, share = FakeLog(), Pool(0, Settings(), FakeTables()), 0.3
    pool.state.fold(topics.HEARTBEATS.title, BEAT, offset=0, at=UnixMs(log.now))
    pool.clock.observe(UnixMs(log.now))
    shared = {"log": log, "codec": Codec(), "settings": Settings(), "metrics": Metrics(), "folded_to": folded, "is_ours": ours}
    planner = Planner(pool, code_version="t", pace=Pace(share), **shared)  # type: ignore[arg-type]
    running = asyncio.create_task(planner.run())
    await planner.is_ready.wait()
    began = perf_counter()
    pool.urge("")
    await asyncio.wait([running, asyncio.create_task(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
    spent = perf_counter() - began
    running.cancel()
    # Before the first of them it need not rest.
    assert sum(took[1:]) <= 1.2 * share * spent

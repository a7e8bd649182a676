"""
CPU time of one decision over pools of several sizes, on ticks as they come.

Usage: python -m tests.bench.decide [CHANNELSxPACKAGERS ...]. Process time, not wall time; each round of every kind is made right after one
of the others, so that they compare on a loaded machine too.

- first: nothing was read before, as after a restart; so every channel is worked out. The tick after each second's demand comes near it.
- a tenth: a tenth of the channels had a GOP and half of the packagers a heartbeat since the tick before: one of the ten of a second.
- nothing: only time has passed.
- dead: a packager is declared dead, its slices are placed.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

from schemas.codec import to_json
from schemas.records import ChannelDemand, Level, SliceProgress
from schemas.units import Msn
from streams.core.decide import decide
from streams.core.facts import read
from streams.core.state import FOLDS, State
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_gop, a_heartbeat, a_period, a_report, some_forecasts

ROUNDS = 20
HISTORY_S = 24
SIZES = ("100x20", "500x100", "1000x200")


def names(prefix: str, count: int) -> list[str]:
    """Names of so many."""
    return [f"{prefix}{number:04}" for number in range(count)]


def a_pool(channels: int, packagers: int) -> ControlPlane:
    """A pool in its steady state: segments of 4 s, each reported when whole."""
    plane = ControlPlane()
    plane.add("channels", *(a_period(name, idle_level=Level.PARTS) for name in names("c", channels)))
    for second in range(HISTORY_S):
        for half in range(2):
            beat(plane, names("p", packagers), number=2 * second + half)
            plane.log.pass_ms(500)
        index(plane, names("c", channels), second)
        watch(plane, names("c", channels))
        if second % 4 == 3:
            for held in plane.standing.assignments.values():
                report = a_report(
                    held.channel, msns=[second // 4], packager=held.packager_id, durable=plane.now, tracks=held.tracks,
                    slice_id=held.slice_id,
                )  # fmt: skip
                plane.add("reports", report)
        if second < 2 or second % 10 == 0:
            plane.settle()
    plane.settle()
    return plane


def beat(plane: ControlPlane, packagers: list[str], *, number: int) -> None:
    """Heartbeats; each says that its slices are at the segment that is open."""
    hands: dict[str, list[SliceProgress]] = {}
    msn = Msn(number // 8)
    for held in plane.standing.assignments.values():
        progress = SliceProgress(slice_id=held.slice_id, copy=held.copy, epoch=held.epoch, next_msn=msn)
        hands.setdefault(held.packager_id, []).append(progress)
    plane.add("heartbeats", *(a_heartbeat(name, number=number, slices=tuple(hands.get(name, ()))) for name in packagers))


def index(plane: ControlPlane, channels: list[str], second: int) -> None:
    """A GOP of each."""
    msn = second // 4
    plane.add("gops", *(a_gop(name, gop=second, msn=msn, first_gop=msn * 4, durable=plane.now) for name in channels))


def watch(plane: ControlPlane, channels: list[str]) -> None:
    """What an origin and the models say of each."""
    plane.add("demand", a_demand(channels=[ChannelDemand(channel=name, whole_sessions=5, requests=9) for name in channels]))
    plane.add("forecasts", some_forecasts(*(a_forecast(name, sessions=5.0, joins=0.3) for name in channels)))


def cpu_ms(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    began = time.process_time()
    call()
    return (time.process_time() - began) * 1_000


def unread(state: State) -> State:
    """A state with the same rows of which nothing was read."""
    fresh = State(state.pool, state.memory_ms)
    for title in FOLDS:
        for key, row in state.rows(title).items():
            fresh.put(title, key, row)
    return fresh


def measure(channels: int, packagers: int) -> None:
    """One size."""
    plane = a_pool(channels, packagers)

    def tick(state: State = plane.state) -> object:
        return decide(state, plane.standing, plane.policy, now=plane.now, code_version="bench", cause=None)

    times: dict[str, list[float]] = {kind: [] for kind in ("facts", "first", "a tenth", "nothing", "dead")}
    everybody, every = names("p", packagers), names("c", channels)
    tick()
    for number in range(ROUNDS):
        plane.log.pass_ms(100)
        beat(plane, everybody[number % 2 :: 2], number=2 * HISTORY_S + number)
        index(plane, every[number % 10 :: 10], HISTORY_S + number // 10)
        times["a tenth"].append(cpu_ms(tick))
        plane.log.pass_ms(10)
        times["nothing"].append(cpu_ms(tick))
        fresh = unread(plane.state)
        times["first"].append(cpu_ms(lambda fresh=fresh: tick(fresh)))  # type: ignore[misc]
        times["facts"].append(cpu_ms(lambda: read(plane.state, plane.policy, now=plane.now)))
    dead = next(iter(plane.standing.assignments.values())).packager_id
    for number in range(6):
        plane.log.pass_ms(500)
        beat(plane, [name for name in everybody if name != dead], number=2 * HISTORY_S + ROUNDS + number)
    times["dead"] = [cpu_ms(tick) for _ in range(ROUNDS)]
    told = "   ".join(f"{kind} {median(taken):6.2f} ({sorted(taken)[-2]:.2f})" for kind, taken in times.items())
    largest = max(len(to_json(row)) for title in FOLDS for row in plane.state.rows(title).values())
    print(f"{channels:5} x {packagers:<4} {told}   largest row {largest} bytes", flush=True)


def main(sizes: list[str]) -> None:
    """Measure and print."""
    print("channels x packagers, CPU ms of a decision: median (second highest of 20)")
    for size in sizes:
        channels, packagers = (int(count) for count in size.split("x"))
        measure(channels, packagers)


if __name__ == "__main__":
    main(sys.argv[1:] or list(SIZES))

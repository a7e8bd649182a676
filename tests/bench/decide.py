"""
CPU time of one decision over a pool: an idle tick, and the tick on which a packager is declared dead.

Usage: python -m tests.bench.decide [CHANNELS] [PACKAGERS]. Process time, not wall time; five minutes of history in every fold.
"""

import sys
import time
from collections.abc import Callable

from schemas.codec import to_json
from schemas.records import ChannelDemand, Level, SliceProgress
from schemas.units import Msn
from streams.core.decide import decide
from streams.core.facts import read
from streams.core.state import FOLDS
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_gop, a_heartbeat, a_period, a_report, some_forecasts

ROUNDS = 100
HISTORY_S = 320


def a_pool(channels: int, packagers: int) -> ControlPlane:
    """A pool in its steady state: segments of 4 s, each reported when whole."""
    plane = ControlPlane()
    names = [f"c{i:04}" for i in range(channels)]
    plane.add("channels", *(a_period(name, idle_level=Level.PARTS) for name in names))
    for second in range(HISTORY_S):
        for half in range(2):
            hands = in_hand(plane, second // 4)
            names_of = [f"p{i:03}" for i in range(packagers)]
            plane.add("heartbeats", *(a_heartbeat(name, number=2 * second + half, slices=hands.get(name, ())) for name in names_of))
            plane.log.pass_ms(500)
        msn = second // 4
        plane.add("gops", *(a_gop(name, gop=second, msn=msn, first_gop=msn * 4, durable=plane.now) for name in names))
        plane.add("demand", a_demand(channels=[ChannelDemand(channel=name, whole_sessions=5, requests=9) for name in names]))
        plane.add("forecasts", some_forecasts(*(a_forecast(name, sessions=5.0, joins=0.3) for name in names)))
        if second % 4 == 3:
            for held in plane.standing.assignments.values():
                report = a_report(
                    held.channel, msns=[msn], packager=held.packager_id, durable=plane.now, tracks=held.tracks, slice_id=held.slice_id
                )
                plane.add("reports", report)
        if second < 2 or second % 20 == 0:
            plane.settle()
    plane.settle()
    return plane


def in_hand(plane: ControlPlane, msn: int) -> dict[str, tuple[SliceProgress, ...]]:
    """What each packager says of its slices: each is at the segment that is open."""
    hands: dict[str, tuple[SliceProgress, ...]] = {}
    for held in plane.standing.assignments.values():
        at = SliceProgress(slice_id=held.slice_id, copy=held.copy, epoch=held.epoch, next_msn=Msn(msn))
        hands[held.packager_id] = (*hands.get(held.packager_id, ()), at)
    return hands


def measure(what: str, call: Callable[[], object]) -> None:
    """Print quantiles of the CPU time of a call."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        times.append((time.process_time() - began) * 1_000)
    times.sort()
    print(f"{what:<28} p50 {times[ROUNDS // 2]:6.2f} ms   p99 {times[ROUNDS * 99 // 100]:6.2f} ms")


def main(channels: int, packagers: int) -> None:
    """Measure and print."""
    plane = a_pool(channels, packagers)

    def tick() -> object:
        return decide(plane.state, plane.standing, plane.policy, now=plane.now, code_version="bench", cause=None)

    print(f"{channels} channels, {packagers} packagers")
    measure("facts read", lambda: read(plane.state, plane.policy, now=plane.now))
    measure("tick, nothing changed", tick)
    dead = next(iter(plane.standing.assignments.values())).packager_id
    for number in range(6):
        plane.log.pass_ms(500)
        alive = (f"p{i:03}" for i in range(packagers) if f"p{i:03}" != dead)
        hands = in_hand(plane, HISTORY_S // 4)
        plane.add("heartbeats", *(a_heartbeat(name, number=1_000 + number, slices=hands.get(name, ())) for name in alive))
    measure("tick, a packager is dead", tick)
    for title in FOLDS:
        largest = max((len(to_json(row)) for row in plane.state.rows(title).values()), default=0)
        print(f"largest row of {title:<13} {largest:7} bytes")


if __name__ == "__main__":
    main(*(int(value) for value in ([*sys.argv[1:], "100", "20"])[:2]))

"""
CPU time of one decision over a pool: an idle tick, and the tick on which a packager is declared dead.

Usage: python -m tests.bench.decide [CHANNELS] [PACKAGERS]. Process time, not wall time; five minutes of history in every fold.
"""

import sys
import time
from collections.abc import Callable

from schemas.codec import to_json
from schemas.records import ChannelDemand, Level
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
            plane.add("heartbeats", *(a_heartbeat(f"p{i:03}", number=2 * second + half) for i in range(packagers)))
            plane.log.pass_ms(500)
        msn = second // 4
        plane.add("gops", *(a_gop(name, gop=second, msn=msn, first_gop=msn * 4, durable=plane.now) for name in names))
        plane.add("demand", a_demand(channels=[ChannelDemand(channel=name, whole_sessions=5, requests=9) for name in names]))
        plane.add("forecasts", some_forecasts(*(a_forecast(name, sessions=5.0, joins=0.3) for name in names)))
        if second % 4 == 3:
            for held in plane.standing.assignments.values():
                plane.add("reports", a_report(held.channel, msns=[msn], packager=held.packager_id, durable=plane.now))
        if second < 2 or second % 20 == 0:
            plane.settle()
    plane.settle()
    return plane


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
    dead = plane.standing.assignments["c0000/all/0/0"].packager_id
    for number in range(6):
        plane.log.pass_ms(500)
        alive = (f"p{i:03}" for i in range(packagers) if f"p{i:03}" != dead)
        plane.add("heartbeats", *(a_heartbeat(name, number=1_000 + number) for name in alive))
    measure("tick, a packager is dead", tick)
    for title in FOLDS:
        largest = max((len(to_json(row)) for row in plane.state.rows(title).values()), default=0)
        print(f"largest row of {title:<13} {largest:7} bytes")


if __name__ == "__main__":
    main(*(int(value) for value in ([*sys.argv[1:], "100", "20"])[:2]))

"""What is taken for the time of the broker, and that nothing else is taken for the time."""

import ast
from pathlib import Path

from packager.clock import BrokerClock
from schemas.units import UnixMs

SKEW_MS = 1_700_000_000_000
WALL_CLOCKS = {("time", "time"), ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"), ("datetime", "now")}


class Machine:
    """A machine whose clocks a test moves; the broker's is `SKEW_MS` ahead of its monotonic one, and drifts."""

    def __init__(self) -> None:
        self.at_s = 100.0
        self.clock = BrokerClock(monotonic_s=lambda: self.at_s, wall=lambda: UnixMs(0))

    def deliver(self, *, after_ms: float, drift_ms: float = 0) -> None:
        self.clock.hear(UnixMs(round(SKEW_MS + self.at_s * 1_000 + drift_ms - after_ms)))

    def error_ms(self, drift_ms: float = 0) -> float:
        return self.clock.now() - (SKEW_MS + self.at_s * 1_000 + drift_ms)


def test_before_the_first_record_it_is_the_time_of_the_machine() -> None:
    assert Machine().clock.now() == 0


def test_the_quickest_delivery_decides_and_slow_ones_change_nothing() -> None:
    machine = Machine()
    for delay_ms in (400, 9, 3, 2_000, 50):
        machine.at_s += 1
        machine.deliver(after_ms=delay_ms)
    machine.at_s += 7
    assert machine.error_ms() == -3


def test_a_clock_that_drifts_is_followed_within_two_minutes() -> None:
    machine = Machine()
    for second in range(300):
        machine.at_s += 1
        machine.deliver(after_ms=5, drift_ms=-second)  # a millisecond a second: far more than clocks do
    assert abs(machine.error_ms(drift_ms=-299)) <= 125


def test_in_a_long_silence_it_goes_on() -> None:
    machine = Machine()
    machine.deliver(after_ms=4)
    machine.at_s += 3_600
    assert machine.error_ms() == -4


def test_nothing_but_the_clock_itself_reads_the_time_of_the_machine() -> None:
    root = Path(__file__).parents[3] / "packager"
    asked = {
        f"{path.relative_to(root)}: {node.attr}"
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and (getattr(node.value, "id", ""), node.attr) in WALL_CLOCKS
    }
    assert asked == {"clock.py: time_ns"}

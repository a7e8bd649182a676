"""What goes wrong, drawn from the seed."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """
    How often what goes wrong, until the quiet end of a run.

    Attributes:
        crash: A packager or an encoder dies and is started again as a new life; probability per process and second.
        pause: A packager, an encoder or the planner stands still and goes on as if nothing had been; likewise.
        cut_off: A packager's heartbeats are lost for some seconds though it works; likewise.
        drain: A packager is asked to leave and is started again; likewise.
        slow: A packager publishes many times slower for some seconds; likewise.
        jump: An encoder's source loses some time; likewise.
        control: The planner crashes, or is replaced while it stands still; per second.
        origin: An origin crashes and is started again; per process and second.
        store: The store takes nothing for some seconds; per second.
        own_store: The store takes nothing from one packager for some seconds; probability per packager and second.
        outage: All packagers die and stay away for many seconds; per second.
        drop: Probability that a single heartbeat is lost.
        repeat: Probability that a delivery begins with records delivered before.
        double: Probability that a producer's retry puts a chunk into the log twice.
        lag: Probability that the broker takes a packager's record only at the second try: those behind it wait, a crash loses them.
        skew_ms: How far the clocks of encoders and origins are off at most.
        delay_ms: Longest usual time from an append to its delivery.
    """

    crash: float = 0.0
    pause: float = 0.0
    cut_off: float = 0.0
    drain: float = 0.0
    slow: float = 0.0
    jump: float = 0.0
    control: float = 0.0
    origin: float = 0.0
    store: float = 0.0
    own_store: float = 0.0
    outage: float = 0.0
    drop: float = 0.0
    repeat: float = 0.0
    double: float = 0.0
    lag: float = 0.0
    skew_ms: int = 0
    delay_ms: int = 5

    @classmethod
    def all(cls) -> Self:
        """Everything that can go wrong does, often."""
        return cls(
            crash=0.015, pause=0.012, cut_off=0.006, drain=0.006, slow=0.01, jump=0.01, control=0.03, origin=0.01, store=0.01,
            own_store=0.005, drop=0.03, repeat=0.02, double=0.01, lag=0.005, skew_ms=600_000, delay_ms=40,
        )  # fmt: skip

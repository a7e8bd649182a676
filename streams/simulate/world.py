"""What all simulated processes share: the clock, the log, the store, settings, chance, and the diary."""

from dataclasses import dataclass, field, replace
from random import Random

from schemas.records import Level
from schemas.settings import GranularitySettings, LivenessSettings, MediaSettings, PlannerSettings
from schemas.units import UnixMs
from streams.core.policy import Policy
from streams.simulate.engine import Engine
from streams.simulate.log import Delivery, Log
from streams.simulate.store import Store

POOL = 0
# Spans shortened, so that within a minute or two everything happens several times: idling, restatement, forgetting, windows that
# slide. Ticks are longer: what is urgent does not wait for them.
POLICY = Policy(
    granularity=GranularitySettings(idle_ms=8_000, hold_ms=4_000),
    liveness=LivenessSettings(),
    media=MediaSettings(time_shift_ms=24_000),
    planner=PlannerSettings(tick_ms=200, restate_ms=10_000, memory_ms=60_000, channel_silence_ms=10_000),
)
# The same, but short targets, so that work falls far behind within seconds, and channels dealt finely and twice as their viewers change.
FINE = replace(
    POLICY,
    granularity=GranularitySettings(
        idle_ms=8_000, hold_ms=4_000, deal_hold_ms=4_000, slice_share_max=0.002, slices_max=6, copies_viewers=20
    ),
    media=MediaSettings(target_duration_ms=2_000, time_shift_ms=24_000),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """
    Something that happened and is in no topic.

    Attributes:
        at: When.
        what: What, and to whom.
    """

    at: UnixMs
    what: str


@dataclass(kw_only=True, slots=True)
class World:
    """
    One simulated installation.

    Attributes:
        engine: The clock.
        rng: Chance, all of it.
        log: The topics.
        store: The objects.
        policy: Settings of the planner.
        delivery: How the log reaches its readers.
        drop: Probability that a heartbeat is lost.
        double: Probability that a producer's retry puts a record into the log twice.
        lag: Probability that a record is taken only after it was sent again.
        skew_ms: How far a clock is off at most.
        idle_level: What an unwatched channel gets.
        has_thumbnails: Whether channels have thumbnails.
        events: The diary.
    """

    engine: Engine
    rng: Random
    log: Log
    store: Store = field(default_factory=Store)
    policy: Policy = POLICY
    delivery: Delivery = field(default_factory=Delivery)
    drop: float = 0.0
    double: float = 0.0
    lag: float = 0.0
    skew_ms: int = 0
    idle_level: Level = Level.OFF
    has_thumbnails: bool = False
    events: list[Event] = field(default_factory=list)

    @property
    def now(self) -> UnixMs:
        """The broker's time."""
        return self.engine.now

    def note(self, what: str) -> None:
        """Writes into the diary."""
        self.events.append(Event(at=self.now, what=what))

    def random_skew_ms(self) -> int:
        """How far the clock of a new process is off."""
        return self.rng.randint(-self.skew_ms, self.skew_ms) if self.skew_ms else 0

    def random_life(self) -> str:
        """Id of a new run of a process."""
        return f"{self.rng.getrandbits(64):016x}"

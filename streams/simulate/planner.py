"""A planner: folds its inputs at its own pace, decides every tick, appends, projects; takes over from whoever was before."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.records import Decision, Demand, Heartbeat, PackagerState, Period, PeriodEnd
from schemas.topics import ASSIGNMENTS, DECISIONS, FORECASTS, INPUTS, PLANS
from schemas.units import UnixMs
from streams.core.decide import Cause, Projection, Standing, apply, decide, orphans, projections, whole
from streams.core.standing import counts
from streams.core.state import FOLDS, State
from streams.simulate.engine import Process
from streams.simulate.forecast import LastValue
from streams.simulate.log import Entry, Reader
from streams.simulate.world import POOL, World

CODE_VERSION = "simulated"
START_MS = 700
ACK_MS = 3
FORECAST_MS = 1_000
# How far behind the broker its idea of the broker's time may be.
BEHIND_MS = 30
# Records that a new planner may get again, since their reading was not committed.
UNCOMMITTED = 24


@dataclass(slots=True)
class Tables:
    """What survives a planner: rows, and how far their topics were read."""

    rows: dict[str, dict[str, Any]] = field(default_factory=lambda: {title: {} for title in FOLDS})
    committed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDS, 0))


class Planner(Process):
    """One run of the planner of the pool."""

    def __init__(self, world: World, tables: Tables, *, is_assigned: Callable[[Process], bool], from_log: bool) -> None:
        """
        Args:
            world: Where it runs.
            tables: What the runs before left.
            is_assigned: Whether a planner is the one that the pool is assigned to.
            from_log: Folds the topics from their beginnings instead of using the tables.
        """
        super().__init__(world.engine)
        self._world = world
        self._tables = tables
        self._is_assigned = is_assigned
        self._from_log = from_log
        self._standing = Standing.empty(POOL)
        self._end = 0
        self._unsent: list[Projection] = []
        self._cause = ""
        self._is_busy = True
        self._round = 0
        self._is_forecast_due = False
        self._behind_ms = world.rng.randint(0, BEHIND_MS)
        self._state = State(POOL, world.policy.planner.memory_ms)
        self._models = LastValue()
        self._readers: list[Reader] = []
        self.after(world.rng.randint(1, START_MS), self._start)

    def _start(self) -> None:
        world, tables = self._world, self._tables
        for topic in INPUTS:
            offset = 0
            if not self._from_log:
                for key, row in tables.rows[topic.title].items():
                    self._state.put(topic.title, key, row)
                offset = max(0, tables.committed[topic.title] - world.rng.randint(0, UNCOMMITTED))
            self._readers.append(
                Reader(world.log, self, topic, self._fold, rng=world.rng, delivery=world.delivery, partition=POOL, offset=offset)
            )
        self._take_over()

    def _fold(self, entry: Entry) -> None:
        title, record = entry.topic, entry.record
        row = self._state.fold(title, record, offset=entry.offset, at=entry.at)
        if self._is_assigned(self):
            self._tables.rows[title][FOLDS[title].key(record)] = row
            self._tables.committed[title] = max(self._tables.committed[title], entry.offset + 1)
        if isinstance(record, Demand):
            self._models.learn(record)
            self._forecast_soon()
        if _is_urgent(record):
            self._cause = self._state.cause(title, entry.offset)
            self.after(0, self._tick)

    def _forecast_soon(self) -> None:
        if not self._is_forecast_due:
            self._is_forecast_due = True
            self.after(FORECAST_MS, self._forecast)

    def _forecast(self) -> None:
        self._is_forecast_due = False
        said = self._models.forecasts(POOL, at=self.engine.now)
        if said and self._is_assigned(self):
            self._world.log.append(FORECASTS, POOL, str(POOL), said, sender="planner")

    # ------------------------------------------------------------ taking over

    def _take_over(self) -> None:
        """Reads what is in force, folds the inputs to their ends, and restates the whole: no older planner can follow it."""
        self._is_busy = True
        log = self._world.log
        entries = log.entries(DECISIONS, POOL)
        self._end, self._unsent, standing = len(entries), [], Standing.empty(POOL)
        for entry in entries:
            if isinstance(entry.record, Decision) and counts(entry.record, offset=entry.offset):
                self._unsent = projections(entry.record, standing)
                standing = apply(standing, entry.record)
        self._standing = standing
        for topic in (ASSIGNMENTS, PLANS):
            keys = [entry.key for entry in log.compacted(topic, POOL) if entry.record is not None]
            self._unsent += orphans(topic, keys, standing)
        for reader in self._readers:
            reader.read_to_end()
        if not entries and not any(self._state.rows(title) for title in FOLDS):
            self.after(self._world.policy.planner.tick_ms, self._take_over)
            return
        decision = whole(self._state, standing, self._world.policy, now=self._now(), code_version=CODE_VERSION)
        self.after(ACK_MS, lambda: self._append(decision))

    def _now(self) -> UnixMs:
        return UnixMs(max(self._standing.at_unix_ms, self.engine.now - self._behind_ms))

    # ------------------------------------------------------------ deciding

    def _tick(self) -> None:
        if self._is_busy:
            return
        cause, self._cause = self._cause, ""
        decision = self._decide(Cause(source=cause) if cause else None)
        if decision:
            self._is_busy = True
            self.after(self._world.rng.randint(1, ACK_MS), lambda: self._append(decision))

    def _decide(self, cause: Cause | None) -> Decision | None:
        return decide(self._state, self._standing, self._world.policy, now=self._now(), code_version=CODE_VERSION, cause=cause)

    def _append(self, decision: Decision) -> None:
        entry = self._world.log.append(DECISIONS, POOL, str(POOL), replace(decision, lands_at=self._end), sender="planner")
        if entry.offset != self._end:
            self._world.note(f"planner overtaken at decision {decision.number}")
            if self._is_assigned(self):
                self._take_over()
            else:
                self.crash()
            return
        self._end += 1
        self._unsent += projections(decision, self._standing)
        self._standing = apply(self._standing, decision)
        self.after(ACK_MS, self._project)

    def _project(self) -> None:
        """Sends what follows from the decision, one record at a time; then ticks go on."""
        if self._unsent:
            projection = self._unsent.pop(0)
            self._world.log.append(
                projection.topic, POOL, projection.key, projection.record, sender="planner", decision=self._standing.number
            )
            self.after(self._world.rng.randint(0, 1), self._project)
            return
        self._is_busy = False
        self._round += 1
        self._tick_on(self._round)

    def _tick_on(self, number: int) -> None:
        """The next tick; ticks follow one another until a decision interrupts them."""
        if number != self._round or self._is_busy:
            return
        self._tick()
        self.after(self._world.policy.planner.tick_ms, lambda: self._tick_on(number))


def _is_urgent(record: object) -> bool:
    """Whether a record calls for a decision at once."""
    match record:
        case Period() | PeriodEnd():
            return True
        case Heartbeat():
            return record.number == 0 or record.state is not PackagerState.READY
        case Demand():
            return any(channel.first_request for channel in record.channels)
        case _:
            return False

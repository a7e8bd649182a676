"""What a scenario came to: figures, their table, and series for pictures."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from streams.simulate.scenario.players import CLASSES


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassOutcome:
    """
    What viewers of one class went through.

    Attributes:
        joins: Those who joined.
        join_p50_ms: Median time to join.
        join_p95_ms: The same, 95 %.
        stalls: Viewers who stalled, each time.
        stall_s_per_h: Seconds of stalling per hour watched.
        viewer_hours: Watched.
    """

    joins: int
    join_p50_ms: int
    join_p95_ms: int
    stalls: int
    stall_s_per_h: float
    viewer_hours: float

    def __str__(self) -> str:
        said = f"{self.joins} joins, p50 {self.join_p50_ms} ms, p95 {self.join_p95_ms} ms"
        return f"{said}; {self.stalls} stalls, {self.stall_s_per_h:.2f} s per viewer-hour"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """
    The state at one step, for pictures.

    Attributes:
        at_s: Since the beginning.
        sessions: Viewers.
        wanted: Packagers wanted.
        alive: Packagers that work.
        load_max: Highest use of a packager, as a share of its cores.
        load_mean: Mean of the same.
        late_ms: Worst lateness of a segment since the step before.
        length_s: Mean segment length of channels that are packaged.
        packaged: Channels packaged.
        queued: Slices that wait for capacity.
    """

    at_s: float
    sessions: int
    wanted: int
    alive: int
    load_max: float
    load_mean: float
    late_ms: float
    length_s: float
    packaged: int
    queued: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """
    Figures of a whole run.

    Attributes:
        hours: Simulated.
        channels: Channels that were live.
        packager_hours: Paid for, from the order to the end.
        packagers_most: At once.
        core_hours: Used.
        packaged_hours: Channel-hours packaged.
        live_hours: Channel-hours live.
        segments: Made.
        segments_back: Made of them only since somebody came.
        late: Of the others, told later than the publish allowance after their end; fractional where a sample stands for a span.
        late_p99_ms: Lateness that 1 % pass.
        late_max_ms: The worst.
        part_late_p99_ms: The same of parts.
        void: Segments declared lost.
        unmade: Segments wanted that ended more than a target before the end of the run and are not made.
        viewers: By class of client.
        join_p50_ms: Of all classes.
        join_p95_ms: Of all classes.
        unjoined: Viewers who still waited at the end.
        stalls: Of all classes.
        stall_s_per_h: Of all classes.
        moves: Slices given to another packager, by reason.
        plan_changes: Granularities changed.
        decisions: Made.
        slices: Slices in hand, mean over time.
        queued_s: Slice-seconds in the queue.
        requests: That reached origins.
        load_ratio: Highest over mean use of packagers, mean over time.
        started: Packagers ordered by the autoscaler.
        drained: Packagers drained.
        killed: Packagers killed.
        takeovers_ms: From each kill to the last of its slices at the live edge again.
        moments: One per step.
    """

    hours: float
    channels: int
    packager_hours: float
    packagers_most: int
    core_hours: float
    packaged_hours: float
    live_hours: float
    segments: int
    segments_back: int
    late: float
    late_p99_ms: int
    late_max_ms: int
    part_late_p99_ms: int
    void: int
    unmade: int
    viewers: dict[str, ClassOutcome]
    join_p50_ms: int
    join_p95_ms: int
    unjoined: int
    stalls: int
    stall_s_per_h: float
    moves: Counter[str]
    plan_changes: int
    decisions: int
    slices: float
    queued_s: float
    requests: float
    load_ratio: float
    started: int
    drained: int
    killed: int
    takeovers_ms: tuple[int, ...]
    moments: tuple[Moment, ...] = field(repr=False)

    @property
    def late_share(self) -> float:
        """Of segments that were not made only since somebody came."""
        return self.late / max(1, self.segments - self.segments_back)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "moves": dict(sorted(self.moves.items())), "late_share": self.late_share}

    def table(self) -> str:
        """For people."""
        moves = ", ".join(f"{reason} {count}" for reason, count in sorted(self.moves.items())) or "none"
        rows = [
            ("simulated", f"{self.hours:.2f} h, {self.channels} channels, {self.live_hours:.1f} channel-hours live"),
            ("packaged", f"{self.packaged_hours:.1f} channel-hours ({self.packaged_hours / max(self.live_hours, 1e-9):.0%} of live)"),
            ("packager-hours", f"{self.packager_hours:.2f} (at most {self.packagers_most} at once)"),
            ("core-hours used", f"{self.core_hours:.3f}"),
            ("packagers", f"{self.started} ordered, {self.drained} drained, {self.killed} killed"),
            ("load max/mean", f"{self.load_ratio:.3f}"),
            ("segments", f"{self.segments} made ({self.segments_back} of them since somebody came), {self.unmade} not made"),
            ("late segments", f"{self.late:.0f} ({self.late_share:.3%}), p99 {self.late_p99_ms} ms, max {self.late_max_ms} ms"),
            ("late parts", f"p99 {self.part_late_p99_ms} ms"),
            ("void", f"{self.void}"),
            ("join time", f"p50 {self.join_p50_ms} ms, p95 {self.join_p95_ms} ms; {self.unjoined} still wait"),
            *((f"  {name}", str(self.viewers[name])) for name in CLASSES),
            ("stalls", f"{self.stalls}, {self.stall_s_per_h:.3f} s per viewer-hour"),
            ("moves", moves),
            ("plan changes", f"{self.plan_changes} in {self.decisions} decisions"),
            ("slices", f"{self.slices:.1f} in hand; {self.queued_s:.0f} slice-seconds waiting"),
            ("requests", f"{self.requests:.0f} at origins"),
        ]
        if self.takeovers_ms:
            rows.append(("takeover", ", ".join(f"{ms / 1_000:.2f} s" for ms in self.takeovers_ms[:8])))
        return "\n".join(f"{name:<16} {said}" for name, said in rows)

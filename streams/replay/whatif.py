"""Another policy on what really happened: both policies run over the recorded viewers, channels and deaths, beside what was measured."""

from dataclasses import dataclass, fields
from typing import Any

from schemas.timeline import frames_per_gop
from streams.core.policy import Policy
from streams.simulate.scenario.outcome import Outcome
from streams.simulate.scenario.run import run
from streams.simulate.scenario.spec import Costs, Players, PolicySections, Scenario

from .explain import clock
from .policies import differences
from .recorded import Recorded

FRAME_MS = 40

# How much more than wanted a pool costs that does not follow what is wanted.
UNFOLLOWED = 1.3
WORDS = """Recorded: counted from the topics. The two others simulate the same stretch with the code that decides, in steps of {step} s.
Taken as recorded: viewers and joins by channel and class, channels and their bytes, learned packaging cost, packagers at the beginning
and when packagers died (which one is drawn). Simulated: packagers, their queues and start-up, forecasts (learned anew from the beginning),
and players: how long they wait, when they stall. Compare the simulated columns with each other; beside the first they tell how far a
simulation of what was in force comes from what was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure: as measured (None: topics do not tell), under the recorded policy and under the other."""

    name: str
    measured: float | None
    recorded: float
    other: float
    digits: int = 0
    unit: str = ""

    @property
    def difference(self) -> str:
        """Of the other policy to the recorded one, both simulated."""
        change = self.other - self.recorded
        share = f" ({change / self.recorded:+.1%})" if self.recorded and abs(change) > 10**-self.digits / 2 else ""
        return f"{change:+.{self.digits}f}{share}" if abs(change) > 10**-self.digits / 2 else "="

    def told(self, value: float | None) -> str:
        """A value with its unit."""
        return "-" if value is None else f"{value:.{self.digits}f}{self.unit}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """
    What came of it.

    Attributes:
        recorded: What happened.
        policy: The other policy.
        before: The recorded policy, simulated.
        after: The other policy, simulated.
        fixed: Packagers held through both simulations; None: as many as each policy wants.
    """

    recorded: Recorded
    policy: Policy
    before: Outcome
    after: Outcome
    fixed: int | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The figures."""
        was, a, b = self.recorded.measured, self.before, self.after
        return (
            Row(name="packager-hours", measured=was.packager_hours, recorded=a.packager_hours, other=b.packager_hours, digits=3),
            Row(name="packagers at once", measured=was.packagers_most, recorded=a.packagers_most, other=b.packagers_most),
            Row(name="core-hours used", measured=None, recorded=a.core_hours, other=b.core_hours, digits=4),
            Row(name="channel-hours packaged", measured=was.packaged_hours, recorded=a.packaged_hours, other=b.packaged_hours, digits=3),
            Row(name="segments", measured=was.segments, recorded=a.segments, other=b.segments),
            Row(name="late segments", measured=was.late, recorded=a.late, other=b.late),
            Row(name="lateness p99", measured=was.late_p99_ms, recorded=a.late_p99_ms, other=b.late_p99_ms, unit=" ms"),
            Row(name="void segments", measured=was.void, recorded=a.void, other=b.void),
            Row(name="joins", measured=was.joins, recorded=_joins(a), other=_joins(b)),
            Row(name="join time p50", measured=None, recorded=a.join_p50_ms, other=b.join_p50_ms, unit=" ms"),
            Row(name="join time p95", measured=None, recorded=a.join_p95_ms, other=b.join_p95_ms, unit=" ms"),
            Row(name="stalls", measured=was.stalls, recorded=a.stalls, other=b.stalls),
            Row(name="stalled per viewer-hour", measured=None, recorded=a.stall_s_per_h, other=b.stall_s_per_h, digits=2, unit=" s"),
            Row(name="moves", measured=was.moves.total(), recorded=a.moves.total(), other=b.moves.total()),
            Row(name="plan changes", measured=was.plan_changes, recorded=a.plan_changes, other=b.plan_changes),
            Row(name="waiting slices", measured=None, recorded=a.queued_s, other=b.queued_s, unit=" s"),
            Row(name="requests at origins", measured=was.requests, recorded=a.requests, other=b.requests),
        )

    def table(self, name: str) -> str:
        """For people; name: what the other policy is called."""
        what = self.recorded
        head = ("", "recorded", "recorded policy, simulated", f"{name}, simulated", "difference")
        cells = [head] + [(r.name, r.told(r.measured), r.told(r.recorded), r.told(r.other), r.difference) for r in self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        lines = [row[0].ljust(widths[0]) + "".join(f"  {c.rjust(w)}" for c, w in zip(row[1:], widths[1:], strict=True)) for row in cells]
        stretch = f"{clock(what.begin_unix_ms)} to {clock(what.begin_unix_ms + what.duration_ms)}, pool {what.pool}"
        held = f"; {self.fixed} packagers all the time" if self.fixed else ""
        pool = f"{what.packagers} packagers of {what.cores:g} cores at first, {len(what.kills_ms)} deaths{held}"
        told = [
            f"{stretch}: {len(what.parts)} channels, {pool}",
            *(f"  {line}" for line in differences(what.policy, self.policy) or ["nothing differs from the recorded policy"]),
        ]
        if what.policies > 1:
            told.append(f"  {what.policies} policies were in force; the recorded one is that at the end")
        if not self.fixed and what.measured.packager_hours > UNFOLLOWED * self.before.packager_hours:
            told.append(
                "  more packagers ran than were wanted: if the pool does not follow what is wanted, hold their number with --packagers"
            )
        return "\n".join([*told, "", *lines, "", WORDS.format(step=f"{what.step_ms / 1_000:g}")])

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {row.name: {"measured": row.measured, "recorded": row.recorded, "other": row.other} for row in self.rows}


def whatif(recorded: Recorded, policy: Policy, *, fixed: int | None = None, seed: int = 1) -> Comparison:
    """
    Both policies on what happened: equal arguments, equal outcomes.

    Args:
        recorded: What happened.
        policy: The other policy.
        fixed: Hold this number of packagers; else as many as each policy wants.
        seed: Of what is drawn: which packagers die.
    """
    before, after = (
        run(scenario_of(recorded, each, fixed=fixed, seed=seed), parts=recorded.parts, audience=recorded.audience())
        for each in (recorded.policy, policy)
    )
    return Comparison(recorded=recorded, policy=policy, before=before, after=after, fixed=fixed)


def scenario_of(recorded: Recorded, policy: Policy, *, fixed: int | None, seed: int) -> Scenario:
    """A recorded stretch under a policy as a scenario; what one number says for all channels is that of the first."""
    period, measured = recorded.parts[0].period, recorded.measured
    gop_ms = frames_per_gop(period) * period.frame_rate_den * 1_000 / period.frame_rate_num
    gop = max(FRAME_MS, round(gop_ms / FRAME_MS) * FRAME_MS)
    known = {name: getattr(policy, name) for name in (field.name for field in fields(policy)) if name in PolicySections.model_fields}
    cost = {name: getattr(recorded.cost, name) for name in Costs.model_fields}
    plain: dict[str, Any] = {
        "duration": f"{recorded.duration_ms} ms",
        "step": f"{recorded.step_ms} ms",
        "seed": seed,
        "channels": {
            "count": len(recorded.parts), "gop": f"{gop} ms", "part": f"{max(FRAME_MS, gop // max(1, len(period.grid)))} ms",
            "target": f"{period.target_duration_ms} ms",
        },
        "pool": {
            "packagers": fixed or recorded.packagers, "cores": recorded.cores, "startup": f"{policy.scaling.startup_ms} ms",
            "publish": f"{measured.publish_ms} ms", "cost": cost,
        },
        "policy": PolicySections(**known),
        "scaler": {"kind": "fixed", "packagers": fixed} if fixed else {"kind": "finecut"},
        "players": {"phi": recorded.phi or Players().phi, "caches": 0},
        "faults": {"kill": [f"{at} ms" for at in recorded.kills_ms], "restart": recorded.restarts},
    }  # fmt: skip
    return Scenario.model_validate(plain)


def _joins(outcome: Outcome) -> int:
    return sum(each.joins for each in outcome.viewers.values())

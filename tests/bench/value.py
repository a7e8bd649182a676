"""
What deciding granularity is worth on recorded audiences, against pools scaled by count.

    FINECUT_DATA=FOLDER python -m tests.bench.value [--hours 6] [--channels 160] [--viewers 9.6] [--seed 1] [--rows TEXT]

Channels go live as recorded on one platform and are watched as recorded on another: a composition, since no public record has both.
All rows have the same channels, viewers, costs, start-up time, kills, placement and takeover. A baseline packages every live channel as
parts all the time, in whole channels and segments of one length; "on demand" is one that starts and stops channels as viewers come and go.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.cli_simulate import find
from streams.simulate.scenario.outcome import Outcome
from streams.simulate.scenario.reading import read_scenario
from streams.simulate.scenario.run import run

FILE = Path(__file__).parents[2] / "streams" / "simulate" / "scenarios" / "value.toml"
Overrides = dict[str, Any]

BASELINE: Overrides = {
    "channels.idle_level": "parts",
    "policy.granularity.level": "parts",
    "policy.granularity.slices_max": 1,
    "policy.granularity.copies_max": 1,
    "policy.planner.demand": "last_value",
    # Who counts pods knows nothing of parts that fall due at one instant, nor leaves room when it places a channel.
    "policy.assignment.part_ms_budget": 1e6,
    "policy.assignment.utilisation_max": 1.0,
}
FOUR_S: Overrides = {"channels.target": "4 s", "policy.granularity.segment_ms": 4_000}
SIX_S: Overrides = {"channels.target": "6 s", "policy.granularity.segment_ms": 6_000}
HPA: Overrides = {"scaler.kind": "hpa", "scaler.sync": "15 s", "scaler.target": 0.6}
KEDA: Overrides = {"scaler.kind": "keda", "scaler.sync": "15 s", "scaler.poll": "30 s", "scaler.target": 0.6}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """
    One row.

    Attributes:
        name: What it is called.
        overrides: How it differs from the scenario.
        is_fixed: Whether it has as many packagers all the time as finecut had in the mean.
    """

    name: str
    overrides: Overrides = field(default_factory=dict)
    is_fixed: bool = False


FINECUT = "finecut"
ROWS = (
    Row(name=FINECUT),
    Row(name="HPA, whole channels, 4 s", overrides={**BASELINE, **FOUR_S, **HPA}),
    Row(name="HPA, whole channels, 6 s", overrides={**BASELINE, **SIX_S, **HPA}),
    Row(name="KEDA, whole channels, 4 s", overrides={**BASELINE, **FOUR_S, **KEDA}),
    Row(name="KEDA, whole channels, 6 s", overrides={**BASELINE, **SIX_S, **KEDA}),
    Row(name="HPA, 4 s, on demand", overrides={**BASELINE, **FOUR_S, **HPA, "channels.idle_level": "off"}),
    Row(name="finecut without off", overrides={"channels.idle_level": "segments"}),
    Row(name="finecut without level", overrides={"channels.idle_level": "parts", "policy.granularity.level": "parts"}),
    Row(name="finecut without length (4 s)", overrides={"policy.granularity.segment_ms": 4_000}),
    Row(name="finecut without slices", overrides={"policy.granularity.slices_max": 1}),
    Row(name="finecut without prediction", overrides={"policy.planner.demand": "last_value"}),
    Row(name="finecut without copies", overrides={"policy.granularity.copies_max": 1}),
    Row(name="equal cost: whole channels, 4 s", overrides={**BASELINE, **FOUR_S}, is_fixed=True),
    Row(name="equal cost: whole, 4 s, on demand", overrides={**BASELINE, **FOUR_S, "channels.idle_level": "off"}, is_fixed=True),
    Row(name="equal cost: finecut", is_fixed=True),
)
COLUMNS = (
    "packager-hours",
    "late",
    "late %",
    "late p99 ms",
    "join p50 ms",
    "join p95 ms",
    "stalls",
    "stall s/h",
    "moves",
    "plans",
    "void",
    "CPU s",
)


def cells(outcome: Outcome, cpu_s: float) -> tuple[str, ...]:
    """A row's figures."""
    return (
        f"{outcome.packager_hours:.1f}",
        f"{outcome.late:.0f}",
        f"{outcome.late_share:.2%}",
        f"{outcome.late_p99_ms}",
        f"{outcome.join_p50_ms}",
        f"{outcome.join_p95_ms}",
        f"{outcome.stalls}",
        f"{outcome.stall_s_per_h:.2f}",
        f"{sum(outcome.moves.values())}",
        f"{outcome.plan_changes}",
        f"{outcome.void}",
        f"{cpu_s:.0f}",
    )


def measure(overrides: Overrides) -> tuple[Outcome, float]:
    """Run the scenario with changes."""
    began = time.process_time()
    outcome = run(read_scenario(FILE, overrides), find=lambda name: find(name, FILE.parent))
    return outcome, time.process_time() - began


def main(hours: float, channels: int, viewers: float, seed: int, only: str) -> None:
    """Print the table, a row as soon as it is there."""
    common: Overrides = {"duration": f"{hours:g} h", "channels.count": channels, "seed": seed, "audience.per_channel": viewers}
    print(f"| {hours:g} h, {channels} channels of the day, {viewers:g} viewers each in the mean | " + " | ".join(COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    found: dict[str, Outcome] = {}
    for row in ROWS:
        if only and only not in row.name and row.name != FINECUT:
            continue
        overrides = {**common, **row.overrides}
        if row.is_fixed:
            overrides |= {"scaler.kind": "fixed", "scaler.packagers": max(1, round(found[FINECUT].packager_hours / hours))}
        outcome, cpu_s = measure(overrides)
        found[row.name] = outcome
        print(f"| {row.name} | " + " | ".join(cells(outcome, cpu_s)) + " |", flush=True)
    conclude(found)


def conclude(found: dict[str, Outcome]) -> None:
    """The goals beside what was found."""
    ours = found[FINECUT]
    print()
    for name, theirs in found.items():
        if name.startswith(("HPA", "KEDA")):
            saved = 1 - ours.packager_hours / theirs.packager_hours
            print(
                f"against {name}: {saved:.0%} fewer packager-hours, late segments {ours.late:.0f} to {theirs.late:.0f}, "
                f"join p95 {ours.join_p95_ms} to {theirs.join_p95_ms} ms"
            )
    equal = found.get("equal cost: finecut")
    for name, theirs in found.items():
        if equal and name.startswith("equal cost: whole") and theirs.late:
            print(f"{name}: {1 - equal.late / theirs.late:.0%} fewer late segments at {equal.packager_hours:.0f} packager-hours")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--channels", type=int, default=160)
    parser.add_argument("--viewers", type=float, default=9.6, help="mean viewers of a live channel")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", default="", help="only rows whose name has this text")
    arguments = parser.parse_args()
    if not os.environ.get("FINECUT_DATA"):
        sys.exit("value: name the folder of recorded series in FINECUT_DATA")
    main(arguments.hours, arguments.channels, arguments.viewers, arguments.seed, arguments.rows)

"""
Balance, lateness and recovery against the size of slices, at a fixed pool: python -m tests.bench.balance [--minutes 6]

Channels that take a quarter of a packager each, dealt ever finer, in full detail: once undisturbed, once with a packager killed halfway.
"""

import argparse
import time
from typing import Any

from streams.simulate.scenario.outcome import Outcome
from streams.simulate.scenario.reading import scenario_of
from streams.simulate.scenario.run import run

PACKAGERS, CHANNELS, TRACKS = 10, 23, 16
# Such as encryption and many tracks make them: a quarter of a core per channel.
COST = {"per_segment": 0.002, "per_part": 0.003, "per_chunk": 0.0018, "per_byte": 2e-9}
SEEDS = (1, 2, 3)
COLUMNS = (
    "slices",
    "slice / packager",
    "max/mean load",
    "late parts p99 ms",
    "late segments",
    "killed: takeover s",
    "stall s/h",
    "moves",
    "CPU s",
)


def a_scenario(slices: int, minutes: float, seed: int, *, kills: bool) -> dict[str, Any]:
    """Channels dealt into at most so many slices."""
    return {
        "duration": f"{minutes * 60:g} s",
        "warmup": "150 s",
        "step": "1 s",
        "seed": seed,
        "forecast": "none",
        "channels": {
            "count": CHANNELS, "video_kbps": [1_000.0] * (TRACKS - 2), "audio_kbps": [96.0, 96.0], "idle_level": "parts",
            "low_latency_share": 1.0,
        },
        "audience": {"viewers": 20.0 * CHANNELS},
        "pool": {"packagers": PACKAGERS, "cores": 1.0, "cost": COST},
        "scaler": {"kind": "fixed", "packagers": PACKAGERS},
        "policy": {
            "granularity": {
                "level": "parts", "segment_ms": 4_000, "slices_max": slices, "slice_share_max": 0.01,
            },
            "assignment": {"part_ms_budget": 1e6, "utilisation_max": 1.0},
        },
        "faults": {"kill": [f"{minutes * 30:g} s"] if kills else []},
    }  # fmt: skip


def main(minutes: float) -> None:
    """Print the table."""
    print(f"| {CHANNELS} channels of {TRACKS} tracks, {PACKAGERS} packagers | " + " | ".join(COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for slices in (1, 2, 4, 8, 16, 32):
        began = time.process_time()
        calm, killed = ([simulate(slices, minutes, seed, kills=kills) for seed in SEEDS] for kills in (False, True))
        name = f"at most {slices} slices" if slices > 1 else "whole channels"
        print(f"| {name} | " + " | ".join(cells(calm, killed, time.process_time() - began)) + " |", flush=True)


def simulate(slices: int, minutes: float, seed: int, *, kills: bool) -> Outcome:
    """One run."""
    return run(scenario_of(a_scenario(slices, minutes, seed, kills=kills), name="balance"))


def cells(outcomes: list[Outcome], killed: list[Outcome], cpu_s: float) -> tuple[str, ...]:
    """A row's figures: means over seeds."""
    count = len(outcomes)

    def mean(values: list[float]) -> float:
        return sum(values) / count

    slices = mean([outcome.slices for outcome in outcomes])
    cores = mean([outcome.core_hours / outcome.hours for outcome in outcomes])
    takeovers = [ms / 1_000 for outcome in killed for ms in outcome.takeovers_ms]
    return (
        f"{slices:.0f}",
        f"{cores / max(slices, 1):.1%}",
        f"{mean([outcome.load_ratio for outcome in outcomes]):.3f}",
        f"{mean([float(outcome.part_late_p99_ms) for outcome in outcomes]):.0f}",
        f"{mean([outcome.late for outcome in outcomes]):.0f}",
        f"{sum(takeovers) / max(1, len(takeovers)):.2f}",
        f"{mean([outcome.stall_s_per_h for outcome in killed]):.2f}",
        f"{mean([float(sum(outcome.moves.values())) for outcome in killed]):.0f}",
        f"{cpu_s:.0f}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=6.0)
    main(parser.parse_args().minutes)

"""Two minutes of faults from a fixed seed on real processes: every promise is kept."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.__main__ import run
from tests.chaos.cast import Size
from tests.chaos.picture import draw
from tests.chaos.table import WIDTH, show, write

SEED = 1
SECONDS = 75.0
# One of each part that may die or stand still, quickest to show; brokers have their own tests, and all kinds belong to `make chaos`.
KINDS = ("packager-kill", "packager-pause", "control-kill", "origin-kill", "encoder-kill", "store-full")
RESULTS = Path(__file__).parents[2] / ".cache" / "results"


@pytest.mark.timeout(400)
def test_nothing_is_lost_and_nothing_contradicted_while_processes_die(tmp_path: Path) -> None:
    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")

    verdict = run(tmp_path, Size(brokers=1, packagers=3), seed=SEED, seconds=SECONDS, kinds=KINDS, say=say)
    RESULTS.mkdir(parents=True, exist_ok=True)
    write(verdict, RESULTS / "chaos.json")
    draw(verdict, RESULTS / "chaos.png")
    show(verdict, Console(width=WIDTH))
    assert len(verdict.effects) > 2, "too few faults to show anything"
    assert verdict.is_kept, [check for check in verdict.checks if not check.is_kept]

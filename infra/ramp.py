"""How an audience comes and goes: a recorded one, scaled in size and time."""

import csv
from collections.abc import Sequence
from pathlib import Path

RECORDED = Path(__file__).parent / "audience" / "agdq_2018_opening.csv"


def recorded() -> tuple[int, ...]:
    """Concurrent viewers in each minute of a real event's opening; source and licence lie beside the file."""
    with RECORDED.open(newline="") as file:
        return tuple(int(row["viewers"]) for row in csv.DictReader(file))


def present(series: Sequence[int], share: float, *, peak: int) -> int:
    """
    Viewers present when this share of the time has passed, with ``peak`` at the series' highest point.

    >>> [present((10, 20, 40, 30), share, peak=8) for share in (0, 1 / 3, 0.5, 2 / 3, 1)]
    [2, 4, 6, 8, 6]
    """
    place = min(max(share, 0.0), 1.0) * (len(series) - 1)
    before = min(int(place), len(series) - 2)
    value = series[before] + (place - before) * (series[before + 1] - series[before])
    return max(1, round(value * peak / max(series)))

"""
Forecasts of recorded audiences against the last value: one table of errors, coverage and CPU.

Usage: python -m tests.bench.forecast [DATA_DIR], or FINECUT_DATA. One pass in time order; the first 20 % of a series (at least one
season) is warm-up and not scored; forecasts at every 5th step, 1, 6 and 30 steps ahead; relMAE is MAE over that of the last
value at the same origins. Up to 10,080 values a series; missing ones are interpolated before the run.
"""

import csv
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import geometric_mean

from schemas.units import UnixMs
from streams.models.channel import STEP_SECONDS, ChannelForecaster, Second
from streams.models.demand import DemandForecaster

HORIZONS = (1, 6, 30)
STRIDE = 5
VALUES_MAX = 10_080
EVENTS = ("agdq_2017", "sgdq_2018", "agdq_2019", "sgdq_2019", "agdq_2020")


@dataclass(frozen=True, kw_only=True)
class Series:
    """A recorded series and its season."""

    name: str
    values: list[float]
    season: int
    is_live: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """Scores of one series, per horizon, and the CPU time of a step."""

    series: Series
    errors: list[float]
    coverage: list[float]
    step_us: float


def column(path: Path, name: str, keep: Callable[[dict[str, str]], bool] = lambda _: True) -> list[float]:
    """One column of a CSV file; NaN for an empty cell."""
    with path.open(newline="") as file:
        return [float(row[name]) if row[name] else math.nan for row in csv.DictReader(file) if keep(row)]


def filled(cells: list[float]) -> list[float]:
    """Gaps filled by straight lines, by the nearest value at the ends."""
    known = [i for i, cell in enumerate(cells) if not math.isnan(cell)]
    values = list(cells)
    for i in range(known[0]):
        values[i] = cells[known[0]]
    for i in range(known[-1], len(cells)):
        values[i] = cells[known[-1]]
    for left, right in pairwise(known):
        for i in range(left + 1, right):
            values[i] = cells[left] + (cells[right] - cells[left]) * (i - left) / (right - left)
    return values


def recorded(root: Path) -> Iterator[Series]:
    """The recorded series, with the season given to every model."""
    for event in EVENTS:
        viewers = column(root / "gdq" / f"{event}_1min.csv", "viewers")[:VALUES_MAX]
        yield Series(name=event, values=filled(viewers), season=1_440, is_live=True)
    streams = column(root / "ytlive_concurrency_5min.csv", "live_streams")[-VALUES_MAX:]
    yield Series(name="ytlive streams", values=filled(streams), season=288)
    for company in ("GOOG", "AMZN"):
        yield Series(name=f"tweets {company}", values=filled(column(root / "nab_tweets_5min.csv", company)[:VALUES_MAX]), season=288)
    elb = column(root / "nab_aws_5min.csv", "value", lambda row: row["series"] == "elb_request_count_8c0756")
    yield Series(name="aws elb", values=filled(elb), season=288)
    yield Series(name="nyc taxi", values=filled(column(root / "nab_nyc_taxi_30min.csv", "passengers")[:VALUES_MAX]), season=48)
    nasa = column(root / "nasa_requests_1min.csv", "requests")[60_000 : 60_000 + VALUES_MAX]
    yield Series(name="nasa requests", values=filled(nasa), season=1_440)


def run(series: Series) -> Result:
    """Scores of the forecaster on one series."""
    values, count = series.values, len(series.values)
    first = max(int(count * 0.2), series.season + 1 if count > 3 * series.season else 0, 60)
    scored = set(range(first, count - max(HORIZONS), STRIDE))
    forecaster = DemandForecaster(HORIZONS, season_steps=series.season)
    said = {}
    before = time.process_time()
    for step, value in enumerate(values):
        forecaster.learn(value)
        if step in scored:
            said[step] = forecaster.forecast()
    step_us = (time.process_time() - before) / count * 1e6
    errors, coverage = [], []
    for index, horizon in enumerate(HORIZONS):
        ours = sum(abs(said[step][index].p50 - values[step + horizon]) for step in scored)
        last_value = sum(abs(values[step] - values[step + horizon]) for step in scored)
        errors.append(ours / last_value)
        coverage.append(sum(values[step + horizon] <= said[step][index].p90 for step in scored) / len(scored))
    return Result(series=series, errors=errors, coverage=coverage, step_us=step_us)


def line(name: str, errors: list[float], coverage: list[float], step_us: float) -> str:
    """One row of the table."""
    cells = [f"{number:7.3f}" for number in (*errors, *coverage)]
    return f"{name:<24}{''.join(cells[:3])}  {''.join(cells[3:])}  {step_us:8.0f}"


def channel_step_us(viewers: list[float]) -> float:
    """CPU time of one channel (sessions and joins, all horizons) per step of 5 s, once warm; the audience read as seconds."""
    forecaster = ChannelForecaster("bench")
    joins = [max(0.0, after - before) for before, after in pairwise(viewers)]
    seconds = [
        Second(at_unix_ms=UnixMs(i * 1_000), sessions=value, joins=joined)
        for i, (value, joined) in enumerate(zip(viewers[1:], joins, strict=True))
    ]
    half = len(seconds) // 2
    forecaster.relearn(seconds[:half])
    before_s = time.process_time()
    for second in seconds[half:]:
        forecaster.learn(second)
    return (time.process_time() - before_s) / (len(seconds) - half) * STEP_SECONDS * 1e6


def say(text: str) -> None:
    """Print one row at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(root: Path) -> None:
    """Print the table."""
    say(f"{'':<24}{'relMAE, steps ahead':^21}  {'covered by p90':^21}  {'CPU us':>8}")
    say(f"{'series':<24}{''.join(f'{h:>7}' for h in HORIZONS)}  {''.join(f'{h:>7}' for h in HORIZONS)}  {'per step':>8}")
    results = []
    for series in recorded(root):
        results.append(run(series))
        say(line(series.name, results[-1].errors, results[-1].coverage, results[-1].step_us))
    for name, chosen in (("all", results), ("live viewers only", [r for r in results if r.series.is_live])):
        errors = [geometric_mean(r.errors[i] for r in chosen) for i in range(len(HORIZONS))]
        coverage = [sum(r.coverage[i] for r in chosen) / len(chosen) for i in range(len(HORIZONS))]
        say(line(f"{name}: mean", errors, coverage, sum(r.step_us for r in chosen) / len(chosen)))
    step_us = channel_step_us(results[0].series.values)
    say(f"one channel, sessions and joins, five horizons: {step_us:.0f} us of CPU per step of {STEP_SECONDS} s")


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FINECUT_DATA")
    if not folder or not Path(folder).is_dir():
        sys.exit("forecast: name the folder of recorded series, as an argument or in FINECUT_DATA")
    main(Path(folder))

"""
Forecasts of recorded audiences: errors beside those of baselines, coverage, CPU, and what a new channel gains from its pool.

Usage: python -m tests.bench.forecast [DATA_DIR], or FINECUT_DATA. One pass in time order; the first 20 % of a series (at least one
season) is warm-up and not scored; forecasts at every 5th step, 1, 6 and 30 steps ahead; relMAE is MAE over that of the last
value at the same origins. Up to 10,080 values a series; missing ones are interpolated before the run. Each series is a pool of its
own. No constant of the models was chosen on these series, but on others of the same folder.
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

import numpy as np

from schemas.units import Ms, UnixMs
from streams.models.pool import PoolForecaster
from streams.models.series import SeriesForecaster
from tests.bench.baselines import QUOTED, autoregression, holt

HORIZONS = (1, 6, 30)
STRIDE = 5
VALUES_MAX = 10_080
COLD_S = (5, 15, 60)
COLD_BEFORE_S, COLD_AFTER_S, COLD_TRIALS = 900, 700, 12
STAY_S = 600
WARM_STEPS = 70
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
    """Scores of one series, per horizon, and the CPU time of a step. Errors are in those of the last value."""

    series: Series
    errors: list[float]
    coverage: list[float]
    holt: list[float]
    autoregression: list[float]
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
    """Scores of the forecaster and of the baselines on one series."""
    values, count = series.values, len(series.values)
    first = max(int(count * 0.2), series.season + 1 if count > 3 * series.season else 0, 60)
    origins = np.arange(first, count - max(HORIZONS), STRIDE)
    forecaster = SeriesForecaster(HORIZONS, season_steps=series.season)
    p50, p90 = np.zeros((len(HORIZONS), count)), np.zeros((len(HORIZONS), count))
    before = time.process_time()
    for step, value in enumerate(values):
        forecaster.learn(np.array([value]))
        p50[:, step], p90[:, step] = forecaster.p50[:, 0], forecaster.p90[:, 0]
    step_us = (time.process_time() - before) / count * 1e6
    series_values = np.array(values)
    truth = series_values[origins + np.array(HORIZONS)[:, None]]
    last_value = np.abs(series_values[origins] - truth).mean(axis=1)

    def relative(said: np.ndarray) -> list[float]:
        ratios: list[float] = (np.abs(said - truth).mean(axis=1) / last_value).tolist()
        return ratios

    return Result(
        series=series,
        errors=relative(p50[:, origins]),
        coverage=(truth <= p90[:, origins]).mean(axis=1).tolist(),
        holt=relative(holt(values, HORIZONS, first, origins)),
        autoregression=relative(autoregression(values, HORIZONS, first, origins, series.season)),
        step_us=step_us,
    )


def line(name: str, *groups: list[float], step_us: float = math.nan) -> str:
    """One row of the table."""
    cells = "  ".join("".join(f"{number:7.3f}" for number in group) for group in groups)
    return f"{name:<28}{cells}" + ("" if math.isnan(step_us) else f"  {step_us:8.0f}")


def accuracy(root: Path) -> None:
    """Errors and coverage, series by series, and the means beside those of the baselines."""
    say(f"{'':<28}{'relMAE, steps ahead':^21}  {'covered by p90':^21}  {'CPU us':>8}")
    say(f"{'series':<28}{''.join(f'{h:>7}' for h in HORIZONS)}  {''.join(f'{h:>7}' for h in HORIZONS)}  {'per step':>8}")
    results = []
    for series in recorded(root):
        results.append(run(series))
        say(line(series.name, results[-1].errors, results[-1].coverage, step_us=results[-1].step_us))
    for name, chosen in (("all", results), ("live", [r for r in results if r.series.is_live])):
        coverage = [sum(r.coverage[i] for r in chosen) / len(chosen) for i in range(len(HORIZONS))]
        rows = {"ours": "errors", "Holt": "holt", "AR": "autoregression"}
        means = {row: [geometric_mean(getattr(r, of)[i] for r in chosen) for i in range(len(HORIZONS))] for row, of in rows.items()}
        say(line(f"{name}: ours", means["ours"], coverage, step_us=sum(r.step_us for r in chosen) / len(chosen)))
        say(line(f"{name}: last value", [1.0] * len(HORIZONS)))
        for row in ("Holt", "AR"):
            say(line(f"{name}: {row}", means[row]))
        for row, quoted in QUOTED[name].items():
            say(line(f"{name}: {row}*", list(quoted)))
    say("* quoted, see tests/bench/baselines.py")


def composed(viewers: list[float], seconds: int, *, sessions: float, seed: int) -> list[tuple[float, float]]:
    """
    Sessions and joins per second of a channel composed of a recorded event: its minutes joined by straight lines and scaled to a mean;
    viewers stay ten minutes on average, the rest is chance.
    """
    rng = np.random.default_rng(seed)
    minutes = np.array(viewers)
    level = np.interp(np.arange(seconds + 1) / 60, np.arange(minutes.size), minutes * sessions / minutes[: seconds // 60 + 1].mean())
    here, made = float(round(level[0])), []
    for before, after in pairwise(level):
        leaving = int(rng.binomial(int(here), 1 / STAY_S))
        joins = int(rng.poisson(max(0.0, after - before + before / STAY_S)))
        here += joins - leaving
        made.append((here, float(joins)))
    return made


def cold_start(root: Path) -> None:
    """Error of a channel's first ten minutes, alone and with what its pool has learned, in those of the last value."""
    say("\nfirst ten minutes of a new channel in a pool of eight (channels composed of recorded events), error / last value's")
    say(f"{'seconds ahead':<24}" + "".join(f"{signal + ' ' + str(ahead):>14}" for signal in ("sessions", "joins") for ahead in COLD_S))
    live = [series.values for series in recorded(root) if series.is_live]
    errors: dict[str, np.ndarray] = {name: np.zeros((2, len(COLD_S))) for name in ("alone", "with its pool", "last value")}
    rng = np.random.default_rng(1)
    for trial in range(COLD_TRIALS):
        picks = [(live[int(rng.integers(len(live)))], int(rng.integers(8_000)), float(10 ** rng.uniform(1, 3))) for _ in range(9)]
        channels = [
            composed(values[at : at + 60], COLD_BEFORE_S + COLD_AFTER_S, sessions=sessions, seed=100 * trial + n)
            for n, (values, at, sessions) in enumerate(picks)
        ]
        for name in ("alone", "with its pool"):
            pool = PoolForecaster(borrows=name != "alone")
            for second in range(COLD_BEFORE_S + COLD_AFTER_S):
                there = len(channels) if second >= COLD_BEFORE_S else len(channels) - 1
                pool.learn(UnixMs(second * 1_000), {f"c{n}": channels[n][second] for n in range(there)})
                if COLD_BEFORE_S <= second < COLD_BEFORE_S + 600 and second % 5 == 4:
                    _score_newcomer(pool, channels[-1], second, errors[name], errors["last value"] if name == "alone" else None)
    for name in ("alone", "with its pool"):
        say(f"{name:<24}" + "".join(f"{cell:14.3f}" for cell in (errors[name] / errors["last value"]).ravel()))


def _score_newcomer(
    pool: PoolForecaster, series: list[tuple[float, float]], second: int, ours: np.ndarray, last_value: np.ndarray | None
) -> None:
    horizons = {ahead.horizon_ms: ahead for ahead in pool.forecast()[-1].horizons}
    values = np.array(series)
    size = values.mean(axis=0)
    for index, ahead_s in enumerate(COLD_S):
        said = horizons[Ms(ahead_s * 1_000)]
        span = 1 if ahead_s <= 5 else 5  # beyond the step, means over steps are forecast
        truth = values[second + ahead_s - span + 1 : second + ahead_s + 1].mean(axis=0)
        newest = values[max(COLD_BEFORE_S, second - span + 1) : second + 1].mean(axis=0)
        ours[:, index] += np.abs(np.array((said.sessions_p50, said.joins_p50)) - truth) / size
        if last_value is not None:
            last_value[:, index] += np.abs(newest - truth) / size


def speed() -> None:
    """CPU time of a channel (sessions and joins, all horizons) per step, once warm."""
    say("\nCPU us per channel and step")
    say(f"{'channels':<24}{'steps of 5 s':>16}{'steps of 60 s':>16}")
    for count, steps in ((1, 100), (10, 100), (100, 40), (1_000, 12)):
        seconds, minutes = (channel_step_us(count, steps, Ms(sample), Ms(step)) for sample, step in ((1_000, 5_000), (60_000, 60_000)))
        say(f"{count:<24}{seconds:16.0f}{minutes:16.0f}")


def channel_step_us(channels: int, steps: int, sample_ms: Ms, step_ms: Ms) -> float:
    """CPU time of a channel per step in a pool of so many, forecasts read at each step's end."""
    rng, pool, samples = np.random.default_rng(1), PoolForecaster(sample_ms=sample_ms, step_ms=step_ms), step_ms // sample_ms
    names, sessions = [f"c{n}" for n in range(channels)], rng.uniform(10, 1_000, channels)
    spent_s = 0.0
    for sample in range((WARM_STEPS + steps) * samples):
        sessions = np.maximum(0.0, sessions + rng.normal(0, 3, channels))
        seen = dict(zip(names, zip(sessions.tolist(), rng.poisson(2, channels).tolist(), strict=True), strict=True))
        before_s = time.process_time()
        pool.learn(UnixMs(sample * sample_ms), seen)
        if sample % samples == samples - 1:
            pool.forecast()
        spent_s += time.process_time() - before_s if sample >= WARM_STEPS * samples else 0.0
    return spent_s / steps / channels * 1e6


def say(text: str) -> None:
    """Print one row at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(root: Path) -> None:
    """Print the tables."""
    accuracy(root)
    cold_start(root)
    speed()


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FINECUT_DATA")
    if not folder or not Path(folder).is_dir():
        sys.exit("forecast: name the folder of recorded series, as an argument or in FINECUT_DATA")
    main(Path(folder))

"""Who watches: viewers of three classes per channel, drawn around a recorded or made series, or taken as recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UserError
from streams.simulate.scenario.casting import Find, Part, read_rows
from streams.simulate.scenario.pool import Floats
from streams.simulate.scenario.spec import Scenario, Series

Counts = NDArray[np.int64]
WHOLE, PARTS, CHUNKED = range(3)
"""Classes of clients: whole segments, parts (LL-HLS), open segments in chunks (LL-DASH)."""


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """
    Viewers at the end of a span.

    Attributes:
        sessions: Those there, by channel and class.
        joins: Those who came within the span, by channel and class.
    """

    sessions: Counts
    joins: Counts


class Audience(Protocol):
    """Viewers, asked once for each span, in order."""

    def advance(self, start_ms: float, end_ms: float) -> Crowd:
        """Who is there at the end of a span, and who came within it; times since the beginning."""
        ...


class Drawn:
    """
    Viewers who come at random and stay for a random time, so that their mean follows a series.

    Source:
        An M/G/infinity queue; how many are there is Poisson about the mean.
    """

    def __init__(self, scenario: Scenario, parts: Sequence[Part], find: Find) -> None:
        """
        Args:
            scenario: What to draw.
            parts: The channels.
            find: Finds the files of series.

        Raises:
            UserError: A series cannot be read.
        """
        self._rng = np.random.default_rng((scenario.seed, 2))
        self._stay_ms = scenario.audience.stay
        shape = np.random.default_rng((scenario.seed, 3))
        count = len(parts)
        self._begins = np.array([part.begins_ms for part in parts])
        self._ends = np.array([part.ends_ms for part in parts])
        ranks = shape.permutation(count) + 1
        self._means = _means(scenario, ranks, self._begins, self._ends)
        self._classes = _classes(scenario, shape, count)
        self._curve = _curve(scenario, parts, ranks, shape, find)
        self._sessions: Counts = np.zeros((count, 3), dtype=np.int64)
        self._wanted = np.zeros((count, 3))

    def advance(self, start_ms: float, end_ms: float) -> Crowd:
        """As the protocol says."""
        is_live = (self._begins <= end_ms) & (end_ms < self._ends)
        means = np.where(is_live, self._means * self._curve.at(end_ms), 0.0)
        wanted = means[:, None] * self._classes
        moved, span = wanted - self._wanted, end_ms - start_ms
        comes = self._rng.poisson(np.minimum(wanted, self._wanted) * span / self._stay_ms + np.maximum(moved, 0.0))
        falls = np.divide(np.maximum(-moved, 0.0), self._wanted, out=np.zeros_like(moved), where=self._wanted > 0)
        stays = np.exp(-span / self._stay_ms) * (1.0 - np.minimum(falls, 1.0))
        left = self._rng.binomial(self._sessions, 1.0 - stays)
        self._sessions = np.where(is_live[:, None], self._sessions - left + comes, 0)
        self._wanted = wanted
        return Crowd(self._sessions, np.where(is_live[:, None], comes, 0))


class _Curve(Protocol):
    def at(self, at_ms: float) -> Floats:
        """Viewers of each channel, its mean being 1."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    times: Floats
    values: Floats
    applies: Floats

    def at(self, at_ms: float) -> Floats:
        return 1.0 + (float(np.interp(at_ms, self.times, self.values)) - 1.0) * self.applies


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    series: list[Floats]
    steps: list[int]
    offsets: Floats

    def at(self, at_ms: float) -> Floats:
        values = np.empty(len(self.offsets))
        for channel, offset in enumerate(self.offsets):
            one = channel % len(self.series)
            series = self.series[one]
            place = (offset + at_ms / self.steps[one]) % (len(series) - 1)
            whole = int(place)
            values[channel] = series[whole] + (series[whole + 1] - series[whole]) * (place - whole)
        return values


def _means(scenario: Scenario, ranks: NDArray[np.int64], begins: Floats, ends: Floats) -> Floats:
    """Mean viewers of each channel while it is live, so that over all the time there are as many as wanted."""
    weights = ranks.astype(float) ** -scenario.audience.zipf
    lives = (np.minimum(ends, scenario.end) - np.clip(begins, 0.0, scenario.end)) / scenario.end
    viewers = scenario.audience.per_channel * float(lives.sum()) or scenario.audience.viewers
    return np.asarray(viewers * weights / max(float((weights * lives).sum()), 1e-12))


def _classes(scenario: Scenario, rng: np.random.Generator, count: int) -> Floats:
    players = scenario.players
    has_low_latency = rng.permutation(count) < round(scenario.channels.low_latency_share * count)
    shares = np.zeros((count, 3))
    shares[:, PARTS] = has_low_latency * players.parts_share
    shares[:, CHUNKED] = has_low_latency * players.chunked_share
    shares[:, WHOLE] = 1.0 - shares.sum(axis=1)
    return shares


def _curve(scenario: Scenario, parts: Sequence[Part], ranks: NDArray[np.int64], rng: np.random.Generator, find: Find) -> _Curve:
    audience, everyone = scenario.audience, np.ones(len(parts))
    if audience.kind == "trace":
        series = [read_series(each, find(each.file)) for each in audience.series]
        steps = [each.step for each in audience.series]
        starts = rng.random(len(parts))
        offsets = [starts[i] * len(series[i % len(series)]) - part.begins_ms / steps[i % len(steps)] for i, part in enumerate(parts)]
        return _Recorded(series, steps, np.array(offsets))
    if audience.kind == "ramp":
        end = audience.to / audience.viewers if audience.viewers else 1.0
        return _Made(np.array([0.0, scenario.end]), np.array([1.0, end]), everyone)
    if audience.kind == "flash":
        peak = audience.at + audience.rise
        times = np.array([0.0, audience.at, peak, peak + audience.hold, peak + 2 * audience.hold])
        hit = (ranks <= round(audience.hit * len(parts))).astype(float)
        return _Made(times, np.array([1.0, 1.0, audience.factor, audience.factor, 1.0]), hit)
    return _Made(np.array([0.0]), np.array([1.0]), everyone)


@lru_cache(maxsize=64)
def read_series(series: Series, path: Path) -> Floats:
    """
    Values of a recorded series, its mean being 1; what is missing is as before.

    Raises:
        UserError: It cannot be read, has no column of that name, or a value below 0 or none at all.
    """
    values: list[float] = []
    for line, row in enumerate(read_rows(path, (series.column,)), start=2):
        text = row[series.column]
        try:
            value = float(text) if text else values[-1] if values else 0.0
        except ValueError as error:
            raise UserError(f"{path}, line {line}: expected a number, not {text!r}", do="name another column") from error
        if not 0.0 <= value < float("inf"):
            raise UserError(f"{path}, line {line}: expected a number of at least 0, not {text!r}", do="name another column")
        values.append(value)
    values = values[series.skip // series.step :]
    mean = sum(values) / len(values) if values else 0.0
    if len(values) < 2 or mean <= 0.0:
        raise UserError(f"{path}: column {series.column} has no two values above 0", do="name another column or skip less")
    return np.array(values) / mean

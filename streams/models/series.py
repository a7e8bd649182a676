"""Forecasts of many series, some steps ahead, learned online: predict first, learn when the truth has arrived."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streams.models.band import Band
from streams.models.experts import ASeasonAgo, Expert, Trends
from streams.models.history import VALUE_MAX, History
from streams.models.mix import Mix
from streams.models.past import Outlook, Past, Shape
from streams.models.regression import LinearExpert, RidgeExpert
from streams.models.rows import Rows, Vector
from streams.models.score import ErrorSoFar, Score

TRENDS = {"last_value": (1.0, 0.0, 0.9), "level": (0.3, 0.0, 0.9), "damped_trend": (0.9, 0.3, 0.9)}
QUICK_TRENDS = {**TRENDS, "mean": (0.1, 0.0, 0.9), "steady_trend": (0.4, 0.1, 0.98)}


ExpertFactory = Callable[[Shape], Sequence[Expert]]


def quick_experts(shape: Shape) -> Sequence[Expert]:
    """Levels and trends, the last value first: enough for the next seconds, and scored at every step."""
    return [Trends(shape.horizons_steps, rows=shape.rows, kinds_count=shape.kinds_count, trends=QUICK_TRENDS)]


def all_experts(shape: Shape) -> Sequence[Expert]:
    """Levels and trends, a season ago where a season is given, and the regressions."""
    rows, kinds, size = shape.rows, shape.kinds_count, shape.features_count
    experts: list[Expert] = [Trends(shape.horizons_steps, rows=rows, kinds_count=kinds, trends=TRENDS)]
    if shape.season_steps is not None:
        experts.append(ASeasonAgo(kinds))
    return [
        *experts,
        LinearExpert(shape.horizons_steps, rows=rows, kinds_count=kinds, size=size),
        RidgeExpert(shape.horizons_steps, rows=rows, kinds_count=kinds, size=size),
    ]


class SeriesForecaster:
    """
    Online forecaster of many series at several horizons; every series is forecast as if it were alone, but for what a new one borrows.

    Args:
        horizons_steps: How far ahead, in steps, rising.
        season_steps: Length of a season, at least the longest horizon; None when none is known.
        rows: Series at first.
        kinds_count: Series of unlike kinds take turns: a new one borrows from its kind (row modulo this).
        experts: Who is asked.

    Raises:
        ValueError: Horizons do not rise from at least 1, or the season is shorter than the longest.

    >>> forecaster = SeriesForecaster((1, 5), rows=2)
    >>> for _ in range(3): forecaster.learn(np.array((3.0, 7.0)))
    >>> forecaster.p50.round(3).tolist()
    [[3.0, 7.0], [3.0, 7.0]]
    """

    def __init__(
        self, horizons_steps: tuple[int, ...], *, season_steps: int | None = None, rows: int = 1, kinds_count: int = 1,
        experts: ExpertFactory = all_experts,
    ) -> None:  # fmt: skip
        if not horizons_steps or horizons_steps[0] < 1 or list(horizons_steps) != sorted(set(horizons_steps)):
            raise ValueError(f"horizons {horizons_steps!r} must rise from at least 1")
        if season_steps is not None and season_steps < horizons_steps[-1]:
            raise ValueError(f"season of {season_steps} steps is shorter than the longest horizon, {horizons_steps[-1]}")
        self._ahead = np.array(horizons_steps)
        self._history = History(horizons_steps, rows=rows, kinds_count=kinds_count, season_steps=season_steps)
        shape = Shape(
            horizons_steps=horizons_steps, season_steps=season_steps, features_count=self._history.size, rows=rows, kinds_count=kinds_count
        )
        self._experts = experts(shape)
        self.names = tuple(name for expert in self._experts for name in expert.names)
        self._needs_origin = any(expert.needs_origin for expert in self._experts)
        self._past = Past(shape, len(self.names))
        self._mix = Mix(horizons_steps, len(self.names), rows=rows, kinds_count=kinds_count)
        self._band = Band(horizons_steps, rows=rows, kinds_count=kinds_count)
        self._score = Score(kinds_count, len(horizons_steps), rows)
        self._outlook = Outlook(kinds_count, len(horizons_steps), rows)
        self._parts: list[Any] = [self._history, *self._experts, self._past, self._mix, self._band, self._score, self._outlook]

    def take(self, kept: Rows, more: int = 0) -> None:
        """Keep these rows, in this order, and make room for more, to be begun."""
        for part in self._parts:
            part.take(kept, more)

    def begin(self, rows: Rows) -> None:
        """New series in these rows; they begin with what was lent."""
        for part in self._parts:
            part.begin(rows)
        self._past.born[rows] = self._history.step + 1

    def lend(self, lenders: Rows) -> None:
        """Those that come later begin with what these rows have come to."""
        for part in self._parts:
            part.lend(lenders)

    @property
    def counts(self) -> Rows:
        """Per series: values learned."""
        return self._history.count

    @property
    def newest(self) -> Vector:
        """Per series: its newest value."""
        return self._history.value

    @property
    def p50(self) -> Vector:
        """Horizons x series: medians said last; 0 before the first."""
        return self._outlook.p50

    @property
    def p90(self) -> Vector:
        """Horizons x series: upper quantiles said last."""
        return self._outlook.p90

    @property
    def leaders(self) -> Rows:
        """Horizons x series: number in ``names`` of the expert with the largest weight."""
        return self._outlook.leader

    def learn(self, values: Vector, *, opens_origin: bool = True) -> None:
        """
        The series go on: score and learn what these values are the truth for, then forecast from them.

        Args:
            values: The next value of each series, finite and from 0 to ``VALUE_MAX``; the caller checks.
            opens_origin: Whether a forecast is made here; without it only cheap experts are asked, to be scored.
        """
        asked = self._history.step + 1 - self._ahead
        which = np.flatnonzero(self._past.held[asked % self._past.depth] == asked)
        if which.size:
            self._close(which, asked[which], values)
        self._history.observe(values)
        for expert in self._experts:
            expert.observe(self._history)
        if opens_origin or not self._needs_origin:
            self._open(opens_origin)

    def _open(self, opens_origin: bool) -> None:
        history, past = self._history, self._past
        step, at = history.step, history.step % past.depth
        origin = None
        if opens_origin:
            origin = history.origin()
            past.keep(origin)
        opinions = np.concatenate([expert.predict(history, origin) for expert in self._experts], axis=1)
        np.minimum(np.maximum(opinions, 0.0, out=opinions), VALUE_MAX, out=opinions)
        past.held[at], past.opinions[at] = step, opinions
        if opens_origin:
            past.said[at] = step
            past.mixed[at], past.p50[at], past.p90[at] = self._say(opinions, slice(None))
        elif (new := history.count == 1).any():  # who has just come is forecast at once
            self._say(opinions, new)

    def _say(self, opinions: Vector, rows: Any) -> tuple[Vector, Vector, Vector]:
        weights = self._mix.weights(opinions)
        mixed = (weights * np.where(weights > 0.0, opinions, 0.0)).sum(axis=1)
        trusted = self._mix.has_earned_trust
        p50 = np.where(trusted, mixed, opinions[:, 0])
        p90 = np.minimum(self._band.upper(p50, scale=self._history.scale), 4 * VALUE_MAX)
        outlook = self._outlook
        leader = np.where(trusted, weights.argmax(axis=1), 0)
        outlook.p50[:, rows], outlook.p90[:, rows], outlook.leader[:, rows] = p50[:, rows], p90[:, rows], leader[:, rows]
        return mixed, p50, p90

    def _close(self, which: Rows, steps: Rows, truth: Vector) -> None:
        past = self._past
        at = steps % past.depth
        known = (past.born <= steps[:, None]).astype(float)
        self._mix.learn(which, past.opinions[at, which], truth, known)
        if (said := past.said[at] == steps).any():
            which, steps, at, known = which[said], steps[said], at[said], known[said]
            origins = past.origins(steps)
            for expert in self._experts:
                expert.learn(which, origins, truth, known)
            p50, p90 = past.p50[at, which], past.p90[at, which]
            self._mix.judge(which, past.mixed[at, which], origins.value, truth, known)
            self._band.learn(which, median=p50, upper=p90, scale=origins.scale, truth=truth, known=known)
            self._score.learn(which, p50, p90, origins.value, truth, known)

    @property
    def scores(self) -> Score:
        """How well each horizon of each series was forecast so far."""
        return self._score

    def errors(self, row: int = 0) -> tuple[ErrorSoFar, ...]:
        """How well each horizon of a series was forecast so far."""
        return self._score.of(row)

"""Forecasts of one series, some steps ahead, learned online: predict first, learn when the truth has arrived."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from streams.models.band import Band
from streams.models.experts import ASeasonAgo, DampedTrend, Expert, LastValue
from streams.models.history import VALUE_MAX, History, Origin, checked
from streams.models.mix import Mix
from streams.models.regression import LinearExpert, RidgeExpert

SCORE_RATE = 1 / 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiles:
    """Median and upper quantile of a value ahead; finite, >= 0, never crossed."""

    p50: float
    p90: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorSoFar:
    """
    How well one horizon was forecast, over about the last thousand forecasts whose instant has passed.

    Attributes:
        count: Forecasts scored since the start.
        mae: Mean absolute error of the median.
        mae_last_value: The same of the last value.
        coverage: Share of truths at or below the upper quantile.
    """

    count: int
    mae: float
    mae_last_value: float
    coverage: float


ExpertFactory = Callable[[tuple[int, ...], int | None], Sequence[Expert]]


def quick_experts(horizons_steps: tuple[int, ...], season_steps: int | None) -> Sequence[Expert]:
    """The cheap experts, the last value first: enough for the next seconds."""
    experts: list[Expert] = [
        LastValue(horizons_steps),
        DampedTrend("level", horizons_steps, level_rate=0.3, trend_rate=0.0),
        DampedTrend("damped_trend", horizons_steps, level_rate=0.9, trend_rate=0.3),
        LinearExpert(horizons_steps),
    ]
    return experts if season_steps is None else [*experts, ASeasonAgo()]


def all_experts(horizons_steps: tuple[int, ...], season_steps: int | None) -> Sequence[Expert]:
    """The cheap experts and the ridge regressions."""
    return [*quick_experts(horizons_steps, season_steps), RidgeExpert(horizons_steps)]


@dataclass(frozen=True, slots=True, eq=False)
class _Outlook:
    """What was said at an origin about one horizon."""

    opinions: Sequence[float]
    mixed: float
    said: Quantiles


class _Horizon:
    """Mix, band and score of one horizon."""

    def __init__(self, steps: int, experts_count: int) -> None:
        self.mix = Mix(experts_count)
        self.band = Band(steps)
        self.score = ErrorSoFar(count=0, mae=0.0, mae_last_value=0.0, coverage=1.0)

    def open(self, origin: Origin, opinions: Sequence[float]) -> _Outlook:
        mixed = self.mix.combine(opinions)
        median = mixed if self.mix.has_earned_trust else origin.value
        upper = self.band.upper(median, scale=origin.scale)
        return _Outlook(opinions, mixed, Quantiles(p50=median, p90=min(upper, 4 * VALUE_MAX)))

    def close(self, outlook: _Outlook, origin: Origin, truth: float) -> None:
        said = outlook.said
        so_far = self.score
        rate = max(SCORE_RATE, 1 / (so_far.count + 1))
        self.score = ErrorSoFar(
            count=so_far.count + 1,
            mae=so_far.mae + rate * (abs(said.p50 - truth) - so_far.mae),
            mae_last_value=so_far.mae_last_value + rate * (abs(origin.value - truth) - so_far.mae_last_value),
            coverage=so_far.coverage + rate * ((truth <= said.p90) - so_far.coverage),
        )
        self.mix.learn(outlook.opinions, outlook.mixed, truth)
        self.band.learn(median=said.p50, upper=said.p90, truth=truth)


class DemandForecaster:
    """
    Online forecaster of one series at several horizons.

    Args:
        horizons_steps: How far ahead, in steps, rising.
        season_steps: Length of a season, at least the longest horizon; None when none is known.
        experts: Who is asked.

    Raises:
        ValueError: Horizons do not rise from at least 1, or the season is shorter than the longest.

    >>> forecaster = DemandForecaster((1, 5))
    >>> for value in (3.0, 3.0, 3.0): forecaster.learn(value)
    >>> [round(ahead.p50, 3) for ahead in forecaster.forecast()]
    [3.0, 3.0]
    """

    def __init__(self, horizons_steps: tuple[int, ...], *, season_steps: int | None = None, experts: ExpertFactory = all_experts) -> None:
        if not horizons_steps or horizons_steps[0] < 1 or list(horizons_steps) != sorted(set(horizons_steps)):
            raise ValueError(f"horizons {horizons_steps!r} must rise from at least 1")
        if season_steps is not None and season_steps < horizons_steps[-1]:
            raise ValueError(f"season of {season_steps} steps is shorter than the longest horizon, {horizons_steps[-1]}")
        self.horizons_steps = horizons_steps
        self._season = season_steps
        self._make_experts = experts
        self._begin()

    def _begin(self) -> None:
        self._history = History(self.horizons_steps, season_steps=self._season)
        self._experts = self._make_experts(self.horizons_steps, self._season)
        self._names = [name for expert in self._experts for name in expert.names]
        self._horizons = [_Horizon(steps, len(self._names)) for steps in self.horizons_steps]
        self._open: dict[int, tuple[Origin, list[_Outlook]]] = {}
        self._newest: list[_Outlook] = []

    @property
    def count(self) -> int:
        """Values learned."""
        return self._history.count

    def learn(self, value: float, *, opens_origin: bool = True) -> None:
        """
        The series goes on: score and learn what this value is the truth for, then forecast from it.

        Args:
            value: The next value of the series.
            opens_origin: Whether a forecast is made here; without it a step costs next to nothing.

        Raises:
            ValueError: Not a finite number >= 0; nothing is learned from it.
        """
        value = checked(value)
        step = self._history.count
        for index, ahead in enumerate(self.horizons_steps):
            if (opened := self._open.get(step - ahead)) is not None:
                origin, outlooks = opened
                for expert in self._experts:
                    expert.learn(index, origin, value)
                self._horizons[index].close(outlooks[index], origin, value)
        self._open.pop(step - self.horizons_steps[-1], None)
        self._history.observe(value)
        for expert in self._experts:
            expert.observe(value)
        if opens_origin:
            self._predict()

    def _predict(self) -> None:
        origin = self._history.origin()
        opinions = [
            [value if 0.0 <= value <= VALUE_MAX else _bounded(value) for value in opinion]
            for expert in self._experts
            for opinion in expert.predict(origin)
        ]
        self._newest = [horizon.open(origin, said) for horizon, said in zip(self._horizons, zip(*opinions, strict=True), strict=True)]
        self._open[origin.step] = (origin, self._newest)

    def forecast(self) -> tuple[Quantiles, ...]:
        """What was said at the newest origin, per horizon; zeros before the first."""
        if not self._newest:
            return (Quantiles(p50=0.0, p90=0.0),) * len(self.horizons_steps)
        return tuple(outlook.said for outlook in self._newest)

    def errors(self) -> tuple[ErrorSoFar, ...]:
        """How well each horizon was forecast so far."""
        return tuple(horizon.score for horizon in self._horizons)

    def leaders(self) -> tuple[str, ...]:
        """Name of the expert with the largest weight, per horizon."""
        if not self._newest:
            return (self._names[0],) * len(self.horizons_steps)
        names = []
        for horizon, outlook in zip(self._horizons, self._newest, strict=True):
            weights = horizon.mix.weights(outlook.opinions)
            names.append(self._names[weights.index(max(weights)) if horizon.mix.has_earned_trust else 0])
        return tuple(names)

    def relearn(self, series: Iterable[float]) -> None:
        """Forget everything, then learn a series in order: the state is as if it had learned nothing else."""
        self._begin()
        for value in series:
            self.learn(value)


def _bounded(value: float) -> float:
    """The forecast within the range of values; NaN stays."""
    return min(max(value, 0.0), VALUE_MAX)  # both keep their first argument when it is NaN

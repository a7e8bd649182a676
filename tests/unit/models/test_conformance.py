"""The contract of every model and expert, over every made audience; a new expert is found by itself."""

import importlib
import inspect
import math
import pickle
import pkgutil

import numpy as np
import pytest

import streams.models
from streams.models.demand import DemandForecaster
from streams.models.experts import Expert, Trends
from streams.models.history import History, Origin
from streams.models.past import Shape
from streams.models.series import ExpertFactory, all_experts, quick_experts
from tests.unit.models.series import ALL, Make, wander, waves

HORIZONS = (1, 4, 12)
SEASON = 50
CASES = [
    pytest.param(experts, season, id=f"{experts.__name__}-{season}")
    for experts in (quick_experts, all_experts)
    for season in (None, SEASON)
    if season is None or experts is all_experts
]
AUDIENCES = [pytest.param(make, id=make.__name__) for make in ALL]


def expert_classes() -> list[type]:
    """Every class of ``streams.models`` that can predict and learn a truth."""
    found = set()
    for module in pkgutil.iter_modules(streams.models.__path__, "streams.models."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if all(hasattr(kind, verb) for verb in ("observe", "predict", "learn")) and kind is not Expert:
                found.add(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def shape(rows: int) -> Shape:
    features = History(HORIZONS, rows=rows, season_steps=SEASON).size
    return Shape(horizons_steps=HORIZONS, season_steps=SEASON, features_count=features, rows=rows, kinds_count=1)


def fresh(rows: int = 2) -> list[Expert]:
    """Every expert in use, new."""
    return list(all_experts(shape(rows)))


def drive(expert: Expert, *series: list[float]) -> np.ndarray:
    """All forecasts of one expert for series side by side, in the order of the contract: learn, observe, predict."""
    history, said = History(HORIZONS, rows=len(series), season_steps=SEASON), []
    origins: dict[int, Origin] = {}
    for step, values in enumerate(zip(*series, strict=True)):
        truth = np.array(values)
        for index, horizon in enumerate(HORIZONS):
            if (origin := origins.get(step - horizon)) is not None:
                batch = Origin(*(np.asarray(getattr(origin, field))[None] for field in origin.__slots__))
                expert.learn(np.array([index]), batch, truth, np.ones((1, truth.size)))
        history.observe(truth)
        expert.observe(history)
        origins[step] = history.origin()
        said.append(expert.predict(history, origins[step]))
    return np.array(said)


def test_every_expert_of_the_package_is_in_the_mix() -> None:
    assert expert_classes() == sorted({type(expert) for expert in fresh()}, key=lambda kind: kind.__name__)


NUMBERS = pytest.mark.parametrize("number", range(len(fresh())), ids=lambda n: fresh()[n].names[0])


@NUMBERS
@pytest.mark.parametrize("make", AUDIENCES)
def test_an_expert_says_one_finite_number_or_nothing_per_opinion_horizon_and_series(number: int, make: Make) -> None:
    expert = fresh()[number]
    said = drive(expert, make(1, 200), make(2, 200))
    assert said.shape == (200, len(HORIZONS), len(expert.names), 2)
    assert not np.isinf(said).any()


@NUMBERS
def test_an_expert_is_deterministic_and_does_not_look_ahead(number: int) -> None:
    whole, part = drive(fresh(1)[number], waves(1, 200)), drive(fresh(1)[number], waves(1, 200)[:120])
    assert np.array_equal(whole[:120], part, equal_nan=True)


@NUMBERS
def test_an_expert_judges_every_series_by_itself(number: int) -> None:
    together = drive(fresh()[number], waves(1, 150), wander(2, 150))
    for row, values in enumerate((waves(1, 150), wander(2, 150))):
        assert drive(fresh(1)[number], values)[..., 0] == pytest.approx(together[..., row], rel=1e-9, nan_ok=True)


@NUMBERS
def test_an_expert_has_bounded_memory(number: int) -> None:
    sizes = []
    for count in (200, 800):
        expert = fresh()[number]
        drive(expert, wander(1, count), wander(2, count))
        sizes.append(len(pickle.dumps(expert)))
    assert sizes[1] <= sizes[0] * 1.05 + 50


@pytest.mark.parametrize(("experts", "season"), CASES)
@pytest.mark.parametrize("make", AUDIENCES)
def test_forecasts_are_finite_not_negative_and_never_crossed(experts: ExpertFactory, season: int | None, make: Make) -> None:
    forecaster = DemandForecaster(HORIZONS, season_steps=season, experts=experts)
    for value in make(1, 300):
        forecaster.learn_one(value)
        for said in forecaster.quantiles():
            assert 0.0 <= said.p50 <= said.p90 < math.inf


@pytest.mark.parametrize(("experts", "season"), CASES)
def test_equal_series_give_equal_forecasts_and_relearning_equals_learning(experts: ExpertFactory, season: int | None) -> None:
    first, second = (DemandForecaster(HORIZONS, season_steps=season, experts=experts) for _ in range(2))
    for value in waves(1, 200):
        first.learn_one(value)
    for value in wander(2, 90):
        second.learn_one(value)
    second.relearn(waves(1, 200))
    assert second.quantiles() == first.quantiles()
    assert second.errors() == first.errors()
    for value in waves(3, 50):
        first.learn_one(value)
        second.learn_one(value)
    assert second.quantiles() == first.quantiles()


@pytest.mark.parametrize(("experts", "season"), CASES)
def test_a_saved_and_loaded_forecaster_goes_on_with_equal_forecasts(experts: ExpertFactory, season: int | None) -> None:
    forecaster = DemandForecaster(HORIZONS, season_steps=season, experts=experts)
    for value in waves(1, 150):
        forecaster.learn_one(value)
    loaded = pickle.loads(pickle.dumps(forecaster))  # noqa: S301 -- our own bytes
    for value in waves(2, 60):
        forecaster.learn_one(value)
        loaded.learn_one(value)
    assert loaded.quantiles() == forecaster.quantiles()


@pytest.mark.parametrize(("experts", "season"), CASES)
def test_the_state_does_not_grow_after_warm_up(experts: ExpertFactory, season: int | None) -> None:
    forecaster, sizes = DemandForecaster(HORIZONS, season_steps=season, experts=experts), []
    for step, value in enumerate(wander(1, 900)):
        forecaster.learn_one(value)
        if step in {299, 899}:
            sizes.append(len(pickle.dumps(forecaster)))
    assert sizes[1] <= sizes[0] * 1.05


def test_a_forecast_does_not_depend_on_what_comes_after_it() -> None:
    values, said = wander(4, 300), []
    for count in (200, 300):
        forecaster = DemandForecaster(HORIZONS)
        early = None
        for step, value in enumerate(values[:count]):
            forecaster.learn_one(value)
            early = forecaster.quantiles() if step == 150 else early
        said.append(early)
    assert said[0] == said[1]


def test_without_experts_that_know_more_the_forecast_is_the_last_value() -> None:
    def last_value(shape: Shape) -> list[Expert]:
        return [Trends(shape.horizons_steps, rows=shape.rows, kinds_count=1, trends={"last_value": (1.0, 0.0, 0.9)})]

    forecaster = DemandForecaster((1, 2), experts=last_value)
    for value in (5.0, 8.0, 2.0):
        forecaster.learn_one(value)
    assert [said.p50 for said in forecaster.quantiles()] == [2.0, 2.0]

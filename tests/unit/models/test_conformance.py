"""The contract of every model and expert, over every made audience; a new expert is found by itself."""

import importlib
import inspect
import math
import pickle
import pkgutil

import pytest

import streams.models
from streams.models.demand import DemandForecaster, ExpertFactory, all_experts, quick_experts
from streams.models.experts import Expert, LastValue
from streams.models.history import History, Origin
from tests.unit.models.series import ALL, Make, wander, waves

HORIZONS = (1, 4, 12)
SEASON = 50
CASES = [
    pytest.param(experts, season, id=f"{experts.__name__}-{season}")
    for experts in (quick_experts, all_experts)
    for season in (None, SEASON)
]
AUDIENCES = [pytest.param(make, id=make.__name__) for make in ALL]


def expert_classes() -> list[type]:
    """Every class of ``streams.models`` that can predict at an origin and learn a truth."""
    found = set()
    for module in pkgutil.iter_modules(streams.models.__path__, "streams.models."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if all(hasattr(kind, verb) for verb in ("observe", "predict", "learn")) and kind is not Expert:
                found.add(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def fresh() -> list[Expert]:
    """Every expert in use, new."""
    return list(all_experts(HORIZONS, SEASON))


def drive(expert: Expert, values: list[float]) -> list[list[list[float]]]:
    """All forecasts of one expert, in the order of the contract: learn, observe, predict."""
    history, said = History(HORIZONS, season_steps=SEASON), []
    origins: dict[int, Origin] = {}
    for step, value in enumerate(values):
        for index, horizon in enumerate(HORIZONS):
            if step - horizon in origins:
                expert.learn(index, origins[step - horizon], value)
        history.observe(value)
        expert.observe(value)
        origins[step] = history.origin()
        said.append([list(opinion) for opinion in expert.predict(origins[step])])
    return said


def test_every_expert_of_the_package_is_in_the_mix() -> None:
    assert expert_classes() == sorted({type(expert) for expert in fresh()}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("number", range(len(fresh())), ids=lambda n: fresh()[n].names[0])
@pytest.mark.parametrize("make", AUDIENCES)
def test_an_expert_says_one_finite_number_or_nothing_per_opinion_and_horizon(number: int, make: Make) -> None:
    expert = fresh()[number]
    for said in drive(expert, make(1, 200)):
        assert len(said) == len(expert.names)
        for opinion in said:
            assert len(opinion) == len(HORIZONS)
            assert not any(math.isinf(value) for value in opinion)


@pytest.mark.parametrize("number", range(len(fresh())), ids=lambda n: fresh()[n].names[0])
def test_an_expert_is_deterministic_and_does_not_look_ahead(number: int) -> None:
    values = waves(1, 200)
    whole, part = drive(fresh()[number], values), drive(fresh()[number], values[:120])
    assert repr(whole[:120]) == repr(part)


@pytest.mark.parametrize("number", range(len(fresh())), ids=lambda n: fresh()[n].names[0])
def test_an_expert_has_bounded_memory(number: int) -> None:
    sizes = []
    for count in (400, 1_600):
        expert = fresh()[number]
        drive(expert, wander(1, count))
        sizes.append(len(pickle.dumps(expert)))
    assert sizes[1] <= sizes[0] * 1.05 + 50


@pytest.mark.parametrize(("experts", "season"), CASES)
@pytest.mark.parametrize("make", AUDIENCES)
def test_forecasts_are_finite_not_negative_and_never_crossed(experts: ExpertFactory, season: int | None, make: Make) -> None:
    forecaster = DemandForecaster(HORIZONS, season_steps=season, experts=experts)
    for value in make(1, 300):
        forecaster.learn(value)
        for said in forecaster.forecast():
            assert 0.0 <= said.p50 <= said.p90 < math.inf


@pytest.mark.parametrize(("experts", "season"), CASES)
def test_equal_series_give_equal_forecasts_and_relearning_equals_learning(experts: ExpertFactory, season: int | None) -> None:
    first, second = (DemandForecaster(HORIZONS, season_steps=season, experts=experts) for _ in range(2))
    for value in waves(1, 200):
        first.learn(value)
    for value in wander(2, 90):
        second.learn(value)
    second.relearn(waves(1, 200))
    assert second.forecast() == first.forecast()
    assert second.errors() == first.errors()
    for value in waves(3, 50):
        first.learn(value)
        second.learn(value)
    assert second.forecast() == first.forecast()


@pytest.mark.parametrize(("experts", "season"), CASES)
def test_a_saved_and_loaded_forecaster_goes_on_with_equal_forecasts(experts: ExpertFactory, season: int | None) -> None:
    forecaster = DemandForecaster(HORIZONS, season_steps=season, experts=experts)
    for value in waves(1, 150):
        forecaster.learn(value)
    loaded = pickle.loads(pickle.dumps(forecaster))  # noqa: S301 -- our own bytes
    for value in waves(2, 60):
        forecaster.learn(value)
        loaded.learn(value)
    assert loaded.forecast() == forecaster.forecast()


@pytest.mark.parametrize(("experts", "season"), CASES)
def test_the_state_does_not_grow_after_warm_up(experts: ExpertFactory, season: int | None) -> None:
    forecaster, sizes = DemandForecaster(HORIZONS, season_steps=season, experts=experts), []
    for step, value in enumerate(wander(1, 2_400)):
        forecaster.learn(value)
        if step in {799, 2_399}:
            sizes.append(len(pickle.dumps(forecaster)))
    assert sizes[1] <= sizes[0] * 1.05


def test_a_forecast_does_not_depend_on_what_comes_after_it() -> None:
    values, said = wander(4, 300), []
    for count in (200, 300):
        forecaster = DemandForecaster(HORIZONS)
        early = None
        for step, value in enumerate(values[:count]):
            forecaster.learn(value)
            early = forecaster.forecast() if step == 150 else early
        said.append(early)
    assert said[0] == said[1]


def test_without_experts_that_know_more_the_forecast_is_the_last_value() -> None:
    forecaster = DemandForecaster((1, 2), experts=lambda horizons, _: [LastValue(horizons)])
    for value in (5.0, 8.0, 2.0):
        forecaster.learn(value)
    assert [said.p50 for said in forecaster.forecast()] == [2.0, 2.0]

"""What the forecaster of one series promises."""

import math

import pytest

from streams.models.band import Band
from streams.models.demand import DemandForecaster
from streams.models.mix import Mix
from tests.unit.models.series import bursts, steady, wander, waves


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 1e16])
def test_a_value_that_is_no_demand_is_refused_and_changes_nothing(bad: float) -> None:
    forecaster = DemandForecaster((1, 3))
    for value in (4.0, 5.0, 6.0):
        forecaster.learn(value)
    before = forecaster.forecast()
    with pytest.raises(ValueError, match="is not a number from 0"):
        forecaster.learn(bad)
    assert (forecaster.count, forecaster.forecast()) == (3, before)


@pytest.mark.parametrize("horizons", [(), (0,), (3, 2), (2, 2), (-1, 1)])
def test_horizons_that_do_not_rise_are_refused(horizons: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        DemandForecaster(horizons)


def test_a_season_shorter_than_the_longest_horizon_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than the longest horizon"):
        DemandForecaster((1, 30), season_steps=20)


def test_before_the_first_value_nobody_is_forecast() -> None:
    assert [(said.p50, said.p90) for said in DemandForecaster((1, 2)).forecast()] == [(0.0, 0.0)] * 2


def test_nobody_for_long_forecasts_nobody() -> None:
    forecaster = DemandForecaster((1, 6))
    for _ in range(200):
        forecaster.learn(0.0)
    assert [(said.p50, said.p90) for said in forecaster.forecast()] == [(0.0, 0.0)] * 2


def test_a_horizon_is_scored_only_when_it_has_passed() -> None:
    forecaster = DemandForecaster((1, 10))
    for value in wander(1, 10):
        forecaster.learn(value)
    assert [error.count for error in forecaster.errors()] == [9, 0]


def test_steps_without_an_origin_are_neither_forecast_nor_scored() -> None:
    forecaster = DemandForecaster((2, 5))
    for step, value in enumerate(wander(1, 51)):
        forecaster.learn(value, opens_origin=step % 5 == 0)
    assert [error.count for error in forecaster.errors()] == [10, 10]


def test_a_wave_is_foreseen_better_than_the_last_value() -> None:
    forecaster = DemandForecaster((1, 6, 20))
    for value in waves(1, 2_000):
        forecaster.learn(value)
    assert all(error.mae < bound * error.mae_last_value for error, bound in zip(forecaster.errors(), (0.9, 0.5, 0.35), strict=True))


def test_a_season_is_learned_once_it_has_been_seen() -> None:
    forecaster = DemandForecaster((6,), season_steps=48)
    for step in range(48 * 12):
        forecaster.learn(100.0 if step % 48 in {10, 11, 30} else 10.0)
    error = forecaster.errors()[0]
    assert error.mae < 0.4 * error.mae_last_value


def test_noise_is_averaged_out_and_a_walk_is_left_to_the_last_value() -> None:
    noisy, walk = DemandForecaster((5,)), DemandForecaster((5,))
    for value, step in zip(steady(1, 1_000), wander(1, 1_000), strict=True):
        noisy.learn(value)
        walk.learn(step)
    assert noisy.errors()[0].mae < 0.85 * noisy.errors()[0].mae_last_value
    assert noisy.leaders() != ("last_value",)
    assert 0.97 < walk.errors()[0].mae / walk.errors()[0].mae_last_value < 1.03


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [steady, wander, waves])
def test_the_upper_quantile_covers_nine_of_ten(make: object, seed: int) -> None:
    forecaster = DemandForecaster((1, 6, 30))
    for value in make(seed, 2_500):  # type: ignore[operator]
        forecaster.learn(value)
    for error in forecaster.errors():
        assert 0.87 <= error.coverage <= 0.93


def test_the_upper_quantile_of_a_mostly_silent_signal_covers_at_least_nine_of_ten() -> None:
    forecaster = DemandForecaster((1, 6))
    for value in bursts(1, 2_500):
        forecaster.learn(value)
    assert all(error.coverage >= 0.88 for error in forecaster.errors())


def test_a_jump_of_the_audience_widens_the_band_and_calm_narrows_it() -> None:
    band = Band(1)
    for _ in range(100):
        band.learn(median=100.0, upper=110.0, truth=105.0)
    calm = band.upper(100.0, scale=0.1)
    for _ in range(20):
        band.learn(median=100.0, upper=band.upper(100.0, scale=0.1), truth=180.0)
    shaken = band.upper(100.0, scale=0.1)
    for _ in range(600):
        band.learn(median=100.0, upper=band.upper(100.0, scale=0.1), truth=105.0)
    assert calm < 180.0 < shaken
    assert band.upper(100.0, scale=0.1) < 120.0


def test_the_mix_listens_to_whoever_was_right_and_ignores_who_has_no_opinion() -> None:
    mix = Mix(3)
    for _ in range(40):
        mix.learn((10.0, 20.0, math.nan), mix.combine((10.0, 20.0, math.nan)), 20.0)
    assert mix.weights((10.0, 20.0, math.nan))[1] > 0.99
    assert mix.combine((10.0, 20.0, math.nan)) == pytest.approx(20.0)
    assert mix.weights((10.0, math.nan, math.nan)) == [1.0, 0.0, 0.0]


def test_a_mix_that_has_lately_been_worse_loses_trust_and_earns_it_back() -> None:
    mix = Mix(2)
    for _ in range(60):
        mix.learn((10.0, 15.0), 15.0, 10.5)
    assert not mix.has_earned_trust
    for _ in range(200):
        mix.learn((10.0, 15.0), 15.0, 15.0)
    assert mix.has_earned_trust

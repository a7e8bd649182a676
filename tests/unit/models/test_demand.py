"""What the forecaster of one series promises."""

import math

import numpy as np
import pytest
from river.time_series.base import Forecaster

from streams.models.band import Band
from streams.models.demand import DemandForecaster
from streams.models.mix import Mix
from streams.models.series import SeriesForecaster, quick_experts
from tests.unit.models.series import bursts, steady, wander, waves


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 1e16])
def test_a_value_that_is_no_demand_is_refused_and_changes_nothing(bad: float) -> None:
    forecaster = DemandForecaster((1, 3))
    for value in (4.0, 5.0, 6.0):
        forecaster.learn_one(value)
    before = forecaster.quantiles()
    with pytest.raises(ValueError, match="is not a number from 0"):
        forecaster.learn_one(bad)
    assert (forecaster.errors()[0].count, forecaster.quantiles()) == (2, before)


@pytest.mark.parametrize("horizons", [(), (0,), (3, 2), (2, 2), (-1, 1)])
def test_horizons_that_do_not_rise_are_refused(horizons: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        DemandForecaster(horizons)


def test_a_season_shorter_than_the_longest_horizon_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than the longest horizon"):
        DemandForecaster((1, 30), season_steps=20)


def test_before_the_first_value_nobody_is_forecast() -> None:
    assert [(said.p50, said.p90) for said in DemandForecaster((1, 2)).quantiles()] == [(0.0, 0.0)] * 2


def test_nobody_for_long_forecasts_nobody() -> None:
    forecaster = DemandForecaster((1, 6))
    for _ in range(200):
        forecaster.learn_one(0.0)
    assert all(said.p50 == 0.0 and said.p90 < 0.01 for said in forecaster.quantiles())


def test_a_horizon_is_scored_only_when_it_has_passed() -> None:
    forecaster = DemandForecaster((1, 10))
    for value in wander(1, 10):
        forecaster.learn_one(value)
    assert [error.count for error in forecaster.errors()] == [9, 0]


def test_steps_without_an_origin_are_neither_forecast_nor_scored() -> None:
    forecaster = SeriesForecaster((2, 5))
    for step, value in enumerate(wander(1, 51)):
        forecaster.learn(np.array([value]), opens_origin=step % 5 == 0)
    assert [error.count for error in forecaster.errors()] == [10, 10]


def test_a_wave_is_foreseen_better_than_the_last_value() -> None:
    forecaster = DemandForecaster((1, 6, 20))
    for value in waves(1, 1_200):
        forecaster.learn_one(value)
    assert all(error.mae < bound * error.mae_last_value for error, bound in zip(forecaster.errors(), (0.9, 0.5, 0.35), strict=True))


def test_a_season_is_learned_once_it_has_been_seen() -> None:
    forecaster = DemandForecaster((6,), season_steps=48)
    for step in range(48 * 12):
        forecaster.learn_one(100.0 if step % 48 in {10, 11, 30} else 10.0)
    error = forecaster.errors()[0]
    assert error.mae < 0.4 * error.mae_last_value


def test_noise_is_averaged_out_and_a_walk_is_left_to_the_last_value() -> None:
    noisy, walk = DemandForecaster((5,)), DemandForecaster((5,))
    for value, step in zip(steady(1, 1_000), wander(1, 1_000), strict=True):
        noisy.learn_one(value)
        walk.learn_one(step)
    assert noisy.errors()[0].mae < 0.85 * noisy.errors()[0].mae_last_value
    assert noisy.leaders() != ("last_value",)
    assert 0.97 < walk.errors()[0].mae / walk.errors()[0].mae_last_value < 1.03


def test_the_upper_quantile_covers_nine_of_ten() -> None:
    audiences = [make(seed, 2_500) for make in (steady, wander, waves) for seed in range(3)]
    forecaster = SeriesForecaster((1, 6, 30), rows=len(audiences))
    for values in zip(*audiences, strict=True):
        forecaster.learn(np.array(values))
    for row in range(len(audiences)):
        for error in forecaster.errors(row):
            assert 0.87 <= error.coverage <= 0.93


def test_the_upper_quantile_of_a_mostly_silent_signal_covers_at_least_nine_of_ten() -> None:
    forecaster = DemandForecaster((1, 6))
    for value in bursts(1, 1_500):
        forecaster.learn_one(value)
    assert all(error.coverage >= 0.88 for error in forecaster.errors())


def test_after_a_change_of_regime_the_coverage_returns_within_a_hundred_steps() -> None:
    """Calm audiences become wild ones, then calm again."""
    rng, length = np.random.default_rng(4), 500
    spread = np.repeat((15.0, 60.0, 15.0), length)
    values = np.maximum(0.0, 30_000 + np.cumsum(rng.normal(0, 1, (3 * length, 8)) * spread[:, None], axis=0))
    forecaster, said = SeriesForecaster((1, 6), rows=8), []
    for row in values:
        forecaster.learn(row)
        said.append(forecaster.p90.copy())
    for index, ahead in enumerate((1, 6)):
        for change in (length, 2 * length):
            steps = np.arange(change + 100, change + length - ahead)
            covered = values[steps + ahead] <= np.array(said)[steps, index]
            assert 0.87 <= covered.mean() <= 0.93


def column(*values: float) -> np.ndarray:
    """Experts of one horizon and one series."""
    return np.array(values)[None, :, None]


FIRST, SEEN = np.array([0]), np.ones((1, 1))


def test_a_jump_of_the_audience_widens_the_band_and_calm_narrows_it() -> None:
    band, median, scale = Band((1,), rows=1), np.array([[100.0]]), np.array([[0.1]])

    def upper() -> float:
        return float(band.upper(median, scale=scale)[0, 0])

    def learn(truth: float, times: int) -> float:
        for _ in range(times):
            band.learn(FIRST, median=median, upper=np.array([[upper()]]), scale=scale, truth=np.array([truth]), known=SEEN)
        return upper()

    calm, shaken = learn(105.0, 100), learn(180.0, 40)
    assert calm < 120.0
    assert shaken > 180.0
    assert learn(105.0, 600) < 120.0


def test_the_mix_listens_to_whoever_was_right_and_ignores_who_has_no_opinion() -> None:
    mix, opinions = Mix((1,), 3, rows=1), column(10.0, 20.0, math.nan)
    for _ in range(100):
        mix.learn(FIRST, opinions, np.array([20.0]), SEEN)
    assert mix.weights(opinions)[0, 1, 0] > 0.99
    assert mix.weights(column(10.0, math.nan, math.nan))[0, :, 0].tolist() == [1.0, 0.0, 0.0]


def test_a_mix_that_has_lately_been_worse_loses_trust_and_earns_it_back() -> None:
    mix, last = Mix((1,), 2, rows=1), np.array([[10.0]])
    for _ in range(60):
        mix.judge(FIRST, np.array([[15.0]]), last, np.array([10.5]), SEEN)
    assert not mix.has_earned_trust.any()
    for _ in range(200):
        mix.judge(FIRST, np.array([[15.0]]), last, np.array([15.0]), SEEN)
    assert mix.has_earned_trust.all()


def test_it_is_a_forecaster_of_river_with_a_value_for_every_step_ahead() -> None:
    forecaster = DemandForecaster((2, 6))
    for value in waves(1, 300):
        forecaster.learn_one(value)
    near, far = forecaster.quantiles()
    ahead = forecaster.forecast(8)
    assert isinstance(forecaster, Forecaster)
    assert (ahead[1], ahead[5], ahead[7]) == (near.p50, far.p50, far.p50)
    assert ahead[3] == pytest.approx((near.p50 + far.p50) / 2)
    assert forecaster.clone().quantiles() == DemandForecaster((2, 6)).quantiles()


def test_series_side_by_side_are_forecast_as_each_would_be_alone() -> None:
    together = SeriesForecaster((1, 6), rows=3)
    alone = [SeriesForecaster((1, 6)) for _ in range(3)]
    for values in zip(waves(1, 400), wander(2, 400), bursts(3, 400), strict=True):
        together.learn(np.array(values))
        for one, value in zip(alone, values, strict=True):
            one.learn(np.array([value]))
    assert np.hstack([one.p50 for one in alone]) == pytest.approx(together.p50, rel=1e-9)
    assert np.hstack([one.p90 for one in alone]) == pytest.approx(together.p90, rel=1e-9)


def test_a_ramp_is_foreseen_in_its_seconds() -> None:
    """Viewers come evenly for a minute and a half, as from a push message: the experts of the seconds see it after a few."""
    ratios = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = np.concatenate((np.full(60, 20.0), 20 + np.cumsum(rng.poisson(8, 90)), np.full(60, 740.0)))
        forecaster = SeriesForecaster((2, 5), experts=quick_experts)
        ours, last = np.zeros(2), np.zeros(2)
        for step, value in enumerate(values):
            forecaster.learn(np.array([value]))
            if 60 <= step < 150:
                truth = values[[step + 2, step + 5]]
                ours += np.abs(truth - forecaster.p50[:, 0])
                last += np.abs(truth - value)
        ratios.append(ours / last)
    assert (np.mean(ratios, axis=0) < 0.5).all()

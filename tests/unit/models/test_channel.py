"""What the forecaster of one channel promises."""

import math

import pytest

from schemas.units import Ms, UnixMs
from streams.models.channel import HORIZONS_MS, ChannelForecaster, Second
from tests.unit.models.series import bursts, wander


def seconds(count: int, *, start: int = 1_000, seed: int = 1) -> list[Second]:
    return [
        Second(at_unix_ms=UnixMs((start + i) * 1_000), sessions=sessions, joins=joins)
        for i, (sessions, joins) in enumerate(zip(wander(seed, count), bursts(seed, count), strict=True))
    ]


def learned(series: list[Second]) -> ChannelForecaster:
    forecaster = ChannelForecaster("news")
    for second in series:
        forecaster.learn(second)
    return forecaster


def test_every_horizon_is_forecast_shortest_first() -> None:
    forecast = learned(seconds(400)).forecast()
    assert tuple(ahead.horizon_ms for ahead in forecast.horizons) == HORIZONS_MS
    for ahead in forecast.horizons:
        assert 0 < ahead.sessions_p50 < ahead.sessions_p90 < math.inf
        assert 0 <= ahead.joins_p50 <= ahead.joins_p90 < math.inf


def test_an_unknown_channel_forecasts_nobody_and_its_first_second_at_once() -> None:
    forecaster = ChannelForecaster("news")
    assert {ahead.sessions_p90 for ahead in forecaster.forecast().horizons} == {0.0}
    forecaster.learn(Second(at_unix_ms=UnixMs(7_000), sessions=30, joins=30))
    assert [round(ahead.sessions_p50) for ahead in forecaster.forecast().horizons] == [30] * 5
    assert all(ahead.joins_p90 > 30 for ahead in forecaster.forecast().horizons)


def test_a_forecast_is_made_anew_at_the_end_of_each_step() -> None:
    forecaster = learned(seconds(400))  # 1,399 ends a step
    before = forecaster.forecast()
    for i in range(4):
        forecaster.learn(Second(at_unix_ms=UnixMs((1_400 + i) * 1_000), sessions=5_000, joins=100))
        assert forecaster.forecast().horizons == before.horizons
    forecaster.learn(Second(at_unix_ms=UnixMs(1_404_000), sessions=5_000, joins=100))
    assert all(new.sessions_p90 > old.sessions_p90 for new, old in zip(forecaster.forecast().horizons, before.horizons, strict=True))


def test_a_repeated_or_older_second_changes_nothing() -> None:
    series = seconds(120)
    forecaster, expected = learned(series), learned(series).forecast()
    assert not forecaster.learn(series[-1])
    assert not forecaster.learn(series[3])
    for second in seconds(20, start=1_120, seed=2):
        forecaster.learn(second)
    assert forecaster.forecast() == learned([*series, *seconds(20, start=1_120, seed=2)]).forecast() != expected


def test_missing_seconds_keep_the_sessions_and_bring_no_joins() -> None:
    series = seconds(200)
    last = series[-1].sessions
    filled = [Second(at_unix_ms=UnixMs((1_200 + i) * 1_000), sessions=last, joins=0.0) for i in range(30)]
    late = Second(at_unix_ms=UnixMs(1_230_000), sessions=900, joins=3)
    assert learned([*series, late]).forecast() == learned([*series, *filled, late]).forecast()


def test_after_a_long_silence_the_channel_begins_again() -> None:
    again = seconds(30, start=9_000, seed=3)
    assert learned([*seconds(100), *again]).forecast() == learned(again).forecast()


def test_relearning_equals_learning() -> None:
    forecaster = learned(seconds(90, seed=5))
    forecaster.relearn(seconds(300))
    assert forecaster.forecast() == learned(seconds(300)).forecast()


def test_a_value_that_is_no_demand_is_refused_and_changes_nothing() -> None:
    forecaster = learned(seconds(99))
    for bad in ({"sessions": math.nan, "joins": 1.0}, {"sessions": 1.0, "joins": -1.0}):
        with pytest.raises(ValueError, match="is not a number from 0"):
            forecaster.learn(Second(at_unix_ms=UnixMs(1_099_000), **bad))
    assert forecaster.learn(Second(at_unix_ms=UnixMs(1_099_000), sessions=1, joins=0))


@pytest.mark.parametrize("horizons", [(), (Ms(2_500),), (Ms(7_000),), (Ms(15_000), Ms(2_000)), (Ms(0), Ms(1_000))])
def test_horizons_off_the_grid_are_refused(horizons: tuple[Ms, ...]) -> None:
    with pytest.raises(ValueError, match="must"):
        ChannelForecaster("news", horizons_ms=horizons)


def test_only_far_horizons_are_forecast_too() -> None:
    forecaster = ChannelForecaster("news", horizons_ms=(Ms(60_000),))
    for second in seconds(50):
        forecaster.learn(second)
    assert [ahead.horizon_ms for ahead in forecaster.forecast().horizons] == [60_000]

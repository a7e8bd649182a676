"""What the forecaster of a pool promises."""

import math
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from schemas.records import ChannelForecast
from schemas.units import Ms, UnixMs
from streams.models.pool import HORIZONS_MS, PoolForecaster
from tests.unit.models.series import bursts, wander

Sample = tuple[UnixMs, dict[str, tuple[float, float]]]


def samples(count: int, *, channels: str = "a", start: int = 1_000, seed: int = 1) -> list[Sample]:
    """Seconds of channels that wander, each its own way."""
    series = {
        channel: list(zip(wander(seed + 7 * ord(channel), count), bursts(seed + 7 * ord(channel), count), strict=True))
        for channel in channels
    }
    return [(UnixMs((start + i) * 1_000), {channel: pairs[i] for channel, pairs in series.items()}) for i in range(count)]


def learned(series: list[Sample], **options: object) -> PoolForecaster:
    pool = PoolForecaster(**options)  # type: ignore[arg-type]
    for at, seen in series:
        pool.learn(at, seen)
    return pool


def only(pool: PoolForecaster) -> ChannelForecast:
    (forecast,) = pool.forecast()
    return forecast


def test_every_horizon_of_every_channel_is_forecast_shortest_first() -> None:
    forecasts = learned(samples(400, channels="cab")).forecast()
    assert [forecast.channel for forecast in forecasts] == ["a", "b", "c"]
    for forecast in forecasts:
        assert tuple(ahead.horizon_ms for ahead in forecast.horizons) == HORIZONS_MS
        for ahead in forecast.horizons:
            assert 0 < ahead.sessions_p50 < ahead.sessions_p90 < math.inf
            assert 0 <= ahead.joins_p50 <= ahead.joins_p90 < math.inf


def test_an_empty_pool_says_nothing_and_a_channel_is_forecast_from_its_first_second() -> None:
    pool = PoolForecaster()
    assert pool.forecast() == ()
    pool.learn(UnixMs(7_000), {"a": (30, 30)})
    assert [round(ahead.sessions_p50) for ahead in only(pool).horizons] == [30] * 5
    assert all(ahead.joins_p90 > 30 for ahead in only(pool).horizons)


def test_a_forecast_is_made_anew_at_the_end_of_each_step() -> None:
    pool = learned(samples(400))  # 1,399 ends a step
    before = only(pool)
    for i in range(4):
        pool.learn(UnixMs((1_400 + i) * 1_000), {"a": (5_000, 100)})
        assert only(pool).horizons == before.horizons
    pool.learn(UnixMs(1_404_000), {"a": (5_000, 100)})
    assert all(new.sessions_p90 > old.sessions_p90 for new, old in zip(only(pool).horizons, before.horizons, strict=True))


def test_a_repeated_or_older_second_changes_nothing() -> None:
    series, more = samples(120), samples(20, start=1_120, seed=2)
    pool = learned(series)
    assert not pool.learn(*series[-1])
    assert not pool.learn(*series[3])
    for each in more:
        pool.learn(*each)
    assert pool.forecast() == learned([*series, *more]).forecast() != learned(series).forecast()


def test_missing_seconds_keep_the_sessions_and_bring_no_joins() -> None:
    series = samples(200)
    last, _ = series[-1][1]["a"]
    filled: list[Sample] = [(UnixMs((1_200 + i) * 1_000), {"a": (last, 0.0)}) for i in range(30)]
    late: Sample = (UnixMs(1_230_000), {"a": (900, 3)})
    assert learned([*series, late]).forecast() == learned([*series, *filled, late]).forecast()


def test_a_channel_that_is_not_named_keeps_its_sessions() -> None:
    series = samples(100, channels="ab")
    last, _ = series[-1][1]["b"]
    named: Sample = (UnixMs(1_100_000), {"a": (5, 1), "b": (last, 0.0)})
    unnamed: Sample = (UnixMs(1_100_000), {"a": (5, 1)})
    assert learned([*series, named]).forecast() == learned([*series, unnamed]).forecast()


def test_after_a_long_silence_the_pool_begins_again() -> None:
    again = samples(30, start=9_000, seed=3)
    assert learned([*samples(100), *again]).forecast() == learned(again).forecast()


def test_relearning_equals_learning() -> None:
    pool = learned(samples(90, seed=5))
    pool.relearn(samples(300, channels="abc"))
    assert pool.forecast() == learned(samples(300, channels="abc")).forecast()


def test_a_value_that_is_no_demand_is_refused_and_changes_nothing() -> None:
    pool = learned(samples(99))
    for bad in ((math.nan, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="is not a number from 0"):
            pool.learn(UnixMs(1_099_000), {"b": (1.0, 1.0), "a": bad})
    assert pool.channels == ("a",)
    assert pool.learn(UnixMs(1_099_000), {"a": (1, 0)})


@pytest.mark.parametrize("horizons", [(), (Ms(15_000), Ms(2_000)), (Ms(0), Ms(1_000))])
def test_horizons_that_do_not_rise_are_refused(horizons: tuple[Ms, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        PoolForecaster(horizons_ms=horizons)


def test_a_step_that_is_no_multiple_of_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiple"):
        PoolForecaster(sample_ms=Ms(2_000), step_ms=Ms(5_000))


def test_horizons_between_the_steps_are_rounded_up_and_those_that_meet_say_the_same() -> None:
    pool = learned(samples(100), horizons_ms=(Ms(12_000), Ms(15_000), Ms(60_000)))
    first, second, third = only(pool).horizons
    assert first == second.__class__(**{name: getattr(second, name) for name in second.__slots__} | {"horizon_ms": Ms(12_000)})
    assert third.sessions_p90 > second.sessions_p90


def minutes(count: int) -> Iterator[Sample]:
    for (_, seen), number in zip(samples(count, channels="ab"), range(count), strict=True):
        yield UnixMs(number * 60_000), seen


def test_a_pool_learns_in_steps_of_a_minute_too() -> None:
    pool = PoolForecaster(sample_ms=Ms(60_000), step_ms=Ms(60_000))
    pool.relearn(minutes(200))
    for forecast in pool.forecast():
        *short, long = forecast.horizons
        assert {(ahead.sessions_p50, ahead.sessions_p90) for ahead in short} == {(short[0].sessions_p50, short[0].sessions_p90)}
        assert long.sessions_p90 > short[0].sessions_p90


def test_channels_come_and_go_without_touching_the_others() -> None:
    """What a channel borrows apart: rows are taken, left and taken again."""
    calm, moved = PoolForecaster(borrows=False), PoolForecaster(borrows=False)
    for number, (at, seen) in enumerate(samples(300, channels="ab")):
        calm.learn(at, seen)
        guests = {f"g{n}": (float(n), 1.0) for n in range(number % 7)}
        moved.learn(at, seen | guests)
        if number % 11 == 0:
            moved.forget([channel for channel in moved.channels if channel.startswith("g")])
    kept = {forecast.channel: forecast for forecast in moved.forecast()}
    for forecast in calm.forecast():
        for ahead, again in zip(forecast.horizons, kept[forecast.channel].horizons, strict=True):
            assert again.sessions_p50 == pytest.approx(ahead.sessions_p50, rel=1e-9)
            assert again.joins_p90 == pytest.approx(ahead.joins_p90, rel=1e-9)


def test_a_channel_that_left_begins_anew_when_it_comes_again() -> None:
    pool = learned(samples(100, channels="ab"), borrows=False)
    pool.forget(["a", "unheard-of"])
    assert pool.channels == ("b",)
    for at, seen in samples(20, start=1_100, seed=9):
        pool.learn(at, seen)
    again = learned(samples(20, start=1_100, seed=9))
    assert pool.forecast()[0].horizons[0].sessions_p50 == pytest.approx(only(again).horizons[0].sessions_p50)
    assert pool.errors("a") == again.errors("a")


def test_memory_follows_the_number_of_channels_and_not_time() -> None:
    def size(pool: PoolForecaster) -> int:
        return len(pickle.dumps(pool))

    pool = learned(samples(400, channels="abcdefgh"))
    full = size(pool)
    for at, seen in samples(800, channels="abcdefgh", start=1_400):
        pool.learn(at, seen)
    assert size(pool) <= 1.01 * full
    for turn in range(30):
        pool.learn(UnixMs((2_200 + turn) * 1_000), {f"guest{turn}": (1, 1)})
        pool.forget([f"guest{turn}"])
    assert size(pool) <= 1.5 * full
    pool.forget("bcdefgh")
    assert size(pool) <= 0.3 * full


def audience(seed: int, count: int) -> list[tuple[float, float]]:
    """Seconds of viewers who come at a wandering rate and stay for a while: sessions and joins that belong together."""
    rng, viewers, rate, seconds = np.random.default_rng(seed), 300.0, 3.0, []
    for _ in range(count):
        rate = float(np.clip(rate + rng.normal(0, 0.15), 0.5, 12))
        joins = int(rng.poisson(rate))
        viewers += joins - int(rng.binomial(int(viewers), 1 / 100))
        seconds.append((float(viewers), float(joins)))
    return seconds


def test_a_ramp_of_viewers_is_foreseen() -> None:
    """As after a push message: for a minute and a half people come, and hardly anybody leaves."""
    ours, last_value = np.zeros((3, 2)), np.zeros((3, 2))
    for seed in range(3):
        joins = np.random.default_rng(seed).poisson(np.repeat((0.1, 8.0, 0.1), (120, 90, 60))).astype(float)
        sessions, pool = np.cumsum(joins), PoolForecaster()
        for second, pair in enumerate(zip(sessions.tolist(), joins.tolist(), strict=True)):
            pool.learn(UnixMs(second * 1_000), {"a": pair})
            if 120 <= second < 210 and second % 5 == 4:
                for index, ahead in enumerate((2, 5, 15)):
                    said, at = only(pool).horizons[index], second + ahead
                    span = 5 if ahead > 5 else 1
                    truth = np.array((sessions[at - span + 1 : at + 1].mean(), joins[at - span + 1 : at + 1].mean()))
                    ours[index] += np.abs(np.array((said.sessions_p50, said.joins_p50)) - truth)
                    last_value[index] += np.abs(np.array(pair) - truth)
    assert (ours[:, 0] < np.array((0.6, 0.6, 0.85)) * last_value[:, 0]).all()
    assert (ours[:, 1] < 0.95 * last_value[:, 1]).all()


def error_of_a_newcomer(*, borrows: bool) -> float:
    """Mean absolute error of sessions and joins, 15 s and 60 s ahead, in the first five minutes of a channel, at its own scale."""
    old, total = [audience(seed, 1_500) for seed in range(6)], 0.0
    for seed in range(20, 24):
        pool, new = PoolForecaster(borrows=borrows), audience(seed, 1_500)
        for second in range(1_500):
            seen = {f"old{n}": series[second] for n, series in enumerate(old)}
            pool.learn(UnixMs(second * 1_000), seen | ({"new": new[second]} if second >= 1_100 else {}))
            if second >= 1_110 and second % 5 == 4:
                ahead = next(f for f in pool.forecast() if f.channel == "new").horizons
                for index, steps in ((2, 15), (3, 60)):
                    if second + steps < 1_400:
                        truth = np.mean(new[second + steps - 4 : second + steps + 1], axis=0)
                        total += abs(ahead[index].sessions_p50 - truth[0]) / 300 + abs(ahead[index].joins_p50 - truth[1]) / 3
    return total


def test_a_new_channel_is_forecast_better_with_what_its_pool_has_learned() -> None:
    assert error_of_a_newcomer(borrows=True) < 0.97 * error_of_a_newcomer(borrows=False)

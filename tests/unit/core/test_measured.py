"""What demand says of viewers, beside what is taken for granted before there is any."""

from math import inf
from typing import Any

import pytest

from schemas.records import ChannelDemand, Cost, HorizonForecast, Level, Plan
from schemas.units import Ms, UnixMs
from streams.core.facts import ChannelFacts, read
from streams.core.folds import DEMAND_INTERVAL_MS
from streams.core.length import choose_length
from streams.core.measured import phi, requests_per_object, whole_joins_per_s
from streams.core.policy import Policy
from tests.builders_control import T0, ControlPlane, a_demand, a_forecast, a_period, gops, some_forecasts

WINDOW = Ms(300_000)


def watched(seconds: int = 200, *, forecast: tuple[float, float] = (0.0, 0.0), **seen: Any) -> ChannelFacts:
    """A channel that was seen like this in each second."""
    plane = ControlPlane()
    plane.add("channels", a_period())
    for gop in gops(count=seconds):
        plane.log.pass_ms(1_000)
        plane.add("gops", gop)
        plane.add("demand", a_demand(channels=[ChannelDemand(channel="news", **seen)]))
    plane.add("forecasts", some_forecasts(a_forecast(joins=forecast[0], upper=forecast[1])))
    return read(plane.state, plane.policy, now=plane.now).channels["news"]


def ahead(p50: float, p90: float) -> HorizonForecast:
    return HorizonForecast(horizon_ms=Ms(5_000), sessions_p50=0.0, sessions_p90=0.0, joins_p50=p50, joins_p90=p90)


def test_before_anybody_came_the_settings_stand() -> None:
    facts = watched()
    assert (phi(facts, 0.2), requests_per_object(facts, 1.0)) == (0.2, 1.0)


def test_requests_per_object_are_those_of_viewers_of_whole_segments() -> None:
    few, many = (requests_per_object(watched(whole_sessions=n, requests=3 * n), 1.0) for n in (10, 100))
    # 100 viewers ask three times a second: 300 a second for one object a second (four tracks in 4 s).
    assert 20 < few < 30
    assert 200 < many < 300
    assert requests_per_object(watched(part_sessions=50, whole_sessions=1, requests=600, whole_requests=1), 1.0) < 2


def test_requests_are_not_counted_where_classes_are_not_told_apart() -> None:
    assert requests_per_object(watched(part_sessions=50, whole_sessions=50, requests=600), 1.0) == 1.0


def test_viewers_with_fast_lines_wait_less_and_the_slow_wait_for_the_smallest() -> None:
    slow, fast = (phi(watched(whole_sessions=20, requests=1, throughput_kbps_p50=rate), 0.2) for rate in (1_500, 150_000))
    assert slow > 0.8
    assert fast < 0.05


def test_a_few_seconds_of_one_viewer_change_little() -> None:
    assert phi(watched(20, whole_sessions=1, requests=1, throughput_kbps_p50=150_000), 0.2) == pytest.approx(0.2, rel=0.05)


def test_the_band_around_a_lone_viewer_shortens_nothing() -> None:
    facts = watched(whole_sessions=1, requests=1, forecast=(0.0, 0.6))
    assert whole_joins_per_s(facts, ahead(0.0, 0.6), window_ms=WINDOW) < 0.01
    plan = Plan(channel="news", level=Level.PARTS, gops_per_segment=4, since_unix_ms=UnixMs(T0))
    assert choose_length(facts, plan, Cost(), Policy(), now=UnixMs(T0 + 200_000)).gops == 4


def test_a_crowd_that_is_forecast_counts_before_it_comes() -> None:
    assert whole_joins_per_s(watched(), ahead(5.0, 9.0), window_ms=WINDOW) == pytest.approx(5.0)


def test_joins_seen_make_the_upper_quantile_likely() -> None:
    facts = watched(whole_sessions=30, joins=1, requests=30)
    assert whole_joins_per_s(facts, ahead(0.2, 0.7), window_ms=WINDOW) == pytest.approx(0.7)
    assert whole_joins_per_s(facts, ahead(0.2, inf), window_ms=WINDOW) < 1.0


def test_seeks_switches_and_stalls_wait_as_joins_do_and_viewers_of_parts_do_not() -> None:
    seeks = whole_joins_per_s(watched(whole_sessions=5, requests=5, seeks=1), ahead(0.0, 0.0), window_ms=WINDOW)
    half = whole_joins_per_s(watched(whole_sessions=5, part_sessions=5, requests=5, seeks=1), ahead(0.0, 0.0), window_ms=WINDOW)
    assert 0.5 < seeks < 1.0
    assert half == pytest.approx(seeks / 2)


def test_a_minute_that_began_before_the_memory_does_not_count() -> None:
    facts = watched(400, whole_sessions=1, requests=1, seeks=1)
    now = T0 + 400_000
    numbers = [interval.number for seen in facts.audience.seen for interval in seen.intervals]
    assert min(numbers) * DEMAND_INTERVAL_MS >= now - WINDOW
    assert facts.audience.past.returns <= 301  # both ends

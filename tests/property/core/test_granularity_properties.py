"""Segment length: always possible, never shorter for fewer joins, still under noise."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import ChannelDemand, Cost, Level
from schemas.units import Ms
from streams.core.granularity import Balance, balance, segment_gops
from streams.core.policy import Policy
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_heartbeat, a_period, some_forecasts

RATES = st.floats(0, 1e4, allow_nan=False)


@given(st.floats(1e-6, 1.0), RATES, st.integers(200, 4_000), st.integers(1, 10))
def test_a_length_is_a_whole_number_of_gops_within_bounds(per_segment: float, per_second: float, gop_ms: int, gops_max: int) -> None:
    target_ms = gop_ms * gops_max
    even = Balance(per_segment=per_segment, per_second=per_second)
    count = segment_gops(even, gop_ms=Ms(gop_ms), gops_max=gops_max, target_ms=Ms(target_ms))
    assert 1 <= count <= gops_max
    assert count * gop_ms >= min(target_ms, max(gop_ms, target_ms // 4))


@given(RATES, RATES)
def test_more_joins_never_lengthen_segments(a: float, b: float) -> None:
    few, many = (
        segment_gops(
            balance(Cost(), tracks=4, joins_per_s=joins, settings=Policy().granularity), gop_ms=Ms(500), gops_max=12, target_ms=Ms(6_000)
        )
        for joins in sorted((a, b))
    )
    assert many <= few


@settings(max_examples=25, deadline=None)
@given(st.floats(0.02, 5.0), st.lists(st.floats(0.7, 1.4), min_size=60, max_size=60))
def test_a_noisy_but_flat_demand_changes_the_length_once_at_most(joins: float, noise: list[float]) -> None:
    """Noise of -30 % to +40 % around any level of joins, for five minutes."""
    plane = ControlPlane()
    plane.add("channels", a_period(idle_level=Level.PARTS))
    lengths = []
    for number, factor in enumerate(noise):
        plane.add("heartbeats", a_heartbeat(number=number))
        plane.add("demand", a_demand(channels=[ChannelDemand(channel="news", whole_sessions=20, requests=20)]))
        plane.add("forecasts", some_forecasts(a_forecast(sessions=20.0, joins=joins * factor)))
        plane.settle()
        lengths.append(plane.standing.plans["news"].gops_per_segment)
        plane.log.pass_ms(5_000)
    changes = sum(1 for before, after in pairwise(lengths) if before != after)
    assert changes <= 1

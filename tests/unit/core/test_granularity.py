"""Segment length: what balances, held against noise."""

import pytest

from schemas.records import Cost, Level, Plan, Reason
from schemas.units import Ms, UnixMs
from streams.core.facts import ChannelFacts, read
from streams.core.granularity import Balance, choose_length, segment_gops
from streams.core.policy import Policy
from tests.builders_control import T0, ControlLog, a_forecast, a_period, some_forecasts

POLICY = Policy()


def facts(joins: float | None, *, gop_frames: int = 25) -> ChannelFacts:
    log = ControlLog()
    log.add("channels", a_period(gop_frames=gop_frames))
    if joins is not None:
        log.add("forecasts", some_forecasts(a_forecast(joins=joins)))
    return read(log.state(), POLICY, now=log.now).channels["news"]


def a_plan(gops: int, *, since: int = T0 - 60_000) -> Plan:
    return Plan(channel="news", level=Level.PARTS, gops_per_segment=gops, since_unix_ms=UnixMs(since))


@pytest.mark.parametrize(("joins", "gops"), [(0.0, 4), (0.05, 4), (0.35, 2), (1.5, 1), (100.0, 1)])
def test_people_arriving_shorten_segments(joins: float, gops: int) -> None:
    assert choose_length(facts(joins), None, Cost(), POLICY, now=T0).gops == gops


def test_without_a_forecast_the_length_stays_and_says_why() -> None:
    choice = choose_length(facts(None), a_plan(2), Cost(), POLICY, now=T0)
    assert (choice.gops, choice.reason) == (2, Reason.TOO_LITTLE_EVIDENCE)


def test_a_length_holds_for_a_while_after_it_changed() -> None:
    settings = POLICY.granularity
    early = choose_length(facts(1.5), a_plan(4, since=T0 - settings.hold_ms + 1), Cost(), POLICY, now=T0)
    assert (early.gops, early.reason) == (4, Reason.HELD)
    later = choose_length(facts(1.5), a_plan(4, since=T0 - settings.hold_ms), Cost(), POLICY, now=T0)
    assert (later.gops, later.reason) == (1, Reason.JOINS_EXPECTED)


def test_a_length_that_is_nearly_best_is_kept() -> None:
    # The best would be 3 GOPs, 6 % cheaper than 4.
    choice = choose_length(facts(0.19), a_plan(4), Cost(), POLICY, now=T0)
    assert (choice.gops, choice.reason) == (4, Reason.HELD)


def test_when_nobody_joins_the_longest_length_comes_back() -> None:
    choice = choose_length(facts(0.0), a_plan(3), Cost(), POLICY, now=T0)
    assert (choice.gops, choice.reason) == (4, Reason.NOBODY_JOINS)


def test_a_length_that_no_longer_fits_is_cut_to_the_longest_that_does() -> None:
    assert choose_length(facts(None, gop_frames=50), a_plan(4), Cost(), POLICY, now=T0).gops == 2


def test_dearer_capacity_lengthens_segments() -> None:
    cheap = Balance(per_segment=0.002, per_second=0.001)
    dear = Balance(per_segment=0.016, per_second=0.001)
    lengths = [segment_gops(even, gop_ms=Ms(1_000), gops_max=6, target_ms=Ms(6_000)) for even in (cheap, dear)]
    assert lengths == [2, 4]  # a quarter of the target is 1.5 s


def test_segments_are_never_shorter_than_a_quarter_of_the_target() -> None:
    hurried = Balance(per_segment=0.001, per_second=10.0)
    assert segment_gops(hurried, gop_ms=Ms(500), gops_max=8, target_ms=Ms(4_000)) == 2

"""Level: what viewers fetch, those who are there and those who are expected, and no less than the idle level."""

from typing import Any

import pytest

from schemas.records import Action, Assignment, ChannelDemand, Level, Reason
from schemas.settings import GranularitySettings, PlannerSettings
from streams.core.policy import Policy
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_gop, a_period, a_report, beats, some_forecasts

AUTO = Policy(granularity=GranularitySettings(level="auto"))
IDLE_MS = AUTO.granularity.idle_ms


def a_line(policy: Policy = AUTO, *, idle_level: Level = Level.OFF) -> ControlPlane:
    plane = ControlPlane(policy)
    plane.add("channels", a_period(idle_level=idle_level))
    beats(plane, "p1", "p2")
    encode(plane)
    return plane


def encode(plane: ControlPlane) -> None:
    """One more GOP: the channel stays live."""
    gop = plane.log.offsets.get("gops", 0)
    plane.add("gops", a_gop(gop=gop, msn=gop // 4, first_gop=gop // 4 * 4, durable=plane.now))
    plane.settle()


def see(plane: ControlPlane, **seen: Any) -> Level:
    """A second of demand, and what it makes of the level."""
    plane.add("demand", a_demand(channels=[ChannelDemand(channel="news", **seen)]))
    return settled(plane)


def held(plane: ControlPlane) -> Assignment:
    (assignment,) = plane.standing.assignments.values()
    return assignment


def settled(plane: ControlPlane) -> Level:
    plane.settle()
    return plane.standing.plans["news"].level


def wait(plane: ControlPlane, span_ms: int, **seen: int) -> Level:
    """Time goes by in seconds, in which the channel stays live and is watched as given."""
    for _ in range(span_ms // 1_000):
        beats(plane, "p1", "p2", count=2, start=plane.log.offsets.get("heartbeats", 0))
        encode(plane)
        if seen:
            see(plane, **seen)
    return settled(plane)


def test_viewers_of_whole_segments_get_whole_segments() -> None:
    assert see(a_line(), whole_sessions=3, requests=3, first_request=True) is Level.SEGMENTS


@pytest.mark.parametrize("seen", [{"part_sessions": 1}, {"chunked_sessions": 1}, {"low_latency_requests": 1}])
def test_one_who_has_or_wants_parts_makes_it_parts(seen: dict[str, int]) -> None:
    assert see(a_line(), whole_sessions=9, requests=9, **seen) is Level.PARTS


def test_a_rise_to_parts_goes_on_with_the_run_from_a_segment_not_yet_opened() -> None:
    plane = a_line()
    see(plane, whole_sessions=1, requests=1, first_request=True)
    started = plane.standing.packaging["news"]
    wait(plane, 6_000, whole_sessions=1, requests=1)
    see(plane, whole_sessions=1, requests=1, low_latency_requests=1)
    risen = plane.standing.packaging["news"]
    assert (risen.action, risen.level, risen.from_msn) == (Action.START, Level.PARTS, started.from_msn)
    assert risen.parts_from_msn == plane.log.offsets["gops"] // 4 + 1
    assert risen.cause.startswith("finecut.demand/0/")


def test_parts_never_fall_to_segments_under_one_who_follows_them() -> None:
    plane = a_line()
    see(plane, part_sessions=1, whole_sessions=5, requests=1)
    assert wait(plane, 3 * IDLE_MS, part_sessions=1, whole_sessions=5, requests=6) is Level.PARTS


def test_parts_fall_to_segments_a_while_after_the_last_who_followed_them() -> None:
    plane = a_line()
    see(plane, part_sessions=1, whole_sessions=5, requests=1)
    assert wait(plane, IDLE_MS - 5_000, whole_sessions=5, requests=5) is Level.PARTS
    assert wait(plane, 10_000, whole_sessions=5, requests=5) is Level.SEGMENTS
    word = plane.standing.packaging["news"]
    assert (word.action, word.level, word.parts_from_msn) == (Action.START, Level.SEGMENTS, 0)
    assert word.parts_until_msn == plane.standing.assignments["news/all/0/0"].from_msn


def test_parts_end_where_holders_begin_to_make_whole_segments_alone() -> None:
    plane = a_line()
    see(plane, part_sessions=1, whole_sessions=5, requests=1)
    wait(plane, IDLE_MS - 5_000, whole_sessions=5, requests=5)
    open_msn = plane.log.offsets["gops"] // 4
    plane.add("reports", *(a_report(msns=[msn], epoch=held(plane).epoch, packager=held(plane).packager_id) for msn in range(open_msn)))
    assert wait(plane, 10_000, whole_sessions=5, requests=5) is Level.SEGMENTS
    word = plane.standing.packaging["news"]
    assert word.parts_until_msn == held(plane).from_msn == open_msn
    assert held(plane).level is Level.SEGMENTS


def test_whoever_is_expected_finds_what_the_pools_viewers_fetch() -> None:
    whole, parts = a_line(), a_line()
    for plane, seen in (
        (whole, ChannelDemand(channel="arena", requests=50, whole_sessions=50)),
        (parts, ChannelDemand(channel="arena", requests=50, part_sessions=50)),
    ):
        plane.add("channels", a_period("arena"))
        plane.add("demand", a_demand(channels=[seen]))
        plane.add("forecasts", some_forecasts(a_forecast(sessions=20.0)))
    assert (settled(whole), settled(parts)) == (Level.SEGMENTS, Level.PARTS)
    assert whole.standing.plans["news"].reason is Reason.FORECAST


@pytest.mark.parametrize("idle_level", list(Level))
def test_nobody_watching_leaves_the_idle_level(idle_level: Level) -> None:
    assert settled(a_line(idle_level=idle_level)) is idle_level


def test_viewers_of_whole_segments_take_no_parts_from_a_channel_that_has_them_unwatched() -> None:
    assert see(a_line(idle_level=Level.PARTS), whole_sessions=1, requests=1) is Level.PARTS


@pytest.mark.parametrize("level", [Level.SEGMENTS, Level.PARTS])
def test_a_level_that_is_set_is_had_by_all_that_is_on(level: Level) -> None:
    policy = Policy(granularity=GranularitySettings(level=level.value))
    assert settled(a_line(policy)) is Level.OFF
    assert see(a_line(policy), whole_sessions=1, part_sessions=1, requests=1) is level


def test_the_last_value_as_forecast_prepares_for_nobody_who_is_not_there() -> None:
    plane = a_line(Policy(granularity=GranularitySettings(level="auto"), planner=PlannerSettings(demand="last_value")))
    plane.add("forecasts", some_forecasts(a_forecast(sessions=20.0)))
    assert settled(plane) is Level.OFF

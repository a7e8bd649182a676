"""What happens to a channel: it appears, is asked for, is left, ends, falls silent."""

from schemas.records import Action, Assignment, ChannelDemand, Level, Reason
from schemas.units import Msn
from tests.builders_control import (
    ControlPlane,
    a_demand,
    a_forecast,
    a_heartbeat,
    a_period,
    a_period_end,
    a_report,
    beats,
    gops,
    some_forecasts,
)

KEY = "news/all/0/0"


def a_pool(*packagers: str) -> ControlPlane:
    plane = ControlPlane()
    beats(plane, *(packagers or ("p1", "p2", "p3")))
    plane.settle()
    return plane


def live(
    plane: ControlPlane, *, seconds: int, first: int = 0, per_segment: int = 4, packagers: tuple[str, ...] = ("p1", "p2", "p3")
) -> None:
    """A channel's GOPs in real time, with beating packagers."""
    for gop in gops(count=seconds, per_segment=per_segment, first=first, at=plane.now):
        for half in range(2):
            for packager in packagers:
                plane.add("heartbeats", a_heartbeat(packager, number=100 + 2 * (first + gop.gop) + half))
            plane.log.pass_ms(500)
        plane.add("gops", gop)


def watch(plane: ControlPlane, *, first_request: bool = False, sessions: int = 1) -> None:
    seen = ChannelDemand(channel="news", whole_sessions=sessions, requests=1, first_request=first_request)
    plane.add("demand", a_demand(channels=[seen]))


def held(plane: ControlPlane) -> Assignment:
    return plane.standing.assignments[KEY]


def test_an_unwatched_channel_with_a_level_is_packaged_from_its_first_segment() -> None:
    plane = a_pool()
    plane.add("channels", a_period(idle_level=Level.PARTS, first_msn=7, first_offset=40))
    plane.settle()
    assert plane.standing.plans["news"].level is Level.PARTS
    assert plane.standing.packaging["news"].action is Action.START
    assert (held(plane).from_msn, held(plane).first_offset, held(plane).media_partition) == (7, 40, 3)
    assert held(plane).reason is Reason.IDLE_LEVEL
    assert (held(plane).cause, held(plane).cause_unix_ms) == ("finecut.channels/0/0", plane.now)


def test_an_unwatched_channel_that_may_be_off_is_in_the_log_only() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    live(plane, seconds=8)
    plane.settle()
    assert plane.standing.plans["news"].level is Level.OFF
    assert plane.standing.plans["news"].gops_per_segment == 4
    assert not plane.standing.assignments
    assert not plane.standing.packaging


def test_a_first_request_starts_a_channel_three_targets_behind_the_edge_and_is_its_cause() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    live(plane, seconds=42)
    plane.settle()
    watch(plane, first_request=True)
    asked = plane.now
    plane.log.pass_ms(3)
    plane.settle()
    assert plane.standing.plans["news"].reason is Reason.FIRST_REQUEST
    # Segment 10 is open with two GOPs: 2 s + 4 s + 4 s + 4 s reach back over three targets of 4 s.
    assert plane.standing.packaging["news"].from_msn == 7
    assert (held(plane).from_msn, held(plane).first_offset) == (7, 28 * 16)
    assert (held(plane).cause, held(plane).cause_unix_ms) == ("finecut.demand/0/0", asked)


def test_a_predicted_audience_starts_a_channel_before_anybody_asks() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    live(plane, seconds=8)
    plane.add("forecasts", some_forecasts(a_forecast(sessions=3.0)))
    plane.settle()
    assert plane.standing.plans["news"].reason is Reason.FORECAST
    assert held(plane).cause == "finecut.forecasts/0/0"


def test_a_channel_nobody_asks_for_stops_at_a_segment_that_is_not_open_yet_and_ends_once_all_before_is_reported() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    watch(plane)
    live(plane, seconds=1)
    plane.settle()
    live(plane, seconds=28, first=1)
    plane.settle()
    assert plane.standing.plans["news"].level is Level.SEGMENTS
    live(plane, seconds=4, first=29)
    plane.settle()
    assert plane.standing.plans["news"].reason is Reason.IDLE
    stop = plane.standing.packaging["news"]
    # GOPs 0..32 make segments 0..8, and 8 is open.
    assert (stop.action, stop.from_msn) == (Action.STOP, 9)
    assert held(plane).until_msn == 9
    plane.add("reports", a_report(msns=range(8)))
    live(plane, seconds=4, first=33)
    plane.settle()
    assert KEY in plane.standing.assignments
    plane.add("reports", a_report(msns=[8]))
    plane.settle()
    assert not plane.standing.assignments
    assert plane.decisions[-1].ended_slices == (KEY,)


def test_a_channel_that_ends_before_the_segment_it_was_to_stop_at_leaves_as_well() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    watch(plane)
    live(plane, seconds=1)
    plane.settle()
    live(plane, seconds=31, first=1)
    plane.settle()
    # Segment 7 is whole, so 8 may be open already: but it never comes.
    assert held(plane).until_msn == 9
    plane.add("channels", a_period_end(next_msn=8))
    plane.add("reports", a_report(msns=range(8)))
    plane.settle()
    assert (plane.standing.assignments, plane.standing.plans) == ({}, {})


def test_a_channel_asked_for_again_before_its_slice_ended_goes_on_without_a_gap() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    watch(plane)
    live(plane, seconds=1)
    plane.settle()
    live(plane, seconds=33, first=1)
    plane.settle()
    assert held(plane).until_msn == 9
    epoch = held(plane).epoch
    plane.add("reports", a_report(msns=range(5)))
    watch(plane, first_request=True)
    plane.settle()
    assert plane.standing.packaging["news"].action is Action.START
    assert held(plane).until_msn is None
    assert held(plane).from_msn == 5
    assert held(plane).epoch > epoch


def test_a_channel_asked_for_again_behind_where_it_stopped_leaves_out_what_lies_between() -> None:
    plane = a_pool()
    plane.add("channels", a_period())
    watch(plane)
    live(plane, seconds=1)
    plane.settle()
    live(plane, seconds=33, first=1)
    plane.settle()
    assert held(plane).until_msn == 9
    plane.add("reports", a_report(msns=range(8)))
    live(plane, seconds=40, first=34)
    watch(plane, first_request=True)
    plane.settle()
    start = plane.standing.packaging["news"].from_msn
    assert start > 9
    assert (held(plane).from_msn, held(plane).until_msn) == (start, None)
    left = plane.standing.assignments["news/back8-all/0/0"]
    assert (left.from_msn, left.until_msn) == (8, 9)
    plane.add("reports", a_report(msns=[8], slice_id=left.slice_id))
    plane.settle()
    assert set(plane.standing.assignments) == {KEY}


def test_a_channel_that_ended_leaves_once_its_last_segment_is_reported() -> None:
    plane = a_pool()
    plane.add("channels", a_period(idle_level=Level.PARTS))
    live(plane, seconds=10)
    plane.settle()
    plane.add("channels", a_period_end(next_msn=3))
    plane.settle()
    assert (held(plane).until_msn, held(plane).reason) == (3, Reason.CHANNEL_ENDED)
    assert plane.standing.is_packaged("news")
    plane.add("reports", a_report(msns=range(3), tracks=("v0", "v1", "v2")))
    plane.settle()
    assert KEY in plane.standing.assignments
    plane.add("reports", a_report(msns=range(3), tracks=("a0",)))
    plane.settle()
    assert (plane.standing.assignments, plane.standing.plans, plane.standing.packaging) == ({}, {}, {})
    assert plane.decisions[-1].ended_channels == ("news",)


def test_a_channel_that_ended_before_anybody_could_package_it_is_made_when_a_packager_comes() -> None:
    plane = ControlPlane()
    plane.add("channels", a_period(idle_level=Level.PARTS))
    plane.add("gops", *gops(count=10))
    plane.settle()
    assert [queued.slice_id for queued in plane.standing.queued.values()] == ["news/all/0"]
    plane.add("channels", a_period_end(next_msn=3))
    plane.settle()
    beats(plane, "p1")
    plane.settle()
    assert (held(plane).from_msn, held(plane).until_msn, held(plane).packager_id) == (0, 3, "p1")
    assert not plane.standing.queued


def test_an_encoder_that_returns_after_the_channel_ended_begins_it_anew_with_a_higher_epoch() -> None:
    plane = a_pool()
    plane.add("channels", a_period(idle_level=Level.PARTS))
    live(plane, seconds=4)
    plane.settle()
    first = held(plane).epoch
    plane.add("channels", a_period_end(next_msn=1))
    plane.settle()
    plane.add("reports", a_report(msns=[0]))
    plane.settle()
    assert not plane.standing.assignments
    plane.add("channels", a_period(period=1, first_msn=1, first_offset=99, idle_level=Level.PARTS))
    plane.settle()
    assert held(plane).from_msn in {Msn(0), Msn(1)}
    assert held(plane).epoch > first
    assert held(plane).until_msn is None


def test_a_silent_channel_is_not_placed_anew_until_chunks_return() -> None:
    plane = a_pool("p1", "p2")
    plane.add("channels", a_period(idle_level=Level.PARTS))
    live(plane, seconds=4, packagers=("p1", "p2"))
    plane.settle()
    plane.add("reports", a_report(msns=[0], packager=held(plane).packager_id))
    holder = held(plane).packager_id
    other = {"p1": "p2", "p2": "p1"}[holder]
    beats(plane, "p1", "p2", count=64, start=200)
    beats(plane, other, count=8, start=300)
    plane.settle()
    assert (held(plane).packager_id, held(plane).reason) == (holder, Reason.NO_CAPACITY)
    assert not plane.standing.queued
    live(plane, seconds=1, first=4, packagers=(other,))
    plane.settle()
    assert (held(plane).packager_id, held(plane).from_msn) == (other, 1)


def test_a_channel_whose_encoder_never_returns_is_let_go_while_it_is_known_what_it_has() -> None:
    plane = a_pool("p1")
    plane.add("channels", a_period(idle_level=Level.PARTS))
    live(plane, seconds=6, packagers=("p1",))
    plane.settle()
    plane.add("reports", a_report(msns=[0]))
    beats(plane, "p1", count=2 * 100, start=200)
    plane.settle()
    assert plane.standing.is_packaged("news"), "it is waited for"
    beats(plane, "p1", count=2 * 60, start=400)
    plane.settle()
    stop = plane.standing.packaging["news"]
    assert (stop.action, stop.from_msn, held(plane).until_msn) == (Action.STOP, 2, 2), "of what is open its parts are made"
    beats(plane, "p1", count=2 * 160, start=600)
    plane.settle()
    assert not plane.standing.assignments
    live(plane, seconds=4, first=8, packagers=("p1",))
    plane.settle()
    assert plane.standing.is_packaged("news")
    assert (held(plane).packager_id, held(plane).until_msn) == ("p1", None)


def test_channels_that_fell_silent_while_nobody_decided_take_no_room_from_those_that_live() -> None:
    plane = ControlPlane()
    beats(plane, "p1", cores=0.5)
    gone = [f"gone{number}" for number in range(40)]
    for channel in gone:
        plane.add("channels", a_period(channel, idle_level=Level.PARTS))
        plane.add("gops", *gops(channel, count=4, at=plane.now))
        plane.settle()
        plane.add("reports", a_report(channel, msns=[0], slice_id=f"{channel}/all/0"))
    silence_ms = plane.policy.planner.memory_ms + 60_000
    plane.log.pass_ms(silence_ms)
    beats(plane, "p1", cores=0.5, start=2_000)
    plane.add("channels", a_period(idle_level=Level.PARTS, at=plane.now))
    plane.add("gops", *gops(count=2, at=plane.now))
    plane.settle()
    assert sum(held.packager_id == "p1" for key, held in plane.standing.assignments.items() if key.startswith("gone")) > 1
    assert (held(plane).packager_id, plane.standing.queued) == ("p1", {})


def test_tracks_that_a_new_period_brings_join_the_slice_in_place() -> None:
    plane = a_pool()
    plane.add("channels", a_period(idle_level=Level.PARTS, tracks=("v0", "a0")))
    live(plane, seconds=4)
    plane.settle()
    before = held(plane)
    plane.add("channels", a_period(period=1, first_msn=1, idle_level=Level.PARTS, tracks=("v0", "v1", "a0")))
    plane.settle()
    assert held(plane).tracks == ("v0", "v1", "a0")
    assert (held(plane).packager_id, held(plane).epoch) == (before.packager_id, before.epoch)

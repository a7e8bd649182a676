"""Slices follow the plan: how they are called, where they follow each other, what follows them, what makes room, what is late."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.records import Action, Assignment, ChannelDemand, Level, Load, PackagerState, Reason, Reports, SliceProgress, Thumbnails, Void
from schemas.settings import GranularitySettings
from schemas.units import Msn
from streams.core.assignment import EncodedChannel, Rank, Slice, assign_segments, place
from streams.core.moves import yielding
from streams.core.policy import Policy
from streams.core.standing import NO_LIFE, NOBODY, VOIDS_MAX
from streams.core.strategies import STRATEGIES, Seat
from tests.builders_control import (
    T0,
    ControlPlane,
    a_demand,
    a_heartbeat,
    a_period,
    a_period_end,
    a_report,
    beats,
    gops,
)

# Plans stay what they were drawn to be: how a channel is dealt holds for ever.
HELD = Policy(granularity=GranularitySettings(deal_hold_ms=3_600_000, slices_max=16))
PICTURES = Thumbnails(track="t0", source="v1", width=160, height=90)


def a_channel(*packagers: str, thumbnails: Thumbnails | None = None, cores: float = 2.0) -> ControlPlane:
    """A channel at segment 3, whose segments 0 to 2 are published."""
    plane = ControlPlane(HELD)
    beats(plane, *(packagers or ("p1", "p2", "p3")), cores=cores)
    plane.add("channels", replace(a_period(idle_level=Level.PARTS), thumbnails=thumbnails))
    plane.settle()
    plane.add("gops", *gops(count=14, at=plane.now - 14_000))
    publish(plane, range(3))
    return plane


def publish(plane: ControlPlane, msns: range, *, only: str = "") -> None:
    for held in list(plane.standing.assignments.values()):
        its = [n for n in msns if n % held.turns == held.turn and n >= held.from_msn and (held.until_msn is None or n < held.until_msn)]
        if its and only in held.slice_id:
            plane.add("reports", told(held, its))


def told(held: Assignment, msns: list[int]) -> Reports:
    return a_report(
        held.channel, msns=msns, packager=held.packager_id, life=held.life, tracks=held.tracks, slice_id=held.slice_id, epoch=held.epoch
    )


def replan(plane: ControlPlane, **changes: Any) -> None:
    """Another plan takes the place of the one in force, as a decision before would have set it."""
    plan = replace(plane.standing.plans["news"], dealt_since_unix_ms=plane.now, **changes)
    plane.standing = replace(plane.standing, plans={"news": plan})


def stop(plane: ControlPlane) -> None:
    """The channel is as if a decision before had stopped it, though it is wanted."""
    word = replace(plane.standing.packaging["news"], action=Action.STOP, from_msn=Msn(4))
    plane.standing = replace(plane.standing, packaging={"news": word})


def slices(plane: ControlPlane) -> dict[str, tuple[int, int | None]]:
    return {key: (held.from_msn, held.until_msn) for key, held in plane.standing.assignments.items()}


def test_slices_of_another_shape_follow_at_a_segment_that_no_chunk_is_stamped_with_yet() -> None:
    plane = a_channel()
    replan(plane, turns=2)
    plane.settle()
    assert slices(plane) == {"news/all/0/0": (0, 4), "news/all/0of2/0": (4, None), "news/all/1of2/0": (4, None)}
    assert {held.reason for held in plane.standing.assignments.values()} == {Reason.LOAD}
    plane.add("gops", *gops(count=2, first=14, at=plane.now))
    publish(plane, range(3, 4), only="all/0")
    plane.settle()
    assert list(slices(plane)) == ["news/all/0of2/0", "news/all/1of2/0"]


def test_a_second_change_waits_until_nothing_of_the_first_is_left_under_its_names() -> None:
    plane = a_channel()
    replan(plane, turns=2)
    plane.settle()
    replan(plane, turns=1)
    plane.settle()
    assert slices(plane)["news/all/0/0"] == (0, 4)
    publish(plane, range(3, 4), only="all/0/")
    plane.add("gops", *gops(count=6, first=14, at=plane.now))
    publish(plane, range(3, 5))
    plane.settle()
    assert slices(plane)["news/all/0/0"][1] is None


def test_slices_that_nobody_holds_are_dealt_anew_from_where_they_were_left() -> None:
    plane = a_channel("p1")
    plane.add("heartbeats", a_heartbeat("p1", number=9, state=PackagerState.GONE))
    plane.settle()
    replan(plane, groups=2)
    plane.settle()
    assert {(a.from_msn, a.until_msn, a.packager_id) for a in plane.standing.assignments.values()} == {(3, None, "nobody")}
    assert len(plane.standing.assignments) == 2
    beats(plane, "p2", start=0)
    plane.settle()
    assert {a.packager_id for a in plane.standing.assignments.values()} == {"p2"}


def test_what_a_restart_changes_of_a_slice_stands_though_nobody_holds_it() -> None:
    plane = a_channel("p1")
    plane.add("heartbeats", a_heartbeat("p1", number=9, state=PackagerState.GONE))
    plane.settle()
    stop(plane)
    replan(plane, turns=2)
    plane.settle()
    assert slices(plane)["news/all/0/0"] == (3, 4)
    stop(plane)
    replan(plane, turns=1)
    plane.settle()
    assert slices(plane)["news/all/0/0"][1] is None
    assert {until for key, (_, until) in slices(plane).items() if "of2" in key} == {4}


def test_copies_are_apart_and_one_that_is_lost_is_replaced_without_a_word_to_the_other() -> None:
    plane = a_channel()
    replan(plane, copies=2)
    plane.settle()
    first, second = (plane.standing.assignments[f"news/all/0/{copy}"] for copy in (0, 1))
    assert first.packager_id != second.packager_id
    plane.add("heartbeats", a_heartbeat(first.packager_id, number=9, state=PackagerState.GONE))
    plane.settle()
    again = plane.standing.assignments["news/all/0/0"]
    assert plane.standing.assignments["news/all/0/1"] == second
    assert again.packager_id not in {first.packager_id, second.packager_id}


def test_what_a_dead_holder_left_from_before_its_copy_began_is_made_by_the_slices_that_follow() -> None:
    plane = a_channel()
    replan(plane, copies=2)
    plane.settle()
    first, second = (plane.standing.assignments[f"news/all/0/{copy}"] for copy in (0, 1))
    assert second.from_msn == 4
    plane.add("heartbeats", a_heartbeat(first.packager_id, number=9, state=PackagerState.GONE))
    replan(plane, turns=2, copies=2)
    plane.settle()
    # Segment 3 was open, and the copy began behind it.
    assert {from_msn for key, (from_msn, _) in slices(plane).items() if "of2" in key} == {3}


@pytest.mark.parametrize("is_published", [False, True])
def test_a_lost_copy_waits_for_capacity_only_if_the_other_does_not_make_what_it_left(is_published: bool) -> None:
    plane = a_channel("p1", "p2")
    replan(plane, copies=2)
    plane.settle()
    first = plane.standing.assignments["news/all/0/0"]
    if is_published:
        publish(plane, range(3, 4), only="all/0")
    plane.add("heartbeats", a_heartbeat(first.packager_id, number=9, state=PackagerState.GONE))
    plane.settle()
    assert "news/all/0/0" in plane.standing.queued
    scaling = plane.standing.scaling
    assert scaling is not None
    assert (scaling.reason is Reason.NO_CAPACITY) is not is_published


def test_a_copy_too_many_ends_at_once() -> None:
    plane = a_channel()
    replan(plane, copies=2)
    plane.settle()
    replan(plane, copies=1)
    (decision,) = plane.settle()
    assert decision.ended_slices == ("news/all/0/1",)


def test_thumbnails_follow_the_slice_of_their_source_and_end_with_it() -> None:
    plane = a_channel(thumbnails=PICTURES)
    held = plane.standing.assignments["news/thumbs/0/0"]
    assert (held.tracks, held.after) == (("t0",), "news/all/0")
    replan(plane, groups=2)
    plane.settle()
    group = next(a.slice_id for a in plane.standing.assignments.values() if "v1" in a.tracks and a.until_msn is None)
    assert plane.standing.assignments["news/thumbs/0/0"].after == group
    plane.add("channels", a_period_end(next_msn=4))
    plane.settle()
    assert {a.until_msn for a in plane.standing.assignments.values()} == {4}


def test_thumbnails_wait_while_their_source_has_no_holder() -> None:
    plane = ControlPlane(HELD)
    beats(plane, "p1", cores=0.0001)
    plane.add("channels", replace(a_period(idle_level=Level.OFF), thumbnails=PICTURES))
    plane.add("demand", a_demand(channels=[ChannelDemand(channel="news", whole_sessions=3, requests=3)]))
    plane.settle()
    waiting = plane.standing.queued["news/thumbs/0/0"]
    assert (waiting.full_count, waiting.unavailable_count) == (0, 1)


def test_thumbnails_wait_for_no_slice_that_is_over() -> None:
    plane = a_channel("p1", "p2", thumbnails=PICTURES)
    source, pictures = (plane.standing.assignments[f"news/{name}/0/0"] for name in ("all", "thumbs"))
    publish(plane, range(3, 4), only="all/")
    plane.add("channels", a_period_end(next_msn=4))
    lost = replace(pictures, packager_id=NOBODY, life=NO_LIFE, from_msn=Msn(3), until_msn=Msn(4), after=source.slice_id)
    plane.standing = replace(plane.standing, assignments={"news/thumbs/0/0": lost})
    plane.settle()
    assert plane.standing.assignments["news/thumbs/0/0"].packager_id in {"p1", "p2"}
    assert not plane.standing.queued


def a_piece(name: str, cores: float, **more: object) -> Slice:
    return Slice(slice_id=f"{name}/all/0", copy=0, channel=name, tracks=("v0",), load=Load(cores=cores), **more)  # type: ignore[arg-type]


def test_thumbnails_that_wait_follow_the_slice_that_makes_their_source_now() -> None:
    # Found by simulation (seed 99 with thumbnails): they waited for ever for a slice that the channel was no longer dealt into.
    plane = a_channel("p1", thumbnails=PICTURES)
    plane.add("heartbeats", a_heartbeat("p1", number=9, state=PackagerState.GONE))
    plane.settle()
    replan(plane, groups=2)
    plane.settle()
    beats(plane, "p2", start=0)
    plane.settle()
    pictures = plane.standing.assignments["news/thumbs/0/0"]
    assert pictures.packager_id == "p2"
    assert pictures.after in {held.slice_id for held in plane.standing.assignments.values()}
    assert not plane.standing.queued


def test_what_is_derived_is_placed_after_all_else_and_only_if_what_it_follows_is() -> None:
    seats = [Seat(packager_id="p1", life="l", usable=Load(cores=1.0))]
    derived = replace(a_piece("x", 0.4), slice_id="a/thumbs/0", after="a/all/0", rank=Rank.DERIVED)
    for strategy in STRATEGIES:
        dealt = place([derived, a_piece("a", 0.7)], seats, strategy=strategy)
        assert list(dealt.holders) == ["a/all/0/0"]
        assert place([derived], seats, strategy=strategy).holders == {}
        assert place([derived], seats, strategy=strategy, placed={"a/all/0"}).holders == {"a/thumbs/0/0": "p1"}


def test_backlog_comes_after_what_is_live_and_the_oldest_first() -> None:
    seats = [Seat(packager_id="p1", life="l", usable=Load(cores=1.0))]
    young = a_piece("young", 0.4, rank=Rank.BACKLOG, order=-8_000)
    old = a_piece("old", 0.4, rank=Rank.BACKLOG, order=-90_000)
    dealt = place([young, old, a_piece("live", 0.5)], seats, strategy="least_loaded")
    assert sorted(dealt.holders) == ["live/all/0/0", "old/all/0/0"]


def test_the_public_entrance_deals_groups_turns_and_copies() -> None:
    pool = [Seat(packager_id=f"p{i}", life="l", usable=Load(cores=1.0)) for i in range(4)]
    channel = EncodedChannel(channel="news", tracks=("a0", "v0"), load=Load(cores=1.2), groups=2, turns=2, copies=2, weights=(1.0, 5.0))
    dealt = assign_segments([channel], pool, {"news": 9.0})
    assert not dealt.overflow
    assert len(dealt.holders) == 8
    for slice_id in {key.rsplit("/", 1)[0] for key in dealt.holders}:
        assert dealt.holders[f"{slice_id}/0"] != dealt.holders[f"{slice_id}/1"]
    assert sum(seat.used.cores for seat in dealt.seats) == 2.4


def test_what_is_needed_takes_the_place_of_what_is_derived_then_of_copies_then_of_backlog() -> None:
    held = {
        "p1": [a_piece("a", 0.3, rank=Rank.BACKLOG), a_piece("b", 0.3, rank=Rank.SPARE)],
        "p2": [a_piece("c", 0.2, rank=Rank.SPARE), a_piece("d", 0.2, rank=Rank.DERIVED)],
    }
    staying = {piece.key: piece for pieces in held.values() for piece in pieces}
    holders = {piece.key: packager for packager, pieces in held.items() for piece in pieces}
    seats = [Seat(packager_id=packager, life="l", usable=Load(cores=1.0), used=Load(cores=1.0), held=3) for packager in held]
    for size, dropped in ((0.2, {"d"}), (0.4, {"c", "d"}), (0.6, {"a", "b"}), (0.7, set[str]())):
        dealt = place([a_piece("x", size)], seats, strategy="least_loaded")
        assert {key[0] for key in yielding(dealt, staying, holders)} == dropped
    assert not yielding(place([a_piece("x", 0.2, rank=Rank.SPARE)], seats, strategy="least_loaded"), staying, holders)


# ---------------------------------------------------------------- late


def late(plane: ControlPlane) -> list[Void]:
    return [void for decision in plane.decisions for void in decision.voids if void.reason is Reason.LATE]


def a_stuck_channel() -> ControlPlane:
    """Segment 3 is whole and nobody reports it, while its holder beats on."""
    plane = a_channel()
    plane.add("gops", *gops(count=2, first=14, at=plane.now))
    return plane


def wait(plane: ControlPlane, ms: int, start: int = 8) -> None:
    beats(plane, "p1", "p2", "p3", count=ms // 500, start=start)


def test_a_segment_is_void_for_those_who_watch_once_the_hold_back_is_over_and_is_still_made() -> None:
    plane = a_stuck_channel()
    wait(plane, 12_000)
    plane.settle()
    assert not late(plane)
    wait(plane, 3_000, start=40)
    plane.settle()
    assert [(void.msn, void.track, void.duration_ticks) for void in late(plane)] == [
        (3, "a0", 191_488), (3, "v0", 360_000), (3, "v1", 360_000), (3, "v2", 360_000)
    ]  # fmt: skip
    plane.add("reports", *late(plane))
    assert plane.settle() == []
    held = plane.standing.assignments["news/all/0/0"]
    plane.add("heartbeats", a_heartbeat(held.packager_id, number=60, state=PackagerState.GONE))
    plane.settle()
    assert plane.standing.assignments["news/all/0/0"].from_msn == 3


def test_no_more_is_declared_late_than_is_remembered_and_nothing_twice_while_no_reports_come_back() -> None:
    plane = a_channel()
    plane.add("gops", *gops(count=100, first=56, per_segment=1, at=plane.now))
    wait(plane, 120_000)
    plane.settle()
    plane.log.pass_ms(1)
    assert plane.settle() == []
    first = late(plane)
    assert len({(void.msn, void.track) for void in first}) == len(first) == VOIDS_MAX
    plane.add("reports", *first)
    plane.settle()
    told = late(plane)
    assert len({(void.msn, void.track) for void in told}) == len(told) > VOIDS_MAX


def test_what_was_published_is_not_late() -> None:
    plane = a_stuck_channel()
    publish(plane, range(3, 4))
    wait(plane, 30_000)
    plane.settle()
    assert not late(plane)


def test_without_chunks_nothing_is_late() -> None:
    plane = a_channel()
    wait(plane, 25_000)
    plane.settle()
    assert not late(plane)


def test_what_its_holder_says_it_has_done_is_not_late_though_its_report_is_forgotten() -> None:
    plane = a_stuck_channel()
    held = plane.standing.assignments["news/all/0/0"]
    done = SliceProgress(slice_id=held.slice_id, copy=0, epoch=held.epoch, next_msn=Msn(4))
    wait(plane, 30_000)
    plane.add("heartbeats", a_heartbeat(held.packager_id, number=70, slices=(done,)))
    plane.settle()
    assert not late(plane)


# ---------------------------------------------------------------- backlog


def test_who_falls_far_behind_goes_on_at_the_edge_and_others_catch_up_what_it_left() -> None:
    plane = a_channel()
    plane.add("gops", *gops(count=50, first=14, at=plane.now))
    wait(plane, 50_000)
    plane.settle()
    live = plane.standing.assignments["news/all/0/0"]
    assert (live.from_msn, live.reason) == (13, Reason.LATE)
    ranges = sorted((a.from_msn, a.until_msn) for key, a in plane.standing.assignments.items() if "/back" in key)
    assert ranges[0][0] == 3
    assert ranges[-1][1] == 13
    assert [end for _, end in ranges[:-1]] == [first for first, _ in ranges[1:]]
    assert len({a.packager_id for key, a in plane.standing.assignments.items() if "/back" in key}) == len(ranges) > 1
    publish(plane, range(3, 13), only="/back")
    plane.settle()
    assert list(slices(plane)) == ["news/all/0/0"]


def test_a_channel_that_ends_with_a_backlog_is_over_when_that_is_made() -> None:
    plane = a_channel()
    plane.add("gops", *gops(count=50, first=14, at=plane.now))
    wait(plane, 50_000)
    plane.settle()
    plane.add("channels", a_period_end(next_msn=16))
    plane.settle()
    publish(plane, range(3, 16), only="news/all")
    plane.settle()
    assert all("/back" in key for key in plane.standing.assignments)
    assert "news" in plane.standing.plans
    publish(plane, range(3, 16))
    plane.settle()
    assert not plane.standing.assignments
    assert "news" not in plane.standing.plans


def test_what_stands_by_an_older_version_goes_on() -> None:
    plane = a_channel()
    held = plane.standing.assignments["news/all/0/0"]
    assert (held.slice_id, held.copy) == ("news/all/0", 0)
    plane.standing = replace(plane.standing, assignments={"news/all/0/0": replace(held, since_unix_ms=T0)})
    assert plane.settle() == []

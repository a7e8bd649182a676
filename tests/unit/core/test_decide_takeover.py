"""Work moves when packagers die, leave, drain, are replaced or fail, and goes on at the first segment that is not done."""

from dataclasses import replace

from schemas.records import Assignment, ChannelDemand, Cost, Fault, Level, PackagerState, Reason, SliceProgress
from schemas.settings import GranularitySettings
from schemas.units import Msn
from streams.core.facts import read
from streams.core.load import channel_load
from streams.core.policy import Policy
from tests.builders_control import ControlPlane, a_demand, a_gop, a_heartbeat, a_period, a_period_end, a_report, beats, gops

KEY = "news/all/0/0"
BACK = "news/back2-all/0/0"
POOL = ("p1", "p2", "p3")


def a_running_channel(*packagers: str, gop_count: int = 14) -> ControlPlane:
    """Segments 0 to 2 are whole, 3 is open with two GOPs; 0 and 1 are reported."""
    plane = ControlPlane()
    beats(plane, *(packagers or POOL))
    plane.settle()
    plane.add("channels", a_period(idle_level=Level.PARTS))
    plane.settle()
    plane.add("gops", *gops(count=gop_count))
    plane.add("reports", a_report(msns=[0, 1], packager=held(plane).packager_id, epoch=held(plane).epoch))
    return plane


def held(plane: ControlPlane, key: str = KEY) -> Assignment:
    return plane.standing.assignments[key]


def silence(plane: ControlPlane, ms: int, *others: str, start: int = 8) -> None:
    for number in range(ms // 500):
        for packager in others:
            plane.add("heartbeats", a_heartbeat(packager, number=start + number))
        plane.log.pass_ms(500)


def test_a_silent_packager_is_dead_after_the_threshold_and_its_slice_goes_on_at_the_first_open_segment() -> None:
    plane = a_running_channel()
    holder, epoch = held(plane).packager_id, held(plane).epoch
    others = [p for p in POOL if p != holder]
    silence(plane, 1_500, *others)
    assert plane.settle() == []
    silence(plane, 1_000, *others, start=11)
    (decision,) = plane.settle()
    assert [(dead.packager_id, dead.reason) for dead in decision.dead] == [(holder, Reason.PACKAGER_DEAD)]
    assert held(plane).packager_id in others
    assert held(plane).reason is Reason.PACKAGER_DEAD
    assert (held(plane).from_msn, held(plane).first_offset) == (2, 8 * 16)
    assert held(plane).epoch == decision.number > epoch
    assert (held(plane).cause, held(plane).cause_unix_ms) == ("", 0)


def test_a_segment_is_open_while_one_of_its_tracks_is_missing() -> None:
    plane = a_running_channel()
    holder = held(plane).packager_id
    plane.add("reports", a_report(msns=[2], packager=holder, tracks=("v0", "v1", "v2")))
    silence(plane, 3_000, *(p for p in POOL if p != holder))
    plane.settle()
    assert held(plane).from_msn == 2


def test_a_slice_with_nothing_open_goes_on_behind_the_newest_segment() -> None:
    plane = a_running_channel(gop_count=12)
    holder = held(plane).packager_id
    plane.add("reports", a_report(msns=[2], packager=holder))
    silence(plane, 3_000, *(p for p in POOL if p != holder))
    plane.settle()
    assert (held(plane).from_msn, held(plane).first_offset) == (3, 11 * 16)


def test_a_segment_that_a_period_ended_within_its_first_gop_is_taken_over_though_no_index_entry_names_it() -> None:
    # Found by simulation: the encoder died within GOP 12, the holder while a new period began; segment 3 was never made.
    plane = a_running_channel(gop_count=12)
    plane.add("reports", a_report(msns=[2], packager=held(plane).packager_id, epoch=held(plane).epoch))
    plane.add("channels", a_period_end(next_msn=4, ended=False))
    plane.add("channels", a_period(period=1, first_msn=4, first_offset=200, idle_level=Level.PARTS, at=plane.now))
    plane.add("gops", replace(a_gop(period=1, msn=4, gop_count=1, durable=plane.now), first_offset=201, last_offset=216))
    silence(plane, 2_500, *(p for p in POOL if p != held(plane).packager_id))
    plane.settle()
    assert (held(plane).from_msn, held(plane).first_offset) == (3, 11 * 16)


def test_a_suspect_keeps_its_slice_but_gets_no_new_one() -> None:
    plane = a_running_channel()
    holder = held(plane).packager_id
    others = [p for p in POOL if p != holder]
    silence(plane, 1_500, *others)
    plane.add("channels", *(a_period(c, idle_level=Level.PARTS) for c in ("a", "b", "c", "d")))
    plane.settle()
    assert held(plane).packager_id == holder
    assert all(a.packager_id != holder for key, a in plane.standing.assignments.items() if key != KEY)


def test_a_packager_that_left_is_replaced_at_once_and_its_farewell_is_the_cause() -> None:
    plane = a_running_channel()
    holder = held(plane).packager_id
    plane.add("heartbeats", a_heartbeat(holder, number=9, state=PackagerState.GONE))
    plane.settle()
    assert held(plane).packager_id != holder
    assert held(plane).reason is Reason.PACKAGER_GONE
    assert held(plane).cause == f"finecut.heartbeats/0/{plane.log.offsets['heartbeats'] - 1}"
    assert held(plane).cause_unix_ms == plane.now


def test_a_draining_packager_hands_over_and_keeps_what_nobody_can_take() -> None:
    plane = a_running_channel("p1")
    plane.add("heartbeats", a_heartbeat("p1", number=9, state=PackagerState.DRAINING))
    plane.settle()
    assert held(plane).packager_id == "p1"
    assert plane.standing.queued[KEY].unavailable_count == 1
    plane.add("heartbeats", a_heartbeat("p2"))
    plane.settle()
    assert (held(plane).packager_id, held(plane).reason, held(plane).from_msn) == ("p2", Reason.PACKAGER_DRAINING, 2)
    assert not plane.standing.queued


def test_a_new_life_of_a_name_ends_the_old_one_and_takes_its_work() -> None:
    plane = a_running_channel("p1")
    plane.add("heartbeats", a_heartbeat("p1", life="l2"))
    plane.settle()
    assert list(plane.standing.dead) == ["p1/l1"]
    assert (held(plane).packager_id, held(plane).life, held(plane).from_msn) == ("p1", "l2", 2)


def test_a_name_used_twice_settles_on_the_younger_life_however_they_alternate() -> None:
    plane = a_running_channel("p1")
    made = 0
    for number in range(10):
        plane.add("heartbeats", a_heartbeat("p1", life="l2", number=number))
        made += len(plane.settle())
        plane.add("heartbeats", a_heartbeat("p1", life="l1", number=8 + number))
        made += len(plane.settle())
        plane.log.pass_ms(500)
    assert made == 1
    assert held(plane).life == "l2"


def test_a_dead_life_stays_dead_when_it_beats_again() -> None:
    plane = a_running_channel()
    holder = held(plane).packager_id
    silence(plane, 3_000, *(p for p in POOL if p != holder))
    plane.settle()
    plane.add("heartbeats", a_heartbeat(holder, number=20))
    plane.add("channels", *(a_period(c, idle_level=Level.PARTS) for c in ("a", "b", "c", "d")))
    plane.settle()
    assert all(a.packager_id != holder for a in plane.standing.assignments.values())


def test_nobody_is_declared_dead_while_nobody_is_heard() -> None:
    plane = a_running_channel("p1", "p2")
    silence(plane, 40_000)
    assert not any(decision.dead or decision.assignments for decision in plane.settle())


def test_an_outage_that_ends_kills_nobody_while_heartbeats_come_back_one_by_one() -> None:
    plane = a_running_channel("p1", "p2", "p3", "p4")
    silence(plane, 12_000)
    for number, packager in enumerate(("p3", "p1", "p4", "p2")):
        plane.add("heartbeats", a_heartbeat(packager, number=30 + number))
        plane.log.pass_ms(400)
        assert plane.settle() == []


def test_a_mass_silence_is_held_to_be_our_fault_for_a_while() -> None:
    plane = a_running_channel("p1", "p2", "p3", "p4", "p5")
    silence(plane, 9_000, "p4", "p5")
    assert not any(decision.dead for decision in plane.settle())
    silence(plane, 1_000, "p4", "p5", start=30)
    (decision,) = plane.settle()
    assert [dead.packager_id for dead in decision.dead] == ["p1", "p2", "p3"]


def test_work_of_the_dead_waits_with_a_bookmark_when_there_is_no_capacity_and_is_taken_up_there() -> None:
    plane = ControlPlane()
    beats(plane, "p1")
    plane.settle()
    plane.add("channels", a_period(idle_level=Level.PARTS))
    plane.settle()
    plane.add("gops", *gops(count=14))
    plane.add("reports", a_report(msns=[0, 1]))
    plane.add("heartbeats", a_heartbeat("p1", number=9, state=PackagerState.GONE))
    plane.settle()
    assert (held(plane).packager_id, held(plane).reason, held(plane).from_msn) == ("p1", Reason.NO_CAPACITY, 2)
    assert list(plane.standing.queued) == [KEY]
    bookmark = held(plane)
    plane.log.pass_ms(400_000)
    plane.add("gops", *(a_gop(gop=400 + i, msn=100, first_gop=400) for i in range(4)))
    beats(plane, "p2")
    plane.settle()
    assert (held(plane, BACK).packager_id, held(plane, BACK).from_msn, held(plane, BACK).until_msn) == ("p2", 2, 100)
    assert held(plane, BACK).first_offset == bookmark.first_offset
    assert (held(plane).packager_id, held(plane).from_msn) == ("p2", 100)
    assert held(plane).epoch > bookmark.epoch
    assert not plane.standing.queued


def test_a_failure_of_its_own_moves_the_slice_to_another_packager_at_the_failed_segment() -> None:
    plane = a_running_channel()
    holder = held(plane).packager_id
    plane.add("reports", a_report(msns=[2], packager=holder, epoch=held(plane).epoch, fault=Fault.OWN))
    plane.settle()
    assert held(plane).packager_id != holder
    assert held(plane).from_msn == 2


def test_a_segment_that_three_holders_failed_to_make_is_void_and_the_slice_goes_on() -> None:
    plane = a_running_channel()
    for _ in range(3):
        plane.add("reports", a_report(msns=[2], packager=held(plane).packager_id, epoch=held(plane).epoch, fault=Fault.OWN))
        plane.settle()
    voids = plane.decisions[-1].voids
    assert [(void.msn, void.track, void.reason) for void in voids] == [(2, t, Reason.FAILED_THRICE) for t in ("a0", "v0", "v1", "v2")]
    assert {(void.start_ticks, void.duration_ticks) for void in voids} == {(0, 90_000)}
    assert {(void.media_partition, void.first_offset, void.until_offset) for void in voids} == {(3, 8 * 16, 12 * 16)}
    plane.add("reports", *voids)
    assert plane.settle() == []


def test_who_failed_with_a_segment_gets_it_again_only_when_all_others_have_failed_too() -> None:
    plane = a_running_channel("p1", "p2", "p3", "p4")
    tried = []
    for _ in range(3):
        tried.append(held(plane).packager_id)
        plane.add("reports", a_report(msns=[2], packager=held(plane).packager_id, epoch=held(plane).epoch, fault=Fault.OWN))
        assert not any(void for decision in plane.decisions for void in decision.voids)
        plane.settle()
    assert len(set(tried)) == 3


def test_a_pool_of_two_tries_a_segment_three_times() -> None:
    plane = a_running_channel("p1", "p2")
    for tries in range(1, 4):
        plane.add("reports", a_report(msns=[2], packager=held(plane).packager_id, epoch=held(plane).epoch, fault=Fault.OWN))
        plane.settle()
        assert any(decision.voids for decision in plane.decisions) is (tries == 3)


def test_what_lost_its_holder_may_fill_a_packager_to_the_brim_where_else_it_would_wait() -> None:
    plane = ControlPlane(Policy(granularity=GranularitySettings(slices_max=1)))
    cores = 0.0105  # two such channels take 0.95 of it
    beats(plane, "p1", "p2", cores=cores)
    for channel in ("arts", "news"):
        plane.add("channels", a_period(channel, idle_level=Level.SEGMENTS))
        plane.settle()
        plane.add("gops", *gops(channel, count=14))
    plane.add("demand", a_demand(channels=[ChannelDemand(channel=channel, whole_sessions=5, requests=9) for channel in ("arts", "news")]))
    plane.settle()
    first = held(plane).packager_id
    (second,) = {"p1", "p2"} - {first}
    assert held(plane, "arts/all/0/0").packager_id == second
    load = channel_load(read(plane.state, plane.policy, now=plane.now).channels["news"], Cost(), gops_per_segment=4, level=Level.SEGMENTS)
    assert 0.85 * cores < 2 * load.cores < cores
    plane.add("heartbeats", a_heartbeat(first, number=9, state=PackagerState.GONE, cores=cores))
    plane.settle()
    assert held(plane).packager_id == held(plane, "arts/all/0/0").packager_id == second
    assert not plane.standing.queued


def test_a_segment_whose_chunks_are_gone_is_void_at_once_and_stays_with_its_holder() -> None:
    plane = a_running_channel()
    before = held(plane)
    plane.add("reports", a_report(msns=[2], packager=before.packager_id, epoch=before.epoch, fault=Fault.INPUT))
    (decision,) = plane.settle()
    assert {void.reason for void in decision.voids} == {Reason.RETENTION}
    assert held(plane) == before


def test_a_failing_store_is_tried_again_under_a_new_epoch() -> None:
    plane = a_running_channel("p1")
    epoch = held(plane).epoch
    plane.add("reports", a_report(msns=[2], epoch=epoch, fault=Fault.STORE))
    plane.settle()
    assert held(plane).packager_id == "p1"
    assert held(plane).epoch > epoch
    assert held(plane).from_msn == 2
    assert plane.settle() == []


def a_holder_that_catches_up() -> ControlPlane:
    """The work of p1 waited from segment 2 on for longer than the memory; p2 has it now, as a range up to the edge at segment 100."""
    plane = a_running_channel("p1")
    plane.add("heartbeats", a_heartbeat("p1", number=9, state=PackagerState.GONE))
    plane.settle()
    plane.log.pass_ms(400_000)
    plane.add("gops", *(replace(a_gop(gop=400 + i, msn=100, first_gop=400), durable_unix_ms=plane.now) for i in range(4)))
    beats(plane, "p2")
    plane.settle()
    assert (held(plane, BACK).packager_id, held(plane, BACK).from_msn) == ("p2", 2)
    beats(plane, "p2", "p3", start=8)
    return plane


def progress(plane: ControlPlane, next_msn: int) -> tuple[SliceProgress, ...]:
    return (SliceProgress(slice_id="news/back2-all/0", copy=0, epoch=held(plane, BACK).epoch, next_msn=Msn(next_msn)),)


def test_a_backlog_older_than_memory_passes_on_when_the_holder_that_catches_up_leaves() -> None:
    plane = a_holder_that_catches_up()
    bookmark = held(plane, BACK)
    plane.add("reports", a_report(msns=range(2, 30), packager="p2", epoch=held(plane, BACK).epoch))
    plane.add("heartbeats", a_heartbeat("p2", number=50, state=PackagerState.GONE))
    plane.settle()
    assert (held(plane, BACK).packager_id, held(plane, BACK).from_msn, held(plane, BACK).first_offset) == ("p3", 30, bookmark.first_offset)


def test_what_a_holder_did_longer_ago_than_the_memory_stands_in_its_heartbeats() -> None:
    plane = a_holder_that_catches_up()
    plane.add("heartbeats", a_heartbeat("p2", number=49, slices=progress(plane, 41)))
    plane.add("reports", a_report(msns=[41, 42], packager="p2", epoch=held(plane, BACK).epoch))
    plane.settle()
    plane.add("heartbeats", a_heartbeat("p2", number=50, state=PackagerState.DRAINING, slices=progress(plane, 42)))
    plane.settle()
    assert (held(plane, BACK).packager_id, held(plane, BACK).from_msn) == ("p3", 43)


def test_how_far_a_slice_is_stands_in_what_is_restated_so_that_nobody_goes_back_further() -> None:
    plane = a_holder_that_catches_up()
    epoch = held(plane, BACK).epoch
    plane.add("reports", a_report(msns=range(2, 30), packager="p2", epoch=epoch))
    plane.log.pass_ms(plane.policy.planner.restate_ms)
    plane.settle()
    assert plane.decisions[-1].whole
    assert (held(plane, BACK).packager_id, held(plane, BACK).epoch, held(plane, BACK).from_msn) == ("p2", epoch, 30)


def test_a_channel_that_ended_is_not_over_while_its_backlog_is_made() -> None:
    plane = a_holder_that_catches_up()
    plane.add("channels", a_period_end(next_msn=101))
    plane.settle()
    assert (held(plane, BACK).until_msn, held(plane).until_msn) == (100, 101)
    plane.add("reports", a_report(msns=[100], packager="p2", epoch=held(plane).epoch))
    plane.settle()
    assert list(plane.standing.assignments) == [BACK]
    assert "news" in plane.standing.plans
    plane.add("reports", a_report(msns=range(2, 100), packager="p2", epoch=held(plane, BACK).epoch))
    plane.settle()
    assert not plane.standing.assignments
    assert "news" not in plane.standing.plans


def test_a_channel_that_ended_is_over_when_its_holder_said_so_longer_ago_than_the_memory() -> None:
    plane = a_holder_that_catches_up()
    plane.add("heartbeats", a_heartbeat("p2", number=50, slices=progress(plane, 100)))
    plane.add("channels", a_period_end(next_msn=101))
    plane.settle()
    assert BACK not in plane.standing.assignments


def test_what_retention_took_before_the_index_remembers_is_void_as_its_report_says() -> None:
    plane = a_holder_that_catches_up()
    plane.add("reports", a_report(msns=[2], packager="p2", epoch=held(plane, BACK).epoch, fault=Fault.INPUT))
    (decision,) = plane.settle()
    voids = [(void.msn, void.track, void.start_ticks, void.duration_ticks, void.reason) for void in decision.voids]
    assert voids == [(2, track, 0, 90_000, Reason.RETENTION) for track in ("a0", "v0", "v1", "v2")]
    assert held(plane, BACK).packager_id == "p2"

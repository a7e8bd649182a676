"""What a pool does when its capacity is short: lengthen, lower what nobody watches, make once, ask for packagers as far as they help."""

from schemas.records import ChannelDemand, Cost, Level, Reason
from schemas.settings import AssignmentSettings, GranularitySettings
from streams.core.decide import decide
from streams.core.policy import Policy
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_gop, a_heartbeat, a_period, some_forecasts

# Cores that a channel takes to parts in segments of 4 s.
CHANNEL = 0.009
CPU_ALONE = AssignmentSettings(part_ms_budget=10_000.0)
SETTINGS = GranularitySettings(slices_max=1, copies_viewers=20)


def a_pool(*cores: float, policy: Policy | None = None) -> ControlPlane:
    plane = ControlPlane(policy or Policy(granularity=SETTINGS, assignment=CPU_ALONE))
    for number in range(8):
        beat(plane, *cores, number=number)
    plane.settle()
    return plane


def beat(plane: ControlPlane, *cores: float, number: int) -> None:
    for i, size in enumerate(cores):
        plane.add("heartbeats", a_heartbeat(f"p{i}", number=number, cores=size))
    plane.log.pass_ms(500)


def pass_s(plane: ControlPlane, seconds: int, *cores: float, seen: tuple[ChannelDemand, ...] = (), joins: float = 0.0) -> None:
    for _ in range(seconds):
        for _ in range(2):
            beat(plane, *cores, number=plane.log.offsets["heartbeats"])
        second = plane.log.offsets.get("demand", 0)
        channels = sorted(plane.standing.plans) or ["news"]
        plane.add("gops", *(a_gop(name, gop=second, msn=second // 4, first_gop=second // 4 * 4, durable=plane.now) for name in channels))
        plane.add("demand", a_demand(channels=seen))
        watched = [a_forecast(c.channel, sessions=float(c.whole_sessions + c.part_sessions), joins=joins) for c in seen]
        plane.add("forecasts", some_forecasts(*watched))
        plane.settle()


def levels(plane: ControlPlane) -> dict[str, Level]:
    return {channel: plan.level for channel, plan in plane.standing.plans.items()}


def test_what_nobody_watches_gives_way_to_what_is_watched_and_comes_back_with_capacity() -> None:
    small = 2 * CHANNEL / 0.85
    plane = a_pool(small, policy=Policy(granularity=GranularitySettings(slices_max=1, level="parts"), assignment=CPU_ALONE))
    plane.add("channels", *(a_period(name, idle_level=Level.PARTS) for name in ("arts", "chess", "news")))
    seen = tuple(ChannelDemand(channel=name, part_sessions=5, requests=5) for name in ("chess", "news"))
    pass_s(plane, 3, small, seen=seen)
    assert levels(plane) == {"arts": Level.OFF, "chess": Level.PARTS, "news": Level.PARTS}
    assert not plane.standing.queued
    pass_s(plane, 3, small, 1.0, seen=seen)
    assert set(levels(plane).values()) == {Level.PARTS}


def test_what_is_watched_waits_and_asks_for_packagers_when_nothing_is_left_to_lower() -> None:
    small = 1.5 * CHANNEL / 0.85
    plane = a_pool(small)
    plane.add("channels", *(a_period(name) for name in ("arts", "news")))
    seen = (
        ChannelDemand(channel="arts", part_sessions=5, requests=5, buffer_ms_p10=1_000),
        ChannelDemand(channel="news", part_sessions=5, requests=5, buffer_ms_p10=100),
    )
    pass_s(plane, 3, small, seen=seen)
    assert set(levels(plane).values()) == {Level.PARTS}
    assert list(plane.standing.queued) == ["arts/all/0/0"]
    scaling = plane.standing.scaling
    assert scaling
    assert (scaling.wanted, scaling.reason, scaling.unfit_slices) == (2, Reason.NO_CAPACITY, 0)


def test_no_packagers_are_asked_for_a_slice_that_fits_none_of_them() -> None:
    tiny = 0.5 * CHANNEL
    plane = a_pool(tiny)
    plane.add("channels", a_period("news"))
    wanted = []
    for packagers in (1, 2, 3, 4):
        pass_s(plane, 2, *([tiny] * packagers), seen=(ChannelDemand(channel="news", part_sessions=5, requests=5),))
        scaling = plane.standing.scaling
        assert scaling
        assert scaling.unfit_slices == 1
        wanted.append(scaling.wanted)
    assert wanted[-1] == wanted[1]


def test_the_price_lengthens_segments_until_packagers_come() -> None:
    # Segments that cost much, so that their length makes the load; room for 1 s segments of one channel, but not of two.
    size = 0.065
    plane = a_pool(size, policy=Policy(granularity=SETTINGS, assignment=CPU_ALONE))
    plane.add("channels", *(a_period(name) for name in ("arts", "news")))
    for second in range(40):
        seen = tuple(ChannelDemand(channel=name, whole_sessions=90, joins=4, requests=9) for name in ("arts", "news"))
        beat(plane, size, number=100 + 2 * second)
        beat(plane, size, number=101 + 2 * second)
        for name in ("arts", "news"):
            plane.add("gops", a_gop(name, gop=second, msn=second, first_gop=second, gop_count=1, durable=plane.now))
        plane.add("demand", a_demand(channels=seen))
        costly = Cost(per_segment=0.006, per_part=0.0001, per_chunk=0.0001)
        plane.add("forecasts", some_forecasts(*(a_forecast(n, sessions=90.0, joins=4.0) for n in ("arts", "news")), cost=costly))
        plane.settle()
    scaling, plans = plane.standing.scaling, plane.standing.plans
    assert scaling
    assert scaling.price > 1.0
    assert {plan.gops_per_segment for plan in plans.values()} != {1}
    assert scaling.wanted > 1, "the forecast load asks for packagers at the lengths that are wanted"


def test_the_channels_with_most_at_stake_are_made_twice_while_there_is_room() -> None:
    plane = a_pool(1.0, 1.0)
    plane.add("channels", *(a_period(name) for name in ("arts", "news")))
    seen = (ChannelDemand(channel="arts", whole_sessions=500, requests=5), ChannelDemand(channel="news", part_sessions=40, requests=5))
    pass_s(plane, 3, 1.0, 1.0, seen=seen)
    assert {channel: plan.copies for channel, plan in plane.standing.plans.items()} == {"arts": 1, "news": 2}
    holders = {held.packager_id for held in plane.standing.assignments.values() if held.channel == "news"}
    assert len(holders) == 2


def test_decisions_under_an_older_policy_have_the_settings_it_did_not_know_at_their_defaults() -> None:
    old = '{"granularity":{"idle_ms":30000,"hold_ms":8000,"hysteresis":1.25,"phi":0.2},"assignment":{"strategy":"least_loaded"}}'
    assert Policy.from_json(old) == Policy()
    assert decide(a_pool(1.0).state, a_pool(1.0).standing, Policy.from_json(old), now=a_pool(1.0).now, code_version="", cause=None) is None

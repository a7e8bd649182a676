"""The price of a pool and what follows from it: monotone, within bounds, still under noise, the same wherever reading began."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import ChannelDemand, Level, Load
from schemas.settings import GranularitySettings
from streams.core.facts import read
from streams.core.granularity import choose_plans
from streams.core.length import Terms
from streams.core.policy import Policy
from streams.core.price import Line, settle_price
from streams.core.sharing import deal_for
from tests.builders_control import ControlPlane, a_demand, a_forecast, a_gop, a_heartbeat, a_period, fold, some_forecasts

SMALL = st.floats(1e-5, 0.05)
LINES = st.lists(
    st.builds(
        lambda packaging, serving, waiting, least: Line(
            terms=Terms(packaging=packaging, serving=serving, waiting=waiting), gop_s=1.0, least=least, most=6
        ),
        SMALL, st.floats(0, 0.05), SMALL, st.integers(1, 6),
    ),
    max_size=8,
)  # fmt: skip


@given(LINES, st.floats(0.001, 2.0), st.floats(0, 1.0), st.floats(0.001, 2.0), st.sampled_from([1.0, 2.0, 32.0]))
def test_more_load_never_lowers_the_price(lines: list[Line], load: float, more: float, room: float, before: float) -> None:
    few, many = (settle_price(before, lines, load=total, room=room) for total in (load, load + more))
    assert 1.0 <= few <= many


@given(LINES, st.floats(0.001, 2.0), st.floats(0.001, 2.0), st.sampled_from([1.0, 2.0, 32.0]))
def test_a_price_in_force_stays_while_nothing_changes(lines: list[Line], load: float, room: float, before: float) -> None:
    price = settle_price(before, lines, load=load, room=room)
    assert settle_price(price, lines, load=load, room=room) == price


@given(st.floats(0.0, 8.0), st.floats(0.0, 2_000.0), st.integers(1, 8), st.integers(1, 32))
def test_a_deal_is_no_finer_than_may_be_and_no_coarser_where_finer_helps(cores: float, part_ms: float, tracks: int, most: int) -> None:
    limits = GranularitySettings(slices_max=most)
    deal = deal_for((cores, 0, 0, 0, part_ms), (2.0, 1e9, 1e9, 1e9, 300.0), tracks=tracks, settings=limits)
    assert 1 <= deal.groups <= tracks
    assert deal.groups * deal.turns <= most
    largest = -(-tracks // deal.groups) / tracks / deal.turns * cores
    assert largest <= 0.05 * 2.0 + 1e-9 or (deal.groups == min(tracks, most) and deal.turns == max(1, most // deal.groups))


def a_second(plane: ControlPlane, second: int, names: list[str], joins: float) -> None:
    for half in range(2):
        plane.add("heartbeats", *(a_heartbeat(f"p{i}", number=2 * second + half, cores=0.03) for i in range(2)))
        plane.log.pass_ms(500)
    plane.add("gops", *(a_gop(n, gop=second, msn=second, first_gop=second, gop_count=1, durable=plane.now) for n in names))
    seen = (ChannelDemand(channel=name, whole_sessions=30, part_sessions=30, joins=2, requests=99, whole_requests=40) for name in names)
    plane.add("demand", a_demand(channels=seen))
    plane.add("forecasts", some_forecasts(*(a_forecast(name, sessions=60.0, joins=joins) for name in names)))


@settings(max_examples=4, deadline=None)
@given(st.floats(0.1, 4.0), st.lists(st.floats(0.75, 1.3), min_size=35, max_size=35))
def test_a_short_pool_with_a_flat_noisy_audience_settles(joins: float, noise: list[float]) -> None:
    """Prices, lengths, deals and copies: each is set when its evidence comes, then left alone."""
    names = ["arts", "chess", "news"]
    plane = ControlPlane(Policy(granularity=GranularitySettings(copies_viewers=20)))
    plane.add("channels", *(a_period(name, idle_level=Level.PARTS) for name in names))
    plans = []
    for second, factor in enumerate(noise):
        a_second(plane, second, names, joins * factor)
        plane.decide()  # nobody reports here, so that voids would be declared for ever
        plans.append({name: replace(plan, since_unix_ms=0, decision=0) for name, plan in plane.standing.plans.items()})  # type: ignore[arg-type]
    late = plans[15:]
    assert sum(before != after for before, after in pairwise(late)) <= 3


@settings(max_examples=4, deadline=None)
@given(st.floats(0.0, 4.0), st.integers(330, 400))
def test_granularity_follows_from_the_memory_wherever_reading_began(joins: float, seconds: int) -> None:
    plane = ControlPlane()
    plane.add("channels", a_period("news"))
    for second in range(seconds):
        a_second(plane, second, ["news"], joins)
    since = plane.now - plane.policy.planner.memory_ms - 7_000
    made = [
        choose_plans(
            read(state, plane.policy, now=plane.now), {}, plane.policy,
            capacities=[Load(cores=1.0)] * 2, waiting={}, price=1.0, number=1,
        )
        for state in (plane.state, fold(plane.log.entries, since=since))
    ]  # fmt: skip
    assert made[0] == made[1]

"""Placement is valid, within capacity, balanced, indifferent to the order of its input, and sticky."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Level, Load
from streams.core.assignment import EncodedChannel, Slice, assign_segments
from streams.core.load import share
from streams.core.rebalance import UNEVEN, UNEVEN_MIN, rebalance
from streams.core.standing import NOBODY
from streams.core.strategies import STRATEGIES, Seat
from tests.builders_control import ControlPlane, a_heartbeat, a_period, beats

CORES = st.floats(0.01, 2.0, allow_nan=False)
POOLS = st.lists(CORES, max_size=8).map(
    lambda cores: [Seat(packager_id=f"p{i}", life="l", usable=Load(cores=c, memory_bytes=10**9)) for i, c in enumerate(cores)]
)
WORK = st.lists(st.tuples(CORES, st.integers(1, 10**9)), max_size=20).map(
    lambda loads: [EncodedChannel(channel=f"c{i}", tracks=("v0",), load=Load(cores=c, memory_bytes=m)) for i, (c, m) in enumerate(loads)]
)
DEMAND = st.dictionaries(st.sampled_from([f"c{i}" for i in range(20)]), st.floats(0, 1e6), max_size=20)
STRATEGY = st.sampled_from(sorted(STRATEGIES))


@given(WORK, POOLS, DEMAND, STRATEGY)
def test_every_slice_is_placed_within_capacity_or_overflows_with_its_causes(
    work: list[EncodedChannel], pool: list[Seat], demand: dict[str, float], strategy: str
) -> None:
    dealt = assign_segments(work, pool, demand, strategy=strategy)
    waiting = {left.slice.key for left in dealt.overflow}
    assert {*dealt.holders} | waiting == {f"{channel.channel}/all/0/0" for channel in work}
    assert not waiting & set(dealt.holders)
    assert all(left.full_count + left.barred_count == len(pool) for left in dealt.overflow)
    loads = {f"{channel.channel}/all/0/0": channel.load for channel in work}
    for seat in pool:
        held = [loads[key] for key, packager in dealt.holders.items() if packager == seat.packager_id]
        used = Load(cores=sum(load.cores for load in held), memory_bytes=sum(load.memory_bytes for load in held))
        assert share(used, seat.usable) <= 1.0 + 1e-9
    for key in waiting:
        # What waits fits nowhere even now: capacity is never left to it unused.
        assert all(seat.share_with(loads[key]) > 1.0 for seat in dealt.seats)


@given(WORK, POOLS, DEMAND, STRATEGY, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    work: list[EncodedChannel], pool: list[Seat], demand: dict[str, float], strategy: str, random: object
) -> None:
    dealt = assign_segments(work, pool, demand, strategy=strategy)
    getattr(random, "shuffle")(work)  # noqa: B009 - hypothesis gives an untyped Random
    getattr(random, "shuffle")(pool)  # noqa: B009 - as above
    assert assign_segments(work, pool, demand, strategy=strategy) == dealt


@given(st.lists(st.floats(0.5, 1.0), min_size=100, max_size=160), st.integers(2, 8))
def test_slices_of_a_few_percent_are_dealt_evenly(sizes: list[float], packagers: int) -> None:
    # Room is such that a slice is at most 5 % of what a packager ends up with.
    work = [EncodedChannel(channel=f"c{i}", tracks=("v0",), load=Load(cores=size)) for i, size in enumerate(sizes)]
    pool = [Seat(packager_id=f"p{i}", life="l", usable=Load(cores=1_000.0)) for i in range(packagers)]
    used = [seat.used.cores for seat in assign_segments(work, pool, {}).seats]
    largest = max(sizes)
    assert max(used) - min(used) <= largest
    if largest <= 0.05 * sum(used) / packagers:
        assert max(used) <= 1.05 * sum(used) / packagers


@given(st.lists(st.tuples(st.floats(0.1, 0.5), st.integers(0, 4)), max_size=25), st.integers(1, 5))
def test_moves_pay_terminate_and_leave_nothing_that_pays(slices: list[tuple[float, int]], packagers: int) -> None:
    held = [
        (Slice(slice_id=f"c{i}/all/0", copy=0, channel=f"c{i}", tracks=("v0",), load=Load(cores=size)), f"p{where % packagers}")
        for i, (size, where) in enumerate(slices)
    ]
    for _ in range(20):
        seats = [
            Seat(packager_id=p, life="l", usable=Load(cores=4.0), used=Load(cores=sum(piece.load.cores for piece, at in held if at == p)))
            for p in (f"p{i}" for i in range(packagers))
        ]
        fullest = max(seat.used.cores for seat in seats)
        moves = rebalance(held, seats, moves_max=8)
        if not moves:
            break
        held = [(piece, moves.get(piece.key, where)) for piece, where in held]
        after = max(sum(piece.load.cores for piece, at in held if at == seat.packager_id) for seat in seats)
        assert after <= fullest + 1e-9
    else:
        raise AssertionError("moves go on for ever")
    shares = [seat.used.cores / 4.0 for seat in seats]
    mean = sum(shares) / len(shares)
    if max(shares) - mean > max(UNEVEN * mean, UNEVEN_MIN):
        # What is left uneven cannot be evened out by any one move.
        full, empty = shares.index(max(shares)), min(shares)
        sizes = [piece.load.cores / 4.0 for piece, at in held if at == seats[full].packager_id]
        assert all(empty + size > shares[full] - size / 2 - 1e-9 or empty + size > 1.0 for size in sizes)


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(1, 12), st.data())
def test_only_the_slices_of_a_packager_that_dies_move(packagers: int, channels: int, data: st.DataObject) -> None:
    names = [f"p{i}" for i in range(packagers)]
    plane = ControlPlane()
    beats(plane, *names, count=8)
    plane.add("channels", *(a_period(f"c{i}", idle_level=Level.PARTS) for i in range(channels)))
    plane.settle()
    before = dict(plane.standing.assignments)
    dead = data.draw(st.sampled_from(names))
    beats(plane, *(name for name in names if name != dead), start=8)
    plane.settle()
    moved = {key for key, held in plane.standing.assignments.items() if held != before[key]}
    assert moved == {key for key, held in before.items() if held.packager_id == dead}


@settings(max_examples=30)
@given(st.lists(st.floats(0.1, 4.0), min_size=1, max_size=8), st.integers(1, 12))
def test_nobody_is_dealt_more_than_the_share_of_its_capacity(cores: list[float], channels: int) -> None:
    plane = ControlPlane()
    for i, size in enumerate(cores):
        plane.add("heartbeats", a_heartbeat(f"p{i}", cores=size * 0.05))
    plane.add("channels", *(a_period(f"c{i}", idle_level=Level.PARTS) for i in range(channels)))
    plane.settle()
    # Nobody watches: what does not fit is not packaged.
    on = {channel for channel, plan in plane.standing.plans.items() if plan.level is not Level.OFF}
    assert {held.channel for held in plane.standing.assignments.values()} == on
    waiting = {key for key, held in plane.standing.assignments.items() if held.packager_id == NOBODY}
    assert waiting == set(plane.standing.queued)

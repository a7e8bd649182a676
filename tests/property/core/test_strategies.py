"""Every strategy places as its plain definition does, slice by slice, looking at every packager each time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import gcd

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.records import Load
from streams.core.assignment import Slice, place
from streams.core.load import add, share
from streams.core.strategies import HASH_FILL, POINTS_MAX, STRATEGIES, Account, Seat, charged, hashed, points, pooled

Feasible = Sequence[Seat]
Plain = Callable[[Feasible, Slice, str, Sequence[Seat], Load], Seat]
"""Feasible seats by id, the slice, the packager picked last, all seats, and all loads together, to the seat that takes it."""

# Few values, so that ties are common; thirds and sevenths, so that sums round.
PARTS = st.sampled_from([0.0, 0.05, 0.1, 1 / 7, 0.2, 0.3, 1 / 3, 0.7])
LOADS = st.builds(
    Load,
    cores=PARTS,
    memory_bytes=st.sampled_from([0, 1, 3, 10]),
    in_bytes_per_s=st.sampled_from([0, 7]),
    out_bytes_per_s=st.sampled_from([0, 5, 14]),
    part_ms=PARTS,
)
USABLE = st.builds(
    Load,
    cores=st.sampled_from([0.0, 0.85, 1.0, 1.7, 3.4]),
    memory_bytes=st.sampled_from([0, 20, 21, 40]),
    in_bytes_per_s=st.sampled_from([0, 50]),
    out_bytes_per_s=st.sampled_from([0, 60]),
    part_ms=st.sampled_from([0.0, 1.0, 1.5]),
)


@st.composite
def pools(draw: st.DrawFn) -> list[Seat]:
    shapes = draw(st.lists(st.tuples(USABLE, PARTS, st.integers(0, 2)), max_size=9))
    return [
        Seat(packager_id=f"p{i}", life="l", usable=usable, used=Load(cores=used * usable.cores), held=held)
        for i, (usable, used, held) in enumerate(shapes)
    ]


@st.composite
def works(draw: st.DrawFn) -> list[Slice]:
    shapes = draw(
        st.lists(
            st.tuples(LOADS, st.integers(0, 1), st.sampled_from([0.0, 1.0, 9.0]), st.frozensets(st.sampled_from(["p0", "p1", "p2"]))),
            max_size=24,
        )
    )
    return [
        Slice(
            slice_id=f"c{i // 2}/all/{i % 2 if copy == 0 else 0}",
            copy=copy and i % 2,
            channel="c",
            tracks=(),
            load=load,
            viewers=viewers,
            barred=barred,
        )
        for i, (load, copy, viewers, barred) in enumerate(shapes)
    ]


def least_loaded(feasible: Feasible, piece: Slice, last: str, seats: Sequence[Seat], work: Load) -> Seat:
    return min(feasible, key=lambda seat: (seat.share_with(piece.load), seat.packager_id))


def round_robin(feasible: Feasible, piece: Slice, last: str, seats: Sequence[Seat], work: Load) -> Seat:
    return next((seat for seat in feasible if seat.packager_id > last), feasible[0])


def weighted_round_robin(feasible: Feasible, piece: Slice, last: str, seats: Sequence[Seat], work: Load) -> Seat:
    def weight(seat: Seat) -> float:
        return (seat.held + 1) / seat.usable.cores if seat.usable.cores else float("inf")

    return min(feasible, key=lambda seat: (weight(seat), seat.packager_id <= last, seat.packager_id))


def power_of_two(feasible: Feasible, piece: Slice, last: str, seats: Sequence[Seat], work: Load) -> Seat:
    bits, count = hashed(piece.key), len(seats)
    step = next(s for s in range(1 + (bits >> 32) % count, 2 * count + 2) if gcd(s, count) == 1)
    drawn = [seats[(bits + i * step) % count].packager_id for i in range(count)]
    return least_loaded(sorted(feasible, key=lambda seat: drawn.index(seat.packager_id))[:2], piece, last, seats, work)


def bounded_hash(feasible: Feasible, piece: Slice, last: str, seats: Sequence[Seat], work: Load) -> Seat:
    at = hashed(piece.key)
    ring = sorted((point, seat.packager_id) for seat in seats for point in points(Account(seat)))
    near = [packager for _, packager in [*(p for p in ring if p[0] >= at), *(p for p in ring if p[0] < at)][:POINTS_MAX]]
    fill = HASH_FILL * share(work, pooled(seats))
    filled = [seat for seat in feasible if seat.packager_id in near and seat.share_with(piece.load) <= fill]
    return min(filled, key=lambda seat: near.index(seat.packager_id), default=least_loaded(feasible, piece, last, seats, work))


PLAIN: dict[str, Plain] = {
    "least_loaded": least_loaded,
    "round_robin": round_robin,
    "weighted_round_robin": weighted_round_robin,
    "power_of_two": power_of_two,
    "bounded_hash": bounded_hash,
}


def deal(
    slices: Sequence[Slice], seats: Sequence[Seat], strategy: str, last: str
) -> tuple[dict[str, str], list[tuple[str, int]], dict[str, Seat]]:
    """The plain definition: holders, what waits with how many barred, and the seats."""
    taken = {seat.packager_id: seat for seat in sorted(seats, key=lambda seat: seat.packager_id)}
    work = charged(
        [Seat(packager_id="", life="", usable=Load())], [("", load) for load in [*(s.used for s in seats), *(s.load for s in slices)]]
    )
    holders: dict[str, str] = {}
    waiting = []
    for piece in slices:
        barred = piece.barred | {holders[other.key] for other in slices if other.slice_id == piece.slice_id and other.key in holders}
        allowed = [seat for seat in taken.values() if seat.packager_id not in barred]
        feasible = [seat for seat in allowed if seat.share_with(piece.load) <= 1.0]
        if not feasible:
            waiting.append((piece.key, len(taken) - len(allowed)))
            continue
        seat = PLAIN[strategy](feasible, piece, last, list(taken.values()), work[0].used)
        last = holders[piece.key] = seat.packager_id
        taken[last] = replace(seat, used=add(seat.used, piece.load), held=seat.held + 1)
    return holders, waiting, taken


def plainly(
    slices: Sequence[Slice], seats: Sequence[Seat], strategy: str, last: str
) -> tuple[dict[str, str], list[tuple[str, int]], list[Seat]]:
    """By size, and if that leaves any without a packager, by who watches."""
    whole = pooled(seats)
    size = {piece.key: share(piece.load, whole) for piece in slices}
    by_size = sorted(slices, key=lambda s: (-size[s.key], -s.viewers, s.since_unix_ms, s.key))
    by_stake = sorted(slices, key=lambda s: (-s.viewers, s.since_unix_ms, -size[s.key], s.key))
    holders, waiting, taken = deal(by_size, seats, strategy, last)
    if waiting:
        holders, waiting, taken = deal(by_stake, seats, strategy, last)
    return holders, waiting, [taken[packager] for packager in sorted(taken)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=60)
@given(works(), pools(), st.sampled_from(["", "p0", "p3", "p44", "q"]), st.randoms(use_true_random=False))
def test_a_strategy_places_as_its_plain_definition_does(
    strategy: str, slices: list[Slice], seats: list[Seat], last: str, random: object
) -> None:
    expected = plainly(slices, seats, strategy, last)
    getattr(random, "shuffle")(slices)  # noqa: B009 - hypothesis gives an untyped Random
    getattr(random, "shuffle")(seats)  # noqa: B009 - as above
    dealt = place(slices, seats, strategy=strategy, last=last)
    assert (dict(dealt.holders), [(left.slice.key, left.barred_count) for left in dealt.overflow], list(dealt.seats)) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    st.lists(st.tuples(st.floats(0.001, 0.2), st.integers(0, 2**20), st.floats(0.0, 9.0)), min_size=60, max_size=150),
    st.lists(st.tuples(st.floats(0.5, 4.0), st.integers(2**22, 2**24)), min_size=4, max_size=12),
)
@settings(max_examples=10)
def test_it_does_so_in_pools_of_any_shape_whichever_rate_binds(
    strategy: str, loads: list[tuple[float, int, float]], shapes: list[tuple[float, int]]
) -> None:
    slices = [
        Slice(slice_id=f"c{i}/all/0", copy=0, channel="c", tracks=(), load=Load(cores=c, memory_bytes=m, part_ms=p))
        for i, (c, m, p) in enumerate(loads)
    ]
    seats = [
        Seat(packager_id=f"p{i:02}", life="l", usable=Load(cores=c, memory_bytes=m, part_ms=c * 40)) for i, (c, m) in enumerate(shapes)
    ]
    dealt = place(slices, seats, strategy=strategy)
    assert (dict(dealt.holders), [(left.slice.key, 0) for left in dealt.overflow], list(dealt.seats)) == plainly(
        slices, seats, strategy, ""
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(works(), pools())
def test_copies_never_share_a_packager(strategy: str, slices: list[Slice], seats: list[Seat]) -> None:
    holders = place(slices, seats, strategy=strategy).holders
    held = [(piece.slice_id, holders[piece.key]) for piece in slices if piece.key in holders]
    assert len(held) == len(set(held))


@given(st.permutations([0.1, 0.2, 0.3, 1 / 3, 1 / 7]))
@example([1 / 3, 1 / 7, 0.3, 0.2, 0.1])
def test_what_a_packager_uses_does_not_depend_on_the_order_of_its_slices(cores: list[float]) -> None:
    (seat,) = charged([Seat(packager_id="p", life="l", usable=Load())], [("p", Load(cores=c)) for c in cores])
    assert seat == charged([Seat(packager_id="p", life="l", usable=Load())], [("p", Load(cores=c)) for c in sorted(cores)])[0]
    assert seat.held == len(cores)

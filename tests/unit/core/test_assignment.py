"""Placement: within capacity, by strategy, with the most watched first when it is short."""

from typing import get_args

from schemas.records import Load
from schemas.settings import AssignmentSettings
from streams.core.assignment import EncodedChannel, Slice, assign_segments, place
from streams.core.rebalance import rebalance
from streams.core.strategies import STRATEGIES, Seat


def a_seat(packager: str, *, cores: float = 1.0, used: float = 0.0, held: int = 0) -> Seat:
    return Seat(packager_id=packager, life="l1", usable=Load(cores=cores), used=Load(cores=used), held=held)


def some_channels(count: int, *, cores: float = 0.1) -> list[EncodedChannel]:
    return [EncodedChannel(channel=f"c{i:02}", tracks=("v0",), load=Load(cores=cores)) for i in range(count)]


def a_slice(channel: str, cores: float, *, barred: frozenset[str] = frozenset()) -> Slice:
    return Slice(slice_id=f"{channel}/all/0", copy=0, channel=channel, tracks=("v0",), load=Load(cores=cores), barred=barred)


def test_each_packager_is_charged_before_the_next_slice_is_looked_at() -> None:
    dealt = assign_segments(some_channels(6), [a_seat("p1"), a_seat("p2"), a_seat("p3")], {})
    assert sorted(dealt.holders.values()) == ["p1", "p1", "p2", "p2", "p3", "p3"]


def test_the_largest_slices_are_placed_first() -> None:
    work = [EncodedChannel(channel=f"c{i}", tracks=("v0",), load=Load(cores=c)) for i, c in enumerate((0.2, 0.2, 0.2, 0.6))]
    dealt = assign_segments(work, [a_seat("p1"), a_seat("p2")], {})
    assert dealt.holders["c3/all/0/0"] != dealt.holders["c0/all/0/0"]
    assert [round(seat.used.cores, 3) for seat in dealt.seats] == [0.6, 0.6]


def test_round_robin_goes_on_after_the_last() -> None:
    slices = [a_slice(f"c{i}", 0.1) for i in range(4)]
    dealt = place(slices, [a_seat("p1"), a_seat("p2"), a_seat("p3")], strategy="round_robin", last="p2")
    assert [dealt.holders[piece.key] for piece in slices] == ["p3", "p1", "p2", "p3"]


def test_weighted_round_robin_gives_by_cores() -> None:
    dealt = assign_segments(some_channels(6), [a_seat("p1", cores=4.0), a_seat("p2", cores=2.0)], {}, strategy="weighted_round_robin")
    assert sorted(dealt.holders.values()) == ["p1"] * 4 + ["p2"] * 2


def test_memory_bounds_as_cores_do() -> None:
    seat = Seat(packager_id="p1", life="l1", usable=Load(cores=9.0, memory_bytes=150))
    work = [EncodedChannel(channel=c, tracks=("v0",), load=Load(cores=0.1, memory_bytes=100)) for c in ("a", "b")]
    dealt = assign_segments(work, [seat], {})
    assert list(dealt.holders) == ["a/all/0/0"]
    assert [left.full_count for left in dealt.overflow] == [1]


def test_a_barred_packager_is_counted_apart_from_a_full_one() -> None:
    dealt = place([a_slice("c", 0.5, barred=frozenset({"p1"}))], [a_seat("p1"), a_seat("p2", used=0.9)], strategy="least_loaded")
    assert [(left.full_count, left.barred_count) for left in dealt.overflow] == [(1, 1)]


def test_without_packagers_everything_waits() -> None:
    dealt = assign_segments(some_channels(2), [], {"c01": 5.0})
    assert [left.slice.channel for left in dealt.overflow] == ["c01", "c00"]


def test_a_move_must_pay() -> None:
    held = [(a_slice(f"c{i}", 0.3), "p1") for i in range(3)]
    seats = [a_seat("p1", used=0.9, held=3), a_seat("p2", used=0.0)]
    assert rebalance(held, seats, moves_max=8) == {"c0/all/0/0": "p2"}
    assert rebalance(held, [a_seat("p1", used=0.9), a_seat("p2", used=0.75)], moves_max=8) == {}
    assert rebalance(held, [a_seat("p1", used=0.9)], moves_max=8) == {}


def test_a_move_keeps_every_rate_within_capacity() -> None:
    heavy = Slice(slice_id="a/all/0", copy=0, channel="a", tracks=("v0",), load=Load(cores=0.3, memory_bytes=90))
    light = Slice(slice_id="b/all/0", copy=0, channel="b", tracks=("v0",), load=Load(cores=0.3, memory_bytes=10))
    full = Seat(packager_id="p1", life="l1", usable=Load(cores=1.0, memory_bytes=1_000), used=Load(cores=0.9, memory_bytes=100), held=2)
    small = Seat(packager_id="p2", life="l1", usable=Load(cores=1.0, memory_bytes=80))
    assert rebalance([(heavy, "p1"), (light, "p1")], [full, small], moves_max=8) == {"b/all/0/0": "p2"}


def test_every_strategy_can_be_chosen_by_the_setting() -> None:
    assert get_args(AssignmentSettings.model_fields["strategy"].annotation) == tuple(STRATEGIES)


def test_by_bounded_hash_a_packager_that_returns_gets_what_it_had() -> None:
    pool = [a_seat(f"p{i}", cores=4.0) for i in range(6)]
    before = assign_segments(some_channels(60), pool, {}, strategy="bounded_hash").holders
    without = assign_segments(some_channels(60), pool[1:], {}, strategy="bounded_hash").holders
    assert "p0" not in without.values()
    assert assign_segments(some_channels(60), pool, {}, strategy="bounded_hash").holders == before
    stayed = [key for key, packager in before.items() if packager != "p0" and without[key] == packager]
    assert len(stayed) >= 0.8 * sum(packager != "p0" for packager in before.values())


def test_the_better_of_two_draws_is_more_even_than_chance() -> None:
    pool = [a_seat(f"p{i:02}", cores=10.0) for i in range(20)]
    used = [seat.used.cores for seat in assign_segments(some_channels(400), pool, {}, strategy="power_of_two").seats]
    assert max(used) <= 1.25 * sum(used) / len(used)

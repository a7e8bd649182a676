"""Moves without need: none carries much more than the mean, and loads that are a little off move nothing for ever."""

from random import Random

from schemas.records import Load
from streams.core.assignment import Slice, place
from streams.core.rebalance import UNEVEN, is_uneven, rebalance
from streams.core.strategies import Seat, charged

PACKAGERS = 12


def a_pool() -> list[Seat]:
    return [Seat(packager_id=f"p{i:02}", life="l", usable=Load(cores=1.0)) for i in range(PACKAGERS)]


def pieces(loads: dict[str, float]) -> dict[str, Slice]:
    made = (Slice(slice_id=f"{name}/all/0", copy=0, channel=name, tracks=("v0",), load=Load(cores=load)) for name, load in loads.items())
    return {piece.key: piece for piece in made}


def settle(work: dict[str, Slice], holders: dict[str, str]) -> int:
    """Moves until nothing pays any more; how many those are."""
    for moved in range(200):
        seats = charged(a_pool(), [(packager, work[key].load) for key, packager in holders.items()])
        moves = rebalance([(work[key], packager) for key, packager in holders.items()], seats, moves_max=1)
        if not moves:
            return moved
        holders |= moves
    raise AssertionError("moves go on for ever")


def ratio(work: dict[str, Slice], holders: dict[str, str]) -> float:
    seats = charged(a_pool(), [(packager, work[key].load) for key, packager in holders.items()])
    shares = [seat.used.cores for seat in seats]
    return max(shares) * len(shares) / sum(shares)


def test_a_pool_with_a_new_packager_is_even_again_whatever_was_there() -> None:
    for seed in range(20):
        random = Random(seed)
        work = pieces({f"c{i:03}": random.uniform(0.005, 0.05) for i in range(300)})
        holders = dict(place(list(work.values()), a_pool()[1:], strategy="least_loaded").holders)
        settle(work, holders)
        assert ratio(work, holders) <= 1.0 + UNEVEN


def test_noise_on_a_flat_load_moves_next_to_nothing() -> None:
    random = Random(1)
    flat = {f"c{i:03}": random.uniform(0.01, 0.05) for i in range(260)}
    holders = dict(place(list(pieces(flat).values()), a_pool(), strategy="least_loaded").holders)
    moved = 0
    for _ in range(300):
        noisy = pieces({name: load * random.uniform(0.9, 1.1) for name, load in flat.items()})
        moved += settle(noisy, holders)
    assert moved <= 3


def test_one_packager_or_none_is_never_uneven() -> None:
    assert not is_uneven([])
    assert not is_uneven(a_pool()[:1])

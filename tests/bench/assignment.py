"""
Placing slices on packagers: CPU time, balance, and how much moves, for every strategy beside two baselines.

Usage: python -m tests.bench.assignment [SLICES] [PACKAGERS] [SEED]. Process time, not wall time; the median of a few runs.

Channels are ladders as they are sent: radio, SD, HD and UHD with their renditions, in a mix, each channel a little off the cost that is
assumed before any is measured. Packagers have 8, 12 or 16 cores. The pool is sized so that its scarcest rate is used to 70 %.

- LPT: largest first to where least of the cores is used, nothing else looked at, all dealt anew at every change.
- consistent hash: the next packager on a ring with points by cores, nothing looked at.
"""

import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from random import Random
from statistics import mean, median

from schemas.records import Cost, Load
from streams.core.assignment import Slice, place
from streams.core.load import HELD_TARGETS, WRITTEN_TWICE, share, total, vector
from streams.core.rebalance import rebalance
from streams.core.strategies import STRATEGIES, Account, Seat, charged, hashed, points

ROUNDS = 7
FILL = 0.7
CHANGED = 0.01
CHURNS = 100
MOVES_MAX = 8

# Kilobits per second of each rendition, audio last; and how many of a hundred channels have the ladder.
LADDERS = {
    "radio": ((64, 128), 15),
    "sd": ((400, 800, 1_600, 96), 30),
    "hd": ((365, 730, 1_100, 2_000, 3_000, 4_500, 6_000, 128), 45),
    "uhd": ((365, 1_100, 2_000, 4_500, 6_000, 8_100, 11_600, 16_800, 128, 384), 10),
}
GOP_S, PARTS, CHUNKS = 1.0, 2, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """
    What is known of one way to place.

    Attributes:
        name: The way.
        scratch_ms: CPU time of placing all.
        changed_ms: CPU time of charging what stays and placing what is new, after 1 % ended and 1 % came.
        ratio: Largest share to mean share, all placed.
        churned_ratio: The same after many rounds of 1 %.
        over: Packagers with more than they can carry.
        waiting: Slices without a packager.
        lost: Slices of the packager that dies.
        moved: Slices that change their packager then.
    """

    name: str
    scratch_ms: float
    changed_ms: float
    ratio: float
    churned_ratio: float
    over: int
    waiting: int
    lost: int
    moved: int


Way = Callable[[Sequence[Slice], Sequence[Seat]], Mapping[str, str]]
"""Slices and seats to the packager of each slice placed."""


def a_ladder(random: Random, cost: Cost) -> Load:
    """What a channel takes, as `streams.core.load.channel_load` has it, for a ladder drawn from the mix."""
    ((rates, _),) = random.choices(list(LADDERS.values()), [share for _, share in LADDERS.values()])
    off, segment_s = random.uniform(0.8, 1.25), random.choice((2, 4, 4, 6))
    rate, tracks = sum(rates) * 125.0, len(rates)
    per_part_s = cost.per_part + cost.per_chunk * CHUNKS / PARTS
    return Load(
        cores=off * (tracks * (cost.per_segment / segment_s + per_part_s * PARTS / GOP_S) + cost.per_byte * rate),
        memory_bytes=int(rate * HELD_TARGETS * segment_s),
        in_bytes_per_s=int(rate),
        out_bytes_per_s=int(rate * WRITTEN_TWICE),
        part_ms=off * tracks * per_part_s * 1_000,
    )


def some_slices(random: Random, count: int, *, first: int = 0) -> list[Slice]:
    """Slices that are whole channels; few are watched by many."""
    names = [f"c{first + i:05}" for i in range(count)]
    return [
        Slice(slice_id=f"{name}/all/0", copy=0, channel=name, tracks=(), load=a_ladder(random, Cost()), viewers=random.paretovariate(1.0))
        for name in names
    ]


def a_pool(random: Random, slices: Sequence[Slice], count: int) -> list[Seat]:
    """Packagers of three sizes, alike but for the memory that their systems leave, as large as the slices want."""
    sizes = [random.choice((8, 8, 12, 16)) for _ in range(count)]
    work = total(vector(piece.load) for piece in slices)
    unit = [rate / FILL / sum(sizes) for rate in work]
    return [
        Seat(
            packager_id=f"p{i:03}",
            life="l",
            usable=Load(
                cores=unit[0] * size * 1.1,
                memory_bytes=int(unit[1] * size * random.uniform(4.0, 4.2)),
                in_bytes_per_s=int(unit[3] * size * 2),
                out_bytes_per_s=int(unit[3] * size * 2),
                part_ms=unit[4] * size,
            ),
        )
        for i, size in enumerate(sizes)
    ]


def by_strategy(name: str) -> Way:
    """A strategy as it decides."""
    return lambda slices, seats: place(slices, seats, strategy=name).holders


def lpt(slices: Sequence[Slice], seats: Sequence[Seat]) -> Mapping[str, str]:
    """Largest first to the packager with least of its cores used."""
    heap = [(seat.used.cores / seat.usable.cores, seat.packager_id, seat.usable.cores) for seat in seats]
    heapify(heap)
    holders = {}
    for piece in sorted(slices, key=lambda piece: (-piece.load.cores, piece.slice_id)):
        used, packager, cores = heap[0]
        holders[piece.key] = packager
        heapreplace(heap, (used + piece.load.cores / cores, packager, cores))
    return holders


def consistent_hash(slices: Sequence[Slice], seats: Sequence[Seat]) -> Mapping[str, str]:
    """The next packager on a ring."""
    ring = sorted((point, seat.packager_id) for seat in seats for point in points(Account(seat)))
    return {piece.key: ring[bisect_left(ring, (hashed(piece.key), "")) % len(ring)][1] for piece in slices}


def cpu_ms(call: Callable[[], object]) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        times.append((time.process_time() - began) * 1_000)
    return median(times)


class Pool:
    """Slices, packagers, and who holds what."""

    def __init__(self, slices: Sequence[Slice], seats: Sequence[Seat], way: Way, *, anew: bool) -> None:
        self.slices = {piece.key: piece for piece in slices}
        self.seats, self.way, self.anew = list(seats), way, anew
        self.holders = dict(way(slices, seats))

    def charged(self) -> tuple[Seat, ...]:
        """Seats with what they hold."""
        return charged(self.seats, [(packager, self.slices[key].load) for key, packager in self.holders.items()])

    def ratio(self) -> float:
        """Largest dominant share to the mean."""
        shares = [share(seat.used, seat.usable) for seat in self.charged()]
        return max(shares) / mean(shares)

    def over(self) -> int:
        """Packagers past their capacity."""
        return sum(share(seat.used, seat.usable) > 1.0 + 1e-9 for seat in self.charged())

    def placing(self) -> Callable[[], Mapping[str, str]]:
        """Charging what is held and placing what has no packager; baselines deal all anew."""
        if self.anew:
            return lambda: self.way(list(self.slices.values()), self.seats)
        held = [(packager, self.slices[key].load) for key, packager in self.holders.items()]
        waiting = [piece for key, piece in self.slices.items() if key not in self.holders]
        return lambda: self.way(waiting, charged(self.seats, held))

    def settle(self) -> None:
        """Do so."""
        self.holders |= self.placing()()

    def change(self, ended: Sequence[str], come: Sequence[Slice]) -> None:
        """Some end, some come."""
        for key in ended:
            del self.slices[key]
            self.holders.pop(key, None)
        self.slices |= {piece.key: piece for piece in come}

    def die(self) -> tuple[int, int]:
        """The packager with most slices dies: how many it held, and how many move until nothing more does."""
        before = dict(self.holders)
        held = list(before.values())
        dead = max(sorted(set(held)), key=held.count)
        self.seats = [seat for seat in self.seats if seat.packager_id != dead]
        self.holders = {key: packager for key, packager in before.items() if packager != dead}
        self.settle()
        while not self.anew and (moves := rebalance(self.held(), self.charged(), moves_max=MOVES_MAX)):
            self.holders |= moves
        return held.count(dead), sum(self.holders.get(key) != packager for key, packager in before.items())

    def held(self) -> list[tuple[Slice, str]]:
        """Slices and their packagers."""
        return [(self.slices[key], packager) for key, packager in self.holders.items()]


def measure(name: str, way: Way, slices: Sequence[Slice], seats: Sequence[Seat], seed: int, *, anew: bool) -> Row:
    """All that is known of one way."""
    random = Random(seed)
    pool = Pool(slices, seats, way, anew=anew)
    over, ratio, waiting = pool.over(), pool.ratio(), len(slices) - len(pool.holders)
    lost, moved = Pool(slices, seats, way, anew=anew).die()
    few = round(len(slices) * CHANGED)
    changed_ms = 0.0
    for number in range(CHURNS):
        come = some_slices(random, few, first=len(slices) + few * number)
        pool.change(random.sample(sorted(pool.slices), few), come)
        if number == 0:
            changed_ms = cpu_ms(pool.placing())
        pool.settle()
    return Row(
        name=name,
        scratch_ms=cpu_ms(lambda: way(slices, seats)),
        changed_ms=changed_ms,
        ratio=ratio,
        churned_ratio=pool.ratio(),
        over=over,
        waiting=waiting,
        lost=lost,
        moved=moved,
    )


def main(count: int, packagers: int, seed: int) -> None:
    """Measure and print."""
    random = Random(seed)
    slices = some_slices(random, count)
    seats = a_pool(random, slices, packagers)
    largest = max(share(piece.load, seat.usable) for piece in slices for seat in seats)
    ways: dict[str, tuple[Way, bool]] = {name: (by_strategy(name), False) for name in STRATEGIES}
    ways |= {"LPT": (lpt, True), "consistent hash": (consistent_hash, True)}
    print(f"{count} slices, {packagers} packagers; the largest slice is {largest:.1%} of the smallest packager")
    print("                            CPU ms              max/mean share           past    without    moved at a death")
    print("                      scratch  1% changed    scratch  100 x 1%      capacity   packager     moved (held)")
    for name, (way, anew) in ways.items():
        row = measure(name, way, slices, seats, seed, anew=anew)
        print(
            f"{row.name:<20} {row.scratch_ms:8.1f} {row.changed_ms:11.1f} {row.ratio:10.3f} {row.churned_ratio:9.3f}"
            f" {row.over:13} {row.waiting:10} {row.moved:9} ({row.lost})"
        )


if __name__ == "__main__":
    main(*(int(value) for value in ([*sys.argv[1:], *("10000", "200", "1")[len(sys.argv) - 1 :]])))

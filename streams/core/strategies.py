"""How a holder is picked among the packagers that can carry a slice: one interface, chosen by a setting."""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, gcd, inf, log2
from typing import NamedTuple

from schemas.records import Load
from streams.core.load import NOTHING, Vector, add, as_load, bounds, share, share_with, total, vector

# `bounded_hash` fills a packager to this much of the mean share: Mirrokni et al. prove 1/0.25^2 looks are then about enough, and few slices
# leave their first choice.
HASH_FILL = 1.25
# Points of the ring per core: a packager of 4 cores has 32, so that shares by hash alone differ by about a fifth.
POINTS_PER_CORE = 8
# Points looked at before the emptiest packager is taken instead: four times what is expected.
POINTS_MAX = 64
# A bound on a share must pass the best found by more than the rounding of either.
ROUNDING = 1e-9
# Packagers looked at, for each there is, until orders are made anew: that costs about six looks at each.
LOOKS_MAX = 20
# Sizes of packagers told apart, in each doubling; those within one are bounded as if they were as large as the largest.
SIZES = 4
RATES = range(len(NOTHING))


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """
    A packager that work can be given to.

    Attributes:
        packager_id: Name.
        life: Run.
        usable: What of its capacity is dealt out.
        used: What is dealt out already.
        held: Slices it holds.
    """

    packager_id: str
    life: str
    usable: Load
    used: Load = Load()
    held: int = 0

    def holding(self, used: Load, held: int) -> "Seat":
        """The same with other slices."""
        return Seat(packager_id=self.packager_id, life=self.life, usable=self.usable, used=used, held=held)

    def share_with(self, load: Load) -> float:
        """Dominant share after one more slice."""
        return share(add(self.used, load), self.usable)


class Account:
    """A seat while work is dealt, charged in place: what it uses and may use are plain numbers."""

    __slots__ = ("held", "most", "packager_id", "seat", "used")

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.packager_id = seat.packager_id
        self.used, self.most, self.held = vector(seat.used), bounds(seat.usable), seat.held

    def charge(self, load: Vector) -> None:
        """One more slice."""
        used = self.used
        self.used = used[0] + load[0], used[1] + load[1], used[2] + load[2], used[3] + load[3], used[4] + load[4]
        self.held += 1

    def closed(self) -> Seat:
        """The seat with all that charged."""
        if self.held == self.seat.held:
            return self.seat
        return self.seat.holding(as_load(self.used), self.held)


class Strategy(ABC):
    """
    Picks holders, one slice after the other, and charges each before the next is looked at.

    A packager is feasible if it is not barred and no rate passes its capacity. A strategy finds a holder whenever one is feasible.

    Args:
        accounts: Packagers, by id.
        work: Loads of all slices to come.
        last: Packager picked last, for those that take turns.
    """

    def __init__(self, accounts: Sequence[Account], work: Sequence[Vector], last: str) -> None:
        del work
        self.accounts = accounts
        # Place of the one picked last, or of where it would stand before its next.
        self.last = bisect_right([account.packager_id for account in accounts], last) - 1

    @abstractmethod
    def pick(self, key: str, load: Vector, barred: Collection[str]) -> int | None:
        """Place of the packager that takes the slice, charged with it; None if none is feasible."""

    def share_at(self, place: int, load: Vector, barred: Collection[str]) -> float:
        """Dominant share of the packager with one more load; infinite if it is barred. It is feasible up to 1."""
        account = self.accounts[place]
        return inf if account.packager_id in barred else share_with(account.used, load, account.most)

    def emptiest(self, load: Vector, barred: Collection[str], among: Collection[int]) -> int | None:
        """The feasible one of some packagers whose dominant share stays lowest, the first of equals."""
        best = min(((self.share_at(place, load, barred), place) for place in among), default=(inf, 0))
        return best[1] if best[0] <= 1.0 else None


Entry = tuple[float, float, float, int, float]
"""In an order: share used of its rate; of that rate, less what may be used, and what is; the packager's place; share used of the next."""


class Order(NamedTuple):
    """
    Packagers that the same two rates bind, nearly as large as each other, emptiest first.

    Attributes:
        rate: The first.
        other: The next.
        most: Of the first rate, of the largest.
        other_most: Of the next rate, of the largest.
        entries: They.
    """

    rate: int
    other: int
    most: float
    other_most: float
    entries: list[Entry]


class LeastLoaded(Strategy):
    """
    The packager whose dominant share stays lowest, the first by id of equals.

    What is used tells which two rates bind most. A dominant share is no less than the share in either, so the search of an order, which
    goes by the first, ends where that passes the best found, and passes over who fails by the second. When many have to be looked at,
    it is other rates that bind by now, and the orders are made anew.
    """

    def __init__(self, accounts: Sequence[Account], work: Sequence[Vector], last: str) -> None:
        super().__init__(accounts, work, last)
        self._orders: list[Order] = []
        self._looks = 0

    def pick(self, key: str, load: Vector, barred: Collection[str]) -> int | None:
        """As the interface says."""
        del key
        accounts = self.accounts
        if not self._orders or self._looks > LOOKS_MAX * len(accounts):
            self._orders, self._looks = self._sorted(load), 0
        # A share of 1 is feasible, more is not.
        lowest, best, found = 1.0, len(accounts), None
        looks = 0
        for order in self._orders:
            rate, other, order_most, other_most, entries = order
            more, more_share, other_share = load[rate], load[rate] / order_most - ROUNDING, load[other] / other_most - ROUNDING
            i, count = 0, len(entries)
            while i < count:
                share, negative_most, used, place, beside = entries[i]
                if share + more_share > lowest:
                    break
                i += 1
                bound = (used + more) / -negative_most
                if bound > lowest or beside + other_share > lowest:
                    continue
                account = accounts[place]
                if barred and account.packager_id in barred:
                    continue
                looks += 1
                score = share_with(account.used, load, account.most)
                if score < lowest or (score == lowest and place < best):
                    lowest, best, found = score, place, (order, i - 1)
                if score == bound:
                    # Those alike come after it by id, and can have no lower share.
                    i = bisect_left(entries, (share, negative_most, used, len(accounts)), i)
        self._looks += looks
        if found is None:
            return None
        order, i = found
        del order.entries[i]
        accounts[best].charge(load)
        insort(order.entries, self._entry(best, order.rate, order.other))
        return best

    def _sorted(self, load: Vector) -> list[Order]:
        accounts = self.accounts
        used = total([*(account.used for account in accounts), *[load] * len(accounts)])
        kinds: dict[tuple[int, int, int], list[int]] = {}
        for place, account in enumerate(accounts):
            most = account.most
            rate, other = sorted(RATES, key=lambda r: -used[r] / most[r])[:2]
            kinds.setdefault((rate, other, round(SIZES * log2(most[rate])) if most[rate] < inf else 0), []).append(place)
        return [
            Order(
                rate,
                other,
                max(accounts[place].most[rate] for place in places),
                max(accounts[place].most[other] for place in places),
                sorted(self._entry(place, rate, other) for place in places),
            )
            for (rate, other, _), places in sorted(kinds.items())
        ]

    def _entry(self, place: int, rate: int, other: int) -> Entry:
        used, most = self.accounts[place].used, self.accounts[place].most
        return used[rate] / most[rate], -most[rate], used[rate], place, used[other] / most[other]


class RoundRobin(Strategy):
    """The next feasible packager after the one picked last, by id."""

    def pick(self, key: str, load: Vector, barred: Collection[str]) -> int | None:
        """As the interface says."""
        del key
        count = len(self.accounts)
        for step in range(1, count + 1):
            place = (self.last + step) % count
            if self.share_at(place, load, barred) <= 1.0:
                self.accounts[place].charge(load)
                self.last = place
                return place
        return None


class WeightedRoundRobin(Strategy):
    """The feasible packager with fewest slices for its cores; among equals the next after the one picked last."""

    def __init__(self, accounts: Sequence[Account], work: Sequence[Vector], last: str) -> None:
        super().__init__(accounts, work, last)
        self._order = sorted((self._weight(place), place) for place in range(len(accounts)))

    def pick(self, key: str, load: Vector, barred: Collection[str]) -> int | None:
        """As the interface says."""
        del key
        for i in self._turns():
            place = self._order[i][1]
            if self.share_at(place, load, barred) <= 1.0:
                del self._order[i]
                self.accounts[place].charge(load)
                insort(self._order, (self._weight(place), place))
                self.last = place
                return place
        return None

    def _turns(self) -> Iterator[int]:
        order, start = self._order, 0
        while start < len(order):
            weight = order[start][0]
            end = bisect_right(order, (weight, len(order)), start)
            after = bisect_right(order, (weight, self.last), start, end)
            yield from range(after, end)
            yield from range(start, after)
            start = end

    def _weight(self, place: int) -> float:
        account = self.accounts[place]
        return (account.held + 1) / account.seat.usable.cores if account.seat.usable.cores else inf


class PowerOfTwo(Strategy):
    """
    Of two feasible packagers drawn by the slice's hash, the one whose dominant share stays lower.

    Source:
        The power of two choices in randomized load balancing (Mitzenmacher, 2001).
    """

    def pick(self, key: str, load: Vector, barred: Collection[str]) -> int | None:
        """As the interface says."""
        drawn: list[int] = []
        for place in drawing(key, len(self.accounts)):
            if self.share_at(place, load, barred) <= 1.0:
                drawn.append(place)
            if len(drawn) == 2:
                break
        best = self.emptiest(load, barred, drawn)
        if best is not None:
            self.accounts[best].charge(load)
        return best


class BoundedHash(Strategy):
    """
    The first feasible packager from the slice's point on a ring that stays within `HASH_FILL` of the mean share, else the emptiest.

    Who comes or goes changes the choice of few slices, so that a packager that returns gets what it had.

    Source:
        Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2018).
    """

    def __init__(self, accounts: Sequence[Account], work: Sequence[Vector], last: str) -> None:
        super().__init__(accounts, work, last)
        self._ring = sorted((point, place) for place, account in enumerate(accounts) for point in points(account))
        capacity = bounds(pooled([account.seat for account in accounts]))
        used = total([*work, *(account.used for account in accounts)])
        self._fill = min(1.0, HASH_FILL * share_with(used, NOTHING, capacity))

    def pick(self, key: str, load: Vector, barred: Collection[str]) -> int | None:
        """As the interface says."""
        best = next((p for p in self._nearest(key) if self.share_at(p, load, barred) <= self._fill), None)
        if best is None:
            best = self.emptiest(load, barred, range(len(self.accounts)))
        if best is not None:
            self.accounts[best].charge(load)
        return best

    def _nearest(self, key: str) -> Iterator[int]:
        ring = self._ring
        start, seen = bisect_left(ring, (hashed(key), 0)), set[int]()
        for i in range(start, start + min(len(ring), POINTS_MAX)):
            place = ring[i % len(ring)][1]
            if place not in seen:
                seen.add(place)
                yield place


STRATEGIES: dict[str, type[Strategy]] = {
    "least_loaded": LeastLoaded,
    "round_robin": RoundRobin,
    "weighted_round_robin": WeightedRoundRobin,
    "power_of_two": PowerOfTwo,
    "bounded_hash": BoundedHash,
}


def pooled(seats: Sequence[Seat]) -> Load:
    """What all together may use; a capacity that one has not measured is not measured."""
    rates = [vector(seat.usable) for seat in seats]
    measured = [rate == 0 or all(own[rate] for own in rates) for rate in range(len(NOTHING))]
    cores, memory, read, written, part_ms = (rate if is_measured else 0 for rate, is_measured in zip(total(rates), measured, strict=True))
    return as_load((cores, memory, read, written, part_ms))


def charged(seats: Iterable[Seat], held: Iterable[tuple[str, Load]]) -> tuple[Seat, ...]:
    """
    Seats with slices that they hold, given as packager and load in any order; those of others are passed over.

    >>> charged([Seat(packager_id="p1", life="a", usable=Load(cores=1.0))], [("p1", Load(cores=0.5)), ("p2", Load())])[0].used.cores
    0.5
    """
    by_id = {seat.packager_id: seat for seat in sorted(seats, key=lambda seat: seat.packager_id)}
    loads = {packager: [seat.used] for packager, seat in by_id.items()}
    for packager, load in held:
        if packager in loads:
            loads[packager].append(load)
    return tuple([seat.holding(as_load(total(map(vector, loads[p]))), seat.held + len(loads[p]) - 1) for p, seat in by_id.items()])


def hashed(text: str) -> int:
    """
    64 bits that look random and are the same in every process.

    >>> hashed("news/all/0/0")
    11344304055342390624
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def drawing(key: str, count: int) -> Iterator[int]:
    """
    All numbers below a count in an order of the key's own.

    >>> list(drawing("news/all/0/0", 5))
    [4, 0, 1, 2, 3]
    """
    if not count:
        return
    bits = hashed(key)
    first, step = bits % count, 1 + (bits >> 32) % count
    while gcd(step, count) > 1:
        step += 1
    for i in range(count):
        yield (first + i * step) % count


def points(account: Account) -> Iterator[int]:
    """Where a packager stands on a ring: `POINTS_PER_CORE` for each core."""
    for core in range(ceil(account.seat.usable.cores)):
        digest = blake2b(f"{account.packager_id}/{core}".encode(), digest_size=8 * POINTS_PER_CORE).digest()
        yield from (int.from_bytes(digest[i : i + 8]) for i in range(0, len(digest), 8))

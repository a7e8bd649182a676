"""Moves without need: which slices change their packager so that none carries much more than the mean."""

from collections.abc import Sequence
from math import fsum

from streams.core.assignment import Slice
from streams.core.load import NOTHING, bounds, less, plus, share, share_with, vector
from streams.core.strategies import Seat

# Work moves from who carries this share more than the mean, until nobody carries half of that more: what moves does not come back when
# the loads are a little off again.
UNEVEN = 0.05
# Of a packager's capacity: below it the loads are not known better, and nobody gains.
UNEVEN_MIN = 0.01


def is_uneven(seats: Sequence[Seat]) -> bool:
    """Whether any move could pay at all."""
    shares = [share(seat.used, seat.usable) for seat in seats]
    return len(shares) > 1 and max(shares) - _mean(shares) > _tolerance(_mean(shares))


def leaving(seats: Sequence[Seat]) -> set[str]:
    """Packagers that work may leave."""
    shares = {seat.packager_id: share(seat.used, seat.usable) for seat in seats}
    mean = _mean(list(shares.values()))
    return {packager for packager, carried in shares.items() if carried - mean > _tolerance(mean) / 2}


def _mean(shares: Sequence[float]) -> float:
    return fsum(shares) / len(shares)


def _tolerance(mean: float) -> float:
    return max(UNEVEN * mean, UNEVEN_MIN)


def rebalance(held: Sequence[tuple[Slice, str]], seats: Sequence[Seat], *, moves_max: int) -> dict[str, str]:
    """
    Voluntary moves that pay, from the fullest packager to the emptiest, once one carries `UNEVEN` more than the mean.

    A move pays if both end up below where the fuller was, by at least half of what the slice takes there: so every move brings the
    shares closer together, none is undone, and moving ends.

    Args:
        held: Slices that may move, and their packager.
        seats: Packagers with all that charged.
        moves_max: Moves at most.

    Returns:
        New packager by ``slice/copy``.
    """
    work: dict[str, list[Slice]] = {}
    for piece, packager in held:
        work.setdefault(packager, []).append(piece)
    used = {seat.packager_id: vector(seat.used) for seat in seats}
    most = {seat.packager_id: bounds(seat.usable) for seat in seats}
    shares = {packager: share_with(used[packager], NOTHING, most[packager]) for packager in used}
    moves: dict[str, str] = {}
    stuck: set[str] = set()
    if not is_uneven(seats):
        return moves
    while len(moves) < moves_max:
        mean = _mean(list(shares.values()))
        fuller = [packager for packager in shares if packager not in stuck]
        full = max(fuller, key=lambda packager: (shares[packager], packager), default="")
        if not full or shares[full] - mean <= _tolerance(mean) / 2:
            break
        empty = min(shares, key=lambda packager: (shares[packager], packager))
        best: tuple[float, str, Slice] | None = None
        for piece in work.get(full, ()):
            if empty in piece.barred or piece.key in moves:
                continue
            load = vector(piece.load)
            left, right = share_with(less(used[full], load), NOTHING, most[full]), share_with(used[empty], load, most[empty])
            pays = right <= 1.0 and max(left, right) + (shares[full] - left) / 2 <= shares[full] and left < shares[full]
            if pays and (best is None or (max(left, right), piece.key) < best[:2]):
                best = max(left, right), piece.key, piece
        if best is None:
            stuck.add(full)
            continue
        _, key, piece = best
        moves[key] = empty
        work[full].remove(piece)
        used[full], used[empty] = less(used[full], vector(piece.load)), plus(used[empty], vector(piece.load))
        for packager in (full, empty):
            shares[packager] = share_with(used[packager], NOTHING, most[packager])
    return moves

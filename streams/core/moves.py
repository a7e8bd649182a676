"""Work that leaves its packager though that lives: to even out the pool, or to make room for what is needed more."""

from collections.abc import Collection, Mapping, Sequence

from schemas.records import Assignment, Load, Reason
from streams.core.assignment import AssignmentMap, Rank, Slice
from streams.core.load import bounds, less, plus, share_with, vector
from streams.core.rebalance import is_uneven, leaving, rebalance
from streams.core.resuming import resume
from streams.core.scene import Scene, Source
from streams.core.strategies import Seat
from streams.core.wants import Want, given, piece_of, rank_of

# A slice that was given away lately is left alone, since a handover costs its new holder a look back to the segment's beginning; but
# not where there is more than can be carried: that costs more.
SETTLED_MS = 30_000


def evened_out(scene: Scene, staying: Mapping[str, Assignment], seats: Sequence[Seat]) -> dict[str, Assignment]:
    """Slices that move since their packager carries much more than the mean, by ``slice/copy``."""
    if not is_uneven(seats):
        return {}
    seated = {seat.packager_id: seat.life for seat in seats}
    now, full = scene.facts.now, leaving(seats)
    overloaded = {seat.packager_id for seat in seats if seat.share_with(Load()) > 1.0}
    movable = {
        key: held
        for key, held in staying.items()
        if held.packager_id in full
        and held.until_msn is None
        and not held.hedges
        and seated[held.packager_id] == held.life
        and (held.packager_id in overloaded or now - held.since_unix_ms >= SETTLED_MS)
    }
    holders: dict[str, set[str]] = {}
    for held in staying.values():
        holders.setdefault(held.slice_id, set()).add(held.packager_id)
    pieces = {}
    for key, held in movable.items():
        facts, barred = scene.facts.channels[held.channel], frozenset(holders[held.slice_id] - {held.packager_id})
        pieces[key] = piece_of(scene, facts, held, barred=barred, rank=rank_of(held.slice_id), from_msn=held.from_msn)
    moves = rebalance(
        [(pieces[key], held.packager_id) for key, held in movable.items()], seats, moves_max=scene.policy.assignment.moves_per_tick_max
    )
    moved: dict[str, Assignment] = {}
    gone: set[str] = set()
    for key, packager in moves.items():
        held, facts = movable[key], scene.facts.channels[movable[key].channel]
        if held.slice_id in gone:
            continue
        gone.add(held.slice_id)
        from_msn, first_offset = resume(scene, facts, held, None)
        want = Want(
            slice=pieces[key],
            held=held,
            from_msn=from_msn,
            first_offset=first_offset,
            until_msn=None,
            reason=Reason.REBALANCED,
            source=Source(),
        )
        moved[key] = given(scene, want, packager)
    return moved


def yielding(dealt: AssignmentMap, staying: Mapping[str, Slice], holders: Mapping[str, str]) -> Collection[str]:
    """
    Slices in force that make room for needed ones which found no packager: what is derived first, then copies, then backlog.

    For each such slice, the most watched first, they are taken from the packager where the least of rank is lost, then the fewest.

    Args:
        dealt: What was placed, what was not, and the seats with all that charged.
        staying: Slices with a holder that are not needed at once, by ``slice/copy``.
        holders: Their packagers.
    """
    needed = [left.slice for left in dealt.overflow if left.slice.rank is Rank.NEEDED]
    if not needed or not staying:
        return ()
    held: dict[str, list[tuple[int, str]]] = {}
    for key, piece in sorted(staying.items()):
        held.setdefault(holders[key], []).append((-piece.rank, key))
    used = {seat.packager_id: vector(seat.used) for seat in dealt.seats}
    most = {seat.packager_id: bounds(seat.usable) for seat in dealt.seats}
    dropped: set[str] = set()
    for piece in needed:
        load = vector(piece.load)
        best: tuple[int, int, str, list[str]] | None = None
        for packager in sorted(held.keys() & used.keys() - piece.barred):
            left, keys, worth = used[packager], list[str](), -len(Rank)
            for negative_rank, key in sorted(held[packager]):
                if key in dropped or share_with(left, load, most[packager]) <= 1.0:
                    continue
                left = less(left, vector(staying[key].load))
                keys.append(key)
                worth = max(worth, negative_rank)
            fits = share_with(left, load, most[packager]) <= 1.0
            if fits and keys and (best is None or (worth, len(keys), packager) < best[:3]):
                best = worth, len(keys), packager, keys
        if best is not None:
            _, _, packager, keys = best
            dropped.update(keys)
            for key in keys:
                used[packager] = less(used[packager], vector(staying[key].load))
            used[packager] = plus(used[packager], load)
    return dropped

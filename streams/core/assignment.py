"""Slices and packagers to a placement: split, sort, feasible, pick, charge before the next, overflow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Load
from schemas.topics import slice_key
from schemas.units import UnixMs
from streams.core.load import share
from streams.core.strategies import STRATEGIES, Seat

# Work is moved without need only between packagers whose dominant shares differ by this much: less is noise in the loads.
UNEVEN = 0.2
# And only if the move lowers the share of the fuller by this much: each costs a handover.
MOVE_GAIN = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedChannel:
    """
    A channel whose work is to be dealt.

    Attributes:
        channel: Channel id.
        tracks: Its tracks.
        load: What packaging all of it takes.
    """

    channel: str
    tracks: tuple[str, ...]
    load: Load


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """
    A unit of work to be placed.

    Attributes:
        slice_id: Slice, ``channel/group/turn``.
        copy: Which of its copies.
        channel: Channel id.
        tracks: Its tracks.
        load: What it takes.
        viewers: Sessions at stake.
        since_unix_ms: Since when it waits.
        barred: Packagers that must not have it.
    """

    slice_id: str
    copy: int
    channel: str
    tracks: tuple[str, ...]
    load: Load
    viewers: float = 0.0
    since_unix_ms: UnixMs = UnixMs(0)
    barred: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Key of its assignment."""
        return slice_key(self.slice_id, self.copy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overflow:
    """
    A slice that found no packager.

    Attributes:
        slice: It.
        full_count: Packagers without the capacity.
        barred_count: Packagers that must not have it.
    """

    slice: Slice
    full_count: int
    barred_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignmentMap:
    """
    Who does what.

    Attributes:
        holders: Packager of each slice placed, by ``slice/copy``.
        overflow: Slices that found none, those with most viewers at stake first.
        seats: The packagers with all that charged, by id.
    """

    holders: Mapping[str, str] = field(default_factory=dict)
    overflow: tuple[Overflow, ...] = ()
    seats: tuple[Seat, ...] = ()


def assign_segments(
    encoded_stream: Iterable[EncodedChannel],
    packager_pool: Iterable[Seat],
    demand_prediction: Mapping[str, float],
    *,
    strategy: str = "least_loaded",
) -> AssignmentMap:
    """
    Deal the work of channels to a pool.

    The work is split into slices and sorted, largest first; each goes to the least loaded packager with sufficient capacity, which is
    charged before the next is looked at; what fits nowhere overflows. If anything does, the whole is dealt again with the most watched
    channels first.

    Args:
        encoded_stream: Channels.
        packager_pool: Packagers with what is dealt to them already.
        demand_prediction: Predicted sessions by channel.
        strategy: How holders are picked, a key of `STRATEGIES`.

    >>> pool = [Seat(packager_id="p1", life="a", usable=Load(cores=1.0)), Seat(packager_id="p2", life="b", usable=Load(cores=0.6))]
    >>> work = [EncodedChannel(channel=c, tracks=("v0",), load=Load(cores=0.5)) for c in ("arts", "news", "sport", "zoo")]
    >>> dealt = assign_segments(work, pool, {"news": 9.0, "zoo": 5.0, "sport": 1.0})
    >>> sorted(dealt.holders.items())
    [('news/all/0/0', 'p1'), ('sport/all/0/0', 'p1'), ('zoo/all/0/0', 'p2')]
    >>> [(left.slice.channel, left.full_count) for left in dealt.overflow]
    [('arts', 2)]
    """
    slices = [piece for channel in encoded_stream for piece in split(channel, viewers=demand_prediction.get(channel.channel, 0.0))]
    return place(slices, tuple(packager_pool), strategy=strategy)


def split(channel: EncodedChannel, *, viewers: float) -> tuple[Slice, ...]:
    """Slices of a channel: the whole of it is one."""
    whole = Slice(
        slice_id=slice_id(channel.channel), copy=0, channel=channel.channel, tracks=channel.tracks, load=channel.load, viewers=viewers
    )
    return (whole,)


def slice_id(channel: str) -> str:
    """
    Id of the slice that is a whole channel.

    >>> slice_id("news")
    'news/all/0'
    """
    return f"{channel}/all/0"


def place(slices: Sequence[Slice], seats: Sequence[Seat], *, strategy: str, last: str = "") -> AssignmentMap:
    """
    Deal slices to seats.

    Args:
        slices: Slices without a holder.
        seats: Packagers with what they hold already charged.
        strategy: A key of `STRATEGIES`.
        last: Packager picked last, for strategies that take turns.
    """
    biggest = max((seat.usable for seat in seats), key=lambda usable: usable.cores, default=Load(cores=1.0))
    size = {piece.key: share(piece.load, biggest) for piece in slices}
    by_size = sorted(slices, key=lambda s: (-size[s.key], -s.viewers, s.since_unix_ms, s.key))
    dealt = _deal(by_size, seats, strategy, last)
    if not dealt.overflow:
        return dealt
    # Capacity is short: whose work goes first is a matter of viewers, then of age.
    by_stake = sorted(slices, key=lambda s: (-s.viewers, s.since_unix_ms, -size[s.key], s.key))
    return _deal(by_stake, seats, strategy, last)


def _deal(slices: Sequence[Slice], seats: Sequence[Seat], strategy: str, last: str) -> AssignmentMap:
    pick = STRATEGIES[strategy]
    taken = {seat.packager_id: seat for seat in sorted(seats, key=lambda s: s.packager_id)}
    holders: dict[str, str] = {}
    overflow = []
    for piece in slices:
        allowed = [seat for seat in taken.values() if seat.packager_id not in piece.barred]
        feasible = [seat for seat in allowed if seat.share_with(piece.load) <= 1.0]
        if not feasible:
            overflow.append(Overflow(slice=piece, full_count=len(allowed), barred_count=len(taken) - len(allowed)))
            continue
        seat = pick(feasible, piece.load, last)
        last = holders[piece.key] = seat.packager_id
        taken[last] = seat.with_work(piece.load)
    return AssignmentMap(holders=holders, overflow=tuple(overflow), seats=tuple(taken.values()))


def is_uneven(seats: Sequence[Seat]) -> bool:
    """Whether any move could pay at all."""
    shares = [share(seat.used, seat.usable) for seat in seats]
    return bool(shares) and max(shares) - min(shares) >= UNEVEN


def rebalance(held: Sequence[tuple[Slice, str]], seats: Sequence[Seat], *, moves_max: int) -> dict[str, str]:
    """
    Voluntary moves that pay: from the fullest packager to the emptiest, while they differ by `UNEVEN` and each gains `MOVE_GAIN`.

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
    shares = {seat.packager_id: share(seat.used, seat.usable) for seat in seats}
    by_id = {seat.packager_id: seat for seat in seats}
    moves: dict[str, str] = {}
    while len(moves) < moves_max and len(shares) > 1:
        full = max(shares, key=lambda p: (shares[p], p))
        empty = min(shares, key=lambda p: (shares[p], p))
        if shares[full] - shares[empty] < UNEVEN:
            break
        best: tuple[float, str] | None = None
        for piece in work.get(full, ()):
            if empty in piece.barred or piece.key in moves:
                continue
            left, right = shares[full] - share(piece.load, by_id[full].usable), shares[empty] + share(piece.load, by_id[empty].usable)
            if right <= 1.0 and (best is None or (max(left, right), piece.key) < best):
                best = max(left, right), piece.key
        if best is None or shares[full] - best[0] < MOVE_GAIN:
            break
        piece = next(p for p in work[full] if p.key == best[1])
        moves[piece.key] = empty
        work[full].remove(piece)
        shares[full] -= share(piece.load, by_id[full].usable)
        shares[empty] += share(piece.load, by_id[empty].usable)
    return moves

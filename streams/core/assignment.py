"""Slices and packagers to a placement: split, sort, feasible, pick, charge before the next, overflow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.records import Load
from schemas.topics import slice_key
from schemas.units import UnixMs
from streams.core.load import NOTHING, Vector, bounds, less, plus, share, share_with, vector
from streams.core.strategies import STRATEGIES, Account, Seat, pooled

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

    Copies of one slice go to different packagers.

    Args:
        slices: Slices without a holder.
        seats: Packagers with what they hold already charged.
        strategy: A key of `STRATEGIES`.
        last: Packager picked last, for strategies that take turns.
    """
    seats = sorted(seats, key=lambda seat: seat.packager_id)
    whole = bounds(pooled(seats))
    # Size is the dominant share of the pool: one order for packagers of any shape.
    work = [Work(piece.key, load := vector(piece.load), share_with(NOTHING, load, whole), piece) for piece in slices]
    dealt = _deal(sorted(work, key=_by_size), seats, strategy, last)
    if not dealt.overflow:
        return dealt
    # Capacity is short: whose work goes first is a matter of viewers, then of age.
    return _deal(sorted(work, key=_by_stake), seats, strategy, last)


class Work(NamedTuple):
    """A slice while it is dealt: what is asked of it more than once."""

    key: str
    load: Vector
    size: float
    slice: Slice


def _by_size(work: Work) -> tuple[float, float, int, str]:
    return -work.size, -work.slice.viewers, work.slice.since_unix_ms, work.key


def _by_stake(work: Work) -> tuple[float, int, float, str]:
    return -work.slice.viewers, work.slice.since_unix_ms, -work.size, work.key


def _deal(work: Sequence[Work], seats: Sequence[Seat], strategy: str, last: str) -> AssignmentMap:
    accounts = [Account(seat) for seat in seats]
    dealer = STRATEGIES[strategy](accounts, [each.load for each in work], last)
    copied = {each.slice.slice_id for each in work if each.slice.copy}
    others: dict[str, frozenset[str]] = {}
    holders: dict[str, str] = {}
    overflow = []
    for key, load, _, piece in work:
        barred = piece.barred
        if copied and piece.slice_id in copied:
            barred |= others.get(piece.slice_id, frozenset())
        found = dealer.pick(key, load, barred)
        if found is None:
            allowed = sum(account.packager_id not in barred for account in accounts)
            overflow.append(Overflow(slice=piece, full_count=allowed, barred_count=len(accounts) - allowed))
            continue
        holders[key] = accounts[found].packager_id
        if copied and piece.slice_id in copied:
            others[piece.slice_id] = others.get(piece.slice_id, frozenset()) | {holders[key]}
    return AssignmentMap(holders=holders, overflow=tuple(overflow), seats=tuple(account.closed() for account in accounts))


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
    used = {seat.packager_id: vector(seat.used) for seat in seats}
    most = {seat.packager_id: bounds(seat.usable) for seat in seats}
    shares = {packager: share_with(used[packager], NOTHING, most[packager]) for packager in used}
    moves: dict[str, str] = {}
    while len(moves) < moves_max and len(shares) > 1:
        full = max(shares, key=lambda p: (shares[p], p))
        empty = min(shares, key=lambda p: (shares[p], p))
        if shares[full] - shares[empty] < UNEVEN:
            break
        best: tuple[float, str, Slice] | None = None
        for piece in work.get(full, ()):
            if empty in piece.barred or piece.key in moves:
                continue
            load = vector(piece.load)
            left, right = share_with(less(used[full], load), NOTHING, most[full]), share_with(used[empty], load, most[empty])
            if right <= 1.0 and (best is None or (max(left, right), piece.key) < best[:2]):
                best = max(left, right), piece.key, piece
        if best is None or shares[full] - best[0] < MOVE_GAIN:
            break
        _, key, piece = best
        moves[key] = empty
        work[full].remove(piece)
        used[full], used[empty] = less(used[full], vector(piece.load)), plus(used[empty], vector(piece.load))
        for packager in (full, empty):
            shares[packager] = share_with(used[packager], NOTHING, most[packager])
    return moves

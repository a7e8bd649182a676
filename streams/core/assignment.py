"""Slices and packagers to a placement: split, sort, feasible, pick, charge before the next, overflow."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from schemas.records import Load
from schemas.topics import slice_key
from schemas.units import UnixMs
from streams.core.dealing import deal
from streams.core.load import NOTHING, Vector, bounds, share_with, vector
from streams.core.strategies import STRATEGIES, Account, Seat, pooled


class Rank(IntEnum):
    """Whose work goes first when capacity is short: who comes later is dropped first."""

    NEEDED = 0
    BACKLOG = 1
    SPARE = 2
    DERIVED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedChannel:
    """
    A channel whose work is to be dealt.

    Attributes:
        channel: Channel id.
        tracks: Its tracks.
        load: What packaging all of it takes, once.
        groups: Groups its tracks are dealt into.
        turns: Holders that take segments in turn.
        copies: Packagers that make the same.
        weights: What each track weighs in the load; empty: all the same.
    """

    channel: str
    tracks: tuple[str, ...]
    load: Load
    groups: int = 1
    turns: int = 1
    copies: int = 1
    weights: tuple[float, ...] = ()


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
        turn: It takes the segments whose number modulo ``turns`` is this.
        turns: Number of holders that take turns.
        viewers: Sessions at stake.
        since_unix_ms: Since when it waits.
        barred: Packagers that must not have it, as those that hold another copy.
        rank: What it yields to.
        order: Within its rank the least goes first: a backlog the sooner the older it is.
        after: Slice without which it is not placed.
    """

    slice_id: str
    copy: int
    channel: str
    tracks: tuple[str, ...]
    load: Load
    turn: int = 0
    turns: int = 1
    viewers: float = 0.0
    since_unix_ms: UnixMs = UnixMs(0)
    barred: frozenset[str] = frozenset()
    rank: Rank = Rank.NEEDED
    order: int = 0
    after: str | None = None

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
        barred_count: Packagers that must not have it; all while what it follows has none.
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
    """
    Slices of a channel: the share of each in the load by its tracks and turns; all read the whole channel.

    >>> whole = EncodedChannel(channel="news", tracks=("a0", "v0"), load=Load(cores=0.5), groups=2, weights=(1.0, 4.0))
    >>> [(piece.tracks, piece.load.cores) for piece in split(whole, viewers=0.0)]
    [(('v0',), 0.4), (('a0',), 0.1)]
    """
    weight = dict(zip(channel.tracks, channel.weights or (1.0,) * len(channel.tracks), strict=True))
    whole = sum(weight.values()) or 1.0
    return tuple(
        Slice(
            slice_id=shape.slice_id,
            copy=shape.copy,
            channel=channel.channel,
            tracks=shape.tracks,
            load=_portion(channel.load, sum(weight[track] for track in shape.tracks) / whole, shape.turns),
            turn=shape.turn,
            turns=shape.turns,
            viewers=viewers,
            rank=Rank.SPARE if shape.copy else Rank.NEEDED,
        )
        for shape in deal(channel.channel, weight, groups=channel.groups, turns=channel.turns, copies=channel.copies)
    )


def _portion(load: Load, portion: float, turns: int) -> Load:
    if portion == turns == 1:
        return load
    return Load(
        cores=load.cores * portion / turns,
        memory_bytes=int(load.memory_bytes * portion / turns),
        in_bytes_per_s=load.in_bytes_per_s,
        out_bytes_per_s=int(load.out_bytes_per_s * portion / turns),
        part_ms=load.part_ms * portion / turns,
    )


def place(slices: Sequence[Slice], seats: Sequence[Seat], *, strategy: str, last: str = "", placed: Collection[str] = ()) -> AssignmentMap:
    """
    Deal slices to seats, those of a higher rank after all others.

    Copies of one slice go to different packagers. What follows another slice is dealt only if that has a packager.

    Args:
        slices: Slices without a holder.
        seats: Packagers with what they hold already charged.
        strategy: A key of `STRATEGIES`.
        last: Packager picked last, for strategies that take turns.
        placed: Slices that have a packager already.
    """
    seats = sorted(seats, key=lambda seat: seat.packager_id)
    whole = bounds(pooled(seats))
    # Size is the dominant share of the pool: one order for packagers of any shape.
    work = [Work(piece.key, load := vector(piece.load), share_with(NOTHING, load, whole), piece) for piece in slices]
    dealt = _deal(sorted(work, key=_by_size), seats, strategy, last, placed)
    if not any(left.slice.rank is Rank.NEEDED for left in dealt.overflow):
        return dealt
    # Capacity is short: whose work goes first is a matter of viewers, then of age.
    return _deal(sorted(work, key=_by_stake), seats, strategy, last, placed)


class Work(NamedTuple):
    """A slice while it is dealt: what is asked of it more than once."""

    key: str
    load: Vector
    size: float
    slice: Slice


def _by_size(work: Work) -> tuple[int, int, float, float, int, str]:
    piece = work.slice
    return piece.rank, piece.order, -work.size, -piece.viewers, piece.since_unix_ms, work.key


def _by_stake(work: Work) -> tuple[int, int, float, int, float, str]:
    piece = work.slice
    return piece.rank, piece.order, -piece.viewers, piece.since_unix_ms, -work.size, work.key


def _deal(work: Sequence[Work], seats: Sequence[Seat], strategy: str, last: str, placed: Collection[str]) -> AssignmentMap:
    accounts = [Account(seat) for seat in seats]
    dealer = STRATEGIES[strategy](accounts, [each.load for each in work], last)
    copied = {each.slice.slice_id for each in work if each.slice.copy}
    followed = {each.slice.after: each.slice.after in placed for each in work if each.slice.after}
    others: dict[str, frozenset[str]] = {}
    holders: dict[str, str] = {}
    overflow = []
    for key, load, _, piece in work:
        if piece.after and not followed[piece.after]:
            overflow.append(Overflow(slice=piece, full_count=0, barred_count=len(accounts)))
            continue
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
        if piece.slice_id in followed:
            followed[piece.slice_id] = True
    return AssignmentMap(holders=holders, overflow=tuple(overflow), seats=tuple(account.closed() for account in accounts))

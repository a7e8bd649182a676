"""A plan to the slices that a channel's work is dealt into: groups of its tracks, turns, copies, and what is derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

from schemas.records import Cost, Period, Plan
from schemas.topics import slice_key
from streams.core.facts import ChannelFacts

WHOLE = "all"
THUMBNAILS = "thumbs"
BACKLOG = "back"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """
    A slice that a channel's work is dealt into, whoever holds it and from whichever segment on. Its id always means the same work.

    Attributes:
        slice_id: Slice, ``channel/group/turn``.
        tracks: Its tracks in the newest period.
        turn: It takes the segments whose number modulo ``turns`` is this.
        turns: Number of holders that take turns.
        copy: Which of its copies, from 0.
        after: Slice whose work must come first.
    """

    slice_id: str
    tracks: tuple[str, ...]
    turn: int = 0
    turns: int = 1
    copy: int = 0
    after: str | None = None

    @property
    def key(self) -> str:
        """Key of its assignment."""
        return slice_key(self.slice_id, self.copy)


def shapes(plan: Plan, facts: ChannelFacts) -> tuple[Shape, ...]:
    """
    The slices that a channel's work is dealt into while a plan is in force; every track of every segment is in one of each copy.

    There are no more groups than tracks. What is derived is in one slice, which follows one that makes its source.

    Args:
        plan: Granularity: groups, turns and copies.
        facts: The channel: the tracks of its newest period.
    """
    period = facts.period
    if (plan.groups, plan.turns, plan.copies) == (1, 1, 1) and not period.thumbnails:
        return (Shape(slice_id=f"{plan.channel}/{WHOLE}/0", tracks=tuple([track.track for track in period.tracks])),)
    weight = weights(period) if plan.groups > 1 else dict.fromkeys((track.track for track in period.tracks), 1.0)
    dealt = deal(plan.channel, weight, groups=plan.groups, turns=plan.turns, copies=plan.copies)
    if period.thumbnails:
        source = period.thumbnails.source
        after = next(shape.slice_id for shape in dealt if source in shape.tracks)
        dealt += (Shape(slice_id=f"{plan.channel}/{THUMBNAILS}/0", tracks=(period.thumbnails.track,), after=after),)
    return dealt


def deal(channel: str, weight: Mapping[str, float], *, groups: int, turns: int, copies: int) -> tuple[Shape, ...]:
    """
    Every track of a channel, in groups, turns and copies.

    >>> [shape.key for shape in deal("news", {"a0": 1.0, "v0": 4.0}, groups=1, turns=2, copies=1)]
    ['news/all/0of2/0', 'news/all/1of2/0']
    """
    names = ("0",) if turns == 1 else tuple(f"{turn}of{turns}" for turn in range(turns))
    return tuple(
        Shape(slice_id=f"{channel}/{group}/{names[turn]}", tracks=tracks, turn=turn, turns=turns, copy=copy)
        for group, tracks in grouped(weight, groups).items()
        for turn in range(turns)
        for copy in range(copies)
    )


def grouped(weight: Mapping[str, float], groups: int) -> dict[str, tuple[str, ...]]:
    """
    Tracks by group, dealt largest first to the lightest group.

    The name of a group says with which tracks it shares its channel, since another period may have others: then it is another group.

    Args:
        weight: What each track weighs.
        groups: Groups wanted; no more are made than there are tracks.

    >>> grouped({"a0": 1.0, "v0": 2.0, "v1": 3.0, "v2": 6.0}, 2)
    {'0of2-4188': ('v2',), '1of2-4188': ('a0', 'v0', 'v1')}
    >>> list(grouped({"a0": 1.0}, 2))
    ['all']
    """
    count = min(groups, len(weight))
    if count <= 1:
        return {WHOLE: tuple(weight)}
    held: list[list[str]] = [[] for _ in range(count)]
    filled = [0.0] * count
    for track in sorted(weight, key=lambda track: (-weight[track], track)):
        lightest = min(range(count), key=lambda group: (filled[group], group))
        held[lightest].append(track)
        filled[lightest] += weight[track]
    tracks = [tuple(track for track in weight if track in group) for group in held]
    deal = blake2b("/".join(",".join(sorted(group)) for group in tracks).encode(), digest_size=2).hexdigest()
    return {f"{group}of{count}-{deal}": tracks[group] for group in range(count)}


def weights(period: Period) -> dict[str, float]:
    """What each track of a period weighs, in core-seconds per second of it at its declared rate: what is learned later regroups nobody."""
    cost, parts = Cost(), len(period.grid)
    frames = sum(sum(part.chunk_frames) for part in period.grid)
    gop_s = frames * period.frame_rate_den / period.frame_rate_num
    per_gop = cost.per_segment + cost.per_part * parts + cost.per_chunk * sum(len(part.chunk_frames) for part in period.grid)
    return {track.track: per_gop / gop_s + cost.per_byte * track.bandwidth_bps / 8 for track in period.tracks}


def group_of(slice_id: str) -> str:
    """
    Group of a slice.

    >>> group_of("news/all/0")
    'all'
    """
    return slice_id.split("/")[1]


def is_derived(slice_id: str) -> bool:
    """Whether a slice is of what is derived from a channel: whoever watches misses nothing without it."""
    return group_of(slice_id) == THUMBNAILS


def is_backlog(slice_id: str) -> bool:
    """Whether a slice is a range of what another one was behind with."""
    return group_of(slice_id).startswith(BACKLOG)


def backlog_of(slice_id: str, from_msn: int) -> str:
    """
    Id of a range of what a slice is behind with.

    >>> backlog_of("news/all/0", 17)
    'news/back17-all/0'
    """
    channel, group, turn = slice_id.split("/")
    return f"{channel}/{BACKLOG}{from_msn}-{group}/{turn}"


def takes_all(slice_id: str) -> bool:
    """Whether a slice has all tracks, whichever a period has."""
    return group_of(slice_id).removeprefix(BACKLOG).lstrip("0123456789").removeprefix("-") == WHOLE


def follows_groups(slice_id: str) -> bool:
    """Whether a slice is of the first of several groups: it makes what is of no group, tracks that only an older period has."""
    return group_of(slice_id).startswith("0of")

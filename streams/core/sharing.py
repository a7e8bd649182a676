"""Into how many slices a channel's work is dealt, groups of tracks and turns, and how many packagers make the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.records import Plan
from schemas.settings import GranularitySettings
from schemas.units import UnixMs
from streams.core.load import Vector, plus, share_with

# A packager with less than this share of the cores of the middle one does not make slices finer.
SMALL = 0.25
# Copies are begun while so much of what is dealt out would be in use with them, and ended when more than the other is.
COPIES_BEGIN = 0.8
COPIES_END = 0.95
# A channel loses its copy when its viewers are fewer than this share of those that begin one.
COPIES_BACK = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Deal:
    """
    How the work of a channel is dealt.

    Attributes:
        groups: Groups of its tracks.
        turns: Holders that take segments in turn.
    """

    groups: int = 1
    turns: int = 1

    def covers(self, other: "Deal") -> bool:
        """Whether it is at least as fine."""
        return self.groups >= other.groups and self.turns >= other.turns


WHOLE = Deal()


def deal_for(load: Vector, smallest: Vector, *, tracks: int, settings: GranularitySettings, slack: float = 1.0) -> Deal:
    """
    The fewest slices of which none takes more than its share of the smallest packager, nor more part work than its budget.

    Tracks are parted first: that lessens everything but the reading. Turns lessen CPU and writing, but not what is owed at one instant;
    they are taken when single tracks are still too much.

    Args:
        load: What the whole channel takes.
        smallest: What is dealt out of the smallest packager; infinite where nothing bounds.
        tracks: Tracks of the channel.
        settings: Largest share, most slices.
        slack: The limits are so much lower.

    >>> deal_for((0.3, 0, 0, 0, 10.0), (2.0, 1e9, 1e9, 1e9, 150.0), tracks=4, settings=GranularitySettings())
    Deal(groups=4, turns=1)
    >>> deal_for((0.9, 0, 0, 0, 10.0), (2.0, 1e9, 1e9, 1e9, 150.0), tracks=4, settings=GranularitySettings())
    Deal(groups=4, turns=3)
    """
    limit, most = settings.slice_share_max / slack, settings.slices_max
    cpu = max(load[0] / smallest[0], load[3] / smallest[3]) / limit
    rest = max(load[1] / smallest[1] / limit, load[4] / smallest[4] * slack)
    size = max(cpu, rest)
    if size <= 1.0 or most == 1:
        return WHOLE
    held = int(tracks / size)  # tracks that one slice may have
    groups = min(-(-tracks // held) if held else tracks, most)
    turns = -(-cpu * -(-tracks // groups) // tracks)
    return Deal(groups=groups, turns=max(1, min(int(turns), most // groups)))


def settle_deal(
    plan: Plan | None, load: Vector, smallest: Vector | None, *, tracks: int, settings: GranularitySettings, now: UnixMs
) -> Deal:  # fmt: skip
    """
    How a channel is dealt: as is needed, kept while it is neither too coarse nor needlessly fine, and for ``deal_hold_ms``.

    Args:
        plan: Granularity in force; None for a channel that is not packaged: it begins as is needed.
        load: What the whole channel takes.
        smallest: As of `deal_for`; None without two packagers to share the work.
        tracks: Tracks of the channel.
        settings: Limits and hysteresis.
        now: Time of the decision.
    """
    held = Deal(groups=plan.groups, turns=plan.turns) if plan else WHOLE
    if smallest is None:
        return held
    needed = deal_for(load, smallest, tracks=tracks, settings=settings)
    if plan is None or needed == held or held.groups * held.turns > settings.slices_max:
        return needed
    if now - plan.dealt_since_unix_ms < settings.deal_hold_ms:
        return held
    finer = deal_for(load, smallest, tracks=tracks, settings=settings, slack=settings.hysteresis)
    return held if held.covers(needed) and finer.covers(held) else needed


@dataclass(frozen=True, kw_only=True, slots=True)
class Stake:
    """
    A channel of which a second packager may make the same.

    Attributes:
        channel: Channel id.
        viewers: Those of parts, there or expected: their buffers outlast no takeover.
        load: What it takes once.
        has_copy: Whether it has a second one now.
        is_held: Whether it was begun so lately that it stays while there is room.
    """

    channel: str
    viewers: float
    load: Vector
    has_copy: bool
    is_held: bool


def copied(stakes: Iterable[Stake], *, used: Vector, most: Vector, settings: GranularitySettings) -> set[str]:
    """
    Channels that two packagers make: those with most at stake first, while there is room.

    Args:
        stakes: Channels packaged to parts.
        used: What all channels take once.
        most: What is dealt out of the pool.
        settings: Viewers from which a copy is worth it.
    """
    chosen: set[str] = set()
    for stake in sorted(stakes, key=lambda s: (-s.viewers, s.channel)):
        least = settings.copies_viewers * (COPIES_BACK if stake.has_copy else 1.0)
        room = COPIES_END if stake.has_copy else COPIES_BEGIN
        if (stake.viewers >= least or stake.is_held) and share_with(used, stake.load, most) <= room:
            used = plus(used, stake.load)
            chosen.add(stake.channel)
    return chosen


def least_of(capacities: Sequence[Vector]) -> Vector | None:
    """
    The smallest of each rate, but for packagers much smaller than most, which hold little of the pool and take what fits them.

    None with fewer than two packagers: there is nobody to share work with.

    >>> least_of([(0.1, 1, 1, 1, 1), (2.0, 5, 9, 9, 9), (4.0, 4, 9, 9, 9)])
    (2.0, 4, 9, 9, 9)
    """
    typical = sorted(capacity[0] for capacity in capacities)[len(capacities) // 2] if capacities else 0.0
    counted = [capacity for capacity in capacities if capacity[0] >= SMALL * typical]
    if len(counted) < 2:
        return None
    cores, memory, read, written, part_ms = (min(rates) for rates in zip(*counted, strict=True))
    return cores, memory, read, written, part_ms

"""Loads as vectors of rates: what a slice takes and what a packager has."""

from collections.abc import Callable, Collection, Iterable
from math import fsum, inf
from operator import attrgetter

from schemas.records import Cost, Level, Load
from streams.core.facts import ChannelFacts

# Bytes of a slice held while its segments are made, in target durations: the open segment, its parts, one being written.
HELD_TARGETS = 3
# Parts are written as objects of their own and again inside their segment.
WRITTEN_TWICE = 2
UNBOUNDED = inf
# The least float above 0: any use of it is an infinite share, and none is 0.
NO_CORES = 5e-324

Vector = tuple[float, float, float, float, float]
"""The rates of a load in the order of its fields, where thousands are summed and compared."""
vector: Callable[[Load], Vector] = attrgetter("cores", "memory_bytes", "in_bytes_per_s", "out_bytes_per_s", "part_ms")
"""The rates of a load; a getter, since every load is asked for them at every placing."""
NOTHING: Vector = (0, 0, 0, 0, 0)
NO_LOAD = Load()


def add(a: Load, b: Load) -> Load:
    """
    Both together.

    >>> add(Load(cores=1.0), Load(cores=0.5, part_ms=3.0))
    Load(cores=1.5, memory_bytes=0, in_bytes_per_s=0, out_bytes_per_s=0, part_ms=3.0)
    """
    return as_load(plus(vector(a), vector(b)))


def share(used: Load, usable: Load) -> float:
    """
    The dominant share: the largest used part of any capacity. A capacity of 0 is not measured and does not bound, but for cores.

    >>> share(Load(cores=1.0, memory_bytes=30), Load(cores=4.0, memory_bytes=40))
    0.75
    >>> share(Load(cores=0.1), Load())
    inf
    """
    return share_with(vector(used), NOTHING, bounds(usable))


def as_load(rates: Vector) -> Load:
    """The load that a vector stands for."""
    cores, memory, read, written, part_ms = rates
    return Load(cores=cores, memory_bytes=int(memory), in_bytes_per_s=int(read), out_bytes_per_s=int(written), part_ms=part_ms)


def bounds(usable: Load) -> Vector:
    """What the rates of a load are divided by to be shares: no cores hold nothing, any other capacity of 0 holds everything."""
    return (
        usable.cores or NO_CORES,
        usable.memory_bytes or UNBOUNDED,
        usable.in_bytes_per_s or UNBOUNDED,
        usable.out_bytes_per_s or UNBOUNDED,
        usable.part_ms or UNBOUNDED,
    )


def share_with(used: Vector, load: Vector, most: Vector) -> float:
    """
    Dominant share with one more load. Written out, since placing asks it more often than all else together.

    >>> share_with(vector(Load(cores=1.0)), vector(Load(cores=0.5, part_ms=30.0)), bounds(Load(cores=2.0, part_ms=60.0)))
    0.75
    """
    score = (used[0] + load[0]) / most[0]
    if (of_memory := (used[1] + load[1]) / most[1]) > score:
        score = of_memory
    if (of_input := (used[2] + load[2]) / most[2]) > score:
        score = of_input
    if (of_output := (used[3] + load[3]) / most[3]) > score:
        score = of_output
    if (of_parts := (used[4] + load[4]) / most[4]) > score:
        score = of_parts
    return score


def plus(used: Vector, load: Vector) -> Vector:
    """With a load more."""
    return used[0] + load[0], used[1] + load[1], used[2] + load[2], used[3] + load[3], used[4] + load[4]


def less(used: Vector, load: Vector) -> Vector:
    """With a load less."""
    return used[0] - load[0], used[1] - load[1], used[2] - load[2], used[3] - load[3], used[4] - load[4]


def total(loads: Iterable[Vector]) -> Vector:
    """
    All together, equal to the last bit in whatever order they come.

    >>> total([vector(Load(cores=c)) for c in (0.1, 0.2, 0.3)]) == total([vector(Load(cores=c)) for c in (0.3, 0.2, 0.1)])
    True
    """
    cores, memory, read, written, part_ms = zip(NOTHING, *loads, strict=True)
    return fsum(cores), sum(memory), sum(read), sum(written), fsum(part_ms)


def usable(capacity: Load, *, utilisation: float, part_ms_budget: float) -> Load:
    """What of a capacity is dealt out; part work falls due on all of its cores."""
    most_ms = part_ms_budget * capacity.cores
    return Load(
        cores=capacity.cores * utilisation,
        memory_bytes=int(capacity.memory_bytes * utilisation),
        in_bytes_per_s=int(capacity.in_bytes_per_s * utilisation),
        out_bytes_per_s=int(capacity.out_bytes_per_s * utilisation),
        part_ms=min(capacity.part_ms or most_ms, most_ms),
    )


def channel_load(facts: ChannelFacts, cost: Cost, *, gops_per_segment: int, level: Level = Level.PARTS) -> Load:
    """What packaging a whole channel takes at the live edge, at a segment length: the load of one slice with all its tracks."""
    known: tuple[Cost, Load] | None = facts.memo.get((level, gops_per_segment))
    if known is None or known[0] is not cost:
        known = cost, slice_load(facts, cost, level=level, gops_per_segment=gops_per_segment, tracks=None)
        facts.memo[level, gops_per_segment] = known
    return known[1]


def slice_load(
    facts: ChannelFacts,
    cost: Cost,
    *,
    level: Level,
    gops_per_segment: int,
    tracks: Collection[str] | None,
    turns: int = 1,
    speed: float = 1.0,
) -> Load:
    """
    What a slice takes of who holds it.

    Fewer tracks take less of everything but of the reading: the log is read with all tracks of a partition. So does a turn of several:
    while it has its turn it holds and owes as much at one instant as if it were alone, but of many turns few have it at once.

    Args:
        facts: The channel.
        cost: Learned coefficients.
        level: What is packaged.
        gops_per_segment: Segment length.
        tracks: Tracks of the slice; those that the newest period has not take nothing. None: all.
        turns: Holders that take segments in turn.
        speed: Media time per time: more than 1 while a backlog is caught up.
    """
    if level is Level.OFF:
        return NO_LOAD
    period, rate = facts.period, facts.bytes_per_s
    count, portion = len(period.tracks), 1.0
    if tracks is not None:
        held = [track.bandwidth_bps for track in period.tracks if track.track in tracks]
        if len(held) < count:
            count, portion = len(held), sum(held) / (sum(track.bandwidth_bps for track in period.tracks) or 1)
    is_parts, parts, gop_s = level is Level.PARTS, len(period.grid), facts.gop_ms / 1_000
    per_part = cost.per_part if is_parts else 0.0
    per_gop = cost.per_segment / gops_per_segment + per_part * parts + cost.per_chunk * facts.chunks_per_gop
    per_instant_s = per_part + cost.per_chunk * facts.chunks_per_gop / parts
    pace = speed / turns
    return Load(
        cores=(count * per_gop / gop_s + cost.per_byte * rate * portion) * pace,
        memory_bytes=int(rate * portion * HELD_TARGETS * period.target_duration_ms / 1_000 / turns),
        in_bytes_per_s=int(rate * speed),
        out_bytes_per_s=int(rate * portion * (WRITTEN_TWICE if is_parts else 1) * pace),
        part_ms=count * per_instant_s * 1_000 / turns if is_parts else 0.0,
    )

"""Loads as vectors of rates: what a slice takes and what a packager has."""

from schemas.records import Cost, Load
from streams.core.facts import ChannelFacts

# Bytes of a slice held while its segments are made, in target durations: the open segment, its parts, one being written.
HELD_TARGETS = 3
# Parts are written as objects of their own and again inside their segment.
WRITTEN_TWICE = 2


def add(a: Load, b: Load) -> Load:
    """
    Both together.

    >>> add(Load(cores=1.0), Load(cores=0.5, part_ms=3.0))
    Load(cores=1.5, memory_bytes=0, in_bytes_per_s=0, out_bytes_per_s=0, part_ms=3.0)
    """
    return Load(
        cores=a.cores + b.cores,
        memory_bytes=a.memory_bytes + b.memory_bytes,
        in_bytes_per_s=a.in_bytes_per_s + b.in_bytes_per_s,
        out_bytes_per_s=a.out_bytes_per_s + b.out_bytes_per_s,
        part_ms=a.part_ms + b.part_ms,
    )


def share(used: Load, usable: Load) -> float:
    """
    The dominant share: the largest used part of any capacity. A capacity of 0 is not measured and does not bound, but for cores.

    >>> share(Load(cores=1.0, memory_bytes=30), Load(cores=4.0, memory_bytes=40))
    0.75
    >>> share(Load(cores=0.1), Load())
    inf
    """
    shares = [used.cores / usable.cores if usable.cores > 0 else float("inf") if used.cores > 0 else 0.0]
    if usable.memory_bytes:
        shares.append(used.memory_bytes / usable.memory_bytes)
    if usable.in_bytes_per_s:
        shares.append(used.in_bytes_per_s / usable.in_bytes_per_s)
    if usable.out_bytes_per_s:
        shares.append(used.out_bytes_per_s / usable.out_bytes_per_s)
    if usable.part_ms:
        shares.append(used.part_ms / usable.part_ms)
    return max(shares)


def usable(capacity: Load, *, utilisation: float, part_ms_budget: float) -> Load:
    """What of a capacity is dealt out."""
    return Load(
        cores=capacity.cores * utilisation,
        memory_bytes=int(capacity.memory_bytes * utilisation),
        in_bytes_per_s=int(capacity.in_bytes_per_s * utilisation),
        out_bytes_per_s=int(capacity.out_bytes_per_s * utilisation),
        part_ms=min(capacity.part_ms or part_ms_budget, part_ms_budget),
    )


def channel_load(facts: ChannelFacts, cost: Cost, *, gops_per_segment: int) -> Load:
    """What packaging a whole channel to parts takes at the live edge, at a segment length."""
    tracks, gop_s, rate = len(facts.period.tracks), facts.gop_ms / 1_000, facts.bytes_per_s
    parts = len(facts.period.grid)
    per_gop = cost.per_segment / gops_per_segment + cost.per_part * parts + cost.per_chunk * facts.chunks_per_gop
    per_part_s = cost.per_part + cost.per_chunk * facts.chunks_per_gop / parts
    return Load(
        cores=tracks * per_gop / gop_s + cost.per_byte * rate,
        memory_bytes=int(rate * HELD_TARGETS * facts.period.target_duration_ms / 1_000),
        in_bytes_per_s=int(rate),
        out_bytes_per_s=int(rate * WRITTEN_TWICE),
        part_ms=tracks * per_part_s * 1_000,
    )

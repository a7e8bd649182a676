"""What a slice is far behind with is made beside it, in ranges, by all that have room: the oldest first."""

from collections.abc import Collection
from dataclasses import replace

from schemas.records import Assignment, Reason
from schemas.units import Epoch, Msn, UnixMs
from streams.core.dealing import backlog_of, is_backlog, is_derived
from streams.core.facts import ChannelFacts
from streams.core.progress import read_from, start_msn
from streams.core.resuming import end_of, resume
from streams.core.scene import Scene
from streams.core.standing import NO_LIFE, NOBODY
from streams.core.voids import HOLD_BACK_TARGETS

# Who is so far behind does not come back in time for those who watch: the live edge goes on without the rest.
BEHIND_TARGETS = 2 * HOLD_BACK_TARGETS
# The shortest range: each costs a holder, a seek in the log, and reading up to its first segment.
RANGE_TARGETS = 4
# Ranges of one channel: then it is behind until some are done.
RANGES_MAX = 16


def split(
    scene: Scene, facts: ChannelFacts, held: Assignment, from_msn: Msn, first_offset: int, others: Collection[str]
) -> tuple[Assignment | None, tuple[Assignment, ...]] | None:
    """
    A slice that is far behind, as it goes on near the live edge, and ranges of what it leaves; None if it is not.

    The ranges are given to nobody yet. What was derived is not caught up. A slice that ends before the edge is nothing but ranges.

    Args:
        scene: The scene.
        facts: The channel.
        held: The slice as it is, or would be if it had a holder.
        from_msn: The first segment that it has not done.
        first_offset: Where that can be read from.
        others: Slices of the channel that are ranges already.
    """
    behind_ms = BEHIND_TARGETS * facts.period.target_duration_ms
    room = RANGES_MAX - len(others)
    if is_backlog(held.slice_id) or not facts.segments or from_msn >= start_msn(facts, back_ms=behind_ms) or room <= 0:
        return None
    edge, until = start_msn(facts, back_ms=behind_ms // 2), end_of(scene, held)
    cut = edge if until is None else min(edge, until)
    live = None
    if until is None or until > cut:
        live = replace(held, epoch=Epoch(scene.number), from_msn=cut, first_offset=max(first_offset, read_from(facts, cut)))
    if is_derived(held.slice_id) or held.copy:
        return live, ()
    return live, tuple(_ranges(scene, facts, held, from_msn, first_offset, cut, room))


def _ranges(
    scene: Scene, facts: ChannelFacts, held: Assignment, from_msn: Msn, first_offset: int, until: Msn, room: int
) -> list[Assignment]:
    segment_ms = max(1, sum(s.seen_gops for s in facts.segments) * facts.gop_ms // len(facts.segments))
    span = until - from_msn
    pieces = span * segment_ms // (RANGE_TARGETS * facts.period.target_duration_ms)
    count = max(1, min(pieces, len(scene.alive), room, span))
    firsts = [Msn(from_msn + span * i // count) for i in range(count)]
    return [
        range_of(scene, held, first, end, max(first_offset, read_from(facts, first)))
        for first, end in zip(firsts, [*firsts[1:], until], strict=True)
    ]


def range_of(scene: Scene, held: Assignment, from_msn: Msn, until_msn: Msn, first_offset: int) -> Assignment:
    """Some segments of a slice by themselves, given to nobody yet."""
    return replace(
        held,
        slice_id=backlog_of(held.slice_id, from_msn),
        copy=0,
        epoch=Epoch(scene.number),
        packager_id=NOBODY,
        life=NO_LIFE,
        from_msn=from_msn,
        until_msn=until_msn,
        first_offset=first_offset,
        after=None,
        decision=scene.number,
        reason=Reason.LATE,
        cause="",
        cause_unix_ms=UnixMs(0),
        since_unix_ms=UnixMs(0),
    )


def is_behind(scene: Scene, facts: ChannelFacts, held: Assignment) -> tuple[Msn, int] | None:
    """Where a slice whose holder lives is at, if that is far behind the live edge and somebody else lives to help."""
    if not facts.segments:
        return None
    floor, behind_ms = scene.floor(held), BEHIND_TARGETS * facts.period.target_duration_ms
    if (facts.segments[-1].msn - floor) * facts.gop_ms * facts.gops_max < behind_ms:
        return None
    if is_backlog(held.slice_id) or floor >= start_msn(facts, back_ms=behind_ms):
        return None
    first, offset = resume(scene, facts, held, held.until_msn)
    return None if first >= start_msn(facts, back_ms=behind_ms) else (first, offset)

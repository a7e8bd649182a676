"""Slices that need a holder: what is wanted of them, from where on, and what becomes of those that find none."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from schemas.records import Assignment, Fault, Reason
from schemas.topics import life_key
from schemas.units import Epoch, Msn, UnixMs
from streams.core.assignment import Rank, Slice
from streams.core.dealing import Shape, is_backlog, is_derived
from streams.core.facts import ChannelFacts
from streams.core.liveness import Status
from streams.core.resuming import end_of, resume, tracks_of
from streams.core.scene import Scene, Source
from streams.core.standing import NO_LIFE, NOBODY, assignment_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Want:
    """
    A slice that needs a holder.

    Attributes:
        slice: What is placed.
        held: Its assignment in force; None if it is new.
        from_msn: First segment wanted.
        first_offset: Offset at which that can be read from.
        until_msn: First segment no longer wanted.
        reason: Why it needs one.
        source: Record that led to it.
        is_kept: Whether the present holder goes on while no other is found.
        hedges: Packager whose lateness it makes up for; empty: it is no such copy.
    """

    slice: Slice
    held: Assignment | None
    from_msn: Msn
    first_offset: int
    until_msn: Msn | None
    reason: Reason
    source: Source
    is_kept: bool = False
    hedges: str = ""


def is_worth_placing(scene: Scene, facts: ChannelFacts, want: Want) -> bool:
    """Whether there is or will be anything to make: an encoder that fell silent is not placed anew, but for what it left open."""
    if want.until_msn is not None:
        return want.until_msn > want.from_msn
    return facts.is_live or scene.progress.first_open(facts, from_msn=want.from_msn) is not None


def want_again(scene: Scene, facts: ChannelFacts, key: str, held: Assignment, siblings: Iterable[Assignment]) -> Want | None:
    """
    A need for another holder, or for another try; None if the slice goes on as it is.

    Args:
        scene: The scene.
        facts: The channel.
        key: ``slice/copy``.
        held: Its assignment.
        siblings: Assignments of its other copies.
    """
    holder = life_key(held.packager_id, held.life)
    packager = scene.packagers.get(holder)
    failures = [f for f in scene.failures.get(key, ()) if not scene.progress.is_track_done(f.channel, f.msn, f.track)]
    is_lost = packager is None or packager.status is Status.DEAD
    is_draining = packager is not None and packager.status is Status.DRAINING
    if not (is_lost or is_draining or failures):
        return None
    until = end_of(scene, held)
    if scene.is_bookmark(held):
        from_msn, first_offset, reason = held.from_msn, held.first_offset, Reason.PLACED
    else:
        from_msn, first_offset = resume(scene, facts, held, until)
        reason = packager.reason if packager else Reason.PACKAGER_DEAD
    barred = _failed(scene, held) if any(f.fault is Fault.OWN for f in failures) else set[str]()
    others = scene.alive.keys() - barred
    if failures and not (is_lost or is_draining):
        reason = Reason.PLACED
    working = [other for other in siblings if scene.is_working(other)]
    return Want(
        slice=piece_of(
            scene,
            facts,
            held,
            barred=frozenset(barred if others else ()) | {other.packager_id for other in working},
            # A copy that began behind what is open makes none of it.
            rank=Rank.SPARE if any(other.from_msn <= from_msn for other in working) else rank_of(held.slice_id),
            from_msn=from_msn,
        ),
        held=held,
        from_msn=from_msn,
        first_offset=first_offset,
        until_msn=until,
        reason=reason,
        source=Source() if scene.is_bookmark(held) else scene.heard.get(holder, Source()),
        is_kept=is_draining,
    )


def _failed(scene: Scene, held: Assignment) -> set[str]:
    """Packagers that failed with what is still open of a slice, by their own fault, whenever they had it."""
    open_failures = (f for f in scene.before_voids.failures() if f.slice_id == held.slice_id and f.fault is Fault.OWN)
    return {f.packager_id for f in open_failures if not scene.progress.is_track_done(f.channel, f.msn, f.track)}


def rank_of(slice_id: str) -> Rank:
    """What a slice that nobody else makes yields to."""
    return Rank.DERIVED if is_derived(slice_id) else Rank.BACKLOG if is_backlog(slice_id) else Rank.NEEDED


def piece_of(scene: Scene, facts: ChannelFacts, held: Assignment, *, barred: frozenset[str], rank: Rank, from_msn: Msn) -> Slice:
    """A slice in force as it is placed."""
    waiting = scene.standing.queued.get(assignment_key(held))
    return Slice(
        slice_id=held.slice_id,
        copy=held.copy,
        channel=held.channel,
        tracks=held.tracks,
        load=scene.slice_load(facts, held.slice_id, held.tracks, held.turns),
        turn=held.turn,
        turns=held.turns,
        viewers=facts.audience.at_stake,
        since_unix_ms=waiting.since_unix_ms if waiting else scene.facts.now,
        barred=barred,
        rank=rank,
        # The further behind the edge, the older.
        order=(from_msn - facts.next_opened) * facts.gop_ms if rank is Rank.BACKLOG else 0,
        after=held.after,
    )


def want_new(
    scene: Scene,
    facts: ChannelFacts,
    shape: Shape,
    from_msn: Msn,
    first_offset: int,
    *,
    reason: Reason,
    source: Source,
    siblings: Iterable[Assignment] = (),
) -> Want:
    """
    A slice that begins.

    Args:
        scene: The scene.
        facts: The channel.
        shape: Which.
        from_msn: Its first segment.
        first_offset: Where that can be read from.
        reason: Why it begins.
        source: Record that led to it.
        siblings: Assignments of its other copies.
    """
    working = [other for other in siblings if scene.is_working(other)]
    new = Assignment(
        slice_id=shape.slice_id,
        copy=shape.copy,
        epoch=Epoch(scene.number),
        packager_id=NOBODY,
        life=NO_LIFE,
        channel=facts.channel,
        tracks=tracks_of(facts, shape.slice_id, shape.tracks, (), from_msn=from_msn),
        turn=shape.turn,
        turns=shape.turns,
        level=scene.level(facts.channel),
        from_msn=from_msn,
        until_msn=scene.until(facts.channel),
        media_partition=facts.period.media_partition,
        first_offset=first_offset,
        after=shape.after,
        decision=scene.number,
        reason=reason,
        cause=source.text,
        cause_unix_ms=source.at_unix_ms,
    )
    rank = Rank.SPARE if shape.copy or working else rank_of(shape.slice_id)
    barred = frozenset(other.packager_id for other in working)
    return Want(
        slice=piece_of(scene, facts, new, barred=barred, rank=rank, from_msn=from_msn),
        held=None,
        from_msn=from_msn,
        first_offset=first_offset,
        until_msn=new.until_msn,
        reason=reason,
        source=source,
    )


def given(scene: Scene, want: Want, packager_id: str) -> Assignment:
    """The assignment of a slice to a packager that lives."""
    return assigned(scene, want, packager_id, scene.alive[packager_id].life)


def assigned(scene: Scene, want: Want, packager_id: str, life: str) -> Assignment:
    """The assignment of a slice to a life of a packager."""
    facts, piece = scene.facts.channels[want.slice.channel], want.slice
    return Assignment(
        slice_id=piece.slice_id,
        copy=piece.copy,
        epoch=Epoch(scene.number),
        packager_id=packager_id,
        life=life,
        channel=piece.channel,
        tracks=piece.tracks,
        turn=piece.turn,
        turns=piece.turns,
        level=want.held.level if want.held and want.until_msn is not None else scene.level(piece.channel),
        from_msn=want.from_msn,
        until_msn=want.until_msn,
        media_partition=facts.period.media_partition,
        first_offset=want.first_offset,
        after=piece.after,
        decision=scene.number,
        reason=want.reason,
        cause=want.source.text,
        cause_unix_ms=want.source.at_unix_ms,
        since_unix_ms=scene.facts.now,
        hedges=want.hedges,
    )


def bookmark(scene: Scene, want: Want) -> Assignment | None:
    """
    Where a slice is to go on that found no holder: given to the life that died with it, or to nobody.

    None if that stands already, or somebody still works on it, or nothing is lost without it: a copy, or what is derived. What its channel
    changed of it meanwhile, such as its end, is written all the same.
    """
    held = want.held
    if held is None:
        return None if want.slice.rank >= Rank.SPARE else replace(assigned(scene, want, NOBODY, NO_LIFE), reason=Reason.NO_CAPACITY)
    if want.is_kept or scene.is_bookmark(held) or scene.is_working(held):
        return None if held == scene.standing.assignments.get(want.slice.key) else held
    return replace(assigned(scene, want, held.packager_id, held.life), reason=Reason.NO_CAPACITY, since_unix_ms=UnixMs(0))

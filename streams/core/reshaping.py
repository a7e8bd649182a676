"""How the slices of a channel follow its plan: which begin, which end and where, which are taken up again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.records import Action, Assignment, Reason
from schemas.units import Epoch, Msn, UnixMs
from streams.core.backlog import range_of
from streams.core.dealing import Shape, is_backlog, is_derived, shapes, takes_all
from streams.core.facts import ChannelFacts
from streams.core.progress import read_from
from streams.core.resuming import newest_tracks, part_of, resume, tracks_of
from streams.core.scene import Scene, Source
from streams.core.standing import assignment_key
from streams.core.wants import Want, want_new


@dataclass(kw_only=True, slots=True)
class Turnover:
    """
    What the plan changes of the slices of a channel.

    Attributes:
        shapes: The slices that the plan makes of it, by ``slice/copy``; none while it is to end.
        held: Its assignments that go on, as they are now, by ``slice/copy``.
        wants: Slices that begin, by ``slice/copy``.
        ended: Slices that nobody makes any more, by ``slice/copy``.
    """

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    held: dict[str, Assignment] = field(default_factory=dict)
    wants: dict[str, Want] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    @property
    def is_dealt_anew(self) -> bool:
        """Whether slices took the place of others."""
        return any(want.reason is Reason.LOAD for want in self.wants.values())


def turn_over(scene: Scene, facts: ChannelFacts, held: Mapping[str, Assignment], *, may_reshape: bool, is_new: bool) -> Turnover:
    """
    What a channel's plan makes of its slices.

    Slices of another shape begin at a segment that no chunk is stamped with yet, where those before end, so that a slice's id always
    means the same work. They do so once nothing of an earlier change is left under their names.

    Args:
        scene: The scene.
        facts: The channel.
        held: Its assignments in force that are not finished, by ``slice/copy``.
        may_reshape: Whether work that is held may be dealt anew in this decision.
        is_new: Whether nothing of it was in force before.
    """
    plan, word = scene.plans.get(facts.channel), scene.packaging.get(facts.channel)
    if plan is None or word is None or not scene.is_packaged(facts.channel):
        is_left = is_new and _is_started(scene, facts)
        return _begun(scene, facts, {}, is_restart=False) if is_left else Turnover(held=dict(held))
    open_ids = {a.slice_id for a in held.values() if a.until_msn is None and not is_derived(a.slice_id)}
    is_restart = word.decision == scene.number and not scene.standing.is_packaged(facts.channel)
    if not open_ids or is_restart:
        return _begun(scene, facts, held, is_restart=is_restart)
    wanted = {shape.key: shape for shape in shapes(plan, facts)}
    needed = {shape.slice_id for shape in wanted.values() if shape.after is None}
    if open_ids != needed:
        is_busy = any(a.until_msn is not None and key in wanted for key, a in held.items())
        if not may_reshape or is_busy or not facts.is_live:
            # As it is dealt now, but nothing that follows what is not there.
            return Turnover(shapes={k: s for k, s in wanted.items() if s.after in open_ids | {None}}, held=dict(held))
        return _reshaped(scene, facts, held, wanted)
    over = Turnover(shapes=wanted, held=dict(held))
    for key, assignment in held.items():
        if assignment.until_msn is None and key not in wanted and _is_spare(scene, held, assignment):
            del over.held[key]
            over.ended.append(key)
    if facts.is_live:
        _add_missing(scene, facts, over, wanted)
    return over


def _is_started(scene: Scene, facts: ChannelFacts) -> bool:
    """Whether a channel that ended was started before."""
    word = scene.packaging.get(facts.channel)
    return word is not None and word.action is Action.START and facts.channel in scene.plans


def _is_spare(scene: Scene, held: Mapping[str, Assignment], assignment: Assignment) -> bool:
    """Whether a slice may end at once: it is derived, or somebody works on a copy of it with a lower number."""
    others = (a for a in held.values() if a.slice_id == assignment.slice_id and a.copy < assignment.copy and a.until_msn is None)
    return is_derived(assignment.slice_id) or any(scene.is_working(other) for other in others)


def _add_missing(scene: Scene, facts: ChannelFacts, over: Turnover, wanted: Mapping[str, Shape]) -> None:
    """Copies, and what is derived, begin with a segment that no chunk is stamped with yet."""
    from_msn = facts.next_unopened
    for key, shape in wanted.items():
        if key not in over.held:
            siblings = [a for a in over.held.values() if a.slice_id == shape.slice_id]
            over.wants[key] = want_new(
                scene, facts, shape, from_msn, read_from(facts, from_msn), reason=Reason.PLACED, source=Source(), siblings=siblings
            )


def _begun(scene: Scene, facts: ChannelFacts, held: Mapping[str, Assignment], *, is_restart: bool) -> Turnover:
    """A channel starts, perhaps again before it ended."""
    word, plan = scene.packaging[facts.channel], scene.plans[facts.channel]
    source = scene.sources.get(facts.channel, Source(text=word.cause))
    wanted = {shape.key: shape for shape in shapes(plan, facts)}
    over = Turnover(shapes=wanted, held=dict(held))
    if held and not is_restart:
        # The end of the channel did not stand: what was to end goes on, the rest begins there.
        from_msn = Msn(max((a.until_msn or a.from_msn for a in held.values() if not is_backlog(a.slice_id)), default=word.from_msn))
    else:
        from_msn = word.from_msn
    for key, assignment in held.items():
        if assignment.until_msn is None and key not in wanted and not is_backlog(assignment.slice_id):
            over.held[key] = replace(assignment, until_msn=max(from_msn, facts.next_unopened), decision=scene.number)
    for key, shape in wanted.items():
        before = held.get(key)
        if before is None:
            siblings = [a for a in held.values() if a.slice_id == shape.slice_id]
            over.wants[key] = want_new(
                scene, facts, shape, from_msn, read_from(facts, from_msn), reason=word.reason, source=source, siblings=siblings
            )
        else:
            over.held[key] = _taken_up_again(scene, facts, shape, before, from_msn, reason=word.reason, source=source)
            if left := _left(scene, facts, before, from_msn):
                over.held.setdefault(assignment_key(left), left)
    return over


def _left(scene: Scene, facts: ChannelFacts, held: Assignment, start: Msn) -> Assignment | None:
    """What is left of a slice that ended before the segment that its channel starts from again: nobody wants what lies between."""
    if held.until_msn is None or held.until_msn >= start or held.copy or is_derived(held.slice_id):
        return None
    open_msn = scene.progress.first_open(facts, from_msn=scene.floor(held), until_msn=held.until_msn, **part_of(held))
    return None if open_msn is None else range_of(scene, held, open_msn, held.until_msn, read_from(facts, open_msn))


def _taken_up_again(
    scene: Scene, facts: ChannelFacts, shape: Shape, held: Assignment, start: Msn, *, reason: Reason, source: Source
) -> Assignment:
    """A slice that was to end and does not: it goes on from the start, or from what was left open."""
    is_apart = held.until_msn is not None and held.until_msn < start
    open_msn = None if is_apart else scene.progress.first_open(facts, from_msn=scene.floor(held), until_msn=held.until_msn, **part_of(held))
    from_msn = Msn(min(start, start if open_msn is None else open_msn))
    return replace(
        held,
        epoch=Epoch(scene.number),
        tracks=tracks_of(facts, held.slice_id, shape.tracks, held.tracks, from_msn=from_msn),
        level=scene.level(facts.channel),
        from_msn=from_msn,
        first_offset=read_from(facts, from_msn),
        until_msn=None,
        after=shape.after,
        decision=scene.number,
        reason=reason,
        cause=source.text,
        cause_unix_ms=source.at_unix_ms,
    )


def _reshaped(scene: Scene, facts: ChannelFacts, held: Mapping[str, Assignment], wanted: Mapping[str, Shape]) -> Turnover:
    over = Turnover(shapes=wanted)
    boundary = _boundary(facts, held)
    first, first_offset = boundary, read_from(facts, boundary)
    for key, assignment in sorted(held.items()):
        if assignment.until_msn is not None:
            over.held[key] = assignment
        elif is_derived(assignment.slice_id):
            # It goes on behind the slice that makes its source now.
            over.held[key] = assignment
        elif scene.is_working(assignment):
            over.held[key] = replace(
                assignment, until_msn=boundary, decision=scene.number, reason=Reason.LOAD, cause="", cause_unix_ms=UnixMs(0)
            )
        else:
            over.ended.append(key)
            left = (assignment.from_msn, assignment.first_offset)
            left = left if scene.is_bookmark(assignment) else resume(scene, facts, assignment, None)
            others = (a for a in held.values() if a.slice_id == assignment.slice_id and scene.is_working(a))
            if not any(other.from_msn <= left[0] for other in others):
                # Nobody makes what it left, a copy that began behind that neither: those that come do.
                first, first_offset = min((first, first_offset), left)
    for key, shape in wanted.items():
        if key in over.held:
            continue
        begins = (boundary, read_from(facts, boundary)) if shape.after else (first, first_offset)
        over.wants[key] = want_new(scene, facts, shape, *begins, reason=Reason.LOAD, source=Source())
    return over


def _boundary(facts: ChannelFacts, held: Mapping[str, Assignment]) -> Msn:
    """
    Where slices of one shape follow those of another.

    Tracks that nobody has are made from the beginning of their period on, whoever else made that already.
    """
    going_on = [a for a in held.values() if a.until_msn is None]
    if any(takes_all(a.slice_id) for a in going_on):
        return facts.next_unopened
    made = {track for a in going_on for track in a.tracks}
    return facts.next_unopened if made.issuperset(newest_tracks(facts)) else min(facts.period.first_msn, facts.next_unopened)


__all__ = ["Turnover", "turn_over"]

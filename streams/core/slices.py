"""Which slices go on, move, start or end, and who gets those that need a holder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from schemas.records import Action, Assignment, Fault, Load, Packaging, Plan, Queued, Reason, Void
from schemas.topics import slice_key
from schemas.units import Epoch, Msn, UnixMs
from streams.core.assignment import AssignmentMap, Slice, is_uneven, place, rebalance, slice_id
from streams.core.facts import ChannelFacts, Facts
from streams.core.liveness import Packager, Status
from streams.core.load import channel_load, usable
from streams.core.policy import Policy
from streams.core.progress import Progress, read_from
from streams.core.rows import Failure
from streams.core.standing import Standing, assignment_key, life_key
from streams.core.strategies import Seat, charged

# A segment that was tried so often is nobody's fault but its own.
TRIES_MAX = 3
WHY_VOID = {Fault.INPUT: Reason.RETENTION, Fault.OWN: Reason.FAILED_THRICE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """
    The record that led to something.

    Attributes:
        text: ``topic/partition/offset``; empty when the absence of records led to it.
        at_unix_ms: Its broker time; 0 when there is none.
    """

    text: str = ""
    at_unix_ms: UnixMs = UnixMs(0)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """
    All that placing looks at.

    Attributes:
        facts: The folds.
        standing: What is in force.
        policy: Settings.
        number: Number of the decision.
        packagers: Lives as judged, by ``packager/life``.
        plans: Granularity of every channel after this decision.
        packaging: Newest start or stop of every channel after this decision.
        sources: Cause of each start, by channel.
        heard: Cause of each packager's state, by ``packager/life``.
        is_whole: Whether everything in force is restated.
    """

    facts: Facts
    standing: Standing
    policy: Policy
    number: int
    packagers: Mapping[str, Packager]
    plans: Mapping[str, Plan]
    packaging: Mapping[str, Packaging]
    sources: Mapping[str, Source]
    heard: Mapping[str, Source]
    is_whole: bool

    @cached_property
    def voids(self) -> tuple[Void, ...]:
        """Segments that are declared lost now."""
        return _voids(self)

    @cached_property
    def before_voids(self) -> Progress:
        """What was done before this decision."""
        return Progress(self.facts.reports, self.standing.voids)

    @cached_property
    def progress(self) -> Progress:
        """What is done, with the voids of this decision."""
        return Progress(self.facts.reports, (*self.standing.voids, *self.voids)) if self.voids else self.before_voids

    @cached_property
    def failures(self) -> Mapping[str, list[Failure]]:
        """Failures of slices in force under their present epoch, whose segment is not done, by ``slice/copy``."""
        found: dict[str, list[Failure]] = {}
        for failure in self.before_voids.failures() if self.has_failures else ():
            key = slice_key(failure.slice_id, 0)
            held = self.standing.assignments.get(key)
            if held and failure.epoch == held.epoch and not self.before_voids.is_track_done(failure.channel, failure.msn, failure.track):
                found.setdefault(key, []).append(failure)
        return found

    @property
    def has_failures(self) -> bool:
        """Whether any failure is remembered: mostly none is."""
        return any(row.failures for row in self.facts.reports.values())

    def load(self, channel: str) -> Load:
        """What a channel takes at its granularity after this decision."""
        load = self._loads.get(channel)
        if load is None:
            facts, plan = self.facts.channels[channel], self.plans.get(channel)
            load = channel_load(facts, self.facts.cost, gops_per_segment=plan.gops_per_segment if plan else facts.gops_max)
            self._loads[channel] = load
        return load

    @cached_property
    def _loads(self) -> dict[str, Load]:
        return {}


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
    """

    slice: Slice
    held: Assignment | None
    from_msn: Msn
    first_offset: int
    until_msn: Msn | None
    reason: Reason
    source: Source
    is_kept: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Dealt:
    """
    What becomes of the slices.

    Attributes:
        assignments: Assignments set, by key in order.
        ended: Keys of slices that ended.
        queued: Slices that wait, all of them.
        waiting: Those slices.
    """

    assignments: tuple[Assignment, ...]
    ended: tuple[str, ...]
    queued: tuple[Queued, ...]
    waiting: tuple[Slice, ...]


def deal(scene: Scene) -> Dealt:
    """Go through every slice in force and every channel that is packaged, and place what needs a holder."""
    changed: dict[str, Assignment] = {}
    wants: dict[str, Want] = {}
    ended: set[str] = set()
    staying: dict[str, Assignment] = {}
    for key, held in sorted(scene.standing.assignments.items()):
        facts = scene.facts.channels.get(held.channel)
        if facts is None or _is_finished(scene, facts, held):
            ended.add(key)
            continue
        want = _want_again(scene, facts, key, held)
        if want is None or want.is_kept:
            kept = staying[key] = _adjusted(scene, facts, held)
            if kept is not held:
                changed[key] = kept
        if want and _is_worth_placing(scene, facts, want):
            wants[key] = want
        elif want:
            changed |= _bookmark(scene, want)
    for channel, word in sorted(scene.packaging.items()):
        key = slice_key(slice_id(channel), 0)
        facts = scene.facts.channels.get(channel)
        is_new = key not in scene.standing.assignments or (key in ended and word.decision == scene.number)
        if word.action is Action.START and facts and is_new:
            want = _want_first(scene, facts, word)
            if _is_worth_placing(scene, facts, want):
                wants[key] = want
                ended.discard(key)
    seats = _seats(scene, staying, set(wants))
    dealt = place(
        [want.slice for want in wants.values()], seats, strategy=scene.policy.assignment.strategy, last=_picked_last(scene.standing)
    )
    for key, packager in dealt.holders.items():
        changed[key] = _give(scene, wants[key], packager)
    for left in dealt.overflow:
        changed |= _bookmark(scene, wants[left.slice.key])
    if not wants:
        changed |= _moves(scene, staying, dealt.seats)
    return Dealt(
        assignments=tuple(changed[key] for key in sorted(changed)),
        ended=tuple(sorted(ended)),
        queued=_queued(scene, dealt),
        waiting=tuple(left.slice for left in dealt.overflow),
    )


def _is_worth_placing(scene: Scene, facts: ChannelFacts, want: Want) -> bool:
    """Whether there is or will be anything to make: an encoder that fell silent is not placed anew, but for what it left open."""
    if want.until_msn is not None:
        return want.until_msn > want.from_msn
    return facts.is_live or scene.progress.first_open(facts, from_msn=want.from_msn) is not None


# ---------------------------------------------------------------- slices in force


def _until(scene: Scene, facts: ChannelFacts) -> Msn | None:
    """First segment that is not wanted, or will not come."""
    word = scene.packaging.get(facts.channel)
    ends = [word.from_msn] if word and word.action is Action.STOP else []
    return min([*ends, facts.end.next_msn] if facts.end else ends, default=None)


def _is_finished(scene: Scene, facts: ChannelFacts, held: Assignment) -> bool:
    """Whether a slice that has an end reached it: everything before that is published or void."""
    until = _until(scene, facts)
    if until is None:
        return False
    # An encoder that fell silent longer ago than the memory leaves none to wait for.
    is_silent = not facts.segments and not facts.is_live
    return _resume(scene, facts, held, until)[0] >= (min(until, facts.next_opened) if is_silent else until)


def _want_again(scene: Scene, facts: ChannelFacts, key: str, held: Assignment) -> Want | None:
    """A need for another holder, or for another try; None if the slice goes on as it is."""
    holder = life_key(held.packager_id, held.life)
    packager = scene.packagers.get(holder)
    failures = [f for f in scene.failures.get(key, ()) if not scene.progress.is_track_done(f.channel, f.msn, f.track)]
    is_lost = packager is None or packager.status is Status.DEAD
    is_draining = packager is not None and packager.status is Status.DRAINING
    if not (is_lost or is_draining or failures):
        return None
    until = _until(scene, facts)
    if holder in scene.standing.dead:
        # A bookmark: nobody worked on it since.
        from_msn, first_offset, reason = held.from_msn, held.first_offset, Reason.PLACED
    else:
        from_msn, first_offset = _resume(scene, facts, held, until)
        reason = packager.reason if packager else Reason.PACKAGER_DEAD
    barred = {f.packager_id for f in failures if f.fault is Fault.OWN}
    others = {p.packager_id for p in scene.packagers.values() if p.status is Status.ALIVE} - barred
    if failures and not (is_lost or is_draining):
        reason = Reason.PLACED
    return Want(
        slice=_slice(scene, facts, held.tracks, barred=frozenset(barred if others else ())),
        held=held,
        from_msn=from_msn,
        first_offset=first_offset,
        until_msn=until,
        reason=reason,
        source=Source() if is_lost and holder in scene.standing.dead else scene.heard.get(holder, Source()),
        is_kept=is_draining,
    )


def _resume(scene: Scene, facts: ChannelFacts, held: Assignment, until: Msn | None) -> tuple[Msn, int]:
    """Where another takes a slice up: the first segment that is not done in all tracks, and from where it can be read."""
    floor = _floor(scene, held)
    open_msn = scene.progress.first_open(facts, from_msn=floor, until_msn=until)
    from_msn = max(floor, facts.next_opened) if open_msn is None else open_msn
    return from_msn, max(held.first_offset, read_from(facts, from_msn))


def _floor(scene: Scene, held: Assignment) -> Msn:
    """
    The segment that everything before was done: as the assignment says, which is moved on each minute, or as its holder says.

    Of a holder that catches up, what it has done and what not is older than what the index remembers.
    """
    row = scene.facts.heartbeats.get(held.packager_id)
    told = [
        now.next_msn
        for pulse in (row.pulses if row else ())
        if pulse.heartbeat.life == held.life
        for now in pulse.heartbeat.slices
        if (now.slice_id, now.copy, now.epoch) == (held.slice_id, held.copy, held.epoch)
    ]
    failed = [failure.msn for failure in scene.failures.get(assignment_key(held), ())] if told else []
    return max(held.from_msn, min([*told, *failed], default=held.from_msn))


def _adjusted(scene: Scene, facts: ChannelFacts, held: Assignment) -> Assignment:
    """The assignment of a slice that stays with its holder: its end, or tracks that a new period brought."""
    until = _until(scene, facts)
    tracks = _tracks(facts, held.tracks)
    word = scene.packaging.get(held.channel)
    if held.until_msn is not None and until is None and word and word.decision == scene.number:
        # Started again before it ended: it goes on from the start, or from what was left open.
        open_msn = scene.progress.first_open(facts, from_msn=_floor(scene, held), until_msn=held.until_msn)
        from_msn = Msn(min(word.from_msn, word.from_msn if open_msn is None else open_msn))
        source = scene.sources.get(held.channel, Source())
        return replace(
            held,
            epoch=Epoch(scene.number),
            tracks=tracks,
            from_msn=from_msn,
            first_offset=read_from(facts, from_msn),
            until_msn=None,
            decision=scene.number,
            reason=word.reason,
            cause=source.text,
            cause_unix_ms=source.at_unix_ms,
        )
    if scene.is_whole or tracks != held.tracks:
        # Who reads it from the beginning, since the holder died unheard or there are new tracks, need not go back further than this.
        from_msn, first_offset = _resume(scene, facts, held, until)
        if from_msn > held.from_msn:
            held = replace(held, from_msn=from_msn, first_offset=first_offset, decision=scene.number)
    if (until, tracks) == (held.until_msn, held.tracks):
        return held
    reason = held.reason if until in {None, held.until_msn} else Reason.CHANNEL_ENDED if facts.end else Reason.IDLE
    return replace(held, until_msn=until, tracks=tracks, decision=scene.number, reason=reason, cause="", cause_unix_ms=UnixMs(0))


def _tracks(facts: ChannelFacts, held: tuple[str, ...]) -> tuple[str, ...]:
    """Tracks of the newest period, and those of older ones that the slice may still be at."""
    newest = tuple(track.track for track in facts.period.tracks)
    return newest + tuple(track for track in held if track not in newest)


# ---------------------------------------------------------------- new slices, moves, waiting


def _slice(scene: Scene, facts: ChannelFacts, held: tuple[str, ...], *, barred: frozenset[str] = frozenset()) -> Slice:
    key = slice_key(slice_id(facts.channel), 0)
    waiting = scene.standing.queued.get(key)
    return Slice(
        slice_id=slice_id(facts.channel),
        copy=0,
        channel=facts.channel,
        tracks=_tracks(facts, held),
        load=scene.load(facts.channel),
        viewers=float(facts.audience.sessions),
        since_unix_ms=waiting.since_unix_ms if waiting else scene.facts.now,
        barred=barred,
    )


def _want_first(scene: Scene, facts: ChannelFacts, word: Packaging) -> Want:
    return Want(
        slice=_slice(scene, facts, ()),
        held=None,
        from_msn=word.from_msn,
        first_offset=read_from(facts, word.from_msn),
        until_msn=_until(scene, facts),
        reason=word.reason,
        source=scene.sources.get(facts.channel, Source(text=word.cause)),
    )


def _seats(scene: Scene, staying: Mapping[str, Assignment], wanted: set[str]) -> tuple[Seat, ...]:
    settings = scene.policy.assignment
    seats = {
        key: Seat(
            packager_id=packager.packager_id,
            life=packager.life,
            usable=usable(packager.capacity, utilisation=settings.utilisation_max, part_ms_budget=settings.part_ms_budget),
        )
        for key, packager in scene.packagers.items()
        if packager.status is Status.ALIVE
    }
    held = (
        (assignment.packager_id, scene.load(assignment.channel))
        for key, assignment in staying.items()
        if key not in wanted and life_key(assignment.packager_id, assignment.life) in seats
    )
    return charged(seats.values(), held)


def _picked_last(standing: Standing) -> str:
    newest = max(standing.assignments.values(), key=lambda a: (a.epoch, assignment_key(a)), default=None)
    return newest.packager_id if newest else ""


def _give(scene: Scene, want: Want, packager_id: str) -> Assignment:
    life = next(p.life for p in scene.packagers.values() if p.packager_id == packager_id and p.status is Status.ALIVE)
    return _assignment(scene, want, packager_id, life)


def _assignment(scene: Scene, want: Want, packager_id: str, life: str) -> Assignment:
    facts = scene.facts.channels[want.slice.channel]
    return Assignment(
        slice_id=want.slice.slice_id,
        copy=want.slice.copy,
        epoch=Epoch(scene.number),
        packager_id=packager_id,
        life=life,
        channel=want.slice.channel,
        tracks=want.slice.tracks,
        turn=0,
        turns=1,
        level=want.held.level if want.held else scene.packaging[want.slice.channel].level,
        from_msn=want.from_msn,
        until_msn=want.until_msn,
        media_partition=facts.period.media_partition,
        first_offset=want.first_offset,
        decision=scene.number,
        reason=want.reason,
        cause=want.source.text,
        cause_unix_ms=want.source.at_unix_ms,
    )


def _bookmark(scene: Scene, want: Want) -> dict[str, Assignment]:
    """Where the work of a life that died now is to go on; only once, since nobody changes it after."""
    held = want.held
    if held is None or want.is_kept or life_key(held.packager_id, held.life) in scene.standing.dead:
        return {}
    packager = scene.packagers.get(life_key(held.packager_id, held.life))
    if packager and packager.status is not Status.DEAD:
        return {}
    return {want.slice.key: replace(_assignment(scene, want, held.packager_id, held.life), reason=Reason.NO_CAPACITY)}


def _moves(scene: Scene, staying: Mapping[str, Assignment], seats: tuple[Seat, ...]) -> dict[str, Assignment]:
    if not is_uneven(seats):
        return {}
    lives = {life_key(seat.packager_id, seat.life) for seat in seats}
    movable = {key: held for key, held in staying.items() if held.until_msn is None and life_key(held.packager_id, held.life) in lives}
    slices = {key: _slice(scene, scene.facts.channels[held.channel], held.tracks) for key, held in movable.items()}
    moves = rebalance(
        [(slices[key], held.packager_id) for key, held in movable.items()], seats, moves_max=scene.policy.assignment.moves_per_tick_max
    )
    moved = {}
    for key, packager in moves.items():
        held, facts = movable[key], scene.facts.channels[movable[key].channel]
        from_msn, first_offset = _resume(scene, facts, held, None)
        want = Want(
            slice=slices[key],
            held=held,
            from_msn=from_msn,
            first_offset=first_offset,
            until_msn=None,
            reason=Reason.REBALANCED,
            source=Source(),
        )
        moved[key] = _give(scene, want, packager)
    return moved


def _queued(scene: Scene, dealt: AssignmentMap) -> tuple[Queued, ...]:
    """The queue; an entry is written anew only when who waits or why has changed, so that viewers coming and going write nothing."""
    closed = sum(1 for p in scene.packagers.values() if p.status in {Status.SUSPECT, Status.DRAINING})
    queued = tuple(
        Queued(
            slice_id=left.slice.slice_id,
            copy=left.slice.copy,
            since_unix_ms=left.slice.since_unix_ms,
            viewers_at_stake=round(left.slice.viewers),
            full_count=left.full_count,
            unavailable_count=left.barred_count + closed,
        )
        for left in sorted(dealt.overflow, key=lambda left: left.slice.key)
    )
    before = tuple(scene.standing.queued[key] for key in sorted(scene.standing.queued))
    same = [replace(entry, viewers_at_stake=0) for entry in queued] == [replace(entry, viewers_at_stake=0) for entry in before]
    return before if same else queued


# ---------------------------------------------------------------- voids


def _voids(scene: Scene) -> tuple[Void, ...]:
    """Segments that cannot be made: their input is gone or broken, or they failed too often."""
    if not scene.has_failures:
        return ()
    tries: dict[tuple[str, str, int], set[int]] = {}
    for failure in scene.before_voids.failures():
        if failure.fault is Fault.OWN:
            tries.setdefault((failure.channel, failure.track, failure.msn), set()).add(failure.epoch)
    voids: dict[tuple[str, int, str], Void] = {}
    for failures in scene.failures.values():
        for failure in failures:
            is_hopeless = failure.fault is Fault.INPUT or (
                failure.fault is Fault.OWN and len(tries[failure.channel, failure.track, failure.msn]) >= TRIES_MAX
            )
            if is_hopeless:
                voids[failure.channel, failure.msn, failure.track] = _void(scene, failure)
    return tuple(voids[key] for key in sorted(voids))


def _void(scene: Scene, failure: Failure) -> Void:
    return Void(
        channel=failure.channel,
        period=failure.period,
        track=failure.track,
        msn=failure.msn,
        start_ticks=failure.start_ticks,
        duration_ticks=failure.duration_ticks,
        decision=scene.number,
        reason=WHY_VOID[failure.fault],
    )

"""Which slices go on, move, begin or end, and who gets those that need a holder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.records import Action, Assignment, Level, Packaging, Plan, Queued, Reason
from schemas.units import Epoch, UnixMs
from streams.core.assignment import AssignmentMap, Rank, Slice, place
from streams.core.backlog import is_behind, split
from streams.core.dealing import Shape, is_backlog, shapes
from streams.core.facts import ChannelFacts
from streams.core.hedging import HEDGES_MAX, hedge
from streams.core.liveness import Status
from streams.core.load import usable
from streams.core.moves import evened_out, yielding
from streams.core.reshaping import turn_over
from streams.core.resuming import adjusted, is_finished, resume, tracks_of
from streams.core.scene import Scene, Source
from streams.core.standing import NO_LIFE, NOBODY, Standing, assignment_key
from streams.core.strategies import charged
from streams.core.wants import Want, assigned, bookmark, given, is_worth_placing, piece_of, rank_of, want_again

# Who is one of these keeps what it has.
GOING_ON = (Status.ALIVE, Status.SUSPECT)


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


@dataclass(kw_only=True, slots=True)
class _Table:
    """
    What is dealt in one decision, while it is.

    Attributes:
        changed: Assignments set, by ``slice/copy``.
        staying: Assignments that keep their holder, as they will be.
        wants: Slices that need one.
        ended: Slices that end.
        moves: Slices that may still be dealt anew though they are held.
    """

    moves: int
    changed: dict[str, Assignment] = field(default_factory=dict)
    staying: dict[str, Assignment] = field(default_factory=dict)
    wants: dict[str, Want] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)


def deal(scene: Scene) -> Dealt:
    """Go through every slice in force and every channel that is packaged, and place what needs a holder."""
    table = _Table(moves=scene.policy.assignment.moves_per_tick_max)
    in_force: dict[str, dict[str, Assignment]] = {}
    for key, held in scene.assignments:
        in_force.setdefault(held.channel, {})[key] = held
    started = {channel for channel, word in scene.packaging.items() if word.action is Action.START}
    for channel in sorted(in_force.keys() | started):
        facts, held_by_key = scene.facts.channels.get(channel), in_force.get(channel, {})
        if facts is None:
            table.ended |= held_by_key.keys()
        elif _is_steady(scene, facts, held_by_key):
            table.staying |= held_by_key
        else:
            _deal_channel(scene, facts, held_by_key, table)
    dealt = _place(scene, table)
    if dropped := _yielding(scene, table, dealt):
        for key in dropped:
            _drop(scene, table, key)
        dealt = _place(scene, table)
    dealt = _rescued(scene, table, dealt)
    for key, packager in dealt.holders.items():
        table.changed[key] = given(scene, table.wants[key], packager)
        table.ended.discard(key)
    for left in dealt.overflow:
        kept = bookmark(scene, table.wants[left.slice.key])
        if kept and left.slice.key not in table.changed:
            table.changed[left.slice.key] = kept
    if all(want.hedges for want in table.wants.values()):
        table.changed |= evened_out(scene, table.staying, dealt.seats)
    return Dealt(
        assignments=tuple(table.changed[key] for key in sorted(table.changed)),
        ended=tuple(sorted(table.ended)),
        queued=_queued(scene, dealt),
        waiting=tuple(left.slice for left in dealt.overflow),
    )


# ---------------------------------------------------------------- one channel


def _is_steady(scene: Scene, facts: ChannelFacts, in_force: Mapping[str, Assignment]) -> bool:
    """Whether a channel is seen at a glance to go on as it is: that is so of most, at most times."""
    if not in_force or scene.is_whole or not scene.standing.is_packaged(facts.channel):
        return False
    for key, held in in_force.items():
        packager = scene.holder(held)
        if packager is None or packager.status not in GOING_ON or key in scene.lateness.behind or key in scene.failures:
            return False
    # Mostly neither the periods of the channel nor what is in force of it have changed since it was looked at last.
    followed = tuple(in_force.values()), scene.plans.get(facts.channel), scene.packaging.get(facts.channel)
    known: tuple[tuple[tuple[Assignment, ...], Plan | None, Packaging | None], bool] | None = facts.row_memo.get(_follows)
    if known is None or known[0] != followed:
        known = facts.row_memo[_follows] = followed, _follows(facts, in_force, *followed[1:])
    return known[1] and all(is_behind(scene, facts, held) is None for held in in_force.values())


def _follows(facts: ChannelFacts, in_force: Mapping[str, Assignment], plan: Plan | None, word: Packaging | None) -> bool:
    """Whether the slices of a channel are those that its plan makes of it, each as it is wanted, and none is to end."""
    if plan is None or word is None or word.action is not Action.START or facts.end is not None:
        return False
    wanted = {shape.key: shape for shape in shapes(plan, facts)}
    return wanted.keys() == in_force.keys() and all(_is_shaped(facts, held, wanted[key], word.level) for key, held in in_force.items())


def _is_shaped(facts: ChannelFacts, held: Assignment, shape: Shape, level: Level) -> bool:
    is_same = (held.until_msn, held.hedges, held.after, held.level) == (None, "", shape.after, level)
    return is_same and held.tracks == tracks_of(facts, shape.slice_id, shape.tracks, held.tracks, from_msn=held.from_msn)


def _deal_channel(scene: Scene, facts: ChannelFacts, in_force: Mapping[str, Assignment], table: _Table) -> None:
    going_on = {key: held for key, held in in_force.items() if not is_finished(scene, facts, held)}
    table.ended |= in_force.keys() - going_on.keys()
    hedging = {key: held for key, held in going_on.items() if held.hedges}
    for key in hedging:
        del going_on[key]
    over = turn_over(scene, facts, going_on, may_reshape=table.moves > 0, is_new=not in_force)
    if over.is_dealt_anew:
        table.moves -= len(over.wants)
    table.ended.update(over.ended)
    ranges = {key for key in over.held if is_backlog(key)}
    wants: dict[str, Want] = {}
    makers: dict[str, list[Assignment]] = {}
    for held in (*over.held.values(), *hedging.values()):
        makers.setdefault(held.slice_id, []).append(held)
    for key, held in over.held.items():
        siblings = [other for other in makers[held.slice_id] if other.copy != held.copy]
        # A slice that waits follows what makes its source now, not what did when it was lost.
        shape = over.shapes.get(key)
        following = replace(held, after=shape.after) if shape and shape.after != held.after else held
        want = want_again(scene, facts, key, following, siblings)
        if want is None or want.is_kept:
            kept = adjusted(scene, facts, held, over.shapes.get(key))
            if want is None and (at := is_behind(scene, facts, kept)) is not None and len(scene.alive) > 1:
                _catch_up(scene, facts, table, kept, *at, ranges)
                continue
            table.staying[key] = kept
            if kept is not in_force.get(key):
                table.changed[key] = kept
        if want:
            wants[key] = want
    room = HEDGES_MAX - scene.hedges_count - sum(1 for want in table.wants.values() if want.hedges) if scene.lateness.blamed else 0
    hedges = hedge(scene, facts, over, hedging, wants, room=room)
    table.ended.update(hedges.ended)
    for key, held in (hedges.staying | hedges.taken_over).items():
        table.staying[key] = held
        if held is not in_force.get(key):
            table.changed[key] = held
    for key, want in (wants | over.wants).items():
        if key not in hedges.taken_over:
            _want(scene, facts, table, key, want, ranges)
    table.wants |= hedges.wants


def _want(scene: Scene, facts: ChannelFacts, table: _Table, key: str, want: Want, ranges: set[str]) -> None:
    """Takes up a want: near the live edge, if it is far behind that, and what it leaves as ranges of their own."""
    base = want.held or assigned(scene, want, NOBODY, NO_LIFE)
    parted = None if want.is_kept else split(scene, facts, base, want.from_msn, want.first_offset, ranges)
    if parted is not None:
        live, pieces = parted
        for piece in pieces:
            _add_range(scene, facts, table, piece, ranges)
        if live is None:
            table.ended.add(key)
            return
        if want.slice.rank < Rank.SPARE:
            table.changed[key] = replace(live, decision=scene.number, reason=Reason.NO_CAPACITY)
        want = replace(want, from_msn=live.from_msn, first_offset=live.first_offset)
    if is_worth_placing(scene, facts, want):
        table.wants[key] = want
    elif kept := bookmark(scene, want):
        table.changed.setdefault(key, kept)


def _catch_up(
    scene: Scene, facts: ChannelFacts, table: _Table, held: Assignment, from_msn: int, first_offset: int, ranges: set[str]
) -> None:
    """The holder goes on near the live edge; what it leaves is for whoever has room."""
    key = assignment_key(held)
    parted = split(scene, facts, held, from_msn, first_offset, ranges)  # type: ignore[arg-type]
    if parted is None:
        table.staying[key] = held
        return
    live, pieces = parted
    for piece in pieces:
        _add_range(scene, facts, table, piece, ranges)
    if live is None:
        table.ended.add(key)
    else:
        table.staying[key] = table.changed[key] = replace(live, decision=scene.number, reason=Reason.LATE)


def _add_range(scene: Scene, facts: ChannelFacts, table: _Table, piece: Assignment, ranges: set[str]) -> None:
    key = assignment_key(piece)
    ranges.add(key)
    table.changed[key] = piece
    if want := want_again(scene, facts, key, piece, ()):
        table.wants[key] = want


# ---------------------------------------------------------------- placing


def _place(scene: Scene, table: _Table) -> AssignmentMap:
    held = (
        (held.packager_id, scene.slice_load(scene.facts.channels[held.channel], held.slice_id, held.tracks, held.turns))
        for key, held in table.staying.items()
        if key not in table.wants and _is_charged(scene, held)
    )
    # What it follows may be over: then what is left of it needs to wait for nobody.
    there = {held.slice_id for held in table.staying.values()} | {want.slice.slice_id for want in table.wants.values()}
    slices = (want.slice for want in table.wants.values())
    return place(
        [piece if piece.after in there else replace(piece, after=None) for piece in slices],
        charged(scene.seats, held),
        strategy=scene.policy.assignment.strategy,
        last=_picked_last(scene.standing) if table.wants else "",
        placed={held.slice_id for held in table.staying.values()},
    )


def _rescued(scene: Scene, table: _Table, dealt: AssignmentMap) -> AssignmentMap:
    """
    The same, but what lost its holder goes where it fits into all of a packager: that is better than nobody.

    What makes up for lateness and finds no room waits for none.
    """
    overflow = tuple(left for left in dealt.overflow if not table.wants[left.slice.key].hedges)
    lost = [left.slice for left in overflow if left.slice.rank is Rank.NEEDED and _had_holder(table.wants[left.slice.key])]
    if not lost:
        return replace(dealt, overflow=overflow)
    given_to: dict[str, set[str]] = {}
    for key, packager in dealt.holders.items():
        given_to.setdefault(table.wants[key].slice.slice_id, set()).add(packager)
    lost = [replace(piece, barred=piece.barred | given_to.get(piece.slice_id, set())) for piece in lost]
    budget = scene.policy.assignment.part_ms_budget
    whole = {p.packager_id: usable(p.capacity, utilisation=1.0, part_ms_budget=budget) for p in scene.alive.values()}
    seats = [replace(seat, usable=whole[seat.packager_id]) for seat in dealt.seats]
    again = place(lost, seats, strategy=scene.policy.assignment.strategy)
    kept = tuple(left for left in overflow if left.slice.key not in again.holders)
    used = {seat.packager_id: seat for seat in again.seats}
    return AssignmentMap(
        holders={**dealt.holders, **again.holders},
        overflow=kept,
        seats=tuple(seat.holding(used[seat.packager_id].used, used[seat.packager_id].held) for seat in dealt.seats),
    )


def _had_holder(want: Want) -> bool:
    return want.held is not None and want.held.packager_id != NOBODY


def _is_charged(scene: Scene, held: Assignment) -> bool:
    """
    Whether a slice takes anything in the long run: one that ends at the live edge is gone before what follows it comes, and to one of a
    channel whose encoder never returned nothing comes.
    """
    packager, facts = scene.alive.get(held.packager_id), scene.facts.channels[held.channel]
    if facts.is_forsaken and not facts.segments:
        return False
    return packager is not None and packager.life == held.life and (held.until_msn is None or is_backlog(held.slice_id))


def _picked_last(standing: Standing) -> str:
    newest = max(standing.assignments.values(), key=lambda a: (a.epoch, assignment_key(a)), default=None)
    return newest.packager_id if newest else ""


def _yielding(scene: Scene, table: _Table, dealt: AssignmentMap) -> tuple[str, ...]:
    """Slices in force that needed ones take the place of."""
    if not any(left.slice.rank is Rank.NEEDED for left in dealt.overflow):
        return ()
    staying: dict[str, Slice] = {}
    copies: dict[str, list[str]] = {}
    for key, held in table.staying.items():
        if key not in table.wants and _is_charged(scene, held):
            copies.setdefault(held.slice_id, []).append(key)
    for keys in copies.values():
        for key in keys:
            held = table.staying[key]
            rank = rank_of(held.slice_id) if len(keys) == 1 or key == min(keys) else Rank.SPARE
            if rank is not Rank.NEEDED:
                facts = scene.facts.channels[held.channel]
                staying[key] = piece_of(scene, facts, held, barred=frozenset(), rank=rank, from_msn=held.from_msn)
    return tuple(sorted(yielding(dealt, staying, {key: table.staying[key].packager_id for key in staying})))


def _drop(scene: Scene, table: _Table, key: str) -> None:
    """A slice makes room: what is derived and copies end, a range of a backlog waits."""
    held = table.staying.pop(key)
    if not is_backlog(held.slice_id):
        table.changed.pop(key, None)
        table.ended.add(key)
        return
    from_msn, first_offset = resume(scene, scene.facts.channels[held.channel], held, held.until_msn)
    table.changed[key] = replace(
        held,
        epoch=Epoch(scene.number),
        packager_id=NOBODY,
        life=NO_LIFE,
        from_msn=from_msn,
        first_offset=first_offset,
        decision=scene.number,
        reason=Reason.NO_CAPACITY,
        cause="",
        cause_unix_ms=UnixMs(0),
        since_unix_ms=UnixMs(0),
    )


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


__all__ = ["Dealt", "Scene", "Source", "deal"]

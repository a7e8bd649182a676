"""A late slice is given to a second packager until the first has caught up, or is dead: then the second one has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas.records import Assignment, Reason
from schemas.topics import slice_key
from streams.core.assignment import Rank
from streams.core.dealing import is_backlog, is_derived
from streams.core.facts import ChannelFacts
from streams.core.liveness import Status
from streams.core.reshaping import Turnover
from streams.core.resuming import adjusted, end_of, resume
from streams.core.scene import Scene, Source
from streams.core.wants import Want, given, piece_of

# Hedges in force at once: more late slices than these are no packager's fault.
HEDGES_MAX = 64


@dataclass(kw_only=True, slots=True)
class Hedges:
    """
    What becomes of the hedges of a channel.

    Attributes:
        staying: Those that go on, by ``slice/copy``.
        taken_over: Slices that their second packager has alone now, by ``slice/copy``: their holder is dead.
        ended: Keys of those that end.
        wants: Those that begin, by ``slice/copy``.
    """

    staying: dict[str, Assignment] = field(default_factory=dict)
    taken_over: dict[str, Assignment] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    wants: dict[str, Want] = field(default_factory=dict)


def hedge(
    scene: Scene, facts: ChannelFacts, over: Turnover, hedging: Mapping[str, Assignment], lost: Mapping[str, Want], *, room: int
) -> Hedges:
    """
    Which slices of a channel have a second packager since theirs is late.

    Args:
        scene: The scene.
        facts: The channel.
        over: Its slices, without hedges.
        hedging: Hedges in force, by ``slice/copy``.
        lost: Slices that need another holder, by ``slice/copy``.
        room: How many may begin.
    """
    hedges = Hedges()
    for key, second in hedging.items():
        first_key = slice_key(second.slice_id, second.copy - 1)
        first, want = over.held.get(first_key), lost.get(first_key)
        packager = scene.holder(second)
        is_able = packager is not None and packager.status is Status.ALIVE and not scene.failures.get(key)
        holder = scene.holder(first) if first else None
        if first is None or key in over.held or key in over.wants or not is_able:
            hedges.ended.append(key)
        elif want is not None and not want.is_kept and (holder is None or holder.status is Status.DEAD):
            hedges.taken_over[first_key] = given(scene, want, second.packager_id)
            hedges.ended.append(key)
        elif want is None and key not in lost and scene.lateness.behind.get(first_key, 0) <= 0:
            hedges.ended.append(key)
        else:
            kept = adjusted(scene, facts, second, over.shapes.get(first_key))
            is_cut = kept.until_msn != first.until_msn
            hedges.staying[key] = replace(kept, until_msn=first.until_msn, decision=scene.number) if is_cut else kept
    if room > 0:
        _begin(scene, facts, over, hedges, lost, room)
    return hedges


def _begin(scene: Scene, facts: ChannelFacts, over: Turnover, hedges: Hedges, lost: Mapping[str, Want], room: int) -> None:
    slices = [held.slice_id for held in over.held.values()]
    for first_key, first in over.held.items():
        key = slice_key(first.slice_id, first.copy + 1)
        is_alone = slices.count(first.slice_id) == 1 and key not in hedges.staying and key not in over.wants and first_key not in lost
        if not is_alone or is_derived(first.slice_id) or is_backlog(first.slice_id) or not scene.lateness.is_hedged(first_key, first):
            continue
        if len(hedges.wants) >= room:
            return
        until = end_of(scene, first)
        from_msn, first_offset = resume(scene, facts, first, until)
        if until is not None and from_msn >= until:
            continue
        barred = frozenset({first.packager_id})
        piece = replace(piece_of(scene, facts, first, barred=barred, rank=Rank.SPARE, from_msn=from_msn), copy=first.copy + 1)
        hedges.wants[key] = Want(
            slice=piece,
            held=None,
            from_msn=from_msn,
            first_offset=first_offset,
            until_msn=until,
            reason=Reason.LATE,
            source=Source(),
            hedges=first.packager_id,
        )

"""One slice in force: where it ends, where it is taken up, whether it is over, how it changes while it stays with its holder."""

from dataclasses import replace
from typing import TypedDict

from schemas.records import Assignment, Reason
from schemas.units import Msn, UnixMs
from streams.core.dealing import Shape, follows_groups, is_derived, takes_all
from streams.core.facts import ChannelFacts
from streams.core.progress import read_from
from streams.core.scene import Scene


class Part(TypedDict):
    """What of a channel a slice makes, as progress is asked for it."""

    tracks: tuple[str, ...] | None
    turn: int
    turns: int


def part_of(held: Assignment) -> Part:
    """What of its channel a slice makes."""
    return Part(tracks=None if takes_all(held.slice_id) else held.tracks, turn=held.turn, turns=held.turns)


def end_of(scene: Scene, held: Assignment) -> Msn | None:
    """First segment that is not wanted of a slice, or will not come: its own end, or that of its channel; None: none is in sight."""
    ends = [end for end in (held.until_msn, scene.until(held.channel)) if end is not None]
    return min(ends, default=None)


def resume(scene: Scene, facts: ChannelFacts, held: Assignment, until: Msn | None) -> tuple[Msn, int]:
    """Where another takes a slice up: the first segment that is not done in all its tracks, and from where it can be read."""
    floor = scene.floor(held)
    open_msn = scene.progress.first_open(facts, from_msn=floor, until_msn=until, **part_of(held))
    from_msn = max(floor, facts.next_opened) if open_msn is None else open_msn
    return from_msn, max(held.first_offset, read_from(facts, from_msn))


def is_finished(scene: Scene, facts: ChannelFacts, held: Assignment) -> bool:
    """Whether a slice that has an end reached it: everything before that is published, or void and not to be made."""
    until = end_of(scene, held)
    if until is None:
        return False
    # An encoder that fell silent longer ago than the memory leaves none to wait for.
    is_silent = not facts.segments and not facts.is_live
    return resume(scene, facts, held, until)[0] >= (min(until, facts.next_opened) if is_silent else until)


def adjusted(scene: Scene, facts: ChannelFacts, held: Assignment, shape: Shape | None) -> Assignment:
    """
    The assignment of a slice that stays with its holder: its end, its level, what it follows, or tracks that a new period brought.

    Args:
        scene: The scene.
        facts: The channel.
        held: The assignment in force.
        shape: What the plan makes of the slice; None for one that the plan does not have: it ends.
    """
    until, tracks, level, after = end_of(scene, held), held.tracks, held.level, held.after
    if shape:
        level, after = scene.level(held.channel) if until is None else level, shape.after
        tracks = tracks_of(facts, shape.slice_id, shape.tracks, held.tracks, from_msn=held.from_msn)
    elif takes_all(held.slice_id):
        tracks = tracks_of(facts, held.slice_id, newest_tracks(facts), held.tracks, from_msn=held.from_msn)
    if scene.is_whole or (tracks, level) != (held.tracks, held.level):
        # Who reads it from the beginning, since the holder died unheard or it has another level or tracks, need not go back further.
        from_msn, first_offset = resume(scene, facts, held, until)
        if from_msn > held.from_msn:
            held = replace(held, from_msn=from_msn, first_offset=first_offset, decision=scene.number)
    if (until, tracks, level, after) == (held.until_msn, held.tracks, held.level, held.after):
        return held
    reason = held.reason if until in {None, held.until_msn} else Reason.CHANNEL_ENDED if facts.end else Reason.IDLE
    return replace(
        held, until_msn=until, tracks=tracks, level=level, after=after, decision=scene.number, reason=reason, cause="",
        cause_unix_ms=UnixMs(0),
    )  # fmt: skip


def newest_tracks(facts: ChannelFacts) -> tuple[str, ...]:
    """Tracks of the newest period."""
    return tuple(track.track for track in facts.period.tracks)


def tracks_of(facts: ChannelFacts, slice_id: str, own: tuple[str, ...], held: tuple[str, ...], *, from_msn: int) -> tuple[str, ...]:
    """
    Tracks of a slice: its own in the newest period, those that it had, and those that only older periods have which it may still be at.

    Args:
        facts: The channel.
        slice_id: The slice: the one with all tracks, or that of the first of several groups, has those of older periods.
        own: Its tracks in the newest period.
        held: Tracks that it had.
        from_msn: Its first segment.
    """
    if is_derived(slice_id):
        return own
    tracks = own + tuple(track for track in held if track not in own)
    if takes_all(slice_id) or follows_groups(slice_id):
        newest, following = set(newest_tracks(facts)), facts.period.first_msn
        for period in reversed(facts.row.periods[:-1]):
            if following > from_msn:
                names = (track.track for track in period.tracks)
                tracks += tuple(name for name in names if name not in newest and name not in tracks)
            following = period.first_msn
    return tracks

"""
Segments that are late, and whom that speaks against.

A segment is due when its last GOP is folded, by the broker time of that index entry, and late its allowance after. Who is late speaks for
a packager that cannot keep up, or for a pool that cannot: only who is late while others are in time is blamed, and nobody is while work
waits for capacity. A holder that just began has one target duration for what the log had before, since it begins near the live edge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas.records import Assignment, DeadLife, Reason
from schemas.settings import LivenessSettings
from schemas.topics import life_key, slice_key
from schemas.units import Msn, UnixMs
from streams.core.dealing import is_backlog, is_derived, takes_all
from streams.core.facts import ChannelFacts, Facts
from streams.core.liveness import MASS_COUNT, MASS_SHARE
from streams.core.progress import Progress
from streams.core.rows import HeartbeatRow
from streams.core.standing import NOBODY, Standing

# Who is behind by less than this share of what makes late is in time: between the two nobody is blamed, and nobody bears witness.
IN_TIME = 0.5
# A packager that uses this much of its cores is overloaded: its work is moved, it is not dead.
BUSY = 0.95
# The memory of dead lives is bounded; so is how long a name rests that is late again and again.
RESTS_MAX = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Lateness:
    """
    Who is behind.

    Attributes:
        behind: By how much each slice is behind what is due, in ms, by ``slice/copy``; those in time are absent.
        blamed: By how much each life is late that is blamed for it, by ``packager/life``.
        stuck: Of those the one that is dead for it, if any.
    """

    behind: Mapping[str, int] = field(default_factory=dict)
    blamed: Mapping[str, int] = field(default_factory=dict)
    stuck: str | None = None

    def is_hedged(self, key: str, held: Assignment) -> bool:
        """Whether a slice is to be given to a second packager."""
        return self.behind.get(key, 0) > 0 and life_key(held.packager_id, held.life) in self.blamed


NOBODY_LATE = Lateness()


def told(heartbeats: Iterable[HeartbeatRow], assignments: Mapping[str, Assignment]) -> dict[str, Msn]:
    """How far each holder says that it is with a slice, by ``slice/copy``."""
    said: dict[str, Msn] = {}
    for row in heartbeats:
        for pulse in row.pulses:
            beat = pulse.heartbeat
            for now in beat.slices:
                held = assignments.get(key := slice_key(now.slice_id, now.copy))
                if held and (now.epoch, beat.life, beat.packager_id) == (held.epoch, held.life, held.packager_id):
                    said[key] = now.next_msn
    return said


def look(facts: Facts, standing: Standing, said: Mapping[str, Msn], settings: LivenessSettings) -> Lateness:
    """
    Who is behind at the time of the facts, and who is to blame.

    Args:
        facts: The folds.
        standing: What is in force.
        said: How far holders say they are, as of `told`.
        settings: Thresholds.
    """
    progress = Progress(facts.reports, standing.voids)
    hedged = {held.slice_id for held in standing.assignments.values() if held.hedges}
    behind: dict[str, int] = {}
    worst: dict[tuple[str, str], int] = {}
    least, channels = settings.late_after_ms * IN_TIME, facts.channels
    for key, held in standing.assignments.items():
        seen = channels.get(held.channel)
        if seen is None or not seen.segments:
            continue
        life = held.packager_id, held.life
        floor = said.get(key, held.from_msn)
        if _has_all(seen, held.from_msn, floor):
            # So it is with most, at most times.
            worst.setdefault(life, 0)
            continue
        if held.packager_id == NOBODY or is_backlog(held.slice_id) or is_derived(held.slice_id) or life_key(*life) in standing.dead:
            continue
        is_hedged = held.slice_id in hedged and not held.hedges
        late_ms = _late_ms(seen, held, max(held.from_msn, floor), facts.now, 0 if is_hedged else least, None if is_hedged else progress)
        if late_ms is None:
            continue
        worst[life] = max(worst.get(life, 0), late_ms)
        # Who is hedged is behind until it has caught up, whoever made what is missing.
        if late_ms >= settings.late_after_ms or (is_hedged and late_ms > 0):
            behind[key] = late_ms
    if not behind:
        return NOBODY_LATE
    return _judged(facts, standing, behind, {life_key(*life): late_ms for life, late_ms in worst.items()}, settings)


def _has_all(seen: ChannelFacts, from_msn: int, floor: int) -> bool:
    """Whether a holder says that it has made all that is whole, and something was."""
    last = seen.segments[-1]
    if last.is_whole:
        return from_msn <= last.msn < floor
    return from_msn < last.msn <= floor


def _late_ms(seen: ChannelFacts, held: Assignment, floor: int, now: UnixMs, least: float, progress: Progress | None) -> int | None:
    """
    How long the oldest segment is late that the holder has not made, 0 if it is in time; None if it owed none yet.

    Args:
        seen: The channel.
        held: The slice.
        floor: Everything before was done.
        now: Time of the decision.
        least: Who is late by less is in time, as far as a glance can tell.
        progress: What was done by anybody; None: what counts is what the holder says.
    """
    allowance_ms, since = seen.period.publish_allowance_ms, held.since_unix_ms
    # What the log had when it was given, and what comes while that is made, is due a target duration later.
    grace_until = since + seen.period.target_duration_ms if since else 0
    oldest, owed = None, False
    for segment in reversed(seen.segments):
        if segment.msn < held.from_msn or (segment.msn < floor and owed):
            break
        if not segment.is_whole or segment.msn % held.turns != held.turn or (held.until_msn is not None and segment.msn >= held.until_msn):
            continue
        due = max(segment.durable_unix_ms, grace_until) + allowance_ms
        owed = owed or due <= now
        if segment.msn >= floor:
            oldest = segment.msn, due
    if not owed or oldest is None or now - oldest[1] < max(1, least):
        return 0 if owed else None
    if progress is None:
        return now - oldest[1]
    tracks = None if takes_all(held.slice_id) else held.tracks
    whole = {segment.msn: segment.durable_unix_ms for segment in seen.segments if segment.is_whole}
    for msn in progress.open_segments(seen, from_msn=Msn(floor), until_msn=held.until_msn, tracks=tracks, turn=held.turn, turns=held.turns):
        if msn in whole:
            return max(0, now - max(whole[msn], grace_until) - allowance_ms)
    return 0


def _judged(facts: Facts, standing: Standing, behind: dict[str, int], worst: Mapping[str, int], settings: LivenessSettings) -> Lateness:
    late = {life: by_ms for life, by_ms in worst.items() if by_ms >= settings.late_after_ms}
    witnesses = [life for life, by_ms in worst.items() if by_ms < settings.late_after_ms * IN_TIME and life not in late]
    is_mass = len(late) >= MASS_COUNT and len(late) > MASS_SHARE * len(worst)
    if not witnesses or _is_short(standing):
        return Lateness(behind=behind)
    blamed = {life: by_ms for life, by_ms in late.items() if not is_mass or by_ms >= settings.mass_hold_ms}
    return Lateness(behind=behind, blamed=blamed, stuck=_stuck(facts, standing, blamed, settings))


def _is_short(standing: Standing) -> bool:
    """Whether work waits that a larger pool would carry: then late is nobody's fault."""
    if standing.scaling and standing.scaling.unfit_slices:
        return False
    return any(not is_backlog(waiting.slice_id) and not is_derived(waiting.slice_id) for waiting in standing.waiting_alone())


def _stuck(facts: Facts, standing: Standing, blamed: Mapping[str, int], settings: LivenessSettings) -> str | None:
    """The life that is latest, if that is for too long and nothing excuses it; one at a time, so that no pool is felled by its load."""
    lately = (dead for dead in standing.dead.values() if dead.reason is Reason.LATE)
    if any(facts.now - dead.at_unix_ms < settings.late_dead_after_ms for dead in lately):
        return None
    catching_up = {life_key(a.packager_id, a.life) for a in standing.assignments.values() if is_backlog(a.slice_id)}
    busy = _busy(facts.heartbeats.values())
    late = [(by_ms, life) for life, by_ms in blamed.items() if by_ms >= settings.late_dead_after_ms and life not in catching_up | busy]
    return max(late)[1] if late else None


def _busy(heartbeats: Iterable[HeartbeatRow]) -> set[str]:
    beats = (pulse.heartbeat for row in heartbeats for pulse in row.pulses)
    return {life_key(b.packager_id, b.life) for b in beats if b.capacity.cores and b.use.cores >= BUSY * b.capacity.cores}


def rests(packager_id: str, dead: Iterable[DeadLife], settings: LivenessSettings, *, now: UnixMs) -> bool:
    """Whether a name was declared dead for being late so lately that a new life of it gets no work yet, each time for longer."""
    times = [life.at_unix_ms for life in dead if life.packager_id == packager_id and life.reason is Reason.LATE]
    return bool(times) and now - max(times) < settings.late_dead_after_ms * min(len(times), RESTS_MAX)


__all__ = ["Lateness", "look", "rests", "told"]

"""What the planner declares lost: what the log does not have, what nobody can make, what is too late for those who watch."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from schemas.records import Assignment, Fault, Packaging, Period, Reason, Track, Void
from schemas.timeline import part_start, segment_span
from schemas.units import Msn, Ticks, UnixMs
from streams.core.dealing import is_derived, takes_all
from streams.core.facts import ChannelFacts, Facts
from streams.core.progress import Progress
from streams.core.rows import Failure, Segment
from streams.core.standing import VOIDS_MAX

# A segment that was tried so often is nobody's fault but its own.
TRIES_MAX = 3
WHY = {Fault.INPUT: Reason.RETENTION, Fault.OWN: Reason.FAILED_THRICE}
# Plain players hold back three target durations: what comes later than that has stalled them.
HOLD_BACK_TARGETS = 3
# More wait for the next decision: those before are remembered until their reports are folded.
LATE_MAX = 64


def room(standing: Sequence[Void], facts: Facts) -> int:
    """
    How many may be declared now, so that none is forgotten that would be declared once more.

    What was declared is remembered in decisions until its report is folded. While reports do not come back, others wait.

    Args:
        standing: Those remembered, oldest first.
        facts: The folds.
    """
    told = Progress(facts.reports, ())
    for index, void in enumerate(standing):
        if _would_come_again(void, facts, told):
            return VOIDS_MAX - (len(standing) - index)
    return VOIDS_MAX


def _would_come_again(void: Void, facts: Facts, told: Progress) -> bool:
    """Whether nothing but decisions knows of it, and what it followed from is remembered."""
    if told.is_track_done(void.channel, void.msn, void.track) or told.is_given_up(void.channel, void.msn, void.track):
        return False
    if void.reason is not Reason.LATE:
        return any((f.channel, f.msn, f.track) == (void.channel, void.msn, void.track) for f in told.failures())
    seen = facts.channels.get(void.channel)
    return seen is not None and any(segment.msn == void.msn for segment in reversed(seen.segments))


def broken(
    failures: Mapping[str, list[Failure]], progress: Progress, facts: Facts, alive: Collection[str], *, number: int
) -> tuple[Void, ...]:
    """
    Segments that cannot be made: their input is gone or broken, or three packagers failed, or all there are three times.

    Args:
        failures: Those of slices in force, by ``slice/copy``.
        progress: What was done, and all failures within memory.
        facts: The folds: where in the log such a segment is.
        alive: Packagers that may be given work, by name.
        number: Number of the decision.
    """
    tries: dict[tuple[str, str, int], set[int]] = {}
    tried: dict[tuple[str, str, int], set[str]] = {}
    for failure in progress.failures():
        if failure.fault is Fault.OWN:
            tries.setdefault((failure.channel, failure.track, failure.msn), set()).add(failure.epoch)
            tried.setdefault((failure.channel, failure.track, failure.msn), set()).add(failure.packager_id)
    lost: dict[tuple[str, int, str], Void] = {}
    for failed in failures.values():
        for failure in failed:
            place = failure.channel, failure.track, failure.msn
            is_hopeless = failure.fault is Fault.INPUT or (
                failure.fault is Fault.OWN
                and len(tries[place]) >= TRIES_MAX
                and (len(tried[place]) >= TRIES_MAX or tried[place].issuperset(alive))
            )
            if is_hopeless:
                at = _offsets(facts.channels.get(failure.channel), failure) if failure.fault is Fault.OWN else {}
                lost[failure.channel, failure.msn, failure.track] = Void(
                    channel=failure.channel,
                    period=failure.period,
                    track=failure.track,
                    msn=failure.msn,
                    start_ticks=failure.start_ticks,
                    duration_ticks=failure.duration_ticks,
                    decision=number,
                    reason=WHY[failure.fault],
                    **at,
                )
    return tuple(lost[key] for key in sorted(lost))


def _offsets(facts: ChannelFacts | None, failure: Failure) -> dict[str, int]:
    """Where in `media` a segment is that nobody can make, as far as the index remembers."""
    if facts is None:
        return {}
    found = next(((n, s) for n, s in enumerate(facts.segments) if (s.msn, s.period) == (failure.msn, failure.period)), None)
    if found is None:
        return {"media_partition": facts.period.media_partition}
    following = facts.segments[found[0] + 1 : found[0] + 2]
    until = following[0].first_offset if following else -1
    return {"media_partition": facts.period.media_partition, "first_offset": found[1].first_offset, "until_offset": until}


def late(
    facts: Facts, packaging: Mapping[str, Packaging], progress: Progress, held: Iterable[tuple[Assignment, Msn]], *, number: int
) -> tuple[Void, ...]:
    """
    Segments that come later than the hold back of plain players allows: the live playlist goes on without them.

    They are still made, for the recording; so nobody's work changes. A segment is due when its last GOP is folded, or the end of its
    period: without chunks nothing is due. Of a channel that starts nothing is late before the hold back has passed.

    Args:
        facts: The folds.
        packaging: Newest start or stop of each channel.
        progress: What was done.
        held: Assignments in force, and the segment that everything before was done of each.
        number: Number of the decision.
    """
    lost: dict[tuple[str, int, str], Void] = {}
    over: dict[str, dict[int, Segment]] = {}
    for assignment, floor in held:
        channel = assignment.channel
        seen = facts.channels.get(channel)
        if seen is None or not _may_be_late(seen, floor, facts.now) or is_derived(assignment.slice_id):
            continue
        segments = over.get(channel)
        if segments is None:
            segments = over[channel] = _over(seen, packaging.get(channel), facts.now)
        if segments and next(reversed(segments)) >= floor:
            for void in _given_up(seen, assignment, floor, segments, progress, number):
                lost[void.channel, void.msn, void.track] = void
                if len(lost) >= LATE_MAX:
                    return tuple(lost[key] for key in sorted(lost))
    return tuple(lost[key] for key in sorted(lost))


def _may_be_late(facts: ChannelFacts, floor: Msn, now: UnixMs) -> bool:
    """Whether the oldest segment that is not known to be done is old enough."""
    oldest: Segment | None = None
    for segment in reversed(facts.segments):
        if segment.msn < floor:
            break
        oldest = segment
    return oldest is not None and now - oldest.durable_unix_ms >= _allowed_ms(facts)


def _allowed_ms(facts: ChannelFacts) -> int:
    return HOLD_BACK_TARGETS * facts.period.target_duration_ms + facts.period.publish_allowance_ms


def _over(facts: ChannelFacts, word: Packaging | None, now: UnixMs) -> dict[int, Segment]:
    """Segments that the index remembers whose time to be published is over, done or not, by number in order."""
    allowed = _allowed_ms(facts)
    if word and now - word.since_unix_ms < allowed:
        return {}
    ended = {end.period for end in facts.row.ends}
    over: dict[int, Segment] = {}
    for segment in facts.segments:
        if now - segment.durable_unix_ms < allowed:
            break
        # What the end of its period made whole was due no sooner than that was told.
        is_due = segment.is_whole or (segment.period in ended and now - facts.row.at_unix_ms >= allowed)
        if is_due and (facts.end is None or segment.msn < facts.end.next_msn):
            over[segment.msn] = segment
    return over


def _given_up(
    facts: ChannelFacts, held: Assignment, floor: Msn, segments: Mapping[int, Segment], progress: Progress, number: int
) -> Iterator[Void]:
    """Those of a slice that are not done, nor void before."""
    tracks = None if takes_all(held.slice_id) else held.tracks
    for msn in progress.open_segments(facts, from_msn=floor, until_msn=held.until_msn, tracks=tracks, turn=held.turn, turns=held.turns):
        segment = segments.get(msn)
        period = facts.row.find(segment.period) if segment else None
        if segment is None or period is None:
            continue
        for track in period.tracks:
            name = track.track
            is_its = tracks is None or name in tracks
            if is_its and not progress.is_track_done(held.channel, msn, name) and not progress.is_given_up(held.channel, msn, name):
                start, ticks = _span(facts, segment, period, track)
                yield Void(
                    channel=held.channel,
                    period=segment.period,
                    track=name,
                    msn=msn,
                    start_ticks=start,
                    duration_ticks=ticks,
                    decision=number,
                    reason=Reason.LATE,
                )


def _span(facts: ChannelFacts, segment: Segment, period: Period, track: Track) -> tuple[Ticks, Ticks]:
    """First tick and duration of a segment, cut short where its period ended in it."""
    start, ticks = segment_span(period, track, segment.first_gop, segment.gop_count)
    end = next((end for end in facts.row.ends if end.period == segment.period), None)
    if end and end.parts_reached < (segment.first_gop + segment.gop_count) * len(period.grid):
        ticks = Ticks(max(1, part_start(period, track, end.parts_reached) - start))
    return start, ticks

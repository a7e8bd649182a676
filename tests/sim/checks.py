"""All promises, over one simulated run."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from schemas.records import Action, Assignment, Chunk, Decision, Load, Period, Reason
from schemas.timeline import PART_SUFFIX, THUMBNAIL_SUFFIX, object_name
from schemas.topics import CHANNELS, DECISIONS, INPUTS, MEDIA, REPORTS, life_key
from streams.core.dealing import is_derived
from streams.core.facts import read
from streams.core.load import slice_load, usable
from streams.core.standing import NOBODY, Standing, apply, counts, since_whole
from streams.core.state import State
from streams.core.strategies import Seat, charged
from streams.simulate.log import Entry
from streams.simulate.run import Run
from streams.simulate.world import POOL
from tests.promises import (
    Owed,
    assert_accounted,
    assert_decisions_replay,
    assert_epochs_rise,
    assert_late,
    assert_objects_follow_from_log,
    assert_origins_agree,
    assert_playlists_never_contradict,
    assert_reports_true,
    assert_single_content,
    cut_again,
    in_force,
    owed,
    published,
)
from tests.validator.recut import Recut

# After the last fault a segment is published this much after it is whole: detection, takeover, publishing.
SETTLED_MS = 6_000
PARTITIONS_MAX = 64
# What plain players hold back, in target durations.
HOLD_BACK_TARGETS = 3
# What is so far behind goes on near the live edge, and is not caught up if it is derived.
BEHIND_TARGETS = 6
# After so many segments any number of turns up to six has come round.
TURNS_PERIOD = 60


def assert_promises(run: Run) -> None:
    """Raises AssertionError with the first promise that was broken."""
    log, store = run.world.log, run.world.store
    media = [entries for number in range(PARTITIONS_MAX) if (entries := log.entries(MEDIA, number))]
    reports, journal = log.entries(REPORTS, POOL), log.entries(DECISIONS, POOL)
    decisions = in_force(journal)
    again = cut_again(media, log.entries(CHANNELS, POOL))
    periods = [entry.record for entry in log.entries(CHANNELS, POOL) if isinstance(entry.record, Period)]
    pictured = with_pictures(again, media, periods)
    assert_single_content(store.refused)
    assert_objects_follow_from_log(store.objects, pictured)
    assert_reports_true(reports, pictured, store.objects)
    assert not run.rejects, f"chunks put aside: {run.rejects}"
    assert_epochs_rise(decisions)
    standing = assert_decisions_replay(decisions, {topic.title: log.entries(topic, POOL) for topic in INPUTS}, pool=POOL)
    assert_journal_recovers(journal)
    assert_copies_apart(decisions)
    assert_playlists_never_contradict(run.playlists)
    assert_origins_agree([seen for seen in run.playlists if seen.at == run.end])
    owing = owed(media, again, decisions)
    made_way = without_pictures(decisions)
    pictures = [
        replace(o, track=p.thumbnails.track)
        for o in owing
        for p in periods[:1]
        if p.thumbnails and o.track == p.thumbnails.source and o.channel not in made_way
    ]
    left_out = left_behind(decisions, pictures, reports, behind_ms=BEHIND_TARGETS * run.world.policy.media.target_duration_ms)
    assert_accounted([*owing, *(p for p in pictures if p not in left_out)], reports, until=run.end - SETTLED_MS)
    assert_late(decisions, owing, reports, hold_back_ms=HOLD_BACK_TARGETS * run.world.policy.media.target_duration_ms)
    assert_settled(run, standing)


def without_pictures(decisions: Sequence[Decision]) -> set[str]:
    """Channels that were for a while without pictures, as decisions say: these make way when capacity is short, and are not caught up."""
    standing, channels = Standing.empty(POOL), set[str]()
    for decision in decisions:
        before, standing = standing, apply(standing, decision)
        ended = (before.assignments[key] for key in decision.ended_slices if key in before.assignments)
        channels |= {held.channel for held in ended if is_derived(held.slice_id) and held.until_msn is None}
        channels |= {queued.slice_id.split("/")[0] for queued in decision.queued if is_derived(queued.slice_id)}
        channels |= {held.channel for held in decision.assignments if held.reason is Reason.NO_CAPACITY}
    return channels


def left_behind(decisions: Sequence[Decision], pictures: Iterable[Owed], reports: Sequence[Entry], *, behind_ms: int) -> set[Owed]:
    """Pictures that a slice left out which was far behind, to go on near the live edge: what is derived is not caught up."""
    done = published(reports)
    missing, left_out = [p for p in pictures if (p.channel, p.msn, p.track) not in done], set[Owed]()
    for decision in decisions:
        for held in (held for held in decision.assignments if is_derived(held.slice_id)):
            before = [p for p in missing if p.channel == held.channel and p.msn < held.from_msn and p not in left_out]
            if before and decision.at_unix_ms - before[0].due >= behind_ms:
                left_out.update(before)
    return left_out


def with_pictures(again: Recut, media: Iterable[Sequence[Entry]], periods: Iterable[Period]) -> Recut:
    """The cut, and the thumbnail of each segment whose first part is whole: its first chunk."""
    made, wanted = Recut(), {(p.channel, p.period): p.thumbnails for p in periods if p.thumbnails}
    made.objects |= again.objects
    made.segments |= again.segments
    for chunk in (entry.record for partition in media for entry in partition if isinstance(entry.record, Chunk)):
        thumbnails = wanted.get((chunk.channel, chunk.period))
        if thumbnails and chunk.track == thumbnails.source and chunk.independent and chunk.gop == chunk.first_gop:
            place = chunk.channel, chunk.period
            if object_name(*place, chunk.track, chunk.start_ticks, PART_SUFFIX) in again.objects:
                picture = object_name(*place, thumbnails.track, chunk.start_ticks, THUMBNAIL_SUFFIX)
                made.segments[chunk.channel, chunk.msn, thumbnails.track] = picture
                made.objects[picture] = chunk.payload
    return made


def assert_journal_recovers(journal: Sequence[Entry]) -> None:
    """Wherever a planner takes over, what it reads back from the newest whole decision is what stands."""
    standing = Standing.empty(POOL)
    decisions = [entry.record for entry in journal if counts(entry.record, offset=entry.offset)]
    for end, decision in enumerate(decisions, 1):
        standing = apply(standing, decision)
        read_back = Standing.empty(POOL)
        for counted in since_whole(decisions[:end]):
            read_back = apply(read_back, counted)
        assert read_back == standing, f"a planner that takes over after {end} decisions believes in {read_back}, not {standing}"


def assert_settled(run: Run, standing: Standing) -> None:
    """Nothing waits but copies, all that is packaged is held by who lives, and nobody is overloaded while another has room."""
    lives = {life_key(p.packager_id, p.life) for p in run.packagers.values() if p.is_up}
    waiting = waiting_alone(standing, lives)
    assert not waiting, f"still in the queue: {waiting}"
    assert not lives & standing.dead.keys(), f"declared dead, and they go on: {sorted(lives & standing.dead.keys())}"
    for key, held in standing.assignments.items():
        assert life_key(held.packager_id, held.life) in lives, f"{key} is held by {held.packager_id}/{held.life}, who is gone"
    for channel, word in standing.packaging.items():
        if word.action is Action.START:
            given = [a for a in standing.assignments.values() if a.channel == channel]
            first = max((a.from_msn for a in given), default=0)
            for track in {track for a in given for track in a.tracks}:
                missing = [n for n in range(first, first + TURNS_PERIOD) if not any(makes(a, n, track) for a in given)]
                assert not missing, f"{track} of {channel}/{missing} is packaged by nobody: {given}"
            assert given, f"{channel} is packaged by nobody"
    assert_balanced(run, standing)


def waiting_alone(standing: Standing, lives: Collection[str]) -> list[str]:
    """
    What waits for a packager though nobody makes it.

    Another copy of what somebody makes waits until the pool has room for it: that may lie in pieces of which none is large enough, or
    with who makes the other.
    """
    going_on = (held for held in standing.assignments.values() if held.until_msn is None and not held.hedges)
    made = {held.slice_id for held in going_on if life_key(held.packager_id, held.life) in lives}
    return sorted(key for key, queued in standing.queued.items() if queued.slice_id not in made)


def makes(held: Assignment, msn: int, track: str) -> bool:
    """Whether a slice that goes on has a segment of a track."""
    return held.until_msn is None and held.from_msn <= msn and msn % held.turns == held.turn and track in held.tracks


def assert_copies_apart(decisions: Sequence[Decision]) -> None:
    """No packager ever holds two copies of a slice."""
    standing = Standing.empty(POOL)
    for decision in decisions:
        standing = apply(standing, decision)
        seen: set[tuple[str, str]] = set()
        for held in standing.assignments.values():
            if life_key(held.packager_id, held.life) not in standing.dead and held.packager_id != NOBODY:
                assert (held.slice_id, held.packager_id) not in seen, f"{held.packager_id} has {held.slice_id} twice"
                seen.add((held.slice_id, held.packager_id))


def assert_balanced(run: Run, standing: Standing) -> None:
    """No packager carries more than is dealt out while another has room for a slice of it."""
    log, policy = run.world.log, run.world.policy
    state = State(POOL, policy.planner.memory_ms)
    for topic in INPUTS:
        for entry in log.entries(topic, POOL):
            state.fold(topic.title, entry.record, offset=entry.offset, at=entry.at)
    facts = read(state, policy, now=run.end)
    settings = policy.assignment
    seats = {
        p.packager_id: Seat(
            packager_id=p.packager_id,
            life=p.life,
            usable=usable(p.capacity, utilisation=settings.utilisation_max, part_ms_budget=settings.part_ms_budget),
        )
        for p in run.packagers.values()
    }
    loads = {}
    for key, held in standing.assignments.items():
        if held.until_msn is None and not is_derived(held.slice_id):
            plan, seen, word = standing.plans[held.channel], facts.channels[held.channel], standing.packaging[held.channel]
            gops = plan.gops_per_segment
            loads[key] = slice_load(seen, facts.cost, level=word.level, gops_per_segment=gops, tracks=held.tracks, turns=held.turns)
    given = [(held.packager_id, loads[key]) for key, held in standing.assignments.items() if key in loads]
    seats = {seat.packager_id: seat for seat in charged(seats.values(), given)}
    full = {name for name, seat in seats.items() if seat.share_with(Load()) > 1.0}
    for key, held in standing.assignments.items():
        if held.packager_id in full and key in loads:
            roomy = [name for name, seat in seats.items() if name not in full and seat.share_with(loads[key]) <= 1.0]
            assert not roomy, f"{held.packager_id} is overloaded, {roomy} could take {key}"

"""All promises, over one simulated run."""

from collections.abc import Sequence

from schemas.records import Action, Load
from schemas.topics import CHANNELS, DECISIONS, INPUTS, MEDIA, REPORTS, slice_key
from streams.core.facts import read
from streams.core.load import channel_load, usable
from streams.core.standing import Standing, apply, counts, life_key
from streams.core.state import State
from streams.core.strategies import Seat, charged
from streams.journal import in_force as in_force_by_journal
from streams.simulate.log import Entry
from streams.simulate.run import Run
from streams.simulate.world import POOL
from tests.promises import (
    assert_accounted,
    assert_decisions_replay,
    assert_epochs_rise,
    assert_objects_follow_from_log,
    assert_origins_agree,
    assert_playlists_never_contradict,
    assert_reports_true,
    assert_single_content,
    cut_again,
    in_force,
    owed,
)

# After the last fault a segment is published this much after it is whole: detection, takeover, publishing.
SETTLED_MS = 6_000
PARTITIONS_MAX = 64


def assert_promises(run: Run) -> None:
    """Raises AssertionError with the first promise that was broken."""
    log, store = run.world.log, run.world.store
    media = [entries for number in range(PARTITIONS_MAX) if (entries := log.entries(MEDIA, number))]
    reports, journal = log.entries(REPORTS, POOL), log.entries(DECISIONS, POOL)
    decisions = in_force(journal)
    again = cut_again(media, log.entries(CHANNELS, POOL))
    assert_single_content(store.refused)
    assert_objects_follow_from_log(store.objects, again)
    assert_reports_true(reports, again, store.objects)
    assert not run.rejects, f"chunks put aside: {run.rejects}"
    assert_epochs_rise(decisions)
    standing = assert_decisions_replay(decisions, {topic.title: log.entries(topic, POOL) for topic in INPUTS}, pool=POOL)
    assert_journal_recovers(journal)
    assert_playlists_never_contradict(run.playlists)
    assert_origins_agree([seen for seen in run.playlists if seen.at == run.end])
    assert_accounted(owed(media, again, decisions), reports, until=run.end - SETTLED_MS)
    assert_settled(run, standing)


def assert_journal_recovers(journal: Sequence[Entry]) -> None:
    """Wherever a planner takes over, what it reads back from the newest whole decision is what stands."""
    standing, entries = Standing.empty(POOL), [(entry.offset, entry.record) for entry in journal]
    for end, (offset, decision) in enumerate(entries, 1):
        if not counts(decision, offset=offset):
            continue
        standing = apply(standing, decision)
        read_back = Standing.empty(POOL)
        for counted in in_force_by_journal(entries[:end]):
            read_back = apply(read_back, counted)
        assert read_back == standing, f"a planner that takes over after {end} decisions believes in {read_back}, not {standing}"


def assert_settled(run: Run, standing: Standing) -> None:
    """Nothing waits, everything packaged is held by somebody who lives, and nobody is overloaded while another has room."""
    assert not standing.queued, f"still in the queue: {sorted(standing.queued)}"
    lives = {life_key(p.packager_id, p.life) for p in run.packagers.values() if p.is_up}
    for key, held in standing.assignments.items():
        assert life_key(held.packager_id, held.life) in lives, f"{key} is held by {held.packager_id}/{held.life}, who is gone"
    for channel, word in standing.packaging.items():
        if word.action is Action.START:
            assert slice_key(f"{channel}/all/0", 0) in standing.assignments, f"{channel} is packaged by nobody"
    assert_balanced(run, standing)


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
        plan, seen = standing.plans.get(held.channel), facts.channels[held.channel]
        loads[key] = channel_load(seen, facts.cost, gops_per_segment=plan.gops_per_segment if plan else seen.gops_max)
    given = [(held.packager_id, loads[key]) for key, held in standing.assignments.items()]
    seats = {seat.packager_id: seat for seat in charged(seats.values(), given)}
    full = {name for name, seat in seats.items() if seat.share_with(Load()) > 1.0}
    for key, held in standing.assignments.items():
        if held.packager_id in full:
            roomy = [name for name, seat in seats.items() if name not in full and seat.share_with(loads[key]) <= 1.0]
            assert not roomy, f"{held.packager_id} is overloaded, {roomy} could take {key}"

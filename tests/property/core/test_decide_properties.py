"""Promises of decide, on stories in which packagers die, drain, return and fail, encoders stall and end, and audiences come and go."""

from dataclasses import replace

import pytest

from schemas.codec import from_plain, to_plain
from schemas.records import Assignment, Decision, Load
from schemas.topics import life_key
from streams.core.decide import Standing, apply, decide
from streams.core.facts import Facts, read
from streams.core.liveness import Status, judge
from streams.core.load import share, slice_load, usable
from streams.core.standing import NOBODY
from streams.core.state import FOLDS, State
from tests.builders_control import ControlPlane, Entry, fold
from tests.property.core.world import POLICY, Worker, World

SEEDS = range(8)
SECONDS = 110


class Checked(World):
    """A world in which every decision is taken again from what it may read."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.epochs: dict[str, int] = {}
        self.dead: set[str] = set()

    def decide(self) -> None:
        for _ in range(5):
            before = self.plane.standing
            made = self.plane.decide()
            if self.random.random() < (0.3 if made else 0.01):
                self._is_remade(before, made)
            if made is None:
                return
            self._is_valid(before, self.plane.standing, made)
        raise AssertionError("the same facts go on changing what is in force")

    def _is_remade(self, before: Standing, made: Decision | None) -> None:
        plane = self.plane
        entries, memory_ms = plane.log.entries, POLICY.planner.memory_ms
        since = plane.now - memory_ms - self.random.choice([1, 500, 7_000, 30_000])
        for state in (fold(entries, since=since, memory_ms=memory_ms), from_tables(entries, cut=self.random.randrange(len(entries) + 1))):
            assert state.inputs() == plane.state.inputs()
            again = decide(state, before, POLICY, now=plane.now, code_version="test", cause=None)
            assert again == made

    def _is_valid(self, before: Standing, after: Standing, made: Decision) -> None:
        assert made.number == before.number + 1
        facts = read(self.plane.state, POLICY, now=self.plane.now)
        packagers, _ = judge(facts.heartbeats.values(), before.dead, POLICY.liveness, now=self.plane.now)
        alive = {life_key(p.packager_id, p.life): p for p in packagers if p.status is Status.ALIVE}
        given = {key: a for key, a in after.assignments.items() if a.epoch == made.number}
        for key, assignment in given.items():
            assert assignment.epoch > self.epochs.get(key, 0)
            self.epochs[key] = assignment.epoch
            holder = life_key(assignment.packager_id, assignment.life)
            is_bookmark = holder in after.dead or assignment.packager_id == NOBODY
            assert is_bookmark or holder in alive
            assert (key in after.queued) or not is_bookmark or not facts.channels[assignment.channel].is_live
        for key, assignment in after.assignments.items():
            assert before.assignments.get(key) in {None, assignment} or assignment.decision == made.number
            assert assignment.epoch <= made.number
        for holder in {life_key(a.packager_id, a.life) for a in given.values()} & set(alive):
            used = Load()
            for assignment in after.assignments.values():
                if life_key(assignment.packager_id, assignment.life) == holder:
                    used = replace(used, cores=used.cores + cores_of(assignment, after, facts))
            room = usable(alive[holder].capacity, utilisation=POLICY.assignment.utilisation_max, part_ms_budget=1e9)
            assert share(used, room) <= 1.0 + 1e-9
        assert set(before.dead) <= set(after.dead)


def cores_of(held: Assignment, standing: Standing, facts: Facts) -> float:
    """What a slice takes in the long run; nothing if it ends at the live edge."""
    if held.until_msn is not None:
        return 0.0
    plan, word = standing.plans[held.channel], standing.packaging[held.channel]
    seen = facts.channels[held.channel]
    gops = plan.gops_per_segment
    return slice_load(seen, facts.cost, level=word.level, gops_per_segment=gops, tracks=held.tracks, turns=held.turns).cores


def from_tables(entries: list[Entry], *, cut: int) -> State:
    """A state restored from tables written at some record, then fed again from well before it."""
    before, state = fold(entries[:cut], memory_ms=POLICY.planner.memory_ms), State(0, POLICY.planner.memory_ms)
    for title, kind in FOLDS.items():
        for key, row in before.rows(title).items():
            state.put(title, key, from_plain(kind.row, to_plain(row)))
    for entry in entries[max(0, cut - 50) :]:
        state.fold(entry.title, entry.record, offset=entry.offset, at=entry.at)
    return state


@pytest.mark.parametrize("seed", SEEDS)
def test_decisions_are_valid_and_follow_from_what_they_name_wherever_reading_began(seed: int) -> None:
    world = Checked(seed)
    for _ in range(SECONDS):
        world.second()
    standing = Standing.empty(0)
    for decision in world.plane.decisions:
        standing = apply(standing, decision)
    assert standing == world.plane.standing
    later = next(i for i, decision in enumerate(world.plane.decisions) if decision.whole and i)
    standing = Standing.empty(0)
    for decision in world.plane.decisions[later:]:
        standing = apply(standing, decision)
    assert standing == world.plane.standing


@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_last_fault_everything_packaged_has_a_living_holder_and_is_caught_up(seed: int) -> None:
    world = World(seed, packagers=8, cores=0.5)
    for _ in range(90):
        world.second()
    world.trouble = 0.0
    world.workers += [Worker(packager=name, life=name, cores=4.0) for name in ("fresh0", "fresh1")]
    for _ in range(40):
        world.second()
    plane = world.plane
    alive = {(w.packager, w.life) for w in world.workers if w.is_alive}
    for encoder in world.encoders:
        if not encoder.is_running or plane.standing.plans[encoder.channel].level == "off":
            continue
        held = [a for a in plane.standing.assignments.values() if a.channel == encoder.channel]
        assert held
        assert {(a.packager_id, a.life) for a in held} <= alive
    assert not plane.standing.queued
    assert_nothing_lost(world)


def assert_nothing_lost(world: World) -> None:
    """Every whole segment between a start and a stop was published or declared void."""
    plane = world.plane
    done: dict[tuple[str, int], set[str]] = {}
    for entry in plane.log.entries:
        if entry.title == "reports":
            for segment in entry.record.segments:
                if segment.outcome == "published":
                    done.setdefault((segment.channel, segment.msn), set()).add(segment.track)
    for decision in plane.decisions:
        for void in decision.voids:
            done.setdefault((void.channel, void.msn), set()).add(void.track)
    for encoder in world.encoders:
        spans = packaged(plane, encoder.channel)
        lost = [n for n in encoder.whole[:-2] for start, stop in spans if start <= n < stop and len(done.get((encoder.channel, n), ())) < 4]
        assert not lost, (encoder.channel, lost, spans)


def packaged(plane: ControlPlane, channel: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    seen = -1
    for decision in plane.decisions:
        for word in decision.packaging:
            if word.channel == channel and word.decision != seen:
                seen = word.decision
                if word.action == "start":
                    spans.append((word.from_msn, 10**9))
                elif spans:
                    spans[-1] = (spans[-1][0], word.from_msn)
    return spans

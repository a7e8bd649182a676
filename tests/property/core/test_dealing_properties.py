"""Slices follow plans that change at random, while packagers come, drain and die: nothing is left out, nothing made without need."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Action, Assignment, Decision, Level, Outcome, Plan, Reason
from schemas.settings import GranularitySettings, PlannerSettings
from schemas.topics import life_key
from streams.core.dealing import is_backlog, is_derived, shapes, takes_all
from streams.core.decide import Standing, apply
from streams.core.facts import ChannelFacts, read
from streams.core.lateness import told
from streams.core.liveness import Status, judge
from streams.core.policy import Policy
from streams.core.scene import Scene, Source
from streams.core.slices import deal
from streams.core.standing import NOBODY
from tests.builders_control import TRACKS, ControlPlane, a_period
from tests.property.core.world import World

POLICY = Policy(
    planner=PlannerSettings(memory_ms=60_000, restate_ms=20_000, channel_silence_ms=15_000), granularity=GranularitySettings(slices_max=1)
)
SECONDS = 80
QUIET = 50


class Story(World):
    """Plans are drawn, packaging never stops; everything else is decided as ever."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, packagers=4, channels=3, cores=1.0, trouble=0.06)
        self.plans: dict[str, Plan] = {}
        self.deaths = 0
        self.reshaped = 0
        self.made: set[tuple[str, int, str]] = set()
        self.read = 0

    def decide(self) -> None:
        before = self.plane.standing
        made = self.plane.decide()
        if made is None:
            return
        self._redraw()
        # The decision with the plans that were drawn in place of those chosen.
        again = self._dealt(before, made)
        self.plane.standing = apply(before, again)
        self.plane.decisions[-1] = again
        self.deaths += len(again.dead)
        self.check(before, again)

    def _redraw(self) -> None:
        for encoder in self.encoders:
            plan = self.plans.get(encoder.channel)
            if plan is None or (self.trouble and self.random.random() < 0.03):
                draw = self.random.randint
                self.plans[encoder.channel] = Plan(
                    channel=encoder.channel, level=Level.PARTS, gops_per_segment=4, groups=draw(1, 3), turns=draw(1, 3), copies=draw(1, 2)
                )
                self.reshaped += plan is not None

    def _dealt(self, before: Standing, made: Decision) -> Decision:
        facts = read(self.plane.state, POLICY, now=self.plane.now)
        judged, deaths = judge(facts.heartbeats.values(), before.dead, POLICY.liveness, now=self.plane.now)
        number = before.number + 1
        packaging = {**before.packaging, **{word.channel: word for word in made.packaging}}
        scene = Scene(
            facts=facts,
            standing=before,
            policy=POLICY,
            number=number,
            packagers={life_key(p.packager_id, p.life): p for p in judged},
            plans={channel: self.plans[channel] for channel in facts.channels if channel in self.plans},
            packaging=packaging,
            sources={},
            heard={life_key(p.packager_id, p.life): Source() for p in judged},
            is_whole=made.whole,
            told=told(facts.heartbeats.values(), before.assignments),
        )
        dealt = deal(scene)
        changed = {f"{a.slice_id}/{a.copy}": a for a in dealt.assignments}
        whole = {key: a for key, a in before.assignments.items() if key not in dealt.ended} | changed
        assignments = tuple(whole[key] for key in sorted(whole)) if made.whole else dealt.assignments
        return replace(
            made, assignments=assignments, ended_slices=dealt.ended, queued=dealt.queued, voids=scene.voids, dead=made.dead or deaths
        )

    # ------------------------------------------------------------ promises

    def check(self, before: Standing, made: Decision) -> None:
        after = self.plane.standing
        facts = read(self.plane.state, POLICY, now=self.plane.now)
        self.made |= made_since(self.plane, self.read, made)
        self.read = len(self.plane.log.entries)
        for key, held in after.assignments.items():
            old = before.assignments.get(key)
            assert old is None or held.epoch >= old.epoch
            assert old is None or (held.packager_id, held.life) == (old.packager_id, old.life) or held.epoch == made.number
            assert old is None or (old.turn, old.turns) == (held.turn, held.turns)
            assert old is None or takes_all(held.slice_id) or held.tracks[: len(old.tracks)] == old.tracks
        for word in after.packaging.values():
            seen = facts.channels.get(word.channel)
            if seen is not None and word.channel in self.plans and seen.end is None and word.action is Action.START:
                self._is_covered(word.from_msn, seen, after)
        for slice_id in {a.slice_id for a in after.assignments.values()}:
            at = [life_key(a.packager_id, a.life) for a in after.assignments.values() if a.slice_id == slice_id and self._works(a)]
            assert len(at) == len(set(at)), f"copies of {slice_id} on one packager: {at}"
        assert len(after.assignments) < 200

    def _works(self, held: Assignment) -> bool:
        return held.packager_id != NOBODY and life_key(held.packager_id, held.life) not in self.plane.standing.dead

    def _is_covered(self, start: int, seen: ChannelFacts, after: Standing) -> None:
        """What is not done is in one slice, once per copy; only what nobody worked on, when it was dealt anew, may be in two."""
        held = [a for a in after.assignments.values() if a.channel == seen.channel and not is_derived(a.slice_id)]
        for msn in range(max(start, seen.next_opened - 30), seen.next_unopened + 7):
            for track in TRACKS:
                if (seen.channel, msn, track) in self.made:
                    continue
                making = [a for a in held if wants(a, msn, track)]
                assert any(a.copy == 0 or self._works(a) for a in making), f"nobody makes {track} of {seen.channel}/{msn}: {held}"
                if not self.deaths and msn >= seen.next_unopened:
                    assert len({a.slice_id for a in making}) == 1, f"{track} of {seen.channel}/{msn} is made as {making}"


def wants(held: Assignment, msn: int, track: str) -> bool:
    within = held.from_msn <= msn and (held.until_msn is None or msn < held.until_msn)
    return within and msn % held.turns == held.turn and track in held.tracks


@pytest.mark.parametrize("seed", range(6))
def test_every_track_of_every_segment_is_in_a_slice_whatever_the_plans_become(seed: int) -> None:
    story = Story(seed)
    for _ in range(SECONDS):
        story.second()
    story.trouble = 0.0
    for _ in range(QUIET):
        story.second()
    assert story.reshaped
    plane = story.plane
    facts = read(plane.state, POLICY, now=plane.now)
    judged, _ = judge(facts.heartbeats.values(), plane.standing.dead, POLICY.liveness, now=plane.now)
    alive = sum(packager.status is Status.ALIVE for packager in judged)
    for encoder in story.encoders:
        if not encoder.is_running or not plane.standing.is_packaged(encoder.channel):
            continue
        held = {key for key, a in plane.standing.assignments.items() if a.channel == encoder.channel}
        dealt = shapes(story.plans[encoder.channel], facts.channels[encoder.channel])
        wanted = {shape.key for shape in dealt if shape.copy < alive}
        assert held == wanted, "when all is quiet, the slices are those of the plan and no others"
    assert_made(story)


def made_since(plane: ControlPlane, since: int, decision: Decision) -> set[tuple[str, int, str]]:
    """Tracks of segments published after an entry of the log, or declared lost for another reason than being late."""
    reports = [entry.record for entry in plane.log.entries[since:] if entry.title == "reports"]
    published = {(s.channel, s.msn, s.track) for told in reports for s in told.segments if s.outcome is Outcome.PUBLISHED}
    return published | {(void.channel, void.msn, void.track) for void in decision.voids if void.reason is not Reason.LATE}


def assert_made(story: Story) -> None:
    """Every whole segment of a packaged stretch was published in all tracks, or is void for another reason than being late."""
    for encoder in story.encoders:
        word = story.plane.standing.packaging.get(encoder.channel)
        if word is not None and word.action is Action.START:
            owed = [(n, track) for n in encoder.whole[:-3] if n >= word.from_msn for track in TRACKS]
            left = [(n, track) for n, track in owed if (encoder.channel, n, track) not in story.made]
            assert not left, f"{encoder.channel}: {left} were never made"


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 2), st.booleans())
def test_shapes_partition_the_tracks_and_turns_of_a_channel(groups: int, turns: int, copies: int, has_two: bool) -> None:
    plane = ControlPlane()
    plane.add("channels", a_period(tracks=TRACKS[:2] if has_two else TRACKS))
    seen = read(plane.state, Policy(), now=plane.now).channels["news"]
    plan = Plan(channel="news", level=Level.PARTS, gops_per_segment=4, groups=groups, turns=turns, copies=copies)
    made = shapes(plan, seen)
    assert len({shape.key for shape in made}) == len(made)
    for copy in range(copies):
        pieces = [(track, shape.turn) for shape in made if shape.copy == copy for track in shape.tracks]
        names = [track.track for track in seen.period.tracks]
        assert sorted(pieces) == sorted((track, turn) for track in names for turn in range(turns))
    assert not any(is_backlog(shape.slice_id) for shape in made)
    assert shapes(plan, seen) == made

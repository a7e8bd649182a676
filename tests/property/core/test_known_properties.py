"""What is kept from one decision to the next saves work and changes nothing, on stories in which everything goes wrong."""

from dataclasses import replace

import pytest

from schemas.records import Decision
from schemas.settings import PlannerSettings
from schemas.units import UnixMs
from streams.core.decide import decide
from streams.core.facts import read
from streams.core.policy import Policy
from streams.core.state import FOLDS, State
from tests.property.core.world import POLICY, World

OTHER = replace(POLICY, planner=PlannerSettings(memory_ms=60_000, channel_silence_ms=3_000, demand="last_value"))


class Twice(World):
    """A world in which every decision is made again from a state of which nothing was read before."""

    def decide(self) -> None:
        for policy, ahead_ms in ((OTHER, 700), (POLICY, 0)):
            known = self.made(self.plane.state, policy, ahead_ms)
            assert known == self.made(unread(self.plane.state), policy, ahead_ms)
            assert known == self.made(self.plane.state, policy, ahead_ms)
        super().decide()

    def made(self, state: State, policy: Policy, ahead_ms: int) -> Decision | None:
        now = UnixMs(self.plane.now + ahead_ms)
        return decide(state, self.plane.standing, policy, now=now, code_version="test", cause=None)


def unread(state: State) -> State:
    fresh = State(state.pool, state.memory_ms)
    for title in FOLDS:
        for key, row in state.rows(title).items():
            fresh.put(title, key, row)
    return fresh


@pytest.mark.parametrize("seed", range(20, 24))
def test_what_is_known_from_before_changes_no_decision(seed: int) -> None:
    world = Twice(seed, trouble=0.15)
    for _ in range(90):
        world.second()
    assert world.plane.decisions


def test_a_channel_of_which_nothing_has_changed_is_not_read_anew() -> None:
    world = World(1, trouble=0.0)
    for _ in range(20):
        world.second()
    state, now = world.plane.state, world.plane.now
    before, after = (read(state, POLICY, now=UnixMs(now + ms)).channels for ms in (0, 5))
    assert before
    assert all(after[channel] is seen for channel, seen in before.items())

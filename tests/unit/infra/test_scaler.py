"""Obeying the wanted number of packagers, with packagers that are names."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.scaler import Scaler, change
from schemas.records import Reason, Scaling
from schemas.settings import ScalingSettings
from schemas.units import UnixMs

BEGAN = 1_000


class FakeCrew:
    """Packagers that drain until they are let go."""

    def __init__(self, *names: str) -> None:
        self.drains = dict.fromkeys(names, False)

    def members(self) -> dict[str, bool]:
        return dict(self.drains)

    def start_packager(self, name: str) -> None:
        assert name not in self.drains
        self.drains[name] = False

    def drain_packager(self, name: str) -> None:
        assert not self.drains[name], "a second signal would end it without draining"
        self.drains[name] = True

    def let_go(self, name: str) -> None:
        assert self.drains.pop(name)


class Stage:
    def __init__(self, *names: str, least: int = 1, most: int = 9) -> None:
        self.crew = FakeCrew(*names)
        self.said: list[str] = []
        bounds = ScalingSettings(packagers_min=least, packagers_max=most)
        self.scaler = Scaler(self.crew, bounds, pool=0, since_unix_ms=BEGAN, say=self.said.append)

    def hear(self, wanted: int, *, decision: int = 1, pool: int = 0, at: int = BEGAN) -> bool:
        record = Scaling(
            pool=pool, wanted=wanted, at_horizon=wanted, alive=1, since_unix_ms=UnixMs(0), decision=decision, reason=Reason.LOAD
        )
        self.scaler.hear(record, at_unix_ms=at)
        return self.scaler.act()

    @property
    def working(self) -> list[str]:
        return [name for name, drains in self.crew.drains.items() if not drains]


def test_packagers_that_are_missing_start_at_once_and_each_is_told_in_a_line() -> None:
    stage = Stage("packager-1")
    assert stage.hear(3)
    assert stage.working == ["packager-1", "packager-2", "packager-3"]
    assert stage.said == ["packager-2 is started: 3 wanted", "packager-3 is started: 3 wanted"]
    assert not stage.scaler.act()


def test_too_many_drain_the_highest_first_and_are_told_once_to_leave() -> None:
    stage = Stage("packager-1", "packager-2", "packager-3")
    assert stage.hear(1)
    assert stage.working == ["packager-1"]
    assert not stage.hear(1, decision=2)
    stage.crew.let_go("packager-3")
    assert stage.scaler.act()
    assert stage.said == ["packager-3 drains: 1 wanted", "packager-2 drains: 1 wanted", "packager-3 has drained and left"]


def test_a_name_is_free_again_only_when_its_packager_has_left() -> None:
    stage = Stage("packager-1", "packager-2")
    stage.hear(1)
    stage.hear(2, decision=2)
    assert stage.working == ["packager-1", "packager-3"]
    stage.crew.let_go("packager-2")
    stage.hear(3, decision=3)
    assert stage.working == ["packager-1", "packager-3", "packager-2"]


def test_nothing_happens_before_a_word_was_heard() -> None:
    stage = Stage("packager-1", "packager-2")
    assert not stage.scaler.act()
    assert stage.working == ["packager-1", "packager-2"]


@pytest.mark.parametrize("words", [{"pool": 1}, {"at": BEGAN - 1}, {"decision": 0}])
def test_words_to_others_of_before_and_of_a_stale_planner_change_nothing(words: dict[str, int]) -> None:
    stage = Stage("packager-1")
    stage.hear(2)
    assert not stage.hear(5, **words)
    assert stage.scaler.wanted == 2


def test_the_bounds_hold_whatever_is_wanted() -> None:
    stage = Stage("packager-1", "packager-2", least=2, most=3)
    stage.hear(1)
    assert stage.scaler.wanted == 2
    stage.hear(8, decision=2)
    assert stage.scaler.wanted == 3


@given(st.dictionaries(st.integers(1, 20).map("packager-{}".format), st.booleans()), st.integers(0, 20))
def test_a_change_makes_the_crew_as_many_as_wanted_and_is_made_once(crew: dict[str, bool], wanted: int) -> None:
    told = change(crew, wanted)
    assert not (told.start and told.drain)
    assert not set(told.start) & set(crew)
    after = {**crew, **dict.fromkeys(told.start, False), **dict.fromkeys(told.drain, True)}
    assert sum(not drains for drains in after.values()) == wanted
    assert change(after, wanted) == replace(told, start=(), drain=())

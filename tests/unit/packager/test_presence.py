"""When a packager knows that it may have been declared dead."""

import pytest

from packager.presence import Presence
from schemas.settings import LivenessSettings
from schemas.units import UnixMs

BEAT, DEAD = 500, 2_500


def told(*beats: tuple[str, int]) -> list[int | None]:
    presence = Presence("p1", LivenessSettings())
    return [presence.hear(name, UnixMs(at)) for name, at in sorted(beats, key=lambda beat: beat[1])]


def beats(name: str, start: int, end: int) -> list[tuple[str, int]]:
    return [(name, at) for at in range(start, end, BEAT)]


def test_who_was_paused_while_another_went_on_knows_it_at_the_first_thing_it_hears() -> None:
    found = told(*beats("p1", 1_000, 5_000), *beats("p2", 1_001, 25_000), *beats("p1", 24_900, 26_000))
    assert next(silence for silence in found if silence) == 4_501 - 4_500 + DEAD
    assert found.index(2_501) == 8 + 8 + 4


def test_a_pause_that_nobody_can_be_declared_dead_for_changes_nothing() -> None:
    assert not any(told(*beats("p1", 0, 5_000), *beats("p2", 1, 9_000), *beats("p1", 4_500 + DEAD - 1, 9_000)))


def test_while_the_broker_is_away_nobody_is_heard_and_nobody_is_dead() -> None:
    before, after = beats("p1", 0, 5_000) + beats("p2", 1, 5_000), beats("p2", 60_000, 61_500) + beats("p1", 61_100, 65_000)
    assert not any(told(*before, *after))


def test_a_packager_that_came_after_the_broker_was_away_bears_no_witness_of_what_was_before() -> None:
    assert not any(told(*beats("p1", 0, 5_000), *beats("p3", 60_000, 61_500), *beats("p1", 61_100, 65_000)))


def test_who_is_alone_in_its_pool_is_never_dead_of_silence() -> None:
    assert not any(told(*beats("p1", 0, 5_000), *beats("p1", 60_000, 65_000)))


def test_others_heard_only_before_and_after_bear_no_witness() -> None:
    assert not any(told(*beats("p1", 0, 5_000), *beats("p2", 0, 5_000), ("p2", 20_000), ("p1", 20_001)))


@pytest.mark.parametrize("silence", [DEAD, 20_000])
def test_silence_that_begins_with_the_first_heartbeat_counts_too(silence: int) -> None:
    assert any(told(("p1", 1_000), *beats("p2", 1_100, 1_200 + silence), ("p1", 1_200 + silence)))

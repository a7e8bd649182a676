"""How finely a channel is dealt, and whether twice."""

import pytest

from schemas.records import Level, Plan
from schemas.settings import GranularitySettings
from schemas.units import UnixMs
from streams.core.load import Vector
from streams.core.sharing import Deal, Stake, copied, deal_for, least_of, settle_deal

SETTINGS = GranularitySettings()
PACKAGER: Vector = (2.0, 10**9, 10**9, 10**9, 300.0)
NOW = UnixMs(10**6)


def cpu(cores: float) -> Vector:
    return cores, 0, 0, 0, 0.0


def a_plan(groups: int, turns: int = 1, *, age_ms: int = 100_000) -> Plan:
    since = UnixMs(NOW - age_ms)
    return Plan(channel="news", level=Level.PARTS, gops_per_segment=4, groups=groups, turns=turns, dealt_since_unix_ms=since)


@pytest.mark.parametrize(
    ("cores", "deal"), [(0.01, (1, 1)), (0.1, (1, 1)), (0.11, (2, 1)), (0.21, (4, 1)), (0.4, (4, 1)), (0.41, (4, 2)), (9.0, (4, 4))]
)
def test_tracks_are_parted_before_turns_are_taken_and_one_more_than_needed_never(cores: float, deal: tuple[int, int]) -> None:
    assert deal_for(cpu(cores), PACKAGER, tracks=4, settings=SETTINGS) == Deal(groups=deal[0], turns=deal[1])


def test_part_work_beyond_the_budget_parts_tracks_and_takes_no_turns() -> None:
    assert deal_for((0.01, 0, 0, 0, 290.0), PACKAGER, tracks=4, settings=SETTINGS) == Deal()
    assert deal_for((0.01, 0, 0, 0, 310.0), PACKAGER, tracks=4, settings=SETTINGS) == Deal(groups=2)
    assert deal_for((0.01, 0, 0, 0, 9_000.0), PACKAGER, tracks=4, settings=SETTINGS) == Deal(groups=4)


def test_whole_channels_stay_whole_where_they_are_to() -> None:
    assert deal_for(cpu(9.0), PACKAGER, tracks=4, settings=GranularitySettings(slices_max=1)) == Deal()


def test_a_deal_is_kept_while_the_load_trembles_around_a_limit() -> None:
    for cores in (0.099, 0.101, 0.11, 0.085):
        assert settle_deal(a_plan(2), cpu(cores), PACKAGER, tracks=4, settings=SETTINGS, now=NOW) == Deal(groups=2)
    assert settle_deal(a_plan(2), cpu(0.07), PACKAGER, tracks=4, settings=SETTINGS, now=NOW) == Deal()
    assert settle_deal(a_plan(2), cpu(0.22), PACKAGER, tracks=4, settings=SETTINGS, now=NOW) == Deal(groups=4)


def test_a_deal_holds_a_while_but_a_channel_that_starts_has_the_one_it_needs() -> None:
    young = a_plan(1, age_ms=SETTINGS.deal_hold_ms - 1)
    assert settle_deal(young, cpu(0.4), PACKAGER, tracks=4, settings=SETTINGS, now=NOW) == Deal()
    assert settle_deal(None, cpu(0.4), PACKAGER, tracks=4, settings=SETTINGS, now=NOW) == Deal(groups=4)


def test_nothing_is_dealt_finer_for_a_packager_that_is_alone_or_much_smaller_than_the_others() -> None:
    assert least_of([PACKAGER]) is None
    assert least_of([PACKAGER, PACKAGER, cpu(0.1)]) == PACKAGER
    assert settle_deal(a_plan(2), cpu(0.01), None, tracks=4, settings=SETTINGS, now=NOW) == Deal(groups=2)


def stake(channel: str, viewers: float, *, has_copy: bool = False, is_held: bool = False) -> Stake:
    return Stake(channel=channel, viewers=viewers, load=cpu(0.1), has_copy=has_copy, is_held=is_held)


def test_most_at_stake_is_made_twice_first_while_there_is_room() -> None:
    stakes = [stake("a", 60), stake("b", 900), stake("c", 300), stake("d", 10)]
    assert copied(stakes, used=cpu(0.5), most=PACKAGER, settings=SETTINGS) == {"a", "b", "c"}
    assert copied(stakes, used=cpu(1.45), most=PACKAGER, settings=SETTINGS) == {"b"}
    assert copied(stakes, used=cpu(1.6), most=PACKAGER, settings=SETTINGS) == set()


def test_a_copy_is_kept_by_fewer_viewers_and_in_less_room_than_begins_one() -> None:
    assert copied([stake("a", 30, has_copy=True)], used=cpu(0.5), most=PACKAGER, settings=SETTINGS) == {"a"}
    assert copied([stake("a", 90, has_copy=True)], used=cpu(1.7), most=PACKAGER, settings=SETTINGS) == {"a"}
    assert copied([stake("a", 90, has_copy=True)], used=cpu(1.85), most=PACKAGER, settings=SETTINGS) == set()
    assert copied([stake("a", 20, has_copy=True)], used=cpu(0.5), most=PACKAGER, settings=SETTINGS) == set()
    assert copied([stake("a", 20, has_copy=True, is_held=True)], used=cpu(0.5), most=PACKAGER, settings=SETTINGS) == {"a"}

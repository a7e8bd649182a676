"""A scenario adds up: every segment wanted is made once, late or void, and packagers are paid for from the order to the end."""

from pathlib import Path

import pytest

from streams.simulate.scenario.outcome import Outcome
from streams.simulate.scenario.reading import read_scenario
from streams.simulate.scenario.run import run

FILE = Path(__file__).parents[2] / "streams" / "simulate" / "scenarios" / "demo.toml"


def outcome(**overrides: object) -> Outcome:
    return run(read_scenario(FILE, {key.replace("__", "."): value for key, value in overrides.items()}))


@pytest.fixture(scope="module")
def demo() -> Outcome:
    return outcome()


def test_equal_arguments_give_equal_outcomes(demo: Outcome) -> None:
    assert outcome() == demo


def test_another_seed_gives_another_outcome(demo: Outcome) -> None:
    assert outcome(seed=2) != demo


def test_packagers_are_paid_for_as_long_as_they_run(demo: Outcome) -> None:
    # Three over five minutes; the one killed is replaced at once, by itself or by whoever scales.
    assert demo.packager_hours == pytest.approx(3 * 5 / 60)
    assert outcome(faults__restart=False).packager_hours == pytest.approx(3 * 5 / 60)


@pytest.mark.parametrize(("slices", "level"), [(1, "parts"), (8, "parts"), (8, "auto")])
def test_every_segment_of_a_steady_length_is_made_once(slices: int, level: str) -> None:
    granularity = {"segment_ms": 4_000, "slices_max": slices, "level": level}
    fixed = outcome(policy__granularity=granularity, channels__idle_level="parts", audience__viewers=400)
    # Four channels over five minutes in segments of four seconds, and the hold back of three that each starts with.
    ended = 4 * 300 / 4
    assert fixed.segments_back == 4 * 3
    assert ended - 4 <= fixed.segments + fixed.void + fixed.unmade - fixed.segments_back <= ended + 4
    assert fixed.unmade == 0


def test_a_killed_packager_is_replaced_within_what_liveness_and_the_handover_take(demo: Outcome) -> None:
    assert demo.killed == 1
    # Its slices are late before it is dead, and then a second packager makes them, too.
    assert all(1_000 < takeover < 3_500 for takeover in demo.takeovers_ms)
    assert 0 < demo.late <= 4


def test_a_channel_that_nobody_watches_costs_nothing() -> None:
    idle = outcome(audience__viewers=0, faults__kill=[])
    assert (idle.segments, idle.core_hours, idle.packaged_hours) == (0, 0.0, 0.0)


def test_who_comes_to_a_channel_that_is_off_waits_for_its_hold_back_alone() -> None:
    joined = outcome(audience__viewers=3, audience__stay="20 s", audience__kind="constant", faults__kill=[], players__phi=[0.2])
    # Round trips, a fifth of a segment of four seconds, and what was made since: well below two seconds.
    assert joined.viewers["whole"].joins > 0
    assert joined.viewers["whole"].join_p95_ms < 2_000
    # Who asks for parts of a channel in segments waits for the next segment that is opened.
    assert joined.viewers["parts"].join_p95_ms < 2 * 4_000


def test_work_adds_up_to_what_segments_cost() -> None:
    steady = outcome(
        policy__granularity={"segment_ms": 4_000, "level": "parts"}, channels__idle_level="parts", faults__kill=[],
        pool__cost={"per_segment": 0.004, "per_part": 0.0, "per_chunk": 0.0, "per_byte": 0.0}, warmup="1 min",
    )  # fmt: skip
    # 4 channels x 4 tracks x 75 segments of 4 s in 5 min.
    assert steady.core_hours * 3_600 == pytest.approx(4 * 4 * 75 * 0.004, rel=0.02)


def test_steps_of_a_minute_come_to_what_steps_of_a_second_do() -> None:
    settings = {"duration": "10 min", "faults__kill": [], "channels__idle_level": "parts", "warmup": "2 min"}
    fixed = {"policy__granularity": {"segment_ms": 4_000, "level": "parts"}}
    fine, coarse = outcome(**settings, **fixed), outcome(**settings, **fixed, step="1 min")
    assert coarse.core_hours == pytest.approx(fine.core_hours, rel=0.02)
    assert coarse.segments == pytest.approx(fine.segments, rel=0.02)
    assert abs(coarse.late_p99_ms - fine.late_p99_ms) <= 5
    assert abs(coarse.join_p50_ms - fine.join_p50_ms) <= 100

"""A thousand damaged inputs, always the same: each is taken, or rejected with a reason."""

import pytest

from tests.fuzz.cases import dealt, make, run
from tests.fuzz.targets import TARGETS

SEED = 7
CASES = 1_000


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_damaged_input_is_taken_or_rejected_with_a_reason_and_nothing_else_happens(name: str) -> None:
    ((_, numbers),) = ((one, numbers) for one, numbers in dealt(CASES, TARGETS) if one == name)
    tally = run(SEED, name, numbers)
    assert [crash.error for crash in tally.crashes] == []
    assert tally.count == len(numbers)


def test_a_case_is_made_from_its_number_alone() -> None:
    assert make(SEED, "chunk", 5)[0] == make(SEED, "chunk", 5)[0] != make(SEED, "chunk", 6)[0]


def test_a_run_that_goes_on_where_another_ended_repeats_nothing_and_leaves_nothing_out() -> None:
    whole = dict(dealt(5_000, TARGETS))
    parts = [dict(dealt(2_500, TARGETS, start=start)) for start in (0, 2_500)]
    assert all([*parts[0][name], *parts[1][name]] == [*numbers] for name, numbers in whole.items())

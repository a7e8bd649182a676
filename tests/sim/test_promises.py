"""The whole system under faults, 200 seeds: whatever goes wrong, the promises hold."""

import pytest

from streams.simulate.faults import Faults
from streams.simulate.run import simulate
from tests.sim.checks import assert_promises


@pytest.mark.parametrize("seed", range(200))
def test_the_promises_hold_whatever_goes_wrong(seed: int) -> None:
    assert_promises(simulate(seed, packagers=4, channels=3, minutes=1, faults=Faults.all()))

"""Packagers wanted: more at once, fewer after a while."""

from schemas.records import Load, Reason, Scaling
from schemas.settings import ScalingSettings
from schemas.units import UnixMs
from streams.core.scaling import choose_wanted, packagers_worth, worth_with_spare

SETTINGS = ScalingSettings(stabilise_ms=60_000, packagers_max=10)


def choose(before: Scaling | None, worth: float | None, *, at: int, missing: int = 0, alive: int = 3) -> Scaling:
    return choose_wanted(before, SETTINGS, worth=worth, missing=missing, alive=alive, pool=0, now=UnixMs(at), number=at)


def test_a_rising_load_asks_for_more_at_once() -> None:
    first = choose(None, 1.2, at=1)
    more = choose(first, 4.5, at=2)
    assert (first.wanted, more.wanted, more.reason) == (2, 5, Reason.LOAD)


def test_fewer_are_wanted_only_after_fewer_would_have_done_all_the_time() -> None:
    scaling = choose(None, 5.0, at=1)
    low = choose(scaling, 2.0, at=1_000)
    assert (low.wanted, low.low_since_unix_ms) == (5, 1_000)
    peak = choose(low, 3.0, at=20_000)
    assert (peak.wanted, peak.at_horizon) == (5, 3)
    assert choose(peak, 2.0, at=60_999) is peak
    assert choose(peak, 2.0, at=61_000).wanted == 3


def test_a_load_that_comes_back_begins_the_wait_anew() -> None:
    low = choose(choose(None, 5.0, at=1), 2.0, at=1_000)
    back = choose(low, 4.5, at=30_000)
    assert (back.wanted, back.low_since_unix_ms) == (5, 0)


def test_a_load_that_trembles_at_a_whole_number_writes_nothing() -> None:
    scaling = choose(None, 4.01, at=1)
    assert all(choose(scaling, 4.0 + noise, at=i) is scaling for i, noise in enumerate((0.02, -0.02, 0.0, 0.05, -0.2)))


def test_waiting_slices_ask_for_packagers_beyond_those_alive() -> None:
    scaling = choose(choose(None, 1.0, at=1), 1.0, at=2, missing=2, alive=3)
    assert (scaling.wanted, scaling.reason) == (5, Reason.NO_CAPACITY)


def test_limits_hold() -> None:
    assert choose(None, 99.0, at=1).wanted == 10
    assert choose(None, 0.0, at=1).wanted == 1


def test_without_evidence_the_number_stays() -> None:
    scaling = choose(None, 4.0, at=1)
    assert choose(scaling, None, at=2, alive=0) is scaling
    assert packagers_worth([Load(cores=1.0)], [], SETTINGS, part_ms_budget=150.0) is None


def test_spare_packagers_are_those_that_may_die_while_the_rest_carry_everything() -> None:
    alive = [Load(cores=1.0)]

    def worth(load: float, spare: int) -> float | None:
        settings = ScalingSettings(target_utilisation=0.6, spare=spare)
        return worth_with_spare([Load(cores=load)], alive, settings, part_ms_budget=150.0, utilisation_max=1.0)

    assert [worth(1.2, spare) for spare in (0, 1, 2)] == [2.0, 3, 4]
    # A large pool at its target utilisation has that room anyway; one without work needs nobody.
    assert worth(60.0, 1) == 100.0
    assert worth(0.0, 1) == 0.0

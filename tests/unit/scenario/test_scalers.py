"""Rules that scale by count: as Kubernetes and KEDA document theirs."""

from streams.simulate.scenario.scalers import EventDriven, Horizontal, Seen
from streams.simulate.scenario.spec import Scaler


def seen(at_s: float, *, use: float = 0.6, ordered: int = 4, ready: int | None = None, lag: float = 0.0) -> Seen:
    ready = ordered if ready is None else ready
    return Seen(at_ms=at_s * 1_000, ordered=ordered, ready=ready, use=use, lag_chunks=lag, wanted=0)


def a_rule(kind: str = "hpa") -> Scaler:
    return Scaler.model_validate({"kind": kind, "target": 0.6, "lag_chunks": 100})


def test_use_in_proportion_to_the_target_says_how_many() -> None:
    assert Horizontal(a_rule()).look(seen(0, use=0.9)) == 6


def test_a_ratio_within_the_tolerance_changes_nothing() -> None:
    assert Horizontal(a_rule()).look(seen(0, use=0.65)) == 4


def test_scale_in_waits_for_the_highest_word_of_the_window() -> None:
    scaler = Horizontal(a_rule())
    assert scaler.look(seen(0, use=0.6)) == 4
    assert [scaler.look(seen(15 * look, use=0.3)) for look in range(1, 20)] == [4] * 19
    assert scaler.look(seen(300, use=0.3)) == 2


def test_growth_is_at_most_twofold_or_by_four() -> None:
    assert Horizontal(a_rule()).look(seen(0, use=1.0, ordered=1)) == 2
    rule = a_rule().model_copy(update={"target": 0.05})
    assert Horizontal(rule).look(seen(0, use=1.0, ordered=1)) == 5
    assert Horizontal(rule).look(seen(0, use=1.0, ordered=8)) == 16


def test_who_starts_counts_as_idle_when_it_would_grow() -> None:
    assert Horizontal(a_rule()).look(seen(0, use=0.9, ordered=6, ready=4)) == 6


def test_lag_is_read_at_each_poll_and_the_larger_word_counts() -> None:
    scaler = EventDriven(a_rule("keda"))
    assert scaler.look(seen(0, lag=0.0)) == 4
    assert scaler.look(seen(15, lag=700.0)) == 4
    assert scaler.look(seen(30, lag=700.0)) == 7

"""What the learner of packaging cost promises."""

import random
from dataclasses import replace

import pytest

from schemas.records import Cost, Fault, Outcome, SegmentReport
from schemas.units import Epoch, Msn, Ticks, UnixMs
from streams.models.cost import REPORTS_MIN, CostLearner

REAL = Cost(per_segment=0.004, per_part=0.001, per_chunk=0.0001, per_byte=4e-9)


def report(
    *, parts: int = 8, chunks: int = 40, size: int = 1_000_000, cpu_us: int = 10_000, outcome: Outcome = Outcome.PUBLISHED
) -> SegmentReport:
    return SegmentReport(
        channel="news",
        period=0,
        track="v1",
        msn=Msn(1),
        slice_id="news-v1",
        epoch=Epoch(1),
        outcome=outcome,
        fault=Fault.OWN if outcome is Outcome.FAILED else None,
        start_ticks=Ticks(0),
        duration_ticks=Ticks(90_000),
        part_count=parts,
        chunk_count=chunks,
        size=size,
        digest=bytes(16),
        durable_unix_ms=UnixMs(1),
        cpu_us=cpu_us,
    )


def seconds(cost: Cost, *, parts: int, chunks: int, size: int) -> float:
    return cost.per_segment + cost.per_part * parts + cost.per_chunk * chunks + cost.per_byte * size


def work(seed: int, count: int, *, noise: float = 0.1, spikes: float = 0.0) -> list[SegmentReport]:
    """Segments of many lengths and bitrates, timed at the real cost with noise and, rarely, a busy machine."""
    rng, reports = random.Random(seed), []
    for _ in range(count):
        length, part, bitrate = rng.choice((1, 2, 4)), rng.choice((0, 1, 2, 4)), rng.choice((50_000, 200_000, 800_000))
        shape = {"parts": length * part, "chunks": length * rng.choice((1, 5, 25)), "size": length * bitrate}
        cpu_s = seconds(REAL, **shape) * max(0.1, rng.gauss(1, noise)) * (20 if rng.random() < spikes else 1)
        reports.append(report(parts=shape["parts"], chunks=shape["chunks"], size=shape["size"], cpu_us=round(cpu_s * 1e6)))
    return reports


def learned(reports: list[SegmentReport]) -> CostLearner:
    learner = CostLearner()
    for each in reports:
        learner.learn(each)
    return learner


def test_too_little_evidence_gives_the_prior() -> None:
    prior = Cost(per_segment=0.5)
    learner = CostLearner(prior)
    for each in work(1, REPORTS_MIN - 1):
        learner.learn(each)
    cost = learner.cost()
    assert replace(cost, report_count=0, error=0.0, prior_error=0.0) == prior
    assert cost.report_count == REPORTS_MIN - 1


@pytest.mark.parametrize("spikes", [0.0, 0.02])
def test_segments_of_every_shape_are_priced_within_a_fifth_also_on_a_busy_machine(spikes: float) -> None:
    cost = learned(work(1, 3_000, spikes=spikes)).cost()
    for shape in (
        {"parts": 0, "chunks": 1, "size": 50_000},
        {"parts": 8, "chunks": 50, "size": 800_000},
        {"parts": 4, "chunks": 100, "size": 3_200_000},
    ):
        assert seconds(cost, **shape) == pytest.approx(seconds(REAL, **shape), rel=0.2)


def test_a_prior_ten_times_too_small_is_left_within_a_few_hundred_reports() -> None:
    learner = CostLearner(Cost(per_segment=0.0004, per_part=0.0001, per_chunk=0.00001, per_byte=4e-10))
    for each in work(2, 300):
        learner.learn(each)
    shape = {"parts": 4, "chunks": 20, "size": 800_000}
    assert seconds(learner.cost(), **shape) == pytest.approx(seconds(REAL, **shape), rel=0.2)


def test_the_error_so_far_is_small_once_learned_and_stands_beside_that_of_the_prior() -> None:
    error = learned(work(3, 2_000)).error()
    assert error.count == 2_000
    assert error.learned < 0.2 * error.prior


def test_a_prior_that_is_right_is_kept_close() -> None:
    learner = CostLearner(REAL)
    for each in work(4, 500):
        learner.learn(each)
    shape = {"parts": 4, "chunks": 20, "size": 800_000}
    assert seconds(learner.cost(), **shape) == pytest.approx(seconds(REAL, **shape), rel=0.1)


def test_where_reports_cannot_tell_the_parts_apart_their_ratio_stays_and_the_sum_is_right() -> None:
    learner = learned([report(cpu_us=30_000)] * 400)
    cost = learner.cost()
    assert seconds(cost, parts=8, chunks=40, size=1_000_000) == pytest.approx(0.03, rel=0.05)
    assert min(cost.per_segment, cost.per_part, cost.per_chunk, cost.per_byte) > 0


def test_prices_are_never_negative() -> None:
    cheap = [report(parts=0, chunks=1, size=0, cpu_us=4_000), report(parts=40, chunks=1, size=0, cpu_us=1)] * 300
    cost = learned(cheap).cost()
    assert min(cost.per_segment, cost.per_part, cost.per_chunk, cost.per_byte, cost.per_request) >= 0


@pytest.mark.parametrize("useless", [report(outcome=Outcome.FAILED), report(cpu_us=0)])
def test_failures_and_unmeasured_segments_teach_nothing(useless: SegmentReport) -> None:
    learner = CostLearner()
    assert not learner.learn(useless)
    assert learner.error().count == 0


def origin(rng: random.Random, *, base: float, per_request: float, requests: int) -> dict[str, float]:
    return {"requests": requests, "core_seconds": (base + per_request * requests) * max(0.2, rng.gauss(1, 0.1))}


def test_the_price_of_a_request_is_told_apart_from_what_an_origin_does_for_nobody() -> None:
    learner, rng = CostLearner(), random.Random(1)
    for second in range(600):
        learner.learn_requests(**origin(rng, base=0.08, per_request=0.0011, requests=20 + 3 * (second % 60)))  # type: ignore[arg-type]
    cost = learner.cost()
    assert cost.per_request == pytest.approx(0.0011, rel=0.15)
    assert 0.0 < cost.request_error < 0.2


def test_seconds_that_are_all_alike_leave_the_price_of_a_request_at_its_prior_but_for_what_all_of_them_took() -> None:
    learner = CostLearner()
    learner.learn_requests(10, core_seconds=1.0)
    assert learner.cost().per_request == Cost().per_request
    for _ in range(500):
        learner.learn_requests(100, core_seconds=0.02)
    learner.learn_requests(0, core_seconds=5.0)
    assert learner.cost().per_request == pytest.approx(0.0002, rel=0.2)


def test_thumbnails_have_a_price_of_their_own() -> None:
    learner, rng = learned(work(7, 400)), random.Random(2)
    before = learner.cost()
    for _ in range(300):
        assert learner.learn_thumbnail(report(parts=0, chunks=13, size=9_000, cpu_us=round(25_000 * max(0.2, rng.gauss(1, 0.2)))))
    assert learner.cost() == replace(before, per_thumbnail=learner.cost().per_thumbnail)
    assert learner.cost().per_thumbnail == pytest.approx(0.025, rel=0.1)
    assert not learner.learn_thumbnail(report(cpu_us=0))


def test_the_errors_of_what_is_given_out_are_told_beside_it() -> None:
    cost = learned(work(8, 500)).cost()
    assert cost.report_count == 500
    assert 0.0 < cost.error < cost.prior_error


@pytest.mark.parametrize(("requests", "core_seconds"), [(-1, 1.0), (1, -1.0), (1, float("nan")), (1, float("inf"))])
def test_impossible_request_costs_are_refused(requests: int, core_seconds: float) -> None:
    with pytest.raises(ValueError, match="requests took"):
        CostLearner().learn_requests(requests, core_seconds=core_seconds)


def test_relearning_equals_learning() -> None:
    learner = learned(work(5, 100))
    learner.relearn(work(6, 200))
    assert (learner.cost(), learner.error()) == (learned(work(6, 200)).cost(), learned(work(6, 200)).error())

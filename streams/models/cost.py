"""What packaging costs in core-seconds per segment, part, chunk and byte, learned from the packagers' reports."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields, replace
from typing import cast

from river.optim import SGD

from schemas.records import Cost, Outcome, SegmentReport

REPORTS_MIN = 50
"""Fewer reports are no evidence: the prior stands."""
RATE = 0.1
"""Share of an error that one report corrects."""
ERROR_RATE = 1 / 200
MISS_MAX = 2.0
"""A miss beyond so many mean misses counts as that much: a busy machine makes single segments dear."""
REQUEST_RATE = 1 / 100
MICRO = 1e-6
Multipliers = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CostError:
    """
    Mean relative error of the cost of a segment so far, of what was learned and of the prior; scored before learning.

    Attributes:
        count: Reports learned.
        learned: |predicted - real| / what the prior says, with forgetting.
        prior: The same of the prior alone.
    """

    count: int
    learned: float
    prior: float


class CostLearner:
    """
    Learns by how much each part of the prior cost is too small or too large.

    Every report is a price list with one total: counts of segments, parts, chunks and bytes, and the CPU time they took together. The
    counts rise and fall together, so their prices are told apart only slowly; where the reports cannot tell, the ratio of the prior
    stays. Prices are >= 0.

    Source:
        Projected, normalised least mean squares with bounded errors; the step is River's SGD.

    >>> learner = CostLearner()
    >>> learner.cost() == Cost()
    True
    """

    def __init__(self, prior: Cost | None = None) -> None:
        self.prior = prior or Cost()
        self._names = tuple(f.name for f in fields(Cost) if f.name != "per_request")
        self._step = SGD(RATE)
        self._begin()

    def _begin(self) -> None:
        self._multipliers: Multipliers = dict.fromkeys(self._names, 1.0)
        self._error = CostError(count=0, learned=0.0, prior=0.0)
        self._requests = 0
        self._per_request = self.prior.per_request

    def learn(self, report: SegmentReport) -> bool:
        """
        One more segment; only published ones with a measured CPU time count.

        Returns:
            Whether it was learned.
        """
        counts = {"per_segment": 1, "per_part": report.part_count, "per_chunk": report.chunk_count, "per_byte": report.size}
        if report.outcome is not Outcome.PUBLISHED or not report.cpu_us:
            return False
        prices = {name: getattr(self.prior, name) * counts[name] for name in self._names}
        expected = sum(prices.values())
        if not expected:
            return False
        self._learn({name: price / expected for name, price in prices.items()}, report.cpu_us * MICRO / expected)
        return True

    def _learn(self, shares: Multipliers, ratio: float) -> None:
        """Shares of the prior cost (summing to 1) turned out as ``ratio`` times the prior cost in all."""
        error = sum(self._multipliers[name] * share for name, share in shares.items()) - ratio
        so_far = self._error
        bound = MISS_MAX * so_far.learned if so_far.count >= REPORTS_MIN else abs(error)
        bounded = max(-bound, min(bound, error))
        size = sum(share * share for share in shares.values())
        gradient: dict[Hashable, float] = {name: bounded * share / size for name, share in shares.items()}
        before: dict[Hashable, float] = {name: self._multipliers[name] for name in self._names}
        moved = cast(Multipliers, self._step.step(before, gradient))
        self._multipliers = {name: max(0.0, multiplier) for name, multiplier in moved.items()}
        rate = max(ERROR_RATE, 1 / (so_far.count + 1))
        self._error = CostError(
            count=so_far.count + 1,
            learned=so_far.learned + rate * (abs(error) - so_far.learned),
            prior=so_far.prior + rate * (abs(1.0 - ratio) - so_far.prior),
        )

    def learn_requests(self, requests: int, *, core_seconds: float) -> None:
        """
        What an origin spent on requests.

        Raises:
            ValueError: A number is negative or not finite.
        """
        if requests < 0 or not 0.0 <= core_seconds < float("inf"):
            raise ValueError(f"{requests} requests took {core_seconds} core-seconds")
        if requests:
            self._requests += requests
            share = max(REQUEST_RATE, min(1.0, requests / self._requests))
            self._per_request += share * (core_seconds / requests - self._per_request)

    def cost(self) -> Cost:
        """The learned cost; the prior while there is too little evidence or the prior has been closer."""
        cost = self.prior
        if self._error.count >= REPORTS_MIN and self._error.learned < self._error.prior:
            cost = replace(cost, **{name: getattr(cost, name) * multiplier for name, multiplier in self._multipliers.items()})
        return replace(cost, per_request=self._per_request) if self._requests >= REPORTS_MIN else cost

    def error(self) -> CostError:
        """How well segments were priced so far."""
        return self._error

    def relearn(self, reports: Iterable[SegmentReport]) -> None:
        """Forget everything (requests too), then learn these in order: the state is as if it had learned nothing else."""
        self._begin()
        for report in reports:
            self.learn(report)

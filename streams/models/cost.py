"""What packaging costs in core-seconds per segment, part, chunk, byte, thumbnail and request, learned from reports and demand."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
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
THUMBNAIL_RATE = 1 / 50
REQUEST_RATE = 1 / 600
"""Of what is remembered of an origin's seconds: ten minutes."""
REQUEST_DOUBT = 0.1
"""Spread of the requests per second, in their mean, below which a second's CPU time says little about the price of one more."""
SECONDS_MIN = 30
"""Fewer seconds with requests are no evidence."""
MICRO = 1e-6
Multipliers = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CostError:
    """
    Mean relative error of a price so far, of what was learned and of the prior; scored before learning.

    Attributes:
        count: What was learned from.
        learned: |predicted - real| / what the prior says, with forgetting.
        prior: The same of the prior alone.
    """

    count: int = 0
    learned: float = 0.0
    prior: float = 0.0

    def scored(self, *, learned: float, prior: float) -> "CostError":
        """One more pair of errors."""
        rate = max(ERROR_RATE, 1 / (self.count + 1))
        return CostError(
            count=self.count + 1, learned=self.learned + rate * (learned - self.learned), prior=self.prior + rate * (prior - self.prior)
        )


class RequestPrice:
    """
    What one more request costs an origin: the slope of its CPU time over its requests, second by second.

    Not the quotient: an origin also works for nobody, and serves other pools. While the requests hardly vary, the prior stands.

    >>> price = RequestPrice(0.0005)
    >>> for second in range(200): price.learn(second % 40, core_seconds=0.1 + 0.002 * (second % 40))
    >>> round(price.per_request, 4)
    0.002
    """

    def __init__(self, prior: float) -> None:
        self.prior = prior
        self.error = CostError()
        self._requests = 0.0
        self._cpu_s = 0.0
        self._spread = 0.0
        self._slope = 0.0

    @property
    def per_request(self) -> float:
        """Core-seconds, >= 0: the slope, or the prior where seconds hardly differ; never more than all CPU time by all requests."""
        if self.error.count < SECONDS_MIN or not self._requests:
            return self.prior
        doubt = (REQUEST_DOUBT * self._requests) ** 2
        slope = (self._slope + doubt * self.prior) / (self._spread + doubt)
        return max(0.0, min(slope, self._cpu_s / self._requests))

    def learn(self, requests: int, *, core_seconds: float) -> None:
        """
        One second of an origin.

        Raises:
            ValueError: A number is negative or not finite.
        """
        if requests < 0 or not 0.0 <= core_seconds < float("inf"):
            raise ValueError(f"{requests} requests took {core_seconds} core-seconds")
        off, before = requests - self._requests, self.error
        expected = self._cpu_s + self.per_request * off if before.count else core_seconds
        miss = core_seconds - expected
        usual = self._cpu_s or core_seconds or 1.0
        self.error = before.scored(learned=abs(miss) / usual, prior=abs(core_seconds - self._cpu_s - self.prior * off) / usual)
        bound = MISS_MAX * before.learned * usual if before.count >= SECONDS_MIN else abs(miss)
        cpu_off = expected + max(-bound, min(bound, miss)) - self._cpu_s
        rate = max(REQUEST_RATE, 1 / self.error.count)
        self._requests += rate * off
        self._cpu_s += rate * cpu_off
        if before.count >= SECONDS_MIN:  # before that nobody knows which second is usual
            self._spread = (1 - rate) * (self._spread + rate * off * off)
            self._slope = (1 - rate) * (self._slope + rate * off * cpu_off)


class CostLearner:
    """
    Learns by how much each part of the prior cost is too small or too large, and what thumbnails and requests cost.

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
        self._names = ("per_segment", "per_part", "per_chunk", "per_byte")
        self._step = SGD(RATE)
        self._begin()

    def _begin(self) -> None:
        self._multipliers: Multipliers = dict.fromkeys(self._names, 1.0)
        self._error = CostError()
        self._thumbnails = CostError()
        self._per_thumbnail = self.prior.per_thumbnail
        self._requests = RequestPrice(self.prior.per_request)

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
        self._error = so_far.scored(learned=abs(error), prior=abs(1.0 - ratio))

    def learn_thumbnail(self, report: SegmentReport) -> bool:
        """
        One more thumbnail, which has a price of its own: a picture is decoded and encoded.

        Returns:
            Whether it was learned.
        """
        if report.outcome is not Outcome.PUBLISHED or not report.cpu_us:
            return False
        miss = report.cpu_us * MICRO - self._per_thumbnail
        prior = self.prior.per_thumbnail
        before = self._thumbnails
        self._thumbnails = before.scored(learned=abs(miss) / prior, prior=abs(report.cpu_us * MICRO - prior) / prior)
        bound = MISS_MAX * before.learned * prior if before.count >= REPORTS_MIN else abs(miss)
        self._per_thumbnail += max(THUMBNAIL_RATE, 1 / self._thumbnails.count) * max(-bound, min(bound, miss))
        return True

    def learn_requests(self, requests: int, *, core_seconds: float) -> None:
        """
        What an origin spent in a second on these requests, and on all else.

        Raises:
            ValueError: A number is negative or not finite.
        """
        self._requests.learn(requests, core_seconds=core_seconds)

    def cost(self) -> Cost:
        """The learned cost with its errors; of each price the prior while there is too little evidence or the prior has been closer."""
        error, pictures, requests = self._error, self._thumbnails, self._requests
        cost = replace(
            self.prior,
            report_count=error.count,
            error=error.learned,
            prior_error=error.prior,
            request_error=requests.error.learned,
        )
        if _is_better(error):
            cost = replace(cost, **{name: getattr(cost, name) * multiplier for name, multiplier in self._multipliers.items()})
        if _is_better(pictures):
            cost = replace(cost, per_thumbnail=self._per_thumbnail)
        return replace(cost, per_request=requests.per_request)

    @property
    def has_evidence(self) -> bool:
        """Whether anything was learned yet."""
        return self._error.count + self._thumbnails.count + self._requests.error.count > 0

    def error(self) -> CostError:
        """How well segments were priced so far."""
        return self._error

    def relearn(self, reports: Iterable[SegmentReport]) -> None:
        """Forget everything (requests too), then learn these in order: the state is as if it had learned nothing else."""
        self._begin()
        for report in reports:
            self.learn(report)


def _is_better(error: CostError) -> bool:
    return error.count >= REPORTS_MIN and error.learned < error.prior

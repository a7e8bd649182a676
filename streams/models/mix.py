"""One opinion out of many: experts weighted by their recent errors, and the last value where the mix has not earned its keep."""

import math
from collections.abc import Sequence

LOSS_RATE = 1 / 100
"""Of the running mean absolute error; about a hundred origins of memory."""
SHARPNESS = 8
"""Weight = error to the power of minus this: near-equals are averaged, a fifth worse counts a quarter."""
GUARD_RATE = 1 / 60
"""Of the errors by which the mix as a whole is judged: quicker than the weights, so that it gives way first."""
TOLERANCE = 1.1
"""How much worse than the last value the mix may lately have been; overlapping long horizons err together by chance."""
SCORES_MIN = 10
"""Truths that must have arrived before anybody but the last value is heard."""


class RunningError:
    """
    Mean absolute error with forgetting; a plain mean at first.

    >>> error = RunningError(0.5)
    >>> for miss in (4.0, 2.0, 0.0): error.add(miss)
    >>> error.mean, error.count
    (1.5, 3)
    """

    __slots__ = ("count", "mean", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.mean = 0.0
        self.count = 0

    def add(self, miss: float) -> None:
        """One more absolute error."""
        self.count += 1
        self.mean += max(self.rate, 1 / self.count) * (miss - self.mean)


class Mix:
    """
    Weighted mean of experts for one horizon; the first expert must be the last value.

    Never worse than the last value for long: its share grows as it does better, and while the mix has lately been worse, the last
    value is given out and the mix goes on being judged unseen.

    >>> mix = Mix(2)
    >>> mix.combine((5.0, 9.0))
    5.0
    """

    def __init__(self, experts_count: int) -> None:
        self._errors = [math.inf] * experts_count
        self._mixed = RunningError(GUARD_RATE)
        self._last_value = RunningError(GUARD_RATE)

    def weights(self, opinions: Sequence[float]) -> list[float]:
        """Share of each expert, summing to 1; all on the last value while too little has arrived."""
        heard = [math.inf if opinion != opinion else error for error, opinion in zip(self._errors, opinions, strict=True)]  # noqa: PLR0124
        best = min(heard)
        if self._mixed.count < SCORES_MIN or best == math.inf:
            return [1.0] + [0.0] * (len(heard) - 1)
        raw = [1.0 if error == best else (best / error) ** SHARPNESS for error in heard]
        total = sum(raw)
        return [weight / total for weight in raw]

    def combine(self, opinions: Sequence[float]) -> float:
        """Weighted mean of the opinions that are heard."""
        return sum([weight * opinion for weight, opinion in zip(self.weights(opinions), opinions, strict=True) if weight])

    @property
    def has_earned_trust(self) -> bool:
        """Whether the mix has lately been about as good as the last value or better."""
        return self._mixed.mean <= TOLERANCE * self._last_value.mean

    def learn(self, opinions: Sequence[float], mixed: float, truth: float) -> None:
        """The truth for earlier opinions has arrived."""
        self._mixed.add(abs(mixed - truth))
        self._last_value.add(abs(opinions[0] - truth))
        rate = max(LOSS_RATE, 1 / self._mixed.count)
        for i, opinion in enumerate(opinions):
            if opinion == opinion:  # noqa: PLR0124 -- NaN is no opinion
                miss = abs(opinion - truth)
                error = self._errors[i]
                self._errors[i] = miss if error == math.inf else error + rate * (miss - error)

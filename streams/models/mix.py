"""One opinion out of many: experts weighted by their recent errors, and the last value where the mix has not earned its keep."""

import math
from collections.abc import Sequence

LOSS_RATE = 1 / 100
"""Of the running mean absolute error; about a hundred origins of memory."""
SHARPNESS = 8
"""Weight = error to the power of minus this: near-equals are averaged, a fifth worse counts a quarter."""
GUARD_RATE = 1 / 100
"""Of the errors by which the mix as a whole is judged."""
TOLERANCE = 1.15
"""How much worse than the last value the mix may lately have been; overlapping long horizons err together by chance."""
SCORES_MIN = 10
"""Truths that must have arrived before anybody but the last value is heard."""


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
        self._mixed = 0.0
        self._last_value = 0.0
        self._count = 0

    def weights(self, opinions: Sequence[float]) -> list[float]:
        """Share of each expert, summing to 1; all on the last value while too little has arrived."""
        heard = [math.inf if math.isnan(opinion) else error for error, opinion in zip(self._errors, opinions, strict=True)]
        best = min(heard)
        if self._count < SCORES_MIN or best == math.inf:
            return [1.0] + [0.0] * (len(heard) - 1)
        if best == 0.0:  # of the faultless, the first alone: at silence the last value, which is the quickest to see its end
            first = heard.index(best)
            return [float(i == first) for i in range(len(heard))]
        raw = [(best / error) ** SHARPNESS for error in heard]
        total = sum(raw)
        return [weight / total for weight in raw]

    def combine(self, opinions: Sequence[float]) -> float:
        """Weighted mean of the opinions that are heard."""
        return sum([weight * opinion for weight, opinion in zip(self.weights(opinions), opinions, strict=True) if weight])

    @property
    def has_earned_trust(self) -> bool:
        """Whether the mix has lately been about as good as the last value or better."""
        return self._mixed <= TOLERANCE * self._last_value

    def learn(self, opinions: Sequence[float], mixed: float, truth: float) -> None:
        """The truth for earlier opinions has arrived."""
        self._count += 1
        rate = max(GUARD_RATE, 1 / self._count)
        misses = [abs(opinion - truth) for opinion in opinions]
        self._mixed += rate * (abs(mixed - truth) - self._mixed)
        self._last_value += rate * (misses[0] - self._last_value)
        rate = max(LOSS_RATE, 1 / self._count)
        self._errors = [
            error if math.isnan(miss) else miss if error == math.inf else error + rate * (miss - error)
            for error, miss in zip(self._errors, misses, strict=True)
        ]

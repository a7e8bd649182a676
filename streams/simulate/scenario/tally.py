"""Values with weights, counted as they come: quantiles without keeping each."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray


class Tally:
    """
    Times in milliseconds, rounded to whole ones.

    >>> tally = Tally()
    >>> tally.add(10.2, 98); tally.add(500.0, 2)
    >>> tally.quantile(0.5), tally.quantile(0.99), tally.total, tally.above(100)
    (10, 500, 100.0, 2)
    """

    def __init__(self) -> None:
        self.weights: Counter[int] = Counter()
        self.total = 0.0

    def add(self, value_ms: float, weight: float = 1) -> None:
        """One value, so many times."""
        if weight > 0:
            self.weights[round(value_ms)] += weight  # type: ignore[assignment]  # weights may be fractions
            self.total += weight

    def add_all(self, values_ms: NDArray[np.float64], weight: float = 1) -> None:
        """Many values, each so many times."""
        values, counts = np.unique(np.rint(values_ms), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.add(value, count * weight)

    def merge(self, other: "Tally") -> None:
        """All values of another."""
        for value, weight in other.weights.items():
            self.add(value, weight)

    def quantile(self, share: float) -> int:
        """The value that this share of all does not pass; 0 when there is none."""
        left = share * self.total
        value = 0
        for value in sorted(self.weights):
            left -= self.weights[value]
            if left <= 1e-9:
                return value
        return value

    def above(self, bound_ms: float) -> float:
        """Weight of those above a bound."""
        return sum(weight for value, weight in self.weights.items() if value > bound_ms)

    @property
    def mean(self) -> float:
        """Their mean; 0 when there is none."""
        return sum(value * weight for value, weight in self.weights.items()) / self.total if self.total else 0.0

    @property
    def most(self) -> int:
        """The largest; 0 when there is none."""
        return max(self.weights, default=0)

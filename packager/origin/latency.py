"""How long a part took from its last chunk being durable to being listed: a bounded sample since the start."""

import random
from collections.abc import Iterable

SAMPLE_MAX = 20_000


class Latency:
    """Keeps a uniform sample of bounded size (reservoir sampling, algorithm R)."""

    def __init__(self, rng: random.Random, *, sample_max: int = SAMPLE_MAX) -> None:
        """
        Args:
            rng: Source of randomness.
            sample_max: Values kept.
        """
        self._rng = rng
        self._sample_max = sample_max
        self._sample: list[int] = []
        self.count = 0

    def add(self, values_ms: Iterable[int]) -> None:
        """Takes values into account."""
        for value in values_ms:
            self.count += 1
            if len(self._sample) < self._sample_max:
                self._sample.append(value)
            elif (place := self._rng.randrange(self.count)) < self._sample_max:
                self._sample[place] = value

    def summary(self) -> dict[str, int | None]:
        """
        Quantiles in milliseconds and the number of values.

        >>> latency = Latency(random.Random(1))
        >>> latency.add([4, 8, 6])
        >>> latency.summary()
        {'count': 3, 'p50_ms': 6, 'p90_ms': 6, 'p99_ms': 6, 'max_ms': 8}
        """
        ordered = sorted(self._sample)

        def at(percent: int) -> int | None:
            return ordered[(len(ordered) - 1) * percent // 100] if ordered else None

        return {"count": self.count, "p50_ms": at(50), "p90_ms": at(90), "p99_ms": at(99), "max_ms": at(100)}

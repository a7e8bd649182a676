"""The price of a pool's capacity: what makes segments longer, where that matters least, until the load fits."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, log2

from streams.core.length import Terms

# Prices are powers of the square root of two: a load that trembles changes none.
STEPS_PER_DOUBLING = 2
# The price falls when the load would fit so much of the room at the lower one.
SLACK = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """
    A channel whose segments may be lengthened.

    Attributes:
        terms: What its balance is made of.
        gop_s: Length of its GOP.
        least: GOPs of its length at the price of 1.
        most: GOPs of its longest segment.
    """

    terms: Terms
    gop_s: float
    least: int
    most: int

    def steps(self) -> Iterator[tuple[float, float]]:
        """Prices from which on it has one GOP more per segment, rising, and the cores that each saves."""
        for count in range(self.least, self.most):
            at = self.terms.price_beyond(count * self.gop_s, (count + 1) * self.gop_s)
            yield at, self.terms.packaging / self.gop_s * (1 / count - 1 / (count + 1))


def settle_price(before: float, lines: Iterable[Line], *, load: float, room: float) -> float:
    """
    The smallest price at which the load fits, kept while it is neither too small nor needlessly large.

    Where nothing more can be lengthened the price rises no further, though the load does not fit.

    Args:
        before: Price in force.
        lines: Channels whose segments could be longer.
        load: Cores of all channels at the price of 1.
        room: Cores that are to be used at most.

    Returns:
        A price >= 1.

    >>> joining = Line(terms=Terms(packaging=0.004, serving=0.002, waiting=0.004), gop_s=1.0, least=1, most=4)
    >>> settle_price(1.0, [joining], load=1.0, room=1.2), settle_price(1.0, [joining], load=1.0, room=0.9985)
    (1.0, 2.0)
    """
    if load <= SLACK * room:
        return 1.0
    steps = sorted(step for line in lines for step in line.steps())
    prices = [at for at, _ in steps]
    saved = list(accumulate(cores for _, cores in steps))
    fits, relaxes = (_rounded(_price(prices, saved, excess)) for excess in (load - room, load - SLACK * room))
    return min(max(before, fits), relaxes)


def _price(prices: Sequence[float], saved: Sequence[float], excess: float) -> float:
    """Price at which so many cores are saved; the last at which any are, if those are too few."""
    if excess <= 0 or not prices:
        return 1.0
    return prices[min(bisect_left(saved, excess), len(prices) - 1)]


def _rounded(price: float) -> float:
    """
    The next price of the ladder.

    >>> [round(_rounded(price), 3) for price in (0.2, 1.0, 1.1, 2.0, 2.1)]
    [1.0, 1.0, 1.414, 2.0, 2.828]
    """
    steps = ceil(STEPS_PER_DOUBLING * log2(max(1.0, price)) - 1e-9)
    return float(2.0 ** (steps / STEPS_PER_DOUBLING))

"""Made audiences: each a list of values from a seed."""

import math
import random
from collections.abc import Callable

Make = Callable[[int, int], list[float]]


def steady(seed: int, count: int) -> list[float]:
    """A flat audience with the noise of a count."""
    rng = random.Random(seed)
    return [float(max(0, round(rng.gauss(400, 20)))) for _ in range(count)]


def wander(seed: int, count: int) -> list[float]:
    """A random walk that cannot be foreseen."""
    rng, value, values = random.Random(seed), 1_000.0, []
    for _ in range(count):
        value = max(0.0, value + rng.gauss(0, 12))
        values.append(float(round(value)))
    return values


def waves(seed: int, count: int) -> list[float]:
    """A slow wave with noise."""
    rng = random.Random(seed)
    return [max(0.0, 500 + 300 * math.sin(step / 40) + rng.gauss(0, 10)) for step in range(count)]


def bursts(seed: int, count: int) -> list[float]:
    """Rare, heavy-tailed bursts over little."""
    rng = random.Random(seed)
    return [float(round(rng.paretovariate(1.2))) if rng.random() < 0.1 else 0.0 for _ in range(count)]


def betrayal(seed: int, count: int) -> list[float]:
    """A ramp that every trend learns, then a walk around its top, again and again."""
    rng, values, value = random.Random(seed), [], 0.0
    for step in range(count):
        value = 0.0 if step % 400 == 0 else value + (5.0 if step % 400 < 200 else rng.choice((-25.0, 25.0)))
        values.append(max(0.0, value))
    return values


def flips(seed: int, count: int) -> list[float]:
    """A zigzag that turns to its opposite now and then, against whatever was learned."""
    rng, values, sign = random.Random(seed), [], 1
    for step in range(count):
        sign = -sign if rng.random() > 0.01 else sign
        values.append(1_000.0 + 100 * sign * (1 if (step // 300) % 2 else rng.random()))
    return values


def nothing(_seed: int, count: int) -> list[float]:
    """Nobody, ever."""
    return [0.0] * count


def cliff(_seed: int, count: int) -> list[float]:
    """Nobody, then a million at once, then nobody."""
    return [1e6 if count // 3 <= step < 2 * count // 3 else 0.0 for step in range(count)]


ALL: tuple[Make, ...] = (steady, wander, waves, bursts, betrayal, flips, nothing, cliff)

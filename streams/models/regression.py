"""
The experts that learn: regressions of the change to each horizon on lagged changes, all in square roots.

What makes a regression safe on real demand is scale: features and target are divided by the running mean change, clipped,
and large errors count as medium ones. Without it, linear models diverge on most recorded audiences.
"""

from typing import ClassVar, cast

import numpy as np
from river.optim import SGD
from river.optim.losses import Huber

from streams.models.history import History, Origin
from streams.models.rows import Rows, SideBySide, Vector

CHANGE_MAX = 50.0
"""Largest change to a horizon that is learned or forecast, in mean changes per step."""
RATE = 0.005
SHRINKAGE = 1e-4


def target(origin: Origin, truth: Vector) -> Vector:
    """Change of the root from an origin to the truth, in mean changes, bounded."""
    change = (np.sqrt(truth) - origin.root) / origin.scale
    bounded: Vector = np.minimum(np.maximum(change, -CHANGE_MAX), CHANGE_MAX)
    return bounded


def value_after(origin: Origin, change: Vector) -> Vector:
    """The value that a change of the root, in mean changes, leads to; the inverse of ``target``."""
    root = origin.root + origin.scale * np.minimum(np.maximum(change, -CHANGE_MAX), CHANGE_MAX)
    value: Vector = np.maximum(root, 0.0) ** 2
    return value


class LinearExpert(SideBySide):
    """Linear regression by River's gradient steps on River's Huber loss: slow to learn, hard to upset."""

    names = ("linear",)
    needs_origin = True
    fresh: ClassVar = {"_weights": (1, 0.0)}
    lent: ClassVar = ("_weights",)

    def __init__(self, horizons_steps: tuple[int, ...], *, rows: int, kinds_count: int, size: int) -> None:
        super().__init__(kinds_count)
        self._weights = np.zeros((len(horizons_steps), rows, size + 1))
        self._step = SGD(RATE)
        self._loss = Huber()

    def observe(self, history: History) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, history: History, origin: Origin | None) -> Vector:
        """What each horizon's regression says."""
        if origin is None:
            raise ValueError("a regression needs an origin")
        return value_after(origin, _with_one(self._weights, origin.standard))[:, None]

    def learn(self, which: Rows, origin: Origin, truth: Vector, known: Vector) -> None:
        """One gradient step of each horizon's regression."""
        weights = self._weights[which]
        # River's Huber loss: its gradient is bounded, so no single change upsets the weights.
        slope = self._loss.gradient(target(origin, truth), _with_one(weights, origin.standard)) * known
        gradient = SHRINKAGE * weights * known[..., None]
        gradient[..., -1] = slope
        gradient[..., :-1] += slope[..., None] * origin.standard
        self._weights[which] = cast(Vector, self._step.step(weights, gradient))


def _with_one(weights: Vector, features: Vector) -> Vector:
    """Horizons x series: weights times features, the last weight alone."""
    product: Vector = np.einsum("...f,...f->...", weights[..., :-1], features) + weights[..., -1]
    return product


class RidgeExpert(SideBySide):
    """
    Bayesian linear regression (recursive least squares) that forgets, with bounded errors and a prior that says "no change", or what
    the pool has learned.

    The gain of an origin depends on its features alone, so one covariance serves every horizon: a truth that arrives
    later is multiplied with the gain kept from its origin. That makes many horizons as cheap as one. Two run side by side,
    one that remembers longer and one that is more cautious: two opinions.
    """

    names = ("ridge_slow", "ridge_cautious")
    needs_origin = True
    memory = np.array([0.9995, 0.999])
    """Share of the past kept per origin."""
    prior = np.array([0.003, 0.001])
    """Variance of a coefficient before evidence, in squared mean changes: small, since most changes cannot be foreseen."""
    error_max = np.array([1.0, 1.5])
    """Largest error learned, in mean absolute errors."""
    mean_rate = 0.01
    """Of the mean absolute error."""
    mean_max = 3.0
    """Largest error that the mean learns, in mean absolute errors."""
    fresh: ClassVar = {"_covariance": (1, 0.0), "_weights": (2, 0.0), "_mean_error": (2, 1.0), "_gains": (2, 0.0)}
    lent: ClassVar = ("_weights", "_mean_error")

    def __init__(self, horizons_steps: tuple[int, ...], *, rows: int, kinds_count: int, size: int) -> None:
        super().__init__(kinds_count)
        self._certainty = self.prior[:, None, None] * np.eye(size + 1)
        self._covariance = np.repeat(self._certainty[:, None], rows, axis=1)
        self._weights = np.zeros((len(horizons_steps), 2, rows, size + 1))
        self._mean_error = np.ones((len(horizons_steps), 2, rows))
        self._gains = np.zeros((horizons_steps[-1] + 1, 2, rows, size + 1))

    def begin(self, rows: Rows) -> None:
        """New series in these rows."""
        super().begin(rows)
        self._covariance[:, rows] = self._certainty[:, None]

    def observe(self, history: History) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, history: History, origin: Origin | None) -> Vector:
        """What each horizon's regressions say; keeps the origin's gain until its last horizon has passed."""
        if origin is None:
            raise ValueError("a regression needs an origin")
        self._gains[origin.step % len(self._gains)] = self._gain(origin.features)
        return value_after(origin, np.einsum("hkrf,rf->hkr", self._weights, origin.features))

    def learn(self, which: Rows, origin: Origin, truth: Vector, known: Vector) -> None:
        """The horizons' weights move by the gain of their origin times the bounded error."""
        weights, mean = self._weights[which], self._mean_error[which]
        error = target(origin, truth)[:, None] - np.einsum("hkrf,hrf->hkr", weights, origin.features)
        size = np.abs(error)
        bounded = error * np.minimum(1.0, self.error_max[:, None] * mean / np.maximum(size, 1e-300)) * known[:, None]
        mean += self.mean_rate * known[:, None] * (np.minimum(size, self.mean_max * mean) - mean)
        weights += bounded[..., None] * self._gains[origin.step % len(self._gains)]
        self._weights[which], self._mean_error[which] = weights, mean

    def _gain(self, features: Vector) -> Vector:
        """Kinds of memory x series x features: by how much an error moves each weight; the covariance shrinks accordingly."""
        covariance, memory = self._covariance, self.memory[:, None]
        spread = (covariance @ features[:, :, None])[..., 0]
        weight = memory + np.einsum("krf,rf->kr", spread, features)
        if weight.min() < 0.5:  # rounding has made a covariance indefinite: start it again, keep the weights
            which, row = np.nonzero(weight < 0.5)
            covariance[which, row] = self._certainty[which]
            spread = (covariance @ features[:, :, None])[..., 0]
            weight = memory + np.einsum("krf,rf->kr", spread, features)
        gain: Vector = spread / weight[..., None]
        covariance -= gain[..., :, None] * spread[..., None, :]
        # Forgetting must not grow the uncertainty of what is never excited beyond the prior.
        trace = np.einsum("krff->kr", covariance)
        covariance /= np.maximum(memory, trace / (self.prior[:, None] * features.shape[1]))[..., None, None]
        return gain

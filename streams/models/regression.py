"""
The experts that learn: regressions of the change to each horizon on lagged changes, all in square roots.

What makes a regression safe on real demand is scale: features and target are divided by the running mean change, clipped,
and large errors count as medium ones. Without it, linear models diverge on most recorded audiences.
"""

import math
from collections.abc import Sequence

import numpy as np
from river.linear_model import LinearRegression
from river.optim import SGD
from river.optim.losses import Huber

from streams.models.history import Origin, Vector

CHANGE_MAX = 50.0
"""Largest change to a horizon that is learned or forecast, in mean changes per step."""
RATE = 0.005
ERROR_MIN = 1e-12
WARM_ORIGINS = 30
"""Origins before a regression has an opinion."""


def target(origin: Origin, truth: float) -> float:
    """Change of the root from an origin to the truth, in mean changes, bounded."""
    return max(-CHANGE_MAX, min(CHANGE_MAX, (math.sqrt(truth) - origin.root) / origin.scale))


def value_after(origin: Origin, change: float) -> float:
    """The value that a change of the root, in mean changes, leads to; the inverse of ``target``."""
    return max(0.0, origin.root + origin.scale * max(-CHANGE_MAX, min(CHANGE_MAX, change))) ** 2


class LinearExpert:
    """River's linear regression with Huber loss and clipped gradients, one per horizon: slow to learn, hard to upset."""

    names = ("linear",)

    def __init__(self, horizons_steps: tuple[int, ...]) -> None:
        self._models = [
            LinearRegression(optimizer=SGD(RATE), intercept_lr=RATE, l2=1e-4, loss=Huber(), clip_gradient=1.0) for _ in horizons_steps
        ]
        self._learned = [0] * len(horizons_steps)

    def observe(self, value: float) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """What each horizon's regression says."""
        return [
            [
                value_after(origin, model.predict_one(origin.standard)) if learned >= WARM_ORIGINS else math.nan
                for model, learned in zip(self._models, self._learned, strict=True)
            ]
        ]

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """One gradient step of the horizon's regression."""
        self._models[index].learn_one(origin.standard, target(origin, truth))
        self._learned[index] += 1


class RidgeExpert:
    """
    Bayesian linear regression (recursive least squares) that forgets, with bounded errors and a prior that says "no change".

    The gain of an origin depends on its features alone, so one covariance serves every horizon: a truth that arrives
    later is multiplied with the gain kept from its origin. That makes many horizons as cheap as one. Two run side by side,
    one that remembers longer and one that is more cautious: two opinions.
    """

    names = ("ridge_slow", "ridge_cautious")
    memory = np.array([0.9995, 0.999])
    """Share of the past kept per origin."""
    prior = np.array([0.003, 0.001])
    """Variance of a coefficient before evidence, in squared mean changes: small, since most changes cannot be foreseen."""
    error_max = np.array([1.0, 1.5])
    """Largest error learned, in mean absolute errors."""

    def __init__(self, horizons_steps: tuple[int, ...]) -> None:
        self._size = len(horizons_steps)
        self._covariance: Vector = np.zeros((2, 0, 0))
        self._weights: list[Vector] = []
        self._mean_error = [np.ones(2) for _ in horizons_steps]
        self._learned = [0] * self._size
        self._gains: dict[int, Vector] = {}

    def observe(self, value: float) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """What each horizon's regressions say; keeps the origin's gain until its last horizon has passed."""
        features = origin.features
        if not self._weights:
            self._weights = [np.zeros((2, features.size)) for _ in range(self._size)]
            self._covariance = self.prior[:, None, None] * np.eye(features.size)
        self._gains[origin.step] = self._gain(features)
        changes = [(weights @ features).tolist() for weights in self._weights]
        return [
            [
                value_after(origin, change[which]) if learned >= WARM_ORIGINS else math.nan
                for change, learned in zip(changes, self._learned, strict=True)
            ]
            for which in range(2)
        ]

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """The horizon's weights move by the origin's gain times the bounded error."""
        gain = self._gains[origin.step] if index < self._size - 1 else self._gains.pop(origin.step)
        error = target(origin, truth) - self._weights[index] @ origin.features
        mean = self._mean_error[index]
        size = np.abs(error)
        bounded = error * np.minimum(1.0, self.error_max * mean / np.maximum(size, ERROR_MIN))
        mean += 0.01 * (np.minimum(size, 3.0 * mean) - mean)
        self._weights[index] += gain * bounded[:, None]
        self._learned[index] += 1

    def _gain(self, features: Vector) -> Vector:
        spread = self._covariance @ features
        weight = self.memory + spread @ features
        if weight.min() < 0.5:  # rounding has made a covariance indefinite: start it again, keep the weights
            self._covariance = self.prior[:, None, None] * np.eye(features.size)
            spread = self._covariance @ features
            weight = self.memory + spread @ features
        gain: Vector = spread / weight[:, None]
        covariance = self._covariance
        covariance -= gain[:, :, None] * spread[:, None, :]
        # Forgetting must not grow the uncertainty of what is never excited beyond the prior.
        trace = covariance.reshape(2, -1)[:, :: features.size + 1].sum(axis=1)
        covariance /= np.maximum(self.memory, trace / (self.prior * features.size))[:, None, None]
        return gain


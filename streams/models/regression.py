"""
The experts that learn: regressions of the change to each horizon on lagged changes, all in square roots.

What makes a regression safe on real demand is scale: features and target are divided by the running mean change, clipped,
and large errors count as medium ones. Without it, linear models diverge on most recorded audiences.
"""

import math
from collections.abc import Sequence
from operator import mul

import numpy as np
from numpy.typing import NDArray
from river.linear_model import LinearRegression
from river.optim import SGD
from river.optim.losses import Huber

from streams.models.history import Origin

Vector = NDArray[np.float64]

CHANGE_MAX = 50.0
"""Largest change to a horizon that is learned or forecast, in mean changes per step."""
RATE = 0.005
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
                value_after(origin, model.predict_one(origin.standard))  # type: ignore[no-untyped-call]  # River is half typed
                if learned >= WARM_ORIGINS
                else math.nan
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
    error_max = (1.0, 1.5)
    """Largest error learned, in mean absolute errors."""

    def __init__(self, horizons_steps: tuple[int, ...]) -> None:
        self._size = len(horizons_steps)
        self._covariance: Vector = np.zeros((2, 0, 0))
        # Weights and gains are short lists: for a dozen numbers they are several times as quick as arrays.
        self._weights: list[list[list[float]]] = []
        self._mean_error = [[1.0, 1.0] for _ in horizons_steps]
        self._learned = [0] * self._size
        self._gains: dict[int, list[list[float]]] = {}

    def observe(self, value: float) -> None:
        """Nothing to remember: the origin has it."""

    def predict(self, origin: Origin) -> Sequence[Sequence[float]]:
        """What each horizon's regressions say; keeps the origin's gain until its last horizon has passed."""
        features = origin.features
        if not self._weights:
            self._weights = [[[0.0] * len(features)] * self._size for _ in self.names]
            self._covariance = self._certainty(len(features))
        self._gains[origin.step] = self._gain(np.array(features)).tolist()
        return [
            [
                value_after(origin, sum(map(mul, weights, features))) if learned >= WARM_ORIGINS else math.nan
                for weights, learned in zip(speed, self._learned, strict=True)
            ]
            for speed in self._weights
        ]

    def learn(self, index: int, origin: Origin, truth: float) -> None:
        """The horizon's weights move by the origin's gain times the bounded error."""
        gains = self._gains[origin.step] if index < self._size - 1 else self._gains.pop(origin.step)
        features, change, means = origin.features, target(origin, truth), self._mean_error[index]
        for which, gain in enumerate(gains):
            weights = self._weights[which][index]
            error = change - sum(map(mul, weights, features))
            mean = means[which]
            bound = self.error_max[which] * mean
            means[which] = mean + 0.01 * (min(abs(error), 3 * mean) - mean)
            error = max(-bound, min(bound, error))
            self._weights[which][index] = [weight + part * error for weight, part in zip(weights, gain, strict=True)]
        self._learned[index] += 1

    def _certainty(self, features_count: int) -> Vector:
        before_evidence: Vector = self.prior[:, None, None] * np.eye(features_count)
        return before_evidence

    def _gain(self, features: Vector) -> Vector:
        spread = self._covariance @ features
        weight = self.memory + spread @ features
        if min(weight.tolist()) < 0.5:  # rounding has made a covariance indefinite: start it again, keep the weights
            self._covariance = self._certainty(features.size)
            spread = self._covariance @ features
            weight = self.memory + spread @ features
        gain: Vector = spread / weight[:, None]
        covariance = self._covariance
        covariance -= gain[:, :, None] * spread[:, None, :]
        # Forgetting must not grow the uncertainty of what is never excited beyond the prior.
        trace = covariance.reshape(2, -1)[:, :: features.size + 1].sum(axis=1)
        covariance /= np.maximum(self.memory, trace / (self.prior * features.size))[:, None, None]
        return gain

"""One opinion out of many: experts weighted by their recent errors, and the last value where the mix has not earned its keep."""

from typing import ClassVar

import numpy as np

from streams.models.rows import Flags, Rows, SideBySide, Vector

LOSS_RATE = 1 / 100
"""Of the running mean absolute error; about a hundred scores of memory."""
SHARPNESS_LOG2 = 3
"""Weight = error to the power of minus 8: near-equals are averaged, a fifth worse counts a quarter."""
SHARP_STEPS_MAX = 5
"""Up to so few steps ahead the power is 16: there a hundred scores hold enough evidence, their spans hardly overlap."""
GUARD_RATE = 1 / 100
"""Of the errors by which the mix as a whole is judged."""
TOLERANCE = 1.15
"""How much worse than the last value the mix may lately have been; overlapping long horizons err together by chance."""
DOUBT = 1.3
"""Error of an expert nobody has seen at work, in those of the last value."""
DOUBT_SCORES = 20.0
"""Scores that weigh as much as what was believed before the first."""
LENT_MIN, LENT_MAX = 0.5, 2.0
"""Bounds of what a pool may let a new channel believe of an expert's error, in those of the last value."""


class Mix(SideBySide):
    """
    Weighted means of experts, per horizon and series; the first expert must be the last value.

    Never worse than the last value for long: its share grows as it does better, and while the mix has lately been worse, the last
    value is given out and the mix goes on being judged unseen.
    """

    fresh: ClassVar = {
        "_errors": (2, 0.0), "_counts": (2, 0.0), "_prior": (2, DOUBT), "_mixed": (1, 0.0), "_last": (1, 0.0), "_judged": (1, 0.0),
    }  # fmt: skip

    def __init__(self, horizons_steps: tuple[int, ...], experts_count: int, *, rows: int, kinds_count: int = 1) -> None:
        super().__init__(kinds_count)
        horizons_count = len(horizons_steps)
        self._sharp_count = sum(steps <= SHARP_STEPS_MAX for steps in horizons_steps)
        shape = (horizons_count, experts_count, rows)
        self._errors, self._counts, self._prior = np.zeros(shape), np.zeros(shape), np.full(shape, DOUBT)
        self._prior[:, 0] = 1.0
        self._mixed, self._last, self._judged = (np.zeros((horizons_count, rows)) for _ in range(3))

    def begin(self, rows: Rows) -> None:
        """New series in these rows."""
        super().begin(rows)
        self._prior[:, 0, rows] = 1.0

    def lend(self, lenders: Rows) -> None:
        """How the experts compare in these rows is what new series believe at first."""
        compared = self._expected()[:, :, lenders]
        yardstick = compared[:, :1]
        ratio = np.divide(compared, yardstick, out=np.ones_like(compared), where=yardstick > 0)
        bounded = np.minimum(np.maximum(ratio, LENT_MIN), LENT_MAX)
        self._common["_prior"] = np.exp(self.mean(np.log(bounded), np.arange(lenders.size), axis=2))

    def _expected(self) -> Vector:
        """Error expected of each expert: what was seen, beside what was believed before."""
        believed = DOUBT_SCORES * self._prior * self._errors[:, :1]
        expected: Vector = (self._counts * self._errors + believed) / (self._counts + DOUBT_SCORES)
        return expected

    def weights(self, opinions: Vector) -> Vector:
        """Horizons x experts x series: shares, summing to 1; whoever has no opinion has none."""
        errors = self._expected()
        errors[np.isnan(opinions)] = np.inf
        best = errors.min(axis=1, keepdims=True)
        faultless = best == 0.0
        with np.errstate(invalid="ignore"):
            raw = best / errors
        for _ in range(SHARPNESS_LOG2):
            raw *= raw
        raw[: self._sharp_count] *= raw[: self._sharp_count]
        if faultless.any():  # of the faultless, the first alone: at silence the last value, which is the quickest to see its end
            alone = np.arange(errors.shape[1])[:, None] == errors.argmin(axis=1)[:, None]
            raw = np.where(faultless, alone, raw)
        weights: Vector = raw / raw.sum(axis=1, keepdims=True)
        return weights

    @property
    def has_earned_trust(self) -> Flags:
        """Horizons x series: whether the mix has lately been about as good as the last value or better."""
        trusted: Flags = self._mixed <= TOLERANCE * self._last
        return trusted

    def learn(self, which: Rows, opinions: Vector, truth: Vector, known: Vector) -> None:
        """The truth for earlier opinions about these horizons has arrived."""
        miss = np.abs(opinions - truth)
        silent = np.isnan(miss)
        scored = known[:, None] * ~silent
        counts = self._counts[which] + scored
        errors = self._errors[which]
        miss[silent] = 0.0
        errors += scored * np.maximum(LOSS_RATE, 1 / np.maximum(1.0, counts)) * (miss - errors)
        self._errors[which], self._counts[which] = errors, counts

    def judge(self, which: Rows, mixed: Vector, last_value: Vector, truth: Vector, known: Vector) -> None:
        """The truth for earlier mixes of these horizons has arrived."""
        judged = self._judged[which] + known
        rate = known * np.maximum(GUARD_RATE, 1 / np.maximum(1.0, judged))
        self._mixed[which] += rate * (np.abs(mixed - truth) - self._mixed[which])
        self._last[which] += rate * (np.abs(last_value - truth) - self._last[which])
        self._judged[which] = judged

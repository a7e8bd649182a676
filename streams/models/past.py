"""What was said and seen at the steps whose truth is to come."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from streams.models.history import Origin
from streams.models.rows import Rows, SideBySide

NEVER = -(10**9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a forecaster and its parts are made for."""

    horizons_steps: tuple[int, ...]
    season_steps: int | None
    features_count: int
    rows: int
    kinds_count: int


class Past(SideBySide):
    """
    Rings as deep as the longest horizon.

    Attributes:
        held: Step whose opinions are held at each place.
        said: Step whose forecast is held at each place; experts are scored more often than forecasts are made.
        opinions: Places x horizons x experts x series.
        mixed: Places x horizons x series: what the mix said, whether it was given out or not.
        p50: What was given out.
        p90: What was given out.
        value: Places x series; as the next four, of the origin.
        root: As in `Origin`.
        scale: As in `Origin`.
        features: As in `Origin`.
        standard: As in `Origin`.
        born: Per series the step of its first value.
    """

    fresh: ClassVar = {
        "opinions": (3, np.nan), "mixed": (2, 0.0), "p50": (2, 0.0), "p90": (2, 0.0),
        "value": (1, 0.0), "root": (1, 0.0), "scale": (1, 1.0), "features": (1, 0.0), "standard": (1, 0.0), "born": (0, 0),
    }  # fmt: skip

    def __init__(self, shape: Shape, experts_count: int) -> None:
        super().__init__(shape.kinds_count)
        self.depth = shape.horizons_steps[-1] + 1
        ahead, rows = len(shape.horizons_steps), shape.rows
        self.held = np.full(self.depth, NEVER)
        self.said = np.full(self.depth, NEVER)
        self.opinions = np.full((self.depth, ahead, experts_count, rows), np.nan)
        self.mixed, self.p50, self.p90 = (np.zeros((self.depth, ahead, rows)) for _ in range(3))
        self.value, self.root, self.scale = (np.ones((self.depth, rows)) for _ in range(3))
        self.features = np.zeros((self.depth, rows, shape.features_count + 1))
        self.standard = np.zeros((self.depth, rows, shape.features_count))
        self.born = np.zeros(rows, np.int64)

    def keep(self, origin: Origin) -> None:
        """Remember what was seen at an origin."""
        at = int(origin.step) % self.depth
        self.value[at], self.root[at], self.scale[at] = origin.value, origin.root, origin.scale
        self.features[at], self.standard[at] = origin.features, origin.standard

    def origins(self, steps: Rows) -> Origin:
        """What was seen at these steps."""
        at = steps % self.depth
        return Origin(steps, self.value[at], self.root[at], self.scale[at], self.features[at], self.standard[at])


class Outlook(SideBySide):
    """What was said last, horizons x series; ``leader``: number of the expert with the largest weight."""

    fresh: ClassVar = {"p50": (1, 0.0), "p90": (1, 0.0), "leader": (1, 0)}

    def __init__(self, kinds_count: int, horizons_count: int, rows: int) -> None:
        super().__init__(kinds_count)
        self.p50, self.p90 = np.zeros((horizons_count, rows)), np.zeros((horizons_count, rows))
        self.leader = np.zeros((horizons_count, rows), np.int64)

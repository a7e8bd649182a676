"""Many series side by side: arrays with one row per series, which comes, goes, and begins with what the others have learned."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Rows = NDArray[np.intp]
Flags = NDArray[np.bool_]


class SideBySide:
    """
    State of many series in arrays; what is computed for one is computed for all at once, each by itself.

    Attributes:
        fresh: Per array the axis that counts the series, and what a new series begins with.
        lent: Arrays of which a new series begins with what the others have come to, if any has.
    """

    fresh: ClassVar[Mapping[str, tuple[int, float]]] = {}
    lent: ClassVar[tuple[str, ...]] = ()

    def __init__(self, kinds_count: int) -> None:
        self._kinds = kinds_count
        self._common: dict[str, Vector] = {}

    def take(self, kept: Rows, more: int = 0) -> None:
        """Keep these rows, in this order, and make room for more, to be begun."""
        for name, (axis, _) in self.fresh.items():
            array = getattr(self, name)
            room = np.zeros((*array.shape[:axis], more, *array.shape[axis + 1 :]), array.dtype)
            setattr(self, name, np.concatenate((np.take(array, kept, axis=axis), room), axis=axis))

    def begin(self, rows: Rows) -> None:
        """New series in these rows."""
        for name, (axis, value) in self.fresh.items():
            array = np.moveaxis(getattr(self, name), axis, 0)  # a view
            common = self._common.get(name)
            array[rows] = value if common is None else np.moveaxis(common, axis, 0)[rows % self._kinds]

    def lend(self, lenders: Rows) -> None:
        """Remember the mean of these rows, each kind of series by itself, for those that come later."""
        for name in self.lent:
            self._common[name] = self.mean(getattr(self, name), lenders, axis=self.fresh[name][0])

    def mean(self, array: Vector, lenders: Rows, *, axis: int) -> Vector:
        """Mean of these rows per kind: the axis of the series becomes one of kinds. Kinds take turns: row modulo their number."""
        means = [np.take(array, lenders[lenders % self._kinds == kind], axis=axis).mean(axis=axis) for kind in range(self._kinds)]
        return np.stack(means, axis=axis)

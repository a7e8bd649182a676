"""Which segments of a channel have parts, as the starts and changes of its level tell."""

from collections.abc import Callable

from schemas.records import Action, Level, Packaging


class Levels:
    """
    The level of each segment.

    A change says from which segment on it holds, so that one that is read after what was made before it changes nothing of that.
    """

    def __init__(self) -> None:
        self._start: int | None = None
        self._said: tuple[int, bool] | None = None
        self._changes: list[tuple[int, bool]] = []
        """First segment, and whether there are parts from it on; in order."""

    def hear(self, word: Packaging, is_reported: Callable[[int], bool]) -> None:
        """
        A start, a change of level of what was started, a stop, or any of them restated; in the order of decisions.

        Args:
            word: It.
            is_reported: Whether all of a segment was reported before it: then it was made at the level of before.
        """
        if word.action is Action.STOP:
            self._start, self._said, self._changes = None, None, []
            return
        has_parts = word.level is Level.PARTS
        from_msn: int = word.parts_from_msn if has_parts else word.parts_until_msn
        before, self._said = self._said, (from_msn, has_parts)
        if word.from_msn != self._start:
            # Of what was before, a change tells that it was otherwise.
            self._start, self._changes = word.from_msn, [(0, has_parts if from_msn == 0 else not has_parts)]
        elif self._said == before:
            return
        else:
            while is_reported(from_msn):
                from_msn += 1
        self._changes = [change for change in self._changes if change[0] < from_msn] + [(from_msn, has_parts)]

    def has_parts(self, msn: int) -> bool:
        """Whether a segment is packaged in parts."""
        return next((has_parts for from_msn, has_parts in reversed(self._changes) if from_msn <= msn), False)

    def trim(self, floor: int) -> None:
        """Forgets what concerns no segment from a number on."""
        while len(self._changes) > 1 and self._changes[1][0] <= floor:
            del self._changes[0]

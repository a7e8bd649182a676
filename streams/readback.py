"""What others wrote where only we should: found by the offsets that were not ours."""

from collections.abc import Mapping, Sequence

from schemas.topics import ASSIGNMENTS, PLANS, SCALING, Topic
from streams.log import Stored

# Compacted: what stands there last is what a new reader is told.
TOLD = (ASSIGNMENTS, PLANS, SCALING)


class Stretch:
    """
    One partition that one process writes at a time, as far as it was looked back at.

    >>> stretch = Stretch(5)
    >>> stretch.wrote(5); stretch.unexplained(end=6), stretch.unexplained(end=7)
    (None, (6, 7))
    """

    def __init__(self, first: int = 0) -> None:
        """
        Args:
            first: The offset from which on to look.
        """
        self._next = first
        self._own: set[int] = set()

    def wrote(self, offset: int) -> None:
        """A record of ours lies there."""
        if offset >= self._next:
            self._own.add(offset)

    def unexplained(self, *, end: int) -> tuple[int, int] | None:
        """First and end of a stretch in which somebody else wrote; None if all until ``end`` is ours."""
        if end - self._next > sum(offset < end for offset in self._own):
            return self._next, end
        self.looked(end)
        return None

    def foreign(self, stored: Sequence[Stored], *, end: int) -> tuple[Stored, ...]:
        """Of each key in an unexplained stretch the newest record, unless it is ours; the stretch is looked at with that."""
        own = self._own
        newest = {record.key: record for record in stored}
        self.looked(end)
        return tuple(newest[key] for key in sorted(newest) if newest[key].offset not in own)

    def looked(self, end: int) -> None:
        """What lies before is known."""
        self._next = max(self._next, end)
        self._own = {offset for offset in self._own if offset >= self._next}


class ReadBack:
    """
    The topics in which a planner tells of its decisions, as far as it has looked back at them.

    A planner that stood still may write what follows from a decision long overtaken. Readers pass it over, as its number is lower
    than one they saw; but compaction keeps the newest by offset, and who begins to read finds nothing else.

    >>> back = ReadBack({topic.title: 5 for topic in TOLD})
    >>> back.wrote(PLANS, 5); back.unexplained(PLANS, end=6), back.unexplained(PLANS, end=7)
    (None, (6, 7))
    """

    def __init__(self, ends: Mapping[str, int]) -> None:
        """
        Args:
            ends: By title of each topic, the offset from which on to look.
        """
        self._stretches = {title: Stretch(end) for title, end in ends.items()}

    def wrote(self, topic: Topic, offset: int) -> None:
        """A record of ours lies there."""
        if topic in TOLD:
            self._stretches[topic.title].wrote(offset)

    def unexplained(self, topic: Topic, *, end: int) -> tuple[int, int] | None:
        """First and end of a stretch in which somebody else wrote; None if all until ``end`` is ours."""
        return self._stretches[topic.title].unexplained(end=end)

    def foreign(self, topic: Topic, stretch: Sequence[Stored], *, end: int) -> tuple[str, ...]:
        """Keys of which the newest record in an unexplained stretch is not ours; the stretch is looked at with that."""
        return tuple(stored.key.decode(errors="replace") for stored in self._stretches[topic.title].foreign(stretch, end=end))

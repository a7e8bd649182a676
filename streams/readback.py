"""What others wrote where a planner's decisions are told: found by the offsets that were not ours."""

from collections.abc import Mapping, Sequence

from schemas.topics import ASSIGNMENTS, PLANS, SCALING, Topic
from streams.log import Stored

# Compacted: what stands there last is what a new reader is told.
TOLD = (ASSIGNMENTS, PLANS, SCALING)


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
        self._next = dict(ends)
        self._own: dict[str, set[int]] = {topic.title: set() for topic in TOLD}

    def wrote(self, topic: Topic, offset: int) -> None:
        """A record of ours lies there."""
        if topic in TOLD and offset >= self._next[topic.title]:
            self._own[topic.title].add(offset)

    def unexplained(self, topic: Topic, *, end: int) -> tuple[int, int] | None:
        """First and end of a stretch in which somebody else wrote; None if all until ``end`` is ours."""
        first, own = self._next[topic.title], self._own[topic.title]
        if end - first > len(own):
            return first, end
        self._looked(topic, end)
        return None

    def foreign(self, topic: Topic, stretch: Sequence[Stored], *, end: int) -> tuple[str, ...]:
        """Keys of which the newest record in an unexplained stretch is not ours; the stretch is looked at with that."""
        own = self._own[topic.title]
        newest = {stored.key.decode(errors="replace"): stored.offset for stored in stretch}
        self._looked(topic, end)
        return tuple(sorted(key for key, offset in newest.items() if offset not in own))

    def _looked(self, topic: Topic, end: int) -> None:
        self._next[topic.title] = end
        self._own[topic.title] = {offset for offset in self._own[topic.title] if offset >= end}

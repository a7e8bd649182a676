"""
The rules by which a packager takes up, continues, changes and drops slices: pure, the same at work and in simulation.

`Inbox` says which assignments concern one life of a packager; `Work` is a slice in hand and says what becomes of it.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from packager.cuts import Told
from packager.scope import Scope
from packager.slicing import SliceCutter
from schemas.errors import RejectedError
from schemas.records import Assignment, SliceProgress
from schemas.topics import life_key
from schemas.units import Msn

# Slices whose newest decision is remembered after they ended, so that a stale planner's record stays unheard.
KEYS_REMEMBERED_MAX = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Assigned:
    """
    A slice is ours, or its assignment changed.

    Attributes:
        key: ``slice/copy``.
        assignment: What to do.
    """

    key: str
    assignment: Assignment


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawn:
    """
    A slice is no longer ours.

    Attributes:
        key: ``slice/copy``.
        from_msn: First segment that somebody else makes; absent if nobody does.
    """

    key: str
    from_msn: Msn | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Died:
    """We were declared dead: what was ours is given away, and nothing is given to this life any more."""


class Inbox:
    """The topic `assignments` as one life of a packager sees it."""

    def __init__(self, packager_id: str, life: str) -> None:
        """
        Args:
            packager_id: Our name.
            life: Our run.
        """
        self._us = packager_id, life
        self._name = life_key(packager_id, life)
        self._ours: set[str] = set()
        self._newest: dict[str, int] = {}

    def fold(self, key: str, record: object, *, decision: int | None = None) -> Assigned | Withdrawn | Died | None:
        """
        What the next record of the topic changes for us; None if nothing, as when it is older than one seen for its key.

        Args:
            key: ``slice/copy``, or ``packager/life``.
            record: The assignment; None ends the slice, or the life.
            decision: What ended it, if a tombstone says so; one that does not is obeyed.

        Raises:
            RejectedError: It is neither: nothing has changed.
        """
        if record is not None and not isinstance(record, Assignment):
            raise RejectedError(f"a {type(record).__name__} under the key {key} is no assignment")
        if record is None and key == self._name:
            return Died()
        number = decision if record is None else record.decision
        if number is not None:
            if number < self._newest.get(key, 0):
                return None
            self._newest.pop(key, None)  # so that the order is that of the newest decision
            self._newest[key] = number
            if len(self._newest) > KEYS_REMEMBERED_MAX:
                del self._newest[next(iter(self._newest))]
        if record is not None and (record.packager_id, record.life) == self._us:
            self._ours.add(key)
            return Assigned(key=key, assignment=record)
        if key not in self._ours:
            return None
        self._ours.discard(key)
        return Withdrawn(key=key, from_msn=record.from_msn if record else None)


class Job(Protocol):
    """Something cut that is not yet reported."""

    @property
    def cut(self) -> Told:
        """What was cut."""


J = TypeVar("J", bound=Job)


@dataclass(slots=True)
class Work(Generic[J]):
    """
    A slice in hand.

    Attributes:
        key: ``slice/copy``.
        assignment: The one obeyed.
        cutter: Cuts it.
        jobs: What is cut and not yet reported, in order; also of the work that this one took the place of.
        is_stopped: Whether nothing more of it is read.
        is_withdrawn: Whether it is another's now: else it stays in the heartbeats when it is over, since they say how far it was.
        waits_for: A period that is not known yet, and the offset to go on from once it is.
        refused_msn: The oldest segment that could not be published; it is made again under another epoch.
    """

    key: str
    assignment: Assignment
    cutter: SliceCutter
    jobs: deque[J] = field(default_factory=deque)
    is_stopped: bool = False
    is_withdrawn: bool = False
    waits_for: tuple[int, int] | None = None
    refused_msn: Msn | None = None

    @property
    def next_msn(self) -> Msn:
        """The first segment not yet reported published, nor lost in the log."""
        refused = [] if self.refused_msn is None else [self.refused_msn]
        return min([self.cutter.next_msn, *refused, *(job.cut.msn for job in self.jobs)])

    @property
    def progress(self) -> SliceProgress:
        """What heartbeats say of it."""
        held = self.assignment
        return SliceProgress(slice_id=held.slice_id, copy=held.copy, epoch=held.epoch, next_msn=self.next_msn)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to do."""
        return not self.jobs and (self.is_stopped or self.cutter.is_done)

    def becomes(self, new: Assignment) -> bool:
        """
        Whether the work goes on under another assignment of its slice; else that is to be begun anew, from its own offset.

        It goes on if it reads the same and nothing wanted was passed over. A new epoch says that something is to be made again, as when
        the store refused it: it has left the cutter, whatever the cutter is at. What is there already is found equal.
        Other work, as at another level, that begins with a segment of which nothing was read yet follows what is in hand: that is
        finished as it was begun.
        """
        held, scope = self.assignment, Scope.of(new)
        if self.is_stopped or (held.channel, held.media_partition) != (new.channel, new.media_partition):
            return False
        if held.epoch == new.epoch and self.cutter.can_become(scope):
            scope = replace(scope, before=self.cutter.scope.before)
        elif self.refused_msn is None and self.cutter.can_precede(scope):
            scope = scope.following(self.cutter.scope, next_msn=self.cutter.next_msn)
        else:
            return False
        self.assignment, self.is_withdrawn = new, False
        self.cutter.scope = scope
        return True

    def withdraw(self, from_msn: Msn | None) -> None:
        """Another holder goes on from a segment, or nobody does: what lies before it is finished here, equal bytes harm nobody."""
        self.is_withdrawn = True
        if from_msn is not None and from_msn > self.cutter.next_msn:
            self._limit(from_msn)
        else:
            self.is_stopped = True

    def refuse(self, assignment: Assignment, msn: Msn) -> None:
        """A segment cut for an assignment could not be published."""
        if assignment.epoch == self.assignment.epoch:
            self.refused_msn = msn if self.refused_msn is None else min(msn, self.refused_msn)

    def finish(self) -> None:
        """Only the open segment is still made, if there is one."""
        if self.cutter.held_bytes:
            self._limit(Msn(self.cutter.next_msn + 1))
        else:
            self.is_stopped = True

    def _limit(self, until_msn: Msn) -> None:
        self.cutter.scope = self.cutter.scope.limited(until_msn)

"""Obeys the wanted number of packagers on one machine: starts those that are missing, drains those too many, kills nobody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from schemas.records import Scaling
from schemas.settings import ScalingSettings

NAME = "packager-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Names of packagers to start and to drain."""

    start: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()


def change(crew: Mapping[str, bool], wanted: int) -> Change:
    """
    What makes the crew as many as wanted: the lowest free numbers start, the highest drain; who drains already counts for nobody.

    Args:
        crew: Whether each packager that lives was told to drain.
        wanted: Packagers that shall work.

    >>> change({"packager-1": False, "packager-2": True}, 3)
    Change(start=('packager-3', 'packager-4'), drain=())
    >>> change({"packager-2": False, "packager-10": False}, 1)
    Change(start=(), drain=('packager-10',))
    """
    working = sorted((name for name, drains in crew.items() if not drains), key=_number)
    missing = wanted - len(working)
    free = (name for number in count(1) if (name := f"{NAME}{number}") not in crew)
    return Change(start=tuple(next(free) for _ in range(missing)), drain=tuple(reversed(working[wanted:])))


class Crew(Protocol):
    """Packagers as processes."""

    def members(self) -> Mapping[str, bool]:
        """Those that live or are to be started again, and whether each was told to drain."""
        ...

    def start_packager(self, name: str) -> object:
        """One more."""
        ...

    def drain_packager(self, name: str) -> None:
        """It finishes what is in hand, hands over and leaves; returns at once."""
        ...


class Scaler:
    """
    Keeps a crew at the number that its pool's planner wants.

    Args:
        crew: The packagers.
        settings: The bounds, obeyed here too: a record may be older than they are.
        pool: Pool of the crew.
        since_unix_ms: When the run began; what was said before was said to others.
        say: Told each event, in a few words.
    """

    def __init__(self, crew: Crew, settings: ScalingSettings, *, pool: int, since_unix_ms: int, say: Callable[[str], None]) -> None:
        self.wanted: int | None = None
        self._crew = crew
        self._settings = settings
        self._pool = pool
        self._since_unix_ms = since_unix_ms
        self._say = say
        self._decision = -1
        self._draining: set[str] = set()

    def hear(self, scaling: Scaling, *, at_unix_ms: int) -> None:
        """Take what was appended at a time; a stale planner's word and that to another pool are passed over."""
        is_ours = scaling.pool == self._pool and at_unix_ms >= self._since_unix_ms
        if is_ours and scaling.decision >= self._decision:
            self._decision = scaling.decision
            self.wanted = max(self._settings.packagers_min, min(self._settings.packagers_max, scaling.wanted))

    def act(self) -> bool:
        """Whether anybody was started, told to drain, or has left: one step towards what is wanted, without waiting for it."""
        crew = self._crew.members()
        left = sorted(self._draining - set(crew), key=_number)
        for name in left:
            self._draining.discard(name)
            self._say(f"{name} has drained and left")
        if self.wanted is None:
            return bool(left)
        told = change(crew, self.wanted)
        for name in told.start:
            self._crew.start_packager(name)
            self._say(f"{name} is started: {self.wanted} wanted")
        for name in told.drain:
            self._crew.drain_packager(name)
            self._draining.add(name)
            self._say(f"{name} drains: {self.wanted} wanted")
        return bool(left or told.start or told.drain)


def _number(name: str) -> int:
    return int(name.removeprefix(NAME))

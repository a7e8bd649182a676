"""
Whether a life of a packager was declared dead, as the topics that it reads tell: by the broker's clock alone, pure.

A process that was paused, or cut off from its broker, is not asked: its work is given away, and a dead life stays dead. It has to notice,
and to come back as another life.
"""

from schemas.settings import GAP_BEATS, LivenessSettings
from schemas.units import UnixMs

# Packagers of a pool whose heartbeats are remembered; beyond it those heard longest ago are forgotten.
NAMES_MAX = 10_000


class Presence:
    """The heartbeats of a pool as one packager hears them, in the order of their log."""

    def __init__(self, packager_id: str, liveness: LivenessSettings) -> None:
        """
        Args:
            packager_id: Our name.
            liveness: When silence is death.
        """
        self._us = packager_id
        self._suspect_ms = liveness.suspect_after_ms
        self._gap_ms = GAP_BEATS * liveness.heartbeat_ms
        self._dead_ms = liveness.dead_after_ms
        self._began: UnixMs | None = None
        self._ours: UnixMs | None = None
        self._heard = UnixMs(0)
        self._others: dict[str, tuple[UnixMs, UnixMs]] = {}  # since when without a gap, and last heard

    def hear(self, name: str, at: UnixMs) -> int | None:
        """
        How long we were silent, if a planner that has read as far may have declared us dead for it; None if it cannot.

        It may once another, who was heard without a gap for as long as that takes, was heard so long after us: heartbeats do arrive. When
        nobody is heard, as while the broker is away, nobody is dead; and what we said since counts only from where it lies in the log.

        Args:
            name: Who beats; our own heartbeats count from the first of this life.
            at: Broker time of it.

        >>> presence = Presence("p1", LivenessSettings())
        >>> [presence.hear(*beat) for beat in (("p1", 0), ("p2", 0), ("p2", 1_000), ("p2", 2_000), ("p1", 2_400), ("p2", 3_000))]
        [None, None, None, None, None, None]
        >>> [presence.hear("p2", at) for at in (4_000, 4_900)]
        [None, 2500]
        """
        self._heard = max(self._heard, at)
        if name == self._us:
            self._ours, self._began = at, at if self._began is None else self._began
            return None
        # Who was there before us may have been heard for long.
        was_there = self._began is None or at - self._began <= self._gap_ms
        since, last = self._others.pop(name, (UnixMs(0) if was_there else at, at))
        self._others[name] = (since if at - last <= self._gap_ms else at, at)
        if len(self._others) > NAMES_MAX:
            del self._others[next(iter(self._others))]
        if self._ours is None or self._heard - self._ours < self._dead_ms:
            return None
        steady = (last for since, last in self._others.values() if self._heard - since >= self._dead_ms)
        return self._heard - self._ours if any(self._heard - last < self._suspect_ms for last in steady) else None

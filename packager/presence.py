"""
Whether a life of a packager was declared dead, as the topics that it reads tell: by the broker's clock alone, pure.

A process that was paused, or cut off from its broker, is not asked: its work is given away, and a dead life stays dead. It has to notice,
and to come back as another life.
"""

from schemas.settings import LivenessSettings
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
        self._dead_ms = liveness.dead_after_ms
        self._began: UnixMs | None = None
        self._ours: UnixMs | None = None
        self._others: dict[str, tuple[UnixMs, UnixMs]] = {}  # since when without a gap, and last heard

    def hear(self, name: str, at: UnixMs) -> int | None:
        """
        How long we were silent, if the planner may have declared us dead for it; None if it cannot.

        It may if we were silent for as long as that takes, while another who was heard without a gap bore witness that heartbeats do
        arrive. When nobody is heard, as while the broker is away, nobody is dead.

        Args:
            name: Who beats; our own heartbeats count from the first of this life.
            at: Broker time of it.

        >>> presence = Presence("p1", LivenessSettings())
        >>> [presence.hear(*beat) for beat in (("p1", 0), ("p2", 0), ("p2", 1_000), ("p2", 2_000), ("p1", 2_400), ("p2", 3_000))]
        [None, None, None, None, None, None]
        >>> [presence.hear("p2", at) for at in (4_000, 4_900)]
        [None, 2500]
        """
        silence = self._silence(at)
        if name == self._us:
            self._ours, self._began = at, at if self._began is None else self._began
        else:
            # Who was there before us may have been heard for long.
            was_there = self._began is None or at - self._began < self._suspect_ms
            since, last = self._others.pop(name, (UnixMs(0) if was_there else at, at))
            self._others[name] = (since if at - last < self._suspect_ms else at, at)
            if len(self._others) > NAMES_MAX:
                del self._others[next(iter(self._others))]
        return silence

    def _silence(self, now: UnixMs) -> int | None:
        if self._ours is None or now - self._ours < self._dead_ms:
            return None
        dead_at = self._ours + self._dead_ms
        was_seen = any(max(dead_at, since + self._dead_ms) < min(now + 1, last + self._suspect_ms) for since, last in self._others.values())
        return now - self._ours if was_seen else None

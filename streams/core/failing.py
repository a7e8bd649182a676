"""Failures that speak against a packager: others made what it could not."""

from collections.abc import Iterable

from schemas.records import Fault
from schemas.topics import life_key
from streams.core.progress import Progress
from streams.core.rows import HeartbeatRow

# One segment may be the log's own fault, two an accident.
FAILED_MAX = 3


def failing(heartbeats: Iterable[HeartbeatRow], progress: Progress) -> frozenset[str]:
    """
    Lives that failed by their own fault with segments that somebody else made since, by ``packager/life``.

    Failures of the store and of the input speak against nobody; one that nobody makes is void after three packagers.

    Args:
        heartbeats: Recent heartbeats: a failure is of the life that was heard then.
        progress: What was done, and all failures within memory.
    """
    failed: dict[str, list[tuple[int, str, int]]] = {}
    for failure in progress.failures():
        if failure.fault is Fault.OWN and progress.is_track_done(failure.channel, failure.msn, failure.track):
            failed.setdefault(failure.packager_id, []).append((failure.at_unix_ms, failure.channel, failure.msn))
    lives = set()
    for row in heartbeats:
        for pulse in row.pulses:
            its = failed.get(pulse.heartbeat.packager_id, ())
            if len({(channel, msn) for at, channel, msn in its if at >= pulse.first_unix_ms}) >= FAILED_MAX:
                lives.add(life_key(pulse.heartbeat.packager_id, pulse.heartbeat.life))
    return frozenset(lives)

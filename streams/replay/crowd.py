"""The viewers that origins told of, as the audience of a simulation."""

from collections.abc import Iterable, Sequence

import numpy as np

from schemas.records import ChannelDemand, Demand
from streams.core.facts import AUDIENCE_FRESH_MS
from streams.simulate.scenario.audience import CHUNKED, PARTS, WHOLE, Counts, Crowd

from .entries import Entry


class Replayed:
    """
    Sessions and joins as recorded, in steps; an audience.

    Args:
        entries: Entries of `demand`, in order.
        channels: Channels, in the order of the simulation.
        begin_unix_ms: When the simulation begins.
        duration_ms: How long it lasts.
        step_ms: Its step.
    """

    def __init__(self, entries: Iterable[Entry], channels: Sequence[str], *, begin_unix_ms: int, duration_ms: int, step_ms: int) -> None:
        steps = -(-duration_ms // step_ms) + 1
        self._step_ms = step_ms
        self._numbers = {channel: number for number, channel in enumerate(channels)}
        self._joins: Counts = np.zeros((steps, len(channels), 3), dtype=np.int64)
        origins: dict[str, Counts] = {}
        heard: dict[str, list[bool]] = {}
        for entry in entries:
            step = -(-(entry.at_unix_ms - begin_unix_ms) // step_ms)
            if not isinstance(entry.record, Demand) or not 0 <= step < steps:
                continue
            name = entry.record.origin_id
            sessions = origins.setdefault(name, np.zeros((steps, len(channels), 3), dtype=np.int64))
            heard.setdefault(name, [False] * steps)[step] = True
            sessions[step] = 0
            for seen in entry.record.channels:
                number = self._numbers.get(seen.channel)
                if number is not None:
                    sessions[step, number] = _classes(seen)
                    self._joins[step, number] += _shared(seen.joins, _classes(seen))
        self._sessions: Counts = np.zeros_like(self._joins)
        # As decisions see it: what an origin said counts until it is too old.
        kept = max(1, AUDIENCE_FRESH_MS // step_ms)
        for name, sessions in origins.items():
            said = -kept - 1
            for step in range(steps):
                said = step if heard[name][step] else said
                if step - said <= kept:
                    self._sessions[step] += sessions[said]

    def advance(self, start_ms: float, end_ms: float) -> Crowd:
        """Who is there at the end of a span, and who came within it."""
        first, last = (min(int(at // self._step_ms), len(self._joins) - 1) for at in (start_ms, end_ms))
        joins = self._joins[first + 1 : last + 1].sum(axis=0) if last > first else np.zeros_like(self._joins[0])
        return Crowd(self._sessions[last], joins if last or first else self._joins[0])


def _classes(seen: ChannelDemand) -> tuple[int, int, int]:
    counts = [0, 0, 0]
    counts[WHOLE], counts[PARTS], counts[CHUNKED] = seen.whole_sessions, seen.part_sessions, seen.chunked_sessions
    return counts[0], counts[1], counts[2]


def _shared(joins: int, sessions: tuple[int, int, int]) -> tuple[int, int, int]:
    """
    Joins by class, which origins do not tell apart: in proportion to the sessions, largest remainders first.

    >>> _shared(5, (2, 1, 0)), _shared(3, (0, 0, 0))
    ((3, 2, 0), (3, 0, 0))
    """
    total = sum(sessions)
    if not total:
        return joins, 0, 0
    shares = [joins * count / total for count in sessions]
    whole = [int(share) for share in shares]
    for kind in sorted(range(3), key=lambda k: (whole[k] - shares[k], k))[: joins - sum(whole)]:
        whole[kind] += 1
    return whole[0], whole[1], whole[2]

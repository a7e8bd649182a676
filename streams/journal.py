"""The journal of decisions: append with a contiguous-offset check, read back, send what follows from them and keep it standing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import structlog

from schemas import topics
from schemas.codec import Codec
from schemas.errors import FinecutError, RejectedError
from schemas.records import Decision
from schemas.settings import KafkaSettings
from schemas.units import UnixMs
from streams.core.standing import Projection, Standing, apply, counts, orphans, projections, since_whole
from streams.log import Ack, Log, Outgoing, Reading, Stored, outgoing
from streams.readback import TOLD, ReadBack

log = structlog.get_logger()

# Decisions looked at in one step back in search of a whole one: a minute of a busy pool.
BLOCK = 500


class OvertakenError(FinecutError):
    """Another planner appended since we last looked: read to the end and begin anew."""

    def __init__(self, *, pool: int, number: int, expected: int, got: int) -> None:
        super().__init__(
            f"decision {number} of pool {pool}: the journal goes on at offset {got}, not {expected}, another planner came between"
        )


class Journal:
    """
    Decisions of one pool: what is in force by them, and the only way to add one.

    Args:
        pool: Pool.
        log: Where they are.
        codec: Frames them.
        kafka: Names.

    Attributes:
        standing: What is in force.
    """

    def __init__(self, pool: int, *, log: Log, codec: Codec, kafka: KafkaSettings) -> None:
        self.pool = pool
        self.standing = Standing.empty(pool)
        self._log = log
        self._codec = codec
        self._kafka = kafka
        self._end = 0
        self._unsent: list[Projection] = []
        self._back = ReadBack(dict.fromkeys((topic.title for topic in TOLD), 0))

    async def recover(self) -> UnixMs | None:
        """
        Read back what is in force: from a whole decision on, the first of each number.

        What follows is numbered above all that may have been decided: each record raised the number by one at the most. So it prevails over
        what is left in compacted topics of decisions that are not kept any more, or that this version cannot read.

        Returns:
            Broker time of the newest record; None when there is none.
        """
        name = topics.DECISIONS.name(self._kafka)
        async with self._log.reading() as reading:
            first, self._end = await reading.bounds(name, self.pool)
            tail: list[tuple[Stored, Decision | None]] = []
            start = self._end
            while start > first and not any(found.whole for found in _counted(tail)):
                start, end = max(first, start - BLOCK), start
                tail = [(stored, self._decision(stored)) for stored in await reading.read(name, self.pool, start, end)] + tail
            standing, self._unsent = Standing.empty(self.pool), []
            for decision in since_whole(_counted(tail)):
                before, standing = standing, apply(standing, decision)
                # Of all but the last, a planner had its projections acknowledged before it went on.
                self._unsent = projections(decision, before)
            newest = takewhile(lambda entry: not _counted([entry]), reversed(tail))
            unread = sum(found is None for _, found in newest)
            self.standing = replace(standing, number=standing.number + unread if standing.number else self._end)
            self._back = ReadBack(dict(zip((topic.title for topic in TOLD), await self._ends(reading), strict=True)))
            for topic in (topics.ASSIGNMENTS, topics.PLANS):
                self._unsent += orphans(topic, await self._keys(reading, topic), self.standing)
        return tail[-1][0].at_unix_ms if tail else None

    async def append(self, decision: Decision) -> Ack:
        """
        Write the next decision; from then on it is in force. What follows from it is sent by `project`.

        Raises:
            OvertakenError: Another planner wrote since: `recover` before anything else.
        """
        landing = replace(decision, lands_at=self._end)
        (ack,) = await self._log.append([self._outgoing(topics.DECISIONS, str(self.pool), landing)])
        if ack.offset != self._end:
            raise OvertakenError(pool=self.pool, number=decision.number, expected=self._end, got=ack.offset)
        self._end = ack.offset + 1
        self._unsent += projections(decision, self.standing)
        self.standing = apply(self.standing, decision)
        return ack

    async def project(self) -> list[tuple[Projection, Ack]]:
        """Send what follows from the decisions appended, after a recovery also what the last planner may have owed."""
        unsent = self._unsent
        acks = await self._log.append([self._outgoing(p.topic, p.key, p.record) for p in unsent])
        self._unsent = []
        sent = list(zip(unsent, acks, strict=True))
        for projection, ack in sent:
            self._back.wrote(projection.topic, ack.offset)
        return sent

    async def mend(self) -> tuple[str, ...]:
        """
        Send again what somebody else wrote over since the last look, as a planner may that stood still after its decision.

        Returns:
            Keys sent again.

        Raises:
            OvertakenError: Another planner wrote a decision since, so that what stands may be right: `recover` before anything else.
        """
        written: list[tuple[topics.Topic, str]] = []
        async with self._log.reading() as reading:
            (end,) = await reading.ends([topics.DECISIONS.name(self._kafka)], self.pool)
            if end != self._end:
                raise OvertakenError(pool=self.pool, number=self.standing.number, expected=self._end, got=end)
            for topic, end in zip(TOLD, await self._ends(reading), strict=True):
                if stretch := self._back.unexplained(topic, end=end):
                    stored = await reading.read(topic.name(self._kafka), self.pool, *stretch)
                    written += [(topic, key) for key in self._back.foreign(topic, stored, end=end)]
        self._unsent += [Projection(topic=topic, key=key, record=self._in_force(topic, key)) for topic, key in written]
        await self.project()
        return tuple(key for _, key in written)

    def _in_force(self, topic: topics.Topic, key: str) -> Any | None:
        standing = self.standing
        held: dict[str, Mapping[str, Any]] = {
            topics.ASSIGNMENTS.title: standing.assignments,
            topics.PLANS.title: standing.plans,
            topics.SCALING.title: {str(self.pool): standing.scaling} if standing.scaling else {},
        }
        record = held[topic.title].get(key)
        return record and replace(record, decision=standing.number)

    async def _ends(self, reading: Reading) -> list[int]:
        return await reading.ends([topic.name(self._kafka) for topic in TOLD], self.pool)

    async def _keys(self, reading: Reading, topic: topics.Topic) -> set[str]:
        """Keys of a compacted topic that have a value."""
        name = topic.name(self._kafka)
        first, end = await reading.bounds(name, self.pool)
        newest = {stored.key: stored.value for stored in await reading.read(name, self.pool, first, end)}
        return {key.decode() for key, value in newest.items() if value is not None}

    def _outgoing(self, topic: topics.Topic, key: str, record: Any | None) -> Outgoing:
        return outgoing(topic, self.pool, key, record, codec=self._codec, kafka=self._kafka, decision=self.standing.number)

    def _decision(self, stored: Stored) -> Decision | None:
        """The decision; None for what is none, or one of a version that this one cannot read: nobody follows that here."""
        try:
            record = self._codec.decode(stored.value or b"")
        except RejectedError as error:
            record, why = None, str(error)
        else:
            why = f"it is a {type(record).__name__}"
        if isinstance(record, Decision):
            return record
        log.error("decision_unreadable", pool=self.pool, offset=stored.offset, error=why)
        return None


def _counted(entries: Sequence[tuple[Stored, Decision | None]]) -> list[Decision]:
    return [decision for stored, decision in entries if decision is not None and counts(decision, offset=stored.offset)]

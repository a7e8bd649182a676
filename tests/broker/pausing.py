"""
A control plane that stops itself, as SIGSTOP from outside would, at one point of writing a decision: once, and goes on when it is told to.

Usage: python -m tests.broker.pausing before|between CHANNEL. Before the append of the decision that gives a slice of the channel away,
or between its ack and what follows from it.
"""

import os
import signal
import sys
from collections.abc import Sequence

from schemas import topics
from schemas.codec import Codec
from schemas.records import Decision
from schemas.settings import KafkaSettings, load
from streams.__main__ import run
from streams.log import Ack, KafkaLog, Outgoing


class PausingLog(KafkaLog):
    """The log in Kafka, with the pause."""

    def __init__(self, kafka: KafkaSettings, *, point: str, channel: str) -> None:
        super().__init__(kafka)
        self._decisions, self._assignments = topics.DECISIONS.name(kafka), topics.ASSIGNMENTS.name(kafka)
        self._point, self._channel = point, channel
        self._paused = False

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        if not self._paused and any(self._is_here(record) for record in records):
            self._paused = True
            os.kill(os.getpid(), signal.SIGSTOP)
        return await super().append(records)

    def _is_here(self, record: Outgoing) -> bool:
        if self._point == "between":
            return record.topic == self._assignments and record.key.startswith(f"{self._channel}/".encode())
        made = Codec().decode(record.value or b"") if record.topic == self._decisions else None
        return isinstance(made, Decision) and any(assignment.channel == self._channel for assignment in made.assignments)


if __name__ == "__main__":
    raise SystemExit(run(load(), open_log=lambda kafka: PausingLog(kafka, point=sys.argv[1], channel=sys.argv[2])))

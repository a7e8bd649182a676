"""
A control plane that stops itself, as SIGSTOP from outside would, at points of writing a decision, and goes on when it is told to.

Usage: python -m tests.broker.pausing FOLDER. A file ``before-CHANNEL`` there stops who comes first to the append of a decision that gives a
slice of the channel away; ``between-CHANNEL``, who comes between the ack of one and what follows from it. The file is gone with that.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas import topics
from schemas.codec import Codec
from schemas.records import Decision
from schemas.settings import KafkaSettings, load
from streams.__main__ import run
from streams.log import Ack, KafkaLog, Outgoing


class PausingLog(KafkaLog):
    """The log in Kafka, with the pause."""

    def __init__(self, kafka: KafkaSettings, traps: Path) -> None:
        super().__init__(kafka)
        self._decisions, self._assignments = topics.DECISIONS.name(kafka), topics.ASSIGNMENTS.name(kafka)
        self._traps = traps

    async def append(self, records: Sequence[Outgoing]) -> list[Ack]:
        for trap in sorted(self._traps.iterdir()):
            point, _, channel = trap.name.partition("-")
            if any(self._is_here(record, point, channel) for record in records):
                trap.unlink()
                os.kill(os.getpid(), signal.SIGSTOP)
        return await super().append(records)

    def _is_here(self, record: Outgoing, point: str, channel: str) -> bool:
        if point == "between":
            return record.topic == self._assignments and record.key.startswith(f"{channel}/".encode())
        made = Codec().decode(record.value or b"") if record.topic == self._decisions else None
        return isinstance(made, Decision) and any(assignment.channel == channel for assignment in made.assignments)


if __name__ == "__main__":
    raise SystemExit(run(load(), open_log=lambda kafka: PausingLog(kafka, Path(sys.argv[1]))))

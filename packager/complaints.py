"""What Kafka's clients complain of, said now and then: librdkafka repeats it with every attempt to connect, in each client."""

import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError

log = structlog.get_logger()

REPEAT_S = 60.0


class Complaints:
    """Errors that librdkafka cures by itself."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._told_s: dict[int, float] = {}

    def take(self, error: KafkaError) -> None:
        """Logs one, unless another of its kind was logged within a minute."""
        now_s, kind = self._monotonic_s(), error.code()
        if kind not in self._told_s or now_s - self._told_s[kind] >= REPEAT_S:
            self._told_s[kind] = now_s
            log.warning("kafka_error", error=error.str(), code=error.name())


COMPLAINTS = Complaints()
"""Those of this process."""

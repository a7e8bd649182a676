"""A producer that goes on after what librdkafka calls a fatal error."""

from threading import Lock
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

log = structlog.get_logger()


class Renewed:
    """
    A producer, made anew when it takes nothing more.

    An idempotent one that gave records up may find that the broker expects them, and refuses all that comes, for ever. What waited in it is
    given up as well: its `on_delivery` is told. It may be used from any thread.

    Args:
        settings: Of each producer.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._producer = Producer(settings)
        self._renewing = Lock()

    def produce(self, *record: Any, **named: Any) -> None:
        """As `confluent_kafka.Producer.produce`."""
        producer = self._producer
        try:
            producer.produce(*record, **named)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._FATAL:  # noqa: SLF001
                raise
            self._renew(producer, error.args[0])
            self._producer.produce(*record, **named)

    def _renew(self, failed: Producer, error: KafkaError) -> None:
        with self._renewing:
            if self._producer is not failed:
                return  # another thread did
            log.error("producer_renewed", error=error.str())
            self._producer = Producer(self._settings)
        failed.purge()
        failed.poll(0)

    def poll(self, timeout_s: float) -> int:
        """As `confluent_kafka.Producer.poll`."""
        return int(self._producer.poll(timeout_s))

    def flush(self, timeout_s: float) -> int:
        """As `confluent_kafka.Producer.flush`."""
        return int(self._producer.flush(timeout_s))

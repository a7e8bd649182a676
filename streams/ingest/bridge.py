"""An encoder that outlives Kafka: what its queue cannot hold is counted, and it goes on in a new period when Kafka is back."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from schemas.errors import RetryableError
from streams.ingest import metrics
from streams.ingest.ending import Ending
from streams.ingest.reading import KafkaAwayError
from streams.ingest.samples import Sample
from streams.ingest.text import Cue

log = structlog.get_logger()

AWAY = (RetryableError, KafkaAwayError)


class Writer(Protocol):
    """`ChannelWriter` or `Standby`."""

    @property
    def early_s(self) -> float: ...  # noqa: D102

    @property
    def waiting_bytes(self) -> int: ...  # noqa: D102

    def write(self, track: str, sample: Sample) -> None: ...  # noqa: D102

    def write_cue(self, track: str, cue: Cue) -> None: ...  # noqa: D102

    def poll(self, timeout_s: float = 0.0) -> None: ...  # noqa: D102

    def end(self) -> None: ...  # noqa: D102

    def flush(self) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class Bridge(Ending):
    """
    A writer that is made anew after each outage that its queue could not bridge.

    Nobody can wait for a live source, so there is no last attempt: it goes on until the source is over or somebody stops it.
    """

    def __init__(self, make: Callable[[], Writer], *, retry_ms: int) -> None:
        """
        Args:
            make: The next writer; called in a thread of its own after the first.
            retry_ms: Time between attempts.

        Raises:
            UserError: The first writer cannot be made.
        """
        self._make = make
        self._retry_s = retry_ms / 1_000
        self._writer: Writer | None = make()
        self._early_s = 0.0
        self._lock = threading.Lock()
        self._made: Writer | BaseException | None = None
        self._stopped = threading.Event()
        self._why = ""
        self._lost_bytes, self._since = 0, 0.0

    @property
    def early_s(self) -> float:
        """As `ChannelWriter` has it."""
        return self._early_s + (self._writer.early_s if self._writer else 0.0)

    def write(self, track: str, sample: Sample) -> None:
        """
        One coded frame: written, or counted as lost.

        Raises:
            SupersededError: Another writer took the channel over.
            UserError: Frames do not fit the tracks.
        """
        writer = self._now()
        try:
            if writer:
                writer.write(track, sample)
                return
        except AWAY as error:
            self._lose(error)
        self._count(len(sample.data))

    def write_cue(self, track: str, cue: Cue) -> None:
        """A cue of a text track."""
        if writer := self._now():
            writer.write_cue(track, cue)

    def poll(self) -> bool:
        """Serve acknowledgements; whether what comes is written."""
        writer = self._now()
        try:
            if writer:
                writer.poll()
        except AWAY as error:
            self._lose(error)
        return self._writer is not None

    def end(self) -> None:
        """
        End the channel.

        Raises:
            RetryableError: Kafka is away: the channel stays open.
        """
        writer = self._now()
        if writer is None:
            raise RetryableError(f"the source is over while Kafka is away: {self._why}", retry_after_ms=round(self._retry_s * 1_000))
        writer.end()

    def flush(self) -> None:
        """
        Returns when all that was sent is acknowledged.

        Raises:
            RetryableError: Something was not delivered.
        """
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Let go."""
        self._stopped.set()
        with self._lock:
            made = self._made
        for writer in (self._writer, made):
            if writer is not None and not isinstance(writer, BaseException):
                writer.close()

    # ------------------------------------------------------------ while Kafka is away

    def _now(self) -> Writer | None:
        """The writer, if there is one."""
        if self._writer:
            return self._writer
        with self._lock:
            made, self._made = self._made, None
        if isinstance(made, BaseException):
            raise made
        if made:
            self._writer = made
            log.warning("kafka_back", away_s=round(time.monotonic() - self._since, 1), lost_bytes=self._lost_bytes)
        return made

    def _lose(self, error: Exception) -> None:
        writer, self._writer = self._writer, None
        assert writer is not None  # noqa: S101
        # What waits is counted by its link as it is let go.
        self._lost_bytes, self._since, self._why = writer.waiting_bytes, time.monotonic(), str(error).splitlines()[0]
        self._early_s += writer.early_s
        metrics.OUTAGES.inc()
        log.error("kafka_lost", given_up_bytes=self._lost_bytes, error=self._why)
        writer.close()
        threading.Thread(target=self._retry, name="kafka", daemon=True).start()

    def _count(self, size: int) -> None:
        self._lost_bytes += size
        metrics.LOST.inc(size)

    def _retry(self) -> None:
        while not self._stopped.wait(self._retry_s):
            made: Writer | BaseException
            try:
                made = self._make()
            except AWAY as error:
                self._why = str(error).splitlines()[0]
                continue
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                made = error
            with self._lock:
                self._made = made
            return

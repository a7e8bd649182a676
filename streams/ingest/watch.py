"""What is told of an encoder while it writes: whether it has fallen silent, and whether its clock is off."""

import time

import structlog

from streams.ingest import metrics
from streams.ingest.drift import Drift

log = structlog.get_logger()


class Silence:
    """
    Whether the encoder of a channel is silent.

    Args:
        channel: The channel.
        after_ms: Silent is who sent nothing for longer.
    """

    def __init__(self, channel: str, *, after_ms: int) -> None:
        self._channel = channel
        self._after_ms = after_ms
        self._heard = time.monotonic()
        self._is_silent = False

    def hear(self) -> float:
        """Something came; seconds since the last."""
        now = time.monotonic()
        pause_s, self._heard = now - self._heard, now
        if self._is_silent:
            self.close()
            log.info("encoder_resumed", channel=self._channel)
        return pause_s

    def look(self) -> None:
        """Tell it once it is."""
        silent_ms = (time.monotonic() - self._heard) * 1_000
        if silent_ms > self._after_ms and not self._is_silent:
            self._is_silent = True
            metrics.STALLED.inc()
            log.warning("encoder_stalled", channel=self._channel, silent_ms=round(silent_ms))

    def close(self) -> None:
        """It does not count any more."""
        if self._is_silent:
            self._is_silent = False
            metrics.STALLED.dec()


class Clock:
    """
    Whether the time that the period gives the media is the broker's (media rule 6).

    Args:
        channel: The channel.

    Attributes:
        drift: How far it is off.
    """

    def __init__(self, channel: str) -> None:
        self.drift = Drift()
        self._channel = channel
        self._is_alarming = False

    def add(self, *, steady_ms: int, media_unix_ms: int) -> None:
        """A chunk was produced that ends then by its period."""
        drift = self.drift
        drift.add(steady_ms=steady_ms, media_unix_ms=media_unix_ms)
        metrics.SKEW.labels(channel=self._channel).set(drift.skew_ms / 1_000)
        if drift.is_alarming != self._is_alarming:
            self._is_alarming = drift.is_alarming
            metrics.CLOCK_ALARM.labels(channel=self._channel).set(drift.is_alarming)
            log.warning("clock_off" if drift.is_alarming else "clock_right", channel=self._channel, drift_ms=drift.drift_ms)

"""Plays a recording into channels, in real time and for ever, each chunk when a camera would have finished it."""

import heapq
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from threading import Event

from schemas.records import Level
from schemas.settings import Settings
from schemas.units import Ticks
from streams.ingest import metrics
from streams.ingest.link import Link
from streams.ingest.producer import ChannelWriter
from streams.ingest.recording import Recording

# Longest wait for acknowledgements before the stop is looked at.
LOOK_S = 0.1


class _Reel:
    """One track of one channel: what was written of it so far."""

    def __init__(self, recording: Recording, track: str, writer: ChannelWriter) -> None:
        self._samples = recording.samples[track]
        self._line = next(t for t in recording.tracks if t.track == track)
        self._track = track
        self._writer = writer
        self._count = 0

    @property
    def early_s(self) -> float:
        """How much earlier its periods began than they were played: it hurries by that."""
        return self._writer.early_s

    def write_chunk(self) -> None:
        """Write up to the end of the open chunk; at first one sample, which opens the period."""
        end = self._writer.cut_seconds(self._track) or Fraction(0)
        while self._count == 0 or self._seconds < end:
            turn, number = divmod(self._count, len(self._samples))
            sample = self._samples[number]
            shift = turn * len(self._samples) * self._line.frame_ticks
            self._count += 1
            self._writer.write(self._track, replace(sample, time_ticks=Ticks(sample.time_ticks + shift)) if shift else sample)

    @property
    def end_seconds(self) -> Fraction:
        """When the open chunk ends, in seconds since the channel's start."""
        return self._writer.cut_seconds(self._track) or Fraction(self._line.frame_ticks, self._line.timescale)

    @property
    def _seconds(self) -> Fraction:
        return Fraction(self._count * self._line.frame_ticks, self._line.timescale)


def play(
    settings: Settings, recording: Recording, channels: Sequence[str], *, link: Link, stop: Event, idle_level: Level | None = None
) -> None:
    """
    Play until ``stop``, then end the channels; they start evenly spread over one GOP, so that their work does not fall due together.

    Raises:
        UserError: A channel's name or past does not fit, or a record was not delivered.
        RetryableError: The queue to Kafka stayed full.
    """
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                ChannelWriter(
                    settings,
                    channel=channel,
                    tracks=recording.tracks,
                    frame_rate=recording.frame_rate,
                    gop_frames=recording.gop_frames,
                    idle_level=idle_level,
                    link=link,
                )
            )
            for channel in channels
        ]
        _play_all(recording, writers, link, stop)


def _play_all(recording: Recording, writers: Sequence[ChannelWriter], link: Link, stop: Event) -> None:
    now = time.monotonic()
    stagger = float(recording.gop_frames / recording.frame_rate) / len(writers)
    due: list[tuple[float, int, float, _Reel]] = []
    for number, writer in enumerate(writers):
        for order, track in enumerate(recording.tracks):
            began = now + number * stagger
            # The first sample opens the period; what follows is due when its chunk ends.
            due.append((began, number * len(recording.tracks) + order, began, _Reel(recording, track.track, writer)))
    heapq.heapify(due)
    while not stop.is_set():
        at, order, began, reel = due[0]
        wait = at - time.monotonic()
        if wait > 0:
            link.poll(min(wait, LOOK_S))
            continue
        metrics.BEHIND.set(-wait)
        reel.write_chunk()
        heapq.heapreplace(due, (began - reel.early_s + float(reel.end_seconds), order, began, reel))

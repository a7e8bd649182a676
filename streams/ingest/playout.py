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


class _Show:
    """One channel: when it begins, and its writer."""

    def __init__(self, writer: ChannelWriter, begins_s: float) -> None:
        self.writer = writer
        self.begins_s = begins_s
        self._has_begun = False

    def begin(self) -> None:
        """Its first sample is written. What held that up, as another channel's opening may, is no reason to be ahead of time for ever."""
        if not self._has_begun:
            self._has_begun = True
            self.begins_s = max(self.begins_s, time.monotonic())


class _Reel:
    """One track of one channel: what was written of it so far."""

    def __init__(self, recording: Recording, track: str, show: _Show) -> None:
        self._samples = recording.samples[track]
        self._line = next(t for t in recording.tracks if t.track == track)
        self._track = track
        self._show = show
        self._count = 0

    @property
    def due_s(self) -> float:
        """When the open chunk ends; a channel hurries by as much as its periods began earlier than they were played."""
        end = self._show.writer.cut_seconds(self._track)
        return self._show.begins_s - self._show.writer.early_s + float(self._seconds if end is None else end)

    def write_chunk(self) -> None:
        """Write up to the end of the open chunk; without one a sample, which opens a period or is where the track joins it."""
        self._show.begin()
        end = self._show.writer.cut_seconds(self._track)
        is_first = end is None
        while is_first or self._seconds < (end or 0):
            is_first = False
            turn, number = divmod(self._count, len(self._samples))
            sample = self._samples[number]
            shift = turn * len(self._samples) * self._line.frame_ticks
            self._count += 1
            self._show.writer.write(self._track, replace(sample, time_ticks=Ticks(sample.time_ticks + shift)) if shift else sample)

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
    shows = [_Show(writer, now + number * stagger) for number, writer in enumerate(writers)]
    reels = [_Reel(recording, track.track, show) for show in shows for track in recording.tracks]
    # The first sample opens the period; what follows is due when its chunk ends.
    due = [(reel.due_s, order, reel) for order, reel in enumerate(reels)]
    heapq.heapify(due)
    while not stop.is_set():
        at, order, reel = due[0]
        wait = at - time.monotonic()
        if wait > 0:
            link.poll(min(wait, LOOK_S))
            continue
        metrics.BEHIND.set(-wait)
        reel.write_chunk()
        heapq.heapreplace(due, (reel.due_s, order, reel))

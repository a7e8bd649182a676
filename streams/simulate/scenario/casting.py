"""The channels of a scenario: what each is made of, and when it is live."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import numpy as np

from schemas.errors import UserError
from schemas.records import Level, Period, Track, TrackKind
from schemas.timeline import make_grid
from schemas.units import Ms, Msn, Ticks, Timescale, UnixMs
from streams.simulate.engine import START
from streams.simulate.scenario.spec import Scenario

Find = Callable[[str], Path]
"""Where a file named in a scenario lies."""

FRAME_MS = 40
CHUNKS_PER_PART = 2
ALLOWANCE_MS = Ms(100)
# Channels that are live at the beginning have been for so long: there is something to start from.
BEFORE_MS = 120_000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """
    What one channel plays.

    Attributes:
        period: Its configuration; times are those of the simulation.
        begins_ms: When it goes live, since the beginning.
        ends_ms: When it ends; infinite: never.
        bytes_per_s: Of each track.
    """

    period: Period
    begins_ms: float
    ends_ms: float
    bytes_per_s: tuple[float, ...]

    @property
    def channel(self) -> str:
        """Channel id."""
        return self.period.channel


def cast(scenario: Scenario, find: Find) -> tuple[Part, ...]:
    """
    The channels, by id in order.

    Raises:
        UserError: The file of their times cannot be read.
    """
    channels, rng = scenario.channels, np.random.default_rng((scenario.seed, 1))
    lives = _lives(scenario, find, rng) if channels.times else [(-BEFORE_MS, inf)] * channels.count
    rates = (*channels.video_kbps, *channels.audio_kbps)
    parts = []
    for number, (live, ends) in enumerate(lives):
        # Encoders start at any instant: their GOPs do not fall together.
        begins = round(live + float(rng.integers(0, channels.gop)))
        parts.append(
            Part(
                period=_period(f"c{number:04}", scenario, begins_ms=begins),
                begins_ms=begins,
                ends_ms=ends,
                bytes_per_s=tuple(kbps * 125.0 for kbps in rates),
            )
        )
    return tuple(parts)


def _period(channel: str, scenario: Scenario, *, begins_ms: int) -> Period:
    channels = scenario.channels
    at = UnixMs(START + begins_ms)
    return Period(
        channel=channel,
        period=0,
        life="encoder",
        pool=0,
        media_partition=0,
        tracks=(
            *(_track(f"v{i}", TrackKind.VIDEO, kbps) for i, kbps in enumerate(channels.video_kbps)),
            *(_track(f"a{i}", TrackKind.AUDIO, kbps) for i, kbps in enumerate(channels.audio_kbps)),
        ),
        frame_rate_num=25,
        frame_rate_den=1,
        grid=make_grid(channels.gop // FRAME_MS, part_frames=max(1, channels.part // FRAME_MS), chunks_per_part=CHUNKS_PER_PART),
        anchor_unix_ms=at,
        zero_unix_ms=at,
        first_msn=Msn(0),
        discontinuity=0,
        target_duration_ms=Ms(channels.target),
        part_target_ms=Ms(channels.part + FRAME_MS),
        publish_allowance_ms=ALLOWANCE_MS,
        idle_level=Level(channels.idle_level),
        time_shift_ms=Ms(scenario.policy.media.time_shift_ms),
        first_offset=0,
    )


def _track(track: str, kind: TrackKind, kbps: float) -> Track:
    is_video = kind is TrackKind.VIDEO
    return Track(
        track=track,
        kind=kind,
        codec="avc1.4d401f" if is_video else "mp4a.40.2",
        timescale=Timescale(90_000 if is_video else 48_000),
        frame_ticks=Ticks(3_600 if is_video else 1_024),
        start_ticks=Ticks(0),
        bandwidth_bps=round(kbps * 1_000),
        init=b"",
    )


def _lives(scenario: Scenario, find: Find, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Starts and ends of channels of the file that are live within the simulation: some of them if there are more than wanted."""
    times = scenario.channels.times
    if times is None:
        return []
    path, lives = find(times.file), []
    zero = times.beginning.replace(tzinfo=times.beginning.tzinfo or UTC)
    for line, row in enumerate(read_rows(path, (times.start, times.end)), start=2):
        begins, ends = (_since(row[name], zero, path, line) for name in (times.start, times.end))
        if ends > 0 and begins < scenario.end and ends > begins:
            lives.append((max(-BEFORE_MS, begins), ends if ends < scenario.end else inf))
    if not lives:
        raise UserError(f"{path}: no row is live within the scenario", do="set channels.times.beginning to an instant that the file covers")
    taken = rng.permutation(len(lives))[: scenario.channels.count]
    return [lives[i] for i in sorted(taken)]


def _since(text: str, zero: datetime, path: Path, line: int) -> float:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{path}, line {line}: expected a date and time, not {text!r}", do="correct the file") from error
    return (instant.replace(tzinfo=instant.tzinfo or UTC) - zero).total_seconds() * 1_000


def read_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """
    Rows of a CSV file with a header.

    Raises:
        UserError: It cannot be read or lacks a column.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                has = ", ".join(reader.fieldnames or ()) or "none"
                raise UserError(f"{path}, line 1: no column {', '.join(missing)}; there are {has}", do="name a column of the file")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}", do="name a file of the scenario's folder or of FINECUT_DATA") from error

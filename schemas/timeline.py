"""
Integer arithmetic that all sides agree on: the grid of GOPs, parts and chunks, segment boundaries, and names.

A period has one frame grid. A GOP is cut into parts and a part into chunks at the same instants in every track (media rule
12); a track cuts at its first frame that starts at or after the instant, so a chunk of audio ends at the last frame that
starts before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from schemas.errors import RejectedError
from schemas.records import Chunk, PartFrames, Period, Thumbnails, Track
from schemas.units import GopOrdinal, Ms, Ticks, UnixMs, ms_from_ticks_up

SEGMENT_SUFFIX = ".m4s"
PART_SUFFIX = ".part.m4s"
THUMBNAIL_SUFFIX = ".jpg"
# What origins make of the segments and parts of a text track.
WEBVTT_SUFFIX = ".vtt"
WEBVTT_PART_SUFFIX = ".part.vtt"
INIT_NAME = "init.mp4"


def frames_per_gop(period: Period) -> int:
    """Frames of the grid in one GOP."""
    return sum(sum(part.chunk_frames) for part in period.grid)


def make_grid(gop_frames: int, *, part_frames: int, chunks_per_part: int) -> tuple[PartFrames, ...]:
    """
    Cuts of one GOP into parts near a wanted length and of each part into chunks; the shorter parts come first.

    >>> [part.chunk_frames for part in make_grid(25, part_frames=13, chunks_per_part=2)]
    [(6, 6), (6, 7)]
    >>> [part.chunk_frames for part in make_grid(10, part_frames=30, chunks_per_part=1)]
    [(10,)]
    """
    parts = _even(gop_frames, max(1, round(gop_frames / part_frames)))
    return tuple(PartFrames(chunk_frames=_even(part, min(part, chunks_per_part))) for part in parts)


def _even(total: int, count: int) -> tuple[int, ...]:
    small, more = divmod(total, count)
    return (small,) * (count - more) + (small + 1,) * more


def boundary(period: Period, track: Track, frames: int) -> Ticks:
    """
    The tick at which a track is cut for the instant that lies ``frames`` grid frames after the period's start.

    Returns:
        The start of the track's first frame at or after that instant.
    """
    units = frames * period.frame_rate_den * track.timescale
    count = -(-units // (period.frame_rate_num * track.frame_ticks))
    return Ticks(track.start_ticks + count * track.frame_ticks)


def gop_start(period: Period, track: Track, gop: int) -> Ticks:
    """First tick of a GOP in a track; also the end of the GOP before it."""
    return boundary(period, track, gop * frames_per_gop(period))


def segment_span(period: Period, track: Track, first_gop: int, gop_count: int) -> tuple[Ticks, Ticks]:
    """First tick and duration of a segment as stamped: both known when it opens."""
    start = gop_start(period, track, first_gop)
    return start, Ticks(gop_start(period, track, first_gop + gop_count) - start)


def part_start(period: Period, track: Track, parts: int) -> Ticks:
    """First tick of the part that follows ``parts`` whole parts from the period's start."""
    gop, part = divmod(parts, len(period.grid))
    within = sum(sum(p.chunk_frames) for p in period.grid[:part])
    return boundary(period, track, gop * frames_per_gop(period) + within)


def part_number(period: Period, chunk: Chunk) -> int:
    """Number of a chunk's part, counted from the period's start."""
    return chunk.gop * len(period.grid) + chunk.part


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """
    One chunk of the grid of one GOP.

    Attributes:
        part: Part of the GOP, from 0.
        end_frames: Frames of the grid from the GOP's start to the chunk's end.
        ends_part: Whether its part ends with it.
        ends_gop: Whether the GOP ends with it.
    """

    part: int
    end_frames: int
    ends_part: bool
    ends_gop: bool


def cells(grid: tuple[PartFrames, ...]) -> Iterator[Cell]:
    """
    The chunks of one GOP in order.

    >>> [cell.end_frames for cell in cells(make_grid(25, part_frames=13, chunks_per_part=2))]
    [6, 12, 18, 25]
    """
    end = 0
    total = sum(sum(part.chunk_frames) for part in grid)
    for number, part in enumerate(grid):
        for i, frames in enumerate(part.chunk_frames):
            end += frames
            yield Cell(part=number, end_frames=end, ends_part=i == len(part.chunk_frames) - 1, ends_gop=end == total)


def gop_ms(period: Period) -> Ms:
    """Length of a GOP, rounded up to the millisecond."""
    return Ms(-(-frames_per_gop(period) * period.frame_rate_den * 1_000 // period.frame_rate_num))


def gops_per_segment_max(*, gop_frames: int, frame_rate_num: int, frame_rate_den: int, target_duration_ms: int) -> int:
    """
    GOPs in the longest segment: RFC 8216bis 4.4.3.1, the rounded EXTINF must not exceed the target duration (29.97 fps has 4 x 1.001 s).

    Raises:
        RejectedError: One GOP is longer than the target.

    >>> gops_per_segment_max(gop_frames=30, frame_rate_num=30_000, frame_rate_den=1_001, target_duration_ms=4_000)
    4
    """
    # Audio is cut less than a frame (at most 43 ms) after the instant; it must round down as well.
    limit_ms = target_duration_ms // 1_000 * 1_000 + 450
    count = limit_ms * frame_rate_num // (gop_frames * frame_rate_den * 1_000)
    if count < 1:
        length_ms = gop_frames * frame_rate_den * 1_000 // frame_rate_num
        raise RejectedError(f"a GOP of {length_ms} ms is longer than the target duration of {target_duration_ms} ms")
    return count


def part_target(grid: tuple[PartFrames, ...], *, frame_rate_num: int, frame_rate_den: int, tracks: tuple[Track, ...]) -> Ms:
    """
    The longest part of any track, rounded up to the millisecond (media rule 12): 0.5 s video with 48 kHz AAC gives 512.
    """
    longest = 0
    for track in tracks:
        for part in grid:
            units = sum(part.chunk_frames) * frame_rate_den * track.timescale
            frames = -(-units // (frame_rate_num * track.frame_ticks))  # a cut moves by less than a frame at either end
            longest = max(longest, ms_from_ticks_up(frames * track.frame_ticks, track.timescale))
    return Ms(longest)


def unix_ms_at(period: Period, track: Track, ticks: int) -> UnixMs:
    """Broker time of a tick: the period's anchor plus media time, rounded to the nearest millisecond."""
    span = ticks - track.start_ticks
    return UnixMs(period.anchor_unix_ms + (span * 2_000 + track.timescale) // (2 * track.timescale))


def segment_gops(stamped_first_gop: int, stamped_gop_count: int) -> tuple[GopOrdinal, ...]:
    """Ordinals of the GOPs of a segment as stamped."""
    return tuple(GopOrdinal(gop) for gop in range(stamped_first_gop, stamped_first_gop + stamped_gop_count))


def object_name(channel: str, period: int, track: str, start_ticks: int, suffix: str = SEGMENT_SUFFIX) -> str:
    """
    Name of an object, the same in URL and store; it determines the bytes.

    >>> object_name("news", 0, "v0", 25_000)
    'news/0/v0/25000.m4s'
    """
    return f"{channel}/{period}/{track}/{start_ticks}{suffix}"


def init_name(channel: str, period: int, track: str) -> str:
    """
    Name of an init segment.

    >>> init_name("news", 0, "v0")
    'news/0/v0/init.mp4'
    """
    return f"{channel}/{period}/{track}/{INIT_NAME}"


def source_track(period: Period, made: Thumbnails) -> Track:
    """The video track that the thumbnails of a period are taken from."""
    return next(track for track in period.tracks if track.track == made.source)


def picture_track(period: Period) -> Track | None:
    """The track that the thumbnails of a period make up, on the ticks of their source; None if it has none."""
    made = period.thumbnails
    if made is None:
        return None
    return replace(source_track(period, made), track=made.track, codec="jpeg", width=made.width, height=made.height, init=b"")

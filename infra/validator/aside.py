"""What accompanies media, read without judging: how large a JPEG is, when the cues of a WebVTT text are shown."""

import re
import struct
from typing import NamedTuple

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# ITU-T T.81 B.1.1.3: start of frame, but for tables, extensions and arithmetic conditioning.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN = 0xDA
TEXT_START = b"WEBVTT"
CLOCK = re.compile(r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})")
CUE = re.compile(rf"({CLOCK.pattern})[ \t]+-->[ \t]+({CLOCK.pattern})(?:[ \t].*)?")
MAP = "X-TIMESTAMP-MAP="
MPEG_TICKS = 90_000


class Picture(NamedTuple):
    """A JPEG: its size, and what is wrong with it (empty: nothing that is looked at)."""

    width: int
    height: int
    problem: str


class Text(NamedTuple):
    """
    A WebVTT text.

    Attributes:
        is_mapped: Whether it says where it lies on the media timeline.
        cues: Start and end of each on that timeline, in seconds.
        problems: What cannot be read.
    """

    is_mapped: bool
    cues: tuple[tuple[float, float], ...]
    problems: tuple[str, ...]


def read_picture(data: bytes) -> Picture:
    """
    The size of a JPEG as its frame says it.

    >>> read_picture(b"GIF")
    Picture(width=0, height=0, problem='no JPEG')
    """
    if not data.startswith(JPEG_START):
        return Picture(0, 0, "no JPEG")
    at = len(JPEG_START)
    while at + 9 <= len(data) and data[at] == 0xFF and data[at + 1] != SCAN:
        if data[at + 1] in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Picture(width, height, "" if data.endswith(JPEG_END) else "cut short")
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return Picture(0, 0, "no frame")


def read_text(data: bytes) -> Text:
    r"""
    The cues of a WebVTT text on the media timeline (RFC 8216bis 3.1.4).

    >>> read_text(b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:90000,LOCAL:00:00:00.000\n\n00:02.000 --> 00:03.500\nhello\n").cues
    ((3.0, 4.5),)
    """
    lines = data.decode("utf-8", "replace").splitlines()
    problems = [] if lines and re.fullmatch(r"WEBVTT([ \t].*)?", lines[0]) else ["the first line is not WEBVTT"]
    offset_s: float | None = None
    cues = []
    for line in lines[1:]:
        if line.startswith(MAP):
            fields = dict(field.partition(":")[::2] for field in line.removeprefix(MAP).split(","))
            local = CLOCK.fullmatch(fields.get("LOCAL", ""))
            if local is None or not fields.get("MPEGTS", "").isdigit():
                problems.append(f"{line!r} cannot be read")
            else:
                offset_s = int(fields["MPEGTS"]) / MPEG_TICKS - _seconds(local.groups())
        elif "-->" in line:
            timing = CUE.fullmatch(line)
            if timing is None:
                problems.append(f"{line!r} is no cue timing")
            else:
                cues.append((_seconds(timing.groups()[1:5]), _seconds(timing.groups()[6:10])))
    shift_s = offset_s or 0.0
    return Text(offset_s is not None, tuple((start + shift_s, end + shift_s) for start, end in cues), tuple(problems))


def _seconds(fields: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, millis = (int(field or 0) for field in fields)
    return 3_600 * hours + 60 * minutes + seconds + millis / 1_000

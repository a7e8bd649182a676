"""HLS playlists as text says them (draft-pantos-hls-rfc8216bis), without judging."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urljoin as _join

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')
NUMBER = re.compile(r"\d+(\.\d+)?")


# The same few hundred names stand in every reload.
@lru_cache(maxsize=4_096)
def urljoin(base: str, url: str) -> str:
    """As the standard library's."""
    return _join(base, url)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A partial segment as listed; ``start_ms`` is its wall time if the playlist has one."""

    url: str
    duration_s: float
    is_independent: bool
    is_gap: bool
    start_ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """
    A segment as listed.

    Attributes:
        msn: Media sequence number.
        url: Where it is.
        duration_s: EXTINF.
        start_ms: Wall time by the last PROGRAM-DATE-TIME and the durations since; None without any.
        has_time: Whether it has a PROGRAM-DATE-TIME of its own.
        jump_ms: Its own PROGRAM-DATE-TIME less what the one before and the durations since say; None if one is missing.
        map_url: Init segment in force.
        discontinuity: Number, counted from EXT-X-DISCONTINUITY-SEQUENCE.
        is_first_of_discontinuity: Whether EXT-X-DISCONTINUITY stands before it.
        is_gap: Whether EXT-X-GAP stands before it.
        parts: Its parts.
        tile: Attributes of EXT-X-TILES, as written; None without.
    """

    msn: int
    url: str
    duration_s: float
    start_ms: float | None
    has_time: bool
    jump_ms: float | None
    map_url: str | None
    discontinuity: int
    is_first_of_discontinuity: bool
    is_gap: bool
    parts: tuple[Part, ...]
    tile: str | None = None


@dataclass(kw_only=True, slots=True)
class Media:
    """A media playlist. ``open_*`` describe what follows the last segment."""

    url: str
    version: int | None = None
    target: str | None = None
    playlist_type: str | None = None
    part_target_s: float | None = None
    control: dict[str, str] = field(default_factory=dict)
    first_msn: int = 0
    discontinuity_sequence: int = 0
    skips: list[int] = field(default_factory=list)
    has_removed_dateranges: bool = False
    segments: list[Segment] = field(default_factory=list)
    open_parts: list[Part] = field(default_factory=list)
    open_map_url: str | None = None
    open_discontinuity: int = 0
    hints: list[dict[str, str]] = field(default_factory=list)
    reports: list[dict[str, str]] = field(default_factory=list)
    dateranges: list[dict[str, str]] = field(default_factory=list)
    is_ended: bool = False
    ends_in_segment: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """Segments that a delta update leaves out."""
        return self.skips[0] if self.skips else 0

    @property
    def target_s(self) -> float:
        """Target duration; 0 if it says none that can be read."""
        return float(self.target) if self.target and NUMBER.fullmatch(self.target) else 0.0

    @property
    def last_msn(self) -> int:
        """Number of the last segment listed."""
        return self.first_msn + self.skipped + len(self.segments) - 1

    @property
    def listed_s(self) -> float:
        """Length of the segments listed."""
        return sum(s.duration_s for s in self.segments)

    @property
    def is_low_latency(self) -> bool:
        """Whether it speaks of parts."""
        return self.part_target_s is not None or bool(self.open_parts) or bool(self.hints) or any(s.parts for s in self.segments)

    def seconds(self, name: str) -> float | None:
        """A number of EXT-X-SERVER-CONTROL."""
        text = self.control.get(name, "")
        return float(text) if NUMBER.fullmatch(text) else None

    @property
    def edge(self) -> tuple[int, int]:
        """How far it goes: (open segment, its parts)."""
        return self.last_msn + 1, len(self.open_parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A variant: its playlist and attributes."""

    url: str
    attributes: dict[str, str]


@dataclass(kw_only=True, slots=True)
class Multivariant:
    """A multivariant playlist; renditions are the attributes of EXT-X-MEDIA, their URI absolute; images name thumbnails."""

    url: str
    variants: list[Variant] = field(default_factory=list)
    renditions: list[dict[str, str]] = field(default_factory=list)
    images: list[Variant] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def playlists(self) -> list[str]:
        """Every media playlist, once."""
        return list(dict.fromkeys([*(v.url for v in self.variants), *(r["URI"] for r in self.renditions if "URI" in r)]))


def is_multivariant(text: str) -> bool:
    """Whether a playlist lists playlists."""
    return "#EXT-X-STREAM-INF" in text


def attributes(text: str) -> dict[str, str]:
    """
    An attribute list, quotes taken away.

    >>> attributes('TYPE=PART,URI="a,b.m4s",N=1')
    {'TYPE': 'PART', 'URI': 'a,b.m4s', 'N': '1'}
    """
    return {name: value.strip('"') for name, value in ATTRIBUTE.findall(text)}


def unix_ms(text: str) -> float | None:
    """
    An ISO 8601 time; None if it is none.

    >>> unix_ms("1970-01-01T00:00:01.500Z"), unix_ms("noon")
    (1500.0, None)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000


def read_multivariant(text: str, url: str) -> Multivariant:
    """Take a multivariant playlist apart."""
    found = Multivariant(url=url)
    pending: dict[str, str] | None = None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "#EXT-X-STREAM-INF":
            pending = attributes(value)
        elif name == "#EXT-X-IMAGE-STREAM-INF":
            fields = attributes(value)
            found.images.append(Variant(url=urljoin(url, fields.get("URI", "")), attributes=fields))
        elif name == "#EXT-X-MEDIA":
            rendition = attributes(value)
            found.renditions.append(rendition | ({"URI": urljoin(url, rendition["URI"])} if "URI" in rendition else {}))
        elif line and not line.startswith("#"):
            if pending is None:
                found.problems.append(f"{line!r} has no EXT-X-STREAM-INF")
            else:
                found.variants.append(Variant(url=urljoin(url, line), attributes=pending))
            pending = None
    return found


class _Reader:
    """State between the lines of a media playlist."""

    def __init__(self, url: str) -> None:
        self.found = Media(url=url)
        self.clock_ms: float | None = None
        self.part_clock_ms: float | None = None
        self.reset()
        self.map_url: str | None = None
        self.breaks = 0

    def reset(self) -> None:
        self.duration_s: float | None = None
        self.parts: list[Part] = []
        self.has_time = self.is_gap = self.is_break = False
        self.jump_ms: float | None = None
        self.tile: str | None = None

    def number(self, text: str, line: str) -> float:
        if NUMBER.fullmatch(text.strip()):
            return float(text)
        self.found.problems.append(f"no number in {line!r}")
        return 0.0

    def uri(self, fields: dict[str, str], line: str) -> str:
        if "URI" not in fields:
            self.found.problems.append(f"no URI in {line!r}")
        return urljoin(self.found.url, fields.get("URI", ""))

    def take(self, line: str) -> None:
        found = self.found
        name, _, value = line.partition(":")
        match name:
            case "#EXT-X-VERSION":
                found.version = int(self.number(value, line))
            case "#EXT-X-TARGETDURATION":
                found.target = value
            case "#EXT-X-PLAYLIST-TYPE":
                found.playlist_type = value
            case "#EXT-X-PART-INF":
                found.part_target_s = self.number(attributes(value).get("PART-TARGET", ""), line)
            case "#EXT-X-SERVER-CONTROL":
                found.control = attributes(value)
            case "#EXT-X-MEDIA-SEQUENCE":
                found.first_msn = int(self.number(value, line))
            case "#EXT-X-DISCONTINUITY-SEQUENCE":
                found.discontinuity_sequence = int(self.number(value, line))
            case "#EXT-X-SKIP":
                fields = attributes(value)
                found.skips.append(int(self.number(fields.get("SKIPPED-SEGMENTS", ""), line)))
                found.has_removed_dateranges = "RECENTLY-REMOVED-DATERANGES" in fields
            case "#EXT-X-MAP":
                self.map_url = self.uri(attributes(value), line)
            case "#EXT-X-DISCONTINUITY":
                self.breaks += 1
                self.is_break = True
                self.clock_ms = self.part_clock_ms = None
            case "#EXT-X-TILES":
                self.tile = value
            case "#EXT-X-GAP":
                self.is_gap = True
            case "#EXT-X-PROGRAM-DATE-TIME":
                self.time(value, line)
            case "#EXTINF":
                self.duration_s = self.number(value.partition(",")[0], line)
            case "#EXT-X-PART":
                self.part(attributes(value), line)
            case "#EXT-X-PRELOAD-HINT":
                fields = attributes(value)
                found.hints.append(fields | {"URI": self.uri(fields, line)})
            case "#EXT-X-RENDITION-REPORT":
                fields = attributes(value)
                found.reports.append(fields | {"URI": self.uri(fields, line)})
            case "#EXT-X-DATERANGE":
                found.dateranges.append(attributes(value))
            case "#EXT-X-ENDLIST":
                found.is_ended = True
            case _ if line.strip() and not line.startswith("#"):
                self.segment(urljoin(found.url, line.strip()), line)

    def time(self, value: str, line: str) -> None:
        at = unix_ms(value)
        if at is None:
            self.found.problems.append(f"no time in {line!r}")
            return
        self.jump_ms = None if self.clock_ms is None else at - self.clock_ms
        self.clock_ms = self.part_clock_ms = at
        self.has_time = True

    def part(self, fields: dict[str, str], line: str) -> None:
        duration_s = self.number(fields.get("DURATION", ""), line)
        made = Part(
            url=self.uri(fields, line),
            duration_s=duration_s,
            is_independent=fields.get("INDEPENDENT") == "YES",
            is_gap=fields.get("GAP") == "YES",
            start_ms=self.part_clock_ms,
        )
        self.parts.append(made)
        if self.part_clock_ms is not None:
            self.part_clock_ms += duration_s * 1_000

    def segment(self, url: str, line: str) -> None:
        found = self.found
        if self.duration_s is None:
            found.problems.append(f"{line!r} has no EXTINF")
        duration_s = self.duration_s or 0.0
        made = Segment(
            msn=found.last_msn + 1,
            url=url,
            duration_s=duration_s,
            start_ms=self.clock_ms,
            has_time=self.has_time,
            jump_ms=self.jump_ms,
            map_url=self.map_url,
            discontinuity=found.discontinuity_sequence + self.breaks,
            is_first_of_discontinuity=self.is_break,
            is_gap=self.is_gap,
            parts=tuple(self.parts),
            tile=self.tile,
        )
        found.segments.append(made)
        if self.clock_ms is not None:
            self.clock_ms += duration_s * 1_000
        self.part_clock_ms = self.clock_ms
        self.reset()


def read_media(text: str, url: str) -> Media:
    """Take a media playlist apart; what cannot be read is in ``problems``."""
    reader = _Reader(url)
    found = reader.found
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "#EXTM3U":
        found.problems.append("the first line is not #EXTM3U")
    for line in lines:
        reader.take(line)
    found.open_parts, found.open_map_url = reader.parts, reader.map_url
    found.open_discontinuity = found.discontinuity_sequence + reader.breaks
    trailing = [line for line in lines if not line.startswith("#EXT-X-RENDITION-REPORT")]
    found.ends_in_segment = bool(trailing) and not trailing[-1].startswith("#")
    if not text.endswith("\n"):
        found.problems.append("the last line has no end: cut short")
    return found

"""HLS playlists as a viewer reads them, and what a viewer may hold against them; knows nothing of who wrote them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')
# RFC 8216bis 4.4.3.8: without HOLD-BACK a client starts three target durations before the end.
HOLD_BACK_TARGETS = 3


class BadPlaylistError(Exception):
    """A playlist breaks a rule or contradicts an earlier one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """
    One variant of a multivariant playlist.

    Attributes:
        url: Its video playlist.
        audio_url: The audio playlist that goes with it; None when audio is muxed or absent.
        bandwidth_bps: Declared peak.
    """

    url: str
    audio_url: str | None
    bandwidth_bps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """
    One segment as listed.

    Attributes:
        msn: Media sequence number.
        url: Where it is; None for one declared lost.
        duration_s: Its length.
        map_url: Its init segment.
        discontinuity: Discontinuity sequence number.
    """

    msn: int
    url: str | None
    duration_s: float
    map_url: str | None
    discontinuity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Playlist:
    """
    One media playlist.

    Attributes:
        target_s: Target duration.
        segments: What it lists.
        hold_back_s: How far from the end a viewer stays.
        ended: Nothing will follow.
    """

    target_s: int
    segments: tuple[Segment, ...]
    hold_back_s: float
    ended: bool


def parse_multivariant(text: str, base: str) -> tuple[Variant, ...]:
    """
    Variants by rising bandwidth.

    Raises:
        BadPlaylistError: It is no multivariant playlist.
    """
    lines = _lines(text)
    audio = {}
    variants = []
    for number, line in enumerate(lines):
        tag, _, rest = line.partition(":")
        attributes = {name: value.strip('"') for name, value in ATTRIBUTE.findall(rest)}
        if tag == "#EXT-X-MEDIA" and attributes.get("TYPE") == "AUDIO" and "URI" in attributes:
            audio[attributes["GROUP-ID"]] = urljoin(base, attributes["URI"])
        if tag == "#EXT-X-STREAM-INF":
            group = attributes.get("AUDIO", "")
            variants.append((int(attributes["BANDWIDTH"]), urljoin(base, lines[number + 1]), group))
    if not variants:
        raise BadPlaylistError(f"{base} lists no variant")
    return tuple(Variant(url=url, audio_url=audio.get(group), bandwidth_bps=bandwidth) for bandwidth, url, group in sorted(variants))


def parse_media(text: str, base: str) -> Playlist:
    """
    A media playlist; its parts are passed over, as a plain player does.

    Raises:
        BadPlaylistError: A tag that must be there is missing, or a segment is longer than the target duration.
    """
    numbers = {"#EXT-X-TARGETDURATION": 0, "#EXT-X-MEDIA-SEQUENCE": 0, "#EXT-X-DISCONTINUITY-SEQUENCE": 0}
    segments: list[Segment] = []
    map_url, duration, gap, hold_back, ended = None, None, False, 0.0, False
    for line in _lines(text):
        tag, _, rest = line.partition(":")
        attributes = dict(ATTRIBUTE.findall(rest)) if "=" in rest else {}
        if tag in numbers:
            numbers[tag] = int(rest)
        elif tag == "#EXT-X-SERVER-CONTROL":
            hold_back = float(attributes.get("HOLD-BACK", 0))
        elif tag == "#EXT-X-MAP":
            map_url = urljoin(base, attributes["URI"].strip('"'))
        elif tag == "#EXT-X-DISCONTINUITY":
            numbers["#EXT-X-DISCONTINUITY-SEQUENCE"] += 1
        elif tag == "#EXT-X-GAP":
            gap = True
        elif tag == "#EXT-X-ENDLIST":
            ended = True
        elif tag == "#EXTINF":
            duration = float(rest.split(",")[0])
        elif not line.startswith("#"):
            if duration is None:
                raise BadPlaylistError(f"{base} lists {line} without EXTINF")
            msn, number = numbers["#EXT-X-MEDIA-SEQUENCE"] + len(segments), numbers["#EXT-X-DISCONTINUITY-SEQUENCE"]
            url = None if gap else urljoin(base, line)
            segments.append(Segment(msn=msn, url=url, duration_s=duration, map_url=map_url, discontinuity=number))
            duration, gap = None, False
    target = numbers["#EXT-X-TARGETDURATION"]
    if target < 1:
        raise BadPlaylistError(f"{base} has no EXT-X-TARGETDURATION")
    if any(round(segment.duration_s) > target for segment in segments):
        raise BadPlaylistError(f"{base} lists a segment longer than its target duration of {target} s")
    return Playlist(target_s=target, segments=tuple(segments), hold_back_s=hold_back or HOLD_BACK_TARGETS * target, ended=ended)


def contradictions(before: Playlist, after: Playlist) -> Iterator[str]:
    r"""
    Ways in which a reloaded playlist takes back what it said (media rules 1, 3 and 4).

    >>> first = parse_media("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.m4s\n", "http://o/")
    >>> list(contradictions(first, parse_media("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:2,\nb.m4s\n", "http://o/")))
    ['segment 0 changed from http://o/a.m4s of 4.0 s to http://o/b.m4s of 2.0 s']
    """
    if before.target_s != after.target_s:
        yield f"the target duration changed from {before.target_s} to {after.target_s} s"
    if not before.segments:
        return
    if not after.segments:
        yield "all segments vanished"
        return
    listed = {segment.msn: segment for segment in after.segments}
    if after.segments[0].msn < before.segments[0].msn:
        yield f"the first segment fell from {before.segments[0].msn} to {after.segments[0].msn}"
    if after.segments[-1].msn < before.segments[-1].msn:
        yield f"the last segment fell from {before.segments[-1].msn} to {after.segments[-1].msn}"
    for old in before.segments:
        new = listed.get(old.msn)
        if new is not None and new != old:
            yield f"segment {old.msn} changed from {old.url} of {old.duration_s} s to {new.url} of {new.duration_s} s"


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "#EXTM3U":
        raise BadPlaylistError("it does not begin with #EXTM3U")
    return lines

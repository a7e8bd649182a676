"""What must hold of outputs whatever happened, for properties, simulation and tests over HTTP."""

from dataclasses import dataclass
from functools import lru_cache

# What is compared with what came before it is read once.
TEXTS_MAX = 256
FIXED = ("#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-SERVER-CONTROL", "#EXT-X-PART-INF")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """
    A media playlist as its text says it, read without our renderer.

    Attributes:
        fixed: Lines that never change.
        first: Media sequence number of the first segment.
        discontinuity: Discontinuity sequence number of the first segment.
        segments: Per segment its lines but those of parts; parts may be removed with age.
        parts: Part lines of each segment, and last those of the open one.
        is_ended: Whether the playlist ended.
    """

    fixed: tuple[str, ...]
    first: int
    discontinuity: int
    segments: tuple[tuple[str, ...], ...]
    parts: tuple[tuple[str, ...], ...]
    is_ended: bool


@lru_cache(TEXTS_MAX)
def read_playlist(text: str) -> Listed:
    """A media playlist taken apart."""
    fixed: list[str] = []
    segments: list[tuple[str, ...]] = []
    parts: list[tuple[str, ...]] = []
    numbers: dict[str, int] = {}
    tags: list[str] = []
    open_parts: list[str] = []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in FIXED:
            fixed.append(line)
        elif name in {"#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE"}:
            numbers[name] = int(value)
        elif name == "#EXT-X-PART":
            open_parts.append(line)
        elif not line.startswith("#"):
            # The init segment is a state: it is written again when the segment that named it has left the playlist.
            segments.append((*[tag for tag in tags if not tag.startswith("#EXT-X-MAP")], line))
            parts.append(tuple(open_parts))
            tags, open_parts = [], []
        elif name not in {"#EXTM3U", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT", "#EXT-X-ENDLIST"}:
            tags.append(line)
    return Listed(
        fixed=tuple(fixed),
        first=numbers["#EXT-X-MEDIA-SEQUENCE"],
        discontinuity=numbers["#EXT-X-DISCONTINUITY-SEQUENCE"],
        segments=tuple(segments),
        parts=(*parts, tuple(open_parts)),
        is_ended="#EXT-X-ENDLIST" in text,
    )


def assert_continues(before: str, after: str, where: str = "") -> None:
    """Media rule 3: between two reloads segments were appended or left at the head, and nothing else changed."""
    old, new = read_playlist(before), read_playlist(after)
    assert new.fixed == old.fixed, f"{where}: {old.fixed} became {new.fixed}"
    assert new.first >= old.first, f"{where}: the first segment fell from {old.first} to {new.first}"
    was_end, end = old.first + len(old.segments), new.first + len(new.segments)
    assert end >= was_end, f"{where}: the last segment fell from {was_end - 1} to {end - 1}"
    removed = new.first - old.first
    breaks = sum("#EXT-X-DISCONTINUITY" in segment for segment in old.segments[1 : removed + 1])
    told = f"{where}: the discontinuity sequence went from {old.discontinuity} to {new.discontinuity} over {breaks} discontinuities"
    assert new.discontinuity == old.discontinuity + breaks or removed >= len(old.segments), told
    kept = old.segments[removed:]
    for i, segment in enumerate(kept):
        # A discontinuity before the first segment of a playlist is told by the sequence number alone.
        same = tuple(tag for tag in segment if i > 0 or tag != "#EXT-X-DISCONTINUITY")
        assert new.segments[i] == same, f"{where}: segment {new.first + i} was {same} and is {new.segments[i]}"
    for msn, (was, now) in enumerate(zip(old.parts[removed:], new.parts, strict=False), new.first):
        assert not now or now[: len(was)] == was, f"{where}: parts of {msn} were {was} and are {now}"
    assert not old.is_ended or before == after, f"{where}: it changed after its end"

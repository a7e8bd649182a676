"""
What became of every chunk: the log of one media partition, cut again by a cutter that is not the packager's, against store and reports.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.validator.recut import Recut, recut

AVRO = Path(__file__).parents[2] / "schemas" / "avro"
SegmentId = tuple[str, int, str]
"""Channel, media sequence number, track."""
Stretch = tuple[int, int | None]
"""First segment that is packaged, and the first that no longer is; None while it goes on."""
NAMED_MAX = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """
    What the control plane and the packagers said in the log.

    Attributes:
        packaged: Stretches of each channel that are packaged.
        published: Segments that were reported.
        voids: Segments that were declared lost, and why.
        open_from: First segment of each channel that need not be whole, since the channel goes on; absent: it ended.
    """

    packaged: Mapping[str, Sequence[Stretch]]
    published: Collection[SegmentId]
    voids: Mapping[SegmentId, str]
    open_from: Mapping[str, int] = field(default_factory=dict)

    def is_packaged(self, channel: str, msn: int) -> bool:
        """Whether a segment is promised."""
        return any(first <= msn and (until is None or msn < until) for first, until in self.packaged.get(channel, ()))


@dataclass(slots=True)
class Account:
    """
    Every chunk under one heading, and what is wrong.

    Attributes:
        chunks: So many under each: published, cut, void (for a reason), off, ignored, open.
        objects: Objects that were compared.
        lost: Segments of a packaged stretch with chunks under no heading.
        foreign: Objects that the log does not know, or whose bytes are not the log's.
        absent: Segments reported published whose object is not there.
    """

    chunks: Counter[str] = field(default_factory=Counter)
    objects: int = 0
    lost: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All chunks."""
        return sum(self.chunks.values())

    def take(
        self, media: Sequence[tuple[int, bytes]], channels: Sequence[bytes], word: Word, *, stored: Collection[str],
        get: Callable[[str], bytes],
    ) -> None:  # fmt: skip
        """
        Add one partition of ``media``.

        Args:
            media: Offset and value of its records, in order.
            channels: Values of ``channels``.
            word: What was said.
            stored: Names of all media objects in the store.
            get: Bytes of one of them.
        """
        again = recut(media, channels, AVRO)
        mine = {channel for channel, _, _ in again.held}
        self.chunks["cut"] += again.cut
        self.chunks["ignored"] += again.ignored
        right = set()
        for name in stored:
            if name.split("/")[0] in mine:
                self.objects += 1
                if again.objects.get(name) == get(name):
                    right.add(name)
                else:
                    self.foreign.append(name)
        for segment, count in sorted(again.held.items()):
            self.chunks[self._heading(segment, count, again, word, right)] += count

    def _heading(self, segment: SegmentId, count: int, again: Recut, word: Word, right: Collection[str]) -> str:
        channel, msn, track = segment
        name = again.segments.get(segment)
        if segment in word.published:
            if name in right:
                return "published"
            self.absent.append(f"{channel}/{track} segment {msn} ({name or 'not whole in the log'})")
        if not word.is_packaged(channel, msn):
            return "off"
        if segment in word.voids:
            return f"void: {word.voids[segment]}"
        if name is None and msn >= word.open_from.get(channel, msn + 1):
            return "open"
        state = "not whole in the log" if name is None else "in the store" if name in right else "not in the store"
        self.lost.append(f"{channel}/{track} segment {msn}: {count} chunks, {state}")
        return "lost"


def named(what: Sequence[str]) -> str:
    """The first of them, and how many there are."""
    more = f" and {len(what) - NAMED_MAX} more" if len(what) > NAMED_MAX else ""
    return f"{len(what)}: {'; '.join(what[:NAMED_MAX])}{more}" if what else "none"

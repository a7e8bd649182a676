"""Where a log is read back from: the topics in Kafka, or a file of lines that `finecut replay` wrote."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from schemas.errors import RejectedError, UserError
from schemas.settings import KafkaSettings
from schemas.topics import Topic

from .entries import Entry, from_line
from .positions import Offset, Position
from .reader import Progress, Stretch, read, stretches


class Source(Protocol):
    """A log that can be read by stretches of its partitions."""

    def stretches(self, topics: Sequence[Topic], *, begin: Position | None = None, end: Position | None = None) -> tuple[Stretch, ...]:
        """The partitions of the topics between two positions, those that hold nothing there left out."""
        ...

    def read(self, wanted: Sequence[Stretch], *, progress: Progress | None = None) -> Iterator[Entry]:
        """Entries of the stretches, those of each partition in order, topic after topic."""
        ...


class KafkaSource:
    """The topics themselves."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def stretches(self, topics: Sequence[Topic], *, begin: Position | None = None, end: Position | None = None) -> tuple[Stretch, ...]:
        """As `Source` says; raises UserError when a topic does not exist or the cluster does not answer."""
        return stretches(self._kafka, topics, begin=begin, end=end)

    def read(self, wanted: Sequence[Stretch], *, progress: Progress | None = None) -> Iterator[Entry]:
        """As `Source` says."""
        return read(self._kafka, wanted, progress=progress)


class FileSource:
    """
    Entries of a file of lines, held in memory.

    Raises:
        UserError: It cannot be read, or a line is none of ours: with its number.
    """

    def __init__(self, path: Path) -> None:
        self._held: dict[tuple[Topic, int], list[Entry]] = defaultdict(list)
        for entry in _lines(path):
            self._held[entry.topic, entry.partition].append(entry)
        for held in self._held.values():
            held.sort(key=lambda entry: entry.offset)

    def stretches(self, topics: Sequence[Topic], *, begin: Position | None = None, end: Position | None = None) -> tuple[Stretch, ...]:
        """As `Source` says."""
        found = []
        for topic in topics:
            for (held, partition), entries in sorted(self._held.items(), key=lambda item: item[0][1]):
                kept = [e for e in entries if held is topic and not _is_before(e, begin) and (end is None or _is_before(e, end))]
                if kept:
                    found.append(Stretch(topic=topic, partition=partition, first=kept[0].offset, end=kept[-1].offset + 1))
        return tuple(found)

    def read(self, wanted: Sequence[Stretch], *, progress: Progress | None = None) -> Iterator[Entry]:
        """As `Source` says."""
        entries = [
            entry
            for stretch in wanted
            for entry in self._held[stretch.topic, stretch.partition]
            if stretch.first <= entry.offset < stretch.end
        ]
        yield from entries
        if progress:
            progress(len(entries), len(entries))


def _is_before(entry: Entry, position: Position | None) -> bool:
    if position is None:
        return False
    return entry.offset < position.value if isinstance(position, Offset) else entry.at_unix_ms < position.unix_ms


def _lines(path: Path) -> Iterator[Entry]:
    try:
        with path.open() as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield from_line(line)
                except (json.JSONDecodeError, KeyError, TypeError, ValueError, RejectedError) as error:
                    told = f"{path}, line {number}: this is no record: {error!r}"
                    raise UserError(told, do="give it what `finecut replay` prints, line by line") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", do="name a file that `finecut replay > FILE` wrote") from error

"""
Our stages over a log in a file, as a packager goes through them, objects into the working directory.

    python -m tests.bench.stages LOG segments|parts

The log is the records of a channel, each behind its length, its period first. A process of its own, so that the kernel counts what it uses.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from packager.boxes import check_chunk
from packager.cuts import CutPart, CutSegment
from packager.publisher import Publisher
from packager.scope import Scope
from packager.slicing import SliceCutter
from packager.store import DirectoryStore
from schemas.codec import Codec
from schemas.records import Chunk, Period
from schemas.settings import StoreSettings
from schemas.units import Ms, Msn, UnixMs

LENGTH_BYTES = 4


def write(records: Iterator[bytes], file: Path) -> None:
    """A log of these records."""
    with file.open("wb") as log:
        for record in records:
            log.write(len(record).to_bytes(LENGTH_BYTES, "big") + record)


def read(file: Path) -> Iterator[bytes]:
    """The records of a log."""
    with file.open("rb") as log:
        while head := log.read(LENGTH_BYTES):
            yield log.read(int.from_bytes(head, "big"))


def main(log: Path, *, parts: bool) -> None:
    """Decode, check, cut and publish all of it."""
    codec, records = Codec(), read(log)
    period = codec.decode(next(records))
    assert isinstance(period, Period)
    scope = Scope(tracks=frozenset(track.track for track in period.tracks), from_msn=Msn(0), parts=parts)
    cutter = SliceCutter(scope, check=check_chunk)
    publisher = Publisher(DirectoryStore(StoreSettings(directory=Path.cwd(), free_bytes_min=1)), retry_ms=Ms(1))
    for offset, record in enumerate(records):
        chunk = codec.decode_chunk(record)
        assert isinstance(chunk, Chunk)
        for cut in cutter.feed(chunk, offset=offset, durable_unix_ms=UnixMs(0), periods={0: period}):
            if isinstance(cut, CutPart | CutSegment):
                publisher.publish(cut.name, cut.pieces)


if __name__ == "__main__":
    main(Path(sys.argv[1]), parts=sys.argv[2] == "parts")

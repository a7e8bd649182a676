"""Time and throughput of one core through the stages of a packager, without Kafka: `python -m tests.bench.packaging [SECONDS_OF_MEDIA]`."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from packager.boxes import check_chunk
from packager.cutter import CutPart, CutSegment, Cutter, Scope
from packager.publisher import Publisher
from packager.store import DirectoryStore
from schemas.codec import Codec
from schemas.settings import StoreSettings
from schemas.units import Ms, Msn, UnixMs
from tests.builders import make_chunks, make_period

FRAME_BYTES = 8_000  # 1.6 Mb/s, the middle of the default ladder


def main(seconds: int) -> None:
    """Prints one line per stage."""
    period = make_period(tracks=("v0", "v1", "v2"))
    chunks = make_chunks(period, (4,) * (seconds // 4), frame_bytes=FRAME_BYTES)
    size = sum(len(chunk.payload) for chunk in chunks)
    tracks = {track.track: track for track in period.tracks}
    codec = Codec()
    framed = [codec.encode(chunk) for chunk in chunks]

    def measure(what: str, work: Callable[[], object]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"{what:<28}{cpu / len(chunks) * 1e6:8.1f} us/chunk CPU {size / cpu / 1e6:8.0f} MB per core-second, wall {wall:6.2f} s")

    def check() -> None:
        for chunk in chunks:
            check_chunk(chunk, tracks[chunk.track])

    def cut(publish: Callable[[CutPart | CutSegment], object]) -> None:
        scope = Scope(tracks=frozenset(tracks), from_msn=Msn(0))
        cutter = Cutter(period, scope, check=check_chunk)
        for offset, chunk in enumerate(chunks):
            for one in cutter.feed(chunk, offset=offset, durable_unix_ms=UnixMs(0)):
                if isinstance(one, CutPart | CutSegment):
                    publish(one)

    print(f"{len(chunks)} chunks, {size / 1e6:.0f} MB")
    measure("decode", lambda: [codec.decode_chunk(data) for data in framed])
    measure("check boxes", check)
    measure("check and cut", lambda: cut(lambda _: None))
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher(DirectoryStore(StoreSettings(directory=Path(folder), free_bytes_min=1)), retry_ms=Ms(1))
        measure("check, cut and publish", lambda: cut(lambda one: publisher.publish(one.name, one.pieces)))
        measure("the same, all there already", lambda: cut(lambda one: publisher.publish(one.name, one.pieces)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)

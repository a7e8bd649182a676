"""
An origin without Kafka: a channel grows by a part of every track each half second, and `packager.origin` serves it.

`python -m tests.bench.origin_live FOLDER` says its address, then ``PART SECONDS`` of what it publishes, by the monotonic clock.
"""

import asyncio
import random
import sys
import time
from itertools import chain, count, islice, repeat
from pathlib import Path

import uvloop

from packager.origin.app import Origin
from packager.origin.demand import Audience
from packager.origin.latency import Latency
from packager.origin.live import Live
from packager.origin.objects import Objects
from packager.origin.serving import listen, serve
from packager.store import DirectoryStore
from schemas.records import Parts
from schemas.settings import OriginSettings, StoreSettings
from schemas.timeline import PART_SUFFIX, object_name
from schemas.units import Ms, UnixMs
from tests import facts

PART_S = 0.5
# A part of a rendition of 1 Mb/s.
PART_BYTES = 62_500
BEFORE_SEGMENTS = 10
# An object as large as a segment of good picture.
LARGE_NAME = "bench/0/large/0.m4s"
LARGE_BYTES = 2**20


async def main(folder: Path) -> None:
    """Serves until killed."""
    store, live = DirectoryStore(StoreSettings(directory=folder, free_bytes_min=1)), Live()
    origin = Origin(
        live=live,
        objects=Objects(store, live),
        audience=Audience(session_timeout_ms=10_000, sessions_max=100_000),
        latency=Latency(random.Random(1)),
        ask=lambda channel, *, low_latency: None,
        is_ready=lambda: True,
        now=lambda: UnixMs(time.time_ns() // 1_000_000),
        blocked_ms_max=Ms(12_000),
    )
    store.create_if_absent(LARGE_NAME, [random.randbytes(LARGE_BYTES)])
    settings = OriginSettings(port=0)
    listener = listen(settings)
    period = facts.period("bench", time_shift_ms=60_000)
    live.fold([period, facts.start("bench")])
    records = facts.run(period, chain(repeat(4)))
    per_segment = 4 * len(period.grid) + 1
    tracks = len(period.tracks)

    def publish(record: object) -> None:
        for part in record.parts if isinstance(record, Parts) else ():
            store.create_if_absent(object_name("bench", 0, part.track, part.start_ticks, PART_SUFFIX), [random.randbytes(PART_BYTES)])
        live.fold([record])

    for record in islice(records, BEFORE_SEGMENTS * per_segment):
        publish(record)
    serving = asyncio.create_task(serve(origin.app(), settings, listener, asyncio.Event()))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    began = time.monotonic()
    for number in count():
        await asyncio.sleep(max(0.0, began + number * PART_S - time.monotonic()))
        record = next(records)
        publish(record)
        if not isinstance(record, Parts):
            record = next(records)
            publish(record)
        assert isinstance(record, Parts)
        assert len(record.parts) == tracks
        part = record.parts[0]
        print(f"{part.msn}.{part.index} {time.monotonic()}", flush=True)
        if serving.done():
            serving.result()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))

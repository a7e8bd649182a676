"""
What a level, a slice and a thumbnail cost, without Kafka: `python -m tests.bench.slices [SECONDS_OF_MEDIA]`.

One packager's cutting and publishing of the same log, as ratios in one run: whole segments beside parts, one track of four beside all,
every second segment beside each, and a thumbnail beside the media of its segment.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import av
import numpy as np

from packager.boxes import check_chunk
from packager.cuts import CutPart, CutPicture, CutSegment
from packager.publisher import Publisher
from packager.scope import Scope
from packager.slicing import SliceCutter
from packager.store import DirectoryStore
from packager.thumbnails import jpeg
from schemas.codec import Codec
from schemas.records import Thumbnails
from schemas.settings import StoreSettings
from schemas.timeline import picture_track
from schemas.units import Ms, Msn, Ticks, UnixMs
from tests.builders import make_chunks, make_period

TRACKS = ("v0", "v1", "v2", "a0")
FRAME_BYTES = 8_000  # 1.6 Mb/s, the middle of the default ladder
SEGMENT_S = 4
PICTURES = 50


def main(seconds: int) -> None:
    """Prints one line per slice."""
    period = make_period(tracks=TRACKS)
    chunks = make_chunks(period, (SEGMENT_S,) * (seconds // SEGMENT_S), frame_bytes=FRAME_BYTES)
    codec = Codec()
    framed = [codec.encode(chunk) for chunk in chunks]
    everything = Scope(tracks=frozenset(TRACKS), from_msn=Msn(0))
    print(f"{seconds} s of {len(TRACKS)} tracks, {len(chunks)} chunks")
    whole = _package(codec, framed, everything, "all tracks, parts", seconds)
    for what, scope in (
        ("all tracks, segments", replace(everything, parts=False)),
        ("one track of four, parts", replace(everything, tracks=frozenset({"v1"}))),
        ("every second segment", replace(everything, turns=2)),
    ):
        _package(codec, framed, scope, what, seconds, beside=whole)
    print(f"{'a thumbnail (640x360 to 160x90)':<34}{_thumbnail_ms():8.2f} ms CPU, one per segment of {whole * SEGMENT_S * 1e3:.1f} ms CPU")


def _package(codec: Codec, framed: list[bytes], scope: Scope, what: str, seconds: int, *, beside: float = 0.0) -> float:
    """CPU seconds per second of media of one who reads the log for a slice, decodes what it needs, cuts and publishes."""
    period = make_period(tracks=TRACKS)
    cutter, kinds = SliceCutter(scope, check=check_chunk), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher(DirectoryStore(StoreSettings(directory=Path(folder), free_bytes_min=1)), retry_ms=Ms(1))
        began, held = time.process_time(), 0
        for offset, data in enumerate(framed):
            record = codec.decode_chunk(data)
            for cut in cutter.feed(record, offset=offset, durable_unix_ms=UnixMs(0), periods={0: period}):
                if isinstance(cut, CutPart | CutSegment):
                    publisher.publish(cut.name, cut.pieces)
                    kinds[type(cut).__name__] += 1
            held = max(held, cutter.held_bytes)
        spent = (time.process_time() - began) / seconds
    ratio = f"{spent / beside:5.2f} of the first" if beside else ""
    print(f"{what:<34}{spent * 1e3:8.2f} ms CPU/s of media, {kinds.total() / seconds:5.1f} objects/s, {held / 1e6:5.1f} MB held {ratio}")
    return spent


def _thumbnail_ms() -> float:
    plain = make_period(tracks=TRACKS)
    init, chunk = _encoded(640, 360)
    wanted = Thumbnails(track="thumb0", source="v0", width=160, height=90)
    period = replace(plain, tracks=(replace(plain.tracks[0], init=init), *plain.tracks[1:]), thumbnails=wanted)
    track = picture_track(period)
    assert track is not None
    cut = CutPicture(
        period=period, track=track, msn=Msn(0), start_ticks=Ticks(0), duration_ticks=Ticks(1), durable_unix_ms=UnixMs(0), pieces=(chunk,)
    )
    return _cpu_ms(lambda: jpeg(cut), PICTURES)


def _cpu_ms(work: Callable[[], object], times: int) -> float:
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e3


def _encoded(width: int, height: int) -> tuple[bytes, bytes]:
    """An init segment and a chunk of pictures with some detail, at about 40 kB for an IDR."""
    out, noise = BytesIO(), np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    with av.open(out, "w", format="mp4", options={"movflags": "empty_moov+default_base_moof+frag_keyframe"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "superfast", "tune": "zerolatency"}
        for number in range(6):
            plane = (x // 3 + y // 2 + 4 * number) % 200 + noise.integers(0, 24, (height, width))
            frame = av.VideoFrame.from_ndarray(np.repeat(plane[:, :, None], 3, 2).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = out.getvalue()
    moof, mdat = data.index(b"moof") - 4, data.index(b"mdat") - 4
    return data[:moof], data[moof : mdat + int.from_bytes(data[mdat : mdat + 4], "big")]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)

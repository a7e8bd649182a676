"""
Makes the recordings that the tests of the validator replay: small channels of a real line, seen for a while.

`good`: low latency, half a minute; its segments get shorter, and its encoder is killed and begins again. `aside`: with captions and
thumbnails.   python -m tests.unit.validator.record [good] [aside]
"""

import asyncio
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from infra.kafka import LocalBroker, prepare
from infra.local import LiveInput
from infra.validator.checks import check
from infra.validator.evidence import Evidence
from infra.validator.recording import Exchange, save
from infra.validator.watch import Wanted, watch
from schemas.records import Level
from streams.ingest.ladder import Rendition
from streams.ingest.recording import make_recording
from tests.line import CACHE, Line, whole_line
from tests.unit.ingest.subtitled import subtitled

HERE = Path(__file__).parent
RATE, SIZE = 25, (160, 90)
LADDER = (Rendition(track="v0", width=96, height=54, bitrate_bps=24_000), Rendition(track="v1", width=160, height=90, bitrate_bps=40_000))
RECORDING_S, WATCHED_S = 8, 30.0
ASIDE_S = 14.0


def small_clip(path: Path) -> None:
    """A square that moves over a plain ground, in silence."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("aac", rate=48_000)
        for number in range(RATE * RECORDING_S):
            picture = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
            left = number * 2 % (SIZE[0] - 20)
            picture[30:50, left : left + 20] = (200, 120, 40)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for number in range(48_000 * RECORDING_S // 1_024):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1_024), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts = 48_000, number * 1_024
            container.mux(audio.encode(silence))
        for stream in (video, audio):
            container.mux(stream.encode(None))


def story(line: Line, began_s: float) -> None:
    """What happens to the channel while it is watched."""
    child = next(child for child in line.run.supervisor.children.values() if child.role == "encode")
    turn, is_restarted = 0, False
    while time.monotonic() < began_s + WATCHED_S:
        line.hear()
        if turn < 40:
            turn += 1
            line.arrive("show", 2, prefix=f"turn-{turn}")
        if not is_restarted and time.monotonic() > began_s + 0.6 * WATCHED_S:
            is_restarted = True
            line.run.supervisor.kill(child.name)
            line.run.supervisor.revive(child)


def good(folder: Path, kafka: LocalBroker, exchanges: list[Exchange]) -> Evidence:
    """A channel to which something happens."""
    small_clip(folder / "clip.mp4")
    make_recording(str(folder / "clip.mp4"), folder / "small", RECORDING_S, ladder=LADDER)
    evidence = Evidence()
    with whole_line(kafka, folder / "good", packagers=2, GRANULARITY__HOLD_MS=2_000, MEDIA__TIME_SHIFT_MS=36_000) as line:
        line.run.go_live(LiveInput(name="play-show", source=folder / "small", channels=("show",), idle_level=Level.PARTS))
        line.goes_on("show", segments=8)
        wanted = Wanted(url=f"{line.run.origin_url}/", seconds=WATCHED_S)
        thread = threading.Thread(target=lambda: asyncio.run(watch(wanted, evidence, exchanges.append)))
        thread.start()
        story(line, time.monotonic())
        thread.join()
    return evidence


def aside(folder: Path, kafka: LocalBroker, exchanges: list[Exchange]) -> Evidence:
    """A channel with a cue every second, and thumbnails."""
    shown = tuple((float(second), second + 0.8, f"second {second}") for second in range(int(ASIDE_S)))
    source, evidence = subtitled(folder, seconds=ASIDE_S, shown=shown, size=SIZE), Evidence()
    with whole_line(kafka, folder / "aside", packagers=1, MEDIA__THUMBNAILS=True) as line:
        line.run.go_live(LiveInput(name="play-show", source=source, channels=("show",), idle_level=Level.PARTS))
        line.goes_on("show", segments=3)
        line.until(lambda _: "IMAGE-STREAM" in line.get("/show/hls/multivariant.m3u8")[1], what="thumbnails")
        asyncio.run(watch(Wanted(url=f"{line.run.origin_url}/", seconds=ASIDE_S, low_latency=False), evidence, exchanges.append))
    return evidence


def main() -> None:
    """Record, and say what the validator finds in it."""
    for name in sys.argv[1:] or ["good", "aside"]:
        exchanges: list[Exchange] = []
        with TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(CACHE)) as kafka:
            evidence = {"good": good, "aside": aside}[name](Path(folder), kafka, exchanges)
        save(exchanges, HERE / f"{name}.xz")
        for finding in check(evidence):
            sys.stdout.write(f"{finding.rule} {finding.url} {finding.what}: expected {finding.expected}, seen {finding.seen}\n")
        sys.stdout.write(f"{name}: {len(exchanges)} exchanges, {len(evidence.media)} objects\n")


if __name__ == "__main__":
    main()

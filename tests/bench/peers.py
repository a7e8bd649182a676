"""
What packaging costs, ours beside FFmpeg and Shaka Packager, over the same chunks in the clear: `python -m tests.bench.peers [SECONDS]`.

The input is one rendition of 720p in chunks of a quarter of a second: whole fMP4 to the others, records of the log to our own stages
(decode, check, cut, publish). All write segments of 2 s as files, into memory if there is a file system in it. CPU is that of the whole
process, by wait4. As packagers run for days, the rate is that beyond a start: the difference to a tenth of the input.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from infra.clip import ensure_clip
from schemas.codec import Codec
from streams.ingest.ladder import LADDER
from streams.ingest.recording import load_recording, make_recording
from tests.bench import stages
from tests.bench.programs import CACHE, AbsentError, ffmpeg, shaka_packager, version
from tests.recorded import chunks_of, period_of

ROOT = Path(__file__).parents[2]
RENDITION = LADDER[2:3]
RECORDING_S = 8
SEGMENT_S = 2
FRAGMENT_S = 0.24
ROUNDS_MAX = 6
# No further round begins after this time.
MEASURING_S = 90.0
START_SHARE = 10
GOAL_TIMES = 3.0
MEMORY = Path("/dev/shm")
INPUT, LOG = "input.mp4", "input.log"
# Four times the largest output beside the input, which is as large.
ROOM_TIMES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """CPU seconds of a whole run and of a short one, and bytes of input of both."""

    long_s: float
    short_s: float
    long_bytes: int
    short_bytes: int

    @property
    def mb_per_core_s(self) -> float:
        """
        Beyond the start.

        >>> Cost(long_s=1.5, short_s=0.6, long_bytes=100_000_000, short_bytes=10_000_000).mb_per_core_s
        100.0
        """
        return round((self.long_bytes - self.short_bytes) / max(1e-9, self.long_s - self.short_s) / 1e6, 3)

    @property
    def whole_mb_per_core_s(self) -> float:
        """With the start."""
        return self.long_bytes / self.long_s / 1e6


def write_input(folder: Path, seconds: int) -> int:
    """One file for the others, one for us, of the same chunks; the number of media bytes."""
    source = CACHE / "recording" / f"peers-{RENDITION[0].track}-{RECORDING_S}"
    make_recording(str(ensure_clip(CACHE)), source, RECORDING_S, ladder=RENDITION)
    recording, codec = load_recording(source), Codec()
    video = next(track for track in recording.tracks if track.width)
    period = period_of(recording)
    chunks = chunks_of(recording, period, (SEGMENT_S,) * (seconds // SEGMENT_S))
    with (folder / INPUT).open("wb") as whole:
        whole.write(video.init)

        def records() -> Iterator[bytes]:
            yield codec.encode(replace(period, tracks=(video,)))
            for chunk in chunks:
                if chunk.track == video.track:
                    whole.write(chunk.payload)
                    yield codec.encode(chunk)

        stages.write(records(), folder / LOG)
        return whole.tell() - len(video.init)


def cpu_s(command: Sequence[object], *, cwd: Path) -> float:
    """CPU seconds of a program, its own and the kernel's for it."""
    with (cwd / "said").open("wb") as said:
        words, environment = [str(word) for word in command], os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=cwd, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}: {(cwd / 'said').read_text(errors='replace')[-600:]}")
    return used.ru_utime + used.ru_stime


Commands = dict[str, Callable[[Path], list[object]]]


def others() -> Commands:
    """Command lines of those who are here, by name; the rest is told to be left out."""
    found: Commands = {}
    try:
        shaka = shaka_packager()
        found[f"Shaka Packager {version(shaka)}"] = lambda source: [
            shaka, f"in={source / INPUT},stream=video,init_segment=init.mp4,segment_template=s$Number$.m4s,playlist_name=v.m3u8",
            "--segment_duration", SEGMENT_S, "--fragment_duration", FRAGMENT_S, "--hls_master_playlist_output", "all.m3u8",
        ]  # fmt: skip
    except AbsentError as absent:
        print(f"Shaka Packager is left out: {absent}")
    try:
        program = ffmpeg()
        plain = ["-hide_banner", "-loglevel", "error", "-y"]
        found[f"FFmpeg {version(program)} -f hls, fMP4"] = lambda source: [
            program, *plain, "-i", source / INPUT, "-c", "copy", "-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", SEGMENT_S,
            "-hls_list_size", 0, "all.m3u8",
        ]  # fmt: skip
        found[f"FFmpeg {version(program)} -f dash, low latency"] = lambda source: [
            program, *plain, "-i", source / INPUT, "-c", "copy", "-f", "dash", "-seg_duration", SEGMENT_S, "-streaming", 1, "-ldash", 1,
            "-frag_type", "duration", "-frag_duration", FRAGMENT_S, "all.mpd",
        ]  # fmt: skip
    except AbsentError as absent:
        print(f"FFmpeg is left out: {absent}")
    return found


def ours() -> Commands:
    """Our stages, with parts as objects of their own and without."""
    program = [sys.executable, "-m", "tests.bench.stages"]
    return {
        "finecut, segments": lambda source: [*program, source / LOG, "segments"],
        "finecut, segments and parts (bytes twice)": lambda source: [*program, source / LOG, "parts"],
    }


@contextmanager
def place(need_bytes: int) -> Iterator[Path]:
    """A folder in memory if there is room, else on disk."""
    here = MEMORY.is_dir() and os.statvfs(MEMORY).f_bavail * os.statvfs(MEMORY).f_frsize > need_bytes
    with tempfile.TemporaryDirectory(dir=MEMORY if here else None) as name:
        yield Path(name)


def measure(commands: Commands, inputs: dict[Path, int]) -> dict[str, Cost]:
    """
    The least CPU time of some rounds of the long and the short input: what others do on the machine only ever adds.

    All take their turns in every round, so that they see the same machine.
    """
    spent: dict[tuple[str, Path], float] = {}
    over = time.monotonic() + MEASURING_S
    for number in range(ROUNDS_MAX):
        for (name, command), source in product(commands.items(), inputs):
            with tempfile.TemporaryDirectory(dir=source.parent) as place:
                used = cpu_s(command(source), cwd=Path(place))
            spent[name, source] = min(used, spent.get((name, source), used))
        if time.monotonic() > over:
            print(f"the machine was slow: {number + 1} rounds instead of {ROUNDS_MAX}")
            break
    (long, long_bytes), (short, short_bytes) = inputs.items()
    return {
        name: Cost(long_s=spent[name, long], short_s=spent[name, short], long_bytes=long_bytes, short_bytes=short_bytes)
        for name in commands
    }


def main(seconds: int) -> None:
    """Prints one line per packager."""
    bytes_per_s = RENDITION[0].bitrate_bps // 8
    with place(ROOM_TIMES * 2 * seconds * bytes_per_s) as folder:
        inputs: dict[Path, int] = {}
        for name, length in (("long", seconds), ("short", seconds // START_SHARE)):
            (folder / name).mkdir()
            inputs[folder / name] = write_input(folder / name, length)
        size = next(iter(inputs.values()))
        print(f"{size / 1e6:.0f} MB of 720p, {seconds} s in chunks of {FRAGMENT_S} s, segments of {SEGMENT_S} s, files in {folder.parent}")
        costs = measure(others() | ours(), inputs)
        print(f"{'':<44} {'MB per core-second':>19} {'with its start':>15} {'CPU s':>7} {'beside Shaka':>13}")
        beside = None
        for name, cost in costs.items():
            beside = cost.mb_per_core_s if name.startswith("Shaka") else beside
            times = f"{cost.mb_per_core_s / beside:.1f} x" if beside else "-"
            print(f"{name:<44} {cost.mb_per_core_s:>19.0f} {cost.whole_mb_per_core_s:>15.0f} {cost.long_s:>7.2f} {times:>13}", flush=True)
        print(f"goal: {GOAL_TIMES:g} x Shaka Packager; the least of some rounds each")
        print("ours checks every chunk against its record and takes a digest of every object (XXH3-128), which the others do not")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 480)

"""
Benchmarks one after the other: `make bench` runs all of them, `make bench ARGS="decide packaging"` some.

Each runs in a process of its own, bounded in time, and prints its table; those over recorded series need `FINECUT_DATA`.
"""

import os
import subprocess
import sys
from dataclasses import dataclass

LIMIT_S = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """
    One benchmark.

    Attributes:
        about: What it measures.
        needs: Environment variable without which it cannot run.
        limit_s: How long it may take.
    """

    about: str
    needs: str = ""
    limit_s: int = LIMIT_S


BENCHES = {
    "assignment": Bench(about="placing slices: CPU time, balance, moves, beside LPT and a consistent hash"),
    "decide": Bench(about="CPU time of a decision over a pool"),
    "packaging": Bench(about="one core through the stages of a packager"),
    "slices": Bench(about="what a level, a slice and a thumbnail cost a packager, side by side"),
    "catchup": Bench(about="what a backlog does to the live edge of its packager, on a real Kafka"),
    "origin": Bench(about="playlists and parts per second and core, blocked players, beside nginx with files and MediaMTX (MEDIAMTX_BIN)"),
    "connections": Bench(about="memory of an origin under 10,000 connections: silent, blocked, slow readers", limit_s=600),
    "validate": Bench(about="an origin over TLS and HTTP/2 held against the media rules while packagers and encoders die"),
    "overload": Bench(about="twice the load that a pool can carry: lateness by viewers, what is lost, memory, recovery", limit_s=420),
    "pair": Bench(about="takeover between the two encoders of a pair: silence of the log, missing media", limit_s=300),
    "control": Bench(about="event to assignment on a real Kafka, idle use, memory"),
    "restart": Bench(about="a killed control plane of 1,000 channels back to its first decision, on a real Kafka"),
    "publish": Bench(about="chunk durable to part fetchable with 1, 10 and 40 channels, beside raw produce to consume", limit_s=300),
    "latency": Bench(about="encoder's frame to picture on screen, in real players, beside MediaMTX (MEDIAMTX_BIN) and FFmpeg", limit_s=300),
    "peers": Bench(about="CPU of packaging the same chunks, beside Shaka Packager and FFmpeg", limit_s=300),
    "alike": Bench(about="two packagers over the same hour, dealt differently: the same bytes, and how fast", limit_s=300),
    "formula": Bench(about="join time and requests against segment length, in real players, beside the formula"),
    "forecast": Bench(about="forecast error on recorded series beside baselines, coverage, CPU, new channels", needs="FINECUT_DATA"),
    "balance": Bench(about="load, lateness and recovery against the size of slices, in virtual time"),
    "value": Bench(
        about="deciding granularity against scaling by count, in virtual time, on a composed day", needs="FINECUT_DATA", limit_s=3_600
    ),
}


def passes(name: str, *, limit_s: int) -> bool:
    """Whether a benchmark ends without an error within its time."""
    try:
        return subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False, timeout=limit_s).returncode == 0
    except subprocess.TimeoutExpired:
        sys.stdout.write(f"given up after {limit_s} s\n")
        return False


def main(names: list[str]) -> int:
    """Run those named, or all; the exit status tells whether one failed."""
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}\n")
        return 2
    failed = 0
    for name, bench in BENCHES.items():
        if names and name not in names:
            continue
        sys.stdout.write(f"\n== {name}: {bench.about}\n")
        sys.stdout.flush()
        if bench.needs and not os.environ.get(bench.needs):
            sys.stdout.write(f"left out: set {bench.needs} to the folder of recorded series\n")
            continue
        failed += not passes(name, limit_s=bench.limit_s)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

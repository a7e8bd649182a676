"""
From a chunk being durable to its part being fetchable, with one channel, ten and forty, on a whole line with two packagers.

    python -m tests.bench.publish [--channels 1 10 40] [--seconds 16]

A recording is played into so many channels that get parts though nobody watches. Three figures of the same stretch of time: until the
part's announcement is durable (broker time, all parts), until somebody who waits for the part in the playlist has fetched it over HTTP
(the clock of the machine; one watcher for each channel, up to ten), and what the cluster itself takes from produce to consume meanwhile.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.clip import ensure_clip
from infra.kafka import LocalBroker, prepare
from infra.local import LiveInput
from infra.process import spawn, terminate
from infra.processes import Usage, measure, tail
from infra.summary import quantiles
from schemas.records import Level, Parts
from schemas.timeline import PART_SUFFIX, object_name
from schemas.topics import PARTS
from streams.ingest.ladder import LADDER
from streams.ingest.recording import make_recording
from tests.line import CACHE, Line, whole_line

# The smallest rendition and sound: what is measured is the way of a part, not how many bytes two cores can move.
RENDITION = LADDER[:1]
RECORDING_S = 8
PACKAGERS = 2
WATCHED_MAX = 10
SETTLE_S = 6.0
# All channels of a step must get parts within this time.
READY_S = 60.0
ROLES = ("packager", "origin", "kafka", "encode", "control")


def names(count: int) -> tuple[str, ...]:
    """
    The first channels.

    >>> names(2)
    ('c00', 'c01')
    """
    return tuple(f"c{number:02}" for number in range(count))


def announced(line: Line, *, from_unix_ms: int, to_unix_ms: int) -> dict[str, tuple[int, int]]:
    """When each part whose last chunk became durable then was durable and was announced, at the broker."""
    found: dict[str, tuple[int, int]] = {}
    for entry in line.entries(PARTS):
        assert isinstance(entry.record, Parts)
        for part in entry.record.parts:
            if from_unix_ms <= part.durable_unix_ms <= to_unix_ms:
                name = object_name(part.channel, part.period, part.track, part.start_ticks, PART_SUFFIX)
                found.setdefault(name, (part.durable_unix_ms, entry.at_unix_ms))
    return found


def cpu_s(line: Line, broker: LocalBroker) -> dict[str, float]:
    """CPU seconds so far, by role."""
    spent = defaultdict[str, float](float)
    for child in line.run.supervisor.children.values():
        spent[child.role] += child.measure().cpu_s
    if broker.pid is not None:
        spent["kafka"] = measure(broker.pid, Usage()).cpu_s
    return spent


def step(line: Line, broker: LocalBroker, folder: Path, channels: Sequence[str], *, seconds: float) -> dict[str, Any]:
    """One stretch of time, with those channels."""
    result, watched = folder / f"{len(channels)}.json", channels[:: -(-len(channels) // WATCHED_MAX)]
    seen = folder / f"{len(channels)}-seen.json"
    with (folder / "publish.log").open("ab") as log:
        watcher = spawn(
            [sys.executable, "-m", "tests.bench.watcher", line.run.origin_url, RENDITION[0].track, str(seconds), str(seen), *watched],
            stdout=log, stderr=log,
        )  # fmt: skip
        raw = spawn(
            [sys.executable, "-m", "infra.cli", "rawlatency", "--seconds", str(seconds), "--result", str(result)], stdout=log, stderr=log
        )
    began, used = time.time_ns() // 1_000_000, cpu_s(line, broker)
    try:
        line.until(lambda _: watcher.poll() is not None and raw.poll() is not None, what="end of the step", timeout_s=seconds + READY_S)
    finally:
        terminate(watcher, timeout_s=5)
        terminate(raw, timeout_s=5)
    if watcher.returncode or raw.returncode:
        raise RuntimeError(f"a watcher ended with an error:\n{tail(folder / 'publish.log')}")
    now = cpu_s(line, broker)
    spent_s = (time.time_ns() // 1_000_000 - began) / 1_000
    had: dict[str, float] = json.loads(seen.read_text())
    parts = announced(line, from_unix_ms=began, to_unix_ms=began + round(seconds * 1_000))
    return {
        "channels": len(channels),
        "parts": len(parts),
        "announced": quantiles([at - durable for durable, at in parts.values()]),
        "fetched": quantiles([round(at - parts[name][0], 1) for name, at in had.items() if name in parts]),
        "fetches": sum(name in parts for name in had),
        "raw": json.loads(result.read_text()),
        "cores": {role: (now[role] - used.get(role, 0.0)) / spent_s for role in ROLES},
    }


def tell(row: Mapping[str, Any]) -> None:
    """Print one line of the table."""

    def pair(found: Mapping[str, Any]) -> str:
        return " / ".join("-" if found[name] is None else f"{found[name]:.0f}" for name in ("p50", "p99"))

    raw = f"{row['raw']['p50']:.1f} / {row['raw']['p99']:.1f}"
    print(
        f"{row['channels']:>8} {row['parts'] / row['seconds']:>9.0f} {pair(row['announced']):>16} {pair(row['fetched']):>16} "
        f"{row['fetches']:>8} {raw:>24}   {' '.join(f'{cores:.2f} {role}' for role, cores in row['cores'].items())}",
        flush=True,
    )


def main() -> None:
    """Measure step by step and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 10, 40])
    parser.add_argument("--seconds", type=float, default=16.0, help="length of a step")
    arguments = parser.parse_args()
    source = CACHE / "recording" / f"publish-{RENDITION[0].track}-{RECORDING_S}"
    make_recording(str(ensure_clip(CACHE)), source, RECORDING_S, ladder=RENDITION)
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka", prepare(CACHE)) as broker:
        folder = Path(name)
        with whole_line(broker, folder, packagers=PACKAGERS) as line:
            print(f"milliseconds, p50 / p99; {PACKAGERS} packagers, one rendition and sound; raw: produce to consume meanwhile")
            print(
                f"{'channels':>8} {'parts/s':>9} {'announced':>16} {'fetched':>16} {'fetches':>8} {'raw':>24}   cores in use",
                flush=True,
            )
            live = 0
            for count in sorted(arguments.channels):
                new = names(count)[live:]
                line.run.go_live(LiveInput(name=f"play-{count}", source=source, channels=new, idle_level=Level.PARTS))
                live = count
                line.goes_on(*new, segments=1)
                settled = time.monotonic() + SETTLE_S
                line.until(lambda _, at=settled: time.monotonic() > at, what="rest", timeout_s=SETTLE_S + READY_S)  # type: ignore[misc]
                tell(step(line, broker, folder, names(count), seconds=arguments.seconds) | {"seconds": arguments.seconds})


if __name__ == "__main__":
    main()

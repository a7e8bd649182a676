"""
Many small channels for a long time: do memory, file handles and latency stay as they are?

    make soak MINUTES=60 [ARGS="--channels 40 --packagers 2"]

One small rendition and audio are encoded once and played into every channel in parts. Chunks are kept for five minutes, what is no longer
listed is swept from the store. Every process is looked at a few times a minute; the verdict is by the median slope (Theil and Sen) of the
minutes after all that is kept for some minutes was kept once: flat, if what it adds up to over the run is within the tolerance.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import psutil
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource  # type: ignore[attr-defined]
from rich.console import Console
from rich.table import Table

from infra.clip import ensure_clip
from infra.kafka import LocalBroker, prepare
from infra.local import LiveInput
from infra.topics import reach
from schemas.records import Level, Parts
from schemas.topics import MEDIA, PARTS, Topic
from streams.ingest.ladder import Rendition
from streams.ingest.recording import make_recording
from streams.replay.reader import follow
from tests.chaos.table import WIDTH, quantile
from tests.line import CACHE, Line, whole_line

RESULT = CACHE / "soak.json"
SMALL = (Rendition(track="v0", width=256, height=144, bitrate_bps=120_000),)
RECORDING_S = 8
KEPT_MS = 300_000
# Kafka deletes whole files only: of what is kept for five minutes files are small, and looked at often. What is kept for longer than the
# run has files as large as ever: else there would be ever more of them.
LOOKED_AT = {"log.retention.check.interval.ms": "15000"}
FILES = {"segment.bytes": str(2**20), "segment.ms": "60000"}
LOOK_S = 5.0
ANSWER_S = 30.0
# Until every channel is published on a busy machine.
LIVE_S = 240.0
# Before this, or a third of a shorter run, folds and caches that keep five minutes are not full.
WARM_S = 600.0
POINTS_MIN = 4
# What may come over the run: memory in MB or as a share of it; handles; latency in ms or as a share.
GREW: Mapping[str, tuple[float, float]] = {"rss_mb": (12.0, 0.06), "handles": (4.0, 0.05), "p99_ms": (15.0, 0.25)}
ALL = "parts"


@dataclass(slots=True)
class Series:
    """Of one process, or of all parts: its values by minute."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def main(words: Sequence[str]) -> int:
    """Exit status: 0 when all is flat."""
    asked = _arguments().parse_args(words)
    console, seconds = Console(width=WIDTH), asked.minutes * 60
    recording = CACHE / "recording" / f"soak-{RECORDING_S}"
    make_recording(str(ensure_clip(CACHE)), recording, RECORDING_S, ladder=SMALL)
    channels = tuple(f"soak-{number:02}" for number in range(asked.channels))
    settings: dict[str, Any] = {
        "KAFKA__MEDIA_PARTITION_COUNT": asked.channels, "KAFKA__MEDIA_RETENTION_MS": KEPT_MS, "KAFKA__PARTS_RETENTION_MS": KEPT_MS,
        "STORE__SWEEP_EVERY_MS": 15_000, "STORE__SWEEP_MARGIN_MS": 15_000,
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        LocalBroker(Path(folder) / "kafka", prepare(CACHE), overrides=LOOKED_AT) as kafka,
        whole_line(kafka, Path(folder), packagers=asked.packagers, **settings) as line,
    ):
        _cut_files(line, (MEDIA, PARTS))
        line.run.go_live(LiveInput(name="play-all", source=recording, channels=channels, idle_level=Level.PARTS))
        line.until(lambda _: min(map(line.published, channels)) >= 0, what="segments of all channels", timeout_s=LIVE_S)
        console.print(f"[dim]{len(channels)} channels are live; {asked.minutes:g} minutes begin[/]", highlight=False)
        bucket_s = max(LOOK_S, min(60.0, seconds / 12))
        ended: list[str] = []
        found = watch(line, {"kafka": kafka.pid or 0}, seconds=seconds, bucket_s=bucket_s, say=ended.append)
    rows = [row for name, series in sorted(found.items()) for row in judge(name, series, bucket_s=bucket_s, seconds=seconds)]
    asked.result.parent.mkdir(parents=True, exist_ok=True)
    asked.result.write_text(
        json.dumps({"bucket_s": bucket_s, "ended": ended, "rows": rows, "series": {n: s.values for n, s in found.items()}}, indent=1)
    )
    show(rows, console, minutes=asked.minutes, channels=len(channels))
    cores = {name: mean(series.values["cores"][1:]) for name, series in sorted(found.items()) if len(series.values["cores"]) > 1}
    told = ", ".join(f"{name} {used:.2f}" for name, used in cores.items())
    console.print(f"cores: {sum(cores.values()):.2f} ({told})", highlight=False, soft_wrap=True)
    console.print(f"all of it: {asked.result}", highlight=False, soft_wrap=True)
    console.print(f"ended by themselves: {'; '.join(ended) or 'none'}", highlight=False, soft_wrap=True)
    return 0 if not ended and all(row["verdict"] == "flat" for row in rows) else 1


def watch(line: Line, others: Mapping[str, int], *, seconds: float, bucket_s: float, say: Callable[[str], object]) -> dict[str, Series]:
    """Values of every process and of the parts, by bucket; what ends by itself is told, and started again as `finecut up` does."""
    found: dict[str, Series] = defaultdict(Series)
    looks: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    late_ms: list[int] = []
    began_s = looked_s = bucket_began_s = time.monotonic()
    before_s: dict[str, float] = {}
    for entry in follow(line.run.settings.kafka, (PARTS,)):
        now_s = time.monotonic()
        if entry is not None and isinstance(entry.record, Parts):
            late_ms += [entry.at_unix_ms - part.durable_unix_ms for part in entry.record.parts]
        if now_s - looked_s >= LOOK_S:
            looked_s = now_s
            line.run.tend(say)
            line.run.sweep()
            for name, values in _look(line, others):
                for what, value in values.items():
                    looks[name][what].append(value)
        if now_s - bucket_began_s >= bucket_s:
            lasted_s, bucket_began_s = now_s - bucket_began_s, now_s
            for name, by_kind in looks.items():
                cpu_s = by_kind.pop("cpu_s")[-1]
                found[name].values["cores"].append(round(max(0.0, cpu_s - before_s.get(name, cpu_s)) / lasted_s, 3))
                before_s[name] = cpu_s
                for what, seen in by_kind.items():
                    found[name].values[what].append(round(mean(seen), 2))
            if late_ms:
                found[ALL].values["p99_ms"].append(quantile(late_ms, 0.99))
                found[ALL].values["p50_ms"].append(quantile(late_ms, 0.5))
                found[ALL].values["parts"].append(len(late_ms))
            looks.clear()
            late_ms.clear()
        if now_s - began_s >= seconds:
            break
    return found


def judge(name: str, series: Series, *, bucket_s: float, seconds: float) -> Iterator[dict[str, Any]]:
    """
    One row for each kind of value that is judged.

    >>> rising = Series({"rss_mb": [100.0, 101.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0]})
    >>> [(row["verdict"], row["grew"]) for row in judge("x", rising, bucket_s=60, seconds=480)]
    [('grows', 40.0)]
    >>> [row["verdict"] for row in judge("x", Series({"handles": [9, 30, 31, 30, 31, 30, 31, 30]}), bucket_s=60, seconds=480)]
    ['flat']
    """
    warm = round(min(WARM_S, seconds / 3) / bucket_s)
    for what, (most, share) in GREW.items():
        values = series.values.get(what, [])[warm:]
        if not values:
            continue
        grew = slope(values) * (len(values) - 1)
        level = median(values)
        verdict = "flat" if grew <= max(most, share * level) else "grows"
        if len(values) < POINTS_MIN:
            verdict = "too short"
        yield {
            "name": name, "what": what, "first": values[0], "median": level, "last": values[-1], "most": max(values),
            "grew": round(grew, 1), "per_h": round(grew / max(1, len(values) - 1) * 3_600 / bucket_s, 1), "verdict": verdict,
        }  # fmt: skip


def slope(values: Sequence[float]) -> float:
    """
    Median of the slopes between all pairs, per step.

    >>> slope([1, 2, 3, 40, 5])
    1.0
    """
    pairs = [(after - before) / (j - i) for i, before in enumerate(values) for j, after in enumerate(values) if j > i]
    return median(pairs) if pairs else 0.0


def show(rows: Sequence[Mapping[str, Any]], console: Console, *, minutes: float, channels: int) -> None:
    """One table."""
    table = Table(title=f"{channels} channels for {minutes:g} minutes: after warming up", title_justify="left")
    for head in ("process", "what", "first", "median", "last", "most", "grew", "per hour", "verdict"):
        table.add_column(head, justify="left" if head in {"process", "what", "verdict"} else "right")
    for row in rows:
        colour = {"flat": "green", "grows": "red"}.get(row["verdict"], "yellow")
        told = [f"{row[key]:.0f}" if key != "grew" else f"{row[key]:+.1f}" for key in ("first", "median", "last", "most", "grew", "per_h")]
        table.add_row(row["name"], row["what"], *told, f"[{colour}]{row['verdict']}[/]")
    console.print(table)


def _cut_files(line: Line, kept_briefly: Sequence[Topic]) -> None:
    kafka = line.run.settings.kafka
    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in FILES.items()]
    wanted = [ConfigResource(ConfigResource.Type.TOPIC, topic.name(kafka), incremental_configs=entries) for topic in kept_briefly]
    admin = reach(kafka)  # no answer comes to one that nobody holds
    for answer in admin.incremental_alter_configs(wanted).values():
        answer.result(ANSWER_S)


def _look(line: Line, others: Mapping[str, int]) -> Iterator[tuple[str, dict[str, float]]]:
    """Memory and file handles of every process now."""
    pids = {child.name: child.popen.pid for child in line.run.supervisor.children.values() if child.is_alive}
    for name, pid in {**pids, **others}.items():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            used = process.cpu_times()
            yield name, {"rss_mb": process.memory_info().rss / 2**20, "handles": float(process.num_fds()), "cpu_s": used.user + used.system}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description="many small channels: memory, handles and latency stay flat")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long")
    parser.add_argument("--channels", type=int, default=40, help="how many")
    parser.add_argument("--packagers", type=int, default=2, help="how many")
    parser.add_argument("--result", type=Path, default=RESULT, help="where all that was measured goes, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""
How fast and how heavy the control plane is: event to assignment by the broker's clock, start, idle CPU, memory.

    python -m tests.bench.control [--channels 200] [--pause 0.2]

An event is the first period of a channel that is packaged though nobody watches; both times are the broker's, of the records appended.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from infra.kafka import LocalBroker, prepare
from schemas import topics
from schemas.records import Level
from tests.broker.control_plane import CODEC, ROOT, ControlPlane, Crowd, Installation, until
from tests.builders import make_period

IDLE_S = 10.0


def quantiles(values: list[float]) -> str:
    """Median, 90 %, 99 % and worst."""
    ordered = sorted(values)
    picked = {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 90, 99)}
    return "  ".join(f"{name} {value:.1f}" for name, value in {**picked, "max": ordered[-1]}.items())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(ROOT / ".cache")) as broker:
        installation = Installation(broker, Path(folder) / "control")
        with ControlPlane(installation, Path(folder) / "control") as control:
            print(f"start to ready: {control.ready():.1f} s")
            with Crowd(installation, "p1", "p2", "p3", "p4"):
                until(lambda: installation.records(topics.DECISIONS), what="decision")
                process = psutil.Process(control.process.pid)
                began = process.cpu_times()
                time.sleep(IDLE_S)
                spent = process.cpu_times()
                cpu = (spent.user + spent.system - began.user - began.system) / IDLE_S
                print(f"idle with 4 packagers: {cpu:.1%} of a core, {process.memory_info().rss / 2**20:.0f} MiB")
                appended = feed(installation, arguments.channels, arguments.pause)
                until(lambda: len(assigned(installation)) >= arguments.channels, what="assignment of every channel")
                given = assigned(installation)
            latencies = [float(given[channel] - at) for channel, at in appended.items()]
            print(f"event -> assignment, ms, {len(latencies)} channels: {quantiles(latencies)}")
            folds = control.metric("finecut_control_fold_seconds_sum") or 0.0
            count = control.metric("finecut_control_fold_seconds_count") or 1.0
            decides = control.metric("finecut_control_decide_seconds_sum") or 0.0
            ticks = control.metric("finecut_control_decide_seconds_count") or 1.0
            print(f"fold {folds / count * 1e6:.0f} us per record, decide {decides / ticks * 1e3:.2f} ms per tick")
            print(f"afterwards: {process.memory_info().rss / 2**20:.0f} MiB")


def feed(installation: Installation, channels: int, pause_s: float) -> dict[str, int]:
    """One channel after the other goes live; broker time of the period of each."""
    appended = {}
    for number in range(channels):
        channel = f"c{number:04}"
        period = make_period(channel, idle_level=Level.PARTS)
        (message,) = installation.send(topics.CHANNELS, topics.period_key(channel, 0), period)
        appended[channel] = message.timestamp()[1]
        time.sleep(pause_s)
    return appended


def assigned(installation: Installation) -> dict[str, int]:
    """Broker time of the first assignment of each channel."""
    first: dict[str, int] = {}
    for message in installation.read(topics.ASSIGNMENTS):
        if message.value() is not None:
            first.setdefault(CODEC.decode(message.value()).channel, message.timestamp()[1])
    return first


if __name__ == "__main__":
    main()

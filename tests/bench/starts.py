"""
Starts of a worker that lost a waiting record: none of many, with tables to recover and records waiting in partitions without a commit.

    python -m tests.bench.starts [--rounds 50] [--keys 2000]

Faust without our transport loses the first record in about one start of five. Exit status 1 when one was lost.
"""

import argparse
import tempfile
import time
from pathlib import Path

from infra.kafka import LocalBroker, prepare
from schemas import topics
from schemas.records import Level
from schemas.units import UnixMs
from streams.core.rows import HeartbeatRow, Pulse
from streams.tables import app_id, encode_row
from tests.broker.control_plane import ROOT, ControlPlane, Installation, gops, heartbeat, until
from tests.builders import make_period

POOLS = 4
# A record that was not folded by then was passed over.
PATIENCE_S = 15.0
# A busy machine may take long to start it.
START_S = 120.0


def main() -> int:
    """Start over and over, and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--keys", type=int, default=2_000)
    arguments = parser.parse_args()
    lost = 0
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(ROOT / ".cache")) as broker:
        for number in range(arguments.rounds):
            data_dir = Path(folder) / f"control-{number}"
            installation = Installation(broker, data_dir, pool_count=POOLS)
            fill(installation, arguments.keys)
            with ControlPlane(installation, data_dir) as control:
                began = time.monotonic()
                until(lambda: (control.metric("finecut_control_records_total") or 0) > 0, what="start", timeout_s=START_S)
                is_lost = not folded(control, 2 * POOLS)
                control.kill()
            lost += is_lost
            print(f"start {number}: {'LOST' if is_lost else 'whole'} after {time.monotonic() - began:.1f} s", flush=True)
    print(f"lost in {lost} of {arguments.rounds} starts")
    return int(lost > 0)


def folded(control: ControlPlane, count: int) -> bool:
    """Whether that many records are folded in time."""
    try:
        return bool(until(lambda: (control.metric("finecut_control_records_total") or 0) >= count, what="", timeout_s=PATIENCE_S))
    except AssertionError:
        return False


def fill(installation: Installation, keys: int) -> None:
    """A changelog to recover, and in each pool one period and one GOP that wait."""
    name = f"{app_id(installation.kafka)}-packagers-changelog"
    at = UnixMs(int(time.time() * 1_000))
    for key in range(keys):
        beat = heartbeat(f"p{key}")
        pulse = Pulse(heartbeat=beat, at_unix_ms=at, offset=0, first_unix_ms=at, steady_unix_ms=at)
        row = encode_row(HeartbeatRow(offset=0, at_unix_ms=at, pulses=(pulse,)))
        installation.producer.produce(name, row, f"{key % POOLS}/p{key}".encode(), partition=key % POOLS)
        installation.producer.poll(0)
    for pool in range(POOLS):
        period = make_period(f"c{pool}", pool=pool, idle_level=Level.PARTS)
        installation.send(topics.CHANNELS, topics.period_key(period.channel, 0), period, pool=pool)
        installation.send(topics.GOPS, period.channel, *gops(period, range(1)), pool=pool)


if __name__ == "__main__":
    raise SystemExit(main())

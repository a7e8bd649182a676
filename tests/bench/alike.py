"""
Two packagers with a store each over the same hour, dealt differently: `python -m tests.bench.alike [SECONDS]`.

Real media on a real Kafka, replayed as fast as it goes. Exit status 1 if one byte differs.
"""

import sys
import tempfile
from pathlib import Path

from infra.kafka import LocalBroker, prepare
from tests.broker.alike import CACHE, DEALT, TURNS, WHOLE, packaged

WAIT_S = 240.0
SLICES = {WHOLE: "whole channel, one slice", DEALT: f"each track by itself, in {TURNS} turns"}


def main(seconds: int) -> int:
    """Prints one line per packager."""
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka", prepare(CACHE)) as broker:
        made = packaged(broker, Path(name), seconds, wait_s=WAIT_S)
    print(f"{seconds} s of picture and sound, segments of 1 to 4 s")
    print(f"{'dealt':<36} {'objects':>8} {'MB':>6} {'seconds':>8} {'real time':>10}  digest of all names and bytes")
    for key, output in made.items():
        speed = f"{seconds / output.seconds:.0f} x"
        told = f"{SLICES[key]:<36} {len(output.objects):>8} {output.size / 1e6:>6.0f} {output.seconds:>8.1f} {speed:>10}"
        print(f"{told}  {output.digest}")
    is_same = made[WHOLE].objects == made[DEALT].objects
    print("the same, byte for byte" if is_same else "THEY DIFFER")
    return int(not is_same)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_600))

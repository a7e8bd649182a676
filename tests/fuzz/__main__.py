"""
Damaged input at every way in: `make fuzz ARGS="--cases 1000000 --seed 1"`.

A case is made from seed, target and number alone, so a run goes on where another ended (`--start`), and one case is run again by its
number. Processes yield to everything else. Exit status 1 if one crashed, took too long or too much memory; its input is kept.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from hashlib import sha256
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.cases import Crash, Tally, dealt, run, yield_to_others
from tests.fuzz.targets import TARGETS

BATCH = 2_000
# Parsers of boxes, where coverage leads furthest.
GUIDED = ["chunk", "push", "init", "text"]
FOUND = Path(__file__).parents[2] / ".cache" / "fuzz"


def main(arguments: list[str]) -> int:
    """Runs what is asked for; prints one line per target."""
    asked = _read(arguments)
    if asked.guided:
        return _guided(asked.targets or GUIDED, asked.guided)
    batches = [
        (name, numbers[at : at + BATCH])
        for name, numbers in dealt(asked.cases, asked.targets or TARGETS, start=asked.start)
        for at in range(0, len(numbers), BATCH)
    ]
    # Whoever is stopped early has seen something of every target.
    batches.sort(key=lambda batch: batch[1].start / TARGETS[batch[0]].share)
    tallies = {name: Tally() for name in dict.fromkeys(name for name, _ in batches)}
    over = time.monotonic() + asked.seconds
    left = iter(batches)
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn"), initializer=yield_to_others) as pool:

        def submit() -> Iterator[tuple[str, Future[Tally]]]:
            for name, numbers in islice(left, 1) if time.monotonic() < over else ():
                yield name, pool.submit(run, asked.seed, name, numbers)

        going = [one for _ in range(2 * asked.processes) for one in submit()]
        while going:
            name, made = going.pop(0)
            tallies[name].add(made.result())
            going += submit()
    _print(tallies)
    rest = [numbers.start for _, numbers in left]
    if rest:
        print(f"time was over: {len(rest)} of {len(batches)} batches were not run")
    crashes = [crash for tally in tallies.values() for crash in tally.crashes]
    for crash in crashes:
        print(f"\n{crash.target} {crash.number}, kept as {_keep(crash)}\n{crash.error}")
    if asked.json:
        Path(asked.json).write_text(json.dumps({name: _said(tally) for name, tally in tallies.items()}, indent=1))
    return 1 if crashes else 0


def _read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=", description="damaged input at every way in")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0, help="cases of this seed that were run before")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3_600.0, help="begin nothing after this time")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--targets", nargs="*", choices=sorted(TARGETS), default=[])
    parser.add_argument("--json")
    parser.add_argument("--guided", type=int, default=0, metavar="SECONDS", help="each target so long, led by the code it reaches")
    return parser.parse_args(arguments)


def _guided(names: list[str], seconds: int) -> int:
    """One after the other, each in a process of its own; 1 if one found something."""
    failed = 0
    for name in names:
        print(f"\n== {name}", flush=True)
        failed |= subprocess.run([sys.executable, "-m", "tests.fuzz.guided", name, str(seconds)], check=False).returncode != 0
    return int(failed)


def _keep(crash: Crash) -> Path:
    FOUND.mkdir(parents=True, exist_ok=True)
    file = FOUND / f"{crash.target}-{sha256(crash.data).hexdigest()[:12]}"
    file.write_bytes(crash.data)
    return file


def _said(tally: Tally) -> dict[str, object]:
    return {
        "cases": tally.count,
        "taken": tally.taken,
        "rejected": dict(tally.reasons.most_common()),
        "crashed": tally.crashed,
        "errors": [crash.error for crash in tally.crashes],
        "cpu_s": round(tally.cpu_s, 3),
        "slowest_ms": round(tally.slowest_s * 1e3, 3),
    }


def _print(tallies: dict[str, Tally]) -> None:
    columns = f"{'cases':>9} {'taken':>9} {'rejected':>9} {'crashed':>8} {'us each':>8} {'slowest ms':>11}"
    print(f"{'target':<10} {columns}  most frequent reason")
    whole = Tally()
    for name, tally in tallies.items():
        whole.add(tally)
        _line(name, tally)
    _line("all", whole)


def _line(name: str, tally: Tally) -> None:
    reason = next((f"{count} x {text}" for text, count in tally.reasons.most_common(1)), "")
    each = tally.cpu_s / max(1, tally.count) * 1e6
    counts = f"{tally.count:>9} {tally.taken:>9} {tally.rejected:>9} {tally.crashed:>8}"
    print(f"{name:<10} {counts} {each:>8.0f} {tally.slowest_s * 1e3:>11.1f}  {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

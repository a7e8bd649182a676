"""
Thousands of seeds of two virtual minutes each, in the background: `make seeds`.

What was found stands in a file named by the digest of what the sources mean, so that a run goes on where the last one was stopped, and
begins anew when the code has changed: a comment is no change, nor is a module that no simulation imports. What earlier builds found is
told beside it. `make seeds ARGS="--seed 17"` repeats one and tells what happened in it; `ARGS="--keep"` writes the sum of all into
`tests/sim/seeds.json`, which goes with the code: whoever has the same code need not run those seeds again.
"""

import argparse
import ast
import gc
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from signal import SIGTERM, default_int_handler, signal
from time import monotonic, process_time
from typing import Any

from grimp import build_graph

from tests.sim.checks import assert_promises
from tests.sim.takeovers import takeovers
from tests.sim.test_promises import a_run

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".finecut" / "seeds"
KEPT = Path(__file__).with_suffix(".json")
MINUTES = 2.0
# Every so many-th run has thumbnails; four kinds of runs differ by the remainder of 4 (`a_run`), which 5 goes through.
THUMBNAILS_EVERY = 5
ERROR_CHARS = 400
TELL_EVERY_S = 30
LIMIT_S = 10**9
KINDS = {"p": "packager", "c": "encoder", "o": "origin"}


class _Bare(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Leaves out strings that are statements: docstrings."""
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def meaning(source: str) -> str:
    """
    What is left of a module without comments, docstrings and layout.

    >>> meaning("x = 1  # one") == meaning("'Docstring.'; x = (1)"), meaning("x = 1") == meaning("x = 2")
    (True, False)
    """
    return ast.dump(_Bare().visit(ast.parse(source)))


def digest() -> str:
    """Of what a run depends on: all of ours that it imports, whoever imports it, and the schemas."""
    told = blake2b(f"{MINUTES} {THUMBNAILS_EVERY}".encode(), digest_size=6)
    ours = build_graph("schemas", "streams", "packager", "tests", cache_dir=None)
    for module in sorted(ours.find_upstream_modules(__spec__.name)):
        told.update(meaning((ROOT / f"{module.replace('.', '/')}.py").read_text()).encode())
    for file in sorted((ROOT / "schemas").rglob("*.avsc")):
        told.update(file.read_bytes())
    return told.hexdigest()


def run_seed(seed: int) -> dict[str, Any]:
    """What became of one seed."""
    began, error = process_time(), ""
    run = a_run(seed, minutes=MINUTES, has_thumbnails=seed % THUMBNAILS_EVERY == 0)
    try:
        assert_promises(run)
    except AssertionError as broken:
        error = str(broken)[:ERROR_CHARS]
    return {
        "seed": seed,
        "error": error,
        "cpu_s": round(process_time() - began, 2),
        "events": Counter(kind_of(event.what) for event in run.world.events),
        "takeovers": [(t.kind, t.ms) for t in takeovers(run)],
    }


def attempt(seed: int) -> dict[str, Any]:
    """The same; a run that raises is a finding."""
    try:
        return run_seed(seed)
    except Exception as broken:  # noqa: BLE001 - whatever a seed breaks is found, and the others go on
        return {"seed": seed, "error": f"{type(broken).__name__}: {broken}"[:ERROR_CHARS], "cpu_s": 0.0, "events": {}, "takeovers": []}
    finally:
        gc.collect()


def yielding() -> None:
    """Makes this process one that runs seeds: it yields to all others, and looks for garbage between seeds alone."""
    os.nice(19)
    gc.freeze()
    gc.disable()


def kind_of(what: str) -> str:
    """
    Kind of an event of the diary, whoever it befell.

    >>> kind_of("p3 was declared dead, is another life"), kind_of("planner overtaken at decision 17"), kind_of("store refuses p1")
    ('packager was declared dead, is another life', 'planner overtaken at decision', 'store refuses packager')
    """
    named = re.sub(r"\b([pco])\d+\b", lambda match: KINDS[match[1]], what)
    return re.sub(r" \d+$", "", named)


def quantile(sorted_values: list[int], share: float) -> int:
    """
    The value that so much of them is not above.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([1, 2, 3, 4], 1.0)
    (2, 4)
    """
    return sorted_values[max(0, -int(-share * len(sorted_values) // 1) - 1)]


@dataclass
class Sum:
    """
    What seeds together told.

    Attributes:
        seeds: Those that were run.
        cpu_s: What they took.
        events: How often what happened, by kind.
        takeovers: Milliseconds that a takeover took, to the ten, and how many did, by kind.
        findings: Promises broken, by seed.
    """

    seeds: set[int] = field(default_factory=set)
    cpu_s: float = 0.0
    events: Counter[str] = field(default_factory=Counter)
    takeovers: dict[str, Counter[int]] = field(default_factory=dict)
    findings: dict[int, str] = field(default_factory=dict)

    def add(self, result: dict[str, Any]) -> None:
        """One seed more."""
        self.seeds.add(result["seed"])
        self.cpu_s += result["cpu_s"]
        self.events.update(result["events"])
        for kind, ms in result["takeovers"]:
            self.takeovers.setdefault(kind, Counter())[round(ms, -1)] += 1
        if result["error"]:
            self.findings[result["seed"]] = result["error"]

    def table(self) -> str:
        """All of it for people."""
        count = len(self.seeds)
        head = f"seeds {count}   virtual minutes {count * MINUTES:.0f}   CPU {self.cpu_s / 60:.0f} min   findings {len(self.findings)}"
        lines = [head, "", *(f"  {times:>8}  {kind}" for kind, times in self.events.most_common() if kind != "quiet")]
        for kind, times in sorted(self.takeovers.items()):
            values = sorted(times.elements())
            p50, p95, most = (quantile(values, share) for share in (0.5, 0.95, 1.0))
            lines.append(f"takeover, {kind:<7} {len(values):>7} times   p50 {p50} ms   p95 {p95} ms   max {most} ms")
        return "\n".join([*lines, *(f'seed {n}: {why}\n    repeat: make seeds ARGS="--seed {n}"' for n, why in self.findings.items())])

    def keep(self, file: Path, build: str) -> None:
        """Write it for those who have the same code."""
        takeovers = {kind: dict(sorted(times.items())) for kind, times in sorted(self.takeovers.items())}
        told = {
            "build": build, "seeds": ranges(self.seeds), "cpu_s": round(self.cpu_s), "events": dict(self.events.most_common()),
            "findings": self.findings, "takeovers": takeovers,
        }  # fmt: skip
        file.write_text("{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in told.items()) + "\n}\n")


def kept(file: Path, build: str) -> Sum:
    """What was kept of the same code; nothing of any other."""
    told = json.loads(file.read_text()) if file.exists() else {}
    if told.get("build") != build:
        return Sum()
    return Sum(
        seeds={seed for first, last in told["seeds"] for seed in range(first, last + 1)},
        cpu_s=told["cpu_s"],
        events=Counter(told["events"]),
        takeovers={kind: Counter({int(ms): count for ms, count in times.items()}) for kind, times in told["takeovers"].items()},
        findings={int(seed): why for seed, why in told["findings"].items()},
    )


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """
    First and last of each run of numbers that follow one another.

    >>> ranges({7, 0, 1, 2, 9, 8})
    [(0, 2), (7, 9)]
    """
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def read(file: Path) -> list[dict[str, Any]]:
    """Results of before; a line that a kill cut short is not one."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def told_before(folder: Path, now: Path) -> str:
    """What earlier builds found, in one line for people."""
    files = [file for file in sorted(folder.glob("*.jsonl")) if file != now]
    results = [result for file in files for result in read(file)]
    return f"earlier builds {len(files)}   seeds {len(results)}   findings {sum(bool(result['error']) for result in results)}"


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does: with the table."""
    before = signal(SIGTERM, default_int_handler)
    try:
        yield
    finally:
        signal(SIGTERM, before)


def run_all(seeds: Iterable[int], file: Path, done: Sum, *, processes: int, seconds: float) -> Sum:
    """Runs what is left of the seeds, and adds it to what was done."""
    for result in read(file):
        if result["seed"] not in done.seeds:
            done.add(result)
    left = [seed for seed in seeds if seed not in done.seeds]
    total, end, told = len(done.seeds) + len(left), monotonic() + seconds, monotonic()
    file.parent.mkdir(parents=True, exist_ok=True)
    with get_context("spawn").Pool(processes, initializer=yielding) as pool, file.open("a") as out, ended_by_sigterm():
        try:
            for result in pool.imap_unordered(attempt, left):
                out.write(json.dumps(result) + "\n")
                out.flush()
                done.add(result)
                if result["error"]:
                    print(f"seed {result['seed']}: {result['error']}", flush=True)
                if monotonic() - told > TELL_EVERY_S:
                    told = monotonic()
                    print(f"{len(done.seeds)} of {total} seeds", flush=True)
                if monotonic() > end:
                    break
        except KeyboardInterrupt:
            print("stopped; the next run goes on from here", flush=True)
    return done


def repeat(seed: int) -> int:
    """Runs one seed and tells its diary, then the promise that it broke, if any."""
    run = a_run(seed, minutes=MINUTES, has_thumbnails=seed % THUMBNAILS_EVERY == 0)
    for event in run.world.events:
        print(f"{(event.at - run.world.events[0].at) / 1_000:8.3f} s  {event.what}")
    assert_promises(run)
    print("all promises hold")
    return 0


def main(args: list[str]) -> int:
    """The verb."""
    parser = argparse.ArgumentParser(prog="make seeds", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="seeds, from --first on")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=LIMIT_S, help="end with what is done by then")
    parser.add_argument("--seed", type=int, help="run this one alone and tell what happened")
    parser.add_argument("--keep", action="store_true", help=f"write the sum of all into {KEPT.relative_to(ROOT)}")
    wanted = parser.parse_args(args)
    if wanted.seed is not None:
        return repeat(wanted.seed)
    build = digest()
    file = FOLDER / f"{build}.jsonl"
    print(f"seeds {wanted.first} to {wanted.first + wanted.count - 1}, results in {file.relative_to(ROOT)}", flush=True)
    seeds = range(wanted.first, wanted.first + wanted.count)
    done = run_all(seeds, file, kept(KEPT, build), processes=wanted.processes, seconds=wanted.seconds)
    print(done.table())
    print(told_before(FOLDER, file))
    if wanted.keep:
        done.keep(KEPT, build)
    return 1 if done.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

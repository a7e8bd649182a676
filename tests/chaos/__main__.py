"""
Real processes, random faults from a seed, and a verdict from the log.

    make chaos MINUTES=30 SEED=7 [ARGS="--brokers 1 --kinds packager-kill broker-pause --folder /tmp/run"]

Three brokers, two control planes, four packagers, two origins, encoders, viewers of whole segments and of parts, pollers at every origin.
Prints what each kind of fault did and which promises were kept; the same as JSON and as a picture beside it.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.chaos.cast import HOT, Size, on_stage
from tests.chaos.picture import draw
from tests.chaos.plan import KINDS, make_plan
from tests.chaos.screens import GROUPS, on_screens
from tests.chaos.story import Say, play
from tests.chaos.table import WIDTH, show, write
from tests.chaos.verdict import Verdict, judge
from tests.line import CACHE

RESULT = CACHE / "chaos.json"


def main(words: Sequence[str]) -> int:
    """Exit status: 0 when every promise was kept."""
    asked = _arguments().parse_args(words)
    console = Console(width=WIDTH)
    began_s = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began_s:7.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    size = Size(**{name: getattr(asked, name) for name in ("brokers", "controls", "packagers", "origins", "encoders", "pools")})
    with ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        verdict = run(folder, size, seed=asked.seed, seconds=asked.minutes * 60, kinds=asked.kinds, say=say, pages=asked.pages)
        kept = keep_logs(verdict.figures["ended"], asked.result)
    show(verdict, console)
    write(verdict, asked.result)
    draw(verdict, asked.result.with_suffix(".png"))
    logs = f", logs of who ended by itself: {kept}" if verdict.figures["ended"] else ""
    console.print(f"all of it: {asked.result}, its picture: {asked.result.with_suffix('.png')}{logs}", highlight=False, soft_wrap=True)
    return 0 if verdict.is_kept else 1


def run(folder: Path, size: Size, *, seed: int, seconds: float, kinds: Sequence[str] = tuple(KINDS), say: Say, pages: str = "") -> Verdict:
    """Play the plan of a seed and judge it; every process has ended when it returns."""
    plan = make_plan(seed, seconds=seconds, kinds=kinds)
    with on_stage(folder, size) as cast, on_screens(cast, folder, pages, seconds=seconds) as stage:
        say(f"all are ready; {len(plan)} faults in {seconds / 60:g} minutes, seed {seed}")
        played = play(cast, plan, seconds=seconds, say=say, stage=stage)
        cast.leave()
        return judge(cast, played, say=say)


def keep_logs(ended: Sequence[Mapping[str, Any]], result: Path) -> Path:
    """Folder beside the result with the logs of all that ended by themselves, whole; those of an earlier run are gone."""
    folder = result.with_suffix(".logs")
    if folder.exists():
        shutil.rmtree(folder)
    for log in {Path(one["log"]) for one in ended}:
        folder.mkdir(parents=True, exist_ok=True)
        for file in (log.with_suffix(".previous.log"), log):
            if file.exists():
                # A broker's log is called as that of every other.
                shutil.copyfile(file, folder / (file.name if file.parent.name == "logs" else f"{file.parent.name}-{file.name}"))
    return folder


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description="random faults, and what became of every chunk")
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the story")
    parser.add_argument("--seed", type=int, default=1, help="of the plan of faults")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}")
    for name, default in (("brokers", 3), ("controls", 2), ("packagers", 4), ("origins", 2), ("pools", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, help="how many")
    parser.add_argument(
        "--encoders", type=int, choices=(0, 1, 2), default=0,
        help=f"of {HOT}: 1 encodes in real time, 2 are a pair, of which one follows; 0: a recording is played",
    )  # fmt: skip
    parser.add_argument("--pages", choices=list(GROUPS), default="", help="real players in Chromium watch, too (`make browser` first)")
    parser.add_argument("--folder", type=Path, default=None, help="for the run's files, kept; else a temporary one")
    parser.add_argument("--result", type=Path, default=RESULT, help="where all that was found goes, as JSON; the picture beside it")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The demo: a line from encoder to player on one machine, an audience, a killed packager, and what came of it. And the same to stay."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from infra import summary
from infra.clip import ensure_clip
from infra.local import LiveInput, LocalRun, running
from infra.processes import Supervisor
from infra.state import CACHE
from infra.story import Storyteller
from infra.tally import Life, Tally
from infra.viewers import FAULTS_SEEN
from schemas.errors import UserError
from schemas.records import Level
from schemas.settings import load
from schemas.topics import MEDIA, TOPICS
from schemas.units import UnixMs
from streams.replay.entries import Entry
from streams.replay.reader import follow, read, stretches
from streams.replay.report import draw

# One channel is encoded as it goes, five are played from one recording, so that two cores suffice; three get parts though nobody watches.
ENCODED = "arena"
PLAYED_IN_PARTS = ("chess", "news")
PLAYED_OFF = ("garden", "harbour", "library")
RECORDING_S = 24
RECORDING_MAX_S = 300.0

# Parts of the story, as shares of its length.
AUDIENCE_ARRIVES, AUDIENCE_LEAVES = 0.12, 0.95
BROKER_MEASURED, PACKAGER_KILLED = 0.35, 0.6
RAW_S = 10
# After the last encoder ended: how long the packagers may take to finish what is in the log.
SETTLE_S = 20.0
QUIET = tuple(topic for topic in TOPICS if topic is not MEDIA)
USAGE_EVERY_S = 2.0
REVIVE_AFTER_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """
    What the demo is asked for.

    Attributes:
        seconds: Its length, from everything being ready.
        viewers: Viewers at the peak.
        packagers: Packagers at the start.
        summary: File for the figures.
        plot: File for a picture.
    """

    seconds: float
    viewers: int
    packagers: int
    summary: Path | None
    plot: Path | None


def tell(story: Story) -> int:
    """Exit status of the demo: 0 if nothing was lost and nothing conflicted."""
    console = Console()
    with _on_stage(console, packagers=story.packagers) as (run, teller):
        outside = _play(story, run, teller)
        teller.finish()
        tally = _recount(run)
        if story.plot:
            draw(_entries(run), story.plot)
    found = summary.figures(tally, outside)
    summary.show(found, console)
    if story.summary:
        summary.write(found, story.summary)
    return 0 if summary.is_clean(found) else 1


def stay(*, packagers: int) -> int:
    """Exit status of a run that lasts until Ctrl-C; processes that end by themselves are started again."""
    console = Console()
    try:
        with _on_stage(console, packagers=packagers) as (run, teller):
            teller.say("everything runs until Ctrl-C; `finecut status` in another terminal tells more")
            for entry in follow(run.settings.kafka, QUIET, from_start=True):
                teller.hear(entry)
                for child in run.supervisor.dead():
                    if time.monotonic() - child.began_s < REVIVE_AFTER_S:
                        run.check()
                    teller.say(
                        f"{child.name} ended with status {child.popen.returncode}, see {child.log}; it is started again", style="red"
                    )
                    run.supervisor.revive(child)
                    run.leave_word()
                run.check()
    except KeyboardInterrupt:
        console.print("everything is stopped")
    return 0


@contextmanager
def _on_stage(console: Console, *, packagers: int) -> Iterator[tuple[LocalRun, Storyteller]]:
    """A run with six live channels and somebody who tells of it."""
    settings = load()
    teller = Storyteller(console)
    clip = ensure_clip(CACHE)
    recording = _recording(clip, teller)
    with running(settings, packagers=packagers, say=teller.say) as run:
        console.print(
            f"\n  watch page: [bold link={run.origin_url}/]{run.origin_url}/[/]\n  logs: {run.directory / 'logs'}\n", highlight=False
        )
        teller.begin()
        try:
            run.go_live(LiveInput(name=f"encode-{ENCODED}", source=clip, channels=(ENCODED,), idle_level=Level.PARTS))
            run.go_live(LiveInput(name="play-parts", source=recording, channels=PLAYED_IN_PARTS, idle_level=Level.PARTS))
            run.go_live(LiveInput(name="play-off", source=recording, channels=PLAYED_OFF, idle_level=Level.OFF))
            yield run, teller
        finally:
            teller.finish()


def _recording(clip: Path, teller: Storyteller) -> Path:
    """The cached recording, made in a process of its own the first time."""
    folder = CACHE / "recording" / f"{clip.stem}-{RECORDING_S}"
    if not folder.exists():
        teller.say(f"encoding {RECORDING_S} s of the clip once, for the channels that are played")
        maker = Supervisor(CACHE / "recording", {})
        child = maker.start("record", "record", ["record", str(clip), str(folder), "--seconds", str(RECORDING_S)])
        child.popen.wait(RECORDING_MAX_S)
        if child.popen.returncode:
            raise child.died("could not make the recording")
    return folder


def _play(story: Story, run: LocalRun, teller: Storyteller) -> summary.Outside:
    seen_file, raw_file = run.directory / "audience.json", run.directory / "raw-latency.json"
    killed: Life | None = None
    killed_unix_ms: UnixMs | None = None
    audience_s = story.seconds * (AUDIENCE_LEAVES - AUDIENCE_ARRIVES)
    scenes = iter(
        [
            (AUDIENCE_ARRIVES, "audience"),
            (BROKER_MEASURED, "raw"),
            (PACKAGER_KILLED, "kill"),
            (1.0, "end"),
        ]
    )
    due, scene = next(scenes)
    measured_s = 0.0
    heard = follow(run.settings.kafka, QUIET, from_start=True)
    for entry in heard:
        teller.hear(entry)
        if entry is not None and teller.elapsed_s - measured_s < USAGE_EVERY_S:
            continue
        run.check()
        if teller.elapsed_s - measured_s >= USAGE_EVERY_S:
            measured_s = teller.elapsed_s
            teller.measure(run.usage())
        if teller.elapsed_s < due * story.seconds:
            continue
        if scene == "audience":
            teller.say(
                f"an audience arrives on [bold]{ENCODED}[/], up to {story.viewers} viewers, as one was recorded at a real event",
                style="green",
            )
            _audience(run, story, audience_s, seen_file)
        elif scene == "raw":
            run.supervisor.start(
                "raw-latency", "measure", ["rawlatency", "--seconds", str(RAW_S), "--result", str(raw_file)]
            ).is_wanted = False
        elif scene == "kill":
            killed, killed_unix_ms = _kill_holder(run, teller)
        else:
            break
        due, scene = next(scenes)
    seconds = teller.elapsed_s
    _settle(run, teller, heard)
    return summary.Outside(
        startup_s=run.startup_s, seconds=seconds, usage=run.usage(), viewers=_json(seen_file), raw_latency_ms=_json(raw_file),
        killed=killed, killed_unix_ms=killed_unix_ms,
    )  # fmt: skip


def _audience(run: LocalRun, story: Story, seconds: float, file: Path) -> None:
    url = f"{run.origin_url}/{ENCODED}/hls/multivariant.m3u8"
    words = ["audience", url, "--viewers", str(story.viewers), "--seconds", f"{seconds:.1f}", "--result", str(file)]
    run.supervisor.start("audience", "audience", words, may_end_with=(0, FAULTS_SEEN))
    run.leave_word()


def _kill_holder(run: LocalRun, teller: Storyteller) -> tuple[Life, UnixMs]:
    holder = next((a for _, a in sorted(teller.tally.holders.items()) if a.channel == ENCODED), None)
    if holder is None:
        raise UserError(f"nobody packages {ENCODED}: nobody to kill", do=f"read the logs in {run.directory / 'logs'}")
    slices = sorted(a.channel for a in teller.tally.holders.values() if a.packager_id == holder.packager_id)
    teller.say(f"{holder.packager_id}, which packages {' and '.join(slices)}, is killed with SIGKILL", style="bold red")
    at = UnixMs(time.time_ns() // 1_000_000)
    run.supervisor.kill(holder.packager_id)
    run.leave_word()
    return (holder.packager_id, holder.life), at


def _settle(run: LocalRun, teller: Storyteller, heard: Iterator[Entry | None]) -> None:
    """End the audience and the encoders, and wait until the packagers finished what is in the log."""
    teller.say("the audience leaves, the encoders end, the packagers finish")
    run.supervisor.stop(["audience"])
    run.supervisor.stop([child.name for child in run.supervisor.children.values() if child.role == "encode"])
    deadline = time.monotonic() + SETTLE_S
    for entry in heard:
        teller.hear(entry)
        ended = {channel for (channel, _), end in teller.tally.ends.items() if end.channel_ended}
        if (ended >= set(teller.tally.channels) and not teller.tally.holders) or time.monotonic() > deadline:
            return
        run.check()


def _entries(run: LocalRun) -> Iterator[Entry]:
    return read(run.settings.kafka, stretches(run.settings.kafka, QUIET))


def _recount(run: LocalRun) -> Tally:
    tally = Tally()
    for entry in _entries(run):
        tally.absorb(entry)
    return tally


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}

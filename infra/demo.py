"""The demo: a line from encoder to player on one machine, an audience, a killed packager, and what came of it. And the same to stay."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from infra import summary
from infra.clip import ensure_clip
from infra.local import LiveInput, LocalRun, running
from infra.present import Life
from infra.processes import FAULTS_SEEN, Supervisor
from infra.state import CACHE
from infra.story import Storyteller
from infra.tally import Tally
from schemas.errors import UserError
from schemas.records import Level
from schemas.settings import load
from schemas.topics import MEDIA, TOPICS
from schemas.units import UnixMs
from streams.replay.entries import Entry
from streams.replay.reader import follow, read, stretches

# One channel is encoded as it goes, five are played from one recording, so that two cores suffice; three get parts though nobody watches.
ENCODED = "arena"
PLAYED_IN_PARTS = ("chess", "news")
PLAYED_OFF = ("garden", "harbour", "library")
RECORDING_S = 24
RECORDING_MAX_S = 300.0

# Parts of the story, as shares of its length.
AUDIENCE_ARRIVES, AUDIENCE_LEAVES = 0.12, 0.95
VISITOR_COMES, BROKER_MEASURED, PACKAGER_KILLED = 0.25, 0.35, 0.6
VISITED = "harbour"
VISIT_S = 15
RAW_S = 10
# After the last encoder ended: how long the packagers may take to finish what is in the log.
SETTLE_S = 20.0
QUIET = tuple(topic for topic in TOPICS if topic is not MEDIA)
USAGE_EVERY_S = 2.0
INTERRUPTED = 130


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
        brokers: Kafka brokers, where none are named.
    """

    seconds: float
    viewers: int
    packagers: int
    summary: Path | None
    plot: Path | None
    brokers: int = 1


def tell(story: Story) -> int:
    """Exit status of the demo: 0 if nothing was lost and nothing conflicted."""
    console = Console()
    try:
        with _on_stage(console, packagers=story.packagers, brokers=story.brokers) as (run, teller):
            outside = _Play(story, run, teller).perform()
            teller.finish()
            tally = _recount(run)
            if story.plot:
                from streams.replay.report import draw

                draw(_entries(run), story.plot)
    except KeyboardInterrupt:
        console.print("everything is stopped")
        return INTERRUPTED
    found = summary.figures(tally, outside)
    summary.show(found, console)
    if story.summary:
        summary.write(found, story.summary)
    return 0 if summary.is_clean(found) else 1


def stay(*, packagers: int | None, brokers: int = 1) -> int:
    """
    Exit status of a run that lasts until Ctrl-C; processes that end by themselves are started again.

    Args:
        packagers: Exactly so many; absent: as many as the planner wants.
        brokers: Kafka brokers, where none are named.
    """
    console = Console()
    try:
        with _on_stage(console, packagers=packagers, brokers=brokers) as (run, teller):
            teller.say("everything runs until Ctrl-C; `finecut status` in another terminal tells more")
            for entry in follow(run.settings.kafka, QUIET, from_start=True):
                teller.hear(entry)
                run.tend(lambda told: teller.say(told, style="red"))
                run.scale(entry)
                run.sweep()
    except KeyboardInterrupt:
        console.print("everything is stopped")
    return 0


@contextmanager
def _on_stage(console: Console, *, packagers: int | None, brokers: int) -> Iterator[tuple[LocalRun, Storyteller]]:
    """A run with six live channels and somebody who tells of it; without a number of packagers it has as many as its planner wants."""
    settings = load()
    teller = Storyteller(console)
    clip = ensure_clip(CACHE)
    recording = _recording(clip, teller)
    begins = settings.scaling.packagers_min if packagers is None else packagers
    with running(settings, packagers=begins, say=teller.say, scales=packagers is None, brokers=brokers) as run:
        console.print(f"\n  watch page: [bold]{run.origin_url}/[/]\n  logs: {run.directory / 'logs'}\n", highlight=False, soft_wrap=True)
        teller.begin()
        try:
            for name, source, channels, idle_level in (
                (f"encode-{ENCODED}", clip, (ENCODED,), Level.PARTS),
                ("play-parts", recording, PLAYED_IN_PARTS, Level.PARTS),
                ("play-off", recording, PLAYED_OFF, Level.OFF),
            ):
                run.go_live(LiveInput(name=name, source=source, channels=channels, idle_level=idle_level, thumbnails=True))
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


class _Play:
    """The scenes of the demo, each at its time, told from what the log says meanwhile."""

    def __init__(self, story: Story, run: LocalRun, teller: Storyteller) -> None:
        self._story = story
        self._run = run
        self._teller = teller
        self._seen_file = run.directory / "audience.json"
        self._raw_file = run.directory / "raw-latency.json"
        self._killed: Life | None = None
        self._killed_unix_ms: UnixMs | None = None
        self._measured_s = 0.0

    def perform(self) -> summary.Outside:
        """Play it all; returns when the packagers finished what is in the log."""
        scenes = [
            (AUDIENCE_ARRIVES, self._let_audience_in),
            (VISITOR_COMES, self._let_visitor_in),
            (BROKER_MEASURED, self._measure_broker),
            (PACKAGER_KILLED, self._kill_holder),
        ]
        heard = follow(self._run.settings.kafka, QUIET, from_start=True)
        for share, scene in scenes:
            self._listen(heard, until=self._at(share))
            scene()
        self._listen(heard, until=self._at(1))
        seconds = self._teller.elapsed_s
        self._end_channels()
        deadline = time.monotonic() + SETTLE_S
        self._listen(heard, until=lambda: self._is_settled() or time.monotonic() > deadline)
        return summary.Outside(
            startup_s=self._run.startup_s,
            seconds=seconds,
            usage=self._run.usage(),
            viewers=_json(self._seen_file),
            raw_latency_ms=_json(self._raw_file),
            killed=self._killed,
            killed_unix_ms=self._killed_unix_ms,
        )

    def _at(self, share: float) -> Callable[[], bool]:
        """Whether this share of the story has passed."""
        return lambda: self._teller.elapsed_s >= share * self._story.seconds

    def _listen(self, heard: Iterator[Entry | None], *, until: Callable[[], bool]) -> None:
        for entry in heard:
            self._teller.hear(entry)
            if time.monotonic() - self._measured_s > USAGE_EVERY_S:
                self._measured_s = time.monotonic()
                self._run.check()
                self._teller.measure(self._run.usage())
            if until():
                return

    def _let_audience_in(self) -> None:
        self._teller.say(f"up to {self._story.viewers} viewers come to [bold]{ENCODED}[/], as they did to a recorded event", style="green")
        seconds = self._story.seconds * (AUDIENCE_LEAVES - AUDIENCE_ARRIVES)
        self._watch("audience", ENCODED, viewers=self._story.viewers, seconds=seconds, file=self._seen_file)

    def _let_visitor_in(self) -> None:
        self._teller.say(f"one viewer comes to [bold]{VISITED}[/], which nobody packages", style="green")
        self._watch("visitor", VISITED, viewers=1, seconds=VISIT_S, file=self._run.directory / "visitor.json")

    def _watch(self, name: str, channel: str, *, viewers: int, seconds: float, file: Path) -> None:
        url = f"{self._run.origin_url}/{channel}/hls/multivariant.m3u8"
        words = ["audience", url, "--viewers", str(viewers), "--seconds", f"{seconds:.1f}", "--result", str(file)]
        self._run.supervisor.start(name, "audience", words, may_end_with=(0, FAULTS_SEEN))
        self._run.leave_word()

    def _measure_broker(self) -> None:
        words = ["rawlatency", "--seconds", str(RAW_S), "--result", str(self._raw_file)]
        self._run.supervisor.start("raw-latency", "measure", words, may_end_with=(0,))

    def _kill_holder(self) -> None:
        holders = self._teller.present.holders
        held = next((assignment for _, assignment in sorted(holders.items()) if assignment.channel == ENCODED), None)
        if held is None:
            raise UserError(f"nobody packages {ENCODED}: nobody to kill", do=f"read the logs in {self._run.directory / 'logs'}")
        channels = sorted({assignment.channel for assignment in holders.values() if assignment.packager_id == held.packager_id})
        self._teller.say(f"{held.packager_id}, which packages {' and '.join(channels)}, is killed with SIGKILL", style="bold red")
        self._killed, self._killed_unix_ms = (held.packager_id, held.life), UnixMs(time.time_ns() // 1_000_000)
        self._run.supervisor.kill(held.packager_id)
        self._run.leave_word()

    def _end_channels(self) -> None:
        self._teller.say("the audience leaves, the channels end, the packagers finish what is in the log")
        children = self._run.supervisor.children.values()
        self._run.supervisor.stop([child.name for child in children if child.role == "audience"])
        self._run.supervisor.stop([child.name for child in children if child.role == "encode"])

    def _is_settled(self) -> bool:
        present = self._teller.present
        return present.ended >= set(present.channels) and not present.holders


def _entries(run: LocalRun) -> Iterator[Entry]:
    return read(run.settings.kafka, stretches(run.settings.kafka, QUIET))


def _recount(run: LocalRun) -> Tally:
    tally = Tally()
    for entry in _entries(run):
        tally.absorb(entry)
    return tally


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text())) if file.exists() else {}

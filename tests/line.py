"""A whole finecut for tests: started by the runner of `finecut up` on the broker of the session, told apart by its topic prefix."""

import http.client
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

from infra.clip import ensure_clip
from infra.kafka import LocalBroker, LocalCluster
from infra.local import POOL, LiveInput, LocalRun, running
from infra.processes import Child, Supervisor, tail
from infra.tally import Tally
from packager.store import DirectoryStore
from schemas.codec import Codec
from schemas.records import Gop, Level, Plan
from schemas.settings import load
from schemas.topics import MEDIA, PLANS, TOPICS, Topic
from streams.ingest.ladder import LADDER
from streams.ingest.recording import make_recording
from streams.replay.entries import Entry
from streams.replay.reader import follow, read, stretches
from tests.invariants import read_playlist

CACHE = Path(__file__).parents[1] / ".cache"
# Picture and sound end together after 8 s; two renditions are enough for players to switch between.
RECORDING_S = 8
RENDITIONS = 2
PRESET = "superfast"
# A recording encoded so has other parameter sets.
OTHER_PRESET = "ultrafast"
QUIET = tuple(topic for topic in TOPICS if topic is not MEDIA)
# A few seconds on a free machine.
WAIT_S = 90.0
# Outranks every decision that a run of minutes makes.
BY_HAND = 2**40
ANSWER_S = 20.0
LISTEN_S = 0.3
# Of the log of a process that ended by itself so many lines are told, out of so many.
TOLD_LINES, LOOKED_LINES = 20, 400
# As our logs, our commands and tracebacks tell of one.
ERROR = re.compile(r'"level": "(error|critical)"|^error: |^[\w.]*(Error|Exception|Interrupt)\b')
# Of a dump of all threads; those of a traceback end with a comma and the function, and stay.
FRAME = re.compile(r'  File ".*", line \d+ in ')
T = TypeVar("T")


def recording(*, preset: str = PRESET) -> Path:
    """A small ladder, encoded the first time it is asked for and kept; with another preset of x264 its parameter sets are others."""
    folder = CACHE / "recording" / f"tests-{RENDITIONS}-{RECORDING_S}{'' if preset == PRESET else f'-{preset}'}"
    make_recording(str(ensure_clip(CACHE)), folder, RECORDING_S, ladder=LADDER[:RENDITIONS], preset=preset)
    return folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """
    A process that ended by itself.

    Attributes:
        name: Its name.
        status: With what it ended; negative: by that signal.
        at_unix_ms: When that was seen.
        log: Where it wrote.
        told: The last lines of that, before another of its name wrote more.
    """

    name: str
    status: int
    at_unix_ms: int
    log: Path
    told: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """
        The line that says why: the last that tells of an error, else the last that continues none before it.

        >>> Ended(name="x", status=1, at_unix_ms=0, log=Path("x.log"), told=("starts", "error: no", "  what to do: this")).last
        'error: no'
        >>> Ended(name="x", status=4, at_unix_ms=0, log=Path("x.log"), told=('{"level": "error"}', "Thread 1:", "  File")).last
        '{"level": "error"}'
        """
        heads = [line for line in self.told if line and not line[0].isspace()]
        return next((line for line in reversed(heads) if ERROR.search(line)), heads[-1] if heads else "")


def last_words(log: Path) -> tuple[str, ...]:
    """The last lines of a log, of which a dump of all threads takes a line for each."""
    lines = tail(log, LOOKED_LINES).splitlines()
    return tuple(line for line in lines if not FRAME.match(line))[-TOLD_LINES:]


def just_ended(supervisor: Supervisor) -> list[Ended]:
    """Who ended by itself since children were tended; what it said is to be had now: who comes after it writes to the same log."""
    return [
        Ended(
            name=child.name, status=int(child.popen.returncode), at_unix_ms=time.time_ns() // 1_000_000, log=child.log,
            told=last_words(child.log),
        )
        for child in supervisor.dead()
        if child.due_s is None
    ]  # fmt: skip


class Line:
    """What a test does with a whole line, and what it sees of it."""

    def __init__(self, run: LocalRun, *, revives: bool) -> None:
        self.run = run
        self.tally = Tally()
        self.revives = revives
        self.onlooker = Onlooker(run.origin_url)
        self.gops: dict[str, Gop] = {}
        """Newest GOP of each channel."""
        self.ended: list[Ended] = []
        self._encoders = 0
        self._log = follow(run.settings.kafka, QUIET, from_start=True)
        self._producer: Producer | None = None

    def play(self, *channels: str, idle: Level, preset: str = PRESET) -> Child:
        """Play the recording into channels, each from its own beginning; who played into them before is superseded."""
        self._encoders += 1
        name = f"play-{channels[0]}-{self._encoders}"
        return self.run.go_live(LiveInput(name=name, source=recording(preset=preset), channels=channels, idle_level=idle))

    def tell(self, topic: Topic, key: str, record: object) -> None:
        """Write a record into the pool's partition of a topic, as the control plane would."""
        self._producer = self._producer or Producer(self.run.settings.kafka.client())
        self._producer.produce(topic.name(self.run.settings.kafka), Codec().encode(record), key, POOL)
        assert self._producer.flush(ANSWER_S) == 0

    def pin(self, channel: str, gops: int) -> None:
        """The next segments of a channel get this length, whatever the planner wants."""
        self.tell(PLANS, channel, Plan(channel=channel, level=Level.PARTS, gops_per_segment=gops, decision=BY_HAND))

    def until(self, ask: Callable[[Tally], T | None], *, what: str, timeout_s: float = WAIT_S) -> T:
        """The first answer that is neither None nor False, asked after every batch of the log; meanwhile everything must run."""
        deadline = time.monotonic() + timeout_s
        answer = ask(self.tally)
        while answer is None or answer is False:
            assert time.monotonic() < deadline, f"no {what} within {timeout_s:.0f} s\n{self.complaints()}"
            self.hear()
            answer = ask(self.tally)
        return answer

    def hear(self) -> None:
        """Take what the log says now."""
        until_s = time.monotonic() + LISTEN_S  # there may always be more
        for entry in self._log:
            if entry is not None:
                self.tally.absorb(entry)
                if isinstance(entry.record, Gop):
                    self.gops[entry.record.channel] = entry.record
            self.run.scale(entry)
            if entry is None or time.monotonic() > until_s:
                break
        if self.revives:
            self.ended += just_ended(self.run.supervisor)
            self.run.tend(lambda _: None)
        else:
            self.run.check()

    def holder(self, channel: str) -> str:
        """The packager that holds a channel now."""
        return self.until(
            lambda tally: next((a.packager_id for a in tally.holders.values() if a.channel == channel), None), what=f"holder of {channel}"
        )

    def published(self, channel: str) -> int:
        """The newest segment of a channel that was reported; -1 if none."""
        return max((msn for name, msn, _ in self.tally.published if name == channel), default=-1)

    def goes_on(self, *channels: str, segments: int = 2) -> None:
        """Return when every channel has so many more segments."""
        before = {channel: self.published(channel) for channel in channels}
        self.until(
            lambda _: all(self.published(channel) >= msn + segments for channel, msn in before.items()),
            what=f"{segments} more segments of {channels}",
        )

    def end(self) -> None:
        """End the encoders, and return when the packagers finished what is in the log."""
        self.onlooker.stop()
        encoders = [child.name for child in self.run.supervisor.children.values() if child.role == "encode" and child.is_alive]
        self.run.supervisor.stop(encoders)
        self.until(
            lambda t: {c for (c, _), end in t.ends.items() if end.channel_ended} >= set(t.channels) and not t.holders,
            what="end of all work",
        )

    def entries(self, *topics: Topic) -> Iterator[Entry]:
        """All entries of some topics until now."""
        return read(self.run.settings.kafka, stretches(self.run.settings.kafka, topics))

    def raw(self, topic: Topic) -> dict[int, list[tuple[int, bytes]]]:
        """Offset and value of every record of a topic until now, by partition, without tombstones."""
        return {partition: self.raw_of(topic, partition) for partition in range(topic.partition_count(self.run.settings.kafka))}

    def raw_of(self, topic: Topic, partition: int) -> list[tuple[int, bytes]]:
        """The same of one partition."""
        kafka = self.run.settings.kafka
        found: list[tuple[int, bytes]] = []
        # Asked for patiently: a busy broker may have let connections go.
        wanted = next((stretch for stretch in stretches(kafka, [topic]) if stretch.partition == partition), None)
        if wanted is None:
            return found
        consumer = Consumer(kafka.client() | {"group.id": "unused", "enable.auto.commit": False})
        try:
            at = TopicPartition(topic.name(kafka), partition, wanted.first)
            consumer.assign([at])
            low = wanted.first
            while low < wanted.end:
                message = consumer.poll(ANSWER_S)
                assert message is not None, f"{at} ends before {wanted.end}"
                assert message.error() is None, message.error()
                low = (message.offset() or 0) + 1
                if message.value() is not None:
                    found.append((low - 1, message.value() or b""))
        finally:
            consumer.close()
        return found

    def objects(self) -> dict[str, bytes]:
        """The whole store."""
        store = self.store()
        return {name: store.get(name) for name in store.list()}

    def store(self) -> DirectoryStore:
        """Where its objects are."""
        return DirectoryStore(self.run.settings.store)

    def complaints(self) -> str:
        """The last that each process said but its news."""
        told = []
        for log in sorted((self.run.directory / "logs").glob("*.log")):
            lines = [line for line in log.read_text(errors="replace").splitlines() if '"level": "info"' not in line]
            told.append("\n".join([f"--- {log.name}", *(line[:400] for line in lines[-12:])]))
        return "\n".join(told)

    def get(self, path: str, *, timeout_s: float = ANSWER_S) -> tuple[int, str]:
        """Status and text of an answer of the origin."""
        return fetch(self.run.origin_url, path, timeout_s=timeout_s)

    def arrive(self, channel: str, viewers: int, *, prefix: str = "guest") -> None:
        """So many viewers of whole segments ask for a channel for the first time."""
        for number in range(viewers):
            report = urllib.parse.quote(f'ot=m,sf=h,sid="{prefix}-{number}",st=l')
            assert self.get(f"/{channel}/hls/v0.m3u8?CMCD={report}")[0] == 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A media playlist that was seen, as `tests.promises` asks for it; ``run`` tells the viewers of one channel apart."""

    channel: str
    track: str
    low_latency: bool
    text: str
    origin_id: str = "origin-1"
    run: int = 0
    missing: tuple[str, ...] = ()


class Onlooker:
    """Reads media playlists all the time, as players do, and keeps what was said."""

    def __init__(self, origin_url: str) -> None:
        self.seen: list[Seen] = []
        self.looks = 0
        self.refused: list[tuple[str, int]] = []
        self._listed_s: dict[str, dict[int, float]] = {}
        self._newest: dict[str, str] = {}
        self._origin_url = origin_url
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, *paths: str) -> None:
        """Read these from now on."""
        self._newest = dict.fromkeys(paths, "")
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def until(self, monotonic_s: float) -> None:
        """Look on until a time."""
        self._stop.wait(max(0.0, monotonic_s - time.monotonic()))

    def gap_s(self, path: str, *, since_s: float = 0.0) -> float:
        """Longest time that a playlist went without a new segment, by the monotonic clock."""
        times = sorted(at for at in self._listed_s[path].values() if at >= since_s)
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def _look(self) -> None:
        while not self._stop.wait(0.25):
            for path in self._newest:
                try:
                    status, text = fetch(self._origin_url, path)
                except OSError:
                    continue  # an origin that does not answer says nothing false
                if status == 200:
                    self._take(path, text)
                else:
                    self.refused.append((path, status))

    def _take(self, path: str, text: str) -> None:
        self.looks += 1
        if text == self._newest[path]:
            return
        channel, kind, file = path.strip("/").split("/")
        self.seen.append(Seen(channel=channel, track=file.removesuffix(".m3u8"), low_latency=kind == "ll", text=text))
        self._newest[path] = text
        now_s = time.monotonic()
        listed = read_playlist(text)
        for msn in range(listed.first, listed.first + len(listed.segments)):
            self._listed_s.setdefault(path, {}).setdefault(msn, now_s)


def fetch(origin_url: str, path: str, *, timeout_s: float = ANSWER_S) -> tuple[int, str]:
    """Status and text of an answer."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(origin_url).netloc, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"user-agent": "onlooker"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def whole_line(
    kafka: LocalBroker | LocalCluster, folder: Path, *, packagers: int, revives: bool = False, scales: bool = False, **settings: Any
) -> Iterator[Line]:
    """
    A line whose processes end with the context, however it ends.

    Args:
        kafka: Broker to use.
        folder: For its store, state and logs.
        packagers: How many.
        revives: What ends by itself is started again, as `finecut up` does.
        scales: There are as many packagers as the planner wants.
        settings: By their names in the environment, without the prefix: ``GRANULARITY__HOLD_MS=2_000``.
    """
    recording()
    own: dict[str, Any] = {
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA__TOPIC_PREFIX": f"test-{uuid4().hex[:8]}.",
        "KAFKA__MEDIA_PARTITION_COUNT": 4,
        "STATE_DIR": folder / "state",
        "ORIGIN__PORT": 0,
    }
    # The runner tells its children by our environment, where another line may have left its own: given back afterwards as it was.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FINECUT_")}
    environment |= {f"FINECUT_{name}": str(value) for name, value in (own | settings).items()}
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        running(load(), packagers=packagers, say=lambda _: None, scales=scales) as run,
    ):
        line = Line(run, revives=revives)
        try:
            yield line
        finally:
            line.onlooker.stop()

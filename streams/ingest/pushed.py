"""One channel that encoders push: its connections' bytes, in one thread, to the log."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from schemas.errors import FinecutError, RejectedError, RetryableError, SupersededError
from schemas.records import Level, TrackKind
from schemas.settings import Settings
from streams.ingest import metrics
from streams.ingest.assembly import Assembly, Shape
from streams.ingest.bridge import AWAY
from streams.ingest.fragments import End, FragmentReader, Init, Samples
from streams.ingest.init import InitSegment
from streams.ingest.producer import ChannelWriter
from streams.ingest.reading import KafkaAwayError
from streams.ingest.standby import Standby
from streams.ingest.text import read_cues

log = structlog.get_logger()

LOOK_S = 0.05
# Without any bytes and any open request for this long the connection to Kafka is given back; the next push recovers from the log.
RELEASE_S = 60.0
TEXT_PREFIX = "t"
PREFIXES = {TrackKind.VIDEO: "v", TrackKind.AUDIO: "a"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Why a push cannot go on.

    Attributes:
        status: As HTTP has it.
        text: What is wrong and what to do.
        retry_after_ms: When it may go better; 0 if that is not said.
    """

    status: int
    text: str
    retry_after_ms: int = 0


@dataclass(slots=True, eq=False)
class Connection:
    """
    One request of an encoder.

    Attributes:
        name: What the path calls its track; empty when it carries several.
        heard: When its last bytes came, by the monotonic clock.
        is_open: Whether more may come.
        refusal: Why nothing more of it is taken.
    """

    name: str
    heard: float
    is_open: bool = True
    refusal: Refusal | None = None


@dataclass(slots=True)
class _Source:
    """The stream of one name, over all its connections."""

    reader: FragmentReader = field(default_factory=FragmentReader)
    names: dict[int, str] = field(default_factory=dict)
    connection: Connection | None = None


class PushedChannel:
    """Takes the bytes of a channel's connections; a thread reads them, finds out how the tracks fit together, and writes the channel."""

    def __init__(
        self,
        settings: Settings,
        channel: str,
        *,
        expected: frozenset[str],
        idle_level: Level | None,
        encoder: str = "",
        ended: Callable[[str, str, BaseException | None], None],
    ) -> None:
        """
        Args:
            expected: All its tracks; empty when they are to be gathered.
            encoder: Which of a pair it is; empty if it is the only one.
            ended: Called when nothing comes any more, with what broke it if something did.
        """
        self._settings = settings
        self._channel = channel
        self._expected = expected
        self._idle_level = idle_level
        self._encoder = encoder
        self._ended_call = ended
        self._lock = threading.Condition()
        self._queue: deque[tuple[Connection, bytes]] = deque()
        self._queued = 0
        self._sources: dict[str, _Source] = {}
        self._is_stopped = False
        self._inits: dict[str, bytes] = {}
        self._assembly = Assembly()
        self._gathered_at = 0.0
        self._began = 0.0
        self._over: set[str] = set()
        self._texts: dict[str, int] = {}
        self._writer: ChannelWriter | Standby | None = None
        self._thread = threading.Thread(target=self._run, name=f"push {channel}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ for the server

    def connect(self, name: str) -> Connection:
        """
        A new connection for a name.

        Raises:
            RetryableError: Another one that is not silent sends this track.
        """
        now = time.monotonic()
        with self._lock:
            source = self._sources.setdefault(name, _Source())
            other = source.connection
            silence_ms = self._settings.ingest.silence_ms
            if other and other.is_open and (now - other.heard) * 1_000 < silence_ms:
                raise RetryableError(f"track {name or 'of all names'} of {self._channel} is being sent already", retry_after_ms=silence_ms)
            if other and other.is_open:
                other.refusal = Refusal(409, f"another connection took over {self._channel}/{name}\n")
            source.connection = made = Connection(name, now)
            return made

    def put(self, connection: Connection, data: bytes) -> Refusal | None:
        """Queue bytes; waits while the queue is full. Returns why nothing more is taken, if so."""
        with self._lock:
            connection.heard = time.monotonic()
            limit = self._settings.ingest.queue_bytes_max
            self._lock.wait_for(lambda: self._queued < limit or connection.refusal or self._is_stopped)
            if self._is_stopped:
                return connection.refusal or self._stopped()
            if connection.refusal is None:
                self._queue.append((connection, data))
                self._queued += len(data)
                self._lock.notify_all()
            return connection.refusal

    def finish(self, connection: Connection) -> Refusal | None:
        """The connection is over: what came of it, once all is read."""

        def is_read() -> bool:
            return all(queued is not connection for queued, _ in self._queue)

        with self._lock:
            self._lock.wait_for(lambda: connection.refusal or self._is_stopped or is_read())
            connection.is_open = False
            return connection.refusal or (None if is_read() else self._stopped())

    def _stopped(self) -> Refusal:
        return Refusal(503, f"{self._channel} was let go at this moment: push again\n", self._settings.ingest.retry_ms)

    def stop(self) -> None:
        """Write what is queued and let go without ending the channel."""
        with self._lock:
            self._is_stopped = True
            self._lock.notify_all()
        self._thread.join()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        broke: BaseException | None = None
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - a defect of ours: `ended` ends the process with it
            broke = error
        finally:
            with self._lock:
                self._is_stopped = True
                self._lock.notify_all()
            self._ended_call(self._channel, self._encoder, broke)

    def _serve(self) -> None:
        heard = time.monotonic()
        while True:
            with self._lock:
                if not self._queue:
                    self._lock.wait(LOOK_S)
                item = self._queue[0] if self._queue else None
                is_open = any(source.connection and source.connection.is_open for source in self._sources.values())
                self._is_stopped |= item is None and not is_open and time.monotonic() - heard > RELEASE_S
                if item is None and self._is_stopped:
                    break
            try:
                if item:
                    heard = time.monotonic()
                    if item[0].refusal is None:
                        self._take(*item)
                self._begin_if_ready()
                if self._writer:
                    self._writer.poll()
            except FinecutError as error:
                self._refuse(error)
            if item:
                with self._lock:
                    self._queue.popleft()
                    self._queued -= len(item[1])
                    self._lock.notify_all()
        try:
            self._let_go(flush=True)
        except FinecutError as error:
            self._refuse(error)

    def _take(self, connection: Connection, data: bytes) -> None:
        source = self._sources[connection.name]
        if source.connection is not connection:
            return
        if not data:  # the connection begins
            source.reader.restart()
        for piece in source.reader.feed(data):
            match piece:
                case Init():
                    self._announce(connection.name, source, piece)
                case Samples() if piece.number in source.names:
                    self._write(source.names[piece.number], piece)
                case End():
                    self._over |= set(source.names.values())
                    self._end_if_over()

    def _announce(self, name: str, source: _Source, init: Init) -> None:
        source.names = {}
        counts: Counter[str] = Counter()
        for number, data in sorted(init.tracks.items()):
            try:
                read = InitSegment(data)
            except RejectedError as error:
                if len(init.tracks) == 1:
                    raise
                log.warning("track_left_out", channel=self._channel, number=number, error=str(error))
                continue
            prefix = TEXT_PREFIX if read.is_text else PREFIXES[read.kind]
            source.names[number] = name if name and len(init.tracks) == 1 else f"{prefix}{counts[prefix]}"
            counts[prefix] += 1
        if not source.names:
            raise RejectedError("the init segment has no track of picture, sound or WebVTT")
        news = {track: init.tracks[number] for number, track in source.names.items()}
        self._over -= set(news)
        if all(self._inits.get(track) == data for track, data in news.items()):
            return
        self._gathered_at = time.monotonic()
        self._inits |= news
        if self._writer or not self._assembly.tracks:
            # A track set or parameters that change begin a new period: the others go on in it.
            self._let_go(flush=True)
            self._began, self._assembly, news = self._gathered_at, Assembly(), self._inits
        for track, data in news.items():
            self._assembly.announce(track, data)

    def _write(self, track: str, piece: Samples) -> None:
        if self._writer is None:
            self._assembly.add(track, piece.samples, piece.durations)
            return
        text = self._texts.get(track)
        if text is not None:
            for cue in read_cues(piece.samples, piece.durations, text):
                self._writer.write_cue(track, cue)
            return
        for sample in piece.samples:
            self._writer.write(track, sample)

    def _begin_if_ready(self) -> None:
        if self._writer or not self._inits:
            return
        waited_ms = (time.monotonic() - self._gathered_at) * 1_000
        if not (self._expected and self._expected <= self._assembly.tracks) and waited_ms < self._settings.ingest.gather_ms:
            return
        shape = self._assembly.shape()
        if shape:
            self._begin(shape)
            self._end_if_over()
        elif self._over >= set(self._inits):
            raise RejectedError("it was over before a second key frame came: a channel is a GOP at least")

    def _begin(self, shape: Shape) -> None:
        kind = Standby if self._encoder else ChannelWriter
        self._writer = kind(
            self._settings,
            channel=self._channel,
            tracks=shape.tracks,
            frame_rate=shape.frame_rate,
            gop_frames=shape.gop_frames,
            idle_level=self._idle_level,
        )
        log.info("push_begins", channel=self._channel, encoder=self._encoder, tracks=[track.track for track in shape.tracks],
                 frame_rate=str(shape.frame_rate), gop_frames=shape.gop_frames)  # fmt: skip
        self._texts = {track.track: track.timescale for track in shape.tracks if track.is_text}
        for name, cue in self._assembly.cues():
            self._writer.write_cue(name, cue)
        held_ms = round((time.monotonic() - self._began) * 1_000)
        for track, sample in self._assembly.release(shape):
            self._writer.write(track, sample, held_ms=held_ms)

    def _end_if_over(self) -> None:
        """The channel ends when the encoder has said of all tracks, or all but text, that they are over."""
        if self._writer and self._over >= set(self._inits) - set(self._texts):
            self._writer.end()
            self._forget(flush=True)

    def _forget(self, *, flush: bool) -> None:
        self._let_go(flush=flush)
        self._inits.clear()
        self._over.clear()
        self._assembly = Assembly()

    def _refuse(self, error: FinecutError) -> None:
        refusal = Refusal(_status(error), f"{error}\n", self._settings.ingest.retry_ms if isinstance(error, AWAY) else 0)
        log.warning("push_refused", channel=self._channel, status=refusal.status, error=str(error))
        metrics.REFUSED.inc()
        with self._lock:
            for source in self._sources.values():
                if source.connection:
                    source.connection.refusal = source.connection.refusal or refusal
            self._sources.clear()
            self._lock.notify_all()
        self._forget(flush=False)

    def _let_go(self, *, flush: bool) -> None:
        writer, self._writer = self._writer, None
        if writer:
            try:
                if flush:
                    writer.flush()
            finally:
                writer.close()


def _status(error: FinecutError) -> int:
    match error:
        case SupersededError():
            return 409
        case RetryableError() | KafkaAwayError():
            return 503
        case _:
            return 400

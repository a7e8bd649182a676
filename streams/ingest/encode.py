"""``finecut encode``: a file, an address, or a recorded ladder, into channels of the log until its end or a signal."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import start_http_server

from schemas.errors import DisplacedError, RetryableError, SupersededError, UserError
from schemas.records import Level
from schemas.settings import Settings
from streams.ingest import metrics
from streams.ingest.bridge import AWAY, Bridge, Writer
from streams.ingest.encoder import Encoder
from streams.ingest.link import Link
from streams.ingest.occupied import await_silence
from streams.ingest.playout import play
from streams.ingest.producer import ChannelWriter
from streams.ingest.recording import is_recording, load_recording
from streams.ingest.standby import Standby, shifted
from streams.ingest.text import Cue

log = structlog.get_logger()


def run(
    settings: Settings,
    source: str,
    channels: Sequence[str],
    *,
    realtime: bool = False,
    loop: bool = False,
    idle_level: Level | None = None,
    preset: str = "superfast",
    standby: bool = False,
    take_over: bool = False,
) -> int:
    """
    Exit status, 0 after the source's end, SIGTERM or SIGINT: the channels are ended then.

    Args:
        source: What FFmpeg reads, or a folder from `make_recording`, which is always played in real time and repeated.
        channels: Their names; several only for a recording.
        realtime: Feed a file at the speed of a camera.
        loop: Begin again at its end, for ever.
        idle_level: What is packaged while nobody watches.
        preset: Of x264; ``superfast`` leaves room for others on two cores.
        standby: One of a pair: it leads if nobody does, else goes on when the leader falls silent. Its clock is UTC, so that both have
            their key frames at the same instants. Neither ends the channel.
        take_over: Take a channel from whoever writes it now, who ends; else that is an error.

    Raises:
        UserError: Source, names or settings do not fit, a channel is being written, or Kafka stayed away for too long.
        DisplacedError: Another writer took a channel over.
    """
    if len(set(channels)) != len(channels) or not channels:
        raise UserError("name each channel once, and at least one", do="finecut encode INPUT --channel NAME")
    host, port = settings.ingest.metrics_host, settings.ingest.metrics_port
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        problem = f"cannot serve metrics on {host} port {port}: {error.strerror}"
        raise UserError(problem, do="choose another FINECUT_INGEST__METRICS_PORT; 0 takes a free one") from error
    log.info("metrics_served", host=host, port=server.server_port)
    try:
        if standby and (len(channels) > 1 or is_recording(Path(source))):
            raise UserError("a pair of encoders encodes one source into one channel", do="leave --standby out")
        if len(channels) > 1 and not is_recording(Path(source)):
            raise UserError(f"{source} is encoded once, for one channel, not {len(channels)}", do="give a recording for several")
        if not (standby or take_over):
            await_silence(settings.kafka, channels, silence_ms=settings.ingest.standby_ms)
        if is_recording(Path(source)):
            _play(settings, Path(source), channels, idle_level)
        else:
            _encode(settings, source, channels[0], realtime=realtime, loop=loop, idle_level=idle_level, preset=preset, standby=standby)
    except SupersededError as error:
        raise DisplacedError(str(error), do="run one writer per channel; the later one goes on") from error
    except RetryableError as error:
        raise UserError(str(error), do="see that the broker runs, then start the encoder again: it continues where the log ends") from error
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return 0


def _encode(
    settings: Settings, source: str, channel: str, *, realtime: bool, loop: bool, idle_level: Level | None, preset: str, standby: bool
) -> None:
    lives: set[str | None] = set()
    with Encoder(
        source, realtime=realtime, loop=loop, preset=preset, has_text=True, behind_max_s=settings.ingest.behind_ms_max / 1_000
    ) as encoder:

        def make() -> Writer:
            about: dict[str, Any] = {
                "channel": channel,
                "tracks": encoder.tracks,
                "frame_rate": encoder.rate,
                "gop_frames": encoder.gop_frames,
                "idle_level": idle_level,
            }
            if standby:
                return Standby(settings, **about)
            writer = ChannelWriter(settings, **about)
            if lives and writer.found_life not in lives:
                writer.close()
                raise SupersededError(f"another writer took over channel {channel} while Kafka was away: life", held=0, seen=1)
            # Whose it was when we came it still is if our first mark was never taken.
            lives.update((writer.found_life, writer.life))
            return writer

        with Bridge(make, retry_ms=settings.ingest.retry_ms) as writer, _on_signal(encoder.stop):
            by = _wait_for_grid(encoder) if standby else Fraction(0)
            scales = {track.track: track.timescale for track in encoder.tracks}
            for item in encoder.samples():
                if item:
                    track, sample = item[0], shifted(item[1], by, scales[item[0]]) if by else item[1]
                    if isinstance(sample, Cue):
                        writer.write_cue(track, sample)
                    else:
                        writer.write(track, sample)
                writer.poll()
                if not standby:  # the clock of a pair is UTC
                    encoder.hurry(writer.early_s)


def _wait_for_grid(encoder: Encoder) -> Fraction:
    """The next whole number of GOPs since 1970, in seconds, once it is that time: encoders of a pair count from there."""
    gop = encoder.gop_frames / encoder.rate
    now = Fraction(time.time_ns(), 10**9)
    start = (now // gop + 1) * gop
    time.sleep(float(start - now))
    return start


def _play(settings: Settings, folder: Path, channels: Sequence[str], idle_level: Level | None) -> None:
    """Until it is stopped; when Kafka was away for longer than the queue holds, it begins anew once Kafka is back."""
    stop, recording, has_played = threading.Event(), load_recording(folder), False
    with _on_signal(stop.set):
        while True:
            try:
                link = Link(settings)
                try:
                    has_played = True
                    play(settings, recording, channels, link=link, stop=stop, idle_level=idle_level)
                    return
                finally:
                    link.close()
            except AWAY as error:
                if not has_played:
                    raise
                metrics.OUTAGES.inc()
                log.error("kafka_lost", channels=len(channels), error=str(error).splitlines()[0])
                if stop.wait(settings.ingest.retry_ms / 1_000):
                    raise


@contextmanager
def _on_signal(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` on SIGTERM and SIGINT."""
    before = {number: signal.signal(number, lambda *_: act()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""MediaMTX as an origin of low-latency HLS: one channel, looped into it by FFmpeg, parts and segments as long as those of our own row."""

import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from infra.clip import ensure_clip
from infra.kafka.ports import free_ports
from infra.process import spawn, terminate
from tests.bench.programs import CACHE, ffmpeg, mediamtx, version

READY_S = 60.0
# As our own row: parts of half a second at 1 Mb/s, segments of 4 s.
RATE = "1M"
CONFIGURATION = """
logLevel: error
rtsp: no
webrtc: no
srt: no
moq: no
rtmp: yes
rtmpAddress: 127.0.0.1:{rtmp}
rtmpEncryption: "no"
hls: yes
hlsAddress: 127.0.0.1:{hls}
hlsVariant: lowLatency
hlsAlwaysRemux: yes
hlsPartDuration: 500ms
hlsSegmentDuration: 4s
hlsSegmentCount: 10
paths:
  all_others:
"""


class Running(NamedTuple):
    """A MediaMTX that has begun to serve."""

    name: str
    playlist_url: str
    process: psutil.Process

    def part_url(self) -> str:
        """Its newest whole part: it stays for some segments."""
        lines = _body(self.playlist_url).decode().splitlines()
        uris = [line.partition('URI="')[2].partition('"')[0] for line in lines if line.startswith("#EXT-X-PART:")]
        return urllib.parse.urljoin(self.playlist_url, uris[-1])


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """
    MediaMTX with a live channel.

    Raises:
        AbsentError: It, or FFmpeg, is not here.
        TimeoutError: It never served a part.
    """
    program, encoder, ports = mediamtx(), ffmpeg(), free_ports()
    rtmp, hls = next(ports), next(ports)
    clip, settings = folder / "loop.flv", folder / "mediamtx.yml"
    rate = ["-b:v", RATE, "-minrate", RATE, "-maxrate", RATE, "-bufsize", RATE, "-x264-params", "nal-hrd=cbr"]
    made = ["-an", "-r", "25", "-s", "640x360", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-t", "4", *rate, str(clip)]
    subprocess.run([str(encoder), "-v", "error", "-i", str(ensure_clip(CACHE)), *made], check=True, timeout=READY_S)
    settings.write_text(CONFIGURATION.format(rtmp=rtmp, hls=hls))
    with ExitStack() as stack, (folder / "mediamtx.log").open("wb") as log:
        server = spawn([str(program), str(settings)], stdout=log, stderr=log)
        stack.callback(terminate, server, timeout_s=5)
        _until_open(rtmp)
        push = ["-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy", "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/bench"]
        source = spawn([str(encoder), *push], stdout=log, stderr=log)
        stack.callback(terminate, source, timeout_s=5)
        index = f"http://127.0.0.1:{hls}/bench/index.m3u8"
        yield Running(f"MediaMTX {version(program)}", _playlist(index), psutil.Process(server.pid))


def _until_open(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("MediaMTX does not listen")


def _playlist(index: str) -> str:
    """The address of the rendition's playlist, once it lists a part."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            uris = [line for line in _body(index).decode().splitlines() if line and not line.startswith("#")]
            address = urllib.parse.urljoin(index, uris[0])
            if _body(address).count(b"#EXTINF") > 2:
                return address
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    raise TimeoutError("MediaMTX serves no parts")


def _body(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of a server that was started here
        return bytes(answer.read())

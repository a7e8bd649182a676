"""
What an origin answers per second and core, beside nginx with the same bytes as files and MediaMTX: `python -m tests.bench.origin`.

Needs `wrk`; nginx is measured if it is installed, MediaMTX if MEDIAMTX_BIN names it, with a channel of its own of the same shape. CPU is
that of the server's process: on a machine that others use, requests per second and quantiles say less than requests per core-second.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from infra.process import spawn, terminate
from infra.summary import quantiles
from packager.origin.serving import allow_files
from tests.bench import origin_mediamtx
from tests.bench.programs import AbsentError

SECONDS = 5
CONNECTIONS = 64
PLAYERS = (500, 1_000)
PLAY_S = 12
NGINX = """
worker_processes 1; daemon off; error_log /dev/null crit; pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ video/mp4 m4s; }} default_type text/plain;
  {temporary}
  server {{ listen 127.0.0.1:{port}; root {folder}/www; }} }}
"""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    per_s: float
    cores: float
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.what:<44}{self.per_s:9.0f}/s{self.per_s / self.cores:11.0f}{self.cores:8.2f}{self.p50_ms:9.1f}{self.p99_ms:9.1f}"


@contextmanager
def origin(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """An origin that publishes; what it says after its address is left in ``folder/said``."""
    said = folder / "said"
    with said.open("wb") as out:
        process = spawn([sys.executable, "-m", "tests.bench.origin_live", folder / "store"], stdout=out)
    try:
        yield await_line(said), psutil.Process(process.pid)
    finally:
        terminate(process, timeout_s=5)


def await_line(file: Path) -> str:
    """The first line of a file that is being written."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        line, end, _ = file.read_text().partition("\n")
        if end:
            return line
        time.sleep(0.05)
    raise TimeoutError(f"{file} stays empty")


@contextmanager
def nginx(folder: Path, files: dict[str, bytes], port: int) -> Iterator[tuple[str, psutil.Process]]:
    """One worker of nginx with these files."""
    for name, data in files.items():
        path = folder / "www" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, temporary=temporary))
    process = spawn(["nginx", "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not (workers := psutil.Process(process.pid).children()):
            if time.monotonic() > deadline:
                raise TimeoutError("nginx has no worker")
            time.sleep(0.05)
        folder.chmod(0o755)
        yield f"http://127.0.0.1:{port}", workers[0]
    finally:
        terminate(process, timeout_s=5)


def load(what: str, url: str, server: psutil.Process, *headers: str) -> Row:
    """What wrk gets of one URL."""
    options = [option for header in headers for option in ("-H", header)]
    before, began = sum(server.cpu_times()[:2]), time.perf_counter()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", *options, url]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS + 30).stdout
    cores = (sum(server.cpu_times()[:2]) - before) / (time.perf_counter() - began)
    if "Non-2xx" in answer:
        raise RuntimeError(f"{url}: {answer}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", answer)
    if found is None:
        raise RuntimeError(answer)
    return Row(what, float(found[1]), cores, _ms(answer, "50%"), _ms(answer, "99%"))


def compare(other: Row, ours: Row) -> None:
    """Another's line, and how many of its requests per core-second are one of ours."""
    print(f"{other}   ours per core: {ours.per_s / ours.cores / (other.per_s / other.cores):.2f} x")


def _ms(answer: str, quantile: str) -> float:
    found = re.search(rf"{quantile}\s+([0-9.]+)(us|ms|s)", answer)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1_000.0}[found[2]] if found else 0.0


def blocked(url: str, server: psutil.Process, said: Path, players: int) -> str:
    """LL-HLS players that wait for every part: cores and memory of the origin, and how long after it was published a part was told of."""
    idle = server.memory_info().rss
    command = [sys.executable, "-m", "tests.bench.origin_players", url, str(players), str(PLAY_S)]
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        time.sleep(3)  # until all have come
        before, began = sum(server.cpu_times()[:2]), time.perf_counter()
        time.sleep(PLAY_S - 5)
        cores, rss = (sum(server.cpu_times()[:2]) - before) / (time.perf_counter() - began), server.memory_info().rss
        if process.wait(60):
            raise RuntimeError("players failed")
        out.seek(0)
        seen = [line.split() for line in out.read().decode().splitlines()]
    published = {part: float(at) for part, at in (line.split() for line in said.read_text().splitlines()[1:])}
    spans = quantiles([1_000 * (float(at) - published[part]) for part, at in seen[len(seen) // 3 :] if part in published])
    return (
        f"{players:>6} players, 4 requests/s each: {cores:.2f} cores, {players / cores:6.0f} players per core, "
        f"{(rss - idle) / players / 1024:.0f} KiB each; published to told: {spans}"
    )


def crowd(url: str, server: psutil.Process) -> Iterator[str]:
    """Memory of the origin while many do not finish their requests, or do not read what they asked for; how soon others are answered."""
    at = urllib.parse.urlsplit(url)
    half, whole = b"GET /time HTTP/1.1\r\nhost: bench\r\nx: ", b"GET /bench/0/v0/0.part.m4s HTTP/1.1\r\nhost: bench\r\n\r\n" * 40
    for count, said, what in ((10_000, half, "half a request"), (1_000, whole, "40 parts asked for and none read")):
        before = server.memory_info().rss
        with ExitStack() as stack:
            for _ in range(count):
                one = stack.enter_context(socket.create_connection((str(at.hostname), int(at.port or 0)), timeout=30))
                one.sendall(said)
            time.sleep(2)
            began = time.perf_counter()
            fetch(url + "/time")
            took_ms, grown = 1_000 * (time.perf_counter() - began), server.memory_info().rss - before
            yield f"{count:>6} connections, {what}: {grown / 2**20:.0f} MiB more, another request is answered in {took_ms:.0f} ms"


def fetch(url: str) -> bytes:
    """Body of an answer."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of servers that were started here
        return bytes(answer.read())


def main() -> int:
    """Prints one table."""
    if shutil.which("wrk") is None:
        print("left out: needs wrk (Debian package wrk)")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, server = stack.enter_context(origin(folder))
        playlist, part = "/bench/ll/v0.m3u8", "/bench/0/v0/0.part.m4s"
        files = {playlist[1:]: fetch(url + playlist), part[1:]: fetch(url + part)}
        print(f"playlist {len(files[playlist[1:]])} bytes, part {len(files[part[1:]])} bytes, {CONNECTIONS} connections, {SECONDS} s each")
        print(f"{'':<44}{'requests':>11}{'per core':>11}{'cores':>8}{'p50 ms':>9}{'p99 ms':>9}")
        ours = {"playlist": load("origin: playlist", url + playlist, server)}
        print(ours["playlist"])
        print(load("origin: playlist, gzip", url + playlist, server, "Accept-Encoding: gzip"))
        print(load("origin: low-latency MPD", url + "/bench/ll/manifest.mpd", server))
        ours["part"] = load("origin: part", url + part, server)
        print(ours["part"])
        if shutil.which("nginx") is None:
            print("nginx is not installed (Debian package nginx-light)")
        else:
            still, worker = stack.enter_context(nginx(folder, files, 8_971))
            compare(load("nginx, one worker: the playlist as a file", still + playlist, worker), ours["playlist"])
            compare(load("nginx, one worker: the part as a file", still + part, worker), ours["part"])
        try:
            with origin_mediamtx.running(folder) as other:
                print(f"{other.name}: playlist {len(fetch(other.playlist_url))} bytes, part {len(fetch(other.part_url()))} bytes")
                compare(load("MediaMTX: playlist", other.playlist_url, other.process), ours["playlist"])
                compare(load("MediaMTX: part", other.part_url(), other.process), ours["part"])
        except AbsentError as absent:
            print(f"MediaMTX is left out: {absent}")
        for players in PLAYERS:
            print(blocked(url, server, folder / "said", players))
        allow_files(10_000)
        for line in crowd(url, server):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
What open connections cost an origin: `python -m tests.bench.connections [COUNT]`.

So many connections are opened and say nothing; so many wait for a part; so many ask for a segment of a MiB and do not read it. Each
kind in an origin of its own; memory is that of its process beyond what it had before.
"""

import asyncio
import socket
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from infra.summary import quantiles
from packager.origin.serving import allow_files
from tests.bench.origin import origin
from tests.bench.origin_live import LARGE_NAME

COUNT = 10_000
# At once on their way to the origin, which takes new ones from a backlog.
OPENING_MAX = 256
SETTLE_S = 2.0
PROBES = 20
# What an origin may take for each.
KIB_MAX = 128
SLOW_RECEIVE_BYTES = 4_096


class Crowd:
    """Connections to one address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._at = (parts.hostname or "", parts.port or 80)
        self._open: list[socket.socket] = []

    async def join(self, count: int, request: str) -> None:
        """Opens more, each with a request if there is one; nothing is read."""
        slots = asyncio.Semaphore(OPENING_MAX)

        async def one() -> None:
            async with slots:
                client = socket.socket()
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BYTES)
                self._open.append(client)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, self._at)
                if request:
                    await loop.sock_sendall(client, f"GET {request} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())

        await asyncio.gather(*(one() for _ in range(count)))

    async def ask(self, path: str) -> str:
        """The answer that somebody else gets meanwhile, without its headers."""
        reader, writer = await asyncio.open_connection(*self._at)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.decode().partition("\r\n\r\n")[2]

    def leave(self) -> None:
        """Closes all."""
        for client in self._open:
            client.close()


async def measure(what: str, count: int, url: str, server: psutil.Process, request: str) -> bool:
    """Prints one row; whether it is within bounds."""
    crowd = Crowd(url)
    await crowd.ask("/bench/ll/v0.m3u8")
    if "{msn}" in request:
        text = await crowd.ask("/bench/ll/v0.m3u8")
        first = next(int(line.partition(":")[2]) for line in text.splitlines() if line.startswith("#EXT-X-MEDIA-SEQUENCE"))
        request = request.format(msn=first + text.count("#EXTINF") + 1)
    before, began = server.memory_info().rss, time.monotonic()
    await crowd.join(count, request)
    opened_s = time.monotonic() - began
    await asyncio.sleep(SETTLE_S)
    held = server.memory_info().rss - before
    spans = []
    for _ in range(PROBES):
        asked = time.monotonic()
        await crowd.ask("/time")
        spans.append(round((time.monotonic() - asked) * 1_000, 1))
    ranks = quantiles(spans)
    crowd.leave()
    await asyncio.sleep(SETTLE_S)
    after = server.memory_info().rss - before
    each_kib = held / count / 1_024
    print(
        f"{what:<34}{count:>7}{opened_s:>9.1f}{held / 2**20:>9.0f}{each_kib:>9.1f}{after / 2**20:>9.0f}{ranks['p50']:>9}{ranks['p99']:>9}",
        flush=True,
    )
    return bool(each_kib <= KIB_MAX)


async def main(count: int) -> int:
    """All rows; 1 if one is out of bounds."""
    allow_files(count)
    print(f"{'connections that':<34}{'count':>7}{'open s':>9}{'MiB':>9}{'KiB each':>9}{'MiB left':>9}{'p50 ms':>9}{'p99 ms':>9}")
    rows = {
        "say nothing": "",
        "wait for a segment": "/bench/ll/v0.m3u8?_HLS_msn={msn}",
        "do not read a segment of a MiB": f"/{LARGE_NAME}",
    }
    good = True
    for what, request in rows.items():
        with tempfile.TemporaryDirectory() as folder, origin(Path(folder)) as (url, server):
            good &= await measure(what, count, url, server, request)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)))

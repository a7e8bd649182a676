"""
What open connections cost an origin: `python -m tests.bench.connections [COUNT]`.

So many connections are opened and say nothing; so many wait for a segment; so many ask for a part, or for a segment of a MiB, and do not
read it. Each kind in an origin of its own; memory is that of its process beyond what it had before: while they are there, after they
left, and while as many have come again.
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
# Memory is looked at once it has not grown by a hundredth for a while.
STILL_S, STILL_S_MAX = 2.0, 10.0
PROBES = 20
# As many come once more so often; the last time counts.
AGAIN = 2
# What an origin may take for each.
KIB_MAX = 256
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


async def settled(server: psutil.Process) -> int:
    """Bytes that a process holds once that does not grow any more."""
    over, held, now = time.monotonic() + STILL_S_MAX, 0, 0
    while held * 1.01 < (now := int(server.memory_info().rss)) and time.monotonic() < over:
        held = now
        await asyncio.sleep(STILL_S)
    return now


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
    held = await settled(server) - before
    spans = []
    for _ in range(PROBES):
        asked = time.monotonic()
        await crowd.ask("/time")
        spans.append(round((time.monotonic() - asked) * 1_000, 1))
    ranks = quantiles(spans)
    crowd.leave()
    after = await settled(server) - before
    for _ in range(AGAIN):
        other = Crowd(url)
        await other.join(count, request)
        again = await settled(server) - before
        other.leave()
        await settled(server)
    each_kib = again / count / 1_024
    mib = "".join(f"{size / 2**20:>9.0f}" for size in (held, after, again))
    print(f"{what:<34}{count:>7}{opened_s:>9.1f}{mib}{each_kib:>9.1f}{ranks['p50']:>9}{ranks['p99']:>9}", flush=True)
    return bool(each_kib <= KIB_MAX)


async def main(count: int) -> int:
    """All rows; 1 if one is out of bounds."""
    allow_files(count)
    print(f"{'connections that':<34}{'count':>7}{'open s':>9}{'MiB':>9}{'left':>9}{'again':>9}{'KiB each':>9}{'p50 ms':>9}{'p99 ms':>9}")
    rows = {
        "say nothing": "",
        "wait for a segment": "/bench/ll/v0.m3u8?_HLS_msn={msn}",
        "do not read a part of 61 KiB": "/bench/0/v0/0.part.m4s",
        "do not read a segment of a MiB": f"/{LARGE_NAME}",
    }
    good = True
    for what, request in rows.items():
        with tempfile.TemporaryDirectory() as folder, origin(Path(folder)) as (url, server):
            good &= await measure(what, count, url, server, request)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)))

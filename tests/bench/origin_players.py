"""
Many LL-HLS players that wait for the next part of one rendition, then fetch it: `python -m tests.bench.origin_players URL PLAYERS SECONDS`.

Says when each answer to a blocked request was there, as ``PART SECONDS`` by the monotonic clock.
"""

import asyncio
import re
import sys
import time
import urllib.parse

import uvloop

PARTS = 8
HINT = re.compile(rb'PRELOAD-HINT:TYPE=PART,URI="\.\.([^"]+)"')
LAST = re.compile(rb"LAST-MSN=([0-9]+),LAST-PART=([0-9]+)")


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, bytes]:
    """Status and body of an answer, on a connection that is kept."""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\nuser-agent: {id(writer)}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


async def play(host: str, port: int, until_s: float, seen: list[tuple[str, float]], wrong: list[int]) -> None:
    """One player."""
    reader, writer = await asyncio.open_connection(host, port)
    _, body = await get(reader, writer, "/bench/ll/v0.m3u8")
    while time.monotonic() < until_s:
        found = LAST.search(body)
        assert found is not None
        msn, part = int(found[1]), int(found[2]) + 1
        if part == PARTS:
            msn, part = msn + 1, 0
        status, body = await get(reader, writer, f"/bench/ll/v0.m3u8?_HLS_msn={msn}&_HLS_part={part}")
        seen.append((f"{msn}.{part}", time.monotonic()))
        if status != 200:
            wrong.append(status)
            return
        hint = HINT.search(body)
        assert hint is not None
        last = re.findall(rb'PART:DURATION=[0-9.]+,URI="\.\.([^"]+)"', body)[-1]
        status, _ = await get(reader, writer, f"/bench{last.decode()}")
        if status != 200:
            wrong.append(status)
    writer.close()


async def main(url: str, players: int, seconds: float) -> None:
    """All players at once."""
    at = urllib.parse.urlsplit(url)
    seen: list[tuple[str, float]] = []
    wrong: list[int] = []
    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(players):
            group.create_task(play(str(at.hostname), int(at.port or 0), until_s, seen, wrong))
            if number % 50 == 49:
                await asyncio.sleep(0.02)
    sys.stdout.write("".join(f"{part} {at_s}\n" for part, at_s in seen))
    if wrong:
        sys.exit(f"{len(wrong)} answers were no 200: {wrong[:5]}")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))

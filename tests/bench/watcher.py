"""
Asks in each channel for the part that its low-latency playlist hints at, which is answered once the part is there, again and again.

    python -m tests.bench.watcher URL TRACK SECONDS RESULT CHANNEL...

Writes when each was there, in Unix milliseconds by the name of the part's object, as JSON.
"""

import asyncio
import json
import re
import sys
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

import httpx

HINT = re.compile(r'PRELOAD-HINT:TYPE=PART,URI="([^"]+)"')
# Longer than a hinted part is ever away while a channel is live.
ANSWER_S = 15.0
# A playlist that has no hint yet is asked for again after this time.
AGAIN_S = 0.1


async def watch(client: httpx.AsyncClient, playlist: str, until_s: float, had: dict[str, float]) -> None:
    """One channel, until a time of the monotonic clock."""
    while time.monotonic() < until_s:
        found = HINT.search((await client.get(playlist)).raise_for_status().text)
        path = urllib.parse.urljoin(playlist, found[1]) if found else playlist
        if path.lstrip("/") in had or found is None:
            await asyncio.sleep(AGAIN_S)
            continue
        answer = await client.get(path)
        if answer.status_code == httpx.codes.OK:
            had[path.lstrip("/")] = time.time_ns() / 1e6


async def main(url: str, track: str, seconds: float, channels: Sequence[str]) -> dict[str, float]:
    """When each part of all channels was there."""
    had: dict[str, float] = {}
    until_s = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_S, limits=limits) as client, asyncio.TaskGroup() as group:
        for channel in channels:
            group.create_task(watch(client, f"/{channel}/ll/{track}.m3u8", until_s, had))
    return had


if __name__ == "__main__":
    Path(sys.argv[4]).write_text(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[5:]))))

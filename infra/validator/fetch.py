"""Requests that become exchanges, and how late we come to make them."""

import asyncio
import time
from collections.abc import Callable

import httpx

from infra.validator.evidence import Evidence
from infra.validator.recording import Exchange

BYTES_MAX = 64 * 2**20
LAG_EVERY_S = 0.02


class Fetcher:
    """Requests that become exchanges, whatever happens to them."""

    def __init__(self, client: httpx.AsyncClient, evidence: Evidence, note: Callable[[Exchange], None]) -> None:
        """
        Args:
            client: Sends them.
            evidence: Learns from them.
            note: Called with each.
        """
        self._client = client
        self.evidence = evidence
        self._note = note

    async def get(self, url: str, *, method: str = "GET") -> Exchange:
        """Ask, and take down what was answered."""
        sent_ms = first_ms = now_ms()
        status, version, headers, body, error = 0, "HTTP/1.1", {}, bytearray(), ""
        try:
            async with self._client.stream(method, url, follow_redirects=True) as answer:
                status, version = answer.status_code, answer.http_version
                headers = {name.lower(): value for name, value in answer.headers.items()}
                first_ms = now_ms()
                async for piece in answer.aiter_bytes():
                    if not body:
                        first_ms = now_ms()
                    body += piece
                    if len(body) > BYTES_MAX:
                        error = f"more than {BYTES_MAX} bytes"
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            error = str(problem) or type(problem).__name__
        exchange = Exchange(
            sent_ms=sent_ms,
            first_ms=first_ms,
            done_ms=now_ms(),
            url=url,
            status=status,
            headers=headers,
            body=bytes(body),
            method=method,
            version=version,
            error=error,
        )
        self.evidence.take(exchange)
        self._note(exchange)
        return exchange


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


class Lag:
    """How late we come to run."""

    def __init__(self) -> None:
        self.worst_ms = 0.0

    async def measure(self) -> None:
        """Take the time again and again, until cancelled."""
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(LAG_EVERY_S)
            self.worst_ms = max(self.worst_ms, 1_000 * (time.monotonic() - before_s - LAG_EVERY_S))

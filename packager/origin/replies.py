"""HTTP replies: their headers, ranges of bytes, and what they cost a cache."""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from packager.origin.live import Text

M3U8 = "application/vnd.apple.mpegurl"
MPD = "application/dash+xml"
MP4 = "video/mp4"
JPEG = "image/jpeg"
WEBVTT = "text/vtt"
# Names determine bytes, so an object never changes; it is deleted once out of the time shift buffer.
FOREVER = "public, max-age=86400, immutable"
NO_STORE = "no-store"
# A larger body is handed over in pieces. Of these the server takes some ten before it says wait, so a body up to this size costs a
# connection that nobody reads no more when it is given whole, and half the CPU: a part.
WHOLE_BYTES_MAX = 128 * 1024
PIECE_BYTES = 16 * 1024
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
CMCD_HEADERS = ("CMCD-Object", "CMCD-Request", "CMCD-Session", "CMCD-Status")
CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Date, Content-Length, Content-Range, Retry-After",
    "timing-allow-origin": "*",
    "x-content-type-options": "nosniff",
}
PREFLIGHT = {
    **CORS,
    "access-control-allow-methods": "GET, HEAD, POST, OPTIONS",
    "access-control-allow-headers": ", ".join(("Range", "Content-Type", *CMCD_HEADERS)),
    "access-control-max-age": "86400",
}


def failure(status: int, problem: str, *, retry_after_s: int | None = None) -> Response:
    """A refusal in one sentence, never stored by a cache (media rule 21)."""
    headers = {**CORS, "cache-control": NO_STORE}
    if retry_after_s is not None:
        headers["retry-after"] = str(retry_after_s)
    return Response(f"{problem}\n", status, headers, "text/plain; charset=utf-8")


def manifest(request: Request, text: Text, media_type: str, *, max_age_s: int) -> Response:
    """A playlist or MPD, compressed if the client takes that."""
    headers = {**CORS, "cache-control": f"public, max-age={max_age_s}", "vary": "accept-encoding"}
    body = text.plain
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = text.zipped
        headers["content-encoding"] = "gzip"
    return _reply(request, 200, body, headers, media_type)


def media(request: Request, data: bytes, media_type: str = MP4) -> Response:
    """Bytes of an object, or the range asked for."""
    headers = {**CORS, "cache-control": FOREVER, "accept-ranges": "bytes"}
    asked = span(request.headers.get("range"), len(data))
    if asked is None:
        return _reply(request, 200, data, headers, media_type)
    first, end = asked
    if first >= end:
        return Response(status_code=416, headers={**CORS, "content-range": f"bytes */{len(data)}", "cache-control": NO_STORE})
    headers["content-range"] = f"bytes {first}-{end - 1}/{len(data)}"
    # Of a large one no copy is made: who reads slowly holds the object that all others are given.
    asked_for = memoryview(data)[first:end]
    return _reply(request, 206, bytes(asked_for) if end - first <= WHOLE_BYTES_MAX else asked_for, headers, media_type)


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """
    First byte and end of a range request; empty if nothing of it exists; None if all is wanted.

    More than one range, or what is no range, is answered with everything (RFC 9110, 14.2).

    >>> span("bytes=2-3", 10), span("bytes=-3", 10), span("bytes=8-", 10), span("bytes=20-", 10), span("bytes=1-2,4-5", 10)
    ((2, 4), (7, 10), (8, 10), (20, 10), None)
    """
    match = RANGE.fullmatch(header) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else (size, size)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    return int(first), end


def _reply(request: Request, status: int, body: bytes | memoryview, headers: Mapping[str, str], media_type: str) -> Response:
    if request.method == "HEAD":
        return Response(status_code=status, headers={**headers, "content-length": str(len(body))}, media_type=media_type)
    return (Response if len(body) <= WHOLE_BYTES_MAX else _Large)(body, status, headers, media_type)


class _Large(Response):
    """Sent piece by piece, the next once one was taken: what a slow reader has not taken is held once for all, not for each of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), PIECE_BYTES):
            end = start + PIECE_BYTES
            await send({"type": "http.response.body", "body": bytes(self.body[start:end]), "more_body": end < len(self.body)})

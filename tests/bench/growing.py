"""
The simplest origin for a packager that writes by HTTP: what is PUT can be fetched, while it still grows.

    python -m tests.bench.growing PORT

A media file that is not there yet is waited for. `/time` tells the time, as UTCTiming asks for it.
"""

import asyncio
import sys
from datetime import UTC, datetime

from aiohttp import web

# Somewhat longer than players come early.
WAIT_S = 2.0
TYPES = {".mpd": "application/dash+xml", ".m3u8": "application/vnd.apple.mpegurl", ".m4s": "video/iso.segment", ".mp4": "video/mp4"}


class Growing:
    """One file."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.is_whole = False
        self.more = asyncio.Event()

    def grow(self, piece: bytes, *, is_last: bool = False) -> None:
        """Take a piece and wake those who wait for it."""
        if piece:
            self.pieces.append(piece)
        self.is_whole = is_last
        self.more.set()
        self.more = asyncio.Event()


class Files:
    """All files, by path."""

    def __init__(self) -> None:
        self._files: dict[str, Growing] = {}
        self._new = asyncio.Event()

    async def put(self, request: web.Request) -> web.Response:
        """Take a file; a manifest appears once it is whole, media at once."""
        file, is_manifest = Growing(), request.path.endswith((".mpd", ".m3u8"))
        if not is_manifest:
            self._show(request.path, file)
        async for piece in request.content.iter_any():
            file.grow(piece)
        file.grow(b"", is_last=True)
        if is_manifest:
            self._show(request.path, file)
        return web.Response(status=201)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A file from its beginning, to its end."""
        file = await self._find(request.path)
        kind = TYPES.get("." + request.path.rpartition(".")[2], "application/octet-stream")
        answer = web.StreamResponse(headers={"content-type": kind, "cache-control": "no-store"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        sent = 0
        while True:
            more = file.more
            while sent < len(file.pieces):
                await answer.write(file.pieces[sent])
                sent += 1
            if file.is_whole:
                break
            await more.wait()
        await answer.write_eof()
        return answer

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a file."""
        self._files.pop(request.path, None)
        return web.Response(status=204)

    def _show(self, path: str, file: Growing) -> None:
        self._files[path] = file
        self._new.set()
        self._new = asyncio.Event()

    async def _find(self, path: str) -> Growing:
        try:
            async with asyncio.timeout(WAIT_S if path.endswith(".m4s") else 0):
                while path not in self._files:
                    await self._new.wait()
        except TimeoutError:
            raise web.HTTPNotFound from None
        return self._files[path]


async def tell_time(_: web.Request) -> web.Response:
    """Now."""
    return web.Response(text=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def main(port: int) -> None:
    """Serve until SIGTERM."""
    files, app = Files(), web.Application(client_max_size=2**30)
    app.router.add_get("/time", tell_time, allow_head=False)
    for method, handler in (("PUT", files.put), ("POST", files.put), ("GET", files.get), ("DELETE", files.delete)):
        app.router.add_route(method, "/{path:.*}", handler)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))

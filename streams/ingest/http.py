"""
``finecut ingest``: takes CMAF that encoders push over HTTP (DASH-IF Live Media Ingest, interface 1) into channels of the log.

An encoder sends fragmented MP4 by POST or PUT, in one long request or one for each fragment, to ``/CHANNEL/TRACK`` or
``/CHANNEL/Streams(TRACK)``, a connection for each track or one for several. With ``?encoder=NAME`` it is one of a pair, whose time stamps
agree: one leads, the other goes on when the leader falls silent.
"""

import asyncio
import base64
import binascii
import hmac
import re
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiohttp import StreamReader, web
from prometheus_client import start_http_server

from schemas.errors import RejectedError, RetryableError, UserError
from schemas.records import Level, check_id
from schemas.settings import IngestSettings, Settings
from streams.ingest.pushed import PushedChannel, Refusal

log = structlog.get_logger()

CHANNELS_MAX = 256
# Each may wait for its channel in a thread; further ones wait for one.
CONNECTIONS_MAX = 1_024
GRACE_S = 2.0
# DASH-IF Live Media Ingest 1.2, section 5: the name of a CMAF track is in the path, with or without ``Streams()`` and an extension.
STREAMS = re.compile(r"Streams\((?P<name>[^()/]+)\)")
EXTENSION = re.compile(r"\.(cmf[vatm]|mp4|m4[sva])$")


def run(settings: Settings) -> int:
    """
    Exit status, 0 after SIGTERM or SIGINT; channels stay open, for their encoders will come again.

    Raises:
        UserError: The address cannot be listened on, or another writer took a channel over.
    """
    ingest = settings.ingest
    listener = _listen(ingest)
    try:
        metrics_server, thread = start_http_server(ingest.metrics_port, ingest.metrics_host)
    except OSError as error:
        problem = f"cannot serve metrics on {ingest.metrics_host} port {ingest.metrics_port}: {error.strerror}"
        raise UserError(problem, do="choose another FINECUT_INGEST__METRICS_PORT; 0 takes a free one") from error
    host, port = listener.getsockname()[:2]
    log.info("metrics_served", host=ingest.metrics_host, port=metrics_server.server_port)
    log.info("ingest_listening", address=f"http://{host}:{port}", has_token=bool(ingest.token.get_secret_value()))
    try:
        return asyncio.run(_Server(settings, listener).main())
    finally:
        metrics_server.shutdown()
        metrics_server.server_close()
        thread.join()


def _listen(settings: IngestSettings) -> socket.socket:
    try:
        return socket.create_server((settings.host, settings.port))
    except OSError as error:
        problem = f"ingest cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        raise UserError(problem, do="free the port or set FINECUT_INGEST__PORT") from error


class _Server:
    """Channels being pushed, and the requests that push them."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._channels: dict[tuple[str, str], PushedChannel] = {}
        self._lock = threading.Lock()
        self._broke: BaseException | None = None
        self._stop: Callable[[], object] = lambda: None

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(CONNECTIONS_MAX))
        stopped = asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        app = web.Application()
        for path in ("/{channel}", "/{channel}/{track:.*}"):
            for method in ("POST", "PUT"):
                app.router.add_route(method, path, self._push, expect_handler=self._expect)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE_S)
        await runner.setup()
        await web.SockSite(runner, self._listener).start()
        await stopped.wait()
        await runner.cleanup()
        for channel in list(self._channels.values()):
            await asyncio.to_thread(channel.stop)
        if self._broke:
            raise self._broke
        return 0

    # ------------------------------------------------------------ requests

    async def _expect(self, request: web.Request) -> web.StreamResponse | None:
        """FFmpeg asks before it sends, and shows a password only once it was refused."""
        if not _is_allowed(request, self._settings.ingest.token.get_secret_value()):
            return _unauthorized()
        if request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    async def _push(self, request: web.Request) -> web.StreamResponse:
        if not _is_allowed(request, self._settings.ingest.token.get_secret_value()):
            return _unauthorized()
        try:
            name = _track_of(request.match_info.get("track", ""))
            channel = self._channel(check_id(request.match_info["channel"], what="channel"), request)
            connection = channel.connect(name)
        except RejectedError as error:
            return web.Response(text=f"{error}\n", status=400)
        except RetryableError as error:
            return web.Response(text=f"{error}\n", status=409, headers=_again(error.retry_after_ms))
        refusal = None
        try:
            refusal = await asyncio.to_thread(channel.put, connection, b"")
            while refusal is None and (data := await next_bytes(request.content)):
                refusal = await asyncio.to_thread(channel.put, connection, data)
        finally:  # whatever broke it off: a channel is not let go while a request of it is open
            refusal = await asyncio.to_thread(channel.finish, connection) or refusal
        return _answer(refusal)

    def _channel(self, channel: str, request: web.Request) -> PushedChannel:
        with self._lock:
            encoder = request.query.get("encoder", "")
            key = channel, check_id(encoder, what="encoder") if encoder else ""
            held = self._channels.get(key)
            if held is None:
                if len(self._channels) >= CHANNELS_MAX:
                    raise RejectedError(f"{CHANNELS_MAX} channels are being pushed already: run another ingest process")
                expected = frozenset(_track_of(track) for track in request.query.get("tracks", "").split(",") if track)
                held = self._channels[key] = PushedChannel(
                    self._settings, channel, expected=expected, idle_level=_level(request), encoder=encoder, ended=self._ended
                )
            return held

    def _ended(self, channel: str, encoder: str, broke: BaseException | None) -> None:
        with self._lock:
            self._channels.pop((channel, encoder), None)
        if broke:
            self._broke = self._broke or broke
            self._stop()


async def next_bytes(content: StreamReader) -> bytes:
    """
    The next bytes of a request; none at its end.

    Of an encoder that hung up, what is whole counts, and it will come again. It may have sent all and not waited for an answer: aiohttp
    raises then, whatever it holds that was not read.
    """
    try:
        return await content.readany()
    except (ConnectionResetError, web.RequestPayloadError):
        return content._read_nowait(-1)  # noqa: SLF001 - see above


def _answer(refusal: Refusal | None) -> web.Response:
    if refusal is None:
        return web.Response(status=204)
    answer = web.Response(text=refusal.text, status=refusal.status, headers=_again(refusal.retry_after_ms))
    answer.force_close()
    return answer


def _again(retry_after_ms: int) -> dict[str, str]:
    return {"Retry-After": str(-(-retry_after_ms // 1_000))} if retry_after_ms else {}


def _unauthorized() -> web.Response:
    text = "show the token: as Authorization: Bearer TOKEN, as the password, or as ?token=TOKEN\n"
    return web.Response(text=text, status=401, headers={"WWW-Authenticate": 'Basic realm="finecut"'})


def _is_allowed(request: web.Request, token: str) -> bool:
    if not token:
        return True
    # Encoders that cannot set a header have an address.
    if "token" in request.query:
        return hmac.compare_digest(request.query["token"].encode(), token.encode())
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(shown.encode(), token.encode())


def _track_of(path: str) -> str:
    """
    Track id in the path of a push; empty when there is none.

    Raises:
        RejectedError: It is no id.

    >>> _track_of("Streams(video-1.cmfv)"), _track_of("a0"), _track_of("")
    ('video-1', 'a0', '')
    """
    found = STREAMS.search(path)
    name = EXTENSION.sub("", found["name"] if found else path)
    return check_id(name, what="track") if name else ""


def _level(request: web.Request) -> Level | None:
    wanted = request.query.get("idle_level")
    if wanted is None:
        return None
    if wanted not in list(Level):
        raise RejectedError(f"idle_level {wanted!r} is none of {', '.join(Level)}")
    return Level(wanted)


__all__ = ["run"]

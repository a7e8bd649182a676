"""
Serves the origin's application over HTTP: Granian inside our event loop, on our socket; HTTP/1.1 and HTTP/2, with and without TLS.

Connections are read and written by a thread without Python; requests come to the event loop that also folds the topics. What a slow
reader has not taken yet is not made (writing waits), and beyond the connections allowed new ones wait in the backlog.
"""

import asyncio
import resource
import socket
import ssl
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.net import SocketHolder  # type: ignore[attr-defined] # exported by a module without __all__
from granian.server.embed import Server
from starlette.types import ASGIApp

from schemas.errors import UserError
from schemas.settings import OriginSettings

log = structlog.get_logger()

BACKLOG = 4_096
# What may be under way when it is told to stop; then it stops all the same.
GRACE_S = 2.0
# A connection that says nothing, or not the whole of a request, for so long is closed.
SILENT_MS_MAX = 30_000
HEADERS_BYTES_MAX = 64 * 1024
# A browser opens one connection of HTTP/2 for all that it asks for.
STREAMS_MAX = 128
# Files beside connections: logs, the store, Kafka.
OTHER_FILES = 1_024


def listen(settings: OriginSettings) -> socket.socket:
    """
    A socket that listens at the address of the settings.

    Raises:
        UserError: The address is taken or not ours.
    """
    try:
        listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG, reuse_port=False)
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise UserError(
            f"the origin cannot listen on {address}: {error.strerror}", do="free the port or set FINECUT_ORIGIN__PORT"
        ) from error
    listener.setblocking(False)
    return listener


def check_certificate(settings: OriginSettings) -> None:
    """
    Nothing, if the certificate can be used or there is none.

    Raises:
        UserError: It cannot.
    """
    if settings.certificate is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.certificate, settings.private_key)
        if settings.private_key is None:
            raise OSError("its private key is missing")
    except OSError as error:  # ssl.SSLError is one
        do = "set FINECUT_ORIGIN__CERTIFICATE and FINECUT_ORIGIN__PRIVATE_KEY to PEM files that belong together"
        raise UserError(f"the certificate {settings.certificate} cannot be used: {error}", do=do) from error


def allow_files(connections: int) -> None:
    """Lets this process open as many files as it may need; says so if the system allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log.warning("few_files_allowed", allowed=hard, wanted=wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(Server):
    """Granian on a socket that listens already, so that a port in use is said before anything starts, and is not shared."""

    def __init__(self, app: ASGIApp, listener: socket.socket, **options: Any) -> None:
        super().__init__(app, **options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        made: Any = SocketHolder  # its stub knows nothing of how it is made: file, whether it is a Unix socket, backlog
        self._ssp = None
        self._sfd = self._listener.detach()  # type: ignore[assignment] # the base class infers None
        self._shd = made(self._sfd, False, BACKLOG)


async def serve(app: ASGIApp, settings: OriginSettings, listener: socket.socket, stopped: asyncio.Event) -> None:
    """
    Serves until told to stop, and a little longer what is under way.

    Args:
        app: The application.
        settings: Certificate and limits.
        listener: From `listen`; it is closed with the server.
        stopped: Set to stop; whoever sets it sees to it that blocked requests are answered.
    """
    allow_files(settings.connections_max)
    server = _Server(
        app,
        listener,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        websockets=False,
        backlog=BACKLOG,
        backpressure=settings.connections_max,
        http1_settings=HTTP1Settings(header_read_timeout=SILENT_MS_MAX, max_buffer_size=HEADERS_BYTES_MAX),
        http2_settings=HTTP2Settings(
            max_concurrent_streams=STREAMS_MAX, max_headers_size=HEADERS_BYTES_MAX, keep_alive_interval=SILENT_MS_MAX
        ),
        ssl_cert=settings.certificate,
        ssl_key=settings.private_key,
        ssl_protocol_min=SSLProtocols.tls12,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            server.stop()  # type: ignore[no-untyped-call] # has no annotations
            await asyncio.wait({serving}, timeout=GRACE_S)
        if serving.done():
            serving.result()
            if not stopped.is_set():
                raise RuntimeError("the HTTP server ended by itself")
    finally:
        serving.cancel()
        stopping.cancel()

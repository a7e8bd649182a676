"""The HTTP server of an origin over real sockets: protocols, TLS, limits, how it stops."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from packager.origin.serving import check_certificate, listen, serve
from schemas.errors import UserError
from schemas.settings import OriginSettings

PIECE = bytes(100_000)


class Site:
    """A served application that tells what was asked of it."""

    def __init__(self, settings: OriginSettings) -> None:
        self.settings = settings
        listener = listen(settings)
        self.port = listener.getsockname()[1]
        self.stopped = asyncio.Event()
        self.release = asyncio.Event()
        self.waiting = 0
        self.made = 0
        routes = [Route("/now", self._now), Route("/wait", self._wait), Route("/flood", self._flood), Route("/broken", self._broken)]
        self.serving = asyncio.create_task(serve(Starlette(routes=routes), settings, listener, self.stopped))

    @property
    def url(self) -> str:
        return f"{'https' if self.settings.certificate else 'http'}://localhost:{self.port}"

    async def _now(self, _: Request) -> Response:
        return PlainTextResponse("now")

    async def _wait(self, _: Request) -> Response:
        self.waiting += 1
        await self.release.wait()
        return PlainTextResponse("released")

    async def _flood(self, _: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for self.made in range(1, 1_001):
                yield PIECE

        return StreamingResponse(pieces())

    async def _broken(self, _: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield PIECE
            raise RuntimeError("no more")

        return StreamingResponse(pieces())

    async def stop(self) -> None:
        self.release.set()
        self.stopped.set()
        async with asyncio.timeout(10):
            await self.serving


@asynccontextmanager
async def serving(settings: OriginSettings | None = None) -> AsyncIterator[Site]:
    site = Site(settings or OriginSettings(host="localhost", port=0))
    try:
        yield site
    finally:
        await site.stop()


async def until_waiting(site: Site, count: int) -> None:
    async with asyncio.timeout(10):
        while site.waiting < count:  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    command: list[str | Path] = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    more: list[str | Path] = ["-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return files


async def test_browsers_get_http_2_over_tls_and_others_http_1(certificate: tuple[Path, Path]) -> None:
    settings = OriginSettings(host="localhost", port=0, certificate=certificate[0], private_key=certificate[1])
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    async with serving(settings) as site:
        for http2, wanted in ((True, "HTTP/2"), (False, "HTTP/1.1")):
            async with httpx.AsyncClient(http2=http2, verify=trust) as http:
                answer = await http.get(f"{site.url}/now")
                assert (answer.text, answer.http_version) == ("now", wanted)


async def test_one_connection_of_http_2_carries_many_requests_that_wait() -> None:
    one = httpx.Limits(max_connections=1)
    async with serving() as site, httpx.AsyncClient(http1=False, http2=True, limits=one, timeout=20) as http:
        waiting = [asyncio.create_task(http.get(f"{site.url}/wait")) for _ in range(20)]
        await until_waiting(site, 20)
        site.release.set()
        assert {(answer.text, answer.http_version) for answer in await asyncio.gather(*waiting)} == {("released", "HTTP/2")}


async def test_it_answers_what_is_under_way_when_it_stops() -> None:
    async with serving() as site, httpx.AsyncClient() as http:
        waiting = asyncio.create_task(http.get(f"{site.url}/wait"))
        await until_waiting(site, 1)
        await site.stop()
        assert (await waiting).text == "released"
        with pytest.raises(httpx.TransportError):
            await http.get(f"{site.url}/now")


async def test_it_stops_although_somebody_does_not_read_what_is_sent() -> None:
    async with serving() as site:
        with reading_nothing(site, "/flood"):
            async with asyncio.timeout(10):
                while not site.made:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await site.stop()


async def test_for_a_slow_reader_no_more_is_made_than_it_takes() -> None:
    async with serving() as site:
        with reading_nothing(site, "/flood"):
            before = -1
            while site.made != before or not before:
                before = site.made
                await asyncio.sleep(0.3)
            # What lies in the buffers of the kernel and of the server.
            assert before * len(PIECE) < 16 * 2**20


async def test_an_answer_that_fails_is_broken_off_and_not_ended() -> None:
    async with serving() as site, httpx.AsyncClient() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"{site.url}/broken")


async def test_connections_beyond_those_allowed_wait_for_one_to_close() -> None:
    few = OriginSettings(host="localhost", port=0, connections_max=2)
    async with serving(few) as site, httpx.AsyncClient() as first, httpx.AsyncClient() as second, httpx.AsyncClient(timeout=20) as third:
        waiting = [asyncio.create_task(http.get(f"{site.url}/wait")) for http in (first, second)]
        await until_waiting(site, 2)
        later = asyncio.create_task(third.get(f"{site.url}/now"))
        await asyncio.sleep(0.5)
        assert not later.done()
        site.release.set()
        await asyncio.gather(*waiting)
        await first.aclose()
        assert (await later).text == "now"


def test_a_certificate_without_its_key_is_said_in_one_sentence(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        check_certificate(OriginSettings(certificate=certificate[0]))


@contextmanager
def reading_nothing(site: Site, path: str) -> Iterator[None]:
    """A connection that asks and does not read."""
    with socket.create_connection(("localhost", site.port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        yield

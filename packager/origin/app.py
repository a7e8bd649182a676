"""
The origin's HTTP interface.

```
/{channel}/hls/multivariant.m3u8   /{channel}/hls/{track}.m3u8     HLS of whole segments
/{channel}/ll/multivariant.m3u8    /{channel}/ll/{track}.m3u8      HLS with parts
/{channel}/dash/manifest.mpd                                       DASH of whole segments
/{channel}/ll/manifest.mpd                                         DASH with the open segment, which is sent while it grows
/{channel}/{period}/{track}/{ticks}.m4s|.part.m4s|init.mp4         objects, named as in the store
/{channel}/{period}/{track}/{ticks}.vtt|.part.vtt                  text of such objects, for HLS
/{channel}/{period}/multivariant.m3u8|manifest.mpd                 what is kept of a channel that ended with this period
/time  /metrics  /api/channels  /api/latency  /cmcd  /             clock, measures, state, reports of players, watch page
```
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import structlog
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from packager import webvtt
from packager.manifest.presentation import Presentation
from packager.manifest.text import date_time
from packager.origin import cmcd, metrics
from packager.origin.demand import Audience, Kind, Visit
from packager.origin.latency import Latency
from packager.origin.live import CLIENT, ClientLeftError, Live
from packager.origin.manifests import Ask, Manifests
from packager.origin.objects import Objects
from packager.origin.open_segments import OpenSegments, Wanted
from packager.origin.replies import CORS, FOREVER, JPEG, M3U8, MP4, MPD, NO_STORE, PREFLIGHT, WEBVTT, failure, media
from schemas.errors import RejectedError, RetryableError
from schemas.records import ID, TrackKind
from schemas.timeline import INIT_NAME, PART_SUFFIX, SEGMENT_SUFFIX, WEBVTT_PART_SUFFIX, WEBVTT_SUFFIX
from schemas.units import Ms, UnixMs

log = structlog.get_logger()

CONSOLE = Path(__file__).parent / "console"
REPORT_BYTES_MAX = 256 * 1024
# And comes at once: who sends on for ever is not listened to.
REPORT_S = 5.0
# Reports on their way in at once: 64 MiB if all are as large as they may be. A report of a player is one packet.
REPORTS_MAX = 256
# What nobody reads; as nginx logs it.
CLIENT_LEFT = 499
# The players of the watch page make workers and media sources, and nothing of it comes from elsewhere.
PAGE_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; img-src 'self' blob: data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _Id(Convertor[str]):
    regex: ClassVar[str] = ID.pattern

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Period(Convertor[int]):
    regex: ClassVar[str] = "0|[1-9][0-9]{0,8}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


class _Object(_Id):
    regex: ClassVar[str] = r"init\.mp4|(?:0|[1-9][0-9]{0,18})(?:(?:\.part)?\.(?:m4s|vtt)|\.jpg)"


class _Manifest(_Id):
    regex: ClassVar[str] = rf"{ID.pattern}\.m3u8|manifest\.mpd"


register_url_convertor("finecut_id", _Id())
register_url_convertor("finecut_period", _Period())
register_url_convertor("finecut_object", _Object())
register_url_convertor("finecut_manifest", _Manifest())


class Origin:
    """Everything the routes need, and the application made of it."""

    def __init__(
        self,
        *,
        live: Live,
        objects: Objects,
        audience: Audience,
        latency: Latency,
        ask: Ask,
        is_ready: Callable[[], bool],
        now: Callable[[], UnixMs],
        blocked_ms_max: Ms,
    ) -> None:
        """
        Args:
            live: The presentations.
            objects: Bytes of objects.
            audience: Who watches.
            latency: How soon parts could be fetched.
            ask: Called with a channel of which somebody wants what is not packaged.
            is_ready: Whether the topics were read to their ends and are followed.
            now: Time, by the clock that anchors of periods are of.
            blocked_ms_max: Longest wait of a request.
        """
        self._live = live
        self._objects = objects
        self._audience = audience
        self._latency = latency
        self._is_ready = is_ready
        self._now = now
        self._blocked_ms_max = blocked_ms_max
        self._reports_coming = 0
        self._open_segments = OpenSegments(live, objects, timeout_ms=blocked_ms_max)
        self._manifests = Manifests(live, ask=ask, now=now, blocked_ms_max=blocked_ms_max)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        channel = "/{channel:finecut_id}"
        # Looked through from the first on: what is asked for most.
        routes: list[Route | Mount] = [
            Route(f"{channel}/{{period:finecut_period}}/{{track:finecut_id}}/{{file:finecut_object}}", self._object),
            Route(f"{channel}/ll/multivariant.m3u8", self._ll_multivariant),
            Route(f"{channel}/ll/{{track:finecut_id}}.m3u8", self._ll_media),
            Route(f"{channel}/hls/multivariant.m3u8", self._hls_multivariant),
            Route(f"{channel}/hls/{{track:finecut_id}}.m3u8", self._hls_media),
            Route(f"{channel}/dash/manifest.mpd", self._mpd),
            Route(f"{channel}/ll/manifest.mpd", self._ll_mpd),
            Route(f"{channel}/{{period:finecut_period}}/{{file:finecut_manifest}}", self._finished),
            Route("/cmcd", self._cmcd, methods=["POST"]),
            Route("/time", self._time),
            Route("/metrics", self._metrics),
            Route("/api/channels", self._channels),
            Route("/api/latency", self._latencies),
            Route("/", self._page),
            Mount("/console", _Console(directory=CONSOLE)),
        ]
        handlers = {404: _not_found, 405: _not_allowed, RetryableError: _later, ClientLeftError: _left}
        return _Outer(Starlette(routes=routes, exception_handlers=handlers))

    # ------------------------------------------------------------ manifests and objects

    async def _ll_multivariant(self, request: Request) -> Response:
        return await self._manifest(request, Kind.PARTS, self._manifests.multivariant(request, _channel(request), low_latency=True))

    async def _hls_multivariant(self, request: Request) -> Response:
        return await self._manifest(request, Kind.WHOLE, self._manifests.multivariant(request, _channel(request), low_latency=False))

    async def _ll_media(self, request: Request) -> Response:
        track = request.path_params["track"]
        return await self._manifest(request, Kind.PARTS, self._manifests.media(request, _channel(request), track, low_latency=True))

    async def _hls_media(self, request: Request) -> Response:
        track = request.path_params["track"]
        return await self._manifest(request, Kind.WHOLE, self._manifests.media(request, _channel(request), track, low_latency=False))

    async def _mpd(self, request: Request) -> Response:
        return await self._manifest(request, Kind.WHOLE, self._manifests.mpd(request, _channel(request), low_latency=False))

    async def _ll_mpd(self, request: Request) -> Response:
        return await self._manifest(request, Kind.CHUNKED, self._manifests.mpd(request, _channel(request), low_latency=True))

    async def _manifest(self, request: Request, kind: Kind, answer: Any) -> Response:
        if not self._is_ready():
            answer.close()
            return failure(503, "the origin is reading its topics", retry_after_s=1)
        channel = _channel(request)
        if self._live.presentations.get(channel) is not None:
            # A blocking request is of a session that is there, so it counts when it comes and not when it is answered.
            self._visit(request, Visit(client=_client(request), channel=channel, kind=kind, report=_report(request)))
        response: Response = await answer
        metrics.REQUESTS.labels("manifest", f"{response.status_code // 100}xx").inc()
        return response

    async def _object(self, request: Request) -> Response:
        channel, period, track, file = (request.path_params[name] for name in ("channel", "period", "track", "file"))
        data = await self._bytes(channel, period, track, file)
        if data is None and (number := file.removesuffix(SEGMENT_SUFFIX)).isdigit():
            opened = Wanted(channel, period, track, int(number))
            if await self._open_segments.begun(opened):
                return self._stream(request, opened)
        response = failure(404, f"no object {channel}/{period}/{track}/{file}") if data is None else media(request, data, _type(file))
        metrics.REQUESTS.labels("object", f"{response.status_code // 100}xx").inc()
        # Players of parts fetch whole segments too, to start with: only their playlist tells that a client does not take parts.
        kind = Kind.PARTS if data is not None and file.endswith((PART_SUFFIX, WEBVTT_PART_SUFFIX)) else None
        is_media = data is not None and not file.startswith("init")
        self._visit_object(request, kind, is_media=is_media, sent_bytes=len(response.body))
        return response

    async def _bytes(self, channel: str, period: int, track: str, file: str) -> bytes | None:
        """Bytes of an object, or text made of it; what is about to come is waited for."""
        if not file.endswith(WEBVTT_SUFFIX):
            return await self._objects.get(channel, period, track, file, timeout_ms=self._blocked_ms_max)
        source = file.removesuffix(WEBVTT_SUFFIX) + SEGMENT_SUFFIX
        data = await self._objects.get(channel, period, track, source, timeout_ms=self._blocked_ms_max)
        init = await self._objects.get(channel, period, track, INIT_NAME, timeout_ms=self._blocked_ms_max)
        if data is None or init is None:
            return None
        try:
            return webvtt.render(data, init)
        except RejectedError:
            return None  # of no text track

    async def _finished(self, request: Request) -> Response:
        channel, period, file = (request.path_params[name] for name in ("channel", "period", "file"))
        data = await self._objects.read(f"{channel}/{period}/{file}")
        if data is None:
            return failure(404, f"channel {channel} did not end with period {period}, or nothing of it is kept")
        return media(request, data, MPD if file.endswith(".mpd") else M3U8)

    def _stream(self, request: Request, opened: Wanted) -> Response:
        """A segment that is still being made, part by part."""
        metrics.REQUESTS.labels("open_segment", "2xx").inc()
        self._visit_object(request, Kind.CHUNKED, is_media=True, sent_bytes=0)
        # Its bytes are those of the finished object; one that is broken off is not stored by caches (RFC 9111, 3.3).
        headers = {**CORS, "cache-control": FOREVER}
        if request.method == "HEAD":
            head = Response(headers=headers, media_type=MP4)
            del head.headers["content-length"]  # nobody knows it yet
            return head

        async def counted() -> AsyncIterator[bytes]:
            async for data in self._open_segments.read(opened):
                self._audience.sent(opened.channel, len(data))
                metrics.SENT_BYTES.inc(len(data))
                yield data

        CLIENT.set(None)  # from now on the answer itself listens
        return StreamingResponse(counted(), headers=headers, media_type=MP4)

    def _visit_object(self, request: Request, kind: Kind | None, *, is_media: bool, sent_bytes: int) -> None:
        channel, period, track = (request.path_params[name] for name in ("channel", "period", "track"))
        held = self._live.presentations.get(channel)
        if held is None:
            return
        metrics.SENT_BYTES.inc(sent_bytes)
        of = held.periods.get(period)
        is_video = of is not None and any(t.track == track and t.kind is TrackKind.VIDEO for t in of.tracks)
        video = track if is_media and is_video else None
        visit = Visit(client=_client(request), channel=channel, kind=kind, video=video, sent_bytes=sent_bytes, report=_report(request))
        self._visit(request, visit)

    def _visit(self, request: Request, visit: Visit) -> None:
        self._audience.visit(visit, now_ms=self._now())

    # ------------------------------------------------------------ reports of players

    async def _cmcd(self, request: Request) -> Response:
        if self._reports_coming >= REPORTS_MAX:
            return failure(503, f"{REPORTS_MAX} reports are on their way already", retry_after_s=1)
        body = bytearray()
        self._reports_coming += 1
        try:
            async with asyncio.timeout(REPORT_S):
                async for piece in request.stream():
                    body += piece
                    if len(body) > REPORT_BYTES_MAX:
                        return failure(413, f"a report has at most {REPORT_BYTES_MAX} bytes")
        except TimeoutError:
            return failure(408, f"a report is here within {REPORT_S:.0f} s")
        finally:
            self._reports_coming -= 1
        reports = cmcd.read_events(body.decode("utf-8", "replace"))
        client = _client(request)
        for report in reports:
            known = self._audience.event(client, report, now_ms=self._now())
            metrics.PLAYER_REPORTS.labels("known" if known else "unknown").inc()
        return Response(status_code=204, headers={**CORS, "cache-control": NO_STORE})

    # ------------------------------------------------------------ everything else

    async def _time(self, _: Request) -> Response:
        return Response(date_time(self._now()), headers={**CORS, "cache-control": NO_STORE}, media_type="text/plain")

    async def _metrics(self, _: Request) -> Response:
        body, content_type = metrics.exposition()
        return Response(body, headers={"cache-control": NO_STORE, "content-type": content_type, "x-content-type-options": "nosniff"})

    async def _channels(self, _: Request) -> Response:
        channels = [
            _describe(held, self._now())
            for name in sorted(self._live.presentations.channels)
            if (held := self._live.presentations.get(name))
        ]
        return _json({"at_unix_ms": self._now(), "ready": self._is_ready(), "channels": channels})

    async def _latencies(self, _: Request) -> Response:
        return _json(self._latency.summary())

    async def _page(self, _: Request) -> Response:
        return FileResponse(CONSOLE / "index.html", headers=PAGE_HEADERS)


class _Console(StaticFiles):
    """The files of the watch page, under the rules of the page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


class _Outer:
    """Answers preflights, and says what went wrong: the server breaks such an answer off."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=PREFLIGHT)(scope, receive, send)
            return
        CLIENT.set(receive)
        try:
            await self._inner(scope, receive, send)
        except Exception as error:
            # An open segment that does not come to its end is broken off, so that nobody takes it for the whole.
            cause = error.__cause__ or error
            is_ours = isinstance(cause, RetryableError)
            log.log(logging.WARNING if is_ours else logging.ERROR, "answer_broken_off", path=scope.get("path", ""), error=repr(cause))
            metrics.BROKEN_OFF.inc()
            raise


def _channel(request: Request) -> str:
    return str(request.path_params["channel"])


def _type(file: str) -> str:
    return {"jpg": JPEG, "vtt": WEBVTT}.get(file.rpartition(".")[2], MP4)


def _client(request: Request) -> str:
    host = request.client.host if request.client else ""
    return f"{host} {request.headers.get('user-agent', '')[:256]}"


def _report(request: Request) -> cmcd.Report | None:
    scope = request.scope
    # Most requests say nothing, which costs nothing.
    query = request.query_params.get("CMCD") if scope["query_string"] else None
    if query is None and not any(name.startswith(b"cmcd-") for name, _ in scope["headers"]):
        return None
    return cmcd.read_request(query, request.headers)


async def _not_found(request: Request, _: Exception) -> Response:
    return failure(404, f"nothing at {request.url.path[:200]}")


async def _later(_: Request, problem: Exception) -> Response:
    wait_ms = problem.retry_after_ms if isinstance(problem, RetryableError) else 0
    return failure(503, str(problem), retry_after_s=-(-wait_ms // 1_000))


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _not_allowed(_: Request, __: Exception) -> Response:
    return failure(405, "GET or HEAD; POST for /cmcd alone")


def _json(value: object) -> Response:
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(body, headers={**CORS, "cache-control": NO_STORE}, media_type="application/json")


def _describe(held: Presentation, now: UnixMs) -> dict[str, object]:
    """State of a channel for people and for the watch page."""
    channel, view = held.channel, held.view()
    last = view.segments[-1] if view and view.segments else None
    lengths = [round((s.end_ms - s.start_ms) / 1_000, 3) for s in view.segments[-20:]] if view else []
    period = held.periods[max(held.periods)]
    edge = period.zero_unix_ms + view.edge_ms if view else None
    return {
        "channel": channel,
        "state": "ended" if held.is_over or (view and view.is_ended) else "live" if last else "off" if held.level == "off" else "starting",
        "level": held.level,
        "hls": f"/{channel}/hls/multivariant.m3u8",
        "ll_hls": f"/{channel}/ll/multivariant.m3u8",
        "dash": f"/{channel}/dash/manifest.mpd",
        "ll_dash": f"/{channel}/ll/manifest.mpd",
        "tracks": [
            {
                "track": t.track,
                "kind": "text" if t.is_text else t.kind,
                "codec": t.codec,
                "bandwidth_bps": t.bandwidth_bps,
                "width": t.width,
                "height": t.height,
            }
            for t in period.tracks
        ],
        "period": period.period,
        "target_duration_s": period.target_duration_ms / 1_000,
        "zero_unix_ms": period.zero_unix_ms,
        "last_msn": last.msn if last else None,
        "segment_s": lengths[-1] if lengths else None,
        "segment_lengths_s": lengths,
        "edge_unix_ms": edge,
        "edge_age_ms": now - edge if edge is not None else None,
        "edge_time": datetime.fromtimestamp(edge / 1_000, UTC).isoformat() if edge is not None else None,
    }

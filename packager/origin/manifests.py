"""Playlists and MPDs over HTTP: what is off is asked for, what is not there yet is waited for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from packager.manifest import dash, hls, thumbnails
from packager.manifest.presentation import View
from packager.origin.live import Live
from packager.origin.replies import M3U8, MPD, failure, manifest
from schemas.records import Level
from schemas.units import Ms, UnixMs

# A manifest that is only valid until the next segment; players reload about twice per segment.
PLAIN_AGE_S = 1
# A low-latency MPD changes with every part; ages are whole seconds.
LOW_LATENCY_AGE_S = 0
# Relative to /CHANNEL/dash/manifest.mpd and /CHANNEL/ll/manifest.mpd.
TIME_URL = "../../time"
# Media rule 16: blocking further ahead than this is refused.
MSN_AHEAD_MAX = 2
# A presentation whose edge lies this many targets behind now is still catching up with its log.
FRESH_TARGETS = 2


class Ask(Protocol):
    """Tells that somebody wants what is not packaged."""

    def __call__(self, channel: str, *, low_latency: bool) -> None:
        """A request for a channel is held: for parts, or for anything at all."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocking:
    """
    What a client wants to wait for.

    Attributes:
        msn: Media sequence number; None for what is there now.
        part: Part of it; None for the whole segment.
        skip: Whether a delta update will do.
    """

    msn: int | None
    part: int | None
    skip: bool


class BadRequestError(ValueError):
    """The query of a playlist breaks a rule; the text says which."""


def read_blocking(query: Mapping[str, str]) -> Blocking:
    """
    Delivery directives of a request.

    Raises:
        BadRequestError: A directive is no number, or a part is named without its segment.

    >>> read_blocking({"_HLS_msn": "7", "_HLS_part": "1"})
    Blocking(msn=7, part=1, skip=False)
    """
    msn, part = _number(query, "_HLS_msn"), _number(query, "_HLS_part")
    if part is not None and msn is None:
        raise BadRequestError("_HLS_part needs _HLS_msn (RFC 8216bis 6.2.5.2)")
    return Blocking(msn=msn, part=part, skip=query.get("_HLS_skip") in {"YES", "v2"})


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequestError(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


def refusal(view: View, wanted: Blocking) -> str | None:
    """
    Why a blocking request cannot be served, in the order of media rule 16; None if it can.
    """
    if wanted.msn is None or view.is_ended:
        return None
    last = view.open_msn - 1
    if wanted.msn > last + MSN_AHEAD_MAX:
        return f"_HLS_msn {wanted.msn} lies more than {MSN_AHEAD_MAX} beyond {last} (RFC 8216bis 6.2.5.2)"
    if wanted.part is None or wanted.msn <= last:  # a part beyond a finished segment's last is the next one's first
        return None
    period = view.period
    # hls.js asks for the highest part number it has seen, also after longer segments.
    parts_max = -(-period.target_duration_ms // max(1, period.part_target_ms))
    if wanted.msn == view.open_msn:
        # All parts of the longest segment may be listed a moment before the segment is: then the next one is still asked for as its part.
        parts_max = max(parts_max, view.open_count + 1)
    return f"_HLS_part {wanted.part}: a segment has at most {parts_max} parts" if wanted.part >= parts_max else None


class Manifests:
    """Answers manifest requests from the live presentations."""

    def __init__(self, live: Live, *, ask: Ask, now: Callable[[], UnixMs], blocked_ms_max: Ms) -> None:
        """
        Args:
            live: The presentations.
            ask: Called with a channel of which somebody wants what is not packaged.
            now: Time, by the clock that anchors of periods are of.
            blocked_ms_max: Longest wait.
        """
        self._live = live
        self._ask = ask
        self._now = now
        self._blocked_ms_max = blocked_ms_max

    async def multivariant(self, request: Request, channel: str, *, low_latency: bool) -> Response:
        """The multivariant playlist of a channel."""
        view = await self._shown(channel, low_latency=low_latency)
        if isinstance(view, Response):
            return view
        text = self._live.text(view, "multivariant", lambda: hls.multivariant(view))
        return manifest(request, text, M3U8, max_age_s=PLAIN_AGE_S)

    async def mpd(self, request: Request, channel: str, *, low_latency: bool) -> Response:
        """An MPD of a channel."""
        view = await self._shown(channel, low_latency=low_latency)
        if isinstance(view, Response):
            return view
        what = "ll/mpd" if low_latency else "mpd"
        text = self._live.text(view, what, lambda: dash.manifest(view, time_url=TIME_URL, low_latency=low_latency))
        return manifest(request, text, MPD, max_age_s=LOW_LATENCY_AGE_S if low_latency else PLAIN_AGE_S)

    async def media(self, request: Request, channel: str, track: str, *, low_latency: bool) -> Response:
        """A media playlist, once it has what the client waits for."""
        try:
            wanted = read_blocking(request.query_params) if low_latency else Blocking(msn=None, part=None, skip=False)
        except BadRequestError as problem:
            return failure(400, str(problem))
        view = await self._shown(channel, low_latency=low_latency)
        if isinstance(view, Response):
            return view
        if (pictures := thumbnails.media(view, track)) is not None:
            return manifest(request, self._live.text(view, f"pictures/{track}", lambda: pictures), M3U8, max_age_s=PLAIN_AGE_S)
        if view.track(track) is None:
            return failure(404, f"channel {channel} has no track {track}")
        if (problem_now := refusal(view, wanted)) is not None:
            if self._fresh(view, low_latency=low_latency) is None:
                # Another origin may have shown what this one has not heard of yet; players do not ask again after a 400.
                return failure(503, f"channel {channel} is behind here: {problem_now}", retry_after_s=1)
            return failure(400, problem_now)
        age_s = PLAIN_AGE_S
        if wanted.msn is not None and not view.is_ended:
            reached = await self._live.until(channel, lambda v: _reached(v, wanted), self._blocked_ms_max)
            if reached is None:
                return failure(503, f"channel {channel} did not reach segment {wanted.msn} in time", retry_after_s=1)
            view = reached
            age_s = 6 * view.period.target_duration_ms // 1_000  # media rule 23: what a blocking request names does not change
        chosen = view
        what = f"{'ll' if low_latency else 'hls'}/{track}/{wanted.skip}"
        text = self._live.text(chosen, what, lambda: hls.media(chosen, track, low_latency=low_latency, skip=wanted.skip))
        return manifest(request, text, M3U8, max_age_s=age_s)

    async def _shown(self, channel: str, *, low_latency: bool) -> View | Response:
        """The channel's view. One that is off is asked for and waited for, until it has caught up with its log."""
        held = self._live.presentations.get(channel)
        if held is None:
            return failure(404, f"no channel {channel}")
        if low_latency and not held.periods[max(held.periods)].part_target_ms:
            return failure(404, f"channel {channel} has no parts, since its GOPs vary in length")
        view = _shown(held.view(), low_latency=low_latency)
        if view is not None:
            return view
        if held.is_over:
            return failure(404, f"channel {channel} has ended")
        if held.level is Level.OFF or (low_latency and held.level is not Level.PARTS):
            self._ask(channel, low_latency=low_latency)
        found = await self._live.until(channel, lambda v: self._fresh(v, low_latency=low_latency), self._blocked_ms_max)
        if found is None:
            found = _shown(self._live.view(channel), low_latency=low_latency)
        if found is None:
            return failure(503, f"channel {channel} is being started", retry_after_s=1)
        return found

    def _fresh(self, view: View | None, *, low_latency: bool) -> View | None:
        # Whoever joins while the log is being caught up with would stay behind by what is still to come.
        view = _shown(view, low_latency=low_latency)
        if view is None:
            return None
        age_ms = self._now() - view.period.zero_unix_ms - view.edge_ms
        return view if view.is_ended or age_ms <= FRESH_TARGETS * view.period.target_duration_ms else None


def _shown(view: View | None, *, low_latency: bool) -> View | None:
    if view is None or not view.segments:
        return None
    return view if not low_latency or view.is_ended or view.has_parts else None


def _reached(view: View | None, wanted: Blocking) -> View | None:
    if view is None or wanted.msn is None:
        return None
    return view if view.is_ended or view.has(wanted.msn, wanted.part) else None
